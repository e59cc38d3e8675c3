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
    /// Which of them was gone to last; None before the first.
    at: Option<usize>,
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
                let same = self.found.as_ref().is_some_and(|(text, ..)| *text == self.text);
                self.at = self.at.filter(|at| same && *at < found.len());
                self.found = Some((self.text.clone(), version, found));
            }
            let found = self.found.as_ref().map(|(_, _, found)| found.as_slice()).unwrap_or_default();
            let enter = edit.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
            let count = found.len();
            let mut to = None;
            if icon_button(ui, "⏶", t.get("chat-search-previous")).clicked() {
                to = Some(self.at.filter(|at| *at > 0).unwrap_or(count).saturating_sub(1));
            }
            if icon_button(ui, "⏷", t.get("chat-search-next")).clicked() || enter {
                to = Some(self.at.map_or(0, |at| at + 1) % count.max(1));
            }
            if let Some(&id) = to.and_then(|to| found.get(to)) {
                (self.at, go) = (to, Some(id));
            }
            let at = self.at.map_or(0, |at| at + 1);
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
