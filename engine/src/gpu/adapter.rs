//! Finding the adapter that the user means: by index, name, vendor:device id or backend, or the best there is. A whole name goes before
//! a part of one (`RTX 3060` is no `RTX 3060 Ti`), and `#2` says which of several alike.

use serde::{Deserialize, Serialize};

use super::backends::{self, Found};
use super::tier::Tier;
use crate::error::{Error, Result};

/// What an adapter says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AdapterFacts {
    /// Position in the list, the best first; `--adapter 0` picks it.
    pub index: usize,
    /// The driver's name for it.
    pub name: String,
    /// Which of those with this backend and name, from 1: two cards of one kind are told apart by it.
    #[serde(default = "first")]
    pub ordinal: usize,
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

fn first() -> usize {
    1
}

impl AdapterFacts {
    fn new(index: usize, info: &wgpu::AdapterInfo) -> Self {
        let driver = [info.driver.as_str(), info.driver_info.as_str()];
        Self {
            index,
            name: info.name.clone(),
            ordinal: first(),
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

    /// What `--adapter` takes to mean this one and no other, also when the list's order has changed: backend and name, with `#2` for the
    /// second of that name.
    pub fn query(&self) -> String {
        let name = format!("{}:{}", self.backend, self.name.trim().to_lowercase());
        if self.ordinal > 1 { format!("{name}#{}", self.ordinal) } else { name }
    }

    /// Is `query` the whole name of this adapter, with its backend or without?
    fn is_named(&self, query: &str) -> bool {
        let name = self.name.trim().to_lowercase();
        query == name || query.split_once(':').is_some_and(|(backend, rest)| backend == self.backend && rest == name)
    }

    /// Does `query`, in lower case, mean this adapter? An index (`0`), a PCI id in hexadecimal (`10de:2335`), a backend (`vulkan`), a
    /// part of the name (`7900`), or a backend and a part of the name (`vulkan:llvmpipe`).
    fn matches(&self, query: &str) -> bool {
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
        query == self.backend || name.contains(query)
    }
}

/// The one of `adapters` that `query` means: the first whose whole name it is, else the first that it fits; with `#2` behind it the
/// second of those.
pub fn find_adapter<'a>(adapters: &'a [AdapterFacts], query: &str) -> Option<&'a AdapterFacts> {
    let query = query.trim().to_lowercase();
    let fitting = |query: &str| -> Vec<&'a AdapterFacts> {
        let named: Vec<_> = adapters.iter().filter(|facts| facts.is_named(query)).collect();
        if named.is_empty() { adapters.iter().filter(|facts| facts.matches(query)).collect() } else { named }
    };
    // A driver may have the sign in a name.
    if let Some(found) = fitting(&query).first().copied() {
        return Some(found);
    }
    let (query, ordinal) = query.rsplit_once('#')?;
    let before = ordinal.trim().parse::<usize>().ok()?.checked_sub(1)?;
    fitting(query.trim()).get(before).copied()
}

impl std::fmt::Display for AdapterFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { index, name, ordinal, backend, kind, vendor, device, driver } = self;
        let which = if *ordinal > 1 { format!(" #{ordinal}") } else { String::new() };
        write!(f, "{index}: {name}{which} ({backend}, {kind}, {vendor:04x}:{device:04x}, {driver})")
    }
}

/// All adapters, the best first: real GPUs before software; and the backends that failed.
fn enumerate(query: Option<&str>) -> (Vec<(AdapterFacts, wgpu::Adapter)>, Vec<String>) {
    let Found { mut adapters, failures } = backends::find(query);
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    let mut facts: Vec<_> =
        adapters.iter().enumerate().map(|(i, adapter)| AdapterFacts::new(i, &adapter.get_info())).collect();
    number(&mut facts);
    (facts.into_iter().zip(adapters).collect(), failures)
}

/// Numbers those that have a backend and a name in common.
fn number(adapters: &mut [AdapterFacts]) {
    for i in 1..adapters.len() {
        let (before, [facts, ..]) = adapters.split_at_mut(i) else { return };
        let alike = |other: &&AdapterFacts| other.backend == facts.backend && other.name == facts.name;
        facts.ordinal = first() + before.iter().filter(alike).count();
    }
}

/// Every adapter on this machine, the best first.
pub fn list_adapters() -> Vec<AdapterFacts> {
    enumerate(None).0.into_iter().map(|(facts, _)| facts).collect()
}

/// The same, each with what it can do; none is opened for that.
pub fn list_adapters_and_tiers() -> Vec<(AdapterFacts, Tier)> {
    enumerate(None).0.into_iter().map(|(facts, adapter)| (facts, Tier::of(&adapter))).collect()
}

/// The adapter that `query` means, or the best one.
///
/// # Errors
/// [`Error::Adapter`], with the list of what there is, when none matches.
pub(super) fn choose(query: Option<&str>) -> Result<(AdapterFacts, wgpu::Adapter)> {
    let (mut adapters, failures) = enumerate(query);
    let mut available = if adapters.is_empty() {
        backends::advice(std::env::consts::OS).to_owned()
    } else {
        let lines: Vec<_> = adapters.iter().map(|(facts, _)| format!("  {facts}")).collect();
        format!("Adapters here:\n{}", lines.join("\n"))
    };
    for failure in failures {
        available.push('\n');
        available.push_str(&failure);
    }
    let wanted = query.map(str::trim).filter(|query| !query.is_empty());
    let facts: Vec<_> = adapters.iter().map(|(facts, _)| facts.clone()).collect();
    let index = match wanted {
        Some(query) => find_adapter(&facts, query).map(|found| found.index),
        None => facts.first().map(|best| best.index),
    };
    let found = index.filter(|index| *index < adapters.len()).map(|index| adapters.swap_remove(index));
    found.ok_or_else(|| {
        let detail = match wanted {
            Some(query) => {
                format!(
                    "no adapter matches `{query}` (an index, a name or a part of it, vendor:device, or a backend; #2 behind it \
                         for the second of several)"
                )
            }
            None => "no adapter that can run compute shaders was found".to_owned(),
        };
        Error::Adapter { detail, available }
    })
}

#[cfg(test)]
mod tests {
    use super::{AdapterFacts, find_adapter, number};

    fn facts(index: usize, name: &str, backend: &str, (vendor, device): (u32, u32)) -> AdapterFacts {
        let (kind, driver) = ("discrete".to_owned(), String::new());
        AdapterFacts { index, name: name.into(), ordinal: 1, backend: backend.into(), kind, vendor, device, driver }
    }

    fn list(names: &[(&str, &str)]) -> Vec<AdapterFacts> {
        let named = names.iter().enumerate();
        let mut list: Vec<_> =
            named.map(|(index, (backend, name))| facts(index, name, backend, (0x10de, 0x2500))).collect();
        number(&mut list);
        list
    }

    fn index(list: &[AdapterFacts], query: &str) -> Option<usize> {
        find_adapter(list, query).map(|facts| facts.index)
    }

    #[test]
    fn a_query_means_an_index_a_name_an_id_or_a_backend() {
        let list = [
            facts(0, "Intel Arc A770", "metal", (0x8086, 0x56a0)),
            facts(1, "AMD Radeon RX 7900 XTX", "vulkan", (0x1002, 0x744c)),
        ];
        for query in ["1", "radeon", "7900", "1002:744C", "vulkan", "VULKAN:7900", " rx 7900 ", "Vulkan:amd#1"] {
            assert_eq!(index(&list, query), Some(1), "{query}");
        }
        for query in
            ["2", "4090", "geforce", "1002:0000", "dx12", "metal:7900", "radeon#2", "radeon#0", "radeon#", "#9"]
        {
            assert_eq!(index(&list, query), None, "{query}");
        }
    }

    #[test]
    fn a_whole_name_goes_before_a_part_of_one() {
        let (ti, plain) = ("NVIDIA GeForce RTX 3060 Ti", "NVIDIA GeForce RTX 3060");
        let list = list(&[("vulkan", ti), ("vulkan", plain), ("dx12", plain)]);
        assert_eq!(index(&list, "vulkan:nvidia geforce rtx 3060"), Some(1));
        assert_eq!(index(&list, plain), Some(1));
        assert_eq!(index(&list, "dx12:NVIDIA GeForce RTX 3060"), Some(2));
        assert_eq!(index(&list, "rtx 3060"), Some(0), "a part: the first that fits");
        for facts in &list {
            assert_eq!(index(&list, &facts.query()), Some(facts.index), "{}", facts.query());
        }
    }

    #[test]
    fn cards_of_one_kind_are_told_apart() {
        let list =
            list(&[("vulkan", "H100"), ("vulkan", "H100 NVL"), ("vulkan", "H100"), ("gl", "H100"), ("vulkan", "H100")]);
        let queries: Vec<_> = list.iter().map(AdapterFacts::query).collect();
        assert_eq!(queries, ["vulkan:h100", "vulkan:h100 nvl", "vulkan:h100#2", "gl:h100", "vulkan:h100#3"]);
        for facts in &list {
            assert_eq!(index(&list, &facts.query()), Some(facts.index), "{}", facts.query());
        }
        assert_eq!(index(&list, "vulkan:h100#4"), None, "one that was taken out is no other");
        assert_eq!(index(&list, "10de:2500#4"), Some(3));
        assert!(list[2].to_string().starts_with("2: H100 #2 (vulkan"), "{}", list[2]);
    }

    #[test]
    fn a_name_may_have_the_sign_in_it() {
        let list = list(&[("vulkan", "Board"), ("vulkan", "Board"), ("vulkan", "Board#2")]);
        assert_eq!(index(&list, "board#2"), Some(2));
        assert_eq!(index(&list, "board#3"), None);
    }

    #[test]
    fn facts_of_older_reports_are_the_first_of_their_name() {
        let json = r#"{"index":0,"name":"A","backend":"vulkan","kind":"cpu","vendor":1,"device":2,"driver":""}"#;
        assert_eq!(serde_json::from_str::<AdapterFacts>(json).unwrap().ordinal, 1);
    }
}
