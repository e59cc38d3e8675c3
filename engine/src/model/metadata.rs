//! The configuration from a file's own metadata (GGUF's): the same sizes and constants as in `config.json`, under other keys.
//!
//! The keys are described at <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#llm>, with llama.cpp's defaults
//! (<https://github.com/ggml-org/llama.cpp/blob/master/src/llama-model.cpp>).

use super::config::{Config, MAX_DIM, MAX_HEAD_DIM, MAX_HEADS, MAX_HIDDEN_DIM, MAX_LAYERS, MAX_SEQ_LEN, MAX_VOCAB};
use super::rope::{RopeScaling, YARN_BETAS, yarn_mscale};
use crate::error::{Error, Result};
use crate::file::{Checkpoint, Dtype, Metadata};

const HEADS: &str = "llama.attention.head_count";
const KV_HEADS: &str = "llama.attention.head_count_kv";
const KEY_LENGTH: &str = "llama.attention.key_length";
const EMBEDDING: &str = "llama.embedding_length";
const VOCAB: &str = "llama.vocab_size";
const CONTEXT: &str = "llama.context_length";
const TOKENS: &str = "tokenizer.ggml.tokens";
const ROPE_FREQS: &str = "rope_freqs.weight";

impl Config {
    /// Reads the configuration from the metadata of `checkpoint`.
    ///
    /// # Errors
    /// [`Error::Config`] names the key that is missing, out of range, contradictory, or not LLaMA.
    pub(super) fn from_metadata(checkpoint: &Checkpoint, metadata: Metadata<'_>) -> Result<Self> {
        let keys = Keys { metadata, warnings: Vec::new() };
        keys.check_architecture()?;
        keys.build(checkpoint)
    }
}

/// The keys of one file, each read with its check.
struct Keys<'a> {
    metadata: Metadata<'a>,
    warnings: Vec<String>,
}

impl Keys<'_> {
    fn build(mut self, checkpoint: &Checkpoint) -> Result<Config> {
        let dim = self.size(EMBEDDING, MAX_DIM)?;
        let n_heads = self.size(HEADS, MAX_HEADS)?;
        let n_kv_heads = self.optional_size(KV_HEADS, MAX_HEADS)?.unwrap_or(n_heads);
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(self.error(KV_HEADS, format!("{n_kv_heads} does not divide {HEADS} ({n_heads})")));
        }
        let head_dim = self.head_dim(dim, n_heads)?;
        let vocab_size = self.vocab_size()?;
        let (rope_theta, rope_scaling) = self.rope()?;
        let max_seq_len = self.max_seq_len()?;
        let has = |name: &str| checkpoint.tensor(name).is_some();
        Ok(Config {
            dim,
            hidden_dim: self.size("llama.feed_forward_length", MAX_HIDDEN_DIM)?,
            n_layers: self.size("llama.block_count", MAX_LAYERS)?,
            n_heads,
            n_kv_heads,
            head_dim,
            vocab_size,
            rms_eps: self.rms_eps()?,
            rope_theta,
            rope_scaling,
            rope_factors: rope_factors(checkpoint, head_dim)?,
            max_seq_len,
            max_context: max_seq_len,
            tied_embeddings: !has("output.weight"),
            attention_bias: has("blk.0.attn_q.bias"),
            mlp_bias: has("blk.0.ffn_up.bias"),
            bos_id: self.token_ids(&["bos"], vocab_size)?.first().copied(),
            // A reply ends at the end of the text, of the turn, or of the message.
            eos_ids: self.token_ids(&["eos", "eot", "eom"], vocab_size)?,
            pad_id: self.token_ids(&["padding"], vocab_size)?.first().copied(),
            warnings: self.warnings,
        })
    }

    fn error(&self, key: &str, detail: impl Into<String>) -> Error {
        self.metadata.error(key, detail)
    }

    fn size(&self, key: &str, max: usize) -> Result<usize> {
        let missing = || self.error(key, format!("missing, expected a number from 1 to {max}"));
        self.optional_size(key, max)?.ok_or_else(missing)
    }

    fn optional_size(&self, key: &str, max: usize) -> Result<Option<usize>> {
        let Some(number) = self.metadata.whole(key)? else { return Ok(None) };
        match usize::try_from(number) {
            Ok(number) if (1..=max).contains(&number) => Ok(Some(number)),
            _ => Err(self.error(key, format!("expected a whole number from 1 to {max}, got {number}"))),
        }
    }

    fn check_architecture(&self) -> Result<()> {
        const KEY: &str = "general.architecture";
        let expected = "this program computes LLaMA (llama) and nothing else";
        if let Some(kind) = self.metadata.text("general.type")?.filter(|kind| *kind != "model") {
            let kind: String = kind.chars().take(40).collect();
            return Err(
                self.error("general.type", format!("expected model, got {kind:?}: this file is not a language model"))
            );
        }
        match self.metadata.text(KEY)? {
            Some("llama") => {}
            Some(name) => {
                let name: String = name.chars().take(40).collect();
                return Err(self.error(KEY, format!("{name:?} is not supported: {expected}")));
            }
            None => return Err(self.error(KEY, format!("missing: {expected}"))),
        }
        // Mixtral's files say llama too, and differ by this.
        for (key, what) in [
            ("llama.expert_count", "models with experts (Mixtral) are not supported"),
            ("llama.attention.sliding_window", "models with a sliding window (Mistral) are not supported"),
        ] {
            if let Some(number) = self.metadata.whole(key)?.filter(|number| *number > 0) {
                return Err(self.error(key, format!("{number}: {what}: {expected}")));
            }
        }
        // Granite's files scale these, and so may others; llama.cpp takes 0 for a key that says nothing.
        for key in ["llama.attention.scale", "llama.logit_scale", "llama.embedding_scale", "llama.residual_scale"] {
            if let Some(scale) = self.metadata.float(key)?.filter(|scale| *scale != 0.0) {
                return Err(self.error(key, format!("{scale} is not computed: {expected}")));
            }
        }
        if self.metadata.flag("llama.attention.causal")? == Some(false) {
            return Err(self.error("llama.attention.causal", format!("expected true: {expected}")));
        }
        Ok(())
    }

    fn head_dim(&self, dim: usize, n_heads: usize) -> Result<usize> {
        let head_dim = match self.optional_size(KEY_LENGTH, MAX_HEAD_DIM)? {
            Some(head_dim) => head_dim,
            None if dim.is_multiple_of(n_heads) => dim / n_heads,
            None => {
                let detail = format!("{dim} is not a multiple of {HEADS} ({n_heads}), and there is no {KEY_LENGTH}");
                return Err(self.error(EMBEDDING, detail));
            }
        };
        if head_dim % 2 != 0 || head_dim > MAX_HEAD_DIM {
            let detail = format!("expected an even number up to {MAX_HEAD_DIM} (RoPE turns pairs), got {head_dim}");
            return Err(self.error(KEY_LENGTH, detail));
        }
        for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
            if let Some(number) = self.metadata.whole(key)?.filter(|number| *number != head_dim as u64) {
                return Err(self.error(key, format!("expected {head_dim}, the width of a head, got {number}")));
            }
        }
        Ok(head_dim)
    }

    fn vocab_size(&self) -> Result<usize> {
        if let Some(size) = self.optional_size(VOCAB, MAX_VOCAB)? {
            return Ok(size);
        }
        match self.metadata.count(TOKENS)? {
            Some(count) if (1..=MAX_VOCAB).contains(&count) => Ok(count),
            Some(count) => Err(self.error(TOKENS, format!("expected 1 to {MAX_VOCAB} tokens, got {count}"))),
            None => Err(self.error(VOCAB, format!("missing, and there is no {TOKENS} to be counted"))),
        }
    }

    fn rms_eps(&self) -> Result<f32> {
        const KEY: &str = "llama.attention.layer_norm_rms_epsilon";
        match self.metadata.float(KEY)? {
            // Below the smallest f32 it would be 0 in the kernels, and a zero row would become NaN.
            Some(eps) if (1e-30..=1.0).contains(&eps) => Ok(eps as f32),
            Some(eps) => Err(self.error(KEY, format!("expected a number above 0 and up to 1, got {eps}"))),
            None => Err(self.error(KEY, "missing, expected a number above 0 and up to 1")),
        }
    }

    fn max_seq_len(&mut self) -> Result<usize> {
        let Some(number) = self.metadata.whole(CONTEXT)? else { return Ok(2048) };
        if number == 0 {
            return Err(self.error(CONTEXT, "expected a whole number above 0, got 0"));
        }
        let clamped = usize::try_from(number).unwrap_or(usize::MAX).min(MAX_SEQ_LEN);
        if clamped as u64 != number {
            self.warn(CONTEXT, &format!("{number} is not believed, taken as {clamped}"));
        }
        Ok(clamped)
    }

    /// YaRN with llama.cpp's defaults: `attn_factor` multiplies the factor that follows from the scaling.
    fn yarn(&self) -> Result<RopeScaling> {
        let positive = |key: &str, default: Option<f64>| match self.metadata.float(key)?.or(default) {
            Some(number) if number > 0.0 && number <= 1e9 => Ok(number),
            Some(number) => Err(self.error(key, format!("expected a number above 0 and up to 1e9, got {number}"))),
            None => Err(self.error(key, "missing, expected a number above 0: YaRN needs it")),
        };
        let factor = positive("llama.rope.scaling.factor", None)?;
        let original = "llama.rope.scaling.original_context_length";
        let Some(original_context) = self.metadata.whole(original)?.filter(|length| *length > 0) else {
            return Err(self.error(original, "missing, expected a number above 0: YaRN needs it"));
        };
        let extrapolation = "llama.rope.scaling.yarn_ext_factor";
        if let Some(other) = self.metadata.float(extrapolation)?.filter(|factor| *factor >= 0.0 && *factor != 1.0) {
            return Err(self.error(extrapolation, format!("expected 1, got {other}")));
        }
        Ok(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings: original_context as f64,
            beta_fast: positive("llama.rope.scaling.yarn_beta_fast", Some(YARN_BETAS.0))?,
            beta_slow: positive("llama.rope.scaling.yarn_beta_slow", Some(YARN_BETAS.1))?,
            attention_factor: yarn_mscale(factor, 1.0) * positive("llama.rope.scaling.attn_factor", Some(1.0))?,
            truncate: true,
        })
    }

    fn rope(&self) -> Result<(f64, RopeScaling)> {
        const THETA: &str = "llama.rope.freq_base";
        const TYPE: &str = "llama.rope.scaling.type";
        const FACTOR: &str = "llama.rope.scaling.factor";
        // The factor's key before there were types.
        const SCALE: &str = "llama.rope.scale_linear";
        let theta = self.metadata.float(THETA)?.unwrap_or(10_000.0);
        if !(1.0..=1e15).contains(&theta) {
            return Err(self.error(THETA, format!("expected a number from 1 to 1e15, got {theta}")));
        }
        match self.metadata.text(TYPE)? {
            Some("none") => return Ok((theta, RopeScaling::None)),
            // A factor alone is linear.
            None | Some("linear") => {}
            Some("yarn") => return Ok((theta, self.yarn()?)),
            Some(kind) => {
                let kind: String = kind.chars().take(40).collect();
                return Err(self.error(TYPE, format!("{kind:?} is not supported: expected none, linear or yarn")));
            }
        }
        let key = if self.metadata.float(FACTOR)?.is_some() { FACTOR } else { SCALE };
        match self.metadata.float(key)? {
            // llama.cpp takes 0 for a key that says nothing.
            None | Some(0.0 | 1.0) => Ok((theta, RopeScaling::None)),
            Some(factor) if factor > 0.0 && factor <= 1e9 => Ok((theta, RopeScaling::Linear { factor })),
            Some(factor) => Err(self.error(key, format!("expected a number above 0 and up to 1e9, got {factor}"))),
        }
    }

    /// The ids of the named tokens that the file has; those outside the vocabulary are left out, since the model cannot meet
    /// them.
    fn token_ids(&mut self, names: &[&str], vocab_size: usize) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for name in names {
            let key = format!("tokenizer.ggml.{name}_token_id");
            let Some(number) = self.metadata.whole(&key)? else { continue };
            match u32::try_from(number).ok().filter(|id| (*id as usize) < vocab_size) {
                Some(id) if ids.contains(&id) => {}
                Some(id) => ids.push(id),
                // 2^32 - 1 is how a file says that there is none.
                None if number == u64::from(u32::MAX) => {}
                None => self.warn(&key, &format!("{number} is no token of {vocab_size}, left out")),
            }
        }
        Ok(ids)
    }

    fn warn(&mut self, key: &str, what: &str) {
        self.warnings.push(format!("config field `{key}`: {what}; file: {}", self.metadata.path().display()));
    }
}

/// What each RoPE frequency is divided by: how a converter stores Llama 3.1's scaling. Empty when the file has none.
fn rope_factors(checkpoint: &Checkpoint, head_dim: usize) -> Result<Vec<f32>> {
    let Some(view) = checkpoint.tensor(ROPE_FREQS) else { return Ok(Vec::new()) };
    let fail = |detail: String| Err(Error::tensor(view.path(), ROPE_FREQS, detail));
    if view.dtype != Dtype::F32 || *view.shape != [head_dim / 2] {
        let (half, got) = (head_dim / 2, view.shape);
        return fail(format!("expected F32 ({half}), half the width of a head, got {} {got:?}", view.dtype));
    }
    let words = view.data()?.as_chunks::<4>().0;
    let factors: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    match factors.iter().find(|factor| !(**factor > 0.0 && **factor <= 1e9)) {
        Some(factor) => fail(format!("expected numbers above 0 and up to 1e9, got {factor}: the file is damaged")),
        None => Ok(factors),
    }
}
