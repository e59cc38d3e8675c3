//! Text out of ids, one at a time, never half a character.

use super::Tokenizer;
use super::piece::Decoder;
use crate::error::Result;

/// A detokenizer that holds bytes back until their character is complete.
///
/// The pieces that it returns, put together, are exactly [`Tokenizer::decode`] of all the ids
/// (for [`DetokenizeStream::new`]), because both run the same decoder.
#[derive(Debug, Clone)]
pub struct DetokenizeStream {
    decoder: Decoder,
}

impl Default for DetokenizeStream {
    fn default() -> Self {
        Self::new()
    }
}

impl DetokenizeStream {
    /// For ids that begin a text: the one leading space that the encoder puts there is taken away.
    pub fn new() -> Self {
        Self { decoder: Decoder::new(true) }
    }

    /// For ids that go on after a prompt: every space belongs to the text.
    pub fn after_context() -> Self {
        Self { decoder: Decoder::new(false) }
    }

    /// The text that becomes visible with `id`; None when there is none yet (a control id, or a part of a character).
    ///
    /// # Errors
    /// [`crate::Error::Tokenizer`] when the vocabulary has no such id; the stream stays usable.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<Option<String>> {
        let mut out = String::new();
        self.decoder.push(tokenizer.pieces(), id, &mut out)?;
        Ok(if out.is_empty() { None } else { Some(out) })
    }

    /// What is left at the end: U+FFFD for a character that never became complete.
    pub fn finish(&mut self) -> Option<String> {
        let mut out = String::new();
        self.decoder.finish(&mut out);
        if out.is_empty() { None } else { Some(out) }
    }
}
