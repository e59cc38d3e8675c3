//! Files in, checked tensors out, no GPU: every good checkpoint opens, resolves and converts; every broken one ends in one
//! error that names what is wrong, soon, and without taking memory on the file's word.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use guanaco_engine::file::Checkpoint;
use guanaco_engine::model::Config;
use guanaco_engine::weights::convert::{Target, padded};
use guanaco_engine::weights::{Lora, Sources, names};
use guanaco_tests::counting::{self, Counting};
use guanaco_tests::{Outcome, Suite, golden_dir, model_in};
use serde::Deserialize;

#[path = "formats/built.rs"]
mod built;
#[path = "formats/gguf.rs"]
mod gguf;
#[path = "formats/pytorch.rs"]
mod pytorch;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a broken file may cost.
const MAX_MEMORY: usize = 200 << 20;
const MAX_TIME: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let mut suite = Suite::new();
    built::cases(&mut suite);
    pytorch::cases(&mut suite);
    gguf::cases(&mut suite);
    match golden_dir() {
        None => suite.skip("golden", "no golden folder beside this clone"),
        Some(golden) => {
            golden_cases(&mut suite, &golden);
            pytorch::twins(&mut suite, "golden/bin_variants", &golden.join("bin_variants"));
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
            if path.join("config.json").exists() || name.starts_with("gguf_") {
                suite.case(format!("{prefix}/{name}"), move || loads(&model_in(&path)).map(|_| ()));
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
            ("model_dir", "st" | "shard" | "config" | "no" | "gptq") => suite.case(name, move || {
                let mention: Vec<&str> = case.error_should_mention.iter().map(String::as_str).collect();
                if case.must.contains("clamp") { refused_or_warned(&path, &mention) } else { refused(&path, &mention) }
            }),
            ("model_dir", "bin") => suite.case(name, move || {
                let mention: Vec<&str> = case.error_should_mention.iter().map(String::as_str).collect();
                if case.must.contains("load normally") {
                    bounded(|| loads(&path))??;
                } else {
                    refused(&path, &mention)?;
                }
                pytorch::nothing_was_run(&path)
            }),
            ("gguf_file", _) => suite.case(name, move || {
                let mention: Vec<&str> = case.error_should_mention.iter().map(String::as_str).collect();
                refused(&path.join("model.gguf"), &mention)
            }),
            ("lora", _) => suite.case(name, move || {
                let mention: Vec<&str> = case.error_should_mention.iter().map(String::as_str).collect();
                refused(&path, &mention)
            }),
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
    // The malformed LoRAs lie in their base's folder.
    let adapter = path.join("adapter");
    let loras = if adapter.is_dir() { vec![Lora::open(&adapter, 1.0)?] } else { Vec::new() };
    let resolved = names::resolve(Sources { checkpoint: &checkpoint, loras: &loras }, &config.dims())?;
    ensure!(resolved.tensors.len() == names::expected(&config.dims()).len(), "not every tensor was found");
    for delta in resolved.tensors.iter().flat_map(|tensor| &tensor.deltas) {
        delta.factors(&loras)?;
    }
    for tensor in &resolved.tensors {
        // At most this many bytes at a time, as the upload does; converted, and as the device gets it.
        let rows_at_once = ((4 << 20) / (2 * padded(tensor.cols))).clamp(1, tensor.rows);
        let (row_bytes, scale_bytes) =
            (tensor.format().row_bytes(tensor.cols), tensor.format().scale_words(tensor.cols) * 4);
        for first in (0..tensor.rows).step_by(rows_at_once) {
            let rows = first..(first + rows_at_once).min(tensor.rows);
            let mut dst = vec![0; rows.len() * padded(tensor.cols) * 2];
            tensor.convert((&checkpoint).into(), rows.clone(), &mut dst, padded(tensor.cols), Target::F16)?;
            let (mut codes, mut scales) = (vec![0; rows.len() * row_bytes], vec![0; rows.len() * scale_bytes]);
            tensor.pack((&checkpoint).into(), rows.clone(), &mut codes, &mut scales)?;
            tensor.release((&checkpoint).into(), rows);
        }
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
