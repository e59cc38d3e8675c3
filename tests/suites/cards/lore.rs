//! Lorebooks: which entries take part, why, and what the budget leaves.

use std::time::Instant;

use anyhow::ensure;
use guanaco::cards::lorebook::{Scan, activate};
use guanaco::cards::macros::Values;
use guanaco::cards::{Card, LoreAccount, Lorebook, Place, Why};
use guanaco_tests::{Outcome, Suite};
use serde_json::{Value, json};

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("lore: keys, second keys, case, constants, patterns", keys);
    suite.case("lore: V2 and SillyTavern tell patterns by how they are written", patterns_by_spelling);
    suite.case("lore: depth, recursion and hidden keys", depth);
    suite.case("lore: order, budget and priority", budget);
    suite.case("lore: decorators", decorators);
    suite.case("lore: what matched once stays, or stays away", after_match);
    suite.case("lore: what SillyTavern keeps in extensions", sillytavern);
    suite.case("lore: hostile patterns and long texts end in time", in_time);
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn scan(book: Value, messages: &[&str], greeting: Option<usize>) -> anyhow::Result<LoreAccount> {
    scan_as("chara_card_v3", book, messages, greeting)
}

fn scan_as(spec: &str, book: Value, messages: &[&str], greeting: Option<usize>) -> anyhow::Result<LoreAccount> {
    let card = json!({ "spec": spec, "data": { "name": "Ava", "character_book": book } });
    let card = Card::from_json(&card.to_string())?;
    let Some(book) = Lorebook::of(&card) else { anyhow::bail!("no book") };
    let values = Values { char: "Ava", user: "Bo", ..Values::default() };
    let answers: Vec<usize> = (0..messages.len() / 2).map(|n| 2 * n + 1).collect();
    Ok(activate(
        &book,
        &Scan { messages, left_out: 0, answers: &answers, greeting, values, limit: None, count: &words },
    ))
}

fn active(book: Value, messages: &[&str]) -> anyhow::Result<Vec<String>> {
    Ok(scan(book, messages, None)?.active.into_iter().map(|entry| entry.content).collect())
}

/// A book of one entry, whose content is `x`.
fn one(entry: Value) -> Value {
    let mut entry = entry;
    if entry.get("content").is_none() {
        entry["content"] = json!("x");
    }
    json!({ "entries": [entry] })
}

fn keys() -> Outcome {
    let table = [
        (json!({ "keys": ["dragon"] }), "A DRAGON!", true),
        (json!({ "keys": ["dragon"], "case_sensitive": true }), "A DRAGON!", false),
        (json!({ "keys": ["Größe"] }), "GRÖSSE größe", true),
        (json!({ "keys": ["竜"] }), "竜の山", true),
        (json!({ "keys": ["", " "] }), "anything", false),
        (json!({ "keys": ["{{user}}'s hat"] }), "bo's hat", true),
        (json!({ "keys": ["a"], "enabled": false }), "a", false),
        (json!({ "keys": ["a"], "content": "" }), "a", false),
        (json!({ "keys": [], "constant": true }), "b", true),
        (json!({ "keys": ["a"], "secondary_keys": ["z"], "selective": true }), "a b", false),
        (json!({ "keys": ["a"], "secondary_keys": ["z", "b"], "selective": true }), "a b", true),
        (json!({ "keys": ["a"], "secondary_keys": ["z"], "selective": false }), "a b", true),
        (json!({ "keys": ["/dr[ao]gon\\b/i"], "use_regex": true }), "Drogon.", true),
        (json!({ "keys": ["a", "/(?=x)/"], "use_regex": true }), "a", false),
        (json!({ "keys": ["(a)\\1"], "use_regex": true }), "aa", false),
        (json!({ "keys": ["{{char}}!"], "use_regex": true }), "ava!", true),
        (json!({ "keys": ["^x"], "use_regex": true, "constant": true }), "b", true),
        (json!({ "keys": ["/dr[ao]gon/i"] }), "Drogon.", true),
        (json!({ "keys": ["/usr/lib/"] }), "in /usr/lib/ there", true),
        (json!({ "keys": ["a."], "secondary_keys": ["z$"], "selective": true, "use_regex": true }), "ab za", false),
        (json!({ "keys": ["a."], "secondary_keys": ["z$"], "selective": true, "use_regex": true }), "ab\n z", false),
        (json!({ "keys": ["a."], "secondary_keys": ["z\\n"], "selective": true, "use_regex": true }), "ab z", true),
    ];
    for (entry, text, expected) in table {
        let found = active(one(entry.clone()), &["hi", text])?;
        ensure!(found.is_empty() != expected, "{entry} in {text:?}: {found:?}");
    }
    let account = scan(one(json!({ "keys": ["q", "a"], "secondary_keys": ["b"], "selective": true })), &["a b"], None)?;
    ensure!(account.active[0].why == Why::Key { key: "a".into(), secondary: Some("b".into()) });
    ensure!(account.active[0].name == "q" && account.entries == 1 && account.tokens == 1);
    let account = scan(one(json!({ "keys": ["(?!a)"], "use_regex": true, "name": "odd" })), &["a"], None)?;
    ensure!(account.notes.len() == 1 && account.notes[0].contains("\"odd\""), "{:?}", account.notes);
    Ok(())
}

/// SillyTavern writes `use_regex: true` with every entry, V2 does not know it.
fn patterns_by_spelling() -> Outcome {
    let table = [
        (json!({ "keys": ["nothing"], "constant": true }), "b", true),
        (json!({ "keys": ["C++"] }), "in c++ then", true),
        (json!({ "keys": ["a.c"] }), "abc", false),
        (json!({ "keys": ["/a.c/"] }), "abc", true),
        (json!({ "keys": ["/a.c/"] }), "ABC", false),
        (json!({ "keys": ["/(?=a)/", "C++"] }), "C++", true),
        (json!({ "keys": ["/(?=a)/", "C++"] }), "a", false),
        (json!({ "keys": ["a"], "secondary_keys": ["z"], "selective": true }), "a b", false),
        (json!({ "keys": ["a"], "secondary_keys": ["z", "/b+$/m"], "selective": true }), "a bbb", true),
        (json!({ "keys": ["a"], "content": "@@exclude_keys b\nx" }), "a b", false),
    ];
    for (entry, text, expected) in table {
        let mut silly = entry.clone();
        silly["use_regex"] = json!(true);
        let mut plain = silly.clone();
        silly["extensions"] =
            json!({ "position": 0, "exclude_recursion": false, "selectiveLogic": 0, "case_sensitive": null });
        plain["extensions"] = json!({});
        for (spec, entry) in [("chara_card_v3", &silly), ("chara_card_v2", &silly), ("chara_card_v2", &plain)] {
            let found = scan_as(spec, one(entry.clone()), &["hi", text], None)?.active;
            ensure!(found.is_empty() != expected, "{spec}: {entry} in {text:?}: {found:?}");
        }
    }
    // Its other ways with second keys, and its own place for case.
    let logic = |logic: u64| {
        let entry = json!({ "keys": ["a"], "secondary_keys": ["", "y", "z"], "selective": true, "use_regex": true });
        let mut entry = one(entry);
        entry["entries"][0]["extensions"] = json!({ "selectiveLogic": logic, "case_sensitive": true });
        entry
    };
    for (n, none, one_of, all) in
        [(0, false, true, true), (1, true, true, false), (2, true, false, false), (3, false, false, true)]
    {
        for (text, expected) in [("a", none), ("a z", one_of), ("a z y", all), ("A z y", false)] {
            ensure!(active(logic(n), &[text])?.is_empty() != expected, "{n}: {text}");
        }
    }
    Ok(())
}

fn depth() -> Outcome {
    let book = |depth: u64| json!({ "scan_depth": depth, "entries": [{ "keys": ["old"], "content": "x" }] });
    let messages = ["old", "b", "c"];
    ensure!(active(book(2), &messages)?.is_empty() && active(book(3), &messages)?.len() == 1);
    ensure!(active(book(0), &["old"])?.is_empty() && active(book(99), &["old"])?.len() == 1);
    let chain = |recursive: bool| {
        json!({ "scan_depth": 1, "recursive_scanning": recursive, "entries": [
            { "keys": ["third"], "content": "Third." },
            { "keys": ["second"], "content": "Second leads to third." },
            { "keys": ["first"], "content": "First leads to {{hidden_key:second}}all.{{comment: never}}" },
            { "keys": ["never"], "content": "Never." },
        ] })
    };
    ensure!(active(chain(false), &["the first"])? == ["First leads to all."]);
    let account = scan(chain(true), &["the first"], None)?;
    let names: Vec<_> = account.active.iter().map(|entry| entry.name.as_str()).collect();
    ensure!(names == ["third", "second", "first"], "{names:?}");
    ensure!(account.active[0].why == Why::Entry { key: "third".into(), entry: "second".into() });
    ensure!(account.active[1].why == Why::Entry { key: "second".into(), entry: "first".into() });
    Ok(())
}

fn sillytavern() -> Outcome {
    let entry =
        |extensions: Value| json!({ "keys": ["art", "猫", "old wall"], "content": "x", "extensions": extensions });
    let is_active = |extensions: Value, text: &str| anyhow::Ok(!active(one(entry(extensions)), &[text])?.is_empty());
    // As a word of its own, or anywhere.
    for (text, in_part, as_word) in [
        ("Modern art!", true, true),
        ("A start.", true, false),
        ("art_2", true, false),
        ("ART", true, true),
        ("黒猫が好き", true, true),
        ("old wallpaper", true, true),
        ("artart art", true, true),
        ("artartart", true, false),
    ] {
        ensure!(
            is_active(json!({}), text)? == in_part && is_active(json!({ "match_whole_words": null }), text)? == in_part
        );
        ensure!(is_active(json!({ "match_whole_words": true }), text)? == as_word, "{text}");
    }
    // Its own depth, and how long it waits.
    let two = ["art", "b"];
    for (extensions, count) in [
        (json!({ "scan_depth": 1 }), 0),
        (json!({ "scan_depth": 2 }), 1),
        (json!({ "scan_depth": null }), 1),
        (json!({ "delay": 2 }), 1),
        (json!({ "delay": 3 }), 0),
    ] {
        ensure!(active(one(entry(extensions.clone())), &two)?.len() == count, "{extensions}");
    }
    // Who brings in whom: the first entry says the key of the second.
    let chain = |first: Value, second: Value, said: &str| {
        let book = json!({ "recursive_scanning": true, "entries": [
            { "keys": ["one"], "content": "two", "extensions": first },
            { "keys": ["two"], "content": "three", "extensions": second },
        ] });
        active(book, &[said])
    };
    for (first, second, said, contents) in [
        (json!({}), json!({}), "one", &["two", "three"][..]),
        (json!({ "prevent_recursion": true }), json!({}), "one", &["two"]),
        (json!({}), json!({ "exclude_recursion": true }), "one", &["two"]),
        (json!({}), json!({ "exclude_recursion": true }), "one and two", &["two", "three"]),
        (json!({}), json!({ "delay_until_recursion": true }), "two", &[]),
        (json!({ "prevent_recursion": true }), json!({ "delay_until_recursion": true }), "one and two", &["two"]),
        (json!({}), json!({ "delay_until_recursion": 2 }), "one and two", &["two", "three"]),
        (json!({}), json!({ "delay_until_recursion": false }), "two", &["three"]),
    ] {
        let found = chain(first.clone(), second.clone(), said)?;
        ensure!(found == contents, "{first} {second} {said}: {found:?}");
    }
    // Chance falls the same way in the same place, and as often as it says over many.
    let lucky = |percent: u64, used: bool, places: usize| -> anyhow::Result<usize> {
        let mut lucky = 0;
        for place in 1..=places {
            let book = one(entry(json!({ "probability": percent, "useProbability": used })));
            let messages = vec!["art"; place];
            let found = active(book.clone(), &messages)?;
            ensure!(found == active(book, &messages)?);
            lucky += found.len();
        }
        Ok(lucky)
    };
    ensure!((lucky(0, true, 50)?, lucky(100, true, 50)?, lucky(0, false, 50)?) == (0, 50, 50));
    ensure!(!is_active(json!({ "probability": 0 }), "art")?, "a chance counts unless it is switched off");
    ensure!(is_active(json!({ "match_whole_words": true }), "the !!! art")?);
    let shouts = json!({ "keys": ["!!"], "content": "x", "extensions": { "match_whole_words": true } });
    ensure!(active(one(shouts), &["Wow!!!"])?.len() == 1, "it ends where a word does, one further");
    let third = lucky(30, true, 300)?;
    ensure!((60..120).contains(&third), "{third} of 300 at 30 %");
    // What is not honoured is said.
    let odd = json!({ "group": "g", "sticky": 2, "cooldown": 0, "position": 4, "depth": 3 });
    let account = scan(one(entry(odd)), &["art"], None)?;
    let notes = account.notes.join(" ");
    ensure!(account.notes.len() == 3 && account.active[0].place == Place::AfterChar, "{notes}");
    ensure!(["\"group\"", "\"sticky\"", "inside of the history"].iter().all(|what| notes.contains(what)), "{notes}");
    for odd in [
        json!({ "vectorized": true }),
        json!({ "triggers": ["x"] }),
        json!({ "position": 2 }),
        json!({ "position": 4 }),
    ] {
        ensure!(scan(one(entry(odd.clone())), &["art"], None)?.notes.len() == 1, "{odd}");
    }
    let plain = json!({ "vectorized": false, "triggers": [], "group": "", "sticky": null, "cooldown": 0, "position": 1, "depth": 4 });
    ensure!(scan(one(entry(plain)), &["art"], None)?.notes.is_empty());
    Ok(())
}

fn budget() -> Outcome {
    let entry = |content: &str, order: i64, priority: Option<i64>| {
        let mut entry = json!({ "keys": ["k"], "content": content, "insertion_order": order });
        if let Some(priority) = priority {
            entry["priority"] = json!(priority);
        }
        entry
    };
    let entries = [
        entry("c c", 30, Some(1)),
        entry("a a", 10, Some(5)),
        entry("@@ignore_on_max_context\nfirst gone", 1, Some(100)),
        entry("b b", 20, Some(3)),
        json!({ "keys": ["k"], "content": "front", "insertion_order": 99, "priority": 50, "position": "before_char" }),
    ];
    let run = |budget: u64| scan(json!({ "token_budget": budget, "entries": entries.to_vec() }), &["k"], None);
    let contents = |account: &LoreAccount| account.active.iter().map(|e| e.content.clone()).collect::<Vec<_>>();
    let all = run(100)?;
    ensure!(
        contents(&all) == ["front", "first gone", "a a", "b b", "c c"] && all.tokens == 9 && all.dropped.is_empty()
    );
    ensure!(all.active[0].place == Place::BeforeChar && all.active[1].place == Place::AfterChar);
    let seven = run(7)?;
    ensure!(contents(&seven) == ["front", "a a", "b b", "c c"] && seven.tokens == 7);
    let five = run(5)?;
    ensure!(contents(&five) == ["front", "a a", "b b"] && five.dropped.len() == 2, "{five:?}");
    ensure!(five.dropped.iter().map(|e| e.content.as_str()).collect::<Vec<_>>() == ["first gone", "c c"]);
    let none = run(0)?;
    ensure!(none.active.is_empty() && none.dropped.len() == 5 && none.tokens == 0 && none.budget == 0);
    // One that can never fit takes nobody with it, whatever its priority.
    let large = [entry("l l l l l l", 1, Some(99)), entry("a a", 2, Some(2)), entry("b b", 3, Some(1))];
    let account = scan(json!({ "token_budget": 5, "entries": large }), &["k"], None)?;
    ensure!(contents(&account) == ["a a", "b b"] && account.tokens == 4, "{account:?}");
    ensure!(account.dropped.len() == 1 && account.dropped[0].content == "l l l l l l");
    // What is dropped brings in nobody, and what it would have brought in takes no room.
    let chain = |priority: u64| {
        json!({ "token_budget": 4, "recursive_scanning": true, "entries": [
            { "keys": ["k"], "content": "to second now", "insertion_order": 1, "priority": priority },
            { "keys": ["second"], "content": "to third", "insertion_order": 2, "priority": 5 },
            { "keys": ["third"], "content": "never", "insertion_order": 3, "priority": 9 },
            { "keys": ["k"], "content": "own words", "insertion_order": 4, "priority": 4 },
        ] })
    };
    let account = scan(chain(1), &["k"], None)?;
    ensure!(contents(&account) == ["own words"] && account.dropped.len() == 1, "{account:?}");
    let account = scan(chain(7), &["k"], None)?;
    ensure!(contents(&account) == ["to second now"] && account.dropped.len() == 2, "{account:?}");
    // Without priorities the order decides what goes.
    let plain = json!({ "token_budget": 2, "entries": [entry("low low", 1, None), entry("high high", 2, None)] });
    ensure!(active(plain, &["k"])? == ["high high"]);
    Ok(())
}

fn decorators() -> Outcome {
    let with = |lines: &str| one(json!({ "keys": ["key"], "content": format!("{lines}\n\nLore.") }));
    let messages = ["key", "reply", "more", "reply", "end"];
    for (lines, expected) in [
        ("@@activate_only_after 2", true),
        ("@@activate_only_after 3", false),
        ("@@activate_only_every 2", true),
        ("@@activate_only_every 3", false),
        ("@@scan_depth 4", false),
        ("@@scan_depth 5", true),
        ("@@dont_activate", false),
        ("@@dont_activate\n@@activate", true),
        ("@@additional_keys nothing, end", true),
        ("@@additional_keys end\n@@additional_keys nothing", false),
        ("@@exclude_keys nothing,END", false),
        ("@@exclude_keys nothing", true),
        ("@@is_greeting 1", true),
        ("@@is_greeting 0", false),
        ("@@unknown\n@@@dont_activate", false),
        ("@@scan_depth 5\n@@@dont_activate", true),
    ] {
        let account = scan(with(lines), &messages, Some(1))?;
        ensure!(account.active.is_empty() != expected, "{lines}");
        ensure!(account.active.iter().all(|entry| entry.content == "Lore."), "{lines}: {account:?}");
    }
    let activated = scan(one(json!({ "keys": [], "content": "@@activate\nx" })), &[], None)?;
    ensure!(activated.active[0].why == Why::Decorator);
    for (lines, place) in [
        ("@@position before_desc", Place::BeforeDescription),
        ("@@position after_desc\n@@depth 3", Place::AfterDescription),
        ("@@position personality", Place::Personality),
        ("@@position scenario", Place::Scenario),
        ("@@position nowhere\n@@@position scenario", Place::Scenario),
        ("@@depth 2", Place::AfterChar),
    ] {
        let account = scan(with(lines), &messages, None)?;
        ensure!(account.active[0].place == place, "{lines}: {account:?}");
    }
    let account = scan(with("@@depth 2\n@@role assistant\n@@instruct_depth 4"), &messages, None)?;
    let notes = account.notes.join(" ");
    ensure!(notes.contains("inside of the history") && notes.contains("@@role") && notes.contains("@@instruct_depth"));
    Ok(())
}

fn after_match() -> Outcome {
    let talk = ["key", "reply", "b", "reply", "c", "reply", "d"];
    let with = |lines: &str, more: Value| {
        let mut entry = json!({ "keys": ["key"], "content": format!("{lines}\nx") });
        entry.as_object_mut().into_iter().for_each(|entry| entry.extend(more.as_object().cloned().unwrap_or_default()));
        let mut book = one(entry);
        book["scan_depth"] = json!(2);
        book
    };
    let (keep, stop) = ("@@keep_activate_after_match", "@@dont_activate_after_match");
    let both = json!({ "secondary_keys": ["b"], "selective": true });
    let constant = json!({ "constant": true });
    for (lines, more, messages, expected) in [
        (keep.to_owned(), json!({}), &talk[..], true),
        (keep.to_owned(), json!({ "keys": ["d"] }), &talk, true),
        (keep.to_owned(), json!({ "keys": ["z"] }), &talk, false),
        (keep.to_owned(), json!({ "enabled": false }), &talk, false),
        // Never both in one prompt.
        (keep.to_owned(), both.clone(), &talk, false),
        (format!("{keep}\n@@scan_depth 3"), both, &talk, true),
        // There was one reply when the key was in the prompt, and no other greeting.
        (format!("{keep}\n@@activate_only_after 0"), json!({}), &talk, true),
        (format!("{keep}\n@@activate_only_after 1"), json!({}), &talk, false),
        (format!("{keep}\n@@is_greeting 1"), json!({}), &talk, false),
        (format!("{keep}\n@@exclude_keys KEY"), json!({}), &talk, false),
        (stop.to_owned(), json!({}), &["key"], true),
        (stop.to_owned(), json!({}), &["key", "reply", "key"], false),
        (stop.to_owned(), json!({}), &["a", "reply", "key"], true),
        // A reply that goes on has the prompt that it began with.
        (stop.to_owned(), json!({}), &["key", "reply"], true),
        (stop.to_owned(), constant.clone(), &["a"], true),
        (stop.to_owned(), constant.clone(), &["a", "reply", "b"], false),
        (format!("{keep}\n{stop}"), constant, &["a", "reply", "b"], true),
    ] {
        let account = scan(with(&lines, more.clone()), messages, Some(0))?;
        ensure!(account.active.is_empty() != expected, "{lines} {more} {messages:?}: {account:?}");
    }
    let account = scan(with(keep, json!({})), &talk, None)?;
    ensure!(account.active[0].why == Why::Key { key: "key".into(), secondary: None } && account.notes.is_empty());
    // Many messages and entries end in time.
    let entries: Vec<_> = (0..10_000)
        .map(|n| json!({ "keys": [format!("k{n}"), ""], "content": format!("{}\nx", if n % 2 == 0 { keep } else { stop }) }))
        .collect();
    let messages = vec!["the same again"; 20_000];
    let begun = Instant::now();
    let account = scan(json!({ "entries": entries, "scan_depth": 10_000 }), &messages, None)?;
    ensure!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    ensure!(account.active.is_empty() && account.notes.iter().any(|note| note.contains("took longer")));
    Ok(())
}

fn in_time() -> Outcome {
    let long = "a".repeat(4 << 20) + "!";
    let patterns = ["(a+)+$", "^(a|aa)+$", "(a*)*b", "(.*a){12}b", "/(x+x+)+y/i"];
    let entries: Vec<_> = (0..2_000)
        .map(|n| json!({ "keys": [patterns[n % patterns.len()]], "content": "x", "use_regex": true }))
        .collect();
    let begun = Instant::now();
    let account = scan(json!({ "entries": entries }), &[&long], None)?;
    let regexes = begun.elapsed();
    ensure!(regexes.as_secs() < 15, "{regexes:?}");
    ensure!(account.notes.iter().any(|note| note.contains("more than 200 patterns")) && account.notes.len() < 30);
    let entries: Vec<_> = (0..10_000)
        .map(|n| json!({ "keys": (0..30).map(|k| format!("{}b{n}_{k}", "a".repeat(10))).collect::<Vec<_>>(), "content": "x" }))
        .collect();
    let begun = Instant::now();
    let messages: Vec<&str> = std::iter::repeat_n(&long[..4000], 10_000).collect();
    let account =
        scan(json!({ "entries": entries, "scan_depth": 10_000, "recursive_scanning": true }), &messages, None)?;
    let keys = begun.elapsed();
    ensure!(keys.as_secs() < 15 && account.active.is_empty(), "{keys:?}");
    // Every place begins like the key, and no place ends as a word does.
    let whole: Vec<_> = (0..200)
        .map(|n| json!({ "keys": ["!".repeat(30_000 - n)], "content": "x", "extensions": { "match_whole_words": true } }))
        .collect();
    let shout = "a".to_owned() + &"!".repeat(60_000) + "a";
    let begun = Instant::now();
    scan(json!({ "entries": whole }), &[&shout], None)?;
    let words = begun.elapsed();
    ensure!(words.as_secs() < 15, "{words:?}");
    // Every entry brings in the next.
    let entries: Vec<_> =
        (0..10_000).map(|n| json!({ "keys": [format!("k{n}.")], "content": format!("k{}.", n + 1) })).collect();
    let begun = Instant::now();
    scan(json!({ "entries": entries, "recursive_scanning": true, "token_budget": 1_000_000 }), &["k0."], None)?;
    let chain = begun.elapsed();
    ensure!(chain.as_secs() < 15, "{chain:?}");
    // Braces around braces, as keys and in an entry, from the file to the prompt.
    let nested = "{{".repeat(250_000) + &"}}".repeat(250_000);
    let entries = [
        json!({ "keys": [nested], "content": "x", "use_regex": true }),
        json!({ "keys": [nested, "k"], "content": nested }),
    ];
    let card = json!({ "spec": "chara_card_v3", "data": { "name": "Ava", "character_book": { "entries": entries } } });
    let begun = Instant::now();
    Card::read(card.to_string().as_bytes(), "nested.json")?;
    let account = scan(json!({ "entries": entries, "recursive_scanning": true }), &["k"], None)?;
    let braces = begun.elapsed();
    ensure!(braces.as_secs() < 5 && account.active.len() == 1, "{braces:?}");
    println!(
        "cards: 2,000 hostile patterns on 4 MiB in {regexes:?}, 300,000 keys in {keys:?}, a chain of 10,000 in {chain:?}, nested braces in \
         {braces:?}"
    );
    Ok(())
}
