//! RMSNorm: `y = x / sqrt(mean(x²) + eps) * weight` (Zhang and Sennrich 2019, arXiv:1910.07467).

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, Step, cpu_subgroup, launch, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Columns of a row.
    pub dim: u32,
    /// `vec4`s of a row with its padding.
    pub row_vecs: u32,
    /// Added to the mean square.
    pub eps: f32,
    /// 1: only the last row, written to row 0.
    pub last_only: u32,
}

/// The variants that run on `tier`.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    let base = launch("rms_norm", "base", tier.max_invocations.min(256));
    let subgroup = cpu_subgroup(tier).map(|size| launch("rms_norm", "subgroup", size));
    subgroup.into_iter().chain([base]).collect()
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (params, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (x, weight, mut y) = (buffers.f32("x")?, buffers.f32("weight")?, buffers.f32("y")?);
    let stride = (params.row_vecs as usize * 4).max(1);
    let rows = x.chunks(stride).take(step.n_tokens as usize);
    let skip = if params.last_only == 0 { 0 } else { (step.n_tokens as usize).saturating_sub(1) };
    for (row, out) in rows.skip(skip).zip(y.chunks_mut(stride)) {
        let sum: f64 = row.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        let scale = 1.0 / (sum / f64::from(params.dim) + f64::from(params.eps)).sqrt();
        for ((out, v), weight) in out.iter_mut().zip(row).zip(&weight) {
            *out = (f64::from(*v) * scale * f64::from(*weight)) as f32;
        }
    }
    buffers.set_f32("y", &y);
    Ok(())
}

/// One norm, bound.
#[derive(Debug)]
pub struct RmsNorm {
    dispatch: Dispatch,
    params: Params,
}

impl RmsNorm {
    /// Binds `x` (n_tokens, padded dim) → `y` of the same shape, or its row 0 with `last_only`.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(
        gpu: &Gpu,
        label: &str,
        params: Params,
        step: &Buffer,
        x: &Buffer,
        weight: &Buffer,
        y: &Buffer,
    ) -> Result<Self> {
        let launch = preferred(gpu, "rms_norm")?;
        let bindings = vec![
            BoundBuffer::whole("params", &uniform(gpu, label, params)?),
            BoundBuffer::whole("step", step),
            BoundBuffer::whole("x", x),
            BoundBuffer::whole("weight", weight),
            BoundBuffer::whole("y", y),
        ];
        Ok(Self { dispatch: gpu.dispatch(label, &launch, twin, bindings)?, params })
    }

    /// Normalises the rows of a step.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        let rows = if self.params.last_only == 0 { n_tokens } else { n_tokens.min(1) };
        recording.push(&self.dispatch, [rows, 1, 1], u64::from(rows) * u64::from(self.params.dim));
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // Large values: the residual stream of a real model goes beyond sqrt(65504). Small ones: eps decides.
    let shapes = [
        (1, 1, 1.0),
        (3, 33, 1.0),
        (2, 1025, 300.0),
        (5, 288, 1e-4),
        (2, 4096, 20000.0),
        (1, 11008, 1.0),
        (4, 100, 0.0),
    ];
    let mut cases = Vec::new();
    for (seed, (n_tokens, dim, scale)) in shapes.into_iter().enumerate() {
        for last_only in [0, 1] {
            let mut rng = Rng::new(seed as u64);
            let stride = padded(dim);
            let params = Params { dim: dim as u32, row_vecs: stride as u32 / 4, eps: 1e-6, last_only };
            let which = if last_only == 1 { ", the last only" } else { "" };
            let case =
                Case::new(format!("{n_tokens} tokens of {dim}, values to {scale}{which}"), 1e-10, |case, _, _| {
                    let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
                    [if params.last_only == 0 { step.n_tokens } else { 1 }, 1, 1]
                })
                .uniform("params", params)
                .uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 })
                .f32("x", &rng.rows(n_tokens, dim, stride, scale))
                .f32("weight", &rng.rows(1, dim, stride, 2.0))
                .output("y", Data::F32, (n_tokens + 1) * stride);
            cases.push(case);
        }
    }
    cases
}
