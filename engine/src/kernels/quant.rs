//! Cases and references of the matrix kernels with quantised weights.

use super::matvec::{ADD_BIAS, ADD_TO_OUTPUT, Params, workgroups};
use super::{Case, Data, Rng, rows};
use crate::error::Result;
use crate::gpu::TwinBuffers;
use crate::weights::packed::{Format, UNIT, scale_zero, unpack_row};

/// The 4-bit format that `params` describe.
pub(super) fn q4(params: Params) -> Format {
    Format::Q4 { group_len: UNIT << params.group_shift.min(40) }
}

/// The weights, row after row, from the codes in `weight` and the scales in `scales`.
pub(super) fn weights(buffers: &TwinBuffers, format: Format, weight: &str, scales: &str) -> Result<Vec<f32>> {
    let params: Params = buffers.params("params")?;
    let (codes, scales) = (buffers.bytes(weight)?, buffers.bytes(scales)?);
    let cols = params.row_words as usize * 8;
    let (row_bytes, scale_bytes) = (format.row_bytes(cols), params.scale_words as usize * 4);
    let rows = codes.chunks_exact(row_bytes.max(1)).zip(scales.chunks_exact(scale_bytes.max(1)));
    Ok(rows.flat_map(|(codes, scales)| unpack_row(format, cols, codes, scales)).collect())
}

/// The parameters of a part of `rows` rows of `cols` columns.
pub(super) fn params(format: Format, rows: usize, cols: usize, row_base: usize, flags: u32) -> Params {
    Params {
        row_words: cols as u32 / 8,
        n_rows: rows as u32,
        row_base: row_base as u32,
        flags,
        scale_words: format.scale_words(cols) as u32,
        group_shift: format.group_shift(),
        ..Params::default()
    }
}

pub(super) fn case_name(format: Format, n_rows: usize, cols: usize, row_base: usize, flags: u32) -> String {
    let groups = rows::case_groups(format, cols);
    format!("{n_rows}x{cols}{groups}, from row {row_base}, flags {flags}")
}

/// As [`case_weights`], under the names of a kernel with one matrix.
pub(super) fn with_weights(case: Case, rng: &mut Rng, format: Format, rows: usize, cols: usize) -> Case {
    case_weights(case, rng, format, (rows, cols), ["weight", "scales"])
}

/// Adds random codes, and scales that give weights of about the size of `1 / sqrt(cols)`.
pub(super) fn case_weights(
    case: Case,
    rng: &mut Rng,
    format: Format,
    (rows, cols): (usize, usize),
    [weight, scales]: [&'static str; 2],
) -> Case {
    let codes: Vec<u32> = (0..rows * format.row_bytes(cols) / 4).map(|_| rng.next_u64() as u32).collect();
    let size = 1.0 / (cols as f32).sqrt();
    let scale = |rng: &mut Rng, range: f32| (0.6 + rng.value(0.4)) * size / range;
    let words: Vec<u32> = (0..rows * format.scale_words(cols))
        .map(|_| {
            u32::from_le_bytes(match format {
                Format::Q4 { .. } => scale_zero(scale(rng, 8.0), 8.0 + rng.value(8.0)),
                Format::Q6 => scale_zero(scale(rng, 32.0), scale(rng, 32.0)),
                _ => scale_zero(scale(rng, 128.0), scale(rng, 128.0)),
            })
        })
        .collect();
    case.u32(weight, &codes).u32(scales, &words)
}

/// The cases of `matvec` in `format`.
pub(super) fn cases(format: Format) -> Vec<Case> {
    // The last two are the 7B's projections (fewer rows: the reference is slow).
    let shapes = [(1, 64, 0, 1.0), (13, 192, 3, 1.0), (129, 256, 0, 1.0), (64, 4096, 0, 1.0), (67, 11008, 0, 200.0)];
    let mut cases = Vec::new();
    for (seed, (rows, cols, row_base, size)) in shapes.into_iter().enumerate() {
        for flags in [0, ADD_BIAS, ADD_TO_OUTPUT] {
            let mut rng = Rng::new(seed as u64);
            let n = row_base + rows;
            let case = Case::new(case_name(format, rows, cols, row_base, flags), 1e-9, |case, _, tier| {
                workgroups(case.params::<Params>("params").n_rows, tier)
            })
            .uniform("params", params(format, rows, cols, row_base, flags))
            .f32("x", &rng.values(cols, size))
            .f32("bias", &rng.values(n, size));
            let case = with_weights(case, &mut rng, format, rows, cols);
            cases.push(if flags & ADD_TO_OUTPUT == 0 {
                case.output("y", Data::F32, n + 9)
            } else {
                case.f32("y", &rng.values(n + 9, size))
            });
        }
    }
    cases
}
