//! Every byte of the prompt, section by section, with what each takes of the context.

use eframe::egui::text_selection::LabelSelectionState;
use eframe::egui::{
    self, Align2, FontId, Frame, Galley, Label, Margin, RichText, Role, Stroke, Ui, Vec2, WidgetInfo, vec2,
};
use guanaco_engine::prompt::{DropReason, NoticeKind, Place, Prompt, Section, SectionKind};

use crate::desk::{Desk, Previewed};
use crate::format::PresetChoice;
use crate::gui::text::Texts;
use crate::gui::theme::section_color;
use crate::gui::widgets::{icon_button, named, small, warning};

pub(super) fn ui(ui: &mut Ui, desk: &mut Desk, t: &Texts) {
    frame(ui, desk, t);
    ui.separator();
    let Some(previewed) = desk.preview() else {
        small(ui, t.get("prompt-no-model"));
        return;
    };
    match &previewed.prompt {
        Err(reason) => drop(warning(ui, reason)),
        Ok(prompt) => {
            account(ui, previewed, prompt, t);
            for section in &prompt.sections {
                show(ui, prompt, section, t);
            }
        }
    }
}

/// The format, and how much history goes in.
fn frame(ui: &mut Ui, desk: &mut Desk, t: &Texts) {
    let automatic = desk.format(PresetChoice::Auto).map_or("…", |preset| preset.name());
    let settings = &mut desk.chat.settings;
    let name = |choice: PresetChoice| match choice {
        PresetChoice::Auto => t.with("prompt-preset-auto", &[("preset", automatic.into())]),
        PresetChoice::Only(preset) => preset.name().to_owned(),
    };
    ui.horizontal_wrapped(|ui| {
        let label = ui.label(t.get("prompt-preset")).on_hover_text(t.get("prompt-preset-auto-hint"));
        egui::ComboBox::from_id_salt("preset")
            .selected_text(name(settings.preset))
            .show_ui(ui, |ui| {
                for choice in PresetChoice::all() {
                    ui.selectable_value(&mut settings.preset, choice, name(choice));
                }
            })
            .response
            .labelled_by(label.id);
    });
    ui.horizontal_wrapped(|ui| {
        let mut limited = settings.history_tokens.is_some();
        ui.checkbox(&mut limited, t.get("prompt-history-limit"));
        let mut tokens = settings.history_tokens.unwrap_or(1024);
        if limited {
            let drag = ui.add(egui::DragValue::new(&mut tokens).range(0..=1_000_000).speed(8));
            named(drag, t.get("prompt-history-depth"));
        }
        settings.history_tokens = limited.then_some(tokens);
    });
}

/// Tokens against the context, what was left out, what was quoted.
fn account(ui: &mut Ui, previewed: &Previewed, prompt: &Prompt, t: &Texts) {
    let tokens = prompt.ids.as_ref().map_or(0, Vec::len);
    let share = tokens as f32 / previewed.context.max(1) as f32;
    let numbers = [("n", tokens.into()), ("context", previewed.context.into())];
    ui.horizontal(|ui| {
        ui.add(
            egui::ProgressBar::new(share)
                .desired_width(ui.available_width() - 64.0)
                .text(t.with("prompt-tokens-of", &numbers)),
        );
        if icon_button(ui, "🗐", t.get("prompt-copy-all")).clicked() {
            ui.ctx().copy_text(prompt.text.clone());
        }
    });
    let dropped = prompt.dropped.len() + previewed.left_out;
    if dropped > 0 {
        let whole = |reason| prompt.dropped.iter().filter(|dropped| dropped.reason == reason).count();
        let numbers = [
            ("n", dropped.into()),
            ("budget", (whole(DropReason::Budget) + previewed.left_out).into()),
            ("depth", whole(DropReason::Depth).into()),
            ("slot", whole(DropReason::NoSlot).into()),
        ];
        warning(ui, &t.with("prompt-dropped", &numbers));
    }
    // The line under the composer says that there is no source.
    for notice in prompt.notices.iter().filter(|notice| notice.kind != NoticeKind::NoSources) {
        if !matches!(notice.kind, NoticeKind::Dropped | NoticeKind::Neutralised) {
            warning(ui, &notice.text);
        }
    }
    // What became of the cards.
    for note in &previewed.composed.notes {
        small(ui, note);
    }
    for quoted in &prompt.neutralised {
        let place = match quoted.place {
            Place::Message(index) => t.with("prompt-place-message", &[("n", (index + 1).into())]),
            Place::Source(index) => t.with("prompt-place-source", &[("n", (index + 1).into())]),
            Place::Knowledge => t.get("prompt-place-knowledge").to_owned(),
            Place::Character => t.get("prompt-place-character").to_owned(),
        };
        let words = [("marker", quoted.marker.as_str().into()), ("place", place.as_str().into())];
        warning(ui, &t.with("prompt-neutralised", &words)).on_hover_text(t.get("prompt-neutralised-hint"));
    }
}

fn show(ui: &mut Ui, prompt: &Prompt, section: &Section, t: &Texts) {
    let Some(text) = prompt.text.get(section.start..section.end).filter(|text| !text.is_empty()) else { return };
    let color = section_color(section.kind, ui.visuals().dark_mode);
    Frame::new().stroke(Stroke::new(1.0, color)).inner_margin(Margin::same(4)).corner_radius(3).show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal(|ui| {
            let tokens = section.tokens.map(|tokens| t.with("prompt-tokens", &[("n", tokens.into())]));
            let title = format!("{} · {}", t.get(name(section.kind)), tokens.unwrap_or_default());
            ui.label(RichText::new(title).small().strong().color(color));
            if icon_button(ui, "🗐", t.get("common-copy")).clicked() {
                ui.ctx().copy_text(text.to_owned());
            }
        });
        bytes(ui, text);
    });
    ui.add_space(2.0);
}

/// The key of a section's name.
fn name(kind: SectionKind) -> &'static str {
    match kind {
        SectionKind::Frame => "prompt-section-frame",
        SectionKind::History => "prompt-section-history",
        SectionKind::System => "prompt-section-system",
        SectionKind::Input => "prompt-section-input",
        SectionKind::Reply => "prompt-section-reply",
        SectionKind::Template => "prompt-section-template",
    }
}

/// `text`, to be selected and copied as it is. Its line ends, and the spaces before them, are drawn beside it.
fn bytes(ui: &mut Ui, text: &str) {
    let shown = RichText::new(text).font(font());
    let (at, galley, response) = Label::new(shown).selectable(true).wrap().layout_in_ui(ui);
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, galley.text()));
    if !ui.is_rect_visible(response.rect) {
        return;
    }
    let color = ui.visuals().weak_text_color();
    for (place, mark) in marks(&galley) {
        ui.painter().text(at + place, Align2::LEFT_TOP, mark, font(), color);
    }
    let text = ui.visuals().text_color();
    LabelSelectionState::label_text_selection(ui, &response, at, galley, text, Stroke::NONE);
}

fn font() -> FontId {
    FontId::monospace(11.0)
}

/// Where the marks of line ends, and of the spaces before them, stand in a text that is laid out.
fn marks(galley: &Galley) -> Vec<(Vec2, char)> {
    let mut marks = Vec::new();
    let last = galley.rows.len().saturating_sub(1);
    for (index, row) in galley.rows.iter().enumerate() {
        // A line that was broken to fit does not end there.
        if !row.ends_with_newline && index < last {
            continue;
        }
        let words = row.glyphs.iter().rposition(|glyph| glyph.chr != ' ').map_or(0, |at| at + 1);
        let spaces = row.glyphs.get(words..).unwrap_or_default();
        marks.extend(spaces.iter().map(|glyph| (row.pos.to_vec2() + vec2(glyph.pos.x, 0.0), '␣')));
        if row.ends_with_newline {
            marks.push((row.pos.to_vec2() + vec2(row.size.x, 0.0), '⏎'));
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use eframe::egui::Color32;

    use super::*;

    #[test]
    fn line_ends_and_spaces_before_them_are_seen_and_no_part_of_the_text() {
        let cases = [
            ("### Instruction: \na b\n\n", f32::INFINITY, "␣⏎⏎⏎"),
            ("x ", f32::INFINITY, "␣"),
            // Broken to fit, and ended once.
            ("one two three\n", 40.0, "⏎"),
            ("", f32::INFINITY, ""),
        ];
        egui::__run_test_ui(|ui| {
            for (text, width, expected) in cases {
                let galley = ui.painter().layout(text.to_owned(), font(), Color32::WHITE, width);
                assert_eq!(galley.text(), text);
                let marks = marks(&galley);
                assert_eq!(marks.iter().map(|(_, mark)| *mark).collect::<String>(), expected);
                let places: Vec<_> = marks.iter().map(|(at, _)| (at.y, at.x)).collect();
                assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
            }
        });
    }
}
