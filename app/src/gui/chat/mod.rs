//! The chat: its messages, those in sight only, and the field to type in.

mod composer;
mod heights;
mod message;
mod search;
mod tokens;

use eframe::egui::{self, Button, Rect, ScrollArea, Ui, UiBuilder, pos2, vec2};
use egui_commonmark::CommonMarkCache;

use self::composer::Composer;
use self::heights::Heights;
use self::message::Message;
use self::search::Search;
use super::text::Texts;
use super::widgets::small;
use crate::desk::Desk;
use crate::store::ChatId;
use crate::tree::NodeId;

/// A guess of a message's height until it was drawn, points.
const GUESS: f32 = 90.0;

/// Characters that an empty chat offers.
const OFFERED: usize = 6;

/// What the chat page remembers from frame to frame.
#[derive(Default)]
pub(super) struct ChatView {
    composer: Composer,
    search: Search,
    message: Message,
    markdown: CommonMarkCache,
    chat: Option<ChatId>,
    /// The messages that are shown, and for which state of the chat that was found out.
    path: Vec<NodeId>,
    version: Option<u64>,
    heights: Heights,
    /// Scroll here in the next frame.
    show: Option<NodeId>,
    /// Scroll to the last message in the next frame, and stay there.
    to_end: bool,
}

impl ChatView {
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        egui::Panel::bottom("composer").resizable(false).show(ui, |ui| {
            ui.add_space(4.0);
            self.to_end |= self.composer.ui(ui, desk, t);
            ui.add_space(4.0);
        });
        if let Some(found) = self.search.ui(ui, desk, t) {
            desk.choose(found);
            self.show = Some(found);
        }
        self.follow(desk);
        if self.path.is_empty() {
            empty(ui, desk, t);
            return;
        }
        self.list(ui, desk, t);
    }

    /// Gives the message field the keyboard.
    pub(super) fn take_keyboard(&self, ctx: &egui::Context) {
        composer::take_keyboard(ctx);
    }

    /// Whether the message field has the keyboard.
    pub(super) fn has_keyboard(&self, ctx: &egui::Context) -> bool {
        composer::has_keyboard(ctx)
    }

    /// Swipes the last message, `by` further.
    pub(super) fn swipe_last(&mut self, desk: &mut Desk, by: isize) {
        self.message.swipe_last(desk, by);
    }

    /// Opens the field to search in.
    pub(super) fn open_search(&mut self) {
        self.search.open();
    }

    /// Takes over what the chat has become.
    fn follow(&mut self, desk: &Desk) {
        let other = self.chat != Some(desk.chat.id);
        if other {
            let (show, to_end) = (self.show.take(), self.to_end);
            *self = Self { chat: Some(desk.chat.id), show, to_end, ..Self::default() };
        }
        if self.version != Some(desk.chat.version()) {
            self.version = Some(desk.chat.version());
            let path = desk.chat.tree.path_ids().to_vec();
            // What stays the same keeps its height.
            let same = self.path.iter().zip(&path).take_while(|(old, new)| old == new).count();
            self.heights.resize(same, GUESS);
            self.path = path;
        }
        self.heights.resize(self.path.len(), GUESS);
    }

    fn list(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        let mut area =
            ScrollArea::vertical().id_salt(("messages", desk.chat.id.0)).auto_shrink(false).stick_to_bottom(true);
        if let Some(at) = self.show.take().and_then(|node| self.path.iter().position(|id| *id == node)) {
            area = area.vertical_scroll_offset(self.heights.top(at) as f32);
        }
        if std::mem::take(&mut self.to_end) {
            area = area.vertical_scroll_offset(self.heights.top(self.heights.len()) as f32);
        }
        let shown = area.show_viewport(ui, |ui, viewport| {
            let origin = ui.max_rect().min;
            let width = ui.available_width();
            let mut changed = false;
            let mut row = self.heights.row_at(f64::from(viewport.min.y));
            while row < self.path.len() {
                let top = self.heights.top(row) as f32;
                if top > viewport.max.y {
                    break;
                }
                let Some(&id) = self.path.get(row) else { break };
                let rect = Rect::from_min_size(pos2(origin.x, origin.y + top), vec2(width, f32::INFINITY));
                let mut child = ui.new_child(UiBuilder::new().max_rect(rect).id_salt(("message", id.0)));
                self.message.ui(&mut child, &mut self.markdown, desk, t, id);
                let height = child.min_rect().height() + ui.spacing().item_spacing.y;
                let old = self.heights.top(row + 1) as f32 - top;
                if (height - old).abs() > 0.5 {
                    self.heights.set(row, height);
                    changed = true;
                }
                row += 1;
            }
            ui.set_height(self.heights.top(self.heights.len()) as f32);
            if changed {
                // What is below was drawn where it no longer is.
                ui.ctx().request_discard("a message has its height");
            }
        });
        let hidden = shown.content_size.y - shown.inner_rect.height() - shown.state.clamped_offset().y;
        if hidden > GUESS {
            let words = format!("⬇ {}", t.get("chat-newest"));
            let size = vec2(120.0, ui.spacing().interact_size.y);
            let at = Rect::from_center_size(shown.inner_rect.center_bottom() - vec2(0.0, size.y), size);
            self.to_end = ui.put(at, Button::new(words)).clicked();
        }
    }
}

/// What an empty chat says, and who can be played in it.
fn empty(ui: &mut Ui, desk: &mut Desk, t: &Texts) {
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.3);
        ui.heading(t.get("chat-empty-title"));
        small(ui, t.get("chat-empty-hint"));
        if desk.model.ready().is_some_and(|model| model.files.name == crate::checkpoint::EMBEDDED_NAME) {
            small(ui, t.get("chat-embedded-hint"));
        }
        ui.add_space(12.0);
        let mut play = None;
        let offered = if desk.chat.settings.characters.is_empty() { OFFERED } else { 0 };
        for character in desk.characters.iter().take(offered) {
            let name = character.card.called();
            if ui.button(t.with("library-start-chat", &[("name", name.into())])).clicked() {
                play = Some(character.id);
            }
        }
        if let Some(id) = play {
            desk.play(id);
            composer::take_keyboard(ui.ctx());
        }
    });
}
