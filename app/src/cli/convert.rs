//! `guanaco convert`: the fp16 safetensors twin of any checkpoint.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::file::{Checkpoint, write_file};
use guanaco_engine::model::{Config, LoadProgress};
use guanaco_engine::tokenizer::Tokenizer;
use guanaco_engine::weights::export::write_f16;
use serde::Serialize;
use serde_json::Value;

use super::devices::size;
use super::globals::found;
use super::progress::{LoadBar, until_interrupted};
use super::{Globals, Interrupted, note, output};
use crate::checkpoint::Files;

/// Writes a checkpoint as one fp16 safetensors file, whatever it was stored as
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco convert models/guanaco-7b guanaco-fp16/model.safetensors
  guanaco convert model.Q4_K_M.gguf llama/model.safetensors
  guanaco convert base merged/model.safetensors --lora my-lora=0.8

The tensors have their names in transformers. config.json and the tokenizer's files are put beside them where there are none
yet. Everything is streamed, and each file appears under its name only when it is whole.

--json: {\"path\":…,\"tensors\":N,\"bytes\":N,\"seconds\":…,\"beside\":[names of the other files that were written]}")]
pub struct Args {
    /// The checkpoint: a folder, a file, or OWNER/NAME of the cache
    #[arg(value_name = "IN", value_hint = clap::ValueHint::AnyPath)]
    pub input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT.safetensors", value_hint = clap::ValueHint::FilePath)]
    pub output: PathBuf,
    /// Replaces the file if it is there
    #[arg(long)]
    pub force: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    path: String,
    tensors: usize,
    bytes: u64,
    seconds: f64,
    beside: Vec<String>,
}

/// Files that go along as they are.
const SIDE_FILES: &[&str] = &[
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// Runs the subcommand.
///
/// # Errors
/// What is wrong with the checkpoint, or with the place to write to.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let Args { input, output: path, .. } = &args;
    ensure!(
        path.extension().is_some_and(|extension| extension == "safetensors"),
        "expected a file name that ends in .safetensors, got {}",
        path.display()
    );
    ensure!(args.force || !path.exists(), "{} is there already; --force replaces it", path.display());
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = Files::open(Some(&found(input)?), &globals.loras()?, None, None)?;
    // Before the long work: there may be no words for it.
    let tied_embeddings = files.tensors.is_tied();
    let config = Config { tied_embeddings, ..files.config.clone() };
    let own_config = files.checkpoint.metadata().map(|_| config.to_json()).transpose()?;
    let inside = files.checkpoint.tensor_files().any(|file| same_file(file.path(), path));
    ensure!(!inside, "{} is one of the files to read", path.display());
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;

    let (start, total) = (Instant::now(), files.tensors.stored_bytes());
    let mut bar = LoadBar::named("converting");
    let stop = until_interrupted()?;
    let whole = write_f16(files.sources(), &files.config.dims(), &files.tensors, path, &mut |done| {
        bar.update(LoadProgress { done, total });
        stop()
    })?;
    drop(bar);
    if !whole {
        note::dim("stopped; nothing was written");
        bail!(Interrupted);
    }
    let beside = write_beside(&files.checkpoint, own_config, tied_embeddings, folder)?;
    let report = Report {
        path: path.display().to_string(),
        tensors: files.tensors.tensors.len(),
        bytes: std::fs::metadata(path)?.len(),
        seconds: start.elapsed().as_secs_f64(),
        beside,
    };
    if args.json {
        return output::json(&report);
    }
    let Report { tensors, bytes, seconds, .. } = &report;
    let rate = total as f64 / 1e9 / seconds.max(1e-9);
    let beside =
        if report.beside.is_empty() { String::new() } else { format!("beside it: {}\n", report.beside.join(", ")) };
    output::text(&format!(
        "{}: {tensors} tensors, {}, in {seconds:.1} s ({rate:.2} GB/s read)\n{beside}",
        report.path,
        size(*bytes)
    ))
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Puts what belongs to the weights beside them, where there is no such file yet; returns the names.
fn write_beside(
    checkpoint: &Checkpoint,
    own_config: Option<String>,
    tied: bool,
    folder: &Path,
) -> anyhow::Result<Vec<String>> {
    let mut written = Vec::new();
    let mut write = |name: &str, bytes: &[u8]| -> anyhow::Result<()> {
        if !folder.join(name).exists() {
            write_file(&folder.join(name), bytes)?;
            written.push(name.to_owned());
        }
        Ok(())
    };
    if let Some(config) = own_config {
        write("config.json", config.as_bytes())?;
        for (name, bytes) in Tokenizer::side_files(checkpoint)? {
            write(name, &bytes)?;
        }
        return Ok(written);
    }
    for name in ["config.json"].iter().chain(SIDE_FILES) {
        match checkpoint.file_bytes(name)? {
            Some(bytes) if *name == "config.json" => write(name, plain_config(&bytes, tied)?.as_bytes())?,
            Some(bytes) => write(name, &bytes)?,
            None => {}
        }
    }
    Ok(written)
}

/// A `config.json` that says fp16 and nothing of a quantisation.
fn plain_config(bytes: &[u8], tied: bool) -> anyhow::Result<String> {
    let mut config: Value = serde_json::from_slice(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes))?;
    if let Some(fields) = config.as_object_mut() {
        fields.remove("quantization_config");
        fields.insert("torch_dtype".to_owned(), "float16".into());
        fields.insert("tie_word_embeddings".to_owned(), tied.into());
    }
    Ok(serde_json::to_string_pretty(&config)? + "\n")
}
