//! What is kept for good: chats, characters and settings, in one [redb] file in the platform's data folder.
//!
//! A change is durable once the transaction that holds it is committed: a kill or a power cut at any moment leaves the file as it
//! was after the last commit. [`Saver`] writes on a thread of its own and says up to where all is durable.
//!
//! [redb]: https://github.com/cberner/redb

mod backend;
mod dates;
mod error;
pub mod export;
mod migrate;
mod read;
mod records;
mod saver;
pub mod sillytavern;
#[cfg(test)]
mod tests;
mod write;

use std::fs::{File, TryLockError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

pub use backend::Wrap;
pub use error::StoreError;
pub use records::{Change, CharacterRecord, Chat, ChatHead, ChatId, ChatSummary};
use redb::{Database, ReadTransaction, ReadableDatabase as _};
pub use saver::{Saver, Ticket};

use crate::private;
pub use crate::tree::now_ms;

/// The name of the store's file in its folder.
pub const FILE: &str = "guanaco.redb";
/// Held while a store is open, also in the moments in which its file is not.
const LOCK: &str = "guanaco.lock";
/// Of pages in memory; the rest is the system's to cache.
const CACHE_BYTES: usize = 32 << 20;

/// `guanaco` in the user's data folder (`~/.local/share`, `~/Library/Application Support`, `%LOCALAPPDATA%`), or what
/// `GUANACO_DATA` names. None where it is set to nothing, and where there is no home folder.
pub fn folder() -> Option<PathBuf> {
    match std::env::var_os("GUANACO_DATA") {
        Some(folder) => Some(PathBuf::from(folder)).filter(|folder| !folder.as_os_str().is_empty()),
        None => Some(directories::ProjectDirs::from("", "", "guanaco")?.data_local_dir().to_owned()),
    }
}

/// An open store. Reads may come from any thread, also while one writes.
pub struct Store {
    folder: PathBuf,
    wrap: Option<Wrap>,
    /// None between a failed write and the next successful opening.
    database: RwLock<Option<Database>>,
    /// Why there is none.
    closed: Mutex<String>,
    /// None where the file system has no locks; redb's own remains then.
    _lock: Option<File>,
}

impl Store {
    /// Opens the store in `folder`, which is made where there is none. A file of an older version is copied to
    /// `guanaco.redb.bak-vN` and brought up to date.
    ///
    /// # Errors
    /// When another program has it open, a later version wrote it, it is damaged (and stays as it is), or the system refuses.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        Self::open_as(folder, None, migrate::CURRENT)
    }

    /// The same over storage that `wrap` makes of the file: for tests that let it fail.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn with_backend(folder: &Path, wrap: Wrap) -> Result<Self, StoreError> {
        Self::open_as(folder, Some(wrap), migrate::CURRENT)
    }

    fn open_as(folder: &Path, wrap: Option<Wrap>, schema: migrate::Schema) -> Result<Self, StoreError> {
        private::create_folder(folder).map_err(StoreError::io("make the folder", folder))?;
        let lock = lock(folder)?;
        let path = folder.join(FILE);
        if !path.exists() {
            create(folder, schema.known)?;
        }
        let database = migrate::run(folder, schema, || open_database(&path, wrap.as_ref()))?;
        let store = Self {
            folder: folder.to_owned(),
            wrap,
            database: RwLock::new(Some(database)),
            closed: Mutex::new(String::new()),
            _lock: lock,
        };
        if store.sweep().is_err() {
            // What could not be tidied can wait for a disk that takes writes; reading cannot.
            store.reopen()?;
        }
        Ok(store)
    }

    /// Renames the file of a damaged store in `folder`, so that the next [`Self::open`] begins a new one. Returns its new path.
    /// Only for when the user asked for it.
    ///
    /// # Errors
    /// When a store is open in the folder, there is no file, or the system refuses.
    pub fn set_aside(folder: &Path) -> Result<PathBuf, StoreError> {
        let _lock = lock(folder)?;
        let path = folder.join(FILE);
        let stamp = dates::stamp(now_ms());
        let mut aside = folder.join(format!("guanaco.damaged-{stamp}.redb"));
        for n in 2..1000 {
            if !aside.exists() {
                break;
            }
            aside = folder.join(format!("guanaco.damaged-{stamp}-{n}.redb"));
        }
        std::fs::rename(&path, &aside).map_err(StoreError::io("rename", &path))?;
        sync_folder(folder);
        Ok(aside)
    }

    /// A name that no chat has.
    pub fn new_chat_id(&self) -> ChatId {
        ChatId(records::fresh())
    }

    /// A name that no character has.
    pub fn new_character_id(&self) -> u64 {
        records::fresh()
    }

    /// The folder it lies in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of its file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Runs `read` in one transaction: what it sees is of one moment.
    fn reading<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        self.with_database(|database| guarded(&self.path(), || read(&database.begin_read()?)))
    }

    fn is_shut(&self) -> bool {
        self.database.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn with_database<T>(&self, run: impl FnOnce(&Database) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let guard = self.database.read().unwrap_or_else(PoisonError::into_inner);
        run(guard.as_ref().ok_or_else(|| self.is_closed())?)
    }

    fn is_closed(&self) -> StoreError {
        let why = self.closed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        StoreError::Closed { path: self.path(), why }
    }

    /// Closes the file, whose handle refuses all work after a failed write, and opens it again: redb goes back to the last commit.
    fn reopen(&self) -> Result<(), StoreError> {
        let mut guard = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = guard.take() {
            // Its failure is why we are here.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(old)));
        }
        match open_database(&self.path(), self.wrap.as_ref()) {
            Ok(database) => {
                *guard = Some(database);
                Ok(())
            }
            Err(error) => {
                *self.closed.lock().unwrap_or_else(PoisonError::into_inner) = error.to_string();
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// The lock of `folder`, held as long as the returned file is open.
fn lock(folder: &Path) -> Result<Option<File>, StoreError> {
    let path = folder.join(LOCK);
    let file = private::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(StoreError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: folder.join(FILE) }),
        Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => Ok(None),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &path)(error)),
    }
}

/// Makes an empty store beside its place and then renames it: a kill in between leaves no half a file under the name.
fn create(folder: &Path, version: u64) -> Result<(), StoreError> {
    let (path, beside) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    if beside.exists() {
        std::fs::remove_file(&beside).map_err(StoreError::io("remove", &beside))?;
    }
    let file = private::options().read(true).write(true).create_new(true).open(&beside);
    let file = file.map_err(StoreError::io("make", &beside))?;
    guarded(&beside, || {
        let database = Database::builder().create_with_backend(redb::backends::FileBackend::new(file)?)?;
        let transaction = database.begin_write()?;
        write::make_tables(&transaction)?;
        migrate::set_version(&transaction, version)?;
        transaction.commit()?;
        Ok(database.close()?)
    })?;
    std::fs::rename(&beside, &path).map_err(StoreError::io("rename", &beside))?;
    sync_folder(folder);
    Ok(())
}

fn open_database(path: &Path, wrap: Option<&Wrap>) -> Result<Database, StoreError> {
    let file = File::options().read(true).write(true).open(path).map_err(StoreError::io("open", path))?;
    // A file system without rights refuses; the chats are as readable as everything is there.
    let _ = private::close_to_others(&file);
    if file.metadata().map_err(StoreError::io("read", path))?.len() == 0 {
        return Err(StoreError::Damaged { path: path.to_owned(), detail: "it is empty".to_owned() });
    }
    guarded(path, || {
        let backend = backend::Backend::new(file, wrap)?;
        Ok(Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
    })
}

/// Makes renames in `folder` durable where the system can; on others they are as durable as it makes them.
fn sync_folder(folder: &Path) {
    if cfg!(unix) {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
}

/// Runs what calls redb on the file at `path`. redb may panic over a file that was altered behind its back.
fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(|error| StoreError::of(error, path)),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(StoreError::Damaged { path: path.to_owned(), detail: said.unwrap_or("redb gave up").to_owned() })
        }
    }
}
