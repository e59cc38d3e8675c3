//! Causal attention against the f16 KV cache, with online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867).

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, Step, cpu_subgroup, launch, padded, preferred, uniform};
use crate::error::{Error, Result};
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};

/// The largest head that the kernel holds.
pub const MAX_HEAD_DIM: usize = 256;

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Query heads.
    pub n_heads: u32,
    /// Key and value heads.
    pub n_kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Packed words (eight elements) of a head.
    pub head_words: u32,
    /// Positions of the cache.
    pub max_seq_len: u32,
    /// Elements from one token to the next in `out`.
    pub out_stride: u32,
    /// `1 / sqrt(head_dim)`.
    pub scale: f32,
}

/// The variants that run on `tier`.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    let subgroup = cpu_subgroup(tier).map(|size| launch("attention", "subgroup", size));
    subgroup.into_iter().chain([launch("attention", "base", 64)]).collect()
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (p, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (q, k, v) = (buffers.f32("q")?, buffers.f16("k_cache")?, buffers.f16("v_cache")?);
    let mut out = buffers.f32("out")?;
    let (n_heads, dim, stride) = (p.n_heads as usize, p.head_dim as usize, (p.head_words as usize * 8).max(1));
    let group = n_heads / (p.n_kv_heads as usize).max(1);
    for t in 0..step.n_tokens as usize {
        let n_keys = step.pos as usize + t + 1;
        for (head, q) in q.chunks(stride).skip(t * n_heads).take(n_heads).enumerate() {
            let first = head / group.max(1) * p.max_seq_len as usize;
            let rows = |cache: &'_ [f32]| {
                cache.chunks(stride).skip(first).take(n_keys).map(<[f32]>::to_vec).collect::<Vec<_>>()
            };
            let dot = |k: &Vec<f32>| q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>();
            let scores: Vec<f64> = rows(&k).iter().map(|k| dot(k) * f64::from(p.scale)).collect();
            let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let mut mixed = vec![0.0_f64; dim];
            for (weight, v) in weights.iter().zip(rows(&v)) {
                mixed.iter_mut().zip(v).for_each(|(mixed, v)| *mixed += weight / sum * f64::from(v));
            }
            let to = out.iter_mut().skip(t * p.out_stride as usize + head * dim);
            to.zip(mixed).for_each(|(to, value)| *to = value as f32);
        }
    }
    buffers.set_f32("out", &out);
    Ok(())
}

/// One layer's attention, bound.
#[derive(Debug)]
pub struct Attention {
    dispatch: Dispatch,
    params: Params,
}

impl Attention {
    /// Binds `q` (n_tokens, n_heads, head_words · 8) and the caches → `out` (n_tokens, out_stride).
    ///
    /// # Errors
    /// [`Error::Kernel`] for a head that is too large; what the device reports.
    pub fn new(
        gpu: &Gpu,
        label: &str,
        params: Params,
        step: &Buffer,
        q: &Buffer,
        [k_cache, v_cache]: [&Buffer; 2],
        out: &Buffer,
    ) -> Result<Self> {
        if params.head_dim as usize > MAX_HEAD_DIM {
            let detail = format!("head_dim {}, expected at most {MAX_HEAD_DIM}", params.head_dim);
            return Err(Error::kernel("attention", detail));
        }
        let launch = preferred(gpu, "attention")?;
        let bindings = vec![
            BoundBuffer::whole("params", &uniform(gpu, label, params)?),
            BoundBuffer::whole("step", step),
            BoundBuffer::whole("q", q),
            BoundBuffer::whole("k_cache", k_cache),
            BoundBuffer::whole("v_cache", v_cache),
            BoundBuffer::whole("out", out),
        ];
        Ok(Self { dispatch: gpu.dispatch(label, &launch, twin, bindings)?, params })
    }

    /// Attends for the rows of a step that starts at `pos`.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, pos: u32, n_tokens: u32) {
        let Params { n_heads, head_dim, .. } = self.params;
        let keys = u64::from(n_tokens) * u64::from(pos + n_tokens.div_ceil(2));
        recording.push(&self.dispatch, [n_heads, n_tokens, 1], 2 * keys * u64::from(n_heads * head_dim));
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // (heads, kv heads, head_dim, first position, tokens, size of q, size of k and v): sharp scores, prime lengths, tiles
    // crossed, GQA, one kv head, f16's largest numbers.
    let shapes: [(usize, usize, usize, usize, usize, f32, f32); 9] = [
        (1, 1, 2, 0, 1, 1.0, 4.0),
        (4, 4, 16, 0, 7, 1.0, 4.0),
        (6, 2, 10, 62, 5, 1.0, 4.0),
        (5, 1, 80, 130, 2, 4.0, 4.0),
        (3, 3, 100, 0, 67, 1.0, 4.0),
        (8, 8, 128, 1024, 1, 1.0, 4.0),
        (4, 2, 256, 33, 1, 30.0, 4.0),
        (2, 1, 64, 63, 2, 100.0, 4.0),
        (4, 2, 16, 70, 3, 1e-4, 65504.0),
    ];
    let shapes = shapes.into_iter().zip(0..);
    let case = |((n_heads, n_kv_heads, head_dim, pos, n_tokens, size, kv), seed)| {
        let mut rng = Rng::new(seed);
        let (stride, max_seq_len) = (padded(head_dim), pos + n_tokens + 3);
        let out_stride = padded(n_heads * head_dim);
        let params = Params {
            n_heads: n_heads as u32,
            n_kv_heads: n_kv_heads as u32,
            head_dim: head_dim as u32,
            head_words: stride as u32 / 8,
            max_seq_len: max_seq_len as u32,
            out_stride: out_stride as u32,
            scale: 1.0 / (head_dim as f32).sqrt(),
        };
        let name = format!(
            "{n_heads}/{n_kv_heads} heads of {head_dim}, {n_tokens} tokens from {pos}, q to {size}, k and v to {kv}"
        );
        Case::new(name, 1e-7, |case, _, _| {
            let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
            [params.n_heads, step.n_tokens, 1]
        })
        .uniform("params", params)
        .uniform("step", Step { pos: pos as u32, n_tokens: n_tokens as u32 })
        .f32("q", &rng.rows(n_tokens * n_heads, head_dim, stride, size))
        .f16("k_cache", &rng.rows(n_kv_heads * max_seq_len, head_dim, stride, kv))
        .f16("v_cache", &rng.rows(n_kv_heads * max_seq_len, head_dim, stride, kv))
        .output("out", Data::F32, (n_tokens + 1) * out_stride)
    };
    shapes.map(case).collect()
}
