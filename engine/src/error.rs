//! The one error type of the engine.
//!
//! Every message says what was wrong, what was expected, what was found and, where it helps, what to do next; the path
//! stands last so that long ones do not hide the reason.

use std::path::{Path, PathBuf};

/// Shorthand for a result with the engine's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a file on disk and a token on screen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, read or write a file.
    #[error("cannot {action}: {source}; file: {}", path.display())]
    Io {
        /// What was attempted: `open`, `read`, `map into memory`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is damaged, incomplete or not what its name says.
    #[error("{detail}; file: {}", path.display())]
    Format {
        /// What, expected, got, next step.
        detail: String,
        /// The file.
        path: PathBuf,
    },
    /// A tensor is missing, or has the wrong shape, type or values.
    #[error("tensor \"{tensor}\": {detail}; file: {}", path.display())]
    Tensor {
        /// The tensor's name as the file spells it.
        tensor: String,
        /// What, expected, got, next step.
        detail: String,
        /// The file (or the folder, when no file holds the tensor).
        path: PathBuf,
    },
    /// A field of `config.json` is missing, out of range or contradicts another.
    #[error("config field `{field}`: {detail}; file: {}", path.display())]
    Config {
        /// The field, spelled as in the file.
        field: String,
        /// What, expected, got, next step.
        detail: String,
        /// The file.
        path: PathBuf,
    },
    /// The tokenizer cannot do what was asked (encode, decode, an id that it does not know).
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The asked adapter does not exist, or none does.
    #[error("{detail}\n{available}")]
    Adapter {
        /// What was asked and why it cannot be had.
        detail: String,
        /// The adapters that there are, one a line.
        available: String,
    },
    /// The memory plan does not fit the device or the budget.
    #[error("{0}")]
    DoesNotFit(String),
    /// wgpu or the driver reported an error: validation, out of memory, or internal.
    #[error("GPU error while {during}: {detail}")]
    Gpu {
        /// What the engine was doing.
        during: String,
        /// The message of wgpu or the driver.
        detail: String,
    },
    /// The device is gone (driver reset, unplugged, time-out). A new one must be created.
    #[error("the GPU device was lost while {during}: {reason}; load the model again to go on")]
    DeviceLost {
        /// What the engine was doing.
        during: String,
        /// The driver's reason.
        reason: String,
    },
    /// A kernel was used in a way that its interface does not allow, or failed its self-test.
    #[error("kernel `{kernel}`: {detail}")]
    Kernel {
        /// The kernel's stem.
        kernel: String,
        /// What, expected, got.
        detail: String,
    },
    /// The model computed NaN or infinity: nothing sensible can follow.
    #[error("{0}")]
    NonFinite(String),
    /// A request contradicts the model or itself (empty prompt, context too small, unknown id, bad sampling value).
    #[error("{0}")]
    Request(String),
    /// A prompt cannot be built (template error, System block larger than the budget).
    #[error("prompt: {0}")]
    Prompt(String),
}

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    /// An [`Error::Format`] for `path`.
    pub fn format(path: &Path, detail: impl Into<String>) -> Self {
        Self::Format { detail: detail.into(), path: path.to_owned() }
    }

    /// An [`Error::Tensor`] for `tensor` in `path`.
    pub fn tensor(path: &Path, tensor: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Tensor { tensor: tensor.into(), detail: detail.into(), path: path.to_owned() }
    }

    /// An [`Error::Config`] for `field` in `path`.
    pub fn config(path: &Path, field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Config { field: field.into(), detail: detail.into(), path: path.to_owned() }
    }

    /// An [`Error::Kernel`] for `kernel`.
    pub fn kernel(kernel: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Kernel { kernel: kernel.into(), detail: detail.into() }
    }
}
