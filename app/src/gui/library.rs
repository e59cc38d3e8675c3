//! The library of characters: made here, brought in as cards, and put into a chat.

use std::path::PathBuf;

use eframe::egui::{self, Button, CollapsingHeader, Frame, Margin, RichText, ScrollArea, TextEdit, Ui};

use super::portraits::Portraits;
use super::text::Texts;
use super::widgets::{chip, named, small};
use crate::cards::{Card, List, Text, Why};
use crate::desk::files::downloads;
use crate::desk::library::{CardFile, Character};
use crate::desk::{Desk, News};

/// How a character is described when it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Traits,
    Narration,
    Entry,
}

/// What the page remembers.
#[derive(Default)]
pub(super) struct LibraryView {
    portraits: Portraits,
    filter: String,
    path: String,
    /// The character that is open.
    open: Option<u64>,
    form: Form,
    name: String,
    description: String,
}

/// The texts of a card that can be changed here, and the keys of their names.
const TEXTS: [(Text, &str); 8] = [
    (Text::Description, "library-description"),
    (Text::Personality, "library-personality"),
    (Text::Scenario, "library-scenario"),
    (Text::FirstMessage, "library-greeting"),
    (Text::Examples, "library-examples"),
    (Text::Nickname, "library-nickname"),
    (Text::SystemPrompt, "library-system-prompt"),
    (Text::PostHistory, "library-post-history"),
];

impl LibraryView {
    /// Draws it; true when a chat was begun and is to be shown.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) -> bool {
        let mut go = false;
        ScrollArea::vertical().id_salt("library").auto_shrink(false).show(ui, |ui| {
            ui.heading(t.get("library-characters"));
            small(ui, t.get("library-drop-hint"));
            ui.horizontal(|ui| {
                let label = ui.label(t.get("library-import"));
                let field = TextEdit::singleline(&mut self.path).hint_text(t.get("model-path-hint"));
                ui.add(field.desired_width((ui.available_width() - 120.0).max(80.0))).labelled_by(label.id);
                let typed = PathBuf::from(self.path.trim());
                if ui.add_enabled(!self.path.trim().is_empty(), Button::new(t.get("common-open"))).clicked() {
                    self.drop_path(desk, &typed);
                    self.path.clear();
                }
            });
            CollapsingHeader::new(t.get("library-create"))
                .default_open(desk.characters.is_empty())
                .show(ui, |ui| self.create(ui, desk, t));
            ui.separator();
            if desk.characters.is_empty() {
                small(ui, t.get("library-empty"));
                return;
            }
            let hint = t.get("library-filter");
            named(ui.add(TextEdit::singleline(&mut self.filter).hint_text(hint).desired_width(240.0)), hint);
            let filter = self.filter.to_lowercase();
            let shown: Vec<Character> = desk
                .characters
                .iter()
                .filter(|character| character.card.name().to_lowercase().contains(&filter))
                .cloned()
                .collect();
            for character in shown {
                go |= self.character(ui, desk, t, character);
            }
        });
        go
    }

    /// Takes a card that was dropped.
    pub(super) fn drop_path(&mut self, desk: &mut Desk, path: &std::path::Path) {
        self.open = desk.import_and_tell(path).or(self.open);
    }

    fn create(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        ui.horizontal_wrapped(|ui| {
            let forms = [
                (Form::Traits, "library-create-traits"),
                (Form::Narration, "library-create-narration"),
                (Form::Entry, "library-create-entry"),
            ];
            for (form, key) in forms {
                ui.selectable_value(&mut self.form, form, t.get(key));
            }
        });
        let hint = match self.form {
            Form::Traits => t.get("library-create-traits-hint"),
            Form::Narration => t.get("library-create-narration-hint"),
            Form::Entry => t.get("library-create-entry-hint"),
        };
        ui.horizontal(|ui| {
            let label = ui.label(t.get("library-name"));
            ui.add(TextEdit::singleline(&mut self.name).desired_width(240.0)).labelled_by(label.id);
        });
        let field =
            TextEdit::multiline(&mut self.description).hint_text(hint).desired_rows(5).desired_width(f32::INFINITY);
        named(ui.add(field), t.get("library-description"));
        let ready = !self.name.trim().is_empty() && !self.description.trim().is_empty();
        if ui.add_enabled(ready, Button::new(t.get("library-create"))).clicked() {
            let (name, text) = (self.name.trim(), self.description.trim());
            let card = match self.form {
                Form::Traits => Card::from_traits(
                    name,
                    &text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>(),
                ),
                Form::Narration => Card::from_narration(name, text),
                Form::Entry => Card::from_entry(name, text),
            };
            self.open = Some(desk.add_character(card, None));
            self.name.clear();
            self.description.clear();
        }
    }

    fn character(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts, mut character: Character) -> bool {
        let (id, name) = (character.id, character.card.called().to_owned());
        let mut go = false;
        ui.push_id(id, |ui| {
            Frame::new().fill(ui.visuals().faint_bg_color).inner_margin(Margin::same(8)).corner_radius(6).show(
                ui,
                |ui| {
                    ui.horizontal(|ui| {
                        let portrait =
                            character.portrait.as_deref().and_then(|bytes| self.portraits.of(ui.ctx(), id, bytes));
                        if let Some(texture) = portrait {
                            let alt = t.with("library-portrait-of", &[("name", name.as_str().into())]);
                            let size = texture.size_vec2();
                            ui.add(egui::Image::new((texture.id(), size)).max_height(72.0).alt_text(alt));
                        }
                        ui.vertical(|ui| {
                            ui.label(RichText::new(&name).strong());
                            ui.horizontal_wrapped(|ui| {
                                for tag in character.card.list(List::Tags).into_iter().take(8) {
                                    chip(ui, tag);
                                }
                            });
                            ui.horizontal_wrapped(|ui| go |= actions(ui, desk, t, &character));
                        });
                    });
                    let opened = CollapsingHeader::new(t.get("common-edit"))
                        .id_salt("edit")
                        .open((self.open == Some(id)).then_some(true));
                    opened.show(ui, |ui| edit(ui, desk, t, &mut character));
                },
            );
        });
        if self.open == Some(id) {
            self.open = None;
        }
        if desk.character(id).is_none() {
            self.portraits.forget(id);
        }
        go
    }
}

/// What can be done with a character; true when a chat was begun.
fn actions(ui: &mut Ui, desk: &mut Desk, t: &Texts, character: &Character) -> bool {
    let id = character.id;
    let mut go = false;
    if ui.button(t.with("library-start-chat", &[("name", character.card.called().into())])).clicked() {
        desk.new_chat();
        desk.play(id);
        go = true;
    }
    if desk.chat.settings.characters.contains(&id) {
        if ui.button(t.get("library-remove-from-chat")).clicked() {
            desk.dismiss(id);
        }
    } else if !desk.chat.is_empty() && ui.button(t.get("library-add-to-chat")).clicked() {
        desk.play(id);
        go = true;
    }
    ui.menu_button(t.get("common-export"), |ui| {
        for (kind, key) in
            CardFile::ALL.into_iter().zip(["library-export-png", "library-export-json", "library-export-charx"])
        {
            if ui.button(t.get(key)).clicked() {
                let path = downloads(character.card.name(), kind.extension());
                let told = match desk.export_card(id, kind, &path) {
                    Ok(()) => News::Done(path.display().to_string()),
                    Err(error) => News::Failed(format!("{error:#}")),
                };
                desk.news.push(told);
                ui.close();
            }
        }
    });
    ui.menu_button(t.get("common-delete"), |ui| {
        ui.label(t.with("library-delete-question", &[("name", character.card.called().into())]));
        if ui.button(t.get("common-delete")).clicked() {
            desk.delete_character(id);
            ui.close();
        }
    });
    go
}

/// The card's texts, and what its lorebook does now.
fn edit(ui: &mut Ui, desk: &mut Desk, t: &Texts, character: &mut Character) {
    let mut changed = false;
    for (text, key) in TEXTS {
        let label = ui.label(t.get(key));
        let mut value = character.card.text(text).to_owned();
        let field = TextEdit::multiline(&mut value).desired_rows(1).desired_width(f32::INFINITY);
        if ui.add(field).labelled_by(label.id).changed() {
            character.card.set_text(text, &value);
            changed = true;
        }
    }
    let notes = character.card.creator_notes(t.locale().tag());
    if !notes.is_empty() {
        ui.label(t.get("library-creator-notes"));
        small(ui, notes);
    }
    let entries =
        character.card.character_book().and_then(|book| book.get("entries")?.as_array().map(Vec::len)).unwrap_or(0);
    if entries > 0 {
        ui.label(t.with("library-lorebook-entries", &[("n", entries.into())]));
        lore(ui, desk, t);
    }
    if changed {
        desk.put_character(character.clone());
    }
}

/// Which entries are in the prompt of the open chat, and why.
fn lore(ui: &mut Ui, desk: &Desk, t: &Texts) {
    let Some(lore) = desk.preview().map(|previewed| &previewed.composed.lore) else { return };
    if lore.active.is_empty() && lore.dropped.is_empty() {
        small(ui, t.get("library-active-none"));
    }
    for entry in &lore.active {
        let why = match &entry.why {
            Why::Constant => t.get("library-active-constant").to_owned(),
            Why::Decorator => t.get("library-active-decorator").to_owned(),
            Why::Key { key, .. } => t.with("library-active-because", &[("key", key.as_str().into())]),
            Why::Entry { .. } => t.get("library-active-recursive").to_owned(),
        };
        small(ui, format!("{}: {why} · {}", entry.name, t.with("prompt-tokens", &[("n", entry.tokens.into())])));
    }
    for entry in &lore.dropped {
        small(ui, format!("{}: {}", entry.name, t.get("library-active-dropped")));
    }
}
