//! The kernels: one file each, same stem as its `.wgsl`.
//!
//! A kernel's file holds its `Params` (the uniform), `twin` (the CPU reference, f64 sums), `launches` (which variants run on an
//! adapter, the preferred one first), an operation with `new` (binds by name) and `record`, and `cases` (what conformance
//! runs). Kernels know shapes, never a model.

pub mod attention;
mod case;
pub mod conformance;
pub mod embed;
pub mod linear;
pub mod matmul;
pub mod matvec;
pub mod rms_norm;
pub mod rope_kv;
pub mod swiglu;

pub use case::{Case, CaseBuffer, Data, Rng};

use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, Launch, Role, Tier, Twin};
use crate::weights::padded;

/// One kernel, as the conformance run and the shader suite see it.
pub struct Kernel {
    /// The stem of its two files.
    pub name: &'static str,
    /// The CPU reference.
    pub twin: Twin,
    /// The variants that run on an adapter, the preferred one first. Never empty: `base` runs everywhere.
    pub launches: fn(&Tier) -> Vec<Launch>,
    /// What conformance runs.
    pub cases: fn() -> Vec<Case>,
}

/// Every kernel, by name. A new one gets its line here.
pub static KERNELS: &[Kernel] = &[
    Kernel { name: "attention", twin: attention::twin, launches: attention::launches, cases: attention::cases },
    Kernel { name: "embed", twin: embed::twin, launches: embed::launches, cases: embed::cases },
    Kernel { name: "matmul", twin: matmul::twin, launches: matmul::launches, cases: matmul::cases },
    Kernel { name: "matvec", twin: matvec::twin, launches: matvec::launches, cases: matvec::cases },
    Kernel { name: "rms_norm", twin: rms_norm::twin, launches: rms_norm::launches, cases: rms_norm::cases },
    Kernel { name: "rope_kv", twin: rope_kv::twin, launches: rope_kv::launches, cases: rope_kv::cases },
    Kernel { name: "swiglu", twin: swiglu::twin, launches: swiglu::launches, cases: swiglu::cases },
];

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

/// The launch to use on `gpu`: the first that passes its self-test. `base` is taken as it is, since nothing is left to fall
/// back to, and `guanaco conformance` tells more.
fn preferred(gpu: &Gpu, name: &str) -> Result<Launch> {
    let kernel = KERNELS.iter().find(|kernel| kernel.name == name);
    let kernel = kernel.ok_or_else(|| Error::kernel(name, "not in the registry"))?;
    for launch in (kernel.launches)(gpu.tier()) {
        if launch.variant == "base" || gpu.trusted(&launch, || self_test(gpu, kernel, &launch))? {
            return Ok(launch);
        }
    }
    Err(Error::kernel(name, "no variant runs on this adapter"))
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
            assert!(KERNELS.iter().any(|kernel| kernel.name == shader.kernel), "{}", shader.kernel);
        }
        for kernel in KERNELS {
            assert!(SHADERS.iter().any(|s| s.kernel == kernel.name && s.variant == "base"), "{}", kernel.name);
        }
    }

    #[test]
    fn a_variant_that_fails_its_self_test_is_replaced_and_named() {
        let Ok(gpu) = Gpu::open(GpuOptions::from_env()) else {
            eprintln!("skipped: no adapter");
            return;
        };
        let first = super::matvec::launches(gpu.tier()).remove(0);
        if first.variant == "base" {
            eprintln!("skipped: the adapter has only the baseline");
            return;
        }
        assert!(gpu.fallbacks().is_empty());
        assert!(!gpu.trusted(&first, || Some("made up".to_owned())).unwrap());
        assert_eq!(super::preferred(&gpu, "matvec").unwrap().variant, "base");
        assert_eq!(gpu.fallbacks(), [format!("matvec ({}): made up", first.variant)]);
    }

    #[test]
    fn params_have_the_size_that_the_shader_reflects() {
        let size = |kernel: &str| match kernel {
            "attention" => size_of::<super::attention::Params>(),
            "embed" => size_of::<super::embed::Params>(),
            "matmul" => size_of::<super::matmul::Params>(),
            "matvec" => size_of::<super::matvec::Params>(),
            "rms_norm" => size_of::<super::rms_norm::Params>(),
            "rope_kv" => size_of::<super::rope_kv::Params>(),
            "swiglu" => size_of::<super::swiglu::Params>(),
            other => panic!("no Params for {other}"),
        };
        for shader in SHADERS {
            for binding in shader.bindings {
                match binding.name {
                    "params" => assert_eq!(binding.span as usize, size(shader.kernel), "{}", shader.kernel),
                    "step" => assert_eq!(binding.span as usize, size_of::<super::Step>(), "{}", shader.kernel),
                    _ => {}
                }
            }
        }
    }
}
