//! Where the keyboard is: what Tab comes to is brought into view, and the edges of panels have names.

use eframe::egui::{self, Key, Ui};

use crate::gui::text::Texts;

/// Brings what Tab has come to into view: egui moves the keyboard there, and leaves it behind an edge.
#[derive(Debug, Default)]
pub(super) struct Tabs {
    /// Frames in which the keyboard may still move.
    left: u8,
    at: Option<egui::Id>,
}

impl Tabs {
    pub(super) fn follow(&mut self, ctx: &egui::Context) {
        if ctx.input(|input| input.key_pressed(Key::Tab)) {
            self.left = 3;
        }
        let now = ctx.memory(|memory| memory.focused());
        if self.left > 0 {
            self.left -= 1;
            ctx.request_repaint();
            let hidden = |id| {
                let seen = |response: egui::Response| response.interact_rect.size() != response.rect.size();
                ctx.read_response(id).is_some_and(seen)
            };
            if let Some(id) = now.filter(|id| self.at != Some(*id) && hidden(*id)) {
                let request = egui::accesskit::ActionRequest {
                    action: egui::accesskit::Action::ScrollIntoView,
                    target_tree: egui::accesskit::TreeId::ROOT,
                    target_node: id.accesskit_id(),
                    data: None,
                };
                ctx.input_mut(|input| input.events.push(egui::Event::AccessKitActionRequest(request)));
            }
        }
        self.at = now;
    }
}

/// Names the edge of the panel `id` that is dragged, in the window's language: egui names it in English.
pub(super) fn name_edge(ui: &Ui, id: &str, t: &Texts) {
    let edge = ui.scope_id().with(id).with("__resize");
    if ui.ctx().has_accesskit_node(edge) {
        ui.ctx().accesskit_node_builder(edge, |node| node.set_label(t.get("common-resize")));
    }
}
