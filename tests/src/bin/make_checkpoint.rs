//! Writes a LLaMA checkpoint of a given shape with random weights, for load tests and measurements: what matters is its size
//! and that its activations stay sane, not what it says.
//!
//! ```text
//! cargo run --release -p guanaco-tests --bin make_checkpoint -- --shape 7B --out DIR [--shards] [--dtype bf16] [--seed 1]
//! ```
//!
//! Tensors are drawn and written a block at a time, so that the 7B shape (13.5 GB) needs a few megabytes of memory. Matrices
//! are uniform with the deviation 0.02 of a fresh LLaMA, norms are near 1.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use guanaco_engine::weights::names::{Dims, ExpectedTensor, expected};
use half::{bf16, f16};

const USAGE: &str =
    "usage: make_checkpoint --shape 15M|110M|1.1B|7B --out DIR [--shards] [--dtype f16|bf16|f32] [--seed N]";
/// Bytes of tensors in one shard, as transformers 4 splits by default.
const SHARD: u64 = 5_000_000_000;
const CONTEXT: usize = 2048;
/// A deviation of 0.02 for uniform values.
const HALF_WIDTH: f32 = 0.034_641;

/// The shapes of llama2.c's stories models, TinyLlama and LLaMA 7B.
const SHAPES: [(&str, Dims, &str); 4] = [
    ("15M", dims(288, 6, 6, 6, 768), "1e-05"),
    ("110M", dims(768, 12, 12, 12, 2048), "1e-05"),
    ("1.1B", dims(2048, 22, 32, 4, 5632), "1e-05"),
    ("7B", dims(4096, 32, 32, 32, 11008), "1e-06"),
];

const fn dims(dim: usize, n_layers: usize, n_heads: usize, n_kv_heads: usize, hidden_dim: usize) -> Dims {
    Dims {
        vocab_size: 32000,
        dim,
        hidden_dim,
        n_layers,
        n_heads,
        n_kv_heads,
        head_dim: dim / n_heads,
        tied_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
    }
}

struct Options {
    shape: String,
    out: PathBuf,
    shards: bool,
    dtype: String,
    seed: u64,
}

fn options() -> Result<Options> {
    let (mut shape, mut out, mut shards, mut dtype, mut seed) = (None, None, false, "f16".to_owned(), 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--shape" => shape = Some(value()?),
            "--out" => out = Some(PathBuf::from(value()?)),
            "--shards" => shards = true,
            "--dtype" => dtype = value()?,
            "--seed" => seed = value()?.parse().context("--seed needs a whole number")?,
            _ => bail!("unknown argument {argument}\n{USAGE}"),
        }
    }
    Ok(Options { shape: shape.context(USAGE)?, out: out.context(USAGE)?, shards, dtype, seed })
}

/// Writes the elements of one type.
struct Encoding {
    name: &'static str,
    torch: &'static str,
    size: usize,
    write: fn(&[f32], &mut Vec<u8>),
}

const ENCODINGS: [(&str, Encoding); 3] = [
    ("f16", Encoding { name: "F16", torch: "float16", size: 2, write: write_f16 }),
    ("bf16", Encoding { name: "BF16", torch: "bfloat16", size: 2, write: write_bf16 }),
    ("f32", Encoding { name: "F32", torch: "float32", size: 4, write: write_f32 }),
];

fn write_f16(values: &[f32], bytes: &mut Vec<u8>) {
    use half::slice::HalfFloatSliceExt;
    let mut half = [f16::ZERO; BLOCK];
    let half = &mut half[..values.len()];
    half.convert_from_f32_slice(values);
    bytes.extend(half.iter().flat_map(|value| value.to_le_bytes()));
}

fn write_bf16(values: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()));
}

fn write_f32(values: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
}

/// Elements drawn at a time.
const BLOCK: usize = 4096;

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>): each output depends on its number alone, so the loop vectorises.
fn split_mix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The elements `first..first + values.len()` of a tensor: reproducible whatever the order or the sharding.
fn draw(key: u64, first: u64, centre: f32, half_width: f32, values: &mut [f32]) {
    for (index, value) in values.iter_mut().enumerate() {
        let random = split_mix(key.wrapping_add((first + index as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        // 24 bits as a number from -1 to 1, symmetric about 0.
        let unit = ((random >> 40) as f32 + 0.5) * (1.0 / 8_388_608.0) - 1.0;
        *value = centre + half_width * unit;
    }
}

fn key(seed: u64, name: &str) -> u64 {
    name.bytes().fold(split_mix(seed ^ 0x6775_616E_6163_6F21), |key, byte| split_mix(key ^ u64::from(byte)))
}

fn elements(tensor: &ExpectedTensor) -> u64 {
    tensor.shape.iter().map(|&extent| extent as u64).product()
}

fn main() -> Result<()> {
    let options = options()?;
    let (_, dims, eps) = SHAPES.iter().find(|(name, ..)| *name == options.shape).context(USAGE)?;
    let (_, encoding) = ENCODINGS.iter().find(|(name, _)| *name == options.dtype).context(USAGE)?;
    let tensors = expected(dims);
    let bytes = |tensor: &ExpectedTensor| elements(tensor) * encoding.size as u64;
    let total: u64 = tensors.iter().map(bytes).sum();
    std::fs::create_dir_all(&options.out).with_context(|| format!("cannot create {}", options.out.display()))?;
    check_free(&options.out, total)?;

    let mut shards: Vec<Vec<&ExpectedTensor>> = vec![Vec::new()];
    let mut in_shard = 0;
    // Small shapes are split too, so that the option always shows.
    let limit = SHARD.min(total / 2 + 1);
    for tensor in &tensors {
        if options.shards && in_shard > 0 && in_shard + bytes(tensor) > limit {
            shards.push(Vec::new());
            in_shard = 0;
        }
        in_shard += bytes(tensor);
        if let Some(shard) = shards.last_mut() {
            shard.push(tensor);
        }
    }
    let count = shards.len();
    let name = |number: usize| match count {
        1 => "model.safetensors".to_owned(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
    };

    let mut progress = Progress { started: Instant::now(), total, done: 0, shown: 0 };
    for (number, shard) in shards.iter().enumerate() {
        write_shard(&options.out.join(name(number)), shard, encoding, options.seed, &mut progress)?;
    }
    if count > 1 {
        let map =
            shards.iter().enumerate().flat_map(|(number, shard)| shard.iter().map(move |tensor| (number, tensor)));
        let map: serde_json::Map<_, _> =
            map.map(|(number, tensor)| (tensor.name.clone(), name(number).into())).collect();
        let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": map });
        std::fs::write(options.out.join("model.safetensors.index.json"), serde_json::to_vec_pretty(&index)?)?;
    }
    let config = serde_json::json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": dims.dim, "intermediate_size": dims.hidden_dim, "num_hidden_layers": dims.n_layers,
        "num_attention_heads": dims.n_heads, "num_key_value_heads": dims.n_kv_heads, "vocab_size": dims.vocab_size,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": eps.parse::<f64>()?, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "attention_bias": false, "torch_dtype": encoding.torch,
        "bos_token_id": 1, "eos_token_id": 2,
    });
    std::fs::write(options.out.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    let (seconds, gigabytes) = (progress.started.elapsed().as_secs_f64(), total as f64 / 1e9);
    let out = options.out.display();
    eprintln!("\r{out}: {gigabytes:.2} GB in {count} file(s), {seconds:.1} s ({:.2} GB/s)", gigabytes / seconds);
    Ok(())
}

/// Refuses to begin what the disk cannot hold. `df` is asked since the standard library has no such call; where there is no
/// `df` (Windows), writing shows it.
fn check_free(out: &Path, total: u64) -> Result<()> {
    let Ok(output) = std::process::Command::new("df").arg("-Pk").arg(out).output() else { return Ok(()) };
    let text = String::from_utf8_lossy(&output.stdout);
    let available = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3));
    let Some(free) = available.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib * 1024) else { return Ok(()) };
    let (needed_gb, free_gb) = (total as f64 / 1e9, free as f64 / 1e9);
    eprintln!("{needed_gb:.2} GB to write, {free_gb:.1} GB free at {}", out.display());
    ensure!(
        free > total + (1 << 28),
        "not enough free space: {needed_gb:.2} GB needed, {free_gb:.1} GB free; path: {}",
        out.display()
    );
    Ok(())
}

struct Progress {
    started: Instant,
    total: u64,
    done: u64,
    shown: u64,
}

impl Progress {
    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        if self.done - self.shown > self.total / 100 {
            self.shown = self.done;
            let rate = self.done as f64 / 1e9 / self.started.elapsed().as_secs_f64();
            eprint!("\r{:3} % of {:.2} GB, {rate:.2} GB/s ", self.done * 100 / self.total, self.total as f64 / 1e9);
        }
    }
}

fn write_shard(
    path: &Path,
    tensors: &[&ExpectedTensor],
    encoding: &Encoding,
    seed: u64,
    progress: &mut Progress,
) -> Result<()> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".to_owned(), serde_json::json!({ "format": "pt" }));
    let mut at = 0;
    for tensor in tensors {
        let end = at + elements(tensor) * encoding.size as u64;
        let entry = serde_json::json!({ "dtype": encoding.name, "shape": tensor.shape, "data_offsets": [at, end] });
        header.insert(tensor.name.clone(), entry);
        at = end;
    }
    let mut header = serde_json::to_string(&header)?;
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));

    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    let mut values = [0.0_f32; BLOCK];
    let mut bytes = Vec::with_capacity(BLOCK * 4);
    for tensor in tensors {
        let (centre, half_width) = if tensor.shape.len() == 1 { (1.0, 0.1) } else { (0.0, HALF_WIDTH) };
        let (key, count) = (key(seed, &tensor.name), elements(tensor));
        for first in (0..count).step_by(BLOCK) {
            let n = (count - first).min(BLOCK as u64) as usize;
            draw(key, first, centre, half_width, &mut values[..n]);
            bytes.clear();
            (encoding.write)(&values[..n], &mut bytes);
            file.write_all(&bytes).with_context(|| format!("cannot write {}", path.display()))?;
            progress.add(bytes.len() as u64);
        }
    }
    file.flush().with_context(|| format!("cannot write {}", path.display()))
}
