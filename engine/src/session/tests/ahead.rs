//! Decoding ahead, on a model on paper whose device is the kernel's reference.

use std::collections::VecDeque;

use super::*;
use crate::gpu::TwinBuffers;
use crate::kernels::{Step, sample};
use crate::model::{Ahead, Choice, Shortlist};

/// Logits from -8 to 8, a hash of what came before.
struct Device {
    paper: Paper,
    runs_ahead: bool,
    buffers: TwinBuffers,
    slot: usize,
    under_way: VecDeque<(u32, Shortlist)>,
    /// Steps that were sent ahead.
    sent: usize,
    /// Steps whose logits the host asked for.
    decoded: usize,
}

impl Device {
    fn session(vocab_size: usize, runs_ahead: bool) -> Session<Self> {
        let paper = Paper { vocab_size, max_seq_len: 1000, chunk_len: 1000, ..Paper::new(Script::Hash) };
        let (buffers, under_way) = (TwinBuffers::default(), VecDeque::new());
        Session::new(Self { paper, runs_ahead, buffers, slot: 0, under_way, sent: 0, decoded: 0 })
    }

    fn run(&mut self, pass: Pass, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        self.paper.forward(pass, slot, pos, tokens, logits)?;
        logits.iter_mut().for_each(|logit| *logit = *logit * 4.0 - 8.0);
        Ok(())
    }
}

impl Forward for Device {
    fn vocab_size(&self) -> usize {
        self.paper.vocab_size()
    }

    fn max_seq_len(&self) -> usize {
        self.paper.max_seq_len()
    }

    fn n_slots(&self) -> usize {
        self.paper.n_slots()
    }

    fn chunk_len(&self) -> usize {
        self.paper.chunk_len()
    }

    fn forward(&mut self, pass: Pass, slot: usize, pos: usize, tokens: &[u32], logits: &mut Vec<f32>) -> Result<()> {
        self.decoded += usize::from(pass == Pass::Decode);
        self.run(pass, slot, pos, tokens, logits)
    }

    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> Result<()> {
        self.paper.copy_slot(from, to, len)
    }

    fn ahead(&mut self) -> Option<&mut dyn Ahead> {
        if self.runs_ahead { Some(self) } else { None }
    }
}

impl Ahead for Device {
    fn depth(&self) -> usize {
        3
    }

    fn most_candidates(&self) -> usize {
        sample::MOST_BEST
    }

    fn restart(&mut self, slot: usize, history: &[u32], choice: Choice, candidates: usize) -> Result<()> {
        self.under_way.clear();
        self.slot = slot;
        let mut seen = vec![0_u32; self.vocab_size().div_ceil(32)];
        history.iter().for_each(|id| seen[*id as usize / 32] |= 1 << (id % 32));
        let params = sample::Params {
            vocab_size: self.vocab_size() as u32,
            n_best: candidates as u32,
            greedy: u32::from(choice.greedy),
            repetition_penalty: choice.repetition_penalty,
            sharpness: 1.0 / choice.temperature,
            top_k: choice.top_k as u32,
            top_p: choice.top_p,
            min_p: choice.min_p,
            chances: u32::from(choice.chances),
        };
        let step = Step { pos: history.len() as u32 - 1, n_tokens: 1 };
        let words = [
            ("params", bytemuck::bytes_of(&params).to_vec()),
            ("step", bytemuck::bytes_of(&step).to_vec()),
            ("seen", bytemuck::cast_slice(&seen).to_vec()),
            ("tokens", bytemuck::cast_slice(&history[history.len() - 1..]).to_vec()),
            ("out", vec![0; sample::OUT_BYTES as usize]),
            ("sums", vec![0; sample::SUMS_BYTES as usize]),
        ];
        words.into_iter().for_each(|(name, bytes)| self.buffers.insert(name, bytes));
        Ok(())
    }

    fn push(&mut self, draw: f64) -> Result<()> {
        let (step, token): (Step, u32) = (self.buffers.params("step")?, self.buffers.params("tokens")?);
        let mut logits = Vec::new();
        self.run(Pass::Decode, self.slot, step.pos as usize, &[token], &mut logits)?;
        self.buffers.set_f32("logits", &logits);
        self.buffers.set_f32("draws", &[draw as f32; sample::DRAWS]);
        sample::twin(&mut self.buffers)?;
        let out = self.buffers.u32("out")?;
        let pairs = out[sample::HEADER..].chunks_exact(2).take(out[1] as usize);
        let tokens = if out[2] == 0 && out[1] as usize <= sample::MOST {
            pairs.map(|pair| (pair[0], f32::from_bits(pair[1]))).collect()
        } else {
            Vec::new()
        };
        let [floor, largest, exp_sum] = self.buffers.params("sums")?;
        self.under_way.push_back((out[0], Shortlist { tokens, floor, largest, exp_sum }));
        self.sent += 1;
        Ok(())
    }

    fn next(&mut self, shortlist: &mut Shortlist) -> Result<u32> {
        let (choice, told) = self.under_way.pop_front().expect("a step under way");
        *shortlist = told;
        Ok(choice)
    }

    fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

/// The tokens of a reply with what was told of each.
fn told(session: &mut Session<Device>, request: &Request) -> Vec<(u32, Option<Chances>)> {
    let mut told = Vec::new();
    let reply = session.generate(request, None, &mut |event| {
        if let Event::Token { id, chances, .. } = event {
            told.push((id, chances.cloned()));
        }
        ControlFlow::Continue(())
    });
    assert_eq!(reply.unwrap().ids, told.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    told
}

/// The same reply, and the same told of it, ahead and step by step. Returns the steps that were sent ahead, and those run for all
/// logits.
fn compare(vocab_size: usize, request: &Request) -> (usize, usize) {
    let mut ahead = Device::session(vocab_size, true);
    let got = told(&mut ahead, request);
    let want = told(&mut Device::session(vocab_size, false), request);
    assert_eq!(got.len(), want.len());
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-4 * b;
    for ((id, got), (expected, want)) in got.into_iter().zip(want) {
        assert_eq!(id, expected, "{:?}", request.sampler);
        assert_eq!((got.is_some(), want.is_some()), (request.alternatives > 0, request.alternatives > 0));
        let (got, want) = (got.unwrap_or_default(), want.unwrap_or_default());
        assert!(close(got.chosen, want.chosen), "{got:?}, expected {want:?}");
        assert_eq!(got.best.len(), want.best.len());
        for (a, b) in got.best.iter().zip(&want.best) {
            assert!(a.0 == b.0 && close(a.1, b.1), "{:?}: {got:?}, expected {want:?}", request.sampler);
        }
    }
    (ahead.model().sent, ahead.model().decoded)
}

/// A prompt of many different tokens, so that the penalty has something to do.
fn request(sampler: SamplerConfig, alternatives: usize) -> Request {
    Request { prompt_ids: (1..60).collect(), sampler, max_new_tokens: 60, alternatives, ..Request::default() }
}

#[test]
fn a_reply_and_its_chances_are_the_same_ahead() {
    let drawn = SamplerPreset::Guanaco.config();
    let configs = [
        SamplerConfig::greedy(),
        SamplerPreset::Reference.config(),
        drawn.clone(),
        SamplerConfig { temperature: 3.0, top_k: 100, top_p: 0.99, min_p: 0.001, ..drawn.clone() },
        SamplerConfig { top_k: 3, top_p: 1.0, ..drawn },
    ];
    for config in configs {
        for repetition_penalty in [1.0, config.repetition_penalty, 1.3, 4.0] {
            for (seed, alternatives) in (0..if config.greedy { 1 } else { 4 }).zip([10, 1, 40, 0]) {
                let sampler = SamplerConfig { repetition_penalty, seed, ..config.clone() };
                let (sent, decoded) = compare(400, &request(sampler.clone(), alternatives));
                // The last token is not run; ties with the last candidate, and draws that the two round differently, cost some.
                assert!((59..120).contains(&sent) && decoded <= 12, "{sent} sent, {decoded} decoded: {sampler:?}");
            }
        }
    }
}

#[test]
fn what_the_candidates_cannot_tell_is_decoded_step_by_step() {
    let greedy = SamplerConfig::greedy();
    let lifted = SamplerConfig { repetition_penalty: 0.5, ..greedy.clone() };
    assert_eq!(compare(400, &request(lifted.clone(), 10)), (0, 59));
    assert!(compare(400, &request(lifted, 0)).0 >= 59);
    assert_eq!(compare(400, &request(greedy.clone(), sample::MOST_BEST + 1)), (0, 59));
    // A vocabulary that is all told.
    assert_eq!(compare(7, &Request { prompt_ids: vec![1, 2], ..request(greedy, 128) }).1, 0);
}

#[test]
fn where_too_many_are_candidates_running_ahead_is_given_up() {
    // Hundreds of tokens that were said are likelier than the best of the others.
    let sampler = SamplerConfig { repetition_penalty: 9.0, ..SamplerConfig::greedy() };
    let (sent, decoded) = compare(600, &Request { prompt_ids: (0..590).collect(), ..request(sampler, 10) });
    assert!((1..20).contains(&sent) && decoded > 50, "{sent} sent, {decoded} decoded");
}
