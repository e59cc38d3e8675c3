//! The GPU page: adapters, what they can do, and two runs in a process of their own: conformance and bench.

mod results;

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use eframe::egui::{ProgressBar, ScrollArea, TextEdit, Ui};
use guanaco_engine::gpu::{AdapterFacts, Tier, find_adapter, list_adapters_and_tiers};

use super::text::Texts;
use super::widgets::{small, warning};
use crate::cli::bench::history::Kept;
use crate::desk::job::{Job, Outcome, Work};
use crate::desk::{Desk, News};

/// What the page remembers.
#[derive(Default)]
pub(super) struct GpuView {
    /// The adapters, once they are found.
    adapters: Option<Found>,
    finding: Option<Receiver<Found>>,
    /// Only kernels with this in their name are run.
    filter: String,
    /// The kept runs of the bench, read when the page is opened and when a bench is over.
    history: Option<Vec<Kept>>,
}

/// The adapters, and what each can do.
type Found = (Vec<AdapterFacts>, Vec<Tier>);

impl GpuView {
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        ScrollArea::vertical().id_salt("gpu").auto_shrink(false).show(ui, |ui| {
            ui.heading(t.get("page-gpu"));
            self.adapters(ui, desk, t);
            ui.separator();
            if let Some(model) = desk.model.ready() {
                ui.label(t.with("gpu-in-use", &[("device", model.adapter.to_string().as_str().into())]));
                if model.fallbacks.is_empty() {
                    small(ui, format!("✔ {}", t.get("gpu-self-test-passed")));
                } else {
                    warning(ui, &t.with("model-fallbacks", &[("n", model.fallbacks.len().into())]));
                    for fallback in &model.fallbacks {
                        small(ui, fallback.as_str());
                    }
                }
            }
            ui.separator();
            self.runs(ui, desk, t);
        });
    }

    /// What is to be read anew when the page is opened the next time.
    pub(super) fn leave(&mut self) {
        self.history = None;
    }

    fn adapters(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        if let Some(found) = self.finding.as_ref().and_then(|finding| finding.try_recv().ok()) {
            (self.adapters, self.finding) = (Some(found), None);
        }
        if self.adapters.is_none() && self.finding.is_none() {
            let (send, receive) = channel();
            let ctx = ui.ctx().clone();
            // Opening every driver takes a while; without a thread the list stays empty.
            let _ = std::thread::Builder::new().name("guanaco adapters".to_owned()).spawn(move || {
                let _ = send.send(list_adapters_and_tiers().into_iter().unzip());
                ctx.request_repaint();
            });
            self.finding = Some(receive);
        }
        ui.label(t.get("gpu-adapters"));
        let Some((adapters, tiers)) = &self.adapters else {
            ui.spinner();
            return;
        };
        let asked = desk.choice.adapter.as_deref().filter(|asked| !asked.trim().is_empty());
        let current = asked.and_then(|asked| find_adapter(adapters, asked)).map(|facts| facts.index);
        let mut choice = None;
        if ui.radio(asked.is_none(), t.get("gpu-adapter-best")).clicked() && asked.is_some() {
            choice = Some(None);
        }
        for (adapter, tier) in adapters.iter().zip(tiers) {
            let alike = |other: &AdapterFacts| other.backend == adapter.backend && other.name == adapter.name;
            let several = adapters.iter().filter(|other| alike(other)).count() > 1;
            let name = if several { format!("{} #{}", adapter.name, adapter.ordinal) } else { adapter.name.clone() };
            let is_current = current == Some(adapter.index);
            let response = ui.radio(is_current, name).on_hover_text(adapter.to_string());
            if response.clicked() && !is_current {
                // The index may change with the next card: what it is called stays.
                choice = Some(Some(adapter.query()));
            }
            small(
                ui,
                format!(
                    "{} · {} · {:04x}:{:04x} · {}",
                    adapter.backend, adapter.kind, adapter.vendor, adapter.device, adapter.driver
                ),
            );
            features(ui, tier, t);
        }
        if let Some(choice) = choice {
            desk.choice.adapter = choice;
            desk.load();
        }
    }

    fn runs(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        let running = desk.job().is_some_and(|job| job.outcome.is_none());
        ui.add_enabled_ui(!running && desk.answering().is_none(), |ui| self.start(ui, desk, t));
        let mut end = false;
        if let Some(job) = desk.job().filter(|_| running) {
            end = progress(ui, job, t);
            // Until it ends, the file of kept runs may grow.
            self.history = None;
        }
        if end {
            desk.end_job();
        }
        let mut save = false;
        match desk.job().and_then(|job| job.outcome.as_ref()) {
            Some(Ok(outcome)) => {
                save = ui.button(t.get("gpu-save-report")).on_hover_text(t.get("gpu-save-report-hint")).clicked();
                match outcome {
                    Outcome::Conformance(report) => results::conformance(ui, report, t),
                    Outcome::Bench(report) => results::bench(ui, report, t),
                }
            }
            Some(Err(reason)) => drop(warning(ui, reason)),
            None => {}
        }
        if save {
            desk.save_report();
        }
        let read = |desk: &mut Desk| {
            desk.bench_history().unwrap_or_else(|error| {
                desk.news.push(News::Failed(format!("{error:#}")));
                Vec::new()
            })
        };
        results::history(ui, self.history.get_or_insert_with(|| read(desk)), t);
    }

    /// The buttons that begin a run.
    fn start(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        ui.horizontal_wrapped(|ui| {
            if ui.button(t.get("gpu-conformance")).on_hover_text(t.get("gpu-conformance-hint")).clicked() {
                desk.start_job(Work::Conformance { filter: self.filter.trim().to_owned() });
            }
            let label = ui.label(t.get("gpu-filter")).on_hover_text(t.get("gpu-filter-hint"));
            ui.add(TextEdit::singleline(&mut self.filter).desired_width(120.0)).labelled_by(label.id);
        });
        ui.horizontal_wrapped(|ui| {
            if ui.button(t.get("gpu-bench")).on_hover_text(t.get("gpu-bench-hint")).clicked() {
                desk.start_job(Work::Bench);
            }
        });
    }
}

/// What an adapter can do, as far as kernels are chosen by it.
fn features(ui: &mut Ui, tier: &Tier, t: &Texts) {
    let no = || t.get("gpu-no").to_owned();
    let half = if tier.f16 { t.get("gpu-yes").to_owned() } else { no() };
    let subgroups = match tier.subgroup {
        None => no(),
        Some((min, max)) if min == max => min.to_string(),
        Some((min, max)) => format!("{min}–{max}"),
    };
    let matrices = if tier.coop.is_empty() { no() } else { tier.coop_text() };
    let can = [
        ("half", half.as_str().into()),
        ("subgroups", subgroups.as_str().into()),
        ("matrices", matrices.as_str().into()),
    ];
    small(ui, t.with("gpu-features", &can)).on_hover_text(t.get("gpu-features-hint"));
    let [binding, buffer, memory] =
        [tier.max_binding, tier.max_buffer, tier.max_workgroup_bytes.into()].map(crate::cli::devices::size);
    let limits = [
        ("binding", binding.as_str().into()),
        ("buffer", buffer.as_str().into()),
        ("invocations", tier.max_invocations.into()),
        ("memory", memory.as_str().into()),
    ];
    small(ui, t.with("gpu-limits", &limits)).on_hover_text(t.get("gpu-features-hint"));
}

/// Where the run is; true when it is to end.
fn progress(ui: &mut Ui, job: &Job, t: &Texts) -> bool {
    // Seconds count on though the run says nothing.
    ui.ctx().request_repaint_after(Duration::from_millis(500));
    let step = job.step();
    let mut end = false;
    ui.horizontal_wrapped(|ui| {
        match &step {
            Some(step) => {
                let share = step.done as f32 / step.total.max(1) as f32;
                let text = t.with("gpu-progress", &[("done", step.done.into()), ("n", step.total.into())]);
                ui.add(ProgressBar::new(share).desired_width(260.0).text(text));
            }
            None => drop(ui.spinner()),
        }
        small(ui, t.with("gpu-running", &[("seconds", job.started.elapsed().as_secs().into())]));
        end = ui.button(t.get("common-cancel")).clicked();
    });
    if let Some(step) = step.filter(|step| !step.what.is_empty()) {
        small(ui, step.what);
    }
    end
}
