//! New cards from what the model card says a character can be given as: a list of traits, a first-person narration, or an
//! encyclopedic entry. Each becomes the description, which heads the System block.

use super::card::{Card, Text};

impl Card {
    /// From a list of traits: a line each, `Name` first, as the model was trained to read them. Marks of lists in front of a
    /// trait, and empty ones, are left out.
    pub fn from_traits<T: AsRef<str>>(name: &str, traits: &[T]) -> Self {
        let marks = |c: char| c.is_whitespace() || matches!(c, '-' | '*' | '•' | '・' | '·');
        let traits =
            traits.iter().flat_map(|one| one.as_ref().lines()).map(|line| line.trim_start_matches(marks).trim_end());
        let lines: Vec<_> = traits.filter(|line| !line.is_empty()).map(|line| format!("- {line}")).collect();
        Self::described(name, &format!("{}\n{}", name.trim(), lines.join("\n")))
    }

    /// From a narration in the first person. The narrator's name goes in front when the text does not say it.
    pub fn from_narration(name: &str, narration: &str) -> Self {
        Self::named_text(name, narration)
    }

    /// From an encyclopedic entry. Its title goes in front when the text does not say the name.
    pub fn from_entry(name: &str, entry: &str) -> Self {
        Self::named_text(name, entry)
    }

    fn named_text(name: &str, text: &str) -> Self {
        let (name, text) = (name.trim(), text.trim());
        match text.contains(name) {
            true => Self::described(name, text),
            false => Self::described(name, &format!("{name}\n{text}")),
        }
    }

    fn described(name: &str, description: &str) -> Self {
        let mut card = Self::new(name.trim());
        card.set_text(Text::Description, description.trim());
        card
    }
}
