//! Every kernel × case × variant on every adapter of this machine, against the f64 references: a trial each.
//!
//! `GUANACO_ADAPTER` restricts it to one adapter. Without any adapter the suite shows one skipped case.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use guanaco_engine::gpu::{Gpu, GpuOptions, list_adapters};
use guanaco_engine::kernels::tune::{TUNABLE, Tunable};
use guanaco_engine::kernels::{KERNELS, conformance};
use guanaco_engine::model::check;
use guanaco_tests::{Outcome, Suite};

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let chosen = GpuOptions::from_env();
    let adapters: Vec<Option<String>> = match &chosen.adapter {
        Some(query) => vec![Some(query.clone())],
        None => list_adapters().iter().map(|facts| Some(facts.index.to_string())).collect(),
    };
    if adapters.is_empty() {
        suite.skip("conformance", "no adapter; `make test` installs Mesa's software Vulkan");
    }
    for adapter in adapters {
        let options = GpuOptions { adapter, ..chosen.clone() };
        let gpu = match Gpu::open(options) {
            Ok(gpu) => Arc::new(gpu),
            Err(error) => {
                suite.case("open the adapter", move || Err(error.into()));
                continue;
            }
        };
        let whole = gpu.clone();
        let label = format!("{} ({})", gpu.facts().name, gpu.facts().backend);
        suite.case(format!("{label}: whole models"), move || {
            let outcomes = check::run(&whole, &mut |_| {})?;
            println!(
                "{} checks, worst NMSE {:.1e}",
                outcomes.len(),
                outcomes.iter().map(|o| o.nmse).fold(0.0, f64::max)
            );
            let failures: Vec<_> = outcomes.into_iter().filter(|outcome| outcome.failure.is_some()).collect();
            anyhow::ensure!(failures.is_empty(), "{failures:#?}");
            Ok(())
        });
        for tunable in TUNABLE {
            let gpu = gpu.clone();
            suite.case(format!("{label}: what tune may choose for {}", tunable.kernel), move || {
                tunable_is_right(&gpu, tunable)
            });
        }
        for kernel in KERNELS {
            for case in (kernel.cases)() {
                for launch in (kernel.launches)(gpu.tier()) {
                    let (gpu, case) = (gpu.clone(), case.clone());
                    let title =
                        format!("{label}: {} {}/{}: {}", kernel.name, launch.variant, launch.invocations, case.name);
                    suite.case(title, move || {
                        let outcome = conformance::run_case(&gpu, kernel, &case, &launch);
                        outcome.failure.map_or(Ok(()), |failure| Err(anyhow::anyhow!(failure)))
                    });
                }
            }
        }
    }
    suite.run(Some(1))
}

/// The launches that only `guanaco tune` takes, on every case of their kernel.
fn tunable_is_right(gpu: &Gpu, tunable: &Tunable) -> Outcome {
    let kernel = KERNELS.iter().find(|kernel| kernel.name == tunable.kernel).context("not in the registry")?;
    let own = (kernel.launches)(gpu.tier());
    for launch in tunable.candidates(gpu.tier()).into_iter().filter(|launch| !own.contains(launch)) {
        for case in (kernel.cases)() {
            let outcome = conformance::run_case(gpu, kernel, &case, &launch);
            ensure!(outcome.failure.is_none(), "{outcome:?}");
        }
    }
    Ok(())
}
