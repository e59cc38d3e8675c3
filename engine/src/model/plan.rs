//! What a model will take on the device, before anything is allocated.

use super::Config;
use crate::error::Result;
use crate::gpu::{Gpu, MemoryPlan, Profile, StagingRing};
use crate::kv_cache::KvShape;
use crate::weights::padded;
use crate::weights::upload::SLOT_BYTES;

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Positions of the KV cache; the smaller of the model's context and [`DEFAULT_CONTEXT`] without.
    pub max_seq_len: Option<usize>,
    /// Sequences side by side: 1 for chat, the number of beams for beam search.
    pub n_slots: usize,
    /// Bytes that the model may take on the device; what the machine has, as far as that is known, without.
    pub memory_budget: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { max_seq_len: None, n_slots: 1, memory_budget: None }
    }
}

/// The context when none is asked for: first-generation LLaMA's.
pub const DEFAULT_CONTEXT: usize = 2048;

/// Tokens of one prefill chunk.
pub(super) fn chunk_len(profile: Profile, max_seq_len: usize) -> usize {
    // A CPU gains nothing from long chunks, and a short one can be stopped sooner.
    let chunk = if profile == Profile::Cpu { 32 } else { 512 };
    chunk.min(max_seq_len.max(1))
}

/// The sizes that a load works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shapes {
    /// The KV cache.
    pub kv: KvShape,
    /// Tokens of one prefill chunk.
    pub chunk_len: usize,
    /// Elements of a row of the residual stream, padded like all rows to whole packed words.
    pub dim: usize,
    /// Elements of a row of q, k and v.
    pub qkv: usize,
    /// Elements of a row of the heads' outputs.
    pub heads: usize,
    /// Elements of a row of gate and up.
    pub gate_up: usize,
    /// Elements of a row of the SwiGLU product.
    pub hidden: usize,
}

impl Shapes {
    /// The sizes for `config` under `options`.
    pub(super) fn new(config: &Config, options: &LoadOptions, profile: Profile) -> Self {
        let asked = options.max_seq_len.unwrap_or(DEFAULT_CONTEXT.min(config.max_seq_len));
        let max_seq_len = asked.clamp(1, config.max_seq_len);
        let kv = KvShape {
            n_layers: config.n_layers,
            n_kv_heads: config.n_kv_heads,
            head_stride: padded(config.head_dim),
            max_seq_len,
            n_slots: options.n_slots.max(1),
        };
        Self {
            kv,
            chunk_len: chunk_len(profile, max_seq_len),
            dim: padded(config.dim),
            qkv: padded((config.n_heads + 2 * config.n_kv_heads) * config.head_dim),
            heads: padded(config.n_heads * config.head_dim),
            gate_up: padded(2 * config.hidden_dim),
            hidden: padded(config.hidden_dim),
        }
    }

    /// Bytes of the activations of one chunk.
    fn scratch_bytes(&self, config: &Config) -> u64 {
        let q = config.n_heads * self.kv.head_stride;
        let row = 2 * self.dim + self.qkv + q + self.heads + self.gate_up + self.hidden;
        (self.chunk_len * (row + 1) * 4 + self.dim * 4 + config.vocab_size * 8) as u64
    }
}

/// Bytes of the weights on the device: matrices in f16 with padded rows, norms and biases in f32.
fn weight_bytes(config: &Config) -> u64 {
    let matrix = |rows: usize, cols: usize| rows as u64 * padded(cols) as u64 * 2;
    let (q, kv) = (config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim);
    let attention = matrix(q + 2 * kv, config.dim) + matrix(config.dim, q);
    let mlp = matrix(2 * config.hidden_dim, config.dim) + matrix(config.dim, config.hidden_dim);
    let biases = if config.attention_bias { q + 2 * kv + config.dim } else { 0 }
        + if config.mlp_bias { 2 * config.hidden_dim + config.dim } else { 0 };
    let layer = attention + mlp + (2 * padded(config.dim) + biases) as u64 * 4;
    let heads = if config.tied_embeddings { 1 } else { 2 };
    layer * config.n_layers as u64 + heads * matrix(config.vocab_size, config.dim) + padded(config.dim) as u64 * 4
}

/// The plan for `config` under `options` on an adapter of `profile`.
pub fn memory_plan(config: &Config, options: &LoadOptions, profile: Profile) -> MemoryPlan {
    let shapes = Shapes::new(config, options, profile);
    let mut plan = MemoryPlan::default();
    plan.add("weights (f16)", weight_bytes(config));
    let slots = if shapes.kv.n_slots > 1 { format!(" x {}", shapes.kv.n_slots) } else { String::new() };
    plan.add(format!("KV cache (f16, {} tokens{slots})", shapes.kv.max_seq_len), shapes.kv.total_bytes());
    let rope = (shapes.kv.max_seq_len * config.head_dim * 4) as u64;
    plan.add(format!("scratch ({} tokens a chunk)", shapes.chunk_len), shapes.scratch_bytes(config) + rope);
    plan.add("staging, while loading", StagingRing::total_bytes(SLOT_BYTES));
    plan
}

/// Checks the plan against the budget and the device's limits.
///
/// # Errors
/// [`crate::Error::DoesNotFit`] with the figures and what would fit.
pub(super) fn check_plan(gpu: &Gpu, config: &Config, options: &LoadOptions) -> Result<MemoryPlan> {
    let profile = gpu.tier().profile;
    let plan = memory_plan(config, options, profile);
    let shapes = Shapes::new(config, options, profile);
    let fits = |context: usize, budget: u64| {
        let options = LoadOptions { max_seq_len: Some(context), ..options.clone() };
        let kv = Shapes::new(config, &options, profile).kv;
        memory_plan(config, &options, profile).total() <= budget && kv.buffer_bytes() <= gpu.tier().max_binding
    };
    let advice = |budget: u64| {
        let best = (1..=shapes.kv.max_seq_len / 64).rev().map(|n| n * 64).find(|context| fits(*context, budget));
        match best {
            Some(context) => format!("what would fit: a context of {context} tokens (--context {context})"),
            None => {
                let need =
                    memory_plan(config, &LoadOptions { max_seq_len: Some(64), ..options.clone() }, profile).total();
                format!(
                    "no context fits: even 64 tokens need {}. What would fit: a smaller model, or a 4-bit version of \
                     this one (about {} of weights)",
                    crate::gpu::gib(need),
                    crate::gpu::gib(weight_bytes(config) / 7 * 2)
                )
            }
        }
    };
    match (options.memory_budget, profile) {
        (Some(budget), _) => plan.check(budget, "the memory budget", &advice(budget))?,
        // A software device allocates from the machine's memory; others do not tell what they have.
        (None, Profile::Cpu) => {
            if let Some(free) = crate::gpu::host_memory_available() {
                plan.check(free, "this machine's free memory", &advice(free))?;
            }
        }
        (None, Profile::Gpu) => {}
    }
    if shapes.kv.buffer_bytes() > gpu.tier().max_binding {
        return Err(crate::Error::DoesNotFit(format!(
            "a context of {} tokens needs a KV buffer of {} a layer; {} binds at most {}\n{}",
            shapes.kv.max_seq_len,
            crate::gpu::gib(shapes.kv.buffer_bytes()),
            gpu.facts().name,
            crate::gpu::gib(gpu.tier().max_binding),
            advice(u64::MAX)
        )));
    }
    Ok(plan)
}
