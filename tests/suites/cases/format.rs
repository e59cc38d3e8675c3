//! The prompt format that a model decides.

use std::path::Path;

use guanaco_tests::Suite;

pub fn cases(_suite: &mut Suite, _root: &Path) {}
