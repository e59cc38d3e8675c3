//! `guanaco quantize`: a checkpoint in four bits, for this program and others.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::Error;
use guanaco_engine::file::Checkpoint;
use guanaco_engine::model::Config;
use guanaco_engine::model::quantize::{Method, Progress, Projection, quantize};
use guanaco_engine::tokenizer::Tokenizer;
use guanaco_engine::weights::gptq_write::Settings;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::devices::size;
use super::{Globals, Interrupted, input, note, output, wrong_usage};

/// Writes a checkpoint in 4 bits, in AutoGPTQ's layout, which other programs read too
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco quantize models/llama-7b models/llama-7b-4bit --calibration text.txt
  guanaco quantize models/llama-7b models/llama-7b-4bit --method rtn     without a text, without a GPU
  guanaco quantize models/llama-7b out --calibration text.txt --group 32 --no-act-order

rtn rounds each weight to the nearest of 16 points of its group. gptq (Frantar et al. 2022, arXiv:2210.17323) runs a text through
the model and rounds so that the outputs for such text change little: take one like what the model will read, 65,000
tokens or more of it. It works a layer at a time: the device holds one layer, the machine the text's hidden states.
The embedding, the norms and the head stay in f16. OUT appears whole or not at all; Ctrl-C leaves nothing behind.

--json: {\"out\":…,\"method\":\"rtn\" or \"gptq\",\"bits\":4,\"group_size\":N or -1,\"act_order\":…,\"symmetric\":…,\"damp\":…,
  \"tokens\":N of the text,\"bytes\":N of the file,\"seconds\":…,
  \"mean\":[{\"kind\":\"q_proj\",\"error\":…,\"rtn_error\":… or null}],
  \"projections\":[{\"name\":…,\"layer\":N,\"kind\":…,\"shape\":[N,N],\"error\":…,\"rtn_error\":… or null}]};
  error is ||(W-Q)X||^2 / ||WX||^2 over the text with gptq, and ||W-Q||^2 / ||W||^2 with rtn")]
pub struct Args {
    /// The checkpoint: a Hugging Face folder or a file, not quantised
    #[arg(value_name = "IN", value_hint = clap::ValueHint::AnyPath)]
    pub source: PathBuf,
    /// The folder to write
    #[arg(value_name = "OUT", value_hint = clap::ValueHint::DirPath)]
    pub out: PathBuf,
    /// Bits of a weight
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(4..=4))]
    pub bits: u32,
    /// Columns that share a scale: 32, 64, 128, … or -1 for a whole row
    #[arg(long, value_name = "N", default_value = "128", allow_hyphen_values = true, value_parser = parse_group)]
    pub group: Group,
    /// How weights are rounded [default: gptq with --calibration, rtn without]
    #[arg(long, value_enum)]
    pub method: Option<Rounding>,
    /// A text (UTF-8) like what the model will read
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub calibration: Option<PathBuf>,
    /// Pieces of the text
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub samples: u32,
    /// Tokens of a piece
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    pub seq_len: u32,
    /// Added to the Hessian's diagonal, as a share of its mean
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, value_parser = parse_damp)]
    pub damp: f64,
    /// Rounds columns in the file's order rather than the heaviest first: a little worse, and faster in some programs
    #[arg(long)]
    pub no_act_order: bool,
    /// Grids with their zero in the middle: a little worse, and what some fast kernels need
    #[arg(long)]
    pub sym: bool,
    /// Writes into a folder that is not empty
    #[arg(long)]
    pub force: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Columns of a group; None for a whole row.
#[derive(Clone, Copy, Debug)]
pub struct Group(Option<usize>);

/// How weights are rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Rounding {
    /// To the nearest point.
    Rtn,
    /// So that outputs change little.
    Gptq,
}

impl Rounding {
    fn name(self) -> &'static str {
        match self {
            Self::Rtn => "rtn",
            Self::Gptq => "gptq",
        }
    }
}

fn parse_group(text: &str) -> Result<Group, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(Group(None)),
        Ok(len @ 32..=65536) if (len as u64).is_power_of_two() => Ok(Group(Some(len as usize))),
        _ => Err("expected -1 or a power of two from 32".to_owned()),
    }
}

fn parse_damp(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(damp) if damp > 0.0 && damp <= 1.0 => Ok(damp),
        _ => Err("expected a share above 0, at most 1".to_owned()),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    out: String,
    method: &'static str,
    bits: u32,
    group_size: i64,
    act_order: bool,
    symmetric: bool,
    damp: f64,
    tokens: usize,
    bytes: u64,
    seconds: f64,
    mean: Vec<Mean>,
    projections: Vec<Measured<'a>>,
}

#[derive(Serialize)]
struct Mean {
    kind: &'static str,
    error: f64,
    rtn_error: Option<f64>,
}

#[derive(Serialize)]
struct Measured<'a> {
    name: &'a str,
    layer: usize,
    kind: &'static str,
    shape: [usize; 2],
    error: f64,
    rtn_error: Option<f64>,
}

/// Runs the subcommand.
///
/// # Errors
/// What is wrong with the checkpoint, the text, the folder or the device.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    if !globals.lora.is_empty() || globals.model.is_some() {
        return Err(wrong_usage("quantize", "the model is IN; --model and --lora have no meaning here"));
    }
    let rounding = args.method.unwrap_or(if args.calibration.is_some() { Rounding::Gptq } else { Rounding::Rtn });
    match (rounding, &args.calibration) {
        (Rounding::Gptq, None) => {
            return Err(wrong_usage("quantize", "--method gptq needs a text to be fitted to: --calibration FILE"));
        }
        (Rounding::Rtn, Some(_)) => {
            return Err(wrong_usage("quantize", "--method rtn looks at no text: leave out --calibration, or --method"));
        }
        (Rounding::Rtn, None) if args.method.is_none() => {
            note::sentences("rounding to nearest (rtn); with --calibration FILE, a text, GPTQ loses less");
        }
        _ => {}
    }
    let start = Instant::now();
    let checkpoint = Checkpoint::open(&args.source)?;
    let config = Config::load(&checkpoint)?;
    for warning in &config.warnings {
        note::warning(warning);
    }
    let settings = Settings {
        group_len: args.group.0,
        symmetric: args.sym,
        act_order: rounding == Rounding::Gptq && !args.no_act_order,
        damp: args.damp,
    };
    check_out(&args)?;
    let method = match &args.calibration {
        Some(text) => {
            let sequences = sequences(&args, &checkpoint, &config, text)?;
            Method::Gptq { gpu: globals.open_gpu()?, sequences }
        }
        None => Method::Nearest,
    };
    let tokens = match &method {
        Method::Gptq { sequences, .. } => sequences.iter().map(Vec::len).sum(),
        Method::Nearest => 0,
    };

    let stop = Arc::new(AtomicBool::new(false));
    let pressed = stop.clone();
    ctrlc::set_handler(move || pressed.store(true, Ordering::SeqCst))?;
    let is_new = !args.out.exists();
    if is_new {
        std::fs::create_dir(&args.out).with_context(|| format!("cannot create {}", args.out.display()))?;
    }
    let bar = Bar::new();
    let result = quantize(&checkpoint, &args.out, &method, settings, &mut |progress| {
        bar.update(progress);
        match stop.load(Ordering::SeqCst) {
            true => Err(Error::Request("interrupted".to_owned())),
            false => Ok(()),
        }
    });
    drop(bar);
    let projections = match result {
        Ok(projections) => projections,
        Err(error) => {
            if is_new {
                // Only an empty folder goes: what was there, or what somebody else has put there, stays.
                let _ = std::fs::remove_dir(&args.out);
            }
            return Err(if stop.load(Ordering::SeqCst) { Interrupted.into() } else { error.into() });
        }
    };
    let report = Report {
        out: args.out.display().to_string(),
        method: rounding.name(),
        bits: args.bits,
        group_size: args.group.0.map_or(-1, |len| len as i64),
        act_order: settings.act_order,
        symmetric: args.sym,
        damp: args.damp,
        tokens,
        bytes: std::fs::metadata(args.out.join("model.safetensors")).map_or(0, |metadata| metadata.len()),
        seconds: start.elapsed().as_secs_f64(),
        mean: means(&projections),
        projections: projections.iter().map(measured).collect(),
    };
    if args.json { output::json(&report) } else { Ok(print(&report)?) }
}

/// Refuses to write over what is there, unless asked to; and over the source, or beside another model's weights, in any case.
fn check_out(args: &Args) -> anyhow::Result<()> {
    let out = args.out.as_path();
    let shown = out.display();
    if !out.exists() {
        return Ok(());
    }
    ensure!(out.is_dir(), "{shown} is a file; OUT is the folder to write");
    let same = |path: &Path| path.canonicalize().ok() == out.canonicalize().ok();
    let folder = if args.source.is_dir() { Some(args.source.as_path()) } else { args.source.parent() };
    ensure!(!folder.is_some_and(same), "{shown} holds the source itself; name another folder");
    let entries = std::fs::read_dir(out).with_context(|| format!("cannot list {shown}"))?;
    let names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    ensure!(names.is_empty() || args.force, "{shown} is not empty; name another folder, or write over it with --force");
    let is_weights = |name: &&String| {
        let ending =
            [".safetensors", ".bin", ".pt", ".pth", ".gguf", ".index.json"].iter().any(|end| name.ends_with(end));
        ending && *name != "model.safetensors"
    };
    match names.iter().find(is_weights) {
        Some(name) => {
            bail!("{shown} holds other weights ({name}), which would be read in place of these: remove them first")
        }
        None => Ok(()),
    }
}

/// Pieces of the text at even distances, each begun as the tokenizer begins a prompt.
fn sequences(args: &Args, checkpoint: &Checkpoint, config: &Config, path: &Path) -> anyhow::Result<Vec<Vec<u32>>> {
    let Some(tokenizer) = Tokenizer::from_checkpoint(checkpoint)? else {
        bail!("{} has no tokenizer, without which no text can be read: use --method rtn", args.source.display());
    };
    tokenizer.check_vocab_size(config.vocab_size)?;
    let text = input::file(path)?;
    let ids = tokenizer.encode(&text, false)?;
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let (samples, seq_len) = (args.samples as usize, (args.seq_len as usize).min(config.max_seq_len));
    let piece = seq_len - usize::from(bos.is_some());
    ensure!(
        ids.len() >= 32,
        "{}: {} tokens are no text to be fitted to; take 65,000 or more",
        path.display(),
        ids.len()
    );
    let n = samples.min(ids.len().div_ceil(piece));
    if n < samples {
        let asked = samples * seq_len;
        note::warning(&format!(
            "{} has {} tokens, where {asked} were asked for: all of it is read",
            path.display(),
            ids.len()
        ));
    }
    let last = ids.len().saturating_sub(piece);
    let start = |at: usize| if n == 1 { 0 } else { last * at / (n - 1) };
    let take = |at: usize| &ids[start(at)..(start(at) + piece).min(ids.len())];
    Ok((0..n).map(|at| bos.into_iter().chain(take(at).iter().copied()).collect()).collect())
}

fn measured(projection: &Projection) -> Measured<'_> {
    Measured {
        name: &projection.name,
        layer: projection.layer,
        kind: projection.kind,
        shape: [projection.shape.0, projection.shape.1],
        error: projection.error,
        rtn_error: projection.nearest,
    }
}

/// The mean errors of each kind of projection, in the order of the first layer.
fn means(projections: &[Projection]) -> Vec<Mean> {
    let mut kinds: Vec<&'static str> = Vec::new();
    for projection in projections {
        if !kinds.contains(&projection.kind) {
            kinds.push(projection.kind);
        }
    }
    let mean = |kind: &'static str| {
        let of: Vec<&Projection> = projections.iter().filter(|projection| projection.kind == kind).collect();
        let n = of.len() as f64;
        let nearest: Option<f64> = of.iter().map(|projection| projection.nearest).sum();
        let error = of.iter().map(|projection| projection.error).sum::<f64>() / n;
        Mean { kind, error, rtn_error: nearest.map(|sum| sum / n) }
    };
    kinds.into_iter().map(mean).collect()
}

fn print(report: &Report<'_>) -> std::io::Result<()> {
    let mut out = output::stdout();
    let what = if report.method == "gptq" { "error of the outputs" } else { "error of the weights" };
    let has_both = report.mean.iter().any(|mean| mean.rtn_error.is_some());
    writeln!(out, "{:<12}{what:>22}{}", "projection", if has_both { "      by plain rounding" } else { "" })?;
    for mean in &report.mean {
        write!(out, "{:<12}{:>21.3}%", mean.kind, mean.error * 100.0)?;
        if let Some(error) = mean.rtn_error {
            write!(out, "{:>22.3}%", error * 100.0)?;
        }
        writeln!(out)?;
    }
    let text = if report.tokens > 0 { format!(", over {} tokens", report.tokens) } else { String::new() };
    writeln!(out, "{}: {} in {:.0} s{text}", report.out, size(report.bytes), report.seconds)?;
    out.flush()
}

/// How far the work is, on a terminal.
struct Bar(Option<ProgressBar>);

/// Steps of the bar.
const STEPS: u64 = 10_000;

impl Bar {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg}  {bar:32} {percent:>3} %, {eta} left") {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    fn update(&self, progress: Progress) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("layer {} of {}: {}", progress.layer + 1, progress.n_layers, progress.what));
            bar.set_position((progress.done * STEPS as f64) as u64);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
