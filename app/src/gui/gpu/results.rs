//! What the runs found: tables with the failures first, charts, and how fast earlier runs were.

use eframe::egui::{Grid, RichText, Role, Ui, WidgetInfo};
use egui_plot::{Legend, Line, MarkerShape, Plot, PlotPoints, Points};

use crate::cli::bench::history::{Kept, date};
use crate::cli::bench::report::Report as BenchReport;
use crate::cli::conformance::report::{Line as KernelLine, Report as ConformanceReport};
use crate::gui::text::Texts;
use crate::gui::widgets::{small, warning};

/// The most failed cases that are shown; the saved report has them all.
const MOST_FAILURES: usize = 50;

/// The most kept runs that are shown.
const MOST_RUNS: usize = 30;

/// The verdict, each failed case with its reason, and each kernel with its worst error.
pub(super) fn conformance(ui: &mut Ui, report: &ConformanceReport, t: &Texts) {
    let failed = report.failed();
    let numbers =
        [("n", report.cases.len().into()), ("failed", failed.into()), ("device", report.adapter.name.as_str().into())];
    let line = t.with("gpu-conformance-result", &numbers);
    if failed == 0 && report.passed {
        ui.label(format!("✔ {line}"));
    } else {
        warning(ui, &line);
    }
    if let Some(reason) = &report.aborted {
        warning(ui, &t.with("gpu-aborted", &[("reason", reason.as_str().into())]));
    }
    for case in report.failures().take(MOST_FAILURES) {
        let why = case.failure.as_deref().unwrap_or_default();
        warning(ui, &format!("{} {}: {}: {why}", case.kernel, case.variant, case.case));
    }
    Grid::new("conformance").striped(true).num_columns(6).show(ui, |ui| {
        for key in ["gpu-kernel", "gpu-variant", "gpu-cases", "gpu-failed", "gpu-error", "gpu-limit"] {
            ui.label(RichText::new(t.get(key)).strong());
        }
        ui.end_row();
        for line in failures_first(&report.summary) {
            ui.label(&line.kernel);
            ui.label(&line.variant);
            ui.label(line.cases.to_string());
            if line.failed == 0 {
                ui.label("✔ 0");
            } else {
                warning(ui, &line.failed.to_string());
            }
            let number = |value: Option<f64>| value.map(|value| format!("{value:.1e}")).unwrap_or_default();
            ui.label(number(line.worst_nmse));
            ui.label(number(line.limit));
            ui.end_row();
        }
    });
}

/// The kernels with the most failed cases first, the others as they ran.
fn failures_first(summary: &[KernelLine]) -> Vec<&KernelLine> {
    let mut lines: Vec<&KernelLine> = summary.iter().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.failed));
    lines
}

/// Earlier runs with their dates, the newest first.
pub(super) fn history(ui: &mut Ui, runs: &[Kept], t: &Texts) {
    if runs.is_empty() {
        return;
    }
    ui.separator();
    ui.label(t.get("gpu-history"));
    Grid::new("history").striped(true).num_columns(4).show(ui, |ui| {
        for key in ["gpu-history-date", "model-name", "gpu-history-device", "gpu-history-speed"] {
            ui.label(RichText::new(t.get(key)).strong());
        }
        ui.end_row();
        for Kept { time, report } in runs.iter().take(MOST_RUNS) {
            ui.label(date(*time));
            ui.label(&report.model.name);
            ui.label(&report.adapter.name);
            let speeds: Vec<String> =
                speeds(report).map(|(name, median)| format!("{name} {median:.1} tok/s")).collect();
            ui.label(speeds.join(" · "));
            ui.end_row();
        }
    });
}

/// Each test of a bench with its median, tokens a second.
fn speeds(report: &BenchReport) -> impl Iterator<Item = (&str, f64)> {
    let prefill = report.prefill.iter().map(|test| (test.name.as_str(), test.tok_per_s.median));
    prefill.chain(report.decode.iter().map(|test| (test.name.as_str(), test.tok_per_s.median)))
}

/// Charts and figures of the last run, and what has changed since the one before.
pub(super) fn bench(ui: &mut Ui, report: &BenchReport, t: &Texts) {
    ui.label(format!("{} · {}", report.model.name, report.adapter.name));
    let prefill: Vec<[f64; 2]> =
        report.prefill.iter().map(|test| [test.tokens as f64, test.tok_per_s.median]).collect();
    let decode: Vec<[f64; 2]> = report.decode.iter().map(|test| [test.depth as f64, test.tok_per_s.median]).collect();
    ui.horizontal_wrapped(|ui| {
        chart(ui, "prefill", t.get("gpu-bench-prefill"), t.get("gpu-bench-prompt-tokens"), prefill);
        chart(ui, "decode", t.get("gpu-bench-decode"), t.get("gpu-bench-context"), decode);
    });
    Grid::new("bench").striped(true).show(ui, |ui| {
        for (name, median) in speeds(report) {
            ui.label(name);
            ui.label(format!("{median:.1} tok/s"));
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
        let count = points.len();
        let shown = plot.allow_scroll(false).show(ui, |plot| {
            let line = PlotPoints::from(points.clone());
            plot.line(Line::new(name.to_owned(), line));
            plot.points(Points::new(name.to_owned(), PlotPoints::from(points)).shape(MarkerShape::Circle).radius(4.0));
        });
        // What is drawn has no words for who cannot see it; the figures stand below.
        let said = format!("{name}: {count}");
        shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &said));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_seen_first() {
        let line = |kernel: &str, failed| KernelLine {
            kernel: kernel.into(),
            variant: "base/64".into(),
            cases: 9,
            failed,
            worst_nmse: None,
            limit: None,
            ms: 1.0,
        };
        let lines = [line("a", 0), line("b", 2), line("c", 0), line("d", 5)];
        let kernels: Vec<_> = failures_first(&lines).into_iter().map(|line| line.kernel.as_str()).collect();
        assert_eq!(kernels, ["d", "b", "a", "c"]);
    }
}
