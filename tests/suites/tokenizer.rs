//! Tokenizers against sentencepiece and transformers: encoding, decoding, streaming, and files that must be refused.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use guanaco_engine::tokenizer::{DetokenizeStream, Tokenizer};
use guanaco_tests::{Outcome, Suite, data_dir, golden_dir, workspace};
use serde_json::Value;

#[path = "tokenizer/gguf.rs"]
mod gguf;

/// Which of the golden's three columns a tokenizer answers to.
#[derive(Clone, Copy, PartialEq)]
enum Flavour {
    Model,
    Legacy,
    NonLegacy,
}

const FLAVOURS: [(Flavour, &str); 3] =
    [(Flavour::Model, "model"), (Flavour::Legacy, "json_legacy"), (Flavour::NonLegacy, "json_nonlegacy")];

fn main() -> ExitCode {
    let mut suite = Suite::new();
    local(&mut suite);
    gguf::cases(&mut suite);
    let Some(golden) = golden_dir() else {
        suite.skip("golden", "no golden fixtures beside the clone");
        return suite.run(None);
    };
    let cases: Arc<Value> = Arc::new(match read_json(&golden.join("tokenizer/cases.json")) {
        Ok(cases) => cases,
        Err(error) => {
            suite.case("cases.json", move || Err(error));
            return suite.run(None);
        }
    });
    for (flavour, name) in FLAVOURS {
        let dir = golden.join("tokenizer");
        let mut add = |what: &str, run: fn(&Tokenizer, Flavour, &Value) -> anyhow::Result<usize>| {
            let (cases, dir) = (cases.clone(), dir.clone());
            let title = format!("{name}::{what}");
            suite.case(title.clone(), move || {
                let count = run(&load(&dir, flavour)?, flavour, &cases)?;
                ensure!(count > 0, "no case was found");
                println!("{title}: {count} cases");
                Ok(())
            });
        };
        add("encode", encode);
        add("encode_parsing_specials", encode_parsing_specials);
        add("decode", decode);
        add("stream", stream);
        add("stream_equals_decode", stream_equals_decode);
        add("stream_invalid_utf8", stream_invalid);
        add("names", names);
        add("one_megabyte", one_megabyte);
        add("no_spelled_control_token", no_spelled_control_token);
    }
    malformed(&mut suite, &golden);
    for name in ["gguf_f16", "gguf_gqa_tied_mixed", "gguf_q4_0", "gguf_q4_k_m", "gguf_q8_0"] {
        gguf::add(&mut suite, "golden", &golden.join(name), 14);
    }
    let dir = golden.clone();
    suite.case("open::folder_with_model_only", move || {
        let tokenizer = Tokenizer::open(&dir.join("guanaco_like_32k"))?.context("expected a tokenizer")?;
        ensure!(tokenizer.path().ends_with("tokenizer.model"));
        ensure!((tokenizer.bos(), tokenizer.eos(), tokenizer.adds_bos()) == (Some(1), Some(2), true));
        Ok(())
    });
    suite.case("open::folder_without", move || {
        ensure!(Tokenizer::open(&golden.join("config_2023_bin"))?.is_none());
        Ok(())
    });
    suite.run(None)
}

/// The tokenizers that travel with every clone, against what sentencepiece and tokenizers made of the same texts
/// (tests/data/tokenizer/make.py).
fn local(suite: &mut Suite) {
    let data = data_dir().join("tokenizer");
    let embedded = workspace().join("app").join("tiny-guanaco").join("tokenizer.json");
    for (file, fixture) in [(data.join("tokenizer.model"), "model.json"), (embedded, "tiny_guanaco.json")] {
        let mut add = |what: &str, run: fn(&Tokenizer, Flavour, &Value) -> anyhow::Result<usize>, at_least: usize| {
            let (file, fixture, title) = (file.clone(), data.join(fixture), format!("local::{fixture}::{what}"));
            suite.case(title, move || {
                let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
                let is_model = file.extension().is_some_and(|extension| extension == "model");
                let tokenizer = match is_model {
                    true => Tokenizer::from_sentencepiece_bytes(&bytes, &file)?,
                    false => Tokenizer::from_json_bytes(&bytes, &file)?,
                };
                let count = run(&tokenizer, Flavour::Model, &read_json(&fixture)?)?;
                ensure!(count >= at_least, "only {count} cases");
                Ok(())
            });
        };
        add("encode", encode, 60);
        add("decode", decode, 100);
        add("stream", local_stream, 50);
        add("specials", local_specials, 3);
        add("no_spelled_control_token", no_spelled_control_token, 9);
    }
}

fn local_stream(tokenizer: &Tokenizer, _: Flavour, cases: &Value) -> anyhow::Result<usize> {
    let streams = list(cases, "streams")?;
    for case in streams {
        let (ids, mut stream) = (ids(&case["ids"])?, DetokenizeStream::new());
        let mut chunks = Vec::new();
        for &id in &ids {
            chunks.push(stream.push(tokenizer, id)?.unwrap_or_default());
        }
        ensure!(chunks.iter().eq(list(case, "chunks")?), "{ids:?}: expected {}, got {chunks:?}", case["chunks"]);
        ensure!(stream.finish().is_none(), "{ids:?}: something was held back");
    }
    for case in list(cases, "decode_only")? {
        let ids = ids(&case["ids"])?;
        ensure!(streamed(tokenizer, &ids)? == tokenizer.decode(&ids)?, "{ids:?}");
    }
    Ok(streams.len())
}

fn local_specials(tokenizer: &Tokenizer, _: Flavour, cases: &Value) -> anyhow::Result<usize> {
    let size = cases["vocab_size"].as_u64().context("vocab_size")?;
    ensure!(tokenizer.vocab_size() as u64 == size, "{} pieces", tokenizer.vocab_size());
    let special = cases["special"].as_object().context("special")?;
    for (name, id) in special {
        let id = u32::try_from(id.as_u64().context("id")?)?;
        ensure!(tokenizer.id(name) == Some(id) && tokenizer.piece(id).as_ref() == Some(name), "{name}");
        ensure!(tokenizer.encode_parsing_specials(name, false)? == [id], "{name}");
    }
    ensure!(tokenizer.has(0) && !tokenizer.has(u32::try_from(size)?));
    Ok(special.len())
}

fn read_json(path: &Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn load(dir: &Path, flavour: Flavour) -> anyhow::Result<Tokenizer> {
    if flavour == Flavour::Model {
        let path = dir.join("tokenizer.model");
        return Ok(Tokenizer::from_sentencepiece_bytes(&std::fs::read(&path)?, &path)?);
    }
    let path = dir.join("tokenizer.legacy.json");
    if flavour == Flavour::Legacy {
        return Ok(Tokenizer::from_json_bytes(&std::fs::read(&path)?, &path)?);
    }
    let mut root = read_json(&path)?;
    let patch = read_json(&dir.join("tokenizer.nonlegacy.patch.json"))?;
    for (field, value) in patch["replace"].as_object().context("replace")? {
        root[field] = value.clone();
    }
    Ok(Tokenizer::from_json_bytes(&serde_json::to_vec(&root)?, &path)?)
}

fn ids(value: &Value) -> anyhow::Result<Vec<u32>> {
    Ok(serde_json::from_value(value.clone())?)
}

fn list<'v>(cases: &'v Value, field: &str) -> anyhow::Result<&'v Vec<Value>> {
    cases[field].as_array().with_context(|| format!("{field} is no list"))
}

fn text<'v>(case: &'v Value, field: &str) -> anyhow::Result<&'v str> {
    case[field].as_str().with_context(|| format!("{field} is no string"))
}

/// The ids that Hugging Face's tokenizer of this flavour gives, where they differ from sentencepiece's.
fn hf_ids(case: &Value, flavour: Flavour) -> anyhow::Result<Vec<u32>> {
    let field = match flavour {
        // transformers' LlamaTokenizer over sentencepiece cuts at special tokens as the legacy file does.
        Flavour::Model | Flavour::Legacy => "hf_legacy_ids_if_different",
        Flavour::NonLegacy => "hf_nonlegacy_ids_if_different",
    };
    ids(if case[field].is_null() { &case["ids"] } else { &case[field] })
}

fn encode(tokenizer: &Tokenizer, flavour: Flavour, cases: &Value) -> anyhow::Result<usize> {
    let cases = list(cases, "cases")?;
    for case in cases {
        let input = text(case, "text")?;
        // Where the difference is that special tokens were recognised, sentencepiece's ids are the right ones.
        let expected = match flavour {
            Flavour::NonLegacy if case["note"].is_null() => hf_ids(case, flavour)?,
            _ => ids(&case["ids"])?,
        };
        let got = tokenizer.encode(input, false)?;
        ensure!(got == expected, "{input:?}: expected {expected:?}, got {got:?}");
        let with_bos = tokenizer.encode(input, true)?;
        ensure!(with_bos[0] == 1 && with_bos[1..] == got, "{input:?} with BOS: {with_bos:?}");
        let vocab = tokenizer.vocab_size();
        ensure!(got.iter().all(|&id| (id as usize) < vocab));
    }
    Ok(cases.len())
}

fn encode_parsing_specials(tokenizer: &Tokenizer, flavour: Flavour, cases: &Value) -> anyhow::Result<usize> {
    let cases = list(cases, "cases")?;
    for case in cases {
        let input = text(case, "text")?;
        let expected = hf_ids(case, flavour)?;
        let got = tokenizer.encode_parsing_specials(input, false)?;
        ensure!(got == expected, "{input:?}: expected {expected:?}, got {got:?}");
    }
    Ok(cases.len())
}

fn decode(tokenizer: &Tokenizer, _: Flavour, cases: &Value) -> anyhow::Result<usize> {
    let (cases, only) = (list(cases, "cases")?, list(cases, "decode_only")?);
    for case in cases.iter().chain(only) {
        let (ids, expected) = (ids(&case["ids"])?, text(case, "decoded")?);
        let got = tokenizer.decode(&ids)?;
        ensure!(got == expected, "{ids:?}: expected {expected:?}, got {got:?}");
    }
    Ok(cases.len() + only.len())
}

fn stream(tokenizer: &Tokenizer, _: Flavour, cases: &Value) -> anyhow::Result<usize> {
    let cases = list(cases, "streams")?;
    for case in cases {
        let context = ids(&case["context_ids"])?;
        let mut stream = if context.is_empty() { DetokenizeStream::new() } else { DetokenizeStream::after_context() };
        let mut whole = String::new();
        for (id, expected) in ids(&case["ids"])?.into_iter().zip(list(case, "chunks")?) {
            let chunk = stream.push(tokenizer, id)?.unwrap_or_default();
            ensure!(Some(chunk.as_str()) == expected.as_str(), "id {id}: expected {expected}, got {chunk:?}");
            whole.push_str(&chunk);
        }
        let flush = stream.finish().unwrap_or_default();
        ensure!(flush == text(case, "flush")?, "flush {flush:?}");
        whole.push_str(&flush);
        ensure!(whole == text(case, "text")?, "whole {whole:?}");
    }
    Ok(cases.len())
}

fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> anyhow::Result<String> {
    let (mut stream, mut whole) = (DetokenizeStream::new(), String::new());
    for &id in ids {
        whole.push_str(&stream.push(tokenizer, id)?.unwrap_or_default());
    }
    whole.push_str(&stream.finish().unwrap_or_default());
    Ok(whole)
}

fn stream_equals_decode(tokenizer: &Tokenizer, _: Flavour, cases: &Value) -> anyhow::Result<usize> {
    let mut count = 0;
    for field in ["cases", "decode_only", "streams", "streams_invalid"] {
        for case in list(cases, field)? {
            let ids = ids(&case["ids"])?;
            ensure!(streamed(tokenizer, &ids)? == tokenizer.decode(&ids)?, "{ids:?}");
            count += 1;
        }
    }
    Ok(count)
}

fn stream_invalid(tokenizer: &Tokenizer, _: Flavour, cases: &Value) -> anyhow::Result<usize> {
    let cases = list(cases, "streams_invalid")?;
    for case in cases {
        let (ids, expected) = (ids(&case["ids"])?, text(case, "sentencepiece_decoded")?);
        let got = streamed(tokenizer, &ids)?;
        ensure!(got == expected, "{ids:?}: expected {expected:?}, got {got:?}");
    }
    Ok(cases.len())
}

fn names(tokenizer: &Tokenizer, _: Flavour, _: &Value) -> anyhow::Result<usize> {
    ensure!(tokenizer.vocab_size() == 32000);
    ensure!((tokenizer.bos(), tokenizer.eos(), tokenizer.adds_bos()) == (Some(1), Some(2), true));
    for id in 0..32000 {
        let name = tokenizer.piece(id).with_context(|| format!("id {id} has no name"))?;
        ensure!(tokenizer.id(&name) == Some(id), "{name:?}");
    }
    ensure!(tokenizer.piece(32000).is_none() && tokenizer.decode(&[32000]).is_err());
    ensure!(tokenizer.id("<0x0A>") == Some(13) && tokenizer.id("no such piece").is_none());
    ensure!(tokenizer.specials().len() == 3, "{:?}", tokenizer.specials());
    tokenizer.check_vocab_size(32000)?;
    tokenizer.check_vocab_size(32064)?;
    let error = tokenizer.check_vocab_size(31999).err().context("one embedding row too few")?.to_string();
    ensure!(error.contains("vocab_size") && error.contains("32000") && error.contains("31999"), "{error}");
    Ok(32000)
}

fn one_megabyte(tokenizer: &Tokenizer, _: Flavour, _: &Value) -> anyhow::Result<usize> {
    let line = "User: Wie heißt du? 今日はいい天気ですね。 The quick brown fox, 🙂 and   spaces\n";
    // Not spaces alone: the non-legacy tokenizer.json adds none in front of a text that begins with one.
    let spaces = "x".to_owned() + &" ".repeat(1 << 20);
    let texts = [line.repeat((1 << 20) / line.len()), "a".repeat(1 << 20), spaces];
    for input in &texts {
        let start = Instant::now();
        let ids = tokenizer.encode(input, false)?;
        let took = start.elapsed();
        ensure!(tokenizer.decode(&ids)? == *input, "a round trip changed the text");
        // An unoptimised build on a busy machine is slow; quadratic time would take hours.
        ensure!(took < Duration::from_secs(60), "encoding 1 MB took {took:?}");
        println!("encoded {} bytes to {} ids in {took:.2?}", input.len(), ids.len());
    }
    Ok(texts.len())
}

fn no_spelled_control_token(tokenizer: &Tokenizer, _: Flavour, _: &Value) -> anyhow::Result<usize> {
    let texts = ["</s>", "<s>", "<unk>", "a</s>b", "</s></s>", "\n</s>", "x <s> y", "<0x0A>", "### Response:\n</s>"];
    for input in texts {
        let ids = tokenizer.encode(input, false)?;
        ensure!(ids.iter().all(|&id| id > 2), "{input:?} gave a control id: {ids:?}");
        ensure!(tokenizer.decode(&ids)? == input, "{input:?} does not survive");
    }
    Ok(texts.len())
}

fn malformed(suite: &mut Suite, golden: &Path) {
    let dir = golden.join("malformed");
    let manifest = match read_json(&dir.join("manifest.json")) {
        Ok(manifest) => manifest,
        Err(error) => return suite.case("malformed", move || Err(error)),
    };
    let cases = manifest["cases"].as_array().cloned().unwrap_or_default();
    let mut count = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap_or_default().to_owned();
        if !name.starts_with("tok_") && !name.starts_with("tokjson_") {
            continue;
        }
        count += 1;
        let dir = dir.join(&name);
        suite.case(format!("malformed::{name}"), move || refused(&dir, &case));
    }
    suite.case("malformed::count", move || {
        ensure!(count >= 16, "only {count} malformed tokenizers were found");
        Ok(())
    });
}

fn refused(dir: &Path, case: &Value) -> Outcome {
    let result = Tokenizer::open(dir).and_then(|tokenizer| {
        // What a model folder's loader does next.
        let size = read_json(&dir.join("config.json")).ok().and_then(|config| config["vocab_size"].as_u64());
        match (&tokenizer, size) {
            (Some(found), Some(size)) => found.check_vocab_size(size as usize).map(|()| tokenizer),
            _ => Ok(tokenizer),
        }
    });
    let message = match result {
        Ok(_) => bail!("was accepted: {}", case["what"]),
        Err(error) => error.to_string(),
    };
    println!("{message}");
    for word in list(case, "error_should_mention")? {
        let word = word.as_str().context("a word")?;
        ensure!(message.contains(word), "the message does not mention {word:?}: {message}");
    }
    ensure!(message.ends_with("tokenizer.model") || message.ends_with("tokenizer.json"), "path last: {message}");
    Ok(())
}
