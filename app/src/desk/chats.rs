//! What a person does with chats and messages.

use std::time::Instant;

use guanaco_engine::prompt::{Language, Role};

use super::chat::{OpenChat, SaveState};
use super::model::ModelState;
use super::settings::ChatSettings;
use super::{Desk, News, SAVE_EVERY, setting};
use crate::store::{Change, ChatId};
use crate::tree::{NewNode, NodeId};

impl Desk {
    /// Opens a new chat, with the settings that new ones have.
    pub fn new_chat(&mut self) {
        let chat = OpenChat::new(&self.store, self.new_settings());
        self.turn_to(chat);
        self.adopt_sampling();
    }

    /// Leaves the open chat, as it is, for `chat`.
    fn turn_to(&mut self, chat: OpenChat) {
        self.stop();
        self.settle();
        let mut left = std::mem::replace(&mut self.chat, chat);
        let deleted = std::mem::take(&mut left.undo);
        if !deleted.is_empty() {
            self.deleted.insert(left.id, deleted);
        }
        self.chat.undo = self.deleted.remove(&self.chat.id).unwrap_or_default();
        if !left.is_saved(self.saver.saved()) {
            self.parked.push(left);
        }
    }

    /// What a new chat is made with.
    fn new_settings(&self) -> ChatSettings {
        match self.store.setting("new-chat") {
            Some(_) => setting(&self.store, "new-chat"),
            None => ChatSettings { language: self.language, ..ChatSettings::default() },
        }
    }

    /// Says which language the interface has: that of new chats, and of the open one when nothing was said in it.
    pub fn set_language(&mut self, language: Language) {
        self.language = language;
        if self.chat.is_empty() && self.store.setting("new-chat").is_none() {
            self.chat.settings.language = language;
            self.chat.look_again();
        }
    }

    /// Opens the chat `id`.
    pub fn open_chat(&mut self, id: ChatId) {
        if self.chat.id == id {
            return;
        }
        let parked = self.parked.iter().position(|chat| chat.id == id).map(|at| self.parked.swap_remove(at));
        match parked.map_or_else(|| OpenChat::read(&self.store, id), Ok) {
            Ok(chat) => {
                self.turn_to(chat);
                self.keep("open-chat", &id.0);
                let playing = &self.chat.settings.characters;
                let gone: Vec<u64> = playing.iter().copied().filter(|id| self.character(*id).is_none()).collect();
                if !gone.is_empty() {
                    self.news.push(News::CharactersGone(gone.len()));
                    gone.into_iter().for_each(|id| self.dismiss(id));
                }
            }
            Err(error) => self.news.push(News::Failed(error.to_string())),
        }
    }

    /// Gives the chat `id` a title.
    pub fn rename_chat(&mut self, id: ChatId, title: String) {
        if self.chat.id == id {
            self.chat.title = title;
            self.chat.touch();
            self.save_chat();
            return;
        }
        if let Some(chat) = self.parked.iter_mut().find(|chat| chat.id == id) {
            chat.title.clone_from(&title);
            chat.touch();
            chat.save(&self.saver);
        } else {
            match self.store.chat(id) {
                Ok(chat) => {
                    let head = crate::store::ChatHead { title: title.clone(), ..chat.head };
                    self.saver.save(vec![Change::ChatHead(id, head)]);
                }
                Err(error) => {
                    self.news.push(News::Failed(error.to_string()));
                    return;
                }
            }
        }
        if let Some(listed) = self.chats.iter_mut().find(|chat| chat.id == id) {
            listed.title = title;
        }
    }

    /// Deletes the chat `id` for good.
    pub fn delete_chat(&mut self, id: ChatId) {
        if self.chat.id == id {
            self.stop();
            self.answering = None;
            self.chat = OpenChat::new(&self.store, self.new_settings());
        }
        self.saver.save(vec![Change::DeleteChat(id)]);
        self.parked.retain(|chat| chat.id != id);
        self.deleted.remove(&id);
        self.chats.retain(|chat| chat.id != id);
    }

    /// Whether no answer is being made: only then can the chat's messages be changed.
    pub fn is_idle(&self) -> bool {
        self.answering.is_none()
    }

    /// Whether what is typed can be sent: there is something, and a model to answer it.
    pub fn can_send(&self) -> bool {
        self.is_idle() && self.model.ready().is_some() && !self.chat.draft.trim().is_empty()
    }

    /// Sends what is typed, and asks for an answer. What cannot be sent yet stays where it is.
    pub fn send(&mut self) {
        if !self.can_send() {
            let none = matches!(self.model, ModelState::None | ModelState::Failed(_));
            if none && !self.chat.draft.trim().is_empty() {
                self.news.push(News::NoModel);
            }
            return;
        }
        let content = std::mem::take(&mut self.chat.draft).trim().to_owned();
        let leaf = self.chat.tree.leaf();
        let node = self.chat.tree.add(leaf, NewNode::user(content));
        self.save_chat();
        self.answer_to(node);
    }

    /// Replaces the text of `node` by a sibling with `text`. A user's message is answered anew.
    pub fn edit(&mut self, node: NodeId, text: &str) {
        if !self.is_idle() {
            return;
        }
        let is_user = self.chat.tree.node(node).is_some_and(|node| node.role == Role::User);
        let Some(edited) = self.chat.tree.edit(node, text.trim().to_owned()) else { return };
        self.save_chat();
        if is_user {
            self.answer_to(edited);
        }
    }

    /// The answer or message beside `node`, `by` further; nothing at either end.
    pub fn swipe(&mut self, node: NodeId, by: isize) {
        if self.is_idle() {
            self.chat.tree.swipe(node, by);
            self.save_chat();
        }
    }

    /// Opens the branch that `node` is on.
    pub fn choose(&mut self, node: NodeId) {
        if self.is_idle() {
            self.chat.tree.choose(node);
            self.save_chat();
        }
    }

    /// Opens a new chat that begins as this one does, up to `node`.
    pub fn branch_off(&mut self, node: NodeId) {
        if !self.is_idle() {
            return;
        }
        let mut chat = OpenChat::new(&self.store, self.chat.settings.clone());
        chat.title.clone_from(&self.chat.title);
        let (mut parent, mut tokens) = (None, Vec::new());
        for node in self.chat.tree.path_to(node) {
            let copy = chat.tree.add(parent, NewNode::like(node));
            let packed = node.reply.as_ref().and_then(|_| self.packed_tokens(node.id));
            tokens.extend(packed.map(|packed| Change::Tokens(chat.id, copy, packed)));
            parent = Some(copy);
        }
        self.turn_to(chat);
        self.save_chat();
        self.saver.save(tokens);
    }

    /// Deletes `node` with all that follows it; [`Desk::undo`] brings it back.
    pub fn delete(&mut self, node: NodeId) {
        if self.is_idle()
            && let Some(removed) = self.chat.tree.delete(node)
        {
            self.chat.undo.push(removed);
            self.save_chat();
        }
    }

    /// Brings the last deleted messages back.
    pub fn undo(&mut self) {
        if let Some(removed) = self.chat.undo.pop_if(|_| self.answering.is_none()) {
            self.chat.tree.restore(removed);
            self.save_chat();
        }
    }

    /// Whether there is something to bring back, now.
    pub fn can_undo(&self) -> bool {
        self.is_idle() && !self.chat.undo.is_empty()
    }

    /// Whether message `node` is on disk as it is shown.
    pub fn save_state(&self, node: NodeId) -> SaveState {
        // What streams is ahead of what is on disk until it is over.
        if self.answering.as_ref().is_some_and(|answering| answering.node == node) {
            return SaveState::Saving;
        }
        self.chat.save_state(node, self.saver.saved())
    }

    /// Saves what changed in the open chat. One in which nothing was said waits until it is left.
    pub fn save_chat(&mut self) {
        if self.is_kept() {
            self.write_chat();
        }
    }

    /// Whether the open chat is one that the list has, or will have.
    fn is_kept(&self) -> bool {
        !self.chat.tree.is_empty() || self.is_listed(self.chat.id)
    }

    /// Whether something that was typed or set is not on its way to the store yet: [`Desk::poll`] should be called soon.
    pub fn has_unsaved(&self) -> bool {
        (self.chat.is_touched() && self.is_kept()) || self.has_unsaved_characters()
    }

    /// Saves what was set for the open chat and what is typed, if that was done a while ago.
    pub(super) fn save_settings_in_time(&mut self) {
        if self.chat.is_touched() && self.kept_at.is_none_or(|at| at.elapsed() >= SAVE_EVERY) {
            self.kept_at = Some(Instant::now());
            self.save_chat();
        }
    }

    /// Ends the answer that was stopped, and saves all of the open chat, which is left: what there is of the answer stays, the rest of
    /// its events say nothing.
    pub(super) fn settle(&mut self) {
        self.interrupted();
        if self.chat.is_touched() {
            self.write_chat();
        }
    }

    fn write_chat(&mut self) {
        self.chat.save(&self.saver);
        let summary = self.chat.summary();
        if !self.is_listed(summary.id) {
            self.keep("open-chat", &summary.id.0);
        }
        self.chats.retain(|chat| chat.id != summary.id);
        self.chats.insert(0, summary);
    }

    /// Whether the chat `id` is one of those that are kept.
    pub(super) fn is_listed(&self, id: ChatId) -> bool {
        self.chats.iter().any(|chat| chat.id == id)
    }
}
