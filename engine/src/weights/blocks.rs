//! Block-quantised elements, as GGUF stores them, to f32.
//!
//! A block is a run of 32 or 256 elements of a row with a common scale. The layouts are those of ggml
//! (<https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>, `dequantize_row_*`).

use half::f16;

use crate::file::Dtype;

/// The values of the whole blocks in `src`, as many as `dst` holds. A plain type gives nothing: it has no blocks.
pub fn dequantize(dtype: Dtype, src: &[u8], dst: &mut [f32]) {
    let blocks = src.chunks_exact(dtype.block_bytes()).zip(dst.chunks_exact_mut(dtype.block_len()));
    match dtype {
        Dtype::Q4_0 => blocks.for_each(|(block, out)| q4_0(block, out)),
        Dtype::Q4_1 => blocks.for_each(|(block, out)| q4_1(block, out)),
        Dtype::Q5_0 => blocks.for_each(|(block, out)| q5_0(block, out)),
        Dtype::Q5_1 => blocks.for_each(|(block, out)| q5_1(block, out)),
        Dtype::Q8_0 => blocks.for_each(|(block, out)| q8_0(block, out)),
        Dtype::Q4_K => blocks.for_each(|(block, out)| q4_k(block, out)),
        Dtype::Q5_K => blocks.for_each(|(block, out)| q5_k(block, out)),
        Dtype::Q6_K => blocks.for_each(|(block, out)| q6_k(block, out)),
        _ => {}
    }
}

/// The f16 at byte `at`.
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    match block.get(at..at + 2) {
        Some(&[low, high]) => f16::from_le_bytes([low, high]).to_f32(),
        _ => 0.0,
    }
}

/// `d`, 16 bytes of 4-bit codes: the low halves are elements 0..16, the high ones 16..32. `d * (code - 8)`.
fn q4_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    let (low, high) = out.split_at_mut(16);
    for ((byte, low), high) in block[2..].iter().zip(low).zip(high) {
        *low = (f32::from(byte & 15) - 8.0) * d;
        *high = (f32::from(byte >> 4) - 8.0) * d;
    }
}

/// `d`, `m`, codes as in Q4_0. `d * code + m`.
fn q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let (low, high) = out.split_at_mut(16);
    for ((byte, low), high) in block[4..].iter().zip(low).zip(high) {
        *low = f32::from(byte & 15) * d + m;
        *high = f32::from(byte >> 4) * d + m;
    }
}

/// The fifth bits of a block's codes, bit i of element i.
fn fifth_bits(block: &[u8], at: usize) -> u32 {
    match block.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

fn q5_codes<'a>(bits: u32, low_bits: &'a [u8]) -> impl Iterator<Item = (usize, f32)> + 'a {
    low_bits.iter().take(16).enumerate().flat_map(move |(i, byte)| {
        let low = byte & 15 | ((bits >> i & 1) << 4) as u8;
        let high = byte >> 4 | ((bits >> (i + 16) & 1) << 4) as u8;
        [(i, f32::from(low)), (i + 16, f32::from(high))]
    })
}

/// `d`, four bytes of fifth bits, codes as in Q4_0. `d * (code - 16)`.
fn q5_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (i, code) in q5_codes(fifth_bits(block, 2), &block[6..]) {
        out[i] = (code - 16.0) * d;
    }
}

/// `d`, `m`, four bytes of fifth bits, codes as in Q4_0. `d * code + m`.
fn q5_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (i, code) in q5_codes(fifth_bits(block, 4), &block[8..]) {
        out[i] = code * d + m;
    }
}

/// `d`, 32 signed bytes.
fn q8_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    out.iter_mut().zip(&block[2..]).for_each(|(out, byte)| *out = f32::from(byte.cast_signed()) * d);
}

/// Scale and minimum number `j` of 8, six bits each, from the 12 bytes that Q4_K and Q5_K pack them into.
pub(super) fn scale_min(scales: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (scales[j] & 63, scales[j + 4] & 63)
    } else {
        (scales[j + 4] & 15 | scales[j - 4] >> 6 << 4, scales[j + 4] >> 4 | scales[j] >> 6 << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// `d`, `dmin`, 12 bytes of scales, 128 bytes of codes: each 32 bytes hold 64 elements, the low halves first. In sub-block `j`
/// of 32 elements `d * scale_j * code - dmin * min_j`.
fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    for (pair, (codes, out)) in block[16..].chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
        for (half, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = scale_min(&block[4..16], pair * 2 + half);
            let (scale, min) = (d * scale, dmin * min);
            for (byte, out) in codes.iter().zip(out) {
                *out = f32::from(byte >> (4 * half) & 15) * scale - min;
            }
        }
    }
}

/// As Q4_K, with 32 bytes of fifth bits before the codes: bit `2 * pair + half` of byte i belongs to element i of a sub-block.
fn q5_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let bits = &block[16..48];
    for (pair, (codes, out)) in block[48..].chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
        for (half, out) in out.chunks_exact_mut(32).enumerate() {
            let j = pair * 2 + half;
            let (scale, min) = scale_min(&block[4..16], j);
            let (scale, min) = (d * scale, dmin * min);
            for ((byte, bits), out) in codes.iter().zip(bits).zip(out) {
                *out = f32::from(byte >> (4 * half) & 15 | (bits >> j & 1) << 4) * scale - min;
            }
        }
    }
}

/// Code (0..64) of element `i` of a Q6_K block: four low bits in `block[..128]`, two high ones in `block[128..192]`, both by
/// halves of 128 elements.
pub(super) fn q6_k_code(block: &[u8], i: usize) -> u8 {
    let (half, quarter, lane) = (i / 128, i % 128 / 32, i % 32);
    let low = block[half * 64 + quarter % 2 * 32 + lane] >> (quarter / 2 * 4) & 15;
    let high = block[128 + half * 32 + lane] >> (2 * quarter) & 3;
    low | high << 4
}

/// 128 bytes of low bits, 64 of high ones, 16 signed scales, `d`. `d * scale_(i / 16) * (code - 32)`.
fn q6_k(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 208);
    for (i, out) in out.iter_mut().enumerate() {
        let scale = d * f32::from(block[192 + i / 16].cast_signed());
        *out = scale * (f32::from(q6_k_code(block, i)) - 32.0);
    }
}
