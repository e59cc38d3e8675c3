//! The progress bar of a load.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use guanaco_engine::model::LoadProgress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar on stderr that shows up only when a load takes long, and only on a terminal.
pub(crate) struct LoadBar {
    start: Instant,
    bar: Option<ProgressBar>,
}

/// Loads that are over sooner show nothing.
const PATIENCE: Duration = Duration::from_millis(400);

impl LoadBar {
    /// Nothing to see yet.
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), bar: None }
    }

    /// Shows how far the load is.
    pub(crate) fn update(&mut self, progress: LoadProgress) {
        if self.bar.is_none() && self.start.elapsed() > PATIENCE && std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr());
            let template = "loading  {bar:32} {bytes:>10} of {total_bytes}  {binary_bytes_per_sec}, {eta} left";
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

impl Drop for LoadBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
