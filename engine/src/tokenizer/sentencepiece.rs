//! `tokenizer.model`: a sentencepiece model file, as 2023's LLaMA checkpoints carry it.
//!
//! Only BPE models are read: unigram, word and char models cut text by other rules, and would give ids that look right and
//! are wrong. Field numbers from <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::added::Added;
use super::bpe::{Bpe, Normalizer};
use super::piece::{Piece, Pieces};
use super::protobuf::{Fields, Message};
use super::special::{Finder, Token, looks_like_marker, overlaps, within};
use crate::error::{Error, Result};

/// What a piece is to the encoder and to the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

impl Kind {
    pub(super) fn new(value: i64) -> Option<Self> {
        Some(match value {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// True when a piece is an added token: one that cuts the text before sentencepiece sees it, as transformers' `added_tokens.json` has
/// them, and not one of sentencepiece's own user-defined pieces, which stay within it. llama.cpp's conversions give the former this
/// score (<https://github.com/ggml-org/llama.cpp/blob/master/convert_hf_to_gguf.py>).
pub(super) fn is_added(score: f32, kind: Kind) -> bool {
    kind == Kind::UserDefined && score <= ADDED_SCORE
}

const ADDED_SCORE: f32 = -1000.0;

/// A piece as the file has it: its text, its score and what it is.
pub(super) type RawPiece<'a> = (&'a str, f32, Kind);

/// A model file, checked.
pub(super) struct SentencePiece {
    bpe: Bpe,
    /// Tokens that cut the text.
    added: Finder,
    pub(super) pieces: Pieces,
    pub(super) ids: HashMap<String, u32>,
    pub(super) markers: Vec<(String, u32)>,
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
}

/// `TrainerSpec`, with its defaults: the few fields that encoding depends on.
struct Spec {
    model_type: i64,
    suffix: bool,
    byte_fallback: bool,
    bos_id: i64,
    eos_id: i64,
    unk_surface: String,
    charsmap: usize,
    normalizer_name: String,
    normalizer: Normalizer,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            model_type: 1,
            suffix: false,
            byte_fallback: false,
            bos_id: 1,
            eos_id: 2,
            unk_surface: " \u{2047} ".into(),
            charsmap: 0,
            normalizer_name: String::new(),
            normalizer: Normalizer { dummy_prefix: true, remove_extra_whitespaces: true, escape_whitespaces: true },
        }
    }
}

impl SentencePiece {
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self> {
        let fail = |detail: String| Error::format(path, format!("sentencepiece model: {detail}"));
        if is_tiktoken(bytes) {
            let detail = "a tiktoken vocabulary (lines of base64 and a rank), expected a sentencepiece model; it is not read: put the \
                          tokenizer.json of the same model next to it";
            return Err(Error::format(path, detail.to_owned()));
        }
        let mut raw = Vec::new();
        let mut spec = Spec::default();
        let mut fields = Fields::new(bytes);
        while let Some((number, value)) = fields.next().map_err(&fail)? {
            match number {
                1 => {
                    let inner = value.bytes("piece").map_err(&fail)?;
                    let piece = parse_piece(inner).map_err(|detail| fail(format!("piece {}: {detail}", raw.len())))?;
                    raw.push(piece);
                }
                2 => value.bytes("trainer_spec").and_then(|b| spec.read_trainer(b)).map_err(&fail)?,
                3 => value.bytes("normalizer_spec").and_then(|b| spec.read_normalizer(b)).map_err(&fail)?,
                _ => {}
            }
        }
        Self::build(raw, spec).map_err(fail)
    }

    /// A model whose pieces (text, score, kind) another format holds. BOS and EOS are left to that.
    pub(super) fn from_pieces(raw: Vec<RawPiece<'_>>, normalizer: Normalizer) -> Result<Self, String> {
        let byte_fallback = raw.iter().any(|(_, _, kind)| *kind == Kind::Byte);
        let spec = Spec { model_type: 2, byte_fallback, bos_id: -1, eos_id: -1, normalizer, ..Spec::default() };
        Self::build(raw, spec)
    }

    fn build(raw: Vec<RawPiece<'_>>, spec: Spec) -> Result<Self, String> {
        if raw.is_empty() {
            return Err("it holds no pieces; the file is damaged or something else".into());
        }
        if spec.model_type != 2 {
            let name = match spec.model_type {
                1 => "UNIGRAM".to_owned(),
                3 => "WORD".to_owned(),
                4 => "CHAR".to_owned(),
                other => format!("number {other}"),
            };
            return Err(format!(
                "expected a BPE model, got model_type {name}, whose rules differ; a tokenizer.json made from it can be used"
            ));
        }
        if spec.suffix {
            return Err("treat_whitespace_as_suffix is not supported; a tokenizer.json made from it can be used".into());
        }
        if spec.charsmap != 0 {
            return Err(format!(
                "expected the identity normalizer, got \"{}\" with a character map of {} bytes, which is not supported; a tokenizer.json made from it can be used",
                spec.normalizer_name, spec.charsmap
            ));
        }
        let mut ids = HashMap::with_capacity(raw.len());
        let mut pieces = Vec::with_capacity(raw.len());
        let mut bytes = [None; 256];
        let mut unk = None;
        for (id, &(text, score, kind)) in raw.iter().enumerate() {
            let id = u32::try_from(id).map_err(|_| "more than 2^32 pieces".to_owned())?;
            if text.is_empty() {
                return Err(format!("piece {id} is empty"));
            }
            if score.is_nan() {
                return Err(format!("piece {id} ({text:?}) has the score NaN, so merges have no order"));
            }
            if let Some(first) = ids.insert(text.to_owned(), id) {
                return Err(format!("pieces {first} and {id} are both {text:?}"));
            }
            pieces.push(match kind {
                Kind::Normal | Kind::UserDefined | Kind::Unused => Piece::Text(text.replace('▁', " ")),
                Kind::Control => Piece::Control,
                Kind::Unknown => {
                    if let Some(first) = unk.replace(id) {
                        return Err(format!("pieces {first} and {id} are both of the unknown kind"));
                    }
                    Piece::Unknown(spec.unk_surface.clone())
                }
                Kind::Byte => {
                    let byte = super::piece::byte_of(text).ok_or_else(|| {
                        format!("piece {id} is a byte, but its name {text:?} is not <0x00> to <0xFF>")
                    })?;
                    bytes[usize::from(byte)] = Some(id);
                    Piece::Byte(byte)
                }
            });
        }
        let unk = unk.ok_or("no piece is of the unknown kind")?;
        if spec.byte_fallback
            && let Some(missing) = bytes.iter().position(Option::is_none)
        {
            return Err(format!("byte_fallback is on, but the byte piece <0x{missing:02X}> is missing"));
        }
        let special = |id: i64, name: &str| match usize::try_from(id) {
            Err(_) => Ok(None),
            // sentencepiece itself treats an id whose piece is not of the control kind as absent.
            Ok(id) => match raw.get(id) {
                Some((_, _, Kind::Control)) => Ok(u32::try_from(id).ok()),
                Some(_) => Ok(None),
                None => Err(format!("{name} is {id}, but there are {} pieces", raw.len())),
            },
        };
        let (bos, eos) = (special(spec.bos_id, "bos_id")?, special(spec.eos_id, "eos_id")?);
        let fallback = if spec.byte_fallback { Some(Box::new(bytes.map(Option::unwrap_or_default))) } else { None };
        let bpe = Bpe::new(&raw, spec.normalizer, unk, fallback)?;
        let pieces = Pieces { pieces, strip_first_space: spec.normalizer.dummy_prefix };
        let (mut cutting, mut markers) = (Vec::new(), Vec::new());
        for (id, &(text, score, kind)) in (0u32..).zip(&raw) {
            let is_special = matches!(kind, Kind::Control | Kind::Unknown);
            let is_marker = is_special || (kind == Kind::UserDefined && looks_like_marker(text));
            if is_special || is_added(score, kind) {
                cutting.push(Token { spelling: text.to_owned(), id, is_marker, ..Token::default() });
            }
            if is_marker {
                markers.push((text.to_owned(), id));
            }
        }
        Ok(Self { bpe, added: Finder::new(cutting)?, pieces, ids, markers, bos, eos })
    }

    /// The ids of `text`, stretch by stretch between the added tokens, as transformers' `LlamaTokenizer` has it (`legacy`). Markers
    /// that touch an `untrusted` range are text.
    pub(super) fn encode(&self, text: &str, untrusted: &[Range<usize>]) -> Result<Vec<u32>> {
        let (mut ids, mut at) = (Vec::new(), 0);
        for (id, range) in self.added.find(text, &|range| overlaps(untrusted, &range)) {
            ids.extend(self.bpe.encode(&text[at..range.start], &within(untrusted, &(at..range.start)))?);
            ids.push(id);
            at = range.end;
        }
        ids.extend(self.bpe.encode(&text[at..], &within(untrusted, &(at..text.len())))?);
        Ok(ids)
    }

    /// Adds tokens that other files have, in the order of their ids; returns those that are markers.
    ///
    /// # Errors
    /// An id or a name that the model has with another name or id, and ids that leave a gap.
    pub(super) fn add(&mut self, added: Vec<Added>) -> Result<Vec<(String, u32)>, String> {
        let names: HashMap<u32, &String> = self.ids.iter().map(|(name, id)| (*id, name)).collect();
        let mut next = self.pieces.pieces.len() as u32;
        let (mut pieces, mut tokens, mut markers) = (Vec::new(), Vec::new(), Vec::new());
        for Added { token, is_special } in added {
            let (name, id) = (&token.spelling, token.id);
            if self.ids.get(name) != Some(&id) {
                if let Some(own) = self.ids.get(name) {
                    return Err(format!("added token {name:?} has the id {id}, but the model has it as {own}"));
                }
                if let Some(own) = names.get(&id) {
                    return Err(format!("added token {name:?} has the id {id}, which the model has as {own:?}"));
                }
                if id != next || name.is_empty() {
                    return Err(format!(
                        "added token {name:?} has the id {id}, expected {next}: ids follow the {} of the model, without gaps",
                        self.pieces.pieces.len()
                    ));
                }
                next += 1;
                pieces.push((name.clone(), id, if is_special { Piece::Control } else { Piece::Text(name.clone()) }));
            }
            if token.is_marker {
                markers.push((name.clone(), id));
            }
            tokens.push(token);
        }
        drop(names);
        for (name, id, piece) in pieces {
            self.ids.insert(name, id);
            self.pieces.pieces.push(piece);
        }
        self.added = std::mem::take(&mut self.added).with(tokens)?;
        Ok(markers)
    }

    /// Makes the added token of `id` a marker, where there is one.
    pub(super) fn mark(&mut self, id: u32) {
        self.added.mark(id);
        self.bpe.mark(id);
    }

    /// True when `id` is an added token or a user-defined piece.
    pub(super) fn is_added(&self, id: u32) -> bool {
        self.added.tokens().iter().any(|token| token.id == id) || self.bpe.is_user_defined(id)
    }
}

/// A model file with these pieces, which [`SentencePiece::parse`] reads as the same tokenizer.
pub(super) fn to_bytes(raw: &[RawPiece<'_>], normalizer: Normalizer, [bos, eos]: [Option<u32>; 2]) -> Vec<u8> {
    let mut model = Message::default();
    for (text, score, kind) in raw {
        let mut piece = Message::default();
        piece.bytes(1, text.as_bytes());
        piece.float(2, *score);
        piece.int(3, *kind as i64);
        model.bytes(1, &piece.0);
    }
    let unknown = raw.iter().position(|(_, _, kind)| *kind == Kind::Unknown).map_or(-1, |id| id as i64);
    let id = |id: Option<u32>| id.map_or(-1, i64::from);
    let has_bytes = raw.iter().any(|(_, _, kind)| *kind == Kind::Byte);
    let mut trainer = Message::default();
    let fields = [
        (3, 2), // BPE
        (4, raw.len() as i64),
        (35, i64::from(has_bytes)),
        (40, unknown),
        (41, id(bos)),
        (42, id(eos)),
        (43, -1),
    ];
    fields.into_iter().for_each(|(number, value)| trainer.int(number, value));
    model.bytes(2, &trainer.0);
    let mut spec = Message::default();
    spec.bytes(1, b"identity");
    spec.int(3, i64::from(normalizer.dummy_prefix));
    spec.int(4, i64::from(normalizer.remove_extra_whitespaces));
    spec.int(5, i64::from(normalizer.escape_whitespaces));
    model.bytes(3, &spec.0);
    model.0
}

/// True when a file begins as Llama 3's own `tokenizer.model` does: `IQ== 0`.
fn is_tiktoken(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(space) = line.iter().position(|byte| *byte == b' ') else { return false };
    let (token, rank) = (&line[..space], &line[space + 1..]);
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
    !token.is_empty()
        && token.len() % 4 == 0
        && token.iter().all(is_base64)
        && !rank.is_empty()
        && rank.iter().all(u8::is_ascii_digit)
}

fn parse_piece(bytes: &[u8]) -> Result<(&str, f32, Kind), String> {
    let (mut text, mut score, mut kind) = ("", 0.0, Kind::Normal);
    let mut fields = Fields::new(bytes);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => text = value.text("its text")?,
            2 => score = value.float("its score")?,
            3 => {
                let number = value.int("its type")?;
                kind = Kind::new(number).ok_or_else(|| format!("type {number} does not exist"))?;
            }
            _ => {}
        }
    }
    Ok((text, score, kind))
}

impl Spec {
    fn read_trainer(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut fields = Fields::new(bytes);
        while let Some((number, value)) = fields.next()? {
            match number {
                3 => self.model_type = value.int("model_type")?,
                24 => self.suffix = value.bool("treat_whitespace_as_suffix")?,
                35 => self.byte_fallback = value.bool("byte_fallback")?,
                41 => self.bos_id = value.int("bos_id")?,
                42 => self.eos_id = value.int("eos_id")?,
                44 => self.unk_surface = value.text("unk_surface")?.to_owned(),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut fields = Fields::new(bytes);
        while let Some((number, value)) = fields.next()? {
            match number {
                1 => self.normalizer_name = value.text("normalizer name")?.to_owned(),
                2 => self.charsmap = value.bytes("precompiled_charsmap")?.len(),
                3 => self.normalizer.dummy_prefix = value.bool("add_dummy_prefix")?,
                4 => self.normalizer.remove_extra_whitespaces = value.bool("remove_extra_whitespaces")?,
                5 => self.normalizer.escape_whitespaces = value.bool("escape_whitespaces")?,
                _ => {}
            }
        }
        Ok(())
    }
}
