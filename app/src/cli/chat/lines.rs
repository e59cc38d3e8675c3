//! Where messages come from: the line editor on a terminal, plain lines from a pipe.

use std::io::BufRead as _;
use std::path::PathBuf;

use anyhow::Context as _;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Editor, Helper};

use super::commands;
use crate::private;

/// What was typed.
pub(super) enum Line {
    /// A message or command; several lines when each but the last ended with a backslash.
    Text(String),
    /// Ctrl-C at the prompt.
    Interrupted,
    /// Ctrl-D, or the end of the pipe.
    End,
}

/// The source of lines.
pub(super) enum Lines {
    Editor { editor: Box<Editor<Commands, FileHistory>>, history: Option<PathBuf> },
    Pipe,
}

impl Lines {
    /// The editor on a terminal, with the history of earlier chats when `keep`.
    pub(super) fn open(terminal: bool, keep: bool) -> anyhow::Result<Self> {
        if !terminal {
            return Ok(Self::Pipe);
        }
        let config = Config::builder().completion_type(CompletionType::List).max_history_size(1000)?.build();
        let history = FileHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history)?;
        editor.set_helper(Some(Commands));
        let history = history_file().filter(|_| keep);
        if let Some(path) = &history {
            // There is none the first time; a chat without it is a chat all the same.
            let _ = editor.load_history(path);
        }
        Ok(Self::Editor { editor: Box::new(editor), history })
    }

    /// The next line.
    pub(super) fn next(&mut self, prompt: &str) -> anyhow::Result<Line> {
        let mut text = String::new();
        loop {
            let line = match self {
                Self::Editor { editor, .. } => match editor.readline(if text.is_empty() { prompt } else { "… " }) {
                    Ok(line) => line,
                    Err(ReadlineError::Eof) => return Ok(Line::End),
                    Err(ReadlineError::Interrupted) => return Ok(Line::Interrupted),
                    Err(ReadlineError::Signal(_)) => continue,
                    Err(error) => return Err(error).context("cannot read from the terminal"),
                },
                Self::Pipe => match read_line()? {
                    Some(line) => line,
                    None if text.is_empty() => return Ok(Line::End),
                    None => break,
                },
            };
            match line.strip_suffix('\\') {
                Some(line) => {
                    text.push_str(line);
                    text.push('\n');
                }
                None => {
                    text.push_str(&line);
                    break;
                }
            }
        }
        if let Self::Editor { editor, .. } = self
            && !text.trim().is_empty()
        {
            editor.add_history_entry(text.as_str())?;
        }
        Ok(Line::Text(text))
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Self::Editor { editor, history: Some(path) } = self {
            // A full disk must not spoil the goodbye.
            let _ = path.parent().map(private::create_folder);
            let _ = editor.append_history(path);
        }
    }
}

/// The next line of stdin without its line end; None at its end.
fn read_line() -> anyhow::Result<Option<String>> {
    let mut bytes = Vec::new();
    if std::io::stdin().lock().read_until(b'\n', &mut bytes).context("cannot read stdin")? == 0 {
        return Ok(None);
    }
    let line = String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("stdin is not UTF-8 text"))?;
    Ok(Some(line.trim_end_matches(['\n', '\r']).to_owned()))
}

fn history_file() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "guanaco")?;
    Some(dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir()).join("history.txt"))
}

/// Completes the names of commands.
pub(super) struct Commands;

impl Completer for Commands {
    type Candidate = String;

    fn complete(&self, line: &str, pos: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line.get(..pos).unwrap_or_default();
        let names = commands::NAMES.iter().filter(|(name, ..)| typed.starts_with('/') && name.starts_with(typed));
        Ok((0, names.map(|(name, ..)| (*name).to_owned()).collect()))
    }
}

impl Hinter for Commands {
    type Hint = String;
}

impl Highlighter for Commands {}
impl Validator for Commands {}
impl Helper for Commands {}
