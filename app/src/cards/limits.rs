//! What a card may ask for. Each limit is far above honest cards, and low enough that a hostile one costs neither memory nor time.

/// Bytes of a file.
pub const FILE_BYTES: usize = 64 << 20;
/// Bytes of a card's JSON, decoded.
pub const JSON_BYTES: usize = 8 << 20;
/// How deep JSON may nest.
pub const JSON_DEPTH: usize = 64;
/// Values in a card's JSON: each takes far more memory than its text.
pub const JSON_VALUES: usize = 400_000;
/// Bytes of one text in a card.
pub const TEXT_BYTES: usize = 1 << 20;
/// Bytes that are put in for the macros of one text; what is over is left out.
pub const EXPANDED_BYTES: usize = 4 << 20;
/// Characters of a name or nickname.
pub const NAME_CHARS: usize = 512;
/// Entries of a list of greetings, tags, assets or sources.
pub const LIST_ENTRIES: usize = 2_000;
/// Entries of a lorebook.
pub const LORE_ENTRIES: usize = 10_000;
/// Pixels along an edge of a picture.
pub const PICTURE_EDGE: u32 = 8192;
/// Pixels of a picture.
pub const PICTURE_PIXELS: u64 = 64_000_000;
/// Chunks of a PNG.
pub const PNG_CHUNKS: usize = 100_000;
/// Entries of a zip archive.
pub const ZIP_ENTRIES: usize = 1_000;
/// Bytes of all entries of a zip archive, inflated.
pub const ZIP_INFLATED: u64 = 128 << 20;
/// How many times an entry of a zip archive may be larger than it lies there; below [`ZIP_SMALL`] it may be any.
pub const ZIP_RATIO: u64 = 200;
/// Inflated bytes up to which a ratio is not looked at.
pub const ZIP_SMALL: u64 = 1 << 20;
/// Bytes of a name in a zip archive.
pub const ZIP_NAME_BYTES: usize = 512;
/// Bytes of the newest messages that are looked through for a lorebook's keys.
pub const SCAN_BYTES: usize = 64 << 10;
/// Bytes of the newest messages that are looked through for what matched in earlier prompts.
pub const HISTORY_BYTES: usize = 256 << 10;
/// Bytes of a plain key in a lorebook; longer ones match nothing.
pub const KEY_BYTES: usize = SCAN_BYTES;
/// Bytes of a pattern in a lorebook.
pub const PATTERN_BYTES: usize = 2_000;
/// Patterns of a lorebook that are compiled; those behind match nothing.
pub const PATTERNS: usize = 200;
/// Bytes that a compiled pattern may take.
pub const PATTERN_MEMORY: usize = 256 << 10;
/// How long the keys of a lorebook are looked for, in milliseconds; what was not found by then does not match.
pub const SCAN_MS: u64 = 500;
/// How long earlier prompts are looked through, in milliseconds; what was not found by then did not match.
pub const HISTORY_MS: u64 = 200;
/// Tokens of lore where the book sets no budget.
pub const LORE_TOKENS: usize = 512;
/// Messages that are looked through where the book sets no depth.
pub const SCAN_DEPTH: usize = 10;
