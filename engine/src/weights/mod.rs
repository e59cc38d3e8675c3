//! From the tensors of a file to the weights of the model: names and shapes, dtype conversion, LoRA, upload.

pub mod blocks;
pub mod convert;
pub mod export;
mod foreign;
pub mod gptq;
pub mod gptq_write;
pub mod grid;
pub mod lora;
pub mod names;
mod ordered;
pub mod packed;
pub mod tensor;
pub mod upload;

pub use convert::padded;
pub use lora::Lora;
pub use tensor::{ResolvedTensor, Sources, Stored};
pub use upload::{LowRank, Matrix, Merge, Part, Uploader};
