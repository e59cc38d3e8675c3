//! Every shader text, through every compiler front and back end that works without a GPU: one case per kernel, variant and
//! checker. What only a driver can say is the conformance suite's.
//!
//! Shaders are written as the engine runs them: `override`s resolved, no bounds checks, no zeroed workgroup memory.

#[path = "shaders/spirv.rs"]
mod spirv;
#[path = "shaders/stores.rs"]
mod stores;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, anyhow, bail, ensure};
use guanaco_engine::gpu::{Access, CoopShape, CoopType, Profile, SHADERS, Shader, Tier};
use guanaco_engine::kernels::KERNELS;
use guanaco_tests::{Outcome, Suite, workspace};
use naga::back::{PipelineConstants, glsl, hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy, Layouter};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};

/// The limits that WebGPU promises everywhere, less what is never used: the portable baseline keeps to them.
const BASE_STORAGE_BUFFERS: usize = 8;
const BASE_INVOCATIONS: u32 = 256;
const BASE_WORKGROUP_BYTES: u32 = 16 * 1024;

const COOP: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let version = spirv::version();
    let spirv_val = version.is_some();
    let tint = std::env::var_os("GUANACO_TINT").map(PathBuf::from);
    for shader in SHADERS {
        let name = |checker: &str| format!("{}.{}: {checker}", shader.kernel, shader.variant);
        suite.case(name("naga"), || each(shader, |text| same_reflection(shader, text)));
        suite.case(name("whole vectors"), || each(shader, stores::whole_vectors));
        let coop = shader.features.contains(COOP);
        if coop && version.is_some_and(|version| version < spirv::FIRST_WITH_COOP) {
            suite.skip(name("SPIR-V"), "this spirv-val is older than cooperative matrices (2023.4)");
        } else if spirv_val {
            suite.case(name("SPIR-V"), || {
                each(shader, |text| {
                    let environment = if shader.features.contains(COOP) { "vulkan1.3" } else { "vulkan1.1" };
                    spirv::validate(&text.spirv()?, environment)
                })
            });
        } else {
            suite.skip(name("SPIR-V"), "spirv-val is not installed (package spirv-tools)");
        }
        if shader.variant.ends_with("coop16") {
            suite.skip(name("MSL"), "Metal's matrices are 8 x 8");
        } else {
            suite.case(name("MSL"), || each(shader, |text| text.msl()));
        }
        if coop {
            suite.skip(name("HLSL"), "HLSL has no cooperative matrices");
        } else {
            suite.case(name("HLSL"), || each(shader, |text| text.hlsl()));
        }
        let int64 = shader.features.contains(wgpu::Features::SHADER_INT64);
        if int64 || shader.features.contains(wgpu::Features::SHADER_F16) {
            suite.skip(name("GLSL"), "GLSL ES has neither f16 nor 64-bit integers");
        } else {
            suite.case(name("GLSL"), || each(shader, |text| text.glsl()));
        }
        match &tint {
            Some(_) if int64 => suite.skip(name("Tint"), "64-bit integers are naga's alone"),
            Some(_) if coop => suite.skip(name("Tint"), "Tint knows cooperative matrices by other names"),
            Some(folder) => {
                let folder = folder.clone();
                suite.case(name("Tint"), move || {
                    accept_tint(&folder, shader.source, shader.features, &launches(shader))
                });
            }
            None => suite.skip(name("Tint"), "`make check-shaders-tint` runs it"),
        }
        suite.case(name("noop device"), || noop(shader));
        if shader.variant == "base" {
            suite.case(name("portable limits"), || each(shader, |text| portable(shader, text)));
        }
    }
    suite.case("every kernel has a portable baseline", baselines);
    suite.case("every adapter admits what is launched on it", admitted);
    suite.case("checkers fail: naga", || {
        refused(Text::new("@compute @workgroup_size(1) fn main() { let x: f16 = 1.0h; }", Capabilities::empty(), &[]))
    });
    suite.case("checkers fail: whole vectors", stores::refuses);
    if spirv_val {
        suite.case("checkers fail: spirv-val", spirv::refuses);
    } else {
        suite.skip("checkers fail: spirv-val", "spirv-val is not installed (package spirv-tools)");
    }
    suite.case("checkers fail: portable limits", limits_refuse);
    if let Some(folder) = tint {
        suite.case("checkers fail: Tint", move || {
            let source = "@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }";
            let none = wgpu::Features::empty();
            accept_tint(&folder, "@compute @workgroup_size(1) fn main() {}", none, &[(1, Vec::new())])?;
            refused(accept_tint(&folder, source, none, &[(1, Vec::new())]))
        });
    }
    suite.run(None)
}

/// A module with its overrides resolved.
struct Text {
    module: Module,
    info: ModuleInfo,
    invocations: u32,
}

const POLICIES: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Unchecked,
    buffer: BoundsCheckPolicy::Unchecked,
    image_load: BoundsCheckPolicy::Unchecked,
    binding_array: BoundsCheckPolicy::Unchecked,
};

impl Text {
    fn new(source: &str, capabilities: Capabilities, overrides: &[(&str, u32)]) -> anyhow::Result<Self> {
        let mut module =
            naga::front::wgsl::parse_str(source).map_err(|error| anyhow!("{}", error.emit_to_string(source)))?;
        let validate = |module: &Module| {
            Validator::new(ValidationFlags::all(), capabilities)
                .validate(module)
                .map_err(|error| anyhow!("{}", error.emit_to_string(source)))
        };
        let mut info = validate(&module)?;
        let constants: PipelineConstants =
            overrides.iter().map(|(name, value)| ((*name).to_owned(), f64::from(*value))).collect();
        let resolved = process_overrides(&module, &info, Some((ShaderStage::Compute, "main")), &constants)
            .context("resolve the overrides")?;
        (module, info) = (resolved.0.into_owned(), resolved.1.into_owned());
        let entry = module.entry_points.first().context("no entry point")?;
        let invocations = entry.workgroup_size.iter().product();
        Ok(Self { module, info, invocations })
    }

    fn spirv(&self) -> anyhow::Result<Vec<u32>> {
        let options = spv::Options {
            lang_version: (1, 3),
            bounds_check_policies: POLICIES,
            zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
            force_loop_bounding: false,
            ..Default::default()
        };
        Ok(spv::write_vec(&self.module, &self.info, &options, None)?)
    }

    fn msl(&self) -> Outcome {
        let options = msl::Options {
            lang_version: (2, 3),
            bounds_check_policies: POLICIES,
            zero_initialize_workgroup_memory: false,
            force_loop_bounding: false,
            ..Default::default()
        };
        let pipeline = msl::PipelineOptions { entry_point: main_entry(), ..Default::default() };
        let (text, info) = msl::write_string(&self.module, &self.info, &options, &pipeline)?;
        for name in info.entry_point_names {
            name?;
        }
        wrote(&text, "kernel void")
    }

    fn hlsl(&self) -> Outcome {
        let options = hlsl::Options {
            shader_model: hlsl::ShaderModel::V6_2,
            immediates_target: Some(hlsl::BindTarget { space: 9, ..Default::default() }),
            zero_initialize_workgroup_memory: false,
            restrict_indexing: false,
            force_loop_bounding: false,
            ..Default::default()
        };
        let pipeline = hlsl::PipelineOptions { entry_point: main_entry() };
        let mut text = String::new();
        let reflection = hlsl::Writer::new(&mut text, &options, &pipeline).write(&self.module, &self.info, None)?;
        for name in reflection.entry_point_names {
            name?;
        }
        wrote(&text, "[numthreads(")
    }

    fn glsl(&self) -> Outcome {
        let options = glsl::Options {
            version: glsl::Version::new_gles(310),
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        };
        let pipeline = glsl::PipelineOptions {
            shader_stage: ShaderStage::Compute,
            entry_point: "main".to_owned(),
            multiview: None,
        };
        let mut text = String::new();
        glsl::Writer::new(&mut text, &self.module, &self.info, &options, &pipeline, POLICIES)?.write()?;
        wrote(&text, "void main()")
    }

    /// Bytes of `var<workgroup>`, with the sizes that the overrides give.
    fn workgroup_bytes(&self) -> anyhow::Result<u32> {
        let mut layouter = Layouter::default();
        layouter.update(self.module.to_ctx())?;
        let shared = self.module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
        Ok(shared.map(|(_, variable)| layouter[variable.ty].size.next_multiple_of(16)).sum())
    }
}

fn main_entry() -> Option<(ShaderStage, String)> {
    Some((ShaderStage::Compute, "main".to_owned()))
}

fn wrote(text: &str, mark: &str) -> Outcome {
    ensure!(text.contains(mark), "expected `{mark}` in the output, got:\n{text}");
    Ok(())
}

fn capabilities(features: wgpu::Features) -> Capabilities {
    // unpack2x16float: every backend has it, some GL drivers aside.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SHADER_FLOAT16, features.contains(wgpu::Features::SHADER_F16));
    capabilities.set(Capabilities::SHADER_INT64, features.contains(wgpu::Features::SHADER_INT64));
    capabilities.set(Capabilities::SUBGROUP, features.contains(wgpu::Features::SUBGROUP));
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, features.contains(COOP));
    capabilities
}

/// Adapters that differ in what kernels are picked by: limits as every device has them, software drivers with their small
/// subgroups, and GPUs with and without one size of subgroup and matrix units.
fn tiers() -> Vec<Tier> {
    let limits = wgpu::Limits::default();
    let portable = Tier {
        profile: Profile::Gpu,
        f16: false,
        i64: false,
        subgroup: None,
        coop: Vec::new(),
        timestamps: false,
        max_binding: limits.max_storage_buffer_binding_size,
        max_buffer: limits.max_buffer_size,
        max_matrix_part: limits.max_storage_buffer_binding_size,
        max_invocations: limits.max_compute_invocations_per_workgroup,
        max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
        max_storage_buffers: limits.max_storage_buffers_per_shader_stage,
        max_workgroups: limits.max_compute_workgroups_per_dimension,
        offset_alignment: limits.min_storage_buffer_offset_alignment,
    };
    let large = Tier {
        f16: true,
        i64: true,
        max_invocations: 1024,
        max_workgroup_bytes: 48 * 1024,
        max_storage_buffers: 32,
        ..portable.clone()
    };
    let mut tiers = vec![Tier { profile: Profile::Cpu, ..portable.clone() }, portable.clone(), large.clone()];
    for size in [4, 8] {
        tiers.push(Tier { profile: Profile::Cpu, subgroup: Some((size, size)), ..large.clone() });
        tiers.push(Tier { profile: Profile::Cpu, subgroup: Some((size, size)), ..portable.clone() });
    }
    for subgroup in [(32, 32), (64, 64), (8, 32), (32, 64)] {
        tiers.push(Tier { subgroup: Some(subgroup), ..large.clone() });
        tiers.push(Tier { subgroup: Some(subgroup), f16: false, ..large.clone() });
    }
    let square = |side| CoopShape { mnk: [side; 3], ab: CoopType::F16, cr: CoopType::F32 };
    for (sides, subgroup) in [(&[16][..], (32, 32)), (&[8, 16], (8, 32)), (&[16], (32, 64)), (&[8], (4, 64))] {
        let coop = sides.iter().map(|side| square(*side)).collect();
        tiers.push(Tier { subgroup: Some(subgroup), coop, ..large.clone() });
    }
    tiers.push(Tier { profile: Profile::Cpu, subgroup: Some((8, 8)), coop: vec![square(8)], ..large.clone() });
    tiers
}

/// The invocations of a workgroup, and the values of the overrides.
type Launched = (u32, Vec<(&'static str, u32)>);

/// Every way in which a shader is launched on one of the tiers.
fn launches(shader: &Shader) -> Vec<Launched> {
    let mut found = Vec::new();
    for kernel in KERNELS.iter().filter(|kernel| kernel.stem == shader.kernel) {
        for launch in tiers().iter().flat_map(|tier| (kernel.launches)(tier)) {
            let one = (launch.invocations, launch.overrides);
            if launch.variant == shader.variant && !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found
}

/// Runs `check` on the text as each launch compiles it.
fn each(shader: &Shader, check: impl Fn(&Text) -> Outcome) -> Outcome {
    let launches = launches(shader);
    ensure!(!launches.is_empty(), "no kind of adapter launches this variant; take it out of shaders/variants.txt");
    for (invocations, overrides) in launches {
        let text = Text::new(shader.source, capabilities(shader.features), &overrides);
        let checked = text.and_then(|text| {
            let size = text.invocations;
            ensure!(size == invocations, "the launch says {invocations} invocations, the workgroup has {size}");
            check(&text)
        });
        checked.with_context(|| format!("overrides {overrides:?}"))?;
    }
    Ok(())
}

/// What build.rs wrote into the table is what `main` uses: a binding that it never touches is dead weight, or an output that
/// is never written.
fn same_reflection(shader: &Shader, text: &Text) -> Outcome {
    let mut found: Vec<_> = text
        .module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| Some((variable.binding?.binding, variable.name.clone()?, access(variable.space)?)))
        .collect();
    found.sort_by_key(|(index, ..)| *index);
    let table: Vec<_> = shader.bindings.iter().map(|b| (b.index, b.name.to_owned(), b.access)).collect();
    ensure!(found == table, "expected `main` to use the bindings {table:?}, it uses {found:?}");
    Ok(())
}

fn access(space: AddressSpace) -> Option<Access> {
    match space {
        AddressSpace::Uniform => Some(Access::Uniform),
        AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => Some(Access::ReadWrite),
        AddressSpace::Storage { .. } => Some(Access::Read),
        _ => None,
    }
}

/// Compiles with Tint (tests/tint.mjs), from the npm package below `folder`.
fn accept_tint(folder: &Path, source: &str, features: wgpu::Features, launches: &[Launched]) -> Outcome {
    let launches: Vec<BTreeMap<_, _>> =
        launches.iter().map(|(_, overrides)| overrides.iter().copied().collect()).collect();
    let subgroup = features.contains(wgpu::Features::SUBGROUP);
    let input = serde_json::json!({ "source": source, "subgroup": subgroup, "launches": launches });
    let mut node = Command::new("node")
        .arg(workspace().join("tests").join("tint.mjs"))
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run node")?;
    node.stdin.take().context("no standard input")?.write_all(input.to_string().as_bytes())?;
    let output = node.wait_with_output()?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    ensure!(output.status.success(), "Tint: {said}");
    Ok(())
}

fn portable(shader: &Shader, text: &Text) -> Outcome {
    let storage = shader.bindings.iter().filter(|binding| binding.access != Access::Uniform).count();
    ensure!(storage <= BASE_STORAGE_BUFFERS, "{storage} storage buffers, expected at most {BASE_STORAGE_BUFFERS}");
    let invocations = text.invocations;
    ensure!(invocations <= BASE_INVOCATIONS, "{invocations} invocations, expected at most {BASE_INVOCATIONS}");
    ensure!(shader.features.is_empty(), "needs {:?}, expected no optional feature", shader.features);
    modest(text)
}

/// wgpu leaves the workgroup memory to the driver, so it is added up here.
fn modest(text: &Text) -> Outcome {
    let bytes = text.workgroup_bytes()?;
    ensure!(
        bytes <= BASE_WORKGROUP_BYTES,
        "{bytes} bytes of workgroup memory, expected at most {BASE_WORKGROUP_BYTES}"
    );
    Ok(())
}

fn baselines() -> Outcome {
    for kernel in KERNELS {
        let baseline = SHADERS.iter().find(|shader| shader.kernel == kernel.stem && shader.variant == kernel.baseline);
        let baseline = baseline.with_context(|| format!("{} has no `{}`", kernel.name, kernel.baseline))?;
        ensure!(baseline.features.is_empty(), "{}: its baseline needs {:?}", kernel.name, baseline.features);
    }
    Ok(())
}

fn admitted() -> Outcome {
    for tier in tiers() {
        for kernel in KERNELS {
            let launches = (kernel.launches)(&tier);
            ensure!(
                launches.iter().any(|launch| launch.variant == kernel.baseline),
                "{}: no baseline on {tier:?}",
                kernel.name
            );
            for launch in launches {
                let shader = guanaco_engine::gpu::find_shader(launch.kernel, launch.variant)
                    .with_context(|| format!("variants.txt does not list {launch:?}"))?;
                tier.admits(shader, launch.invocations).map_err(|reason| anyhow!("{launch:?} {reason}; {tier:?}"))?;
            }
        }
    }
    Ok(())
}

fn refused<T>(result: anyhow::Result<T>) -> Outcome {
    match result {
        Ok(_) => bail!("accepted what it must refuse"),
        Err(_) => Ok(()),
    }
}

/// Shaders beyond each limit of the baseline are refused by a device that has just these limits.
fn limits_refuse() -> Outcome {
    let good = "@group(0) @binding(0) var<storage, read_write> y: array<u32>;
        @compute @workgroup_size(256) fn main() { y[0] = 1u; }";
    let buffers: String =
        (0..9).map(|i| format!("@group(0) @binding({i}) var<storage, read_write> b{i}: array<u32>;\n")).collect();
    let writes: String = (0..9).map(|i| format!("b{i}[0] = 1u;")).collect();
    let bad = [
        format!("{buffers}@compute @workgroup_size(1) fn main() {{ {writes} }}"),
        "@compute @workgroup_size(257) fn main() {}".to_owned(),
        "enable f16; @group(0) @binding(0) var<storage, read_write> y: array<f16>;
            @compute @workgroup_size(1) fn main() { y[0] = 1.0h; }"
            .to_owned(),
        "@group(0) @binding(0) var<storage, read_write> y: array<u32>;
            @compute @workgroup_size(8) fn main() { y[0] = subgroupAdd(1u); }"
            .to_owned(),
    ];
    let device = Noop::open(wgpu::Features::empty())?;
    device.check(|| _ = device.pipeline(good, None, &[]))?;
    for source in bad {
        refused(device.check(|| _ = device.pipeline(&source, None, &[]))).with_context(|| source.clone())?;
    }
    let memory = "override SIZE: u32 = 4096; var<workgroup> w: array<u32, SIZE>;
        @compute @workgroup_size(1) fn main() { w[0] = 1u; }";
    modest(&Text::new(memory, Capabilities::empty(), &[])?)?;
    refused(modest(&Text::new(memory, Capabilities::empty(), &[("SIZE", 4097)])?))?;
    refused(Text::new(memory, Capabilities::empty(), &[("LENGTH", 1)])).context("an unknown override")
}

/// A device without a GPU: wgpu checks everything as it would for a driver, with the limits that every device has.
struct Noop {
    device: wgpu::Device,
}

impl Noop {
    fn open(features: wgpu::Features) -> anyhow::Result<Self> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::NOOP;
        descriptor.backend_options.noop.enable = true;
        let adapter = pollster::block_on(
            wgpu::Instance::new(descriptor).request_adapter(&wgpu::RequestAdapterOptions::default()),
        )?;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if features.contains(COOP) {
            #[expect(unsafe_code, reason = "a device that runs nothing")]
            // SAFETY: what an experimental feature may do wrong it does on a GPU, and there is none behind this device.
            let enabled = unsafe { wgpu::ExperimentalFeatures::enabled() };
            experimental_features = enabled;
        }
        let (device, _) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: features,
            required_limits: wgpu::Limits::default(),
            experimental_features,
            ..Default::default()
        }))?;
        Ok(Self { device })
    }

    /// What wgpu has to say of `work`.
    fn check(&self, work: impl FnOnce()) -> Outcome {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        work();
        match pollster::block_on(scope.pop()) {
            Some(error) => bail!("{error}"),
            None => Ok(()),
        }
    }

    fn layout(&self, bindings: &[(u32, Access, u32)]) -> wgpu::BindGroupLayout {
        let entries: Vec<_> = bindings
            .iter()
            .map(|(index, access, span)| wgpu::BindGroupLayoutEntry {
                binding: *index,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match access {
                        Access::Uniform => wgpu::BufferBindingType::Uniform,
                        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                        Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                    },
                    has_dynamic_offset: false,
                    min_binding_size: std::num::NonZeroU64::new(u64::from(*span)),
                },
                count: None,
            })
            .collect();
        self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries })
    }

    fn pipeline(
        &self,
        source: &str,
        layout: Option<&wgpu::BindGroupLayout>,
        overrides: &[(&str, u32)],
    ) -> wgpu::ComputePipeline {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        let layout = layout.map(|layout| {
            self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: None,
                bind_group_layouts: &[Some(layout)],
                immediate_size: 0,
            })
        });
        let constants: Vec<_> = overrides.iter().map(|(name, value)| (*name, f64::from(*value))).collect();
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: layout.as_ref(),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        })
    }

    /// Binds a buffer of `bytes(span)` to each binding.
    fn bind(&self, layout: &wgpu::BindGroupLayout, bindings: &[(u32, Access, u32)], bytes: impl Fn(u32) -> u32) {
        let buffers: Vec<_> = bindings
            .iter()
            .map(|(_, access, span)| {
                self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: None,
                    size: u64::from(bytes(*span)),
                    usage: match access {
                        Access::Uniform => wgpu::BufferUsages::UNIFORM,
                        Access::Read | Access::ReadWrite => wgpu::BufferUsages::STORAGE,
                    },
                    mapped_at_creation: false,
                })
            })
            .collect();
        let entries: Vec<_> = bindings
            .iter()
            .zip(&buffers)
            .map(|((index, _, _), buffer)| wgpu::BindGroupEntry {
                binding: *index,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        _ = self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries });
    }
}

/// The reflected layout makes a pipeline and a bind group; layouts and bind groups that are wrong in one thing do not.
fn noop(shader: &Shader) -> Outcome {
    let device = Noop::open(shader.features)?;
    let right: Vec<_> = shader.bindings.iter().map(|b| (b.index, b.access, b.span)).collect();
    let make = |bindings: &[(u32, Access, u32)], overrides: &[(&str, u32)]| {
        device.check(|| {
            let layout = device.layout(bindings);
            device.pipeline(shader.source, Some(&layout), overrides);
        })
    };
    for (_, overrides) in launches(shader) {
        make(&right, &overrides).with_context(|| format!("overrides {overrides:?}"))?;
    }

    let layout = device.layout(&right);
    device.check(|| device.bind(&layout, &right, |span| span))?;
    refused(device.check(|| device.bind(&layout, &right, |span| span / 2))).context("buffers half as long")?;
    for wrong in 0..right.len() {
        let name = shader.bindings[wrong].name;
        let mut fewer = right.clone();
        fewer.remove(wrong);
        refused(make(&fewer, &[])).with_context(|| format!("a layout without `{name}`"))?;
        refused(device.check(|| device.bind(&layout, &fewer, |span| span)))
            .with_context(|| format!("a bind group without `{name}`"))?;
        let mut other = right.clone();
        other[wrong].1 = if other[wrong].1 == Access::Uniform { Access::Read } else { Access::Uniform };
        refused(make(&other, &[])).with_context(|| format!("a layout with another kind of `{name}`"))?;
        refused(device.check(|| device.bind(&layout, &other, |span| span)))
            .with_context(|| format!("a bind group with another kind of `{name}`"))?;
    }
    Ok(())
}
