//! Why a store does not open, read or write, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

/// What a caller must tell apart.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another program holds the file.
    #[error(
        "another running guanaco has these chats open: close it, or set GUANACO_DATA to another folder; file: {}",
        path.display()
    )]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// A later version of the program wrote the file.
    #[error(
        "these chats were written by a newer guanaco (version {found} of the file; this program knows up to {known}): \
         use that one; nothing was changed; file: {}",
        path.display()
    )]
    Newer {
        /// The store's file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The highest known one.
        known: u64,
    },
    /// The file is not what was written.
    #[error(
        "the file of the chats is damaged ({detail}); it is left as it is: put a backup in its place, or have it set aside and \
         begin a new one; file: {}",
        path.display()
    )]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// After a failed write the file could not be opened again yet.
    #[error("the chats cannot be read now: {why}; file: {}", path.display())]
    Closed {
        /// The store's file.
        path: PathBuf,
        /// The failure.
        why: String,
    },
    /// What was asked for is not in the store.
    #[error("{what} {id} is not there: it may have been deleted; file: {}", path.display())]
    NotThere {
        /// A word for it.
        what: &'static str,
        /// Its name in the store.
        id: u64,
        /// The store's file.
        path: PathBuf,
    },
    /// The system starts no thread.
    #[error("cannot start a thread: {source}; close other programs and try again")]
    Thread {
        /// The system's answer.
        source: io::Error,
    },
    /// The system refuses.
    #[error("cannot {action}: {source}{}; file: {}", hint(source), path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl StoreError {
    /// For `map_err` of what starts the threads beside the store.
    pub fn thread(source: io::Error) -> Self {
        Self::Thread { source }
    }

    /// For `map_err`: what was tried on which file.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// What redb says of the file at `path`.
    pub(super) fn of(error: redb::Error, path: &Path) -> Self {
        let path = path.to_owned();
        match error {
            redb::Error::DatabaseAlreadyOpen => Self::InUse { path },
            redb::Error::Io(source) => match source.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                    Self::Damaged { path, detail: source.to_string() }
                }
                _ => Self::Io { action: "read or write", path, source },
            },
            redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_) => {
                Self::Closed { path, why: error.to_string() }
            }
            error => Self::Damaged { path, detail: error.to_string() },
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; make it writable, or set GUANACO_DATA to another folder"
        }
        _ => "",
    }
}
