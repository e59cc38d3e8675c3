//! What a model's files say of it and what it would take, found out while it is chosen: on a thread, the newest question only.

use std::sync::Arc;

use guanaco_engine::gpu::{MemoryPlan, Profile};
use guanaco_engine::model::{LoadOptions, memory_plan};

use super::newest::Newest;
use super::settings::ModelChoice;
use super::{Desk, Wake, told};
use crate::worker::LoadSpec;

/// What is known of a model before it is loaded.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its name for people.
    pub name: String,
    /// `safetensors`, `gguf`, …
    pub format: &'static str,
    /// Numbers in its matrices and vectors.
    pub parameters: u64,
    /// Bytes of its tensors in the files.
    pub bytes: u64,
    /// How its weights lie on the device.
    pub on_device: String,
    /// Layers, dim, heads, heads of k and v, vocabulary.
    pub sizes: [usize; 5],
    /// The context that it was made for, and the longest that the settings allow.
    pub context: (usize, usize),
    /// Whether text can go in and out.
    pub has_tokenizer: bool,
    /// What is odd in the files.
    pub warnings: Vec<String>,
    /// What it would take on the chosen kind of device.
    pub plan: MemoryPlan,
    /// All of it, as `guanaco inspect` prints it.
    pub details: Arc<str>,
}

/// What was asked last, and what was said last.
pub(super) struct Inspector {
    newest: Newest<(ModelChoice, Profile), (ModelChoice, Result<Facts, String>)>,
    asked: Option<(ModelChoice, Profile)>,
    current: Option<(ModelChoice, Result<Facts, String>)>,
}

impl Inspector {
    pub(super) fn start(wake: Wake) -> std::io::Result<Self> {
        let answer = |(choice, profile): (ModelChoice, Profile)| {
            let facts = facts(&choice, profile).map_err(|error| told(&error));
            (choice, facts)
        };
        Ok(Self { newest: Newest::start("guanaco inspect", wake, answer)?, asked: None, current: None })
    }
}

fn facts(choice: &ModelChoice, profile: Profile) -> anyhow::Result<Facts> {
    let LoadSpec { files, n_slots, kv, stretch, .. } = super::model::read(choice, Default::default())?;
    let options = LoadOptions { max_seq_len: Some(files.max_seq_len), n_slots, kv, stretch, ..LoadOptions::default() };
    let config = &files.config;
    let views = files.checkpoint.names().filter_map(|name| files.checkpoint.tensor(name));
    Ok(Facts {
        name: files.name.clone(),
        format: files.checkpoint.format(),
        parameters: files.tensors.tensors.iter().map(|tensor| (tensor.rows * tensor.cols) as u64).sum(),
        bytes: views.map(|view| view.stored_bytes()).sum(),
        on_device: files.tensors.formats(),
        sizes: [config.n_layers, config.dim, config.n_heads, config.n_kv_heads, config.vocab_size],
        context: (config.max_seq_len, config.max_context),
        has_tokenizer: files.tokenizer.is_some(),
        warnings: config.warnings.clone(),
        plan: memory_plan(config, &files.tensors, &options, profile),
        details: crate::cli::inspect::text(&files, &options)?.into(),
    })
}

impl Desk {
    /// Whether [`Desk::facts`] are about the choice as it is now.
    pub fn facts_are_current(&self) -> bool {
        self.inspector.current.as_ref().is_some_and(|(choice, _)| *choice == self.choice)
    }

    /// What is known of the model that [`Desk::choice`] names; None until that is found out. Asks anew when the choice has changed.
    pub fn facts(&mut self) -> Option<&Result<Facts, String>> {
        let software = self.device().is_some_and(|device| device.adapter.is_cpu());
        let profile = if software { Profile::Cpu } else { Profile::Gpu };
        if let Some(facts) = self.inspector.newest.answer() {
            self.inspector.current = Some(facts);
        }
        if self.inspector.asked.as_ref().is_none_or(|(choice, of)| *choice != self.choice || *of != profile) {
            self.inspector.newest.ask((self.choice.clone(), profile));
            self.inspector.asked = Some((self.choice.clone(), profile));
        }
        // While the next answer is on its way, the last one stands.
        self.inspector.current.as_ref().map(|(_, facts)| facts)
    }
}
