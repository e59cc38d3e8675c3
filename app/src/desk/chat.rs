//! A chat on the desk: its tree, its settings, and what of it is on disk.

use std::collections::{BTreeMap, HashMap};

use crate::store::{Change, ChatHead, ChatId, ChatSummary, Saver, Store, Ticket};
use crate::tree::{NodeId, Tree, now_ms};

use super::settings::{ChatSettings, lenient};

/// Where what is typed and not sent is kept, beside the settings.
const DRAFT: &str = "draft";
/// The same of changes to messages that are not applied.
const EDITS: &str = "edits";

/// Whether what is shown is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveState {
    /// It is, and outlasts a power cut.
    Saved,
    /// It is on its way.
    Saving,
}

/// A chat on the desk.
#[derive(Debug)]
pub struct OpenChat {
    /// Its id in the store, once it has been saved.
    pub id: ChatId,
    /// Its title; empty for none yet.
    pub title: String,
    created_ms: u64,
    /// How its answers are made; [`OpenChat::touch`] after a change.
    pub settings: ChatSettings,
    /// What was said.
    pub tree: Tree,
    /// What is typed and not sent.
    pub draft: String,
    /// What messages that are being edited say so far.
    pub edits: BTreeMap<NodeId, String>,
    /// Head or settings differ from what the saver has.
    touched: bool,
    /// What the saver has of [`OpenChat::draft`] and [`OpenChat::edits`].
    kept: (String, BTreeMap<NodeId, String>),
    /// Until when each message is being written.
    tickets: HashMap<NodeId, Ticket>,
    /// Until when all of it is.
    given: Ticket,
    /// Subtrees that were deleted, the last one last.
    pub(super) undo: Vec<crate::tree::Removed>,
    /// Counts up with each change of what a prompt is made from.
    pub(super) version: u64,
}

impl OpenChat {
    /// An empty chat, which is saved with its first message.
    pub(super) fn new(store: &Store, settings: ChatSettings) -> Self {
        let created_ms = now_ms();
        Self::with(store.new_chat_id(), String::new(), created_ms, settings, Tree::new())
    }

    /// The chat `id` of `store`.
    pub(super) fn read(store: &Store, id: ChatId) -> Result<Self, crate::store::StoreError> {
        let crate::store::Chat { head, tree, .. } = store.chat(id)?;
        let draft = head.settings.get(DRAFT).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        // Unreadable ones cannot be shown either.
        let edits = head.settings.get(EDITS).cloned().and_then(|edits| serde_json::from_value(edits).ok());
        let mut edits: BTreeMap<NodeId, String> = edits.unwrap_or_default();
        edits.retain(|node, _| tree.node(*node).is_some());
        let chat = Self::with(id, head.title, head.created_ms, lenient(head.settings), tree);
        Ok(Self { kept: (draft.clone(), edits.clone()), draft, edits, ..chat })
    }

    fn with(id: ChatId, title: String, created_ms: u64, settings: ChatSettings, tree: Tree) -> Self {
        Self {
            id,
            title,
            created_ms,
            settings,
            tree,
            draft: String::new(),
            edits: BTreeMap::new(),
            touched: false,
            kept: Default::default(),
            tickets: HashMap::new(),
            given: Ticket::default(),
            undo: Vec::new(),
            version: 0,
        }
    }

    /// Counts up with each change of what is shown.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Says that settings or title were changed.
    pub fn touch(&mut self) {
        self.touched = true;
        self.version += 1;
    }

    /// Says that something beside the chat has changed what a prompt is made from.
    pub(super) fn look_again(&mut self) {
        self.version += 1;
    }

    /// Whether settings, title or what is typed are still to be handed to the saver.
    pub(super) fn is_touched(&self) -> bool {
        self.touched || self.draft != self.kept.0 || self.edits != self.kept.1
    }

    /// Whether all that was handed to the saver is on disk, when everything up to `saved` is.
    pub(super) fn is_saved(&self, saved: Ticket) -> bool {
        self.given <= saved
    }

    /// Whether nothing was said yet.
    pub fn is_empty(&self) -> bool {
        self.tree.path_ids().is_empty()
    }

    /// Hands everything that changed to `saver`, in one transaction.
    pub(super) fn save(&mut self, saver: &Saver) {
        let tree = self.tree.take_changes();
        if tree.is_empty() && !self.is_touched() {
            return;
        }
        if self.title.is_empty() {
            self.title = self.first_words();
        }
        let mut settings = serde_json::to_value(&self.settings).unwrap_or_default();
        if !self.draft.is_empty() {
            settings[DRAFT] = self.draft.as_str().into();
        }
        // An undo brings those of deleted messages back as long as the program runs.
        let edits: BTreeMap<_, _> = self.edits.iter().filter(|(node, _)| self.tree.node(**node).is_some()).collect();
        if !edits.is_empty() {
            settings[EDITS] = serde_json::to_value(edits).unwrap_or_default();
        }
        let updated_ms = now_ms();
        let head = ChatHead { title: self.title.clone(), created_ms: self.created_ms, updated_ms, settings };
        // Which branch is shown counts, too.
        self.version += u64::from(!tree.is_empty());
        let nodes: Vec<NodeId> = tree.iter().filter_map(crate::tree::TreeChange::node).collect();
        let mut changes = vec![Change::ChatHead(self.id, head)];
        changes.extend(tree.into_iter().map(|change| Change::Tree(self.id, change)));
        self.given = saver.save(changes);
        self.tickets.extend(nodes.into_iter().map(|node| (node, self.given)));
        self.touched = false;
        self.kept.0.clone_from(&self.draft);
        self.kept.1.clone_from(&self.edits);
    }

    pub(super) fn summary(&self) -> ChatSummary {
        ChatSummary {
            id: self.id,
            title: self.title.clone(),
            created_ms: self.created_ms,
            updated_ms: now_ms(),
            n_messages: self.tree.len(),
        }
    }

    /// Whether message `node` is on disk as it is shown.
    pub fn save_state(&self, node: NodeId, saved: Ticket) -> SaveState {
        match self.tickets.get(&node) {
            Some(ticket) if *ticket > saved => SaveState::Saving,
            _ => SaveState::Saved,
        }
    }

    /// The beginning of the first message, for a title.
    fn first_words(&self) -> String {
        let path = self.tree.path();
        let is_user = |node: &&&crate::tree::Node| node.role == guanaco_engine::prompt::Role::User;
        let first = path.iter().find(is_user).or(path.first()).map(|node| node.content.trim()).unwrap_or_default();
        let line = first.lines().next().unwrap_or_default();
        let mut title: String = line.chars().take(48).collect();
        if title.len() < line.len() {
            title.push('…');
        }
        title
    }
}
