//! From the tensors of a file to the weights of the model: names and shapes, dtype conversion, upload.

pub mod blocks;
pub mod convert;
pub mod names;
pub mod upload;

pub use convert::padded;
pub use upload::{Matrix, Part, Uploader, rows_per_part};
