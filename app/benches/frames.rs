//! `cargo bench --workspace --bench frames`: what a frame of the window costs, by the number of messages, and while an answer is made.
//!
//! A frame is `logic`, `ui` and tessellation of the whole window, without a display; what a GPU does for it is not in the figures.

use std::time::{Duration, Instant};

use eframe::egui;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use guanaco::gui::{App, Start};
use guanaco::tree::NewNode;

fn main() -> anyhow::Result<()> {
    println!("{:<34} {:>9} {:>9} {:>9}", "frame time, ms", "median", "99 %", "longest");
    for n in [10, 100, 1_000, 10_000] {
        let (_folder, mut window) = open()?;
        fill(&mut window, n);
        row(&format!("{n} messages, at rest"), &mut window, 200, |_, _| {});
        row(&format!("{n} messages, scrolling"), &mut window, 200, |window, frame| {
            let up = if frame % 40 < 20 { 400.0 } else { -400.0 };
            let delta = egui::vec2(0.0, up);
            window.hover_at(egui::pos2(500.0, 300.0));
            window.event(egui::Event::MouseWheel {
                unit: egui::MouseWheelUnit::Point,
                delta,
                phase: egui::TouchPhase::Move,
                source: egui::MouseWheelSource::Wheel,
                modifiers: egui::Modifiers::NONE,
            });
        });
        // The prompt is built anew with each letter, on a thread of its own.
        if let Some(field) = window.query_by_label("Message") {
            field.focus();
        }
        row(&format!("{n} messages, typing"), &mut window, 200, |window, _| {
            window.event(egui::Event::Text("a".to_owned()));
        });
    }
    let (_folder, mut window) = open()?;
    fill(&mut window, 100);
    if let Some(desk) = window.state_mut().desk() {
        desk.chat.draft = "Tell me a long story.".to_owned();
        desk.chat.settings.max_new_tokens = 400;
        desk.send();
    }
    wait(&mut window, |app| {
        app.desk().is_some_and(|desk| desk.answering().is_none_or(|answering| answering.n_tokens > 0))
    });
    // Between frames a window rests, and the answer goes on.
    row("100 messages, while an answer is made", &mut window, 200, |_, _| std::thread::sleep(Duration::from_millis(4)));
    Ok(())
}

/// A window, and the folder of its data, which outlives it.
fn open() -> anyhow::Result<(tempfile::TempDir, Harness<'static, App>)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_owned();
    let mut window = Harness::builder()
        .with_size([1180.0, 780.0])
        .build_eframe(|context| App::new(&context.egui_ctx, path, &Start::default()));
    if let Some(desk) = window.state_mut().desk() {
        desk.window.locale = Some("en".to_owned());
    }
    wait(&mut window, |app| app.desk().is_some_and(|desk| desk.model.ready().is_some()));
    Ok((folder, window))
}

fn wait(window: &mut Harness<'static, App>, done: impl Fn(&mut App) -> bool) {
    let start = Instant::now();
    while !done(window.state_mut()) && start.elapsed() < Duration::from_secs(120) {
        window.step();
        // The worker's core is not taken by looking.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// `n` messages, as long as people's are.
fn fill(window: &mut Harness<'static, App>, n: usize) {
    let Some(desk) = window.state_mut().desk() else { return };
    let mut parent = desk.chat.tree.leaf();
    for i in 0..n {
        let text = format!("Message {i}. {}", "Some words, **bold** ones too, and `code`. ".repeat(1 + i * 7 % 11));
        let node = if i % 2 == 0 { NewNode::user(text) } else { NewNode::assistant(text) };
        parent = Some(desk.chat.tree.add(parent, node));
    }
    desk.save_chat();
    for _ in 0..10 {
        window.step();
    }
}

fn row(
    name: &str,
    window: &mut Harness<'static, App>,
    frames: usize,
    mut before: impl FnMut(&mut Harness<'static, App>, usize),
) {
    let mut times: Vec<f64> = (0..frames)
        .map(|frame| {
            before(window, frame);
            let start = Instant::now();
            window.step();
            let output = window.output();
            window.ctx.tessellate(output.shapes.clone(), output.pixels_per_point);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get(((times.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    println!("{name:<34} {:>9.2} {:>9.2} {:>9.2}", at(0.5), at(0.99), at(1.0));
}
