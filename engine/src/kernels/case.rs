//! Inputs of conformance cases: made from a seed, the same on every machine.

use half::f16;

/// What a buffer of a case holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// 32-bit words (parameters, ids), compared bit by bit.
    U32,
    /// f32.
    F32,
    /// Packed f16.
    F16,
    /// Packed signed bytes.
    I8,
}

/// One buffer of a case.
#[derive(Clone, Debug)]
pub struct CaseBuffer {
    /// Its name in the shader.
    pub name: &'static str,
    /// How to compare it.
    pub data: Data,
    /// What it holds before the kernel runs; the sentinel where the kernel must write or leave alone.
    pub bytes: Vec<u8>,
}

/// What an output holds before the kernel runs. Finite as f32 (-6.96) and as two f16 (-2.43), and no plausible result.
pub(super) const SENTINEL: u32 = 0xC0DE_C0DE;

/// Workgroups for a launch with this many invocations, in this variant, on this adapter.
pub type Workgroups = fn(&Case, &crate::gpu::Launch, &crate::gpu::Tier) -> [u32; 3];

/// One set of inputs for a kernel.
#[derive(Clone, Debug)]
pub struct Case {
    /// The shape, and what is special about it.
    pub name: String,
    /// All buffers of the kernel.
    pub buffers: Vec<CaseBuffer>,
    /// How it is launched.
    pub workgroups: Workgroups,
    /// Normalised mean squared error that is still right: `Σ(y - ref)² / Σ ref²`.
    pub limit: f64,
    /// The same for variants on matrix units, which round what they multiply to f16.
    pub coop_limit: f64,
}

impl Case {
    /// A case without buffers yet.
    pub fn new(name: impl Into<String>, limit: f64, workgroups: Workgroups) -> Self {
        Self { name: name.into(), buffers: Vec::new(), workgroups, limit, coop_limit: limit }
    }

    /// Another limit for variants on matrix units.
    #[must_use]
    pub fn coop_limit(self, limit: f64) -> Self {
        Self { coop_limit: limit, ..self }
    }

    fn with(mut self, name: &'static str, data: Data, bytes: Vec<u8>) -> Self {
        self.buffers.push(CaseBuffer { name, data, bytes });
        self
    }

    /// Adds a uniform.
    #[must_use]
    pub fn uniform<P: bytemuck::NoUninit>(self, name: &'static str, params: P) -> Self {
        let mut bytes = bytemuck::bytes_of(&params).to_vec();
        bytes.resize(bytes.len().next_multiple_of(16), 0);
        self.with(name, Data::U32, bytes)
    }

    /// Adds words.
    #[must_use]
    pub fn u32(self, name: &'static str, values: &[u32]) -> Self {
        self.with(name, Data::U32, bytemuck::cast_slice(values).to_vec())
    }

    /// Adds f32 values.
    #[must_use]
    pub fn f32(self, name: &'static str, values: &[f32]) -> Self {
        self.with(name, Data::F32, bytemuck::cast_slice(values).to_vec())
    }

    /// Adds f32 values, rounded to f16.
    #[must_use]
    pub fn f16(self, name: &'static str, values: &[f32]) -> Self {
        let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
        self.with(name, Data::F16, bytemuck::cast_slice(&halves).to_vec())
    }

    /// Adds signed bytes.
    #[must_use]
    pub fn i8(self, name: &'static str, values: &[i8]) -> Self {
        self.with(name, Data::I8, bytemuck::cast_slice(values).to_vec())
    }

    /// Adds an output of `len` elements, full of sentinels.
    #[must_use]
    pub fn output(self, name: &'static str, data: Data, len: usize) -> Self {
        let bytes = match data {
            Data::I8 => len,
            Data::F16 => len * 2,
            Data::U32 | Data::F32 => len * 4,
        };
        let words = vec![SENTINEL; bytes.div_ceil(4)];
        self.with(name, data, bytemuck::cast_slice(&words).to_vec())
    }

    /// The parameters in the uniform `name`; zeros when there is none.
    pub fn params<P: bytemuck::AnyBitPattern>(&self, name: &str) -> P {
        let bytes = self.buffers.iter().find(|buffer| buffer.name == name).and_then(|b| b.bytes.get(..size_of::<P>()));
        bytes.map_or_else(P::zeroed, bytemuck::pod_read_unaligned)
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014): small, seeded, the same everywhere.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1, times `scale`.
    pub fn value(&mut self, scale: f32) -> f32 {
        let unit = (self.next_u64() >> 40) as f32 / (1_u64 << 24) as f32;
        (unit * 2.0 - 1.0) * scale
    }

    /// `n` such values.
    pub fn values(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.value(scale)).collect()
    }

    /// `rows` rows of `cols` values, each padded with zeros to `stride`.
    pub fn rows(&mut self, rows: usize, cols: usize, stride: usize, scale: f32) -> Vec<f32> {
        let mut values = vec![0.0; rows * stride];
        for row in values.chunks_mut(stride.max(1)) {
            row.iter_mut().take(cols).for_each(|value| *value = self.value(scale));
        }
        values
    }
}
