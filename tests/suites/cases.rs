//! Faults of public bug reports, rebuilt with small inputs: each case states the right result, and this suite checks that the
//! command gives it. The inputs and the expected values are in the folder that [`cases_dir`] names.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, ensure};
use guanaco_tests::{Outcome, Suite, cases_dir};
use serde_json::Value;

#[path = "cases/checkpoints.rs"]
mod checkpoints;
#[path = "cases/format.rs"]
mod format;
#[path = "cases/templates.rs"]
mod templates;
#[path = "cases/tokenizers.rs"]
mod tokenizers;

/// A folder of inputs with its `expect.json`.
struct Case {
    dir: PathBuf,
    expect: Value,
}

impl Case {
    fn open(root: &Path, name: &str) -> anyhow::Result<Self> {
        let dir = root.join("models").join(name);
        let path = dir.join("expect.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Self { expect: serde_json::from_str(&text)?, dir })
    }

    /// The path of an input, for an argument.
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Numbers of `expect.json` at a JSON pointer.
    fn numbers(&self, pointer: &str) -> anyhow::Result<Vec<f64>> {
        numbers(self.expect.pointer(pointer).with_context(|| format!("expect.json has no {pointer}"))?)
    }
}

fn numbers(value: &Value) -> anyhow::Result<Vec<f64>> {
    let list = value.as_array().with_context(|| format!("not a list: {value}"))?;
    list.iter().map(|number| number.as_f64().with_context(|| format!("not a number: {number}"))).collect()
}

/// Adds `name` as a case that runs `check` on its folder.
fn case(suite: &mut Suite, root: &Path, name: &'static str, check: fn(&Case) -> Outcome) {
    let root = root.to_owned();
    suite.case(name, move || check(&Case::open(&root, name)?));
}

fn run(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guanaco"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What was tuned on this machine rounds otherwise. Neither read nor write the cache of who runs the tests.
    command.env("GUANACO_UNTUNED", "1").env("GUANACO_CACHE", "");
    command.output().with_context(|| format!("guanaco {}", arguments.join(" ")))
}

/// stdout of a run that succeeds, as JSON.
fn json(arguments: &[&str]) -> anyhow::Result<Value> {
    let output = run(arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "guanaco {}: {}: {stderr}", arguments.join(" "), output.status);
    let stdout = String::from_utf8(output.stdout)?;
    serde_json::from_str(&stdout).with_context(|| format!("stdout is not JSON alone: {stdout}"))
}

/// The error of a run that must fail with exit code 1, checked to name each of `words`.
fn refused(arguments: &[&str], words: &[&str]) -> Outcome {
    let output = run(arguments)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}, expected exit code 1: {stderr}", output.status);
    for word in words {
        ensure!(stderr.contains(word), "the error does not name {word:?}: {stderr}");
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    match cases_dir() {
        None => suite.skip("cases", "no ../shared/cases next to this clone, and GUANACO_CASES is not set"),
        Some(root) => {
            format::cases(&mut suite, &root);
            templates::cases(&mut suite, &root);
            tokenizers::cases(&mut suite, &root);
            checkpoints::cases(&mut suite, &root);
        }
    }
    suite.run(None)
}
