//! Columns of the activations in another order: what a matrix is multiplied by whose columns were sorted at load.

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, Step, launch};
use crate::error::Result;
use crate::gpu::{Launch, Tier, TwinBuffers};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Columns.
    pub cols: u32,
}

/// The variants that run on `tier`.
pub fn launches(_tier: &Tier) -> Vec<Launch> {
    vec![launch("gather", "base", 64)]
}

/// Workgroups for `cols` columns of `n_tokens`.
pub(super) fn workgroups(cols: u32, n_tokens: u32, launch: &Launch) -> [u32; 3] {
    [cols.div_ceil(launch.invocations), n_tokens, 1]
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (params, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (order, x, mut y) = (buffers.u32("order")?, buffers.f32("x")?, buffers.f32("y")?);
    let cols = params.cols as usize;
    for t in 0..step.n_tokens as usize {
        for (c, from) in order.iter().take(cols).enumerate() {
            if let (Some(y), Some(x)) = (y.get_mut(t * cols + c), x.get(t * cols + *from as usize)) {
                *y = *x;
            }
        }
    }
    buffers.set_f32("y", &y);
    Ok(())
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    let shapes = [(32, 1), (96, 3), (4096, 1), (11008, 5)];
    let case = |(seed, (cols, n_tokens)): (usize, (usize, usize))| {
        let mut rng = Rng::new(seed as u64);
        let mut order: Vec<u32> = (0..cols as u32).collect();
        for i in (1..cols).rev() {
            order.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
        }
        Case::new(format!("{cols} columns, {n_tokens} tokens"), 0.0, |case, launch, _| {
            let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
            workgroups(params.cols, step.n_tokens, launch)
        })
        .uniform("params", Params { cols: cols as u32 })
        .uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 })
        .u32("order", &order)
        .f32("x", &rng.values(cols * n_tokens, 1.0))
        // One token more than there are: it must not be touched.
        .output("y", Data::F32, cols * (n_tokens + 1))
    };
    shapes.into_iter().enumerate().map(case).collect()
}
