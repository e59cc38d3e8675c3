//! The folder of what this program keeps between runs, all of which can be deleted at any time.

use std::path::PathBuf;

/// `guanaco` in the user's cache folder (`~/.cache`, `~/Library/Caches`, `%LOCALAPPDATA%`), or what `GUANACO_CACHE` names. None where
/// it is set to nothing, and where there is no home folder: then nothing is kept.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os("GUANACO_CACHE") {
        Some(folder) => Some(PathBuf::from(folder)).filter(|folder| !folder.as_os_str().is_empty()),
        None => Some(directories::BaseDirs::new()?.cache_dir().join("guanaco")),
    }
}
