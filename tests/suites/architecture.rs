//! The layout is checked, not only described: the order of the engine's modules, what each must not know, the pairs of kernel
//! and shader, the length of files, and what the engine may depend on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use guanaco_tests::source::Source;
use guanaco_tests::{Outcome, Suite, layers, workspace};

/// Crates that draw, parse command lines, or speak HTTP; and anyhow, which would hide the typed errors.
const NOT_IN_ENGINE: &[&str] = &[
    "anyhow",
    "axum",
    "clap",
    "eframe",
    "egui",
    "hyper",
    "reqwest",
    "rustyline",
    "tiny_http",
    "tokio",
    "ureq",
    "winit",
];

/// Crates of the window.
const WINDOW: &[&str] =
    &["accesskit", "eframe", "egui", "epaint", "fluent", "image", "rfd", "wayland-client", "winit", "x11rb"];

/// Dependencies' own dependencies may use these: they are invisible in the engine's interface.
const ONLY_DIRECTLY: &[&str] = &["anyhow"];

/// The reviewed places that hold `unsafe`: the memory map, an environment variable set before
/// there are threads, shaders that were validated at build time, cooperative matrices (and a
/// device that runs nothing), wgpu's own handles, which are only asked whether DX12 has started and how much memory there is, and
/// the allocator that counts for the suites that read broken files.
const UNSAFE: &[&str] = &[
    "engine/src/file/map.rs",
    "engine/src/gpu/backends.rs",
    "engine/src/gpu/context.rs",
    "engine/src/gpu/device_memory.rs",
    "engine/src/gpu/pipeline.rs",
    "tests/src/counting.rs",
    "tests/suites/shaders.rs",
    "app/src/main.rs",
];

/// Files of `engine/src/kernels` that are no kernel: what all or several share, the choice between matvec and matmul, and timing.
const NOT_A_KERNEL: &[&str] = &["mod", "case", "conformance", "linear", "load", "quant", "rows", "tune"];

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let engine = workspace().join("engine").join("src");
    match files(&engine, "rs") {
        Ok(found) => {
            for path in found {
                let name = relative(&path, &engine);
                suite.case(format!("order of modules: {name}"), move || {
                    none(&layers::faults(&name, &std::fs::read_to_string(&path)?))
                });
            }
        }
        Err(error) => suite.case("order of modules", move || Err(error)),
    }
    suite.case("length of files", length);
    suite.case("names of modules", names);
    suite.case("unsafe stands in its reviewed places", unsafe_places);
    suite.case("each shader has its kernel, each kernel its shader", twins);
    suite
        .case("direct dependencies of the engine", || dependencies("guanaco-engine", &["--depth", "1"], NOT_IN_ENGINE));
    suite.case("all dependencies of the engine", || {
        let forbidden: Vec<_> = NOT_IN_ENGINE.iter().filter(|name| !ONLY_DIRECTLY.contains(name)).copied().collect();
        dependencies("guanaco-engine", &[], &forbidden)
    });
    suite.case("all dependencies of a build without the window", || {
        dependencies("guanaco", &["--no-default-features", "--features", "hub"], WINDOW)
    });
    suite.run(None)
}

fn none(faults: &[String]) -> Outcome {
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}

/// The files below `folder` whose names end in `.extension`, sorted.
fn files(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    ensure!(!found.is_empty(), "no .{extension} file below {}", folder.display());
    found.sort();
    Ok(found)
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// Every Rust file of the workspace's own.
fn rust_files() -> anyhow::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in ["engine/src", "app/src", "tests/src", "tests/suites"] {
        all.extend(files(&workspace().join(folder), "rs")?);
    }
    Ok(all)
}

fn length() -> Outcome {
    let mut faults = Vec::new();
    let shaders = files(&workspace().join("shaders"), "wgsl")?;
    for (path, limit) in rust_files()?.iter().map(|path| (path, 600)).chain(shaders.iter().map(|path| (path, 200))) {
        faults.extend(layers::too_long(&relative(path, &workspace()), &std::fs::read_to_string(path)?, limit));
    }
    none(&faults)
}

fn names() -> Outcome {
    let vague = ["utils", "util", "common", "misc", "helpers", "helper"];
    let mut faults = Vec::new();
    for path in rust_files()? {
        let name = relative(&path, &workspace());
        if name.trim_end_matches(".rs").split('/').any(|part| vague.contains(&part)) {
            faults.push(format!("{name}: name it after what it does"));
        }
    }
    none(&faults)
}

fn unsafe_places() -> Outcome {
    let mut faults = Vec::new();
    let mut holders = BTreeSet::new();
    for path in rust_files()? {
        let name = relative(&path, &workspace());
        for line in Source::parse(&std::fs::read_to_string(&path)?).lines_with_word("unsafe") {
            holders.insert(name.clone());
            if !UNSAFE.contains(&name.as_str()) {
                faults.push(format!("{name}:{line}: unsafe; the reviewed places are {}", UNSAFE.join(", ")));
            }
        }
    }
    for place in UNSAFE.iter().filter(|place| !holders.contains(**place)) {
        faults.push(format!("{place}: holds no unsafe any more: take it off the list"));
    }
    none(&faults)
}

fn stems(folder: &Path, extension: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut stems = BTreeSet::new();
    for path in files(folder, extension)? {
        if path.parent() == Some(folder) {
            stems.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    Ok(stems)
}

fn twins() -> Outcome {
    let shaders = stems(&workspace().join("shaders"), "wgsl")?;
    let mut kernels = stems(&workspace().join("engine").join("src").join("kernels"), "rs")?;
    let mut faults = Vec::new();
    for stem in NOT_A_KERNEL.iter().filter(|stem| !kernels.remove(**stem)) {
        faults.push(format!("engine/src/kernels/{stem}.rs is gone: take it off the list"));
    }
    for stem in shaders.difference(&kernels) {
        faults.push(format!("shaders/{stem}.wgsl has no engine/src/kernels/{stem}.rs"));
    }
    for stem in kernels.difference(&shaders) {
        faults.push(format!("engine/src/kernels/{stem}.rs has no shaders/{stem}.wgsl"));
    }
    let list = std::fs::read_to_string(workspace().join("shaders").join("variants.txt"))?;
    let listed: BTreeSet<String> =
        list.lines().filter_map(|line| line.split('#').next()?.split_whitespace().next()).map(str::to_owned).collect();
    for stem in shaders.symmetric_difference(&listed) {
        faults.push(format!("shaders/variants.txt and shaders/{stem}.wgsl: one is without the other"));
    }
    none(&faults)
}

/// Asks cargo, so that features and renamed crates count as they are built.
fn dependencies(package: &str, options: &[&str], forbidden: &[&str]) -> Outcome {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--quiet", "--package", package, "--edges", "normal", "--prefix", "none"])
        .args(options)
        .current_dir(workspace())
        .output()
        .context("run cargo tree")?;
    ensure!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout)?;
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    ensure!(crates.contains("wgpu"), "cargo tree lists no wgpu, so it was not read: {tree}");
    let found: Vec<_> = crates
        .iter()
        .filter(|name| forbidden.iter().any(|word| name.split(['-', '_']).next() == Some(word) || *name == word))
        .map(|name| format!("{package} depends on {name}"))
        .collect();
    none(&found)
}
