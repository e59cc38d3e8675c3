//! Files that this version recognises and does not read: each gets a message that says what it is and what to do.

/// What `bytes` are, when they are something well known that cannot be a model's text or tensors: a clause for an error message.
pub(super) fn describe(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let starts_text = |tag: &[u8]| text.get(..tag.len()).is_some_and(|head| head.eq_ignore_ascii_case(tag));
    if starts(b"version https://git-lfs") {
        return Some("a git-lfs pointer stands in place of the file: run `git lfs pull`, or download the file itself");
    }
    if starts_text(b"<!doctype html") || starts_text(b"<html") {
        return Some("an HTML page stands in place of the file: the download failed, download it again");
    }
    if starts(b"PK\x03\x04") || starts(b"\x80\x02") {
        return Some("a PyTorch file (a zip or a pickle) stands in place of the file: download the file itself");
    }
    if [&b"tjgg"[..], b"lmgg", b"fmgg"].iter().any(|magic| starts(magic)) {
        return Some(
            "this is a GGML file older than GGUF, which this program does not read: download the model as GGUF or safetensors",
        );
    }
    None
}
