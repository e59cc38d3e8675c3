//! What a model will take on the device, before anything is allocated.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Config, Stretch};
use crate::error::{Error, Result};
use crate::gpu::{Gpu, MemoryKind, MemoryPlan, Profile, StagingRing};
use crate::kernels::attention::{self, KvFormat};
use crate::kernels::columns;
use crate::kv_cache::KvShape;
use crate::weights::names::Resolved;
use crate::weights::padded;

/// How a model is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Positions of the KV cache; the smaller of the model's context and [`DEFAULT_CONTEXT`] without.
    pub max_seq_len: Option<usize>,
    /// Sequences side by side: 1 for chat, the number of beams for beam search.
    pub n_slots: usize,
    /// Bytes that the model may take on the device; what the machine has, as far as that is known, without.
    pub memory_budget: Option<u64>,
    /// How the KV cache keeps its elements.
    pub kv: KvFormat,
    /// How RoPE is stretched, in place of what the checkpoint says.
    pub stretch: Option<Stretch>,
    /// Set to true, from any thread, it ends the load with [`crate::Error::Stopped`].
    pub stop_flag: Arc<AtomicBool>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            max_seq_len: None,
            n_slots: 1,
            memory_budget: None,
            kv: KvFormat::F16,
            stretch: None,
            stop_flag: Arc::default(),
        }
    }
}

/// The context when none is asked for: first-generation LLaMA's.
pub const DEFAULT_CONTEXT: usize = 2048;

/// Tokens of the shortest prefill chunk: what the tiles of the matrix kernels are filled by. A CPU gains nothing from longer
/// ones, and a short one can be stopped sooner.
pub(super) const LEAST_CHUNK: usize = 32;

/// Tokens of the longest prefill chunk, which the scratch buffers are made for.
fn chunk_len(profile: Profile, max_seq_len: usize) -> usize {
    let chunk = if profile == Profile::Cpu { LEAST_CHUNK } else { 512 };
    chunk.min(max_seq_len.max(1))
}

/// Bytes of one slot of the staging ring: 32 MiB, or less where the largest matrix is smaller.
pub(super) fn slot_bytes(config: &Config) -> u64 {
    let rows = config.vocab_size.max(config.hidden_dim).max(config.n_heads * config.head_dim).max(config.dim);
    let largest = rows as u64 * padded(config.dim.max(config.hidden_dim)) as u64 * 2;
    largest.clamp(64 << 10, 32 << 20)
}

/// Adds the plan to the message of an allocation that failed.
pub(super) fn with_figures(error: Error, plan: &MemoryPlan) -> Error {
    match error {
        Error::DoesNotFit(detail) => Error::DoesNotFit(format!("{detail}\nthe model needs:\n{plan}")),
        other => other,
    }
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
    /// Elements of a row of an input whose columns are sorted for a matrix; 0 when none is.
    pub sorted: usize,
    /// Elements of a row between the factors of a LoRA beside a matrix; 0 when there is none.
    pub low_rank: usize,
    /// How attention splits the context of a decode step: keys a split, and the most splits of a head.
    pub split: (u32, u32),
}

impl Shapes {
    /// The sizes for `config` under `options`.
    pub(super) fn new(config: &Config, tensors: &Resolved, options: &LoadOptions, profile: Profile) -> Self {
        let asked = options.max_seq_len.unwrap_or(DEFAULT_CONTEXT.min(config.max_seq_len));
        let max_seq_len = asked.clamp(1, config.max_context);
        let kv = KvShape {
            format: options.kv,
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
            sorted: if tensors.is_sorted() {
                padded(config.dim.max(config.hidden_dim).max(config.n_heads * config.head_dim))
            } else {
                0
            },
            low_rank: padded(tensors.side_rank()),
            split: attention::split_rule(config.n_heads, config.n_kv_heads, profile),
        }
    }

    /// Elements of the widest row that a matrix multiplies.
    pub(super) fn widest(&self) -> usize {
        self.dim.max(self.heads).max(self.hidden).max(self.low_rank)
    }

    /// Bytes for the splits of a decode step's attention.
    pub(super) fn partial_bytes(&self, config: &Config) -> u64 {
        attention::partial_bytes(config.n_heads, self.kv.head_stride, self.split.1)
    }

    /// The largest buffer beside the matrices, which are split where they must be: what it is for, and its bytes.
    fn largest_binding(&self, config: &Config) -> (&'static str, u64) {
        let widest = self.gate_up.max(self.qkv).max(config.n_heads * self.kv.head_stride);
        let all = [
            ("the keys of a layer", self.kv.buffer_bytes()),
            ("the table of RoPE angles", (self.kv.max_seq_len * config.head_dim * 4) as u64),
            ("the activations of a chunk", (self.chunk_len * widest * 4) as u64),
            ("the logits", (columns::MOST * config.vocab_size) as u64 * 4),
        ];
        all.into_iter().max_by_key(|(_, bytes)| *bytes).unwrap_or_default()
    }

    /// Bytes of the activations of one chunk.
    fn scratch_bytes(&self, config: &Config) -> u64 {
        let q = config.n_heads * self.kv.head_stride;
        let row = 2 * self.dim + self.qkv + q + self.heads + self.gate_up + self.hidden + self.sorted + self.low_rank;
        // The input in f16, with its scale; and the tokens.
        let narrow = self.widest() / 2 + 1;
        let once = (self.dim * 4 + (1 + columns::MOST) * config.vocab_size * 8) as u64 + self.partial_bytes(config);
        (self.chunk_len * (row + narrow + 1) * 4) as u64 + once
    }
}

/// The plan for `config` and its `tensors` under `options` on an adapter of `profile`.
pub fn memory_plan(config: &Config, tensors: &Resolved, options: &LoadOptions, profile: Profile) -> MemoryPlan {
    let shapes = Shapes::new(config, tensors, options, profile);
    let mut plan = MemoryPlan::default();
    plan.add(MemoryKind::Weights, format!("weights ({})", tensors.formats()), tensors.device_bytes());
    let slots = if shapes.kv.n_slots > 1 { format!(" x {}", shapes.kv.n_slots) } else { String::new() };
    plan.add(
        MemoryKind::KvCache,
        format!("KV cache ({}, {} tokens{slots})", options.kv.name(), shapes.kv.max_seq_len),
        shapes.kv.total_bytes(),
    );
    let rope = (shapes.kv.max_seq_len * config.head_dim * 4) as u64;
    plan.add(
        MemoryKind::Scratch,
        format!("scratch ({} tokens a chunk)", shapes.chunk_len),
        shapes.scratch_bytes(config) + rope,
    );
    plan.add(MemoryKind::Staging, "staging, while loading", StagingRing::total_bytes(slot_bytes(config)));
    plan
}

/// Checks the plan against the budget and the device's limits.
///
/// # Errors
/// [`crate::Error::DoesNotFit`] with the figures and what would fit.
pub(super) fn check_plan(gpu: &Gpu, config: &Config, tensors: &Resolved, options: &LoadOptions) -> Result<MemoryPlan> {
    let profile = gpu.tier().profile;
    if let Some(asked) = options.max_seq_len.filter(|asked| *asked > config.max_context || *asked == 0) {
        let most = config.max_context;
        return Err(Error::Request(format!(
            "context: expected 1 to {most} tokens (the model's own; RoPE can be stretched), got {asked}"
        )));
    }
    let plan = memory_plan(config, tensors, options, profile);
    let shapes = Shapes::new(config, tensors, options, profile);
    let fits = |context: usize, budget: u64| {
        let options = LoadOptions { max_seq_len: Some(context), ..options.clone() };
        let (_, largest) = Shapes::new(config, tensors, &options, profile).largest_binding(config);
        memory_plan(config, tensors, &options, profile).total() <= budget && largest <= gpu.tier().max_binding
    };
    let advice = |budget: u64| {
        let best = (1..=shapes.kv.max_seq_len / 64).rev().map(|n| n * 64).find(|context| fits(*context, budget));
        match best {
            Some(context) => format!("what would fit: a context of {context} tokens (--context {context})"),
            None => {
                let smallest = LoadOptions { max_seq_len: Some(64.min(config.max_seq_len)), ..options.clone() };
                let need = memory_plan(config, tensors, &smallest, profile).total();
                format!(
                    "no context fits: even 64 tokens need {}; a smaller model would fit, or this one in 4 bits",
                    crate::gpu::gib(need)
                )
            }
        }
    };
    let software = gpu.facts().is_cpu();
    match (options.memory_budget, gpu.memory()) {
        (Some(budget), _) => plan.check(budget, "the memory budget", &advice(budget))?,
        // A software device allocates from the machine's memory.
        (None, Some(memory)) if software => {
            plan.check(memory.budget, "this machine's free memory", &advice(memory.budget))?;
        }
        (None, Some(memory)) => {
            let name = &gpu.facts().name;
            plan.check(memory.total, &format!("the memory of {name}"), &advice(memory.total))?;
            if plan.total() > memory.budget {
                // The system may still make room, by moving out what others hold.
                let (need, free) = (crate::gpu::gib(plan.total()), crate::gpu::gib(memory.budget));
                tracing::warn!(
                    "{name}: the model takes {need}, and {free} are free for it: other programs hold the rest"
                );
            }
        }
        (None, None) => {}
    }
    let (what, largest) = shapes.largest_binding(config);
    let limit = gpu.tier().max_binding.min(gpu.tier().max_buffer);
    if largest > limit {
        return Err(Error::DoesNotFit(format!(
            "a context of {} tokens needs {} for {what}; {} binds at most {}\n{}",
            shapes.kv.max_seq_len,
            crate::gpu::gib(largest),
            gpu.facts().name,
            crate::gpu::gib(limit),
            advice(u64::MAX)
        )));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{LoadOptions, check_plan, memory_plan, slot_bytes, with_figures};
    use crate::error::Error;
    use crate::file::Dtype;
    use crate::gpu::{Gpu, GpuOptions, MemoryKind, MemoryPlan, Profile};
    use crate::model::Config;
    use crate::weights::Stored;
    use crate::weights::gptq::Gptq;
    use crate::weights::names::Resolved;

    fn llama_7b() -> Config {
        let text = r#"{"architectures":["LLaMAForCausalLM"],"hidden_act":"silu","hidden_size":4096,
            "intermediate_size":11008,"num_attention_heads":32,"num_hidden_layers":32,"vocab_size":32000,
            "rms_norm_eps":1e-6,"max_position_embeddings":2048}"#;
        Config::parse(text.as_bytes(), Path::new("config.json")).unwrap()
    }

    fn f16(config: &Config) -> Resolved {
        Resolved::imagined(&config.dims(), &Stored::Plain(Dtype::F16))
    }

    #[test]
    fn the_7b_in_four_bits_fits_a_card_of_six_gigabytes() {
        let config = llama_7b();
        let tensors = Resolved::imagined(&config.dims(), &Stored::Gptq(Box::new(Gptq::imagined(128))));
        let plan = memory_plan(&config, &tensors, &LoadOptions::default(), Profile::Gpu);
        assert!(plan.items[0].what.contains("q4 + f16"), "{plan}");
        assert!((3.9e9..4.0e9).contains(&(plan.items[0].bytes as f64)), "{plan}");
        assert!(plan.total() < 5_500_000_000, "{plan}");
    }

    #[test]
    fn the_7b_takes_what_its_card_says() {
        let config = llama_7b();
        let plan = memory_plan(&config, &f16(&config), &LoadOptions::default(), Profile::Gpu);
        let bytes = |i: usize| plan.items[i].bytes;
        // 6.74e9 parameters in two bytes; 0.5 MiB a token.
        assert!((13.47e9..13.49e9).contains(&(bytes(0) as f64)), "{plan}");
        assert_eq!(bytes(1), 1 << 30, "{plan}");
        assert!(bytes(2) + bytes(3) < 400 << 20, "{plan}");
        assert_eq!(slot_bytes(&llama_7b()), 32 << 20);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        let refuse = |budget: u64, max_seq_len| {
            let options = LoadOptions { memory_budget: Some(budget), max_seq_len, ..LoadOptions::default() };
            check_plan(&gpu, &llama_7b(), &f16(&llama_7b()), &options).unwrap_err().to_string()
        };
        let tight = refuse(14_000_000_000, None);
        assert!(tight.contains("KV cache") && tight.contains("--context"), "{tight}");
        let hopeless = refuse(1 << 30, None);
        assert!(hopeless.contains("no context fits"), "{hopeless}");
        assert!(refuse(u64::MAX, Some(4096)).contains("1 to 2048"));
    }

    #[test]
    fn an_allocation_that_fails_shows_the_plan() {
        let mut plan = MemoryPlan::default();
        plan.add(MemoryKind::Weights, "weights", 1 << 20);
        let error = with_figures(Error::DoesNotFit("out of memory".to_owned()), &plan).to_string();
        assert!(error.contains("out of memory") && error.contains("1.0 MiB"), "{error}");
    }
}
