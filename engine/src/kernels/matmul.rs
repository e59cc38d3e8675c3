//! Matrix times matrix: every projection of a prefill.

use bytemuck::{Pod, Zeroable};

use super::matvec::{ADD_BIAS, ADD_TO_OUTPUT};
use super::{Case, Data, Rng, Step, cpu_subgroup, launch, matvec, padded};
use crate::error::Result;
use crate::gpu::{Launch, Tier, TwinBuffers};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// The matrix part, as for a vector.
    pub part: matvec::Params,
    /// Elements from one token to the next in `y`.
    pub y_stride: u32,
}

/// The variants that run on `tier`.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    let cpu = cpu_subgroup(tier).map(|size| launch("matmul", "cpu_subgroup", size));
    cpu.into_iter().chain([launch("matmul", "base", 64)]).collect()
}

/// Workgroups for a matrix part of `n_rows` and `n_tokens` of input.
pub(super) fn workgroups(n_rows: u32, n_tokens: u32, launch: &Launch) -> [u32; 3] {
    match launch.variant {
        "cpu_subgroup" => [n_tokens.div_ceil(8), n_rows.div_ceil(launch.invocations * 2), 1],
        _ => [n_rows.div_ceil(64), n_tokens.div_ceil(64), 1],
    }
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (params, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (x, y) = (buffers.f32("x")?, buffers.f32("y")?);
    let y = product(buffers, params.part, &x, y, step.n_tokens as usize, params.y_stride as usize)?;
    buffers.set_f32("y", &y);
    Ok(())
}

/// `y[t][row_base + r] = Σ W[r][c] x[t][c] (+ bias) (+ y)`, sums in f64.
pub(super) fn product(
    buffers: &TwinBuffers,
    part: matvec::Params,
    x: &[f32],
    mut y: Vec<f32>,
    n_tokens: usize,
    y_stride: usize,
) -> Result<Vec<f32>> {
    let (weight, bias) = (buffers.f16("weight")?, buffers.f32("bias")?);
    let cols = (part.row_words as usize * 8).max(1);
    for (t, x) in x.chunks(cols).take(n_tokens).enumerate() {
        for (r, row) in weight.chunks(cols).take(part.n_rows as usize).enumerate() {
            let at = part.row_base as usize + r;
            let mut sum: f64 = row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
            if part.flags & ADD_BIAS != 0 {
                sum += f64::from(bias.get(at).copied().unwrap_or_default());
            }
            if let Some(y) = y.get_mut(t * y_stride + at) {
                if part.flags & ADD_TO_OUTPUT != 0 {
                    sum += f64::from(*y);
                }
                *y = sum as f32;
            }
        }
    }
    Ok(y)
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    let shapes = [
        (1, 1, 1, 0, 1.0, 1.0),
        (7, 33, 2, 3, 1.0, 1.0),
        (13, 1025, 9, 0, 1.0, 1.0),
        (97, 288, 33, 31, 1.0, 1.0),
        (129, 64, 67, 0, 1.0, 1.0),
        (64, 4096, 65, 0, 1.0, 1.0),
        (67, 11008, 5, 0, 200.0, 1.0),
        (29, 64, 11, 0, 1e-3, 65504.0),
    ];
    let mut cases = Vec::new();
    for (seed, (rows, cols, n_tokens, row_base, scale, weights)) in shapes.into_iter().enumerate() {
        for flags in [0, ADD_BIAS, ADD_TO_OUTPUT, ADD_BIAS | ADD_TO_OUTPUT] {
            let mut rng = Rng::new(seed as u64);
            // Sums of about the size of x, or weights up to f16's largest number.
            let weight_scale = if weights == 1.0 { 1.0 / (cols as f32).sqrt() } else { weights };
            let stride = padded(cols);
            let n = row_base + rows;
            let y_stride = padded(n);
            let part =
                matvec::Params { row_words: stride as u32 / 8, n_rows: rows as u32, row_base: row_base as u32, flags };
            let name = format!("{rows}x{cols}, {n_tokens} tokens, from row {row_base}, flags {flags}");
            let case = Case::new(name, 1e-9, |case, launch, _| {
                let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
                workgroups(params.part.n_rows, step.n_tokens, launch)
            })
            .uniform("params", Params { part, y_stride: y_stride as u32 })
            .uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 })
            .f16("weight", &rng.rows(rows, cols, stride, weight_scale))
            .f32("x", &rng.rows(n_tokens, cols, stride, scale))
            .f32("bias", &rng.values(n, scale));
            cases.push(if flags & ADD_TO_OUTPUT == 0 {
                case.output("y", Data::F32, (n_tokens + 1) * y_stride)
            } else {
                case.f32("y", &rng.values((n_tokens + 1) * y_stride, scale))
            });
        }
    }
    cases
}
