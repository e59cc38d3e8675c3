//! The languages of the interface.

use guanaco_engine::prompt::Language;

/// A language of the interface, those of the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Locale {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    ZhCn,
    /// Traditional Chinese, Taiwan.
    ZhTw,
    /// Traditional Chinese, Hong Kong.
    ZhHk,
    /// Japanese.
    Ja,
    /// German.
    De,
}

impl Locale {
    /// All six.
    pub const ALL: [Self; 6] = [Self::En, Self::ZhCn, Self::ZhTw, Self::ZhHk, Self::Ja, Self::De];

    /// Its name, in itself.
    pub fn own_name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::ZhCn => "简体中文",
            Self::ZhTw => "繁體中文（台灣）",
            Self::ZhHk => "繁體中文（香港）",
            Self::Ja => "日本語",
            Self::De => "Deutsch",
        }
    }

    /// The tag: `en`, `zh-CN`, `zh-TW`, `zh-HK`, `ja`, `de`.
    pub fn tag(self) -> &'static str {
        self.language().tag()
    }

    /// The language that matches a tag, with `-` or `_`, without regard to case, whatever else it says (`de_AT.UTF-8`,
    /// `zh-Hant-HK`). None for a language that the interface lacks.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let plain = tag.split(['.', '@']).next().unwrap_or(tag).to_ascii_lowercase();
        let mut parts = plain.split(['-', '_']);
        match parts.next()? {
            "en" => Some(Self::En),
            "ja" => Some(Self::Ja),
            "de" => Some(Self::De),
            language @ ("zh" | "yue") => {
                let rest: Vec<&str> = parts.collect();
                let has = |names: &[&str]| rest.iter().any(|part| names.contains(part));
                let simplified = has(&["hans", "chs"]);
                Some(match () {
                    () if simplified => Self::ZhCn,
                    () if has(&["hk", "mo"]) => Self::ZhHk,
                    () if has(&["tw", "hant", "cht"]) => Self::ZhTw,
                    () if language == "yue" => Self::ZhHk,
                    () => Self::ZhCn,
                })
            }
            _ => None,
        }
    }

    /// `GUANACO_LANG` where it names one; else the first of the system's languages that the interface has; else English.
    pub fn from_system() -> Self {
        let wished = std::env::var("GUANACO_LANG").ok();
        wished.into_iter().chain(sys_locale::get_locales()).find_map(|tag| Self::from_tag(&tag)).unwrap_or_default()
    }

    /// The same as a language of the prompt builder.
    pub fn language(self) -> Language {
        match self {
            Self::En => Language::En,
            Self::ZhCn => Language::ZhCn,
            Self::ZhTw => Language::ZhTw,
            Self::ZhHk => Language::ZhHk,
            Self::Ja => Language::Ja,
            Self::De => Language::De,
        }
    }
}
