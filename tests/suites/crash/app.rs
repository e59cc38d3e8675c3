//! The app itself, without its window, killed while it chats with the embedded model.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use guanaco::desk::model::ModelState;
use guanaco::desk::{Desk, SaveState};
use guanaco::store::Store;
use guanaco_tests::Outcome;

use super::facts::{self, Facts};
use super::writer::Dice;

/// Set for the process that is killed: the folder of its data.
pub(crate) const CHILD: &str = "GUANACO_CRASH_APP";
/// How often it is killed.
const ROUNDS: &str = "GUANACO_CRASH_ROUNDS";
/// Without that.
const MANY: u64 = 200;
/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Chats until it is killed, and tells each message that is shown as saved.
pub(crate) fn child(folder: &Path) -> anyhow::Result<()> {
    let mut desk = Desk::open(folder, Arc::new(|| {}))?;
    desk.load();
    let mut told = std::collections::HashMap::new();
    let questions = ["Who are you?", "Where does Ava live?", "Tell me a story.", "日本語で話して。"];
    for n in 0_usize.. {
        desk.poll();
        if let ModelState::Failed(reason) = &desk.model {
            anyhow::bail!("{reason}");
        }
        if desk.model.ready().is_some() && desk.answering().is_none() {
            if desk.chat.tree.len() > 12 {
                desk.new_chat();
            }
            desk.chat.settings.max_new_tokens = 40;
            desk.chat.draft = questions.get(n % questions.len()).copied().unwrap_or_default().to_owned();
            desk.send();
        }
        for node in desk.chat.tree.path() {
            let line = facts::saved(desk.chat.id, node);
            let saved = desk.save_state(node.id) == SaveState::Saved && !node.content.is_empty();
            if saved && told.insert(node.id, line.clone()).as_ref() != Some(&line) {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{line}").and_then(|()| out.flush())?;
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Kills it at random moments, opens it again, and looks for all that was shown as saved.
pub(crate) fn killed() -> Outcome {
    let started = Instant::now();
    let rounds = std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(MANY);
    let mut dice = Dice(20_261_128);
    let (folder, mut facts) = (tempfile::tempdir()?, Facts::default());
    let (mut told, mut checked) = (0, 0);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe()?)
            .env(CHILD, folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().map(super::listen).context("no stdout")?;
        // Every fourth is killed while it starts, the others while it chats.
        if round % 4 > 0 {
            lines.first.recv_timeout(PATIENCE).with_context(|| format!("round {round}: nothing is told"))?;
            std::thread::sleep(Duration::from_millis(dice.roll(1500)));
        } else {
            std::thread::sleep(Duration::from_millis(dice.roll(400)));
        }
        child.kill()?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code().is_none(), "round {round}: it ended by itself: {said}");
        for line in lines.all.join().map_err(|_| anyhow::anyhow!("the reader gave up"))? {
            facts.hear(&line)?;
            told += 1;
        }
        let store = Store::open(folder.path()).with_context(|| format!("round {round}: it does not open again"))?;
        checked += facts.check(&store).with_context(|| format!("round {round}"))?;
    }
    println!(
        "the app was killed {rounds} times in {:.1} s while it chatted: {told} messages shown as saved, {checked} looked up again; \
         nothing lost, no failed start",
        started.elapsed().as_secs_f64()
    );
    ensure!(told as u64 >= rounds, "only {told} messages in {rounds} rounds");
    Ok(())
}
