//! What a user may set, its presets, and the checks on it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::processors::Processor;
use crate::error::{Error, Result};

/// How the next token is chosen. Fields have the names and meaning of transformers' `GenerationConfig`; the default is
/// [`SamplerPreset::Guanaco`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// Divides the scores; below 1 sharpens, above 1 flattens. Above 0; 1 is off.
    pub temperature: f32,
    /// Keeps the `top_k` best tokens (and those tied with the last of them). 0 is off.
    pub top_k: usize,
    /// Keeps the smallest set of best tokens whose probabilities reach this sum, 0 to 1. 1 is off.
    pub top_p: f32,
    /// Removes tokens less probable than this share of the best one's probability, 0 to 1. 0 is off.
    pub min_p: f32,
    /// Keeps the tokens whose information is nearest to the entropy until their probabilities reach this sum, 0 to 1. 1 is
    /// off.
    pub typical_p: f32,
    /// Makes tokens of the prompt and the reply less likely: positive scores are divided by it, negative ones multiplied.
    /// Above 0; 1 is off.
    pub repetition_penalty: f32,
    /// Forbids each run of this many tokens to occur twice. 0 is off.
    pub no_repeat_ngram: usize,
    /// Takes the best token instead of drawing one: then only `repetition_penalty` and `no_repeat_ngram` matter, as in
    /// transformers with `do_sample=False`.
    pub greedy: bool,
    /// Starts the random numbers of a reply: the same seed gives the same reply.
    pub seed: u64,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        SamplerPreset::Guanaco.config()
    }
}

impl SamplerConfig {
    /// Plain greedy decoding: the best token, nothing else.
    pub fn greedy() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            no_repeat_ngram: 0,
            greedy: true,
            seed: 0,
        }
    }

    /// The values of a model's `generation_config.json`; None where it sets none of them. What it leaves out has
    /// transformers' default (temperature 1, `top_k` 50, all else off), so that the model answers as it does there. A
    /// temperature of 0 is greedy.
    ///
    /// # Errors
    /// [`Error::Format`] for text that is not a JSON object, and for a value that is out of its range, with its field.
    pub fn from_generation_config(bytes: &[u8], path: &Path) -> Result<Option<Self>> {
        let fail = |detail: String| Error::format(path, detail);
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let given: GenerationConfig =
            serde_json::from_slice(bytes).map_err(|error| fail(format!("sampling values: {error}")))?;
        if given == (GenerationConfig { do_sample: given.do_sample, ..GenerationConfig::default() }) {
            return Ok(None);
        }
        let greedy = given.do_sample == Some(false) || given.temperature == Some(0.0);
        let temperature = given.temperature.filter(|temperature| *temperature != 0.0);
        let config = Self {
            temperature: temperature.unwrap_or(1.0),
            top_k: given.top_k.unwrap_or(50),
            top_p: given.top_p.unwrap_or(1.0),
            min_p: given.min_p.unwrap_or(0.0),
            typical_p: given.typical_p.unwrap_or(1.0),
            repetition_penalty: given.repetition_penalty.unwrap_or(1.0),
            no_repeat_ngram: given.no_repeat_ngram_size.unwrap_or(0),
            greedy,
            seed: 0,
        };
        config.validate().map_err(|error| fail(error.to_string()))?;
        Ok(Some(config))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Request`] naming the first field that is out of its range.
    pub fn validate(&self) -> Result<()> {
        let bad = |field: &str, expected: &str, got: f32| {
            Err(Error::Request(format!("sampling value `{field}`: expected {expected}, got {got}")))
        };
        let positive = |value: f32| value.is_finite() && value > 0.0;
        let share = |value: f32| value > 0.0 && value <= 1.0;
        if !positive(self.temperature) {
            return bad(
                "temperature",
                "a number above 0 (for the best token every time, set `greedy`)",
                self.temperature,
            );
        }
        if !share(self.top_p) {
            return bad("top_p", "a number above 0 and at most 1 (1 is off)", self.top_p);
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            return bad("min_p", "a number from 0 (off) to 1", self.min_p);
        }
        if !share(self.typical_p) {
            return bad("typical_p", "a number above 0 and at most 1 (1 is off)", self.typical_p);
        }
        if !positive(self.repetition_penalty) {
            return bad("repetition_penalty", "a number above 0 (1 is off)", self.repetition_penalty);
        }
        Ok(())
    }

    /// The processors that these values ask for, in the order of transformers' `generate()`. Values that are off have none,
    /// nor has `greedy` those that only matter when a token is drawn.
    pub fn processors(&self) -> Vec<Processor> {
        let mut chain = Vec::new();
        if self.repetition_penalty != 1.0 {
            chain.push(Processor::RepetitionPenalty(self.repetition_penalty));
        }
        if self.no_repeat_ngram > 0 {
            chain.push(Processor::NoRepeatNgram(self.no_repeat_ngram));
        }
        if self.greedy {
            return chain;
        }
        if self.temperature != 1.0 {
            chain.push(Processor::Temperature(self.temperature));
        }
        if self.top_k > 0 {
            chain.push(Processor::TopK(self.top_k));
        }
        if self.top_p < 1.0 {
            chain.push(Processor::TopP { p: self.top_p, min_tokens_to_keep: 1 });
        }
        if self.min_p > 0.0 {
            chain.push(Processor::MinP(self.min_p));
        }
        if self.typical_p < 1.0 {
            chain.push(Processor::TypicalP(self.typical_p));
        }
        chain
    }
}

/// What is read of `generation_config.json`; the rest of it is skipped.
#[derive(Deserialize, Default, PartialEq)]
#[serde(default)]
struct GenerationConfig {
    do_sample: Option<bool>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    typical_p: Option<f32>,
    repetition_penalty: Option<f32>,
    no_repeat_ngram_size: Option<usize>,
}

impl fmt::Display for SamplerConfig {
    /// The values that are on, by their names on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let drawn = !self.greedy;
        let mut parts = Vec::new();
        if self.greedy {
            parts.push("greedy".to_owned());
        }
        let mut add = |on: bool, name: &str, value: String| {
            if on {
                parts.push(format!("{name} {value}"));
            }
        };
        add(drawn, "temperature", self.temperature.to_string());
        add(drawn && self.top_k > 0, "top-k", self.top_k.to_string());
        add(drawn && self.top_p < 1.0, "top-p", self.top_p.to_string());
        add(drawn && self.min_p > 0.0, "min-p", self.min_p.to_string());
        add(drawn && self.typical_p < 1.0, "typical-p", self.typical_p.to_string());
        add(self.repetition_penalty != 1.0, "repetition-penalty", self.repetition_penalty.to_string());
        add(self.no_repeat_ngram > 0, "no-repeat-ngram", self.no_repeat_ngram.to_string());
        f.write_str(&parts.join(", "))
    }
}

/// Named settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SamplerPreset {
    /// The figures of guanaco-lora's chat page (temperature 0.5, top_p 0.75, top_k 30, repetition penalty 1.07), drawn.
    #[default]
    Guanaco,
    /// What that page in fact does, as its `do_sample` is never set: greedy, with the repetition penalty.
    Reference,
}

impl SamplerPreset {
    /// Every preset, the default first.
    pub const ALL: [Self; 2] = [Self::Guanaco, Self::Reference];

    /// The name on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guanaco => "guanaco",
            Self::Reference => "reference",
        }
    }

    /// The values of this preset, with seed 0.
    pub fn config(self) -> SamplerConfig {
        SamplerConfig {
            temperature: 0.5,
            top_k: 30,
            top_p: 0.75,
            repetition_penalty: 1.07,
            greedy: self == Self::Reference,
            ..SamplerConfig::greedy()
        }
    }
}

impl fmt::Display for SamplerPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SamplerPreset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::Request(format!("sampling preset: expected one of {names}, got \"{name}\""))
        })
    }
}

impl FromStr for SamplerConfig {
    type Err = Error;

    /// The values of the preset with this name.
    fn from_str(name: &str) -> Result<Self> {
        Ok(name.parse::<SamplerPreset>()?.config())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_figures_of_the_chat_page() {
        for preset in SamplerPreset::ALL {
            let config: SamplerConfig = preset.to_string().parse().unwrap();
            assert_eq!((config.temperature, config.top_k, config.top_p), (0.5, 30, 0.75));
            assert_eq!(config.repetition_penalty, 1.07);
            assert_eq!(config.greedy, preset == SamplerPreset::Reference);
            config.validate().unwrap();
        }
        assert_eq!(SamplerConfig::default(), "guanaco".parse().unwrap());
        let error = "gaunaco".parse::<SamplerPreset>().unwrap_err().to_string();
        assert_eq!(error, "sampling preset: expected one of guanaco, reference, got \"gaunaco\"");
    }

    #[test]
    fn a_model_sets_its_own_values() {
        let read =
            |text: &str| SamplerConfig::from_generation_config(text.as_bytes(), Path::new("generation_config.json"));
        let off = SamplerConfig { greedy: false, ..SamplerConfig::greedy() };
        assert_eq!(read(r#"{"eos_token_id": [1, 2], "do_sample": true}"#).unwrap(), None);
        let expected = SamplerConfig { temperature: 0.6, top_k: 50, top_p: 0.9, ..off.clone() };
        assert_eq!(read(r#"{"do_sample": true, "temperature": 0.6, "top_p": 0.9}"#).unwrap(), Some(expected.clone()));
        assert_eq!(expected.to_string(), "temperature 0.6, top-k 50, top-p 0.9");
        let expected = SamplerConfig { top_k: 50, greedy: true, ..off };
        assert_eq!(read(r#"{"temperature": 0}"#).unwrap(), Some(expected));
        for (text, word) in [(r#"{"top_p": 7}"#, "top_p"), (r#"{"top_k": "x"}"#, "invalid type"), ("[1]", "invalid")] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("generation_config.json"), "{error}");
        }
    }

    #[test]
    fn chain_has_the_order_of_transformers_and_only_what_is_on() {
        let config = SamplerConfig { no_repeat_ngram: 3, min_p: 0.1, typical_p: 0.9, ..SamplerConfig::default() };
        let expected = [
            Processor::RepetitionPenalty(1.07),
            Processor::NoRepeatNgram(3),
            Processor::Temperature(0.5),
            Processor::TopK(30),
            Processor::TopP { p: 0.75, min_tokens_to_keep: 1 },
            Processor::MinP(0.1),
            Processor::TypicalP(0.9),
        ];
        assert_eq!(config.processors(), expected);
        assert_eq!(SamplerConfig { greedy: true, ..config }.processors(), expected[..2]);
        assert_eq!(SamplerConfig::greedy().processors(), []);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let ok = SamplerConfig::default();
        let bad = [
            ("temperature", SamplerConfig { temperature: 0.0, ..ok.clone() }),
            ("temperature", SamplerConfig { temperature: f32::NAN, ..ok.clone() }),
            ("temperature", SamplerConfig { temperature: f32::INFINITY, ..ok.clone() }),
            ("top_p", SamplerConfig { top_p: 0.0, ..ok.clone() }),
            ("top_p", SamplerConfig { top_p: 1.01, ..ok.clone() }),
            ("min_p", SamplerConfig { min_p: -0.1, ..ok.clone() }),
            ("typical_p", SamplerConfig { typical_p: f32::NAN, ..ok.clone() }),
            ("repetition_penalty", SamplerConfig { repetition_penalty: -1.0, ..ok }),
        ];
        for (field, config) in bad {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(&format!("sampling value `{field}`: expected ")), "{error}");
        }
    }

    #[test]
    fn json_may_leave_fields_out_but_not_misspell_them() {
        let config: SamplerConfig = serde_json::from_str(r#"{"top_k": 5, "seed": 9}"#).unwrap();
        assert_eq!(config, SamplerConfig { top_k: 5, seed: 9, ..SamplerConfig::default() });
        assert!(serde_json::from_str::<SamplerConfig>(r#"{"topk": 5}"#).is_err());
    }
}
