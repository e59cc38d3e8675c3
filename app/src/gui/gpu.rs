//! The GPU page: adapters, what they can do, and two runs in a process of their own: conformance and bench.

use std::sync::mpsc::{Receiver, channel};

use eframe::egui::{Grid, RichText, ScrollArea, Ui};
use egui_plot::{Legend, Line, MarkerShape, Plot, PlotPoints, Points};
use guanaco_engine::gpu::{AdapterFacts, list_adapters};

use super::text::Texts;
use super::widgets::{small, warning};
use crate::cli::bench::report::Report as BenchReport;
use crate::cli::conformance::report::Report as ConformanceReport;
use crate::desk::Desk;
use crate::desk::job::{Outcome, Work};

/// What the page remembers.
#[derive(Default)]
pub(super) struct GpuView {
    /// The adapters, once they are found.
    adapters: Option<Vec<AdapterFacts>>,
    finding: Option<Receiver<Vec<AdapterFacts>>>,
}

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
            runs(ui, desk, t);
        });
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
                let _ = send.send(list_adapters());
                ctx.request_repaint();
            });
            self.finding = Some(receive);
        }
        ui.label(t.get("gpu-adapters"));
        let Some(adapters) = &self.adapters else {
            ui.spinner();
            return;
        };
        let mut choice = desk.choice.adapter.clone();
        ui.radio_value(&mut choice, None, t.get("gpu-adapter-best"));
        for adapter in adapters {
            // The index may change with the next card: name and backend stay.
            let name = format!("{}:{}", adapter.backend, adapter.name.to_lowercase());
            let response = ui.radio_value(&mut choice, Some(name), &adapter.name);
            response.on_hover_text(adapter.to_string());
            small(
                ui,
                format!(
                    "{} · {} · {:04x}:{:04x} · {}",
                    adapter.backend, adapter.kind, adapter.vendor, adapter.device, adapter.driver
                ),
            );
        }
        if choice != desk.choice.adapter {
            desk.choice.adapter = choice;
            desk.load();
        }
    }
}

fn runs(ui: &mut Ui, desk: &mut Desk, t: &Texts) {
    let running = desk.job().filter(|job| job.outcome.is_none()).map(|job| (job.work, job.started.elapsed()));
    ui.horizontal_wrapped(|ui| {
        ui.add_enabled_ui(running.is_none() && desk.answering().is_none(), |ui| {
            if ui.button(t.get("gpu-conformance")).on_hover_text(t.get("gpu-conformance-hint")).clicked() {
                desk.start_job(Work::Conformance);
            }
            if ui.button(t.get("gpu-bench")).on_hover_text(t.get("gpu-bench-hint")).clicked() {
                desk.start_job(Work::Bench);
            }
        });
        if let Some((_, time)) = running {
            ui.spinner();
            small(ui, t.with("gpu-running", &[("seconds", time.as_secs().into())]));
            ui.ctx().request_repaint_after(std::time::Duration::from_millis(500));
            if ui.button(t.get("common-cancel")).clicked() {
                desk.end_job();
            }
        }
    });
    match desk.job().and_then(|job| job.outcome.as_ref()) {
        Some(Ok(Outcome::Conformance(report))) => conformance(ui, report, t),
        Some(Ok(Outcome::Bench(report))) => bench(ui, report, t),
        Some(Err(reason)) => drop(warning(ui, reason)),
        None => {}
    }
}

fn conformance(ui: &mut Ui, report: &ConformanceReport, t: &Texts) {
    let failed = report.failed();
    let numbers =
        [("n", report.cases.len().into()), ("failed", failed.into()), ("device", report.adapter.name.as_str().into())];
    let line = t.with("gpu-conformance-result", &numbers);
    if failed == 0 && report.passed {
        drop(ui.label(format!("✔ {line}")))
    } else {
        drop(warning(ui, &line))
    }
    Grid::new("conformance").striped(true).num_columns(5).show(ui, |ui| {
        for key in ["gpu-kernel", "gpu-variant", "gpu-cases", "gpu-failed", "gpu-error"] {
            ui.label(RichText::new(t.get(key)).strong());
        }
        ui.end_row();
        for line in &report.summary {
            ui.label(&line.kernel);
            ui.label(&line.variant);
            ui.label(line.cases.to_string());
            if line.failed == 0 {
                ui.label("✔ 0")
            } else {
                warning(ui, &line.failed.to_string())
            };
            ui.label(line.worst_nmse.map(|nmse| format!("{nmse:.1e}")).unwrap_or_default());
            ui.end_row();
        }
    });
}

fn bench(ui: &mut Ui, report: &BenchReport, t: &Texts) {
    ui.label(format!("{} · {}", report.model.name, report.adapter.name));
    let prefill: Vec<[f64; 2]> =
        report.prefill.iter().map(|test| [test.tokens as f64, test.tok_per_s.median]).collect();
    let decode: Vec<[f64; 2]> = report.decode.iter().map(|test| [test.depth as f64, test.tok_per_s.median]).collect();
    ui.horizontal_wrapped(|ui| {
        chart(ui, "prefill", t.get("gpu-bench-prefill"), t.get("gpu-bench-prompt-tokens"), prefill);
        chart(ui, "decode", t.get("gpu-bench-decode"), t.get("gpu-bench-context"), decode);
    });
    Grid::new("bench").striped(true).show(ui, |ui| {
        let tests = report.prefill.iter().map(|test| (&test.name, &test.tok_per_s));
        for (name, speed) in tests.chain(report.decode.iter().map(|test| (&test.name, &test.tok_per_s))) {
            ui.label(name);
            ui.label(format!("{:.1} tok/s", speed.median));
            ui.end_row();
        }
    });
    for change in &report.changes {
        small(
            ui,
            format!("{}: {:.2} → {:.2} ({})", change.what, change.before.median, change.now.median, change.against),
        );
    }
}

fn chart(ui: &mut Ui, id: &str, name: &str, across: &str, points: Vec<[f64; 2]>) {
    ui.vertical(|ui| {
        let plot = Plot::new(id)
            .width(360.0)
            .height(220.0)
            .legend(Legend::default())
            .include_y(0.0)
            .x_axis_label(across.to_owned())
            .y_axis_label("tok/s");
        plot.allow_scroll(false).show(ui, |plot| {
            let line = PlotPoints::from(points.clone());
            plot.line(Line::new(name.to_owned(), line));
            plot.points(Points::new(name.to_owned(), PlotPoints::from(points)).shape(MarkerShape::Circle).radius(4.0));
        });
    });
}
