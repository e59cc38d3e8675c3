//! What a prompt is built from: plain data with a stable JSON form.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::language::Language;
use crate::error::{Error, Result};

/// The reserved keywords of the model card, as switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Keywords {
    /// `NO IDEA`: the model says that it lacks the knowledge, and points elsewhere.
    pub no_idea: bool,
    /// `FORBIDDEN`: the model refuses, with a reason that it infers.
    pub forbidden: bool,
    /// `SFW`: the model refuses what a filter for adult content rejects.
    pub sfw: bool,
}

impl Keywords {
    /// The keywords as the format spells them, in the order of the System block.
    pub const NAMES: [&str; 3] = ["NO IDEA", "FORBIDDEN", "SFW"];

    fn switches(&mut self) -> [&mut bool; 3] {
        [&mut self.no_idea, &mut self.forbidden, &mut self.sfw]
    }

    /// The names of those that are on.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [self.no_idea, self.forbidden, self.sfw]
            .into_iter()
            .zip(Self::NAMES)
            .filter_map(|(on, name)| on.then_some(name))
    }
}

/// A text that answers can be checked against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its name, on one line.
    pub title: String,
    /// Where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// What it says.
    pub text: String,
    /// Whether it goes into the prompt.
    #[serde(default = "on")]
    pub enabled: bool,
}

fn on() -> bool {
    true
}

/// The System block: knowledge, then sources, then keywords.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct System {
    /// Free text; may be empty.
    pub knowledge: String,
    /// Sources, in their order.
    pub sources: Vec<Source>,
    /// The switches.
    pub keywords: Keywords,
}

impl System {
    /// The block from its written form: keyword lines at the end become switches, the rest is knowledge.
    pub fn from_block(text: &str) -> Self {
        let mut system = Self::default();
        let mut rest = text;
        loop {
            let (before, last) = rest.rsplit_once('\n').unwrap_or(("", rest));
            let switches = system.keywords.switches();
            let Some(index) = Keywords::NAMES.iter().position(|name| last.trim() == *name) else { break };
            *switches[index] = true;
            rest = before;
        }
        system.knowledge = rest.to_owned();
        system
    }

    /// Whether there is something to check an answer against: knowledge, or a source that counts.
    pub fn has_source(&self) -> bool {
        self.sources.iter().any(Source::counts) || !self.knowledge.trim().is_empty()
    }
}

impl Source {
    /// It is on, and has a text: a title alone is nothing to check an answer against, and stays out of the prompt.
    pub fn counts(&self) -> bool {
        self.enabled && !self.text.trim().is_empty()
    }
}

/// Whom the model plays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Character {
    /// The name in front of the replies: one line, without a colon.
    pub name: String,
    /// An encyclopedic entry, a first-person narration or a list of traits; it heads the System block. May be empty when
    /// the knowledge says it already.
    pub description: String,
    /// Whether the reply is made to begin with `Name:`; otherwise the model is free to.
    pub force_name: bool,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The System block; in [`Conversation`] it has its own field.
    System,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text, as typed or as generated.
    pub content: String,
    /// The character who speaks; written `Name: content`. None when the content has it already, or nobody is played.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

impl Message {
    /// A user's message.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into(), name: None }
    }

    /// A reply.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into(), name: None }
    }
}

/// All that a prompt says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Conversation {
    /// The System block.
    pub system: System,
    /// Whom the model plays, if anyone.
    pub character: Option<Character>,
    /// The messages, oldest first; the last is the user's, or the reply to go on with.
    pub messages: Vec<Message>,
    /// The language of the builder's own words.
    pub language: Language,
}

impl Conversation {
    /// Whether something in the System block backs the answer: what it can be checked against, or a character, of whom it tells.
    pub fn is_backed(&self) -> bool {
        self.character.is_some() || self.system.has_source()
    }

    /// From `[{"role":"system|user|assistant","content":"…"}]`, the last a user's. System messages make up the System block,
    /// in their order; keyword lines at its end are switches ([`System::from_block`]). A `name` is kept.
    ///
    /// # Errors
    /// [`Error::Prompt`] naming the message that is not of this form.
    pub fn from_messages(json: &str) -> Result<Self> {
        let form = "expected [{\"role\":\"system|user|assistant\",\"content\":\"…\"}, …]";
        let fail = |detail: String| Error::Prompt(format!("messages: {detail}; {form}"));
        let json = json.strip_prefix('\u{feff}').unwrap_or(json);
        let root: Value = serde_json::from_str(json).map_err(|error| fail(format!("not valid JSON ({error})")))?;
        let list = root.as_array().ok_or_else(|| fail("not a list".into()))?;
        let mut conversation = Self::default();
        let mut system = Vec::new();
        for (index, entry) in list.iter().enumerate() {
            let message: Message =
                serde_json::from_value(entry.clone()).map_err(|error| fail(format!("message {index}: {error}")))?;
            match message.role {
                Role::System => system.push(message.content),
                _ => conversation.messages.push(message),
            }
        }
        conversation.system = System::from_block(&system.join("\n"));
        match list.last().map(|last| last["role"].as_str()) {
            Some(Some("user")) => Ok(conversation),
            Some(role) => {
                Err(fail(format!("the last message is of {}; it must be the user's", role.unwrap_or("nobody"))))
            }
            None => Err(fail("the list is empty".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_block_round_trip() {
        let system = System::from_block("Ava lives in Rome.\nNO IDEA\nSFW");
        assert_eq!(system.knowledge, "Ava lives in Rome.");
        assert_eq!(system.keywords, Keywords { no_idea: true, forbidden: false, sfw: true });
        assert_eq!(System::from_block("FORBIDDEN").knowledge, "");
        let inner = System::from_block("SFW\nis a word");
        assert_eq!((inner.knowledge.as_str(), inner.keywords), ("SFW\nis a word", Keywords::default()));
        assert_eq!(System::from_block(""), System::default());
    }

    #[test]
    fn a_source_without_a_text_does_not_count() {
        let source = |text: &str, enabled| Source { title: "t".into(), link: None, text: text.into(), enabled };
        let with = |source| System { sources: vec![source], ..System::default() };
        assert!(with(source("x", true)).has_source());
        for empty in [source("", true), source(" \n", true), source("x", false)] {
            assert!(!with(empty.clone()).has_source());
            let conversation =
                Conversation { system: with(empty), messages: vec![Message::user("hi")], ..Conversation::default() };
            let bare = Conversation { system: System::default(), ..conversation.clone() };
            let [some, none] = [conversation, bare]
                .map(|conversation| crate::prompt::build(&conversation, &Default::default(), None).unwrap().text);
            assert_eq!(some, none);
        }
    }

    #[test]
    fn messages_form() {
        let json = r#"[{"role":"system","content":"A\nSFW"},{"role":"user","content":"hi"},{"role":"assistant","content":"ho","name":"Ava"},{"role":"user","content":"x"}]"#;
        let conversation = Conversation::from_messages(json).unwrap();
        assert_eq!(conversation.messages.len(), 3);
        assert_eq!(conversation.messages[1].name.as_deref(), Some("Ava"));
        assert!(conversation.system.keywords.sfw);
        for (bad, word) in [
            ("", "not valid JSON"),
            ("{}", "not a list"),
            ("[]", "empty"),
            (r#"[{"role":"user"}]"#, "message 0: missing field `content`"),
            (r#"[{"role":"user","content":"a"},{"role":"bot","content":"b"}]"#, "message 1: unknown variant `bot`"),
            (r#"[{"role":"user","content":["a"]}]"#, "message 0"),
            (r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]"#, "must be the user's"),
            (r#"[{"role":"user","content":"a"},{"role":"system","content":"b"}]"#, "must be the user's"),
        ] {
            let error = Conversation::from_messages(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn json_form_is_stable() {
        let conversation = Conversation {
            system: System {
                knowledge: "k".into(),
                sources: vec![Source { title: "t".into(), link: Some("l".into()), text: "x".into(), enabled: true }],
                keywords: Keywords { sfw: true, ..Keywords::default() },
            },
            character: Some(Character { name: "Ava".into(), description: "kind".into(), force_name: true }),
            messages: vec![Message::user("hi")],
            language: Language::ZhTw,
        };
        let json = r#"{"system":{"knowledge":"k","sources":[{"title":"t","link":"l","text":"x","enabled":true}],"keywords":{"no_idea":false,"forbidden":false,"sfw":true}},"character":{"name":"Ava","description":"kind","force_name":true},"messages":[{"role":"user","content":"hi"}],"language":"zh-TW"}"#;
        assert_eq!(serde_json::to_string(&conversation).unwrap(), json);
        assert_eq!(serde_json::from_str::<Conversation>(json).unwrap(), conversation);
    }
}
