//! LLaMA on paper: the whole model in obvious loops on the CPU, the oracle that the engine is held against.
//!
//! It shares no code with the engine but the [`Forward`] trait: its own reader for safetensors, f32 values, every sum in f64.
//! Formulas: Touvron et al. 2023, <https://arxiv.org/abs/2302.13971>; RoPE in the half-split layout of Hugging Face's
//! `modeling_llama.py`; its scaling `linear` and `llama3` as in `modeling_rope_utils.py`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use guanaco_engine::Error;
use guanaco_engine::model::{Forward, Pass};
use half::{bf16, f16};
use serde::Deserialize;
use serde_json::Value;

/// The fields of `config.json` that matter here.
#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    /// Number of logits.
    pub vocab_size: usize,
    /// `dim`.
    pub hidden_size: usize,
    /// `hidden_dim`.
    pub intermediate_size: usize,
    /// `n_layers`.
    pub num_hidden_layers: usize,
    /// `n_heads`.
    pub num_attention_heads: usize,
    /// `n_kv_heads`; all heads when missing.
    pub num_key_value_heads: Option<usize>,
    /// `hidden_size / num_attention_heads` when missing.
    pub head_dim: Option<usize>,
    /// The greatest context.
    #[serde(default = "default_max_seq_len")]
    pub max_position_embeddings: usize,
    /// Added to the mean square.
    #[serde(default = "default_rms_eps")]
    pub rms_norm_eps: f64,
    /// The base of the RoPE frequencies, in older configs.
    pub rope_theta: Option<f64>,
    /// Scaling of the RoPE frequencies, in older configs.
    pub rope_scaling: Option<Value>,
    /// Both, in newer configs.
    pub rope_parameters: Option<Value>,
}

fn default_max_seq_len() -> usize {
    2048
}

fn default_rms_eps() -> f64 {
    1e-6
}

impl Config {
    fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    fn n_kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Radians a position, for each of the `head_dim / 2` pairs.
    fn rope_frequencies(&self) -> anyhow::Result<Vec<f64>> {
        let nothing = Value::Null;
        let scaling = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref()).unwrap_or(&nothing);
        let number = |key: &str| scaling.get(key).and_then(Value::as_f64).with_context(|| format!("rope: no `{key}`"));
        let theta = number("rope_theta").ok().or(self.rope_theta).unwrap_or(10_000.0);
        let head_dim = self.head_dim();
        let mut frequencies: Vec<f64> =
            (0..head_dim / 2).map(|pair| theta.powf(-((2 * pair) as f64) / head_dim as f64)).collect();
        match scaling.get("rope_type").or(scaling.get("type")).and_then(Value::as_str) {
            None | Some("default") => {}
            Some("linear") => {
                let factor = number("factor")?;
                frequencies.iter_mut().for_each(|frequency| *frequency /= factor);
            }
            Some("llama3") => {
                let (factor, old_len) = (number("factor")?, number("original_max_position_embeddings")?);
                let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
                for frequency in &mut frequencies {
                    let wavelength = std::f64::consts::TAU / *frequency;
                    let smooth = ((old_len / wavelength - low) / (high - low)).clamp(0.0, 1.0);
                    *frequency = (1.0 - smooth) * *frequency / factor + smooth * *frequency;
                }
            }
            Some(other) => bail!("rope: the reference does not know the scaling \"{other}\""),
        }
        Ok(frequencies)
    }
}

/// Tensors by name, `(shape, values)`.
type Tensors = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// All tensors of one safetensors file, as f32. For files that one trusts.
pub fn read_safetensors(path: &Path) -> anyhow::Result<Tensors> {
    #[derive(Deserialize)]
    struct Entry {
        dtype: String,
        shape: Vec<usize>,
        data_offsets: [usize; 2],
    }
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let header_len = u64::from_le_bytes(bytes.get(..8).context("no header")?.try_into()?) as usize;
    let (header, data) = bytes[8..].split_at(header_len);
    let header: serde_json::Map<String, Value> = serde_json::from_slice(header)?;
    let mut tensors = Tensors::new();
    for (name, entry) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        let Entry { dtype, shape, data_offsets: [start, end] } = serde_json::from_value(entry)?;
        let data = &data[start..end];
        let pair = |bytes: &[u8]| [bytes[0], bytes[1]];
        let values = match dtype.as_str() {
            "F16" => data.chunks_exact(2).map(|bytes| f16::from_le_bytes(pair(bytes)).to_f32()).collect(),
            "BF16" => data.chunks_exact(2).map(|bytes| bf16::from_le_bytes(pair(bytes)).to_f32()).collect(),
            "F32" => {
                data.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
            }
            // Integers (a list of ids, say) are nothing that this model multiplies with.
            _ => continue,
        };
        tensors.insert(name, (shape, values));
    }
    Ok(tensors)
}

/// A matrix of `(rows, cols)`, perhaps with a bias of `rows`.
#[derive(Debug, Clone)]
struct Linear {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    rows: usize,
}

impl Linear {
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let row = |row: usize| {
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[row]));
            (dot(&self.weight[row * x.len()..][..x.len()], x) + bias) as f32
        };
        (0..self.rows).map(row).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + f64::from(*a) * f64::from(*b))
}

#[derive(Debug, Clone)]
struct Layer {
    input_norm: Vec<f32>,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    post_attention_norm: Vec<f32>,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

/// Keys and values of one layer: one row of `n_kv_heads * head_dim` a position.
#[derive(Debug, Clone, Default)]
struct LayerCache {
    keys: Vec<Vec<f32>>,
    values: Vec<Vec<f32>>,
}

/// The model, with its slots.
#[derive(Debug, Clone)]
pub struct Reference {
    config: Config,
    frequencies: Vec<f64>,
    /// `(vocab_size, dim)`.
    embed: Vec<f32>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    lm_head: Linear,
    /// `[slot][layer]`.
    slots: Vec<Vec<LayerCache>>,
    /// Tokens that one call of [`Forward::forward`] takes when it is driven by a session.
    pub chunk_len: usize,
}

impl Reference {
    /// Reads a checkpoint folder: `config.json` and all its safetensors files (but the results beside them).
    pub fn open(dir: &Path, n_slots: usize) -> anyhow::Result<Self> {
        let config = fs::read(dir.join("config.json")).with_context(|| dir.display().to_string())?;
        let mut tensors = Tensors::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let is_weights = path.extension().is_some_and(|extension| extension == "safetensors");
            if is_weights && path.file_name().is_some_and(|name| name != "golden.safetensors") {
                tensors.extend(read_safetensors(&path)?);
            }
        }
        Self::new(serde_json::from_slice(&config)?, tensors, n_slots)
    }

    /// A model of tensors with Hugging Face's names.
    pub fn new(config: Config, mut tensors: Tensors, n_slots: usize) -> anyhow::Result<Self> {
        let (dim, hidden_dim, vocab_size) = (config.hidden_size, config.intermediate_size, config.vocab_size);
        let (q_dim, kv_dim) = (config.num_attention_heads * config.head_dim(), config.n_kv_heads() * config.head_dim());
        let mut take = |name: &str, shape: &[usize]| -> anyhow::Result<Vec<f32>> {
            let (got, values) = tensors.remove(name).with_context(|| format!("no tensor \"{name}\""))?;
            ensure!(got == shape, "tensor \"{name}\": expected {shape:?}, got {got:?}");
            Ok(values)
        };
        let embed = take("model.embed_tokens.weight", &[vocab_size, dim])?;
        let norm = take("model.norm.weight", &[dim])?;
        // Tied: the head is the embedding.
        let head = take("lm_head.weight", &[vocab_size, dim]).unwrap_or_else(|_| embed.clone());
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            let mut linear = |name: &str, rows: usize, cols: usize| -> anyhow::Result<Linear> {
                let stem = format!("model.layers.{index}.{name}");
                let weight = take(&format!("{stem}.weight"), &[rows, cols])?;
                Ok(Linear { weight, bias: take(&format!("{stem}.bias"), &[rows]).ok(), rows })
            };
            let q_proj = linear("self_attn.q_proj", q_dim, dim)?;
            let k_proj = linear("self_attn.k_proj", kv_dim, dim)?;
            let v_proj = linear("self_attn.v_proj", kv_dim, dim)?;
            let o_proj = linear("self_attn.o_proj", dim, q_dim)?;
            let gate_proj = linear("mlp.gate_proj", hidden_dim, dim)?;
            let up_proj = linear("mlp.up_proj", hidden_dim, dim)?;
            let down_proj = linear("mlp.down_proj", dim, hidden_dim)?;
            let input_norm = take(&format!("model.layers.{index}.input_layernorm.weight"), &[dim])?;
            let post_attention_norm = take(&format!("model.layers.{index}.post_attention_layernorm.weight"), &[dim])?;
            layers.push(Layer {
                input_norm,
                q_proj,
                k_proj,
                v_proj,
                o_proj,
                post_attention_norm,
                gate_proj,
                up_proj,
                down_proj,
            });
        }
        Ok(Self {
            frequencies: config.rope_frequencies()?,
            embed,
            norm,
            lm_head: Linear { weight: head, bias: None, rows: vocab_size },
            slots: vec![vec![LayerCache::default(); layers.len()]; n_slots],
            layers,
            config,
            chunk_len: 16,
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One token at `pos`; its output after the last RMSNorm.
    fn step(&mut self, slot: usize, pos: usize, token: u32) -> Vec<f32> {
        let (eps, n_heads, head_dim) =
            (self.config.rms_norm_eps, self.config.num_attention_heads, self.config.head_dim());
        let group = n_heads / self.config.n_kv_heads();
        let dim = self.config.hidden_size;
        let mut x = self.embed[token as usize * dim..][..dim].to_vec();
        for (layer, cache) in self.layers.iter().zip(&mut self.slots[slot]) {
            let normed = rms_norm(&x, &layer.input_norm, eps);
            let (mut q, mut k) = (layer.q_proj.apply(&normed), layer.k_proj.apply(&normed));
            rope(&mut q, pos, &self.frequencies);
            rope(&mut k, pos, &self.frequencies);
            cache.keys.truncate(pos);
            cache.values.truncate(pos);
            cache.keys.push(k);
            cache.values.push(layer.v_proj.apply(&normed));

            let mut attended = Vec::with_capacity(q.len());
            for (head, q) in q.chunks_exact(head_dim).enumerate() {
                let kv = head / group * head_dim..(head / group + 1) * head_dim;
                let scale = (head_dim as f64).sqrt();
                let scores = cache.keys.iter().map(|key| dot(q, &key[kv.clone()]) / scale);
                let probs = softmax(scores.collect());
                attended.extend(kv.map(|column| {
                    let weighted = probs.iter().zip(&cache.values).map(|(prob, value)| prob * f64::from(value[column]));
                    weighted.sum::<f64>() as f32
                }));
            }
            add(&mut x, &layer.o_proj.apply(&attended));

            let normed = rms_norm(&x, &layer.post_attention_norm, eps);
            let gate = layer.gate_proj.apply(&normed).into_iter().map(f64::from);
            let up = layer.up_proj.apply(&normed).into_iter().map(f64::from);
            let inner: Vec<f32> = gate.zip(up).map(|(gate, up)| (gate / (1.0 + (-gate).exp()) * up) as f32).collect();
            add(&mut x, &layer.down_proj.apply(&inner));
        }
        rms_norm(&x, &self.norm, eps)
    }
}

fn rms_norm(x: &[f32], weight: &[f32], eps: f64) -> Vec<f32> {
    let scale = 1.0 / (dot(x, x) / x.len() as f64 + eps).sqrt();
    x.iter().zip(weight).map(|(x, weight)| (f64::from(*x) * scale * f64::from(*weight)) as f32).collect()
}

/// Turns each head's pairs `(i, i + head_dim / 2)` by their angle at `pos`.
fn rope(heads: &mut [f32], pos: usize, frequencies: &[f64]) {
    for head in heads.chunks_exact_mut(2 * frequencies.len()) {
        let (first, second) = head.split_at_mut(frequencies.len());
        for ((a, b), frequency) in first.iter_mut().zip(second).zip(frequencies) {
            let (sin, cos) = (pos as f64 * frequency).sin_cos();
            let (x, y) = (f64::from(*a), f64::from(*b));
            *a = (x * cos - y * sin) as f32;
            *b = (y * cos + x * sin) as f32;
        }
    }
}

fn softmax(mut values: Vec<f64>) -> Vec<f64> {
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter_mut().for_each(|value| *value = (*value - max).exp());
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
    values
}

fn add(x: &mut [f32], other: &[f32]) {
    for (x, other) in x.iter_mut().zip(other) {
        *x += other;
    }
}

impl Forward for Reference {
    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn max_seq_len(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn n_slots(&self) -> usize {
        self.slots.len()
    }

    fn chunk_len(&self) -> usize {
        self.chunk_len
    }

    fn forward(
        &mut self,
        _: Pass,
        slot: usize,
        pos: usize,
        tokens: &[u32],
        logits: &mut Vec<f32>,
    ) -> guanaco_engine::Result<()> {
        let known = |token: &u32| (*token as usize) < self.config.vocab_size;
        let cached = self.slots.get(slot).and_then(|layers| layers.first()).map_or(0, |layer| layer.keys.len());
        let end = pos + tokens.len();
        if slot >= self.slots.len() || pos > cached || end > self.max_seq_len() || !tokens.iter().all(known) {
            return Err(Error::Request(format!("reference: {tokens:?} at {pos} of slot {slot} cannot be run")));
        }
        let mut last = None;
        for (pos, &token) in (pos..).zip(tokens) {
            last = Some(self.step(slot, pos, token));
        }
        let last = last.ok_or_else(|| Error::Request("reference: no tokens".to_owned()))?;
        *logits = self.lm_head.apply(&last);
        Ok(())
    }

    fn copy_slot(&mut self, from: usize, to: usize, len: usize) -> guanaco_engine::Result<()> {
        if from.max(to) >= self.slots.len() || self.slots[from].iter().any(|layer| layer.keys.len() < len) {
            return Err(Error::Request(format!(
                "reference: {len} positions of slot {from} cannot be copied to slot {to}"
            )));
        }
        let copy = self.slots[from]
            .iter()
            .map(|layer| LayerCache { keys: layer.keys[..len].to_vec(), values: layer.values[..len].to_vec() });
        self.slots[to] = copy.collect();
        Ok(())
    }
}
