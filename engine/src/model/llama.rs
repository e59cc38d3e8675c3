//! LLaMA (Touvron et al. 2023, arXiv:2302.13971): the whole forward pass, top to bottom.
//!
//! ```text
//! x = embed[token]                                    (n_tokens, dim) f32, the residual stream
//! for each layer:
//!     qkv = Wqkv · rms_norm(x)                        q_proj, k_proj and v_proj, stacked
//!     q, cache = rope(q), (rope(k), v)                f16 cache
//!     x += Wo · attention(q, cache)
//!     gate, up = Wgate_up · rms_norm(x)               gate_proj and up_proj, stacked
//!     x += Wdown · (silu(gate) * up)
//! logits = lm_head · rms_norm(x[last])                (vocab_size) f32
//! ```
//!
//! Everything is bound at load. A step writes its position and tokens, records a plain list of dispatches, submits it once,
//! and reads the logits back.

pub(super) mod layerwise;

use std::sync::Arc;

use super::plan::{self, LoadOptions, Shapes};
use super::{Config, Forward, Pass};
use crate::error::{Error, Result};
use crate::file::RopeLayout;
use crate::gpu::{Buffer, Gpu, MemoryPlan, Recording, Role};
use crate::kernels::attention::{self, Attention};
use crate::kernels::embed::Embed;
use crate::kernels::linear::{self, Linear};
use crate::kernels::lora_merge;
use crate::kernels::rms_norm::{self, RmsNorm};
use crate::kernels::rope_kv::{self, RopeKv};
use crate::kernels::swiglu::{self, SwiGlu};
use crate::kernels::{Step, prepare};
use crate::kv_cache::KvCache;
use crate::weights::names::{Resolved, Role as Name, resolve};
use crate::weights::{Matrix, ResolvedTensor, Sources, Uploader, padded};

/// A model on the device, ready to run.
pub struct Llama {
    pub(super) gpu: Arc<Gpu>,
    pub(super) config: Config,
    pub(super) shapes: Shapes,
    memory: MemoryPlan,
    /// Bytes of the weights that a decode step reads.
    read_bytes: u64,
    cache: KvCache,
    pub(super) scratch: Scratch,
    embed: Embed,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    lm_head: Linear,
    pub(super) head: Head,
    /// Of the last step; see [`Scratch::serial`].
    serial: u32,
}

/// What turns the residual stream into logits, to be bound once more for all rows of a step.
pub(super) struct Head {
    pub norm: Buffer,
    pub matrix: Matrix,
}

/// One transformer layer, bound.
struct Layer {
    input_norm: RmsNorm,
    qkv_proj: Linear,
    /// One of each a slot.
    rope_kv: Vec<RopeKv>,
    attention: Vec<Attention>,
    o_proj: Linear,
    post_attention_norm: RmsNorm,
    gate_up_proj: Linear,
    swiglu: SwiGlu,
    down_proj: Linear,
}

/// The activations of one chunk. A buffer for each, because wgpu tracks hazards by whole buffers.
pub(super) struct Scratch {
    pub step: Buffer,
    /// (chunk_len) ids.
    pub tokens: Buffer,
    /// (chunk_len, dim): the residual stream.
    pub x: Buffer,
    /// (chunk_len, dim).
    pub normed: Buffer,
    /// (chunk_len, qkv).
    qkv: Buffer,
    /// (chunk_len, n_heads, head_stride).
    q: Buffer,
    /// (chunk_len, heads).
    heads: Buffer,
    /// (chunk_len, gate_up).
    gate_up: Buffer,
    /// (chunk_len, hidden).
    hidden: Buffer,
    /// (chunk_len, sorted): an input with its columns sorted for a matrix.
    sorted: Buffer,
    /// (chunk_len, low_rank): between the factors of a LoRA.
    low_rank: Buffer,
    /// (1, dim): the last token, normalised.
    last: Buffer,
    /// (vocab_size).
    logits: Buffer,
    /// A number that each step writes, and that must come back with its logits: on Metal a failed command buffer looks like
    /// success, and the logits would be those of the step before.
    serial: Buffer,
    /// The logits and the serial number on the host.
    out: Buffer,
}

impl Scratch {
    fn new(gpu: &Gpu, config: &Config, shapes: &Shapes) -> Result<Self> {
        let rows = |name, width: usize| gpu.create_buffer(name, (shapes.chunk_len * width * 4) as u64, Role::Storage);
        let vocab = (config.vocab_size * 4) as u64;
        Ok(Self {
            step: gpu.create_buffer("step", size_of::<Step>() as u64, Role::Uniform)?,
            tokens: rows("tokens", 1)?,
            x: rows("x", shapes.dim)?,
            normed: rows("normed", shapes.dim)?,
            qkv: rows("qkv", shapes.qkv)?,
            q: rows("q", config.n_heads * shapes.kv.head_stride)?,
            heads: rows("heads", shapes.heads)?,
            gate_up: rows("gate_up", shapes.gate_up)?,
            hidden: rows("hidden", shapes.hidden)?,
            sorted: rows("sorted", shapes.sorted)?,
            low_rank: rows("low_rank", shapes.low_rank)?,
            last: gpu.create_buffer("last", (shapes.dim * 4) as u64, Role::Storage)?,
            logits: gpu.create_buffer("logits", vocab, Role::Storage)?,
            serial: gpu.create_buffer("serial", 4, Role::Storage)?,
            out: gpu.create_buffer("logits on the host", vocab + 4, Role::Readback)?,
        })
    }

    pub(super) fn between(&self) -> linear::Between<'_> {
        linear::Between { sorted: &self.sorted, low_rank: &self.low_rank }
    }
}

/// Bytes of the file that have been read, and of all tensors.
#[derive(Clone, Copy, Debug)]
pub struct LoadProgress {
    /// Read so far.
    pub done: u64,
    /// In all.
    pub total: u64,
}

impl Llama {
    /// Loads `sources`, a checkpoint and the LoRAs over it, onto `gpu`, streaming the tensors from the memory map.
    ///
    /// # Errors
    /// What is wrong with the files, by tensor; [`Error::DoesNotFit`] with the figures, before anything is allocated; what the
    /// device reports.
    pub fn load<'a>(
        gpu: Arc<Gpu>,
        sources: impl Into<Sources<'a>>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self> {
        let sources = sources.into();
        let checkpoint = sources.checkpoint;
        let config = Config::load(checkpoint)?;
        let tensors = resolve(sources, &config.dims())?;
        if config.head_dim > attention::MAX_HEAD_DIM {
            let detail = format!("a head of {}, expected at most {}", config.head_dim, attention::MAX_HEAD_DIM);
            return Err(match checkpoint.metadata() {
                Some(metadata) => metadata.error("llama.attention.key_length", detail),
                None => Error::config(&checkpoint.side_path("config.json"), "head_dim", detail),
            });
        }
        let memory = plan::check_plan(&gpu, &config, &tensors, options)?;
        let shapes = Shapes::new(&config, &tensors, options, gpu.tier().profile);
        let total = tensors.stored_bytes();
        let mut report = |done| progress(LoadProgress { done, total });
        let uploader = Uploader::new(&gpu, sources, plan::slot_bytes(&config), &mut report)?;
        let loader = Loader { gpu: &gpu, config: &config, shapes, tensors: &tensors, uploader };
        // Kernels are compiled and tested while the weights stream.
        let names = kernel_names(&tensors);
        let loaded = std::thread::scope(|scope| {
            scope.spawn(|| prepare(&gpu, &names));
            loader.load(checkpoint.rope_layout())
        });
        let (cache, scratch, parts) = loaded.map_err(|error| plan::with_figures(error, &memory))?;
        let Parts { embed, layers, final_norm, lm_head, head } = parts;
        let read_bytes = tensors.device_bytes() - tensors.table_bytes();
        gpu.keep_cache();
        Ok(Self {
            gpu,
            config,
            shapes,
            memory,
            read_bytes,
            cache,
            scratch,
            embed,
            layers,
            final_norm,
            lm_head,
            head,
            serial: 0,
        })
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What it takes on the device.
    pub fn memory(&self) -> &MemoryPlan {
        &self.memory
    }

    /// The device that it is on.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Bytes that one decode step reads at position `pos`: every matrix once (the embedding only if it is also the head),
    /// and the cache.
    pub fn bytes_per_token(&self, pos: usize) -> u64 {
        self.read_bytes + self.shapes.kv.bytes_per_position() * pos as u64
    }

    /// The list of a step: everything from the tokens to the logits.
    fn record(&self, pass: Pass, slot: usize, pos: u32, n_tokens: u32) -> Recording<'_> {
        let mut list = self.record_layers(pass, slot, pos, n_tokens);
        self.final_norm.record(&mut list, n_tokens);
        self.lm_head.record(&mut list, 1);
        let bytes = (self.config.vocab_size * 4) as u64;
        list.copy_out(&self.scratch.logits, &self.scratch.out, 0, bytes);
        list.copy_out(&self.scratch.serial, &self.scratch.out, bytes, 4);
        list
    }

    /// From the tokens to the residual stream behind the last layer.
    pub(super) fn record_layers(&self, pass: Pass, slot: usize, pos: u32, n_tokens: u32) -> Recording<'_> {
        let mut list = Recording::new(pass == Pass::Prefill);
        self.embed.record(&mut list, n_tokens);
        for layer in &self.layers {
            layer.input_norm.record(&mut list, n_tokens);
            layer.qkv_proj.record(&mut list, n_tokens);
            if let (Some(rope_kv), Some(attention)) = (layer.rope_kv.get(slot), layer.attention.get(slot)) {
                rope_kv.record(&mut list, n_tokens);
                attention.record(&mut list, pos, n_tokens);
            }
            layer.o_proj.record(&mut list, n_tokens);
            layer.post_attention_norm.record(&mut list, n_tokens);
            layer.gate_up_proj.record(&mut list, n_tokens);
            layer.swiglu.record(&mut list, n_tokens);
            layer.down_proj.record(&mut list, n_tokens);
        }
        list
    }

    /// Dispatches of a decode step.
    pub fn dispatches_per_token(&self) -> usize {
        self.record(Pass::Decode, 0, 0, 1).len()
    }

    pub(super) fn check_request(&self, pass: Pass, slot: usize, pos: usize, tokens: &[u32]) -> Result<()> {
        let (max, n_slots) = (self.shapes.kv.max_seq_len, self.shapes.kv.n_slots);
        let chunk = if pass == Pass::Decode { 1 } else { self.shapes.chunk_len };
        let refuse = |detail: String| Err(Error::Request(detail));
        if tokens.is_empty() || tokens.len() > chunk {
            return refuse(format!("a step takes 1 to {chunk} tokens, got {}", tokens.len()));
        }
        if slot >= n_slots || pos + tokens.len() > max {
            let end = pos + tokens.len();
            return refuse(format!(
                "positions {pos}..{end} of slot {slot}: there are {n_slots} slots of {max} positions"
            ));
        }
        match tokens.iter().find(|token| **token as usize >= self.config.vocab_size) {
            Some(token) => refuse(format!("token {token} is outside the vocabulary of {}", self.config.vocab_size)),
            None => Ok(()),
        }
    }
}

impl Forward for Llama {
    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn max_seq_len(&self) -> usize {
        self.shapes.kv.max_seq_len
    }

    fn n_slots(&self) -> usize {
        self.shapes.kv.n_slots
    }

    fn forward(&mut self, pass: Pass, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        self.check_request(pass, slot, pos, tokens)?;
        let step = Step { pos: pos as u32, n_tokens: tokens.len() as u32 };
        self.gpu.write(&self.scratch.step, 0, bytemuck::bytes_of(&step))?;
        self.gpu.write(&self.scratch.tokens, 0, bytemuck::cast_slice(tokens))?;
        self.serial = self.serial.wrapping_add(1);
        self.gpu.write(&self.scratch.serial, 0, bytemuck::bytes_of(&self.serial))?;
        let list = self.record(pass, slot, step.pos, step.n_tokens);
        let during = if pass == Pass::Decode { "decoding" } else { "reading the prompt" };
        let bytes = self.config.vocab_size * 4;
        let serial = self.gpu.run_and_map(&list, during, (&self.scratch.out, bytes as u64 + 4), |data| {
            let (values, serial) = data.split_at(bytes.min(data.len()));
            logits.resize(values.len() / 4, 0.0);
            for (logit, value) in logits.iter_mut().zip(values.as_chunks::<4>().0) {
                *logit = f32::from_le_bytes(*value);
            }
            serial.try_into().map_or(0, u32::from_le_bytes)
        })?;
        if serial != self.serial {
            let detail = "the driver dropped the work without an error; load the model again, with a smaller context if it repeats";
            return Err(Error::Gpu { during: during.to_owned(), detail: detail.to_owned() });
        }
        match logits.iter().position(|logit| !logit.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::NonFinite(format!(
                "the model computed {} for token {at} at position {}: the weights are damaged, or the driver of {} computes \
                 wrongly (run `guanaco conformance` to find out)",
                logits.get(at).copied().unwrap_or(f32::NAN),
                pos + tokens.len() - 1,
                self.gpu.facts().name
            ))),
        }
    }

    /// As many tokens as the device multiplies by the largest matrix within the time of one submit, as far as is known: a
    /// dispatch cannot be cut.
    fn chunk_len(&self) -> usize {
        let widest = padded(self.config.dim) * (2 * self.config.hidden_dim).max(self.config.vocab_size);
        let tokens = self.gpu.submit_bound(true) / (widest as u64).max(1);
        let tokens = usize::try_from(tokens).unwrap_or(usize::MAX) / plan::LEAST_CHUNK * plan::LEAST_CHUNK;
        tokens.max(plan::LEAST_CHUNK).min(self.shapes.chunk_len)
    }

    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        self.cache.copy_slot(&self.gpu, from, to, len)
    }
}

/// The kernels that a model of `tensors` is bound to; those of LoRAs are left to when they are met.
fn kernel_names(tensors: &Resolved) -> Vec<&'static str> {
    let mut names = linear::kernel_names(tensors.matrix_formats());
    names.extend(["attention", "embed", "rms_norm", "rope_kv", "swiglu"]);
    names.extend(tensors.is_sorted().then_some("gather"));
    names
}

/// The parameters of every norm of the model.
pub(super) fn norm_params(config: &Config, shapes: &Shapes, last_only: bool) -> rms_norm::Params {
    rms_norm::Params {
        dim: config.dim as u32,
        row_vecs: shapes.dim as u32 / 4,
        eps: config.rms_eps,
        last_only: u32::from(last_only),
    }
}

/// What a load goes through.
struct Loader<'a> {
    gpu: &'a Gpu,
    config: &'a Config,
    shapes: Shapes,
    tensors: &'a Resolved,
    uploader: Uploader<'a>,
}

/// The bound parts of a model.
struct Parts {
    embed: Embed,
    layers: Vec<Layer>,
    final_norm: RmsNorm,
    lm_head: Linear,
    head: Head,
}

impl<'a> Loader<'a> {
    fn load(mut self, layout: RopeLayout) -> Result<(KvCache, Scratch, Parts)> {
        let (gpu, config, shapes) = (self.gpu, self.config, self.shapes);
        let cache = KvCache::new(gpu, shapes.kv)?;
        let s = Scratch::new(gpu, config, &shapes)?;
        let rope = self.rope_table()?;

        let table = self.matrix("embed", &[Name::Embed], &[], None)?;
        let embed = Embed::new(gpu, &table, &s.step, &s.tokens, &s.x)?;
        let mut layers = Vec::with_capacity(config.n_layers);
        for layer in 0..config.n_layers {
            layers.push(self.layer(layer, layout, &cache, &s, &rope)?);
        }
        let norm = self.uploader.vector("final_norm", &self.named(&[Name::FinalNorm], None))?;
        let final_norm =
            RmsNorm::new(gpu, "final_norm", norm_params(config, &shapes, true), &s.step, &s.x, &norm, &s.last)?;
        let head = if self.tensors.is_tied() { table } else { self.matrix("lm_head", &[Name::LmHead], &[], None)? };
        let (y_stride, between) = (config.vocab_size, s.between());
        let wiring = linear::Wiring { step: &s.step, x: &s.last, y: &s.logits, y_stride, add: false, between };
        let lm_head = Linear::new(gpu, "lm_head", &head, wiring, false)?;
        self.uploader.finish()?;
        let head = Head { norm, matrix: head };
        Ok((cache, s, Parts { embed, layers, final_norm, lm_head, head }))
    }

    fn layer(
        &mut self,
        layer: usize,
        layout: RopeLayout,
        cache: &KvCache,
        s: &Scratch,
        rope: &Buffer,
    ) -> Result<Layer> {
        let (gpu, config, shapes) = (self.gpu, self.config, self.shapes);
        let (n_heads, n_kv_heads, head_dim) = (config.n_heads as u32, config.n_kv_heads as u32, config.head_dim as u32);
        let (head_stride, max_seq_len) = (shapes.kv.head_stride as u32, shapes.kv.max_seq_len as u32);
        let mut linear = |label, weights: &[Name], biases: &[Name], x, y, y_stride, add| {
            let matrix = self.matrix(&format!("{label} {layer}"), weights, biases, Some(layer))?;
            let wiring = linear::Wiring { step: &s.step, x, y, y_stride, add, between: s.between() };
            Linear::new(gpu, label, &matrix, wiring, true)
        };
        let qkv_proj = linear(
            "qkv_proj",
            &[Name::QProj, Name::KProj, Name::VProj],
            &[Name::QBias, Name::KBias, Name::VBias],
            &s.normed,
            &s.qkv,
            shapes.qkv,
            false,
        )?;
        let o_proj = linear("o_proj", &[Name::OProj], &[Name::OBias], &s.heads, &s.x, shapes.dim, true)?;
        let gate_up_proj = linear(
            "gate_up_proj",
            &[Name::GateProj, Name::UpProj],
            &[Name::GateBias, Name::UpBias],
            &s.normed,
            &s.gate_up,
            shapes.gate_up,
            false,
        )?;
        let down_proj = linear("down_proj", &[Name::DownProj], &[Name::DownBias], &s.hidden, &s.x, shapes.dim, true)?;

        let rope_params = rope_kv::Params {
            n_heads,
            n_kv_heads,
            head_dim,
            head_stride,
            max_seq_len,
            qkv_stride: shapes.qkv as u32,
            interleaved: u32::from(layout == RopeLayout::InterleavedPairs),
        };
        let attention_params = attention::Params {
            n_heads,
            n_kv_heads,
            head_dim,
            head_words: head_stride / 8,
            max_seq_len,
            out_stride: shapes.heads as u32,
            scale: 1.0 / (head_dim as f32).sqrt(),
        };
        let (mut rotations, mut attentions) = (Vec::new(), Vec::new());
        for slot in 0..shapes.kv.n_slots {
            // A cache of one layer serves layers that are run one by one.
            let [k_cache, v_cache] = cache.layer(slot, layer % shapes.kv.n_layers.max(1))?;
            let wiring = rope_kv::Wiring { step: &s.step, qkv: &s.qkv, rope, q_out: &s.q, k_cache, v_cache };
            rotations.push(RopeKv::new(gpu, "rope_kv", rope_params, wiring)?);
            let caches = [k_cache, v_cache];
            attentions.push(Attention::new(gpu, "attention", attention_params, &s.step, &s.q, caches, &s.heads)?);
        }
        let swiglu_params = swiglu::Params {
            hidden_dim: config.hidden_dim as u32,
            in_stride: shapes.gate_up as u32,
            out_stride: shapes.hidden as u32,
        };
        Ok(Layer {
            input_norm: self.norm("input_norm", Name::InputNorm, layer, s)?,
            qkv_proj,
            rope_kv: rotations,
            attention: attentions,
            o_proj,
            post_attention_norm: self.norm("post_attention_norm", Name::PostAttentionNorm, layer, s)?,
            gate_up_proj,
            swiglu: SwiGlu::new(gpu, "swiglu", swiglu_params, &s.step, &s.gate_up, &s.hidden)?,
            down_proj,
        })
    }

    /// The tensors of these names on the device, one below the other, with what LoRAs change in them.
    fn matrix(&mut self, label: &str, weights: &[Name], biases: &[Name], layer: Option<usize>) -> Result<Matrix> {
        let (weights, biases) = (self.named(weights, layer), self.named(biases, layer));
        let matrix = self.uploader.matrix(label, &weights, &biases)?;
        lora_merge::merge(self.gpu, &matrix)?;
        Ok(matrix)
    }

    fn norm(&mut self, label: &str, name: Name, layer: usize, s: &Scratch) -> Result<RmsNorm> {
        let weight = self.uploader.vector(label, &self.named(&[name], Some(layer)))?;
        let params = norm_params(self.config, &self.shapes, false);
        RmsNorm::new(self.gpu, label, params, &s.step, &s.x, &weight, &s.normed)
    }

    /// cos and sin of every position: (max_seq_len, head_dim / 2, 2) f32. The angles are computed in f64: WGSL promises no
    /// precision for large ones.
    fn rope_table(&mut self) -> Result<Buffer> {
        let inv_freq = self.config.rope_inv_freq();
        self.uploader.table("rope", self.shapes.kv.max_seq_len, inv_freq.len() * 8, |positions, bytes| {
            let angles = positions.flat_map(|pos| inv_freq.iter().map(move |freq| pos as f64 * f64::from(*freq)));
            for (angle, pair) in angles.zip(bytes.chunks_exact_mut(8)) {
                let (sin, cos) = angle.sin_cos();
                pair.copy_from_slice(bytemuck::cast_slice(&[cos as f32, sin as f32]));
            }
        })
    }

    /// The tensors of these names that the checkpoint has; biases may be absent, and `resolve` has found all others.
    fn named(&self, names: &[Name], layer: Option<usize>) -> Vec<&'a ResolvedTensor> {
        names.iter().filter_map(|name| self.tensors.get(*name, layer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::{Llama, LoadOptions, Sources, kernel_names, prepare, resolve};
    use crate::file::Checkpoint;
    use crate::gpu::{Gpu, GpuOptions};

    #[test]
    fn what_a_model_is_bound_to_is_what_was_prepared() {
        let open = || Gpu::open(GpuOptions::from_env()).map_err(|error| eprintln!("skipped: {error}")).ok();
        let (Some(ahead), Some(bound)) = (open(), open()) else { return };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/models/rope_linear");
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let model =
            Llama::load(Arc::new(bound), &checkpoint, &LoadOptions::default(), &mut |_| {}).expect("the model loads");
        let tensors = resolve(Sources::from(&checkpoint), &model.config().dims()).unwrap();
        prepare(&ahead, &kernel_names(&tensors));
        assert_eq!(ahead.compiled(), model.gpu().compiled());
    }
}
