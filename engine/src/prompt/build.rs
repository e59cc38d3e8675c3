//! From a conversation to the exact prompt.

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use serde::Serialize;

use super::character::check_name;
use super::conversation::{Conversation, Role};
use super::language::Term;
use super::neutralise::{CHAT_ROLES, Neutralised, Place, ROLES, Rules, fold_token, neutralise};
use super::presets::{Line, Parts, Preset, SectionKind, render};
use super::template::{self, Failure, View};
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
    rules: Rules,
    lines: Vec<Line>,
    /// What was neutralised in each message.
    reports: Vec<Vec<Neutralised>>,
    system: String,
    system_report: Vec<Neutralised>,
    /// The index of the new input.
    input: usize,
    /// What the reply begins with.
    reply: String,
    reply_prefix: Option<String>,
}

/// A prompt's text with its stretches.
struct Rendered {
    sections: Vec<(SectionKind, String)>,
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
        let rules = rules(options, tokenizer);
        let mut reports = Vec::with_capacity(messages.len());
        let mut lines = Vec::with_capacity(messages.len());
        for (index, message) in messages.iter().enumerate() {
            let mut report = Vec::new();
            let text = neutralise(&message.content, &rules, Place::Message(index), &mut report);
            let text = match &message.name {
                Some(name) => format!("{name}: {text}"),
                None => text,
            };
            lines.push(Line { role: message.role, text });
            reports.push(report);
        }
        let mut system_report = Vec::new();
        let system = system_block(conversation, &rules, &mut system_report);
        let forced = conversation.character.as_ref().filter(|character| character.force_name);
        let (reply, reply_prefix) = match (options.continue_last, forced) {
            (true, _) => (lines.last().map(|line| line.text.clone()).unwrap_or_default(), None),
            // No space behind the colon: LLaMA's vocabularies join it to the word that follows.
            (false, Some(character)) => (format!("{}:", character.name), Some(format!("{}:", character.name))),
            (false, None) => (String::new(), None),
        };
        Ok(Self {
            conversation,
            options,
            tokenizer,
            rules,
            lines,
            reports,
            system,
            system_report,
            input,
            reply,
            reply_prefix,
        })
    }

    fn build(self) -> Result<Prompt> {
        let preset = self.options.preset;
        let turns = self.turns();
        let mut dropped = Vec::new();
        let mut first = 0;
        if !preset.has_system_slot() && !self.system.is_empty() {
            let tokens = self.count_alone(&self.system)?;
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
        let ids = self.encode(&text)?;
        let sections = self.sections(&rendered)?;
        let mut neutralised = if preset.has_system_slot() { self.system_report.clone() } else { Vec::new() };
        neutralised.extend(self.reports[start..].iter().flatten().cloned());
        let notices = self.notices(&dropped, &neutralised, rendered.system_in_input);
        let (stop, stop_ids) = self.stops();
        let reply_prefix = self.reply_prefix;
        Ok(Prompt { text, ids, sections, dropped, neutralised, reply_prefix, notices, stop, stop_ids })
    }

    /// The earlier messages as turns: a user's message with what answers it.
    fn turns(&self) -> Vec<Range<usize>> {
        let mut turns: Vec<Range<usize>> = Vec::new();
        for index in 0..self.input {
            match turns.last_mut() {
                Some(turn) if self.lines[index].role != Role::User => turn.end = index + 1,
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
            let system = self.count_alone(&self.system)?.unwrap_or(0);
            let input = self.count_alone(&self.lines[self.input].text)?.unwrap_or(0);
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
        Ok(self.encode(&self.render(start)?.text())?.map_or(0, |ids| ids.len()))
    }

    fn drop_turns(&self, turns: &[Range<usize>], reason: DropReason, dropped: &mut Vec<Dropped>) -> Result<()> {
        for index in turns.iter().cloned().flatten() {
            let Line { role, text } = &self.lines[index];
            dropped.push(Dropped { index: Some(index), role: *role, tokens: self.count_alone(text)?, reason });
        }
        Ok(())
    }

    fn count_alone(&self, text: &str) -> Result<Option<usize>> {
        self.tokenizer.map(|tokenizer| Ok(tokenizer.encode(text, false)?.len())).transpose()
    }

    fn encode(&self, text: &str) -> Result<Option<Vec<u32>>> {
        let Some(tokenizer) = self.tokenizer else { return Ok(None) };
        // A template writes its special tokens, BOS among them, itself; what users wrote was neutralised.
        let ids = match self.options.preset {
            Preset::ChatTemplate => tokenizer.encode_parsing_specials(text, false)?,
            _ => tokenizer.encode(text, tokenizer.adds_bos())?,
        };
        Ok(Some(ids))
    }

    fn sections(&self, rendered: &Rendered) -> Result<Vec<Section>> {
        let text = rendered.text();
        let (mut start, mut counted) = (0, 0);
        let mut sections = Vec::with_capacity(rendered.sections.len());
        for (kind, part) in &rendered.sections {
            let end = start + part.len();
            let upto = self.encode(&text[..end])?.map(|ids| ids.len());
            let tokens = upto.map(|upto| upto.saturating_sub(counted));
            counted = counted.max(upto.unwrap_or(0));
            sections.push(Section { kind: *kind, start, end, tokens });
            start = end;
        }
        Ok(sections)
    }

    /// The prompt with the messages from `start` on.
    fn render(&self, start: usize) -> Result<Rendered> {
        let history: Vec<&Line> = self.lines[start..self.input].iter().collect();
        let input = &self.lines[self.input].text;
        let parts = Parts { history: &history, system: &self.system, input, reply: &self.reply };
        if self.options.preset != Preset::ChatTemplate {
            return Ok(Rendered { sections: render(self.options.preset, &parts), system_in_input: false });
        }
        let template = self.options.template.as_deref().ok_or_else(|| {
            Error::Prompt("the preset chat-template needs a checkpoint with a chat template; this one has none".into())
        })?;
        let (text, system_in_input) = match self.render_template(template, &parts, false) {
            Ok(text) => (text, false),
            Err(Failure::Raised(message)) if !self.system.is_empty() => {
                let again = self.render_template(template, &parts, true);
                (
                    again.map_err(|_| {
                        Error::Prompt(format!("the chat template refuses this conversation: {message}"))
                    })?,
                    true,
                )
            }
            Err(Failure::Raised(message)) => {
                return Err(Error::Prompt(format!("the chat template refuses this conversation: {message}")));
            }
            Err(Failure::Other(error)) => return Err(error),
        };
        let mut sections = vec![(SectionKind::Template, text)];
        if !self.reply.is_empty() && !self.options.continue_last {
            sections.push((SectionKind::Reply, self.reply.clone()));
        }
        Ok(Rendered { sections, system_in_input })
    }

    fn render_template(&self, template: &str, parts: &Parts<'_>, system_in_input: bool) -> Result<String, Failure> {
        let mut messages = Vec::with_capacity(parts.history.len() + 3);
        if !parts.system.is_empty() && !system_in_input {
            messages.push(("system", parts.system.to_owned()));
        }
        for line in parts.history {
            messages.push((if line.role == Role::User { "user" } else { "assistant" }, line.text.clone()));
        }
        messages.push((
            "user",
            match system_in_input {
                true => format!("{}\n\n{}", parts.system, parts.input),
                false => parts.input.to_owned(),
            },
        ));
        let going_on = self.options.continue_last;
        if going_on {
            messages.push(("assistant", parts.reply.to_owned()));
        }
        let name = |id: Option<u32>| self.tokenizer.and_then(|tokenizer| tokenizer.piece(id?));
        let bos = name(self.tokenizer.and_then(Tokenizer::bos)).unwrap_or_else(|| "<s>".into());
        let eos = name(self.tokenizer.and_then(Tokenizer::eos)).unwrap_or_else(|| "</s>".into());
        let view = View {
            messages: &messages,
            add_generation_prompt: !going_on,
            bos_token: &bos,
            eos_token: &eos,
            now: self.options.now.unwrap_or_else(SystemTime::now),
        };
        let mut text = template::render(template, &view)?;
        if going_on {
            // The reply is cut open again behind its last character; templates may trim it.
            let reply = [parts.reply, parts.reply.trim_end(), parts.reply.trim()].into_iter().find_map(|reply| {
                let at = text.rfind(reply).filter(|_| !reply.is_empty())?;
                Some(at + reply.len())
            });
            let end = reply.ok_or_else(|| {
                Failure::Other(Error::Prompt("the chat template does not print the reply to go on with".into()))
            })?;
            text.truncate(end);
        }
        Ok(text)
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
        if self.options.preset == Preset::ChatTemplate {
            let template = self.options.template.as_deref().unwrap_or_default();
            let ends = TURN_ENDS.into_iter().filter(|end| template.contains(end));
            // Where it is no token, it is printed letter by letter.
            stop.extend(ends.filter(|end| self.tokenizer.is_none_or(|own| own.id(end).is_none())).map(str::to_owned));
            if self.rules.headers {
                stop.extend(Preset::Alpaca.stop());
            }
        }
        (stop, stop_ids)
    }
}

fn rules(options: &BuildOptions, tokenizer: Option<&Tokenizer>) -> Rules {
    match options.preset {
        Preset::Guanaco | Preset::GuanacoLora => Rules { headers: true, roles: ROLES, specials: Vec::new() },
        Preset::GuanacoLoraInstruct | Preset::Alpaca => Rules { headers: true, roles: &[], specials: Vec::new() },
        Preset::ChatTemplate => {
            let own = tokenizer.map(Tokenizer::specials).unwrap_or_default();
            let names = own.iter().map(|(name, _)| name.as_str()).chain(TURN_ENDS).chain(CHAT_TOKENS);
            let template = options.template.as_deref().unwrap_or_default().to_lowercase();
            let labels = CHAT_ROLES.iter().any(|role| template.contains(&format!("{role}:")));
            Rules {
                headers: template.contains("###"),
                roles: if labels { CHAT_ROLES } else { &[] },
                specials: names.map(fold_token).collect(),
            }
        }
    }
}

/// The character's description, the knowledge, the sources and the keywords, each on lines of its own.
fn system_block(conversation: &Conversation, rules: &Rules, report: &mut Vec<Neutralised>) -> String {
    let (system, language) = (&conversation.system, conversation.language);
    let mut blocks = Vec::new();
    if let Some(character) = &conversation.character {
        blocks.push(neutralise(&character.description, rules, Place::Character, report));
    }
    blocks.push(neutralise(&system.knowledge, rules, Place::Knowledge, report));
    for (index, source) in system.sources.iter().enumerate().filter(|(_, source)| source.enabled) {
        // The heading is one line; what is filled in is neutralised with it.
        let one_line =
            |text: &str| text.split(|c: char| c.is_control() || c.is_whitespace()).collect::<Vec<_>>().join(" ");
        let title = one_line(&source.title);
        let link = source.link.as_deref().map(one_line).filter(|link| !link.trim().is_empty());
        let term = if link.is_some() { Term::SourceWithLink } else { Term::Source };
        let heading =
            term.with(language, &[("title", title.trim()), ("link", link.as_deref().unwrap_or_default().trim())]);
        let text = if source.text.is_empty() { heading } else { format!("{heading}\n{}", source.text) };
        blocks.push(neutralise(&text, rules, Place::Source(index), report));
    }
    blocks.extend(system.keywords.names().map(str::to_owned));
    blocks.retain(|block| !block.is_empty());
    blocks.join("\n")
}
