//! `guanaco inspect`: what a checkpoint holds and what it will take, without a GPU.

mod groups;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use guanaco_engine::gpu::{MemoryItem, MemoryPlan, Profile};
use guanaco_engine::model::{Config, LoadOptions, RopeScaling, memory_plan};
use guanaco_engine::prompt::Preset;
use guanaco_engine::sampler::SamplerConfig;
use guanaco_engine::weights::names::Resolved;
use serde::Serialize;

use self::groups::Group;
use super::devices::size;
use super::globals::found;
use super::{Globals, note, output};
use crate::checkpoint::{self, Files};
use crate::format::PresetChoice;

/// Shows what a checkpoint holds and what it will take on a device; needs no GPU
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco inspect                          the embedded model
  guanaco inspect models/llama-7b --context 1024
  guanaco inspect model.safetensors --tensors
  guanaco inspect llama-7b.Q4_K_M.gguf

--json: {\"path\":…,\"format\":…,\"quantization\":… or null,\"groups\":[{\"group\":…,\"tensors\":N,\"stored\":{\"Q4_K\":N,…},
  \"stored_bytes\":N,\"device\":{\"q4\":N,…},\"device_bytes\":N,\"expanded\":[types]}],\"loras\":[{\"path\":…,\"weight\":…,\"tensors\":N}],
  \"config\":{…},\"parameters\":N,\"bytes\":N,\"dtypes\":{\"F16\":N,…},\"tokenizer\":file, \"embedded\" or null,
  \"tensors\":[{\"name\":…,\"dtype\":…,\"shape\":[…],\"file\":…}],\"memory\":[{\"what\":…,\"bytes\":N}] on a GPU,
  \"memory_software\":the same on software Vulkan,\"chat\":null without a tokenizer, or {\"preset\":…,
  \"sampling\":{…},\"ends\":[{\"id\":N,\"token\":…}]},\"warnings\":[…]};
  config.rope_scaling is null or {\"type\":\"linear\" or \"dynamic\",\"factor\":N} or {\"type\":\"llama3\" or
  \"yarn\",…};
  config.rope_factors is there when the file divides each frequency by its own")]
pub struct Args {
    /// The checkpoint [default: --model, or the embedded one]
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub path: Option<PathBuf>,
    /// Lists every tensor
    #[arg(long)]
    pub tensors: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// What the model will take, by the kind of device: software Vulkan reads a prompt in shorter chunks.
struct Plans {
    gpu: MemoryPlan,
    software: MemoryPlan,
}

impl Plans {
    fn new(config: &Config, tensors: &Resolved, options: &LoadOptions) -> Self {
        let [gpu, software] =
            [Profile::Gpu, Profile::Cpu].map(|profile| memory_plan(config, tensors, options, profile));
        Self { gpu, software }
    }
}

#[derive(Serialize)]
struct Report {
    path: String,
    format: &'static str,
    quantization: Option<String>,
    groups: Vec<Group>,
    loras: Vec<LoraRow>,
    config: Sizes,
    parameters: u64,
    bytes: u64,
    dtypes: BTreeMap<&'static str, usize>,
    tokenizer: Option<&'static str>,
    tensors: Vec<Tensor>,
    memory: Vec<MemoryItem>,
    memory_software: Vec<MemoryItem>,
    /// Null without a tokenizer.
    chat: Option<ChatFormat>,
    warnings: Vec<String>,
}

/// How a chat with the model is made where nothing else is asked for.
#[derive(Serialize)]
struct ChatFormat {
    preset: Preset,
    #[serde(skip)]
    why: String,
    sampling: SamplerConfig,
    ends: Vec<End>,
}

/// A token that ends a reply.
#[derive(Serialize)]
struct End {
    id: u32,
    token: Option<String>,
}

#[derive(Serialize)]
struct Sizes {
    dim: usize,
    hidden_dim: usize,
    n_layers: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    vocab_size: usize,
    max_seq_len: usize,
    rms_eps: f32,
    rope_theta: f64,
    /// Null without scaling.
    rope_scaling: Option<Scaling>,
    /// What each frequency is divided by, where the file says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rope_factors: Vec<f32>,
    tied_embeddings: bool,
    attention_bias: bool,
    mlp_bias: bool,
    bos_id: Option<u32>,
    eos_ids: Vec<u32>,
}

/// How RoPE is stretched, in the words of `config.json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Scaling {
    Linear { factor: f64 },
    Dynamic { factor: f64 },
    Llama3 { factor: f64, low_freq_factor: f64, high_freq_factor: f64, original_max_position_embeddings: f64 },
    Yarn { factor: f64, original_max_position_embeddings: f64, attention_factor: f64 },
}

impl Scaling {
    fn of(scaling: RopeScaling) -> Option<Self> {
        match scaling {
            RopeScaling::None => None,
            RopeScaling::Linear { factor } => Some(Self::Linear { factor }),
            RopeScaling::Dynamic { factor, .. } => Some(Self::Dynamic { factor }),
            RopeScaling::Yarn { factor, original_max_position_embeddings, attention_factor, .. } => {
                Some(Self::Yarn { factor, original_max_position_embeddings, attention_factor })
            }
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                Some(Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings })
            }
        }
    }
}

impl std::fmt::Display for Scaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Linear { factor } => write!(f, "linear scaling by {factor}"),
            Self::Dynamic { factor } => write!(f, "dynamic scaling by {factor}"),
            Self::Yarn { factor, original_max_position_embeddings, attention_factor } => write!(
                f,
                "yarn scaling by {factor} (from a context of {original_max_position_embeddings}, attention factor \
                 {attention_factor:.4})"
            ),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => write!(
                f,
                "llama3 scaling by {factor} (low {low_freq_factor}, high {high_freq_factor}, from a context of \
                 {original_max_position_embeddings})"
            ),
        }
    }
}

#[derive(Serialize)]
struct LoraRow {
    path: String,
    weight: f64,
    tensors: usize,
}

#[derive(Serialize)]
struct Tensor {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    file: String,
}

/// Runs the subcommand.
///
/// # Errors
/// What is wrong with the checkpoint.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let path = args.path.as_deref().map(found).transpose()?.or_else(|| globals.model.clone());
    // All that `chat` opens is opened: what it would refuse is refused here, in the same words.
    let files = Files::open(path.as_deref(), &globals.loras()?, globals.context, globals.rope_scaling)?;
    let plans = Plans::new(&files.config, &files.tensors, &globals.load_options(1));
    let label = path.as_ref().map_or_else(|| checkpoint::name(None), |path| path.display().to_string());
    let report = report(label, &files, &plans)?;
    if args.json {
        return output::json(&report);
    }
    for warning in &report.warnings {
        note::warning(warning);
    }
    output::buffered(|out| print(out, &report, &plans, args.tensors))
}

/// What the subcommand prints of the model of these files, without its tensors; for the window.
///
/// # Errors
/// When a file cannot be read.
pub fn text(files: &Files, options: &LoadOptions) -> anyhow::Result<String> {
    let plans = Plans::new(&files.config, &files.tensors, options);
    let report = report(files.name.clone(), files, &plans)?;
    let mut text = Vec::new();
    print(&mut text, &report, &plans, false)?;
    Ok(String::from_utf8(text)?)
}

fn report(path: String, files: &Files, plans: &Plans) -> anyhow::Result<Report> {
    let Files { checkpoint, loras, tensors, config, .. } = files;
    let views = || checkpoint.names().filter_map(|name| checkpoint.tensor(name));
    let mut dtypes = BTreeMap::new();
    for view in views() {
        *dtypes.entry(view.dtype.name()).or_default() += 1;
    }
    let in_metadata =
        checkpoint.metadata().is_some_and(|metadata| metadata.keys().any(|key| key == "tokenizer.ggml.model"));
    let mut tokenizer = in_metadata.then_some("embedded");
    for file in ["tokenizer.model", "tokenizer.json"] {
        // What lies beside a file with metadata is not its own.
        if checkpoint.metadata().is_none() && checkpoint.file_bytes(file)?.is_some() {
            tokenizer = Some(file);
        }
    }
    Ok(Report {
        path,
        format: checkpoint.format(),
        quantization: groups::quantization(tensors),
        groups: groups::groups(tensors),
        loras: loras
            .iter()
            .map(|lora| LoraRow {
                path: lora.path().display().to_string(),
                weight: lora.weight(),
                tensors: lora.checkpoint().names().count(),
            })
            .collect(),
        config: Sizes {
            dim: config.dim,
            hidden_dim: config.hidden_dim,
            n_layers: config.n_layers,
            n_heads: config.n_heads,
            n_kv_heads: config.n_kv_heads,
            head_dim: config.head_dim,
            vocab_size: config.vocab_size,
            max_seq_len: config.max_seq_len,
            rms_eps: config.rms_eps,
            rope_theta: config.rope_theta,
            rope_scaling: Scaling::of(config.rope_scaling),
            rope_factors: config.rope_factors.clone(),
            tied_embeddings: config.tied_embeddings,
            attention_bias: config.attention_bias,
            mlp_bias: config.mlp_bias,
            bos_id: config.bos_id,
            eos_ids: config.eos_ids.clone(),
        },
        parameters: tensors.tensors.iter().map(|tensor| (tensor.rows * tensor.cols) as u64).sum(),
        bytes: views().map(|view| view.stored_bytes()).sum(),
        dtypes,
        tokenizer,
        tensors: views()
            .map(|view| Tensor {
                name: view.name.to_owned(),
                dtype: view.dtype.name(),
                shape: view.shape.to_vec(),
                file: view.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
            })
            .collect(),
        memory: plans.gpu.items.clone(),
        memory_software: plans.software.items.clone(),
        chat: files.tokenizer.is_some().then(|| ChatFormat {
            preset: PresetChoice::Auto.resolve(files.chat_template.as_deref()),
            why: PresetChoice::Auto.explain(files.chat_template.as_deref()),
            sampling: files.sampling_for(PresetChoice::Auto),
            ends: files.eos.iter().map(|&id| End { id, token: files.piece(id) }).collect(),
        }),
        warnings: config.warnings.iter().cloned().chain(files.chat_problem()).collect(),
    })
}

fn print(out: &mut impl Write, report: &Report, plans: &Plans, all: bool) -> std::io::Result<()> {
    let sizes = &report.config;
    writeln!(out, "{}", report.path)?;
    writeln!(out, "  format           {}", report.format)?;
    if let Some(quantization) = &report.quantization {
        writeln!(out, "  quantization     {quantization}")?;
    }
    let parameters = report.parameters as f64;
    let parameters = if parameters >= 1e9 {
        format!("{:.2} billion", parameters / 1e9)
    } else {
        format!("{:.2} million", parameters / 1e6)
    };
    writeln!(out, "  parameters       {parameters}, {} in the files", size(report.bytes))?;
    writeln!(out, "  layers           {} of dim {}, hidden_dim {}", sizes.n_layers, sizes.dim, sizes.hidden_dim)?;
    let gqa =
        if sizes.n_kv_heads == sizes.n_heads { String::new() } else { format!(", {} for k and v", sizes.n_kv_heads) };
    writeln!(out, "  heads            {} of {}{gqa}", sizes.n_heads, sizes.head_dim)?;
    let tied = if sizes.tied_embeddings { ", the embedding is lm_head too" } else { "" };
    writeln!(out, "  vocabulary       {}{tied}", sizes.vocab_size)?;
    writeln!(out, "  context          {}", sizes.max_seq_len)?;
    let scaling = sizes.rope_scaling.as_ref().map(|scaling| format!(", {scaling}")).unwrap_or_default();
    let factors = if sizes.rope_factors.is_empty() { "" } else { ", with factors" };
    writeln!(out, "  RoPE             theta {}{scaling}{factors}", sizes.rope_theta)?;
    writeln!(out, "  RMSNorm          eps {:e}", sizes.rms_eps)?;
    writeln!(out, "  tokenizer        {}", report.tokenizer.unwrap_or("none: only ids can go in and out"))?;
    if let Some(chat) = &report.chat {
        let ends: Vec<_> = chat.ends.iter().map(|end| end.token.clone().unwrap_or(end.id.to_string())).collect();
        writeln!(out, "  prompt format    {}", chat.why)?;
        writeln!(out, "  ends a reply     {}", ends.join(" "))?;
        writeln!(out, "  sampling         {}", chat.sampling)?;
    }
    let dtypes: Vec<_> = report.dtypes.iter().map(|(dtype, count)| format!("{count} {dtype}")).collect();
    writeln!(out, "  tensors          {} ({})", report.tensors.len(), dtypes.join(", "))?;
    if all {
        for tensor in &report.tensors {
            writeln!(out, "    {:<56} {:<5} {:?}  {}", tensor.name, tensor.dtype, tensor.shape, tensor.file)?;
        }
    }
    let list = |types: &BTreeMap<&'static str, usize>| types.keys().copied().collect::<Vec<_>>().join(", ");
    let stored = |group: &Group| format!("{}, {}", list(&group.stored), size(group.stored_bytes));
    let width = report.groups.iter().map(|group| stored(group).len()).max().unwrap_or(0).max(11) + 2;
    writeln!(out, "  {:<14} {:<width$} on a device", "weights", "in the file")?;
    for group in &report.groups {
        let expanded = match group.expanded.iter().copied().collect::<Vec<_>>().join(", ") {
            types if types.is_empty() => types,
            types => format!(" ({types} expanded)"),
        };
        let device = format!("{}, {}{expanded}", list(&group.device), size(group.device_bytes));
        writeln!(out, "    {:<12} {:<width$} {device}", group.group, stored(group))?;
    }
    for LoraRow { path, weight, tensors } in &report.loras {
        writeln!(out, "  LoRA             {path}, weight {weight}, {tensors} tensors")?;
    }
    if plans.gpu.total() == plans.software.total() {
        writeln!(out, "memory on a device\n{}", plans.gpu)
    } else {
        writeln!(out, "memory on a GPU\n{}\nmemory on software Vulkan\n{}", plans.gpu, plans.software)
    }
}
