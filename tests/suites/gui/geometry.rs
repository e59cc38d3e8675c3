//! The places of what a list shows: rows a fixed distance apart, in sight, inside the window, one over none.

use anyhow::{Context as _, ensure};
use eframe::egui::{self, Rect, Vec2};
use egui_kittest::kittest::NodeT as _;
use guanaco::store::{ChatId, ChatSummary};
use guanaco_tests::Outcome;

use super::hands::Hands;

/// The least number of rows in sight where a list has more.
const IN_SIGHT: usize = 10;

/// Windows in points, with pixels per point.
const WINDOWS: [([f32; 2], f32); 3] = [([900.0, 600.0], 1.0), ([1280.0, 800.0], 1.0), ([1280.0, 800.0], 1.5)];

/// The list of chats with 1, 2, 8 and 36 chats.
pub(crate) fn chats() -> Outcome {
    for (size, scale) in WINDOWS {
        let mut hands = Hands::open(tempfile::tempdir()?, size)?;
        hands.window.set_pixels_per_point(scale);
        for count in [1, 2, 8, 36] {
            hands.desk().chats = (1..=count).map(summary).collect();
            hands.steps(4);
            rows(&hands, size.into(), count as usize)
                .with_context(|| format!("{count} chats, {size:?}, scale {scale}"))?;
        }
    }
    Ok(())
}

/// A message that is sent while an older one is read comes into sight; a button leads there, too.
pub(crate) fn newest() -> Outcome {
    let mut hands = Hands::new()?;
    hands.desk().chat.settings.max_new_tokens = 2;
    hands.say(&"A line.\n".repeat(70))?;
    let in_sight = |hands: &Hands, text: &str| {
        let window = hands.window.ctx.content_rect();
        let node = hands.nodes().find(|node| node.accesskit_node().value().as_deref() == Some(text));
        node.is_some_and(|node| window.contains_rect(node.rect()))
    };
    let up = |hands: &mut Hands| {
        hands.window.event(egui::Event::PointerMoved(egui::pos2(500.0, 300.0)));
        hands.window.event(egui::Event::MouseWheel {
            unit: egui::MouseWheelUnit::Point,
            delta: egui::vec2(0.0, 1500.0),
            source: egui::MouseWheelSource::Unknown,
            phase: egui::TouchPhase::Move,
            modifiers: egui::Modifiers::NONE,
        });
        hands.steps(60);
    };
    ensure!(!hands.sees("Newest"), "{:?}", hands.labels());
    up(&mut hands);
    ensure!(hands.sees("Newest"), "{:?}", hands.labels());
    hands.say("The last words")?;
    ensure!(in_sight(&hands, "The last words") && !hands.sees("Newest"), "{:?}", hands.labels());
    up(&mut hands);
    ensure!(!in_sight(&hands, "The last words"));
    hands.click("⬇ Newest")?;
    hands.steps(4);
    ensure!(in_sight(&hands, "The last words") && !hands.sees("Newest"), "{:?}", hands.labels());
    Ok(())
}

fn summary(n: u64) -> ChatSummary {
    ChatSummary { id: ChatId(n), title: format!("Talk {n:02}"), created_ms: n, updated_ms: n, n_messages: 2 }
}

/// Checks the rows that lie in the window, by their titles and by their menus.
fn rows(hands: &Hands, size: Vec2, count: usize) -> Outcome {
    let window = Rect::from_min_size(Default::default(), size);
    let placed = |prefix: &str| -> Vec<Rect> {
        let is_row = |label: Option<String>| label.is_some_and(|label| label.starts_with(prefix));
        let nodes = hands.nodes().filter(|node| is_row(node.accesskit_node().label()));
        let mut rects: Vec<_> = nodes.map(|node| node.rect()).filter(|rect| window.contains_rect(*rect)).collect();
        rects.sort_by(|a, b| a.top().total_cmp(&b.top()));
        rects
    };
    let (titles, menus) = (placed("Talk "), placed("Menu of “Talk "));
    let spacing = hands.window.ctx.global_style().spacing.clone();
    let step = spacing.interact_size.y + spacing.item_spacing.y;
    for rects in [&titles, &menus] {
        ensure!(rects.len() >= count.min(IN_SIGHT), "{} of {count} rows in sight: {rects:?}", rects.len());
        for pair in rects.windows(2) {
            let apart = pair[1].center().y - pair[0].center().y;
            ensure!((apart - step).abs() < 1.0, "rows {apart} apart, not {step}: {pair:?}");
            ensure!(pair[0].bottom() <= pair[1].top() + 0.5, "rows overlap: {pair:?}");
        }
    }
    for (title, menu) in titles.iter().zip(&menus) {
        ensure!((title.center().y - menu.center().y).abs() < 1.0, "a menu off its row: {title:?} {menu:?}");
        ensure!(title.right() <= menu.left() + 0.5, "a title under its menu: {title:?} {menu:?}");
    }
    Ok(())
}
