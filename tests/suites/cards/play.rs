//! From cards and messages to the prompt, through the engine's own builder.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use guanaco::cards::{Card, Cast, Composition, List, Text, compose, greetings, group_greetings, mend_name};
use guanaco_engine::prompt::{self, BuildOptions, Language, Message, System, parse_reply};
use guanaco_tests::{Outcome, Suite};
use serde_json::json;

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("play: every part of a card has its place in the System block", places);
    suite.case("play: examples go whole, within their budget", examples);
    suite.case("play: several characters, with and without the user", several);
    suite.case("play: names that the builder refuses are mended", names);
    suite.case("play: greetings are swipes, and known again", greeted);
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn full() -> anyhow::Result<Card> {
    let entry = |content: &str, position: &str| json!({ "keys": ["sea"], "content": content, "enabled": true, "insertion_order": 1, "position": position });
    let card = json!({ "spec": "chara_card_v3", "spec_version": "3.0", "data": {
        "name": "Ava Lee", "nickname": "Ava",
        "description": "{{char}} is a sailor.", "personality": "calm", "scenario": "{{user}} meets <BOT>.",
        "first_mes": "Ahoy, {{user}}!", "alternate_greetings": ["Hm? {{random:a,b}}", " "],
        "group_only_greetings": ["All of you, ahoy!"],
        "mes_example": "<START>\n{{user}}: hi\n{{char}}: ahoy\n<start>\n{{char}}: one two three four five",
        "system_prompt": "Play {{char}}.{{original}}", "post_history_instructions": "Answer briefly.",
        "creator_notes": "SECRET", "creator": "SECRET", "tags": ["SECRET"], "character_version": "SECRET",
        "character_book": { "name": "SECRET", "entries": [
            entry("Front lore.", "before_char"), entry("Back lore.", "after_char"),
            entry("@@position before_desc\nBefore.", "after_char"), entry("@@position scenario\nStorm.", "after_char"),
        ] },
    } });
    Ok(Card::from_json(&card.to_string())?)
}

fn cast(cards: &[Arc<Card>], speaker: usize, language: Language) -> Cast<'_> {
    Cast { cards, speaker, user: "Bo", language, seed: 1, lore_limit: None, left_out: 0 }
}

fn built(composed: &Composition) -> anyhow::Result<prompt::Prompt> {
    Ok(prompt::build(&composed.conversation, &BuildOptions::default(), None)?)
}

fn reply(name: &str, text: &str) -> Message {
    Message { name: Some(name.to_owned()), ..Message::assistant(text) }
}

fn places() -> Outcome {
    let cards = [Arc::new(full()?)];
    let system = System { knowledge: "The sea is blue.".into(), ..System::default() };
    let messages = vec![reply("Ava", "Ahoy, Bo!"), Message::user("Tell me of the sea")];
    let composed = compose(&cast(&cards, 0, Language::En), &system, messages, 100, &words, true);
    let text = built(&composed)?.text;
    let expected = "### Instruction:\nAssistant: Ava: Ahoy, Bo!\n### Input:\nSystem: Play Ava.\nFront lore.\nBefore.\n\
        Ava is a sailor.\nPersonality: calm\nScenario: Bo meets Ava.\nStorm.\nBack lore.\nHow Ava talks:\nBo: hi\nAva: ahoy\n\
        Ava: one two three four five\nAnswer briefly.\nThe sea is blue.\nUser: Tell me of the sea\n### Response:\nAva:";
    ensure!(text == expected, "{text}");
    ensure!(composed.names == ["Ava", "Ava Lee"] && composed.notes.is_empty(), "{:?}", composed.notes);
    ensure!(composed.lore.active.len() == 4 && composed.lore.book == "Ava Lee");
    for language in Language::ALL {
        let composed = compose(&cast(&cards, 0, language), &system, vec![Message::user("sea")], 100, &words, true);
        let prompt = built(&composed)?;
        ensure!(!prompt.text.contains("SECRET") && !prompt.text.contains("{{"), "{language}");
        ensure!(prompt.neutralised.is_empty(), "{language}: {:?}", prompt.neutralised);
    }
    // Old versions have the same places.
    for version in [guanaco::cards::Version::V1, guanaco::cards::Version::V2] {
        let card = [Arc::new(cards[0].converted(version))];
        let composed = compose(&cast(&card, 0, Language::En), &system, vec![Message::user("x")], 100, &words, true);
        ensure!(built(&composed)?.text.contains("is a sailor.\nPersonality: calm\n"), "{version:?}");
    }
    Ok(())
}

fn examples() -> Outcome {
    let cards = [Arc::new(full()?)];
    for (budget, kept) in [(0, 0), (4, 0), (5, 1), (11, 1), (12, 2), (100, 2)] {
        let messages = vec![Message::user("x")];
        let composed = compose(&cast(&cards, 0, Language::En), &System::default(), messages, budget, &words, true);
        let counts = (composed.examples_kept, composed.examples_dropped);
        ensure!(counts == (kept, 2 - kept), "{budget}: {counts:?}");
        let text = built(&composed)?.text;
        ensure!(text.contains("Bo: hi\nAva: ahoy") == (kept > 0) && text.contains("three") == (kept > 1), "{text}");
        ensure!(text.contains("How Ava talks") == (kept > 0), "{text}");
    }
    Ok(())
}

fn several() -> Outcome {
    let mut mia = Card::from_entry("Mia", &"Mia sings. ".repeat(80));
    mia.set_text(Text::SystemPrompt, "only for Mia");
    let cards = [full()?, Card::from_traits("Rolf", &["grumpy"]), mia].map(Arc::new);
    let replies = [Message::user("Hello, all"), reply("Ava", "Ahoy!"), reply("Rolf", "Hm.")];
    let mut messages = replies.to_vec();
    messages.push(Message::user(""));
    for language in Language::ALL {
        let composed = compose(&cast(&cards, 2, language), &System::default(), messages.clone(), 0, &words, true);
        ensure!(composed.conversation.messages == messages && composed.notes.is_empty(), "{:?}", composed.notes);
        let prompt = built(&composed)?;
        ensure!(prompt.reply_prefix.as_deref() == Some("Mia:"));
        ensure!(prompt.text.contains("Assistant: Ava: Ahoy!\nAssistant: Rolf: Hm.\n"), "{}", prompt.text);
        ensure!(prompt.text.contains("Ava (calm)") && prompt.text.contains("Rolf (Rolf - grumpy)"), "{}", prompt.text);
    }
    let names = ["Ava", "Ava Lee", "Rolf", "Mia"];
    let composed = compose(&cast(&cards, 0, Language::En), &System::default(), messages.clone(), 0, &words, true);
    ensure!(composed.names == names);
    let description = &composed.conversation.character.as_ref().context("nobody")?.description;
    ensure!(!description.contains("only for Mia") && description.len() < 900, "{description}");
    ensure!(parse_reply("mia: La!", &names) == (Some("Mia".into()), "La!".into()));
    // A reply at the end stays there, whoever spoke: it is the one to go on with.
    for speaker in 0..3 {
        let whole =
            compose(&cast(&cards, speaker, Language::En), &System::default(), replies.to_vec(), 0, &words, true);
        ensure!(whole.conversation.messages == replies && whole.notes.is_empty());
    }
    // Nobody there.
    let nobody = compose(&cast(&[], 0, Language::En), &System::default(), vec![Message::user("x")], 0, &words, true);
    ensure!(nobody.conversation.character.is_none() && built(&nobody)?.reply_prefix.is_none());
    Ok(())
}

fn names() -> Outcome {
    for (name, mended) in [
        ("Ava", "Ava"),
        ("Dr. Ada Lovelace", "Dr. Ada Lovelace"),
        ("Ava: the Brave", "Ava the Brave"),
        ("小明：勇者", "小明 勇者"),
        ("A\nB\u{2028}C", "A B C"),
        (" ### ", "?"),
        ("assistant", "The assistant"),
        ("System", "The System"),
        ("", "?"),
    ] {
        ensure!(mend_name(name) == mended, "{name:?} became {:?}", mend_name(name));
    }
    let long = "very long ".repeat(40);
    for name in ["User", "a:b", "\u{7}", "x\r\ny", "#1", &long] {
        let cards = [Arc::new(Card::new(name))];
        let messages = vec![reply(name, "hi"), Message { name: Some(name.into()), ..Message::user("hello") }];
        let composed = compose(&cast(&cards, 0, Language::En), &System::default(), messages, 0, &words, true);
        let prompt = built(&composed).with_context(|| format!("{name:?}"))?;
        ensure!(prompt.reply_prefix == Some(format!("{}:", mend_name(name))));
        ensure!(composed.notes.len() == 1 && composed.notes[0].contains(&mend_name(name)), "{:?}", composed.notes);
        ensure!(composed.names == [mend_name(name)]);
    }
    Ok(())
}

fn greeted() -> Outcome {
    let card = full()?;
    let all = greetings(&card, "Bo", 4);
    ensure!(all.len() == 2 && all[0] == "Ahoy, Bo!" && (all[1] == "Hm? a" || all[1] == "Hm? b"), "{all:?}");
    ensure!(greetings(&card, "Bo", 4) == all && group_greetings(&card, "Bo", 4) == ["All of you, ahoy!"]);
    ensure!(greetings(&Card::new("x"), "Bo", 4).is_empty());
    let mut book = card.character_book().context("no book")?.clone();
    book["entries"] =
        json!([{ "keys": [], "content": "@@is_greeting 1\n@@additional_keys hello\nx", "constant": true }]);
    let mut card = card;
    card.set_character_book(Some(book));
    card.set_list(List::AlternateGreetings, &["Second, {{user}}"]);
    let cards = [Arc::new(card)];
    for (first, active) in [("Ahoy, Bo!", 0), ("Ava: Ahoy, Bo!", 0), ("Second, Bo", 1), ("Something else", 1)] {
        let messages = vec![reply("Ava", first), Message::user("hello")];
        let composed = compose(&cast(&cards, 0, Language::En), &System::default(), messages, 0, &words, true);
        ensure!(composed.lore.active.len() == active, "{first}");
    }
    // The user had another name when the chat began.
    let mut card = Card::clone(&cards[0]);
    card.set_text(Text::FirstMessage, "{{user}}!");
    card.set_list(List::AlternateGreetings, &["{{user}}, is it <USER>!", "Hi {{user}}, dear {{user}}", "{{user}}"]);
    let cards = [Arc::new(card)];
    for (first, active) in [
        ("Bo!", 0),
        ("Annegret!", 0),
        ("Annegret, is it Annegret!", 1),
        ("Ava: Annegret, is it Annegret!", 1),
        ("Annegret, is it Berta!", 0),
        ("Hi Ü, dear Ü", 0),
        ("Bo, is it Bo!", 1),
    ] {
        let messages = vec![reply("Ava", first), Message::user("hello")];
        let composed = compose(&cast(&cards, 0, Language::En), &System::default(), messages, 0, &words, true);
        ensure!(composed.lore.active.len() == active, "{first}");
    }
    Ok(())
}
