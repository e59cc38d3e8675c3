//! The device and its queue, and the place where every wgpu error becomes a typed one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::adapter::{self, AdapterFacts};
use super::cache::Cache;
use super::device_memory::{self, DeviceMemory};
use super::pipeline::{Launch, Pipeline};
use super::proof::Proof;
use super::recording::Width;
use super::tier::{Profile, Tier};
use super::timing::{self, Timing};
use super::tuning::Tuning;
use crate::error::{Error, Result};

/// How a device is asked for.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// Index, name or a part of it, `vendor:device`, or backend, with `#2` for the second of several; the best adapter without.
    pub adapter: Option<String>,
    /// Kernels whose f64 CPU reference runs in place of the shader (`GUANACO_CPU_KERNELS`), to bisect a wrong driver.
    pub cpu_kernels: Vec<String>,
    /// Where the final WGSL of each pipeline is written (`GUANACO_DUMP_SHADERS`).
    pub dump_shaders: Option<std::path::PathBuf>,
    /// Matrices are split into parts of at most this many bytes, though the adapter may bind more (`GUANACO_SPLIT_ABOVE`): tests
    /// split small models with it.
    pub split_above: Option<u64>,
    /// Picks kernels as for an adapter of this kind (`GUANACO_PROFILE`, `gpu` or `cpu`): tests run the choices of a GPU on software
    /// Vulkan with it.
    pub profile: Option<Profile>,
    /// Variants with this switch in their name come first (`GUANACO_PREFER=coop8`): to run a whole model with what the adapter
    /// has but does not choose.
    pub prefer: Option<String>,
    /// The most time that one submit may take; 200 ms without. A program that draws with the same GPU asks for less than
    /// a frame, as nothing is drawn while a submit runs.
    pub submit_time: Option<Duration>,
    /// Leaves the optional features out, so that the portable baselines run (`GUANACO_BASELINE=1`).
    pub baseline_only: bool,
    /// Where a start keeps compiled pipelines and the outcome of self-tests for the next one; nothing is kept without.
    pub cache_folder: Option<std::path::PathBuf>,
}

impl GpuOptions {
    /// The options that the environment names: `GUANACO_ADAPTER`, `GUANACO_CPU_KERNELS`, `GUANACO_DUMP_SHADERS`,
    /// `GUANACO_SPLIT_ABOVE`, `GUANACO_PROFILE`, `GUANACO_PREFER`, `GUANACO_BASELINE`.
    pub fn from_env() -> Self {
        let list = |name| std::env::var(name).unwrap_or_default();
        Self {
            adapter: Some(list("GUANACO_ADAPTER")).filter(|adapter| !adapter.is_empty()),
            cpu_kernels: list("GUANACO_CPU_KERNELS").split(',').map(str::trim).map(str::to_owned).collect(),
            dump_shaders: std::env::var_os("GUANACO_DUMP_SHADERS").map(Into::into),
            split_above: list("GUANACO_SPLIT_ABOVE").parse().ok(),
            profile: match list("GUANACO_PROFILE").as_str() {
                "gpu" => Some(Profile::Gpu),
                "cpu" => Some(Profile::Cpu),
                _ => None,
            },
            prefer: Some(list("GUANACO_PREFER")).filter(|switch| !switch.is_empty()),
            submit_time: None,
            baseline_only: list("GUANACO_BASELINE") == "1",
            cache_folder: None,
        }
    }
}

/// What the driver told outside of any error scope.
#[derive(Default)]
struct Sink {
    error: Option<String>,
    lost: Option<String>,
}

/// A device, its queue and its compiled kernels.
pub struct Gpu {
    /// The device.
    pub(super) device: wgpu::Device,
    /// Its queue.
    pub(super) queue: wgpu::Queue,
    adapter: wgpu::Adapter,
    facts: AdapterFacts,
    tier: Tier,
    options: GpuOptions,
    sink: Arc<Mutex<Sink>>,
    pub(super) pipelines: Slots<Arc<Pipeline>>,
    /// Variants that were tested on this device, with the reason where one failed.
    tested: Slots<Option<String>>,
    pub(super) cache: Cache,
    /// Measured work per second, in the units of a dispatch's `cost`, of decode steps and of batches: one is bound by memory, the
    /// other by arithmetic. They pace the submits.
    rates: [Mutex<f64>; 3],
    pub(super) timing: Timing,
    pub(super) proof: Proof,
    pub(super) tuning: Mutex<Tuning>,
}

/// What is found out once for each launch: who comes second, on another thread, waits for the first at the launch's own lock.
pub(super) type Slots<T> = Mutex<HashMap<Launch, Arc<Mutex<Option<T>>>>>;

/// One submit stays below this, so that no watchdog resets the GPU (Windows and RADV do after two seconds) and a window on
/// the same GPU stays fluid.
pub(super) const SUBMIT_TIME: Duration = Duration::from_millis(200);

/// A wait longer than this is a hang: the slowest software driver needs seconds for one submit of a 7B.
const WAIT_LIMIT: Duration = Duration::from_secs(600);

/// Experimental features: none, or, where the adapter reports shapes that there are kernels for, cooperative matrices.
///
/// The one place where they are enabled. wgpu asks for `unsafe` because such a feature may not be checked everywhere: a text
/// could read or write out of bounds through it, or run where matrices are not what a driver says. The texts that use it load and
/// store only within their own workgroup memory, at places that depend on constants and the subgroup's number alone, and
/// each is self-tested on the device, with sentinels around its output, before it is used.
fn experimental(features: wgpu::Features) -> wgpu::ExperimentalFeatures {
    if !features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX) {
        return wgpu::ExperimentalFeatures::disabled();
    }
    #[expect(unsafe_code, reason = "only cooperative matrices, within workgroup memory, self-tested; see above")]
    // SAFETY: see above.
    unsafe {
        wgpu::ExperimentalFeatures::enabled()
    }
}

impl Gpu {
    /// Opens the adapter that `options` names.
    ///
    /// # Errors
    /// [`Error::Adapter`] when there is none such; [`Error::Gpu`] when the driver refuses the device.
    pub fn open(options: GpuOptions) -> Result<Self> {
        let (facts, adapter) = adapter::choose(options.adapter.as_deref())?;
        let mut tier = Tier::of(&adapter);
        tier.profile = options.profile.unwrap_or(tier.profile);
        let optional = wgpu::Features::SHADER_F16 | wgpu::Features::SHADER_INT64 | wgpu::Features::SUBGROUP;
        let mut features = adapter.features() & (optional | timing::FEATURES);
        if options.baseline_only {
            features = wgpu::Features::empty();
            (tier.f16, tier.i64, tier.subgroup, tier.timestamps) = (false, false, None, false);
            tier.coop.clear();
        }
        let coop = adapter.features() & wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        if coop.is_empty() {
            tier.coop.clear();
        } else if tier.has_coop(8) || tier.has_coop(16) {
            features |= coop;
        }
        if options.cache_folder.is_some() {
            features |= adapter.features() & wgpu::Features::PIPELINE_CACHE;
        }
        tier.max_matrix_part = tier.max_matrix_part.min(options.split_above.unwrap_or(u64::MAX));
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("guanaco"),
            required_features: features,
            required_limits: adapter.limits(),
            experimental_features: experimental(features),
            // The default reserves blocks of 128 MiB: 17.4 GB for a model of 13.5 GB.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            trace: wgpu::Trace::Off,
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| Error::Gpu {
            during: format!("opening {}", facts.name),
            detail: format!("{error}; the driver is {}", facts.driver),
        })?;
        let sink = Arc::new(Mutex::new(Sink::default()));
        let (on_error, on_lost) = (sink.clone(), sink.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            lock(&on_error).error.get_or_insert(error.to_string());
        }));
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lock(&on_lost).lost.get_or_insert(message);
            }
        });
        // Guesses below what such devices do; the first submits correct them.
        let guess = if tier.profile == Profile::Cpu { 1e9 } else { 5e10 };
        let (pipelines, tested, rates) =
            (Mutex::default(), Mutex::default(), [guess, 2.0 * guess, 2.0 * guess].map(Mutex::new));
        let cache = Cache::default();
        let (timing, tuning) = (Timing::default(), Mutex::default());
        let mut gpu = Self {
            device,
            queue,
            adapter,
            facts,
            tier,
            options,
            sink,
            pipelines,
            tested,
            cache,
            rates,
            timing,
            proof: Proof::default(),
            tuning,
        };
        // Where references run in place of shaders, a self-test tells nothing of these.
        if let Some(folder) = gpu.options.cache_folder.clone().filter(|_| !gpu.has_cpu_kernels()) {
            gpu.cache = Cache::open(&gpu, &folder);
        }
        Ok(gpu)
    }

    fn has_cpu_kernels(&self) -> bool {
        self.options.cpu_kernels.iter().any(|name| !name.is_empty())
    }

    /// Keeps what this start compiled and tested for the next one, where the options name a folder. It must not matter: what goes
    /// wrong is only noted.
    pub fn keep_cache(&self) {
        if let Err(error) = self.cache.keep() {
            tracing::warn!("the next start will compile and test again: {error}");
        }
    }

    /// What was compiled, sorted.
    #[cfg(test)]
    pub(crate) fn compiled(&self) -> Vec<String> {
        let mut lines: Vec<_> = lock(&self.pipelines).keys().map(|launch| format!("{launch:?}")).collect();
        lines.sort();
        lines
    }

    /// The adapter.
    pub fn facts(&self) -> &AdapterFacts {
        &self.facts
    }

    /// How much memory it has, and how much of it this process may take now; None where its API does not tell (GL).
    pub fn memory(&self) -> Option<DeviceMemory> {
        device_memory::of(&self.adapter)
    }

    /// What it can do.
    pub fn tier(&self) -> &Tier {
        &self.tier
    }

    /// How it was asked for.
    pub fn options(&self) -> &GpuOptions {
        &self.options
    }

    /// Whether the variant of `launch` computes rightly on this device; `test` is run once, or was at an earlier start, and says
    /// why not.
    ///
    /// # Errors
    /// The device is gone.
    pub(crate) fn trusted(&self, launch: &Launch, test: impl FnOnce() -> Option<String>) -> Result<bool> {
        let slot = slot(&self.tested, launch);
        let mut slot = lock(&slot);
        if let Some(known) = &*slot {
            return Ok(known.is_none());
        }
        let failure = if self.cache.has_passed(launch) { None } else { test() };
        self.check("testing kernels")?;
        match &failure {
            Some(reason) => {
                let (name, Launch { kernel, variant, .. }) = (&self.facts.name, launch);
                tracing::warn!("{name}: `{kernel}` ({variant}) fails its self-test and is not used: {reason}");
            }
            None => self.cache.passed(launch),
        }
        Ok(slot.insert(failure).is_none())
    }

    /// Variants that failed their self-test and were replaced: kernel, variant, reason.
    pub fn fallbacks(&self) -> Vec<String> {
        let tested: Vec<_> = lock(&self.tested).iter().map(|(launch, slot)| (launch.clone(), slot.clone())).collect();
        let failed = tested.iter().filter_map(|(launch, slot)| Some((launch, lock(slot).clone()??)));
        let mut lines: Vec<_> = failed.map(|(l, why)| format!("{} ({}): {why}", l.kernel, l.variant)).collect();
        lines.sort();
        lines
    }

    /// Multiply-adds that a submit may hold: what the device does in [`GpuOptions::submit_time`]. A decode step on a software device is
    /// one submit however long it takes: no watchdog waits there, and nothing else is drawn by it.
    pub(crate) fn submit_bound(&self, width: Width) -> u64 {
        if width != Width::Many && self.tier.profile == Profile::Cpu {
            return u64::MAX;
        }
        let time = self.options.submit_time.unwrap_or(SUBMIT_TIME);
        (*lock(&self.rates[width as usize]) * time.as_secs_f64()) as u64
    }

    /// Takes a measured `cost` over `time` into the rate.
    pub(super) fn measured(&self, width: Width, cost: u64, time: Duration) {
        // A profile is slower than what it measures.
        if self.timing.is_profiling() {
            return;
        }
        // Short submits measure the latency, not the rate.
        if time > Duration::from_millis(5) && cost > 0 {
            let mut rate = lock(&self.rates[width as usize]);
            *rate = 0.5 * *rate + 0.5 * (cost as f64 / time.as_secs_f64());
        }
    }

    /// Runs `work` with every wgpu error that it causes caught and typed.
    ///
    /// # Errors
    /// The error of `work`; else what wgpu reported: [`Error::DoesNotFit`] when out of memory, [`Error::DeviceLost`],
    /// [`Error::Gpu`].
    pub(super) fn scoped<T>(&self, during: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let result = work();
        let memory = pollster::block_on(memory.pop());
        let validation = pollster::block_on(validation.pop());
        let internal = pollster::block_on(internal.pop());
        self.check(during)?;
        if memory.is_some() {
            let name = &self.facts.name;
            return Err(Error::DoesNotFit(format!(
                "{name} is out of memory while {during}; close other programs that use it, or ask for a smaller context"
            )));
        }
        match validation.or(internal) {
            Some(error) => Err(Error::Gpu { during: during.to_owned(), detail: error.to_string() }),
            None => result,
        }
    }

    /// What the driver has reported outside of any scope.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] or [`Error::Gpu`].
    pub fn check(&self, during: &str) -> Result<()> {
        let mut sink = lock(&self.sink);
        if let Some(reason) = &sink.lost {
            return Err(Error::DeviceLost { during: during.to_owned(), reason: reason.clone() });
        }
        match sink.error.take() {
            Some(detail) => Err(Error::Gpu { during: during.to_owned(), detail }),
            None => Ok(()),
        }
    }

    /// Takes the device away, as a driver that resets it does: what runs fails, and all that follows, with [`Error::DeviceLost`] and
    /// `reason`. So that it can be tried out what becomes of a conversation then.
    pub fn lose(&self, reason: &str) {
        self.note_lost(reason);
        self.device.destroy();
    }

    /// Lets all that follows fail with [`Error::DeviceLost`] and `reason`.
    pub(super) fn note_lost(&self, reason: &str) {
        lock(&self.sink).lost.get_or_insert_with(|| reason.to_owned());
    }

    /// Waits until `submission` (the last one without) is done.
    ///
    /// # Errors
    /// [`Error::Gpu`] on a time-out; what [`Gpu::check`] finds.
    pub(super) fn wait(&self, during: &str, submission: Option<wgpu::SubmissionIndex>) -> Result<()> {
        let start = Instant::now();
        let poll = wgpu::PollType::Wait { submission_index: submission, timeout: Some(WAIT_LIMIT) };
        let polled = self.device.poll(poll);
        self.timing.waited(start.elapsed());
        self.check(during)?;
        polled.map(|_| ()).map_err(|error| Error::Gpu {
            during: during.to_owned(),
            detail: format!("{error} after {:.0} s", start.elapsed().as_secs_f64()),
        })
    }
}

/// The place of `launch` among `slots`, empty at first.
pub(super) fn slot<T>(slots: &Slots<T>, launch: &Launch) -> Arc<Mutex<Option<T>>> {
    lock(slots).entry(launch.clone()).or_default().clone()
}

/// A lock that a panicking holder does not poison: the data are plain values that are whole at every moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{Gpu, GpuOptions};
    use crate::error::Error;
    use crate::gpu::{Role, Width};

    /// A device, or a note that there is none.
    fn gpu() -> Option<Gpu> {
        let gpu = Gpu::open(GpuOptions::from_env());
        gpu.map_err(|error| eprintln!("skipped: {error}")).ok()
    }

    #[test]
    fn an_adapter_that_does_not_exist_is_an_error_that_lists_what_there_is() {
        let options = GpuOptions { adapter: Some("no such card".to_owned()), ..GpuOptions::default() };
        let error = Gpu::open(options).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("no such card") && (error.contains("Adapters here") || error.contains("There is none")));
    }

    #[test]
    fn a_destroyed_device_gives_typed_errors_and_no_panic() {
        let Some(gpu) = gpu() else { return };
        let buffer = gpu.create_buffer("something", 64, Role::Storage).unwrap();
        gpu.device.destroy();
        let error = gpu.read(&buffer, 0, 64).expect_err("the device is gone");
        assert!(matches!(error, Error::Gpu { .. } | Error::DeviceLost { .. }), "{error}");
    }

    #[test]
    fn a_lost_device_says_so_and_why() {
        let Some(gpu) = gpu() else { return };
        let buffer = gpu.create_buffer("something", 64, Role::Storage).unwrap();
        gpu.lose("the driver was reset");
        let error = gpu.read(&buffer, 0, 64).expect_err("the device is gone");
        assert!(matches!(&error, Error::DeviceLost { reason, .. } if reason == "the driver was reset"), "{error}");
    }

    #[test]
    fn a_buffer_beyond_the_device_is_refused_with_figures() {
        let Some(gpu) = gpu() else { return };
        let error = gpu.create_buffer("far too large", u64::MAX / 2, Role::Storage).unwrap_err();
        assert!(matches!(error, Error::DoesNotFit(_)), "{error}");
        assert!(error.to_string().contains("far too large"));
    }

    #[test]
    fn slow_measurements_lower_the_bound_of_a_submit() {
        let Some(gpu) = gpu() else { return };
        let before = gpu.submit_bound(Width::Many);
        for _ in 0..20 {
            gpu.measured(Width::Many, 1_000_000, std::time::Duration::from_secs(1));
        }
        assert!(gpu.submit_bound(Width::Many) < before && gpu.submit_bound(Width::Many) < 1_000_000);
    }
}
