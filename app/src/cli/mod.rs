//! The command line: one file a subcommand, each with its `Args` and its `run`.

pub mod bench;
pub mod chat;
pub mod completions;
pub mod conformance;
pub mod convert;
pub mod demo;
pub mod devices;
mod driver;
pub mod eval;
pub mod generate;
mod globals;
mod input;
pub mod inspect;
pub mod logits;
mod note;
mod output;
mod page;
pub mod progress;
pub mod prompt;
#[cfg(feature = "hub-plain")]
pub mod pull;
pub mod quantize;
mod sampling;
pub mod tokenize;
pub mod tune;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};

pub use globals::Globals;

/// Language models of the LLaMA family on any GPU, in compute shaders
#[derive(Parser, Debug)]
#[command(
    name = "guanaco",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  guanaco                                       opens the window
  guanaco demo                                  what it does, in a minute
  guanaco chat                                  talk with the small model that is part of this program
  guanaco chat --model FOLDER                   talk with a LLaMA checkpoint (safetensors)
  guanaco pull OWNER/NAME                       download one from the Hugging Face hub, for --model OWNER/NAME
  guanaco generate --chat --prompt 'Hello!'     one reply
  guanaco devices                               the GPUs that it finds

Environment: GUANACO_ADAPTER picks the GPU as --adapter does; NO_COLOR switches colours off.
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 ended by Ctrl-C."
)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What `guanaco` alone says where it has no window.
#[cfg(not(feature = "gui"))]
const WELCOME: &str = "\
Guanaco runs language models of the LLaMA family on any GPU.

  guanaco demo                   see what it does, in a minute
  guanaco chat                   talk with the small model that is part of this program
  guanaco chat --model FOLDER    talk with a LLaMA checkpoint of yours (safetensors)
  guanaco devices                the GPUs that it finds
  guanaco --help                 everything else
";

#[derive(Subcommand, Debug)]
enum Command {
    Chat(chat::Args),
    Demo(demo::Args),
    Generate(generate::Args),
    Logits(logits::Args),
    Tokenize(tokenize::Args),
    Prompt(prompt::Args),
    Inspect(inspect::Args),
    Convert(convert::Args),
    #[cfg(feature = "hub-plain")]
    Pull(pull::Args),
    Devices(devices::Args),
    Conformance(conformance::Args),
    Bench(bench::Args),
    Tune(tune::Args),
    Eval(eval::Args),
    Quantize(quantize::Args),
    Completions(completions::Args),
}

impl Command {
    /// Whether `--model` means something to it.
    fn opens_a_model(&self) -> bool {
        match self {
            #[cfg(feature = "hub-plain")]
            Self::Pull(_) => false,
            Self::Devices(_) | Self::Conformance(_) | Self::Tune(_) | Self::Completions(_) => false,
            _ => true,
        }
    }
}

/// What a command ends with that Ctrl-C ended, after it has printed what there is.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The exit code of a program that SIGINT ended, as shells count it.
const INTERRUPTED: u8 = 130;

/// Wrong usage that clap cannot see: an error in its form, and with its exit code.
fn wrong_usage(subcommand: &str, message: impl std::fmt::Display) -> anyhow::Error {
    let mut cli = Cli::command();
    cli.build();
    let command = cli.find_subcommand_mut(subcommand);
    command
        .map_or_else(
            || clap::Error::raw(ErrorKind::ArgumentConflict, &message),
            |command| command.error(ErrorKind::ArgumentConflict, &message),
        )
        .into()
}

/// Runs the command line; the exit code is 0 for success, 1 for failure, 2 for wrong usage, 130 when Ctrl-C ended it.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout, where a reader may have left.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.chain().any(|cause| cause.is::<Interrupted>()) => ExitCode::from(INTERRUPTED),
        Err(error) => match error.downcast_ref::<clap::Error>() {
            Some(usage) => {
                let _ = usage.print();
                ExitCode::from(usage.exit_code() as u8)
            }
            None => {
                note::error(&error);
                ExitCode::FAILURE
            }
        },
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let mut globals = cli.globals;
    log(globals.verbose || std::env::var_os("RUST_LOG").is_some());
    // Windows' drivers are known to end the program while they list their adapters; tests ask for the same elsewhere.
    if cfg!(windows) || std::env::var_os("GUANACO_NOTE_STARTS").is_some() {
        crate::cache::folder().into_iter().for_each(guanaco_engine::gpu::note_starts_in);
    }
    if cli.command.as_ref().is_some_and(Command::opens_a_model) {
        globals.find_model()?;
    }
    match cli.command {
        Some(Command::Chat(args)) => chat::run(args, &globals),
        Some(Command::Demo(args)) => demo::run(args, &globals),
        Some(Command::Generate(args)) => generate::run(args, &globals),
        Some(Command::Logits(args)) => logits::run(args, &globals),
        Some(Command::Tokenize(args)) => tokenize::run(args, &globals),
        Some(Command::Prompt(args)) => prompt::run(args, &globals),
        Some(Command::Inspect(args)) => inspect::run(args, &globals),
        Some(Command::Convert(args)) => convert::run(args, &globals),
        #[cfg(feature = "hub-plain")]
        Some(Command::Pull(args)) => pull::run(args, &globals),
        Some(Command::Devices(args)) => devices::run(args, &globals),
        Some(Command::Conformance(args)) => conformance::run(args, &globals),
        Some(Command::Bench(args)) => bench::run(args, &globals),
        Some(Command::Tune(args)) => tune::run(args, &globals),
        Some(Command::Eval(args)) => eval::run(args, &globals),
        Some(Command::Quantize(args)) => quantize::run(args, &globals),
        Some(Command::Completions(args)) => completions::run(args, &globals),
        None => open_window(&globals),
    }
}

/// `guanaco` alone: the window.
#[cfg(feature = "gui")]
fn open_window(globals: &Globals) -> anyhow::Result<()> {
    crate::gui::run(&crate::gui::Start { model: globals.model.clone(), adapter: globals.adapter.clone() })
}

#[cfg(not(feature = "gui"))]
fn open_window(_: &Globals) -> anyhow::Result<()> {
    output::text(WELCOME)
}

/// Sends the engine's warnings to stderr, a plain line each; when `all`, its log, of which `RUST_LOG` may choose.
fn log(all: bool) {
    use tracing_subscriber::EnvFilter;
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).without_time();
    if all {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,guanaco_engine=debug"));
        subscriber.with_env_filter(filter).init();
    } else {
        subscriber.with_max_level(tracing::Level::WARN).event_format(note::PlainWarning).init();
    }
}
