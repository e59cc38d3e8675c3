//! RoPE on q and k (Su et al. 2021, arXiv:2104.09864), and k and v into the cache. The elements of a head of q and of k come out
//! pair by pair, whichever two the layout of the file turns together.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::attention::{KvBuffers, KvFormat};
use super::{Case, Data, Rng, Step, cpu_subgroup, launch, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, Twin, TwinBuffers};

/// The WGSL `Heads`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Heads {
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

/// As [`launches`], for [`KvFormat::Int8`].
pub fn launches_kv8(tier: &Tier) -> Vec<Launch> {
    let cpu = cpu_subgroup(tier).map(|size| launch("rope_kv", "kv8_cpu_subgroup", size));
    cpu.into_iter().chain([launch("rope_kv", "kv8", 64)]).collect()
}

/// Workgroups for `n_tokens`: an invocation a pair, or for int8, whose scale is one for a head, a workgroup a head.
fn workgroups(heads: &Heads, n_tokens: u32, launch: &Launch) -> [u32; 3] {
    let n = heads.n_heads + 2 * heads.n_kv_heads;
    if launch.variant.starts_with("kv8") {
        [n, n_tokens, 1]
    } else {
        [(n * heads.head_dim / 2).div_ceil(launch.invocations), n_tokens, 1]
    }
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (heads, step): (Heads, Step) = (buffers.params("heads")?, buffers.params("step")?);
    let rows = rows(buffers, heads, step)?;
    store_f16(buffers, heads, step.pos as usize, &rows)
}

/// q, k and v of each token of a step, one after the other.
fn rows(buffers: &TwinBuffers, heads: Heads, step: Step) -> Result<Vec<Vec<f64>>> {
    let qkv = buffers.f32("qkv")?;
    let rows = qkv.chunks(heads.qkv_stride.max(1) as usize).take(step.n_tokens as usize);
    Ok(rows.map(|row| row.iter().map(|value| f64::from(*value)).collect()).collect())
}

/// Turns the heads of q and k in `rows`, the tokens from `pos`, and stores them and v, as f16.
pub(super) fn store_f16(buffers: &mut TwinBuffers, heads: Heads, pos: usize, rows: &[Vec<f64>]) -> Result<()> {
    let mut caches: [Vec<f16>; 2] = [
        bytemuck::pod_collect_to_vec(buffers.bytes("k_cache")?),
        bytemuck::pod_collect_to_vec(buffers.bytes("v_cache")?),
    ];
    let stride = heads.head_stride as usize;
    rotate(buffers, heads, pos, rows, |cache, row, values| {
        let to = caches.get_mut(cache).into_iter().flatten().skip(row * stride);
        to.zip(values).for_each(|(to, value)| *to = f16::from_f64(value.clamp(-65504.0, 65504.0)));
    })?;
    buffers.insert("k_cache", bytemuck::cast_slice(&caches[0]).to_vec());
    buffers.insert("v_cache", bytemuck::cast_slice(&caches[1]).to_vec());
    Ok(())
}

/// The reference for [`KvFormat::Int8`].
///
/// # Errors
/// A missing buffer.
pub fn twin_kv8(buffers: &mut TwinBuffers) -> Result<()> {
    let (heads, step): (Heads, Step) = (buffers.params("heads")?, buffers.params("step")?);
    let rows = rows(buffers, heads, step)?;
    let mut caches = [buffers.bytes("k_cache")?.to_vec(), buffers.bytes("v_cache")?.to_vec()];
    let mut scales = [buffers.f32("k_scales")?, buffers.f32("v_scales")?];
    let stride = heads.head_stride as usize;
    rotate(buffers, heads, step.pos as usize, &rows, |cache, row, values| {
        let largest = values.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        let per_unit = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        if let (Some(codes), Some(scales)) = (caches.get_mut(cache), scales.get_mut(cache)) {
            scales.iter_mut().skip(row).take(1).for_each(|scale| *scale = (largest / 127.0) as f32);
            // Four codes are written at a time: behind the last value there are zeros.
            let padding = values.len().next_multiple_of(4) - values.len();
            let values = values.iter().copied().chain(std::iter::repeat_n(0.0, padding));
            let to = codes.iter_mut().skip(row * stride);
            to.zip(values).for_each(|(to, value)| *to = ((value * per_unit).round_ties_even() as i8).cast_unsigned());
        }
    })?;
    let [k, v] = caches;
    buffers.insert("k_cache", k);
    buffers.insert("v_cache", v);
    buffers.set_f32("k_scales", &scales[0]);
    buffers.set_f32("v_scales", &scales[1]);
    Ok(())
}

/// Writes q, rotated, and gives `store` each key (0) and value (1) with its row in the cache.
fn rotate(
    buffers: &mut TwinBuffers,
    p: Heads,
    pos: usize,
    rows: &[Vec<f64>],
    mut store: impl FnMut(usize, usize, &[f64]),
) -> Result<()> {
    let (rope, mut q_out) = (buffers.f32("rope")?, buffers.f32("q_out")?);
    let (n_heads, n_kv, dim) = (p.n_heads as usize, p.n_kv_heads as usize, p.head_dim as usize);
    let (stride, half) = (p.head_stride as usize, dim / 2);
    for (t, row) in rows.iter().enumerate() {
        let pos = pos + t;
        for (head, values) in row.chunks(dim.max(1)).take(n_heads + 2 * n_kv).enumerate() {
            let mut out = values.to_vec();
            if head < n_heads + n_kv {
                for pair in 0..half {
                    let (first, second) =
                        if p.interleaved == 0 { (pair, pair + half) } else { (2 * pair, 2 * pair + 1) };
                    let (cos, sin) = match rope.get(2 * (pos * half + pair)..) {
                        Some([cos, sin, ..]) => (f64::from(*cos), f64::from(*sin)),
                        _ => (f64::NAN, f64::NAN),
                    };
                    if let (Some(a), Some(b)) = (values.get(first), values.get(second)) {
                        (out[2 * pair], out[2 * pair + 1]) = (a * cos - b * sin, b * cos + a * sin);
                    }
                }
            }
            if head < n_heads {
                let to = q_out.iter_mut().skip((t * n_heads + head) * stride);
                to.zip(out).for_each(|(to, value)| *to = value as f32);
            } else {
                let (cache, head) = ((head - n_heads) / n_kv, (head - n_heads) % n_kv);
                store(cache, head * p.max_seq_len as usize + pos, &out);
            }
        }
    }
    buffers.set_f32("q_out", &q_out);
    Ok(())
}

/// One layer's rotation and cache write, bound.
#[derive(Debug)]
pub struct RopeKv {
    dispatch: Dispatch,
    heads: Heads,
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
    /// Where the keys and values go.
    pub cache: KvBuffers<'a>,
}

impl RopeKv {
    /// Binds the buffers of a layer.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, label: &str, heads: Heads, wiring: Wiring<'_>) -> Result<Self> {
        let (name, twin): (_, Twin) = match wiring.cache.format() {
            KvFormat::F16 => ("rope_kv", twin),
            KvFormat::Int8 => ("rope_kv8", twin_kv8),
        };
        let mut bindings = vec![
            BoundBuffer::whole("heads", &uniform(gpu, label, heads)?),
            BoundBuffer::whole("step", wiring.step),
            BoundBuffer::whole("qkv", wiring.qkv),
            BoundBuffer::whole("rope", wiring.rope),
            BoundBuffer::whole("q_out", wiring.q_out),
        ];
        bindings.extend(wiring.cache.bindings());
        Ok(Self { dispatch: gpu.dispatch(label, &preferred(gpu, name)?, twin, bindings)?, heads })
    }

    /// Rotates and stores the rows of a step.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        let Heads { n_heads, n_kv_heads, head_dim, .. } = self.heads;
        let groups = workgroups(&self.heads, n_tokens, self.dispatch.pipeline().launch());
        recording.push(&self.dispatch, groups, u64::from(n_tokens * (n_heads + 2 * n_kv_heads) * head_dim / 2));
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    cases_of(KvFormat::F16)
}

/// As [`cases`], for [`KvFormat::Int8`].
pub fn cases_kv8() -> Vec<Case> {
    cases_of(KvFormat::Int8)
}

fn cases_of(format: KvFormat) -> Vec<Case> {
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
            let heads = Heads {
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
            // The limit is what rounding to f16 costs; of int8, one code in some thousands that rounds to its other neighbour.
            let case = Case::new(name, 1e-6, |case, launch, _| {
                let (heads, step): (Heads, Step) = (case.params("heads"), case.params("step"));
                workgroups(&heads, step.n_tokens, launch)
            })
            .uniform("heads", heads)
            .uniform("step", Step { pos: pos as u32, n_tokens: n_tokens as u32 })
            .f32("qkv", &rng.rows(n_tokens, width, padded(width), size))
            .f32("rope", &rope)
            .output("q_out", Data::F32, n_tokens * n_heads * stride);
            let rows = n_kv_heads * max_seq_len;
            cases.push(match format {
                KvFormat::F16 => {
                    case.output("k_cache", Data::F16, rows * stride).output("v_cache", Data::F16, rows * stride)
                }
                KvFormat::Int8 => case
                    .output("k_cache", Data::I8, rows * stride)
                    .output("v_cache", Data::I8, rows * stride)
                    .output("k_scales", Data::F32, rows)
                    .output("v_scales", Data::F32, rows),
            });
        }
    }
    cases
}
