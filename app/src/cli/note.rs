//! What goes to stderr beside the results: notices, warnings, plans. Colour only on a terminal that wants it.

use std::io::{IsTerminal as _, Write as _};

use guanaco_engine::gpu::MemoryPlan;

/// Whether a stream may be coloured: it is a terminal, and neither `NO_COLOR` nor `TERM=dumb` forbids it.
pub(crate) fn colour(is_terminal: bool) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !forbidden && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// `text` in an ANSI style (`2` dim, `1` bold, `33` yellow, …) when `colour`.
pub(crate) fn style(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// One line on stderr, in a style on a terminal. A closed stderr is nobody's problem.
pub(crate) fn line(code: &str, text: &str) {
    let mut stderr = std::io::stderr().lock();
    let colour = colour(stderr.is_terminal());
    let _ = writeln!(stderr, "{}", style(colour, code, text));
}

/// A line that must not be overlooked.
pub(crate) fn loud(text: &str) {
    line("1;33", &format!("!!! {text}"));
}

/// That only software was found.
pub(crate) fn no_gpu(name: &str) {
    loud(&format!("NO GPU FOUND: running on the CPU, through {name}. A GPU is many times faster."));
}

/// Something odd that was dealt with.
pub(crate) fn warning(text: &str) {
    line("33", &format!("warning: {text}"));
}

/// A dimmed line.
pub(crate) fn dim(text: &str) {
    line("2", text);
}

/// The memory plan of a model.
pub(crate) fn plan(model: &str, device: &str, plan: &MemoryPlan) {
    dim(&format!("{model} on {device} will take:\n{plan}"));
}

/// An error with its causes, as one message.
pub(crate) fn error(error: &anyhow::Error) {
    let mut message = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // An error that already prints its cause would say it twice.
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    let mut stderr = std::io::stderr().lock();
    let colour = colour(stderr.is_terminal());
    let _ = writeln!(stderr, "{} {message}", style(colour, "1;31", "error:"));
}
