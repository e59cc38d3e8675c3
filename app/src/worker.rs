//! The one worker: a thread that owns the session. Commands go in on one channel, events come out on another.
//!
//! The terminal, and every other front end, drives a model through this: there is one generation loop in the project
//! ([`Session`]), and one place that runs it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;

use guanaco_engine::gpu::{AdapterFacts, DeviceMemory, GpuOptions, MemoryPlan};
use guanaco_engine::model::{KvFormat, Llama, LoadOptions, LoadProgress, Stretch, memory_plan};
use guanaco_engine::session::{self, Chances, Reply, Request, Session};
use guanaco_engine::{Error, Result};

use crate::checkpoint::Files;

/// What the worker is told. [`Command::Load`], [`Command::Generate`] and [`Command::Logits`] are answered by events, the last of which is the
/// result or [`Event::Failed`].
#[derive(Debug)]
pub enum Command {
    /// Loads a model in place of the one before: [`Event::Opened`], [`Event::Loading`] …, [`Event::Loaded`].
    Load(Box<LoadSpec>),
    /// Generates a reply: [`Event::Prefill`], [`Event::Token`], …, [`Event::Done`].
    Generate(Box<Request>),
    /// Computes the logits after these ids: [`Event::Logits`].
    Logits(Vec<u32>),
    /// Ends the reply that is being generated; nothing when there is none.
    Stop,
    /// Forgets the KV cache.
    Clear,
    /// Gives the model and its device back. Not answered.
    Unload,
    /// Ends the thread, and a reply in progress before it.
    Quit,
}

/// Which model, on which device, with which sizes.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// The model.
    pub files: Arc<Files>,
    /// The device.
    pub gpu: GpuOptions,
    /// Sequences side by side: 1 for chat, the number of beams for beam search.
    pub n_slots: usize,
    /// Bytes that the model may take on the device.
    pub memory_budget: Option<u64>,
    /// How the KV cache is kept.
    pub kv: KvFormat,
    /// How RoPE is stretched.
    pub stretch: Option<Stretch>,
    /// Set to true, from any thread, it ends the load: [`Event::Failed`] with [`Error::Stopped`].
    pub stop_flag: Arc<AtomicBool>,
}

impl LoadSpec {
    fn options(&self) -> LoadOptions {
        let max_seq_len = Some(self.files.max_seq_len);
        let Self { n_slots, memory_budget, kv, stretch, .. } = *self;
        LoadOptions { max_seq_len, n_slots, memory_budget, kv, stretch, stop_flag: self.stop_flag.clone() }
    }
}

/// What the worker tells.
#[derive(Debug)]
pub enum Event {
    /// The device is open; loading begins.
    Opened {
        /// The device.
        adapter: AdapterFacts,
        /// Its memory, before the model takes any; None where the driver does not tell.
        memory: Option<DeviceMemory>,
        /// What the model will take.
        plan: MemoryPlan,
    },
    /// How far the load is.
    Loading(LoadProgress),
    /// The model is ready.
    Loaded(Arc<Model>),
    /// How far the prompt is read.
    Prefill {
        /// Tokens that were cached.
        cached: usize,
        /// Tokens to run.
        new: usize,
        /// Of these, run so far.
        done: usize,
    },
    /// A new token, with the text that it completes.
    Token {
        /// The token.
        id: u32,
        /// May be empty.
        text: String,
        /// How likely it was, where the request asks for it.
        chances: Option<Chances>,
    },
    /// Text without a token of its own.
    Text(String),
    /// A beam search has gone one token further.
    BeamStep {
        /// New tokens of each beam.
        len: usize,
    },
    /// The reply is over.
    Done(Box<Reply>),
    /// The asked logits.
    Logits(Vec<f32>),
    /// The command failed, with the engine's [`Error`] or the message of a panic; the worker goes on.
    Failed(anyhow::Error),
}

/// A loaded model, as its users see it.
#[derive(Debug)]
pub struct Model {
    /// What its files say of it.
    pub files: Arc<Files>,
    /// The device it is on.
    pub adapter: AdapterFacts,
    /// What it takes on the device.
    pub memory: MemoryPlan,
    /// Kernel variants that failed their self-test on this device, with the reason; others run in their place.
    pub fallbacks: Vec<String>,
}

/// The handle on the thread. Dropping it ends the thread, after the step that it is at, and gives the device back.
#[derive(Debug)]
pub struct Worker {
    commands: Sender<Command>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, with no model, for a front end that waits for [`Worker::next`].
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start() -> std::io::Result<Self> {
        Self::start_waking(|| {})
    }

    /// Starts the thread, with no model. `wake` is called after each event, on the worker's thread: it tells a front end that has
    /// other things to do to take them with [`Worker::try_next`].
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start_waking(wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (commands, inbox) = channel();
        let (events_in, events) = channel();
        let outbox = Outbox { events: events_in, wake: Box::new(wake) };
        let run = move || Thread { inbox, outbox, waiting: VecDeque::new(), loaded: None }.run();
        catch_quietly();
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(run)?;
        Ok(Self { commands, events, thread: Some(thread) })
    }

    /// Sends a command.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn send(&self, command: Command) -> anyhow::Result<()> {
        self.commands.send(command).map_err(|_| ended())
    }

    /// The next event.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn next(&self) -> anyhow::Result<Event> {
        self.events.recv().map_err(|_| ended())
    }

    /// The next event, if there is one already.
    ///
    /// # Errors
    /// When the thread has ended.
    pub fn try_next(&self) -> anyhow::Result<Option<Event>> {
        match self.events.try_recv() {
            Ok(event) => Ok(Some(event)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(ended()),
        }
    }

    /// Another way in for commands, for a signal handler or a second thread.
    pub fn commands(&self) -> Sender<Command> {
        self.commands.clone()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A thread that is gone already is what is wanted.
        let _ = self.commands.send(Command::Quit);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ended() -> anyhow::Error {
    anyhow::anyhow!("the worker thread has ended; what it said last is above")
}

/// The driver's reason when `error` says that the device is gone, so that the model must be loaded anew.
pub fn device_lost(error: &anyhow::Error) -> Option<&str> {
    match error.downcast_ref::<Error>() {
        Some(Error::DeviceLost { reason, .. }) => Some(reason),
        _ => None,
    }
}

/// The thread's name.
const THREAD: &str = "guanaco worker";

thread_local! {
    /// What the last panic of this thread said, with its place.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps the worker's panics off stderr: their message goes into the event. Those of other threads are told as before.
fn catch_quietly() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some(THREAD) {
                return others(info);
            }
            // Drivers and libraries panic in several lines; an error is one.
            let words = info.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            PANIC.with_borrow_mut(|panic| *panic = Some(words));
        }));
    });
}

/// Runs `work`; a panic in it becomes an error with its message.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> anyhow::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => Ok(result?),
        Err(_) => {
            let message = PANIC.take().unwrap_or_else(|| "no message".to_owned());
            Err(anyhow::anyhow!("a fault in the program, please report it: {message}"))
        }
    }
}

/// The way out for events.
struct Outbox {
    events: Sender<Event>,
    wake: Box<dyn Fn() + Send>,
}

impl Outbox {
    /// An error when nobody listens any more.
    fn send(&self, event: Event) -> Result<(), ()> {
        self.events.send(event).map_err(|_| ())?;
        (self.wake)();
        Ok(())
    }
}

/// The thread's side.
struct Thread {
    inbox: Receiver<Command>,
    outbox: Outbox,
    /// Commands that came while a reply was being generated.
    waiting: VecDeque<Command>,
    loaded: Option<(Session<Llama>, Arc<Model>)>,
}

impl Thread {
    fn run(mut self) {
        while let Some(command) = self.waiting.pop_front().or_else(|| self.inbox.recv().ok()) {
            if matches!(command, Command::Quit) {
                return;
            }
            let result = caught(|| self.handle(command));
            if let (Err(error), Some((session, _))) = (&result, &mut self.loaded)
                && !error.is::<Error>()
            {
                // Nobody knows how much of its work a panic left undone.
                session.clear();
            }
            let event = result.unwrap_or_else(|error| Some(Event::Failed(error)));
            if event.is_some_and(|event| self.outbox.send(event).is_err()) {
                return;
            }
        }
    }

    /// Does one command; returns the event that answers it.
    fn handle(&mut self, command: Command) -> Result<Option<Event>> {
        match command {
            Command::Load(spec) => self.load(*spec).map(Some),
            Command::Generate(request) => {
                let done = self.generate(&request);
                self.or_lost(done).map(Some)
            }
            Command::Logits(ids) => {
                let logits = self.session().and_then(|(session, _)| Ok(session.logits(&ids)?.to_vec()));
                self.or_lost(logits).map(|logits| Some(Event::Logits(logits)))
            }
            Command::Clear => {
                if let Some((session, _)) = &mut self.loaded {
                    session.clear();
                }
                Ok(None)
            }
            Command::Unload => {
                self.loaded = None;
                Ok(None)
            }
            Command::Stop | Command::Quit => Ok(None),
        }
    }

    /// `result`; where the device failed and is gone since, that it is gone.
    fn or_lost<T>(&self, result: Result<T>) -> Result<T> {
        if let (Err(Error::Gpu { during, .. }), Some((session, _))) = (&result, &self.loaded)
            && let Err(lost @ Error::DeviceLost { .. }) = session.model().gpu().check(during)
        {
            return Err(lost);
        }
        result
    }

    fn session(&mut self) -> Result<&mut (Session<Llama>, Arc<Model>)> {
        self.loaded.as_mut().ok_or_else(|| Error::Request("no model is loaded".to_owned()))
    }

    fn load(&mut self, spec: LoadSpec) -> Result<Event> {
        // The old model goes first: there may not be room for both.
        self.loaded = None;
        let options = spec.options();
        let LoadSpec { files, gpu, .. } = spec;
        let gpu = Arc::new(crate::tuning::open(gpu)?);
        let adapter = gpu.facts().clone();
        let plan = memory_plan(&files.config, &files.tensors, &options, gpu.tier().profile);
        // Nobody listening is found out at the next command.
        let _ = self.outbox.send(Event::Opened { adapter: adapter.clone(), memory: gpu.memory(), plan });
        let outbox = &self.outbox;
        let mut progress = |progress| {
            let _ = outbox.send(Event::Loading(progress));
        };
        let llama = Llama::load(gpu.clone(), files.sources(), &options, &mut progress)?;
        let (memory, fallbacks) = (llama.memory().clone(), gpu.fallbacks());
        let model = Arc::new(Model { files, adapter, memory, fallbacks });
        self.loaded = Some((Session::new(llama), model.clone()));
        Ok(Event::Loaded(model))
    }

    fn generate(&mut self, request: &Request) -> Result<Event> {
        let (session, model) = self.loaded.as_mut().ok_or_else(|| Error::Request("no model is loaded".to_owned()))?;
        let (inbox, outbox, waiting) = (&self.inbox, &self.outbox, &mut self.waiting);
        let mut tell = |event: session::Event<'_>| {
            if outbox.send(Event::from(event)).is_err() {
                return ControlFlow::Break(());
            }
            loop {
                match inbox.try_recv() {
                    Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                    Ok(Command::Quit) => {
                        waiting.push_front(Command::Quit);
                        return ControlFlow::Break(());
                    }
                    Ok(command) => waiting.push_back(command),
                    Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
                }
            }
        };
        let reply = session.generate(request, model.files.tokenizer.as_ref(), &mut tell)?;
        Ok(Event::Done(Box::new(reply)))
    }
}

impl From<session::Event<'_>> for Event {
    fn from(event: session::Event<'_>) -> Self {
        match event {
            session::Event::Prefill { cached, new, done } => Self::Prefill { cached, new, done },
            session::Event::Token { id, text, chances } => {
                Self::Token { id, text: text.to_owned(), chances: chances.cloned() }
            }
            session::Event::BeamStep { len } => Self::BeamStep { len },
            session::Event::Text { text } => Self::Text(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        catch_quietly();
        let work = || caught(|| -> Result<()> { panic!("the {}\nbroke", "shelf") });
        let thread = std::thread::Builder::new().name(THREAD.to_owned()).spawn(work).unwrap();
        let error = thread.join().unwrap().unwrap_err().to_string();
        assert!(error.contains("the shelf broke") && error.contains("worker.rs"), "{error}");
        assert_eq!(caught(|| Ok(1)).unwrap(), 1);
    }

    #[test]
    fn only_a_lost_device_asks_for_a_new_one() {
        let (during, reason) = ("decoding".to_owned(), "reset".to_owned());
        let lost = Error::DeviceLost { during: during.clone(), reason: reason.clone() }.into();
        assert_eq!(device_lost(&lost), Some("reset"));
        assert_eq!(device_lost(&Error::Gpu { during, detail: reason }.into()), None);
        assert_eq!(device_lost(&anyhow::anyhow!("lost")), None);
    }

    #[test]
    fn a_worker_without_a_model_says_so_and_goes_on() {
        let worker = Worker::start().unwrap();
        for _ in 0..2 {
            worker.send(Command::Logits(vec![1])).unwrap();
            let Event::Failed(error) = worker.next().unwrap() else { panic!("expected a failure") };
            assert_eq!(error.to_string(), "no model is loaded");
        }
    }
}
