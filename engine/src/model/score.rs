//! How likely a model finds a text: the logits behind every token of it, not only the last.
//!
//! The layers run as in a prefill; then the head multiplies all rows of the chunk, as many at a time as one buffer of logits
//! holds.

use std::ops::ControlFlow;

use super::llama::norm_params;
use super::{Forward as _, Llama, Pass};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Role, Width};
use crate::kernels::Step;
use crate::kernels::linear::{Linear, Wiring};
use crate::kernels::rms_norm::RmsNorm;

/// Bytes of logits that are read back at a time.
const MAX_LOGITS: u64 = 64 << 20;

/// Scores texts on a loaded model. The model's slot 0 is used for it.
pub struct Scorer<'a> {
    model: &'a mut Llama,
    norm: RmsNorm,
    head: Linear,
    /// (rows, vocab_size).
    logits: Buffer,
    out: Buffer,
    rows: usize,
}

impl<'a> Scorer<'a> {
    /// Binds the head of `model` for many rows.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when there is no room for the logits; what else the device reports.
    pub fn new(model: &'a mut Llama) -> Result<Self> {
        let (gpu, s, shapes, config) = (&model.gpu, &model.scratch, &model.shapes, &model.config);
        let row = config.vocab_size as u64 * 4;
        let limit = MAX_LOGITS.min(gpu.tier().max_matrix_part);
        let rows = usize::try_from(limit / row).unwrap_or(usize::MAX).clamp(1, shapes.chunk_len);
        let logits = gpu.create_buffer("logits of a chunk", rows as u64 * row, Role::Storage)?;
        let out = gpu.create_buffer("logits on the host", rows as u64 * row, Role::Readback)?;
        let params = norm_params(config, shapes, false);
        let norm = RmsNorm::new(gpu, "final_norm", params, &s.step, &s.x, &model.head.norm, &s.normed)?;
        let wiring = Wiring {
            step: &s.step,
            x: &s.normed,
            y: &logits,
            y_stride: config.vocab_size,
            add: false,
            between: s.between(),
        };
        let head = Linear::new(gpu, "lm_head of a chunk", &model.head.matrix, wiring, Width::Many)?;
        Ok(Self { model, norm, head, logits, out, rows })
    }

    /// `-ln p` of each of `tokens[1..]` given those before it, in nats. `progress` is told how many are done, and may end it: then
    /// the result is None.
    ///
    /// # Errors
    /// [`Error::Request`] for fewer than two tokens, more than the context, or an id outside the vocabulary;
    /// [`Error::NonFinite`] for NaN or infinity; what the device reports.
    pub fn score(
        &mut self,
        tokens: &[u32],
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Vec<f32>>> {
        if tokens.len() < 2 {
            return Err(Error::Request("a text of at least two tokens is needed".to_owned()));
        }
        let mut scores = Vec::with_capacity(tokens.len() - 1);
        let inputs = tokens.len() - 1;
        while scores.len() < inputs {
            let pos = scores.len();
            let n = self.rows.min(self.model.chunk_len()).min(inputs - pos);
            let (chunk, next) = (&tokens[pos..pos + n], &tokens[pos + 1..pos + 1 + n]);
            self.chunk(pos, chunk, next, &mut scores)?;
            if progress(scores.len()).is_break() {
                return Ok(None);
            }
        }
        Ok(Some(scores))
    }

    fn chunk(&self, pos: usize, tokens: &[u32], next: &[u32], scores: &mut Vec<f32>) -> Result<()> {
        let Self { model, norm, head, logits, out, .. } = self;
        model.check_request(Pass::Prefill, 0, pos, tokens)?;
        let (gpu, s, vocab) = (&model.gpu, &model.scratch, model.config.vocab_size);
        let step = Step { pos: pos as u32, n_tokens: tokens.len() as u32 };
        gpu.write(&s.step, 0, bytemuck::bytes_of(&step))?;
        gpu.write(&s.tokens, 0, bytemuck::cast_slice(tokens))?;
        let mut list = model.record_layers(Pass::Prefill, 0, step.pos, step.n_tokens);
        norm.record(&mut list, step.n_tokens);
        head.record(&mut list, step.n_tokens);
        let bytes = (tokens.len() * vocab * 4) as u64;
        list.copy_out(logits, out, 0, bytes);
        let rows = gpu.run_and_map(&list, "reading the text", (out, bytes), |data| {
            let rows = data.chunks_exact(vocab * 4).zip(next);
            rows.map(|(row, next)| surprise(row.as_chunks::<4>().0, *next)).collect::<Vec<f64>>()
        })?;
        for (at, score) in rows.into_iter().enumerate() {
            if !score.is_finite() {
                return Err(Error::NonFinite(format!(
                    "the model computed NaN or infinity at position {}: the weights are damaged, or the driver of {} computes \
                     wrongly (run `guanaco conformance` to find out)",
                    pos + at,
                    gpu.facts().name
                )));
            }
            scores.push(score as f32);
        }
        Ok(())
    }
}

/// `-ln softmax(row)[token]`.
fn surprise(row: &[[u8; 4]], token: u32) -> f64 {
    let values = || row.iter().map(|value| f64::from(f32::from_le_bytes(*value)));
    let highest = values().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values().map(|value| (value - highest).exp()).sum();
    let own = row.get(token as usize).map_or(f64::NAN, |value| f64::from(f32::from_le_bytes(*value)));
    highest + sum.ln() - own
}

#[cfg(test)]
mod tests {
    use super::surprise;

    #[test]
    fn a_token_is_as_surprising_as_it_is_unlikely() {
        let row: Vec<[u8; 4]> = [0.0_f32, 2.0_f32.ln(), 1.0_f32.ln(), -1e4].map(f32::to_le_bytes).to_vec();
        assert!((surprise(&row, 1) - 2.0_f64.ln()).abs() < 1e-6);
        assert!((surprise(&row, 0) - 4.0_f64.ln()).abs() < 1e-6);
        assert!(surprise(&row, 9).is_nan());
    }
}
