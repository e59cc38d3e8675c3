//! RoPE's frequencies (rotary position embedding, <https://arxiv.org/abs/2104.09864>), with the two scalings that LLaMA
//! checkpoints use.

use std::f64::consts::TAU;

use serde_json::{Map, Value};

/// How RoPE's frequencies are changed for contexts beyond the trained one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions are divided by `factor` (<https://arxiv.org/abs/2306.15595>).
    Linear {
        /// Greater than 0.
        factor: f64,
    },
    /// LLaMA 3.1's: low frequencies are divided by `factor`, high ones are kept, those between are blended.
    Llama3 {
        /// Greater than 0.
        factor: f64,
        /// Pairs that turn fewer times than this within the original context count as low. Greater than 0.
        low_freq_factor: f64,
        /// Pairs that turn more times than this within the original context count as high. Above `low_freq_factor`.
        high_freq_factor: f64,
        /// The context that the model was first trained on.
        original_max_position_embeddings: f64,
    },
}

impl RopeScaling {
    /// Reads a `rope_scaling` or `rope_parameters` object. The error is the detail of a message.
    pub(super) fn parse(object: &Map<String, Value>) -> Result<Self, String> {
        let get = |field: &str| object.get(field).filter(|value| !value.is_null());
        let positive = |field: &str| match get(field).map(Value::as_f64) {
            Some(Some(number)) if number > 0.0 && number <= 1e9 => Ok(number),
            Some(_) => Err(format!("its {field} must be a number above 0 and up to 1e9")),
            None => Err(format!("its {field} is missing")),
        };
        match get("partial_rotary_factor").map(Value::as_f64) {
            None | Some(Some(1.0)) => {}
            Some(_) => return Err("its partial_rotary_factor is not 1; LLaMA turns whole heads".to_owned()),
        }
        // transformers wrote `type` until 4.43 and `rope_type` since; files with both say the same twice.
        let kinds = [get("rope_type"), get("type")];
        let mut kinds = kinds.into_iter().flatten().map(|kind| kind.as_str().unwrap_or("not a string"));
        let kind = kinds.next();
        if let (Some(one), Some(two)) = (kind, kinds.next())
            && one != two
        {
            return Err(format!("rope_type {one:?} contradicts type {two:?}"));
        }
        match kind {
            Some("default") => Ok(Self::None),
            None if get("factor").is_none() => Ok(Self::None),
            None => Err("it has a factor but no rope_type".to_owned()),
            Some("linear") => Ok(Self::Linear { factor: positive("factor")? }),
            Some("llama3") => {
                let (low_freq_factor, high_freq_factor) = (positive("low_freq_factor")?, positive("high_freq_factor")?);
                if high_freq_factor <= low_freq_factor {
                    return Err(format!(
                        "high_freq_factor {high_freq_factor} must be above low_freq_factor {low_freq_factor}"
                    ));
                }
                Ok(Self::Llama3 {
                    factor: positive("factor")?,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings: positive("original_max_position_embeddings")?,
                })
            }
            Some(kind) => {
                let kind: String = kind.chars().take(40).collect();
                Err(format!("rope_type {kind:?} is not supported: expected default, linear or llama3"))
            }
        }
    }

    /// The angle that each pair of a head turns by from one position to the next: `head_dim / 2` values, in radians.
    ///
    /// The formulas are those of transformers' `modeling_rope_utils.py` (`_compute_linear_scaling_rope_parameters`,
    /// `_compute_llama3_parameters`;
    /// <https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py>), computed in f64 and
    /// rounded once.
    pub fn inv_freq(&self, head_dim: usize, theta: f64) -> Vec<f32> {
        let plain = (0..head_dim / 2).map(|pair| theta.powf(-((2 * pair) as f64) / head_dim as f64));
        plain.map(|freq| self.scale(freq) as f32).collect()
    }

    fn scale(&self, freq: f64) -> f64 {
        match *self {
            Self::None => freq,
            Self::Linear { factor } => freq / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let turns = original_max_position_embeddings * freq / TAU;
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                (1.0 - kept) * freq / factor + kept * freq
            }
        }
    }
}
