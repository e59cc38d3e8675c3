//! Everything that the window shows and does, without a window: the open chat, the model, the store. It owns the one worker.
//!
//! The window draws what it finds here and calls its methods; [`Desk::poll`] takes in what the worker, the saver and the preview have
//! done since. Nothing here waits but for the disk, where a file is to hold what was said last: what takes long runs on a thread of its
//! own, which wakes the window when it is done.

mod answer;
mod chat;
mod chats;
mod compose;
pub mod files;
pub mod inspect;
pub mod job;
pub mod library;
pub mod model;
mod newest;
mod preview;
pub mod settings;
pub mod tokens;

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

pub use answer::{Answering, Prefill};
pub use chat::{OpenChat, SaveState};
use guanaco_engine::Error;
use guanaco_engine::model::LoadProgress;
use guanaco_engine::prompt::Language;
pub use preview::Previewed;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::inspect::Inspector;
use self::job::Job;
use self::library::Character;
use self::model::{Device, Load, ModelState, Opened};
use self::preview::Preview;
use self::settings::{ModelChoice, WindowSettings};
use self::tokens::Token;
use crate::hub::Cache;
use crate::store::{Change, ChatId, ChatSummary, Saver, Store, StoreError};
use crate::tree::{NodeId, Removed};
use crate::worker::{self, Command, Event, LoadSpec, Worker};

/// The most time of one submit while a window is drawn by the same GPU: less than a frame at 60 Hz.
pub const SUBMIT_TIME: Duration = Duration::from_millis(8);

/// How often an answer that streams is saved, and what is typed.
const SAVE_EVERY: Duration = Duration::from_millis(500);

/// Called, on any thread, when there is something new to take in.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What people must be told once, in a line of its own.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The device was lost for this reason, and the model is loaded again.
    DeviceLost(String),
    /// A file was written here.
    Done(String),
    /// Something failed, for this reason.
    Failed(String),
    /// The program ended while it loaded the model of this name, so that it is not loaded again by itself.
    NotLoaded(String),
    /// So many characters of the chat that was opened are not in the library any more.
    CharactersGone(usize),
    /// So many files that came with a card are not in the one that was written: only CHARX has room for them.
    OnlyInCharx(usize),
    /// There is no model that could answer.
    NoModel,
    /// The model ended its answer before the first word.
    NothingSaid,
    /// A model's files are odd in this way.
    Warning(String),
}

/// The desk.
pub struct Desk {
    store: Arc<Store>,
    saver: Saver,
    worker: Worker,
    wake: Wake,
    /// The window's settings; [`Desk::save_window`] keeps them.
    pub window: WindowSettings,
    /// The language of the builder's words in new chats, until somebody keeps another as the default.
    pub language: Language,
    /// Which model is to be loaded; [`Desk::load`] takes it.
    pub choice: ModelChoice,
    /// Where the model is.
    pub model: ModelState,
    device: Option<Device>,
    /// All chats, the newest first.
    pub chats: Vec<ChatSummary>,
    /// The library of characters, by name.
    pub characters: Vec<Character>,
    unsaved: library::Unsaved,
    /// The chat that is open.
    pub chat: OpenChat,
    /// Chats that were left before all of them was on disk, where the store does not know them yet as they are.
    parked: Vec<OpenChat>,
    /// What can be brought back in chats that were left.
    deleted: HashMap<ChatId, Vec<Removed>>,
    /// When settings or a draft were handed to the saver last.
    kept_at: Option<Instant>,
    answering: Option<Answering>,
    /// The tokens of the last answer, which may be on their way to the store.
    last_tokens: Option<(ChatId, NodeId, Vec<Token>)>,
    preview: Preview,
    /// Somebody looks at what a lorebook does: the preview, which knows it, is kept up to date.
    pub looks_at_lore: bool,
    inspector: Inspector,
    job: Option<Job>,
    /// The program that jobs run: this one.
    pub program: PathBuf,
    /// The folder where files are put that a person takes away.
    pub downloads: PathBuf,
    /// The hub's cache, whose models are offered; None where there is no home folder.
    pub hub: Option<Cache>,
    /// What was read of the files of a load.
    specs: (Sender<anyhow::Result<LoadSpec>>, Receiver<anyhow::Result<LoadSpec>>),
    /// What the worker was told that it will answer, oldest first.
    sent: VecDeque<Sent>,
    /// What is to be told.
    pub news: Vec<News>,
}

/// A command with an answer.
enum Sent {
    /// A load, with its stop flag, which tells it from others.
    Load(Arc<AtomicBool>),
    Generate,
}

impl Desk {
    /// Opens the store in `folder` and what was open last; nothing is loaded yet ([`Desk::load`]).
    ///
    /// # Errors
    /// [`StoreError`]: another copy has it open, a newer version wrote it, it is damaged.
    pub fn open(folder: &Path, wake: Wake) -> Result<Self, StoreError> {
        Self::on(Store::open(folder)?, wake)
    }

    /// The same on a store that is open.
    ///
    /// # Errors
    /// [`StoreError`]: it is damaged, or the system starts no threads.
    pub fn on(store: Store, wake: Wake) -> Result<Self, StoreError> {
        let store = Arc::new(store);
        let on_saved = wake.clone();
        let saver = Saver::start(store.clone(), move || on_saved());
        let on_event = wake.clone();
        let worker = Worker::start_waking(move || on_event()).map_err(StoreError::thread)?;
        let preview = Preview::start(wake.clone()).map_err(StoreError::thread)?;
        let (characters, news) = library::characters(store.characters()?);
        let inspector = Inspector::start(wake.clone()).map_err(StoreError::thread)?;
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("guanaco"));
        let mut desk = Self {
            characters,
            unsaved: library::Unsaved::default(),
            looks_at_lore: false,
            inspector,
            job: None,
            program,
            downloads: files::downloads_folder(),
            hub: Cache::from_env().ok(),
            window: setting(&store, "window"),
            language: Language::default(),
            choice: setting(&store, "model"),
            chats: store.chats()?,
            chat: OpenChat::new(&store, setting(&store, "new-chat")),
            model: ModelState::None,
            device: None,
            parked: Vec::new(),
            deleted: HashMap::new(),
            kept_at: None,
            answering: None,
            last_tokens: None,
            specs: channel(),
            sent: VecDeque::new(),
            news,
            store,
            saver,
            worker,
            wake,
            preview,
        };
        if desk.store.setting("sample").is_none() {
            desk.add_sample();
        }
        let last: Option<u64> = setting(&desk.store, "open-chat");
        if let Some(id) = last.map(ChatId).filter(|id| desk.is_listed(*id)) {
            desk.open_chat(id);
        }
        Ok(desk)
    }

    /// Takes in what has happened since the last call.
    pub fn poll(&mut self) {
        while let Ok(read) = self.specs.1.try_recv() {
            self.spec_read(read);
        }
        loop {
            match self.worker.try_next() {
                Ok(Some(event)) => self.event(event),
                Ok(None) => break,
                Err(error) => {
                    self.model = ModelState::Failed(error.to_string());
                    break;
                }
            }
        }
        self.poll_job();
        self.save_streaming();
        self.save_settings_in_time();
        self.save_characters_in_time();
        if !self.parked.is_empty() {
            let saved = self.saver.saved();
            self.parked.retain(|chat| !chat.is_saved(saved));
        }
        self.refresh_preview();
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Opened { adapter, memory, plan } if self.is_current_load() => {
                let asked = self.choice.adapter.clone();
                self.device = Some(Device { asked, adapter: adapter.clone(), memory });
                if let ModelState::Reading(load) = &mut self.model {
                    let (load, progress) = (std::mem::take(load), LoadProgress { done: 0, total: 0 });
                    self.model = ModelState::Loading(load, Opened { adapter, plan, progress });
                }
            }
            Event::Loading(progress) if self.is_current_load() => {
                if let ModelState::Loading(_, opened) = &mut self.model {
                    opened.progress = progress;
                }
            }
            Event::Loaded(model) => {
                if self.is_current_load() {
                    self.news.extend(model.files.config.warnings.iter().cloned().map(News::Warning));
                    self.model = ModelState::Ready(model);
                    self.adopt_sampling();
                    self.preview.forget();
                }
                self.sent.pop_front();
                self.load_ended();
            }
            Event::Prefill { cached, new, done } => self.prefill(Prefill { cached, new, done }),
            Event::Token { text, chances, .. } => self.token(text, chances.as_ref()),
            Event::Text(text) => self.text(&text),
            Event::Done(reply) => {
                self.sent.pop_front();
                self.done(&reply);
            }
            Event::Failed(error) => self.failed(&error),
            Event::Opened { .. } | Event::Loading(_) | Event::BeamStep { .. } | Event::Logits(_) => {}
        }
    }

    /// Does what the worker is at belong to the load that was asked for last?
    fn is_current_load(&self) -> bool {
        match (self.sent.front(), self.model.load()) {
            (Some(Sent::Load(flag)), Some(load)) => Arc::ptr_eq(flag, &load.stop_flag),
            _ => false,
        }
    }

    fn is_generating(&self) -> bool {
        self.sent.iter().any(|sent| matches!(sent, Sent::Generate))
    }

    fn failed(&mut self, error: &anyhow::Error) {
        let current = self.is_current_load();
        match self.sent.pop_front() {
            Some(Sent::Load(_)) if current => {
                let stopped = matches!(error.downcast_ref(), Some(Error::Stopped(_)));
                self.model = if stopped { ModelState::None } else { ModelState::Failed(told(error)) };
                self.load_ended();
            }
            Some(Sent::Load(_)) => self.load_ended(),
            Some(Sent::Generate) | None => {
                // An answer whose chat was left is over already.
                if !self.is_generating() {
                    self.interrupted();
                }
                match worker::device_lost(error) {
                    Some(reason) => {
                        self.news.push(News::DeviceLost(reason.to_owned()));
                        self.load();
                    }
                    None => self.news.push(News::Failed(told(error))),
                }
            }
        }
    }

    /// Loads what [`Desk::choice`] names, in place of what is loaded, and keeps the choice for the next start.
    pub fn load(&mut self) {
        self.stop();
        if let Some(load) = self.model.load() {
            load.stop();
        }
        self.keep("model", &self.choice);
        self.load_begins();
        let choice = self.choice.clone();
        let load = Load { name: crate::checkpoint::name(choice.path.as_deref()), ..Load::default() };
        let (specs, wake, stop_flag) = (self.specs.0.clone(), self.wake.clone(), load.stop_flag.clone());
        self.model = ModelState::Reading(load);
        // Large pickles and indexes take a while.
        let thread = std::thread::Builder::new().name("guanaco files".to_owned()).spawn(move || {
            // Nobody listening: the desk is gone.
            let _ = specs.send(model::read(&choice, stop_flag));
            wake();
        });
        if let Err(error) = thread {
            self.model = ModelState::Failed(error.to_string());
            self.load_ended();
        }
    }

    /// Gives the device back.
    fn unload(&mut self) {
        self.stop();
        if let Some(load) = self.model.load() {
            load.stop();
        }
        self.model = ModelState::None;
        self.load_ended();
        self.tell_worker(Command::Unload);
    }

    fn spec_read(&mut self, read: anyhow::Result<LoadSpec>) {
        match read {
            // An older load that was given up for a newer one says nothing any more.
            Ok(spec) if self.model.load().is_some_and(|load| Arc::ptr_eq(&load.stop_flag, &spec.stop_flag)) => {
                self.await_load_begins();
                self.sent.push_back(Sent::Load(spec.stop_flag.clone()));
                self.tell_worker(Command::Load(Box::new(spec)));
            }
            Ok(_) => {}
            Err(error) => {
                self.model = ModelState::Failed(told(&error));
                self.load_ended();
            }
        }
    }

    fn tell_worker(&mut self, command: Command) {
        if let Err(error) = self.worker.send(command) {
            self.model = ModelState::Failed(error.to_string());
        }
    }

    /// Keeps the window's settings.
    pub fn save_window(&self) {
        self.keep("window", &self.window);
    }

    /// Takes the open chat's settings for all chats to come ([`settings::ChatSettings::for_new_chats`]).
    pub fn keep_as_default(&self) {
        self.keep("new-chat", &self.chat.settings.for_new_chats());
    }

    fn keep(&self, key: &str, value: &impl Serialize) {
        if let Ok(value) = serde_json::to_value(value) {
            self.saver.save(vec![Change::Setting(key.to_owned(), value)]);
        }
    }

    /// Why nothing can be saved at the moment; None when all is well.
    pub fn save_problem(&self) -> Option<String> {
        self.saver.problem()
    }

    /// Ends the answer or the load that is under way, saves all, and waits for that, `timeout` at most.
    pub fn leave(&mut self, timeout: Duration) -> bool {
        self.stop();
        self.leave_load();
        self.settle();
        self.save_characters();
        self.flush(timeout)
    }

    /// Waits until all is saved, `timeout` at most; false when it is not.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.saver.flush(timeout)
    }

    /// The store, to read from.
    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// An error with its causes, in a line.
fn told(error: &anyhow::Error) -> String {
    format!("{error:#}")
}

/// What is kept under `key`; the default where there is nothing, or nothing of use.
fn setting<T: Serialize + DeserializeOwned + Default>(store: &Store, key: &str) -> T {
    store.setting(key).map(settings::lenient).unwrap_or_default()
}
