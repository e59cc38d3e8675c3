//! The model as the window knows it: which one, how far its load is, what it takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guanaco_engine::gpu::{AdapterFacts, DeviceMemory, MemoryPlan, host_memory_available};
use guanaco_engine::model::LoadProgress;
use guanaco_engine::prompt::Preset;
use guanaco_engine::sampler::SamplerConfig;

use super::settings::ModelChoice;
use super::{Desk, News};
use crate::checkpoint::Files;
use crate::format::PresetChoice;
use crate::hub;
use crate::worker::{LoadSpec, Model};

/// The setting that says that a load has begun, and that nothing is known of its end.
const LOADING: &str = "loading";

/// Where the model is.
#[derive(Debug, Default)]
pub enum ModelState {
    /// None is loaded.
    #[default]
    None,
    /// Its files are read.
    Reading(Load),
    /// Its weights go to the device.
    Loading(Load, Opened),
    /// It answers.
    Ready(Arc<Model>),
    /// It could not be loaded; the reason, for people.
    Failed(String),
}

/// A load that can be stopped.
#[derive(Debug, Default)]
pub struct Load {
    /// What is loaded.
    pub name: String,
    pub(super) stop_flag: Arc<AtomicBool>,
}

impl Load {
    /// Ends it at the next tensor.
    pub fn stop(&self) {
        self.stop_flag.store(true, Ordering::Relaxed);
    }
}

/// What is known once the device is open.
#[derive(Debug)]
pub struct Opened {
    /// The device.
    pub adapter: AdapterFacts,
    /// What the model will take on it.
    pub plan: MemoryPlan,
    /// Bytes of the files read so far, and in all.
    pub progress: LoadProgress,
}

/// The device that was opened last.
#[derive(Debug)]
pub(super) struct Device {
    /// As the choice named it.
    pub(super) asked: Option<String>,
    /// What it says of itself.
    pub(super) adapter: AdapterFacts,
    /// Its memory before the model took any.
    pub(super) memory: Option<DeviceMemory>,
}

impl Desk {
    /// The device that the next model goes to; None before it was opened once.
    pub(super) fn device(&self) -> Option<&Device> {
        self.device.as_ref().filter(|device| device.asked == self.choice.adapter)
    }

    /// Loads what was loaded last, and returns true; unless the program ended while it did so. A driver that takes it down would do
    /// so at every start: then nothing is loaded, and it is told.
    pub fn load_again(&mut self) -> bool {
        if super::setting(&self.store, LOADING) {
            self.news.push(News::NotLoaded(crate::checkpoint::name(self.choice.path.as_deref())));
            return false;
        }
        self.load();
        true
    }

    pub(super) fn load_begins(&self) {
        self.keep(LOADING, &true);
    }

    /// Waits until it is on the disk that a load begins, which it is by the time that the files are read; not long where the disk
    /// refuses.
    pub(super) fn await_load_begins(&self) {
        self.flush(Duration::from_millis(500));
    }

    /// Keeps that a load has ended, however it did, once none is under way.
    pub(super) fn load_ended(&self) {
        if self.model.load().is_none() {
            self.keep(LOADING, &false);
        }
    }

    /// Ends the load that is under way: the program cannot end before the worker has.
    pub(super) fn leave_load(&self) {
        if let Some(load) = self.model.load() {
            load.stop();
            self.keep(LOADING, &false);
        }
    }

    /// The format that `choice` is with the loaded model; None without one.
    pub fn format(&self, choice: PresetChoice) -> Option<Preset> {
        Some(choice.resolve(self.model.ready()?.files.chat_template.as_deref()))
    }

    /// The sampling values of the loaded model's own files, for the format of the open chat.
    pub fn own_sampling(&self) -> Option<SamplerConfig> {
        self.model.ready()?.files.own_sampling(self.chat.settings.preset)
    }

    /// True when the chat's format asks for sources and nothing backs an answer.
    pub fn lacks_sources(&self) -> bool {
        let settings = &self.chat.settings;
        let wants = self.format(settings.preset).is_some_and(Preset::wants_sources);
        wants && settings.characters.is_empty() && !settings.system.has_source()
    }

    /// Gives an empty chat the model's own sampling values, unless a person chose values for new chats.
    pub(super) fn adopt_sampling(&mut self) {
        if !self.chat.is_empty() || self.store.setting("new-chat").is_some() {
            return;
        }
        let Some(model) = self.model.ready() else { return };
        let own = model.files.sampling_for(self.chat.settings.preset);
        let sampler = &mut self.chat.settings.sampler;
        if *sampler == SamplerConfig::default() && own != *sampler {
            *sampler = own;
            self.chat.look_again();
        }
    }

    /// Bytes that the next model may take on the device, which the loaded one gives back before; None where nothing tells.
    pub fn memory_budget(&self) -> Option<u64> {
        let device = self.device()?;
        if device.adapter.is_cpu() {
            let held = self.model.ready().map_or(0, |model| model.memory.total());
            return Some(host_memory_available()?.saturating_add(held));
        }
        device.memory.map(|memory| memory.budget)
    }
}

impl ModelState {
    /// The model, when it answers.
    pub fn ready(&self) -> Option<&Arc<Model>> {
        match self {
            Self::Ready(model) => Some(model),
            _ => None,
        }
    }

    /// The load that is under way.
    pub fn load(&self) -> Option<&Load> {
        match self {
            Self::Reading(load) | Self::Loading(load, _) => Some(load),
            _ => None,
        }
    }
}

/// Reads what `choice` names, as far as is possible without a device.
///
/// # Errors
/// What is wrong with the files, or the settings.
pub fn read(choice: &ModelChoice, stop_flag: Arc<AtomicBool>) -> anyhow::Result<LoadSpec> {
    let stretch = match choice.rope_scaling.trim() {
        "" => None,
        text => Some(text.parse().map_err(|expected| anyhow::anyhow!("RoPE scaling {text:?}: {expected}"))?),
    };
    let path = choice.path.as_deref().map(found).transpose()?;
    let files = Files::open(path.as_deref(), &choice.lora_specs(), choice.context, stretch)?;
    Ok(LoadSpec {
        files: Arc::new(files),
        gpu: choice.gpu_options(),
        n_slots: 1,
        memory_budget: None,
        kv: choice.kv(),
        stretch,
        stop_flag,
    })
}

/// `path`, or where the hub's cache has the model of that name.
fn found(path: &Path) -> anyhow::Result<std::path::PathBuf> {
    Ok(hub::resolve(path)?.path)
}
