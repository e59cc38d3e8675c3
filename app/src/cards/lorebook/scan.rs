//! Which entries take part.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::keys::{Keys, Matcher, Reason};
use super::texts::{Both, Recent};
use super::{Activated, Entry, LoreAccount, Lorebook, Why};
use crate::cards::decorators::AfterMatch;
use crate::cards::limits;
use crate::cards::macros::{Values, mix};

/// How often entries can bring in others that bring in others.
const ROUNDS: usize = 8;

/// What a book is held against.
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    /// The texts of the messages, oldest first.
    pub messages: &'a [&'a str],
    /// How many there are in front of them.
    pub left_out: usize,
    /// Which of them are replies, in order: what is in front of each was its prompt.
    pub answers: &'a [usize],
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

/// How often the book is gone through anew because an entry that brought in others was dropped.
const PASSES: usize = 8;

/// The entries of `book` that take part, and those that the budget left out: these bring in no others.
///
/// What is looked through and for how long is bounded ([`limits`]); what was not found by then does not match, and a note says so.
pub fn activate(book: &Lorebook, scan: &Scan<'_>) -> LoreAccount {
    let mut notes = Notes::default();
    let keys = compile(book, scan, &mut notes);
    let matcher = Matcher::new(scan.values, limits::SCAN_MS);
    let recent = Recent::new(scan.messages, limits::SCAN_BYTES);
    let (earlier, mut late) = earlier(book, scan, &keys);
    let mut pass = Pass { book, scan, keys, matcher, recent, earlier, silent: vec![false; book.entries.len()] };
    let mut tokens = HashMap::new();
    let mut passes = 1;
    let mut account = loop {
        let (why, speakers) = pass.run();
        let account = account(book, scan, why, &mut tokens);
        let mut dropped =
            account.dropped.iter().map(|entry| entry.index).filter(|index| speakers.contains(index)).peekable();
        if dropped.peek().is_none() || passes == PASSES || pass.matcher.late {
            break account;
        }
        dropped.for_each(|index| pass.silent[index] = true);
        passes += 1;
    };
    for found in account.active.iter().chain(&account.dropped) {
        let entry = &book.entries[found.index];
        for clause in entry.shortfalls() {
            notes.add(entry, &clause);
        }
    }
    late |= pass.matcher.late;
    if late {
        notes.say(format!("The lorebook's keys took longer than {} ms: some were not looked for.", limits::SCAN_MS));
    }
    account.notes = notes.finish();
    account
}

/// The book, gone through from its first entry to what the last ones bring in.
struct Pass<'a> {
    book: &'a Lorebook,
    scan: &'a Scan<'a>,
    keys: Vec<Keys>,
    matcher: Matcher<'a>,
    recent: Recent,
    /// Why entries matched in earlier prompts, where they ask for it.
    earlier: Vec<Option<Why>>,
    /// Entries that bring in no others.
    silent: Vec<bool>,
}

impl Pass<'_> {
    /// Why each entry takes part, and those that brought in others.
    fn run(&mut self) -> (Vec<Option<Why>>, HashSet<usize>) {
        let (book, scan) = (self.book, self.scan);
        let mut why: Vec<Option<Why>> = vec![None; book.entries.len()];
        let mut speakers = HashSet::new();
        // What active entries say, for others: the entry, and its text.
        let mut said: Vec<(usize, Both)> = Vec::new();
        let mut said_bytes = 0;
        for round in 0..=ROUNDS {
            let mut fresh = Vec::new();
            for (index, entry) in book.entries.iter().enumerate() {
                if why[index].is_some() {
                    continue;
                }
                if let Some(reason) = &self.earlier[index] {
                    if entry.decorators.after_match == Some(AfterMatch::Keep) {
                        why[index] = Some(reason.clone());
                        fresh.push(index);
                    }
                    continue;
                }
                let asked = &entry.sillytavern;
                let not_now = if round > 0 { asked.exclude_recursion } else { asked.delay_until_recursion };
                if not_now || !may_match(book, index, scan, (scan.answers.len(), scan.messages.len())) {
                    continue;
                }
                let mut texts = vec![self.recent.window(scan.messages.len(), book.depth_of(entry))];
                texts.extend(said.iter().map(|(_, both)| both.whole()));
                let Some(reason) = self.matcher.why(entry, &self.keys[index], &texts) else { continue };
                why[index] = Some(match reason {
                    Reason::Constant => Why::Constant,
                    Reason::Decorator => Why::Decorator,
                    Reason::Key { key, secondary, text: 0 } => Why::Key { key, secondary },
                    Reason::Key { key, text, .. } => {
                        let speaker = said[text - 1].0;
                        speakers.insert(speaker);
                        Why::Entry { key, entry: book.entries[speaker].name.clone() }
                    }
                });
                fresh.push(index);
            }
            fresh.retain(|index| !self.silent[*index] && !book.entries[*index].sillytavern.prevent_recursion);
            if fresh.is_empty() || !book.recursive_scanning || round == ROUNDS {
                break;
            }
            for index in fresh {
                let values = Values { scan: true, ..scan.values };
                let content = values.expand(&book.entries[index].content);
                if said_bytes + content.len() <= limits::SCAN_BYTES {
                    said_bytes += content.len();
                    said.push((index, Both::of(&content)));
                }
            }
        }
        (why, speakers)
    }
}

/// Why entries that ask for it matched in the prompt of an earlier reply of the talk, by themselves: nothing is stored, the messages
/// are gone through anew. The second is true when that took too long.
fn earlier(book: &Lorebook, scan: &Scan<'_>, keys: &[Keys]) -> (Vec<Option<Why>>, bool) {
    let mut found = vec![None; book.entries.len()];
    // Who waits for other entries does not match by itself.
    let asks = |index: &usize| {
        let entry = &book.entries[*index];
        entry.decorators.after_match.is_some() && !entry.sillytavern.delay_until_recursion
    };
    let asking: Vec<usize> = (0..found.len()).filter(asks).collect();
    if asking.is_empty() {
        return (found, false);
    }
    let recent = Recent::new(scan.messages, limits::HISTORY_BYTES);
    let mut matcher = Matcher::new(scan.values, limits::HISTORY_MS);
    for (replies, &until) in scan.answers.iter().enumerate() {
        // A greeting had no prompt, and a reply that goes on has the one that is being made.
        if until == 0 || until + 1 >= scan.messages.len() {
            continue;
        }
        for &index in &asking {
            let entry = &book.entries[index];
            if found[index].is_some() || !may_match(book, index, scan, (replies, until)) {
                continue;
            }
            if matcher.is_late() {
                return (found, true);
            }
            let texts = [recent.window(until, book.depth_of(entry))];
            found[index] = matcher.why(entry, &keys[index], &texts).map(|reason| match reason {
                Reason::Constant => Why::Constant,
                Reason::Decorator => Why::Decorator,
                Reason::Key { key, secondary, .. } => Why::Key { key, secondary },
            });
        }
    }
    (found, matcher.late)
}

/// What an entry asks for besides keys, with so many replies and messages. Chance is decided by the seed and the place in the talk, so
/// that what is shown is what is sent.
fn may_match(book: &Lorebook, index: usize, scan: &Scan<'_>, (replies, messages): (usize, usize)) -> bool {
    let entry = &book.entries[index];
    let messages = messages + scan.left_out;
    let dice = mix(scan.values.seed ^ mix(index as u64) ^ mix(messages as u64).rotate_left(32)) % 100;
    let has_luck = dice < entry.sillytavern.chance && messages >= entry.sillytavern.delay;
    let asked = &entry.decorators;
    let holds = asked.only_after.is_none_or(|least| replies >= least)
        && asked.only_every.is_none_or(|every| replies.is_multiple_of(every))
        && (asked.greeting.is_none() || scan.greeting.is_none() || asked.greeting == scan.greeting);
    entry.enabled && has_luck && !entry.content.trim().is_empty() && (holds || asked.activate)
}

fn compile(book: &Lorebook, scan: &Scan<'_>, notes: &mut Notes) -> Vec<Keys> {
    let mut left = limits::PATTERNS;
    let compiled = book.entries.iter().map(|entry| {
        if !entry.enabled {
            return Keys::default();
        }
        let (keys, refused) = entry.compile(&scan.values, &mut left);
        for reason in refused {
            notes.add(entry, &reason);
        }
        keys
    });
    compiled.collect()
}

/// Counts what matched, each entry once in `known`, and drops what the budget has no room for.
fn account(book: &Lorebook, scan: &Scan<'_>, why: Vec<Option<Why>>, known: &mut HashMap<usize, usize>) -> LoreAccount {
    let budget = scan.limit.map_or(book.token_budget, |limit| limit.min(book.token_budget));
    let mut matched = Vec::new();
    for (index, why) in why.into_iter().enumerate() {
        let Some(why) = why else { continue };
        let entry = &book.entries[index];
        let content = scan.values.expand(&entry.content).trim().to_owned();
        if content.is_empty() {
            continue;
        }
        let tokens = *known.entry(index).or_insert_with(|| (scan.count)(&content));
        matched.push(Activated { index, name: entry.name.clone(), content, tokens, place: entry.place, why });
    }
    // What can never fit goes first, whatever its priority: it would take all others with it.
    let (mut matched, mut dropped): (Vec<_>, Vec<_>) = matched.into_iter().partition(|entry| entry.tokens <= budget);
    let compare = |a: f64, b: f64| a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    // The first to go last.
    matched.sort_by(|a, b| {
        let (x, y) = (&book.entries[a.index], &book.entries[b.index]);
        let last = x.decorators.first_to_go.cmp(&y.decorators.first_to_go);
        last.then(compare(y.priority, x.priority)).then(a.index.cmp(&b.index))
    });
    let mut tokens: usize = matched.iter().map(|entry| entry.tokens).sum();
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
    let (book, entries) = (book.name.clone(), book.entries.len());
    LoreAccount { book, entries, active: matched, dropped, tokens, budget, notes: Vec::new() }
}
