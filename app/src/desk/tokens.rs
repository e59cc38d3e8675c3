//! The tokens of an answer with what else the model thought of: what a tap on a token shows. Kept beside the message, deflated.

use std::io::{Read as _, Write as _};
use std::ops::Range;

use anyhow::Context as _;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use guanaco_engine::session::Chances;
use guanaco_engine::tokenizer::{DetokenizeStream, Tokenizer};
use serde::{Deserialize, Serialize};

/// The likeliest tokens that are kept of each place: the one that was chosen, which is mostly among them, and ten others.
pub const ALTERNATIVES: usize = 11;

/// The most bytes that a kept record inflates to.
const MOST_BYTES: u64 = 64 << 20;

/// A token of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Token {
    /// The text that it completed; empty where it only began a character, or ended the answer.
    #[serde(rename = "t")]
    pub text: String,
    /// How likely the model found it, 0 to 1.
    #[serde(rename = "p")]
    pub chance: f32,
    /// The likeliest ones, best first.
    #[serde(rename = "a")]
    pub best: Vec<Alternative>,
}

/// A token that could have stood there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// Its text; where it has none of its own (a byte of a character, the end of the text), its name.
    #[serde(rename = "t")]
    pub text: String,
    /// How likely the model found it, 0 to 1.
    #[serde(rename = "p")]
    pub chance: f32,
    /// Whether an answer can go on behind it: it has a text.
    #[serde(rename = "w", default)]
    pub has_text: bool,
}

impl Alternative {
    fn new((id, chance): (u32, f32), tokenizer: Option<&Tokenizer>) -> Self {
        let text = tokenizer.and_then(|tokenizer| DetokenizeStream::after_context().push(tokenizer, id).ok().flatten());
        let has_text = text.is_some();
        let name = || tokenizer.and_then(|tokenizer| tokenizer.piece(id)).unwrap_or_else(|| format!("<{id}>"));
        Self { text: text.unwrap_or_else(name), chance, has_text }
    }
}

impl Token {
    /// From what the session told of token `id` and the `text` that it completed.
    pub fn new(text: String, chances: Option<&Chances>, tokenizer: Option<&Tokenizer>) -> Self {
        let best = chances.map(|chances| chances.best.iter().map(|&best| Alternative::new(best, tokenizer)).collect());
        Self { text, chance: chances.map_or(0.0, |chances| chances.chosen), best: best.unwrap_or_default() }
    }
}

impl Token {
    /// A text that the model did not choose.
    pub fn written(text: String) -> Self {
        Self { text, chance: 0.0, best: Vec::new() }
    }
}

/// Where each of `tokens` stands in `content`, the message that they make up; None for what is not in it: the name of who speaks,
/// white space around the text. Empty when the tokens are not those of `content`, which was edited.
pub fn places(tokens: &[Token], content: &str) -> Vec<Option<Range<usize>>> {
    let whole: String = tokens.iter().map(|token| token.text.as_str()).collect();
    let Some(skipped) = whole.trim_end().strip_suffix(content.trim_end()).map(str::len) else { return Vec::new() };
    let mut at = 0;
    let place = |token: &Token| {
        let (start, end) = (at, at + token.text.len());
        at = end;
        let range = start.max(skipped) - skipped..end.min(skipped + content.len()).max(skipped) - skipped;
        Some(range).filter(|range| !range.is_empty())
    };
    tokens.iter().map(place).collect()
}

/// The tokens of an answer that begins as that of `tokens`, with the text `content`, does up to byte `at`, and then has `instead`.
pub fn branch(tokens: &[Token], content: &str, at: usize, instead: &str) -> Vec<Token> {
    let places = places(tokens, content);
    let Some(fork) = places.iter().position(|place| place.as_ref().is_some_and(|place| place.start >= at)) else {
        return Vec::new();
    };
    let (before, after) = tokens.split_at(fork);
    let Some(left) = after.first() else { return Vec::new() };
    let chance = left.best.iter().find(|best| best.text == instead).map_or(0.0, |best| best.chance);
    let other = Token { text: instead.to_owned(), chance, best: left.best.clone() };
    before.iter().cloned().chain(Some(other)).collect()
}

/// As they are kept.
///
/// # Errors
/// None that can be met; an encoder's are passed on.
pub fn pack(tokens: &[Token]) -> anyhow::Result<Vec<u8>> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&serde_json::to_vec(tokens)?)?;
    Ok(encoder.finish()?)
}

/// What [`pack`] made.
///
/// # Errors
/// When `bytes` are not that.
pub fn unpack(bytes: &[u8]) -> anyhow::Result<Vec<Token>> {
    let mut json = Vec::new();
    DeflateDecoder::new(bytes)
        .take(MOST_BYTES)
        .read_to_end(&mut json)
        .context("the tokens of an answer do not inflate")?;
    serde_json::from_slice(&json).context("the tokens of an answer are not what this program wrote")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_leave_out_the_name_and_the_space() {
        let tokens: Vec<Token> = [" Ava", ":", " He", "", "llo", " \n"].map(|text| Token::written(text.into())).into();
        assert_eq!(places(&tokens, "Hello"), [None, None, Some(0..2), None, Some(2..5), None]);
        assert_eq!(places(&tokens, "Ava: Hello").first(), Some(&Some(0..3)));
        assert!(places(&tokens, "Goodbye").is_empty());
        let texts = |at| branch(&tokens, "Hello", at, "y!").into_iter().map(|token| token.text).collect::<String>();
        assert_eq!([texts(0), texts(2), texts(5)], [" Ava:y!", " Ava: Hey!", ""]);
    }

    #[test]
    fn they_come_back_as_they_were_kept() {
        let best = |text: &str, chance| Alternative { text: text.into(), chance, has_text: true };
        let token =
            |text: &str| Token { text: text.into(), chance: 0.5, best: vec![best("a", 0.5), best("直", 0.25)] };
        let tokens: Vec<Token> = (0..300).map(|n| token(&n.to_string())).collect();
        let packed = pack(&tokens).unwrap();
        assert!(packed.len() < 300 * 40, "{} bytes", packed.len());
        assert_eq!(unpack(&packed).unwrap(), tokens);
        assert!(unpack(&packed[..packed.len() / 2]).is_err() && unpack(b"nonsense").is_err());
    }
}
