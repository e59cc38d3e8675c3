//! The tokens that transformers keeps next to a `tokenizer.model`: `added_tokens.json` (2023), or `added_tokens_decoder` in
//! `tokenizer_config.json`. They cut the text before sentencepiece sees it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::special::{Token, looks_like_marker};

/// An entry of `added_tokens_decoder`.
#[derive(Deserialize)]
pub(super) struct Entry {
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
}

/// An added token, and whether its file calls it special: such ones say nothing when they are decoded.
pub(super) struct Added {
    pub(super) token: Token,
    pub(super) is_special: bool,
}

/// The tokens of `added_tokens_decoder`, by id.
///
/// # Errors
/// A key that is no id.
pub(super) fn from_decoder(entries: BTreeMap<String, Entry>) -> Result<Vec<Added>, String> {
    let entries = entries.into_iter().map(|(id, entry)| {
        let id = id.parse().map_err(|_| format!("added_tokens_decoder: expected an id as the key, got {id:?}"))?;
        let is_marker = entry.special || looks_like_marker(&entry.content);
        let Entry { content: spelling, special: is_special, single_word, lstrip, rstrip } = entry;
        Ok(Added { token: Token { spelling, id, is_marker, single_word, lstrip, rstrip }, is_special })
    });
    sorted(entries.collect::<Result<_, String>>()?)
}

/// The tokens of `added_tokens.json`, by id.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn from_map(bytes: &[u8]) -> Result<Vec<Added>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let map: BTreeMap<String, u32> = serde_json::from_slice(bytes)
        .map_err(|error| format!("added_tokens.json: expected an object of token: id: {error}"))?;
    let added = map.into_iter().map(|(spelling, id)| {
        let is_marker = looks_like_marker(&spelling);
        Added { token: Token { spelling, id, is_marker, ..Token::default() }, is_special: false }
    });
    sorted(added.collect())
}

fn sorted(mut added: Vec<Added>) -> Result<Vec<Added>, String> {
    added.sort_by_key(|added| added.token.id);
    for pair in added.windows(2) {
        if let [first, second] = pair
            && first.token.id == second.token.id
        {
            let (a, b) = (&first.token.spelling, &second.token.spelling);
            return Err(format!("added tokens {a:?} and {b:?} have the same id {}", first.token.id));
        }
    }
    Ok(added)
}
