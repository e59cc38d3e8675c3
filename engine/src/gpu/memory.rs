//! What a model will take on the device, said before anything is allocated.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What memory is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryKind {
    /// The model's matrices and vectors.
    Weights,
    /// Keys and values of the tokens in the context.
    KvCache,
    /// Activations of one chunk of tokens.
    Scratch,
    /// What weights go through on their way to the device; given back when the model is loaded.
    Staging,
}

/// One line of the plan.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemoryItem {
    /// What it is for.
    pub kind: MemoryKind,
    /// The same in words, with the format or the size that it follows from.
    pub what: String,
    /// Bytes on the device.
    pub bytes: u64,
}

/// What a model takes on the device: weights, KV cache, scratch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MemoryPlan {
    /// Line by line.
    pub items: Vec<MemoryItem>,
}

impl MemoryPlan {
    /// Adds a line.
    pub fn add(&mut self, kind: MemoryKind, what: impl Into<String>, bytes: u64) {
        self.items.push(MemoryItem { kind, what: what.into(), bytes });
    }

    /// The sum, bytes.
    pub fn total(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).fold(0, u64::saturating_add)
    }

    /// Refuses a plan that is larger than `budget` bytes; `would_fit` says what to do instead.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] with every figure.
    pub fn check(&self, budget: u64, whose: &str, would_fit: &str) -> Result<()> {
        if self.total() <= budget {
            return Ok(());
        }
        Err(Error::DoesNotFit(format!("the model does not fit {whose} ({}):\n{self}\n{would_fit}", gib(budget))))
    }
}

impl std::fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for MemoryItem { what, bytes, .. } in &self.items {
            writeln!(f, "  {what:<32} {:>12}", gib(*bytes))?;
        }
        write!(f, "  {:<32} {:>12}", "total", gib(self.total()))
    }
}

/// Bytes as people read them.
pub(crate) fn gib(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    let mib = bytes as f64 / MIB;
    if mib >= 1024.0 { format!("{:.2} GiB", mib / 1024.0) } else { format!("{mib:.1} MiB") }
}

/// Bytes of host memory that programs can still take, where the system tells (Linux's `MemAvailable`).
pub fn host_memory_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
