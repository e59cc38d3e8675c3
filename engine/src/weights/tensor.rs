//! A tensor of the model, found in its files, and reading it in the form that somebody needs.

use std::ops::Range;

use super::convert::{Target, convert_rows, rows_as_stored};
use super::gptq::Gptq;
use super::lora::{Delta, Lora};
use super::names::Role;
use super::packed::{Format, pack_row, unpack_row};
use super::padded;
use crate::error::{Error, Result};
use crate::file::{Checkpoint, Dtype, RopeLayout, TensorView};

/// The files of a model: the checkpoint, and the LoRAs over it.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The base.
    pub checkpoint: &'a Checkpoint,
    /// The adapters, in the order of their numbers.
    pub loras: &'a [Lora],
}

impl<'a> From<&'a Checkpoint> for Sources<'a> {
    fn from(checkpoint: &'a Checkpoint) -> Self {
        Self { checkpoint, loras: &[] }
    }
}

/// How the values of a tensor are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Element after element, or block after block.
    Plain(Dtype),
    /// Four tensors of AutoGPTQ.
    Gptq(Box<Gptq>),
}

/// A tensor that was found in the files and has the expected shape and a type that can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedTensor {
    /// What it is for.
    pub role: Role,
    /// Its layer, for the tensors that each layer has.
    pub layer: Option<usize>,
    /// Its name as the file spells it.
    pub name: String,
    /// Outputs; 1 for norms and biases.
    pub rows: usize,
    /// Inputs; the length of norms and biases.
    pub cols: usize,
    /// How it is stored.
    pub stored: Stored,
    /// The number of the LoRA whose file holds it in the base's place; None for the base's own.
    pub replaced_by: Option<usize>,
    /// What LoRAs add to it.
    pub deltas: Vec<Delta>,
}

impl ResolvedTensor {
    /// Its values in the file: the codes, for GPTQ.
    ///
    /// # Errors
    /// [`Error::Tensor`] when `sources` are not those that it was resolved from.
    pub fn view<'a>(&self, sources: Sources<'a>) -> Result<TensorView<'a>> {
        let checkpoint = match self.replaced_by {
            Some(number) => sources.loras.get(number).map(Lora::checkpoint),
            None => Some(sources.checkpoint),
        };
        checkpoint.and_then(|checkpoint| checkpoint.tensor(&self.name)).ok_or_else(|| {
            let path = sources.checkpoint.path();
            Error::tensor(path, &self.name, "not in this checkpoint, though it was when it was opened")
        })
    }

    /// The layout that it has on the device. The embedding is looked up by rows, which no quantised layout is made for.
    pub fn format(&self) -> Format {
        match &self.stored {
            _ if self.role == Role::Embed => Format::F16,
            Stored::Plain(dtype) => Format::of(*dtype, self.cols),
            Stored::Gptq(gptq) => gptq.format(),
        }
    }

    /// The order that its columns have on the device, where it is not the file's.
    pub fn order(&self) -> Option<&[u32]> {
        match &self.stored {
            Stored::Gptq(gptq) => gptq.order.as_deref(),
            Stored::Plain(_) => None,
        }
    }

    /// Its type, for people: `F16`, `Q4_K`, `GPTQ`.
    pub fn type_name(&self) -> &'static str {
        match &self.stored {
            Stored::Plain(dtype) => dtype.name(),
            Stored::Gptq(_) => "GPTQ",
        }
    }

    /// Its bytes in the file.
    pub fn stored_bytes(&self) -> u64 {
        match &self.stored {
            Stored::Plain(dtype) => (self.rows * dtype.row_bytes(self.cols)) as u64,
            Stored::Gptq(gptq) => gptq.stored_bytes(self.rows, self.cols),
        }
    }

    /// Its bytes on the device as a matrix, without the low-rank products that quantised ones get.
    pub fn device_bytes(&self) -> u64 {
        (self.rows * self.format().total_row_bytes(self.cols)) as u64
    }

    /// The ranks of all its LoRAs together, where it is quantised and they are multiplied beside it; 0 where they are merged.
    pub fn side_rank(&self) -> usize {
        if self.format() == Format::F16 { 0 } else { self.deltas.iter().map(|delta| delta.rank).sum() }
    }

    /// Bytes of the factors that are multiplied beside it.
    pub fn side_bytes(&self) -> u64 {
        let rank = self.side_rank();
        if rank == 0 { 0 } else { (2 * (rank * padded(self.cols) + self.rows * padded(rank))) as u64 }
    }

    /// Fills `codes` and `scales` with the rows `rows` in the layout of [`ResolvedTensor::format`].
    ///
    /// # Errors
    /// [`Error::Tensor`] for a value that the layout cannot hold.
    pub fn pack(&self, sources: Sources<'_>, rows: Range<usize>, codes: &mut [u8], scales: &mut [u8]) -> Result<()> {
        let (format, cols) = (self.format(), self.cols);
        let dtype = match &self.stored {
            Stored::Gptq(gptq) => return gptq.pack(sources.checkpoint, rows, cols, codes, scales),
            Stored::Plain(dtype) => *dtype,
        };
        let view = self.view(sources)?;
        if format == Format::F16 {
            return convert_rows(&view, rows, codes, padded(cols), Target::F16);
        }
        let (row_bytes, scale_bytes, stored) =
            (format.row_bytes(cols), format.scale_words(cols) * 4, dtype.row_bytes(cols));
        let data = view.data()?.get(rows.start * stored..rows.end * stored).unwrap_or_default();
        let out = codes.chunks_exact_mut(row_bytes.max(1)).zip(scales.chunks_exact_mut(scale_bytes.max(1)));
        for (row, (src, (codes, scales))) in data.chunks_exact(stored.max(1)).zip(out).enumerate() {
            if !pack_row(dtype, src, codes, scales) {
                let detail =
                    format!("row {} has a scale that is not a finite number: the file is damaged", rows.start + row);
                return Err(Error::tensor(view.path(), &self.name, detail));
            }
        }
        Ok(())
    }

    /// The rows `rows`, where the layout on the device is that of the file: then [`ResolvedTensor::pack`] would only copy them.
    ///
    /// # Errors
    /// As [`ResolvedTensor::pack`].
    pub fn packed<'a>(&self, sources: Sources<'a>, rows: Range<usize>) -> Result<Option<&'a [u8]>> {
        match &self.stored {
            Stored::Plain(_) if self.format() == Format::F16 => {
                rows_as_stored(&self.view(sources)?, rows, padded(self.cols))
            }
            _ => Ok(None),
        }
    }

    /// Converts the rows `rows` into `dst`, each of `padded_cols` elements, whatever they are stored as; columns in the order
    /// of the model. LoRAs are not added.
    ///
    /// # Errors
    /// As [`convert_rows`].
    pub fn convert(
        &self,
        sources: Sources<'_>,
        rows: Range<usize>,
        dst: &mut [u8],
        padded_cols: usize,
        target: Target,
    ) -> Result<()> {
        let Stored::Gptq(gptq) = &self.stored else {
            return convert_rows(&self.view(sources)?, rows, dst, padded_cols, target);
        };
        let (format, cols, n) = (gptq.format(), self.cols, rows.len());
        let (row_bytes, scale_bytes) = (format.row_bytes(cols), format.scale_words(cols) * 4);
        let (mut codes, mut scales) = (vec![0; n * row_bytes], vec![0; n * scale_bytes]);
        gptq.pack(sources.checkpoint, rows, cols, &mut codes, &mut scales)?;
        let packed = codes.chunks_exact(row_bytes).zip(scales.chunks_exact(scale_bytes));
        for ((codes, scales), out) in packed.zip(dst.chunks_exact_mut(padded_cols * target.size())) {
            out.fill(0);
            for (place, value) in unpack_row(format, cols, codes, scales).into_iter().enumerate() {
                let col = gptq.order.as_ref().and_then(|order| order.get(place)).map_or(place, |col| *col as usize);
                if target == Target::F16 && !half::f16::from_f32(value).is_finite() {
                    let detail = format!("a value is {value:e}, beyond fp16's range (65504)");
                    return Err(Error::tensor(sources.checkpoint.path(), &self.name, detail));
                }
                match target {
                    Target::F16 => out[col * 2..col * 2 + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes()),
                    Target::F32 => out[col * 4..col * 4 + 4].copy_from_slice(&value.to_le_bytes()),
                }
            }
        }
        Ok(())
    }

    /// Asks the system to read the rows from disk while others are converted.
    pub fn prefetch(&self, sources: Sources<'_>, rows: Range<usize>) {
        if let (Stored::Plain(dtype), Ok(view)) = (&self.stored, self.view(sources)) {
            let stored = dtype.row_bytes(self.cols);
            // Behind the last row the file goes on with what is wanted next, as a rule.
            let ahead = if rows.is_empty() { 32 << 20 } else { 0 };
            view.prefetch(rows.start * stored..rows.end * stored + ahead);
        }
    }

    /// Tells the system that the rows have been read.
    pub fn release(&self, sources: Sources<'_>, rows: Range<usize>) {
        match &self.stored {
            // A row is spread over the whole of it: only the last one is the end.
            Stored::Gptq(gptq) if rows.end == self.rows => gptq.release(sources.checkpoint),
            Stored::Gptq(_) => {}
            Stored::Plain(dtype) => {
                let stored = dtype.row_bytes(self.cols);
                if let Ok(view) = self.view(sources) {
                    view.release(rows.start * stored..rows.end * stored);
                }
            }
        }
    }
}

/// The row of a checkpoint in `layout` that holds row `row` of Hugging Face's half-split `q_proj` or `k_proj`, whose heads have
/// `head_dim` rows.
pub fn rope_row(layout: RopeLayout, head_dim: usize, row: usize) -> usize {
    let (head, at, half) = (row / head_dim * head_dim, row % head_dim, head_dim / 2);
    match layout {
        RopeLayout::HalfSplit => row,
        RopeLayout::InterleavedPairs => head + at % half * 2 + at / half,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_neighbours_when_interleaved() {
        let rows: Vec<usize> = (0..12).map(|row| rope_row(RopeLayout::InterleavedPairs, 6, row)).collect();
        assert_eq!(rows, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        assert_eq!(rope_row(RopeLayout::HalfSplit, 6, 7), 7);
    }
}
