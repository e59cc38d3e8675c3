//! The settings page: the language of everything at once, the themes, the scale.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use eframe::egui::Key;
use egui_kittest::kittest::NodeT as _;
use guanaco_engine::prompt::System;
use guanaco_tests::{Outcome, workspace};

use super::hands::Hands;

/// Languages by their own names, as the list has them.
const LANGUAGES: [(&str, &str); 5] = [
    ("zh-CN", "简体中文"),
    ("zh-TW", "繁體中文（台灣）"),
    ("zh-HK", "繁體中文（香港）"),
    ("ja", "日本語"),
    ("de", "Deutsch"),
];

pub(crate) fn run() -> Outcome {
    let mut hands = Hands::new()?;
    // A message that is a word of no language.
    hands.say("12345")?;
    let english = texts("en")?;
    let mut old = english.clone();
    for (tag, own) in LANGUAGES {
        let new = texts(tag)?;
        hands.page(Key::Num5);
        let list = old.get("settings-language").context("the list's name")?.clone();
        hands.pick(&list, own)?;
        for page in [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5] {
            hands.page(page);
            left_over(&hands, &old, &new).with_context(|| format!("{page:?} in {tag}"))?;
        }
        ensure!(hands.sees(new.get("settings-scale").context("a text")?));
        old = new;
    }
    hands.pick(old.get("settings-language").context("the list's name")?, "English")?;
    themes(&mut hands)?;
    // All of it is there at the next start; the language is English by then.
    let mut hands = hands.restart()?;
    ensure!(hands.desk().window.theme == "dark-contrast" && hands.desk().window.scale > 1.0);
    Ok(())
}

fn themes(hands: &mut Hands) -> Outcome {
    let mut colours = Vec::new();
    for theme in ["Light", "Dark", "Light, high contrast", "Dark, high contrast"] {
        hands.pick("Theme", theme)?;
        let visuals = hands.window.ctx.global_style().visuals.clone();
        ensure!(visuals.dark_mode == theme.starts_with("Dark"), "{theme}");
        colours.push((visuals.panel_fill, visuals.text_color(), visuals.widgets.noninteractive.bg_stroke.color));
    }
    ensure!(colours[0] != colours[2] && colours[1] != colours[3], "high contrast is another theme: {colours:?}");
    let before = hands.window.ctx.zoom_factor();
    hands.slide("Scale", Key::ArrowRight, 2)?;
    ensure!(hands.window.ctx.zoom_factor() > before, "the scale stays at {before}");
    Ok(())
}

/// Fails where the window shows a text of the `old` language that is another one in the `new`.
fn left_over(hands: &Hands, old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Outcome {
    let shown = hands.labels();
    let changed = old.iter().filter(|(key, text)| new.get(*key).is_some_and(|new| new != *text));
    let words: Vec<&String> =
        changed.map(|(_, text)| text).filter(|text| !new.values().any(|new| new == *text)).collect();
    // An icon may stand before a text.
    let is =
        |label: &str, text: &str| label == text || label.strip_suffix(text).is_some_and(|icon| icon.ends_with(' '));
    let left: Vec<_> = shown.iter().filter(|label| words.iter().any(|text| is(label, text))).collect();
    ensure!(left.is_empty(), "still in the old language: {left:?}");
    let news = shown.iter().filter(|label| new.values().any(|text| is(label, text))).count();
    ensure!(!hands.sees("Resize panel"), "egui's own name of a panel's edge");
    ensure!(news > 5, "only {news} texts in the new language: {shown:?}");
    Ok(())
}

/// The texts of a language in which nothing varies.
fn texts(tag: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for entry in std::fs::read_dir(workspace().join("app/locales").join(tag))? {
        for line in std::fs::read_to_string(entry?.path())?.lines() {
            if let Some((key, text)) = line.split_once(" = ")
                && !line.starts_with(['#', ' '])
                && !text.contains('{')
            {
                texts.insert(key.to_owned(), text.trim().to_owned());
            }
        }
    }
    ensure!(texts.len() > 100, "only {} texts of {tag}", texts.len());
    Ok(texts)
}

/// A small window: the message field has room, and the prompt's panel takes the chat's place when it is asked for.
pub(crate) fn narrow() -> Outcome {
    let mut hands = Hands::open(tempfile::tempdir()?, [430.0, 600.0])?;
    let width = |hands: &Hands, label: &str| {
        hands
            .nodes()
            .find(|node| node.accesskit_node().label().as_deref() == Some(label))
            .map(|node| node.rect().width())
    };
    let field = width(&hands, "Message").context("the message field")?;
    ensure!(field > 100.0 && !hands.sees("Sampling"), "{field} points to type in; {:?}", hands.labels());
    hands.click("Show or hide the prompt")?;
    ensure!(hands.sees("Sampling") && width(&hands, "Message").is_none(), "{:?}", hands.labels());
    hands.click("Show or hide the prompt")?;
    hands.say("Hello!")?;
    hands.click("Find in this chat")?;
    ensure!(hands.focused().as_deref() == Some("Search this chat"), "{:?}", hands.focused());
    // In a wide one it is beside the chat, as it was set.
    let mut hands = hands.restart()?;
    ensure!(hands.sees("Sampling") && width(&hands, "Message").is_some_and(|field| field > 300.0));
    hands.click("Show or hide the prompt")?;
    let hands = hands.restart()?;
    ensure!(!hands.sees("Sampling"));
    Ok(())
}

/// Sampling and keywords go into new chats; characters, knowledge and sources do not.
pub(crate) fn new_chats() -> Outcome {
    let mut hands = Hands::new()?;
    hands.click("Chat with Zorina")?;
    hands.click("Knowledge")?;
    // Before a source is there: its tokens are counted on a thread, and move what is below it.
    hands.click("SFW")?;
    ensure!(hands.desk().chat.settings.system.keywords.sfw);
    hands.fill("System knowledge", "The tower of Medora is 87 metres high.")?;
    hands.click("➕ Add source")?;
    hands.desk().chat.settings.max_new_tokens = 17;
    // What was pasted is not gone with one click.
    hands.click_last("Delete")?;
    ensure!(hands.desk().chat.settings.system.sources.len() == 1);
    hands.click("Delete the source “Source 1”")?;
    ensure!(hands.desk().chat.settings.system.sources.is_empty());
    hands.click("➕ Add source")?;
    // The prompt that comes from its thread moves what is below it.
    hands.wait(|desk| {
        let shown = desk.preview().and_then(|shown| shown.prompt.as_ref().ok());
        shown.is_some_and(|prompt| prompt.text.contains("Medora") && prompt.text.contains("SFW"))
    })?;
    hands.click("Sampling")?;
    hands.steps(10);
    hands.click("Use for new chats")?;
    hands.steps(4);
    hands.click("➕ New chat")?;
    let settings = hands.desk().chat.settings.clone();
    ensure!(settings.characters.is_empty() && settings.system.knowledge.is_empty(), "{settings:?}");
    let System { sources, keywords, .. } = &settings.system;
    ensure!(sources.is_empty() && keywords.sfw && settings.max_new_tokens == 17, "{settings:?}");
    // Who has no greeting leaves the chat empty, and is not alone for that.
    hands.click("Chat with Zorina")?;
    let ava = hands.desk().add_character(guanaco::cards::Card::from_traits("Ava", &["Home: Rome"]), None);
    hands.click("👥  Library")?;
    hands.click("Ava")?;
    hands.click("Add to chat")?;
    ensure!(hands.desk().chat.settings.characters.len() == 2 && hands.desk().chat.settings.characters[1] == ava);
    Ok(())
}
