//! Checkpoints that the suite builds itself, so that a clone alone tests the reader: good ones, and broken ones that the
//! golden set does not have.

use std::path::Path;

use anyhow::{Context, ensure};
use guanaco_engine::file::Checkpoint;
use guanaco_engine::model::Config;
use guanaco_engine::prompt::read_chat_template;
use guanaco_engine::tokenizer::Tokenizer;
use guanaco_engine::weights::names::{self, Dims};
use guanaco_tests::{Outcome, Suite};
use half::{bf16, f16};

use super::{MAX_MEMORY, counting, folder_of, loads, refused};

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16,
    "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
    "vocab_size": 40, "rms_norm_eps": 1e-06, "max_position_embeddings": 64, "torch_dtype": "float16"}"#;

const DIMS: Dims = Dims {
    vocab_size: 40,
    dim: 16,
    hidden_dim: 24,
    n_layers: 1,
    n_heads: 2,
    n_kv_heads: 1,
    head_dim: 8,
    tied_embeddings: false,
    attention_bias: false,
    mlp_bias: false,
};

type Tensor = (String, Vec<usize>);

fn tensors() -> Vec<Tensor> {
    names::expected(&DIMS).into_iter().map(|tensor| (tensor.name, tensor.shape)).collect()
}

/// A safetensors file of small values. One space after the header or two, so that the data begins at an odd byte.
fn safetensors(tensors: &[Tensor], dtype: &str) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape) in tensors {
        let begin = data.len();
        for index in 0..shape.iter().product() {
            let value = (index % 17) as f32 / 16.0 - 0.5;
            match dtype {
                "F16" => data.extend(f16::from_f32(value).to_le_bytes()),
                "BF16" => data.extend(bf16::from_f32(value).to_le_bytes()),
                _ => data.extend(value.to_le_bytes()),
            }
        }
        let end = data.len();
        entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#));
    }
    let header = format!("{{{}}} ", entries.join(","));
    let header = if header.len() % 2 == 0 { format!("{header} ") } else { header };
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

/// Two shards with their index, which puts each tensor into the shard that `place` names.
fn sharded(place: impl Fn(&str, &str) -> String) -> Vec<(&'static str, Vec<u8>)> {
    let tensors = tensors();
    let (first, second) = tensors.split_at(5);
    let mut map = serde_json::Map::new();
    for (shard, tensors) in [("a.safetensors", first), ("b.safetensors", second)] {
        for (name, _) in tensors {
            map.insert(name.clone(), place(name, shard).into());
        }
    }
    vec![
        ("config.json", CONFIG.into()),
        ("model.safetensors.index.json", serde_json::json!({ "weight_map": map }).to_string().into()),
        ("a.safetensors", safetensors(first, "F16")),
        ("b.safetensors", safetensors(second, "F16")),
    ]
}

fn as_listed(_: &str, shard: &str) -> String {
    shard.to_owned()
}

fn refused_folder(files: &[(&str, Vec<u8>)], mention: &[&str]) -> Outcome {
    let (_folder, path) = folder_of(files)?;
    refused(&path, mention)
}

pub(super) fn cases(suite: &mut Suite) {
    for dtype in ["F16", "BF16", "F32"] {
        suite.case(format!("built/single_{dtype}"), move || {
            let files = [("config.json", CONFIG.into()), ("model.safetensors", safetensors(&tensors(), dtype))];
            let (_folder, path) = folder_of(&files)?;
            loads(&path)?;
            loads(&path.join("model.safetensors"))?;
            Ok(())
        });
    }
    suite.case("built/sharded", || {
        let (_folder, path) = folder_of(&sharded(as_listed))?;
        loads(&path)?;
        loads(&path.join("model.safetensors.index.json")).map(|_| ())
    });
    suite.case("built/static", is_read_in_place);
    suite.case("built/other_name", || {
        let files = [("config.json", CONFIG.into()), ("llama.safetensors", safetensors(&tensors(), "F16"))];
        let (_folder, path) = folder_of(&files)?;
        loads(&path)?;
        std::fs::write(path.join("second.safetensors"), safetensors(&tensors(), "F16"))?;
        refused(&path, &["llama.safetensors", "second.safetensors"])?;
        loads(&path.join("second.safetensors")).map(|_| ())
    });
    suite.case("built/nothing_there", || {
        refused(Path::new("/nonexistent/model"), &["nonexistent"])?;
        refused_folder(&[("config.json", CONFIG.into())], &["model.safetensors"])?;
        refused_folder(&[("adapter_model.safetensors", vec![1])], &["LoRA"])
    });
    suite.case("built/other_formats", || {
        refused_folder(&[("model.gguf", b"GGUF\x03\0\0\0".to_vec())], &["model.gguf", "header", "cut"])?;
        refused_folder(&[("model.gguf", b"tjgg\x03\0\0\0".to_vec())], &["model.gguf", "GGML", "safetensors"])?;
        refused_folder(&[("consolidated.00.pth", b"PK\x03\x04".to_vec())], &["consolidated.00.pth", "PyTorch", "cut"])?;
        refused_folder(&[("model.safetensors", b"PK\x03\x04....".to_vec())], &["model.safetensors", "PyTorch"])?;
        refused_folder(&[("model.safetensors", b"\n<!DOCTYPE html>".to_vec())], &["model.safetensors", "HTML"])?;
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_vec();
        let files = [("config.json", pointer), ("model.safetensors", safetensors(&tensors(), "F16"))];
        refused_folder(&files, &["config.json", "git-lfs"])
    });
    suite.case("built/index_leads_out", || {
        let dots = [
            "../b.safetensors",
            "./b.safetensors",
            "",
            "x/../../b.safetensors",
            "x//b.safetensors",
            "x/./b.safetensors",
        ];
        for outside in dots.into_iter().chain(["/etc/hostname"]) {
            let place = |_: &str, _: &str| outside.to_owned();
            refused_folder(&sharded(place), &["model.safetensors.index.json", outside])?;
        }
        Ok(())
    });
    #[cfg(unix)]
    suite.case("built/index_one_file_under_many_names", || {
        let place =
            |name: &str, shard: &str| if name == "lm_head.weight" { "c.safetensors".into() } else { shard.into() };
        let (_folder, path) = folder_of(&sharded(place))?;
        let [b, c] = ["b.safetensors", "c.safetensors"].map(|name| path.join(name));
        let links: [fn(&Path, &Path) -> std::io::Result<()>; 2] =
            [|from, to| std::fs::hard_link(from, to), |from, to| std::os::unix::fs::symlink(from, to)];
        for link in links {
            link(&b, &c)?;
            refused(&path, &["model.safetensors.index.json", "b.safetensors", "c.safetensors", "one file"])?;
            std::fs::remove_file(&c)?;
        }
        Ok(())
    });
    suite.case("built/index_wrong_shard", || {
        let swapped =
            |name: &str, shard: &str| if name == "lm_head.weight" { "a.safetensors".into() } else { shard.into() };
        refused_folder(&sharded(swapped), &["lm_head.weight", "a.safetensors", "b.safetensors"])
    });
    suite.case("built/index_memory", || {
        // As many short names as fit: what the parsed index takes stays below the limit.
        let names: Vec<String> = (0..150_000).map(|number| format!("\"{number:x}\":\"a\"")).collect();
        let index = format!(r#"{{"weight_map":{{{}}}}}"#, names.join(","));
        refused_folder(&[("model.safetensors.index.json", index.into())], &["shard a"])?;
        let large = vec![b' '; 5 << 20];
        refused_folder(&[("model.safetensors.index.json", large)], &["larger than 4 MiB", "index.json"])
    });
    suite.case("built/header_memory", || {
        // A header of 10 MB that is one shape, one of nested lists, and one of many empty tensors.
        let long_shape =
            format!(r#"{{"t":{{"dtype":"F16","shape":[{}1],"data_offsets":[0,2]}}}}"#, "1,".repeat(5_000_000));
        let nested = format!(r#"{{"__metadata__":{}"#, "[".repeat(10_000_000));
        let entry = |number: usize| format!(r#""{number}":{{"dtype":"F16","shape":[0],"data_offsets":[0,0]}}"#);
        let many = format!("{{{}}}", (0..100_000).map(entry).collect::<Vec<_>>().join(","));
        for (header, word) in [(long_shape, "dimensions"), (nested, "__metadata__"), (many, "more than")] {
            let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 2]].concat();
            refused_folder(&[("model.safetensors", bytes)], &["model.safetensors", word])?;
        }
        Ok(())
    });
    suite.case("built/side_file_memory", side_file_memory);
    #[cfg(unix)]
    suite.case("built/links", links);
    #[cfg(unix)]
    suite.case("built/not_a_regular_file", || {
        let (_folder, path) = folder_of(&[("config.json", CONFIG.into())])?;
        std::os::unix::fs::symlink("/dev/zero", path.join("model.safetensors"))?;
        refused(&path, &["model.safetensors", "regular file"])?;
        std::fs::remove_file(path.join("model.safetensors"))?;
        std::fs::write(path.join("model.safetensors"), safetensors(&tensors(), "F16"))?;
        std::fs::remove_file(path.join("config.json"))?;
        std::os::unix::fs::symlink("/dev/zero", path.join("config.json"))?;
        refused(&path, &["config.json", "regular file"])
    });
}

/// What a side file may hold is limited before it is read, and what is not needed of it takes no memory.
fn side_file_memory() -> Outcome {
    let (_folder, path) = folder_of(&[
        ("config.json", CONFIG.into()),
        ("model.safetensors", safetensors(&tensors(), "F16")),
        ("tokenizer.json", b"{}".to_vec()),
    ])?;
    let junk = |bytes: usize| format!("{}, \"junk\": [{}[]]}}", CONFIG.trim_end_matches('}'), "[],".repeat(bytes / 3));
    type Read = fn(&Path) -> guanaco_engine::Result<()>;
    let config: Read = |path| Config::load(&Checkpoint::open(path)?).map(|_| ());
    let template: Read = |path| read_chat_template(path).map(|_| ());
    let tokenizer: Read = |path| Tokenizer::open(path).map(|_| ());
    let from_checkpoint: Read = |path| Tokenizer::from_checkpoint(&Checkpoint::open(path)?).map(|_| ());
    for (name, limit, read) in [
        ("config.json", 1, config),
        ("generation_config.json", 1, config),
        ("chat_template.jinja", 1, template),
        ("tokenizer_config.json", 16, template),
        ("tokenizer.json", 32, tokenizer),
        ("tokenizer.json", 32, from_checkpoint),
    ] {
        let before = std::fs::read(path.join(name)).ok();
        std::fs::write(path.join(name), junk(62 << 20))?;
        let (result, peak) = counting::peak(|| read(&path));
        let message = result.err().with_context(|| format!("{name} was accepted"))?.to_string();
        ensure!(message.contains(&format!("larger than {limit} MiB")) && message.ends_with(name), "{message}");
        // A vector that grows is twice as long for a moment.
        ensure!(peak < (4 * limit + 1) << 20, "{name}: {peak} bytes");
        match before {
            Some(bytes) => std::fs::write(path.join(name), bytes)?,
            None => std::fs::remove_file(path.join(name))?,
        }
    }
    for (name, read) in
        [("config.json", config), ("generation_config.json", config), ("tokenizer_config.json", template)]
    {
        std::fs::write(path.join(name), junk((1 << 20) - 1000))?;
        let (result, peak) = counting::peak(|| read(&path));
        result?;
        ensure!(peak < 5 << 20, "{name}: {peak} bytes for 1 MiB of junk");
    }
    // Tiny values: parsed, they would take a hundred times their length.
    for value in ["[],", "{},", "{\"\":0},", "0,"] {
        let text =
            format!("{{\"model\": {{\"type\": \"BPE\", \"junk\": [{}0]}}}}", value.repeat((31 << 20) / value.len()));
        std::fs::write(path.join("tokenizer.json"), text)?;
        let (result, peak) = counting::peak(|| tokenizer(&path));
        let message = result.err().context("was accepted")?.to_string();
        ensure!(message.contains("expected at most 4194304") && message.ends_with("tokenizer.json"), "{message}");
        ensure!(peak < MAX_MEMORY, "{value}: {peak} bytes");
    }
    Ok(())
}

/// The embedded model's bytes are used where they lie.
fn is_read_in_place() -> Outcome {
    let file: &'static [u8] = safetensors(&tensors(), "F16").leak();
    let checkpoint = Checkpoint::from_static(&[("config.json", CONFIG.as_bytes()), ("model.safetensors", file)])?;
    let config = Config::load(&checkpoint)?;
    ensure!(config.dims() == DIMS, "{config:?}");
    for tensor in names::resolve(&checkpoint, &DIMS)?.tensors {
        let view = tensor.view((&checkpoint).into())?;
        ensure!(file.as_ptr_range().contains(&view.data()?.as_ptr()), "{} was copied", tensor.name);
    }
    ensure!(checkpoint.file_bytes("tokenizer.json")?.is_none(), "a file that is not there");
    ensure!(checkpoint.file_bytes("../config.json").is_err(), "a name that leads out");
    Ok(())
}

/// Shards as links: out of the folder they are refused, within it and in the layout of huggingface_hub's cache they are not.
#[cfg(unix)]
fn links() -> Outcome {
    use std::os::unix::fs::symlink;
    let (_outside, outside) = folder_of(&sharded(as_listed))?;
    let (_folder, path) = folder_of(&sharded(as_listed))?;
    let shard = path.join("b.safetensors");
    std::fs::rename(&shard, path.join("moved"))?;
    symlink("moved", &shard)?;
    loads(&path)?;
    std::fs::remove_file(&shard)?;
    symlink(outside.join("b.safetensors"), &shard)?;
    refused(&path, &["model.safetensors.index.json", "b.safetensors"])?;

    let cache = tempfile::tempdir()?;
    let (blobs, snapshot) = (cache.path().join("blobs"), cache.path().join("snapshots").join("0123"));
    std::fs::create_dir_all(&blobs)?;
    std::fs::create_dir_all(&snapshot)?;
    for (number, (name, bytes)) in sharded(as_listed).into_iter().enumerate() {
        std::fs::write(blobs.join(number.to_string()), bytes)?;
        symlink(format!("../../blobs/{number}"), snapshot.join(name))?;
    }
    loads(&snapshot).map(|_| ())
}
