//! Computes what people can read and tell apart.

use super::*;

const KINDS: [SectionKind; 6] = [
    SectionKind::Frame,
    SectionKind::History,
    SectionKind::System,
    SectionKind::Input,
    SectionKind::Reply,
    SectionKind::Template,
];

/// Red-green (missing red, missing green) and blue-yellow blindness, complete, on linear RGB: Machado, Oliveira and Fernandes 2009,
/// <https://www.inf.ufrgs.br/~oliveira/pubs_files/CVD_Simulation/CVD_Simulation.html>; and full sight.
const SIGHTS: [(&str, [[f64; 3]; 3]); 4] = [
    ("full", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    ("protanopia", [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    (
        "deuteranopia",
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    ),
    ("tritanopia", [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
];

fn linear(color: Color32) -> [f64; 3] {
    [color.r(), color.g(), color.b()].map(|value| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    })
}

/// Relative luminance: <https://www.w3.org/TR/WCAG22/#dfn-relative-luminance>.
fn luminance([r, g, b]: [f64; 3]) -> f64 {
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Contrast ratio: <https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio>.
fn contrast(a: Color32, b: Color32) -> f64 {
    let (a, b) = (luminance(linear(a)), luminance(linear(b)));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// CIELAB under D65.
fn lab([r, g, b]: [f64; 3]) -> [f64; 3] {
    let x = (0.4124564 * r + 0.3575761 * g + 0.1804375 * b) / 0.95047;
    let z = (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883;
    let f = |t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
    let (x, y, z) = (f(x), f(luminance([r, g, b])), f(z));
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// How far apart two colours are for a sight: CIE76, where 2.3 is just noticeable.
fn distance(a: Color32, b: Color32, sight: &[[f64; 3]; 3]) -> f64 {
    let seen = |color| {
        let rgb = linear(color);
        lab(sight.map(|row| row.iter().zip(rgb).map(|(m, c)| m * c).sum::<f64>().clamp(0.0, 1.0)))
    };
    seen(a).iter().zip(seen(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

fn themes() -> [(&'static str, Visuals, f64); 4] {
    [
        ("light", visuals(&LIGHT), 4.5),
        ("dark", visuals(&DARK), 4.5),
        ("light-contrast", visuals(&LIGHT_CONTRAST), 7.0),
        ("dark-contrast", visuals(&DARK_CONTRAST), 7.0),
    ]
}

#[test]
fn contrast_is_that_of_the_standard() {
    assert!((contrast(Color32::BLACK, Color32::WHITE) - 21.0).abs() < 1e-9);
    let grey = contrast(Color32::from_rgb(0x76, 0x76, 0x76), Color32::WHITE);
    assert!((grey - 4.54).abs() < 0.01, "{grey}");
}

#[test]
fn text_can_be_read_in_every_theme() {
    for (name, visuals, least) in themes() {
        let grounds = [
            ("panel", visuals.panel_fill),
            ("faint", visuals.faint_bg_color),
            ("field", visuals.extreme_bg_color),
            ("code", visuals.code_bg_color),
        ];
        let mut texts = vec![
            ("text", visuals.text_color()),
            ("weak", visuals.weak_text_color()),
            ("strong", visuals.strong_text_color()),
            ("link", visuals.hyperlink_color),
            ("warning", visuals.warn_fg_color),
            ("error", visuals.error_fg_color),
        ];
        texts.extend(KINDS.map(|kind| ("section", section_color(kind, visuals.dark_mode))));
        for (ground, on) in grounds {
            for (text, color) in &texts {
                let found = contrast(*color, on);
                assert!(found >= least, "{name}: {text} {color:?} on {ground}: {found:.2}");
            }
        }
        let widgets = &visuals.widgets;
        for widget in [&widgets.noninteractive, &widgets.inactive, &widgets.hovered, &widgets.active, &widgets.open] {
            let found = contrast(widget.text_color(), widget.weak_bg_fill);
            assert!(found >= least, "{name}: {widget:?}: {found:.2}");
        }
        let found = contrast(visuals.selection.stroke.color, visuals.selection.bg_fill);
        assert!(found >= least, "{name}: selection: {found:.2}");
        // What shows where the keyboard is: 3 to 1 (WCAG 2.2, 1.4.11).
        let found = contrast(widgets.hovered.bg_stroke.color, visuals.panel_fill);
        assert!(found >= 3.0, "{name}: focus: {found:.2}");
    }
}

#[test]
fn unlikely_tokens_can_be_read() {
    for (name, visuals, least) in themes() {
        let widgets = &visuals.widgets;
        for on in [visuals.panel_fill, visuals.faint_bg_color] {
            assert_eq!(on.blend(doubt(&visuals, 1.0)), on, "{name}: what is certain has no shade");
            for chance in [-1.0, 0.0, 0.3, 0.9] {
                let ground = on.blend(doubt(&visuals, chance));
                // At rest, under the pointer, and clicked.
                for widget in [&widgets.noninteractive, &widgets.inactive, &widgets.hovered, &widgets.active] {
                    let found = contrast(widget.text_color(), ground);
                    assert!(found >= least, "{name}: {ground:?} of a chance of {chance}: {found:.2}");
                }
            }
            let shade = f32::from(on.r().abs_diff(on.blend(doubt(&visuals, 0.0)).r()));
            assert!(shade >= 16.0, "{name}: hardly seen: {shade}");
        }
    }
}

#[test]
fn sections_differ_for_every_sight() {
    for dark in [false, true] {
        for (sight, matrix) in &SIGHTS {
            for (index, a) in KINDS.iter().enumerate() {
                for b in &KINDS[..index] {
                    let found = distance(section_color(*a, dark), section_color(*b, dark), matrix);
                    assert!(found >= LEAST_DISTANCE, "{sight}, dark {dark}: {a:?} and {b:?} are {found:.1} apart");
                }
            }
        }
    }
}

/// Between any two sections' colours, CIE76.
const LEAST_DISTANCE: f64 = 13.0;

#[test]
fn themes_are_installed_by_name() {
    let ctx = egui::Context::default();
    for (name, preference) in [
        ("system", ThemePreference::System),
        ("light", ThemePreference::Light),
        ("dark-contrast", ThemePreference::Dark),
        ("no such theme", ThemePreference::System),
        ("dark", ThemePreference::Dark),
    ] {
        install(&ctx, name);
        assert_eq!(ctx.options(|options| options.theme_preference), preference, "{name}");
        let palette = if name == "dark-contrast" { &DARK_CONTRAST } else { &DARK };
        assert_eq!(ctx.style_of(Theme::Dark).visuals.panel_fill, color(palette.panel), "{name}");
    }
}
