//! The settings page: the language of everything at once, the themes, the scale.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use eframe::egui::Key;
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
