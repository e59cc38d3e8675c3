//! Checkpoints whose weights are in a layout that this version does not read. They are recognized before any shape is checked,
//! so that the error names the layout and what to use instead.

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::file::Checkpoint;

/// A layout by the tensors that only its files have.
struct Layout {
    name: &'static str,
    /// Endings of tensor names, of which one is enough.
    endings: &'static [&'static str],
}

const LAYOUTS: &[Layout] = &[
    Layout {
        name: "bitsandbytes",
        endings: &[".absmax", ".quant_map", ".bitsandbytes__nf4", ".bitsandbytes__fp4", ".SCB"],
    },
    Layout { name: "compressed-tensors", endings: &[".weight_packed", ".weight_shape", ".weight_global_scale"] },
    Layout { name: "FP8", endings: &[".weight_scale_inv", ".weight_scale", ".input_scale"] },
    Layout { name: "EXL2", endings: &[".q_weight", ".q_scale", ".q_scale_max", ".q_groups"] },
    Layout { name: "EXL3", endings: &[".trellis"] },
    Layout { name: "HQQ", endings: &[".W_q"] },
    Layout { name: "AQLM", endings: &[".codebooks"] },
    Layout { name: "QuIP#", endings: &[".Qidxs"] },
    Layout { name: "MLX", endings: &[".biases"] },
];

/// What a person can do about it.
const INSTEAD: &str = "use the fp16 or bf16 repository that it was made from, or a GPTQ or GGUF version of 4 bits";

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    quantization_config: Value,
}

/// Refuses a checkpoint in a layout that is not read.
///
/// # Errors
/// [`Error::Tensor`] with the layout's name and a tensor that shows it; [`Error::Config`] where the configuration names a
/// method that is not read; [`Error::Format`] where the configuration is not JSON.
pub(super) fn refuse(checkpoint: &Checkpoint) -> Result<()> {
    if checkpoint.metadata().is_some() {
        return Ok(());
    }
    for name in checkpoint.names() {
        let shown = |layout: &&Layout| layout.endings.iter().any(|ending| name.ends_with(ending));
        if let Some(layout) = LAYOUTS.iter().find(shown) {
            let detail = format!("the weights are in the layout of {}, which is not read: {INSTEAD}", layout.name);
            return Err(Error::tensor(checkpoint.path(), name, detail));
        }
        if is_awq(checkpoint, name) {
            let detail = format!("the weights are in the layout of AWQ, which is not read: {INSTEAD}");
            return Err(Error::tensor(checkpoint.path(), name, detail));
        }
    }
    refuse_method(checkpoint)
}

/// True when `name` is a matrix packed by AWQ: (in, out / 8) next to zeros of (groups, out / 8), where GPTQ has (in / 8, out).
fn is_awq(checkpoint: &Checkpoint, name: &str) -> bool {
    let Some(stem) = name.strip_suffix(".qweight") else { return false };
    let shape = |part: &str| checkpoint.tensor(&format!("{stem}.{part}")).map(|view| view.shape.to_vec());
    match (shape("qweight"), shape("qzeros"), shape("scales")) {
        (Some(codes), Some(zeros), Some(scales)) => {
            codes.len() == 2 && codes.get(1) == zeros.get(1) && codes[1].checked_mul(8) == scales.get(1).copied()
        }
        _ => false,
    }
}

/// Refuses a `quantization_config` whose method has no reader, whatever its tensors look like.
fn refuse_method(checkpoint: &Checkpoint) -> Result<()> {
    const FILE: &str = "config.json";
    let Some(bytes) = checkpoint.file_bytes(FILE)? else { return Ok(()) };
    let path = checkpoint.side_path(FILE);
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let file: ConfigFile = serde_json::from_slice(bytes)
        .map_err(|error| Error::format(&path, format!("not a JSON object with a configuration: {error}")))?;
    let Some(method) = file.quantization_config["quant_method"].as_str() else { return Ok(()) };
    if super::gptq::METHODS.iter().any(|known| method.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let method: String = method.chars().take(40).collect();
    Err(Error::config(&path, "quant_method", format!("{method:?} is not read: {INSTEAD}")))
}
