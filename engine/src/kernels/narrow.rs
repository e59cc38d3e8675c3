//! Activations in f16 for the matrix units, with a power of two for each token so that none overflows.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::{Case, Data, Rng, Step, launch, padded, preferred, uniform};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Params {
    /// Words of eight columns in a row.
    pub row_words: u32,
}

/// The variants that run on every tier.
pub fn launches(_tier: &Tier) -> Vec<Launch> {
    vec![launch("narrow", "base", 64)]
}

/// Divides a token by a power of two that leaves its largest value's exponent at 14; the power.
fn scale(token: &[f32]) -> f32 {
    let largest = token.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let exponent = (largest.to_bits() >> 23 & 255) as i32 - 127;
    2.0_f32.powi(-(14 - exponent).clamp(-113, 126))
}

/// Tokens of `cols` values each, divided and rounded to f16, and what each was divided by.
pub(super) fn narrowed(x: &[f32], cols: usize) -> (Vec<f32>, Vec<f32>) {
    let tokens = x.chunks(cols.max(1));
    let scales: Vec<f32> = tokens.clone().map(scale).collect();
    let narrow = |value: f32, scale: f32| f16::from_f64(f64::from(value) / f64::from(scale)).to_f32();
    let half = tokens.zip(&scales).flat_map(|(token, scale)| token.iter().map(|value| narrow(*value, *scale)));
    (half.collect(), scales)
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (params, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (x, mut half, mut scales) = (buffers.f32("x")?, buffers.f16("half_x")?, buffers.f32("x_scale")?);
    let cols = params.row_words as usize * 8;
    let n = (step.n_tokens as usize * cols).min(x.len());
    let (new_half, new_scales) = narrowed(x.get(..n).unwrap_or_default(), cols);
    half.iter_mut().zip(new_half).for_each(|(to, value)| *to = value);
    scales.iter_mut().zip(new_scales).for_each(|(to, value)| *to = value);
    buffers.set_f16("half_x", &half);
    buffers.set_f32("x_scale", &scales);
    Ok(())
}

/// The conversion of one input, bound.
#[derive(Debug)]
pub struct Narrow {
    dispatch: Dispatch,
}

impl Narrow {
    /// Binds `x` (n_tokens, padded `cols`) → `half_x`, the same in f16, and `x_scale` (n_tokens).
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(
        gpu: &Gpu,
        label: &str,
        cols: usize,
        step: &Buffer,
        x: &Buffer,
        [half_x, x_scale]: [&Buffer; 2],
    ) -> Result<Self> {
        let params = uniform(gpu, label, Params { row_words: padded(cols) as u32 / 8 })?;
        let bindings = vec![
            BoundBuffer::whole("params", &params),
            BoundBuffer::whole("step", step),
            BoundBuffer::whole("x", x),
            BoundBuffer::whole("half_x", half_x),
            BoundBuffer::whole("x_scale", x_scale),
        ];
        Ok(Self { dispatch: gpu.dispatch(label, &preferred(gpu, "narrow")?, twin, bindings)? })
    }

    /// Converts the rows of a step.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>, n_tokens: u32) {
        recording.push(&self.dispatch, [n_tokens, 1, 1], 0);
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    // (columns, tokens, size): nothing, primes, the 7B's; beyond f16 on either side, and f32's ends.
    let shapes = [
        (8, 1, 0.0),
        (33, 3, 1.0),
        (1025, 2, 1e-3),
        (4096, 5, 66_977.0),
        (11008, 2, 3e6),
        (64, 7, 1e-30),
        (64, 7, 1e38),
    ];
    let shapes = shapes.into_iter().zip(0..);
    let case = |((cols, n_tokens, size), seed): ((usize, usize, f32), u64)| {
        let mut rng = Rng::new(seed);
        let stride = padded(cols);
        // f16 to the last bit but for the direction of rounding, which WGSL leaves open.
        Case::new(format!("{n_tokens} tokens of {cols} to {size:e}"), 1e-6, |case, _, _| {
            [case.params::<Step>("step").n_tokens, 1, 1]
        })
        .uniform("params", Params { row_words: stride as u32 / 8 })
        .uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 })
        .f32("x", &rng.rows(n_tokens + 1, cols, stride, size))
        .output("half_x", Data::F16, (n_tokens + 1) * stride)
        .output("x_scale", Data::F32, n_tokens + 1)
    };
    shapes.map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::narrowed;

    #[test]
    fn the_largest_value_comes_to_lie_below_f16s_end_and_nothing_is_lost() {
        for size in [1e-30_f32, 1e-3, 0.99, 1.0, 66_977.0, 3e38] {
            let (half, scales) = narrowed(&[size, -size / 3.0, size / 4096.0, 0.0], 4);
            assert!((16_384.0..=32_768.0).contains(&half[0]), "{size}: {half:?}");
            for (half, want) in half.iter().zip([size, -size / 3.0, size / 4096.0, 0.0]) {
                let got = f64::from(*half) * f64::from(scales[0]);
                assert!((got - f64::from(want)).abs() <= f64::from(want.abs()) / 2048.0, "{size}: {got}, not {want}");
            }
        }
        assert_eq!(narrowed(&[0.0; 8], 8).0, [0.0; 8]);
    }
}
