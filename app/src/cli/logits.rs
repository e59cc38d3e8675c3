//! `guanaco logits`: what the model expects next.

use std::io::Write as _;

use guanaco_engine::session::Request;
use serde::Serialize;

use super::driver::Driver;
use super::input::Ids;
use super::{Globals, output};

/// Prints the logits after the last of some token ids
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco logits --ids 1,270,262           the 20 best
  guanaco logits --ids 1,270,262 --json    all of them

--json: {\"ids\":[the given ones],\"logits\":[one for each token of the vocabulary]}")]
pub struct Args {
    /// The prompt as token ids, BOS included: 1,2,3
    #[arg(long, value_name = "IDS", required = true, allow_hyphen_values = true)]
    ids: Ids,
    /// How many to print without --json
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    ids: &'a [u32],
    logits: &'a [f32],
}

/// Runs the subcommand.
///
/// # Errors
/// What is wrong with the ids, the checkpoint or the device.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let Ids(ids) = args.ids;
    let model = globals.open_files()?;
    model.check(&Request { prompt_ids: ids.clone(), ..Request::default() }, 1)?;
    let mut driver = Driver::load(globals, model.clone(), 1)?;
    let logits = driver.logits(ids.clone())?;
    if args.json {
        return output::json(&Report { ids: &ids, logits: &logits });
    }
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - best).exp()).sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b)));
    let mut out = output::stdout();
    writeln!(out, "{:>7}  {:>10}  {:>8}  piece", "id", "logit", "prob.")?;
    for id in order.into_iter().take(args.top) {
        let share = f64::from(logits[id] - best).exp() / sum * 100.0;
        let piece = model.tokenizer.as_ref().and_then(|tokenizer| tokenizer.piece(id as u32));
        writeln!(out, "{id:>7}  {:>10.4}  {share:>7.3}%  {}", logits[id], output::shown(&piece.unwrap_or_default()))?;
    }
    out.flush()?;
    Ok(())
}
