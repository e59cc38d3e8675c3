//! The report as one HTML page that needs nothing else: no script runs, nothing is fetched, light and dark are both legible.
//! The whole JSON lies in it too, so that whoever receives the page has every figure.

use std::fmt::Write as _;

use guanaco_engine::gpu::Tier;

use super::report::{CaseResult, Report, number};
use crate::cli::devices::size;

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

/// The page.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, report);
    page
}

fn write(page: &mut String, report: &Report) -> std::fmt::Result {
    let (name, all, failed) = (escape(&report.adapter.name), report.cases.len(), report.failed());
    write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Guanaco conformance: {name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Guanaco conformance: {name}</h1>\n"
    )?;
    let class = if report.passed { "good" } else { "bad" };
    let verdict = if report.passed { "Passed" } else { "Failed" };
    writeln!(page, "<p class=\"verdict {class}\">{verdict}: {} of {all} cases are right.</p>", all - failed)?;
    if let Some(reason) = &report.aborted {
        writeln!(page, "<p class=\"bad\">The run ended early: {}</p>", escape(reason))?;
    }
    facts(page, report)?;
    summary(page, report)?;
    cases(page, report)?;
    // `<` is written as an escape, so that no text in it can end the element.
    let json = serde_json::to_string(report).unwrap_or_default().replace('<', "\\u003c");
    write!(
        page,
        "<footer>Written by <code>guanaco conformance --html</code>. The error of a case is the normalised mean squared error \
         of its outputs, Σ(y − ref)² / Σ ref², against a reference in double precision; each bar is on a logarithmic scale of \
         eight decades, and full at the limit.</footer>\n\
         <script type=\"application/json\" id=\"report\">{json}</script>\n</body>\n</html>\n"
    )
}

fn facts(page: &mut String, report: &Report) -> std::fmt::Result {
    let (adapter, tier) = (&report.adapter, &report.tier);
    let mut rows = vec![
        ("Adapter", adapter.name.clone()),
        ("Kind", format!("{}, {}", adapter.kind, adapter.backend)),
        ("Vendor : device", format!("{:04x}:{:04x}", adapter.vendor, adapter.device)),
        ("Driver", adapter.driver.clone()),
        ("Program", format!("guanaco {}, {} {}", report.engine, report.platform.os, report.platform.arch)),
    ];
    rows.extend(features(tier));
    if report.baseline_only {
        rows.push(("Restricted to", "the portable baseline: optional features were left out".to_owned()));
    }
    rows.extend(report.fallbacks.iter().map(|fallback| ("Fails its self-test", fallback.clone())));
    if !report.filter.is_empty() {
        rows.push(("Restricted to", format!("kernels with “{}” in their name", report.filter)));
    }
    page.push_str("<h2>Adapter</h2>\n<div class=\"scroll\"><table class=\"facts\">\n");
    for (what, value) in rows {
        writeln!(page, "<tr><th>{what}</th><td>{}</td></tr>", escape(&value))?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn features(tier: &Tier) -> Vec<(&'static str, String)> {
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

fn summary(page: &mut String, report: &Report) -> std::fmt::Result {
    page.push_str(
        "<h2>Kernels</h2>\n<div class=\"scroll\"><table>\n<tr><th>Kernel</th><th>Variant</th><th class=\"n\">Cases</th>\
         <th class=\"n\">Failed</th><th class=\"n\">Worst NMSE</th><th class=\"n\">Limit</th><th class=\"n\">ms</th></tr>\n",
    );
    for line in &report.summary {
        let class = if line.failed > 0 { "n bad" } else { "n" };
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"{class}\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{:.1}</td></tr>",
            escape(&line.kernel),
            escape(&line.variant),
            line.cases,
            line.failed,
            number(line.worst_nmse),
            number(line.limit),
            line.ms
        )?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

/// Every case, the failed ones first.
fn cases(page: &mut String, report: &Report) -> std::fmt::Result {
    page.push_str(
        "<h2>Cases</h2>\n<div class=\"scroll\"><table>\n<tr><th>Result</th><th>Kernel</th><th>Variant</th><th>Case</th>\
         <th class=\"n\">NMSE</th><th class=\"n\">Limit</th><th>Error against limit</th><th class=\"n\">ms</th></tr>\n",
    );
    let passed = report.cases.iter().filter(|case| case.failure.is_none());
    for case in report.failures().chain(passed) {
        let (class, result) = if case.failure.is_some() { ("bad", "failed") } else { ("good", "passed") };
        write!(
            page,
            "<tr><td class=\"{class}\">{result}</td><td>{}</td><td>{}</td><td>{}",
            escape(&case.kernel),
            escape(&case.variant),
            escape(&case.case)
        )?;
        if let Some(failure) = &case.failure {
            write!(page, "<div class=\"why\">{}</div>", escape(failure))?;
        }
        writeln!(
            page,
            "</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{:.1}</td></tr>",
            number(case.nmse),
            number(Some(case.limit)),
            bar(case),
            case.ms
        )?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

/// The error on a logarithmic scale of eight decades that ends at the limit; nothing where there is no error to show.
fn bar(case: &CaseResult) -> String {
    let Some(share) = case.share() else { return String::new() };
    let percent = (100.0 * (1.0 + share.log10() / 8.0)).clamp(0.0, 100.0);
    let class = if case.failure.is_some() { "bar bad" } else { "bar" };
    format!("<span class=\"{class}\"><i style=\"width:{percent:.0}%\"></i></span>")
}

/// `text` as HTML text and attribute value: what a driver says of itself is not trusted.
fn escape(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn what_the_driver_says_stays_text() {
        assert_eq!(escape("a<b>&\"c\" 'd'\u{1b}[1m"), "a&lt;b&gt;&amp;&quot;c&quot; &#39;d&#39;\u{FFFD}[1m");
        let page = page(&report(&[("<i>case</i>", 1.0, Some("<img src=x onerror=alert(1)>"))]));
        for tag in ["<script>alert", "<b>", "<i>case", "<img"] {
            assert!(!page.contains(tag), "{tag}");
        }
        // One element of data, which no text can end, and none that runs.
        assert_eq!(page.matches("<script").count(), 1);
        assert_eq!(page.matches("</script>").count(), 1);
    }

    #[test]
    fn the_page_needs_nothing_else_and_holds_the_whole_report() {
        let report = report(&[("a", 1e-9, None), ("b", 2e-3, Some("NMSE 2e-3"))]);
        let page = page(&report);
        for outside in ["http://", "https://", " src=", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
        let json = page.split_once("id=\"report\">").and_then(|(_, rest)| rest.split_once("</script>"));
        let back: Report = serde_json::from_str(json.unwrap().0).unwrap();
        assert_eq!(back.cases, report.cases);
        assert_eq!(back.adapter.name, report.adapter.name);
    }

    #[test]
    fn failures_stand_first_and_their_bars_are_full() {
        let page = page(&report(&[("fine", 5e-8, None), ("wrong", 2e-3, Some("NMSE 2e-3")), ("exact", 0.0, None)]));
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text}"));
        assert!(at("<td>wrong") < at("<td>fine") && at("<td>fine") < at("<td>exact"));
        assert!(page.contains("<span class=\"bar bad\"><i style=\"width:100%\">"));
        assert!(page.contains("<span class=\"bar\"><i style=\"width:50%\">"));
        assert!(page.contains("<span class=\"bar\"><i style=\"width:0%\">"));
        assert!(page.contains("Failed: 2 of 3 cases are right."));
    }
}
