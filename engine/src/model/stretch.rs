//! Contexts beyond the trained one: what a user asks RoPE to be stretched by, and what becomes of the configuration.

use std::str::FromStr;

use super::config::MAX_SEQ_LEN;
use super::plan::DEFAULT_CONTEXT;
use super::{Config, RopeScaling};
use crate::error::{Error, Result};

/// How RoPE is stretched, in place of what the checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StretchKind {
    /// Not at all, whatever the checkpoint says.
    None,
    /// Positions are divided by the factor (linear position interpolation, <https://arxiv.org/abs/2306.15595>).
    Linear,
    /// The base grows with the context as in transformers: see [`RopeScaling::Dynamic`].
    Dynamic,
    /// The base is multiplied by factor^(head_dim / (head_dim - 2)): bloc97's NTK-aware scaling
    /// (<https://www.reddit.com/r/LocalLLaMA/comments/14lz7j5/ntkaware_scaled_rope_allows_llama_models_to_have/>).
    Ntk,
}

/// A [`StretchKind`] and its factor: `dynamic`, `ntk`, `linear=4`.
///
/// Without a factor, `linear` and `ntk` take that of the context to the trained one, so that they change nothing in a context
/// that the model was made for, and `dynamic` takes 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stretch {
    /// How.
    pub kind: StretchKind,
    /// At least 1.
    pub factor: Option<f64>,
}

impl FromStr for Stretch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, factor) = text.split_once('=').map_or((text, None), |(kind, factor)| (kind, Some(factor)));
        let kind = match kind {
            "none" => StretchKind::None,
            "linear" => StretchKind::Linear,
            "dynamic" => StretchKind::Dynamic,
            "ntk" => StretchKind::Ntk,
            _ => return Err("expected none, linear, dynamic or ntk, the last three with =FACTOR or without".to_owned()),
        };
        let factor = match factor.map(str::parse) {
            None => None,
            Some(Ok(factor)) if (1.0..=1e6).contains(&factor) && kind != StretchKind::None => Some(factor),
            Some(_) if kind == StretchKind::None => return Err("`none` has no factor".to_owned()),
            Some(_) => return Err("expected a factor from 1 to 1000000".to_owned()),
        };
        Ok(Self { kind, factor })
    }
}

impl Config {
    /// The configuration for a context of `context` tokens (the model's, up to [`DEFAULT_CONTEXT`], without), with `stretch` in
    /// place of the checkpoint's own scaling.
    ///
    /// # Errors
    /// [`Error::Request`] when the heads are too small for a scaled base.
    pub fn stretched(mut self, stretch: Option<Stretch>, context: Option<usize>) -> Result<Self> {
        let Some(Stretch { kind, factor }) = stretch else { return Ok(self) };
        let trained = self.max_seq_len;
        let context = context.unwrap_or(DEFAULT_CONTEXT.min(trained));
        let ratio = factor.unwrap_or((context as f64 / trained as f64).max(1.0));
        if matches!(kind, StretchKind::Dynamic | StretchKind::Ntk) && self.head_dim <= 2 {
            let detail = format!("--rope-scaling: heads of {} are too small for a scaled base", self.head_dim);
            return Err(Error::Request(detail));
        }
        self.rope_factors.clear();
        self.rope_scaling = RopeScaling::None;
        match kind {
            StretchKind::None => {}
            StretchKind::Linear => self.rope_scaling = RopeScaling::Linear { factor: ratio },
            StretchKind::Ntk => self.rope_theta *= ratio.powf(ntk_exponent(self.head_dim)),
            StretchKind::Dynamic => {
                let max_position_embeddings = trained as f64;
                self.rope_scaling = RopeScaling::Dynamic { factor: factor.unwrap_or(1.0), max_position_embeddings };
            }
        }
        self.max_context = match (kind, factor) {
            (StretchKind::None, _) => trained,
            (StretchKind::Linear | StretchKind::Ntk, Some(factor)) => (trained as f64 * factor) as usize,
            _ => MAX_SEQ_LEN,
        };
        self.max_context = self.max_context.clamp(trained, MAX_SEQ_LEN);
        Ok(self)
    }
}

/// The power of the factor that the base is multiplied by, so that the slowest pair turns slower by the whole factor.
pub(super) fn ntk_exponent(head_dim: usize) -> f64 {
    head_dim as f64 / (head_dim as f64 - 2.0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config() -> Config {
        let text = r#"{"architectures":["LlamaForCausalLM"],"hidden_size":4096,"intermediate_size":11008,
            "num_attention_heads":32,"num_hidden_layers":32,"vocab_size":32000,"max_position_embeddings":2048}"#;
        Config::parse(text.as_bytes(), Path::new("config.json")).unwrap()
    }

    fn stretched(text: &str, context: Option<usize>) -> Config {
        config().stretched(Some(text.parse().unwrap()), context).unwrap()
    }

    fn close(config: &Config, seq_len: usize, expected: &[(usize, f64)]) {
        let got = config.rope_inv_freq_for(seq_len);
        for &(pair, expected) in expected {
            let error = (f64::from(got[pair]) - expected).abs() / expected;
            assert!(error < 1e-7, "pair {pair}: expected {expected:e}, got {:e}", got[pair]);
        }
    }

    // The expected values were computed in Python from transformers' formulas (modeling_rope_utils.py).

    #[test]
    fn ntk_changes_the_base() {
        let ntk = stretched("ntk", Some(8192));
        assert_eq!((ntk.max_context, ntk.rope_scaling), (MAX_SEQ_LEN, RopeScaling::None));
        close(
            &ntk,
            8192,
            &[(0, 1.0), (1, 0.8471171851512068), (20, 0.03621344521904416), (63, 2.8869549617236452e-05)],
        );
        assert_eq!(stretched("ntk=4", None).rope_theta, ntk.rope_theta);
        assert_eq!(stretched("ntk=4", None).max_context, 8192);
        // In the context that the model was made for it changes nothing.
        assert_eq!(stretched("ntk", None).rope_inv_freq(), config().rope_inv_freq());
    }

    #[test]
    fn dynamic_grows_with_the_loaded_context() {
        let dynamic = stretched("dynamic=2", None);
        assert_eq!(dynamic.rope_inv_freq_for(1000), config().rope_inv_freq());
        close(
            &dynamic,
            2049,
            &[(0, 1.0), (1, 0.8659509067079816), (20, 0.05621671002868716), (63, 0.00011536553681190294)],
        );
        close(
            &dynamic,
            4096,
            &[(0, 1.0), (1, 0.8509942913412162), (20, 0.03967646166982278), (63, 3.849273282298194e-05)],
        );
        close(
            &dynamic,
            8192,
            &[(0, 1.0), (1, 0.8396257425643113), (20, 0.030319002436777584), (63, 1.649688549556369e-05)],
        );
        // With a factor of 1 it is ntk for that context.
        assert_eq!(stretched("dynamic", None).rope_inv_freq_for(8192), stretched("ntk=4", None).rope_inv_freq());
    }

    #[test]
    fn linear_divides_positions_and_none_takes_the_files_own_away() {
        let linear = stretched("linear", Some(4096));
        assert_eq!(linear.rope_scaling, RopeScaling::Linear { factor: 2.0 });
        let none = linear.stretched(Some("none".parse().unwrap()), None).unwrap();
        assert_eq!((none.rope_scaling, none.max_context), (RopeScaling::None, 2048));
    }

    #[test]
    fn what_is_no_stretch_is_refused() {
        for text in ["", "yarn", "ntk=", "ntk=0.5", "linear=x", "none=2", "linear=1e9", "dynamic=nan"] {
            assert!(text.parse::<Stretch>().is_err(), "{text}");
        }
        let small = Config { head_dim: 2, ..config() };
        assert!(small.stretched(Some("ntk=2".parse().unwrap()), None).is_err());
    }
}
