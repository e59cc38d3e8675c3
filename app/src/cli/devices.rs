//! `guanaco devices`: the adapters of this machine and what they can do.

use guanaco_engine::gpu::{AdapterFacts, DeviceMemory, Gpu, GpuOptions, Tier, list_adapters};
use serde::Serialize;

use super::{Globals, output};

/// Lists the adapters of this machine and what they can do
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  guanaco devices
  guanaco devices --json
  guanaco --adapter 1 chat            the adapter with index 1
  guanaco --adapter \"vulkan:nvidia geforce rtx 3060\" chat   the one with that name; a whole name goes before a part
  guanaco --adapter 3060#2 chat       the second that the name fits
  GUANACO_ADAPTER=llvmpipe guanaco    the software driver

--json: [{\"index\":0,\"name\":…,\"ordinal\":1, or 2 for the second of that name,\"backend\":…,\"kind\":…,\"vendor\":…,\"device\":…,\"driver\":…,
  \"tier\":{…} or null,\"memory\":{\"total\":…,\"budget\":…} or null,\"error\":null or why it cannot be opened}]")]
pub struct Args {
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Device {
    #[serde(flatten)]
    facts: AdapterFacts,
    tier: Option<Tier>,
    memory: Option<DeviceMemory>,
    error: Option<String>,
}

/// Runs the subcommand.
///
/// # Errors
/// When `--adapter` names none, when there is none, or when stdout cannot be written.
pub fn run(args: Args, globals: &Globals) -> anyhow::Result<()> {
    let devices: Vec<Device> = if globals.adapter.is_some() {
        vec![opened(Gpu::open(globals.gpu_options()?)?)]
    } else {
        list_adapters().into_iter().map(open).collect()
    };
    if devices.is_empty() {
        // The engine's own words on what to install.
        Gpu::open(GpuOptions::default())?;
    }
    if args.json {
        return output::json(&devices);
    }
    output::buffered(|out| devices.iter().try_for_each(|device| print(out, device)))
}

fn open(facts: AdapterFacts) -> Device {
    let options = GpuOptions { adapter: Some(facts.index.to_string()), ..GpuOptions::from_env() };
    match Gpu::open(options) {
        Ok(gpu) => opened(gpu),
        Err(error) => Device { facts, tier: None, memory: None, error: Some(error.to_string()) },
    }
}

fn opened(gpu: Gpu) -> Device {
    Device { facts: gpu.facts().clone(), tier: Some(gpu.tier().clone()), memory: gpu.memory(), error: None }
}

fn print(out: &mut impl std::io::Write, device: &Device) -> std::io::Result<()> {
    writeln!(out, "{}", device.facts)?;
    if let Some(error) = &device.error {
        writeln!(out, "   cannot be opened: {error}")?;
    }
    writeln!(out, "   chosen by          --adapter \"{}\"", device.facts.query())?;
    let Some(tier) = &device.tier else { return Ok(()) };
    if let Some(DeviceMemory { total, budget }) = device.memory {
        let whose = if device.facts.is_cpu() { "of the machine, free" } else { "in all" };
        writeln!(out, "   memory             {} for this program, {} {whose}", size(budget), size(total))?;
    }
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let subgroup = match tier.subgroup {
        None => "no".to_owned(),
        Some((min, max)) if min == max => min.to_string(),
        Some((min, max)) => format!("{min} to {max}"),
    };
    writeln!(out, "   f16 in shaders     {}", yes(tier.f16))?;
    writeln!(out, "   subgroups          {subgroup}")?;
    writeln!(out, "   coop. matrices     {}", tier.coop_text())?;
    writeln!(out, "   timestamps         {}", yes(tier.timestamps))?;
    writeln!(out, "   largest binding    {}", size(tier.max_binding))?;
    writeln!(out, "   largest buffer     {}", size(tier.max_buffer))?;
    let workgroup = format!("{} invocations, {}", tier.max_invocations, size(tier.max_workgroup_bytes.into()));
    writeln!(out, "   workgroup          {workgroup}")?;
    writeln!(out, "   storage buffers    {} a shader", tier.max_storage_buffers)
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS[unit];
    if value.fract() < 0.005 { format!("{value:.0} {unit}") } else { format!("{value:.2} {unit}") }
}
