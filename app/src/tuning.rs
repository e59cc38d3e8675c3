//! What `guanaco tune` found out, in the user's cache: one file an adapter, read when a device is opened. A file that is damaged,
//! or of another driver or program, is left aside with a note: it is never needed for a right result.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use guanaco_engine::gpu::{AdapterFacts, Gpu, GpuOptions, Tier, Tuning};
use guanaco_engine::kernels::tune;
use serde::{Deserialize, Serialize};

/// The form of the file that this program writes and reads.
const FORMAT: u32 = 1;

/// A file may not be longer: a page of kernels is a few kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tuned {
    /// The number of this form of the file.
    pub format: u32,
    /// The adapter's name.
    pub adapter: String,
    /// Its driver and version.
    pub driver: String,
    /// Version of the program, and a number that changes with the text of any kernel.
    pub engine: String,
    /// The launches that won.
    pub tuning: Tuning,
}

/// What a file says for a device.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// There is no file.
    Nothing,
    /// It is of this adapter, driver and program.
    Fits(Tuning),
    /// It is not, or damaged: why it is left aside.
    LeftAside(String),
}

/// The device, with what was tuned on it. `GUANACO_UNTUNED=1` leaves that aside, and so do the baselines.
///
/// # Errors
/// As [`Gpu::open`].
pub fn open(options: GpuOptions) -> guanaco_engine::Result<Gpu> {
    let untuned = options.baseline_only || std::env::var_os("GUANACO_UNTUNED").is_some_and(|value| value == "1");
    let gpu = Gpu::open(options)?;
    let path = if untuned { None } else { file(gpu.facts()) };
    match path.as_deref().map_or(Found::Nothing, |path| read(path, gpu.facts(), gpu.tier())) {
        Found::Nothing => {}
        Found::Fits(tuning) => gpu.set_tuning(tuning),
        Found::LeftAside(why) => {
            tracing::warn!("what `guanaco tune` kept is left aside, as {why}; run it again, or `guanaco tune --clear`");
        }
    }
    Ok(gpu)
}

/// The file of an adapter, in the folder of what is kept between runs, if there is one.
pub fn file(adapter: &AdapterFacts) -> Option<PathBuf> {
    let folder = crate::cache::folder()?;
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = adapter.name.chars().take(64).map(plain).collect();
    let AdapterFacts { backend, vendor, device, .. } = adapter;
    Some(folder.join("tune").join(format!("{backend}-{vendor:04x}-{device:04x}-{name}.json")))
}

/// What the file at `path` says for `adapter`.
pub fn read(path: &Path, adapter: &AdapterFacts, tier: &Tier) -> Found {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return Found::LeftAside(format!("{} cannot be opened: {error}", path.display())),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        return Found::LeftAside(format!("{} cannot be read: {error}", path.display()));
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Found::LeftAside(format!("{} is longer than {MAX_BYTES} bytes", path.display()));
    }
    let tuned: Tuned = match serde_json::from_slice(&bytes) {
        Ok(tuned) => tuned,
        Err(error) => return Found::LeftAside(format!("{} is damaged: {error}", path.display())),
    };
    let Tuned { format, adapter: name, driver, engine, tuning } = tuned;
    let lost = tune::unknown(&tuning, tier);
    if format != FORMAT {
        Found::LeftAside(format!("its format is {format}, and this program's {FORMAT}"))
    } else if name != adapter.name || driver != adapter.driver {
        Found::LeftAside(format!(
            "it was measured with {name} ({driver}), and this is {} ({})",
            adapter.name, adapter.driver
        ))
    } else if engine != self::engine() {
        Found::LeftAside(format!("it was measured by {engine}, and this is {}", self::engine()))
    } else if !lost.is_empty() {
        Found::LeftAside(format!("it names launches that do not exist, of {}", lost.join(", ")))
    } else {
        Found::Fits(tuning)
    }
}

/// Writes `tuning` for `adapter` to `path`, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, adapter: &AdapterFacts, tuning: Tuning) -> anyhow::Result<()> {
    let tuned = Tuned {
        format: FORMAT,
        adapter: adapter.name.clone(),
        driver: adapter.driver.clone(),
        engine: engine(),
        tuning,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(&tuned)? + "\n";
    Ok(guanaco_engine::file::write_file(path, text.as_bytes())?)
}

/// Removes the file at `path`; false when there was none.
///
/// # Errors
/// When it cannot be removed.
pub fn clear(path: &Path) -> anyhow::Result<bool> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot remove {}", path.display())),
    }
}

fn engine() -> String {
    format!("guanaco {} ({:016x})", env!("CARGO_PKG_VERSION"), tune::texts())
}

#[cfg(test)]
mod tests {
    use guanaco_engine::gpu::TunedLaunch;

    use super::*;
    use crate::cli::conformance::report::tests::report;

    fn launch(variant: &str, invocations: u32) -> Tuning {
        let overrides = [("WORKGROUP".to_owned(), invocations)].into();
        let launch = TunedLaunch { variant: variant.to_owned(), invocations, overrides };
        Tuning { launches: [("matvec".to_owned(), launch)].into() }
    }

    #[test]
    fn what_was_written_comes_back_for_the_same_adapter_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache/tune/card.json");
        let (facts, tier) = (report(&[]).adapter, report(&[]).tier);
        assert_eq!(read(&path, &facts, &tier), Found::Nothing);
        write(&path, &facts, launch("base", 128)).unwrap();
        assert_eq!(read(&path, &facts, &tier), Found::Fits(launch("base", 128)));

        let mut updated = facts.clone();
        updated.driver = "driver 2".into();
        let Found::LeftAside(why) = read(&path, &updated, &tier) else { panic!("of another driver") };
        assert!(why.contains("driver 2") && why.contains("driver <b>1.2.3</b>"), "{why}");
        assert!(clear(&path).unwrap() && !clear(&path).unwrap());
        assert_eq!(read(&path, &facts, &tier), Found::Nothing);
    }

    #[test]
    fn a_damaged_or_foreign_file_is_left_aside_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("card.json");
        let (facts, tier) = (report(&[]).adapter, report(&[]).tier);
        write(&path, &facts, launch("base", 128)).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let half = &good[..good.len() / 2];
        let long = " ".repeat(MAX_BYTES as usize + 1);
        let (other, newer) = (good.replace("guanaco 0", "guanaco 9"), good.replace("\"format\": 1", "\"format\": 2"));
        let (no_launch, no_kernel) = (good.replace("128", "127"), good.replace("matvec", "mat"));
        for (text, word) in [
            (half, "damaged"),
            ("", "damaged"),
            ("[1]", "damaged"),
            (&long, "longer"),
            (&other, "measured by"),
            (&newer, "format is 2"),
            (&no_launch, "matvec"),
            (&no_kernel, "of mat"),
        ] {
            std::fs::write(&path, text).unwrap();
            let found = read(&path, &facts, &tier);
            assert!(matches!(&found, Found::LeftAside(why) if why.contains(word)), "{word}: {found:?}");
        }
        assert!(matches!(read(folder.path(), &facts, &tier), Found::LeftAside(_)), "a folder");
    }

    #[test]
    fn a_name_of_any_kind_makes_a_plain_file_name() {
        let mut facts = report(&[]).adapter;
        facts.name = "../../Äh <b>/\u{0}".repeat(40);
        let Some(path) = file(&facts) else { return };
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.len() < 120 && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c)), "{name}");
    }
}
