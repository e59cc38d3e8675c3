//! What may be typed in a chat besides messages: `/system`, `/undo`, ….

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::prompt::{Character, Keywords, Source, System};

use super::Talk;
use super::save::Saved;
use crate::chat::Turn;
use crate::cli::{input, note, prompt};
use crate::format::PresetChoice;

/// Name, arguments and purpose of each command, as `/help` shows them.
pub(super) const NAMES: &[(&str, &str, &str)] = &[
    ("/system", "[TEXT | @FILE | -]", "shows, sets or clears the knowledge that answers are taken from"),
    ("/source", "[FILE [LINK] | -]", "shows the sources, adds a text file as one, or clears them"),
    ("/keywords", "[no-idea forbidden sfw | -]", "shows, sets or clears the reserved keywords"),
    ("/character", "[NAME | NAME = DESCRIPTION | -]", "shows, sets or clears whom the model plays"),
    ("/continue", "", "goes on with the last reply"),
    ("/regenerate", "", "makes the last reply again"),
    ("/undo", "", "takes your last message and its reply back"),
    ("/reset", "", "begins a new conversation; the System block and the character stay"),
    ("/save", "[FILE]", "writes the conversation and its settings to a JSON file (guanaco chat --resume FILE)"),
    ("/prompt", "[TEXT]", "shows the exact prompt: the last one, or the one for TEXT"),
    ("/preset", "[NAME]", "shows or sets the prompt's format"),
    ("/stats", "", "shows figures of this chat"),
    ("/reload", "", "loads the model again, on a new device; the conversation stays"),
    ("/help", "", "shows this; a message that begins with / is typed with two: //"),
    ("/quit", "", "leaves (Ctrl-D too)"),
];

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    Say(String),
    Regenerate,
    Continue,
    Quit,
    /// Any other command: its name and what follows.
    Command(&'static str, String),
    Unknown(String),
}

/// Reads a line.
pub(super) fn parse(line: &str) -> Action {
    let line = line.trim();
    let Some(rest) = line.strip_prefix('/') else { return Action::Say(line.to_owned()) };
    if rest.starts_with('/') {
        return Action::Say(rest.to_owned());
    }
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = name.to_lowercase();
    let full = match name.as_str() {
        "/exit" | "/bye" | "/q" => "/quit",
        "/?" => "/help",
        other => other,
    };
    match NAMES.iter().find(|(known, ..)| *known == full) {
        Some(("/quit", ..)) => Action::Quit,
        Some(("/regenerate", ..)) => Action::Regenerate,
        Some(("/continue", ..)) => Action::Continue,
        Some((name, ..)) => Action::Command(name, argument.trim().to_owned()),
        None => Action::Unknown(name),
    }
}

impl Talk {
    /// Does what is no reply.
    pub(super) fn command(&mut self, action: Action) -> anyhow::Result<()> {
        let (name, argument) = match action {
            Action::Command(name, argument) => (name, argument),
            Action::Unknown(name) => bail!("there is no command {name}; /help lists them all"),
            _ => return Ok(()),
        };
        match (name, argument.as_str()) {
            ("/help", _) => help(),
            ("/system", "") => self.show_system(),
            ("/system", argument) => self.set_system(argument)?,
            ("/source", argument) => self.source(argument)?,
            ("/keywords", argument) => self.keywords(argument)?,
            ("/character", argument) => self.character(argument),
            ("/preset", argument) => self.preset(argument)?,
            ("/undo", _) => self.undo()?,
            ("/reset", _) => {
                self.chat.conversation.messages.clear();
                self.told.clear();
                self.last = None;
                self.driver.clear()?;
                self.begin_as_card();
                note::dim("A new conversation.");
            }
            ("/save", argument) => self.save(argument)?,
            ("/prompt", argument) => self.show_prompt(argument)?,
            ("/stats", _) => self.stats(),
            ("/reload", _) => {
                self.driver.reload()?;
                note::dim("The model is loaded again; the conversation stays.");
            }
            (name, _) => bail!("{name} is not written"),
        }
        Ok(())
    }

    fn show_system(&self) {
        let system = &self.chat.conversation.system;
        if system.knowledge.is_empty() {
            note::dim("The System block holds no knowledge. /system TEXT sets it, /source FILE adds a source.");
        } else {
            note::line("35", &system.knowledge);
        }
        self.show_rest();
    }

    fn show_rest(&self) {
        let system = &self.chat.conversation.system;
        for source in &system.sources {
            note::dim(&format!("source: {} ({} characters)", source.title, source.text.chars().count()));
        }
        let keywords: Vec<&str> = system.keywords.names().collect();
        if !keywords.is_empty() {
            note::dim(&format!("keywords: {}", keywords.join(", ")));
        }
    }

    fn set_system(&mut self, argument: &str) -> anyhow::Result<()> {
        let system = &mut self.chat.conversation.system;
        self.told.clear();
        if argument == "-" {
            *system = System::default();
            note::dim("The System block is empty.");
            return Ok(());
        }
        let read = System::from_block(input::text(argument)?.trim_end());
        system.knowledge = read.knowledge;
        if read.keywords != Keywords::default() {
            system.keywords = read.keywords;
        }
        note::dim("The System block is set; it goes into the next prompt.");
        self.show_rest();
        Ok(())
    }

    fn source(&mut self, argument: &str) -> anyhow::Result<()> {
        let sources = &mut self.chat.conversation.system.sources;
        match argument {
            "" if sources.is_empty() => note::dim("No sources. /source FILE adds a text file as one."),
            "" => self.show_rest(),
            "-" => {
                sources.clear();
                note::dim("No sources any more.");
            }
            argument => {
                let (path, link) = match argument.rsplit_once(' ') {
                    Some((path, link)) if link.contains("://") => (path.trim(), Some(link.to_owned())),
                    _ => (argument, None),
                };
                let path = Path::new(path);
                let text = input::file(path)?.trim().to_owned();
                ensure!(!text.is_empty(), "{} is empty", path.display());
                let title = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                note::dim(&format!("Source {title}: {} characters.", text.chars().count()));
                sources.push(Source { title, link, text, enabled: true });
                self.told.clear();
            }
        }
        Ok(())
    }

    fn keywords(&mut self, argument: &str) -> anyhow::Result<()> {
        let keywords = &mut self.chat.conversation.system.keywords;
        if argument == "-" {
            *keywords = Keywords::default();
        } else if !argument.is_empty() {
            let mut set = Keywords::default();
            let plain = argument.to_lowercase().replace("no idea", "no-idea");
            for word in plain.split([' ', ',']).filter(|word| !word.is_empty()) {
                match word {
                    "no-idea" | "no_idea" | "noidea" => set.no_idea = true,
                    "forbidden" => set.forbidden = true,
                    "sfw" => set.sfw = true,
                    other => bail!("there is no keyword {other}; expected no-idea, forbidden or sfw"),
                }
            }
            *keywords = set;
        }
        let names: Vec<&str> = keywords.names().collect();
        note::dim(&format!("keywords: {}", if names.is_empty() { "none".to_owned() } else { names.join(", ") }));
        Ok(())
    }

    fn character(&mut self, argument: &str) {
        if !argument.is_empty() {
            self.played = None;
        }
        let character = &mut self.chat.conversation.character;
        match argument {
            "" => {}
            "-" => *character = None,
            argument => {
                let (name, description) = argument.split_once('=').unwrap_or((argument, ""));
                *character = Some(Character {
                    name: name.trim().to_owned(),
                    description: description.trim().to_owned(),
                    force_name: self.force_name,
                });
            }
        }
        match character {
            None => note::dim("The model plays nobody. /character NAME sets whom."),
            Some(character) if character.description.is_empty() => {
                note::dim(&format!("The model plays {}. /system tells it who that is.", character.name));
            }
            Some(character) => note::dim(&format!("The model plays {}: {}", character.name, character.description)),
        }
    }

    fn preset(&mut self, argument: &str) -> anyhow::Result<()> {
        if !argument.is_empty() {
            self.chat.preset = argument.parse()?;
        }
        let explained = self.chat.preset.explain(self.driver.model.files.chat_template.as_deref());
        let names: Vec<_> = PresetChoice::all().map(PresetChoice::name).collect();
        note::dim(&format!("preset: {explained}; /preset takes {}", names.join(", ")));
        Ok(())
    }

    fn undo(&mut self) -> anyhow::Result<()> {
        let text = self.chat.undo().context("there is nothing to take back")?;
        note::dim(&format!("Taken back: {text}"));
        Ok(())
    }

    fn save(&mut self, argument: &str) -> anyhow::Result<()> {
        let path = match (argument, &self.file) {
            ("", Some(path)) => path.clone(),
            ("", None) => PathBuf::from("chat.json"),
            (argument, _) => PathBuf::from(argument),
        };
        let ours = self.file.as_ref() == Some(&path);
        ensure!(ours || !path.exists(), "{} exists already: give another name", path.display());
        Saved::of(&self.chat).write(&path)?;
        note::dim(&format!("Saved; guanaco chat --resume {} goes on.", path.display()));
        self.file = Some(path);
        Ok(())
    }

    fn show_prompt(&self, argument: &str) -> anyhow::Result<()> {
        let built;
        let shown = match (argument, &self.last) {
            ("", Some((prompt, _))) => prompt,
            ("", None) => bail!("there was no prompt yet; /prompt TEXT shows the one for TEXT"),
            (text, _) => {
                let (mut chat, turn, files) = (self.chat.clone(), Turn::Say(text.to_owned()), &self.driver.model.files);
                if let Some(played) = &self.played {
                    played.play(&mut chat.conversation, &turn, files, self.force_name);
                }
                built = chat.prepare(turn, files)?.prompt;
                &built
            }
        };
        note::line("36", &shown.text);
        prompt::account(shown);
        Ok(())
    }

    fn stats(&self) {
        let totals = &self.totals;
        let rate = |tokens: usize, seconds: f64| if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
        let model = &self.driver.model;
        note::dim(&format!("{} on {}", model.files.name, model.adapter));
        for fallback in &model.fallbacks {
            note::dim(&format!("another kernel runs in place of {fallback}"));
        }
        note::dim(&model.memory.to_string());
        note::dim(&format!(
            "{} replies, {} tokens · prompts: {} tokens cached, {} new ({:.1} tok/s) · decode {:.1} tok/s",
            totals.replies,
            totals.tokens,
            totals.cached,
            totals.new,
            rate(totals.new, totals.prefill_s),
            rate(totals.decode_tokens, totals.decode_s)
        ));
        let sampler = &self.chat.sampler;
        note::dim(&format!(
            "temperature {}, top_k {}, top_p {}, repetition_penalty {}{} · next seed {}",
            sampler.temperature,
            sampler.top_k,
            sampler.top_p,
            sampler.repetition_penalty,
            if sampler.greedy { ", greedy" } else { "" },
            sampler.seed
        ));
    }
}

fn help() {
    for (name, arguments, purpose) in NAMES {
        note::dim(&format!("{:<46} {purpose}", format!("{name} {arguments}")));
    }
    note::dim("A line that ends with \\ goes on with the next. Tab completes commands.");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        assert_eq!(parse(" Hello /there "), Action::Say("Hello /there".into()));
        assert_eq!(parse("//etc"), Action::Say("/etc".into()));
        assert_eq!(parse("/undo"), Action::Command("/undo", String::new()));
        assert_eq!(parse("/system  a b\nc "), Action::Command("/system", "a b\nc".into()));
        assert_eq!(parse("/REGENERATE"), Action::Regenerate);
        assert_eq!(parse("/exit"), Action::Quit);
        assert_eq!(parse("/etc/passwd"), Action::Unknown("/etc/passwd".into()));
    }
}
