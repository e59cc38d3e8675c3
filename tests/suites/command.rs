//! The built command from the outside: JSON shapes, exit codes, one clear error for each kind of bad input, Ctrl-C.

use std::io::{Read as _, Write as _};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, bail, ensure};
use guanaco_tests::{Outcome, Suite, data_dir, golden_dir, workspace};
use serde_json::Value;

#[path = "command/bench.rs"]
mod bench;
#[path = "command/golden.rs"]
mod golden;
#[path = "command/hostile.rs"]
mod hostile;
#[path = "command/prompt.rs"]
mod prompt;
#[path = "command/quantize.rs"]
mod quantize;

const NO_GOLDEN: &str = "no ../shared/golden beside this clone, and GUANACO_GOLDEN is not set";

fn main() -> ExitCode {
    let mut suite = Suite::new();
    usage(&mut suite);
    embedded(&mut suite);
    prompt::cases(&mut suite);
    cache(&mut suite);
    bad_input(&mut suite);
    hostile::cases(&mut suite);
    quantize::cases(&mut suite);
    bench::cases(&mut suite);
    #[cfg(unix)]
    interrupts(&mut suite);
    match golden_dir() {
        None => suite.skip("golden", NO_GOLDEN),
        Some(root) => {
            golden::cases(&mut suite, &root);
            golden::malformed(&mut suite, &root.join("malformed"));
        }
    }
    suite.run(None)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guanaco"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What was tuned on this machine rounds otherwise. Neither read nor write the cache of who runs the tests.
    command.env("GUANACO_UNTUNED", "1").env("GUANACO_CACHE", "");
    command
}

fn run(arguments: &[&str]) -> anyhow::Result<Output> {
    command(arguments).output().with_context(|| format!("guanaco {}", arguments.join(" ")))
}

/// Runs with `input` on stdin.
fn run_with(arguments: &[&str], input: &[u8]) -> anyhow::Result<Output> {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn()?;
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().context("no stdin")?.write_all(input);
    Ok(child.wait_with_output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// stdout of a run that succeeds.
fn succeed(output: &Output) -> anyhow::Result<String> {
    ensure!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
    Ok(String::from_utf8(output.stdout.clone())?)
}

fn json(arguments: &[&str]) -> anyhow::Result<Value> {
    let stdout = succeed(&run(arguments)?)?;
    serde_json::from_str(&stdout).with_context(|| format!("stdout is not JSON alone: {stdout}"))
}

/// The one message of a run that fails with `code`, and leaves stdout empty.
fn fail(output: &Output, code: i32) -> anyhow::Result<String> {
    let stderr = text(&output.stderr);
    ensure!(output.status.code() == Some(code), "{}, expected exit code {code}: {stderr}", output.status);
    ensure!(output.stdout.is_empty(), "a failed run wrote to stdout: {}", text(&output.stdout));
    ensure!(!stderr.contains("panicked"), "{stderr}");
    match errors(&stderr)[..] {
        [error] => Ok(error.to_owned()),
        _ => bail!("expected one error, got: {stderr}"),
    }
}

/// The lines of stderr that are errors.
fn errors(stderr: &str) -> Vec<&str> {
    // libwayland prints its own, without a desktop.
    stderr.lines().filter(|line| line.starts_with("error: ") && !line.contains("XDG_RUNTIME_DIR")).collect()
}

/// What a start keeps for the next one changes nothing but the time.
fn cache(suite: &mut Suite) {
    suite.case("cache: the same tokens from a first, a second and a damaged start", || {
        let folder = tempfile::tempdir()?;
        let kept = folder.path().join("new").join("cache");
        let start = || -> anyhow::Result<(Value, String)> {
            let mut command = command(&["generate", "--ids", "1,2,3", "--greedy", "--max-new-tokens", "4", "--json"]);
            let output = command.env("GUANACO_CACHE", &kept).output()?;
            let out: Value = serde_json::from_str(&succeed(&output)?)?;
            Ok((out["ids"].clone(), text(&output.stderr)))
        };
        let (ids, first) = start()?;
        let files: Vec<_> = std::fs::read_dir(&kept)?.collect::<std::io::Result<_>>()?;
        ensure!(files.len() == 1, "{} files were kept", files.len());
        let (again, second) = start()?;
        ensure!(again == ids, "{ids} and then {again}");
        ensure!(!(first + &second).contains("earlier start"), "a note on a file that is whole: {second}");
        let mut bytes = std::fs::read(files[0].path())?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(files[0].path(), &bytes)?;
        let (damaged, note) = start()?;
        ensure!(damaged == ids, "{ids} and then {damaged}");
        ensure!(note.contains("an earlier start") && note.contains("damaged"), "no note: {note}");
        ensure!(std::fs::read(files[0].path())? != bytes, "the damaged file was left as it was");
        std::fs::remove_dir_all(&kept)?;
        // A folder that cannot be.
        std::fs::write(&kept, "a file")?;
        ensure!(start()?.0 == ids, "other tokens without a cache");
        Ok(())
    });
}

fn usage(suite: &mut Suite) {
    suite.case("usage: help and version", || {
        let help = succeed(&run(&["--help"])?)?;
        for name in [
            "chat",
            "demo",
            "generate",
            "logits",
            "tokenize",
            "prompt",
            "pull",
            "inspect",
            "devices",
            "conformance",
            "bench",
            "tune",
            "eval",
            "quantize",
            "completions",
        ] {
            ensure!(help.contains(&format!("\n  {name} ")), "{name} is not in --help:\n{help}");
            let own = succeed(&run(&[name, "--help"])?)?;
            ensure!(own.contains("Examples:"), "{name} --help has no examples");
        }
        ensure!(succeed(&run(&["--version"])?)?.starts_with("guanaco "));
        // The window, where there is a display; in a terminal alone, a word on how to begin.
        let mut alone = command(&[]);
        let output = alone.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").output()?;
        let said = text(&output.stdout) + &text(&output.stderr);
        ensure!(said.contains("guanaco chat"), "no word on how to begin: {said}");
        if cfg!(all(feature = "gui", target_os = "linux")) {
            ensure!(said.contains("there is no display") && !output.status.success(), "{said}");
        }
        Ok(())
    });
    suite.case("usage: wrong usage is exit code 2", || {
        for arguments in [
            &["nonsense"][..],
            &["generate"],
            &["generate", "--prompt", "a", "--ids", "1"],
            &["generate", "--ids", "1,x"],
            &["generate", "--ids", ""],
            &["generate", "--prompt", "a", "--max-new-tokens", "99999999999999999999999"],
            &["generate", "--prompt", "a", "--sampling", "gaunaco"],
            &["generate", "--prompt", "a", "--num-beams", "0"],
            &["generate", "--prompt", "a", "--memory-budget", "6 elephants"],
            &["generate", "--prompt", "a", "--context", "0"],
            &["generate", "--prompt", "a", "--system", "b"],
            &["generate", "--ids", "1", "--character", "b"],
            &["generate", "--prompt", "a", "--preset", "alpaca"],
            &["generate", "--prompt", "a", "--chat", "--force-name"],
            &["generate", "--ids", "1", "--no-bos"],
            &["generate", "--prompt", "a", "--chat", "--no-bos"],
            &["generate", "--prompt", "a", "--num-beams", "2", "--temperature", "0.5"],
            &["generate", "--prompt", "a", "--greedy", "--top-k", "5"],
            &["generate", "--prompt", "a", "--length-penalty", "2"],
            &["chat", "--greedy", "--top-p", "0.5"],
            &["prompt", "--messages", "-", "--force-name"],
            &["logits"],
            &["tokenize"],
            &["prompt"],
            &["completions", "nosuchshell"],
        ] {
            let error = fail(&run(arguments)?, 2).with_context(|| arguments.join(" "))?;
            ensure!(error.len() > "error: ".len());
        }
        Ok(())
    });
    suite.case("usage: completions", || {
        for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
            ensure!(succeed(&run(&["completions", shell])?)?.contains("tokenize"), "{shell}");
            ensure!(succeed(&run(&["completions", shell])?)?.contains("pull"), "{shell}");
        }
        Ok(())
    });
}

fn embedded(suite: &mut Suite) {
    suite.case("generate: same seed, same text", || {
        let arguments = ["generate", "--chat", "--prompt", "Hello!", "-n", "24", "--seed", "5", "--json"];
        let (first, second) = (json(&arguments)?, json(&arguments)?);
        ensure!(first["ids"] == second["ids"], "{} and {}", first["ids"], second["ids"]);
        ensure!(first["seed"] == 5);
        for key in ["prompt_ids", "ids"] {
            ensure!(first[key].as_array().is_some_and(|ids| !ids.is_empty()), "{key}: {first}");
        }
        ensure!(first["text"].is_string() && first["prompt"].is_string());
        for key in ["prefill_s", "prefill_tokens", "decode_s", "decode_tokens", "first_token_s"] {
            ensure!(first["timings"][key].is_number(), "{key}: {first}");
        }
        Ok(())
    });
    suite.case("generate: text, file and stdin are one prompt", || {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("prompt.txt");
        std::fs::write(&file, "Hello, I am")?;
        let flags = ["-n", "8", "--greedy", "--ignore-eos"];
        let at = format!("@{}", file.display());
        let mut texts = Vec::new();
        for prompt in ["Hello, I am", at.as_str(), "-"] {
            let arguments = [&["generate", "--prompt", prompt][..], &flags].concat();
            texts.push(succeed(&run_with(&arguments, b"Hello, I am")?)?);
        }
        ensure!(!texts[0].trim().is_empty() && texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        Ok(())
    });
    suite.case("generate: ends where the context ends", || {
        let arguments = ["generate", "--ids", "1,5,6", "--context", "16", "-n", "999999999", "--ignore-eos", "--json"];
        let reply = json(&arguments)?;
        ensure!(reply["finish"] == "context_full" && reply["ids"].as_array().map(Vec::len) == Some(13), "{reply}");
        Ok(())
    });
    suite.case("generate: a stop string is no part of the text", || {
        let base = ["generate", "--chat", "--prompt", "Hello, I am Robin.", "--greedy", "--json"];
        let whole = json(&base)?["text"].as_str().unwrap_or_default().to_owned();
        let stop = whole.split_whitespace().nth(1).context("a reply of one word")?;
        let reply = json(&[&base[..], &["--stop", stop]].concat())?;
        let expected = whole.split(stop).next().unwrap_or_default().trim();
        ensure!(reply["text"] == expected, "{reply}, expected {expected:?} of {whole:?}");
        ensure!(reply["finish"]["stop_string"] == stop, "{reply}");
        Ok(())
    });
    suite.case("logits: one for each token", || {
        let logits = json(&["logits", "--ids", "1,5,6", "--json"])?;
        let config = json(&["inspect", "--json"])?;
        ensure!(logits["ids"] == serde_json::json!([1, 5, 6]));
        let count = logits["logits"].as_array().map(Vec::len).unwrap_or_default() as u64;
        ensure!(config["config"]["vocab_size"] == count, "{count}");
        ensure!(succeed(&run(&["logits", "--ids", "1,5,6", "--top", "3"])?)?.lines().count() == 4);
        Ok(())
    });
    suite.case("tokenize: there and back", || {
        let sentence = "Grüß dich, 世界! 🦙";
        let ids = json(&["tokenize", "--text", sentence, "--json"])?;
        let object = ids.as_object().context("not an object")?;
        ensure!(object.len() == 1, "{ids}");
        let list: Vec<String> = ids["ids"].as_array().into_iter().flatten().map(Value::to_string).collect();
        let back = json(&["tokenize", "--ids", &list.join(","), "--json"])?;
        ensure!(back["text"] == sentence, "{back}");
        let bare = json(&["tokenize", "--text", sentence, "--no-bos", "--json"])?;
        ensure!(bare["ids"].as_array().map(Vec::len) == Some(list.len() - 1), "{bare}");
        Ok(())
    });
    suite.case("eval perplexity, side by side", || {
        let folder = tempfile::tempdir()?;
        let text = folder.path().join("text.txt");
        std::fs::write(&text, "### Instruction:\nUser: Hello!\nAssistant: Hello! How can I help you?\n".repeat(12))?;
        let text = text.to_string_lossy();
        let one = json(&["eval", "perplexity", "--text", &text, "--window", "64", "--json"])?;
        ensure!(one["models"].as_array().map(Vec::len) == Some(1) && one["window"] == 64, "{one}");
        let perplexity = one["models"][0]["perplexity"].as_f64().unwrap_or_default();
        ensure!(perplexity > 1.0 && perplexity.is_finite(), "{one}");
        // The embedded model beside itself, from its folder: no difference, and no error of it.
        let tiny = guanaco_tests::workspace().join("app").join("tiny-guanaco");
        let tiny = tiny.to_string_lossy();
        let two = json(&["eval", "perplexity", "--text", &text, "--window", "64", "--json", &tiny, &tiny])?;
        ensure!(two["models"][0]["difference"].is_null() && two["models"][1]["difference"] == 0.0, "{two}");
        ensure!(two["models"][1]["difference_error"] == 0.0, "{two}");
        ensure!(two["models"][0]["perplexity"] == one["models"][0]["perplexity"], "{two}");
        let shown = succeed(&run(&["eval", "perplexity", "--text", &text, "--limit", "200"])?)?;
        ensure!(shown.contains("199 tokens") && shown.contains(" ± "), "{shown}");
        let long = fail(&run(&["eval", "perplexity", "--text", &text, "--window", "99999"])?, 1)?;
        ensure!(long.contains("99999"), "{long}");
        Ok(())
    });
    suite.case("devices and inspect", || {
        let devices = json(&["devices", "--json"])?;
        let first = devices.get(0).context("no adapter")?;
        ensure!(first["name"].is_string() && first["tier"]["max_binding"].is_number(), "{first}");
        let report = json(&["inspect", "--json"])?;
        ensure!(report["tensors"].as_array().is_some_and(|list| !list.is_empty()) && report["memory"].is_array());
        ensure!(report["tokenizer"] == "tokenizer.json");
        ensure!(report["memory_software"].is_array() && report["config"]["rope_scaling"].is_null(), "{report}");
        let model = data_dir().join("models/rope_linear");
        let model = model.to_string_lossy();
        let scaling = json(&["inspect", &model, "--json"])?["config"]["rope_scaling"].clone();
        ensure!(scaling["type"] == "linear" && scaling["factor"].is_f64(), "{scaling}");
        let shown = succeed(&run(&["inspect", &model])?)?;
        ensure!(
            shown.contains(&format!("linear scaling by {}\n", scaling["factor"].as_f64().unwrap_or(0.0))),
            "{shown}"
        );
        ensure!(!succeed(&run(&["inspect"])?)?.contains("None"));
        Ok(())
    });
    suite.case("a GGUF file needs no other", || {
        let folder = data_dir().join("gguf/blocks");
        let model = folder.join("blocks.gguf");
        let (model, folder) = (model.to_string_lossy(), folder.to_string_lossy());
        let report = json(&["inspect", &model, "--json"])?;
        ensure!(report["tokenizer"] == "embedded" && report["dtypes"]["Q4_K"] == 2, "{report}");
        ensure!(succeed(&run(&["inspect", &model])?)?.contains("RoPE             theta 1000, with factors\n"));
        for path in [&model, &folder] {
            let tokens = json(&["tokenize", "--text", "hello world", "--model", path, "--json"])?;
            ensure!(tokens["ids"] == serde_json::json!([1, 25, 31, 19, 21]), "{tokens}");
            // The template of the file itself: `<|x|>` in front of each message.
            let flags = ["--chat", "--preset", "chat-template", "--prompt", "hello", "--greedy", "-n", "3", "--json"];
            let reply = json(&[&["generate", "--model", path][..], &flags].concat())?;
            ensure!(reply["prompt"] == "<|x|>hello" && reply["prompt_ids"][0] == 4, "{reply}");
        }
        Ok(())
    });
    suite.case("the engine's warnings reach stderr, a line each", || {
        let dir = tempfile::tempdir()?;
        let tiny = workspace().join("app/tiny-guanaco");
        std::fs::copy(tiny.join("tokenizer.json"), dir.path().join("tokenizer.json"))?;
        std::fs::write(dir.path().join("tokenizer_config.json"), r#"{"eos_token":"<nosuchtoken>"}"#)?;
        let output = run(&["tokenize", "--text", "a", "--model", &dir.path().to_string_lossy()])?;
        succeed(&output)?;
        let stderr = text(&output.stderr);
        ensure!(stderr.starts_with("warning: ") && stderr.contains("<nosuchtoken>"), "{stderr}");
        ensure!(stderr.lines().count() == 1 && !stderr.contains('\u{1b}'), "{stderr}");
        Ok(())
    });
    suite.case("prompt: the account has one row for each kind", || {
        let messages = br#"[{"role":"user","content":"Hi"}]"#;
        let output = run_with(&["prompt", "--messages", "-"], messages)?;
        succeed(&output)?;
        let frames = text(&output.stderr).lines().filter(|line| line.starts_with("frame ")).count();
        ensure!(frames == 1, "{}", text(&output.stderr));
        Ok(())
    });
    suite.case("chat: lines from a pipe, one reply each, the cache is reused", || {
        let script = b"Hello, I am Robin.\n\n/stats\nWho are you?\n/stats\n/quit\nnot sent\n";
        let output = run_with(&["chat", "--greedy"], script)?;
        let stdout = succeed(&output)?;
        ensure!(stdout.lines().count() == 2 && stdout.lines().all(|line| !line.is_empty()), "{stdout:?}");
        let stderr = text(&output.stderr);
        ensure!(!stderr.contains('\u{1b}'), "colour in a pipe");
        let cached = cached(&stderr)?;
        ensure!(cached.len() == 2 && cached[0] == 0 && cached[1] > 0, "{cached:?}: {stderr}");
        let output = run_with(&["chat"], b"/nonsense\n/undo\n")?;
        ensure!(output.status.code() == Some(1) && text(&output.stderr).contains("/nonsense"));
        Ok(())
    });
    suite.case("chat: what is complete has nothing to go on with", || {
        let output = run_with(&["chat", "--greedy"], b"Hello, I am Robin.\n/continue\n/stats\n")?;
        ensure!(succeed(&output)?.lines().count() == 1, "{}", text(&output.stdout));
        let stderr = text(&output.stderr);
        ensure!(stderr.contains("the reply is complete") && stderr.contains("\n1 replies, "), "{stderr}");
        Ok(())
    });
    suite.case("chat: the model is loaded again, and the conversation stays", || {
        let script = b"Hello, I am Robin.\n/reload\n/prompt What is my name?\nWho are you?\n/stats\n";
        let output = run_with(&["chat", "--greedy"], script)?;
        ensure!(succeed(&output)?.lines().count() == 2, "{}", text(&output.stdout));
        let stderr = text(&output.stderr);
        ensure!(stderr.contains("loaded again") && stderr.contains("User: Hello, I am Robin."), "{stderr}");
        ensure!(cached(&stderr)? == [0], "a new device has nothing cached: {stderr}");
        Ok(())
    });
    suite.case("generate: the character is named", || {
        let arguments = ["generate", "--chat", "--prompt", "Who are you?", "--greedy", "--json", "--character", "Luma"];
        let reply = json(&[&arguments[..], &["--force-name"]].concat())?;
        ensure!(
            reply["name"] == "Luma" && reply["text"].as_str().is_some_and(|text| text.starts_with("Luma:")),
            "{reply}"
        );
        ensure!(json(&arguments[..6])?.get("name").is_none());
        Ok(())
    });
    suite.case("chat: save, resume, undo", || {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("chat.json");
        let script = format!("Hello, I am Robin.\nWho are you?\n/undo\n/save {}\n", file.display());
        succeed(&run_with(&["chat", "--greedy"], script.as_bytes())?)?;
        let saved: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        ensure!(saved["messages"].as_array().map(Vec::len) == Some(2), "{saved}");
        ensure!(saved["preset"] == "auto" && saved["sampling"]["greedy"] == true, "{saved}");
        ensure!(saved["max_new_tokens"] == 512, "{saved}");
        let path = file.to_string_lossy();
        let script = b"/prompt What is my name?\n/preset alpaca\n/save\n/stats\n";
        let output = run_with(&["chat", "--resume", &path, "-n", "7", "--repetition-penalty", "1.5"], script)?;
        succeed(&output)?;
        ensure!(text(&output.stderr).contains("User: Hello, I am Robin."), "{}", text(&output.stderr));
        let output = run_with(&["chat", "--resume", &path], b"/preset\n/stats\n/save\n")?;
        succeed(&output)?;
        let stderr = text(&output.stderr);
        ensure!(stderr.contains("preset: alpaca") && stderr.contains("repetition_penalty 1.5, greedy"), "{stderr}");
        let saved: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        ensure!(saved["max_new_tokens"] == 7, "{saved}");
        let output = run_with(&["chat"], format!("/save {path}\n").as_bytes())?;
        ensure!(text(&output.stderr).contains("exists already"), "{}", text(&output.stderr));
        Ok(())
    });
    suite.case("demo: plays to its end", || {
        let shown = succeed(&run(&["demo", "--limit", "3"])?)?;
        ensure!(shown.contains("Guanaco") && shown.contains("guanaco chat"), "{shown}");
        Ok(())
    });
    suite.case("eval: counts exact matches, and fails below the minimum", || {
        let reply = json(&["generate", "--chat", "--prompt", "Hello!", "--greedy", "--json"])?;
        let line = |answer: &str| {
            serde_json::json!({"skill": "greet", "lang": "en", "input": "Hello!", "answer": answer,
                "prompt": "### Instruction:\n### Input:\nUser: Hello!\n### Response:\n"})
        };
        let lines = format!("{}\n{}\n", line(reply["text"].as_str().unwrap_or_default()), line("Nobody says this."));
        let output = run_with(&["eval", "dialogues", "-", "--json", "--min", "50"], lines.as_bytes())?;
        let report: Value = serde_json::from_str(&succeed(&output)?)?;
        ensure!(report["right"] == 1 && report["total"] == 2 && report["cells"][0]["percent"] == 50.0, "{report}");
        let output = run_with(&["eval", "dialogues", "-", "--min", "51"], lines.as_bytes())?;
        ensure!(output.status.code() == Some(1) && text(&output.stderr).contains("greet in en"));
        let other = lines.replace("User: Hello!", "User: Goodbye!");
        let output = run_with(&["eval", "dialogues", "-"], other.as_bytes())?;
        ensure!(fail(&output, 1)?.contains("expected"), "another prompt passed");
        Ok(())
    });
    suite.case("stdout that closes early is no error", || {
        let mut child = command(&["inspect", "--tensors", "--json"]).spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        ensure!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
        let mut child = command(&["generate", "--prompt", "Hello", "--ignore-eos", "-n", "200"]).spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        ensure!(output.status.success() && !text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
        Ok(())
    });
}

fn bad_input(suite: &mut Suite) {
    type Case<'a> = (&'a str, &'a [&'a str], &'a [u8], &'a [&'a str]);
    let cases: &'static [Case<'static>] = &[
        ("an empty prompt", &["generate", "--prompt", ""], b"", &["empty"]),
        ("an empty stdin", &["generate", "--prompt", "-"], b"", &["empty"]),
        ("a prompt that is not UTF-8", &["generate", "--prompt", "-"], b"caf\xe9", &["stdin", "UTF-8", "3"]),
        ("a file that is not there", &["generate", "--prompt", "@no/such/file"], b"", &["no/such/file"]),
        ("an id outside the vocabulary", &["generate", "--ids", "1,999999"], b"", &["999999"]),
        ("an id outside the vocabulary, logits", &["logits", "--ids", "999999"], b"", &["999999"]),
        ("an id outside the vocabulary, back to text", &["tokenize", "--ids", "999999"], b"", &["999999"]),
        ("a temperature of 0", &["generate", "--prompt", "a", "--temperature", "0"], b"", &["temperature", "greedy"]),
        ("a prompt longer than the context", &["generate", "--ids", "1,2,3", "--context", "2"], b"", &["2", "3"]),
        (
            "a context that the model has not",
            &["generate", "--ids", "1", "--context", "999999"],
            b"",
            &["1024", "999999"],
        ),
        ("the same for inspect", &["inspect", "--context", "999999"], b"", &["999999"]),
        ("the same for bench", &["bench", "--context", "999999"], b"", &["999999"]),
        ("a bench longer than the context", &["bench", "-p", "9999"], b"", &["9999", "1024"]),
        (
            "more sequences than beams",
            &["generate", "--ids", "1", "--num-beams", "2", "--num-return-sequences", "3"],
            b"",
            &["num_return_sequences"],
        ),
        ("an empty stop string", &["generate", "--prompt", "a", "--stop", ""], b"", &["stop strings"]),
        ("a kernel that there is not", &["conformance", "--filter", "nonsense"], b"", &["nonsense", "rms_norm"]),
        ("a model that is not there", &["inspect", "no/such/model"], b"", &["no/such/model"]),
        ("an adapter that is not there", &["logits", "--ids", "1", "--adapter", "nosuchgpu"], b"", &["nosuchgpu"]),
        ("a budget too small", &["logits", "--ids", "1", "--memory-budget", "1MiB"], b"", &["fit", "1.0 MiB"]),
        ("messages that are none", &["prompt", "--messages", "-"], b"{}", &["list"]),
        ("messages without a question", &["prompt", "--messages", "-"], b"[]", &["empty"]),
        (
            "a chat template that is missing",
            &["prompt", "--messages", "-", "--preset", "chat-template"],
            br#"[{"role":"user","content":"a"}]"#,
            &["template"],
        ),
        ("dialogues that are none", &["eval", "dialogues", "-"], b"{}\n", &["line 1"]),
        ("a conversation that is none", &["chat", "--resume", "Cargo.toml"], b"", &["Cargo.toml"]),
    ];
    for &(name, arguments, input, words) in cases {
        suite.case(format!("bad input: {name}"), move || {
            let error = fail(&run_with(arguments, input)?, 1)?;
            for word in words {
                ensure!(error.contains(word), "no {word:?} in: {error}");
            }
            Ok(())
        });
    }
    suite.case("bad input: a kernel in GUANACO_CPU_KERNELS that there is not", || {
        let output = command(&["logits", "--ids", "1"]).env("GUANACO_CPU_KERNELS", "rms_norm,ropy").output()?;
        let error = fail(&output, 1)?;
        ensure!(error.contains("`ropy`") && error.contains("rope_kv"), "{error}");
        Ok(())
    });
    suite.case("bad input: a switch in GUANACO_PREFER that no variant has", || {
        let output = command(&["logits", "--ids", "1"]).env("GUANACO_PREFER", "coop").output()?;
        let error = fail(&output, 1)?;
        ensure!(error.contains("`coop`") && error.contains("coop16, coop8"), "{error}");
        Ok(())
    });
    // With an adapter that does not exist, whatever is told of the request was told before a device was opened.
    let before: &'static [(&str, &[&str], &str)] = &[
        ("an id outside the vocabulary", &["generate", "--ids", "1,999999"], "999999"),
        ("the same for logits", &["logits", "--ids", "999999"], "999999"),
        ("a prompt longer than the context", &["generate", "--ids", "1,2,3", "--context", "2"], "at most 2"),
        (
            "more sequences than beams",
            &["generate", "--ids", "1", "--num-return-sequences", "3", "--num-beams", "2"],
            "num_return_sequences",
        ),
        ("an empty stop string", &["generate", "--prompt", "a", "--stop", ""], "stop strings"),
        ("a filter for nothing", &["conformance", "--filter", "nonsense"], "nonsense"),
        ("a bench that is too long", &["bench", "-n", "9999"], "9999"),
    ];
    for &(name, arguments, word) in before {
        suite.case(format!("before a device is opened: {name}"), move || {
            let error = fail(&run(&[arguments, &["--adapter", "nosuchgpu"]].concat())?, 1)?;
            ensure!(error.contains(word) && !error.contains("nosuchgpu"), "{error}");
            Ok(())
        });
    }
}

/// The sums of cached tokens that `/stats` showed, one for each time.
fn cached(stderr: &str) -> anyhow::Result<Vec<usize>> {
    let numbers = stderr.lines().filter_map(|line| line.split_once(" · prompts: ")?.1.split_once(" tokens cached"));
    numbers.map(|(number, _)| number.parse().with_context(|| stderr.to_owned())).collect()
}

#[cfg(unix)]
fn interrupts(suite: &mut Suite) {
    use std::process::Child;

    fn interrupt(child: &Child) -> Outcome {
        let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
        ensure!(status.success(), "kill: {status}");
        Ok(())
    }

    const LONG: [&str; 5] = ["--greedy", "--ignore-eos", "-n", "900", "--no-history"];

    suite.case("Ctrl-C stops a reply and not the chat", || {
        let mut child = command(&[&["chat"][..], &LONG].concat()).stdin(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let mut stdout = child.stdout.take().context("no stdout")?;
        stdin.write_all(b"Hello, I am Robin.\n")?;
        let mut first = [0; 1];
        stdout.read_exact(&mut first)?;
        interrupt(&child)?;
        stdin.write_all(b"/stats\n/quit\n")?;
        let output = child.wait_with_output()?;
        ensure!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
        let stderr = text(&output.stderr);
        let tokens = stderr.lines().find_map(|line| line.strip_prefix("1 replies, ")?.split_whitespace().next());
        let tokens: usize = tokens.with_context(|| stderr.clone())?.parse()?;
        ensure!(tokens > 0 && tokens < 800, "{tokens} tokens: the reply was not stopped");
        Ok(())
    });
    suite.case("Ctrl-C ends a long reply of generate with what there is", || {
        let arguments = ["generate", "--ids", "1,5", "--greedy", "--ignore-eos", "-n", "1000"];
        let whole = text(&run(&arguments)?.stdout);
        let mut child = command(&arguments).spawn()?;
        let mut stdout = child.stdout.take().context("no stdout")?;
        let mut shown = vec![0; 1];
        stdout.read_exact(&mut shown)?;
        interrupt(&child)?;
        stdout.read_to_end(&mut shown)?;
        let output = child.wait_with_output()?;
        ensure!(output.status.code() == Some(130), "{}: {}", output.status, text(&output.stderr));
        ensure!(errors(&text(&output.stderr)).is_empty(), "{}", text(&output.stderr));
        let shown = text(&shown);
        let begun = shown.trim_end();
        ensure!(whole.starts_with(begun) && begun.len() < whole.trim_end().len(), "not stopped: {shown}");
        Ok(())
    });
}
