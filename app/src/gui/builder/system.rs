//! The System block: knowledge, sources with their tokens and switches, the reserved keywords, and the language of the builder's words.

use eframe::egui::{ComboBox, Frame, Margin, OpenUrl, TextEdit, Ui};
use guanaco_engine::prompt::{Language, Source};

use crate::desk::Desk;
use crate::gui::dialog;
use crate::gui::links::is_web;
use crate::gui::text::Texts;
use crate::gui::widgets::{icon_button, named, small};

/// What the tab remembers.
#[derive(Default)]
pub(super) struct SystemView {
    /// The source whose text is open.
    open: Option<usize>,
}

impl SystemView {
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        let counts = desk.preview().map(|previewed| previewed.source_tokens.clone()).unwrap_or_default();
        let settings = &mut desk.chat.settings;
        let label = ui.label(t.get("prompt-knowledge")).on_hover_text(t.get("prompt-knowledge-hint"));
        let knowledge = &mut settings.system.knowledge;
        ui.add(TextEdit::multiline(knowledge).desired_rows(5).desired_width(f32::INFINITY)).labelled_by(label.id);
        ui.separator();
        ui.label(t.get("prompt-sources"));
        small(ui, t.get("prompt-sources-hint"));
        let mut remove = None;
        for (index, source) in settings.system.sources.iter_mut().enumerate() {
            ui.push_id(index, |ui| {
                Frame::new().fill(ui.visuals().faint_bg_color).inner_margin(Margin::same(6)).corner_radius(4).show(
                    ui,
                    |ui| {
                        if self.source(ui, t, index, source, counts.get(index).copied()) {
                            remove = Some(index);
                        }
                    },
                );
            });
        }
        if let Some(index) = remove {
            settings.system.sources.remove(index);
            self.open = None;
        }
        if ui.button(format!("➕ {}", t.get("prompt-source-add"))).clicked() {
            let title = t.with("prompt-source-untitled", &[("n", (settings.system.sources.len() + 1).into())]);
            self.open = Some(settings.system.sources.len());
            settings.system.sources.push(Source { title, link: None, text: String::new(), enabled: true });
        }
        if ui.button(t.get("prompt-source-file")).clicked() {
            dialog::ask(ui, dialog::Purpose::Sources, t.get("prompt-source-file"));
        }
        ui.separator();
        ui.label(t.get("prompt-keywords"));
        let keywords = &mut settings.system.keywords;
        ui.checkbox(&mut keywords.no_idea, "NO IDEA").on_hover_text(t.get("prompt-keyword-no-idea"));
        ui.checkbox(&mut keywords.forbidden, "FORBIDDEN").on_hover_text(t.get("prompt-keyword-forbidden"));
        ui.checkbox(&mut keywords.sfw, "SFW").on_hover_text(t.get("prompt-keyword-sfw"));
        ui.separator();
        ui.horizontal(|ui| {
            let label = ui.label(t.get("prompt-language")).on_hover_text(t.get("prompt-language-hint"));
            let combo =
                ComboBox::from_id_salt("builder-language").selected_text(settings.language.tag()).show_ui(ui, |ui| {
                    for language in Language::ALL {
                        ui.selectable_value(&mut settings.language, language, language.tag());
                    }
                });
            combo.response.labelled_by(label.id);
        });
        ui.horizontal(|ui| {
            let label = ui.label(t.get("settings-user-name"));
            let hint = settings.user().to_owned();
            let field = TextEdit::singleline(&mut settings.user_name).hint_text(hint).desired_width(160.0);
            ui.add(field).labelled_by(label.id);
        });
    }

    /// One source; true when it is to go.
    fn source(&mut self, ui: &mut Ui, t: &Texts, index: usize, source: &mut Source, tokens: Option<usize>) -> bool {
        let mut remove = false;
        ui.horizontal(|ui| {
            let name = t.with("prompt-source-on", &[("title", source.title.as_str().into())]);
            let switch = ui.checkbox(&mut source.enabled, "");
            switch.widget_info(|| {
                eframe::egui::WidgetInfo::selected(eframe::egui::Role::CheckBox, true, source.enabled, &name)
            });
            let title = ui.add(TextEdit::singleline(&mut source.title).desired_width(ui.available_width() - 190.0));
            named(title, t.get("prompt-source-title"));
            if let Some(tokens) = tokens {
                small(ui, t.with("prompt-tokens", &[("n", tokens.into())]));
            }
            let (icon, key) =
                if self.open == Some(index) { ("▲", "common-close") } else { ("✏", "prompt-source-text") };
            if icon_button(ui, icon, t.get(key)).clicked() {
                self.open = if self.open == Some(index) { None } else { Some(index) };
            }
            // Its text may be nowhere else.
            let menu = ui.menu_button("🗑", |ui| {
                let words = [("title", source.title.as_str().into())];
                remove = ui.button(t.with("prompt-source-delete", &words)).clicked();
            });
            named(menu.response, t.get("common-delete"));
        });
        if self.open == Some(index) {
            ui.horizontal(|ui| {
                let mut link = source.link.clone().unwrap_or_default();
                // Only what a browser opens, and only by hand.
                if is_web(&link) && icon_button(ui, "🔗", t.get("prompt-source-link-open")).clicked() {
                    ui.ctx().open_url(OpenUrl::new_tab(&link));
                }
                let hint = t.get("prompt-source-link");
                let field = TextEdit::singleline(&mut link).hint_text(hint).desired_width(f32::INFINITY);
                if named(ui.add(field), hint).changed() {
                    source.link = Some(link.trim().to_owned()).filter(|link| !link.is_empty());
                }
            });
            let text = TextEdit::multiline(&mut source.text).desired_rows(6).desired_width(f32::INFINITY);
            named(ui.add(text), t.get("prompt-source-text"));
        }
        remove
    }

    /// Adds a source that was dropped as a file.
    pub(super) fn add_source(&mut self, desk: &mut Desk, name: &str, text: String) {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        // A Markdown file has its title in its first line.
        let heading = text.lines().next().and_then(|line| line.strip_prefix("# ")).map(str::trim);
        let title = heading.unwrap_or(stem).to_owned();
        desk.chat.settings.system.sources.push(Source { title, link: None, text, enabled: true });
        desk.chat.touch();
    }
}
