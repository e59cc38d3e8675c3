//! The prompt builder: every byte that the model reads, and an account of it.
//!
//! [`build`] turns a [`Conversation`] into a [`Prompt`] in the format of a [`Preset`]. Decisions that its callers meet:
//!
//! - **System block**: the character's description, the knowledge, the sources that are switched on (`Source: title (link)` in
//!   the conversation's language, then the text), and the keywords `NO IDEA`, `FORBIDDEN`, `SFW`, a line each, in this order.
//!   When all are empty the `System:` line is left out. [`System::from_block`] reads the written form back.
//! - **Tokenizer**: with one there are ids and counts; without one [`Prompt::ids`] and all counts are None, and asking for a
//!   budget is an error. BOS is in `ids`, never in `text` (but for chat templates, which write it themselves).
//! - **Budget**: `max_tokens - reserve` is what the prompt may have. Turns go whole, oldest first; see [`Prompt::dropped`].
//!   What must stay is the System block, the new input and a reply to go on with.
//! - **Special tokens** of a chat template come from the template's own text: they are not recognised where it prints a name, a
//!   message or the System block. Where the template changes such a text, or without a tokenizer, they are quoted.
//! - **Markers** in a text are quoted (`> User:`, `# # # Response:`), and reported in [`Prompt::neutralised`].
//! - **Role-play**: with `force_name` the prompt ends with `Name:` and [`Prompt::reply_prefix`] says so; the model's text
//!   begins behind it, usually with a space. Show `reply_prefix + text`, or [`parse_reply`] it. Replies in the history are
//!   written as they are, or with [`Message::name`] in front.
//! - **Continuation** (`continue_last`): the last message is the reply so far, and the prompt ends inside it. What is generated
//!   is appended to it as it comes, spaces included: use [`crate::tokenizer::DetokenizeStream::after_context`].
//! - **Presets without a slot** for the System block (`guanaco-lora`) or for history (`guanaco-lora-instruct`) leave it out and
//!   say so in [`Prompt::dropped`] and [`Prompt::notices`].
//! - **Stops**: [`Prompt::stop`] are texts, [`Prompt::stop_ids`] ids; EOS always stops besides.

mod bounded;
mod build;
mod character;
mod conversation;
mod depth;
mod language;
mod markers;
mod marks;
mod neutralise;
mod presets;
mod template;
mod texts;
mod tojson;
mod turn_ends;

pub use build::{BuildOptions, DropReason, Dropped, Notice, NoticeKind, Prompt, Section, build};
pub use character::{mend_name, parse_reply};
pub use conversation::{Character, Conversation, Keywords, Message, Role, Source, System};
pub use language::Language;
pub use neutralise::{Neutralised, Place};
pub use presets::{Preset, SectionKind};
pub use template::{chat_template_in, read_chat_template};
pub use turn_ends::turn_end_ids;
