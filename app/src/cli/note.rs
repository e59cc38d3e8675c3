//! What goes to stderr beside the results: notices, warnings, plans. Colour only on a terminal that wants it.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write as _};

use guanaco_engine::gpu::MemoryPlan;
use tracing::Event;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::output;

/// Whether a stream may be coloured: it is a terminal, and neither `NO_COLOR` nor `TERM=dumb` forbids it.
pub(crate) fn colour(is_terminal: bool) -> bool {
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal && !forbidden && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// `text` in an ANSI style (`2` dim, `1` bold, `33` yellow, …) when `colour`.
pub(crate) fn style(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// One line on stderr, in a style on a terminal, where no control character of `text` arrives: names, sources and knowledge are
/// other people's. A closed stderr is nobody's problem.
pub(crate) fn line(code: &str, text: &str) {
    let mut stderr = std::io::stderr().lock();
    let is_terminal = stderr.is_terminal();
    let _ = writeln!(stderr, "{}", styled(is_terminal, code, text));
}

fn styled(is_terminal: bool, code: &str, text: &str) -> String {
    let text = if is_terminal { output::harmless(text) } else { Cow::Borrowed(text) };
    style(colour(is_terminal), code, &text)
}

/// A line that must not be overlooked.
pub(crate) fn loud(text: &str) {
    line("1;33", &format!("!!! {text}"));
}

/// A sentence or more, dimmed, broken between words for a terminal of 80 columns.
pub(crate) fn sentences(text: &str) {
    dim(&if std::io::stderr().is_terminal() { wrap(text, 79) } else { text.to_owned() });
}

/// Breaks lines of more than `width` characters at spaces.
fn wrap(text: &str, width: usize) -> String {
    let (mut out, mut column) = (String::with_capacity(text.len() + 8), 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out
}

/// That only software was found.
pub(crate) fn no_gpu(name: &str) {
    loud(&format!("NO GPU FOUND: running on the CPU, through {name}. A GPU is many times faster."));
}

/// Something odd that was dealt with.
pub(crate) fn warning(text: &str) {
    line("33", &format!("warning: {text}"));
}

/// An event of the engine's log in the form of a [`warning`].
pub(crate) struct PlainWarning;

impl<S, N> FormatEvent<S, N> for PlainWarning
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> std::fmt::Result {
        let mut text = String::from("warning: ");
        context.format_fields(Writer::new(&mut text), event)?;
        writeln!(out, "{}", styled(std::io::stderr().is_terminal(), "33", &text))
    }
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
    let mut stderr = std::io::stderr().lock();
    let is_terminal = stderr.is_terminal();
    let _ = write_error(&mut stderr, is_terminal, error);
}

fn write_error(out: &mut impl std::io::Write, is_terminal: bool, error: &anyhow::Error) -> std::io::Result<()> {
    let mut message = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // An error that already prints its cause would say it twice.
        if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    let message = if is_terminal { output::harmless(&message) } else { Cow::Borrowed(message.as_str()) };
    writeln!(out, "{} {message}", style(colour(is_terminal), "1;31", "error:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrap("aa bb cc", 5), "aa bb\ncc");
        assert_eq!(wrap("aaaaaaaa bb", 5), "aaaaaaaa\nbb");
        assert_eq!(wrap("来源来源来源", 5), "来源来源来源");
    }

    #[test]
    fn a_name_brings_no_escape_to_the_terminal() {
        let line = styled(true, "2", "Luma\x1b]0;PWNED\x07");
        assert_eq!(line.replace("\x1b[2m", "").replace("\x1b[0m", ""), "Luma]0;PWNED");
        assert_eq!(styled(false, "2", "\x1b[31m"), "\x1b[31m");
        let mut message = Vec::new();
        write_error(&mut message, true, &anyhow::anyhow!("no \x1b[2J")).unwrap();
        assert!(!String::from_utf8(message).unwrap().contains("\x1b[2J"));
    }

    #[test]
    fn causes_are_said_once() {
        let io = std::io::Error::other("the disk is full");
        let error =
            anyhow::Error::new(guanaco_engine::Error::io("write", std::path::Path::new("a"), io)).context("saving");
        let mut message = Vec::new();
        write_error(&mut message, false, &error).unwrap();
        assert_eq!(String::from_utf8(message).unwrap(), "error: saving: cannot write: the disk is full; file: a\n");
    }
}
