//! The exact prompt, live while it is typed: built on a thread of its own, the newest question only.

use std::sync::{Arc, Weak};

use guanaco_engine::prompt::{Prompt, Source};

use super::compose::{Composed, Scene};
use super::newest::Newest;
use super::{Desk, Wake};
use crate::checkpoint::Files;
use crate::store::ChatId;

/// The prompt as it would be sent now.
#[derive(Debug, Clone)]
pub struct Previewed {
    chat: ChatId,
    /// The prompt; why it cannot be built.
    pub prompt: Result<Prompt, String>,
    /// Older messages that were not looked at, as they cannot fit.
    pub left_out: usize,
    /// The conversation that it was built from; [`Prompt::dropped`] counts its messages.
    pub composed: Composed,
    /// Tokens of each source, alone.
    pub source_tokens: Vec<usize>,
    /// Tokens of prompt and answer together that the model has.
    pub context: usize,
}

/// What the prompt depends on.
#[derive(Clone, PartialEq)]
struct Key {
    chat: ChatId,
    version: u64,
    draft: String,
}

/// What was asked last, and what was said last.
pub(super) struct Preview {
    newest: Newest<Scene, Previewed>,
    asked: Option<Key>,
    current: Option<Previewed>,
}

impl Preview {
    pub(super) fn start(wake: Wake) -> std::io::Result<Self> {
        let mut counted = Counted::default();
        let answer = move |scene| answer(scene, &mut counted);
        Ok(Self { newest: Newest::start("guanaco prompt", wake, answer)?, asked: None, current: None })
    }

    /// Has the prompt built anew.
    pub(super) fn forget(&mut self) {
        self.asked = None;
    }
}

/// The tokens of the sources that were counted last: they may be long, and change seldom while somebody types.
#[derive(Default)]
struct Counted {
    files: Weak<Files>,
    sources: Vec<(String, usize)>,
}

impl Counted {
    fn count(&mut self, sources: Vec<Source>, files: &Arc<Files>) -> Vec<usize> {
        let mut before = std::mem::take(&mut self.sources);
        let now = Arc::downgrade(files);
        if !now.ptr_eq(&std::mem::replace(&mut self.files, now.clone())) {
            before.clear();
        }
        for source in sources {
            let known = before.iter().find(|(text, _)| *text == source.text).map(|(_, count)| *count);
            let count = known.unwrap_or_else(|| files.count(&source.text));
            self.sources.push((source.text, count));
        }
        self.sources.iter().map(|(_, count)| *count).collect()
    }
}

fn answer(scene: Scene, counted: &mut Counted) -> Previewed {
    let composed = scene.compose();
    let Scene { chat, settings, files, .. } = scene;
    let manner = settings.manner(&settings.sampler);
    let prompt = manner.prompt(&composed.conversation, false, &files).map_err(|error| error.to_string());
    let source_tokens = counted.count(settings.system.sources, &files);
    Previewed { chat, prompt, left_out: composed.left_out, source_tokens, context: files.max_seq_len, composed }
}

impl Desk {
    /// Asks for the prompt anew where something that it depends on has changed, and takes what is finished. Only while somebody looks:
    /// [`WindowSettings::prompt_panel`](super::settings::WindowSettings::prompt_panel), [`Desk::looks_at_lore`].
    pub(super) fn refresh_preview(&mut self) {
        if let Some(previewed) = self.preview.newest.answer() {
            self.preview.current = Some(previewed);
        }
        let Some(model) = self.model.ready() else { return };
        if !(self.window.prompt_panel || self.looks_at_lore) || self.answering.is_some() {
            return;
        }
        let key = Key { chat: self.chat.id, version: self.chat.version, draft: self.chat.draft.clone() };
        if self.preview.asked.as_ref() == Some(&key) {
            return;
        }
        self.preview.newest.ask(self.draft_scene(&model.files));
        self.preview.asked = Some(key);
    }

    /// The prompt of the open chat as it was when it was built last; None before the first time.
    pub fn preview(&self) -> Option<&Previewed> {
        self.preview.current.as_ref().filter(|previewed| previewed.chat == self.chat.id)
    }
}
