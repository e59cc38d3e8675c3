//! Kernels at work: bound to matrices as large as a model's, through the same interface as the model, to be timed.

use bytemuck::cast_slice;
use half::f16;

use super::attention::KvBuffers;
use super::gate_up::{self, GateUp};
use super::linear::{Between, Linear, Wiring};
use super::qkv::{self, Qkv};
use super::rms_norm::{self, RmsNorm};
use super::rope_kv::Heads;
use super::{Rng, Step, padded, rows};
use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, Profile, Recording, Role, Width};
use crate::weights::packed::{Format, scale_zero};
use crate::weights::{Matrix, Part};

/// A bound operation that can be recorded again and again.
pub(super) trait Load {
    /// The list of one run.
    fn list(&self) -> Recording<'_>;
}

struct Product {
    linear: Linear,
    n_tokens: u32,
    width: Width,
}

impl Load for Product {
    fn list(&self) -> Recording<'_> {
        let mut list = Recording::new(self.width);
        self.linear.record(&mut list, self.n_tokens);
        list
    }
}

struct Norm(RmsNorm);

impl Load for Norm {
    fn list(&self) -> Recording<'_> {
        let mut list = Recording::new(Width::One);
        self.0.record(&mut list, 1);
        list
    }
}

impl Load for Qkv {
    fn list(&self) -> Recording<'_> {
        let mut list = Recording::new(Width::One);
        self.record(&mut list);
        list
    }
}

impl Load for GateUp {
    fn list(&self) -> Recording<'_> {
        let mut list = Recording::new(Width::One);
        self.record(&mut list);
        list
    }
}

/// q, k and v of one token, of the 7B's size on a GPU.
pub(super) fn qkv(gpu: &Gpu, format: Format) -> Result<Box<dyn Load>> {
    let (n_heads, head_dim) = if gpu.tier().profile == Profile::Cpu { (16, 64) } else { (32, 128) };
    let (dim, stride) = (n_heads * head_dim, padded(head_dim));
    let storage = |name, bytes: usize| gpu.create_buffer(name, bytes as u64, Role::Storage);
    let (k, v) = (storage("k", dim / head_dim * stride * 2)?, storage("v", dim / head_dim * stride * 2)?);
    let heads = Heads {
        n_heads: n_heads as u32,
        n_kv_heads: n_heads as u32,
        head_dim: head_dim as u32,
        head_stride: stride as u32,
        max_seq_len: 1,
        qkv_stride: 0,
        interleaved: 0,
    };
    let [x, gain] = token(gpu, dim)?;
    let (step, rope, q_out) = (step(gpu, 1)?, storage("rope", head_dim * 4)?, storage("q", n_heads * stride * 4)?);
    let cache = KvBuffers { k: &k, v: &v, scales: None };
    let wiring = qkv::Wiring { step: &step, x: &x, norm: norm_of(gpu, &gain, dim), rope: &rope, q_out: &q_out, cache };
    let qkv = Qkv::new(gpu, "load", &matrix(gpu, format, 3 * dim, dim)?, heads, wiring)?;
    Ok(Box::new(qkv.ok_or_else(|| Error::kernel("qkv", "does not take the matrix that it is timed with"))?))
}

/// gate and up of one token, of the 7B's size on a GPU.
pub(super) fn gate_up(gpu: &Gpu, format: Format) -> Result<Box<dyn Load>> {
    let (hidden, dim) = if gpu.tier().profile == Profile::Cpu { (1024, 2048) } else { (11008, 4096) };
    let [x, gain] = token(gpu, dim)?;
    let h = gpu.create_buffer("h", (hidden * 4) as u64, Role::Storage)?;
    let wiring = gate_up::Wiring { x: &x, norm: norm_of(gpu, &gain, dim), h: &h };
    let gate_up = GateUp::new(gpu, "load", &matrix(gpu, format, 2 * hidden, dim)?, wiring)?;
    Ok(Box::new(gate_up.ok_or_else(|| Error::kernel("gate_up", "does not take the matrix that it is timed with"))?))
}

/// The input of one token, and the weight of its norm.
fn token(gpu: &Gpu, dim: usize) -> Result<[Buffer; 2]> {
    let row = Rng::new(1).values(padded(dim), 1.0);
    let buffer = |name| gpu.create_buffer_with(name, cast_slice(&row), Role::Storage);
    Ok([buffer("x")?, buffer("gain")?])
}

/// The norm, where it is part of the kernels of one token.
fn norm_of<'a>(gpu: &Gpu, gain: &'a Buffer, dim: usize) -> Option<rows::Norm<'a>> {
    rows::takes_norm(gpu.tier()).then_some(rows::Norm { gain, dim, eps: 1e-6 })
}

/// A projection of one token, of the 7B's size on a GPU.
pub(super) fn matvec(gpu: &Gpu, format: Format) -> Result<Box<dyn Load>> {
    let (rows, cols) = if gpu.tier().profile == Profile::Cpu { (2048, 2048) } else { (8192, 4096) };
    product(gpu, format, rows, cols, 1, Width::One)
}

/// A projection of a chunk of a prompt.
pub(super) fn matmul(gpu: &Gpu, format: Format) -> Result<Box<dyn Load>> {
    let (size, n_tokens) = if gpu.tier().profile == Profile::Cpu { (512, 64) } else { (4096, 512) };
    product(gpu, format, size, size, n_tokens, Width::Many)
}

/// The norm of one token.
pub(super) fn norm(gpu: &Gpu) -> Result<Box<dyn Load>> {
    const DIM: usize = 4096;
    let params = rms_norm::Params { dim: DIM as u32, row_vecs: DIM as u32 / 4, eps: 1e-6, last_only: 0 };
    let row = Rng::new(1).values(DIM, 1.0);
    let buffer = |name| gpu.create_buffer_with(name, cast_slice(&row), Role::Storage);
    let (x, weight, y) = (buffer("x")?, buffer("weight")?, buffer("y")?);
    Ok(Box::new(Norm(RmsNorm::new(gpu, "load", params, &step(gpu, 1)?, &x, &weight, &y)?)))
}

fn step(gpu: &Gpu, n_tokens: usize) -> Result<Buffer> {
    gpu.create_buffer_with("step", bytemuck::bytes_of(&Step { pos: 0, n_tokens: n_tokens as u32 }), Role::Uniform)
}

fn product(
    gpu: &Gpu,
    format: Format,
    rows: usize,
    cols: usize,
    n_tokens: usize,
    width: Width,
) -> Result<Box<dyn Load>> {
    let matrix = matrix(gpu, format, rows, cols)?;
    let x = repeated(gpu, "x", cast_slice(&Rng::new(2).values(padded(cols), 1.0)), n_tokens)?;
    let y = gpu.create_buffer("y", (n_tokens * padded(rows) * 4) as u64, Role::Storage)?;
    let nothing = gpu.create_buffer("nothing between", 16, Role::Storage)?;
    let half = gpu.create_buffer("x in f16", (n_tokens * padded(cols) * 2) as u64, Role::Storage)?;
    let scale = gpu.create_buffer("scales of x", (n_tokens * 4) as u64, Role::Storage)?;
    let between = Between { sorted: &nothing, low_rank: &nothing, narrow: [&half, &scale] };
    let step = step(gpu, n_tokens)?;
    let wiring = Wiring { step: &step, x: &x, y: &y, y_stride: padded(rows), add: false, between };
    let linear = Linear::new(gpu, "load", &matrix, wiring, width)?;
    Ok(Box::new(Product { linear, n_tokens: n_tokens as u32, width }))
}

/// A matrix of weights like a model's.
fn matrix(gpu: &Gpu, format: Format, rows: usize, cols: usize) -> Result<Matrix> {
    let mut rng = Rng::new(1);
    let size = 1.0 / (cols as f32).sqrt();
    // Every row is the same: what a matrix holds costs no kernel more or less, but all zeros might.
    let codes: Vec<u8> = if format == Format::F16 {
        let row: Vec<f16> = rng.values(padded(cols), size).into_iter().map(f16::from_f32).collect();
        cast_slice(&row).to_vec()
    } else {
        (0..format.row_bytes(cols)).map(|_| rng.next_u64() as u8).collect()
    };
    let scales: Vec<u8> = (0..format.scale_words(cols)).flat_map(|_| scale_zero(size / 8.0, 8.0)).collect();
    let part = Part {
        codes: repeated(gpu, "weight", &codes, rows)?,
        scales: if scales.is_empty() { None } else { Some(repeated(gpu, "scales", &scales, rows)?) },
        format,
        row_base: 0,
        n_rows: rows as u32,
        order: None,
    };
    Ok(Matrix { parts: vec![part], rows, cols, bias: None, low_rank: Vec::new(), merges: Vec::new() })
}

/// `row`, `rows` times.
fn repeated(gpu: &Gpu, name: &str, row: &[u8], rows: usize) -> Result<Buffer> {
    const ROWS: usize = 64;
    let buffer = gpu.create_buffer(name, (row.len() * rows) as u64, Role::Storage)?;
    let block = row.repeat(ROWS.min(rows));
    for first in (0..rows).step_by(ROWS) {
        let part = block.get(..row.len() * ROWS.min(rows - first)).unwrap_or_default();
        gpu.write(&buffer, (first * row.len()) as u64, part)?;
    }
    Ok(buffer)
}

/// The largest square that [`matmul_flops`] tries.
const LARGEST: usize = 4096;

/// It stops at the first square that takes this long, seconds.
const LONG: f64 = 0.02;

/// Floating-point operations a second (two a multiply-add) of the best matmul kernel for f16 weights on this device, in a square
/// product whose sizes are doubled until it is large beside the latency of a submit: the roof over a prefill.
///
/// # Errors
/// What the device reports.
pub fn matmul_flops(gpu: &Gpu) -> Result<f64> {
    let (mut n, mut best) = (256, 0.0_f64);
    loop {
        let load = product(gpu, Format::F16, n, n, n, Width::Many)?;
        let list = load.list();
        gpu.time_repeated(&list, 1)?;
        let once = gpu.time_repeated(&list, 1)?;
        let times = ((LONG / once.max(1e-6)) as u32).clamp(1, 64);
        let mut samples = (0..5).map(|_| gpu.time_repeated(&list, times)).collect::<Result<Vec<_>>>()?;
        samples.sort_by(f64::total_cmp);
        let median = samples.get(samples.len() / 2).copied().unwrap_or(f64::INFINITY);
        best = best.max(2.0 * list.multiply_adds() as f64 / median.max(1e-9));
        if once > LONG || n >= LARGEST {
            return Ok(best);
        }
        n *= 2;
    }
}
