//! sentencepiece's byte-pair encoding: the adjacent pair whose concatenation is the best-scored piece is merged, until none
//! is left; ties go to the left. Characters without a piece become bytes.
//!
//! The candidates are kept in a heap and stale ones are skipped, so n characters take O(n log n).
//! Follows <https://github.com/google/sentencepiece/blob/master/src/bpe_model.cc> and `normalizer.cc` in meaning.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use super::sentencepiece::Kind;
use super::special::{Finder, Token, looks_like_marker, overlaps};
use crate::error::{Error, Result};

/// How text is prepared before it is cut. The identity character map is the only one supported.
#[derive(Debug, Clone, Copy)]
pub(super) struct Normalizer {
    /// A space is put in front of a text that is not empty.
    pub(super) dummy_prefix: bool,
    /// Spaces at both ends go, and runs of spaces become one.
    pub(super) remove_extra_whitespaces: bool,
    /// Spaces are written as ▁ (U+2581).
    pub(super) escape_whitespaces: bool,
}

impl Normalizer {
    pub(super) fn apply(&self, text: &str) -> String {
        self.apply_with(text, &mut |_, _| {})
    }

    /// As [`Normalizer::apply`]; tells `place` for each written character its end in the result, and its start in `text`.
    fn apply_with(&self, text: &str, place: &mut dyn FnMut(usize, usize)) -> String {
        let untrimmed = text.len();
        let text = if self.remove_extra_whitespaces { text.trim_start_matches(' ') } else { text };
        let trimmed = untrimmed - text.len();
        let text = if self.remove_extra_whitespaces { text.trim_end_matches(' ') } else { text };
        let mut out = String::with_capacity(text.len() + text.len() / 4 + 3);
        if text.is_empty() {
            return out;
        }
        let space = if self.escape_whitespaces { '▁' } else { ' ' };
        if self.dummy_prefix {
            out.push(space);
            place(out.len(), trimmed);
        }
        let mut after_space = false;
        for (at, c) in text.char_indices() {
            let is_space = c == ' ';
            if !(is_space && after_space && self.remove_extra_whitespaces) {
                out.push(if is_space { space } else { c });
                place(out.len(), trimmed + at);
            }
            after_space = is_space;
        }
        out
    }
}

/// A piece that text can be cut into.
#[derive(Debug, Clone, Copy)]
struct Entry {
    id: u32,
    score: f32,
    unused: bool,
    /// Never the result of merges.
    is_marker: bool,
}

/// The encoder's tables.
#[derive(Debug)]
pub(super) struct Bpe {
    normalizer: Normalizer,
    entries: HashMap<Box<str>, Entry>,
    /// Pieces that are never cut.
    user_defined: Finder,
    longest: usize,
    unk: u32,
    byte_ids: Option<Box<[u32; 256]>>,
}

/// A stretch of the text; `len` 0 means that it was merged into its left neighbour.
#[derive(Clone, Copy)]
struct Symbol {
    start: u32,
    len: u32,
    prev: u32,
    next: u32,
    frozen: bool,
}

const NONE: u32 = u32::MAX;

/// Two neighbours that could become one.
struct Candidate {
    score: f32,
    left: u32,
    right: u32,
    len: u32,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl Bpe {
    /// `raw` is (text, score, kind) by id; scores are not NaN. Without `byte_ids` an unknown character is `unk`.
    pub(super) fn new(
        raw: &[(&str, f32, Kind)],
        normalizer: Normalizer,
        unk: u32,
        byte_ids: Option<Box<[u32; 256]>>,
    ) -> Result<Self, String> {
        let mut entries = HashMap::with_capacity(raw.len());
        let mut user_defined = Vec::new();
        let mut longest = 0;
        for (id, &(text, score, kind)) in (0u32..).zip(raw) {
            // Control, unknown and byte pieces cannot be spelled: `</s>` in a text is five characters, not the end.
            if matches!(kind, Kind::Control | Kind::Unknown | Kind::Byte) || super::sentencepiece::is_added(score, kind)
            {
                continue;
            }
            longest = longest.max(text.len());
            let is_marker = kind == Kind::UserDefined && looks_like_marker(text);
            // + 0.0 makes -0.0 equal to 0.0 in the total order.
            entries.insert(text.into(), Entry { id, score: score + 0.0, unused: kind == Kind::Unused, is_marker });
            if kind == Kind::UserDefined {
                user_defined.push(Token { spelling: text.to_owned(), id, is_marker, ..Token::default() });
            }
        }
        let user_defined = Finder::new(user_defined)?;
        Ok(Self { normalizer, entries, user_defined, longest, unk, byte_ids })
    }

    /// Makes the user-defined piece of `id` a marker, where there is one.
    pub(super) fn mark(&mut self, id: u32) {
        if self.is_user_defined(id) {
            self.user_defined.mark(id);
            self.entries.values_mut().filter(|entry| entry.id == id).for_each(|entry| entry.is_marker = true);
        }
    }

    /// True when `id` is a user-defined piece.
    pub(super) fn is_user_defined(&self, id: u32) -> bool {
        self.user_defined.tokens().iter().any(|token| token.id == id)
    }

    /// The ids of `text`, without BOS. User-defined markers that touch an `untrusted` range are text.
    pub(super) fn encode(&self, text: &str, untrusted: &[Range<usize>]) -> Result<Vec<u32>> {
        // Where the characters of the prepared text come from; not told for texts without untrusted markers.
        let mut places = Vec::new();
        let text = match self.user_defined.has_markers() && !untrusted.is_empty() {
            true => self.normalizer.apply_with(text, &mut |end, start| places.push((end, start))),
            false => self.normalizer.apply(text),
        };
        if u32::try_from(text.len()).is_err() {
            return Err(Error::Tokenizer(format!("a text of {} bytes; at most 4 GiB can be encoded", text.len())));
        }
        let is_untrusted = |range: Range<usize>| {
            let place = |at: usize| places.get(places.partition_point(|(end, _)| *end <= at)).map(|(_, start)| *start);
            let Some(start) = place(range.start) else { return false };
            // The last character's first byte is as untrusted as the others.
            overlaps(untrusted, &(start..place(range.end.saturating_sub(1)).unwrap_or(start) + 1))
        };
        let mut symbols = self.split(&text, &is_untrusted);
        let mut unused = HashMap::new();
        let mut heap = BinaryHeap::new();
        for right in 1..symbols.len() {
            self.propose(&text, &symbols, right as u32 - 1, right as u32, &mut heap, &mut unused);
        }
        while let Some(top) = heap.pop() {
            let (left, right) = (symbols[top.left as usize], symbols[top.right as usize]);
            if left.len == 0 || right.len == 0 || left.len + right.len != top.len {
                continue;
            }
            symbols[top.left as usize].len = top.len;
            symbols[top.left as usize].next = right.next;
            symbols[top.right as usize].len = 0;
            if right.next != NONE {
                symbols[right.next as usize].prev = top.left;
            }
            self.propose(&text, &symbols, left.prev, top.left, &mut heap, &mut unused);
            self.propose(&text, &symbols, top.left, right.next, &mut heap, &mut unused);
        }
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        let mut after_unknown = false;
        for symbol in symbols.iter().filter(|symbol| symbol.len > 0) {
            self.emit(symbol.text(&text), &unused, &mut after_unknown, &mut ids);
        }
        Ok(ids)
    }

    /// Cuts into characters and user-defined pieces.
    fn split(&self, text: &str, is_untrusted: &dyn Fn(Range<usize>) -> bool) -> Vec<Symbol> {
        let mut symbols = Vec::with_capacity(text.len());
        let mut push = |start: usize, len: usize, frozen: bool| {
            let index = symbols.len() as u32;
            let prev = index.checked_sub(1).unwrap_or(NONE);
            symbols.push(Symbol { start: start as u32, len: len as u32, prev, next: index + 1, frozen });
        };
        let mut at = 0;
        for (_, range) in self.user_defined.find(text, is_untrusted) {
            text[at..range.start].char_indices().for_each(|(offset, c)| push(at + offset, c.len_utf8(), false));
            push(range.start, range.len(), true);
            at = range.end;
        }
        text[at..].char_indices().for_each(|(offset, c)| push(at + offset, c.len_utf8(), false));
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        symbols
    }

    fn propose<'t>(
        &self,
        text: &'t str,
        symbols: &[Symbol],
        left: u32,
        right: u32,
        heap: &mut BinaryHeap<Candidate>,
        unused: &mut HashMap<&'t str, (&'t str, &'t str)>,
    ) {
        if left == NONE || right == NONE {
            return;
        }
        let (a, b) = (symbols[left as usize], symbols[right as usize]);
        let len = a.len + b.len;
        if a.frozen || b.frozen || len as usize > self.longest {
            return;
        }
        let merged = Symbol { len, ..a }.text(text);
        let Some(entry) = self.entries.get(merged).filter(|entry| !entry.is_marker) else { return };
        if entry.unused {
            unused.insert(merged, (a.text(text), b.text(text)));
        }
        heap.push(Candidate { score: entry.score, left, right, len });
    }

    /// Writes the id of `piece`; an unused piece is taken apart the way it was made, an unknown one goes byte by byte.
    fn emit(&self, piece: &str, unused: &HashMap<&str, (&str, &str)>, after_unknown: &mut bool, ids: &mut Vec<u32>) {
        let mut stack = vec![piece];
        while let Some(piece) = stack.pop() {
            match self.entries.get(piece) {
                Some(entry) => {
                    if let (true, Some((left, right))) = (entry.unused, unused.get(piece)) {
                        stack.extend([right, left]);
                        continue;
                    }
                    *after_unknown = false;
                    ids.push(entry.id);
                }
                None => match &self.byte_ids {
                    Some(byte_ids) => ids.extend(piece.bytes().map(|byte| byte_ids[usize::from(byte)])),
                    None => {
                        // sentencepiece reports a run of unknown characters as one.
                        if !std::mem::replace(after_unknown, true) {
                            ids.push(self.unk);
                        }
                    }
                },
            }
        }
    }
}

impl Symbol {
    fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start as usize..(self.start + self.len) as usize]
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use super::*;

    const PLAIN: Normalizer =
        Normalizer { dummy_prefix: true, remove_extra_whitespaces: false, escape_whitespaces: true };

    fn bpe(pieces: &[(&'static str, f32, Kind)], normalizer: Normalizer) -> Bpe {
        let mut raw = vec![("<unk>", 0.0, Kind::Unknown), ("</s>", 0.0, Kind::Control)];
        raw.extend_from_slice(pieces);
        Bpe::new(&raw, normalizer, 0, None).unwrap()
    }

    #[test]
    fn normalizer_flags() {
        assert_eq!(PLAIN.apply(" a  b "), "▁▁a▁▁b▁");
        let tidy = Normalizer { remove_extra_whitespaces: true, ..PLAIN };
        assert_eq!(tidy.apply("  a  b "), "▁a▁b");
        assert_eq!(tidy.apply("   "), "");
        assert_eq!(PLAIN.apply(""), "");
        let bare = Normalizer { dummy_prefix: false, escape_whitespaces: false, ..PLAIN };
        assert_eq!(bare.apply("a b"), "a b");
    }

    #[test]
    fn the_best_score_merges_first_and_ties_go_left() {
        use Kind::Normal;
        let pieces =
            [("▁", -9.0, Normal), ("a", -9.0, Normal), ("b", -9.0, Normal), ("ab", -2.0, Normal), ("ba", -1.0, Normal)];
        let bpe = bpe(&pieces, PLAIN);
        assert_eq!(bpe.encode("aba", &[]).unwrap(), [2, 3, 6]);
        let pieces = [("▁", -9.0, Normal), ("a", -9.0, Normal), ("aa", -1.0, Normal)];
        assert_eq!(super::tests::bpe(&pieces, PLAIN).encode("aaa", &[]).unwrap(), [2, 4, 3]);
    }

    #[test]
    fn control_pieces_cannot_be_spelled() {
        let pieces = [("▁", 0.0, Kind::Normal), ("<", 0.0, Kind::Normal), ("/s>", 0.0, Kind::Normal)];
        assert_eq!(bpe(&pieces, PLAIN).encode("</s>", &[]).unwrap(), [2, 3, 0]);
    }

    #[test]
    fn user_defined_pieces_stay_whole_and_unused_ones_come_apart() {
        use Kind::{Normal, Unused, UserDefined};
        let pieces = [
            ("▁", 0.0, Normal),
            ("a", 0.0, Normal),
            ("b", 0.0, Normal),
            ("ab", 5.0, Unused),
            ("aab", 0.0, UserDefined),
        ];
        let bpe = bpe(&pieces, PLAIN);
        assert_eq!(bpe.encode("ab", &[]).unwrap(), [2, 3, 4]);
        assert_eq!(bpe.encode("aaab", &[]).unwrap(), [2, 3, 6]);
        assert_eq!(bpe.encode("aaab", &[0..4]).unwrap(), [2, 3, 6]);
    }

    #[test]
    fn user_defined_markers_are_text_where_they_are_untrusted() {
        use Kind::{Normal, UserDefined};
        let pieces = [("▁", 0.0, Normal), ("<", 0.0, Normal), ("!", 0.0, Normal), ("<!", 0.0, UserDefined)];
        for (normalizer, front) in [(PLAIN, 0), (Normalizer { remove_extra_whitespaces: true, ..PLAIN }, 2)] {
            let bpe = bpe(&pieces, normalizer);
            let text = " ".repeat(front) + "<!<!";
            assert_eq!(bpe.encode(&text, &[]).unwrap(), [2, 5, 5]);
            assert_eq!(bpe.encode(&text, &[front..front + 2]).unwrap(), [2, 3, 4, 5]);
            assert_eq!(bpe.encode(&text, &[front + 3..front + 4]).unwrap(), [2, 5, 3, 4]);
            assert_eq!(bpe.encode(&text, &[0..text.len()]).unwrap(), [2, 3, 4, 3, 4]);
        }
    }
}
