//! Writes a checkpoint in AutoGPTQ's layout (see [`super::gptq`]): four tensors for each projection, everything else in f16, under
//! transformers' names, with the files that other programs look for beside it.
//!
//! `config.json` gets a `quantization_config`, as transformers reads it
//! (<https://huggingface.co/docs/transformers/main/en/main_classes/quantization#transformers.GPTQConfig>); older programs read
//! `quantize_config.json`.

use std::path::{Path, PathBuf};

use half::f16;
use serde_json::{Map, Value, json};

use super::convert::Target;
use super::grid::Quantized;
use super::names::{Dims, ExpectedTensor, Resolved, Role, expected};
use super::tensor::{ResolvedTensor, Sources, Stored, rope_row};
use crate::error::{Error, Result};
use crate::file::{Checkpoint, Dtype, NewTensor, RopeLayout, SafetensorsWriter, write_file};

/// The file with the tensors.
const FILE: &str = "model.safetensors";

/// Files that travel with the weights, where the source has them.
const SIDE_FILES: [&str; 14] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "README.md",
    "LICENSE",
    "LICENSE.txt",
    "USE_POLICY.md",
];

/// How the weights were made, for the files that say so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Columns of a group; None for one group a row.
    pub group_len: Option<usize>,
    /// The zero is 8 everywhere.
    pub symmetric: bool,
    /// Columns were rounded in the order of what they weigh.
    pub act_order: bool,
    /// What was added to the Hessian's diagonal, as a share of its mean.
    pub damp: f64,
}

impl Settings {
    /// The columns of a group of a matrix with `cols` columns.
    pub fn group_of(&self, cols: usize) -> usize {
        self.group_len.unwrap_or(cols)
    }

    fn json(&self) -> Map<String, Value> {
        let group_size = self.group_len.map_or(-1, |len| len as i64);
        let fields = json!({
            "bits": 4,
            "group_size": group_size,
            "damp_percent": self.damp,
            "desc_act": self.act_order,
            "static_groups": false,
            "sym": self.symmetric,
            "true_sequential": false,
            "model_file_base_name": "model",
            "quant_method": "gptq",
            "checkpoint_format": "gptq",
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }
}

/// Whether a tensor of this role is quantised: the projections of a layer, not the embedding and the head.
pub fn is_projection(role: Role) -> bool {
    use Role::{DownProj, GateProj, KProj, OProj, QProj, UpProj, VProj};
    matches!(role, QProj | KProj | VProj | OProj | GateProj | UpProj | DownProj)
}

/// Refuses tensors that are quantised already, and shapes that the layout has no place for.
///
/// # Errors
/// [`Error::Tensor`] with what to do instead.
pub fn check(checkpoint: &Checkpoint, tensors: &Resolved, settings: &Settings) -> Result<()> {
    for tensor in &tensors.tensors {
        let fail = |detail: String| Err(Error::tensor(checkpoint.path(), &tensor.name, detail));
        let is_plain = matches!(tensor.stored, Stored::Plain(dtype) if !dtype.is_block());
        if !is_plain {
            let kind = tensor.type_name();
            return fail(format!(
                "is {kind}: quantised already, and rounding it again would only lose more; take the checkpoint in F16, BF16 or F32"
            ));
        }
        if !is_projection(tensor.role) {
            continue;
        }
        let (rows, cols) = (tensor.rows, tensor.cols);
        if !cols.is_multiple_of(32) || !rows.is_multiple_of(8) {
            return fail(format!("4 bits take a multiple of 32 columns and rows by eights, got ({rows}, {cols})"));
        }
        let group = settings.group_of(cols);
        if !cols.is_multiple_of(group.max(1)) {
            let fits = [128, 64, 32].into_iter().find(|len| *len < group && cols.is_multiple_of(*len)).unwrap_or(32);
            return fail(format!(
                "its {cols} columns are no whole groups of {group}, which several programs need: try --group {fits}"
            ));
        }
    }
    Ok(())
}

/// The file that is being written.
#[derive(Debug)]
pub struct GptqWriter<'a> {
    writer: SafetensorsWriter,
    folder: PathBuf,
    sources: Sources<'a>,
    layout: RopeLayout,
    head_dim: usize,
    settings: Settings,
    config: Value,
}

impl<'a> GptqWriter<'a> {
    /// Begins the file of a model of `dims` in `folder`. The tensors follow in the order of [`expected`].
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be created; [`Error::Format`] when the source's `config.json` is missing or damaged.
    pub fn create(folder: &Path, sources: Sources<'a>, dims: &Dims, settings: Settings) -> Result<Self> {
        let config = config_json(sources.checkpoint, &settings)?;
        let mut tensors = Vec::new();
        for ExpectedTensor { role, name, shape, .. } in expected(dims) {
            match (shape.as_slice(), is_projection(role)) {
                (&[rows, cols], true) => {
                    let stem = name.trim_end_matches(".weight");
                    let groups = cols.div_ceil(settings.group_of(cols));
                    let mut add = |part: &str, dtype, shape| {
                        tensors.push(NewTensor { name: format!("{stem}.{part}"), dtype, shape });
                    };
                    add("qweight", Dtype::I32, vec![cols / 8, rows]);
                    add("qzeros", Dtype::I32, vec![groups, rows / 8]);
                    add("scales", Dtype::F16, vec![groups, rows]);
                    add("g_idx", Dtype::I32, vec![cols]);
                }
                _ => tensors.push(NewTensor { name, dtype: Dtype::F16, shape }),
            }
        }
        let writer = SafetensorsWriter::create(&folder.join(FILE), &tensors)?;
        let layout = sources.checkpoint.rope_layout();
        Ok(Self { writer, folder: folder.to_owned(), sources, layout, head_dim: dims.head_dim, settings, config })
    }

    /// Writes a tensor that stays as it is, in f16.
    ///
    /// # Errors
    /// A value that f16 does not hold, by tensor; [`Error::Io`].
    pub fn plain(&mut self, tensor: &ResolvedTensor) -> Result<()> {
        if matches!(tensor.role, Role::QBias | Role::KBias) && self.layout == RopeLayout::InterleavedPairs {
            let values = values(self.sources, self.layout, self.head_dim, tensor)?;
            let bytes: Vec<u8> = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
            return self.writer.write(&bytes);
        }
        let per_piece = ((16 << 20) / (tensor.cols * 2).max(1)).max(1);
        let mut bytes = Vec::new();
        for first in (0..tensor.rows).step_by(per_piece) {
            let rows = first..(first + per_piece).min(tensor.rows);
            bytes.resize(rows.len() * tensor.cols * 2, 0);
            tensor.convert(self.sources, rows.clone(), &mut bytes, tensor.cols, Target::F16)?;
            self.writer.write(&bytes)?;
            tensor.release(self.sources, rows);
        }
        Ok(())
    }

    /// Writes a projection.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn projection(&mut self, matrix: &Quantized) -> Result<()> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        self.writer.write(&words(&matrix.model_codes()))?;
        let zeros: Vec<u32> = matrix
            .grids
            .chunks_exact(8)
            .map(|eight| {
                // Version 1 of the layout stores them less one.
                let zeros = eight.iter().enumerate().map(|(at, grid)| (grid.zero as u32 - 1) << (at * 4));
                zeros.fold(0, |word, zero| word | zero)
            })
            .collect();
        self.writer.write(&words(&zeros))?;
        let scales: Vec<u8> = matrix.grids.iter().flat_map(|grid| f16::from_f32(grid.scale).to_le_bytes()).collect();
        self.writer.write(&scales)?;
        let groups: Vec<u8> = matrix.groups().into_iter().flat_map(i32::to_le_bytes).collect();
        self.writer.write(&groups)
    }

    /// Puts the side files in their places, and the tensors' when all else is there: when anything fails, nothing new stays.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] when a side file of the source is damaged.
    pub fn finish(self) -> Result<()> {
        let checkpoint = self.sources.checkpoint;
        let mut files = vec![
            ("config.json", pretty(&self.config)?),
            ("quantize_config.json", pretty(&Value::Object(self.settings.json()))?),
        ];
        for name in SIDE_FILES {
            files.extend(checkpoint.file_bytes(name)?.map(|bytes| (name, bytes.into_owned())));
        }
        let mut new = Vec::new();
        let mut all = || {
            for (name, bytes) in &files {
                let path = self.folder.join(name);
                let existed = path.exists();
                write_file(&path, bytes)?;
                new.extend((!existed).then_some(path));
            }
            Ok(())
        };
        let result = all().and_then(|()| self.writer.finish());
        if result.is_err() {
            for path in new {
                // The first error is the one to tell.
                let _ = std::fs::remove_file(path);
            }
        }
        result
    }
}

/// The source's `config.json` with what the weights have become.
fn config_json(checkpoint: &Checkpoint, settings: &Settings) -> Result<Value> {
    let path = checkpoint.side_path("config.json");
    let Some(bytes) = checkpoint.file_bytes("config.json")? else {
        return Err(Error::format(&path, "config.json is missing: it belongs beside the weights"));
    };
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let mut config: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| Error::format(&path, format!("not a JSON object: {error}")))?;
    for name in ["torch_dtype", "dtype"] {
        if config.contains_key(name) {
            config.insert(name.to_owned(), json!("float16"));
        }
    }
    config.insert("quantization_config".to_owned(), Value::Object(settings.json()));
    Ok(Value::Object(config))
}

fn pretty(value: &Value) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Error::Request(error.to_string()))?;
    text.push(b'\n');
    Ok(text)
}

/// All values of `tensor` as f32, (rows, cols), with the rows in Hugging Face's order.
///
/// # Errors
/// A value that is no number, by tensor.
pub fn values(sources: Sources<'_>, layout: RopeLayout, head_dim: usize, tensor: &ResolvedTensor) -> Result<Vec<f32>> {
    let (rows, cols) = (tensor.rows, tensor.cols);
    let mut values = vec![0.0_f32; rows * cols];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
    tensor.convert(sources, 0..rows, bytes, cols, Target::F32)?;
    tensor.release(sources, 0..rows);
    let is_rotated = matches!(tensor.role, Role::QProj | Role::KProj | Role::QBias | Role::KBias);
    if layout == RopeLayout::HalfSplit || !is_rotated {
        return Ok(values);
    }
    // A bias is one row of as many columns as its matrix has rows.
    let width = if rows == 1 { 1 } else { cols };
    let row = |row: usize| values[rope_row(layout, head_dim, row) * width..][..width].iter().copied();
    Ok((0..rows * cols / width).flat_map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_are_autogptqs() {
        let settings = Settings { group_len: None, symmetric: false, act_order: true, damp: 0.01 };
        let fields = Value::Object(settings.json());
        for (name, value) in [
            ("bits", json!(4)),
            ("group_size", json!(-1)),
            ("desc_act", json!(true)),
            ("sym", json!(false)),
            ("static_groups", json!(false)),
            ("quant_method", json!("gptq")),
            ("checkpoint_format", json!("gptq")),
        ] {
            assert_eq!(fields[name], value, "{name}");
        }
    }
}
