//! A chat as data: a conversation with its settings, and what each action does to it. No terminal, no thread.

use guanaco_engine::prompt::{BuildOptions, Conversation, Message, Prompt, Role, build, parse_reply};
use guanaco_engine::sampler::SamplerConfig;
use guanaco_engine::session::{FinishReason, Reply, Request};
use guanaco_engine::{Error, Result};

use crate::checkpoint::Files;
use crate::format::PresetChoice;

/// What the next reply is to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// A new message.
    Say(String),
    /// The last message again: its reply is thrown away.
    Regenerate,
    /// The last reply, which goes on.
    Continue,
}

/// A conversation and how its replies are made.
#[derive(Debug, Clone)]
pub struct Chat {
    /// What was said.
    pub conversation: Conversation,
    /// The prompt's format.
    pub preset: PresetChoice,
    /// How tokens are chosen. The seed goes up by one with each reply.
    pub sampler: SamplerConfig,
    /// The most tokens of a reply.
    pub max_new_tokens: usize,
    /// Further texts that end a reply.
    pub stop: Vec<String>,
    /// Goes on after tokens that end a reply.
    pub ignore_eos: bool,
    /// The most tokens of earlier turns; None for as many as fit.
    pub history_tokens: Option<usize>,
}

/// How a reply is made, whatever it is a reply to.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// The prompt's format.
    pub preset: PresetChoice,
    /// How tokens are chosen.
    pub sampler: &'a SamplerConfig,
    /// The most tokens of a reply.
    pub max_new_tokens: usize,
    /// Further texts that end a reply.
    pub stop: &'a [String],
    /// Goes on after tokens that end a reply.
    pub ignore_eos: bool,
    /// The most tokens of earlier turns; None for as many as fit.
    pub history_tokens: Option<usize>,
}

impl Manner<'_> {
    /// The exact prompt for the last message of `conversation`, or to go on with it, for `model`.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn prompt(&self, conversation: &Conversation, continue_last: bool, model: &Files) -> Result<Prompt> {
        let options = BuildOptions {
            preset: self.preset.resolve(model.chat_template.as_deref()),
            max_tokens: model.tokenizer.as_ref().map(|_| model.max_seq_len),
            // A quarter of the context is kept free for the reply, unless less is asked for.
            reserve: self.max_new_tokens.min(model.max_seq_len / 4),
            history_tokens: self.history_tokens,
            continue_last,
            template: model.chat_template.clone(),
            ..BuildOptions::default()
        };
        build(conversation, &options, model.tokenizer.as_ref())
    }

    /// What the worker gets for `prompt`.
    ///
    /// # Errors
    /// When the model has no tokenizer.
    pub fn request(&self, prompt: &Prompt, model: &Files) -> Result<Request> {
        let prompt_ids = prompt.ids.clone().ok_or_else(|| {
            Error::Request(format!("{} has no tokenizer, and a chat needs one: only ids can go in and out", model.name))
        })?;
        Ok(Request {
            prompt_ids,
            sampler: self.sampler.clone(),
            max_new_tokens: self.max_new_tokens,
            stop: prompt.stop.iter().chain(self.stop).cloned().collect(),
            eos: model.eos.iter().chain(&prompt.stop_ids).copied().collect(),
            ignore_eos: self.ignore_eos,
            ..Request::default()
        })
    }
}

/// A reply to be made: what to send to the worker, and what it belongs to.
#[derive(Debug, Clone)]
pub struct Pending {
    /// The exact prompt, with its account.
    pub prompt: Prompt,
    /// What the worker gets.
    pub request: Request,
    /// The conversation that the reply belongs to.
    conversation: Conversation,
    continues: bool,
}

/// What became of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It is in the conversation.
    Reply,
    /// The model said nothing: there is no reply, and the message waits for one ([`Turn::Regenerate`] asks again).
    Nothing,
    /// The reply to go on with was complete: nothing was added.
    Complete,
    /// It was stopped before its first word, and the conversation is as it was.
    Back,
}

impl Chat {
    /// An empty chat in the model's own format.
    pub fn new(sampler: SamplerConfig, max_new_tokens: usize) -> Self {
        let (conversation, preset) = (Conversation::default(), PresetChoice::default());
        Self {
            conversation,
            preset,
            sampler,
            max_new_tokens,
            stop: Vec::new(),
            ignore_eos: false,
            history_tokens: None,
        }
    }

    /// Prepares the reply to `turn`. The conversation stays as it is until [`Chat::finish`].
    ///
    /// # Errors
    /// When there is nothing to regenerate or to go on with, the model has no tokenizer, or the prompt cannot be built.
    pub fn prepare(&self, turn: Turn, model: &Files) -> Result<Pending> {
        let mut conversation = self.conversation.clone();
        let messages = &mut conversation.messages;
        let last_is_reply = messages.last().is_some_and(|last| last.role == Role::Assistant);
        match &turn {
            Turn::Say(text) => messages.push(Message::user(text.as_str())),
            Turn::Regenerate if last_is_reply => drop(messages.pop()),
            Turn::Regenerate if messages.is_empty() => {
                return Err(Error::Request("there is no reply yet to make again".to_owned()));
            }
            Turn::Regenerate => {}
            Turn::Continue if last_is_reply => {}
            Turn::Continue => return Err(Error::Request("there is no reply yet to go on with".to_owned())),
        }
        let continues = turn == Turn::Continue;
        let manner = self.manner();
        let prompt = manner.prompt(&conversation, continues, model)?;
        let request = manner.request(&prompt, model)?;
        Ok(Pending { prompt, request, conversation, continues })
    }

    fn manner(&self) -> Manner<'_> {
        Manner {
            preset: self.preset,
            sampler: &self.sampler,
            max_new_tokens: self.max_new_tokens,
            stop: &self.stop,
            ignore_eos: self.ignore_eos,
            history_tokens: self.history_tokens,
        }
    }

    /// Takes the reply in, if there is one: an empty one would stand in every later prompt.
    pub fn finish(&mut self, pending: Pending, reply: &Reply) -> Taken {
        self.sampler.seed = self.sampler.seed.wrapping_add(1);
        if reply.text.trim().is_empty() {
            return match reply.finish {
                FinishReason::Stopped => Taken::Back,
                _ if pending.continues => Taken::Complete,
                _ => {
                    // What was to be made again stays; a new message waits for its reply.
                    if pending.conversation.messages.len() > self.conversation.messages.len() {
                        self.conversation = pending.conversation;
                    }
                    Taken::Nothing
                }
            };
        }
        self.conversation = pending.conversation;
        match self.conversation.messages.last_mut() {
            Some(last) if pending.continues => last.content.push_str(reply.text.trim_end()),
            _ => {
                let text = reply_text(&pending.prompt, &reply.text);
                self.conversation.messages.push(Message::assistant(text));
            }
        }
        Taken::Reply
    }

    /// The name that `text`, a reply, begins with, when it is that of whom the model plays.
    pub fn speaker(&self, text: &str) -> Option<String> {
        let character = self.conversation.character.as_ref()?;
        parse_reply(text, &[&character.name]).0
    }

    /// Takes the last message of the user back, with what answered it; returns it.
    pub fn undo(&mut self) -> Option<String> {
        let messages = &mut self.conversation.messages;
        let last = messages.iter().rposition(|message| message.role == Role::User)?;
        messages.drain(last..).next().map(|message| message.content)
    }
}

/// A reply as people see it: with the name that it was made to begin with, without the white space around it.
pub fn reply_text(prompt: &Prompt, generated: &str) -> String {
    let prefix = prompt.reply_prefix.as_deref().unwrap_or_default();
    // Where a colon and its space are one token, the one of the prefix is another, and a small model says it again.
    let again = generated.strip_prefix(": ").filter(|_| prefix.ends_with(':'));
    let generated = again.map_or_else(|| generated.to_owned(), |rest| format!(" {rest}"));
    format!("{prefix}{generated}").trim().to_owned()
}

/// A seed for who gave none.
pub fn random_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    // The standard library's one source of randomness; 32 bits are easier to type again.
    std::collections::hash_map::RandomState::new().build_hasher().finish() >> 32
}

#[cfg(test)]
mod tests {
    use guanaco_engine::prompt::Character;
    use guanaco_engine::session::Timings;

    use super::*;

    fn reply(text: &str, finish: FinishReason) -> Reply {
        let (ids, timings, beams) = (vec![2], Timings::default(), Vec::new());
        Reply { ids, text: text.to_owned(), finish, timings, cached: 0, new: 1, drafted: 0, accepted: 0, beams }
    }

    /// What became of each reply, and the messages in the end.
    fn after(turns: &[(Turn, Reply)]) -> (Vec<Taken>, Vec<String>) {
        let files = Files::open(None, &[], None, None).unwrap();
        let mut chat = Chat::new(SamplerConfig::greedy(), 16);
        let mut taken = Vec::new();
        for (turn, reply) in turns {
            let pending = chat.prepare(turn.clone(), &files).unwrap();
            taken.push(chat.finish(pending, reply));
        }
        (taken, chat.conversation.messages.into_iter().map(|message| message.content).collect())
    }

    #[test]
    fn an_empty_reply_is_no_turn() {
        let say = |text: &str| Turn::Say(text.to_owned());
        let eos = |text: &str| reply(text, FinishReason::Eos);
        let (taken, messages) = after(&[(say("a"), eos(" "))]);
        assert_eq!((taken, messages), (vec![Taken::Nothing], vec!["a".to_owned()]));
        let (taken, messages) = after(&[(say("a"), eos("")), (Turn::Regenerate, eos("b"))]);
        assert_eq!((taken, messages), (vec![Taken::Nothing, Taken::Reply], vec!["a".to_owned(), "b".to_owned()]));
        let (taken, messages) = after(&[(say("a"), eos("b")), (Turn::Regenerate, eos(""))]);
        assert_eq!((taken, messages), (vec![Taken::Reply, Taken::Nothing], vec!["a".to_owned(), "b".to_owned()]));
        let (taken, messages) = after(&[(say("a"), reply("", FinishReason::Stopped))]);
        assert_eq!((taken, messages), (vec![Taken::Back], Vec::new()));
    }

    #[test]
    fn a_complete_reply_stays_as_it_is() {
        let (taken, messages) = after(&[
            (Turn::Say("a".to_owned()), reply("b", FinishReason::MaxTokens)),
            (Turn::Continue, reply(" c", FinishReason::Eos)),
            (Turn::Continue, reply("", FinishReason::Eos)),
        ]);
        assert_eq!(taken, [Taken::Reply, Taken::Reply, Taken::Complete]);
        assert_eq!(messages, ["a", "b c"]);
    }

    #[test]
    fn the_speaker_is_the_character() {
        let mut chat = Chat::new(SamplerConfig::greedy(), 16);
        assert_eq!(chat.speaker("Luma: Hello"), None);
        chat.conversation.character = Some(Character { name: "Luma".to_owned(), ..Character::default() });
        assert_eq!(chat.speaker("luma：Hello").as_deref(), Some("Luma"));
        assert_eq!(chat.speaker("Hello"), None);
    }

    #[test]
    fn a_colon_that_is_said_again_is_left_out() {
        let files = Files::open(None, &[], None, None).unwrap();
        let mut chat = Chat::new(SamplerConfig::greedy(), 16);
        chat.conversation.character =
            Some(Character { name: "Luma".to_owned(), force_name: true, ..Character::default() });
        let mut prompt = chat.prepare(Turn::Say("a".to_owned()), &files).unwrap().prompt;
        assert_eq!(reply_text(&prompt, ": Hello"), "Luma: Hello");
        assert_eq!(reply_text(&prompt, " Hello"), "Luma: Hello");
        assert_eq!(reply_text(&prompt, " :) Hello"), "Luma: :) Hello");
        prompt.reply_prefix = None;
        assert_eq!(reply_text(&prompt, ": Hello"), ": Hello");
    }
}
