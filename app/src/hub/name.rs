//! The names of models on the hub, and the two families that are both called Guanaco.

use std::fmt;
use std::str::FromStr;

/// `owner/name`, or `owner/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelName {
    owner: String,
    name: String,
    revision: Option<String>,
}

/// The revision when none is named.
const MAIN: &str = "main";
/// The longest `owner/name` of the hub.
const MAX_ID: usize = 96;
/// The longest revision; a commit has 40 digits.
const MAX_REVISION: usize = 120;

/// Sizes of QLoRA's models. The card's model has only the first.
const SIZES: [&str; 4] = ["7b", "13b", "33b", "65b"];

impl ModelName {
    /// `owner/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// A branch, a tag or a commit; `main` when none was named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// What must be said about a model that is called Guanaco and is not the card's.
    ///
    /// QLoRA (<https://arxiv.org/abs/2305.14314>) called its models Guanaco a month after JosephusCheung's: other data, another
    /// prompt format. Its models and what others made of them are `guanaco-SIZE`; KohakuBlueleaf's guanaco-lora, which is
    /// JosephusCheung's kin, has that name too.
    pub fn note(&self) -> Option<String> {
        let (owner, name) = (self.owner.to_ascii_lowercase(), self.name.to_ascii_lowercase());
        if matches!(owner.as_str(), "josephuscheung" | "kblueleaf" | "kohakublueleaf") || !is_sized(&name) {
            return None;
        }
        let sure = matches!(owner.as_str(), "timdettmers" | "thebloke" | "uwnlp");
        let (is, has) = if sure { ("is", "has") } else { ("is named like", "have") };
        let what = if sure { "of QLoRA's model family" } else { "QLoRA's models, which" };
        Some(format!(
            "note: {} {is} {what}{} {has} the prompt format `### Human:/### Assistant:`; the model card's Guanaco is another \
             one, JosephusCheung/Guanaco",
            self.id(),
            if sure { ", which" } else { "" },
        ))
    }
}

/// Whether `name`, in small letters, is `guanaco` and a size, and maybe more.
fn is_sized(name: &str) -> bool {
    name.strip_prefix("guanaco").is_some_and(|rest| {
        let rest = rest.trim_start_matches(['-', '_', '.']);
        SIZES.iter().any(|size| {
            rest.strip_prefix(size).is_some_and(|after| !after.starts_with(|next: char| next.is_ascii_alphanumeric()))
        })
    })
}

/// The models that a bare `guanaco` or `guanaco-7b` could mean: it is never guessed which.
pub fn candidates(text: &str) -> Option<String> {
    let name = text.to_ascii_lowercase();
    if name != "guanaco" && !(is_sized(&name) && name.bytes().all(is_plain)) {
        return None;
    }
    let size = SIZES.iter().find(|size| name.contains(**size)).unwrap_or(&SIZES[0]);
    Some(format!(
        "\"{text}\" could be JosephusCheung/Guanaco (the model card's) or timdettmers/guanaco-{size} (QLoRA's, another model \
         with another prompt format): name one with its owner"
    ))
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Whether the hub could have an owner or a model of this name, which is then a harmless part of a path, too.
fn is_part(text: &str) -> bool {
    let edge = |c: char| matches!(c, '-' | '.');
    !text.is_empty()
        && text.bytes().all(is_plain)
        && !text.starts_with(edge)
        && !text.ends_with(edge)
        && !text.contains("--")
        && !text.contains("..")
}

fn is_revision(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(|byte| is_plain(byte) || byte == b'+')
    };
    text.len() <= MAX_REVISION && text.split('/').all(part)
}

impl FromStr for ModelName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, revision) = match text.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (text, None),
        };
        if let Some(candidates) = candidates(id) {
            return Err(candidates);
        }
        let parts = id.split_once('/').filter(|(owner, name)| is_part(owner) && is_part(name) && id.len() <= MAX_ID);
        let Some((owner, name)) = parts else {
            return Err(format!("expected a model of the hub such as JosephusCheung/Guanaco (owner/name), got {id:?}"));
        };
        if let Some(revision) = revision.filter(|revision| !is_revision(revision)) {
            return Err(format!("expected a branch, a tag or a commit after the @, got {revision:?}"));
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned(), revision: revision.map(str::to_owned) })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ModelName, String> {
        text.parse()
    }

    #[test]
    fn names() {
        for text in ["JosephusCheung/Guanaco", "a/b@main", "a_b/c.d-e@refs/pr/1", "a/b@v1.0+x"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("a/b").unwrap().revision(), "main");
        for text in [
            "",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "../b",
            "a/..",
            "./b",
            "a/b@",
            "a/b@../x",
            "a/b@x/../y",
            "a/b@/x",
            "a b/c",
            "a/b\n",
            "a/b@x\u{1b}",
            "a--b/c",
            "a\\b/c",
            "a/b?x",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse(&format!("a/{}", "b".repeat(95))).is_err());
    }

    #[test]
    fn two_families_are_called_guanaco() {
        let note = |text: &str| parse(text).unwrap().note();
        for qlora in
            ["timdettmers/guanaco-7b", "timdettmers/guanaco-33b-merged", "TheBloke/guanaco-65B-GPTQ", "x/Guanaco_13b"]
        {
            assert!(note(qlora).is_some_and(|note| note.contains("### Human:")), "{qlora}");
        }
        for other in
            ["JosephusCheung/Guanaco", "KBlueLeaf/guanaco-7b-leh-v2", "a/llama-7b", "a/guanaco", "a/guanaco-7bx"]
        {
            assert_eq!(note(other), None, "{other}");
        }
        assert!(candidates("guanaco-33B").is_some_and(|text| text.contains("timdettmers/guanaco-33b")));
        assert!(parse("guanaco").unwrap_err().contains("JosephusCheung/Guanaco"));
        for no in ["guanacos", "models/guanaco", "llama", "guanaco-7b/x"] {
            assert_eq!(candidates(no), None, "{no}");
        }
    }
}
