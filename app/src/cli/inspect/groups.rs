//! The weights by what they are for: how the file stores them, and how they will lie on a device.

use std::collections::{BTreeMap, BTreeSet};

use guanaco_engine::weights::names::{Resolved, Role};
use guanaco_engine::weights::{ResolvedTensor, Stored};
use serde::Serialize;

/// The tensors of one purpose.
#[derive(Serialize)]
pub(super) struct Group {
    pub group: &'static str,
    pub tensors: usize,
    /// Types in the file, with their number of tensors.
    pub stored: BTreeMap<&'static str, usize>,
    pub stored_bytes: u64,
    /// Formats on a device, with their number of tensors.
    pub device: BTreeMap<&'static str, usize>,
    pub device_bytes: u64,
    /// Block types that are expanded to f16 at load.
    pub expanded: BTreeSet<&'static str>,
}

const NAMES: [&str; 6] = ["embedding", "attention", "MLP", "head", "norms", "biases"];

fn name(role: Role) -> &'static str {
    match role {
        Role::Embed => NAMES[0],
        Role::QProj | Role::KProj | Role::VProj | Role::OProj => NAMES[1],
        Role::GateProj | Role::UpProj | Role::DownProj => NAMES[2],
        Role::LmHead => NAMES[3],
        Role::InputNorm | Role::PostAttentionNorm | Role::FinalNorm => NAMES[4],
        _ => NAMES[5],
    }
}

/// The groups that the model has, in the order of use.
pub(super) fn groups(tensors: &Resolved) -> Vec<Group> {
    let group = |group: &'static str| {
        let mut found = Group {
            group,
            tensors: 0,
            stored: BTreeMap::new(),
            stored_bytes: 0,
            device: BTreeMap::new(),
            device_bytes: 0,
            expanded: BTreeSet::new(),
        };
        for tensor in tensors.tensors.iter().filter(|tensor| name(tensor.role) == group) {
            let (format, bytes) = on_device(tensor);
            found.tensors += 1;
            *found.stored.entry(tensor.type_name()).or_default() += 1;
            found.stored_bytes += tensor.stored_bytes();
            *found.device.entry(format).or_default() += 1;
            found.device_bytes += bytes;
            let is_block = matches!(&tensor.stored, Stored::Plain(dtype) if dtype.is_block());
            if is_block && format == "f16" {
                found.expanded.insert(tensor.type_name());
            }
        }
        found
    };
    NAMES.into_iter().map(group).filter(|group| group.tensors > 0).collect()
}

fn on_device(tensor: &ResolvedTensor) -> (&'static str, u64) {
    match tensor.rows {
        1 => ("f32", tensor.cols as u64 * 4),
        _ => (tensor.format().name(), tensor.device_bytes() + tensor.side_bytes()),
    }
}

/// How the weights are quantised, in words; None when they are not.
pub(super) fn quantization(tensors: &Resolved) -> Option<String> {
    let gptq = tensors.tensors.iter().find_map(|tensor| match &tensor.stored {
        Stored::Gptq(gptq) => Some((gptq, tensor)),
        Stored::Plain(_) => None,
    });
    if let Some((gptq, tensor)) = gptq {
        let groups = if gptq.group_len > tensor.cols {
            "one group a row".to_owned()
        } else {
            format!("groups of {}", gptq.group_len)
        };
        let sorted = if tensors.is_sorted() { ", act-order (sorted at load)" } else { "" };
        return Some(format!("GPTQ, 4 bits, {groups}{sorted}"));
    }
    let mut blocks: Vec<&str> = tensors
        .tensors
        .iter()
        .filter(|tensor| matches!(&tensor.stored, Stored::Plain(dtype) if dtype.is_block()))
        .map(ResolvedTensor::type_name)
        .collect();
    blocks.sort_unstable();
    blocks.dedup();
    (!blocks.is_empty()).then(|| format!("blocks: {}", blocks.join(", ")))
}
