//! From cards and messages to the prompt builder's conversation.
//!
//! Guanaco's System block holds the character and stands behind the history, so all of a card goes there, in this order: the
//! system prompt; lore in front; description, personality and scenario; the others who are present, in short; lore behind;
//! examples; and last the post-history instructions, whose place it is. The user's own knowledge and sources follow, in their
//! own slots. The format has no system prompt of its own, so `{{original}}` stands for nothing.

use std::sync::Arc;

use guanaco_engine::prompt::{self, Character, Conversation, Language, Message, Role, System, parse_reply};

use super::card::{Card, List, Text};
use super::limits;
use super::lorebook::{self, LoreAccount, Lorebook, Place, Scan};
use super::macros::Values;
use super::words::Word;

/// Who takes part.
#[derive(Debug, Clone, Copy)]
pub struct Cast<'a> {
    /// The characters of the chat.
    pub cards: &'a [Arc<Card>],
    /// Who speaks next: an index of `cards`.
    pub speaker: usize,
    /// What the person is called.
    pub user: &'a str,
    /// The language of the words that are put beside the cards' own.
    pub language: Language,
    /// What random macros follow from; one a chat, so that a prompt does not change while it is looked at.
    pub seed: u64,
    /// The most tokens of lore, whatever the book asks for; None for what it asks for.
    pub lore_limit: Option<usize>,
    /// How many messages of the talk there are in front of those that are given.
    pub left_out: usize,
}

/// What the prompt is built from, and an account of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Composition {
    /// For the builder.
    pub conversation: Conversation,
    /// All who can be speaking, by names and nicknames: for [`parse_reply`].
    pub names: Vec<String>,
    /// What came of the speaker's lorebook.
    pub lore: LoreAccount,
    /// How many example conversations are in the prompt.
    pub examples_kept: usize,
    /// How many did not fit their budget.
    pub examples_dropped: usize,
    /// What was done that the user may want to know, a sentence each, in English.
    pub notes: Vec<String>,
}

/// How much is said of those who are present but do not speak, in characters.
const OTHERS_CHARS: usize = 240;
/// How long a name may be in front of a reply, in characters.
const NAME_CHARS: usize = 64;

/// Puts `cast` and `messages` into the builder's form. `system` is the user's own: knowledge, sources, keywords. Examples take
/// `example_budget` tokens at most, each whole or not at all; `count` counts a text's tokens.
///
/// `messages` end with the user's, which is the one to answer: the format answers users alone, so that where the speaker answers
/// another character's reply, the caller puts an empty message of the user's behind it. A reply that is to go on is none of them: the
/// caller puts it behind the conversation's messages, which are else as they were but for names.
pub fn compose(
    cast: &Cast<'_>,
    system: &System,
    messages: Vec<Message>,
    example_budget: usize,
    count: &dyn Fn(&str) -> usize,
    force_name: bool,
) -> Composition {
    let mut notes = Vec::new();
    let names = names(cast, &mut notes);
    let messages = mended(messages, &mut notes);
    let Some(card) = cast.cards.get(cast.speaker) else {
        let conversation = Conversation { system: system.clone(), character: None, messages, language: cast.language };
        let lore = LoreAccount::default();
        return Composition { conversation, names, lore, examples_kept: 0, examples_dropped: 0, notes };
    };
    let name = mend_name(card.called());
    let values = values(card, cast.user, cast.seed);
    let lore = match Lorebook::of(card) {
        Some(book) => {
            let texts: Vec<&str> = messages.iter().map(|message| message.content.as_str()).collect();
            let is_reply = |index: &usize| messages[*index].role == Role::Assistant;
            let answers: Vec<usize> = (0..messages.len()).filter(is_reply).collect();
            let greeting = greeting(card, &messages, cast);
            let scan = Scan {
                messages: &texts,
                left_out: cast.left_out,
                answers: &answers,
                greeting,
                values,
                limit: cast.lore_limit,
                count,
            };
            LoreAccount { book: card.name().to_owned(), ..lorebook::activate(&book, &scan) }
        }
        None => LoreAccount::default(),
    };
    notes.extend(lore.notes.iter().cloned());
    let (examples, examples_kept, examples_dropped) = examples(card, &values, example_budget, count);
    let description = description(cast, card, &values, &lore, &examples);
    let character = Character { name, description, force_name };
    let conversation =
        Conversation { system: system.clone(), character: Some(character), messages, language: cast.language };
    Composition { conversation, names, lore, examples_kept, examples_dropped, notes }
}

/// What a character can begin a chat with, macros expanded: the first message and its alternatives. Empty ones are left out.
pub fn greetings(card: &Card, user: &str, seed: u64) -> Vec<String> {
    let all = std::iter::once(card.text(Text::FirstMessage)).chain(card.list(List::AlternateGreetings));
    expanded(all, card, user, seed)
}

/// What a character can say first where others are, besides [`greetings`].
pub fn group_greetings(card: &Card, user: &str, seed: u64) -> Vec<String> {
    expanded(card.list(List::GroupOnlyGreetings).into_iter(), card, user, seed)
}

fn expanded<'a>(texts: impl Iterator<Item = &'a str>, card: &Card, user: &str, seed: u64) -> Vec<String> {
    let values = values(card, user, seed);
    texts.map(|text| values.expand(text).trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

fn values<'a>(card: &'a Card, user: &'a str, seed: u64) -> Values<'a> {
    Values { char: card.called(), user, original: "", seed, scan: false }
}

/// A name that the builder takes ([`prompt::mend_name`]), of at most 64 characters.
pub fn mend_name(name: &str) -> String {
    let short: String = prompt::mend_name(name).chars().take(NAME_CHARS).collect();
    prompt::mend_name(short.trim())
}

/// All names that a reply can begin with, each once.
fn names(cast: &Cast<'_>, notes: &mut Vec<String>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for card in cast.cards {
        for name in [card.called(), card.name()] {
            let mended = mend_name(name);
            if mended != name {
                notes.push(format!("The name {name:?} cannot stand in front of a reply: {mended:?} is used."));
            }
            if !names.contains(&mended) {
                names.push(mended);
            }
        }
    }
    let mut seen = std::collections::HashSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    names
}

fn mended(mut messages: Vec<Message>, notes: &mut Vec<String>) -> Vec<Message> {
    for message in &mut messages {
        let Some(name) = &message.name else { continue };
        if name.trim().is_empty() {
            message.name = None;
            continue;
        }
        let mended = mend_name(name);
        if mended != *name {
            let note = format!("The name {name:?} cannot stand in front of a reply: {mended:?} is used.");
            if !notes.contains(&note) {
                notes.push(note);
            }
            message.name = Some(mended);
        }
    }
    messages
}

/// The greeting that the talk began with, in the card's count.
fn greeting(card: &Card, messages: &[Message], cast: &Cast<'_>) -> Option<usize> {
    let first = messages.first().filter(|first| first.role == Role::Assistant)?;
    let (called, name) = (mend_name(card.called()), mend_name(card.name()));
    // Where the name stands in the text, it is no part of the greeting.
    let (_, plain) = parse_reply(&first.content, &[&called, &name]);
    let said = [first.content.trim(), plain.trim()];
    let all: Vec<&str> =
        std::iter::once(card.text(Text::FirstMessage)).chain(card.list(List::AlternateGreetings)).collect();
    let now = values(card, cast.user, cast.seed);
    if let Some(index) = all.iter().position(|text| said.contains(&now.expand(text).trim())) {
        return Some(index);
    }
    // The user had another name then: the greeting that says most besides it.
    let open = values(card, OPEN, cast.seed);
    let mut best = None;
    for (index, text) in all.iter().enumerate() {
        let text = open.expand(text);
        let told = said.iter().filter_map(|said| told_to_another(text.trim(), said)).max();
        if let Some(told) = told.filter(|told| best.is_none_or(|(most, _)| *told > most)) {
            best = Some((told, index));
        }
    }
    best.map(|(_, index)| index)
}

/// Stands for a user of any name: no text has it.
const OPEN: &str = "\u{fdd0}";

/// How many bytes of `said` are the greeting's own, when it is `greeting` with one name in place of each [`OPEN`].
fn told_to_another(greeting: &str, said: &str) -> Option<usize> {
    let names = greeting.matches(OPEN).count();
    let own = greeting.len() - names * OPEN.len();
    let length = said.len().checked_sub(own)?.checked_div(names)?;
    let start = greeting.find(OPEN)?;
    let name = said.get(start..start.checked_add(length)?)?;
    let is_name = name.len() <= limits::NAME_CHARS && !name.contains('\n');
    (own > 0 && is_name && greeting.replace(OPEN, name) == said).then_some(own)
}

/// The example conversations that fit, in their order.
fn examples(card: &Card, values: &Values<'_>, budget: usize, count: &dyn Fn(&str) -> usize) -> (String, usize, usize) {
    let text = values.expand(card.text(Text::Examples));
    let (mut kept, mut dropped, mut left) = (Vec::new(), 0, budget);
    for example in blocks(&text) {
        // The line end that joins it to the next.
        match left.checked_sub(count(example) + 1) {
            Some(rest) => {
                left = rest;
                kept.push(example);
            }
            None => dropped += 1,
        }
    }
    (kept.join("\n"), kept.len(), dropped)
}

/// The stretches between `<START>` marks, in any case.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    const MARK: &str = "<start>";
    let bytes = text.as_bytes();
    let marks = (0..bytes.len().saturating_sub(MARK.len() - 1))
        .filter(|&at| bytes[at] == b'<' && bytes[at..at + MARK.len()].eq_ignore_ascii_case(MARK.as_bytes()));
    let mut starts = vec![0];
    let mut ends = Vec::new();
    for at in marks {
        ends.push(at);
        starts.push(at + MARK.len());
    }
    ends.push(text.len());
    starts.into_iter().zip(ends).map(|(start, end)| text[start..end].trim()).filter(|block| !block.is_empty())
}

/// All that the System block says of the character.
fn description(cast: &Cast<'_>, card: &Card, values: &Values<'_>, lore: &LoreAccount, examples: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut add = |text: String| {
        if !text.trim().is_empty() {
            lines.push(text.trim().to_owned());
        }
    };
    let field = |field: Text| values.expand(card.text(field)).trim().to_owned();
    let labelled = |word: Word, text: String| match text.is_empty() {
        true => text,
        false => word.with(cast.language, "") + &text,
    };
    let at = |place: Place| {
        let contents = lore.active.iter().filter(|entry| entry.place == place).map(|entry| entry.content.as_str());
        contents.collect::<Vec<_>>().join("\n")
    };
    add(field(Text::SystemPrompt));
    add(at(Place::BeforeChar));
    add(at(Place::BeforeDescription));
    add(field(Text::Description));
    add(at(Place::AfterDescription));
    add(labelled(Word::Personality, field(Text::Personality)));
    add(at(Place::Personality));
    add(labelled(Word::Scenario, field(Text::Scenario)));
    add(at(Place::Scenario));
    add(others(cast));
    add(at(Place::AfterChar));
    if !examples.is_empty() {
        add(format!("{}\n{examples}", Word::Examples.with(cast.language, &mend_name(card.called()))));
    }
    add(field(Text::PostHistory));
    lines.join("\n")
}

/// Those who are present but do not speak: a line each.
fn others(cast: &Cast<'_>) -> String {
    let others = cast.cards.iter().enumerate().filter(|(index, _)| *index != cast.speaker);
    let lines = others.map(|(_, card)| {
        let values = values(card, cast.user, cast.seed);
        let own = [Text::Personality, Text::Description].map(|field| values.expand(card.text(field)));
        let own =
            own.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).find(|text| !text.is_empty());
        let name = mend_name(card.called());
        match own {
            Some(own) => format!("{name} ({})", shortened(&own)),
            None => name,
        }
    });
    let lines: Vec<_> = lines.collect();
    match lines.is_empty() {
        true => String::new(),
        false => Word::Others.with(cast.language, "") + &lines.join("; "),
    }
}

/// The first sentences of a text, or its first words where one sentence is too long.
fn shortened(text: &str) -> String {
    let Some((limit, _)) = text.char_indices().nth(OTHERS_CHARS) else { return text.to_owned() };
    let head = &text[..limit];
    let sentence = head.rfind(". ").map(|end| end + 1).or_else(|| head.rfind('。').map(|end| end + '。'.len_utf8()));
    match sentence.or_else(|| head.rfind(' ')) {
        Some(end) => head[..end].to_owned(),
        None => format!("{head}…"),
    }
}
