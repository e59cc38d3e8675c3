//! One message: who says it, the text, how it was made, and what can be done with it.

use eframe::egui::{self, Align, Color32, Frame, Key, Layout, Margin, Response, RichText, TextEdit, Ui};
use egui_commonmark::{CommonMarkCache, CommonMarkViewer};
use guanaco_engine::prompt::Role;

use super::composer;
use super::tokens::TokenView;
use crate::desk::{Answering, Desk, SaveState};
use crate::gui::text::Texts;
use crate::gui::widgets::{chip, icon_button, named, small, warning};
use crate::tree::{Node, NodeId, ReplyInfo};

/// What is being done with messages.
#[derive(Default)]
pub(super) struct Message {
    /// This one is to be changed: its field comes up, with the keyboard.
    appeared: Option<NodeId>,
    tokens: TokenView,
    /// The button that is to have the keyboard again: the one that was pressed is gone with its message.
    back_to: Option<(NodeId, Button)>,
}

/// A button under a message that is pressed again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Button {
    Previous,
    Next,
    Edit,
}

/// What a person asked for; done once everything is drawn.
enum Act {
    Answer,
    Regenerate,
    GoOn,
    Edit(String),
    Swipe(isize),
    Delete,
    BranchOff,
}

impl Message {
    pub(super) fn ui(&mut self, ui: &mut Ui, markdown: &mut CommonMarkCache, desk: &mut Desk, t: &Texts, id: NodeId) {
        let Some(node) = desk.chat.tree.node(id) else { return };
        let is_user = node.role == Role::User;
        let answering = desk.answering().filter(|answering| answering.node == id);
        let mut act = None;
        let mut edited = desk.chat.edits.get(&id).cloned();
        let fill = if is_user { ui.visuals().faint_bg_color } else { Color32::TRANSPARENT };
        Frame::new().fill(fill).inner_margin(Margin::symmetric(10, 6)).corner_radius(6).show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.label(RichText::new(speaker(node, desk, t)).strong());
            if node.hidden() {
                chip(ui, t.get("chat-hidden"));
            }
            match &mut edited {
                Some(text) => {
                    let appeared = self.appeared.take_if(|appeared| *appeared == id).is_some();
                    act = edit(ui, text, appeared, desk.is_idle(), t);
                }
                _ if self.tokens.is_open(id) => self.tokens.ui(ui, desk, t, id, &node.content),
                _ if is_user => drop(ui.label(&node.content)),
                _ => drop(CommonMarkViewer::new().show(ui, markdown, &node.content)),
            }
            if let Some(answering) = answering {
                progress(ui, answering, t);
            } else if let Some(info) = &node.reply {
                facts(ui, node, info, t);
            }
            let footer = self.footer(ui, desk, t, node);
            act = act.take().or(footer);
        });
        let edited = edited.or_else(|| (self.appeared == Some(id)).then(|| node.content.clone()));
        if let Some(text) = edited {
            desk.chat.edits.insert(id, text);
        }
        if let Some(act) = act {
            self.act(ui.ctx(), desk, id, act);
        }
        if let Some((at, instead)) = self.tokens.take_branch(id) {
            desk.branch(id, at, &instead);
        }
    }

    /// The small buttons under a message.
    fn footer(&mut self, ui: &mut Ui, desk: &Desk, t: &Texts, node: &Node) -> Option<Act> {
        let id = node.id;
        let mut act = None;
        let busy = !desk.is_idle();
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 2.0;
            let (index, count) = desk.chat.tree.siblings(id);
            if count > 1 {
                ui.add_enabled_ui(!busy, |ui| {
                    let previous = icon_button(ui, "◀", t.get("chat-previous"));
                    if self.again(id, Button::Previous, &previous) {
                        act = Some(Act::Swipe(-1));
                    }
                    small(ui, format!("{}/{count}", index + 1));
                    let next = icon_button(ui, "▶", t.get("chat-next"));
                    if self.again(id, Button::Next, &next) {
                        act = Some(Act::Swipe(1));
                    }
                });
            }
            if icon_button(ui, "🗐", t.get("common-copy")).clicked() {
                ui.ctx().copy_text(node.content.clone());
            }
            ui.add_enabled_ui(!busy, |ui| {
                // Its answer was stopped before the first word, or never asked for.
                let waits = node.role == Role::User && desk.chat.tree.leaf() == Some(id);
                if waits && icon_button(ui, "🔄", t.get("chat-answer")).clicked() {
                    act = Some(Act::Answer);
                }
                if node.role == Role::Assistant && node.parent.is_some() {
                    if icon_button(ui, "🔄", t.get("chat-regenerate")).clicked() {
                        act = Some(Act::Regenerate);
                    }
                    // Its end would grow behind the field, and be missing in what is applied.
                    let edited = desk.chat.edits.contains_key(&id);
                    ui.add_enabled_ui(!busy && !edited, |ui| {
                        if icon_button(ui, "⏩", t.get("chat-continue")).clicked() {
                            act = Some(Act::GoOn);
                        }
                    });
                }
                let edit = icon_button(ui, "✏", t.get("chat-edit"));
                if self.again(id, Button::Edit, &edit) {
                    self.appeared = Some(id);
                }
                if icon_button(ui, "🔀", t.get("chat-branch")).clicked() {
                    act = Some(Act::BranchOff);
                }
                if icon_button(ui, "🗑", t.get("chat-delete")).clicked() {
                    act = Some(Act::Delete);
                }
            });
            if node.reply.is_some() && icon_button(ui, "🔍", t.get("chat-tokens")).clicked() {
                self.tokens.toggle(id);
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| match desk.save_state(id) {
                SaveState::Saved => drop(small(ui, "✔").on_hover_text(t.get("chat-saved"))),
                SaveState::Saving => drop(small(ui, t.get("chat-saving"))),
            });
        });
        act
    }

    /// Whether `button` of message `id` is pressed; gives it the keyboard where it is to have it again.
    fn again(&mut self, id: NodeId, button: Button, response: &Response) -> bool {
        if response.enabled() && self.back_to.take_if(|back| *back == (id, button)).is_some() {
            response.request_focus();
        }
        response.clicked()
    }

    /// Swipes the last message, `by` further; nothing where there is only one.
    pub(super) fn swipe_last(&mut self, desk: &mut Desk, by: isize) {
        if let Some(id) = desk.chat.tree.leaf().filter(|id| desk.chat.tree.siblings(*id).1 > 1) {
            desk.swipe(id, by);
        }
    }

    /// Does what was asked for. The keyboard goes on where the hand was: at the same button of what is shown in the place of the
    /// message, and in the message field where an answer is on its way.
    fn act(&mut self, ctx: &egui::Context, desk: &mut Desk, id: NodeId, act: Act) {
        let place = desk.chat.tree.path_ids().binary_search(&id).ok();
        let by_key = ctx.input(|input| input.key_pressed(Key::Enter) || input.key_pressed(Key::Space));
        let back_to = match &act {
            Act::Swipe(by) => Some(if *by < 0 { Button::Previous } else { Button::Next }),
            Act::Edit(_) => Some(Button::Edit),
            _ => None,
        };
        match act {
            Act::Answer => desk.answer_to(id),
            Act::Regenerate => desk.regenerate(id),
            Act::GoOn => desk.go_on(id),
            Act::Edit(text) => {
                desk.chat.edits.remove(&id);
                if !text.trim().is_empty() {
                    desk.edit(id, &text);
                }
            }
            Act::Swipe(by) => desk.swipe(id, by),
            Act::Delete => desk.delete(id),
            Act::BranchOff => desk.branch_off(id),
        }
        let now = place.and_then(|place| desk.chat.tree.path_ids().get(place).copied());
        match (back_to, now) {
            (Some(button), Some(now)) if desk.answering().is_none() => self.back_to = Some((now, button)),
            _ if by_key || back_to.is_some() => composer::take_keyboard(ctx),
            _ => {}
        }
    }
}

/// Who says it.
fn speaker(node: &Node, desk: &Desk, t: &Texts) -> String {
    match (&node.name, node.role) {
        (Some(name), _) => name.clone(),
        (None, Role::User) if !desk.chat.settings.user_name.is_empty() => desk.chat.settings.user_name.clone(),
        (None, Role::User) => t.get("chat-you").to_owned(),
        (None, _) => t.get("chat-assistant").to_owned(),
    }
}

/// The field in which a message is changed.
fn edit(ui: &mut Ui, text: &mut String, appeared: bool, is_idle: bool, t: &Texts) -> Option<Act> {
    let field = named(ui.add(TextEdit::multiline(text).desired_width(f32::INFINITY)), t.get("chat-edit"));
    if appeared {
        field.request_focus();
    }
    let escaped = (field.has_focus() || field.lost_focus()) && ui.input(|input| input.key_pressed(egui::Key::Escape));
    let mut act = escaped.then(|| Act::Edit(String::new()));
    ui.horizontal(|ui| {
        if ui.add_enabled(is_idle, egui::Button::new(t.get("chat-edit-done"))).clicked() {
            act = Some(Act::Edit(text.clone()));
        }
        if ui.button(t.get("common-cancel")).clicked() {
            act = Some(Act::Edit(String::new()));
        }
    });
    act
}

/// How far an answer is.
fn progress(ui: &mut Ui, answering: &Answering, t: &Texts) {
    let prefill = answering.prefill;
    ui.horizontal(|ui| {
        ui.spinner();
        if answering.n_tokens == 0 {
            let numbers =
                [("done", prefill.done.into()), ("new", prefill.new.into()), ("cached", prefill.cached.into())];
            small(ui, t.with("chat-reading", &numbers));
        } else {
            let speed = answering.tok_per_s().map(|speed| format!("{speed:.1}")).unwrap_or_default();
            small(ui, t.with("chat-writing", &[("n", answering.n_tokens.into()), ("speed", speed.as_str().into())]));
        }
    });
}

/// Which message was left out of the prompt, and why.
fn dropped(line: &str, t: &Texts) -> String {
    let (reason, words) = line.split_once(": ").unwrap_or(("", line));
    let key = match reason {
        "budget" => "chat-dropped-budget",
        "depth" => "chat-dropped-depth",
        "no-slot" => "chat-dropped-no-slot",
        _ => return line.to_owned(),
    };
    t.with(key, &[("words", words.into())])
}

/// How an answer was made.
fn facts(ui: &mut Ui, node: &Node, info: &ReplyInfo, t: &Texts) {
    ui.horizontal_wrapped(|ui| {
        for keyword in &info.keywords {
            let explained = match keyword.as_str() {
                "NO IDEA" => "chat-keyword-no-idea",
                "FORBIDDEN" => "chat-keyword-forbidden",
                _ => "chat-keyword-sfw",
            };
            chip(ui, keyword).on_hover_text(t.get(explained));
        }
        let mut parts = Vec::new();
        if let Some(speed) = info.tok_per_s {
            parts.push(t.with("chat-speed", &[("speed", format!("{speed:.1}").as_str().into())]));
        }
        if let Some(ms) = info.first_token_ms {
            let seconds = format!("{:.2}", ms as f64 / 1000.0);
            parts.push(t.with("chat-first-token", &[("seconds", seconds.as_str().into())]));
        }
        if info.cached + info.new > 0 {
            parts.push(t.with("chat-cached", &[("cached", info.cached.into()), ("new", info.new.into())]));
        }
        parts.push(t.with("chat-seed", &[("seed", info.seed.to_string().as_str().into())]));
        small(ui, parts.join(" · ")).on_hover_text(&info.model);
        // Earlier versions kept no number, but all of them.
        let n_dropped = info.n_dropped.max(info.dropped.len());
        if n_dropped > 0 {
            let count = small(ui, t.with("chat-dropped", &[("n", n_dropped.into())]));
            count.on_hover_ui(|ui| info.dropped.iter().for_each(|line| drop(ui.label(dropped(line, t)))));
        }
        if !info.sourced {
            // The sentence itself is under the composer, once.
            named(warning(ui, ""), t.get("chat-no-source"));
        }
        match info.finish.as_deref() {
            _ if !node.complete => drop(warning(ui, t.get("chat-incomplete"))),
            Some("max-tokens") => drop(small(ui, t.get("chat-cut-limit"))),
            Some("context-full") => drop(warning(ui, t.get("chat-cut-context"))),
            Some("stopped") => drop(small(ui, t.get("chat-stopped"))),
            _ => {}
        }
    });
}
