//! The few words that are put beside a card's own in the System block, in the six languages of the model card.

use guanaco_engine::prompt::Language;

/// A word or line; `{name}` is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// In front of the personality.
    Personality,
    /// In front of the scenario.
    Scenario,
    /// In front of the others of the chat.
    Others,
    /// In front of example conversations.
    Examples,
}

const WORDS: [[&str; 6]; 4] = [
    ["Personality: ", "性格：", "個性：", "性格：", "性格：", "Persönlichkeit: "],
    ["Scenario: ", "场景：", "場景：", "場景：", "場面：", "Szenario: "],
    [
        "Also present: ",
        "在场的还有：",
        "在場的還有：",
        "在場的還有：",
        "ほかに居合わせているのは：",
        "Außerdem anwesend: ",
    ],
    [
        "How {name} talks:",
        "{name} 的说话方式：",
        "{name} 的說話方式：",
        "{name} 的說話方式：",
        "{name} の話し方：",
        "So spricht {name}:",
    ],
];

impl Word {
    /// The word in `language`.
    pub(super) fn with(self, language: Language, name: &str) -> String {
        WORDS[self as usize][language as usize].replacen("{name}", name, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_missing() {
        for (row, named) in WORDS.iter().zip([false, false, false, true]) {
            for (language, word) in Language::ALL.into_iter().zip(row) {
                assert!(!word.is_empty() && word.contains("{name}") == named, "{word} in {language}");
            }
        }
        assert_eq!(Word::Examples.with(Language::De, "{name}"), "So spricht {name}:");
    }
}
