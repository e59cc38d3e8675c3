//! The window's languages, fonts and colours.

pub mod text;
