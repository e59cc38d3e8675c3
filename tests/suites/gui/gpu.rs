//! The GPU page: conformance and bench in a process of their own, where they are, what they found, and how they are ended.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use eframe::egui::{Key, Modifiers};
use guanaco::desk::job::Outcome as Found;
use guanaco_engine::gpu::{find_adapter, list_adapters, list_adapters_and_tiers};
use guanaco_tests::Outcome;

use super::hands::Hands;

/// One kernel against its reference: progress, the table, the page that can be sent; then a run that is cancelled.
pub(crate) fn conformance() -> Outcome {
    let mut hands = Hands::new()?;
    hands.page(Key::Num4);
    // What is found moves what is below it.
    hands.wait_to_see("The best there is")?;
    chosen(&mut hands)?;
    ensure!(hands.sees("In use: ") && hands.sees("All kernels agree with their references."));
    hands.fill("Only kernels with", "softmax")?;
    hands.click("Conformance run")?;
    over(&mut hands)?;
    ensure!(hands.sees("no kernel has `softmax` in its name"), "{:?}", hands.labels());
    hands.click("Only kernels with")?;
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.write("rms_norm");
    hands.click("Conformance run")?;
    ensure!(hands.click("Bench").is_err(), "one run at a time");
    let seen = steps(&mut hands)?;
    let last = seen.last().context("the run never said where it is")?;
    ensure!(last.0 <= last.1 && last.1 > 0, "{seen:?}");
    let Some(Ok(Found::Conformance(report))) = hands.desk().job().and_then(|job| job.outcome.as_ref()) else {
        anyhow::bail!("{:?}", hands.desk().job())
    };
    let (cases, failed) = (report.cases.len(), report.failed());
    let kernels: Vec<String> = report.summary.iter().map(|line| line.kernel.clone()).collect();
    ensure!(cases == last.1, "{cases} cases, {last:?} were announced");
    ensure!(kernels.iter().all(|kernel| kernel.contains("rms_norm") && hands.sees(kernel)));
    ensure!(hands.sees(&format!("{failed} of {cases} cases failed")) && hands.sees("Error") && hands.sees("Limit"));
    hands.click("Save the report")?;
    let page = std::fs::read_to_string(hands.folder().join("guanaco-conformance.html"))?;
    ensure!(page.contains("<html") && page.contains("rms_norm"));
    ensure!(hands.sees("guanaco-conformance.html"), "where it is");
    cancel(&mut hands)
}

/// Each adapter with what it can do; one is chosen by its name, and the model is loaded on it.
fn chosen(hands: &mut Hands) -> Outcome {
    let (facts, tier) = list_adapters_and_tiers().into_iter().next().context("an adapter")?;
    let found = find_adapter(&list_adapters(), &facts.query()).map(|found| found.index);
    ensure!(found == Some(facts.index), "{found:?} of {facts}");
    let f16 = format!("f16 in shaders: {} · subgroups: ", if tier.f16 { "yes" } else { "no" });
    ensure!(
        hands.sees(&f16) && hands.sees("Largest binding: ") && hands.sees(" invocations, "),
        "{:?}",
        hands.labels()
    );
    let name =
        [format!("{} #{}", facts.name, facts.ordinal), facts.name.clone()].into_iter().find(|name| hands.sees(name));
    hands.click_first(&name.context("its name")?)?;
    hands.wait(|desk| desk.model.ready().is_some())?;
    let desk = hands.desk();
    ensure!(desk.choice.adapter == Some(facts.query()), "{:?}", desk.choice.adapter);
    let model = desk.model.ready().context("the model")?;
    ensure!(model.adapter.index == facts.index, "{}", model.adapter);
    hands.click("The best there is")?;
    hands.wait(|desk| desk.model.ready().is_some())?;
    ensure!(hands.desk().choice.adapter.is_none());
    Ok(())
}

/// A run of everything, which takes minutes, is ended at once.
fn cancel(hands: &mut Hands) -> Outcome {
    hands.click("Only kernels with")?;
    hands.press_with(Modifiers::COMMAND, Key::A);
    hands.press(Key::Backspace);
    hands.click("Conformance run")?;
    hands.wait(|desk| desk.job().and_then(guanaco::desk::job::Job::step).is_some_and(|step| step.done > 0))?;
    ensure!(hands.sees("Running for") && hands.sees(" of "));
    let start = Instant::now();
    hands.click("Cancel")?;
    ensure!(hands.desk().job().is_none() && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // The chat answers as before.
    hands.page(Key::Num1);
    hands.say("Hello!")
}

/// A bench of a short context: the model leaves the device and comes back, and the run is kept with its date.
pub(crate) fn bench() -> Outcome {
    let mut hands = Hands::new()?;
    hands.say("Hello!")?;
    hands.page(Key::Num3);
    hands.wait(|desk| matches!(desk.facts(), Some(Ok(_))))?;
    hands.number("Context", 64)?;
    let context = hands.desk().choice.context.context("a context")?;
    ensure!(context == 64, "{context}");
    hands.page(Key::Num4);
    hands.wait_to_see("The best there is")?;
    ensure!(!hands.sees("Earlier bench runs"));
    hands.click("Bench")?;
    ensure!(hands.desk().model.ready().is_none(), "the device is the bench's");
    let seen = steps(&mut hands)?;
    ensure!(seen.iter().any(|step| step.0 > 0), "{seen:?}");
    let Some(Ok(Found::Bench(report))) = hands.desk().job().and_then(|job| job.outcome.as_ref()) else {
        anyhow::bail!("{:?}", hands.desk().job())
    };
    let test = report.prefill.first().context("a test")?.name.clone();
    let plots = [("Prefill over size", report.prefill.len()), ("Decode over context", report.decode.len())];
    ensure!(report.context <= context && hands.sees(&test) && hands.sees("tok/s"));
    for (plot, tests) in plots {
        ensure!(tests > 0 && hands.sees(&format!("{plot}: {tests}")), "no plot {plot:?}: {:?}", hands.labels());
    }
    hands.wait(|desk| desk.model.ready().is_some())?;
    hands.page(Key::Num1);
    hands.page(Key::Num4);
    ensure!(hands.sees("Earlier bench runs") && hands.sees(" UTC") && hands.folder().join("bench.jsonl").is_file());
    hands.page(Key::Num1);
    ensure!(hands.path().len() == 2);
    hands.say("And again")
}

/// Waits for the end of the run.
fn over(hands: &mut Hands) -> Outcome {
    hands.wait(|desk| desk.job().is_none_or(|job| job.outcome.is_some()))
}

/// The same; returns what was seen of its steps.
fn steps(hands: &mut Hands) -> anyhow::Result<Vec<(usize, usize)>> {
    let seen = std::cell::RefCell::new(Vec::new());
    hands.wait(|desk| {
        let Some(job) = desk.job() else { return true };
        seen.borrow_mut().extend(job.step().map(|step| (step.done, step.total)));
        job.outcome.is_some()
    })?;
    Ok(seen.into_inner())
}
