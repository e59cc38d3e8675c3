//! A file that is there while a driver lists its adapters. A driver that ends the whole program leaves it behind, and so the next
//! start knows which backend to leave out.
//!
//! Who lists holds a lock on the file, which the system takes away when the program ends: a second program that starts meanwhile
//! sees the lock and does not take the first for one that has crashed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// The file of this start; away when dropped.
#[derive(Debug)]
pub(super) struct StartMarker {
    file: File,
    path: PathBuf,
}

/// What the file of an earlier start says.
#[derive(Debug)]
pub(super) enum Start {
    /// The backend may be opened, and the marker is to be dropped afterwards.
    Marked(StartMarker),
    /// The backend may be opened without a marker: another start holds it, or the folder cannot be written to.
    Unmarked,
    /// An earlier start ended inside the driver: what to tell the user.
    Crashed(String),
}

impl StartMarker {
    /// Marks in `folder` that `backend` lists its adapters. One that was asked for by name `is_named`, and is tried in any case.
    pub(super) fn set(folder: &Path, backend: &str, is_named: bool) -> Start {
        let path = folder.join(format!("listing-{backend}"));
        match Self::write(&path, is_named) {
            Ok(Some(file)) => Start::Marked(Self { file, path }),
            Ok(None) => Start::Crashed(format!(
                "{backend} is left out: an earlier start ended while its driver listed the adapters, so the driver may be broken; \
                 update it, and try again with `--adapter {backend}` or by deleting the file {}",
                path.display()
            )),
            Err(reason) => {
                tracing::debug!("no start marker for {backend}: {reason}; file: {}", path.display());
                Start::Unmarked
            }
        }
    }

    /// The marked file, locked; None where it was marked already and `is_named` is false.
    fn write(path: &Path, is_named: bool) -> Result<Option<File>, String> {
        let failed = |error: std::io::Error| error.to_string();
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(failed)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => "another start lists the adapters".to_owned(),
            TryLockError::Error(error) => failed(error),
        })?;
        // Empty is one that another start has just made or is about to remove.
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        if !text.is_empty() {
            return Ok(is_named.then_some(file));
        }
        file.write_all(b"a driver lists its adapters\n").and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Some(file))
    }
}

impl Drop for StartMarker {
    fn drop(&mut self) {
        let removed = self.file.set_len(0).and_then(|()| std::fs::remove_file(&self.path));
        if let Err(error) = removed {
            tracing::debug!("the start marker stays: {error}; file: {}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Start, StartMarker};

    #[test]
    fn a_start_that_ended_inside_the_driver_is_told_until_it_is_tried_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        let Start::Marked(marker) = StartMarker::set(&folder, "vulkan", false) else { panic!("the first start") };
        let path = folder.join("listing-vulkan");
        assert!(path.exists());
        assert!(matches!(StartMarker::set(&folder, "vulkan", false), Start::Unmarked), "one more meanwhile");
        assert!(matches!(StartMarker::set(&folder, "dx12", false), Start::Marked(_)), "each backend has its own");
        drop(marker);
        assert!(!path.exists());

        // A program that ends does not drop, and the system takes its lock away.
        std::fs::write(&path, "a driver lists its adapters\n").unwrap();
        let Start::Crashed(why) = StartMarker::set(&folder, "vulkan", false) else { panic!("not seen") };
        assert!(
            why.contains("vulkan is left out") && why.contains("--adapter vulkan") && why.contains("listing-vulkan")
        );
        assert!(matches!(StartMarker::set(&folder, "vulkan", false), Start::Crashed(_)), "until it is tried");
        assert!(matches!(StartMarker::set(&folder, "vulkan", true), Start::Marked(_)));
        assert!(matches!(StartMarker::set(&folder, "vulkan", false), Start::Marked(_)), "it has worked");
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_stops_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(StartMarker::set(file.path(), "vulkan", false), Start::Unmarked));
    }

    #[test]
    fn an_empty_file_is_no_crash() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("listing-gl"), "").unwrap();
        assert!(matches!(StartMarker::set(folder.path(), "gl", false), Start::Marked(_)));
    }
}
