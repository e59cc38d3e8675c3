//! Checkpoints quantised to four bits: what the file holds is AutoGPTQ's layout, the engine runs it, and it says about what the
//! original says; with GPTQ more nearly so than with plain rounding.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use guanaco_engine::file::{Checkpoint, Dtype};
use guanaco_engine::model::quantize::{Method, Projection, quantize};
use guanaco_engine::model::{Config, Forward as _, Pass};
use guanaco_engine::weights::convert::Target;
use guanaco_engine::weights::gptq_write::{Settings, is_projection};
use guanaco_engine::weights::names::resolve;
use guanaco_engine::weights::{Sources, Stored};
use guanaco_tests::device::{gpu, load, relative_l2};
use guanaco_tests::{Outcome, Suite, data_dir, golden_dir, workspace};
use half::f16;
use serde_json::Value;

const SETTINGS: Settings = Settings { group_len: Some(128), symmetric: false, act_order: true, damp: 0.01 };

fn main() -> ExitCode {
    let mut suite = Suite::new();
    suite.case("plain rounding: AutoGPTQ's layout, read back as it was written", layout_of_nearest);
    suite.case("GPTQ of tiny-guanaco: nearer to the original than plain rounding", gptq_beats_rounding);
    suite.case("GPTQ with biases: groups of 32 and whole rows, in the file's order", biases);
    suite.case("refused: what is quantised already, and shapes without whole groups", refusals);
    suite.case("an interrupted run leaves nothing", interrupted);
    suite.run(Some(1))
}

/// Runs without a word of progress.
fn run(source: &Path, out: &Path, method: &Method, settings: Settings) -> anyhow::Result<Vec<Projection>> {
    Ok(quantize(&Checkpoint::open(source)?, out, method, settings, &mut |_| Ok(()))?)
}

fn tiny() -> std::path::PathBuf {
    workspace().join("app").join("tiny-guanaco")
}

/// Dialogues of the held-out set as tokens, from the `first` on.
fn dialogues(first: usize, step: usize, n: usize, len: usize) -> anyhow::Result<Vec<Vec<u32>>> {
    let checkpoint = Checkpoint::open(&tiny())?;
    let tokenizer = guanaco_engine::tokenizer::Tokenizer::from_checkpoint(&checkpoint)?.context("no tokenizer")?;
    let text = std::fs::read_to_string(data_dir().join("tiny-guanaco").join("heldout.jsonl"))?;
    let mut ids = Vec::new();
    for line in text.lines().skip(first).step_by(step) {
        let record: Value = serde_json::from_str(line)?;
        let field = |name: &str| record[name].as_str().unwrap_or_default();
        ids.extend(tokenizer.encode(&format!("{}{}", field("prompt"), field("answer")), true)?);
    }
    ensure!(ids.len() >= n * len, "only {} tokens", ids.len());
    Ok(ids.chunks_exact(len).take(n).map(<[u32]>::to_vec).collect())
}

/// The layout of every projection in `folder`, whose original is `source`: names, shapes, types, zeros and groups.
fn check_layout(source: &Path, folder: &Path, settings: Settings) -> anyhow::Result<usize> {
    let (original, written) = (Checkpoint::open(source)?, Checkpoint::open(folder)?);
    let config = Config::load(&original)?;
    let mut n = 0;
    for tensor in resolve(&original, &config.dims())?.tensors {
        if !is_projection(tensor.role) {
            let view = written.tensor(&tensor.name).with_context(|| format!("{} is missing", tensor.name))?;
            ensure!(view.dtype == Dtype::F16, "{} is {}", tensor.name, view.dtype);
            continue;
        }
        let (rows, cols, stem) = (tensor.rows, tensor.cols, tensor.name.trim_end_matches(".weight"));
        let groups = cols.div_ceil(settings.group_of(cols));
        let part = |name: &str, dtype: Dtype, shape: &[usize]| -> anyhow::Result<Vec<u8>> {
            let view = written.tensor(&format!("{stem}.{name}")).with_context(|| format!("no {stem}.{name}"))?;
            ensure!(view.dtype == dtype && view.shape == shape, "{stem}.{name}: {} {:?}", view.dtype, view.shape);
            Ok(view.data()?.to_vec())
        };
        let words =
            |bytes: &[u8]| -> Vec<u32> { bytes.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect() };
        let codes = words(&part("qweight", Dtype::I32, &[cols / 8, rows])?);
        let zeros = words(&part("qzeros", Dtype::I32, &[groups, rows / 8])?);
        let scales = part("scales", Dtype::F16, &[groups, rows])?;
        let scales: Vec<f16> = scales.as_chunks::<2>().0.iter().map(|half| f16::from_le_bytes(*half)).collect();
        let g_idx = words(&part("g_idx", Dtype::I32, &[cols])?);
        ensure!(zeros.iter().all(|word| (0..8).all(|at| word >> (4 * at) & 15 < 15)), "{stem}: a stored zero of 15");
        ensure!(scales.iter().all(|scale| scale.is_finite() && scale.to_f32() > 0.0), "{stem}: a scale");
        for group in 0..groups {
            let has = g_idx.iter().filter(|other| **other as usize == group).count();
            ensure!(has == settings.group_of(cols), "{stem}: group {group} has {has} columns");
        }
        // The layout's own words, without the engine's reader: within a step or so of the original, as a whole within 5 %.
        let mut values = vec![0.0_f32; rows * cols];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut values);
        tensor.convert(Sources::from(&original), 0..rows, bytes, cols, Target::F32)?;
        let (mut error, mut norm) = (0.0, 0.0);
        for row in 0..rows {
            for col in 0..cols {
                let group = g_idx[col] as usize;
                let code = codes[col / 8 * rows + row] >> (col % 8 * 4) & 15;
                let zero = (zeros[group * (rows / 8) + row / 8] >> (row % 8 * 4) & 15) + 1;
                let weight = scales[group * rows + row].to_f32() * (code as f32 - zero as f32);
                error += f64::from((weight - values[row * cols + col]).powi(2));
                norm += f64::from(values[row * cols + col].powi(2));
            }
        }
        ensure!(error < 0.05 * norm, "{stem}: relative square error {:.2e} of the weights", error / norm);
        n += 1;
    }
    let resolved = resolve(&written, &Config::load(&written)?.dims())?;
    let quantised = resolved.tensors.iter().filter(|tensor| matches!(tensor.stored, Stored::Gptq(_))).count();
    ensure!(
        quantised == n && resolved.unused.is_empty(),
        "{quantised} of {n} read as GPTQ, unused: {:?}",
        resolved.unused
    );
    Ok(n)
}

fn layout_of_nearest() -> Outcome {
    let out = tempfile::tempdir()?;
    let settings = Settings { act_order: false, ..SETTINGS };
    let report = run(&tiny(), out.path(), &Method::Nearest, SETTINGS)?;
    let n = check_layout(&tiny(), out.path(), settings)?;
    ensure!(n == 28 && report.len() == n, "{n} projections, {} reported", report.len());
    let worst = report.iter().map(|projection| projection.error).fold(0.0, f64::max);
    ensure!((0.003..0.02).contains(&worst), "{worst}");
    let json =
        |name: &str| -> anyhow::Result<Value> { Ok(serde_json::from_slice(&std::fs::read(out.path().join(name))?)?) };
    let (config, own) = (json("config.json")?, json("quantize_config.json")?);
    ensure!(config["quantization_config"] == own && own["desc_act"] == false && own["group_size"] == 128, "{own}");
    ensure!(config["hidden_size"] == 256 && config["torch_dtype"] == "float16", "{config}");
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        ensure!(std::fs::read(out.path().join(name))? == std::fs::read(tiny().join(name))?, "{name} differs");
    }
    println!("{n} projections, worst relative square error of weights {worst:.2e}");
    Ok(())
}

/// The relative error of `folder`'s logits, and the mean log-likelihood that it loses, on `texts`.
fn against(original: &Path, folder: &Path, texts: &[Vec<u32>]) -> anyhow::Result<(f64, f64)> {
    let (mut model, mut quantised) = (load(original, 1)?, load(folder, 1)?);
    let (mut error, mut lost, mut n) = (0.0, 0.0, 0);
    for tokens in texts {
        let (mut want, mut got) = (Vec::new(), Vec::new());
        for (pos, pair) in tokens.windows(2).enumerate() {
            model.forward(Pass::Decode, 0, pos, &pair[..1], &mut want)?;
            quantised.forward(Pass::Decode, 0, pos, &pair[..1], &mut got)?;
            let likelihood = |logits: &[f32]| {
                let sum: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
                f64::from(logits[pair[1] as usize]) - sum.ln()
            };
            (error, lost, n) = (error + relative_l2(&got, &want), lost + likelihood(&want) - likelihood(&got), n + 1);
        }
    }
    Ok((error / f64::from(n), lost / f64::from(n)))
}

fn gptq_beats_rounding() -> Outcome {
    let (nearest, fitted) = (tempfile::tempdir()?, tempfile::tempdir()?);
    run(&tiny(), nearest.path(), &Method::Nearest, SETTINGS)?;
    let method = Method::Gptq { gpu: gpu()?, sequences: dialogues(0, 12, 32, 128)? };
    let report = run(&tiny(), fitted.path(), &method, SETTINGS)?;
    check_layout(&tiny(), fitted.path(), SETTINGS)?;
    for Projection { name, error, nearest, .. } in &report {
        let nearest = nearest.context("plain rounding was not measured beside")?;
        ensure!(*error < 0.9 * nearest, "{name}: GPTQ {error:.2e}, rounding {nearest:.2e}");
    }
    // Other dialogues than it was fitted to.
    let texts = dialogues(5, 48, 12, 64)?;
    let (plain, plain_lost) = against(&tiny(), nearest.path(), &texts)?;
    let (gptq, gptq_lost) = against(&tiny(), fitted.path(), &texts)?;
    println!(
        "{} projections; relative L2 error of the logits {gptq:.2e}, by plain rounding {plain:.2e}; likelihood lost {gptq_lost:.4} \
         and {plain_lost:.4} a token",
        report.len()
    );
    ensure!(gptq < 0.25 && gptq < 0.85 * plain, "relative L2 error: GPTQ {gptq:.2e}, plain rounding {plain:.2e}");
    ensure!(gptq_lost < plain_lost && gptq_lost < 0.1, "likelihood lost: GPTQ {gptq_lost:.4}, plain {plain_lost:.4}");
    Ok(())
}

fn biases() -> Outcome {
    let source = data_dir().join("models").join("attention_bias");
    let config = Config::load(&Checkpoint::open(&source)?)?;
    let mut n = 0;
    for (group_len, act_order, symmetric) in [(Some(32), true, false), (None, false, true)] {
        let settings = Settings { group_len, symmetric, act_order, damp: 0.01 };
        let out = tempfile::tempdir()?;
        let tokens =
            |seed: usize| (0..48).map(|at| ((at * at * 7 + at * seed + seed) % config.vocab_size) as u32).collect();
        let sequences: Vec<Vec<u32>> = (1..9).map(tokens).collect();
        let texts = vec![sequences[3][..24].to_vec()];
        let report = run(&source, out.path(), &Method::Gptq { gpu: gpu()?, sequences }, settings)?;
        n += check_layout(&source, out.path(), settings)?;
        let (error, _) = against(&source, out.path(), &texts)?;
        let worst = report.iter().map(|projection| projection.error).fold(0.0, f64::max);
        println!("{settings:?}: logits {error:.2e}, worst projection {worst:.2e}");
        ensure!(error < 0.3 && worst < 0.05, "logits {error:.2e}, worst projection {worst:.2e}");
    }
    ensure!(n > 0, "no projections");
    Ok(())
}

fn refusals() -> Outcome {
    let out = tempfile::tempdir()?;
    let refuse = |source: &Path, settings: Settings, words: &[&str]| -> Outcome {
        let error = run(source, out.path(), &Method::Nearest, settings).err().context("was accepted")?.to_string();
        ensure!(words.iter().all(|word| error.contains(word)), "{error}");
        ensure!(std::fs::read_dir(out.path())?.count() == 0, "a refused run wrote files");
        Ok(())
    };
    let twice = tempfile::tempdir()?;
    run(&tiny(), twice.path(), &Method::Nearest, SETTINGS)?;
    refuse(twice.path(), SETTINGS, &["quantised already", "GPTQ", "q_proj"])?;
    refuse(&tiny(), Settings { group_len: Some(256), ..SETTINGS }, &["640", "--group 128", "down_proj"])?;
    if let Some(golden) = golden_dir() {
        refuse(&golden.join("gqa_odd_head_dim"), Settings { group_len: Some(32), ..SETTINGS }, &["multiple of 32"])?;
    }
    Ok(())
}

fn interrupted() -> Outcome {
    let out = tempfile::tempdir()?;
    let checkpoint = Checkpoint::open(&tiny())?;
    for method in [Method::Nearest, Method::Gptq { gpu: gpu()?, sequences: dialogues(0, 2, 2, 32)? }] {
        for stop_after in [0, 5, 11] {
            let mut calls = 0;
            let error = quantize(&checkpoint, out.path(), &method, SETTINGS, &mut |progress| {
                calls += 1;
                let in_range = (0.0..=1.0).contains(&progress.done) && progress.layer < progress.n_layers;
                match calls > stop_after || !in_range {
                    true => Err(guanaco_engine::Error::Request("stop here".to_owned())),
                    false => Ok(()),
                }
            });
            let error = error.err().context("was not stopped")?.to_string();
            ensure!(error == "stop here" && calls == stop_after + 1, "{calls} calls: {error}");
            ensure!(std::fs::read_dir(out.path())?.count() == 0, "files were left behind");
        }
    }
    Ok(())
}
