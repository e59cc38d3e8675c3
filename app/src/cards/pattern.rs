//! Patterns that a stranger wrote, in JavaScript's spelling: compiled into automata that take linear time, or refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use regex::{Regex, RegexBuilder};

use super::limits;

/// Compiled patterns are kept: a prompt is built anew while the user types.
type Compiled = HashMap<(String, bool), Result<Regex, String>>;

static COMPILED: Mutex<Option<Compiled>> = Mutex::new(None);
/// How many are kept.
const KEPT: usize = 1_000;

/// The pattern, when it is not too long.
///
/// # Errors
/// Its length and the limit, in a clause.
pub(super) fn within(pattern: &str) -> Result<&str, String> {
    match pattern.len() <= limits::PATTERN_BYTES {
        true => Ok(pattern),
        false => Err(format!("it has {} bytes, the limit is {}", pattern.len(), limits::PATTERN_BYTES)),
    }
}

/// Compiles `/pattern/flags`, or a bare pattern that minds case when `case_sensitive`.
///
/// # Errors
/// Why it is refused, in a clause: look-around, back-references, and what else needs more than linear time; a wrong spelling;
/// a pattern that is too large.
pub(super) fn compile(pattern: &str, case_sensitive: bool) -> Result<Regex, String> {
    let pattern = within(pattern)?;
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let compiled = compiled.get_or_insert_default();
    let key = (pattern.to_owned(), case_sensitive);
    if let Some(known) = compiled.get(&key) {
        return known.clone();
    }
    if compiled.len() >= KEPT {
        compiled.clear();
    }
    let result = build(pattern, case_sensitive);
    compiled.insert(key, result.clone());
    result
}

/// The parts of `/pattern/flags`.
fn delimited(pattern: &str) -> Option<(&str, &str)> {
    let parts = pattern.strip_prefix('/')?.rsplit_once('/');
    parts.filter(|(_, flags)| flags.chars().all(|flag| "dgimsuvy".contains(flag)))
}

/// Whether `key` is written as a pattern, as SillyTavern tells: not where a slash stands in it that is not escaped.
pub(super) fn is_delimited(key: &str) -> bool {
    let Some((source, _)) = delimited(key) else { return false };
    let mut escaped = false;
    let bare_slash = source.bytes().any(|byte| {
        let bare = byte == b'/' && !escaped;
        escaped = byte == b'\\' && !escaped;
        bare
    });
    !source.is_empty() && !bare_slash
}

fn build(pattern: &str, case_sensitive: bool) -> Result<Regex, String> {
    let (source, flags) = match delimited(pattern) {
        Some((source, flags)) => (source, flags),
        None => (pattern, if case_sensitive { "" } else { "i" }),
    };
    let has = |flag| flags.contains(flag);
    RegexBuilder::new(source)
        .case_insensitive(has('i'))
        .multi_line(has('m'))
        .dot_matches_new_line(has('s'))
        .size_limit(limits::PATTERN_MEMORY)
        .dfa_size_limit(limits::PATTERN_MEMORY)
        .nest_limit(64)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => format!("compiled it takes more than {limit} bytes"),
            regex::Error::Syntax(message) => {
                let reason =
                    message.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("a wrong spelling");
                reason.to_owned()
            }
            other => other.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        for (pattern, sensitive, text, matches) in [
            ("/drag[oó]n/i", true, "DRAGÓN", true),
            ("/dragon/", false, "DRAGON", false),
            ("dragon", false, "DRAGON", true),
            ("dragon", true, "DRAGON", false),
            (r"/a\/b/", true, "a/b", true),
            ("/^b/m", true, "a\nb", true),
            ("/a.b/s", true, "a\nb", true),
            ("/龍|竜/u", true, "竜の山", true),
            ("/usr/share", true, "/usr/share", true),
            (r"\u0041\d", true, "A1", true),
        ] {
            assert_eq!(compile(pattern, sensitive).unwrap().is_match(text), matches, "{pattern}");
        }
    }

    #[test]
    fn written_as_patterns() {
        for (key, expected) in [
            ("/a/", true),
            ("/a|b/gi", true),
            (r"/a\/b/", true),
            (r"/a\\/", true),
            ("/usr/share", false),
            ("/usr/lib/", false),
            ("/a/x", false),
            ("//", false),
            ("/", false),
            ("a/b/i", false),
            ("C++", false),
        ] {
            assert_eq!(is_delimited(key), expected, "{key}");
        }
    }

    #[test]
    fn refused() {
        for (pattern, word) in [
            ("/(?=a)b/", "look-around"),
            (r"(a)\1", "backreferences"),
            ("(", "unclosed group"),
            (r"\w{500}{500}", "bytes"),
            (&("(".repeat(500) + &")".repeat(500)), "nest"),
            (&"a".repeat(3_000), "3000 bytes"),
        ] {
            let error = compile(pattern, false).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
