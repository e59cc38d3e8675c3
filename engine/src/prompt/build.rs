//! From a conversation to the exact prompt.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;
use std::time::SystemTime;

use serde::Serialize;

use super::character::check_name;
use super::conversation::{Conversation, Role};
use super::language::Term;
use super::markers::Markers;
use super::marks::{Marks, clipped};
use super::neutralise::{CHAT_ROLES, HEADERS, Neutralised, ROLES, Rules, Specials};
use super::presets::{Line, Parts, Preset, SectionKind, render};
use super::template::{self, Failure, View};
use super::texts::Texts;
use super::turn_ends::{TURN_ENDS, turn_end_ids};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;

/// How a prompt is built.
#[derive(Debug, Clone, Default)]
pub struct BuildOptions {
    /// The format.
    pub preset: Preset,
    /// The most tokens that the prompt and the reply may have together (the context). Needs a tokenizer; None for no limit.
    pub max_tokens: Option<usize>,
    /// Tokens of `max_tokens` that are kept free for the reply.
    pub reserve: usize,
    /// The most earlier turns (a user's message and what answers it) that go in; None for all.
    pub history: Option<usize>,
    /// The most tokens by which earlier turns may lengthen the prompt; None for all. Needs a tokenizer.
    pub history_tokens: Option<usize>,
    /// Go on with the last message, which must be a reply.
    pub continue_last: bool,
    /// The Jinja source for [`Preset::ChatTemplate`] ([`super::read_chat_template`]).
    pub template: Option<String>,
    /// What a chat template is told as the time; None for the system's clock.
    pub now: Option<SystemTime>,
}

/// A stretch of the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// What it is.
    pub kind: SectionKind,
    /// Its first byte in the prompt's text.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// The tokens that the prompt grows by with it; they add up to the whole (BOS counts with the first). None without a
    /// tokenizer.
    pub tokens: Option<usize>,
}

/// Why something is not in the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropReason {
    /// It does not fit the token budget.
    Budget,
    /// It is older than the limit of turns.
    Depth,
    /// The preset has no place for it.
    NoSlot,
}

/// Something that is not in the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The index of the message; None for the System block.
    pub index: Option<usize>,
    /// Whose it is.
    pub role: Role,
    /// Its tokens, encoded by itself; None without a tokenizer.
    pub tokens: Option<usize>,
    /// Why it is out.
    pub reason: DropReason,
}

/// What the user should be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// Nothing in the System block backs the answer ([`Conversation::is_backed`]).
    NoSources,
    /// Markers were quoted: [`Prompt::neutralised`].
    Neutralised,
    /// Messages were left out: [`Prompt::dropped`].
    Dropped,
    /// The preset has no place for the System block.
    NoSystemSlot,
    /// The preset has no place for earlier messages.
    NoHistorySlot,
    /// The chat template refused a system message, so the block stands in front of the input.
    SystemInInput,
}

/// A sentence for the user, in the conversation's language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What it is about; stable.
    pub kind: NoticeKind,
    /// The sentence.
    pub text: String,
}

/// A prompt, and an account of what went into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prompt {
    /// Every byte of it.
    pub text: String,
    /// Its ids, BOS included where the checkpoint wants one; None without a tokenizer.
    pub ids: Option<Vec<u32>>,
    /// Its stretches, in order and without gaps.
    pub sections: Vec<Section>,
    /// What was left out, oldest first.
    pub dropped: Vec<Dropped>,
    /// What was kept from acting as a marker, of what went in.
    pub neutralised: Vec<Neutralised>,
    /// What the reply was made to begin with (`Name:`); it is part of `text`, and the reply shown begins with it.
    pub reply_prefix: Option<String>,
    /// What the user should be told.
    pub notices: Vec<Notice>,
    /// Generation stops before any of these texts.
    pub stop: Vec<String>,
    /// Generation stops at any of these ids, besides EOS.
    pub stop_ids: Vec<u32>,
}

/// Builds the prompt of `conversation`. Without a tokenizer there are no ids and counts, and a budget is an error.
///
/// Of a budget, the oldest turns go first, whole. The System block, the new input and a reply to go on with never go.
///
/// # Errors
/// [`Error::Prompt`] when there is no message to answer or to go on with, a name cannot be a name, what must stay exceeds the
/// budget (with the figures), or the chat template is missing or fails.
pub fn build(conversation: &Conversation, options: &BuildOptions, tokenizer: Option<&Tokenizer>) -> Result<Prompt> {
    Builder::new(conversation, options, tokenizer)?.build()
}

/// Tokens with a meaning in chat formats, kept from acting even when the tokenizer is not at hand.
const CHAT_TOKENS: [&str; 22] = [
    "<s>",
    "<unk>",
    "<pad>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "<|im_start|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|python_tag|>",
    "<start_of_turn>",
    "<bos>",
    "<eos>",
    "<|startoftext|>",
];

struct Builder<'a> {
    conversation: &'a Conversation,
    options: &'a BuildOptions,
    tokenizer: Option<&'a Tokenizer>,
    /// What the chat template prints around contents.
    markers: Option<Markers>,
    /// Special tokens in them are as they were written.
    texts: Texts,
    /// Special tokens in them are kept from acting.
    strict: OnceCell<Texts>,
    /// The index of the new input.
    input: usize,
    /// The time that a template is told, which is the same in each run.
    now: SystemTime,
}

/// A prompt's text with its stretches.
struct Rendered {
    sections: Vec<(SectionKind, String)>,
    /// The bytes in which no special token is recognised.
    untrusted: Vec<Range<usize>>,
    system_in_input: bool,
    /// True when it has the strict texts.
    strict: bool,
}

/// What a chat template printed.
struct Printed {
    text: String,
    /// Where the untrusted text is; None when the template changes it.
    untrusted: Option<Vec<Range<usize>>>,
    system_in_input: bool,
}

impl Rendered {
    fn text(&self) -> Cow<'_, str> {
        match self.sections.as_slice() {
            [(_, only)] => Cow::Borrowed(only),
            sections => Cow::Owned(sections.iter().map(|(_, text)| text.as_str()).collect()),
        }
    }
}

/// The smallest number above 0 that `enough` holds for, when it holds for `all` and not for 0, and for all above one that it holds for.
fn fewest(all: usize, mut enough: impl FnMut(usize) -> Result<bool>) -> Result<usize> {
    let (mut too_few, mut found) = (0, all);
    while found - too_few > 1 {
        let middle = too_few + (found - too_few) / 2;
        if enough(middle)? { found = middle } else { too_few = middle }
    }
    Ok(found)
}

impl<'a> Builder<'a> {
    fn new(
        conversation: &'a Conversation,
        options: &'a BuildOptions,
        tokenizer: Option<&'a Tokenizer>,
    ) -> Result<Self> {
        let messages = &conversation.messages;
        let mut names: Vec<&str> = messages.iter().filter_map(|message| message.name.as_deref()).collect();
        names.extend(conversation.character.as_ref().map(|character| character.name.as_str()));
        names.into_iter().try_for_each(check_name)?;
        if let Some(index) = messages.iter().position(|message| message.role == Role::System) {
            let detail =
                format!("message {index} has the role system; its text belongs in the conversation's `system`");
            return Err(Error::Prompt(detail));
        }
        let last = messages.last().ok_or_else(|| Error::Prompt("there is no message to answer".into()))?;
        let input = match (last.role, options.continue_last) {
            (Role::User, false) => messages.len() - 1,
            (Role::User, true) => {
                return Err(Error::Prompt("there is no reply to go on with: the last message is the user's".into()));
            }
            (_, false) => {
                let detail = "the last message is a reply; expected the user's, or ask to go on with the reply";
                return Err(Error::Prompt(detail.into()));
            }
            (_, true) => {
                messages.len().checked_sub(2).filter(|&index| messages[index].role == Role::User).ok_or_else(|| {
                    Error::Prompt("the reply to go on with must come right after a message of the user".into())
                })?
            }
        };
        let mut builder = Self {
            conversation,
            options,
            tokenizer,
            markers: None,
            texts: Texts::default(),
            strict: OnceCell::new(),
            input,
            now: options.now.unwrap_or_else(SystemTime::now),
        };
        builder.markers = builder.markers();
        builder.texts = Texts::new(conversation, options.continue_last, &builder.rules(false));
        Ok(builder)
    }

    fn strict(&self) -> &Texts {
        let texts = || Texts::new(self.conversation, self.options.continue_last, &self.rules(true));
        self.strict.get_or_init(texts)
    }

    fn template(&self) -> Option<&str> {
        self.options.template.as_deref().filter(|_| self.options.preset == Preset::ChatTemplate)
    }

    fn markers(&self) -> Option<Markers> {
        let (bos, eos) = self.bos_and_eos();
        let own = self.tokenizer.map(Tokenizer::specials).unwrap_or_default().iter().map(|(name, _)| name.as_str());
        // Without a tokenizer, what is spelled like a token is one.
        let known: &[&str] = if self.tokenizer.is_some() { &[] } else { &CHAT_TOKENS };
        let ends: &[&str] = if self.tokenizer.is_some() { &[] } else { &TURN_ENDS };
        let specials = own.chain(known.iter().copied()).chain(ends.iter().copied());
        Markers::of(self.template()?, &bos, &eos, self.now, specials)
    }

    fn rules(&self, strict: bool) -> Rules {
        match self.options.preset {
            Preset::GuanacoLoraInstruct | Preset::Alpaca => return Rules::of(HEADERS, &[]),
            Preset::ChatTemplate => {}
            _ => return Rules::of(HEADERS, ROLES),
        }
        let own = self.tokenizer.map(Tokenizer::specials).unwrap_or_default();
        let names = own.iter().map(|(name, _)| name.as_str()).chain(TURN_ENDS).chain(CHAT_TOKENS);
        let names = names.filter(|_| strict);
        let Some(markers) = &self.markers else {
            // The template refuses the conversation that would show its markers.
            let template = self.template().unwrap_or_default().to_lowercase();
            let labels = CHAT_ROLES.iter().any(|role| template.contains(&format!("{role}:")));
            let headers = if template.contains("###") { HEADERS } else { &[] };
            let rules = Rules::of(headers, if labels { CHAT_ROLES } else { &[] });
            return Rules { specials: Specials::new(names), ..rules };
        };
        markers.rules(names)
    }

    fn bos_and_eos(&self) -> (String, String) {
        let name = |id: Option<u32>| self.tokenizer.and_then(|tokenizer| tokenizer.piece(id?));
        let bos = name(self.tokenizer.and_then(Tokenizer::bos)).unwrap_or_else(|| "<s>".into());
        let eos = name(self.tokenizer.and_then(Tokenizer::eos)).unwrap_or_else(|| "</s>".into());
        (bos, eos)
    }

    fn build(self) -> Result<Prompt> {
        let preset = self.options.preset;
        let turns = self.turns();
        let mut dropped = Vec::new();
        let mut first = 0;
        if !preset.has_system_slot() && !self.texts.system.is_empty() {
            let tokens = self.count_alone(&self.texts.system)?;
            dropped.push(Dropped { index: None, role: Role::System, tokens, reason: DropReason::NoSlot });
        }
        if !preset.has_history_slot() {
            first = turns.len();
            self.drop_turns(&turns, DropReason::NoSlot, &mut dropped)?;
        } else if let Some(limit) = self.options.history.filter(|&limit| limit < turns.len()) {
            first = turns.len() - limit;
            self.drop_turns(&turns[..first], DropReason::Depth, &mut dropped)?;
        }
        if let Some(limit) = self.options.history_tokens {
            let deep = self.within_tokens(&turns[first..], limit)? + first;
            self.drop_turns(&turns[first..deep], DropReason::Depth, &mut dropped)?;
            first = deep;
        }
        let kept = self.fit(&turns[first..])? + first;
        self.drop_turns(&turns[first..kept], DropReason::Budget, &mut dropped)?;

        let start = turns.get(kept).map_or(self.input, |turn| turn.start);
        let rendered = self.render(start)?;
        let text = rendered.text().into_owned();
        let ids = self.encode(&text, &rendered.untrusted)?;
        let sections = self.sections(&rendered)?;
        let texts = if rendered.strict { self.strict() } else { &self.texts };
        let mut neutralised = if preset.has_system_slot() { texts.system_report.clone() } else { Vec::new() };
        neutralised.extend(texts.reports[start..].iter().flatten().cloned());
        let notices = self.notices(&dropped, &neutralised, rendered.system_in_input);
        let (stop, stop_ids) = self.stops();
        let reply_prefix = texts.reply_prefix.clone();
        Ok(Prompt { text, ids, sections, dropped, neutralised, reply_prefix, notices, stop, stop_ids })
    }

    /// The earlier messages as turns: a user's message with what answers it.
    fn turns(&self) -> Vec<Range<usize>> {
        let mut turns: Vec<Range<usize>> = Vec::new();
        for index in 0..self.input {
            match turns.last_mut() {
                Some(turn) if self.texts.lines[index].role != Role::User => turn.end = index + 1,
                _ => turns.push(index..index + 1),
            }
        }
        turns
    }

    /// How many of `turns` must go from the front to fit the budget.
    fn fit(&self, turns: &[Range<usize>]) -> Result<usize> {
        let Some(max_tokens) = self.options.max_tokens else { return Ok(0) };
        let reserve = self.options.reserve;
        let need = |dropped: usize| self.need(turns, dropped);
        let fits = |tokens: usize| tokens.checked_add(reserve).is_some_and(|sum| sum <= max_tokens);
        if fits(need(0)?) {
            return Ok(0);
        }
        let least = need(turns.len())?;
        if !fits(least) {
            let system = self.count_alone(&self.texts.system)?.unwrap_or(0);
            let input = self.count_alone(&self.texts.lines[self.input].text)?.unwrap_or(0);
            return Err(Error::Prompt(format!(
                "the System block ({system} tokens) and the new input ({input}) with the frame of {} come to {least} tokens without any history, and {reserve} are kept for the reply: expected at most {max_tokens} in all; shorten them, keep less for the reply or raise the context",
                self.options.preset
            )));
        }
        fewest(turns.len(), |dropped| Ok(fits(need(dropped)?)))
    }

    /// How many of `turns` must go from the front for the rest to take at most `limit` tokens.
    fn within_tokens(&self, turns: &[Range<usize>], limit: usize) -> Result<usize> {
        let within = self.need(turns, turns.len())?.saturating_add(limit);
        if self.need(turns, 0)? <= within {
            return Ok(0);
        }
        fewest(turns.len(), |dropped| Ok(self.need(turns, dropped)? <= within))
    }

    /// The tokens of the prompt without the first `dropped` of `turns`.
    fn need(&self, turns: &[Range<usize>], dropped: usize) -> Result<usize> {
        if self.tokenizer.is_none() {
            let detail = "a budget in tokens needs a tokenizer, and the checkpoint has none; build without a budget";
            return Err(Error::Prompt(detail.into()));
        }
        let start = turns.get(dropped).map_or(self.input, |turn| turn.start);
        let rendered = self.render(start)?;
        Ok(self.encode(&rendered.text(), &rendered.untrusted)?.map_or(0, |ids| ids.len()))
    }

    fn drop_turns(&self, turns: &[Range<usize>], reason: DropReason, dropped: &mut Vec<Dropped>) -> Result<()> {
        for index in turns.iter().cloned().flatten() {
            let Line { role, text } = &self.texts.lines[index];
            dropped.push(Dropped { index: Some(index), role: *role, tokens: self.count_alone(text)?, reason });
        }
        Ok(())
    }

    fn count_alone(&self, text: &str) -> Result<Option<usize>> {
        self.tokenizer.map(|tokenizer| Ok(tokenizer.encode_untrusted(text, &whole(text), false)?.len())).transpose()
    }

    fn encode(&self, text: &str, untrusted: &[Range<usize>]) -> Result<Option<Vec<u32>>> {
        let Some(tokenizer) = self.tokenizer else { return Ok(None) };
        // A template writes its special tokens, BOS among them, itself.
        let adds_bos = tokenizer.adds_bos() && self.options.preset != Preset::ChatTemplate;
        Ok(Some(tokenizer.encode_untrusted(text, untrusted, adds_bos)?))
    }

    fn sections(&self, rendered: &Rendered) -> Result<Vec<Section>> {
        let text = rendered.text();
        let (mut start, mut counted) = (0, 0);
        let mut sections = Vec::with_capacity(rendered.sections.len());
        for (kind, part) in &rendered.sections {
            let end = start + part.len();
            let upto = self.encode(&text[..end], &clipped(&rendered.untrusted, end))?.map(|ids| ids.len());
            let tokens = upto.map(|upto| upto.saturating_sub(counted));
            counted = counted.max(upto.unwrap_or(0));
            sections.push(Section { kind: *kind, start, end, tokens });
            start = end;
        }
        Ok(sections)
    }

    /// The prompt with the messages from `start` on.
    fn render(&self, start: usize) -> Result<Rendered> {
        if self.options.preset == Preset::ChatTemplate {
            return self.render_chat(start);
        }
        let history: Vec<&Line> = self.texts.lines[start..self.input].iter().collect();
        let input = &self.texts.lines[self.input].text;
        let parts = Parts { history: &history, system: &self.texts.system, input, reply: &self.texts.reply };
        let sections = render(self.options.preset, &parts);
        let length = sections.iter().map(|(_, text)| text.len()).sum();
        // The frame has no special token.
        let untrusted = std::iter::once(0..length).collect();
        Ok(Rendered { sections, untrusted, system_in_input: false, strict: false })
    }

    fn render_chat(&self, start: usize) -> Result<Rendered> {
        let template = self.template().ok_or_else(|| {
            Error::Prompt("the preset chat-template needs a checkpoint with a chat template; this one has none".into())
        })?;
        let mut printed = self.print(template, &self.texts, start)?;
        // Without a tokenizer the text is all that there is of the prompt.
        let strict = self.tokenizer.is_none() || printed.untrusted.is_none();
        let texts = if strict { self.strict() } else { &self.texts };
        if strict {
            printed = self.print(template, texts, start)?;
        }
        let mut untrusted = printed.untrusted.unwrap_or_default();
        let mut sections = vec![(SectionKind::Template, printed.text)];
        if !texts.reply.is_empty() && !self.options.continue_last {
            let end = sections[0].1.len();
            untrusted.push(end..end + texts.reply.len());
            sections.push((SectionKind::Reply, texts.reply.clone()));
        }
        Ok(Rendered { sections, untrusted, system_in_input: printed.system_in_input, strict })
    }

    /// Runs the template with and without marks. A system message that it refuses becomes a part of the input.
    fn print(&self, template: &str, texts: &Texts, start: usize) -> Result<Printed> {
        let refused =
            |message: String| Error::Prompt(format!("the chat template refuses this conversation: {message}"));
        let mut messages = self.messages(texts, start, false);
        let mut system_in_input = false;
        let text = match self.run(template, &messages) {
            Err(Failure::Raised(message)) if !texts.system.is_empty() => {
                messages = self.messages(texts, start, true);
                system_in_input = true;
                self.run(template, &messages).map_err(|_| refused(message))?
            }
            Err(Failure::Raised(message)) => return Err(refused(message)),
            Err(Failure::Other(error)) => return Err(error),
            Ok(text) => text,
        };
        let contents = || messages.iter().map(|(_, content)| content.as_str());
        let marks = Marks::absent(contents().chain([template, text.as_str()]));
        let marked = marks.and_then(|marks| {
            let mut marked = messages.clone();
            let reply = marked.len() - 1;
            for (index, (_, content)) in marked.iter_mut().enumerate() {
                let is_reply = self.options.continue_last && index == reply;
                *content = if is_reply { marks.around_reply(content) } else { marks.around(content) };
            }
            Some((self.run(template, &marked).ok()?, marks))
        });
        let mut untrusted = marked.as_ref().and_then(|(marked, marks)| marks.ranges(marked, &text, contents()));
        let mut text = text;
        if self.options.continue_last {
            let end = marked.and_then(|(marked, marks)| marks.end_of_reply(&marked, &text, &texts.reply));
            let detail = "the chat template does not print the reply to continue as it is: expected a template that does, or a new reply";
            text.truncate(end.ok_or_else(|| Error::Prompt(detail.into()))?);
            untrusted = untrusted.map(|ranges| clipped(&ranges, text.len()));
        }
        Ok(Printed { text, untrusted, system_in_input })
    }

    /// The messages from `start` on, as a template gets them.
    fn messages(&self, texts: &Texts, start: usize, system_in_input: bool) -> Vec<(&'static str, String)> {
        let mut messages = Vec::with_capacity(texts.lines.len() + 1 - start);
        if !texts.system.is_empty() && !system_in_input {
            messages.push(("system", texts.system.clone()));
        }
        for line in &texts.lines[start..self.input] {
            messages.push((if line.role == Role::User { "user" } else { "assistant" }, line.text.clone()));
        }
        let input = &texts.lines[self.input].text;
        let input = if system_in_input { format!("{}\n\n{input}", texts.system) } else { input.clone() };
        messages.push(("user", input));
        if self.options.continue_last {
            messages.push(("assistant", texts.reply.clone()));
        }
        messages
    }

    fn run(&self, template: &str, messages: &[(&'static str, String)]) -> Result<String, Failure> {
        let (bos_token, eos_token) = &self.bos_and_eos();
        let add_generation_prompt = !self.options.continue_last;
        template::render(template, &View { messages, add_generation_prompt, bos_token, eos_token, now: self.now })
    }

    fn notices(&self, dropped: &[Dropped], neutralised: &[Neutralised], system_in_input: bool) -> Vec<Notice> {
        let language = self.conversation.language;
        let preset = self.options.preset.name();
        let mut notices = Vec::new();
        let mut add = |kind, term: Term, count: usize| {
            let text = term.with(language, &[("count", &count.to_string()), ("preset", preset)]);
            notices.push(Notice { kind, text });
        };
        if self.options.preset.wants_sources() && !self.conversation.is_backed() {
            add(NoticeKind::NoSources, Term::NoSources, 0);
        }
        let count = |reason| dropped.iter().filter(|d| d.index.is_some() && d.reason == reason).count();
        let (budget, depth, no_slot) = (count(DropReason::Budget), count(DropReason::Depth), count(DropReason::NoSlot));
        if budget > 0 {
            add(NoticeKind::Dropped, Term::DroppedForBudget, budget);
        }
        if depth > 0 {
            add(NoticeKind::Dropped, Term::DroppedForDepth, depth);
        }
        if no_slot > 0 {
            add(NoticeKind::NoHistorySlot, Term::NoHistorySlot, no_slot);
        }
        if dropped.iter().any(|d| d.role == Role::System) {
            add(NoticeKind::NoSystemSlot, Term::NoSystemSlot, 0);
        }
        if system_in_input {
            add(NoticeKind::SystemInInput, Term::SystemInInput, 0);
        }
        if !neutralised.is_empty() {
            add(NoticeKind::Neutralised, Term::Neutralised, neutralised.len());
        }
        notices
    }

    fn stops(&self) -> (Vec<String>, Vec<u32>) {
        let mut stop = self.options.preset.stop();
        let stop_ids = self.tokenizer.map(turn_end_ids).unwrap_or_default();
        if let Some(template) = self.template() {
            let is_text = |end: &&str| {
                let id = self.tokenizer.and_then(|tokenizer| tokenizer.id(end));
                template.contains(end) && !id.is_some_and(|id| stop_ids.contains(&id))
            };
            stop.extend(TURN_ENDS.into_iter().filter(is_text).map(str::to_owned));
            match &self.markers {
                Some(markers) => {
                    stop.extend(markers.stops.iter().filter(|text| !stop.contains(text)).cloned().collect::<Vec<_>>())
                }
                None if template.contains("###") => stop.extend(Preset::Alpaca.stop()),
                None => {}
            }
        }
        (stop, stop_ids)
    }
}

/// All of `text`, as the list of its untrusted parts.
fn whole(text: &str) -> [Range<usize>; 1] {
    std::array::from_fn(|_| 0..text.len())
}
