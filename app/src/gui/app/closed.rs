//! What is shown when the store cannot be opened.

use eframe::egui::{self, Ui};

use crate::gui::text::Texts;
use crate::store::StoreError;

/// Why there is no desk.
pub(super) struct Closed {
    pub(super) reason: String,
    /// The file is damaged: a new one can take its place.
    pub(super) damaged: bool,
}

impl From<StoreError> for Closed {
    fn from(error: StoreError) -> Self {
        Self { damaged: matches!(error, StoreError::Damaged { .. }), reason: error.to_string() }
    }
}

/// What to do about a store that cannot be opened.
pub(super) enum Way {
    /// Try it again.
    Again,
    /// Set the damaged file aside, and begin a new one.
    Anew,
}

/// Says why, and what can be done about it; returns what is chosen.
pub(super) fn ui(ui: &mut Ui, why: &Closed, t: &Texts) -> Option<Way> {
    let mut way = None;
    egui::CentralPanel::default().show(ui, |ui| {
        ui.vertical_centered(|ui| {
            ui.add_space(ui.available_height() * 0.3);
            ui.heading(t.get("common-not-open"));
            ui.label(&why.reason);
            if ui.button(t.get("common-retry")).clicked() {
                way = Some(Way::Again);
            }
            if why.damaged {
                ui.add_space(12.0);
                ui.label(t.get("common-set-aside-hint"));
                if ui.button(t.get("common-set-aside")).clicked() {
                    way = Some(Way::Anew);
                }
            }
        });
    });
    way
}
