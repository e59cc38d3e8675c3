//! Decoding ahead of the host: the device chooses, the session checks.
//!
//! The device hands out the best tokens with its choice. The session's own sampler chooses among them again, in the arithmetic in
//! which it would choose among all: its token is the reply's, and where the device chose another, what runs behind that is
//! dropped. So a reply is the same, with the same seed, whether the device ran ahead or not; and so are the likeliest tokens, but for
//! rounding in their probabilities.

use super::chances::Chances;
use super::request::Request;
use super::slots::Slots;
use crate::error::Result;
use crate::model::{Choice, Forward, Pass, Shortlist};
use crate::sampler::{Pcg32, Sampler};

/// Candidates beyond the ones that count: the device's arithmetic may swap neighbours.
const SPARE: usize = 8;

/// After so many steps in a row that had to be run once more, the rest of the reply is decoded step by step.
const PATIENCE: usize = 4;

/// The steps of one reply that run ahead.
pub(super) struct LookAhead {
    choice: Choice,
    candidates_wanted: usize,
    /// See [`Request::alternatives`].
    alternatives: usize,
    /// What the last token was chosen among; None where all its logits were looked at.
    shortlist: Option<Shortlist>,
    /// The random numbers of the steps to be sent.
    draws: Pcg32,
    /// Do the steps under way run behind the right tokens?
    on_track: bool,
    /// Steps in a row that were run once more.
    repeated: usize,
    /// Tokens that prompt and reply may have together.
    most_tokens: usize,
}

impl LookAhead {
    /// For a reply of `sampler` to `request`; None where the model does not run ahead, or every logit must be looked at.
    pub(super) fn new<F: Forward>(slots: &mut Slots<F>, request: &Request, sampler: &Sampler) -> Option<Self> {
        let config = &request.sampler;
        // Drafts are another way of running ahead.
        if request.draft_tokens > 0 {
            return None;
        }
        if !slots.can_decode_ahead() || config.no_repeat_ngram > 0 || config.typical_p < 1.0 && !config.greedy {
            return None;
        }
        // Such a penalty can lift any token over the likeliest ones.
        if request.alternatives > 0 && config.repetition_penalty < 1.0 {
            return None;
        }
        let candidates_wanted = (sampler.looks_at()? + SPARE).max(request.alternatives);
        if candidates_wanted > slots.ahead().ok()?.most_candidates() {
            return None;
        }
        let choice = Choice {
            greedy: config.greedy,
            repetition_penalty: config.repetition_penalty,
            temperature: config.temperature,
            top_k: config.top_k,
            top_p: config.top_p,
            min_p: config.min_p,
            chances: request.alternatives > 0,
        };
        Some(Self {
            choice,
            candidates_wanted,
            alternatives: request.alternatives,
            shortlist: None,
            draws: sampler.draws(),
            on_track: false,
            repeated: 0,
            most_tokens: request.most_tokens(slots.model().max_seq_len()),
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
        let last = history.last().copied().unwrap_or_default();
        let mut shortlist = self.shortlist.take().unwrap_or_default();
        if self.repeated < PATIENCE {
            let chosen = self.run(slots, slot, sampler, history, &mut shortlist)?;
            let vocab_size = slots.model().vocab_size();
            let token = if Chances::can_tell(&shortlist, vocab_size, self.alternatives) {
                sampler.sample_among(&shortlist.tokens, shortlist.floor, vocab_size, history)?
            } else {
                None
            };
            if let Some(token) = token {
                self.on_track = token == chosen;
                self.repeated = 0;
                self.shortlist = Some(shortlist);
                return Ok(token);
            }
            self.repeated += 1;
        }
        // Every logit is needed: the step is run as if nothing had run ahead.
        self.on_track = false;
        slots.run(Pass::Decode, slot, history.len().saturating_sub(1), &[last], logits)?;
        sampler.sample(logits, history)
    }

    /// Sends the steps that there is room for, waits for the one behind `history`, and returns the device's choice.
    fn run<F: Forward>(
        &mut self,
        slots: &mut Slots<F>,
        slot: usize,
        sampler: &Sampler,
        history: &[u32],
        shortlist: &mut Shortlist,
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
        slots.next_ahead(slot, history.last().copied().unwrap_or_default(), shortlist)
    }

    /// How likely `chosen` was, the last token; None where its logits have to tell.
    pub(super) fn chances(&self, chosen: u32) -> Option<Chances> {
        self.shortlist.as_ref().map(|shortlist| Chances::among(shortlist, chosen, self.alternatives))
    }
}
