//! Hands and eyes: a window without a display, and what a person does to it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use eframe::egui::{Event, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use guanaco::desk::Desk;
use guanaco::gui::{App, Start};
use guanaco::tree::Node;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A window on a data folder of its own.
pub(crate) struct Hands {
    /// The window.
    pub(crate) window: Harness<'static, App>,
    folder: tempfile::TempDir,
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
        let mut hands = Self { window, folder };
        hands.desk().window.locale = Some("en".to_owned());
        hands.wait(|desk| desk.model.ready().is_some())?;
        hands.steps(3);
        Ok(hands)
    }

    /// Closes the window and opens it anew on the same data.
    pub(crate) fn restart(mut self) -> anyhow::Result<Self> {
        ensure!(self.desk().leave(PATIENCE), "not all was saved");
        let Self { window, folder } = self;
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
            ensure!(start.elapsed() < PATIENCE, "nothing came of it; the model is {:?}", self.desk().model);
            self.window.step();
            std::thread::sleep(Duration::from_millis(5));
        }
        self.steps(2);
        Ok(())
    }

    pub(crate) fn wait_for_answer(&mut self) -> anyhow::Result<()> {
        self.steps(2);
        self.wait(|desk| desk.answering().is_none())?;
        let news = self.desk().news.clone();
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

    fn nth(&mut self, label: &str, which: impl Fn(usize) -> Option<usize>) -> anyhow::Result<()> {
        let found: Vec<_> = self.window.query_all_by_label(label).collect();
        let chosen = which(found.len()).and_then(|at| found.get(at));
        let Some(node) = chosen else { bail!("no {label:?} in the window: {}", self.labels().join(" | ")) };
        node.click();
        self.steps(3);
        Ok(())
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

    /// Whether some label or value has `text` in it.
    pub(crate) fn sees(&self, text: &str) -> bool {
        self.labels().iter().any(|label| label.contains(text))
    }

    fn labels(&self) -> Vec<String> {
        let root = self.window.root();
        let all = std::iter::once(root).chain(root.children_recursive());
        all.filter_map(|node| node.accesskit_node().label().or_else(|| node.accesskit_node().value())).collect()
    }
}
