//! The library of characters: made here, brought in as cards, changed, and put into a chat.

mod create;
mod edit;
mod entry;
mod lorebook;

use std::path::Path;

use eframe::egui::{self, CollapsingHeader, Frame, Margin, RichText, ScrollArea, TextEdit, Ui};

use self::create::Create;
use self::lorebook::LoreView;
use super::dialog::{self, Purpose};
use super::portraits::Portraits;
use super::text::Texts;
use super::widgets::{chip, named, path_field, small};
use crate::cards::List;
use crate::desk::Desk;
use crate::desk::library::{CardFile, Character};

/// What the page remembers.
#[derive(Default)]
pub(super) struct LibraryView {
    portraits: Portraits,
    filter: String,
    path: String,
    create: Create,
    /// The character whose card is open, and its lorebook's page.
    open: Option<u64>,
    lore: LoreView,
}

impl LibraryView {
    /// Draws it; true when a chat was begun and is to be shown.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) -> bool {
        let mut go = false;
        ScrollArea::vertical().id_salt("library").auto_shrink(false).show(ui, |ui| {
            ui.heading(t.get("library-characters"));
            small(ui, t.get("library-drop-hint"));
            self.import(ui, desk, t);
            CollapsingHeader::new(t.get("library-create")).default_open(desk.characters.is_empty()).show(ui, |ui| {
                if let Some(card) = self.create.ui(ui, t) {
                    let id = desk.add_character(card, None);
                    self.show(Some(id));
                }
            });
            ui.separator();
            if desk.characters.is_empty() {
                small(ui, t.get("library-empty"));
                return;
            }
            let hint = t.get("library-filter");
            named(ui.add(TextEdit::singleline(&mut self.filter).hint_text(hint).desired_width(240.0)), hint);
            let filter = self.filter.to_lowercase();
            // Cards and pictures are shared: this copies pointers.
            let shown: Vec<Character> = desk
                .characters
                .iter()
                .filter(|character| filter.is_empty() || character.card.name().to_lowercase().contains(&filter))
                .cloned()
                .collect();
            for character in &shown {
                go |= self.character(ui, desk, t, character);
            }
        });
        desk.looks_at_lore = self.open.is_some() && !go;
        go
    }

    fn import(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        ui.horizontal_wrapped(|ui| {
            let words = (t.get("library-import"), t.get("model-path-hint"), t.get("common-open"));
            if let Some(path) = path_field(ui, words, &mut self.path, 260.0)
                && self.take_card(desk, &path)
            {
                self.path.clear();
            }
            if ui.button(t.get("library-choose")).clicked() {
                dialog::ask(ui, Purpose::Cards, t.get("library-choose"));
            }
        });
    }

    /// Takes a card that was dropped or chosen, and says whether it was one.
    pub(super) fn take_card(&mut self, desk: &mut Desk, path: &Path) -> bool {
        let id = desk.import_and_tell(path);
        self.show(id.or(self.open));
        id.is_some()
    }

    /// The character whose card is open.
    pub(super) fn open(&self) -> Option<u64> {
        self.open
    }

    fn show(&mut self, id: Option<u64>) {
        if self.open != id {
            self.open = id;
            self.lore = LoreView::default();
        }
    }

    fn character(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts, character: &Character) -> bool {
        let (id, name) = (character.id, character.card.called());
        let mut go = false;
        ui.push_id(id, |ui| {
            let frame = Frame::new().fill(ui.visuals().faint_bg_color).inner_margin(Margin::same(8)).corner_radius(6);
            frame.show(ui, |ui| {
                ui.horizontal(|ui| {
                    let portrait = character.portrait.as_ref();
                    if let Some(texture) = portrait.and_then(|bytes| self.portraits.of(ui.ctx(), id, bytes)) {
                        let alt = t.with("library-portrait-of", &[("name", name.into())]);
                        let size = texture.size_vec2();
                        ui.add(egui::Image::new((texture.id(), size)).max_height(72.0).alt_text(alt));
                    }
                    ui.vertical(|ui| {
                        ui.label(RichText::new(name).strong());
                        ui.horizontal_wrapped(|ui| {
                            for tag in character.card.list(List::Tags).into_iter().take(8) {
                                chip(ui, tag);
                            }
                        });
                        ui.horizontal_wrapped(|ui| {
                            go |= actions(ui, desk, t, character);
                            let opened = self.open == Some(id);
                            if ui.selectable_label(opened, t.get("common-edit")).clicked() {
                                self.show(if opened { None } else { Some(id) });
                            }
                        });
                    });
                });
                if self.open == Some(id) {
                    ui.separator();
                    edit::ui(ui, desk, t, character);
                    ui.separator();
                    self.lore.ui(ui, desk, t, character);
                }
            });
        });
        if desk.character(id).is_none() {
            self.portraits.forget(id);
            self.show(self.open.filter(|open| *open != id));
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
    } else if !(desk.chat.is_empty() && desk.chat.settings.characters.is_empty())
        && ui.button(t.get("library-add-to-chat")).clicked()
    {
        desk.play(id);
        go = true;
    }
    ui.menu_button(t.get("common-export"), |ui| {
        for kind in CardFile::ALL {
            let name = match kind {
                CardFile::Png => t.get("library-export-png").to_owned(),
                CardFile::Charx => t.get("library-export-charx").to_owned(),
                CardFile::Json(version) => t.with("library-export-json", &[("version", format!("{version:?}").into())]),
            };
            if ui.button(&name).clicked() {
                let place = desk.download(character.card.name(), kind.extension());
                dialog::ask_where(ui, Purpose::SaveCard(id, kind), &name, place);
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
