//! An answer token by token: how likely each was, what else could have stood there, and going on from one of those.

use std::borrow::Cow;

use eframe::egui::{self, Color32, RichText, Role, Sense, Ui, WidgetInfo};

use crate::desk::Desk;
use crate::desk::tokens::{Token, places};
use crate::gui::text::Texts;
use crate::gui::theme;
use crate::gui::widgets::small;
use crate::tree::NodeId;

/// The answer that is looked at.
#[derive(Default)]
pub(super) struct TokenView {
    open: Option<Open>,
    /// Where to branch, and with which text, once everything is drawn.
    branch: Option<(NodeId, usize, String)>,
}

struct Open {
    node: NodeId,
    /// As they were kept when the chat had this version; those of an answer that is being made are with the desk.
    read: Option<(u64, Vec<Token>)>,
}

impl TokenView {
    pub(super) fn is_open(&self, node: NodeId) -> bool {
        self.open.as_ref().is_some_and(|open| open.node == node)
    }

    pub(super) fn toggle(&mut self, node: NodeId) {
        self.open = if self.is_open(node) { None } else { Some(Open { node, read: None }) };
    }

    /// The branch of `node` that was asked for: the byte where it leaves the text, and the text there.
    pub(super) fn take_branch(&mut self, node: NodeId) -> Option<(usize, String)> {
        let (_, at, text) = self.branch.take_if(|(of, ..)| *of == node)?;
        self.open = None;
        Some((at, text))
    }

    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &Desk, t: &Texts, node: NodeId, content: &str) {
        let Some(open) = &mut self.open else { return };
        let streaming = desk.answering().is_some_and(|answering| answering.node == node);
        let version = desk.chat.version();
        let of_desk = if streaming { desk.tokens(node) } else { None };
        if !streaming && open.read.as_ref().is_none_or(|(of, _)| *of != version) {
            open.read = Some((version, desk.tokens(node).map(Cow::into_owned).unwrap_or_default()));
        }
        let read = open.read.as_ref().map(|(_, tokens)| tokens.as_slice());
        let tokens = of_desk.as_deref().or(read).unwrap_or_default();
        let places = places(tokens, content);
        if places.is_empty() && !streaming {
            ui.label(content);
            small(ui, t.get("chat-tokens-none"));
            return;
        }
        small(ui, t.get("chat-tokens-hint"));
        let mut branch = None;
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = egui::vec2(0.0, 2.0);
            for (index, (token, place)) in tokens.iter().zip(&places).enumerate() {
                let Some(place) = place else { continue };
                let text = content.get(place.clone()).unwrap_or_default();
                if let Some(instead) = one(ui, t, index, token, text, streaming) {
                    branch = Some((node, place.start, instead));
                }
                if text.ends_with('\n') {
                    ui.end_row();
                }
            }
        });
        self.branch = self.branch.take().or(branch);
    }
}

/// One token; returns the text that was chosen in its place.
fn one(ui: &mut Ui, t: &Texts, index: usize, token: &Token, text: &str, streaming: bool) -> Option<String> {
    let shown = text.replace('\n', "⏎");
    let background =
        if token.best.is_empty() { Color32::TRANSPARENT } else { theme::doubt(ui.visuals(), token.chance) };
    let label =
        egui::Label::new(RichText::new(&shown).background_color(background)).sense(Sense::click()).selectable(false);
    let response = ui.add(label);
    if token.best.is_empty() {
        return None;
    }
    response.widget_info(|| {
        let percent = percent(token.chance);
        let words = [("text", shown.as_str().into()), ("percent", percent.as_str().into())];
        WidgetInfo::labeled(Role::Button, true, t.with("chat-token-name", &words))
    });
    let mut chosen = None;
    egui::Popup::menu(&response).id(ui.scope_id().with(("token", index))).show(|ui| {
        ui.label(t.with("chat-token-chance", &[("percent", percent(token.chance).as_str().into())]));
        ui.separator();
        for alternative in &token.best {
            let label = format!(
                "{:>6}  {}",
                percent(alternative.chance),
                alternative.text.replace('\n', "⏎").replace(' ', "␣")
            );
            let button = egui::Button::new(RichText::new(label).monospace()).min_size(egui::vec2(180.0, 0.0));
            let response = ui.add_enabled(alternative.has_text && !streaming, button);
            if response.on_hover_text(t.get("chat-token-branch")).clicked() {
                chosen = Some(alternative.text.clone());
                ui.close();
            }
        }
    });
    chosen
}

fn percent(chance: f32) -> String {
    if chance >= 0.1 { format!("{:.0} %", chance * 100.0) } else { format!("{:.1} %", chance * 100.0) }
}
