//! The window's frame: pages on the left, the builder on the right, the page in the middle, news above it.

mod files;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eframe::egui::{self, Key, KeyboardShortcut, Modifiers, Panel, Ui};

use super::builder::Builder;
use super::chat::ChatView;
use super::dialog::{Dialogs, Person};
use super::gpu::GpuView;
use super::library::LibraryView;
use super::models::ModelsView;
use super::nav::Nav;
use super::page::Page;
use super::text::{Locale, Texts};
use super::{Start, fonts, settings, theme};
use crate::desk::model::ModelState;
use crate::desk::settings::WindowSettings;
use crate::desk::{Desk, News};
use crate::store::{Store, StoreError};

/// How long the window stays to save what is left when it is closed.
const LAST_SAVE: Duration = Duration::from_secs(5);

/// The window.
pub struct App {
    folder: PathBuf,
    start: Start,
    t: Texts,
    /// What is shown of the window's settings: fonts and colours follow when they change.
    shown: Option<WindowSettings>,
    inner: Inner,
}

/// The desk, or why there is none.
enum Inner {
    Desk(Box<Open>),
    Closed(Closed),
}

/// Why there is no desk.
struct Closed {
    reason: String,
    /// The file is damaged: a new one can take its place.
    damaged: bool,
}

struct Open {
    desk: Desk,
    page: Page,
    nav: Nav,
    chat: ChatView,
    builder: Builder,
    library: LibraryView,
    models: ModelsView,
    gpu: GpuView,
    dialogs: Dialogs,
    news: Vec<News>,
    tabs: Tabs,
}

/// Brings what Tab has come to into view: egui moves the keyboard there, and leaves it behind an edge.
#[derive(Debug, Default)]
struct Tabs {
    /// Frames in which the keyboard may still move.
    left: u8,
    at: Option<egui::Id>,
}

impl Tabs {
    fn follow(&mut self, ctx: &egui::Context) {
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

impl App {
    /// The window on the store in `folder`.
    pub fn new(ctx: &egui::Context, folder: PathBuf, start: &Start) -> Self {
        let inner = open(ctx, &folder, start);
        Self { start: start.clone(), folder, t: Texts::new(Locale::from_system()), shown: None, inner }
    }

    /// The desk, for tests.
    pub fn desk(&mut self) -> Option<&mut Desk> {
        match &mut self.inner {
            Inner::Desk(open) => Some(&mut open.desk),
            Inner::Closed(_) => None,
        }
    }

    /// What the window tells at the moment, for tests.
    pub fn news(&self) -> &[News] {
        match &self.inner {
            Inner::Desk(open) => &open.news,
            Inner::Closed(_) => &[],
        }
    }

    /// Has `person` answer where a dialog would ask for a file, for tests.
    pub fn answer_dialogs(&mut self, person: Person) {
        if let Inner::Desk(open) = &mut self.inner {
            open.dialogs.answer_by(person);
        }
    }

    /// Sets the damaged file of the chats aside and opens a new one, and says where the old one is.
    fn begin_anew(&mut self, ctx: &egui::Context) {
        match Store::set_aside(&self.folder) {
            Ok(aside) => {
                self.inner = open(ctx, &self.folder, &self.start);
                if let Inner::Desk(open) = &mut self.inner {
                    let path = aside.display().to_string();
                    open.news
                        .push(News::Warning(self.t.with("common-set-aside-done", &[("path", path.as_str().into())])));
                }
            }
            Err(error) => self.inner = Inner::Closed(Closed { reason: error.to_string(), damaged: true }),
        }
    }

    /// Makes language, fonts, colours and size what they are set to.
    fn look(&mut self, ctx: &egui::Context) {
        let Inner::Desk(open) = &mut self.inner else { return };
        let settings = open.desk.window.clone();
        if self.shown.as_ref() == Some(&settings) {
            return;
        }
        let locale = settings.locale.as_deref().and_then(Locale::from_tag).unwrap_or_else(Locale::from_system);
        if self.shown.as_ref().is_none_or(|shown| shown.locale != settings.locale) {
            self.t = Texts::new(locale);
            fonts::install(ctx, locale);
            open.desk.set_language(locale.language());
        }
        theme::install(ctx, &settings.theme);
        ctx.set_zoom_factor(settings.scale.clamp(0.5, 3.0));
        self.shown = Some(settings);
    }
}

fn open(ctx: &egui::Context, folder: &std::path::Path, start: &Start) -> Inner {
    let repaint = ctx.clone();
    match Desk::open(folder, Arc::new(move || repaint.request_repaint())) {
        Ok(mut desk) => {
            if start.model.is_some() {
                desk.choice.path.clone_from(&start.model);
            }
            if start.adapter.is_some() {
                desk.choice.adapter.clone_from(&start.adapter);
            }
            desk.load();
            Inner::Desk(Box::new(Open {
                desk,
                page: Page::default(),
                nav: Nav::default(),
                chat: ChatView::default(),
                builder: Builder::default(),
                library: LibraryView::default(),
                models: ModelsView::default(),
                gpu: GpuView::default(),
                dialogs: Dialogs::default(),
                news: Vec::new(),
                tabs: Tabs::default(),
            }))
        }
        Err(error) => {
            Inner::Closed(Closed { damaged: matches!(error, StoreError::Damaged { .. }), reason: error.to_string() })
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &egui::Context, _frame: &mut eframe::Frame) {
        if let Inner::Desk(open) = &mut self.inner {
            open.desk.poll();
            open.chosen(&self.t);
            open.news.append(&mut open.desk.news);
            open.desk.looks_at_lore &= open.page == Page::Library;
            // What streams, or was typed, is saved in time though nothing else happens.
            if open.desk.answering().is_some() || open.desk.has_unsaved_characters() {
                ctx.request_repaint_after(Duration::from_millis(250));
            }
        }
        self.look(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, frame: &mut eframe::Frame) {
        match &mut self.inner {
            Inner::Desk(open) => {
                open.ui(ui, &self.t);
                open.dialogs.show(ui.ctx(), frame);
            }
            Inner::Closed(why) => match closed(ui, why, &self.t) {
                Some(Way::Again) => self.inner = self::open(ui.ctx(), &self.folder, &self.start),
                Some(Way::Anew) => self.begin_anew(ui.ctx()),
                None => {}
            },
        }
    }

    fn on_exit(&mut self) {
        if let Inner::Desk(open) = &mut self.inner {
            open.desk.leave(LAST_SAVE);
        }
    }
}

/// What to do about a store that cannot be opened.
enum Way {
    /// Try it again.
    Again,
    /// Set the damaged file aside, and begin a new one.
    Anew,
}

/// What is shown when the store cannot be opened.
fn closed(ui: &mut Ui, why: &Closed, t: &Texts) -> Option<Way> {
    let mut way = None;
    egui::CentralPanel::default().show(ui, |ui| {
        ui.vertical_centered(|ui| {
            ui.add_space(ui.available_height() * 0.3);
            ui.heading(t.get("common-not-open"));
            ui.label(&why.reason);
            if ui.button(t.get("common-retry")).clicked() {
                way = Some(Way::Again);
            }
            if why.damaged {
                ui.add_space(12.0);
                ui.label(t.get("common-set-aside-hint"));
                if ui.button(t.get("common-set-aside")).clicked() {
                    way = Some(Way::Anew);
                }
            }
        });
    });
    way
}

/// Names the edge of the panel `id` that is dragged, in the window's language: egui names it in English.
fn name_edge(ui: &Ui, id: &str, t: &Texts) {
    let edge = ui.scope_id().with(id).with("__resize");
    if ui.ctx().has_accesskit_node(edge) {
        ui.ctx().accesskit_node_builder(edge, |node| node.set_label(t.get("common-resize")));
    }
}

impl Open {
    fn ui(&mut self, ui: &mut Ui, t: &Texts) {
        let before = self.page;
        self.tabs.follow(ui.ctx());
        self.keys(ui.ctx());
        let narrow = ui.available_width() < 700.0;
        Panel::left("nav").default_size(if narrow { 150.0 } else { 210.0 }).show(ui, |ui| {
            self.nav.ui(ui, &mut self.desk, t, &mut self.page);
        });
        name_edge(ui, "nav", t);
        Panel::top("status").show(ui, |ui| self.status(ui, t));
        if self.page == Page::Chat && self.desk.window.prompt_panel {
            Panel::right("builder").default_size(if narrow { 200.0 } else { 320.0 }).show(ui, |ui| {
                self.builder.ui(ui, &mut self.desk, t);
            });
            name_edge(ui, "builder", t);
        }
        egui::CentralPanel::default().show(ui, |ui| match self.page {
            Page::Chat => self.chat.ui(ui, &mut self.desk, t),
            Page::Library => {
                if self.library.ui(ui, &mut self.desk, t) {
                    self.page = Page::Chat;
                }
            }
            Page::Models => self.models.ui(ui, &mut self.desk, t),
            Page::Gpu => self.gpu.ui(ui, &mut self.desk, t),
            Page::Settings => settings::ui(ui, &mut self.desk, t),
        });
        self.dropped(ui.ctx());
        if before == Page::Gpu && self.page != Page::Gpu {
            self.gpu.leave();
        }
        if self.page == Page::Chat && before != Page::Chat {
            self.chat.take_keyboard(ui.ctx());
        }
    }

    fn keys(&mut self, ctx: &egui::Context) {
        let command = |key| KeyboardShortcut::new(Modifiers::COMMAND, key);
        let pressed = |key| ctx.input_mut(|input| input.consume_shortcut(&command(key)));
        for (page, key) in Page::ALL.into_iter().zip([Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5]) {
            if pressed(key) {
                self.page = page;
            }
        }
        if pressed(Key::N) {
            self.desk.new_chat();
            self.page = Page::Chat;
        }
        if pressed(Key::F) {
            self.chat.open_search();
            self.page = Page::Chat;
        }
        if pressed(Key::P) {
            self.desk.window.prompt_panel = !self.desk.window.prompt_panel;
            self.desk.save_window();
        }
        // With something typed, these keys are the field's.
        if self.page == Page::Chat && self.desk.chat.draft.is_empty() {
            for (key, by) in [(Key::ArrowLeft, -1), (Key::ArrowRight, 1)] {
                if ctx.input_mut(|input| input.consume_key(Modifiers::ALT, key)) {
                    self.chat.swipe_last(&mut self.desk, by);
                }
            }
        }
        // In a field with a text, Ctrl+Z is the text's.
        let typing =
            ctx.egui_wants_keyboard_input() && !(self.desk.chat.draft.is_empty() && self.chat.has_keyboard(ctx));
        if !typing && self.desk.can_undo() && pressed(Key::Z) {
            self.desk.undo();
        }
        if ctx.input(|input| input.key_pressed(Key::Escape)) && self.desk.answering().is_some() {
            self.desk.stop();
        }
    }

    /// The model, in a line; and what must be told.
    fn status(&mut self, ui: &mut Ui, t: &Texts) {
        ui.horizontal_wrapped(|ui| {
            match &self.desk.model {
                ModelState::None => drop(ui.label(t.get("model-none"))),
                ModelState::Reading(load) => {
                    ui.spinner();
                    ui.label(t.with("model-reading", &[("name", load.name.as_str().into())]));
                }
                ModelState::Loading(load, opened) => {
                    let share = opened.progress.done as f32 / (opened.progress.total.max(1)) as f32;
                    let text = t.with("model-loading", &[("name", load.name.as_str().into())]);
                    ui.add(egui::ProgressBar::new(share).desired_width(220.0).text(text));
                    if ui.button(t.get("common-cancel")).clicked() {
                        load.stop();
                    }
                }
                ModelState::Ready(model) => {
                    let device = &model.adapter.name;
                    let names = [("name", model.files.name.as_str().into()), ("device", device.as_str().into())];
                    ui.label(t.with("model-ready", &names));
                    if model.adapter.is_cpu() {
                        super::widgets::warning(ui, t.get("model-software"));
                    }
                    if !model.fallbacks.is_empty() {
                        let count = t.with("model-fallbacks", &[("n", model.fallbacks.len().into())]);
                        super::widgets::warning(ui, &count).on_hover_text(model.fallbacks.join("\n"));
                    }
                }
                ModelState::Failed(reason) => drop(super::widgets::warning(ui, reason)),
            }
            if self.desk.can_undo() && ui.button(format!("↩ {}", t.get("common-undo"))).clicked() {
                self.desk.undo();
            }
        });
        if let Some(problem) = self.desk.save_problem() {
            super::widgets::warning(ui, &t.with("common-save-problem", &[("reason", problem.as_str().into())]));
        }
        let mut told = None;
        for (index, news) in self.news.iter().enumerate() {
            ui.horizontal_wrapped(|ui| {
                let text = match news {
                    News::DeviceLost(reason) => t.with("model-device-lost", &[("reason", reason.as_str().into())]),
                    News::Done(path) => format!("✔ {path}"),
                    News::Failed(reason) => reason.clone(),
                    News::Warning(what) => what.clone(),
                };
                match news {
                    News::Done(_) => super::widgets::small(ui, text),
                    _ => super::widgets::warning(ui, &text),
                };
                if super::widgets::icon_button(ui, "✖", t.get("common-close")).clicked() {
                    told = Some(index);
                }
            });
        }
        if let Some(index) = told {
            self.news.remove(index);
        }
    }
}
