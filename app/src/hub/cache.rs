//! The cache that the hub's programs share: where it is, and where a model lies in it.
//!
//! ```text
//! models--OWNER--NAME/refs/REVISION           the commit that a branch or tag was at
//! models--OWNER--NAME/snapshots/COMMIT/FILE   a link to
//! models--OWNER--NAME/blobs/ETAG              the bytes; of a large file the ETag is their SHA-256
//! ```
//!
//! <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use hf_hub::{Repo, RepoType};

use super::ModelName;

/// The digits of a commit: SHA-1, or SHA-256.
const COMMIT_DIGITS: std::ops::RangeInclusive<usize> = 40..=64;

/// A cache of the hub.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The user's cache: `HF_HUB_CACHE`, or `hub` in [`home`].
    ///
    /// # Errors
    /// When neither says where, and there is no home folder.
    pub fn from_env() -> anyhow::Result<Self> {
        match variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE")) {
            Some(folder) => Ok(Self::new(folder)),
            None => Ok(Self::new(home()?.join("hub"))),
        }
    }

    /// The folder that holds all of them.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The model's folder.
    pub fn model(&self, name: &ModelName) -> PathBuf {
        self.folder.join(Repo::model(name.id()).folder_name())
    }

    /// Where the model's snapshots are.
    pub fn snapshots(&self, name: &ModelName) -> PathBuf {
        self.model(name).join("snapshots")
    }

    /// The folder of the model's files at `commit`.
    pub fn snapshot(&self, name: &ModelName, commit: &str) -> PathBuf {
        let cache = hf_hub::Cache::new(self.folder.clone());
        cache.repo(Repo::with_revision(name.id(), RepoType::Model, name.revision().to_owned())).pointer_path(commit)
    }

    /// The file that says which commit the model's revision is.
    pub fn reference(&self, name: &ModelName) -> PathBuf {
        self.model(name).join("refs").join(name.revision())
    }

    /// The names of the models that are here, `owner/name`, in order. What cannot be read has none.
    pub fn models(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let name = |entry: std::fs::DirEntry| {
            let folder = entry.file_name();
            let (owner, name) = folder.to_str()?.strip_prefix("models--")?.split_once("--")?;
            let name = format!("{owner}/{name}");
            self.find(&name.parse().ok()?).map(|_| name)
        };
        let mut names: Vec<String> = entries.filter_map(name).collect();
        names.sort_unstable();
        names
    }

    /// The snapshot of the model's revision; None when it is not here. Nothing is read but this folder.
    pub fn find(&self, name: &ModelName) -> Option<PathBuf> {
        let commit = if is_commit(name.revision()) {
            name.revision().to_owned()
        } else {
            let mut text = String::new();
            File::open(self.reference(name)).ok()?.take(256).read_to_string(&mut text).ok()?;
            text.trim().to_owned()
        };
        let snapshot = is_commit(&commit).then(|| self.snapshot(name, &commit))?;
        snapshot.is_dir().then_some(snapshot)
    }
}

/// `HF_HOME`, or `huggingface` in the user's cache folder. The hub's programs use `~/.cache` on every system.
///
/// # Errors
/// When there is no home folder.
pub fn home() -> anyhow::Result<PathBuf> {
    if let Some(home) = variable("HF_HOME") {
        return Ok(home.into());
    }
    let cache = match variable("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => directories::BaseDirs::new()
            .context("there is no home folder: HF_HOME can say where the Hugging Face cache is")?
            .home_dir()
            .join(".cache"),
    };
    Ok(cache.join("huggingface"))
}

/// An environment variable that is set to something.
pub(super) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Whether `text` is a commit's full number, which is a harmless part of a path, too.
pub(super) fn is_commit(text: &str) -> bool {
    COMMIT_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `owner/name` of the model whose snapshot the folder `path` is.
pub fn model_of(path: &Path) -> Option<String> {
    let snapshots = path.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"))?;
    let folder = snapshots.parent()?.file_name()?.to_str()?;
    let (owner, name) = folder.strip_prefix("models--")?.split_once("--")?;
    Some(format!("{owner}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_found_by_branch_and_by_commit() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let commit = "0123456789abcdef0123456789abcdef01234567";
        let name: ModelName = "Owner/name.v1".parse().unwrap();
        assert_eq!(cache.find(&name), None);
        let snapshot = dir.path().join("models--Owner--name.v1/snapshots").join(commit);
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(dir.path().join("models--Owner--name.v1/refs")).unwrap();
        assert_eq!(cache.find(&name), None);
        std::fs::write(cache.reference(&name), format!("{commit}\n")).unwrap();
        assert_eq!(cache.find(&name).as_ref(), Some(&snapshot));
        assert_eq!(cache.find(&format!("Owner/name.v1@{commit}").parse().unwrap()).as_ref(), Some(&snapshot));
        assert_eq!(cache.find(&"Owner/name.v1@other".parse().unwrap()), None);
        assert_eq!(model_of(&snapshot).as_deref(), Some("Owner/name.v1"));
        assert_eq!(cache.models(), ["Owner/name.v1"]);
        // A reference cannot lead out of the cache.
        std::fs::write(cache.reference(&name), "../../..").unwrap();
        assert_eq!(cache.find(&name), None);
    }
}
