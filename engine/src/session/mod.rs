//! The one generation loop: prompt in, text out, piece by piece.
//!
//! The command, the server and the window all drive this [`Session`]; it knows the model only as [`Forward`].

mod ahead;
mod beams;
mod chances;
mod lookup;
mod request;
mod slots;
mod text;

use std::ops::ControlFlow;
use std::time::Instant;

use ahead::LookAhead;
pub use chances::Chances;
use lookup::Lookup;
pub use lookup::MOST_DRAFTED;
pub use request::{BeamResult, Event, FinishReason, Reply, Request, Timings};
use slots::Slots;
use text::ReplyText;

use crate::error::{Error, Result};
use crate::model::{Forward, Pass};
use crate::sampler::Sampler;
use crate::tokenizer::Tokenizer;

/// Called with each event; `Break` ends the reply, and is the last call.
pub type OnEvent<'a> = &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>;

/// A model and what its KV cache holds from one reply to the next.
#[derive(Debug)]
pub struct Session<F> {
    slots: Slots<F>,
    logits: Vec<f32>,
}

/// Where the prompt ended up.
struct Prefilled {
    slot: usize,
    cached: usize,
    new: usize,
    /// The caller ended the reply before the last chunk.
    stopped: bool,
}

impl<F: Forward> Session<F> {
    /// A session with nothing cached.
    pub fn new(model: F) -> Self {
        Self { slots: Slots::new(model), logits: Vec::new() }
    }

    /// The model.
    pub fn model(&self) -> &F {
        self.slots.model()
    }

    /// Gives the model back.
    pub fn into_model(self) -> F {
        self.slots.into_model()
    }

    /// The tokens that `slot` holds; empty for one that does not exist.
    pub fn cached(&self, slot: usize) -> &[u32] {
        self.slots.cached(slot)
    }

    /// Forgets what is cached, so that the next prompt is run from its first token.
    pub fn clear(&mut self) {
        self.slots.clear();
    }

    /// The logits (`vocab_size` values) after the last of `ids`; what is cached of them is not run again.
    ///
    /// # Errors
    /// As [`Session::generate`] for the prompt.
    pub fn logits(&mut self, ids: &[u32]) -> Result<&[f32]> {
        let request = Request { prompt_ids: ids.to_vec(), ..Request::default() };
        self.check_prompt(ids)?;
        self.prefill(&request, &mut |_| ControlFlow::Continue(()))?;
        Ok(&self.logits)
    }

    /// Generates one reply. The longest prefix of the prompt that the cache holds is not run again.
    ///
    /// A `Break` of `on_event`, or the request's stop flag, ends the reply with [`FinishReason::Stopped`] between two tokens or
    /// two chunks of the prompt. After an error too the session can be used again. An id that the model has and the tokenizer
    /// has not, in the prompt or sampled, is a token like others and adds no text.
    ///
    /// # Errors
    /// A request that contradicts itself or the model (an empty prompt, one longer than the context, an unknown id, a bad
    /// value, stop strings without a tokenizer, more beams than slots) is [`Error::Request`], before anything is run; errors
    /// of the model, the sampler and the tokenizer are passed on.
    pub fn generate(
        &mut self,
        request: &Request,
        tokenizer: Option<&Tokenizer>,
        on_event: OnEvent<'_>,
    ) -> Result<Reply> {
        request.validate(self.model().n_slots())?;
        self.check_prompt(&request.prompt_ids)?;
        let mut text = ReplyText::new(tokenizer, &request.prompt_ids, &request.stop)?;
        if request.num_beams > 1 {
            return self.generate_beams(request, &text, on_event);
        }

        let mut sampler = Sampler::new(&request.sampler)?;
        let start = Instant::now();
        let prompt = self.prefill(request, on_event)?;
        let mut timings = Timings { prefill: start.elapsed(), prefill_tokens: prompt.new, ..Timings::default() };

        let mut lookup = Lookup::new(request, self.model().max_seq_len());
        let mut ahead = LookAhead::new(&mut self.slots, request, &sampler);
        let mut history = request.prompt_ids.clone();
        let prompt_len = history.len();
        let finish = loop {
            let len = history.len() - prompt_len;
            if prompt.stopped || request.is_stopped() {
                break FinishReason::Stopped;
            }
            if let Some(limit) = self.limit_reached(request, len) {
                break limit;
            }
            let id = match (&mut lookup, &mut ahead, history.last()) {
                // The first token comes from the prompt's logits.
                _ if len == 0 => sampler.sample(&self.logits, &history)?,
                (Some(lookup), ..) => {
                    lookup.next(&mut self.slots, prompt.slot, &mut sampler, &history, &mut self.logits)?
                }
                (_, Some(ahead), _) => {
                    ahead.next(&mut self.slots, prompt.slot, &mut sampler, &history, &mut self.logits)?
                }
                (None, None, last) => {
                    let (pos, last) = (history.len() - 1, last.copied().unwrap_or_default());
                    self.slots.run(Pass::Decode, prompt.slot, pos, &[last], &mut self.logits)?;
                    sampler.sample(&self.logits, &history)?
                }
            };
            timings.decode_tokens += usize::from(len > 0);
            timings.first_token.get_or_insert_with(|| start.elapsed());
            history.push(id);
            let chances = (request.alternatives > 0).then(|| {
                let told = ahead.as_ref().and_then(|ahead| ahead.chances(id));
                told.unwrap_or_else(|| Chances::of(&self.logits, id, request.alternatives))
            });
            let is_eos = request.is_eos(id);
            let piece = if is_eos { "" } else { text.push(id)? };
            if on_event(Event::Token { id, text: piece, chances: chances.as_ref() }).is_break() {
                break FinishReason::Stopped;
            }
            if is_eos {
                break FinishReason::Eos;
            }
            if let Some(stop) = text.found() {
                break FinishReason::StopString(stop.to_owned());
            }
        };
        let finish = close(&mut text, finish, on_event);
        timings.decode = start.elapsed() - timings.prefill;
        let ids = history.split_off(prompt_len);
        let (cached, new) = (prompt.cached, prompt.new);
        let (drafted, accepted) = lookup.map_or((0, 0), |lookup| (lookup.drafted, lookup.accepted));
        let text = text.into_text();
        Ok(Reply { ids, text, finish, timings, cached, new, drafted, accepted, beams: Vec::new() })
    }

    fn check_prompt(&self, prompt: &[u32]) -> Result<()> {
        let (max_seq_len, vocab_size) = (self.model().max_seq_len(), self.model().vocab_size());
        if prompt.is_empty() {
            return Err(Error::Request("prompt: expected at least one token, got none".to_owned()));
        }
        if prompt.len() > max_seq_len {
            return Err(Error::Request(format!(
                "prompt: expected at most {max_seq_len} tokens (the context), got {}; shorten it, or load the model with a \
                 longer context",
                prompt.len()
            )));
        }
        match prompt.iter().find(|&&id| id as usize >= vocab_size) {
            None => Ok(()),
            Some(id) => {
                Err(Error::Request(format!("prompt: expected ids below {vocab_size} (the vocabulary), got {id}")))
            }
        }
    }

    /// Runs what is not cached of the prompt, chunk by chunk; its last logits are then in `self.logits`.
    fn prefill(&mut self, request: &Request, on_event: OnEvent<'_>) -> Result<Prefilled> {
        let prompt = &request.prompt_ids;
        let (slot, cached) = self.slots.best_for(prompt);
        let new = prompt.len() - cached;
        let mut prefilled = Prefilled { slot, cached, new, stopped: false };
        let mut done = 0;
        loop {
            let told = on_event(Event::Prefill { cached, new, done });
            if told.is_break() || request.is_stopped() {
                prefilled.stopped = true;
                return Ok(prefilled);
            }
            if done == new {
                return Ok(prefilled);
            }
            let pos = cached + done;
            // Asked for each time: the model learns how fast the device is.
            let end = prompt.len().min(pos + self.model().chunk_len().max(1));
            if end == prompt.len() {
                self.slots.run(Pass::Prefill, slot, pos, &prompt[pos..end], &mut self.logits)?;
            } else {
                self.slots.fill(slot, pos, &prompt[pos..end])?;
            }
            done = end - cached;
        }
    }

    /// Whether a reply of `len` tokens must end.
    fn limit_reached(&self, request: &Request, len: usize) -> Option<FinishReason> {
        if len >= request.max_new_tokens {
            Some(FinishReason::MaxTokens)
        } else if request.prompt_ids.len() + len >= self.model().max_seq_len() {
            Some(FinishReason::ContextFull)
        } else {
            None
        }
    }
}

/// Shows what is still held back of a reply that nobody stopped. That may complete a stop string.
fn close(text: &mut ReplyText<'_>, finish: FinishReason, on_event: OnEvent<'_>) -> FinishReason {
    if finish == FinishReason::Stopped || text.found().is_some() {
        return finish;
    }
    let rest = text.finish();
    if !rest.is_empty() {
        // The reply is over: there is nothing left to break off.
        let _ = on_event(Event::Text { text: rest });
    }
    text.found().map_or(finish, |stop| FinishReason::StopString(stop.to_owned()))
}

#[cfg(test)]
mod tests;
