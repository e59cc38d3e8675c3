//! Rows of the embedding table, widened to f32: the residual stream's first value.

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, Step, launch, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};
use crate::weights::{Matrix, Part};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Packed words (eight halves) of a row.
    pub row_words: u32,
    /// First row of this part.
    pub row_base: u32,
    /// Rows of this part.
    pub n_rows: u32,
}

/// The variants that run on `tier`.
pub fn launches(_tier: &Tier) -> Vec<Launch> {
    vec![launch("embed", "base", 64)]
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (params, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (tokens, table, mut x) = (buffers.u32("tokens")?, buffers.f16("table")?, buffers.f32("x")?);
    let cols = params.row_words as usize * 8;
    for (token, out) in tokens.iter().zip(x.chunks_mut(cols.max(1))).take(step.n_tokens as usize) {
        let row = token.wrapping_sub(params.row_base);
        if row < params.n_rows {
            let row = table.chunks(cols.max(1)).nth(row as usize).unwrap_or_default();
            out.iter_mut().zip(row).for_each(|(out, value)| *out = *value);
        }
    }
    buffers.set_f32("x", &x);
    Ok(())
}

/// The table's parts, bound.
#[derive(Debug)]
pub struct Embed {
    parts: Vec<Dispatch>,
    params: Params,
    invocations: u32,
}

impl Embed {
    /// Binds `table`.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, table: &Matrix, step: &Buffer, tokens: &Buffer, x: &Buffer) -> Result<Self> {
        let launch = preferred(gpu, "embed")?;
        let mut params = Params { row_words: padded(table.cols) as u32 / 8, row_base: 0, n_rows: 0 };
        let mut dispatches = Vec::with_capacity(table.parts.len());
        for Part { codes, row_base, n_rows, .. } in &table.parts {
            (params.row_base, params.n_rows) = (*row_base, *n_rows);
            let bindings = vec![
                BoundBuffer::whole("params", &uniform(gpu, "embed.params", params)?),
                BoundBuffer::whole("step", step),
                BoundBuffer::whole("tokens", tokens),
                BoundBuffer::whole("table", codes),
                BoundBuffer::whole("x", x),
            ];
            dispatches.push(gpu.dispatch("embed", &launch, twin, bindings)?);
        }
        Ok(Self { parts: dispatches, params, invocations: launch.invocations })
    }

    /// Embeds the tokens of a step.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        for part in &self.parts {
            recording.push(part, [self.params.row_words.div_ceil(self.invocations), n_tokens, 1], 0);
        }
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    let shapes = [(7, 33, 1), (1025, 64, 5), (311, 4096, 3), (512, 288, 33)];
    let mut cases = Vec::new();
    for (seed, (rows, cols, n_tokens)) in shapes.into_iter().enumerate() {
        // The whole table, and its second half alone (a part of a table that a binding cannot hold).
        for row_base in [0, rows / 2] {
            let mut rng = Rng::new(seed as u64);
            let (stride, n_rows) = (padded(cols), rows - row_base);
            let tokens: Vec<u32> = (0..n_tokens).map(|_| (rng.next_u64() % rows as u64) as u32).collect();
            let params = Params { row_words: stride as u32 / 8, row_base: row_base as u32, n_rows: n_rows as u32 };
            let case =
                Case::new(format!("{rows}x{cols}, {n_tokens} tokens, from row {row_base}"), 0.0, |case, launch, _| {
                    let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
                    [params.row_words.div_ceil(launch.invocations), step.n_tokens, 1]
                })
                .uniform("params", params)
                .uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 })
                .u32("tokens", &tokens)
                .f16("table", &rng.rows(n_rows, cols, stride, 65504.0))
                // One row more than there are tokens: it must not be touched.
                .output("x", Data::F32, (n_tokens + 1) * stride);
            cases.push(case);
        }
    }
    cases
}
