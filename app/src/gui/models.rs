//! The model page: which model, what it is, what it takes, and its LoRAs.

use std::path::{Path, PathBuf};

use eframe::egui::{self, Color32, Grid, Rect, RichText, ScrollArea, Sense, Slider, Ui, pos2, vec2};
use guanaco_engine::gpu::{MemoryKind, MemoryPlan};
use guanaco_engine::weights::Lora;

use super::dialog::{self, Purpose};
use super::text::Texts;
use super::widgets::{icon_button, path_field, small, warning};
use crate::desk::Desk;
use crate::desk::inspect::Facts;
use crate::desk::model::ModelState;
use crate::desk::settings::LoraChoice;

/// What the page remembers.
#[derive(Default)]
pub(super) struct ModelsView {
    path: String,
    lora: String,
    /// Why the last folder is no LoRA.
    refused: Option<String>,
    /// The models in the hub's cache, looked up when the page is opened.
    cached: Option<Vec<String>>,
}

/// The scalings that can be chosen; the first is what the files say.
const SCALINGS: [&str; 5] = ["", "dynamic", "ntk", "linear", "none"];

impl ModelsView {
    pub(super) fn ui(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        ScrollArea::vertical().id_salt("models").auto_shrink(false).show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.heading(t.get("page-models"));
                // Beside the title, so that nothing moves under the pointer.
                if !desk.facts_are_current() {
                    ui.spinner();
                }
            });
            self.choose(ui, desk, t);
            ui.separator();
            let facts = desk.facts().cloned();
            match &facts {
                None => {}
                Some(Err(reason)) => drop(warning(ui, reason)),
                Some(Ok(facts)) => {
                    show(ui, facts, t);
                    memory(ui, &facts.plan, desk.memory_budget(), t);
                }
            }
            settings(ui, desk, facts.as_ref().and_then(|facts| facts.as_ref().ok()), t);
            ui.separator();
            self.loras(ui, desk, t);
            ui.separator();
            load(ui, desk, facts.as_ref().is_some_and(|facts| facts.is_ok()), t);
            if let Some(Ok(facts)) = &facts {
                ui.add_space(6.0);
                egui::CollapsingHeader::new(t.get("model-details")).show(ui, |ui| {
                    ScrollArea::horizontal().show(ui, |ui| ui.monospace(&*facts.details));
                });
            }
        });
    }

    /// What is to be looked up anew when the page is opened the next time: `guanaco pull` may have brought models meanwhile.
    pub(super) fn leave(&mut self) {
        self.cached = None;
    }

    /// Takes a folder or a file that was dropped: a model, or a LoRA.
    pub(super) fn drop_path(&mut self, desk: &mut Desk, path: &Path) {
        if path.join("adapter_config.json").is_file() {
            self.add_lora(desk, path);
        } else {
            self.open(desk, path);
        }
    }

    /// Makes `path` the model that is to be loaded.
    pub(super) fn open(&mut self, desk: &mut Desk, path: &Path) {
        desk.choice.path = Some(path.to_owned());
        desk.choice.context = None;
    }

    /// Adds the LoRA at `path` to the choice, or keeps why there is none.
    pub(super) fn add_lora(&mut self, desk: &mut Desk, path: &Path) {
        self.refused = Lora::open(path, 1.0).err().map(|error| error.to_string());
        if self.refused.is_none() {
            desk.choice.loras.push(LoraChoice { path: path.to_owned(), scale: 1.0, on: true });
            self.lora.clear();
        }
    }

    fn choose(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        small(ui, t.get("model-drop-hint"));
        let mut chosen: Option<Option<PathBuf>> = None;
        let current = desk.choice.path.clone();
        if ui.radio(current.is_none(), t.get("model-embedded")).clicked() {
            chosen = Some(None);
        }
        for path in &desk.window.recent_models {
            let response = ui.radio(current.as_ref() == Some(path), crate::checkpoint::name(Some(path)));
            if response.on_hover_text(path.display().to_string()).clicked() {
                chosen = Some(Some(path.clone()));
            }
        }
        if current.as_ref().is_some_and(|path| !desk.window.recent_models.contains(path)) {
            let name = current.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
            drop(ui.radio(true, name));
        }
        let cached =
            self.cached.get_or_insert_with(|| desk.hub.as_ref().map(|cache| cache.models()).unwrap_or_default());
        if !cached.is_empty() {
            ui.label(t.get("model-hub-cache"));
            for name in cached.iter() {
                let path = PathBuf::from(name);
                if ui.radio(current.as_ref() == Some(&path), name).clicked() {
                    chosen = Some(Some(path));
                }
            }
        }
        ui.horizontal(|ui| {
            let words = (t.get("model-path"), t.get("model-path-hint"), t.get("common-open"));
            if let Some(path) = path_field(ui, words, &mut self.path, 90.0) {
                chosen = Some(Some(path));
            }
        });
        ui.horizontal_wrapped(|ui| {
            for (purpose, key) in
                [(Purpose::ModelFolder, "model-choose-folder"), (Purpose::ModelFile, "model-choose-file")]
            {
                if ui.button(t.get(key)).clicked() {
                    dialog::ask(ui, purpose, t.get(key));
                }
            }
        });
        if let Some(path) = chosen {
            desk.choice.path = path;
            desk.choice.context = None;
        }
    }

    fn loras(&mut self, ui: &mut Ui, desk: &mut Desk, t: &Texts) {
        ui.label(t.get("model-loras")).on_hover_text(t.get("model-loras-hint"));
        let mut remove = None;
        for (index, lora) in desk.choice.loras.iter_mut().enumerate() {
            ui.push_id(index, |ui| {
                ui.horizontal(|ui| {
                    ui.checkbox(&mut lora.on, crate::checkpoint::name(Some(&lora.path)))
                        .on_hover_text(lora.path.display().to_string());
                    ui.add(Slider::new(&mut lora.scale, 0.0..=2.0).text(t.get("model-lora-weight")));
                    if icon_button(ui, "🗑", t.get("common-delete")).clicked() {
                        remove = Some(index);
                    }
                });
            });
        }
        if let Some(index) = remove {
            desk.choice.loras.remove(index);
        }
        ui.horizontal(|ui| {
            let button = format!("➕ {}", t.get("model-lora-add"));
            let words = (t.get("model-lora-folder"), t.get("model-path-hint"), button.as_str());
            if let Some(path) = path_field(ui, words, &mut self.lora, 170.0) {
                self.add_lora(desk, &path);
            }
        });
        if let Some(refused) = &self.refused {
            warning(ui, refused);
        }
        if ui.button(t.get("model-choose-lora")).clicked() {
            dialog::ask(ui, Purpose::Lora, t.get("model-choose-lora"));
        }
    }
}

/// What the files say.
fn show(ui: &mut Ui, facts: &Facts, t: &Texts) {
    let parameters = if facts.parameters >= 1_000_000_000 {
        format!("{:.2} G", facts.parameters as f64 / 1e9)
    } else {
        format!("{:.2} M", facts.parameters as f64 / 1e6)
    };
    let [layers, dim, heads, kv_heads, vocabulary] = facts.sizes;
    Grid::new("facts").num_columns(2).show(ui, |ui| {
        let mut row = |key: &str, value: String| {
            ui.label(RichText::new(t.get(key)).weak());
            ui.label(value);
            ui.end_row();
        };
        row("model-name", facts.name.clone());
        row("model-format", format!("{} → {}", facts.format, facts.on_device));
        row("model-parameters", format!("{parameters} · {}", bytes(facts.bytes)));
        row("model-layers", format!("{layers} × {dim}, {heads}/{kv_heads}"));
        row("model-vocabulary", vocabulary.to_string());
        row("model-trained-context", facts.context.0.to_string());
    });
    if !facts.has_tokenizer {
        warning(ui, t.get("model-no-tokenizer"));
    }
    for odd in &facts.warnings {
        warning(ui, odd);
    }
}

/// How the model is loaded.
fn settings(ui: &mut Ui, desk: &mut Desk, facts: Option<&Facts>, t: &Texts) {
    let choice = &mut desk.choice;
    if let Some(facts) = facts {
        let longest = if choice.rope_scaling.is_empty() || choice.rope_scaling == "none" {
            facts.context.1
        } else {
            facts.context.0 * 8
        };
        let mut context =
            choice.context.unwrap_or(facts.context.0.min(guanaco_engine::model::DEFAULT_CONTEXT)).min(longest);
        let slider =
            Slider::new(&mut context, 64.min(longest)..=longest).logarithmic(true).text(t.get("model-context"));
        if ui.add(slider).on_hover_text(t.get("model-context-hint")).changed() {
            choice.context = Some(context);
        }
    }
    ui.checkbox(&mut choice.kv_int8, t.get("model-kv-int8")).on_hover_text(t.get("model-kv-int8-hint"));
    ui.horizontal(|ui| {
        let label = ui.label(t.get("model-rope-scaling")).on_hover_text(t.get("model-rope-scaling-hint"));
        let name =
            |scaling: &str| if scaling.is_empty() { t.get("model-rope-files").to_owned() } else { scaling.to_owned() };
        let combo = egui::ComboBox::from_id_salt("rope").selected_text(name(&choice.rope_scaling)).show_ui(ui, |ui| {
            for scaling in SCALINGS {
                ui.selectable_value(&mut choice.rope_scaling, scaling.to_owned(), name(scaling));
            }
        });
        combo.response.labelled_by(label.id);
    });
}

fn load(ui: &mut Ui, desk: &mut Desk, can: bool, t: &Texts) {
    match &desk.model {
        ModelState::Reading(load) | ModelState::Loading(load, _) => {
            if ui.button(t.get("common-cancel")).clicked() {
                load.stop();
            }
        }
        _ => {
            let button = egui::Button::new(RichText::new(t.get("model-load")).strong());
            if ui.add_enabled(can, button).clicked() {
                if let Some(path) = &desk.choice.path {
                    let path = path.clone();
                    desk.window.recent_models.retain(|recent| *recent != path);
                    desk.window.recent_models.insert(0, path);
                    desk.window.recent_models.truncate(8);
                    desk.save_window();
                }
                desk.load();
            }
        }
    }
    if let ModelState::Failed(reason) = &desk.model {
        warning(ui, reason);
    }
}

/// The plan as a bar: a stretch for each item, and the figures under it.
fn memory(ui: &mut Ui, plan: &MemoryPlan, free: Option<u64>, t: &Texts) {
    ui.label(t.with("model-memory", &[("total", bytes(plan.total()).as_str().into())]));
    let whole = plan.total().max(free.unwrap_or(0)).max(1) as f32;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width().min(640.0), 18.0), Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::ProgressIndicator, true, t.get("model-memory-bar")));
    ui.painter().rect_filled(rect, 3, ui.visuals().extreme_bg_color);
    let mut left = rect.left();
    for (index, item) in plan.items.iter().enumerate() {
        let right = left + rect.width() * item.bytes as f32 / whole;
        let part = Rect::from_min_max(pos2(left, rect.top()), pos2(right, rect.bottom()));
        ui.painter().rect_filled(part, 0, stripe(index));
        left = right;
    }
    ui.horizontal_wrapped(|ui| {
        for (index, item) in plan.items.iter().enumerate() {
            let (square, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
            ui.painter().rect_filled(square, 2, stripe(index));
            let name = match item.kind {
                MemoryKind::Weights => "model-memory-weights",
                MemoryKind::KvCache => "model-memory-cache",
                MemoryKind::Scratch => "model-memory-scratch",
                MemoryKind::Staging => "model-memory-staging",
            };
            small(ui, format!("{}: {}", t.get(name), bytes(item.bytes))).on_hover_text(&item.what);
            ui.add_space(8.0);
        }
    });
    if let Some(free) = free {
        small(ui, t.with("model-memory-free", &[("free", bytes(free).as_str().into())]));
        if free < plan.total() {
            warning(ui, t.get("model-memory-too-little"));
        }
    }
}

/// Colours that the colour-blind can tell apart (Okabe and Ito, 2008).
fn stripe(index: usize) -> Color32 {
    const COLORS: [Color32; 4] = [
        Color32::from_rgb(0, 114, 178),
        Color32::from_rgb(230, 159, 0),
        Color32::from_rgb(0, 158, 115),
        Color32::from_rgb(204, 121, 167),
    ];
    COLORS.get(index % COLORS.len()).copied().unwrap_or_default()
}

fn bytes(bytes: u64) -> String {
    crate::cli::devices::size(bytes)
}
