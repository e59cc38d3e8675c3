//! Changes become rows, all of a call in one transaction.

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use super::records::CardRow;
use super::{Change, CharacterRecord, ChatHead, ChatId, Store, StoreError, guarded};
use crate::tree::{Node, NodeId, TreeChange};

/// Of a chat and a message of it; in `CHOSEN` of a chat and a fork, [`BEGINNING`] for where conversations begin.
type Place = (u64, u64);
/// No message has this id.
pub(super) const BEGINNING: u64 = 0;

/// [`ChatHead`] as JSON.
pub(super) const CHATS: TableDefinition<u64, &[u8]> = TableDefinition::new("chats");
/// The fields of a chat that are none of this program's, as a JSON object.
pub(super) const EXTRAS: TableDefinition<u64, &[u8]> = TableDefinition::new("extras");
/// Of each chat the highest id that was ever given, and the number of messages.
pub(super) const COUNTS: TableDefinition<u64, (u64, u64)> = TableDefinition::new("counts");
/// [`Node`] as JSON.
pub(super) const NODES: TableDefinition<Place, &[u8]> = TableDefinition::new("nodes");
/// The chosen child.
pub(super) const CHOSEN: TableDefinition<Place, u64> = TableDefinition::new("chosen");
/// Bytes of the caller's.
pub(super) const TOKENS: TableDefinition<Place, &[u8]> = TableDefinition::new("tokens");
/// Deleted messages whose tokens wait for an undo until the next start.
pub(super) const REMOVED: TableDefinition<Place, ()> = TableDefinition::new("removed");
/// [`CardRow`] as JSON.
pub(super) const CHARACTERS: TableDefinition<u64, &[u8]> = TableDefinition::new("characters");
/// Image files.
pub(super) const PORTRAITS: TableDefinition<u64, &[u8]> = TableDefinition::new("portraits");
/// Of a character and a path: other files that came with its card.
pub(super) const FILES: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("files");
/// JSON.
pub(super) const SETTINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("settings");

/// Opens every table, so that readers find them.
pub(super) fn make_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    Tables::open(transaction).map(drop)
}

/// Every file of a character.
pub(super) fn of_character(id: u64) -> std::ops::Range<(u64, &'static str)> {
    (id, "")..(id.saturating_add(1), "")
}

/// Every row of a chat.
pub(super) fn of_chat(chat: ChatId) -> std::ops::RangeInclusive<Place> {
    (chat.0, 0)..=(chat.0, u64::MAX)
}

impl Store {
    /// Writes `changes`, all or none of them; they are durable when this returns. [`super::Saver`] does it on a thread of its own.
    ///
    /// # Errors
    /// When the system refuses. What was written before is still there, and the same changes can be tried again.
    pub fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.transaction(|tables| changes.iter().try_for_each(|change| tables.apply(change)))
    }

    /// Drops the tokens of messages that were deleted in earlier runs.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        let any = self.reading(|transaction| Ok(transaction.open_table(REMOVED)?.first()?.is_some()))?;
        if !any {
            return Ok(());
        }
        self.transaction(|tables| {
            let places = keys(tables.removed.iter()?)?;
            for place in places {
                tables.tokens.remove(place)?;
                tables.removed.remove(place)?;
            }
            Ok(())
        })
    }

    fn transaction(&self, run: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        if self.is_shut() {
            self.reopen()?;
        }
        let result = self.with_database(|database| {
            guarded(&self.path(), || {
                // Its commit returns when the file is synced: `Durability::Immediate` is the default.
                let transaction = database.begin_write()?;
                run(&mut Tables::open(&transaction)?)?;
                Ok(transaction.commit()?)
            })
        });
        if result.is_err() {
            // The next attempt tells the caller when this fails, too.
            let _ = self.reopen();
        }
        result
    }
}

struct Tables<'t> {
    chats: Table<'t, u64, &'static [u8]>,
    extras: Table<'t, u64, &'static [u8]>,
    counts: Table<'t, u64, (u64, u64)>,
    nodes: Table<'t, Place, &'static [u8]>,
    chosen: Table<'t, Place, u64>,
    tokens: Table<'t, Place, &'static [u8]>,
    removed: Table<'t, Place, ()>,
    characters: Table<'t, u64, &'static [u8]>,
    portraits: Table<'t, u64, &'static [u8]>,
    files: Table<'t, (u64, &'static str), &'static [u8]>,
    settings: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            chats: transaction.open_table(CHATS)?,
            extras: transaction.open_table(EXTRAS)?,
            counts: transaction.open_table(COUNTS)?,
            nodes: transaction.open_table(NODES)?,
            chosen: transaction.open_table(CHOSEN)?,
            tokens: transaction.open_table(TOKENS)?,
            removed: transaction.open_table(REMOVED)?,
            characters: transaction.open_table(CHARACTERS)?,
            portraits: transaction.open_table(PORTRAITS)?,
            files: transaction.open_table(FILES)?,
            settings: transaction.open_table(SETTINGS)?,
        })
    }

    fn apply(&mut self, change: &Change) -> Result<(), redb::Error> {
        match change {
            Change::ChatHead(chat, head) => drop(self.chats.insert(chat.0, json(head)?.as_slice())?),
            Change::ChatExtra(chat, extra) => drop(self.extras.insert(chat.0, json(extra)?.as_slice())?),
            Change::Tree(chat, TreeChange::Node(node)) => self.node(*chat, node)?,
            Change::Tree(chat, TreeChange::Removed(id)) => self.remove(*chat, *id)?,
            Change::Tree(chat, TreeChange::Chosen { parent, child }) => {
                drop(self.chosen.insert((chat.0, parent.map_or(BEGINNING, |id| id.0)), child.0)?);
            }
            Change::Tokens(chat, id, bytes) => drop(self.tokens.insert((chat.0, id.0), bytes.as_slice())?),
            Change::DeleteChat(chat) => {
                self.chats.remove(chat.0)?;
                self.extras.remove(chat.0)?;
                self.counts.remove(chat.0)?;
                self.nodes.retain_in(of_chat(*chat), |_, _| false)?;
                self.chosen.retain_in(of_chat(*chat), |_, _| false)?;
                self.tokens.retain_in(of_chat(*chat), |_, _| false)?;
                self.removed.retain_in(of_chat(*chat), |_, ()| false)?;
            }
            Change::Character(record) => {
                self.card(record)?;
                match &record.portrait {
                    Some(bytes) => drop(self.portraits.insert(record.id, bytes.as_slice())?),
                    None => drop(self.portraits.remove(record.id)?),
                }
            }
            Change::Card(record) => self.card(record)?,
            Change::Files(id, files) => {
                self.files.retain_in(of_character(*id), |_, _| false)?;
                for (path, bytes) in files {
                    self.files.insert((*id, path.as_str()), bytes.as_slice())?;
                }
            }
            Change::DeleteCharacter(id) => {
                self.characters.remove(id)?;
                self.portraits.remove(id)?;
                self.files.retain_in(of_character(*id), |_, _| false)?;
            }
            Change::Setting(key, value) if value.is_null() => drop(self.settings.remove(key.as_str())?),
            Change::Setting(key, value) => drop(self.settings.insert(key.as_str(), json(value)?.as_slice())?),
        }
        Ok(())
    }

    fn node(&mut self, chat: ChatId, node: &Node) -> Result<(), redb::Error> {
        let place = (chat.0, node.id.0);
        let new = self.nodes.insert(place, json(node)?.as_slice())?.is_none();
        if !new {
            return Ok(());
        }
        let (last, count) = self.counts.get(chat.0)?.map_or((0, 0), |counts| counts.value());
        self.counts.insert(chat.0, (last.max(node.id.0), count + 1))?;
        // It was deleted, and is back.
        self.removed.remove(place)?;
        if count == 0 && self.chats.get(chat.0)?.is_none() {
            // Without a head nobody would find the messages.
            let head = ChatHead { created_ms: node.created_ms, updated_ms: node.created_ms, ..ChatHead::default() };
            self.chats.insert(chat.0, json(&head)?.as_slice())?;
        }
        Ok(())
    }

    fn remove(&mut self, chat: ChatId, id: NodeId) -> Result<(), redb::Error> {
        let place = (chat.0, id.0);
        let was_there = self.nodes.remove(place)?.is_some();
        if !was_there && self.chats.get(chat.0)?.is_none() {
            return Ok(());
        }
        let (last, count) = self.counts.get(chat.0)?.map_or((0, 0), |counts| counts.value());
        // One that came and went between two saves is never given again either.
        self.counts.insert(chat.0, (last.max(id.0), count.saturating_sub(u64::from(was_there))))?;
        self.chosen.remove(place)?;
        if self.tokens.get(place)?.is_some() {
            self.removed.insert(place, ())?;
        }
        Ok(())
    }

    fn card(&mut self, record: &CharacterRecord) -> Result<(), redb::Error> {
        let CharacterRecord { id, name, card, n_files, updated_ms, .. } = record;
        let row = CardRow { name: name.clone(), card: card.clone(), n_files: *n_files, updated_ms: *updated_ms };
        self.characters.insert(id, json(&row)?.as_slice())?;
        Ok(())
    }
}

fn keys(rows: redb::Range<'_, Place, ()>) -> Result<Vec<Place>, redb::Error> {
    rows.map(|row| Ok(row?.0.value())).collect()
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, redb::Error> {
    // None of the records has a key that is no text, which is all that could fail.
    serde_json::to_vec(value).map_err(|error| redb::Error::Io(error.into()))
}
