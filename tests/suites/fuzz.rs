//! Every input that fuzzing has kept, once more: the seeds, what led it to new code, and what once broke something. `make fuzz`
//! looks for more of them.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use guanaco_tests::counting::Counting;
use guanaco_tests::fuzz::{self, TARGETS, Target};
use guanaco_tests::{Outcome, Suite, data_dir};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What one input may take.
const MAX_TIME: Duration = Duration::from_secs(2);
/// What the whole corpus may take in the repository.
const MAX_CORPUS: u64 = 300_000;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for target in TARGETS {
        suite.case(format!("corpus/{}", target.name), move || replay(target));
    }
    suite.case("corpus stays small, and each folder has its target", all_folders);
    suite.case("memory is counted", || {
        let used = fuzz::run("safetensors", &[b'x'; 10_000]);
        ensure!(used > 10_000, "{used} bytes");
        Ok(())
    });
    suite.run(None)
}

fn files(target: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = data_dir().join("corpus").join(target);
    let entries = std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

fn replay(target: &Target) -> Outcome {
    let files = files(target.name)?;
    ensure!(files.len() >= 5, "only {} files", files.len());
    let (mut slowest, mut largest) = (Duration::ZERO, 0);
    for path in &files {
        let data = std::fs::read(path)?;
        let begin = Instant::now();
        let peak = std::panic::catch_unwind(|| fuzz::run(target.name, &data));
        let Ok(peak) = peak else { anyhow::bail!("it panics; file: {}", path.display()) };
        let took = begin.elapsed();
        ensure!(took <= MAX_TIME, "took {took:?}, expected at most {MAX_TIME:?}; file: {}", path.display());
        (slowest, largest) = (slowest.max(took), largest.max(peak));
    }
    println!(
        "{}: {} files, the slowest {} ms, the largest {} kB",
        target.name,
        files.len(),
        slowest.as_millis(),
        largest / 1000
    );
    Ok(())
}

fn all_folders() -> Outcome {
    let mut bytes = 0;
    for entry in std::fs::read_dir(data_dir().join("corpus"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if TARGETS.iter().any(|target| target.name == name) {
            for file in files(&name)? {
                bytes += file.metadata()?.len();
            }
        } else {
            ensure!(name == "make.py", "{name} is the corpus of no target");
        }
    }
    println!("{bytes} bytes");
    ensure!(bytes <= MAX_CORPUS, "the corpus has {bytes} bytes, expected at most {MAX_CORPUS}");
    Ok(())
}
