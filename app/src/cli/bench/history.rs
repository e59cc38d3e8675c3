//! What changed: against a saved report, or against the runs that were kept in the user's data folder.

use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::report::{FORMAT, Report, Spread, figure};

/// One figure then and now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The file that was compared with, or `the last run` and its date.
    pub against: String,
    /// Which figure, with its unit.
    pub what: String,
    /// Then.
    pub before: Spread,
    /// Now.
    pub now: Spread,
    /// Now over then, medians.
    pub ratio: f64,
    /// What that means.
    pub verdict: Verdict,
}

/// Whether a difference is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every run now beats every run then, and the medians differ by more than 2 %.
    Better,
    /// The reverse.
    Worse,
    /// The runs of both overlap, or differ by less: nothing can be said.
    WithinSpread,
    /// One of the two ran only once.
    Unknown,
}

/// Medians nearer than this are the same.
const LEAST: f64 = 0.02;

/// A figure of a report; more is better, or less.
struct Figure {
    what: String,
    spread: Spread,
    more_is_better: bool,
}

fn figures(report: &Report) -> Vec<Figure> {
    let mut all = Vec::new();
    let mut add = |what: String, spread: &Spread, more_is_better| {
        all.push(Figure { what, spread: spread.clone(), more_is_better });
    };
    for test in &report.prefill {
        add(format!("{}, tok/s", test.name), &test.tok_per_s, true);
    }
    for test in &report.decode {
        add(format!("{}, tok/s", test.name), &test.tok_per_s, true);
    }
    if report.format < 2 {
        let (prompt, new) = (report.prompt_tokens, report.new_tokens);
        add(format!("pp{prompt}, tok/s"), &report.prefill_tok_per_s, true);
        if let Some(decode) = &report.decode_tok_per_s {
            add(format!("tg{new}@{prompt}, tok/s"), decode, true);
        }
    }
    add("time to first token, s".to_owned(), &report.first_token_s, false);
    all.extend(Spread::of(vec![report.load_s]).map(|spread| Figure {
        what: "load, s".to_owned(),
        spread,
        more_is_better: false,
    }));
    all
}

/// The figures that both have.
pub fn compare(against: &str, before: &Report, now: &Report) -> Vec<Change> {
    let then = figures(before);
    let same_prompt = before.prompt_tokens == now.prompt_tokens;
    let both = figures(now).into_iter().filter_map(|now| {
        let before = then.iter().find(|then| then.what == now.what)?;
        (same_prompt || !now.what.starts_with("time to first")).then(|| Change {
            against: against.to_owned(),
            verdict: Verdict::of(&before.spread, &now.spread, now.more_is_better),
            ratio: now.spread.median / before.spread.median,
            what: now.what,
            before: before.spread.clone(),
            now: now.spread,
        })
    });
    both.collect()
}

impl Verdict {
    fn of(before: &Spread, now: &Spread, more_is_better: bool) -> Self {
        if before.runs.len() < 2 || now.runs.len() < 2 {
            return Self::Unknown;
        }
        let apart = (now.median / before.median - 1.0).abs() >= LEAST;
        match (apart, now.min > before.max, now.max < before.min) {
            (true, true, _) => {
                if more_is_better {
                    Self::Better
                } else {
                    Self::Worse
                }
            }
            (true, _, true) => {
                if more_is_better {
                    Self::Worse
                } else {
                    Self::Better
                }
            }
            _ => Self::WithinSpread,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::WithinSpread => "within the spread",
            Self::Unknown => "one run",
        })
    }
}

impl Change {
    /// A table for each that was compared with.
    pub(super) fn write(f: &mut fmt::Formatter<'_>, changes: &[Self]) -> fmt::Result {
        let mut against = "";
        for change in changes {
            if change.against != against {
                against = &change.against;
                let title = format!("against {against}");
                writeln!(f, "\n{title:32} {:>22} {:>22} {:>7}", "then", "now", "ratio")?;
            }
            let range = |s: &Spread| format!("{} ({}–{})", figure(s.median), figure(s.min), figure(s.max));
            let (then, now, ratio) = (range(&change.before), range(&change.now), change.ratio);
            writeln!(f, "{:32} {then:>22} {now:>22} {ratio:>7.3}  {}", change.what, change.verdict)?;
        }
        Ok(())
    }
}

/// The report in the file at `path`, which `guanaco bench --json` wrote.
///
/// # Errors
/// When it cannot be read, or is something else.
pub fn saved(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let report: Report = serde_json::from_str(&text)
        .with_context(|| format!("{}: expected what `guanaco bench --json` prints", path.display()))?;
    ensure!(
        report.format <= FORMAT,
        "{}: it has format {}, this program knows {FORMAT} at most",
        path.display(),
        report.format
    );
    Ok(report)
}

/// One kept run: a line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Seconds since 1970, UTC.
    pub time: u64,
    /// What was measured, without the times of each kernel.
    pub report: Report,
}

/// Runs of the same model on the same adapter and driver that are shown.
const SHOWN: usize = 5;

/// The file of kept runs, in the data folder.
pub const FILE: &str = "bench.jsonl";

/// Where [`FILE`] is: in the folder that `GUANACO_DATA` names, or the user's data folder.
///
/// # Errors
/// When there is no home folder.
pub fn file() -> anyhow::Result<PathBuf> {
    let folder = crate::store::folder().context("there is no home folder to keep runs in")?;
    Ok(folder.join(FILE))
}

/// The runs in the file at `path` of the same model on the same adapter and driver as `like`, the oldest first; and the number
/// of lines that are damaged or of another version. No file means no runs.
///
/// # Errors
/// When the file cannot be read.
pub fn kept(path: &Path, like: &Report) -> anyhow::Result<(Vec<Kept>, usize)> {
    let (mut runs, damaged) = all(path)?;
    runs.retain(|kept| {
        let (a, b) = (&kept.report, like);
        (&a.adapter.name, &a.adapter.driver, &a.model, &a.kv) == (&b.adapter.name, &b.adapter.driver, &b.model, &b.kv)
    });
    Ok((runs, damaged))
}

/// All runs in the file at `path`, as [`kept`].
///
/// # Errors
/// When the file cannot be read.
pub fn all(path: &Path) -> anyhow::Result<(Vec<Kept>, usize)> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    let (mut runs, mut damaged) = (Vec::new(), 0);
    for line in BufReader::new(file).split(b'\n') {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice::<Kept>(&line) {
            Ok(kept) if kept.report.format == FORMAT => runs.push(kept),
            _ => damaged += 1,
        }
    }
    Ok((runs, damaged))
}

/// Adds `report` to the file at `path`.
///
/// # Errors
/// When it cannot be written.
pub fn keep(path: &Path, report: &Report) -> anyhow::Result<()> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let report = Report { profile: None, changes: Vec::new(), ..report.clone() };
    let line = serde_json::to_string(&Kept { time, report })? + "\n";
    let write = || {
        path.parent().map(std::fs::create_dir_all).transpose()?;
        // One write of one line: two programs that end at once do not mix theirs.
        std::fs::OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
    };
    write().with_context(|| format!("cannot keep the run in {}", path.display()))
}

/// The last of `runs`, one line each, medians.
pub fn table(runs: &[Kept]) -> String {
    let mut text = String::new();
    let shown = runs.get(runs.len().saturating_sub(SHOWN)..).unwrap_or_default();
    for Kept { time, report } in shown {
        let tests = report.prefill.iter().map(|test| (&test.name, &test.tok_per_s));
        let tests = tests.chain(report.decode.iter().map(|test| (&test.name, &test.tok_per_s)));
        let tests: Vec<_> = tests.map(|(name, spread)| format!("{name} {}", figure(spread.median))).collect();
        text += &format!("{}  guanaco {}  {}\n", date(*time), report.engine, tests.join("  "));
    }
    text
}

/// `2026-11-24 18:40 UTC`. The days are turned into a date by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>).
pub fn date(time: u64) -> String {
    let (days, seconds) = (time / 86400 + 719_468, time % 86400);
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    fn verdict(before: &[f64], now: &[f64], more_is_better: bool) -> Verdict {
        Verdict::of(&Spread::of(before.to_vec()).unwrap(), &Spread::of(now.to_vec()).unwrap(), more_is_better)
    }

    #[test]
    fn noise_is_no_regression() {
        assert_eq!(verdict(&[100.0, 110.0], &[95.0, 104.0], true), Verdict::WithinSpread);
        assert_eq!(verdict(&[100.0, 101.0], &[99.0, 99.5], true), Verdict::WithinSpread, "1 %");
        assert_eq!(verdict(&[100.0, 110.0], &[90.0, 95.0], true), Verdict::Worse);
        assert_eq!(verdict(&[100.0, 110.0], &[90.0, 95.0], false), Verdict::Better);
        assert_eq!(verdict(&[100.0, 110.0], &[120.0, 125.0], true), Verdict::Better);
        assert_eq!(verdict(&[1.0, 1.1], &[1.2, 1.3], false), Verdict::Worse);
        assert_eq!(verdict(&[100.0], &[50.0, 51.0], true), Verdict::Unknown);
    }

    #[test]
    fn figures_are_compared_by_name() {
        let (before, mut now) = (report([100.0, 101.0, 102.0]), report([200.0, 202.0, 204.0]));
        now.decode[0].name = "tg128@4096".into();
        let changes = compare("x.json", &before, &now);
        let names: Vec<&str> = changes.iter().map(|change| change.what.as_str()).collect();
        assert_eq!(names, ["pp512, tok/s", "time to first token, s", "load, s"]);
        assert_eq!((changes[0].ratio, changes[0].verdict), (2.0, Verdict::Better));
        assert_eq!(changes[1].verdict, Verdict::Worse, "twice the time");
        assert_eq!(changes[2].verdict, Verdict::Unknown);
        now.changes = changes;
        let text = now.to_string();
        assert!(text.contains("against x.json") && text.contains("2.000  better"), "{text}");
        // Of another prompt, the first token comes at another time.
        now.prompt_tokens = 128;
        assert!(compare("x", &before, &now).iter().all(|change| !change.what.contains("first token")));
        // What format 1 had at its top.
        let old = Report { format: 1, prefill: Vec::new(), decode: Vec::new(), ..before };
        let now = Report { prompt_tokens: 512, ..now };
        assert_eq!(compare("old", &old, &now)[0].ratio, 2.0);
    }

    #[test]
    fn runs_are_kept_by_model_adapter_and_driver_and_damage_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/bench.jsonl");
        let report = report([100.0, 101.0, 102.0]);
        assert_eq!(kept(&path, &report).unwrap().0.len(), 0);
        keep(&path, &report).unwrap();
        let mut other = report.clone();
        other.adapter.driver = "another".into();
        keep(&path, &other).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"time\":1,\"rep\n\xff\xfe\n")
            .unwrap();
        keep(&path, &report).unwrap();
        let (runs, damaged) = kept(&path, &report).unwrap();
        assert_eq!((runs.len(), damaged), (2, 2));
        assert!(runs.iter().all(|run| run.report.profile.is_none() && run.report.prefill == report.prefill));
        assert_eq!(table(&runs).lines().count(), 2);
        assert!(table(&runs).contains("pp512 101  tg128 101"), "{}", table(&runs));
        let mut newer = report.clone();
        newer.model.n_layers += 1;
        assert_eq!(kept(&path, &newer).unwrap().0.len(), 0);
        // A folder in the file's place is an error, not an empty history.
        assert!(kept(folder.path(), &report).is_err());
    }

    #[test]
    fn a_saved_report_is_read_and_anything_else_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("saved.json");
        assert!(saved(&path).is_err());
        std::fs::write(&path, "{}").unwrap();
        assert!(format!("{:#}", saved(&path).unwrap_err()).contains("guanaco bench --json"));
        let mut report = report([1.0, 1.0, 1.0]);
        std::fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(saved(&path).unwrap().prefill, report.prefill);
        report.format = FORMAT + 1;
        std::fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
        assert!(saved(&path).unwrap_err().to_string().contains("knows 2 at most"));
    }

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_827_640), "2000-02-29 12:34 UTC");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59 UTC");
        assert_eq!(date(4_107_542_400), "2100-03-01 00:00 UTC");
    }
}
