//! From the open chat to the conversation that the prompt is built from.

use std::sync::Arc;

use guanaco_engine::prompt::{Conversation, Message, Role};

use super::Desk;
use super::settings::ChatSettings;
use crate::cards::{self, Card, Cast, Composition, LoreAccount};
use crate::checkpoint::Files;
use crate::tree::{Node, NodeId};

/// What part of the context lore may take, and examples too: one token in so many. History and answer need room.
const SHARE: usize = 4;

/// All that a prompt depends on, as it is now: it can be composed on any thread, while the chat goes on.
#[derive(Debug)]
pub(super) struct Scene {
    /// The messages, up to the one to answer, or to go on with.
    messages: Vec<Message>,
    /// Older messages that cannot fit.
    left_out: usize,
    /// How answers are made.
    pub(super) settings: ChatSettings,
    /// The characters of the chat, by id in the library.
    playing: Vec<(u64, Arc<Card>)>,
    /// What the cards' random macros follow from.
    seed: u64,
    /// The model's files.
    pub(super) files: Arc<Files>,
}

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
    /// The last message as it stands in the prompt, name included.
    pub fn last_as_written(&self) -> String {
        match self.conversation.messages.last() {
            Some(Message { name: Some(name), content, .. }) => format!("{name}: {content}"),
            Some(Message { content, .. }) => content.clone(),
            None => String::new(),
        }
    }
}

impl Scene {
    /// Puts cards and messages into the builder's form.
    pub(super) fn compose(&self) -> Composed {
        let Self { messages, left_out, settings, playing, seed, files } = self;
        let cards: Vec<_> = playing.iter().map(|(_, card)| card.clone()).collect();
        let speaker = playing.iter().position(|(id, _)| Some(*id) == settings.speaker).unwrap_or(0);
        let share = files.max_seq_len / SHARE;
        let cast = Cast {
            cards: &cards,
            speaker,
            user: &settings.user_name,
            language: settings.language,
            seed: *seed,
            lore_limit: Some(share),
        };
        let count = |text: &str| files.count(text);
        let composition = cards::compose(&cast, &settings.system, messages.clone(), share, &count, settings.force_name);
        let Composition { conversation, names, lore, examples_dropped, notes, .. } = composition;
        let speaker = playing.get(speaker).map(|(id, _)| *id);
        Composed { conversation, left_out: *left_out, names, speaker, lore, examples_dropped, notes }
    }
}

impl Desk {
    /// The chat up to `node`.
    pub(super) fn scene(&self, node: NodeId, files: &Arc<Files>) -> Scene {
        self.scene_of(&self.chat.tree.path_to(node), None, files)
    }

    /// The chat up to `node`, as it is answered: behind a reply, which another character answers, the user says nothing.
    pub(super) fn question_scene(&self, node: NodeId, files: &Arc<Files>) -> Scene {
        let path = self.chat.tree.path_to(node);
        let silent = path.last().is_some_and(|node| node.role == Role::Assistant).then_some("");
        self.scene_of(&path, silent, files)
    }

    /// The chat as it is, with what is typed as the message to answer; with the last message when nothing is typed.
    pub(super) fn draft_scene(&self, files: &Arc<Files>) -> Scene {
        let path = self.chat.tree.path();
        let draft = self.chat.draft.trim();
        let last_is_user = path.last().is_some_and(|node| node.role == Role::User);
        self.scene_of(&path, (!draft.is_empty() || !last_is_user).then_some(draft), files)
    }

    fn scene_of(&self, path: &[&Node], said: Option<&str>, files: &Arc<Files>) -> Scene {
        let settings = self.chat.settings.clone();
        // A message is more than a token: older ones than the context has tokens cannot fit, and counting them takes time.
        let left_out = (path.len() + usize::from(said.is_some())).saturating_sub(files.max_seq_len);
        let messages = path.iter().skip(left_out).map(|node| message(node)).chain(said.map(Message::user)).collect();
        let playing = settings.characters.iter().filter_map(|id| self.character(*id));
        let playing = playing.map(|character| (character.id, character.card.clone())).collect();
        Scene { messages, left_out, settings, playing, seed: self.chat.id.0, files: files.clone() }
    }
}

fn message(node: &Node) -> Message {
    Message { role: node.role, content: node.content.clone(), name: node.name.clone() }
}
