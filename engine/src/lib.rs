//! LLaMA inference in WGSL compute shaders through wgpu.
//!
//! Data flows one way: `file → weights → model → forward → logits → sampler → token → text`. A module uses only modules to
//! its left, which `tests/suites/architecture.rs` checks:
//! `error | file | weights (names, dtype) | gpu | weights (upload) | kernels | kv_cache | model | sampler | tokenizer | prompt |
//! session`.

pub mod error;
pub mod file;
pub mod gpu;
pub mod kernels;
pub mod kv_cache;
pub mod model;
pub mod prompt;
pub mod sampler;
pub mod session;
pub mod tokenizer;
pub mod weights;

pub use error::{Error, Result};
