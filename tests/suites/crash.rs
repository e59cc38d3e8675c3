//! Nothing that was told as saved is lost: not by a kill, not by a failing write, a full disk or a power cut.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use guanaco::store::{Change, ChatHead, ChatId, FILE, Saver, Store};
use guanaco::tree::{NewNode, NodeId, Tree};
use guanaco_tests::{Outcome, Suite};

#[path = "crash/app.rs"]
mod app;
#[path = "crash/facts.rs"]
mod facts;
#[path = "crash/storage.rs"]
mod storage;
#[path = "crash/writer.rs"]
mod writer;

use facts::Facts;
use storage::{Cached, Faults};
use writer::{Dice, Writer};

/// Set for the process that is killed: the folder that it writes to, and the seed of what it does.
const CHILD: &str = "GUANACO_CRASH_CHILD";
const ROUNDS: u64 = 200;
const SOON: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    if let Some(folder) = std::env::var_os(CHILD) {
        return match child(Path::new(&folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:?}");
                ExitCode::FAILURE
            }
        };
    }
    if let Some(folder) = std::env::var_os(app::CHILD) {
        return match app::child(Path::new(&folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:?}");
                ExitCode::FAILURE
            }
        };
    }
    let mut suite = Suite::new();
    suite.case("killed at random moments", killed);
    suite.case("a write that fails, and then works again", || failing(2, true));
    suite.case("a disk that fails for good", || failing(u64::MAX, false));
    suite.case("a full disk", full);
    suite.case("a power cut", power_cut);
    suite.device_case("the app is killed while it chats", app::killed);
    suite.device_case("a write fails while the app chats", app::failing);
    suite.device_case("the disk is full while the app chats", app::full);
    suite.case("speed in a chat of 10,000 messages", speed);
    // Two at once would kill at less random moments, and time each other.
    suite.run(Some(1))
}

/// Writes until it is killed.
fn child(folder: &Path) -> anyhow::Result<()> {
    let seed = std::env::args().nth(1).context("no seed")?.parse()?;
    let mut tell = |line: &str| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    };
    let mut writer = Writer::new(Arc::new(Store::open(folder)?), seed)?;
    let mut pauses = Dice(seed ^ 0x5eed);
    loop {
        writer.step(&mut tell);
        if pauses.roll(3) == 0 {
            std::thread::sleep(Duration::from_micros(pauses.roll(4000)));
        }
        writer.tell_saved(&mut tell);
        if let Some(problem) = writer.saver.problem() {
            anyhow::bail!(problem);
        }
    }
}

fn killed() -> Outcome {
    let started = Instant::now();
    let mut dice = Dice(20_230_605);
    let (mut told, mut checked, mut idle) = (0, 0, 0);
    let (mut folder, mut facts) = (tempfile::tempdir()?, Facts::default());
    for round in 0..ROUNDS {
        // A new folder now and then: making the store is a moment to be killed at, too.
        if round % 10 == 0 {
            (folder, facts) = (tempfile::tempdir()?, Facts::default());
        }
        let mut child = Command::new(std::env::current_exe()?)
            .arg(dice.roll(u64::MAX >> 33).to_string())
            .env(CHILD, folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = child.stdout.take().map(listen).context("no stdout")?;
        // Some before anything is written, most while it writes, however long it took to start.
        if round % 10 < 3 {
            std::thread::sleep(Duration::from_micros(dice.roll(40_000)));
        } else {
            lines.first.recv_timeout(SOON).with_context(|| format!("round {round}: nothing is told"))?;
            std::thread::sleep(Duration::from_micros(dice.roll(100_000)));
        }
        // SIGKILL.
        child.kill()?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code().is_none() && said.is_empty(), "round {round}: it ended by itself: {said}");
        let before = facts.count();
        for line in lines.all.join().map_err(|_| anyhow::anyhow!("the reader gave up"))? {
            facts.hear(&line)?;
            told += 1;
        }
        idle += u64::from(facts.count() == before);
        let store = Store::open(folder.path()).with_context(|| format!("round {round}: it does not open again"))?;
        checked += facts.check(&store).with_context(|| format!("round {round}"))?;
        writer::check_texts(&store).with_context(|| format!("round {round}"))?;
    }
    println!(
        "killed {ROUNDS} times in {:.1} s: {told} lines told, {checked} facts checked, {idle} rounds before anything was saved; \
         nothing lost, no failed start",
        started.elapsed().as_secs_f64()
    );
    ensure!(
        idle < ROUNDS / 2 && told > 1000,
        "the rounds are too short to show anything: {told} lines, {idle} idle rounds"
    );
    Ok(())
}

/// What a child prints, read as it comes.
struct Lines {
    /// Says when the first line has come.
    first: Receiver<()>,
    /// Every whole line; a last one that was cut off was never told.
    all: JoinHandle<Vec<String>>,
}

fn listen(out: ChildStdout) -> Lines {
    let (said, first) = channel();
    let read = move || {
        let (mut out, mut lines) = (BufReader::new(out), Vec::new());
        loop {
            let mut line = String::new();
            match out.read_line(&mut line) {
                Ok(_) if line.ends_with('\n') => lines.push(line.trim_end().to_owned()),
                _ => return lines,
            }
            // Only the first is waited for.
            let _ = said.send(());
        }
    };
    Lines { first, all: std::thread::spawn(read) }
}

/// For N = 1..=200: from the Nth call that writes, `count` fail; every second time they leave half of a write behind.
fn failing(count: u64, recovers: bool) -> Outcome {
    let started = Instant::now();
    let (mut checked, mut reached, mut refused) = (0, 0, 0);
    for n in 1..=200 {
        let context = || format!("the write at call {n} fails");
        let folder = tempfile::tempdir()?;
        let faults = Arc::new(Faults::default());
        faults.arm(n, count, n % 2 == 0);
        let mut facts = Facts::default();
        let open = || Store::with_backend(folder.path(), faults.wrap());
        let store = match open() {
            Err(_) if recovers => {
                refused += 1;
                open().or_else(|_| open()).with_context(context)?
            }
            Err(_) => {
                refused += 1;
                reached += 1;
                Store::open(folder.path()).with_context(context)?;
                continue;
            }
            Ok(store) => store,
        };
        let mut heard = Vec::new();
        let mut tell = |line: &str| heard.push(line.to_owned());
        let mut writer = Writer::new(Arc::new(store), n)?;
        for step in 0..60 {
            writer.step(&mut tell);
            // Single transactions, and some of several changes.
            if step % 3 > 0 {
                writer.flush(SOON);
            }
            writer.tell_saved(&mut tell);
        }
        if recovers {
            ensure!((0..4).any(|_| writer.flush(SOON)), "{}: {:?}", context(), writer.saver.problem());
            ensure!(writer.saver.problem().is_none(), "{}: the problem stays", context());
        } else {
            ensure!(!writer.flush(SOON) && writer.saver.problem().is_some(), "{}: nobody is told", context());
        }
        writer.tell_saved(&mut tell);
        reached += u64::from(faults.struck());
        heard.iter().try_for_each(|line| facts.hear(line))?;
        if recovers {
            facts.check(writer.store()).with_context(context)?;
        }
        drop(writer);
        let store = Store::open(folder.path()).with_context(context)?;
        checked += facts.check(&store).with_context(context)?;
        writer::check_texts(&store).with_context(context)?;
    }
    println!(
        "200 failing writes in {:.1} s: {checked} facts checked; {reached} calls were reached, {refused} of them while opening; nothing lost",
        started.elapsed().as_secs_f64()
    );
    ensure!(reached == 200, "{reached} of 200 were reached");
    Ok(())
}

fn full() -> Outcome {
    let folder = tempfile::tempdir()?;
    let faults = Arc::new(Faults::default());
    let mut facts = Facts::default();
    let mut writer = Writer::new(Arc::new(Store::with_backend(folder.path(), faults.wrap())?), 5)?;
    let mut heard = Vec::new();
    let mut tell = |line: &str| heard.push(line.to_owned());
    for _ in 0..50 {
        writer.step(&mut tell);
    }
    ensure!(writer.flush(SOON), "{:?}", writer.saver.problem());
    faults.full.store(true, Ordering::SeqCst);
    let mut n = 0;
    while writer.saver.problem().is_none() && n < 20_000 {
        writer.step(&mut tell);
        writer.flush(SOON);
        writer.tell_saved(&mut tell);
        n += 1;
    }
    let problem = writer.saver.problem().context("the disk never was full")?;
    ensure!(problem.contains("free some space"), "{problem}");
    for _ in 0..50 {
        writer.step(&mut tell);
    }
    ensure!(!writer.flush(SOON), "it was written to a full disk");
    ensure!(!writer.store().chats()?.is_empty(), "what is saved cannot be read while the disk is full");
    faults.full.store(false, Ordering::SeqCst);
    ensure!(writer.flush(SOON) && writer.saver.problem().is_none(), "{:?}", writer.saver.problem());
    writer.tell_saved(&mut tell);
    heard.iter().try_for_each(|line| facts.hear(line))?;
    drop(writer);
    let checked = facts.check(&Store::open(folder.path())?)?;
    println!("full after {n} steps, readable meanwhile, and written when there was space: {checked} facts checked");
    Ok(())
}

/// The power goes at the Nth write after a moment whose facts are known.
fn power_cut() -> Outcome {
    let started = Instant::now();
    let (mut checked, mut unsynced) = (0, 0);
    for seed in 0..10 {
        let folder = tempfile::tempdir()?;
        let disk = Arc::new(Cached::default());
        let mut writer = Writer::new(Arc::new(Store::with_backend(folder.path(), disk.wrap())?), seed)?;
        let mut dice = Dice(seed ^ 0xcafe);
        let mut facts = Facts::default();
        for cut in 0..20 {
            let context = || format!("seed {seed}, cut {cut}");
            let mut known = facts.clone();
            disk.arm(dice.roll(60), Dice(dice.roll(1 << 30)));
            let cut = loop {
                let mut heard = Vec::new();
                let mut tell = |line: &str| heard.push(line.to_owned());
                writer.step(&mut tell);
                ensure!(writer.flush(SOON), "{}: {:?}", context(), writer.saver.problem());
                writer.tell_saved(&mut tell);
                for line in heard {
                    facts.hear(&line)?;
                    // What is deleted meanwhile may be gone; what is saved meanwhile need not be there.
                    if line.starts_with("d ") {
                        known.hear(&line)?;
                    }
                }
                if let Some(cut) = disk.cut() {
                    break cut;
                }
            };
            unsynced += cut.pending;
            let after = tempfile::tempdir()?;
            std::fs::write(after.path().join(FILE), cut.image)?;
            let store = Store::open(after.path()).with_context(context)?;
            checked += known.check(&store).with_context(context)?;
            writer::check_texts(&store).with_context(context)?;
        }
    }
    println!(
        "the power went 200 times in {:.1} s, with {unsynced} writes not synced: {checked} facts checked; nothing lost",
        started.elapsed().as_secs_f64()
    );
    ensure!(unsynced > 200 && checked > 1000, "hardly anything was under way: {unsynced} writes, {checked} facts");
    Ok(())
}

fn speed() -> Outcome {
    let folder = tempfile::tempdir()?;
    let chat = ChatId(1);
    let mut tree = Tree::new();
    for i in 0..10_000 {
        let text = writer::text(i, 300);
        tree.add(tree.leaf(), if i % 2 == 0 { NewNode::user(text) } else { NewNode::assistant(text) });
    }
    let mut changes = vec![Change::ChatHead(chat, ChatHead::new("long"))];
    let of =
        |tree: &mut Tree| tree.take_changes().into_iter().map(|change| Change::Tree(chat, change)).collect::<Vec<_>>();
    changes.extend(of(&mut tree));
    let store = Arc::new(Store::open(folder.path())?);
    let started = Instant::now();
    store.write(&changes)?;
    let all = started.elapsed();
    let saver = Saver::start(store.clone(), || {});
    let mut each = Vec::new();
    for i in 0..50 {
        tree.update(NodeId(10_000 - i), |node| node.content.push_str("more"));
        let started = Instant::now();
        saver.save(of(&mut tree));
        ensure!(saver.flush(SOON), "{:?}", saver.problem());
        each.push(started.elapsed());
    }
    each.sort();
    drop(saver);
    drop(store);
    let size = std::fs::metadata(folder.path().join(FILE))?.len();
    let started = Instant::now();
    let store = Store::open(folder.path())?;
    let opened = started.elapsed();
    let started = Instant::now();
    let loaded = store.chat(chat)?;
    let read = started.elapsed();
    let started = Instant::now();
    let path = loaded.tree.path().len();
    let walked = started.elapsed();
    println!(
        "10,000 messages, {} KiB: written at once in {all:.1?}; one saved in {:.1?} (median; at most {:.1?}); store opened in \
         {opened:.1?}, chat read in {read:.1?}, its path in {walked:.1?}",
        size >> 10,
        each[25],
        each[49]
    );
    ensure!(path == 10_000);
    // Wide, for slow disks and unoptimised builds: it is the order of growth that a mistake would change.
    ensure!(each[25] < Duration::from_millis(200) && read < Duration::from_secs(2), "far too slow");
    Ok(())
}
