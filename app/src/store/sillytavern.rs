//! Chats of SillyTavern: JSON lines, the first of which describes the chat, each other one a message with its swipes.
//! See <https://github.com/SillyTavern/SillyTavern> (`public/script.js`, `saveChat`).
//!
//! Swipes become siblings; what follows hangs on the chosen one. What has no place here is kept below `sillytavern` in the
//! messages and the head; what SillyTavern hides from the model (`is_system`) is `hidden`.

use guanaco_engine::prompt::Role;
use serde_json::{Map, Value, json};

use super::export::{ImportError, Imported, MAX_BYTES, MAX_NODES, limit, short};
use super::{ChatHead, dates};
use crate::tree::{NewNode, NodeId, Tree, now_ms};

/// Longer lines are refused.
const MAX_LINE: u64 = 32 << 20;
/// Deeper values are refused: they lie deeper yet in a message, and JSON is read back to a depth of 127.
const MAX_DEPTH: usize = 64;
/// What a first line without a message has at least one of.
const DESCRIBES: [&str; 4] = ["chat_metadata", "user_name", "character_name", "create_date"];

/// The chat in the text of a SillyTavern file.
///
/// # Errors
/// When it is too large, or a line is no JSON or no message. The line is named.
pub fn from_jsonl(text: &str) -> Result<Imported, ImportError> {
    limit("bytes", MAX_BYTES, text.len())?;
    let mut reader = Reader { tree: Tree::new(), at: None, undated: 0 };
    let mut head: Option<(ChatHead, Map<String, Value>)> = None;
    for (i, text) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = i + 1;
        if text.trim().is_empty() {
            continue;
        }
        limit("bytes of a line", MAX_LINE, text.len())?;
        let wrong = |detail: String| ImportError::Line { line, detail };
        let value: Value = serde_json::from_str(text).map_err(|error| {
            wrong(format!("expected JSON, got other text ({error}); the file may have been cut off or edited"))
        })?;
        if is_deeper(&value, MAX_DEPTH) {
            return Err(wrong(format!(
                "expected lists and objects at most {MAX_DEPTH} deep, got deeper ones; remove them"
            )));
        }
        let Value::Object(fields) = value else {
            return Err(wrong(format!("expected an object, got {}", short(&value))));
        };
        if head.is_none() && !fields.contains_key("mes") {
            if !DESCRIBES.iter().any(|key| fields.contains_key(*key)) {
                return Err(wrong(
                    "expected a SillyTavern chat, which begins with user_name and character_name".to_owned(),
                ));
            }
            head = Some(describe(fields));
        } else {
            head.get_or_insert_with(Default::default);
            reader.message(fields).map_err(wrong)?;
            limit("messages", MAX_NODES as u64, reader.tree.len())?;
        }
    }
    let Some((mut head, extra)) = head else {
        return Err(ImportError::Line { line: 1, detail: "expected a SillyTavern chat, got an empty file".to_owned() });
    };
    let dates = || reader.tree.nodes().map(|node| node.created_ms);
    if head.created_ms == 0 {
        head.created_ms = dates().min().unwrap_or_else(now_ms);
    }
    head.updated_ms = dates().max().unwrap_or(head.created_ms).max(head.created_ms);
    if head.title.is_empty() {
        let name = reader.tree.nodes().find(|node| node.role == Role::Assistant).and_then(|node| node.name.clone());
        head.title = name.unwrap_or_default();
    }
    let notes = match reader.undated {
        0 => Vec::new(),
        n => vec![format!("{n} messages had no date that could be read; they are dated now")],
    };
    Ok(Imported { head, extra, tree: reader.tree, tokens: Vec::new(), notes })
}

/// serde_json has bounded the depth to 127 already.
fn is_deeper(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(values) => depth == 0 || values.iter().any(|value| is_deeper(value, depth - 1)),
        Value::Object(fields) => depth == 0 || fields.values().any(|value| is_deeper(value, depth - 1)),
        _ => false,
    }
}

fn describe(fields: Map<String, Value>) -> (ChatHead, Map<String, Value>) {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let (title, created_ms) = (text("character_name").to_owned(), date(fields.get("create_date")).unwrap_or(0));
    let head = ChatHead { title, created_ms, ..ChatHead::default() };
    (head, Map::from_iter([("sillytavern".to_owned(), Value::Object(fields))]))
}

fn date(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(ms) => ms.as_u64().or_else(|| ms.as_f64().filter(|ms| *ms >= 0.0).map(|ms| ms as u64)),
        Value::String(text) => text.parse().ok().filter(|ms| *ms > 9999).or_else(|| dates::parse(text)),
        _ => None,
    }
}

struct Reader {
    tree: Tree,
    /// What the next message follows.
    at: Option<NodeId>,
    undated: usize,
}

impl Reader {
    fn message(&mut self, mut fields: Map<String, Value>) -> Result<(), String> {
        let mes = match fields.remove("mes") {
            Some(Value::String(mes)) => mes,
            other => {
                let found = other.map_or("nothing".to_owned(), |value| short(&value));
                return Err(format!("expected a message with its text in \"mes\", got {found}"));
            }
        };
        let is_true = |key: &str| fields.get(key).and_then(Value::as_bool).unwrap_or(false);
        let role = if is_true("is_user") { Role::User } else { Role::Assistant };
        let hidden = is_true("is_system");
        // A user's name stands in no prompt here: it stays with what is kept.
        let name = fields.get("name").and_then(Value::as_str).filter(|name| !name.is_empty() && role != Role::User);
        let name = name.map(str::to_owned);
        let created = date(fields.get("send_date"));
        self.undated += usize::from(created.is_none());
        let created_ms = created.unwrap_or_else(now_ms);

        let mut swipes = match fields.remove("swipes") {
            Some(Value::Array(swipes)) => swipes,
            Some(Value::Null) | None => Vec::new(),
            Some(other) => return Err(format!("expected a list in \"swipes\", got {}", short(&other))),
        };
        let mut infos = match fields.remove("swipe_info") {
            Some(Value::Array(infos)) => infos,
            Some(other) => {
                fields.insert("swipe_info".to_owned(), other);
                Vec::new()
            }
            None => Vec::new(),
        };
        let id = fields.get("swipe_id").and_then(Value::as_u64).and_then(|id| usize::try_from(id).ok());
        // A file that names no swipe of its own may still hold the text among them.
        let id = id.filter(|id| *id < swipes.len()).or_else(|| swipes.iter().position(|swipe| *swipe == *mes));
        let chosen = id.unwrap_or(swipes.len());
        swipes.resize(swipes.len().max(chosen + 1), Value::Null);
        infos.resize(swipes.len().max(infos.len()), Value::Null);
        // More of these than swipes belong to none: they stay with the chosen one.
        let spare = infos.split_off(swipes.len());

        let mut chosen_node = None;
        for (i, (swipe, info)) in swipes.into_iter().zip(infos).enumerate() {
            let mut kept = Map::new();
            let created_ms = date(info.get("send_date")).unwrap_or(created_ms);
            if !info.is_null() {
                kept.insert("swipe_info".to_owned(), info);
            }
            let content = if i == chosen {
                kept.append(&mut fields);
                if !spare.is_empty() {
                    kept.insert("spare_swipe_info".to_owned(), json!(spare));
                }
                // What was on the screen wins; a swipe that said something else is kept.
                if !swipe.is_null() && swipe != *mes {
                    kept.insert("swipe".to_owned(), swipe);
                }
                mes.clone()
            } else {
                match swipe {
                    Value::String(text) => text,
                    other => return Err(format!("expected text in \"swipes\", got {}", short(&other))),
                }
            };
            let mut extra = Map::new();
            if hidden {
                extra.insert("hidden".to_owned(), Value::Bool(true));
            }
            if !kept.is_empty() {
                extra.insert("sillytavern".to_owned(), Value::Object(kept));
            }
            let new = NewNode { name: name.clone(), created_ms, extra, ..NewNode::new(role, content) };
            let node = self.tree.add(self.at, new);
            if i == chosen {
                chosen_node = Some(node);
            }
        }
        if let Some(node) = chosen_node {
            self.tree.choose(node);
        }
        self.at = chosen_node;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = r#"{"user_name":"Ann","character_name":"Seraphina","create_date":"2023-6-5 @12h 00m 00s 000ms","chat_metadata":{"note_prompt":"x","deep":{"a":[1]}}}
{"name":"Seraphina","is_user":false,"is_system":false,"send_date":"June 5, 2023 12:01pm","mes":"Hello!","extra":{"gen_id":7}}

{"name":"Ann","is_user":true,"send_date":1685966520000,"mes":"Hi."}
{"name":"Seraphina","is_user":false,"send_date":"2023-06-05T12:03:00.000Z","mes":"two","swipe_id":1,"swipes":["one","two","three"],"swipe_info":[{"send_date":"2023-06-05T12:02:00Z","extra":{"model":"a"}},{"extra":{"model":"b"}},{}],"title":"kept"}
{"name":"System","is_user":false,"is_system":true,"send_date":"whenever","mes":"a notice"}
"#;

    #[test]
    fn swipes_are_siblings_and_nothing_is_lost() {
        let Imported { head, extra, tree, notes, .. } = from_jsonl(CHAT).unwrap();
        assert_eq!((head.title.as_str(), head.created_ms), ("Seraphina", 1_685_966_400_000));
        assert_eq!(extra["sillytavern"]["chat_metadata"]["deep"]["a"][0], 1);
        let path = tree.path();
        let said: Vec<_> =
            path.iter().map(|node| (node.role, node.content.as_str(), node.created_ms % 1_000_000_000)).collect();
        assert_eq!(
            said[..3],
            [
                (Role::Assistant, "Hello!", 966_460_000),
                (Role::User, "Hi.", 966_520_000),
                (Role::Assistant, "two", 966_580_000)
            ]
        );
        assert_eq!((path[3].content.as_str(), path[3].hidden(), path[2].hidden()), ("a notice", true, false));
        assert_eq!(notes, ["1 messages had no date that could be read; they are dated now"]);
        assert_eq!(path[0].extra["sillytavern"]["extra"]["gen_id"], 7);
        // The user is called nothing in the prompt, or `User:` would be followed by a name; the name stays.
        let named: Vec<_> = path.iter().map(|node| node.name.as_deref()).collect();
        assert_eq!(named, [Some("Seraphina"), None, Some("Seraphina"), Some("System")]);
        assert_eq!(path[1].extra["sillytavern"]["name"], "Ann");
        let two = &path[2].extra["sillytavern"];
        assert_eq!((&two["title"], &two["swipe_info"]["extra"]["model"]), (&json!("kept"), &json!("b")));
        let one = tree.node(tree.children(Some(path[1].id))[0]).unwrap();
        assert_eq!((one.content.as_str(), one.created_ms % 1_000_000_000), ("one", 966_520_000));
        assert_eq!(
            (&one.extra["sillytavern"]["swipe_info"]["extra"]["model"], one.name.as_deref()),
            (&json!("a"), Some("Seraphina"))
        );
        assert_eq!(tree.siblings(path[2].id), (1, 3));
    }

    #[test]
    fn odd_swipes_are_made_sense_of() {
        let one = |fields: &str| {
            let tree = from_jsonl(&format!("{{\"mes\":\"x\",{fields}}}")).unwrap().tree;
            let node = tree.path()[0].clone();
            (tree.siblings(node.id), node.content, node.extra["sillytavern"].get("swipe").cloned())
        };
        assert_eq!(one(r#""swipes":["a","b"],"swipe_id":1"#), ((1, 2), "x".to_owned(), Some(json!("b"))));
        assert_eq!(one(r#""swipes":["a","b"],"swipe_id":9"#), ((2, 3), "x".to_owned(), None));
        assert_eq!(one(r#""swipes":["a","x"],"swipe_id":null"#), ((1, 2), "x".to_owned(), None));
        assert_eq!(one(r#""swipes":[],"swipe_id":0"#), ((0, 1), "x".to_owned(), None));
        assert_eq!(one(r#""swipes":null,"swipe_info":[{},{}]"#), ((0, 1), "x".to_owned(), None));
    }

    #[test]
    fn other_files_are_refused_with_the_line() {
        let head = r#"{"user_name":"A","character_name":"B"}"#;
        for (text, says) in [
            (String::new(), "line 1: expected a SillyTavern chat, got an empty file"),
            ("{}".to_owned(), "line 1: expected a SillyTavern chat"),
            ("[]".to_owned(), "line 1: expected an object"),
            (format!("{head}\n{{\"mes\":\"x\"}}\n{{\"mes\":"), "line 3: expected JSON"),
            (format!("{head}\n{{\"name\":\"x\"}}"), "line 2: expected a message with its text in \"mes\", got nothing"),
            (format!("{head}\n\n{{\"mes\":[1]}}"), "line 3: expected a message with its text in \"mes\", got [1]"),
            (format!("{head}\n{{\"mes\":\"x\",\"swipes\":[\"x\",5]}}"), "line 2: expected text in \"swipes\", got 5"),
            (
                format!("{head}\n{{\"mes\":\"x\",\"y\":{}1{}}}", "[".repeat(64), "]".repeat(64)),
                "line 2: expected lists",
            ),
            (format!("{head}\n{{\"mes\":\"x\",\"y\":{}", "[".repeat(100_000)), "line 2: expected JSON"),
        ] {
            let error = from_jsonl(&text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let long = format!("{head}\n{{\"mes\":\"{}\"}}", "x".repeat(33 << 20));
        assert!(from_jsonl(&long).unwrap_err().to_string().contains("bytes of a line"));
    }

    /// Cut anywhere, and with bytes, words and lines exchanged: a chat that can be kept, or an error.
    #[test]
    fn damaged_chats_end_in_a_result() {
        const WORDS: [&str; 10] = [
            "\n",
            "{",
            "]",
            "null",
            "\"mes\":",
            "\"swipes\":",
            "-1",
            "1e999",
            "\"swipe_id\":7,",
            "\"swipe_info\":[[]],",
        ];
        let mut state = 5_u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let (mut read, mut refused) = (0, 0);
        for n in 0..4_000 {
            let mut bytes = CHAT.as_bytes().to_vec();
            for _ in 0..1 + below(3) {
                let at = below(bytes.len());
                match below(4) {
                    0 if n % 4 == 0 => bytes.truncate(at.max(1)),
                    0 | 1 => bytes[at] = b' ' + below(95) as u8,
                    2 => drop(bytes.splice(at..at, WORDS[below(WORDS.len())].bytes())),
                    _ => drop(bytes.drain(at..(at + below(9)).min(bytes.len() - 1).max(at))),
                }
            }
            match from_jsonl(&String::from_utf8_lossy(&bytes)) {
                Ok(chat) => {
                    assert!(chat.tree.nodes().all(|node| node.role != Role::User || node.name.is_none()));
                    read += 1;
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    refused += 1;
                }
            }
        }
        assert!(read > 200 && refused > 200, "{read} read, {refused} refused");
    }
}
