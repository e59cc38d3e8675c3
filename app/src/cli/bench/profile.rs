//! What each kernel takes of a prefill chunk and of a decode step.

use std::collections::BTreeMap;
use std::time::Duration;

use guanaco_engine::gpu::{Clock, TimeProfile};
use guanaco_engine::model::{Forward, Llama, Pass};
use serde::{Deserialize, Serialize};

use super::report::{Spread, figure};
use super::runs::random_ids;

/// Decode steps that are profiled: each figure is their median.
const DECODE_STEPS: usize = 5;

/// Chunks of a prompt, unless the first one takes longer than [`PATIENCE`].
const CHUNKS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(1);

/// Both steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// How the times were taken.
    pub clock: Clock,
    /// Why a better clock was left aside.
    pub instead: Option<String>,
    /// A chunk of a prompt, from position 0.
    pub prefill: Step,
    /// A decode step behind it.
    pub decode: Step,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Position of its first token.
    pub pos: usize,
    /// Its tokens.
    pub tokens: usize,
    /// On the device: the sum of its dispatches.
    pub seconds: f64,
    /// In the order in which they first run.
    pub kernels: Vec<Line>,
}

/// A part of the model, as the chart nests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Block {
    /// Before the layers.
    Embed,
    /// The first half of every layer, its norm and the residual addition included.
    Attention,
    /// The second half.
    Mlp,
    /// Behind the layers, up to the token.
    Head,
    /// A label that belongs to none of these.
    Other,
}

impl Block {
    /// Where the dispatch with this label belongs.
    pub fn of(label: &str) -> Self {
        let label = label.split_whitespace().next().unwrap_or_default();
        match label {
            "input_norm" | "qkv_proj" | "rope_kv" | "o_proj" => Self::Attention,
            label if label.starts_with("attention") || label.starts_with("qkv") => Self::Attention,
            "post_attention_norm" | "gate_up_proj" | "swiglu" | "down_proj" => Self::Mlp,
            label if label.starts_with("gate") || label.starts_with("down") || label.starts_with("mlp") => Self::Mlp,
            "embed" => Self::Embed,
            "final_norm" | "lm_head" | "argmax" | "sample" | "top_k" => Self::Head,
            label if label.starts_with("lm_head") || label.starts_with("sample") => Self::Head,
            _ => Self::Other,
        }
    }

    /// What the chart calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Attention => "attention, all layers",
            Self::Mlp => "MLP, all layers",
            Self::Head => "head",
            Self::Other => "other",
        }
    }
}

/// The dispatches of a step that share a label, a kernel and a variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Where they belong.
    pub block: Block,
    /// What they compute.
    pub label: String,
    /// The kernel's stem.
    pub kernel: String,
    /// Its variant and workgroup, `subgroup/8`.
    pub variant: String,
    /// Their number.
    pub calls: usize,
    /// Of all calls.
    pub seconds: f64,
    /// Of the step's time.
    pub share: f64,
    /// Bytes of weights a second, counted once a call; null where there are none.
    pub weight_bytes_per_s: Option<f64>,
    /// Floating-point operations a second, two a multiply-add; null where they are not counted.
    pub flops: Option<f64>,
}

/// Profiles `model`, from an empty cache: a chunk of a prompt, then decode steps.
///
/// # Errors
/// What the model or the device reports.
pub fn take(model: &mut Llama) -> anyhow::Result<Profile> {
    let tokens = model.chunk_len().min(model.max_seq_len().saturating_sub(DECODE_STEPS)).max(1);
    let ids = random_ids(model.vocab_size(), tokens);
    let mut logits = Vec::new();
    let gpu = model.gpu().clone();
    let mut step = |pass, pos, ids: &[u32]| -> anyhow::Result<TimeProfile> {
        gpu.start_profile()?;
        let ran = model.forward(pass, 0, pos, ids, &mut logits);
        let profile = gpu.take_profile();
        ran?;
        Ok(profile?)
    };
    let mut prefill = vec![step(Pass::Prefill, 0, &ids)?];
    while prefill.len() < CHUNKS && prefill.iter().all(|chunk| chunk.time() < PATIENCE) {
        prefill.push(step(Pass::Prefill, 0, &ids)?);
    }
    let last = ids.get(..1).unwrap_or_default();
    let decode = (0..DECODE_STEPS).map(|at| step(Pass::Decode, tokens + at, last)).collect::<Result<Vec<_>, _>>()?;
    // What one step cannot trust says nothing for the others: the worst clock names them all.
    let all = || decode.iter().chain(&prefill);
    let worst = all().max_by_key(|profile| {
        [Clock::Timestamps, Clock::PassTimestamps, Clock::Host].iter().position(|c| *c == profile.clock)
    });
    Ok(Profile {
        clock: worst.map_or(Clock::Host, |profile| profile.clock),
        instead: all().find_map(|profile| profile.instead.clone()),
        decode: Step::of(&decode, tokens, 1),
        prefill: Step::of(&prefill, 0, tokens),
    })
}

impl Step {
    /// The medians of `profiles`, which are of equal steps.
    fn of(profiles: &[TimeProfile], pos: usize, tokens: usize) -> Self {
        let mut kernels: Vec<Line> = Vec::new();
        let mut places = BTreeMap::new();
        // Of each line: seconds in each profile, and what one profile counts.
        let mut sums: Vec<(Vec<f64>, u64, u64)> = Vec::new();
        for (number, profile) in profiles.iter().enumerate() {
            for dispatch in &profile.dispatches {
                let key = (dispatch.label.clone(), dispatch.kernel, dispatch.variant.clone());
                let at = *places.entry(key).or_insert_with(|| {
                    kernels.push(Line {
                        block: Block::of(&dispatch.label),
                        label: dispatch.label.clone(),
                        kernel: dispatch.kernel.to_owned(),
                        variant: dispatch.variant.clone(),
                        calls: 0,
                        seconds: 0.0,
                        share: 0.0,
                        weight_bytes_per_s: None,
                        flops: None,
                    });
                    sums.push((vec![0.0; profiles.len()], 0, 0));
                    kernels.len() - 1
                });
                if let (Some(line), Some((seconds, adds, bytes))) = (kernels.get_mut(at), sums.get_mut(at)) {
                    if let Some(seconds) = seconds.get_mut(number) {
                        *seconds += dispatch.time.as_secs_f64();
                    }
                    if number == 0 {
                        line.calls += 1;
                        *adds += dispatch.multiply_adds;
                        *bytes += dispatch.weight_bytes;
                    }
                }
            }
        }
        for (line, (seconds, adds, bytes)) in kernels.iter_mut().zip(sums) {
            line.seconds = Spread::of(seconds).map_or(0.0, |spread| spread.median);
            let rate = |amount: f64| (amount > 0.0 && line.seconds > 0.0).then(|| amount / line.seconds);
            (line.weight_bytes_per_s, line.flops) = (rate(bytes as f64), rate(2.0 * adds as f64));
        }
        let seconds: f64 = kernels.iter().map(|line| line.seconds).sum();
        kernels.iter_mut().for_each(|line| line.share = line.seconds / seconds.max(f64::MIN_POSITIVE));
        Self { pos, tokens, seconds, kernels }
    }

    /// Its blocks in the order of the forward pass, with the seconds of each.
    pub fn blocks(&self) -> Vec<(Block, f64)> {
        let mut blocks: BTreeMap<Block, f64> = BTreeMap::new();
        for line in &self.kernels {
            *blocks.entry(line.block).or_default() += line.seconds;
        }
        blocks.into_iter().collect()
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\nGPU time of each kernel, {}", self.clock)?;
        match &self.instead {
            Some(why) => writeln!(f, " ({why})")?,
            None => writeln!(f)?,
        }
        for (what, step) in [("prefill chunk", &self.prefill), ("decode step", &self.decode)] {
            let (tokens, pos, ms) = (step.tokens, step.pos, figure(step.seconds * 1e3));
            writeln!(
                f,
                "\n{:48} {:>5} {:>9} {:>6} {:>8} {:>8}",
                format!("{what}, {tokens} from {pos}: {ms} ms"),
                "calls",
                "ms",
                "%",
                "GB/s",
                "GFLOP/s"
            )?;
            for line in &step.kernels {
                let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| figure(rate / 1e9));
                let name = format!("{:20} {} {}", line.label, line.kernel, line.variant);
                let (ms, share) = (figure(line.seconds * 1e3), format!("{:.1}", line.share * 100.0));
                let (bytes, flops) = (rate(line.weight_bytes_per_s), rate(line.flops));
                writeln!(f, "{name:48} {:>5} {ms:>9} {share:>6} {bytes:>8} {flops:>8}", line.calls)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use guanaco_engine::gpu::DispatchTime;

    use super::*;

    fn dispatch(label: &str, kernel: &'static str, us: u64) -> DispatchTime {
        DispatchTime {
            label: label.to_owned(),
            kernel,
            variant: "base/64".to_owned(),
            time: Duration::from_micros(us),
            multiply_adds: if kernel == "matvec" { 1000 } else { 0 },
            weight_bytes: if kernel == "matvec" { 2000 } else { 0 },
        }
    }

    /// A step of two layers, in three profiles of which the last was disturbed.
    pub(in crate::cli::bench) fn step() -> Step {
        let profile = |slow: u64| TimeProfile {
            clock: Clock::Timestamps,
            instead: None,
            dispatches: ["embed", "qkv_proj", "attention", "qkv_proj", "attention", "<b>odd</b>"]
                .map(|label| {
                    let kernel = if label == "qkv_proj" { "matvec" } else { "attention" };
                    dispatch(label, kernel, if label == "qkv_proj" { 10 * slow } else { 5 })
                })
                .to_vec(),
        };
        Step::of(&[profile(1), profile(1), profile(9)], 128, 1)
    }

    #[test]
    fn equal_dispatches_are_one_line_and_a_disturbed_step_does_not_count() {
        let step = step();
        let facts: Vec<_> = step.kernels.iter().map(|line| (&*line.label, line.calls, line.seconds * 1e6)).collect();
        let expected = [("embed", 1, 5.0), ("qkv_proj", 2, 20.0), ("attention", 2, 10.0), ("<b>odd</b>", 1, 5.0)];
        for (fact, (label, calls, us)) in facts.iter().zip(expected) {
            assert!(fact.0 == label && fact.1 == calls && (fact.2 - us).abs() < 1e-6, "{facts:?}");
        }
        assert!((step.seconds * 1e6 - 40.0).abs() < 1e-6);
        assert!((step.kernels[1].share - 0.5).abs() < 1e-9);
        assert!((step.kernels[1].weight_bytes_per_s.unwrap() - 4000.0 / 20e-6).abs() < 1.0);
        assert!((step.kernels[1].flops.unwrap() - 4000.0 / 20e-6).abs() < 1.0);
        assert_eq!(step.kernels[2].flops, None);
        let blocks: Vec<_> = step.blocks().into_iter().map(|(block, _)| block).collect();
        assert_eq!(blocks, [Block::Embed, Block::Attention, Block::Other]);
        assert_eq!(Block::of("qkv_proj 3"), Block::Attention);
        assert_eq!(Block::of("post_attention_norm"), Block::Mlp);
    }
}
