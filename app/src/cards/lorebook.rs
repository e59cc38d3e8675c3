//! Lorebooks: entries that go into the prompt when the talk comes to them, and an account of which did, and why.

mod edit;
mod keys;
mod scan;
mod sillytavern;
mod texts;

use serde::Serialize;
use serde_json::{Map, Value};

use super::card::{Card, Version};
use super::decorators::{Decorators, Depth};
use super::error::{CardError, Named};
use super::macros::Values;
use super::{json, limits};

pub use edit::{BookChange, EntryChange, EntryFlag, EntryJson, EntryKeys, EntryNumber, EntryText};
pub use scan::{Scan, activate};
pub use sillytavern::{Second, SillyTavern};

/// Where an entry's content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In front of the character.
    BeforeChar,
    /// Right in front of the description.
    BeforeDescription,
    /// Right behind the description.
    AfterDescription,
    /// With the personality.
    Personality,
    /// With the scenario.
    Scenario,
    /// Behind the character.
    AfterChar,
}

/// Why an entry took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It always does.
    Constant,
    /// `@@activate`.
    Decorator,
    /// Its key was found in the messages; of a selective entry, a second key too.
    Key {
        /// The key, as the card has it.
        key: String,
        /// The second key.
        secondary: Option<String>,
    },
    /// Its key was found in another entry.
    Entry {
        /// The key, as the card has it.
        key: String,
        /// The entry that has it in its content.
        entry: String,
    },
}

/// An entry that took part, or would have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Activated {
    /// Its place in the book's list.
    pub index: usize,
    /// What it is called: its name, comment or first key.
    pub name: String,
    /// What goes into the prompt: without decorators, macros expanded.
    pub content: String,
    /// Its tokens, encoded by itself.
    pub tokens: usize,
    /// Where it goes.
    pub place: Place,
    /// Why.
    pub why: Why,
}

/// What came of a lorebook.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LoreAccount {
    /// Whose book it is; empty when there is none.
    pub book: String,
    /// How many entries the book has.
    pub entries: usize,
    /// What is in the prompt, in the order of the prompt.
    pub active: Vec<Activated>,
    /// What matched but did not fit the budget, the first to go first.
    pub dropped: Vec<Activated>,
    /// The tokens of what is in the prompt.
    pub tokens: usize,
    /// The most tokens that it may have.
    pub budget: usize,
    /// What was wrong or could not be honoured, a sentence each, in English.
    pub notes: Vec<String>,
}

/// An entry, read from its JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What it is called: its name, comment or first key.
    pub name: String,
    /// Any of these must be found.
    pub keys: Vec<String>,
    /// Any of these too, when it is selective.
    pub secondary_keys: Vec<String>,
    /// What goes into the prompt; without decorators.
    pub content: String,
    /// Whether it takes part at all.
    pub enabled: bool,
    /// Whether it needs a second key.
    pub selective: bool,
    /// Whether it takes part without a key.
    pub constant: bool,
    /// Whether its keys mind case; they do not unless told.
    pub case_sensitive: bool,
    /// What it asks of its second keys.
    pub second: Second,
    /// Whether all of its keys are patterns, as V3 can have it; else those are that are written `/…/flags`.
    pub use_regex: bool,
    /// Lower ones stand earlier.
    pub order: f64,
    /// Lower ones go first when the budget is used up; the order, where the card sets none.
    pub priority: f64,
    /// Where it goes.
    pub place: Place,
    /// What V3's decorators add.
    pub decorators: Decorators,
    /// What SillyTavern's extensions add.
    pub sillytavern: SillyTavern,
}

/// A card's lorebook, read from its JSON.
#[derive(Debug, Clone, PartialEq)]
pub struct Lorebook {
    /// Its name; may be empty.
    pub name: String,
    /// How many of the newest messages are looked through.
    pub scan_depth: usize,
    /// The most tokens that it may add to the prompt.
    pub token_budget: usize,
    /// Whether entries can bring in others.
    pub recursive_scanning: bool,
    /// The entries, in the order of the card.
    pub entries: Vec<Entry>,
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn texts(map: &Map<String, Value>, key: &str) -> Vec<String> {
    match map.get(key) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        // As V3's text has it for secondary keys.
        Some(Value::String(list)) => list.split(',').map(|key| key.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

fn count(map: &Map<String, Value>, key: &str) -> Option<usize> {
    map.get(key).and_then(Value::as_f64).map(|number| number.max(0.0) as usize)
}

impl Lorebook {
    /// The lorebook of a card; None when it has none.
    pub fn of(card: &Card) -> Option<Self> {
        let entries = card.character_book()?.get("entries").and_then(Value::as_array);
        let entries = entries.map(Vec::as_slice).unwrap_or_default().iter().take(limits::LORE_ENTRIES).enumerate();
        let entries = entries.map(|(index, entry)| match entry {
            Value::Object(entry) => Entry::read(entry, index, card.version()),
            _ => Entry::read(&Map::new(), index, card.version()),
        });
        Some(Self { entries: entries.collect(), ..Self::settings_of(card)? })
    }

    /// The same without its entries: what a page that is drawn often needs.
    pub fn settings_of(card: &Card) -> Option<Self> {
        let book = card.character_book()?;
        Some(Self {
            name: text(book, "name").to_owned(),
            scan_depth: count(book, "scan_depth").unwrap_or(limits::SCAN_DEPTH),
            token_budget: count(book, "token_budget").unwrap_or(limits::LORE_TOKENS),
            recursive_scanning: book.get("recursive_scanning") == Some(&Value::Bool(true)),
            entries: Vec::new(),
        })
    }

    /// How many of the newest messages are looked through for an entry's keys.
    fn depth_of(&self, entry: &Entry) -> usize {
        entry.decorators.scan_depth.or(entry.sillytavern.scan_depth).unwrap_or(self.scan_depth)
    }
}

impl Entry {
    fn read(map: &Map<String, Value>, index: usize, version: Version) -> Self {
        let flag = |key: &str| map.get(key).and_then(Value::as_bool);
        let (mut decorators, content) = Decorators::split(text(map, "content"));
        let sillytavern = SillyTavern::of(map);
        decorators.depth = decorators.depth.or(sillytavern.depth.map(Depth::FromNewest));
        let keys = texts(map, "keys");
        let first_key = keys.first().map(String::as_str).unwrap_or_default();
        let name =
            [text(map, "name"), text(map, "comment"), first_key].into_iter().find(|name| !name.trim().is_empty());
        let name = name.map_or_else(|| format!("#{}", index + 1), |name| name.trim().chars().take(100).collect());
        let order = map.get("insertion_order").and_then(Value::as_f64).unwrap_or(0.0);
        let position = if text(map, "position") == "before_char" { Place::BeforeChar } else { Place::AfterChar };
        // The nearest to a place in the history: the newest messages stand right above the System block's end in weight.
        let place = decorators.place.unwrap_or(match decorators.depth {
            Some(_) => Place::AfterChar,
            None => position,
        });
        Self {
            name,
            keys,
            secondary_keys: texts(map, "secondary_keys"),
            content: content.to_owned(),
            enabled: flag("enabled").unwrap_or(true),
            selective: flag("selective").unwrap_or(false),
            constant: flag("constant").unwrap_or(false),
            case_sensitive: sillytavern::minds_case(map),
            second: Second::of(map),
            use_regex: flag("use_regex") == Some(true) && version == Version::V3 && !sillytavern::is_its(map),
            order,
            priority: map.get("priority").and_then(Value::as_f64).unwrap_or(order),
            place,
            decorators,
            sillytavern,
        }
    }

    /// What cannot be honoured, in a clause each.
    fn shortfalls(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(Depth::FromNewest(_) | Depth::FromOldest(_)) = self.decorators.depth
            && self.decorators.place.is_none()
        {
            found.push("a place inside of the history: it stands in the System block instead".to_owned());
        }
        let not_honoured = &self.sillytavern.not_honoured;
        found.extend(not_honoured.iter().map(|field| format!("SillyTavern's {field:?}: it is passed over")));
        found.extend(self.decorators.ignored.iter().map(|line| format!("{line:?}: it is passed over")));
        found
    }
}

/// Looks at a card's lorebook as it is read.
///
/// # Errors
/// [`CardError`] when it has more entries, or longer texts, than a limit allows.
pub(super) fn check(card: &Card, file: Named<'_>, warnings: &mut Vec<String>) -> Result<(), CardError> {
    let Some(book) = card.character_book() else { return Ok(()) };
    let entries = match book.get("entries") {
        Some(Value::Array(entries)) => entries,
        None | Some(Value::Null) => return Ok(()),
        Some(other) => {
            let got = json::kind(other);
            warnings
                .push(format!("The lorebook is not used: expected a list of entries, got {got}. It is kept as it is."));
            return Ok(());
        }
    };
    file.at_most("entries of the lorebook", limits::LORE_ENTRIES, entries.len())?;
    let mut odd = 0;
    for entry in entries {
        let Some(map) = entry.as_object() else {
            odd += 1;
            continue;
        };
        file.at_most("bytes of a lorebook's entry", limits::TEXT_BYTES, text(map, "content").len())?;
    }
    if odd > 0 {
        warnings.push(format!("{odd} entries of the lorebook are no objects: they are kept but not used."));
    }
    let Some(read) = Lorebook::of(card) else { return Ok(()) };
    let values = Values { char: card.called(), ..Values::default() };
    let mut notes = scan::Notes::default();
    let mut left = limits::PATTERNS;
    for entry in &read.entries {
        for reason in entry.compile(&values, &mut left).1 {
            notes.add(entry, &reason);
        }
    }
    warnings.extend(notes.finish());
    Ok(())
}
