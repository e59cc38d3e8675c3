//! Character cards: read and written in the versions V1, V2 (malfoyslastname's character-card-spec-v2) and V3 (kwaroran's
//! character-card-spec-v3), and turned into what the prompt builder takes.
//!
//! - [`Card`] keeps the JSON as it came: fields that nobody here knows survive every round trip. [`Card::read`] takes PNG,
//!   APNG, JSON and CHARX; [`Card::to_json`], [`Card::to_png`] and [`Card::to_charx`] write them.
//! - A card is a stranger's file: all that it can ask for is bounded ([`limits`]), and refused with a [`CardError`] that says
//!   why. Nothing that it names is ever fetched.
//! - [`compose`] puts cards and messages into the builder's form, with an account of the [`lorebook`] entries that took part;
//!   [`greetings`] are what a character can begin with.

mod card;
mod charx;
mod compose;
mod convert;
mod create;
pub mod decorators;
mod error;
mod json;
pub mod limits;
pub mod lorebook;
pub mod macros;
mod pattern;
mod picture;
mod png;
mod read;
mod words;

pub use card::{AssetLink, Card, List, Text, Version};
pub use charx::Asset;
pub use compose::{Cast, Composition, compose, greetings, group_greetings, mend_name};
pub use error::CardError;
pub use lorebook::{Activated, LoreAccount, Lorebook, Place, Why};
pub use picture::{Format as PictureFormat, Size as PictureSize, portrait as check_portrait, size as picture_size};
pub use read::Read;
