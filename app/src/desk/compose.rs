//! From the open chat to the conversation that the prompt is built from.

use guanaco_engine::prompt::{Conversation, Message, Role};
use guanaco_engine::sampler::SamplerConfig;

use super::Desk;
use super::settings::ChatSettings;
use crate::cards::{self, Cast, Composition, LoreAccount};
use crate::chat::Manner;
use crate::tree::{Node, NodeId};

/// What the prompt is built from.
#[derive(Debug, Clone)]
pub struct Composed {
    /// The conversation up to the message to answer, or to go on with.
    pub conversation: Conversation,
    /// Older messages that cannot fit, and were not looked at.
    pub left_out: usize,
    /// Who can be speaking in an answer.
    pub names: Vec<String>,
    /// Who speaks, by id in the library.
    pub speaker: Option<u64>,
    /// Which entries of the speaker's lorebook are in the prompt, and why.
    pub lore: LoreAccount,
    /// Examples of the card that did not fit.
    pub examples_dropped: usize,
    /// What else was done to the cards.
    pub notes: Vec<String>,
}

impl Composed {
    /// How an answer is made by `settings`, with `sampler`.
    pub fn manner<'a>(&self, settings: &'a ChatSettings, sampler: &'a SamplerConfig) -> Manner<'a> {
        Manner {
            preset: settings.preset,
            sampler,
            max_new_tokens: settings.max_new_tokens,
            stop: &settings.stop,
            ignore_eos: false,
            history_tokens: settings.history_tokens,
        }
    }

    /// The last message as it stands in the prompt, name included.
    pub fn last_as_written(&self) -> String {
        match self.conversation.messages.last() {
            Some(Message { name: Some(name), content, .. }) => format!("{name}: {content}"),
            Some(Message { content, .. }) => content.clone(),
            None => String::new(),
        }
    }

    /// Whether something in the System block backs an answer.
    pub fn is_sourced(&self) -> bool {
        let system = &self.conversation.system;
        let played = self.conversation.character.is_some();
        played || system.sources.iter().any(|source| source.enabled) || !system.knowledge.trim().is_empty()
    }
}

impl Desk {
    /// The conversation up to `node`.
    pub(super) fn composed(&self, node: NodeId) -> Composed {
        self.compose(self.chat.tree.path_to(node).into_iter().map(message))
    }

    /// The conversation up to `node`, as it is answered: behind a reply, which another character answers, the user says nothing.
    pub(super) fn composed_question(&self, node: NodeId) -> Composed {
        let path = self.chat.tree.path_to(node);
        let silent = path.last().is_some_and(|node| node.role == Role::Assistant).then(|| Message::user(""));
        self.compose(path.into_iter().map(message).chain(silent))
    }

    /// The conversation as it is, with what is typed as the message to answer; with the last message when nothing is typed.
    pub(super) fn composed_draft(&self) -> Composed {
        let path = self.chat.tree.path();
        let draft = self.chat.draft.trim();
        let last_is_user = path.last().is_some_and(|node| node.role == Role::User);
        let typed = (!draft.is_empty() || !last_is_user).then(|| Message::user(draft));
        self.compose(path.into_iter().map(message).chain(typed))
    }

    fn compose(&self, messages: impl Iterator<Item = Message>) -> Composed {
        let settings = &self.chat.settings;
        let mut messages: Vec<Message> = messages.collect();
        // A message is more than a token: older ones than the context has tokens cannot fit, and counting them takes time.
        let most = self.model.ready().map_or(usize::MAX, |model| model.files.max_seq_len);
        let left_out = messages.len().saturating_sub(most);
        messages.drain(..left_out);
        let tokenizer = self.model.ready().and_then(|model| model.files.tokenizer.as_ref());
        let count = |text: &str| match tokenizer.map(|tokenizer| tokenizer.encode(text, false)) {
            Some(Ok(ids)) => ids.len(),
            // About what a token is in most texts; it only decides which examples and lore are left out.
            _ => text.len() / 4,
        };
        let playing: Vec<_> = settings.characters.iter().filter_map(|id| self.character(*id)).collect();
        let cards: Vec<_> = playing.iter().map(|character| cards::Card::clone(&character.card)).collect();
        let speaker = playing.iter().position(|character| Some(character.id) == settings.speaker).unwrap_or(0);
        let speaker_id = playing.get(speaker).map(|character| character.id);
        let cast = Cast {
            cards: &cards,
            speaker,
            user: &settings.user_name,
            language: settings.language,
            seed: self.chat.id.0,
            // A book may ask for more than there is: history and answer need room, too.
            lore_limit: self.model.ready().map(|model| model.files.max_seq_len / 4),
        };
        // Examples are the first to go: they may have a quarter of the context.
        let examples = self.model.ready().map_or(512, |model| model.files.max_seq_len / 4);
        let composition = cards::compose(&cast, &settings.system, messages, examples, &count, settings.force_name);
        let Composition { conversation, names, lore, examples_dropped, notes, .. } = composition;
        Composed { conversation, left_out, names, speaker: speaker_id, lore, examples_dropped, notes }
    }
}

fn message(node: &Node) -> Message {
    Message { role: node.role, content: node.content.clone(), name: node.name.clone() }
}
