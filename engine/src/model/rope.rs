//! RoPE's frequencies (rotary position embedding, <https://arxiv.org/abs/2104.09864>), with the scalings that LLaMA
//! checkpoints use.

use std::f64::consts::TAU;

use serde_json::{Map, Value};

use super::stretch::ntk_exponent;

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
    /// The base grows with the context (dynamic NTK, by bloc97 and emozilla): that of a sequence of L tokens, longer than
    /// `max_position_embeddings`, is theta · (factor · L / max_position_embeddings - (factor - 1))^(head_dim / (head_dim - 2)).
    ///
    /// transformers takes the L of the text so far, and leaves the keys that it cached before at their old base. Here L is the
    /// context that the model is loaded for, from the first token on: every key has one base, and a result does not depend on
    /// how the text came in. Both agree on a text that fills the context.
    Dynamic {
        /// Greater than 0.
        factor: f64,
        /// The context that the model was made for.
        max_position_embeddings: f64,
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
    /// YaRN (<https://arxiv.org/abs/2309.00071>): as LLaMA 3's, blended by the number of the pair, and with attention that is
    /// sharpened by [`RopeScaling::attention_factor`].
    Yarn {
        /// Greater than 0.
        factor: f64,
        /// The context that the model was first trained on.
        original_max_position_embeddings: f64,
        /// Turns within the original context from which on a pair is kept.
        beta_fast: f64,
        /// Turns within the original context below which a pair is divided.
        beta_slow: f64,
        /// What cosine and sine are multiplied by.
        attention_factor: f64,
        /// True when the bounds of the blend are whole pairs.
        truncate: bool,
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
            Some("dynamic") => {
                // The config puts its own context in.
                Ok(Self::Dynamic { factor: positive("factor")?, max_position_embeddings: 0.0 })
            }
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
            Some("yarn") => {
                let optional = |field: &str| get(field).map(|_| positive(field)).transpose();
                let factor = positive("factor")?;
                let attention_factor =
                    match (optional("attention_factor")?, optional("mscale")?, optional("mscale_all_dim")?) {
                        (Some(factor), ..) => factor,
                        (None, Some(mscale), Some(all)) => yarn_mscale(factor, mscale) / yarn_mscale(factor, all),
                        _ => yarn_mscale(factor, 1.0),
                    };
                let truncate = match get("truncate") {
                    None => true,
                    Some(value) => value.as_bool().ok_or("its truncate must be true or false")?,
                };
                Ok(Self::Yarn {
                    factor,
                    original_max_position_embeddings: positive("original_max_position_embeddings")?,
                    beta_fast: optional("beta_fast")?.unwrap_or(YARN_BETAS.0),
                    beta_slow: optional("beta_slow")?.unwrap_or(YARN_BETAS.1),
                    attention_factor,
                    truncate,
                })
            }
            Some(kind) => {
                let kind: String = kind.chars().take(40).collect();
                Err(format!("rope_type {kind:?} is not supported: expected default, linear, dynamic, llama3 or yarn"))
            }
        }
    }

    /// As [`RopeScaling::inv_freq_for`] in the context that the model was made for.
    pub fn inv_freq(&self, head_dim: usize, theta: f64) -> Vec<f32> {
        self.inv_freq_for(head_dim, theta, 0)
    }

    /// The angle that each pair of a head turns by from one position to the next in a context of `seq_len`: `head_dim / 2`
    /// values, in radians.
    ///
    /// The formulas are those of transformers' `modeling_rope_utils.py` (`_compute_linear_scaling_rope_parameters`,
    /// `_compute_dynamic_ntk_parameters`, `_compute_llama3_parameters`, `_compute_yarn_parameters`;
    /// <https://github.com/huggingface/transformers/blob/main/src/transformers/modeling_rope_utils.py>), computed in f64 and
    /// rounded once.
    pub fn inv_freq_for(&self, head_dim: usize, theta: f64, seq_len: usize) -> Vec<f32> {
        let theta = match *self {
            Self::Dynamic { factor, max_position_embeddings } => {
                let ratio = (seq_len as f64 / max_position_embeddings).max(1.0);
                theta * (factor * ratio - (factor - 1.0)).powf(ntk_exponent(head_dim))
            }
            _ => theta,
        };
        let plain = (0..head_dim / 2).map(|pair| theta.powf(-((2 * pair) as f64) / head_dim as f64));
        if let Self::Yarn { factor, .. } = *self {
            let (low, high) = self.yarn_range(head_dim, theta);
            let divided = |pair: usize| ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            let blend = |(pair, freq): (usize, f64)| freq / factor * divided(pair) + freq * (1.0 - divided(pair));
            return plain.enumerate().map(|pair| blend(pair) as f32).collect();
        }
        plain.map(|freq| self.scale(freq) as f32).collect()
    }

    /// What cosine and sine are multiplied by, so that the product of a query and a key is multiplied by its square.
    pub fn attention_factor(&self) -> f64 {
        match *self {
            Self::Yarn { attention_factor, .. } => attention_factor,
            _ => 1.0,
        }
    }

    /// The pairs between which YaRN blends: up to the first all are kept, from the second on all are divided.
    fn yarn_range(&self, head_dim: usize, theta: f64) -> (f64, f64) {
        let Self::Yarn { original_max_position_embeddings: original, beta_fast, beta_slow, truncate, .. } = *self
        else {
            return (0.0, 1.0);
        };
        let pair_that_turns = |times: f64| head_dim as f64 * (original / (times * TAU)).ln() / (2.0 * theta.ln());
        let (mut low, mut high) = (pair_that_turns(beta_fast), pair_that_turns(beta_slow));
        if truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, high) = (low.max(0.0), high.min((head_dim - 1) as f64));
        (low, if low == high { high + 0.001 } else { high })
    }

    fn scale(&self, freq: f64) -> f64 {
        match *self {
            Self::None | Self::Dynamic { .. } | Self::Yarn { .. } => freq,
            Self::Linear { factor } => freq / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let turns = original_max_position_embeddings * freq / TAU;
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                (1.0 - kept) * freq / factor + kept * freq
            }
        }
    }
}

/// YaRN's `beta_fast` and `beta_slow` where a file names none.
pub(super) const YARN_BETAS: (f64, f64) = (32.0, 1.0);

/// How much attention is sharpened for a context that is `factor` times the trained one (`get_mscale` of transformers).
pub(super) fn yarn_mscale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f32], expected: &[(usize, f64)]) {
        for &(pair, expected) in expected {
            let error = (f64::from(got[pair]) - expected).abs() / expected;
            assert!(error < 1e-7, "pair {pair}: expected {expected:e}, got {:e}", got[pair]);
        }
    }

    fn parse(json: &str) -> Result<RopeScaling, String> {
        RopeScaling::parse(serde_json::from_str::<Value>(json).unwrap().as_object().unwrap())
    }

    // The expected values were computed in Python from the formulas as published, branch by branch.

    #[test]
    fn plain() {
        let got = RopeScaling::None.inv_freq(80, 10_000.0);
        assert_eq!(got.len(), 40);
        close(&got, &[(0, 1.0), (1, 0.7943282347242815), (20, 0.01), (39, 0.00012589254117941674)]);
    }

    #[test]
    fn linear_divides_every_frequency() {
        let scaling = parse(r#"{"type": "linear", "factor": 4.0}"#).unwrap();
        assert_eq!(scaling, RopeScaling::Linear { factor: 4.0 });
        close(&scaling.inv_freq(80, 10_000.0), &[(0, 0.25), (20, 0.0025), (39, 3.1473135294854185e-5)]);
    }

    #[test]
    fn llama3_keeps_blends_and_divides() {
        let json = r#"{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                       "original_max_position_embeddings": 8192}"#;
        let got = parse(json).unwrap().inv_freq(128, 500_000.0);
        let kept = [(0, 1.0), (1, 0.8146172338565447), (20, 0.016560440080994446), (28, 0.0032114459947525913)];
        let blended = [(29, 0.002166570763503359), (31, 0.0008567514129196321), (34, 0.00017850781276799638)];
        let divided = [(35, 9.556212353964683e-05), (40, 3.428102195952591e-05), (63, 3.068925988914511e-07)];
        close(&got, &[kept.as_slice(), &blended, &divided].concat());

        let got = parse(&json.replace("8192", "64")).unwrap().inv_freq(64, 500_000.0);
        close(
            &got,
            &[(1, 0.6636012376960885), (5, 0.027751387869683307), (6, 0.010674637535720701), (8, 0.004700753866357992)],
        );
    }

    /// Values of transformers' `_compute_yarn_parameters`.
    #[test]
    fn yarn() {
        let json = r#"{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}"#;
        let scaling = parse(json).unwrap();
        assert!((scaling.attention_factor() - 1.138_629_436_111_989).abs() < 1e-12, "{scaling:?}");
        // No pair of a head of 16 turns 32 times in 64 positions, and from the third on none turns once.
        let got = scaling.inv_freq(16, 10_000.0);
        close(&got, &[(0, 1.0), (7, 10_000f64.powf(-14.0 / 16.0) / 4.0)]);
        assert!((0.25..1.0).contains(&(f64::from(got[1]) * 10_000f64.powf(2.0 / 16.0))), "{got:?}");
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (json, word) in [
            (r#"{"rope_type": "longrope", "factor": 4.0}"#, "longrope"),
            (r#"{"rope_type": "yarn", "factor": 4.0}"#, "original_max_position_embeddings"),
            (
                r#"{"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "truncate": 1}"#,
                "truncate",
            ),
            (r#"{"factor": 4.0}"#, "rope_type"),
            (r#"{"type": "linear"}"#, "factor"),
            (r#"{"type": "linear", "factor": 0}"#, "factor"),
            (r#"{"type": "linear", "factor": "2"}"#, "factor"),
            (r#"{"type": 7}"#, "not a string"),
            (r#"{"type": "linear", "rope_type": "default", "factor": 2}"#, "contradicts"),
            (r#"{"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}"#, "high_freq_factor"),
            (r#"{"rope_type": "default", "partial_rotary_factor": 0.5}"#, "partial_rotary_factor"),
        ] {
            let detail = parse(json).unwrap_err();
            assert!(detail.contains(word), "{json}: {detail}");
        }
        assert_eq!(parse("{}"), Ok(RopeScaling::None));
        assert_eq!(parse(r#"{"rope_type": "default", "rope_theta": 5e4}"#), Ok(RopeScaling::None));
    }
}
