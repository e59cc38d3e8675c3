//! A real chat model end to end: SmolLM2-135M-Instruct (Q4_1, GGUF), held to what transformers gives for the same file. The
//! expected values are made by `tests/data/smollm2/make.py`; `scripts/models` fetches the file.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, ensure};
use guanaco_tests::{Outcome, Suite, data_dir, workspace};
use serde_json::Value;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let model = workspace().join(".cache").join("models").join(FILE);
    if model.is_file() {
        let add = |suite: &mut Suite, name: &str, run: fn(&Path) -> Outcome| {
            let model = model.clone();
            suite.device_case(name, move || run(&model));
        };
        add(&mut suite, "answers with no further option", answers);
        add(&mut suite, "ids and greedy text of transformers: chats", chats);
        add(&mut suite, "ids and greedy text of transformers: texts", texts);
        add(&mut suite, "perplexity of transformers", perplexity);
    } else {
        suite.skip("smollm2", "no .cache/models/SmolLM2-135M-Instruct.Q4_1.gguf; scripts/models fetches it");
    }
    suite.run(Some(1))
}

/// Where transformers' best logit is above the next by less than this, rounding decides: its weights are f32, the device's are
/// the file's 4-bit codes with f16 scales, and logits have a spread of 3 to 5.
const TIE: f64 = 0.02;

fn list_of(value: &Value) -> anyhow::Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("not a list: {value}"))
}

fn expected() -> anyhow::Result<Value> {
    let path: PathBuf = data_dir().join("smollm2").join("expect.json");
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// stdout and stderr of `guanaco ARGUMENTS --model MODEL` with `input` on stdin.
fn run(model: &Path, arguments: &[&str], input: &str) -> anyhow::Result<(String, String)> {
    use std::io::Write as _;
    let mut command = Command::new(env!("CARGO_BIN_EXE_guanaco"));
    command.args(arguments).arg("--model").arg(model).env("GUANACO_UNTUNED", "1").env("GUANACO_CACHE", "");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // A command that reads no messages does not read this.
    let _ = child.stdin.take().context("no stdin")?.write_all(input.as_bytes());
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "guanaco {}: {}: {stderr}", arguments.join(" "), output.status);
    Ok((String::from_utf8(output.stdout)?, stderr))
}

/// `guanaco chat --model FILE`, with nothing else said: the model's own format, and its own end of turn.
fn answers(model: &Path) -> Outcome {
    let question = "What is the capital of France?";
    let (reply, notes) = run(model, &["chat"], &format!("{question}\n"))?;
    ensure!(reply.contains("Paris") && reply.lines().count() <= 3, "{reply:?}");
    ensure!(!reply.contains("<|im"), "{reply:?}");
    ensure!(!notes.contains("No source"), "{notes}");
    let (reply, _) = run(model, &["generate", "--chat", "--greedy", "--prompt", question], "")?;
    ensure!(reply == "The capital of France is Paris.\n", "{reply:?}");
    Ok(())
}

fn chats(model: &Path) -> Outcome {
    same(model, "chats", &["--chat"])
}

fn texts(model: &Path) -> Outcome {
    same(model, "texts", &[])
}

/// Each prompt of `list` has transformers' ids, and its greedy reply transformers' tokens.
fn same(model: &Path, list: &str, more: &[&str]) -> Outcome {
    let expected = expected()?;
    let new_tokens = expected["new_tokens"].to_string();
    let prompts = expected[list].as_array().context("no list")?;
    let (mut n_tokens, mut n_ties) = (0, 0);
    for case in prompts {
        let prompt = case["prompt"].as_str().context("no prompt")?;
        let fixed = ["generate", "--greedy", "--json", "-n", &new_tokens, "--prompt", prompt];
        let reply: Value = serde_json::from_str(&run(model, &[&fixed, more].concat(), "")?.0)?;
        ensure!(reply["prompt_ids"] == case["ids"], "{prompt:?}: {} and {}", reply["prompt_ids"], case["ids"]);
        let (got, right) = (list_of(&reply["ids"])?, list_of(&case["new"])?);
        match got.iter().zip(right).position(|(got, right)| got != right) {
            None => ensure!(got.len() == right.len(), "{prompt:?}: {got:?} and {right:?}"),
            Some(at) => {
                let margin = case["margins"][at].as_f64().context("no margin")?;
                ensure!(
                    margin < TIE,
                    "{prompt:?}: token {at} differs with a margin of {margin}: {got:?} and {right:?}"
                );
                n_ties += 1;
            }
        }
        n_tokens += right.len();
    }
    println!("{} {list}, {n_tokens} tokens, {n_ties} replies that part at a tie", prompts.len());
    ensure!(n_ties <= 1, "{n_ties} replies part from transformers' at a tie");
    Ok(())
}

/// The perplexity of the licence, to three digits.
fn perplexity(model: &Path) -> Outcome {
    let expected = &expected()?["perplexity"];
    let window = expected["context"].to_string();
    let text = workspace().join("LICENSE-APACHE").display().to_string();
    let arguments = ["eval", "perplexity", "--text", &text, "--window", &window, "--json"];
    let report: Value = serde_json::from_str(&run(model, &arguments, "")?.0)?;
    let (got, right) = (report["models"][0]["perplexity"].as_f64(), expected["value"].as_f64());
    let (got, right) = got.zip(right).with_context(|| format!("{report}"))?;
    println!("perplexity {got:.4}, transformers {right:.4}");
    ensure!((got / right - 1.0).abs() < 1e-3, "{got} and {right}");
    Ok(())
}
