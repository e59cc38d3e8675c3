//! The adapter that the suites run models on, and small steps with a model on it.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use guanaco_engine::file::Checkpoint;
use guanaco_engine::gpu::{Gpu, GpuOptions};
use guanaco_engine::model::{Forward, Llama, LoadOptions, Pass};
use guanaco_engine::weights::{Lora, Sources};

/// The device, opened once: `GUANACO_ADAPTER`, or the best there is.
///
/// # Errors
/// Why there is none.
pub fn gpu() -> anyhow::Result<Arc<Gpu>> {
    static GPU: OnceLock<Result<Arc<Gpu>, String>> = OnceLock::new();
    let opened = GPU.get_or_init(|| Gpu::open(GpuOptions::from_env()).map(Arc::new).map_err(|error| error.to_string()));
    opened.clone().map_err(|error| anyhow::anyhow!(error))
}

/// The checkpoint at `path` on the device, with `n_slots` KV slots.
///
/// # Errors
/// What is wrong with it.
pub fn load(path: &Path, n_slots: usize) -> anyhow::Result<Llama> {
    load_with(path, &[], n_slots)
}

/// As [`load`], with all options of a load.
///
/// # Errors
/// What is wrong with it.
pub fn load_as(path: &Path, options: &LoadOptions) -> anyhow::Result<Llama> {
    let model = Llama::load(gpu()?, &Checkpoint::open(path)?, options, &mut |_| {});
    model.with_context(|| format!("loading {}", path.display()))
}

/// As [`load`], with LoRAs over it: each one's folder and how much of it.
///
/// # Errors
/// What is wrong with any of them.
pub fn load_with(path: &Path, loras: &[(&Path, f64)], n_slots: usize) -> anyhow::Result<Llama> {
    let checkpoint = Checkpoint::open(path)?;
    let loras = loras.iter().map(|(path, weight)| Lora::open(path, *weight)).collect::<Result<Vec<_>, _>>()?;
    let options = LoadOptions { n_slots, ..LoadOptions::default() };
    let sources = Sources { checkpoint: &checkpoint, loras: &loras };
    Llama::load(gpu()?, sources, &options, &mut |_| {}).with_context(|| format!("loading {}", path.display()))
}

/// Runs `tokens` from `pos` in slot 0 (as a decode step if it is one) and returns the last position's logits.
///
/// # Errors
/// What the model reports.
pub fn run(model: &mut dyn Forward, pos: usize, tokens: &[u32]) -> anyhow::Result<Vec<f32>> {
    if tokens.len() > 1 {
        return prefill(model, pos, tokens);
    }
    let mut logits = Vec::new();
    model.forward(Pass::Decode, 0, pos, tokens, &mut logits)?;
    Ok(logits)
}

/// Runs `tokens` from `pos` in slot 0, chunk by chunk, and returns the last position's logits.
///
/// # Errors
/// What the model reports.
pub fn prefill(model: &mut dyn Forward, pos: usize, tokens: &[u32]) -> anyhow::Result<Vec<f32>> {
    let (mut logits, mut at) = (Vec::new(), pos);
    for chunk in tokens.chunks(model.chunk_len()) {
        model.forward(Pass::Prefill, 0, at, chunk, &mut logits)?;
        at += chunk.len();
    }
    Ok(logits)
}

/// `||got - want|| / ||want||`.
pub fn relative_l2(got: &[f32], want: &[f32]) -> f64 {
    let square = |value: f64| value * value;
    let error: f64 = got.iter().zip(want).map(|(got, want)| square(f64::from(*got) - f64::from(*want))).sum();
    let norm: f64 = want.iter().map(|want| square(f64::from(*want))).sum();
    (error / norm.max(f64::MIN_POSITIVE)).sqrt()
}

/// The largest difference.
pub fn max_abs(got: &[f32], want: &[f32]) -> f32 {
    got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max)
}

/// The index of the largest logit.
pub fn argmax(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index as u32)
}
