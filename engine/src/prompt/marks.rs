//! Marks around untrusted text, which show where a chat template printed it.
//!
//! A template is run twice, with and without marks. Where both print the same, the marks give the byte ranges of the untrusted text,
//! and no special token is recognised in them: the text needs no change.

use std::collections::HashSet;
use std::ops::Range;

/// Three private-use characters that no input has.
pub(super) struct Marks {
    open: char,
    close: char,
    /// Closes the reply to continue.
    end: char,
}

impl Marks {
    /// Marks that none of `texts` has; None when there are none left.
    pub(super) fn absent<'t>(texts: impl Iterator<Item = &'t str>) -> Option<Self> {
        let is_private = |c: &char| matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}');
        let used: HashSet<char> = texts.flat_map(str::chars).filter(is_private).collect();
        let mut free = ('\u{e000}'..='\u{f8ff}').chain('\u{f0000}'..='\u{ffffd}').filter(|c| !used.contains(c));
        Some(Self { open: free.next()?, close: free.next()?, end: free.next()? })
    }

    /// `text` with marks inside of its outer white space, which templates may trim.
    pub(super) fn around(&self, text: &str) -> String {
        if text.trim().is_empty() { text.to_owned() } else { self.wrap(text, self.close) }
    }

    /// The reply to continue, marked even when it is empty.
    pub(super) fn around_reply(&self, text: &str) -> String {
        self.wrap(text, self.end)
    }

    fn wrap(&self, text: &str, close: char) -> String {
        let core = text.trim();
        let start = text.len() - text.trim_start().len();
        format!("{}{}{core}{close}{}", &text[..start], self.open, &text[start + core.len()..])
    }

    /// The ranges of `plain` that are marked in `marked`, in order. None when the texts differ in more than the marks, or when
    /// what is marked is not one of `texts` as a whole: a template that changes or splits a text moves its marks as well.
    pub(super) fn ranges<'t>(
        &self,
        marked: &str,
        plain: &str,
        texts: impl Iterator<Item = &'t str>,
    ) -> Option<Vec<Range<usize>>> {
        let texts: HashSet<&str> = texts.map(str::trim).collect();
        let (mut ranges, mut open, mut at) = (Vec::new(), None, 0);
        let mut rest = plain;
        for c in marked.chars() {
            if c == self.open {
                if open.replace(at).is_some() {
                    return None;
                }
            } else if c == self.close || c == self.end {
                let range = open.take()?..at;
                if !texts.contains(&plain[range.clone()]) {
                    return None;
                }
                if !range.is_empty() {
                    ranges.push(range);
                }
            } else {
                rest = rest.strip_prefix(c)?;
                at += c.len_utf8();
            }
        }
        (open.is_none() && rest.is_empty()).then_some(ranges)
    }

    /// One past the last byte of the reply in `plain`, with the white space that ends it where the template keeps that.
    pub(super) fn end_of_reply(&self, marked: &str, plain: &str, reply: &str) -> Option<usize> {
        let before = &marked[..marked.rfind(self.end)?];
        let before: String = before.chars().filter(|&c| c != self.open && c != self.close && c != self.end).collect();
        let after = plain.strip_prefix(before.as_str())?;
        let space = &reply[reply.trim_end().len()..];
        Some(before.len() + if after.starts_with(space) { space.len() } else { 0 })
    }
}

/// The part of `ranges` below `end`.
pub(super) fn clipped(ranges: &[Range<usize>], end: usize) -> Vec<Range<usize>> {
    let below = ranges.iter().take_while(|range| range.start < end);
    below.map(|range| range.start..range.end.min(end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_or_refused() {
        let marks = Marks::absent(["a", "\u{e000}"].into_iter()).unwrap();
        assert_eq!((marks.open, marks.close, marks.end), ('\u{e001}', '\u{e002}', '\u{e003}'));
        let texts = || [" a b\n", "ü"].into_iter();
        let marked = format!("<{}|{}>", marks.around(" a b\n"), marks.around("ü"));
        assert_eq!(marks.ranges(&marked, "< a b\n|ü>", texts()), Some(vec![2..5, 7..9]));
        for (marked, plain) in [
            ("\u{e001}ü", "ü"),
            ("ü\u{e002}", "ü"),
            ("\u{e001}\u{e001}ü\u{e002}", "ü"),
            ("\u{e001}üx\u{e002}", "üx"),
            ("\u{e001}ü\u{e002}", "üx"),
            ("\u{e001}ü\u{e002}x", "ü"),
        ] {
            assert_eq!(marks.ranges(marked, plain, texts()), None, "{marked:?} {plain:?}");
        }
        let reply = format!("</s{}</s>", marks.around_reply("s "));
        assert_eq!(marks.end_of_reply(&reply, "</ss </s>", "s "), Some(5));
        assert_eq!(marks.end_of_reply("x", "x", "s"), None);
    }
}
