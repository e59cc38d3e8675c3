//! How tokens are chosen, each setting explained on hover.

use eframe::egui::{ComboBox, DragValue, Slider, TextEdit, Ui};
use guanaco_engine::sampler::{SamplerConfig, SamplerPreset};

use crate::desk::Desk;
use crate::gui::text::Texts;
use crate::gui::widgets::{named, small};

pub(super) fn ui(ui: &mut Ui, desk: &mut Desk, t: &Texts) {
    let own = desk.own_sampling();
    let settings = &mut desk.chat.settings;
    let sampler = &mut settings.sampler;
    let same = |preset: SamplerPreset| SamplerConfig { seed: sampler.seed, ..preset.config() } == *sampler;
    let current = SamplerPreset::ALL.into_iter().find(|preset| same(*preset));
    ui.horizontal(|ui| {
        let label = ui.label(t.get("sampling-preset"));
        let is_own = own.as_ref().is_some_and(|own| SamplerConfig { seed: sampler.seed, ..own.clone() } == *sampler);
        let text = match current {
            _ if is_own => t.get("sampling-preset-model").to_owned(),
            Some(preset) => preset.to_string(),
            None => t.get("sampling-own").to_owned(),
        };
        let combo = ComboBox::from_id_salt("sampler-preset").selected_text(text).show_ui(ui, |ui| {
            if let Some(own) = &own {
                let choice = ui.selectable_label(is_own, t.get("sampling-preset-model"));
                if choice.on_hover_text(t.get("sampling-preset-model-hint")).clicked() {
                    *sampler = SamplerConfig { seed: sampler.seed, ..own.clone() };
                }
            }
            for preset in SamplerPreset::ALL {
                let hover = match preset {
                    SamplerPreset::Guanaco => t.get("sampling-preset-guanaco"),
                    SamplerPreset::Reference => t.get("sampling-preset-reference"),
                };
                if ui.selectable_label(current == Some(preset), preset.to_string()).on_hover_text(hover).clicked() {
                    *sampler = SamplerConfig { seed: sampler.seed, ..preset.config() };
                }
            }
        });
        combo.response.labelled_by(label.id);
    });
    ui.checkbox(&mut sampler.greedy, t.get("sampling-greedy")).on_hover_text(t.get("sampling-greedy-hint"));
    let drawn = !sampler.greedy;
    ui.add_enabled_ui(drawn, |ui| {
        slide(
            ui,
            &mut sampler.temperature,
            0.05..=2.0,
            (t.get("sampling-temperature"), t.get("sampling-temperature-hint")),
        );
        let top_k = Slider::new(&mut sampler.top_k, 0..=200).text(t.get("sampling-top-k"));
        ui.add(top_k).on_hover_text(t.get("sampling-top-k-hint"));
        slide(ui, &mut sampler.top_p, 0.01..=1.0, (t.get("sampling-top-p"), t.get("sampling-top-p-hint")));
        slide(ui, &mut sampler.min_p, 0.0..=1.0, (t.get("sampling-min-p"), t.get("sampling-min-p-hint")));
        slide(ui, &mut sampler.typical_p, 0.01..=1.0, (t.get("sampling-typical-p"), t.get("sampling-typical-p-hint")));
    });
    let penalty = (t.get("sampling-repetition-penalty"), t.get("sampling-repetition-penalty-hint"));
    slide(ui, &mut sampler.repetition_penalty, 0.5..=2.0, penalty);
    let ngram = Slider::new(&mut sampler.no_repeat_ngram, 0..=16).text(t.get("sampling-no-repeat-ngram"));
    ui.add(ngram).on_hover_text(t.get("sampling-no-repeat-ngram-hint"));
    ui.separator();
    ui.horizontal_wrapped(|ui| {
        ui.checkbox(&mut settings.fixed_seed, t.get("sampling-fixed-seed")).on_hover_text(t.get("sampling-seed-hint"));
        if settings.fixed_seed {
            named(ui.add(DragValue::new(&mut settings.sampler.seed)), t.get("sampling-seed"));
        }
    });
    let most = Slider::new(&mut settings.max_new_tokens, 1..=2048).text(t.get("sampling-max-new-tokens"));
    ui.add(most).on_hover_text(t.get("sampling-max-new-tokens-hint"));
    let lookup = ui.checkbox(&mut settings.prompt_lookup, t.get("sampling-prompt-lookup"));
    lookup.on_hover_text(t.get("sampling-prompt-lookup-hint"));
    let label = ui.label(t.get("sampling-stop")).on_hover_text(t.get("sampling-stop-hint"));
    let mut stop = settings.stop.join("\n");
    if ui
        .add(TextEdit::multiline(&mut stop).desired_rows(2).desired_width(f32::INFINITY))
        .labelled_by(label.id)
        .changed()
    {
        settings.stop = stop.lines().map(str::to_owned).collect();
    }
    settings.stop.retain(|stop| !stop.is_empty());
    ui.add_space(8.0);
    if ui.button(t.get("sampling-keep")).on_hover_text(t.get("sampling-keep-hint")).clicked() {
        desk.keep_as_default();
    }
    small(ui, t.get("sampling-per-chat"));
}

fn slide(ui: &mut Ui, value: &mut f32, range: std::ops::RangeInclusive<f32>, (name, hint): (&str, &str)) {
    ui.add(Slider::new(value, range).text(name).fixed_decimals(2)).on_hover_text(hint);
}
