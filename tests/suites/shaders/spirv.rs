//! SPIR-V through `spirv-val`.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Command;

use anyhow::{Context, ensure};
use guanaco_tests::Outcome;
use naga::valid::Capabilities;

use super::{Text, refused};

/// `spirv-val`, or what `GUANACO_SPIRV_VAL` names.
fn program() -> std::ffi::OsString {
    std::env::var_os("GUANACO_SPIRV_VAL").unwrap_or_else(|| "spirv-val".into())
}

/// Its version, from `SPIRV-Tools v2023.1 …`; none without the program.
pub(crate) fn version() -> Option<(u32, u32)> {
    let output = Command::new(program()).arg("--version").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix('v')?.split_once('.'));
    let number = |text: &str| text.parse().ok();
    Some(version.and_then(|(year, minor)| Some((number(year)?, number(minor)?))).unwrap_or((0, 0)))
}

/// The first spirv-val that knows SPV_KHR_cooperative_matrix.
pub(crate) const FIRST_WITH_COOP: (u32, u32) = (2023, 4);

pub(crate) fn validate(words: &[u32], environment: &str) -> Outcome {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(bytemuck::cast_slice(&without_strides(words)))?;
    // Cooperative matrices come with Vulkan's memory model, which is in core from 1.2 on.
    let output = Command::new(program()).args(["--target-env", environment]).arg(file.path()).output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(output.status.success(), "spirv-val: {said}");
    Ok(())
}

/// naga gives every array a stride, those in workgroup memory too, where no driver asks for it and a newer spirv-val (2025)
/// refuses it. Arrays of a fixed length are nowhere else in these texts.
fn without_strides(words: &[u32]) -> Vec<u32> {
    const HEADER: usize = 5;
    const OP_TYPE_ARRAY: u32 = 28;
    const OP_DECORATE: u32 = 71;
    const ARRAY_STRIDE: u32 = 6;
    let (header, mut rest) = words.split_at(HEADER.min(words.len()));
    let mut instructions = Vec::new();
    while let Some(first) = rest.first() {
        let (instruction, tail) = rest.split_at((*first as usize >> 16).clamp(1, rest.len()));
        instructions.push(instruction);
        rest = tail;
    }
    let operation = |instruction: &[u32]| instruction.first().map(|word| word & 0xFFFF);
    let arrays: BTreeSet<u32> = instructions
        .iter()
        .filter(|instruction| operation(instruction) == Some(OP_TYPE_ARRAY))
        .filter_map(|instruction| instruction.get(1).copied())
        .collect();
    let is_stride = |instruction: &&[u32]| {
        operation(instruction) == Some(OP_DECORATE)
            && instruction.get(2) == Some(&ARRAY_STRIDE)
            && instruction.get(1).is_some_and(|id| arrays.contains(id))
    };
    let kept = instructions.into_iter().filter(|instruction| !is_stride(instruction));
    header.iter().chain(kept.flatten()).copied().collect()
}

/// A module that is wrong is refused.
pub(crate) fn refuses() -> Outcome {
    let text = Text::new("@compute @workgroup_size(1) fn main() {}", Capabilities::empty(), &[])?;
    let mut words = text.spirv()?;
    validate(&words, "vulkan1.1")?;
    // Word 3 of the header is the bound of all ids: with 1, every id is out of bounds.
    *words.get_mut(3).context("a header of five words")? = 1;
    refused(validate(&words, "vulkan1.1"))
}
