//! `guanaco prompt`: every byte that the model would read, and an account of it. Needs no GPU.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use guanaco_engine::prompt::{
    BuildOptions, Conversation, Dropped, Neutralised, Notice, Preset, Prompt, Section, SectionKind, build,
};
use serde::Serialize;

use super::sampling::PromptArgs;
use super::{Globals, input, note, output};
use crate::checkpoint;
use crate::format::PresetChoice;

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

--json: {\"prompt\":\"…\",\"preset\":\"…\",\"tokens\":N,\"ids\":[…],\"sections\":[{\"kind\":…,\"start\":N,\"end\":N,\"tokens\":N}],
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
    /// The most tokens by which earlier turns may lengthen the prompt; needs a tokenizer
    #[arg(long, value_name = "N")]
    pub history_tokens: Option<usize>,
    #[command(flatten)]
    prompt_args: PromptArgs,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    prompt: &'a str,
    preset: Preset,
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
    args.prompt_args.check("prompt")?;
    let mut conversation = Conversation::from_messages(&input::file(&args.messages)?)?;
    args.prompt_args.apply(&mut conversation)?;
    let path = globals.model.as_deref();
    let tokenizer = checkpoint::tokenizer(path)?;
    let template = checkpoint::chat_template(path)?;
    let choice: PresetChoice = args.prompt_args.preset.unwrap_or_default();
    let options = BuildOptions {
        preset: choice.resolve(template.as_deref()),
        max_tokens: globals.context,
        reserve: args.reserve,
        history: args.history,
        history_tokens: args.history_tokens,
        template,
        ..BuildOptions::default()
    };
    let prompt = build(&conversation, &options, tokenizer.as_ref())?;
    if args.json {
        return output::json(&Report {
            prompt: &prompt.text,
            preset: options.preset,
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
    note::dim("---");
    note::dim(&format!("preset: {}", choice.explain(options.template.as_deref())));
    account(&prompt);
    Ok(())
}

/// The sections with their tokens, what was left out, and what the user should know, on stderr.
pub(super) fn account(prompt: &Prompt) {
    let count = |tokens: Option<usize>| tokens.map_or("?".to_owned(), |tokens| tokens.to_string());
    for (kind, tokens) in rows(&prompt.sections) {
        note::dim(&format!("{:<10} {:>6} tokens", format!("{kind:?}").to_lowercase(), count(tokens)));
    }
    note::dim(&format!("{:<10} {:>6} tokens", "all", count(prompt.ids.as_ref().map(Vec::len))));
    for notice in &prompt.notices {
        note::warning(&notice.text);
    }
}

/// The sections by kind, in the order of the prompt; the frame is one, though it stands around all others.
fn rows(sections: &[Section]) -> Vec<(SectionKind, Option<usize>)> {
    let mut rows: Vec<(SectionKind, Option<usize>)> = Vec::new();
    for section in sections {
        match rows.iter_mut().find(|(kind, _)| *kind == section.kind) {
            Some((_, sum)) => *sum = sum.zip(section.tokens).map(|(sum, tokens)| sum + tokens),
            None => rows.push((section.kind, section.tokens)),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_row() {
        let section = |kind, tokens| Section { kind, start: 0, end: 0, tokens };
        let sections = |third| {
            [
                section(SectionKind::Frame, Some(3)),
                section(SectionKind::Input, Some(5)),
                section(SectionKind::Frame, third),
            ]
        };
        let expected = [(SectionKind::Frame, Some(5)), (SectionKind::Input, Some(5))];
        assert_eq!(rows(&sections(Some(2))), expected);
        assert_eq!(rows(&sections(None))[0], (SectionKind::Frame, None));
    }
}
