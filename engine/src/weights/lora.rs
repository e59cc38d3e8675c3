//! LoRA adapters (Hu et al. 2021, arXiv:2106.09685) as PEFT saves them: a folder with `adapter_config.json` and
//! `adapter_model.safetensors` or `.bin`.
//!
//! A pair A (r, in), B (out, r) adds `scale · B · A` to a matrix, `scale = lora_alpha / r`, or `lora_alpha / √r` with
//! `use_rslora`. `modules_to_save` are whole tensors in the base's place (guanaco-lora's `embed_tokens` and `lm_head`). Field and
//! tensor names: <https://github.com/huggingface/peft/blob/main/src/peft/tuners/lora/config.py>. What would change the result
//! and is not computed here (DoRA, other PEFT methods, biases) is refused by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::convert::{Target, convert_rows};
use super::names::{Role, unwrapped};
use super::ordered::Ordered;
use super::tensor::{ResolvedTensor, Stored, rope_row};
use crate::error::{Error, Result};
use crate::file::{self, Checkpoint, RopeLayout, TensorView};

const CONFIG: &str = "adapter_config.json";
/// The largest rank that is believed.
const MAX_RANK: usize = 4096;

/// A LoRA that is laid over a checkpoint.
#[derive(Debug)]
pub struct Lora {
    checkpoint: Checkpoint,
    /// How much of it: 1 for all.
    weight: f64,
    config: Config,
    path: PathBuf,
}

#[derive(Debug)]
struct Config {
    r: usize,
    alpha: f64,
    rslora: bool,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
}

/// What one LoRA adds to one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// The LoRA's number.
    lora: usize,
    /// (r, in), or for an embedding (r, vocabulary).
    a: String,
    /// (out, r), or for an embedding (dim, r).
    b: String,
    /// The rank.
    pub rank: usize,
    scale: f32,
    embedding: bool,
    /// Rows of a head, where the base keeps the rows of `q_proj` and `k_proj` in another order than the LoRA.
    interleaved_heads: Option<usize>,
}

/// The fields of `adapter_config.json` that matter; those that only say how it was trained are skipped.
#[derive(Deserialize)]
struct Fields {
    peft_type: Option<String>,
    r: Option<i64>,
    lora_alpha: Option<f64>,
    #[serde(default)]
    use_rslora: Option<bool>,
    #[serde(default)]
    rank_pattern: Option<Ordered<i64>>,
    #[serde(default)]
    alpha_pattern: Option<Ordered<f64>>,
    #[serde(default)]
    init_lora_weights: Value,
    #[serde(default)]
    bias: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Fields that say how the adapter was trained or where it belongs, and change nothing in what its tensors compute. Any other
/// field that is not null, false or empty is refused: it may ask for what is not computed here.
const HARMLESS: &[&str] = &[
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "enable_lora",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_dropout",
    "lora_ga_config",
    "megatron_core",
    "merge_weights",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "target_modules",
    "task_type",
    "unsloth_fixed",
];

/// Values of `init_lora_weights` that begin from the base as it is. All others take a part out of the base when the adapter is
/// made, and PEFT takes it out again when it loads one; see PEFT's `peft/tuners/lora/layer.py`.
const PLAIN_STARTS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

impl Lora {
    /// Opens the adapter in the folder `path` (or the folder of the file `path`), to be laid over a base with `weight`.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Tensor`] when a file is missing or damaged; [`Error::Config`] names the field that asks for
    /// what is not LoRA.
    pub fn open(path: &Path, weight: f64) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
            let detail = "a LoRA as a GGUF file is not read: use the PEFT adapter that it was converted from, a folder with \
                          adapter_config.json";
            return Err(Error::format(path, detail));
        }
        let folder = if metadata.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let config_path = folder.join(CONFIG);
        let Some(bytes) = file::file_bytes(folder, CONFIG)? else {
            return Err(Error::format(&config_path, "missing: a LoRA is a folder with adapter_config.json"));
        };
        let config = Config::parse(&bytes, &config_path)?;
        let names = ["adapter_model.safetensors", "adapter_model.bin"];
        let Some(name) = names.iter().find(|name| folder.join(name).exists()) else {
            let detail = format!("no weights: expected {}", names.join(" or "));
            return Err(Error::format(folder, detail));
        };
        let checkpoint = Checkpoint::open(&folder.join(name))?;
        Ok(Self { checkpoint, weight, config, path: folder.to_owned() })
    }

    /// The adapter whose tensors and `adapter_config.json` are in `checkpoint`; otherwise as [`Lora::open`].
    ///
    /// # Errors
    /// As [`Lora::open`].
    pub fn from_checkpoint(checkpoint: Checkpoint, weight: f64) -> Result<Self> {
        let path = checkpoint.side_path(CONFIG);
        let Some(bytes) = checkpoint.file_bytes(CONFIG)? else {
            return Err(Error::format(&path, "missing: a LoRA is a folder with adapter_config.json"));
        };
        let config = Config::parse(&bytes, &path)?;
        Ok(Self { path: checkpoint.path().to_owned(), checkpoint, weight, config })
    }

    /// Its tensors.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How much of it is added: 1 for all.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// Lays it, as number `number`, over `tensors`, whose canonical names `canonical` gives (`model.layers.0.….weight`). Every
    /// tensor of the file must find its place.
    ///
    /// # Errors
    /// [`Error::Tensor`] for one that has no place in the base or another shape than its, or is one of a pair without the other.
    pub(super) fn apply(
        &self,
        number: usize,
        base: &Checkpoint,
        head_dim: usize,
        tensors: &mut [ResolvedTensor],
        canonical: impl Fn(&ResolvedTensor) -> String,
    ) -> Result<()> {
        let places: BTreeMap<String, usize> =
            tensors.iter().enumerate().map(|(at, tensor)| (canonical(tensor), at)).collect();
        for name in self.checkpoint.names() {
            let Some(part) = Part::of(name) else { continue };
            let view = self.tensor(name)?;
            let fail = |detail: String| Err(Error::tensor(view.path(), name, detail));
            let Some(tensor) = places.get(&format!("{}.weight", part.module)).and_then(|at| tensors.get_mut(*at))
            else {
                return fail(format!(
                    "the base has no `{}.weight`: the LoRA was made for another model ({})",
                    part.module,
                    base.path().display()
                ));
            };
            let interleaved =
                base.rope_layout() == RopeLayout::InterleavedPairs && matches!(tensor.role, Role::QProj | Role::KProj);
            match part.kind {
                Kind::Whole => {
                    if view.shape != [tensor.rows, tensor.cols] && view.shape != [tensor.cols] {
                        return fail(format!("expected ({}, {}), got {:?}", tensor.rows, tensor.cols, view.shape));
                    }
                    if interleaved {
                        return fail("a whole projection over a GGUF base is not supported".to_owned());
                    }
                    if !matches!(view.dtype.name(), "F16" | "BF16" | "F32") {
                        return fail(format!("expected F16, BF16 or F32, got {}", view.dtype));
                    }
                    tensor.stored = Stored::Plain(view.dtype);
                    (tensor.name, tensor.replaced_by) = (name.to_owned(), Some(number));
                }
                Kind::B { a } | Kind::A { b: a } if self.checkpoint.tensor(&a).is_none() => {
                    return fail(format!("its other half `{a}` is missing: the file is incomplete"));
                }
                Kind::B { .. } => {}
                Kind::A { b } => {
                    let (a_rows, b_rows) = (shape(&view)?, shape(&self.tensor(&b)?)?);
                    let rank = self.config.rank(&part.module);
                    let embedding = name.contains("lora_embedding_A");
                    let (inputs, outputs) =
                        if embedding { (tensor.rows, tensor.cols) } else { (tensor.cols, tensor.rows) };
                    let expected = ((rank, inputs), (outputs, rank));
                    if (a_rows, b_rows) != expected {
                        return fail(format!(
                            "expected A ({rank}, {inputs}) and B ({outputs}, {rank}) for rank {rank} of {CONFIG} and the base's \
                             ({}, {}), got {a_rows:?} and {b_rows:?}",
                            tensor.rows, tensor.cols
                        ));
                    }
                    tensor.deltas.push(Delta {
                        lora: number,
                        a: name.to_owned(),
                        b,
                        rank,
                        scale: (self.weight * self.config.scale(&part.module)) as f32,
                        embedding,
                        interleaved_heads: interleaved.then_some(head_dim),
                    });
                }
            }
        }
        Ok(())
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        self.checkpoint.tensor(name).ok_or_else(|| Error::tensor(self.checkpoint.path(), name, "not in the file"))
    }

    /// A matrix of the file as f32, every value finite.
    fn values(&self, name: &str) -> Result<(Vec<f32>, usize)> {
        let view = self.tensor(name)?;
        let (rows, cols) = shape(&view)?;
        let mut bytes = vec![0; rows * cols * 4];
        convert_rows(&view, 0..rows, &mut bytes, cols, Target::F32)?;
        Ok((bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect(), cols))
    }
}

impl Delta {
    /// The factors of what it adds, `b · a`: `a` (rank, cols) and `b` (rows, rank), scaled.
    ///
    /// # Errors
    /// [`Error::Tensor`] for a value that is not finite.
    pub fn factors(&self, loras: &[Lora]) -> Result<(Vec<f32>, Vec<f32>)> {
        let lora = loras.get(self.lora).ok_or_else(|| Error::Request(format!("no LoRA number {}", self.lora)))?;
        let ((a, a_cols), (b, b_cols)) = (lora.values(&self.a)?, lora.values(&self.b)?);
        // An embedding is looked up, not multiplied: its A holds a column for each token.
        let (a, mut b) = if self.embedding { (transposed(&b, b_cols), transposed(&a, a_cols)) } else { (a, b) };
        b.iter_mut().for_each(|value| *value *= self.scale);
        if let Some(head_dim) = self.interleaved_heads {
            let mut moved = vec![0.0; b.len()];
            for (row, values) in b.chunks_exact(self.rank).enumerate() {
                let to = rope_row(RopeLayout::InterleavedPairs, head_dim, row) * self.rank;
                moved[to..to + self.rank].copy_from_slice(values);
            }
            b = moved;
        }
        Ok((a, b))
    }
}

fn transposed(values: &[f32], cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols.max(1)).copied()).collect()
}

fn shape(view: &TensorView<'_>) -> Result<(usize, usize)> {
    match *view.shape {
        [rows, cols] if view.dtype.is_weight() && !view.dtype.is_block() => Ok((rows, cols)),
        _ => {
            let detail = format!("expected a matrix of F16, BF16 or F32, got {} {:?}", view.dtype, view.shape);
            Err(Error::tensor(view.path(), view.name, detail))
        }
    }
}

/// What a tensor of an adapter is.
struct Part {
    /// The module it belongs to: `model.layers.0.self_attn.q_proj`.
    module: String,
    kind: Kind,
}

enum Kind {
    /// A, with the name of its B.
    A { b: String },
    /// B, with the name of its A.
    B { a: String },
    /// A whole tensor.
    Whole,
}

impl Part {
    /// Takes a name apart; None for the base's own tensors, which some versions of PEFT save beside the trained ones.
    fn of(name: &str) -> Option<Self> {
        let plain = unwrapped(name);
        for (a, b) in [("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B")] {
            if let Some((module, _)) = plain.split_once(&format!(".{a}")) {
                return Some(Self { module: module.to_owned(), kind: Kind::A { b: name.replace(a, b) } });
            }
            if let Some((module, _)) = plain.split_once(&format!(".{b}")) {
                return Some(Self { module: module.to_owned(), kind: Kind::B { a: name.replace(b, a) } });
            }
        }
        if plain.contains(".original_module.") || plain.contains(".base_layer.") {
            return None;
        }
        let module = plain.strip_suffix(".weight").unwrap_or(plain);
        let module = module.strip_suffix(".default").unwrap_or(module);
        let module = module.strip_suffix(".modules_to_save").unwrap_or(module);
        Some(Self { module: module.to_owned(), kind: Kind::Whole })
    }
}

impl Config {
    fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let fields: Fields = serde_json::from_slice(bytes)
            .map_err(|error| Error::format(path, format!("not the configuration of a LoRA: {error}")))?;
        let fail = |field: &str, detail: String| Err(Error::config(path, field, detail));
        match fields.peft_type.as_deref() {
            Some("LORA") => {}
            other => {
                let got = other.unwrap_or("nothing");
                return fail("peft_type", format!("expected LORA, got {got}, which this program does not compute"));
            }
        }
        if let Some(bias) = fields.bias.filter(|bias| bias != "none") {
            return fail("bias", format!("expected none, got {bias:?}: trained biases are not supported"));
        }
        let start = &fields.init_lora_weights;
        let is_plain = match start {
            Value::Null | Value::Bool(_) => true,
            Value::String(name) => PLAIN_STARTS.iter().any(|plain| name.eq_ignore_ascii_case(plain)),
            _ => false,
        };
        if !is_plain {
            let detail = format!(
                "{start} takes a part out of the base when the adapter is loaded, which is not computed here: save it again \
                 with PEFT's path_initial_model_for_weight_conversion, or merge it with PEFT"
            );
            return fail("init_lora_weights", detail);
        }
        for (field, value) in &fields.others {
            if HARMLESS.contains(&field.as_str()) {
                continue;
            }
            let empty = match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(values) => values.is_empty(),
                Value::Object(values) => values.is_empty(),
                _ => false,
            };
            if !empty {
                return fail(field, format!("{value} is not supported: the result would not be what was trained"));
            }
        }
        let rank = |field: &str, value: i64| match usize::try_from(value) {
            Ok(rank @ 1..=MAX_RANK) => Ok(rank),
            _ => Err(Error::config(path, field, format!("expected 1 to {MAX_RANK}, got {value}"))),
        };
        let Some(r) = fields.r else { return fail("r", format!("missing, expected 1 to {MAX_RANK}")) };
        let Some(alpha) = fields.lora_alpha.filter(|alpha| alpha.is_finite()) else {
            return fail("lora_alpha", "missing, expected a number".to_owned());
        };
        let ranks = fields.rank_pattern.map(|ranks| ranks.0).unwrap_or_default();
        let alphas = fields.alpha_pattern.map(|alphas| alphas.0).unwrap_or_default();
        let compiled = |field: &str, key: &str| {
            // The expression of PEFT's `get_pattern_key`.
            Regex::new(&format!(r"\A(?:.*\.)?(?:{key})\z"))
                .map_err(|error| Error::config(path, field, format!("{key:?} is not a regular expression: {error}")))
        };
        let ranks =
            ranks.into_iter().map(|(key, value)| Ok((compiled("rank_pattern", &key)?, rank("rank_pattern", value)?)));
        let alphas = alphas.into_iter().map(|(key, value)| Ok((compiled("alpha_pattern", &key)?, value)));
        Ok(Self {
            r: rank("r", r)?,
            alpha,
            rslora: fields.use_rslora.unwrap_or(false),
            ranks: ranks.collect::<Result<_>>()?,
            alphas: alphas.collect::<Result<_>>()?,
        })
    }

    fn rank(&self, module: &str) -> usize {
        pattern(&self.ranks, module).unwrap_or(self.r)
    }

    fn scale(&self, module: &str) -> f64 {
        let (alpha, rank) = (pattern(&self.alphas, module).unwrap_or(self.alpha), self.rank(module) as f64);
        alpha / if self.rslora { rank.sqrt() } else { rank }
    }
}

/// The value for `module`: of the first pattern that is it, or the end of it after a dot.
fn pattern<T: Copy>(patterns: &[(Regex, T)], module: &str) -> Option<T> {
    patterns.iter().find(|(key, _)| key.is_match(module)).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text.as_bytes(), Path::new(CONFIG)).map_err(|error| error.to_string())
    }

    #[test]
    fn scales_follow_peft() {
        let plain = parse(r#"{"peft_type":"LORA","r":8,"lora_alpha":16,"lora_dropout":0.05}"#).unwrap();
        assert_eq!((plain.rank("model.layers.0.mlp.up_proj"), plain.scale("x")), (8, 2.0));
        let text = r#"{"peft_type":"LORA","r":16,"lora_alpha":8,"use_rslora":true,
            "rank_pattern":{"v_proj":4,"^model.layers.1.self_attn.q_proj":2},"alpha_pattern":{"down_proj":20,"layers.2.*(q|k)_proj":64}}"#;
        let patterns = parse(text).unwrap();
        assert_eq!(patterns.rank("model.layers.3.self_attn.v_proj"), 4);
        assert_eq!(patterns.rank("model.layers.3.self_attn.xv_proj"), 16);
        assert_eq!(patterns.rank("model.layers.1.self_attn.q_proj"), 2);
        assert_eq!(patterns.scale("model.layers.3.self_attn.v_proj"), 4.0);
        assert_eq!(patterns.scale("model.layers.3.mlp.down_proj"), 5.0);
        assert_eq!(patterns.scale("model.layers.2.self_attn.k_proj"), 16.0);
        assert_eq!(patterns.scale("model.layers.3.self_attn.k_proj"), 2.0);
    }

    #[test]
    fn what_is_not_lora_is_refused_by_field() {
        let with = |extra: &str| parse(&format!(r#"{{"peft_type":"LORA","r":8,"lora_alpha":16{extra}}}"#));
        assert!(
            with(r#","use_dora":false,"layer_replication":null,"loftq_config":{},"init_lora_weights":"eva""#).is_ok()
        );
        for (extra, field) in [
            (r#","use_dora":true"#, "`use_dora`"),
            (r#","bias":"all""#, "`bias`"),
            (r#","layer_replication":[[0,4]]"#, "`layer_replication`"),
            (r#","rank_pattern":{"v_proj":0}"#, "`rank_pattern`"),
            (r#","rank_pattern":{"(q|v_proj":4}"#, "`rank_pattern`"),
            (r#","init_lora_weights":"pissa_niter_16""#, "`init_lora_weights`"),
            (r#","init_lora_weights":"corda""#, "`init_lora_weights`"),
            (r#","use_something_new":true"#, "`use_something_new`"),
        ] {
            let error = with(extra).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
        assert!(parse(r#"{"peft_type":"IA3","r":8,"lora_alpha":16}"#).unwrap_err().contains("IA3"));
        assert!(parse(r#"{"peft_type":"LORA","r":8}"#).unwrap_err().contains("`lora_alpha`"));
        assert!(parse(r#"{"peft_type":"LORA","r":100000,"lora_alpha":1}"#).unwrap_err().contains("`r`"));
    }

    #[test]
    fn names_are_taken_apart() {
        let module = |name: &str| Part::of(name).map(|part| part.module);
        let q = Some("model.layers.0.self_attn.q_proj".to_owned());
        assert_eq!(module("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"), q);
        assert_eq!(module("base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight"), q);
        let head = Some("lm_head".to_owned());
        assert_eq!(module("base_model.model.lm_head.weight"), head);
        assert_eq!(module("base_model.model.lm_head.modules_to_save.default.weight"), head);
        assert_eq!(module("base_model.model.lm_head.original_module.weight"), None);
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
