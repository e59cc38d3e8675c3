//! A weight matrix that the model multiplies by: its row parts bound to the kernels for one token, for a few and for many, each in
//! the format that the part has.

use super::matvec::{self, ADD_BIAS, ADD_TO_OUTPUT};
use super::narrow::Narrow;
use super::{columns, gather, matmul, named, padded, preferred, preferred_of, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Role, Tier, Twin, Width};
use crate::weights::packed::Format;
use crate::weights::{LowRank, Matrix, Part};

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
    /// Room for what comes between.
    pub between: Between<'a>,
}

/// Buffers for intermediate results, shared by all layers.
#[derive(Clone, Copy, Debug)]
pub struct Between<'a> {
    /// (n_tokens, padded cols) f32: the input in another order, for the parts that want it so.
    pub sorted: &'a Buffer,
    /// (n_tokens, padded rank) f32: a LoRA's `a · x`.
    pub low_rank: &'a Buffer,
    /// (n_tokens, padded cols) f16 and (n_tokens) f32: the input as matrix units take it, and its scales.
    pub narrow: [&'a Buffer; 2],
}

/// One linear layer, bound.
#[derive(Debug)]
pub struct Linear {
    parts: Vec<Bound>,
    /// Both factors of each LoRA beside it.
    low_rank: Vec<[Linear; 2]>,
    cols: u64,
}

#[derive(Debug)]
struct Bound {
    /// Brings the input into this part's order; None where the input is taken as it is, or the part before has sorted it.
    gather: Option<Dispatch>,
    /// Brings the input into f16 for `matmul`; None where it takes f32, or the part before has done it.
    narrow: Option<Narrow>,
    matvec: Dispatch,
    matvec_groups: [u32; 3],
    /// None where only ever one row is asked for (the head).
    columns: Option<(Dispatch, [u32; 3])>,
    /// None where never many are.
    matmul: Option<Dispatch>,
    n_rows: u32,
}

/// The kernels for one token, a few and many of weights in `format`.
fn kernels(format: Format) -> [&'static str; 3] {
    match format {
        Format::F16 => ["matvec", "columns", "matmul"],
        Format::Q4 { .. } => ["matvec_q4", "columns_q4", "matmul_q4"],
        Format::Q6 => ["matvec_q6", "columns_q6", "matmul_q6"],
        Format::Q8 => ["matvec_q8", "columns_q8", "matmul_q8"],
    }
}

/// The names of the kernels that multiply by matrices in these formats.
pub(crate) fn kernel_names(formats: impl IntoIterator<Item = Format>) -> Vec<&'static str> {
    let mut names: Vec<_> = formats.into_iter().flat_map(kernels).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Do the kernels for many tokens take their input in f16 on `tier`?
pub(crate) fn narrows(tier: &Tier) -> bool {
    matmul::launches(tier).first().is_some_and(matmul::wants_narrow)
}

fn chosen(gpu: &Gpu, name: &str) -> Result<(Launch, Twin)> {
    let kernel = named(name)?;
    Ok((preferred_of(gpu, kernel)?, kernel.twin))
}

impl Linear {
    /// Binds `matrix` for steps up to the width `most`.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, label: &str, matrix: &Matrix, wiring: Wiring<'_>, most: Width) -> Result<Self> {
        let bias = match &matrix.bias {
            Some(bias) => bias.clone(),
            None => gpu.create_buffer("no bias", 16, Role::Storage)?,
        };
        let flags = if matrix.bias.is_some() { ADD_BIAS } else { 0 } | if wiring.add { ADD_TO_OUTPUT } else { 0 };
        let mut parts: Vec<Bound> = Vec::with_capacity(matrix.parts.len());
        let mut sorted_by: Option<&Buffer> = None;
        // The order of the input that lies there in f16.
        let mut narrowed: Option<Option<&Buffer>> = None;
        for part in &matrix.parts {
            let Part { codes, scales, format, row_base, n_rows, order } = part;
            let params = matvec::Params {
                row_words: padded(matrix.cols) as u32 / 8,
                n_rows: *n_rows,
                row_base: *row_base,
                flags,
                y_stride: wiring.y_stride as u32,
                scale_words: format.scale_words(matrix.cols) as u32,
                group_shift: format.group_shift(),
                ..matvec::Params::default()
            };
            let params = uniform(gpu, label, params)?;
            let x = if order.is_some() { wiring.between.sorted } else { wiring.x };
            let input = BoundBuffer::whole("x", x);
            let mut bindings = vec![
                BoundBuffer::whole("params", &params),
                BoundBuffer::whole("weight", codes),
                BoundBuffer::whole("bias", &bias),
                BoundBuffer::whole("y", wiring.y),
            ];
            bindings.extend(scales.as_ref().map(|scales| BoundBuffer::whole("scales", scales)));
            let [vector, columns, many] = kernels(*format);
            let (launch, twin) = chosen(gpu, vector)?;
            let with_input = [bindings.as_slice(), std::slice::from_ref(&input)].concat();
            let dispatch = gpu.dispatch(label, &launch, twin, with_input)?;
            let (mut few, mut batch, mut narrow) = (None, None, None);
            if most != Width::One {
                let (launch, twin) = chosen(gpu, columns)?;
                bindings.push(BoundBuffer::whole("step", wiring.step));
                let with_input = [bindings.as_slice(), std::slice::from_ref(&input)].concat();
                let groups = columns::workgroups(*n_rows, &launch, gpu.tier());
                few = Some((gpu.dispatch(label, &launch, twin, with_input)?, groups));
            }
            if most == Width::Many {
                let (launch, twin) = chosen(gpu, many)?;
                if matmul::wants_narrow(&launch) {
                    let [half, scale] = wiring.between.narrow;
                    bindings.extend([BoundBuffer::whole("half_x", half), BoundBuffer::whole("x_scale", scale)]);
                    let is_there = narrowed.is_some_and(|before| match (before, order) {
                        (Some(before), Some(order)) => before.is(order),
                        (before, order) => before.is_none() && order.is_none(),
                    });
                    if !is_there {
                        narrow = Some(Narrow::new(gpu, label, matrix.cols, wiring.step, x, [half, scale])?);
                        narrowed = Some(order.as_ref());
                    }
                } else {
                    bindings.push(input);
                }
                batch = Some(gpu.dispatch(label, &launch, twin, bindings)?);
            }
            let sort = match order {
                Some(order) if sorted_by.is_none_or(|before| !before.is(order)) => {
                    sorted_by = Some(order);
                    Some(sorter(gpu, label, order, matrix.cols, wiring)?)
                }
                _ => None,
            };
            let matvec_groups = matvec::workgroups(*n_rows, gpu.tier());
            parts.push(Bound {
                gather: sort,
                narrow,
                matvec: dispatch,
                matvec_groups,
                columns: few,
                matmul: batch,
                n_rows: *n_rows,
            });
        }
        let mut low_rank = Vec::with_capacity(matrix.low_rank.len());
        for LowRank { a, b } in &matrix.low_rank {
            let between = wiring.between.low_rank;
            let y_stride = padded(a.rows);
            let first = Self::new(gpu, label, a, Wiring { y: between, y_stride, add: false, ..wiring }, most)?;
            let second = Self::new(gpu, label, b, Wiring { x: between, add: true, ..wiring }, most)?;
            low_rank.push([first, second]);
        }
        Ok(Self { parts, low_rank, cols: matrix.cols as u64 })
    }

    /// Multiplies the rows of a step: by the matrix kernel if it is a part of a prompt, however short, so that a token's result does
    /// not depend on how a prompt was cut.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        for part in &self.parts {
            if let Some(gather) = &part.gather {
                let groups = gather::workgroups(self.cols as u32, n_tokens, gather.pipeline().launch());
                recording.push(gather, groups, 0);
            }
            let cost = u64::from(n_tokens) * u64::from(part.n_rows) * self.cols;
            match (recording.width(), &part.columns, &part.matmul) {
                (Width::Few, Some((columns, groups)), _) => recording.push(columns, *groups, cost),
                (Width::Many, _, Some(matmul)) => {
                    if let Some(narrow) = &part.narrow {
                        narrow.record(recording, n_tokens);
                    }
                    let groups = matmul::workgroups(part.n_rows, n_tokens, matmul.pipeline().launch());
                    recording.push(matmul, groups, cost);
                }
                _ => recording.push(&part.matvec, part.matvec_groups, cost),
            }
        }
        for factor in self.low_rank.iter().flatten() {
            factor.record(recording, n_tokens);
        }
    }
}

/// Brings the columns of the input into `order`.
fn sorter(gpu: &Gpu, label: &str, order: &Buffer, cols: usize, wiring: Wiring<'_>) -> Result<Dispatch> {
    let params = uniform(gpu, label, gather::Params { cols: cols as u32 })?;
    let bindings = vec![
        BoundBuffer::whole("params", &params),
        BoundBuffer::whole("step", wiring.step),
        BoundBuffer::whole("order", order),
        BoundBuffer::whole("x", wiring.x),
        BoundBuffer::whole("y", wiring.between.sorted),
    ];
    gpu.dispatch(label, &preferred(gpu, "gather")?, gather::twin, bindings)
}
