//! The library of characters: cards that were made here or brought in, and who of them plays in the open chat.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::{Desk, News, told};
use crate::cards::{Card, Version, greetings};
use crate::store::{Change, CharacterRecord, now_ms};
use crate::tree::NewNode;

/// The largest file that is read as a card.
const MOST_BYTES: u64 = 64 << 20;

/// A character of the library.
#[derive(Debug, Clone)]
pub struct Character {
    /// Its id in the store.
    pub id: u64,
    /// The card.
    pub card: Card,
    /// Its picture's file, shared: a page that is drawn sixty times a second has it, too.
    pub portrait: Option<Arc<[u8]>>,
}

/// What a card is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardFile {
    /// A picture with the card in it, for every front end.
    Png,
    /// The card alone, version 3.
    Json,
    /// An archive of card and picture.
    Charx,
}

impl CardFile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Png, Self::Json, Self::Charx];

    /// The end of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Json => "json",
            Self::Charx => "charx",
        }
    }
}

/// The characters of `records`, and why some of them cannot be read.
pub(super) fn characters(records: Vec<CharacterRecord>) -> (Vec<Character>, Vec<News>) {
    let (mut found, mut news) = (Vec::new(), Vec::new());
    for CharacterRecord { id, name, card, portrait, .. } in records {
        match Card::from_json(&card) {
            Ok(card) => found.push(Character { id, card, portrait: portrait.map(Arc::from) }),
            Err(error) => news.push(News::Failed(format!("{name}: {error}"))),
        }
    }
    found.sort_by_key(|character| character.card.called().to_lowercase());
    (found, news)
}

/// `picture` as a PNG, which is what cards are written into.
#[cfg(feature = "gui")]
fn as_png(picture: &[u8]) -> anyhow::Result<Vec<u8>> {
    if picture.starts_with(b"\x89PNG") {
        return Ok(picture.to_vec());
    }
    let mut png = std::io::Cursor::new(Vec::new());
    let decoded = image::load_from_memory(picture).context("the portrait cannot be decoded")?;
    decoded.write_to(&mut png, image::ImageFormat::Png).context("the portrait cannot be written as PNG")?;
    Ok(png.into_inner())
}

/// As it is: without the window nothing decodes pictures.
#[cfg(not(feature = "gui"))]
fn as_png(picture: &[u8]) -> anyhow::Result<Vec<u8>> {
    Ok(picture.to_vec())
}

impl Desk {
    /// Takes the card in the file `path` into the library; returns its id. What is odd in it becomes news.
    ///
    /// # Errors
    /// When the file cannot be read, or is refused, with the reason.
    pub fn import_card(&mut self, path: &Path) -> anyhow::Result<u64> {
        let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
        if size > MOST_BYTES {
            bail!("{}: {size} bytes; expected at most {MOST_BYTES} of a character card", path.display());
        }
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let read = Card::read(&bytes, &name)?;
        self.news.extend(read.warnings.into_iter().map(News::Warning));
        let others = read.assets.len().saturating_sub(usize::from(read.portrait.is_some()));
        if others > 0 {
            let what = format!(
                "{name}: of the {others} files beside the portrait none is kept, as only the portrait is shown"
            );
            self.news.push(News::Warning(what));
        }
        Ok(self.add_character(read.card, read.portrait))
    }

    /// Adds a character to the library; returns its id.
    pub fn add_character(&mut self, card: Card, portrait: Option<Vec<u8>>) -> u64 {
        let id = self.store.new_character_id();
        self.put_character(Character { id, card, portrait: portrait.map(Arc::from) });
        id
    }

    /// Puts a character that the embedded model can play into a library that never had one. Once it is deleted it stays so.
    pub(super) fn add_sample(&mut self) {
        self.keep("sample", &true);
        if self.characters.is_empty() {
            self.add_character(Card::from_traits("Zorina", &["Nature: grumpy", "Home: Velka", "Cat: Tomo"]), None);
        }
    }

    /// Keeps `character` as it is now.
    pub fn put_character(&mut self, character: Character) {
        let record = CharacterRecord {
            id: character.id,
            name: character.card.called().to_owned(),
            card: character.card.json(),
            portrait: character.portrait.as_deref().map(<[u8]>::to_vec),
            updated_ms: now_ms(),
        };
        self.saver.save(vec![Change::Character(record)]);
        self.characters.retain(|other| other.id != character.id);
        self.characters.push(character);
        self.characters.sort_by_key(|character| character.card.called().to_lowercase());
        self.chat.version += 1;
    }

    /// Takes a character out of the library, and out of the open chat.
    pub fn delete_character(&mut self, id: u64) {
        self.dismiss(id);
        self.characters.retain(|character| character.id != id);
        self.saver.save(vec![Change::DeleteCharacter(id)]);
    }

    /// The character `id`.
    pub fn character(&self, id: u64) -> Option<&Character> {
        self.characters.iter().find(|character| character.id == id)
    }

    /// Writes the card of `id` to `path`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn export_card(&self, id: u64, kind: CardFile, path: &Path) -> anyhow::Result<()> {
        let character = self.character(id).context("this character is not in the library any more")?;
        let bytes = match kind {
            CardFile::Png => {
                character.card.to_png(character.portrait.as_deref().map(as_png).transpose()?.as_deref())?
            }
            CardFile::Json => character.card.to_json(Version::V3).into_bytes(),
            CardFile::Charx => {
                let mut card = character.card.clone();
                let asset = character.portrait.as_deref().map(<[u8]>::to_vec).and_then(crate::cards::Asset::portrait);
                let assets: Vec<_> = asset
                    .into_iter()
                    .map(|(asset, link)| {
                        card.set_asset(&link);
                        asset
                    })
                    .collect();
                card.to_charx(&assets)?
            }
        };
        super::files::write(path, &bytes)
    }

    /// Lets the character play in the open chat. Where nothing was said yet, it greets: each of its greetings is an answer to swipe to.
    pub fn play(&mut self, id: u64) {
        let Some(character) = self.character(id) else { return };
        if self.answering.is_some() || self.chat.settings.characters.contains(&id) {
            return;
        }
        let greetings = greetings(&character.card, self.chat.settings.user_name.as_str(), self.chat.id.0);
        let name = crate::cards::mend_name(character.card.called());
        self.chat.settings.characters.push(id);
        if self.chat.is_empty() {
            let nodes: Vec<_> = greetings
                .into_iter()
                .map(|text| self.chat.tree.add(None, NewNode::assistant(text).named(name.clone())))
                .collect();
            if let Some(first) = nodes.first() {
                self.chat.tree.choose(*first);
            }
            self.chat.title = name;
        }
        self.chat.touch();
        self.save_chat();
    }

    /// Takes the character out of the open chat.
    pub fn dismiss(&mut self, id: u64) {
        let settings = &mut self.chat.settings;
        settings.characters.retain(|other| *other != id);
        settings.speaker = settings.speaker.filter(|speaker| *speaker != id);
        self.chat.touch();
        self.save_chat();
    }

    /// Lets `id`, of several, speak next without a message of the user.
    pub fn let_speak(&mut self, id: u64) {
        self.chat.settings.speaker = Some(id);
        self.chat.touch();
        if let Some(leaf) = self.chat.tree.leaf() {
            self.answer_to(leaf);
        }
    }

    /// Brings in the file at `path` and lets it play, or tells why not.
    pub fn import_and_tell(&mut self, path: &Path) -> Option<u64> {
        match self.import_card(path) {
            Ok(id) => Some(id),
            Err(error) => {
                self.news.push(News::Failed(told(&error)));
                None
            }
        }
    }
}
