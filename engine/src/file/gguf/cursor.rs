//! A place in the head of a GGUF file: nothing is taken that is not there.

use std::ops::Range;

/// Bytes that are read in order. The errors are details of a message.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What stands behind `bytes`, for messages.
    end: &'static str,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of the first `limit` bytes of `file`.
    pub(super) fn new(file: &'a [u8], limit: usize) -> Self {
        match file.get(..limit) {
            Some(bytes) => Self { bytes, at: 0, end: "the longest head that is read ends: the file is damaged" },
            None => Self { bytes: file, at: 0, end: "the file ends: it is cut or damaged, download it again" },
        }
    }

    /// How many bytes were taken.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// How many can still be taken.
    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }

    /// Takes `count` bytes and says where they are.
    pub(super) fn skip(&mut self, count: u64) -> Result<Range<usize>, String> {
        if count > self.left() {
            return Err(format!(
                "{count} bytes expected at byte {}, but {} bytes later {}",
                self.at,
                self.left(),
                self.end
            ));
        }
        let start = self.at;
        // At most what is left, which is a usize.
        self.at += count as usize;
        Ok(start..self.at)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let range = self.skip(count)?;
        Ok(self.bytes.get(range).unwrap_or_default())
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        let bytes = self.take(8)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// Passes over a string of any length, and says where its text is.
    pub(super) fn skip_text(&mut self) -> Result<Range<usize>, String> {
        let length = self.u64()?;
        self.skip(length)
    }

    /// A name: UTF-8 of at most `max` bytes.
    pub(super) fn name(&mut self, max: usize) -> Result<&'a str, String> {
        let length = self.u64()?;
        if length > max as u64 {
            return Err(format!("a name of {length} bytes, expected at most {max}: the file is damaged"));
        }
        std::str::from_utf8(self.take(length)?).map_err(|error| format!("the name is not UTF-8 ({error})"))
    }
}
