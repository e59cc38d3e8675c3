//! Holds the six languages together, and to what the window asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

use super::*;

/// Keys that the window puts together from parts, by what they begin with.
const COMPUTED: [&str; 0] = [];

/// Texts that are the same as in English, in every language: names and units.
const SAME_EVERYWHERE: [&str; 3] = ["chat-speed", "model-loras", "page-gpu"];

/// Words that German and English share.
const SAME_IN_GERMAN: [&str; 4] = ["library-lorebook", "library-name", "page-chat", "prompt-title"];

/// Each message of `locale` as it is written.
fn messages(locale: Locale) -> BTreeMap<String, String> {
    let mut messages = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in all_text(locale).lines() {
        if let Some(key) = keys(line).next() {
            let text = line.split_once('=').unwrap().1.trim().to_owned();
            assert!(messages.insert(key.to_owned(), text).is_none(), "{}: {key} twice", locale.tag());
            last = Some(key.to_owned());
        } else if line.starts_with(' ') {
            messages.get_mut(last.as_ref().unwrap()).unwrap().push_str(line);
        }
    }
    messages
}

fn variables(text: &str) -> BTreeSet<String> {
    let variable = Regex::new(r"\$([a-z_]+)").unwrap();
    variable.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The window's sources, without this file.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ext| ext == "rs") && !path.ends_with("text/tests.rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gui"), &mut found);
    assert!(!found.is_empty());
    found
}

#[test]
fn every_language_has_the_keys_and_variables_of_english() {
    let english = messages(Locale::En);
    for locale in Locale::ALL {
        let own = messages(locale);
        let tag = locale.tag();
        let lacking: Vec<_> = english.keys().filter(|key| !own.contains_key(*key)).collect();
        let left_over: Vec<_> = own.keys().filter(|key| !english.contains_key(*key)).collect();
        assert!(lacking.is_empty() && left_over.is_empty(), "{tag} lacks {lacking:?}, and has left over {left_over:?}");
        for (key, text) in &english {
            assert_eq!(variables(&own[key]), variables(text), "{tag}: variables of {key}");
            assert!(!own[key].is_empty(), "{tag}: {key} is empty");
        }
    }
}

#[test]
fn every_file_is_well_formed_and_has_the_keys_of_its_area() {
    for locale in Locale::ALL {
        for (area, text) in files(locale) {
            if let Err((_, errors)) = FluentResource::try_new(text.to_owned()) {
                panic!("{}/{area}.ftl: {errors:?}", locale.tag());
            }
            for key in keys(text) {
                assert!(key.starts_with(&format!("{area}-")), "{}/{area}.ftl: {key}", locale.tag());
            }
            assert!(keys(text).count() > 1);
        }
    }
}

#[test]
fn nothing_is_left_untranslated() {
    let english = messages(Locale::En);
    for locale in [Locale::ZhCn, Locale::ZhTw, Locale::ZhHk, Locale::Ja, Locale::De] {
        for (key, text) in messages(locale) {
            let allowed = SAME_EVERYWHERE.contains(&key.as_str())
                || (locale == Locale::De && SAME_IN_GERMAN.contains(&key.as_str()));
            assert!(allowed != (text != english[&key]), "{}: {key} = {text}", locale.tag());
        }
    }
}

#[test]
fn what_the_window_asks_for_exists() {
    let english = messages(Locale::En);
    let call = Regex::new(r#"\.(get|with)\(\s*"([a-z]+-[a-z0-9-]+)""#).unwrap();
    for (path, source) in sources() {
        for found in call.captures_iter(&source) {
            let (how, key) = (&found[1], &found[2]);
            let Some(text) = english.get(key) else { panic!("{}: no text for {key}", path.display()) };
            let varies = !variables(text).is_empty();
            assert_eq!(how == "with", varies, "{}: {key} is asked for by `{how}`", path.display());
        }
    }
}

#[test]
fn what_exists_is_asked_for() {
    let sources: String = sources().into_iter().map(|(_, source)| source).collect();
    let unused: Vec<String> = messages(Locale::En)
        .into_keys()
        .filter(|key| {
            !COMPUTED.iter().any(|prefix| key.starts_with(prefix)) && !sources.contains(&format!("\"{key}\""))
        })
        .collect();
    assert!(unused.is_empty(), "{unused:#?}");
}

#[test]
fn plurals_and_values() {
    let english = Texts::new(Locale::En);
    assert_eq!(english.with("prompt-tokens", &[("n", 1.into())]), "1 token");
    assert_eq!(english.with("prompt-tokens", &[("n", 0_usize.into())]), "0 tokens");
    assert_eq!(english.with("prompt-tokens", &[("n", 2048_u64.into())]), "2048 tokens");
    assert_eq!(english.with("prompt-tokens", &[("n", 1.5.into())]), "1.5 tokens");
    assert_eq!(english.with("chat-delete-question", &[("title", "{ $n }".into())]), "Delete “{ $n }” for good?");
    let german = Texts::new(Locale::De);
    assert_eq!(german.with("chat-dropped", &[("n", 1_i64.into())]), "1 Nachricht weggelassen");
    assert_eq!(german.with("chat-dropped", &[("n", 3_i64.into())]), "3 Nachrichten weggelassen");
    let japanese = Texts::new(Locale::Ja);
    assert_eq!(japanese.with("prompt-tokens", &[("n", 1.into())]), "1 トークン");
    assert_eq!((japanese.get("chat-send"), japanese.locale()), ("送信", Locale::Ja));
}

#[test]
fn nothing_that_is_asked_or_filled_in_panics() {
    for locale in Locale::ALL {
        let texts = Texts::new(locale);
        assert_eq!((texts.get("chat-nothing"), texts.get("")), ("chat-nothing", ""));
        assert_eq!(texts.with("chat-nothing", &[("n", 1.into())]), "chat-nothing");
        for value in [f64::NAN, f64::INFINITY, -1e300, 1e-300, u64::MAX as f64, -0.0] {
            assert!(!texts.with("prompt-tokens", &[("n", value.into())]).is_empty());
        }
        assert!(texts.with("prompt-tokens", &[]).contains("$n"));
        assert!(texts.with("prompt-tokens", &[("n", "many".into())]).contains("many"));
        for (key, text) in messages(locale) {
            let values: Vec<_> = variables(&text).into_iter().map(|name| (name, FluentValue::from(7))).collect();
            let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let shown = if values.is_empty() { texts.get(&key).to_owned() } else { texts.with(&key, &values) };
            assert!(shown != key && !shown.contains(['$', '\u{2068}', '\u{2069}']), "{key}: {shown}");
        }
    }
}

#[test]
fn a_key_that_a_language_lacks_is_shown_in_english() {
    let mut plain = HashMap::new();
    let mut bundles = vec![read(Locale::En, &mut plain)];
    let lacking = FluentBundle::new_concurrent(vec!["ja".parse().unwrap()]);
    bundles.insert(0, lacking);
    let texts = Texts { inner: Arc::new(Inner { locale: Locale::Ja, plain, bundles }) };
    assert_eq!(texts.get("chat-send"), "Send");
    assert_eq!(texts.with("prompt-tokens", &[("n", 2.into())]), "2 tokens");
}

#[test]
fn tags_of_systems() {
    for locale in Locale::ALL {
        assert_eq!(Locale::from_tag(locale.tag()), Some(locale));
    }
    let tags = [
        ("de_AT.UTF-8", Some(Locale::De)),
        ("en-GB", Some(Locale::En)),
        ("zh", Some(Locale::ZhCn)),
        ("zh_SG", Some(Locale::ZhCn)),
        ("zh-Hans-HK", Some(Locale::ZhCn)),
        ("zh-Hant", Some(Locale::ZhTw)),
        ("zh-Hant-HK", Some(Locale::ZhHk)),
        ("zh_MO.Big5", Some(Locale::ZhHk)),
        ("yue-HK", Some(Locale::ZhHk)),
        ("ZH_tw@radical", Some(Locale::ZhTw)),
        ("ja_JP.eucJP", Some(Locale::Ja)),
        ("fr-FR", None),
        ("C", None),
        ("", None),
    ];
    for (tag, locale) in tags {
        assert_eq!(Locale::from_tag(tag), locale, "{tag}");
    }
}
