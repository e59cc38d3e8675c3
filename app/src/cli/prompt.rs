//! `guanaco prompt`: every byte that the model would read, and an account of it. Needs no GPU.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use guanaco_engine::prompt::{BuildOptions, Conversation, Dropped, Neutralised, Notice, Prompt, Section, build};
use serde::Serialize;

use super::sampling::PromptArgs;
use super::{Globals, input, note, output};
use crate::checkpoint;

/// Prints the exact prompt of a conversation, and the tokens of its sections; needs no GPU
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco prompt --messages chat.json
  guanaco prompt --messages chat.json --preset alpaca --json
  guanaco prompt --messages chat.json --context 1024 --reserve 256     what would be dropped
  echo '[{\"role\":\"user\",\"content\":\"Hello\"}]' | guanaco prompt --messages -

FILE: [{\"role\":\"system|user|assistant\",\"content\":\"…\"}, …], the last a user's.
The prompt goes to stdout, byte by byte; the account of it to stderr.

--json: {\"prompt\":\"…\",\"tokens\":N,\"ids\":[…],\"sections\":[{\"kind\":…,\"start\":N,\"end\":N,\"tokens\":N}],
  \"dropped\":[{\"index\":N or null,\"role\":…,\"tokens\":N,\"reason\":…}],\"neutralised\":[{\"place\":…,\"marker\":…}],
  \"notices\":[{\"kind\":…,\"text\":…}],\"reply_prefix\":…,\"stop\":[…]}; counts are null without a tokenizer")]
pub struct Args {
    /// The conversation; - for stdin
    #[arg(long, value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    pub messages: PathBuf,
    /// Tokens of --context that are kept free for the reply
    #[arg(long, value_name = "TOKENS", default_value_t = 0)]
    pub reserve: usize,
    /// The most earlier turns that go in
    #[arg(long, value_name = "TURNS")]
    pub history: Option<usize>,
    #[command(flatten)]
    prompt_args: PromptArgs,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    prompt: &'a str,
    tokens: Option<usize>,
    ids: Option<&'a [u32]>,
    sections: &'a [Section],
    dropped: &'a [Dropped],
    neutralised: &'a [Neutralised],
    notices: &'a [Notice],
    reply_prefix: Option<&'a str>,
    stop: &'a [String],
}

/// Runs the subcommand.
///
/// # Errors
/// When the file is not of its form, or the prompt cannot be built.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let mut conversation = Conversation::from_messages(&input::file(&args.messages)?)?;
    args.prompt_args.apply(&mut conversation)?;
    let path = globals.model.as_deref();
    let tokenizer = checkpoint::tokenizer(path)?;
    let options = BuildOptions {
        preset: args.prompt_args.preset.unwrap_or_default(),
        max_tokens: globals.context,
        reserve: args.reserve,
        history: args.history,
        template: checkpoint::chat_template(path)?,
        ..BuildOptions::default()
    };
    let prompt = build(&conversation, &options, tokenizer.as_ref())?;
    if args.json {
        return output::json(&Report {
            prompt: &prompt.text,
            tokens: prompt.ids.as_ref().map(Vec::len),
            ids: prompt.ids.as_deref(),
            sections: &prompt.sections,
            dropped: &prompt.dropped,
            neutralised: &prompt.neutralised,
            notices: &prompt.notices,
            reply_prefix: prompt.reply_prefix.as_deref(),
            stop: &prompt.stop,
        });
    }
    let mut out = output::stdout();
    out.write_all(prompt.text.as_bytes())?;
    if std::io::stdout().is_terminal() && !prompt.text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    drop(out);
    account(&prompt);
    Ok(())
}

/// The sections with their tokens, what was left out, and what the user should know, on stderr.
pub(super) fn account(prompt: &Prompt) {
    let count = |tokens: Option<usize>| tokens.map_or("?".to_owned(), |tokens| tokens.to_string());
    note::dim("---");
    for section in &prompt.sections {
        let kind = format!("{:?}", section.kind).to_lowercase();
        note::dim(&format!("{kind:<10} {:>6} tokens", count(section.tokens)));
    }
    note::dim(&format!("{:<10} {:>6} tokens", "all", count(prompt.ids.as_ref().map(Vec::len))));
    for notice in &prompt.notices {
        note::warning(&notice.text);
    }
}
