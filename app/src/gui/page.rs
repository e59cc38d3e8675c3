//! The pages of the window.

/// What the middle of the window shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) enum Page {
    /// The open chat.
    #[default]
    Chat,
    /// The library of characters.
    Library,
    /// Models, and the memory that they take.
    Models,
    /// Adapters, self-test, conformance, bench.
    Gpu,
    /// Language, theme, scale, data.
    Settings,
}

impl Page {
    /// Every page, in the order of the keys Ctrl+1 to Ctrl+5.
    pub(super) const ALL: [Self; 5] = [Self::Chat, Self::Library, Self::Models, Self::Gpu, Self::Settings];

    /// Its icon, and the key of its name.
    pub(super) fn label(self) -> (&'static str, &'static str) {
        match self {
            Self::Chat => ("💬", "page-chat"),
            Self::Library => ("👥", "page-library"),
            Self::Models => ("📦", "page-models"),
            Self::Gpu => ("⚡", "page-gpu"),
            Self::Settings => ("⚙", "page-settings"),
        }
    }
}
