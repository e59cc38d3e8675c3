//! `guanaco conformance`: every kernel, and whole models, on this machine's adapter against their f64 references: as a table,
//! as JSON, and as one page that can be sent.

pub mod html;
pub mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{bail, ensure};
use guanaco_engine::gpu::Gpu;
use guanaco_engine::kernels::conformance::Outcome;
use guanaco_engine::kernels::{KERNELS, conformance};
use guanaco_engine::model::check;
use indicatif::{ProgressBar, ProgressStyle};
use report::Report;

use super::progress::Step;
use super::{Globals, output};

/// Checks every kernel on this adapter against its reference, and writes a report that can be sent
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco conformance
  guanaco conformance --html                  also writes guanaco-conformance.html, one file that can be sent
  guanaco conformance --html page.html --json cases.json
  guanaco conformance --filter matvec         only kernels whose name contains `matvec`
  guanaco --adapter 1 conformance             another adapter of `guanaco devices`
  GUANACO_BASELINE=1 guanaco conformance      without any optional feature of the adapter

Beside the kernels, `model` runs small random models as a whole: against the references, and one token at a time against
all at once. The error of a case is the normalised mean squared error of its outputs, sum (y - ref)^2 / sum ref^2; words around each
output and those that a kernel must leave alone are checked too. Exit code 1 when a case failed.

--json: {\"format\":1,\"engine\":\"0.1.0\",\"platform\":{\"os\":…,\"arch\":…},\"adapter\":{…},\"tier\":{…},\"baseline_only\":false,
  \"fallbacks\":[variants that the whole models did not use, with the reason],
  \"filter\":\"\",\"passed\":true,\"aborted\":null or why it ended early,
  \"summary\":[{\"kernel\":…,\"variant\":…,\"cases\":12,\"failed\":0,\"worst_nmse\":…,\"limit\":…,\"ms\":…}],
  \"cases\":[{\"kernel\":…,\"variant\":…,\"case\":…,\"nmse\":number or null,\"limit\":…,\"ms\":…,\"failure\":null or why}]};
  `adapter` and `tier` as in `guanaco devices --json`")]
pub struct Args {
    /// Runs only the kernels whose name contains this
    #[arg(long, value_name = "KERNEL", default_value = "")]
    pub filter: String,
    /// Writes JSON to FILE; to stdout, in place of the table, without FILE or with `-`
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT)]
    pub json: Option<PathBuf>,
    /// Writes one self-contained HTML page
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "guanaco-conformance.html")]
    pub html: Option<PathBuf>,
    /// Says on stderr where the run is, a line of JSON after each case: {"done":3,"total":120,"what":…}
    #[arg(long)]
    pub progress: bool,
}

/// The file name that means stdout.
const STDOUT: &str = "-";

/// Runs the subcommand.
///
/// # Errors
/// When there is no such adapter or kernel, when a case failed, or when a file cannot be written.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    check_filter(&args.filter)?;
    let gpu = globals.open_gpu()?;
    let progress = Progress::new(args.progress.then(|| count(&gpu, &args.filter)));
    let report = collect(&gpu, &args.filter, &mut |outcome| progress.update(outcome))?;
    drop(progress);

    if let Some(path) = &args.html {
        output::file(path, &html::page(&report))?;
    }
    let to_stdout = args.json.as_deref() == Some(Path::new(STDOUT));
    match &args.json {
        Some(_) if to_stdout => output::json(&report)?,
        Some(path) => output::file(path, &(serde_json::to_string_pretty(&report)? + "\n"))?,
        None => {}
    }
    if !to_stdout {
        output::text(&report.to_string())?;
    }
    let (failed, all) = (report.failed(), report.cases.len());
    if let Some(reason) = &report.aborted {
        bail!("conformance ended after {all} cases, {failed} of them failed: {reason}");
    }
    ensure!(failed == 0, "{failed} of {all} cases failed on {}", report.adapter.name);
    Ok(())
}

/// What the whole-model checks count as, beside the kernels.
const WHOLE_MODEL: &str = "model";

fn check_filter(filter: &str) -> anyhow::Result<()> {
    let names: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).chain([WHOLE_MODEL]).collect();
    ensure!(
        names.iter().any(|name| name.contains(filter)),
        "no kernel has `{filter}` in its name; there are: {}",
        names.join(", ")
    );
    Ok(())
}

/// How many cases [`collect`] runs.
fn count(gpu: &Gpu, filter: &str) -> usize {
    conformance::count(gpu, filter) + if WHOLE_MODEL.contains(filter) { check::COUNT } else { 0 }
}

/// Runs every kernel whose name contains `filter`, and the whole-model checks if `model` does; tells `each` outcome as it
/// comes, and returns the report. When the device is lost on the way, the report holds what there is and says so.
///
/// # Errors
/// When nothing has such a name.
pub fn collect(gpu: &Arc<Gpu>, filter: &str, each: &mut dyn FnMut(&Outcome)) -> anyhow::Result<Report> {
    check_filter(filter)?;
    let mut outcomes = Vec::new();
    let mut each = |outcome: &Outcome| {
        each(outcome);
        outcomes.push(outcome.clone());
    };
    let mut ran = conformance::run(gpu, filter, &mut each).map(|_| ());
    if WHOLE_MODEL.contains(filter) {
        ran = ran.and_then(|()| check::run(gpu, &mut each).map(|_| ()));
    }
    Ok(Report::new(gpu, filter, &outcomes, ran.err().map(|error| error.to_string())))
}

/// One line on stderr that tells where the run is; nothing where stderr is no terminal. With a total, a line of JSON for each case.
struct Progress {
    bar: ProgressBar,
    failed: std::cell::Cell<u64>,
    total: Option<usize>,
}

impl Progress {
    fn new(total: Option<usize>) -> Self {
        let bar = if total.is_some() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} cases  {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        if let Some(total) = total {
            Step { done: 0, total, what: String::new() }.tell();
        }
        Self { bar, failed: 0.into(), total }
    }

    fn update(&self, outcome: &Outcome) {
        if outcome.failure.is_some() {
            self.failed.set(self.failed.get() + 1);
        }
        let failed = self.failed.get();
        let failed = if failed > 0 { format!("{failed} failed  ") } else { String::new() };
        let what = format!("{} {}: {}", outcome.kernel, outcome.variant, outcome.case);
        self.bar.set_message(format!("{failed}{what}"));
        self.bar.inc(1);
        if let Some(total) = self.total {
            Step { done: self.bar.position() as usize, total, what }.tell();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
