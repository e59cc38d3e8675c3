//! Above every page: the model in a line, and what must be told.

use eframe::egui::{self, Ui};

use super::Open;
use crate::desk::News;
use crate::desk::model::ModelState;
use crate::gui::page::Page;
use crate::gui::text::Texts;
use crate::gui::widgets::{icon_button, named, small, warning};

impl Open {
    /// The model, in a line; and what must be told.
    pub(super) fn status(&mut self, ui: &mut Ui, t: &Texts) {
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
                        warning(ui, t.get("model-software"));
                    }
                    if !model.fallbacks.is_empty() {
                        let count = t.with("model-fallbacks", &[("n", model.fallbacks.len().into())]);
                        warning(ui, &count).on_hover_text(model.fallbacks.join("\n"));
                    }
                }
                ModelState::Failed(reason) => drop(warning(ui, reason)),
            }
            if self.page == Page::Chat {
                if named(ui.selectable_label(self.shows_panel(), "☰"), t.get("prompt-panel")).clicked() {
                    self.toggle_panel();
                }
                if icon_button(ui, "🔍", t.get("chat-search-open")).clicked() {
                    self.search();
                }
            }
            if self.desk.can_undo() && ui.button(format!("↩ {}", t.get("common-undo"))).clicked() {
                self.desk.undo();
            }
        });
        if let Some(problem) = self.desk.save_problem() {
            warning(ui, &t.with("common-save-problem", &[("reason", problem.as_str().into())]));
        }
        let mut told = None;
        for (index, news) in self.news.iter().enumerate() {
            ui.horizontal_wrapped(|ui| {
                let text = match news {
                    News::DeviceLost(reason) => t.with("model-device-lost", &[("reason", reason.as_str().into())]),
                    News::Done(path) => format!("✔ {path}"),
                    News::Failed(reason) => reason.clone(),
                    News::NotLoaded(name) => t.with("model-not-loaded", &[("name", name.as_str().into())]),
                    News::CharactersGone(n) => t.with("chat-characters-gone", &[("n", (*n).into())]),
                    News::OnlyInCharx(n) => t.with("library-only-charx", &[("n", (*n).into())]),
                    News::NoModel => t.get("chat-no-model").to_owned(),
                    News::NothingSaid => t.get("chat-nothing-said").to_owned(),
                    News::Warning(what) => what.clone(),
                };
                match news {
                    News::Done(_) => small(ui, text),
                    _ => warning(ui, &text),
                };
                if icon_button(ui, "✖", t.get("common-close")).clicked() {
                    told = Some(index);
                }
            });
        }
        if let Some(index) = told {
            self.news.remove(index);
        }
    }
}
