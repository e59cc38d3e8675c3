//! How matrices lie on the device: f16, or quantised codes and scales, row after row.
//!
//! Files store quantised weights in blocks that no GPU loads well (18 bytes with a scale in front), or column by column; at load
//! they are put into one of these layouts. Codes keep their value, and scales are rounded to f16 at most.
//!
//! | format | codes of a row | scales of a row | a weight |
//! |---|---|---|---|
//! | F16 | (cols padded to 8) f16 | – | itself |
//! | Q4 | four bits, column k of eight at bit 4k | for each group of columns: scale s and zero z, f16 | s (code − z) |
//! | Q6 | for 64 columns: 32 bytes of low halves as in Q4, then 16 bytes of upper pairs, column k of 16 at bit 2k | for 16 columns: s, f16 | s (code − 32) |
//! | Q8 | a signed byte | for 32 columns: s, f16, an even number of them | s · code |

use half::f16;

use super::blocks::{half_at, q6_k_code, scale_min};
use super::padded;
use crate::file::Dtype;

/// Columns that a quantised kernel takes at a time.
pub const UNIT: usize = 32;

/// The layout of a matrix on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE half precision, rows padded with zeros to a multiple of 8.
    F16,
    /// Four bits a weight, with a scale and a zero for each `group_len` columns: a power of two, at least [`UNIT`], or more than
    /// there are columns for one group a row.
    Q4 {
        /// Columns of a group.
        group_len: usize,
    },
    /// Six bits a weight, with a scale for 16 columns.
    Q6,
    /// Eight bits a weight, with a scale for 32 columns.
    Q8,
}

impl Format {
    /// The layout that rows of `cols` elements of `dtype` are kept in; f16 for what is converted or expanded.
    pub fn of(dtype: Dtype, cols: usize) -> Self {
        match dtype {
            Dtype::Q4_0 | Dtype::Q4_1 | Dtype::Q4_K if cols.is_multiple_of(UNIT) => Self::Q4 { group_len: 32 },
            Dtype::Q6_K if cols.is_multiple_of(2 * UNIT) => Self::Q6,
            Dtype::Q8_0 if cols.is_multiple_of(UNIT) => Self::Q8,
            _ => Self::F16,
        }
    }

    /// Its name: `f16`, `q4`, `q6`, `q8`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q4 { .. } => "q4",
            Self::Q6 => "q6",
            Self::Q8 => "q8",
        }
    }

    /// Bytes of the codes of a row.
    pub fn row_bytes(self, cols: usize) -> usize {
        match self {
            Self::F16 => padded(cols) * 2,
            Self::Q4 { .. } => cols / 2,
            Self::Q6 => cols / 4 * 3,
            Self::Q8 => cols,
        }
    }

    /// 32-bit words of the scales of a row.
    pub fn scale_words(self, cols: usize) -> usize {
        match self {
            Self::F16 => 0,
            Self::Q4 { group_len } => cols.div_ceil(group_len),
            Self::Q6 => cols / 32,
            Self::Q8 => cols.div_ceil(64),
        }
    }

    /// Bytes of a row, scales included.
    pub fn total_row_bytes(self, cols: usize) -> usize {
        self.row_bytes(cols) + self.scale_words(cols) * 4
    }

    /// log2 of the units that share a scale, for Q4; 0 for the others.
    pub fn group_shift(self) -> u32 {
        match self {
            // 27: beyond every matrix, so that each unit is in group 0.
            Self::Q4 { group_len } => (group_len / UNIT).max(1).checked_ilog2().unwrap_or(0).min(27),
            _ => 0,
        }
    }
}

/// A group's scale and zero: `scale * (code - zero)`.
pub(crate) fn scale_zero(scale: f32, zero: f32) -> [u8; 4] {
    let ([a, b], [c, d]) = (f16::from_f32(scale).to_le_bytes(), f16::from_f32(zero).to_le_bytes());
    [a, b, c, d]
}

/// The low halves of eight bytes, side by side.
fn low_nibbles(bytes: u64) -> u32 {
    let pairs = bytes & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (pairs | pairs >> 4) & 0x00FF_00FF_00FF_00FF;
    let pairs = (pairs | pairs >> 8) & 0x0000_FFFF_0000_FFFF;
    (pairs | pairs >> 16) as u32
}

/// Sixteen bytes of codes, element `i` and `i + distance` in the halves of byte `i`: the words of the low and of the high halves.
fn split_nibbles(bytes: &[u8]) -> impl Iterator<Item = (u32, u32)> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|chunk| {
        let bytes = u64::from_le_bytes(*chunk);
        (low_nibbles(bytes), low_nibbles(bytes >> 4))
    })
}

/// Scale and zero of `d * code + offset`, and whether the codes count: a group without a range is all offset.
fn affine(d: f32, offset: f32) -> ([u8; 4], bool) {
    let scale = f16::from_f32(d).to_f32();
    let zero = -offset / scale;
    // What is not finite stays so, and is reported.
    if scale != 0.0 && (zero.abs() <= 65504.0 || !scale.is_finite()) {
        return (scale_zero(d, zero), true);
    }
    (scale_zero(-offset, 1.0), false)
}

/// Puts one row of `dtype` blocks into the layout [`Format::of`]`(dtype)`; false when a scale is not a finite f16.
///
/// `src` is the row, `codes` and `scales` the row's places, of [`Format::row_bytes`] and `4 *` [`Format::scale_words`] bytes.
pub fn pack_row(dtype: Dtype, src: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
    let blocks = src.chunks_exact(dtype.block_bytes());
    match dtype {
        Dtype::Q4_0 | Dtype::Q4_1 => {
            let out = codes.chunks_exact_mut(16).zip(scales.chunks_exact_mut(4));
            for (block, (codes, scale)) in blocks.zip(out) {
                let d = half_at(block, 0);
                let (offset, start) = if dtype == Dtype::Q4_0 { (-8.0 * d, 2) } else { (half_at(block, 2), 4) };
                let (pair, counts) = affine(d, offset);
                scale.copy_from_slice(&pair);
                pack_32(split_nibbles(&block[start..]), codes, counts);
            }
        }
        Dtype::Q4_K => {
            let out = codes.chunks_exact_mut(128).zip(scales.chunks_exact_mut(32));
            for (block, (codes, scales)) in blocks.zip(out) {
                pack_q4_k(block, codes, scales);
            }
        }
        Dtype::Q6_K => {
            let out = codes.chunks_exact_mut(192).zip(scales.chunks_exact_mut(32));
            for (block, (codes, scales)) in blocks.zip(out) {
                pack_q6_k(block, codes, scales);
            }
        }
        Dtype::Q8_0 => {
            scales.fill(0);
            let out = codes.chunks_exact_mut(32).zip(scales.chunks_exact_mut(2));
            for (block, (codes, scale)) in blocks.zip(out) {
                scale.copy_from_slice(&block[..2]);
                codes.copy_from_slice(&block[2..]);
            }
        }
        _ => {}
    }
    let finite = |half: &[u8; 2]| f16::from_le_bytes(*half).is_finite();
    scales.as_chunks::<2>().0.iter().all(finite)
}

/// 32 codes, the low halves of 16 bytes before the high ones.
fn pack_32(words: impl Iterator<Item = (u32, u32)>, codes: &mut [u8], counts: bool) {
    let (first, second) = codes.split_at_mut(8);
    let out = first.as_chunks_mut::<4>().0.iter_mut().zip(second.as_chunks_mut::<4>().0);
    for ((low, high), (first, second)) in words.zip(out) {
        let keep = |word: u32| if counts { word } else { 0 };
        (*first, *second) = (keep(low).to_le_bytes(), keep(high).to_le_bytes());
    }
}

/// A block of 256: see `blocks::q4_k` for what it holds.
fn pack_q4_k(block: &[u8], codes: &mut [u8], scales: &mut [u8]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let quarters = block[16..].chunks_exact(32).zip(codes.chunks_exact_mut(32)).zip(scales.chunks_exact_mut(8));
    for (pair, ((bytes, codes), scales)) in quarters.enumerate() {
        let (low, high) = codes.split_at_mut(16);
        let mut keeps = [true; 2];
        for (half, scale) in scales.chunks_exact_mut(4).enumerate() {
            let (factor, min) = scale_min(&block[4..16], pair * 2 + half);
            let (bytes, counts) = affine(d * factor, -dmin * min);
            scale.copy_from_slice(&bytes);
            keeps[half] = counts;
        }
        let out = low.as_chunks_mut::<4>().0.iter_mut().zip(high.as_chunks_mut::<4>().0);
        for ((first, second), (low, high)) in split_nibbles(bytes).zip(out) {
            *low = if keeps[0] { first } else { 0 }.to_le_bytes();
            *high = if keeps[1] { second } else { 0 }.to_le_bytes();
        }
    }
}

/// A block of 256: see `blocks::q6_k_code` for where its codes are.
fn pack_q6_k(block: &[u8], codes: &mut [u8], scales: &mut [u8]) {
    let d = half_at(block, 208);
    for (scale, out) in block[192..208].iter().zip(scales.chunks_exact_mut(2)) {
        out.copy_from_slice(&f16::from_f32(d * f32::from(scale.cast_signed())).to_le_bytes());
    }
    for (at, unit) in codes.chunks_exact_mut(48).enumerate() {
        unit.fill(0);
        for i in 0..64 {
            let code = q6_k_code(block, at * 64 + i);
            unit[i / 2] |= (code & 15) << (i % 2 * 4);
            unit[32 + i / 4] |= code >> 4 << (i % 4 * 2);
        }
    }
}

/// The weights of one row of `cols`, from its codes and scales: what the kernels compute, in f32.
pub fn unpack_row(format: Format, cols: usize, codes: &[u8], scales: &[u8]) -> Vec<f32> {
    let half = |at: usize| half_at(scales, at * 2);
    let nibble = |codes: &[u8], i: usize| f32::from(codes[i / 2] >> (i % 2 * 4) & 15);
    let weight = |i: usize| match format {
        Format::F16 => half_at(codes, i * 2),
        Format::Q4 { group_len } => half(i / group_len * 2) * (nibble(codes, i) - half(i / group_len * 2 + 1)),
        Format::Q6 => {
            let (unit, at) = (&codes[i / 64 * 48..], i % 64);
            let upper = unit[32 + at / 4] >> (at % 4 * 2) & 3;
            half(i / 16) * (nibble(unit, at) + 16.0 * f32::from(upper) - 32.0)
        }
        Format::Q8 => half(i / 32) * f32::from(codes[i].cast_signed()),
    };
    (0..cols).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::blocks::dequantize;

    /// Blocks of bytes from a small generator, with plausible scales where the format keeps them.
    fn row(dtype: Dtype, cols: usize) -> Vec<u8> {
        let mut state = 12345_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut bytes: Vec<u8> = (0..dtype.row_bytes(cols)).map(|_| next()).collect();
        for (number, block) in bytes.chunks_exact_mut(dtype.block_bytes()).enumerate() {
            // The third block has no range, only (where there is one) an offset.
            let d = if number == 2 { 0.0 } else { 0.01 + number as f32 * 0.003 };
            let places: &[usize] = match dtype {
                Dtype::Q6_K => &[208],
                Dtype::Q4_1 | Dtype::Q4_K => &[0, 2],
                _ => &[0],
            };
            for (place, value) in places.iter().zip([d, 0.02]) {
                block[*place..place + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
            }
        }
        bytes
    }

    #[test]
    fn what_is_packed_comes_back_as_ggml_dequantises_it() {
        for dtype in [Dtype::Q4_0, Dtype::Q4_1, Dtype::Q4_K, Dtype::Q6_K, Dtype::Q8_0] {
            let cols = 4 * dtype.block_len();
            let src = row(dtype, cols);
            let format = Format::of(dtype, cols);
            assert_ne!(format, Format::F16);
            let (mut codes, mut scales) = (vec![0; format.row_bytes(cols)], vec![0; format.scale_words(cols) * 4]);
            assert!(pack_row(dtype, &src, &mut codes, &mut scales));
            let mut want = vec![0.0; cols];
            dequantize(dtype, &src, &mut want);
            let got = unpack_row(format, cols, &codes, &scales);
            let largest = want.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
            for (at, (got, want)) in got.iter().zip(&want).enumerate() {
                // Scale and zero are rounded to 11 bits each.
                assert!((got - want).abs() <= largest / 1024.0, "{dtype} {at}: {got}, expected {want}");
            }
            if matches!(dtype, Dtype::Q4_0 | Dtype::Q8_0) {
                assert_eq!(got, want, "{dtype} loses nothing");
            }
        }
    }

    #[test]
    fn a_scale_that_is_no_number_is_seen() {
        for dtype in [Dtype::Q4_0, Dtype::Q4_K, Dtype::Q6_K, Dtype::Q8_0] {
            let mut src = row(dtype, 256);
            let at = if dtype == Dtype::Q6_K { 208 } else { 0 };
            src[at..at + 2].copy_from_slice(&f16::NAN.to_le_bytes());
            let format = Format::of(dtype, 256);
            let (mut codes, mut scales) = (vec![0; format.row_bytes(256)], vec![0; format.scale_words(256) * 4]);
            assert!(!pack_row(dtype, &src, &mut codes, &mut scales), "{dtype}");
        }
    }

    #[test]
    fn groups_are_counted_in_units() {
        let q4 = |group_len| Format::Q4 { group_len };
        assert_eq!([32, 64, 128, 1 << 40].map(|len| q4(len).group_shift()), [0, 1, 2, 27]);
        assert_eq!((q4(128).scale_words(4096), q4(1 << 40).scale_words(4096)), (32, 1));
        assert_eq!((Format::Q8.scale_words(96), Format::Q6.row_bytes(4096)), (2, 3072));
    }
}
