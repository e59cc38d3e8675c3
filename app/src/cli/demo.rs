//! `guanaco demo`: a scripted chat, for who has no terminal, and to see at once what the model does.

use std::collections::HashMap;
use std::io::IsTerminal as _;

use anyhow::{Context as _, ensure};
use guanaco_engine::prompt::{Character, Conversation, Language, System};
use guanaco_engine::sampler::SamplerConfig;
use guanaco_engine::session::FinishReason;
use serde::Deserialize;

use super::driver::Driver;
use super::generate::{no_tokenizer, print};
use super::{Globals, Interrupted, note};
use crate::chat::{Chat, Turn};
use crate::checkpoint::DEMO;

/// Plays a short scripted chat
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco demo
  guanaco demo --adapter llvmpipe
  guanaco demo --model models/guanaco-7b     the same questions to another model")]
pub struct Args {
    /// Only the first N questions
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// One question of the script.
#[derive(Deserialize)]
struct Scene {
    title: String,
    lang: String,
    system: Option<String>,
    character: Option<String>,
    input: String,
    /// Scenes with the same one are one conversation.
    chat: Option<String>,
}

/// How the stage looks.
struct Stage {
    colour: bool,
}

impl Stage {
    fn style(&self, code: &str, text: &str) -> String {
        note::style(self.colour, code, text)
    }

    fn line(&self, label: &str, code: &str, text: &str) -> std::io::Result<()> {
        let indented = text.replace('\n', "\n            ");
        print(&format!("  {}  {indented}\n", self.style(code, &format!("{label:>8}"))))
    }
}

/// Runs the subcommand.
///
/// # Errors
/// When the model cannot be loaded, or a reply fails or stays empty.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let scenes = scenes()?;
    let files = globals.open_files()?;
    ensure!(files.tokenizer.is_some(), no_tokenizer(&files.name));
    let mut driver = Driver::load(globals, files, 1)?;
    let model = driver.model.clone();
    let stage = Stage { colour: note::colour(std::io::stdout().is_terminal()) };
    print(&format!(
        "\n  {}\n  {}\n",
        stage.style("1", &format!("Guanaco · {} on {}", model.files.name, model.adapter.name)),
        stage.style("2", &about(&model))
    ))?;
    let mut chats: HashMap<String, Conversation> = HashMap::new();
    let (mut tokens, mut seconds) = (0, 0.0);
    let scenes = scenes.into_iter().take(args.limit.unwrap_or(usize::MAX));
    for scene in scenes {
        let continued = scene.chat.as_ref().and_then(|id| chats.get(id)).cloned();
        print(&format!("\n  {}\n", stage.style("1;36", &format!("{} ({})", scene.title, scene.lang))))?;
        if let (Some(system), None) = (&scene.system, &continued) {
            stage.line("System", "35", system)?;
        }
        stage.line("You", "32", &scene.input)?;

        let mut chat = Chat::new(SamplerConfig::greedy(), 200);
        chat.conversation = continued.unwrap_or_default();
        chat.conversation.system = System::from_block(scene.system.as_deref().unwrap_or_default());
        chat.conversation.language = scene.lang.parse::<Language>()?;
        chat.conversation.character =
            scene.character.map(|name| Character { name, description: String::new(), force_name: false });
        let pending = chat.prepare(Turn::Say(scene.input), &model.files)?;
        print(&format!("  {}  ", stage.style("33", " Guanaco")))?;
        let mut begun = false;
        let reply = driver.generate(pending.request.clone(), &mut |text| {
            let text = if begun { text } else { text.trim_start() };
            begun = begun || !text.is_empty();
            print(&text.replace('\n', "\n            "))
        })?;
        print("\n")?;
        ensure!(reply.finish != FinishReason::Stopped, Interrupted);
        ensure!(!reply.text.trim().is_empty(), "the model said nothing to this");
        tokens += reply.timings.decode_tokens;
        seconds += reply.timings.decode.as_secs_f64();
        chat.finish(pending, &reply);
        if let Some(id) = scene.chat {
            chats.insert(id, chat.conversation);
        }
    }
    let rate = if seconds > 0.0 { format!(" ({:.0} tok/s here)", tokens as f64 / seconds) } else { String::new() };
    let closing = format!(
        "That was a very small model{rate}. Go on with:\n    \
         guanaco chat                   talk with it yourself\n    \
         guanaco chat --model FOLDER    talk with a LLaMA checkpoint of yours (safetensors)\n    \
         guanaco --help                 everything else"
    );
    print(&format!("\n  {}\n\n", stage.style("2", &closing)))?;
    Ok(())
}

fn scenes() -> anyhow::Result<Vec<Scene>> {
    let lines = DEMO.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).with_context(|| format!("the demo's script: {line}"))).collect()
}

fn about(model: &crate::worker::Model) -> String {
    let config = &model.files.config;
    format!(
        "{} layers of {}, a vocabulary of {}, {} tokens of context; greedy replies, nothing canned",
        config.n_layers, config.dim, config.vocab_size, model.files.max_seq_len
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_script_can_be_read() {
        let scenes = super::scenes().unwrap();
        assert!(scenes.len() > 5);
        for scene in scenes {
            assert!(!scene.input.is_empty() && scene.lang.parse::<super::Language>().is_ok(), "{}", scene.title);
        }
    }
}
