//! `guanaco pull` and `--model owner/name` against a hub on this machine: nothing here leaves 127.0.0.1.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use anyhow::{Context as _, ensure};
use guanaco_tests::{Outcome, Suite, workspace};
use serde_json::Value;

#[path = "hub/server.rs"]
mod server;

use server::{COMMIT, Hub, Request, Setup, etag};

const MODEL: &str = "owner/name";
/// The files of the embedded model, as a model of the hub has them.
const NEEDED: [&str; 5] =
    ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];

fn main() -> ExitCode {
    let mut suite = Suite::new();
    downloads(&mut suite);
    broken(&mut suite);
    tokens(&mut suite);
    offline(&mut suite);
    names(&mut suite);
    suite.run(None)
}

/// A hub and a user with an empty home.
struct World {
    hub: Hub,
    home: tempfile::TempDir,
    n_weights: usize,
}

impl World {
    fn new(change: impl FnOnce(&mut Setup)) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for name in NEEDED {
            files.insert(name.to_owned(), std::fs::read(workspace().join("app/tiny-guanaco").join(name))?);
        }
        let n_weights = files["model.safetensors"].len();
        for (name, len) in [("README.md", 10), ("pytorch_model.bin", 60_000), ("onnx/model.safetensors", 60_000)] {
            files.insert(name.to_owned(), vec![7; len]);
        }
        let mut setup = Setup { model: MODEL.to_owned(), files, ..Setup::default() };
        change(&mut setup);
        Ok(Self { hub: Hub::start(setup)?, home: tempfile::tempdir()?, n_weights })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guanaco"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            if text.starts_with("HF_") || text.starts_with("HUGGING") || text.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        command.env_remove("XDG_CACHE_HOME").env("HOME", self.home.path()).env("USERPROFILE", self.home.path());
        command.env("HF_ENDPOINT", self.hub.url()).env("HF_HOME", self.home.path().join("hf"));
        command
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    fn model(&self) -> PathBuf {
        self.home.path().join("hf/hub/models--owner--name")
    }

    fn snapshot(&self) -> PathBuf {
        self.model().join("snapshots").join(COMMIT)
    }

    /// Where the unfinished weights are.
    fn partial(&self) -> anyhow::Result<PathBuf> {
        let weights = std::fs::read(workspace().join("app/tiny-guanaco/model.safetensors"))?;
        Ok(self.model().join("blobs").join(format!("{}.incomplete", etag(&weights))))
    }

    /// The snapshot has the model's files, and their bytes are right.
    fn is_whole(&self) -> Outcome {
        let mut found = names_in(&self.snapshot())?;
        found.sort();
        ensure!(found == NEEDED, "{found:?}");
        for name in NEEDED {
            let same = std::fs::read(self.snapshot().join(name))?
                == std::fs::read(workspace().join("app/tiny-guanaco").join(name))?;
            ensure!(same, "{name} has other bytes");
        }
        Ok(())
    }

    /// Nothing opens as the model.
    fn is_absent(&self) -> Outcome {
        ensure!(!self.model().join("snapshots").exists() && !self.model().join("refs").exists(), "a model is there");
        fails(&self.run(&["inspect", "--model", MODEL])?, 1, &["guanaco pull owner/name"])?;
        Ok(())
    }
}

fn names_in(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeeds(output: &Output) -> anyhow::Result<String> {
    ensure!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
    Ok(text(&output.stdout))
}

/// stderr of a run that fails with `code`, with all `words` in it, and nothing on stdout.
fn fails(output: &Output, code: i32, words: &[&str]) -> anyhow::Result<String> {
    let stderr = text(&output.stderr);
    ensure!(output.status.code() == Some(code), "{}, expected {code}: {stderr}", output.status);
    ensure!(output.stdout.is_empty() && !stderr.contains("panicked"), "{stderr}");
    for word in words {
        ensure!(stderr.contains(word), "no {word:?} in: {stderr}");
    }
    Ok(stderr)
}

/// The requests for the weights' bytes.
fn of_weights(requests: &[Request]) -> Vec<&Request> {
    requests.iter().filter(|request| request.method == "GET" && request.path.ends_with("/model.safetensors")).collect()
}

fn downloads(suite: &mut Suite) {
    suite.case("pull, and open without the hub", || {
        let world = World::new(|_| {})?;
        let output = world.run(&["pull", MODEL])?;
        ensure!(succeeds(&output)?.trim() == world.snapshot().to_string_lossy(), "{}", text(&output.stdout));
        let bytes: usize =
            NEEDED.iter().map(|name| std::fs::read(world.snapshot().join(name)).map_or(0, |b| b.len())).sum();
        ensure!(text(&output.stderr).contains(&format!("({bytes} bytes)")), "{}", text(&output.stderr));
        world.is_whole()?;
        let asked: Vec<String> = world.hub.take().into_iter().map(|request| request.path).collect();
        ensure!(asked.len() == 1 + NEEDED.len(), "{asked:?}");
        for unwanted in ["README", ".bin", "onnx"] {
            ensure!(!asked.iter().any(|path| path.contains(unwanted)), "{asked:?}");
        }
        // Other programs of the hub find it, too.
        let theirs = hf_hub::Cache::new(world.home.path().join("hf/hub")).model(MODEL.to_owned());
        ensure!(theirs.get("model.safetensors") == Some(world.snapshot().join("model.safetensors")));

        let report: Value = serde_json::from_str(&succeeds(&world.run(&["inspect", "--model", MODEL, "--json"])?)?)?;
        ensure!(report["tensors"].as_array().is_some_and(|list| !list.is_empty()), "{report}");
        succeeds(&world.run(&["inspect", "owner/name@main"])?)?;
        succeeds(&world.run(&["inspect", &format!("{MODEL}@{COMMIT}")])?)?;
        succeeds(&world.run(&["tokenize", "--text", "a", "--model", MODEL])?)?;
        let asked = world.hub.take();
        ensure!(asked.is_empty(), "opening a model asked the hub: {asked:?}");

        let report: Value = serde_json::from_str(&succeeds(&world.run(&["pull", MODEL, "--json"])?)?)?;
        ensure!(report["download"] == 0 && report["bytes"] == bytes, "{report}");
        ensure!(world.hub.take().len() == 1, "a second pull downloads again");
        world.is_whole()
    });
    suite.case("a list without lengths: the files are asked", || {
        let world = World::new(|setup| setup.bare_list = true)?;
        succeeds(&world.run(&["pull", MODEL])?)?;
        let heads = world.hub.take().iter().filter(|request| request.method == "HEAD").count();
        ensure!(heads == NEEDED.len(), "{heads}");
        world.is_whole()
    });
    suite.case("--dry-run downloads nothing", || {
        let world = World::new(|_| {})?;
        let report: Value = serde_json::from_str(&succeeds(&world.run(&["pull", MODEL, "--dry-run", "--json"])?)?)?;
        ensure!(report["commit"] == COMMIT && report["download"] == report["bytes"], "{report}");
        let names: Vec<_> = report["files"].as_array().into_iter().flatten().map(|file| file["name"].clone()).collect();
        ensure!(names == NEEDED, "{names:?}");
        ensure!(!world.home.path().join("hf").exists() && world.hub.take().len() == 1);
        let list = succeeds(&world.run(&["pull", MODEL, "--dry-run"])?)?;
        ensure!(list.contains(&format!("{}  model.safetensors\n", world.n_weights)), "{list}");
        Ok(())
    });
    suite.case("one of several weights is asked for by name", || {
        let world = World::new(|setup| {
            setup.files.remove("model.safetensors");
            setup.files.remove("pytorch_model.bin");
            for name in ["a.Q4_0.gguf", "a.Q8_0.gguf"] {
                setup.files.insert(name.to_owned(), name.as_bytes().to_vec());
            }
        })?;
        fails(&world.run(&["pull", MODEL])?, 1, &["--file NAME", "a.Q4_0.gguf", "a.Q8_0.gguf"])?;
        succeeds(&world.run(&["pull", MODEL, "--file", "a.Q8_0.gguf"])?)?;
        let found = names_in(&world.snapshot())?;
        ensure!(
            found.iter().any(|name| name == "a.Q8_0.gguf") && !found.iter().any(|name| name.contains("Q4")),
            "{found:?}"
        );
        Ok(())
    });
}

fn broken(suite: &mut Suite) {
    suite.case("a connection that broke: the next run goes on", || {
        let world = World::new(|setup| setup.cut = Some(1_000_000))?;
        let words = ["1000000 of", "goes on from there", "connection"];
        fails(&world.run(&["pull", MODEL, "--retries", "0"])?, 1, &words)?;
        let first = world.hub.take();
        ensure!(of_weights(&first)[0].range.is_none() && of_weights(&first)[0].sent == 1_000_000, "{first:?}");
        world.is_absent()?;
        world.hub.change(|setup| setup.cut = None);
        let dry: Value = serde_json::from_str(&succeeds(&world.run(&["pull", MODEL, "--dry-run", "--json"])?)?)?;
        ensure!(
            dry["download"].as_u64() == dry["bytes"].as_u64().map(|all| all - before_weights(&dry) - 1_000_000),
            "{dry}"
        );
        world.hub.take();
        succeeds(&world.run(&["pull", MODEL])?)?;
        let second = world.hub.take();
        ensure!(of_weights(&second).len() == 1 && of_weights(&second)[0].range == Some(1_000_000), "{second:?}");
        ensure!(of_weights(&second)[0].sent == world.n_weights - 1_000_000, "{second:?}");
        world.is_whole()
    });
    suite.case("a connection that breaks: the same run goes on", || {
        let world = World::new(|setup| setup.cut = Some(3_000_000))?;
        succeeds(&world.run(&["pull", MODEL, "--retries", "1"])?)?;
        let ranges: Vec<_> = of_weights(&world.hub.take()).iter().map(|request| request.range).collect();
        ensure!(ranges == [None, Some(3_000_000), Some(6_000_000)], "{ranges:?}");
        world.is_whole()
    });
    suite.case("a server without ranges: from the beginning", || {
        let world = World::new(|setup| setup.no_ranges = true)?;
        std::fs::create_dir_all(world.model().join("blobs"))?;
        std::fs::write(world.partial()?, b"not the beginning")?;
        succeeds(&world.run(&["pull", MODEL])?)?;
        ensure!(of_weights(&world.hub.take())[0].range == Some(17));
        world.is_whole()
    });
    suite.case("a wrong sum is refused and leaves nothing", || {
        let world = World::new(|setup| setup.damaged = true)?;
        fails(&world.run(&["pull", MODEL])?, 1, &["model.safetensors", "SHA-256", "deleted"])?;
        world.is_absent()?;
        ensure!(!world.partial()?.exists());
        // So is a beginning that was not this file's.
        world.hub.change(|setup| setup.damaged = false);
        std::fs::write(world.partial()?, b"not the beginning")?;
        fails(&world.run(&["pull", MODEL])?, 1, &["SHA-256"])?;
        world.is_absent()?;
        succeeds(&world.run(&["pull", MODEL])?)?;
        world.is_whole()
    });
    suite.case("another program downloads the same", || {
        let world = World::new(|_| {})?;
        succeeds(&world.run(&["pull", MODEL])?)?;
        let weights = world.snapshot().join("model.safetensors").canonicalize()?;
        let name = weights.file_name().context("no name")?.to_string_lossy().into_owned();
        std::fs::remove_file(&weights)?;
        let lock = world.home.path().join("hf/hub/.locks/models--owner--name").join(format!("{name}.lock"));
        let held = std::fs::File::open(&lock).with_context(|| lock.display().to_string())?;
        held.lock()?;
        fails(&world.run(&["pull", MODEL])?, 1, &["another program"])?;
        held.unlock()?;
        succeeds(&world.run(&["pull", MODEL])?)?;
        world.is_whole()
    });
    suite.case("nothing that the hub says leads out of the cache", || {
        for evil in ["../x", "/x", "a/../../x", "..\\x"] {
            let world = World::new(|setup| drop(setup.files.insert(evil.to_owned(), b"evil".to_vec())))?;
            fails(&world.run(&["pull", MODEL])?, 1, &["no path inside"])?;
            ensure!(world.hub.take().len() == 1 && !world.home.path().join("hf").exists(), "{evil}");
        }
        for evil in ["../../../x", "..", "a b", ""] {
            let world = World::new(|setup| (setup.bare_list, setup.etag) = (true, Some(evil.to_owned())))?;
            fails(&world.run(&["pull", MODEL])?, 1, &["ETag"])?;
            ensure!(!world.home.path().join("hf").exists(), "{evil:?}");
        }
        Ok(())
    });
    suite.case("no hub at all", || {
        let world = World::new(|_| {})?;
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let output = world.command(&["pull", MODEL]).env("HF_ENDPOINT", format!("http://{port}")).output()?;
        fails(&output, 1, &["no connection", &port.to_string()])?;
        let output = world.command(&["pull", MODEL]).env("HF_ENDPOINT", "nonsense").output()?;
        fails(&output, 1, &["HF_ENDPOINT", "nonsense"])?;
        fails(&world.run(&["pull", "owner/other"])?, 1, &["owner/other", "404", "no such model"])?;
        Ok(())
    });
    #[cfg(unix)]
    suite.case("Ctrl-C leaves what came for the next run", || {
        let world = World::new(|setup| (setup.cut, setup.hang) = (Some(2_000_000), true))?;
        let child = world.command(&["pull", MODEL]).spawn()?;
        let partial = world.partial()?;
        let begin = std::time::Instant::now();
        while std::fs::metadata(&partial).map_or(0, |found| found.len()) < 2_000_000 {
            ensure!(begin.elapsed().as_secs() < 20, "nothing comes");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
        ensure!(status.success(), "kill: {status}");
        fails(&child.wait_with_output()?, 130, &[])?;
        world.is_absent()?;
        world.hub.take();
        world.hub.change(|setup| setup.cut = None);
        world.hub.change(|setup| setup.hang = false);
        succeeds(&world.run(&["pull", MODEL])?)?;
        let requests = world.hub.take();
        ensure!(of_weights(&requests)[0].range == Some(2_000_000), "{requests:?}");
        world.is_whole()
    });
}

/// Bytes of the files that are downloaded before the weights.
fn before_weights(report: &Value) -> u64 {
    let files = report["files"].as_array().into_iter().flatten();
    files.take_while(|file| file["name"] != "model.safetensors").filter_map(|file| file["bytes"].as_u64()).sum()
}

fn tokens(suite: &mut Suite) {
    const TOKEN: &str = "hf_secretsecret";
    suite.case("the token is sent as Bearer, and asked for when missing", || {
        let world = World::new(|setup| setup.token = Some(TOKEN.to_owned()))?;
        fails(&world.run(&["pull", MODEL])?, 1, &["401", "HF_TOKEN", "gated"])?;
        ensure!(world.hub.take().iter().all(|request| request.authorization.is_none()));
        let wrong = world.command(&["pull", MODEL]).env("HF_TOKEN", "hf_wrong").output()?;
        let stderr = fails(&wrong, 1, &["401", "may not read"])?;
        ensure!(!stderr.contains("hf_wrong"), "{stderr}");
        let bad = world.command(&["pull", MODEL]).env("HF_TOKEN", "a\r\nX: y").output()?;
        fails(&bad, 1, &["characters that no token has"])?;
        world.hub.take();
        let output = world.command(&["pull", MODEL, "-v"]).env("HUGGING_FACE_HUB_TOKEN", TOKEN).output()?;
        succeeds(&output)?;
        ensure!(!text(&output.stderr).contains(TOKEN) && !text(&output.stdout).contains(TOKEN));
        let bearer = format!("Bearer {TOKEN}");
        ensure!(world.hub.take().iter().all(|request| request.authorization.as_deref() == Some(&bearer)));
        world.is_whole()?;
        std::fs::write(world.home.path().join("hf/token"), format!("{TOKEN}\n"))?;
        succeeds(&world.run(&["pull", MODEL])?)?;
        Ok(())
    });
    suite.case("another server does not get the token", || {
        let other = World::new(|_| {})?;
        let address = other.hub.address;
        let world = World::new(|setup| (setup.token, setup.elsewhere) = (Some(TOKEN.to_owned()), Some(address)))?;
        succeeds(&world.command(&["pull", MODEL]).env("HF_TOKEN", TOKEN).output()?)?;
        let there = other.hub.take();
        ensure!(there.iter().any(|request| request.path == "/elsewhere/model.safetensors"), "{there:?}");
        ensure!(there.iter().all(|request| request.authorization.is_none()), "the token leaked");
        world.is_whole()?;
        // The same where only the headers are asked.
        let world = World::new(|setup| {
            (setup.token, setup.elsewhere, setup.bare_list) = (Some(TOKEN.to_owned()), Some(address), true);
        })?;
        succeeds(&world.command(&["pull", MODEL]).env("HF_TOKEN", TOKEN).output()?)?;
        ensure!(other.hub.take().iter().all(|request| request.authorization.is_none()), "the token leaked");
        world.is_whole()
    });
}

fn offline(suite: &mut Suite) {
    suite.case("--offline opens no connection", || {
        let world = World::new(|_| {})?;
        fails(&world.run(&["pull", MODEL, "--offline"])?, 1, &["not in the cache", "--offline"])?;
        let output = world.command(&["pull", MODEL]).env("HF_HUB_OFFLINE", "1").output()?;
        fails(&output, 1, &["HF_HUB_OFFLINE"])?;
        ensure!(world.hub.take().is_empty());
        succeeds(&world.run(&["pull", MODEL])?)?;
        world.hub.take();
        let found = succeeds(&world.run(&["pull", MODEL, "--offline"])?)?;
        ensure!(found.trim() == world.snapshot().to_string_lossy(), "{found}");
        ensure!(world.hub.take().is_empty());
        Ok(())
    });
    suite.case("a model that is not in the cache: where it was searched, and what to do", || {
        let world = World::new(|_| {})?;
        let folders = [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")];
        for (variable, below) in folders {
            let folder = world.home.path().join("elsewhere");
            let output =
                world.command(&["inspect", "--model", MODEL]).env_remove("HF_HOME").env(variable, &folder).output()?;
            let searched = folder.join(below).join("models--owner--name");
            fails(&output, 1, &["guanaco pull owner/name", &searched.to_string_lossy()])?;
        }
        ensure!(world.hub.take().is_empty(), "it asked the hub");
        // Who opens no model is not asked for one.
        succeeds(&world.run(&["completions", "bash", "--model", MODEL])?)?;
        Ok(())
    });
    suite.case("a folder of that name wins", || {
        let world = World::new(|_| {})?;
        let folder = world.home.path().join(MODEL);
        std::fs::create_dir_all(&folder)?;
        for name in NEEDED {
            std::fs::copy(workspace().join("app/tiny-guanaco").join(name), folder.join(name))?;
        }
        succeeds(&world.command(&["inspect", "--model", MODEL]).current_dir(world.home.path()).output()?)?;
        Ok(())
    });
}

fn names(suite: &mut Suite) {
    suite.case("two families are called Guanaco", || {
        let world = World::new(|setup| setup.model = "timdettmers/guanaco-7b".to_owned())?;
        for bare in ["guanaco", "guanaco-7b", "Guanaco-33B"] {
            let both = ["JosephusCheung/Guanaco", "timdettmers/guanaco-"];
            fails(&world.run(&["pull", bare])?, 1, &both)?;
            fails(&world.run(&["inspect", "--model", bare])?, 1, &both)?;
        }
        ensure!(world.hub.take().is_empty(), "a name was guessed");
        let notes = |output: &Output| {
            let stderr = text(&output.stderr);
            stderr.lines().filter(|line| line.contains("### Human:/### Assistant:")).count()
        };
        let output = world.run(&["pull", "timdettmers/guanaco-7b"])?;
        succeeds(&output)?;
        ensure!(notes(&output) == 1, "{}", text(&output.stderr));
        let output = world.run(&["inspect", "timdettmers/guanaco-7b"])?;
        succeeds(&output)?;
        ensure!(notes(&output) == 1, "{}", text(&output.stderr));
        world.hub.change(|setup| setup.model = "JosephusCheung/Guanaco".to_owned());
        let output = world.run(&["pull", "JosephusCheung/Guanaco"])?;
        succeeds(&output)?;
        ensure!(notes(&output) == 0, "{}", text(&output.stderr));
        Ok(())
    });
    suite.case("what is no model's name", || {
        let world = World::new(|_| {})?;
        for bad in ["llama", "a/b/c", "../b", "a/b@../c", "a/b@"] {
            fails(&world.run(&["pull", bad])?, 1, &["expected"])?;
        }
        ensure!(world.hub.take().is_empty());
        Ok(())
    });
}
