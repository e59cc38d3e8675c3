//! The program around the engine: the command line, the window, and the worker that they share.

pub mod cache;
pub mod cards;
pub mod chat;
pub mod checkpoint;
pub mod cli;
pub mod desk;
pub mod format;
#[cfg(feature = "gui")]
pub mod gui;
pub mod hub;
mod private;
pub mod store;
pub mod tree;
pub mod tuning;
pub mod worker;
