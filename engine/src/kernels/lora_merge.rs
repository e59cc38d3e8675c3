//! LoRA merged into f16 weights on the device, at load.

use bytemuck::{Pod, Zeroable};

use super::{Case, Rng, fold, launch, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Gpu, Launch, Recording, Tier, TwinBuffers, Width};
use crate::weights::packed::Format;
use crate::weights::{Matrix, Merge};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Packed words (eight halves) of a row.
    pub row_words: u32,
    /// Rows to change.
    pub n_rows: u32,
    /// The first row's place in this part of the weights.
    pub weight_row: u32,
    /// The first row's place in `b`.
    pub b_row: u32,
    /// Sum of the ranks of all adapters.
    pub rank: u32,
}

/// The variants that run on `tier`.
pub fn launches(_tier: &Tier) -> Vec<Launch> {
    vec![launch("lora_merge", "base", 64)]
}

fn workgroups(params: Params, launch: &Launch, tier: &Tier) -> [u32; 3] {
    fold((params.n_rows * params.row_words).div_ceil(launch.invocations), tier)
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let params: Params = buffers.params("params")?;
    let (a, b, mut weight) = (buffers.f32("a")?, buffers.f32("b")?, buffers.f16("weight")?);
    let (cols, rank) = (params.row_words as usize * 8, params.rank as usize);
    let rows = weight.chunks_mut(cols.max(1)).skip(params.weight_row as usize).take(params.n_rows as usize);
    for (r, row) in rows.enumerate() {
        let factors = b.chunks(rank.max(1)).nth(params.b_row as usize + r).unwrap_or_default();
        for (c, weight) in row.iter_mut().enumerate() {
            let terms = factors.iter().enumerate().filter_map(|(k, b)| Some((b, a.get(k * cols + c)?)));
            let sum: f64 = terms.map(|(b, a)| f64::from(*b) * f64::from(*a)).sum();
            *weight = (f64::from(*weight) + sum) as f32;
        }
    }
    buffers.set_f16("weight", &weight);
    Ok(())
}

/// Merges the LoRAs that came with `matrix` into its f16 parts.
///
/// # Errors
/// What the device reports.
pub fn merge(gpu: &Gpu, matrix: &Matrix) -> Result<()> {
    for Merge { a, b, rank, rows } in &matrix.merges {
        for part in matrix.parts.iter().filter(|part| part.format == Format::F16) {
            let start = rows.start.max(part.row_base as usize);
            let end = rows.end.min((part.row_base + part.n_rows) as usize);
            if start >= end {
                continue;
            }
            let params = Params {
                row_words: padded(matrix.cols) as u32 / 8,
                n_rows: (end - start) as u32,
                weight_row: start as u32 - part.row_base,
                b_row: (start - rows.start) as u32,
                rank: *rank as u32,
            };
            let launch = preferred(gpu, "lora_merge")?;
            let bindings = vec![
                BoundBuffer::whole("params", &uniform(gpu, "lora_merge.params", params)?),
                BoundBuffer::whole("a", a),
                BoundBuffer::whole("b", b),
                BoundBuffer::whole("weight", &part.codes),
            ];
            let dispatch = gpu.dispatch("lora_merge", &launch, twin, bindings)?;
            let mut list = Recording::new(Width::Many);
            let cost = u64::from(params.n_rows) * matrix.cols as u64 * *rank as u64;
            list.push(&dispatch, workgroups(params, &launch, gpu.tier()), cost);
            gpu.run(&list, "merging a LoRA")?;
        }
    }
    Ok(())
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    let shapes = [(1, 8, 1, 0, 0), (7, 33, 3, 2, 1), (97, 288, 8, 0, 4), (64, 4096, 16, 5, 0)];
    let case = |(seed, (rows, cols, rank, b_row, weight_row)): (usize, (usize, usize, usize, usize, usize))| {
        let mut rng = Rng::new(seed as u64);
        let stride = padded(cols);
        let params = Params {
            row_words: stride as u32 / 8,
            n_rows: rows as u32,
            weight_row: weight_row as u32,
            b_row: b_row as u32,
            rank: rank as u32,
        };
        // A sum in f32 may round to the f16 next to the reference's.
        Case::new(format!("{rows}x{cols}, rank {rank}, row {b_row} to {weight_row}"), 1e-8, |case, launch, tier| {
            workgroups(case.params::<Params>("params"), launch, tier)
        })
        .uniform("params", params)
        .f32("a", &rng.rows(rank, cols, stride, 1.0))
        .f32("b", &rng.values((b_row + rows) * rank, 0.2))
        // One row more than is changed.
        .f16("weight", &rng.rows(weight_row + rows + 1, cols, stride, 1.0))
    };
    shapes.into_iter().enumerate().map(case).collect()
}
