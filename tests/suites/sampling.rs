//! The sampler against transformers: every processor, alone and chained; greedy with penalties and beam search, run by the
//! session on the reference model.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use guanaco_engine::model::{Forward, Pass};
use guanaco_engine::sampler::{Processor, SamplerConfig, Scores};
use guanaco_engine::session::{Request, Session};
use guanaco_tests::generate::{BeamCase, GenerateFile, reply};
use guanaco_tests::reference::Reference;
use guanaco_tests::{Outcome, Suite, data_dir, golden_dir};
use serde::Deserialize;
use serde::de::DeserializeOwned;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let data = data_dir().join("sampling");
    processors(&mut suite, "data", &data.join("processors.json"));
    table(&mut suite, &data.join("beam.json"));
    match golden_dir() {
        Some(dir) => {
            processors(&mut suite, "golden", &dir.join("sampling").join("golden.json"));
            generate(&mut suite, &dir);
        }
        None => {
            for name in ["golden/processors", "golden/forward", "golden/beam", "golden/greedy"] {
                suite.skip(name, "no golden directory");
            }
        }
    }
    suite.run(None)
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
}

#[derive(Deserialize)]
struct ProcessorFile {
    history: Vec<u32>,
    /// null is minus infinity.
    logits: BTreeMap<String, Vec<Option<f32>>>,
    cases: Vec<ProcessorCase>,
}

#[derive(Deserialize)]
struct ProcessorCase {
    logits: String,
    chain: Vec<Link>,
    kept: Vec<u32>,
    scores: Vec<Option<f32>>,
    probs: Vec<f64>,
}

#[derive(Deserialize)]
struct Link {
    name: String,
    value: f32,
    min_tokens_to_keep: Option<usize>,
}

impl Link {
    fn processor(&self) -> anyhow::Result<Processor> {
        Ok(match self.name.as_str() {
            "repetition_penalty" => Processor::RepetitionPenalty(self.value),
            "no_repeat_ngram" => Processor::NoRepeatNgram(self.value as usize),
            "temperature" => Processor::Temperature(self.value),
            "top_k" => Processor::TopK(self.value as usize),
            "top_p" => Processor::TopP { p: self.value, min_tokens_to_keep: self.min_tokens_to_keep.unwrap_or(1) },
            "min_p" => Processor::MinP(self.value),
            "typical_p" => Processor::TypicalP(self.value),
            other => anyhow::bail!("no processor is called {other}"),
        })
    }

    fn title(&self) -> String {
        let least = self.min_tokens_to_keep.map(|least| format!("_least{least}")).unwrap_or_default();
        format!("{}_{}{least}", self.name, self.value)
    }
}

fn processors(suite: &mut Suite, origin: &str, path: &Path) {
    let file: ProcessorFile = match read(path) {
        Ok(file) => file,
        Err(error) => return suite.case(format!("{origin}/processors"), move || Err(error)),
    };
    let file = Arc::new(file);
    for index in 0..file.cases.len() {
        let file = Arc::clone(&file);
        let case = &file.cases[index];
        let chain: Vec<String> = case.chain.iter().map(Link::title).collect();
        let name = format!("{origin}/processors/{}/{}", case.logits, chain.join("+"));
        suite.case(name, move || check_processors(&file, &file.cases[index]));
    }
}

/// The same tokens kept, scores to 1e-4 relative, probabilities to 1e-4 absolute. Among tokens tied with the last one that
/// top_p keeps, any choice will do: which of them a sort puts first is nobody's business.
fn check_processors(file: &ProcessorFile, case: &ProcessorCase) -> Outcome {
    let logits: Vec<f32> = file.logits[&case.logits].iter().map(|logit| logit.unwrap_or(f32::NEG_INFINITY)).collect();
    let mut scores = Scores::new();
    scores.fill(&logits)?;
    for link in &case.chain {
        scores.apply(link.processor()?, &file.history)?;
    }
    let probs = scores.probabilities().to_vec();
    let got: Vec<(u32, f32)> = scores.items().iter().map(|item| (item.id, item.score)).collect();
    let expected: Vec<(u32, f32)> = case
        .kept
        .iter()
        .map(|&id| case.scores[id as usize].map(|score| (id, score)).context("kept, but without a score"))
        .collect::<anyhow::Result<_>>()?;
    let close = |a: f32, b: f32| (a - b).abs() <= 1e-4 * b.abs() + 1e-6;

    let is_exact = got.len() == expected.len() && got.iter().zip(&expected).all(|(a, b)| a.0 == b.0);
    if is_exact {
        for ((id, score), prob) in got.iter().zip(&probs) {
            let expected = case.scores[*id as usize].context("kept, but without a score")?;
            ensure!(close(*score, expected), "token {id}: expected score {expected}, got {score}");
            let expected = case.probs[*id as usize];
            ensure!((prob - expected).abs() <= 1e-4, "token {id}: expected probability {expected}, got {prob}");
        }
        return Ok(());
    }

    let cuts_ties = case.chain.iter().any(|link| link.name == "top_p");
    ensure!(cuts_ties, "expected {:?}, got {got:?}", case.kept);
    ensure!(got.len() == expected.len(), "expected {} tokens, got {}: {got:?}", expected.len(), got.len());
    // As many of each score, and the ids differ only where the logits are tied.
    let sorted = |items: &[(u32, f32)]| {
        let mut scores: Vec<f32> = items.iter().map(|item| item.1).collect();
        scores.sort_by(f32::total_cmp);
        scores
    };
    let (got_scores, expected_scores) = (sorted(&got), sorted(&expected));
    ensure!(
        got_scores.iter().zip(&expected_scores).all(|(a, b)| close(*a, *b)),
        "expected scores {expected_scores:?}, got {got_scores:?}"
    );
    for (id, score) in got.iter().filter(|(id, _)| !case.kept.contains(id)) {
        let tied = |other: &&(u32, f32)| !got.iter().any(|item| item.0 == other.0) && close(*score, other.1);
        ensure!(expected.iter().any(|other| tied(&other)), "token {id} is kept but tied with none that should be");
    }
    Ok(())
}

/// A model that is a table: logits depend on the last token and on the parity of its position.
#[derive(Clone)]
struct Table {
    /// `[parity][token][logit]`.
    table: Arc<Vec<Vec<Vec<f32>>>>,
}

impl Forward for Table {
    fn vocab_size(&self) -> usize {
        self.table[0].len()
    }

    fn max_seq_len(&self) -> usize {
        64
    }

    fn n_slots(&self) -> usize {
        8
    }

    fn chunk_len(&self) -> usize {
        1
    }

    fn forward(
        &mut self,
        _: Pass,
        _: usize,
        pos: usize,
        tokens: &[u32],
        logits: &mut Vec<f32>,
    ) -> guanaco_engine::Result<()> {
        logits.clone_from(&self.table[pos % 2][tokens[0] as usize]);
        Ok(())
    }

    fn copy_slot(&mut self, _: usize, _: usize, _: usize) -> guanaco_engine::Result<()> {
        Ok(())
    }
}

#[derive(Deserialize)]
struct TableFile {
    table: Vec<Vec<Vec<f32>>>,
    cases: Vec<BeamCase>,
}

fn table(suite: &mut Suite, path: &Path) {
    let file: TableFile = match read(path) {
        Ok(file) => file,
        Err(error) => return suite.case("data/beam", move || Err(error)),
    };
    let model = Table { table: Arc::new(file.table) };
    for (index, case) in file.cases.into_iter().enumerate() {
        let model = model.clone();
        suite.case(format!("data/beam/{index}"), move || case.check(model, 1e-4));
    }
}

#[derive(Deserialize)]
struct ForwardCase {
    prompt_ids: Vec<u32>,
    last_logits: Vec<f32>,
}

#[derive(Deserialize)]
struct ForwardFile {
    cases: Vec<ForwardCase>,
}

fn generate(suite: &mut Suite, golden: &Path) {
    let loaded = read::<GenerateFile>(&golden.join("generate").join("golden.json"))
        .and_then(|file| Ok((file, read::<ForwardFile>(&golden.join("llama_mha_fp16").join("golden.json"))?)))
        .and_then(|(file, forward)| Ok((file, forward, Reference::open(&golden.join("llama_mha_fp16"), 4)?)));
    let (file, forward, model) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return suite.case("golden/generate", move || Err(error)),
    };
    let model = Arc::new(model);
    for (index, case) in forward.cases.into_iter().enumerate() {
        let model = Arc::clone(&model);
        suite.case(format!("golden/forward/{index}"), move || {
            let mut session = Session::new(Reference::clone(&model));
            let got = session.logits(&case.prompt_ids)?;
            let square = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
            let error = square(&mut got.iter().zip(&case.last_logits).map(|(a, b)| a - b));
            let error = (error / square(&mut case.last_logits.iter().copied())).sqrt();
            ensure!(error < 1e-5, "relative error of the reference model's logits: {error}");
            Ok(())
        });
    }
    let shared = Arc::clone(&model);
    suite.case("golden/reuse", move || check_reuse(&shared));
    for case in file.beam {
        let model = Arc::clone(&model);
        let name = case.name.clone().unwrap_or_default();
        suite.case(format!("golden/beam/{name}"), move || case.check(Reference::clone(&model), 1e-3));
    }
    for case in file.greedy_with_processors {
        let model = Arc::clone(&model);
        suite.case(format!("golden/greedy/{}", case.name), move || case.check(Reference::clone(&model)));
    }
}

/// Turn after turn with what is cached, and each turn again from nothing: the same tokens.
fn check_reuse(model: &Reference) -> Outcome {
    let mut session = Session::new(Reference::clone(model));
    let mut prompt = vec![1, 270, 262, 31, 5];
    let mut expected_cached = 0;
    for turn in 0..3 {
        let sampler = SamplerConfig { seed: turn, ..SamplerConfig::default() };
        for sampler in [SamplerConfig::greedy(), sampler] {
            let request = Request { prompt_ids: prompt.clone(), sampler, max_new_tokens: 9, ..Request::default() };
            let reused = session.generate(&request, None, &mut |_| ControlFlow::Continue(()))?;
            let fresh = reply(Reference::clone(model), &request)?;
            ensure!(reused.ids == fresh.ids, "turn {turn}: expected {:?}, got {:?}", fresh.ids, reused.ids);
            ensure!(reused.cached >= expected_cached, "turn {turn}: only {} tokens were reused", reused.cached);
            expected_cached = prompt.len() - 1;
            if request.sampler.greedy {
                continue;
            }
            // What was decoded is read again as a part of the next prompt; see `Pass`.
            expected_cached = prompt.len();
            prompt.extend(&reused.ids);
            prompt.extend([77, 78, 79]);
        }
    }
    Ok(())
}
