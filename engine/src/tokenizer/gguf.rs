//! The tokenizer inside of a GGUF file.
//!
//! `tokenizer.ggml.model` is `llama` for a sentencepiece model (pieces, scores and kinds, as in `tokenizer.model`), and `gpt2`
//! for byte-level BPE (Llama 3's), cut by the rules that `tokenizer.ggml.pre` names, which goes through the same library as a `tokenizer.json`. The keys are described at
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer>.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::Tokenizer;
use super::bpe::Normalizer;
use super::pre::{self, Rule};
use super::sentencepiece::{Kind, RawPiece, SentencePiece};
use crate::error::{Error, Result};
use crate::file::Metadata;

/// Twice the largest vocabulary known, and its merges.
const MAX_TOKENS: usize = 1 << 19;
const MAX_MERGES: usize = 1 << 20;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// The tokenizer that `metadata` holds; None when it says that there is none.
pub(super) fn read(metadata: Metadata<'_>) -> Result<Option<Tokenizer>> {
    match metadata.text(MODEL)? {
        None | Some("none" | "no_vocab") => Ok(None),
        Some("llama") => sentencepiece(metadata).map(Some),
        Some("gpt2") => byte_level(metadata).map(Some),
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            Err(metadata
                .error(MODEL, format!("{other:?} is not supported: expected llama or gpt2, as LLaMA files have")))
        }
    }
}

fn tokens<'a>(metadata: Metadata<'a>) -> Result<Vec<&'a str>> {
    metadata.texts(TOKENS, MAX_TOKENS)?.ok_or_else(|| metadata.error(TOKENS, "missing: the file names a tokenizer"))
}

/// The kinds of the tokens: llama.cpp's numbers are sentencepiece's.
fn kinds(metadata: Metadata<'_>, count: usize) -> Result<Vec<Kind>> {
    let Some(numbers) = metadata.wholes(KINDS, MAX_TOKENS)? else { return Ok(vec![Kind::Normal; count]) };
    same_count(metadata, KINDS, numbers.len(), count)?;
    let kind = |(id, number)| {
        Kind::new(number).ok_or_else(|| metadata.error(KINDS, format!("token {id}: type {number} does not exist")))
    };
    numbers.into_iter().enumerate().map(kind).collect()
}

fn same_count(metadata: Metadata<'_>, key: &str, got: usize, count: usize) -> Result<()> {
    if got == count {
        return Ok(());
    }
    Err(metadata.error(key, format!("expected {count} elements, as {TOKENS} has, got {got}")))
}

/// The token that `tokenizer.ggml.NAME_token_id` names, or `default`. One outside the vocabulary is none, as for the
/// configuration, which warns.
fn named(metadata: Metadata<'_>, name: &str, default: Option<u32>, count: usize) -> Result<Option<u32>> {
    let id = metadata.whole(&format!("tokenizer.ggml.{name}_token_id"))?.or(default.map(u64::from));
    Ok(id.and_then(|id| u32::try_from(id).ok()).filter(|id| (*id as usize) < count))
}

/// The pieces of a sentencepiece model, and how text is prepared for them.
fn pieces<'a>(metadata: Metadata<'a>) -> Result<(Vec<RawPiece<'a>>, Normalizer)> {
    let tokens = tokens(metadata)?;
    let count = tokens.len();
    let mut kinds = kinds(metadata, count)?;
    let scores = metadata.floats(SCORES, MAX_TOKENS)?;
    let scores = scores.ok_or_else(|| metadata.error(SCORES, "missing: merges have no order without it"))?;
    same_count(metadata, SCORES, scores.len(), count)?;
    let unknown = named(metadata, "unknown", Some(0), count)?;
    if let Some(unknown) = unknown.filter(|_| !kinds.contains(&Kind::Unknown)) {
        kinds[unknown as usize] = Kind::Unknown;
    }
    let normalizer = Normalizer {
        dummy_prefix: metadata.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        remove_extra_whitespaces: metadata.flag("tokenizer.ggml.remove_extra_whitespaces")?.unwrap_or(false),
        escape_whitespaces: true,
    };
    let raw = tokens.into_iter().zip(scores).zip(kinds).map(|((text, score), kind)| (text, score, kind)).collect();
    Ok((raw, normalizer))
}

fn sentencepiece(metadata: Metadata<'_>) -> Result<Tokenizer> {
    let (raw, normalizer) = pieces(metadata)?;
    let count = raw.len();
    let model = SentencePiece::from_pieces(raw, normalizer).map_err(|detail| metadata.error(TOKENS, detail))?;
    let mut tokenizer = Tokenizer::from_sentencepiece(model, metadata.path());
    // Defaults as llama.cpp has them for this kind of tokenizer.
    tokenizer.bos = named(metadata, "bos", Some(1), count)?;
    tokenizer.eos = named(metadata, "eos", Some(2), count)?;
    adds_bos(&mut tokenizer, metadata, true)?;
    Ok(tokenizer)
}

/// The tokenizer that `metadata` holds as the files that a Hugging Face folder has: their names and bytes.
pub(super) fn side_files(metadata: Metadata<'_>) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let Some(tokenizer) = read(metadata)? else { return Ok(Vec::new()) };
    let name = |id: Option<u32>| id.and_then(|id| tokenizer.piece(id));
    let mut config = json!({
        "bos_token": name(tokenizer.bos), "eos_token": name(tokenizer.eos), "add_bos_token": tokenizer.adds_bos,
    });
    let vocabulary = if metadata.text(MODEL)? == Some("llama") {
        let (raw, normalizer) = pieces(metadata)?;
        config["tokenizer_class"] = "LlamaTokenizer".into();
        ("tokenizer.model", super::sentencepiece::to_bytes(&raw, normalizer, [tokenizer.bos, tokenizer.eos]))
    } else {
        config["tokenizer_class"] = "PreTrainedTokenizerFast".into();
        ("tokenizer.json", byte_level_json(metadata)?)
    };
    if let Some(template) = metadata.text("tokenizer.chat_template")? {
        config["chat_template"] = template.into();
    }
    Ok(vec![vocabulary, ("tokenizer_config.json", format!("{config:#}\n").into_bytes())])
}

/// True when BOS is put in front, as the file says; without a word, `default`.
fn adds_bos(tokenizer: &mut Tokenizer, metadata: Metadata<'_>, default: bool) -> Result<()> {
    let adds_bos = metadata.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(default);
    tokenizer.adds_bos = adds_bos && tokenizer.bos.is_some();
    tokenizer.mark_ends();
    Ok(())
}

/// A `tokenizer.json` of byte-level BPE.
#[derive(Serialize)]
struct Json<'a> {
    added_tokens: Vec<Value>,
    pre_tokenizer: Value,
    decoder: Value,
    model: Model<'a>,
}

#[derive(Serialize)]
struct Model<'a> {
    r#type: &'static str,
    ignore_merges: bool,
    vocab: BTreeMap<&'a str, usize>,
    merges: Vec<&'a str>,
}

fn byte_level(metadata: Metadata<'_>) -> Result<Tokenizer> {
    let bytes = byte_level_json(metadata)?;
    let mut tokenizer = Tokenizer::from_json_bytes(&bytes, metadata.path()).map_err(|error| match error {
        Error::Format { detail, .. } => metadata.error(TOKENS, detail.trim_start_matches("tokenizer.json: ")),
        error => error,
    })?;
    let count = tokens(metadata)?.len();
    tokenizer.bos = named(metadata, "bos", None, count)?;
    tokenizer.eos = named(metadata, "eos", None, count)?;
    // As llama.cpp has it, and for Llama 3's vocabulary whatever the rule is called.
    let (rule, note) = rule(metadata)?;
    let is_llama3 = tokenizer.bos.and_then(|bos| tokenizer.piece(bos)).is_some_and(|name| name == "<|begin_of_text|>");
    adds_bos(&mut tokenizer, metadata, rule.ignores_merges || is_llama3)?;
    if let Some(note) = note {
        tracing::warn!("{note}; file: {}", metadata.path().display());
        tokenizer.notes.push(note);
    }
    Ok(tokenizer)
}

/// How text is cut, and what to say where that is a guess.
fn rule(metadata: Metadata<'_>) -> Result<(&'static Rule, Option<String>)> {
    pre::rule(metadata.text(PRE)?).map_err(|detail| metadata.error(PRE, detail))
}

/// The text of a `tokenizer.json` with the same tokens and merges.
fn byte_level_json(metadata: Metadata<'_>) -> Result<Vec<u8>> {
    let (rule, _) = rule(metadata)?;
    let tokens = tokens(metadata)?;
    let kinds = kinds(metadata, tokens.len())?;
    let merges = metadata.texts(MERGES, MAX_MERGES)?;
    let merges = merges.ok_or_else(|| metadata.error(MERGES, "missing: the file names a BPE tokenizer"))?;
    // What stands behind the last ordinary token was added to the vocabulary: as in Llama 3's own file, merging cannot spell
    // it.
    let is_ordinary = |kind: &Kind| matches!(kind, Kind::Normal | Kind::Byte);
    let base = kinds.iter().rposition(is_ordinary).map_or(0, |last| last + 1);
    let mut vocab = BTreeMap::new();
    for (id, token) in tokens.iter().enumerate().take(base) {
        if let Some(first) = vocab.insert(*token, id) {
            return Err(metadata.error(TOKENS, format!("tokens {first} and {id} are both {token:?}")));
        }
    }
    let added = tokens.iter().zip(&kinds).enumerate().filter(|(_, (_, kind))| !is_ordinary(kind));
    let added_tokens = added.map(|(id, (token, kind))| {
        json!({"id": id, "content": token, "special": *kind != Kind::UserDefined, "normalized": false, "single_word": false,
            "lstrip": false, "rstrip": false})
    });
    let json = Json {
        added_tokens: added_tokens.collect(),
        pre_tokenizer: rule.json(),
        decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        model: Model { r#type: "BPE", ignore_merges: rule.ignores_merges, vocab, merges },
    };
    serde_json::to_vec(&json).map_err(|error| metadata.error(TOKENS, error.to_string()))
}
