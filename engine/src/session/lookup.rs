//! Prompt lookup (Saxena 2023, <https://github.com/apoorvumang/prompt-lookup-decoding>): what followed the last few tokens earlier, in
//! the prompt or in the reply, is the draft of what follows them now.
//!
//! The model runs a draft in one pass over its weights. Behind each token of it the session's own sampler chooses, with the history
//! and the random number that it has without a draft, and the draft holds for as long as it is what was chosen. So a reply is
//! the same, seed for seed, as without, as far as the model's passes agree: they round differently.

use super::request::Request;
use super::slots::Slots;
use crate::error::Result;
use crate::model::{Forward, MOST_VERIFIED, Pass};
use crate::sampler::Sampler;

/// The most tokens of a draft: with the one before them they are a pass.
pub const MOST_DRAFTED: usize = MOST_VERIFIED - 1;

/// Tokens of the longest run that is looked for.
const LONGEST: usize = 3;

/// The most chances that are left out after a draft of which nothing held.
const LONGEST_WAIT: usize = 32;

/// How far drafts by runs of one length are relied on.
#[derive(Debug, Clone, Copy)]
struct Trust {
    /// Tokens of the next draft.
    len: usize,
    /// Drafts to leave out before it.
    wait: usize,
    /// The `wait` behind the last failure; 0 since something held.
    waited: usize,
}

impl Trust {
    /// Takes in that `held` of `drafted` tokens were right.
    fn learn(&mut self, held: usize, drafted: usize, most: usize) {
        if held == 0 {
            self.len = (self.len / 2).max(1);
            self.waited = (self.waited * 2).clamp(1, LONGEST_WAIT);
            self.wait = self.waited;
        } else {
            self.len = if held == drafted { self.len * 2 } else { held + 1 }.min(most);
            self.waited = 0;
        }
    }
}

/// The drafts of one reply.
#[derive(Debug)]
pub(super) struct Lookup<'a> {
    request: &'a Request,
    /// Tokens that prompt and reply may have together.
    most_tokens: usize,
    /// By the length of the run, from 1.
    trust: [Trust; LONGEST],
    /// The draft that is being tested, and the length of the run that it came from.
    draft: Vec<u32>,
    run: usize,
    /// Behind the token before the draft, and behind each of it: a row each.
    rows: Vec<f32>,
    /// How many tokens of the draft held so far; None when no draft is being tested.
    held: Option<usize>,
    /// Tokens that were drafted.
    pub(super) drafted: usize,
    /// Of these, tokens that the sampler chose.
    pub(super) accepted: usize,
}

impl<'a> Lookup<'a> {
    /// For a reply to `request` in a context of `max_seq_len`; None where it asks for no drafts.
    pub(super) fn new(request: &'a Request, max_seq_len: usize) -> Option<Self> {
        let trust = |run: usize| Trust { len: (run + 1).min(request.draft_tokens), wait: 0, waited: 0 };
        (request.draft_tokens > 0).then(|| Self {
            request,
            most_tokens: request.most_tokens(max_seq_len),
            trust: [trust(1), trust(2), trust(3)],
            draft: Vec::new(),
            run: 0,
            rows: Vec::new(),
            held: None,
            drafted: 0,
            accepted: 0,
        })
    }

    /// The token behind `history`, whose last token is run in `slot`. Its logits are then in `logits`.
    pub(super) fn next<F: Forward>(
        &mut self,
        slots: &mut Slots<F>,
        slot: usize,
        sampler: &mut Sampler,
        history: &[u32],
        logits: &mut Vec<f32>,
    ) -> Result<u32> {
        let (pos, last) = (history.len().saturating_sub(1), history.last().copied().unwrap_or_default());
        match self.held {
            Some(_) => slots.confirm(slot, last),
            None => {
                self.draw_up(history);
                if self.draft.is_empty() {
                    slots.run(Pass::Decode, slot, pos, &[last], logits)?;
                    return sampler.sample(logits, history);
                }
                let tokens: Vec<u32> = std::iter::once(last).chain(self.draft.iter().copied()).collect();
                slots.verify(slot, pos, &tokens, &mut self.rows)?;
                self.drafted += self.draft.len();
            }
        }
        let (held, vocab_size) = (self.held.take().unwrap_or_default(), slots.model().vocab_size());
        logits.clear();
        logits.extend(self.rows.iter().skip(held * vocab_size).take(vocab_size));
        let chosen = sampler.sample(logits, history)?;
        if self.draft.get(held) == Some(&chosen) {
            self.accepted += 1;
            self.held = Some(held + 1);
        } else if let Some(trust) = self.trust.get_mut(self.run - 1) {
            trust.learn(held, self.draft.len(), self.request.draft_tokens);
        }
        Ok(chosen)
    }

    /// Leaves in `draft` what may follow `history`; nothing where there is no run to go by, or it was wrong too often of late.
    fn draw_up(&mut self, history: &[u32]) {
        self.draft.clear();
        let room = self.most_tokens.saturating_sub(history.len() + 1);
        let found = (1..=LONGEST.min(history.len())).rev().find_map(|run| Some((run, behind_last_run(history, run)?)));
        let Some((run, start)) = found else { return };
        let Some(trust) = self.trust.get_mut(run - 1) else { return };
        if trust.wait > 0 {
            trust.wait -= 1;
            return;
        }
        self.run = run;
        for at in start..start + trust.len.min(room) {
            // Where the text repeats itself, the draft goes on with what it has drafted.
            let token = history.get(at).or_else(|| self.draft.get(at - history.len())).copied();
            // Behind an end nothing needs to be run, and whether it comes shows without.
            match token.filter(|token| !self.request.is_eos(*token)) {
                Some(token) => self.draft.push(token),
                None => break,
            }
        }
    }
}

/// The place behind the latest earlier run of tokens that is like the last `len` of `history`.
fn behind_last_run(history: &[u32], len: usize) -> Option<usize> {
    let (before, last) = history.split_at_checked(history.len().checked_sub(len)?)?;
    let earlier = history.get(..history.len() - 1)?;
    let starts = (0..before.len()).rev();
    starts.map(|start| start..start + len).find(|run| earlier.get(run.clone()) == Some(last)).map(|run| run.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_earlier_run_counts() {
        assert_eq!(behind_last_run(&[5, 6, 7, 5, 6, 8, 5, 6], 2), Some(5));
        assert_eq!(behind_last_run(&[5, 6, 7, 5, 6], 3), None);
        assert_eq!(behind_last_run(&[4, 4, 4, 4], 3), Some(3), "runs may overlap");
        assert_eq!(behind_last_run(&[4], 1), None);
        assert_eq!(behind_last_run(&[4, 5], 3), None);
        assert_eq!(behind_last_run(&[], 1), None);
    }

    fn drafts(history: &[u32], request: &Request) -> Vec<u32> {
        let mut lookup = Lookup::new(request, 64).unwrap();
        lookup.draw_up(history);
        lookup.draft
    }

    #[test]
    fn a_draft_goes_on_as_the_text_did_up_to_an_end_and_the_limits() {
        let request = Request { draft_tokens: 7, max_new_tokens: 60, eos: vec![2], ..Request::default() };
        assert_eq!(drafts(&[1, 5, 6, 7, 8, 9, 3, 5, 6, 7], &request), [8, 9, 3, 5]);
        assert_eq!(drafts(&[1, 5, 6, 7, 8, 9, 3, 6, 7], &request), [8, 9, 3]);
        assert_eq!(drafts(&[1, 5, 6, 7, 8, 9, 3, 7], &request), [8, 9]);
        assert_eq!(drafts(&[4, 5, 4, 5, 4], &request), [5, 4, 5, 4], "over its own beginning");
        assert_eq!(drafts(&[1, 5, 6, 7, 8, 2, 3, 5, 6, 7], &request), [8], "an end is no part of it");
        assert_eq!(drafts(&[1, 5, 6, 7, 8, 9], &request), [0; 0]);
        let short = Request { draft_tokens: 2, ..request.clone() };
        assert_eq!(drafts(&[1, 5, 6, 7, 8, 9, 3, 5, 6, 7], &short), [8, 9]);
        // Two tokens are missing to the limit: the second needs no draft.
        let limited = Request { max_new_tokens: 12, ..request };
        assert_eq!(drafts(&[1, 5, 6, 7, 8, 9, 3, 5, 6, 7], &limited), [8]);
    }

    #[test]
    fn trust_grows_with_what_holds_and_waits_after_what_does_not() {
        let mut trust = Trust { len: 4, wait: 0, waited: 0 };
        trust.learn(4, 4, 7);
        assert_eq!(trust.len, 7);
        trust.learn(2, 7, 7);
        assert_eq!((trust.len, trust.wait), (3, 0));
        let waits: Vec<usize> = (0..7)
            .map(|_| {
                trust.learn(0, trust.len, 7);
                trust.wait
            })
            .collect();
        assert_eq!((waits, trust.len), (vec![1, 2, 4, 8, 16, 32, 32], 1));
        trust.learn(1, 1, 7);
        assert_eq!((trust.len, trust.waited), (2, 0));
    }
}
