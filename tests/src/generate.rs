//! Cases of transformers' `generate()`: beam search, and greedy replies with penalties, for any model behind a session.

use std::ops::ControlFlow;

use anyhow::ensure;
use guanaco_engine::model::Forward;
use guanaco_engine::sampler::{EarlyStopping, SamplerConfig};
use guanaco_engine::session::{Reply, Request, Session};
use serde::Deserialize;

use crate::Outcome;

/// The parameters of a case of transformers' `generate()`; one left out has that function's default.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Params {
    #[serde(default = "one")]
    num_beams: usize,
    #[serde(default = "one")]
    num_return_sequences: usize,
    max_new_tokens: Option<usize>,
    length_penalty: Option<f32>,
    #[serde(default)]
    early_stopping: EarlyStopping,
    repetition_penalty: Option<f32>,
    #[serde(default)]
    no_repeat_ngram_size: usize,
    #[serde(default)]
    eos_token_id: Eos,
}

fn one() -> usize {
    1
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
enum Eos {
    #[default]
    None,
    One(u32),
    Many(Vec<u32>),
}

impl Params {
    /// The request that means the same.
    pub fn request(&self, prompt_ids: &[u32], max_new_tokens: usize) -> Request {
        Request {
            prompt_ids: prompt_ids.to_vec(),
            sampler: SamplerConfig {
                repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
                no_repeat_ngram: self.no_repeat_ngram_size,
                ..SamplerConfig::greedy()
            },
            max_new_tokens: self.max_new_tokens.unwrap_or(max_new_tokens),
            eos: match &self.eos_token_id {
                Eos::None => Vec::new(),
                Eos::One(id) => vec![*id],
                Eos::Many(ids) => ids.clone(),
            },
            num_beams: self.num_beams,
            length_penalty: self.length_penalty.unwrap_or(1.0),
            early_stopping: self.early_stopping,
            num_return_sequences: self.num_return_sequences,
            ..Request::default()
        }
    }
}

/// A beam search and what it found.
#[derive(Deserialize)]
pub struct BeamCase {
    /// What is special about it.
    pub name: Option<String>,
    params: Params,
    /// `best`: only the first sequence is certain.
    compare: Option<String>,
    prompt_ids: Vec<u32>,
    sequences: Vec<Vec<u32>>,
    sequences_scores: Vec<f64>,
}

impl BeamCase {
    /// Runs it on `model`: the same sequences in the same order, scores to `tolerance`.
    ///
    /// # Errors
    /// The first difference.
    pub fn check(&self, model: impl Forward, tolerance: f64) -> Outcome {
        let got = reply(model, &self.params.request(&self.prompt_ids, 20))?;
        let compared = if self.compare.as_deref() == Some("best") { 1 } else { self.sequences.len() };
        ensure!(got.beams.len() == self.sequences.len(), "expected {} sequences, got {got:?}", self.sequences.len());
        for (beam, (ids, score)) in
            got.beams.iter().zip(self.sequences.iter().zip(&self.sequences_scores)).take(compared)
        {
            ensure!(beam.ids == *ids, "{:?}: expected {ids:?} ({score}), got {beam:?}", self.params);
            let off = (beam.score - score).abs();
            ensure!(off <= tolerance * score.abs().max(1.0), "expected score {score}, got {}", beam.score);
        }
        Ok(())
    }
}

/// One reply to `request`, from nothing.
///
/// # Errors
/// What the session reports.
pub fn reply(model: impl Forward, request: &Request) -> anyhow::Result<Reply> {
    Ok(Session::new(model).generate(request, None, &mut |_| ControlFlow::Continue(()))?)
}

/// `generate/golden.json`.
#[derive(Deserialize)]
pub struct GenerateFile {
    /// Beam searches.
    pub beam: Vec<BeamCase>,
    /// Greedy replies with penalties.
    pub greedy_with_processors: Vec<GreedyCase>,
}

/// A greedy reply with penalties.
#[derive(Deserialize)]
pub struct GreedyCase {
    /// What is special about it.
    pub name: String,
    params: Params,
    prompt_ids: Vec<u32>,
    greedy_ids: Vec<u32>,
}

impl GreedyCase {
    /// Runs it on `model`: the same tokens.
    ///
    /// # Errors
    /// The difference.
    pub fn check(&self, model: impl Forward) -> Outcome {
        let got = reply(model, &self.params.request(&self.prompt_ids, self.greedy_ids.len()))?;
        ensure!(got.ids == self.greedy_ids, "expected {:?}, got {:?}", self.greedy_ids, got.ids);
        Ok(())
    }
}
