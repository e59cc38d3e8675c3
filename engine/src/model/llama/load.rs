//! From tensors to a bound model: every buffer and every dispatch is made here, once.

use super::{Head, Layer, Scratch, norm_params};
use crate::error::Result;
use crate::file::RopeLayout;
use crate::gpu::{Buffer, Gpu, Width};
use crate::kernels::attention::{self, Attention};
use crate::kernels::embed::Embed;
use crate::kernels::gate_up::{self, GateUp};
use crate::kernels::linear::{self, Linear};
use crate::kernels::lora_merge;
use crate::kernels::qkv::{self, Qkv};
use crate::kernels::rms_norm::RmsNorm;
use crate::kernels::rope_kv::{self, RopeKv};
use crate::kernels::rows::{self, Norm};
use crate::kernels::swiglu::{self, SwiGlu};
use crate::kv_cache::KvCache;
use crate::model::Config;
use crate::model::plan::Shapes;
use crate::weights::names::{Resolved, Role as Name};
use crate::weights::{Matrix, ResolvedTensor, Uploader};

/// What a load goes through.
pub(in crate::model) struct Loader<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) config: &'a Config,
    pub(super) shapes: Shapes,
    pub(super) tensors: &'a Resolved,
    pub(super) uploader: Uploader<'a>,
}

/// The bound parts of a model.
pub(super) struct Parts {
    pub(super) embed: Embed,
    pub(super) layers: Vec<Layer>,
    pub(super) final_norm: RmsNorm,
    pub(super) lm_head: Linear,
    pub(super) head: Head,
}

impl<'a> Loader<'a> {
    pub(super) fn load(mut self, layout: RopeLayout) -> Result<(KvCache, Scratch, Parts)> {
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
        let lm_head = Linear::new(gpu, "lm_head", &head, wiring, Width::One)?;
        self.uploader.finish()?;
        let head = Head { norm, matrix: head };
        Ok((cache, s, Parts { embed, layers, final_norm, lm_head, head }))
    }

    pub(super) fn layer(
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
        let linear = |label, matrix: &Matrix, x, y, y_stride, add| {
            let wiring = linear::Wiring { step: &s.step, x, y, y_stride, add, between: s.between() };
            Linear::new(gpu, label, matrix, wiring, Width::Many)
        };
        let weights = [Name::QProj, Name::KProj, Name::VProj];
        let biases = [Name::QBias, Name::KBias, Name::VBias];
        let qkv_matrix = self.matrix("qkv_proj", &weights, &biases, Some(layer))?;
        let qkv_proj = linear("qkv_proj", &qkv_matrix, &s.normed, &s.qkv, shapes.qkv, false)?;
        let o_matrix = self.matrix("o_proj", &[Name::OProj], &[Name::OBias], Some(layer))?;
        let o_proj = linear("o_proj", &o_matrix, &s.heads, &s.x, shapes.dim, true)?;
        let (weights, biases) = ([Name::GateProj, Name::UpProj], [Name::GateBias, Name::UpBias]);
        let gate_up_matrix = self.matrix("gate_up_proj", &weights, &biases, Some(layer))?;
        let gate_up_proj = linear("gate_up_proj", &gate_up_matrix, &s.normed, &s.gate_up, shapes.gate_up, false)?;
        let down_matrix = self.matrix("down_proj", &[Name::DownProj], &[Name::DownBias], Some(layer))?;
        let down_proj = linear("down_proj", &down_matrix, &s.hidden, &s.x, shapes.dim, true)?;

        let [input_gain, post_attention_gain] =
            [("input_norm", Name::InputNorm), ("post_attention_norm", Name::PostAttentionNorm)]
                .map(|(label, name)| self.uploader.vector(label, &self.named(&[name], Some(layer))));
        let (input_gain, post_attention_gain) = (input_gain?, post_attention_gain?);
        let norm =
            |label, gain| RmsNorm::new(gpu, label, norm_params(config, &shapes, false), &s.step, &s.x, gain, &s.normed);
        let norm_within = rows::takes_norm(gpu.tier());
        let within = |gain| norm_within.then_some(Norm { gain, dim: config.dim, eps: config.rms_eps });
        let x = if norm_within { &s.x } else { &s.normed };
        let wiring = gate_up::Wiring { x, norm: within(&post_attention_gain), h: &s.hidden };
        let gate_up = GateUp::new(gpu, "gate_up", &gate_up_matrix, wiring)?;

        let heads = rope_kv::Heads {
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
            // YaRN scales cosine and sine, so that each product of a query and a key has the factor twice.
            scale: (self.config.rope_scaling.attention_factor().powi(2) / (head_dim as f64).sqrt()) as f32,
            keys_per_split: shapes.split.0,
            max_splits: shapes.split.1,
        };
        let (mut fused, mut rotations, mut attentions) = (Vec::new(), Vec::new(), Vec::new());
        for slot in 0..shapes.kv.n_slots {
            // A cache of one layer serves layers that are run one by one.
            let cache = cache.layer(slot, layer % shapes.kv.n_layers.max(1))?;
            let wiring = rope_kv::Wiring { step: &s.step, qkv: &s.qkv, rope, q_out: &s.q, cache };
            rotations.push(RopeKv::new(gpu, "rope_kv", heads, wiring)?);
            let norm = within(&input_gain);
            let wiring = qkv::Wiring { step: &s.step, x, norm, rope, q_out: &s.q, cache };
            fused.extend(Qkv::new(gpu, "qkv", &qkv_matrix, heads, wiring)?);
            let wiring = attention::Wiring { step: &s.step, q: &s.q, cache, partial: &s.partial, out: &s.heads };
            attentions.push(Attention::new(gpu, "attention", attention_params, wiring)?);
        }
        let swiglu_params = swiglu::Params {
            hidden_dim: config.hidden_dim as u32,
            in_stride: shapes.gate_up as u32,
            out_stride: shapes.hidden as u32,
        };
        Ok(Layer {
            qkv: fused,
            gate_up,
            norm_within,
            input_norm: norm("input_norm", &input_gain)?,
            qkv_proj,
            rope_kv: rotations,
            attention: attentions,
            o_proj,
            post_attention_norm: norm("post_attention_norm", &post_attention_gain)?,
            gate_up_proj,
            swiglu: SwiGlu::new(gpu, "swiglu", swiglu_params, &s.step, &s.gate_up, &s.hidden)?,
            down_proj,
        })
    }

    /// The tensors of these names on the device, one below the other, with what LoRAs change in them.
    pub(super) fn matrix(
        &mut self,
        label: &str,
        weights: &[Name],
        biases: &[Name],
        layer: Option<usize>,
    ) -> Result<Matrix> {
        let (weights, biases) = (self.named(weights, layer), self.named(biases, layer));
        let matrix = self.uploader.matrix(label, &weights, &biases)?;
        lora_merge::merge(self.gpu, &matrix)?;
        Ok(matrix)
    }

    /// cos and sin of every position: (max_seq_len, head_dim / 2, 2) f32. The angles are computed in f64: WGSL promises no
    /// precision for large ones.
    pub(super) fn rope_table(&mut self) -> Result<Buffer> {
        let inv_freq = self.config.rope_inv_freq_for(self.shapes.kv.max_seq_len);
        self.uploader.table("rope", self.shapes.kv.max_seq_len, inv_freq.len() * 8, |positions, bytes| {
            let angles = positions.flat_map(|pos| inv_freq.iter().map(move |freq| pos as f64 * f64::from(*freq)));
            for (angle, pair) in angles.zip(bytes.chunks_exact_mut(8)) {
                let (sin, cos) = angle.sin_cos();
                pair.copy_from_slice(bytemuck::cast_slice(&[cos as f32, sin as f32]));
            }
        })
    }

    /// The tensors of these names that the checkpoint has; biases may be absent, and `resolve` has found all others.
    pub(super) fn named(&self, names: &[Name], layer: Option<usize>) -> Vec<&'a ResolvedTensor> {
        names.iter().filter_map(|name| self.tensors.get(*name, layer)).collect()
    }
}
