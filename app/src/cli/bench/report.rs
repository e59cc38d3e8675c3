//! What a bench measured, in the shape of its JSON, and as text.

use std::fmt;

use guanaco_engine::gpu::{AdapterFacts, MemoryPlan, Tier};
use guanaco_engine::model::Config;
use serde::{Deserialize, Serialize};

use crate::cli::conformance::report::Platform;
use crate::cli::devices::size;

/// The number in `format`: goes up when a field changes its meaning or goes away.
pub const FORMAT: u32 = 1;

/// The figures of one model on one adapter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program.
    pub engine: String,
    /// What it ran on.
    pub platform: Platform,
    /// The adapter and its driver.
    pub adapter: AdapterFacts,
    /// What the adapter can do: features and limits.
    pub tier: Tier,
    /// Kernel variants that failed their self-test, so that others ran: kernel, variant, reason.
    #[serde(default)]
    pub fallbacks: Vec<String>,
    /// The model.
    pub model: Model,
    /// How the KV cache is kept.
    #[serde(default = "f16")]
    pub kv: String,
    /// What the model takes on the device.
    pub memory: MemoryPlan,
    /// Positions of the KV cache.
    pub context: usize,
    /// Tokens of the prompt that run at once.
    pub chunk_len: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens decoded behind it.
    pub new_tokens: usize,
    /// Seconds from opening the checkpoint to a model that can run; the device was open already.
    pub load_s: f64,
    /// Prompt tokens a second.
    pub prefill_tok_per_s: Spread,
    /// Decoded tokens a second; null when none were asked for.
    pub decode_tok_per_s: Option<Spread>,
    /// Seconds from the request to the first token.
    pub first_token_s: Spread,
    /// Dispatches of a decode step.
    pub dispatches_per_token: usize,
    /// Bytes that a decode step reads in the middle of the reply: every matrix once, and the KV cache.
    pub bytes_per_token: u64,
    /// Bytes a second, read plus written, of copies within the device.
    pub copy_bytes_per_s: f64,
    /// `bytes_per_token` × decoded tokens a second ÷ `copy_bytes_per_s`.
    pub bandwidth_share: Option<f64>,
}

/// Reports from before there was a choice.
fn f16() -> String {
    "f16".to_owned()
}

/// The model's name and sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// What it is called in messages.
    pub name: String,
    /// Width of the residual stream.
    pub dim: usize,
    /// Width between `up_proj` and `down_proj`.
    pub hidden_dim: usize,
    /// Transformer layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Number of logits.
    pub vocab_size: usize,
}

impl Model {
    /// The sizes in `config`.
    pub fn new(name: String, config: &Config) -> Self {
        let Config { dim, hidden_dim, n_layers, n_heads, n_kv_heads, head_dim, vocab_size, .. } = *config;
        Self { name, dim, hidden_dim, n_layers, n_heads, n_kv_heads, head_dim, vocab_size }
    }
}

/// One figure over all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The middle one; the mean of the two in the middle when their number is even.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Run by run.
    pub runs: Vec<f64>,
}

impl Spread {
    /// The spread of `runs`; None when there is none.
    pub fn of(runs: Vec<f64>) -> Option<Self> {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let median = 0.5 * (sorted.get((sorted.len() - 1) / 2)? + sorted.get(sorted.len() / 2)?);
        Some(Self { median, min, max, runs })
    }
}

/// The facts, then the table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Model { name, dim, n_layers, n_heads, n_kv_heads, vocab_size, .. } = &self.model;
        let heads = if n_kv_heads == n_heads { n_heads.to_string() } else { format!("{n_heads}/{n_kv_heads}") };
        writeln!(f, "adapter  {}", self.adapter)?;
        for fallback in &self.fallbacks {
            writeln!(f, "slower   another kernel runs in place of {fallback}")?;
        }
        writeln!(f, "model    {name}: {n_layers} layers of {dim}, {heads} heads, vocabulary of {vocab_size}")?;
        writeln!(f, "loaded   in {:.2} s", self.load_s)?;
        writeln!(f, "memory")?;
        writeln!(f, "{}", self.memory)?;
        let runs = format!("{} runs", self.first_token_s.runs.len());
        writeln!(f, "\n{runs:32} {:>10} {:>10} {:>10}", "median", "min", "max")?;
        let mut line = |what: String, spread: &Spread, factor: f64| {
            let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| figure(value * factor));
            writeln!(f, "{what:32} {median:>10} {min:>10} {max:>10}")
        };
        line(format!("prefill of {} tokens, tok/s", self.prompt_tokens), &self.prefill_tok_per_s, 1.0)?;
        if let Some(decode) = &self.decode_tok_per_s {
            line(format!("decode of {} tokens, tok/s", self.new_tokens), decode, 1.0)?;
        }
        line("time to first token, ms".to_owned(), &self.first_token_s, 1e3)?;
        let read = size(self.bytes_per_token);
        writeln!(f, "\na decode step makes {} dispatches and reads {read}", self.dispatches_per_token)?;
        write!(f, "copies within the device move {} GB/s", figure(self.copy_bytes_per_s / 1e9))?;
        if let (Some(share), Some(decode)) = (self.bandwidth_share, &self.decode_tok_per_s) {
            let read = self.bytes_per_token as f64 * decode.median / 1e9;
            write!(f, "; decoding reads {} GB/s, {} % of that", figure(read), figure(share * 100.0))?;
        }
        writeln!(f)
    }
}

/// Three digits that matter, and never fewer than those before the point.
fn figure(value: f64) -> String {
    let digits = if value > 0.0 { (2.0 - value.log10().floor()).clamp(0.0, 4.0) } else { 0.0 };
    format!("{value:.0$}", digits as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(spread.runs, [3.0, 1.0, 2.0]);
        assert_eq!(Spread::of(vec![4.0, 1.0, 3.0, 2.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn figures_have_three_digits() {
        for (value, text) in
            [(1234.5, "1234"), (123.45, "123"), (12.345, "12.3"), (1.2345, "1.23"), (0.01234, "0.0123"), (0.0, "0")]
        {
            assert_eq!(figure(value), text);
        }
    }
}
