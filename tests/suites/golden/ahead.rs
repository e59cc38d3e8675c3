//! Decoding ahead of the host changes no token of a reply.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use guanaco_engine::Result;
use guanaco_engine::file::Checkpoint;
use guanaco_engine::gpu::{Gpu, GpuOptions, Profile};
use guanaco_engine::model::{Forward, Llama, LoadOptions, Pass};
use guanaco_engine::sampler::{SamplerConfig, SamplerPreset};
use guanaco_engine::session::{FinishReason, Request, Session};
use guanaco_tests::{Outcome, model_in};

/// The same model without its way of decoding ahead.
struct StepByStep(Llama);

impl Forward for StepByStep {
    fn vocab_size(&self) -> usize {
        self.0.vocab_size()
    }

    fn max_seq_len(&self) -> usize {
        self.0.max_seq_len()
    }

    fn n_slots(&self) -> usize {
        self.0.n_slots()
    }

    fn forward(&mut self, pass: Pass, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        self.0.forward(pass, slot, pos, tokens, logits)
    }

    fn verify(&mut self, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        self.0.verify(slot, pos, tokens, logits)
    }

    fn chunk_len(&self) -> usize {
        self.0.chunk_len()
    }

    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        self.0.copy_slot(from, to, len)
    }
}

/// The model in `dir`, with the kernels of a GPU.
fn load(dir: &Path) -> anyhow::Result<Llama> {
    let gpu = Gpu::open(GpuOptions { profile: Some(Profile::Gpu), ..GpuOptions::from_env() })?;
    Ok(Llama::load(Arc::new(gpu), &Checkpoint::open(&model_in(dir))?, &LoadOptions::default(), &mut |_| {})?)
}

/// What a reply is with `sampler`: its tokens, and why it ended.
fn reply<F: Forward>(
    session: &mut Session<F>,
    sampler: SamplerConfig,
    eos: &[u32],
) -> anyhow::Result<(Vec<u32>, FinishReason)> {
    let request =
        Request { prompt_ids: (1..20).collect(), sampler, max_new_tokens: 40, eos: eos.to_vec(), ..Request::default() };
    let reply = session.generate(&request, None, &mut |_| ControlFlow::Continue(()))?;
    Ok((reply.ids, reply.finish))
}

pub(crate) fn check(dir: &Path) -> Outcome {
    let mut ahead = Session::new(load(dir)?);
    ensure!(ahead.model().decodes_ahead(), "the model does not decode ahead with a GPU's profile");
    let mut single = Session::new(StepByStep(load(dir)?));
    let drawn = SamplerPreset::Guanaco.config();
    let configs = [
        SamplerConfig::greedy(),
        SamplerPreset::Reference.config(),
        drawn.clone(),
        // Flat, so that the draws go everywhere.
        SamplerConfig { temperature: 3.0, top_k: 100, top_p: 0.99, min_p: 0.001, ..drawn.clone() },
        // Every logit is looked at: the host's way.
        SamplerConfig { top_k: 0, ..drawn.clone() },
        SamplerConfig { no_repeat_ngram: 2, ..SamplerConfig::greedy() },
    ];
    let (mut n, mut replies) = (0, 0);
    for config in configs {
        for seed in 0..if config.greedy { 1 } else { 8 } {
            let config = SamplerConfig { seed, ..config.clone() };
            let (whole, _) = reply(&mut single, config.clone(), &[])?;
            ensure!(reply(&mut ahead, config.clone(), &[])?.0 == whole, "{config:?}: another reply when ahead");
            // An end in the middle, with steps under way behind it, and the next reply after that.
            let eos = whole.get(17).copied().unwrap_or_default();
            let expected = reply(&mut single, config.clone(), &[eos])?;
            ensure!(reply(&mut ahead, config.clone(), &[eos])? == expected, "{config:?}: another reply to an EOS");
            n += whole.len() + expected.0.len();
            replies += 2;
        }
    }
    // A step is dropped where the device chose another token than the host, and up to two behind the end of a reply.
    let sent = ahead.model().steps_sent_ahead();
    println!("{n} tokens alike, {sent} steps sent ahead");
    ensure!(sent > 0 && sent <= n + 3 * replies, "{sent} steps were sent for {n} tokens: the device chooses others");
    Ok(())
}
