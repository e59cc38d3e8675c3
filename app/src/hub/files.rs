//! Which of a model's files are needed: what describes it, and one set of weights.

use std::path::{Component, Path};

use anyhow::{bail, ensure};
use guanaco_engine::error::Printable;

/// What describes a model, whatever its weights are.
const SIDE_FILES: &[&str] = &[
    "adapter_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "generation_config.json",
    "quantize_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
];

/// Endings of weights: safetensors comes first, since nothing in it can run.
const WEIGHTS: [&str; 3] = [".safetensors", ".gguf", ".bin"];

/// The most choices that an error lists.
const MAX_SHOWN: usize = 24;

/// Files that are one set of weights: one file, or shards with their index.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Set<'a> {
    files: Vec<&'a str>,
    /// Shards that there should be, the index not counted.
    n_shards: usize,
}

impl Set<'_> {
    fn is_complete(&self) -> bool {
        self.files.iter().filter(|file| !file.ends_with(".json")).count() == self.n_shards
    }

    /// The name that picks it.
    fn label(&self) -> &str {
        self.files.first().copied().unwrap_or_default()
    }
}

/// The files to take of `names`, all that the model has; `pick` names one file of weights.
///
/// # Errors
/// When a name leads out of the model's folder; when there are no weights, several of which none is the usual one, or none of
/// the picked name.
pub(super) fn choose<'a>(names: &[&'a str], pick: Option<&str>) -> anyhow::Result<Vec<&'a str>> {
    for name in names {
        ensure!(
            is_inside(name),
            "the hub lists a file \"{}\", which is no path inside the model's folder: nothing was downloaded",
            Printable::name(name)
        );
    }
    let here: Vec<&str> = names.iter().copied().filter(|name| !name.contains('/')).collect();
    let mut chosen: Vec<&str> = here.iter().copied().filter(|name| SIDE_FILES.contains(name)).collect();
    chosen.extend(weights(&here, pick)?.files);
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

/// Whether `name` is a relative path that stays inside, on every system, and harmless to show.
fn is_inside(name: &str) -> bool {
    !name.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'))
        && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
        && !name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
}

fn weights<'a>(names: &[&'a str], pick: Option<&str>) -> anyhow::Result<Set<'a>> {
    let sets: Vec<Set<'a>> = sets(names);
    if let Some(pick) = pick {
        return match sets.iter().find(|set| set.files.contains(&pick)) {
            Some(set) => complete(set.clone()),
            None => bail!("--file: there is no \"{pick}\" among the weights; there are:{}", list(&sets)),
        };
    }
    let of = |ending: &str, adapter: bool| -> Vec<&Set<'a>> {
        let wanted = |set: &&Set<'_>| {
            set.files.iter().any(|file| file.ends_with(ending)) && set.label().starts_with("adapter_model") == adapter
        };
        sets.iter().filter(wanted).collect()
    };
    // A whole model before an adapter for one.
    for (ending, adapter) in [false, true].into_iter().flat_map(|adapter| WEIGHTS.map(|ending| (ending, adapter))) {
        let found = of(ending, adapter);
        let usual =
            ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
        let usual = usual.iter().find_map(|name| found.iter().find(|set| set.files.contains(name)));
        match (usual, found.as_slice()) {
            (Some(set), _) => return complete((*set).clone()),
            (None, []) => {}
            (None, [set]) => return complete((*set).clone()),
            (None, _) => {
                bail!("more than one file could be the model: pick one with --file NAME; there are:{}", list(&sets))
            }
        }
    }
    let other = names.iter().find(|name| name.ends_with(".pth") || name.ends_with(".pt") || name.ends_with(".h5"));
    match other {
        Some(other) => bail!("no weights: expected safetensors, .gguf or .bin files, got {other}"),
        None => bail!("no weights: expected safetensors, .gguf or .bin files in the model's own folder, got none"),
    }
}

fn complete(set: Set<'_>) -> anyhow::Result<Set<'_>> {
    ensure!(
        set.is_complete(),
        "the shards of {} are not all there: expected {}, got {}",
        set.label(),
        set.n_shards,
        set.files.iter().filter(|file| !file.ends_with(".json")).count()
    );
    Ok(set)
}

fn list(sets: &[Set<'_>]) -> String {
    let mut lines: Vec<String> = sets.iter().take(MAX_SHOWN).map(|set| format!("\n  {}", set.label())).collect();
    if sets.len() > MAX_SHOWN {
        lines.push(format!("\n  and {} more", sets.len() - MAX_SHOWN));
    }
    if lines.is_empty() { " none".to_owned() } else { lines.concat() }
}

/// The sets of weights among `names`, in their order.
fn sets<'a>(names: &[&'a str]) -> Vec<Set<'a>> {
    let mut sets: Vec<(String, Set<'a>)> = Vec::new();
    let is_weights = |name: &str| {
        WEIGHTS.iter().any(|ending| name.ends_with(ending))
            // What transformers and llama.cpp write beside the weights.
            && !matches!(name, "training_args.bin" | "optimizer.bin" | "scheduler.bin" | "tokenizer.bin" | "rng_state.bin")
            && !name.starts_with("mmproj")
            && !name.ends_with("imatrix.gguf")
    };
    for name in names.iter().copied().filter(|name| is_weights(name)) {
        let (key, n_shards) = shard(name).unwrap_or((name.to_owned(), 1));
        match sets.iter_mut().find(|(known, _)| *known == key) {
            Some((_, set)) => set.files.push(name),
            None => sets.push((key, Set { files: vec![name], n_shards })),
        }
    }
    for index in names.iter().copied().filter(|name| name.ends_with(".index.json")) {
        // The index of `model-00001-of-00002.safetensors` is `model.safetensors.index.json`.
        let prefix = index.trim_end_matches(".index.json");
        let of_index = |key: &str| key.split_once('|').is_some_and(|(stem, end)| format!("{stem}{end}") == prefix);
        if let Some((_, set)) = sets.iter_mut().find(|(key, _)| of_index(key)) {
            set.files.push(index);
        }
    }
    sets.into_iter().map(|(_, set)| set).collect()
}

/// What the shards of one set have in common, and how many there are: `model|.safetensors` and 2 for
/// `model-00001-of-00002.safetensors`.
fn shard(name: &str) -> Option<(String, usize)> {
    let dot = name.rfind('.')?;
    let (stem, ending) = name.split_at(dot);
    let (rest, total) = stem.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let total = (digits(total) && digits(number)).then(|| total.parse().ok())??;
    Some((format!("{stem}|{ending}"), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str], pick: Option<&str>) -> String {
        choose(names, pick).map_or_else(|error| format!("error: {error}"), |files| files.join(" "))
    }

    #[test]
    fn safetensors_come_before_pickles_and_only_what_is_needed_is_taken() {
        let names = [
            ".gitattributes",
            "README.md",
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "training_args.bin",
            "onnx/model.safetensors",
            "pictures/a.png",
        ];
        assert_eq!(chosen(&names, None), "config.json model.safetensors tokenizer.json");
        assert_eq!(chosen(&names[..3], None).split(':').nth(1), Some(" no weights"));
        assert_eq!(chosen(&names, Some("pytorch_model.bin")), "config.json pytorch_model.bin tokenizer.json");
    }

    #[test]
    fn shards_come_all_with_their_index_or_not() {
        let names = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "pytorch_model-00001-of-00001.bin",
            "pytorch_model.bin.index.json",
        ];
        assert_eq!(chosen(&names, None), names[..4].join(" "));
        assert!(chosen(&[names[0], names[1], names[3]], None).contains("expected 2, got 1"));
        assert_eq!(chosen(&names[4..], None), names[4..].join(" "));
        assert_eq!(chosen(&names, Some("pytorch_model.bin.index.json")), ["config.json", names[4], names[5]].join(" "));
    }

    #[test]
    fn other_names_of_weights() {
        let gptq = ["config.json", "guanaco-7b-4bit-128g.safetensors", "quantize_config.json"];
        assert_eq!(chosen(&gptq, None), gptq.join(" "));
        let lora = ["README.md", "adapter_config.json", "adapter_model.bin", "adapter_model.safetensors"];
        assert_eq!(chosen(&lora, None), "adapter_config.json adapter_model.safetensors");
        assert_eq!(chosen(&lora[..3], None), "adapter_config.json adapter_model.bin");
        assert_eq!(chosen(&["a.Q4.gguf", "adapter_model.bin"], None), "a.Q4.gguf");
        let gguf = ["a.Q4_0.gguf", "a.Q8_0.gguf", "a.f16-00001-of-00002.gguf", "a.f16-00002-of-00002.gguf"];
        let error = chosen(&gguf, None);
        assert!(error.contains("--file NAME") && error.contains("\n  a.Q8_0.gguf\n"), "{error}");
        assert_eq!(chosen(&gguf, Some("a.Q8_0.gguf")), "a.Q8_0.gguf");
        assert_eq!(chosen(&gguf, Some(gguf[2])), [gguf[2], gguf[3]].join(" "));
        assert!(chosen(&gguf, Some("b.gguf")).contains("b.gguf"));
        assert!(chosen(&["a.safetensors", "b.safetensors"], None).contains("--file"));
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        for evil in ["../x", "/etc/x", "a/../../x", "a\\x", "c:x", "a//x", "./x", "", "x\u{1b}[2J", "a/.."] {
            let error = chosen(&["config.json", "model.safetensors", evil], None);
            assert!(error.contains("no path inside"), "{evil:?}: {error}");
        }
    }
}
