//! The tensors of a LLaMA checkpoint: canonical names, expected shapes, and how they are found in a file.
//!
//! Names and shapes are those of transformers' `LlamaForCausalLM`
//! (<https://github.com/huggingface/transformers/blob/main/src/transformers/models/llama/modeling_llama.py>). All matrices
//! are stored as (outputs, inputs), row after row. GGUF's names of the same tensors are those of gguf-py
//! (<https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py>).

use std::collections::{HashMap, HashSet};

use super::gptq::{Gptq, QuantizeConfig};
use super::padded;
use super::tensor::{ResolvedTensor, Sources, Stored};
use crate::error::{Error, Result};
use crate::file::{Checkpoint, TensorView};

/// The sizes that fix the shape of every tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dims {
    /// Rows of the embedding, and number of logits.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub dim: usize,
    /// Width between `up_proj` and `down_proj`.
    pub hidden_dim: usize,
    /// Transformer layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head; `n_heads * head_dim` need not be `dim`.
    pub head_dim: usize,
    /// Whether the embedding serves as `lm_head` too.
    pub tied_embeddings: bool,
    /// Whether q, k, v and o_proj have a bias.
    pub attention_bias: bool,
    /// Whether gate, up and down_proj have a bias.
    pub mlp_bias: bool,
}

impl Dims {
    /// Rows of `q_proj`.
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Rows of `k_proj` and of `v_proj`: values of one position in one layer's K (or V) cache.
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are the field's own names")]
pub enum Role {
    Embed,
    InputNorm,
    QProj,
    KProj,
    VProj,
    OProj,
    QBias,
    KBias,
    VBias,
    OBias,
    PostAttentionNorm,
    GateProj,
    UpProj,
    DownProj,
    GateBias,
    UpBias,
    DownBias,
    FinalNorm,
    LmHead,
}

/// A side of a shape, by the field of [`Dims`] that gives it. Vectors have `One` row.
#[derive(Debug, Clone, Copy)]
enum Side {
    One,
    Vocab,
    Dim,
    Hidden,
    Q,
    Kv,
}

impl Side {
    fn of(self, dims: &Dims) -> usize {
        match self {
            Self::One => 1,
            Self::Vocab => dims.vocab_size,
            Self::Dim => dims.dim,
            Self::Hidden => dims.hidden_dim,
            Self::Q => dims.q_dim(),
            Self::Kv => dims.kv_dim(),
        }
    }

    /// The fields of the configuration behind it, for messages.
    fn fields(self, spelling: Spelling) -> &'static str {
        let (fields, keys) = match self {
            Self::One => ("1", "1"),
            Self::Vocab => ("vocab_size", "llama.vocab_size"),
            Self::Dim => ("hidden_size", "llama.embedding_length"),
            Self::Hidden => ("intermediate_size", "llama.feed_forward_length"),
            Self::Q => ("num_attention_heads * head_dim", "llama.attention.head_count * key_length"),
            Self::Kv => ("num_key_value_heads * head_dim", "llama.attention.head_count_kv * key_length"),
        };
        spelling.pick(fields, keys)
    }
}

/// Whose names a checkpoint uses, for its tensors and in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// transformers': `model.layers.0.self_attn.q_proj.weight`, `config.json`.
    Transformers,
    /// GGUF's: `blk.0.attn_q.weight`, the file's own metadata.
    Gguf,
}

impl Spelling {
    /// That of `checkpoint`.
    pub fn of(checkpoint: &Checkpoint) -> Self {
        if checkpoint.metadata().is_some() { Self::Gguf } else { Self::Transformers }
    }

    fn pick<T>(self, transformers: T, gguf: T) -> T {
        if self == Self::Gguf { gguf } else { transformers }
    }

    /// What the configuration is called in messages.
    fn config(self) -> &'static str {
        self.pick("config.json", "the metadata")
    }

    fn n_layers(self) -> &'static str {
        self.pick("num_hidden_layers", "llama.block_count")
    }
}

/// What it is for, its name in transformers and in GGUF, rows and columns.
type Row = (Role, &'static str, &'static str, Side, Side);

/// The tensors of one layer, in the order of use; the biases come with their matrices' table.
const LAYER: [Row; 9] = [
    (Role::InputNorm, "input_layernorm.weight", "attn_norm.weight", Side::One, Side::Dim),
    (Role::QProj, "self_attn.q_proj.weight", "attn_q.weight", Side::Q, Side::Dim),
    (Role::KProj, "self_attn.k_proj.weight", "attn_k.weight", Side::Kv, Side::Dim),
    (Role::VProj, "self_attn.v_proj.weight", "attn_v.weight", Side::Kv, Side::Dim),
    (Role::OProj, "self_attn.o_proj.weight", "attn_output.weight", Side::Dim, Side::Q),
    (Role::PostAttentionNorm, "post_attention_layernorm.weight", "ffn_norm.weight", Side::One, Side::Dim),
    (Role::GateProj, "mlp.gate_proj.weight", "ffn_gate.weight", Side::Hidden, Side::Dim),
    (Role::UpProj, "mlp.up_proj.weight", "ffn_up.weight", Side::Hidden, Side::Dim),
    (Role::DownProj, "mlp.down_proj.weight", "ffn_down.weight", Side::Dim, Side::Hidden),
];

const ATTENTION_BIAS: [Row; 4] = [
    (Role::QBias, "self_attn.q_proj.bias", "attn_q.bias", Side::One, Side::Q),
    (Role::KBias, "self_attn.k_proj.bias", "attn_k.bias", Side::One, Side::Kv),
    (Role::VBias, "self_attn.v_proj.bias", "attn_v.bias", Side::One, Side::Kv),
    (Role::OBias, "self_attn.o_proj.bias", "attn_output.bias", Side::One, Side::Dim),
];

const MLP_BIAS: [Row; 3] = [
    (Role::GateBias, "mlp.gate_proj.bias", "ffn_gate.bias", Side::One, Side::Hidden),
    (Role::UpBias, "mlp.up_proj.bias", "ffn_up.bias", Side::One, Side::Hidden),
    (Role::DownBias, "mlp.down_proj.bias", "ffn_down.bias", Side::One, Side::Dim),
];

const EMBED: Row = (Role::Embed, "model.embed_tokens.weight", "token_embd.weight", Side::Vocab, Side::Dim);
const FINAL_NORM: Row = (Role::FinalNorm, "model.norm.weight", "output_norm.weight", Side::One, Side::Dim);
const LM_HEAD: Row = (Role::LmHead, "lm_head.weight", "output.weight", Side::Vocab, Side::Dim);

/// A tensor that the model needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedTensor {
    /// What it is for.
    pub role: Role,
    /// Its layer, for the tensors that each layer has.
    pub layer: Option<usize>,
    /// Its name, as the checkpoint spells it.
    pub name: String,
    /// Its shape in the file: one extent for norms and biases, (outputs, inputs) for matrices.
    pub shape: Vec<usize>,
    /// The fields of the configuration that give the shape.
    fields: String,
}

impl ExpectedTensor {
    fn new(dims: &Dims, spelling: Spelling, layer: Option<usize>, (role, name, gguf, rows, cols): Row) -> Self {
        let name = match (layer, spelling) {
            (Some(layer), Spelling::Transformers) => format!("model.layers.{layer}.{name}"),
            (Some(layer), Spelling::Gguf) => format!("blk.{layer}.{gguf}"),
            (None, _) => spelling.pick(name, gguf).to_owned(),
        };
        let fields = |side: Side| side.fields(spelling);
        let (shape, fields) = match rows {
            Side::One => (vec![cols.of(dims)], fields(cols).to_owned()),
            _ => (vec![rows.of(dims), cols.of(dims)], format!("{}, {}", fields(rows), fields(cols))),
        };
        Self { role, layer, name, shape, fields }
    }
}

/// Every tensor of a model of these sizes, in the order of use: the embedding, each layer, the last norm, `lm_head` (unless
/// tied). The names are those of transformers.
pub fn expected(dims: &Dims) -> Vec<ExpectedTensor> {
    expected_as(Spelling::Transformers, dims)
}

/// As [`expected`], with the names of `spelling`.
fn expected_as(spelling: Spelling, dims: &Dims) -> Vec<ExpectedTensor> {
    let new = |layer, row| ExpectedTensor::new(dims, spelling, layer, row);
    let mut tensors = vec![new(None, EMBED)];
    for layer in 0..dims.n_layers {
        let attention_bias = ATTENTION_BIAS.iter().filter(|_| dims.attention_bias);
        let mlp_bias = MLP_BIAS.iter().filter(|_| dims.mlp_bias);
        let rows = LAYER.iter().chain(attention_bias).chain(mlp_bias);
        tensors.extend(rows.map(|row| new(Some(layer), *row)));
    }
    tensors.push(new(None, FINAL_NORM));
    if !dims.tied_embeddings {
        tensors.push(new(None, LM_HEAD));
    }
    tensors
}

/// The tensors of a model, each found and checked.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// In the order of [`expected`].
    pub tensors: Vec<ResolvedTensor>,
    /// Names in the file that the model does not use (`rotary_emb.inv_freq` of 2023's files, a tied model's `lm_head`).
    pub unused: Vec<String>,
    lookup: HashMap<(Role, Option<usize>), usize>,
}

impl Resolved {
    /// The tensor for `role` in `layer` (None for those outside the layers).
    pub fn get(&self, role: Role, layer: Option<usize>) -> Option<&ResolvedTensor> {
        self.tensors.get(*self.lookup.get(&(role, layer))?)
    }

    /// Bytes of all tensors as stored.
    pub fn stored_bytes(&self) -> u64 {
        self.tensors.iter().map(ResolvedTensor::stored_bytes).sum()
    }

    /// Whether a tensor is a matrix on the device, not a vector of norms or biases.
    fn is_matrix(tensor: &ResolvedTensor) -> bool {
        tensor.rows > 1
    }

    /// Bytes of the weights on the device: matrices in their formats, the factors of LoRAs beside quantised ones, norms and
    /// biases in f32.
    pub fn device_bytes(&self) -> u64 {
        let bytes = |tensor: &ResolvedTensor| match Self::is_matrix(tensor) {
            true => tensor.device_bytes() + tensor.side_bytes(),
            false => (padded(tensor.cols) * 4) as u64,
        };
        self.tensors.iter().map(bytes).sum()
    }

    /// Bytes of the embedding on the device, where a decode step reads one row of it: none when it is the head too.
    pub fn table_bytes(&self) -> u64 {
        let table = self.get(Role::Embed, None).filter(|_| !self.is_tied());
        table.map_or(0, ResolvedTensor::device_bytes)
    }

    /// The formats of the matrices on the device, the one with most bytes first: `q4 + f16`.
    pub fn formats(&self) -> String {
        let mut bytes: Vec<(&str, u64)> = Vec::new();
        for tensor in self.tensors.iter().filter(|tensor| Self::is_matrix(tensor)) {
            let name = tensor.format().name();
            match bytes.iter_mut().find(|(known, _)| *known == name) {
                Some((_, sum)) => *sum += tensor.device_bytes(),
                None => bytes.push((name, tensor.device_bytes())),
            }
        }
        bytes.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        bytes.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" + ")
    }

    /// The format of each matrix on the device.
    pub(crate) fn matrix_formats(&self) -> impl Iterator<Item = super::packed::Format> {
        self.tensors.iter().filter(|tensor| Self::is_matrix(tensor)).map(ResolvedTensor::format)
    }

    /// Whether the head is the embedding. A LoRA may have untied what `config.json` ties.
    pub fn is_tied(&self) -> bool {
        self.get(Role::LmHead, None).is_none()
    }

    /// The largest rank of a LoRA that is multiplied beside a quantised matrix; 0 when there is none.
    pub fn side_rank(&self) -> usize {
        self.tensors.iter().map(ResolvedTensor::side_rank).max().unwrap_or(0)
    }

    /// Whether a matrix has its columns in another order on the device than in the model.
    pub fn is_sorted(&self) -> bool {
        self.tensors.iter().any(|tensor| tensor.order().is_some())
    }
}

#[cfg(test)]
impl Resolved {
    /// The tensors of a model of `dims`, matrices inside the layers stored as `stored` says, without any file.
    pub(crate) fn imagined(dims: &Dims, stored: &Stored) -> Self {
        let tensor = |wanted: ExpectedTensor| {
            let (rows, cols) = match *wanted.shape {
                [rows, cols] => (rows, cols),
                _ => (1, wanted.shape[0]),
            };
            let is_inside = wanted.layer.is_some() && rows > 1;
            let stored = if is_inside { stored.clone() } else { Stored::Plain(crate::file::Dtype::F16) };
            let (role, layer, name) = (wanted.role, wanted.layer, wanted.name);
            ResolvedTensor { role, layer, name, rows, cols, stored, replaced_by: None, deltas: Vec::new() }
        };
        let tensors: Vec<_> = expected(dims).into_iter().map(tensor).collect();
        let lookup = tensors.iter().enumerate().map(|(at, tensor)| ((tensor.role, tensor.layer), at)).collect();
        Self { tensors, unused: Vec::new(), lookup }
    }
}

/// Finds every tensor that a model of `dims` needs, under its name in transformers or without the leading `model.`, or as GPTQ
/// of it, checks shape and type, and lays the LoRAs over them. Values are not read here; [`super::convert`] checks them.
///
/// # Errors
/// [`Error::Tensor`] for one that is missing or has another shape or type, for a bias with values that `config.json` does not
/// announce, for layers beyond `num_hidden_layers` (ignoring either would change what the model says), and for a tensor of a LoRA
/// that does not fit.
pub fn resolve<'a>(sources: impl Into<Sources<'a>>, dims: &Dims) -> Result<Resolved> {
    let sources = sources.into();
    let checkpoint = sources.checkpoint;
    let mut tensors = Vec::new();
    let mut used = HashSet::new();
    let mut gptq_config = None;
    super::foreign::refuse(checkpoint)?;
    let spelling = Spelling::of(checkpoint);
    let wrapper = Wrapper::of(checkpoint);
    for wanted in expected_as(spelling, dims) {
        let (role, layer) = (wanted.role, wanted.layer);
        let new = |name: &str, (rows, cols), stored| {
            let (name, replaced_by, deltas) = (name.to_owned(), None, Vec::new());
            ResolvedTensor { role, layer, name, rows, cols, stored, replaced_by, deltas }
        };
        if let Some(found) = wrapper.find(checkpoint, &wanted.name) {
            check(&found, &wanted, spelling)?;
            used.insert(found.name.to_owned());
            tensors.push(new(found.name, found.rows_cols().unwrap_or_default(), Stored::Plain(found.dtype)));
            continue;
        }
        let stem = wanted.name.trim_end_matches(".weight");
        let codes =
            wrapper.find(checkpoint, &format!("{stem}.qweight")).ok_or_else(|| missing(checkpoint, dims, &wanted))?;
        let &[rows, cols] = wanted.shape.as_slice() else { return Err(missing(checkpoint, dims, &wanted)) };
        if gptq_config.is_none() {
            gptq_config = Some(QuantizeConfig::load(checkpoint)?);
        }
        let stem = codes.name.trim_end_matches(".qweight");
        let gptq = Gptq::resolve(checkpoint, gptq_config.as_ref().and_then(Option::as_ref), stem, rows, cols)?;
        used.extend(["qweight", "qzeros", "scales", "g_idx"].map(|part| format!("{stem}.{part}")));
        tensors.push(new(codes.name, (rows, cols), Stored::Gptq(Box::new(gptq))));
    }
    let unused: Vec<String> = checkpoint.names().filter(|name| !used.contains(*name)).map(str::to_owned).collect();
    for name in &unused {
        refuse_if_it_matters(checkpoint, &wrapper, dims, name)?;
    }
    lay_over(sources, dims, &mut tensors)?;
    let lookup = tensors.iter().enumerate().map(|(at, tensor)| ((tensor.role, tensor.layer), at)).collect();
    Ok(Resolved { tensors, unused, lookup })
}

/// Lays the LoRAs over the base's tensors. A head that is the embedding too becomes a matrix of its own when a LoRA changes one
/// of the two.
fn lay_over(sources: Sources<'_>, dims: &Dims, tensors: &mut Vec<ResolvedTensor>) -> Result<()> {
    if sources.loras.is_empty() {
        return Ok(());
    }
    let tied = tensors.iter().find(|tensor| tensor.role == Role::Embed).cloned().filter(|_| dims.tied_embeddings);
    tensors.extend(tied.clone().map(|table| ResolvedTensor { role: Role::LmHead, ..table }));
    let names: HashMap<(Role, Option<usize>), String> =
        expected(&Dims { tied_embeddings: false, ..*dims }).into_iter().map(|t| ((t.role, t.layer), t.name)).collect();
    for (number, lora) in sources.loras.iter().enumerate() {
        lora.apply(number, sources.checkpoint, dims.head_dim, tensors, |tensor| {
            names.get(&(tensor.role, tensor.layer)).cloned().unwrap_or_default()
        })?;
    }
    let is_changed = |tensor: &ResolvedTensor| tensor.replaced_by.is_some() || !tensor.deltas.is_empty();
    let ends = |tensor: &&ResolvedTensor| matches!(tensor.role, Role::Embed | Role::LmHead);
    if tied.is_some() && !tensors.iter().filter(ends).any(is_changed) {
        tensors.retain(|tensor| tensor.role != Role::LmHead);
    }
    Ok(())
}

/// What programs put in front of the names of a model that they wrap, innermost last: `torch.compile`, data parallel training,
/// PEFT, and a model inside of another class.
const WRAPPERS: [&str; 5] = ["_orig_mod.", "module.", "base_model.model.", "base_model.", "model."];

/// The name without the wrappers in front of it, but for the `model.` that transformers' names begin with.
pub(super) fn unwrapped(name: &str) -> &str {
    let mut rest = name;
    while let Some(inner) = WRAPPERS.iter().find_map(|wrapper| rest.strip_prefix(wrapper)) {
        let is_own =
            rest.starts_with("model.") && ["layers.", "embed_tokens.", "norm."].iter().any(|s| inner.starts_with(s));
        if is_own {
            break;
        }
        rest = inner;
    }
    rest
}

/// The wrappers in front of a checkpoint's names; mostly none.
struct Wrapper(String);

impl Wrapper {
    /// Those in front of the embedding's name.
    fn of(checkpoint: &Checkpoint) -> Self {
        let is_embedding = |name: &&str| matches!(unwrapped(name), "model.embed_tokens.weight" | "embed_tokens.weight");
        let name = checkpoint.names().find(is_embedding).unwrap_or_default();
        Self(name.strip_suffix(unwrapped(name)).unwrap_or_default().to_owned())
    }

    fn find<'a>(&self, checkpoint: &'a Checkpoint, name: &str) -> Option<TensorView<'a>> {
        let plain = name.strip_prefix("model.");
        let wrapped = |name: &str| checkpoint.tensor(&format!("{}{name}", self.0));
        let named = |name: &str| checkpoint.tensor(name).or_else(|| wrapped(name));
        named(name).or_else(|| named(plain?))
    }
}

/// The names in the file that are most like `wanted`: those that share most of its last parts.
fn nearest(checkpoint: &Checkpoint, wanted: &str) -> String {
    const SHOWN: usize = 3;
    let shared = |name: &str| name.rsplit('.').zip(wanted.rsplit('.')).take_while(|(one, two)| one == two).count();
    let mut names: Vec<&str> = checkpoint.names().collect();
    let total = names.len();
    names.sort_by_key(|name| std::cmp::Reverse(shared(name)));
    names.truncate(SHOWN);
    format!("the file has {total} tensors, such as {}", names.join(", "))
}

fn missing(checkpoint: &Checkpoint, dims: &Dims, wanted: &ExpectedTensor) -> Error {
    let spelling = Spelling::of(checkpoint);
    let detail = if let Some(layer) = wanted.layer {
        format!(
            "not in the file; layer {layer} is one of the {} that {} announces ({})",
            dims.n_layers,
            spelling.config(),
            spelling.n_layers()
        )
    } else if wanted.role == Role::LmHead {
        "not in the file, and config.json does not say `tie_word_embeddings: true`".to_owned()
    } else {
        "not in the file".to_owned()
    };
    let detail = format!("{detail}; {}", nearest(checkpoint, &wanted.name));
    Error::tensor(checkpoint.path(), &wanted.name, detail)
}

fn check(found: &TensorView<'_>, wanted: &ExpectedTensor, spelling: Spelling) -> Result<()> {
    if found.shape != wanted.shape {
        let (expected, fields, got) = (tuple(&wanted.shape), &wanted.fields, tuple(found.shape));
        let detail = format!("expected {expected} = ({fields}) by {}, got {got}", spelling.config());
        return Err(Error::tensor(found.path(), found.name, detail));
    }
    if !found.dtype.is_weight() {
        let detail = format!("expected F16, BF16 or F32, got {}", found.dtype);
        return Err(Error::tensor(found.path(), found.name, detail));
    }
    Ok(())
}

fn tuple(shape: &[usize]) -> String {
    let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("({})", extents.join(", "))
}

/// Refuses an unused tensor that shows the config to be wrong about the model.
fn refuse_if_it_matters(checkpoint: &Checkpoint, wrapper: &Wrapper, dims: &Dims, name: &str) -> Result<()> {
    let Some(view) = checkpoint.tensor(name) else { return Ok(()) };
    let fail = |detail: String| Err(Error::tensor(view.path(), name, detail));
    let plain = name.strip_prefix(wrapper.0.as_str()).unwrap_or(name);
    let plain = plain.strip_prefix("model.").unwrap_or(plain);
    let spelling = Spelling::of(checkpoint);
    let prefix = spelling.pick("layers.", "blk.");
    if let Some((layer, rest)) = plain.strip_prefix(prefix).and_then(|rest| rest.split_once('.')) {
        let layer = layer.parse::<usize>().unwrap_or(usize::MAX);
        let is_rest = |(_, name, gguf, ..): &Row| spelling.pick(*name, *gguf) == rest;
        let known = rest.ends_with(".qweight") || LAYER.iter().any(is_rest);
        if known && layer >= dims.n_layers {
            return fail(format!("{} announces {} layers ({})", spelling.config(), dims.n_layers, spelling.n_layers()));
        }
        let bias = ATTENTION_BIAS.iter().chain(&MLP_BIAS).any(is_rest);
        if bias && view.data()?.iter().any(|&byte| byte != 0) {
            let field = if rest.starts_with("mlp") { "mlp_bias" } else { "attention_bias" };
            return fail(match spelling {
                Spelling::Transformers => format!("a bias with values, but config.json does not say `{field}: true`"),
                Spelling::Gguf => "a bias with values, but the first layer has none of these".to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: Dims = Dims {
        vocab_size: 10,
        dim: 8,
        hidden_dim: 12,
        n_layers: 2,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 6,
        tied_embeddings: true,
        attention_bias: true,
        mlp_bias: false,
    };

    /// A checkpoint of `f16` ones: the tensors of `dims`, then what `change` makes of the list of names and shapes.
    fn checkpoint(dims: &Dims, change: impl FnOnce(&mut Vec<(String, Vec<usize>)>)) -> Checkpoint {
        let mut tensors = expected(dims).into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        change(&mut tensors);
        let (mut entries, mut data) = (Vec::new(), Vec::new());
        for (name, shape) in &tensors {
            let begin = data.len();
            data.extend((0..shape.iter().product()).flat_map(|_| half::f16::ONE.to_le_bytes()));
            let end = data.len();
            entries.push(format!(r#""{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#));
        }
        let header = format!("{{{}}}", entries.join(","));
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
        Checkpoint::from_static(&[("model.safetensors", bytes.leak())]).unwrap()
    }

    #[test]
    fn every_tensor_is_found_with_its_shape() {
        let resolved = resolve(&checkpoint(&DIMS, |_| {}), &DIMS).unwrap();
        assert_eq!(resolved.tensors.len(), 1 + 2 * (9 + 4) + 1);
        assert!(resolved.unused.is_empty());
        let k_proj = resolved.get(Role::KProj, Some(1)).unwrap();
        assert_eq!((k_proj.name.as_str(), k_proj.rows, k_proj.cols), ("model.layers.1.self_attn.k_proj.weight", 6, 8));
        let o_bias = resolved.get(Role::OBias, Some(0)).unwrap();
        assert_eq!((o_bias.rows, o_bias.cols), (1, 8));
        assert_eq!(resolved.get(Role::LmHead, None), None);
    }

    #[test]
    fn names_without_the_prefix_and_unused_tensors() {
        let checkpoint = checkpoint(&DIMS, |tensors| {
            tensors.iter_mut().for_each(|(name, _)| *name = name.replace("model.", ""));
            tensors.push(("lm_head.weight".to_owned(), vec![10, 8]));
            tensors.push(("layers.0.self_attn.rotary_emb.inv_freq".to_owned(), vec![3]));
        });
        let resolved = resolve(&checkpoint, &DIMS).unwrap();
        assert_eq!(resolved.get(Role::Embed, None).unwrap().name, "embed_tokens.weight");
        assert_eq!(resolved.unused, ["layers.0.self_attn.rotary_emb.inv_freq", "lm_head.weight"]);
    }

    #[test]
    fn what_contradicts_the_config_is_refused_by_name() {
        let refused = |dims: Dims, change: fn(&mut Vec<(String, Vec<usize>)>), words: &[&str]| {
            let message = resolve(&checkpoint(&DIMS, change), &dims).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
        };
        refused(Dims { n_layers: 3, ..DIMS }, |_| {}, &["model.layers.2.input_layernorm.weight", "config.json"]);
        refused(Dims { n_layers: 1, ..DIMS }, |_| {}, &["model.layers.1.", "num_hidden_layers"]);
        refused(
            Dims { vocab_size: 11, ..DIMS },
            |_| {},
            &["model.embed_tokens.weight", "(11, 8)", "(10, 8)", "vocab_size"],
        );
        refused(Dims { tied_embeddings: false, ..DIMS }, |_| {}, &["lm_head.weight", "tie_word_embeddings"]);
        refused(Dims { attention_bias: false, ..DIMS }, |_| {}, &["_proj.bias", "attention_bias"]);
        refused(DIMS, |tensors| tensors[1].1 = vec![1, 8], &["input_layernorm", "(1, 8)"]);
        refused(DIMS, |tensors| tensors[2].0 += ".qweight", &["q_proj.weight", "not in the file"]);
    }
}
