//! Stored elements to the types that the kernels read: F16, BF16, F32 and blocks in, fp16 or f32 out, rounded to nearest even.
//!
//! Values are checked on the way, where it costs nothing beside reading them: one NaN or infinity in a weight, or one value
//! beyond fp16's range, makes every token after it meaningless, and nothing later could name the tensor.

use std::ops::Range;

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::blocks;
use crate::error::{Error, Result};
use crate::file::{Dtype, TensorView};

/// Elements converted at a time: two buffers of this length stay in the first-level cache.
const BLOCK: usize = 1024;

/// The type of the converted elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// IEEE half precision, 2 bytes: the matrices.
    F16,
    /// IEEE single precision, 4 bytes: norms and biases.
    F32,
}

impl Target {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }
}

/// `cols` rounded up to a multiple of 8: the length of a packed fp16 row, so that each row begins at a 16-byte load.
pub fn padded(cols: usize) -> usize {
    cols.next_multiple_of(8)
}

/// Converts the rows `rows` of `view` into `dst`, little-endian, each row of `padded_cols` elements with zeros after the
/// tensor's own columns. A vector counts as one row. The source's bytes need no alignment, nor do those of `dst`, which must
/// be `rows.len() * padded_cols * target.size()` bytes long.
///
/// # Errors
/// [`Error::Tensor`] names the first value that is NaN, infinite or, for fp16, 65520 or more in magnitude (which would round
/// to infinity); or says that the tensor's type cannot be read, or that the arguments contradict each other.
pub fn convert_rows(
    view: &TensorView<'_>,
    rows: Range<usize>,
    dst: &mut [u8],
    padded_cols: usize,
    target: Target,
) -> Result<()> {
    let fail = |detail: String| Err(Error::tensor(view.path(), view.name, detail));
    if !view.dtype.is_weight() {
        return fail(format!("expected F16, BF16 or F32, got {}", view.dtype));
    }
    let Some((n_rows, cols)) = view.rows_cols() else {
        return fail(format!("expected a vector or a matrix, got {} dimensions", view.shape.len()));
    };
    let row_len = padded_cols * target.size();
    if rows.start > rows.end || rows.end > n_rows || padded_cols < cols || dst.len() != rows.len() * row_len {
        let got = dst.len();
        return fail(format!("rows {rows:?} of ({n_rows}, {cols}) do not fill {got} bytes with rows of {padded_cols}"));
    }
    if cols == 0 {
        return Ok(());
    }
    let source = RowSource::new(view, cols)?;
    let mut scratch = Scratch::default();
    for (row, dst) in rows.zip(dst.chunks_exact_mut(row_len)) {
        let (values, padding) = dst.split_at_mut(cols * target.size());
        for (block, dst) in values.chunks_mut(BLOCK * target.size()).enumerate() {
            let first = block * BLOCK;
            let src = source.elements(row, first..first + dst.len() / target.size(), &mut scratch.gathered);
            if scratch.numbers.convert(view.dtype, src, target, dst) {
                return Err(bad_value(view, target, row, first, src));
            }
        }
        padding.fill(0);
    }
    Ok(())
}

/// The bytes of the rows `rows` of `view`, where [`convert_rows`] to fp16 would only copy them; None where it has more to do, or a
/// value to complain of.
///
/// # Errors
/// As [`TensorView::data`].
pub fn rows_as_stored<'a>(view: &TensorView<'a>, rows: Range<usize>, padded_cols: usize) -> Result<Option<&'a [u8]>> {
    let plain = view.dtype == Dtype::F16 && view.strides().is_none();
    if !plain || view.rows_cols().is_none_or(|(_, cols)| cols != padded_cols) {
        return Ok(None);
    }
    let row_bytes = padded_cols * Target::F16.size();
    let bytes = view.data()?.get(rows.start * row_bytes..rows.end * row_bytes);
    Ok(bytes.filter(|bytes| !has_bad_f16(halves(bytes))))
}

/// The stored elements of a tensor, row by row.
struct RowSource<'a> {
    data: &'a [u8],
    dtype: Dtype,
    cols: usize,
    /// Elements from row to row and from column to column, where they do not follow each other.
    strides: Option<(usize, usize)>,
}

impl<'a> RowSource<'a> {
    fn new(view: &TensorView<'a>, cols: usize) -> Result<Self> {
        let strides = view.strides().map(|strides| match *strides {
            [rows, cols] => (rows, cols),
            [cols] => (0, cols),
            _ => (0, 0),
        });
        Ok(Self { data: view.data()?, dtype: view.dtype, cols, strides })
    }

    /// The columns `cols` of `row`; a view's are gathered into `buffer`. For block types both ends are whole blocks.
    fn elements<'b>(&'b self, row: usize, cols: Range<usize>, buffer: &'b mut Vec<u8>) -> &'b [u8] {
        let Some((row_stride, col_stride)) = self.strides else {
            let start = row * self.dtype.row_bytes(self.cols);
            let range = start + self.dtype.row_bytes(cols.start)..start + self.dtype.row_bytes(cols.end);
            return self.data.get(range).unwrap_or_default();
        };
        buffer.clear();
        let size = self.dtype.block_bytes();
        for col in cols {
            let start = (row * row_stride + col * col_stride) * size;
            buffer.extend_from_slice(self.data.get(start..start + size).unwrap_or_default());
        }
        buffer
    }
}

/// What one conversion works with.
#[derive(Default)]
struct Scratch {
    gathered: Vec<u8>,
    numbers: Numbers,
}

/// Buffers of one block, aligned, which the file's bytes are not.
struct Numbers {
    half: [u16; BLOCK],
    single: [f32; BLOCK],
}

impl Default for Numbers {
    fn default() -> Self {
        Self { half: [0; BLOCK], single: [0.0; BLOCK] }
    }
}

impl Numbers {
    /// Converts up to [`BLOCK`] elements. True when one of them cannot be a weight.
    ///
    /// The checks add one to the lowest bit of the exponent: an exponent of all ones (NaN, infinity) carries into the sign
    /// bit, whatever the mantissa, and a plain OR collects these. This vectorises where a comparison with an early end does
    /// not. Overflow to fp16 shows as an infinity in the result.
    fn convert(&mut self, dtype: Dtype, src: &[u8], target: Target, dst: &mut [u8]) -> bool {
        let n = dst.len() / target.size();
        let (half, single) = (&mut self.half[..n], &mut self.single[..n]);
        match (dtype, target) {
            (Dtype::F16, Target::F16) => {
                dst.copy_from_slice(src);
                return has_bad_f16(halves(src));
            }
            (Dtype::F16, Target::F32) => {
                half.iter_mut().zip(halves(src)).for_each(|(to, from)| *to = from);
                half.reinterpret_cast::<f16>().convert_to_f32_slice(single);
            }
            (Dtype::BF16, _) => {
                single.iter_mut().zip(halves(src)).for_each(|(to, from)| *to = f32::from_bits(u32::from(from) << 16));
            }
            (dtype, _) if dtype.is_block() => blocks::dequantize(dtype, src, single),
            _ => {
                let words = src.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]));
                single.iter_mut().zip(words).for_each(|(to, from)| *to = from);
            }
        }
        match target {
            Target::F16 => {
                half.reinterpret_cast_mut::<f16>().convert_from_f32_slice(single);
                dst.chunks_exact_mut(2).zip(&*half).for_each(|(to, from)| to.copy_from_slice(&from.to_le_bytes()));
                has_bad_f16(half.iter().copied())
            }
            Target::F32 => {
                dst.chunks_exact_mut(4).zip(&*single).for_each(|(to, from)| to.copy_from_slice(&from.to_le_bytes()));
                let carried = single.iter().fold(0, |carried, x| carried | ((x.to_bits() & 0x7FFF_FFFF) + 0x0080_0000));
                carried & 0x8000_0000 != 0
            }
        }
    }
}

fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
}

fn has_bad_f16(halves: impl Iterator<Item = u16>) -> bool {
    halves.fold(0_u16, |carried, bits| carried | ((bits & 0x7FFF) + 0x0400)) & 0x8000 != 0
}

/// The error for the first bad value of a block that has one.
fn bad_value(view: &TensorView<'_>, target: Target, row: usize, first_col: usize, block: &[u8]) -> Error {
    let mut values = vec![0.0; block.len() / view.dtype.block_bytes() * view.dtype.block_len()];
    match view.dtype {
        Dtype::F16 => values.iter_mut().zip(halves(block)).for_each(|(to, from)| *to = f16::from_bits(from).to_f32()),
        Dtype::BF16 => {
            values.iter_mut().zip(halves(block)).for_each(|(to, from)| *to = f32::from_bits(u32::from(from) << 16))
        }
        dtype if dtype.is_block() => blocks::dequantize(dtype, block, &mut values),
        _ => values.iter_mut().zip(block.as_chunks::<4>().0).for_each(|(to, from)| *to = f32::from_le_bytes(*from)),
    }
    let is_bad = |value: f32| match target {
        Target::F16 => !f16::from_f32(value).is_finite(),
        Target::F32 => !value.is_finite(),
    };
    let mut values = values.into_iter().enumerate();
    let (col, value) = values.find(|(_, value)| is_bad(*value)).unwrap_or((0, f32::NAN));
    let at =
        if view.shape.len() == 1 { format!("[{}]", first_col + col) } else { format!("[{row}, {}]", first_col + col) };
    let detail = if value.is_finite() {
        format!(
            "the value at {at} is {value:e}, beyond fp16's range (65504): this model needs more range than fp16 weights have"
        )
    } else {
        format!("the value at {at} is {value}: the file is damaged, or the model was saved after its training diverged")
    };
    Error::tensor(view.path(), view.name, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Checkpoint;

    /// A checkpoint with one tensor `t`, its data at an odd address within the file.
    fn checkpoint(dtype: &str, shape: &[usize], data: &[u8]) -> Checkpoint {
        let header = format!(r#"{{"t":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[0,{}]}}}}"#, data.len());
        let header = format!("{header}{}", " ".repeat(1 + header.len() % 2));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        Checkpoint::from_static(&[("model.safetensors", bytes.leak())]).unwrap()
    }

    fn convert(checkpoint: &Checkpoint, rows: Range<usize>, padded_cols: usize, target: Target) -> Result<Vec<u8>> {
        let view = checkpoint.tensor("t").unwrap();
        let mut dst = vec![0xAA; rows.len() * padded_cols * target.size()];
        convert_rows(&view, rows, &mut dst, padded_cols, target)?;
        Ok(dst)
    }

    fn bytes<const N: usize, T>(values: &[T], to: impl Fn(&T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(to).collect()
    }

    #[test]
    fn every_f16_survives_both_targets() {
        let all: Vec<u16> = (0..=u16::MAX).filter(|&bits| f16::from_bits(bits).is_finite()).collect();
        let checkpoint = checkpoint("F16", &[2, all.len() / 2], &bytes(&all, |bits| bits.to_le_bytes()));
        let cols = all.len() / 2;
        let same = convert(&checkpoint, 0..2, cols, Target::F16).unwrap();
        assert_eq!(same, bytes(&all, |bits| bits.to_le_bytes()));
        let wide = convert(&checkpoint, 0..2, cols, Target::F32).unwrap();
        assert_eq!(wide, bytes(&all, |bits| f16::from_bits(*bits).to_f32().to_le_bytes()));
    }

    #[test]
    fn rows_that_would_only_be_copied_are_given_as_they_are() {
        let good = bytes(&[1.0_f32; 32], |x| f16::from_f32(*x).to_le_bytes());
        let given = |checkpoint: &Checkpoint, rows: Range<usize>, padded_cols| {
            let rows = rows_as_stored(&checkpoint.tensor("t").unwrap(), rows, padded_cols).unwrap();
            rows.map(<[u8]>::to_vec)
        };
        let plain = checkpoint("F16", &[4, 8], &good);
        assert_eq!(given(&plain, 1..3, 8), Some(convert(&plain, 1..3, 8, Target::F16).unwrap()));
        assert_eq!(given(&plain, 1..3, 16), None, "rows with padding");
        assert_eq!(given(&checkpoint("BF16", &[4, 8], &good), 1..3, 8), None, "another type");
        assert_eq!(given(&plain, 3..5, 8), None, "beyond the end");
        for bad in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
            let mut data = good.clone();
            data[40..42].copy_from_slice(&bad.to_le_bytes());
            let damaged = checkpoint("F16", &[4, 8], &data);
            assert_eq!(given(&damaged, 2..3, 8), None, "{bad}");
            assert!(given(&damaged, 0..2, 8).is_some() && given(&damaged, 3..4, 8).is_some());
        }
    }

    #[test]
    fn f32_rounds_to_nearest_even() {
        // Halfway cases around 1 (ulp 2^-10) and 2049 (ulp 2), the smallest subnormal 2^-24 and its half, and the largest value.
        let ulp = 2.0_f32.powi(-10);
        let cases = [
            (1.0 + 0.5 * ulp, 1.0),
            (1.0 + 1.5 * ulp, 1.0 + 2.0 * ulp),
            (1.0 + 0.5 * ulp + 2.0_f32.powi(-20), 1.0 + ulp),
            (2049.0, 2048.0),
            (2051.0, 2052.0),
            (-2051.0, -2052.0),
            (2.0_f32.powi(-24), 2.0_f32.powi(-24)),
            (2.0_f32.powi(-25), 0.0),
            (3.0 * 2.0_f32.powi(-25), 2.0_f32.powi(-23)),
            (65519.0, 65504.0),
            (-65519.996, -65504.0),
        ];
        let data = bytes(&cases, |case| case.0.to_le_bytes());
        let got = convert(&checkpoint("F32", &[cases.len()], &data), 0..1, cases.len(), Target::F16).unwrap();
        for (case, got) in cases.iter().zip(got.chunks_exact(2)) {
            assert_eq!(f16::from_le_bytes([got[0], got[1]]).to_f32(), case.1, "{}", case.0);
        }
    }

    #[test]
    fn bf16_widens_exactly_and_narrows_rightly() {
        let values: Vec<half::bf16> = (0..3000).map(|i| half::bf16::from_f32((i as f32 - 1500.0) * 0.37)).collect();
        let checkpoint = checkpoint("BF16", &[3, 1000], &bytes(&values, |value| value.to_le_bytes()));
        let wide = convert(&checkpoint, 0..3, 1000, Target::F32).unwrap();
        assert_eq!(wide, bytes(&values, |value| value.to_f32().to_le_bytes()));
        let narrow = convert(&checkpoint, 0..3, 1000, Target::F16).unwrap();
        assert_eq!(narrow, bytes(&values, |value| f16::from_f32(value.to_f32()).to_le_bytes()));
    }

    #[test]
    fn rows_are_padded_with_zeros() {
        let values: Vec<f32> = (0..15).map(|i| i as f32).collect();
        let checkpoint = checkpoint("F32", &[3, 5], &bytes(&values, |value| value.to_le_bytes()));
        let got = convert(&checkpoint, 1..3, padded(5), Target::F16).unwrap();
        let expected = [5., 6., 7., 8., 9., 0., 0., 0., 10., 11., 12., 13., 14., 0., 0., 0.].map(f16::from_f32);
        assert_eq!(got, bytes(&expected, |value| value.to_le_bytes()));
        assert!(convert(&checkpoint, 2..4, 8, Target::F16).is_err(), "a row beyond the tensor");
        assert!(convert(&checkpoint, 0..1, 4, Target::F16).is_err(), "rows shorter than the tensor's");
    }

    #[test]
    fn a_bad_value_is_named_wherever_it_stands() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 65520.0, -1e6] {
            for at in [0, 1023, 1024, 1500, 2999] {
                let mut values = vec![0.5_f32; 3000];
                values[at] = bad;
                let checkpoint = checkpoint("F32", &[2, 1500], &bytes(&values, |value| value.to_le_bytes()));
                let message = convert(&checkpoint, 0..2, 1504, Target::F16).unwrap_err().to_string();
                let place = format!("[{}, {}]", at / 1500, at % 1500);
                assert!(message.contains("tensor \"t\"") && message.contains(&place), "{message}");
                assert_eq!(convert(&checkpoint, 0..2, 1500, Target::F32).is_err(), !bad.is_finite());
            }
        }
        let nan = half::bf16::NAN.to_le_bytes();
        assert!(convert(&checkpoint("BF16", &[1], &nan), 0..1, 8, Target::F32).is_err());
        assert!(convert(&checkpoint("F16", &[1], &f16::NEG_INFINITY.to_le_bytes()), 0..1, 8, Target::F16).is_err());
    }
}
