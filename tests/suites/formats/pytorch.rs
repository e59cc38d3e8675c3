//! PyTorch checkpoints: every good file gives the tensors of its twin in safetensors, bit by bit, and every broken or hostile
//! one is refused without anything of it being run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use guanaco_engine::file::{Checkpoint, TensorView};
use guanaco_engine::model::Config;
use guanaco_engine::weights::convert::{Target, convert_rows, padded};
use guanaco_engine::weights::names;
use guanaco_tests::{Outcome, Suite, data_dir};

use super::{bounded, counting, folder_of, loads, mentions};

/// The fixtures of the clone (`make.py` beside them writes them).
pub(super) fn cases(suite: &mut Suite) {
    let data = data_dir().join("pytorch");
    twins(suite, "pytorch", &data.join("good"));
    let words = std::fs::read(data.join("broken.json")).context("broken.json");
    let words = words.and_then(|bytes| Ok(serde_json::from_slice::<BTreeMap<String, Vec<String>>>(&bytes)?));
    match words {
        Ok(words) => {
            for (name, words) in words {
                let path = data.join("broken").join(format!("{name}.bin"));
                suite.case(format!("pytorch/broken/{name}"), move || refused(&path, &words));
            }
        }
        Err(error) => suite.case("pytorch/broken", move || Err(error)),
    }
    let llama = data.join("llama");
    let again = llama.clone();
    suite.case("pytorch/llama", move || same_model(&llama));
    suite.case("pytorch/which_file", move || which_file(&again));
    suite.case("pytorch/memory", memory);
    suite.case("pytorch/damaged_anywhere", move || damaged_anywhere(&data));
}

/// Every NAME.bin in `folder` beside its NAME.expected.safetensors (or NAME.bin.expected.safetensors).
pub(super) fn twins(suite: &mut Suite, title: &str, folder: &Path) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "bin"));
    paths.sort();
    if paths.is_empty() {
        suite.case(title, || anyhow::bail!("no .bin files"));
    }
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        suite.case(format!("{title}/{name}"), move || {
            let tensors = bounded(|| same_tensors(&path))??;
            println!("{title}: {tensors} tensors, bit by bit", title = path.display());
            Ok(())
        });
    }
}

fn same_tensors(path: &Path) -> anyhow::Result<usize> {
    let twins = [path.with_extension("bin.expected.safetensors"), path.with_extension("expected.safetensors")];
    let twin = twins.iter().find(|twin| twin.exists()).context("no expected.safetensors")?;
    let (found, expected) = (Checkpoint::open(path)?, Checkpoint::open(twin)?);
    let names = |checkpoint: &Checkpoint| checkpoint.names().map(str::to_owned).collect::<Vec<_>>();
    ensure!(names(&found) == names(&expected), "{:?}, expected {:?}", names(&found), names(&expected));
    ensure!(expected.names().next().is_some(), "no tensors");
    for name in expected.names() {
        let (view, twin) = (found.tensor(name).context("not there")?, expected.tensor(name).context("not there")?);
        ensure!((view.dtype, view.shape) == (twin.dtype, twin.shape), "{name}: {} {:?}", view.dtype, view.shape);
        ensure!(dense(&view)? == twin.data()?, "{name}: other bytes");
        if view.dtype.is_weight() && view.rows_cols().is_some() {
            ensure!(converted(&view)? == converted(&twin)?, "{name}: convert_rows gives other values");
        }
    }
    Ok(expected.names().count())
}

/// The tensor's bytes, row after row.
fn dense(view: &TensorView<'_>) -> anyhow::Result<Vec<u8>> {
    let (data, size) = (view.data()?, view.dtype.block_bytes());
    let Some(strides) = view.strides() else { return Ok(data.to_vec()) };
    ensure!(strides.len() == view.shape.len(), "{} strides for {:?}", strides.len(), view.shape);
    let mut places = vec![0];
    for (extent, stride) in view.shape.iter().zip(strides) {
        places = places.iter().flat_map(|place| (0..*extent).map(move |index| place + index * stride)).collect();
    }
    let elements = places.iter().map(|place| data.get(place * size..(place + 1) * size).context("outside of data()"));
    Ok(elements.collect::<anyhow::Result<Vec<_>>>()?.concat())
}

fn converted(view: &TensorView<'_>) -> anyhow::Result<Vec<u8>> {
    let (rows, cols) = view.rows_cols().context("no matrix")?;
    let mut out = vec![0; rows * padded(cols) * 4];
    convert_rows(view, 0..rows, &mut out, padded(cols), Target::F32)?;
    Ok(out)
}

/// Opening the file, or reading one of its tensors, ends in an error with these words and the file's name.
fn refused(path: &Path, words: &[String]) -> Outcome {
    let read = || -> guanaco_engine::Result<()> {
        let checkpoint = Checkpoint::open(path)?;
        for name in checkpoint.names() {
            checkpoint.tensor(name).map_or(Ok(&[][..]), |view| view.data())?;
        }
        Ok(())
    };
    let message = bounded(read)?.err().context("it was read, expected an error")?.to_string();
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    mentions(&message, &words.iter().map(String::as_str).chain([&*file]).collect::<Vec<_>>())?;
    nothing_was_run(path)
}

/// What the hostile pickles of both sets would do: `touch PWNED`, or write it from a zip.
pub(super) fn nothing_was_run(path: &Path) -> Outcome {
    let mut places: Vec<&Path> = path.ancestors().skip(1).take(4).collect();
    let here = std::env::current_dir()?;
    places.extend([path, &here]);
    for place in places {
        ensure!(!place.join("PWNED").exists(), "a pickle was executed: {} has PWNED", place.display());
    }
    Ok(())
}

/// A LLaMA in shards, half of its matrices transposed views, is the model that its twin is.
fn same_model(folder: &Path) -> Outcome {
    loads(folder)?;
    loads(&folder.join("pytorch_model.bin.index.json"))?;
    let (found, twin) = (Checkpoint::open(folder)?, Checkpoint::open(&folder.join("expected.safetensors"))?);
    let dims = Config::load(&found)?.dims();
    let (found_tensors, twin_tensors) = (names::resolve(&found, &dims)?, names::resolve(&twin, &dims)?);
    ensure!(found_tensors.tensors == twin_tensors.tensors, "other tensors");
    let mut views = 0;
    for tensor in &found_tensors.tensors {
        let view = tensor.view((&found).into())?;
        views += usize::from(view.strides().is_some());
        ensure!(converted(&view)? == converted(&tensor.view((&twin).into())?)?, "{}: other values", tensor.name);
    }
    println!("{} tensors, {views} of them transposed", found_tensors.tensors.len());
    ensure!(views > 2, "no transposed views");
    Ok(())
}

/// safetensors before PyTorch, `pytorch_model.bin` before other names, one other file, and what is no model beside it.
fn which_file(llama: &Path) -> Outcome {
    let read = |name: &str| std::fs::read(llama.join(name)).map_err(anyhow::Error::from);
    let model = std::fs::read(llama.with_file_name("good").join("fp32.bin"))?;
    let opens = |files: &[(&str, &[u8])]| -> anyhow::Result<String> {
        let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.to_vec())).collect();
        let (_folder, path) = folder_of(&files)?;
        let opened = bounded(|| Checkpoint::open(&path))?;
        Ok(match opened {
            Ok(checkpoint) => {
                let file = checkpoint.tensor_files().next().context("no file")?;
                file.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
            }
            Err(error) => error.to_string(),
        })
    };
    let safetensors = read("expected.safetensors")?;
    let junk = &b"junk"[..];
    for name in ["gptq-4bit.pt", "consolidated.00.pth", "model.bin", "pytorch_model.bin"] {
        let got =
            opens(&[(name, &model), ("training_args.bin", junk), ("optimizer.pt", junk), ("adapter_model.bin", junk)])?;
        ensure!(got == name, "{got}, expected {name}");
    }
    let got = opens(&[("pytorch_model.bin", &model), ("other.bin", junk)])?;
    ensure!(got == "pytorch_model.bin", "{got}");
    // A name that transformers gives comes first, then safetensors.
    for (first, second) in [
        ("model.safetensors", "pytorch_model.bin"),
        ("pytorch_model.bin", "other.safetensors"),
        ("other.safetensors", "other.bin"),
    ] {
        let bytes: &[u8] = if first.ends_with(".bin") { &model } else { &safetensors };
        let got = opens(&[(first, bytes), (second, junk)])?;
        ensure!(got == first, "{got}, expected {first}");
    }
    mentions(&opens(&[("a.bin", &model), ("b.pt", &model)])?, &["more than one", "a.bin", "b.pt"])?;
    mentions(
        &opens(&[("pytorch_model.bin.index.json", b"{\"weight_map\":{\"a\":\"../b.bin\"}}")])?,
        &["../b.bin", "leads out"],
    )?;
    let shard = read("pytorch_model-00001-of-00002.bin")?;
    let got = opens(&[
        ("pytorch_model.bin.index.json", &read("pytorch_model.bin.index.json")?),
        ("pytorch_model-00001-of-00002.bin", &shard),
    ])?;
    mentions(&got, &["pytorch_model-00002-of-00002.bin", "missing"])?;
    mentions(&opens(&[("adapter_model.bin", &model)])?, &["LoRA"])
}

/// Pickles of as many opcodes as are run, of the kinds that make most of one byte.
fn memory() -> Outcome {
    let numbered = |start: &[u8], count: u32| -> Vec<u8> {
        (0..count).flat_map(|number| [start, &number.to_le_bytes()].concat()).collect()
    };
    for (what, body) in [
        ("lists", b"]".repeat(1 << 20)),
        ("lists of one", b"]Na".repeat(1 << 19)),
        ("dictionaries of one", b"}NNs".repeat(1 << 18)),
        ("tuples", b")\x85\x85".repeat(1 << 19)),
        ("one long list", [&b"]("[..], &b"N".repeat((1 << 20) - 10), b"e"].concat()),
        ("a memo", numbered(b"]r", 1 << 19)),
        ("strings", [&b"X"[..], &(64_u32 << 20).to_le_bytes(), &b"x".repeat(64 << 20)].concat()),
    ] {
        let (_folder, path) = folder_of(&[("pytorch_model.bin", [b"\x80\x02", &body[..], b"."].concat())])?;
        let (result, peak) = counting::peak(|| bounded(|| Checkpoint::open(&path)));
        let message = result?.err().context("was read")?.to_string();
        println!("{what}: {} MiB", peak >> 20);
        mentions(&message, &["pytorch_model.bin"])?;
    }
    Ok(())
}

/// Files cut at every byte, and with every byte changed: an error or tensors inside of the file, never a panic.
fn damaged_anywhere(data: &Path) -> Outcome {
    let (mut read, mut refused) = (0, 0);
    for name in ["fp32", "views_deflated", "protocol4", "legacy"] {
        let good = std::fs::read(data.join("good").join(format!("{name}.bin")))?;
        let mut try_one = |bytes: Vec<u8>| -> anyhow::Result<bool> {
            let (_folder, path) = folder_of(&[("a.bin", bytes)])?;
            let result = bounded(|| -> guanaco_engine::Result<()> {
                let checkpoint = Checkpoint::open(&path)?;
                for name in checkpoint.names() {
                    checkpoint.tensor(name).map_or(Ok(&[][..]), |view| view.data())?;
                }
                Ok(())
            })?;
            if result.is_ok() {
                read += 1
            } else {
                refused += 1
            }
            Ok(result.is_ok())
        };
        for at in 0..good.len() {
            ensure!(!try_one(good[..at].to_vec())?, "{name}: read although it is cut at byte {at}");
            let mut wrong = good.clone();
            wrong[at] ^= 1 << (at % 8);
            try_one(wrong)?;
        }
    }
    println!("{read} read, {refused} refused");
    ensure!(read > 500 && refused > 5000, "{read} read, {refused} refused");
    Ok(())
}
