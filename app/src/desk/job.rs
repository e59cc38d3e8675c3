//! Long work on a device of its own, in a process of its own: conformance and bench. A driver that fails there takes no chat with it,
//! and it can be stopped at any time.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::settings::ModelChoice;
use super::{Desk, Wake, told};
use crate::cli::bench::report::Report as BenchReport;
use crate::cli::conformance::report::Report as ConformanceReport;

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Every kernel against its reference.
    Conformance,
    /// How fast the chosen model is.
    Bench,
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The table.
    Conformance(Box<ConformanceReport>),
    /// The figures.
    Bench(Box<BenchReport>),
}

/// A run under way, or its end.
#[derive(Debug)]
pub struct Job {
    /// What is run.
    pub work: Work,
    /// Since when.
    pub started: Instant,
    child: Option<Child>,
    answer: Receiver<anyhow::Result<Outcome>>,
    /// What came of it; None while it runs.
    pub outcome: Option<Result<Outcome, String>>,
}

impl Job {
    fn start(work: Work, program: PathBuf, choice: &ModelChoice, wake: Wake) -> anyhow::Result<Self> {
        let mut command = Command::new(&program);
        let arguments: &[&str] = match work {
            Work::Conformance => &["conformance", "--json"],
            Work::Bench => &["bench", "--json", "--history"],
        };
        command.args(arguments);
        if let Some(adapter) = &choice.adapter {
            command.args(["--adapter", adapter]);
        }
        if work == Work::Bench {
            if let Some(path) = &choice.path {
                command.arg("--model").arg(path);
            }
            if choice.kv_int8 {
                command.args(["--kv", "int8"]);
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (send, answer) = channel();
        let read = move || {
            let errors = std::thread::spawn(move || text(err));
            let result = parse(work, &text(out)).map_err(|error| {
                let said = errors.join().unwrap_or_default();
                let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
                if last.is_empty() { error } else { anyhow::anyhow!("{last}") }
            });
            // Nobody listening: the job was dropped.
            let _ = send.send(result);
            wake();
        };
        std::thread::Builder::new().name("guanaco job".to_owned()).spawn(read)?;
        Ok(Self { work, started: Instant::now(), child: Some(child), answer, outcome: None })
    }

    fn poll(&mut self) {
        if self.outcome.is_none()
            && let Ok(result) = self.answer.try_recv()
        {
            self.outcome = Some(result.map_err(|error| told(&error)));
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            // One that has ended already cannot be killed, and that is well.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.end();
    }
}

fn text(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What could be read before a failure is still worth reading.
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(work: Work, json: &str) -> anyhow::Result<Outcome> {
    if json.trim().is_empty() {
        bail!("the run ended without a report");
    }
    Ok(match work {
        Work::Conformance => Outcome::Conformance(serde_json::from_str(json)?),
        Work::Bench => Outcome::Bench(serde_json::from_str(json)?),
    })
}

impl Desk {
    /// Starts `work` on the chosen adapter. A bench loads the model once more: the one that is loaded leaves the device before.
    pub fn start_job(&mut self, work: Work) {
        if work == Work::Bench {
            self.unload();
        }
        let program = self.program.clone();
        match Job::start(work, program, &self.choice, self.wake.clone()) {
            Ok(job) => self.job = Some(job),
            Err(error) => self.news.push(super::News::Failed(told(&error))),
        }
    }

    /// Ends the run under way, or puts its result away.
    pub fn end_job(&mut self) {
        if let Some(job) = self.job.take()
            && job.work == Work::Bench
            && matches!(self.model, super::ModelState::None)
        {
            self.load();
        }
    }

    /// The run under way, or the last one.
    pub fn job(&self) -> Option<&Job> {
        self.job.as_ref()
    }

    pub(super) fn poll_job(&mut self) {
        let Some(job) = &mut self.job else { return };
        let running = job.outcome.is_none();
        job.poll();
        let ended = running && job.outcome.is_some();
        if ended && job.work == Work::Bench {
            self.load();
        }
    }
}
