//! Matrix times vector: every projection of a decode step.

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, fold, launch, padded};
use crate::error::Result;
use crate::gpu::{Launch, Tier, TwinBuffers};

/// Adds the bias.
pub const ADD_BIAS: u32 = 1;
/// Adds to what the output holds.
pub const ADD_TO_OUTPUT: u32 = 2;

/// Rows that one workgroup computes.
const ROWS: u32 = 8;

/// The WGSL `Params` of every matrix kernel.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Params {
    /// Words of eight columns in a row.
    pub row_words: u32,
    /// Rows of this part.
    pub n_rows: u32,
    /// The first row's place in `y`.
    pub row_base: u32,
    /// [`ADD_BIAS`], [`ADD_TO_OUTPUT`].
    pub flags: u32,
    /// Elements from one token to the next in `y`.
    pub y_stride: u32,
    /// Quantised weights: words of the scales of a row.
    pub scale_words: u32,
    /// 4-bit weights: log2 of the units of 32 columns that share a scale.
    pub group_shift: u32,
}

/// The variants that run on `tier`. A subgroup a workgroup where its size is known: on a GPU too, since eight rows a subgroup
/// need no barrier.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    subgroup_launches(tier, "matvec", "base", "subgroup")
}

pub(super) fn subgroup_launches(
    tier: &Tier,
    kernel: &'static str,
    base: &'static str,
    subgroup: &'static str,
) -> Vec<Launch> {
    let size = tier.fixed_subgroup().filter(|size| (8..=64).contains(size));
    // Where only barriers are left, a CPU wants few of them.
    let plain = if tier.profile == crate::gpu::Profile::Cpu { 8 } else { 64 };
    size.map(|size| launch(kernel, subgroup, size)).into_iter().chain([launch(kernel, base, plain)]).collect()
}

/// Workgroups for a matrix part of `n_rows`.
pub(super) fn workgroups(n_rows: u32, tier: &Tier) -> [u32; 3] {
    fold(n_rows.div_ceil(ROWS), tier)
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let weight = buffers.f16("weight")?;
    product(buffers, &weight, 1)
}

/// `y[t][row_base + r] = Σ W[r][c] x[t][c] (+ bias) (+ y)`, sums in f64, with the rows of `weight` as they come from memory.
pub(super) fn product(buffers: &mut TwinBuffers, weight: &[f32], n_tokens: usize) -> Result<()> {
    let params: Params = buffers.params("params")?;
    let (x, bias, mut y) = (buffers.f32("x")?, buffers.f32("bias")?, buffers.f32("y")?);
    let cols = (params.row_words as usize * 8).max(1);
    for (t, x) in x.chunks(cols).take(n_tokens).enumerate() {
        for (r, row) in weight.chunks(cols).take(params.n_rows as usize).enumerate() {
            let at = params.row_base as usize + r;
            let mut sum: f64 = row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            if params.flags & ADD_BIAS != 0 {
                sum += f64::from(bias.get(at).copied().unwrap_or_default());
            }
            if let Some(y) = y.get_mut(t * params.y_stride as usize + at) {
                if params.flags & ADD_TO_OUTPUT != 0 {
                    sum += f64::from(*y);
                }
                *y = sum as f32;
            }
        }
    }
    buffers.set_f32("y", &y);
    Ok(())
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // Primes, one more than a power of two, and the 7B's projections (fewer rows: the reference is slow).
    let shapes = [
        (1, 1, 0, 1.0, 1.0),
        (7, 33, 3, 1.0, 1.0),
        (13, 1025, 0, 1.0, 1.0),
        (97, 288, 31, 1.0, 1.0),
        (2053, 64, 0, 1.0, 1.0),
        (64, 4096, 0, 1.0, 1.0),
        (67, 11008, 0, 200.0, 1.0),
        (29, 64, 0, 1e-3, 65504.0),
    ];
    let mut cases = Vec::new();
    for (seed, (rows, cols, row_base, scale, weights)) in shapes.into_iter().enumerate() {
        for flags in [0, ADD_BIAS, ADD_TO_OUTPUT, ADD_BIAS | ADD_TO_OUTPUT] {
            let mut rng = Rng::new(seed as u64);
            // Sums of about the size of x, or weights up to f16's largest number.
            let weight_scale = if weights == 1.0 { 1.0 / (cols as f32).sqrt() } else { weights };
            let stride = padded(cols);
            let n = row_base + rows;
            let (row_words, n_rows, row_base) = (stride as u32 / 8, rows as u32, row_base as u32);
            let params = Params { row_words, n_rows, row_base, flags, ..Params::default() };
            let case =
                Case::new(format!("{rows}x{cols}, from row {row_base}, flags {flags}"), 1e-9, |case, _, tier| {
                    workgroups(case.params::<Params>("params").n_rows, tier)
                })
                .uniform("params", params)
                .f16("weight", &rng.rows(rows, cols, stride, weight_scale))
                .f32("x", &rng.rows(1, cols, stride, scale))
                .f32("bias", &rng.values(n, scale));
            cases.push(if flags & ADD_TO_OUTPUT == 0 {
                case.output("y", Data::F32, n + 9)
            } else {
                case.f32("y", &rng.values(n + 9, scale))
            });
        }
    }
    cases
}
