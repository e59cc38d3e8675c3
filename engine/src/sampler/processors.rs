//! The processors between logits and a drawn token, with the meaning that transformers gives them
//! (`src/transformers/generation/logits_process.py`).
//!
//! [`Scores`] holds the tokens still in play, so that after `top_k` the rest of the chain touches a few tokens and not the
//! whole vocabulary. Only partial selections are made, never a sort of all.

use std::cmp::Ordering;

use crate::error::{Error, Result};

/// One step from logits to the scores that a token is drawn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Processor {
    /// Divides positive and multiplies negative scores of each token in the history by this, once a token. (Keskar et al.
    /// 2019, "CTRL", <https://arxiv.org/abs/1909.05858>.)
    RepetitionPenalty(f32),
    /// Removes each token that would complete a run of this many tokens that the history already has; 1 removes the whole
    /// history.
    NoRepeatNgram(usize),
    /// Divides every score by this.
    Temperature(f32),
    /// Keeps the best tokens, this many, and all those tied with the last of them.
    TopK(usize),
    /// Keeps the best tokens until their probabilities sum to `p`. (Holtzman et al. 2019, <https://arxiv.org/abs/1904.09751>.)
    TopP {
        /// The sum to reach.
        p: f32,
        /// The number of best tokens kept in any case.
        min_tokens_to_keep: usize,
    },
    /// Removes the tokens less probable than this times the best one's probability. (Nguyen et al. 2024,
    /// <https://arxiv.org/abs/2407.01082>.)
    MinP(f32),
    /// Keeps the tokens whose information is nearest to the entropy, until their probabilities sum to this, and those tied
    /// with the last of them. (Meister et al. 2022, <https://arxiv.org/abs/2202.00666>.)
    TypicalP(f32),
}

/// A token still in play.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The token.
    pub id: u32,
    /// Its score; finite after [`Scores::fill`].
    pub score: f32,
}

/// The tokens still in play. Kept between calls for its memory.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    /// Ascending ids.
    items: Vec<Scored>,
    vocab_size: usize,
    /// One bit a token of the vocabulary.
    marks: Vec<u64>,
    /// One probability an item.
    probs: Vec<f64>,
    keys: Vec<f64>,
    order: Vec<u32>,
    selected: Vec<f32>,
}

impl Scores {
    /// No tokens; [`Scores::fill`] brings them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts over with `logits` (`vocab_size` values). A token whose logit is minus infinity is out of play.
    ///
    /// # Errors
    /// NaN or plus infinity is [`Error::NonFinite`]; no token in play is [`Error::Request`].
    pub fn fill(&mut self, logits: &[f32]) -> Result<()> {
        self.vocab_size = logits.len();
        self.items.clear();
        for (id, &score) in (0u32..).zip(logits) {
            if score.is_finite() {
                self.items.push(Scored { id, score });
            } else if score != f32::NEG_INFINITY {
                return Err(Error::NonFinite(format!(
                    "logits: expected finite values, got {score} for token {id}; the weights or the device are at fault, \
                     not the prompt"
                )));
            }
        }
        if self.items.is_empty() { Err(nothing_left(self.vocab_size)) } else { Ok(()) }
    }

    /// Starts over with some tokens of a vocabulary of `vocab_size`: their ids, ascending, and finite logits.
    pub fn fill_some(&mut self, candidates: &[(u32, f32)], vocab_size: usize) {
        self.vocab_size = vocab_size;
        self.items.clear();
        self.items.extend(candidates.iter().map(|&(id, score)| Scored { id, score }));
    }

    /// The `n`-th best score (the best is the first); None where there are fewer.
    pub(super) fn nth_best(&mut self, n: usize) -> Option<f32> {
        self.selected.clear();
        self.selected.extend(self.items.iter().map(|item| item.score));
        self.selected.sort_unstable_by(|a, b| b.total_cmp(a));
        self.selected.get(n.checked_sub(1)?).copied()
    }

    /// The tokens still in play, by ascending id.
    pub fn items(&self) -> &[Scored] {
        &self.items
    }

    /// Applies one processor. `history` is the prompt and the reply so far.
    ///
    /// # Errors
    /// [`Error::Request`] when no token is left in play, or a score left the range of f32.
    pub fn apply(&mut self, processor: Processor, history: &[u32]) -> Result<()> {
        match processor {
            Processor::RepetitionPenalty(penalty) => {
                self.mark(history.iter().copied());
                let Self { items, marks, .. } = self;
                for item in items.iter_mut().filter(|item| is_marked(marks, item.id)) {
                    item.score = if item.score < 0.0 { item.score * penalty } else { item.score / penalty };
                }
            }
            Processor::NoRepeatNgram(size) => {
                let Some(prefix_len) = size.checked_sub(1) else { return Ok(()) };
                let Some(tail) = history.len().checked_sub(prefix_len).map(|start| &history[start..]) else {
                    return Ok(());
                };
                let completes = |run: &[u32]| (run[..prefix_len] == *tail).then_some(run[prefix_len]);
                self.mark(history.windows(size).filter_map(completes));
                let Self { items, marks, .. } = self;
                items.retain(|item| !is_marked(marks, item.id));
            }
            Processor::Temperature(temperature) => {
                for item in &mut self.items {
                    item.score /= temperature;
                }
            }
            Processor::TopK(k) => self.keep_top_k(k.max(1)),
            Processor::TopP { p, min_tokens_to_keep } => self.keep_top_p(f64::from(p), min_tokens_to_keep.max(1)),
            Processor::MinP(min_p) => {
                let best = self.best_score();
                // exp(score - best) is the probability over the best one's.
                self.items.retain(|item| f64::from(item.score - best).exp() >= f64::from(min_p));
            }
            Processor::TypicalP(mass) => self.keep_typical(f64::from(mass)),
        }
        if self.items.is_empty() {
            return Err(nothing_left(self.vocab_size));
        }
        match self.items.iter().find(|item| !item.score.is_finite()) {
            None => Ok(()),
            Some(item) => Err(Error::Request(format!(
                "sampling: {processor:?} takes the score of token {} out of the range of f32; use a value nearer to 1",
                item.id
            ))),
        }
    }

    /// The best token; of several the one with the lowest id. None only before [`Scores::fill`].
    pub fn best(&self) -> Option<u32> {
        let best = self.best_score();
        self.items.iter().find(|item| item.score == best).map(|item| item.id)
    }

    /// The probability of each of [`Scores::items`]: softmax in f64.
    pub fn probabilities(&mut self) -> &[f64] {
        let best = self.best_score();
        self.probs.clear();
        self.probs.extend(self.items.iter().map(|item| f64::from(item.score - best).exp()));
        let sum: f64 = self.probs.iter().sum();
        for prob in &mut self.probs {
            *prob /= sum;
        }
        &self.probs
    }

    fn best_score(&self) -> f32 {
        self.items.iter().fold(f32::NEG_INFINITY, |best, item| best.max(item.score))
    }

    /// Sets the marks of `ids`, and of nothing else. Ids outside the vocabulary are nobody's.
    fn mark(&mut self, ids: impl Iterator<Item = u32>) {
        self.marks.clear();
        self.marks.resize(self.vocab_size.div_ceil(64), 0);
        for id in ids {
            if let Some(word) = self.marks.get_mut(id as usize / 64) {
                *word |= 1 << (id % 64);
            }
        }
    }

    fn keep_top_k(&mut self, k: usize) {
        if k >= self.items.len() {
            return;
        }
        self.selected.clear();
        self.selected.extend(self.items.iter().map(|item| item.score));
        let (_, &mut kth, _) = self.selected.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a));
        self.items.retain(|item| item.score >= kth);
    }

    fn keep_top_p(&mut self, p: f64, min_tokens_to_keep: usize) {
        self.probabilities();
        if p >= 1.0 {
            // All that transformers takes away then is what has no probability in f32.
            let mut probs = self.probs.iter();
            self.items.retain(|_| probs.next().is_some_and(|prob| *prob as f32 > 0.0));
            return;
        }
        self.keys.clear();
        self.keys.extend(self.items.iter().map(|item| -f64::from(item.score)));
        let kept = self.smallest_prefix(p, min_tokens_to_keep);
        // Back to ascending ids, which are ascending positions.
        self.order.truncate(kept);
        self.order.sort_unstable();
        for (to, &from) in self.order.iter().enumerate() {
            self.items[to] = self.items[from as usize];
        }
        self.items.truncate(kept);
    }

    fn keep_typical(&mut self, mass: f64) {
        self.probabilities();
        let Self { probs, keys, .. } = self;
        let information = |prob: f64| -prob.ln();
        let entropy: f64 = probs.iter().filter(|prob| **prob > 0.0).map(|&prob| prob * information(prob)).sum();
        keys.clear();
        keys.extend(probs.iter().map(|&prob| (information(prob) - entropy).abs()));
        let kept = self.smallest_prefix(mass, 1);
        let Some(&last) = self.order[..kept].last() else { return };
        let limit = self.keys[last as usize];
        let mut keys = self.keys.iter();
        self.items.retain(|_| keys.next().is_some_and(|key| *key <= limit));
    }

    /// Puts the positions of the items with the smallest `keys` first in `order`, sorted, and returns how many of them it
    /// takes until their `probs` sum to `mass`, but at least `least`. Ties go by id.
    fn smallest_prefix(&mut self, mass: f64, least: usize) -> usize {
        let Self { items, probs, keys, order, .. } = self;
        let by_key =
            |a: &u32, b: &u32| -> Ordering { keys[*a as usize].total_cmp(&keys[*b as usize]).then_with(|| a.cmp(b)) };
        order.clear();
        order.extend(0..items.len() as u32);
        let (mut count, mut sum) = (0, 0.0);
        let (mut sorted, mut block) = (0, 128);
        while count < order.len() && (count < least || sum < mass) {
            if count == sorted {
                let rest = &mut order[sorted..];
                let len = block.min(rest.len());
                if len < rest.len() {
                    rest.select_nth_unstable_by(len - 1, by_key);
                }
                rest[..len].sort_unstable_by(by_key);
                sorted += len;
                block *= 4;
            }
            sum += probs[order[count] as usize];
            count += 1;
        }
        count
    }
}

fn is_marked(marks: &[u64], id: u32) -> bool {
    marks.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
}

fn nothing_left(vocab_size: usize) -> Error {
    Error::Request(format!(
        "sampling: none of the {vocab_size} tokens is left to choose from; loosen the sampling values (`no_repeat_ngram` \
         first), or the model masks every token"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(logits: &[f32], processor: Processor, history: &[u32]) -> Result<Vec<u32>> {
        let mut scores = Scores::new();
        scores.fill(logits)?;
        scores.apply(processor, history)?;
        Ok(scores.items().iter().map(|item| item.id).collect())
    }

    #[test]
    fn top_k_keeps_ties_and_takes_the_two_zeros_as_equal() {
        assert_eq!(kept(&[1.0, 3.0, 2.0, 3.0, 2.0], Processor::TopK(3), &[]).unwrap(), [1, 2, 3, 4]);
        assert_eq!(kept(&[0.0, -0.0, -1.0], Processor::TopK(1), &[]).unwrap(), [0, 1]);
        assert_eq!(kept(&[0.0, 1.0], Processor::TopK(9), &[]).unwrap(), [0, 1]);
    }

    #[test]
    fn ngrams_that_would_repeat_are_removed() {
        let flat = [0.0; 6];
        let history = [1, 2, 3, 1, 2];
        assert_eq!(kept(&flat, Processor::NoRepeatNgram(3), &history).unwrap(), [0, 1, 2, 4, 5]);
        assert_eq!(kept(&flat, Processor::NoRepeatNgram(1), &history).unwrap(), [0, 4, 5]);
        assert_eq!(kept(&flat, Processor::NoRepeatNgram(9), &history).unwrap().len(), 6);
        assert_eq!(kept(&flat, Processor::NoRepeatNgram(2), &[]).unwrap().len(), 6);
        let error = kept(&flat[..2], Processor::NoRepeatNgram(1), &[0, 1]).unwrap_err().to_string();
        assert!(error.contains("none of the 2 tokens"), "{error}");
    }

    #[test]
    fn history_outside_the_vocabulary_is_ignored() {
        assert_eq!(kept(&[1.0, 2.0], Processor::RepetitionPenalty(2.0), &[70_000, 1]).unwrap(), [0, 1]);
    }

    #[test]
    fn logits_that_are_no_numbers_are_errors() {
        let mut scores = Scores::new();
        for bad in [f32::NAN, f32::INFINITY] {
            let error = scores.fill(&[0.0, bad]).unwrap_err();
            assert!(matches!(error, Error::NonFinite(_)), "{error}");
        }
        assert!(matches!(scores.fill(&[f32::NEG_INFINITY; 3]), Err(Error::Request(_))));
        assert!(matches!(scores.fill(&[]), Err(Error::Request(_))));
        let error = kept(&[3e38, -3e38], Processor::Temperature(0.1), &[]).unwrap_err().to_string();
        assert!(error.contains("Temperature(0.1) takes the score of token 0"), "{error}");
    }

    /// Straight from the definition, with full sorts.
    fn by_definition(logits: &[f32], key: impl Fn(f64, f64) -> f64, mass: f64) -> Vec<u32> {
        let exps: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp()).collect();
        let sum: f64 = exps.iter().sum();
        let probs: Vec<f64> = exps.iter().map(|exp| exp / sum).collect();
        let entropy: f64 = probs.iter().map(|prob| -prob * prob.ln()).sum();
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| key(probs[a as usize], entropy).total_cmp(&key(probs[b as usize], entropy)));
        let mut before = 0.0;
        order.retain(|&id| {
            let keep = before < mass;
            before += probs[id as usize];
            keep
        });
        order.sort_unstable();
        order
    }

    #[test]
    fn large_vocabularies_agree_with_the_definition() {
        let mut rng = super::super::Pcg32::new(3);
        let logits: Vec<f32> = (0..5000).map(|_| (rng.next_f64() * 12.0 - 6.0) as f32).collect();
        for mass in [0.1, 0.5, 0.75, 0.95, 0.999] {
            let top_p = Processor::TopP { p: mass as f32, min_tokens_to_keep: 1 };
            let mass = f64::from(mass as f32);
            assert_eq!(kept(&logits, top_p, &[]).unwrap(), by_definition(&logits, |prob, _| -prob, mass));
            let expected = by_definition(&logits, |prob, entropy| (-prob.ln() - entropy).abs(), mass);
            assert_eq!(kept(&logits, Processor::TypicalP(mass as f32), &[]).unwrap(), expected);
        }
    }
}
