//! gate_proj, up_proj and SwiGLU (Shazeer 2020, arXiv:2002.05202) of one token, and RMSNorm before them where that pays.

use super::matvec::Params;
use super::rows::{self, Norm};
use super::{Case, Data, Rng, named, preferred_of, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};
use crate::weights::{Matrix, Part};

/// Elements that one workgroup computes: each is a row of both matrices.
const ELEMENTS: u32 = rows::ROWS / 2;

/// The variants that run on `tier`.
pub fn launches<const BITS: u32, const NORM: bool>(tier: &Tier) -> Vec<Launch> {
    rows::launches::<BITS, NORM>(tier, "gate_up")
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin<const BITS: u32, const NORM: bool>(buffers: &mut TwinBuffers) -> Result<()> {
    let params: Params = buffers.params("params")?;
    let x = rows::input::<NORM>(buffers)?;
    let gate = rows::products(&rows::weights::<BITS>(buffers, "weight", "scales")?, &x);
    let up = rows::products(&rows::weights::<BITS>(buffers, "weight_b", "scales_b")?, &x);
    let mut h = buffers.f32("h")?;
    let pairs = gate.into_iter().zip(up.into_iter().skip(params.second_row as usize)).take(params.n_rows as usize);
    for (h, (gate, up)) in h.iter_mut().skip(params.row_base as usize).zip(pairs) {
        *h = (gate / (1.0 + (-gate).exp()) * up) as f32;
    }
    buffers.set_f32("h", &h);
    Ok(())
}

/// The two projections of one layer, bound.
#[derive(Debug)]
pub struct GateUp {
    parts: Vec<(Dispatch, [u32; 3], u64)>,
}

/// The buffers of [`GateUp`].
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// (padded cols) f32: normalised, or the residual stream with `norm`.
    pub x: &'a Buffer,
    /// RMSNorm of x, where it is part of the kernel.
    pub norm: Option<Norm<'a>>,
    /// (hidden_dim) f32.
    pub h: &'a Buffer,
}

impl GateUp {
    /// Binds `matrix` (gate and up, one below the other). None where the kernel cannot take it: with something beside the product,
    /// an input to be sorted, or rows of the two that lie in different formats or are cut in different places.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, label: &str, matrix: &Matrix, wiring: Wiring<'_>) -> Result<Option<Self>> {
        let pairs = match pairs(matrix) {
            Some(pairs) if rows::is_plain(matrix) => pairs,
            _ => return Ok(None),
        };
        let mut parts = Vec::new();
        for (gate, up, n_rows, second_row) in pairs {
            let kernel = named(&rows::kernel_name("gate_up", gate.format, wiring.norm.is_some()))?;
            let params = Params { n_rows, second_row, ..rows::params(gate, matrix, wiring.norm) };
            let mut bindings = rows::bindings(gate, wiring.norm);
            bindings.push(BoundBuffer::whole("weight_b", &up.codes));
            bindings.extend(up.scales.as_ref().map(|scales| BoundBuffer::whole("scales_b", scales)));
            bindings.extend([
                BoundBuffer::whole("params", &uniform(gpu, label, params)?),
                BoundBuffer::whole("x", wiring.x),
                BoundBuffer::whole("h", wiring.h),
            ]);
            let dispatch = gpu.dispatch(label, &preferred_of(gpu, kernel)?, kernel.twin, bindings)?;
            let cost = 2 * u64::from(n_rows) * matrix.cols as u64;
            parts.push((dispatch, rows::workgroups(n_rows, ELEMENTS, gpu.tier()), cost));
        }
        Ok(Some(Self { parts }))
    }

    /// Computes `h` of one token.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>) {
        for (dispatch, groups, cost) in &self.parts {
            recording.push(dispatch, *groups, *cost);
        }
    }
}

/// Which part of `matrix` holds rows of gate, and which the same rows of up: how many, and where up's begin in theirs.
fn pairs(matrix: &Matrix) -> Option<Vec<(&Part, &Part, u32, u32)>> {
    let hidden = matrix.rows as u32 / 2;
    if let [part] = matrix.parts.as_slice() {
        return Some(vec![(part, part, hidden, hidden)]);
    }
    let (gate, up) = matrix.parts.split_at(matrix.parts.len() / 2);
    let alike = |(gate, up): (&Part, &Part)| {
        gate.format == up.format && gate.n_rows == up.n_rows && gate.row_base + hidden == up.row_base
    };
    (gate.len() == up.len() && gate.iter().zip(up).all(alike))
        .then(|| gate.iter().zip(up).map(|(gate, up)| (gate, up, gate.n_rows, 0)).collect())
}

/// What conformance runs.
pub fn cases<const BITS: u32, const NORM: bool>() -> Vec<Case> {
    // (rows, columns, rows of the second buffer before the first that counts, first element, size of x): the last are the 7B's
    // columns, with values that make silu small and large.
    let shapes = [
        (1, 33, 0, 0, 1.0),
        (7, 192, 0, 3, 1.0),
        (13, 1025, 13, 0, 1.0),
        (129, 64, 2, 31, 8.0),
        (37, 4096, 37, 0, 40.0),
    ];
    let mut cases = Vec::new();
    for format in rows::case_formats::<BITS>() {
        for (seed, (n_rows, cols, second_row, row_base, size)) in shapes.into_iter().enumerate() {
            let mut rng = Rng::new(seed as u64);
            let cols: usize = if BITS == 16 { cols } else { usize::next_multiple_of(cols, 64) };
            let params = rows::case_params(format, n_rows, cols, NORM);
            let params = Params { second_row: second_row as u32, row_base: row_base as u32, ..params };
            let groups = rows::case_groups(format, cols);
            let name = format!("{n_rows}x{cols}{groups}, up from row {second_row}, to element {row_base}, x to {size}");
            // Codes are summed with their offset, which is then taken off: where that cancels, nothing evens out a single sum
            // (2.3e-9 on two drivers, 6 bits).
            let limit = if n_rows < 8 { 5e-9 } else { 1e-9 };
            let case = Case::new(name, limit, |case, _, tier| {
                rows::workgroups(case.params::<Params>("params").n_rows, ELEMENTS, tier)
            })
            .uniform("params", params);
            let case = rows::case_weights(case, &mut rng, format, (n_rows, cols), ["weight", "scales"]);
            let up = (second_row + n_rows, cols);
            let case = rows::case_weights(case, &mut rng, format, up, ["weight_b", "scales_b"]);
            let case = rows::case_input(case, &mut rng, cols, size, NORM);
            cases.push(case.output("h", Data::F32, row_base + n_rows + 5));
        }
    }
    cases
}
