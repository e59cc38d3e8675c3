//! Causal attention of many queries against the KV cache, with online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867) in
//! tiles (FlashAttention, Dao et al. 2022, arXiv:2205.14135); and [`Attention`], which is it and [`attention_decode`] bound for
//! one layer.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::{
    Case, Data, Rng, Step, Workgroups, attention_combine, attention_decode, cpu_subgroup, launch, padded, preferred,
    uniform,
};
use crate::error::{Error, Result};
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Profile, Recording, Tier, TwinBuffers, Width};

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvFormat {
    /// Two bytes an element.
    #[default]
    F16,
    /// A signed byte an element, and an f32 scale a position and head: the largest magnitude there over 127.
    Int8,
}

impl KvFormat {
    /// Its name, as `--kv` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of the elements of one position of one head.
    pub fn row_bytes(self, head_stride: usize) -> usize {
        match self {
            Self::F16 => 2 * head_stride,
            Self::Int8 => head_stride,
        }
    }
}

/// The keys and values of a layer.
#[derive(Clone, Copy, Debug)]
pub struct KvBuffers<'a> {
    /// (n_kv_heads, max_seq_len, head_stride).
    pub k: &'a Buffer,
    /// As `k`.
    pub v: &'a Buffer,
    /// Of int8 keys and values: (n_kv_heads, max_seq_len) f32 each.
    pub scales: Option<[&'a Buffer; 2]>,
}

impl KvBuffers<'_> {
    /// How they are kept.
    pub fn format(&self) -> KvFormat {
        if self.scales.is_some() { KvFormat::Int8 } else { KvFormat::F16 }
    }

    /// The buffers under the names that the kernels have for them.
    pub(super) fn bindings(&self) -> impl Iterator<Item = BoundBuffer> {
        let scales = self.scales.map(|[k, v]| [("k_scales", k), ("v_scales", v)]);
        let all = [("k_cache", self.k), ("v_cache", self.v)].into_iter().chain(scales.into_iter().flatten());
        all.map(|(name, buffer)| BoundBuffer::whole(name, buffer))
    }
}

/// The largest head that the kernels hold.
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
    /// Keys that a split of a decode step has at least, at least 1.
    pub keys_per_split: u32,
    /// Splits that a head has at most, at least 1.
    pub max_splits: u32,
}

/// The variants that run on `tier`.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    variants(tier, "base", "cpu_subgroup")
}

/// As [`launches`], for [`KvFormat::Int8`].
pub fn launches_kv8(tier: &Tier) -> Vec<Launch> {
    variants(tier, "kv8", "kv8_cpu_subgroup")
}

fn variants(tier: &Tier, base: &'static str, cpu: &'static str) -> Vec<Launch> {
    let cpu = cpu_subgroup(tier).map(|size| launch("attention", cpu, size));
    cpu.into_iter().chain([launch("attention", base, 64)]).collect()
}

/// Workgroups for `n_tokens`: tiles of rows, key heads, and on a CPU parts of a head.
fn workgroups(params: &Params, n_tokens: u32, launch: &Launch) -> [u32; 3] {
    let rows = n_tokens * (params.n_heads / params.n_kv_heads.max(1));
    if launch.variant.ends_with("cpu_subgroup") {
        [rows.div_ceil(8), params.n_kv_heads, params.head_words.div_ceil(launch.invocations)]
    } else {
        let parts = (launch.invocations / (params.head_words * 2).max(1)).min(4);
        [rows.div_ceil(parts.max(1) * 8), params.n_kv_heads, 1]
    }
}

/// The keys and values as the kernels see them: (n_kv_heads, max_seq_len, head_words · 8).
pub(super) fn cache(buffers: &TwinBuffers) -> Result<[Vec<f32>; 2]> {
    if buffers.bytes("k_scales").is_err() {
        return Ok([buffers.f16("k_cache")?, buffers.f16("v_cache")?]);
    }
    let p: Params = buffers.params("params")?;
    let stride = (p.head_words as usize * 8).max(1);
    let widen = |codes: &[u8], scales: Vec<f32>| {
        let rows = codes.chunks(stride).zip(scales);
        rows.flat_map(|(row, scale)| row.iter().map(move |code| f32::from(code.cast_signed()) * scale)).collect()
    };
    Ok([
        widen(buffers.bytes("k_cache")?, buffers.f32("k_scales")?),
        widen(buffers.bytes("v_cache")?, buffers.f32("v_scales")?),
    ])
}

/// One query against `rows` of the cache: the largest score, the sum of the weights below it, and their sum over the values.
pub(super) fn attend(q: &[f32], k: &[f32], v: &[f32], rows: Range<usize>, scale: f64) -> (f64, f64, Vec<f64>) {
    let stride = q.len().max(1);
    let of = |cache: &'_ [f32]| cache.chunks(stride).skip(rows.start).take(rows.len()).map(<[f32]>::to_vec).collect();
    let (k, v): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (of(k), of(v));
    let dot = |k: &Vec<f32>| q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>();
    let scores: Vec<f64> = k.iter().map(|k| dot(k) * scale).collect();
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - top).exp()).collect();
    let mut mixed = vec![0.0; q.len()];
    for (weight, v) in weights.iter().zip(v) {
        mixed.iter_mut().zip(v).for_each(|(mixed, v)| *mixed += weight * f64::from(v));
    }
    (top, weights.iter().sum(), mixed)
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (p, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (q, [k, v]) = (buffers.f32("q")?, cache(buffers)?);
    let mut out = buffers.f32("out")?;
    let (n_heads, dim, stride) = (p.n_heads as usize, p.head_dim as usize, (p.head_words as usize * 8).max(1));
    let group = (n_heads / (p.n_kv_heads as usize).max(1)).max(1);
    for t in 0..step.n_tokens as usize {
        for (head, q) in q.chunks(stride).skip(t * n_heads).take(n_heads).enumerate() {
            let first = head / group * p.max_seq_len as usize;
            let rows = first..first + step.pos as usize + t + 1;
            let (_, sum, mixed) = attend(q, &k, &v, rows, f64::from(p.scale));
            let to = out.iter_mut().skip(t * p.out_stride as usize + head * dim).take(dim);
            to.zip(mixed).for_each(|(to, value)| *to = (value / sum) as f32);
        }
    }
    buffers.set_f32("out", &out);
    Ok(())
}

/// One layer's attention, bound.
#[derive(Debug)]
pub struct Attention {
    tile: Dispatch,
    decode: Dispatch,
    combine: Dispatch,
    params: Params,
    /// The tile serves a single token too: grouped heads fill its rows.
    tile_decodes: bool,
}

/// The buffers of [`Attention`].
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// The step uniform.
    pub step: &'a Buffer,
    /// (n_tokens, n_heads, head_words · 8) f32.
    pub q: &'a Buffer,
    /// The keys and values.
    pub cache: KvBuffers<'a>,
    /// [`partial_bytes`]: the splits of a decode step.
    pub partial: &'a Buffer,
    /// (n_tokens, out_stride) f32.
    pub out: &'a Buffer,
}

/// Keys of a split, and how many splits a head has at most, for `n_kv_heads` of `n_heads` on an adapter of `profile`. A software
/// device fills its few cores with the heads alone. A GPU wants some hundreds of workgroups: 256 keys are one round of the kernel.
pub fn split_rule(n_heads: usize, n_kv_heads: usize, profile: Profile) -> (u32, u32) {
    if profile == Profile::Cpu {
        return (u32::MAX >> 1, 1);
    }
    let blocks = n_kv_heads * (n_heads / n_kv_heads.max(1)).div_ceil(4);
    (256, (512 / blocks.max(1)).clamp(1, 64) as u32)
}

/// Bytes of the buffer for the splits of a decode step: the maximum, the sum and the elements of each.
pub fn partial_bytes(n_heads: usize, head_stride: usize, max_splits: u32) -> u64 {
    if max_splits > 1 { (n_heads * max_splits as usize * (head_stride + 4) * 4) as u64 } else { 16 }
}

/// The keys of each split but the last of a decode step at `pos`, and the number of splits: the rule of shaders/shared/splits.wgsl.
pub(super) fn splits(keys_per_split: u32, max_splits: u32, pos: u32) -> (u32, u32) {
    let n_keys = pos + 1;
    let wanted = n_keys.div_ceil(keys_per_split.max(1)).min(max_splits.max(1));
    let keys = n_keys.div_ceil(wanted);
    (keys, n_keys.div_ceil(keys))
}

impl Attention {
    /// Binds the buffers of a layer.
    ///
    /// # Errors
    /// [`Error::Kernel`] for a head that is too large; what the device reports.
    pub fn new(gpu: &Gpu, label: &str, params: Params, wiring: Wiring<'_>) -> Result<Self> {
        if params.head_dim as usize > MAX_HEAD_DIM {
            let detail = format!("head_dim {}, expected at most {MAX_HEAD_DIM}", params.head_dim);
            return Err(Error::kernel("attention", detail));
        }
        let [tiled, decoded] = match wiring.cache.format() {
            KvFormat::F16 => ["attention", "attention_decode"],
            KvFormat::Int8 => ["attention_kv8", "attention_decode_kv8"],
        };
        let mut bindings = vec![
            BoundBuffer::whole("params", &uniform(gpu, label, params)?),
            BoundBuffer::whole("step", wiring.step),
            BoundBuffer::whole("q", wiring.q),
            BoundBuffer::whole("out", wiring.out),
        ];
        bindings.extend(wiring.cache.bindings());
        let launch = preferred(gpu, tiled)?;
        let tile_decodes = launch.variant.ends_with("cpu_subgroup") && params.n_heads / params.n_kv_heads.max(1) >= 4;
        let tile = gpu.dispatch(label, &launch, twin, bindings.clone())?;
        bindings.push(BoundBuffer::whole("partial", wiring.partial));
        let decode = gpu.dispatch(label, &preferred(gpu, decoded)?, attention_decode::twin, bindings)?;
        let combine = attention_combine::dispatch(gpu, params, wiring)?;
        Ok(Self { tile, decode, combine, params, tile_decodes })
    }

    /// Attends for the rows of a step that starts at `pos`.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, pos: u32, n_tokens: u32) {
        let Params { n_heads, head_dim, .. } = self.params;
        let keys = u64::from(n_tokens) * u64::from(pos + n_tokens.div_ceil(2));
        let cost = 2 * keys * u64::from(n_heads * head_dim);
        if recording.width() == Width::Many || n_tokens > 1 || self.tile_decodes {
            let groups = workgroups(&self.params, n_tokens, self.tile.pipeline().launch());
            return recording.push(&self.tile, groups, cost);
        }
        let (_, count) = splits(self.params.keys_per_split, self.params.max_splits, pos);
        let groups = attention_decode::workgroups(&self.params, count, self.decode.pipeline().launch());
        recording.push(&self.decode, groups, cost);
        if count > 1 {
            recording.push(&self.combine, [n_heads, 1, 1], u64::from(n_heads * head_dim * count));
        }
    }
}

/// A shape for conformance: heads, kv heads, head_dim, first position, tokens, size of q, size of k and v.
pub(super) type Shape = (usize, usize, usize, usize, usize, f32, f32);

/// The inputs of a case of `shape`, without the outputs; the elements from one token to the next in `out`.
pub(super) fn inputs(
    format: KvFormat,
    shape: Shape,
    seed: u64,
    split: (u32, u32),
    groups: Workgroups,
) -> (Case, Params) {
    let (n_heads, n_kv_heads, head_dim, pos, n_tokens, size, kv) = shape;
    let mut rng = Rng::new(seed);
    let (stride, max_seq_len) = (padded(head_dim), pos + n_tokens + 3);
    let params = Params {
        n_heads: n_heads as u32,
        n_kv_heads: n_kv_heads as u32,
        head_dim: head_dim as u32,
        head_words: stride as u32 / 8,
        max_seq_len: max_seq_len as u32,
        out_stride: padded(n_heads * head_dim) as u32,
        scale: 1.0 / (head_dim as f32).sqrt(),
        keys_per_split: split.0,
        max_splits: split.1,
    };
    let name = format!(
        "{n_heads}/{n_kv_heads} heads of {head_dim}, {n_tokens} tokens from {pos}, q to {size}, k and v to {kv}"
    );
    let mut case = Case::new(name, 1e-7, groups)
        .uniform("params", params)
        .uniform("step", Step { pos: pos as u32, n_tokens: n_tokens as u32 })
        .f32("q", &rng.rows(n_tokens * n_heads, head_dim, stride, size));
    let rows = n_kv_heads * max_seq_len;
    match format {
        KvFormat::F16 => {
            case = case.f16("k_cache", &rng.rows(rows, head_dim, stride, kv));
            case = case.f16("v_cache", &rng.rows(rows, head_dim, stride, kv));
        }
        KvFormat::Int8 => {
            for (codes, scales) in [("k_cache", "k_scales"), ("v_cache", "v_scales")] {
                let values = rng.rows(rows, head_dim, stride, 127.0);
                let bytes: Vec<i8> = values.iter().map(|value| value.round() as i8).collect();
                let scale: Vec<f32> = (0..rows).map(|_| kv / 127.0 * (0.6 + rng.value(0.4))).collect();
                case = case.i8(codes, &bytes).f32(scales, &scale);
            }
        }
    }
    (case, params)
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
    // Sharp scores, prime lengths, tiles of keys and of rows crossed, GQA in which a tile ends inside of a token, one kv head,
    // f16's largest numbers.
    let shapes: [Shape; 12] = [
        (1, 1, 2, 0, 1, 1.0, 4.0),
        (4, 4, 16, 0, 7, 1.0, 4.0),
        (6, 2, 10, 62, 5, 1.0, 4.0),
        (5, 1, 80, 130, 2, 4.0, 4.0),
        (3, 3, 100, 0, 67, 1.0, 4.0),
        (8, 8, 128, 1024, 1, 1.0, 4.0),
        (4, 2, 256, 33, 1, 30.0, 4.0),
        (2, 1, 64, 63, 2, 100.0, 4.0),
        (4, 2, 16, 70, 3, 1e-4, 65504.0),
        (8, 1, 64, 30, 9, 1.0, 4.0),
        (2, 2, 64, 0, 33, 1.0, 4.0),
        (7, 1, 48, 129, 11, 1.0, 4.0),
    ];
    let case = |(shape, seed)| {
        let (case, params) = inputs(format, shape, seed, (1, 1), |case, launch, _| {
            let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
            workgroups(&params, step.n_tokens, launch)
        });
        let (_, _, _, _, n_tokens, ..) = shape;
        case.output("out", Data::F32, (n_tokens + 1) * params.out_stride as usize)
    };
    shapes.into_iter().zip(0..).map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{GpuOptions, Role};

    #[test]
    fn every_key_is_in_one_split_and_none_is_empty() {
        for (keys_per_split, max_splits) in [(1, 1), (1, 3), (7, 64), (256, 16), (u32::MAX >> 1, 1)] {
            for pos in (0..70).chain([255, 256, 4095, 4096]) {
                let (keys, count) = splits(keys_per_split, max_splits, pos);
                assert!((1..=max_splits).contains(&count) && keys * count > pos && keys * (count - 1) <= pos);
            }
        }
    }

    /// The path of a GPU with a long context, which software adapters never take by themselves.
    #[test]
    fn splits_put_together_give_what_one_split_gives() {
        let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        let (n_heads, n_kv_heads, head_dim, pos, max_seq_len) = (6, 3, 20, 150, 160);
        let (mut rng, stride) = (Rng::new(1), padded(head_dim));
        let mut halves = || {
            let values = rng.rows(n_kv_heads * max_seq_len, head_dim, stride, 2.0);
            values.into_iter().map(half::f16::from_f32).collect::<Vec<_>>()
        };
        let cache = [halves(), halves()]
            .map(|halves| gpu.create_buffer_with("cache", bytemuck::cast_slice(&halves), Role::Storage).unwrap());
        let q = rng.rows(n_heads, head_dim, stride, 2.0);
        let q = gpu.create_buffer_with("q", bytemuck::cast_slice(&q), Role::Storage).unwrap();
        let step = Step { pos: pos as u32, n_tokens: 1 };
        let step = gpu.create_buffer_with("step", bytemuck::bytes_of(&step), Role::Uniform).unwrap();
        let decode = |keys_per_split, max_splits| {
            let partial = partial_bytes(n_heads, stride, max_splits);
            let partial = gpu.create_buffer("partial", partial, Role::Storage).unwrap();
            let out = gpu.create_buffer("out", (n_heads * head_dim * 4) as u64, Role::Storage).unwrap();
            let params = Params {
                n_heads: n_heads as u32,
                n_kv_heads: n_kv_heads as u32,
                head_dim: head_dim as u32,
                head_words: stride as u32 / 8,
                max_seq_len: max_seq_len as u32,
                out_stride: (n_heads * head_dim) as u32,
                scale: 0.2,
                keys_per_split,
                max_splits,
            };
            let [k, v] = &cache;
            let cache = KvBuffers { k, v, scales: None };
            let wiring = Wiring { step: &step, q: &q, cache, partial: &partial, out: &out };
            let attention = Attention::new(&gpu, "attention", params, wiring).unwrap();
            let mut list = Recording::new(Width::One);
            attention.record(&mut list, pos as u32, 1);
            assert_eq!(list.len(), if max_splits > 1 { 2 } else { 1 });
            gpu.run(&list, "testing").unwrap();
            let bytes = gpu.read(&out, 0, out.size()).unwrap();
            bytemuck::pod_collect_to_vec::<u8, f32>(&bytes)
        };
        let (one, many) = (decode(1000, 1), decode(16, 8));
        assert!(one.iter().any(|value| value.abs() > 0.01));
        for (one, many) in one.iter().zip(&many) {
            assert!((one - many).abs() < 1e-5, "{one} {many}");
        }
    }
}
