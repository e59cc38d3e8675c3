//! The model page: what the settings cost, LoRAs, another model under an open chat, and a load that is cancelled.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use eframe::egui::{Key, Modifiers};
use egui_kittest::Harness;
use guanaco::desk::Desk;
use guanaco::desk::model::ModelState;
use guanaco::desk::settings::{LoraChoice, ModelChoice};
use guanaco::gui::{App, Start};
use guanaco::hub::{Cache, ModelName};
use guanaco_engine::file::{Checkpoint, Dtype, NewTensor, SafetensorsWriter};
use guanaco_engine::kernels::Rng;
use guanaco_engine::model::Config;
use guanaco_tests::{Outcome, workspace};

use super::hands::Hands;

/// What the page says of the memory, once it is about `choice`.
fn plan(hands: &mut Hands) -> anyhow::Result<u64> {
    hands.wait(|desk| desk.facts_are_current() && matches!(desk.facts(), Some(Ok(_))))?;
    let facts = hands.desk().facts().cloned().context("facts")?.map_err(anyhow::Error::msg)?;
    let parts = ["Memory plan: ", "Weights: ", "KV cache: ", "Scratch: ", "While loading: "];
    let missing: Vec<_> = parts.into_iter().filter(|part| !hands.sees(part)).collect();
    ensure!(missing.is_empty(), "{missing:?}: {:?}", hands.labels());
    Ok(facts.plan.total())
}

/// Context, int8 and RoPE move the plan before anything is loaded; then it is loaded so.
pub(crate) fn settings() -> Outcome {
    // Tall enough for all of the page.
    let mut hands = Hands::open(tempfile::tempdir()?, [1180.0, 1400.0])?;
    hands.page(Key::Num3);
    let first = plan(&mut hands)?;
    ensure!(hands.sees("tiny-guanaco") && hands.sees("Memory that the model takes"));
    ensure!(!hands.sees("RMSNorm"));
    hands.click("All that the files say")?;
    ensure!(hands.sees("RMSNorm          eps") && hands.sees("the embedding is lm_head too"), "{:?}", hands.labels());
    hands.slide("Context", Key::ArrowLeft, 3)?;
    ensure!(plan(&mut hands)? < first, "by the slider");
    hands.number("Context", 512)?;
    let shorter = plan(&mut hands)?;
    ensure!(shorter < first, "a shorter context takes less: {shorter} of {first}");
    hands.click("Keep the cache in 8 bits")?;
    let int8 = plan(&mut hands)?;
    ensure!(int8 < shorter, "an 8-bit cache takes less: {int8} of {shorter}");
    hands.pick("RoPE scaling", "dynamic")?;
    plan(&mut hands)?;
    hands.number("Context", 2048)?;
    let longer = plan(&mut hands)?;
    let trained = hands.desk().facts().cloned().context("facts")?.map_err(anyhow::Error::msg)?.context.0;
    let context = hands.desk().choice.context.context("a context")?;
    ensure!(longer > int8 && context > trained, "{longer} of {int8}, {context} of {trained}");
    let before = hands.desk().model.ready().cloned().context("the model")?;
    hands.click("Load")?;
    hands.wait(|desk| desk.model.ready().is_some_and(|model| !std::sync::Arc::ptr_eq(model, &before)))?;
    let loaded = hands.desk().model.ready().cloned().context("the model")?;
    ensure!(loaded.files.max_seq_len == context, "{} of {context}", loaded.files.max_seq_len);
    hands.page(Key::Num1);
    hands.say("Hello!")
}

/// The embedded model as files, and a LoRA over it with a weight; the chat that is open stays as it is.
pub(crate) fn another() -> Outcome {
    // Tall enough for both LoRAs.
    let mut hands = Hands::open(tempfile::tempdir()?, [1180.0, 1100.0])?;
    hands.say("What is your name?")?;
    let before = hands.path();
    let model = workspace().join("app/tiny-guanaco");
    let [second, lora] = ["b-lora", "a-lora"].map(|name| lora(&hands.folder().join(name), &model));
    let (second, lora) = (second?, lora?);
    hands.page(Key::Num3);
    hands.fill("Folder or GGUF file", &model.display().to_string())?;
    hands.click("Open")?;
    hands.fill("Folder of a LoRA", &lora.display().to_string())?;
    hands.click("➕ Add a LoRA")?;
    hands.drop_files(&[&second]);
    plan(&mut hands)?;
    hands.number("Weight", 0.5)?;
    let scales: Vec<f64> = hands.desk().choice.loras.iter().map(|lora| lora.scale).collect();
    ensure!(scales.contains(&0.5) && scales.contains(&1.0), "each has its own: {scales:?}");
    plan(&mut hands)?;
    hands.click("Load")?;
    loaded(&mut hands, |name| !name.contains("embedded"))?;
    ensure!(hands.desk().model.ready().context("the model")?.files.loras.len() == 2);
    ensure!(hands.sees("a-lora") && hands.sees("b-lora"), "{:?}", hands.labels());
    hands.page(Key::Num1);
    ensure!(hands.path() == before && hands.sees("What is your name?"), "the chat is intact");
    hands.say("And mine?")?;
    let info = hands.path()[3].reply.clone().context("how the answer was made")?;
    ensure!(!info.model.contains("embedded") && info.model != before[1].reply.clone().context("info")?.model);
    // Off again, and back to the embedded model.
    hands.page(Key::Num3);
    let name = guanaco::checkpoint::name(Some(&lora));
    for name in [name, guanaco::checkpoint::name(Some(&second))] {
        hands.click_last(&name)?;
    }
    ensure!(hands.desk().choice.loras.iter().all(|lora| !lora.on));
    hands.click("Built-in tiny model")?;
    plan(&mut hands)?;
    hands.click("Load")?;
    loaded(&mut hands, |name| name.contains("embedded"))?;
    ensure!(hands.desk().model.ready().context("the model")?.files.loras.is_empty());
    // What was loaded is offered again, also after a restart.
    let mut hands = hands.restart()?;
    hands.page(Key::Num3);
    hands.click(&guanaco::checkpoint::name(Some(&model)))?;
    ensure!(hands.desk().choice.path.as_deref() == Some(model.as_path()));
    Ok(())
}

/// What was pulled while the window is open is offered when the page is opened again.
pub(crate) fn pulled() -> Outcome {
    let mut hands = Hands::new()?;
    let cache = Cache::new(hands.folder().join("hub"));
    hands.desk().hub = Some(cache.clone());
    hands.page(Key::Num3);
    ensure!(!hands.sees("Hugging Face cache"), "{:?}", hands.labels());
    let name: ModelName = "someone/a-llama".parse().map_err(anyhow::Error::msg)?;
    let commit = "0123abcd".repeat(5);
    let (reference, snapshot) = (cache.reference(&name), cache.snapshot(&name, &commit));
    std::fs::create_dir_all(&snapshot)?;
    std::fs::create_dir_all(reference.parent().context("its folder")?)?;
    std::fs::write(&reference, &commit)?;
    std::fs::write(snapshot.join("config.json"), "{}")?;
    hands.page(Key::Num1);
    hands.page(Key::Num3);
    ensure!(hands.sees("Hugging Face cache"), "{:?}", hands.labels());
    hands.click("someone/a-llama")?;
    ensure!(hands.desk().choice.path.as_deref() == Some(Path::new("someone/a-llama")));
    Ok(())
}

/// A model that the command line names comes without the LoRAs and the context of the one before.
pub(crate) fn named() -> Outcome {
    let mut hands = Hands::new()?;
    let desk = hands.desk();
    desk.choice.loras.push(LoraChoice { path: "/no/such/lora".into(), scale: 1.0, on: true });
    (desk.choice.context, desk.choice.kv_int8) = (Some(64), true);
    let adapter = desk.model.ready().context("the model")?.adapter.query();
    desk.choice.adapter = Some(adapter.clone());
    desk.load();
    ensure!(desk.leave(std::time::Duration::from_secs(30)));
    let (folder, model) = (hands.close(), workspace().join("app/tiny-guanaco"));
    let (path, start) = (folder.path().to_owned(), Start { model: Some(model.clone()), adapter: None });
    let mut window = Harness::builder().wgpu().build_eframe(|context| App::new(&context.egui_ctx, path, &start));
    let desk = window.state_mut().desk().context("the desk")?;
    let fresh = ModelChoice { path: Some(model), adapter: Some(adapter), ..ModelChoice::default() };
    ensure!(desk.choice == fresh, "{:?}", desk.choice);
    while desk.model.load().is_some() {
        desk.poll();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    ensure!(desk.model.ready().is_some(), "{:?}", desk.model);
    Ok(())
}

fn loaded(hands: &mut Hands, is: impl Fn(&str) -> bool) -> Outcome {
    hands.wait(|desk| {
        matches!(desk.model, ModelState::Failed(_)) || desk.model.ready().is_some_and(|model| is(&model.files.name))
    })?;
    ensure!(hands.desk().model.ready().is_some(), "{:?}", hands.desk().model);
    Ok(())
}

/// A load that is cancelled leaves no model, says so, and the next one comes to its end.
pub(crate) fn cancel() -> Outcome {
    let mut hands = Hands::new()?;
    hands.page(Key::Num3);
    plan(&mut hands)?;
    let mut cancelled = false;
    // On a fast machine the load may be over before a hand can cancel it.
    for _ in 0..5 {
        hands.click("Load")?;
        if hands.sees("Cancel") && hands.click_first("Cancel").is_ok() {
            hands.wait(|desk: &mut Desk| desk.model.load().is_none())?;
            cancelled = matches!(hands.desk().model, ModelState::None);
        }
        if cancelled {
            break;
        }
        hands.wait(|desk| desk.model.ready().is_some())?;
    }
    ensure!(cancelled, "no load could be cancelled");
    ensure!(hands.sees("No model is loaded"));
    hands.page(Key::Num1);
    hands.type_text("Hello!")?;
    hands.press(Key::Enter);
    ensure!(hands.sees("load one on the page “Models”") && hands.desk().chat.draft == "Hello!", "{:?}", hands.labels());
    hands.click_last("Close")?;
    hands.page(Key::Num3);
    hands.click("Load")?;
    hands.wait(|desk| desk.model.ready().is_some())?;
    // What is none is refused with a reason, and what is loaded stays.
    hands.click("Folder or GGUF file")?;
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.write("/no/such/model");
    hands.press(Key::Enter);
    hands.wait(|desk| matches!(desk.facts(), Some(Err(reason)) if reason.contains("/no/such/model")))?;
    ensure!(hands.labels().iter().any(|label| label.starts_with('⚠') && label.contains("/no/such/model")));
    ensure!(hands.click("Load").is_err() && hands.desk().model.ready().is_some(), "it cannot be loaded");
    Ok(())
}

/// A folder that is no LoRA is refused where it was typed, and the model stays what it is.
pub(crate) fn no_lora() -> Outcome {
    let mut hands = Hands::open(tempfile::tempdir()?, [1180.0, 1100.0])?;
    let empty = tempfile::tempdir()?;
    hands.page(Key::Num3);
    hands.wait(|desk| matches!(desk.facts(), Some(Ok(_))))?;
    hands.fill("Folder of a LoRA", &empty.path().display().to_string())?;
    hands.press(Key::Enter);
    ensure!(hands.desk().choice.loras.is_empty() && matches!(hands.desk().facts(), Some(Ok(_))));
    ensure!(hands.sees("adapter_config.json"), "{:?}", hands.labels());
    // The path is still there to be corrected.
    let lora = lora(&empty.path().join("lora"), &workspace().join("app/tiny-guanaco"))?;
    hands.fill("Folder of a LoRA", "/lora")?;
    hands.press(Key::Enter);
    ensure!(hands.desk().choice.loras.iter().map(|lora| &lora.path).eq([&lora]), "{:?}", hands.desk().choice.loras);
    ensure!(!hands.sees("adapter_config.json"), "{:?}", hands.labels());
    Ok(())
}

/// A LoRA on a projection of the first layer, as PEFT keeps it.
pub(super) fn lora(folder: &Path, model: &Path) -> anyhow::Result<PathBuf> {
    let config = Config::load(&Checkpoint::open(model)?)?;
    std::fs::create_dir(folder)?;
    let name = |half| format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{half}.weight");
    let rows = config.n_heads * config.head_dim;
    let tensors = [("A", vec![2, config.dim]), ("B", vec![rows, 2])].map(|(half, shape)| NewTensor {
        name: name(half),
        dtype: Dtype::F32,
        shape,
    });
    let mut writer = SafetensorsWriter::create(&folder.join("adapter_model.safetensors"), &tensors)?;
    let mut rng = Rng::new(7);
    for tensor in &tensors {
        let values = rng.values(tensor.shape.iter().product(), 0.05);
        let bytes: Vec<u8> = values.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
        writer.write(&bytes)?;
    }
    writer.finish()?;
    std::fs::write(folder.join("adapter_config.json"), r#"{"peft_type":"LORA","r":2,"lora_alpha":4}"#)?;
    Ok(folder.to_owned())
}
