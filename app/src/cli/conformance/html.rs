//! The report as one HTML page.

use std::fmt::Write as _;

use super::report::{CaseResult, Report, number};
use crate::cli::page::{adapter, begin, end, escape, features, table_of_facts};

/// The page.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, report);
    page
}

fn write(page: &mut String, report: &Report) -> std::fmt::Result {
    let (all, failed) = (report.cases.len(), report.failed());
    begin(page, &format!("Guanaco conformance: {}", report.adapter.name), "")?;
    let class = if report.passed { "good" } else { "bad" };
    let verdict = if report.passed { "Passed" } else { "Failed" };
    writeln!(page, "<p class=\"verdict {class}\">{verdict}: {} of {all} cases are right.</p>", all - failed)?;
    if let Some(reason) = &report.aborted {
        writeln!(page, "<p class=\"bad\">The run ended early: {}</p>", escape(reason))?;
    }
    facts(page, report)?;
    summary(page, report)?;
    cases(page, report)?;
    let footer = "Written by <code>guanaco conformance --html</code>. The error of a case is the normalised mean squared error \
                  of its outputs, Σ(y − ref)² / Σ ref², against a reference in double precision; each bar is on a logarithmic \
                  scale of eight decades, and full at the limit.";
    end(page, footer, report)
}

fn facts(page: &mut String, report: &Report) -> std::fmt::Result {
    let mut rows = adapter(&report.adapter, &report.engine, &report.platform);
    rows.extend(features(&report.tier));
    if report.baseline_only {
        rows.push(("Restricted to", "the portable baseline: optional features were left out".to_owned()));
    }
    rows.extend(report.fallbacks.iter().map(|fallback| ("Fails its self-test", fallback.clone())));
    if !report.filter.is_empty() {
        rows.push(("Restricted to", format!("kernels with “{}” in their name", report.filter)));
    }
    table_of_facts(page, "Adapter", &rows)
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
