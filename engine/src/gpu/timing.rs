//! Where the time goes: on the device, dispatch by dispatch, in a profile; on the host, in two sums that are always kept.
//!
//! A profile takes the place of every submit between [`Gpu::start_profile`] and [`Gpu::take_profile`], whatever code makes
//! them: same dispatches, same order, same results, with a clock around each dispatch. It is slower than the real thing, so that
//! nothing else is measured meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::buffer::Role;
use super::context::Gpu;
use super::pipeline::Dispatch;
use super::recording::{Copy, Recording, Step};
use crate::error::{Error, Result};

/// What the times of a profile were read from, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// The device's timestamps between the dispatches of one pass: what runs in a real step, but for the timestamps.
    Timestamps,
    /// The device's timestamps at the begin and the end of a pass, and so a pass for each dispatch.
    PassTimestamps,
    /// The host's clock, with a submit for each dispatch, less what an empty submit takes. Short dispatches are lost in it.
    Host,
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Timestamps => "by the GPU's timestamps between dispatches",
            Self::PassTimestamps => "by the GPU's timestamps around a pass for each dispatch",
            Self::Host => {
                "by the host's clock, a submit for each dispatch, less an empty submit: short ones are inexact"
            }
        })
    }
}

/// One dispatch of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct DispatchTime {
    /// What it computes: `qkv_proj`.
    pub label: String,
    /// The kernel's stem.
    pub kernel: &'static str,
    /// Its variant and workgroup, `subgroup/8`.
    pub variant: String,
    /// On the device.
    pub time: Duration,
    /// Its multiply-adds, as it counts them for pacing; 0 where it does not.
    pub multiply_adds: u64,
    /// Bytes of the weights and scales that are bound to it, which a product reads at least once; 0 without any.
    pub weight_bytes: u64,
}

/// The dispatches of everything that was submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// How they were timed.
    pub clock: Clock,
    /// Why a better clock was left aside.
    pub instead: Option<String>,
    /// In order.
    pub dispatches: Vec<DispatchTime>,
}

impl Profile {
    /// All of it.
    pub fn time(&self) -> Duration {
        self.dispatches.iter().map(|dispatch| dispatch.time).sum()
    }
}

/// Sums since the device was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostClock {
    /// Spent waiting for the device: everything else is the host's own work.
    pub waited: Duration,
    /// Spent encoding and submitting lists of dispatches.
    pub submitting: Duration,
}

/// The state of both, in a [`Gpu`].
#[derive(Default)]
pub(super) struct Timing {
    waited: AtomicU64,
    submitting: AtomicU64,
    profile: Mutex<Option<Running>>,
}

/// A profile that is being taken.
struct Running {
    profile: Profile,
    empty_submit: Duration,
    failed: Option<Error>,
}

impl Timing {
    pub(super) fn waited(&self, time: Duration) {
        self.waited.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(super) fn submitted(&self, time: Duration) {
        self.submitting.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(super) fn is_profiling(&self) -> bool {
        self.profile.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// The features that profiles use, where the adapter has them; nothing else does.
pub(super) const FEATURES: wgpu::Features =
    wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_PASSES);

/// Dispatches that one set of timestamps serves: two each, and WebGPU allows sets of 4096.
const SET: usize = 2000;

/// What a submit of nothing takes is the median of so many.
const EMPTY_SUBMITS: usize = 21;

impl Gpu {
    /// What the host has spent so far.
    pub fn host_clock(&self) -> HostClock {
        let of = |sum: &AtomicU64| Duration::from_nanos(sum.load(Ordering::Relaxed));
        HostClock { waited: of(&self.timing.waited), submitting: of(&self.timing.submitting) }
    }

    /// Times every dispatch that is submitted from now on, by the best clock that the device has.
    ///
    /// # Errors
    /// What the device reports.
    pub fn start_profile(&self) -> Result<()> {
        let features = self.device.features();
        let clock = if features.contains(FEATURES) {
            Clock::Timestamps
        } else if features.contains(wgpu::Features::TIMESTAMP_QUERY) {
            Clock::PassTimestamps
        } else {
            Clock::Host
        };
        let instead = (clock == Clock::Host).then(|| "the device has no timestamps".to_owned());
        self.start_profile_by(clock, instead)
    }

    /// As [`Gpu::start_profile`], by a clock that the device must have.
    fn start_profile_by(&self, clock: Clock, instead: Option<String>) -> Result<()> {
        let empty_submit = self.time_empty_submit()?;
        let profile = Profile { clock, instead, dispatches: Vec::new() };
        *self.profile() = Some(Running { profile, empty_submit, failed: None });
        Ok(())
    }

    /// Ends the profile.
    ///
    /// # Errors
    /// What the device reported while it was taken; [`Error::Request`] when none was started.
    pub fn take_profile(&self) -> Result<Profile> {
        match self.profile().take() {
            Some(Running { failed: Some(error), .. }) => Err(error),
            Some(running) => Ok(running.profile),
            None => Err(Error::Request("no profile was started".to_owned())),
        }
    }

    fn profile(&self) -> std::sync::MutexGuard<'_, Option<Running>> {
        self.timing.profile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits `steps` and `copies` with a clock around each step, and waits for them; None when no profile is being taken. An
    /// error comes out of [`Gpu::take_profile`].
    pub(super) fn submit_profiled(&self, steps: &[Step<'_>], copies: &[Copy<'_>]) -> Option<wgpu::SubmissionIndex> {
        let (mut clock, empty_submit) = match &*self.profile() {
            Some(running) => (running.profile.clock, running.empty_submit),
            None => return None,
        };
        let (mut times, mut failed, mut instead) = (Vec::with_capacity(steps.len()), None, None);
        for slice in steps.chunks(SET) {
            let start = Instant::now();
            let timed = match clock {
                Clock::Host => self.by_host(slice, empty_submit),
                _ => self.by_timestamps(slice, clock),
            };
            match timed {
                Ok(slice_times) => {
                    if let Some(doubt) = doubts(&slice_times, start.elapsed()).filter(|_| clock != Clock::Host) {
                        // The results are right; only these times are not.
                        (clock, instead) = (Clock::Host, Some(doubt));
                    }
                    times.extend(slice_times);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(running) = &mut *self.profile() {
            let timed = steps.iter().zip(times);
            running.profile.dispatches.extend(timed.map(|(step, time)| DispatchTime::of(step, time)));
            running.profile.clock = clock;
            running.profile.instead = instead.or_else(|| running.profile.instead.take());
            running.failed = running.failed.take().or(failed);
        }
        Some(self.submit_plain(&[], copies))
    }

    /// One submit, with the device's timestamps.
    fn by_timestamps(&self, steps: &[Step<'_>], clock: Clock) -> Result<Vec<Duration>> {
        let during = "profiling";
        let inside = clock == Clock::Timestamps;
        let count = if inside { steps.len() + 1 } else { 2 * steps.len() } as u32;
        let bytes = u64::from(count) * size_of::<u64>() as u64;
        let (set, resolved, host) = self.scoped(during, || {
            let set = self.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some(during),
                ty: wgpu::QueryType::Timestamp,
                count,
            });
            let resolved = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(during),
                size: bytes,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            Ok((set, resolved, self.create_buffer(during, bytes, Role::Readback)?))
        })?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if inside {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.write_timestamp(&set, 0);
            for (step, index) in steps.iter().zip(1..) {
                step.encode(&mut pass);
                pass.write_timestamp(&set, index);
            }
        } else {
            for (step, index) in steps.iter().zip((0..).step_by(2)) {
                let writes = wgpu::ComputePassTimestampWrites {
                    query_set: &set,
                    beginning_of_pass_write_index: Some(index),
                    end_of_pass_write_index: Some(index + 1),
                };
                let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(writes) };
                step.encode(&mut encoder.begin_compute_pass(&descriptor));
            }
        }
        encoder.resolve_query_set(&set, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &host.raw, 0, bytes);
        self.queue.submit([encoder.finish()]);
        let period = f64::from(self.queue.get_timestamp_period());
        let ticks: Vec<u64> = self.map(&host, bytes, bytemuck::pod_collect_to_vec)?;
        if ticks.contains(&0) {
            return Ok(vec![UNWRITTEN; steps.len()]);
        }
        let elapsed = |pair: &[u64]| match pair {
            // A clock that goes backwards gives 0, which `doubts` sees when all do.
            [from, to] => Duration::from_nanos((to.saturating_sub(*from) as f64 * period) as u64),
            _ => Duration::ZERO,
        };
        Ok(if inside { ticks.windows(2).map(elapsed).collect() } else { ticks.chunks(2).map(elapsed).collect() })
    }

    /// A submit for each step, by the host's clock.
    fn by_host(&self, steps: &[Step<'_>], empty_submit: Duration) -> Result<Vec<Duration>> {
        let time = |step| Ok(self.time_submit(Some(step))?.saturating_sub(empty_submit));
        steps.iter().map(time).collect()
    }

    /// Seconds that `list` takes when it runs `times` in one submit, the submit's latency included: the caller keeps that short
    /// beside it, and the whole far below any watchdog.
    ///
    /// # Errors
    /// What the device reports.
    pub(crate) fn time_repeated(&self, list: &Recording<'_>, times: u32) -> Result<f64> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for _ in 0..times {
            list.steps().iter().for_each(|step| step.encode(&mut pass));
        }
        drop(pass);
        let commands = encoder.finish();
        let start = Instant::now();
        let index = self.queue.submit([commands]);
        self.wait("timing a kernel", Some(index))?;
        Ok(start.elapsed().as_secs_f64() / f64::from(times.max(1)))
    }

    fn time_empty_submit(&self) -> Result<Duration> {
        let mut times = (0..EMPTY_SUBMITS).map(|_| self.time_submit(None)).collect::<Result<Vec<_>>>()?;
        times.sort();
        Ok(times.get(EMPTY_SUBMITS / 2).copied().unwrap_or_default())
    }

    fn time_submit(&self, step: Option<&Step<'_>>) -> Result<Duration> {
        let start = Instant::now();
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        if let Some(step) = step {
            step.encode(&mut pass);
        }
        drop(pass);
        let index = self.queue.submit([encoder.finish()]);
        self.wait("profiling", Some(index))?;
        Ok(start.elapsed())
    }
}

/// The times of a submit of which a timestamp was never written: macOS 26 leaves some at zero (gfx-rs/wgpu 9414).
const UNWRITTEN: Duration = Duration::MAX;

/// Why `times`, read from the device, cannot be what a submit of `wall` took: drivers exist whose timestamps stand still, or
/// count in another unit than they say.
fn doubts(times: &[Duration], wall: Duration) -> Option<String> {
    if times.contains(&UNWRITTEN) {
        return Some("the device leaves some of its timestamps at zero".to_owned());
    }
    let sum: Duration = times.iter().sum();
    if sum.is_zero() && !times.is_empty() {
        return Some("the device's timestamps stand still".to_owned());
    }
    (sum > wall.mul_f64(1.05))
        .then(|| format!("the device's timestamps add up to {sum:.1?}, more than the {wall:.1?} that passed meanwhile"))
}

impl DispatchTime {
    fn of(step: &Step<'_>, time: Duration) -> Self {
        let Step { dispatch, cost, .. } = step;
        let launch = dispatch.pipeline.launch();
        Self {
            label: dispatch.label.clone(),
            kernel: launch.kernel,
            variant: format!("{}/{}", launch.variant, launch.invocations),
            time,
            multiply_adds: *cost,
            weight_bytes: dispatch.weight_bytes(),
        }
    }
}

impl Dispatch {
    /// Bytes of the weights and their scales among the bindings.
    fn weight_bytes(&self) -> u64 {
        let weights = self.bindings.iter().filter(|bound| matches!(bound.name, "weight" | "scales"));
        weights.map(|bound| bound.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{BoundBuffer, Buffer, GpuOptions, Launch, Width};

    #[test]
    fn impossible_timestamps_are_named() {
        let ms = Duration::from_millis;
        assert_eq!(doubts(&[ms(1), ms(2)], ms(4)), None);
        assert_eq!(doubts(&[], ms(4)), None);
        assert!(doubts(&[UNWRITTEN; 3], ms(4)).unwrap().contains("at zero"));
        assert!(doubts(&[Duration::ZERO; 3], ms(4)).unwrap().contains("stand still"));
        assert!(doubts(&[ms(3), ms(2)], ms(4)).unwrap().contains("more than the 4.0ms"));
    }

    /// Gathers `n` words: a kernel with a cost that grows.
    fn gather(gpu: &Gpu, label: &str, n: u32) -> (Dispatch, Buffer) {
        let launch = Launch { kernel: "gather", variant: "base", invocations: 64, overrides: vec![("WORKGROUP", 64)] };
        let order: Vec<u32> = (0..n).rev().collect();
        let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let buffer = |name, data: &[u8], role| gpu.create_buffer_with(name, data, role).unwrap();
        let y = gpu.create_buffer("y", u64::from(n) * 4, Role::Storage).unwrap();
        let bindings = [
            ("params", buffer("params", bytemuck::bytes_of(&[n, 0, 0, 0]), Role::Uniform)),
            ("step", buffer("step", bytemuck::bytes_of(&[0_u32, 1, 0, 0]), Role::Uniform)),
            ("order", buffer("order", bytemuck::cast_slice(&order), Role::Storage)),
            ("x", buffer("x", bytemuck::cast_slice(&x), Role::Storage)),
            ("y", y.clone()),
        ];
        let bindings = bindings.iter().map(|(name, buffer)| BoundBuffer::whole(name, buffer)).collect();
        (gpu.dispatch(label, &launch, |_| Ok(()), bindings).unwrap(), y)
    }

    #[test]
    fn each_clock_times_each_dispatch_and_changes_no_result() {
        let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        assert!(gpu.take_profile().is_err());
        let (small, y_small) = gather(&gpu, "small", 64);
        let (large, y_large) = gather(&gpu, "large", 1 << 20);
        let host = gpu.create_buffer("host", 16, Role::Readback).unwrap();
        let features = gpu.device.features();
        let clocks = [
            (Clock::Timestamps, FEATURES),
            (Clock::PassTimestamps, wgpu::Features::TIMESTAMP_QUERY),
            (Clock::Host, wgpu::Features::empty()),
        ];
        for (clock, needed) in clocks {
            if !features.contains(needed) {
                eprintln!("skipped: {clock:?}, which this device has not");
                continue;
            }
            // Of several runs the shortest: on a busy machine one may wait for its turn in the middle of a dispatch.
            let mut best = [Duration::MAX; 2];
            for _ in 0..8 {
                let mut list = Recording::new(Width::One);
                list.push(&small, [1, 1, 1], 7);
                list.push(&large, [1 << 14, 1, 1], 9);
                list.copy_out(&y_small, &host, 0, 4);
                gpu.start_profile_by(clock, None).unwrap();
                let before = gpu.submit_bound(Width::Many);
                let first = gpu.run_and_map(&list, "testing", (&host, 4), |data| data.to_vec()).unwrap();
                let profile = gpu.take_profile().unwrap();
                assert_eq!(f32::from_le_bytes(first.try_into().unwrap()), 63.0, "{clock:?}");
                let last: Vec<f32> = bytemuck::pod_collect_to_vec(&gpu.read(&y_large, 0, 4).unwrap());
                assert_eq!(last, [((1 << 20) - 1) as f32], "{clock:?}");
                assert_eq!(profile.clock, clock, "{:?}", profile.instead);
                let facts: Vec<_> = profile.dispatches.iter().map(|d| (&*d.label, d.kernel, d.multiply_adds)).collect();
                assert_eq!(facts, [("small", "gather", 7), ("large", "gather", 9)]);
                for (best, dispatch) in best.iter_mut().zip(&profile.dispatches) {
                    *best = dispatch.time.min(*best);
                }
                assert_eq!(gpu.submit_bound(Width::Many), before, "a profile must not pace the submits");
            }
            assert!(best[1] > best[0], "{clock:?}: {best:?}");
        }
        let list = Recording::new(Width::One);
        gpu.run(&list, "testing").unwrap();
        assert!(gpu.take_profile().is_err(), "it has ended");
        let clock = gpu.host_clock();
        assert!(clock.waited > Duration::ZERO);
    }
}
