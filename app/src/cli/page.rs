//! HTML pages that need nothing else: no script runs, nothing is fetched, light and dark are both legible. The whole JSON lies
//! in each too, so that whoever receives the page has every figure.

use std::fmt::Write as _;

use guanaco_engine::gpu::{AdapterFacts, Tier};
use serde::Serialize;

use super::conformance::report::Platform;
use super::devices::size;

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1c2321; --paper: #fbfaf7; --line: #d9d5cb; --soft: #6a6f6c; --good: #2e7d4f;
  --bad: #b3261e; --track: #e9e6de; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e4de; --paper: #171a19; --line: #3a3f3d; --soft: #a0a5a2;
  --good: #6fbf8f; --bad: #ff8a80; --track: #2b302e; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.verdict { font-size: 1.2rem; font-weight: 600; margin: .5rem 0 1.5rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .facts th { width: 14rem; }
.n { text-align: right; white-space: nowrap; } .why { color: var(--bad); overflow-wrap: anywhere; }
.bar { display: inline-block; width: 8rem; height: .6rem; background: var(--track); border-radius: .3rem; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--good); } .bar.bad i { background: var(--bad); }
.soft, footer { color: var(--soft); } footer { margin: 2rem 0; }
";

/// Everything before the content; `style` is what this page needs beside the common one.
pub(crate) fn begin(page: &mut String, title: &str, style: &str) -> std::fmt::Result {
    let title = escape(title);
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
}

/// Everything behind it: `footer` (HTML), and the whole `report`.
pub(crate) fn end(page: &mut String, footer: &str, report: &impl Serialize) -> std::fmt::Result {
    // `<` is written as an escape, so that no text in it can end the element.
    let json = serde_json::to_string(report).unwrap_or_default().replace('<', "\\u003c");
    write!(
        page,
        "<footer>{footer}</footer>\n<script type=\"application/json\" id=\"report\">{json}</script>\n</body>\n</html>\n"
    )
}

/// A table of names and values.
pub(crate) fn table_of_facts(page: &mut String, title: &str, rows: &[(&str, String)]) -> std::fmt::Result {
    write!(page, "<h2>{}</h2>\n<div class=\"scroll\"><table class=\"facts\">\n", escape(title))?;
    for (what, value) in rows {
        writeln!(page, "<tr><th>{}</th><td>{}</td></tr>", escape(what), escape(value))?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

/// Which adapter, and which program.
pub(crate) fn adapter(adapter: &AdapterFacts, engine: &str, platform: &Platform) -> Vec<(&'static str, String)> {
    vec![
        ("Adapter", adapter.name.clone()),
        ("Kind", format!("{}, {}", adapter.kind, adapter.backend)),
        ("Vendor : device", format!("{:04x}:{:04x}", adapter.vendor, adapter.device)),
        ("Driver", adapter.driver.clone()),
        ("Program", format!("guanaco {engine}, {} {}", platform.os, platform.arch)),
    ]
}

/// What the adapter can do.
pub(crate) fn features(tier: &Tier) -> Vec<(&'static str, String)> {
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    let subgroup = match tier.subgroup {
        None => "no".to_owned(),
        Some((min, max)) if min == max => min.to_string(),
        Some((min, max)) => format!("{min} to {max}"),
    };
    vec![
        ("f16 in shaders", yes(tier.f16)),
        ("Subgroups", subgroup),
        ("Cooperative matrices", tier.coop_text()),
        ("Timestamps", yes(tier.timestamps)),
        ("Largest binding", size(tier.max_binding)),
        ("Largest buffer", size(tier.max_buffer)),
        ("Workgroup", format!("{} invocations, {}", tier.max_invocations, size(tier.max_workgroup_bytes.into()))),
        ("Storage buffers", format!("{} a shader", tier.max_storage_buffers)),
        ("Workgroups", format!("{} along one dimension", tier.max_workgroups)),
        ("Offset alignment", size(tier.offset_alignment.into())),
    ]
}

/// `text` as HTML text and attribute value: what a driver says of itself is not trusted.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() && !c.is_whitespace() => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}
