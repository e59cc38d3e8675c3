//! What fails is told plainly, and takes no chat with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use eframe::egui::{FontId, Key};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use guanaco::desk::model::ModelState;
use guanaco::desk::{Desk, News};
use guanaco::gui::{App, Start};
use guanaco::store::{Change, Store};
use guanaco_tests::{Outcome, workspace};

use super::hands::Hands;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The device goes away while an answer streams: what there is of it stays, the model comes back, a line says what happened.
pub(crate) fn lost_device() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Remember this.")?;
    let before = hands.path();
    hands.desk().chat.settings.max_new_tokens = 900;
    hands.desk().chat.settings.stop = vec!["no answer has this".to_owned()];
    let mut lost = None;
    // A short answer may be over before.
    for _ in 0..5 {
        hands.send("Tell me a very long story.")?;
        hands.wait(|desk| desk.answering().is_none_or(|answering| answering.n_tokens >= 2))?;
        let model = hands.desk().model.ready().cloned().context("the model")?;
        if hands.desk().answering().is_some() {
            model.lose_device("the driver was reset");
            hands.wait(|desk| desk.answering().is_none())?;
        }
        if hands.news().iter().any(|news| matches!(news, News::DeviceLost(_) | News::Failed(_))) {
            lost = Some(model);
            break;
        }
    }
    let old = lost.context("every answer was over before the device was")?;
    ensure!(
        hands.sees("The graphics device was lost and set up again; the chat is intact. (the driver was reset)"),
        "{:?}",
        hands.news()
    );
    hands.wait(|desk| desk.model.ready().is_some_and(|model| !Arc::ptr_eq(model, &old)))?;
    let path = hands.path();
    ensure!(path.starts_with(&before), "{path:?}");
    let cut = path.last().context("the answer")?.clone();
    ensure!(!cut.complete && !cut.content.is_empty() && hands.sees("This answer was interrupted"), "{cut:?}");
    // It goes on where it was cut off, once the line is put away.
    hands.click_last("Close")?;
    hands.brief();
    hands.click_last("Continue this answer")?;
    hands.wait_for_answer()?;
    let whole = hands.path().pop().context("the answer")?;
    ensure!(whole.id == cut.id && whole.complete && whole.content.starts_with(cut.content.trim_end()), "{whole:?}");
    Ok(())
}

/// A window on the data in `folder`, whose model nobody waits for.
fn window(folder: PathBuf) -> Harness<'static, App> {
    Harness::builder()
        .with_size([1180.0, 780.0])
        .with_max_steps(40)
        .wgpu()
        .build_eframe(|context| App::new(&context.egui_ctx, folder, &Start::default()))
}

/// A driver that takes the program down while a model is loaded does so once: the next start loads nothing, says so, and lets choose.
pub(crate) fn ended_while_loading() -> Outcome {
    let mut hands = Hands::new()?;
    let marked = |desk: &Desk| desk.store().setting("loading").and_then(|value| value.as_bool());
    hands.desk().save_window();
    ensure!(hands.desk().flush(PATIENCE) && marked(hands.desk()) == Some(false), "a load that came to its end");
    hands.desk().load();
    hands.wait(|desk| matches!(desk.model, ModelState::Loading(..) | ModelState::Ready(_)))?;
    if hands.desk().model.load().is_some() {
        ensure!(marked(hands.desk()) == Some(true), "nothing would be known of a crash now");
    }
    hands.wait(|desk| desk.model.load().is_none())?;
    ensure!(hands.desk().leave(PATIENCE) && marked(hands.desk()) == Some(false));
    let folder = hands.close();
    // As it is left by a crash.
    Store::open(folder.path())?.write(&[Change::Setting("loading".to_owned(), true.into())])?;
    // Closing the window changes nothing about it.
    for _ in 0..2 {
        let mut window = window(folder.path().to_owned());
        window.run_steps(4);
        ensure!(window.query_by_label_contains("Guanaco ended while it was loading tiny-guanaco").is_some());
        let desk = window.state_mut().desk().context("the desk")?;
        ensure!(matches!(desk.model, ModelState::None), "{:?}", desk.model);
        ensure!(desk.leave(PATIENCE) && marked(desk) == Some(true));
    }
    let mut window = window(folder.path().to_owned());
    let start = Instant::now();
    while window.query_by_label("Load").is_none_or(|button| button.accesskit_node().is_disabled()) {
        ensure!(start.elapsed() < PATIENCE, "it cannot be loaded");
        window.step();
    }
    window.get_by_label("Load").click();
    while window.state_mut().desk().context("the desk")?.model.ready().is_none() {
        ensure!(start.elapsed() < PATIENCE, "it is not loaded");
        window.step();
    }
    let desk = window.state_mut().desk().context("the desk")?;
    ensure!(desk.flush(PATIENCE) && marked(desk) == Some(false));
    Ok(())
}

/// A window that is closed while a model is loaded ends the load, so that the program ends, too.
pub(crate) fn closed_while_loading() -> Outcome {
    let folder = tempfile::tempdir()?;
    let mut desk = Desk::open(folder.path(), Arc::new(|| {}))?;
    for _ in 0..5 {
        desk.load();
        ensure!(desk.leave(Duration::from_secs(30)));
        ensure!(desk.model.load().is_some(), "nothing was loaded yet: {:?}", desk.model);
        while desk.model.load().is_some() {
            desk.poll();
            std::thread::sleep(Duration::from_millis(1));
        }
        ensure!(matches!(desk.model, ModelState::None), "the load went on: {:?}", desk.model);
    }
    Ok(())
}

/// A second window on the same chats says who has them, and opens them once they are free.
pub(crate) fn locked() -> Outcome {
    let mut first = Hands::new()?;
    first.say("Mine.")?;
    let path = first.folder().to_owned();
    let mut second = Harness::builder()
        .with_size([900.0, 600.0])
        .wgpu()
        .build_eframe(move |context| App::new(&context.egui_ctx, path, &Start::default()));
    second.run_steps(3);
    ensure!(second.state_mut().desk().is_none());
    ensure!(second.query_by_label_contains("another running guanaco has these chats open").is_some());
    let font = FontId::proportional(14.0);
    let missing: Vec<char> =
        "开啟こß".chars().filter(|c| !second.ctx.fonts_mut(|fonts| fonts.has_glyph(&font, *c))).collect();
    ensure!(missing.is_empty(), "boxes in place of {missing:?}");
    let retry = |second: &mut Harness<'static, App>| {
        // In the system's language, which may be any.
        let button = second.get_by_role(eframe::egui::Role::Button);
        button.click();
        second.run_steps(3);
    };
    retry(&mut second);
    ensure!(second.state_mut().desk().is_none(), "they are still taken");
    ensure!(first.desk().leave(Duration::from_secs(30)));
    let folder = first.close();
    retry(&mut second);
    let desk = second.state_mut().desk().context("the chats are free, and not opened")?;
    ensure!(desk.chat.tree.path().first().is_some_and(|node| node.content == "Mine."));
    drop(second);
    drop(folder);
    Ok(())
}

/// A model larger than any memory: the page says so before it is loaded, from the headers of its file.
pub(crate) fn too_large() -> Outcome {
    let mut hands = Hands::new()?;
    let model = hands.folder().join("huge");
    if let Err(error) = huge(&model) {
        println!("not tried: this disk takes no sparse file of that size ({error:#})");
        return Ok(());
    }
    hands.page(Key::Num3);
    hands.fill("Folder or GGUF file", &model.display().to_string())?;
    hands.click("Open")?;
    hands.wait(|desk| {
        desk.facts_are_current()
            && desk.facts().is_some_and(|facts| facts.as_ref().map_or(true, |facts| facts.name.contains("huge")))
    })?;
    ensure!(hands.sees("This does not fit."), "{:?}", hands.labels());
    ensure!(hands.desk().model.ready().is_some(), "what is loaded stays");
    Ok(())
}

/// A folder with the header of a 600 GB model, and nothing behind it.
fn huge(folder: &Path) -> Outcome {
    std::fs::create_dir(folder)?;
    let (dim, hidden, layers, vocabulary) = (16_384_u64, 65_536_u64, 70, 2048_u64);
    let config = format!(
        r#"{{"architectures":["LlamaForCausalLM"],"model_type":"llama","hidden_act":"silu","hidden_size":{dim},"intermediate_size":{hidden},
        "num_attention_heads":128,"num_hidden_layers":{layers},"vocab_size":{vocabulary},"rms_norm_eps":1e-6,"max_position_embeddings":2048}}"#
    );
    std::fs::write(folder.join("config.json"), config)?;
    std::fs::copy(workspace().join("app/tiny-guanaco/tokenizer.json"), folder.join("tokenizer.json"))?;
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, dim]),
        ("model.norm.weight".to_owned(), vec![dim]),
        ("lm_head.weight".to_owned(), vec![vocabulary, dim]),
    ];
    for layer in 0..layers {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        tensors.extend(
            ["q_proj", "k_proj", "v_proj", "o_proj"].map(|part| (name(&format!("self_attn.{part}")), vec![dim, dim])),
        );
        tensors.extend([(name("mlp.gate_proj"), vec![hidden, dim]), (name("mlp.up_proj"), vec![hidden, dim])]);
        tensors.push((name("mlp.down_proj"), vec![dim, hidden]));
        tensors.extend(["input_layernorm", "post_attention_layernorm"].map(|part| (name(part), vec![dim])));
    }
    let mut end = 0;
    let entries: Vec<String> = tensors
        .iter()
        .map(|(name, shape)| {
            let start = end;
            end += 2 * shape.iter().product::<u64>();
            format!(r#""{name}":{{"dtype":"F16","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
        })
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    let path = folder.join("model.safetensors");
    std::fs::write(&path, &bytes)?;
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(bytes.len() as u64 + end)?;
    Ok(())
}

/// A message that no context holds is refused with figures, and stays in the chat to be shortened.
pub(crate) fn too_long() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Hello!")?;
    let long = "one two three four five ".repeat(600);
    hands.send(&long)?;
    hands.steps(3);
    ensure!(hands.desk().answering().is_none());
    let failed = |news: &News| matches!(news, News::Failed(reason) if reason.contains("tokens"));
    ensure!(hands.news().iter().any(failed), "{:?}", hands.news());
    ensure!(hands.path().len() == 3 && hands.path()[2].content == long.trim(), "what was typed is not lost");
    hands.click_last("Close")?;
    hands.click_last("Edit message")?;
    hands.press_with(eframe::egui::Modifiers::COMMAND, Key::A);
    hands.write("Shorter.");
    hands.click("Apply")?;
    hands.wait_for_answer()?;
    ensure!(hands.path().len() == 4 && hands.path()[2].content == "Shorter.");
    Ok(())
}
