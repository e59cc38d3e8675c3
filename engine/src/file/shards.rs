//! Which files of a folder hold the tensors, and which tensor is in which: one file, many with an index
//! (`model.safetensors.index.json` or `pytorch_model.bin.index.json`, as transformers writes them), or many whose names say their
//! order (GGUF, as llama.cpp's `gguf-split` writes them:
//! <https://github.com/ggml-org/llama.cpp/tree/master/tools/gguf-split>).

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

/// The most tensors of all shards together: ten times those of the largest mixture of experts.
const MAX_TENSORS: usize = 1 << 20;

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
    let is_part = |name: &&String| name.starts_with("consolidated.") && name.ends_with(".pth");
    let has_params = names.iter().any(|name| name == "params.json") && !folder.has("config.json");
    if let Some(name) = names.iter().find(is_part).filter(|_| has_params) {
        let detail = "this is Meta's own format (consolidated.*.pth, params.json), which is not read: use the repository \
                      of the same model for transformers, whose name ends in -hf or has a config.json";
        return Err(Error::format(&folder.path(name), detail));
    }
    if let Some(name) = named_by_quantizer(folder, &names)? {
        return Ok(name);
    }
    let with = |endings: &'static [&str]| {
        let is_other = |name: &&String| NOT_A_MODEL.iter().any(|start| name.starts_with(start));
        let ends = move |name: &&String| endings.iter().any(|ending| name.ends_with(ending));
        // Of a split GGUF only the first part stands for a model.
        let is_first = |name: &&String| part_of(name).is_none_or(|part| part.number == 1);
        names.iter().filter(ends).filter(move |name| !is_other(name) && is_first(name))
    };
    for endings in [&[".safetensors"][..], &[".bin", ".pt", ".pth"], &[".gguf"]] {
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
    let lora = names.iter().any(|name| name.starts_with("adapter_model"));
    let found = if lora { "only a LoRA adapter, which needs its base model" } else { "none of them" };
    let [single, index] = PYTORCH;
    let detail = format!("no weights: expected {SINGLE}, {INDEX}, {single}, {index} or one .gguf file, found {found}");
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
    if let Some(count) = split_count(&file)? {
        return open_split(folder, name, file, count);
    }
    let places = (0..file.tensors().len()).map(|tensor| Place { file: 0, tensor });
    let index = file.tensors().iter().map(|tensor| tensor.name.clone()).zip(places).collect();
    Ok((vec![file], index))
}

const SPLIT_COUNT: &str = "split.count";
const SPLIT_NUMBER: &str = "split.no";

/// What the name of one part of a split GGUF says: `STEM-00001-of-00003.gguf`.
struct Part<'a> {
    stem: &'a str,
    /// From 1 on.
    number: usize,
    count: usize,
}

fn part_of(name: &str) -> Option<Part<'_>> {
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(number) || !digits(count) {
        return None;
    }
    Some(Part { stem, number: number.parse().ok()?, count: count.parse().ok()? })
}

/// The number of files that `file` says to be one of, when there are more than one.
fn split_count(file: &TensorFile) -> Result<Option<usize>> {
    let Some(metadata) = file.metadata() else { return Ok(None) };
    let count = metadata.whole(SPLIT_COUNT)?.filter(|count| *count > 1);
    match count.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(count)) if count <= MAX_SHARDS => Ok(Some(count)),
        _ => Err(metadata.error(SPLIT_COUNT, format!("expected at most {MAX_SHARDS} files"))),
    }
}

/// Opens the other files of a split GGUF: the first holds the metadata, each some of the tensors.
fn open_split(folder: &Folder, name: &str, first: TensorFile, count: usize) -> Result<Opened> {
    let path = folder.path(name);
    let stem = match part_of(name) {
        Some(Part { stem, number: 1, count: said }) if said == count => stem,
        Some(Part { stem, count: said, .. }) if said == count => {
            let detail = format!("the model is in {count} files: give the first, {stem}-00001-of-{count:05}.gguf");
            return Err(Error::format(&path, detail));
        }
        _ => {
            let detail = format!("{SPLIT_COUNT} is {count}, but the name does not end in -00001-of-{count:05}.gguf");
            return Err(Error::format(&path, detail));
        }
    };
    let mut files = vec![first];
    for number in 2..=count {
        let part = format!("{stem}-{number:05}-of-{count:05}.gguf");
        if !folder.has(&part) {
            let detail = format!("the model is in {count} files ({SPLIT_COUNT}), and this one is missing: download it");
            return Err(Error::format(&folder.path(&part), detail));
        }
        files.push(TensorFile::read(folder.open(&part)?)?);
    }
    let mut index = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        let Some(metadata) = file.metadata() else {
            return Err(Error::format(file.bytes.path(), "expected a part of a GGUF model, got another format"));
        };
        let said = (metadata.whole(SPLIT_NUMBER)?, split_count(file)?);
        if said != (Some(number as u64), Some(count)) {
            return Err(
                metadata.error(SPLIT_NUMBER, format!("expected part {number} of {count} (from 0 on), got {said:?}"))
            );
        }
        for (tensor, info) in file.tensors().iter().enumerate() {
            if index.insert(info.name.clone(), Place { file: number, tensor }).is_some() {
                return Err(Error::tensor(file.bytes.path(), &info.name, "is in an earlier part of the model too"));
            }
        }
    }
    Ok((files, index))
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
    let (mut known, mut n_tensors) = (BTreeMap::new(), 0_usize);
    for shard in shards.iter().copied() {
        if !folder.has(shard) {
            let detail = format!("shard {shard} is missing, {index_name} lists it: download it");
            return Err(Error::format(&folder.path(shard), detail));
        }
        if let Some(identity) = folder.identity(shard)
            && let Some(other) = known.insert(identity, shard)
        {
            return fail(format!("shards {other} and {shard} are one file, expected each under one name"));
        }
        let file = TensorFile::read(folder.open(shard)?)?;
        n_tensors += file.tensors().len();
        if n_tensors > MAX_TENSORS {
            return fail(format!("the shards up to {shard} have {n_tensors} tensors, expected at most {MAX_TENSORS}"));
        }
        if file.metadata().is_some() {
            return fail(format!("shard {shard} is a GGUF file, which stands for a model of its own"));
        }
        files.push(file);
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
