//! The places of what a list shows: rows a fixed distance apart, in sight, inside the window, one over none.

use anyhow::{Context as _, ensure};
use eframe::egui::{Rect, Vec2};
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
