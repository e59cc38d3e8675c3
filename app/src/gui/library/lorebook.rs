//! A card's lorebook: its settings, its entries, and what each of them does now.

use std::sync::Arc;

use eframe::egui::{self, Align, Button, Checkbox, DragValue, Layout, ScrollArea, TextEdit, Ui, vec2};

use super::{edit, entry};
use crate::cards::lorebook::{BookChange, EntryChange, EntryFlag};
use crate::cards::{Card, LoreAccount, Lorebook, Why};
use crate::desk::Desk;
use crate::desk::library::Character;
use crate::gui::text::Texts;
use crate::gui::widgets::{icon_button, named, small};

/// More entries than these can be searched.
const MANY: usize = 8;
/// The most entries that are shown without scrolling.
const ROWS: usize = 12;

/// What the lorebook's page remembers.
#[derive(Default)]
pub(super) struct LoreView {
    filter: String,
    /// The entry that is open.
    open: Option<usize>,
    /// What the filter found, and in which card.
    found: Option<(Arc<Card>, String, Vec<usize>)>,
}

impl LoreView {
    /// Draws it, and makes the changes.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts, character: &Character) {
        let card = &character.card;
        let mut changes = Vec::new();
        ui.strong(t.get("library-lorebook"));
        if !card.has_editable_book() {
            small(ui, t.get("library-lorebook-odd"));
            return;
        }
        let composed = desk.preview().map(|previewed| &previewed.composed);
        let account = composed.filter(|composed| composed.speaker == Some(character.id)).map(|composed| &composed.lore);
        if card.character_book().is_some() {
            settings(ui, t, card, &mut changes);
            self.entries(ui, t, card, account, &mut changes);
            if ui.button(format!("➕ {}", t.get("library-entry-add"))).clicked() {
                changes.push(BookChange::Add);
                self.open = Some(card.entry_count());
                self.filter.clear();
            }
            if let Some((index, json)) = self.open.and_then(|index| Some((index, card.entry(index)?))) {
                ui.push_id(("entry", index), |ui| {
                    let now = account.map(|account| state(account, index, t));
                    let user = desk.chat.settings.user();
                    let changed = entry::ui(ui, t, json, now.as_deref(), (card.called(), user));
                    changes.extend(changed.map(|change| BookChange::Entry(index, change)));
                });
            }
        } else if ui.button(format!("➕ {}", t.get("library-lorebook-add"))).clicked() {
            changes.push(BookChange::Begin);
        }
        for change in changes {
            edit::change(desk, character.id, |card| {
                card.change_book(change);
            });
        }
    }

    fn entries(
        &mut self,
        ui: &mut Ui,
        t: &Texts,
        card: &Arc<Card>,
        account: Option<&LoreAccount>,
        changes: &mut Vec<BookChange>,
    ) {
        let count = card.entry_count();
        small(ui, t.with("library-lorebook-entries", &[("n", count.into())]));
        if count > MANY {
            let hint = t.get("library-lorebook-filter");
            named(ui.add(TextEdit::singleline(&mut self.filter).hint_text(hint).desired_width(240.0)), hint);
        } else {
            self.filter.clear();
        }
        if account.is_some_and(|account| account.active.is_empty() && account.dropped.is_empty()) && count > 0 {
            small(ui, t.get("library-active-none"));
        }
        self.search(card);
        let Some((.., found)) = &self.found else { return };
        let found = found.clone();
        let height = ui.spacing().interact_size.y;
        let most = (height + ui.spacing().item_spacing.y) * ROWS as f32;
        ScrollArea::vertical()
            .id_salt("entries")
            .max_height(most)
            .min_scrolled_height(most)
            .auto_shrink([false, true])
            .show_rows(ui, height, found.len(), |ui, rows| {
                for index in found.get(rows).unwrap_or_default() {
                    ui.push_id(index, |ui| self.row(ui, t, card, *index, account, changes));
                }
            });
    }

    /// Finds the entries anew where the card or the filter is another.
    fn search(&mut self, card: &Arc<Card>) {
        let known = self.found.as_ref().is_some_and(|(of, filter, _)| Arc::ptr_eq(of, card) && *filter == self.filter);
        if known {
            return;
        }
        let part = self.filter.to_lowercase();
        let holds = |index: &usize| part.is_empty() || card.entry(*index).is_some_and(|entry| entry.contains(&part));
        let found = (0..card.entry_count()).filter(holds).collect();
        self.found = Some((card.clone(), self.filter.clone(), found));
    }

    /// An entry in a line.
    fn row(
        &mut self,
        ui: &mut Ui,
        t: &Texts,
        card: &Card,
        index: usize,
        account: Option<&LoreAccount>,
        changes: &mut Vec<BookChange>,
    ) {
        let read = card.entry(index).map(|json| json.read());
        let name = read.as_ref().map_or_else(|| format!("#{}", index + 1), |entry| entry.name.clone());
        let named = [("name", name.as_str().into())];
        let size = vec2(ui.available_width(), ui.spacing().interact_size.y);
        ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Center), |ui| {
            if icon_button(ui, "🗑", &t.with("library-entry-remove", &named)).clicked() {
                changes.push(BookChange::Remove(index));
                self.open = match self.open {
                    Some(open) if open == index => None,
                    Some(open) if open > index => Some(open - 1),
                    open => open,
                };
            }
            let last = index + 1 >= card.entry_count();
            for (icon, key, to) in [
                ("▼", "library-entry-down", (!last).then_some(index + 1)),
                ("▲", "library-entry-up", index.checked_sub(1)),
            ] {
                let moved = ui.add_enabled_ui(to.is_some(), |ui| icon_button(ui, icon, &t.with(key, &named))).inner;
                if let Some(to) = to.filter(|_| moved.clicked()) {
                    changes.push(BookChange::Move(index, to));
                    self.open = match self.open {
                        Some(open) if open == index => Some(to),
                        Some(open) if open == to => Some(index),
                        open => open,
                    };
                }
            }
            if let Some(account) = account
                && let Some(entry) = account.active.iter().chain(&account.dropped).find(|entry| entry.index == index)
            {
                small(ui, t.with("prompt-tokens", &[("n", entry.tokens.into())]))
                    .on_hover_text(state(account, index, t));
            }
            ui.with_layout(Layout::left_to_right(Align::Center).with_main_justify(false), |ui| {
                let mut enabled = read.as_ref().is_some_and(|entry| entry.enabled);
                let label = t.with("library-entry-on", &named);
                let switch = ui.add_enabled(read.is_some(), Checkbox::without_text(&mut enabled));
                switch.widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, enabled, &label));
                if switch.on_hover_text(&label).changed() {
                    changes.push(BookChange::Entry(index, EntryChange::Flag(EntryFlag::Enabled, enabled)));
                }
                let text = match &read {
                    Some(entry) if entry.constant => format!("{name} · ∞"),
                    Some(entry) => format!("{name} · {}", entry.keys.join(", ")),
                    None => name.clone(),
                };
                let opened = self.open == Some(index);
                let text: String = text.chars().take(200).collect();
                if ui.add(Button::selectable(opened, text.replace('\n', " ")).truncate()).clicked() {
                    self.open = if opened { None } else { Some(index) };
                }
            });
        });
    }
}

/// The book's own settings.
fn settings(ui: &mut Ui, t: &Texts, card: &Card, changes: &mut Vec<BookChange>) {
    let Some(book) = Lorebook::settings_of(card) else { return };
    ui.horizontal_wrapped(|ui| {
        let mut number = |value: usize, most: usize, key: &str, hint: &str| {
            let mut value = value;
            let label = ui.label(t.get(key)).on_hover_text(t.get(hint));
            let field = ui.add(DragValue::new(&mut value).range(0..=most));
            field.labelled_by(label.id).on_hover_text(t.get(hint)).changed().then_some(value)
        };
        let depth = number(book.scan_depth, 1000, "library-lorebook-depth", "library-lorebook-depth-hint");
        let budget = number(book.token_budget, 1 << 20, "library-lorebook-budget", "library-lorebook-budget-hint");
        changes.extend(depth.map(BookChange::ScanDepth));
        changes.extend(budget.map(BookChange::TokenBudget));
        let mut recursive = book.recursive_scanning;
        let label = t.get("library-lorebook-recursive");
        let hint = t.get("library-lorebook-recursive-hint");
        if ui.checkbox(&mut recursive, label).on_hover_text(hint).changed() {
            changes.push(BookChange::Recursive(recursive));
        }
    });
}

/// What the entry at `index` does in the prompt of the open chat, and why.
fn state(account: &LoreAccount, index: usize, t: &Texts) -> String {
    if let Some(entry) = account.active.iter().find(|entry| entry.index == index) {
        return match &entry.why {
            Why::Constant => t.get("library-active-constant").to_owned(),
            Why::Decorator => t.get("library-active-decorator").to_owned(),
            Why::Key { key, .. } => t.with("library-active-because", &[("key", key.as_str().into())]),
            Why::Entry { .. } => t.get("library-active-recursive").to_owned(),
        };
    }
    let dropped = account.dropped.iter().any(|entry| entry.index == index);
    t.get(if dropped { "library-active-dropped" } else { "library-entry-idle" }).to_owned()
}
