//! What a person does with chats and messages.

use guanaco_engine::prompt::{Language, Role};

use super::chat::{OpenChat, SaveState};
use super::settings::ChatSettings;
use super::{Desk, News, setting};
use crate::store::{Change, ChatId};
use crate::tree::{NewNode, NodeId};

impl Desk {
    /// Opens a new chat, with the settings that new ones have.
    pub fn new_chat(&mut self) {
        self.stop();
        self.settle();
        self.chat = OpenChat::new(&self.store, self.new_settings());
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
            self.chat.touch();
        }
    }

    /// Opens the chat `id`.
    pub fn open_chat(&mut self, id: ChatId) {
        if self.chat.id == id {
            return;
        }
        self.stop();
        self.settle();
        match OpenChat::read(&self.store, id) {
            Ok(chat) => {
                self.chat = chat;
                self.keep("open-chat", &id.0);
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
        match self.store.chat(id) {
            Ok(chat) => {
                let head = crate::store::ChatHead { title, ..chat.head };
                if let Some(listed) = self.chats.iter_mut().find(|chat| chat.id == id) {
                    listed.title = head.title.clone();
                }
                self.saver.save(vec![Change::ChatHead(id, head)]);
            }
            Err(error) => self.news.push(News::Failed(error.to_string())),
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
        self.chats.retain(|chat| chat.id != id);
    }

    /// Sends what is typed, and asks for an answer. Nothing happens without text, or while an answer is being made.
    pub fn send(&mut self) {
        if self.answering.is_some() || self.chat.draft.trim().is_empty() {
            return;
        }
        let content = std::mem::take(&mut self.chat.draft).trim().to_owned();
        let leaf = self.chat.tree.leaf();
        let node = self.chat.tree.add(leaf, NewNode::user(content));
        self.save_chat();
        self.answer_to(node);
    }

    /// Another answer in place of `answer`, beside it.
    pub fn regenerate(&mut self, answer: NodeId) {
        let parent = self.chat.tree.node(answer).and_then(|node| node.parent);
        if let Some(parent) = parent {
            self.answer_to(parent);
        }
    }

    /// Replaces the text of `node` by a sibling with `text`. A user's message is answered anew.
    pub fn edit(&mut self, node: NodeId, text: &str) {
        if self.answering.is_some() {
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
        if self.answering.is_none() {
            self.chat.tree.swipe(node, by);
            self.save_chat();
        }
    }

    /// Opens the branch that `node` is on.
    pub fn choose(&mut self, node: NodeId) {
        if self.answering.is_none() {
            self.chat.tree.choose(node);
            self.save_chat();
        }
    }

    /// Opens a new chat that begins as this one does, up to `node`.
    pub fn branch_off(&mut self, node: NodeId) {
        if self.answering.is_some() {
            return;
        }
        let mut chat = OpenChat::new(&self.store, self.chat.settings.clone());
        chat.title.clone_from(&self.chat.title);
        let mut parent = None;
        for node in self.chat.tree.path_to(node) {
            parent = Some(chat.tree.add(parent, NewNode::like(node)));
        }
        self.chat = chat;
        self.save_chat();
    }

    /// Deletes `node` with all that follows it; [`Desk::undo`] brings it back.
    pub fn delete(&mut self, node: NodeId) {
        if self.answering.is_none()
            && let Some(removed) = self.chat.tree.delete(node)
        {
            self.chat.undo.push(removed);
            self.save_chat();
        }
    }

    /// Brings the last deleted messages back.
    pub fn undo(&mut self) {
        if let Some(removed) = self.chat.undo.pop() {
            self.chat.tree.restore(removed);
            self.save_chat();
        }
    }

    /// Whether there is something to bring back.
    pub fn can_undo(&self) -> bool {
        !self.chat.undo.is_empty()
    }

    /// Whether message `node` is on disk as it is shown.
    pub fn save_state(&self, node: NodeId) -> SaveState {
        // What streams is ahead of what is on disk until it is over.
        if self.answering.as_ref().is_some_and(|answering| answering.node == node) {
            return SaveState::Saving;
        }
        self.chat.save_state(node, self.saver.saved())
    }

    /// Saves what changed in the open chat.
    pub fn save_chat(&mut self) {
        self.chat.save(&self.saver);
        let summary = self.chat.summary();
        let known = self.chats.iter().any(|chat| chat.id == summary.id);
        self.chats.retain(|chat| chat.id != summary.id);
        if self.chat.is_empty() && !known {
            return;
        }
        if !known {
            self.keep("open-chat", &summary.id.0);
        }
        self.chats.insert(0, summary);
    }
}
