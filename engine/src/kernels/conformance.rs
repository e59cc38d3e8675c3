//! Runs each kernel × case × variant on an adapter against its CPU reference.
//!
//! As in ggml's `test-backend-ops`, the error is the NMSE over an output. Every output lies between two guards and is full of
//! sentinels before the run: a word that the reference leaves alone must still hold the sentinel, inside and outside.

use std::time::Instant;

use half::f16;
use serde::Serialize;

use super::case::SENTINEL;
use super::{Case, Data, KERNELS, Kernel};
use crate::error::Result;
use crate::gpu::{Access, BoundBuffer, Gpu, Launch, Recording, Role, TwinBuffers, Width, find_shader};

/// How one case went.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The kernel.
    pub kernel: String,
    /// Its variant and workgroup, `subgroup/8`.
    pub variant: String,
    /// The case.
    pub case: String,
    /// The largest NMSE over the outputs.
    pub nmse: f64,
    /// What it must stay below.
    pub limit: f64,
    /// Milliseconds from submit to result, uploads not counted.
    pub ms: f64,
    /// Why it failed; none when it passed.
    pub failure: Option<String>,
}

/// Bytes of sentinels before and after each output; a multiple of every adapter's offset alignment.
const GUARD: u64 = 256;

/// Runs every kernel whose name contains `filter`, and reports each outcome as it comes.
///
/// # Errors
/// Only when the device itself is gone; a failing case is an outcome.
pub fn run(gpu: &Gpu, filter: &str, each: &mut dyn FnMut(&Outcome)) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for kernel in KERNELS.iter().filter(|kernel| kernel.name.contains(filter)) {
        for case in (kernel.cases)() {
            for launch in (kernel.launches)(gpu.tier()) {
                let outcome = run_case(gpu, kernel, &case, &launch);
                gpu.check("running conformance")?;
                each(&outcome);
                outcomes.push(outcome);
            }
        }
    }
    Ok(outcomes)
}

/// How many outcomes [`run`] will report.
pub fn count(gpu: &Gpu, filter: &str) -> usize {
    let kernels = KERNELS.iter().filter(|kernel| kernel.name.contains(filter));
    kernels.map(|kernel| (kernel.cases)().len() * (kernel.launches)(gpu.tier()).len()).sum()
}

/// Runs one case in one variant.
pub fn run_case(gpu: &Gpu, kernel: &Kernel, case: &Case, launch: &Launch) -> Outcome {
    let limit = if is_coop(launch) { case.coop_limit } else { case.limit };
    let mut outcome = Outcome {
        kernel: kernel.name.to_owned(),
        variant: format!("{}/{}", launch.variant, launch.invocations),
        case: case.name.clone(),
        nmse: f64::NAN,
        limit,
        ms: 0.0,
        failure: None,
    };
    match try_case(gpu, kernel, case, launch, limit) {
        Ok((nmse, ms, failure)) => (outcome.nmse, outcome.ms, outcome.failure) = (nmse, ms, failure),
        Err(error) => outcome.failure = Some(error.to_string()),
    }
    outcome
}

/// Does it run on matrix units?
fn is_coop(launch: &Launch) -> bool {
    let shader = find_shader(launch.kernel, launch.variant);
    shader.is_some_and(|shader| shader.features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX))
}

fn try_case(
    gpu: &Gpu,
    kernel: &Kernel,
    case: &Case,
    launch: &Launch,
    limit: f64,
) -> Result<(f64, f64, Option<String>)> {
    let shader = find_shader(launch.kernel, launch.variant)
        .ok_or_else(|| crate::Error::kernel(kernel.name, format!("no variant `{}`", launch.variant)))?;
    // A variant takes what it binds: x in f32 or in f16, say. The reference sees all.
    let is_used = |name| shader.bindings.iter().any(|b| b.name == name);
    let used: Vec<_> = case.buffers.iter().filter(|buffer| is_used(buffer.name)).collect();
    let is_output = |name| shader.bindings.iter().any(|b| b.name == name && b.access == Access::ReadWrite);
    let mut twins = TwinBuffers::default();
    let mut bound = Vec::new();
    for buffer in &case.buffers {
        twins.insert(buffer.name, buffer.bytes.clone());
    }
    for buffer in &used {
        let bytes = (buffer.bytes.len() as u64).next_multiple_of(16);
        let uniform = shader.bindings.iter().any(|b| b.name == buffer.name && b.access == Access::Uniform);
        let guard = if is_output(buffer.name) { GUARD } else { 0 };
        let role = if uniform { Role::Uniform } else { Role::Storage };
        let words = vec![SENTINEL; ((bytes + 2 * guard) / 4) as usize];
        let device = gpu.create_buffer_with(buffer.name, bytemuck::cast_slice(&words), role)?;
        gpu.write(&device, guard, &buffer.bytes)?;
        bound.push(BoundBuffer { name: buffer.name, buffer: device, offset: guard, bytes });
    }
    let dispatch = gpu.dispatch(&case.name, launch, kernel.twin, bound.clone())?;
    let mut recording = Recording::new(Width::One);
    recording.push(&dispatch, (case.workgroups)(case, launch, gpu.tier()), 1);
    let start = Instant::now();
    gpu.run(&recording, kernel.name)?;
    if let Some(first) = bound.first() {
        gpu.read(&first.buffer, 0, 4)?;
    }
    let ms = start.elapsed().as_secs_f64() * 1e3;
    (kernel.twin)(&mut twins)?;

    let mut worst = 0.0_f64;
    for (buffer, device) in used.iter().zip(&bound).filter(|(buffer, _)| is_output(buffer.name)) {
        let all = gpu.read(&device.buffer, 0, device.buffer.size())?;
        let (start, end) = (GUARD as usize, GUARD as usize + buffer.bytes.len());
        let (before, rest) = all.split_at(start.min(all.len()));
        let (inside, after) = rest.split_at((end - start).min(rest.len()));
        let guards: Vec<u32> = bytemuck::pod_collect_to_vec(&[before, after].concat());
        if let Some(at) = guards.iter().position(|word| *word != SENTINEL) {
            return Ok((
                f64::NAN,
                ms,
                Some(format!("`{}`: a word outside was overwritten (guard word {at})", buffer.name)),
            ));
        }
        match compare(buffer.data, inside, twins.bytes(buffer.name)?) {
            Ok(nmse) => worst = worst.max(nmse),
            Err(what) => return Ok((f64::NAN, ms, Some(format!("`{}`: {what}", buffer.name)))),
        }
    }
    let failure = (worst.is_nan() || worst > limit).then(|| format!("NMSE {worst:.3e}, expected at most {limit:.1e}"));
    Ok((worst, ms, failure))
}

/// The NMSE of `got` against `expected`; an error where a sentinel was lost or a value is not finite.
fn compare(data: Data, got: &[u8], expected: &[u8]) -> Result<f64, String> {
    // Signed bytes leave no value for a sentinel: four of them together are one.
    let widen = |bytes: &[u8]| -> Vec<(u32, f64)> {
        match data {
            Data::I8 => {
                let words: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
                let bytes = |word: u32| word.to_le_bytes().map(|byte| (word, f64::from(byte.cast_signed())));
                words.into_iter().flat_map(bytes).collect()
            }
            Data::F16 => {
                let halves: Vec<u16> = bytemuck::pod_collect_to_vec(bytes);
                halves.iter().map(|bits| (u32::from(*bits), f64::from(f16::from_bits(*bits)))).collect()
            }
            Data::F32 | Data::U32 => {
                let words: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
                words.iter().map(|bits| (*bits, f64::from(f32::from_bits(*bits)))).collect()
            }
        }
    };
    let sentinel = if data == Data::F16 { SENTINEL & 0xFFFF } else { SENTINEL };
    let (mut error, mut norm) = (0.0, 0.0);
    for (i, ((bits, value), (want_bits, want))) in widen(got).into_iter().zip(widen(expected)).enumerate() {
        if want_bits == sentinel || data == Data::U32 {
            if bits != want_bits {
                return Err(format!("element {i} was overwritten or differs: {value}"));
            }
            continue;
        }
        if bits == sentinel {
            return Err(format!("element {i} was not written, expected {want}"));
        }
        if !value.is_finite() {
            return Err(format!("element {i} is {value}, expected {want}"));
        }
        error += (value - want) * (value - want);
        norm += want * want;
    }
    Ok(if norm > 0.0 { error / norm } else { error })
}

#[cfg(test)]
mod tests {
    use super::{Data, compare};
    use crate::kernels::case::SENTINEL;

    fn f32s(values: &[f32]) -> Vec<u8> {
        bytemuck::cast_slice(values).to_vec()
    }

    #[test]
    fn an_equal_output_has_no_error_and_a_wrong_one_has() {
        assert_eq!(compare(Data::F32, &f32s(&[1.0, 2.0]), &f32s(&[1.0, 2.0])), Ok(0.0));
        let nmse = compare(Data::F32, &f32s(&[1.0, 2.5]), &f32s(&[1.0, 2.0])).unwrap();
        assert!((nmse - 0.25 / 5.0).abs() < 1e-9);
    }

    #[test]
    fn signed_bytes_are_values_and_four_of_them_a_sentinel() {
        let bytes = |values: [i8; 4]| bytemuck::cast_slice(&values).to_vec();
        let sentinel = SENTINEL.to_le_bytes().to_vec();
        assert_eq!(compare(Data::I8, &bytes([-127, 0, 3, 4]), &bytes([-127, 0, 3, 4])), Ok(0.0));
        assert!(compare(Data::I8, &bytes([-127, 0, 3, 4]), &bytes([-127, 0, 3, 5])).unwrap() > 5e-5);
        assert!(compare(Data::I8, &sentinel, &bytes([1, 2, 3, 4])).unwrap_err().contains("not written"));
        assert!(compare(Data::I8, &bytes([1, 2, 3, 4]), &sentinel).unwrap_err().contains("overwritten"));
    }

    #[test]
    fn lost_and_left_sentinels_and_nan_are_failures() {
        let sentinel = f32::from_bits(SENTINEL);
        assert!(compare(Data::F32, &f32s(&[sentinel]), &f32s(&[1.0])).unwrap_err().contains("not written"));
        assert!(compare(Data::F32, &f32s(&[1.0]), &f32s(&[sentinel])).unwrap_err().contains("overwritten"));
        assert!(compare(Data::F32, &f32s(&[f32::NAN]), &f32s(&[1.0])).unwrap_err().contains("NaN"));
    }
}
