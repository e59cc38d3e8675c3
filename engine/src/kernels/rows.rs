//! What the kernels of a decode step share (`shaders/shared/rows.wgsl`): eight rows of a matrix times one vector, in every format
//! of the weights, with or without RMSNorm of the vector.
//!
//! `BITS` is that of the weights' format: 16 (f16), 8, 6 or 4.

use super::matvec::Params;
use super::{Case, Rng, fold, launch, named, padded, quant};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Launch, Profile, Tier, TwinBuffers};
use crate::weights::packed::Format;
use crate::weights::{Matrix, Part};

/// Rows that one workgroup computes.
pub(super) const ROWS: u32 = 8;

/// The RMSNorm of the input, where it is part of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// (padded dim) f32: its weight.
    pub gain: &'a crate::gpu::Buffer,
    /// Columns.
    pub dim: usize,
    /// Added to the mean square.
    pub eps: f32,
}

/// Does the norm belong into the kernel here? A GPU saves a dispatch by it; software Vulkan pays more for the loads.
pub fn takes_norm(tier: &Tier) -> bool {
    tier.profile == Profile::Gpu
}

/// The suffix of the names of kernels for `format`, and whether the norm is part of them.
pub(super) fn kernel_name(stem: &str, format: Format, norm: bool) -> String {
    let norm = if norm { "norm_" } else { "" };
    match format {
        Format::F16 => format!("{norm}{stem}"),
        Format::Q4 { .. } => format!("{norm}{stem}_q4"),
        Format::Q6 => format!("{norm}{stem}_q6"),
        Format::Q8 => format!("{norm}{stem}_q8"),
    }
}

/// The names of the kernels of `stem` for weights in these formats on `tier`.
pub(crate) fn kernel_names(stem: &str, formats: Vec<Format>, tier: &Tier) -> Vec<&'static str> {
    let names = formats.into_iter().filter_map(|format| named(&kernel_name(stem, format, takes_norm(tier))).ok());
    let mut names: Vec<_> = names.map(|kernel| kernel.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The variants that run on `tier`, the preferred one first.
///
/// A subgroup a workgroup where its size is known: on a GPU too, since eight rows a subgroup need no barrier.
pub(super) fn launches<const BITS: u32, const NORM: bool>(tier: &Tier, kernel: &'static str) -> Vec<Launch> {
    let (base, subgroup) = match (NORM, BITS) {
        (false, 16) => ("base", "subgroup"),
        (false, 8) => ("q8", "q8_subgroup"),
        (false, 6) => ("q6", "q6_subgroup"),
        (false, _) => ("q4", "q4_subgroup"),
        (true, 16) => ("norm", "norm_subgroup"),
        (true, 8) => ("norm_q8", "norm_q8_subgroup"),
        (true, 6) => ("norm_q6", "norm_q6_subgroup"),
        (true, _) => ("norm_q4", "norm_q4_subgroup"),
    };
    let mut launches = Vec::new();
    if let Some(size) = tier.fixed_subgroup().filter(|size| (8..=64).contains(size)) {
        if BITS == 16 && !NORM && tier.i64 && tier.profile == Profile::Cpu {
            launches.push(launch(kernel, "subgroup_i64", size));
        }
        launches.push(launch(kernel, subgroup, size));
    }
    // Where only barriers are left, a CPU wants few of them.
    launches.push(launch(kernel, base, if tier.profile == Profile::Cpu { 8 } else { 64 }));
    launches
}

/// Workgroups of `per_group` results each for `count` of them.
pub(super) fn workgroups(count: u32, per_group: u32, tier: &Tier) -> [u32; 3] {
    fold(count.div_ceil(per_group), tier)
}

/// The parameters of `part`.
pub(super) fn params(part: &Part, matrix: &Matrix, norm: Option<Norm<'_>>) -> Params {
    Params {
        row_words: padded(matrix.cols) as u32 / 8,
        n_rows: part.n_rows,
        row_base: part.row_base,
        scale_words: part.format.scale_words(matrix.cols) as u32,
        group_shift: part.format.group_shift(),
        dim: norm.map_or(0, |norm| norm.dim as u32),
        eps: norm.map_or(0.0, |norm| norm.eps),
        ..Params::default()
    }
}

/// What every such kernel binds of `part`, and of the norm.
pub(super) fn bindings(part: &Part, norm: Option<Norm<'_>>) -> Vec<BoundBuffer> {
    let mut bindings = vec![BoundBuffer::whole("weight", &part.codes)];
    bindings.extend(part.scales.as_ref().map(|scales| BoundBuffer::whole("scales", scales)));
    bindings.extend(norm.map(|norm| BoundBuffer::whole("gain", norm.gain)));
    bindings
}

/// May a kernel that computes more than the product take the rows of `matrix`? Not where something stands beside the product (a
/// bias, a LoRA), or where the input must be sorted for it.
pub(super) fn is_plain(matrix: &Matrix) -> bool {
    matrix.bias.is_none() && matrix.low_rank.is_empty() && matrix.parts.iter().all(|part| part.order.is_none())
}

/// The format that `BITS` and `params` describe.
pub(super) fn format<const BITS: u32>(params: Params) -> Format {
    match BITS {
        16 => Format::F16,
        8 => Format::Q8,
        6 => Format::Q6,
        _ => quant::q4(params),
    }
}

/// The rows in `weight` and `scales`, as f32.
pub(super) fn weights<const BITS: u32>(buffers: &TwinBuffers, weight: &str, scales: &str) -> Result<Vec<f32>> {
    match BITS {
        16 => buffers.f16(weight),
        _ => quant::weights(buffers, format::<BITS>(buffers.params("params")?), weight, scales),
    }
}

/// The vector that the rows are multiplied by.
pub(super) fn input<const NORM: bool>(buffers: &TwinBuffers) -> Result<Vec<f64>> {
    let params: Params = buffers.params("params")?;
    let x: Vec<f64> = buffers.f32("x")?.into_iter().take(params.row_words as usize * 8).map(f64::from).collect();
    if !NORM {
        return Ok(x);
    }
    let squares: f64 = x.iter().map(|x| x * x).sum();
    let scale = 1.0 / (squares / f64::from(params.dim) + f64::from(params.eps)).sqrt();
    Ok(x.into_iter().zip(buffers.f32("gain")?).map(|(x, gain)| x * scale * f64::from(gain)).collect())
}

/// The product of each row of `weight` and `x`.
pub(super) fn products(weight: &[f32], x: &[f64]) -> Vec<f64> {
    let dot = |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum();
    weight.chunks(x.len().max(1)).map(dot).collect()
}

/// Formats for the cases of kernels for `BITS`.
pub(super) fn case_formats<const BITS: u32>() -> Vec<Format> {
    match BITS {
        16 => vec![Format::F16],
        8 => vec![Format::Q8],
        6 => vec![Format::Q6],
        _ => [32, 128, 1 << 40].map(|group_len| Format::Q4 { group_len }).to_vec(),
    }
}

/// What the name of a case says of the groups of `format`.
pub(super) fn case_groups(format: Format, cols: usize) -> String {
    match format {
        Format::Q4 { group_len } if group_len > cols => ", one group a row".to_owned(),
        Format::Q4 { group_len } => format!(", groups of {group_len}"),
        _ => String::new(),
    }
}

/// Parameters of a case: `rows` rows of `cols` columns.
pub(super) fn case_params(format: Format, rows: usize, cols: usize, norm: bool) -> Params {
    let stride = padded(cols);
    Params {
        dim: if norm { cols as u32 } else { 0 },
        eps: 1e-6,
        scale_words: format.scale_words(cols) as u32,
        group_shift: format.group_shift(),
        row_words: stride as u32 / 8,
        n_rows: rows as u32,
        ..Params::default()
    }
}

/// Adds `rows` rows of weights of about the size of `1 / sqrt(cols)` in `format`.
pub(super) fn case_weights(
    case: Case,
    rng: &mut Rng,
    format: Format,
    (rows, cols): (usize, usize),
    [weight, scales]: [&'static str; 2],
) -> Case {
    match format {
        Format::F16 => case.f16(weight, &rng.rows(rows, cols, padded(cols), 1.0 / (cols as f32).sqrt())),
        _ => quant::case_weights(case, rng, format, (rows, cols), [weight, scales]),
    }
}

/// Adds the input of `cols` columns with values to `scale`, and its gain.
pub(super) fn case_input(case: Case, rng: &mut Rng, cols: usize, scale: f32, norm: bool) -> Case {
    let stride = padded(cols);
    let case = case.f32("x", &rng.rows(1, cols, stride, scale));
    if norm { case.f32("gain", &rng.rows(1, cols, stride, 2.0)) } else { case }
}
