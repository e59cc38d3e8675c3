//! The library of characters: cards that were made here or brought in, and who of them plays in the open chat.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::prompt::Role;

use super::files::Existing;
use super::{Desk, News, SAVE_EVERY, told};
use crate::cards::{Asset, AssetLink, Card, Version, check_portrait, greetings, group_greetings};
use crate::store::{Change, CharacterRecord, now_ms};
use crate::tree::NewNode;

/// The largest file that is read as a card.
const MOST_BYTES: u64 = 64 << 20;

/// A character of the library.
#[derive(Debug, Clone)]
pub struct Character {
    /// Its id in the store.
    pub id: u64,
    /// The card, shared: a page that is drawn sixty times a second has it, too.
    pub card: Arc<Card>,
    /// Its picture's file, shared as well.
    pub portrait: Option<Arc<[u8]>>,
    /// How many other files came with the card, which the store has.
    pub n_files: usize,
}

/// What a card is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardFile {
    /// A picture with the card in it, for every front end.
    Png,
    /// The card alone.
    Json(Version),
    /// An archive of card, picture and what else came with it.
    Charx,
}

impl CardFile {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Png, Self::Charx, Self::Json(Version::V3), Self::Json(Version::V2), Self::Json(Version::V1)];

    /// The end of the file's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Json(_) => "json",
            Self::Charx => "charx",
        }
    }
}

/// The characters of `records`, and why some of them cannot be read.
pub(super) fn characters(records: Vec<CharacterRecord>) -> (Vec<Character>, Vec<News>) {
    let (mut found, mut news) = (Vec::new(), Vec::new());
    for CharacterRecord { id, name, card, portrait, n_files, .. } in records {
        let portrait = portrait.map(Arc::from);
        match Card::from_json(&card) {
            Ok(card) => found.push(Character { id, card: Arc::new(card), portrait, n_files }),
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

/// The bytes of a file that a person named, and its name.
fn read(path: &Path) -> anyhow::Result<(Vec<u8>, String)> {
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if size > MOST_BYTES {
        bail!("{}: {size} bytes; expected at most {MOST_BYTES} of a card or a picture", path.display());
    }
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((bytes, path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()))
}

/// Whether the file at `path` is a card, and not a picture alone.
pub fn is_card(path: &Path) -> bool {
    read(path).is_ok_and(|(bytes, name)| Card::read(&bytes, &name).is_ok())
}

/// Which characters differ from what the store has.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    /// True where the portrait does, too.
    ids: BTreeMap<u64, bool>,
    saved_at: Option<Instant>,
}

impl Desk {
    /// Takes the card in the file `path` into the library; returns its id. What is odd in it becomes news.
    ///
    /// # Errors
    /// When the file cannot be read, or is refused, with the reason.
    pub fn import_card(&mut self, path: &Path) -> anyhow::Result<u64> {
        let (bytes, name) = read(path)?;
        let mut read = Card::read(&bytes, &name)?;
        let files = read.take_files();
        self.news.extend(read.warnings.into_iter().map(News::Warning));
        let id = self.store.new_character_id();
        self.add(id, read.card, read.portrait, files);
        Ok(id)
    }

    /// Adds a character to the library; returns its id.
    pub fn add_character(&mut self, card: Card, portrait: Option<Vec<u8>>) -> u64 {
        let id = self.store.new_character_id();
        self.add(id, card, portrait, Vec::new());
        id
    }

    /// Adds a character under the id that a chat has for it.
    pub(super) fn adopt_character(&mut self, id: u64, card: Card) {
        self.add(id, card, None, Vec::new());
    }

    fn add(&mut self, id: u64, card: Card, portrait: Option<Vec<u8>>, files: Vec<Asset>) {
        let (portrait, n_files) = (portrait.map(Arc::from), files.len());
        self.characters.push(Character { id, card: Arc::new(card), portrait, n_files });
        self.character_changed(id, true);
        let mut changes = self.character_changes();
        // Only with the card itself: files of nobody would stay for good.
        if n_files > 0 && changes.iter().any(|change| matches!(change, Change::Character(record) if record.id == id)) {
            changes.push(Change::Files(id, files.into_iter().map(|asset| (asset.path, asset.bytes)).collect()));
        }
        self.saver.save(changes);
    }

    /// Puts a character that the embedded model can play into a library that never had one. Once it is deleted it stays so.
    pub(super) fn add_sample(&mut self) {
        self.keep("sample", &true);
        if self.characters.is_empty() {
            self.add_character(Card::from_traits("Zorina", &["Nature: grumpy", "Home: Velka", "Cat: Tomo"]), None);
        }
    }

    /// Changes the card of `id`, and keeps it soon ([`Desk::poll`]): letters that are typed need no transaction each.
    pub fn edit_character(&mut self, id: u64, change: impl FnOnce(&mut Card)) {
        let Some(character) = self.characters.iter_mut().find(|character| character.id == id) else { return };
        change(Arc::make_mut(&mut character.card));
        self.character_changed(id, false);
    }

    /// Makes the picture in the file `path` the portrait of `id`.
    ///
    /// # Errors
    /// When the file cannot be read, is no picture, or is larger than a portrait may be.
    pub fn set_portrait(&mut self, id: u64, path: &Path) -> anyhow::Result<()> {
        let (bytes, name) = read(path)?;
        check_portrait(&bytes, &name)?;
        let Some(character) = self.characters.iter_mut().find(|character| character.id == id) else {
            bail!("this character is not in the library any more");
        };
        character.portrait = Some(Arc::from(bytes));
        // An older portrait inside of the card's own text would come back with it.
        if let Some(icon) = character.card.main_icon().filter(|icon| icon.uri.starts_with("data:")) {
            let link = AssetLink { uri: "ccdefault:".to_owned(), ext: "png".to_owned(), ..icon };
            Arc::make_mut(&mut character.card).set_asset(&link);
        }
        self.character_changed(id, true);
        self.save_characters();
        Ok(())
    }

    /// What shows characters, or is made from them, is to look again.
    fn character_changed(&mut self, id: u64, portrait: bool) {
        *self.unsaved.ids.entry(id).or_default() |= portrait;
        self.characters.sort_by_cached_key(|character| character.card.called().to_lowercase());
        self.chat.look_again();
    }

    /// Saves the characters that were changed a while ago.
    pub(super) fn save_characters_in_time(&mut self) {
        if self.unsaved.saved_at.is_none_or(|at| at.elapsed() >= SAVE_EVERY) {
            self.save_characters();
        }
    }

    /// Saves every character that was changed.
    pub(super) fn save_characters(&mut self) {
        if !self.unsaved.ids.is_empty() {
            let changes = self.character_changes();
            self.saver.save(changes);
        }
    }

    /// What the saver is to have of every character that was changed.
    fn character_changes(&mut self) -> Vec<Change> {
        let ids = std::mem::take(&mut self.unsaved.ids);
        self.unsaved.saved_at = Some(Instant::now());
        let mut changes = Vec::new();
        for character in &self.characters {
            let Some(&with_portrait) = ids.get(&character.id) else { continue };
            let (name, card) = (character.card.called().to_owned(), character.card.json());
            // What a limit would refuse when it is read again must not take the place of what is there.
            if let Err(error) = Card::from_json(&card) {
                let told = News::Failed(format!("{name}: what was changed last is not saved: {error}"));
                self.news.retain(|news| *news != told);
                self.news.push(told);
                continue;
            }
            // A picture of megabytes is not written anew for each letter.
            let portrait = character.portrait.as_deref().filter(|_| with_portrait).map(<[u8]>::to_vec);
            let n_files = character.n_files;
            let record = CharacterRecord { id: character.id, name, card, portrait, n_files, updated_ms: now_ms() };
            changes.push(if with_portrait { Change::Character(record) } else { Change::Card(record) });
        }
        changes
    }

    /// Whether a character was changed and is not on its way to the store yet.
    pub(super) fn has_unsaved_characters(&self) -> bool {
        !self.unsaved.ids.is_empty()
    }

    /// Takes a character out of the library, and out of the open chat.
    pub fn delete_character(&mut self, id: u64) {
        self.dismiss(id);
        self.characters.retain(|character| character.id != id);
        self.unsaved.ids.remove(&id);
        self.saver.save(vec![Change::DeleteCharacter(id)]);
    }

    /// The character `id`.
    pub fn character(&self, id: u64) -> Option<&Character> {
        self.characters.iter().find(|character| character.id == id)
    }

    /// Writes the card of `id` to `path`; returns where it is. What only CHARX has room for becomes news in the other formats.
    ///
    /// # Errors
    /// When it cannot be written, or not all that came with it is saved yet.
    pub fn export_card(&mut self, id: u64, kind: CardFile, path: &Path, existing: Existing) -> anyhow::Result<PathBuf> {
        let character = self.character(id).context("this character is not in the library any more")?;
        let bytes = match kind {
            CardFile::Png => {
                character.card.to_png(character.portrait.as_deref().map(as_png).transpose()?.as_deref())?
            }
            CardFile::Json(version) => character.card.to_json(version).into_bytes(),
            CardFile::Charx => {
                let mut assets = Vec::new();
                if character.n_files > 0 {
                    ensure!(self.flush(Duration::from_secs(5)), self.not_saved());
                    let files = self.store.files(id)?.into_iter();
                    assets.extend(files.map(|(path, bytes)| Asset { path, bytes }));
                }
                let mut card = Card::clone(&character.card);
                if let Some(portrait) = &character.portrait {
                    card.add_portrait(&mut assets, portrait.to_vec());
                }
                card.to_charx(&assets)?
            }
        };
        let left_out = if kind == CardFile::Charx { 0 } else { character.n_files };
        let path = super::files::write(path, &bytes, existing)?;
        if left_out > 0 {
            self.news.push(News::OnlyInCharx(left_out));
        }
        Ok(path)
    }

    /// Lets the character play in the open chat. Where nothing was said yet, it greets: each of its greetings is an answer to swipe to.
    /// With the second character come the greetings that cards have for groups alone, of both.
    pub fn play(&mut self, id: u64) {
        if self.answering.is_some() || self.chat.settings.characters.contains(&id) {
            return;
        }
        let Some(character) = self.character(id).cloned() else { return };
        let said = self.chat.tree.path();
        let begins = said.is_empty();
        // Greetings alone: what follows one would not fit another.
        let only_greeted = said.len() <= 1 && said.iter().all(|node| node.role == Role::Assistant);
        self.chat.settings.characters.push(id);
        let seed = self.chat.id.0;
        let user = self.chat.settings.user().to_owned();
        let mut all: Vec<(String, String)> = Vec::new();
        let mut add = |card: &Card, texts: Vec<String>| {
            let name = crate::cards::mend_name(card.called());
            all.extend(texts.into_iter().map(|text| (name.clone(), text)));
        };
        if begins {
            add(&character.card, greetings(&character.card, &user, seed));
        }
        let playing = &self.chat.settings.characters;
        if playing.len() > 1 && only_greeted {
            // Those who were there before have theirs already when they were several.
            let new = if playing.len() == 2 { &playing[..] } else { &playing[playing.len() - 1..] };
            for card in new.iter().filter_map(|id| self.character(*id)).map(|character| &character.card) {
                add(card, group_greetings(card, &user, seed));
            }
        }
        let shown = self.chat.tree.path().first().map(|node| node.id);
        let nodes: Vec<_> = all
            .into_iter()
            .map(|(name, text)| self.chat.tree.add(None, NewNode::assistant(text).named(name)))
            .collect();
        if let Some(first) = shown.or(nodes.first().copied()) {
            self.chat.tree.choose(first);
        }
        if begins {
            self.chat.title = crate::cards::mend_name(character.card.called());
        }
        self.chat.touch();
        self.save_chat();
    }

    /// Takes the character out of the open chat.
    pub fn dismiss(&mut self, id: u64) {
        let settings = &mut self.chat.settings;
        if !settings.characters.contains(&id) {
            return;
        }
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
