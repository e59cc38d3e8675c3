//! The bytes of one file: a read-only memory map, or bytes in memory: a part of the program (the embedded model), or what somebody
//! hands over.
//!
//! This is the one place with `unsafe` for memory maps. A map has one hazard that no check can remove: when another
//! process shortens the file while it is mapped, the next access to the lost part ends the program with a bus error. It
//! cannot give wrong Rust values of other types, because everything above reads plain bytes.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::error::{Error, Result};

/// The bytes of one file, with its path for messages.
#[derive(Debug)]
pub struct FileBytes {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Map(Mmap),
    Memory(InMemory),
}

/// Bytes that no file on disk holds.
#[derive(Debug, Clone)]
pub(super) enum InMemory {
    /// A part of the program.
    Static(&'static [u8]),
    /// Somebody's own.
    Shared(Arc<[u8]>),
}

impl InMemory {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Static(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl FileBytes {
    /// Maps `path` into memory. Nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened or mapped; [`Error::Format`] when it is not a regular file or is empty.
    pub fn open(path: &Path) -> Result<Self> {
        // Asked before opening, since opening a pipe waits for its writer.
        let metadata = std::fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
        if !metadata.is_file() {
            return Err(Error::format(path, "expected a regular file, got a folder or a device"));
        }
        if metadata.len() == 0 {
            return Err(Error::format(path, "the file is empty (0 bytes): download it again"));
        }
        let file = File::open(path).map_err(|error| Error::io("open", path, error))?;
        Self::map(path.to_owned(), &file)
    }

    /// Maps an open file that is not empty; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be mapped.
    pub(super) fn map(path: PathBuf, file: &File) -> Result<Self> {
        // SAFETY: the map is read-only and private to this value, which keeps it alive for as long as any slice of it. The
        // remaining hazard, a file shortened by somebody else, is described in the module's documentation.
        #[allow(unsafe_code, reason = "memory maps have no safe constructor; see the module's documentation")]
        let map = unsafe { Mmap::map(file) }.map_err(|error| Error::io("map into memory", &path, error))?;
        Ok(Self { path, source: Source::Map(map) })
    }

    /// Bytes that are part of the program; `path` is only a name for messages.
    pub fn from_static(path: PathBuf, bytes: &'static [u8]) -> Self {
        Self::in_memory(path, InMemory::Static(bytes))
    }

    pub(super) fn in_memory(path: PathBuf, bytes: InMemory) -> Self {
        Self { path, source: Source::Memory(bytes) }
    }

    /// The whole file.
    pub fn as_slice(&self) -> &[u8] {
        match &self.source {
            Source::Map(map) => map,
            Source::Memory(bytes) => bytes.as_slice(),
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the system to read `range` from disk in the background. A hint, as [`FileBytes::release`].
    pub fn prefetch(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Source::Map(map) = &self.source {
            let range = range.start.min(map.len())..range.end.min(map.len());
            if let Err(error) = map.advise_range(memmap2::Advice::WillNeed, range.start, range.len()) {
                tracing::debug!(%error, "the system refused to read ahead");
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Tells the system that `range` is not needed for now, so that a file larger than memory streams through without
    /// filling this process. A later read brings the bytes back from the file. A hint: where the system has no such call
    /// (Windows trims by itself) or refuses it, nothing happens.
    pub fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Source::Map(map) = &self.source {
            let range = range.start.min(map.len())..range.end.min(map.len());
            if range.is_empty() {
                return;
            }
            // SAFETY: MADV_DONTNEED drops changes of private writable maps. This one is read-only and backed by the file, so
            // the next access reads the same bytes again.
            #[allow(unsafe_code, reason = "memmap2 marks DontNeed unsafe for writable maps; this one is read-only")]
            let result =
                unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, range.len()) };
            if let Err(error) = result {
                tracing::debug!(%error, "the system refused to release mapped memory");
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}
