//! A card's own fields: its texts, its lists, and its portrait.

use eframe::egui::{TextEdit, Ui};

use crate::cards::limits::LIST_ENTRIES;
use crate::cards::{Card, List, Text};
use crate::desk::Desk;
use crate::desk::library::Character;
use crate::gui::dialog::{self, Purpose};
use crate::gui::text::Texts;
use crate::gui::widgets::{icon_button, small};
use crate::tree::now_ms;

/// The texts of a card that can be changed here, and the keys of their names; those that are one line are last.
const TEXTS: [(Text, &str); 11] = [
    (Text::Description, "library-description"),
    (Text::Personality, "library-personality"),
    (Text::Scenario, "library-scenario"),
    (Text::FirstMessage, "library-greeting"),
    (Text::Examples, "library-examples"),
    (Text::SystemPrompt, "library-system-prompt"),
    (Text::PostHistory, "library-post-history"),
    (Text::CreatorNotes, "library-creator-notes"),
    (Text::Nickname, "library-nickname"),
    (Text::Creator, "library-creator"),
    (Text::CharacterVersion, "library-version"),
];

/// The lists of greetings, with the keys of their names and of what they are.
const GREETINGS: [(List, &str, &str); 2] = [
    (List::AlternateGreetings, "library-greetings-other", "library-greetings-other-hint"),
    (List::GroupOnlyGreetings, "library-greetings-group", "library-greetings-group-hint"),
];

/// Makes a change to a card, and says in it when.
pub(super) fn change(desk: &mut Desk, id: u64, change: impl FnOnce(&mut Card)) {
    desk.edit_character(id, |card| {
        change(card);
        card.touch((now_ms() / 1000) as i64);
    });
}

/// Draws the fields of the character's card, and takes in what is typed.
pub(super) fn ui(ui: &mut Ui, desk: &mut Desk, t: &Texts, character: &Character) {
    let (id, card) = (character.id, &character.card);
    if ui.button(t.get("library-portrait-choose")).clicked() {
        dialog::ask(ui, Purpose::Portrait(id), t.get("library-portrait-choose"));
    }
    if character.n_files > 0 {
        small(ui, t.with("library-files", &[("n", character.n_files.into())]));
    }
    for (text, key) in TEXTS {
        let label = ui.label(t.get(key));
        let mut value = card.text(text).to_owned();
        let field = match text {
            Text::Nickname | Text::Creator | Text::CharacterVersion => TextEdit::singleline(&mut value),
            _ => TextEdit::multiline(&mut value).desired_rows(1),
        };
        let field = field.desired_width(f32::INFINITY).id_salt(key);
        if ui.add(field).labelled_by(label.id).changed() {
            change(desk, id, |card| card.set_text(text, &value));
        }
        if text == Text::FirstMessage {
            for (list, name, hint) in GREETINGS {
                if let Some(changed) = greetings(ui, t, card, list, name, hint) {
                    change(desk, id, |card| card.set_list(list, &changed));
                }
            }
        }
    }
    // In the reader's language, where the card has it so.
    let notes = card.creator_notes(t.locale().tag());
    if notes != card.text(Text::CreatorNotes) {
        small(ui, notes);
    }
    let tags: Vec<String> = card.list(List::Tags).into_iter().map(str::to_owned).collect();
    if let Some(tags) = lines(ui, t.get("library-tags"), t.get("library-tags-hint"), &tags) {
        change(desk, id, |card| card.set_list(List::Tags, &tags));
    }
}

/// One of the lists of greetings; what it is after a change.
fn greetings(ui: &mut Ui, t: &Texts, card: &Card, list: List, name: &str, hint: &str) -> Option<Vec<String>> {
    let mut texts: Vec<String> = card.list(list).into_iter().map(str::to_owned).collect();
    let mut changed = false;
    let mut remove = None;
    ui.label(t.get(name)).on_hover_text(t.get(hint));
    let count = texts.len();
    for (index, text) in texts.iter_mut().enumerate() {
        ui.push_id((name, index), |ui| {
            ui.horizontal(|ui| {
                let named = [("list", t.get(name).into()), ("n", (index + 1).into())];
                let label = small(ui, t.with("library-greeting-of", &named));
                let width = (ui.available_width() - 40.0).max(80.0);
                let field = TextEdit::multiline(text).desired_rows(1).desired_width(width);
                changed |= ui.add(field).labelled_by(label.id).changed();
                if icon_button(ui, "🗑", t.get("library-greeting-remove")).clicked() {
                    remove = Some(index);
                }
            });
        });
    }
    if let Some(index) = remove {
        texts.remove(index);
    }
    let add = ui.button(format!("➕ {}", t.get("library-greeting-add")));
    let named = t.with("library-greeting-add-to", &[("list", t.get(name).into())]);
    if add.on_hover_text(&named).clicked() && count < LIST_ENTRIES {
        texts.push(String::new());
    }
    (changed || texts.len() != count).then_some(texts)
}

/// A list of short texts, one a line; what it is after a change. Empty lines are there while one types, and gone afterwards.
pub(super) fn lines(ui: &mut Ui, name: &str, hint: &str, list: &[String]) -> Option<Vec<String>> {
    let label = ui.label(name).on_hover_text(hint);
    let mut text = list.join("\n");
    let field = TextEdit::multiline(&mut text).desired_rows(1).desired_width(f32::INFINITY).id_salt(name);
    let response = ui.add(field).labelled_by(label.id).on_hover_text(hint);
    let typed = || {
        if text.is_empty() {
            Vec::new()
        } else {
            text.split('\n').take(LIST_ENTRIES).map(str::to_owned).collect::<Vec<_>>()
        }
    };
    if response.changed() {
        return Some(typed());
    }
    if response.lost_focus() && list.iter().any(|line| line.trim().is_empty()) {
        return Some(typed().into_iter().filter(|line| !line.trim().is_empty()).collect());
    }
    None
}
