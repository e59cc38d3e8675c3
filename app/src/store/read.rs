//! Rows become chats, characters and settings, each call in one transaction.

use std::collections::BTreeSet;

use redb::{ReadTransaction, ReadableTable as _};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::records::CardRow;
use super::write::{
    BEGINNING, CHARACTERS, CHATS, CHOSEN, COUNTS, EXTRAS, FILES, NODES, PORTRAITS, SETTINGS, TOKENS, of_character,
    of_chat,
};
use super::{CharacterRecord, Chat, ChatHead, ChatId, ChatSummary, Store, StoreError};
use crate::tree::{Node, NodeId, Tree};

impl Store {
    /// Every chat, the one that was changed last first.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn chats(&self) -> Result<Vec<ChatSummary>, StoreError> {
        self.reading(|transaction| {
            let counts = transaction.open_table(COUNTS)?;
            let mut chats = Vec::new();
            for row in transaction.open_table(CHATS)?.iter()? {
                let (id, head) = row?;
                let id = ChatId(id.value());
                let ChatHead { title, created_ms, updated_ms, .. } = parse(head.value(), "the head of a chat")?;
                let n_messages = counts.get(id.0)?.map_or(0, |counts| counts.value().1);
                let n_messages = usize::try_from(n_messages).unwrap_or(usize::MAX);
                chats.push(ChatSummary { id, title, created_ms, updated_ms, n_messages });
            }
            chats.sort_by_key(|chat| std::cmp::Reverse((chat.updated_ms, chat.id)));
            Ok(chats)
        })
    }

    /// A chat with all its messages, as it was last saved.
    ///
    /// # Errors
    /// When there is no such chat, the file cannot be read, or is damaged.
    pub fn chat(&self, id: ChatId) -> Result<Chat, StoreError> {
        let chat = self.reading(|transaction| {
            let Some(head) = transaction.open_table(CHATS)?.get(id.0)? else { return Ok(None) };
            let head = parse(head.value(), "the head of a chat")?;
            Ok(Some(Chat { head, tree: tree(transaction, id)? }))
        })?;
        chat.ok_or_else(|| StoreError::NotThere { what: "chat", id: id.0, path: self.path() })
    }

    /// The fields of a chat that are none of this program's ([`super::Change::ChatExtra`]).
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn chat_extra(&self, id: ChatId) -> Result<Map<String, Value>, StoreError> {
        self.reading(|transaction| match transaction.open_table(EXTRAS)?.get(id.0)? {
            Some(extra) => parse(extra.value(), "the fields of a chat"),
            None => Ok(Map::new()),
        })
    }

    /// The library with its pictures, the oldest character first.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn characters(&self) -> Result<Vec<CharacterRecord>, StoreError> {
        self.reading(|transaction| {
            let portraits = transaction.open_table(PORTRAITS)?;
            let mut characters = Vec::new();
            for row in transaction.open_table(CHARACTERS)?.iter()? {
                let (id, row) = row?;
                let id = id.value();
                let CardRow { name, card, n_files, updated_ms } = parse(row.value(), "a character")?;
                let portrait = portraits.get(id)?.map(|bytes| bytes.value().to_vec());
                characters.push(CharacterRecord { id, name, card, portrait, n_files, updated_ms });
            }
            Ok(characters)
        })
    }

    /// The files that came with the card of the character `id`, beside its picture, by their paths.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn files(&self, id: u64) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.reading(|transaction| {
            let mut files = Vec::new();
            for row in transaction.open_table(FILES)?.range(of_character(id))? {
                let (place, bytes) = row?;
                files.push((place.value().1.to_owned(), bytes.value().to_vec()));
            }
            Ok(files)
        })
    }

    /// The value of a setting; None when it was never set. A file that cannot be read has none: what it is needed for goes on with
    /// the defaults, and reading the chats says what is wrong.
    pub fn setting(&self, key: &str) -> Option<Value> {
        let read = self.reading(|transaction| {
            let Some(value) = transaction.open_table(SETTINGS)?.get(key)? else { return Ok(None) };
            parse(value.value(), "a setting").map(Some)
        });
        noted(read)
    }

    /// What was saved with a reply by [`super::Change::Tokens`]; None where there is nothing, and when the file cannot be read.
    pub fn tokens(&self, chat: ChatId, node: NodeId) -> Option<Vec<u8>> {
        noted(self.reading(|transaction| {
            let bytes = transaction.open_table(TOKENS)?.get((chat.0, node.0))?;
            Ok(bytes.map(|bytes| bytes.value().to_vec()))
        }))
    }

    /// The same of every message of a chat that has them, for an export.
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn all_tokens(&self, chat: ChatId) -> Result<Vec<(NodeId, Vec<u8>)>, StoreError> {
        self.reading(|transaction| {
            let nodes = transaction.open_table(NODES)?;
            let mut all = Vec::new();
            for row in transaction.open_table(TOKENS)?.range(of_chat(chat))? {
                let (place, bytes) = row?;
                if nodes.get(place.value())?.is_some() {
                    all.push((NodeId(place.value().1), bytes.value().to_vec()));
                }
            }
            Ok(all)
        })
    }
}

fn noted<T>(read: Result<Option<T>, StoreError>) -> Option<T> {
    read.unwrap_or_else(|error| {
        tracing::warn!("{error}");
        None
    })
}

fn tree(transaction: &ReadTransaction, chat: ChatId) -> Result<Tree, redb::Error> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut ids = BTreeSet::new();
    for row in transaction.open_table(NODES)?.range(of_chat(chat))? {
        let (place, node) = row?;
        let mut node: Node = parse(node.value(), "a message")?;
        node.id = NodeId(place.value().1);
        // What lost its parent is shown as a beginning, rather than not at all.
        node.parent = node.parent.filter(|parent| ids.contains(parent));
        ids.insert(node.id);
        nodes.push(node);
    }
    let mut chosen = Vec::new();
    for row in transaction.open_table(CHOSEN)?.range(of_chat(chat))? {
        let (fork, child) = row?;
        let fork = fork.value().1;
        chosen.push(((fork != BEGINNING).then_some(NodeId(fork)), NodeId(child.value())));
    }
    let last = transaction.open_table(COUNTS)?.get(chat.0)?.map_or(0, |counts| counts.value().0);
    Tree::from_parts(nodes, chosen, last).map_err(|error| redb::Error::Corrupted(error.to_string()))
}

fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, redb::Error> {
    serde_json::from_slice(bytes).map_err(|error| redb::Error::Corrupted(format!("{what} is not readable: {error}")))
}
