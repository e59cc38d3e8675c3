//! What a person sets: for one chat, for the model, and for the window. Plain data with a JSON form; what a newer version wrote into it
//! is left aside, what an older one left out has its default.

use std::path::PathBuf;

use guanaco_engine::gpu::GpuOptions;
use guanaco_engine::model::KvFormat;
use guanaco_engine::prompt::{Language, Preset, System};
use guanaco_engine::sampler::SamplerConfig;
use serde::{Deserialize, Serialize};

use crate::chat::Manner;
use crate::checkpoint::LoraSpec;

/// What a chat is made with; kept with the chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatSettings {
    /// The prompt's format.
    pub preset: Preset,
    /// How tokens are chosen. Its seed counts only with [`ChatSettings::fixed_seed`].
    pub sampler: SamplerConfig,
    /// Every answer has the sampler's seed; otherwise each has a new one.
    pub fixed_seed: bool,
    /// The most tokens of an answer.
    pub max_new_tokens: usize,
    /// Further texts that end an answer.
    pub stop: Vec<String>,
    /// Drafts tokens out of what was said before: the same answer, sooner where it repeats.
    pub prompt_lookup: bool,
    /// The most tokens of earlier turns in the prompt; None for as many as fit.
    pub history_tokens: Option<usize>,
    /// The System block: knowledge, sources, keywords.
    pub system: System,
    /// The language of the builder's words.
    pub language: Language,
    /// What `{{user}}` stands for; empty for the interface's word.
    pub user_name: String,
    /// Who is played, by id in the library; the first speaks first.
    pub characters: Vec<u64>,
    /// Who speaks next, of several; None for who spoke before.
    pub speaker: Option<u64>,
    /// Whether an answer is made to begin with `Name:`.
    pub force_name: bool,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            preset: Preset::default(),
            sampler: SamplerConfig::default(),
            fixed_seed: false,
            max_new_tokens: 512,
            stop: Vec::new(),
            prompt_lookup: false,
            history_tokens: None,
            system: System::default(),
            language: Language::default(),
            user_name: String::new(),
            characters: Vec::new(),
            speaker: None,
            force_name: true,
        }
    }
}

impl ChatSettings {
    /// How an answer is made by them, with `sampler`.
    pub fn manner<'a>(&'a self, sampler: &'a SamplerConfig) -> Manner<'a> {
        Manner {
            preset: self.preset,
            sampler,
            max_new_tokens: self.max_new_tokens,
            stop: &self.stop,
            ignore_eos: false,
            history_tokens: self.history_tokens,
        }
    }
}

/// A LoRA over the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraChoice {
    /// Its folder.
    pub path: PathBuf,
    /// How much of it: 1 for all.
    pub scale: f64,
    /// Whether it is laid over the model.
    pub on: bool,
}

/// Which model is loaded, and how.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelChoice {
    /// A folder, or a GGUF file; None for the embedded one.
    pub path: Option<PathBuf>,
    /// LoRAs over it.
    pub loras: Vec<LoraChoice>,
    /// Tokens of prompt and answer together; None for the model's own.
    pub context: Option<usize>,
    /// Keys and values in a byte each.
    pub kv_int8: bool,
    /// `linear`, `dynamic`, `ntk`, each with `=FACTOR` or without, or `none`; empty for what the files say.
    pub rope_scaling: String,
    /// As `--adapter` takes it; None for the best there is.
    pub adapter: Option<String>,
}

impl ModelChoice {
    /// The LoRAs that are on.
    pub fn lora_specs(&self) -> Vec<LoraSpec> {
        let on = self.loras.iter().filter(|lora| lora.on);
        on.map(|lora| LoraSpec { path: lora.path.clone(), scale: lora.scale }).collect()
    }

    /// How keys and values are kept.
    pub fn kv(&self) -> KvFormat {
        if self.kv_int8 { KvFormat::Int8 } else { KvFormat::F16 }
    }

    /// The device's options: the environment's, with the adapter chosen here, and submits that leave time for a window's frames.
    pub fn gpu_options(&self) -> GpuOptions {
        let options = GpuOptions::from_env();
        GpuOptions {
            adapter: self.adapter.clone().or(options.adapter.clone()),
            submit_time: Some(super::SUBMIT_TIME),
            cache_folder: crate::cache::folder(),
            ..options
        }
    }
}

/// The window itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowSettings {
    /// The interface's language as a tag; None for the system's.
    pub locale: Option<String>,
    /// `system`, `light`, `dark`, `light-contrast`, `dark-contrast`.
    pub theme: String,
    /// Of everything drawn, 1 for the system's.
    pub scale: f32,
    /// Whether the prompt's panel is open.
    pub prompt_panel: bool,
    /// Models that were loaded, the last one first.
    pub recent_models: Vec<PathBuf>,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self { locale: None, theme: "system".to_owned(), scale: 1.0, prompt_panel: true, recent_models: Vec::new() }
    }
}
