//! The bytes of one file: taken up where the last run left them, checked, and only then given their name.
//!
//! An unfinished file is `blobs/ETAG.incomplete`, which the hub's other programs call it too.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use sha2::{Digest as _, Sha256};

use super::client::{Answer, Client, Failed};

/// Bytes that are read at once.
const CHUNK: usize = 256 << 10;
/// An attempt that brought as much is no failure: the attempts are counted anew.
const PROGRESS: u64 = 1 << 20;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a download ends with that was asked to stop: what came is kept.
#[derive(Debug)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// A file to be had.
pub(super) struct Blob<'a> {
    /// Its name for people.
    pub(super) name: &'a str,
    /// Where it is on the server.
    pub(super) url_path: String,
    /// Where it belongs.
    pub(super) path: PathBuf,
    /// The file that is locked meanwhile.
    pub(super) lock: PathBuf,
    pub(super) size: u64,
    /// The sum that it must have, where the hub knows one.
    pub(super) sha256: Option<&'a str>,
}

/// How a download goes on.
pub(super) struct Control<'a> {
    /// Attempts after the first that may bring nothing.
    pub(super) retries: u32,
    /// Ends it when true.
    pub(super) stop: &'a AtomicBool,
    /// Gets the bytes that the file has.
    pub(super) progress: &'a mut dyn FnMut(u64),
}

/// Where the unfinished file of `blob` is.
pub(super) fn partial(blob: &Path) -> PathBuf {
    let mut name = blob.as_os_str().to_owned();
    name.push(".incomplete");
    name.into()
}

/// Downloads `blob`; it is there, whole and checked, when this succeeds.
///
/// # Errors
/// [`Stopped`]; the server's or the disk's reason: what came stays for the next run. A wrong sum: then nothing stays.
pub(super) fn download(client: &Client, blob: &Blob<'_>, control: &mut Control<'_>) -> anyhow::Result<()> {
    let _lock = lock(blob)?;
    // Another program may have finished it in the meantime.
    if std::fs::metadata(&blob.path).is_ok_and(|found| found.len() == blob.size) {
        return Ok(());
    }
    let partial = partial(&blob.path);
    let mut part = Part::open(&partial, blob.size, control.stop)?;
    let mut failures = 0;
    while part.len < blob.size {
        let before = part.len;
        (control.progress)(part.len);
        let Err(failed) = attempt(client, blob, &mut part, control) else { continue };
        if control.stop.load(Ordering::Relaxed) {
            bail!(Stopped);
        }
        failures = if part.len - before.min(part.len) >= PROGRESS { 1 } else { failures + 1 };
        if !failed.may_pass || failures > control.retries {
            let kept = format!(
                "{}: {} of {} bytes are here, and the same command goes on from there",
                blob.name, part.len, blob.size
            );
            return Err(failed.error.context(kept));
        }
        pause(failures, control.stop)?;
    }
    (control.progress)(part.len);
    part.file.sync_all().map_err(|error| disk(error, &partial))?;
    let sum = part.sum();
    if let Some(expected) = blob.sha256.filter(|expected| !expected.eq_ignore_ascii_case(&sum)) {
        // Windows removes no open file.
        drop(part);
        std::fs::remove_file(&partial).map_err(|error| disk(error, &partial))?;
        bail!(
            "{}: expected the SHA-256 {expected}, got {sum}: what was downloaded is damaged and has been deleted, run again",
            blob.name
        );
    }
    drop(part);
    std::fs::rename(&partial, &blob.path).map_err(|error| disk(error, &blob.path))
}

/// The part of a file that is here, and its sum so far.
struct Part {
    path: PathBuf,
    file: File,
    len: u64,
    hasher: Sha256,
}

impl Part {
    fn open(path: &Path, size: u64, stop: &AtomicBool) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path);
        let file = file.map_err(|error| disk(error, path))?;
        let mut part = Self { path: path.to_owned(), file, len: 0, hasher: Sha256::new() };
        if part.file.metadata().map_err(|error| disk(error, path))?.len() > size {
            part.restart()?;
        }
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = part.file.read(&mut chunk).map_err(|error| disk(error, path))?;
            let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(part) };
            part.hasher.update(bytes);
            part.len += read as u64;
            if stop.load(Ordering::Relaxed) {
                bail!(Stopped);
            }
        }
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        self.file.set_len(0).map_err(|error| disk(error, &self.path))?;
        (self.len, self.hasher) = (0, Sha256::new());
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).map_err(|error| {
            // Some of it may have been written, so what the file has is not what was hashed.
            let _ = self.file.set_len(self.len);
            disk(error, &self.path)
        })?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn sum(&self) -> String {
        self.hasher.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One request, until the file is whole or the connection ends.
fn attempt(client: &Client, blob: &Blob<'_>, part: &mut Part, control: &mut Control<'_>) -> Result<(), Failed> {
    let answer = client.get(&blob.url_path, part.len)?;
    if part.len > 0 {
        match answer.status {
            206 => check_range(&answer, part.len, blob.size)?,
            // A server that knows no ranges begins anew.
            _ => part.restart()?,
        }
    }
    let mut reader = answer.body.into_reader();
    let mut chunk = vec![0; CHUNK];
    while part.len < blob.size {
        if control.stop.load(Ordering::Relaxed) {
            return Err(anyhow!(Stopped).into());
        }
        let wanted = CHUNK.min(usize::try_from(blob.size - part.len).unwrap_or(CHUNK));
        let read = match reader.read(chunk.get_mut(..wanted).unwrap_or_default()) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let error = anyhow::Error::new(error).context("the connection broke off");
                return Err(Failed { error, may_pass: true });
            }
        };
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Err(Failed { error: anyhow!("the connection ended too early"), may_pass: true });
        };
        part.append(bytes)?;
        (control.progress)(part.len);
    }
    Ok(())
}

/// Whether the part that came is the one that was asked for.
fn check_range(answer: &Answer, start: u64, size: u64) -> anyhow::Result<()> {
    let range = answer.last("content-range").context("a part of a file without Content-Range")?;
    let numbers = range.strip_prefix("bytes ").and_then(|range| range.split_once('-'));
    let first = numbers.and_then(|(first, _)| first.parse::<u64>().ok());
    let total = range.rsplit_once('/').map(|(_, total)| total);
    if first != Some(start) || total.is_none_or(|total| total != "*" && total.parse() != Ok(size)) {
        bail!("expected the bytes from {start} of {size}, got \"{}\"", guanaco_engine::error::Printable::name(range));
    }
    Ok(())
}

/// Twice as long after every failure.
fn pause(failures: u32, stop: &AtomicBool) -> anyhow::Result<()> {
    let length = Duration::from_secs(1 << failures.saturating_sub(1).min(5)).min(LONGEST_PAUSE);
    let begin = Instant::now();
    while begin.elapsed() < length {
        if stop.load(Ordering::Relaxed) {
            bail!(Stopped);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Two programs must not write one file.
fn lock(blob: &Blob<'_>) -> anyhow::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&blob.lock);
    let file = file.map_err(|error| disk(error, &blob.lock))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            bail!("{} is being downloaded by another program; file: {}", blob.name, blob.lock.display())
        }
        // Some network file systems have no locks.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// What the disk could not do.
pub(super) fn disk(error: io::Error, path: &Path) -> anyhow::Error {
    let advice = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "the disk is full: make room, or have HF_HUB_CACHE name a folder on another disk, and run again: it goes on from \
             where it is"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "not allowed to write here: HF_HUB_CACHE can name another folder"
        }
        _ => "cannot write",
    };
    anyhow!("{advice}: {error}; file: {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_called_so() {
        let error = disk(ErrorKind::StorageFull.into(), Path::new("a")).to_string();
        assert!(error.contains("the disk is full") && error.contains("HF_HUB_CACHE"), "{error}");
    }

    #[test]
    fn a_part_is_hashed_as_it_grows_and_is_taken_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.incomplete");
        let stop = AtomicBool::new(false);
        let mut part = Part::open(&path, 3, &stop).unwrap();
        part.append(b"a").unwrap();
        drop(part);
        let mut part = Part::open(&path, 3, &stop).unwrap();
        assert_eq!(part.len, 1);
        part.append(b"bc").unwrap();
        // The example of FIPS 180-2.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(part.sum(), abc);
        drop(part);
        // What is longer than the file can be is not its beginning.
        assert_eq!(Part::open(&path, 2, &stop).unwrap().len, 0);
    }
}
