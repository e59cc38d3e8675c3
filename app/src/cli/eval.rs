//! `guanaco eval`: how often a model answers exactly as it should, and how well it foresees a text.

mod perplexity;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use guanaco_engine::prompt::{Character, Conversation, Message, System};
use guanaco_engine::sampler::SamplerConfig;
use guanaco_engine::session::FinishReason;
use serde::{Deserialize, Serialize};

use super::driver::Driver;
use super::generate::no_tokenizer;
use super::{Globals, Interrupted, input, note, output};
use crate::chat::{Chat, Turn, reply_text};

/// Measures how good a model is
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco eval dialogues heldout.jsonl             exact matches by skill and language
  guanaco eval dialogues heldout.jsonl --min 90    exit code 1 when a cell is below 90 %
  guanaco eval perplexity --text wiki.txt A B      what a quantisation costs
  guanaco eval dialogues --help                    the form of the file")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Dialogues(Dialogues),
    Perplexity(perplexity::Perplexity),
}

/// Exact matches of greedy replies with the expected ones, by skill and language
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco eval dialogues heldout.jsonl
  guanaco eval dialogues heldout.jsonl --limit 100 --min 90 --json

FILE has a JSON object a line: {\"skill\":…,\"lang\":…,\"system\":… or null,\"character\":… or null,
  \"history\":[{\"role\":…,\"content\":…}],\"input\":…,\"answer\":…} and may have \"prompt\", the exact prompt.

--json: {\"total\":N,\"right\":N,\"percent\":…,\"cells\":[{\"skill\":…,\"lang\":…,\"total\":N,\"right\":N,\"percent\":…}],
  \"wrong\":[{\"line\":N,\"skill\":…,\"lang\":…,\"input\":…,\"answer\":…,\"reply\":…}]}")]
struct Dialogues {
    /// The dialogues, a JSON object a line; - for stdin
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Only the first N dialogues
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Fails (exit 1) when any cell of the table is below this
    #[arg(long, value_name = "PERCENT")]
    min: Option<f64>,
    /// Shows up to N wrong replies
    #[arg(long, value_name = "N", default_value_t = 0)]
    wrong: usize,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Dialogue {
    skill: String,
    lang: String,
    #[serde(default)]
    system: Option<String>,
    #[serde(default)]
    character: Option<String>,
    #[serde(default)]
    history: Vec<Message>,
    input: String,
    #[serde(default)]
    prompt: Option<String>,
    answer: String,
}

#[derive(Serialize)]
struct Wrong {
    line: usize,
    skill: String,
    lang: String,
    input: String,
    answer: String,
    reply: String,
}

#[derive(Clone, Copy, Default)]
struct Count {
    right: usize,
    total: usize,
}

impl Count {
    fn add(&mut self, right: bool) {
        self.total += 1;
        self.right += usize::from(right);
    }

    fn percent(self) -> f64 {
        if self.total == 0 { 100.0 } else { 100.0 * self.right as f64 / self.total as f64 }
    }
}

#[derive(Serialize)]
struct Cell {
    skill: String,
    lang: String,
    total: usize,
    right: usize,
    percent: f64,
}

/// Counts by skill and language, both in the order of the file.
#[derive(Default)]
struct Table {
    skills: Vec<String>,
    langs: Vec<String>,
    cells: BTreeMap<(usize, usize), Count>,
}

impl Table {
    fn add(&mut self, skill: &str, lang: &str, right: bool) {
        let at = (index(&mut self.skills, skill), index(&mut self.langs, lang));
        self.cells.entry(at).or_default().add(right);
    }

    fn sum(&self, keep: impl Fn(usize, usize) -> bool) -> Count {
        let kept = self.cells.iter().filter(|((skill, lang), _)| keep(*skill, *lang)).map(|(_, count)| count);
        kept.fold(Count::default(), |sum, count| Count {
            right: sum.right + count.right,
            total: sum.total + count.total,
        })
    }

    fn cells(&self) -> Vec<Cell> {
        let cell = |(&(skill, lang), count): (&(usize, usize), &Count)| Cell {
            skill: self.skills[skill].clone(),
            lang: self.langs[lang].clone(),
            total: count.total,
            right: count.right,
            percent: count.percent(),
        };
        self.cells.iter().map(cell).collect()
    }

    fn print(&self, out: &mut impl std::io::Write) -> std::io::Result<()> {
        let show = |count: Count| match count.total {
            0 => "-".to_owned(),
            _ => format!("{:.1}%", count.percent()),
        };
        write!(out, "{:<12}", "skill")?;
        for lang in &self.langs {
            write!(out, "{lang:>8}")?;
        }
        writeln!(out, "{:>8}{:>12}", "all", "right")?;
        for (row, skill) in self.skills.iter().enumerate() {
            write!(out, "{skill:<12}")?;
            for column in 0..self.langs.len() {
                write!(out, "{:>8}", show(self.sum(|skill, lang| skill == row && lang == column)))?;
            }
            let sum = self.sum(|skill, _| skill == row);
            writeln!(out, "{:>8}{:>12}", show(sum), format!("{}/{}", sum.right, sum.total))?;
        }
        write!(out, "{:<12}", "all")?;
        for column in 0..self.langs.len() {
            write!(out, "{:>8}", show(self.sum(|_, lang| lang == column)))?;
        }
        let sum = self.sum(|_, _| true);
        writeln!(out, "{:>8}{:>12}", show(sum), format!("{}/{}", sum.right, sum.total))
    }
}

fn index(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
}

/// Runs the subcommand.
///
/// # Errors
/// When the file is not of its form, a prompt is not the expected one, or a cell is below `--min`.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    match args.what {
        What::Dialogues(args) => dialogues(&args, globals),
        What::Perplexity(args) => perplexity::run(&args, globals),
    }
}

fn dialogues(args: &Dialogues, globals: &Globals) -> anyhow::Result<()> {
    let name = args.file.display().to_string();
    let text = input::file(&args.file)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let dialogues = lines
        .take(args.limit.unwrap_or(usize::MAX))
        .map(|(at, line)| {
            let dialogue: Dialogue = serde_json::from_str(line)
                .with_context(|| format!("line {} is not a dialogue; file: {name}", at + 1))?;
            Ok((at + 1, dialogue))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!dialogues.is_empty(), "there is no dialogue in {name}");

    let files = globals.open_files()?;
    ensure!(files.tokenizer.is_some(), no_tokenizer(&files.name));
    let mut driver = Driver::load(globals, files, 1)?;
    let (mut table, mut wrong) = (Table::default(), Vec::new());
    let count = dialogues.len();
    for (done, (line, dialogue)) in dialogues.into_iter().enumerate() {
        progress(done, count);
        let reply = answer(&mut driver, &dialogue).with_context(|| format!("line {line} of {name}"))?;
        let right = reply == dialogue.answer.trim();
        table.add(&dialogue.skill, &dialogue.lang, right);
        if !right {
            let Dialogue { skill, lang, input, answer, .. } = dialogue;
            wrong.push(Wrong { line, skill, lang, input, answer, reply });
        }
    }
    progress(count, count);
    report(args, &table, &wrong)?;
    if let Some(min) = args.min {
        let below: Vec<String> = table
            .cells()
            .iter()
            .filter(|cell| cell.percent < min)
            .map(|cell| format!("{} in {} ({:.1} %)", cell.skill, cell.lang, cell.percent))
            .collect();
        ensure!(below.is_empty(), "below {min} %: {}", below.join(", "));
    }
    Ok(())
}

/// The greedy reply to a dialogue.
fn answer(driver: &mut Driver, dialogue: &Dialogue) -> anyhow::Result<String> {
    let mut chat = Chat::new(SamplerConfig::greedy(), 256);
    chat.conversation = Conversation {
        system: System::from_block(dialogue.system.as_deref().unwrap_or_default()),
        // The model has to begin with the name itself.
        character: dialogue.character.as_ref().map(|name| Character { name: name.clone(), ..Character::default() }),
        messages: dialogue.history.clone(),
        ..Conversation::default()
    };
    let pending = chat.prepare(Turn::Say(dialogue.input.clone()), &driver.model.files)?;
    if let Some(expected) = dialogue.prompt.as_ref().filter(|expected| **expected != pending.prompt.text) {
        bail!("the prompt is {:?}, expected {expected:?}", pending.prompt.text);
    }
    let reply = driver.generate(pending.request, &mut |_| Ok(()))?;
    ensure!(reply.finish != FinishReason::Stopped, Interrupted);
    Ok(reply_text(&pending.prompt, &reply.text))
}

fn progress(done: usize, count: usize) {
    let mut stderr = std::io::stderr().lock();
    if stderr.is_terminal() {
        let _ = if done < count { write!(stderr, "\r{done} of {count}") } else { write!(stderr, "\r\x1b[2K") };
    }
}

fn report(args: &Dialogues, table: &Table, wrong: &[Wrong]) -> anyhow::Result<()> {
    let sum = table.sum(|_, _| true);
    if args.json {
        #[derive(Serialize)]
        struct Report<'a> {
            total: usize,
            right: usize,
            percent: f64,
            cells: Vec<Cell>,
            wrong: &'a [Wrong],
        }
        let (total, right, percent) = (sum.total, sum.right, sum.percent());
        return output::json(&Report { total, right, percent, cells: table.cells(), wrong });
    }
    let mut out = output::stdout();
    table.print(&mut out)?;
    for Wrong { line, skill, lang, input, answer, reply } in wrong.iter().take(args.wrong) {
        writeln!(
            out,
            "\nline {line}, {skill} in {lang}: {input}\n  expected  {answer}\n  got       {}",
            output::shown(reply)
        )?;
    }
    out.flush()?;
    if sum.right < sum.total && args.wrong == 0 {
        note::dim("--wrong 10 shows replies that are not as expected");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_counts_by_skill_and_language() {
        let mut table = Table::default();
        for (skill, lang, right) in
            [("greet", "en", true), ("greet", "de", false), ("greet", "en", true), ("system", "de", true)]
        {
            table.add(skill, lang, right);
        }
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["skill", "en", "de", "all", "right"]);
        assert_eq!(rows[1], ["greet", "100.0%", "0.0%", "66.7%", "2/3"]);
        assert_eq!(rows[2], ["system", "-", "100.0%", "100.0%", "1/1"]);
        assert_eq!(rows[3], ["all", "100.0%", "50.0%", "75.0%", "3/4"]);
    }
}
