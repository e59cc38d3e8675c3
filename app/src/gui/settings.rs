//! Language, colours, size, and where the data is.

use eframe::egui::{ComboBox, Slider, Ui};

use super::text::{Locale, Texts};
use super::widgets::small;
use crate::desk::Desk;

/// The themes, and the keys of their names.
const THEMES: [(&str, &str); 5] = [
    ("system", "settings-theme-system"),
    ("light", "settings-theme-light"),
    ("dark", "settings-theme-dark"),
    ("light-contrast", "settings-theme-light-contrast"),
    ("dark-contrast", "settings-theme-dark-contrast"),
];

pub(super) fn ui(ui: &mut Ui, desk: &mut Desk, t: &Texts) {
    let before = desk.window.clone();
    let window = &mut desk.window;
    ui.heading(t.get("page-settings"));
    ui.horizontal(|ui| {
        let label = ui.label(t.get("settings-language"));
        let chosen = window.locale.as_deref().and_then(Locale::from_tag);
        let text = chosen.map_or_else(|| t.get("settings-language-system"), |locale| locale.own_name());
        let combo = ComboBox::from_id_salt("locale").selected_text(text).show_ui(ui, |ui| {
            ui.selectable_value(&mut window.locale, None, t.get("settings-language-system"));
            for locale in Locale::ALL {
                ui.selectable_value(&mut window.locale, Some(locale.tag().to_owned()), locale.own_name());
            }
        });
        combo.response.labelled_by(label.id);
    });
    ui.horizontal(|ui| {
        let label = ui.label(t.get("settings-theme"));
        let current =
            THEMES.iter().find(|(name, _)| *name == window.theme).map_or("settings-theme-system", |(_, key)| key);
        let combo = ComboBox::from_id_salt("theme").selected_text(t.get(current)).show_ui(ui, |ui| {
            for (name, key) in THEMES {
                ui.selectable_value(&mut window.theme, name.to_owned(), t.get(key));
            }
        });
        combo.response.labelled_by(label.id);
    });
    // A scale that changes under the pointer would run away from it: it is taken when the pointer lets go.
    let mut scale = window.scale;
    let slider = ui.add(
        Slider::new(&mut scale, 0.7..=2.5).step_by(0.05).text(t.get("settings-scale")).update_while_editing(false),
    );
    if slider.drag_stopped() || (slider.changed() && !slider.dragged()) {
        window.scale = scale;
    }
    ui.separator();
    ui.label(t.get("settings-data"));
    small(ui, desk.store().folder().display().to_string());
    small(ui, t.get("settings-keys"));
    if desk.window != before {
        desk.save_window();
    }
}
