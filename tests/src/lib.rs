//! What the suites share: where the fixtures are, how a missing one is skipped in sight, and how a suite is run.
//!
//! A suite is a list of named cases (`libtest-mimic` trials), so that each fixture file and each adapter is a test of its own
//! and can be picked by name: `cargo test -p guanaco-tests --test golden -- rope_llama3`.

pub mod counting;
pub mod device;
pub mod fuzz;
pub mod generate;
pub mod gguf;
pub mod layers;
pub mod reference;
pub mod source;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use guanaco_engine::gpu::list_adapters;
use libtest_mimic::{Arguments, Failed, Trial};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("..")).to_owned()
}

/// The fixtures that travel with every clone.
pub fn data_dir() -> PathBuf {
    workspace().join("tests").join("data")
}

/// The reference results by independent systems: `$GUANACO_GOLDEN`, or `../shared/golden` beside the clone. None when the
/// machine has none; a suite then shows its cases as skipped.
pub fn golden_dir() -> Option<PathBuf> {
    let dir = match std::env::var_os("GUANACO_GOLDEN") {
        Some(dir) => PathBuf::from(dir),
        None => workspace().parent()?.join("shared").join("golden"),
    };
    dir.is_dir().then_some(dir)
}

/// Small inputs rebuilt from public bug reports, each with the right result: `$GUANACO_CASES`, or `../shared/cases` next to the
/// clone. None when the machine has none; the suite then shows its cases as skipped.
pub fn cases_dir() -> Option<PathBuf> {
    let dir = match std::env::var_os("GUANACO_CASES") {
        Some(dir) => PathBuf::from(dir),
        None => workspace().parent()?.join("shared").join("cases"),
    };
    dir.is_dir().then_some(dir)
}

/// What is opened of a fixture: the folder, or the GGUF file in it, beside which lie results in safetensors.
pub fn model_in(dir: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.find(|path| path.extension().is_some_and(|extension| extension == "gguf")).unwrap_or(dir.to_owned())
}

/// What a case returns: an anyhow error is a failed test, printed with its causes.
pub type Outcome = anyhow::Result<()>;

/// A list of named cases.
#[derive(Default)]
pub struct Suite {
    trials: Vec<Trial>,
}

impl Suite {
    /// An empty suite.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a case.
    pub fn case(&mut self, name: impl Into<String>, run: impl FnOnce() -> Outcome + Send + 'static) {
        self.trials.push(Trial::test(name, move || run().map_err(|error| Failed::from(format!("{error:?}")))));
    }

    /// Adds a case that computes on an adapter; skipped where the machine has none.
    pub fn device_case(&mut self, name: impl Into<String>, run: impl FnOnce() -> Outcome + Send + 'static) {
        static NONE: LazyLock<bool> = LazyLock::new(|| list_adapters().is_empty());
        if *NONE {
            self.skip(name, "no adapter; `make test` installs Mesa's software Vulkan");
        } else {
            self.case(name, run);
        }
    }

    /// Adds a case that cannot run here; it is listed as ignored, with the reason.
    pub fn skip(&mut self, name: impl Into<String>, reason: &str) {
        self.trials.push(Trial::test(name, || Ok(())).with_kind(format!("skipped: {reason}")).with_ignored_flag(true));
    }

    /// Runs what the command line asks for. The number of threads is limited to `threads` unless given.
    pub fn run(self, threads: Option<usize>) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads = arguments.test_threads.or(threads);
        libtest_mimic::run(&arguments, self.trials).exit_code()
    }
}
