//! An answer, from the question to the last token: what is asked of the worker, and what becomes of its events.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use guanaco_engine::prompt::{DropReason, Prompt, Role};
use guanaco_engine::sampler::SamplerConfig;
use guanaco_engine::session::{Chances, FinishReason, MOST_DRAFTED, Reply};

use super::compose::Composed;
use super::tokens::{self, Token};
use super::{Desk, News, SAVE_EVERY, Sent};
use crate::chat;
use crate::store::{Change, ChatId};
use crate::tree::{NewNode, NodeId, ReplyInfo};
use crate::worker::{Command, Model};

/// How many of the messages that were left out are kept with an answer.
const DROPPED_TOLD: usize = 8;

/// How far the prompt is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prefill {
    /// Tokens that the cache already had.
    pub cached: usize,
    /// Tokens to run.
    pub new: usize,
    /// Of these, run so far.
    pub done: usize,
}

/// The answer that is being made.
#[derive(Debug)]
pub struct Answering {
    /// The message that it goes into.
    pub node: NodeId,
    /// How far the prompt is read.
    pub prefill: Prefill,
    /// Tokens so far.
    pub n_tokens: usize,
    /// Since when.
    pub started: Instant,
    /// Since the first token.
    pub first_token: Option<Instant>,
    chat: ChatId,
    model: Arc<Model>,
    prompt: Prompt,
    /// What stands in the message before the first new token.
    before: String,
    text: String,
    tokens: Vec<Token>,
    /// Who can be speaking.
    names: Vec<String>,
    info: ReplyInfo,
    /// The answer that was shown in its place; None where it is that very message that goes on.
    instead_of: Option<NodeId>,
    stop_flag: Arc<AtomicBool>,
    saved_at: Instant,
    /// There is text that is not handed to the saver yet.
    unsaved: bool,
}

impl Answering {
    /// Tokens a second so far; None before there is something to count.
    pub fn tok_per_s(&self) -> Option<f64> {
        let seconds = self.first_token?.elapsed().as_secs_f64();
        (self.n_tokens > 1 && seconds > 0.0).then(|| (self.n_tokens - 1) as f64 / seconds)
    }

    /// The message's text, and who speaks where the text began with a name.
    fn message(&self, complete: bool) -> (Option<String>, String) {
        let whole = match self.before.is_empty() {
            true => chat::reply_text(&self.prompt, &self.text),
            false => format!("{}{}", self.before, self.text),
        };
        let whole = if complete { whole.trim_end() } else { whole.as_str() };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        guanaco_engine::prompt::parse_reply(whole, &names)
    }
}

/// What is to be answered, and how.
struct Asked {
    /// The message.
    to: NodeId,
    /// Who answers; None for whom the chat's settings name.
    speaker: Option<u64>,
    /// The answer that goes on, with its tokens so far; None for a new one.
    onto: Option<(NodeId, Vec<Token>)>,
}

impl Desk {
    /// The answer that is being made.
    pub fn answering(&self) -> Option<&Answering> {
        self.answering.as_ref()
    }

    /// Asks for an answer to the message `to`, beside those that there are.
    pub fn answer_to(&mut self, to: NodeId) {
        self.answer(Asked { to, speaker: None, onto: None });
    }

    /// Another answer in place of `answer`, beside it, by the same speaker.
    pub fn regenerate(&mut self, answer: NodeId) {
        let Some(to) = self.chat.tree.node(answer).and_then(|node| node.parent) else { return };
        self.answer(Asked { to, speaker: self.speaker_of(answer), onto: None });
    }

    /// Lets `answer` go on from its end.
    pub fn go_on(&mut self, answer: NodeId) {
        let Some(to) = self.chat.tree.node(answer).and_then(|node| node.parent) else { return };
        let tokens = self.tokens(answer).map(Cow::into_owned).unwrap_or_default();
        self.answer(Asked { to, speaker: self.speaker_of(answer), onto: Some((answer, tokens)) });
    }

    /// A new answer beside `answer` that begins as it does up to byte `at` of its text, then has `instead`, and goes on from there.
    pub fn branch(&mut self, answer: NodeId, at: usize, instead: &str) {
        let Some(node) = self.chat.tree.node(answer).filter(|_| self.is_idle()) else { return };
        let (Some(kept), Some(to)) = (node.content.get(..at), node.parent) else { return };
        let begun = NewNode { name: node.name.clone(), ..NewNode::assistant(format!("{kept}{instead}")) };
        let tokens = self.tokens(answer).map(|tokens| tokens::branch(&tokens, &node.content, at, instead));
        let speaker = self.speaker_of(answer);
        let node = self.chat.tree.add(Some(to), begun);
        if !self.answer(Asked { to, speaker, onto: Some((node, tokens.unwrap_or_default())) }) {
            self.take_back(node, Some(answer));
        }
    }

    /// Begins an answer; false when that cannot be, and the chat is as it was.
    fn answer(&mut self, asked: Asked) -> bool {
        if !self.is_idle() {
            return false;
        }
        let Some(model) = self.model.ready().cloned() else {
            self.news.push(News::NoModel);
            return false;
        };
        let Asked { to, speaker, onto } = asked;
        let scene = self.question_scene(to, speaker, onto.as_ref().map(|(node, _)| *node), &model.files);
        let (composed, settings) = (scene.compose(), &scene.settings);
        let seed = if settings.fixed_seed { settings.sampler.seed } else { chat::random_seed() };
        let sampler = SamplerConfig { seed, ..settings.sampler.clone() };
        let manner = settings.manner(&sampler);
        let made = manner
            .prompt(&composed.conversation, onto.is_some(), &model.files)
            .and_then(|prompt| manner.request(&prompt, &model.files).map(|request| (prompt, request)));
        let (prompt, mut request) = match made {
            Ok(made) => made,
            Err(error) => {
                self.news.push(News::Failed(error.to_string()));
                return false;
            }
        };
        request.alternatives = tokens::ALTERNATIVES;
        request.draft_tokens = if settings.prompt_lookup { MOST_DRAFTED } else { 0 };
        // Who speaks does not speak for the others.
        request.stop.extend(scene.others(composed.speaker).map(|name| format!("\n{name}:")));
        // A format without a place for the System block left it out, with all that it says.
        let has_system = !prompt.dropped.iter().any(|dropped| dropped.role == Role::System);
        let format = settings.preset.resolve(model.files.chat_template.as_deref());
        let wants_sources = format.wants_sources();
        let info = ReplyInfo {
            model: model.files.name.clone(),
            seed,
            n_dropped: prompt.dropped.len() + composed.left_out,
            dropped: dropped(&prompt, &composed),
            keywords: settings.system.keywords.names().filter(|_| has_system).map(str::to_owned).collect(),
            sourced: !wants_sources || has_system && composed.conversation.is_backed(),
            ..ReplyInfo::default()
        };
        let shown = self.chat.tree.chosen(Some(to));
        let (node, before, tokens) = match onto {
            None => (self.chat.tree.add(Some(to), NewNode::streaming()), String::new(), Vec::new()),
            Some((node, tokens)) => {
                let before = composed.last_as_written();
                let tokens = if tokens.is_empty() { vec![Token::written(before.clone())] } else { tokens };
                (node, before, tokens)
            }
        };
        let (stop_flag, now) = (request.stop_flag.clone(), Instant::now());
        self.answering = Some(Answering {
            node,
            prefill: Prefill::default(),
            n_tokens: 0,
            started: now,
            first_token: None,
            chat: self.chat.id,
            model,
            prompt,
            before,
            text: String::new(),
            tokens,
            names: composed.names,
            info,
            instead_of: shown.filter(|shown| *shown != node),
            stop_flag,
            saved_at: now,
            unsaved: true,
        });
        self.write(false);
        self.sent.push_back(Sent::Generate);
        self.tell_worker(Command::Generate(Box::new(request)));
        true
    }

    /// Takes out `node`, an answer that came to nothing, and shows `instead_of` again, which was shown before it.
    fn take_back(&mut self, node: NodeId, instead_of: Option<NodeId>) {
        let _ = self.chat.tree.delete(node);
        if let Some(shown) = instead_of {
            self.chat.tree.choose(shown);
        }
        self.save_chat();
    }

    /// Ends the answer at the next token; what there is of it stays.
    pub fn stop(&mut self) {
        if let Some(answering) = &self.answering {
            answering.stop_flag.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn prefill(&mut self, prefill: Prefill) {
        if let Some(answering) = self.current() {
            answering.prefill = prefill;
        }
    }

    pub(super) fn token(&mut self, text: String, chances: Option<&Chances>) {
        let Some(answering) = self.current() else { return };
        answering.n_tokens += 1;
        answering.first_token.get_or_insert_with(Instant::now);
        answering.text.push_str(&text);
        answering.unsaved = true;
        let tokenizer = answering.model.files.tokenizer.as_ref();
        answering.tokens.push(Token::new(text, chances, tokenizer));
        self.show();
    }

    pub(super) fn text(&mut self, text: &str) {
        let Some(answering) = self.current() else { return };
        answering.text.push_str(text);
        // It was held back of the last token.
        if let Some(last) = answering.tokens.last_mut() {
            last.text.push_str(text);
        }
        answering.unsaved = true;
        self.show();
    }

    /// The answer that the worker's events are about; None for one whose chat was left.
    fn current(&mut self) -> Option<&mut Answering> {
        let ours = self.sent.iter().filter(|sent| matches!(sent, Sent::Generate)).count() == 1;
        self.answering.as_mut().filter(|_| ours)
    }

    /// Puts the text so far into the tree.
    fn show(&mut self) {
        if let Some(answering) = &self.answering {
            let (name, content) = answering.message(false);
            self.chat
                .tree
                .update(answering.node, |node| (node.content, node.name) = (content, name.or(node.name.take())));
        }
    }

    /// Saves what has come since the last time, if that is a while ago.
    pub(super) fn save_streaming(&mut self) {
        if let Some(answering) = &self.answering
            && answering.unsaved
            && answering.saved_at.elapsed() >= SAVE_EVERY
        {
            self.write(false);
        }
    }

    fn write(&mut self, complete: bool) {
        let Some(answering) = &mut self.answering else { return };
        answering.saved_at = Instant::now();
        answering.unsaved = false;
        let (name, content) = answering.message(complete);
        let info = answering.info.clone();
        let node = answering.node;
        self.chat.tree.update(node, |node| {
            node.content = content;
            node.name = name.or(node.name.take());
            node.complete = complete;
            node.reply = Some(info);
        });
        self.save_chat();
    }

    pub(super) fn done(&mut self, reply: &Reply) {
        if self.is_generating() {
            return;
        }
        let Some(answering) = &mut self.answering else { return };
        answering.text.clone_from(&reply.text);
        let info = &mut answering.info;
        info.tok_per_s = reply.timings.decode_tok_per_s();
        info.first_token_ms = reply.timings.first_token.map(|time| time.as_millis() as u64);
        (info.cached, info.new) = (reply.cached, reply.new);
        info.n_tokens = reply.ids.len();
        info.finish = Some(finish(&reply.finish).to_owned());
        if !self.close(true) && !matches!(reply.finish, FinishReason::Stopped) {
            self.news.push(News::NothingSaid);
        }
    }

    /// An answer that ends without its last event: what there is of it stays, marked as incomplete.
    pub(super) fn interrupted(&mut self) {
        self.close(false);
    }

    /// False when nothing was said: then there is no answer.
    fn close(&mut self, complete: bool) -> bool {
        self.write(complete);
        let Some(answering) = self.answering.take() else { return true };
        if self.chat.tree.node(answering.node).is_some_and(|node| node.content.is_empty()) {
            self.take_back(answering.node, answering.instead_of);
            return false;
        }
        if let Ok(packed) = tokens::pack(&answering.tokens) {
            self.saver.save(vec![Change::Tokens(answering.chat, answering.node, packed)]);
        }
        self.last_tokens = Some((answering.chat, answering.node, answering.tokens));
        true
    }

    /// The tokens of `answer` with what else the model thought of; None where none are kept.
    pub fn tokens(&self, answer: NodeId) -> Option<Cow<'_, [Token]>> {
        match (&self.answering, &self.last_tokens) {
            (Some(answering), _) if answering.node == answer => Some(Cow::Borrowed(&answering.tokens)),
            (_, Some((chat, node, tokens))) if (*chat, *node) == (self.chat.id, answer) => Some(Cow::Borrowed(tokens)),
            _ => tokens::unpack(&self.store.tokens(self.chat.id, answer)?).ok().map(Cow::Owned),
        }
    }

    /// The same, as they are kept.
    pub(super) fn packed_tokens(&self, answer: NodeId) -> Option<Vec<u8>> {
        match &self.last_tokens {
            Some((chat, node, tokens)) if (*chat, *node) == (self.chat.id, answer) => tokens::pack(tokens).ok(),
            _ => self.store.tokens(self.chat.id, answer),
        }
    }
}

/// Why an answer ended, as it is kept.
fn finish(reason: &FinishReason) -> &'static str {
    match reason {
        FinishReason::Eos | FinishReason::StopString(_) => "end",
        FinishReason::MaxTokens => "max-tokens",
        FinishReason::ContextFull => "context-full",
        FinishReason::Stopped => "stopped",
    }
}

/// The youngest messages that did not go into the prompt: why each is out, and how it begins.
fn dropped(prompt: &Prompt, composed: &Composed) -> Vec<String> {
    let reason = |reason| match reason {
        DropReason::Budget => "budget",
        DropReason::Depth => "depth",
        DropReason::NoSlot => "no-slot",
    };
    let words = |index: Option<usize>| {
        let text =
            index.and_then(|index| composed.conversation.messages.get(index)).map(|message| message.content.as_str());
        text.unwrap_or("System").split_whitespace().take(6).collect::<Vec<_>>().join(" ")
    };
    let youngest = prompt.dropped.iter().rev().take(DROPPED_TOLD);
    youngest.map(|dropped| format!("{}: {}", reason(dropped.reason), words(dropped.index))).collect()
}
