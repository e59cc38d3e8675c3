//! The window, driven by its accessible names and without a display, on the real worker with the embedded model; and pictures of it.

#[path = "gui/chats.rs"]
mod chats;
#[path = "gui/conversation.rs"]
mod conversation;
#[path = "gui/dropping.rs"]
mod dropping;
#[path = "gui/failures.rs"]
mod failures;
#[path = "gui/geometry.rs"]
mod geometry;
#[path = "gui/gpu.rs"]
mod gpu;
#[path = "gui/hands.rs"]
mod hands;
#[path = "gui/keyboard.rs"]
mod keyboard;
#[path = "gui/library.rs"]
mod library;
#[path = "gui/models.rs"]
mod models;
#[path = "gui/names.rs"]
mod names;
#[path = "gui/pictures.rs"]
mod pictures;
#[path = "gui/settings.rs"]
mod settings;

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use eframe::egui::{Key, Modifiers};
use guanaco::desk::Desk;
use guanaco::desk::tokens::places;
use guanaco::tree::Node;
use guanaco_engine::prompt::Role;
use guanaco_engine::sampler::SamplerConfig;
use guanaco_tests::{Outcome, Suite};
use hands::Hands;

type Run = fn() -> Outcome;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let cases: [(&str, Run); 53] = [
        ("a message is typed, sent and answered", say),
        ("enter sends, shift and enter breaks the line", enter),
        ("an answer is made again, and swiped at any turn", swipe),
        ("a message is edited, deleted and brought back", edit),
        ("an answer goes on, and branches from a token", tokens),
        ("an answer is stopped, and kept", stop),
        ("all is there again after a restart", restart),
        ("sampling is set and kept with the chat", sampling),
        ("the prompt is shown while it is typed", conversation::prompt),
        ("what was deleted comes back, and a chat branches off", conversation::undo),
        ("an empty chat offers a character", conversation::offered),
        ("several characters share a chat", conversation::several),
        ("sources and keywords are followed by notices", conversation::sources),
        ("an answer that is stopped at once leaves the chat as it was", conversation::nothing),
        ("what is hidden stays out of the prompt, and the user has a name in it", conversation::words),
        ("chats are opened, renamed, searched and deleted", chats::list),
        ("what was typed and set is there when one comes back", chats::left),
        ("every row of the list of chats is in its place", geometry::chats),
        ("what is sent comes into sight", geometry::newest),
        ("only a browser's links are opened", conversation::links),
        ("a folder that is no LoRA is refused where it was typed", models::no_lora),
        ("a card is opened by its typed path", library::typed_path),
        ("a chat is taken away as a file, and comes back", chats::export),
        ("a chat comes with its characters", chats::with_characters),
        ("what is dropped goes where it belongs", dropping::run),
        ("what the model's settings cost is shown, and loaded", models::settings),
        ("another model with a LoRA under an open chat", models::another),
        ("a model that is named comes by itself", models::named),
        ("what is pulled is offered", models::pulled),
        ("a load is cancelled, and a model that is none refused", models::cancel),
        ("language, theme and scale change at once", settings::run),
        ("a narrow window has room for everything", settings::narrow),
        ("what is kept for new chats is not who plays in this one", settings::new_chats),
        ("kernels are checked, and the check is cancelled", gpu::conformance),
        ("a bench is run and kept", gpu::bench),
        ("a device is lost while an answer streams", failures::lost_device),
        ("what the program ended at is not loaded again", failures::ended_while_loading),
        ("a window is closed while a model is loaded", failures::closed_while_loading),
        ("a second window on the same chats is told so", failures::locked),
        ("a model that does not fit is told before", failures::too_large),
        ("a message that is too long is told", failures::too_long),
        ("everything has a name", names::run),
        ("a chat by keys alone", keyboard::alone),
        ("what Tab comes to is in sight", keyboard::in_sight),
        ("an input method keeps its Enter", keyboard::input_method),
        ("lore is written by hand, works, and survives its card", library::lorebook),
        ("greetings are a list, and groups have their own", library::greetings),
        ("a card keeps the files that came with it", library::files),
        ("characters are made by hand, and deleted", library::made),
        ("what is set is in the prompt and on the answer", conversation::set),
        ("files are chosen in dialogs", library::dialogs),
        ("a damaged store is set aside, and a new one begun", library::damaged),
        ("pictures", pictures::run),
    ];
    for (name, run) in cases {
        suite.device_case(name, run);
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
    // Without a model nothing is sent, and nothing lost.
    let model = std::mem::take(&mut hands.desk().model);
    hands.press(Key::Enter);
    ensure!(hands.path().is_empty() && hands.desk().chat.draft == "one\ntwo");
    hands.desk().model = model;
    hands.click("Close")?;
    hands.click("Message")?;
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
    let (answer, tokens) = (hands.path()[1].clone(), hands.tokens(answer.id)?);
    ensure!(tokens.iter().all(|token| token.best.len() == 11 || token.best.is_empty()));
    let token = &tokens[2];
    ensure!(token.chance > 0.0 && token.best.iter().any(|best| best.has_text));
    hands.click_token(2)?;
    ensure!(hands.sees("Chance: "));
    let instead =
        token.best.iter().find(|best| best.has_text && best.text != token.text).context("an alternative")?.clone();
    hands.click_containing(&instead.text.replace('\n', "⏎").replace(' ', "␣"))?;
    hands.wait_for_answer()?;
    let branch = &hands.path()[1];
    let at = places(&tokens, &answer.content)[2].clone().context("the token is in the answer")?.start;
    let begun = format!("{}{}", &answer.content[..at], instead.text);
    ensure!(branch.id != answer.id && branch.content.starts_with(begun.trim_end()), "{begun:?} {branch:?}");
    // What was kept has its chances still.
    let kept = hands.tokens(branch.id)?;
    ensure!(kept[..2] == tokens[..2] && kept[2].text == instead.text && kept[2].chance == instead.chance);
    Ok(())
}

fn stop() -> Outcome {
    let mut hands = Hands::new()?;
    // So hot that every token is as likely as another, whatever the model and the device compute: the seed alone decides, and with
    // this one no end of turn comes within 900 tokens.
    let settings = &mut hands.desk().chat.settings;
    settings.max_new_tokens = 900;
    settings.fixed_seed = true;
    settings.sampler = SamplerConfig { temperature: 1e6, top_k: 0, top_p: 1.0, seed: 6, ..SamplerConfig::default() };
    hands.send("Tell me a very long story.")?;
    hands.wait(|desk| desk.answering().is_none_or(|answering| answering.n_tokens >= 4))?;
    // What streams is in the store long before it is over.
    let is_begun = |node: &Node| node.role == Role::Assistant && !node.content.is_empty() && !node.complete;
    let stored = |desk: &mut Desk| desk.store().chat(desk.chat.id).is_ok_and(|chat| chat.tree.nodes().any(is_begun));
    hands.wait(|desk| desk.answering().is_none() || stored(desk))?;
    hands.click("⏹ Stop")?;
    hands.wait_for_answer()?;
    let last = hands.path().pop().context("the answer")?;
    ensure!(!last.content.is_empty() && last.complete, "{last:?}");
    ensure!(last.reply.is_some_and(|info| info.finish.as_deref() == Some("stopped")) && hands.sees("Stopped by you"));
    Ok(())
}

fn restart() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Remember this.")?;
    let before: Vec<_> = hands.path().iter().map(|node| (node.id, node.content.clone())).collect();
    let mut hands = hands.restart()?;
    let after: Vec<_> = hands.path().iter().map(|node| (node.id, node.content.clone())).collect();
    ensure!(before == after, "{before:?} {after:?}");
    ensure!(hands.sees("Remember this."));
    Ok(())
}

fn sampling() -> Outcome {
    let mut hands = Hands::new()?;
    hands.click("Sampling")?;
    hands.click("Greedy")?;
    hands.say("Hi")?;
    ensure!(hands.desk().chat.settings.sampler.greedy);
    let mut hands = hands.restart()?;
    ensure!(hands.desk().chat.settings.sampler.greedy, "kept with the chat");
    Ok(())
}
