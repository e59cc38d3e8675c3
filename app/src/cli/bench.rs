//! `guanaco bench`: how fast a model is on this adapter, through the loop that answers a user, how near that is to the
//! limits of memory and arithmetic, and where the time goes.

pub mod history;
pub mod html;
pub mod profile;
pub mod report;
mod runs;
pub mod suite;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use guanaco_engine::Error;
use guanaco_engine::gpu::Gpu;
use guanaco_engine::kernels::matmul_flops;
use guanaco_engine::model::{Forward as _, KvFormat, Llama};
use guanaco_engine::session::Session;
use report::{Decode, Model, Prefill, Report};
use runs::{Bench, Steps};
use suite::Plan;

use super::conformance::report::Platform;
use super::progress::LoadBar;
use super::{Globals, note, output};
use crate::checkpoint::Files;

/// Measures how fast the model is on this adapter, and where the time goes
#[derive(clap::Args, Clone, Debug, Default)]
#[command(after_help = "\
Examples:
  guanaco bench                               pp128, pp512, pp2048, tg128, tg128@512 and tg128@4096, as far as the context holds
                                              them
  guanaco bench --html                        also writes guanaco-bench.html: charts of a decode step and of a prefill chunk
  guanaco --model ~/models/guanaco-7b bench -p 512 -n 128
  guanaco bench -p 1 -n 64                    decoding from an empty context, as llama-bench's tg64
  guanaco bench --history                     keeps the run, and compares it with the last one that was kept
  guanaco bench --json > before.json          and later: guanaco bench --compare before.json
  guanaco --adapter 1 bench --json

ppP is a random prompt of P tokens (always the same) from an empty cache; tgN decodes N tokens, greedily and past every end of
text, from an empty context, and tgN@D behind D tokens. With -p or -n one run does both: N tokens behind P. A run before
the first prompt and before each tgN is not counted. Prefill and decode are in tokens a second; the share of the copy bandwidth is the bytes that a decode step reads (every
matrix once, and the KV cache), over its time, as part of what the adapter moves (read + written) when it copies a buffer to
another; the share of the matmul peak is the operations of a prompt, over its time, as part of what the best matmul kernel makes
in a large square product. The host's time for a token is all that is not waiting for the device; its parts are timed alone.

The GPU time of each kernel is read from timestamps between the dispatches of a prefill chunk and of a few decode steps; the table
says so where an adapter has none and the host's clock stands in. It is taken with the suite, --html or --profile. GB/s counts the
weights once a call, GFLOP/s two operations a multiply-add.

--history keeps each run in bench.jsonl in the user's data folder. It and --compare call a figure better or worse only when every run
now lies on one side of every run then, and the medians differ by more than 2 %.

--json: {\"format\":2,\"engine\":\"0.1.0\",\"platform\":{…},\"adapter\":{…},\"tier\":{…},\"fallbacks\":[…],\"model\":{\"name\":…,\"dim\":…,\"hidden_dim\":…,
  \"n_layers\":…,\"n_heads\":…,\"n_kv_heads\":…,\"head_dim\":…,\"vocab_size\":…},\"memory\":{\"items\":[{\"what\":…,\"bytes\":…}]},
  \"kv\":\"f16\",\"context\":…,\"chunk_len\":…,\"prompt_tokens\":512,\"new_tokens\":128,\"load_s\":…,
  \"prefill_tok_per_s\":{\"median\":…,\"min\":…,\"max\":…,\"runs\":[…]},\"decode_tok_per_s\":the same or null (N = 0),
  \"first_token_s\":the same,\"dispatches_per_token\":…,\"bytes_per_token\":…,\"copy_bytes_per_s\":…,
  \"bandwidth_share\":number or null,\"matmul_flops\":…,\"peak_memory_bytes\":number or null,\"tuned\":[…],
  \"prefill\":[{\"name\":\"pp512\",\"tokens\":…,\"tok_per_s\":…,\"first_token_s\":…,\"multiply_adds\":…,\"matmul_share\":…}],
  \"decode\":[{\"name\":\"tg128\",\"depth\":…,\"tokens\":…,\"tok_per_s\":…,\"bytes_per_token\":…,\"bandwidth_share\":…,
    \"host\":{\"s_per_token\":…,\"share\":…,\"recording_s\":…,\"submit_s\":…,\"sampling_s\":…,\"detokenize_s\":…,\"rest_s\":…}}],
  \"left_out\":[{\"name\":…,\"why\":…}],\"profile\":null or {\"clock\":\"timestamps\",\"instead\":null or why not,\"prefill\":{…},\"decode\":{
    \"pos\":…,\"tokens\":…,\"seconds\":…,\"kernels\":[{\"block\":\"mlp\",\"label\":…,\"kernel\":…,\"variant\":…,\"calls\":…,\"seconds\":…,\"share\":…,
    \"weight_bytes_per_s\":…,\"flops\":…}]}},
  \"changes\":[{\"against\":…,\"what\":…,\"before\":…,\"now\":…,\"ratio\":…,\"verdict\":\"better\",\"worse\",\"within_spread\" or \"unknown\"}]};
  the figures from prompt_tokens to bandwidth_share are those of -p and -n, or of pp512 and tg128; `adapter` and `tier` as in
  `guanaco devices --json`")]
pub struct Args {
    /// One test in place of the suite, with a prompt of P tokens [default: 512, less where the context is short]
    #[arg(short, long, value_name = "P", value_parser = clap::value_parser!(u32).range(1..))]
    pub prompt_tokens: Option<u32>,
    /// One test in place of the suite, with N tokens decoded [default: 128, less where the context is short]
    #[arg(short, long, value_name = "N")]
    pub new_tokens: Option<u32>,
    /// Counted runs of each test
    #[arg(short, long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Also the GPU time of each kernel, which the suite tells anyway
    #[arg(long)]
    pub profile: bool,
    /// Keeps this run, and compares it with earlier ones of the same model on the same adapter and driver
    #[arg(long)]
    pub history: bool,
    /// Compares with a report that `guanaco bench --json` wrote
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub compare: Option<PathBuf>,
    /// Writes one self-contained HTML page
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "guanaco-bench.html")]
    pub html: Option<PathBuf>,
    /// Prints JSON in place of a table
    #[arg(long)]
    pub json: bool,
    /// Says on stderr where the run is, a line of JSON at each step: {"done":3,"total":12,"what":…}
    #[arg(long)]
    pub progress: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// What is wrong with the model, the device, the fit of both, the lengths asked for, or a file; when it was interrupted.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    // Before anything is measured: what is wrong with a file should not be found out afterwards.
    let saved = args.compare.as_deref().map(|path| Ok((path, history::saved(path)?))).transpose();
    let saved: Option<(&Path, Report)> = saved.map_err(|error: anyhow::Error| error)?;
    let kept = if args.history { Some(history::file()?) } else { None };
    let mut report = measure(&args, globals, listen)?;
    if let Some((path, before)) = saved {
        report.changes.extend(history::compare(&path.display().to_string(), &before, &report));
    }
    if let Some(path) = kept {
        compare_with_kept(&path, &mut report)?;
        history::keep(&path, &report)?;
    }
    if let Some(path) = &args.html {
        output::file(path, &html::page(&report))?;
    }
    if args.json {
        return output::json(&report);
    }
    output::text(&report.to_string())
}

/// The change against the last run that was kept; the ones before it go to stderr.
fn compare_with_kept(path: &Path, report: &mut Report) -> anyhow::Result<()> {
    let (runs, damaged) = history::kept(path, report)?;
    if damaged > 0 {
        note::warning(&format!(
            "{damaged} lines are damaged or of another version, and left aside; file: {}",
            path.display()
        ));
    }
    match runs.last() {
        None => note::dim("the first run of this model on this adapter and driver that is kept"),
        Some(last) => {
            note::dim(&format!("kept runs, medians:\n{}", history::table(&runs).trim_end()));
            let against = format!("the run of {}", history::date(last.time));
            report.changes.extend(history::compare(&against, &last.report, report));
        }
    }
    Ok(())
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
    let mut plan = Plan::new(args, globals.context, config.max_seq_len)?;
    let is_suite = args.prompt_tokens.is_none() && args.new_tokens.is_none();
    let gpu = globals.open_gpu()?;

    let start = Instant::now();
    let model = load(&gpu, &files, globals, &mut plan)?;
    let load_s = (opened + start.elapsed()).as_secs_f64();
    let stop = listen()?;
    let (memory, chunk_len) = (model.memory().clone(), model.chunk_len());
    let dispatches_per_token = model.dispatches_per_token();
    let session = Session::new(model);
    let mut bench = Bench { session, tokenizer: files.tokenizer.as_ref(), stop, runs: args.runs };
    // Each run, a warm-up for each test, the profile, the roofs.
    let total = plan.tests.len() * (args.runs as usize + 1) + 2;
    let steps = Steps::new(args.progress.then_some(total));
    let (mut prefill, mut decode) = (Vec::<Prefill>::new(), Vec::<Decode>::new());
    for test in &plan.tests {
        let (prompt, reply) = bench.test(*test, !prefill.is_empty(), &steps)?;
        prefill.extend(prompt);
        decode.extend(reply);
    }
    let mut model = bench.session.into_model();
    let profile = if is_suite || args.profile || args.html.is_some() {
        steps.say("the GPU time of each kernel");
        Some(profile::take(&mut model)?)
    } else {
        None
    };
    // What the roofs are measured with is no memory of the model's.
    let peak_memory_bytes = peak_memory();
    let middle = plan.tests.iter().map(|test| test.prompt + test.new / 2).max().unwrap_or_default();
    let longest_bytes = model.bytes_per_token(middle);
    drop(model);
    steps.say("what the device copies and multiplies");
    let (copy_bytes_per_s, matmul_flops) = (gpu.measure_copy_bandwidth()?, matmul_flops(&gpu)?);
    drop(steps);
    prefill.iter_mut().for_each(|test| test.matmul_share = Some(test.flops() / matmul_flops));
    decode.iter_mut().for_each(|test| test.bandwidth_share = Some(test.bytes_per_s() / copy_bytes_per_s));

    let main = prefill.iter().find(|test| test.tokens == 512).or(prefill.first()).context("no prompt was timed")?;
    let reply = decode.first();
    Ok(Report {
        format: report::FORMAT,
        engine: env!("CARGO_PKG_VERSION").to_owned(),
        platform: Platform::here(),
        adapter: gpu.facts().clone(),
        tier: gpu.tier().clone(),
        fallbacks: gpu.fallbacks(),
        model: Model::new(files.name.clone(), config),
        kv: KvFormat::from(globals.kv).name().to_owned(),
        memory,
        context: plan.context,
        chunk_len,
        prompt_tokens: main.tokens,
        new_tokens: reply.map_or(0, |reply| reply.tokens),
        load_s,
        prefill_tok_per_s: main.tok_per_s.clone(),
        decode_tok_per_s: reply.map(|reply| reply.tok_per_s.clone()),
        first_token_s: main.first_token_s.clone().context("no run gave a first token")?,
        dispatches_per_token,
        bytes_per_token: reply.map_or(longest_bytes, |reply| reply.bytes_per_token),
        copy_bytes_per_s,
        bandwidth_share: reply.and_then(|reply| reply.bandwidth_share),
        matmul_flops: Some(matmul_flops),
        peak_memory_bytes,
        tuned: gpu.tuning().launches.iter().map(|(kernel, launch)| format!("{kernel} {launch}")).collect(),
        prefill,
        decode,
        left_out: plan.left_out,
        profile,
        changes: Vec::new(),
    })
}

/// Loads the model with the context of `plan`; where the device has no memory for that, the tests that need it are left out.
fn load(gpu: &Arc<Gpu>, files: &Files, globals: &Globals, plan: &mut Plan) -> anyhow::Result<Llama> {
    loop {
        let options = Globals { context: Some(plan.context), ..globals.clone() }.load_options(1);
        let mut bar = LoadBar::new();
        let loaded = Llama::load(gpu.clone(), files.sources(), &options, &mut |progress| bar.update(progress));
        match loaded {
            Err(Error::DoesNotFit(_)) if plan.shrink() => {}
            loaded => return Ok(loaded?),
        }
    }
}

/// The most memory that this process has had, where the system tells (Linux's `VmHWM`).
fn peak_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
