//! What one start keeps for the next on the same adapter and driver: compiled pipelines, where the backend hands them out, and
//! which variants passed their self-test. One file in the folder that the options name; without a folder, nothing is read or kept.
//!
//! ```text
//! 16 digits: FNV-1a of all that follows \n   JSON: Header \n   the backend's data
//! ```
//!
//! A file that is damaged, or of another engine, adapter or driver, is left aside with a note, and the start is a first one. Failed
//! self-tests are not kept: a failure may have had a passing reason, and it is told at each start.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::adapter::AdapterFacts;
use super::context::{Gpu, lock};
use super::pipeline::Launch;
use super::shader::find;
use crate::error::{Error, Result};

/// Of the file; another one is left aside.
const FORMAT: u32 = 1;

/// A larger file is not ours: a model has a few dozen pipelines of some kilobytes.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    /// The engine, the adapter and the driver.
    owner: String,
    /// [`fingerprint`]s of the launches that passed their self-test.
    passed: BTreeSet<u64>,
}

/// The file, as far as there is one, and what this start adds to it.
#[derive(Default)]
pub(super) struct Cache {
    path: Option<PathBuf>,
    owner: String,
    pub(super) pipelines: Option<wgpu::PipelineCache>,
    passed: Mutex<BTreeSet<u64>>,
    /// The sum of what the file holds.
    sum: Mutex<u64>,
}

impl Cache {
    /// What the file of `gpu`'s adapter in `folder` holds.
    pub(super) fn open(gpu: &Gpu, folder: &Path) -> Self {
        let owner = owner(gpu.facts());
        let path = folder.join(format!("start-{:016x}.bin", fnv(owner.as_bytes())));
        let (header, data, sum) = match read(&path, &owner) {
            Ok(found) => found.unwrap_or_default(),
            Err(reason) => {
                tracing::warn!("what an earlier start kept is not used: {reason}; file: {}", path.display());
                Default::default()
            }
        };
        let pipelines = gpu.pipeline_cache(&data).or_else(|error| {
            tracing::warn!("compiled pipelines of an earlier start are not used: {error}; file: {}", path.display());
            gpu.pipeline_cache(&[])
        });
        let pipelines = pipelines.unwrap_or_default();
        Self { path: Some(path), owner, pipelines, passed: Mutex::new(header), sum: Mutex::new(sum) }
    }

    /// Whether an earlier start, or this one, saw `launch` pass.
    pub(super) fn has_passed(&self, launch: &Launch) -> bool {
        self.path.is_some() && fingerprint(launch).is_some_and(|print| lock(&self.passed).contains(&print))
    }

    /// Notes that `launch` passed.
    pub(super) fn passed(&self, launch: &Launch) {
        lock(&self.passed).extend(fingerprint(launch));
    }

    /// Writes the file, unless it holds the same already.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn keep(&self) -> Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let data = self.pipelines.as_ref().and_then(wgpu::PipelineCache::get_data).unwrap_or_default();
        let header = Header { format: FORMAT, owner: self.owner.clone(), passed: lock(&self.passed).clone() };
        let mut body = serde_json::to_vec(&header).map_err(|error| Error::io("write", path, error.into()))?;
        body.push(b'\n');
        body.extend(data);
        let (sum, mut kept) = (fnv(&body), lock(&self.sum));
        if *kept == sum {
            return Ok(());
        }
        let fail = |action| move |error| Error::io(action, path, error);
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(fail("create"))?;
        // Other processes see the old file or the new one, never a part.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail("create"))?;
        file.write_all(format!("{sum:016x}\n").as_bytes()).map_err(fail("write"))?;
        file.write_all(&body).map_err(fail("write"))?;
        file.persist(path).map_err(|error| fail("write")(error.error))?;
        *kept = sum;
        Ok(())
    }
}

/// The fingerprints, the backend's data and the sum of the file at `path`; None where there is none.
///
/// # Errors
/// Why it cannot be used.
#[expect(clippy::type_complexity, reason = "the three parts of the file, taken apart at once")]
fn read(path: &Path, owner: &str) -> Result<Option<(BTreeSet<u64>, Vec<u8>, u64)>, String> {
    match std::fs::metadata(path) {
        Ok(facts) if facts.len() > MAX_BYTES => return Err(format!("{} bytes are too many", facts.len())),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    }
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let damaged = || "it is damaged".to_owned();
    let line = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
    let (sum, body) = bytes.split_at_checked(line(&bytes).ok_or_else(damaged)? + 1).ok_or_else(damaged)?;
    let sum = std::str::from_utf8(sum).ok().and_then(|sum| u64::from_str_radix(sum.trim_end(), 16).ok());
    let sum = sum.filter(|sum| *sum == fnv(body)).ok_or_else(damaged)?;
    let (header, data) = body.split_at_checked(line(body).ok_or_else(damaged)? + 1).ok_or_else(damaged)?;
    let header: Header = serde_json::from_slice(header).map_err(|_| damaged())?;
    if header.format != FORMAT || header.owner != owner {
        return Err(format!("it is of {}, format {}; expected {owner}, format {FORMAT}", header.owner, header.format));
    }
    Ok(Some((header.passed, data.to_vec(), sum)))
}

/// Whose file it is: another engine tests anew, another driver may compute otherwise.
fn owner(facts: &AdapterFacts) -> String {
    let AdapterFacts { name, backend, vendor, device, driver, .. } = facts;
    format!("guanaco {} on {name}, {backend} {vendor:04x}:{device:04x}, {driver}", env!("CARGO_PKG_VERSION"))
}

/// Of the text and the numbers of `launch`: a changed shader is another one. None where there is no such text.
fn fingerprint(launch: &Launch) -> Option<u64> {
    let Launch { kernel, variant, invocations, overrides } = launch;
    let shader = find(kernel, variant)?;
    Some(fnv(format!("{kernel}.{variant} {invocations} {overrides:?}\n{}", shader.source).as_bytes()))
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): the same in every build, and good enough against accidents.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::{Cache, Launch, fingerprint, fnv, read};
    use crate::gpu::{Gpu, GpuOptions, SHADERS};

    fn launch(invocations: u32) -> Launch {
        let shader = &SHADERS[0];
        Launch { kernel: shader.kernel, variant: shader.variant, invocations, overrides: Vec::new() }
    }

    #[test]
    fn the_sum_is_fnv_1a() {
        // Of the test suite in <https://datatracker.ietf.org/doc/draft-eastlake-fnv/>.
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn what_is_kept_is_read_again_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/start.bin");
        assert!(read(&path, "me").unwrap().is_none());
        let cache = Cache { path: Some(path.clone()), owner: "me".to_owned(), ..Cache::default() };
        cache.passed(&launch(8));
        assert!(cache.has_passed(&launch(8)) && !cache.has_passed(&launch(16)));
        cache.keep().unwrap();
        let (passed, data, _) = read(&path, "me").unwrap().unwrap();
        assert!(passed.into_iter().eq(fingerprint(&launch(8))) && data.is_empty());
        assert!(read(&path, "you").unwrap_err().contains("expected you"));

        let good = std::fs::read(&path).unwrap();
        for (at, byte) in good.iter().enumerate() {
            let mut bad = good.clone();
            bad[at] = byte ^ 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(read(&path, "me").is_err(), "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(read(&path, "me").is_err(), "cut at {at}");
        }
        std::fs::write(&path, [&good[..], &[0]].concat()).unwrap();
        assert!(read(&path, "me").is_err());
    }

    #[test]
    fn a_second_start_tests_nothing_again_and_a_damaged_file_is_a_first_start() {
        let folder = tempfile::tempdir().unwrap();
        let options = GpuOptions { cache_folder: Some(folder.path().to_owned()), ..GpuOptions::from_env() };
        let open = || Gpu::open(options.clone()).map_err(|error| eprintln!("skipped: {error}")).ok();
        let Some(gpu) = open() else { return };
        let (mut tests, count) = (0, |tests: &mut u32| *tests += 1);
        let mut start = |gpu: &Gpu| {
            let launch = crate::kernels::matvec::launches::<16>(gpu.tier()).remove(0);
            gpu.pipeline(&launch).unwrap();
            assert!(
                gpu.trusted(&launch, || {
                    count(&mut tests);
                    None
                })
                .unwrap()
            );
            gpu.keep_cache();
            tests
        };
        assert_eq!(start(&gpu), 1);
        let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let written = std::fs::metadata(&file).unwrap().modified().unwrap();
        assert_eq!(start(&open().unwrap()), 1);
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), written, "the same was written again");
        let mut bytes = std::fs::read(&file).unwrap();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(start(&open().unwrap()), 2);
        assert_eq!(start(&open().unwrap()), 2);
    }
}
