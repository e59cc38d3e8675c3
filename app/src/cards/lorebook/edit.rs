//! Changes to a lorebook. Each is made in the JSON, in place: what nobody here knows, in the book and in its entries, stays.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use super::sillytavern;
use super::{Entry, texts};
use crate::cards::card::{Card, Version};
use crate::cards::limits;
use crate::cards::macros::Values;

/// A field of an entry that is one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryText {
    /// What it is called.
    Name,
    /// A note for people; some programs call the entry so.
    Comment,
    /// What goes into the prompt, decorators in front.
    Content,
}

impl EntryText {
    fn key(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Comment => "comment",
            Self::Content => "content",
        }
    }
}

/// A field of an entry that is a list of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryKeys {
    /// Any of them brings the entry in.
    Primary,
    /// Any of them is needed too, when the entry is selective.
    Secondary,
}

impl EntryKeys {
    fn key(self) -> &'static str {
        match self {
            Self::Primary => "keys",
            Self::Secondary => "secondary_keys",
        }
    }
}

/// A field of an entry that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryFlag {
    /// Whether it takes part at all; on where the card does not say.
    Enabled,
    /// Whether it takes part without a key.
    Constant,
    /// Whether it needs a second key.
    Selective,
    /// Whether its keys mind case.
    CaseSensitive,
    /// Whether all of its keys are patterns; V3's.
    Regex,
}

impl EntryFlag {
    fn key(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Constant => "constant",
            Self::Selective => "selective",
            Self::CaseSensitive => "case_sensitive",
            Self::Regex => "use_regex",
        }
    }
}

/// A field of an entry that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EntryNumber {
    /// Lower ones stand earlier.
    Order,
    /// Lower ones go first when the budget is used up.
    Priority,
}

impl EntryNumber {
    fn key(self) -> &'static str {
        match self {
            Self::Order => "insertion_order",
            Self::Priority => "priority",
        }
    }
}

/// What is changed in an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum EntryChange {
    /// A text.
    Text(EntryText, String),
    /// A list of keys.
    Keys(EntryKeys, Vec<String>),
    /// A switch.
    Flag(EntryFlag, bool),
    /// A number; what is no number is passed over.
    Number(EntryNumber, f64),
    /// Whether it stands in front of the character, and not behind it.
    BeforeChar(bool),
}

/// What is changed in a book.
#[derive(Debug, Clone, PartialEq)]
pub enum BookChange {
    /// There is one, empty if it has to be made.
    Begin,
    /// How many of the newest messages are looked through.
    ScanDepth(usize),
    /// The most tokens that it may add to the prompt.
    TokenBudget(usize),
    /// Whether entries can bring in others.
    Recursive(bool),
    /// An entry is added behind the others.
    Add,
    /// The entry at a place is taken away.
    Remove(usize),
    /// The entry at the first place goes to the second, and those in between move up.
    Move(usize, usize),
    /// The entry at a place changes.
    Entry(usize, EntryChange),
}

/// An entry's JSON, to be read by an editor.
#[derive(Debug, Clone, Copy)]
pub struct EntryJson<'a> {
    map: &'a Map<String, Value>,
    index: usize,
    version: Version,
}

impl EntryJson<'_> {
    /// A text; empty where there is none.
    pub fn text(&self, field: EntryText) -> &str {
        super::text(self.map, field.key())
    }

    /// A list of keys.
    pub fn keys(&self, field: EntryKeys) -> Vec<String> {
        texts(self.map, field.key())
    }

    /// Whether it stands in front of the character, where no decorator says otherwise.
    pub fn is_before_char(&self) -> bool {
        super::text(self.map, "position") == "before_char"
    }

    /// Whether [`EntryFlag::Regex`] alters how it takes part: not where SillyTavern made it, whose keys say so each for itself.
    pub fn has_regex_flag(&self) -> bool {
        !sillytavern::is_its(self.map)
    }

    /// The entry as it takes part: with its name, its defaults, and its decorators off its content.
    pub fn read(&self) -> Entry {
        Entry::read(self.map, self.index, self.version)
    }

    /// Whether one of its texts or keys has `part` in it, which is in lower case.
    pub fn contains(&self, part: &str) -> bool {
        let texts = [EntryText::Name, EntryText::Comment, EntryText::Content];
        let has = |text: &str| text.to_lowercase().contains(part);
        texts.into_iter().any(|field| has(self.text(field)))
            || [EntryKeys::Primary, EntryKeys::Secondary]
                .into_iter()
                .any(|field| self.keys(field).iter().any(|key| has(key)))
    }
}

impl Entry {
    /// Why one of the entry's patterns matches nothing, in a clause; None when they are fine, and where it has none.
    pub fn problem(&self, char: &str, user: &str) -> Option<String> {
        let mut left = limits::PATTERNS;
        self.compile(&Values { char, user, ..Values::default() }, &mut left).1.into_iter().next()
    }
}

impl Card {
    /// How many entries its lorebook lists, broken ones included.
    pub fn entry_count(&self) -> usize {
        entries(self).map_or(0, Vec::len)
    }

    /// The entry at a place of the lorebook's list; None where there is none, or what is no object.
    pub fn entry(&self, index: usize) -> Option<EntryJson<'_>> {
        let map = entries(self)?.get(index)?.as_object()?;
        Some(EntryJson { map, index, version: self.version() })
    }

    /// Whether its lorebook can be changed: there is none, or one that is a book with a list of entries.
    pub fn has_editable_book(&self) -> bool {
        match self.data().get("character_book") {
            None | Some(Value::Null) => true,
            Some(Value::Object(book)) => {
                matches!(book.get("entries"), None | Some(Value::Null | Value::Array(_)))
            }
            Some(_) => false,
        }
    }

    /// Makes one change to the lorebook, and the book where there is none. False, with nothing changed, where it cannot be: a
    /// place without an entry, more entries than [`limits::LORE_ENTRIES`], or something that is no lorebook in its place.
    pub fn change_book(&mut self, change: BookChange) -> bool {
        if !self.has_editable_book() || !is_possible(self, &change) {
            return false;
        }
        let since = match &change {
            BookChange::Entry(_, EntryChange::Flag(EntryFlag::Regex, true)) => Version::V3,
            _ => Version::V2,
        };
        let version = self.version().max(since);
        self.edit(since, |data| {
            let book = data.entry("character_book").or_insert(Value::Null);
            if book.is_null() {
                *book = json!({ "extensions": {}, "entries": [] });
            }
            let Value::Object(book) = book else { return };
            match change {
                BookChange::Begin => {}
                BookChange::ScanDepth(depth) => drop(book.insert("scan_depth".into(), depth.into())),
                BookChange::TokenBudget(budget) => drop(book.insert("token_budget".into(), budget.into())),
                BookChange::Recursive(on) => drop(book.insert("recursive_scanning".into(), on.into())),
                change => {
                    let list = book.entry("entries").or_insert(Value::Null);
                    if list.is_null() {
                        *list = json!([]);
                    }
                    if let Value::Array(list) = list {
                        change_list(list, change, version);
                    }
                }
            }
        });
        true
    }
}

fn entries(card: &Card) -> Option<&Vec<Value>> {
    card.character_book()?.get("entries")?.as_array()
}

fn is_possible(card: &Card, change: &BookChange) -> bool {
    let count = card.entry_count();
    match change {
        BookChange::Add => count < limits::LORE_ENTRIES,
        BookChange::Remove(at) => *at < count,
        BookChange::Move(from, to) => *from < count && *to < count,
        BookChange::Entry(at, EntryChange::Number(_, number)) => card.entry(*at).is_some() && number.is_finite(),
        BookChange::Entry(at, _) => card.entry(*at).is_some(),
        BookChange::Begin | BookChange::ScanDepth(_) | BookChange::TokenBudget(_) | BookChange::Recursive(_) => true,
    }
}

fn change_list(list: &mut Vec<Value>, change: BookChange, version: Version) {
    match change {
        BookChange::Add => {
            let order = |entry: &Value| entry.get("insertion_order").and_then(Value::as_f64);
            let last = list.iter().filter_map(order).fold(-1.0, f64::max);
            let mut entry = json!({
                "keys": [], "content": "", "extensions": {}, "enabled": true, "insertion_order": number(last.floor() + 1.0),
            });
            if version == Version::V3 {
                entry["use_regex"] = false.into();
            }
            list.push(entry);
        }
        BookChange::Remove(at) => drop(list.remove(at)),
        BookChange::Move(from, to) => {
            let entry = list.remove(from);
            list.insert(to, entry);
        }
        BookChange::Entry(at, change) => {
            if let Some(Value::Object(entry)) = list.get_mut(at) {
                change_entry(entry, change);
            }
        }
        BookChange::Begin | BookChange::ScanDepth(_) | BookChange::TokenBudget(_) | BookChange::Recursive(_) => {}
    }
}

fn change_entry(entry: &mut Map<String, Value>, change: EntryChange) {
    match change {
        EntryChange::Text(field, text) => drop(entry.insert(field.key().to_owned(), text.into())),
        EntryChange::Keys(field, keys) => drop(entry.insert(field.key().to_owned(), keys.into())),
        EntryChange::Number(field, value) => drop(entry.insert(field.key().to_owned(), number(value))),
        EntryChange::Flag(field, on) => {
            if field == EntryFlag::CaseSensitive {
                set_copy(entry, "case_sensitive", on.into());
            }
            entry.insert(field.key().to_owned(), on.into());
        }
        EntryChange::BeforeChar(before) => {
            // SillyTavern's numbers for the two places.
            set_copy(entry, "position", u8::from(!before).into());
            entry.insert("position".to_owned(), if before { "before_char" } else { "after_char" }.into());
        }
    }
}

/// Sets the copy of a field that SillyTavern keeps among the extensions, and reads first, where there is one.
fn set_copy(entry: &mut Map<String, Value>, key: &str, value: Value) {
    let copy = entry.get_mut("extensions").and_then(|extensions| extensions.get_mut(key));
    if let Some(copy) = copy.filter(|copy| !copy.is_null()) {
        *copy = value;
    }
}

/// `value` as JSON has it: without a point when it is whole.
fn number(value: f64) -> Value {
    let whole = value as i64;
    if whole as f64 == value { whole.into() } else { value.into() }
}
