//! From logits to a token: penalties, truncations, the draw, and beam search. On the CPU, and without a model.

mod beam;
mod config;
mod processors;
mod rng;

pub use beam::{BeamConfig, BeamSearch, BeamSequence, BeamStep, EarlyStopping};
pub use config::{SamplerConfig, SamplerPreset};
pub use processors::{Processor, Scored, Scores};
pub use rng::Pcg32;

use crate::error::{Error, Result};

/// Chooses the tokens of one reply: make a new one for the next, so that its seed starts over.
#[derive(Debug, Clone)]
pub struct Sampler {
    greedy: bool,
    chain: Vec<Processor>,
    rng: Pcg32,
    scores: Scores,
}

impl Sampler {
    /// A sampler at the start of a reply.
    ///
    /// # Errors
    /// As [`SamplerConfig::validate`].
    pub fn new(config: &SamplerConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            greedy: config.greedy,
            chain: config.processors(),
            rng: Pcg32::new(config.seed),
            scores: Scores::new(),
        })
    }

    /// Chooses the next token. `logits` has one value a token of the vocabulary, `history` is the prompt and the reply so far.
    ///
    /// # Errors
    /// NaN or plus infinity among the logits is [`Error::NonFinite`]; no token left to choose from is [`Error::Request`].
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> Result<u32> {
        self.scores.fill(logits)?;
        for &processor in &self.chain {
            self.scores.apply(processor, history)?;
        }
        let chosen = if self.greedy { self.scores.best() } else { self.draw() };
        chosen.ok_or_else(|| Error::Request("sampling: no token is left to choose from".to_owned()))
    }

    /// Of a vocabulary of `vocab_size`, the number of best tokens among which [`Sampler::sample_among`] chooses as among all; None
    /// where every token has to be looked at.
    pub fn looks_at(&self) -> Option<usize> {
        let top_k = self.chain.iter().find_map(|processor| match processor {
            Processor::TopK(k) => Some((*k).max(1)),
            _ => None,
        });
        if self.greedy { Some(1) } else { top_k }
    }

    /// As [`Sampler::sample`], from `candidates`: the best tokens of a vocabulary of `vocab_size` and their logits, by ascending
    /// id. All others score below `floor`, by scores that may be off in their last digits. None, and no random number is used up,
    /// where it is not certain that all logits would give the same token.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn sample_among(
        &mut self,
        candidates: &[(u32, f32)],
        floor: f32,
        vocab_size: usize,
        history: &[u32],
    ) -> Result<Option<u32>> {
        let Some(n) = self.looks_at() else { return Ok(None) };
        self.scores.fill_some(candidates, vocab_size);
        let ranks =
            |processor: &&Processor| matches!(processor, Processor::RepetitionPenalty(_) | Processor::NoRepeatNgram(_));
        let first: Vec<Processor> = self.chain.iter().take_while(ranks).copied().collect();
        for &processor in &first {
            if self.scores.items().is_empty() {
                return Ok(None);
            }
            self.scores.apply(processor, history)?;
        }
        let certain = candidates.len() == vocab_size
            || self.scores.nth_best(n).is_some_and(|score| score > floor + floor.abs() * 1e-5);
        if !certain {
            return Ok(None);
        }
        for &processor in self.chain.iter().skip(first.len()) {
            self.scores.apply(processor, history)?;
        }
        let chosen = if self.greedy { self.scores.best() } else { self.draw() };
        Ok(chosen)
    }

    /// The random numbers of the draws to come.
    pub fn draws(&self) -> Pcg32 {
        self.rng.clone()
    }

    fn draw(&mut self) -> Option<u32> {
        let mut rest = self.rng.next_f64();
        let probs = self.scores.probabilities();
        // Rounding may leave a remainder after the last token: it is the last possible token's.
        let mut chosen = None;
        for (position, &prob) in probs.iter().enumerate() {
            if prob > 0.0 {
                chosen = Some(position);
                rest -= prob;
                if rest < 0.0 {
                    break;
                }
            }
        }
        chosen.and_then(|position| self.scores.items().get(position)).map(|item| item.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(config: &SamplerConfig, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(config).unwrap();
        (0..count).map(|_| sampler.sample(logits, &[]).unwrap()).collect()
    }

    #[test]
    fn same_seed_same_tokens() {
        let logits: Vec<f32> = (0..100).map(|id| (id % 7) as f32 / 2.0).collect();
        let config = SamplerConfig { greedy: false, seed: 5, ..SamplerConfig::greedy() };
        let first = draws(&config, &logits, 64);
        assert_eq!(first, draws(&config, &logits, 64));
        assert_ne!(first, draws(&SamplerConfig { seed: 6, ..config }, &logits, 64));
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let probs = [0.5f32, 0.0, 0.3, 0.2];
        let logits = probs.map(f32::ln);
        let config = SamplerConfig { greedy: false, seed: 1, ..SamplerConfig::greedy() };
        let drawn = draws(&config, &logits, 20_000);
        for (id, prob) in (0u32..).zip(probs) {
            let share = drawn.iter().filter(|&&token| token == id).count() as f32 / drawn.len() as f32;
            assert!((share - prob).abs() < 0.015, "token {id}: drawn {share}, expected {prob}");
        }
    }

    #[test]
    fn the_best_candidates_give_the_token_that_all_logits_give() {
        let mut rng = Pcg32::new(3);
        let configs = [
            SamplerPreset::Guanaco.config(),
            SamplerPreset::Reference.config(),
            SamplerConfig { top_k: 40, min_p: 0.1, top_p: 1.0, ..SamplerPreset::Guanaco.config() },
        ];
        for config in configs {
            let (mut all, mut some) = (Sampler::new(&config).unwrap(), Sampler::new(&config).unwrap());
            let mut history = vec![1, 2, 3];
            for _ in 0..300 {
                let logits: Vec<f32> = (0..500).map(|_| (rng.next_f64() * 12.0 - 6.0) as f32).collect();
                let penalised = |id: &u32| {
                    let logit = logits[*id as usize];
                    let seen = history.contains(id);
                    if !seen {
                        logit
                    } else if logit < 0.0 {
                        logit * config.repetition_penalty
                    } else {
                        logit / config.repetition_penalty
                    }
                };
                let mut best: Vec<u32> = (0..500).collect();
                best.sort_by(|a, b| penalised(b).total_cmp(&penalised(a)));
                best.truncate(some.looks_at().unwrap() + 8);
                let floor = penalised(best.last().unwrap());
                best.sort_unstable();
                let candidates: Vec<(u32, f32)> = best.iter().map(|id| (*id, logits[*id as usize])).collect();
                let expected = all.sample(&logits, &history).unwrap();
                assert_eq!(some.sample_among(&candidates, floor, 500, &history).unwrap(), Some(expected));
                history.push(expected);
            }
        }
    }

    #[test]
    fn candidates_that_may_lack_one_are_refused_and_no_draw_is_used_up() {
        let config = SamplerConfig { top_k: 3, ..SamplerPreset::Guanaco.config() };
        let mut sampler = Sampler::new(&config).unwrap();
        let before = sampler.draws().next_u32();
        // The third best ties with the lowest: a fourth of that score may have been left out.
        let tied = [(1, 4.0), (5, 3.0), (9, 2.0), (11, 2.0)];
        assert_eq!(sampler.sample_among(&tied, 2.0, 100, &[]).unwrap(), None);
        assert_eq!(sampler.sample_among(&tied[..2], 2.0, 100, &[]).unwrap(), None);
        assert_eq!(sampler.draws().next_u32(), before);
        let all = SamplerConfig { top_k: 0, ..config };
        assert_eq!(Sampler::new(&all).unwrap().sample_among(&tied, 2.0, 100, &[]).unwrap(), None);
    }

    #[test]
    fn greedy_takes_the_first_of_the_best_after_the_penalty() {
        let logits = [1.0, 4.0, 3.9, 3.9];
        let mut sampler = Sampler::new(&SamplerPreset::Reference.config()).unwrap();
        assert_eq!(sampler.sample(&logits, &[]).unwrap(), 1);
        assert_eq!(sampler.sample(&logits, &[1]).unwrap(), 2);
    }
}
