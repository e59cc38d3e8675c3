//! Which tokens each slot of the model's KV cache holds.
//!
//! Every call that changes a slot first forgets what it is about to overwrite, so that after an error the books never claim
//! more than the cache has.

use crate::error::{Error, Result};
use crate::model::{Ahead, Choice, Forward, Pass, Shortlist};

/// A model, and the tokens in each of its slots.
#[derive(Debug)]
pub(super) struct Slots<F> {
    model: F,
    cached: Vec<Vec<u32>>,
    /// Of each slot, how many of its first tokens were computed by prefill. Only these are reused by another prompt: then a
    /// reply with reuse is the reply without, to the last bit, since a prefill does not depend on how it is cut and a decode
    /// step rounds otherwise.
    prefilled: Vec<usize>,
}

impl<F: Forward> Slots<F> {
    pub(super) fn new(model: F) -> Self {
        let cached = vec![Vec::new(); model.n_slots()];
        let prefilled = vec![0; cached.len()];
        Self { model, cached, prefilled }
    }

    pub(super) fn model(&self) -> &F {
        &self.model
    }

    pub(super) fn into_model(self) -> F {
        self.model
    }

    pub(super) fn cached(&self, slot: usize) -> &[u32] {
        self.cached.get(slot).map_or(&[], Vec::as_slice)
    }

    /// Forgets every token.
    pub(super) fn clear(&mut self) {
        self.cached.iter_mut().for_each(Vec::clear);
    }

    /// The slot to run `prompt` in, and how many of its tokens need not be run: the longest common prefix, but not the last
    /// token, whose logits are wanted.
    pub(super) fn best_for(&self, prompt: &[u32]) -> (usize, usize) {
        let common = |cached: &[u32]| cached.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let mut best = (0, 0);
        for (slot, (cached, prefilled)) in self.cached.iter().zip(&self.prefilled).enumerate() {
            let len = common(cached).min(*prefilled).min(prompt.len().saturating_sub(1));
            if len > best.1 {
                best = (slot, len);
            }
        }
        best
    }

    /// Runs `tokens` from position `pos` of `slot`, whose tokens from there on are replaced.
    pub(super) fn run(
        &mut self,
        pass: Pass,
        slot: usize,
        pos: usize,
        tokens: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        self.replace(pass, slot, pos, tokens, Some(logits))
    }

    /// As [`Slots::run`] of a prefill whose logits nobody asks for.
    pub(super) fn fill(&mut self, slot: usize, pos: usize, tokens: &[u32]) -> Result<()> {
        self.replace(Pass::Prefill, slot, pos, tokens, None)
    }

    /// Runs a token of the text and a draft behind it from position `pos` of `slot`, and leaves the logits of each in `rows`. The
    /// books have the first alone until [`Slots::confirm`] adds the next.
    pub(super) fn verify(&mut self, slot: usize, pos: usize, tokens: &[u32], rows: &mut Vec<f32>) -> Result<()> {
        self.forget(slot, pos)?;
        self.model.verify(slot, pos, tokens, rows)?;
        self.check_logits(rows, tokens.len())?;
        self.confirm(slot, tokens.first().copied().unwrap_or_default());
        Ok(())
    }

    /// The next token of a draft that was run in `slot` is part of the text.
    pub(super) fn confirm(&mut self, slot: usize, token: u32) {
        if let Some(cached) = self.cached.get_mut(slot) {
            cached.push(token);
        }
    }

    /// Forgets what `slot` holds from position `pos` on.
    fn forget(&mut self, slot: usize, pos: usize) -> Result<()> {
        let n_slots = self.cached.len();
        let (Some(cached), Some(prefilled)) = (self.cached.get_mut(slot), self.prefilled.get_mut(slot)) else {
            return Err(Error::Request(format!("slot: expected one below {n_slots}, got {slot}")));
        };
        cached.truncate(pos);
        *prefilled = pos.min(*prefilled);
        Ok(())
    }

    fn check_logits(&self, logits: &[f32], rows: usize) -> Result<()> {
        let (expected, got) = (rows * self.model.vocab_size(), logits.len());
        if got == expected {
            return Ok(());
        }
        let detail = format!("model: expected {expected} logits, got {got}; this is a bug in the model's forward pass");
        Err(Error::Request(detail))
    }

    fn replace(
        &mut self,
        pass: Pass,
        slot: usize,
        pos: usize,
        tokens: &[u32],
        logits: Option<&mut Vec<f32>>,
    ) -> Result<()> {
        self.forget(slot, pos)?;
        match logits {
            None => self.model.fill(slot, pos, tokens)?,
            Some(logits) => {
                self.model.forward(pass, slot, pos, tokens, logits)?;
                self.check_logits(logits, 1)?;
            }
        }
        if let (Some(cached), Some(prefilled)) = (self.cached.get_mut(slot), self.prefilled.get_mut(slot)) {
            if pass == Pass::Prefill && *prefilled == cached.len() {
                *prefilled += tokens.len();
            }
            cached.extend_from_slice(tokens);
        }
        Ok(())
    }

    /// Begins to decode ahead in `slot` behind `history`, whose last token the next step runs; see [`crate::model::Ahead`].
    pub(super) fn restart_ahead(
        &mut self,
        slot: usize,
        history: &[u32],
        choice: Choice,
        candidates: usize,
    ) -> Result<()> {
        self.forget(slot, history.len().saturating_sub(1))?;
        self.ahead()?.restart(slot, history, choice, candidates)
    }

    /// Waits for the oldest step under way, which ran `token` in `slot`, and returns the device's choice behind it.
    pub(super) fn next_ahead(&mut self, slot: usize, token: u32, shortlist: &mut Shortlist) -> Result<u32> {
        let choice = self.ahead()?.next(shortlist)?;
        self.confirm(slot, token);
        Ok(choice)
    }

    /// The model's way of decoding ahead.
    pub(super) fn ahead(&mut self) -> Result<&mut dyn Ahead> {
        self.model.ahead().ok_or_else(|| Error::Request("this model does not decode ahead of the host".to_owned()))
    }

    /// Does the model have one?
    pub(super) fn can_decode_ahead(&mut self) -> bool {
        self.model.ahead().is_some()
    }

    /// Copies the first `len` tokens of slot `from` to slot `to`.
    pub(super) fn copy(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        if let Some(cached) = self.cached.get_mut(to) {
            cached.clear();
        }
        self.model.copy_slot(from, to, len)?;
        let tokens: Vec<u32> = self.cached(from).iter().take(len).copied().collect();
        let exact = self.prefilled.get(from).map_or(0, |prefilled| len.min(*prefilled));
        if let (Some(cached), Some(prefilled)) = (self.cached.get_mut(to), self.prefilled.get_mut(to)) {
            (*cached, *prefilled) = (tokens, exact);
        }
        Ok(())
    }
}
