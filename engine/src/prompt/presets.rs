//! The byte-exact formats. Each is a function from the same neutralised pieces to stretches of text.
//!
//! Sources: the model card of JosephusCheung/Guanaco (`guanaco`); the chat and instruct pages of
//! <https://github.com/KohakuBlueleaf/guanaco-lora>; <https://github.com/tatsu-lab/stanford_alpaca> (`alpaca`).

use serde::{Deserialize, Serialize};

use super::conversation::Role;
use crate::error::Error;

/// A prompt format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The model card's format: history under Instruction, System block and new input under Input.
    #[default]
    Guanaco,
    /// The chat page of guanaco-lora: no System block, and no line end after `### Response:`.
    GuanacoLora,
    /// The instruct page of guanaco-lora: one instruction, the System block as its input.
    GuanacoLoraInstruct,
    /// Stanford Alpaca: one instruction, the System block as its input; earlier turns are repeated blocks.
    Alpaca,
    /// The checkpoint's own Jinja template.
    ChatTemplate,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Guanaco, Self::GuanacoLora, Self::GuanacoLoraInstruct, Self::Alpaca, Self::ChatTemplate];

    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guanaco => "guanaco",
            Self::GuanacoLora => "guanaco-lora",
            Self::GuanacoLoraInstruct => "guanaco-lora-instruct",
            Self::Alpaca => "alpaca",
            Self::ChatTemplate => "chat-template",
        }
    }

    /// Whether the System block reaches the model.
    pub fn has_system_slot(self) -> bool {
        self != Self::GuanacoLora
    }

    /// Whether earlier messages reach the model.
    pub fn has_history_slot(self) -> bool {
        self != Self::GuanacoLoraInstruct
    }

    /// True when a person is told when no source backs an answer, as Guanaco's model card asks for.
    pub fn wants_sources(self) -> bool {
        matches!(self, Self::Guanaco | Self::GuanacoLora | Self::GuanacoLoraInstruct)
    }

    /// What a model that runs on would print next: generation stops before it.
    pub fn stop(self) -> Vec<String> {
        let headers = ["### Instruction:", "### Input:", "### Response:"];
        let roles = ["\nUser:", "\nAssistant:", "\nSystem:"];
        let stops: Vec<&str> = match self {
            Self::Guanaco | Self::GuanacoLora => roles.into_iter().chain(headers).collect(),
            Self::GuanacoLoraInstruct | Self::Alpaca => headers.to_vec(),
            Self::ChatTemplate => Vec::new(),
        };
        stops.into_iter().map(str::to_owned).collect()
    }
}

impl std::fmt::Display for Preset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Prompt(format!("preset: expected one of {names}, got {name:?}"))
        })
    }
}

/// What a stretch of the prompt is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SectionKind {
    /// The format's own text: headers and line ends.
    Frame,
    /// Earlier turns.
    History,
    /// The System block, with its label.
    System,
    /// The new input, with its label.
    Input,
    /// What the reply is made to begin with: the character's name, or the reply to go on with.
    Reply,
    /// All that a chat template printed.
    Template,
}

/// One message, neutralised, its speaker's name in front.
pub(super) struct Line {
    pub(super) role: Role,
    pub(super) text: String,
}

/// The pieces of a prompt.
pub(super) struct Parts<'a> {
    pub(super) history: &'a [&'a Line],
    pub(super) system: &'a str,
    pub(super) input: &'a str,
    /// What the reply begins with; may be empty.
    pub(super) reply: &'a str,
}

/// A preset's text, in stretches; [`Preset::ChatTemplate`] has none of its own.
pub(super) fn render(preset: Preset, parts: &Parts<'_>) -> Vec<(SectionKind, String)> {
    use SectionKind::{Frame, History, Input, Reply, System};
    let (system, input, reply) = (parts.system, parts.input, parts.reply);
    let turns =
        || parts.history.iter().map(|line| format!("{}: {}\n", label(line.role), line.text)).collect::<String>();
    // Where the format has no line end after the last header, a model prints one itself.
    let on_new_line = |reply: &str| if reply.is_empty() { String::new() } else { format!("\n{reply}") };
    let frame = |text: &str| (Frame, text.to_owned());
    let mut sections = match preset {
        Preset::Guanaco => vec![
            frame("### Instruction:\n"),
            (History, turns()),
            frame("### Input:\n"),
            (System, if system.is_empty() { String::new() } else { format!("System: {system}\n") }),
            (Input, format!("User: {input}\n")),
            frame("### Response:\n"),
            (Reply, reply.to_owned()),
        ],
        Preset::GuanacoLora => vec![
            frame("### Instruction: \n"),
            (History, turns()),
            frame("\n### Input:\n"),
            (Input, format!("User: {input}\n")),
            frame("\n### Response:"),
            (Reply, on_new_line(reply)),
        ],
        Preset::GuanacoLoraInstruct => {
            let mut sections = vec![frame("### Instruction: \n"), (Input, input.to_owned())];
            if !system.is_empty() {
                sections.extend([frame("\n\n### Input:\n"), (System, system.to_owned())]);
            }
            sections.extend([frame("\n\n### Response:"), (Reply, on_new_line(reply))]);
            sections
        }
        Preset::Alpaca => {
            let head = if system.is_empty() {
                "Below is an instruction that describes a task. "
            } else {
                "Below is an instruction that describes a task, paired with an input that provides further context. "
            };
            let turns = |line: &&Line| match line.role {
                Role::Assistant => format!("### Response:\n{}\n\n", line.text),
                Role::User | Role::System => format!("### Instruction:\n{}\n\n", line.text),
            };
            let mut sections = vec![
                frame(&format!("{head}Write a response that appropriately completes the request.\n\n")),
                (History, parts.history.iter().map(turns).collect()),
                frame("### Instruction:\n"),
                (Input, input.to_owned()),
            ];
            if !system.is_empty() {
                sections.extend([frame("\n\n### Input:\n"), (System, system.to_owned())]);
            }
            sections.extend([frame("\n\n### Response:\n"), (Reply, reply.to_owned())]);
            sections
        }
        Preset::ChatTemplate => Vec::new(),
    };
    sections.retain(|(_, text)| !text.is_empty());
    sections
}

fn label(role: Role) -> &'static str {
    match role {
        Role::User => "User",
        Role::Assistant => "Assistant",
        Role::System => "System",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
            assert_eq!(serde_json::to_value(preset).unwrap(), preset.name());
        }
        assert!("Guanaco".parse::<Preset>().unwrap_err().to_string().contains("guanaco-lora-instruct"));
    }
}
