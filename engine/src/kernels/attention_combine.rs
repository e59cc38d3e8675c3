//! Puts the splits of [`super::attention_decode`] together.

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, Step, attention, launch, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Dispatch, Gpu, Launch, Tier, TwinBuffers};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Query heads.
    pub n_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Packed words (eight elements) of a head.
    pub head_words: u32,
    /// As in [`attention::Params`].
    pub keys_per_split: u32,
    /// As in [`attention::Params`].
    pub max_splits: u32,
}

impl From<attention::Params> for Params {
    fn from(params: attention::Params) -> Self {
        let attention::Params { n_heads, head_dim, head_words, keys_per_split, max_splits, .. } = params;
        Self { n_heads, head_dim, head_words, keys_per_split, max_splits }
    }
}

/// The variants that run on `tier`.
pub fn launches(_tier: &Tier) -> Vec<Launch> {
    vec![launch("attention_combine", "base", 64)]
}

/// The kernel for the buffers of a layer; a workgroup a head.
///
/// # Errors
/// What the device reports.
pub(super) fn dispatch(gpu: &Gpu, params: attention::Params, wiring: attention::Wiring<'_>) -> Result<Dispatch> {
    let bindings = vec![
        BoundBuffer::whole("params", &uniform(gpu, "attention", Params::from(params))?),
        BoundBuffer::whole("step", wiring.step),
        BoundBuffer::whole("partial", wiring.partial),
        BoundBuffer::whole("out", wiring.out),
    ];
    gpu.dispatch("attention_combine", &preferred(gpu, "attention_combine")?, twin, bindings)
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (p, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (partial, mut out) = (buffers.f32("partial")?, buffers.f32("out")?);
    let (_, count) = attention::splits(p.keys_per_split, p.max_splits, step.pos);
    let stride = p.head_words as usize * 8 + 4;
    for head in 0..p.n_heads as usize {
        let parts: Vec<&[f32]> =
            partial.chunks(stride).skip(head * p.max_splits as usize).take(count as usize).collect();
        let value = |part: &[f32], i: usize| f64::from(part.get(i).copied().unwrap_or(f32::NAN));
        let top = parts.iter().map(|part| value(part, 0)).fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = parts.iter().map(|part| (value(part, 0) - top).exp()).collect();
        let over = |i: usize| parts.iter().zip(&weights).map(|(part, weight)| weight * value(part, i)).sum::<f64>();
        let to = out.iter_mut().skip(head * p.head_dim as usize).take(p.head_dim as usize);
        to.enumerate().for_each(|(i, to)| *to = (over(4 + i) / over(1)) as f32);
    }
    buffers.set_f32("out", &out);
    Ok(())
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // (heads, head_dim, position, keys a split, most splits, size of the maxima).
    let shapes = [
        (1, 2, 9, 4, 4, 1.0_f32),
        (6, 10, 62, 7, 64, 30.0),
        (5, 80, 130, 1, 3, 4.0),
        (32, 128, 4095, 256, 16, 100.0),
        (3, 256, 700, 100, 8, 1.0),
    ];
    let case = |((n_heads, head_dim, pos, keys_per_split, max_splits, size), seed): (_, u64)| {
        let mut rng = Rng::new(seed);
        let (n, stride, most): (usize, usize, u32) = (n_heads, padded(head_dim), max_splits);
        let params = Params {
            n_heads: n as u32,
            head_dim: head_dim as u32,
            head_words: stride as u32 / 8,
            keys_per_split,
            max_splits,
        };
        let mut partial = Vec::new();
        for _ in 0..n * most as usize {
            partial.extend([rng.value(size), 1.0 + rng.value(0.5).abs(), 0.0, 0.0]);
            partial.extend(rng.rows(1, head_dim, stride, 4.0));
        }
        let (_, count) = attention::splits(keys_per_split, max_splits, pos);
        let name = format!("{n_heads} heads of {head_dim}, {count} splits of {}, maxima to {size}", pos + 1);
        Case::new(name, 1e-9, |case, _, _| [case.params::<Params>("params").n_heads, 1, 1])
            .uniform("params", params)
            .uniform("step", Step { pos, n_tokens: 1 })
            .f32("partial", &partial)
            .output("out", Data::F32, padded(n * head_dim) + 8)
    };
    shapes.into_iter().zip(0..).map(case).collect()
}
