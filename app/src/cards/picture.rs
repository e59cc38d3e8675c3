//! What a picture's header says, without decoding it.

use super::error::{CardError, Named};
use super::{limits, png};

/// A format of portraits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// PNG or APNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// The format.
    pub format: Format,
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Format and size of a picture; None when it is none of the known formats, or its header is broken.
pub fn size(bytes: &[u8]) -> Option<Size> {
    if bytes.starts_with(png::SIGNATURE) {
        let be = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        return (bytes.get(12..16)? == b"IHDR").then_some(Size {
            format: Format::Png,
            width: be(16)?,
            height: be(20)?,
        });
    }
    if bytes.starts_with(b"\xff\xd8") {
        return jpeg(bytes);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12)? == b"WEBP" {
        return webp(bytes);
    }
    None
}

/// Looks at a picture that is to be a portrait.
///
/// # Errors
/// [`CardError`] when it is none of the known formats, or larger than [`limits`] allow.
pub fn portrait(bytes: &[u8], file_name: &str) -> Result<Size, CardError> {
    let file = Named(file_name);
    file.at_most("bytes of the file", limits::FILE_BYTES, bytes.len())?;
    let size =
        size(bytes).ok_or_else(|| file.damaged("the portrait", "a picture in PNG, JPEG or WebP", "something else"))?;
    check(size, file)?;
    Ok(size)
}

/// Refuses what would take too much memory to show.
pub(super) fn check(size: Size, file: Named<'_>) -> Result<(), CardError> {
    if size.width == 0 || size.height == 0 {
        let got = format!("{} × {}", size.width, size.height);
        return Err(file.damaged("the picture's size", "at least 1 × 1 pixel", got));
    }
    file.at_most("pixels along an edge of the picture", limits::PICTURE_EDGE, size.width.max(size.height))?;
    file.at_most("pixels of the picture", limits::PICTURE_PIXELS, u64::from(size.width) * u64::from(size.height))
}

/// Goes from segment to segment up to the frame header.
fn jpeg(bytes: &[u8]) -> Option<Size> {
    let be = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        let marker = *bytes.get(at + 1)?;
        match marker {
            0xff => at += 1,
            0x01 | 0xd0..=0xd7 => at += 2,
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                let (height, width) = (be(at + 5)?.into(), be(at + 7)?.into());
                return Some(Size { format: Format::Jpeg, width, height });
            }
            0xd9 | 0xda => return None,
            _ => at += 2 + usize::from(be(at + 2)?).max(2),
        }
    }
}

fn webp(bytes: &[u8]) -> Option<Size> {
    let le = |at: usize, len: usize| {
        let field = bytes.get(at..at + len)?;
        Some(field.iter().rev().fold(0_u32, |sum, &byte| sum << 8 | u32::from(byte)))
    };
    let (width, height) = match bytes.get(12..16)? {
        b"VP8 " => (le(26, 2)? & 0x3fff, le(28, 2)? & 0x3fff),
        b"VP8L" => {
            let bits = le(21, 4)?;
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        b"VP8X" => (le(24, 3)? + 1, le(27, 3)? + 1),
        _ => return None,
    };
    Some(Size { format: Format::Webp, width, height })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc0\x00\x11\x08\x01\x02\x03\x04\x03";
        assert_eq!(size(jpeg), Some(Size { format: Format::Jpeg, width: 0x304, height: 0x102 }));
        assert_eq!(size(&jpeg[..12]), None);
        let webp = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x01\0\x0f\0\0";
        assert_eq!(size(webp), Some(Size { format: Format::Webp, width: 512, height: 16 }));
        assert_eq!(size(b"GIF89a"), None);
        assert_eq!(size(b""), None);
        let plain = png::plain("Ava");
        assert_eq!(size(&plain).map(|size| size.format), Some(Format::Png));
    }

    #[test]
    fn portraits_within_limits() {
        let mut png = png::plain("Ava");
        assert!(portrait(&png, "a.png").is_ok());
        png[16..20].copy_from_slice(&9000_u32.to_be_bytes());
        let error = portrait(&png, "a.png").unwrap_err().to_string();
        assert!(error.contains("8192") && error.contains("a.png"), "{error}");
        let error = portrait(b"GIF89a", "a.gif").unwrap_err().to_string();
        assert!(error.contains("PNG, JPEG or WebP"), "{error}");
    }

    #[test]
    fn no_end_without_a_frame() {
        assert_eq!(size(&[&b"\xff\xd8"[..], &[0xff; 1 << 20]].concat()), None);
        assert_eq!(size(&[&b"\xff\xd8"[..], &b"\xff\xe0\0\0".repeat(1 << 18)].concat()), None);
    }
}
