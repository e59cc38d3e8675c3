//! SwiGLU: `h = silu(gate) * up` (Shazeer 2020, arXiv:2002.05202), in f32.

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, Step, launch, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Elements of gate, of up and of the result.
    pub hidden_dim: u32,
    /// Elements from one token to the next in `gate_up`.
    pub in_stride: u32,
    /// Elements from one token to the next in `h`.
    pub out_stride: u32,
}

/// The variants that run on `tier`.
pub fn launches(_tier: &Tier) -> Vec<Launch> {
    vec![launch("swiglu", "base", 64)]
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (params, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (gate_up, mut h) = (buffers.f32("gate_up")?, buffers.f32("h")?);
    let hidden = params.hidden_dim as usize;
    let rows = gate_up.chunks(params.in_stride.max(1) as usize).zip(h.chunks_mut(params.out_stride.max(1) as usize));
    for (row, out) in rows.take(step.n_tokens as usize) {
        let (gate, up) = row.split_at(hidden.min(row.len()));
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            let gate = f64::from(*gate);
            *out = (gate / (1.0 + (-gate).exp()) * f64::from(*up)) as f32;
        }
    }
    buffers.set_f32("h", &h);
    Ok(())
}

/// One SwiGLU, bound.
#[derive(Debug)]
pub struct SwiGlu {
    dispatch: Dispatch,
    params: Params,
    invocations: u32,
}

impl SwiGlu {
    /// Binds `gate_up` (n_tokens, in_stride) → `h` (n_tokens, out_stride).
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, label: &str, params: Params, step: &Buffer, gate_up: &Buffer, h: &Buffer) -> Result<Self> {
        let launch = preferred(gpu, "swiglu")?;
        let bindings = vec![
            BoundBuffer::whole("params", &uniform(gpu, label, params)?),
            BoundBuffer::whole("step", step),
            BoundBuffer::whole("gate_up", gate_up),
            BoundBuffer::whole("h", h),
        ];
        let dispatch = gpu.dispatch(label, &launch, twin, bindings)?;
        Ok(Self { dispatch, params, invocations: launch.invocations })
    }

    /// Computes the rows of a step.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        let groups = [self.params.hidden_dim.div_ceil(self.invocations), n_tokens, 1];
        recording.push(&self.dispatch, groups, u64::from(n_tokens) * u64::from(self.params.hidden_dim));
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // 300 · 300: beyond f16's largest number, as real layers are.
    let shapes = [(1, 1, 1.0), (3, 33, 10.0), (2, 1025, 300.0), (5, 11008, 8.0), (7, 64, 1e-3)];
    let case = |(seed, (n_tokens, hidden, scale)): (usize, (usize, usize, f32))| {
        let mut rng = Rng::new(seed as u64);
        let (in_stride, out_stride) = (padded(2 * hidden), padded(hidden));
        let params = Params { hidden_dim: hidden as u32, in_stride: in_stride as u32, out_stride: out_stride as u32 };
        Case::new(format!("{n_tokens} tokens of {hidden}, values to {scale}"), 1e-10, |case, launch, _| {
            let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
            [params.hidden_dim.div_ceil(launch.invocations), step.n_tokens, 1]
        })
        .uniform("params", params)
        .uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 })
        .f32("gate_up", &rng.rows(n_tokens, 2 * hidden, in_stride, scale))
        .output("h", Data::F32, (n_tokens + 1) * out_stride)
    };
    shapes.into_iter().enumerate().map(case).collect()
}
