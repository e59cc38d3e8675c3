//! `--card`: a character from a card's file, whose lorebook follows the talk.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use guanaco_engine::prompt::{Conversation, Message, Role};

use crate::cards::{Card, Cast, compose, greetings, limits, mend_name};
use crate::chat::Turn;
use crate::checkpoint::Files;
use crate::cli::note;

/// What part of the context a card's lore may take, and its examples too: one in so many tokens.
const SHARE: usize = 8;

/// The card that is played.
pub(super) struct Played {
    card: Arc<Card>,
    /// What the person is called.
    user: String,
    seed: u64,
}

impl Played {
    /// Reads the card, and says what is odd about it.
    ///
    /// # Errors
    /// When the file cannot be read, or the card is refused.
    pub(super) fn read(path: &Path, user: &str, seed: u64) -> anyhow::Result<Self> {
        let mut bytes = Vec::new();
        let open =
            std::fs::File::open(path).and_then(|file| file.take(limits::FILE_BYTES as u64 + 1).read_to_end(&mut bytes));
        open.with_context(|| format!("cannot read {}", path.display()))?;
        let read = Card::read(&bytes, &path.display().to_string())?;
        for warning in &read.warnings {
            note::warning(warning);
        }
        Ok(Self { card: Arc::new(read.card), user: user.to_owned(), seed })
    }

    /// What the character begins with, as it stands in the conversation.
    pub(super) fn greeting(&self) -> Option<String> {
        let first = greetings(&self.card, &self.user, self.seed).into_iter().next()?;
        Some(format!("{}: {first}", mend_name(self.card.called())))
    }

    /// Puts the card, with the lore that the talk asks for, into `conversation`, to which `turn` comes next.
    pub(super) fn play(&self, conversation: &mut Conversation, turn: &Turn, files: &Files, force_name: bool) {
        let mut messages = conversation.messages.clone();
        match turn {
            Turn::Say(text) => messages.push(Message::user(text.as_str())),
            Turn::Regenerate if messages.last().is_some_and(|last| last.role == Role::Assistant) => {
                messages.pop();
            }
            Turn::Regenerate | Turn::Continue => {}
        }
        let count = |text: &str| files.count(text);
        let share = files.max_seq_len / SHARE;
        let cast = Cast {
            cards: std::slice::from_ref(&self.card),
            speaker: 0,
            user: &self.user,
            language: conversation.language,
            seed: self.seed,
            lore_limit: Some(share),
            left_out: 0,
        };
        let composed = compose(&cast, &conversation.system, messages, share, &count, force_name);
        conversation.character = composed.conversation.character;
    }
}
