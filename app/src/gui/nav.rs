//! The left side: the pages, and the list of chats.

use eframe::egui::{self, Align, Layout, ScrollArea, TextEdit, Ui, vec2};

use super::dialog::{self, Purpose};
use super::page::Page;
use super::text::Texts;
use super::widgets::{icon_button, named};
use crate::desk::Desk;
use crate::desk::files::ChatFile;
use crate::store::ChatId;

/// What the left side remembers.
#[derive(Debug, Default)]
pub(super) struct Nav {
    filter: String,
    /// The chat that is being renamed, with its title so far.
    renaming: Option<(ChatId, String)>,
    /// The field for that has just appeared.
    focus: bool,
    /// The chat whose line is to have the keyboard again.
    back_to: Option<ChatId>,
    /// The chat that is to be deleted when that is confirmed.
    deleting: Option<ChatId>,
}

impl Nav {
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts, page: &mut Page) {
        ui.add_space(6.0);
        for each in Page::ALL {
            let (icon, key) = each.label();
            let label = ui.selectable_label(*page == each, format!("{icon}  {}", t.get(key)));
            if label.clicked() {
                *page = each;
            }
        }
        ui.separator();
        ui.horizontal(|ui| {
            if ui.button(format!("➕ {}", t.get("chat-new"))).clicked() {
                desk.new_chat();
                *page = Page::Chat;
            }
            if icon_button(ui, "📥", t.get("chat-import")).clicked() {
                dialog::ask(ui, Purpose::Chat, t.get("chat-import"));
            }
        });
        let hint = t.get("chat-list-filter");
        named(ui.add(TextEdit::singleline(&mut self.filter).hint_text(hint).desired_width(f32::INFINITY)), hint);
        self.chats(ui, desk, t, page);
        self.confirm(ui.ctx(), desk, t);
    }

    fn chats(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts, page: &mut Page) {
        let filter = self.filter.to_lowercase();
        // In which nothing was said yet.
        let titled = |title: &str| if title.is_empty() { t.get("chat-new").to_owned() } else { title.to_owned() };
        let shown: Vec<(ChatId, String)> = desk
            .chats
            .iter()
            .map(|chat| (chat.id, titled(&chat.title)))
            .filter(|(_, title)| filter.is_empty() || title.to_lowercase().contains(&filter))
            .collect();
        let height = ui.spacing().interact_size.y;
        ScrollArea::vertical().id_salt("chats").auto_shrink(false).show_rows(ui, height, shown.len(), |ui, rows| {
            for (id, title) in shown.get(rows).unwrap_or_default() {
                self.chat(ui, desk, t, page, *id, title);
            }
        });
    }

    fn chat(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts, page: &mut Page, id: ChatId, title: &str) {
        if let Some((renaming, text)) = &mut self.renaming
            && *renaming == id
        {
            let edit = named(ui.add(TextEdit::singleline(text).desired_width(f32::INFINITY)), t.get("chat-rename"));
            if ui.input(|input| input.key_pressed(egui::Key::Escape)) {
                (self.renaming, self.back_to) = (None, Some(id));
            } else if edit.lost_focus() {
                let title = std::mem::take(text);
                // Who leaves it by a key goes on from there; who clicked elsewhere is elsewhere.
                self.back_to = ui.input(|input| input.key_pressed(egui::Key::Enter)).then_some(id);
                self.renaming = None;
                // Without a name it could not be clicked.
                if !title.trim().is_empty() {
                    desk.rename_chat(id, title.trim().to_owned());
                }
            } else if std::mem::take(&mut self.focus) {
                edit.request_focus();
            }
            return;
        }
        // A layout without a size takes all the height that is left.
        let size = vec2(ui.available_width(), ui.spacing().interact_size.y);
        ui.allocate_ui_with_layout(size, Layout::right_to_left(Align::Center), |ui| {
            let menu = ui.menu_button("⋯", |ui| {
                if ui.button(t.get("chat-rename")).clicked() {
                    self.renaming = Some((id, title.to_owned()));
                    self.focus = true;
                    ui.close();
                }
                for (kind, key) in
                    ChatFile::ALL.into_iter().zip(["chat-export-json", "chat-export-md", "chat-export-text"])
                {
                    if ui.button(t.get(key)).clicked() {
                        let place = desk.download(title, kind.extension());
                        dialog::ask_where(ui, Purpose::SaveChat(id, kind), t.get(key), place);
                        ui.close();
                    }
                }
                if ui.button(t.get("chat-delete-chat")).clicked() {
                    self.deleting = Some(id);
                    ui.close();
                }
            });
            let name = t.with("chat-menu-of", &[("title", title.into())]);
            menu.response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
            ui.with_layout(Layout::left_to_right(Align::Center).with_main_justify(true), |ui| {
                let label = egui::Button::selectable(desk.chat.id == id, title).truncate();
                let response = ui.add(label);
                if self.back_to.take_if(|back| *back == id).is_some() {
                    response.request_focus();
                }
                if response.clicked() {
                    desk.open_chat(id);
                    *page = Page::Chat;
                }
            });
        });
    }

    fn confirm(&mut self, ctx: &egui::Context, desk: &mut Desk, t: &Texts) {
        let Some(id) = self.deleting else { return };
        let title = desk.chats.iter().find(|chat| chat.id == id).map(|chat| chat.title.clone()).unwrap_or_default();
        let modal = egui::Modal::new(egui::Id::unique("delete-chat")).show(ctx, |ui| {
            ui.label(t.with("chat-delete-question", &[("title", title.as_str().into())]));
            ui.horizontal(|ui| {
                if ui.button(t.get("common-delete")).clicked() {
                    desk.delete_chat(id);
                    self.deleting = None;
                }
                if ui.button(t.get("common-cancel")).clicked() {
                    self.deleting = None;
                }
            });
        });
        if modal.should_close() {
            self.deleting = None;
        }
    }
}
