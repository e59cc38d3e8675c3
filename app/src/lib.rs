//! The program around the engine: the command line, and the worker that it shares with every other front end.

pub mod cache;
pub mod chat;
pub mod checkpoint;
pub mod cli;
#[cfg(feature = "gui")]
pub mod gui;
pub mod hub;
pub mod store;
pub mod tree;
pub mod tuning;
pub mod worker;
