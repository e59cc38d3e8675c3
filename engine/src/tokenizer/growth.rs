//! What the parts of a `tokenizer.json` may do to a text, before the `tokenizers` crate obeys them.
//!
//! Each part alone is harmless. But a normalizer that writes "aa" for "a", forty times over, makes terabytes of one letter; so do
//! byte letters of byte letters, and frames within frames; and a pattern of counted repetitions takes memory by the product of its
//! counts. The crate has no limits for that, and running out of memory cannot be caught.

use serde_json::Value;

/// The most that normalizers and pre-tokenizers may make of a byte: LLaMA's ▁ for a space is 3, compatibility forms are up to 11.
const MAX_GROWTH: u64 = 256;
/// The most parts of one kind; of LLaMA's kin DeepSeek's has seven.
const MAX_PARTS: usize = 32;
/// The deepest sequence in a sequence. The crate tries several readings at each level.
const MAX_DEPTH: usize = 4;
/// The most bytes of regular expressions; DeepSeek's have two thousand.
const MAX_PATTERNS: usize = 8192;
/// The most copies of a part that the counts of an expression ask for.
const MAX_REPEATS: u64 = 1000;
/// The most pieces of a frame around a text: LLaMA's has two or three.
const MAX_FRAME: u64 = 1024;

/// Checks the fields of a `tokenizer.json` that say what happens to a text.
///
/// # Errors
/// What is wrong, with its field.
pub(super) fn check(root: &Value) -> Result<(), String> {
    let mut total = Total { growth: 1, patterns: 0, frame: 1, parts: 0 };
    for (field, list) in
        [("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers"), ("post_processor", "processors")]
    {
        total.parts = 0;
        if let Some(part) = root.get(field) {
            total.add(part, list, 0).map_err(|detail| format!("field `{field}`: {detail}"))?;
        }
    }
    Ok(())
}

/// What all parts together come to.
struct Total {
    growth: u64,
    patterns: usize,
    frame: u64,
    parts: usize,
}

impl Total {
    /// Adds `part`, or the parts that it holds under `list`.
    fn add(&mut self, part: &Value, list: &str, depth: usize) -> Result<(), String> {
        self.parts += 1;
        if depth > MAX_DEPTH || self.parts > MAX_PARTS {
            return Err(format!("more than {MAX_PARTS} parts, or sequences deeper than {MAX_DEPTH}"));
        }
        // Whatever the type says: the crate tries what fits.
        if let Some(inner) = part.get(list).and_then(Value::as_array) {
            return inner.iter().try_for_each(|inner| self.add(inner, list, depth + 1));
        }
        let pattern = part.get("pattern").unwrap_or(&Value::Null);
        if let Some(text) = pattern.get("Regex").and_then(Value::as_str) {
            self.patterns += text.len();
            let repeats = repeats(text);
            if self.patterns > MAX_PATTERNS || repeats > MAX_REPEATS {
                return Err(format!(
                    "regular expressions of {} bytes that repeat a part {repeats} times, expected at most {MAX_PATTERNS} and \
                     {MAX_REPEATS}",
                    self.patterns
                ));
            }
        }
        let forms = match part.get("precompiled_charsmap").and_then(Value::as_str) {
            Some(map) => longest_form(&base64(map))?,
            None => 1,
        };
        self.growth = self.growth.saturating_mul(growth(part, pattern)).saturating_mul(forms);
        if self.growth > MAX_GROWTH {
            return Err(format!(
                "it could make a text more than {MAX_GROWTH} times longer, as no LLaMA tokenizer does"
            ));
        }
        let pieces = part.get("single").and_then(Value::as_array).map_or(1, |pieces| pieces.len().max(1) as u64);
        let ids = part.get("special_tokens").map_or(0, ids);
        self.frame = self.frame.saturating_mul(pieces);
        if self.frame > MAX_FRAME || ids > MAX_FRAME {
            return Err(format!("a frame of {} pieces and {ids} ids, expected at most {MAX_FRAME}", self.frame));
        }
        Ok(())
    }
}

/// How many times longer `part` can make a text.
fn growth(part: &Value, pattern: &Value) -> u64 {
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        // A byte becomes a letter of at most two.
        "ByteLevel" => 2,
        // The longest form: U+FDFA, 3 bytes, becomes 33.
        "NFKC" | "NFKD" => 11,
        "NFD" | "NFC" | "Lowercase" | "BertNormalizer" => 3,
        _ => {
            let content = part.get("content").and_then(Value::as_str).map_or(0, str::len) as u64;
            match pattern.get("String").and_then(Value::as_str) {
                Some(text) if !text.is_empty() => content.div_ceil(text.len() as u64).max(1),
                // An expression, or nothing, can match between all bytes.
                _ => content + 1,
            }
        }
    }
}

/// The longest text that sentencepiece's table of forms can put in place of a byte: bytes of a trie, the trie, and texts that end
/// with zeros (`precompiled_charsmap` in
/// <https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto>). The crate takes memory for the trie on
/// the table's word.
fn longest_form(table: &[u8]) -> Result<u64, String> {
    let (claimed, rest) = table.split_first_chunk::<4>().ok_or("a precompiled_charsmap without its length")?;
    let claimed = u32::from_le_bytes(*claimed);
    let texts = rest.get(claimed as usize..).ok_or_else(|| {
        format!("a precompiled_charsmap claims {claimed} bytes, more than the {} that it has", rest.len())
    })?;
    Ok(texts.split(|byte| *byte == 0).map(|text| text.len().max(1) as u64).max().unwrap_or(1))
}

/// The bytes that base64 text (RFC 4648) stands for, up to what is none.
fn base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.bytes().map_while(digit) {
        (bits, held) = (bits << 6 | u32::from(digit), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// The product of the largest counts of all `{n}`, `{n,}` and `{n,m}` in an expression.
fn repeats(pattern: &str) -> u64 {
    let counts = pattern.split('{').skip(1).filter_map(|rest| {
        let (counts, _) = rest.split_once('}')?;
        counts.split(',').filter_map(|count| count.trim().parse::<u64>().ok()).max()
    });
    counts.fold(1, |product, count| product.saturating_mul(count.max(1)))
}

/// The ids of all special tokens of a frame.
fn ids(tokens: &Value) -> u64 {
    let of = |token: &Value| token.get("ids").and_then(Value::as_array).map_or(0, |ids| ids.len() as u64);
    match tokens {
        Value::Object(tokens) => tokens.values().map(of).sum(),
        Value::Array(tokens) => tokens.iter().map(of).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_tokenizers_have_is_allowed() {
        let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
        for root in [
            json!({}),
            json!({"normalizer": null, "pre_tokenizer": null, "post_processor": null}),
            json!({"normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}}),
            json!({"normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAABhYgBjZGUA"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]},
                "pre_tokenizer": {"type": "Metaspace", "replacement": "▁"}}),
            json!({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [split(r"\p{N}{1,3}|\s+(?!\S)"), split("[\r\n]"),
                split(&"a".repeat(2000)), {"type": "Digits"}, {"type": "ByteLevel"}]},
                "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"},
                    {"type": "TemplateProcessing", "single": [{}, {}], "special_tokens": {"a": {"ids": [1]}}}]}}),
        ] {
            check(&root).unwrap();
        }
    }

    #[test]
    fn tables_of_forms() {
        assert_eq!(base64("BAAAAAAAAABhYgBjZGUA"), b"\x04\0\0\0\0\0\0\0ab\0cde\0");
        assert_eq!(base64("YQ=="), b"a");
        assert_eq!(longest_form(b"\x04\0\0\0\0\0\0\0ab\0cde\0"), Ok(3));
        assert_eq!(longest_form(b"\0\0\0\0"), Ok(1));
        assert!(longest_form(b"\x01\0\0\0").is_err() && longest_form(b"\0").is_err());
    }

    #[test]
    fn what_multiplies_is_refused_by_field() {
        let repeat = |field: &str, list: &str, part: Value, count: usize| json!({field: {"type": "Sequence", list: vec![part; count]}});
        let double = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        let frame = json!({"type": "TemplateProcessing", "single": vec![json!({}); 40], "special_tokens": {}});
        let mut deep = double.clone();
        for _ in 0..10 {
            deep = json!({"type": "Sequence", "normalizers": [deep]});
        }
        for (root, words) in [
            (repeat("normalizer", "normalizers", double, 9), ["`normalizer`", "256 times longer"]),
            (repeat("pre_tokenizer", "pretokenizers", json!({"type": "ByteLevel"}), 9), ["`pre_tokenizer`", "longer"]),
            (repeat("pre_tokenizer", "pretokenizers", json!({"type": "Digits"}), 40), ["`pre_tokenizer`", "32 parts"]),
            (repeat("post_processor", "processors", frame, 2), ["`post_processor`", "1600 pieces"]),
            (
                json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "BAAAkkkk"}}),
                ["`normalizer`", "claims 2449473540"],
            ),
            (
                json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": format!("AAAAAAAA{}", "YWJj".repeat(90))}}),
                ["`normalizer`", "longer"],
            ),
            (json!({"normalizer": deep}), ["`normalizer`", "deeper"]),
            (
                json!({"normalizer": {"type": "Replace", "pattern": {"Regex": ""}, "content": "a".repeat(300)}}),
                ["`normalizer`", "longer"],
            ),
            (
                json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a{100}){100}"}}}),
                ["`pre_tokenizer`", "10000"],
            ),
            (
                json!({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "a".repeat(9000)}}}),
                ["`pre_tokenizer`", "9000"],
            ),
            (
                json!({"post_processor": {"special_tokens": {"a": {"ids": vec![1; 2000]}}}}),
                ["`post_processor`", "2000 ids"],
            ),
        ] {
            let message = check(&root).unwrap_err();
            assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
        }
    }
}
