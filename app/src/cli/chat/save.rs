//! What `/save` writes and `--resume` reads: the conversation, and how its replies are made.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use guanaco_engine::prompt::Conversation;
use guanaco_engine::sampler::SamplerConfig;
use serde::{Deserialize, Serialize};

use crate::chat::Chat;
use crate::cli::input;
use crate::format::PresetChoice;
use crate::private;

/// A saved chat. A file with nothing but the conversation is one too.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Saved {
    #[serde(flatten)]
    pub(super) conversation: Conversation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) preset: Option<PresetChoice>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) sampling: Option<SamplerConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_new_tokens: Option<usize>,
}

impl Saved {
    /// Of `chat` as it is.
    pub(super) fn of(chat: &Chat) -> Self {
        Self {
            conversation: chat.conversation.clone(),
            preset: Some(chat.preset),
            sampling: Some(chat.sampler.clone()),
            max_new_tokens: Some(chat.max_new_tokens),
        }
    }

    /// The chat in the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = input::file(path)?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not a conversation that /save wrote", path.display()))
    }

    /// Writes it to `path`: whole or not at all, whatever happens on the way.
    ///
    /// # Errors
    /// When it cannot be written; then a file that was there before is as it was.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)? + "\n";
        replace(path, json.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Puts `bytes` in place of the file at `path`, through a new file beside it.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A link stays a link: what it points to is replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut name = path.file_name().ok_or(std::io::ErrorKind::InvalidFilename)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = private::options().write(true).create_new(true).open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        if let Ok(old) = fs::metadata(&path) {
            file.set_permissions(old.permissions())?;
        }
        file.sync_all()?;
        fs::rename(&beside, &path)
    });
    if written.is_err() {
        // The reason of the failure says more than one of the tidying.
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use guanaco_engine::prompt::{Message, Preset};

    use super::*;

    #[test]
    fn a_chat_comes_back_with_its_settings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.json");
        let sampler = SamplerConfig { temperature: 0.25, seed: 9, ..SamplerConfig::default() };
        let mut chat = Chat::new(sampler, 77);
        chat.preset = Preset::Alpaca.into();
        chat.conversation.messages = vec![Message::user("hi"), Message::assistant("ho")];
        for _ in 0..2 {
            Saved::of(&chat).write(&path).unwrap();
            assert_eq!(Saved::read(&path).unwrap(), Saved::of(&chat));
            chat.conversation.messages.truncate(1);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "something was left beside the file");
    }

    #[test]
    fn a_conversation_alone_is_a_saved_chat() {
        let saved: Saved = serde_json::from_str(r#"{"messages":[{"role":"user","content":"hi"}]}"#).unwrap();
        assert_eq!(saved.conversation.messages, [Message::user("hi")]);
        assert_eq!((saved.preset, saved.sampling, saved.max_new_tokens), (None, None, None));
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("inside"), "x").unwrap();
        assert!(replace(&taken, b"new").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&dir.path().join("no/such/folder"), b"new").is_err());
    }
}
