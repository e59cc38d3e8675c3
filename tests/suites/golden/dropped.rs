//! Submits that a driver drops and reports as done: the call that needs them fails, whichever it is, and the device that is opened
//! after it computes what it would have computed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::Error;
use guanaco_engine::file::Checkpoint;
use guanaco_engine::gpu::{Gpu, GpuOptions, Profile};
use guanaco_engine::model::{Ahead as _, Choice, Forward as _, Llama, LoadOptions, Shortlist};
use guanaco_tests::device::{prefill, run};
use guanaco_tests::{Outcome, Suite, model_in};

const PROMPT: [u32; 6] = [1, 5, 39, 7, 12, 21];

/// During which call a submit is dropped; each comes after the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    Load,
    Prefill,
    Fill,
    Decode,
    Verify,
    CopySlot,
    Ahead,
}

const CALLS: [Call; 7] =
    [Call::Load, Call::Prefill, Call::Fill, Call::Decode, Call::Verify, Call::CopySlot, Call::Ahead];

pub(super) fn add(suite: &mut Suite, title: &str, dir: &Path) {
    let path = model_in(dir);
    suite.case(format!("{title}: a submit that the driver drops is an error, and a new device goes on"), move || {
        check(&path)
    });
}

fn check(path: &Path) -> Outcome {
    let (whole, counts) = reply(path, None)?;
    let mut tried = 0;
    for (call, n_submits) in CALLS.into_iter().zip(counts) {
        ensure!(n_submits > 0, "{call:?} submitted nothing");
        // The first, one in the middle, the last.
        let mut places = vec![1, n_submits.div_ceil(2), n_submits];
        places.dedup();
        for n in places {
            match reply(path, Some((call, n))) {
                Ok(_) => bail!("{call:?}: submit {n} of {n_submits} was dropped, and nothing was said"),
                Err(error) => {
                    let is_lost = matches!(error.downcast_ref(), Some(Error::DeviceLost { reason, .. }) if reason.contains("dropped"));
                    ensure!(is_lost, "{call:?}, submit {n} of {n_submits}: {error:#}");
                }
            }
            tried += 1;
        }
    }
    ensure!(reply(path, None)?.0 == whole, "another device gives other logits");
    println!("{tried} dropped submits were noticed; a load has {}, a prefill {}", counts[0], counts[1]);
    Ok(())
}

/// The results of all calls on a device of their own, and the submits of each call. `dropped` is a call and which of its submits is
/// dropped, from 1.
fn reply(path: &Path, dropped: Option<(Call, u64)>) -> anyhow::Result<(Vec<Vec<f32>>, [u64; 7])> {
    let last = dropped.map_or(Call::Ahead, |(call, _)| call);
    let options = GpuOptions {
        // Each dispatch is a submit.
        submit_time: Some(Duration::ZERO),
        profile: Some(Profile::Gpu),
        ..GpuOptions::from_env()
    };
    let gpu = Arc::new(Gpu::open(options)?);
    let mut counts = [0; 7];
    let mut results = Vec::new();
    let mut model = None;
    for (call, count) in CALLS.into_iter().zip(&mut counts).filter(|(call, _)| *call <= last) {
        if let Some((_, n)) = dropped.filter(|(dropped, _)| *dropped == call) {
            gpu.drop_submit(n);
        }
        let before = gpu.submits();
        if call == Call::Load {
            let options = LoadOptions { n_slots: 2, ..LoadOptions::default() };
            model = Some(Llama::load(gpu.clone(), &Checkpoint::open(path)?, &options, &mut |_| {})?);
        } else {
            results.push(result(model.as_mut().context("no model")?, call)?);
        }
        *count = gpu.submits() - before;
    }
    Ok((results, counts))
}

fn result(model: &mut Llama, call: Call) -> anyhow::Result<Vec<f32>> {
    let mut logits = Vec::new();
    match call {
        Call::Load => {}
        Call::Prefill => logits = prefill(model, 0, &PROMPT)?,
        Call::Fill => model.fill(0, PROMPT.len(), &[8, 9])?,
        Call::Decode => logits = run(model, PROMPT.len() + 2, &[10])?,
        Call::Verify => model.verify(0, PROMPT.len() + 3, &[11, 12], &mut logits)?,
        Call::CopySlot => model.copy_slot(0, 1, PROMPT.len())?,
        Call::Ahead => {
            let choice = Choice {
                greedy: true,
                repetition_penalty: 1.0,
                temperature: 1.0,
                top_k: 0,
                top_p: 1.0,
                min_p: 0.0,
                chances: false,
            };
            let mut shortlist = Shortlist::default();
            // Twice at the same places, so that what is left of the first time could be taken for the second.
            for _ in 0..2 {
                model.restart(1, &PROMPT, choice, 4)?;
                for _ in 0..model.depth() {
                    model.push(0.0)?;
                }
                for _ in 0..model.depth() {
                    model.next(&mut shortlist)?;
                    logits.extend(shortlist.tokens.iter().map(|(_, logit)| *logit));
                }
            }
        }
    }
    Ok(logits)
}
