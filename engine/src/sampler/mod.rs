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
    fn greedy_takes_the_first_of_the_best_after_the_penalty() {
        let logits = [1.0, 4.0, 3.9, 3.9];
        let mut sampler = Sampler::new(&SamplerPreset::Reference.config()).unwrap();
        assert_eq!(sampler.sample(&logits, &[]).unwrap(), 1);
        assert_eq!(sampler.sample(&logits, &[1]).unwrap(), 2);
    }
}
