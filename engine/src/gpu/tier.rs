//! What the adapter can do, as facts; and the profile that the kernels are picked by.

use serde::{Deserialize, Serialize};

use super::coop::CoopShape;

/// Which shape of work the adapter likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Many lanes, cheap barriers: workgroups of 64–256.
    Gpu,
    /// Software Vulkan: a workgroup is one subgroup, barriers cost more than the arithmetic between them.
    Cpu,
}

/// The capabilities of an adapter that the choice of kernels depends on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tier {
    /// The profile, from the adapter's type.
    pub profile: Profile,
    /// `f16` arithmetic and storage in shaders.
    pub f16: bool,
    /// 64-bit integers in shaders.
    #[serde(default)]
    pub i64: bool,
    /// The smallest and largest subgroup, where subgroup operations work in compute shaders.
    pub subgroup: Option<(u32, u32)>,
    /// The cooperative matrices that the adapter reports.
    pub coop: Vec<CoopShape>,
    /// Timestamps on a compute pass.
    pub timestamps: bool,
    /// Largest binding of a storage buffer, bytes.
    pub max_binding: u64,
    /// Largest buffer, bytes.
    pub max_buffer: u64,
    /// Largest part of a matrix, bytes: what both a binding and a buffer hold.
    pub max_matrix_part: u64,
    /// Largest workgroup, invocations.
    pub max_invocations: u32,
    /// Workgroup memory, bytes.
    pub max_workgroup_bytes: u32,
    /// Storage buffers a shader may bind.
    pub max_storage_buffers: u32,
    /// Workgroups along one dimension.
    pub max_workgroups: u32,
    /// Offsets of bindings are multiples of this, bytes.
    pub offset_alignment: u32,
}

impl Tier {
    /// The tier of `adapter`.
    pub(super) fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, features, limits) = (adapter.get_info(), adapter.features(), adapter.limits());
        let cpu = info.device_type == wgpu::DeviceType::Cpu;
        // Several drivers count in 32 bits signed somewhere.
        let max_binding = limits.max_storage_buffer_binding_size.min((1 << 31) - 4);
        Self {
            profile: if cpu { Profile::Cpu } else { Profile::Gpu },
            f16: features.contains(wgpu::Features::SHADER_F16),
            i64: features.contains(wgpu::Features::SHADER_INT64),
            subgroup: features
                .contains(wgpu::Features::SUBGROUP)
                .then_some((info.subgroup_min_size, info.subgroup_max_size)),
            coop: adapter.cooperative_matrix_properties().iter().map(CoopShape::of).collect(),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_binding,
            max_buffer: limits.max_buffer_size,
            max_matrix_part: max_binding.min(limits.max_buffer_size),
            max_invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            offset_alignment: limits.min_storage_buffer_offset_alignment,
        }
    }

    /// The size of every subgroup, where it is one number: only then may a kernel take a workgroup for one subgroup.
    pub fn fixed_subgroup(&self) -> Option<u32> {
        self.subgroup.and_then(|(min, max)| (min == max).then_some(min))
    }

    /// Are there cooperative matrices with `side` rows and columns, of f16 with f32 sums, and what else such a kernel needs?
    pub fn has_coop(&self, side: u32) -> bool {
        self.f16 && self.subgroup.is_some() && self.coop.iter().any(|shape| shape.is_square(side))
    }

    /// The cooperative matrices as text, for people; `no` without any.
    pub fn coop_text(&self) -> String {
        if self.coop.is_empty() {
            return "no".to_owned();
        }
        self.coop.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Can a shader with these needs run here? Otherwise the reason.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn admits(&self, shader: &super::Shader, invocations: u32) -> Result<(), String> {
        let storage = shader.bindings.iter().filter(|b| b.access != super::Access::Uniform).count();
        if shader.features.contains(wgpu::Features::SHADER_F16) && !self.f16 {
            return Err("needs f16 in shaders".into());
        }
        if shader.features.contains(wgpu::Features::SHADER_INT64) && !self.i64 {
            return Err("needs 64-bit integers in shaders".into());
        }
        if shader.features.contains(wgpu::Features::SUBGROUP) && self.subgroup.is_none() {
            return Err("needs subgroup operations".into());
        }
        let coop = shader.features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX);
        if coop && !self.has_coop(8) && !self.has_coop(16) {
            return Err("needs cooperative matrices of f16 with f32 sums".into());
        }
        if storage > self.max_storage_buffers as usize {
            return Err(format!("needs {storage} storage buffers, the adapter has {}", self.max_storage_buffers));
        }
        if shader.workgroup_bytes > self.max_workgroup_bytes {
            let (need, have) = (shader.workgroup_bytes, self.max_workgroup_bytes);
            return Err(format!("needs {need} bytes of workgroup memory, the adapter has {have}"));
        }
        if invocations > self.max_invocations {
            return Err(format!("needs {invocations} invocations, the adapter has {}", self.max_invocations));
        }
        Ok(())
    }
}
