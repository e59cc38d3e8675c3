//! Parts of a file that are deflated (RFC 1951), inflated when they are asked for.
//!
//! PyTorch stores its tensors as they are, but a checkpoint that was packed again by another program is compressed. Such a
//! part is inflated into a temporary file without a name, which is then mapped into memory like any other: it takes disk, and
//! no more memory than a map does. How long it becomes is known beforehand, and the stream must agree with it.

use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::sync::OnceLock;

use flate2::Crc;
use flate2::bufread::DeflateDecoder;

use super::FileBytes;

/// Inflated at a time.
const BUFFER: usize = 64 << 10;
/// How many times larger than the tensor that is asked for a part may be. It bounds what a small file can make this write to
/// disk, since deflate shrinks zeros a thousandfold.
const MAX_SURPLUS: u64 = 64;

/// A deflated part of a file.
#[derive(Debug)]
pub(super) struct Deflated {
    /// The stream, in the file.
    pub(super) range: Range<usize>,
    /// The length of its contents.
    pub(super) size: usize,
    /// The CRC-32 of its contents.
    pub(super) crc: u32,
    inflated: OnceLock<FileBytes>,
}

impl Deflated {
    /// The part `range` of a file, which holds `size` bytes.
    pub(super) fn new(range: Range<usize>, size: usize, crc: u32) -> Self {
        Self { range, size, crc, inflated: OnceLock::new() }
    }

    /// Its contents, where somebody has asked for them.
    pub(super) fn inflated(&self) -> Option<&FileBytes> {
        self.inflated.get()
    }

    /// Its contents, for a tensor of `wanted` bytes; inflated once.
    ///
    /// # Errors
    /// What is wrong, as a clause for a message.
    pub(super) fn bytes(&self, file: &FileBytes, wanted: u64) -> Result<&FileBytes, String> {
        if let Some(bytes) = self.inflated.get() {
            return Ok(bytes);
        }
        if self.size as u64 > wanted.saturating_mul(MAX_SURPLUS) {
            return Err(format!(
                "it is in a compressed storage of {} bytes, of which it needs {wanted}: save the checkpoint again",
                self.size
            ));
        }
        let stream = file.as_slice().get(self.range.clone()).unwrap_or_default();
        let on_disk = |error| format!("its compressed storage cannot be inflated into a temporary file: {error}");
        let mut temporary = tempfile::tempfile().map_err(on_disk)?;
        inflate(stream, self.size, self.crc, |piece| temporary.write_all(piece).map_err(on_disk))?;
        let made = Self::map(file, &temporary)?;
        // Two threads that ask at once both inflate, and the first to end is kept.
        Ok(self.inflated.get_or_init(|| made))
    }

    fn map(file: &FileBytes, temporary: &File) -> Result<FileBytes, String> {
        FileBytes::map(file.path().to_owned(), temporary).map_err(|error| error.to_string())
    }
}

/// The contents of a deflate stream that becomes `size` bytes, in memory.
///
/// # Errors
/// As [`inflate`].
pub(super) fn inflated(stream: &[u8], size: usize, crc: u32) -> Result<Vec<u8>, String> {
    // The length is a claim until the stream has kept it.
    let mut bytes = Vec::new();
    inflate(stream, size, crc, |piece| {
        bytes.extend(piece);
        Ok(())
    })?;
    Ok(bytes)
}

/// Inflates `stream` piece by piece, and stops where it becomes longer than `size`.
///
/// # Errors
/// That the stream is damaged, or that it becomes more or fewer than `size` bytes or others than `crc` says.
fn inflate(
    stream: &[u8],
    size: usize,
    crc: u32,
    mut write: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), String> {
    let mut decoder = DeflateDecoder::new(stream);
    let mut buffer = vec![0; BUFFER.min(size.saturating_add(1))];
    let (mut done, mut sum) = (0, Crc::new());
    loop {
        let read = decoder.read(&mut buffer).map_err(|error| format!("its compressed data is damaged ({error})"))?;
        done += read;
        if done > size {
            return Err(format!("its compressed data inflates to more than the {size} bytes that it should"));
        }
        if read == 0 {
            break;
        }
        let piece = buffer.get(..read).unwrap_or_default();
        sum.update(piece);
        write(piece)?;
    }
    if done != size {
        return Err(format!("its compressed data inflates to {done} bytes, expected {size}"));
    }
    if sum.sum() != crc {
        return Err("its compressed data has another checksum than the file says: download it again".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A deflate stream of stored blocks, and its contents' CRC-32.
    fn stored(data: &[u8]) -> (Vec<u8>, u32) {
        let len = data.len() as u16;
        let mut crc = Crc::new();
        crc.update(data);
        ([&[1][..], &len.to_le_bytes(), &(!len).to_le_bytes(), data].concat(), crc.sum())
    }

    #[test]
    fn a_stream_must_keep_its_word() {
        let data: Vec<u8> = (0..10_000_u32).map(|i| (i * i % 251) as u8).collect();
        let (stream, crc) = stored(&data);
        assert_eq!(inflated(&stream, data.len(), crc).unwrap(), data);
        for (size, crc, word) in [
            (9_999, crc, "more than the 9999"),
            (0, crc, "more than the 0"),
            (10_001, crc, "10000 bytes, expected 10001"),
            (usize::MAX - 1, crc, "expected"),
            (10_000, crc ^ 1, "checksum"),
        ] {
            let message = inflated(&stream, size, crc).unwrap_err();
            assert!(message.contains(word), "{word}: {message}");
        }
        for length in (0..stream.len()).step_by(97) {
            assert!(inflated(&stream[..length], data.len(), crc).is_err(), "{length} bytes");
        }
        assert!(inflated(&[0xFF; 100], 10, 0).unwrap_err().contains("damaged"));
    }

    #[test]
    fn a_part_is_inflated_once_and_not_for_a_fragment() {
        let data = [7; 1000];
        let (stream, crc) = stored(&data);
        let file = FileBytes::from_static("a.bin".into(), stream.clone().leak());
        let part = Deflated::new(0..stream.len(), data.len(), crc);
        assert!(part.bytes(&file, 15).unwrap_err().contains("1000 bytes, of which it needs 15"));
        let first = part.bytes(&file, 16).unwrap();
        assert_eq!(first.as_slice(), data);
        assert!(std::ptr::eq(first, part.bytes(&file, 1).unwrap()));
    }
}
