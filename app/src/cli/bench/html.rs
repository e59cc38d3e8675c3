//! The report as one HTML page: figures, and a flame chart of a decode step and of a prefill chunk.

use std::fmt::Write as _;

use super::history::{Change, Verdict};
use super::profile::{Block, Profile, Step};
use super::report::{Report, Spread, figure};
use crate::cli::devices::size;
use crate::cli::page::{adapter, begin, end, escape, features, table_of_facts};

/// Beside the common style. A row of the chart is a line of cells as wide as their time; the cells below one lie in it.
const STYLE: &str = "\
:root { --embed: #c9d7e8; --attention: #f3d3a2; --mlp: #bfe0c4; --head: #e3c7e6; --other: #d8d4ca; }
@media (prefers-color-scheme: dark) { :root { --embed: #33475f; --attention: #6b4d1c; --mlp: #2c5a38; --head: #5a3a60;
  --other: #45443f; } }
.flame { margin: .5rem 0 1rem; }
.flame > div { display: flex; }
.flame span { box-sizing: border-box; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; font-size: .8rem;
  padding: .15rem 0; text-indent: .3rem; border: solid var(--paper); border-width: 0 1px 1px 0; min-width: 0; background: var(--track); }
.flame .embed { background: var(--embed); } .flame .attention { background: var(--attention); }
.flame .mlp { background: var(--mlp); } .flame .head { background: var(--head); } .flame .other { background: var(--other); }
";

/// The page.
pub fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut page, report);
    page
}

fn write(page: &mut String, report: &Report) -> std::fmt::Result {
    begin(page, &format!("Guanaco bench: {} on {}", report.model.name, report.adapter.name), STYLE)?;
    tests(page, report)?;
    if let Some(profile) = &report.profile {
        chart(page, "A decode step", &profile.decode, profile)?;
        chart(page, "A chunk of a prompt", &profile.prefill, profile)?;
    }
    host(page, report)?;
    changes(page, &report.changes)?;
    facts(page, report)?;
    let footer = "Written by <code>guanaco bench --html</code>. Prefill and decode are in tokens a second, medians with the smallest \
                  and largest run. The share of the copy bandwidth is the bytes that a decode step reads, over its time, as a part \
                  of what copies within the device move; that of the matmul peak is the operations of a prompt, over its time, as a \
                  part of what the best matmul kernel makes in a large square product.";
    end(page, footer, report)
}

fn range(spread: &Spread, factor: f64) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| figure(value * factor));
    format!("{median} ({min}–{max})")
}

fn tests(page: &mut String, report: &Report) -> std::fmt::Result {
    page.push_str(
        "<h2>Tests</h2>\n<div class=\"scroll\"><table>\n<tr><th>Test</th><th class=\"n\">tok/s</th>\
         <th class=\"n\">Time to first token, ms</th><th class=\"n\">Of</th><th>Share</th></tr>\n",
    );
    let mut row = |name: &str, tok_per_s: &Spread, first: &str, roof: &str, share: Option<f64>| {
        let share = share.unwrap_or_default();
        let (percent, width) = (figure(share * 100.0), (share * 100.0).clamp(0.0, 100.0));
        writeln!(
            page,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{first}</td><td class=\"n\">{roof}</td>\
             <td><span class=\"bar\"><i style=\"width:{width:.0}%\"></i></span> {percent} %</td></tr>",
            escape(name),
            range(tok_per_s, 1.0)
        )
    };
    for test in &report.prefill {
        let first = test.first_token_s.as_ref().map_or_else(|| "-".to_owned(), |first| range(first, 1e3));
        row(&test.name, &test.tok_per_s, &first, "the matmul peak", test.matmul_share)?;
    }
    for test in &report.decode {
        row(&test.name, &test.tok_per_s, "-", "the copy bandwidth", test.bandwidth_share)?;
    }
    for out in &report.left_out {
        let (name, why) = (escape(&out.name), escape(&out.why));
        writeln!(page, "<tr><td>{name}</td><td class=\"soft\" colspan=\"4\">left out: {why}</td></tr>")?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

/// Three rows: the step, its blocks, and the dispatches of each block by label; then the table of the same.
fn chart(page: &mut String, title: &str, step: &Step, profile: &Profile) -> std::fmt::Result {
    let instead = profile.instead.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    writeln!(
        page,
        "<h2>{}</h2>\n<p class=\"soft\">Milliseconds of GPU time, {}{}.</p>",
        escape(title),
        profile.clock,
        escape(&instead)
    )?;
    let label = format!("{title}: {} ms", figure(step.seconds * 1e3));
    writeln!(page, "<div class=\"flame\" role=\"img\" aria-label=\"{}\">", escape(&label))?;
    let tokens = if step.tokens == 1 { "1 token".to_owned() } else { format!("{} tokens", step.tokens) };
    row(page, step, &[("step", format!("{tokens} from position {}", step.pos), step.seconds, String::new())])?;
    let blocks = step.blocks();
    let cells: Vec<Cell> = blocks
        .iter()
        .map(|(block, seconds)| (class(*block), block.title().to_owned(), *seconds, String::new()))
        .collect();
    row(page, step, &cells)?;
    let lines = blocks.iter().flat_map(|(block, _)| step.kernels.iter().filter(|line| line.block == *block));
    let cells: Vec<Cell> = lines
        .map(|line| {
            let calls = format!(", {} calls of {} {}", line.calls, line.kernel, line.variant);
            (class(line.block), line.label.clone(), line.seconds, calls)
        })
        .collect();
    row(page, step, &cells)?;
    page.push_str("</div>\n");
    kernels(page, step)
}

/// Class, text, seconds, and what its tooltip says beside them.
type Cell = (&'static str, String, f64, String);

fn row(page: &mut String, step: &Step, cells: &[Cell]) -> std::fmt::Result {
    page.push_str("<div>");
    for (class, text, seconds, detail) in cells {
        let (text, ms) = (escape(text), figure(seconds * 1e3));
        let share = 100.0 * seconds / step.seconds.max(f64::MIN_POSITIVE);
        write!(
            page,
            "<span class=\"{class}\" style=\"width:{share:.3}%\" title=\"{text}: {ms} ms, {share:.1} %{}\">{text} {ms}</span>",
            escape(detail)
        )?;
    }
    page.push_str("</div>\n");
    Ok(())
}

fn class(block: Block) -> &'static str {
    match block {
        Block::Embed => "embed",
        Block::Attention => "attention",
        Block::Mlp => "mlp",
        Block::Head => "head",
        Block::Other => "other",
    }
}

fn kernels(page: &mut String, step: &Step) -> std::fmt::Result {
    page.push_str(
        "<div class=\"scroll\"><table>\n<tr><th>Dispatch</th><th>Kernel</th><th class=\"n\">Calls</th><th class=\"n\">ms</th>\
         <th class=\"n\">%</th><th class=\"n\">GB/s</th><th class=\"n\">GFLOP/s</th></tr>\n",
    );
    let rate = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| figure(rate / 1e9));
    for line in &step.kernels {
        writeln!(
            page,
            "<tr><td>{}</td><td>{} {}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.1}</td>\
             <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(&line.label),
            escape(&line.kernel),
            escape(&line.variant),
            line.calls,
            figure(line.seconds * 1e3),
            line.share * 100.0,
            rate(line.weight_bytes_per_s),
            rate(line.flops)
        )?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn host(page: &mut String, report: &Report) -> std::fmt::Result {
    if report.decode.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<h2>The host's work for a token, µs</h2>\n<div class=\"scroll\"><table>\n<tr><th>Test</th><th class=\"n\">All</th>\
         <th class=\"n\">Of its time, %</th><th class=\"n\">Recording</th><th class=\"n\">Submit</th>\
         <th class=\"n\">Sampling</th><th class=\"n\">Detokenizing</th><th class=\"n\">The rest</th></tr>\n",
    );
    for test in &report.decode {
        let host = &test.host;
        write!(page, "<tr><td>{}</td>", escape(&test.name))?;
        let us = [host.recording_s, host.submit_s, host.sampling_s, host.detokenize_s, host.rest_s].map(|s| s * 1e6);
        for value in [host.s_per_token * 1e6, host.share * 100.0].into_iter().chain(us) {
            write!(page, "<td class=\"n\">{}</td>", figure(value))?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn changes(page: &mut String, changes: &[Change]) -> std::fmt::Result {
    if changes.is_empty() {
        return Ok(());
    }
    page.push_str(
        "<h2>Changes</h2>\n<div class=\"scroll\"><table>\n<tr><th>Against</th><th>Figure</th><th class=\"n\">Then</th>\
         <th class=\"n\">Now</th><th class=\"n\">Ratio</th><th></th></tr>\n",
    );
    for change in changes {
        let class = match change.verdict {
            Verdict::Better => "good",
            Verdict::Worse => "bad",
            _ => "soft",
        };
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:.3}</td>\
             <td class=\"{class}\">{}</td></tr>",
            escape(&change.against),
            escape(&change.what),
            range(&change.before, 1.0),
            range(&change.now, 1.0),
            change.ratio,
            change.verdict
        )?;
    }
    page.push_str("</table></div>\n");
    Ok(())
}

fn facts(page: &mut String, report: &Report) -> std::fmt::Result {
    let model = &report.model;
    let mut rows = vec![
        ("Model", model.name.clone()),
        ("Shape", format!("{} layers of {}, vocabulary of {}", model.n_layers, model.dim, model.vocab_size)),
        ("Loaded in", format!("{} s", figure(report.load_s))),
        ("Memory on the device", size(report.memory.total())),
        (
            "A decode step",
            format!("{} dispatches, reads {}", report.dispatches_per_token, size(report.bytes_per_token)),
        ),
        ("Copies within the device", format!("{} GB/s", figure(report.copy_bytes_per_s / 1e9))),
    ];
    rows.extend(report.peak_memory_bytes.map(|bytes| ("Memory of the process, at most", size(bytes))));
    rows.extend(report.matmul_flops.map(|flops| ("Best matmul", format!("{} GFLOP/s", figure(flops / 1e9)))));
    rows.extend(report.tuned.iter().map(|tuned| ("Tuned", tuned.clone())));
    rows.extend(report.fallbacks.iter().map(|fallback| ("Fails its self-test", fallback.clone())));
    table_of_facts(page, "Model", &rows)?;
    let mut rows = adapter(&report.adapter, &report.engine, &report.platform);
    rows.extend(features(&report.tier));
    table_of_facts(page, "Adapter", &rows)
}

#[cfg(test)]
mod tests {
    use super::super::history::compare;
    use super::super::report::tests::report;
    use super::*;

    /// Names of elements that are open at the end, and the first that ends wrongly.
    fn unbalanced(page: &str) -> Result<Vec<&str>, String> {
        const VOID: [&str; 3] = ["meta", "br", "!DOCTYPE"];
        let mut open = Vec::new();
        for tag in page.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').ok_or_else(|| format!("<{tag} does not end"))?;
            let name = tag.split_whitespace().next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(name) => {
                    let last = open.pop();
                    if last != Some(name) {
                        return Err(format!("</{name}> ends {last:?}"));
                    }
                }
                None if VOID.contains(&name) => {}
                None => open.push(name),
            }
        }
        Ok(open)
    }

    #[test]
    fn the_page_is_well_formed_and_needs_nothing_else() {
        let mut report = report([100.0, 101.0, 102.0]);
        report.changes = compare("a <b>.json", &report, &report);
        let page = page(&report);
        assert_eq!(unbalanced(&page), Ok(Vec::new()));
        assert!(unbalanced("<p><b></p>").is_err());
        for outside in ["http://", "https://", " src=", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        for tag in ["<b>", "<i>", "<script>alert"] {
            assert!(!page.replace("<i style", "").contains(tag), "{tag}");
        }
        assert!(page.contains("prefers-color-scheme: dark"));
        let json = page.split_once("id=\"report\">").and_then(|(_, rest)| rest.split_once("</script>"));
        let back: Report = serde_json::from_str(json.unwrap().0).unwrap();
        assert_eq!((back.prefill, back.profile), (report.prefill, report.profile));
    }

    #[test]
    fn each_row_of_a_chart_is_as_wide_as_the_step() {
        let page = page(&report([100.0, 101.0, 102.0]));
        let charts: Vec<&str> = page.split("class=\"flame\"").skip(1).collect();
        assert_eq!(charts.len(), 2);
        for chart in charts {
            let (chart, _) = chart.split_once("</div>\n</div>").unwrap();
            let rows: Vec<&str> = chart.split("<div>").skip(1).collect();
            assert_eq!(rows.len(), 3);
            for row in rows {
                let widths = row.split("style=\"width:").skip(1).map(|cell| cell.split_once('%').unwrap().0);
                let sum: f64 = widths.map(|width| width.parse::<f64>().unwrap()).sum();
                assert!((sum - 100.0).abs() < 0.1, "{sum}: {row}");
            }
            assert!(chart.contains("attention, all layers") && chart.contains("&lt;b&gt;odd&lt;/b&gt;"));
        }
        let plain = Report { profile: None, ..report([1.0, 1.0, 1.0]) };
        assert!(!super::page(&plain).contains("class=\"flame\""));
    }
}
