//! From the file's memory map to matrices on the device, converted on the way.

use super::convert::{Target, convert_rows, padded};
use super::names::ResolvedTensor;
use crate::error::Result;
use crate::file::Checkpoint;
use crate::gpu::{Buffer, Gpu, Role, StagingRing, Tier};

/// Rows of a matrix on the device, as many as a binding holds.
#[derive(Clone, Debug)]
pub struct Part {
    /// (n_rows, padded cols) f16.
    pub buffer: Buffer,
    /// The first row.
    pub row_base: u32,
    /// Rows.
    pub n_rows: u32,
}

/// A matrix (rows, cols) in f16 on the device.
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
}

/// The largest number of rows of `cols` columns that one binding and one buffer hold.
///
/// The 7B's head is 262 MB; software Vulkan binds 128 MiB. A multiple of 64, so that parts cut no tile.
pub fn rows_per_part(cols: usize, tier: &Tier) -> usize {
    let bytes = usize::try_from(tier.max_matrix_part).unwrap_or(usize::MAX);
    let rows = bytes / (padded(cols) * 2).max(1);
    if rows > 64 { rows / 64 * 64 } else { rows.max(1) }
}

/// Streams tensors to the device through one ring.
pub struct Uploader<'a> {
    gpu: &'a Gpu,
    checkpoint: &'a Checkpoint,
    ring: StagingRing<'a>,
    /// Called with the bytes of the file that have been read.
    progress: &'a mut dyn FnMut(u64),
    done: u64,
}

impl<'a> Uploader<'a> {
    /// An uploader from `checkpoint`, through slots of `slot_bytes`, that tells `progress` how many bytes of the file have been read.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(
        gpu: &'a Gpu,
        checkpoint: &'a Checkpoint,
        slot_bytes: u64,
        progress: &'a mut dyn FnMut(u64),
    ) -> Result<Self> {
        Ok(Self { gpu, checkpoint, ring: StagingRing::new(gpu, slot_bytes)?, progress, done: 0 })
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
        mut fill: impl FnMut(std::ops::Range<usize>, &mut [u8]),
    ) -> Result<Buffer> {
        let buffer = self.gpu.create_buffer(label, (rows * row_bytes) as u64, Role::Storage)?;
        let per_slot = (self.ring.slot_bytes() as usize / row_bytes.max(1)).max(1);
        for first in (0..rows).step_by(per_slot) {
            let n = per_slot.min(rows - first);
            self.ring.upload(&buffer, (first * row_bytes) as u64, n, row_bytes, |range, bytes| {
                fill(first + range.start..first + range.end, bytes);
                Ok(())
            })?;
        }
        Ok(buffer)
    }

    /// The rows of `tensors`, one below the other, as one f16 matrix; `biases` likewise as one vector.
    ///
    /// # Errors
    /// A value that f16 cannot hold (with the tensor's name), or what the device reports.
    pub fn matrix(&mut self, label: &str, tensors: &[&ResolvedTensor], biases: &[&ResolvedTensor]) -> Result<Matrix> {
        let rows: usize = tensors.iter().map(|tensor| tensor.rows).sum();
        let cols = tensors.first().map_or(0, |tensor| tensor.cols);
        let (per_part, row_bytes) = (rows_per_part(cols, self.gpu.tier()), padded(cols) * 2);
        let mut parts = Vec::new();
        for row_base in (0..rows).step_by(per_part) {
            let n_rows = per_part.min(rows - row_base);
            let buffer = self.gpu.create_buffer(label, (n_rows * row_bytes) as u64, Role::Storage)?;
            parts.push(Part { buffer, row_base: row_base as u32, n_rows: n_rows as u32 });
        }
        let mut first = 0;
        for tensor in tensors {
            for part in &parts {
                // The rows of the matrix that lie both in this tensor and in this part.
                let start = first.max(part.row_base as usize);
                let end = (first + tensor.rows).min((part.row_base + part.n_rows) as usize);
                if start < end {
                    let offset = ((start - part.row_base as usize) * row_bytes) as u64;
                    self.rows(tensor, start - first..end - first, &part.buffer, offset, Target::F16)?;
                }
            }
            first += tensor.rows;
        }
        let bias = if biases.is_empty() { None } else { Some(self.vector(&format!("{label} bias"), biases)?) };
        Ok(Matrix { parts, rows, cols, bias })
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
            self.rows(tensor, 0..tensor.rows, &buffer, at, Target::F32)?;
            at += (tensor.rows * tensor.cols * 4) as u64;
        }
        Ok(buffer)
    }

    fn rows(
        &mut self,
        tensor: &ResolvedTensor,
        rows: std::ops::Range<usize>,
        to: &Buffer,
        offset: u64,
        target: Target,
    ) -> Result<()> {
        let view = tensor.view(self.checkpoint)?;
        // Rows are padded for 16-byte loads; vectors are laid end to end.
        let cols = if target == Target::F16 { padded(tensor.cols) } else { tensor.cols };
        let (row_bytes, stored) = (cols * target.size(), tensor.dtype.row_bytes(tensor.cols));
        let per_slot = (self.ring.slot_bytes() as usize / row_bytes.max(1)).max(1);
        for first in rows.clone().step_by(per_slot) {
            let n = per_slot.min(rows.end - first);
            let at = offset + ((first - rows.start) * row_bytes) as u64;
            self.ring.upload(to, at, n, row_bytes, |range, bytes| {
                convert_rows(&view, first + range.start..first + range.end, bytes, cols, target)
            })?;
            // What has been converted need not stay in memory: the map is larger than a small machine's.
            view.release(first * stored..(first + n) * stored);
            self.done += (n * stored) as u64;
            (self.progress)(self.done);
        }
        Ok(())
    }

    /// Waits for the last copies.
    ///
    /// # Errors
    /// What the device reports.
    pub fn finish(self) -> Result<()> {
        self.ring.finish()
    }
}
