//! Loads a checkpoint, decodes a few tokens, and tells how much host memory that took beside the memory map and the device's
//! own buffers (which software Vulkan allocates from the same memory, and a GPU does not).
//!
//! `cargo run --release -p guanaco-tests --bin load_memory -- DIR [TOKENS] [CONTEXT]`; Linux only, since it reads
//! `/proc/self/status`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use guanaco_engine::file::Checkpoint;
use guanaco_engine::gpu::MemoryPlan;
use guanaco_engine::model::{Forward, Llama, LoadOptions, Pass};
use guanaco_tests::device::{argmax, gpu};

const MIB: f64 = 1024.0 * 1024.0;

/// A line of `/proc/self/status`, bytes.
fn status(field: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("this tool reads /proc")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)).context("no such field")?;
    let kib: u64 = line.trim_start_matches(':').split_whitespace().next().context("empty field")?.parse()?;
    Ok(kib * 1024)
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().context("usage: load_memory DIR [TOKENS] [CONTEXT]")?;
    let tokens: usize = arguments.next().map_or(Ok(4), |text| text.parse())?;
    let max_seq_len = arguments.next().map(|text| text.parse()).transpose()?;
    let gpu = gpu()?;
    println!("{}", gpu.facts());
    let idle = status("RssAnon")?;

    let (done, anonymous, mapped) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                anonymous.fetch_max(status("RssAnon").unwrap_or(0), Ordering::Relaxed);
                mapped.fetch_max(status("RssFile").unwrap_or(0), Ordering::Relaxed);
                // A sampler: what it waits for is time itself.
                std::thread::park_timeout(Duration::from_millis(5));
            }
        });
        let result = load_and_decode(&dir, tokens, max_seq_len);
        done.store(true, Ordering::Relaxed);
        let memory = result?;
        let peak = anonymous.load(Ordering::Relaxed);
        let device = if gpu.facts().is_cpu() { memory.total() } else { 0 };
        println!("{memory}");
        println!("idle process                 {:>10.1} MiB", idle as f64 / MIB);
        println!("peak anonymous               {:>10.1} MiB", peak as f64 / MIB);
        println!("of it the device's buffers   {:>10.1} MiB", device as f64 / MIB);
        println!("host memory beside them      {:>10.1} MiB", peak.saturating_sub(device) as f64 / MIB);
        println!("peak of the mapped file      {:>10.1} MiB", mapped.load(Ordering::Relaxed) as f64 / MIB);
        Ok(())
    })
}

fn load_and_decode(dir: &str, tokens: usize, max_seq_len: Option<usize>) -> anyhow::Result<MemoryPlan> {
    let start = Instant::now();
    let checkpoint = Checkpoint::open(Path::new(dir))?;
    let options = LoadOptions { max_seq_len, ..LoadOptions::default() };
    let mut read = 0;
    let mut model = Llama::load(gpu()?, &checkpoint, &options, &mut |progress| read = progress.done)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("loaded {:.2} GB in {seconds:.1} s ({:.2} GB/s)", read as f64 / 1e9, read as f64 / 1e9 / seconds);
    let (mut logits, mut token) = (Vec::new(), 1);
    for pos in 0..tokens {
        let start = Instant::now();
        model.forward(Pass::Decode, 0, pos, &[token], &mut logits)?;
        token = argmax(&logits);
        println!("position {pos}: token {token}, {:.2} s", start.elapsed().as_secs_f64());
    }
    Ok(model.memory().clone())
}
