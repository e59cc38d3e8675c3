//! Where a message is typed: Enter sends, Shift+Enter breaks the line, and Enter never sends while an input method is composing.

use eframe::egui::{self, Event, ImeEvent, Key, KeyboardShortcut, Modifiers, TextEdit, Ui};

use crate::desk::Desk;
use crate::gui::text::Texts;
use crate::gui::widgets::small;

/// The message field.
fn field() -> egui::Id {
    egui::Id::unique("composer")
}

/// Gives the message field the keyboard.
pub(super) fn take_keyboard(ctx: &egui::Context) {
    ctx.memory_mut(|memory| memory.request_focus(field()));
}

/// Whether the message field has the keyboard.
pub(super) fn has_keyboard(ctx: &egui::Context) -> bool {
    ctx.memory(|memory| memory.has_focus(field()))
}

/// Follows the input method.
#[derive(Debug, Default)]
pub(super) struct Enter {
    composing: bool,
}

impl Enter {
    /// Whether `events` send the message. An Enter that ends a composition belongs to the input method, and so does one in the same
    /// frame: platforms differ in which of the two comes first.
    pub(super) fn sends(&mut self, events: &[Event]) -> bool {
        let mut by_input_method = self.composing;
        let mut pressed = false;
        for event in events {
            match event {
                Event::Ime(ImeEvent::Preedit { text, .. }) => {
                    self.composing = !text.is_empty();
                    by_input_method |= self.composing;
                }
                Event::Ime(ImeEvent::Commit(_)) => {
                    self.composing = false;
                    by_input_method = true;
                }
                Event::Key { key: Key::Enter, pressed: true, modifiers, .. } => pressed |= modifiers.is_none(),
                _ => {}
            }
        }
        pressed && !by_input_method
    }
}

/// The field, and what stands around it.
#[derive(Debug, Default)]
pub(super) struct Composer {
    enter: Enter,
    /// The field was given the keyboard when it appeared.
    focused: bool,
}

impl Composer {
    /// Draws it; true when the message was sent.
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) -> bool {
        let id = field();
        let mut sent = false;
        let focused = ui.memory(|memory| memory.has_focus(id));
        if !focused {
            // A composition that another page saw the end of.
            self.enter = Enter::default();
        }
        let sends = ui.input(|input| self.enter.sends(&input.events)) && focused;
        let answering = desk.answering().is_some();
        self.speakers(ui, desk, t);
        ui.horizontal(|ui| {
            let room = ui.available_width() - 110.0;
            let most = (ui.ctx().content_rect().height() * 0.35).max(60.0);
            let area = egui::ScrollArea::vertical().max_height(most).max_width(room).auto_shrink([false, true]);
            area.id_salt("composer-scroll").show(ui, |ui| {
                let edit = TextEdit::multiline(&mut desk.chat.draft)
                    .id(id)
                    .desired_rows(2)
                    .desired_width(f32::INFINITY)
                    .hint_text(t.get("chat-hint"))
                    .return_key(KeyboardShortcut::new(Modifiers::SHIFT, Key::Enter));
                let response = ui.add(edit);
                if !std::mem::replace(&mut self.focused, true) {
                    response.request_focus();
                }
                // Behind the field: on a slow machine the last letters come in the same frame as Enter.
                if sends {
                    sent = desk.can_send();
                    desk.send();
                }
                response.widget_info(|| {
                    let mut info =
                        egui::WidgetInfo::labeled(egui::Role::MultilineTextInput, true, t.get("chat-message"));
                    info.current_text_value = Some(desk.chat.draft.clone());
                    info
                });
            });
            if answering {
                if ui.button(format!("⏹ {}", t.get("chat-stop"))).clicked() {
                    desk.stop();
                    take_keyboard(ui.ctx());
                }
            } else {
                if ui.add_enabled(desk.can_send(), egui::Button::new(format!("➤ {}", t.get("chat-send")))).clicked() {
                    desk.send();
                    sent = true;
                    // The button is gone while the answer comes.
                    take_keyboard(ui.ctx());
                }
            }
        });
        if desk.lacks_sources() {
            small(ui, t.get("chat-no-source"));
        }
        sent
    }
}

impl Composer {
    /// Of several characters, who answers next; and a button for each that lets it speak without a message.
    fn speakers(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        if desk.chat.settings.characters.len() < 2 {
            return;
        }
        let playing = desk.chat.settings.characters.iter().filter_map(|id| desk.character(*id));
        let names: Vec<(u64, String)> = playing.map(|who| (who.id, who.card.called().to_owned())).collect();
        let mut speaks = None;
        ui.horizontal_wrapped(|ui| {
            ui.label(t.get("library-speaks"));
            for (id, name) in &names {
                let next = desk.chat.settings.speaker.or(desk.chat.settings.characters.first().copied()) == Some(*id);
                if ui.selectable_label(next, name).clicked() && !next {
                    desk.chat.settings.speaker = Some(*id);
                    desk.chat.touch();
                }
            }
            let answering = desk.answering().is_some();
            let next = desk.chat.settings.speaker.or(names.first().map(|(id, _)| *id));
            if ui
                .add_enabled(!answering && !desk.chat.is_empty(), egui::Button::new(t.get("library-let-speak")))
                .clicked()
            {
                speaks = next;
            }
        });
        if let Some(id) = speaks {
            desk.let_speak(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(modifiers: Modifiers) -> Event {
        Event::Key { key: Key::Enter, physical_key: None, pressed: true, repeat: false, modifiers }
    }

    fn preedit(text: &str) -> Event {
        Event::Ime(ImeEvent::Preedit { text: text.to_owned(), active_range_chars: None })
    }

    #[test]
    fn enter_sends_only_alone_and_outside_of_a_composition() {
        let mut keys = Enter::default();
        assert!(keys.sends(&[enter(Modifiers::NONE)]));
        assert!(!keys.sends(&[enter(Modifiers::SHIFT)]));
        assert!(!keys.sends(&[]));
        assert!(!keys.sends(&[preedit("に")]));
        assert!(!keys.sends(&[enter(Modifiers::NONE)]), "while composing");
        let commit = Event::Ime(ImeEvent::Commit("日".to_owned()));
        assert!(!keys.sends(&[commit.clone(), enter(Modifiers::NONE)]), "the Enter that ends it");
        assert!(keys.sends(&[enter(Modifiers::NONE)]));
        assert!(!keys.sends(&[enter(Modifiers::NONE), preedit("日"), commit]));
        assert!(!keys.sends(&[preedit("ni"), preedit("")]));
        assert!(keys.sends(&[enter(Modifiers::NONE)]), "the composition was given up");
    }
}
