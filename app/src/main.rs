//! The command: see `guanaco --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    no_device_select();
    guanaco::cli::main()
}

/// Switches off Mesa's device-select layer, which asks the desktop which GPU it prefers and prints `error: XDG_RUNTIME_DIR is
/// invalid` where there is no desktop. The engine orders adapters itself, and `--adapter` picks one.
fn no_device_select() {
    if std::env::var_os("NODEVICE_SELECT").is_none() {
        #[expect(
            unsafe_code,
            reason = "the first thing the program does: there is no other thread yet that could read it"
        )]
        unsafe {
            std::env::set_var("NODEVICE_SELECT", "1");
        }
    }
}
