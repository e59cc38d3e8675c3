//! The list of chats: opening, renaming, filtering, deleting, taking away; and searching the open one.

use anyhow::{Context as _, ensure};
use eframe::egui::{Key, Modifiers};
use guanaco::desk::files::{ChatFile, Existing};
use guanaco::desk::{Desk, News};
use guanaco_tests::Outcome;

use super::hands::Hands;

pub(crate) fn list() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("About the sea")?;
    hands.click("➕ New chat")?;
    hands.brief();
    hands.say("About the mountains")?;
    ensure!(hands.desk().chats.len() == 2);
    // A chat that is not open gets another name.
    hands.click("Menu of “About the sea”")?;
    hands.click("Rename")?;
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.write("Waves");
    hands.press(Key::Enter);
    ensure!(hands.sees("Waves") && !hands.sees("About the sea"), "{:?}", hands.labels());
    ensure!(hands.focused().as_deref() == Some("Waves"), "its line has the keyboard: {:?}", hands.focused());
    // One that is given up keeps its name, and so does one that would have none.
    for (typed, key) in [("nothing", Key::Escape), ("  ", Key::Enter)] {
        hands.click("Menu of “Waves”")?;
        hands.click("Rename")?;
        hands.press_with(Modifiers::COMMAND, Key::A);
        hands.write(typed);
        hands.press(key);
        ensure!(hands.sees("Waves") && !hands.sees("nothing"), "{:?}", hands.labels());
    }
    hands.fill("Filter chats", "WAV")?;
    ensure!(hands.sees("Waves") && !hands.sees("Menu of “About the mountains”"));
    hands.click("Waves")?;
    ensure!(hands.path()[0].content == "About the sea");
    hands.click("Filter chats")?;
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.press(Key::Backspace);
    search(&mut hands)?;
    // Deleted only when that is confirmed, and then for good.
    hands.click("Menu of “Waves”")?;
    hands.click("Delete chat")?;
    hands.click("Cancel")?;
    ensure!(hands.desk().chats.len() == 2);
    hands.click("Menu of “Waves”")?;
    hands.click("Delete chat")?;
    hands.click("Delete")?;
    ensure!(hands.desk().chats.len() == 1 && !hands.sees("Waves") && hands.path().is_empty());
    let mut hands = hands.restart()?;
    ensure!(hands.desk().chats.len() == 1 && hands.sees("About the mountains"));
    Ok(())
}

/// Finds what was said on another branch, too.
fn search(hands: &mut Hands) -> Outcome {
    hands.click_last("Answer again")?;
    hands.wait_for_answer()?;
    let second = hands.path()[1].id;
    hands.click_last("Edit message")?;
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.write("A lighthouse stands there.");
    hands.click("Apply")?;
    hands.click_last("Previous answer")?;
    ensure!(!hands.sees("A lighthouse stands there."));
    hands.say("Is the lighthouse old?")?;
    hands.press_with(Modifiers::COMMAND, Key::F);
    ensure!(hands.focused().as_deref() == Some("Search this chat"), "{:?}", hands.focused());
    hands.write("LIGHTHOUSE");
    ensure!(hands.sees("0 of 2"), "{:?}", hands.labels());
    hands.press(Key::Enter);
    ensure!(hands.sees("1 of 2") && hands.path()[1].id == second && hands.path().len() == 4, "{:?}", hands.path());
    hands.press(Key::Enter);
    ensure!(hands.sees("2 of 2") && hands.path()[1].content == "A lighthouse stands there.", "{:?}", hands.path());
    hands.click("Previous match")?;
    ensure!(hands.sees("1 of 2") && hands.path()[1].id == second);
    hands.click("Search this chat")?;
    hands.press(Key::Escape);
    ensure!(!hands.sees("1 of 2"));
    Ok(())
}

/// Knowledge and a message that are being typed, in a chat in which nothing was said yet; and the prompt that is shown is never another
/// chat's.
pub(crate) fn left() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("About the sea")?;
    hands.click("➕ New chat")?;
    hands.type_text("Half a question")?;
    hands.click("Knowledge")?;
    hands.fill("System knowledge", "The tower of Medora is 87 metres high.")?;
    hands.wait(|desk| says(desk, "Medora"))?;
    ensure!(hands.desk().chats.len() == 1, "one in which nothing was said is not listed while it is open");
    // The field still has the keyboard.
    hands.click("About the sea")?;
    ensure!(!says(hands.desk(), "Medora"), "the prompt of the chat that was left");
    hands.wait(|desk| says(desk, "About the sea"))?;
    ensure!(hands.desk().chat.settings.system.knowledge.is_empty() && hands.desk().chats.len() == 2);
    let there = |hands: &mut Hands| -> Outcome {
        hands.click("New chat")?;
        let chat = &hands.desk().chat;
        let kept = (chat.draft.as_str(), chat.settings.system.knowledge.as_str());
        ensure!(kept == ("Half a question", "The tower of Medora is 87 metres high."), "{kept:?}");
        hands.wait(|desk| says(desk, "Medora") && says(desk, "Half a question"))
    };
    there(&mut hands)?;
    hands.click("About the sea")?;
    let mut hands = hands.restart()?;
    there(&mut hands)?;
    // What was typed lives as long as it was not sent.
    hands.click("➤ Send")?;
    hands.wait_for_answer()?;
    hands.click("About the sea")?;
    hands.click("Half a question")?;
    ensure!(hands.desk().chat.draft.is_empty() && hands.path().len() == 2);
    edits(hands)
}

/// Messages that are being changed when one leaves: several at once.
fn edits(mut hands: Hands) -> Outcome {
    hands.click("About the sea")?;
    hands.click_first("Edit message")?;
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.write("About the moon");
    hands.click_last("Edit message")?;
    hands.write(" And");
    let typed = |hands: &mut Hands| -> anyhow::Result<Vec<String>> {
        ensure!(hands.sees("Apply"), "{:?}", hands.labels());
        Ok(hands.desk().chat.edits.values().cloned().collect())
    };
    let before = typed(&mut hands)?;
    ensure!(before.len() == 2 && before[0] == "About the moon" && before[1].ends_with(" And"), "{before:?}");
    hands.click("Half a question")?;
    ensure!(!hands.sees("Apply"));
    hands.click("About the sea")?;
    ensure!(typed(&mut hands)? == before);
    let mut hands = hands.restart()?;
    ensure!(typed(&mut hands)? == before, "after a restart");
    hands.wait(|desk| desk.model.ready().is_some())?;
    // One that goes with its message comes back with it.
    hands.click_last("Delete this message and what follows it")?;
    ensure!(hands.path().len() == 1);
    hands.click("↩ Undo")?;
    ensure!(typed(&mut hands)? == before);
    // Escape gives the one up that has the keyboard, Cancel its own.
    hands.click_last("Edit message")?;
    hands.press(Key::Escape);
    ensure!(typed(&mut hands)? == before[..1]);
    hands.click_last("Edit message")?;
    hands.write("!");
    ensure!(typed(&mut hands)?.len() == 2);
    hands.click_last("Cancel")?;
    ensure!(typed(&mut hands)? == before[..1]);
    hands.click("Apply")?;
    hands.wait_for_answer()?;
    ensure!(hands.desk().chat.edits.is_empty() && !hands.sees("Apply"));
    ensure!(hands.path()[0].content == "About the moon" && hands.path().len() == 2, "{:?}", hands.path());
    Ok(())
}

/// Whether the prompt that is shown has `words`.
fn says(desk: &Desk, words: &str) -> bool {
    desk.preview().is_some_and(|shown| shown.prompt.as_ref().is_ok_and(|prompt| prompt.text.contains(words)))
}

/// A chat comes with those who play in it to where nobody knows them, and once only.
pub(crate) fn with_characters() -> Outcome {
    let mut hands = Hands::new()?;
    hands.click("Chat with Zorina")?;
    hands.brief();
    hands.say("Where do you live?")?;
    let (id, chat) = (hands.desk().chat.settings.characters[0], hands.desk().chat.id);
    let card = hands.desk().character(id).context("Zorina")?.card.clone();
    let path = hands.folder().join("with.json");
    hands.desk().export_chat(chat, ChatFile::Json, ("You", "Guanaco"), &path, Existing::Replace)?;
    let mut other = Hands::new()?;
    let own = other.desk().characters.iter().find(|who| who.card.name() == "Zorina").context("her own")?.id;
    other.desk().delete_character(own);
    for _ in 0..2 {
        other.drop_files(&[&path]);
        ensure!(other.news().is_empty() && other.path().len() == 2, "{:?}", other.news());
        ensure!(other.desk().chat.settings.characters == [id] && other.desk().characters.len() == 1);
        ensure!(other.desk().character(id).is_some_and(|who| who.card == card));
    }
    let mut other = other.restart()?;
    ensure!(other.desk().character(id).is_some_and(|who| who.card == card), "{:?}", other.desk().characters);
    let brought = other.desk().chats.iter().filter(|chat| chat.title == "Zorina").count();
    ensure!(brought == 2, "{:?}", other.desk().chats);
    Ok(())
}

/// Each kind of file by the chat's menu; the JSON comes back when it is dropped on the window.
pub(crate) fn export() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Remember this.")?;
    let before: Vec<_> = hands.path().into_iter().map(|node| node.content).collect();
    for (entry, file) in [
        ("Export all as JSON", "Remember this_.json"),
        ("Export as Markdown", "Remember this_.md"),
        ("Export as text", "Remember this_.txt"),
    ] {
        hands.click("Menu of “Remember this.”")?;
        hands.click(entry)?;
        let path = hands.folder().join(file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("{entry} wrote no {file}"))?;
        ensure!(before.iter().all(|said| text.contains(said.trim()) || file.ends_with("json")), "{text}");
        ensure!(hands.sees(&format!("✔ {}", path.display())), "where it is: {:?}", hands.labels());
        hands.click_last("Close")?;
        ensure!(hands.news().is_empty());
    }
    ensure!(std::fs::read_to_string(hands.folder().join("Remember this_.md"))?.contains("**You**"));
    let chat = hands.desk().chat.id;
    let file = hands.folder().join("Remember this_.json");
    hands.drop_files(&[&file]);
    ensure!(hands.desk().chat.id != chat && hands.desk().chats.len() == 2, "{:?}", hands.news());
    ensure!(hands.path().iter().map(|node| &node.content).eq(&before));
    ensure!(!hands.news().iter().any(|news| matches!(news, News::Failed(_))));
    Ok(())
}
