//! `guanaco bench`: how fast a model is on this adapter, through the loop that answers a user, and how near that is to the
//! memory's limit.

pub mod report;

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::kernels::Rng;
use guanaco_engine::model::{Forward as _, KvFormat, Llama};
use guanaco_engine::sampler::SamplerConfig;
use guanaco_engine::session::{Event, FinishReason, Reply, Request, Session};
use indicatif::{ProgressBar, ProgressStyle};
use report::{Model, Report, Spread};

use super::conformance::report::Platform;
use super::progress::LoadBar;
use super::{Globals, Interrupted, output};

/// Measures how fast the model is on this adapter
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco bench
  guanaco --model ~/models/guanaco-7b bench -p 512 -n 128
  guanaco bench -p 1 -n 64                    decoding from an empty context, as llama-bench's tg64
  guanaco --adapter 1 bench --json

Each run forgets the one before, takes a random prompt (always the same) of P tokens, and decodes N tokens behind it, greedily
and past every end of text. The first run is not counted. Prefill and decode are in tokens a second; the share of the copy
bandwidth is the bytes that a decode step reads (every matrix once, and the KV cache), over its time, as part of what the
adapter moves (read + written) when it copies a buffer to another.

--json: {\"format\":1,\"engine\":\"0.1.0\",\"platform\":{…},\"adapter\":{…},\"tier\":{…},\"fallbacks\":[…],\"model\":{\"name\":…,\"dim\":…,\"hidden_dim\":…,
  \"n_layers\":…,\"n_heads\":…,\"n_kv_heads\":…,\"head_dim\":…,\"vocab_size\":…},\"memory\":{\"items\":[{\"what\":…,\"bytes\":…}]},
  \"kv\":\"f16\",\"context\":…,\"chunk_len\":…,\"prompt_tokens\":512,\"new_tokens\":128,\"load_s\":…,
  \"prefill_tok_per_s\":{\"median\":…,\"min\":…,\"max\":…,\"runs\":[…]},\"decode_tok_per_s\":the same or null (N = 0),
  \"first_token_s\":the same,\"dispatches_per_token\":…,\"bytes_per_token\":…,\"copy_bytes_per_s\":…,
  \"bandwidth_share\":number or null}; `adapter` and `tier` as in `guanaco devices --json`")]
pub struct Args {
    /// Tokens of the prompt [default: 512, less where the context is short]
    #[arg(short, long, value_name = "P", value_parser = clap::value_parser!(u32).range(1..))]
    pub prompt_tokens: Option<u32>,
    /// Tokens decoded behind it [default: 128, less where the context is short]
    #[arg(short, long, value_name = "N")]
    pub new_tokens: Option<u32>,
    /// Counted runs
    #[arg(short, long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Prints JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

/// Of the random prompt.
const SEED: u64 = 1;

/// What is run, once the model's context is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    prompt: usize,
    new: usize,
    runs: u32,
    context: usize,
}

/// Runs the subcommand.
///
/// # Errors
/// What is wrong with the model, the device, the fit of both, or the lengths asked for; when it was interrupted.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let report = measure(&args, globals, listen)?;
    if args.json {
        return output::json(&report);
    }
    output::text(&report.to_string())
}

/// The flag that Ctrl-C sets. The second Ctrl-C ends the program, for a run that does not come to its next token.
fn listen() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("cannot listen to Ctrl-C")?;
    Ok(stop)
}

/// Loads the model and measures it. `listen` is called when it is loaded, and gives the flag that ends the runs when it is set
/// to true: until then, Ctrl-C ends the program as it would any other.
///
/// # Errors
/// As [`run`].
pub fn measure(
    args: &Args,
    globals: &Globals,
    listen: impl FnOnce() -> anyhow::Result<Arc<AtomicBool>>,
) -> anyhow::Result<Report> {
    let start = Instant::now();
    let files = globals.open_files()?;
    let opened = start.elapsed();
    let config = &files.config;
    let plan = Plan::new(args, globals.context, config.max_seq_len)?;
    let gpu = globals.open_gpu()?;
    let copy_bytes_per_s = gpu.measure_copy_bandwidth()?;

    let start = Instant::now();
    let options = Globals { context: Some(plan.context), ..globals.clone() }.load_options(1);
    let mut bar = LoadBar::new();
    let model = Llama::load(gpu.clone(), &files.checkpoint, &options, &mut |progress| bar.update(progress))?;
    drop(bar);
    let load_s = (opened + start.elapsed()).as_secs_f64();

    let stop = listen()?;
    let facts = Facts::of(&model, plan);
    let mut session = Session::new(model);
    let (mut prefill, mut decode, mut first_token) = (Vec::new(), Vec::new(), Vec::new());
    let steps = Steps::new(plan);
    // Compiles what is left to compile, wakes the clocks, and lets the engine learn how much one submit holds.
    reply(&mut session, Plan { new: plan.new.min(4), ..plan }, &stop, &steps)?;
    for _ in 0..plan.runs {
        let timings = reply(&mut session, plan, &stop, &steps)?.timings;
        prefill.extend(timings.prefill_tok_per_s());
        decode.extend(timings.decode_tok_per_s());
        first_token.extend(timings.first_token.map(|time| time.as_secs_f64()));
    }
    drop(steps);

    let decode = Spread::of(decode);
    let bandwidth_share = decode.as_ref().map(|decode| facts.bytes_per_token as f64 * decode.median / copy_bytes_per_s);
    Ok(Report {
        format: report::FORMAT,
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        platform: Platform::here(),
        adapter: gpu.facts().clone(),
        tier: gpu.tier().clone(),
        fallbacks: gpu.fallbacks(),
        model: Model::new(files.name.clone(), config),
        kv: KvFormat::from(globals.kv).name().to_owned(),
        memory: session.model().memory().clone(),
        context: plan.context,
        chunk_len: session.model().chunk_len(),
        prompt_tokens: plan.prompt,
        new_tokens: plan.new,
        load_s,
        prefill_tok_per_s: Spread::of(prefill).context("no run gave a time for the prompt")?,
        decode_tok_per_s: decode,
        first_token_s: Spread::of(first_token).context("no run gave a first token")?,
        dispatches_per_token: facts.dispatches_per_token,
        bytes_per_token: facts.bytes_per_token,
        copy_bytes_per_s,
        bandwidth_share,
    })
}

impl Plan {
    /// The lengths for a model of `max_seq_len` positions.
    ///
    /// # Errors
    /// When what was asked for does not fit.
    fn new(args: &Args, context: Option<usize>, max_seq_len: usize) -> anyhow::Result<Self> {
        let asked = |tokens: Option<u32>| tokens.map(|tokens| tokens as usize);
        let room = context.unwrap_or(max_seq_len);
        // Four parts of prompt to one of reply where the defaults are too long; the last token that is chosen takes a place too.
        let free = room.saturating_sub(1);
        let new = asked(args.new_tokens)
            .unwrap_or_else(|| 128.min(free.saturating_sub(asked(args.prompt_tokens).unwrap_or(free - free / 5))));
        let prompt = asked(args.prompt_tokens).unwrap_or_else(|| 512.min(free.saturating_sub(new)).max(1));
        let need = prompt + new + 1;
        ensure!(
            need <= room,
            "{prompt} tokens of prompt and {new} behind it need a context of {need}, there are {room} ({}); ask for fewer \
             with -p and -n",
            if context.is_some() { "--context" } else { "the model's" }
        );
        Ok(Self { prompt, new, runs: args.runs, context: context.map_or(need, |_| room) })
    }
}

/// What the model says of its decode step.
struct Facts {
    bytes_per_token: u64,
    dispatches_per_token: usize,
}

impl Facts {
    /// In the middle of the reply, since the cache grows with it.
    fn of(model: &Llama, plan: Plan) -> Self {
        Self {
            bytes_per_token: model.bytes_per_token(plan.prompt + plan.new / 2),
            dispatches_per_token: model.dispatches_per_token(),
        }
    }
}

/// One run, from an empty cache.
fn reply(session: &mut Session<Llama>, plan: Plan, stop: &Arc<AtomicBool>, steps: &Steps) -> anyhow::Result<Reply> {
    let mut rng = Rng::new(SEED);
    let vocab_size = session.model().vocab_size() as u64;
    let request = Request {
        prompt_ids: (0..plan.prompt).map(|_| (rng.next_u64() % vocab_size) as u32).collect(),
        sampler: SamplerConfig::greedy(),
        // The last token is chosen but not run: one more, so that as many steps are timed as were asked for.
        max_new_tokens: plan.new + 1,
        ignore_eos: true,
        stop_flag: stop.clone(),
        ..Request::default()
    };
    session.clear();
    let reply = session.generate(&request, None, &mut |event| {
        steps.update(event);
        ControlFlow::Continue(())
    })?;
    match reply.finish {
        FinishReason::MaxTokens => Ok(reply),
        FinishReason::Stopped => bail!(Interrupted),
        other => bail!("a run ended early ({other}) after {} of {} tokens", reply.ids.len(), plan.new + 1),
    }
}

/// One line on stderr that tells where the bench is; nothing where stderr is no terminal.
struct Steps {
    bar: ProgressBar,
    plan: Plan,
    run: Cell<u32>,
    tokens: Cell<usize>,
}

impl Steps {
    fn new(plan: Plan) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar, plan, run: 0.into(), tokens: 0.into() }
    }

    /// Called between tokens: it must cost nothing beside one, and `indicatif` draws only so often.
    fn update(&self, event: Event<'_>) {
        let at = match event {
            Event::Prefill { new, done, .. } => {
                if done == 0 {
                    self.run.set(self.run.get() + 1);
                    self.tokens.set(0);
                }
                format!("prompt, {done} of {new} tokens")
            }
            Event::Token { .. } => {
                self.tokens.set(self.tokens.get() + 1);
                format!("reply, {} tokens", self.tokens.get())
            }
            _ => return,
        };
        let run = match self.run.get() {
            0 | 1 => "warm-up".to_owned(),
            run => format!("run {} of {}", run - 1, self.plan.runs),
        };
        self.bar.set_message(format!("{run}: {at}"));
        self.bar.tick();
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(
        prompt: Option<u32>,
        new: Option<u32>,
        context: Option<usize>,
        max: usize,
    ) -> Result<(usize, usize, usize), String> {
        let args = Args { prompt_tokens: prompt, new_tokens: new, runs: 1, json: false };
        let plan = Plan::new(&args, context, max).map_err(|error| error.to_string())?;
        Ok((plan.prompt, plan.new, plan.context))
    }

    #[test]
    fn lengths_that_were_not_asked_for_fit_the_context() {
        assert_eq!(plan(None, None, None, 2048), Ok((512, 128, 641)));
        assert_eq!(plan(None, None, Some(1024), 2048), Ok((512, 128, 1024)));
        assert_eq!(plan(None, None, None, 101), Ok((80, 20, 101)));
        assert_eq!(plan(None, None, None, 2), Ok((1, 0, 2)));
        assert_eq!(plan(Some(90), None, None, 101), Ok((90, 10, 101)));
        assert_eq!(plan(None, Some(90), None, 101), Ok((10, 90, 101)));
        assert_eq!(plan(Some(1), Some(0), None, 101), Ok((1, 0, 2)));
    }

    #[test]
    fn lengths_that_were_asked_for_are_kept_or_refused() {
        let refused = plan(Some(64), Some(64), None, 101).unwrap_err();
        assert!(refused.contains("need a context of 129, there are 101 (the model's)"), "{refused}");
        let refused = plan(Some(64), Some(64), Some(100), 2048).unwrap_err();
        assert!(refused.contains("there are 100 (--context)"), "{refused}");
        assert!(plan(Some(u32::MAX), Some(u32::MAX), None, 2048).is_err());
        assert!(plan(None, None, None, 1).is_err());
        assert_eq!(plan(Some(4000), Some(8), Some(4096), 2048), Ok((4000, 8, 4096)));
    }
}
