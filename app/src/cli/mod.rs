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

use clap::{CommandFactory as _, Parser, Subcommand};

pub use globals::Globals;

/// LLaMA-family language models in WGSL, on any GPU.
#[derive(Parser, Debug)]
#[command(name = "guanaco", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Option<Command>,
}

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
        None => {
            Cli::command().print_help()?;
            Ok(())
        }
    }
}
