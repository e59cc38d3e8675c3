//! From version to version. What the target does not know stays beside its fields, so that the way back finds it again: of a V2
//! card, V1 keeps `data` (less its own six fields) as a field that it does not know.

use serde_json::{Map, Value, json};

use super::card::Version;

/// V1's fields: at the root, or in `data`.
pub(super) const V1_KEYS: [&str; 6] = ["name", "description", "personality", "scenario", "first_mes", "mes_example"];

/// The other texts that V2 demands.
const V2_TEXTS: [&str; 5] =
    ["creator_notes", "system_prompt", "post_history_instructions", "creator", "character_version"];

type Object = Map<String, Value>;

/// `raw`, a card of `from`, as a card of `to`.
pub(super) fn to(raw: &Object, from: Version, to: Version) -> Object {
    if from == to {
        return raw.clone();
    }
    match to {
        Version::V1 => to_v1(raw),
        _ => {
            let mut root = if from == Version::V1 { nest(raw) } else { raw.clone() };
            stamp(&mut root, to);
            root
        }
    }
}

/// The six fields move to the root; the rest of `data` stays where it is.
fn to_v1(raw: &Object) -> Object {
    let mut root = raw.clone();
    root.remove("spec");
    // A version of a later date is news that the way back needs.
    if is_number(root.get("spec_version"), |number| number == 2.0 || number == 3.0) {
        root.remove("spec_version");
    }
    let mut data = match root.remove("data") {
        Some(Value::Object(data)) => data,
        _ => Map::new(),
    };
    for key in V1_KEYS {
        let value = data.remove(key).unwrap_or_else(|| "".into());
        root.insert(key.to_owned(), value);
    }
    if !data.is_empty() {
        root.insert("data".into(), data.into());
    }
    root
}

/// V1's fields move from the root to `data`; what is unknown at the root stays there.
fn nest(raw: &Object) -> Object {
    let mut root = raw.clone();
    let mut data = match root.remove("data") {
        Some(Value::Object(data)) => data,
        // Not what a conversion left: somebody's own field, whose name is needed.
        Some(other) => Map::from_iter([("data".to_owned(), other)]),
        None => Map::new(),
    };
    for key in V1_KEYS {
        let value = root.remove(key).unwrap_or_else(|| "".into());
        data.insert(key.to_owned(), value);
    }
    // Later fields that somebody keeps in a V1 card.
    for key in V2_TEXTS.into_iter().chain(["alternate_greetings", "tags", "character_book", "extensions", "nickname"]) {
        if !data.contains_key(key)
            && let Some(value) = root.remove(key)
        {
            data.insert(key.to_owned(), value);
        }
    }
    root.insert("data".into(), data.into());
    root
}

/// Says that `root` is of `version`, and adds the fields that the version demands.
fn stamp(root: &mut Object, version: Version) {
    let known =
        is_number(root.get("spec_version"), |number| number >= version.number() && number < version.number() + 1.0);
    if !known {
        root.insert("spec_version".into(), if version == Version::V2 { "2.0" } else { "3.0" }.into());
    }
    root.insert("spec".into(), version.spec().unwrap_or_default().into());
    let Some(data) = root.get_mut("data").and_then(Value::as_object_mut) else { return };
    for key in V1_KEYS.into_iter().chain(V2_TEXTS) {
        data.entry(key).or_insert_with(|| "".into());
    }
    data.entry("alternate_greetings").or_insert_with(|| json!([]));
    data.entry("tags").or_insert_with(|| json!([]));
    data.entry("extensions").or_insert_with(|| json!({}));
    if version == Version::V3 {
        data.entry("group_only_greetings").or_insert_with(|| json!([]));
    }
    let Some(book) = data.get_mut("character_book").and_then(Value::as_object_mut) else { return };
    book.entry("extensions").or_insert_with(|| json!({}));
    let entries = book.entry("entries").or_insert_with(|| json!([]));
    for entry in entries.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        entry.entry("extensions").or_insert_with(|| json!({}));
        if version == Version::V3 {
            entry.entry("use_regex").or_insert_with(|| false.into());
        }
    }
}

/// Whether `value` is a version that `holds`; V2 and V3 write them as strings, some programs as numbers.
fn is_number(value: Option<&Value>, holds: impl Fn(f64) -> bool) -> bool {
    number(value).is_some_and(holds)
}

/// A version as a number.
pub(super) fn number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    }
}

/// The V2 form for programs that know no V3, beside a V3 form that says all: without decorators, which these would print, and
/// with a word to their users where something is missing.
pub(super) fn backfill(raw: &Object, from: Version) -> Object {
    let mut root = to(raw, from, Version::V2);
    let Some(data) = root.get_mut("data").and_then(Value::as_object_mut) else { return root };
    let mut newer = ["nickname", "assets", "creator_notes_multilingual"].iter().any(|key| data.contains_key(*key));
    newer |= data.get("group_only_greetings").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let entries = data.get_mut("character_book").and_then(|book| book.get_mut("entries")).and_then(Value::as_array_mut);
    for entry in entries.into_iter().flatten().filter_map(Value::as_object_mut) {
        newer |= entry.get("use_regex") == Some(&Value::Bool(true));
        let Some(content) = entry.get("content").and_then(Value::as_str) else { continue };
        let plain = super::decorators::Decorators::split(content).1;
        if plain.len() != content.len() {
            newer = true;
            let plain = plain.to_owned();
            entry.insert("content".into(), plain.into());
        }
    }
    if newer {
        let notes = data.get("creator_notes").and_then(Value::as_str).unwrap_or_default();
        let notes = format!("{BACKFILLED}\n{notes}");
        data.insert("creator_notes".into(), notes.trim_end().into());
    }
    root
}

/// What the V2 form beside a V3 form says of itself.
const BACKFILLED: &str = "(This is the V2 form of a V3 card: parts of it need a program that reads V3.)";
