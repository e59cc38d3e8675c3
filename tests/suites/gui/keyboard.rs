//! The window by keys alone, and with an input method.

use anyhow::{Context as _, ensure};
use eframe::egui::{Event, ImeEvent, Key, Modifiers};
use guanaco_tests::Outcome;

use super::hands::Hands;

/// A chat from the first word to an edited message, without a pointer.
pub(crate) fn alone() -> Outcome {
    let mut hands = Hands::new()?;
    hands.press_with(Modifiers::COMMAND, Key::N);
    hands.brief();
    ensure!(at(&hands, "Message"), "a new chat is there to be typed in, not {:?}", hands.focused());
    hands.write("Hello! Who are you?");
    hands.press(Key::Enter);
    hands.wait_for_answer()?;
    ensure!(at(&hands, "Message"), "after Enter: {:?}", hands.focused());
    hands.write("What can you do?");
    hands.tab_to("➤ Send")?;
    hands.press(Key::Space);
    hands.wait_for_answer()?;
    ensure!(hands.path().len() == 4 && at(&hands, "Message"), "after Send: {:?}", hands.focused());
    panel(&mut hands)?;
    swipes(&mut hands)?;
    edits(&mut hands)?;
    // Another page, and back to where one types.
    hands.page(Key::Num5);
    ensure!(hands.sees("Data folder"));
    hands.tab_to("💬  Chat")?;
    hands.press(Key::Enter);
    ensure!(at(&hands, "Message") && !hands.sees("Data folder"), "back in the chat: {:?}", hands.focused());
    Ok(())
}

fn at(hands: &Hands, name: &str) -> bool {
    hands.focused().as_deref() == Some(name)
}

/// The prompt's panel: away and back, another tab, a slider, a list.
fn panel(hands: &mut Hands) -> Outcome {
    hands.press_with(Modifiers::COMMAND, Key::P);
    ensure!(!hands.sees("### Input:"));
    hands.press_with(Modifiers::COMMAND, Key::P);
    hands.tab_to("Sampling")?;
    hands.press(Key::Enter);
    hands.tab_to("Temperature")?;
    let before = hands.desk().chat.settings.sampler.temperature;
    hands.press(Key::ArrowRight);
    let after = hands.desk().chat.settings.sampler.temperature;
    ensure!(after > before, "{before} {after}");
    hands.tab_back_to("Preset")?;
    hands.press(Key::Enter);
    hands.tab_to("reference")?;
    hands.press(Key::Enter);
    ensure!(hands.desk().chat.settings.sampler.greedy, "the preset is taken");
    hands.tab_to("Greedy")?;
    hands.press(Key::Space);
    ensure!(!hands.desk().chat.settings.sampler.greedy);
    Ok(())
}

/// Answers beside each other: by the buttons, which keep the keyboard, and by Alt and the arrows.
fn swipes(hands: &mut Hands) -> Outcome {
    hands.tab_back_to("Answer again")?;
    hands.press(Key::Enter);
    hands.wait_for_answer()?;
    ensure!(at(hands, "Message"), "after an answer was made again: {:?}", hands.focused());
    let last = |hands: &mut Hands| hands.path().last().map(|node| node.id).context("the answer");
    let second = last(hands)?;
    hands.press_with(Modifiers::ALT, Key::ArrowLeft);
    let first = last(hands)?;
    ensure!(first != second && hands.sees("1/2"));
    // With a text in the field the arrows are the text's.
    hands.write("some words");
    hands.press_with(Modifiers::ALT, Key::ArrowRight);
    ensure!(last(hands)? == first);
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.press(Key::Backspace);
    hands.tab_back_to("Next answer")?;
    hands.press(Key::Enter);
    ensure!(last(hands)? == second && at(hands, "Next answer"), "the button is under the hand: {:?}", hands.focused());
    hands.press(Key::Enter);
    ensure!(last(hands)? == second, "there is none behind the last");
    hands.tab_back_to("Previous answer")?;
    hands.press(Key::Enter);
    ensure!(last(hands)? == first && at(hands, "Previous answer"), "{:?}", hands.focused());
    Ok(())
}

/// Edits a message; Escape leaves it as it was.
fn edits(hands: &mut Hands) -> Outcome {
    let before = hands.path();
    hands.tab_back_to("Edit message")?;
    hands.press(Key::Enter);
    ensure!(at(hands, "Edit message"), "the field has the keyboard: {:?}", hands.focused());
    hands.write("nothing of this stays");
    hands.press(Key::Escape);
    ensure!(at(hands, "Edit message"), "after Escape: {:?}", hands.focused());
    ensure!(hands.path() == before);
    hands.press(Key::Enter);
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.write("Something else.");
    hands.tab_to("Apply")?;
    hands.press(Key::Enter);
    hands.wait_for_answer()?;
    let path = hands.path();
    ensure!(path.iter().any(|node| node.content == "Something else."), "{path:?}");
    Ok(())
}

/// What Tab comes to is brought into view, in a window that is too small for all of it.
pub(crate) fn in_sight() -> Outcome {
    let mut hands = Hands::open(tempfile::tempdir()?, [760.0, 380.0])?;
    hands.click("Sampling")?;
    hands.tab_to("Use for new chats")?;
    hands.steps(4);
    ensure!(hands.sees_focused(), "it is below the edge");
    hands.tab_back_to("Greedy")?;
    hands.steps(4);
    ensure!(hands.sees_focused(), "it is above the edge");
    Ok(())
}

/// Enter that ends a composition belongs to the input method.
pub(crate) fn input_method() -> Outcome {
    let mut hands = Hands::new()?;
    let preedit = |text: &str| Event::Ime(ImeEvent::Preedit { text: text.to_owned(), active_range_chars: None });
    hands.click("Message")?;
    for event in [preedit("に"), preedit("にほん"), preedit("日本")] {
        hands.window.event(event);
        hands.steps(1);
    }
    hands.press(Key::Enter);
    ensure!(hands.path().is_empty(), "it was sent while it was composed");
    hands.window.event(Event::Ime(ImeEvent::Commit("日本".to_owned())));
    hands.steps(2);
    ensure!(hands.path().is_empty() && hands.desk().chat.draft == "日本", "{:?}", hands.desk().chat.draft);
    hands.press(Key::Enter);
    hands.wait_for_answer()?;
    ensure!(hands.path().first().is_some_and(|node| node.content == "日本") && hands.desk().chat.draft.is_empty());
    Ok(())
}
