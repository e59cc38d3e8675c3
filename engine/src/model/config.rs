//! `config.json`: the model's sizes and constants, each checked before anything is sized by it.
//!
//! Accepted are the spellings of 2023 (`LLaMAForCausalLM`, `max_sequence_length`, `type` in `rope_scaling`) and of
//! transformers 5 (`rope_parameters`, `dtype`). Fields and defaults are those of transformers' `LlamaConfig`
//! (<https://github.com/huggingface/transformers/blob/main/src/transformers/models/llama/configuration_llama.py>).

use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, Printable, Result};
use crate::file::Checkpoint;
use crate::weights::names::Dims;

use super::rope::RopeScaling;

/// The longest context that is believed; a larger figure is cut to it with a warning.
pub const MAX_SEQ_LEN: usize = 1 << 20;
pub(super) const MAX_DIM: usize = 1 << 16;
pub(super) const MAX_HIDDEN_DIM: usize = 1 << 18;
pub(super) const MAX_LAYERS: usize = 1024;
pub(super) const MAX_HEADS: usize = 1024;
pub(super) const MAX_HEAD_DIM: usize = 1024;
pub(super) const MAX_VOCAB: usize = 1 << 20;

/// A LLaMA model's sizes and constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Width of the residual stream (`hidden_size`).
    pub dim: usize,
    /// Width between `up_proj` and `down_proj` (`intermediate_size`).
    pub hidden_dim: usize,
    /// Transformer layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head, even; `n_heads * head_dim` need not be `dim`.
    pub head_dim: usize,
    /// Rows of the embedding, and number of logits.
    pub vocab_size: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f32,
    /// Base of the RoPE frequencies.
    pub rope_theta: f64,
    /// How the RoPE frequencies are changed for longer contexts.
    pub rope_scaling: RopeScaling,
    /// What each of the `head_dim / 2` frequencies is divided by besides, as GGUF files say it; empty for none.
    pub rope_factors: Vec<f32>,
    /// Positions that the model was made for (`max_position_embeddings`), at most [`MAX_SEQ_LEN`].
    pub max_seq_len: usize,
    /// Positions that may be asked for: more than `max_seq_len` where RoPE is stretched.
    pub max_context: usize,
    /// Whether the embedding serves as `lm_head` too.
    pub tied_embeddings: bool,
    /// Whether q, k, v and o_proj have a bias.
    pub attention_bias: bool,
    /// Whether gate, up and down_proj have a bias.
    pub mlp_bias: bool,
    /// First token of a prompt, when the file says so. 2023's conversions are often wrong here: the tokenizer knows better.
    pub bos_id: Option<u32>,
    /// Tokens that end a reply, from `config.json` and `generation_config.json`; may be empty. The same caution holds.
    pub eos_ids: Vec<u32>,
    /// Padding, when the file names one inside the vocabulary.
    pub pad_id: Option<u32>,
    /// What was odd and how it was taken, for the user.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads `config.json`, and the end tokens of `generation_config.json` when there is one; of a GGUF file its metadata.
    ///
    /// # Errors
    /// [`Error::Config`] names the field that is missing, out of range, contradictory, or not LLaMA; [`Error::Format`] says that
    /// a file is missing or is not a JSON object.
    pub fn load(checkpoint: &Checkpoint) -> Result<Self> {
        if let Some(metadata) = checkpoint.metadata() {
            return Self::from_metadata(checkpoint, metadata);
        }
        const NAME: &str = "config.json";
        let path = checkpoint.side_path(NAME);
        let Some(bytes) = checkpoint.file_bytes(NAME)? else {
            return Err(Error::format(&path, "config.json is missing: it belongs beside the weights"));
        };
        let mut config = Self::parse(&bytes, &path)?;
        if let Some(bytes) = checkpoint.file_bytes("generation_config.json")? {
            config.merge_generation(&bytes, &checkpoint.side_path("generation_config.json"))?;
        }
        Ok(config)
    }

    /// Reads the text of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let object = object(bytes, path)?;
        let mut fields = Fields { object: &object, path, warnings: Vec::new() };
        fields.check_architecture()?;

        let dim = fields.size("hidden_size", MAX_DIM)?;
        let n_heads = fields.size("num_attention_heads", MAX_HEADS)?;
        let n_kv_heads = fields.optional_size("num_key_value_heads", MAX_HEADS)?.unwrap_or(n_heads);
        if !n_heads.is_multiple_of(n_kv_heads) {
            let detail = format!("{n_kv_heads} does not divide num_attention_heads ({n_heads})");
            return Err(fields.error("num_key_value_heads", detail));
        }
        let head_dim = match fields.optional_size("head_dim", MAX_HEAD_DIM)? {
            Some(head_dim) => head_dim,
            None if dim.is_multiple_of(n_heads) => dim / n_heads,
            None => {
                let detail =
                    format!("{dim} is not a multiple of num_attention_heads ({n_heads}), and there is no head_dim");
                return Err(fields.error("hidden_size", detail));
            }
        };
        if head_dim % 2 != 0 || head_dim > MAX_HEAD_DIM {
            let detail = format!("expected an even number up to {MAX_HEAD_DIM} (RoPE turns pairs), got {head_dim}");
            return Err(fields.error("head_dim", detail));
        }
        let vocab_size = fields.size("vocab_size", MAX_VOCAB)?;
        let (rope_theta, mut rope_scaling) = fields.rope()?;
        let max_seq_len = fields.max_seq_len()?;
        let mut max_context = max_seq_len;
        if let RopeScaling::Dynamic { max_position_embeddings, .. } = &mut rope_scaling {
            if head_dim <= 2 {
                return Err(
                    fields.error("rope_scaling", format!("a head of {head_dim} is too small for dynamic scaling"))
                );
            }
            (*max_position_embeddings, max_context) = (max_seq_len as f64, MAX_SEQ_LEN);
        }
        let tokens = |fields: &mut Fields<'_>, name| fields.token_ids(name, vocab_size);
        let bos_id = tokens(&mut fields, "bos_token_id").first().copied();
        let eos_ids = tokens(&mut fields, "eos_token_id");
        let pad_id = tokens(&mut fields, "pad_token_id").first().copied();
        Ok(Self {
            dim,
            hidden_dim: fields.size("intermediate_size", MAX_HIDDEN_DIM)?,
            n_layers: fields.size("num_hidden_layers", MAX_LAYERS)?,
            n_heads,
            n_kv_heads,
            head_dim,
            vocab_size,
            rms_eps: fields.rms_eps()?,
            rope_theta,
            rope_scaling,
            rope_factors: Vec::new(),
            max_seq_len,
            max_context,
            tied_embeddings: fields.flag("tie_word_embeddings")?,
            attention_bias: fields.flag("attention_bias")?,
            mlp_bias: fields.flag("mlp_bias")?,
            bos_id,
            eos_ids,
            pad_id,
            warnings: fields.warnings,
        })
    }

    /// Adds the token ids of a `generation_config.json`: its end tokens, and the first token when `config.json` has none.
    ///
    /// # Errors
    /// [`Error::Format`] when it is not a JSON object.
    pub fn merge_generation(&mut self, bytes: &[u8], path: &Path) -> Result<()> {
        let object = object(bytes, path)?;
        let mut fields = Fields { object: &object, path, warnings: Vec::new() };
        for id in fields.token_ids("eos_token_id", self.vocab_size) {
            if !self.eos_ids.contains(&id) {
                self.eos_ids.push(id);
            }
        }
        self.bos_id = self.bos_id.or(fields.token_ids("bos_token_id", self.vocab_size).first().copied());
        self.warnings.append(&mut fields.warnings);
        Ok(())
    }

    /// The sizes that fix every tensor's shape.
    pub fn dims(&self) -> Dims {
        Dims {
            vocab_size: self.vocab_size,
            dim: self.dim,
            hidden_dim: self.hidden_dim,
            n_layers: self.n_layers,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            tied_embeddings: self.tied_embeddings,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
        }
    }

    /// As [`Config::rope_inv_freq_for`] in the context that the model was made for.
    pub fn rope_inv_freq(&self) -> Vec<f32> {
        self.rope_inv_freq_for(self.max_seq_len)
    }

    /// The angle that each pair of a head turns by from one position to the next in a context of `seq_len`: `head_dim / 2`
    /// values, in radians. See [`RopeScaling::inv_freq_for`].
    pub fn rope_inv_freq_for(&self, seq_len: usize) -> Vec<f32> {
        let mut frequencies = self.rope_scaling.inv_freq_for(self.head_dim, self.rope_theta, seq_len);
        frequencies.iter_mut().zip(&self.rope_factors).for_each(|(frequency, factor)| *frequency /= factor);
        frequencies
    }
}

/// The fields that are read. All others are skipped, so that what a file says beside them takes no memory.
const KNOWN: &[&str] = &[
    "architectures",
    "attention_bias",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "max_sequence_length",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "partial_rotary_factor",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "vocab_size",
];

/// Parses a JSON object; a byte order mark is accepted, since some editors write one.
fn object(bytes: &[u8], path: &Path) -> Result<Map<String, Value>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    match serde_json::from_slice::<KnownFields>(bytes) {
        Ok(KnownFields(object)) => Ok(object),
        Err(error) if error.is_data() => Err(Error::format(path, format!("expected a JSON object: {error}"))),
        Err(error) => Err(Error::format(path, format!("not valid JSON ({error}): download it again"))),
    }
}

/// The [`KNOWN`] fields of an object; of two equal ones the last, as everywhere in JSON's world.
struct KnownFields(Map<String, Value>);

impl<'de> Deserialize<'de> for KnownFields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KnownFieldsVisitor)
    }
}

struct KnownFieldsVisitor;

impl<'de> Visitor<'de> for KnownFieldsVisitor {
    type Value = KnownFields;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<KnownFields, A::Error> {
        let mut object = Map::new();
        while let Some(field) = map.next_key::<String>()? {
            if KNOWN.contains(&field.as_str()) {
                object.insert(field, map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(KnownFields(object))
    }
}

/// The fields of one file, each read with its check. null counts as absent everywhere, as in transformers.
struct Fields<'a> {
    object: &'a Map<String, Value>,
    path: &'a Path,
    warnings: Vec<String>,
}

impl<'a> Fields<'a> {
    fn error(&self, field: &str, detail: impl Into<String>) -> Error {
        Error::config(self.path, field, detail)
    }

    fn get(&self, field: &str) -> Option<&'a Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    fn size(&self, field: &str, max: usize) -> Result<usize> {
        self.optional_size(field, max)?
            .ok_or_else(|| self.error(field, format!("missing, expected a number from 1 to {max}")))
    }

    fn optional_size(&self, field: &str, max: usize) -> Result<Option<usize>> {
        let Some(value) = self.get(field) else { return Ok(None) };
        match whole(value).and_then(|number| usize::try_from(number).ok()) {
            Some(number) if (1..=max).contains(&number) => Ok(Some(number)),
            _ => Err(self.error(field, format!("expected a whole number from 1 to {max}, got {}", brief(value)))),
        }
    }

    fn flag(&self, field: &str) -> Result<bool> {
        match self.get(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(self.error(field, format!("expected true or false, got {}", brief(value)))),
        }
    }

    fn check_architecture(&self) -> Result<()> {
        let expected = "this program computes LLaMA (model_type llama, LlamaForCausalLM) and nothing else";
        let model_type = self.get("model_type");
        if let Some(value) = model_type
            && !value.as_str().is_some_and(|name| name.eq_ignore_ascii_case("llama"))
        {
            return Err(self.error("model_type", format!("{} is not supported: {expected}", brief(value))));
        }
        // 2023's first conversions spell it LLaMAForCausalLM.
        let is_llama = |value: &Value| value.as_str().is_some_and(|name| name.eq_ignore_ascii_case("LlamaForCausalLM"));
        match self.get("architectures") {
            Some(Value::Array(names)) if names.iter().any(is_llama) => {}
            Some(value) => {
                return Err(self.error("architectures", format!("{} is not supported: {expected}", brief(value))));
            }
            None if model_type.is_none() => return Err(self.error("model_type", format!("missing: {expected}"))),
            None => {}
        }
        match self.get("hidden_act") {
            None => {}
            Some(Value::String(name)) if name == "silu" || name == "swish" => {}
            Some(value) => return Err(self.error("hidden_act", format!("expected silu, got {}", brief(value)))),
        }
        match self.get("partial_rotary_factor") {
            Some(value) if value.as_f64() != Some(1.0) => Err(self
                .error("partial_rotary_factor", format!("expected 1 (LLaMA turns whole heads), got {}", brief(value)))),
            _ => Ok(()),
        }
    }

    fn rms_eps(&self) -> Result<f32> {
        let Some(value) = self.get("rms_norm_eps") else { return Ok(1e-6) };
        match value.as_f64() {
            // Below the smallest f32 it would be 0 in the kernels, and a zero row would become NaN.
            Some(eps) if (1e-30..=1.0).contains(&eps) => Ok(eps as f32),
            _ => {
                Err(self.error("rms_norm_eps", format!("expected a number above 0 and up to 1, got {}", brief(value))))
            }
        }
    }

    fn max_seq_len(&mut self) -> Result<usize> {
        for field in ["max_position_embeddings", "max_sequence_length"] {
            let Some(value) = self.get(field) else { continue };
            let Some(number) = whole(value).filter(|&number| number > 0) else {
                return Err(self.error(field, format!("expected a whole number above 0, got {}", brief(value))));
            };
            let clamped = usize::try_from(number).unwrap_or(usize::MAX).min(MAX_SEQ_LEN);
            if clamped as u64 != number {
                let path = self.path.display();
                self.warnings.push(format!(
                    "config field `{field}`: {number} is not believed, taken as {clamped}; file: {path}"
                ));
            }
            return Ok(clamped);
        }
        Ok(2048)
    }

    /// RoPE's base and scaling, from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before). A file
    /// that has both must say the same twice.
    fn rope(&self) -> Result<(f64, RopeScaling)> {
        let mut theta = self.rope_theta(self.object, "rope_theta")?;
        let mut scaling = None;
        for field in ["rope_parameters", "rope_scaling"] {
            let Some(value) = self.get(field) else { continue };
            let Some(object) = value.as_object() else {
                return Err(self.error(field, format!("expected an object or null, got {}", brief(value))));
            };
            let inner = self.rope_theta(object, &format!("{field}.rope_theta"))?;
            if let (Some(outer), Some(inner)) = (theta, inner)
                && outer != inner
            {
                return Err(
                    self.error(field, format!("its rope_theta {inner} contradicts {outer} elsewhere in the file"))
                );
            }
            theta = theta.or(inner);
            let read = RopeScaling::parse(object).map_err(|detail| self.error(field, detail))?;
            if scaling.is_some_and(|scaling| scaling != read) {
                return Err(self.error(field, "contradicts rope_parameters in the same file"));
            }
            scaling = Some(read);
        }
        Ok((theta.unwrap_or(10_000.0), scaling.unwrap_or(RopeScaling::None)))
    }

    fn rope_theta(&self, object: &Map<String, Value>, name: &str) -> Result<Option<f64>> {
        let Some(value) = object.get("rope_theta").filter(|value| !value.is_null()) else { return Ok(None) };
        match value.as_f64() {
            Some(theta) if (1.0..=1e15).contains(&theta) => Ok(Some(theta)),
            _ => Err(self.error(name, format!("expected a number from 1 to 1e15, got {}", brief(value)))),
        }
    }

    /// A token id or a list of them. Ids outside the vocabulary (2023's files have `pad_token_id: -1`) are left out, since the
    /// model cannot meet them.
    fn token_ids(&mut self, field: &str, vocab_size: usize) -> Vec<u32> {
        let values: &[Value] = match self.get(field) {
            None => return Vec::new(),
            Some(Value::Array(values)) => values,
            Some(value) => std::slice::from_ref(value),
        };
        let mut ids = Vec::new();
        for value in values {
            match whole(value).and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < vocab_size) {
                Some(id) => ids.push(id),
                None if value.as_i64() == Some(-1) => {}
                None => {
                    let (got, path) = (brief(value), self.path.display());
                    self.warnings.push(format!(
                        "config field `{field}`: {got} is no token of {vocab_size}, left out; file: {path}"
                    ));
                }
            }
        }
        ids
    }
}

/// A whole number, also when it is written as `4096.0`.
fn whole(value: &Value) -> Option<u64> {
    // Above 2^53 a float no longer says which whole number it is.
    let from_float = |number: f64| (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(from_float))
}

/// A value for a message: short, whatever the file holds, and without control characters (JSON escapes only some of them).
fn brief(value: &Value) -> String {
    let text = Printable::name(&value.to_string()).to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Map<String, Value> {
        let value = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2,
        });
        value.as_object().unwrap().clone()
    }

    fn with(changes: Value) -> Result<Config> {
        let mut object = plain();
        for (field, value) in changes.as_object().unwrap() {
            object.insert(field.clone(), value.clone());
        }
        Config::parse(&serde_json::to_vec(&object).unwrap(), Path::new("config.json"))
    }

    #[test]
    fn what_is_absent_has_the_defaults_of_transformers() {
        let config =
            with(serde_json::json!({ "head_dim": null, "num_key_value_heads": null, "rope_scaling": null })).unwrap();
        assert_eq!((config.head_dim, config.n_kv_heads, config.max_seq_len), (16, 4, 2048));
        assert_eq!((config.rms_eps, config.rope_theta, config.rope_scaling), (1e-6, 1e4, RopeScaling::None));
        assert!(!config.tied_embeddings && !config.attention_bias && !config.mlp_bias && config.warnings.is_empty());
        assert_eq!((config.bos_id, config.eos_ids, config.pad_id), (Some(1), vec![2], None));
    }

    #[test]
    fn spellings_of_2023() {
        let config = with(serde_json::json!({
            "architectures": ["LLaMAForCausalLM"], "max_sequence_length": 512, "pad_token_id": -1, "hidden_size": 64.0,
            "rope_scaling": { "type": "linear", "factor": 2 },
        }));
        let config = config.unwrap();
        assert_eq!((config.max_seq_len, config.pad_id, config.dim), (512, None, 64));
        assert_eq!(config.rope_scaling, RopeScaling::Linear { factor: 2.0 });
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }

    #[test]
    fn dynamic_scaling_starts_at_the_files_own_context() {
        let config = with(serde_json::json!({
            "max_position_embeddings": 512, "rope_scaling": { "type": "dynamic", "factor": 2.0 },
        }));
        let config = config.unwrap();
        let scaling = RopeScaling::Dynamic { factor: 2.0, max_position_embeddings: 512.0 };
        assert_eq!((config.rope_scaling, config.max_seq_len, config.max_context), (scaling, 512, MAX_SEQ_LEN));
        assert_eq!(config.rope_inv_freq(), with(serde_json::json!({})).unwrap().rope_inv_freq());
        let small = with(serde_json::json!({ "head_dim": 2, "rope_scaling": { "type": "dynamic", "factor": 2.0 } }));
        assert!(small.unwrap_err().to_string().contains("too small"));
    }

    #[test]
    fn spellings_of_transformers_5() {
        let config = with(serde_json::json!({
            "dtype": "bfloat16", "rope_parameters": { "rope_type": "linear", "factor": 4.0, "rope_theta": 5e5 },
        }));
        let config = config.unwrap();
        assert_eq!((config.rope_theta, config.rope_scaling), (5e5, RopeScaling::Linear { factor: 4.0 }));
        let twice = serde_json::json!({
            "rope_theta": 1e4, "rope_parameters": { "rope_type": "default", "rope_theta": 5e5 },
        });
        assert!(with(twice).unwrap_err().to_string().contains("rope_theta"));
        let twice = serde_json::json!({
            "rope_scaling": { "type": "linear", "factor": 2 }, "rope_parameters": { "rope_type": "linear", "factor": 4 },
        });
        assert!(with(twice).unwrap_err().to_string().contains("rope_scaling"));
    }

    #[test]
    fn token_ids_are_numbers_lists_or_left_out() {
        let mut config = with(serde_json::json!({ "eos_token_id": [2, 7, 100], "bos_token_id": null })).unwrap();
        assert_eq!((config.bos_id, config.eos_ids.as_slice()), (None, &[2, 7][..]));
        assert!(config.warnings[0].contains("100"), "{:?}", config.warnings);
        let generation = br#"{"bos_token_id": 1, "eos_token_id": [7, 9]}"#;
        config.merge_generation(generation, Path::new("generation_config.json")).unwrap();
        assert_eq!((config.bos_id, config.eos_ids.as_slice()), (Some(1), &[2, 7, 9][..]));
    }

    #[test]
    fn a_context_beyond_belief_is_cut_in_sight() {
        let config = with(serde_json::json!({ "max_position_embeddings": 1_u64 << 40 })).unwrap();
        assert_eq!(config.max_seq_len, MAX_SEQ_LEN);
        assert!(config.warnings[0].contains("max_position_embeddings") && config.warnings[0].contains("config.json"));
    }

    #[test]
    fn other_fields_are_skipped_and_warnings_hold_no_control_characters() {
        let config = with(serde_json::json!({ "junk": [[1, {}], "x"], "eos_token_id": ["\u{9b}2J\u{1b}"] })).unwrap();
        assert!(config.warnings[0].contains(r"\u{9b}2J"), "{:?}", config.warnings);
        assert!(!config.warnings[0].contains(char::is_control), "{:?}", config.warnings);
        assert!(Config::parse(b"[{}]", Path::new("config.json")).unwrap_err().to_string().contains("JSON object"));
        assert!(KNOWN.is_sorted());
    }

    #[test]
    fn every_refusal_names_its_field() {
        for (field, value) in [
            ("hidden_size", Value::Null),
            ("hidden_size", "64".into()),
            ("hidden_size", 64.5.into()),
            ("hidden_size", 66.into()),
            ("intermediate_size", 0.into()),
            ("num_hidden_layers", 2_000_000_000_u64.into()),
            ("num_hidden_layers", (-1).into()),
            ("num_attention_heads", 0.into()),
            ("num_key_value_heads", 3.into()),
            ("head_dim", 9.into()),
            ("vocab_size", (1_u64 << 40).into()),
            ("rms_norm_eps", (-1.0).into()),
            ("rms_norm_eps", 0.into()),
            ("rope_theta", 0.into()),
            ("rope_scaling", "linear".into()),
            ("rope_scaling", serde_json::json!({"type": "dynamic"})),
            ("max_position_embeddings", 0.into()),
            ("max_sequence_length", "512".into()),
            ("tie_word_embeddings", "yes".into()),
            ("attention_bias", 1.into()),
            ("mlp_bias", 1.into()),
            ("rope_parameters", 1.into()),
            ("partial_rotary_factor", 0.5.into()),
            ("hidden_act", "gelu".into()),
            ("model_type", "mistral".into()),
            ("architectures", serde_json::json!(["LlamaForSequenceClassification"])),
        ] {
            let message = with(serde_json::json!({ field: value })).unwrap_err().to_string();
            assert!(message.contains(field) && message.contains("config.json"), "{field} {value}: {message}");
        }
    }
}
