//! Where the model comes from: the path that was asked for, or the one that is part of the program.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use guanaco_engine::file::Checkpoint;
use guanaco_engine::model::{Config, DEFAULT_CONTEXT, Forward, Pass, Stretch};
use guanaco_engine::prompt::{BuildOptions, Conversation, Message, build, read_chat_template, turn_end_ids};
use guanaco_engine::sampler::SamplerConfig;
use guanaco_engine::session::{Request, Session};
use guanaco_engine::tokenizer::Tokenizer;
use guanaco_engine::weights::names::{Resolved, resolve};
use guanaco_engine::weights::{Lora, Sources};
use guanaco_engine::{Error, Result};

use crate::format::PresetChoice;

/// The files of the model that is part of the program.
const EMBEDDED: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../tiny-guanaco/config.json")),
    ("generation_config.json", include_bytes!("../tiny-guanaco/generation_config.json")),
    ("tokenizer.json", include_bytes!("../tiny-guanaco/tokenizer.json")),
    ("tokenizer_config.json", include_bytes!("../tiny-guanaco/tokenizer_config.json")),
    ("model.safetensors", include_bytes!("../tiny-guanaco/model.safetensors")),
];

/// The scripted conversation of `guanaco demo`: one JSON object a line.
pub(crate) const DEMO: &str = include_str!("../tiny-guanaco/demo.jsonl");

/// What the embedded model is called in messages.
pub const EMBEDDED_NAME: &str = "tiny-guanaco (embedded)";

/// The checkpoint at `path`, or the embedded one.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn open(path: Option<&Path>) -> Result<Checkpoint> {
    match path {
        Some(path) => Checkpoint::open(path),
        None => Checkpoint::from_static(EMBEDDED),
    }
}

/// A LoRA to lay over a model: `PATH` or `PATH=SCALE`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraSpec {
    /// Its folder.
    pub path: PathBuf,
    /// How much of it: 1 for all.
    pub scale: f64,
}

impl LoraSpec {
    /// Opens it.
    ///
    /// # Errors
    /// As [`Lora::open`].
    pub fn open(&self) -> Result<Lora> {
        Lora::open(&self.path, self.scale)
    }
}

impl std::str::FromStr for LoraSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A path may hold `=`; only a number behind the last one is a scale.
        let number = text.rsplit_once('=').and_then(|(path, scale)| Some((path, scale.parse::<f64>().ok()?)));
        let (path, scale) = number.unwrap_or((text, 1.0));
        if path.is_empty() || !scale.is_finite() {
            return Err("expected PATH or PATH=SCALE, such as my-lora=0.8".to_owned());
        }
        Ok(Self { path: path.into(), scale })
    }
}

/// Where a GGUF file has its chat template.
const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

/// All that a model's files tell before a device is opened: enough to refuse what cannot be answered, in milliseconds.
#[derive(Debug)]
pub struct Files {
    /// Its name for people.
    pub name: String,
    /// The files of the tensors.
    pub checkpoint: Checkpoint,
    /// The LoRAs over them.
    pub loras: Vec<Lora>,
    /// The tensors, found and checked.
    pub tensors: Resolved,
    /// Its configuration.
    pub config: Config,
    /// None when the checkpoint has none: then only ids go in and out.
    pub tokenizer: Option<Tokenizer>,
    /// The checkpoint's own chat template.
    pub chat_template: Option<String>,
    /// The sampling values of the model's `generation_config.json`, where it has some.
    sampling: Option<SamplerConfig>,
    /// The tokens that end a reply.
    pub eos: Vec<u32>,
    /// Tokens that prompt and reply may have together.
    pub max_seq_len: usize,
}

impl Files {
    /// The files of the model at `path`, or the embedded one, with `loras` over it, for a context of `context` tokens
    /// ([`context_len`]) with RoPE stretched as `stretch` says.
    ///
    /// # Errors
    /// What is wrong with them, tensor by tensor; a context that the model does not have.
    pub fn open(
        path: Option<&Path>,
        loras: &[LoraSpec],
        context: Option<usize>,
        stretch: Option<Stretch>,
    ) -> Result<Self> {
        let checkpoint = open(path)?;
        let mut config = Config::load(&checkpoint)?.stretched(stretch, context)?;
        let sampling = own_sampling(&checkpoint, &mut config.warnings);
        let loras = loras.iter().map(LoraSpec::open).collect::<Result<Vec<_>>>()?;
        let tensors = resolve(Sources { checkpoint: &checkpoint, loras: &loras }, &config.dims())?;
        let tokenizer = Tokenizer::from_checkpoint(&checkpoint)?;
        if let Some(tokenizer) = &tokenizer {
            tokenizer.check_vocab_size(config.vocab_size)?;
            config.warnings.extend_from_slice(tokenizer.notes());
        }
        Ok(Self {
            name: name(path),
            chat_template: match checkpoint.metadata() {
                Some(metadata) => metadata.text(CHAT_TEMPLATE)?.map(str::to_owned),
                None => chat_template(path)?,
            },
            eos: eos(&config, tokenizer.as_ref()),
            max_seq_len: context_len(context, &config)?,
            sampling,
            checkpoint,
            loras,
            tensors,
            config,
            tokenizer,
        })
    }

    /// The sampling values that a chat in the format of `preset` begins with: Guanaco's in its formats, else the model's own,
    /// else greedy ones, as in transformers.
    pub fn sampling_for(&self, preset: PresetChoice) -> SamplerConfig {
        match preset.resolve(self.chat_template.as_deref()).wants_sources() {
            true => SamplerConfig::default(),
            false => self.sampling.clone().unwrap_or_else(SamplerConfig::greedy),
        }
    }

    /// The sampling values of the model's `generation_config.json`, where it has some and `preset` takes them.
    pub fn own_sampling(&self, preset: PresetChoice) -> Option<SamplerConfig> {
        self.sampling.clone().filter(|own| *own == self.sampling_for(preset))
    }

    /// True when `sampler` has the values of the model's `generation_config.json`.
    pub fn uses_own_sampling(&self, preset: PresetChoice, sampler: &SamplerConfig) -> bool {
        self.own_sampling(preset).is_some_and(|own| SamplerConfig { seed: sampler.seed, ..own } == *sampler)
    }

    /// Why a chat in the model's own format cannot be prompted; None where it can.
    pub fn chat_problem(&self) -> Option<String> {
        let tokenizer = self.tokenizer.as_ref()?;
        let conversation = Conversation { messages: vec![Message::user("Hello")], ..Conversation::default() };
        let preset = PresetChoice::Auto.resolve(self.chat_template.as_deref());
        let options = BuildOptions { preset, template: self.chat_template.clone(), ..BuildOptions::default() };
        let problem = build(&conversation, &options, Some(tokenizer)).err()?;
        Some(format!("a chat in the model's own format fails: {problem}"))
    }

    /// The name of a token, where there is a tokenizer that has it.
    pub fn piece(&self, id: u32) -> Option<String> {
        self.tokenizer.as_ref()?.piece(id)
    }

    /// The checkpoint with the LoRAs over it.
    pub fn sources(&self) -> Sources<'_> {
        Sources { checkpoint: &self.checkpoint, loras: &self.loras }
    }

    /// The tokens of `text` alone; without a tokenizer its bytes, of which no token has less than one.
    pub fn count(&self, text: &str) -> usize {
        let ids = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.encode(text, false).ok());
        ids.map_or(text.len(), |ids| ids.len())
    }

    /// Refuses a request that a session with `n_slots` slots would refuse, in its words.
    ///
    /// # Errors
    /// As [`Session::generate`] before anything is run.
    pub fn check(&self, request: &Request, n_slots: usize) -> Result<()> {
        // The session itself is asked: a stopped request ends after the checks, and runs nothing.
        let request = Request { stop_flag: Arc::new(AtomicBool::new(true)), ..request.clone() };
        let sizes = Sizes { vocab_size: self.config.vocab_size, max_seq_len: self.max_seq_len, n_slots };
        let mut ignore = |_: guanaco_engine::session::Event<'_>| std::ops::ControlFlow::Break(());
        Session::new(sizes).generate(&request, self.tokenizer.as_ref(), &mut ignore).map(drop)
    }
}

/// The sampling values of `generation_config.json`. Bad ones are left out with a warning: they are only where a person begins.
fn own_sampling(checkpoint: &Checkpoint, warnings: &mut Vec<String>) -> Option<SamplerConfig> {
    const FILE: &str = "generation_config.json";
    let read = || match checkpoint.file_bytes(FILE)? {
        Some(bytes) => SamplerConfig::from_generation_config(&bytes, &checkpoint.side_path(FILE)),
        None => Ok(None),
    };
    read().unwrap_or_else(|error| {
        warnings.push(format!("the model's own sampling values are not used: {error}"));
        None
    })
}

/// The context for a model: what is asked for, or the model's up to [`DEFAULT_CONTEXT`].
///
/// # Errors
/// [`Error::Request`] with both numbers when more is asked for than the model has, or RoPE is stretched for.
pub fn context_len(context: Option<usize>, config: &Config) -> Result<usize> {
    match context {
        Some(context) if context > config.max_context => {
            let how = if config.max_context == config.max_seq_len {
                "the context that the model was made for (--rope-scaling dynamic, ntk or linear stretches it)"
            } else {
                "what this --rope-scaling stretches the model's context to"
            };
            Err(Error::Request(format!("--context: expected at most {}, {how}, got {context}", config.max_context)))
        }
        Some(context) => Ok(context),
        None => Ok(DEFAULT_CONTEXT.min(config.max_seq_len)),
    }
}

/// A model of which only the sizes are known.
#[derive(Debug)]
struct Sizes {
    vocab_size: usize,
    max_seq_len: usize,
    n_slots: usize,
}

impl Sizes {
    fn refuse(&self) -> Result<()> {
        Err(Error::Request("no model is loaded".to_owned()))
    }
}

impl Forward for Sizes {
    fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    fn n_slots(&self) -> usize {
        self.n_slots
    }

    fn forward(&mut self, _: Pass, _: usize, _: usize, _: &[u32], _: &mut Vec<f32>) -> Result<()> {
        self.refuse()
    }

    fn chunk_len(&self) -> usize {
        self.max_seq_len
    }

    fn copy_slot(&mut self, _: usize, _: usize, _: usize) -> Result<()> {
        self.refuse()
    }
}

/// The tokens that end a reply: the tokenizer's, those that end a turn by their text, and the configuration's but for its
/// mistakes (2023's conversions call BOS so).
fn eos(config: &Config, tokenizer: Option<&Tokenizer>) -> Vec<u32> {
    let mut eos: Vec<u32> = tokenizer.and_then(Tokenizer::eos).into_iter().collect();
    let bos = tokenizer.and_then(Tokenizer::bos);
    eos.extend(tokenizer.map(turn_end_ids).unwrap_or_default());
    eos.extend(config.eos_ids.iter().copied().filter(|id| Some(*id) != bos));
    eos.sort_unstable();
    eos.dedup();
    eos
}

/// The tokenizer of the model at `path`, or the embedded one; None when there is none. The weights may be missing, and `path`
/// may be the tokenizer's own file.
///
/// # Errors
/// As [`Tokenizer::open`].
pub fn tokenizer(path: Option<&Path>) -> Result<Option<Tokenizer>> {
    match path {
        None => Tokenizer::from_checkpoint(&Checkpoint::from_static(EMBEDDED)?),
        Some(path) => match gguf(path)? {
            Some(checkpoint) => Tokenizer::from_checkpoint(&checkpoint),
            None => Tokenizer::open(&folder(path)?),
        },
    }
}

/// The chat template of the model at `path`; the embedded one has none.
///
/// # Errors
/// As [`read_chat_template`]; what is wrong with a GGUF file.
pub fn chat_template(path: Option<&Path>) -> Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    match gguf(path)?.as_ref().and_then(Checkpoint::metadata) {
        Some(metadata) => Ok(metadata.text(CHAT_TEMPLATE)?.map(str::to_owned)),
        None => read_chat_template(&folder(path)?),
    }
}

/// The checkpoint at `path` when it is a GGUF file, which holds its tokenizer and its chat template itself.
fn gguf(path: &Path) -> Result<Option<Checkpoint>> {
    match Checkpoint::open(path) {
        Ok(checkpoint) => Ok(Some(checkpoint).filter(|checkpoint| checkpoint.metadata().is_some())),
        Err(error) if path.extension().is_some_and(|extension| extension == "gguf") => Err(error),
        // Of another model the weights may be missing.
        Err(_) => Ok(None),
    }
}

/// The folder that `path` is, or lies in.
fn folder(path: &Path) -> Result<PathBuf> {
    let metadata = std::fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
    if metadata.is_dir() {
        return Ok(path.to_owned());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok(parent.unwrap_or(Path::new(".")).to_owned())
}

/// What the model at `path` is called in messages: its name on the hub, or that of its folder or file.
pub fn name(path: Option<&Path>) -> String {
    let Some(path) = path else { return EMBEDDED_NAME.to_owned() };
    if let Some(name) = crate::hub::cache::model_of(path) {
        return name;
    }
    let full = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    full.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_that_the_model_does_not_have_is_refused_with_both_numbers() {
        let config = Files::open(None, &[], None, None).unwrap().config;
        let of = |context, max_seq_len| {
            context_len(context, &Config { max_seq_len, max_context: max_seq_len, ..config.clone() })
        };
        assert_eq!(of(None, 1024).unwrap(), 1024);
        assert_eq!(of(None, 1 << 20).unwrap(), DEFAULT_CONTEXT);
        assert_eq!(of(Some(1024), 1024).unwrap(), 1024);
        let error = of(Some(999_999), 1024).unwrap_err().to_string();
        assert!(error.contains("1024") && error.contains("999999") && error.contains("--rope-scaling"), "{error}");
    }

    #[test]
    fn a_stretched_model_has_the_context_that_is_asked_for() {
        let trained = Files::open(None, &[], None, None).unwrap().config.max_seq_len;
        let open = |stretch: &str, context| Files::open(None, &[], context, Some(stretch.parse().unwrap()));
        for stretch in ["linear", "dynamic", "ntk", "ntk=3"] {
            assert_eq!(open(stretch, Some(3 * trained)).unwrap().max_seq_len, 3 * trained, "{stretch}");
            assert_eq!(open(stretch, None).unwrap().max_seq_len, trained.min(DEFAULT_CONTEXT), "{stretch}");
        }
        let error = open("linear=2", Some(3 * trained)).unwrap_err().to_string();
        assert!(error.contains(&(2 * trained).to_string()), "{error}");
    }

    #[test]
    fn a_lora_has_a_path_and_may_have_a_scale() {
        let parse = |text: &str| text.parse::<LoraSpec>().map(|spec| (spec.path.display().to_string(), spec.scale));
        assert_eq!(parse("a/b"), Ok(("a/b".to_owned(), 1.0)));
        assert_eq!(parse("a=b=0.5"), Ok(("a=b".to_owned(), 0.5)));
        assert_eq!(parse("a=b"), Ok(("a=b".to_owned(), 1.0)));
        assert_eq!(parse("a=-1"), Ok(("a".to_owned(), -1.0)));
        for text in ["", "=1", "a=inf", "a=NaN"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn requests_are_checked_without_a_device() {
        let files = Files::open(None, &[], Some(8), None).unwrap();
        let request = |prompt_ids: &[u32]| Request { prompt_ids: prompt_ids.to_vec(), ..Request::default() };
        files.check(&request(&[1, 2, 3]), 1).unwrap();
        let beams = Request { num_beams: 2, sampler: SamplerConfig::greedy(), ..request(&[1]) };
        files.check(&beams, 2).unwrap();
        for (bad, word) in [
            (request(&[]), "at least one"),
            (request(&[1; 9]), "at most 8"),
            (request(&[1, 999_999]), "999999"),
            (Request { stop: vec![String::new()], ..request(&[1]) }, "stop strings"),
            (Request { num_return_sequences: 2, ..request(&[1]) }, "num_return_sequences"),
            (Request { num_beams: 3, ..beams.clone() }, "at most 2"),
        ] {
            let error = files.check(&bad, 2).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
