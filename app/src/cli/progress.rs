//! The progress bars of a load and of a download, and stopping what they show.

use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use guanaco_engine::model::LoadProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

/// Where a long run is: what `--progress` writes to stderr, a line of JSON each, for a program that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Parts that are over.
    pub done: usize,
    /// Parts in all.
    pub total: usize,
    /// What is run now, or was run last.
    pub what: String,
}

impl Step {
    /// Writes it to stderr. A run goes on though nobody reads where it is.
    pub(crate) fn tell(&self) {
        if let Ok(line) = serde_json::to_string(self) {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }

    /// The step that `line` tells of; None where it is something else.
    pub fn read(line: &str) -> Option<Self> {
        serde_json::from_str(line.trim()).ok()
    }
}

/// A bar on stderr that shows up only when a load takes long, and only on a terminal.
pub(crate) struct LoadBar {
    verb: &'static str,
    start: Instant,
    bar: Option<ProgressBar>,
}

/// Loads that are over sooner show nothing.
const PATIENCE: Duration = Duration::from_millis(400);

impl LoadBar {
    /// Nothing to see yet.
    pub(crate) fn new() -> Self {
        Self::named("loading")
    }

    /// Nothing to see yet of something else than a load.
    pub(crate) fn named(verb: &'static str) -> Self {
        Self { verb, start: Instant::now(), bar: None }
    }

    /// Shows how far the load is.
    pub(crate) fn update(&mut self, progress: LoadProgress) {
        if self.bar.is_none() && self.start.elapsed() > PATIENCE && std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr());
            let template = "{msg}  {bar:32} {bytes:>10} of {total_bytes}  {binary_bytes_per_sec}, {eta} left";
            bar.set_message(self.verb);
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(progress.done);
        }
    }
}

/// Has Ctrl-C end a long work in order: what is returned breaks once it was pressed. A second press ends the program.
pub(crate) fn until_interrupted() -> anyhow::Result<impl Fn() -> ControlFlow<()>> {
    let pressed = Arc::new(AtomicBool::new(false));
    let handler = pressed.clone();
    ctrlc::set_handler(move || {
        if handler.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })?;
    Ok(move || if pressed.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}

impl Drop for LoadBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar on stderr for a download, only on a terminal.
#[cfg(feature = "hub-plain")]
pub(crate) struct PullBar {
    total: u64,
    bar: Option<ProgressBar>,
}

#[cfg(feature = "hub-plain")]
impl PullBar {
    /// A download of `total` bytes.
    pub(crate) fn new(total: u64) -> Self {
        Self { total, bar: None }
    }

    /// `done` bytes of all are here, the last of them in `file`.
    pub(crate) fn update(&mut self, file: &str, done: u64) {
        if self.bar.is_none() && std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(self.total), ProgressDrawTarget::stderr());
            let template = "{bar:24} {bytes:>10} of {total_bytes}  {binary_bytes_per_sec}, {eta} left  {wide_msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            // What an earlier run brought says nothing of this one's rate.
            bar.set_position(done);
            bar.reset_eta();
            self.bar = Some(bar);
        }
        if let Some(bar) = &self.bar {
            if bar.message() != file {
                bar.set_message(file.to_owned());
            }
            bar.set_position(done);
        }
    }
}

#[cfg(feature = "hub-plain")]
impl Drop for PullBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn a_step_is_told_from_what_else_stderr_carries() {
        let step = Step { done: 3, total: 120, what: "matvec base/64: 7 x 33".into() };
        let line = serde_json::to_string(&step).unwrap();
        assert_eq!(line, r#"{"done":3,"total":120,"what":"matvec base/64: 7 x 33"}"#);
        assert_eq!(Step::read(&format!("{line}\n")), Some(step));
        assert_eq!(Step::read("error: 3 of 120 cases failed"), None);
        assert_eq!(Step::read(""), None);
    }
}
