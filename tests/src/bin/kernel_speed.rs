//! How fast a kernel is on this adapter: every variant that the adapter has, interleaved, at the projections' shapes.
//!
//! ```text
//! cargo run --release -p guanaco-tests --bin kernel_speed -- KERNEL [--shape ROWSxCOLS]… [--model 110M|1.1B|7B]…
//!     [--tokens N]… [--pos N] [--rounds N] [--only VARIANT] [--json]
//! ```
//!
//! KERNEL is a name of the registry, or the beginning of several (`mat`, `matmul_q`). For `attention` a shape is
//! `HEADSxHEAD_DIM` or `HEADS/KV_HEADSxHEAD_DIM`. Without shapes those of the 110M and 1.1B models are taken, without tokens 32
//! and 512. The inputs are random; what is computed is checked by conformance, not here.
//!
//! A figure is the median over the rounds of the time a dispatch takes, of as many in one submit as fill 100 ms or so. Where the
//! system counts a process's CPU time (Linux) a software device is shown that too, since other work on the same cores
//! changes it least: the rate that as many cores as the machine has would reach undisturbed.

use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use guanaco_engine::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Role, Tier, Width, find_shader};
use guanaco_engine::kernels::{Case, Data, KERNELS, Kernel, Rng, Step, attention, matvec};
use guanaco_engine::weights::packed::Format;
use guanaco_engine::weights::padded;
use guanaco_tests::device::gpu;
use half::f16;
use serde::Serialize;

const USAGE: &str = "usage: kernel_speed KERNEL [--shape ROWSxCOLS]… [--model 110M|1.1B|7B]… [--tokens N]… [--pos N] \
                     [--rounds N] [--only VARIANT] [--json]";

/// Rows and columns of the stacked projections: q, k and v; o; gate and up; down. And the heads, and their size.
type Projections = (&'static str, [(usize, usize); 4], (usize, usize, usize));

const MODELS: [Projections; 3] = [
    ("110M", [(2304, 768), (768, 768), (4096, 768), (768, 2048)], (12, 12, 64)),
    ("1.1B", [(2560, 2048), (2048, 2048), (11264, 2048), (2048, 5632)], (32, 4, 64)),
    ("7B", [(12288, 4096), (4096, 4096), (22016, 4096), (4096, 11008)], (32, 32, 128)),
];

/// Seconds that one measurement lasts, about.
const LASTS: f64 = 0.1;

struct Options {
    kernel: String,
    shapes: Vec<String>,
    models: Vec<String>,
    tokens: Vec<usize>,
    pos: usize,
    rounds: usize,
    only: Option<String>,
    json: bool,
}

fn options() -> Result<Options> {
    let mut found = Options {
        kernel: String::new(),
        shapes: Vec::new(),
        models: Vec::new(),
        tokens: Vec::new(),
        pos: 0,
        rounds: 5,
        only: None,
        json: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--shape" => found.shapes.push(value()?),
            "--model" => found.models.push(value()?),
            "--tokens" => found.tokens.push(value()?.parse().context("--tokens needs a whole number")?),
            "--pos" => found.pos = value()?.parse().context("--pos needs a whole number")?,
            "--rounds" => found.rounds = value()?.parse().context("--rounds needs a whole number")?,
            "--only" => found.only = Some(value()?),
            "--json" => found.json = true,
            _ if found.kernel.is_empty() && !argument.starts_with('-') => found.kernel = argument,
            _ => bail!("unknown argument {argument}\n{USAGE}"),
        }
    }
    ensure!(!found.kernel.is_empty() && found.rounds > 0, USAGE);
    if found.shapes.is_empty() && found.models.is_empty() {
        found.models = vec!["110M".to_owned(), "1.1B".to_owned()];
    }
    if found.tokens.is_empty() {
        found.tokens = vec![32, 512];
    }
    Ok(found)
}

/// One kernel at one shape.
struct Work {
    title: String,
    case: Case,
    /// Operations of one dispatch: a multiplication and an addition count two.
    flop: f64,
    /// Bytes of weights or of the cache that one dispatch needs.
    bytes: f64,
}

/// One line of the result.
#[derive(Serialize)]
struct Line {
    kernel: &'static str,
    shape: String,
    variant: String,
    ms: f64,
    /// The quickest and the slowest round.
    range: [f64; 2],
    gflops: f64,
    /// Of weights or cache, 1e9 bytes a second.
    gbps: f64,
    /// As `gflops`, by the CPU time of the process over all cores.
    gflops_by_cpu_time: Option<f64>,
}

fn main() -> Result<()> {
    let options = options()?;
    let gpu = gpu()?;
    let kernels: Vec<_> = KERNELS.iter().filter(|kernel| kernel.name.starts_with(&options.kernel)).collect();
    ensure!(!kernels.is_empty(), "no kernel of the registry begins with `{}`", options.kernel);
    if !options.json {
        println!("{}", gpu.facts());
    }
    let mut lines = Vec::new();
    for kernel in kernels {
        let works = match kernel.stem {
            "columns" | "matmul" | "matvec" => products(kernel, &options)?,
            "attention" => attentions(kernel, &options)?,
            // Others take no share of a step that is worth a tool.
            _ => continue,
        };
        for work in works {
            let measured = measure(&gpu, kernel, &work, &options).with_context(|| work.title.clone())?;
            for line in measured {
                if !options.json {
                    print(&line);
                }
                lines.push(line);
            }
        }
    }
    ensure!(!lines.is_empty(), "there is nothing to measure: only matrix kernels and attention are");
    if options.json {
        println!("{}", serde_json::to_string_pretty(&lines)?);
    }
    Ok(())
}

fn print(line: &Line) {
    let by_cpu = line.gflops_by_cpu_time.map_or(String::new(), |rate| format!("{rate:8.1} by CPU time"));
    println!(
        "{:<10} {:<28} {:<22} {:9.3} ms ({:.3}–{:.3}) {:8.1} GFLOP/s {:7.2} GB/s {by_cpu}",
        line.kernel, line.shape, line.variant, line.ms, line.range[0], line.range[1], line.gflops, line.gbps
    );
}

/// `ROWSxCOLS`.
fn pair(shape: &str) -> Result<(&str, usize)> {
    let (left, right) = shape.split_once('x').with_context(|| format!("`{shape}` is not two numbers with an x"))?;
    Ok((left, right.parse().with_context(|| format!("`{right}` in `{shape}`"))?))
}

fn model(name: &str) -> Result<&'static Projections> {
    MODELS.iter().find(|(known, ..)| *known == name).with_context(|| format!("no model `{name}`\n{USAGE}"))
}

fn products(kernel: &Kernel, options: &Options) -> Result<Vec<Work>> {
    let format = match kernel.name.rsplit_once('_') {
        Some((_, "q4")) => Format::Q4 { group_len: 128 },
        Some((_, "q6")) => Format::Q6,
        Some((_, "q8")) => Format::Q8,
        _ => Format::F16,
    };
    let mut shapes = Vec::new();
    for shape in &options.shapes {
        let (rows, cols) = pair(shape)?;
        shapes.push((rows.parse().with_context(|| format!("`{rows}` in `{shape}`"))?, cols));
    }
    for name in &options.models {
        shapes.extend(model(name)?.1);
    }
    let one = [1];
    let tokens = if kernel.stem == "matvec" { &one } else { options.tokens.as_slice() };
    let sizes = shapes.iter().flat_map(|shape| tokens.iter().map(move |tokens| (*shape, *tokens)));
    sizes.map(|((rows, cols), n_tokens)| product(kernel, format, rows, cols, n_tokens)).collect()
}

type Workgroups = fn(&Case, &Launch, &Tier) -> [u32; 3];

/// What the registry knows of how many workgroups a kernel takes.
fn workgroups(kernel: &Kernel) -> Result<Workgroups> {
    Ok((kernel.cases)().first().context("a kernel without cases")?.workgroups)
}

fn product(kernel: &Kernel, format: Format, rows: usize, cols: usize, n_tokens: usize) -> Result<Work> {
    ensure!(rows > 0 && cols > 0 && n_tokens > 0, "{rows}x{cols}, {n_tokens} tokens: all must be positive");
    ensure!(format == Format::F16 || cols.is_multiple_of(64), "{cols} columns: quantised rows are whole runs of 64");
    let mut rng = Rng::new(1);
    let params = matvec::Params {
        row_words: padded(cols) as u32 / 8,
        n_rows: rows as u32,
        y_stride: padded(rows) as u32,
        scale_words: format.scale_words(cols) as u32,
        group_shift: format.group_shift(),
        ..matvec::Params::default()
    };
    let mut case = Case::new("speed", 0.0, workgroups(kernel)?)
        .uniform("params", params)
        .f32("x", &repeated(&mut rng, n_tokens * padded(cols), |rng| rng.value(1.0)))
        .f32("bias", &[0.0; 4])
        .output("y", Data::F32, n_tokens * padded(rows));
    if kernel.stem != "matvec" {
        // Matrix units take x in f16; what is in it does not change the time.
        let half = repeated(&mut rng, n_tokens * padded(cols), |rng| rng.value(1.0));
        case = case.uniform("step", Step { pos: 0, n_tokens: n_tokens as u32 });
        case = case.f16("half_x", &half).f32("x_scale", &vec![1.0; n_tokens]);
    }
    let scale = 1.0 / (cols as f32).sqrt();
    case = if format == Format::F16 {
        let weights = repeated(&mut rng, rows * padded(cols) / 2, |rng| {
            u32::from(f16::from_f32(rng.value(scale)).to_bits()) << 16
                | u32::from(f16::from_f32(rng.value(scale)).to_bits())
        });
        case.u32("weight", &weights)
    } else {
        let codes = repeated(&mut rng, rows * format.row_bytes(cols) / 4, |rng| rng.next_u64() as u32);
        let half = u32::from(f16::from_f32(scale / 8.0).to_bits());
        case.u32("weight", &codes).u32("scales", &vec![half << 16 | half; rows * format.scale_words(cols)])
    };
    let title = match kernel.stem {
        "matvec" => format!("{rows}x{cols}"),
        _ => format!("{rows}x{cols}, {n_tokens} tokens"),
    };
    let flop = 2.0 * rows as f64 * cols as f64 * n_tokens as f64;
    Ok(Work { title, case, flop, bytes: (rows * format.total_row_bytes(cols)) as f64 })
}

/// Random values, the same again after every 64 Ki: drawing hundreds of millions would take longer than what is measured.
fn repeated<T: Copy>(rng: &mut Rng, n: usize, mut draw: impl FnMut(&mut Rng) -> T) -> Vec<T> {
    let drawn: Vec<T> = (0..n.min(1 << 16)).map(|_| draw(rng)).collect();
    drawn.iter().copied().cycle().take(n).collect()
}

fn attentions(kernel: &Kernel, options: &Options) -> Result<Vec<Work>> {
    let mut shapes = Vec::new();
    for shape in &options.shapes {
        let (heads, head_dim) = pair(shape)?;
        let (n_heads, n_kv_heads) = heads.split_once('/').unwrap_or((heads, heads));
        let number = |text: &str| text.parse::<usize>().with_context(|| format!("`{text}` in `{shape}`"));
        shapes.push((number(n_heads)?, number(n_kv_heads)?, head_dim));
    }
    for name in &options.models {
        shapes.push(model(name)?.2);
    }
    let sizes = shapes.iter().flat_map(|shape| options.tokens.iter().map(move |tokens| (*shape, *tokens)));
    sizes.map(|(heads, n_tokens)| attention(kernel, heads, options.pos, n_tokens)).collect()
}

fn attention(
    kernel: &Kernel,
    (n_heads, n_kv_heads, head_dim): (usize, usize, usize),
    pos: usize,
    n_tokens: usize,
) -> Result<Work> {
    ensure!(n_kv_heads > 0 && n_heads.is_multiple_of(n_kv_heads), "{n_heads} heads on {n_kv_heads}");
    ensure!(
        (1..=attention::MAX_HEAD_DIM).contains(&head_dim) && n_tokens > 0,
        "heads of {head_dim}, {n_tokens} tokens"
    );
    let mut rng = Rng::new(1);
    let (stride, max_seq_len) = (padded(head_dim), pos + n_tokens);
    let params = attention::Params {
        n_heads: n_heads as u32,
        n_kv_heads: n_kv_heads as u32,
        head_dim: head_dim as u32,
        head_words: stride as u32 / 8,
        max_seq_len: max_seq_len as u32,
        out_stride: padded(n_heads * head_dim) as u32,
        scale: 1.0 / (head_dim as f32).sqrt(),
        // One dispatch for the whole context.
        keys_per_split: u32::MAX >> 1,
        max_splits: 1,
    };
    let cache = repeated(&mut rng, n_kv_heads * max_seq_len * stride, |rng| rng.value(1.0));
    let case = Case::new("speed", 0.0, workgroups(kernel)?)
        .uniform("params", params)
        .uniform("step", Step { pos: pos as u32, n_tokens: n_tokens as u32 })
        .f32("q", &repeated(&mut rng, n_tokens * n_heads * stride, |rng| rng.value(1.0)))
        .f16("k_cache", &cache)
        .f16("v_cache", &cache)
        .output("out", Data::F32, n_tokens * padded(n_heads * head_dim));
    // Each token attends to itself and to all before it.
    let keys = n_tokens as f64 * pos as f64 + (n_tokens * (n_tokens + 1)) as f64 / 2.0;
    let title = format!("{n_heads}/{n_kv_heads}x{head_dim}, {n_tokens} tokens at {pos}");
    let bytes = (2 * n_kv_heads * max_seq_len * stride * 2) as f64;
    Ok(Work { title, case, flop: 4.0 * keys * (n_heads * head_dim) as f64, bytes })
}

/// A variant, bound.
struct Variant {
    name: String,
    dispatch: Dispatch,
    workgroups: [u32; 3],
    /// Dispatches of one measurement.
    times: usize,
    /// Seconds a dispatch, and of CPU time where that is counted; a pair a round.
    seconds: Vec<(f64, Option<f64>)>,
}

fn measure(gpu: &Gpu, kernel: &'static Kernel, work: &Work, options: &Options) -> Result<Vec<Line>> {
    let mut bound = Vec::new();
    for buffer in &work.case.buffers {
        let uniform = ["params", "step"].contains(&buffer.name);
        let role = if uniform { Role::Uniform } else { Role::Storage };
        bound.push(BoundBuffer::whole(buffer.name, &gpu.create_buffer_with(buffer.name, &buffer.bytes, role)?));
    }
    let mut variants = Vec::new();
    for launch in (kernel.launches)(gpu.tier()) {
        let name = format!("{}/{}", launch.variant, launch.invocations);
        if options.only.as_ref().is_some_and(|only| only != launch.variant) {
            continue;
        }
        let shader = find_shader(launch.kernel, launch.variant).context("variants.txt does not list it")?;
        let takes = |bound: &&BoundBuffer| shader.bindings.iter().any(|binding| binding.name == bound.name);
        let dispatch =
            gpu.dispatch(&work.title, &launch, kernel.twin, bound.iter().filter(takes).cloned().collect())?;
        let workgroups = (work.case.workgroups)(&work.case, &launch, gpu.tier());
        variants.push(Variant { name, dispatch, workgroups, times: 1, seconds: Vec::new() });
    }
    let output = bound.iter().find(|b| ["y", "out"].contains(&b.name)).context("no output")?.buffer.clone();
    let result = gpu.create_buffer("a word of the result", 16, Role::Readback)?;
    for variant in &mut variants {
        // The first run compiles, and brings the buffers into memory.
        once(gpu, variant, &output, &result)?;
        let (seconds, _) = once(gpu, variant, &output, &result)?;
        variant.times = (LASTS / seconds).ceil().clamp(1.0, 1000.0) as usize;
    }
    for _ in 0..options.rounds {
        for variant in &mut variants {
            let measured = once(gpu, variant, &output, &result)?;
            variant.seconds.push(measured);
        }
    }
    let cores = std::thread::available_parallelism()?.get() as f64;
    let line = |variant: &Variant| {
        let mut wall: Vec<f64> = variant.seconds.iter().map(|(seconds, _)| *seconds).collect();
        let mut cpu: Vec<f64> = variant.seconds.iter().filter_map(|(_, seconds)| *seconds).collect();
        wall.sort_by(f64::total_cmp);
        cpu.sort_by(f64::total_cmp);
        let seconds = *wall.get(wall.len() / 2)?;
        let cpu = cpu.get(cpu.len() / 2).filter(|_| gpu.facts().is_cpu());
        Some(Line {
            kernel: kernel.name,
            shape: work.title.clone(),
            variant: variant.name.clone(),
            ms: seconds * 1e3,
            range: [wall.first()? * 1e3, wall.last()? * 1e3],
            gflops: work.flop / seconds / 1e9,
            gbps: work.bytes / seconds / 1e9,
            gflops_by_cpu_time: cpu.map(|cpu| work.flop / cpu * cores / 1e9),
        })
    };
    Ok(variants.iter().filter_map(line).collect())
}

/// One submit with as many dispatches as `variant` says, waited for: seconds a dispatch, and of CPU time.
fn once(gpu: &Gpu, variant: &Variant, output: &Buffer, result: &Buffer) -> Result<(f64, Option<f64>)> {
    let mut recording = Recording::new(Width::Many);
    for _ in 0..variant.times {
        recording.push(&variant.dispatch, variant.workgroups, 0);
    }
    recording.copy_out(output, result, 0, 4);
    let (cpu, start) = (cpu_seconds(), Instant::now());
    gpu.run_and_map(&recording, "measuring", (result, 4), |_| ())?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu.zip(cpu_seconds()).map(|(before, after)| after - before);
    Ok((seconds / variant.times as f64, cpu.map(|cpu| cpu / variant.times as f64)))
}

/// CPU time of all threads of this process, which a software device computes in; only Linux tells.
fn cpu_seconds() -> Option<f64> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = threads.flatten().filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    });
    Some(nanoseconds.sum::<f64>() * 1e-9)
}
