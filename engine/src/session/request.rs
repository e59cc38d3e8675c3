//! What is asked of a session, and what it answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::chances::Chances;
use super::lookup::MOST_DRAFTED;
use crate::error::{Error, Result};
use crate::sampler::{BeamConfig, EarlyStopping, SamplerConfig};

/// One reply to generate.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt's tokens, BOS included.
    pub prompt_ids: Vec<u32>,
    /// How tokens are chosen.
    pub sampler: SamplerConfig,
    /// Tokens after which the reply ends. 0 runs the prompt and no more.
    pub max_new_tokens: usize,
    /// Texts that end the reply; they are no part of it. They need a tokenizer.
    pub stop: Vec<String>,
    /// Tokens that end the reply.
    pub eos: Vec<u32>,
    /// Treats `eos` as ordinary tokens.
    pub ignore_eos: bool,
    /// More than 1 is a beam search, which takes `sampler.greedy` and as many slots.
    pub num_beams: usize,
    /// Beam search: see [`BeamConfig::length_penalty`].
    pub length_penalty: f32,
    /// Beam search: when it is over.
    pub early_stopping: EarlyStopping,
    /// Beam search: the number of [`Reply::beams`], at most `num_beams`.
    pub num_return_sequences: usize,
    /// Tells with each token how likely it was, and this many of the likeliest ones: [`Event::Token`]. 0 is off. Not for a beam
    /// search. The device does not decode ahead where they are more than 128, or with a repetition penalty below 1.
    pub alternatives: usize,
    /// Drafts up to this many tokens at a time, at most [`MOST_DRAFTED`], out of what the prompt and the reply have said before, and
    /// tests them in one pass over the weights. The reply is the same; it comes sooner where it repeats what was said. 0 is off. Not
    /// for a beam search. The device does not decode ahead then.
    pub draft_tokens: usize,
    /// Set to true, from any thread, it ends the reply before the next token or chunk. The session never resets it.
    pub stop_flag: Arc<AtomicBool>,
}

impl Default for Request {
    /// An empty prompt, the default sampler, 512 new tokens, no stop strings, no EOS, one beam.
    fn default() -> Self {
        Self {
            prompt_ids: Vec::new(),
            sampler: SamplerConfig::default(),
            max_new_tokens: 512,
            stop: Vec::new(),
            eos: Vec::new(),
            ignore_eos: false,
            num_beams: 1,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::default(),
            num_return_sequences: 1,
            alternatives: 0,
            draft_tokens: 0,
            stop_flag: Arc::default(),
        }
    }
}

impl Request {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop_flag.load(Ordering::Relaxed)
    }

    /// Tokens that prompt and reply may have together in a context of `max_seq_len`.
    pub(super) fn most_tokens(&self, max_seq_len: usize) -> usize {
        self.prompt_ids.len().saturating_add(self.max_new_tokens).min(max_seq_len)
    }

    pub(super) fn is_eos(&self, id: u32) -> bool {
        !self.ignore_eos && self.eos.contains(&id)
    }

    pub(super) fn beam_config(&self, max_new_tokens: usize) -> BeamConfig {
        BeamConfig {
            num_beams: self.num_beams,
            max_new_tokens,
            length_penalty: self.length_penalty,
            early_stopping: self.early_stopping,
            num_return_sequences: self.num_return_sequences,
            eos: if self.ignore_eos { Vec::new() } else { self.eos.clone() },
        }
    }

    /// Checks what does not need the model.
    pub(super) fn validate(&self, n_slots: usize) -> Result<()> {
        self.sampler.validate()?;
        self.beam_config(self.max_new_tokens).validate()?;
        if self.num_beams > 1 && !self.sampler.greedy {
            return Err(Error::Request(format!(
                "num_beams: beam search draws nothing by chance, got {} beams and a sampler that draws; set `greedy` (the \
                 preset `reference` does)",
                self.num_beams
            )));
        }
        if self.draft_tokens > MOST_DRAFTED || self.draft_tokens > 0 && self.num_beams > 1 {
            let most = if self.num_beams > 1 { 0 } else { MOST_DRAFTED };
            return Err(Error::Request(format!(
                "draft_tokens: expected at most {most} with num_beams {}, got {}",
                self.num_beams, self.draft_tokens
            )));
        }
        if self.num_beams > n_slots {
            return Err(Error::Request(format!(
                "num_beams: expected at most {n_slots}, the number of KV cache slots, got {}; load the model with more slots",
                self.num_beams
            )));
        }
        Ok(())
    }
}

/// What a reply tells while it grows. All `text`s together are [`Reply::text`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event<'a> {
    /// The prompt is being run: once before the first chunk, then after each.
    Prefill {
        /// Tokens of the prompt that the cache already had.
        cached: usize,
        /// Tokens of the prompt to run.
        new: usize,
        /// Of these, tokens run so far.
        done: usize,
    },
    /// A token was chosen.
    Token {
        /// The token, an EOS included.
        id: u32,
        /// Text that is safe to show: whole characters, and no beginning of a stop string.
        text: &'a str,
        /// How likely it was; None unless [`Request::alternatives`] asks for it.
        chances: Option<&'a Chances>,
    },
    /// A beam search has gone one token further.
    BeamStep {
        /// New tokens of each beam.
        len: usize,
    },
    /// Text without a new token: what was held back at the end, or the whole text of a beam search.
    Text {
        /// The text.
        text: &'a str,
    },
}

/// Why a reply ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model chose an EOS token.
    Eos,
    /// This stop string came up.
    StopString(String),
    /// `max_new_tokens` were generated.
    MaxTokens,
    /// Prompt and reply fill the context.
    ContextFull,
    /// The caller ended it.
    Stopped,
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Eos => f.pad("end of text"),
            Self::StopString(stop) => write!(f, "stop string {stop:?}"),
            Self::MaxTokens => f.pad("token limit"),
            Self::ContextFull => f.pad("context full"),
            Self::Stopped => f.pad("stopped"),
        }
    }
}

/// How long a reply took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Running the prompt.
    pub prefill: Duration,
    /// Prompt tokens run in that time; without the cached ones.
    pub prefill_tokens: usize,
    /// From the prompt's logits to the end.
    pub decode: Duration,
    /// Tokens run in that time: one less than generated, as the last one is not run, times the beams.
    pub decode_tokens: usize,
    /// From the start to the first token; None when there is none.
    pub first_token: Option<Duration>,
}

impl Timings {
    /// Prompt tokens a second; None when nothing was measured.
    pub fn prefill_tok_per_s(&self) -> Option<f64> {
        rate(self.prefill_tokens, self.prefill)
    }

    /// Decoded tokens a second; None when nothing was measured.
    pub fn decode_tok_per_s(&self) -> Option<f64> {
        rate(self.decode_tokens, self.decode)
    }
}

fn rate(tokens: usize, time: Duration) -> Option<f64> {
    (tokens > 0 && !time.is_zero()).then(|| tokens as f64 / time.as_secs_f64())
}

/// One of the sequences of a beam search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BeamResult {
    /// The new tokens, an EOS included.
    pub ids: Vec<u32>,
    /// Their text, up to a stop string.
    pub text: String,
    /// Log-probability over `ids.len() ^ length_penalty`.
    pub score: f64,
    /// Why this sequence ended.
    pub finish: FinishReason,
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The new tokens, an EOS and those of a stop string included.
    pub ids: Vec<u32>,
    /// Their text, without EOS and stop string; empty without a tokenizer. When the caller ends a reply, what may be the
    /// beginning of a stop string is left out.
    pub text: String,
    /// Why it ended.
    pub finish: FinishReason,
    /// How long it took.
    pub timings: Timings,
    /// Tokens of the prompt that the cache already had.
    pub cached: usize,
    /// Tokens of the prompt that were not cached.
    pub new: usize,
    /// Tokens that were drafted ([`Request::draft_tokens`]).
    pub drafted: usize,
    /// Of these, tokens that the sampler chose: each saved a decode step.
    pub accepted: usize,
    /// The sequences of a beam search, best first (the best one is also in `ids` and `text`); else empty.
    pub beams: Vec<BeamResult>,
}
