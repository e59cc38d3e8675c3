//! A conversation as a tree: every message can have several answers, and the path through the chosen ones is what the screen shows
//! and the model reads. Data and its operations, without any IO: [`Tree::take_changes`] says what a store must write.
//!
//! A child's id is above its parent's. So there are no cycles, siblings are in order of age, and a path is sorted.

mod node;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use node::{NewNode, Node, NodeId, Removed, ReplyInfo, TreeChange, now_ms};

/// Why messages make no tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// An id that two messages have.
    #[error("two messages have the id {}", .0.0)]
    Twice(NodeId),
    /// An id that no message can have.
    #[error("a message has the id {}; ids are from 1 to {}", .0.0, u64::MAX - 1)]
    Id(NodeId),
    /// A parent that is not there.
    #[error("message {} follows message {}, which is not there", .0.0, .1.0)]
    NoParent(NodeId, NodeId),
    /// A parent that is younger than its child.
    #[error("message {} follows message {}, but an id must be above that of what it follows", .0.0, .1.0)]
    Order(NodeId, NodeId),
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    node: Node,
    /// Ascending.
    children: Vec<NodeId>,
    chosen: Option<NodeId>,
}

/// A conversation with all its branches.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    slots: BTreeMap<NodeId, Slot>,
    roots: Vec<NodeId>,
    chosen_root: Option<NodeId>,
    /// The highest id that was ever given.
    last: u64,
    /// From the chosen root along the chosen children.
    path: Vec<NodeId>,
    changed: BTreeSet<NodeId>,
    changed_forks: BTreeSet<Option<NodeId>>,
}

impl Tree {
    /// A conversation without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `nodes` in any order, with the child chosen at each fork (the youngest where `chosen` names none of them), in
    /// which ids up to `last` were given before. It has nothing to write.
    ///
    /// # Errors
    /// When an id is taken twice, zero or the highest number, and when a parent is missing or younger than its child.
    pub fn from_parts(
        mut nodes: Vec<Node>,
        chosen: impl IntoIterator<Item = (Option<NodeId>, NodeId)>,
        last: u64,
    ) -> Result<Self, TreeError> {
        nodes.sort_by_key(|node| node.id);
        let mut tree = Self { last, ..Self::default() };
        for node in nodes {
            let id = node.id;
            if id.0 == 0 || id.0 == u64::MAX {
                return Err(TreeError::Id(id));
            }
            if tree.slots.contains_key(&id) {
                return Err(TreeError::Twice(id));
            }
            match node.parent {
                Some(parent) if parent >= id => return Err(TreeError::Order(id, parent)),
                Some(parent) if !tree.slots.contains_key(&parent) => return Err(TreeError::NoParent(id, parent)),
                _ => tree.insert(node),
            }
        }
        for (fork, child) in chosen {
            if tree.children(fork).binary_search(&child).is_ok() {
                tree.set_chosen(fork, Some(child));
            }
        }
        tree.walk(None);
        tree.changed.clear();
        tree.changed_forks.clear();
        Ok(tree)
    }

    /// The message with that id.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.slots.get(&id).map(|slot| &slot.node)
    }

    /// Every message of every branch, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.slots.values().map(|slot| &slot.node)
    }

    /// The number of messages in all branches.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The highest id that was ever given; 0 when none was.
    pub fn last_id(&self) -> u64 {
        self.last
    }

    /// From the beginning down to `id`, whatever is chosen; empty when there is no such message.
    pub fn path_to(&self, id: NodeId) -> Vec<&Node> {
        let mut path: Vec<&Node> = std::iter::successors(self.node(id), |node| self.node(node.parent?)).collect();
        path.reverse();
        path
    }

    /// From the chosen beginning along the chosen children.
    pub fn path(&self) -> Vec<&Node> {
        self.path.iter().filter_map(|id| self.node(*id)).collect()
    }

    /// The ids of [`Self::path`], at no cost. They ascend.
    pub fn path_ids(&self) -> &[NodeId] {
        &self.path
    }

    /// The last message of the path.
    pub fn leaf(&self) -> Option<NodeId> {
        self.path.last().copied()
    }

    /// The children of a message, or where conversations begin (None), the oldest first.
    pub fn children(&self, fork: Option<NodeId>) -> &[NodeId] {
        match fork {
            None => &self.roots,
            Some(id) => self.slots.get(&id).map_or(&[], |slot| &slot.children),
        }
    }

    /// Which of the children the path goes through, or would if it came here.
    pub fn chosen(&self, fork: Option<NodeId>) -> Option<NodeId> {
        match fork {
            None => self.chosen_root,
            Some(id) => self.slots.get(&id)?.chosen,
        }
    }

    /// Every fork with its chosen child.
    pub fn choices(&self) -> impl Iterator<Item = (Option<NodeId>, NodeId)> {
        let below = self.slots.iter().filter_map(|(id, slot)| Some((Some(*id), slot.chosen?)));
        self.chosen_root.map(|root| (None, root)).into_iter().chain(below)
    }

    /// Adds a message after `parent`, or as a beginning, and makes the path go through it. Where the parent is gone, it begins a
    /// conversation: no text is lost.
    pub fn add(&mut self, parent: Option<NodeId>, new: NewNode) -> NodeId {
        let parent = parent.filter(|parent| self.slots.contains_key(parent));
        let NewNode { role, content, name, created_ms, complete, reply, extra } = new;
        // Nobody lives to see this number end.
        let id = NodeId(self.last.saturating_add(1));
        self.insert(Node { id, parent, role, content, name, created_ms, complete, reply, extra });
        self.choose(id);
        id
    }

    /// Adds a sibling of `id` with another text, of the same speaker, and makes the path go through it; the old one stays with all
    /// its answers. None when there is no such message.
    pub fn edit(&mut self, id: NodeId, text: impl Into<String>) -> Option<NodeId> {
        let old = self.node(id)?;
        let new = NewNode { name: old.name.clone(), extra: old.extra.clone(), ..NewNode::new(old.role, text) };
        Some(self.add(old.parent, new))
    }

    /// Changes a message in place: what streams grows so. Its id and parent stay. False when there is no such message.
    pub fn update(&mut self, id: NodeId, change: impl FnOnce(&mut Node)) -> bool {
        let Some(slot) = self.slots.get_mut(&id) else { return false };
        let parent = slot.node.parent;
        change(&mut slot.node);
        slot.node.id = id;
        slot.node.parent = parent;
        self.changed.insert(id);
        true
    }

    /// The place of a message among those with the same parent, from 0, and their number. (0, 0) when there is no such message.
    pub fn siblings(&self, id: NodeId) -> (usize, usize) {
        let Some(node) = self.node(id) else { return (0, 0) };
        let all = self.children(node.parent);
        (all.binary_search(&id).unwrap_or(0), all.len())
    }

    /// Makes the path go through the sibling that is `steps` further (younger), or nearer when negative. None at either end.
    pub fn swipe(&mut self, id: NodeId, steps: isize) -> Option<NodeId> {
        let all = self.children(self.node(id)?.parent);
        let to = *all.get(all.binary_search(&id).ok()?.checked_add_signed(steps)?)?;
        self.choose(to);
        Some(to)
    }

    /// Makes the path go through a message. What is below it stays as chosen before. False when there is no such message.
    pub fn choose(&mut self, id: NodeId) -> bool {
        let mut at = id;
        loop {
            let Some(parent) = self.slots.get(&at).map(|slot| slot.node.parent) else { return false };
            self.set_chosen(parent, Some(at));
            match parent {
                // All above what is on the path is chosen.
                Some(parent) if self.path.binary_search(&parent).is_err() => at = parent,
                fork => {
                    self.walk(fork);
                    return true;
                }
            }
        }
    }

    /// Takes a message out with all that follows it. The path then goes through the sibling before it, or else the one after it.
    /// None when there is no such message.
    pub fn delete(&mut self, id: NodeId) -> Option<Removed> {
        let fork = self.node(id)?.parent;
        let was_chosen = self.chosen(fork) == Some(id);
        let siblings = self.children_mut(fork);
        let place = siblings.binary_search(&id).ok()?;
        siblings.remove(place);
        let heir = siblings.get(place.saturating_sub(1)).copied();
        let mut removed = Removed { id, nodes: Vec::new(), chosen: Vec::new(), was_chosen };
        let mut left = vec![id];
        while let Some(id) = left.pop() {
            let Some(slot) = self.slots.remove(&id) else { continue };
            removed.chosen.extend(slot.chosen.map(|child| (id, child)));
            removed.nodes.push(slot.node);
            left.extend(slot.children);
            self.changed.insert(id);
            self.changed_forks.remove(&Some(id));
        }
        if was_chosen {
            self.set_chosen(fork, heir);
            self.walk(fork);
        }
        Some(removed)
    }

    /// Puts back what [`Self::delete`] took out, at its old place and with its ids; the path goes through it when it did before.
    /// False, and nothing changed, when the message that it followed is gone, or it is there already.
    pub fn restore(&mut self, removed: Removed) -> bool {
        let fork = removed.nodes.first().and_then(|node| node.parent);
        let homeless = fork.is_some_and(|parent| !self.slots.contains_key(&parent));
        if homeless || removed.nodes.iter().any(|node| self.slots.contains_key(&node.id)) {
            return false;
        }
        let before = self.chosen(fork);
        for node in removed.nodes {
            self.insert(node);
        }
        for (parent, child) in removed.chosen {
            self.set_chosen(Some(parent), Some(child));
        }
        self.set_chosen(fork, if removed.was_chosen { Some(removed.id) } else { before.or(Some(removed.id)) });
        self.walk(fork);
        true
    }

    /// The messages of all branches whose text contains `text`, whatever the case of its letters: each before what follows it, an
    /// older branch before a younger one.
    pub fn search(&self, text: &str) -> Vec<NodeId> {
        let text = text.to_lowercase();
        let mut found = Vec::new();
        let mut left: Vec<NodeId> = self.roots.iter().rev().copied().collect();
        while let Some(id) = left.pop().filter(|_| !text.is_empty()) {
            let Some(slot) = self.slots.get(&id) else { continue };
            if slot.node.content.to_lowercase().contains(&text) {
                found.push(id);
            }
            left.extend(slot.children.iter().rev());
        }
        found
    }

    /// What a store must write for all that was done since the last call, each message and fork once, as it is now.
    pub fn take_changes(&mut self) -> Vec<TreeChange> {
        let changed = std::mem::take(&mut self.changed);
        let forks = std::mem::take(&mut self.changed_forks);
        let nodes = changed.into_iter().map(|id| match self.node(id) {
            Some(node) => TreeChange::Node(node.clone()),
            None => TreeChange::Removed(id),
        });
        // A fork without children has nothing to say: what was chosen there is gone, and its id never comes again.
        let chosen = |parent| Some(TreeChange::Chosen { parent, child: self.chosen(parent)? });
        let chosen = forks.into_iter().filter_map(chosen);
        nodes.chain(chosen).collect()
    }

    /// Whether [`Self::take_changes`] would return any.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty() || !self.changed_forks.is_empty()
    }

    /// Makes [`Self::take_changes`] return all there is, as for a copy or an import.
    pub fn touch_all(&mut self) {
        self.changed.extend(self.slots.keys());
        let forks: Vec<_> = self.choices().map(|(fork, _)| fork).collect();
        self.changed_forks.extend(forks);
    }

    /// Puts a node in, whose parent is there; it is chosen where nothing older is, and leaves the path alone.
    fn insert(&mut self, node: Node) {
        let (id, fork) = (node.id, node.parent);
        self.last = self.last.max(id.0);
        self.slots.insert(id, Slot { node, children: Vec::new(), chosen: None });
        let siblings = self.children_mut(fork);
        if let Err(place) = siblings.binary_search(&id) {
            siblings.insert(place, id);
        }
        let youngest = siblings.last().copied();
        self.set_chosen(fork, youngest);
        self.changed.insert(id);
    }

    fn children_mut(&mut self, fork: Option<NodeId>) -> &mut Vec<NodeId> {
        match fork.and_then(|id| self.slots.get_mut(&id)) {
            Some(slot) => &mut slot.children,
            None => &mut self.roots,
        }
    }

    fn set_chosen(&mut self, fork: Option<NodeId>, child: Option<NodeId>) {
        let chosen = match fork {
            None => &mut self.chosen_root,
            Some(id) => match self.slots.get_mut(&id) {
                Some(slot) => &mut slot.chosen,
                None => return,
            },
        };
        if *chosen != child {
            *chosen = child;
            self.changed_forks.insert(fork);
        }
    }

    /// Finds the path again from `fork` on, if it goes there.
    fn walk(&mut self, fork: Option<NodeId>) {
        let keep = match fork {
            None => 0,
            Some(id) => match self.path.binary_search(&id) {
                Ok(place) => place + 1,
                Err(_) => return,
            },
        };
        self.path.truncate(keep);
        let mut at = fork;
        while let Some(next) = self.chosen(at) {
            self.path.push(next);
            at = Some(next);
        }
    }
}
