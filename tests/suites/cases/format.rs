//! The prompt format that a model decides, and the tokens that end its reply.

use std::path::Path;

use anyhow::ensure;
use guanaco_tests::{Outcome, Suite};
use serde_json::Value;

use super::{Case, case, json};

pub(crate) fn cases(suite: &mut Suite, root: &Path) {
    case(suite, root, "14-gguf-llama3-eot", ends_at_its_turn);
    case(suite, root, "37-template-not-used-by-default", template_by_default);
}

/// A file names `<|end_of_text|>` as EOS, and its model ends a turn with `<|eot_id|>`: that ends a reply in every format.
fn ends_at_its_turn(case: &Case) -> Outcome {
    let model = case.path("model.gguf");
    let eot = &case.expect["eot"];
    for format in [&[][..], &["--chat"], &["--chat", "--preset", "chat-template"], &["--chat", "--preset", "guanaco"]] {
        let fixed =
            ["generate", "--model", &model, "--prompt", "Hello, who are you?", "--greedy", "-n", "12", "--json"];
        let reply = json(&[&fixed, format].concat())?;
        ensure!(reply["finish"] == "eos", "{format:?}: {reply}");
        ensure!(reply["ids"].as_array().and_then(|ids| ids.last()) == Some(eot), "{format:?}: {reply}");
    }
    let ends = &json(&["inspect", &model, "--json"])?["chat"]["ends"];
    ensure!(ends.as_array().is_some_and(|ends| ends.iter().any(|end| end["id"] == *eot)), "{ends}");
    Ok(())
}

/// A model that brings a chat template is asked in its format, unless another is chosen.
fn template_by_default(case: &Case) -> Outcome {
    let (gguf, folder, talk) = (case.path("model.gguf"), case.path("hf"), case.path("talk.json"));
    let arguments = ["prompt", "--model", &folder, "--messages", &talk, "--json"];
    let of = |more: &[&str]| -> anyhow::Result<Value> { json(&[&arguments, more].concat()) };
    let (own, asked, other) = (of(&[])?, of(&["--preset", "chat-template"])?, of(&["--preset", "guanaco"])?);
    ensure!(
        own["preset"] == "chat-template" && own["ids"] == asked["ids"] && own["prompt"] == asked["prompt"],
        "{own}"
    );
    ensure!(own["notices"].as_array().is_some_and(Vec::is_empty), "a notice about sources: {own}");
    ensure!(other["preset"] == "guanaco" && other["ids"] != asked["ids"], "{other}");
    let chat = |more: &[&str]| -> anyhow::Result<Value> {
        let fixed = ["generate", "--model", &gguf, "--chat", "--prompt", "Hello", "--greedy", "-n", "3", "--json"];
        json(&[&fixed, more].concat())
    };
    let (own, asked) = (chat(&[])?, chat(&["--preset", "chat-template"])?);
    ensure!(own["prompt_ids"] == asked["prompt_ids"], "{own}");
    let inspected = json(&["inspect", &gguf, "--json"])?;
    ensure!(inspected["chat"]["preset"] == "chat-template", "{inspected}");
    Ok(())
}
