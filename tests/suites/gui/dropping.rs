//! What is dropped on the window goes where it belongs, or is refused with a reason.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use eframe::egui::Key;
use guanaco::desk::News;
use guanaco_tests::{Outcome, workspace};

use super::hands::Hands;
use super::models::lora;

pub(crate) fn run() -> Outcome {
    let mut hands = Hands::new()?;
    cards(&mut hands)?;
    texts(&mut hands)?;
    models(&mut hands)?;
    Ok(())
}

/// A file among those of the window's folder.
fn file(hands: &Hands, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
    let path = hands.folder().join(name);
    std::fs::write(&path, bytes)?;
    Ok(path)
}

/// What is refused is told with the file's name, and goes away when that is closed.
fn refused(hands: &mut Hands, path: &Path) -> Outcome {
    hands.drop_files(&[path]);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let told = hands.news().iter().any(|news| matches!(news, News::Failed(reason) if reason.contains(&name)));
    ensure!(told && hands.sees(&name), "{name}: {:?}", hands.news());
    hands.click_last("Close")?;
    ensure!(hands.news().is_empty(), "{:?}", hands.news());
    Ok(())
}

fn cards(hands: &mut Hands) -> Outcome {
    let json = r#"{"spec":"chara_card_v2","spec_version":"2.0","data":{"name":"Ava","description":"{{char}} lives in Rome.",
        "personality":"","scenario":"","first_mes":"Hello, I am {{char}}.","mes_example":"","alternate_greetings":["Ciao!"]}}"#;
    let card = file(hands, "ava.json", json.as_bytes())?;
    hands.drop_files(&[&card]);
    ensure!(hands.sees("Chat with Ava"), "{:?}", hands.news());
    hands.click("Chat with Ava")?;
    ensure!(hands.path().len() == 1 && hands.path()[0].content == "Hello, I am Ava." && hands.sees("1/2"));
    hands.click("Next answer")?;
    ensure!(hands.path()[0].content == "Ciao!");
    // A picture without a card in it, and one that is none.
    refused(hands, &workspace().join("tests/data/pictures/en-light.png"))?;
    let nonsense = file(hands, "nonsense.png", b"\x89PNG\r\n\x1a\nnonsense")?;
    refused(hands, &nonsense)
}

fn texts(hands: &mut Hands) -> Outcome {
    let note = file(hands, "note.txt", "The tower of Medora is 87 metres high.".as_bytes())?;
    let page = file(hands, "page.md", b"# The river\nIt is called Lim.")?;
    hands.drop_files(&[&note, &page]);
    let sources: Vec<_> = hands.desk().chat.settings.system.sources.iter().map(|source| source.title.clone()).collect();
    ensure!(sources == ["note", "The river"], "{sources:?}");
    ensure!(hands.sees("Use “note”") && hands.sees("Use “The river”"), "the panel shows them");
    let bytes = file(hands, "bytes.txt", b"\xff\xfe\x00")?;
    refused(hands, &bytes)?;
    // A chat of another program, as JSONL; and one that is broken, with its line.
    let chat = "{\"user_name\":\"Kim\",\"character_name\":\"Ava\",\"create_date\":\"2024-01-01\"}\n\
                {\"name\":\"Ava\",\"is_user\":false,\"mes\":\"Hello from afar.\"}\n\
                {\"name\":\"Kim\",\"is_user\":true,\"mes\":\"Hello!\"}\n";
    let path = file(hands, "afar.jsonl", chat.as_bytes())?;
    hands.drop_files(&[&path]);
    ensure!(hands.path().iter().any(|node| node.content == "Hello from afar."), "{:?}", hands.news());
    while !hands.news().is_empty() {
        hands.click_last("Close")?;
    }
    let broken = file(hands, "broken.jsonl", b"{\"user_name\":\"Kim\"}\n{\"name\":")?;
    refused(hands, &broken)?;
    // One of this program's that was cut off, or has a mistake in it, is a chat all the same, and no card.
    let id = hands.desk().chat.id;
    ensure!(hands.desk().flush(std::time::Duration::from_secs(30)));
    let whole = hands.desk().store().export(id, |_| Default::default())?;
    let lines: Vec<_> = whole.lines().collect();
    let cut = lines[..lines.len() / 2].join("\n");
    let wrong = whole.replacen("\"role\": \"user\"", "\"role\": \"king\"", 1);
    ensure!(wrong != whole);
    for (name, text) in [("cut.json", &cut), ("wrong.json", &wrong)] {
        let path = file(hands, name, text.as_bytes())?;
        hands.drop_files(&[&path]);
        let told = |news: &News| matches!(news, News::Failed(told) if told.contains(name) && told.contains("line ") && !told.contains("character"));
        ensure!(hands.news().iter().any(told) && hands.sees("Message"), "{name}: {:?}", hands.news());
        hands.click_last("Close")?;
    }
    let before = hands.path().len();
    let whole = file(hands, "whole.json", whole.as_bytes())?;
    hands.drop_files(&[&whole]);
    ensure!(hands.desk().chat.id != id && hands.path().len() == before, "{:?}", hands.news());
    Ok(())
}

fn models(hands: &mut Hands) -> Outcome {
    let model = workspace().join("app/tiny-guanaco");
    hands.drop_files(&[&model]);
    hands.wait(|desk| matches!(desk.facts(), Some(Ok(facts)) if facts.name.contains("tiny-guanaco") && !facts.name.contains("embedded")))?;
    ensure!(hands.sees("safetensors") && hands.sees(&model.display().to_string()), "{:?}", hands.labels());
    // One without weights is refused where LoRAs are added; the model stays as it is.
    let hollow = hands.folder().join("my lora");
    std::fs::create_dir(&hollow)?;
    std::fs::write(hollow.join("adapter_config.json"), r#"{"peft_type":"LORA","r":3,"lora_alpha":12}"#)?;
    hands.drop_files(&[&hollow]);
    ensure!(hands.desk().choice.loras.is_empty() && matches!(hands.desk().facts(), Some(Ok(_))));
    ensure!(hands.labels().iter().any(|label| label.starts_with('⚠') && label.contains("my lora")));
    let lora = lora(&hands.folder().join("whole lora"), &model)?;
    hands.drop_files(&[&lora]);
    ensure!(hands.desk().choice.loras.len() == 1 && hands.sees("whole lora"), "{:?}", hands.labels());
    // What is no model at all.
    let empty = hands.folder().join("empty");
    std::fs::create_dir(&empty)?;
    hands.drop_files(&[&empty]);
    hands.wait(|desk| matches!(desk.facts(), Some(Err(reason)) if reason.contains("empty")))?;
    hands.page(Key::Num1);
    Ok(())
}
