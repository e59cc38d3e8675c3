//! LLaMA (Touvron et al. 2023, arXiv:2302.13971): the whole forward pass, top to bottom.
//!
//! ```text
//! x = embed[token]                                    (n_tokens, dim) f32, the residual stream
//! for each layer:
//!     qkv = Wqkv · rms_norm(x)                        q_proj, k_proj and v_proj, stacked
//!     q, cache = rope(q), (rope(k), v)                f16 or int8 cache
//!     x += Wo · attention(q, cache)
//!     gate, up = Wgate_up · rms_norm(x)               gate_proj and up_proj, stacked
//!     x += Wdown · (silu(gate) * up)
//! logits = lm_head · rms_norm(x[last])                (vocab_size) f32
//! ```
//!
//! Everything is bound at load. A step writes its position and tokens, records a plain list of dispatches, submits it once,
//! and reads the logits back. Decoding, the lines with `qkv` and `gate` are one dispatch each, as far as the matrices allow; on a
//! GPU with the norm before them, so that a layer is five.

mod ahead;
pub(super) mod layerwise;
mod load;
mod verify;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use load::{Loader, Parts};
use verify::Verifier;

use super::plan::{self, LoadOptions, Shapes};
use super::{Ahead, Config, Forward, Pass};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, MemoryPlan, Recording, Role, Tier, Width};
use crate::kernels::attention::{self, Attention, KvFormat};
use crate::kernels::columns;
use crate::kernels::embed::Embed;
use crate::kernels::gate_up::GateUp;
use crate::kernels::linear::{self, Linear};
use crate::kernels::qkv::Qkv;
use crate::kernels::rms_norm::{self, RmsNorm};
use crate::kernels::rope_kv::RopeKv;
use crate::kernels::rows;
use crate::kernels::swiglu::SwiGlu;
use crate::kernels::{Step, prepare};
use crate::kv_cache::KvCache;
use crate::weights::names::{Resolved, Role as Name, resolve};
use crate::weights::{Matrix, ResolvedTensor, Sources, Uploader, padded};

/// What a prefill does, in errors.
const READING: &str = "reading the prompt";

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
    chooser: ahead::Chooser,
    verifier: Verifier,
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
    /// Decoding, in place of `qkv_proj` and `rope_kv`: one a slot, or none where the matrices do not allow it.
    qkv: Vec<Qkv>,
    /// Decoding, in place of `gate_up_proj` and `swiglu`.
    gate_up: Option<GateUp>,
    /// Is the norm before them part of these two?
    norm_within: bool,
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
    /// The splits of a decode step's attention.
    partial: Buffer,
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
    /// (chunk_len, widest) f16 and (chunk_len): an input as matrix units take it, and its scales.
    narrow: [Buffer; 2],
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
            step: gpu.create_buffer("step", size_of::<Step>() as u64, Role::Counter)?,
            tokens: rows("tokens", 1)?,
            x: rows("x", shapes.dim)?,
            normed: rows("normed", shapes.dim)?,
            qkv: rows("qkv", shapes.qkv)?,
            q: rows("q", config.n_heads * shapes.kv.head_stride)?,
            partial: gpu.create_buffer("partial", shapes.partial_bytes(config), Role::Storage)?,
            heads: rows("heads", shapes.heads)?,
            gate_up: rows("gate_up", shapes.gate_up)?,
            hidden: rows("hidden", shapes.hidden)?,
            sorted: rows("sorted", shapes.sorted)?,
            low_rank: rows("low_rank", shapes.low_rank)?,
            narrow: [rows("half_x", shapes.widest() / 2)?, rows("x_scale", 1)?],
            last: gpu.create_buffer("last", (shapes.dim * 4) as u64, Role::Storage)?,
            logits: gpu.create_buffer("logits", vocab, Role::Storage)?,
            serial: gpu.create_buffer("serial", 4, Role::Storage)?,
            out: gpu.create_buffer("logits on the host", vocab + 4, Role::Readback)?,
        })
    }

    pub(super) fn between(&self) -> linear::Between<'_> {
        let [half, scale] = &self.narrow;
        linear::Between { sorted: &self.sorted, low_rank: &self.low_rank, narrow: [half, scale] }
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
    /// What is wrong with the files, by tensor; [`Error::Stopped`]; [`Error::DoesNotFit`] with the figures, before anything is allocated; what the
    /// device reports.
    pub fn load<'a>(
        gpu: Arc<Gpu>,
        sources: impl Into<Sources<'a>>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Self> {
        let sources = sources.into();
        let checkpoint = sources.checkpoint;
        let config = Config::load(checkpoint)?.stretched(options.stretch, options.max_seq_len)?;
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
        let mut report = |done| {
            progress(LoadProgress { done, total });
            match options.stop_flag.load(Ordering::Relaxed) {
                true => Err(Error::Stopped("loading the model".to_owned())),
                false => Ok(()),
            }
        };
        let uploader = Uploader::new(&gpu, sources, plan::slot_bytes(&config), &mut report)?;
        let loader = Loader { gpu: &gpu, config: &config, shapes, tensors: &tensors, uploader };
        // Kernels are compiled and tested while the weights stream.
        let names = kernel_names(&tensors, &config, &shapes, gpu.tier());
        let loaded = std::thread::scope(|scope| {
            scope.spawn(|| prepare(&gpu, &names));
            loader.load(checkpoint.rope_layout())
        });
        let (cache, scratch, parts) = loaded.map_err(|error| plan::with_figures(error, &memory))?;
        let chooser = ahead::Chooser::new(&gpu, config.vocab_size, &scratch)?;
        let Parts { embed, layers, final_norm, lm_head, head } = parts;
        let verifier = Verifier::new(&gpu, &config, &shapes, &scratch, &head.norm, &head.matrix)?;
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
            chooser,
            verifier,
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
        let mut list = Recording::new(match pass {
            Pass::Decode => Width::One,
            Pass::Verify => Width::Few,
            Pass::Prefill => Width::Many,
        });
        self.embed.record(&mut list, n_tokens);
        let decodes = pass == Pass::Decode;
        for layer in &self.layers {
            let (qkv, gate_up) = (layer.qkv.get(slot).filter(|_| decodes), layer.gate_up.as_ref().filter(|_| decodes));
            if !(qkv.is_some() && layer.norm_within) {
                layer.input_norm.record(&mut list, n_tokens);
            }
            match qkv {
                Some(qkv) => qkv.record(&mut list),
                None => {
                    layer.qkv_proj.record(&mut list, n_tokens);
                    layer.rope_kv.get(slot).into_iter().for_each(|rope_kv| rope_kv.record(&mut list, n_tokens));
                }
            }
            layer.attention.get(slot).into_iter().for_each(|attention| attention.record(&mut list, pos, n_tokens));
            layer.o_proj.record(&mut list, n_tokens);
            if !(gate_up.is_some() && layer.norm_within) {
                layer.post_attention_norm.record(&mut list, n_tokens);
            }
            match gate_up {
                Some(gate_up) => gate_up.record(&mut list),
                None => {
                    layer.gate_up_proj.record(&mut list, n_tokens);
                    layer.swiglu.record(&mut list, n_tokens);
                }
            }
            layer.down_proj.record(&mut list, n_tokens);
        }
        list
    }

    /// Dispatches of a decode step.
    pub fn dispatches_per_token(&self) -> usize {
        self.record(Pass::Decode, 0, 0, 1).len()
    }

    /// Multiply-adds of a step with `n_tokens` tokens from position `pos`, as far as its kernels count them: those of the
    /// products and of attention.
    pub fn multiply_adds(&self, pass: Pass, pos: usize, n_tokens: usize) -> u64 {
        self.record(pass, 0, pos as u32, n_tokens as u32).multiply_adds()
    }

    pub(super) fn check_request(&self, pass: Pass, slot: usize, pos: usize, tokens: &[u32]) -> Result<()> {
        let (max, n_slots) = (self.shapes.kv.max_seq_len, self.shapes.kv.n_slots);
        let chunk = match pass {
            Pass::Decode => 1,
            Pass::Verify => columns::MOST.min(self.shapes.chunk_len),
            Pass::Prefill => self.shapes.chunk_len,
        };
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

    /// Checks a request, and gives the device its position, its tokens and its serial number.
    fn write_step(&mut self, pass: Pass, slot: usize, pos: usize, tokens: &[u32]) -> Result<Step> {
        self.check_request(pass, slot, pos, tokens)?;
        let step = Step { pos: pos as u32, n_tokens: tokens.len() as u32 };
        self.gpu.write(&self.scratch.step, 0, bytemuck::bytes_of(&step))?;
        self.gpu.write(&self.scratch.tokens, 0, bytemuck::cast_slice(tokens))?;
        self.next_serial()?;
        Ok(step)
    }

    /// Gives the device the number of what is submitted next.
    fn next_serial(&mut self) -> Result<()> {
        self.serial = self.serial.wrapping_add(1);
        self.gpu.write(&self.scratch.serial, 0, bytemuck::bytes_of(&self.serial))
    }

    /// Runs `list`, which copies `bytes` of logits and then the serial number to `out`.
    fn read_logits(
        &self,
        list: &Recording<'_>,
        during: &str,
        out: &Buffer,
        bytes: u64,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        self.gpu.run_and_check(list, during, (out, bytes + 4), |data| {
            let (values, serial) = data.split_at((bytes as usize).min(data.len()));
            logits.resize(values.len() / 4, 0.0);
            for (logit, value) in logits.iter_mut().zip(values.as_chunks::<4>().0) {
                *logit = f32::from_le_bytes(*value);
            }
            (serial == self.serial.to_le_bytes()).then_some(())
        })
    }

    fn check_finite(&self, logits: &[f32], pos: usize) -> Result<()> {
        match logits.iter().position(|logit| !logit.is_finite()) {
            None => Ok(()),
            Some(at) => Err(Error::NonFinite(format!(
                "the model computed {} for token {at} at position {pos}: the weights are damaged, or the driver of {} computes \
                 wrongly (run `guanaco conformance` to find out)",
                logits.get(at).copied().unwrap_or(f32::NAN),
                self.gpu.facts().name
            ))),
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
        let step = self.write_step(pass, slot, pos, tokens)?;
        let list = self.record(pass, slot, step.pos, step.n_tokens);
        let during = match pass {
            Pass::Decode => "decoding",
            Pass::Verify => verify::DURING,
            Pass::Prefill => READING,
        };
        self.read_logits(&list, during, &self.scratch.out, self.config.vocab_size as u64 * 4, logits)?;
        self.check_finite(logits, pos + tokens.len() - 1)
    }

    fn verify(&mut self, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        self.run_few(slot, pos, tokens, logits)
    }

    /// Without the head, which reads as much as some layers.
    fn fill(&mut self, slot: usize, pos: usize, tokens: &[u32]) -> Result<()> {
        let step = self.write_step(Pass::Prefill, slot, pos, tokens)?;
        let mut list = self.record_layers(Pass::Prefill, slot, step.pos, step.n_tokens);
        list.copy_out(&self.scratch.serial, &self.scratch.out, 0, 4);
        let serial = self.serial.to_le_bytes();
        self.gpu.run_and_check(&list, READING, (&self.scratch.out, 4), |data| (data == serial).then_some(()))
    }

    /// As many tokens as the device multiplies by the largest matrix within the time of one submit, as far as is known: a
    /// dispatch cannot be cut.
    fn chunk_len(&self) -> usize {
        let widest = padded(self.config.dim) * (2 * self.config.hidden_dim).max(self.config.vocab_size);
        let tokens = self.gpu.submit_bound(Width::Many) / (widest as u64).max(1);
        let tokens = usize::try_from(tokens).unwrap_or(usize::MAX) / plan::LEAST_CHUNK * plan::LEAST_CHUNK;
        tokens.max(plan::LEAST_CHUNK).min(self.shapes.chunk_len)
    }

    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        self.cache.copy_slot(&self.gpu, from, to, len)
    }

    fn ahead(&mut self) -> Option<&mut dyn Ahead> {
        if self.decodes_ahead() { Some(self) } else { None }
    }
}

/// The kernels that a model of `tensors` is bound to; those of LoRAs are left to when they are met.
fn kernel_names(tensors: &Resolved, config: &Config, shapes: &Shapes, tier: &Tier) -> Vec<&'static str> {
    let mut names = linear::kernel_names(tensors.matrix_formats());
    names.extend(["attention_combine", "embed", "rms_norm", "sample", "swiglu"]);
    names.extend(tensors.is_sorted().then_some("gather"));
    names.extend(linear::narrows(tier).then_some("narrow"));
    match shapes.kv.format {
        KvFormat::F16 => names.extend(["attention", "attention_decode", "rope_kv"]),
        KvFormat::Int8 => names.extend(["attention_kv8", "attention_decode_kv8", "rope_kv8"]),
    }
    let formats = |roles: &[Name]| {
        let layers =
            (0..config.n_layers).flat_map(|layer| roles.iter().filter_map(move |role| tensors.get(*role, Some(layer))));
        layers.map(ResolvedTensor::format).collect::<Vec<_>>()
    };
    if !tensors.is_sorted() && tensors.side_rank() == 0 {
        names.extend(rows::kernel_names("gate_up", formats(&[Name::GateProj]), tier));
        if shapes.kv.format == KvFormat::F16 && tensors.get(Name::QBias, Some(0)).is_none() {
            names.extend(rows::kernel_names("qkv", formats(&[Name::QProj, Name::KProj, Name::VProj]), tier));
        }
    }
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
        prepare(&ahead, &kernel_names(&tensors, model.config(), &model.shapes, ahead.tier()));
        assert_eq!(ahead.compiled(), model.gpu().compiled());
    }
}
