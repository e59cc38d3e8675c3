//! The model: its configuration, and the forward pass from token ids to logits.

pub mod check;
mod config;
mod llama;
mod metadata;
mod plan;
pub mod quantize;
mod rope;
mod score;
mod stretch;
mod to_config;

pub use crate::kernels::attention::KvFormat;
pub use config::{Config, MAX_SEQ_LEN};
pub use llama::{Llama, LoadProgress};
pub use plan::{DEFAULT_CONTEXT, LoadOptions, memory_plan};
pub use rope::RopeScaling;
pub use score::Scorer;
pub use stretch::{Stretch, StretchKind};

use crate::error::Result;

/// How a step is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// By the kernels for many tokens. What a token comes to does not depend, to the last bit, on how a prompt is cut into
    /// steps.
    Prefill,
    /// By the kernels for one token, which sum in another order: equal to rounding, not to the last bit.
    Decode,
}

/// What a session needs of a model. `Llama` is the one implementation on a GPU; the tests have a small one on paper.
///
/// A *slot* is one KV cache of `max_seq_len` positions. A chat uses slot 0; beam search uses one slot a beam.
pub trait Forward {
    /// Number of logits.
    fn vocab_size(&self) -> usize;
    /// Positions in each slot.
    fn max_seq_len(&self) -> usize;
    /// Number of slots.
    fn n_slots(&self) -> usize;
    /// Runs `tokens` (one of them, to decode) at positions `pos..pos + tokens.len()` of `slot`, whose positions `0..pos` must hold what the caller
    /// wants to be attended to, and leaves the last position's logits in `logits` (`vocab_size` values).
    ///
    /// # Errors
    /// An empty `tokens`, an id outside the vocabulary or a position outside the slot is [`crate::Error::Request`]; NaN or
    /// infinity in the logits is [`crate::Error::NonFinite`]; the device's errors are passed on.
    fn forward(&mut self, pass: Pass, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()>;
    /// Tokens that one `forward` runs without a break; a longer list is cut into chunks of this by the session, so that it
    /// can report progress and stop between two.
    fn chunk_len(&self) -> usize;
    /// Copies positions `0..len` of slot `from` to slot `to`.
    ///
    /// # Errors
    /// A slot or length that does not exist is [`crate::Error::Request`].
    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()>;
}

impl<F: Forward + ?Sized> Forward for Box<F> {
    fn vocab_size(&self) -> usize {
        (**self).vocab_size()
    }

    fn max_seq_len(&self) -> usize {
        (**self).max_seq_len()
    }

    fn n_slots(&self) -> usize {
        (**self).n_slots()
    }

    fn forward(&mut self, pass: Pass, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        (**self).forward(pass, slot, pos, tokens, logits)
    }

    fn chunk_len(&self) -> usize {
        (**self).chunk_len()
    }

    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        (**self).copy_slot(from, to, len)
    }
}
