//! The engine on a device against transformers in fp32 (`../shared/golden`): logits, greedy tokens, and what must not change
//! them (decode against prefill, unusual but valid files).

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use guanaco_engine::file::Checkpoint;
use guanaco_engine::gpu::{Gpu, GpuOptions, Profile};
use guanaco_engine::model::{Config, Forward as _, KvFormat, Llama, LoadOptions, Pass, RopeScaling, Scorer};
use guanaco_engine::sampler::SamplerConfig;
use guanaco_engine::session::{Request, Session};
use guanaco_engine::weights::export::write_f16;
use guanaco_engine::weights::names::resolve;
use guanaco_engine::weights::{Lora, Sources};
use guanaco_tests::device::{argmax, load, load_as, max_abs, prefill, relative_l2, run};
use guanaco_tests::generate::GenerateFile;
use guanaco_tests::{Outcome, Suite, data_dir, golden_dir, model_in};
use serde::Deserialize;

#[path = "golden/ahead.rs"]
mod ahead;
#[path = "golden/dropped.rs"]
mod dropped;
#[path = "golden/lookup.rs"]
mod lookup;
#[path = "golden/lora.rs"]
mod lora;

/// The acceptance rule of the fixtures.
const LIMIT: f64 = 1e-2;

/// With keys and values in int8. Rounding moves an element by up to half of its scale, evenly: a deviation of max / (127 √12) =
/// max / 440. Heads of 16 to 128 elements have a largest magnitude of 2 to 4 deviations, so that K and V are off by 0.5 to 0.9 %
/// each; scores and mixed values by no more, and what is added to the residual stream is about half of it.
const LIMIT_INT8: f64 = 3e-2;

#[derive(Deserialize)]
struct Golden {
    /// The base of a LoRA, from the fixture's own folder.
    base: Option<String>,
    cases: Vec<GoldenCase>,
}

#[derive(Deserialize)]
struct GoldenCase {
    name: String,
    prompt_ids: Vec<u32>,
    last_logits: Option<Vec<f32>>,
    greedy_ids: Vec<u32>,
    greedy_margins: Vec<f32>,
}

fn main() -> ExitCode {
    let mut suite = Suite::new();
    // The fixtures of the clone come first: they prove the engine without any other file.
    for dir in ["models", "gguf"].into_iter().flat_map(|kind| folders(&data_dir().join(kind))) {
        add_model(&mut suite, "data", dir);
    }
    add_decoding(&mut suite, data_dir().join("models").join("attention_bias"));
    suite.case("data/pytorch: the logits of its twin in safetensors", check_pytorch_twin);
    lora::add_built(&mut suite);
    match golden_dir() {
        None => suite.skip("golden", "no ../shared/golden beside this clone, and GUANACO_GOLDEN is not set"),
        Some(root) => {
            for dir in folders(&root).into_iter().filter(|dir| dir.join("golden.json").is_file()) {
                if dir.join("adapter_config.json").is_file() {
                    lora::add(&mut suite, dir);
                } else if dir.join("config.json").is_file() || is_gguf(&dir) {
                    add_model(&mut suite, "golden", dir);
                }
            }
            add_odd_but_valid(&mut suite, &root.join("odd_but_valid"));
            add_generate(&mut suite, &root);
        }
    }
    suite.run(Some(1))
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs
}

fn name(dir: &Path) -> String {
    dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether the folder holds a GGUF file, which needs no other.
fn is_gguf(dir: &Path) -> bool {
    model_in(dir) != dir
}

/// What decoding has besides logits, on a model of the clone's own: the same one is among the shared fixtures.
fn add_decoding(suite: &mut Suite, dir: PathBuf) {
    let title = format!("data/{}", name(&dir));
    let (reuse, ahead) = (dir.clone(), dir.clone());
    dropped::add(suite, &title, &dir);
    suite.case(format!("{title}: reuse changes no bit"), move || check_reuse(&reuse));
    suite.case(format!("{title}: decoding ahead changes no token"), move || ahead::check(&ahead));
    suite.case(format!("{title}: drafts change no token"), move || lookup::check(&dir));
}

fn add_model(suite: &mut Suite, group: &str, dir: PathBuf) {
    let title = format!("{group}/{}", name(&dir));
    let decode = dir.clone();
    if name(&dir) == "long_context" {
        let dir = dir.clone();
        suite.case(format!("{title}: logits inside of a prompt, and its likelihood"), move || check_positions(&dir));
    }
    if ["attention_bias", "gptq_4bit_128g_actorder", "gguf_q4_k_m"].contains(&name(&dir).as_str()) {
        let dir = dir.clone();
        suite.case(format!("{title}: matrices split into parts"), move || check_split(&dir));
    }
    if name(&dir) == "rope_linear" {
        let dir = dir.clone();
        suite.case(format!("{title}: stretched by option"), move || check_stretch(&dir));
    }
    let twin = dir.clone();
    let int8 = dir.clone();
    suite.case(format!("{title}: int8 KV cache"), move || check_int8(&int8));
    suite.case(format!("{title}: its fp16 twin"), move || check_twin(&twin));
    suite.case(format!("{title}: logits and greedy tokens"), move || check_model(&dir));
    let few = decode.clone();
    suite.case(format!("{title}: decode equals prefill"), move || check_decode(&decode));
    suite.case(format!("{title}: a few tokens at a time equal a prefill"), move || lookup::check_passes(&few));
}

fn golden(dir: &Path) -> anyhow::Result<Golden> {
    let path = dir.join("golden.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn check_model(dir: &Path) -> Outcome {
    check_logits(&mut load(&model_in(dir), 1)?, dir, LIMIT)
}

/// The logits and greedy tokens of every case of the fixture in `dir`.
fn check_logits(model: &mut Llama, dir: &Path, limit: f64) -> Outcome {
    let (mut worst, mut excused) = (0.0_f64, 0);
    for case in golden(dir)?.cases {
        let mut logits = run(model, 0, &case.prompt_ids)?;
        // A vocabulary of 32,000 has its logits beside the text.
        let want = match case.last_logits {
            Some(logits) => logits,
            None => {
                let reference = Checkpoint::open(&dir.join("golden.safetensors"))?;
                let tensor = reference.tensor(&format!("{}.last_logits", case.name)).context("no last_logits")?;
                bytemuck::pod_collect_to_vec(tensor.data()?)
            }
        };
        ensure!(logits.len() == want.len(), "{} logits, expected {}", logits.len(), want.len());
        let error = relative_l2(&logits, &want);
        ensure!(
            error < limit,
            "{}: relative L2 error {error:.3e} of the logits, expected below {limit:.0e}",
            case.name
        );
        worst = worst.max(error);
        let slack = 10.0 * max_abs(&logits, &want);
        for (step, (want, margin)) in case.greedy_ids.iter().zip(&case.greedy_margins).enumerate() {
            let got = argmax(&logits);
            if got != *want {
                ensure!(*margin <= slack, "{} step {step}: token {got}, expected {want} (margin {margin})", case.name);
                excused += 1;
            }
            logits = run(model, case.prompt_ids.len() + step, &[*want])?;
        }
    }
    println!("{}: worst relative L2 {worst:.2e}, {excused} near-ties excused", name(dir));
    Ok(())
}

/// What `guanaco convert` writes of the checkpoint at `path` with `loras` over it.
fn twin(path: &Path, loras: &[Lora]) -> anyhow::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let checkpoint = Checkpoint::open(path)?;
    let (config, sources) = (Config::load(&checkpoint)?, Sources { checkpoint: &checkpoint, loras });
    let tensors = resolve(sources, &config.dims())?;
    let path = folder.path().join("model.safetensors");
    // Ended in the middle, it leaves nothing.
    ensure!(!write_f16(sources, &config.dims(), &tensors, &path, &mut |_| ControlFlow::Break(()))?, "it went on");
    ensure!(std::fs::read_dir(folder.path())?.count() == 0, "a stopped conversion left something");
    let whole = write_f16(sources, &config.dims(), &tensors, &path, &mut |_| ControlFlow::Continue(()))?;
    ensure!(whole, "it was not written");
    let config = Config { tied_embeddings: tensors.is_tied(), ..config };
    std::fs::write(folder.path().join("config.json"), config.to_json()?)?;
    Ok(folder)
}

fn check_twin(dir: &Path) -> Outcome {
    let folder = match twin(&model_in(dir), &[]) {
        // The fixture of all block types has factors of RoPE that are nobody's.
        Err(error) if name(dir) == "blocks" => {
            ensure!(error.to_string().contains("stretches RoPE by factors"), "{error}");
            return Ok(());
        }
        folder => folder?,
    };
    check_logits(&mut load(folder.path(), 1)?, dir, LIMIT)
}

/// A checkpoint in another format gives the same logits, bit by bit, as the same tensors in safetensors.
fn check_pytorch_twin() -> Outcome {
    let dir = data_dir().join("pytorch").join("llama");
    let prompt = [1, 5, 39, 7, 12];
    let twin = Llama::load(
        Arc::new(Gpu::open(GpuOptions::from_env())?),
        &Checkpoint::open(&dir.join("expected.safetensors"))?,
        &LoadOptions::default(),
        &mut |_| {},
    );
    let want = run(&mut twin?, 0, &prompt)?;
    ensure!(want.iter().any(|logit| *logit != want[0]), "the logits are all the same");
    ensure!(run(&mut load(&dir, 1)?, 0, &prompt)? == want, "the logits differ");
    Ok(())
}

/// A head that no binding holds is split by rows (the 7B's, on software Vulkan): the same logits, bit by bit.
fn check_split(dir: &Path) -> Outcome {
    let path = model_in(dir);
    let prompt = &golden(dir)?.cases[1].prompt_ids;
    let mut whole = load(&path, 1)?;
    // 64 rows of 64 halves, or of 256 codes of four bits.
    let options = GpuOptions { split_above: Some(64 * 128 + 1), ..GpuOptions::from_env() };
    let gpu = Arc::new(Gpu::open(options)?);
    let mut split = Llama::load(gpu, &Checkpoint::open(&path)?, &LoadOptions::default(), &mut |_| {})?;
    ensure!(split.dispatches_per_token() > whole.dispatches_per_token(), "nothing was split");
    ensure!(run(&mut split, 0, prompt)? == run(&mut whole, 0, prompt)?, "the logits of a split model differ");
    let last = prompt.len();
    let (split_next, whole_next) = (run(&mut split, last, &[7])?, run(&mut whole, last, &[7])?);
    // On a GPU a matrix whose heads are cut is decoded by other kernels, which norm its input before they multiply.
    let error = relative_l2(&split_next, &whole_next);
    let limit = if whole.gpu().tier().profile == Profile::Gpu { 1e-3 } else { 0.0 };
    let fallbacks = [split.gpu().fallbacks(), whole.gpu().fallbacks()];
    ensure!(
        error <= limit,
        "the next token's logits differ: relative L2 {error:.3e}, at most {limit:.0e}; {fallbacks:?}"
    );
    Ok(())
}

/// One token at a time gives what a prefill gives, to rounding in another order.
fn check_decode(dir: &Path) -> Outcome {
    let mut model = load(&model_in(dir), 1)?;
    for case in golden(dir)?.cases.iter().take(2) {
        let whole = run(&mut model, 0, &case.prompt_ids)?;
        let mut single = Vec::new();
        for (pos, token) in case.prompt_ids.iter().enumerate() {
            single = run(&mut model, pos, &[*token])?;
        }
        // K and V are rounded to f16, so a sum in another order may move them by one unit in the last place.
        let error = relative_l2(&single, &whole);
        ensure!(error < 2e-3, "{}: decode and prefill differ by {error:.3e}", case.name);
    }
    Ok(())
}

/// The same with the KV cache in int8, within [`LIMIT_INT8`]; and a copied slot goes on as the original does, to the last bit.
fn check_int8(dir: &Path) -> Outcome {
    let options = LoadOptions { kv: KvFormat::Int8, n_slots: 2, ..LoadOptions::default() };
    let mut model = load_as(&model_in(dir), &options)?;
    check_logits(&mut model, dir, LIMIT_INT8)?;
    let prompt = golden(dir)?.cases.into_iter().next().context("no cases")?.prompt_ids;
    prefill(&mut model, 0, &prompt)?;
    model.copy_slot(0, 1, prompt.len())?;
    let [mut original, mut copy] = [Vec::new(), Vec::new()];
    model.forward(Pass::Decode, 0, prompt.len(), &prompt[..1], &mut original)?;
    model.forward(Pass::Decode, 1, prompt.len(), &prompt[..1], &mut copy)?;
    ensure!(original == copy, "a copied slot gives other logits");
    Ok(())
}

/// What an option stretches is what the file's own scaling does, to the last bit; and a context beyond the trained one is
/// refused without.
fn check_stretch(dir: &Path) -> Outcome {
    let prompt: Vec<u32> = (1..40).collect();
    let config = Config::load(&Checkpoint::open(dir)?)?;
    let RopeScaling::Linear { factor } = config.rope_scaling else { anyhow::bail!("{:?}", config.rope_scaling) };
    let logits = |stretch: &str, context: Option<usize>| {
        let stretch = (!stretch.is_empty()).then(|| stretch.parse().map_err(anyhow::Error::msg)).transpose()?;
        let options = LoadOptions { max_seq_len: context, stretch, ..LoadOptions::default() };
        run(&mut load_as(dir, &options)?, 0, &prompt)
    };
    let own = logits("", None)?;
    ensure!(own == logits(&format!("linear={factor}"), None)?, "the same factor gives other logits");
    ensure!(own == logits("linear", Some((config.max_seq_len as f64 * factor) as usize))?, "as many times the context");
    let (none, ntk) = (logits("none", None)?, logits("ntk=2", None)?);
    ensure!(own != none && none != ntk && own != ntk, "scalings change nothing");
    ensure!(none == logits("dynamic=4", None)?, "dynamic scaling changes the trained context");
    let twice = Some(2 * config.max_seq_len);
    ensure!(logits("dynamic", twice)? == logits("ntk", twice)?, "dynamic by 1 is ntk for the context");
    ensure!(none != logits("dynamic", twice)?, "a stretched context changes nothing");
    ensure!(logits("", twice).is_err_and(|error| format!("{error:#}").contains("stretched")), "it is not refused");
    Ok(())
}

#[derive(Deserialize)]
struct LongFile {
    cases: Vec<LongCase>,
}

#[derive(Deserialize)]
struct LongCase {
    name: String,
    prompt_ids: Vec<u32>,
    positions: Vec<usize>,
    mean_nll_of_prompt: f64,
}

/// Logits at positions around the edges of chunks and tiles, reached in pieces that end there; and the mean negative log
/// likelihood of a prompt, one token at a time.
fn check_positions(dir: &Path) -> Outcome {
    let text = std::fs::read_to_string(dir.join("golden.json"))?;
    let cases = serde_json::from_str::<LongFile>(&text)?.cases;
    let reference = Checkpoint::open(&dir.join("golden.safetensors"))?;
    let mut model = load(dir, 1)?;
    let mut worst = 0.0_f64;
    for case in &cases {
        let tensor = reference.tensor(&format!("{}.pos_logits", case.name)).context("no pos_logits")?;
        let values: Vec<f32> = bytemuck::pod_collect_to_vec(tensor.data()?);
        let mut start = 0;
        for (position, want) in case.positions.iter().zip(values.chunks(model.vocab_size())) {
            let got = prefill(&mut model, start, &case.prompt_ids[start..=*position])?;
            let error = relative_l2(&got, want);
            ensure!(error < LIMIT, "{} position {position}: relative L2 error {error:.3e}", case.name);
            worst = worst.max(error);
            start = position + 1;
        }
        worst = worst.max(lookup::check_positions(&mut model, &case.prompt_ids, &case.positions, &values)?);
    }
    let case = cases.first().context("no cases")?;
    let (mut sum, tokens) = (0.0, &case.prompt_ids);
    for (pos, pair) in tokens.windows(2).enumerate() {
        let logits = run(&mut model, pos, &pair[..1])?;
        let highest = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
        let total: f64 = logits.iter().map(|logit| (f64::from(*logit) - highest).exp()).sum();
        sum += highest + total.ln() - f64::from(logits[pair[1] as usize]);
    }
    let mean = sum / (tokens.len() - 1) as f64;
    let off = (mean - case.mean_nll_of_prompt).abs();
    ensure!(off < 1e-3, "mean NLL {mean}, expected {}", case.mean_nll_of_prompt);
    let scores = Scorer::new(&mut model)?.score(tokens, &mut |_| ControlFlow::Continue(()))?.context("stopped")?;
    ensure!(scores.len() == tokens.len() - 1, "{} scores", scores.len());
    let scored = scores.iter().map(|score| f64::from(*score)).sum::<f64>() / scores.len() as f64;
    let off = (scored - case.mean_nll_of_prompt).abs();
    ensure!(off < 1e-3, "mean NLL {scored} by chunks, expected {}", case.mean_nll_of_prompt);
    // Matrix units multiply activations in f16, which a step with one token does not: 1.4e-4 on cooperative matrices of 8 x 8.
    let (tier, prefer) = (model.gpu().tier(), &model.gpu().options().prefer);
    let matrix_units = !tier.coop.is_empty() && (tier.profile == Profile::Gpu || prefer.is_some());
    let limit = if matrix_units { 2e-4 } else { 1e-4 };
    ensure!((scored - mean).abs() < limit, "mean NLL {scored} by chunks, {mean} one token at a time");
    println!("worst relative L2 {worst:.2e}, mean NLL {mean:.6} (expected {})", case.mean_nll_of_prompt);
    Ok(())
}

/// Turn after turn with what is cached, and each turn again from nothing: the same tokens, and the same logits to the last
/// bit, however the prompt is cut into chunks.
fn check_reuse(dir: &Path) -> Outcome {
    let reply = |session: &mut Session<Llama>, prompt: &[u32]| {
        let sampler = SamplerConfig::greedy();
        let request = Request { prompt_ids: prompt.to_vec(), sampler, max_new_tokens: 12, ..Request::default() };
        session.generate(&request, None, &mut |_| ControlFlow::Continue(()))
    };
    let mut prompt: Vec<u32> = (1..48).collect();
    let (mut warm, mut cold) = (Session::new(load(dir, 1)?), Session::new(load(dir, 1)?));
    for turn in 0..4 {
        cold.clear();
        let (reused, fresh) = (reply(&mut warm, &prompt)?, reply(&mut cold, &prompt)?);
        ensure!(reused.ids == fresh.ids, "turn {turn}: {:?} with reuse, {:?} without", reused.ids, fresh.ids);
        ensure!(fresh.cached == 0 && (turn == 0 || reused.cached > 40), "turn {turn}: {} cached", reused.cached);
        cold.clear();
        ensure!(warm.logits(&prompt)? == cold.logits(&prompt)?, "turn {turn}: the logits differ");
        prompt.extend(&reused.ids);
        prompt.extend([7, 8, 9 + turn]);
    }
    Ok(())
}

/// Beam search and penalties through the session, on the device.
fn add_generate(suite: &mut Suite, root: &Path) {
    let (model, path) = (root.join("llama_mha_fp16"), root.join("generate").join("golden.json"));
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string());
    let file: GenerateFile = match text.and_then(|text| Ok(serde_json::from_str(&text)?)) {
        Ok(file) => file,
        Err(error) => return suite.case("generate", move || Err(error)),
    };
    for case in file.beam {
        let model = model.clone();
        let name = case.name.clone().unwrap_or_default();
        // The scores' tolerance is that of the fixtures.
        suite.case(format!("generate/beam/{name}"), move || case.check(load(&model, 5)?, 2e-2));
    }
    for case in file.greedy_with_processors {
        let model = model.clone();
        suite.case(format!("generate/greedy/{}", case.name), move || case.check(load(&model, 1)?));
    }
}

#[derive(Deserialize)]
struct OddButValid {
    prompt_ids: Vec<u32>,
    last_logits: Vec<f32>,
    other_logits: std::collections::HashMap<String, Vec<f32>>,
}

fn add_odd_but_valid(suite: &mut Suite, root: &Path) {
    for dir in folders(root) {
        let root = root.to_owned();
        suite.case(format!("odd_but_valid/{}", name(&dir)), move || {
            let text = std::fs::read_to_string(root.join("golden.json"))?;
            let golden: OddButValid = serde_json::from_str(&text)?;
            let want = golden.other_logits.get(&name(&dir)).unwrap_or(&golden.last_logits);
            Checkpoint::open(&dir)?;
            let got = run(&mut load(&dir, 1)?, 0, &golden.prompt_ids)?;
            let error = relative_l2(&got, want);
            ensure!(error < LIMIT, "relative L2 error {error:.3e}, expected below {LIMIT:.0e}");
            Ok(())
        });
    }
}
