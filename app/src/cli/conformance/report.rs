//! What a conformance run found, in the shape of its JSON, and as text.

use std::fmt;

use guanaco_engine::gpu::{AdapterFacts, Gpu, Tier};
use guanaco_engine::kernels::conformance::Outcome;
use serde::{Deserialize, Serialize};

/// The number in `format`: goes up when a field changes its meaning or goes away.
pub const FORMAT: u32 = 1;

/// A whole run on one adapter. It carries no date, so that two runs can be compared line by line but for their times.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Version of the program.
    pub engine: String,
    /// What it ran on.
    pub platform: Platform,
    /// The adapter and its driver.
    pub adapter: AdapterFacts,
    /// What the adapter can do: features and limits.
    pub tier: Tier,
    /// Were the optional features left out (`GUANACO_BASELINE=1`)?
    pub baseline_only: bool,
    /// Kernel variants that failed their self-test, so that the whole models ran others: kernel, variant, reason.
    #[serde(default)]
    pub fallbacks: Vec<String>,
    /// Only kernels with this in their name ran.
    pub filter: String,
    /// Did every case pass, and the run come to its end?
    pub passed: bool,
    /// Why the run ended early.
    pub aborted: Option<String>,
    /// One line a kernel and variant.
    pub summary: Vec<Line>,
    /// Every case, in the order in which they ran.
    pub cases: Vec<CaseResult>,
}

/// The operating system and the processor that the program was built for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`, `macos`, `windows`, ….
    pub os: String,
    /// `x86_64`, `aarch64`, ….
    pub arch: String,
}

impl Platform {
    /// This program's.
    pub fn here() -> Self {
        Self { os: std::env::consts::OS.to_owned(), arch: std::env::consts::ARCH.to_owned() }
    }
}

/// What the cases of one kernel in one variant came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The kernel.
    pub kernel: String,
    /// Its variant and workgroup, `subgroup/8`.
    pub variant: String,
    /// Cases.
    pub cases: usize,
    /// Of these, failed ones.
    pub failed: usize,
    /// The error of the case that came nearest to its limit (or went furthest beyond); null when no case has one.
    pub worst_nmse: Option<f64>,
    /// The limit of that case.
    pub limit: Option<f64>,
    /// Milliseconds of all cases.
    pub ms: f64,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// The kernel.
    pub kernel: String,
    /// Its variant and workgroup, `subgroup/8`.
    pub variant: String,
    /// The case.
    pub case: String,
    /// The largest normalised mean squared error over the outputs; null when none could be computed.
    pub nmse: Option<f64>,
    /// What it must stay below.
    pub limit: f64,
    /// Milliseconds from submit to result.
    pub ms: f64,
    /// Why it failed; null when it passed.
    pub failure: Option<String>,
}

impl CaseResult {
    /// The error as a share of its limit. A limit of 0 means equal bit by bit.
    pub fn share(&self) -> Option<f64> {
        self.nmse.map(|nmse| if nmse == 0.0 { 0.0 } else { nmse / self.limit })
    }
}

impl From<&Outcome> for CaseResult {
    fn from(outcome: &Outcome) -> Self {
        Self {
            kernel: outcome.kernel.clone(),
            variant: outcome.variant.clone(),
            case: outcome.case.clone(),
            nmse: Some(outcome.nmse).filter(|nmse| nmse.is_finite()),
            limit: outcome.limit,
            ms: outcome.ms,
            failure: outcome.failure.clone(),
        }
    }
}

impl Report {
    /// The report of `outcomes` on `gpu`.
    pub fn new(gpu: &Gpu, filter: &str, outcomes: &[Outcome], aborted: Option<String>) -> Self {
        let cases: Vec<CaseResult> = outcomes.iter().map(CaseResult::from).collect();
        Self {
            format: FORMAT,
            engine: env!("CARGO_PKG_VERSION").to_owned(),
            platform: Platform::here(),
            adapter: gpu.facts().clone(),
            tier: gpu.tier().clone(),
            baseline_only: gpu.options().baseline_only,
            fallbacks: gpu.fallbacks(),
            filter: filter.to_owned(),
            passed: aborted.is_none() && cases.iter().all(|case| case.failure.is_none()),
            aborted,
            summary: summary(&cases),
            cases,
        }
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CaseResult> {
        self.cases.iter().filter(|case| case.failure.is_some())
    }

    /// Their number.
    pub fn failed(&self) -> usize {
        self.failures().count()
    }
}

/// One line a kernel and variant, in the order in which they first ran.
fn summary(cases: &[CaseResult]) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut shares: Vec<f64> = Vec::new();
    for case in cases {
        let found = lines.iter().position(|line| line.kernel == case.kernel && line.variant == case.variant);
        let at = found.unwrap_or_else(|| {
            let (kernel, variant) = (case.kernel.clone(), case.variant.clone());
            lines.push(Line { kernel, variant, cases: 0, failed: 0, worst_nmse: None, limit: None, ms: 0.0 });
            shares.push(-1.0);
            lines.len() - 1
        });
        if let (Some(line), Some(worst)) = (lines.get_mut(at), shares.get_mut(at)) {
            line.cases += 1;
            line.failed += usize::from(case.failure.is_some());
            line.ms += case.ms;
            if let Some(share) = case.share().filter(|share| share > worst) {
                (*worst, line.worst_nmse, line.limit) = (share, case.nmse, Some(case.limit));
            }
        }
    }
    lines
}

/// An error as people read it.
pub(super) fn number(nmse: Option<f64>) -> String {
    match nmse {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(nmse) => format!("{nmse:.1e}"),
    }
}

/// The table, then the failures.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.adapter)?;
        if self.baseline_only {
            writeln!(f, "without the adapter's optional features (GUANACO_BASELINE=1)")?;
        }
        for fallback in &self.fallbacks {
            writeln!(f, "not used, as it fails its self-test: {fallback}")?;
        }
        let kernels = self.summary.iter().map(|line| line.kernel.len()).max().unwrap_or(0).max("kernel".len());
        let variants = self.summary.iter().map(|line| line.variant.len()).max().unwrap_or(0).max("variant".len());
        writeln!(
            f,
            "\n{:kernels$}  {:variants$}  {:>5}  {:>6}  {:>10}  {:>7}  {:>8}",
            "kernel", "variant", "cases", "failed", "worst NMSE", "limit", "ms"
        )?;
        for line in &self.summary {
            writeln!(
                f,
                "{:kernels$}  {:variants$}  {:>5}  {:>6}  {:>10}  {:>7}  {:>8.1}",
                line.kernel,
                line.variant,
                line.cases,
                line.failed,
                number(line.worst_nmse),
                number(line.limit),
                line.ms
            )?;
        }
        if self.failed() > 0 {
            writeln!(f, "\nFailed on {} ({}, {}):", self.adapter.name, self.adapter.backend, self.adapter.driver)?;
        }
        for CaseResult { kernel, variant, case, failure, .. } in self.failures() {
            writeln!(f, "  {kernel} {variant}: {case}: {}", failure.as_deref().unwrap_or_default())?;
        }
        if let Some(reason) = &self.aborted {
            writeln!(f, "\nThe run ended early: {reason}")?;
        }
        let verdict = if self.passed { "passed" } else { "FAILED" };
        writeln!(f, "\n{verdict}: {} of {} cases", self.cases.len() - self.failed(), self.cases.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report of an adapter with an awkward name.
    pub(crate) fn report(cases: &[(&str, f64, Option<&str>)]) -> Report {
        let outcomes: Vec<CaseResult> = cases
            .iter()
            .map(|(case, nmse, failure)| CaseResult {
                kernel: "matvec".into(),
                variant: "base/64".into(),
                case: (*case).to_owned(),
                nmse: Some(*nmse).filter(|nmse| nmse.is_finite()),
                limit: 5e-4,
                ms: 0.5,
                failure: failure.map(str::to_owned),
            })
            .collect();
        let tier = r#"{"profile":"gpu","f16":true,"subgroup":[32,32],"coop":["16x16x16 F16→F32"],"timestamps":true,
            "max_binding":2147483644,"max_matrix_part":1073741824,
            "max_buffer":4294967296,"max_invocations":1024,"max_workgroup_bytes":49152,
            "max_storage_buffers":8,"max_workgroups":65535,"offset_alignment":32}"#;
        Report {
            format: FORMAT,
            engine: "0.1.0".into(),
            platform: Platform { os: "linux".into(), arch: "x86_64".into() },
            adapter: AdapterFacts {
                index: 0,
                name: "Card </script><script>alert('1')</script> & \"Co\"".into(),
                ordinal: 1,
                backend: "vulkan".into(),
                kind: "discrete".into(),
                vendor: 0x1002,
                device: 0x744c,
                driver: "driver <b>1.2.3</b>".into(),
            },
            tier: serde_json::from_str(tier).unwrap(),
            baseline_only: false,
            fallbacks: Vec::new(),
            filter: String::new(),
            passed: outcomes.iter().all(|case| case.failure.is_none()),
            aborted: None,
            summary: summary(&outcomes),
            cases: outcomes,
        }
    }

    #[test]
    fn the_worst_case_is_the_one_nearest_to_its_limit() {
        let mut cases = report(&[("a", 1e-5, None), ("b", 1e-4, None), ("c", f64::NAN, Some("NaN"))]).cases;
        cases[0].limit = 1e-5;
        cases[2].variant = "subgroup/32".into();
        let lines = summary(&cases);
        assert_eq!(lines.len(), 2);
        assert_eq!(
            (lines[0].cases, lines[0].failed, lines[0].worst_nmse, lines[0].limit),
            (2, 0, Some(1e-5), Some(1e-5))
        );
        assert_eq!((lines[1].cases, lines[1].failed, lines[1].worst_nmse, lines[1].limit), (1, 1, None, None));

        cases.truncate(1);
        (cases[0].nmse, cases[0].limit) = (Some(0.0), 0.0);
        let lines = summary(&cases);
        assert_eq!((lines[0].worst_nmse, lines[0].limit), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn json_comes_back_as_it_went() {
        let report = report(&[("a", 1e-9, None), ("b", f64::INFINITY, Some("element 3 is inf, expected 1"))]);
        let text = serde_json::to_string(&report).unwrap();
        let back: Report = serde_json::from_str(&text).unwrap();
        assert_eq!(back.cases, report.cases);
        assert_eq!(back.summary, report.summary);
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
        // The names that others rely on.
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = vec!["format", "engine", "platform", "adapter", "tier", "baseline_only", "filter", "passed"];
        expected.extend(["fallbacks", "aborted", "summary", "cases"]);
        assert_eq!(keys.len(), expected.len());
        assert!(expected.iter().all(|key| keys.contains(key)), "{keys:?}");
        assert_eq!(value["format"], 1);
        assert_eq!(value["passed"], false);
        assert!(value["cases"][1]["nmse"].is_null());
        assert_eq!(value["cases"][1]["failure"], "element 3 is inf, expected 1");
        assert_eq!(value["summary"][0]["failed"], 1);
    }

    #[test]
    fn the_text_names_each_failure_with_its_adapter() {
        let text = report(&[("a", 1e-9, None), ("7 x 33", 2e-3, Some("NMSE 2.0e-3"))]).to_string();
        assert!(text.contains("Failed on Card"), "{text}");
        assert!(text.contains("  matvec base/64: 7 x 33: NMSE 2.0e-3\n"), "{text}");
        assert!(text.ends_with("FAILED: 1 of 2 cases\n"), "{text}");
        let mut report = report(&[("a", 0.0, None)]);
        let text = report.to_string();
        assert!(text.ends_with("passed: 1 of 1 cases\n") && !text.contains("Failed"), "{text}");
        assert!(!text.contains("self-test"), "{text}");
        report.fallbacks.push("matvec (subgroup): NMSE 1.0".into());
        let text = report.to_string();
        assert!(text.contains("self-test: matvec (subgroup): NMSE 1.0\n"), "{text}");
    }
}
