//! The order of the engine's modules, and who breaks it.

use crate::source::{Source, Use};

/// The engine's modules, from left to right: each uses only those before it.
///
/// `weights` stands twice: names and data types know no GPU, the upload does.
pub const ORDER: &[&str] = &[
    "error",
    "file",
    "weights",
    "gpu",
    "weights::upload",
    "kernels",
    "kv_cache",
    "model",
    "sampler",
    "tokenizer",
    "prompt",
    "session",
];

/// Modules that work without a GPU: they never name wgpu.
const NO_GPU: &[&str] = &["error", "file", "weights", "sampler", "tokenizer", "prompt"];

/// Where `model` may name a file format: its self-check makes a whole checkpoint in memory.
const NAMES_A_FORMAT: &[&str] = &["model/check.rs"];

/// Everything in `text`, the source at `path` below `engine/src` (`kernels/rope.rs`), that breaks the rules.
pub fn faults(path: &str, text: &str) -> Vec<String> {
    let modules = modules_of(path);
    if modules == ["lib"] {
        return Vec::new();
    }
    let (Some(module), source) = (rank(&modules), Source::parse(text)) else {
        return vec![format!("{path}: a module that the order does not know; add it to tests/src/layers.rs")];
    };
    let mut faults = Vec::new();
    for Use { path: used, line } in source.uses(modules.len()) {
        match rank(&used) {
            Some(other) if other > module => {
                let (here, there) = (ORDER[module], ORDER[other]);
                faults.push(format!(
                    "{path}:{line}: `{here}` uses `{}`, but `{there}` stands right of it",
                    used.join("::")
                ));
            }
            Some(_) => {}
            // What lib.rs gives out again is a type or a macro of a module on the left: error.
            None if used.first().is_some_and(|name| name == "Error" || name == "Result") => {}
            None => faults.push(format!("{path}:{line}: `crate::{}` is in no module of the order", used.join("::"))),
        }
    }
    let mut forbid = |lines: Vec<usize>, what: &str| {
        faults.extend(lines.iter().map(|line| format!("{path}:{line}: `{}` {what}", ORDER[module])));
    };
    if NO_GPU.contains(&ORDER[module]) {
        forbid(source.lines_with_word("wgpu"), "must not name wgpu");
    }
    match ORDER[module] {
        "kernels" => forbid(source.lines_with_part("llama"), "must not know LLaMA"),
        "model" if !NAMES_A_FORMAT.contains(&path) => {
            for format in ["safetensors", "gguf", "pytorch_bin"] {
                forbid(source.lines_with_part(format), "must not know a file format");
            }
        }
        _ => {}
    }
    faults
}

/// `gpu/mod.rs` is `["gpu"]`, `gpu/tier.rs` is `["gpu", "tier"]`.
fn modules_of(path: &str) -> Vec<String> {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    stem.strip_suffix("/mod").unwrap_or(stem).split('/').map(str::to_owned).collect()
}

fn rank(path: &[String]) -> Option<usize> {
    let first = path.first()?;
    let of = |name: &str| ORDER.iter().position(|module| *module == name);
    path.get(1).and_then(|second| of(&format!("{first}::{second}"))).or_else(|| of(first))
}

/// What a file longer than `limit` lines must say at its top, with its reason behind it.
pub const LONG: &str = "Longer than its limit: ";

/// Is the file too long without saying why?
pub fn too_long(path: &str, text: &str, limit: usize) -> Option<String> {
    let lines = text.lines().count();
    let reason = text
        .lines()
        .take_while(|line| line.starts_with("//"))
        .find_map(|line| line.trim_start_matches(['/', '!', ' ']).strip_prefix(LONG));
    let told = reason.is_some_and(|reason| reason.trim().len() >= 20);
    (lines > limit && !told).then(|| {
        format!("{path}: {lines} lines, expected at most {limit}; split it, or say `{LONG}…` among its first comments")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(path: &str, text: &str) -> String {
        faults(path, text).join("\n")
    }

    #[test]
    fn left_is_fine_right_is_not() {
        assert_eq!(fault("gpu/tier.rs", "use crate::error::Result; use super::Shader; use crate::Error;"), "");
        assert!(fault("gpu/tier.rs", "use crate::kernels::rope;").contains("`gpu` uses `kernels::rope`"));
        assert!(fault("gpu/tier.rs", "fn f() { crate::session::run() }").contains("session"));
        assert!(fault("file/gguf.rs", "use crate::{error::Error, model::Config};").contains("model::Config"));
        assert!(fault("gpu/mod.rs", "use super::model::Config;").contains("model::Config"));
        assert!(fault("gpu/mod.rs", "use crate::helpers::x;").contains("in no module of the order"));
    }

    #[test]
    fn tests_may_look_anywhere() {
        assert_eq!(fault("file/gguf.rs", "#[cfg(test)] mod tests { use crate::model::Config; }"), "");
    }

    #[test]
    fn weights_stand_on_both_sides_of_the_gpu() {
        assert_eq!(fault("weights/upload.rs", "use crate::gpu::Buffer; use super::names::Name;"), "");
        assert!(fault("weights/names.rs", "use crate::gpu::Buffer;").contains("`weights` uses `gpu::Buffer`"));
        assert!(fault("weights/names.rs", "use super::upload::go; use crate::weights::upload::go;").contains("upload"));
        assert!(fault("gpu/buffer.rs", "use crate::weights::upload::go;").contains("upload"));
    }

    #[test]
    fn words_that_a_module_must_not_know() {
        assert!(
            fault("sampler/mod.rs", "use wgpu::Device;").contains("sampler/mod.rs:1: `sampler` must not name wgpu")
        );
        assert_eq!(fault("sampler/mod.rs", "// unlike wgpu"), "");
        assert!(fault("kernels/rope.rs", "\nfn llama_rope() {}").contains("rope.rs:2"));
        assert!(fault("kernels/rope.rs", "const S: &str = \"LLaMA\";").contains("LLaMA"));
        assert!(fault("model/llama.rs", "use crate::file::gguf::Gguf;").contains("file format"));
        assert_eq!(fault("model/llama.rs", "use crate::file::Tensor;"), "");
    }

    #[test]
    fn an_unknown_module_is_a_fault() {
        assert!(fault("utils.rs", "").contains("does not know"));
        assert_eq!(fault("lib.rs", "pub use crate::session::Session;"), "");
    }

    #[test]
    fn length() {
        let long = "//! Words.\n".to_owned() + &"x\n".repeat(20);
        assert!(too_long("a.rs", &long, 20).is_some());
        assert!(too_long("a.rs", &long, 21).is_none());
        let told = format!("//! {LONG}one table that is read as a whole\n{long}");
        assert!(too_long("a.rs", &told, 20).is_none());
        assert!(too_long("a.rs", &format!("//! {LONG}why\n{long}"), 20).is_some());
    }
}
