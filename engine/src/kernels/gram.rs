//! `H += Xᵀ X`: what the inputs of a matrix have in common, summed over a text. GPTQ's Hessian, but for a factor.

use bytemuck::{Pod, Zeroable};

use super::{Case, Rng, Step, cpu_subgroup, launch, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// This part's first row of `h`, a multiple of eight.
    pub row_base: u32,
    /// Its rows, a multiple of eight.
    pub n_rows: u32,
    /// Columns of `h` / 4.
    pub col_vecs: u32,
    /// Elements from one token to the next in `x`, / 4.
    pub x_vecs: u32,
}

/// The variants that run on `tier`.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    let cpu = cpu_subgroup(tier).map(|size| launch("gram", "cpu_subgroup", size));
    cpu.into_iter().chain([launch("gram", "base", 64)]).collect()
}

fn workgroups(params: Params, launch: &Launch) -> [u32; 3] {
    let tiles = if launch.variant == "base" { 1 } else { 2 };
    [params.col_vecs.div_ceil(launch.invocations * tiles), params.n_rows / 8, 1]
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (params, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (x, mut h) = (buffers.f32("x")?, buffers.f32("h")?);
    let (cols, stride) = (params.col_vecs as usize * 4, params.x_vecs as usize * 4);
    let rows = h.chunks_mut(cols.max(1)).take(params.n_rows as usize);
    for (r, row) in rows.enumerate() {
        let i = params.row_base as usize + r;
        for (j, sum) in row.iter_mut().enumerate() {
            // Tiles of 8 x 4 that lie wholly below the diagonal stay as they are.
            if j / 4 * 4 + 3 < i / 8 * 8 {
                continue;
            }
            let tokens = x.chunks(stride.max(1)).take(step.n_tokens as usize);
            let added: f64 = tokens.map(|x| f64::from(x[i]) * f64::from(x[j])).sum();
            *sum = (f64::from(*sum) + added) as f32;
        }
    }
    buffers.set_f32("h", &h);
    Ok(())
}

/// One sum of products over some of its rows, bound.
#[derive(Debug)]
pub struct Gram {
    dispatch: Dispatch,
    params: Params,
}

impl Gram {
    /// Binds `x` (n_tokens, 4 x_vecs) → `h` (n_rows, 4 col_vecs), both f32.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, params: Params, step: &Buffer, x: &Buffer, h: &Buffer) -> Result<Self> {
        let bindings = vec![
            BoundBuffer::whole("params", &uniform(gpu, "gram", params)?),
            BoundBuffer::whole("step", step),
            BoundBuffer::whole("x", x),
            BoundBuffer::whole("h", h),
        ];
        let dispatch = gpu.dispatch("gram", &preferred(gpu, "gram")?, twin, bindings)?;
        Ok(Self { dispatch, params })
    }

    /// Adds the rows of a step.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        let Params { n_rows, col_vecs, .. } = self.params;
        let cost = u64::from(n_tokens) * u64::from(n_rows) * u64::from(col_vecs) * 4;
        recording.push(&self.dispatch, workgroups(self.params, self.dispatch.pipeline().launch()), cost);
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // Tokens, columns, the first row and rows of the part; the last is a part of the 7B's down_proj.
    let shapes = [(1, 8, 0, 8), (7, 64, 0, 64), (33, 96, 40, 24), (67, 640, 0, 640), (5, 11008, 8192, 16)];
    let case = |(seed, (n_tokens, cols, row_base, n_rows)): (usize, (usize, usize, usize, usize))| {
        let mut rng = Rng::new(seed as u64);
        let stride = cols + 8;
        let params = Params {
            row_base: row_base as u32,
            n_rows: n_rows as u32,
            col_vecs: cols as u32 / 4,
            x_vecs: stride as u32 / 4,
        };
        let name = format!("{n_tokens} tokens of {cols}, rows {row_base}..{}", row_base + n_rows);
        Case::new(name, 1e-10, |case, launch, _| workgroups(case.params("params"), launch))
            .uniform("params", params)
            .uniform("step", Step { pos: 3, n_tokens: n_tokens as u32 })
            .f32("x", &rng.values((n_tokens + 1) * stride, 2.0))
            // One row more than is changed.
            .f32("h", &rng.values((n_rows + 1) * cols, 10.0))
    };
    shapes.into_iter().enumerate().map(case).collect()
}
