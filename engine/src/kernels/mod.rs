//! The kernels: one file each, same stem as its `.wgsl`.
//!
//! A kernel's file holds its `Params` (the uniform), `twin` (the CPU reference, f64 sums), `launches` (which variants run on an
//! adapter, the preferred one first), an operation with `new` (binds by name) and `record`, and `cases` (what conformance
//! runs). Kernels know shapes, never a model.

pub mod attention;
pub mod attention_combine;
pub mod attention_decode;
mod case;
pub mod columns;
pub mod conformance;
pub mod embed;
pub mod gate_up;
pub mod gather;
pub mod gptq_block;
pub mod gram;
pub mod linear;
mod load;
pub mod lora_merge;
pub mod matmul;
pub mod matvec;
pub mod narrow;
pub mod qkv;
mod quant;
pub mod rank_update;
pub mod rms_norm;
pub mod rope_kv;
pub mod rows;
pub mod sample;
pub mod swiglu;
pub mod tune;

pub use case::{Case, CaseBuffer, Data, Rng, Workgroups};
pub use load::matmul_flops;

use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, Launch, Role, Tier, Twin};
use crate::weights::padded;

/// One kernel, as the conformance run and the shader suite see it.
pub struct Kernel {
    /// Its name: that of its two files, and of the weights' format where there are kernels for several.
    pub name: &'static str,
    /// The stem of its two files.
    pub stem: &'static str,
    /// The variant that needs no optional feature and runs everywhere.
    pub baseline: &'static str,
    /// The CPU reference.
    pub twin: Twin,
    /// The variants that run on an adapter, the preferred one first. Never empty: the baseline runs everywhere.
    pub launches: fn(&Tier) -> Vec<Launch>,
    /// What conformance runs.
    pub cases: fn() -> Vec<Case>,
}

/// Every kernel, by name. A new one gets its line here.
#[rustfmt::skip]
pub static KERNELS: &[Kernel] = &[
    kernel("attention", "attention", "base", attention::twin, attention::launches, attention::cases),
    kernel("attention_combine", "attention_combine", "base", attention_combine::twin, attention_combine::launches, attention_combine::cases),
    kernel("attention_decode", "attention_decode", "base", attention_decode::twin, attention_decode::launches, attention_decode::cases),
    kernel("attention_decode_kv8", "attention_decode", "kv8", attention_decode::twin, attention_decode::launches_kv8, attention_decode::cases_kv8),
    kernel("attention_kv8", "attention", "kv8", attention::twin, attention::launches_kv8, attention::cases_kv8),
    kernel("columns", "columns", "base", columns::twin::<16>, columns::launches::<16>, columns::cases::<16>),
    kernel("columns_q4", "columns", "q4", columns::twin::<4>, columns::launches::<4>, columns::cases::<4>),
    kernel("columns_q6", "columns", "q6", columns::twin::<6>, columns::launches::<6>, columns::cases::<6>),
    kernel("columns_q8", "columns", "q8", columns::twin::<8>, columns::launches::<8>, columns::cases::<8>),
    kernel("embed", "embed", "base", embed::twin, embed::launches, embed::cases),
    kernel("gate_up", "gate_up", "base", gate_up::twin::<16, false>, gate_up::launches::<16, false>, gate_up::cases::<16, false>),
    kernel("gate_up_q4", "gate_up", "q4", gate_up::twin::<4, false>, gate_up::launches::<4, false>, gate_up::cases::<4, false>),
    kernel("gate_up_q6", "gate_up", "q6", gate_up::twin::<6, false>, gate_up::launches::<6, false>, gate_up::cases::<6, false>),
    kernel("gate_up_q8", "gate_up", "q8", gate_up::twin::<8, false>, gate_up::launches::<8, false>, gate_up::cases::<8, false>),
    kernel("norm_gate_up", "gate_up", "norm", gate_up::twin::<16, true>, gate_up::launches::<16, true>, gate_up::cases::<16, true>),
    kernel("norm_gate_up_q4", "gate_up", "norm_q4", gate_up::twin::<4, true>, gate_up::launches::<4, true>, gate_up::cases::<4, true>),
    kernel("norm_gate_up_q6", "gate_up", "norm_q6", gate_up::twin::<6, true>, gate_up::launches::<6, true>, gate_up::cases::<6, true>),
    kernel("norm_gate_up_q8", "gate_up", "norm_q8", gate_up::twin::<8, true>, gate_up::launches::<8, true>, gate_up::cases::<8, true>),
    kernel("gather", "gather", "base", gather::twin, gather::launches, gather::cases),
    kernel("gptq_block", "gptq_block", "base", gptq_block::twin, gptq_block::launches, gptq_block::cases),
    kernel("gram", "gram", "base", gram::twin, gram::launches, gram::cases),
    kernel("lora_merge", "lora_merge", "base", lora_merge::twin, lora_merge::launches, lora_merge::cases),
    kernel("matmul", "matmul", "base", matmul::twin, matmul::launches, matmul::cases),
    kernel("matmul_q4", "matmul", "q4", matmul::twin_q4, matmul::launches_q4, matmul::cases_q4),
    kernel("matmul_q6", "matmul", "q6", matmul::twin_q6, matmul::launches_q6, matmul::cases_q6),
    kernel("matmul_q8", "matmul", "q8", matmul::twin_q8, matmul::launches_q8, matmul::cases_q8),
    kernel("matvec", "matvec", "base", matvec::twin::<16>, matvec::launches::<16>, matvec::cases::<16>),
    kernel("matvec_q4", "matvec", "q4", matvec::twin::<4>, matvec::launches::<4>, matvec::cases::<4>),
    kernel("matvec_q6", "matvec", "q6", matvec::twin::<6>, matvec::launches::<6>, matvec::cases::<6>),
    kernel("matvec_q8", "matvec", "q8", matvec::twin::<8>, matvec::launches::<8>, matvec::cases::<8>),
    kernel("narrow", "narrow", "base", narrow::twin, narrow::launches, narrow::cases),
    kernel("qkv", "qkv", "base", qkv::twin::<16, false>, qkv::launches::<16, false>, qkv::cases::<16, false>),
    kernel("qkv_q4", "qkv", "q4", qkv::twin::<4, false>, qkv::launches::<4, false>, qkv::cases::<4, false>),
    kernel("qkv_q6", "qkv", "q6", qkv::twin::<6, false>, qkv::launches::<6, false>, qkv::cases::<6, false>),
    kernel("qkv_q8", "qkv", "q8", qkv::twin::<8, false>, qkv::launches::<8, false>, qkv::cases::<8, false>),
    kernel("norm_qkv", "qkv", "norm", qkv::twin::<16, true>, qkv::launches::<16, true>, qkv::cases::<16, true>),
    kernel("norm_qkv_q4", "qkv", "norm_q4", qkv::twin::<4, true>, qkv::launches::<4, true>, qkv::cases::<4, true>),
    kernel("norm_qkv_q6", "qkv", "norm_q6", qkv::twin::<6, true>, qkv::launches::<6, true>, qkv::cases::<6, true>),
    kernel("norm_qkv_q8", "qkv", "norm_q8", qkv::twin::<8, true>, qkv::launches::<8, true>, qkv::cases::<8, true>),
    kernel("rank_update", "rank_update", "base", rank_update::twin, rank_update::launches, rank_update::cases),
    kernel("rms_norm", "rms_norm", "base", rms_norm::twin, rms_norm::launches, rms_norm::cases),
    kernel("rope_kv", "rope_kv", "base", rope_kv::twin, rope_kv::launches, rope_kv::cases),
    kernel("rope_kv8", "rope_kv", "kv8", rope_kv::twin_kv8, rope_kv::launches_kv8, rope_kv::cases_kv8),
    kernel("sample", "sample", "base", sample::twin, sample::launches, sample::cases),
    kernel("swiglu", "swiglu", "base", swiglu::twin, swiglu::launches, swiglu::cases),
];

const fn kernel(
    name: &'static str,
    stem: &'static str,
    baseline: &'static str,
    twin: Twin,
    launches: fn(&Tier) -> Vec<Launch>,
    cases: fn() -> Vec<Case>,
) -> Kernel {
    Kernel { name, stem, baseline, twin, launches, cases }
}

/// What changes from step to step: the WGSL `Step`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Step {
    /// Position of the first token of this step in its sequence.
    pub pos: u32,
    /// Tokens (rows) of this step.
    pub n_tokens: u32,
}

/// A launch of `variant` with workgroups of `invocations`.
fn launch(kernel: &'static str, variant: &'static str, invocations: u32) -> Launch {
    Launch { kernel, variant, invocations, overrides: vec![("WORKGROUP", invocations)] }
}

/// The subgroup of an adapter that computes on the CPU, where a workgroup of one subgroup is the fast shape.
fn cpu_subgroup(tier: &Tier) -> Option<u32> {
    tier.fixed_subgroup().filter(|size| tier.profile == crate::gpu::Profile::Cpu && matches!(size, 4 | 8))
}

/// The launch to use on `gpu`: the device's tuning, or the first, that passes its self-test. Where not even the baseline does, nothing is
/// left to fall back to, and the kernel is refused.
fn preferred(gpu: &Gpu, name: &str) -> Result<Launch> {
    preferred_of(gpu, named(name)?)
}

/// The kernel of that name in the registry.
fn named(name: &str) -> Result<&'static Kernel> {
    KERNELS.iter().find(|kernel| kernel.name == name).ok_or_else(|| Error::kernel(name, "not in the registry"))
}

/// As [`preferred`], for a kernel of the registry.
fn preferred_of(gpu: &Gpu, kernel: &Kernel) -> Result<Launch> {
    if gpu.options().prefer.is_none()
        && let Some(launch) = tune::chosen(gpu, kernel)
        && gpu.trusted(&launch, || self_test(gpu, kernel, &launch))?
    {
        return Ok(launch);
    }
    let mut launches = (kernel.launches)(gpu.tier());
    if let Some(prefer) = &gpu.options().prefer {
        launches.sort_by_key(|launch| launch.variant.split('_').all(|switch| switch != prefer));
    }
    for launch in launches {
        if gpu.trusted(&launch, || self_test(gpu, kernel, &launch))? {
            return Ok(launch);
        }
    }
    let failures: Vec<_> =
        gpu.fallbacks().into_iter().filter(|line| line.starts_with(&format!("{} (", kernel.stem))).collect();
    let facts = gpu.facts();
    Err(Error::kernel(
        kernel.name,
        format!(
            "the driver of {} ({}, {}) computes wrongly, in every variant: {}; update the driver, choose another adapter or backend \
             with `--adapter` (`guanaco devices` lists them), or set GUANACO_CPU_KERNELS={} to run its reference on the CPU",
            facts.name,
            facts.backend,
            facts.driver,
            failures.join("; "),
            kernel.stem
        ),
    ))
}

/// Threads that compile at a time: more than a driver's compiler keeps busy.
const MAX_THREADS: usize = 8;

/// Compiles what the kernels of these names run on `gpu`, and tests their variants, on several threads. It is only ahead of its
/// time: what is not among them, or fails here, is compiled and told when it is bound.
pub fn prepare(gpu: &Gpu, names: &[&str]) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(names.len());
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            if let Err(error) = preferred(gpu, name).and_then(|launch| gpu.pipeline(&launch)) {
                tracing::debug!("`{name}` was not prepared: {error}");
            }
        }
    };
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
}

/// Bytes of a case that the self-test still runs: every shape but the 7B's, so that each loop goes round more than once, each
/// tile has an edge and more than one workgroup runs, in a few milliseconds a kernel.
const SELF_TEST_BYTES: usize = 256 << 10;

/// Runs the smaller cases of `kernel`; says why the variant cannot be trusted.
fn self_test(gpu: &Gpu, kernel: &Kernel, launch: &Launch) -> Option<String> {
    let cases = (kernel.cases)();
    let bytes = |case: &Case| case.buffers.iter().map(|buffer| buffer.bytes.len()).sum::<usize>();
    let mut failures = cases.iter().filter(|case| bytes(case) <= SELF_TEST_BYTES).filter_map(|case| {
        let outcome = conformance::run_case(gpu, kernel, case, launch);
        outcome.failure.map(|failure| format!("{}: {failure}", case.name))
    });
    failures.next()
}

/// The uniform buffer of `params`.
fn uniform<P: bytemuck::NoUninit>(gpu: &Gpu, label: &str, params: P) -> Result<Buffer> {
    gpu.create_buffer_with(label, bytemuck::bytes_of(&params), Role::Uniform)
}

/// `count` workgroups on one axis, folded onto two where one axis is too short (the shader unfolds them).
fn fold(count: u32, tier: &Tier) -> [u32; 3] {
    let x = count.min(tier.max_workgroups);
    if x == 0 { [0, 1, 1] } else { [x, count.div_ceil(x), 1] }
}

#[cfg(test)]
mod tests {
    use super::KERNELS;
    use crate::gpu::{Gpu, GpuOptions, SHADERS};

    #[test]
    fn every_shader_belongs_to_a_kernel_and_every_kernel_has_a_baseline() {
        for shader in SHADERS {
            assert!(KERNELS.iter().any(|kernel| kernel.stem == shader.kernel), "{}", shader.kernel);
        }
        for kernel in KERNELS {
            let is_baseline = |s: &crate::gpu::Shader| s.kernel == kernel.stem && s.variant == kernel.baseline;
            assert!(SHADERS.iter().any(is_baseline), "{}", kernel.name);
        }
    }

    #[test]
    fn a_variant_that_fails_its_self_test_is_replaced_and_named() {
        let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        let first = super::matvec::launches::<16>(gpu.tier()).remove(0);
        if first.variant == "base" {
            eprintln!("skipped: the adapter has only the baseline");
            return;
        }
        assert!(gpu.fallbacks().is_empty());
        assert!(!gpu.trusted(&first, || Some("made up".to_owned())).unwrap());
        let second = super::matvec::launches::<16>(gpu.tier()).remove(1);
        assert_eq!(super::preferred(&gpu, "matvec").unwrap(), second);
        assert_eq!(gpu.fallbacks(), [format!("matvec ({}): made up", first.variant)]);
    }

    #[test]
    fn a_kernel_without_a_right_variant_is_refused_with_what_to_do() {
        let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        for launch in super::matvec::launches::<16>(gpu.tier()) {
            assert!(!gpu.trusted(&launch, || Some("made up".to_owned())).unwrap());
        }
        let error = super::preferred(&gpu, "matvec").unwrap_err().to_string();
        for part in ["matvec", "base): made up", &gpu.facts().name, "update the driver", "GUANACO_CPU_KERNELS=matvec"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn params_have_the_size_that_the_shader_reflects() {
        let size = |kernel: &str| match kernel {
            "attention" | "attention_decode" => size_of::<super::attention::Params>(),
            "attention_combine" => size_of::<super::attention_combine::Params>(),
            "embed" => size_of::<super::embed::Params>(),
            "gather" => size_of::<super::gather::Params>(),
            "gptq_block" => size_of::<super::gptq_block::Params>(),
            "gram" => size_of::<super::gram::Params>(),
            "lora_merge" => size_of::<super::lora_merge::Params>(),
            "columns" | "gate_up" | "matmul" | "matvec" | "qkv" => size_of::<super::matvec::Params>(),
            "narrow" => size_of::<super::narrow::Params>(),
            "rank_update" => size_of::<super::rank_update::Params>(),
            "rms_norm" => size_of::<super::rms_norm::Params>(),
            "sample" => size_of::<super::sample::Params>(),
            "swiglu" => size_of::<super::swiglu::Params>(),
            other => panic!("no Params for {other}"),
        };
        for shader in SHADERS {
            for binding in shader.bindings {
                match binding.name {
                    "params" => assert_eq!(binding.span as usize, size(shader.kernel), "{}", shader.kernel),
                    "heads" => {
                        assert_eq!(binding.span as usize, size_of::<super::rope_kv::Heads>(), "{}", shader.kernel)
                    }
                    "step" => assert_eq!(binding.span as usize, size_of::<super::Step>(), "{}", shader.kernel),
                    _ => {}
                }
            }
        }
    }
}
