//! Checkpoints, GPTQ, RoPE and LoRAs as people have them.

use std::path::Path;

use anyhow::{Context as _, ensure};
use guanaco_tests::{Outcome, Suite};

use super::{Case, case, json, numbers, refused};

const IDS: &str = "1,270,300,33,350,299,14,377";

pub(crate) fn cases(suite: &mut Suite, root: &Path) {
    case(suite, root, "02-lora-pissa", |case| refused_lora(case, "lora", &["init_lora_weights", "pissa"]));
    case(suite, root, "04-lora-rank-pattern-regex", |case| same(case, &lora(case)));
    case(suite, root, "16-gguf-other-quants", other_types);
    for name in ["17-gptq-lm-head", "18-gptq-dynamic", "22-rope-yarn", "24-orig-mod-prefix", "35-gptq-auto-round"] {
        case(suite, root, name, |case| same(case, &model(case)));
    }
    case(suite, root, "26-lora-gguf", |case| refused_lora(case, "lora.gguf", &["GGUF", "adapter"]));
    case(suite, root, "27-bnb-4bit", |case| refused_model(case, &["bitsandbytes"]));
    case(suite, root, "28-awq", |case| refused_model(case, &["AWQ"]));
    case(suite, root, "33-meta-original", |case| refused_model(case, &["Meta", "-hf"]));
}

/// The ids of the case's own command, or those that most cases have.
fn ids(case: &Case) -> String {
    let command = case.expect["run"][0].as_str().unwrap_or_default();
    let given = command.split_once("--ids ").and_then(|(_, rest)| rest.split_whitespace().next());
    given.unwrap_or(IDS).to_owned()
}

fn model(case: &Case) -> Vec<String> {
    vec!["--model".to_owned(), case.path("model")]
}

fn lora(case: &Case) -> Vec<String> {
    vec!["--model".to_owned(), case.path("base"), "--lora".to_owned(), case.path("lora")]
}

/// The logits are those of the reference: the root mean square of the difference is below 0.2 % of theirs.
fn same(case: &Case, arguments: &[String]) -> Outcome {
    let ids = ids(case);
    let mut all = vec!["logits", "--ids", &ids, "--json"];
    all.extend(arguments.iter().map(String::as_str));
    let (got, right) = (numbers(&json(&all)?["logits"])?, case.numbers("/logits")?);
    ensure!(got.len() == right.len(), "{} logits, expected {}", got.len(), right.len());
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let error = square(&mut got.iter().zip(&right).map(|(got, right)| got - right));
    let ratio = (error / square(&mut right.iter().copied())).sqrt();
    ensure!(ratio < 2e-3, "the logits differ by {:.3} % of theirs", ratio * 100.0);
    Ok(())
}

fn refused_model(case: &Case, words: &[&str]) -> Outcome {
    let model = case.path("model");
    refused(&["logits", "--model", &model, "--ids", "1,2,3"], words)?;
    refused(&["inspect", &model], words)
}

fn refused_lora(case: &Case, lora: &str, words: &[&str]) -> Outcome {
    refused(&["logits", "--model", &case.path("base"), "--lora", &case.path(lora), "--ids", "1,2,3"], words)
}

/// Types that are not read are named.
fn other_types(case: &Case) -> Outcome {
    let files = case.expect["logits_by_file"].as_object().context("no logits_by_file")?;
    for name in files.keys() {
        let file = case.path(&format!("{name}.gguf"));
        refused(&["logits", "--model", &file, "--ids", "1,2"], &[name, "use a file of one of these"])?;
    }
    Ok(())
}
