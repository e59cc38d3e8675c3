//! Chats as files of their own: JSON without any loss, and the path as Markdown or plain text.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use guanaco_engine::prompt::Role;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Change, Chat, ChatHead, ChatId, Store, StoreError};
use crate::tree::{Node, NodeId, Tree, TreeChange};

const FORMAT: &str = "guanaco-chat";
const VERSION: u64 = 1;
/// Larger files are refused: no chat that people wrote comes near.
pub const MAX_BYTES: u64 = 256 << 20;
/// More messages are refused.
pub const MAX_NODES: usize = 1_000_000;

/// Why a file is no chat that can be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The system refuses.
    #[error("cannot read the file: {0}")]
    Io(#[from] std::io::Error),
    /// More bytes or messages than any chat has.
    #[error("{what}: expected at most {most}, got {found}; split the file")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: u64,
        /// The number found, or that was reached.
        found: u64,
    },
    /// Bytes that are no UTF-8.
    #[error("line {line}: expected UTF-8 text, got other bytes; save the file as UTF-8")]
    NotText {
        /// From 1.
        line: usize,
    },
    /// Text that is no JSON, or not of the right shape.
    #[error("line {line}: {detail}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong there.
        detail: String,
    },
    /// Another kind of file.
    #[error("expected {expected}, got {found}")]
    Format {
        /// What this import reads.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// The messages make no tree.
    #[error("the messages of the file make no conversation: {0}")]
    Tree(#[from] crate::tree::TreeError),
}

/// A chat from a file, not in the store yet.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Title, dates and settings.
    pub head: ChatHead,
    /// Fields of the chat that are none of this program's.
    pub extra: Map<String, Value>,
    /// Every message of every branch.
    pub tree: Tree,
    /// The alternatives to the tokens of replies.
    pub tokens: Vec<(NodeId, Vec<u8>)>,
    /// What the user should know, one line each: dates that were not understood, and the like.
    pub notes: Vec<String>,
}

impl Imported {
    /// What makes it the chat `id` of a store.
    pub fn changes(&self, id: ChatId) -> Vec<Change> {
        let mut tree = self.tree.clone();
        tree.touch_all();
        let mut changes = vec![Change::ChatHead(id, self.head.clone())];
        if !self.extra.is_empty() {
            changes.push(Change::ChatExtra(id, self.extra.clone()));
        }
        changes.extend(tree.take_changes().into_iter().map(|change: TreeChange| Change::Tree(id, change)));
        changes.extend(self.tokens.iter().map(|(node, bytes)| Change::Tokens(id, *node, bytes.clone())));
        changes
    }
}

#[derive(Serialize, Deserialize)]
struct Exported {
    format: String,
    version: u64,
    #[serde(flatten)]
    head: ChatHead,
    nodes: Vec<Node>,
    #[serde(default)]
    chosen: Vec<Chosen>,
    #[serde(default)]
    last_id: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<Tokens>,
    /// What the fields above leave.
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// What tells an older program whether it can go on.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    format: Value,
    #[serde(default)]
    version: Value,
}

#[derive(Serialize, Deserialize)]
struct Chosen {
    parent: Option<NodeId>,
    child: NodeId,
}

#[derive(Serialize, Deserialize)]
struct Tokens {
    node: NodeId,
    base64: String,
}

impl Store {
    /// The chat `id` as JSON, with all branches, settings and unknown fields, and with what `more` adds to these: [`from_json`] makes the
    /// same chat of it.
    ///
    /// # Errors
    /// As [`Store::chat`].
    pub fn export(&self, id: ChatId, more: impl FnOnce(&ChatHead) -> Map<String, Value>) -> Result<String, StoreError> {
        let (mut extra, mut tokens) = (self.chat_extra(id)?, self.all_tokens(id)?);
        let Chat { head, tree } = self.chat(id)?;
        extra.extend(more(&head));
        // A message may have gone between the two.
        tokens.retain(|(node, _)| tree.node(*node).is_some());
        json(&head, &extra, &tree, &tokens)
            .map_err(|error| StoreError::io("export a chat of", &self.path())(error.into()))
    }
}

/// The whole chat, with all branches, settings and unknown fields; `extra` as from [`Store::chat_extra`], `tokens` as from
/// [`Store::all_tokens`].
///
/// # Errors
/// When memory for the text cannot be had.
pub fn json(
    head: &ChatHead,
    extra: &Map<String, Value>,
    tree: &Tree,
    tokens: &[(NodeId, Vec<u8>)],
) -> serde_json::Result<String> {
    let pack = |(node, bytes): &(NodeId, Vec<u8>)| Tokens { node: *node, base64: STANDARD.encode(bytes) };
    let mut text = serde_json::to_string_pretty(&Exported {
        format: FORMAT.to_owned(),
        version: VERSION,
        head: head.clone(),
        nodes: tree.nodes().cloned().collect(),
        chosen: tree.choices().map(|(parent, child)| Chosen { parent, child }).collect(),
        last_id: tree.last_id(),
        tokens: tokens.iter().map(pack).collect(),
        extra: extra.clone(),
    })?;
    text.push('\n');
    Ok(text)
}

/// The chat in the text that [`json()`] wrote.
///
/// # Errors
/// When it is too large, no JSON, of another kind or a newer version, or its messages make no tree. The line is named.
pub fn from_json(text: &str) -> Result<Imported, ImportError> {
    limit("bytes", MAX_BYTES, text.len())?;
    let kind: Kind = serde_json::from_str(text).map_err(at_line)?;
    let wrong = |found: String| ImportError::Format { expected: format!("a \"{FORMAT}\" file of version 1"), found };
    if kind.format != FORMAT {
        return Err(wrong(format!("\"format\": {}", short(&kind.format))));
    }
    match kind.version.as_u64() {
        Some(VERSION) => {}
        Some(newer) if newer > VERSION => {
            return Err(wrong(format!("version {newer}, which a newer guanaco wrote; use that one")));
        }
        _ => return Err(wrong(format!("\"version\": {}", short(&kind.version)))),
    }
    let exported: Exported = serde_json::from_str(text).map_err(at_line)?;
    limit("messages", MAX_NODES as u64, exported.nodes.len())?;
    // The next message needs an id, too.
    let last_id = exported.last_id.min(u64::MAX / 2);
    if let Some(node) = exported.nodes.iter().find(|node| node.role == Role::System) {
        let expected = "messages of the user and the assistant".to_owned();
        return Err(ImportError::Format { expected, found: format!("message {} of the system", node.id.0) });
    }
    let chosen = exported.chosen.iter().map(|chosen| (chosen.parent, chosen.child));
    let tree = Tree::from_parts(exported.nodes, chosen, last_id)?;
    let mut notes = Vec::new();
    let mut tokens = Vec::new();
    for Tokens { node, base64 } in exported.tokens {
        match STANDARD.decode(base64).ok().filter(|_| tree.node(node).is_some()) {
            Some(bytes) => tokens.push((node, bytes)),
            None => notes.push(format!("the tokens of message {} were left out: they are damaged", node.0)),
        }
    }
    Ok(Imported { head: exported.head, extra: exported.extra, tree, tokens, notes })
}

/// Whether a file with these bytes is this program's, or was meant to be: its format is named, though the rest may be damaged.
pub fn names_format(bytes: &[u8]) -> bool {
    const KEY: &[u8] = b"\"format\"";
    let value = format!("\"{FORMAT}\"");
    // Within a string the quotes would have backslashes before them.
    bytes.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).any(|(at, _)| {
        let rest = bytes.get(at + KEY.len()..).unwrap_or_default().trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|rest| rest.trim_ascii_start().starts_with(value.as_bytes()))
    })
}

/// Reads a file for an import.
///
/// # Errors
/// When it cannot be read, is too large or no UTF-8.
pub fn read(path: &Path) -> Result<String, ImportError> {
    let file = File::open(path)?;
    limit("bytes", MAX_BYTES, usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX))?;
    let mut bytes = Vec::new();
    // It may grow, or be no plain file.
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    limit("bytes", MAX_BYTES, bytes.len())?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        ImportError::NotText { line: 1 + valid.iter().filter(|byte| **byte == b'\n').count() }
    })
}

pub(super) fn limit(what: &'static str, most: u64, found: usize) -> Result<(), ImportError> {
    let found = found as u64;
    if found > most { Err(ImportError::TooLarge { what, most, found }) } else { Ok(()) }
}

fn at_line(error: serde_json::Error) -> ImportError {
    ImportError::Line { line: error.line().max(1), detail: error.to_string() }
}

/// A value for a message, however long it is.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Who speaks where a message names nobody.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    /// The person.
    pub user: &'a str,
    /// The model.
    pub assistant: &'a str,
}

impl<'a> Names<'a> {
    fn of(self, node: &'a Node) -> &'a str {
        match (&node.name, node.role) {
            (Some(name), _) => name,
            (None, Role::User) => self.user,
            (None, _) => self.assistant,
        }
    }
}

/// The path as Markdown: a heading, and each message below who says it. The messages' own Markdown is left as it is.
pub fn markdown(title: &str, tree: &Tree, names: Names<'_>) -> String {
    let mut text = format!("# {}\n", one_line(title));
    for node in tree.path() {
        let end = if node.content.ends_with('\n') { "" } else { "\n" };
        text += &format!("\n**{}**\n\n{}{end}", escaped(&one_line(names.of(node))), node.content);
    }
    text
}

/// The path as plain text: `Name: what is said`, with an empty line in between.
pub fn plain(tree: &Tree, names: Names<'_>) -> String {
    let said = |node: &&Node| format!("{}: {}\n", one_line(names.of(node)), node.content.trim_end());
    tree.path().iter().map(said).collect::<Vec<_>>().join("\n")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A name's own stars are no emphasis.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('*', "\\*").replace('_', "\\_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tree::NewNode;

    const NAMES: Names<'_> = Names { user: "You", assistant: "Guanaco" };

    fn chat() -> (ChatHead, Map<String, Value>, Tree) {
        let mut head = ChatHead::new("A talk\nof two");
        head.settings = json!({"preset": "guanaco", "temperature": 0.7});
        let extra = Map::from_iter([("later".to_owned(), json!([1, 2]))]);
        let mut tree = Tree::new();
        let question = tree.add(None, NewNode::user("Why?"));
        let answer = tree.add(Some(question), NewNode::assistant("*Because.*\n").named("A*"));
        tree.update(answer, |node| drop(node.extra.insert("unknown".to_owned(), json!({"x": null}))));
        tree.edit(answer, "Else.");
        tree.choose(answer);
        let gone = tree.add(Some(answer), NewNode::user("gone"));
        tree.delete(gone);
        (head, extra, tree)
    }

    #[test]
    fn what_is_exported_comes_back_the_same() {
        let (head, extra, tree) = chat();
        let tokens = vec![(NodeId(2), vec![0, 255, 7])];
        let text = super::json(&head, &extra, &tree, &tokens).unwrap();
        let back = from_json(&text).unwrap();
        assert_eq!((&back.head, &back.extra, &back.tokens), (&head, &extra, &tokens));
        assert_eq!(super::json(&back.head, &back.extra, &back.tree, &back.tokens).unwrap(), text);
        assert_eq!((back.tree.path_ids(), back.tree.last_id()), (tree.path_ids(), 4));
        assert!(back.notes.is_empty());
    }

    #[test]
    fn unknown_fields_at_every_level_are_kept() {
        let text = r#"{"format":"guanaco-chat","version":1,"title":"t","mood":"blue",
            "nodes":[{"id":1,"role":"user","content":"x","weather":{"rain":true}}]}"#;
        let back = from_json(text).unwrap();
        let again: Value =
            serde_json::from_str(&super::json(&back.head, &back.extra, &back.tree, &[]).unwrap()).unwrap();
        assert_eq!((&again["mood"], &again["nodes"][0]["weather"]["rain"]), (&json!("blue"), &json!(true)));
        assert!(back.tree.node(NodeId(1)).unwrap().complete);
    }

    #[test]
    fn other_files_are_refused_with_the_place() {
        let head = r#"{"format":"guanaco-chat","version":1,"nodes":"#;
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for (text, says) in [
            ("".to_owned(), "line 1: EOF"),
            ("{\n\"format\": oops}".to_owned(), "line 2: expected value"),
            ("{}".to_owned(), "got \"format\": null"),
            (r#"{"format":"guanaco-chat","version":2}"#.to_owned(), "version 2, which a newer guanaco wrote"),
            (r#"{"format":"guanaco-chat","version":"1"}"#.to_owned(), "got \"version\": \"1\""),
            (r#"{"format":"guanaco-chat","version":1}"#.to_owned(), "missing field `nodes`"),
            (format!("{head}\n[{{\"id\":1,\"role\":\"king\",\"content\":\"\"}}]}}"), "line 2: unknown variant `king`"),
            (format!("{head}[{{\"id\":1,\"role\":\"system\",\"content\":\"\"}}]}}"), "message 1 of the system"),
            (format!("{head}[{{\"id\":2,\"parent\":1,\"role\":\"user\",\"content\":\"\"}}]}}"), "follows message 1"),
            (format!("{head}[{{\"id\":1,\"role\":\"user\",\"content\":\"\",\"x\":{deep}}}]}}"), "recursion limit"),
        ] {
            let error = from_json(&text).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_damaged_chat_is_known_by_its_format() {
        let (head, extra, tree) = chat();
        let whole = super::json(&head, &extra, &tree, &[]).unwrap();
        for cut in [whole.len(), whole.len() / 2, 60] {
            assert!(names_format(whole.as_bytes().get(..cut).unwrap()), "{cut} bytes");
        }
        assert!(names_format(b"{\"title\":\"\xff\",\"format\" :\n\"guanaco-chat\""));
        let card = serde_json::json!({"name": "Ava", "description": whole, "format": "png"}).to_string();
        for other in [card.as_str(), "", "{", "{\"format\"", "{\"format\":\"guanaco\"}"] {
            assert!(!names_format(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn files_that_are_no_text_or_too_large_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, b"{\n\n\xff").unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("line 3: expected UTF-8"));
        File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("expected at most 268435456, got 268435457"));
    }

    #[test]
    fn the_path_is_written_for_people() {
        let (head, _, tree) = chat();
        assert_eq!(
            markdown(&head.title, &tree, NAMES),
            "# A talk of two\n\n**You**\n\nWhy?\n\n**A\\***\n\n*Because.*\n"
        );
        assert_eq!(plain(&tree, NAMES), "You: Why?\n\nA*: *Because.*\n");
    }
}
