//! Text to ids and back, for the tokenizers that LLaMA checkpoints carry.
//!
//! - `tokenizer.json` goes through the `tokenizers` crate; `tokenizer.model` (sentencepiece) is read and encoded here. A GGUF
//!   file holds one or the other in its metadata.
//! - **What is spelled in a text is text.** `</s>` typed by a user encodes to the characters `<`, `/s`, `>` and not to EOS,
//!   as sentencepiece has it and other than Hugging Face's default: a prompt is built as one string, and a user must not be
//!   able to end a turn in it. [`Tokenizer::encode_untrusted`] recognises special tokens outside of what users wrote, and
//!   [`Tokenizer::encode_parsing_specials`] recognises all: for text in which only trusted hands wrote them.
//! - Decoding and streaming share one decoder: control ids say nothing, byte pieces are put together to characters, the
//!   unknown token prints as sentencepiece's ` ⁇ `.

mod bpe;
mod gguf;
mod growth;
mod json;
mod piece;
mod protobuf;
mod quiet;
mod sentencepiece;
mod special;
mod stream;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::file::{self, Checkpoint};
use json::Json;
use piece::{Decoder, Pieces};
pub(crate) use quiet::quietly;
use sentencepiece::SentencePiece;
pub use stream::DetokenizeStream;

/// The bytes of a file, and its path for messages.
type SideFile<'a> = (Cow<'a, [u8]>, PathBuf);

/// A tokenizer of the LLaMA family.
pub struct Tokenizer {
    encoder: Encoder,
    names: Vec<Option<String>>,
    specials: Vec<(String, u32)>,
    bos: Option<u32>,
    eos: Option<u32>,
    adds_bos: bool,
    base_size: usize,
    path: PathBuf,
}

enum Encoder {
    Json(Box<Json>),
    SentencePiece(Box<SentencePiece>),
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("path", &self.path)
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// The tokenizer of a checkpoint folder: its `tokenizer.json`, else its `tokenizer.model`; None when it has neither.
    /// BOS and EOS are those that `tokenizer_config.json` names, where it does.
    ///
    /// # Errors
    /// A file that is there but bad is an error naming it: the other file is not tried in its stead.
    pub fn open(dir: &Path) -> Result<Option<Self>> {
        Self::from_side_files(&|name| Ok(file::file_bytes(dir, name)?.map(|bytes| (bytes, dir.join(name)))))
    }

    /// The tokenizer of an opened checkpoint, wherever its files are; otherwise as [`Tokenizer::open`]. A GGUF file's is its
    /// own: what lies beside it belongs to another model.
    ///
    /// # Errors
    /// As [`Tokenizer::open`]; [`Error::Config`] with the key of a GGUF file.
    pub fn from_checkpoint(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        if let Some(metadata) = checkpoint.metadata() {
            return gguf::read(metadata);
        }
        Self::from_side_files(&|name| Ok(checkpoint.file_bytes(name)?.map(|bytes| (bytes, checkpoint.side_path(name)))))
    }

    /// The tokenizer inside of a GGUF file as the files that a Hugging Face folder has (`tokenizer.model` or `tokenizer.json`, and
    /// `tokenizer_config.json`): names and bytes. None for a checkpoint that has files of its own, or no tokenizer.
    ///
    /// # Errors
    /// [`Error::Config`] with the key of the file.
    pub fn side_files(checkpoint: &Checkpoint) -> Result<Vec<(&'static str, Vec<u8>)>> {
        checkpoint.metadata().map_or(Ok(Vec::new()), gguf::side_files)
    }

    fn from_side_files<'a>(read: &dyn Fn(&str) -> Result<Option<SideFile<'a>>>) -> Result<Option<Self>> {
        let mut tokenizer = if let Some((bytes, path)) = read("tokenizer.json")? {
            Self::from_json_bytes(&bytes, &path)?
        } else if let Some((bytes, path)) = read("tokenizer.model")? {
            Self::from_sentencepiece_bytes(&bytes, &path)?
        } else {
            return Ok(None);
        };
        if let Some((bytes, path)) = read("tokenizer_config.json")? {
            tokenizer.apply_config(&bytes, &path)?;
        }
        Ok(Some(tokenizer))
    }

    /// A tokenizer from the bytes of a `tokenizer.json`; `path` is for messages only.
    ///
    /// # Errors
    /// [`Error::Format`] for anything but a usable BPE or Unigram tokenizer with LLaMA's, Metaspace or ByteLevel decoding.
    pub fn from_json_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        let mut json = Json::parse(bytes, path)?;
        let names = names(&json.ids, json.pieces.pieces.len());
        Ok(Self {
            names,
            specials: std::mem::take(&mut json.added),
            bos: json.bos,
            eos: json.eos,
            adds_bos: json.adds_bos,
            base_size: json.base_size,
            encoder: Encoder::Json(Box::new(json)),
            path: path.to_owned(),
        })
    }

    /// A tokenizer from the bytes of a sentencepiece `tokenizer.model`; `path` is for messages only.
    ///
    /// # Errors
    /// [`Error::Format`] for a damaged file, and for models other than BPE with the identity normalizer.
    pub fn from_sentencepiece_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        Ok(Self::from_sentencepiece(SentencePiece::parse(bytes, path)?, path))
    }

    fn from_sentencepiece(mut model: SentencePiece, path: &Path) -> Self {
        let names = names(&model.ids, model.pieces.pieces.len());
        Self {
            base_size: names.len(),
            names,
            specials: std::mem::take(&mut model.markers),
            bos: model.bos,
            eos: model.eos,
            adds_bos: model.bos.is_some(),
            encoder: Encoder::SentencePiece(Box::new(model)),
            path: path.to_owned(),
        }
    }

    /// The ids of `text`, BOS in front when `add_bos` is set and the tokenizer has one. Special tokens spelled in the text
    /// stay text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the text cannot be encoded.
    pub fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<u32>> {
        self.encode_untrusted(text, &[0..text.len()], add_bos)
    }

    /// As [`Tokenizer::encode`], but special tokens spelled in the text become their ids: only for text without untrusted parts. A
    /// sentencepiece model is encoded stretch by stretch between them, as transformers' `LlamaTokenizer` does (`legacy`).
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the text cannot be encoded.
    pub fn encode_parsing_specials(&self, text: &str, add_bos: bool) -> Result<Vec<u32>> {
        self.encode_untrusted(text, &[], add_bos)
    }

    /// As [`Tokenizer::encode_parsing_specials`], but where the spelling of a special token has a byte in one of the `untrusted`
    /// ranges, it is text. `untrusted` are byte ranges of `text`, sorted and disjoint. What is between two recognised tokens is
    /// encoded as one stretch, across the borders of the ranges.
    ///
    /// # Errors
    /// [`Error::Request`] when the ranges are not sorted, overlap or leave the text; [`Error::Tokenizer`] when the text cannot be
    /// encoded.
    pub fn encode_untrusted(&self, text: &str, untrusted: &[Range<usize>], add_bos: bool) -> Result<Vec<u32>> {
        let mut end = 0;
        for range in untrusted {
            if range.start < end || range.end < range.start || range.end > text.len() {
                return Err(Error::Request(format!(
                    "the untrusted range {range:?} must begin at byte {end} or later and end in the text of {} bytes",
                    text.len()
                )));
            }
            end = range.end;
        }
        let ids = match &self.encoder {
            Encoder::Json(json) => json.encode(text, untrusted)?,
            Encoder::SentencePiece(model) => model.encode(text, untrusted)?,
        };
        Ok(self.with_bos(ids, add_bos))
    }

    /// Makes BOS and EOS special where they are added tokens, whatever they look like.
    fn mark_ends(&mut self) {
        for id in self.bos.into_iter().chain(self.eos) {
            let is_added = match &self.encoder {
                Encoder::Json(json) => json.is_added(id),
                Encoder::SentencePiece(model) => model.is_added(id),
            };
            if !is_added || self.specials.iter().any(|(_, special)| *special == id) {
                continue;
            }
            match &mut self.encoder {
                Encoder::Json(json) => json.mark(id),
                Encoder::SentencePiece(model) => model.mark(id),
            }
            self.specials.extend(self.piece(id).map(|name| (name, id)));
        }
    }

    fn with_bos(&self, mut ids: Vec<u32>, add_bos: bool) -> Vec<u32> {
        if let (true, Some(bos)) = (add_bos, self.bos) {
            ids.insert(0, bos);
        }
        ids
    }

    /// The text of `ids`, without special tokens, and without the leading space that encoding adds. Bytes that are not UTF-8
    /// become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for an id that the vocabulary does not have.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let (mut decoder, mut out) = (Decoder::new(true), String::new());
        for &id in ids {
            decoder.push(self.pieces(), id, &mut out)?;
        }
        decoder.finish(&mut out);
        Ok(out)
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.names.len()
    }

    /// Checks that a model with `model_vocab_size` embedding rows has one for each piece. Tokens that a `tokenizer.json`
    /// adds beyond its own vocabulary (2023's `[PAD]`) may lie outside: nothing but [`Tokenizer::encode_parsing_specials`]
    /// yields their ids.
    ///
    /// # Errors
    /// [`Error::Format`] with both sizes.
    pub fn check_vocab_size(&self, model_vocab_size: usize) -> Result<()> {
        if self.base_size <= model_vocab_size {
            return Ok(());
        }
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let detail = format!(
            "{name} has {} pieces, but the model's vocab_size is {model_vocab_size}: they do not belong together",
            self.base_size
        );
        Err(Error::format(&self.path, detail))
    }

    /// The id that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The id that ends a text.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Whether a prompt for this checkpoint begins with BOS.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The name of an id, as the file spells it (`▁Hello`, `<0x0A>`, `</s>`).
    pub fn piece(&self, id: u32) -> Option<String> {
        self.names.get(id as usize).cloned().flatten()
    }

    /// Whether the vocabulary has `id`. A model may have more rows than its tokenizer has pieces (padding to a round number).
    pub fn has(&self, id: u32) -> bool {
        self.pieces().get(id).is_ok()
    }

    /// The id of a name as the file spells it.
    pub fn id(&self, piece: &str) -> Option<u32> {
        match &self.encoder {
            Encoder::Json(json) => json.ids.get(piece).copied(),
            Encoder::SentencePiece(model) => model.ids.get(piece).copied(),
        }
    }

    /// The special tokens, as they would be spelled in a text, with their ids: those that the file calls so, and other added tokens
    /// that do not look like ordinary text (`special.rs` has the rule). In [`Tokenizer::encode`] they are text.
    pub fn specials(&self) -> &[(String, u32)] {
        &self.specials
    }

    /// The file that this tokenizer was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn pieces(&self) -> &Pieces {
        match &self.encoder {
            Encoder::Json(json) => &json.pieces,
            Encoder::SentencePiece(model) => &model.pieces,
        }
    }

    /// BOS, EOS and whether BOS is put in front, from `tokenizer_config.json`. Names are strings or `{"content": …}`; the
    /// empty strings of early 2023 conversions say nothing.
    fn apply_config(&mut self, bytes: &[u8], path: &Path) -> Result<()> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let config: SpecialNames = serde_json::from_slice(bytes)
            .map_err(|error| Error::format(path, format!("tokenizer_config.json: not valid JSON: {error}")))?;
        let named = |field: &str, value: &Value| {
            let name = value.as_str().or_else(|| value["content"].as_str()).filter(|name| !name.is_empty())?;
            let id = self.id(name);
            if id.is_none() {
                tracing::warn!("{field} {name:?} is not in the vocabulary and is ignored; file: {}", path.display());
            }
            id
        };
        let (bos, eos) = (named("bos_token", &config.bos_token), named("eos_token", &config.eos_token));
        self.bos = bos.or(self.bos);
        self.eos = eos.or(self.eos);
        // transformers' LLaMA tokenizers put BOS in front unless told otherwise, whatever tokenizer.json says.
        let class = config.tokenizer_class.as_str().unwrap_or_default().to_lowercase();
        let adds_bos = config.add_bos_token.as_bool().or(class.starts_with("llamatokenizer").then_some(true));
        if let Some(adds_bos) = adds_bos {
            self.adds_bos = adds_bos && self.bos.is_some();
        }
        self.mark_ends();
        Ok(())
    }
}

/// What is read of `tokenizer_config.json`; the rest of it is skipped. A value of another kind says nothing.
#[derive(Deserialize, Default)]
#[serde(default)]
struct SpecialNames {
    bos_token: Value,
    eos_token: Value,
    tokenizer_class: Value,
    add_bos_token: Value,
}

fn names(ids: &HashMap<String, u32>, size: usize) -> Vec<Option<String>> {
    let mut names = vec![None; size];
    for (name, &id) in ids {
        if let Some(slot) = names.get_mut(id as usize) {
            *slot = Some(name.clone());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the two files below know beside three specials and 256 bytes, best score first.
    const WORDS: [&str; 9] = ["ll", "llo", "he", "▁he", "▁", "h", "e", "l", "o"];
    const MERGES: [(&str, &str); 4] = [("l", "l"), ("ll", "o"), ("h", "e"), ("▁", "he")];

    fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![];
        for mut value in [number << 3 | 2, bytes.len() as u32] {
            while value >= 0x80 {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        }
        out.extend(bytes);
        out
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let mut inner = field(1, text.as_bytes());
        inner.push(0x15);
        inner.extend(score.to_le_bytes());
        inner.extend([0x18, kind]);
        field(1, &inner)
    }

    fn names() -> Vec<String> {
        let specials = ["<unk>", "<s>", "</s>"].map(str::to_owned);
        let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
        specials.into_iter().chain(bytes).chain(WORDS.map(str::to_owned)).collect()
    }

    fn sentencepiece() -> Vec<u8> {
        let mut file = Vec::new();
        for (id, name) in names().iter().enumerate() {
            let kind = [2, 3, 3].get(id).copied().unwrap_or(if id < 259 { 6 } else { 1 });
            file.extend(piece(name, 259.0 - id as f32, kind));
        }
        // BPE with byte fallback; the identity normalizer with a dummy prefix, keeping white space.
        file.extend(field(2, &[0x18, 2, 0x98, 0x02, 1]));
        file.extend(field(3, &[0x18, 1, 0x20, 0]));
        file
    }

    fn json() -> Value {
        let vocab: serde_json::Map<_, _> =
            names().into_iter().zip(0u32..).map(|(name, id)| (name, id.into())).collect();
        let special = |id: u32, content: &str| {
            serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        };
        serde_json::json!({
            "version": "1.0",
            "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
            "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
            "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
            "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true, "vocab": vocab,
                "merges": MERGES.map(|(left, right)| [left, right])}
        })
    }

    fn from_json(json: &Value) -> Result<Tokenizer> {
        Tokenizer::from_json_bytes(json.to_string().as_bytes(), Path::new("dir/tokenizer.json"))
    }

    #[test]
    fn both_files_of_one_tokenizer_agree() {
        let model = Tokenizer::from_sentencepiece_bytes(&sentencepiece(), Path::new("tokenizer.model")).unwrap();
        let json = from_json(&json()).unwrap();
        assert_eq!(model.encode("hello", true).unwrap(), [1, 262, 260]);
        for text in
            ["", "hello", " hello  hello", "hé llo", "你好\n", "</s>", "hell<s>o", "lll", "a longer text than four"]
        {
            let ids = model.encode(text, true).unwrap();
            assert_eq!(ids, json.encode(text, true).unwrap(), "{text:?}");
            assert!(ids[1..].iter().all(|&id| id > 2), "{text:?} spelled a control id");
            for tokenizer in [&model, &json] {
                assert_eq!(tokenizer.decode(&ids).unwrap(), text);
                let mut stream = DetokenizeStream::new();
                let mut out = String::new();
                for &id in &ids {
                    out.push_str(&stream.push(tokenizer, id).unwrap().unwrap_or_default());
                }
                assert_eq!(out + &stream.finish().unwrap_or_default(), text);
            }
        }
        for tokenizer in [&model, &json] {
            assert_eq!(tokenizer.encode_parsing_specials("hello</s>hello", false).unwrap(), [262, 260, 2, 262, 260]);
            assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.vocab_size()), (Some(1), Some(2), 268));
            assert!(tokenizer.decode(&[268]).is_err() && tokenizer.check_vocab_size(267).is_err());
        }
    }

    #[test]
    fn a_bad_json_is_refused_before_the_library_sees_it() {
        let change = |pointer: &str, value: Value| {
            let mut json = json();
            *json.pointer_mut(pointer).unwrap() = value;
            from_json(&json).map(|_| ()).expect_err(pointer).to_string()
        };
        for (pointer, value, word) in [
            // Both parts exist, the result does not: the library indexes out of bounds here.
            ("/model/merges/0", serde_json::json!(["llo", "llo"]), "\"llollo\" is not in the vocabulary"),
            ("/model/merges/0", serde_json::json!("l l l"), "merge 0"),
            ("/model/merges", serde_json::json!(3), "expected an array"),
            ("/model/vocab/ll", serde_json::json!(260), "have the same id 260"),
            ("/model/vocab/ll", serde_json::json!(-1), "id -1"),
            ("/model/vocab/ll", serde_json::json!(4_000_000_000u32), "largest id"),
            ("/added_tokens/0/id", serde_json::json!(7), "expected id 7"),
            ("/model/type", serde_json::json!("WordPiece"), "WordPiece"),
            ("/decoder", Value::Null, "decoder"),
            ("/model", Value::Null, "field `model`"),
        ] {
            let message = change(pointer, value);
            assert!(message.contains(word) && message.ends_with("file: dir/tokenizer.json"), "{pointer}: {message}");
        }
    }

    /// The library indexes a map with a name that is not in it. Run as a child, so that what it prints can be read.
    #[test]
    fn a_panic_of_the_library_is_an_error_and_prints_nothing() {
        const CHILD: &str = "GUANACO_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let mut json = json();
            json["post_processor"] = serde_json::json!({"type": "TemplateProcessing", "special_tokens": {}, "pair": [],
                "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]});
            let message = from_json(&json).map(|_| ()).unwrap_err().to_string();
            assert!(message.contains("tokenizers library failed"), "{message}");
            assert!(std::panic::catch_unwind(|| panic!("a loud one")).is_err());
            return;
        }
        let name = "tokenizer::tests::a_panic_of_the_library_is_an_error_and_prints_nothing";
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let (out, errors) = (String::from_utf8_lossy(&child.stdout), String::from_utf8_lossy(&child.stderr));
        assert!(child.status.success() && out.contains("1 passed"), "{out}\n{errors}");
        assert!(errors.contains("a loud one") && errors.matches("panicked").count() == 1, "{errors}");
    }

    #[test]
    fn a_folder_with_a_bad_tokenizer_json_does_not_fall_back() {
        let dir = std::env::temp_dir().join(format!("guanaco-tokenizer-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        assert!(Tokenizer::open(&dir).unwrap().is_none());
        std::fs::write(dir.join("tokenizer.model"), sentencepiece()).unwrap();
        let config = r#"{"bos_token": "", "eos_token": {"content": "<s>"}, "add_bos_token": false}"#;
        std::fs::write(dir.join("tokenizer_config.json"), config).unwrap();
        let tokenizer = Tokenizer::open(&dir).unwrap().unwrap();
        assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.adds_bos()), (Some(1), Some(1), false));
        std::fs::write(dir.join("tokenizer.json"), "{").unwrap();
        assert!(Tokenizer::open(&dir).unwrap_err().to_string().contains("tokenizer.json"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
