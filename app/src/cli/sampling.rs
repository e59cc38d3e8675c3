//! The flags that say how a reply is made, shared by `chat`, `demo` and `generate`.

use guanaco_engine::prompt::{Character, Conversation, Language, System};
use guanaco_engine::sampler::{SamplerConfig, SamplerPreset};
use guanaco_engine::session::MOST_DRAFTED;

use super::input;
use crate::format::PresetChoice;

/// The most tokens of a reply, when nothing is asked for.
pub(super) const MAX_NEW_TOKENS: usize = 512;

/// How tokens are chosen.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// Values to start from: `guanaco` draws (temperature 0.5, top-k 30, top-p 0.75, repetition penalty 1.07), `reference`
    /// takes the best token with the same penalty [default: guanaco; the embedded model: greedy]
    #[arg(long, value_name = "PRESET", value_parser = parse::<SamplerPreset>)]
    pub sampling: Option<SamplerPreset>,
    /// Takes the best token each time; without --sampling also without any penalty
    #[arg(long)]
    pub greedy: bool,
    /// Below 1 sharpens, above 1 flattens
    #[arg(long, value_name = "T")]
    pub temperature: Option<f32>,
    /// Keeps the K best tokens; 0 is off
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Keeps the best tokens that together have probability P; 1 is off
    #[arg(long, value_name = "P")]
    pub top_p: Option<f32>,
    /// Drops tokens less probable than P times the best; 0 is off
    #[arg(long, value_name = "P")]
    pub min_p: Option<f32>,
    /// Keeps the most typical tokens that together have probability P; 1 is off
    #[arg(long, value_name = "P")]
    pub typical_p: Option<f32>,
    /// Makes what was said less likely; 1 is off
    #[arg(long, value_name = "R")]
    pub repetition_penalty: Option<f32>,
    /// Forbids each run of N tokens to come twice; 0 is off
    #[arg(long, value_name = "N", alias = "no-repeat-ngram-size")]
    pub no_repeat_ngram: Option<usize>,
    /// Starts the random numbers: same seed, same text on one adapter [default: a new one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// How a reply comes sooner.
#[derive(clap::Args, Debug, Clone, Copy, Default)]
pub(crate) struct LookupArgs {
    /// Drafts up to N tokens at a time (7 without a number) out of what was said before, and tests them in one step: the same
    /// reply, sooner where it repeats the prompt or itself
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "7",
        value_parser = clap::value_parser!(u64).range(1..=MOST_DRAFTED as u64))]
    pub prompt_lookup: Option<u64>,
}

impl LookupArgs {
    /// Tokens of a draft; 0 is off.
    pub(super) fn draft_tokens(self) -> usize {
        self.prompt_lookup.map_or(0, |n| n as usize)
    }
}

impl SamplingArgs {
    /// What the flags mean for a model. The embedded one is small and copies what it was told: a draw, or a penalty on what the
    /// prompt says, would make it misspell it. So it is greedy unless a flag says how tokens are chosen.
    #[must_use]
    pub(super) fn for_model(mut self, embedded: bool) -> Self {
        let given = self.draws() || self.repetition_penalty.is_some() || self.no_repeat_ngram.is_some();
        self.greedy |= embedded && !given && self.sampling.is_none();
        self
    }

    /// True when a flag says how tokens are drawn.
    fn draws(&self) -> bool {
        let given = [self.temperature, self.top_p, self.min_p, self.typical_p];
        given.iter().any(Option::is_some) || self.top_k.is_some()
    }

    /// The values above `model`'s own ([`Files::sampling_for`](crate::checkpoint::Files::sampling_for)), `greedy` for a beam
    /// search too (`draws` is false then).
    pub(super) fn config(&self, draws: bool, model: SamplerConfig) -> SamplerConfig {
        let greedy = self.greedy || !draws;
        let base = match self.sampling {
            Some(preset) => preset.config(),
            None if greedy => SamplerConfig::greedy(),
            None => SamplerConfig { greedy: model.greedy && !self.draws(), ..model },
        };
        let seed = crate::chat::random_seed();
        self.above(&SamplerConfig { greedy: base.greedy || greedy, seed, ..base })
    }

    /// The values of a saved chat, with those above them that were given. A preset or `--greedy` starts from itself.
    pub(super) fn resume(&self, saved: &SamplerConfig) -> SamplerConfig {
        match self.sampling.is_some() || self.greedy {
            true => self.above(&SamplerConfig { seed: saved.seed, ..self.config(true, SamplerConfig::default()) }),
            false => self.above(saved),
        }
    }

    fn above(&self, base: &SamplerConfig) -> SamplerConfig {
        SamplerConfig {
            temperature: self.temperature.unwrap_or(base.temperature),
            top_k: self.top_k.unwrap_or(base.top_k),
            top_p: self.top_p.unwrap_or(base.top_p),
            min_p: self.min_p.unwrap_or(base.min_p),
            typical_p: self.typical_p.unwrap_or(base.typical_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(base.repetition_penalty),
            no_repeat_ngram: self.no_repeat_ngram.unwrap_or(base.no_repeat_ngram),
            greedy: base.greedy,
            seed: self.seed.unwrap_or(base.seed),
        }
    }

    /// What is wrong with the flags when `config` came of them: those that say how to draw, where nothing is drawn.
    pub(super) fn check(&self, config: &SamplerConfig) -> Result<(), String> {
        let drawing = [
            ("--temperature", self.temperature.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--min-p", self.min_p.is_some()),
            ("--typical-p", self.typical_p.is_some()),
        ];
        match drawing.iter().find(|(_, given)| *given && config.greedy) {
            Some((flag, _)) => Err(format!(
                "{flag} says how tokens are drawn, and with --greedy, --num-beams or --sampling reference none is"
            )),
            None => Ok(()),
        }
    }
}

/// What stands around the message in a prompt.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Prompt")]
pub(crate) struct PromptArgs {
    /// The prompt's format: auto, guanaco, guanaco-lora, guanaco-lora-instruct, alpaca, chat-template; auto is the chat
    /// template that the model brings, else guanaco [default: auto]
    #[arg(long, value_name = "PRESET", value_parser = parse::<PresetChoice>)]
    pub preset: Option<PresetChoice>,
    /// The System block: knowledge with its sources, at its end the keywords NO IDEA, FORBIDDEN, SFW on lines of their own
    #[arg(long, value_name = "TEXT|@FILE")]
    pub system: Option<String>,
    /// The character to play: a Guanaco model then begins its replies with `NAME:`
    #[arg(long, value_name = "NAME")]
    pub character: Option<String>,
    /// Puts `NAME:` in front of the reply, for models that do not write it themselves
    #[arg(long)]
    pub force_name: bool,
    /// The language of the notices: en, zh-CN, zh-TW, zh-HK, ja, de [default: en]
    #[arg(long, value_name = "TAG", value_parser = parse::<Language>)]
    pub lang: Option<Language>,
}

impl PromptArgs {
    /// The first flag that was given and means nothing without a chat format.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--preset", self.preset.is_some()),
            ("--system", self.system.is_some()),
            ("--character", self.character.is_some()),
            ("--force-name", self.force_name),
            ("--lang", self.lang.is_some()),
        ];
        flags.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }

    /// Refuses `--force-name` for nobody.
    ///
    /// # Errors
    /// Wrong usage of `subcommand`.
    pub(super) fn check(&self, subcommand: &str) -> anyhow::Result<()> {
        match self.force_name && self.character.is_none() {
            true => Err(super::wrong_usage(subcommand, "--force-name needs --character")),
            false => Ok(()),
        }
    }

    /// Puts what was asked for into `conversation`.
    ///
    /// # Errors
    /// When the System block's file cannot be read.
    pub(super) fn apply(&self, conversation: &mut Conversation) -> anyhow::Result<()> {
        if let Some(system) = &self.system {
            conversation.system = System::from_block(input::text(system)?.trim_end());
        }
        if let Some(name) = &self.character {
            conversation.character =
                Some(Character { name: name.clone(), description: String::new(), force_name: self.force_name });
        }
        conversation.language = self.lang.unwrap_or(conversation.language);
        Ok(())
    }
}

/// A value by the engine's own reading and message.
pub(super) fn parse<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_the_preset() {
        let args = SamplingArgs { seed: Some(1), top_k: Some(5), ..SamplingArgs::default() };
        let expected = SamplerConfig { top_k: 5, seed: 1, ..SamplerConfig::default() };
        assert_eq!(args.config(true, SamplerConfig::default()), expected);
        let args = SamplingArgs { seed: Some(0), greedy: true, ..SamplingArgs::default() };
        assert_eq!(args.config(true, SamplerConfig::default()), SamplerConfig::greedy());
        let args = SamplingArgs { seed: Some(0), sampling: Some(SamplerPreset::Reference), ..SamplingArgs::default() };
        assert_eq!(args.config(true, SamplerConfig::default()), SamplerPreset::Reference.config());
        let args = SamplingArgs { seed: Some(0), repetition_penalty: Some(1.2), ..SamplingArgs::default() };
        assert_eq!(
            args.config(false, SamplerConfig::default()),
            SamplerConfig { repetition_penalty: 1.2, ..SamplerConfig::greedy() }
        );
    }

    #[test]
    fn the_embedded_model_is_greedy_unless_a_flag_says_how_to_draw() {
        let plain = SamplingArgs { seed: Some(0), ..SamplingArgs::default() };
        assert_eq!(plain.clone().for_model(true).config(true, SamplerConfig::default()), SamplerConfig::greedy());
        assert_eq!(
            plain.clone().for_model(false).config(true, SamplerConfig::default()),
            SamplerConfig { seed: 0, ..SamplerConfig::default() }
        );
        let warm = SamplingArgs { temperature: Some(0.9), ..plain.clone() };
        assert_eq!(
            warm.clone().for_model(true).config(true, SamplerConfig::default()),
            warm.config(true, SamplerConfig::default())
        );
        let preset = SamplingArgs { sampling: Some(SamplerPreset::Guanaco), ..plain };
        assert_eq!(
            preset.clone().for_model(true).config(true, SamplerConfig::default()),
            preset.config(true, SamplerConfig::default())
        );
    }

    #[test]
    fn flags_override_a_saved_chat() {
        let saved = SamplerConfig { temperature: 0.9, top_k: 3, seed: 7, ..SamplerConfig::default() };
        assert_eq!(SamplingArgs::default().resume(&saved), saved);
        let args = SamplingArgs { top_k: Some(5), ..SamplingArgs::default() };
        assert_eq!(args.resume(&saved), SamplerConfig { top_k: 5, ..saved.clone() });
        let args = SamplingArgs { greedy: true, ..SamplingArgs::default() };
        assert_eq!(args.resume(&saved), SamplerConfig { seed: 7, ..SamplerConfig::greedy() });
    }

    #[test]
    fn flags_that_would_do_nothing_are_refused() {
        let args = SamplingArgs { min_p: Some(0.1), ..SamplingArgs::default() };
        assert!(args.check(&args.config(true, SamplerConfig::default())).is_ok());
        assert!(args.check(&args.config(false, SamplerConfig::default())).unwrap_err().contains("--min-p"));
        let args = SamplingArgs { sampling: Some(SamplerPreset::Reference), ..args };
        assert!(args.check(&args.config(true, SamplerConfig::default())).is_err());
        let args = SamplingArgs { repetition_penalty: Some(1.1), greedy: true, ..SamplingArgs::default() };
        assert!(args.check(&args.config(true, SamplerConfig::default())).is_ok());
    }
}
