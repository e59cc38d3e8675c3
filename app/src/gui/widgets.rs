//! Small widgets that several pages use.

use std::path::PathBuf;

use eframe::egui::{self, Button, Key, Response, RichText, Role, TextEdit, Ui, WidgetInfo};

/// A button with an icon, and `name` for screen readers and as a tooltip.
pub(super) fn icon_button(ui: &mut Ui, icon: &str, name: &str) -> Response {
    let response = ui.add(Button::new(icon).frame_when_inactive(false));
    response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), name));
    response.on_hover_text(name)
}

/// A field, or another widget that no label stands beside: `name` for screen readers, and as a tooltip.
pub(super) fn named(response: Response, name: &str) -> Response {
    response.accessible_name(name).on_hover_text(name)
}

/// A field for a path with a button that takes it, as Enter does. The text stays: the caller clears it once it was taken.
pub(super) fn path_field(
    ui: &mut Ui,
    (label, hint, button): (&str, &str, &str),
    path: &mut String,
    room: f32,
) -> Option<PathBuf> {
    let label = ui.label(label);
    let width = (ui.available_width() - room).max(80.0);
    let field = TextEdit::singleline(path).hint_text(hint).desired_width(width);
    let enter = ui.add(field).labelled_by(label.id).lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
    let typed = path.trim();
    let clicked = ui.add_enabled(!typed.is_empty(), Button::new(button)).clicked();
    ((clicked || enter) && !typed.is_empty()).then(|| with_home(typed))
}

/// `typed`, with `~` in front as the home folder.
fn with_home(typed: &str) -> PathBuf {
    let rest = typed.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with(std::path::is_separator));
    match rest.zip(directories::UserDirs::new()) {
        Some((rest, dirs)) => dirs.home_dir().join(rest.trim_start_matches(std::path::is_separator)),
        None => PathBuf::from(typed),
    }
}

/// A small label in the weak colour.
pub(super) fn small(ui: &mut Ui, text: impl Into<String>) -> Response {
    ui.label(RichText::new(text).small().weak())
}

/// A line that must be seen: in the warning colour, with a sign for who cannot tell the colour.
pub(super) fn warning(ui: &mut Ui, text: &str) -> Response {
    let color = ui.visuals().warn_fg_color;
    ui.label(RichText::new(format!("⚠ {text}")).small().color(color))
}

/// A label in a frame of its own: what something is.
pub(super) fn chip(ui: &mut Ui, text: &str) -> Response {
    let frame = egui::Frame::new()
        .stroke(ui.visuals().widgets.noninteractive.bg_stroke)
        .corner_radius(4)
        .inner_margin(egui::Margin::symmetric(5, 1));
    frame.show(ui, |ui| ui.label(RichText::new(text).small().strong())).inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilde_in_front_is_the_home_folder() {
        let Some(dirs) = directories::UserDirs::new() else { return };
        assert_eq!(with_home("~"), dirs.home_dir());
        assert_eq!(with_home("~/a/b.png"), dirs.home_dir().join("a/b.png"));
        for other in ["~user/a", "a/~", "/a/~/b", "a"] {
            assert_eq!(with_home(other), PathBuf::from(other));
        }
    }
}
