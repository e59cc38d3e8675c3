//! Long work on a device of its own, in a process of its own: conformance and bench. A driver that fails there takes no chat with it,
//! and it can be stopped at any time.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, bail};

use super::files::Existing;
use super::settings::ModelChoice;
use super::{Desk, News, Wake, told};
use crate::cli::bench::history::{self, Kept};
use crate::cli::bench::report::Report as BenchReport;
use crate::cli::conformance::report::Report as ConformanceReport;
use crate::cli::progress::Step;
use crate::cli::{bench, conformance};

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Every kernel against its reference, of those whose name has `filter` in it.
    Conformance {
        /// Empty for all.
        filter: String,
    },
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

impl Outcome {
    /// The whole report as one page that can be sent.
    pub fn page(&self) -> String {
        match self {
            Self::Conformance(report) => conformance::html::page(report),
            Self::Bench(report) => bench::html::page(report),
        }
    }
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
    step: Arc<Mutex<Option<Step>>>,
    /// What came of it; None while it runs.
    pub outcome: Option<Result<Outcome, String>>,
}

impl Job {
    fn start(work: Work, desk: &Desk) -> anyhow::Result<Self> {
        let program = &desk.program;
        let mut command = command(&work, program, &desk.choice);
        // The runs that are kept lie beside the chats.
        command.env("GUANACO_DATA", desk.store.folder());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (send, answer) = channel();
        let step = Arc::new(Mutex::new(None));
        let (wake, steps, kind) = (desk.wake.clone(), step.clone(), work.clone());
        let read = move || {
            let (on_step, wake) = (wake.clone(), wake);
            let errors = std::thread::spawn(move || follow(err, &steps, &on_step));
            let result = parse(&kind, &text(out)).map_err(|error| {
                let last = errors.join().unwrap_or_default();
                if last.is_empty() { error } else { anyhow::anyhow!("{last}") }
            });
            // Nobody listening: the job was dropped.
            let _ = send.send(result);
            wake();
        };
        std::thread::Builder::new().name("guanaco job".to_owned()).spawn(read)?;
        Ok(Self { work, started: Instant::now(), child: Some(child), answer, step, outcome: None })
    }

    /// Where the run is; None before it says so.
    pub fn step(&self) -> Option<Step> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner).clone()
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

/// What does `work`, on the adapter and the model of `choice`.
fn command(work: &Work, program: &Path, choice: &ModelChoice) -> Command {
    let mut command = Command::new(program);
    match work {
        Work::Conformance { filter } => {
            command.args(["conformance", "--json", "--progress"]);
            if !filter.is_empty() {
                command.args(["--filter", filter]);
            }
        }
        Work::Bench => {
            command.args(["bench", "--json", "--history", "--progress"]);
            if let Some(path) = &choice.path {
                command.arg("--model").arg(path);
            }
            for lora in choice.loras.iter().filter(|lora| lora.on) {
                command.arg("--lora").arg(format!("{}={}", lora.path.display(), lora.scale));
            }
            if let Some(context) = choice.context {
                command.args(["--context", &context.to_string()]);
            }
            if !choice.rope_scaling.trim().is_empty() {
                command.args(["--rope-scaling", choice.rope_scaling.trim()]);
            }
            if choice.kv_int8 {
                command.args(["--kv", "int8"]);
            }
        }
    }
    if let Some(adapter) = &choice.adapter {
        command.args(["--adapter", adapter]);
    }
    command
}

/// Reads where a run is, line by line, to its end; returns the last line that said something else.
fn follow(from: Option<impl Read>, step: &Mutex<Option<Step>>, wake: &Wake) -> String {
    let mut last = String::new();
    let Some(from) = from else { return last };
    // A line that cannot be read ends it: the pipe is gone.
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if let Some(read) = Step::read(&line) {
            *step.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
            wake();
        } else if !line.trim().is_empty() {
            last = line.trim().to_owned();
        }
    }
    last
}

fn text(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What could be read before a failure is still worth reading.
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn parse(work: &Work, json: &str) -> anyhow::Result<Outcome> {
    if json.trim().is_empty() {
        bail!("the run ended without a report");
    }
    Ok(match work {
        Work::Conformance { .. } => Outcome::Conformance(serde_json::from_str(json)?),
        Work::Bench => Outcome::Bench(serde_json::from_str(json)?),
    })
}

impl Desk {
    /// Starts `work` on the chosen adapter. A bench loads the model once more: the one that is loaded leaves the device before.
    pub fn start_job(&mut self, work: Work) {
        if work == Work::Bench {
            self.unload();
        }
        match Job::start(work, self) {
            Ok(job) => self.job = Some(job),
            Err(error) => {
                self.news.push(News::Failed(told(&error)));
                if matches!(self.model, super::ModelState::None) {
                    self.load();
                }
            }
        }
    }

    /// Writes the report of the last run as a page, where a person finds it.
    pub fn save_report(&mut self) {
        let Some(Job { work, outcome: Some(Ok(outcome)), .. }) = &self.job else { return };
        let name = match work {
            Work::Conformance { .. } => "guanaco-conformance",
            Work::Bench => "guanaco-bench",
        };
        let path = self.download(name, "html");
        self.news.push(match super::files::write(&path, outcome.page().as_bytes(), Existing::Keep) {
            Ok(path) => News::Done(path.display().to_string()),
            Err(error) => News::Failed(told(&error)),
        });
    }

    /// The runs of the bench that were kept, the newest first.
    ///
    /// # Errors
    /// When their file cannot be read.
    pub fn bench_history(&self) -> anyhow::Result<Vec<Kept>> {
        let (mut runs, _) = history::all(&self.store.folder().join(history::FILE))?;
        runs.reverse();
        Ok(runs)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::settings::LoraChoice;

    fn arguments(work: &Work, choice: &ModelChoice) -> Vec<String> {
        let command = command(work, Path::new("guanaco"), choice);
        command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_bench_measures_what_is_chosen() {
        let lora = |on| LoraChoice { path: "my-lora".into(), scale: 0.5, on };
        let choice = ModelChoice {
            path: Some("a model".into()),
            loras: vec![lora(true), lora(false)],
            context: Some(512),
            kv_int8: true,
            rope_scaling: "dynamic".into(),
            adapter: Some("llvm".into()),
        };
        let expected = "bench --json --history --progress --model|a model|--lora my-lora=0.5 --context 512 --rope-scaling \
                        dynamic --kv int8 --adapter llvm";
        let arguments = arguments(&Work::Bench, &choice).join(" ");
        assert_eq!(arguments, expected.replace('|', " "));
    }

    #[test]
    fn conformance_takes_a_filter_and_no_model() {
        let choice = ModelChoice { path: Some("a model".into()), ..ModelChoice::default() };
        let all = arguments(&Work::Conformance { filter: String::new() }, &choice);
        assert_eq!(all, ["conformance", "--json", "--progress"]);
        let some = arguments(&Work::Conformance { filter: "rope".into() }, &choice);
        assert_eq!(some, ["conformance", "--json", "--progress", "--filter", "rope"]);
    }

    #[test]
    fn steps_are_followed_and_the_last_word_is_kept() {
        let said = b"opening\n{\"done\":1,\"total\":2,\"what\":\"rope\"}\n\xff\xfe\nerror: no such kernel\n\n";
        let step = Mutex::new(None);
        assert_eq!(follow(Some(&said[..]), &step, &(Arc::new(|| {}) as Wake)), "error: no such kernel");
        assert_eq!(step.into_inner().unwrap(), Some(Step { done: 1, total: 2, what: "rope".into() }));
    }
}
