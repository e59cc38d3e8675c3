//! Files of older versions: they are copied first, and then brought up to date in one transaction.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase as _, TableDefinition, WriteTransaction};

use super::{FILE, StoreError, guarded, sync_folder, write};
use crate::private;

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const VERSION: &str = "version";

/// Changes a file of one version into the next.
pub(super) type Step = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// What a program knows.
#[derive(Clone, Copy)]
pub(super) struct Schema {
    /// The version that it reads and writes.
    pub(super) known: u64,
    /// The steps to it from older ones; the last leads to `known`.
    pub(super) steps: &'static [Step],
}

/// Version 1 is the first; 2 has the table of characters' files. A new version adds its step at the end, and a test with a file of
/// the version before.
pub(super) const CURRENT: Schema = Schema { known: 2, steps: &[add_files] };

fn add_files(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(write::FILES)?;
    Ok(())
}

pub(super) fn set_version(transaction: &WriteTransaction, version: u64) -> Result<(), redb::Error> {
    transaction.open_table(META)?.insert(VERSION, version)?;
    Ok(())
}

fn version(database: &Database, path: &Path) -> Result<u64, StoreError> {
    guarded(path, || match database.begin_read()?.open_table(META) {
        Ok(table) => Ok(table.get(VERSION)?.map(|version| version.value())),
        Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    })?
    .ok_or_else(|| StoreError::Damaged { path: path.to_owned(), detail: "it does not say its version".to_owned() })
}

/// Opens the file in `folder` and brings it to the version of `schema`.
pub(super) fn run(
    folder: &Path,
    schema: Schema,
    open: impl Fn() -> Result<Database, StoreError>,
) -> Result<Database, StoreError> {
    let path = folder.join(FILE);
    let database = open()?;
    let found = version(&database, &path)?;
    if found == schema.known {
        return Ok(database);
    }
    if found > schema.known {
        return Err(StoreError::Newer { path, found, known: schema.known });
    }
    let behind = usize::try_from(schema.known - found).unwrap_or(usize::MAX);
    let Some(first) = schema.steps.len().checked_sub(behind) else {
        let detail = format!("it says version {found}, and the first was {}", schema.known - schema.steps.len() as u64);
        return Err(StoreError::Damaged { path, detail });
    };
    // Closed, it is whole; the store's lock keeps others away meanwhile.
    drop(database);
    back_up(&path, &backup(folder, found))?;
    sync_folder(folder);
    let database = open()?;
    guarded(&path, || {
        let transaction = database.begin_write()?;
        for step in &schema.steps[first..] {
            step(&transaction)?;
        }
        set_version(&transaction, schema.known)?;
        Ok(transaction.commit()?)
    })?;
    Ok(database)
}

/// Where the file of version `version` is kept.
pub(super) fn backup(folder: &Path, version: u64) -> PathBuf {
    folder.join(format!("{FILE}.bak-v{version}"))
}

fn back_up(path: &Path, to: &Path) -> Result<(), StoreError> {
    let part = to.with_extension("part");
    let copied = File::open(path).and_then(|mut from| {
        let mut copy = private::options().write(true).create(true).truncate(true).open(&part)?;
        io::copy(&mut from, &mut copy)?;
        copy.sync_all()
    });
    let done = copied.and_then(|()| fs::rename(&part, to));
    if done.is_err() {
        // The reason of the failure says more than one of the tidying.
        let _ = fs::remove_file(&part);
    }
    done.map_err(StoreError::io("make a backup before the update", to))
}
