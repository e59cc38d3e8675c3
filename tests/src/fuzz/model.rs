//! Files of tensors and the configurations beside them.

use std::path::Path;
use std::sync::OnceLock;

use guanaco_engine::file::Checkpoint;
use guanaco_engine::gpu::Profile;
use guanaco_engine::model::{Config, LoadOptions, memory_plan};
use guanaco_engine::weights::convert::{Target, padded};
use guanaco_engine::weights::names::{self, Resolved};
use guanaco_engine::weights::{Lora, Sources};

use super::halves;
use super::text;

/// The model that the files of tensors are meant for: one layer of width 2.
const CONFIG: &str = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":2,"intermediate_size":2,"num_hidden_layers":1,
    "num_attention_heads":1,"vocab_size":3,"tie_word_embeddings":true}"#;

/// The most bytes of one tensor that are converted: more of them is more of the same.
const MAX_CONVERTED: usize = 64 << 10;

pub(super) fn safetensors(data: &[u8]) {
    open(vec![("config.json", CONFIG.into()), ("model.safetensors", data.to_vec())]);
}

/// As the whole file, and as the pickle in a zip with one storage of 64 bytes.
pub(super) fn pickle(data: &[u8]) {
    open(vec![("config.json", CONFIG.into()), ("pytorch_model.bin", data.to_vec())]);
    let files = [("a/data.pkl", data), ("a/data/0", &[0x3C; 64]), ("a/byteorder", b"little")];
    open(vec![("config.json", CONFIG.into()), ("pytorch_model.bin", stored_zip(&files))]);
}

pub(super) fn zip(data: &[u8]) {
    open(vec![("config.json", CONFIG.into()), ("pytorch_model.bin", data.to_vec())]);
}

pub(super) fn gguf(data: &[u8]) {
    open(vec![("model.gguf", data.to_vec())]);
}

/// As `quantize_config.json` and as `quantization_config` in `config.json`; what follows a zero byte stands at the begin of the
/// tensors' data, where the groups of the columns are.
pub(super) fn gptq_config(data: &[u8]) {
    static MODEL: OnceLock<(Vec<u8>, usize)> = OnceLock::new();
    let (model, data_start) = MODEL.get_or_init(gptq_model);
    let (json, values) = halves(data);
    let mut model = model.clone();
    let n = values.map_or(0, |values| values.len().min(model.len() - data_start));
    model[*data_start..data_start + n].copy_from_slice(&values.unwrap_or_default()[..n]);
    let config = CONFIG.replace(":2,", ":32,");
    open(vec![
        ("config.json", config.clone().into()),
        ("quantize_config.json", json.to_vec()),
        ("model.safetensors", model.clone()),
    ]);
    let (head, tail) = config.split_at(config.len() - 1);
    let inside = [head.as_bytes(), br#","quantization_config":"#, json, tail.as_bytes()].concat();
    open(vec![("config.json", inside), ("model.safetensors", model)]);
}

/// `adapter_config.json`; what follows a zero byte is the adapter's safetensors file in place of one that fits.
pub(super) fn lora_config(data: &[u8]) {
    static BASE: OnceLock<Checkpoint> = OnceLock::new();
    static ADAPTER: OnceLock<Vec<u8>> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let tensors: Vec<_> = expected(CONFIG).into_iter().map(|(name, shape)| (name, "F16", shape)).collect();
        let files = vec![("config.json".to_owned(), CONFIG.into()), ("model.safetensors".to_owned(), file(&tensors).0)];
        Checkpoint::from_bytes(files).unwrap_or_else(|error| panic!("{error}"))
    });
    let fitting = ADAPTER.get_or_init(|| {
        let name = |half: &str| format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight");
        file(&[(name("A"), "F32", vec![4, 2]), (name("B"), "F32", vec![2, 4])]).0
    });
    let (json, tensors) = halves(data);
    let tensors = tensors.map_or_else(|| fitting.clone(), <[u8]>::to_vec);
    let files = vec![("adapter_config.json".to_owned(), json.to_vec()), ("model.safetensors".to_owned(), tensors)];
    let Ok(adapter) = Checkpoint::from_bytes(files) else { return };
    views(&adapter);
    let Ok(lora) = Lora::from_checkpoint(adapter, 1.0) else { return };
    let Ok(config) = Config::load(base) else { panic!("the base's own config") };
    let loras = [lora];
    if let Ok(resolved) = names::resolve(Sources { checkpoint: base, loras: &loras }, &config.dims()) {
        values(Sources { checkpoint: base, loras: &loras }, &config, &resolved);
    }
}

/// `config.json`, and behind a zero byte `generation_config.json`.
pub(super) fn config_json(data: &[u8]) {
    let (json, generation) = halves(data);
    let Ok(mut config) = Config::parse(json, Path::new("config.json")) else { return };
    if let Some(generation) = generation {
        let _ = config.merge_generation(generation, Path::new("generation_config.json"));
    }
    assert_eq!(config.rope_inv_freq().len(), config.head_dim / 2, "one frequency a pair");
    // The list of tensors is as long as the model is deep, and the same for each layer.
    if config.n_layers <= 16 {
        assert!(names::expected(&config.dims()).len() > 9 * config.n_layers);
    }
    if let Ok(json) = config.to_json() {
        assert!(Config::parse(json.as_bytes(), Path::new("config.json")).is_ok(), "{json}");
    }
}

/// Everything that happens to a checkpoint before the GPU.
fn open(files: Vec<(&str, Vec<u8>)>) {
    let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    let Ok(checkpoint) = Checkpoint::from_bytes(files) else { return };
    views(&checkpoint);
    if let Ok(Some(tokenizer)) = guanaco_engine::tokenizer::Tokenizer::from_checkpoint(&checkpoint) {
        text::use_tokenizer(&tokenizer);
    }
    let Ok(config) = Config::load(&checkpoint) else { return };
    let _ = config.rope_inv_freq();
    if let Ok(resolved) = names::resolve(&checkpoint, &config.dims()) {
        values((&checkpoint).into(), &config, &resolved);
    }
}

/// Every tensor as the file has it.
fn views(checkpoint: &Checkpoint) {
    let _ = (checkpoint.rope_layout(), checkpoint.tensor_files().count());
    for name in checkpoint.names() {
        let view = checkpoint.tensor(name).unwrap_or_else(|| panic!("{name} is listed, but not there"));
        view.prefetch(0..usize::MAX);
        if let Ok(data) = view.data()
            && view.strides().is_none()
        {
            assert_eq!(data.len() as u64, view.stored_bytes(), "{name}: {} {:?}", view.dtype, view.shape);
        }
        let _ = view.rows_cols();
        view.release(0..usize::MAX);
    }
}

/// Every tensor of the model as the device gets it, and the plan of its memory.
fn values(sources: Sources<'_>, config: &Config, resolved: &Resolved) {
    for tensor in &resolved.tensors {
        let rows = 0..(MAX_CONVERTED / (4 * padded(tensor.cols))).clamp(1, tensor.rows);
        for target in [Target::F16, Target::F32] {
            let mut dst = vec![0; rows.len() * padded(tensor.cols) * target.size()];
            let _ = tensor.convert(sources, rows.clone(), &mut dst, padded(tensor.cols), target);
        }
        let (row_bytes, scale_bytes) =
            (tensor.format().row_bytes(tensor.cols), tensor.format().scale_words(tensor.cols) * 4);
        let (mut codes, mut scales) = (vec![0; rows.len() * row_bytes], vec![0; rows.len() * scale_bytes]);
        let _ = tensor.pack(sources, rows.clone(), &mut codes, &mut scales);
        tensor.prefetch(sources, rows.clone());
        tensor.release(sources, rows);
        for delta in &tensor.deltas {
            let _ = delta.factors(sources.loras);
        }
    }
    for profile in [Profile::Cpu, Profile::Gpu] {
        let _ = memory_plan(config, resolved, &LoadOptions::default(), profile).to_string();
    }
}

/// The names and shapes of a model's tensors.
fn expected(config: &str) -> Vec<(String, Vec<usize>)> {
    let config = Config::parse(config.as_bytes(), Path::new("config.json"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    names::expected(&config.dims()).into_iter().map(|tensor| (tensor.name, tensor.shape)).collect()
}

/// A safetensors file of ones, and where its data begins.
fn file(tensors: &[(String, &str, Vec<usize>)]) -> (Vec<u8>, usize) {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape) in tensors {
        let begin = data.len();
        for _ in 0..shape.iter().product() {
            match *dtype {
                "F16" => data.extend(half::f16::ONE.to_le_bytes()),
                "F32" => data.extend(1.0_f32.to_le_bytes()),
                _ => data.extend(0_i32.to_le_bytes()),
            }
        }
        let end = data.len();
        entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#));
    }
    let header = format!("{{{}}}", entries.join(","));
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    (file, 8 + header.len())
}

/// The model of width 32 in GPTQ's layout, one group a row; the groups of `q_proj`'s columns come first.
fn gptq_model() -> (Vec<u8>, usize) {
    let mut tensors = Vec::new();
    for (name, shape) in expected(&CONFIG.replace(":2,", ":32,")) {
        let Some(stem) = name.strip_suffix("_proj.weight") else {
            tensors.push((name, "F16", shape));
            continue;
        };
        let part = |part: &str| format!("{stem}_proj.{part}");
        tensors.push((part("g_idx"), "I32", vec![32]));
        tensors.push((part("qweight"), "I32", vec![4, 32]));
        tensors.push((part("qzeros"), "I32", vec![1, 4]));
        tensors.push((part("scales"), "F16", vec![1, 32]));
    }
    tensors.sort_by_key(|(name, ..)| !name.ends_with("q_proj.g_idx"));
    file(&tensors)
}

/// A zip of stored files.
fn stored_zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    let short = |value: usize| (value as u16).to_le_bytes();
    let word = |value: usize| (value as u32).to_le_bytes();
    for (name, data) in files {
        let sizes = [word(data.len()), word(data.len())].concat();
        central.extend([&b"PK\x01\x02\x2D\0\x2D\0"[..], &[0; 12], &sizes, &short(name.len()), &[0; 12]].concat());
        central.extend([&word(out.len())[..], name.as_bytes()].concat());
        out.extend(
            [&b"PK\x03\x04\x2D\0"[..], &[0; 12], &sizes, &short(name.len()), &[0, 0], name.as_bytes(), data].concat(),
        );
    }
    let (start, count) = (out.len(), files.len());
    let counts = [short(count), short(count)].concat();
    out.extend([&central[..], b"PK\x05\x06", &[0; 4], &counts, &word(central.len()), &word(start), &[0, 0]].concat());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the targets wrap around their input is itself read to the end: without this they would fuzz an error message.
    #[test]
    fn what_is_wrapped_around_an_input_fits() {
        let opened = |files: &[(&str, Vec<u8>)]| {
            let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect();
            let checkpoint = Checkpoint::from_bytes(files).unwrap();
            let config = Config::load(&checkpoint).unwrap();
            names::resolve(&checkpoint, &config.dims()).unwrap().tensors.len()
        };
        let config = CONFIG.replace(":2,", ":32,");
        let json = br#"{"bits":4,"group_size":-1}"#.to_vec();
        let gptq =
            [("config.json", config.into()), ("quantize_config.json", json), ("model.safetensors", gptq_model().0)];
        assert_eq!(opened(&gptq), 11);

        let pickle =
            b"\x80\x02}X\x01\0\0\0tctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nHalfStorage\n\
            X\x01\0\0\x000X\x03\0\0\0cpuK\x20tQK\0K\x04K\x08\x86K\x08K\x01\x86\x89}tRs.";
        let zip = stored_zip(&[("a/data.pkl", pickle), ("a/data/0", &[0x3C; 64])]);
        let checkpoint = Checkpoint::from_bytes(vec![("pytorch_model.bin".to_owned(), zip)]).unwrap();
        assert_eq!(checkpoint.tensor("t").unwrap().data().unwrap(), [0x3C; 64]);
        lora_config(br#"{"peft_type":"LORA","r":4,"lora_alpha":8}"#);
    }
}
