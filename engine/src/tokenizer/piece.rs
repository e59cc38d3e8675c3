//! What each id says when it is decoded, and the decoder that every tokenizer and every stream goes through.

use crate::error::{Error, Result};

/// What one id adds to the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// This text.
    Text(String),
    /// One byte of a character that may need several.
    Byte(u8),
    /// Several bytes, not necessarily whole characters (byte-level vocabularies).
    Bytes(Vec<u8>),
    /// BOS, EOS and their like: nothing.
    Control,
    /// The unknown token: its surface, as sentencepiece prints it.
    Unknown(String),
    /// An id below the largest that the file leaves out.
    Absent,
}

/// The decoding table.
#[derive(Debug)]
pub(super) struct Pieces {
    pub(super) pieces: Vec<Piece>,
    /// The encoder puts a space in front of the text, so the decoder takes one away.
    pub(super) strip_first_space: bool,
}

impl Pieces {
    pub(super) fn get(&self, id: u32) -> Result<&Piece> {
        match self.pieces.get(id as usize) {
            Some(Piece::Absent) | None => Err(Error::Tokenizer(format!(
                "id {id} does not exist; the vocabulary has {} entries, from 0 on",
                self.pieces.len()
            ))),
            Some(piece) => Ok(piece),
        }
    }
}

/// The byte of a piece named `<0x00>` to `<0xFF>`.
pub(super) fn byte_of(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    let valid = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Decoding in progress. [`super::Tokenizer::decode`] and [`super::DetokenizeStream`] both run it, so they cannot differ.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    /// Still before the first text: one leading space belongs to the encoder, not to the text.
    at_start: bool,
    /// Bytes of a character that is not complete yet: at most 3.
    held: Vec<u8>,
    /// How damage shows: sentencepiece prints one U+FFFD a byte, byte-level decoders one for each maximal run that could
    /// have begun a character (as `String::from_utf8_lossy`).
    one_mark_a_byte: bool,
}

impl Decoder {
    pub(super) fn new(at_start: bool) -> Self {
        Self { at_start, held: Vec::new(), one_mark_a_byte: true }
    }

    /// Appends to `out` what becomes visible with `id`.
    pub(super) fn push(&mut self, pieces: &Pieces, id: u32, out: &mut String) -> Result<()> {
        match pieces.get(id)? {
            Piece::Control | Piece::Absent => {}
            Piece::Byte(byte) => {
                self.one_mark_a_byte = true;
                self.bytes(&[*byte], out);
            }
            Piece::Bytes(bytes) => {
                self.one_mark_a_byte = false;
                self.bytes(bytes, out);
            }
            Piece::Unknown(surface) => {
                self.finish(out);
                self.at_start = false;
                out.push_str(surface);
            }
            Piece::Text(text) => {
                self.finish(out);
                let strip = self.at_start && pieces.strip_first_space;
                self.at_start = false;
                out.push_str(text.strip_prefix(' ').filter(|_| strip).unwrap_or(text));
            }
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8], out: &mut String) {
        self.at_start = false;
        self.held.extend_from_slice(bytes);
        // What stays held is one unfinished character: everything before it is out, valid or as U+FFFD.
        let mut done = 0;
        let mut chunks = self.held.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            out.push_str(chunk.valid());
            done += chunk.valid().len();
            if chunk.invalid().is_empty() {
                continue;
            }
            if chunks.peek().is_none() && is_unfinished(chunk.invalid()) {
                break;
            }
            mark(out, chunk.invalid().len(), self.one_mark_a_byte);
            done += chunk.invalid().len();
        }
        self.held.drain(..done);
    }

    /// Gives up on an unfinished character: it becomes U+FFFD.
    pub(super) fn finish(&mut self, out: &mut String) {
        mark(out, self.held.len(), self.one_mark_a_byte);
        self.held.clear();
    }
}

fn mark(out: &mut String, bytes: usize, one_mark_a_byte: bool) {
    let marks = if one_mark_a_byte { bytes } else { bytes.min(1) };
    out.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, marks));
}

/// Whether more bytes could complete this invalid tail.
fn is_unfinished(tail: &[u8]) -> bool {
    matches!(std::str::from_utf8(tail), Err(error) if error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(ids: &[Piece], strip: bool) -> String {
        let pieces = Pieces { pieces: ids.to_vec(), strip_first_space: strip };
        let (mut decoder, mut out) = (Decoder::new(true), String::new());
        for id in 0..ids.len() {
            decoder.push(&pieces, id as u32, &mut out).unwrap();
        }
        decoder.finish(&mut out);
        out
    }

    #[test]
    fn every_byte_sequence_decodes_as_from_utf8_lossy_does() {
        // A small deterministic generator: bytes that are often lead and continuation bytes.
        let mut state = 1u32;
        for _ in 0..5000 {
            let bytes: Vec<u8> = (0..6)
                .map(|_| {
                    state = state.wrapping_mul(1664525).wrapping_add(1013904223);
                    [b'a', 0x80, 0xbf, 0xc3, 0xe4, 0xbd, 0xa0, 0xf0, 0x9f, 0xed, 0xc0, 0xff]
                        [(state >> 16) as usize % 12]
                })
                .collect();
            let expected = String::from_utf8_lossy(&bytes);
            let split: Vec<Piece> = bytes.iter().map(|&b| Piece::Bytes(vec![b])).collect();
            assert_eq!(decode(&split, true), expected, "{bytes:x?}");
            assert_eq!(decode(&[Piece::Bytes(bytes.clone())], true), expected, "{bytes:x?}");
            let fallback: Vec<Piece> = bytes.iter().map(|&b| Piece::Byte(b)).collect();
            let per_byte: String = bytes
                .utf8_chunks()
                .map(|chunk| chunk.valid().to_owned() + &"\u{fffd}".repeat(chunk.invalid().len()))
                .collect();
            assert_eq!(decode(&fallback, true), per_byte, "{bytes:x?}");
        }
    }

    #[test]
    fn the_first_space_goes_once_and_only_where_the_encoder_put_one() {
        let text = |s: &str| Piece::Text(s.into());
        assert_eq!(decode(&[Piece::Control, text(" a"), text(" b")], true), "a b");
        assert_eq!(decode(&[text(" "), text(" b")], true), " b");
        assert_eq!(decode(&[text(" a")], false), " a");
        assert_eq!(decode(&[Piece::Byte(b'x'), text(" b")], true), "x b");
    }

    #[test]
    fn byte_names() {
        assert_eq!(byte_of("<0x41>"), Some(0x41));
        assert_eq!(byte_of("<0xfF>"), Some(0xff));
        for name in ["<0x4>", "<0x+4>", "<0x411>", "0x41", "<0x41"] {
            assert_eq!(byte_of(name), None, "{name}");
        }
    }
}
