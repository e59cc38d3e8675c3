//! Matrix times matrix: every projection of a prefill.

use super::matvec::{ADD_BIAS, ADD_TO_OUTPUT, Params, product};
use super::{Case, Data, Rng, Step, Workgroups, cpu_subgroup, launch, narrow, padded, quant};
use crate::error::Result;
use crate::gpu::{Launch, Profile, Tier, TwinBuffers, find_shader};
use crate::weights::packed::Format;

/// The variants that run on `tier`.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    variants(tier, "base", "cpu_subgroup", ["coop16", "coop8"])
}

/// As [`launches`], for [`Format::Q4`].
pub fn launches_q4(tier: &Tier) -> Vec<Launch> {
    variants(tier, "q4", "q4_cpu_subgroup", ["q4_coop16", "q4_coop8"])
}

/// As [`launches`], for [`Format::Q6`].
pub fn launches_q6(tier: &Tier) -> Vec<Launch> {
    variants(tier, "q6", "q6_cpu_subgroup", ["q6_coop16", "q6_coop8"])
}

/// As [`launches`], for [`Format::Q8`].
pub fn launches_q8(tier: &Tier) -> Vec<Launch> {
    variants(tier, "q8", "q8_cpu_subgroup", ["q8_coop16", "q8_coop8"])
}

fn variants(tier: &Tier, base: &'static str, cpu: &'static str, coop: [&'static str; 2]) -> Vec<Launch> {
    let cpu = cpu_subgroup(tier).map(|size| launch("matmul", cpu, size));
    let coop = coop.into_iter().zip([16, 8]).filter_map(|(variant, side)| coop_launch(tier, variant, side));
    let mut found: Vec<_> = cpu.into_iter().chain(coop).chain([launch("matmul", base, 64)]).collect();
    if tier.profile == Profile::Cpu {
        // In software there are no matrix units behind the matrices: only conformance runs them there.
        found.sort_by_key(wants_narrow);
    }
    found
}

/// The launch on matrix units of `side`, where there are such.
fn coop_launch(tier: &Tier, variant: &'static str, side: u32) -> Option<Launch> {
    // Four subgroups, as far as their size is known; the kernel makes do with fewer or more. What one invocation brings into
    // the tile sets the least.
    let least = if side == 16 { 128 } else { 32 };
    let known = if tier.profile == Profile::Cpu { tier.fixed_subgroup().unwrap_or(8) * 4 } else { 128 };
    let launch = launch("matmul", variant, known.max(least));
    let shader = find_shader("matmul", variant)?;
    (tier.has_coop(side) && tier.admits(shader, launch.invocations).is_ok()).then_some(launch)
}

/// Does it take its input as [`narrow`] makes it?
pub(super) fn wants_narrow(launch: &Launch) -> bool {
    launch.variant.contains("coop")
}

/// Workgroups for a matrix part of `n_rows` and `n_tokens` of input.
pub(super) fn workgroups(n_rows: u32, n_tokens: u32, launch: &Launch) -> [u32; 3] {
    let (rows, tokens) = match launch.variant {
        variant if variant.ends_with("cpu_subgroup") => (launch.invocations * 8, launch.invocations * 2),
        variant if variant.ends_with("coop16") => (128, 128),
        variant if variant.ends_with("coop8") => (64, 64),
        _ => return [n_rows.div_ceil(64), n_tokens.div_ceil(64), 1],
    };
    [n_tokens.div_ceil(tokens), n_rows.div_ceil(rows), 1]
}

/// What is right on matrix units. Each factor is rounded to f16's eleven bits, by at most 2^-12 of itself and 2^-13 or so on
/// average; errors of many products add up as the products do, so that the square of that is left, 1.5e-8 to 6e-8. The rule
/// for matmul is 5e-4; a wrong element of a thousand would pass it. A single sum may cancel, and is allowed more.
fn coop_limit(n_outputs: usize) -> f64 {
    if n_outputs < 16 { 1e-5 } else { 2e-7 }
}

/// Adds `x` (n_tokens rows of `stride` values), in f32 and as [`narrow`] makes it.
fn with_inputs(case: Case, x: &[f32], stride: usize, rows: usize) -> Case {
    let (half, scales) = narrow::narrowed(x, stride);
    let limit = coop_limit(rows * x.len() / stride.max(1));
    case.coop_limit(limit).f32("x", x).f16("half_x", &half).f32("x_scale", &scales)
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let weight = buffers.f16("weight")?;
    multiply(buffers, &weight)
}

/// The product with `x`, or, where a variant on matrix units is replaced, with what that has of it.
fn multiply(buffers: &mut TwinBuffers, weight: &[f32]) -> Result<()> {
    let (params, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    if buffers.bytes("x").is_err() {
        let (half, scales) = (buffers.f16("half_x")?, buffers.f32("x_scale")?);
        let tokens = half.chunks((params.row_words as usize * 8).max(1)).zip(scales);
        let x: Vec<f32> = tokens.flat_map(|(token, scale)| token.iter().map(move |value| value * scale)).collect();
        buffers.set_f32("x", &x);
    }
    product(buffers, weight, step.n_tokens as usize)
}

/// The reference for [`Format::Q4`].
///
/// # Errors
/// A missing buffer.
pub fn twin_q4(buffers: &mut TwinBuffers) -> Result<()> {
    let params: Params = buffers.params("params")?;
    twin_quant(buffers, quant::q4(params))
}

/// The reference for [`Format::Q6`].
///
/// # Errors
/// A missing buffer.
pub fn twin_q6(buffers: &mut TwinBuffers) -> Result<()> {
    twin_quant(buffers, Format::Q6)
}

/// The reference for [`Format::Q8`].
///
/// # Errors
/// A missing buffer.
pub fn twin_q8(buffers: &mut TwinBuffers) -> Result<()> {
    twin_quant(buffers, Format::Q8)
}

fn twin_quant(buffers: &mut TwinBuffers, format: Format) -> Result<()> {
    let weight = quant::weights(buffers, format, "weight", "scales")?;
    multiply(buffers, &weight)
}

/// What conformance runs for [`Format::Q4`].
pub fn cases_q4() -> Vec<Case> {
    [32, 128, 1 << 40].into_iter().flat_map(|group_len| cases_of(Format::Q4 { group_len })).collect()
}

/// What conformance runs for [`Format::Q6`].
pub fn cases_q6() -> Vec<Case> {
    cases_of(Format::Q6)
}

/// What conformance runs for [`Format::Q8`].
pub fn cases_q8() -> Vec<Case> {
    cases_of(Format::Q8)
}

fn cases_of(format: Format) -> Vec<Case> {
    quant_cases(format, &[(1, 64, 1, 0), (13, 192, 9, 3), (129, 256, 33, 0), (67, 4096, 65, 0)], case_workgroups)
}

fn case_workgroups(case: &Case, launch: &Launch, _: &Tier) -> [u32; 3] {
    let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
    workgroups(params.n_rows, step.n_tokens, launch)
}

/// Cases of weights in `format` times several tokens: rows, columns, tokens, and the place of the first row.
pub(super) fn quant_cases(
    format: Format,
    shapes: &[(usize, usize, usize, usize)],
    workgroups: Workgroups,
) -> Vec<Case> {
    let mut cases = Vec::new();
    for (seed, (rows, cols, n_tokens, row_base)) in shapes.iter().copied().enumerate() {
        for flags in [0, ADD_BIAS | ADD_TO_OUTPUT] {
            let mut rng = Rng::new(seed as u64);
            let y_stride = padded(row_base + rows);
            let params = quant::params(format, rows, cols, row_base, flags);
            let name = format!("{}, {n_tokens} tokens", quant::case_name(format, rows, cols, row_base, flags));
            let case = Case::new(name, 1e-9, workgroups)
                .uniform("params", Params { y_stride: y_stride as u32, ..params })
                .uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 });
            let case = with_inputs(case, &rng.values(n_tokens * cols, 1.0), cols, rows);
            let case = case.f32("bias", &rng.values(row_base + rows, 1.0));
            let case = quant::with_weights(case, &mut rng, format, rows, cols);
            cases.push(if flags & ADD_TO_OUTPUT == 0 {
                case.output("y", Data::F32, (n_tokens + 1) * y_stride)
            } else {
                case.f32("y", &rng.values((n_tokens + 1) * y_stride, 1.0))
            });
        }
    }
    cases
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
        // Activations beyond f16, as the SwiGLU product of a real layer has them, and far below it.
        (133, 1000, 130, 0, 70_000.0, 1.0),
        (31, 96, 70, 0, 1e-9, 1.0),
        (29, 64, 11, 0, 1e-3, 65504.0),
    ];
    half_cases(&shapes, case_workgroups)
}

/// Cases of f16 weights times several tokens: rows, columns, tokens, the place of the first row, and how large values are and
/// weights may be (1: so that sums are about as large as values).
pub(super) fn half_cases(shapes: &[(usize, usize, usize, usize, f32, f32)], workgroups: Workgroups) -> Vec<Case> {
    let mut cases = Vec::new();
    for (seed, (rows, cols, n_tokens, row_base, scale, weights)) in shapes.iter().copied().enumerate() {
        for flags in [0, ADD_BIAS, ADD_TO_OUTPUT, ADD_BIAS | ADD_TO_OUTPUT] {
            let mut rng = Rng::new(seed as u64);
            // Sums of about the size of x, or weights up to f16's largest number.
            let weight_scale = if weights == 1.0 { 1.0 / (cols as f32).sqrt() } else { weights };
            let stride = padded(cols);
            let n = row_base + rows;
            let y_stride = padded(n);
            let (row_words, n_rows, first) = (stride as u32 / 8, rows as u32, row_base as u32);
            let stride_out = y_stride as u32;
            let params =
                Params { row_words, n_rows, row_base: first, flags, y_stride: stride_out, ..Params::default() };
            let name = format!("{rows}x{cols}, {n_tokens} tokens, from row {row_base}, flags {flags}");
            let case = Case::new(name, 1e-9, workgroups)
                .uniform("params", params)
                .uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 })
                .f16("weight", &rng.rows(rows, cols, stride, weight_scale));
            let case = with_inputs(case, &rng.rows(n_tokens, cols, stride, scale), stride, rows);
            let case = case.f32("bias", &rng.values(n, scale));
            cases.push(if flags & ADD_TO_OUTPUT == 0 {
                case.output("y", Data::F32, (n_tokens + 1) * y_stride)
            } else {
                case.f32("y", &rng.values((n_tokens + 1) * y_stride, scale))
            });
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::{cases, twin};
    use crate::gpu::TwinBuffers;

    #[test]
    fn the_twin_takes_the_input_in_either_form() {
        for case in cases().iter().filter(|case| case.name.contains("13x1025") || case.name.contains("133x1000")) {
            let results = ["half_x", "x"].map(|left_out| {
                let mut buffers = TwinBuffers::default();
                for buffer in case.buffers.iter().filter(|buffer| buffer.name != left_out) {
                    buffers.insert(buffer.name, buffer.bytes.clone());
                }
                twin(&mut buffers).unwrap();
                buffers.f32("y").unwrap()
            });
            let [full, half] = &results;
            let error: f32 = full.iter().zip(half).map(|(full, half)| (full - half).powi(2)).sum();
            let norm: f32 = full.iter().map(|full| full * full).sum();
            assert!(error > 0.0 && error < 1e-6 * norm, "{}: {error} of {norm}", case.name);
        }
    }
}
