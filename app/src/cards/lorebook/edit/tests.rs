//! What a change alters, and what it leaves.

use super::*;

fn card(version: u8) -> Card {
    let book = json!({ "name": "B", "x_book": 0.1, "extensions": { "a": [1] }, "entries": [
        { "keys": ["one"], "content": "@@depth 2\nOne.", "enabled": true, "insertion_order": 5, "id": 7, "x_entry": {},
          "extensions": { "position": 4, "case_sensitive": false, "probability": 50 } },
        "odd",
        { "keys": "a, b", "secondary_keys": "c", "content": "Two.", "insertion_order": 2.5, "extensions": {} },
    ] });
    let spec = format!("chara_card_v{version}");
    let json = json!({ "spec": spec, "spec_version": format!("{version}.0"), "x_root": 1,
        "data": { "name": "Ava", "x_data": null, "character_book": book, "extensions": {} } });
    Card::from_json(&json.to_string()).unwrap()
}

/// All that `change` alters, as `path: before → after`.
fn altered(version: u8, change: BookChange) -> Vec<String> {
    fn walk(a: &Value, b: &Value, path: &str, found: &mut Vec<String>) {
        match (a, b) {
            (Value::Object(a), Value::Object(b)) => {
                let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
                for key in keys {
                    let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(json!("nothing"));
                    walk(&of(a), &of(b), &format!("{path}.{key}"), found);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (n, (a, b)) in a.iter().zip(b).enumerate() {
                    walk(a, b, &format!("{path}[{n}]"), found);
                }
            }
            _ if a == b => {}
            _ => found.push(format!("{path}: {a} → {b}")),
        }
    }
    let before = card(version);
    let mut after = before.clone();
    assert!(after.change_book(change));
    // What is written and read again is the same.
    assert_eq!(Card::from_json(&after.to_json(after.version())).unwrap(), after);
    let mut found = Vec::new();
    let book = |card: &Card| Value::Object(card.character_book().unwrap().clone());
    walk(&book(&before), &book(&after), "", &mut found);
    assert!(after.raw()["x_root"] == 1 && after.data()["x_data"].is_null());
    found
}

#[test]
fn a_change_changes_what_it_names_and_nothing_else() {
    let entry = |change| BookChange::Entry(0, change);
    let text = |field, text: &str| entry(EntryChange::Text(field, text.to_owned()));
    for (change, expected) in [
        (BookChange::Begin, vec![]),
        (BookChange::ScanDepth(3), vec![".scan_depth: \"nothing\" → 3"]),
        (BookChange::TokenBudget(90), vec![".token_budget: \"nothing\" → 90"]),
        (BookChange::Recursive(true), vec![".recursive_scanning: \"nothing\" → true"]),
        (text(EntryText::Name, "N"), vec![".entries[0].name: \"nothing\" → \"N\""]),
        (text(EntryText::Comment, "C"), vec![".entries[0].comment: \"nothing\" → \"C\""]),
        (text(EntryText::Content, "x"), vec![".entries[0].content: \"@@depth 2\\nOne.\" → \"x\""]),
        (entry(EntryChange::Flag(EntryFlag::Enabled, false)), vec![".entries[0].enabled: true → false"]),
        (
            entry(EntryChange::Flag(EntryFlag::CaseSensitive, true)),
            vec![
                ".entries[0].case_sensitive: \"nothing\" → true",
                ".entries[0].extensions.case_sensitive: false → true",
            ],
        ),
        (
            entry(EntryChange::BeforeChar(true)),
            vec![".entries[0].extensions.position: 4 → 0", ".entries[0].position: \"nothing\" → \"before_char\""],
        ),
        (entry(EntryChange::Number(EntryNumber::Priority, 3.0)), vec![".entries[0].priority: \"nothing\" → 3"]),
        (entry(EntryChange::Number(EntryNumber::Order, 0.5)), vec![".entries[0].insertion_order: 5 → 0.5"]),
        (
            BookChange::Entry(2, EntryChange::Keys(EntryKeys::Primary, vec!["b".to_owned()])),
            vec![".entries[2].keys: \"a, b\" → [\"b\"]"],
        ),
    ] {
        for version in [2, 3] {
            assert_eq!(altered(version, change.clone()), expected, "{change:?}");
        }
    }
    // Only V3 knows patterns: a card of V2 becomes one of V3.
    let regex = entry(EntryChange::Flag(EntryFlag::Regex, true));
    assert_eq!(altered(3, regex.clone()), [".entries[0].use_regex: \"nothing\" → true"]);
    let mut card = card(2);
    assert!(card.change_book(regex) && card.version() == Version::V3 && card.entry(0).unwrap().read().use_regex);
}

#[test]
fn entries_come_go_and_move() {
    let mut card = card(3);
    assert!(card.change_book(BookChange::Add));
    let added = card.entry(3).unwrap().read();
    assert!(added.enabled && added.keys.is_empty() && added.order == 6.0 && added.name == "#4");
    assert!(card.change_book(BookChange::Move(0, 2)));
    assert_eq!(card.entry(2).unwrap().keys(EntryKeys::Primary), ["one"]);
    assert_eq!(card.entry(1).unwrap().keys(EntryKeys::Primary), ["a", "b"]);
    assert!(card.entry(0).is_none(), "what is no object moves, too");
    assert!(card.change_book(BookChange::Remove(0)) && card.entry_count() == 3);
    for impossible in [
        BookChange::Remove(3),
        BookChange::Move(0, 3),
        BookChange::Entry(9, EntryChange::Flag(EntryFlag::Enabled, true)),
        BookChange::Entry(0, EntryChange::Number(EntryNumber::Order, f64::NAN)),
    ] {
        let before = card.clone();
        assert!(!card.change_book(impossible) && card == before);
    }
    assert!(card.entry(1).unwrap().contains("one") && !card.entry(1).unwrap().contains("two"));
}

#[test]
fn a_card_without_a_book_gets_one_and_an_odd_one_stays() {
    let mut card = Card::from_json(r#"{ "name": "Ava", "first_mes": "", "x": 1 }"#).unwrap();
    assert!(card.entry_count() == 0 && card.character_book().is_none());
    assert!(card.change_book(BookChange::Add) && card.version() == Version::V2 && card.entry_count() == 1);
    assert!(card.raw()["x"] == 1 && card.entry(0).unwrap().read().enabled);
    for odd in [json!("text"), json!({ "entries": { "0": {} } })] {
        let json = json!({ "spec": "chara_card_v2", "data": { "name": "Ava", "character_book": odd } });
        let mut card = Card::from_json(&json.to_string()).unwrap();
        assert!(!card.change_book(BookChange::Add) && card.data()["character_book"] == odd);
    }
}

#[test]
fn a_pattern_that_is_refused_says_why() {
    let mut card = card(3);
    let mut set = |change| assert!(card.change_book(BookChange::Entry(0, change)));
    set(EntryChange::Keys(EntryKeys::Primary, vec!["(?=a)".to_owned()]));
    set(EntryChange::Flag(EntryFlag::Regex, true));
    let problem = card.entry(0).unwrap().read().problem("Ava", "Bo").unwrap();
    assert!(problem.contains("look-around"), "{problem}");
    assert_eq!(card.entry(2).unwrap().read().problem("Ava", "Bo"), None);
}
