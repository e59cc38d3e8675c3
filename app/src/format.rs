//! The prompt format of a chat: the one that is asked for, or the one that the model itself brings.

use std::fmt;
use std::str::FromStr;

use guanaco_engine::prompt::Preset;
use guanaco_engine::{Error, Result};
use serde::{Deserialize, Serialize};

/// The name of [`PresetChoice::Auto`] on the command line and in JSON.
const AUTO: &str = "auto";

/// A prompt format that is asked for. Its JSON form is its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum PresetChoice {
    /// The model's own: its chat template, else Guanaco's format.
    #[default]
    Auto,
    /// This one, whatever the model brings.
    Only(Preset),
}

impl PresetChoice {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::Auto).chain(Preset::ALL.map(Self::Only))
    }

    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => AUTO,
            Self::Only(preset) => preset.name(),
        }
    }

    /// The format for a model with `template` as its chat template.
    pub fn resolve(self, template: Option<&str>) -> Preset {
        match self {
            Self::Only(preset) => preset,
            Self::Auto if template.is_some() => Preset::ChatTemplate,
            Self::Auto => Preset::Guanaco,
        }
    }

    /// The format for a model with `template`, and why it is that one.
    pub fn explain(self, template: Option<&str>) -> String {
        let preset = self.resolve(template);
        let reason = match (self, template.is_some()) {
            (Self::Only(Preset::ChatTemplate), false) => "as chosen; the model has none",
            (Self::Only(preset), true) if preset != Preset::ChatTemplate => {
                "as chosen; the model's own chat template is not used"
            }
            (Self::Only(_), _) => "as chosen",
            (Self::Auto, true) => "the model brings a chat template",
            (Self::Auto, false) => "the model brings no chat template",
        };
        format!("{preset} ({reason})")
    }
}

impl From<PresetChoice> for &'static str {
    fn from(choice: PresetChoice) -> Self {
        choice.name()
    }
}

impl TryFrom<String> for PresetChoice {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

impl From<Preset> for PresetChoice {
    fn from(preset: Preset) -> Self {
        Self::Only(preset)
    }
}

impl fmt::Display for PresetChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PresetChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::all().find(|choice| choice.name() == name).ok_or_else(|| {
            let names = Self::all().map(Self::name).collect::<Vec<_>>().join(", ");
            Error::Prompt(format!("preset: expected one of {names}, got {name:?}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_decides_unless_a_preset_is_chosen() {
        let chosen = PresetChoice::from(Preset::Alpaca);
        assert_eq!(PresetChoice::Auto.resolve(Some("{{ x }}")), Preset::ChatTemplate);
        assert_eq!(PresetChoice::Auto.resolve(None), Preset::Guanaco);
        assert_eq!(chosen.resolve(Some("{{ x }}")), Preset::Alpaca);
        assert_eq!(PresetChoice::Auto.explain(None), "guanaco (the model brings no chat template)");
        assert_eq!(chosen.explain(Some("{{ x }}")), "alpaca (as chosen; the model's own chat template is not used)");
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for choice in PresetChoice::all() {
            let json = serde_json::to_string(&choice).unwrap();
            assert_eq!(json, format!("{:?}", choice.name()));
            assert_eq!(serde_json::from_str::<PresetChoice>(&json).unwrap(), choice);
        }
        let error = "vicuna".parse::<PresetChoice>().unwrap_err().to_string();
        assert!(error.contains("auto, guanaco") && error.contains("vicuna"), "{error}");
    }
}
