//! The texts that keys are looked for in.

/// A text in its own case and in lower case.
#[derive(Default)]
pub(super) struct Both {
    plain: String,
    lower: String,
}

impl Both {
    pub(super) fn of(text: &str) -> Self {
        let mut both = Self::default();
        both.push(text);
        both
    }

    fn push(&mut self, text: &str) {
        self.plain.push_str(text);
        self.plain.push('\n');
        self.lower.push_str(&text.to_lowercase());
        self.lower.push('\n');
    }

    fn len(&self) -> (usize, usize) {
        (self.plain.len(), self.lower.len())
    }

    pub(super) fn whole(&self) -> Stretch<'_> {
        Stretch { plain: &self.plain, lower: &self.lower }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Stretch<'a> {
    pub(super) plain: &'a str,
    pub(super) lower: &'a str,
}

/// The newest messages, within bounds.
pub(super) struct Recent {
    text: Both,
    /// How many older messages are left out.
    first: usize,
    /// Where each of the others begins, and behind them the end.
    starts: Vec<(usize, usize)>,
}

impl Recent {
    /// The newest of `messages`, `bytes` at most: the oldest of them may be cut.
    pub(super) fn new(messages: &[&str], bytes: usize) -> Self {
        let mut left = bytes;
        let mut kept = Vec::new();
        for message in messages.iter().rev() {
            if left == 0 {
                break;
            }
            let start = message.ceil_char_boundary(message.len().saturating_sub(left));
            kept.push(&message[start..]);
            left = left.saturating_sub(message.len().max(1));
        }
        let mut text = Both::default();
        let mut starts = Vec::with_capacity(kept.len() + 1);
        let first = messages.len() - kept.len();
        for message in kept.into_iter().rev() {
            starts.push(text.len());
            text.push(message);
        }
        starts.push(text.len());
        Self { text, first, starts }
    }

    /// The `depth` newest of the first `until` messages.
    pub(super) fn window(&self, until: usize, depth: usize) -> Stretch<'_> {
        let end = until.saturating_sub(self.first).min(self.starts.len() - 1);
        let start = until.saturating_sub(depth).saturating_sub(self.first).min(end);
        let (start, end) = (self.starts[start], self.starts[end]);
        Stretch { plain: &self.text.plain[start.0..end.0], lower: &self.text.lower[start.1..end.1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows() {
        let messages = ["Ä", "bb", "CCC", "d"];
        let recent = Recent::new(&messages, 1000);
        for (until, depth, expected) in [
            (4, 1, "d\n"),
            (4, 2, "CCC\nd\n"),
            (4, 9, "Ä\nbb\nCCC\nd\n"),
            (4, 0, ""),
            (2, 1, "bb\n"),
            (2, 9, "Ä\nbb\n"),
            (0, 9, ""),
        ] {
            let found = recent.window(until, depth);
            assert_eq!((found.plain, found.lower), (expected, expected.to_lowercase().as_str()), "{until} {depth}");
        }
        // Older ones are cut, or not there.
        let recent = Recent::new(&messages, 3);
        assert_eq!(recent.window(4, 9).plain, "CC\nd\n");
        assert_eq!(recent.window(2, 9).plain, "");
        assert_eq!(recent.window(3, 9).plain, "CC\n");
        assert_eq!(Recent::new(&[], 3).window(0, 9).plain, "");
        assert_eq!(Recent::new(&messages, 0).window(4, 9).plain, "");
    }
}
