//! Beam search as a state machine: logits in, the beams to run next out. It knows no model.
//!
//! Exactly the search of transformers 5 (`_beam_search` in `src/transformers/generation/utils.py`): log-probabilities first,
//! processors on them, the best `(1 + number of EOS tokens, at least 2) * num_beams` continuations of all beams at each step,
//! of which only the first `num_beams` may end a sequence, and the first `num_beams` unended ones go on.
//! One difference: where transformers fills up with placeholders of score -1e9 (a vocabulary smaller than the number of
//! continuations, say), here there are fewer beams.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::processors::{Processor, Scores};
use crate::error::{Error, Result};

/// When a search with enough ended sequences is over. In JSON and on the command line `false`, `true` and `"never"`, as in
/// transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// `false`: once the best running beam, scored at its present length, is no better than the worst ended sequence.
    #[default]
    Heuristic,
    /// `true`: as soon as `num_beams` sequences have ended.
    WhenFull,
    /// `never`: once no running beam could become better at any length (with a positive `length_penalty`, at the greatest
    /// length).
    Never,
}

impl fmt::Display for EarlyStopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Heuristic => "false",
            Self::WhenFull => "true",
            Self::Never => "never",
        })
    }
}

impl FromStr for EarlyStopping {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "false" => Ok(Self::Heuristic),
            "true" => Ok(Self::WhenFull),
            "never" => Ok(Self::Never),
            other => Err(Error::Request(format!("early_stopping: expected true, false or never, got \"{other}\""))),
        }
    }
}

impl Serialize for EarlyStopping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Heuristic => serializer.serialize_bool(false),
            Self::WhenFull => serializer.serialize_bool(true),
            Self::Never => serializer.serialize_str("never"),
        }
    }
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Spelling {
            Bool(bool),
            Text(String),
        }
        let text = match Spelling::deserialize(deserializer)? {
            Spelling::Bool(value) => value.to_string(),
            Spelling::Text(text) => text,
        };
        text.parse().map_err(D::Error::custom)
    }
}

/// What a search looks for.
#[derive(Debug, Clone, PartialEq)]
pub struct BeamConfig {
    /// Sequences carried on side by side.
    pub num_beams: usize,
    /// Every sequence ends at this length (new tokens).
    pub max_new_tokens: usize,
    /// A sequence's score is its log-probability over `length ^ length_penalty`: above 0 favours long ones.
    pub length_penalty: f32,
    /// When to stop looking.
    pub early_stopping: EarlyStopping,
    /// Sequences returned, at most `num_beams`.
    pub num_return_sequences: usize,
    /// Tokens that end a sequence.
    pub eos: Vec<u32>,
}

impl BeamConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Request`] naming the first field that is out of its range.
    pub fn validate(&self) -> Result<()> {
        if self.num_beams == 0 {
            return Err(Error::Request("num_beams: expected at least 1, got 0".to_owned()));
        }
        if !(1..=self.num_beams).contains(&self.num_return_sequences) {
            return Err(Error::Request(format!(
                "num_return_sequences: expected 1 to num_beams ({}), got {}",
                self.num_beams, self.num_return_sequences
            )));
        }
        if !self.length_penalty.is_finite() {
            return Err(Error::Request(format!(
                "length_penalty: expected a finite number, got {}",
                self.length_penalty
            )));
        }
        Ok(())
    }
}

/// A sequence that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct BeamSequence {
    /// The new tokens, an EOS included.
    pub ids: Vec<u32>,
    /// Log-probability over `ids.len() ^ length_penalty`.
    pub score: f64,
}

/// What comes after [`BeamSearch::advance`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeamStep {
    /// Run each beam's last token; beam `i` goes on from what was beam `parents[i]` before.
    Continue {
        /// One for each running beam.
        parents: Vec<usize>,
    },
    /// The search is over.
    Done,
}

#[derive(Debug, Clone)]
struct Beam {
    /// Prompt and reply, as the processors see them.
    history: Vec<u32>,
    log_prob: f64,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    parent: usize,
    id: u32,
    log_prob: f64,
}

/// A search under way.
#[derive(Debug, Clone)]
pub struct BeamSearch {
    config: BeamConfig,
    chain: Vec<Processor>,
    prompt_len: usize,
    /// Best first. One at the start, as all would be the same.
    running: Vec<Beam>,
    /// Best first, at most `num_beams`.
    finished: Vec<BeamSequence>,
    scores: Scores,
    log_probs: Vec<f32>,
}

impl BeamSearch {
    /// A search from `prompt`, whose logits the first [`BeamSearch::advance`] takes. `chain` is applied to log-probabilities.
    ///
    /// # Errors
    /// As [`BeamConfig::validate`].
    pub fn new(config: BeamConfig, chain: Vec<Processor>, prompt: &[u32]) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config,
            chain,
            prompt_len: prompt.len(),
            running: vec![Beam { history: prompt.to_vec(), log_prob: 0.0 }],
            finished: Vec::new(),
            scores: Scores::new(),
            log_probs: Vec::new(),
        })
    }

    /// Number of beams whose logits the next [`BeamSearch::advance`] expects.
    pub fn n_running(&self) -> usize {
        self.running.len()
    }

    /// Prompt and reply of a running beam, the best one first; its last token is the one to run.
    pub fn history(&self, beam: usize) -> &[u32] {
        self.running.get(beam).map_or(&[], |beam| &beam.history)
    }

    /// One step. `logits` has one entry of `vocab_size` values for each running beam. `ends` is asked about the new tokens of
    /// sequences that neither EOS nor the length ends: a stop string, say.
    ///
    /// # Errors
    /// A wrong number of logits is [`Error::Request`], NaN or infinity among them [`Error::NonFinite`]; errors of `ends` are
    /// passed on.
    pub fn advance(&mut self, logits: &[Vec<f32>], ends: &mut dyn FnMut(&[u32]) -> Result<bool>) -> Result<BeamStep> {
        if logits.len() != self.running.len() {
            return Err(Error::Request(format!(
                "beam search: expected logits of {} beams, got {}",
                self.running.len(),
                logits.len()
            )));
        }
        let new_len = self.history(0).len() + 1 - self.prompt_len;
        let candidates = self.best_continuations(logits)?;

        let mut running = Vec::with_capacity(self.config.num_beams);
        let mut parents = Vec::with_capacity(self.config.num_beams);
        for (rank, candidate) in candidates.into_iter().enumerate() {
            // What can no longer end a sequence nor go on is not even looked at.
            if rank >= self.config.num_beams && running.len() == self.config.num_beams {
                break;
            }
            let mut history = self.running[candidate.parent].history.clone();
            history.push(candidate.id);
            let new_ids = &history[self.prompt_len..];
            let ended =
                new_len >= self.config.max_new_tokens || self.config.eos.contains(&candidate.id) || ends(new_ids)?;
            if !ended {
                if running.len() < self.config.num_beams {
                    parents.push(candidate.parent);
                    running.push(Beam { history, log_prob: candidate.log_prob });
                }
            } else if rank < self.config.num_beams {
                let score = self.score(candidate.log_prob, new_len);
                let place = self.finished.partition_point(|other| other.score >= score);
                self.finished.insert(place, BeamSequence { ids: new_ids.to_vec(), score });
                self.finished.truncate(self.config.num_beams);
            }
        }
        self.running = running;
        Ok(if self.is_done(new_len) { BeamStep::Done } else { BeamStep::Continue { parents } })
    }

    /// The best sequences, at most `num_return_sequences`. Before the search is over, running beams stand in, after the ended
    /// sequences, for those still missing.
    pub fn results(&self) -> Vec<BeamSequence> {
        let running = self.running.iter().map(|beam| {
            let ids = beam.history[self.prompt_len..].to_vec();
            let score = self.score(beam.log_prob, ids.len().max(1));
            BeamSequence { ids, score }
        });
        self.finished.iter().cloned().chain(running).take(self.config.num_return_sequences).collect()
    }

    fn score(&self, log_prob: f64, len: usize) -> f64 {
        log_prob / (len as f64).powf(f64::from(self.config.length_penalty))
    }

    /// The best continuations of all running beams, best first; ties in the order of beams and ids.
    fn best_continuations(&mut self, logits: &[Vec<f32>]) -> Result<Vec<Candidate>> {
        let wanted = (1 + self.config.eos.len()).max(2) * self.config.num_beams;
        let mut best: Vec<Candidate> = Vec::with_capacity(wanted + 1);
        for (parent, logits) in logits.iter().enumerate() {
            let beam = &self.running[parent];
            log_softmax(logits, &mut self.log_probs);
            self.scores.fill(&self.log_probs)?;
            for &processor in &self.chain {
                self.scores.apply(processor, &beam.history)?;
            }
            for item in self.scores.items() {
                let log_prob = beam.log_prob + f64::from(item.score);
                if best.len() == wanted && best[wanted - 1].log_prob >= log_prob {
                    continue;
                }
                let place = best.partition_point(|other| other.log_prob >= log_prob);
                best.insert(place, Candidate { parent, id: item.id, log_prob });
                best.truncate(wanted);
            }
        }
        Ok(best)
    }

    /// Whether nothing can or need be found any more; `len` is the present number of new tokens.
    fn is_done(&self, len: usize) -> bool {
        let Some(best_running) = self.running.first() else { return true };
        let Some(worst) = self.finished.last().filter(|_| self.finished.len() == self.config.num_beams) else {
            return false;
        };
        let best_len = match self.config.early_stopping {
            EarlyStopping::WhenFull => return true,
            EarlyStopping::Never if self.config.length_penalty > 0.0 => self.config.max_new_tokens,
            EarlyStopping::Never | EarlyStopping::Heuristic => len,
        };
        self.score(best_running.log_prob, best_len) <= worst.score
    }
}

/// Logits minus the logarithm of the sum of their exponentials, which is taken in f64.
fn log_softmax(logits: &[f32], log_probs: &mut Vec<f32>) {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - best).exp()).sum();
    let shift = f64::from(best) + sum.ln();
    log_probs.clear();
    log_probs.extend(logits.iter().map(|&logit| (f64::from(logit) - shift) as f32));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> BeamConfig {
        BeamConfig {
            num_beams: 2,
            max_new_tokens: 3,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::Heuristic,
            num_return_sequences: 2,
            eos: vec![0],
        }
    }

    #[test]
    fn early_stopping_is_spelled_as_in_transformers() {
        for (json, value) in [
            ("false", EarlyStopping::Heuristic),
            ("true", EarlyStopping::WhenFull),
            ("\"never\"", EarlyStopping::Never),
        ] {
            assert_eq!(serde_json::from_str::<EarlyStopping>(json).unwrap(), value);
            assert_eq!(serde_json::to_string(&value).unwrap(), json);
            assert_eq!(value.to_string().parse::<EarlyStopping>().unwrap(), value);
        }
        assert!(serde_json::from_str::<EarlyStopping>("\"always\"").is_err());
    }

    #[test]
    fn a_vocabulary_smaller_than_the_candidates_gives_fewer_beams() {
        let mut search = BeamSearch::new(config(), Vec::new(), &[1]).unwrap();
        let logits = vec![0.0, 1.0];
        let step = search.advance(std::slice::from_ref(&logits), &mut |_| Ok(false)).unwrap();
        assert_eq!(step, BeamStep::Continue { parents: vec![0] });
        assert_eq!(search.history(0), [1, 1]);
        assert!(search.advance(&[logits.clone(), logits.clone()], &mut |_| Ok(false)).is_err());
        while search.advance(std::slice::from_ref(&logits), &mut |_| Ok(false)).unwrap() != BeamStep::Done {}
        let found: Vec<Vec<u32>> = search.results().into_iter().map(|found| found.ids).collect();
        assert_eq!(found, [vec![1, 1, 1], vec![1, 1, 0]]);
    }

    #[test]
    fn logits_that_are_no_numbers_are_errors() {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut search = BeamSearch::new(config(), Vec::new(), &[1]).unwrap();
            let error = search.advance(&[vec![0.0, bad, 1.0]], &mut |_| Ok(false)).unwrap_err();
            assert!(matches!(error, Error::NonFinite(_)), "{error}");
        }
    }

    #[test]
    fn before_the_end_running_beams_stand_in() {
        let mut search = BeamSearch::new(config(), Vec::new(), &[1]).unwrap();
        search.advance(&[vec![3.0, 2.0, 1.0]], &mut |_| Ok(false)).unwrap();
        let found: Vec<Vec<u32>> = search.results().into_iter().map(|found| found.ids).collect();
        assert_eq!(found, [[0], [1]], "the ended one first");
    }
}
