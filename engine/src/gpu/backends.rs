//! The graphics APIs, opened one by one: one that fails does not hide the others, and what failed is told.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};

use super::context::lock;
use super::start_marker::{Start, StartMarker};

/// The native APIs; GL only where they find nothing or GL is asked for, since it shows the same devices again, with less.
const NATIVE: [wgpu::Backends; 3] = [wgpu::Backends::VULKAN, wgpu::Backends::METAL, wgpu::Backends::DX12];

/// The adapters of some backends.
pub(super) struct Found {
    pub(super) adapters: Vec<wgpu::Adapter>,
    /// The backends that failed, or were left out, and why.
    pub(super) failures: Vec<String>,
}

/// Where a start notes that it lists adapters; see [`note_starts_in`].
static MARKERS: OnceLock<PathBuf> = OnceLock::new();

/// Lets each start keep a file in `folder` while a driver lists its adapters. A driver that ends the program then leaves the file
/// behind, and the next start leaves that driver's backend out and says so. The first call counts.
pub fn note_starts_in(folder: PathBuf) {
    MARKERS.get_or_init(|| folder);
}

/// The backend that `query` begins with, where this build has it: it alone is opened.
fn named(query: &str) -> Option<wgpu::Backends> {
    let query = query.trim().to_lowercase();
    let backend = match query.split([':', '#']).next().unwrap_or_default().trim() {
        "vulkan" => wgpu::Backends::VULKAN,
        "metal" => wgpu::Backends::METAL,
        "dx12" => wgpu::Backends::DX12,
        "gl" => wgpu::Backends::GL,
        _ => return None,
    };
    wgpu::Instance::enabled_backend_features().contains(backend).then_some(backend)
}

/// The adapters that may be meant by `query`, in the order of the backends.
pub(super) fn find(query: Option<&str>) -> Found {
    let mut found = Found { adapters: Vec::new(), failures: Vec::new() };
    match query.and_then(named) {
        Some(backend) => found.add(backend, true),
        None => {
            NATIVE.into_iter().for_each(|backend| found.add(backend, false));
            if found.adapters.is_empty() {
                found.add(wgpu::Backends::GL, false);
            }
        }
    }
    found.failures.iter().for_each(|failure| warn_once(failure));
    found
}

/// Each failure once a program: adapters are listed several times.
fn warn_once(failure: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if lock(&TOLD).insert(failure.to_owned()) {
        tracing::warn!("{failure}");
    }
}

impl Found {
    fn add(&mut self, backend: wgpu::Backends, is_named: bool) {
        let allowed = wgpu::Backends::from_env().unwrap_or(wgpu::Backends::all());
        if !(wgpu::Instance::enabled_backend_features() & allowed).contains(backend) {
            return;
        }
        let name = name(backend);
        let marker = match MARKERS.get().map(|folder| StartMarker::set(folder, name, is_named)) {
            Some(Start::Crashed(why)) => return self.failures.push(why),
            Some(Start::Marked(marker)) => Some(marker),
            Some(Start::Unmarked) | None => None,
        };
        let listed = caught(|| list(backend));
        drop(marker);
        match listed {
            Ok((adapters, failure)) => {
                self.adapters.extend(adapters);
                self.failures.extend(failure);
            }
            Err(panic) => self.failures.push(format!("{name} failed to start, and is left out: {panic}")),
        }
    }
}

/// What `--adapter` calls it.
fn name(backend: wgpu::Backends) -> &'static str {
    match backend {
        wgpu::Backends::VULKAN => "vulkan",
        wgpu::Backends::METAL => "metal",
        wgpu::Backends::DX12 => "dx12",
        _ => "gl",
    }
}

/// What `work` gives, or what it said when it panicked.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "it panicked without a message".to_owned())
    })
}

/// The adapters of one backend that run compute shaders, and what is wrong with it though it runs.
fn list(backend: wgpu::Backends) -> (Vec<wgpu::Adapter>, Option<String>) {
    let (instance, failure) = open(backend);
    let mut adapters = pollster::block_on(instance.enumerate_adapters(backend));
    adapters.retain(|adapter| {
        adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
            && adapter.limits().max_storage_buffers_per_shader_stage >= 8
    });
    let failure = failure.filter(|_| !adapters.is_empty());
    (adapters, failure)
}

/// An instance of `backend`, with the first shader compiler that it opens with.
fn open(backend: wgpu::Backends) -> (wgpu::Instance, Option<String>) {
    if backend != wgpu::Backends::DX12 {
        return (instance(backend, wgpu::Dx12Compiler::Auto), None);
    }
    match dx12_compiler(cfg!(target_env = "msvc"), std::env::consts::ARCH) {
        wgpu::Dx12Compiler::StaticDxc => (instance(backend, wgpu::Dx12Compiler::StaticDxc), None),
        other => {
            let found = instance(backend, other);
            if is_open(&found) {
                return (found, None);
            }
            let old = instance(backend, wgpu::Dx12Compiler::Fxc);
            let failure = is_open(&old).then(|| {
                "dx12 compiles shaders with the old FXC, slowly and without f16 and subgroups, since there is no \
                 dxcompiler.dll of at least 1.8.2502: put it and dxil.dll from \
                 https://github.com/microsoft/DirectXShaderCompiler/releases into the folder of guanaco.exe, or choose \
                 `--adapter vulkan`"
                    .to_owned()
            });
            (old, failure)
        }
    }
}

/// The compiler of HLSL: DXC where wgpu has linked it, which it does for MSVC on x86-64 alone and else panics; DXC's library elsewhere.
/// Never `Auto`: it takes FXC, which knows neither f16 nor subgroups, without a word.
fn dx12_compiler(is_msvc: bool, arch: &str) -> wgpu::Dx12Compiler {
    if is_msvc && arch != "aarch64" && arch != "arm64ec" {
        wgpu::Dx12Compiler::StaticDxc
    } else {
        wgpu::Dx12Compiler::default_dynamic_dxc()
    }
}

/// True when the DX12 of `instance` has started: wgpu leaves it out where its compiler is missing.
fn is_open(instance: &wgpu::Instance) -> bool {
    #[cfg(windows)]
    {
        #[expect(unsafe_code, reason = "the handle is only looked for, not used")]
        // SAFETY: nothing is done with the handle.
        unsafe {
            instance.as_hal::<wgpu::hal::api::Dx12>().is_some()
        }
    }
    #[cfg(not(windows))]
    {
        _ = instance;
        false
    }
}

/// A wgpu instance for `backend` alone. Debug layers are for the engine's developers: `WGPU_VALIDATION=1`.
fn instance(backend: wgpu::Backends, compiler: wgpu::Dx12Compiler) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.flags = wgpu::InstanceFlags::empty();
    descriptor.backend_options.dx12.shader_compiler = compiler;
    let mut descriptor = descriptor.with_env();
    // `WGPU_BACKEND` has been looked at.
    descriptor.backends = backend;
    descriptor.backend_options.noop.enable = false;
    wgpu::Instance::new(descriptor)
}

/// What to do where no adapter was found, on the operating system `os`.
pub(super) fn advice(os: &str) -> &'static str {
    match os {
        "windows" => {
            "There is none. Install the driver of the GPU's maker (Windows' own has no Vulkan), or name another backend with \
             `--adapter dx12` or `--adapter vulkan`."
        }
        "macos" => "There is none. Metal needs macOS 10.15 or newer and is not there in most virtual machines.",
        _ => {
            "There is none. Install a GPU driver with Vulkan, or Mesa's software one (Debian, Ubuntu: apt install \
             mesa-vulkan-drivers libvulkan1)."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{advice, caught, dx12_compiler, find, named};
    use wgpu::{Backends, Dx12Compiler};

    #[test]
    fn the_linked_compiler_is_asked_for_only_where_it_is_linked() {
        assert!(matches!(dx12_compiler(true, "x86_64"), Dx12Compiler::StaticDxc));
        for (is_msvc, arch) in [(true, "aarch64"), (true, "arm64ec"), (false, "x86_64"), (false, "aarch64")] {
            let is_library = matches!(dx12_compiler(is_msvc, arch), Dx12Compiler::DynamicDxc { dxc_path } if dxc_path == "dxcompiler.dll");
            assert!(is_library, "{is_msvc} {arch}");
        }
    }

    #[test]
    fn a_backend_that_panics_is_a_failure_with_its_words() {
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(caught(|| -> u32 { std::panic::panic_any("no compiler") }), Err("no compiler".to_owned()));
        assert_eq!(caught(|| -> u32 { std::panic::panic_any("no DLL".to_owned()) }), Err("no DLL".to_owned()));
        assert!(caught(|| -> u32 { std::panic::panic_any(7) }).is_err());
    }

    #[test]
    fn a_query_that_begins_with_a_backend_opens_that_one_alone() {
        let enabled = wgpu::Instance::enabled_backend_features();
        let names = [
            ("vulkan", Backends::VULKAN),
            (" Vulkan:llvmpipe#2", Backends::VULKAN),
            ("metal:m1", Backends::METAL),
            ("dx12#2", Backends::DX12),
            ("GL", Backends::GL),
        ];
        for (query, backend) in names {
            assert_eq!(named(query), Some(backend).filter(|backend| enabled.contains(*backend)), "{query}");
        }
        for query in ["0", "radeon", "vulkano", "10de:2500", ""] {
            assert_eq!(named(query), None, "{query}");
        }
        for adapter in find(Some("vulkan")).adapters {
            assert_eq!(adapter.get_info().backend, wgpu::Backend::Vulkan);
        }
    }

    #[test]
    fn the_advice_is_for_the_system_at_hand() {
        assert!(advice("linux").contains("apt install"));
        assert!(!advice("windows").contains("apt install") && advice("windows").contains("dx12"));
        assert!(advice("macos").contains("Metal"));
    }
}
