//! Small widgets that several pages use.

use eframe::egui::{self, Button, Response, RichText, Role, Ui, WidgetInfo};

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
