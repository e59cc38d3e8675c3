//! Which of a kernel's launches is the fastest on this device: tried once, kept by the caller, never needed for a right result.
//!
//! A launch is tried only after it has passed its self-test, and wins only by more than the noise: by 3 % in the median, and
//! in nearly every round, where each round times every launch once.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::load::{self, Load};
use super::{Kernel, named, preferred_of, rows, self_test};
use crate::error::Result;
use crate::gpu::{Gpu, Launch, Profile, SHADERS, Tier, TunedLaunch, Tuning};
use crate::weights::packed::{Format, UNIT};

/// A kernel that has more than one launch of equal function, and the work by which they are compared.
pub struct Tunable {
    /// Its name in the registry.
    pub kernel: &'static str,
    /// Whether its baseline computes the same in workgroups of any power of two from 8 to 256, as wide as its `WORKGROUP`.
    pub resizes: bool,
    load: fn(&Gpu) -> Result<Box<dyn Load>>,
}

/// Common groups of 4-bit weights.
const Q4: Format = Format::Q4 { group_len: 4 * UNIT };

/// Every such kernel, those that most models run first: they get most of the time. A new one gets its line here. `columns` has none:
/// where it has more than one launch, one is by far the fastest.
#[rustfmt::skip]
pub static TUNABLE: &[Tunable] = &[
    Tunable { kernel: "matvec", resizes: true, load: |gpu| load::matvec(gpu, Format::F16) },
    Tunable { kernel: "matmul", resizes: false, load: |gpu| load::matmul(gpu, Format::F16) },
    Tunable { kernel: "rms_norm", resizes: true, load: load::norm },
    Tunable { kernel: "qkv", resizes: true, load: |gpu| load::qkv(gpu, Format::F16) },
    Tunable { kernel: "norm_qkv", resizes: true, load: |gpu| load::qkv(gpu, Format::F16) },
    Tunable { kernel: "gate_up", resizes: true, load: |gpu| load::gate_up(gpu, Format::F16) },
    Tunable { kernel: "norm_gate_up", resizes: true, load: |gpu| load::gate_up(gpu, Format::F16) },
    Tunable { kernel: "qkv_q4", resizes: true, load: |gpu| load::qkv(gpu, Q4) },
    Tunable { kernel: "norm_qkv_q4", resizes: true, load: |gpu| load::qkv(gpu, Q4) },
    Tunable { kernel: "gate_up_q4", resizes: true, load: |gpu| load::gate_up(gpu, Q4) },
    Tunable { kernel: "norm_gate_up_q4", resizes: true, load: |gpu| load::gate_up(gpu, Q4) },
    Tunable { kernel: "matvec_q4", resizes: true, load: |gpu| load::matvec(gpu, Q4) },
    Tunable { kernel: "matmul_q4", resizes: false, load: |gpu| load::matmul(gpu, Q4) },
    Tunable { kernel: "qkv_q8", resizes: true, load: |gpu| load::qkv(gpu, Format::Q8) },
    Tunable { kernel: "norm_qkv_q8", resizes: true, load: |gpu| load::qkv(gpu, Format::Q8) },
    Tunable { kernel: "gate_up_q8", resizes: true, load: |gpu| load::gate_up(gpu, Format::Q8) },
    Tunable { kernel: "norm_gate_up_q8", resizes: true, load: |gpu| load::gate_up(gpu, Format::Q8) },
    Tunable { kernel: "matvec_q8", resizes: true, load: |gpu| load::matvec(gpu, Format::Q8) },
    Tunable { kernel: "matmul_q8", resizes: false, load: |gpu| load::matmul(gpu, Format::Q8) },
    Tunable { kernel: "qkv_q6", resizes: true, load: |gpu| load::qkv(gpu, Format::Q6) },
    Tunable { kernel: "norm_qkv_q6", resizes: true, load: |gpu| load::qkv(gpu, Format::Q6) },
    Tunable { kernel: "gate_up_q6", resizes: true, load: |gpu| load::gate_up(gpu, Format::Q6) },
    Tunable { kernel: "norm_gate_up_q6", resizes: true, load: |gpu| load::gate_up(gpu, Format::Q6) },
    Tunable { kernel: "matvec_q6", resizes: true, load: |gpu| load::matvec(gpu, Format::Q6) },
    Tunable { kernel: "matmul_q6", resizes: false, load: |gpu| load::matmul(gpu, Format::Q6) },
];

/// The name of the constant that says how wide a workgroup is.
const WORKGROUP: &str = "WORKGROUP";

impl Tunable {
    /// Does a model on such an adapter run the kernel? Of those of a decode step, either the ones with the norm or the others are.
    pub fn is_used(&self, tier: &Tier) -> bool {
        let fuses = self.kernel.contains("qkv") || self.kernel.contains("gate_up");
        !fuses || self.kernel.starts_with("norm_") == rows::takes_norm(tier)
    }

    /// Every launch that may be used on an adapter, those of the kernel's own first.
    pub fn candidates(&self, tier: &Tier) -> Vec<Launch> {
        let Ok(kernel) = named(self.kernel) else { return Vec::new() };
        let mut all = (kernel.launches)(tier);
        let is_resizable = |launch: &&Launch| launch.variant == kernel.baseline && self.resizes;
        let Some(base) = all.iter().find(is_resizable).cloned() else { return all };
        // Barriers cost a CPU more the more invocations wait.
        let sizes: &[u32] = if tier.profile == Profile::Cpu { &[8, 16, 32] } else { &[32, 64, 128, 256] };
        // Apple's compiler has bounded kernels to one subgroup of 32 and then miscompiled them (tracel-ai/cubecl 1636).
        let least = if cfg!(target_vendor = "apple") { 64 } else { 0 };
        for size in sizes.iter().copied().filter(|size| (least..=tier.max_invocations).contains(size)) {
            let mut launch = Launch { invocations: size, ..base.clone() };
            launch.overrides.iter_mut().filter(|(name, _)| *name == WORKGROUP).for_each(|(_, value)| *value = size);
            if !all.contains(&launch) {
                all.push(launch);
            }
        }
        all
    }
}

/// A winner is at least this much faster.
const GAIN: f64 = 0.03;

/// Rounds; fewer when the time is short, and none counts below [`LEAST_ROUNDS`].
const ROUNDS: usize = 9;
const LEAST_ROUNDS: usize = 3;

/// A launch that its first run shows to be slower than the best by this factor is not tried again.
const FAR_SLOWER: f64 = 2.0;

/// One sample takes about this long, seconds: many submits' latency, a twentieth of what a watchdog waits for.
const SAMPLE: f64 = 0.01;

/// One launch that was tried.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which.
    pub launch: TunedLaunch,
    /// Seconds a run, round by round.
    pub seconds: Vec<f64>,
    /// Why it was not timed, or no more than once.
    pub failure: Option<String>,
}

impl Candidate {
    /// The middle of its rounds; None without any.
    pub fn median(&self) -> Option<f64> {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

/// What came of one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    /// Its name in the registry.
    pub kernel: &'static str,
    /// What the engine takes by itself: first; and all others.
    pub candidates: Vec<Candidate>,
    /// Which of them won; 0 when nothing is faster.
    pub best: usize,
}

impl Tuned {
    /// The winner, where it is not what the engine takes by itself.
    pub fn winner(&self) -> Option<&Candidate> {
        self.candidates.get(self.best).filter(|_| self.best > 0)
    }

    /// Was there time for enough rounds, or nothing to choose from?
    pub fn is_complete(&self) -> bool {
        let timed = self.candidates.iter().filter(|candidate| candidate.failure.is_none());
        self.candidates.len() < 2 || timed.into_iter().all(|candidate| candidate.seconds.len() >= LEAST_ROUNDS)
    }
}

/// The winners.
pub fn tuning(all: &[Tuned]) -> Tuning {
    let winners = all.iter().filter_map(|tuned| Some((tuned.kernel.to_owned(), tuned.winner()?.launch.clone())));
    Tuning { launches: winners.collect() }
}

/// Tries the launches of every kernel within `budget`, and tells `each` kernel's result, which may end it. Whatever tuning the
/// device had is what it has afterwards.
///
/// # Errors
/// What the device reports.
pub fn tune(gpu: &Gpu, budget: Duration, each: &mut dyn FnMut(&Tuned) -> ControlFlow<()>) -> Result<Vec<Tuned>> {
    let before = gpu.tuning();
    let result = tune_all(gpu, Instant::now() + budget, each);
    gpu.set_tuning(before);
    result
}

fn tune_all(gpu: &Gpu, end: Instant, each: &mut dyn FnMut(&Tuned) -> ControlFlow<()>) -> Result<Vec<Tuned>> {
    let mut all = Vec::with_capacity(TUNABLE.len());
    for tunable in TUNABLE.iter().filter(|tunable| tunable.is_used(gpu.tier())) {
        // What one kernel leaves over, the later ones have.
        let share = end.saturating_duration_since(Instant::now()) / 2;
        let tuned = tune_one(gpu, tunable, Instant::now() + share)?;
        let goes_on = each(&tuned);
        all.push(tuned);
        if goes_on.is_break() {
            break;
        }
    }
    Ok(all)
}

fn tune_one(gpu: &Gpu, tunable: &Tunable, end: Instant) -> Result<Tuned> {
    let kernel = named(tunable.kernel)?;
    gpu.set_tuning(Tuning::default());
    let first = (kernel.launches)(gpu.tier()).into_iter().next();
    let own = match first {
        // Without time, the self-tests of so many kernels would take more of it.
        Some(first) if Instant::now() > end => first,
        _ => preferred_of(gpu, kernel)?,
    };
    let mut launches = vec![own.clone()];
    launches.extend(tunable.candidates(gpu.tier()).into_iter().filter(|launch| *launch != own));
    let mut candidates = Vec::with_capacity(launches.len());
    let mut loads: Vec<Option<(Box<dyn Load>, u32)>> = Vec::with_capacity(launches.len());
    let alone = launches.len() < 2;
    let mut fastest = f64::INFINITY;
    for launch in launches {
        let mut candidate = Candidate { launch: (&launch).into(), seconds: Vec::new(), failure: None };
        let mut ready = None;
        if alone || Instant::now() > end {
            // Nothing to choose from, or no time.
        } else if launch != own && !gpu.trusted(&launch, || self_test(gpu, kernel, &launch))? {
            candidate.failure = Some("fails its self-test".to_owned());
        } else {
            let forced = [(tunable.kernel.to_owned(), candidate.launch.clone())].into();
            gpu.set_tuning(Tuning { launches: forced });
            let load = (tunable.load)(gpu)?;
            let list = load.list();
            gpu.time_repeated(&list, 1)?;
            let once = gpu.time_repeated(&list, 1)?;
            drop(list);
            fastest = fastest.min(once);
            if once > FAR_SLOWER * fastest {
                candidate.seconds.push(once);
                candidate.failure = Some("far slower".to_owned());
            } else {
                ready = Some((load, ((SAMPLE / once.max(1e-6)) as u32).clamp(1, 4096)));
            }
        }
        candidates.push(candidate);
        loads.push(ready);
    }
    'rounds: for _ in 0..ROUNDS {
        let mut round = Vec::with_capacity(loads.len());
        for load in &loads {
            if Instant::now() > end {
                break 'rounds;
            }
            round.push(match load {
                Some((load, times)) => Some(gpu.time_repeated(&load.list(), *times)?),
                None => None,
            });
        }
        for (candidate, seconds) in candidates.iter_mut().zip(round) {
            candidate.seconds.extend(seconds);
        }
    }
    Ok(Tuned { kernel: tunable.kernel, best: best(&candidates), candidates })
}

/// The fastest by more than the noise; 0, which is the first, when there is none.
fn best(candidates: &[Candidate]) -> usize {
    let Some((own, own_median)) = candidates.first().and_then(|own| Some((own, own.median()?))) else { return 0 };
    if own.seconds.len() < LEAST_ROUNDS {
        return 0;
    }
    let wins = |candidate: &Candidate| {
        let rounds = own.seconds.iter().zip(&candidate.seconds);
        let won = rounds.clone().filter(|(own, other)| other < own).count();
        candidate.median().is_some_and(|median| median < own_median * (1.0 - GAIN)) && won + 1 >= rounds.count()
    };
    let faster = candidates.iter().enumerate().skip(1).filter(|(_, candidate)| wins(candidate));
    let median = |candidate: &Candidate| candidate.median().unwrap_or(f64::INFINITY);
    faster.min_by(|a, b| median(a.1).total_cmp(&median(b.1))).map_or(0, |(at, _)| at)
}

/// The launch that the device's tuning names for `kernel`, where the kernel still offers it.
pub(super) fn chosen(gpu: &Gpu, kernel: &Kernel) -> Option<Launch> {
    find(kernel.name, &gpu.tuned(kernel.name)?, gpu.tier())
}

fn find(kernel: &str, tuned: &TunedLaunch, tier: &Tier) -> Option<Launch> {
    let tunable = TUNABLE.iter().find(|tunable| tunable.kernel == kernel)?;
    tunable.candidates(tier).into_iter().find(|launch| TunedLaunch::from(launch) == *tuned)
}

/// The kernels of `tuning` that do not exist, or do not offer that launch on this adapter.
pub fn unknown<'a>(tuning: &'a Tuning, tier: &Tier) -> Vec<&'a str> {
    let lost = tuning.launches.iter().filter(|(kernel, tuned)| find(kernel, tuned, tier).is_none());
    lost.map(|(kernel, _)| kernel.as_str()).collect()
}

/// A number that changes with the text of any kernel: what was measured of others says nothing of these. FNV-1a
/// (<http://www.isthe.com/chongo/tech/comp/fnv/>) of all texts.
pub fn texts() -> u64 {
    let bytes = SHADERS.iter().flat_map(|shader| shader.source.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::GpuOptions;

    fn candidate(seconds: &[f64]) -> Candidate {
        let launch = TunedLaunch { variant: "base".into(), invocations: 64, overrides: [].into() };
        Candidate { launch, seconds: seconds.to_vec(), failure: None }
    }

    #[test]
    fn only_more_than_the_noise_wins() {
        let own = || candidate(&[1.0, 1.1, 0.9, 1.0]);
        assert_eq!(best(&[own(), candidate(&[0.99, 0.98, 0.99, 0.98])]), 0, "too little");
        assert_eq!(best(&[own(), candidate(&[0.5, 0.5, 0.95, 1.05])]), 0, "two rounds were lost");
        assert_eq!(best(&[own(), candidate(&[0.8, 0.8, 0.8, 0.8]), candidate(&[0.7, 0.7, 0.7, 1.2])]), 2);
        assert_eq!(best(&[own(), candidate(&[])]), 0, "not timed");
        assert_eq!(best(&[candidate(&[1.0, 1.0]), candidate(&[0.1, 0.1])]), 0, "too few rounds");
        assert_eq!(best(&[]), 0);
    }

    #[test]
    fn every_tunable_kernel_is_in_the_registry_and_resizes_only_its_baseline() {
        for tunable in TUNABLE {
            let kernel = named(tunable.kernel).unwrap();
            let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
                eprintln!("skipped: no adapter");
                return;
            };
            let own = (kernel.launches)(gpu.tier());
            let candidates = tunable.candidates(gpu.tier());
            assert_eq!(candidates.get(..own.len()), Some(own.as_slice()));
            assert_eq!(candidates.len() > own.len(), tunable.resizes, "{}", tunable.kernel);
            for launch in candidates.iter().skip(own.len()) {
                assert_eq!(launch.variant, kernel.baseline);
                assert!(launch.overrides.contains(&(WORKGROUP, launch.invocations)), "{launch:?}");
                assert_eq!(candidates.iter().filter(|other| *other == launch).count(), 1, "{launch:?}");
            }
        }
    }

    #[test]
    fn a_tuning_is_used_when_it_is_right_and_left_aside_when_not() {
        let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        let kernel = named("matvec").unwrap();
        let candidates = || TUNABLE[0].candidates(gpu.tier());
        let own = preferred_of(&gpu, kernel).unwrap();
        let other = candidates().into_iter().rfind(|launch| *launch != own).unwrap();
        let set = |launch: TunedLaunch| gpu.set_tuning(Tuning { launches: [("matvec".to_owned(), launch)].into() });

        set((&other).into());
        assert_eq!(preferred_of(&gpu, kernel).unwrap(), other);
        assert!(unknown(&gpu.tuning(), gpu.tier()).is_empty());
        // A file can name what there is not.
        set(TunedLaunch { variant: "base".into(), invocations: 7, overrides: [].into() });
        assert_eq!(preferred_of(&gpu, kernel).unwrap(), own);
        assert_eq!(unknown(&gpu.tuning(), gpu.tier()), ["matvec"]);
        // And one that computes wrongly here is not used either.
        let last = candidates().into_iter().find(|launch| *launch != own && *launch != other);
        if let Some(wrong) = last {
            assert!(!gpu.trusted(&wrong, || Some("made up".to_owned())).unwrap());
            set((&wrong).into());
            assert_eq!(preferred_of(&gpu, kernel).unwrap(), own);
        }
    }

    #[test]
    fn a_run_times_every_kernel_within_its_time_and_leaves_the_device_as_it_was() {
        let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        let mut told = Vec::new();
        // Far more than it needs: how fast this machine is, is not what is tested.
        let all = tune(&gpu, Duration::from_secs(600), &mut |tuned| {
            told.push(tuned.kernel);
            if told.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let all = all.unwrap();
        assert_eq!(told, ["matvec", "matmul"]);
        for tuned in &all {
            // Where an adapter has only one launch of a kernel there is nothing to time.
            let only = tuned.candidates.len() == 1 && tuned.candidates.iter().all(|c| c.seconds.is_empty());
            assert!(only || tuned.is_complete(), "{tuned:?}");
            let timed = |c: &Candidate| c.seconds.iter().all(|seconds| *seconds > 0.0);
            assert!(tuned.candidates.iter().all(timed), "{tuned:?}");
        }
        assert_eq!(gpu.tuning(), Tuning::default());
        assert!(tuning(&all).launches.len() <= all.len());
        // Without time nothing is tried, and nothing wins.
        let none = tune(&gpu, Duration::ZERO, &mut |_| ControlFlow::Continue(())).unwrap();
        let used = TUNABLE.iter().filter(|tunable| tunable.is_used(gpu.tier())).count();
        assert_eq!((none.len(), tuning(&none)), (used, Tuning::default()));
        assert!(none.iter().any(|tuned| !tuned.is_complete()));
    }
}
