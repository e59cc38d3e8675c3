//! Composes, validates and reflects `shaders/` into one constant table.
//!
//! For each line of `shaders/variants.txt` a WGSL text is composed (`#import`, `#ifdef`), parsed and validated by naga, and
//! written into `$OUT_DIR/shaders.rs` with everything the engine needs to bind and launch it. A shader that does not
//! validate fails the build, with its file, variant and line. The idea of text permutations is vello's (`vello_shaders`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// What matrix units of either size need.
const COOP: &[&str] = &["EXPERIMENTAL_COOPERATIVE_MATRIX", "SHADER_F16", "SUBGROUP"];

/// The switches that a text may ask for, with the wgpu features that each needs.
const SWITCHES: &[(&str, &[&str])] = &[
    ("subgroup", &["SUBGROUP"]),
    ("f16", &["SHADER_F16"]),
    ("i64", &["SHADER_INT64"]),
    ("cpu", &[]),
    ("kv8", &[]),
    ("coop", COOP),
    ("coop8", COOP),
    ("coop16", COOP),
    ("q4", &[]),
    ("q6", &[]),
    ("q8", &[]),
    ("norm", &[]),
    ("pair", &[]),
    ("wide", &[]),
];

/// What a switch of a variant's name turns on beside itself.
const IMPLIED: &[(&str, &str)] = &[("coop8", "coop"), ("coop16", "coop")];

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..").join("shaders");
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("shaders.rs");
    match table(&root).and_then(|text| fs::write(&out, text).map_err(|error| format!("{}: {error}", out.display()))) {
        Ok(()) => {}
        Err(message) => {
            eprintln!("{message}");
            process::exit(1);
        }
    }
}

/// The Rust source of the table, sorted by kernel and variant.
fn table(root: &Path) -> Result<String, String> {
    let list = read(&root.join("variants.txt"))?;
    let mut entries = BTreeSet::new();
    for (number, line) in list.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(kernel) = words.next() else { continue };
        for variant in words {
            if !entries.insert((kernel.to_owned(), variant.to_owned())) {
                return Err(format!("variants.txt:{}: `{kernel} {variant}` stands twice", number + 1));
            }
        }
    }
    let mut text =
        String::from("/// Every shader text, sorted by kernel and variant.\npub static SHADERS: &[Shader] = &[\n");
    for (kernel, variant) in &entries {
        let path = root.join(format!("{kernel}.wgsl"));
        let (mut switches, mut features) = (Vec::new(), BTreeSet::new());
        for switch in variant.split('_').filter(|word| *word != "base") {
            match SWITCHES.iter().find(|(name, _)| *name == switch) {
                Some((name, needed)) => {
                    switches.push(*name);
                    switches.extend(IMPLIED.iter().filter(|(of, _)| of == name).map(|(_, implied)| *implied));
                    features.extend(needed.iter().copied());
                }
                None => return Err(format!("variants.txt: `{kernel} {variant}`: unknown switch `{switch}`")),
            }
        }
        let source = compose(root, &path, &mut switches, &mut Vec::new())?;
        let entry = reflect(kernel, variant, &source, &features)
            .map_err(|error| format!("{} ({variant}): {error}", path.display()))?;
        text.push_str(&entry);
    }
    text.push_str("];\n");
    Ok(text)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Resolves `#import name` (`shared/name.wgsl`, once a file), `#define S`, `#ifdef S`, `#ifndef S`, `#else`, `#endif`.
fn compose(
    root: &Path,
    path: &Path,
    switches: &mut Vec<&'static str>,
    seen: &mut Vec<PathBuf>,
) -> Result<String, String> {
    let mut text = String::new();
    // One entry a nested `#ifdef`: is its current branch taken?
    let mut taken: Vec<bool> = Vec::new();
    for (number, line) in read(path)?.lines().enumerate() {
        let fail = |what: &str| Err(format!("{}:{}: {what}", path.display(), number + 1));
        let mut words = line.split_whitespace();
        let known = |name: Option<&str>| SWITCHES.iter().map(|(known, _)| *known).find(|known| Some(*known) == name);
        match words.next() {
            Some(directive @ ("#ifdef" | "#ifndef")) => match known(words.next()) {
                Some(switch) => taken.push(switches.contains(&switch) == (directive == "#ifdef")),
                None => return fail("expected the name of a switch"),
            },
            Some("#else") => match taken.last_mut() {
                Some(branch) => *branch = !*branch,
                None => return fail("#else without #ifdef"),
            },
            Some("#endif") => match taken.pop() {
                Some(_) => {}
                None => return fail("#endif without #ifdef"),
            },
            _ if taken.contains(&false) => {}
            Some("#define") => match known(words.next()) {
                Some(switch) => switches.push(switch),
                None => return fail("expected the name of a switch"),
            },
            Some("#import") => {
                let Some(name) = words.next() else { return fail("#import without a name") };
                let file = root.join("shared").join(format!("{name}.wgsl"));
                if !seen.contains(&file) {
                    seen.push(file.clone());
                    text.push_str(&compose(root, &file, switches, seen)?);
                }
            }
            Some(word) if word.starts_with('#') => return fail(&format!("unknown directive `{word}`")),
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    if taken.is_empty() { Ok(text) } else { Err(format!("{}: #ifdef without #endif", path.display())) }
}

/// One entry of the table: the text, and what naga says of it.
fn reflect(kernel: &str, variant: &str, source: &str, features: &BTreeSet<&str>) -> Result<String, String> {
    let module = naga::front::wgsl::parse_str(source).map_err(|error| error.emit_to_string(source))?;
    // unpack2x16float is part of WGSL's core; naga counts it as a capability.
    let mut capabilities = naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if features.contains("SHADER_F16") {
        capabilities |= naga::valid::Capabilities::SHADER_FLOAT16;
    }
    if features.contains("SUBGROUP") {
        capabilities |= naga::valid::Capabilities::SUBGROUP;
    }
    if features.contains("SHADER_INT64") {
        capabilities |= naga::valid::Capabilities::SHADER_INT64;
    }
    if features.contains("EXPERIMENTAL_COOPERATIVE_MATRIX") {
        capabilities |= naga::valid::Capabilities::COOPERATIVE_MATRIX;
    }
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|error| error.emit_to_string(source))?;
    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).map_err(|error| error.to_string())?;

    let mut bindings = Vec::new();
    let mut workgroup_bytes = 0;
    for (_, variable) in module.global_variables.iter() {
        let span = layouter[variable.ty].size;
        let kind = match variable.space {
            naga::AddressSpace::WorkGroup => {
                workgroup_bytes += span;
                continue;
            }
            naga::AddressSpace::Uniform => "Uniform",
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => "ReadWrite",
            naga::AddressSpace::Storage { .. } => "Read",
            _ => continue,
        };
        let (Some(name), Some(binding)) = (&variable.name, variable.binding) else {
            return Err("a buffer without a name or a binding".into());
        };
        if binding.group != 0 {
            return Err(format!("`{name}`: every binding is in group 0, got group {}", binding.group));
        }
        bindings.push((binding.binding, name.clone(), kind, span));
    }
    bindings.sort();
    let order = |kind: &str| ["Uniform", "Read", "ReadWrite"].iter().position(|k| *k == kind);
    if !bindings.is_sorted_by_key(|(_, _, kind, _)| order(kind)) {
        return Err("bindings must stand in the order params, reads, writes".into());
    }
    let overrides: Vec<&str> = module.overrides.iter().filter_map(|(_, o)| o.name.as_deref()).collect();
    let [entry] = module.entry_points.as_slice() else { return Err("expected one entry point".into()) };
    if entry.name != "main" {
        return Err(format!("expected the entry point `main`, got `{}`", entry.name));
    }

    let mut text = String::new();
    let _ = writeln!(text, "    Shader {{\n        kernel: {kernel:?},\n        variant: {variant:?},");
    let _ = writeln!(text, "        source: {source:?},");
    let _ = writeln!(text, "        bindings: &[");
    for (index, name, kind, span) in &bindings {
        let _ = writeln!(
            text,
            "            Binding {{ index: {index}, name: {name:?}, access: Access::{kind}, span: {span} }},"
        );
    }
    let _ =
        writeln!(text, "        ],\n        overrides: &{overrides:?},\n        workgroup_bytes: {workgroup_bytes},");
    let features: Vec<_> = features.iter().map(|feature| format!(".union(wgpu::Features::{feature})")).collect();
    let _ = writeln!(text, "        features: wgpu::Features::empty(){},\n    }},", features.concat());
    Ok(text)
}
