//! Decoding ahead of the host: the device chooses, the session checks.
//!
//! The device hands out the best tokens with its choice. The session's own sampler chooses among them again, in the arithmetic in
//! which it would choose among all: its token is the reply's, and where the device chose another, what runs behind that is
//! dropped. So a reply is the same, with the same seed, whether the device ran ahead or not.

use super::request::Request;
use super::slots::Slots;
use crate::error::Result;
use crate::model::{Choice, Forward, Pass};
use crate::sampler::{Pcg32, Sampler};

/// Candidates beyond the ones that count: the device's arithmetic may swap neighbours.
const SPARE: usize = 8;

/// The steps of one reply that run ahead.
pub(super) struct LookAhead {
    choice: Choice,
    candidates_wanted: usize,
    candidates: Vec<(u32, f32)>,
    /// The random numbers of the steps to be sent.
    draws: Pcg32,
    /// Do the steps under way run behind the right tokens?
    on_track: bool,
    /// Tokens that prompt and reply may have together.
    most_tokens: usize,
}

impl LookAhead {
    /// For a reply of `sampler` to `request`; None where the model does not run ahead, or the sampler must look at every logit.
    pub(super) fn new<F: Forward>(slots: &mut Slots<F>, request: &Request, sampler: &Sampler) -> Option<Self> {
        let config = &request.sampler;
        // The chances of a token need every logit; and drafts are another way of running ahead.
        if request.alternatives > 0 || request.draft_tokens > 0 {
            return None;
        }
        if !slots.can_decode_ahead() || config.no_repeat_ngram > 0 || config.typical_p < 1.0 && !config.greedy {
            return None;
        }
        let candidates_wanted = sampler.looks_at()? + SPARE;
        if candidates_wanted > slots.ahead().ok()?.most_candidates() {
            return None;
        }
        let most_tokens = (request.prompt_ids.len() + request.max_new_tokens).min(slots.model().max_seq_len());
        let choice = Choice {
            greedy: config.greedy,
            repetition_penalty: config.repetition_penalty,
            temperature: config.temperature,
            top_k: config.top_k,
            top_p: config.top_p,
            min_p: config.min_p,
        };
        Some(Self {
            choice,
            candidates_wanted,
            candidates: Vec::new(),
            draws: sampler.draws(),
            on_track: false,
            most_tokens,
        })
    }

    /// The token behind `history`, whose last token is run in `slot`. `logits` is room for all of them, should they be needed.
    pub(super) fn next<F: Forward>(
        &mut self,
        slots: &mut Slots<F>,
        slot: usize,
        sampler: &mut Sampler,
        history: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<u32> {
        if !self.on_track {
            slots.restart_ahead(slot, history, self.choice, self.candidates_wanted)?;
            self.draws = sampler.draws();
            self.on_track = true;
        }
        let ahead = slots.ahead()?;
        // The token behind the last step is the reply's last: nothing needs to run behind that.
        while ahead.under_way() < ahead.depth() && history.len() + ahead.under_way() < self.most_tokens {
            ahead.push(if self.choice.greedy { 0.0 } else { self.draws.next_f64() })?;
        }
        let last = history.last().copied().unwrap_or_default();
        let chosen = slots.next_ahead(slot, last, &mut self.candidates)?;
        let vocab_size = slots.model().vocab_size();
        match sampler.sample_among(&self.candidates, vocab_size, history)? {
            Some(token) => {
                self.on_track = token == chosen;
                Ok(token)
            }
            // Every logit is needed: the step is run once more, as if nothing had run ahead.
            None => {
                self.on_track = false;
                slots.run(Pass::Decode, slot, history.len() - 1, &[last], logits)?;
                sampler.sample(logits, history)
            }
        }
    }
}
