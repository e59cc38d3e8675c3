//! A `config.json` for a model whose file has none: what [`Config::parse`] reads back as the same model.

use serde_json::{Value, json};

use super::{Config, RopeScaling};
use crate::error::{Error, Result};

/// Llama 3.1's and 3.2's stretching of RoPE, which GGUF stores as factors alone.
const LLAMA3: [RopeScaling; 2] = [llama3(8.0), llama3(32.0)];

const fn llama3(factor: f64) -> RopeScaling {
    RopeScaling::Llama3 {
        factor,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192.0,
    }
}

impl Config {
    /// The text of a `config.json`, in transformers' words, for fp16 weights.
    ///
    /// # Errors
    /// [`Error::Request`] when RoPE is stretched in a way that `config.json` has no words for.
    pub fn to_json(&self) -> Result<String> {
        let mut config = json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": self.dim,
            "intermediate_size": self.hidden_dim,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_seq_len,
            // Through f64, so that 1e-5 is not written as the f32 next to it.
            "rms_norm_eps": format!("{:e}", self.rms_eps).parse::<f64>().unwrap_or(1e-6),
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tied_embeddings,
            "attention_bias": self.attention_bias,
            "mlp_bias": self.mlp_bias,
            "torch_dtype": "float16",
        });
        let scaling = match self.scaling()? {
            RopeScaling::None => Value::Null,
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Dynamic { factor, .. } => json!({"rope_type": "dynamic", "factor": factor}),
            RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                attention_factor,
                truncate,
            } => {
                json!({
                    "rope_type": "yarn",
                    "factor": factor,
                    "original_max_position_embeddings": original_max_position_embeddings as u64,
                    "beta_fast": beta_fast,
                    "beta_slow": beta_slow,
                    "attention_factor": attention_factor,
                    "truncate": truncate,
                })
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                json!({
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low_freq_factor,
                    "high_freq_factor": high_freq_factor,
                    "original_max_position_embeddings": original_max_position_embeddings as u64,
                })
            }
        };
        let ids: [(&str, Value); 4] = [
            ("rope_scaling", scaling),
            ("bos_token_id", self.bos_id.map_or(Value::Null, Value::from)),
            ("eos_token_id", self.eos_ids.first().copied().map_or(Value::Null, Value::from)),
            ("pad_token_id", self.pad_id.map_or(Value::Null, Value::from)),
        ];
        for (field, value) in ids {
            config[field] = value;
        }
        Ok(format!("{config:#}\n"))
    }

    fn scaling(&self) -> Result<RopeScaling> {
        if self.rope_factors.is_empty() {
            return Ok(self.rope_scaling);
        }
        let wanted = self.rope_inv_freq();
        let is_same = |scaling: &RopeScaling| {
            let found = scaling.inv_freq(self.head_dim, self.rope_theta);
            found.iter().zip(&wanted).all(|(found, wanted)| (found - wanted).abs() <= 1e-5 * wanted.abs())
        };
        LLAMA3.into_iter().find(is_same).ok_or_else(|| {
            Error::Request("the file stretches RoPE by factors that no config.json has words for".to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_is_written_is_the_same_model() {
        for rope in [
            r#""rope_theta":10000.0"#,
            r#""rope_theta":500000.0,"rope_scaling":{"rope_type":"linear","factor":2.0}"#,
            r#""rope_theta":500000.0,"rope_scaling":{"rope_type":"dynamic","factor":2.0}"#,
            r#""rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,
               "high_freq_factor":4.0,"original_max_position_embeddings":8192}"#,
            r#""rope_theta":10000.0,"rope_scaling":{"type":"yarn","factor":16.0,"original_max_position_embeddings":4096,
               "beta_fast":24,"mscale":0.7,"mscale_all_dim":0.5,"truncate":false}"#,
        ] {
            let text = format!(
                r#"{{"model_type":"llama","hidden_size":64,"intermediate_size":172,"num_attention_heads":4,
                "num_hidden_layers":2,"num_key_value_heads":2,"vocab_size":257,"rms_norm_eps":1e-5,"head_dim":128,
                "max_position_embeddings":9000,"tie_word_embeddings":true,"attention_bias":true,"bos_token_id":1,
                "eos_token_id":2,{rope}}}"#
            );
            let parse = |text: &str| Config::parse(text.as_bytes(), Path::new("config.json")).unwrap();
            let config = parse(&text);
            assert_eq!(parse(&config.to_json().unwrap()), config);
            // GGUF knows Llama 3's stretching as factors only.
            if let RopeScaling::Llama3 { .. } = config.rope_scaling {
                let plain = RopeScaling::None.inv_freq(config.head_dim, config.rope_theta);
                let factors = plain.iter().zip(config.rope_inv_freq()).map(|(plain, found)| plain / found).collect();
                let mut gguf = Config { rope_scaling: RopeScaling::None, rope_factors: factors, ..config.clone() };
                assert_eq!(parse(&gguf.to_json().unwrap()).rope_scaling, config.rope_scaling);
                gguf.rope_factors[5] *= 1.5;
                assert!(gguf.to_json().is_err());
            }
        }
    }
}
