//! Decoding ahead of the host: several steps under way, each with the token that the device itself chose behind the one before.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Llama, Scratch};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, Pending, Profile, Role};
use crate::kernels::Step;
use crate::kernels::sample::{self, Sample};
use crate::model::{Ahead, Choice, Pass};

/// Steps under way at a time on a GPU: one runs, one waits behind it, and one is being read back.
const DEPTH: usize = 3;

/// What a decode step that chooses its own token needs beside the model.
pub(super) struct Chooser {
    sample: Sample,
    params: Buffer,
    draws: Buffer,
    seen: Buffer,
    out: Buffer,
    /// On the host, one for each step under way.
    results: [Buffer; DEPTH],
    /// The oldest first.
    under_way: VecDeque<(u32, Pending)>,
    /// Where the next step runs.
    slot: usize,
    pos: u32,
    /// Of all steps so far: says which of `results` is next.
    pushed: usize,
    finished: Instant,
}

impl Chooser {
    pub(super) fn new(gpu: &Gpu, vocab_size: usize, s: &Scratch) -> Result<Self> {
        let params = gpu.create_buffer("choice", size_of::<sample::Params>() as u64, Role::Uniform)?;
        let draws = gpu.create_buffer("draws", (sample::DRAWS * 4) as u64, Role::Storage)?;
        let seen = gpu.create_buffer("seen", (vocab_size.div_ceil(32) * 4) as u64, Role::Storage)?;
        let out = gpu.create_buffer("candidates", sample::OUT_BYTES, Role::Storage)?;
        let wiring = sample::Wiring {
            params: &params,
            logits: &s.logits,
            draws: &draws,
            seen: &seen,
            tokens: &s.tokens,
            step: &s.step,
            out: &out,
        };
        let sample = Sample::new(gpu, "sample", vocab_size, wiring)?;
        let result = || gpu.create_buffer("candidates on the host", sample::OUT_BYTES, Role::Readback);
        let results = [result()?, result()?, result()?];
        let under_way = VecDeque::new();
        Ok(Self {
            sample,
            params,
            draws,
            seen,
            out,
            results,
            under_way,
            slot: 0,
            pos: 0,
            pushed: 0,
            finished: Instant::now(),
        })
    }
}

impl Llama {
    /// Does it pay to decode ahead? A software device computes on the cores that the host would use meanwhile, and a step that is
    /// dropped costs the whole of its time.
    pub fn decodes_ahead(&self) -> bool {
        self.gpu.tier().profile == Profile::Gpu
    }

    /// Steps that were sent ahead of the host so far, those that were dropped included.
    pub fn steps_sent_ahead(&self) -> usize {
        self.chooser.pushed
    }

    fn finish_oldest(&mut self) -> Result<Vec<u32>> {
        let Some((pos, pending)) = self.chooser.under_way.pop_front() else {
            return Err(Error::Request("no decode step is under way".to_owned()));
        };
        let words = |bytes: &[u8]| bytemuck::pod_collect_to_vec::<u8, u32>(bytes);
        let words = self.gpu.finish(pending, DURING, self.chooser.finished, words)?;
        self.chooser.finished = Instant::now();
        match words.get(3) {
            Some(at) if *at == pos => Ok(words),
            _ => Err(self.dropped(DURING)),
        }
    }
}

const DURING: &str = "decoding";

impl Ahead for Llama {
    fn depth(&self) -> usize {
        DEPTH
    }

    fn most_candidates(&self) -> usize {
        sample::MOST_BEST
    }

    fn restart(&mut self, slot: usize, history: &[u32], choice: Choice, candidates: usize) -> Result<()> {
        while !self.chooser.under_way.is_empty() {
            self.finish_oldest()?;
        }
        let (pos, token) = match history.split_last() {
            Some((token, before)) => (before.len(), [*token]),
            None => return Err(Error::Request("decoding: expected at least one token of history".to_owned())),
        };
        self.check_request(Pass::Decode, slot, pos, &token)?;
        let mut seen = vec![0_u32; self.config.vocab_size.div_ceil(32)];
        for id in history {
            if let Some(word) = seen.get_mut(*id as usize / 32) {
                *word |= 1 << (id % 32);
            }
        }
        let params = sample::Params {
            vocab_size: self.config.vocab_size as u32,
            n_best: candidates.clamp(1, sample::MOST_BEST) as u32,
            greedy: u32::from(choice.greedy),
            repetition_penalty: choice.repetition_penalty,
            sharpness: 1.0 / choice.temperature,
            top_k: choice.top_k as u32,
            top_p: choice.top_p,
            min_p: choice.min_p,
        };
        let step = Step { pos: pos as u32, n_tokens: 1 };
        self.gpu.write(&self.scratch.step, 0, bytemuck::bytes_of(&step))?;
        self.gpu.write(&self.scratch.tokens, 0, bytemuck::cast_slice(&token))?;
        self.gpu.write(&self.chooser.seen, 0, bytemuck::cast_slice(&seen))?;
        self.gpu.write(&self.chooser.params, 0, bytemuck::bytes_of(&params))?;
        (self.chooser.slot, self.chooser.pos) = (slot, step.pos);
        Ok(())
    }

    fn push(&mut self, draw: f64) -> Result<()> {
        let (slot, pos) = (self.chooser.slot, self.chooser.pos);
        if pos as usize >= self.shapes.kv.max_seq_len || self.chooser.under_way.len() >= DEPTH {
            let n = self.chooser.under_way.len();
            return Err(Error::Request(format!("no step at position {pos} can be sent, with {n} under way")));
        }
        let at = u64::from(pos) % sample::DRAWS as u64 * 4;
        self.gpu.write(&self.chooser.draws, at, bytemuck::bytes_of(&(draw as f32)))?;
        let mut list = self.record_layers(Pass::Decode, slot, pos, 1);
        self.final_norm.record(&mut list, 1);
        self.lm_head.record(&mut list, 1);
        self.chooser.sample.record(&mut list);
        let result = &self.chooser.results[self.chooser.pushed % DEPTH];
        list.copy_out(&self.chooser.out, result, 0, sample::OUT_BYTES);
        let pending = self.gpu.start(&list, DURING, (result, sample::OUT_BYTES))?;
        self.chooser.under_way.push_back((pos, pending));
        self.chooser.pushed += 1;
        self.chooser.pos += 1;
        Ok(())
    }

    fn next(&mut self, candidates: &mut Vec<(u32, f32)>) -> Result<u32> {
        let words = self.finish_oldest()?;
        candidates.clear();
        let [choice, count, broken, _] = words.first_chunk().copied().unwrap_or_default();
        if broken == 0 && count as usize <= sample::MOST {
            let pairs = words.iter().skip(sample::HEADER).copied().collect::<Vec<_>>();
            let pairs = pairs.chunks_exact(2).take(count as usize);
            candidates.extend(pairs.map(|pair| (pair[0], f32::from_bits(pair[1]))));
        }
        Ok(choice)
    }

    fn under_way(&self) -> usize {
        self.chooser.under_way.len()
    }
}
