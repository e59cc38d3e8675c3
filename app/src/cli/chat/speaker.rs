//! The name that a character's reply begins with, found while the text still comes.

use guanaco_engine::prompt::parse_reply;

/// Holds the beginning of a reply back until it is clear whether it is the name.
pub(super) struct Speaker {
    name: Option<String>,
    held: String,
}

impl Speaker {
    /// For replies of `name`; of nobody without.
    pub(super) fn new(name: Option<String>) -> Self {
        Self { name, held: String::new() }
    }

    /// Takes the next piece of the reply; returns the name with its colon, once, and the text behind it.
    pub(super) fn push(&mut self, text: &str) -> (String, String) {
        let Some(name) = &self.name else { return (String::new(), text.to_owned()) };
        self.held.push_str(text);
        let (found, rest) = parse_reply(&self.held, &[name]);
        if found.is_some() {
            let label = self.held[..self.held.len() - rest.len()].trim_end().len();
            let rest = self.held.split_off(label);
            self.name = None;
            return (std::mem::take(&mut self.held), rest);
        }
        // What may still become the name: its beginning, or all of it and spaces before a colon.
        let held = self.held.trim().to_lowercase();
        if name.to_lowercase().starts_with(&held) { (String::new(), String::new()) } else { self.finish() }
    }

    /// What is held, when no more comes, or it is no name.
    pub(super) fn finish(&mut self) -> (String, String) {
        self.name = None;
        (String::new(), std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The label and the text of a reply that comes in `pieces`.
    fn run(name: &str, pieces: &[&str]) -> (String, String) {
        let mut speaker = Speaker::new(Some(name.to_owned()));
        let mut parts: Vec<_> = pieces.iter().map(|piece| speaker.push(piece)).collect();
        parts.push(speaker.finish());
        (parts.iter().map(|part| part.0.as_str()).collect(), parts.iter().map(|part| part.1.as_str()).collect())
    }

    #[test]
    fn the_name_stands_apart_however_the_text_comes() {
        for (text, label) in [
            ("Luma: Hello, Luma: you", "Luma:"),
            ("luma :Hello", "luma :"),
            ("Luma：你好", "Luma："),
            ("Luma is here", ""),
            ("Lumina: Hello", ""),
            ("Lum", ""),
            ("Hello", ""),
            ("", ""),
        ] {
            let single: Vec<String> = text.chars().map(String::from).collect();
            let single: Vec<&str> = single.iter().map(String::as_str).collect();
            for pieces in [&[text][..], &single] {
                let (got, rest) = run("Luma", pieces);
                assert_eq!(got, label, "{text:?}");
                assert_eq!(got + &rest, text);
            }
        }
    }

    #[test]
    fn without_a_name_nothing_is_held() {
        assert_eq!(Speaker::new(None).push("Lu"), (String::new(), "Lu".to_owned()));
    }
}
