//! What the store holds, and the changes it takes.

use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::tree::{NodeId, Tree, TreeChange, now_ms};

/// Names a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChatId(pub u64);

/// Milliseconds since 1970 above 20 random bits; within a process each is above the one before.
pub(super) fn fresh() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let id = (now_ms() << 20) | (random >> 44);
    let next = |last: u64| Some(id.max(last.saturating_add(1)));
    LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_or(id, |last| id.max(last.saturating_add(1)))
}

/// A chat without its messages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChatHead {
    /// As in the list of chats.
    #[serde(default)]
    pub title: String,
    /// In milliseconds since 1970 (UTC).
    #[serde(default)]
    pub created_ms: u64,
    /// In milliseconds since 1970 (UTC); the list of chats is sorted by it.
    #[serde(default)]
    pub updated_ms: u64,
    /// What the chat's owner keeps with it: preset, sampling, sources, characters.
    #[serde(default)]
    pub settings: Value,
}

impl ChatHead {
    /// Of a chat that begins now.
    pub fn new(title: impl Into<String>) -> Self {
        let now = now_ms();
        Self { title: title.into(), created_ms: now, updated_ms: now, ..Self::default() }
    }
}

/// A chat with all its messages.
#[derive(Debug, Clone)]
pub struct Chat {
    /// Title, dates and settings.
    pub head: ChatHead,
    /// Every message of every branch.
    pub tree: Tree,
}

/// A line of the list of chats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatSummary {
    /// Its name in the store.
    pub id: ChatId,
    /// As given; may be empty.
    pub title: String,
    /// In milliseconds since 1970 (UTC).
    pub created_ms: u64,
    /// In milliseconds since 1970 (UTC).
    pub updated_ms: u64,
    /// In all branches.
    pub n_messages: usize,
}

/// A character of the library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CharacterRecord {
    /// Its name in the store; [`super::Store::new_character_id`] has new ones.
    pub id: u64,
    /// As in the list of the library.
    pub name: String,
    /// The card as JSON, of whatever version, to the byte as it came.
    pub card: String,
    /// The picture's file, to the byte.
    pub portrait: Option<Vec<u8>>,
    /// How many other files came with the card: [`super::Store::files`].
    pub n_files: usize,
    /// In milliseconds since 1970 (UTC).
    pub updated_ms: u64,
}

/// How a character without its picture lies in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CardRow {
    #[serde(default)]
    pub(super) name: String,
    pub(super) card: String,
    #[serde(default)]
    pub(super) n_files: usize,
    #[serde(default)]
    pub(super) updated_ms: u64,
}

/// One thing to write. Each says how something is from now on, so that writing it twice is writing it once.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are messages: a box would only be one more allocation"
)]
pub enum Change {
    /// The chat is new, or has this head now. The first change of a new chat.
    ChatHead(ChatId, ChatHead),
    /// Fields of the chat that are none of this program's, kept for the next export.
    ChatExtra(ChatId, Map<String, Value>),
    /// What [`Tree::take_changes`] returned.
    Tree(ChatId, TreeChange),
    /// The alternatives to each token of a reply, as the caller packs them. They go with their message.
    Tokens(ChatId, NodeId, Vec<u8>),
    /// The chat is gone, with all its messages. The last change of a chat: a later one would begin it anew.
    DeleteChat(ChatId),
    /// The character is new, or as it is now.
    Character(CharacterRecord),
    /// The same, but for the picture, which stays as it is.
    Card(CharacterRecord),
    /// These are the other files that came with the character's card, by their paths in it.
    Files(u64, Vec<(String, Vec<u8>)>),
    /// The character is gone.
    DeleteCharacter(u64),
    /// The setting has this value now; null removes it.
    Setting(String, Value),
}
