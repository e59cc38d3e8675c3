//! Passes over a few tokens at a time, and replies that are drafted by what was said before.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::ensure;
use guanaco_engine::model::{Forward as _, Llama, MOST_VERIFIED, Pass};
use guanaco_engine::sampler::{SamplerConfig, SamplerPreset};
use guanaco_engine::session::{Reply, Request, Session};
use guanaco_tests::device::{argmax, load, max_abs, prefill, relative_l2, run};
use guanaco_tests::{Outcome, model_in};

use super::{LIMIT, golden};

/// Behind each token of the cases' prompts, the logits of passes of every length are those of a step with that token alone; and the
/// last ones, and the greedy tokens that a pass over them chooses, are the fixture's.
pub(crate) fn check_passes(dir: &Path) -> Outcome {
    let mut model = load(&model_in(dir), 1)?;
    let vocab_size = model.vocab_size();
    let mut rows = Vec::new();
    for case in golden(dir)?.cases.iter().take(2) {
        let tokens = &case.prompt_ids;
        let (mut single, mut pos) = (Vec::new(), 0);
        for (pos, token) in tokens.iter().enumerate() {
            single.push(run(&mut model, pos, &[*token])?);
        }
        while pos < tokens.len() {
            let end = tokens.len().min(pos + 2 + pos % (MOST_VERIFIED - 1));
            model.verify(0, pos, &tokens[pos..end], &mut rows)?;
            ensure!(rows.len() == (end - pos) * vocab_size, "{} logits for {} tokens", rows.len(), end - pos);
            for (row, single) in rows.chunks(vocab_size).zip(&single[pos..end]) {
                let error = relative_l2(row, single);
                ensure!(error < 2e-3, "{}, tokens {pos} to {end}: {error:.3e} off one token at a time", case.name);
            }
            pos = end;
        }
        let last = rows.split_off(rows.len() - vocab_size);
        if let Some(want) = &case.last_logits {
            let error = relative_l2(&last, want);
            ensure!(error < LIMIT, "{}: relative L2 error {error:.3e} of the last logits", case.name);
        }
        let greedy = &case.greedy_ids[..case.greedy_ids.len().min(MOST_VERIFIED + 1)];
        let Some((_, run)) = greedy.split_last() else { continue };
        model.verify(0, tokens.len(), run, &mut rows)?;
        let slack = 10.0 * case.last_logits.as_ref().map_or(0.0, |want| max_abs(&last, want));
        let steps = rows.chunks(vocab_size).zip(&greedy[1..]).zip(&case.greedy_margins[1..]);
        for (step, ((row, want), margin)) in steps.enumerate() {
            let got = argmax(row);
            ensure!(got == *want || *margin <= slack, "{} step {step}: {got}, expected {want}", case.name);
        }
    }
    // Too many are refused.
    let most = vec![1; MOST_VERIFIED + 1];
    ensure!(model.verify(0, 0, &most, &mut rows).is_err(), "nine tokens were taken");
    ensure!(model.forward(Pass::Verify, 0, 0, &most, &mut rows).is_err(), "nine tokens were taken");
    Ok(())
}

/// The worst error of the logits at `positions`, each in the middle of a pass over a few tokens behind a prefill.
pub(crate) fn check_positions(
    model: &mut Llama,
    tokens: &[u32],
    positions: &[usize],
    want: &[f32],
) -> anyhow::Result<f64> {
    let vocab_size = model.vocab_size();
    let (mut worst, mut rows) = (0.0_f64, Vec::new());
    prefill(model, 0, tokens)?;
    for (at, (position, want)) in positions.iter().zip(want.chunks(vocab_size)).enumerate() {
        let start = position.saturating_sub(at % MOST_VERIFIED);
        let end = tokens.len().min(start + MOST_VERIFIED);
        model.verify(0, start, &tokens[start..end], &mut rows)?;
        let row = rows.chunks(vocab_size).nth(position - start).unwrap_or_default();
        let error = relative_l2(row, want);
        ensure!(error < LIMIT, "position {position} in a pass from {start}: relative L2 error {error:.3e}");
        worst = worst.max(error);
    }
    Ok(worst)
}

/// Replies with drafts are those without. The passes round differently, so that a draw on the edge may fall otherwise: none does here.
pub(crate) fn check(dir: &Path) -> Outcome {
    let mut session = Session::new(load(&model_in(dir), 1)?);
    let mut reply = |sampler: &SamplerConfig, draft_tokens| -> anyhow::Result<Reply> {
        let prompt_ids = (1..12).chain(1..9).collect();
        let request =
            Request { prompt_ids, sampler: sampler.clone(), max_new_tokens: 40, draft_tokens, ..Request::default() };
        Ok(session.generate(&request, None, &mut |_| ControlFlow::Continue(()))?)
    };
    let drawn = SamplerPreset::Guanaco.config();
    let configs = [
        SamplerConfig::greedy(),
        SamplerPreset::Reference.config(),
        drawn.clone(),
        SamplerConfig { top_k: 0, ..drawn },
    ];
    let (mut drafted, mut accepted, mut n) = (0, 0, 0);
    for config in configs {
        for seed in 0..if config.greedy { 1 } else { 4 } {
            let config = SamplerConfig { seed, ..config.clone() };
            let (with, without) = (reply(&config, 7)?, reply(&config, 0)?);
            ensure!(with.ids == without.ids, "{config:?}: {:?} with drafts, {:?} without", with.ids, without.ids);
            (drafted, accepted, n) = (drafted + with.drafted, accepted + with.accepted, n + with.ids.len());
        }
    }
    println!("{n} tokens alike, {accepted} of {drafted} drafted tokens held");
    ensure!(drafted > 0, "nothing was drafted");
    Ok(())
}
