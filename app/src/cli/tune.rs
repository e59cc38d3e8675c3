//! `guanaco tune`: which launch of each kernel is the fastest on this adapter, kept for every later run.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use guanaco_engine::gpu::AdapterFacts;
use guanaco_engine::kernels::tune::{self, Candidate};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::bench::report::{Spread, figure};
use super::progress::until_interrupted;
use super::{Globals, Interrupted, note, output};
use crate::tuning;

/// Finds the fastest launch of each kernel on this adapter, and keeps it for later runs
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco tune                                tries sizes and variants for at most 20 s
  guanaco --adapter 1 tune                    another adapter of `guanaco devices`
  guanaco tune --clear                        forgets what was found on it

A launch is tried when it passes its self-test, and wins when it is at least 3 % faster in the median, and in nearly every round of
a run in which all take turns. What is found is kept in the user's cache folder, and used as long as adapter, driver and program stay
the same; results differ from those of other launches in the last bits only. GUANACO_UNTUNED=1 leaves it aside.

--json: {\"format\":1,\"engine\":\"0.1.0\",\"adapter\":{…},\"seconds\":…,\"file\":…,
  \"kernels\":[{\"kernel\":\"matvec\",\"before\":\"subgroup/32\",\"after\":\"base/128\",\"speedup\":1.1,\"complete\":true,
    \"candidates\":[{\"launch\":\"base/64\",\"seconds\":{\"median\":…,\"min\":…,\"max\":…,\"runs\":[…]} or null,\"failure\":null or why}]}]};
  with --clear {\"cleared\":true or false}; `adapter` as in `guanaco devices --json`")]
pub struct Args {
    /// Forgets what was kept for this adapter
    #[arg(long)]
    pub clear: bool,
    /// Prints JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

/// All kernels together take no longer.
const BUDGET: Duration = Duration::from_secs(20);

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    format: u32,
    engine: &'static str,
    adapter: AdapterFacts,
    seconds: f64,
    file: String,
    kernels: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    kernel: &'static str,
    before: String,
    after: String,
    /// 1 where nothing is faster.
    speedup: f64,
    /// Whether there was time to try everything.
    complete: bool,
    candidates: Vec<Tried>,
}

#[derive(Debug, Serialize)]
struct Tried {
    launch: String,
    seconds: Option<Spread>,
    failure: Option<String>,
}

/// Runs the subcommand.
///
/// # Errors
/// When there is no such adapter, when the file cannot be written or removed; when it was interrupted.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let gpu = globals.open_gpu()?;
    let path = tuning::file(gpu.facts())
        .context("there is no folder to keep anything in: there is no home folder, or GUANACO_CACHE is empty")?;
    if args.clear {
        let cleared = tuning::clear(&path)?;
        if args.json {
            return output::json(&serde_json::json!({ "cleared": cleared }));
        }
        return output::text(if cleared { "forgotten\n" } else { "nothing was kept for this adapter\n" });
    }
    let interrupted = until_interrupted()?;
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} kernels  {wide_msg}") {
        bar.set_style(style);
    }
    let start = Instant::now();
    let mut stopped = false;
    let all = tune::tune(&gpu, BUDGET, &mut |tuned| {
        bar.inc(1);
        bar.set_message(tuned.kernel);
        stopped = interrupted().is_break();
        if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    bar.finish_and_clear();
    if stopped {
        anyhow::bail!(Interrupted);
    }
    let seconds = start.elapsed().as_secs_f64();
    tuning::write(&path, gpu.facts(), tune::tuning(&all))?;
    let report = Report {
        format: 1,
        engine: env!("CARGO_PKG_VERSION"),
        adapter: gpu.facts().clone(),
        seconds,
        file: path.display().to_string(),
        kernels: all.iter().filter_map(Line::of).collect(),
    };
    if args.json {
        return output::json(&report);
    }
    note::line("", &format!("wrote {}", report.file));
    output::text(&report.to_string())
}

impl Line {
    fn of(tuned: &tune::Tuned) -> Option<Self> {
        let (before, after) = (tuned.candidates.first()?, tuned.candidates.get(tuned.best)?);
        let median = |candidate: &Candidate| candidate.median().filter(|median| *median > 0.0);
        Some(Self {
            kernel: tuned.kernel,
            before: before.launch.to_string(),
            after: after.launch.to_string(),
            speedup: median(before).zip(median(after)).map_or(1.0, |(before, after)| before / after),
            complete: tuned.is_complete(),
            candidates: tuned
                .candidates
                .iter()
                .map(|candidate| Tried {
                    launch: candidate.launch.to_string(),
                    seconds: Spread::of(candidate.seconds.clone()),
                    failure: candidate.failure.clone(),
                })
                .collect(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.adapter)?;
        writeln!(f, "\n{:16} {:24} {:>10} {:>10} {:>10}", "kernel", "launch", "µs", "min", "max")?;
        for line in &self.kernels {
            for tried in &line.candidates {
                let name = if tried.launch == line.before { line.kernel } else { "" };
                write!(f, "{name:16} {:24}", tried.launch)?;
                match (&tried.seconds, &tried.failure) {
                    (Some(seconds), _) => {
                        for value in [seconds.median, seconds.min, seconds.max] {
                            write!(f, " {:>10}", figure(value * 1e6))?;
                        }
                    }
                    (None, Some(failure)) => write!(f, "   {failure}")?,
                    (None, None) if line.candidates.len() == 1 => write!(f, "   the only one")?,
                    (None, None) => write!(f, "   no time was left")?,
                }
                if tried.launch == line.after && line.after != line.before {
                    write!(f, "  taken: {:.2} times as fast", line.speedup)?;
                }
                writeln!(f)?;
            }
        }
        let won = self.kernels.iter().filter(|line| line.after != line.before).count();
        writeln!(f, "\n{won} of {} kernels run faster otherwise, {:.1} s", self.kernels.len(), self.seconds)?;
        let unfinished: Vec<_> = self.kernels.iter().filter(|line| !line.complete).map(|line| line.kernel).collect();
        if !unfinished.is_empty() {
            writeln!(f, "there was no time for all launches of {}", unfinished.join(", "))?;
        }
        Ok(())
    }
}
