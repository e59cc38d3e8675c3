//! The table of shader texts that `build.rs` composed, validated and reflected from `shaders/`.

/// How a kernel uses a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<uniform>`.
    Uniform,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// One buffer of a kernel, as naga reflected it.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Its number in group 0.
    pub index: u32,
    /// Its name in the WGSL text; buffers are bound by it.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
    /// Bytes of its type; of one element for a runtime-sized array.
    pub span: u32,
}

/// One kernel in one text variant.
#[derive(Debug)]
pub struct Shader {
    /// The stem of its file.
    pub kernel: &'static str,
    /// `base`, or the switches joined by `_`.
    pub variant: &'static str,
    /// The final WGSL.
    pub source: &'static str,
    /// Its buffers, by number: uniforms, reads, writes.
    pub bindings: &'static [Binding],
    /// The names of its `override` constants.
    pub overrides: &'static [&'static str],
    /// Bytes of `var<workgroup>` memory.
    pub workgroup_bytes: u32,
    /// The optional features that it cannot do without.
    pub features: wgpu::Features,
}

include!(concat!(env!("OUT_DIR"), "/shaders.rs"));

/// The text of `kernel` in `variant`, if `variants.txt` lists it.
pub fn find(kernel: &str, variant: &str) -> Option<&'static Shader> {
    let at = SHADERS.binary_search_by(|shader| (shader.kernel, shader.variant).cmp(&(kernel, variant))).ok()?;
    SHADERS.get(at)
}
