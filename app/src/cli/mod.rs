//! The command line: one file a subcommand, each with its `Args` and its `run`.

pub mod bench;
pub mod chat;
pub mod completions;
pub mod conformance;
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
mod progress;
pub mod prompt;
mod sampling;
pub mod tokenize;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use globals::Globals;

/// Language models of the LLaMA family on any GPU, in compute shaders
#[derive(Parser, Debug)]
#[command(
    name = "guanaco",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  guanaco demo                                  what it does, in a minute
  guanaco chat                                  talk with the small model that is part of this program
  guanaco chat --model FOLDER                   talk with a LLaMA checkpoint (safetensors)
  guanaco generate --chat --prompt 'Hello!'     one reply
  guanaco devices                               the GPUs that it finds

Environment: GUANACO_ADAPTER picks the GPU as --adapter does; NO_COLOR switches colours off.
Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What `guanaco` alone says.
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
    Devices(devices::Args),
    Conformance(conformance::Args),
    Bench(bench::Args),
    Eval(eval::Args),
    Completions(completions::Args),
}

/// Runs the command line; the exit code is 0 for success, 1 for failure, 2 for wrong usage.
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
        Err(error) => {
            note::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let globals = cli.globals;
    if globals.verbose || std::env::var_os("RUST_LOG").is_some() {
        log();
    }
    match cli.command {
        Some(Command::Chat(args)) => chat::run(args, &globals),
        Some(Command::Demo(args)) => demo::run(args, &globals),
        Some(Command::Generate(args)) => generate::run(args, &globals),
        Some(Command::Logits(args)) => logits::run(args, &globals),
        Some(Command::Tokenize(args)) => tokenize::run(args, &globals),
        Some(Command::Prompt(args)) => prompt::run(args, &globals),
        Some(Command::Inspect(args)) => inspect::run(args, &globals),
        Some(Command::Devices(args)) => devices::run(args, &globals),
        Some(Command::Conformance(args)) => conformance::run(args, &globals),
        Some(Command::Bench(args)) => bench::run(args, &globals),
        Some(Command::Eval(args)) => eval::run(args, &globals),
        Some(Command::Completions(args)) => completions::run(args, &globals),
        None => output::text(WELCOME),
    }
}

/// Sends the engine's log to stderr; `RUST_LOG` says what of it.
fn log() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,guanaco_engine=debug"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
