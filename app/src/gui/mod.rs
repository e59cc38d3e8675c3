//! The window's languages, fonts and colours.

pub mod fonts;
pub mod text;
pub mod theme;
