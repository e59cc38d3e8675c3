//! One entry of a lorebook: its fields, and what it does now.

use eframe::egui::{ComboBox, DragValue, TextEdit, Ui};

use super::edit::lines;
use crate::cards::Place;
use crate::cards::decorators::KNOWN;
use crate::cards::lorebook::{EntryChange, EntryFlag, EntryJson, EntryKeys, EntryNumber, EntryText};
use crate::gui::text::Texts;
use crate::gui::widgets::{small, warning};

/// Draws the entry, whose state in the open chat is `now`; `names` are what `{{char}}` and `{{user}}` stand for. Returns what was
/// changed.
pub(super) fn ui(
    ui: &mut Ui,
    t: &Texts,
    json: EntryJson<'_>,
    now: Option<&str>,
    names: (&str, &str),
) -> Option<EntryChange> {
    let read = json.read();
    let mut change = None;
    ui.separator();
    if let Some(now) = now {
        small(ui, now);
    }
    let text = |ui: &mut Ui, field: EntryText, key: &str| {
        let label = ui.label(t.get(key));
        let mut value = json.text(field).to_owned();
        let edit = TextEdit::singleline(&mut value).desired_width(f32::INFINITY).id_salt(key);
        ui.add(edit).labelled_by(label.id).changed().then_some(EntryChange::Text(field, value))
    };
    change = change.or(text(ui, EntryText::Name, "library-entry-name"));
    change = change.or(text(ui, EntryText::Comment, "library-entry-comment"));
    let keys = json.keys(EntryKeys::Primary);
    let changed = lines(ui, t.get("library-entry-keys"), t.get("library-entry-keys-hint"), &keys);
    change = change.or(changed.map(|keys| EntryChange::Keys(EntryKeys::Primary, keys)));
    if let Some(reason) = read.problem(names.0, names.1) {
        warning(ui, &t.with("library-entry-problem", &[("reason", reason.as_str().into())]));
    }
    ui.horizontal_wrapped(|ui| {
        for (flag, on, key, hint) in [
            (EntryFlag::Regex, read.use_regex, "library-entry-regex", "library-entry-regex-hint"),
            (EntryFlag::CaseSensitive, read.case_sensitive, "library-entry-case", "library-entry-case-hint"),
            (EntryFlag::Constant, read.constant, "library-entry-constant", "library-entry-constant-hint"),
            (EntryFlag::Selective, read.selective, "library-entry-selective", "library-entry-selective-hint"),
        ] {
            if flag == EntryFlag::Regex && !json.has_regex_flag() {
                continue;
            }
            let mut on = on;
            if ui.checkbox(&mut on, t.get(key)).on_hover_text(t.get(hint)).changed() {
                change = Some(EntryChange::Flag(flag, on));
            }
        }
    });
    let secondary = json.keys(EntryKeys::Secondary);
    if read.selective || !secondary.is_empty() {
        let changed = lines(ui, t.get("library-entry-secondary"), t.get("library-entry-selective-hint"), &secondary);
        change = change.or(changed.map(|keys| EntryChange::Keys(EntryKeys::Secondary, keys)));
    }
    change.or(content(ui, t, json)).or(numbers(ui, t, &read, json))
}

/// What goes into the prompt.
fn content(ui: &mut Ui, t: &Texts, json: EntryJson<'_>) -> Option<EntryChange> {
    let decorators = KNOWN.map(|name| format!("@@{name}")).join("\n");
    let hint = format!("{}\n{decorators}", t.get("library-entry-decorators"));
    let label = ui.label(t.get("library-entry-content")).on_hover_text(&hint);
    let mut value = json.text(EntryText::Content).to_owned();
    let edit = TextEdit::multiline(&mut value).desired_rows(3).desired_width(f32::INFINITY).id_salt("content");
    let changed = ui.add(edit).labelled_by(label.id).on_hover_text(hint).changed();
    changed.then_some(EntryChange::Text(EntryText::Content, value))
}

/// Where it stands, and when it is left out.
fn numbers(ui: &mut Ui, t: &Texts, read: &crate::cards::lorebook::Entry, json: EntryJson<'_>) -> Option<EntryChange> {
    let mut change = None;
    ui.horizontal_wrapped(|ui| {
        for (field, value, key, hint) in [
            (EntryNumber::Order, read.order, "library-entry-order", "library-entry-order-hint"),
            (EntryNumber::Priority, read.priority, "library-entry-priority", "library-entry-priority-hint"),
        ] {
            let mut value = value;
            let label = ui.label(t.get(key)).on_hover_text(t.get(hint));
            let edit = ui.add(DragValue::new(&mut value).max_decimals(3));
            if edit.labelled_by(label.id).on_hover_text(t.get(hint)).changed() {
                change = Some(EntryChange::Number(field, value));
            }
        }
        let label = ui.label(t.get("library-entry-position"));
        let before = json.is_before_char();
        let name = |before: bool| t.get(if before { "library-entry-before" } else { "library-entry-after" });
        let combo = ComboBox::from_id_salt("position").selected_text(name(before)).show_ui(ui, |ui| {
            let mut chosen = before;
            for each in [true, false] {
                ui.selectable_value(&mut chosen, each, name(each));
            }
            (chosen != before).then_some(chosen)
        });
        combo.response.labelled_by(label.id);
        change = change.take().or(combo.inner.flatten().map(EntryChange::BeforeChar));
        let plain = if before { Place::BeforeChar } else { Place::AfterChar };
        if read.place != plain {
            small(ui, t.get("library-entry-decorated"));
        }
    });
    change
}
