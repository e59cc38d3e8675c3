//! From the file's memory map to matrices on the device, converted on the way.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::convert::{Target, padded};
use super::packed::Format;
use super::tensor::{ResolvedTensor, Sources};
use crate::error::Result;
use crate::gpu::{Buffer, Gpu, Role, StagingRing, Tier};

/// Rows of a matrix on the device, as many as a binding holds, in one format.
#[derive(Clone, Debug)]
pub struct Part {
    /// (n_rows, …) f16 or codes: see [`super::packed`].
    pub codes: Buffer,
    /// (n_rows, …) scales, where the format has them.
    pub scales: Option<Buffer>,
    /// The layout.
    pub format: Format,
    /// The first row.
    pub row_base: u32,
    /// Rows.
    pub n_rows: u32,
    /// (cols): the input that belongs to each column, where they are not in the model's order.
    pub order: Option<Buffer>,
}

/// What LoRAs add to rows of a quantised matrix: `b · (a · x)`.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// (rank, cols) f16.
    pub a: Matrix,
    /// (rows, rank) f16; its rows begin where they do in the matrix.
    pub b: Matrix,
}

/// What LoRAs add to rows of an f16 matrix, once: `b · a`.
#[derive(Clone, Debug)]
pub struct Merge {
    /// (rank, padded cols) f32.
    pub a: Buffer,
    /// (rows, rank) f32.
    pub b: Buffer,
    /// The sum of the ranks.
    pub rank: usize,
    /// The rows of the matrix.
    pub rows: Range<usize>,
}

/// A matrix (rows, cols) on the device.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// Its rows, in order.
    pub parts: Vec<Part>,
    /// Rows in all.
    pub rows: usize,
    /// Columns, without padding.
    pub cols: usize,
    /// (rows) f32, where the checkpoint has one.
    pub bias: Option<Buffer>,
    /// LoRAs beside it.
    pub low_rank: Vec<LowRank>,
    /// LoRAs that are still to be merged into it.
    pub merges: Vec<Merge>,
}

/// The largest number of rows of `row_bytes` that one binding and one buffer hold.
///
/// The 7B's head is 262 MB; software Vulkan binds 128 MiB. A multiple of 64, so that parts cut no tile.
fn rows_per_part(row_bytes: usize, tier: &Tier) -> usize {
    let bytes = usize::try_from(tier.max_matrix_part).unwrap_or(usize::MAX);
    let rows = bytes / row_bytes.max(1);
    if rows > 64 { rows / 64 * 64 } else { rows.max(1) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Streams tensors to the device through one ring.
pub struct Uploader<'a> {
    gpu: &'a Gpu,
    sources: Sources<'a>,
    ring: StagingRing<'a>,
    /// Called with the bytes of the file that have been read; its error ends the load.
    progress: &'a mut dyn FnMut(u64) -> Result<()>,
    done: u64,
}

impl<'a> Uploader<'a> {
    /// An uploader from `sources`, through slots of `slot_bytes`, that tells `progress` how many bytes of the file have been read.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(
        gpu: &'a Gpu,
        sources: Sources<'a>,
        slot_bytes: u64,
        progress: &'a mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Self> {
        Ok(Self { gpu, sources, ring: StagingRing::new(gpu, slot_bytes)?, progress, done: 0 })
    }

    /// A buffer of `rows` rows of `row_bytes`, computed by `fill` piece by piece.
    ///
    /// # Errors
    /// What the device reports.
    pub fn table(
        &mut self,
        label: &str,
        rows: usize,
        row_bytes: usize,
        fill: impl Fn(Range<usize>, &mut [u8]) + Sync,
    ) -> Result<Buffer> {
        let buffer = self.gpu.create_buffer(label, (rows * row_bytes) as u64, Role::Storage)?;
        let per_slot = (self.ring.slot_bytes() as usize / row_bytes.max(1)).max(1);
        for first in (0..rows).step_by(per_slot) {
            let n = per_slot.min(rows - first);
            self.ring.upload(&buffer, (first * row_bytes) as u64, n, row_bytes, |range, bytes| {
                fill(first + range.start..first + range.end, bytes);
                Ok(None)
            })?;
        }
        Ok(buffer)
    }

    /// The rows of `tensors`, one below the other, as one matrix, each in its format; `biases` likewise as one vector. Neighbours
    /// that lie alike share their parts. LoRAs come with it: to be merged, or beside what is quantised.
    ///
    /// # Errors
    /// A value that the format cannot hold (with the tensor's name), or what the device reports.
    pub fn matrix(&mut self, label: &str, tensors: &[&ResolvedTensor], biases: &[&ResolvedTensor]) -> Result<Matrix> {
        let cols = tensors.first().map_or(0, |tensor| tensor.cols);
        let (mut parts, mut low_rank, mut merges, mut rows) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for run in tensors.chunk_by(|a, b| a.format() == b.format() && a.order() == b.order()) {
            // Where one part cannot hold them all, no part holds rows of two tensors: those of gate and up are then cut alike.
            let row_bytes = run.first().map_or(1, |tensor| tensor.format().row_bytes(cols));
            let all = run.iter().map(|tensor| tensor.rows).sum::<usize>();
            let n = if all <= rows_per_part(row_bytes, self.gpu.tier()) { run.len() } else { 1 };
            let mut first = rows;
            for together in run.chunks(n) {
                parts.extend(self.parts(label, together, first)?);
                first += together.iter().map(|tensor| tensor.rows).sum::<usize>();
            }
            for tensor in run {
                if !tensor.deltas.is_empty() {
                    let (a, b, rank) = self.factors(tensor)?;
                    if tensor.format() == Format::F16 {
                        merges.push(self.merge(&a, &b, rank, rows..rows + tensor.rows, cols)?);
                    } else {
                        let a = self.plain(&format!("{label} A"), &a, rank, cols, 0)?;
                        let b = self.plain(&format!("{label} B"), &b, tensor.rows, rank, rows)?;
                        low_rank.push(LowRank { a, b });
                    }
                }
                rows += tensor.rows;
            }
        }
        let bias = if biases.is_empty() { None } else { Some(self.vector(&format!("{label} bias"), biases)?) };
        Ok(Matrix { parts, rows, cols, bias, low_rank, merges })
    }

    /// The parts of `run`, tensors that lie alike, whose first row is row `row_base` of the matrix.
    fn parts(&mut self, label: &str, run: &[&ResolvedTensor], row_base: usize) -> Result<Vec<Part>> {
        let Some(tensor) = run.first() else { return Ok(Vec::new()) };
        let (format, cols, rows) = (tensor.format(), tensor.cols, run.iter().map(|tensor| tensor.rows).sum::<usize>());
        let (row_bytes, scale_bytes) = (format.row_bytes(cols), format.scale_words(cols) * 4);
        let order = match tensor.order() {
            Some(order) => Some(self.gpu.create_buffer_with("order", bytemuck::cast_slice(order), Role::Storage)?),
            None => None,
        };
        let per_part = rows_per_part(row_bytes.max(scale_bytes), self.gpu.tier());
        let mut parts = Vec::new();
        for first in (0..rows).step_by(per_part) {
            let n_rows = per_part.min(rows - first);
            let bytes = |row: usize| (n_rows * row) as u64;
            let codes = self.gpu.create_buffer(label, bytes(row_bytes), Role::Storage)?;
            let scales = match scale_bytes {
                0 => None,
                _ => Some(self.gpu.create_buffer(&format!("{label} scales"), bytes(scale_bytes), Role::Storage)?),
            };
            let (row_base, n_rows) = ((row_base + first) as u32, n_rows as u32);
            parts.push(Part { codes, scales, format, row_base, n_rows, order: order.clone() });
        }
        let mut first = row_base;
        for tensor in run {
            for part in &parts {
                // The rows of the matrix that lie both in this tensor and in this part.
                let start = first.max(part.row_base as usize);
                let end = (first + tensor.rows).min((part.row_base + part.n_rows) as usize);
                if start < end {
                    self.rows(tensor, start - first..end - first, part, start - part.row_base as usize)?;
                }
            }
            first += tensor.rows;
        }
        Ok(parts)
    }

    /// The rows `rows` of `tensor`, to row `at` of `part`.
    fn rows(&mut self, tensor: &ResolvedTensor, rows: Range<usize>, part: &Part, at: usize) -> Result<()> {
        let (row_bytes, scale_bytes) = (part.format.row_bytes(tensor.cols), part.format.scale_words(tensor.cols) * 4);
        let per_slot = (self.ring.slot_bytes() as usize / row_bytes.max(scale_bytes).max(1)).max(1);
        let all_scales = Mutex::new(Vec::new());
        let sources = self.sources;
        for first in rows.clone().step_by(per_slot) {
            let n = per_slot.min(rows.end - first);
            let to = at + first - rows.start;
            let next = first + n;
            tensor.prefetch(sources, next..(next + per_slot).min(rows.end));
            lock(&all_scales).resize(n * scale_bytes, 0);
            self.ring.upload(&part.codes, (to * row_bytes) as u64, n, row_bytes, |range, codes| {
                if let Some(bytes) = tensor.packed(sources, first + range.start..first + range.end)? {
                    return Ok(Some(bytes));
                }
                let mut scales = vec![0; range.len() * scale_bytes];
                tensor.pack(sources, first + range.start..first + range.end, codes, &mut scales)?;
                if let Some(place) = lock(&all_scales).get_mut(range.start * scale_bytes..range.end * scale_bytes) {
                    place.copy_from_slice(&scales);
                }
                Ok(None)
            })?;
            if let Some(buffer) = &part.scales {
                self.ring.upload(buffer, (to * scale_bytes) as u64, n, scale_bytes, |range, bytes| {
                    let scales = lock(&all_scales);
                    let from = scales.get(range.start * scale_bytes..range.end * scale_bytes).unwrap_or_default();
                    bytes.copy_from_slice(from);
                    Ok(None)
                })?;
            }
            self.read(tensor, first..first + n)?;
        }
        Ok(())
    }

    /// What has been read need not stay in memory: the map is larger than a small machine's.
    fn read(&mut self, tensor: &ResolvedTensor, rows: Range<usize>) -> Result<()> {
        self.done += tensor.stored_bytes() * rows.len() as u64 / (tensor.rows as u64).max(1);
        tensor.release(self.sources, rows);
        (self.progress)(self.done)
    }

    /// All LoRAs of `tensor` as one product `b · a`: (rank, cols), (rows, rank) and the sum of the ranks.
    fn factors(&self, tensor: &ResolvedTensor) -> Result<(Vec<f32>, Vec<f32>, usize)> {
        let rank: usize = tensor.deltas.iter().map(|delta| delta.rank).sum();
        let (mut all_a, mut all_b) = (Vec::with_capacity(rank * tensor.cols), vec![0.0; tensor.rows * rank]);
        let mut at = 0;
        for delta in &tensor.deltas {
            let (a, b) = delta.factors(self.sources.loras)?;
            all_a.extend(a);
            for (to, from) in all_b.chunks_exact_mut(rank).zip(b.chunks_exact(delta.rank)) {
                to[at..at + delta.rank].copy_from_slice(from);
            }
            at += delta.rank;
        }
        Ok((all_a, all_b, rank))
    }

    /// The factors of a merge on the device.
    fn merge(&mut self, a: &[f32], b: &[f32], rank: usize, rows: Range<usize>, cols: usize) -> Result<Merge> {
        let stride = padded(cols);
        let a = self.table("LoRA A", rank, stride * 4, |range, bytes| {
            bytes.fill(0);
            for (row, bytes) in range.zip(bytes.chunks_exact_mut(stride * 4)) {
                let values: &[u8] = bytemuck::cast_slice(&a[row * cols..(row + 1) * cols]);
                bytes[..values.len()].copy_from_slice(values);
            }
        })?;
        let b = self.table("LoRA B", rows.len(), rank * 4, |range, bytes| {
            bytes.copy_from_slice(bytemuck::cast_slice(&b[range.start * rank..range.end * rank]));
        })?;
        Ok(Merge { a, b, rank, rows })
    }

    /// `values`, (rows, cols), as an f16 matrix whose first row is row `row_base` of another.
    fn plain(&mut self, label: &str, values: &[f32], rows: usize, cols: usize, row_base: usize) -> Result<Matrix> {
        let stride = padded(cols);
        let codes = self.table(label, rows, stride * 2, |range, bytes| {
            bytes.fill(0);
            for (row, bytes) in range.zip(bytes.chunks_exact_mut(stride * 2)) {
                for (value, bytes) in values[row * cols..(row + 1) * cols].iter().zip(bytes.as_chunks_mut::<2>().0) {
                    *bytes = half::f16::from_f32(*value).to_le_bytes();
                }
            }
        })?;
        let (row_base, n_rows) = (row_base as u32, rows as u32);
        let part = Part { codes, scales: None, format: Format::F16, row_base, n_rows, order: None };
        Ok(Matrix { parts: vec![part], rows, cols, bias: None, low_rank: Vec::new(), merges: Vec::new() })
    }

    /// The values of `tensors`, one after the other, as f32 with zeros up to a multiple of eight.
    ///
    /// # Errors
    /// As [`Uploader::matrix`].
    pub fn vector(&mut self, label: &str, tensors: &[&ResolvedTensor]) -> Result<Buffer> {
        let len: usize = tensors.iter().map(|tensor| tensor.rows * tensor.cols).sum();
        let buffer = self.gpu.create_buffer(label, (padded(len) * 4) as u64, Role::Storage)?;
        let mut at = 0;
        for tensor in tensors {
            let row_bytes = tensor.cols * 4;
            let sources = self.sources;
            self.ring.upload(&buffer, at, tensor.rows, row_bytes, |rows, bytes| {
                tensor.convert(sources, rows, bytes, tensor.cols, Target::F32).map(|()| None)
            })?;
            self.read(tensor, 0..tensor.rows)?;
            at += (tensor.rows * row_bytes) as u64;
        }
        Ok(buffer)
    }

    /// Waits for the last copies.
    ///
    /// # Errors
    /// What the device reports.
    pub fn finish(self) -> Result<()> {
        self.ring.finish()
    }
}
