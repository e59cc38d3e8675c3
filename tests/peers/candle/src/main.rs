//! One measurement by candle's LLaMA on the CPU; the command line is that of every worker (engines.py).
//!
//! ```text
//! candle-worker f16|f32 MODEL CONTEXT P N RUNS THREADS LIMIT GREEDY ID,ID,...
//! ```
//!
//! Threads are rayon's, from RAYON_NUM_THREADS. The cache grows with the sequence, whatever CONTEXT says.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Tokens of the run that does not count.
const WARM_UP: usize = 64;

struct Engine {
    model: Llama,
    config: Config,
    dtype: DType,
}

/// A sequence with its cache.
struct Sequence<'e> {
    engine: &'e Engine,
    cache: Cache,
    len: usize,
}

impl Engine {
    fn load(folder: &Path, dtype: DType) -> Result<Self> {
        let config: LlamaConfig = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
        let config = config.into_config(false);
        let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let is_weights = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "safetensors");
        let files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_weights).collect();
        // Nothing else writes to the files while this runs.
        let weights = unsafe { VarBuilder::from_mmaped_safetensors(&files, dtype, &Device::Cpu)? };
        Ok(Self { model: Llama::load(weights, &config)?, config, dtype })
    }

    fn sequence(&self) -> Result<Sequence<'_>> {
        let cache = Cache::new(true, self.dtype, &self.config, &Device::Cpu)?;
        Ok(Sequence { engine: self, cache, len: 0 })
    }
}

impl Sequence<'_> {
    /// Appends `tokens` and returns the best next one.
    fn step(&mut self, tokens: &[u32]) -> Result<u32> {
        let input = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
        let logits = self.engine.model.forward(&input, self.len, &mut self.cache)?;
        self.len += tokens.len();
        Ok(logits.squeeze(0)?.to_dtype(DType::F32)?.argmax(0)?.to_scalar()?)
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, folder, _context, p, n, runs, _threads, limit, n_greedy, ids] = args.as_slice() else {
        return Err("usage: candle-worker f16|f32 MODEL CONTEXT P N RUNS THREADS LIMIT GREEDY ID,ID,...".into());
    };
    let dtype = if kind == "f16" { DType::F16 } else { DType::F32 };
    let (p, n, runs, n_greedy): (usize, usize, usize, usize) = (p.parse()?, n.parse()?, runs.parse()?, n_greedy.parse()?);
    let limit: f64 = limit.parse()?;
    let ids = ids.split(',').map(str::parse).collect::<std::result::Result<Vec<u32>, _>>()?;

    let start = Instant::now();
    let engine = Engine::load(Path::new(folder), dtype)?;
    let load = start.elapsed().as_secs_f64();

    let vocab_size = engine.config.vocab_size;
    let mut prompt: Vec<u32> = (0..p).map(|i| ((100 + 7 * i) % vocab_size) as u32).collect();
    let (mut prefill, mut decode, mut decoded) = (Vec::new(), Vec::new(), n);
    if runs > 0 {
        let short = &prompt[..p.min(WARM_UP)];
        // The first call pays for what later ones find ready: the estimate is of the second.
        let mut sequence = engine.sequence()?;
        let token = sequence.step(short)?;
        sequence.step(&[token])?;
        let start = Instant::now();
        engine.sequence()?.step(short)?;
        let took = start.elapsed().as_secs_f64() / short.len() as f64;
        if took * p as f64 > limit {
            prompt.truncate(((limit / took) as usize / WARM_UP * WARM_UP).max(WARM_UP));
        }
    }
    for _ in 0..runs {
        let mut sequence = engine.sequence()?;
        let start = Instant::now();
        let mut token = sequence.step(&prompt)?;
        prefill.push(prompt.len() as f64 / start.elapsed().as_secs_f64());
        let (start, mut steps) = (Instant::now(), 0);
        while steps < n && (steps == 0 || start.elapsed().as_secs_f64() < limit) {
            token = sequence.step(&[token])?;
            steps += 1;
        }
        if n > 0 {
            decode.push(steps as f64 / start.elapsed().as_secs_f64());
            decoded = decoded.min(steps);
        }
    }
    let (mut greedy, mut sequence, start) = (Vec::new(), engine.sequence()?, Instant::now());
    while greedy.len() < n_greedy && (greedy.is_empty() || start.elapsed().as_secs_f64() < limit) {
        let last = greedy.last().copied();
        greedy.push(sequence.step(last.as_slice().get(..1).unwrap_or(&ids))?);
    }
    println!(
        "{}",
        serde_json::json!({"load_s": load, "prefill": prefill, "decode": decode, "prefill_tokens": prompt.len(),
            "decode_tokens": decoded, "device": "CPU", "greedy": greedy})
    );
    Ok(())
}
