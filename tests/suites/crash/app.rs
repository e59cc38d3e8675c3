//! The app itself, without its window, while it chats with the embedded model: killed, and on a disk that fails.

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use guanaco::cards::Card;
use guanaco::desk::model::ModelState;
use guanaco::desk::{Desk, SaveState};
use guanaco::store::{ChatId, Store};
use guanaco::tree::NodeId;
use guanaco_tests::Outcome;

use super::SOON;
use super::facts::{self, Facts};
use super::storage::Faults;
use super::writer::Dice;

/// Set for the process that is killed: the folder of its data.
pub(crate) const CHILD: &str = "GUANACO_CRASH_APP";
/// How often it is killed.
const ROUNDS: &str = "GUANACO_CRASH_ROUNDS";
/// Without that.
const MANY: u64 = 200;
/// Writes that fail.
const FAILURES: u64 = 60;
/// As much of an answer that streams may be lost.
const AT_MOST: Duration = Duration::from_secs(1);
/// Longer than a start takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The app at work: it asks one question after the other, and tells each message that is shown as saved.
struct Talk {
    desk: Desk,
    told: HashMap<(ChatId, NodeId), String>,
    asked: usize,
}

impl Talk {
    fn begin(mut desk: Desk) -> Self {
        desk.load();
        Self { desk, told: HashMap::new(), asked: 0 }
    }

    fn step(&mut self, tell: &mut dyn FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        const QUESTIONS: [&str; 4] = ["Who are you?", "Where does Ava live?", "Tell me a story.", "日本語で話して。"];
        let desk = &mut self.desk;
        desk.poll();
        if let ModelState::Failed(reason) = &desk.model {
            anyhow::bail!("{reason}");
        }
        if desk.model.ready().is_some() && desk.is_idle() {
            if desk.chat.tree.len() > 12 {
                desk.new_chat();
            }
            desk.chat.settings.max_new_tokens = 40;
            desk.chat.draft = QUESTIONS.get(self.asked % QUESTIONS.len()).copied().unwrap_or_default().to_owned();
            desk.send();
            self.asked += 1;
        }
        self.tell(tell)?;
        // As often as a window looks; it is no wait for anything.
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    }

    /// Goes on until `done` is, and has the saver try at once where the disk refused.
    fn until(
        &mut self,
        tell: &mut dyn FnMut(&str) -> anyhow::Result<()>,
        done: impl Fn(&Desk) -> bool,
    ) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !done(&self.desk) {
            ensure!(begun.elapsed() < PATIENCE, "it never comes: {:?}", self.desk.save_problem());
            self.step(tell)?;
            self.desk.flush(Duration::ZERO);
        }
        Ok(())
    }

    fn tell(&mut self, tell: &mut dyn FnMut(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let desk = &self.desk;
        for node in desk.chat.tree.path() {
            let line = facts::saved(desk.chat.id, node);
            let saved = desk.save_state(node.id) == SaveState::Saved && !node.content.is_empty();
            if saved && self.told.insert((desk.chat.id, node.id), line.clone()).as_ref() != Some(&line) {
                tell(&line)?;
            }
        }
        Ok(())
    }
}

/// Chats until it is killed.
pub(crate) fn child(folder: &Path) -> anyhow::Result<()> {
    let mut talk = Talk::begin(Desk::open(folder, Arc::new(|| {}))?);
    let mut tell = |line: &str| {
        let mut out = std::io::stdout().lock();
        Ok(writeln!(out, "{line}").and_then(|()| out.flush())?)
    };
    // What was shown of the answer that streams, and when.
    let mut streamed: VecDeque<(Instant, String)> = VecDeque::new();
    loop {
        talk.step(&mut tell)?;
        let desk = &talk.desk;
        if let Some(node) = desk.answering().and_then(|answering| desk.chat.tree.node(answering.node)) {
            let line = facts::saved(desk.chat.id, node);
            if streamed.back().is_none_or(|(_, last)| *last != line) {
                streamed.push_back((Instant::now(), line));
            }
        }
        while streamed.front().is_some_and(|(at, _)| at.elapsed() >= AT_MOST) {
            streamed.pop_front().map_or(Ok(()), |(_, line)| tell(&line))?;
        }
    }
}

/// The Nth call that writes fails, again and again, while it chats; every second time half of a write is left behind. Every twentieth time
/// the disk fails for good, and the app begins again with what is on it.
pub(crate) fn failing() -> Outcome {
    let started = Instant::now();
    let mut dice = Dice(20_261_129);
    let (folder, mut facts, faults) = (tempfile::tempdir()?, Facts::default(), Arc::new(Faults::default()));
    let open = || anyhow::Ok(Desk::on(Store::with_backend(folder.path(), faults.wrap())?, Arc::new(|| {}))?);
    let mut talk = Talk::begin(open()?);
    let (mut asked, mut told, mut beginnings, mut checked) = (0, 0, 0, 0);
    for round in 1..=FAILURES {
        let context = || format!("round {round}: {faults:?}");
        let mut hear = |line: &str| {
            told += 1;
            facts.hear(line)
        };
        let for_good = round % 20 == 0;
        // A transaction has some twenty calls, so that each of them is met.
        faults.arm(1 + dice.roll(40), if for_good { u64::MAX } else { 2 }, round % 2 == 0);
        talk.until(&mut hear, |_| faults.struck()).with_context(context)?;
        if !for_good {
            talk.until(&mut hear, |desk| desk.flush(SOON)).with_context(context)?;
            ensure!(talk.desk.save_problem().is_none(), "{}: the problem stays", context());
            checked += facts.check(talk.desk.store()).with_context(context)?;
            continue;
        }
        talk.until(&mut hear, |desk| desk.save_problem().is_some()).with_context(context)?;
        beginnings += 1;
        asked += talk.asked;
        drop(talk);
        checked += facts.check(&Store::open(folder.path())?).with_context(context)?;
        faults.arm(0, 0, false);
        talk = Talk::begin(open().with_context(context)?);
    }
    println!(
        "{FAILURES} writes failed in {:.1} s while the app chatted: {asked} questions, {told} messages shown as saved, {checked} looked \
         up; {beginnings} times it began again; nothing lost, no failed start",
        started.elapsed().as_secs_f64()
    );
    ensure!(told as u64 > FAILURES / 2 && checked > told, "only {told} messages, {checked} looked up");
    Ok(())
}

/// The disk fills while it chats: it goes on and says so, begins again on the full disk, and saves all once there is space.
pub(crate) fn full() -> Outcome {
    let (folder, mut facts, faults) = (tempfile::tempdir()?, Facts::default(), Arc::new(Faults::default()));
    let open = || anyhow::Ok(Desk::on(Store::with_backend(folder.path(), faults.wrap())?, Arc::new(|| {}))?);
    let mut hear = |line: &str| facts.hear(line);
    let mut talk = Talk::begin(open()?);
    talk.until(&mut hear, |desk| desk.chats.len() > 2)?;
    faults.full.store(true, Ordering::SeqCst);
    // More than what is free in the file.
    let fill = |desk: &mut Desk| {
        let _ = desk.add_character(Card::from_traits("Large", &["Size: 8 MiB"]), Some(vec![1; 8 << 20]));
    };
    fill(&mut talk.desk);
    let is_full = |desk: &Desk| desk.save_problem().is_some_and(|problem| problem.contains("free some space"));
    talk.until(&mut hear, is_full)?;
    let (asked, begun) = (talk.asked, Instant::now());
    while talk.asked < asked + 3 {
        ensure!(begun.elapsed() < PATIENCE, "no answer comes on a full disk");
        talk.step(&mut hear)?;
    }
    ensure!(!talk.desk.flush(SOON) && is_full(&talk.desk), "it was written to a full disk");
    drop(talk);
    let mut talk = Talk::begin(open().context("it does not open on a full disk")?);
    fill(&mut talk.desk);
    talk.until(&mut hear, |desk| desk.model.ready().is_some() && is_full(desk))?;
    let listed = talk.desk.chats.len();
    faults.full.store(false, Ordering::SeqCst);
    ensure!(talk.desk.leave(SOON), "{:?}", talk.desk.save_problem());
    talk.tell(&mut hear)?;
    let said: Vec<_> = talk.desk.chat.tree.path().into_iter().map(|node| node.content.clone()).collect();
    let chat = talk.desk.chat.id;
    drop(talk);
    let store = Store::open(folder.path())?;
    let kept: Vec<_> = store.chat(chat)?.tree.path().into_iter().map(|node| node.content.clone()).collect();
    ensure!(kept == said, "{kept:?} is kept of {said:?}");
    println!(
        "full after {asked} questions, opened again with {listed} chats while it was: {} facts checked",
        facts.check(&store)?
    );
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
