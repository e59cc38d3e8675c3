//! Chat templates, each with a construct that public ones have, against the texts of transformers (`tests/data/templates/make.py`).

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use guanaco_engine::prompt::{BuildOptions, Conversation, Preset, build};
use guanaco_engine::tokenizer::Tokenizer;
use guanaco_tests::{Outcome, Suite, data_dir, golden_dir};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Data {
    templates: BTreeMap<String, String>,
    conversations: BTreeMap<String, Value>,
    texts: BTreeMap<String, Value>,
}

impl Data {
    fn read() -> anyhow::Result<Self> {
        let path = data_dir().join("templates/templates.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }

    fn options(&self, name: &str) -> anyhow::Result<BuildOptions> {
        let template = Some(self.templates.get(name).context("no such template")?.clone());
        Ok(BuildOptions { preset: Preset::ChatTemplate, template, ..BuildOptions::default() })
    }
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    match Data::read() {
        Err(error) => suite.case("templates", move || Err(error)),
        Ok(data) => {
            let data = Arc::new(data);
            for name in data.templates.keys() {
                let (data, name) = (data.clone(), name.clone());
                suite.case(format!("text::{name}"), move || as_transformers(&data, &name));
            }
            suite.case("neutralised", move || neutralised(&data));
        }
    }
    suite.run(None)
}

/// The text is that of transformers, and so is a refusal, but for the System block, which then goes into the input.
fn as_transformers(data: &Data, name: &str) -> Outcome {
    for (talk, messages) in &data.conversations {
        let expected = &data.texts[&format!("{name}/{talk}")];
        let conversation = Conversation::from_messages(&messages.to_string())?;
        let prompt = build(&conversation, &data.options(name)?, None)?;
        match expected.as_str() {
            Some(expected) => ensure!(prompt.text == expected, "{talk}: expected {expected:?}\n got {:?}", prompt.text),
            None => ensure!(prompt.notices.iter().any(|notice| notice.text.contains("System")), "{:?}", prompt.notices),
        }
    }
    Ok(())
}

/// Ordinary messages are not changed, with and without a tokenizer.
fn neutralised(data: &Data) -> Outcome {
    let tokenizer = match golden_dir() {
        None => None,
        Some(golden) => {
            let path = golden.join("tokenizer/tokenizer.model");
            Some(Tokenizer::from_sentencepiece_bytes(&std::fs::read(&path)?, &path)?)
        }
    };
    let (mut count, mut changed) = (0, 0);
    for name in data.templates.keys() {
        for messages in data.conversations.values() {
            let conversation = Conversation::from_messages(&messages.to_string())?;
            let prompt = build(&conversation, &data.options(name)?, tokenizer.as_ref())?;
            changed += usize::from(!prompt.neutralised.is_empty());
            count += 1;
        }
    }
    println!("{changed} of {count} prompts are neutralised");
    ensure!(changed == 0, "{changed} of {count} prompts of ordinary messages are neutralised");
    Ok(())
}
