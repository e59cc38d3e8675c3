//! Special and added tokens: one definition of what they are, and one search for them, for every tokenizer.
//!
//! - A **marker** is an added token that structures a prompt, such as `</s>` or `<|im_end|>`. It is listed
//!   ([`super::Tokenizer::specials`]), and where an untrusted text spells it, it is text. Each token that the file calls special is
//!   one, and so is each other added token that does not look like ordinary text.
//! - The other added tokens are **ordinary**: runs of white space or of one character, single characters, words of letters and
//!   digits, and HTML's formatting tags but for `<s>`. Models learned them from ordinary text, so they are recognised in every text.

use std::ops::Range;

use aho_corasick::{AhoCorasick, Anchored, Input, MatchKind, StartKind};

/// Tags that vocabularies hold as pieces of ordinary text. `<s>` is not among them: it begins a text.
const HTML: [&str; 24] = [
    "table",
    "caption",
    "thead",
    "tbody",
    "tfoot",
    "tr",
    "th",
    "td",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "strong",
    "em",
    "b",
    "i",
    "u",
    "sub",
    "sup",
    "code",
    "br",
];

/// True when an added token that its file does not call special is a marker nevertheless.
pub(super) fn looks_like_marker(name: &str) -> bool {
    let mut chars = name.chars();
    let first = chars.next();
    let is_run = chars.all(|c| Some(c) == first);
    let is_space = |c: char| c.is_whitespace() || c == '▁';
    let is_word = |c: char| c.is_alphanumeric() || is_space(c) || matches!(c, '-' | '\'' | '_');
    let tag = name.strip_prefix('<').and_then(|name| name.strip_suffix('>'));
    let tag = tag.map(|tag| tag.strip_prefix('/').unwrap_or(tag));
    !(is_run || name.chars().all(is_word) || tag.is_some_and(|tag| HTML.contains(&tag)))
}

/// An added token as it is searched for.
#[derive(Debug, Clone, Default)]
pub(super) struct Token {
    /// How it is spelled in the searched text.
    pub(super) spelling: String,
    pub(super) id: u32,
    pub(super) is_marker: bool,
    /// Not where a letter, a digit or `_` is its neighbour.
    pub(super) single_word: bool,
    /// It takes the white space on its left.
    pub(super) lstrip: bool,
    /// It takes the white space on its right.
    pub(super) rstrip: bool,
}

/// Finds added tokens in one pass, the leftmost first and of those the longest.
#[derive(Debug, Default)]
pub(super) struct Finder {
    tokens: Vec<Token>,
    automaton: Option<AhoCorasick>,
}

impl Finder {
    /// # Errors
    /// Why the tokens cannot be searched for: they are too many and too long.
    pub(super) fn new(mut tokens: Vec<Token>) -> Result<Self, String> {
        tokens.retain(|token| !token.spelling.is_empty());
        if tokens.is_empty() {
            return Ok(Self::default());
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .start_kind(StartKind::Both)
            .build(tokens.iter().map(|token| token.spelling.as_bytes()))
            .map_err(|error| format!("{} added tokens cannot be searched for: {error}", tokens.len()))?;
        Ok(Self { tokens, automaton: Some(automaton) })
    }

    /// True when a token is a marker.
    pub(super) fn has_markers(&self) -> bool {
        self.tokens.iter().any(|token| token.is_marker)
    }

    /// The tokens.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// This search with more tokens. One that is known already stays as it is, but for becoming a marker.
    ///
    /// # Errors
    /// As [`Finder::new`].
    pub(super) fn with(mut self, tokens: Vec<Token>) -> Result<Self, String> {
        for token in tokens {
            match self.tokens.iter_mut().find(|known| known.id == token.id) {
                Some(known) => known.is_marker |= token.is_marker,
                None => self.tokens.push(token),
            }
        }
        Self::new(self.tokens)
    }

    /// Makes the token of `id` a marker, where there is one.
    pub(super) fn mark(&mut self, id: u32) {
        self.tokens.iter_mut().filter(|token| token.id == id).for_each(|token| token.is_marker = true);
    }

    /// The tokens in `text`, in order, with the bytes that they take. A marker counts only where `is_untrusted` says no of its bytes.
    pub(super) fn find(&self, text: &str, is_untrusted: &dyn Fn(Range<usize>) -> bool) -> Vec<(u32, Range<usize>)> {
        let Some(automaton) = &self.automaton else { return Vec::new() };
        let (mut found, mut at, mut taken) = (Vec::new(), 0, 0);
        while at < text.len() {
            let Some(mut hit) = automaton.find(Input::new(text).range(at..)) else { break };
            // Where the longest token is partly untrusted, a shorter one may be trusted.
            let accepted = loop {
                let token = &self.tokens[hit.pattern().as_usize()];
                if !(token.is_marker && is_untrusted(hit.range())) {
                    break Some(token);
                }
                let shorter = Input::new(text).range(hit.start()..hit.end() - 1).anchored(Anchored::Yes);
                match automaton.find(shorter) {
                    Some(next) => hit = next,
                    None => break None,
                }
            };
            let Some(token) = accepted else {
                at = hit.start() + text[hit.start()..].chars().next().map_or(1, char::len_utf8);
                continue;
            };
            at = hit.end();
            if token.single_word && !is_single_word(text, hit.range()) {
                continue;
            }
            let (mut start, mut end) = (hit.start(), hit.end());
            if token.lstrip {
                start = text[..start].trim_end().len().max(taken);
            }
            if token.rstrip {
                end = text.len() - text[end..].trim_start().len();
            }
            // White space that the token before took is not taken twice, nor a token within it.
            if start >= taken {
                found.push((token.id, start..end));
                taken = end;
                at = end.max(at);
            }
        }
        found
    }
}

fn is_single_word(text: &str, range: Range<usize>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    !text[..range.start].chars().next_back().is_some_and(is_word)
        && !text[range.end..].chars().next().is_some_and(is_word)
}

/// True when one of the sorted, disjoint `ranges` has a byte of `range`.
pub(super) fn overlaps(ranges: &[Range<usize>], range: &Range<usize>) -> bool {
    let next = ranges.partition_point(|other| other.end <= range.start);
    ranges[next..]
        .iter()
        .take_while(|other| other.start < range.end)
        .any(|other| !other.is_empty() && !range.is_empty())
}

/// The parts of `ranges` that lie in `window`, counted from its start.
pub(super) fn within(ranges: &[Range<usize>], window: &Range<usize>) -> Vec<Range<usize>> {
    let next = ranges.partition_point(|other| other.end <= window.start);
    let inside = ranges[next..].iter().take_while(|other| other.start < window.end);
    inside.map(|other| other.start.max(window.start) - window.start..other.end.min(window.end) - window.start).collect()
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use super::*;

    fn finder(names: &[&str]) -> Finder {
        let token = |(id, name): (u32, &&str)| Token {
            spelling: (*name).to_owned(),
            id,
            is_marker: looks_like_marker(name),
            ..Token::default()
        };
        Finder::new((0..).zip(names).map(token).collect()).unwrap()
    }

    fn ids(finder: &Finder, text: &str, untrusted: &[Range<usize>]) -> Vec<u32> {
        finder.find(text, &|range| overlaps(untrusted, &range)).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn ordinary_text_is_no_marker() {
        for name in ["\n\n", "▁▁", "----", "=", "word", "two words", "é", "<table>", "</h1>", "🙂"] {
            assert!(!looks_like_marker(name), "{name}");
        }
        for name in ["<s>", "</s>", "<|im_end|>", "[INST]", "<end_of_turn>", "### User:", "<｜User｜>"] {
            assert!(looks_like_marker(name), "{name}");
        }
    }

    #[test]
    fn untrusted_bytes_are_text_and_do_not_hide_trusted_tokens() {
        let finder = finder(&["<|a|>", "|><|b|>", "<|b|>", "<|a|>x<", "\n\n"]);
        assert_eq!(ids(&finder, "<|a|><|b|>", &[]), [0, 2]);
        assert_eq!(ids(&finder, "<|a|><|b|>", &[0..5]), [2]);
        assert_eq!(ids(&finder, "u|><|b|>", &[]), [1]);
        assert_eq!(ids(&finder, "u|><|b|>", &[0..3]), [2]);
        assert_eq!(ids(&finder, "<|a|>x<", &[6..7]), [0]);
        assert_eq!(ids(&finder, "<|a|>\n\n<|b|>", &[4..8]), [4]);
        assert_eq!(ids(&finder, "<|a|>", &[2..2]), [0]);
    }

    #[test]
    fn many_tokens_cost_one_pass() {
        let names: Vec<String> = (0..60_000).map(|id| format!("<|token {id}|>")).collect();
        let finder = finder(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let text = "<|token ".repeat(100_000) + "59999|>";
        let start = std::time::Instant::now();
        assert_eq!(ids(&finder, &text, &[]), [59_999]);
        assert!(start.elapsed().as_secs() < 10);
    }
}
