//! Why a card was refused.

/// A card that was not read or not written: what was wrong, the limit or what was expected, what there was, and the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// More than a limit of [`super::limits`] allows.
    #[error("{what}: the limit is {limit}, got {got}; file: {file}")]
    TooLarge {
        /// What is too large, with its unit.
        what: String,
        /// The most that is taken.
        limit: u64,
        /// What there is; where nobody counted to the end, the first number above the limit.
        got: u64,
        /// The file's name.
        file: String,
    },
    /// Broken, or not of its format.
    #[error("{what}: expected {expected}, got {got}; file: {file}")]
    Damaged {
        /// What is broken.
        what: String,
        /// What should be there.
        expected: String,
        /// What is there.
        got: String,
        /// The file's name.
        file: String,
    },
    /// A readable file without a character in it.
    #[error("there is no character in it: {detail}; file: {file}")]
    NoCard {
        /// What it is instead, and what is read.
        detail: String,
        /// The file's name.
        file: String,
    },
    /// An archive with something in it that no card needs: a name that leaves the folder, a link, a cipher.
    #[error("refused for safety: {detail}; file: {file}")]
    Unsafe {
        /// What it is.
        detail: String,
        /// The file's name.
        file: String,
    },
}

impl CardError {
    /// The file's name.
    pub fn file(&self) -> &str {
        let (Self::TooLarge { file, .. }
        | Self::Damaged { file, .. }
        | Self::NoCard { file, .. }
        | Self::Unsafe { file, .. }) = self;
        file
    }
}

/// The name of the file that is read, for errors.
#[derive(Clone, Copy)]
pub(super) struct Named<'a>(pub(super) &'a str);

impl Named<'_> {
    pub(super) fn at_most(self, what: &str, limit: impl TryInto<u64>, got: impl TryInto<u64>) -> Result<(), CardError> {
        let (limit, got) = (limit.try_into().unwrap_or(u64::MAX), got.try_into().unwrap_or(u64::MAX));
        if got <= limit {
            return Ok(());
        }
        Err(CardError::TooLarge { what: what.to_owned(), limit, got, file: self.0.to_owned() })
    }

    pub(super) fn damaged(
        self,
        what: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> CardError {
        let (what, expected, got) = (what.into(), expected.into(), got.into());
        CardError::Damaged { what, expected, got, file: self.0.to_owned() }
    }

    pub(super) fn no_card(self, detail: impl Into<String>) -> CardError {
        CardError::NoCard { detail: detail.into(), file: self.0.to_owned() }
    }

    pub(super) fn unsafe_(self, detail: impl Into<String>) -> CardError {
        CardError::Unsafe { detail: detail.into(), file: self.0.to_owned() }
    }
}
