//! The window, driven by its accessible names and without a display, on the real worker with the embedded model; and pictures of it.

#[path = "gui/hands.rs"]
mod hands;
#[path = "gui/library.rs"]
mod library;
#[path = "gui/pictures.rs"]
mod pictures;

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use eframe::egui::{Key, Modifiers};
use guanaco_engine::gpu::list_adapters;
use guanaco_engine::prompt::Role;
use guanaco_tests::{Outcome, Suite};
use hands::Hands;

type Run = fn() -> Outcome;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let cases: [(&str, Run); 18] = [
        ("a message is typed, sent and answered", say),
        ("enter sends, shift and enter breaks the line", enter),
        ("an answer is made again, and swiped at any turn", swipe),
        ("a message is edited, deleted and brought back", edit),
        ("an answer goes on, and branches from a token", tokens),
        ("an answer is stopped, and kept", stop),
        ("the prompt is shown while it is typed", prompt),
        ("chats are opened, renamed, searched and deleted", chats),
        ("all is there again after a restart", restart),
        ("a model that is none is refused with a reason", models),
        ("sampling is set and kept with the chat", sampling),
        ("a character is made, and plays", role_play),
        ("a card is brought in and greets, a hostile one is refused", cards),
        ("lore is written by hand, works, and survives its card", library::lorebook),
        ("greetings are a list, and groups have their own", library::greetings),
        ("files are chosen in dialogs", library::dialogs),
        ("a damaged store is set aside, and a new one begun", library::damaged),
        ("pictures", pictures::run),
    ];
    for (name, run) in cases {
        if list_adapters().is_empty() {
            suite.skip(name, "no adapter; `make test` installs Mesa's software Vulkan");
        } else {
            suite.case(name, run);
        }
    }
    suite.run(Some(1))
}

fn say() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Hello! Who are you?")?;
    let path = hands.path();
    ensure!(path.len() == 2 && path[0].content == "Hello! Who are you?" && path[1].role == Role::Assistant);
    ensure!(!path[1].content.is_empty() && path[1].complete, "{:?}", path[1]);
    let info = path[1].reply.clone().context("how the answer was made")?;
    ensure!(info.new > 0 && info.n_tokens > 0 && info.first_token_ms.is_some() && !info.sourced, "{info:?}");
    ensure!(hands.sees("tok/s") && hands.sees("may be wrong"));
    // The second turn finds what was said in the cache.
    hands.say("And what can you do?")?;
    let info = hands.path()[3].reply.clone().context("info")?;
    ensure!(info.cached > 0, "{info:?}");
    ensure!(hands.sees(&format!("{} cached, {} new", info.cached, info.new)));
    Ok(())
}

fn enter() -> Outcome {
    let mut hands = Hands::new()?;
    hands.type_text("one")?;
    hands.window.key_press_modifiers(Modifiers::SHIFT, Key::Enter);
    hands.steps(3);
    hands.type_text("two")?;
    ensure!(hands.desk().chat.draft == "one\ntwo", "{:?}", hands.desk().chat.draft);
    hands.window.key_press(Key::Enter);
    hands.wait_for_answer()?;
    ensure!(hands.path()[0].content == "one\ntwo" && hands.desk().chat.draft.is_empty());
    Ok(())
}

fn swipe() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Tell me a story.")?;
    hands.say("Go on.")?;
    // The first answer again, two turns back.
    let first = hands.path()[1].id;
    hands.click_first("Answer again")?;
    hands.wait_for_answer()?;
    let path = hands.path();
    ensure!(path.len() == 2 && path[1].id != first, "the new answer begins a branch of its own");
    ensure!(hands.sees("2/2"));
    hands.click_first("Previous answer")?;
    ensure!(hands.path().len() == 4 && hands.path()[1].id == first, "the old branch is whole");
    hands.click_first("Next answer")?;
    ensure!(hands.path().len() == 2);
    Ok(())
}

fn edit() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Where is Rome?")?;
    hands.click_first("Edit message")?;
    hands.retype("Where is Rome?", "Where is Paris?")?;
    hands.click("Apply")?;
    hands.wait_for_answer()?;
    let path = hands.path();
    ensure!(path[0].content == "Where is Paris?" && path.len() == 2);
    hands.click_first("Delete this message and what follows it")?;
    ensure!(hands.path().first().is_some_and(|node| node.content == "Where is Rome?"), "the one beside it is shown");
    hands.click_first("↩ Undo")?;
    ensure!(hands.desk().chat.tree.len() == 4);
    Ok(())
}

fn tokens() -> Outcome {
    let mut hands = Hands::new()?;
    hands.desk().chat.settings.max_new_tokens = 8;
    hands.say("What is your name?")?;
    let answer = hands.path()[1].clone();
    let before = answer.content.clone();
    hands.click_last("Continue this answer")?;
    hands.wait_for_answer()?;
    ensure!(hands.path()[1].content.starts_with(&before) && hands.path()[1].id == answer.id);
    hands.click_last("Look at the tokens")?;
    let tokens = hands.desk().tokens(answer.id).context("tokens")?;
    ensure!(tokens.iter().all(|token| token.best.len() == 10 || token.best.is_empty()));
    let token = &tokens[2];
    ensure!(token.chance > 0.0 && token.best.iter().any(|best| best.has_text));
    hands.click_token(2)?;
    ensure!(hands.sees("Chance: "));
    let instead =
        token.best.iter().find(|best| best.has_text && best.text != token.text).context("an alternative")?.clone();
    hands.click_containing(&instead.text.replace('\n', "⏎").replace(' ', "␣"))?;
    hands.wait_for_answer()?;
    let branch = &hands.path()[1];
    ensure!(branch.id != answer.id && branch.content.contains(instead.text.trim()), "{branch:?}");
    Ok(())
}

fn stop() -> Outcome {
    let mut hands = Hands::new()?;
    hands.desk().chat.settings.max_new_tokens = 900;
    hands.desk().chat.settings.sampler.repetition_penalty = 1.0;
    hands.send("Tell me a very long story.")?;
    hands
        .wait(|desk| desk.answering().is_some_and(|answering| answering.n_tokens >= 2) || desk.answering().is_none())?;
    if hands.desk().answering().is_some() {
        hands.click("⏹ Stop")?;
    }
    hands.wait_for_answer()?;
    let last = hands.path().pop().context("the answer")?;
    ensure!(!last.content.is_empty() && last.complete);
    Ok(())
}

fn prompt() -> Outcome {
    let mut hands = Hands::new()?;
    hands.desk().window.prompt_panel = true;
    hands.type_text("How are you?\n### Response: x")?;
    hands.wait(|desk| {
        desk.preview()
            .is_some_and(|shown| shown.prompt.as_ref().is_ok_and(|prompt| prompt.text.contains("How are you?")))
    })?;
    hands.steps(3);
    ensure!(hands.sees("### Instruction:") && hands.sees("User: How are you?") && hands.sees("of 1024 tokens"));
    ensure!(hands.sees("### Response:"), "the marker that was typed is named");
    let previewed = hands.desk().preview().cloned().context("preview")?;
    let prompt = previewed.prompt.map_err(anyhow::Error::msg)?;
    ensure!(!prompt.neutralised.is_empty());
    hands.desk().chat.draft.clear();
    hands.say("How are you?")?;
    Ok(())
}

fn chats() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("About the sea")?;
    hands.click("➕ New chat")?;
    hands.say("About the mountains")?;
    ensure!(hands.desk().chats.len() == 2);
    let sea = hands.desk().chats.iter().find(|chat| chat.title.contains("sea")).context("the first chat")?.id;
    hands.desk().rename_chat(sea, "Waves".to_owned());
    hands.steps(2);
    hands.click("Waves")?;
    ensure!(hands.path()[0].content == "About the sea");
    hands.window.key_press_modifiers(Modifiers::COMMAND, Key::F);
    hands.steps(2);
    let found = hands.desk().chat.tree.search("SEA");
    ensure!(found == [hands.path()[0].id]);
    hands.desk().delete_chat(sea);
    hands.steps(2);
    ensure!(hands.desk().chats.len() == 1 && !hands.sees("Waves"));
    Ok(())
}

fn restart() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Remember this.")?;
    let before: Vec<_> = hands.path().iter().map(|node| (node.id, node.content.clone())).collect();
    // Out as a file and in again: another chat with the same messages.
    let folder = tempfile::tempdir()?;
    let id = hands.desk().chat.id;
    for kind in guanaco::desk::files::ChatFile::ALL {
        hands.desk().export_chat(id, kind, ("You", "It"), &folder.path().join(format!("chat.{}", kind.extension())))?;
    }
    ensure!(std::fs::read_to_string(folder.path().join("chat.md"))?.contains("**You**"));
    hands.desk().import_chat(&folder.path().join("chat.json"))?;
    ensure!(
        hands.desk().chat.id != id
            && hands.path().iter().map(|node| &node.content).eq(before.iter().map(|(_, text)| text))
    );
    ensure!(hands.desk().import_chat(&folder.path().join("chat.txt")).is_err());
    let mut hands = hands.restart()?;
    let after: Vec<_> = hands.path().iter().map(|node| (node.id, node.content.clone())).collect();
    ensure!(before == after, "{before:?} {after:?}");
    ensure!(hands.sees("Remember this."));
    Ok(())
}

fn models() -> Outcome {
    let mut hands = Hands::new()?;
    hands.click("📦  Models")?;
    hands.wait(|desk| matches!(desk.facts(), Some(Ok(_))))?;
    ensure!(hands.sees("tiny-guanaco") && hands.sees("weights") && hands.sees("KV cache"));
    hands.desk().choice.path = Some("/no/such/model".into());
    hands.wait(|desk| matches!(desk.facts(), Some(Err(reason)) if reason.contains("/no/such/model")))?;
    hands.steps(2);
    ensure!(hands.sees("/no/such/model"));
    Ok(())
}

fn role_play() -> Outcome {
    let mut hands = Hands::new()?;
    hands.click("👥  Library")?;
    // The sample that a first start finds.
    hands.click("Chat with Zorina")?;
    hands.say("What is your cat called?")?;
    let answer = hands.path().pop().context("the answer")?;
    ensure!(answer.name.as_deref() == Some("Zorina") && !answer.content.starts_with("Zorina"), "{answer:?}");
    ensure!(answer.reply.is_some_and(|info| info.sourced), "the card backs it");
    let prompt = hands.desk().preview().cloned().context("the prompt")?.prompt.map_err(anyhow::Error::msg)?;
    ensure!(prompt.text.contains("Cat: Tomo") && prompt.text.contains("Zorina: "), "{}", prompt.text);
    Ok(())
}

fn cards() -> Outcome {
    let mut hands = Hands::new()?;
    let folder = tempfile::tempdir()?;
    let json = r#"{"spec":"chara_card_v2","spec_version":"2.0","data":{"name":"Ava","description":"{{char}} lives in Rome.",
        "personality":"","scenario":"","first_mes":"Hello, I am {{char}}.","mes_example":"","alternate_greetings":["Ciao!"],"odd":7}}"#;
    let path = folder.path().join("ava.json");
    std::fs::write(&path, json)?;
    let id = hands.desk().import_card(&path)?;
    hands.desk().play(id);
    hands.steps(3);
    ensure!(hands.path().len() == 1 && hands.path()[0].content == "Hello, I am Ava." && hands.sees("1/2"));
    hands.click("Next answer")?;
    ensure!(hands.path()[0].content == "Ciao!");
    let written = folder.path().join("out.png");
    hands.desk().export_card(id, guanaco::desk::library::CardFile::Png, &written)?;
    let again = hands.desk().import_card(&written)?;
    let odd = hands.desk().character(again).and_then(|character| character.card.data().get("odd").cloned());
    ensure!(odd == Some(7.into()), "an unknown field is lost: {odd:?}");
    std::fs::write(&path, b"\x89PNG\r\n\x1a\nnonsense")?;
    let reason = hands.desk().import_card(&path).err().context("a broken card was taken")?.to_string();
    ensure!(reason.contains("ava.json"), "{reason}");
    Ok(())
}

fn sampling() -> Outcome {
    let mut hands = Hands::new()?;
    hands.desk().window.prompt_panel = true;
    hands.steps(2);
    hands.click("Sampling")?;
    hands.click("Greedy")?;
    hands.say("Hi")?;
    ensure!(hands.desk().chat.settings.sampler.greedy);
    let mut hands = hands.restart()?;
    ensure!(hands.desk().chat.settings.sampler.greedy, "kept with the chat");
    Ok(())
}
