//! The texts of a conversation, with their markers kept from acting.

use super::conversation::Conversation;
use super::language::Term;
use super::neutralise::{Neutralised, Place, Rules, neutralise};
use super::presets::Line;

/// Each untrusted text of a prompt, and what was changed in it.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) lines: Vec<Line>,
    /// What was neutralised in each message.
    pub(super) reports: Vec<Vec<Neutralised>>,
    pub(super) system: String,
    pub(super) system_report: Vec<Neutralised>,
    /// What the reply begins with.
    pub(super) reply: String,
    pub(super) reply_prefix: Option<String>,
}

impl Texts {
    pub(super) fn new(conversation: &Conversation, continue_last: bool, rules: &Rules) -> Self {
        let mut texts = Self::default();
        for (index, message) in conversation.messages.iter().enumerate() {
            let (mut report, place) = (Vec::new(), Place::Message(index));
            let mut text = String::new();
            if let Some(name) = &message.name {
                text = neutralise(name, rules, place, &mut report) + ": ";
            }
            text += &neutralise(&message.content, rules, place, &mut report);
            texts.lines.push(Line { role: message.role, text });
            texts.reports.push(report);
        }
        texts.system = system_block(conversation, rules, &mut texts.system_report);
        let forced = conversation.character.as_ref().filter(|character| character.force_name);
        if continue_last {
            texts.reply = texts.lines.last().map(|line| line.text.clone()).unwrap_or_default();
        } else if let Some(character) = forced {
            // No space behind the colon: LLaMA's vocabularies join it to the word that follows.
            texts.reply = neutralise(&character.name, rules, Place::Character, &mut texts.system_report) + ":";
            texts.reply_prefix = Some(texts.reply.clone());
        }
        texts
    }
}

/// The character's description, the knowledge, the sources and the keywords, each on lines of its own.
fn system_block(conversation: &Conversation, rules: &Rules, report: &mut Vec<Neutralised>) -> String {
    let (system, language) = (&conversation.system, conversation.language);
    let mut blocks = Vec::new();
    if let Some(character) = &conversation.character {
        blocks.push(neutralise(&character.description, rules, Place::Character, report));
    }
    blocks.push(neutralise(&system.knowledge, rules, Place::Knowledge, report));
    for (index, source) in system.sources.iter().enumerate().filter(|(_, source)| source.counts()) {
        // The heading is one line; what is filled in is neutralised with it.
        let one_line =
            |text: &str| text.split(|c: char| c.is_control() || c.is_whitespace()).collect::<Vec<_>>().join(" ");
        let title = one_line(&source.title);
        let link = source.link.as_deref().map(one_line).filter(|link| !link.trim().is_empty());
        let term = if link.is_some() { Term::SourceWithLink } else { Term::Source };
        let heading =
            term.with(language, &[("title", title.trim()), ("link", link.as_deref().unwrap_or_default().trim())]);
        blocks.push(neutralise(&format!("{heading}\n{}", source.text), rules, Place::Source(index), report));
    }
    blocks.extend(system.keywords.names().map(str::to_owned));
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n")
}
