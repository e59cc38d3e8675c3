//! Colours and spacing. Every pair of text and ground is held by tests to a contrast of 4.5 to 1, of 7 to 1 in the themes of
//! high contrast (WCAG 2.2, 1.4.3 and 1.4.6), and the prompt's colours to differ for the colour-blind, too.

use eframe::egui::style::{Selection, WidgetVisuals, Widgets};
use eframe::egui::{
    self, Color32, CornerRadius, FontFamily, FontId, Margin, Stroke, TextStyle, Theme, ThemePreference, Visuals, vec2,
};
use guanaco_engine::prompt::SectionKind;

/// The themes' names; the first follows the system's.
pub const NAMES: [&str; 5] = ["system", "light", "dark", "light-contrast", "dark-contrast"];

/// Gives the window the theme of that name, `system` for a name that is none; `GUANACO_THEME` goes first where it names one.
pub fn install(ctx: &egui::Context, name: &str) {
    let wished = std::env::var("GUANACO_THEME").ok().filter(|wished| NAMES.contains(&wished.as_str()));
    let name = wished.as_deref().unwrap_or(name);
    let contrast = name.ends_with("-contrast");
    ctx.set_visuals_of(Theme::Light, visuals(if contrast { &LIGHT_CONTRAST } else { &LIGHT }));
    ctx.set_visuals_of(Theme::Dark, visuals(if contrast { &DARK_CONTRAST } else { &DARK }));
    ctx.all_styles_mut(space);
    ctx.set_theme(match name.strip_suffix("-contrast").unwrap_or(name) {
        "light" => ThemePreference::Light,
        "dark" => ThemePreference::Dark,
        _ => ThemePreference::System,
    });
}

/// The colour of a section of the prompt, for its title and its frame. A second cue must stand beside it: its name.
pub fn section_color(kind: SectionKind, dark: bool) -> Color32 {
    let (on_light, on_dark) = match kind {
        SectionKind::Frame => (0x4c_4c_4c, 0xb0_b0_b0),
        SectionKind::History => (0x32_44_8b, 0x76_ac_fd),
        SectionKind::System => (0x94_00_1c, 0xf0_a0_60),
        SectionKind::Input => (0x16_43_08, 0x48_e2_9c),
        SectionKind::Reply => (0x6a_24_b2, 0xff_ad_eb),
        SectionKind::Template => (0x00_00_00, 0xff_ff_ff),
    };
    color(if dark { on_dark } else { on_light })
}

/// Behind a token of an answer: the less likely it was, the stronger, from nothing to a tint of the warning colour that text can
/// still be read on.
pub fn doubt(visuals: &Visuals, chance: f32) -> Color32 {
    const STRONGEST: f32 = 0.32;
    visuals.warn_fg_color.gamma_multiply((1.0 - chance).clamp(0.0, 1.0) * STRONGEST)
}

/// What a theme is made of, as 0xRRGGBB.
struct Palette {
    dark: bool,
    /// Behind everything.
    panel: u32,
    /// Fields to type in.
    field: u32,
    /// The user's messages, every other row.
    faint: u32,
    /// Buttons: at rest, under the pointer, pressed.
    button: [u32; 3],
    /// Lines between and around things.
    line: u32,
    text: u32,
    weak: u32,
    /// Headings, and text on what is under the pointer.
    strong: u32,
    /// What is selected, and text on it.
    selection: [u32; 2],
    link: u32,
    warning: u32,
    error: u32,
}

const LIGHT: Palette = Palette {
    dark: false,
    panel: 0xf5_f5_f2,
    field: 0xff_ff_ff,
    faint: 0xeb_ec_e8,
    button: [0xe2_e4_df, 0xd6_d9_d3, 0xc9_cd_c6],
    line: 0xd0_d2_cc,
    text: 0x2a_2d_2a,
    weak: 0x5c_61_5b,
    strong: 0x10_12_10,
    selection: [0xbf_dc_f5, 0x0a_2a_45],
    link: 0x00_5f_a8,
    warning: 0x8a_4b_00,
    error: 0xb0_1c_1c,
};

const DARK: Palette = Palette {
    dark: true,
    panel: 0x1c_1e_1d,
    field: 0x13_15_14,
    faint: 0x26_29_27,
    button: [0x32_36_33, 0x3d_42_3f, 0x49_4f_4b],
    line: 0x3c_40_3d,
    text: 0xd8_db_d7,
    weak: 0xa2_a8_a2,
    strong: 0xf6_f8_f5,
    selection: [0x1f_4f_7a, 0xf2_f8_ff],
    link: 0x7c_bd_f5,
    warning: 0xf0_b0_50,
    error: 0xff_90_88,
};

const LIGHT_CONTRAST: Palette = Palette {
    dark: false,
    panel: 0xff_ff_ff,
    field: 0xf2_f2_f2,
    faint: 0xf2_f2_f2,
    button: [0xe8_e8_e8, 0xdc_dc_dc, 0xd0_d0_d0],
    line: 0x00_00_00,
    text: 0x00_00_00,
    weak: 0x30_30_30,
    strong: 0x00_00_00,
    selection: [0x00_3a_70, 0xff_ff_ff],
    link: 0x00_3a_8c,
    warning: 0x5c_30_00,
    error: 0x80_00_00,
};

const DARK_CONTRAST: Palette = Palette {
    dark: true,
    panel: 0x00_00_00,
    field: 0x20_20_20,
    faint: 0x18_18_18,
    button: [0x20_20_20, 0x30_30_30, 0x40_40_40],
    line: 0xff_ff_ff,
    text: 0xff_ff_ff,
    weak: 0xd0_d0_d0,
    strong: 0xff_ff_ff,
    selection: [0xff_e0_60, 0x00_00_00],
    link: 0x9c_d4_ff,
    warning: 0xff_d0_60,
    error: 0xff_b0_a8,
};

fn color(rgb: u32) -> Color32 {
    let [_, red, green, blue] = rgb.to_be_bytes();
    Color32::from_rgb(red, green, blue)
}

fn visuals(palette: &Palette) -> Visuals {
    let base = if palette.dark { Visuals::dark() } else { Visuals::light() };
    let line = Stroke::new(1.0, color(palette.line));
    let corner_radius = CornerRadius::same(6);
    let widget = |ground: u32, edge: Stroke, text: u32| WidgetVisuals {
        bg_fill: color(ground),
        weak_bg_fill: color(ground),
        bg_stroke: edge,
        corner_radius,
        fg_stroke: Stroke::new(1.0, color(text)),
        expansion: 0.0,
    };
    let [rest, hovered, pressed] = palette.button;
    // Without an edge a button at rest would not be seen on grounds that differ little from it.
    let contrast = palette.line == palette.text;
    let edge = if contrast { line } else { Stroke::NONE };
    let focus = Stroke::new(if contrast { 2.0 } else { 1.0 }, color(palette.link));
    let [selected, on_selected] = palette.selection;
    Visuals {
        weak_text_color: Some(color(palette.weak)),
        widgets: Widgets {
            noninteractive: widget(palette.panel, line, palette.text),
            inactive: widget(rest, edge, palette.text),
            hovered: widget(hovered, focus, palette.strong),
            active: widget(pressed, focus, palette.strong),
            open: widget(hovered, line, palette.strong),
        },
        selection: Selection { bg_fill: color(selected), stroke: Stroke::new(1.0, color(on_selected)) },
        hyperlink_color: color(palette.link),
        faint_bg_color: color(palette.faint),
        extreme_bg_color: color(palette.field),
        text_edit_bg_color: Some(color(palette.field)),
        code_bg_color: color(palette.faint),
        warn_fg_color: color(palette.warning),
        error_fg_color: color(palette.error),
        panel_fill: color(palette.panel),
        window_fill: color(palette.panel),
        window_stroke: line,
        window_corner_radius: CornerRadius::same(10),
        menu_corner_radius: CornerRadius::same(8),
        slider_trailing_fill: true,
        ..base
    }
}

/// Sizes and distances, the same in every theme, points.
fn space(style: &mut egui::Style) {
    // Where a link leads is seen before it is followed.
    style.url_in_tooltip = true;
    use FontFamily::{Monospace, Proportional};
    style.text_styles = [
        (TextStyle::Small, FontId::new(11.5, Proportional)),
        (TextStyle::Body, FontId::new(14.5, Proportional)),
        (TextStyle::Button, FontId::new(14.0, Proportional)),
        (TextStyle::Heading, FontId::new(20.0, Proportional)),
        (TextStyle::Monospace, FontId::new(13.0, Monospace)),
    ]
    .into();
    let spacing = &mut style.spacing;
    spacing.item_spacing = vec2(8.0, 6.0);
    spacing.button_padding = vec2(9.0, 4.0);
    spacing.interact_size = vec2(40.0, 26.0);
    spacing.icon_width = 16.0;
    spacing.menu_margin = Margin::same(8);
    spacing.window_margin = Margin::same(12);
    spacing.tooltip_width = 420.0;
}

#[cfg(test)]
mod tests;
