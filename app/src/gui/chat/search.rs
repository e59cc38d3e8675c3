//! Searching the open chat, on every branch of it.

use eframe::egui::{Key, TextEdit, Ui};

use crate::desk::Desk;
use crate::gui::text::Texts;
use crate::gui::widgets::{icon_button, named, small};
use crate::tree::NodeId;

/// The search field, when it is open.
#[derive(Debug, Default)]
pub(super) struct Search {
    open: bool,
    focus: bool,
    text: String,
    /// What was looked for, in which state of the chat, and what was found.
    found: Option<(String, u64, Vec<NodeId>)>,
    at: usize,
}

impl Search {
    pub(super) fn open(&mut self) {
        (self.open, self.focus) = (true, true);
    }

    /// Draws it; returns the message to go to.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &Desk, t: &Texts) -> Option<NodeId> {
        if !self.open {
            return None;
        }
        let mut go = None;
        ui.horizontal(|ui| {
            let edit =
                ui.add(TextEdit::singleline(&mut self.text).hint_text(t.get("chat-search")).desired_width(220.0));
            let edit = named(edit, t.get("chat-search"));
            if std::mem::take(&mut self.focus) {
                edit.request_focus();
            }
            let version = desk.chat.version();
            if self.found.as_ref().is_none_or(|(text, of, _)| *text != self.text || *of != version) {
                let found =
                    if self.text.trim().is_empty() { Vec::new() } else { desk.chat.tree.search(self.text.trim()) };
                self.at = self.at.min(found.len().saturating_sub(1));
                self.found = Some((self.text.clone(), version, found));
            }
            let found = self.found.as_ref().map(|(_, _, found)| found.as_slice()).unwrap_or_default();
            let enter = edit.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            let count = found.len();
            let mut step = |by: usize| {
                if count > 0 {
                    self.at = (self.at + by) % count;
                    go = found.get(self.at).copied();
                }
            };
            if icon_button(ui, "⏶", t.get("chat-search-previous")).clicked() {
                step(count.saturating_sub(1));
            }
            if icon_button(ui, "⏷", t.get("chat-search-next")).clicked() || enter {
                step(1);
            }
            let at = if count == 0 { 0 } else { self.at + 1 };
            small(ui, t.with("chat-search-count", &[("at", at.into()), ("n", count.into())]));
            let close = icon_button(ui, "✖", t.get("common-close")).clicked();
            if close || ui.input(|input| input.key_pressed(Key::Escape)) {
                self.open = false;
            }
            if enter {
                edit.request_focus();
            }
        });
        go
    }
}
