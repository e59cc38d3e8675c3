//! PNG as a list of chunks: cards lie in text chunks, and no pixel is touched.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::card::{Card, Version};
use super::error::{CardError, Named};
use super::{convert, limits, picture};

/// What a PNG begins with.
pub(super) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The keywords that cards lie under.
const KEYWORDS: [&str; 2] = ["chara", "ccv3"];

/// A PNG, taken apart and checked.
pub(super) struct Png<'a> {
    chunks: Vec<Chunk<'a>>,
    /// What follows the end.
    rest: &'a [u8],
}

/// A chunk.
#[derive(Clone, Copy)]
pub(super) struct Chunk<'a> {
    kind: &'a [u8],
    data: &'a [u8],
    /// All of it, with length and sum.
    whole: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The keyword of a text chunk, and what follows it.
    fn text(&self) -> Option<(&'a [u8], &'a [u8])> {
        if !matches!(self.kind, b"tEXt" | b"zTXt" | b"iTXt") {
            return None;
        }
        let end = self.data.iter().position(|&byte| byte == 0)?;
        Some((&self.data[..end], &self.data[end + 1..]))
    }

    fn is_text(&self, keyword: &str) -> bool {
        self.text().is_some_and(|(found, _)| found.eq_ignore_ascii_case(keyword.as_bytes()))
    }
}

impl<'a> Png<'a> {
    /// # Errors
    /// [`CardError`] when it is cut off, a sum is wrong, or the picture is too large.
    pub(super) fn parse(bytes: &'a [u8], file: Named<'_>) -> Result<Self, CardError> {
        let mut rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
        let mut chunks: Vec<Chunk<'a>> = Vec::new();
        while chunks.last().is_none_or(|last| last.kind != b"IEND") {
            let cut = |rest: &[u8]| {
                let at = bytes.len() - rest.len();
                file.damaged("PNG", "chunks up to IEND", format!("an end of file in the chunk at byte {at}"))
            };
            let (&len, _) = rest.split_first_chunk::<4>().ok_or_else(|| cut(rest))?;
            let len = u32::from_be_bytes(len) as usize;
            let end = len.checked_add(12).filter(|&end| end <= rest.len()).ok_or_else(|| cut(rest))?;
            let (whole, behind) = rest.split_at(end);
            let (body, sum) = whole[4..].split_at(len + 4);
            let (kind, data) = body.split_at(4);
            let mut crc = flate2::Crc::new();
            crc.update(body);
            if crc.sum().to_be_bytes() != *sum {
                let at = bytes.len() - rest.len();
                let what = format!("PNG, the chunk {:?} at byte {at}", String::from_utf8_lossy(kind));
                return Err(file.damaged(what, format!("the sum {:08x}", crc.sum()), format!("{sum:02x?}")));
            }
            chunks.push(Chunk { kind, data, whole });
            file.at_most("chunks of the PNG", limits::PNG_CHUNKS, chunks.len())?;
            rest = behind;
        }
        match (chunks.first().filter(|first| first.kind == b"IHDR" && first.data.len() == 13), picture::size(bytes)) {
            (Some(_), Some(size)) => picture::check(size, file)?,
            _ => return Err(file.damaged("PNG", "a header chunk IHDR of 13 bytes first", "another chunk")),
        }
        Ok(Self { chunks, rest })
    }

    /// The text chunks of that keyword.
    pub(super) fn texts(&self, keyword: &str) -> Vec<Chunk<'a>> {
        self.chunks.iter().filter(|chunk| chunk.is_text(keyword)).copied().collect()
    }

    /// The same picture without its cards; all else to the byte.
    pub(super) fn without_cards(&self) -> Vec<u8> {
        self.with_cards(&[])
    }

    /// The same picture with these texts in place of its cards; all else to the byte.
    fn with_cards(&self, texts: &[(&str, String)]) -> Vec<u8> {
        let mut out = SIGNATURE.to_vec();
        for chunk in &self.chunks {
            if chunk.kind == b"IEND" {
                for (keyword, text) in texts {
                    push(&mut out, b"tEXt", &[keyword.as_bytes(), b"\0", text.as_bytes()].concat());
                }
            }
            if !KEYWORDS.iter().any(|keyword| chunk.is_text(keyword)) {
                out.extend_from_slice(chunk.whole);
            }
        }
        out.extend_from_slice(self.rest);
        out
    }
}

fn push(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    out.extend_from_slice(&(data.len() as u32).to_be_bytes());
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    out.extend_from_slice(&crc.sum().to_be_bytes());
}

/// The text of a text chunk, inflated where it is deflated.
///
/// # Errors
/// [`CardError`] when it is of another method, broken, or longer than a card may be.
pub(super) fn text(chunk: &Chunk<'_>, file: Named<'_>) -> Result<Vec<u8>, CardError> {
    let Some((_, rest)) = chunk.text() else { return Ok(Vec::new()) };
    let broken = |got: &str| file.damaged("the PNG's text chunk", "a plain or deflated text", got);
    match chunk.kind {
        b"tEXt" => Ok(rest.to_vec()),
        b"zTXt" => match rest.split_first() {
            Some((0, packed)) => inflate(packed, file),
            _ => Err(broken("another method")),
        },
        _ => {
            let (packed, rest) = match rest {
                [flag @ (0 | 1), 0, rest @ ..] => (*flag == 1, rest),
                _ => return Err(broken("another method")),
            };
            // Language and translated keyword stand in front of the text.
            let text = rest.splitn(3, |&byte| byte == 0).nth(2).ok_or_else(|| broken("no text"))?;
            if packed { inflate(text, file) } else { Ok(text.to_vec()) }
        }
    }
}

fn inflate(packed: &[u8], file: Named<'_>) -> Result<Vec<u8>, CardError> {
    // Base64 of the largest JSON.
    let limit = limits::JSON_BYTES / 3 * 4 + 4;
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(packed)
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| file.damaged("the PNG's text chunk", "deflated text", error.to_string()))?;
    file.at_most("bytes of the PNG's text chunk, inflated", limit, out.len())?;
    Ok(out)
}

/// A plain picture for a card without a portrait, in a colour that follows from the name.
pub(super) fn plain(name: &str) -> Vec<u8> {
    const WIDTH: u32 = 256;
    const HEIGHT: u32 = 384;
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let shade = |shift: u32| 80 + (hash >> shift & 0x5f) as u8;
    let mut out = SIGNATURE.to_vec();
    let mut header = [WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].concat();
    // One bit a pixel, from a palette.
    header.extend_from_slice(&[1, 3, 0, 0, 0]);
    push(&mut out, b"IHDR", &header);
    push(&mut out, b"PLTE", &[shade(0), shade(8), shade(16)]);
    let rows = vec![0; (HEIGHT * (1 + WIDTH / 8)) as usize];
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    // Writing to memory does not fail.
    let _ = encoder.write_all(&rows);
    push(&mut out, b"IDAT", &encoder.finish().unwrap_or_default());
    push(&mut out, b"IEND", &[]);
    out
}

impl Card {
    /// The card in a PNG: V3 in the chunk `ccv3`, and V2 in `chara` for programs that know no V3. Cards that lay in `portrait`
    /// are replaced; its other chunks and its pixels stay to the byte. Without a portrait there is a plain picture.
    ///
    /// # Errors
    /// [`CardError`] when `portrait` is no PNG, damaged, or too large; or the card is too large to be read again.
    pub fn to_png(&self, portrait: Option<&[u8]>) -> Result<Vec<u8>, CardError> {
        let file = Named("portrait");
        let own;
        let portrait = match portrait {
            Some(portrait) if !portrait.starts_with(SIGNATURE) => {
                let got = picture::size(portrait).map_or("other bytes".into(), |size| format!("{:?}", size.format));
                return Err(file.damaged("the portrait", "a PNG", got));
            }
            Some(portrait) => portrait,
            None => {
                own = plain(self.name());
                &own
            }
        };
        let image = Png::parse(portrait, file)?;
        let v3 = Value::Object(convert::to(self.raw(), self.version(), Version::V3)).to_string();
        file.at_most("bytes of the card's JSON", limits::JSON_BYTES, v3.len())?;
        let v2 = Value::Object(convert::backfill(self.raw(), self.version())).to_string();
        let texts = [("chara", BASE64_STANDARD.encode(v2)), ("ccv3", BASE64_STANDARD.encode(v3))];
        let out = image.with_cards(&texts);
        file.at_most("bytes of the file", limits::FILE_BYTES, out.len())?;
        Ok(out)
    }
}
