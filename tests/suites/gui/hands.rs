//! Hands and eyes: a window without a display, and what a person does to it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use eframe::egui::{DroppedFile, DroppedFileHandle, Event, Key, Modifiers, OutputCommand, Pos2, Rect, Role, Vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use guanaco::desk::tokens::Token;
use guanaco::desk::{Desk, News};
use guanaco::gui::dialog::Answer;
use guanaco::gui::{App, Start};
use guanaco::tree::{Node, NodeId};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A widget as a screen reader finds it.
pub(crate) type Seen<'a> = egui_kittest::Node<'a>;

/// A file that is dropped.
#[derive(Debug)]
struct Dropped(PathBuf);

impl DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

/// A window on a data folder of its own.
pub(crate) struct Hands {
    /// The window.
    pub(crate) window: Harness<'static, App>,
    folder: tempfile::TempDir,
    size: Vec2,
}

impl Hands {
    /// A new window in English, once the embedded model answers.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::open(tempfile::tempdir()?, [1180.0, 780.0])
    }

    /// The same of another size.
    pub(crate) fn open(folder: tempfile::TempDir, size: [f32; 2]) -> anyhow::Result<Self> {
        let path = folder.path().to_owned();
        let window = Harness::builder()
            .with_size(size)
            .with_max_steps(40)
            .wgpu()
            .build_eframe(|context| App::new(&context.egui_ctx, path, &Start::default()));
        let mut hands = Self { window, folder, size: size.into() };
        hands.desk().window.locale = Some("en".to_owned());
        hands.brief();
        hands.desk().downloads = hands.folder.path().to_owned();
        // Nobody is there to choose: what is to be saved goes where it is proposed.
        hands.window.state_mut().answer_dialogs(Box::new(|ask| match &ask.place {
            Some(place) => Answer::Chosen(vec![place.clone()]),
            None => Answer::Cancelled,
        }));
        hands.desk().program = env!("CARGO_BIN_EXE_guanaco").into();
        hands.wait(|desk| desk.model.ready().is_some())?;
        hands.steps(3);
        Ok(hands)
    }

    /// Closes the window, and keeps its folder.
    pub(crate) fn close(self) -> tempfile::TempDir {
        let Self { window, folder, .. } = self;
        drop(window);
        folder
    }

    /// Closes the window and opens it anew on the same data.
    pub(crate) fn restart(mut self) -> anyhow::Result<Self> {
        ensure!(self.desk().leave(PATIENCE), "not all was saved");
        let Self { window, folder, .. } = self;
        drop(window);
        Self::open(folder, [1180.0, 780.0])
    }

    #[expect(clippy::expect_used, reason = "without a store there is nothing to do by hand")]
    pub(crate) fn desk(&mut self) -> &mut Desk {
        self.window.state_mut().desk().expect("the store is open")
    }

    pub(crate) fn path(&mut self) -> Vec<Node> {
        self.desk().chat.tree.path().into_iter().cloned().collect()
    }

    pub(crate) fn steps(&mut self, n: usize) {
        for _ in 0..n {
            self.window.step();
        }
    }

    /// Frames until `done`.
    pub(crate) fn wait(&mut self, done: impl Fn(&mut Desk) -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !done(self.desk()) {
            ensure!(start.elapsed() < PATIENCE, "nothing came of it: {}", self.labels().join(" | "));
            self.window.step();
            std::thread::sleep(Duration::from_millis(5));
        }
        self.steps(2);
        Ok(())
    }

    pub(crate) fn wait_for_answer(&mut self) -> anyhow::Result<()> {
        self.steps(2);
        self.wait(|desk| desk.answering().is_none())?;
        let failed = |news: &&News| matches!(news, News::Failed(_) | News::DeviceLost(_) | News::NoModel);
        let news: Vec<_> = self.news().iter().filter(failed).collect();
        ensure!(news.is_empty(), "{news:?}");
        Ok(())
    }

    /// Types into the message field.
    pub(crate) fn type_text(&mut self, text: &str) -> anyhow::Result<()> {
        let field = self.window.query_by_label("Message").context("the message field")?;
        field.focus();
        self.steps(2);
        self.window.event(Event::Text(text.to_owned()));
        self.steps(2);
        Ok(())
    }

    /// Types and sends a message, without waiting.
    pub(crate) fn send(&mut self, text: &str) -> anyhow::Result<()> {
        self.type_text(text)?;
        self.click("➤ Send")
    }

    /// Types and sends a message, and waits for the answer.
    pub(crate) fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.send(text)?;
        self.wait_for_answer()
    }

    pub(crate) fn click(&mut self, label: &str) -> anyhow::Result<()> {
        self.nth(label, |count| count.checked_sub(1))
    }

    pub(crate) fn click_first(&mut self, label: &str) -> anyhow::Result<()> {
        self.nth(label, |_| Some(0))
    }

    pub(crate) fn click_last(&mut self, label: &str) -> anyhow::Result<()> {
        self.nth(label, |count| count.checked_sub(1))
    }

    /// What is called so: what can be used before what only says so.
    fn found(&self, label: &str) -> Vec<Seen<'_>> {
        let says = |node: &Seen<'_>| node.accesskit_node().role() == Role::Label;
        let name = |node: &Seen<'_>| {
            node.accesskit_node().label().or_else(|| node.accesskit_node().value().filter(|_| says(node)))
        };
        let mut found: Vec<_> = self.nodes().filter(|node| name(node).as_deref() == Some(label)).collect();
        if !found.iter().all(says) {
            found.retain(|node| !says(node));
        }
        found
    }

    fn nth(&mut self, label: &str, which: impl Fn(usize) -> Option<usize>) -> anyhow::Result<()> {
        let found = self.found(label);
        let chosen = which(found.len()).and_then(|at| found.get(at));
        let Some(node) = chosen else { bail!("no {label:?} in the window: {}", self.labels().join(" | ")) };
        ensure!(!node.accesskit_node().is_disabled(), "{label:?} cannot be clicked now");
        let window = Rect::from_min_size(Pos2::ZERO, self.size);
        if !window.contains(node.rect().center()) {
            node.scroll_to_me();
            self.steps(3);
            return self.click_at(label, which);
        }
        node.click();
        self.steps(3);
        Ok(())
    }

    /// Clicks what was scrolled to.
    fn click_at(&mut self, label: &str, which: impl Fn(usize) -> Option<usize>) -> anyhow::Result<()> {
        let found = self.found(label);
        let chosen = which(found.len()).and_then(|at| found.get(at));
        chosen.with_context(|| format!("{label:?} is gone"))?.click();
        self.steps(3);
        Ok(())
    }

    /// Clicks `label`, and returns what that put on the clipboard.
    pub(crate) fn copied(&mut self, label: &str) -> anyhow::Result<String> {
        let copied = self.asked(label, |command| match command {
            OutputCommand::CopyText(text) => Some(text.clone()),
            _ => None,
        })?;
        copied.with_context(|| format!("{label:?} copied nothing"))
    }

    /// Clicks `label`, and returns the link that the desktop is asked to open.
    pub(crate) fn opened(&mut self, label: &str) -> anyhow::Result<Option<String>> {
        self.asked(label, |command| match command {
            OutputCommand::OpenUrl(open) => Some(open.url.clone()),
            _ => None,
        })
    }

    /// Clicks `label`, and returns what that asks of the desktop, if it is what `pick` looks for.
    fn asked(
        &mut self,
        label: &str,
        pick: impl Fn(&OutputCommand) -> Option<String>,
    ) -> anyhow::Result<Option<String>> {
        self.found(label).last().with_context(|| format!("no {label:?}: {}", self.labels().join(" | ")))?.click();
        for _ in 0..4 {
            self.window.step();
            if let Some(found) = self.window.output().platform_output.commands.iter().find_map(&pick) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Clicks the button whose label ends in `text`.
    pub(crate) fn click_containing(&mut self, text: &str) -> anyhow::Result<()> {
        let label = format!("%  {text}");
        let found: Vec<_> = self.window.query_all_by_label_contains(&label).collect();
        found.first().with_context(|| format!("no {text:?}: {}", self.labels().join(" | ")))?.click();
        self.steps(3);
        Ok(())
    }

    /// Clicks the token at `index` of those that are shown.
    pub(crate) fn click_token(&mut self, index: usize) -> anyhow::Result<()> {
        let found: Vec<_> = self.window.query_all_by_label_contains("Token ").collect();
        found.get(index).with_context(|| format!("no token {index}: {}", self.labels().join(" | ")))?.click();
        self.steps(3);
        Ok(())
    }

    /// Replaces the text of the field that holds `old`.
    pub(crate) fn retype(&mut self, old: &str, new: &str) -> anyhow::Result<()> {
        let found: Vec<_> = self.window.query_all_by_value(old).collect();
        found.first().with_context(|| format!("no field with {old:?}"))?.focus();
        self.steps(2);
        self.window.key_press_modifiers(Modifiers::COMMAND, Key::A);
        self.steps(2);
        self.window.event(Event::Text(new.to_owned()));
        self.steps(2);
        Ok(())
    }

    /// The tokens that are kept of a message.
    pub(crate) fn tokens(&mut self, node: NodeId) -> anyhow::Result<Vec<Token>> {
        self.desk().tokens(node).map(Cow::into_owned).context("no tokens are kept")
    }

    /// Keeps the answers of the open chat short, and so the suite quick.
    pub(crate) fn brief(&mut self) {
        self.desk().chat.settings.max_new_tokens = 24;
    }

    /// What the window tells.
    pub(crate) fn news(&self) -> &[News] {
        self.window.state().news()
    }

    /// The folder of chats, settings, and what is taken away.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Opens a page by its key.
    pub(crate) fn page(&mut self, number: Key) {
        self.press_with(Modifiers::COMMAND, number);
    }

    /// Presses a key.
    pub(crate) fn press(&mut self, key: Key) {
        self.window.key_press(key);
        self.steps(3);
    }

    /// Presses a key with others held.
    pub(crate) fn press_with(&mut self, modifiers: Modifiers, key: Key) {
        self.window.key_press_modifiers(modifiers, key);
        self.steps(3);
    }

    /// Types where the keyboard is.
    pub(crate) fn write(&mut self, text: &str) {
        self.window.event(Event::Text(text.to_owned()));
        self.steps(2);
    }

    /// The name of what has the keyboard.
    pub(crate) fn focused(&self) -> Option<String> {
        self.nodes().find(|node| node.is_focused()).and_then(|node| node.accesskit_node().label())
    }

    /// Goes on with Tab until the keyboard is at `name`.
    pub(crate) fn tab_to(&mut self, name: &str) -> anyhow::Result<()> {
        self.walk_to(Modifiers::NONE, name)
    }

    /// Goes back with Shift and Tab until the keyboard is at `name`.
    pub(crate) fn tab_back_to(&mut self, name: &str) -> anyhow::Result<()> {
        self.walk_to(Modifiers::SHIFT, name)
    }

    fn walk_to(&mut self, modifiers: Modifiers, name: &str) -> anyhow::Result<()> {
        let mut met = Vec::new();
        for _ in 0..150 {
            self.window.key_press_modifiers(modifiers, Key::Tab);
            self.steps(1);
            let focused = self.focused();
            if focused.as_deref() == Some(name) {
                return Ok(());
            }
            met.push(focused.unwrap_or_default());
        }
        bail!("Tab does not come to {name:?}: {}", met.join(" | "))
    }

    /// Drops files or folders on the window.
    pub(crate) fn drop_files(&mut self, paths: &[&Path]) {
        let files = paths.iter().map(|path| Arc::new(Dropped(path.to_path_buf())) as DroppedFileHandle);
        self.window.input_mut().dropped_files.extend(files);
        self.steps(4);
    }

    /// Gives a field the keyboard and types into it.
    pub(crate) fn fill(&mut self, field: &str, text: &str) -> anyhow::Result<()> {
        self.click(field)?;
        self.write(text);
        Ok(())
    }

    /// Opens the list `list` and picks `entry` of it.
    pub(crate) fn pick(&mut self, list: &str, entry: &str) -> anyhow::Result<()> {
        self.click(list)?;
        // A long list scrolls.
        self.found(entry).last().with_context(|| format!("no {entry:?} in {list:?}"))?.scroll_to_me();
        self.steps(3);
        self.click_last(entry)
    }

    /// Moves a slider by pressing `key` on it.
    pub(crate) fn slide(&mut self, slider: &str, key: Key, times: usize) -> anyhow::Result<()> {
        let found: Vec<_> = self.window.query_all_by_label(slider).collect();
        found.first().with_context(|| format!("no slider {slider:?}: {}", self.labels().join(" | ")))?.focus();
        self.steps(2);
        for _ in 0..times {
            self.window.key_press(key);
            self.steps(1);
        }
        self.steps(2);
        Ok(())
    }

    /// Frames until the window shows `text`.
    pub(crate) fn wait_to_see(&mut self, text: &str) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.sees(text) {
            ensure!(start.elapsed() < PATIENCE, "no {text:?} in the window: {}", self.labels().join(" | "));
            self.window.step();
            std::thread::sleep(Duration::from_millis(5));
        }
        self.steps(2);
        Ok(())
    }

    /// Whether what has the keyboard is inside of the window, as far as it is large.
    pub(crate) fn sees_focused(&self) -> bool {
        let window = Rect::from_min_size(Pos2::ZERO, self.size);
        self.nodes().find(|node| node.is_focused()).is_some_and(|node| window.contains_rect(node.rect()))
    }

    /// Types a number into the field of a slider, or into one that stands alone.
    pub(crate) fn number(&mut self, name: &str, value: impl std::fmt::Display) -> anyhow::Result<()> {
        let found = self.found(name);
        let field = found.iter().find(|node| node.accesskit_node().role() == Role::SpinButton);
        field.with_context(|| format!("no number {name:?}: {}", self.labels().join(" | ")))?.click();
        self.steps(3);
        self.press_with(Modifiers::COMMAND, Key::A);
        self.write(&value.to_string());
        self.press(Key::Enter);
        Ok(())
    }

    /// Everything that a screen reader finds.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Seen<'_>> {
        let root = self.window.root();
        std::iter::once(root).chain(root.children_recursive())
    }

    /// Whether some label or value has `text` in it.
    pub(crate) fn sees(&self, text: &str) -> bool {
        self.labels().iter().any(|label| label.contains(text))
    }

    /// Every label, and the value of what has none.
    pub(crate) fn labels(&self) -> Vec<String> {
        let name = |node: Seen<'_>| node.accesskit_node().label().or_else(|| node.accesskit_node().value());
        // The lines of a text say it once more.
        self.nodes().filter(|node| node.accesskit_node().role() != Role::TextRun).filter_map(name).collect()
    }
}
