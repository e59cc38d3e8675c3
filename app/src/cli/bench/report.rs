//! What a bench measured, in the shape of its JSON, and as text.

use std::fmt;

use guanaco_engine::gpu::{AdapterFacts, MemoryPlan, Tier};
use guanaco_engine::model::Config;
use serde::{Deserialize, Serialize};

use super::history::Change;
use super::profile::Profile;
use super::suite::LeftOut;
use crate::cli::conformance::report::Platform;
use crate::cli::devices::size;

/// The number in `format`: goes up when a field changes its meaning or goes away. 2: where nothing was asked for, the figures at
/// the top are those of pp512 and of tg128 from an empty context, no longer of one run of both.
pub const FORMAT: u32 = 2;

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
    /// Tokens of the prompt, of the test that stands for all: the one asked for, or pp512.
    pub prompt_tokens: usize,
    /// Tokens decoded, in the test that stands for all: behind that prompt if it was asked for, else from an empty context.
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
    /// Floating-point operations a second of the best matmul kernel in a large square product.
    #[serde(default)]
    pub matmul_flops: Option<f64>,
    /// The most memory of the process, with the device's where that is software; null where the system does not tell.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// Kernels that `guanaco tune` chose a launch for: name and launch.
    #[serde(default)]
    pub tuned: Vec<String>,
    /// Every prompt that was timed.
    #[serde(default)]
    pub prefill: Vec<Prefill>,
    /// Every reply that was timed.
    #[serde(default)]
    pub decode: Vec<Decode>,
    /// Tests of the suite that were not run.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// The GPU time of each kernel; null where it was not asked for.
    #[serde(default)]
    pub profile: Option<Profile>,
    /// What changed against a saved report or the last run that was kept.
    #[serde(default)]
    pub changes: Vec<Change>,
}

/// A prompt that was timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prefill {
    /// `pp512`.
    pub name: String,
    /// Its tokens.
    pub tokens: usize,
    /// Tokens a second.
    pub tok_per_s: Spread,
    /// Seconds from the request to the first token; null where the prompt fills the context.
    pub first_token_s: Option<Spread>,
    /// Of the products and of attention, for the whole prompt.
    pub multiply_adds: u64,
    /// Two a multiply-add, × tokens a second ÷ `matmul_flops`.
    pub matmul_share: Option<f64>,
}

impl Prefill {
    /// Floating-point operations a second.
    pub fn flops(&self) -> f64 {
        2.0 * self.multiply_adds as f64 / self.tokens as f64 * self.tok_per_s.median
    }
}

/// A reply that was timed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decode {
    /// `tg128`, or `tg128@4096` behind 4096 tokens.
    pub name: String,
    /// Tokens in front of it.
    pub depth: usize,
    /// Its tokens.
    pub tokens: usize,
    /// Tokens a second.
    pub tok_per_s: Spread,
    /// Bytes that a step reads in the middle of the reply.
    pub bytes_per_token: u64,
    /// `bytes_per_token` × tokens a second ÷ `copy_bytes_per_s`.
    pub bandwidth_share: Option<f64>,
    /// What the host does for a token.
    pub host: Host,
}

impl Decode {
    /// Bytes read a second.
    pub fn bytes_per_s(&self) -> f64 {
        self.bytes_per_token as f64 * self.tok_per_s.median
    }
}

/// The host's own time for a token, seconds: all that is not waiting for the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// All of it.
    pub s_per_token: f64,
    /// As a share of the token's time.
    pub share: f64,
    /// Making the list of dispatches.
    pub recording_s: f64,
    /// Encoding and submitting it.
    pub submit_s: f64,
    /// Choosing the token, greedily.
    pub sampling_s: f64,
    /// Turning it into text; 0 without a tokenizer.
    pub detokenize_s: f64,
    /// What is left: writing the step's input, mapping and checking the logits, events.
    pub rest_s: f64,
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
        if let Some(peak) = self.peak_memory_bytes {
            writeln!(f, "  {:<32} {:>12}", "the process, at most", size(peak))?;
        }
        for tuned in &self.tuned {
            writeln!(f, "tuned    {tuned}")?;
        }
        let runs = format!("{} runs", self.prefill_tok_per_s.runs.len());
        writeln!(f, "\n{runs:32} {:>10} {:>10} {:>10}", "median", "min", "max")?;
        let mut line = |what: String, spread: &Spread, factor: f64, share: String| {
            let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| figure(value * factor));
            writeln!(f, "{what:32} {median:>10} {min:>10} {max:>10}{share}")
        };
        for test in &self.prefill {
            let share = test.matmul_share.map(|share| format!("  {} % of the matmul peak", figure(share * 100.0)));
            let share = share.unwrap_or_default();
            line(format!("{}, tok/s", test.name), &test.tok_per_s, 1.0, share)?;
        }
        for test in &self.decode {
            let share =
                test.bandwidth_share.map(|share| format!("  {} % of the copy bandwidth", figure(share * 100.0)));
            let share = share.unwrap_or_default();
            line(format!("{}, tok/s", test.name), &test.tok_per_s, 1.0, share)?;
        }
        for test in &self.prefill {
            if let Some(first) = &test.first_token_s {
                line(format!("{}, time to first token, ms", test.name), first, 1e3, String::new())?;
            }
        }
        for LeftOut { name, why } in &self.left_out {
            writeln!(f, "{name:32} left out: {why}")?;
        }
        let read = size(self.bytes_per_token);
        writeln!(f, "\na decode step makes {} dispatches and reads {read}", self.dispatches_per_token)?;
        write!(f, "copies within the device move {} GB/s", figure(self.copy_bytes_per_s / 1e9))?;
        if let (Some(share), Some(decode)) = (self.bandwidth_share, &self.decode_tok_per_s) {
            let read = self.bytes_per_token as f64 * decode.median / 1e9;
            write!(f, "; decoding reads {} GB/s, {} % of that", figure(read), figure(share * 100.0))?;
        }
        writeln!(f)?;
        if let Some(flops) = self.matmul_flops {
            writeln!(f, "the best matmul kernel makes {} GFLOP/s in a large square", figure(flops / 1e9))?;
        }
        for test in &self.decode {
            let Host { s_per_token, share, recording_s, submit_s, sampling_s, detokenize_s, rest_s } = test.host;
            let us = |seconds: f64| figure(seconds * 1e6);
            writeln!(
                f,
                "{}: the host works {} µs a token, {} % of its time: recording {}, submit {}, sampling {}, detokenizing {}, the \
                 rest {}",
                test.name,
                us(s_per_token),
                figure(share * 100.0),
                us(recording_s),
                us(submit_s),
                us(sampling_s),
                us(detokenize_s),
                us(rest_s),
            )?;
        }
        if let Some(profile) = &self.profile {
            write!(f, "{profile}")?;
        }
        Change::write(f, &self.changes)
    }
}

/// Three digits that matter, and never fewer than those before the point.
pub(in crate::cli) fn figure(value: f64) -> String {
    let digits = if value > 0.0 { (2.0 - value.log10().floor()).clamp(0.0, 4.0) } else { 0.0 };
    format!("{value:.0$}", digits as usize)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A report of an adapter with an awkward name, with one test of each kind.
    pub(in crate::cli::bench) fn report(tok_per_s: [f64; 3]) -> Report {
        let spread = || Spread::of(tok_per_s.to_vec()).unwrap();
        let conformance = crate::cli::conformance::report::tests::report(&[]);
        let model = Model {
            name: "tiny <i>".into(),
            dim: 64,
            hidden_dim: 128,
            n_layers: 2,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 16,
            vocab_size: 100,
        };
        let host = Host {
            s_per_token: 1e-4,
            share: 0.02,
            recording_s: 1e-5,
            submit_s: 5e-5,
            sampling_s: 1e-5,
            detokenize_s: 0.0,
            rest_s: 3e-5,
        };
        let step = crate::cli::bench::profile::tests::step();
        Report {
            kv: "f16".to_owned(),
            format: FORMAT,
            engine: "0.1.0".into(),
            platform: conformance.platform,
            adapter: conformance.adapter,
            tier: conformance.tier,
            fallbacks: Vec::new(),
            model,
            memory: MemoryPlan::default(),
            context: 513,
            chunk_len: 128,
            prompt_tokens: 512,
            new_tokens: 128,
            load_s: 0.5,
            prefill_tok_per_s: spread(),
            decode_tok_per_s: Some(spread()),
            first_token_s: spread(),
            dispatches_per_token: 21,
            bytes_per_token: 1 << 20,
            copy_bytes_per_s: 1e10,
            bandwidth_share: Some(0.5),
            matmul_flops: Some(1e10),
            peak_memory_bytes: Some(1 << 30),
            tuned: vec!["matvec base/128".into()],
            prefill: vec![Prefill {
                name: "pp512".into(),
                tokens: 512,
                tok_per_s: spread(),
                first_token_s: None,
                multiply_adds: 1 << 30,
                matmul_share: Some(0.25),
            }],
            decode: vec![Decode {
                name: "tg128".into(),
                depth: 1,
                tokens: 128,
                tok_per_s: spread(),
                bytes_per_token: 1 << 20,
                bandwidth_share: Some(0.5),
                host,
            }],
            left_out: vec![LeftOut { name: "pp2048".into(), why: "the context is short".into() }],
            profile: Some(Profile {
                clock: guanaco_engine::gpu::Clock::Host,
                instead: Some("the device has no timestamps".into()),
                prefill: step.clone(),
                decode: step,
            }),
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_report_comes_back_and_an_older_one_is_still_read() {
        let report = report([100.0, 101.0, 99.0]);
        let text = serde_json::to_string(&report).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        assert_eq!((&back.prefill, &back.decode, &back.profile), (&report.prefill, &report.decode, &report.profile));
        let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
        for new in ["matmul_flops", "peak_memory_bytes", "tuned", "prefill", "decode", "left_out", "profile", "changes"]
        {
            assert!(old.as_object_mut().unwrap().remove(new).is_some(), "{new}");
        }
        old["format"] = 1.into();
        let old: Report = serde_json::from_value(old).unwrap();
        assert_eq!((old.prefill.len(), old.prompt_tokens), (0, 512));
        let text = report.to_string();
        for words in ["pp512, tok/s", "25.0 % of the matmul peak", "left out: the context is short", "recording 10.0"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(text.contains("by the host's clock") && text.contains("the device has no timestamps"), "{text}");
    }

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
