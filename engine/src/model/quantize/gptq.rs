//! GPTQ (Frantar et al. 2022, arXiv:2210.17323) of one matrix on the device, block by block of columns.
//!
//! With U from [`Factor`], column after column is rounded, and what rounding leaves, divided by U's diagonal, times U's row, is taken
//! from the columns that are still to come. Rows do not know of each other: those of a matrix that no binding holds are done in
//! several passes. As in AutoGPTQ (`auto_gptq/quantization/gptq.py`), a group's grid follows from its columns as they are when the
//! group's turn comes.

use std::cmp::Ordering;

use super::factor::Factor;
use crate::error::Result;
use crate::gpu::{Buffer, Gpu, Recording, Role, Width};
use crate::kernels::gptq_block::{self, GptqBlock, Wiring};
use crate::kernels::rank_update::{self, RankUpdate};
use crate::weights::gptq_write::Settings;
use crate::weights::grid::{Grid, Quantized};

/// Columns of a block, unless a group is shorter: then a block is a group, and no group begins inside of a block.
const BLOCK: usize = 128;

/// What is known of the inputs of a matrix.
pub(super) struct Inputs {
    n: usize,
    /// The upper triangle of `Xᵀ X` (n, n).
    sums: Vec<f32>,
    /// The input at each place.
    order: Vec<u32>,
    factor: Factor,
}

impl Inputs {
    /// Of the upper triangle of `Xᵀ X` (n, n).
    pub(super) fn new(
        n: usize,
        mut sums: Vec<f32>,
        settings: &Settings,
        each: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<Self> {
        // Inputs that are always zero: their weights are never asked for, and are set to zero.
        let mut order: Vec<u32> = (0..n as u32).collect();
        let mean = (0..n).map(|i| f64::from(sums[i * n + i])).sum::<f64>() / n.max(1) as f64;
        let damp = settings.damp * mean;
        if settings.act_order {
            order.sort_by(|a, b| sums[*b as usize * (n + 1)].total_cmp(&sums[*a as usize * (n + 1)]));
        }
        let at = |i: usize, j: usize| {
            let (a, b) = (order[i] as usize, order[j] as usize);
            let sum = f64::from(sums[a.min(b) * n + a.max(b)]);
            match (i == j, sum == 0.0) {
                (true, true) => {
                    if mean > 0.0 {
                        mean
                    } else {
                        1.0
                    }
                }
                (true, false) => sum + damp,
                _ => sum,
            }
        };
        let factor = Factor::new(n, at, each)?;
        sums.shrink_to_fit();
        Ok(Self { n, sums, order, factor })
    }

    fn is_dead(&self, col: usize) -> bool {
        self.sums[col * self.n + col] == 0.0
    }

    /// `(xᵀ x)` of the inputs at two places.
    fn product(&self, i: usize, j: usize) -> f32 {
        let (a, b) = (self.order[i] as usize, self.order[j] as usize);
        self.sums[a.min(b) * self.n + a.max(b)]
    }
}

/// `||(W - Q) X||² / ||W X||²` of a matrix that was quantised, and of the same by plain rounding.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errors {
    pub(super) gptq: f64,
    pub(super) nearest: f64,
}

/// Quantises `values` (rows, cols) for `inputs`.
pub(super) fn quantize(
    gpu: &Gpu,
    inputs: &Inputs,
    values: &mut [f32],
    settings: &Settings,
    each: &mut dyn FnMut(f64) -> Result<()>,
) -> Result<(Quantized, Errors)> {
    let cols = inputs.n;
    let rows = values.len() / cols.max(1);
    let group_len = settings.group_of(cols);
    let plain = Quantized::nearest(values, rows, cols, group_len, settings.symmetric);
    for col in (0..cols).filter(|col| inputs.is_dead(*col)) {
        values.iter_mut().skip(col).step_by(cols).for_each(|value| *value = 0.0);
    }
    let mut out = Quantized {
        rows,
        cols,
        group_len,
        codes: vec![0; cols / 8 * rows],
        grids: vec![Grid { scale: 1.0, zero: 8.0 }; cols.div_ceil(group_len) * rows],
        order: if settings.act_order { Some(inputs.order.clone()) } else { None },
    };
    let per_pass = rows_per_pass(gpu, cols, group_len);
    let pass = Pass::new(gpu, inputs, per_pass.min(rows), group_len)?;
    let (mut error, mut nearest, mut norm) = (0.0, 0.0, 0.0);
    for first in (0..rows).step_by(per_pass) {
        let n_rows = per_pass.min(rows - first);
        let at = |row: usize, place: usize| values[(first + row) * cols + inputs.order[place] as usize];
        let columns = |of: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
            (0..cols).flat_map(|place| (0..n_rows).map(move |row| of(row, place))).collect()
        };
        let (base, share) = (first as f64 / rows as f64, n_rows as f64 / rows as f64);
        let w = columns(&at);
        let (codes, grids) = pass.round(&w, n_rows, settings, &mut |done| each(base + share * 0.5 * done))?;
        for (from, to) in codes.chunks_exact(n_rows).zip(out.codes.chunks_exact_mut(rows)) {
            to[first..first + n_rows].copy_from_slice(from);
        }
        for (from, to) in grids.chunks_exact(n_rows).zip(out.grids.chunks_exact_mut(rows)) {
            to[first..first + n_rows].copy_from_slice(from);
        }
        norm += pass.norm(&w, n_rows)?;
        each(base + share * 0.7)?;
        error += pass.norm(&columns(&|row, place| at(row, place) - out.weight(place, first + row)), n_rows)?;
        each(base + share * 0.85)?;
        let difference = |row, place: usize| at(row, place) - plain.weight(inputs.order[place] as usize, first + row);
        nearest += pass.norm(&columns(&difference), n_rows)?;
        each(base + share)?;
    }
    let norm = if norm > 0.0 { norm } else { 1.0 };
    Ok((out, Errors { gptq: error.max(0.0) / norm, nearest: nearest.max(0.0) / norm }))
}

/// Rows whose weights fit one binding: a multiple of eight.
fn rows_per_pass(gpu: &Gpu, cols: usize, group_len: usize) -> usize {
    // The buffers of a pass: weights, a copy as large for the norm, and the grids.
    let row_bytes = (cols * 4).max(cols.div_ceil(group_len) * 8);
    let bytes = usize::try_from(gpu.tier().max_matrix_part.min(128 << 20)).unwrap_or(128 << 20);
    (bytes / row_bytes.max(1) / 8 * 8).max(8)
}

/// The buffers of some rows, bound.
struct Pass<'a> {
    gpu: &'a Gpu,
    inputs: &'a Inputs,
    group_len: usize,
    block_len: usize,
    u: Buffer,
    w: Buffer,
    grid: Buffer,
    codes: Buffer,
    products: Buffer,
    block: GptqBlock,
    update: RankUpdate,
    multiply: RankUpdate,
}

impl<'a> Pass<'a> {
    fn new(gpu: &'a Gpu, inputs: &'a Inputs, rows: usize, group_len: usize) -> Result<Self> {
        let cols = inputs.n;
        let storage = |name: &str, words: usize| gpu.create_buffer(name, (words * 4) as u64, Role::Storage);
        let u = storage("rows of the factor", BLOCK.min(cols) * cols)?;
        let w = storage("weights to round", cols * rows)?;
        let grid = storage("grids", cols.div_ceil(group_len) * rows * 2)?;
        let codes = storage("codes", cols / 8 * rows)?;
        let e = storage("errors of a block", BLOCK.min(cols) * rows)?;
        let products = storage("products", cols * rows)?;
        let block = GptqBlock::new(gpu, Wiring { u: &u, w: &w, grid: &grid, codes: &codes, e: &e })?;
        let update = RankUpdate::new(gpu, &e, &u, &w)?;
        let multiply = RankUpdate::new(gpu, &w, &u, &products)?;
        let block_len = BLOCK.min(group_len).min(cols);
        Ok(Self { gpu, inputs, group_len, block_len, u, w, grid, codes, products, block, update, multiply })
    }

    /// The codes (cols / 8, rows) and grids (groups, rows) of `w` (cols, rows).
    fn round(
        &self,
        w: &[f32],
        rows: usize,
        settings: &Settings,
        each: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<(Vec<u32>, Vec<Grid>)> {
        let (gpu, n) = (self.gpu, self.inputs.n);
        gpu.write(&self.w, 0, bytemuck::cast_slice(w))?;
        for first in (0..n).step_by(self.block_len) {
            each(first as f64 / n as f64)?;
            let n_cols = self.block_len.min(n - first);
            let rest = n - first - n_cols;
            let factor = |row: usize, col: usize| if col < row { 0.0 } else { self.inputs.factor.at(row, col) as f32 };
            let u: Vec<f32> =
                (first..first + n_cols).flat_map(|row| (first..n).map(move |col| factor(row, col))).collect();
            gpu.write(&self.u, 0, bytemuck::cast_slice(&u))?;
            let begins = first.is_multiple_of(self.group_len);
            let params = gptq_block::Params {
                rows: rows as u32,
                first: first as u32,
                n_cols: n_cols as u32,
                grid_cols: if begins { self.group_len.min(n - first) as u32 } else { 0 },
                group: (first / self.group_len) as u32,
                symmetric: u32::from(settings.symmetric),
                u_stride: (n - first) as u32,
            };
            let mut list = Recording::new(Width::Many);
            self.block.record(gpu, &mut list, params)?;
            let params = rank_update::Params {
                row_vecs: rows as u32 / 4,
                n_terms: n_cols as u32,
                e_row: 0,
                n_cols: rest as u32,
                to: (first + n_cols) as u32,
                u_vecs: (n - first) as u32 / 4,
                u_from: n_cols as u32 / 4,
            };
            self.update.record(gpu, &mut list, params)?;
            gpu.run(&list, "quantising")?;
        }
        let read = |buffer: &Buffer, words: usize| gpu.read(buffer, 0, (words * 4) as u64);
        let codes = bytemuck::pod_collect_to_vec(&read(&self.codes, n / 8 * rows)?);
        let grids: Vec<[f32; 2]> =
            bytemuck::pod_collect_to_vec(&read(&self.grid, n.div_ceil(self.group_len) * rows * 2)?);
        Ok((codes, grids.into_iter().map(|[scale, zero]| Grid { scale, zero }).collect()))
    }

    /// `||V X||²` of `v` (cols, rows).
    fn norm(&self, v: &[f32], rows: usize) -> Result<f64> {
        let (gpu, n) = (self.gpu, self.inputs.n);
        gpu.write(&self.w, 0, bytemuck::cast_slice(v))?;
        gpu.write(&self.products, 0, &vec![0; v.len() * 4])?;
        let block_len = BLOCK.min(n);
        for first in (0..n).step_by(block_len) {
            let n_terms = block_len.min(n - first);
            // One triangle is enough: each pair of places counts twice.
            let product = |i: usize, j: usize| match i.cmp(&j) {
                Ordering::Less => 2.0 * self.inputs.product(i, j),
                Ordering::Equal => self.inputs.product(i, j),
                Ordering::Greater => 0.0,
            };
            let rows_of = first..first + n_terms;
            let h: Vec<f32> = rows_of.flat_map(|i| (first..n).map(move |j| product(i, j))).collect();
            gpu.write(&self.u, 0, bytemuck::cast_slice(&h))?;
            let params = rank_update::Params {
                row_vecs: rows as u32 / 4,
                n_terms: n_terms as u32,
                e_row: first as u32,
                n_cols: (n - first) as u32,
                to: first as u32,
                u_vecs: (n - first) as u32 / 4,
                u_from: 0,
            };
            let mut list = Recording::new(Width::Many);
            self.multiply.record(gpu, &mut list, params)?;
            gpu.run(&list, "quantising")?;
        }
        let products = gpu.read(&self.products, 0, (v.len() * 4) as u64)?;
        let products = products.as_chunks::<4>().0.iter().map(|word| f64::from(f32::from_le_bytes(*word)));
        Ok(-products.zip(v).map(|(product, value)| product * f64::from(*value)).sum::<f64>())
    }
}

#[cfg(test)]
#[path = "gptq_tests.rs"]
mod tests;
