//! Everything that can have the keyboard or be clicked says what it is, on every page and in every state.

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use eframe::egui::accesskit::{Action, Role};
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::NodeT as _;
use guanaco_tests::{Outcome, workspace};

use super::hands::{Hands, Seen};
use super::models::lora;

/// What was found wanting, each thing once.
type Found = BTreeSet<String>;

pub(crate) fn run() -> Outcome {
    let mut hands = Hands::new()?;
    let mut found = Found::new();
    look(&hands, "an empty chat", &mut found);
    chat(&mut hands, &mut found)?;
    builder(&mut hands, &mut found)?;
    pages(&mut hands, &mut found)?;
    ensure!(found.is_empty(), "{}", found.into_iter().collect::<Vec<_>>().join("\n"));
    Ok(())
}

fn chat(hands: &mut Hands, found: &mut Found) -> Outcome {
    hands.say("What is your name?")?;
    hands.click_last("Answer again")?;
    hands.wait_for_answer()?;
    look(hands, "a chat with a swipe", found);
    hands.click_last("Look at the tokens")?;
    look(hands, "the tokens", found);
    hands.click_token(1)?;
    look(hands, "a token's alternatives", found);
    hands.press(Key::Escape);
    hands.press_with(Modifiers::COMMAND, Key::F);
    look(hands, "the search", found);
    hands.press(Key::Escape);
    hands.click_first("Edit message")?;
    look(hands, "a message that is edited", found);
    hands.click("Cancel")?;
    hands.click_last("Delete this message and what follows it")?;
    look(hands, "something to undo", found);
    hands.click_first("Menu of “What is your name?”")?;
    look(hands, "a chat's menu", found);
    hands.click("Rename")?;
    look(hands, "a chat that is renamed", found);
    hands.press(Key::Escape);
    hands.click_first("Menu of “What is your name?”")?;
    hands.click("Delete chat")?;
    look(hands, "the question before a chat is deleted", found);
    hands.click("Cancel")
}

fn builder(hands: &mut Hands, found: &mut Found) -> Outcome {
    hands.click("Limit the history")?;
    look(hands, "the prompt", found);
    hands.click("Knowledge")?;
    hands.click("➕ Add source")?;
    look(hands, "the System block", found);
    hands.click("Language of the prompt’s own words")?;
    look(hands, "the languages of the prompt", found);
    hands.press(Key::Escape);
    hands.click("Sampling")?;
    hands.click("Fixed seed")?;
    look(hands, "sampling", found);
    Ok(())
}

fn pages(hands: &mut Hands, found: &mut Found) -> Outcome {
    hands.page(Key::Num2);
    look(hands, "the library", found);
    hands.click("New character")?;
    look(hands, "a character that is made", found);
    hands.fill("Name", "Luma")?;
    hands.fill("Description", "Home: Tavoro")?;
    hands.click_last("New character")?;
    hands.click("➕ Add a lorebook")?;
    hands.click("➕ Add an entry")?;
    look(hands, "a card with an entry of lore", found);
    hands.click("Chat with Luma")?;
    let zorina = hands.desk().characters.iter().find(|other| other.card.called() == "Zorina").map(|other| other.id);
    hands.desk().play(zorina.context("the sample character")?);
    hands.steps(3);
    ensure!(hands.sees("Who speaks"));
    look(hands, "a chat with several characters", found);
    let odd = hands.folder().join("odd.jsonl");
    std::fs::write(&odd, "no chat")?;
    hands.drop_files(&[&odd]);
    ensure!(!hands.news().is_empty());
    look(hands, "something that is told", found);
    hands.page(Key::Num3);
    hands.wait(|desk| matches!(desk.facts(), Some(Ok(_))))?;
    let lora = lora(&hands.folder().join("a lora"), &workspace().join("app/tiny-guanaco"))?;
    hands.drop_files(&[&lora]);
    look(hands, "the models", found);
    hands.page(Key::Num4);
    hands.wait_to_see("The best there is")?;
    look(hands, "the GPU page", found);
    hands.page(Key::Num5);
    look(hands, "the settings", found);
    hands.click("Theme")?;
    look(hands, "the themes", found);
    Ok(())
}

/// Looks for widgets without a name, and for two in one row that cannot be told apart.
fn look(hands: &Hands, state: &str, found: &mut Found) {
    let mut seen = 0;
    let mut buttons: Vec<(Seen<'_>, String)> = Vec::new();
    for node in hands.nodes() {
        let access = node.accesskit_node();
        let role = access.role();
        if !access.data().supports_action(Action::Focus) && !is_control(role) {
            continue;
        }
        seen += 1;
        let name = access.label().or_else(|| access.value().filter(|_| role == Role::Label)).unwrap_or_default();
        // A sign alone is no word.
        if !name.chars().any(char::is_alphanumeric) {
            found
                .insert(format!("{state}: {role:?} {name:?} without a name, {:?}", access.value().unwrap_or_default()));
        }
        if role == Role::Button {
            buttons.push((node, name));
        }
    }
    if seen < 12 {
        found.insert(format!("{state}: only {seen} widgets, that cannot be all"));
    }
    for (at, (one, name)) in buttons.iter().enumerate() {
        for (other, same) in buttons.iter().skip(at + 1) {
            let row = (one.rect().center().y - other.rect().center().y).abs() < 4.0;
            let parent = |node: &Seen<'_>| node.accesskit_node().parent_id();
            if row && name == same && parent(one) == parent(other) && !name.starts_with("Token ") {
                found.insert(format!("{state}: two buttons {name:?} in one row"));
            }
        }
    }
}

/// Whether something of this role is there to be used, keyboard or not.
fn is_control(role: Role) -> bool {
    matches!(
        role,
        Role::Button
            | Role::CheckBox
            | Role::ComboBox
            | Role::Link
            | Role::MultilineTextInput
            | Role::RadioButton
            | Role::Slider
            | Role::SpinButton
            | Role::Tab
            | Role::TextInput
    )
}
