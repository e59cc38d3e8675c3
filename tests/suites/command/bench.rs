//! `guanaco bench` and `guanaco tune` from the outside: what they keep, and what they make of what was kept; and drafts, which only make
//! a reply sooner.

use std::path::Path;

use anyhow::{Context as _, ensure};
use guanaco_tests::{Outcome, Suite};
use serde_json::Value;

use super::{command, fail, json, run, succeed, text};

const LINUX: &str = "the user's folders are set by variables on Linux alone";

pub(super) fn cases(suite: &mut Suite) {
    type Case = (&'static str, fn() -> Outcome);
    let cases: [Case; 2] =
        [("bench: keeps and compares its runs", kept_runs), ("tune: keeps what it finds", kept_launches)];
    for (name, case) in cases {
        if cfg!(target_os = "linux") {
            suite.case(name, case);
        } else {
            suite.skip(name, LINUX);
        }
    }
    suite.case("generate: drafts change no token", drafts);
    suite.case("bench: a file to compare with that is none", || {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("before.json").display().to_string();
        let error = fail(&run(&["bench", "--compare", &path, "--adapter", "nosuchgpu"])?, 1)?;
        ensure!(error.contains("before.json") && !error.contains("nosuchgpu"), "{error}");
        std::fs::write(&path, "{\"format\":1}")?;
        let error = fail(&run(&["bench", "--compare", &path, "--adapter", "nosuchgpu"])?, 1)?;
        ensure!(error.contains("guanaco bench --json") && !error.contains("nosuchgpu"), "{error}");
        Ok(())
    });
}

/// With `--prompt-lookup` a reply is the same, and says how many drafted tokens held.
fn drafts() -> Outcome {
    const SYSTEM: &str = "Talvi Renn keeps the lighthouse of Orrin.";
    const PLAIN: [&str; 9] = [
        "generate",
        "--json",
        "--greedy",
        "--chat",
        "--system",
        SYSTEM,
        "--prompt",
        "Who keeps the lighthouse?",
        "-n32",
    ];
    let plain = json(&PLAIN)?;
    ensure!(plain["drafted"] == 0 && plain["accepted"] == 0, "{plain}");
    for flag in ["--prompt-lookup", "--prompt-lookup=2"] {
        let fast = json(&[&PLAIN[..], &[flag]].concat())?;
        ensure!(fast["ids"] == plain["ids"] && fast["finish"] == plain["finish"], "{fast}, expected {plain}");
        let [drafted, accepted] = ["drafted", "accepted"].map(|key| fast[key].as_u64().unwrap_or(u64::MAX));
        ensure!(drafted > 0 && accepted <= drafted, "{fast}");
    }
    let drawn =
        ["generate", "--json", "--ids", "1,5,6,5,6,5", "--ignore-eos", "-n24", "--sampling", "guanaco", "--seed", "4"];
    let fast = json(&[&drawn[..], &["--prompt-lookup=7"]].concat())?;
    ensure!(fast["ids"] == json(&drawn)?["ids"] && fast["drafted"].as_u64() > Some(0), "{fast}");
    let error = fail(&run(&["generate", "--ids", "1", "--prompt-lookup=8"])?, 2)?;
    ensure!(error.contains("1..=7"), "{error}");
    let error = fail(&run(&["generate", "--ids", "1", "--prompt-lookup", "--num-beams", "2"])?, 1)?;
    ensure!(error.contains("draft_tokens"), "{error}");
    Ok(())
}

/// stdout and stderr of a run with the user's folders in `home`.
fn at_home(home: &Path, arguments: &[&str]) -> anyhow::Result<(String, String)> {
    let mut command = command(arguments);
    command.env("XDG_CACHE_HOME", home.join("cache")).env("XDG_DATA_HOME", home.join("data"));
    command.env_remove("GUANACO_UNTUNED").env_remove("GUANACO_CACHE");
    let output = command.output()?;
    Ok((succeed(&output)?, text(&output.stderr)))
}

fn kept_runs() -> Outcome {
    let home = tempfile::tempdir()?;
    let saved = home.path().join("before.json");
    let page = home.path().join("page.html").display().to_string();
    const TEST: [&str; 8] = ["bench", "-p", "8", "-n", "4", "-r", "2", "--history"];
    let (first, notes) = at_home(home.path(), &[&TEST[..], &["--json"]].concat())?;
    ensure!(notes.contains("the first run"), "{notes}");
    let report: Value = serde_json::from_str(&first)?;
    ensure!(report["format"] == 2 && report["changes"].as_array().is_some_and(Vec::is_empty), "{report}");
    ensure!(report["profile"].is_null() && report["prompt_tokens"] == 8 && report["new_tokens"] == 4, "{report}");
    ensure!(report["prefill"][0]["name"] == "pp8" && report["decode"][0]["name"] == "tg4@8", "{report}");
    ensure!(report["decode"][0]["host"]["s_per_token"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report}");
    std::fs::write(&saved, &first)?;

    // A line that another program left there.
    let file = home.path().join("data/guanaco/bench.jsonl");
    std::fs::write(&file, std::fs::read_to_string(&file)? + "not json\n")?;
    let compare = saved.display().to_string();
    let (second, notes) = at_home(home.path(), &[&TEST[..], &["--compare", &compare, "--html", &page]].concat())?;
    ensure!(notes.contains("1 lines are damaged") && notes.contains("kept runs, medians:"), "{notes}");
    let tables = second.matches("pp8, tok/s").count();
    ensure!(second.contains("against the run of 2") && second.contains("before.json") && tables == 3, "{second}");
    ensure!(second.contains("GPU time of each kernel, by the"), "{second}");
    ensure!(std::fs::read_to_string(&file)?.lines().count() == 3);
    let page = std::fs::read_to_string(&page)?;
    ensure!(page.starts_with("<!DOCTYPE html>") && page.matches("class=\"flame\"").count() == 2, "{page}");
    Ok(())
}

fn kept_launches() -> Outcome {
    let home = tempfile::tempdir()?;
    let report: Value = serde_json::from_str(&at_home(home.path(), &["tune", "--json"])?.0)?;
    // The last kernel that is tried may take a little more than its share.
    ensure!(report["seconds"].as_f64().is_some_and(|seconds| seconds < 30.0), "{report}");
    let kernels = report["kernels"].as_array().context("no kernels")?;
    ensure!(kernels.iter().any(|kernel| kernel["kernel"] == "matvec" && kernel["before"].is_string()), "{report}");
    let file = Path::new(report["file"].as_str().context("no file")?);
    ensure!(file.starts_with(home.path()) && file.is_file(), "{report}");

    const REPLY: [&str; 6] = ["generate", "--prompt", "Hello", "--greedy", "-n", "4"];
    let (tuned, notes) = at_home(home.path(), &REPLY)?;
    ensure!(!notes.contains("tune"), "{notes}");
    std::fs::write(file, "{\"format\":1,\"adapter\":")?;
    let (damaged, notes) = at_home(home.path(), &REPLY)?;
    ensure!(notes.contains("is damaged") && notes.contains("guanaco tune"), "{notes}");
    ensure!(tuned == damaged, "{tuned:?} and {damaged:?}");
    ensure!(at_home(home.path(), &["tune", "--clear"])?.0 == "forgotten\n");
    ensure!(at_home(home.path(), &["tune", "--clear", "--json"])?.0 == "{\"cleared\":false}\n");
    let (cleared, notes) = at_home(home.path(), &REPLY)?;
    ensure!(cleared == tuned && !notes.contains("tune"), "{notes}");
    Ok(())
}
