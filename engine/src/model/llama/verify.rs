//! Testing drafted tokens: a few tokens in one pass over the weights, and the logits behind each of them.

use super::{Llama, Scratch, norm_params};
use crate::error::Result;
use crate::gpu::{Buffer, Gpu, Role, Width};
use crate::kernels::columns;
use crate::kernels::linear::{Linear, Wiring};
use crate::kernels::rms_norm::RmsNorm;
use crate::model::plan::Shapes;
use crate::model::{Config, Pass};
use crate::weights::Matrix;

/// The head, bound for all tokens of such a step.
pub(super) struct Verifier {
    norm: RmsNorm,
    head: Linear,
    /// ([`columns::MOST`], vocab_size).
    logits: Buffer,
    /// The logits and the serial number on the host.
    out: Buffer,
}

impl Verifier {
    pub(super) fn new(
        gpu: &Gpu,
        config: &Config,
        shapes: &Shapes,
        s: &Scratch,
        gain: &Buffer,
        head: &Matrix,
    ) -> Result<Self> {
        let bytes = (columns::MOST * config.vocab_size * 4) as u64;
        let logits = gpu.create_buffer("logits of a few tokens", bytes, Role::Storage)?;
        let out = gpu.create_buffer("logits on the host", bytes + 4, Role::Readback)?;
        let norm = RmsNorm::new(gpu, "final_norm", norm_params(config, shapes, false), &s.step, &s.x, gain, &s.normed)?;
        let (y_stride, between) = (config.vocab_size, s.between());
        let wiring = Wiring { step: &s.step, x: &s.normed, y: &logits, y_stride, add: false, between };
        let head = Linear::new(gpu, "lm_head", head, wiring, Width::Few)?;
        Ok(Self { norm, head, logits, out })
    }
}

/// What such a step does, in errors.
pub(super) const DURING: &str = "testing drafted tokens";

impl Llama {
    /// The logits behind each of `tokens`, one row after the other.
    pub(super) fn run_few(&mut self, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        let step = self.write_step(Pass::Verify, slot, pos, tokens)?;
        let Verifier { norm, head, logits: on_device, out } = &self.verifier;
        let mut list = self.record_layers(Pass::Verify, slot, step.pos, step.n_tokens);
        norm.record(&mut list, step.n_tokens);
        head.record(&mut list, step.n_tokens);
        let bytes = (tokens.len() * self.config.vocab_size * 4) as u64;
        list.copy_out(on_device, out, 0, bytes);
        list.copy_out(&self.scratch.serial, out, bytes, 4);
        self.read_logits(&list, DURING, out, bytes, logits)?;
        // The later rows may be of tokens that nobody would have run.
        self.check_finite(logits.get(..self.config.vocab_size).unwrap_or_default(), pos)
    }
}
