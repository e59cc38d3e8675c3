//! The worker, driven from a terminal: notes and progress on stderr, Ctrl-C, one call a reply.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use guanaco_engine::model::LoadOptions;
use guanaco_engine::session::{Reply, Request};

use super::progress::LoadBar;
use super::{Globals, note, output};
use crate::checkpoint::Files;
use crate::worker::{Command, Event, LoadSpec, Model, Worker};

/// A loaded model and the way to it.
pub(super) struct Driver {
    worker: Worker,
    /// The model.
    pub(super) model: Arc<Model>,
    /// What was loaded, to load it again.
    spec: LoadSpec,
    interrupt: Interrupt,
}

impl Driver {
    /// Loads `files`, the model of `globals`, with `n_slots` sequences side by side.
    ///
    /// Until this is done, Ctrl-C ends the program as it would any other.
    ///
    /// # Errors
    /// What is wrong with the device, or its fit with the model.
    pub(super) fn load(globals: &Globals, files: Arc<Files>, n_slots: usize) -> anyhow::Result<Self> {
        let gpu = globals.gpu_options()?;
        let LoadOptions { memory_budget, kv, stretch, stop_flag, .. } = globals.load_options(n_slots);
        let spec = LoadSpec { files, gpu, n_slots, memory_budget, kv, stretch, stop_flag };
        let worker = Worker::start()?;
        let model = load(&worker, &spec, globals.verbose || globals.model.is_some())?;
        let interrupt = Interrupt::install(&worker)?;
        Ok(Self { worker, model, spec, interrupt })
    }

    /// Loads the model again, on a new device.
    ///
    /// # Errors
    /// As [`Driver::load`]; then there is no model until this succeeds.
    pub(super) fn reload(&mut self) -> anyhow::Result<()> {
        self.model = load(&self.worker, &self.spec, false)?;
        Ok(())
    }

    /// Generates one reply; `on_text` gets its text as it comes. Ctrl-C ends the reply, a second one the program.
    ///
    /// # Errors
    /// What the session reports, or `on_text`: then the reply is ended first.
    pub(super) fn generate(
        &mut self,
        request: Request,
        on_text: &mut dyn FnMut(&str) -> std::io::Result<()>,
    ) -> anyhow::Result<Reply> {
        let _busy = self.interrupt.busy();
        self.worker.send(Command::Generate(Box::new(request)))?;
        let mut reading = Reading::new();
        let mut failed: Option<std::io::Error> = None;
        let mut show = |text: &str| {
            if text.is_empty() || failed.is_some() {
                return Ok(());
            }
            if let Err(error) = on_text(&output::shown(text)) {
                failed = Some(error);
                return self.worker.send(Command::Stop);
            }
            Ok(())
        };
        let reply = loop {
            match self.worker.next()? {
                Event::Prefill { new, done, .. } => reading.update(done, new),
                Event::Token { text, .. } | Event::Text(text) => {
                    reading.clear();
                    show(&text)?;
                }
                Event::BeamStep { len } => reading.searching(len),
                Event::Done(reply) => break reply,
                Event::Failed(error) => return Err(error),
                _ => {}
            }
        };
        drop(reading);
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(*reply),
        }
    }

    /// The logits after `ids`.
    ///
    /// # Errors
    /// What the session reports.
    pub(super) fn logits(&mut self, ids: Vec<u32>) -> anyhow::Result<Vec<f32>> {
        self.worker.send(Command::Logits(ids))?;
        loop {
            match self.worker.next()? {
                Event::Logits(logits) => return Ok(logits),
                Event::Failed(error) => return Err(error),
                _ => {}
            }
        }
    }

    /// Forgets what is cached.
    ///
    /// # Errors
    /// When the worker has ended.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        self.worker.send(Command::Clear)
    }
}

/// Has `worker` load `spec`; shows how far it is, and the memory plan when `tell_plan`.
fn load(worker: &Worker, spec: &LoadSpec, tell_plan: bool) -> anyhow::Result<Arc<Model>> {
    worker.send(Command::Load(Box::new(spec.clone())))?;
    let mut bar = LoadBar::new();
    loop {
        match worker.next()? {
            Event::Opened { adapter, plan, .. } => {
                if adapter.is_cpu() && spec.gpu.adapter.is_none() {
                    note::no_gpu(&adapter.name);
                }
                if tell_plan {
                    note::plan(&spec.files.name, &adapter.name, &plan);
                }
            }
            Event::Loading(progress) => bar.update(progress),
            Event::Loaded(model) => return Ok(model),
            Event::Failed(error) => return Err(error),
            _ => {}
        }
    }
}

/// One line on a terminal's stderr while a long prompt is read or beams are searched; gone when the text comes.
struct Reading {
    start: Instant,
    shown: bool,
}

impl Reading {
    fn new() -> Self {
        Self { start: Instant::now(), shown: false }
    }

    fn show(&mut self, text: &str) {
        if self.start.elapsed() > Duration::from_millis(700) && std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r\x1b[2K\x1b[2m{text}\x1b[0m");
            self.shown = true;
        }
    }

    fn update(&mut self, done: usize, new: usize) {
        if done < new {
            self.show(&format!("reading the prompt: {done} of {new} tokens"));
        }
    }

    fn searching(&mut self, len: usize) {
        self.show(&format!("searching: {len} tokens"));
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Ctrl-C: ends the reply that is being generated, or else the program.
struct Interrupt {
    busy: Arc<AtomicBool>,
    pressed: Arc<AtomicU32>,
}

impl Interrupt {
    fn install(worker: &Worker) -> anyhow::Result<Self> {
        let this = Self { busy: Arc::default(), pressed: Arc::default() };
        let (busy, pressed) = (this.busy.clone(), this.pressed.clone());
        let commands: Sender<Command> = worker.commands();
        ctrlc::set_handler(move || {
            let first = pressed.fetch_add(1, Ordering::SeqCst) == 0;
            let stopped = commands.send(Command::Stop).is_ok();
            if !(busy.load(Ordering::SeqCst) && first && stopped) {
                std::process::exit(130);
            }
        })?;
        Ok(this)
    }

    fn busy(&self) -> Busy {
        self.pressed.store(0, Ordering::SeqCst);
        self.busy.store(true, Ordering::SeqCst);
        Busy(self.busy.clone())
    }
}

/// While this lives, Ctrl-C means the reply.
struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
