//! `guanaco tokenize`: text to ids, and back. Needs neither weights nor a GPU.

use std::io::Write as _;

use anyhow::Context as _;
use guanaco_engine::tokenizer::Tokenizer;
use serde::Serialize;

use super::generate::no_tokenizer;
use super::input::{self, Ids};
use super::{Globals, output};
use crate::checkpoint;

/// Turns text into token ids, or ids into text; needs neither weights nor a GPU
#[derive(clap::Args, Debug)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["text", "ids"]),
    after_help = "\
Examples:
  guanaco tokenize --text 'Hello, world'
  guanaco tokenize --text @notes.txt --no-bos --json
  guanaco tokenize --ids 1,15043,29892,3186 --model models/llama-7b

--json: {\"ids\":[…]} for a text; {\"ids\":[…],\"text\":\"…\",\"pieces\":[\"…\"]} for ids"
)]
pub struct Args {
    /// The text: itself, @FILE, or - for stdin
    #[arg(long, value_name = "TEXT|@FILE|-", allow_hyphen_values = true)]
    pub text: Option<String>,
    /// Token ids: 1,2,3
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    ids: Option<Ids>,
    /// Leaves BOS out in front of the text
    #[arg(long, conflicts_with = "ids")]
    pub no_bos: bool,
    /// Takes special tokens spelled in the text for what they mean
    #[arg(long, conflicts_with = "ids")]
    pub specials: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Encoded<'a> {
    ids: &'a [u32],
}

#[derive(Serialize)]
struct Decoded<'a> {
    ids: &'a [u32],
    text: &'a str,
    pieces: Vec<Option<String>>,
}

/// Runs the subcommand.
///
/// # Errors
/// When there is no tokenizer, the text cannot be read, or an id is outside the vocabulary.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let path = globals.model.as_deref();
    let tokenizer = checkpoint::tokenizer(path)?.with_context(|| no_tokenizer(&globals.model_name()))?;
    match args.ids {
        Some(Ids(ids)) => decode(&tokenizer, &ids, args.json),
        None => {
            let text = input::text(&args.text.unwrap_or_default())?;
            let add_bos = tokenizer.adds_bos() && !args.no_bos;
            let ids = match args.specials {
                true => tokenizer.encode_parsing_specials(&text, add_bos)?,
                false => tokenizer.encode(&text, add_bos)?,
            };
            encode(&tokenizer, &ids, args.json)
        }
    }
}

fn encode(tokenizer: &Tokenizer, ids: &[u32], json: bool) -> anyhow::Result<()> {
    if json {
        return output::json(&Encoded { ids });
    }
    let mut out = output::stdout();
    for id in ids {
        writeln!(out, "{id:>7}  {}", tokenizer.piece(*id).unwrap_or_default())?;
    }
    out.flush()?;
    Ok(())
}

fn decode(tokenizer: &Tokenizer, ids: &[u32], json: bool) -> anyhow::Result<()> {
    let text = tokenizer.decode(ids)?;
    if json {
        let pieces = ids.iter().map(|id| tokenizer.piece(*id)).collect();
        return output::json(&Decoded { ids, text: &text, pieces });
    }
    let mut out = output::stdout();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}
