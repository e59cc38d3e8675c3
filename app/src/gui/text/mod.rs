//! What the window says, in six languages: the Fluent files of `app/locales`, formatted beforehand where nothing varies.

mod locale;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};

pub use locale::Locale;

/// The areas of the window: each has a file in each language, and every key begins with its area and a hyphen.
const AREAS: usize = 9;

macro_rules! files {
    ($tag:literal) => {
        files!($tag, "chat", "common", "gpu", "library", "model", "page", "prompt", "sampling", "settings")
    };
    ($tag:literal, $($area:literal),+) => {
        [$(($area, include_str!(concat!("../../../locales/", $tag, "/", $area, ".ftl")))),+]
    };
}

/// The files of `locale`, with their areas.
fn files(locale: Locale) -> [(&'static str, &'static str); AREAS] {
    match locale {
        Locale::En => files!("en"),
        Locale::ZhCn => files!("zh-CN"),
        Locale::ZhTw => files!("zh-TW"),
        Locale::ZhHk => files!("zh-HK"),
        Locale::Ja => files!("ja"),
        Locale::De => files!("de"),
    }
}

/// All that the interface says in `locale`, file after file.
#[cfg(test)]
pub(super) fn all_text(locale: Locale) -> String {
    files(locale).map(|(_, text)| text).concat()
}

/// The words of the interface in one language. Cheap to clone.
///
/// A key that the language lacks has its English text; one that English lacks, too, stands for itself.
#[derive(Clone)]
pub struct Texts {
    inner: Arc<Inner>,
}

struct Inner {
    locale: Locale,
    /// Messages without variables.
    plain: HashMap<String, String>,
    /// The language, then English.
    bundles: Vec<FluentBundle<FluentResource>>,
}

impl Texts {
    /// Reads the files of `locale`.
    pub fn new(locale: Locale) -> Self {
        let mut plain = HashMap::new();
        let mut bundles = Vec::new();
        if locale != Locale::En {
            bundles.push(read(Locale::En, &mut plain));
        }
        bundles.insert(0, read(locale, &mut plain));
        Self { inner: Arc::new(Inner { locale, plain, bundles }) }
    }

    /// The language.
    pub fn locale(&self) -> Locale {
        self.inner.locale
    }

    /// The text of `key`, which has no variables: a look-up, nothing is formatted.
    pub fn get<'a>(&'a self, key: &'a str) -> &'a str {
        self.inner.plain.get(key).map_or(key, String::as_str)
    }

    /// The text of `key` with its variables filled in: numbers choose the plural, strings stand as they are. A variable
    /// without a value is shown by its name.
    pub fn with(&self, key: &str, values: &[(&str, FluentValue<'_>)]) -> String {
        let mut args = FluentArgs::with_capacity(values.len());
        for (name, value) in values {
            args.set(*name, countable(value));
        }
        for bundle in &self.inner.bundles {
            if let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) {
                return bundle.format_pattern(pattern, Some(&args), &mut Vec::new()).into_owned();
            }
        }
        key.to_owned()
    }
}

/// `value`, as text where Fluent cannot find the plural of such a number: it would panic.
fn countable<'a>(value: &FluentValue<'a>) -> FluentValue<'a> {
    match value {
        FluentValue::Number(number) if !number.value.is_finite() || number.value.abs() >= 1e15 => {
            number.value.to_string().into()
        }
        value => value.clone(),
    }
}

/// The files of `locale` as a bundle; messages without variables go to `plain`, over those that are there.
fn read(locale: Locale, plain: &mut HashMap<String, String>) -> FluentBundle<FluentResource> {
    let mut bundle = FluentBundle::new_concurrent(locale.tag().parse().into_iter().collect());
    // Marks around what is filled in would be copied with the text.
    bundle.set_use_isolating(false);
    let files = files(locale);
    for (_, text) in files {
        // What is well-formed is used; a test holds all of it to be so.
        let resource = FluentResource::try_new(text.to_owned()).unwrap_or_else(|(resource, _)| resource);
        bundle.add_resource_overriding(resource);
    }
    for key in files.iter().flat_map(|(_, text)| keys(text)) {
        let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) else { continue };
        let mut errors = Vec::new();
        let text = bundle.format_pattern(pattern, None, &mut errors);
        if errors.is_empty() {
            plain.insert(key.to_owned(), text.into_owned());
        }
    }
    bundle
}

/// The keys of a Fluent file.
fn keys(text: &str) -> impl Iterator<Item = &str> {
    let message = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase());
    text.lines().filter(message).filter_map(|line| Some(line.split_once('=')?.0.trim_end()))
}
