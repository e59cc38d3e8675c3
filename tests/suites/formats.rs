//! Files in, checked tensors out, no GPU: every good checkpoint opens, resolves and converts; every broken one ends in one
//! error that names what is wrong, soon, and without taking memory on the file's word.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use guanaco_engine::file::Checkpoint;
use guanaco_engine::model::Config;
use guanaco_engine::weights::convert::{Target, convert_rows, padded};
use guanaco_engine::weights::names;
use guanaco_tests::{Outcome, Suite, golden_dir, model_in};
use serde::Deserialize;

#[path = "formats/built.rs"]
mod built;
#[path = "formats/counting.rs"]
mod counting;
#[path = "formats/gguf.rs"]
mod gguf;

/// What a broken file may cost.
const MAX_MEMORY: usize = 200 << 20;
const MAX_TIME: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut suite = Suite::new();
    built::cases(&mut suite);
    gguf::cases(&mut suite);
    match golden_dir() {
        None => suite.skip("golden", "no golden folder beside this clone"),
        Some(golden) => {
            golden_cases(&mut suite, &golden);
            malformed_cases(&mut suite, &golden.join("malformed"));
        }
    }
    suite.run(None)
}

fn golden_cases(suite: &mut Suite, golden: &Path) {
    for (prefix, folder) in [("golden", golden.to_owned()), ("odd_but_valid", golden.join("odd_but_valid"))] {
        let mut folders: Vec<_> = std::fs::read_dir(&folder).into_iter().flatten().flatten().collect();
        folders.sort_by_key(std::fs::DirEntry::file_name);
        for entry in folders {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            let has = |file: &str| path.join(file).exists();
            let case = format!("{prefix}/{name}");
            if name.starts_with("gguf_") {
                suite.case(case, move || loads(&model_in(&path)).map(|_| ()));
                continue;
            }
            if !has("config.json") {
                continue;
            }
            if name.starts_with("gptq") {
                let mention = if has("model.safetensors") { "GPTQ" } else { "more than one file" };
                suite.case(case, move || refused(&path, &[mention]));
            } else if has("model.safetensors") || has("model.safetensors.index.json") {
                suite.case(case, move || loads(&path).map(|_| ()));
            } else {
                suite.case(case, move || refused(&path, &["pytorch_model", "safetensors"]));
            }
        }
    }
}

#[derive(Deserialize)]
struct Manifest {
    cases: Vec<Malformed>,
}

#[derive(Deserialize)]
struct Malformed {
    name: String,
    kind: String,
    must: String,
    error_should_mention: Vec<String>,
}

fn malformed_cases(suite: &mut Suite, folder: &Path) {
    let manifest = std::fs::read(folder.join("manifest.json")).context("manifest.json");
    let manifest = manifest.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).context("manifest.json"));
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error) => return suite.case("malformed/manifest", move || Err(error)),
    };
    for case in manifest.cases {
        let (name, path) = (format!("malformed/{}", case.name), folder.join(&case.name));
        let part = case.name.split('_').next().unwrap_or_default();
        match (case.kind.as_str(), part) {
            ("model_dir", "st" | "shard" | "config" | "no") => suite.case(name, move || {
                let mention: Vec<&str> = case.error_should_mention.iter().map(String::as_str).collect();
                if case.must.contains("clamp") { refused_or_warned(&path, &mention) } else { refused(&path, &mention) }
            }),
            // Formats that this version does not read: nothing in them is opened, and the message says what was found.
            ("model_dir", "bin") => suite.case(name, move || refused(&path, &["pytorch_model.bin"])),
            ("gguf_file", _) => suite.case(name, move || {
                let mention: Vec<&str> = case.error_should_mention.iter().map(String::as_str).collect();
                refused(&path.join("model.gguf"), &mention)
            }),
            ("model_dir", "gptq") => suite.skip(name, "GPTQ is not read by this version"),
            ("lora", _) => suite.skip(name, "LoRA adapters are not read by this version"),
            ("tokenizer_file", _) | (_, "tok") => suite.skip(name, "in the tokenizer suite"),
            (kind, _) => {
                let kind = kind.to_owned();
                suite.case(name, move || anyhow::bail!("the manifest has the unknown kind {kind}"));
            }
        }
    }
}

/// Everything that happens to a checkpoint before the GPU; returns the warnings.
fn loads(path: &Path) -> anyhow::Result<Vec<String>> {
    let checkpoint = Checkpoint::open(path)?;
    let config = Config::load(&checkpoint)?;
    let resolved = names::resolve(&checkpoint, &config.dims())?;
    ensure!(resolved.tensors.len() == names::expected(&config.dims()).len(), "not every tensor was found");
    for tensor in &resolved.tensors {
        let view = tensor.view(&checkpoint)?;
        // At most this many bytes at a time, as the upload does.
        let rows_at_once = ((4 << 20) / (2 * padded(tensor.cols))).clamp(1, tensor.rows);
        let mut dst = vec![0; rows_at_once * padded(tensor.cols) * 2];
        for first in (0..tensor.rows).step_by(rows_at_once) {
            let rows = first..(first + rows_at_once).min(tensor.rows);
            let dst = &mut dst[..rows.len() * padded(tensor.cols) * 2];
            convert_rows(&view, rows, dst, padded(tensor.cols), Target::F16)?;
        }
        view.release(0..view.data()?.len());
    }
    ensure!(config.rope_inv_freq().len() == config.head_dim / 2, "one frequency a pair");
    Ok(config.warnings)
}

fn refused(path: &Path, mention: &[&str]) -> Outcome {
    match bounded(|| loads(path))? {
        Ok(_) => anyhow::bail!("{} loads, expected an error", path.display()),
        Err(error) => mentions(&error.to_string(), mention),
    }
}

fn refused_or_warned(path: &Path, mention: &[&str]) -> Outcome {
    match bounded(|| loads(path))? {
        Ok(warnings) => mentions(&warnings.join("\n"), mention),
        Err(error) => mentions(&error.to_string(), mention),
    }
}

fn mentions(message: &str, mention: &[&str]) -> Outcome {
    for word in mention {
        ensure!(message.contains(word), "the message should mention {word:?}: {message}");
    }
    ensure!(message.len() < 1000, "the message has {} bytes: {message}", message.len());
    Ok(())
}

/// Runs `run` within the limits of time and memory.
fn bounded<T>(run: impl FnOnce() -> T) -> anyhow::Result<T> {
    let started = Instant::now();
    let (result, peak) = counting::peak(run);
    let time = started.elapsed();
    ensure!(peak < MAX_MEMORY, "{peak} bytes of memory were taken, expected less than {MAX_MEMORY}");
    ensure!(time < MAX_TIME, "it took {time:?}, expected less than {MAX_TIME:?}");
    Ok(result)
}

/// The path of a temporary folder with these files.
fn folder_of(files: &[(&str, Vec<u8>)]) -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes)?;
    }
    let path = folder.path().to_owned();
    Ok((folder, path))
}
