//! Which files of a folder hold the tensors, and which tensor is in which: one file, or many with an index
//! (`model.safetensors.index.json` or `pytorch_model.bin.index.json`, as transformers writes them).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::folder::Folder;
use super::{Place, TensorFile};
use crate::error::{Error, Result};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
const PYTORCH: [&str; 2] = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
/// Beginnings of names that other files beside a model have: adapters, and what transformers' trainer saves.
const NOT_A_MODEL: [&str; 6] = ["adapter_", "training_args", "optimizer", "scheduler", "scaler", "rng_state"];
/// Ten times the index of the largest LLaMA, and small enough that a parsed one takes tens of megabytes.
const MAX_INDEX: usize = 4 << 20;
/// The most shards of one checkpoint.
const MAX_SHARDS: usize = 4096;

/// The tensor files of a checkpoint, and where each tensor is in them.
pub(super) type Opened = (Vec<TensorFile>, BTreeMap<String, Place>);

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens the tensor files of `folder`: `only` when given, else what [`choose`] finds.
pub(super) fn open(folder: &Folder, only: Option<&str>) -> Result<Opened> {
    let name = match only {
        Some(name) => name.to_owned(),
        None => choose(folder)?,
    };
    if name.ends_with(".index.json") { open_index(folder, &name) } else { open_single(folder, &name) }
}

/// The file to open in a folder: one with a name that transformers gives, safetensors first, since nothing in it can run; else
/// the only one that can be the model.
fn choose(folder: &Folder) -> Result<String> {
    for name in [SINGLE, INDEX].iter().chain(&PYTORCH) {
        if folder.has(name) {
            return Ok((*name).to_owned());
        }
    }
    let names = folder.names()?;
    if let Some(name) = named_by_quantizer(folder, &names)? {
        return Ok(name);
    }
    let with = |endings: &'static [&str]| {
        let is_other = |name: &&String| NOT_A_MODEL.iter().any(|start| name.starts_with(start));
        let ends = move |name: &&String| endings.iter().any(|ending| name.ends_with(ending));
        names.iter().filter(ends).filter(move |name| !is_other(name))
    };
    for endings in [&[".safetensors"][..], &[".bin", ".pt", ".pth"]] {
        let mut found = with(endings);
        match (found.next(), found.next()) {
            (None, _) => {}
            (Some(one), None) => return Ok(one.clone()),
            (Some(one), Some(two)) => {
                let detail = format!(
                    "more than one file could be the model ({one}, {two}, …): give the path of the one to open"
                );
                return Err(Error::format(&folder.path(""), detail));
            }
        }
    }
    if let Some(name) = with(&[".gguf", ".ggml"]).next() {
        let detail = format!(
            "{name} is a GGUF file, and this version reads safetensors and PyTorch files: download the original checkpoint"
        );
        return Err(Error::format(&folder.path(name), detail));
    }
    let lora = names.iter().any(|name| name.starts_with("adapter_model"));
    let found = if lora { "only a LoRA adapter, which needs its base model" } else { "none of them" };
    let detail = format!("no weights: expected {SINGLE}, {INDEX}, {} or {}, found {found}", PYTORCH[0], PYTORCH[1]);
    Err(Error::format(&folder.path(""), detail))
}

/// The file that AutoGPTQ's `quantize_config.json` names (`model_file_base_name`), or that has its usual name.
fn named_by_quantizer(folder: &Folder, names: &[String]) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Config {
        model_file_base_name: Option<String>,
    }
    let Some(bytes) = folder.read("quantize_config.json", MAX_INDEX)? else { return Ok(None) };
    // What else is wrong with it is said where it is read for itself.
    let base = serde_json::from_slice::<Config>(&bytes).ok().and_then(|config| config.model_file_base_name);
    let is_named = |name: &&String| {
        let stem = [".safetensors", ".pt", ".bin"].iter().find_map(|ending| name.strip_suffix(ending));
        stem.is_some_and(|stem| base.as_deref() == Some(stem) || stem.starts_with("gptq_model-"))
    };
    Ok(names.iter().find(is_named).cloned())
}

fn open_single(folder: &Folder, name: &str) -> Result<Opened> {
    let file = TensorFile::read(folder.open(name)?)?;
    let places = (0..file.tensors().len()).map(|tensor| Place { file: 0, tensor });
    let index = file.tensors().iter().map(|tensor| tensor.name.clone()).zip(places).collect();
    Ok((vec![file], index))
}

fn open_index(folder: &Folder, index_name: &str) -> Result<Opened> {
    let path = folder.path(index_name);
    let fail = |detail: String| Err(Error::format(&path, detail));
    let Some(bytes) = folder.read(index_name, MAX_INDEX)? else {
        return fail("there is no such file".to_owned());
    };
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    let weight_map = match serde_json::from_slice::<Index>(bytes) {
        Ok(index) => index.weight_map,
        Err(error) => return fail(format!("the index is not valid, expected an object with \"weight_map\": {error}")),
    };
    if weight_map.is_empty() {
        return fail("weight_map is empty".to_owned());
    }

    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for shard in weight_map.values() {
        let next = numbers.len();
        numbers.entry(shard).or_insert(next);
    }
    if numbers.len() > MAX_SHARDS {
        return fail(format!("{} shards, expected at most {MAX_SHARDS}", numbers.len()));
    }
    let mut shards: Vec<&str> = vec![""; numbers.len()];
    for (&shard, &number) in &numbers {
        if let Err(reason) = folder.check_inside(shard) {
            return fail(format!("the index leads out of the checkpoint: {reason}"));
        }
        shards[number] = shard;
    }
    let mut files = Vec::with_capacity(shards.len());
    for shard in shards.iter().copied() {
        if !folder.has(shard) {
            let detail = format!("shard {shard} is missing, {index_name} lists it: download it");
            return Err(Error::format(&folder.path(shard), detail));
        }
        files.push(TensorFile::read(folder.open(shard)?)?);
    }

    let mut found: BTreeMap<String, Place> = BTreeMap::new();
    for (file, opened) in files.iter().enumerate() {
        for (tensor, info) in opened.tensors().iter().enumerate() {
            let listed = weight_map.get(&info.name).and_then(|shard| numbers.get(shard.as_str()));
            if listed.is_none_or(|&listed| listed == file) {
                found.entry(info.name.clone()).or_insert(Place { file, tensor });
            }
        }
    }
    for (name, shard) in &weight_map {
        if !found.contains_key(name) {
            let real = files.iter().position(|file| file.tensors().iter().any(|tensor| tensor.name == *name));
            let real = real.map_or("in none of the shards".to_owned(), |file| format!("in {}", shards[file]));
            return Err(Error::tensor(&path, name, format!("the index says that it is in {shard}, but it is {real}")));
        }
    }
    Ok((files, found))
}
