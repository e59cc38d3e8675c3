//! (to come)

use std::process::ExitCode;

use guanaco_tests::Suite;

fn main() -> ExitCode {
    Suite::new().run(None)
}
