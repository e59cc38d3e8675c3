//! Files that a person takes away or brings: chats in and out, and where they are put.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::library::Character;
use super::{Desk, News};
use crate::cards::Card;
use crate::store::export::Imported;
use crate::store::{ChatHead, ChatId, export, sillytavern};
use crate::tree::Tree;

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

/// The field of a chat's file that has the cards of those who play in it.
const CARDS: &str = "guanaco_cards";

/// A character that goes with a chat.
#[derive(Serialize, Deserialize)]
struct CardCopy {
    /// As the chat's settings name it.
    id: u64,
    card: Value,
}

/// Who plays in a chat, by id.
fn playing(head: &ChatHead) -> impl Iterator<Item = u64> {
    let ids = head.settings.get("characters").and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_u64)
}

/// Whether the file at `path` is a chat of this program's, though it may be damaged: [`Desk::import_chat`] says how.
pub fn is_chat(path: &Path) -> bool {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(export::MAX_BYTES).read_to_end(&mut bytes));
    read.is_ok() && export::names_format(&bytes)
}

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is replaced: the person said so.
    Replace,
    /// It stays, and the new one gets a name that is free, as in `Ava (2).png`: nobody was asked.
    Keep,
}

impl Desk {
    /// Writes the chat `id` to `path`, whole or not at all; returns where it is. `names` are the person's and the model's, where a
    /// message has none.
    ///
    /// # Errors
    /// When the chat is not there, not all of it is saved yet, or the file cannot be written.
    pub fn export_chat(
        &self,
        id: ChatId,
        kind: ChatFile,
        names: (&str, &str),
        path: &Path,
        existing: Existing,
    ) -> anyhow::Result<PathBuf> {
        let names = export::Names { user: names.0, assistant: names.1 };
        let words = |title: &str, tree: &Tree| match kind {
            ChatFile::Text => export::plain(tree, names),
            ChatFile::Markdown | ChatFile::Json => export::markdown(title, tree, names),
        };
        let text = if kind != ChatFile::Json && id == self.chat.id {
            words(&self.chat.title, &self.chat.tree)
        } else {
            // What was said last may still be on its way to the store.
            ensure!(self.flush(Duration::from_secs(5)), self.not_saved());
            match kind {
                ChatFile::Json => self.store.export(id, |head| self.cards_of(head))?,
                ChatFile::Markdown | ChatFile::Text => {
                    let chat = self.store.chat(id)?;
                    words(&chat.head.title, &chat.tree)
                }
            }
        };
        write(path, text.as_bytes(), existing)
    }

    /// The cards of those who play in a chat, so that they go with it to where the library has none of them. Without pictures.
    fn cards_of(&self, head: &ChatHead) -> Map<String, Value> {
        let copy = |who: &Character| CardCopy { id: who.id, card: Value::Object(who.card.raw().clone()) };
        let cards: Vec<_> = playing(head).filter_map(|id| self.character(id)).map(copy).collect();
        match serde_json::to_value(&cards) {
            Ok(copies) if !cards.is_empty() => Map::from_iter([(CARDS.to_owned(), copies)]),
            _ => Map::new(),
        }
    }

    /// Takes those into the library who play in a chat, came with it, and are not there.
    fn adopt(&mut self, imported: &mut Imported) {
        let Some(cards) = imported.extra.remove(CARDS) else { return };
        let Ok(copies) = serde_json::from_value::<Vec<CardCopy>>(cards.clone()) else {
            // Somebody else's field of that name.
            imported.extra.insert(CARDS.to_owned(), cards);
            return;
        };
        for CardCopy { id, card } in copies {
            if self.character(id).is_some() || !playing(&imported.head).any(|playing| playing == id) {
                continue;
            }
            match Card::from_json(&card.to_string()) {
                Ok(card) => self.adopt_character(id, card),
                Err(error) => imported.notes.push(format!("a character of the chat was left out: {error}")),
            }
        }
    }

    fn why_unsaved(&self) -> String {
        self.save_problem().unwrap_or_else(|| "the disk is slow".to_owned())
    }

    pub(super) fn not_saved(&self) -> String {
        let why = self.why_unsaved();
        format!(
            "the last changes are not on the disk yet, and the file would be without them: {why}; export it again once they are \
             saved"
        )
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
        let mut imported = imported.with_context(context)?;
        self.adopt(&mut imported);
        let id = self.store.new_chat_id();
        self.saver.save(imported.changes(id));
        self.news.extend(imported.notes.into_iter().map(News::Warning));
        if !self.flush(Duration::from_secs(30)) {
            let why = self.why_unsaved();
            // It waits with all else that is to be saved: a second import would make two of it.
            bail!(
                "the chat is read, and is in the list at the next start once the disk has it: {why}; do not import it again"
            );
        }
        self.chats = self.store.chats()?;
        self.open_chat(id);
        Ok(())
    }
}

/// Writes `bytes` to `path`, whole or not at all; returns where they are, which is another name with [`Existing::Keep`] where that one
/// is taken.
pub(super) fn write(path: &Path, bytes: &[u8], existing: Existing) -> anyhow::Result<PathBuf> {
    let write = || -> io::Result<PathBuf> {
        let mut file = beside(path, existing)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        match existing {
            Existing::Replace => file.persist(path).map(|_| path.to_owned()).map_err(|error| error.error),
            Existing::Keep => persist_free(file, path),
        }
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// An empty file in the folder of `path`, with the permissions of what it replaces, else those of any new file.
fn beside(path: &Path, existing: Existing) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // The system takes away what its umask says.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(folder)?;
    if cfg!(unix)
        && existing == Existing::Replace
        && let Ok(old) = std::fs::metadata(path)
    {
        file.as_file().set_permissions(old.permissions())?;
    }
    Ok(file)
}

/// Gives the file the name `path`, or the first free one like it.
fn persist_free(mut file: NamedTempFile, path: &Path) -> io::Result<PathBuf> {
    const MOST: usize = 10_000;
    let (stem, extension) = (path.file_stem().unwrap_or_default().to_string_lossy(), path.extension());
    for n in 1..MOST {
        let name = match (n, extension) {
            (1, _) => path.to_owned(),
            (_, Some(extension)) => path.with_file_name(format!("{stem} ({n}).{}", extension.to_string_lossy())),
            (_, None) => path.with_file_name(format!("{stem} ({n})")),
        };
        file = match file.persist_noclobber(&name) {
            Ok(_) => return Ok(name),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => error.file,
            Err(error) => return Err(error.error),
        };
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("there are {MOST} files of that name")))
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
    use std::sync::Arc;

    use super::*;
    use crate::tree::NewNode;

    #[test]
    fn what_nobody_allowed_to_replace_stays() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        for (name, second) in [("Ava.charx", "Ava (2).charx"), ("Ava", "Ava (2)")] {
            let path = folder.path().join(name);
            assert_eq!(write(&path, b"first", Existing::Keep).unwrap(), path);
            assert_eq!(write(&path, b"second", Existing::Keep).unwrap(), folder.path().join(second));
            let third = write(&path, b"third", Existing::Keep).unwrap();
            assert!(third.to_string_lossy().contains("Ava (3)"), "{third:?}");
            assert_eq!((read(name), read(second)), ("first".to_owned(), "second".to_owned()));
            assert_eq!(write(&path, b"fourth", Existing::Replace).unwrap(), path);
            assert_eq!(read(name), "fourth");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6, "no file of its own is left");
        let error = write(&folder.path().join("no folder/x"), b"", Existing::Keep).unwrap_err();
        assert!(format!("{error:#}").contains("no folder"), "{error:#}");
    }

    #[test]
    fn what_is_shown_of_the_open_chat_is_written_though_it_is_not_saved() {
        let folder = tempfile::tempdir().unwrap();
        let mut desk = Desk::open(folder.path(), Arc::new(|| {})).unwrap();
        desk.chat.tree.add(None, NewNode::user("Not on the disk."));
        let export = |kind: ChatFile| {
            let path = folder.path().join(format!("x.{}", kind.extension()));
            desk.export_chat(desk.chat.id, kind, ("You", "Guanaco"), &path, Existing::Keep)
        };
        for kind in [ChatFile::Markdown, ChatFile::Text] {
            let text = std::fs::read_to_string(export(kind).unwrap()).unwrap();
            assert!(text.contains("Not on the disk."), "{text}");
        }
        assert!(export(ChatFile::Json).is_err(), "the store does not have it");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_the_permissions_of_any_other() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (plain, ours) = (folder.path().join("plain"), folder.path().join("ours"));
        std::fs::write(&plain, "").unwrap();
        for existing in [Existing::Keep, Existing::Replace] {
            let path = write(&ours, b"x", existing).unwrap();
            assert_eq!(mode(&path), mode(&plain));
        }
        std::fs::set_permissions(&ours, std::fs::Permissions::from_mode(0o640)).unwrap();
        write(&ours, b"y", Existing::Replace).unwrap();
        assert_eq!(mode(&ours), 0o640);
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        assert_eq!(file_name("../../etc/passwd"), "______etc_passwd");
        assert_eq!(file_name("小明 Lee"), "小明 Lee");
        assert_eq!(file_name("  "), "guanaco");
    }
}
