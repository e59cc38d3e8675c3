//! What a user or a system may do to a command that is no mistake in a file: a full disk under stdout, the largest numbers, a
//! machine that others use too.

use anyhow::{Context as _, ensure};
use guanaco_tests::Suite;

use super::{command, fail, run_with, succeed};

pub(super) fn cases(suite: &mut Suite) {
    suite.case("a reply of the largest number of tokens ends where the context ends", || {
        let most = usize::MAX.to_string();
        let arguments = ["generate", "--ids", "1,5", "--greedy", "--ignore-eos", "--context", "40", "-n"];
        // A GPU decodes ahead of the host, and draws up how many steps that may be.
        for profile in ["cpu", "gpu"] {
            let output = command(&[&arguments[..], &[&most]].concat()).env("GUANACO_PROFILE", profile).output()?;
            let whole = succeed(&output).with_context(|| format!("profile {profile}"))?;
            let output = command(&[&arguments[..], &["1000"]].concat()).env("GUANACO_PROFILE", profile).output()?;
            ensure!(!whole.is_empty() && whole == succeed(&output)?, "profile {profile}: {whole}");
        }
        Ok(())
    });
    #[cfg(target_os = "linux")]
    suite.case("a full disk under stdout is an error of every command", || {
        let commands: &[&[&str]] = &[
            &["devices"],
            &["devices", "--json"],
            &["inspect"],
            &["inspect", "--json"],
            &["completions", "bash"],
            &["tokenize", "--text", "a"],
            &["tokenize", "--ids", "5"],
            &["logits", "--ids", "1,5"],
            &["generate", "--ids", "1,5", "-n", "2"],
        ];
        for arguments in commands {
            let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
            let output = command(arguments).stdout(full).output()?;
            let stderr = fail(&output, 1).with_context(|| arguments.join(" "))?;
            ensure!(stderr.contains("No space left"), "{}: {stderr}", arguments.join(" "));
        }
        Ok(())
    });
    #[cfg(unix)]
    suite.case("what is written has the rights that the umask leaves; a chat is its owner's", || {
        use std::os::unix::fs::PermissionsExt as _;
        use std::path::Path;
        use std::process::Command;

        fn mode(path: &Path) -> anyhow::Result<u32> {
            let metadata = std::fs::metadata(path).with_context(|| path.display().to_string())?;
            Ok(metadata.permissions().mode() & 0o777)
        }

        let dir = tempfile::tempdir()?;
        let model = guanaco_tests::data_dir().join("models").join("rope_linear");
        for (umask, expected) in [("077", 0o600), ("022", 0o644)] {
            let out = dir.path().join(umask);
            std::fs::create_dir(&out)?;
            let script = format!("umask {umask}; exec \"$0\" convert \"$1\" \"$2\"");
            let output = Command::new("sh")
                .args(["-c", &script, env!("CARGO_BIN_EXE_guanaco")])
                .args([&model, &out.join("model.safetensors")])
                .env("GUANACO_CACHE", "")
                .output()?;
            succeed(&output)?;
            for entry in std::fs::read_dir(&out)? {
                let path = entry?.path();
                ensure!(mode(&path)? == expected, "{}: {:o}", path.display(), mode(&path)?);
            }
        }
        let file = dir.path().join("chat.json");
        succeed(&run_with(&["chat"], format!("/save {}\n", file.display()).as_bytes())?)?;
        ensure!(mode(&file)? == 0o600, "{:o}", mode(&file)?);
        Ok(())
    });
}
