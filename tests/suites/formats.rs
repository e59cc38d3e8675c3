//! Files in, checked tensors out, no GPU: every checkpoint of the golden set opens.

use std::path::Path;
use std::process::ExitCode;

use anyhow::ensure;
use guanaco_engine::file::Checkpoint;
use guanaco_engine::model::Config;
use guanaco_engine::weights::names;
use guanaco_tests::{Outcome, Suite, golden_dir};

fn main() -> ExitCode {
    let mut suite = Suite::new();
    match golden_dir() {
        None => suite.skip("golden", "no golden folder beside this clone"),
        Some(golden) => {
            for (name, path) in checkpoints(&golden).into_iter().chain(checkpoints(&golden.join("odd_but_valid"))) {
                suite.case(name, move || opens(&path));
            }
        }
    }
    suite.run(None)
}

fn checkpoints(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let model = ["model.safetensors", "model.safetensors.index.json"];
            let gptq = entry.file_name().to_string_lossy().starts_with("gptq");
            !gptq && model.iter().any(|name| entry.path().join(name).exists())
        })
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect();
    found.sort();
    found
}

fn opens(path: &Path) -> Outcome {
    let checkpoint = Checkpoint::open(path)?;
    let config = Config::load(&checkpoint)?;
    let resolved = names::resolve(&checkpoint, &config.dims())?;
    ensure!(resolved.tensors.len() == names::expected(&config.dims()).len(), "not every tensor was found");
    Ok(())
}
