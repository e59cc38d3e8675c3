//! Matrix times up to eight vectors in one pass over the weights: every projection of a step that tests drafted tokens.

use super::matmul::{half_cases, quant_cases};
use super::matvec::{Params, product};
use super::{Case, Step, cpu_subgroup, launch, rows};
use crate::error::Result;
use crate::gpu::{Launch, Profile, Tier, TwinBuffers};

/// The most tokens of one step.
pub const MOST: usize = 8;

/// The variants that run on `tier`.
pub fn launches<const BITS: u32>(tier: &Tier) -> Vec<Launch> {
    let (base, subgroup, cpu) = match BITS {
        16 => ("base", "subgroup", "cpu_subgroup"),
        8 => ("q8", "q8_subgroup", "q8_cpu_subgroup"),
        6 => ("q6", "q6_subgroup", "q6_cpu_subgroup"),
        _ => ("q4", "q4_subgroup", "q4_cpu_subgroup"),
    };
    let fixed = tier.fixed_subgroup().filter(|size| (8..=64).contains(size));
    let i64 = cpu_subgroup(tier).filter(|_| BITS == 16 && tier.i64).map(|size| ("cpu_subgroup_i64", size));
    let found = [i64, cpu_subgroup(tier).map(|size| (cpu, size)), fixed.map(|size| (subgroup, size))];
    let base = (base, if tier.profile == Profile::Cpu { 8 } else { 64 });
    found.into_iter().flatten().chain([base]).map(|(variant, size)| launch("columns", variant, size)).collect()
}

/// Workgroups for a matrix part of `n_rows`.
pub(super) fn workgroups(n_rows: u32, launch: &Launch, tier: &Tier) -> [u32; 3] {
    let per_group = if launch.variant.contains("cpu_subgroup") { launch.invocations * 8 } else { rows::ROWS };
    rows::workgroups(n_rows, per_group, tier)
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin<const BITS: u32>(buffers: &mut TwinBuffers) -> Result<()> {
    let weight = rows::weights::<BITS>(buffers, "weight", "scales")?;
    let step: Step = buffers.params("step")?;
    product(buffers, &weight, step.n_tokens as usize)
}

/// What conformance runs.
pub fn cases<const BITS: u32>() -> Vec<Case> {
    let groups =
        |case: &Case, launch: &Launch, tier: &Tier| workgroups(case.params::<Params>("params").n_rows, launch, tier);
    if BITS == 16 {
        // Every number of tokens; primes, one more than a power of two, the 7B's columns; large and tiny activations.
        let shapes = [
            (1, 1, 2, 0, 1.0, 1.0),
            (7, 33, 1, 3, 1.0, 1.0),
            (13, 1025, 5, 0, 1.0, 1.0),
            (97, 288, 8, 31, 1.0, 1.0),
            (129, 64, 7, 0, 1.0, 1.0),
            (64, 4096, 3, 0, 1.0, 1.0),
            (67, 11008, 8, 0, 200.0, 1.0),
            (31, 96, 4, 0, 1e-9, 1.0),
            (29, 64, 6, 0, 1e-3, 65504.0),
        ];
        return half_cases(&shapes, groups);
    }
    let shapes = [(1, 64, 2, 0), (13, 192, 5, 3), (129, 256, 8, 0), (67, 4096, 3, 0), (37, 128, 7, 0)];
    rows::case_formats::<BITS>().into_iter().flat_map(|format| quant_cases(format, &shapes, groups)).collect()
}
