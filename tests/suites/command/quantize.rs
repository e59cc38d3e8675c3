//! `guanaco quantize` from the outside.

use anyhow::{Context as _, ensure};
use guanaco_tests::{Suite, data_dir, workspace};

use super::{fail, json, run, succeed, text};

pub(super) fn cases(suite: &mut Suite) {
    let source = workspace().join("app").join("tiny-guanaco").display().to_string();
    let calibration = data_dir().join("tiny-guanaco").join("heldout.jsonl").display().to_string();

    let from = source.clone();
    suite.case("quantize: a folder that talks, and is not written over", move || {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out").display().to_string();
        let report = json(&["quantize", &from, &out, "--json"])?;
        ensure!(report["method"] == "rtn" && report["bits"] == 4 && report["group_size"] == 128, "{report}");
        ensure!(report["projections"].as_array().map(Vec::len) == Some(28), "{report}");
        ensure!(report["mean"].as_array().map(Vec::len) == Some(7) && report["act_order"] == false, "{report}");
        let reply = succeed(&run(&["generate", "--model", &out, "--chat", "--prompt", "Hello!", "--greedy"])?)?;
        ensure!(reply.contains("Hello"), "{reply}");

        let message = fail(&run(&["quantize", &from, &out])?, 1)?;
        ensure!(message.contains("not empty") && message.contains("--force"), "{message}");
        let table = succeed(&run(&["quantize", &from, &out, "--force", "--method", "rtn", "--group", "64"])?)?;
        ensure!(table.contains("down_proj") && table.contains("error of the weights"), "{table}");
        let message = fail(&run(&["quantize", &out, &format!("{out}2")])?, 1)?;
        ensure!(message.contains("quantised already") && !folder.path().join("out2").exists(), "{message}");
        std::fs::write(folder.path().join("out").join("other.safetensors"), "x")?;
        let message = fail(&run(&["quantize", &from, &out, "--force"])?, 1)?;
        ensure!(message.contains("other.safetensors"), "{message}");
        let message = fail(&run(&["quantize", &from, &from, "--force"])?, 1)?;
        ensure!(message.contains("the source itself"), "{message}");
        Ok(())
    });

    let (from, file) = (source.clone(), calibration.clone());
    suite.case("quantize: fitted to a text", move || {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out").display().to_string();
        let arguments =
            ["quantize", &from, &out, "--calibration", &file, "--samples", "4", "--seq-len", "32", "--json"];
        let report = json(&arguments)?;
        ensure!(report["method"] == "gptq" && report["tokens"] == 128 && report["act_order"] == true, "{report}");
        for mean in report["mean"].as_array().context("no means")? {
            let error = |name: &str| mean[name].as_f64().unwrap_or(f64::NAN);
            ensure!(error("error") < error("rtn_error"), "{mean}");
        }
        Ok(())
    });

    let (from, file) = (source.clone(), calibration.clone());
    suite.case("quantize: wrong usage", move || {
        for arguments in [
            &["--method", "gptq"][..],
            &["--method", "rtn", "--calibration", &file],
            &["--bits", "3"],
            &["--group", "48"],
            &["--damp", "0"],
            &["--model", &from],
        ] {
            let output = run(&[&["quantize", &from, "never-written"][..], arguments].concat())?;
            ensure!(output.status.code() == Some(2), "{arguments:?}: {}: {}", output.status, text(&output.stderr));
        }
        ensure!(!std::path::Path::new("never-written").exists(), "a refused run made its folder");
        Ok(())
    });

    #[cfg(unix)]
    suite.case("quantize: Ctrl-C leaves nothing behind", move || {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("out");
        let shown = out.display().to_string();
        let mut child = super::command(&["quantize", &source, &shown, "--calibration", &calibration]).spawn()?;
        // The folder is there when the handler is.
        while !out.exists() {
            ensure!(child.try_wait()?.is_none(), "ended before its folder was there");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
        ensure!(status.success(), "kill: {status}");
        let output = child.wait_with_output()?;
        ensure!(output.status.code() == Some(130), "{}: {}", output.status, text(&output.stderr));
        ensure!(!out.exists() && output.stdout.is_empty(), "something was left behind");
        Ok(())
    });
}
