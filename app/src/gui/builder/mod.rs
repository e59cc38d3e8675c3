//! The right side: the exact prompt as it will be sent, what it is built from, and how tokens are chosen.

mod exact;
mod sampling;
mod system;

use eframe::egui::{ScrollArea, Ui};

use super::text::Texts;
use crate::desk::Desk;
use crate::desk::settings::ChatSettings;
use crate::store::ChatId;

/// What the panel shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tab {
    #[default]
    Prompt,
    System,
    Sampling,
}

/// The panel.
#[derive(Default)]
pub(super) struct Builder {
    tab: Tab,
    system: system::SystemView,
    /// The settings that were seen last, to find what a hand has changed; with their chat.
    seen: Option<(ChatId, ChatSettings)>,
}

impl Builder {
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        ui.add_space(4.0);
        ui.horizontal_wrapped(|ui| {
            let tabs = [
                (Tab::Prompt, "prompt-title"),
                (Tab::System, "prompt-system-title"),
                (Tab::Sampling, "sampling-title"),
            ];
            for (tab, key) in tabs {
                ui.selectable_value(&mut self.tab, tab, t.get(key));
            }
        });
        ui.separator();
        ScrollArea::vertical().id_salt(("builder", self.tab as u8)).auto_shrink(false).show(ui, |ui| match self.tab {
            Tab::Prompt => exact::ui(ui, desk, t),
            Tab::System => self.system.ui(ui, desk, t),
            Tab::Sampling => sampling::ui(ui, desk, t),
        });
        let seen = self.seen.as_ref();
        // They are compared in place with each frame, and copied with each change only: their sources may be long.
        if seen.is_none_or(|(id, settings)| *id != desk.chat.id || *settings != desk.chat.settings) {
            if seen.is_some_and(|(id, _)| *id == desk.chat.id) {
                desk.chat.touch();
            }
            self.seen = Some((desk.chat.id, desk.chat.settings.clone()));
        }
    }

    /// Takes a text or Markdown file that was dropped as a source.
    pub(super) fn drop_source(&mut self, desk: &mut Desk, name: &str, text: String) {
        self.tab = Tab::System;
        self.system.add_source(desk, name, text);
    }
}
