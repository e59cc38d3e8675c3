//! Running the tests, through the loop that answers a user.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, bail};
use guanaco_engine::gpu::HostClock;
use guanaco_engine::kernels::Rng;
use guanaco_engine::model::{Forward as _, Llama, Pass};
use guanaco_engine::sampler::{Sampler, SamplerConfig};
use guanaco_engine::session::{Event, FinishReason, Reply, Request, Session};
use guanaco_engine::tokenizer::{DetokenizeStream, Tokenizer};
use indicatif::{ProgressBar, ProgressStyle};

use super::report::{Decode, Host, Prefill, Spread};
use super::suite::Test;
use crate::cli::Interrupted;
use crate::cli::progress::Step;

/// Of the random prompt.
const SEED: u64 = 1;

/// A model with what its tests share.
pub(super) struct Bench<'a> {
    pub session: Session<Llama>,
    pub tokenizer: Option<&'a Tokenizer>,
    pub stop: Arc<AtomicBool>,
    pub runs: u32,
}

/// What one run gave.
struct Run {
    reply: Reply,
    /// Seconds of the host's own work, and of these for encoding and submitting, behind the first token.
    host: Option<[f64; 2]>,
}

impl Bench<'_> {
    /// Runs `test` as often as was asked for, and once uncounted before, but for a prompt that another test was `warmed` by.
    pub(super) fn test(
        &mut self,
        test: Test,
        warmed: bool,
        steps: &Steps,
    ) -> anyhow::Result<(Option<Prefill>, Option<Decode>)> {
        self.session.clear();
        let warms_up = !warmed || !test.times_prompt;
        steps.begin(test, self.runs, !warms_up);
        if warms_up {
            // Compiles what is left to compile, wakes the clocks, and lets the engine learn how much one submit holds.
            self.run(Test { new: test.new.min(4), ..test }, steps)?;
        }
        let (mut prefill, mut decode, mut first_token, mut hosts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut ids = Vec::new();
        for _ in 0..self.runs {
            if test.times_prompt {
                self.session.clear();
            }
            let Run { reply, host } = self.run(test, steps)?;
            prefill.extend(reply.timings.prefill_tok_per_s());
            decode.extend(reply.timings.decode_tok_per_s());
            first_token.extend(reply.timings.first_token.map(|time| time.as_secs_f64()));
            hosts.extend(host);
            ids = reply.ids;
        }
        let prefill = match test.times_prompt {
            true => Some(self.prefill(test, Spread::of(prefill).context("no time for the prompt")?, first_token)),
            false => None,
        };
        let decode = match Spread::of(decode) {
            Some(tok_per_s) => Some(self.decode(test, tok_per_s, &hosts, &ids)?),
            None => None,
        };
        Ok((prefill, decode))
    }

    fn prefill(&self, test: Test, tok_per_s: Spread, first_token_s: Vec<f64>) -> Prefill {
        let model = self.session.model();
        let chunk = model.chunk_len();
        let chunks = (0..test.prompt).step_by(chunk.max(1)).map(|at| (at, chunk.min(test.prompt - at)));
        let multiply_adds: u64 = chunks.map(|(at, tokens)| model.multiply_adds(Pass::Prefill, at, tokens)).sum();
        Prefill {
            name: test.prompt_name(),
            tokens: test.prompt,
            matmul_share: None,
            multiply_adds,
            tok_per_s,
            first_token_s: Spread::of(first_token_s),
        }
    }

    fn decode(&self, test: Test, tok_per_s: Spread, hosts: &[[f64; 2]], ids: &[u32]) -> anyhow::Result<Decode> {
        // In the middle of the reply, since the cache grows with it.
        let bytes_per_token = self.session.model().bytes_per_token(test.prompt + test.new / 2);
        Ok(Decode {
            name: test.reply_name(),
            depth: test.prompt,
            tokens: test.new,
            bytes_per_token,
            bandwidth_share: None,
            host: self.host(tok_per_s.median, hosts, ids)?,
            tok_per_s,
        })
    }

    /// One reply. What the cache holds of the prompt is not run again.
    fn run(&mut self, test: Test, steps: &Steps) -> anyhow::Result<Run> {
        let model = self.session.model();
        let prompt_ids = random_ids(model.vocab_size(), test.prompt);
        // The last token is chosen but not run: one more, so that as many steps are timed as were asked for.
        let room = model.max_seq_len() - test.prompt;
        let request = Request {
            prompt_ids,
            sampler: SamplerConfig::greedy(),
            max_new_tokens: test.new.saturating_add(1).min(room),
            ignore_eos: true,
            stop_flag: self.stop.clone(),
            ..Request::default()
        };
        let gpu = model.gpu().clone();
        let first: Cell<Option<(Instant, HostClock)>> = Cell::new(None);
        let reply = self.session.generate(&request, self.tokenizer, &mut |event| {
            if first.get().is_none() && matches!(event, Event::Token { .. }) {
                first.set(Some((Instant::now(), gpu.host_clock())));
            }
            steps.update(event);
            ControlFlow::Continue(())
        })?;
        let (end, clock) = (Instant::now(), gpu.host_clock());
        let host = first.get().filter(|_| reply.timings.decode_tokens > 0).map(|(start, before)| {
            let busy = (end - start).saturating_sub(clock.waited - before.waited);
            let tokens = reply.timings.decode_tokens as f64;
            [busy, clock.submitting - before.submitting].map(|time| time.as_secs_f64() / tokens)
        });
        match reply.finish {
            FinishReason::MaxTokens => Ok(Run { reply, host }),
            FinishReason::Stopped => bail!(Interrupted),
            other => bail!("a run ended early ({other}) after {} of {} tokens", reply.ids.len(), test.new + 1),
        }
    }

    /// The parts of the host's time that can be repeated alone are timed alone; the rest is what they leave of the whole.
    fn host(&self, tok_per_s: f64, hosts: &[[f64; 2]], ids: &[u32]) -> anyhow::Result<Host> {
        let middle = |at: usize| {
            let values: Vec<f64> = hosts.iter().filter_map(|host| host.get(at).copied()).collect();
            Spread::of(values).map_or(0.0, |spread| spread.median)
        };
        let (all, submit_s) = (middle(0), middle(1));
        let model = self.session.model();
        let recording_s = seconds_each(32, || {
            std::hint::black_box(model.dispatches_per_token());
            Ok(())
        })?;
        let mut rng = Rng::new(SEED);
        let logits: Vec<f32> = (0..model.vocab_size()).map(|_| rng.value(10.0)).collect();
        let mut sampler = Sampler::new(&SamplerConfig::greedy())?;
        let sampling_s = seconds_each(32, || {
            sampler.sample(&logits, ids)?;
            Ok(())
        })?;
        let mut detokenize_s = 0.0;
        if let Some(tokenizer) = self.tokenizer {
            let known: Vec<u32> = ids.iter().copied().filter(|id| tokenizer.has(*id)).collect();
            let mut stream = DetokenizeStream::after_context();
            let whole = seconds_each(1, || {
                known.iter().try_for_each(|id| stream.push(tokenizer, *id).map(drop)).map_err(anyhow::Error::from)
            })?;
            detokenize_s = whole / ids.len().max(1) as f64;
        }
        Ok(Host {
            s_per_token: all,
            share: all * tok_per_s,
            recording_s,
            submit_s,
            sampling_s,
            detokenize_s,
            rest_s: (all - submit_s - recording_s - sampling_s - detokenize_s).max(0.0),
        })
    }
}

/// A prompt that is always the same.
pub(super) fn random_ids(vocab_size: usize, n: usize) -> Vec<u32> {
    let mut rng = Rng::new(SEED);
    (0..n).map(|_| (rng.next_u64() % vocab_size.max(1) as u64) as u32).collect()
}

/// Seconds of one of `times` calls.
fn seconds_each(times: u32, mut call: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = Instant::now();
    for _ in 0..times {
        call()?;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(times.max(1)))
}

/// One line on stderr that tells where the bench is; nothing where stderr is no terminal. With a total, a line of JSON at each step.
pub(super) struct Steps {
    total: Option<usize>,
    done: Cell<usize>,
    bar: ProgressBar,
    test: Cell<Option<Test>>,
    runs: Cell<u32>,
    run: Cell<u32>,
    tokens: Cell<usize>,
}

impl Steps {
    pub(super) fn new(total: Option<usize>) -> Self {
        let bar = if total.is_some() { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        let (done, test) = (0.into(), None.into());
        Self { total, done, bar, test, runs: 0.into(), run: 0.into(), tokens: 0.into() }
    }

    /// Tells that `what` begins.
    fn tell(&self, what: impl FnOnce() -> String) {
        if let Some(total) = self.total {
            // A test whose warm-up another one was has a step less.
            Step { done: self.done.get().min(total), total, what: what() }.tell();
            self.done.set(self.done.get() + 1);
        }
    }

    /// Something else than a test.
    pub(super) fn say(&self, text: &'static str) {
        self.tell(|| text.to_owned());
        self.bar.set_message(text);
        self.bar.tick();
    }

    fn begin(&self, test: Test, runs: u32, warmed: bool) {
        self.test.set(Some(test));
        self.runs.set(runs);
        self.run.set(u32::from(warmed));
    }

    /// Called between tokens: it must cost nothing beside one, and `indicatif` draws only so often.
    fn update(&self, event: Event<'_>) {
        let at = match event {
            Event::Prefill { new, done, .. } => {
                if done == 0 {
                    self.run.set(self.run.get() + 1);
                    self.tokens.set(0);
                    self.tell(|| self.name());
                }
                format!("prompt, {done} of {new} tokens")
            }
            Event::Token { .. } => {
                self.tokens.set(self.tokens.get() + 1);
                format!("reply, {} tokens", self.tokens.get())
            }
            _ => return,
        };
        if self.total.is_none() {
            self.bar.set_message(format!("{}: {at}", self.name()));
            self.bar.tick();
        }
    }

    /// The test, and which run of it.
    fn name(&self) -> String {
        let run = match self.run.get() {
            0 | 1 => "warm-up".to_owned(),
            run => format!("run {} of {}", run - 1, self.runs.get()),
        };
        self.test.get().map_or_else(String::new, |test| format!("{} + {}, ", test.prompt, test.new)) + &run
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
