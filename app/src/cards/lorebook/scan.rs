//! Which entries take part.

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use regex::Regex;

use super::{Activated, Entry, LoreAccount, Lorebook, Why};
use crate::cards::limits;
use crate::cards::macros::Values;

/// How often entries can bring in others that bring in others.
const ROUNDS: usize = 8;

/// What a book is held against.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    /// The texts of the messages, oldest first.
    pub messages: &'a [&'a str],
    /// How many of them are replies.
    pub replies: usize,
    /// The greeting that the talk began with; None when it is not known.
    pub greeting: Option<usize>,
    /// What macros stand for.
    pub values: Values<'a>,
    /// The most tokens, whatever the book says.
    pub limit: Option<usize>,
    /// Counts a text's tokens.
    pub count: &'a dyn Fn(&str) -> usize,
}

/// Notes on entries; there are not more than a person reads.
#[derive(Default)]
pub(super) struct Notes {
    notes: Vec<String>,
    more: usize,
}

impl Notes {
    const MOST: usize = 20;

    pub(super) fn add(&mut self, entry: &Entry, clause: &str) {
        self.say(format!("Lorebook entry {:?}: {clause}.", entry.name));
    }

    fn say(&mut self, note: String) {
        match self.notes.len() < Self::MOST {
            true => self.notes.push(note),
            false => self.more += 1,
        }
    }

    pub(super) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.notes.push(format!("The lorebook has {} more notes of this kind.", self.more));
        }
        self.notes
    }
}

/// A text in its own case and in lower case.
#[derive(Default)]
struct Both {
    plain: String,
    lower: String,
}

impl Both {
    fn push(&mut self, text: &str) {
        self.plain.push_str(text);
        self.plain.push('\n');
        self.lower.push_str(&text.to_lowercase());
        self.lower.push('\n');
    }

    fn from(&self, (plain, lower): (usize, usize)) -> Stretch<'_> {
        Stretch { plain: &self.plain[plain..], lower: &self.lower[lower..] }
    }
}

#[derive(Clone, Copy)]
struct Stretch<'a> {
    plain: &'a str,
    lower: &'a str,
}

/// The newest messages, within bounds.
struct Recent {
    text: Both,
    /// Where the n-th newest begins, for n from 1.
    starts: Vec<(usize, usize)>,
}

impl Recent {
    fn new(messages: &[&str]) -> Self {
        let mut left = limits::SCAN_BYTES;
        let mut kept = Vec::new();
        for message in messages.iter().rev() {
            if left == 0 {
                break;
            }
            let start = message.ceil_char_boundary(message.len().saturating_sub(left));
            kept.push(&message[start..]);
            left = left.saturating_sub(message.len().max(1));
        }
        let mut text = Both::default();
        let mut starts = Vec::with_capacity(kept.len());
        for message in kept.into_iter().rev() {
            starts.push((text.plain.len(), text.lower.len()));
            text.push(message);
        }
        starts.reverse();
        Self { text, starts }
    }

    fn newest(&self, depth: usize) -> Stretch<'_> {
        let start = match depth.min(self.starts.len()).checked_sub(1) {
            Some(at) => self.starts[at],
            None => (self.text.plain.len(), self.text.lower.len()),
        };
        self.text.from(start)
    }
}

/// Holds an entry's keys against texts.
struct Matcher<'a> {
    scan: &'a Scan<'a>,
    deadline: Instant,
    late: bool,
    /// The compiled patterns of each entry that has some and is within bounds.
    patterns: Vec<Option<Vec<Regex>>>,
}

/// Where a key was found: its place in the entry's list, and that of the text.
type Found = (usize, usize);

impl Matcher<'_> {
    fn is_late(&mut self) -> bool {
        self.late = self.late || Instant::now() >= self.deadline;
        self.late
    }

    /// The first of `keys` that is in one of `texts`.
    fn find(&mut self, keys: &[String], case_sensitive: bool, texts: &[Stretch<'_>]) -> Option<Found> {
        for (index, key) in keys.iter().enumerate() {
            if self.is_late() {
                return None;
            }
            // What is longer than the text is not in it.
            if key.len() > limits::KEY_BYTES {
                continue;
            }
            let key = self.scan.values.expand(key.trim());
            if key.is_empty() {
                continue;
            }
            let lower = key.to_lowercase();
            let holds = |text: &Stretch<'_>| match case_sensitive {
                true => text.plain.contains(&key),
                false => text.lower.contains(&lower),
            };
            if let Some(at) = texts.iter().position(holds) {
                return Some((index, at));
            }
        }
        None
    }

    /// Why an entry matches, by its keys: the key, the second key, and the text that has the key.
    fn by_keys(
        &mut self,
        index: usize,
        entry: &Entry,
        texts: &[Stretch<'_>],
    ) -> Option<(String, Option<String>, usize)> {
        if entry.use_regex {
            let patterns = self.patterns[index].take()?;
            let mut found = None;
            for (key, pattern) in patterns.iter().enumerate() {
                if self.is_late() {
                    break;
                }
                if let Some(at) = texts.iter().position(|text| pattern.is_match(text.plain)) {
                    found = Some((pattern_key(entry, key), None, at));
                    break;
                }
            }
            self.patterns[index] = Some(patterns);
            return found;
        }
        let (key, at) = self.find(&entry.keys, entry.case_sensitive, texts)?;
        let mut secondary = None;
        if entry.selective && entry.secondary_keys.iter().any(|key| !key.trim().is_empty()) {
            let (second, _) = self.find(&entry.secondary_keys, entry.case_sensitive, texts)?;
            secondary = Some(entry.secondary_keys[second].clone());
        }
        Some((entry.keys[key].clone(), secondary, at))
    }

    /// What decorators ask of the keys besides.
    fn others_allow(&mut self, entry: &Entry, texts: &[Stretch<'_>]) -> bool {
        // V3: with patterns these fields are passed over.
        if entry.use_regex {
            return true;
        }
        let sensitive = entry.case_sensitive;
        let all = entry.decorators.additional_keys.iter().all(|keys| self.find(keys, sensitive, texts).is_some());
        all && self.find(&entry.decorators.exclude_keys, sensitive, texts).is_none()
    }
}

/// The key of the n-th pattern; empty keys have none.
fn pattern_key(entry: &Entry, n: usize) -> String {
    entry.keys.iter().filter(|key| !key.trim().is_empty()).nth(n).cloned().unwrap_or_default()
}

/// The entries of `book` that take part, and those that the budget left out.
///
/// What is looked through and for how long is bounded ([`limits`]); what was not found by then does not match, and a note says so.
pub fn activate(book: &Lorebook, scan: &Scan<'_>) -> LoreAccount {
    let mut notes = Notes::default();
    let patterns = compile(book, scan, &mut notes);
    let deadline = Instant::now() + Duration::from_millis(limits::SCAN_MS);
    let mut matcher = Matcher { scan, deadline, late: false, patterns };
    let recent = Recent::new(scan.messages);
    let mut why: Vec<Option<Why>> = vec![None; book.entries.len()];
    // What active entries say, for others: the entry, and its text.
    let mut said: Vec<(usize, Both)> = Vec::new();
    let mut said_bytes = 0;
    for round in 0..=ROUNDS {
        let mut fresh = Vec::new();
        for (index, entry) in book.entries.iter().enumerate() {
            if why[index].is_some() || !may_match(entry, scan) {
                continue;
            }
            let mut texts = vec![recent.newest(entry.decorators.scan_depth.unwrap_or(book.scan_depth))];
            texts.extend(said.iter().map(|(_, both)| both.from((0, 0))));
            let reason = if entry.decorators.activate {
                Some(Why::Decorator)
            } else if entry.decorators.dont_activate || !matcher.others_allow(entry, &texts) {
                None
            } else if entry.constant && !entry.use_regex {
                Some(Why::Constant)
            } else {
                matcher.by_keys(index, entry, &texts).map(|(key, secondary, at)| match at.checked_sub(1) {
                    None => Why::Key { key, secondary },
                    Some(other) => Why::Entry { key, entry: book.entries[said[other].0].name.clone() },
                })
            };
            if reason.is_some() {
                why[index] = reason;
                fresh.push(index);
            }
        }
        if fresh.is_empty() || !book.recursive_scanning || round == ROUNDS {
            break;
        }
        for index in fresh {
            let values = Values { scan: true, ..scan.values };
            let content = values.expand(&book.entries[index].content);
            if said_bytes + content.len() <= limits::SCAN_BYTES {
                said_bytes += content.len();
                let mut both = Both::default();
                both.push(&content);
                said.push((index, both));
            }
        }
    }
    if matcher.late {
        notes.say(format!("The lorebook's keys took longer than {} ms: some were not looked for.", limits::SCAN_MS));
    }
    account(book, scan, why, notes)
}

/// What an entry asks for besides keys.
fn may_match(entry: &Entry, scan: &Scan<'_>) -> bool {
    let asked = &entry.decorators;
    let holds = asked.only_after.is_none_or(|replies| scan.replies >= replies)
        && asked.only_every.is_none_or(|every| scan.replies.is_multiple_of(every))
        && (asked.greeting.is_none() || scan.greeting.is_none() || asked.greeting == scan.greeting);
    entry.enabled && !entry.content.trim().is_empty() && (holds || asked.activate)
}

fn compile(book: &Lorebook, scan: &Scan<'_>, notes: &mut Notes) -> Vec<Option<Vec<Regex>>> {
    let mut left = limits::PATTERNS;
    let mut patterns = Vec::with_capacity(book.entries.len());
    for entry in &book.entries {
        let needed = entry.use_regex && entry.enabled;
        let within = needed && entry.keys.len() <= left;
        patterns.push(match within {
            true => {
                left -= entry.keys.len();
                entry.patterns(&scan.values).map_err(|reason| notes.add(entry, &reason)).ok()
            }
            false => None,
        });
        if needed && !within {
            notes.add(
                entry,
                &format!("the book has more than {} patterns, and this one matches nothing", limits::PATTERNS),
            );
        }
    }
    patterns
}

/// Counts what matched, and drops what the budget has no room for.
fn account(book: &Lorebook, scan: &Scan<'_>, why: Vec<Option<Why>>, mut notes: Notes) -> LoreAccount {
    let budget = scan.limit.map_or(book.token_budget, |limit| limit.min(book.token_budget));
    let mut matched = Vec::new();
    for (index, why) in why.into_iter().enumerate() {
        let Some(why) = why else { continue };
        let entry = &book.entries[index];
        for clause in entry.shortfalls() {
            notes.add(entry, &clause);
        }
        let content = scan.values.expand(&entry.content).trim().to_owned();
        if content.is_empty() {
            continue;
        }
        let tokens = (scan.count)(&content);
        matched.push(Activated { index, name: entry.name.clone(), content, tokens, place: entry.place, why });
    }
    let compare = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    // The first to go last.
    matched.sort_by(|a, b| {
        let (x, y) = (&book.entries[a.index], &book.entries[b.index]);
        let last = x.decorators.first_to_go.cmp(&y.decorators.first_to_go);
        last.then(compare(y.priority, x.priority)).then(a.index.cmp(&b.index))
    });
    let mut tokens: usize = matched.iter().map(|entry| entry.tokens).sum();
    let mut dropped = Vec::new();
    while tokens > budget
        && let Some(last) = matched.pop()
    {
        tokens -= last.tokens;
        dropped.push(last);
    }
    matched.sort_by(|a, b| {
        let (x, y) = (&book.entries[a.index], &book.entries[b.index]);
        a.place.cmp(&b.place).then(compare(x.order, y.order)).then(a.index.cmp(&b.index))
    });
    LoreAccount {
        book: book.name.clone(),
        entries: book.entries.len(),
        active: matched,
        dropped,
        tokens,
        budget,
        notes: notes.finish(),
    }
}
