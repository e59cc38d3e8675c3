//! What the host does for a token, each part alone: choosing it, turning it into text, and recording the step that computes the
//! next one; and the tokenizer, which a prompt waits for.
//!
//! ```text
//! cargo bench --workspace --features guanaco-tests/criterion --bench host
//! ```

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use guanaco_engine::gpu::list_adapters;
use guanaco_engine::kernels::Rng;
use guanaco_engine::sampler::{Sampler, SamplerConfig, SamplerPreset};
use guanaco_engine::tokenizer::{DetokenizeStream, Tokenizer};
use guanaco_tests::{device, workspace};

/// LLaMA's.
const VOCABULARY: usize = 32_000;

/// Of prompt and reply, which penalties look at.
const HISTORY: usize = 512;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    sampler(&mut criterion)?;
    tokenizer(&mut criterion)?;
    recording(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}

fn sampler(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut rng = Rng::new(1);
    let logits = rng.values(VOCABULARY, 10.0);
    let history: Vec<u32> = (0..HISTORY).map(|_| (rng.next_u64() % VOCABULARY as u64) as u32).collect();
    let mut group = criterion.benchmark_group("sampler, 32000 logits");
    let no_repeat = SamplerConfig { no_repeat_ngram: 3, ..SamplerPreset::Guanaco.config() };
    for (name, config) in [
        ("greedy", SamplerConfig::greedy()),
        ("the preset guanaco", SamplerPreset::Guanaco.config()),
        ("the preset guanaco, no repeated trigrams", no_repeat),
    ] {
        let mut sampler = Sampler::new(&config)?;
        group.bench_function(name, |bencher| bencher.iter(|| sampler.sample(black_box(&logits), &history)));
    }
    group.finish();
    Ok(())
}

fn tokenizer(criterion: &mut Criterion) -> anyhow::Result<()> {
    let folder = workspace().join("app").join("tiny-guanaco");
    let Some(tokenizer) = Tokenizer::open(&folder)? else { anyhow::bail!("the embedded model has no tokenizer") };
    // Dialogues in six languages.
    let text = std::fs::read_to_string(workspace().join("tests/data/tiny-guanaco/heldout.jsonl"))?;
    let text: String = text.chars().take(8192).collect();
    let ids = tokenizer.encode(&text, false)?;
    let mut group = criterion.benchmark_group("tokenizer, the embedded model's");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("encode", |bencher| bencher.iter(|| tokenizer.encode(black_box(&text), false)));
    group.throughput(Throughput::Elements(ids.len() as u64));
    group.bench_function("detokenize, token by token", |bencher| {
        bencher.iter_batched(
            DetokenizeStream::after_context,
            |mut stream| ids.iter().try_for_each(|id| stream.push(&tokenizer, *id).map(|piece| drop(black_box(piece)))),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    Ok(())
}

/// Needs an adapter, since the list refers to what is bound on one; nothing is submitted.
fn recording(criterion: &mut Criterion) -> anyhow::Result<()> {
    if list_adapters().is_empty() {
        eprintln!("recording of a decode step: skipped, no adapter; `make test` installs Mesa's software Vulkan");
        return Ok(());
    }
    let model = device::load(&workspace().join("app").join("tiny-guanaco"), 1)?;
    let mut group = criterion.benchmark_group("recording, the embedded model's");
    group.throughput(Throughput::Elements(model.dispatches_per_token() as u64));
    group.bench_function("a decode step, by dispatch", |bencher| bencher.iter(|| model.dispatches_per_token()));
    group.finish();
    Ok(())
}
