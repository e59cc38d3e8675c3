//! What is fuzzed: one function for each kind of file that the program reads. Any bytes may be given to any of them; each goes
//! through the engine's public interface, from opening to values, and must come back, soon and with little memory, whatever the
//! result is.
//!
//! `fuzz/` runs them under libFuzzer (`make fuzz`), and the suite `fuzz` runs them on every file of `tests/data/corpus`.
//!
//! Some take two files in one input: up to the first zero byte the one, behind it the other.

#![allow(clippy::panic, reason = "a fuzzer waits for panics: they are how a target says that something is wrong")]

mod model;
mod text;

use crate::counting;

/// The most memory that an input may take. Inputs are small: this is what formats' own limits come to.
pub const MAX_MEMORY: usize = 200 << 20;

/// A kind of file.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the fuzz target, and of its folder in the corpus.
    pub name: &'static str,
    /// Reads it.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "safetensors", run: model::safetensors },
    Target { name: "pickle", run: model::pickle },
    Target { name: "zip", run: model::zip },
    Target { name: "gguf", run: model::gguf },
    Target { name: "gptq_config", run: model::gptq_config },
    Target { name: "lora_config", run: model::lora_config },
    Target { name: "config_json", run: model::config_json },
    Target { name: "sentencepiece", run: text::sentencepiece },
    Target { name: "tokenizer_json", run: text::tokenizer_json },
    Target { name: "chat_template", run: text::chat_template },
];

/// Runs the target `name` on `data`; the most bytes that were held at once, as far as [`counting::Counting`] is the allocator.
///
/// # Panics
/// When there is no such target, when it takes more than [`MAX_MEMORY`], and where the engine does: a fuzzer waits for panics.
pub fn run(name: &str, data: &[u8]) -> usize {
    let target = TARGETS.iter().find(|target| target.name == name);
    let Some(target) = target else { panic!("no target {name}") };
    let ((), peak) = counting::peak(|| (target.run)(data));
    assert!(peak <= MAX_MEMORY, "{name}: {peak} bytes of memory for an input of {}", data.len());
    peak
}

/// The two files in one input.
fn halves(data: &[u8]) -> (&[u8], Option<&[u8]>) {
    match data.iter().position(|byte| *byte == 0) {
        Some(at) => (&data[..at], Some(&data[at + 1..])),
        None => (data, None),
    }
}
