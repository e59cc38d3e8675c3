//! The shared golden data and the malformed checkpoints, through the built command.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use guanaco_tests::{Outcome, Suite};
use serde_json::Value;

use super::{fail, json, run, succeed, text};

pub(super) fn cases(suite: &mut Suite, root: &Path) {
    let base = root.join("llama_mha_fp16");
    let model = base.clone();
    suite.case("golden: logits and greedy ids through the command", move || {
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(model.join("golden.json"))?)?;
        let case = &golden["cases"][0];
        let ids: Vec<String> = case["prompt_ids"].as_array().into_iter().flatten().map(Value::to_string).collect();
        let (model, ids) = (model.to_string_lossy(), ids.join(","));
        let logits = json(&["logits", "--model", &model, "--ids", &ids, "--json"])?;
        let pairs = || {
            let lists = (logits["logits"].as_array(), case["last_logits"].as_array());
            lists
                .0
                .into_iter()
                .flatten()
                .zip(lists.1.into_iter().flatten())
                .map(|(got, want)| (got.as_f64().unwrap_or(f64::NAN), want.as_f64().unwrap_or(f64::NAN)))
        };
        let error: f64 = pairs().map(|(got, want)| (got - want).powi(2)).sum();
        let norm: f64 = pairs().map(|(_, want)| want * want).sum();
        ensure!(norm > 0.0 && (error / norm).sqrt() < 1e-2, "relative L2 error {}", (error / norm).sqrt());
        let count = case["greedy_ids"].as_array().map_or(0, Vec::len).to_string();
        let flags = ["--greedy", "--ignore-eos", "--json", "-n", &count];
        let reply = json(&[&["generate", "--model", &model, "--ids", &ids][..], &flags].concat())?;
        ensure!(reply["ids"] == case["greedy_ids"], "{}, expected {}", reply["ids"], case["greedy_ids"]);
        Ok(())
    });
    let model = base.clone();
    suite.case("golden: without a tokenizer, ids go in and out, and text is refused", move || {
        let model = model.to_string_lossy();
        let out =
            succeed(&run(&["generate", "--model", &model, "--ids", "1,2", "--greedy", "--ignore-eos", "-n", "3"])?)?;
        ensure!(out.trim().split(',').count() == 3, "{out}");
        for arguments in [
            &["generate", "--prompt", "a"][..],
            &["generate", "--prompt", "a", "--chat"],
            &["chat"],
            &["tokenize", "--text", "a"],
        ] {
            let error = fail(&run(&[arguments, &["--model", &model]].concat())?, 1)?;
            ensure!(error.contains("no tokenizer"), "{error}");
        }
        Ok(())
    });
    inspected(suite, root);
    converted(suite, root);
    let Ok(golden) = std::fs::read_to_string(root.join("generate").join("golden.json")) else { return };
    let Ok(golden) = serde_json::from_str::<Value>(&golden) else { return };
    for group in ["beam", "greedy_with_processors"] {
        for case in golden[group].as_array().into_iter().flatten() {
            let (case, model) = (case.clone(), base.clone());
            suite.case(format!("golden: {group} {}", case["name"].as_str().unwrap_or("?")), move || {
                generated(&case, &model)
            });
        }
    }
}

/// What `inspect` says of one checkpoint of each kind.
fn inspected(suite: &mut Suite, root: &Path) {
    for (name, file, format, quantization, words) in [
        ("sharded_safetensors", "", "safetensors", Value::Null, &["f16"][..]),
        ("pytorch_bin_sharded", "", "PyTorch", Value::Null, &["F16"]),
        (
            "gptq_4bit_128g_actorder",
            "",
            "safetensors",
            "GPTQ, 4 bits, groups of 128, act-order (sorted at load)".into(),
            &["GPTQ", "q4"],
        ),
        ("gptq_4bit_nogroup", "", "safetensors", "GPTQ, 4 bits, one group a row".into(), &["q4"]),
        (
            "gguf_q4_k_m",
            "gguf_q4_k_m.gguf",
            "GGUF",
            "blocks: Q4_K, Q6_K, Q8_0".into(),
            &["Q4_K expanded", "embedded", "q6"],
        ),
        (
            "gguf_gqa_tied_mixed",
            "gguf_gqa_tied_mixed.gguf",
            "GGUF",
            "blocks: Q4_1, Q5_0, Q5_1, Q8_0".into(),
            &["Q5_0, Q5_1 expanded"],
        ),
    ] {
        let path = root.join(name).join(file);
        suite.case(format!("golden: inspect {name}"), move || {
            // Named by its file where another safetensors file lies beside it.
            let path = if path.join("model.safetensors").is_file() { path.join("model.safetensors") } else { path };
            let path = path.to_string_lossy();
            let report = json(&["inspect", &path, "--json"])?;
            ensure!(report["format"] == format, "{}", report["format"]);
            ensure!(report["quantization"] == quantization, "{}", report["quantization"]);
            let shown = succeed(&run(&["inspect", &path])?)?;
            for word in words {
                ensure!(shown.contains(word), "no {word:?} in:\n{shown}");
            }
            Ok(())
        });
    }
}

/// `convert` of one checkpoint of each kind: its twin gives the same greedy tokens.
fn converted(suite: &mut Suite, root: &Path) {
    for (name, file) in [
        ("guanaco_like_32k", ""),
        ("gptq_4bit_128g", "gptq_model-4bit-128g.safetensors"),
        ("gguf_q8_0", "gguf_q8_0.gguf"),
    ] {
        let path = root.join(name).join(file);
        suite.case(format!("golden: convert {name}"), move || {
            let folder = tempfile::tempdir()?;
            let target = folder.path().join("new").join("model.safetensors");
            let (path, target) = (path.to_string_lossy(), target.to_string_lossy());
            let report = json(&["convert", &path, &target, "--json"])?;
            ensure!(report["tensors"].as_u64() > Some(0), "{report}");
            let again = fail(&run(&["convert", &path, &target])?, 1)?;
            ensure!(again.contains("--force"), "{again}");
            let greedy = |model: &str| {
                json(&["generate", "--model", model, "--ids", "1,5,9", "--greedy", "--ignore-eos", "-n", "8", "--json"])
            };
            let (was, is) = (greedy(&path)?, greedy(&target)?);
            ensure!(was["ids"] == is["ids"], "{} became {}", was["ids"], is["ids"]);
            let itself = fail(&run(&["convert", &target, &target, "--force"])?, 1)?;
            ensure!(itself.contains("one of the files to read"), "{itself}");
            Ok(())
        });
    }
}

/// A case of `generate/golden.json` through the command.
fn generated(case: &Value, model: &Path) -> Outcome {
    let ids: Vec<String> = case["prompt_ids"].as_array().into_iter().flatten().map(Value::to_string).collect();
    let mut arguments: Vec<String> = ["generate", "--greedy", "--json", "--model"].map(str::to_owned).to_vec();
    arguments.extend([model.to_string_lossy().into_owned(), "--ids".to_owned(), ids.join(",")]);
    for (name, value) in case["params"].as_object().context("no params")? {
        let flag = format!("--{}", name.replace('_', "-"));
        match (name.as_str(), value) {
            ("eos_token_id", Value::Null) => arguments.push("--ignore-eos".to_owned()),
            ("eos_token_id", id) => arguments.extend(["--eos".to_owned(), id.to_string()]),
            ("early_stopping", Value::Bool(false)) | ("do_sample", Value::Bool(false)) => {}
            ("early_stopping", how) => arguments.push(format!("{flag}={}", how.to_string().trim_matches('"'))),
            _ => arguments.extend([flag, value.to_string()]),
        }
    }
    if let Some(ids) = case["greedy_ids"].as_array() {
        arguments.extend(["--ignore-eos".to_owned(), "-n".to_owned(), ids.len().to_string()]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let reply = json(&arguments)?;
    let Some(sequences) = case["sequences"].as_array() else { return same_greedy(&reply, case) };
    let compared = if case["compare"] == "best" { 1 } else { sequences.len() };
    for (index, expected) in sequences.iter().take(compared).enumerate() {
        let got = &reply["beams"][index];
        ensure!(got["ids"] == *expected, "sequence {index}: {}, expected {expected}", got["ids"]);
        let (score, want) = (got["score"].as_f64(), case["sequences_scores"][index].as_f64());
        let (score, want) = (score.context("no score")?, want.context("no expected score")?);
        ensure!((score - want).abs() < 2e-2, "sequence {index}: score {score}, expected {want}");
    }
    Ok(())
}

/// Equal ids, up to the first near-tie of the reference: behind it both go on from different texts.
fn same_greedy(reply: &Value, case: &Value) -> Outcome {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (got, want) = (list(&reply["ids"]), list(&case["greedy_ids"]));
    ensure!(!want.is_empty() && got.len() == want.len(), "{} ids, expected {}", got.len(), want.len());
    let margins = list(&case["margins_of_processed_scores"]);
    if let Some(step) = (0..want.len()).find(|&step| got[step] != want[step]) {
        let margin = margins.get(step).and_then(Value::as_f64).unwrap_or(f64::INFINITY);
        ensure!(margin < 0.05, "step {step}: {}, expected {} (margin {margin})", got[step], want[step]);
    }
    Ok(())
}

/// What this version reads; the other kinds come with their formats.
const KINDS: [&str; 10] = ["st_", "shard_", "config_", "no_", "tok_", "tokjson_", "bin_", "gguf_", "gptq_", "lora_"];

pub(super) fn malformed(suite: &mut Suite, root: &Path) {
    let Ok(manifest) = std::fs::read_to_string(root.join("manifest.json")) else { return };
    let Ok(manifest) = serde_json::from_str::<Value>(&manifest) else { return };
    for case in manifest["cases"].as_array().into_iter().flatten() {
        let name = case["name"].as_str().unwrap_or_default().to_owned();
        let title = format!("malformed: {name}");
        if !KINDS.iter().any(|kind| name.starts_with(kind)) {
            suite.skip(title, "a format that this version does not read yet");
            continue;
        }
        let (case, dir) = (case.clone(), root.join(&name));
        suite.case(title, move || refused(&case, &dir));
    }
}

fn refused(case: &Value, dir: &PathBuf) -> Outcome {
    let is_gguf = case["kind"].as_str() == Some("gguf_file");
    let path = if is_gguf { dir.join("model.gguf") } else { dir.clone() };
    let path = path.to_string_lossy();
    let words = case["error_should_mention"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let has_weights = std::fs::read_dir(dir)?.flatten().any(|entry| entry.file_name() == "config.json");
    let adapter = dir.join("adapter");
    let adapter = adapter.to_string_lossy();
    let mut arguments = match case["kind"].as_str() {
        Some("tokenizer_file") if !has_weights => vec!["tokenize", "--text", "hello", "--model", &path],
        _ => vec!["generate", "--ids", "1,2,3", "--model", &path],
    };
    if case["kind"] == "lora" {
        arguments.extend(["--lora", &adapter]);
    }
    let start = Instant::now();
    let output = run(&arguments)?;
    let time = start.elapsed();
    let must = case["must"].as_str().unwrap_or("error");
    if must.contains("load normally") && output.status.success() {
        ensure!(!dir.join("PWNED").exists());
        return Ok(());
    }
    if must != "error" && output.status.success() {
        // Allowed where the fixture says so, if a warning names what was odd.
        let stderr = text(&output.stderr);
        ensure!(stderr.contains("warning"), "taken without a word ({must}): {stderr}");
        return Ok(());
    }
    let error = fail(&output, 1)?;
    for word in words {
        let lower = error.to_lowercase();
        ensure!(lower.contains(&word.to_lowercase()), "no {word:?} in: {error}");
    }
    // The fixtures allow 10 s. Only what shows in the values alone needs them: a driver is started before these are read.
    let limit = Duration::from_secs(if text(&output.stderr).contains(" will take:") { 10 } else { 2 });
    ensure!(time < limit, "{time:?}, expected below {limit:?}: {error}");
    ensure!(!dir.join("PWNED").exists());
    Ok(())
}
