//! The tokenizers inside of GGUF files.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use guanaco_engine::file::Checkpoint;
use guanaco_engine::tokenizer::Tokenizer;
use guanaco_tests::gguf::{Gguf, Value};
use guanaco_tests::{Outcome, Suite, data_dir, model_in};

use super::{ids, list, read_json, streamed, text};

pub(super) fn cases(suite: &mut Suite) {
    add(suite, "local", &data_dir().join("gguf").join("blocks"), 11);
    suite.case("gguf::sentencepiece", sentencepiece);
    suite.case("gguf::byte-level BPE", byte_level);
    suite.case("gguf::refused", refused);
    suite.case("gguf::added tokens", added);
    suite.case("gguf::pre-tokenizers", pre_tokenizers);
}

/// The texts of a folder's `golden.json`.
pub(super) fn add(suite: &mut Suite, group: &str, dir: &Path, at_least: usize) {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (dir, title) = (dir.to_owned(), format!("gguf::{group}::{name}"));
    suite.case(title.clone(), move || {
        let tokenizer = Tokenizer::from_checkpoint(&Checkpoint::open(&model_in(&dir))?)?.context("no tokenizer")?;
        ensure!((tokenizer.bos(), tokenizer.eos(), tokenizer.adds_bos()) == (Some(1), Some(2), true));
        ensure!(tokenizer.path().extension().is_some_and(|extension| extension == "gguf"));
        let golden = read_json(&dir.join("golden.json"))?;
        let cases = list(&golden, "embedded_tokenizer_cases")?;
        ensure!(cases.len() >= at_least, "only {} cases", cases.len());
        for case in cases {
            let (input, expected) = (text(case, "text")?, ids(&case["ids"])?);
            // A user-defined piece is text where a user spelled it; the golden's ids have it whole.
            let got = match input.contains("<|x|>") {
                true => tokenizer.encode_parsing_specials(input, false)?,
                false => tokenizer.encode(input, false)?,
            };
            ensure!(got == expected, "{input:?}: expected {expected:?}, got {got:?}");
            // Without byte pieces an unknown character does not come back.
            if !got.contains(&0) {
                ensure!(tokenizer.decode(&got)? == input && streamed(&tokenizer, &got)? == input, "{input:?}");
            }
        }
        let twin = as_files(&Checkpoint::open(&model_in(&dir))?)?;
        for case in cases {
            let input = text(case, "text")?;
            ensure!(twin.encode(input, true)? == tokenizer.encode(input, true)?, "as files: {input:?}");
            let parsed = tokenizer.encode_parsing_specials(input, true)?;
            ensure!(twin.encode_parsing_specials(input, true)? == parsed, "as files, with specials: {input:?}");
        }
        println!("{title}: {} cases", cases.len());
        Ok(())
    });
}

fn open(file: &Gguf) -> anyhow::Result<Option<Tokenizer>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("model.gguf"), file.bytes())?;
    // What lies beside the file is not its own.
    std::fs::write(folder.path().join("tokenizer.json"), "{")?;
    Ok(Tokenizer::from_checkpoint(&Checkpoint::open(folder.path())?)?)
}

/// The tokenizer of a GGUF file, written as the files of a Hugging Face folder and read from there.
fn as_files(checkpoint: &Checkpoint) -> anyhow::Result<Tokenizer> {
    let folder = tempfile::tempdir()?;
    for (name, bytes) in Tokenizer::side_files(checkpoint)? {
        std::fs::write(folder.path().join(name), bytes)?;
    }
    Tokenizer::open(folder.path())?.context("no files were written")
}

/// As [`as_files`], of a file that the suite makes: the same ids for `inputs`.
fn same_as_files(file: &Gguf, inputs: &[&str]) -> Outcome {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("model.gguf"), file.bytes())?;
    let checkpoint = Checkpoint::open(folder.path())?;
    let (own, files) = (Tokenizer::from_checkpoint(&checkpoint)?.context("no tokenizer")?, as_files(&checkpoint)?);
    ensure!((own.bos(), own.eos(), own.adds_bos()) == (files.bos(), files.eos(), files.adds_bos()));
    for input in inputs {
        ensure!(own.encode(input, true)? == files.encode(input, true)?, "{input:?}");
    }
    Ok(())
}

fn texts(texts: &[&str]) -> Value {
    Value::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
}

/// Ten pieces, the unknown one not marked as such, as in files without `token_type`.
fn ten_pieces() -> Gguf {
    let mut file = Gguf::llama();
    file.set("tokenizer.ggml.model", "llama");
    file.set("tokenizer.ggml.tokens", texts(&["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁a", "<|end|>", "[PAD]"]));
    file.set("tokenizer.ggml.scores", Value::Floats(vec![0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -1.0, -2.0, 0.0, -10.0]));
    file.set("tokenizer.ggml.token_type", Value::Wholes(vec![2, 3, 3, 1, 1, 1, 1, 1, 3, 5]));
    file
}

fn sentencepiece() -> Outcome {
    let plain = open(&ten_pieces())?.context("no tokenizer")?;
    ensure!((plain.bos(), plain.eos(), plain.adds_bos()) == (Some(1), Some(2), true));
    ensure!(plain.encode("ab a</s>", true)? == [1, 3, 6, 7, 0], "{:?}", plain.encode("ab a</s>", true)?);
    ensure!(plain.encode_parsing_specials("ab<|end|>", false)? == [3, 6, 8]);
    ensure!(plain.decode(&[1, 3, 6, 7, 8, 2])? == "ab a");
    plain.check_vocab_size(10)?;
    let mut other = ten_pieces();
    other.set("tokenizer.ggml.add_space_prefix", Value::Bool(false));
    other.set("tokenizer.ggml.add_bos_token", Value::Bool(false));
    other.set("tokenizer.ggml.eos_token_id", Value::U32(8));
    // A piece of any kind may be BOS, and ids outside are none.
    other.set("tokenizer.ggml.bos_token_id", Value::U32(9));
    let other = open(&other)?.context("no tokenizer")?;
    ensure!((other.bos(), other.eos(), other.adds_bos()) == (Some(9), Some(8), false));
    ensure!(other.encode("ab a", false)? == [6, 7] && other.decode(&[7, 5])? == " ab");
    same_as_files(&ten_pieces(), &["", "ab a</s>", " b  a"])?;
    let mut bare = ten_pieces();
    bare.remove("tokenizer.ggml.token_type");
    bare.set("tokenizer.ggml.bos_token_id", Value::U32(u32::MAX));
    let bare = open(&bare)?.context("no tokenizer")?;
    ensure!(bare.bos().is_none() && !bare.adds_bos() && bare.encode("ac", false)? == [7, 0]);
    ensure!(open(&Gguf::llama())?.is_none(), "a file without a tokenizer");
    Ok(())
}

/// GPT-2's letters for the 256 bytes, some merges, and Llama 3's special tokens behind them.
fn llama3() -> Gguf {
    let (mut tokens, mut next) = (Vec::new(), 0x100);
    for byte in 0..=255_u8 {
        let itself = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let letter = if itself { u32::from(byte) } else { next };
        next += u32::from(!itself);
        tokens.extend(char::from_u32(letter).map(String::from));
    }
    let merges = ["h e", "l l", "he ll", "hell o", "Ġ hello", "1 2", "12 3", "123 4", "' s", "i t", "< |", "Ġ Ġ"];
    tokens.extend(merges.map(|merge| merge.replace(' ', "")));
    // Whole in the vocabulary without a merge: Llama 3 takes it as it stands.
    tokens.push("whole".to_owned());
    let base = tokens.len();
    tokens.extend(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "special"].map(str::to_owned));
    let kinds = (0..tokens.len()).map(|id| if id < base { 1 } else { 3 }).collect();
    let mut file = Gguf::llama();
    file.set("tokenizer.ggml.model", "gpt2");
    file.set("tokenizer.ggml.pre", "llama-bpe");
    file.set("tokenizer.ggml.tokens", Value::Texts(tokens));
    file.set("tokenizer.ggml.token_type", Value::Wholes(kinds));
    file.set("tokenizer.ggml.merges", texts(&merges));
    file.set("tokenizer.ggml.bos_token_id", Value::U32(base as u32));
    file.set("tokenizer.ggml.eos_token_id", Value::U32(base as u32 + 2));
    file
}

fn byte_level() -> Outcome {
    same_as_files(&llama3(), &["", "hello hello", "12341", "it's", "wholes", "a   b", "<|eot_id|>"])?;
    let tokenizer = open(&llama3())?.context("no tokenizer")?;
    let names = |text: &str| -> anyhow::Result<Vec<String>> {
        Ok(tokenizer.encode(text, false)?.iter().map(|id| tokenizer.piece(*id).unwrap_or_default()).collect())
    };
    let cases: [(&str, &[&str]); 9] = [
        ("", &[]),
        ("hello hello", &["hello", "Ġhello"]),
        // Digits go by threes, though a merge would take four.
        ("12341", &["123", "4", "1"]),
        ("it's", &["it", "'s"]),
        ("whole", &["whole"]),
        ("wholes", &["w", "h", "o", "l", "e", "s"]),
        ("a   b", &["a", "ĠĠ", "Ġ", "b"]),
        ("<|eot_id|>", &["<|", "e", "o", "t", "_", "i", "d", "|", ">"]),
        ("special", &["s", "p", "e", "c", "i", "a", "l"]),
    ];
    for (text, want) in cases {
        ensure!(names(text)? == want, "{text:?}: expected {want:?}, got {:?}", names(text)?);
    }
    for text in ["hello\n\n  你好 🙂", "naïve\t<|eot_id|> ' 's", "\u{1}\u{7f}"] {
        let ids = tokenizer.encode(text, true)?;
        ensure!(tokenizer.decode(&ids)? == text && streamed(&tokenizer, &ids)? == text, "{text:?}");
        ensure!(ids[0] == 269 && ids[1..].iter().all(|id| *id < 269), "{text:?} spelled a control id: {ids:?}");
    }
    ensure!((tokenizer.bos(), tokenizer.eos(), tokenizer.adds_bos()) == (Some(269), Some(271), true));
    ensure!(tokenizer.encode_parsing_specials("hello<|eot_id|>", false)?.last() == Some(&271));
    println!("{} cases", cases.len());
    Ok(())
}

fn refused() -> Outcome {
    type Case = (fn() -> Gguf, fn(&mut Gguf), &'static [&'static str]);
    let base: [Case; 12] = [
        (ten_pieces, |file| file.set("tokenizer.ggml.model", "rwkv"), &["tokenizer.ggml.model", "rwkv"]),
        (ten_pieces, |file| file.remove("tokenizer.ggml.tokens"), &["tokenizer.ggml.tokens", "missing"]),
        (ten_pieces, |file| file.remove("tokenizer.ggml.scores"), &["tokenizer.ggml.scores", "missing"]),
        (
            ten_pieces,
            |file| file.set("tokenizer.ggml.scores", Value::Floats(vec![0.0])),
            &["tokenizer.ggml.scores", "10"],
        ),
        (ten_pieces, |file| file.set("tokenizer.ggml.scores", Value::Floats(vec![f32::NAN; 10])), &["NaN"]),
        (ten_pieces, |file| file.set("tokenizer.ggml.token_type", Value::Wholes(vec![9; 10])), &["token_type", "9"]),
        (ten_pieces, |file| file.set("tokenizer.ggml.tokens", texts(&["a"; 10])), &["tokenizer.ggml.tokens", "\"a\""]),
        (ten_pieces, |file| file.set("tokenizer.ggml.add_bos_token", Value::U32(1)), &["add_bos_token", "UINT32"]),
        (llama3, |file| file.set("tokenizer.ggml.pre", "viking"), &["tokenizer.ggml.pre", "viking", "llama-bpe"]),
        (llama3, |file| file.set("tokenizer.ggml.pre", ""), &["tokenizer.ggml.pre", "llama-bpe"]),
        (llama3, |file| file.remove("tokenizer.ggml.merges"), &["tokenizer.ggml.merges", "missing"]),
        (llama3, |file| file.set("tokenizer.ggml.merges", texts(&["h o"])), &["tokenizer.ggml.tokens", "\"ho\""]),
    ];
    for (make, change, words) in &base {
        let mut file = make();
        change(&mut file);
        let message = match open(&file) {
            Ok(_) => bail!("accepted, expected {words:?}"),
            Err(error) => error.to_string(),
        };
        ensure!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
        ensure!(message.ends_with("model.gguf") && !message.contains("tokenizer.json"), "{message}");
    }
    println!("{} cases", base.len());
    Ok(())
}

/// Added tokens as llama.cpp's conversions write them (type 4, score -1000) cut the text; sentencepiece's own stay within it.
fn added() -> Outcome {
    for (score, after) in [(-1000.0, [3, 5]), (0.0, [5, u32::MAX])] {
        let mut file = ten_pieces();
        file.set(
            "tokenizer.ggml.scores",
            Value::Floats(vec![0.0, 0.0, 0.0, -9.0, -9.0, -9.0, -1.0, -2.0, score, -10.0]),
        );
        file.set("tokenizer.ggml.token_type", Value::Wholes(vec![2, 3, 3, 1, 1, 1, 1, 1, 4, 5]));
        let tokenizer = open(&file)?.context("no tokenizer")?;
        let mut want = vec![3, 6, 8];
        want.extend(after.into_iter().filter(|id| *id != u32::MAX));
        let got = tokenizer.encode_parsing_specials("ab<|end|>b", false)?;
        ensure!(got == want, "score {score}: expected {want:?}, got {got:?}");
        ensure!(tokenizer.specials().iter().any(|(name, id)| name == "<|end|>" && *id == 8), "not listed");
        ensure!(!tokenizer.encode("ab<|end|>b", false)?.contains(&8));
        ensure!(
            tokenizer
                .encode_untrusted("ab<|end|>b<|end|>", std::slice::from_ref(&(0..9)), false)?
                .iter()
                .filter(|id| **id == 8)
                .count()
                == 1
        );
        same_as_files(&file, &["ab<|end|>b", " b  a"])?;
    }
    Ok(())
}

/// Every name cuts as the `tokenizer.json` that it was made from: the stretches of letters and digits without merges.
fn pre_tokenizers() -> Outcome {
    let ids = |pre: Option<&str>, text: &str| -> anyhow::Result<Vec<String>> {
        let mut file = llama3();
        match pre {
            Some(pre) => file.set("tokenizer.ggml.pre", pre),
            None => file.remove("tokenizer.ggml.pre"),
        }
        let tokenizer = open(&file)?.context("no tokenizer")?;
        ensure!(
            tokenizer.notes().is_empty() == !matches!(pre, None | Some("default")),
            "{pre:?}: {:?}",
            tokenizer.notes()
        );
        let texts = [
            "naïve café 12345",
            "Привет, мир!",
            "你好，世界",
            "こんにちは",
            "안녕하세요",
            "नमस्ते",
            "สวัสดี",
            "שלום",
            "مرحبا",
            "Γειά",
        ];
        for text in texts {
            let ids = tokenizer.encode(text, false)?;
            ensure!(tokenizer.decode(&ids)? == text, "{pre:?}: {text:?} does not survive");
        }
        Ok(tokenizer.encode(text, false)?.iter().map(|id| tokenizer.piece(*id).unwrap_or_default()).collect())
    };
    let by_threes = ["123", "4", "1"];
    for name in [
        "llama-bpe",
        "llama3",
        "llama-v3",
        "smaug-bpe",
        "falcon3",
        "pixtral",
        "lfm2",
        "dbrx",
        "deepseek-v3",
        "falcon",
        "gpt-4o",
    ] {
        ensure!(ids(Some(name), "12341")? == by_threes, "{name}: {:?}", ids(Some(name), "12341")?);
    }
    for name in [
        "smollm",
        "starcoder",
        "refact",
        "command-r",
        "qwen2",
        "stablelm2",
        "deepseek-r1-qwen",
        "tekken",
        "deepseek-llm",
        "deepseek-coder",
    ] {
        ensure!(ids(Some(name), "12341")? == ["1", "2", "3", "4", "1"], "{name}: {:?}", ids(Some(name), "12341")?);
    }
    for name in ["gpt-2", "phi-2", "jina-v2-code"] {
        ensure!(ids(Some(name), "it's")? == ["it", "'s"], "{name}");
    }
    for name in [None, Some("default")] {
        ensure!(ids(name, "12341")? == by_threes, "{name:?}: {:?}", ids(name, "12341")?);
    }
    Ok(())
}
