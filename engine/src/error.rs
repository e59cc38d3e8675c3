//! The one error type of the engine.
//!
//! Every message says what was wrong, what was expected, what was found and, where it helps, what to do next; the path
//! stands last so that long ones do not hide the reason. Names come from files that nobody has checked, so a message shows
//! control characters escaped: a file cannot move the cursor of a terminal or change its colours.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

/// Shorthand for a result with the engine's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a file on disk and a token on screen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to open, read or write a file.
    #[error("cannot {action}: {source}; file: {}", file(path))]
    Io {
        /// What was attempted: `open`, `read`, `map into memory`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is damaged, incomplete or not what its name says.
    #[error("{}; file: {}", Printable::text(detail), file(path))]
    Format {
        /// What, expected, got, next step.
        detail: String,
        /// The file.
        path: PathBuf,
    },
    /// A tensor is missing, or has the wrong shape, type or values.
    #[error("tensor \"{}\": {}; file: {}", Printable::name(tensor), Printable::text(detail), file(path))]
    Tensor {
        /// The tensor's name as the file spells it.
        tensor: String,
        /// What, expected, got, next step.
        detail: String,
        /// The file (or the folder, when no file holds the tensor).
        path: PathBuf,
    },
    /// A field of `config.json` is missing, out of range or contradicts another.
    #[error("config field `{}`: {}; file: {}", Printable::name(field), Printable::text(detail), file(path))]
    Config {
        /// The field, spelled as in the file.
        field: String,
        /// What, expected, got, next step.
        detail: String,
        /// The file.
        path: PathBuf,
    },
    /// The tokenizer cannot do what was asked (encode, decode, an id that it does not know).
    #[error("tokenizer: {}", Printable::text(.0))]
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
    /// The caller asked for an end.
    #[error("{0} was stopped")]
    Stopped(String),
    /// A request contradicts the model or itself (empty prompt, context too small, unknown id, bad sampling value).
    #[error("{}", Printable::text(.0))]
    Request(String),
    /// A prompt cannot be built (template error, System block larger than the budget).
    #[error("prompt: {}", Printable::text(.0))]
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

/// Shows text with its control characters escaped (`\u{1b}`), and those that turn the direction of writing.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a> {
    text: &'a str,
    keeps_lines: bool,
}

impl<'a> Printable<'a> {
    /// For one name: line ends are escaped too.
    pub fn name(text: &'a str) -> Self {
        Self { text, keeps_lines: false }
    }

    /// For a message: line ends and tabs stay.
    pub fn text(text: &'a str) -> Self {
        Self { text, keeps_lines: true }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.text.chars() {
            let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            let stays = self.keeps_lines && matches!(letter, '\n' | '\t');
            match (letter.is_control() || turns) && !stays {
                true => write!(f, "{}", letter.escape_unicode())?,
                false => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

fn file(path: &Path) -> String {
    Printable::name(&path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cannot_send_terminal_escapes() {
        let (path, evil) = (Path::new("dir\n\u{1b}]0;x\u{7}/a"), "\u{1b}[2J\u{9b}31m\u{202e}\r\nü你");
        for error in [
            Error::io("open", path, std::io::ErrorKind::NotFound.into()),
            Error::format(path, evil),
            Error::tensor(path, evil, evil),
            Error::config(path, evil, evil),
            Error::Tokenizer(evil.to_owned()),
            Error::Request(evil.to_owned()),
            Error::Prompt(evil.to_owned()),
        ] {
            let message = error.to_string();
            let raw = |letter: char| letter.is_control() && letter != '\n' || letter == '\u{202e}';
            assert!(!message.contains(raw), "{message:?}");
            assert!(
                matches!(error, Error::Io { .. }) || message.contains(r"\u{1b}[2J\u{9b}31m\u{202e}\u{d}"),
                "{message}"
            );
        }
        assert_eq!(
            Error::tensor(path, evil, "two\nlines").to_string(),
            r#"tensor "\u{1b}[2J\u{9b}31m\u{202e}\u{d}\u{a}ü你": two"#.to_owned()
                + "\n"
                + r"lines; file: dir\u{a}\u{1b}]0;x\u{7}/a"
        );
    }
}
