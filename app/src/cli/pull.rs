//! `guanaco pull`: a model from the Hugging Face hub into the cache that `--model owner/name` reads.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::devices::size;
use super::progress::PullBar;
use super::{Globals, Interrupted, note, output};
use crate::hub::client::Client;
use crate::hub::pull::{Entry, Plan, Stopped, offline_by_environment};
use crate::hub::{Cache, ModelName};

/// How long a run that Ctrl-C ended may take to end itself; a connection may be silent.
const GRACE: Duration = Duration::from_millis(500);

/// Downloads a model from the Hugging Face hub, for `--model OWNER/NAME`
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco pull JosephusCheung/Guanaco --dry-run           what it would take
  guanaco pull OWNER/NAME@REVISION                        a branch, a tag or a commit
  guanaco pull OWNER/NAME-GGUF --file NAME.Q8_0.gguf      one of several weights
  guanaco chat --model OWNER/NAME

It takes the configuration, the tokenizer and one set of weights (safetensors before .gguf before .bin), checks the sums that
the hub has, and goes on where a download ended that was interrupted. On stdout is the folder.

Environment: HF_HUB_CACHE or HF_HOME, where the cache is; HF_TOKEN, for private and gated models (or the token that `hf auth
login` stored); HF_ENDPOINT, another server; HF_HUB_OFFLINE=1 as --offline.

--json: {\"model\":…,\"commit\":…,\"path\":folder,\"bytes\":N,\"download\":bytes that were (--dry-run: would be) downloaded,
  \"files\":[{\"name\":…,\"bytes\":N,\"cached\":bytes that were here}]}; --offline: {\"model\":…,\"path\":…}")]
pub struct Args {
    /// The model, such as JosephusCheung/Guanaco
    #[arg(value_name = "OWNER/NAME[@REVISION]")]
    pub name: String,
    /// The weights to take, where there are several
    #[arg(long, value_name = "NAME")]
    pub file: Option<String>,
    /// Says what would be downloaded, and downloads nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Opens no connection: only says where the model is in the cache
    #[arg(long, conflicts_with_all = ["dry_run", "file"])]
    pub offline: bool,
    /// How often a connection that broke is tried again
    #[arg(long, value_name = "TIMES", default_value_t = 5)]
    pub retries: u32,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    model: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a str>,
    path: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    download: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<&'a [Entry]>,
}

/// Runs the subcommand.
///
/// # Errors
/// When it is no model's name, the hub does not have or give it, or the cache cannot be written.
pub fn run(args: Args, _: &Globals) -> anyhow::Result<()> {
    let name: ModelName = args.name.parse().map_err(|error| anyhow!("{error}"))?;
    if let Some(text) = name.note() {
        note::sentences(&text);
    }
    let cache = Cache::from_env()?;
    if args.offline || offline_by_environment() {
        return offline(&cache, &name, args.json);
    }
    let client = Client::from_env()?;
    if client.token_in_the_open() {
        note::warning(&format!("{} is no encrypted connection: the token can be read on its way", client.endpoint()));
    }
    let plan = Plan::new(&client, cache, name.clone(), args.file.as_deref())?;
    announce(&name, &plan);
    if args.dry_run {
        return if args.json { report(&name, &plan) } else { list(&plan) };
    }
    let stop = listen()?;
    let mut bar = PullBar::new(plan.bytes());
    let fetched = plan.fetch(&client, args.retries, &stop, &mut |file, bytes| bar.update(file, bytes));
    drop(bar);
    match fetched {
        Err(error) if error.is::<Stopped>() => {
            note::dim("stopped; the same command goes on from here");
            return Err(Interrupted.into());
        }
        fetched => fetched.with_context(|| name.to_string())?,
    }
    note::dim(&format!("ready: guanaco chat --model {name}"));
    if args.json { report(&name, &plan) } else { output::text(&format!("{}\n", plan.snapshot.display())) }
}

fn offline(cache: &Cache, name: &ModelName, json: bool) -> anyhow::Result<()> {
    let path = cache.find(name).with_context(|| {
        let searched = cache.snapshots(name);
        format!(
            "{name} is not in the cache, and --offline (or HF_HUB_OFFLINE) forbids to download it; searched: {}",
            searched.display()
        )
    })?;
    if json {
        let model = name.to_string();
        return output::json(&Report { model, commit: None, path: &path, bytes: None, download: None, files: None });
    }
    output::text(&format!("{}\n", path.display()))
}

/// Says what it will take before it takes it.
fn announce(name: &ModelName, plan: &Plan) {
    let (all, missing) = (plan.bytes(), plan.missing());
    let commit = plan.commit.get(..10).unwrap_or(&plan.commit);
    let what = match missing {
        0 => "all here".to_owned(),
        missing if missing == all => "to be downloaded".to_owned(),
        missing => format!("{} of them to be downloaded", size(missing)),
    };
    let n_files = plan.files.len();
    let files = if n_files == 1 { "file" } else { "files" };
    note::sentences(&format!("{name} at {commit}: {n_files} {files}, {} ({all} bytes), {what}", size(all)));
}

fn list(plan: &Plan) -> anyhow::Result<()> {
    let mut out = output::stdout();
    for file in &plan.files {
        let state = match file.cached {
            cached if cached == file.bytes => "  here".to_owned(),
            0 => String::new(),
            cached => format!("  {cached} of them here"),
        };
        writeln!(out, "{:>14}  {}{state}", file.bytes, file.name)?;
    }
    out.flush()?;
    Ok(())
}

fn report(name: &ModelName, plan: &Plan) -> anyhow::Result<()> {
    output::json(&Report {
        model: name.to_string(),
        commit: Some(&plan.commit),
        path: &plan.snapshot,
        bytes: Some(plan.bytes()),
        download: Some(plan.missing()),
        files: Some(&plan.files),
    })
}

/// The flag that Ctrl-C sets. A run that does not see it in time is ended: whatever is written, is written for the next run.
fn listen() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        std::thread::sleep(GRACE);
        std::process::exit(super::INTERRUPTED.into());
    })
    .context("cannot listen to Ctrl-C")?;
    Ok(stop)
}
