//! A weight matrix that the model multiplies by: its row parts bound to `matvec` for one token and to `matmul` for many.

use super::matvec::{self, ADD_BIAS, ADD_TO_OUTPUT};
use super::{matmul, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Recording, Role};
use crate::weights::{Matrix, Part};

/// Where a linear layer reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// The step uniform.
    pub step: &'a Buffer,
    /// (n_tokens, padded cols) f32.
    pub x: &'a Buffer,
    /// (n_tokens, y_stride) f32.
    pub y: &'a Buffer,
    /// Elements from one token to the next in `y`.
    pub y_stride: usize,
    /// Add to `y` (the residual stream) rather than replace it.
    pub add: bool,
}

/// One linear layer, bound.
#[derive(Debug)]
pub struct Linear {
    parts: Vec<Bound>,
    cols: u64,
}

#[derive(Debug)]
struct Bound {
    matvec: Dispatch,
    matvec_groups: [u32; 3],
    /// None where only ever one row is asked for (the head).
    matmul: Option<Dispatch>,
    n_rows: u32,
}

impl Linear {
    /// Binds `matrix` for single tokens and, with `batched`, for many.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, label: &str, matrix: &Matrix, wiring: Wiring<'_>, batched: bool) -> Result<Self> {
        let vector = preferred(gpu, "matvec")?;
        let many = preferred(gpu, "matmul")?;
        let bias = match &matrix.bias {
            Some(bias) => bias.clone(),
            None => gpu.create_buffer("no bias", 16, Role::Storage)?,
        };
        let flags = if matrix.bias.is_some() { ADD_BIAS } else { 0 } | if wiring.add { ADD_TO_OUTPUT } else { 0 };
        let mut parts = Vec::with_capacity(matrix.parts.len());
        for Part { buffer, row_base, n_rows } in &matrix.parts {
            let row_words = padded(matrix.cols) as u32 / 8;
            let part = matvec::Params { row_words, n_rows: *n_rows, row_base: *row_base, flags };
            let bind = |params: &Buffer| {
                vec![
                    BoundBuffer::whole("params", params),
                    BoundBuffer::whole("weight", buffer),
                    BoundBuffer::whole("x", wiring.x),
                    BoundBuffer::whole("bias", &bias),
                    BoundBuffer::whole("y", wiring.y),
                ]
            };
            let params = uniform(gpu, label, part)?;
            let dispatch = gpu.dispatch(label, &vector, matvec::twin, bind(&params))?;
            let batch = if batched {
                let params = uniform(gpu, label, matmul::Params { part, y_stride: wiring.y_stride as u32 })?;
                let mut bindings = bind(&params);
                bindings.push(BoundBuffer::whole("step", wiring.step));
                Some(gpu.dispatch(label, &many, matmul::twin, bindings)?)
            } else {
                None
            };
            let matvec_groups = matvec::workgroups(*n_rows, gpu.tier());
            parts.push(Bound { matvec: dispatch, matvec_groups, matmul: batch, n_rows: *n_rows });
        }
        Ok(Self { parts, cols: matrix.cols as u64 })
    }

    /// Multiplies the rows of a step: by `matmul` if it is a batch, however short, so that a token's result does not depend on
    /// how a prompt was cut.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        for part in &self.parts {
            let cost = u64::from(n_tokens) * u64::from(part.n_rows) * self.cols;
            match &part.matmul {
                Some(matmul) if recording.is_batched() => {
                    let groups = matmul::workgroups(part.n_rows, n_tokens, matmul.pipeline().launch());
                    recording.push(matmul, groups, cost);
                }
                _ => recording.push(&part.matvec, part.matvec_groups, cost),
            }
        }
    }
}
