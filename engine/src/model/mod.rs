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
    /// By the kernels for a few tokens, at most [`MOST_VERIFIED`], which read the weights once for all of them; rounded otherwise as
    /// well.
    Verify,
}

/// The most tokens of a [`Pass::Verify`].
pub const MOST_VERIFIED: usize = crate::kernels::columns::MOST;

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
    /// Runs `tokens` as a prefill does, for what they leave in the cache: their logits are not asked for.
    ///
    /// # Errors
    /// As [`Forward::forward`], but for the logits.
    fn fill(&mut self, slot: usize, pos: usize, tokens: &[u32]) -> Result<()> {
        self.forward(Pass::Prefill, slot, pos, tokens, &mut Vec::new())
    }
    /// Runs `tokens`, at most [`MOST_VERIFIED`], as [`Forward::forward`] does, and leaves in `logits` those of every position, one row
    /// of `vocab_size` values after the other. Models that have no way of their own decode one token after the other.
    ///
    /// # Errors
    /// As [`Forward::forward`]; logits behind the first token need not be finite.
    fn verify(&mut self, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        let mut row = Vec::new();
        logits.clear();
        for (token, pos) in tokens.iter().zip(pos..) {
            self.forward(Pass::Decode, slot, pos, &[*token], &mut row)?;
            logits.extend_from_slice(&row);
        }
        Ok(())
    }
    /// Tokens that one `forward` runs without a break; a longer list is cut into chunks of this by the session, so that it
    /// can report progress and stop between two.
    fn chunk_len(&self) -> usize;
    /// Copies positions `0..len` of slot `from` to slot `to`.
    ///
    /// # Errors
    /// A slot or length that does not exist is [`crate::Error::Request`].
    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()>;
    /// Decoding ahead of the host, where the model can and it pays.
    fn ahead(&mut self) -> Option<&mut dyn Ahead> {
        None
    }
}

/// How the device chooses tokens by itself; see [`crate::sampler::SamplerConfig`] for the meaning of each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// The best token, else a draw.
    pub greedy: bool,
    /// Divides positive, multiplies negative scores of tokens of the history.
    pub repetition_penalty: f32,
    /// Divides the scores.
    pub temperature: f32,
    /// Keeps so many of the best.
    pub top_k: usize,
    /// Keeps the best until their probabilities reach this.
    pub top_p: f32,
    /// Removes what is less probable than this share of the best one's probability.
    pub min_p: f32,
    /// [`Shortlist`] is to tell of the logits too, not of the scores alone.
    pub chances: bool,
}

/// What is known on the host of a token that the device chose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shortlist {
    /// The tokens with the best scores, and their logits, by ascending id. None where they cannot be relied on: too many tie, or a
    /// logit is not finite.
    pub tokens: Vec<(u32, f32)>,
    /// The scores of all other tokens are below this, by the device's arithmetic; with [`Choice::chances`] their logits are, too.
    pub floor: f32,
    /// The largest of all logits. This and the sum need [`Choice::chances`].
    pub largest: f32,
    /// The sum of `exp(logit - largest)` over all logits.
    pub exp_sum: f32,
}

/// Decoding ahead of the host: the device chooses each token and runs the next step with it, while the host reads what came of
/// the steps before. What was run behind a token that the host does not want is dropped: its positions are run again.
pub trait Ahead {
    /// Steps that should be on their way at a time.
    fn depth(&self) -> usize;
    /// Candidates that a step can hand out.
    fn most_candidates(&self) -> usize;
    /// Gives up the steps on their way. The next one runs the last token of `history` at its place in `slot`.
    ///
    /// # Errors
    /// [`crate::Error::Request`] when the position does not exist; what the device reports.
    fn restart(&mut self, slot: usize, history: &[u32], choice: Choice, candidates: usize) -> Result<()>;
    /// Sends one more step on its way; `draw`, in 0..1, is the random number for the token behind it.
    ///
    /// # Errors
    /// As [`Ahead::restart`].
    fn push(&mut self, draw: f64) -> Result<()>;
    /// Waits for the oldest step on its way, and returns what the device chose behind it, and in `shortlist` among what.
    ///
    /// # Errors
    /// [`crate::Error::Request`] when none is on its way; what the device reports.
    fn next(&mut self, shortlist: &mut Shortlist) -> Result<u32>;
    /// Steps on their way.
    fn under_way(&self) -> usize;
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

    fn fill(&mut self, slot: usize, pos: usize, tokens: &[u32]) -> Result<()> {
        (**self).fill(slot, pos, tokens)
    }

    fn verify(&mut self, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        (**self).verify(slot, pos, tokens, logits)
    }

    fn chunk_len(&self) -> usize {
        (**self).chunk_len()
    }

    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        (**self).copy_slot(from, to, len)
    }

    fn ahead(&mut self) -> Option<&mut dyn Ahead> {
        (**self).ahead()
    }
}
