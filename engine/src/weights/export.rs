//! The fp16 safetensors twin of a checkpoint: every tensor of the model under its name in transformers, whatever it was stored as.
//!
//! It is written piece by piece and appears under its name when it is whole ([`crate::file::SafetensorsWriter`]). Rows of GGUF's
//! `q_proj` and `k_proj` go back into Hugging Face's order, and LoRAs are added in f32.

use std::ops::{ControlFlow, Range};
use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::convert::Target;
use super::names::{Dims, Resolved, Role, expected};
use super::tensor::{ResolvedTensor, Sources, rope_row};
use crate::error::{Error, Result};
use crate::file::{Dtype, NewTensor, RopeLayout, SafetensorsWriter};

/// Bytes of f16 that are converted at a time.
const PIECE: usize = 16 << 20;

/// Writes the twin of the model with `tensors` to `path`. Its config must say whether the head is the embedding as
/// [`Resolved::is_tied`] does. `progress` is told how many bytes of the source have been read, and may
/// end it: then nothing is left behind, and the result is false.
///
/// # Errors
/// [`Error::Tensor`] names a value that f16 cannot hold; [`Error::Io`] when the file cannot be written.
pub fn write_f16(
    sources: Sources<'_>,
    dims: &Dims,
    tensors: &Resolved,
    path: &Path,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<bool> {
    let wanted = expected(&Dims { tied_embeddings: tensors.is_tied(), ..*dims });
    let new = |wanted: &super::names::ExpectedTensor| NewTensor {
        name: wanted.name.clone(),
        dtype: Dtype::F16,
        shape: wanted.shape.clone(),
    };
    let mut writer = SafetensorsWriter::create(path, &wanted.iter().map(new).collect::<Vec<_>>())?;
    let mut done = 0;
    for wanted in &wanted {
        let tensor = tensors
            .get(wanted.role, wanted.layer)
            .ok_or_else(|| Error::tensor(sources.checkpoint.path(), &wanted.name, "not among the model's tensors"))?;
        let source = Rows::new(sources, tensor, dims.head_dim)?;
        let per_piece = (PIECE / (tensor.cols * 2).max(1)).clamp(1, tensor.rows.max(1));
        for first in (0..tensor.rows).step_by(per_piece) {
            let rows = first..(first + per_piece).min(tensor.rows);
            writer.write(&source.f16(rows.clone())?)?;
            done += tensor.stored_bytes() * rows.len() as u64 / (tensor.rows as u64).max(1);
            tensor.release(sources, rows);
            if progress(done).is_break() {
                return Ok(false);
            }
        }
    }
    writer.finish()?;
    Ok(true)
}

/// The rows of one tensor, as the twin has them.
struct Rows<'a> {
    sources: Sources<'a>,
    tensor: &'a ResolvedTensor,
    /// Rows of a head, where they are to be brought into another order.
    interleaved: Option<usize>,
    /// The factors of the LoRAs on it: `a` (rank, cols), `b` (rows, rank), rank.
    deltas: Vec<(Vec<f32>, Vec<f32>, usize)>,
}

impl<'a> Rows<'a> {
    fn new(sources: Sources<'a>, tensor: &'a ResolvedTensor, head_dim: usize) -> Result<Self> {
        let turned = matches!(tensor.role, Role::QProj | Role::KProj | Role::QBias | Role::KBias);
        let interleaved = turned && sources.checkpoint.rope_layout() == RopeLayout::InterleavedPairs;
        let mut deltas = Vec::with_capacity(tensor.deltas.len());
        for delta in &tensor.deltas {
            let (a, b) = delta.factors(sources.loras)?;
            deltas.push((a, b, delta.rank));
        }
        Ok(Self { sources, tensor, interleaved: interleaved.then_some(head_dim), deltas })
    }

    /// The rows `rows` in f16, converted on all cores.
    fn f16(&self, rows: Range<usize>) -> Result<Vec<u8>> {
        let row_bytes = self.tensor.cols * 2;
        let mut bytes = vec![0; rows.len() * row_bytes];
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = rows.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let pieces: Vec<_> = bytes
                .chunks_mut((share * row_bytes).max(1))
                .enumerate()
                .map(|(piece, out)| {
                    let first = rows.start + piece * share;
                    scope.spawn(move || self.fill(first, out))
                })
                .collect();
            pieces.into_iter().try_for_each(|piece| match piece.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        Ok(bytes)
    }

    /// Fills `out` with the rows from `first` on.
    fn fill(&self, first: usize, out: &mut [u8]) -> Result<()> {
        let cols = self.tensor.cols;
        let n = out.len() / (cols * 2).max(1);
        if self.interleaved.is_none() && self.deltas.is_empty() {
            return self.tensor.convert(self.sources, first..first + n, out, cols, Target::F16);
        }
        if let (Some(head_dim), 1) = (self.interleaved, self.tensor.rows) {
            // A bias: one row, whose columns are the rows of the matrix.
            let mut stored = vec![0; out.len()];
            self.tensor.convert(self.sources, 0..1, &mut stored, cols, Target::F16)?;
            for (col, value) in out.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                let from = rope_row(RopeLayout::InterleavedPairs, head_dim, col) * 2;
                value.copy_from_slice(stored.get(from..from + 2).unwrap_or_default());
            }
            return Ok(());
        }
        let mut bytes = vec![0; cols * 4];
        for (row, out) in (first..first + n).zip(out.chunks_exact_mut(cols * 2)) {
            let stored = match self.interleaved {
                Some(head_dim) => rope_row(RopeLayout::InterleavedPairs, head_dim, row),
                None => row,
            };
            self.tensor.convert(self.sources, stored..stored + 1, &mut bytes, cols, Target::F32)?;
            let mut values: Vec<f32> =
                bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect();
            for (a, b, rank) in &self.deltas {
                // Deltas are kept in the order of the stored rows.
                for (a, factor) in a.chunks_exact(cols).zip(b.iter().skip(stored * rank)).take(*rank) {
                    values.iter_mut().zip(a).for_each(|(value, a)| *value += factor * a);
                }
            }
            let mut halves = vec![f16::ZERO; cols];
            halves.convert_from_f32_slice(&values);
            if let Some(col) = halves.iter().position(|value| !value.is_finite()) {
                let detail = format!("the value at [{row}, {col}] is {:e}, beyond fp16's range (65504)", values[col]);
                return Err(Error::tensor(self.sources.checkpoint.path(), &self.tensor.name, detail));
            }
            out.as_chunks_mut::<2>().0.iter_mut().zip(&halves).for_each(|(to, half)| *to = half.to_le_bytes());
        }
        Ok(())
    }
}
