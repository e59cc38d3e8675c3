//! One message of a conversation, and what is known of how a reply came about.

use guanaco_engine::prompt::Role;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Names a message within its chat. Ids ascend, and none is given twice, even when its message is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

/// One message at its place in the tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Above that of its parent: what answers is younger.
    pub id: NodeId,
    /// The message that this one follows; None for one that begins the conversation.
    #[serde(default)]
    pub parent: Option<NodeId>,
    /// Who speaks: the person or the model.
    pub role: Role,
    /// The text, as typed or as generated.
    pub content: String,
    /// The character who speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was begun, in milliseconds since 1970 (UTC).
    #[serde(default)]
    pub created_ms: u64,
    /// False while it streams, and for good where the stream was cut off.
    #[serde(default = "yes")]
    pub complete: bool,
    /// How the model made it; None for what was typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyInfo>,
    /// Fields of other programs and of later versions, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Node {
    /// Whether it is shown but left out of the prompt, as other programs' system notices are.
    pub fn hidden(&self) -> bool {
        self.extra.get("hidden").and_then(Value::as_bool).unwrap_or(false)
    }
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// How a reply was made, for the line below it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplyInfo {
    /// The model's name.
    pub model: String,
    /// What the sampler began with.
    pub seed: u64,
    /// Tokens a second while decoding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tok_per_s: Option<f64>,
    /// From the request to the first token, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// Tokens of the prompt that were in the KV cache.
    pub cached: usize,
    /// Tokens of the prompt that were computed.
    pub new: usize,
    /// Tokens of the reply.
    pub n_tokens: usize,
    /// How many messages were left out of the prompt.
    #[serde(skip_serializing_if = "is_zero")]
    pub n_dropped: usize,
    /// The youngest of them, a line each: `budget`, `depth` or `no-slot`, a colon, and the first words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// The reserved keywords that the prompt allowed or the reply used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// True when the prompt held a source for what it says, or its format asks for none.
    pub sourced: bool,
    /// Why it ended; None where it was cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// Fields of later versions, kept as they are.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A message that is not in the tree yet.
#[derive(Debug, Clone, PartialEq)]
pub struct NewNode {
    /// Who speaks.
    pub role: Role,
    /// The text; may be empty for a reply that is about to stream.
    pub content: String,
    /// The character who speaks.
    pub name: Option<String>,
    /// In milliseconds since 1970 (UTC).
    pub created_ms: u64,
    /// False for a reply that is about to stream.
    pub complete: bool,
    /// How the model made it.
    pub reply: Option<ReplyInfo>,
    /// Fields that are kept as they are.
    pub extra: Map<String, Value>,
}

impl NewNode {
    /// A complete message of now.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            name: None,
            created_ms: now_ms(),
            complete: true,
            reply: None,
            extra: Map::new(),
        }
    }

    /// What a person typed.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// What a model said.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// An empty reply that is about to stream.
    pub fn streaming() -> Self {
        Self { complete: false, ..Self::assistant("") }
    }

    /// A copy of `node`, for another place or chat.
    pub fn like(node: &Node) -> Self {
        let Node { role, content, name, created_ms, complete, reply, extra, .. } = node.clone();
        Self { role, content, name, created_ms, complete, reply, extra }
    }

    /// The same, said by the character `name`.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }
}

/// The time in milliseconds since 1970 (UTC).
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What a store must write after a change of the tree.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all of them are messages: a box would only be one more allocation"
)]
pub enum TreeChange {
    /// The message is new, or as it is now.
    Node(Node),
    /// The message is gone.
    Removed(NodeId),
    /// Which child the path goes through at `parent`; at None, which beginning.
    Chosen {
        /// The fork; None where conversations begin.
        parent: Option<NodeId>,
        /// The child.
        child: NodeId,
    },
}

impl TreeChange {
    /// The message that is written, if that is what it is about.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Node(node) => Some(node.id),
            Self::Removed(_) | Self::Chosen { .. } => None,
        }
    }
}

/// A subtree that was taken out, for [`super::Tree::restore`].
#[derive(Debug, Clone, PartialEq)]
pub struct Removed {
    /// Its root.
    pub(super) id: NodeId,
    /// Its messages, each after its parent.
    pub(super) nodes: Vec<Node>,
    /// The choices within it.
    pub(super) chosen: Vec<(NodeId, NodeId)>,
    /// Whether the path went through its root.
    pub(super) was_chosen: bool,
}

impl Removed {
    /// The messages that went, each after its parent.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
}
