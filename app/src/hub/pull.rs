//! A model from the hub into the cache: what it will take first, then its files, and its name in the cache only when all of
//! them are there.

use std::fs::create_dir_all;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::error::Printable;
use hf_hub::Repo;
use serde::{Deserialize, Serialize};

pub use super::blob::Stopped;
use super::blob::{self, Blob, Control, disk};
use super::cache::{is_commit, variable};
use super::client::{Client, is_yes};
use super::{Cache, ModelName, files};

/// The most files that a model of the hub may list.
const MAX_LISTED: usize = 100_000;

/// Whether the environment forbids connections.
pub fn offline_by_environment() -> bool {
    variable("HF_HUB_OFFLINE").is_some_and(|value| is_yes(&value))
}

/// What is to be had, and what of it is here.
#[derive(Debug)]
pub struct Plan {
    name: ModelName,
    /// The commit that the revision is.
    pub commit: String,
    /// The folder in which the files will be.
    pub snapshot: PathBuf,
    /// The files.
    pub files: Vec<Entry>,
    cache: Cache,
}

/// One file of a model.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Bytes of it that are in the cache.
    pub cached: u64,
    /// The name of its bytes in the cache.
    #[serde(skip)]
    etag: String,
}

impl Entry {
    /// The sum of a large file is its ETag.
    fn sha256(&self) -> Option<&str> {
        let is_sum = self.etag.len() == 64 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sum.then_some(self.etag.as_str())
    }
}

/// What the hub says of a model, with `?blobs=true`: <https://huggingface.co/docs/hub/api>.
#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Plan {
    /// Asks the hub what `name` has and chooses the files, of which `pick` may name the weights.
    ///
    /// # Errors
    /// When the hub does not answer, does not have it or does not give it; when it has nothing to take.
    pub fn new(client: &Client, cache: Cache, name: ModelName, pick: Option<&str>) -> anyhow::Result<Self> {
        let repo = Repo::model(name.id());
        let path = format!("/api/models/{}/revision/{}?blobs=true", name.id(), escaped(name.revision()));
        let info: Info = client.json(&path).map_err(|failed| failed.error).with_context(|| name.to_string())?;
        ensure!(info.siblings.len() <= MAX_LISTED, "{name}: more than {MAX_LISTED} files");
        ensure!(
            is_commit(&info.sha),
            "{name}: expected the number of a commit, got \"{}\"",
            Printable::name(&info.sha)
        );
        let commit = info.sha.to_ascii_lowercase();
        let names: Vec<&str> = info.siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect();
        let chosen = files::choose(&names, pick).with_context(|| name.to_string())?;
        let blobs = cache.folder().join(repo.folder_name()).join("blobs");
        let mut entries = Vec::with_capacity(chosen.len());
        for file in chosen {
            let sibling = info.siblings.iter().find(|sibling| sibling.rfilename == file).context("a file vanished")?;
            let known = match (&sibling.lfs, &sibling.blob_id, sibling.size) {
                (Some(lfs), _, _) => Some((lfs.sha256.clone(), lfs.size)),
                (None, Some(blob), Some(size)) => Some((blob.clone(), size)),
                _ => None,
            };
            let (etag, bytes) = match known {
                Some(known) => known,
                None => ask(client, &name, &commit, file)?,
            };
            let plain = etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            ensure!(
                plain && (1..=128).contains(&etag.len()),
                "{name}: {file} has an ETag that no file's name can be: \"{}\"",
                Printable::name(&etag)
            );
            let cached = cached(&blobs.join(&etag), bytes);
            entries.push(Entry { name: file.to_owned(), bytes, cached, etag });
        }
        let snapshot = cache.snapshot(&name, &commit);
        Ok(Self { name, commit, snapshot, files: entries, cache })
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// Bytes that are still to be downloaded.
    pub fn missing(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes - file.cached.min(file.bytes)))
    }

    /// Downloads what is missing. `progress` gets a file's name and the bytes of all files that are here; `stop` ends it.
    ///
    /// # Errors
    /// [`Stopped`]; what went wrong with a file. What came whole, and what came of the last one, stays for the next run, and the
    /// model's name in the cache is as it was.
    pub fn fetch(
        &self,
        client: &Client,
        retries: u32,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(&str, u64),
    ) -> anyhow::Result<()> {
        let model = self.cache.model(&self.name);
        let blobs = model.join("blobs");
        let locks = self.cache.folder().join(".locks").join(model.file_name().unwrap_or_default());
        for folder in [&blobs, &locks] {
            create_dir_all(folder).map_err(|error| disk(error, folder))?;
        }
        let mut done = 0_u64;
        for file in &self.files {
            if stop.load(Ordering::Relaxed) {
                bail!(Stopped);
            }
            let blob = Blob {
                name: &file.name,
                url_path: url_path(&self.name, &self.commit, &file.name),
                path: blobs.join(&file.etag),
                lock: locks.join(format!("{}.lock", file.etag)),
                size: file.bytes,
                sha256: file.sha256(),
            };
            let mut here = |bytes: u64| progress(&file.name, done.saturating_add(bytes));
            blob::download(client, &blob, &mut Control { retries, stop, progress: &mut here })?;
            done = done.saturating_add(file.bytes);
        }
        self.publish(&blobs)
    }

    /// Gives the files their names, and last the revision its commit: who opens the model sees all of it or nothing new.
    fn publish(&self, blobs: &Path) -> anyhow::Result<()> {
        create_dir_all(&self.snapshot).map_err(|error| disk(error, &self.snapshot))?;
        for file in &self.files {
            link(blobs, &file.etag, &self.snapshot.join(&file.name))?;
        }
        if is_commit(self.name.revision()) {
            return Ok(());
        }
        let reference = self.cache.reference(&self.name);
        let folder = reference.parent().context("a reference without a folder")?;
        create_dir_all(folder).map_err(|error| disk(error, folder))?;
        let new = beside(&reference);
        let written = std::fs::write(&new, &self.commit).and_then(|()| std::fs::rename(&new, &reference));
        written.map_err(|error| disk(error, &reference))
    }
}

/// What the hub says of a file when its list does not: the ETag and the length.
fn ask(client: &Client, name: &ModelName, commit: &str, file: &str) -> anyhow::Result<(String, u64)> {
    let answer = client.head(&url_path(name, commit, file)).map_err(|failed| failed.error);
    let answer = answer.with_context(|| format!("{name}: {file}"))?;
    let etag = answer.first("x-linked-etag").or_else(|| answer.last("etag"));
    let etag = etag.with_context(|| format!("{name}: {file} has no ETag"))?;
    let bytes = answer.first("x-linked-size").or_else(|| answer.last("content-length"));
    let bytes = bytes.and_then(|bytes| bytes.parse().ok()).with_context(|| format!("{name}: {file} has no length"))?;
    Ok((etag.trim_start_matches("W/").trim_matches('"').to_owned(), bytes))
}

/// The path of a file on the server.
fn url_path(name: &ModelName, commit: &str, file: &str) -> String {
    format!("/{}/resolve/{commit}/{}", name.id(), escaped(file))
}

/// `text` as one part of an address.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let escape = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

/// Bytes of the file that are in the cache: all of them, or those that an earlier run left.
fn cached(blob: &Path, bytes: u64) -> u64 {
    let len = |path: &Path| std::fs::metadata(path).ok().map(|found| found.len()).filter(|len| *len <= bytes);
    len(blob).filter(|len| *len == bytes).or_else(|| len(&blob::partial(blob))).unwrap_or(0)
}

/// A name for what is written before it takes the place of `path`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    name.into()
}

/// Has `pointer` name the bytes `blobs/etag`, at once. It is a link, or where the system has none for us the bytes themselves.
fn link(blobs: &Path, etag: &str, pointer: &Path) -> anyhow::Result<()> {
    let new = beside(pointer);
    let blob = blobs.join(etag);
    let relative = Path::new("..").join("..").join("blobs").join(etag);
    let linked = symlink(&relative, &new)
        .or_else(|_| std::fs::hard_link(&blob, &new))
        .or_else(|_| std::fs::copy(&blob, &new).map(drop))
        .and_then(|()| std::fs::rename(&new, pointer));
    linked.map_err(|error| {
        let _ = std::fs::remove_file(&new);
        disk(error, pointer)
    })
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let name: ModelName = "a/b@refs/pr/1".parse().unwrap();
        assert_eq!(escaped(name.revision()), "refs%2Fpr%2F1");
        assert_eq!(url_path(&name, "c0", "a b#1?.json"), "/a/b/resolve/c0/a%20b%231%3F.json");
    }
}
