//! The options that every subcommand takes, and what they open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::ensure;
use guanaco_engine::gpu::{Gpu, GpuOptions, SHADERS};
use guanaco_engine::kernels::KERNELS;
use guanaco_engine::model::{KvFormat, LoadOptions, Stretch};

use crate::checkpoint::{self, Files, LoraSpec};
use crate::hub;

/// Options that every subcommand takes.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Options of every command")]
pub struct Globals {
    /// The model: a Hugging Face folder, a file (.safetensors or PyTorch's .bin with its config.json beside it, .gguf), or
    /// OWNER/NAME (or OWNER/NAME@REVISION) for one in the Hugging Face cache (`guanaco pull`; a folder of that name wins)
    /// [default: the small model that is part of this program]
    #[arg(long, global = true, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub model: Option<PathBuf>,
    /// A LoRA to lay over the model: a PEFT folder or OWNER/NAME of the cache, and how much of it (1 for all); may be given
    /// several times
    #[arg(long, global = true, value_name = "PATH[=SCALE]", value_hint = clap::ValueHint::AnyPath)]
    pub lora: Vec<LoraSpec>,
    /// The GPU: an index of `guanaco devices`, its name or a part of it, vendor:device, or a backend; with #2 behind it the
    /// second of several [default: GUANACO_ADAPTER, or the best there is]
    #[arg(long, global = true, value_name = "NAME")]
    pub adapter: Option<String>,
    /// Tokens that prompt and reply may have together [default: the model's, at most 2048]
    #[arg(long, global = true, value_name = "TOKENS", value_parser = at_least_one)]
    pub context: Option<usize>,
    /// Memory that the model may take on the device, such as 6GiB or 800MiB
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    pub memory_budget: Option<u64>,
    /// How RoPE is stretched for a --context beyond the trained one, in place of what the model's files say: none, linear,
    /// dynamic or ntk, with =FACTOR or for the context [default: as the files say]
    #[arg(long, global = true, value_name = "KIND[=FACTOR]")]
    pub rope_scaling: Option<Stretch>,
    /// How the KV cache is kept: int8 takes about half of the memory, and costs a little precision
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub kv: Kv,
    /// Says more on stderr: the memory plan, the log of the engine
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

/// [`KvFormat`], as it is asked for.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kv {
    /// Two bytes an element
    #[default]
    F16,
    /// A byte an element, and a scale a token and head
    Int8,
}

impl From<Kv> for KvFormat {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::F16 => Self::F16,
            Kv::Int8 => Self::Int8,
        }
    }
}

impl Globals {
    /// Has `--model` name a path: the model of that name in the Hugging Face cache, unless there is such a path.
    ///
    /// # Errors
    /// As [`hub::resolve`].
    pub fn find_model(&mut self) -> anyhow::Result<()> {
        if let Some(model) = &mut self.model {
            *model = found(model)?;
        }
        Ok(())
    }

    /// The options that the device is opened with: the environment's, `--adapter` above it, and the program's cache.
    ///
    /// # Errors
    /// When `GUANACO_CPU_KERNELS` names a kernel that there is not, or `GUANACO_PREFER` a switch that no variant has.
    pub fn gpu_options(&self) -> anyhow::Result<GpuOptions> {
        let mut options = GpuOptions::from_env();
        options.cpu_kernels.retain(|name| !name.is_empty());
        check_kernels(&options.cpu_kernels)?;
        options.prefer.as_deref().map_or(Ok(()), check_switch)?;
        if self.adapter.is_some() {
            options.adapter = self.adapter.clone();
        }
        options.cache_folder = crate::cache::folder();
        Ok(options)
    }

    /// The device, with what was tuned on it. When only software was found, stderr says so in one loud line.
    ///
    /// # Errors
    /// As [`Globals::gpu_options`] and [`Gpu::open`].
    pub fn open_gpu(&self) -> anyhow::Result<Arc<Gpu>> {
        let options = self.gpu_options()?;
        let asked = options.adapter.is_some();
        let gpu = crate::tuning::open(options)?;
        if gpu.facts().is_cpu() && !asked {
            super::note::no_gpu(&gpu.facts().name);
        }
        Ok(Arc::new(gpu))
    }

    /// The files of `--model`, or of the embedded model, with `--context` and `--rope-scaling`; what is odd in them goes to stderr.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn open_files(&self) -> anyhow::Result<Arc<Files>> {
        let files = Files::open(self.model.as_deref(), &self.loras()?, self.context, self.rope_scaling)?;
        for warning in &files.config.warnings {
            super::note::warning(warning);
        }
        Ok(Arc::new(files))
    }

    /// The LoRAs of `--lora`, each found where the hub's cache has it.
    ///
    /// # Errors
    /// When one is not there.
    pub fn loras(&self) -> anyhow::Result<Vec<LoraSpec>> {
        self.lora.iter().map(|lora| Ok(LoraSpec { path: found(&lora.path)?, ..*lora })).collect()
    }

    /// What the model is called in messages.
    pub fn model_name(&self) -> String {
        checkpoint::name(self.model.as_deref())
    }

    /// How a model with `n_slots` sequences side by side is loaded.
    pub fn load_options(&self, n_slots: usize) -> LoadOptions {
        LoadOptions {
            max_seq_len: self.context,
            n_slots,
            memory_budget: self.memory_budget,
            kv: self.kv.into(),
            stretch: self.rope_scaling,
            ..LoadOptions::default()
        }
    }
}

/// The path that `model` means, as [`hub::resolve`]; what must be said about it goes to stderr.
///
/// # Errors
/// As [`hub::resolve`].
pub(super) fn found(model: &Path) -> anyhow::Result<PathBuf> {
    let found = hub::resolve(model)?;
    if let Some(note) = &found.note {
        super::note::sentences(note);
    }
    Ok(found.path)
}

/// Refuses names that are no kernels: a misspelt one would run nothing in the shader's place.
fn check_kernels(names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let mut known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.stem).collect();
        known.dedup();
        ensure!(
            known.contains(&name.as_str()),
            "GUANACO_CPU_KERNELS: there is no kernel `{name}`; there are: {}",
            known.join(", ")
        );
    }
    Ok(())
}

fn check_switch(name: &str) -> anyhow::Result<()> {
    let known: BTreeSet<&str> = SHADERS.iter().flat_map(|shader| shader.variant.split('_')).collect();
    let list = || known.iter().copied().collect::<Vec<_>>().join(", ");
    ensure!(known.contains(name), "GUANACO_PREFER: no variant has the switch `{name}`; there are: {}", list());
    Ok(())
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("expected at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("expected a whole number of tokens".to_owned()),
    }
}

/// Bytes from `6GiB`, `800 MiB`, `6G`, `1500MB` or plain bytes. One letter means the binary unit.
fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "kb" => 1e3,
        "m" | "mib" => 1024.0 * 1024.0,
        "mb" => 1e6,
        "g" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "gb" => 1e9,
        "t" | "tib" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "tb" => 1e12,
        _ => return Err(format!("unknown unit {unit:?}; expected B, KiB, MiB, GiB or TiB")),
    };
    let number: f64 = number.parse().map_err(|_| "expected a size such as 6GiB".to_owned())?;
    Ok((number * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("6GiB", 6 << 30),
            ("6g", 6 << 30),
            ("1.5 GiB", 3 << 29),
            ("800MiB", 800 << 20),
            ("1GB", 1_000_000_000),
            ("4096", 4096),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "GiB", "6 elephants", "-1", "1.2.3GiB", "6Gi B"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
