//! `W -= Eᵀ U` for some columns of W: how GPTQ (arXiv:2210.17323, section 3.3, step 2) carries the errors of a block of columns to
//! all later ones at once.

use bytemuck::{Pod, Zeroable};

use super::{Case, Rng, cpu_subgroup, launch, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Params {
    /// Rows / 4.
    pub row_vecs: u32,
    /// Columns of `e` that count.
    pub n_terms: u32,
    /// The first of them.
    pub e_row: u32,
    /// Columns of `w` to change, a multiple of eight.
    pub n_cols: u32,
    /// The first of them.
    pub to: u32,
    /// Elements of a row of `u` / 4.
    pub u_vecs: u32,
    /// Elements of a row of `u` before the first that counts, / 4.
    pub u_from: u32,
}

/// The variants that run on `tier`.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    let cpu = cpu_subgroup(tier).map(|size| launch("rank_update", "cpu_subgroup", size));
    cpu.into_iter().chain([launch("rank_update", "base", 64)]).collect()
}

fn workgroups(params: Params, launch: &Launch) -> [u32; 3] {
    let fours = if launch.variant == "base" { 1 } else { 2 };
    [params.row_vecs.div_ceil(launch.invocations * fours), params.n_cols / 8, 1]
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let params: Params = buffers.params("params")?;
    let (e, u, mut w) = (buffers.f32("e")?, buffers.f32("u")?, buffers.f32("w")?);
    let (rows, width) = (params.row_vecs as usize * 4, params.u_vecs as usize * 4);
    let cols = w.chunks_mut(rows.max(1)).skip(params.to as usize).take(params.n_cols as usize);
    for (c, col) in cols.enumerate() {
        for (r, value) in col.iter_mut().enumerate() {
            let term = |i: usize| {
                let factor = u[i * width + params.u_from as usize * 4 + c];
                f64::from(e[(params.e_row as usize + i) * rows + r]) * f64::from(factor)
            };
            let sum: f64 = (0..params.n_terms as usize).map(term).sum();
            *value = (f64::from(*value) - sum) as f32;
        }
    }
    buffers.set_f32("w", &w);
    Ok(())
}

/// The update of one matrix, bound; its sizes change from block to block.
#[derive(Debug)]
pub struct RankUpdate {
    dispatch: Dispatch,
    params: Buffer,
}

impl RankUpdate {
    /// Binds `e` (…, rows), `u` (…, 4 u_vecs) → `w` (cols, rows), all f32.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, e: &Buffer, u: &Buffer, w: &Buffer) -> Result<Self> {
        let params = uniform(gpu, "rank_update", Params::default())?;
        let bindings = vec![
            BoundBuffer::whole("params", &params),
            BoundBuffer::whole("e", e),
            BoundBuffer::whole("u", u),
            BoundBuffer::whole("w", w),
        ];
        let dispatch = gpu.dispatch("rank_update", &preferred(gpu, "rank_update")?, twin, bindings)?;
        Ok(Self { dispatch, params })
    }

    /// Sets `params` for what is submitted next, and records the update.
    ///
    /// # Errors
    /// What the device reports.
    pub fn record<'a>(&'a self, gpu: &Gpu, recording: &mut Recording<'a>, params: Params) -> Result<()> {
        gpu.write(&self.params, 0, bytemuck::bytes_of(&params))?;
        let cost = u64::from(params.row_vecs) * 4 * u64::from(params.n_cols) * u64::from(params.n_terms);
        recording.push(&self.dispatch, workgroups(params, self.dispatch.pipeline().launch()), cost);
        Ok(())
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // Rows, terms, the first of them, columns, the first of them, and how many u has before.
    let shapes = [
        (8, 1, 0, 8, 0, 0),
        (24, 7, 2, 16, 8, 4),
        (264, 32, 0, 96, 32, 32),
        (520, 128, 0, 160, 0, 0),
        (96, 128, 3, 4096, 8, 12),
    ];
    let case =
        |(seed, (rows, n_terms, e_row, n_cols, to, from)): (usize, (usize, usize, usize, usize, usize, usize))| {
            let mut rng = Rng::new(seed as u64);
            let width = from + n_cols;
            let params = Params {
                row_vecs: rows as u32 / 4,
                n_terms: n_terms as u32,
                e_row: e_row as u32,
                n_cols: n_cols as u32,
                to: to as u32,
                u_vecs: width as u32 / 4,
                u_from: from as u32 / 4,
            };
            let name = format!("{rows} rows, {n_terms} terms from {e_row}, {n_cols} columns from {to}");
            Case::new(name, 1e-11, |case, launch, _| workgroups(case.params("params"), launch))
                .uniform("params", params)
                .f32("e", &rng.values((e_row + n_terms) * rows, 1.0))
                .f32("u", &rng.values(n_terms * width, 0.3))
                // One column more than is changed.
                .f32("w", &rng.values((to + n_cols + 1) * rows, 2.0))
        };
    shapes.into_iter().enumerate().map(case).collect()
}
