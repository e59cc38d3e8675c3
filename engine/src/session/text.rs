//! The text of a reply as it grows: ids to characters, and stop strings found across tokens.

use crate::error::{Error, Result};
use crate::tokenizer::{DetokenizeStream, Tokenizer};

/// Finds stop strings in a text that comes in pieces, and holds back what may become one.
///
/// The stop string that ends first counts, of several the one that begins first: what is found does not depend on how the text
/// is cut into pieces.
#[derive(Debug, Clone)]
pub(super) struct StopMatcher {
    stops: Vec<String>,
    /// The end of the text, which is the beginning of some stop string.
    held: String,
}

impl StopMatcher {
    pub(super) fn new(stops: &[String]) -> Self {
        Self { stops: stops.to_vec(), held: String::new() }
    }

    /// Takes the next piece; returns what is now safe to show, and the stop string if there is one (nothing may follow).
    pub(super) fn push(&mut self, piece: &str) -> (String, Option<String>) {
        self.held.push_str(piece);
        let found =
            self.stops.iter().filter_map(|stop| self.held.find(stop).map(|start| (start + stop.len(), start, stop)));
        if let Some((_, start, stop)) = found.min() {
            let stop = stop.clone();
            let mut shown = std::mem::take(&mut self.held);
            shown.truncate(start);
            return (shown, Some(stop));
        }
        let may_become_a_stop = |start: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.held[*start..]));
        let safe = self.held.char_indices().map(|(start, _)| start).find(may_become_a_stop).unwrap_or(self.held.len());
        let held = self.held.split_off(safe);
        (std::mem::replace(&mut self.held, held), None)
    }

    /// What was held back; for a text that ends without a stop string.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The text of one reply. Without a tokenizer it stays empty. An id that only the model has (its vocabulary may be padded to a
/// round number) says nothing.
#[derive(Clone)]
pub(super) struct ReplyText<'a> {
    tokenizer: Option<&'a Tokenizer>,
    stream: DetokenizeStream,
    stops: StopMatcher,
    /// What may be shown so far.
    text: String,
    found: Option<String>,
}

impl<'a> ReplyText<'a> {
    /// The text that comes after `prompt`.
    ///
    /// # Errors
    /// Stop strings without a tokenizer, and an empty one, are [`Error::Request`].
    pub(super) fn new(tokenizer: Option<&'a Tokenizer>, prompt: &[u32], stops: &[String]) -> Result<Self> {
        if tokenizer.is_none() && !stops.is_empty() {
            return Err(Error::Request(format!(
                "stop strings: expected none as the checkpoint has no tokenizer, got {}; use EOS ids",
                stops.len()
            )));
        }
        if stops.iter().any(String::is_empty) {
            return Err(Error::Request("stop strings: expected at least one character, got an empty one".to_owned()));
        }
        // Only where the whole text begins is the first space the encoder's own.
        let begins = match tokenizer {
            Some(tokenizer) => {
                let known: Vec<u32> = prompt.iter().copied().filter(|&id| tokenizer.has(id)).collect();
                tokenizer.decode(&known)?.is_empty()
            }
            None => true,
        };
        let stream = if begins { DetokenizeStream::new() } else { DetokenizeStream::after_context() };
        Ok(Self { tokenizer, stream, stops: StopMatcher::new(stops), text: String::new(), found: None })
    }

    /// Takes the next token; returns what is now safe to show.
    pub(super) fn push(&mut self, id: u32) -> Result<&str> {
        let Some(tokenizer) = self.tokenizer.filter(|tokenizer| tokenizer.has(id)) else { return Ok("") };
        match self.stream.push(tokenizer, id)? {
            Some(piece) => Ok(self.take(&piece)),
            None => Ok(""),
        }
    }

    /// The end of a text that no stop string ended; returns what was held back.
    pub(super) fn finish(&mut self) -> &str {
        let shown = self.text.len();
        if self.found.is_none() {
            if let Some(piece) = self.stream.finish() {
                self.take(&piece);
            }
            if self.found.is_none() {
                self.text.push_str(&self.stops.finish());
            }
        }
        &self.text[shown..]
    }

    /// The stop string that ended the text.
    pub(super) fn found(&self) -> Option<&str> {
        self.found.as_deref()
    }

    /// All that was shown.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn take(&mut self, piece: &str) -> &str {
        let shown = self.text.len();
        let (safe, found) = self.stops.push(piece);
        self.text.push_str(&safe);
        self.found = found;
        &self.text[shown..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown, piece by piece, with what is held back at the end, and the stop string.
    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, Option<String>) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut shown = Vec::new();
        for piece in pieces {
            let (safe, found) = matcher.push(piece);
            shown.push(safe);
            if found.is_some() {
                return (shown, found);
            }
        }
        shown.push(matcher.finish());
        (shown, None)
    }

    #[test]
    fn a_stop_string_across_pieces_is_never_shown() {
        let (shown, found) = run(&["\n### "], &["Hi", "\n", "##", "# Instr"]);
        assert_eq!(shown, ["Hi", "", "", ""]);
        assert_eq!(found.as_deref(), Some("\n### "));
    }

    #[test]
    fn what_turns_out_to_be_no_stop_string_is_shown_late() {
        assert_eq!(run(&["\n### "], &["Hi\n", "## no"]), (vec!["Hi".into(), "\n## no".into(), String::new()], None));
        assert_eq!(run(&["User:"], &["a U", "se"]), (vec!["a ".into(), String::new(), "Use".into()], None));
    }

    #[test]
    fn overlapping_beginnings() {
        assert_eq!(run(&["abab"], &["aba", "bab"]), (vec![String::new(), String::new()], Some("abab".into())));
        assert_eq!(run(&["abab"], &["abaab", "ab"]), (vec!["aba".into(), String::new()], Some("abab".into())));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]).0.concat(), "a");
    }

    #[test]
    fn characters_of_many_bytes() {
        let (shown, found) = run(&["用户:"], &["你好用", "户", "你用户", ":x"]);
        assert_eq!(shown, ["你好", "", "用户你", ""]);
        assert_eq!(found.as_deref(), Some("用户:"));
    }

    #[test]
    fn the_result_does_not_depend_on_the_pieces() {
        let stops = ["abcd", "bc", "ab ab", "é€", "dd"];
        let texts = ["xxabcd", "ab abab ab", "a é é€", "no stop abc", "ab a", "add"];
        for text in texts {
            let whole = run(&stops, &[text]);
            let chars: Vec<String> = text.chars().map(String::from).collect();
            let chars: Vec<&str> = chars.iter().map(String::as_str).collect();
            let single = run(&stops, &chars);
            assert_eq!((whole.0.concat(), whole.1), (single.0.concat(), single.1), "{text}");
        }
    }
}
