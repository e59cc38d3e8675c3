//! GGUF files: the fixture of the clone against the values that its script computed, and files that are built here, good and
//! broken.

use std::path::Path;

use anyhow::{Context, ensure};
use guanaco_engine::file::{Checkpoint, RopeLayout};
use guanaco_engine::model::{Config, RopeScaling};
use guanaco_engine::weights::convert::{Target, convert_rows};
use guanaco_engine::weights::names::{self, Role};
use guanaco_tests::gguf::{Gguf, Tensor, Value};
use guanaco_tests::{Outcome, Suite, data_dir};

use super::{folder_of, loads, refused};

pub(super) fn cases(suite: &mut Suite) {
    suite.case("gguf/every type gives the values of the script", values);
    suite.case("gguf/good files", good);
    suite.case("gguf/configuration", configuration);
    suite.case("gguf/RoPE", rope);
    suite.case("gguf/several files", split);
    suite.case("gguf/a head that never ends", endless);
    for (name, change, words) in BROKEN {
        suite.case(format!("gguf/refused: {name}"), move || {
            let mut file = Gguf::llama();
            change(&mut file);
            let (_folder, path) = folder_of(&[("model.gguf", file.bytes())])?;
            refused(&path.join("model.gguf"), &[words, &["model.gguf"]].concat())
        });
    }
}

fn with<T>(file: &Gguf, run: impl FnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (_folder, path) = folder_of(&[("model.gguf", file.bytes())])?;
    run(&path)
}

fn changed(change: impl FnOnce(&mut Gguf)) -> Gguf {
    let mut file = Gguf::llama();
    change(&mut file);
    file
}

fn config(change: impl FnOnce(&mut Gguf)) -> anyhow::Result<Config> {
    with(&changed(change), |path| Ok(Config::load(&Checkpoint::open(path)?)?))
}

/// Each tensor's type, shape, sum of magnitudes and some elements.
fn values() -> Outcome {
    let folder = data_dir().join("gguf").join("blocks");
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("golden.json"))?)?;
    let checkpoint = Checkpoint::open(&folder.join("blocks.gguf"))?;
    ensure!(checkpoint.rope_layout() == RopeLayout::InterleavedPairs);
    let expected = golden["values"].as_object().context("values")?;
    ensure!(checkpoint.names().count() == expected.len(), "{} tensors", checkpoint.names().count());
    let (mut samples, mut types) = (0, std::collections::BTreeSet::new());
    for (name, want) in expected {
        let view = checkpoint.tensor(name).with_context(|| format!("{name} is missing"))?;
        ensure!(
            want["dtype"] == view.dtype.name() && want["shape"] == serde_json::json!(view.shape),
            "{name}: {view:?}"
        );
        types.insert(view.dtype.name());
        let (rows, cols) = view.rows_cols().context("no matrix")?;
        let mut bytes = vec![0; rows * cols * 4];
        convert_rows(&view, 0..rows, &mut bytes, cols, Target::F32)?;
        let values: Vec<f64> =
            bytes.as_chunks::<4>().0.iter().map(|word| f64::from(f32::from_le_bytes(*word))).collect();
        let close = |got: f64, want: &serde_json::Value, what: &str| {
            let want = want.as_f64().context("no number")?;
            // The engine computes in f32, the script in f64: an offset that takes most of a value leaves its rounding.
            ensure!((got - want).abs() <= 1e-6 * want.abs() + 1e-7, "{name} {what}: expected {want}, got {got}");
            Ok(())
        };
        close(values.iter().map(|value| value.abs()).sum(), &want["sum"], "sum")?;
        for sample in want["samples"].as_array().context("samples")? {
            let at = |index: usize| sample[index].as_u64().map(|at| at as usize).context("no place");
            close(values[at(0)? * cols + at(1)?], &sample[2], &sample.to_string())?;
            samples += 1;
        }
    }
    ensure!(types.len() == 11, "only {types:?}");
    println!("{} tensors of {} types, {samples} elements", expected.len(), types.len());
    Ok(())
}

type Good = (&'static str, fn(&mut Gguf));

fn good() -> Outcome {
    let mut count = 0;
    let good: [Good; 7] = [
        ("plain", |_| {}),
        ("version 2", |file| file.version = 2),
        ("alignment", |file| {
            file.alignment = 4096;
            file.set("general.alignment", Value::U32(4096));
        }),
        ("tied", |file| {
            file.tensors.pop();
        }),
        ("no vocab_size", |file| {
            file.remove("llama.vocab_size");
            file.set("tokenizer.ggml.tokens", Value::Texts((0..10).map(|id| id.to_string()).collect()));
        }),
        ("biases", |file| {
            for (name, n) in [("attn_q", 32), ("attn_k", 16), ("attn_v", 16), ("attn_output", 32)] {
                file.tensors.push(Tensor::ones(&format!("blk.0.{name}.bias"), &[n]));
            }
        }),
        ("a key of every type, and unused tensors", |file| {
            file.set("custom.text", "x");
            file.set("custom.flags", Value::Raw([&[9, 0, 0, 0, 7, 0, 0, 0, 2][..], &[0; 7], &[1, 0]].concat()));
            file.set("llama.context_length", Value::U64(64));
            file.set("llama.expert_count", Value::U32(0));
            file.tensors.push(Tensor { kind: 26, data: vec![0; 16], ..Tensor::ones("positions", &[4]) });
        }),
    ];
    for (name, change) in good {
        let file = changed(change);
        with(&file, |path| {
            // The folder that holds nothing else, and the file.
            for path in [path.to_owned(), path.join("model.gguf")] {
                loads(&path).with_context(|| name.to_owned())?;
                let checkpoint = Checkpoint::open(&path)?;
                let resolved = names::resolve(&checkpoint, &Config::load(&checkpoint)?.dims())?;
                let q = resolved.get(Role::QProj, Some(0)).context("no q_proj")?;
                ensure!((q.name.as_str(), q.rows, q.cols) == ("blk.0.attn_q.weight", 32, 32), "{q:?}");
                ensure!(resolved.get(Role::LmHead, None).is_none() == (name == "tied"), "{name}");
                ensure!(resolved.get(Role::OBias, Some(0)).is_some() == (name == "biases"), "{name}");
            }
            Ok(())
        })?;
        count += 1;
    }
    let file = Gguf::llama().bytes();
    let (_folder, path) = folder_of(&[("a.gguf", file.clone()), ("b.gguf", file.clone())])?;
    refused(&path, &["a.gguf", "b.gguf"])?;
    let (_folder, path) = folder_of(&[("renamed.safetensors", file)])?;
    loads(&path)?;
    println!("{count} files load");
    Ok(())
}

fn configuration() -> Outcome {
    let plain = config(|_| {})?;
    ensure!((plain.head_dim, plain.n_kv_heads, plain.max_seq_len, plain.vocab_size) == (16, 1, 64, 10), "{plain:?}");
    ensure!((plain.rope_theta, plain.rope_scaling) == (1e4, RopeScaling::None) && plain.rope_factors.is_empty());
    ensure!(plain.warnings.is_empty() && plain.bos_id.is_none() && plain.eos_ids.is_empty() && !plain.tied_embeddings);
    let ids = config(|file| {
        for (name, id) in [("bos", 1), ("eos", 2), ("eot", 3), ("eom", 2), ("padding", u32::MAX)] {
            file.set(&format!("tokenizer.ggml.{name}_token_id"), Value::U32(id));
        }
    })?;
    ensure!((ids.bos_id, ids.eos_ids.as_slice(), ids.pad_id) == (Some(1), &[2, 3][..], None), "{ids:?}");
    ensure!(ids.warnings.is_empty(), "{:?}", ids.warnings);
    let outside = config(|file| file.set("tokenizer.ggml.bos_token_id", Value::U32(10)))?;
    ensure!(outside.bos_id.is_none() && outside.warnings[0].contains("bos_token_id"), "{:?}", outside.warnings);
    let long = config(|file| file.set("llama.context_length", Value::U64(1 << 40)))?;
    ensure!(long.max_seq_len == 1 << 20 && long.warnings[0].contains("llama.context_length"), "{:?}", long.warnings);
    Ok(())
}

/// Linear scaling under both its keys, and the factors that a converter makes of Llama 3.1's scaling.
fn rope() -> Outcome {
    for key in ["llama.rope.scaling.factor", "llama.rope.scale_linear"] {
        let linear = config(|file| file.set(key, Value::F32(4.0)))?;
        ensure!(linear.rope_scaling == RopeScaling::Linear { factor: 4.0 }, "{key}: {linear:?}");
    }
    let none = config(|file| {
        file.set("llama.rope.scaling.type", "none");
        file.set("llama.rope.scaling.factor", Value::F32(4.0));
    })?;
    ensure!(none.rope_scaling == RopeScaling::None);
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64.0,
    };
    let (plain, want) = (RopeScaling::None.inv_freq(16, 1e4), scaling.inv_freq(16, 1e4));
    let got = config(|file| {
        let factors = plain.iter().zip(&want).flat_map(|(plain, want)| (plain / want).to_le_bytes());
        let data = factors.collect();
        file.tensors.push(Tensor { data, ..Tensor::ones("rope_freqs.weight", &[8]) });
    })?;
    ensure!(plain != want && got.rope_factors.len() == 8);
    for (got, want) in got.rope_inv_freq().iter().zip(&want) {
        ensure!((got / want - 1.0).abs() < 1e-6, "expected {want}, got {got}");
    }
    Ok(())
}

fn part(number: u16, count: u16, tensors: &[Tensor]) -> Vec<u8> {
    let mut file = changed(|file| file.tensors = tensors.to_vec());
    if number > 0 {
        file.keys.clear();
    }
    file.set("split.no", Value::U16(number));
    file.set("split.count", Value::U16(count));
    file.bytes()
}

type Files = [(&'static str, Vec<u8>); 3];

fn split() -> Outcome {
    let name = |number: usize| ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"][number];
    let tensors = Gguf::llama().tensors;
    let parts = [part(0, 3, &tensors[..3]), part(1, 3, &tensors[3..7]), part(2, 3, &tensors[7..])];
    let files = || [0, 1, 2].map(|number| (name(number), parts[number].clone()));
    let (_folder, path) = folder_of(&files())?;
    for path in [path.clone(), path.join(name(0))] {
        loads(&path)?;
        ensure!(Checkpoint::open(&path)?.tensor_files().count() == 3);
    }
    refused(&path.join(name(1)), &["m-00001-of-00003.gguf", "3 files"])?;
    std::fs::remove_file(path.join(name(1)))?;
    refused(&path, &["m-00002-of-00003.gguf", "missing", "split.count"])?;
    let refused_parts = |change: fn(&mut Files, &[Tensor]), words: &[&str]| {
        let mut files = files();
        change(&mut files, &tensors);
        let (_folder, path) = folder_of(&files)?;
        refused(&path, words)
    };
    refused_parts(|files, tensors| files[1].1 = part(2, 3, &tensors[3..7]), &["split.no", "m-00002"])?;
    refused_parts(|files, tensors| files[1].1 = part(1, 2, &tensors[3..7]), &["split.no", "m-00002"])?;
    refused_parts(|files, tensors| files[1].1 = part(1, 3, &tensors[2..7]), &["blk.0.attn_q.weight", "m-00002"])?;
    refused_parts(
        |files, tensors| files[1].1 = part(1, 3, &tensors[4..7]),
        &["blk.0.attn_k.weight", "not in the file"],
    )?;
    refused_parts(|files, tensors| files[0].1 = part(0, 9999, &tensors[..3]), &["split.count", "m-00001"])?;
    let (_folder, path) = folder_of(&[("model.gguf", part(0, 2, &tensors))])?;
    refused(&path, &["split.count", "model.gguf"])
}

/// Nine million empty texts: legal by each check, and no vocabulary.
fn endless() -> Outcome {
    let count = 9_u64 << 20;
    let file = changed(|file| {
        let array = [&9_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), &count.to_le_bytes()].concat();
        file.set("tokenizer.ggml.tokens", Value::Raw(array));
        file.tensors.clear();
    });
    let (_folder, path) = folder_of(&[("model.gguf", file.bytes())])?;
    let path = path.join("model.gguf");
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(count * 8 + 4096)?;
    refused(&path, &["tokenizer.ggml.tokens", "model.gguf"])
}

type Broken = (&'static str, fn(&mut Gguf), &'static [&'static str]);

const BROKEN: [Broken; 39] = [
    ("version 1", |file| file.version = 1, &["version 1"]),
    ("big-endian", |file| file.version = 3_u32.swap_bytes(), &["big-endian"]),
    ("no architecture", |file| file.remove("general.architecture"), &["general.architecture"]),
    ("architecture", |file| file.set("general.architecture", "qwen2"), &["general.architecture", "qwen2"]),
    ("experts", |file| file.set("llama.expert_count", Value::U32(8)), &["llama.expert_count", "8"]),
    (
        "window",
        |file| file.set("llama.attention.sliding_window", Value::U32(4096)),
        &["llama.attention.sliding_window"],
    ),
    (
        "heads by layer",
        |file| file.set("llama.attention.head_count", Value::Wholes(vec![2])),
        &["llama.attention.head_count", "array"],
    ),
    ("heads", |file| file.set("llama.attention.head_count_kv", Value::U32(3)), &["llama.attention.head_count_kv", "3"]),
    ("a text for a number", |file| file.set("llama.block_count", "1"), &["llama.block_count", "STRING"]),
    ("a negative number", |file| file.set("llama.block_count", Value::I32(-1)), &["llama.block_count", "-1"]),
    ("a fraction", |file| file.set("llama.block_count", Value::F32(1.5)), &["llama.block_count", "1.5"]),
    ("too many layers", |file| file.set("llama.block_count", Value::U32(2000)), &["llama.block_count", "2000"]),
    (
        "a missing layer",
        |file| file.set("llama.block_count", Value::U32(2)),
        &["blk.1.attn_norm.weight", "llama.block_count"],
    ),
    (
        "more layers",
        |file| file.tensors.push(Tensor::ones("blk.1.attn_q.weight", &[32, 32])),
        &["blk.1.attn_q.weight", "llama.block_count"],
    ),
    (
        "no eps",
        |file| file.remove("llama.attention.layer_norm_rms_epsilon"),
        &["llama.attention.layer_norm_rms_epsilon"],
    ),
    (
        "eps of 0",
        |file| file.set("llama.attention.layer_norm_rms_epsilon", Value::F32(0.0)),
        &["llama.attention.layer_norm_rms_epsilon"],
    ),
    ("theta", |file| file.set("llama.rope.freq_base", Value::F32(f32::NAN)), &["llama.rope.freq_base"]),
    ("longrope", |file| file.set("llama.rope.scaling.type", "longrope"), &["llama.rope.scaling.type", "longrope"]),
    (
        "yarn without a factor",
        |file| file.set("llama.rope.scaling.type", "yarn"),
        &["llama.rope.scaling.factor", "YaRN"],
    ),
    ("a factor", |file| file.set("llama.rope.scaling.factor", Value::F32(-2.0)), &["llama.rope.scaling.factor", "-2"]),
    (
        "part of a head turns",
        |file| file.set("llama.rope.dimension_count", Value::U32(8)),
        &["llama.rope.dimension_count", "16"],
    ),
    (
        "an odd head",
        |file| file.set("llama.attention.key_length", Value::U32(15)),
        &["llama.attention.key_length", "15"],
    ),
    (
        "two widths",
        |file| file.set("llama.attention.value_length", Value::U32(8)),
        &["llama.attention.value_length", "16"],
    ),
    ("factors of RoPE", |file| file.tensors.push(Tensor::ones("rope_freqs.weight", &[4])), &["rope_freqs.weight", "8"]),
    (
        "a factor of RoPE",
        |file| file.tensors.push(Tensor { data: vec![0; 32], ..Tensor::ones("rope_freqs.weight", &[8]) }),
        &["rope_freqs.weight"],
    ),
    (
        "vocabulary",
        |file| file.set("llama.vocab_size", Value::U32(11)),
        &["token_embd.weight", "llama.vocab_size", "(11, 32)", "(10, 32)"],
    ),
    ("no vocabulary", |file| file.remove("llama.vocab_size"), &["llama.vocab_size", "tokenizer.ggml.tokens"]),
    ("alignment", |file| file.set("general.alignment", Value::U32(3)), &["general.alignment", "3"]),
    ("a large alignment", |file| file.set("general.alignment", Value::U64(1 << 40)), &["general.alignment"]),
    (
        "a key twice",
        |file| file.keys.push(("llama.block_count".to_owned(), Value::U32(1))),
        &["llama.block_count", "twice"],
    ),
    (
        "an array beyond the file",
        |file| file.set("x", Value::Raw([&[9, 0, 0, 0, 4, 0, 0, 0][..], &[0xFF; 8]].concat())),
        &["`x`"],
    ),
    ("a type of 2024", |file| file.tensor("blk.0.ffn_up.weight").kind = 10, &["blk.0.ffn_up.weight", "Q2_K", "10"]),
    ("rows of no whole blocks", |file| file.tensor("blk.0.ffn_up.weight").kind = 12, &["blk.0.ffn_up.weight", "256"]),
    ("an empty tensor", |file| file.tensor("blk.0.ffn_up.weight").shape = vec![0, 32], &["blk.0.ffn_up.weight"]),
    (
        "tensors that overlap",
        |file| file.tensor("blk.0.ffn_up.weight").offset = Some(0),
        &["blk.0.ffn_up.weight", "token_embd.weight"],
    ),
    (
        "a matrix for a norm",
        |file| *file.tensor("output_norm.weight") = Tensor::ones("output_norm.weight", &[1, 32]),
        &["output_norm.weight", "(1, 32)"],
    ),
    ("integers for weights", |file| file.tensor("blk.0.ffn_norm.weight").kind = 26, &["blk.0.ffn_norm.weight", "I32"]),
    (
        "a bias in a later layer",
        |file| {
            file.tensors.push(Tensor::ones("blk.0.attn_k.bias", &[16]));
        },
        &["blk.0.attn_k.bias", "bias"],
    ),
    (
        "a NaN scale",
        |file| {
            let tensor = file.tensor("blk.0.ffn_up.weight");
            (tensor.kind, tensor.data) = (8, [&half::f16::NAN.to_le_bytes()[..], &[1; 32]].concat().repeat(32));
        },
        &["blk.0.ffn_up.weight", "[0, 0]"],
    ),
];
