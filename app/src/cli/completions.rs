//! `guanaco completions`: completion scripts for shells.

use clap::CommandFactory as _;

use super::{Cli, Globals};

/// Prints a completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco completions bash > ~/.local/share/bash-completion/completions/guanaco
  guanaco completions zsh > ~/.zfunc/_guanaco
  guanaco completions fish > ~/.config/fish/completions/guanaco.fish")]
pub struct Args {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Runs the subcommand.
///
/// # Errors
/// When stdout cannot be written.
pub fn run(args: Args, _: &Globals) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "guanaco", &mut script);
    super::output::buffered(|out| std::io::Write::write_all(out, &script))
}
