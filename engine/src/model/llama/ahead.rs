//! Decoding ahead of the host: several steps under way, each with the token that the device itself chose behind the one before.

use std::collections::VecDeque;
use std::time::Instant;

use super::{Llama, Scratch};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, Pending, Profile, Role};
use crate::kernels::Step;
use crate::kernels::sample::{self, Sample};
use crate::model::{Ahead, Choice, Pass, Shortlist};

/// Steps under way at a time on a GPU: one runs, one waits behind it, and one is being read back.
const DEPTH: usize = 3;

/// Where the step's number is in what comes back from it: after `out` and `sums`.
const SERIAL_AT: u64 = sample::OUT_BYTES + sample::SUMS_BYTES;
const RESULT_BYTES: u64 = SERIAL_AT + 4;

/// What a decode step that chooses its own token needs beside the model.
pub(super) struct Chooser {
    sample: Sample,
    params: Buffer,
    draws: Buffer,
    seen: Buffer,
    out: Buffer,
    sums: Buffer,
    /// On the host, one for each step under way.
    results: [Buffer; DEPTH],
    /// The number of each step, the oldest first.
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
        let sums = gpu.create_buffer("sums of logits", sample::SUMS_BYTES, Role::Storage)?;
        let wiring = sample::Wiring {
            params: &params,
            logits: &s.logits,
            draws: &draws,
            seen: &seen,
            tokens: &s.tokens,
            step: &s.step,
            out: &out,
            sums: &sums,
        };
        let sample = Sample::new(gpu, "sample", vocab_size, wiring)?;
        let result = || gpu.create_buffer("candidates on the host", RESULT_BYTES, Role::Readback);
        let results = [result()?, result()?, result()?];
        let under_way = VecDeque::new();
        Ok(Self {
            sample,
            params,
            draws,
            seen,
            out,
            sums,
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

    /// The result of the oldest step under way. `before` is as in [`Gpu::finish`].
    fn finish_oldest(&mut self, before: Option<Instant>) -> Result<Vec<u32>> {
        let Some((serial, pending)) = self.chooser.under_way.pop_front() else {
            return Err(Error::Request("no decode step is under way".to_owned()));
        };
        let words = |bytes: &[u8]| bytemuck::pod_collect_to_vec::<u8, u32>(bytes);
        let words = self.gpu.finish(pending, DURING, before, words)?;
        self.chooser.finished = Instant::now();
        if words.last() == Some(&serial) { Ok(words) } else { Err(self.gpu.dropped(DURING)) }
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
        // What an earlier reply has left may have been done long ago.
        while !self.chooser.under_way.is_empty() {
            self.finish_oldest(None)?;
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
            chances: u32::from(choice.chances),
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
        self.next_serial()?;
        let mut list = self.record_layers(Pass::Decode, slot, pos, 1);
        self.final_norm.record(&mut list, 1);
        self.lm_head.record(&mut list, 1);
        self.chooser.sample.record(&mut list);
        let result = &self.chooser.results[self.chooser.pushed % DEPTH];
        list.copy_out(&self.chooser.out, result, 0, sample::OUT_BYTES);
        list.copy_out(&self.chooser.sums, result, sample::OUT_BYTES, sample::SUMS_BYTES);
        list.copy_out(&self.scratch.serial, result, SERIAL_AT, 4);
        let pending = self.gpu.start(&list, DURING, (result, RESULT_BYTES))?;
        self.chooser.under_way.push_back((self.serial, pending));
        self.chooser.pushed += 1;
        self.chooser.pos += 1;
        Ok(())
    }

    fn next(&mut self, shortlist: &mut Shortlist) -> Result<u32> {
        let words = self.finish_oldest(Some(self.chooser.finished))?;
        shortlist.tokens.clear();
        let [choice, count, broken, _] = words.first_chunk().copied().unwrap_or_default();
        let (out, sums) = words.split_at_checked(sample::OUT_BYTES as usize / 4).unwrap_or_default();
        let pairs = out.get(sample::HEADER..).unwrap_or_default();
        if broken == 0 && count as usize <= sample::MOST {
            let pairs = pairs.chunks_exact(2).take(count as usize);
            shortlist.tokens.extend(pairs.map(|pair| (pair[0], f32::from_bits(pair[1]))));
        }
        let sums = sums.first_chunk().copied().unwrap_or_default();
        [shortlist.floor, shortlist.largest, shortlist.exp_sum] = sums.map(f32::from_bits);
        Ok(choice)
    }

    fn under_way(&self) -> usize {
        self.chooser.under_way.len()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::file::Checkpoint;
    use crate::gpu::{GpuOptions, Width};
    use crate::model::LoadOptions;

    #[test]
    fn steps_that_a_reply_leaves_behind_do_not_make_the_device_slow() {
        let options = GpuOptions { profile: Some(Profile::Gpu), ..GpuOptions::from_env() };
        let Ok(gpu) = Gpu::open(options).map_err(|error| eprintln!("skipped: {error}")) else { return };
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/models/rope_linear");
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let mut model = Llama::load(Arc::new(gpu), &checkpoint, &LoadOptions::default(), &mut |_| {}).unwrap();
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
        model.restart(0, &[1], choice, 8).unwrap();
        for _ in 0..DEPTH {
            model.push(0.0).unwrap();
        }
        model.next(&mut shortlist).unwrap();
        assert_eq!(shortlist.tokens.len(), 8);
        let bound = model.gpu.submit_bound(Width::One);
        // What is tested: time in which nobody asks is not the device's.
        std::thread::sleep(Duration::from_millis(200));
        model.restart(0, &[1], choice, 8).unwrap();
        assert_eq!((model.gpu.submit_bound(Width::One), model.under_way()), (bound, 0));
    }
}
