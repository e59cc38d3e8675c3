//! From the tensors of a file to the weights of the model: names and shapes, dtype conversion, upload.

pub mod names;
