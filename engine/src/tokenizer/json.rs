//! `tokenizer.json`, encoded by the `tokenizers` crate and decoded by this crate's own decoder.
//!
//! The file is checked before the crate sees it: the crate indexes out of bounds on a merge whose result is no token, gives
//! an added token another id than the file says, and obeys a stored truncation length.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;
use tokenizers::{Model as _, NormalizedString, Normalizer as _, OffsetType, PreTokenizedString, PreTokenizer as _};

use super::growth;
use super::piece::{Piece, Pieces, byte_of};
use super::quiet::quietly;
use super::special::{Finder, Token, looks_like_marker, overlaps};
use crate::error::{Error, Result};

/// The most that a file may hold by [`weight`]: twice a vocabulary of 262,144 pieces with 515,000 merges, the largest known.
const MAX_WEIGHT: usize = 4 << 20;

/// A tokenizer.json, checked and loaded.
pub(super) struct Json {
    library: tokenizers::Tokenizer,
    /// Added tokens as they are spelled in the text itself.
    raw: Finder,
    /// Added tokens (`normalized`) as they are spelled in the text that the normalizer makes.
    normalized: Finder,
    pub(super) pieces: Pieces,
    pub(super) ids: HashMap<String, u32>,
    pub(super) added: Vec<(String, u32)>,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) adds_bos: bool,
    /// One more than the largest id of the model's own vocabulary.
    pub(super) base_size: usize,
}

impl Json {
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let fail = |detail: String| Error::format(path, format!("tokenizer.json: {detail}"));
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let weight = weight(bytes);
        if weight > MAX_WEIGHT {
            return Err(fail(format!(
                "{weight} values (an object counts for 16), expected at most {MAX_WEIGHT}: is it a tokenizer?"
            )));
        }
        let root: Value = serde_json::from_slice(bytes).map_err(|error| fail(format!("not valid JSON: {error}")))?;
        let vocabulary = Vocabulary::read(&root).map_err(&fail)?;
        growth::check(&root).map_err(&fail)?;
        let pieces = vocabulary.pieces(&root).map_err(&fail)?;
        drop(root);
        let loaded = quietly(|| tokenizers::Tokenizer::from_bytes(bytes));
        let mut library = match loaded {
            Ok(Ok(tokenizer)) => tokenizer,
            Ok(Err(error)) => return Err(fail(error.to_string())),
            Err(_) => return Err(fail("the tokenizers library failed on this file".into())),
        };
        // A length that was set for training must not cut prompts.
        library.with_truncation(None).map_err(|error| fail(error.to_string()))?;
        library.with_padding(None);
        for added in &vocabulary.added {
            let got = library.token_to_id(&added.content);
            if got != Some(added.id) {
                return Err(fail(format!(
                    "added token {:?}: expected id {}, but ids are given in order and it would get {got:?}",
                    added.content, added.id
                )));
            }
        }
        let mut ids = vocabulary.ids;
        ids.extend(vocabulary.added.iter().map(|added| (added.content.clone(), added.id)));
        let (bare, framed) = (run(&library, "a", false)?, run(&library, "a", true)?);
        let adds_bos = framed.len() > bare.len() && framed.first() != bare.first();
        let named = |names: &[&str]| names.iter().find_map(|name| ids.get(*name).copied());
        let bos = if adds_bos { framed.first().copied() } else { named(&["<s>", "<|begin_of_text|>"]) };
        let eos = named(&["</s>", "<|end_of_text|>", "<|endoftext|>"]);
        let [raw, normalized] = finders(&library).map_err(&fail)?;
        let is_marker = |added: &Added| added.special || looks_like_marker(&added.content);
        let added = vocabulary.added.into_iter().filter(is_marker).map(|added| (added.content, added.id)).collect();
        let base_size = vocabulary.base_size;
        Ok(Self { library, raw, normalized, pieces, ids, added, bos, eos, adds_bos, base_size })
    }

    /// Makes the added token of `id` a marker, where there is one.
    pub(super) fn mark(&mut self, id: u32) {
        self.raw.mark(id);
        self.normalized.mark(id);
    }

    /// True when `id` is an added token.
    pub(super) fn is_added(&self, id: u32) -> bool {
        self.raw.tokens().iter().chain(self.normalized.tokens()).any(|token| token.id == id)
    }

    /// The ids of `text`. Markers that touch an `untrusted` range are text.
    pub(super) fn encode(&self, text: &str, untrusted: &[Range<usize>]) -> Result<Vec<u32>> {
        match quietly(|| self.steps(text, untrusted)) {
            Ok(Ok(ids)) => Ok(ids),
            Ok(Err(error)) => Err(cannot_encode(error)),
            Err(_) => Err(failed()),
        }
    }

    /// The library's own steps, with this crate's search for added tokens in place of its own: that one knows no untrusted text.
    fn steps(&self, text: &str, untrusted: &[Range<usize>]) -> tokenizers::Result<Vec<u32>> {
        let mut parts = PreTokenizedString::from(text);
        parts.split(|_, part| split(&self.raw, &part, untrusted))?;
        let normalizer = self.library.get_normalizer();
        parts.split(|_, mut part| {
            if let Some(normalizer) = normalizer {
                normalizer.normalize(&mut part)?;
            }
            split(&self.normalized, &part, untrusted)
        })?;
        if let Some(pre_tokenizer) = self.library.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut parts)?;
        }
        self.library.get_model().tokenize_in_pretokenized(&mut parts, None)?;
        Ok(parts.into_encoding(None, 0, OffsetType::None)?.get_ids().to_vec())
    }
}

/// A stretch of text, and its ids where it is an added token.
type Stretch = (NormalizedString, Option<Vec<tokenizers::Token>>);

/// Cuts `part` at the added tokens in it.
fn split(finder: &Finder, part: &NormalizedString, untrusted: &[Range<usize>]) -> tokenizers::Result<Vec<Stretch>> {
    let (shift, _) = part.offsets_original();
    // Offsets of what the normalizer made lead back to the text: compatibility forms of `<` spell no token either.
    let is_untrusted = |range: Range<usize>| {
        let original = part.convert_offsets(tokenizers::normalizer::Range::Normalized(range));
        original.is_none_or(|range| overlaps(untrusted, &(range.start + shift..range.end + shift)))
    };
    let trusted = |_| false;
    let found = finder.find(part.get(), if untrusted.is_empty() { &trusted } else { &is_untrusted });
    let slice = |range: Range<usize>| {
        let slice = part.slice(tokenizers::normalizer::Range::Normalized(range));
        slice.ok_or_else(|| tokenizers::Error::from("an added token cuts a character"))
    };
    let (mut stretches, mut at) = (Vec::with_capacity(2 * found.len() + 1), 0);
    for (id, range) in found {
        if at < range.start {
            stretches.push((slice(at..range.start)?, None));
        }
        at = range.end;
        let slice = slice(range)?;
        let token = tokenizers::Token::new(id, slice.get().to_owned(), (0, slice.get().len()));
        stretches.push((slice, Some(vec![token])));
    }
    let end = part.get().len();
    if at < end || end == 0 {
        stretches.push((slice(at..end)?, None));
    }
    Ok(stretches)
}

/// The added tokens as they are searched for: in the text, and in what the normalizer makes of it.
fn finders(library: &tokenizers::Tokenizer) -> Result<[Finder; 2], String> {
    let mut added: Vec<_> = library.get_added_tokens_decoder().into_iter().collect();
    added.sort_by_key(|(id, _)| *id);
    let (mut raw, mut normalized) = (Vec::new(), Vec::new());
    for (id, token) in added {
        let is_marker = token.special || looks_like_marker(&token.content);
        let mut spelling = token.content;
        if let (true, Some(normalizer)) = (token.normalized, library.get_normalizer()) {
            let mut text = NormalizedString::from(spelling.as_str());
            match quietly(|| normalizer.normalize(&mut text)) {
                Ok(Ok(())) => spelling = text.get().to_owned(),
                _ => return Err(format!("added token {spelling:?}: the normalizer fails on it")),
            }
        }
        let list = if token.normalized { &mut normalized } else { &mut raw };
        let (single_word, lstrip, rstrip) = (token.single_word, token.lstrip, token.rstrip);
        list.push(Token { spelling, id, is_marker, single_word, lstrip, rstrip });
    }
    Ok([Finder::new(raw)?, Finder::new(normalized)?])
}

fn cannot_encode(error: tokenizers::Error) -> Error {
    Error::Tokenizer(format!("cannot encode: {error}"))
}

fn failed() -> Error {
    Error::Tokenizer("cannot encode: the tokenizers library failed on this text".into())
}

fn run(tokenizer: &tokenizers::Tokenizer, text: &str, framed: bool) -> Result<Vec<u32>> {
    match quietly(|| tokenizer.encode_fast(text, framed)) {
        Ok(Ok(encoding)) => Ok(encoding.get_ids().to_vec()),
        Ok(Err(error)) => Err(cannot_encode(error)),
        Err(_) => Err(failed()),
    }
}

/// How many values there are in JSON text, an object counted as 16, told before any is parsed: a file of tiny values takes a
/// hundred times its length in memory, and the crate keeps it twice while it loads.
fn weight(json: &[u8]) -> usize {
    let (mut weight, mut in_string, mut is_escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' if !in_string => weight += 1,
            b'{' if !in_string => weight += 16,
            _ => {}
        }
    }
    weight
}

struct Added {
    content: String,
    id: u32,
    special: bool,
}

/// The names and ids of the file, checked.
struct Vocabulary {
    ids: HashMap<String, u32>,
    added: Vec<Added>,
    unk: Option<u32>,
    size: usize,
    base_size: usize,
}

impl Vocabulary {
    fn read(root: &Value) -> Result<Self, String> {
        let model = root.get("model").and_then(Value::as_object).ok_or("field `model`: expected an object")?;
        let kind = match model.get("type").and_then(Value::as_str) {
            Some(kind) => kind,
            None if model.contains_key("merges") => "BPE",
            None => return Err("field `model.type` is missing; expected BPE or Unigram".into()),
        };
        let vocab = model.get("vocab").ok_or("field `model.vocab` is missing")?;
        let mut ids = HashMap::new();
        let unk = match kind {
            "BPE" => {
                let vocab = vocab.as_object().ok_or("field `model.vocab`: expected an object of token: id")?;
                for (token, id) in vocab {
                    ids.insert(token.clone(), id_of(id).ok_or_else(|| format!("token {token:?}: id {id} is no u32"))?);
                }
                check_merges(model, &ids)?;
                model.get("unk_token").and_then(Value::as_str).and_then(|name| ids.get(name).copied())
            }
            "Unigram" => {
                let vocab = vocab.as_array().ok_or("field `model.vocab`: expected an array of [token, score]")?;
                for (id, entry) in (0u32..).zip(vocab) {
                    let token = entry.get(0).and_then(Value::as_str);
                    let token = token.ok_or_else(|| format!("token {id}: expected [token, score], got {entry}"))?;
                    ids.insert(token.to_owned(), id);
                }
                model.get("unk_id").and_then(id_of)
            }
            other => return Err(format!("field `model.type`: expected BPE or Unigram, got {other}")),
        };
        if ids.is_empty() {
            return Err("field `model.vocab` is empty".into());
        }
        let mut added = Vec::new();
        let list = root.get("added_tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for token in list {
            let content = token.get("content").and_then(Value::as_str);
            let id = token.get("id").and_then(id_of);
            let (Some(content), Some(id)) = (content, id) else {
                return Err(format!("field `added_tokens`: expected a content and an id, got {token}"));
            };
            let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
            if !content.is_empty() {
                added.push(Added { content: content.to_owned(), id, special });
            }
        }
        let base_size = ids.values().max().map_or(0, |&id| id as usize + 1);
        let size = base_size.max(added.iter().map(|token| token.id as usize + 1).max().unwrap_or(0));
        // The decoding table is as long as the largest id: that must not be taken on the file's word.
        let names = ids.len() + added.len();
        let limit = 4 * names + 4096;
        if size > limit {
            return Err(format!(
                "the largest id is {}, but there are only {names} tokens; the file is damaged",
                size - 1
            ));
        }
        Ok(Self { ids, added, unk, size, base_size })
    }

    fn pieces(&self, root: &Value) -> Result<Pieces, String> {
        let mut style = Style::default();
        style.read(root.get("decoder").unwrap_or(&Value::Null))?;
        if !style.byte_level && !style.spaces {
            return Err(
                "field `decoder`: expected one that turns ▁ into spaces, or ByteLevel; this one does neither".into()
            );
        }
        let model_falls_back = root["model"]["byte_fallback"].as_bool().unwrap_or(false);
        let letters = byte_letters();
        let mut pieces = vec![Piece::Absent; self.size];
        let mut place = |id: u32, piece: Piece| pieces[id as usize] = piece;
        let mut seen = HashMap::with_capacity(self.ids.len());
        for (token, &id) in &self.ids {
            if let Some(other) = seen.insert(id, token) {
                return Err(format!("tokens {other:?} and {token:?} have the same id {id}"));
            }
            let byte = byte_of(token).filter(|_| style.byte_fallback || model_falls_back);
            place(
                id,
                match byte {
                    Some(byte) => Piece::Byte(byte),
                    None if style.byte_level => Piece::Bytes(bytes_of(token, &letters)),
                    None => Piece::Text(token.replace('▁', " ")),
                },
            );
        }
        for token in &self.added {
            place(
                token.id,
                match token.special {
                    true => Piece::Control,
                    false if style.byte_level => Piece::Text(token.content.clone()),
                    false => Piece::Text(token.content.replace('▁', " ")),
                },
            );
        }
        if let Some(unk) = self.unk.filter(|&id| (id as usize) < self.size) {
            place(unk, Piece::Unknown(" \u{2047} ".into()));
        }
        Ok(Pieces { pieces, strip_first_space: style.strip && !style.byte_level })
    }
}

fn id_of(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

fn check_merges(model: &serde_json::Map<String, Value>, ids: &HashMap<String, u32>) -> Result<(), String> {
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty()) {
            return Err(format!("field `model.{field}` is not supported; LLaMA tokenizers have none"));
        }
    }
    if model.get("dropout").and_then(Value::as_f64).is_some_and(|rate| rate > 0.0) {
        return Err("field `model.dropout` makes encoding random; set it to null".into());
    }
    let merges = model.get("merges").and_then(Value::as_array).ok_or("field `model.merges`: expected an array")?;
    let mut joined = String::new();
    for (rank, merge) in merges.iter().enumerate() {
        let pair = match merge {
            Value::String(text) => text.split_once(' ').filter(|(_, right)| !right.contains(' ')),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(left), Value::String(right)] => Some((left.as_str(), right.as_str())),
                _ => None,
            },
            _ => None,
        };
        let Some((left, right)) = pair else {
            return Err(format!("merge {rank}: expected \"a b\" or [\"a\", \"b\"], got {merge}"));
        };
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        for name in [left, right, joined.as_str()] {
            if !ids.contains_key(name) {
                return Err(format!("merge {rank} ({left:?} + {right:?}): {name:?} is not in the vocabulary"));
            }
        }
    }
    Ok(())
}

/// What the file's decoder does, as far as LLaMA's kin need it.
#[derive(Default)]
struct Style {
    spaces: bool,
    byte_fallback: bool,
    byte_level: bool,
    strip: bool,
}

impl Style {
    fn read(&mut self, decoder: &Value) -> Result<(), String> {
        let kind = decoder.get("type").and_then(Value::as_str).unwrap_or("null");
        match kind {
            "Sequence" => {
                let list = decoder.get("decoders").and_then(Value::as_array);
                list.ok_or("field `decoder.decoders`: expected an array")?
                    .iter()
                    .try_for_each(|inner| self.read(inner))?;
            }
            "Replace" if decoder["pattern"]["String"] == "▁" && decoder["content"] == " " => self.spaces = true,
            "ByteFallback" => self.byte_fallback = true,
            "Fuse" => {}
            "Strip" if decoder["content"] == " " && decoder["start"] == 1 && decoder["stop"] == 0 => self.strip = true,
            "Metaspace" if decoder["replacement"] == "▁" => {
                self.spaces = true;
                let never = decoder["prepend_scheme"] == "never" || decoder["add_prefix_space"] == false;
                self.strip = !never;
            }
            "ByteLevel" => self.byte_level = true,
            _ => {
                return Err(format!(
                    "field `decoder`: {decoder} is not supported; LLaMA's decoder, Metaspace and ByteLevel are"
                ));
            }
        }
        Ok(())
    }
}

/// GPT-2's letters for bytes: printable ones stand for themselves, the others for U+0100 on, in order.
/// Source: <https://github.com/openai/gpt-2/blob/master/src/encoder.py> (`bytes_to_unicode`).
fn byte_letters() -> HashMap<char, u8> {
    let mut next = 0x100u32;
    let mut letters = HashMap::with_capacity(256);
    for byte in 0..=u8::MAX {
        let itself = matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let letter = if itself { Some(char::from(byte)) } else { char::from_u32(next) };
        next += u32::from(!itself);
        if let Some(letter) = letter {
            letters.insert(letter, byte);
        }
    }
    letters
}

fn bytes_of(token: &str, letters: &HashMap<char, u8>) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(|letter| letters.get(&letter).copied()).collect();
    // A token outside the alphabet was added by hand and stands for itself.
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_strings_has_no_weight() {
        assert_eq!(weight(br#"{"a,[": [1, 2, "x\",{"], "b\\": 3}"#), 16 + 1 + 2 + 1);
        assert_eq!(weight(br#"["\\", {}]"#), 1 + 1 + 16);
    }

    #[test]
    fn byte_letters_cover_all_bytes() {
        let letters = byte_letters();
        assert_eq!(letters.len(), 256);
        assert_eq!(letters[&'Ġ'], b' ');
        assert_eq!(letters[&'Ċ'], b'\n');
        assert_eq!(bytes_of("Ġä½ł", &letters), " 你".as_bytes());
    }
}
