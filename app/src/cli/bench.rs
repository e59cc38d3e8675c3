//! `guanaco bench`.

use super::Globals;

/// Not written yet
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  guanaco bench")]
pub struct Args {
    /// Prints JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the subcommand.
///
/// # Errors
/// Always, until it is written.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let _ = (args, globals);
    anyhow::bail!("`guanaco bench` is not written yet")
}
