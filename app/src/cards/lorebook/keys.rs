//! An entry's keys: texts, and patterns.

use std::time::{Duration, Instant};

use regex::Regex;

use super::Entry;
use super::sillytavern::Second;
use super::texts::Stretch;
use crate::cards::macros::Values;
use crate::cards::{limits, pattern};

/// A key, as it is looked for.
enum Key {
    Text,
    Pattern(Regex),
    /// It matches nothing: it is refused, or one too many.
    Nothing,
}

/// The keys of an entry, in their order; no list where all are texts.
#[derive(Default)]
pub(super) struct Keys {
    primary: Vec<Key>,
    secondary: Vec<Key>,
}

impl Entry {
    /// Compiles the patterns among the keys, with names filled in; each takes one from `left`. With them, why some match nothing, in a
    /// clause each.
    pub(super) fn compile(&self, values: &Values<'_>, left: &mut usize) -> (Keys, Vec<String>) {
        let is_pattern = |key: &String| !key.trim().is_empty() && (self.use_regex || pattern::is_delimited(key.trim()));
        let (mut refused, mut missed) = (Vec::new(), false);
        let mut compile = |list: &[String]| {
            if !list.iter().any(is_pattern) {
                return Vec::new();
            }
            let (char, user) = (regex::escape(values.char), regex::escape(values.user));
            let values = Values { char: &char, user: &user, ..*values };
            let compiled = list.iter().map(|key| {
                if !is_pattern(key) {
                    return Key::Text;
                }
                let Some(rest) = left.checked_sub(1) else {
                    missed = true;
                    return Key::Nothing;
                };
                *left = rest;
                // Before names are filled in, too: a key can be as long as the file.
                let key = key.trim();
                let pattern =
                    pattern::within(key).and_then(|key| pattern::compile(&values.expand(key), self.case_sensitive));
                pattern.map(Key::Pattern).unwrap_or_else(|reason| {
                    let key: String = key.chars().take(80).collect();
                    refused.push(format!("the pattern {key:?} matches nothing: {reason}"));
                    Key::Nothing
                })
            });
            compiled.collect()
        };
        let mut keys = Keys { primary: compile(&self.keys), secondary: Vec::new() };
        if self.selective {
            keys.secondary = compile(&self.secondary_keys);
        }
        // V3: where all are patterns, none matches when one is wrong.
        if self.use_regex && !refused.is_empty() {
            keys.primary = self.keys.iter().map(|_| Key::Nothing).collect();
        }
        if missed {
            let most = limits::PATTERNS;
            refused.push(format!("the book has more than {most} patterns, and those behind match nothing"));
        }
        (keys, refused)
    }
}

/// Why an entry matches.
pub(super) enum Reason {
    /// It always does.
    Constant,
    /// `@@activate`.
    Decorator,
    /// By its keys.
    Key {
        /// The key, as the card has it.
        key: String,
        /// The second key.
        secondary: Option<String>,
        /// The text that has the key.
        text: usize,
    },
}

/// Holds keys against texts, until it is too late.
pub(super) struct Matcher<'a> {
    values: Values<'a>,
    deadline: Instant,
    /// Something was not looked for.
    pub(super) late: bool,
}

/// Whether `text` has `key`. As a whole word, if it is one, it stands between others than Latin letters and digits, as SillyTavern has
/// it: in Chinese and Japanese it can stand anywhere.
fn has(text: &str, key: &str, whole: bool) -> bool {
    if !whole || key.contains(char::is_whitespace) {
        return text.contains(key);
    }
    let in_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let (text, key) = (text.as_bytes(), key.as_bytes());
    // Whole characters begin with bytes that are in no other. Each place is compared by itself: places overlap, and a search that is
    // begun anew at each of them would take the key's length every time.
    (0..text.len().saturating_sub(key.len().saturating_sub(1))).any(|at| {
        let (before, here) = text.split_at(at);
        here.starts_with(key) && !in_word(before.last()) && !in_word(here.get(key.len()))
    })
}

/// Where a key was found: its place in the entry's list, and that of the text.
type Found = (usize, usize);

impl<'a> Matcher<'a> {
    /// Looks for keys for `ms` milliseconds.
    pub(super) fn new(values: Values<'a>, ms: u64) -> Self {
        Self { values, deadline: Instant::now() + Duration::from_millis(ms), late: false }
    }

    pub(super) fn is_late(&mut self) -> bool {
        self.late = self.late || Instant::now() >= self.deadline;
        self.late
    }

    /// The first of `list` that is in one of `texts`.
    fn find(&mut self, list: &[String], keys: &[Key], entry: &Entry, texts: &[Stretch<'_>]) -> Option<Found> {
        for (index, text) in list.iter().enumerate() {
            if self.is_late() {
                return None;
            }
            let at = match keys.get(index).unwrap_or(&Key::Text) {
                Key::Text => self.find_text(text, entry, texts),
                Key::Pattern(pattern) => texts.iter().position(|text| pattern.is_match(text.plain)),
                Key::Nothing => None,
            };
            if let Some(at) = at {
                return Some((index, at));
            }
        }
        None
    }

    fn find_text(&self, key: &str, entry: &Entry, texts: &[Stretch<'_>]) -> Option<usize> {
        // What is longer than the text is not in it.
        if key.len() > limits::KEY_BYTES {
            return None;
        }
        let key = self.values.expand(key.trim());
        if key.is_empty() {
            return None;
        }
        let whole = entry.sillytavern.whole_words;
        match entry.case_sensitive {
            true => texts.iter().position(|text| has(text.plain, &key, whole)),
            false => {
                let lower = key.to_lowercase();
                texts.iter().position(|text| has(text.lower, &lower, whole))
            }
        }
    }

    /// Why an entry matches `texts`, if it does.
    pub(super) fn why(&mut self, entry: &Entry, keys: &Keys, texts: &[Stretch<'_>]) -> Option<Reason> {
        if entry.decorators.activate {
            return Some(Reason::Decorator);
        }
        if entry.decorators.dont_activate || !self.others_allow(entry, texts) {
            return None;
        }
        if entry.constant {
            return Some(Reason::Constant);
        }
        let (key, text) = self.find(&entry.keys, &keys.primary, entry, texts)?;
        let secondary = self.by_second(entry, keys, texts)?;
        Some(Reason::Key { key: entry.keys[key].clone(), secondary, text })
    }

    /// The second key, if one has to be there; None when the second keys forbid the entry.
    fn by_second(&mut self, entry: &Entry, keys: &Keys, texts: &[Stretch<'_>]) -> Option<Option<String>> {
        let list = &entry.secondary_keys;
        if !entry.selective || list.iter().all(|key| key.trim().is_empty()) {
            return Some(None);
        }
        let found = match entry.second {
            Second::Any | Second::NotAny => self.find(list, &keys.secondary, entry, texts).map(|(at, _)| at),
            Second::All | Second::NotAll => {
                let all = (0..list.len()).filter(|&at| !list[at].trim().is_empty()).all(|at| {
                    let key = keys.secondary.get(at..=at).unwrap_or_default();
                    self.find(&list[at..=at], key, entry, texts).is_some()
                });
                all.then_some(0)
            }
        };
        match entry.second {
            Second::Any | Second::All => found.map(|at| Some(list[at].clone())),
            // What was not looked for is not known to be missing.
            Second::NotAny | Second::NotAll => (found.is_none() && !self.late).then_some(None),
        }
    }

    /// What decorators ask of the keys besides.
    fn others_allow(&mut self, entry: &Entry, texts: &[Stretch<'_>]) -> bool {
        // V3: with patterns these fields are passed over.
        if entry.use_regex {
            return true;
        }
        let all = entry.decorators.additional_keys.iter().all(|keys| self.find(keys, &[], entry, texts).is_some());
        let excluded = &entry.decorators.exclude_keys;
        all && (excluded.is_empty() || self.find(excluded, &[], entry, texts).is_none() && !self.late)
    }
}
