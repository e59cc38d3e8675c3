//! Matrix times vector with quantised weights: the projections of a decode step of a 4-, 6- or 8-bit model.

use super::matvec::{ADD_BIAS, ADD_TO_OUTPUT, product, subgroup_launches, workgroups};
use super::{Case, Data, Rng};
use crate::error::Result;
use crate::gpu::{Launch, Tier, TwinBuffers};
use crate::weights::packed::{Format, UNIT, scale_zero, unpack_row};

pub use super::matvec::Params;

/// The variants that run on `tier` for [`Format::Q4`].
pub fn launches_q4(tier: &Tier) -> Vec<Launch> {
    subgroup_launches(tier, "matvec_quant", "q4", "q4_subgroup")
}

/// As [`launches_q4`], for [`Format::Q6`].
pub fn launches_q6(tier: &Tier) -> Vec<Launch> {
    subgroup_launches(tier, "matvec_quant", "q6", "q6_subgroup")
}

/// As [`launches_q4`], for [`Format::Q8`].
pub fn launches_q8(tier: &Tier) -> Vec<Launch> {
    subgroup_launches(tier, "matvec_quant", "q8", "q8_subgroup")
}

/// The reference for [`Format::Q4`].
///
/// # Errors
/// A missing buffer.
pub fn twin_q4(buffers: &mut TwinBuffers) -> Result<()> {
    let params: Params = buffers.params("params")?;
    twin(buffers, q4(params))
}

/// The reference for [`Format::Q6`].
///
/// # Errors
/// A missing buffer.
pub fn twin_q6(buffers: &mut TwinBuffers) -> Result<()> {
    twin(buffers, Format::Q6)
}

/// The reference for [`Format::Q8`].
///
/// # Errors
/// A missing buffer.
pub fn twin_q8(buffers: &mut TwinBuffers) -> Result<()> {
    twin(buffers, Format::Q8)
}

fn twin(buffers: &mut TwinBuffers, format: Format) -> Result<()> {
    let weight = weights(buffers, format)?;
    product(buffers, &weight, 1)
}

/// The 4-bit format that `params` describe.
pub(super) fn q4(params: Params) -> Format {
    Format::Q4 { group_len: UNIT << params.group_shift.min(40) }
}

/// The weights of a part, row after row, from its codes and scales.
pub(super) fn weights(buffers: &TwinBuffers, format: Format) -> Result<Vec<f32>> {
    let params: Params = buffers.params("params")?;
    let (codes, scales) = (buffers.bytes("weight")?, buffers.bytes("scales")?);
    let cols = params.row_words as usize * 8;
    let (row_bytes, scale_bytes) = (format.row_bytes(cols), params.scale_words as usize * 4);
    let rows = codes.chunks_exact(row_bytes.max(1)).zip(scales.chunks_exact(scale_bytes.max(1)));
    let rows = rows.take(params.n_rows as usize);
    Ok(rows.flat_map(|(codes, scales)| unpack_row(format, cols, codes, scales)).collect())
}

/// The parameters of a part of `rows` rows of `cols` columns.
pub(super) fn params(format: Format, rows: usize, cols: usize, row_base: usize, flags: u32) -> Params {
    Params {
        row_words: cols as u32 / 8,
        n_rows: rows as u32,
        row_base: row_base as u32,
        flags,
        y_stride: 0,
        scale_words: format.scale_words(cols) as u32,
        group_shift: format.group_shift(),
    }
}

pub(super) fn case_name(format: Format, rows: usize, cols: usize, row_base: usize, flags: u32) -> String {
    let groups = match format {
        Format::Q4 { group_len } if group_len > cols => ", one group a row".to_owned(),
        Format::Q4 { group_len } => format!(", groups of {group_len}"),
        _ => String::new(),
    };
    format!("{rows}x{cols}{groups}, from row {row_base}, flags {flags}")
}

/// Adds random codes, and scales that give weights of about the size of `1 / sqrt(cols)`.
pub(super) fn with_weights(case: Case, rng: &mut Rng, format: Format, rows: usize, cols: usize) -> Case {
    let codes: Vec<u32> = (0..rows * format.row_bytes(cols) / 4).map(|_| rng.next_u64() as u32).collect();
    let size = 1.0 / (cols as f32).sqrt();
    let scale = |rng: &mut Rng, range: f32| (0.6 + rng.value(0.4)) * size / range;
    let scales: Vec<u32> = (0..rows * format.scale_words(cols))
        .map(|_| {
            u32::from_le_bytes(match format {
                Format::Q4 { .. } => scale_zero(scale(rng, 8.0), 8.0 + rng.value(8.0)),
                Format::Q6 => scale_zero(scale(rng, 32.0), scale(rng, 32.0)),
                _ => scale_zero(scale(rng, 128.0), scale(rng, 128.0)),
            })
        })
        .collect();
    case.u32("weight", &codes).u32("scales", &scales)
}

/// What conformance runs for [`Format::Q4`].
pub fn cases_q4() -> Vec<Case> {
    [32, 64, 128, 1 << 40].into_iter().flat_map(|group_len| cases(Format::Q4 { group_len })).collect()
}

/// What conformance runs for [`Format::Q6`].
pub fn cases_q6() -> Vec<Case> {
    cases(Format::Q6)
}

/// What conformance runs for [`Format::Q8`].
pub fn cases_q8() -> Vec<Case> {
    cases(Format::Q8)
}

fn cases(format: Format) -> Vec<Case> {
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
