//! The window's fonts: egui's for Latin, bundled ones for Han, kana and icons, and the system's for all the rest.
//!
//! A Han character is one character in Unicode, yet drawn otherwise in Japan, Taiwan, Hong Kong and mainland China. The
//! base has the mainland's forms; a small font for each of the others goes before it. `app/assets/fonts/make` cuts them.

use std::sync::Arc;

use eframe::egui::{self, FontData, FontDefinitions, FontFamily, FontTweak};
use egui_system_font_provider::SystemFontProvider;

use super::text::Locale;

const HAN: &[u8] = include_bytes!("../../assets/fonts/han.otf");
const HAN_JA: &[u8] = include_bytes!("../../assets/fonts/han-ja.otf");
const HAN_ZH_TW: &[u8] = include_bytes!("../../assets/fonts/han-zh-TW.otf");
const HAN_ZH_HK: &[u8] = include_bytes!("../../assets/fonts/han-zh-HK.otf");
const EMOJI: &[u8] = include_bytes!("../../assets/fonts/emoji.ttf");
const ICONS: &[u8] = include_bytes!("../../assets/fonts/icons.ttf");

/// Gives the window the fonts of `locale`; may be called again with another. Takes effect with the next frame.
pub fn install(ctx: &egui::Context, locale: Locale) {
    let han = han(locale, sys_locale::get_locales().filter_map(|tag| Locale::from_tag(&tag)));
    ctx.set_fonts(bundled(han));
    let mut system = SystemFontProvider::new();
    if let Some(han) = han {
        system = system.with_locale(Some(han.tag()));
    }
    ctx.set_font_providers(vec![Arc::new(system)]);
}

/// Whose Han: the interface's, or, where that is written in Latin, the first of the system's languages that has any.
fn han(locale: Locale, mut system: impl Iterator<Item = Locale>) -> Option<Locale> {
    let has_han = |locale: &Locale| !matches!(locale, Locale::En | Locale::De);
    Some(locale).filter(has_han).or_else(|| system.find(has_han))
}

/// The fonts that are there on a bare machine.
fn bundled(han: Option<Locale>) -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let local = match han {
        Some(Locale::Ja) => Some(("han-ja", HAN_JA, 1.0)),
        Some(Locale::ZhTw) => Some(("han-zh-TW", HAN_ZH_TW, 1.0)),
        Some(Locale::ZhHk) => Some(("han-zh-HK", HAN_ZH_HK, 1.0)),
        Some(Locale::ZhCn | Locale::En | Locale::De) | None => None,
    };
    // Emoji are drawn larger than letters: these scales are egui's own for the same fonts.
    let all = [("han", HAN, 1.0), ("emoji", EMOJI, 0.81), ("icons", ICONS, 0.9)];
    for (name, bytes, scale) in local.into_iter().chain(all) {
        let data = FontData::from_static(bytes).tweak(FontTweak { scale, ..FontTweak::default() });
        fonts.font_data.insert(name.to_owned(), Arc::new(data));
        for family in fonts.families.values_mut() {
            family.push(name.to_owned());
        }
    }
    // egui's font for code has signs that no other has.
    if let Some(family) = fonts.families.get_mut(&FontFamily::Proportional) {
        family.push("Hack".to_owned());
    }
    fonts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use eframe::egui::FontId;

    use super::*;
    use crate::gui::text::all_text;

    /// The icons on the window's buttons, and the signs in its texts.
    const ICONS: &str = "➕⋯🔄⏩✏🔀🗑🔍🗐📥🔗◀▶✔✖⏹➤⏶⏷⚠↩💬👥📦⚡⚙⏎␣▲▼·×→";

    /// Those of `chars` that `fonts` draw as boxes.
    fn boxes(fonts: FontDefinitions, family: FontFamily, chars: &BTreeSet<char>) -> Vec<char> {
        let ctx = egui::Context::default();
        ctx.set_fonts(fonts);
        let mut missing = Vec::new();
        let font = FontId::new(14.0, family);
        let mut output = ctx.run_ui(egui::RawInput::default(), |ui| {
            missing = chars.iter().copied().filter(|c| !ui.fonts_mut(|fonts| fonts.has_glyph(&font, *c))).collect();
        });
        output.textures_delta.clear();
        missing
    }

    #[test]
    fn a_bare_machine_shows_no_boxes() {
        let names: String = Locale::ALL.map(Locale::own_name).concat();
        for locale in Locale::ALL {
            let text = all_text(locale) + &names + ICONS;
            let chars: BTreeSet<char> = text.chars().filter(|c| !c.is_control() && *c != ' ').collect();
            for family in [FontFamily::Proportional, FontFamily::Monospace] {
                let missing = boxes(bundled(han(locale, std::iter::empty())), family, &chars);
                assert!(missing.is_empty(), "{}: {missing:?}", locale.tag());
            }
        }
        let nothing = boxes(FontDefinitions::default(), FontFamily::Proportional, &BTreeSet::from(['直']));
        assert_eq!(nothing, ['直'], "egui has Han of its own: this test shows nothing");
    }

    #[test]
    fn what_the_embedded_model_says_has_glyphs() {
        let file = include_str!("../../tiny-guanaco/tokenizer.json");
        let tokenizer: serde_json::Value = serde_json::from_str(file).unwrap();
        let tokens = tokenizer["model"]["vocab"].as_object().unwrap().keys();
        let han = |c: &char| ('\u{3001}'..='\u{9fff}').contains(c);
        let chars: BTreeSet<char> = tokens.flat_map(|token| token.chars()).filter(han).collect();
        assert!(chars.len() > 500, "{}", chars.len());
        let missing = boxes(bundled(None), FontFamily::Proportional, &chars);
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn local_forms_go_first() {
        for (locale, name) in [(Locale::Ja, "han-ja"), (Locale::ZhTw, "han-zh-TW"), (Locale::ZhHk, "han-zh-HK")] {
            let mut fonts = bundled(Some(locale));
            for family in fonts.families.values() {
                let at = |name: &str| family.iter().position(|each| each == name);
                assert!(at(name).unwrap() < at("han").unwrap(), "{family:?}");
            }
            // Drawn otherwise than in the mainland, so the small font must have them.
            fonts.families.insert(FontFamily::Proportional, vec![name.to_owned()]);
            let missing = boxes(fonts, FontFamily::Proportional, &BTreeSet::from(['骨', '返']));
            assert!(missing.is_empty(), "{name}: {missing:?}");
        }
        let mut fonts = bundled(Some(Locale::ZhTw));
        fonts.families.insert(FontFamily::Proportional, vec!["han-zh-TW".to_owned()]);
        let same = boxes(fonts, FontFamily::Proportional, &BTreeSet::from(['一']));
        assert_eq!(same, ['一'], "the small font has what the base draws alike");
    }

    #[test]
    fn an_interface_in_latin_follows_the_system_for_han() {
        let system = || [Locale::De, Locale::Ja, Locale::ZhTw].into_iter();
        assert_eq!(han(Locale::En, system()), Some(Locale::Ja));
        assert_eq!(han(Locale::ZhHk, system()), Some(Locale::ZhHk));
        assert_eq!(han(Locale::De, std::iter::empty()), None);
    }

    #[test]
    fn fonts_change_while_the_window_is_open() {
        let ctx = egui::Context::default();
        for locale in [Locale::Ja, Locale::En, Locale::ZhTw] {
            install(&ctx, locale);
            let mut has = false;
            let mut output = ctx.run_ui(egui::RawInput::default(), |ui| {
                has = ui.fonts_mut(|fonts| fonts.has_glyph(&FontId::proportional(14.0), '直'));
            });
            output.textures_delta.clear();
            assert!(has, "{}", locale.tag());
        }
    }
}
