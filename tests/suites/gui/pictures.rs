//! Pictures of the window on this machine's adapter, beside those that are kept.

use anyhow::ensure;
use eframe::egui::{Rect, pos2};
use guanaco::tree::NewNode;
use guanaco_engine::gpu::list_adapters;
use guanaco_tests::Outcome;

use super::hands::Hands;

/// What is photographed: a name, a language, a theme.
const SHOTS: [(&str, &str, &str); 6] = [
    ("en-light", "en", "light"),
    ("en-dark", "en", "dark"),
    ("ja-light", "ja", "light"),
    ("ja-dark", "ja", "dark"),
    ("zh-TW-light", "zh-TW", "light"),
    ("zh-TW-dark", "zh-TW", "dark"),
];

/// Draws the same chat in each, and compares with `tests/data/pictures`. Other drivers than lavapipe draw other edges: there the
/// window is drawn, and not compared.
pub(crate) fn run() -> Outcome {
    let compares = list_adapters().first().is_some_and(|adapter| adapter.name.contains("llvmpipe"));
    let mut hands = Hands::new()?;
    let question = hands.desk().chat.tree.add(None, NewNode::user("What is a guanaco? 直 骨 返".to_owned()));
    let text = "A **guanaco** is a camelid of South America.\n\n```\nlama guanicoe\n```\n\n- 草食\n- 野生";
    hands.desk().chat.tree.add(Some(question), NewNode::assistant(text.to_owned()));
    hands.desk().save_chat();
    let mut failed = Vec::new();
    for (name, locale, theme) in SHOTS {
        hands.desk().window.locale = Some(locale.to_owned());
        hands.desk().window.theme = theme.to_owned();
        // A cursor that blinks would be there or not.
        hands.window.ctx.memory_mut(|memory| memory.stop_text_input());
        hands.steps(6);
        if !compares {
            hands.window.render().map_err(anyhow::Error::msg)?;
            continue;
        }
        // The device's name differs from machine to machine.
        hands.window.mask(Rect::from_min_max(pos2(211.0, 0.0), pos2(1180.0, 29.0)));
        let options = egui_kittest::SnapshotOptions::new().output_path("../tests/data/pictures");
        if let Err(error) = hands.window.try_snapshot_options(name, &options) {
            failed.push(error.to_string());
        }
    }
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    println!("{} pictures{}", SHOTS.len(), if compares { "" } else { ", drawn and not compared" });
    Ok(())
}
