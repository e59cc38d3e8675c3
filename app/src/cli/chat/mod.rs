//! `guanaco chat`: the conversation in the terminal.

mod card;
mod commands;
mod lines;
mod save;
mod speaker;

use std::collections::HashSet;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::ensure;
use guanaco_engine::prompt::{Message, NoticeKind, Preset, Prompt};
use guanaco_engine::session::{FinishReason, Reply, Request};

use self::card::Played;
use self::commands::Action;
use self::lines::{Line, Lines};
use self::save::Saved;
use self::speaker::Speaker;
use super::driver::Driver;
use super::generate::{no_tokenizer, print, stats};
use super::sampling::{LookupArgs, MAX_NEW_TOKENS, PromptArgs, SamplingArgs};
use super::{Globals, note, output, wrong_usage};
use crate::chat::{Chat, Pending, Taken, Turn};
use crate::checkpoint::Files;
use crate::worker::device_lost;

/// Talks with the model in the terminal
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco chat
  guanaco chat --system @notes.txt --character Luma
  guanaco chat --card luma.png                  a character card: PNG, JSON or CHARX
  guanaco chat --model models/guanaco-7b --context 1024 --temperature 0.7
  guanaco chat --resume chat.json
  printf 'Hello\\nWho are you?\\n' | guanaco chat    one message a line, replies on stdout

In the chat, /help lists the commands. Ctrl-C ends a reply, Ctrl-D or /quit the chat.
What you type is kept in a history file for the arrow keys, unless --no-history is given.")]
pub struct Args {
    /// Goes on with a conversation that /save wrote, with its settings where no flag sets others
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub resume: Option<PathBuf>,
    /// Plays the character of a card: PNG, JSON or CHARX, of version 1, 2 or 3
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with = "character")]
    pub card: Option<PathBuf>,
    /// What the card's character calls you
    #[arg(long, value_name = "NAME", default_value = "Guest", requires = "card")]
    pub user: String,
    /// The most tokens of a reply [default: 512]
    #[arg(long, short = 'n', value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Goes on after tokens that end a reply
    #[arg(long)]
    pub ignore_eos: bool,
    /// The most tokens by which earlier turns may lengthen the prompt [default: as many as fit]
    #[arg(long, value_name = "N")]
    pub history_tokens: Option<usize>,
    /// Keeps no history file
    #[arg(long)]
    pub no_history: bool,
    #[command(flatten)]
    prompt_args: PromptArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    lookup: LookupArgs,
}

/// A running chat.
struct Talk {
    chat: Chat,
    driver: Driver,
    /// Somebody is looking.
    terminal: bool,
    /// Tokens of a draft; 0 is off.
    draft_tokens: usize,
    /// `NAME:` is put in front of a character's replies.
    force_name: bool,
    /// The card that is played, if one is.
    played: Option<Played>,
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
    let saved = args.resume.as_deref().map(Saved::read).transpose()?;
    let files = globals.open_files()?;
    let chat = begin(&args, saved, globals.model.is_none(), &files)?;
    let seed = chat.sampler.seed;
    let played = args.card.as_deref().map(|path| Played::read(path, &args.user, seed)).transpose()?;
    ensure!(files.tokenizer.is_some(), no_tokenizer(&files.name));
    let driver = Driver::load(globals, files, 1)?;

    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut lines = Lines::open(terminal, !args.no_history)?;
    let (told, totals) = (HashSet::new(), Totals::default());
    let force_name = args.prompt_args.force_name;
    let draft_tokens = args.lookup.draft_tokens();
    let mut talk =
        Talk { chat, driver, terminal, draft_tokens, force_name, played, told, last: None, totals, file: args.resume };
    talk.greet();
    talk.begin_as_card();
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
            if output::is_broken_pipe(&error) {
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

/// The chat that `args` ask for: the saved one, or a new one.
fn begin(args: &Args, saved: Option<Saved>, embedded: bool, files: &Files) -> anyhow::Result<Chat> {
    // Chats that were saved without the name of a format were made with Guanaco's.
    let kept = saved.as_ref().map(|saved| saved.preset.unwrap_or(Preset::Guanaco.into()));
    let preset = args.prompt_args.preset.or(kept).unwrap_or_default();
    let sampler = match saved.as_ref().and_then(|saved| saved.sampling.as_ref()) {
        Some(saved) => args.sampling.resume(saved),
        None => args.sampling.clone().for_model(embedded).config(true, files.sampling_for(preset)),
    };
    args.sampling.check(&sampler).map_err(|message| wrong_usage("chat", message))?;
    sampler.validate()?;
    let mut chat = Chat::new(sampler, MAX_NEW_TOKENS);
    if let Some(saved) = saved {
        chat.conversation = saved.conversation;
        chat.max_new_tokens = saved.max_new_tokens.unwrap_or(MAX_NEW_TOKENS);
    }
    args.prompt_args.apply(&mut chat.conversation)?;
    chat.preset = preset;
    chat.max_new_tokens = args.max_new_tokens.unwrap_or(chat.max_new_tokens).max(1);
    chat.ignore_eos = args.ignore_eos;
    chat.history_tokens = args.history_tokens;
    Ok(chat)
}

impl Talk {
    fn greet(&self) {
        if !self.terminal {
            return;
        }
        let model = &self.driver.model;
        note::line("1", &format!("Guanaco · {} on {}", model.files.name, model.adapter.name));
        note::sentences(&format!(
            "{} tokens of context. Type a message; /help lists the commands, Ctrl-C stops a reply, Ctrl-D leaves.",
            model.files.max_seq_len
        ));
        note::dim(&format!("Format: {}.", self.chat.preset.explain(model.files.chat_template.as_deref())));
        if model.files.uses_own_sampling(self.chat.preset, &self.chat.sampler) {
            note::dim(&format!("Sampling as generation_config.json has it: {}.", self.chat.sampler));
        }
        if self.chat.conversation.messages.is_empty() {
            return;
        }
        note::dim(&format!("Going on after {} messages:", self.chat.conversation.messages.len()));
        for message in self.chat.conversation.messages.iter().rev().take(2).rev() {
            note::dim(&output::shown(&format!("  {:?}: {}", message.role, message.content)));
        }
    }

    /// A character opens the talk, when there is none yet.
    fn begin_as_card(&mut self) {
        let messages = &mut self.chat.conversation.messages;
        let Some(greeting) = self.played.as_ref().and_then(Played::greeting).filter(|_| messages.is_empty()) else {
            return;
        };
        if self.terminal {
            note::line("1", &output::shown(&greeting));
        }
        messages.push(Message::assistant(greeting));
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
        if let Some(played) = &self.played {
            played.play(&mut self.chat.conversation, &turn, &self.driver.model.files, self.force_name);
        }
        let pending = self.chat.prepare(turn, &self.driver.model.files)?;
        self.tell(&pending.prompt);
        let mut result = self.generate(&pending, continues);
        if let Some(reason) = result.as_ref().err().and_then(device_lost) {
            let why =
                format!("the GPU device was lost ({reason}): the model is loaded again, and the reply begins anew");
            note::warning(&why);
            self.driver.reload()?;
            result = self.generate(&pending, continues);
        }
        let reply = result?;
        let prompt = pending.prompt.clone();
        let taken = self.chat.finish(pending, &reply);
        if taken == Taken::Complete {
            note::dim("(the reply is complete: there is nothing to go on with)");
            return Ok(());
        }
        if self.terminal {
            note::dim(&stats(&reply));
            match (taken, &reply.finish) {
                (Taken::Back, _) => note::dim("(stopped before the first word: the message is taken back)"),
                (Taken::Nothing, _) => note::dim("(the model said nothing; /regenerate asks again)"),
                (_, FinishReason::Stopped) => note::dim("(stopped; /continue goes on)"),
                (_, FinishReason::MaxTokens | FinishReason::ContextFull) => note::dim("(cut off; /continue goes on)"),
                _ => {}
            }
        }
        self.totals.add(&reply);
        self.last = Some((prompt, reply));
        Ok(())
    }

    /// Generates and prints what `pending` asks for, and ends its line.
    fn generate(&mut self, pending: &Pending, continues: bool) -> anyhow::Result<Reply> {
        let colour = note::colour(self.terminal);
        let mut begun = continues;
        if let Some(prefix) = &pending.prompt.reply_prefix {
            print(&note::style(colour, "1", prefix))?;
            begun = true;
        }
        let mut printed = begun && !continues;
        // Behind a name that is already there, nobody is named.
        let name = self.chat.conversation.character.as_ref().filter(|_| !begun).map(|character| character.name.clone());
        let mut speaker = Speaker::new(name);
        let mut show = |(name, text): (String, String)| {
            printed = printed || !name.is_empty() || !text.is_empty();
            if !name.is_empty() {
                print(&note::style(colour, "1", &name))?;
            }
            print(&text)
        };
        let request = Request { draft_tokens: self.draft_tokens, ..pending.request.clone() };
        let result = self.driver.generate(request, &mut |text| {
            let text = if begun { text } else { text.trim_start() };
            begun = begun || !text.is_empty();
            show(speaker.push(text))
        });
        show(speaker.finish())?;
        if printed || !(self.terminal || continues) {
            print("\n")?;
        }
        result
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
