//! `guanaco eval perplexity`: what a quantisation costs, as a figure with its error.

use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::model::{Llama, LoadProgress, Scorer};
use serde::Serialize;

use super::super::generate::no_tokenizer;
use super::super::globals::found;
use super::super::progress::{LoadBar, until_interrupted};
use super::super::{Globals, Interrupted, input, note, output};
use crate::checkpoint::Files;

/// Perplexity of checkpoints on a text, side by side
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco eval perplexity --text wiki.test.raw --model models/llama-7b
  guanaco eval perplexity --text wiki.test.raw llama-7b llama-7b-4bit llama-7b.Q4_K_M.gguf

The text is cut into windows that do not overlap; each window is read from nothing, and its tokens from the second on count (as
in the GPTQ paper). Lower is better. The first checkpoint is what the others are compared with: both read the same tokens, so
the error of a difference (±, one standard error over blocks of 64 tokens) is much smaller than that of either figure.

--json: {\"tokens\":N,\"window\":N,\"models\":[{\"model\":…,\"formats\":…,\"weight_bytes\":N,\"nll\":…,\"perplexity\":…,
  \"error\":…,\"difference\":… or null,\"difference_error\":… or null}]}")]
pub(super) struct Perplexity {
    /// The text, UTF-8; - for stdin
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    text: PathBuf,
    /// The checkpoints [default: --model, or the embedded one]
    #[arg(value_name = "MODEL", value_hint = clap::ValueHint::AnyPath)]
    models: Vec<PathBuf>,
    /// Tokens of a window [default: the model's context, at most 2048]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(2..))]
    window: Option<u32>,
    /// Only the first N tokens of the text
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    tokens: usize,
    window: usize,
    models: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    model: String,
    formats: String,
    weight_bytes: u64,
    nll: f64,
    perplexity: f64,
    error: f64,
    difference: Option<f64>,
    difference_error: Option<f64>,
}

/// Scores are taken together in blocks of so many tokens: neighbours are not independent.
const BLOCK: usize = 64;

/// The mean of `scores` and the standard error of it.
fn mean(scores: &[f32]) -> (f64, f64) {
    let average = |block: &[f32]| block.iter().map(|score| f64::from(*score)).sum::<f64>() / block.len() as f64;
    let all = average(scores);
    let blocks: Vec<f64> = scores.chunks(BLOCK).filter(|block| block.len() == BLOCK).map(average).collect();
    let n = blocks.len() as f64;
    if n < 2.0 {
        return (all, f64::NAN);
    }
    let centre = blocks.iter().sum::<f64>() / n;
    let variance = blocks.iter().map(|block| (block - centre).powi(2)).sum::<f64>() / (n - 1.0);
    (all, (variance / n).sqrt())
}

pub(super) fn run(args: &Perplexity, globals: &Globals) -> anyhow::Result<()> {
    let text = input::file(&args.text)?;
    let stop = until_interrupted()?;
    let models: Vec<Option<PathBuf>> = match args.models.as_slice() {
        [] => vec![globals.model.clone()],
        models => models.iter().map(|model| found(model).map(Some)).collect::<anyhow::Result<_>>()?,
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut first: Option<(Vec<u32>, Vec<f32>, usize)> = None;
    for path in models {
        let mut files = Files::open(path.as_deref(), &globals.loras()?, globals.context, globals.rope_scaling)?;
        for warning in &files.config.warnings {
            note::warning(warning);
        }
        let tokenizer = files.tokenizer.take().with_context(|| no_tokenizer(&files.name))?;
        let mut ids = tokenizer.encode(&text, tokenizer.adds_bos())?;
        ids.truncate(args.limit.unwrap_or(usize::MAX));
        let most = files.max_seq_len;
        let window = args.window.map_or(first.as_ref().map_or(most, |first| first.2), |window| window as usize);
        ensure!(window <= most, "--window: expected at most {most}, the context of {}, got {window}", files.name);
        ensure!(ids.len() >= 2, "the text has {} tokens, expected at least two", ids.len());
        if let Some((other, ..)) = &first {
            let name = &files.name;
            ensure!(
                *other == ids,
                "{name} cuts the text into other tokens than the first model: they cannot be compared"
            );
        }
        let Some(scores) = score(&files, &ids, window, globals, &stop)? else { bail!(Interrupted) };
        let (nll, error) = mean(&scores);
        let perplexity = nll.exp();
        let (difference, difference_error) = match (&first, rows.first()) {
            (Some((_, base, _)), Some(row)) => {
                let paired: Vec<f32> = scores.iter().zip(base).map(|(own, base)| own - base).collect();
                (Some(perplexity - row.perplexity), Some(perplexity * mean(&paired).1))
            }
            _ => (None, None),
        };
        rows.push(Row {
            model: files.name.clone(),
            formats: files.tensors.formats(),
            weight_bytes: files.tensors.device_bytes(),
            nll,
            perplexity,
            error: perplexity * error,
            difference,
            difference_error,
        });
        first.get_or_insert((ids, scores, window));
    }
    let (tokens, window) = first.map_or((0, 0), |(_, scores, window)| (scores.len(), window));
    let report = Report { tokens, window, models: rows };
    if args.json { output::json(&report) } else { Ok(print(&report)?) }
}

/// `-ln p` of the tokens of `ids`, window by window; None when it was stopped.
fn score(
    files: &Files,
    ids: &[u32],
    window: usize,
    globals: &Globals,
    stop: &impl Fn() -> ControlFlow<()>,
) -> anyhow::Result<Option<Vec<f32>>> {
    let mut bar = LoadBar::new();
    let gpu = globals.open_gpu()?;
    let options = guanaco_engine::model::LoadOptions { max_seq_len: Some(window), ..globals.load_options(1) };
    let mut model = Llama::load(gpu, files.sources(), &options, &mut |progress: LoadProgress| bar.update(progress))?;
    drop(bar);
    let mut scorer = Scorer::new(&mut model)?;
    let mut scores = Vec::with_capacity(ids.len());
    for window in ids.chunks(window).filter(|window| window.len() > 1) {
        let done = scores.len();
        let part = scorer.score(window, &mut |n| {
            progress(&files.name, done + n, ids.len());
            stop()
        })?;
        match part {
            Some(part) => scores.extend(part),
            None => return Ok(None),
        }
    }
    progress(&files.name, ids.len(), ids.len());
    Ok(Some(scores))
}

fn progress(name: &str, done: usize, count: usize) {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = match done < count {
            true => write!(stderr, "\r\x1b[2K{name}: {done} of {count} tokens"),
            false => write!(stderr, "\r\x1b[2K"),
        };
    }
}

fn print(report: &Report) -> std::io::Result<()> {
    let mut out = output::stdout();
    let Report { tokens, window, models } = report;
    writeln!(out, "{tokens} tokens in windows of {window}\n")?;
    let width = models.iter().map(|row| row.model.chars().count()).max().unwrap_or(0).max(5);
    writeln!(out, "{:<width$}  {:>10}  {:>18}  {:>18}  formats", "model", "weights", "perplexity", "difference")?;
    for row in models {
        let weights = super::super::devices::size(row.weight_bytes);
        let perplexity = format!("{:.4} ± {:.4}", row.perplexity, row.error);
        let difference = match (row.difference, row.difference_error) {
            (Some(difference), Some(error)) => format!("{difference:+.4} ± {error:.4}"),
            _ => "-".to_owned(),
        };
        writeln!(out, "{:<width$}  {weights:>10}  {perplexity:>18}  {difference:>18}  {}", row.model, row.formats)?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::mean;

    #[test]
    fn the_error_is_that_of_blocks() {
        // Four blocks with the means 1, 2, 1, 2: variance 1/3, standard error sqrt(1/3 / 4).
        let scores: Vec<f32> = [1.0, 2.0, 1.0, 2.0].iter().flat_map(|value| [*value; 64]).collect();
        let (average, error) = mean(&scores);
        assert!((average - 1.5).abs() < 1e-12 && (error - (1.0_f64 / 12.0).sqrt()).abs() < 1e-12);
        assert!(mean(&scores[..70]).1.is_nan(), "one block says nothing of the error");
    }
}
