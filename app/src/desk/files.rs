//! Files that a person takes away or brings: chats in and out, and where they are put.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Desk, News};
use crate::store::{ChatId, export, sillytavern};

/// What a chat is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatFile {
    /// All branches and settings: comes back as it was.
    Json,
    /// What is shown, as Markdown.
    Markdown,
    /// What is shown, as plain text.
    Text,
}

impl ChatFile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Markdown, Self::Text];

    /// The end of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Markdown => "md",
            Self::Text => "txt",
        }
    }
}

impl Desk {
    /// Writes the chat `id` to `path`, whole or not at all. `names` are the person's and the model's, where a message has none.
    ///
    /// # Errors
    /// When the chat is not there, or the file cannot be written.
    pub fn export_chat(&self, id: ChatId, kind: ChatFile, names: (&str, &str), path: &Path) -> anyhow::Result<()> {
        // What was said last may still be on its way to the store.
        self.flush(std::time::Duration::from_secs(5));
        let text = match kind {
            ChatFile::Json => self.store.export(id)?,
            ChatFile::Markdown | ChatFile::Text => {
                let chat = self.store.chat(id)?;
                let names = export::Names { user: names.0, assistant: names.1 };
                match kind {
                    ChatFile::Markdown => export::markdown(&chat.head.title, &chat.tree, names),
                    _ => export::plain(&chat.tree, names),
                }
            }
        };
        write(path, text.as_bytes())
    }

    /// A file for `name` in the folder where a person finds it, with a name that every system takes.
    pub fn download(&self, name: &str, extension: &str) -> PathBuf {
        self.downloads.join(format!("{}.{extension}", file_name(name)))
    }

    /// Takes the chat in the file `path` (this program's JSON, or SillyTavern's JSONL) as a new one, and opens it.
    ///
    /// # Errors
    /// What is wrong with the file, with its line.
    pub fn import_chat(&mut self, path: &Path) -> anyhow::Result<()> {
        let context = || path.display().to_string();
        let text = export::read(path).with_context(context)?;
        let lines = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl"));
        let imported = if lines { sillytavern::from_jsonl(&text) } else { export::from_json(&text) };
        let imported = imported.with_context(context)?;
        let id = self.store.new_chat_id();
        self.saver.save(imported.changes(id));
        self.news.extend(imported.notes.into_iter().map(News::Warning));
        anyhow::ensure!(self.flush(std::time::Duration::from_secs(30)), "the chat is not saved yet");
        self.chats = self.store.chats()?;
        self.open_chat(id);
        Ok(())
    }
}

/// Writes `bytes` to `path`, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, bytes)?;
        file.persist(path).map(drop).map_err(|error| error.error)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The folder of downloads; the home folder where there is none.
pub(super) fn downloads_folder() -> PathBuf {
    let known = directories::UserDirs::new();
    let folder =
        known.as_ref().and_then(|dirs| dirs.download_dir().filter(|folder| folder.is_dir()).map(PathBuf::from));
    folder.or_else(|| known.map(|dirs| dirs.home_dir().to_owned())).unwrap_or_default()
}

/// `name` as a file can be called everywhere.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, ' ' | '-' | '_') { c } else { '_' };
    let kept: String = name.chars().map(plain).take(64).collect();
    let kept = kept.trim().to_owned();
    if kept.is_empty() { "guanaco".to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_folder() {
        assert_eq!(file_name("../../etc/passwd"), "______etc_passwd");
        assert_eq!(file_name("小明 Lee"), "小明 Lee");
        assert_eq!(file_name("  "), "guanaco");
    }
}
