//! The folder of a checkpoint: on disk, or files in memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::FileBytes;
use super::foreign;
use super::map::InMemory;
use crate::error::{Error, Result};

/// The most names that a listing keeps: more than any checkpoint has files.
const MAX_LISTED: usize = 4096;

/// Where a checkpoint's files are.
#[derive(Debug)]
pub(super) enum Folder {
    /// A folder on disk.
    Disk(PathBuf),
    /// Files in memory: names and bytes.
    Memory {
        /// What stands in messages in place of a path.
        label: &'static str,
        files: Vec<(Cow<'static, str>, InMemory)>,
    },
}

/// Device and number of a file.
#[cfg(unix)]
pub(super) type Identity = (u64, u64);
/// A file's path without links.
#[cfg(not(unix))]
pub(super) type Identity = PathBuf;

impl Folder {
    /// The path of `name` in this folder, for messages and for opening.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Disk(folder) => folder.join(name),
            Self::Memory { label, .. } => Path::new(label).join(name),
        }
    }

    /// Whether there is something of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Disk(folder) => folder.join(name).exists(),
            Self::Memory { .. } => self.in_memory(name).is_some(),
        }
    }

    /// The names in the folder, sorted.
    pub(super) fn names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = match self {
            Self::Disk(folder) => {
                let entries = std::fs::read_dir(folder).map_err(|error| Error::io("list", folder, error))?;
                entries.take(MAX_LISTED).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
            }
            Self::Memory { files, .. } => files.iter().map(|(name, _)| name.clone().into_owned()).collect(),
        };
        names.sort();
        Ok(names)
    }

    fn in_memory(&self, name: &str) -> Option<&InMemory> {
        let Self::Memory { files, .. } = self else { return None };
        files.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes)
    }

    /// Maps the file `name`.
    pub(super) fn open(&self, name: &str) -> Result<FileBytes> {
        let path = self.path(name);
        match self {
            Self::Disk(_) => FileBytes::open(&path),
            Self::Memory { .. } => match self.in_memory(name) {
                Some(bytes) => Ok(FileBytes::in_memory(path, bytes.clone())),
                None => Err(Error::format(&path, "the model in memory has no such file")),
            },
        }
    }

    /// Reads a whole file of text or of a tokenizer; None when there is none. At most `limit` bytes are taken, whatever the
    /// file system says about its length. Pointers and web pages in the file's place are refused by name.
    pub(super) fn read(&self, name: &str, limit: usize) -> Result<Option<Cow<'static, [u8]>>> {
        let path = self.path(name);
        let bytes = match self {
            Self::Memory { .. } => match self.in_memory(name) {
                Some(InMemory::Static(bytes)) => Cow::Borrowed(*bytes),
                Some(InMemory::Shared(bytes)) => Cow::Owned(bytes.to_vec()),
                None => return Ok(None),
            },
            Self::Disk(_) => {
                let metadata = match std::fs::metadata(&path) {
                    Ok(metadata) => metadata,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(Error::io("open", &path, error)),
                };
                if !metadata.is_file() {
                    return Err(Error::format(&path, "expected a regular file, got a folder or a device"));
                }
                let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
                let mut bytes = Vec::new();
                file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| Error::io("read", &path, error))?;
                Cow::Owned(bytes)
            }
        };
        if bytes.len() > limit {
            let limit = limit >> 20;
            return Err(Error::format(
                &path,
                format!("the file is larger than {limit} MiB, which no such file should be"),
            ));
        }
        if bytes.is_empty() {
            return Err(Error::format(&path, "the file is empty (0 bytes): download it again"));
        }
        match foreign::describe(&bytes) {
            Some(what) => Err(Error::format(&path, what)),
            None => Ok(Some(bytes)),
        }
    }

    /// The file behind `name`, whatever links lead to it: equal for two names of one file. None where the system does not tell.
    pub(super) fn identity(&self, name: &str) -> Option<Identity> {
        let Self::Disk(folder) = self else { return None };
        let path = folder.join(name);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            std::fs::metadata(&path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
        }
        #[cfg(not(unix))]
        path.canonicalize().ok()
    }

    /// Checks that `name`, as a shard index spells it, stays inside this folder: refused are absolute paths, `..`, and links
    /// that lead out. One way out is legitimate: the cache of `huggingface_hub` keeps `snapshots/REVISION/NAME` as links to
    /// `blobs/HASH` beside `snapshots` (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).
    pub(super) fn check_inside(&self, name: &str) -> Result<(), String> {
        let relative = Path::new(name);
        // One spelling for each file: components skip empty parts and dots.
        let is_plain = || name.split('/').eq(relative.components().map(|part| part.as_os_str()));
        if name.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) || !is_plain() {
            return Err(format!("{name:?} is not a file name inside the folder"));
        }
        let Self::Disk(folder) = self else { return Ok(()) };
        // A file that does not exist leads nowhere; opening it reports that with its name.
        let (Ok(target), Ok(home)) = (folder.join(relative).canonicalize(), folder.canonicalize()) else {
            return Ok(());
        };
        let blobs = home
            .parent()
            .filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"))
            .and_then(Path::parent)
            .map(|cache| cache.join("blobs"));
        if target.starts_with(&home) || blobs.is_some_and(|blobs| target.starts_with(blobs)) {
            return Ok(());
        }
        Err(format!("{name:?} is a link that leads out of the folder"))
    }
}
