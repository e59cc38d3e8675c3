//! From the open chat to the conversation that the prompt is built from.

use std::sync::Arc;

use guanaco_engine::prompt::{Conversation, Message, Role};

use super::Desk;
use super::settings::ChatSettings;
use crate::cards::{self, Card, Cast, Composition, LoreAccount};
use crate::checkpoint::Files;
use crate::store::ChatId;
use crate::tree::{Node, NodeId};

/// What part of the context lore may take, and examples too: one token in so many. History and answer need room.
const SHARE: usize = 4;

/// All that a prompt depends on, as it is now: it can be composed on any thread, while the chat goes on.
#[derive(Debug)]
pub(super) struct Scene {
    /// The chat.
    pub(super) chat: ChatId,
    /// The messages, up to the one to answer.
    messages: Vec<Message>,
    /// The reply to it that is to go on.
    reply: Option<Message>,
    /// Older messages that cannot fit.
    left_out: usize,
    /// How answers are made.
    pub(super) settings: ChatSettings,
    /// The characters of the chat, by id in the library.
    playing: Vec<(u64, Arc<Card>)>,
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
    /// What all but `speaker` are called.
    pub(super) fn others(&self, speaker: Option<u64>) -> impl Iterator<Item = String> {
        let others = self.playing.iter().filter(move |(id, _)| Some(*id) != speaker);
        let named = others.map(|(_, card)| cards::mend_name(card.called()));
        named.chain(Some(self.settings.user_name.trim().to_owned()).filter(|name| !name.is_empty()))
    }

    /// Puts cards and messages into the builder's form.
    pub(super) fn compose(&self) -> Composed {
        let Self { chat, messages, reply, left_out, settings, playing, files } = self;
        let cards: Vec<_> = playing.iter().map(|(_, card)| card.clone()).collect();
        let speaker = playing.iter().position(|(id, _)| Some(*id) == settings.speaker).unwrap_or(0);
        let share = files.max_seq_len / SHARE;
        let cast = Cast {
            cards: &cards,
            speaker,
            user: settings.user(),
            language: settings.language,
            seed: chat.0,
            lore_limit: Some(share),
            left_out: *left_out,
        };
        let count = |text: &str| files.count(text);
        let composition = cards::compose(&cast, &settings.system, messages.clone(), share, &count, settings.force_name);
        let Composition { mut conversation, mut names, lore, examples_dropped, notes, .. } = composition;
        if let Some(reply) = reply {
            let name = reply.name.as_deref().filter(|name| !name.trim().is_empty()).map(cards::mend_name);
            // It may be that of one who has another name by now, or is not in the chat any more.
            names.extend(name.clone().filter(|name| !names.contains(name)));
            conversation.messages.push(Message { name, ..reply.clone() });
        }
        let speaker = playing.get(speaker).map(|(id, _)| *id);
        Composed { conversation, left_out: *left_out, names, speaker, lore, examples_dropped, notes }
    }
}

impl Desk {
    /// The chat up to `node`, as it is answered by `speaker` (None for whom the chat's settings name), or as the answer `reply` to it goes
    /// on.
    pub(super) fn question_scene(
        &self,
        node: NodeId,
        speaker: Option<u64>,
        reply: Option<NodeId>,
        files: &Arc<Files>,
    ) -> Scene {
        let path = self.chat.tree.path_to(node);
        let mut scene = self.scene_of(path.len(), path.into_iter().rev(), "", files);
        scene.settings.speaker = speaker.or(scene.settings.speaker);
        scene.reply = reply.and_then(|id| self.chat.tree.node(id)).map(message);
        scene
    }

    /// The chat as it is, with what is typed as the message to answer; with the last message when nothing is typed.
    pub(super) fn draft_scene(&self, files: &Arc<Files>) -> Scene {
        let path = self.chat.tree.path_ids();
        let newest_first = path.iter().rev().filter_map(|id| self.chat.tree.node(*id));
        self.scene_of(path.len(), newest_first, self.chat.draft.trim(), files)
    }

    /// The messages of a path of `n` that the model is to see, the newest of which comes first, and then `said`. Where that is nothing,
    /// behind a reply, which another character answers, the user says nothing.
    fn scene_of<'a>(
        &self,
        n: usize,
        newest_first: impl Iterator<Item = &'a Node>,
        said: &str,
        files: &Arc<Files>,
    ) -> Scene {
        let mut newest_first = newest_first.filter(|node| !node.hidden()).peekable();
        let last_is_user = newest_first.peek().is_some_and(|node| node.role == Role::User);
        let said = (!said.is_empty() || !last_is_user).then_some(said);
        let settings = self.chat.settings.clone();
        // A message is more than a token: older ones than the context has tokens cannot fit, and going through them takes time.
        let most = files.max_seq_len.saturating_sub(usize::from(said.is_some()));
        let mut messages: Vec<Message> = newest_first.take(most).map(message).collect();
        let left_out = if messages.len() < most { 0 } else { n - messages.len() };
        messages.reverse();
        messages.extend(said.map(Message::user));
        let playing = settings.characters.iter().filter_map(|id| self.character(*id));
        let playing = playing.map(|character| (character.id, character.card.clone())).collect();
        Scene { chat: self.chat.id, messages, reply: None, left_out, settings, playing, files: files.clone() }
    }

    /// Which character of the chat said `node`.
    pub(super) fn speaker_of(&self, node: NodeId) -> Option<u64> {
        let name = self.chat.tree.node(node)?.name.as_deref()?;
        let is_called =
            |card: &Card| [card.called(), card.name()].iter().any(|called| cards::mend_name(called) == name);
        let playing = self.chat.settings.characters.iter().filter_map(|id| self.character(*id));
        playing.into_iter().find(|character| is_called(&character.card)).map(|character| character.id)
    }
}

fn message(node: &Node) -> Message {
    Message { role: node.role, content: node.content.clone(), name: node.name.clone() }
}
