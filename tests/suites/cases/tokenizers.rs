//! Tokenizers against transformers, sentencepiece and llama.cpp.

use std::path::Path;

use anyhow::{Context as _, ensure};
use guanaco_tests::{Outcome, Suite};
use serde_json::Value;

use crate::{Case, case, json, numbers, run};

pub(crate) fn cases(suite: &mut Suite, root: &Path) {
    case(suite, root, "01-spm-added-tokens-json", added_tokens_json);
    case(suite, root, "13-gguf-pre-tokenizer", pre_tokenizer);
    case(suite, root, "15-gguf-spm-added-tokens", added_in_gguf);
    case(suite, root, "30-tiktoken-model", tiktoken);
}

const TURN: &str = "<|im_start|>user\nHello<|im_end|>";

fn ids(arguments: &[&str]) -> anyhow::Result<Vec<f64>> {
    let mut all = vec!["tokenize"];
    all.extend(arguments);
    all.push("--json");
    numbers(&json(&all)?["ids"])
}

fn added_tokens_json(case: &Case) -> Outcome {
    let model = case.path("model");
    let got = ids(&["--model", &model, "--specials", "--text", TURN])?;
    let want = case.numbers("/transformers")?;
    ensure!(got == want, "expected {want:?}, got {got:?}");
    let arguments =
        ["prompt", "--model", &model, "--preset", "chat-template", "--messages", &case.path("talk.json"), "--json"];
    let (got, want) = (numbers(&json(&arguments)?["ids"])?, case.numbers("/transformers_chat")?);
    ensure!(got == want, "chat: expected {want:?}, got {got:?}");
    let as_text = ids(&["--model", &model, "--text", TURN])?;
    ensure!(!as_text.contains(&400.0) && !as_text.contains(&401.0), "a user ends a turn: {as_text:?}");
    Ok(())
}

fn pre_tokenizer(case: &Case) -> Outcome {
    let texts = case.expect["hf_ids"].as_object().context("hf_ids")?;
    for file in ["llama-bpe.gguf", "smaug-bpe.gguf", "missing.gguf", "default.gguf"] {
        for (text, want) in texts {
            let (got, want) = (ids(&["--model", &case.path(file), "--text", text])?, numbers(want)?);
            ensure!(got == want, "{file}: {text:?}: expected {want:?}, got {got:?}");
        }
    }
    Ok(())
}

fn added_in_gguf(case: &Case) -> Outcome {
    let got = ids(&["--model", &case.path("model.gguf"), "--specials", "--text", TURN])?;
    let want = case.numbers("/llama_cpp")?;
    ensure!(got == want, "expected {want:?}, got {got:?}");
    Ok(())
}

fn tiktoken(case: &Case) -> Outcome {
    let output = run(&["tokenize", "--model", &case.path("model"), "--text", "Hello", "--json"])?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        let ids: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(ids["ids"].as_array().is_some_and(|ids| !ids.is_empty()), "no ids");
        return Ok(());
    }
    ensure!(stderr.contains("tiktoken") && stderr.contains("tokenizer.json"), "{stderr}");
    Ok(())
}
