//! What was told as saved, and whether a store still has it. Whoever writes prints lines; whoever kills reads them and checks.
//!
//! `S chat node parent length hash`: the message begins with so many characters, which have that hash, and may have grown since.
//! `d chat node`: it is about to be deleted, and may be gone. `D chat node`: it is deleted for good. `K key value`: the setting is
//! at least so high.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::{Context as _, ensure};
use guanaco::store::{ChatId, Store};
use guanaco::tree::{Node, NodeId};

#[derive(Debug, Clone, Copy)]
struct Said {
    /// 0 for none.
    parent: u64,
    length: usize,
    hash: u64,
}

/// All that was told, from one or several lives of the writer.
#[derive(Debug, Default, Clone)]
pub(crate) struct Facts {
    saved: BTreeMap<(u64, u64), Said>,
    may_be_gone: BTreeSet<(u64, u64)>,
    gone: BTreeSet<(u64, u64)>,
    settings: BTreeMap<String, u64>,
}

impl Facts {
    /// Takes in a line that a writer printed.
    pub(crate) fn hear(&mut self, line: &str) -> anyhow::Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |place: usize| -> anyhow::Result<u64> {
            words.get(place).context("a word is missing")?.parse().with_context(|| format!("the line {line:?}"))
        };
        match words[0] {
            "S" => {
                let place = (number(1)?, number(2)?);
                let said = Said { parent: number(3)?, length: usize::try_from(number(4)?)?, hash: number(5)? };
                if self.saved.get(&place).is_none_or(|known| known.length <= said.length) {
                    self.saved.insert(place, said);
                }
            }
            "d" => drop(self.may_be_gone.insert((number(1)?, number(2)?))),
            "D" => drop(self.gone.insert((number(1)?, number(2)?))),
            "K" => drop(self.settings.insert(words.get(1).context("no key")?.to_string(), number(2)?)),
            _ => anyhow::bail!("the line {line:?}"),
        }
        Ok(())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.saved.len() + self.gone.len() + self.settings.len()
    }

    /// Whether all of it is so in `store`; returns how many facts were looked at.
    pub(crate) fn check(&self, store: &Store) -> anyhow::Result<usize> {
        let mut trees = BTreeMap::new();
        for chat in store.chats()? {
            trees.insert(chat.id.0, store.chat(chat.id)?.tree);
        }
        for (&(chat, id), &Said { parent, length, hash }) in &self.saved {
            let node = trees.get(&chat).and_then(|tree| tree.node(NodeId(id)));
            let Some(node) = node else {
                ensure!(self.may_be_gone.contains(&(chat, id)), "message {id} of chat {chat} was saved, and is lost");
                continue;
            };
            ensure!(!self.gone.contains(&(chat, id)), "message {id} of chat {chat} was deleted, and is back");
            ensure!(node.parent.map_or(0, |id| id.0) == parent, "message {id} of chat {chat} lost its parent");
            let have = node.content.chars().count();
            ensure!(
                have >= length,
                "of message {id} of chat {chat} {length} characters were saved, and {have} are left"
            );
            ensure!(hash == begins(&node.content, length), "message {id} of chat {chat} says something else");
        }
        for (key, value) in &self.settings {
            let found = store.setting(key).and_then(|found| found.as_u64());
            ensure!(found >= Some(*value), "the setting {key} was saved as {value}, and is {found:?}");
        }
        for summary in store.chats()? {
            let tree = &trees[&summary.id.0];
            ensure!(summary.n_messages == tree.len(), "{} messages are counted of {}", summary.n_messages, tree.len());
            ensure!(tree.is_empty() || tree.leaf().is_some(), "a chat has messages, and no path");
        }
        Ok(self.count())
    }
}

/// The line that says that a message is saved. White space at its end may go when it is finished.
pub(crate) fn saved(chat: ChatId, node: &Node) -> String {
    let (parent, length) = (node.parent.map_or(0, |id| id.0), node.content.trim_end().chars().count());
    format!("S {} {} {parent} {length} {}", chat.0, node.id.0, begins(&node.content, length))
}

/// A hash of the first `length` characters, the same in every process.
fn begins(text: &str, length: usize) -> u64 {
    let end = text.char_indices().nth(length).map_or(text.len(), |(end, _)| end);
    let mut hasher = DefaultHasher::new();
    text[..end].hash(&mut hasher);
    hasher.finish()
}
