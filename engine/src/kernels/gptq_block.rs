//! GPTQ (Frantar et al. 2022, arXiv:2210.17323, algorithm 1) for a block of columns: rounding one after the other, with feedback.

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, launch, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};
use crate::weights::grid::{Grid, MAX_CODE, grid};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Params {
    /// Rows of the matrix.
    pub rows: u32,
    /// The block's first column.
    pub first: u32,
    /// Its columns, a multiple of eight.
    pub n_cols: u32,
    /// Columns from `first` on that get a scale and a zero of their own; 0 where the block goes on with the group's.
    pub grid_cols: u32,
    /// The group.
    pub group: u32,
    /// 1: the zero is 8.
    pub symmetric: u32,
    /// Elements from one row of `u` to the next.
    pub u_stride: u32,
}

/// The variants that run on `tier`.
pub fn launches(_tier: &Tier) -> Vec<Launch> {
    vec![launch("gptq_block", "base", 64)]
}

fn workgroups(params: Params, launch: &Launch) -> [u32; 3] {
    [params.rows.div_ceil(launch.invocations), 1, 1]
}

/// One row of a block.
struct Row {
    codes: Vec<u32>,
    errors: Vec<f64>,
    /// How near the nearest value came to where its code changes, in codes.
    margin: f64,
}

/// Rounds the `values` of one row of a block with `u` (n, stride).
fn row(values: &[f32], u: &[f32], stride: usize, Grid { scale, zero }: Grid) -> Row {
    let mut row = Row { codes: Vec::new(), errors: Vec::new(), margin: f64::INFINITY };
    let (scale, zero) = (f64::from(scale), f64::from(zero));
    for (j, value) in values.iter().enumerate() {
        let feedback: f64 = row.errors.iter().enumerate().map(|(i, error)| error * f64::from(u[i * stride + j])).sum();
        let value = f64::from(*value) - feedback;
        let place = value / scale;
        row.margin = row.margin.min((place.rem_euclid(1.0) - 0.5).abs());
        let code = (place.round_ties_even() + zero).clamp(0.0, f64::from(MAX_CODE));
        row.errors.push((value - scale * (code - zero)) / f64::from(u[j * stride + j]));
        row.codes.push(code as u32);
    }
    row
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let params: Params = buffers.params("params")?;
    let (u, w, mut grids) = (buffers.f32("u")?, buffers.f32("w")?, buffers.f32("grid")?);
    let (mut codes, mut e) = (buffers.u32("codes")?, buffers.f32("e")?);
    let (rows, first, n) = (params.rows as usize, params.first as usize, params.n_cols as usize);
    for r in 0..rows {
        let column = |j: usize| w[(first + j) * rows + r];
        let place = (params.group as usize * rows + r) * 2;
        if params.grid_cols > 0 {
            let new = grid((0..params.grid_cols as usize).map(column), params.symmetric == 1);
            (grids[place], grids[place + 1]) = (new.scale, new.zero);
        }
        let values: Vec<f32> = (0..n).map(column).collect();
        let grid = Grid { scale: grids[place], zero: grids[place + 1] };
        let row = row(&values, &u, params.u_stride as usize, grid);
        for (j, (code, error)) in row.codes.iter().zip(&row.errors).enumerate() {
            let word = &mut codes[(first + j) / 8 * rows + r];
            *word = if j % 8 == 0 { *code } else { *word | code << (j % 8 * 4) };
            e[j * rows + r] = *error as f32;
        }
    }
    buffers.set_f32("grid", &grids);
    buffers.set_f32("e", &e);
    buffers.insert("codes", bytemuck::cast_slice(&codes).to_vec());
    Ok(())
}

/// The buffers of one matrix.
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// (n_cols, u_stride) f32.
    pub u: &'a Buffer,
    /// (cols, rows) f32.
    pub w: &'a Buffer,
    /// (groups, rows, 2) f32.
    pub grid: &'a Buffer,
    /// (cols / 8, rows) words.
    pub codes: &'a Buffer,
    /// (n_cols, rows) f32.
    pub e: &'a Buffer,
}

/// The rounding of one matrix, bound; its sizes change from block to block.
#[derive(Debug)]
pub struct GptqBlock {
    dispatch: Dispatch,
    params: Buffer,
}

impl GptqBlock {
    /// Binds the buffers.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, wiring: Wiring<'_>) -> Result<Self> {
        let params = uniform(gpu, "gptq_block", Params::default())?;
        let bindings = vec![
            BoundBuffer::whole("params", &params),
            BoundBuffer::whole("u", wiring.u),
            BoundBuffer::whole("w", wiring.w),
            BoundBuffer::whole("grid", wiring.grid),
            BoundBuffer::whole("codes", wiring.codes),
            BoundBuffer::whole("e", wiring.e),
        ];
        let dispatch = gpu.dispatch("gptq_block", &preferred(gpu, "gptq_block")?, twin, bindings)?;
        Ok(Self { dispatch, params })
    }

    /// Sets `params` for what is submitted next, and records the block.
    ///
    /// # Errors
    /// What the device reports.
    pub fn record<'a>(&'a self, gpu: &Gpu, recording: &mut Recording<'a>, params: Params) -> Result<()> {
        gpu.write(&self.params, 0, bytemuck::bytes_of(&params))?;
        let cost = u64::from(params.rows) * u64::from(params.n_cols) * u64::from(params.n_cols) / 2;
        recording.push(&self.dispatch, workgroups(params, self.dispatch.pipeline().launch()), cost);
        Ok(())
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // Rows, the block's first column, its columns, columns of a new group, the group, symmetric, how far the weights reach.
    let shapes = [
        (8, 0, 8, 8, 0, false, 1.0),
        (104, 32, 32, 32, 1, false, 0.1),
        (104, 32, 32, 32, 1, true, 0.1),
        (72, 128, 128, 256, 1, false, 0.02),
        (72, 128, 128, 0, 0, false, 0.02),
        // Scales that f16 holds as subnormal numbers.
        (24, 0, 64, 64, 0, false, 1e-4),
    ];
    let mut cases = Vec::new();
    for (seed, (rows, first, n, grid_cols, group, symmetric, size)) in shapes.into_iter().enumerate() {
        let mut rng = Rng::new(seed as u64);
        let cols = first + n.max(grid_cols);
        let stride = cols - first;
        // As a Cholesky factor is: positive on the diagonal, the rest smaller.
        let mut u = rng.values(n * stride, 0.2);
        (0..n).for_each(|i| u[i * stride + i] = 1.0 + rng.value(0.5));
        let mut w = vec![0.0; cols * rows];
        let mut grids = vec![f32::from_bits(super::case::SENTINEL); (group + 1) * rows * 2];
        for r in 0..rows {
            // Codes are compared bit by bit: a row where one hangs on the last bit of a sum is no test. Some rows are all positive,
            // all negative and all zero.
            let (values, grid) = loop {
                let mut values = rng.values(stride, size);
                match r % 8 {
                    5 => values.iter_mut().for_each(|value| *value = value.abs()),
                    6 => values.iter_mut().for_each(|value| *value = -value.abs()),
                    7 => values.fill(0.0),
                    _ => {}
                }
                let grid = match grid_cols {
                    0 => Grid { scale: half::f16::from_f32(size * 0.13).to_f32(), zero: 1.0 + (r % 15) as f32 },
                    _ => grid(values.iter().copied().take(grid_cols), symmetric),
                };
                if row(&values[..n], &u, stride, grid).margin > 1e-4 {
                    break (values, grid);
                }
            };
            if grid_cols == 0 {
                let place = (group * rows + r) * 2;
                (grids[place], grids[place + 1]) = (grid.scale, grid.zero);
            }
            values.iter().enumerate().for_each(|(j, value)| w[(first + j) * rows + r] = *value);
        }
        let params = Params {
            rows: rows as u32,
            first: first as u32,
            n_cols: n as u32,
            grid_cols: grid_cols as u32,
            group: group as u32,
            symmetric: u32::from(symmetric),
            u_stride: stride as u32,
        };
        let kind = if symmetric { "symmetric" } else { "asymmetric" };
        let name = format!("{rows} rows, {n} columns from {first}, {grid_cols} for a new group, {kind}, to {size}");
        cases.push(
            Case::new(name, 1e-8, |case, launch, _| workgroups(case.params("params"), launch))
                .uniform("params", params)
                .f32("u", &u)
                .f32("w", &w)
                .f32("grid", &grids)
                .output("codes", Data::U32, (cols / 8 + 1) * rows)
                .output("e", Data::F32, n * rows + 5),
        );
    }
    cases
}
