//! Decoding ahead of the host changes no token of a reply, nor what else was likely.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use guanaco_engine::Result;
use guanaco_engine::file::Checkpoint;
use guanaco_engine::gpu::{Gpu, GpuOptions, Profile};
use guanaco_engine::model::{Forward, Llama, LoadOptions, Pass};
use guanaco_engine::sampler::{SamplerConfig, SamplerPreset};
use guanaco_engine::session::{Chances, Event, FinishReason, Request, Session};
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

/// As [`reply`], with the ten likeliest tokens at each place.
fn told<F: Forward>(session: &mut Session<F>, sampler: SamplerConfig) -> anyhow::Result<Vec<(u32, Chances)>> {
    let prompt_ids = (1..20).collect();
    let request = Request { prompt_ids, sampler, max_new_tokens: 40, alternatives: 10, ..Request::default() };
    let mut told = Vec::new();
    session.generate(&request, None, &mut |event| {
        if let Event::Token { id, chances: Some(chances), .. } = event {
            told.push((id, chances.clone()));
        }
        ControlFlow::Continue(())
    })?;
    Ok(told)
}

/// The same tokens in the same order, and probabilities that the device's sum may round.
fn alike(got: &[(u32, Chances)], want: &[(u32, Chances)]) -> bool {
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-4 * b;
    let same = |got: &Chances, want: &Chances| {
        let pairs = || got.best.iter().zip(&want.best);
        close(got.chosen, want.chosen)
            && got.best.len() == want.best.len()
            && pairs().all(|(got, want)| got.0 == want.0 && close(got.1, want.1))
    };
    got.len() == want.len() && got.iter().zip(want).all(|(got, want)| got.0 == want.0 && same(&got.1, &want.1))
}

pub(crate) fn check(dir: &Path) -> Outcome {
    let mut ahead = Session::new(load(dir)?);
    ensure!(ahead.model().decodes_ahead(), "the model does not decode ahead with a GPU's profile");
    let mut single = Session::new(StepByStep(load(dir)?));
    let drawn = SamplerPreset::Guanaco.config();
    let configs = [
        SamplerConfig::greedy(),
        SamplerPreset::Reference.config(),
        // The best of what was said falls behind hundreds of others.
        SamplerConfig { repetition_penalty: 4.0, ..SamplerConfig::greedy() },
        drawn.clone(),
        // Flat, so that the draws go everywhere.
        SamplerConfig { temperature: 3.0, top_k: 100, top_p: 0.99, min_p: 0.001, ..drawn.clone() },
        // Every logit is looked at: the host's way.
        SamplerConfig { top_k: 0, ..drawn.clone() },
        SamplerConfig { no_repeat_ngram: 2, ..SamplerConfig::greedy() },
    ];
    let (mut n, mut replies, mut least) = (0, 0, 0);
    for config in configs {
        for seed in 0..if config.greedy { 1 } else { 8 } {
            let config = SamplerConfig { seed, ..config.clone() };
            let want = told(&mut single, config.clone())?;
            let whole: Vec<u32> = want.iter().map(|(id, _)| *id).collect();
            let got = told(&mut ahead, config.clone())?;
            ensure!(alike(&got, &want), "{config:?}: other chances when ahead: {got:?}, expected {want:?}");
            ensure!(reply(&mut ahead, config.clone(), &[])?.0 == whole, "{config:?}: another reply when ahead");
            // An end in the middle, with steps under way behind it, and the next reply after that.
            let eos = whole.get(17).copied().unwrap_or_default();
            let expected = reply(&mut single, config.clone(), &[eos])?;
            ensure!(reply(&mut ahead, config.clone(), &[eos])? == expected, "{config:?}: another reply to an EOS");
            n += 2 * whole.len() + expected.0.len();
            replies += 3;
            if (config.greedy || config.top_k > 0) && config.no_repeat_ngram == 0 {
                // The first token comes from the prompt.
                least += 2 * (whole.len() - 1) + expected.0.len() - 1;
            }
        }
    }
    // A step is dropped where the device chose another token than the host, and up to two behind the end of a reply.
    let sent = ahead.model().steps_sent_ahead();
    println!("{n} tokens alike, {sent} steps sent ahead for {least}");
    ensure!(sent >= least, "{sent} steps were sent for {least} tokens: running ahead was given up");
    ensure!(sent <= n + 3 * replies, "{sent} steps were sent for {n} tokens: the device chooses others");
    Ok(())
}
