//! stdout, which carries results and nothing else.

use std::borrow::Cow;
use std::io::{BufWriter, IsTerminal as _, StdoutLock, Write};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

/// stdout, buffered: for results that are written at once.
pub(crate) fn stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::new(std::io::stdout().lock())
}

/// Gives stdout to `print`, and writes out what that left in the buffer: a buffer that is dropped keeps its errors to itself.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn buffered(
    print: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> std::io::Result<()>,
) -> anyhow::Result<()> {
    let mut out = stdout();
    print(&mut out)?;
    out.flush()?;
    Ok(())
}

/// `text` as it is.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn text(text: &str) -> anyhow::Result<()> {
    buffered(|out| out.write_all(text.as_bytes()))
}

/// `value` as one line of JSON.
///
/// # Errors
/// When stdout cannot be written.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = stdout();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// `text` as the file at `path`, which stderr names.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn file(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    super::note::line("", &format!("wrote {}", path.display()));
    Ok(())
}

/// A model's text as stdout may have it: exactly in a pipe; on a terminal without the control characters that could change
/// its title, colours or keys (only `\n` and `\t` stay).
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    if std::io::stdout().is_terminal() { harmless(text) } else { Cow::Borrowed(text) }
}

/// `text` without the control characters that could change a terminal's title, colours or keys.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let harms = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(harms) { Cow::Owned(text.replace(harms, "")) } else { Cow::Borrowed(text) }
}

/// Whether `error` only says that nobody reads stdout any more (`guanaco … | head`).
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let kind = match (cause.downcast_ref::<std::io::Error>(), cause.downcast_ref::<serde_json::Error>()) {
            (Some(io), _) => Some(io.kind()),
            (None, Some(json)) => json.io_error_kind(),
            (None, None) => None,
        };
        kind == Some(std::io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn no_control_character_reaches_a_terminal() {
        assert_eq!(harmless("a\u{1b}]0;title\u{7}b\r\u{9b}1m\u{7f}"), "a]0;titleb1m");
        assert_eq!(harmless("Grüß\tdich,\n世界 🦙"), "Grüß\tdich,\n世界 🦙");
    }
}
