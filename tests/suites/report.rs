//! What `guanaco conformance` and `guanaco bench` measure on the adapter of this machine. The figures themselves are nobody's
//! business here: a benchmark is never a timed test.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, ensure};
use guanaco::cli::bench::profile::Block;
use guanaco::cli::bench::{self, report::Spread};
use guanaco::cli::{Globals, conformance};
use guanaco_tests::device::gpu;
use guanaco_tests::{Outcome, Suite, data_dir};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

type Run = fn() -> Outcome;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let cases: [(&str, Run); 6] = [
        ("conformance: a filtered run, its JSON and its page", conformance_run),
        ("conformance: the whole models", whole_models),
        ("bench: the embedded model", || bench(&Globals::default())),
        ("bench: a fixture", bench_fixture),
        ("bench: a stop ends it", bench_stopped),
        ("the copy bandwidth is a bandwidth", copy_bandwidth),
    ];
    for (name, run) in cases {
        suite.device_case(name, run);
    }
    suite.run(Some(1))
}

/// JSON and back: the same, but for the last digit of a number, which `serde_json` does not promise.
fn comes_back<T: Serialize + DeserializeOwned>(report: &T) -> Outcome {
    fn same(a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs(),
                _ => false,
            },
            (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
            (Value::Object(a), Value::Object(b)) => {
                a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
            }
            (a, b) => a == b,
        }
    }
    let text = serde_json::to_string(report)?;
    let again = serde_json::to_string(&serde_json::from_str::<T>(&text)?)?;
    ensure!(same(&serde_json::from_str(&text)?, &serde_json::from_str(&again)?), "{text}\n{again}");
    Ok(())
}

fn conformance_run() -> Outcome {
    let gpu = gpu()?;
    let mut told = 0;
    let report = conformance::collect(&gpu, "rms_norm", &mut |_| told += 1)?;
    ensure!(report.passed && report.failed() == 0, "{report}");
    ensure!(told == report.cases.len() && told > 0, "{told} told, {} in the report", report.cases.len());
    ensure!(report.cases.iter().all(|case| case.kernel == "rms_norm" && case.nmse.is_some()));
    ensure!(report.summary.iter().map(|line| line.cases).sum::<usize>() == told);
    ensure!(report.adapter.name == gpu.facts().name);
    comes_back(&report)?;
    let page = conformance::html::page(&report);
    ensure!(page.starts_with("<!DOCTYPE html>") && page.contains("Passed"));
    ensure!(page.matches("class=\"good\">passed").count() == told);

    let error = conformance::collect(&gpu, "no such kernel", &mut |_| {}).err().context("expected an error")?;
    ensure!(error.to_string().contains("rms_norm"), "{error}");
    Ok(())
}

fn whole_models() -> Outcome {
    let report = conformance::collect(&gpu()?, "model", &mut |_| {})?;
    ensure!(report.passed && report.cases.len() >= 2, "{report}");
    Ok(())
}

fn arguments(prompt: u32, new: u32) -> bench::Args {
    bench::Args { prompt_tokens: Some(prompt), new_tokens: Some(new), runs: 2, ..bench::Args::default() }
}

fn measure(args: &bench::Args, globals: &Globals) -> anyhow::Result<bench::report::Report> {
    bench::measure(args, globals, || Ok(Arc::default()))
}

fn bench_fixture() -> Outcome {
    let models = data_dir().join("models");
    let mut folders: Vec<_> = std::fs::read_dir(&models)?.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let model = folders.into_iter().find(|folder| folder.join("config.json").is_file()).context("no fixture")?;
    bench(&Globals { model: Some(model), ..Globals::default() })
}

fn bench(globals: &Globals) -> Outcome {
    let report = measure(&arguments(5, 3), globals)?;
    let sound = |spread: &Spread| {
        spread.runs.len() == 2
            && [spread.min, spread.median, spread.max].iter().all(|figure| figure.is_finite() && *figure > 0.0)
            && spread.min <= spread.median
            && spread.median <= spread.max
    };
    let decode = report.decode_tok_per_s.as_ref().context("no decode figure")?;
    ensure!(sound(decode) && sound(&report.prefill_tok_per_s) && sound(&report.first_token_s), "{report}");
    ensure!(report.bandwidth_share.is_some_and(|share| share.is_finite() && share > 0.0), "{report}");
    ensure!((report.prompt_tokens, report.new_tokens, report.context) == (5, 3, 9), "{report}");
    ensure!(report.dispatches_per_token > 2 && report.bytes_per_token > 0 && report.load_s > 0.0, "{report}");
    ensure!(report.profile.is_none() && report.matmul_flops.is_some_and(|flops| flops > 0.0), "{report}");
    let [decode] = report.decode.as_slice() else { anyhow::bail!("{report}") };
    ensure!(decode.host.s_per_token > 0.0 && decode.host.share > 0.0 && decode.host.share <= 1.0, "{report}");
    comes_back(&report)?;

    let report = measure(&bench::Args { profile: true, ..arguments(5, 3) }, globals)?;
    profiled(&report)?;
    comes_back(&report)?;
    let page = bench::html::page(&report);
    ensure!(page.contains("A decode step") && page.contains("A chunk of a prompt"));

    let report = measure(&arguments(1, 0), globals)?;
    ensure!(report.decode_tok_per_s.is_none() && report.bandwidth_share.is_none(), "{report}");
    Ok(())
}

/// Every dispatch is there, has its place in the chart, and took time.
fn profiled(report: &bench::report::Report) -> Outcome {
    let profile = report.profile.as_ref().context("no profile")?;
    ensure!(profile.decode.kernels.iter().map(|line| line.calls).sum::<usize>() == report.dispatches_per_token);
    for step in [&profile.prefill, &profile.decode] {
        ensure!(step.seconds > 0.0, "{report}");
        let blocks: Vec<Block> = step.blocks().into_iter().map(|(block, _)| block).collect();
        ensure!(blocks == [Block::Embed, Block::Attention, Block::Mlp, Block::Head], "{blocks:?}: {report}");
        let shares: f64 = step.kernels.iter().map(|line| line.share).sum();
        ensure!((shares - 1.0).abs() < 1e-9, "{shares}: {report}");
        let counts = |label: &str| step.kernels.iter().any(|line| line.label == label && line.flops.is_some());
        ensure!(counts("down_proj") && counts("lm_head"), "{report}");
    }
    Ok(())
}

fn bench_stopped() -> Outcome {
    let stopped = || Ok(Arc::new(AtomicBool::new(true)));
    let error = bench::measure(&arguments(5, 3), &Globals::default(), stopped).err().context("it went on")?;
    ensure!(error.to_string() == "interrupted", "{error}");
    Ok(())
}

fn copy_bandwidth() -> Outcome {
    let measured = gpu()?.measure_copy_bandwidth()?;
    // From an old phone to a few years from now: what lies outside is a clock that was read wrongly.
    ensure!((1e8..1e14).contains(&measured), "{measured} bytes a second");
    Ok(())
}
