//! JSON from a stranger: how deep and how much is counted in its text, before any memory is taken for it.

use serde_json::{Map, Value};

use super::error::{CardError, Named};
use super::limits;

/// The object that `bytes` hold.
///
/// # Errors
/// [`CardError`] when it is too large, too deep, not UTF-8, not JSON, or not an object.
pub(super) fn object(bytes: &[u8], file: Named<'_>) -> Result<Map<String, Value>, CardError> {
    file.at_most("bytes of JSON", limits::JSON_BYTES, bytes.len())?;
    let text = std::str::from_utf8(bytes)
        .map_err(|error| file.damaged("JSON", "UTF-8", format!("other bytes at {}", error.valid_up_to())))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    measure(text.as_bytes(), file)?;
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(other) => Err(file.damaged("JSON", "an object", kind(&other))),
        Err(error) => Err(file.damaged("JSON", "valid JSON", format!("an error: {error}"))),
    }
}

/// What a value is, in a word.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Counts depth and values. In what is not JSON the counts mean nothing, but are bounds all the same.
fn measure(text: &[u8], file: Named<'_>) -> Result<(), CardError> {
    let (mut depth, mut values) = (0_usize, 1_usize);
    let (mut in_string, mut escaped) = (false, false);
    for &byte in text {
        if in_string {
            (in_string, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
                file.at_most("levels of JSON", limits::JSON_DEPTH, depth)?;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
    }
    file.at_most("values in JSON", limits::JSON_VALUES, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_strings_does_not_count() {
        let json = format!(r#"{{"a": "{}\"[[[\\"}}"#, "[{,".repeat(500_000));
        assert!(object(json.as_bytes(), Named("a.json")).is_ok());
    }

    #[test]
    fn bounds() {
        let deep = |n: usize| format!("{}{}", r#"{"a":"#.repeat(n), "1".to_owned() + &"}".repeat(n));
        assert!(object(deep(64).as_bytes(), Named("a.json")).is_ok());
        let error = object(deep(65).as_bytes(), Named("a.json")).unwrap_err();
        assert_eq!(error.to_string(), "levels of JSON: the limit is 64, got 65; file: a.json");
        assert!(object(&b"[".repeat(8 << 20), Named("a")).is_err());
        for (bad, word) in [("", "valid JSON"), ("[]", "a list"), ("{", "valid JSON"), ("3", "a number")] {
            assert!(object(bad.as_bytes(), Named("a")).unwrap_err().to_string().contains(word), "{bad}");
        }
        assert!(object(b"{\"a\":\"\xff\"}", Named("a")).unwrap_err().to_string().contains("other bytes at 6"));
        assert!(object("\u{feff}{}".as_bytes(), Named("a")).unwrap().is_empty());
    }
}
