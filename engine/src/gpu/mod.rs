//! The device: which adapter, what it can do, and how work is put on it.
//!
//! `backends` opens the graphics APIs, with a `start_marker` for drivers that crash; `adapter` finds and names the device, `tier`
//! says what it can do, `context` owns the device and turns every wgpu error into a typed
//! one, `shader` and `pipeline` hold the kernels' texts and compiled forms, `buffer` and `staging` move bytes, `recording` is
//! the plain list of dispatches that one submit runs, `proof` the proof that it ran, `memory` is the plan that is checked before a model is loaded,
//! `bandwidth` measures what a decode step is compared with, `timing` what each dispatch takes;
//! `tuning` holds launches that were measured to be faster than those that the engine takes by itself, and `cache` what one start
//! keeps for the next.

mod adapter;
mod backends;
mod bandwidth;
mod buffer;
mod cache;
mod context;
mod coop;
mod device_memory;
mod memory;
mod pipeline;
mod proof;
mod recording;
mod shader;
mod staging;
mod start_marker;
mod tier;
mod timing;
mod tuning;
mod twin;

pub use adapter::{AdapterFacts, find_adapter, list_adapters, list_adapters_and_tiers};
pub use backends::note_starts_in;
pub use buffer::{Buffer, Role};
pub use context::{Gpu, GpuOptions};
pub use coop::{CoopShape, CoopType};
pub use device_memory::DeviceMemory;
pub(crate) use memory::gib;
pub use memory::host_memory_available;
pub use memory::{MemoryItem, MemoryKind, MemoryPlan};
pub use pipeline::{Binding as BoundBuffer, Dispatch, Launch, Pipeline};
pub use recording::{Pending, Recording, Width};
pub use shader::{Access, Binding, SHADERS, Shader, find as find_shader};
pub use staging::StagingRing;
pub use tier::{Profile, Tier};
pub use timing::{Clock, DispatchTime, HostClock, Profile as TimeProfile};
pub use tuning::{TunedLaunch, Tuning};
pub use twin::{Twin, TwinBuffers};
