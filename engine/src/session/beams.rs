//! Beam search over the slots of a model: the search itself is [`BeamSearch`], which knows no model.

use std::time::Instant;

use super::{BeamResult, Event, FinishReason, OnEvent, Reply, ReplyText, Request, Session, Timings};
use crate::error::Result;
use crate::model::{Forward, Pass};
use crate::sampler::{BeamSearch, BeamSequence, BeamStep};

impl<F: Forward> Session<F> {
    /// [`Session::generate`] for a request with more than one beam, already checked. `empty` is where each text starts from.
    pub(super) fn generate_beams(
        &mut self,
        request: &Request,
        empty: &ReplyText<'_>,
        on_event: OnEvent<'_>,
    ) -> Result<Reply> {
        let start = Instant::now();
        let prompt = self.prefill(request, on_event)?;
        let mut timings = Timings { prefill: start.elapsed(), prefill_tokens: prompt.new, ..Timings::default() };

        let room = self.model().max_seq_len() - request.prompt_ids.len();
        let max_new_tokens = request.max_new_tokens.min(room);
        let mut search =
            BeamSearch::new(request.beam_config(max_new_tokens), request.sampler.processors(), &request.prompt_ids)?;
        let mut ends = |ids: &[u32]| -> Result<bool> {
            if request.stop.is_empty() {
                return Ok(false);
            }
            let mut text = empty.clone();
            for &id in ids {
                text.push(id)?;
            }
            Ok(text.found().is_some())
        };

        // The slots of this search, and of them the one of each running beam.
        let mut pool = vec![prompt.slot];
        pool.extend((0..self.model().n_slots()).filter(|&slot| slot != prompt.slot).take(request.num_beams - 1));
        let mut slot_of = vec![prompt.slot];
        let mut logits = vec![std::mem::take(&mut self.logits)];
        let mut stopped = prompt.stopped;
        let mut len = 0;
        while !stopped && max_new_tokens > 0 {
            let step = search.advance(&logits, &mut ends)?;
            len += 1;
            timings.first_token.get_or_insert_with(|| start.elapsed());
            stopped = on_event(Event::BeamStep { len }).is_break() || request.is_stopped();
            let BeamStep::Continue { parents } = step else { break };
            if stopped {
                break;
            }
            let pos = request.prompt_ids.len() + len - 1;
            slot_of = self.assign_slots(&pool, &slot_of, &parents, pos)?;
            logits.resize_with(parents.len(), Vec::new);
            for (beam, logits) in logits.iter_mut().enumerate() {
                let token = &search.history(beam)[pos..];
                self.slots.run(Pass::Decode, slot_of[beam], pos, token, logits)?;
                timings.decode_tokens += 1;
            }
        }

        let sequences = if len == 0 { Vec::new() } else { search.results() };
        let to_result = |sequence| self.beam_result(request, empty.clone(), sequence);
        let beams = sequences.into_iter().map(to_result).collect::<Result<Vec<_>>>()?;
        let best = beams.first();
        let finish = if stopped {
            FinishReason::Stopped
        } else {
            best.map(|best| best.finish.clone())
                .or_else(|| self.limit_reached(request, 0))
                .unwrap_or(FinishReason::Stopped)
        };
        let (ids, text) = best.map(|best| (best.ids.clone(), best.text.clone())).unwrap_or_default();
        if !text.is_empty() && !stopped {
            // The reply is over: there is nothing left to break off.
            let _ = on_event(Event::Text { text: &text });
        }
        timings.decode = start.elapsed() - timings.prefill;
        Ok(Reply { ids, text, finish, timings, cached: prompt.cached, new: prompt.new, drafted: 0, accepted: 0, beams })
    }

    /// Gives each beam a slot of `pool` with the first `len` tokens of its parent's. The first child of a parent stays in the
    /// parent's slot; each further one gets a copy in a slot that no child stayed in, so no copy is ever read after it is
    /// overwritten.
    fn assign_slots(&mut self, pool: &[usize], slot_of: &[usize], parents: &[usize], len: usize) -> Result<Vec<usize>> {
        let mut stays = Vec::with_capacity(parents.len());
        let mut taken: Vec<usize> = Vec::with_capacity(pool.len());
        for &parent in parents {
            let stay = !taken.contains(&slot_of[parent]);
            if stay {
                taken.push(slot_of[parent]);
            }
            stays.push(stay);
        }
        let mut free = pool.iter().copied().filter(|slot| !taken.contains(slot));
        let mut assigned = Vec::with_capacity(parents.len());
        for (&parent, stays) in parents.iter().zip(stays) {
            let from = slot_of[parent];
            // There are as many slots as beams, so a free one is there for each that does not stay.
            let to = if stays { from } else { free.next().unwrap_or(from) };
            if to != from {
                self.slots.copy(from, to, len)?;
            }
            assigned.push(to);
        }
        Ok(assigned)
    }

    /// The text of a sequence and why it ended.
    fn beam_result(&self, request: &Request, mut text: ReplyText<'_>, found: BeamSequence) -> Result<BeamResult> {
        let BeamSequence { ids, score } = found;
        let is_eos = ids.last().is_some_and(|&id| request.is_eos(id));
        for &id in &ids[..ids.len() - usize::from(is_eos)] {
            text.push(id)?;
        }
        text.finish();
        let finish = match text.found() {
            Some(stop) => FinishReason::StopString(stop.to_owned()),
            None if is_eos => FinishReason::Eos,
            None => self.limit_reached(request, ids.len()).unwrap_or(FinishReason::Stopped),
        };
        Ok(BeamResult { ids, text: text.into_text(), score, finish })
    }
}
