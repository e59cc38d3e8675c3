//! Links: opened only where a browser opens them. Replies, cards and imported chats are other people's, and the desktop would hand
//! `file:` or any program's own scheme to whatever is registered for it.

use eframe::egui::{Context, OutputCommand};

/// Whether `link` is one for a browser.
pub(super) fn is_web(link: &str) -> bool {
    let scheme = link.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

/// Takes the links that are for no browser out of what this frame asks of the desktop, and returns them.
pub(super) fn take_others(ctx: &Context) -> Vec<String> {
    let mut others = Vec::new();
    ctx.output_mut(|output| {
        output.commands.retain(|command| match command {
            OutputCommand::OpenUrl(open) if !is_web(&open.url) => {
                others.push(open.url.clone());
                false
            }
            _ => true,
        });
    });
    others
}

#[cfg(test)]
mod tests {
    use super::is_web;

    #[test]
    fn only_a_browsers_schemes_are_opened() {
        for link in ["https://example.org/a", "http://example.org", "HTTPS://EXAMPLE.ORG"] {
            assert!(is_web(link), "{link}");
        }
        let others =
            ["file:///etc/passwd", "javascript:alert(1)", "mailto:a@b", "steam://run/1", "//host/share", "", "http:x"];
        for link in others.into_iter().chain([" https://a", "x-https://a", "\\\\host\\share", "https:/\\a"]) {
            assert!(!is_web(link), "{link}");
        }
    }
}
