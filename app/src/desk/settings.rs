//! What a person sets: for one chat, for the model, and for the window. Plain data with a JSON form; what a newer version wrote into it
//! is left aside, what an older one left out has its default.

use std::path::PathBuf;

use guanaco_engine::gpu::GpuOptions;
use guanaco_engine::model::KvFormat;
use guanaco_engine::prompt::{Language, System};
use guanaco_engine::sampler::SamplerConfig;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chat::Manner;
use crate::checkpoint::LoraSpec;
use crate::format::PresetChoice;

/// What a chat is made with; kept with the chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ChatSettings {
    /// The prompt's format.
    pub preset: PresetChoice,
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
    /// What the person is called; empty for the language's word ([`ChatSettings::user`]).
    pub user_name: String,
    /// Who is played, by id in the library; the first speaks first.
    pub characters: Vec<u64>,
    /// Who speaks next, of several; None for the first.
    pub speaker: Option<u64>,
    /// Whether an answer is made to begin with `Name:`.
    pub force_name: bool,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            preset: PresetChoice::default(),
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
    /// What of them is meant for other chats, too: not who plays in this one, and not what is known in it.
    pub fn for_new_chats(&self) -> Self {
        let system = System { keywords: self.system.keywords, ..System::default() };
        Self { system, characters: Vec::new(), speaker: None, ..self.clone() }
    }

    /// What `{{user}}` stands for.
    pub fn user(&self) -> &str {
        if !self.user_name.trim().is_empty() {
            return self.user_name.trim();
        }
        match self.language {
            Language::En => "User",
            Language::ZhCn => "用户",
            Language::ZhTw => "使用者",
            Language::ZhHk => "用戶",
            Language::Ja => "ユーザー",
            Language::De => "Nutzer",
        }
    }

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

/// Settings from their JSON form, field by field: one that this version does not know has its default, and takes no other with it.
pub(super) fn lenient<T: Serialize + DeserializeOwned + Default>(kept: Value) -> T {
    let Value::Object(fields) = kept else { return serde_json::from_value(kept).unwrap_or_default() };
    if let Ok(settings) = serde_json::from_value(Value::Object(fields.clone())) {
        return settings;
    }
    let mut read = serde_json::to_value(T::default()).unwrap_or_default();
    for (name, value) in fields {
        let Some(field) = read.get_mut(&name) else { continue };
        let before = std::mem::replace(field, value);
        if T::deserialize(&read).is_err() {
            read[&name] = before;
        }
    }
    serde_json::from_value(read).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use guanaco_engine::prompt::Source;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_known_takes_nothing_else_with_it() {
        let mut settings = ChatSettings { characters: vec![3, 4], max_new_tokens: 77, ..ChatSettings::default() };
        let source = |text: &str| Source { title: "t".into(), link: None, text: text.into(), enabled: true };
        settings.system.sources = vec![source("one"), source("two")];
        let mut kept = serde_json::to_value(&settings).unwrap();
        assert_eq!(lenient::<ChatSettings>(kept.clone()), settings);
        kept["preset"] = json!("of a later version");
        kept["max_new_tokens"] = json!("many");
        kept["and"] = json!({ "more": 1 });
        let expected = ChatSettings { max_new_tokens: ChatSettings::default().max_new_tokens, ..settings };
        assert_eq!(lenient::<ChatSettings>(kept), expected);
        assert_eq!(lenient::<ChatSettings>(json!(null)), ChatSettings::default());
        assert_eq!(lenient::<ChatSettings>(json!([1])), ChatSettings::default());
        assert_eq!((lenient::<u32>(json!(7)), lenient::<u32>(json!({ "a": 1 }))), (7, 0));
    }
}
