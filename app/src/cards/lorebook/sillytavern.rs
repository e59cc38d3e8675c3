//! What SillyTavern keeps in the extensions of an entry, where the format has no field for it.

use serde_json::{Map, Value};

/// What it writes there for each entry, and nobody else.
const ITS_OWN: [&str; 4] = ["selectiveLogic", "exclude_recursion", "display_index", "useProbability"];
/// Of its numbers of places, those that the format has: in front of the character, and behind it.
const PLACES: std::ops::RangeInclusive<u64> = 0..=1;
/// The place inside of the history, and how far from the newest message it is where the entry does not say.
const AT_DEPTH: u64 = 4;
const DEPTH: usize = 4;
/// What is not honoured, and is off where it is nothing, false, empty or 0.
const NOT_HONOURED: [&str; 6] = ["group", "sticky", "cooldown", "vectorized", "triggers", "ignore_budget"];

/// What an entry asks of its second keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Second {
    /// One must be found.
    #[default]
    Any,
    /// All must be found.
    All,
    /// None may be found.
    NotAny,
    /// One must be missing.
    NotAll,
}

/// The rest of what an entry asks for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SillyTavern {
    /// How many messages are looked through, in place of the book's depth.
    pub scan_depth: Option<usize>,
    /// Whether a key of one word must stand for itself in the text.
    pub whole_words: bool,
    /// How likely it takes part when it matches, of 100.
    pub chance: u64,
    /// Not before there are so many messages.
    pub delay: usize,
    /// Other entries do not bring it in.
    pub exclude_recursion: bool,
    /// It brings in no others.
    pub prevent_recursion: bool,
    /// Only other entries bring it in.
    pub delay_until_recursion: bool,
    /// How many messages from the newest it should stand.
    pub depth: Option<usize>,
    /// What it asks for and does not get, by SillyTavern's names.
    pub not_honoured: Vec<&'static str>,
}

fn extension<'a>(entry: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    entry.get("extensions")?.get(key)
}

fn flag(entry: &Map<String, Value>, key: &str) -> Option<bool> {
    extension(entry, key)?.as_bool()
}

fn count(entry: &Map<String, Value>, key: &str) -> Option<usize> {
    super::count(entry.get("extensions")?.as_object()?, key)
}

/// Whether SillyTavern made the entry. Such ones say that all of their keys are patterns, and mean those that are written as such.
pub(super) fn is_its(entry: &Map<String, Value>) -> bool {
    ITS_OWN.iter().any(|key| extension(entry, key).is_some())
}

/// Whether keys mind case; SillyTavern says so in its own place.
pub(super) fn minds_case(entry: &Map<String, Value>) -> bool {
    let own = entry.get("case_sensitive").and_then(Value::as_bool);
    own.or_else(|| flag(entry, "case_sensitive")).unwrap_or(false)
}

impl Second {
    /// By SillyTavern's numbers; the format has the first alone.
    pub(super) fn of(entry: &Map<String, Value>) -> Self {
        match extension(entry, "selectiveLogic").and_then(Value::as_u64) {
            Some(1) => Self::NotAll,
            Some(2) => Self::NotAny,
            Some(3) => Self::All,
            _ => Self::Any,
        }
    }
}

impl SillyTavern {
    pub(super) fn of(entry: &Map<String, Value>) -> Self {
        let is_on = |key: &str| flag(entry, key) == Some(true);
        let asks = |key: &&str| match extension(entry, key) {
            Some(Value::String(text)) => !text.trim().is_empty(),
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::Array(list)) => !list.is_empty(),
            value => value == Some(&Value::Bool(true)),
        };
        let chance = count(entry, "probability").filter(|_| flag(entry, "useProbability") != Some(false));
        let position = extension(entry, "position").and_then(Value::as_u64);
        let elsewhere = position.filter(|position| !PLACES.contains(position) && *position != AT_DEPTH);
        Self {
            scan_depth: count(entry, "scan_depth"),
            whole_words: is_on("match_whole_words"),
            chance: chance.unwrap_or(100) as u64,
            delay: count(entry, "delay").unwrap_or(0),
            exclude_recursion: is_on("exclude_recursion"),
            prevent_recursion: is_on("prevent_recursion"),
            // Some give it a number: in which round. All of them come in the first one here.
            delay_until_recursion: is_on("delay_until_recursion") || count(entry, "delay_until_recursion") > Some(0),
            depth: (position == Some(AT_DEPTH)).then(|| count(entry, "depth").unwrap_or(DEPTH)),
            not_honoured: NOT_HONOURED.into_iter().filter(asks).chain(elsewhere.map(|_| "position")).collect(),
        }
    }
}
