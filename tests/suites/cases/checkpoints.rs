//! Checkpoints, GPTQ, RoPE and LoRAs as people have them.

use std::path::Path;

use guanaco_tests::Suite;

pub(crate) fn cases(_suite: &mut Suite, _root: &Path) {}
