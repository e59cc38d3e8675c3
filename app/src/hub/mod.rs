//! Models by their name on the Hugging Face hub: `owner/name`, or `owner/name@revision`.
//!
//! Finding one reads the cache that all of the hub's programs share, and never the network; `guanaco pull` (feature `hub`)
//! fills that cache.

pub mod cache;
pub mod name;

#[cfg(feature = "hub-plain")]
mod blob;
#[cfg(feature = "hub-plain")]
pub mod client;
#[cfg(feature = "hub-plain")]
mod files;
#[cfg(feature = "hub-plain")]
pub mod pull;

use std::path::{Path, PathBuf};

use anyhow::bail;

pub use cache::Cache;
pub use name::ModelName;

/// What a `--model` turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The folder or file to open.
    pub path: PathBuf,
    /// What must be said about a model of that name.
    pub note: Option<String>,
}

/// The path that `model` means: itself where there is such a file or folder, or else the folder in the cache of the model of
/// that name. A path that is neither comes back as it is, for the engine's own error.
///
/// # Errors
/// When it is the name of a model that is not in the cache; when it is only `guanaco`, which two families are called.
pub fn resolve(model: &Path) -> anyhow::Result<Found> {
    let as_it_is = |path: &Path| Found { path: path.to_owned(), note: None };
    let Some(text) = model.to_str() else { return Ok(as_it_is(model)) };
    if model.exists() {
        return Ok(as_it_is(model));
    }
    if let Some(candidates) = name::candidates(text) {
        bail!("there is no file or folder \"{text}\", and {candidates}");
    }
    let Ok(name) = text.parse::<ModelName>() else { return Ok(as_it_is(model)) };
    let cache = Cache::from_env()?;
    match cache.find(&name) {
        Some(path) => Ok(Found { path, note: name.note() }),
        None => {
            let next = if cfg!(feature = "hub-plain") {
                format!("`guanaco pull {name}` downloads it")
            } else {
                "download it with `hf download` (this program was built without `guanaco pull`)".to_owned()
            };
            bail!(
                "there is no file or folder \"{name}\", and no model of that name in the Hugging Face cache: {next}; searched: {}",
                cache.snapshots(&name).display()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_wins_and_what_is_no_name_stays_a_path() {
        for path in ["src", "src/hub", "no/such/model", "model.safetensors", "./guanaco", "a//b"] {
            assert_eq!(resolve(Path::new(path)).unwrap(), Found { path: path.into(), note: None });
        }
        for bare in ["guanaco", "Guanaco-7B"] {
            let error = resolve(Path::new(bare)).unwrap_err().to_string();
            assert!(error.contains("JosephusCheung/Guanaco") && error.contains("timdettmers/guanaco-7b"), "{error}");
        }
    }
}
