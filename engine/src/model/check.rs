//! Whole-model conformance: two small random models on an adapter, against the same models computed by the kernels' f64
//! references, and one token at a time against all at once.
//!
//! Kernels can each be right and the model still wrong (a buffer bound twice, a barrier that a driver drops): this is the
//! check that sees it, on a machine without any checkpoint.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::{Forward, KvFormat, Llama, LoadOptions, MOST_VERIFIED, Pass};
use crate::error::Result;
use crate::file::Checkpoint;
use crate::gpu::{Gpu, GpuOptions};
use crate::kernels::conformance::Outcome;
use crate::kernels::{KERNELS, Rng};
use crate::weights::names::expected;

/// K and V are rounded to f16: a sum in another order can move one of them by a unit in its last place.
const LIMIT: f64 = 1e-6;

/// The same of int8, where it moves one by 1/127 of the largest in its head.
const LIMIT_INT8: f64 = 1e-5;

/// A plain model, and one with everything that is odd: grouped heads of 10, biases, a tied head, sizes that fill no word.
const CONFIGS: [(&str, &str); 2] = [
    (
        "2 layers of 64, 4 heads of 16",
        r#"{"architectures":["LlamaForCausalLM"],"hidden_act":"silu","hidden_size":64,"intermediate_size":172,
        "num_attention_heads":4,"num_hidden_layers":2,"num_key_value_heads":4,"vocab_size":257,"rms_norm_eps":1e-6,
        "max_position_embeddings":96,"tie_word_embeddings":false}"#,
    ),
    (
        "2 layers of 60, 6/2 heads of 10, biases, tied",
        r#"{"architectures":["LlamaForCausalLM"],"hidden_act":"silu","hidden_size":60,"intermediate_size":101,
        "num_attention_heads":6,"num_hidden_layers":2,"num_key_value_heads":2,"vocab_size":83,"rms_norm_eps":1e-5,
        "max_position_embeddings":96,"tie_word_embeddings":true,"attention_bias":true,"mlp_bias":true}"#,
    ),
];

/// Tokens of the prompt: more than a chunk of a CPU adapter, and no multiple of one.
const PROMPT: usize = 41;

/// The NMSE of one check.
type Check<'a> = &'a dyn Fn() -> Result<f64>;

/// Checks of each model.
const CHECKS: usize = 6;

/// How many outcomes [`run`] reports.
pub const COUNT: usize = CONFIGS.len() * CHECKS;

/// Runs the checks on the adapter of `gpu`, and reports each outcome as it comes.
///
/// # Errors
/// Only when the device itself is gone or a second one cannot be opened; a failing check is an outcome.
pub fn run(gpu: &Arc<Gpu>, each: &mut dyn FnMut(&Outcome)) -> Result<Vec<Outcome>> {
    let reference = Arc::new(Gpu::open(GpuOptions {
        cpu_kernels: KERNELS.iter().map(|kernel| kernel.stem.to_owned()).collect(),
        // Variants on matrix units round their input first; the reference does not.
        prefer: None,
        ..gpu.options().clone()
    })?);
    let mut outcomes = Vec::new();
    for (index, (name, _)) in CONFIGS.iter().enumerate() {
        let (f16, int8) = (KvFormat::F16, KvFormat::Int8);
        let checks: [(&str, f64, Check<'_>); CHECKS] = [
            ("logits against the f64 references", LIMIT, &|| against_reference(gpu, &reference, index, f16)),
            ("decode against prefill", LIMIT, &|| decode_against_prefill(gpu, index, f16)),
            ("a few tokens at a time against prefill", LIMIT, &|| few_against_prefill(gpu, index, f16)),
            ("int8 cache, logits", LIMIT_INT8, &|| against_reference(gpu, &reference, index, int8)),
            ("int8 cache, decode", LIMIT_INT8, &|| decode_against_prefill(gpu, index, int8)),
            ("int8 cache, a few tokens at a time", LIMIT_INT8, &|| few_against_prefill(gpu, index, int8)),
        ];
        for (what, limit, check) in checks {
            let start = Instant::now();
            let result = check();
            gpu.check("running conformance")?;
            let nmse = *result.as_ref().unwrap_or(&f64::NAN);
            let outcome = Outcome {
                kernel: "model".to_owned(),
                variant: "whole".to_owned(),
                case: format!("{name}: {what}"),
                nmse,
                limit,
                ms: start.elapsed().as_secs_f64() * 1e3,
                failure: match result {
                    Err(error) => Some(error.to_string()),
                    Ok(nmse) if nmse <= limit => None,
                    Ok(nmse) => Some(format!("NMSE {nmse:.3e}, expected at most {limit:.0e}")),
                },
            };
            each(&outcome);
            outcomes.push(outcome);
        }
    }
    Ok(outcomes)
}

fn against_reference(gpu: &Arc<Gpu>, reference: &Arc<Gpu>, index: usize, kv: KvFormat) -> Result<f64> {
    let checkpoint = checkpoint(index)?;
    let logits = |gpu: &Arc<Gpu>| logits(&mut load(gpu, &checkpoint, kv)?, &prompt(index));
    Ok(nmse(&logits(gpu)?, &logits(reference)?))
}

fn decode_against_prefill(gpu: &Arc<Gpu>, index: usize, kv: KvFormat) -> Result<f64> {
    let mut model = load(gpu, &checkpoint(index)?, kv)?;
    let tokens = prompt(index);
    let whole = logits(&mut model, &tokens)?;
    let mut single = Vec::new();
    for (pos, token) in tokens.iter().enumerate() {
        model.forward(Pass::Decode, 0, pos, &[*token], &mut single)?;
    }
    Ok(nmse(&single, &whole))
}

/// The logits behind every token, by passes of all lengths, against those of prefills that end there.
fn few_against_prefill(gpu: &Arc<Gpu>, index: usize, kv: KvFormat) -> Result<f64> {
    let mut model = load(gpu, &checkpoint(index)?, kv)?;
    let tokens = prompt(index);
    let (mut few, mut rows) = (Vec::new(), Vec::new());
    while few.len() < tokens.len() * model.vocab_size() {
        let pos = few.len() / model.vocab_size();
        let end = tokens.len().min(pos + 1 + pos % MOST_VERIFIED);
        model.verify(0, pos, &tokens[pos..end], &mut rows)?;
        few.extend_from_slice(&rows);
    }
    let mut whole = Vec::with_capacity(few.len());
    for (pos, token) in tokens.iter().enumerate() {
        model.forward(Pass::Prefill, 0, pos, &[*token], &mut rows)?;
        whole.extend_from_slice(&rows);
    }
    Ok(nmse(&few, &whole))
}

fn load(gpu: &Arc<Gpu>, checkpoint: &Checkpoint, kv: KvFormat) -> Result<Llama> {
    Llama::load(gpu.clone(), checkpoint, &LoadOptions { kv, ..LoadOptions::default() }, &mut |_| {})
}

fn logits(model: &mut Llama, tokens: &[u32]) -> Result<Vec<f32>> {
    let (mut logits, mut pos) = (Vec::new(), 0);
    for chunk in tokens.chunks(model.chunk_len()) {
        model.forward(Pass::Prefill, 0, pos, chunk, &mut logits)?;
        pos += chunk.len();
    }
    Ok(logits)
}

fn prompt(index: usize) -> Vec<u32> {
    let mut rng = Rng::new(index as u64);
    (0..PROMPT).map(|_| (rng.next_u64() % 83) as u32).collect()
}

fn nmse(got: &[f32], want: &[f32]) -> f64 {
    let square = |value: f64| value * value;
    let error: f64 = got.iter().zip(want).map(|(got, want)| square(f64::from(*got) - f64::from(*want))).sum();
    error / want.iter().map(|want| square(f64::from(*want))).sum::<f64>()
}

/// The checkpoint of [`CONFIGS`]`[index]`: random weights in safetensors, in memory.
fn checkpoint(index: usize) -> Result<Checkpoint> {
    static FILES: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
    let (_, config) = CONFIGS[index];
    let parsed = super::Config::parse(config.as_bytes(), std::path::Path::new("config.json"))?;
    let weights = FILES[index].get_or_init(|| {
        let mut rng = Rng::new(index as u64);
        let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
        for tensor in expected(&parsed.dims()) {
            let start = data.len();
            let scale = 1.5 / (*tensor.shape.last().unwrap_or(&1) as f32).sqrt();
            for _ in 0..tensor.shape.iter().product() {
                // Norm weights lie around one.
                let value = if tensor.shape.len() == 1 { 1.0 + rng.value(0.5) } else { rng.value(scale) };
                data.extend(value.to_le_bytes());
            }
            let entry = serde_json::json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, data.len()]});
            header.insert(tensor.name, entry);
        }
        let header = serde_json::Value::Object(header).to_string();
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    });
    Checkpoint::from_static(&[("config.json", config.as_bytes()), ("model.safetensors", weights)])
}
