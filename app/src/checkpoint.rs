//! Where the model comes from: the path that was asked for, or the one that is part of the program.

use std::path::{Path, PathBuf};

use guanaco_engine::file::Checkpoint;
use guanaco_engine::prompt::read_chat_template;
use guanaco_engine::tokenizer::Tokenizer;
use guanaco_engine::{Error, Result};

/// The files of the model that is part of the program.
const EMBEDDED: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../tiny-guanaco/config.json")),
    ("generation_config.json", include_bytes!("../tiny-guanaco/generation_config.json")),
    ("tokenizer.json", include_bytes!("../tiny-guanaco/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../tiny-guanaco/tokenizer_config.json")),
    ("model.safetensors", include_bytes!("../tiny-guanaco/model.safetensors")),
];

/// The scripted conversation of `guanaco demo`: one JSON object a line.
pub(crate) const DEMO: &str = include_str!("../tiny-guanaco/demo.jsonl");

/// What the embedded model is called in messages.
pub const EMBEDDED_NAME: &str = "tiny-guanaco (embedded)";

/// The checkpoint at `path`, or the embedded one.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn open(path: Option<&Path>) -> Result<Checkpoint> {
    match path {
        Some(path) => Checkpoint::open(path),
        None => Checkpoint::from_static(EMBEDDED),
    }
}

/// The tokenizer of the model at `path`, or the embedded one; None when there is none. The weights may be missing, and `path`
/// may be the tokenizer's own file.
///
/// # Errors
/// As [`Tokenizer::open`].
pub fn tokenizer(path: Option<&Path>) -> Result<Option<Tokenizer>> {
    match path {
        None => Tokenizer::from_checkpoint(&Checkpoint::from_static(EMBEDDED)?),
        Some(path) => Tokenizer::open(&folder(path)?),
    }
}

/// The chat template of the model at `path`; the embedded one has none.
///
/// # Errors
/// As [`read_chat_template`].
pub fn chat_template(path: Option<&Path>) -> Result<Option<String>> {
    path.map_or(Ok(None), |path| read_chat_template(&folder(path)?))
}

/// The folder that `path` is, or lies in.
fn folder(path: &Path) -> Result<PathBuf> {
    let metadata = std::fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
    if metadata.is_dir() {
        return Ok(path.to_owned());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(parent.unwrap_or(Path::new(".")).to_owned())
}

/// What the model at `path` is called in messages: the name of its folder or file.
pub fn name(path: Option<&Path>) -> String {
    let Some(path) = path else { return EMBEDDED_NAME.to_owned() };
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    full.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
