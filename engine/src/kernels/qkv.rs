//! q_proj, k_proj and v_proj of one token, with RoPE and the cache write at their end, and RMSNorm before them where that pays.

use super::attention::{KvBuffers, KvFormat};
use super::matvec::Params;
use super::rope_kv::{self, Heads};
use super::rows::{self, Norm};
use super::{Case, Data, Rng, Step, named, padded, preferred_of, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};
use crate::weights::Matrix;

/// Pairs of rows that one workgroup computes.
const PAIRS: u32 = rows::ROWS / 2;

/// The variants that run on `tier`.
pub fn launches<const BITS: u32, const NORM: bool>(tier: &Tier) -> Vec<Launch> {
    rows::launches::<BITS, NORM>(tier, "qkv")
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin<const BITS: u32, const NORM: bool>(buffers: &mut TwinBuffers) -> Result<()> {
    let (params, heads): (Params, Heads) = (buffers.params("params")?, buffers.params("heads")?);
    let step: Step = buffers.params("step")?;
    let weight = rows::weights::<BITS>(buffers, "weight", "scales")?;
    let products = rows::products(&weight, &rows::input::<NORM>(buffers)?);
    // The heads of this part, as rope_kv knows them: those before and behind it are none of its business.
    let before = buffers.clone();
    let n = ((heads.n_heads + 2 * heads.n_kv_heads) * heads.head_dim) as usize;
    let mut row = vec![0.0; n];
    let part = params.row_base as usize..(params.row_base + params.n_rows) as usize;
    for (to, value) in row.iter_mut().skip(part.start).zip(products) {
        *to = value;
    }
    rope_kv::store_f16(buffers, heads, step.pos as usize, &[row])?;
    put_back(buffers, &before, heads, part)
}

/// Restores in q_out and the caches every head that is not in `part`.
fn put_back(buffers: &mut TwinBuffers, before: &TwinBuffers, heads: Heads, part: std::ops::Range<usize>) -> Result<()> {
    let (dim, stride) = (heads.head_dim as usize, heads.head_stride as usize);
    let (n_heads, n_kv) = (heads.n_heads as usize, heads.n_kv_heads as usize);
    let outputs = [
        ("q_out", 0, n_heads, stride * 4),
        ("k_cache", n_heads, n_kv, heads.max_seq_len as usize * stride * 2),
        ("v_cache", n_heads + n_kv, n_kv, heads.max_seq_len as usize * stride * 2),
    ];
    for (name, first, n, bytes) in outputs {
        let (mut new, old) = (buffers.bytes(name)?.to_vec(), before.bytes(name)?);
        for head in (0..n).filter(|head| !part.contains(&((first + head) * dim))) {
            if let (Some(to), Some(from)) =
                (new.get_mut(head * bytes..(head + 1) * bytes), old.get(head * bytes..(head + 1) * bytes))
            {
                to.copy_from_slice(from);
            }
        }
        buffers.insert(name, new);
    }
    Ok(())
}

/// The projections of one layer, bound.
#[derive(Debug)]
pub struct Qkv {
    parts: Vec<(Dispatch, [u32; 3], u64)>,
}

/// The buffers of [`Qkv`].
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// The step uniform.
    pub step: &'a Buffer,
    /// (padded cols) f32: normalised, or the residual stream with `norm`.
    pub x: &'a Buffer,
    /// RMSNorm of x, where it is part of the kernel.
    pub norm: Option<Norm<'a>>,
    /// (max_seq_len, head_dim / 2, 2) f32: cos, sin.
    pub rope: &'a Buffer,
    /// (1, n_heads, head_stride) f32.
    pub q_out: &'a Buffer,
    /// The cache of the layer.
    pub cache: KvBuffers<'a>,
}

impl Qkv {
    /// Binds `matrix` (q, k and v, one below the other). None where the kernel cannot take it: with something beside the product,
    /// an input to be sorted, a head that is cut between two parts, or a cache in int8, whose scale takes a whole head.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, label: &str, matrix: &Matrix, heads: Heads, wiring: Wiring<'_>) -> Result<Option<Self>> {
        let whole = |row: u32| row.is_multiple_of(heads.head_dim.max(1));
        let int8 = wiring.cache.format() == KvFormat::Int8;
        if int8
            || !rows::is_plain(matrix)
            || !matrix.parts.iter().all(|part| whole(part.row_base) && whole(part.n_rows))
        {
            return Ok(None);
        }
        let mut parts = Vec::new();
        for part in &matrix.parts {
            let kernel = named(&rows::kernel_name("qkv", part.format, wiring.norm.is_some()))?;
            let mut bindings = rows::bindings(part, wiring.norm);
            bindings.extend([
                BoundBuffer::whole("params", &uniform(gpu, label, rows::params(part, matrix, wiring.norm))?),
                BoundBuffer::whole("heads", &uniform(gpu, label, heads)?),
                BoundBuffer::whole("step", wiring.step),
                BoundBuffer::whole("x", wiring.x),
                BoundBuffer::whole("rope", wiring.rope),
                BoundBuffer::whole("q_out", wiring.q_out),
            ]);
            bindings.extend(wiring.cache.bindings());
            let dispatch = gpu.dispatch(label, &preferred_of(gpu, kernel)?, kernel.twin, bindings)?;
            let cost = u64::from(part.n_rows) * matrix.cols as u64;
            parts.push((dispatch, rows::workgroups(part.n_rows / 2, PAIRS, gpu.tier()), cost));
        }
        Ok(Some(Self { parts }))
    }

    /// Projects, turns and stores one token.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>) {
        for (dispatch, groups, cost) in &self.parts {
            recording.push(dispatch, *groups, *cost);
        }
    }
}

/// What conformance runs.
pub fn cases<const BITS: u32, const NORM: bool>() -> Vec<Case> {
    // (heads, kv heads, head_dim, columns, position, heads before the part, heads of it): odd halves, GQA, one kv head, a part of
    // a split matrix, the 7B's head. Quantised rows come in units of 64 columns.
    let shapes = [
        (1, 1, 2, 33, 0, 0, 3),
        (6, 2, 10, 192, 31, 0, 10),
        (5, 1, 80, 256, 7, 5, 2),
        (2, 2, 100, 1025, 3, 0, 6),
        (3, 1, 128, 4096, 40, 1, 2),
    ];
    let mut cases = Vec::new();
    for format in rows::case_formats::<BITS>() {
        for (seed, (n_heads, n_kv_heads, head_dim, cols, pos, before, part)) in shapes.into_iter().enumerate() {
            for interleaved in [0, 1] {
                let mut rng = Rng::new(seed as u64);
                let cols: usize = if BITS == 16 { cols } else { usize::next_multiple_of(cols, 64) };
                let (stride, max_seq_len) = (padded(head_dim), pos + 2);
                let heads = Heads {
                    n_heads: n_heads as u32,
                    n_kv_heads: n_kv_heads as u32,
                    head_dim: head_dim as u32,
                    head_stride: stride as u32,
                    max_seq_len: max_seq_len as u32,
                    qkv_stride: 0,
                    interleaved,
                };
                let n_rows = part * head_dim;
                let params = rows::case_params(format, n_rows, cols, NORM);
                let params = Params { row_base: (before * head_dim) as u32, ..params };
                let angles = (0..max_seq_len * head_dim / 2).map(|_| f64::from(rng.value(10.0)));
                let rope: Vec<f32> = angles.flat_map(|angle| [angle.cos() as f32, angle.sin() as f32]).collect();
                let groups = rows::case_groups(format, cols);
                let pairing = if interleaved == 0 { "half-split" } else { "interleaved" };
                let name = format!(
                    "{n_heads}/{n_kv_heads} heads of {head_dim} from head {before}, {cols} columns{groups}, at {pos}, {pairing}"
                );
                // The limit is what rounding to f16 costs.
                let case = Case::new(name, 1e-6, |case, _, tier| {
                    rows::workgroups(case.params::<Params>("params").n_rows / 2, PAIRS, tier)
                })
                .uniform("params", params)
                .uniform("heads", heads)
                .uniform("step", Step { pos: pos as u32, n_tokens: 1 })
                .f32("rope", &rope);
                let case = rows::case_weights(case, &mut rng, format, (n_rows, cols), ["weight", "scales"]);
                let case = rows::case_input(case, &mut rng, cols, if NORM { 300.0 } else { 1.0 }, NORM);
                cases.push(
                    case.output("q_out", Data::F32, n_heads * stride)
                        .output("k_cache", Data::F16, n_kv_heads * max_seq_len * stride)
                        .output("v_cache", Data::F16, n_kv_heads * max_seq_len * stride),
                );
            }
        }
    }
    cases
}
