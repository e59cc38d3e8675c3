//! New characters, from what the model card says a character can be given as.

use eframe::egui::{Button, TextEdit, Ui};

use crate::cards::Card;
use crate::gui::text::Texts;
use crate::gui::widgets::named;
use crate::tree::now_ms;

/// How a character is described when it is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Traits,
    Narration,
    Entry,
}

/// What is filled in so far.
#[derive(Default)]
pub(super) struct Create {
    form: Form,
    name: String,
    description: String,
}

impl Create {
    /// Draws the form; a card when it is finished.
    pub(super) fn ui(&mut self, ui: &mut Ui, t: &Texts) -> Option<Card> {
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
        if !ui.add_enabled(ready, Button::new(t.get("library-create"))).clicked() {
            return None;
        }
        let (name, text) = (self.name.trim(), self.description.trim());
        let mut card = match self.form {
            Form::Traits => Card::from_traits(
                name,
                &text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>(),
            ),
            Form::Narration => Card::from_narration(name, text),
            Form::Entry => Card::from_entry(name, text),
        };
        card.date((now_ms() / 1000) as i64);
        self.name.clear();
        self.description.clear();
        Some(card)
    }
}
