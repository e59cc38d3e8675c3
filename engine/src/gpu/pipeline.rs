//! Compiled kernels, and binding buffers to them by name.

use std::sync::Arc;

use super::buffer::Buffer;
use super::context::{Gpu, lock, slot};
use super::shader::{Access, Shader, find};
use super::twin::Twin;
use crate::error::{Error, Result};

/// Which text of a kernel to compile, with which numbers. Equal launches share one pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Launch {
    /// The kernel's stem.
    pub kernel: &'static str,
    /// The text variant.
    pub variant: &'static str,
    /// Invocations of one workgroup.
    pub invocations: u32,
    /// Values of the `override` constants.
    pub overrides: Vec<(&'static str, u32)>,
}

/// A compiled kernel.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) raw: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
    shader: &'static Shader,
    launch: Launch,
}

impl Pipeline {
    /// What it was compiled from.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Its text and reflection.
    pub fn shader(&self) -> &'static Shader {
        self.shader
    }
}

/// A part of a buffer, bound under a name of the shader.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The name in the WGSL text.
    pub name: &'static str,
    /// The buffer.
    pub buffer: Buffer,
    /// First byte.
    pub offset: u64,
    /// Bytes; 0 for the rest of the buffer.
    pub bytes: u64,
}

impl Binding {
    /// The whole of `buffer` as `name`.
    pub fn whole(name: &'static str, buffer: &Buffer) -> Self {
        Self { name, buffer: buffer.clone(), offset: 0, bytes: buffer.size() }
    }
}

/// A kernel with its buffers: made once, at load, and run many times.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) group: wgpu::BindGroup,
    pub(super) bindings: Vec<Binding>,
    pub(super) twin: Twin,
    pub(super) label: String,
}

impl Dispatch {
    /// What it computes, for profiles and errors.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The compiled kernel.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }
}

impl Gpu {
    /// Compiles `launch`, or returns what was compiled before.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is no such text or the adapter cannot run it; [`Error::Gpu`] when the driver refuses it.
    pub fn pipeline(&self, launch: &Launch) -> Result<Arc<Pipeline>> {
        let slot = slot(&self.pipelines, launch);
        let mut slot = lock(&slot);
        if let Some(pipeline) = &*slot {
            return Ok(pipeline.clone());
        }
        let Launch { kernel, variant, invocations, overrides } = launch;
        let refuse = |detail: String| Error::kernel(*kernel, format!("variant `{variant}`: {detail}"));
        let shader = find(kernel, variant).ok_or_else(|| refuse("variants.txt does not list it".to_owned()))?;
        self.tier().admits(shader, *invocations).map_err(|reason| refuse(reason + ", which this adapter lacks"))?;
        if let Some((name, _)) = overrides.iter().find(|(name, _)| !shader.overrides.contains(name)) {
            return Err(refuse(format!("has no override `{name}`, only {:?}", shader.overrides)));
        }
        if let Some(dir) = &self.options().dump_shaders {
            let path = dir.join(format!("{kernel}.{variant}.wgsl"));
            std::fs::write(&path, shader.source).map_err(|error| Error::io("write", &path, error))?;
        }
        let pipeline =
            self.scoped(&format!("compiling `{kernel}` ({variant})"), || Ok(self.compile(shader, launch)))?;
        Ok(slot.insert(Arc::new(pipeline)).clone())
    }

    /// The backend's store of compiled pipelines, with the `data` of an earlier start in it; None where the backend has none.
    ///
    /// # Errors
    /// [`Error::Gpu`] when the data is of another device.
    pub(super) fn pipeline_cache(&self, data: &[u8]) -> Result<Option<wgpu::PipelineCache>> {
        if !self.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return Ok(None);
        }
        // Drivers trust this data. It was handed out by the same driver on the same adapter, both of which the file's owner names
        // and wgpu's own header names again; the file's sum tells damage, and it lies in a folder of the user's own. What wgpu
        // knows to be outdated starts empty.
        #[expect(unsafe_code, reason = "data of the same adapter and driver, whole by its sum; see above")]
        let create = || unsafe {
            self.device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
                label: Some("guanaco"),
                data: Some(data).filter(|data| !data.is_empty()),
                fallback: true,
            })
        };
        self.scoped("taking compiled pipelines of an earlier start", || Ok(Some(create())))
    }

    fn compile(&self, shader: &'static Shader, launch: &Launch) -> Pipeline {
        let label = format!("{}.{}", shader.kernel, shader.variant);
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(shader.source.into()),
        };
        // The one place where shaders run without bounds checks and loop guards: every text is validated at build time and
        // writes only inside its outputs, which conformance checks with sentinel words around each of them.
        #[expect(unsafe_code, reason = "validated at build time, checked by conformance; see above")]
        let module =
            unsafe { self.device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) };
        let entries: Vec<_> = shader
            .bindings
            .iter()
            .map(|binding| wgpu::BindGroupLayoutEntry {
                binding: binding.index,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match binding.access {
                        Access::Uniform => wgpu::BufferBindingType::Uniform,
                        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                        Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                    },
                    has_dynamic_offset: false,
                    min_binding_size: std::num::NonZeroU64::new(u64::from(binding.span)),
                },
                count: None,
            })
            .collect();
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let constants: Vec<_> = launch.overrides.iter().map(|(name, value)| (*name, f64::from(*value))).collect();
        let raw = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: self.cache.pipelines.as_ref(),
        });
        Pipeline { raw, layout, shader, launch: launch.clone() }
    }

    /// Binds `bindings` by name.
    ///
    /// # Errors
    /// [`Error::Kernel`] when a name is missing, unknown, too small or larger than the device binds.
    pub fn dispatch(&self, label: &str, launch: &Launch, twin: Twin, bindings: Vec<Binding>) -> Result<Dispatch> {
        let pipeline = self.pipeline(launch)?;
        let refuse = |detail: String| Error::kernel(launch.kernel, format!("`{label}`: {detail}"));
        let mut entries = Vec::with_capacity(bindings.len());
        for wanted in pipeline.shader.bindings {
            let Some(bound) = bindings.iter().find(|bound| bound.name == wanted.name) else {
                return Err(refuse(format!("no buffer was given for `{}`", wanted.name)));
            };
            let limit = self.tier().max_binding;
            if bound.bytes < u64::from(wanted.span)
                || bound.bytes > limit
                || bound.offset + bound.bytes > bound.buffer.size()
            {
                return Err(refuse(format!(
                    "`{}`: {} bytes at {} of `{}` ({} bytes); expected at least {} and at most {limit}",
                    wanted.name,
                    bound.bytes,
                    bound.offset,
                    bound.buffer.name(),
                    bound.buffer.size(),
                    wanted.span,
                )));
            }
            entries.push(wgpu::BindGroupEntry {
                binding: wanted.index,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &bound.buffer.raw,
                    offset: bound.offset,
                    size: std::num::NonZeroU64::new(bound.bytes),
                }),
            });
        }
        if let Some(extra) = bindings.iter().find(|b| pipeline.shader.bindings.iter().all(|w| w.name != b.name)) {
            return Err(refuse(format!("the shader has no buffer `{}`", extra.name)));
        }
        let group = self.scoped(&format!("binding `{label}`"), || {
            Ok(self.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(label),
                layout: &pipeline.layout,
                entries: &entries,
            }))
        })?;
        Ok(Dispatch { pipeline, group, bindings, twin, label: label.to_owned() })
    }
}
