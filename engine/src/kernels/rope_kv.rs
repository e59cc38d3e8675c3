//! RoPE on q and k (Su et al. 2021, arXiv:2104.09864), and k and v into the f16 cache. The elements of a head of q and of k come out
//! pair by pair, whichever two the layout of the file turns together.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::{Case, Data, Rng, Step, launch, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};

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
    /// `head_dim` rounded up to eight.
    pub head_stride: u32,
    /// Positions of the cache.
    pub max_seq_len: u32,
    /// Elements from one token to the next in `qkv`.
    pub qkv_stride: u32,
    /// 0: half-split pairs (Hugging Face). 1: interleaved pairs (Meta, GGUF).
    pub interleaved: u32,
}

/// The variants that run on `tier`.
pub fn launches(_tier: &Tier) -> Vec<Launch> {
    vec![launch("rope_kv", "base", 64)]
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (p, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (qkv, rope, mut q_out) = (buffers.f32("qkv")?, buffers.f32("rope")?, buffers.f32("q_out")?);
    let mut caches: [Vec<f16>; 2] = [
        bytemuck::pod_collect_to_vec(buffers.bytes("k_cache")?),
        bytemuck::pod_collect_to_vec(buffers.bytes("v_cache")?),
    ];
    let (n_heads, n_kv, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let (stride, half) = (p.head_stride as usize, dim / 2);
    for (t, row) in qkv.chunks(p.qkv_stride.max(1) as usize).take(step.n_tokens as usize).enumerate() {
        let pos = step.pos as usize + t;
        for (head, values) in row.chunks(dim.max(1)).take(n_heads + 2 * n_kv).enumerate() {
            let mut out: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            if head < n_heads + n_kv {
                for pair in 0..half {
                    let (first, second) =
                        if p.interleaved == 0 { (pair, pair + half) } else { (2 * pair, 2 * pair + 1) };
                    let (cos, sin) = match rope.get(2 * (pos * half + pair)..) {
                        Some([cos, sin, ..]) => (f64::from(*cos), f64::from(*sin)),
                        _ => (f64::NAN, f64::NAN),
                    };
                    if let (Some(a), Some(b)) = (values.get(first), values.get(second)) {
                        let (a, b) = (f64::from(*a), f64::from(*b));
                        (out[2 * pair], out[2 * pair + 1]) = (a * cos - b * sin, b * cos + a * sin);
                    }
                }
            }
            if head < n_heads {
                let to = q_out.iter_mut().skip((t * n_heads + head) * stride);
                to.zip(out).for_each(|(to, value)| *to = value as f32);
            } else {
                let (cache, head) = ((head - n_heads) / n_kv, (head - n_heads) % n_kv);
                let to = caches.get_mut(cache).into_iter().flatten();
                let to = to.skip((head * p.max_seq_len as usize + pos) * stride);
                to.zip(out).for_each(|(to, value)| *to = f16::from_f64(value.clamp(-65504.0, 65504.0)));
            }
        }
    }
    buffers.set_f32("q_out", &q_out);
    buffers.insert("k_cache", bytemuck::cast_slice(&caches[0]).to_vec());
    buffers.insert("v_cache", bytemuck::cast_slice(&caches[1]).to_vec());
    Ok(())
}

/// One layer's rotation and cache write, bound.
#[derive(Debug)]
pub struct RopeKv {
    dispatch: Dispatch,
    params: Params,
    invocations: u32,
}

/// The buffers of [`RopeKv`].
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// The step uniform.
    pub step: &'a Buffer,
    /// (n_tokens, qkv_stride) f32.
    pub qkv: &'a Buffer,
    /// (max_seq_len, head_dim / 2, 2) f32: cos, sin.
    pub rope: &'a Buffer,
    /// (n_tokens, n_heads, head_stride) f32.
    pub q_out: &'a Buffer,
    /// (n_kv_heads, max_seq_len, head_stride) f16.
    pub k_cache: &'a Buffer,
    /// (n_kv_heads, max_seq_len, head_stride) f16.
    pub v_cache: &'a Buffer,
}

impl RopeKv {
    /// Binds the buffers of a layer.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, label: &str, params: Params, wiring: Wiring<'_>) -> Result<Self> {
        let launch = preferred(gpu, "rope_kv")?;
        let bindings = vec![
            BoundBuffer::whole("params", &uniform(gpu, label, params)?),
            BoundBuffer::whole("step", wiring.step),
            BoundBuffer::whole("qkv", wiring.qkv),
            BoundBuffer::whole("rope", wiring.rope),
            BoundBuffer::whole("q_out", wiring.q_out),
            BoundBuffer::whole("k_cache", wiring.k_cache),
            BoundBuffer::whole("v_cache", wiring.v_cache),
        ];
        let dispatch = gpu.dispatch(label, &launch, twin, bindings)?;
        Ok(Self { dispatch, params, invocations: launch.invocations })
    }

    /// Rotates and stores the rows of a step.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        let pairs = pairs(&self.params);
        recording.push(&self.dispatch, [pairs.div_ceil(self.invocations), n_tokens, 1], u64::from(n_tokens * pairs));
    }
}

fn pairs(params: &Params) -> u32 {
    (params.n_heads + 2 * params.n_kv_heads) * params.head_dim / 2
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // (heads, kv heads, head_dim, first position, tokens, size): odd halves, GQA, one kv head, the 7B's; values that leave
    // f16's range when they are rotated.
    let shapes = [
        (1, 1, 2, 0, 1, 4.0),
        (4, 4, 16, 5, 3, 4.0),
        (6, 2, 10, 31, 9, 4.0),
        (5, 1, 80, 7, 2, 4.0),
        (3, 3, 100, 0, 5, 4.0),
        (32, 32, 128, 40, 2, 4.0),
        (2, 1, 16, 3, 4, 65504.0),
    ];
    let mut cases = Vec::new();
    for (seed, (n_heads, n_kv_heads, head_dim, pos, n_tokens, size)) in shapes.into_iter().enumerate() {
        for interleaved in [0, 1] {
            let mut rng = Rng::new(seed as u64);
            let (stride, max_seq_len) = (padded(head_dim), pos + n_tokens + 1);
            let width = (n_heads + 2 * n_kv_heads) * head_dim;
            let angles = (0..max_seq_len * head_dim / 2).map(|_| f64::from(rng.value(10.0)));
            let rope: Vec<f32> = angles.flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect();
            let params = Params {
                n_heads: n_heads as u32,
                n_kv_heads: n_kv_heads as u32,
                head_dim: head_dim as u32,
                head_stride: stride as u32,
                max_seq_len: max_seq_len as u32,
                qkv_stride: padded(width) as u32,
                interleaved,
            };
            let pairing = if interleaved == 0 { "half-split" } else { "interleaved" };
            let name = format!(
                "{n_heads}/{n_kv_heads} heads of {head_dim}, {n_tokens} tokens from {pos}, to {size}, {pairing}"
            );
            // The limit is what rounding to f16 costs.
            let case = Case::new(name, 1e-6, |case, launch, _| {
                let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
                [pairs(&params).div_ceil(launch.invocations), step.n_tokens, 1]
            })
            .uniform("params", params)
            .uniform("step", Step { pos: pos as u32, n_tokens: n_tokens as u32 })
            .f32("qkv", &rng.rows(n_tokens, width, padded(width), size))
            .f32("rope", &rope)
            .output("q_out", Data::F32, n_tokens * n_heads * stride)
            .output("k_cache", Data::F16, n_kv_heads * max_seq_len * stride)
            .output("v_cache", Data::F16, n_kv_heads * max_seq_len * stride);
            cases.push(case);
        }
    }
    cases
}
