//! Launches that were measured to be the fastest on one device: plain data, which whoever opens the device brings along.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::context::{Gpu, lock};
use super::pipeline::Launch;

/// A launch by names, as a file holds it. It means nothing until a kernel offers the same one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunedLaunch {
    /// The text variant.
    pub variant: String,
    /// Invocations of a workgroup.
    pub invocations: u32,
    /// Values of the `override` constants.
    pub overrides: BTreeMap<String, u32>,
}

impl From<&Launch> for TunedLaunch {
    fn from(launch: &Launch) -> Self {
        Self {
            variant: launch.variant.to_owned(),
            invocations: launch.invocations,
            overrides: launch.overrides.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        }
    }
}

impl std::fmt::Display for TunedLaunch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.variant, self.invocations)?;
        let others = self.overrides.iter().filter(|(name, value)| *name != "WORKGROUP" || **value != self.invocations);
        others.into_iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// A launch for each kernel that has a faster one than the engine would choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tuning {
    /// By the kernel's name in the registry.
    pub launches: BTreeMap<String, TunedLaunch>,
}

impl Gpu {
    /// Prefers the launches of `tuning` for what is bound from now on. One that no kernel offers, or that fails its self-test, is
    /// left aside, so that a wrong one costs speed at most.
    pub fn set_tuning(&self, tuning: Tuning) {
        *lock(&self.tuning) = tuning;
    }

    /// What was set.
    pub fn tuning(&self) -> Tuning {
        lock(&self.tuning).clone()
    }

    /// The launch that is preferred for the kernel `name`.
    pub(crate) fn tuned(&self, name: &str) -> Option<TunedLaunch> {
        lock(&self.tuning).launches.get(name).cloned()
    }
}
