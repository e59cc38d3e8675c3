//! Finding the adapter that the user means: by index, name, vendor:device id or backend, or the best there is.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What an adapter says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdapterFacts {
    /// Position in the list, the best first; `--adapter 0` picks it.
    pub index: usize,
    /// The driver's name for it.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `gl`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: String,
    /// PCI vendor id (or the backend's stand-in for it).
    pub vendor: u32,
    /// PCI device id (or the backend's stand-in for it).
    pub device: u32,
    /// The driver and its version.
    pub driver: String,
}

impl AdapterFacts {
    pub(super) fn new(index: usize, info: &wgpu::AdapterInfo) -> Self {
        let driver = [info.driver.as_str(), info.driver_info.as_str()];
        Self {
            index,
            name: info.name.clone(),
            backend: info.backend.to_str().to_owned(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete",
                wgpu::DeviceType::IntegratedGpu => "integrated",
                wgpu::DeviceType::VirtualGpu => "virtual",
                wgpu::DeviceType::Cpu => "cpu",
                wgpu::DeviceType::Other => "other",
            }
            .to_owned(),
            vendor: info.vendor,
            device: info.device,
            driver: driver.join(" ").trim().to_owned(),
        }
    }

    /// Is it software running on the CPU?
    pub fn is_cpu(&self) -> bool {
        self.kind == "cpu"
    }

    /// Does `query` mean this adapter? An index (`0`), a PCI id in hexadecimal (`10de:2335`), a backend (`vulkan`), a part
    /// of the name in any case (`7900`), or a backend and a part of the name (`vulkan:llvmpipe`).
    fn matches(&self, query: &str) -> bool {
        let query = query.trim().to_lowercase();
        // Cards are named by number too (`4090`): only a small number is an index.
        if let Some(index) = query.parse::<usize>().ok().filter(|index| *index < 64) {
            return index == self.index;
        }
        let name = self.name.to_lowercase();
        if let Some((left, right)) = query.split_once(':') {
            let ids = (u32::from_str_radix(left, 16), u32::from_str_radix(right, 16));
            if let (Ok(vendor), Ok(device)) = ids {
                return vendor == self.vendor && device == self.device;
            }
            if left == self.backend && name.contains(right) {
                return true;
            }
        }
        query == self.backend || name.contains(&query)
    }
}

impl std::fmt::Display for AdapterFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { index, name, backend, kind, vendor, device, driver } = self;
        write!(f, "{index}: {name} ({backend}, {kind}, {vendor:04x}:{device:04x}, {driver})")
    }
}

/// A wgpu instance for `backends`. Debug layers are for the engine's developers: `WGPU_VALIDATION=1`.
fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    descriptor.flags = wgpu::InstanceFlags::empty();
    // `Auto` would fall back to FXC, which knows neither f16 nor subgroups, without a word.
    descriptor.backend_options.dx12.shader_compiler = wgpu::Dx12Compiler::StaticDxc;
    let mut descriptor = descriptor.with_env();
    descriptor.backend_options.noop.enable = false;
    wgpu::Instance::new(descriptor)
}

/// The native APIs; GL only where they find nothing or GL is asked for, since it shows the same devices again, with less.
const NATIVE: wgpu::Backends = wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12);

/// All adapters, the best first: real GPUs before software.
fn enumerate(query: Option<&str>) -> Vec<(AdapterFacts, wgpu::Adapter)> {
    let gl = query.is_some_and(|query| query.to_lowercase().split(':').next() == Some("gl"));
    let found = |backends| {
        let mut adapters = pollster::block_on(instance(backends).enumerate_adapters(backends));
        adapters.retain(|adapter| {
            adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
                && adapter.limits().max_storage_buffers_per_shader_stage >= 8
        });
        adapters
    };
    let mut adapters = if gl { Vec::new() } else { found(NATIVE) };
    if adapters.is_empty() {
        adapters = found(wgpu::Backends::GL);
    }
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    adapters.into_iter().enumerate().map(|(i, adapter)| (AdapterFacts::new(i, &adapter.get_info()), adapter)).collect()
}

/// Every adapter on this machine, the best first.
pub fn list_adapters() -> Vec<AdapterFacts> {
    enumerate(None).into_iter().map(|(facts, _)| facts).collect()
}

/// The adapter that `query` means, or the best one.
///
/// # Errors
/// [`Error::Adapter`], with the list of what there is, when none matches.
pub(super) fn choose(query: Option<&str>) -> Result<(AdapterFacts, wgpu::Adapter)> {
    let adapters = enumerate(query);
    let available = if adapters.is_empty() {
        "There is none. Install a GPU driver with Vulkan, or Mesa's software one (Debian, Ubuntu: apt install \
         mesa-vulkan-drivers libvulkan1)."
            .to_owned()
    } else {
        let lines: Vec<_> = adapters.iter().map(|(facts, _)| format!("  {facts}")).collect();
        format!("Adapters here:\n{}", lines.join("\n"))
    };
    let wanted = query.map(str::trim).filter(|query| !query.is_empty());
    let found = adapters.into_iter().find(|(facts, _)| wanted.is_none_or(|query| facts.matches(query)));
    found.ok_or_else(|| {
        let detail = match wanted {
            Some(query) => {
                format!("no adapter matches `{query}` (an index, part of a name, vendor:device, or a backend)")
            }
            None => "no adapter that can run compute shaders was found".to_owned(),
        };
        Error::Adapter { detail, available }
    })
}

#[cfg(test)]
mod tests {
    use super::AdapterFacts;

    #[test]
    fn a_query_means_an_index_a_name_an_id_or_a_backend() {
        let facts = AdapterFacts {
            index: 1,
            name: "AMD Radeon RX 7900 XTX".into(),
            backend: "vulkan".into(),
            kind: "discrete".into(),
            vendor: 0x1002,
            device: 0x744c,
            driver: String::new(),
        };
        for query in ["1", "radeon", "7900", "1002:744C", "vulkan", "VULKAN:7900", " rx 7900 "] {
            assert!(facts.matches(query), "{query}");
        }
        for query in ["0", "4090", "geforce", "1002:0000", "metal", "metal:7900"] {
            assert!(!facts.matches(query), "{query}");
        }
    }
}
