//! The command: see `guanaco --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    guanaco::cli::main()
}
