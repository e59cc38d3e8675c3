//! Chat templates against transformers.

use std::path::Path;

use anyhow::{Context as _, ensure};
use guanaco_tests::{Outcome, Suite};

use super::{Case, case, json, numbers};

pub(crate) fn cases(suite: &mut Suite, root: &Path) {
    for name in ["10-template-generation-tag", "11-template-tools-none", "12-template-double-bos"] {
        case(suite, root, name, as_transformers);
    }
}

/// Text and ids of each template of a case are those of transformers.
fn as_transformers(case: &Case) -> Outcome {
    let expected = case.expect["transformers"].as_object().context("expect.json has no `transformers`")?;
    ensure!(!expected.is_empty(), "no template is expected");
    let messages = case.path("talk.json");
    for (name, expected) in expected {
        let model = case.path(name);
        let arguments = ["prompt", "--model", &model, "--preset", "chat-template", "--messages", &messages, "--json"];
        let got = json(&arguments)?;
        ensure!(got["prompt"] == expected["text"], "{name}: expected {}, got {}", expected["text"], got["prompt"]);
        let (got, expected) = (numbers(&got["ids"])?, numbers(&expected["ids"])?);
        ensure!(got == expected, "{name}: expected {expected:?}, got {got:?}");
    }
    Ok(())
}
