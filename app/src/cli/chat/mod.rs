//! `guanaco chat`: the conversation in the terminal.

mod commands;
mod lines;

use std::collections::HashSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use guanaco_engine::prompt::{Conversation, NoticeKind, Prompt};
use guanaco_engine::session::{FinishReason, Reply};

use self::commands::Action;
use self::lines::{Line, Lines};
use super::driver::Driver;
use super::generate::{no_tokenizer, print, stats};
use super::sampling::{MAX_NEW_TOKENS, PromptArgs, SamplingArgs};
use super::{Globals, input, note};
use crate::chat::{Chat, Turn};

/// Talks with the model in the terminal
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco chat
  guanaco chat --system @notes.txt --character Luma
  guanaco chat --model models/guanaco-7b --context 1024 --temperature 0.7
  guanaco chat --resume chat.json
  printf 'Hello\\nWho are you?\\n' | guanaco chat    one message a line, replies on stdout

In the chat, /help lists the commands. Ctrl-C ends a reply, Ctrl-D or /quit the chat.
What you type is kept in a history file for the arrow keys, unless --no-history is given.")]
pub struct Args {
    /// Goes on with a conversation that /save wrote
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub resume: Option<PathBuf>,
    /// The most tokens of a reply
    #[arg(long, short = 'n', value_name = "N", default_value_t = MAX_NEW_TOKENS)]
    pub max_new_tokens: usize,
    /// Goes on after tokens that end a reply
    #[arg(long)]
    pub ignore_eos: bool,
    /// Keeps no history file
    #[arg(long)]
    pub no_history: bool,
    #[command(flatten)]
    prompt_args: PromptArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
}

/// A running chat.
struct Talk {
    chat: Chat,
    driver: Driver,
    /// Somebody is looking.
    terminal: bool,
    /// `NAME:` is put in front of a character's replies.
    force_name: bool,
    /// The notices that were shown; each is shown once.
    told: HashSet<String>,
    last: Option<(Prompt, Reply)>,
    totals: Totals,
    /// Where the conversation was saved to or resumed from.
    file: Option<PathBuf>,
}

/// The sums over a chat.
#[derive(Default)]
struct Totals {
    replies: usize,
    cached: usize,
    new: usize,
    tokens: usize,
    decode_tokens: usize,
    decode_s: f64,
    prefill_s: f64,
}

/// Runs the subcommand.
///
/// # Errors
/// When the model cannot be loaded, a file cannot be read, or stdout is gone. What goes wrong in a reply is said, and the chat
/// goes on; when the messages come from a pipe, the first such failure is the command's.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let sampler = args.sampling.config(true);
    sampler.validate()?;
    let mut chat = Chat::new(sampler, args.max_new_tokens.max(1));
    if let Some(path) = &args.resume {
        chat.conversation = read(path)?;
    }
    args.prompt_args.apply(&mut chat.conversation)?;
    chat.preset = args.prompt_args.preset.unwrap_or_default();
    chat.ignore_eos = args.ignore_eos;
    let driver = Driver::load(globals, 1)?;
    ensure!(driver.model.tokenizer.is_some(), no_tokenizer(&driver.model.name));

    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut lines = Lines::open(terminal, !args.no_history)?;
    let (told, totals) = (HashSet::new(), Totals::default());
    let force_name = args.prompt_args.force_name;
    let mut talk = Talk { chat, driver, terminal, force_name, told, last: None, totals, file: args.resume };
    talk.greet();
    let mut failed = None;
    loop {
        if terminal {
            note::dim("");
        }
        let prompt = if terminal { "› " } else { "" };
        let result = match lines.next(prompt)? {
            Line::End => break,
            Line::Interrupted => {
                note::dim("(Ctrl-D or /quit leaves)");
                continue;
            }
            Line::Text(line) if line.trim().is_empty() => continue,
            Line::Text(line) => match commands::parse(&line) {
                Action::Quit => break,
                action => talk.act(action),
            },
        };
        if let Err(error) = result {
            if super::output::is_broken_pipe(&error) {
                return Err(error);
            }
            note::error(&error);
            failed = failed.or(Some(error));
        }
    }
    if terminal {
        note::dim("Goodbye.");
    }
    match failed {
        Some(_) if !terminal => anyhow::bail!("not every message was answered (see above)"),
        _ => Ok(()),
    }
}

fn read(path: &std::path::Path) -> anyhow::Result<Conversation> {
    let text = input::file(path)?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a conversation that /save wrote", path.display()))
}

impl Talk {
    fn greet(&self) {
        if !self.terminal {
            return;
        }
        let model = &self.driver.model;
        note::line("1", &format!("Guanaco · {} on {}", model.name, model.adapter.name));
        note::sentences(&format!(
            "{} tokens of context. Type a message; /help lists the commands, Ctrl-C stops a reply, Ctrl-D leaves.",
            model.max_seq_len
        ));
        if self.chat.conversation.messages.is_empty() {
            return;
        }
        note::dim(&format!("Going on after {} messages:", self.chat.conversation.messages.len()));
        for message in self.chat.conversation.messages.iter().rev().take(2).rev() {
            note::dim(&format!("  {:?}: {}", message.role, message.content));
        }
    }

    fn act(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Say(text) => self.reply(Turn::Say(text)),
            Action::Regenerate => self.reply(Turn::Regenerate),
            Action::Continue => self.reply(Turn::Continue),
            other => self.command(other),
        }
    }

    fn reply(&mut self, turn: Turn) -> anyhow::Result<()> {
        let continues = turn == Turn::Continue;
        let pending = self.chat.prepare(turn, &self.driver.model)?;
        self.tell(&pending.prompt);
        let mut begun = continues;
        if let Some(prefix) = &pending.prompt.reply_prefix {
            let colour = note::colour(self.terminal);
            print(&note::style(colour, "1", prefix))?;
            begun = true;
        }
        let mut printed = begun && !continues;
        let result = self.driver.generate(pending.request.clone(), &mut |text| {
            let text = if begun { text } else { text.trim_start() };
            begun = begun || !text.is_empty();
            printed = printed || !text.is_empty();
            print(text)
        });
        if printed || !self.terminal {
            print("\n")?;
        }
        let reply = result?;
        let prompt = pending.prompt.clone();
        let kept = self.chat.finish(pending, &reply);
        if self.terminal {
            note::dim(&stats(&reply));
            if !kept {
                note::dim("(stopped before the first word: the message is taken back)");
            } else if reply.text.trim().is_empty() {
                note::dim("(the model said nothing; /regenerate asks again)");
            } else if reply.finish == FinishReason::Stopped {
                note::dim("(stopped; /continue goes on)");
            } else if matches!(reply.finish, FinishReason::MaxTokens | FinishReason::ContextFull) {
                note::dim("(cut off; /continue goes on)");
            }
        }
        self.totals.add(&reply);
        self.last = Some((prompt, reply));
        Ok(())
    }

    /// What the user should know of a prompt, each thing once.
    fn tell(&mut self, prompt: &Prompt) {
        for notice in &prompt.notices {
            if self.told.insert(notice.text.clone()) {
                match notice.kind {
                    NoticeKind::NoSources => note::sentences(&notice.text),
                    _ => note::warning(&notice.text),
                }
            }
        }
    }
}

impl Totals {
    fn add(&mut self, reply: &Reply) {
        self.replies += 1;
        self.cached += reply.cached;
        self.new += reply.new;
        self.tokens += reply.ids.len();
        self.decode_tokens += reply.timings.decode_tokens;
        self.decode_s += reply.timings.decode.as_secs_f64();
        self.prefill_s += reply.timings.prefill.as_secs_f64();
    }
}
