//! The window's frame: pages on the left, the builder on the right, the page in the middle, news above it.

mod closed;
mod files;
mod status;
mod tabs;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use eframe::egui::{self, Key, KeyboardShortcut, Modifiers, Panel, Ui};

use self::closed::{Closed, Way};
use self::tabs::{Tabs, name_edge};
use super::builder::Builder;
use super::chat::ChatView;
use super::dialog::{Dialogs, Person};
use super::gpu::GpuView;
use super::library::LibraryView;
use super::models::ModelsView;
use super::nav::Nav;
use super::page::Page;
use super::text::{Locale, Texts};
use super::{Start, fonts, links, settings, theme};
use crate::desk::settings::{ModelChoice, WindowSettings};
use crate::desk::{Desk, News};
use crate::store::Store;

/// How long the window stays to save what is left when it is closed.
const LAST_SAVE: Duration = Duration::from_secs(5);
/// The least width, in points, in which the prompt's panel stands beside the chat.
const LEAST_BESIDE: f32 = 640.0;

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
    /// The window is wide enough for the prompt's panel beside the chat.
    has_room: bool,
    /// Where it is not: the panel is shown in the chat's place.
    panel_alone: bool,
}

impl App {
    /// The window on the store in `folder`.
    pub fn new(ctx: &egui::Context, folder: PathBuf, start: &Start) -> Self {
        let inner = open(ctx, &folder, start);
        if matches!(inner, Inner::Closed(_)) {
            // What says so is read before any setting can be.
            fonts::install(ctx, Locale::from_system());
            theme::install(ctx, "system");
        }
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
                // What was set for another model is none of this one's: its LoRAs would not even fit.
                let adapter = desk.choice.adapter.take();
                desk.choice = ModelChoice { path: start.model.clone(), adapter, ..ModelChoice::default() };
            }
            if start.adapter.is_some() {
                desk.choice.adapter.clone_from(&start.adapter);
            }
            let named = start.model.is_some() || start.adapter.is_some();
            if named {
                desk.load();
            }
            // Where it is not loaded, another can be chosen.
            let page = if named || desk.load_again() { Page::default() } else { Page::Models };
            Inner::Desk(Box::new(Open {
                desk,
                page,
                nav: Nav::default(),
                chat: ChatView::default(),
                builder: Builder::default(),
                library: LibraryView::default(),
                models: ModelsView::default(),
                gpu: GpuView::default(),
                dialogs: Dialogs::default(),
                news: Vec::new(),
                tabs: Tabs::default(),
                has_room: true,
                panel_alone: false,
            }))
        }
        Err(error) => Inner::Closed(error.into()),
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
            if open.desk.answering().is_some() || open.desk.has_unsaved() {
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
                for link in links::take_others(ui.ctx()) {
                    let refused =
                        format!("{link:?} is not opened: expected a link that begins with https:// or http://");
                    open.news.push(News::Failed(refused));
                }
            }
            Inner::Closed(why) => match closed::ui(ui, why, &self.t) {
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

impl Open {
    fn ui(&mut self, ui: &mut Ui, t: &Texts) {
        let before = self.page;
        self.tabs.follow(ui.ctx());
        self.keys(ui.ctx());
        let width = ui.available_width();
        let narrow = width < 700.0;
        Panel::left("nav").default_size(if narrow { 150.0 } else { 210.0 }).show(ui, |ui| {
            self.nav.ui(ui, &mut self.desk, t, &mut self.page);
        });
        name_edge(ui, "nav", t);
        Panel::top("status").show(ui, |ui| self.status(ui, t));
        self.has_room = width >= LEAST_BESIDE;
        let panel = self.page == Page::Chat && self.shows_panel();
        if panel && self.has_room {
            Panel::right("builder").default_size(if narrow { 200.0 } else { 320.0 }).show(ui, |ui| {
                self.builder.ui(ui, &mut self.desk, t);
            });
            name_edge(ui, "builder", t);
        }
        egui::CentralPanel::default().show(ui, |ui| match self.page {
            Page::Chat if panel && !self.has_room => self.builder.ui(ui, &mut self.desk, t),
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
        if before == Page::Models && self.page != Page::Models {
            self.models.leave();
        }
        if self.page == Page::Chat && before != Page::Chat {
            self.chat.take_keyboard(ui.ctx());
        }
    }

    /// Whether the prompt's panel is shown on the chat's page.
    fn shows_panel(&self) -> bool {
        if self.has_room { self.desk.window.prompt_panel } else { self.panel_alone }
    }

    /// Shows or hides the prompt's panel; beside the chat at the next start, too.
    fn toggle_panel(&mut self) {
        if self.has_room {
            self.desk.window.prompt_panel = !self.desk.window.prompt_panel;
            self.desk.save_window();
        } else {
            self.panel_alone = !self.panel_alone;
        }
    }

    fn search(&mut self) {
        self.chat.open_search();
        self.page = Page::Chat;
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
            self.search();
        }
        if pressed(Key::P) {
            self.toggle_panel();
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
}
