//! A writer that does what people do in chats, at random, and tells what is durable.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use guanaco::store::{Change, CharacterRecord, ChatHead, ChatId, Saver, Store, Ticket};
use guanaco::tree::{NewNode, NodeId, Tree};

use super::facts;

/// Random, the same for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// The first `length` characters of what message `id` says.
pub(crate) fn text(id: u64, length: usize) -> String {
    let mut text = String::new();
    for n in 0_u64.. {
        if text.len() > length * 4 {
            break;
        }
        let _ = write!(text, "{} 日本 ß{} ", id.wrapping_mul(2_654_435_761 + n) % 100_000, id);
    }
    text.chars().take(length).collect()
}

/// Whether every message of every chat says what this writer lets it say, to the last character.
pub(crate) fn check_texts(store: &Store) -> anyhow::Result<()> {
    for summary in store.chats()? {
        for node in store.chat(summary.id)?.tree.nodes() {
            let length = node.content.chars().count();
            ensure!(node.content == text(node.id.0, length), "message {} of chat {} is torn", node.id.0, summary.id.0);
        }
    }
    Ok(())
}

/// An open chat that is written to.
pub(crate) struct Writer {
    pub(crate) saver: Saver,
    store: Arc<Store>,
    chat: ChatId,
    tree: Tree,
    streaming: Option<NodeId>,
    steps: u64,
    told: VecDeque<(Ticket, String)>,
    dice: Dice,
}

impl Writer {
    /// Goes on with the newest chat in `store`, or begins one.
    pub(crate) fn new(store: Arc<Store>, seed: u64) -> anyhow::Result<Self> {
        let mut dice = Dice(seed);
        let newest = store.chats()?.first().map(|chat| chat.id).filter(|_| dice.roll(8) > 0);
        let saver = Saver::start(store.clone(), || {});
        let (chat, tree) = match newest {
            Some(id) => (id, store.chat(id)?.tree),
            None => (store.new_chat_id(), Tree::new()),
        };
        let steps = store.setting("steps").and_then(|steps| steps.as_u64()).unwrap_or(0);
        let mut writer = Self { saver, store, chat, tree, streaming: None, steps, told: VecDeque::new(), dice };
        writer.save(vec![Change::ChatHead(chat, ChatHead::new("crash"))], Vec::new());
        Ok(writer)
    }

    /// One random step. `tell` gets what must be known before it is done.
    pub(crate) fn step(&mut self, tell: &mut dyn FnMut(&str)) {
        self.steps += 1;
        let ids = self.tree.path_ids();
        let some = (!ids.is_empty()).then(|| ids[self.dice.roll(ids.len() as u64) as usize]);
        let mut touched = Vec::new();
        let mut lines = Vec::new();
        let mut changes = Vec::new();
        match (self.dice.roll(20), self.streaming, some) {
            // Mostly, a reply grows.
            (0..=11, Some(id), _) if self.tree.node(id).is_some() => {
                let more = 1 + self.dice.roll(200) as usize;
                let done = self.dice.roll(6) == 0;
                self.tree.update(id, |node| {
                    node.content = text(id.0, node.content.chars().count() + more);
                    node.complete = done;
                });
                touched.push(id);
                if done {
                    self.streaming = None;
                    let alternatives = vec![7; self.dice.roll(20_000) as usize];
                    changes.push(Change::Tokens(self.chat, id, alternatives));
                }
            }
            (12, _, Some(id)) => {
                touched.extend(self.tree.edit(id, ""));
            }
            (13, _, Some(id)) => drop(self.tree.swipe(id, self.dice.roll(3) as isize - 1)),
            (14, _, Some(id)) if self.dice.roll(3) == 0 => {
                for node in self.tree.delete(id).iter().flat_map(|removed| removed.nodes()) {
                    tell(&format!("d {} {}", self.chat.0, node.id.0));
                    lines.push(format!("D {} {}", self.chat.0, node.id.0));
                }
            }
            (15, _, _) => changes.push(Change::Character(CharacterRecord {
                id: self.store.new_character_id(),
                portrait: Some(vec![1; 30_000]),
                ..CharacterRecord::default()
            })),
            _ => {
                let question = self.tree.add(self.tree.leaf(), NewNode::user(""));
                let reply = self.tree.add(Some(question), NewNode::streaming());
                touched.extend([question, reply]);
                self.streaming = Some(reply);
            }
        }
        for id in touched {
            let has = self.tree.node(id).map_or(0, |node| node.content.chars().count());
            let length = if has == 0 && Some(id) != self.streaming { 1 + self.dice.roll(300) as usize } else { has };
            self.tree.update(id, |node| node.content = text(id.0, length));
            lines.extend(self.tree.node(id).map(|node| facts::saved(self.chat, node)));
        }
        changes.push(Change::Setting("steps".to_owned(), self.steps.into()));
        lines.push(format!("K steps {}", self.steps));
        self.save(changes, lines);
    }

    fn save(&mut self, mut changes: Vec<Change>, lines: Vec<String>) {
        changes.extend(self.tree.take_changes().into_iter().map(|change| Change::Tree(self.chat, change)));
        let ticket = self.saver.save(changes);
        self.told.extend(lines.into_iter().map(|line| (ticket, line)));
    }

    /// Tells what has become durable.
    pub(crate) fn tell_saved(&mut self, tell: &mut dyn FnMut(&str)) {
        let saved = self.saver.saved();
        while self.told.front().is_some_and(|(ticket, _)| *ticket <= saved) {
            self.told.pop_front().iter().for_each(|(_, line)| tell(line));
        }
    }

    /// Whether all is durable, after at most `timeout`.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        self.saver.flush(timeout)
    }

    /// The store that it writes to.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}
