//! The thread that writes, so that nobody who types waits for a disk.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Change, ChatId, Store};
use crate::tree::{NodeId, TreeChange};

/// Between attempts to write, while the disk refuses: doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// For what still waits when the program ends.
const LAST_CHANCE: Duration = Duration::from_secs(5);

/// Up to where something is saved. Later ones are greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Default)]
struct State {
    waiting: Vec<Change>,
    /// Of the last call of `save`.
    given: Ticket,
    saved: Ticket,
    problem: Option<String>,
    /// Somebody waits: try now, whatever the back-off says.
    hurry: bool,
    /// An attempt is under way.
    writing: bool,
    ending: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// For the thread: there is something to do.
    work: Condvar,
    /// For who flushes: something was written, or failed.
    done: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes changes on a thread of its own, in their order. What waits is written in one transaction; what cannot be written is kept
/// and tried again. Dropping it waits up to five seconds for the rest.
pub struct Saver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Saver {
    /// Starts the thread. It calls `on_saved` after each transaction and each failed attempt.
    pub fn start(store: Arc<Store>, on_saved: impl Fn() + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let run = move || work(&theirs, &store, &on_saved);
        let thread = std::thread::Builder::new().name("saver".to_owned()).spawn(run);
        if let Err(error) = &thread {
            shared.state().problem = Some(format!("the system starts no thread to save with: {error}"));
        }
        Self { shared, thread: thread.ok() }
    }

    /// Hands over changes that belong together: all of them are written, or none. Never waits for the disk. They are durable once
    /// [`Self::saved`] has reached the ticket.
    pub fn save(&self, changes: Vec<Change>) -> Ticket {
        let mut state = self.shared.state();
        if !changes.is_empty() {
            state.waiting.extend(changes);
            state.given.0 += 1;
            if state.problem.is_some() {
                // A disk that stays full must not fill the memory with every state of a message that streams.
                keep_latest(&mut state.waiting);
            }
            self.shared.work.notify_one();
        }
        state.given
    }

    /// All up to this ticket is durable.
    pub fn saved(&self) -> Ticket {
        self.shared.state().saved
    }

    /// Why the last attempt failed; None when nothing is wrong.
    pub fn problem(&self) -> Option<String> {
        self.shared.state().problem.clone()
    }

    /// Waits until all that was handed over is durable, at most for `timeout`; whether it is. Tries at once where the disk refused
    /// before, and returns false as soon as it refuses again.
    pub fn flush(&self, timeout: Duration) -> bool {
        let end = Instant::now() + timeout;
        let mut state = self.shared.state();
        let goal = state.given;
        if state.saved >= goal {
            return true;
        }
        state.hurry = true;
        self.shared.work.notify_one();
        while state.saved < goal {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || (state.problem.is_some() && !state.hurry && !state.writing) {
                return false;
            }
            state = self.shared.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.flush(LAST_CHANCE);
        let mut state = self.shared.state();
        state.ending = true;
        let hangs = state.writing;
        drop(state);
        self.shared.work.notify_one();
        // One that hangs in a system call is left behind.
        if let Some(thread) = self.thread.take().filter(|_| !hangs) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Saver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Saver").field("saved", &self.saved()).field("problem", &self.problem()).finish_non_exhaustive()
    }
}

fn work(shared: &Shared, store: &Store, on_saved: &dyn Fn()) {
    let mut wait = FIRST_WAIT;
    loop {
        let mut state = shared.state();
        if state.problem.is_some() {
            let pause = |state: &mut State| !state.ending && !state.hurry;
            let waited = shared.work.wait_timeout_while(state, wait, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            wait = (wait * 2).min(LONGEST_WAIT);
            if state.ending {
                return;
            }
        }
        let idle = |state: &mut State| state.waiting.is_empty() && !state.ending;
        state = shared.work.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() {
            return;
        }
        let hurried = std::mem::take(&mut state.hurry);
        let mut changes = std::mem::take(&mut state.waiting);
        let ticket = state.given;
        state.writing = true;
        drop(state);

        let result = store.write(&changes);

        let mut state = shared.state();
        state.writing = false;
        match result {
            Ok(()) => {
                state.saved = ticket;
                state.problem = None;
                wait = FIRST_WAIT;
            }
            Err(error) => {
                changes.append(&mut state.waiting);
                keep_latest(&mut changes);
                state.waiting = changes;
                state.problem = Some(error.to_string());
                if hurried {
                    wait = FIRST_WAIT;
                }
            }
        }
        drop(state);
        shared.done.notify_all();
        on_saved();
    }
}

/// What a change says the state of.
#[derive(PartialEq, Eq, Hash)]
enum Subject {
    Head(ChatId),
    Extra(ChatId),
    Node(ChatId, NodeId),
    Chosen(ChatId, Option<NodeId>),
    Tokens(ChatId, NodeId),
    Chat(ChatId),
    Character(u64),
    Card(u64),
    Files(u64),
    Setting(String),
}

/// Drops every change that a later one overrides. They are all written in one transaction then, so nobody sees the difference.
fn keep_latest(changes: &mut Vec<Change>) {
    let mut seen = HashSet::new();
    let mut latest: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes.drain(..).rev() {
        let subject = match &change {
            Change::ChatHead(chat, _) => Subject::Head(*chat),
            Change::ChatExtra(chat, _) => Subject::Extra(*chat),
            Change::Tree(chat, TreeChange::Node(node)) => Subject::Node(*chat, node.id),
            Change::Tree(chat, TreeChange::Removed(id)) => Subject::Node(*chat, *id),
            Change::Tree(chat, TreeChange::Chosen { parent, .. }) => Subject::Chosen(*chat, *parent),
            Change::Tokens(chat, id, _) => Subject::Tokens(*chat, *id),
            Change::DeleteChat(chat) => Subject::Chat(*chat),
            Change::Character(record) => Subject::Character(record.id),
            // Not in place of the whole: that has the picture.
            Change::Card(record) => Subject::Card(record.id),
            Change::Files(id, _) => Subject::Files(*id),
            Change::DeleteCharacter(id) => {
                // Its card and its files would be written for nothing, and may be what the disk has no room for.
                seen.extend([Subject::Card(*id), Subject::Files(*id)]);
                Subject::Character(*id)
            }
            Change::Setting(key, _) => Subject::Setting(key.clone()),
        };
        if seen.insert(subject) {
            latest.push(change);
        }
    }
    latest.reverse();
    *changes = latest;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::{NewNode, Tree};

    #[test]
    fn only_what_a_later_change_overrides_is_dropped() {
        let (a, b) = (ChatId(1), ChatId(2));
        let mut tree = Tree::new();
        let id = tree.add(None, NewNode::user("x"));
        let first: Vec<_> = tree.take_changes().into_iter().map(|change| Change::Tree(a, change)).collect();
        tree.update(id, |node| node.content.push('y'));
        let second: Vec<_> = tree.take_changes().into_iter().map(|change| Change::Tree(a, change)).collect();
        let setting = |value| Change::Setting("k".to_owned(), json!(value));
        let of_b = |change: &Change| match change.clone() {
            Change::Tree(_, change) => Change::Tree(b, change),
            change => change,
        };
        let other: Vec<_> = first.iter().map(of_b).collect();
        let files = |id| Change::Files(id, vec![("a".to_owned(), vec![1])]);
        let card = |id| Change::Card(crate::store::CharacterRecord { id, ..Default::default() });
        let mut characters = vec![files(1), card(1), files(2), Change::DeleteCharacter(1), files(2), card(1)];
        keep_latest(&mut characters);
        assert_eq!(characters, [Change::DeleteCharacter(1), files(2), card(1)]);
        let mut all = [first.clone(), vec![setting(1)], other.clone(), second.clone(), vec![setting(2)]].concat();
        keep_latest(&mut all);
        // Of the first save the choice of the beginning is left, which nothing overrides.
        assert_eq!(all, [vec![first[1].clone()], other, second, vec![setting(2)]].concat());
    }
}
