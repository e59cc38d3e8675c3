//! What users hand in: text from the command line, a file or stdin, and lists of ids.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, bail};

/// The largest text that is read: longer than any context.
const MAX_TEXT: u64 = 64 << 20;

/// Ids separated by commas or white space; brackets around them are fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids(pub(super) Vec<u32>);

impl std::str::FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
        let words = inner.split([',', ' ', '\n', '\t', '\r']).filter(|word| !word.is_empty());
        let ids: Result<Vec<u32>, String> = words
            .map(|word| word.parse().map_err(|_| format!("{word:?} is not a token id; expected numbers such as 1,2,3")))
            .collect();
        let ids = ids?;
        if ids.is_empty() { Err("expected at least one token id, such as 1,2,3".to_owned()) } else { Ok(Self(ids)) }
    }
}

/// The text that `argument` means: itself, the file behind an `@`, or stdin for `-`. `@@` begins a text with an `@`.
///
/// # Errors
/// When the file cannot be read, is longer than 64 MiB, or is not UTF-8.
pub(super) fn text(argument: &str) -> anyhow::Result<String> {
    if argument == "-" {
        return decode(read_up_to(std::io::stdin().lock()).context("cannot read stdin")?, "stdin");
    }
    match argument.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => Ok(rest.to_owned()),
        Some(path) => file(Path::new(path)),
        None => Ok(argument.to_owned()),
    }
}

/// The text of a file, or of stdin for `-`.
///
/// # Errors
/// When it cannot be read, is longer than 64 MiB, or is not UTF-8.
pub(super) fn file(path: &Path) -> anyhow::Result<String> {
    if path == Path::new("-") {
        return text("-");
    }
    let name = path.display().to_string();
    let open = std::fs::File::open(path).and_then(read_up_to);
    decode(open.with_context(|| format!("cannot read {name}"))?, &name)
}

fn read_up_to(reader: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(mut bytes: Vec<u8>, name: &str) -> anyhow::Result<String> {
    if bytes.len() as u64 > MAX_TEXT {
        bail!("{name} is longer than 64 MiB, which no context can hold");
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{name} is not UTF-8 text: the byte at {at} belongs to no character")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for text in ["1,2,3", "[1, 2, 3]", " 1 2 3\n", "1,2,3,"] {
            assert_eq!(text.parse(), Ok(Ids(vec![1, 2, 3])), "{text:?}");
        }
        for text in ["", "[]", "a", "1,-2", "1.5", "4294967296", "1;2"] {
            assert!(text.parse::<Ids>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn texts() {
        assert_eq!(text("plain").unwrap(), "plain");
        assert_eq!(text("@@home").unwrap(), "@home");
        assert!(text("@/no/such/file").unwrap_err().to_string().contains("/no/such/file"));
        assert_eq!(decode(b"\xef\xbb\xbfhi".to_vec(), "x").unwrap(), "hi");
        let error = decode(b"hi \xff".to_vec(), "notes.txt").unwrap_err().to_string();
        assert!(error.contains("notes.txt") && error.contains("byte at 3"), "{error}");
    }
}
