//! The one worker: a thread that owns the session. Commands go in on one channel, events come out on another.
//!
//! The terminal, and every other front end, drives a model through this: there is one generation loop in the project
//! ([`Session`]), and one place that runs it.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use guanaco_engine::gpu::{AdapterFacts, Gpu, GpuOptions, MemoryPlan};
use guanaco_engine::model::{Config, Forward as _, Llama, LoadOptions, LoadProgress, memory_plan};
use guanaco_engine::session::{self, Reply, Request, Session};
use guanaco_engine::tokenizer::Tokenizer;
use guanaco_engine::weights::names::resolve;
use guanaco_engine::{Error, Result};

use crate::checkpoint;

/// What the worker is told. [`Command::Load`], [`Command::Generate`] and [`Command::Logits`] are answered by events, the last of which is the
/// result or [`Event::Failed`].
#[derive(Debug)]
pub enum Command {
    /// Loads a model in place of the one before: [`Event::Opened`], [`Event::Loading`] …, [`Event::Loaded`].
    Load(LoadSpec),
    /// Generates a reply: [`Event::Prefill`], [`Event::Token`], …, [`Event::Done`].
    Generate(Box<Request>),
    /// Computes the logits after these ids: [`Event::Logits`].
    Logits(Vec<u32>),
    /// Ends the reply that is being generated; nothing when there is none.
    Stop,
    /// Forgets the KV cache.
    Clear,
    /// Ends the thread, and a reply in progress before it.
    Quit,
}

/// Which model, on which device, with which sizes.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// The checkpoint; the embedded one without.
    pub model: Option<PathBuf>,
    /// The device.
    pub gpu: GpuOptions,
    /// Context, slots, budget.
    pub options: LoadOptions,
}

/// What the worker tells.
#[derive(Debug)]
pub enum Event {
    /// The checkpoint is sound so far and the device is open; loading begins.
    Opened {
        /// The device.
        adapter: AdapterFacts,
        /// What the model will take.
        plan: MemoryPlan,
        /// What was odd in the checkpoint.
        warnings: Vec<String>,
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
    /// The command failed; the worker goes on.
    Failed(Error),
}

/// A loaded model, as its users see it.
#[derive(Debug)]
pub struct Model {
    /// Its name for people.
    pub name: String,
    /// The device it is on.
    pub adapter: AdapterFacts,
    /// Its configuration.
    pub config: Config,
    /// What it takes on the device.
    pub memory: MemoryPlan,
    /// Tokens that prompt and reply may have together.
    pub max_seq_len: usize,
    /// None when the checkpoint has none: then only ids go in and out.
    pub tokenizer: Option<Tokenizer>,
    /// The checkpoint's own chat template.
    pub chat_template: Option<String>,
    /// The tokens that end a reply.
    pub eos: Vec<u32>,
}

/// The handle on the thread. Dropping it ends the thread, after the step that it is at, and gives the device back.
#[derive(Debug)]
pub struct Worker {
    commands: Sender<Command>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, with no model.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start() -> std::io::Result<Self> {
        let (commands, inbox) = channel();
        let (outbox, events) = channel();
        let run = move || Thread { inbox, outbox, waiting: VecDeque::new(), loaded: None }.run();
        let thread = std::thread::Builder::new().name("guanaco worker".to_owned()).spawn(run)?;
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

/// The thread's side.
struct Thread {
    inbox: Receiver<Command>,
    outbox: Sender<Event>,
    /// Commands that came while a reply was being generated.
    waiting: VecDeque<Command>,
    loaded: Option<(Session<Llama>, Arc<Model>)>,
}

impl Thread {
    fn run(mut self) {
        while let Some(command) = self.waiting.pop_front().or_else(|| self.inbox.recv().ok()) {
            let result = match command {
                Command::Quit => return,
                Command::Stop => continue,
                Command::Clear => {
                    if let Some((session, _)) = &mut self.loaded {
                        session.clear();
                    }
                    continue;
                }
                Command::Load(spec) => self.load(spec),
                Command::Generate(request) => self.generate(&request),
                Command::Logits(ids) => {
                    self.session().and_then(|(session, _)| Ok(session.logits(&ids)?.to_vec())).map(Event::Logits)
                }
            };
            if self.outbox.send(result.unwrap_or_else(Event::Failed)).is_err() {
                return;
            }
        }
    }

    fn session(&mut self) -> Result<&mut (Session<Llama>, Arc<Model>)> {
        self.loaded.as_mut().ok_or_else(|| Error::Request("no model is loaded".to_owned()))
    }

    fn load(&mut self, spec: LoadSpec) -> Result<Event> {
        // The old model goes first: there may not be room for both.
        self.loaded = None;
        let path = spec.model.as_deref();
        let checkpoint = checkpoint::open(path)?;
        let config = Config::load(&checkpoint)?;
        // What the files can tell is told before a device is opened.
        resolve(&checkpoint, &config.dims())?;
        let tokenizer = Tokenizer::from_checkpoint(&checkpoint)?;
        if let Some(tokenizer) = &tokenizer {
            tokenizer.check_vocab_size(config.vocab_size)?;
        }
        let chat_template = checkpoint::chat_template(path)?;
        let gpu = Arc::new(Gpu::open(spec.gpu)?);
        let adapter = gpu.facts().clone();
        let plan = memory_plan(&config, &spec.options, gpu.tier().profile);
        // Nobody listening is found out at the next command.
        let _ = self.outbox.send(Event::Opened { adapter: adapter.clone(), plan, warnings: config.warnings.clone() });
        let outbox = &self.outbox;
        let mut progress = |progress| {
            let _ = outbox.send(Event::Loading(progress));
        };
        let llama = Llama::load(gpu, &checkpoint, &spec.options, &mut progress)?;
        let eos = eos(&config, tokenizer.as_ref());
        let model = Arc::new(Model {
            name: checkpoint::name(path),
            adapter,
            memory: llama.memory().clone(),
            max_seq_len: llama.max_seq_len(),
            config,
            tokenizer,
            chat_template,
            eos,
        });
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
        let reply = session.generate(request, model.tokenizer.as_ref(), &mut tell)?;
        Ok(Event::Done(Box::new(reply)))
    }
}

impl From<session::Event<'_>> for Event {
    fn from(event: session::Event<'_>) -> Self {
        match event {
            session::Event::Prefill { cached, new, done } => Self::Prefill { cached, new, done },
            session::Event::Token { id, text } => Self::Token { id, text: text.to_owned() },
            session::Event::BeamStep { len } => Self::BeamStep { len },
            session::Event::Text { text } => Self::Text(text.to_owned()),
        }
    }
}

/// The tokens that end a reply: the tokenizer's, and the configuration's but for its mistakes (2023's conversions call BOS so).
fn eos(config: &Config, tokenizer: Option<&Tokenizer>) -> Vec<u32> {
    let mut eos: Vec<u32> = tokenizer.and_then(Tokenizer::eos).into_iter().collect();
    let bos = tokenizer.and_then(Tokenizer::bos);
    eos.extend(config.eos_ids.iter().copied().filter(|id| Some(*id) != bos));
    eos.sort_unstable();
    eos.dedup();
    eos
}
