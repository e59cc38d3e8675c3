//! Four-bit grids, and rounding to the nearest point of one: what GPTQ and plain rounding share.
//!
//! The grid of a group of weights is that of AutoGPTQ's `Quantizer`, without its search
//! (<https://github.com/AutoGPTQ/AutoGPTQ/blob/main/auto_gptq/quantization/quantizer.py>), with two differences. Scales are
//! rounded to f16 before anything is rounded by them, since that is what the file will hold. And the zero is at least 1: files store
//! it less one in four bits, and implementations disagree on what a stored 15 means.

use half::f16;

/// The largest code.
pub const MAX_CODE: u32 = 15;
const ONE_15TH: f32 = 1.0 / 15.0;
const ONE_14TH: f32 = 1.0 / 14.0;
/// f16's smallest number.
const LEAST_SCALE: f32 = 1.0 / 16_777_216.0;

/// A weight is `scale * (code - zero)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// An f16, above 0.
    pub scale: f32,
    /// A whole number from 1 to 15.
    pub zero: f32,
}

impl Grid {
    /// The code of the point nearest to `value`.
    pub fn code(self, value: f32) -> u32 {
        ((value / self.scale).round_ties_even() + self.zero).clamp(0.0, MAX_CODE as f32) as u32
    }

    /// The point of `code`.
    pub fn point(self, code: u32) -> f32 {
        self.scale * (code as f32 - self.zero)
    }
}

fn to_f16(scale: f32) -> f32 {
    f16::from_f32(scale).to_f32().clamp(LEAST_SCALE, 65504.0)
}

/// The grid of a group of weights: from the least (or 0) to the largest (or 0); to the same distance on both sides of 0 when
/// `symmetric`.
pub fn grid(values: impl Iterator<Item = f32>, symmetric: bool) -> Grid {
    let (low, high) = values.fold((0.0_f32, 0.0_f32), |(low, high), value| (low.min(value), high.max(value)));
    let is_nothing = low == 0.0 && high == 0.0;
    if symmetric || is_nothing {
        let reach = if is_nothing { 1.0 } else { high.max(-low) };
        return Grid { scale: to_f16(2.0 * reach * ONE_15TH), zero: 8.0 };
    }
    let scale = to_f16((high - low) * ONE_15TH);
    let zero = (-low / scale).round_ties_even();
    if zero < 1.0 {
        return Grid { scale: to_f16(high * ONE_14TH), zero: 1.0 };
    }
    Grid { scale, zero: zero.min(15.0) }
}

/// A matrix in four bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    /// Outputs, a multiple of eight.
    pub rows: usize,
    /// Inputs, a multiple of 32.
    pub cols: usize,
    /// Columns of a group.
    pub group_len: usize,
    /// (cols / 8, rows): the codes of eight columns, in the order of [`Quantized::order`].
    pub codes: Vec<u32>,
    /// (groups, rows).
    pub grids: Vec<Grid>,
    /// The column of the model that stands at each place; none when each stands at its own.
    pub order: Option<Vec<u32>>,
}

impl Quantized {
    /// Rounds each weight of `values` (rows, cols) to its nearest point, `group_len` columns a group.
    pub fn nearest(values: &[f32], rows: usize, cols: usize, group_len: usize, symmetric: bool) -> Self {
        let groups = cols.div_ceil(group_len.max(1));
        let mut codes = vec![0; cols / 8 * rows];
        let mut grids = vec![Grid { scale: 1.0, zero: 8.0 }; groups * rows];
        for (r, row) in values.chunks_exact(cols.max(1)).enumerate().take(rows) {
            for (g, group) in row.chunks(group_len.max(1)).enumerate() {
                let grid = grid(group.iter().copied(), symmetric);
                grids[g * rows + r] = grid;
                for (at, value) in group.iter().enumerate() {
                    let col = g * group_len + at;
                    codes[col / 8 * rows + r] |= grid.code(*value) << (col % 8 * 4);
                }
            }
        }
        Self { rows, cols, group_len, codes, grids, order: None }
    }

    /// The column of the model at `place`.
    fn col(&self, place: usize) -> usize {
        self.order.as_ref().and_then(|order| order.get(place)).map_or(place, |col| *col as usize)
    }

    fn code(&self, place: usize, row: usize) -> u32 {
        self.codes[place / 8 * self.rows + row] >> (place % 8 * 4) & MAX_CODE
    }

    /// The weight of `row` at `place`.
    pub fn weight(&self, place: usize, row: usize) -> f32 {
        self.grids[place / self.group_len * self.rows + row].point(self.code(place, row))
    }

    /// The group of each column of the model.
    pub fn groups(&self) -> Vec<i32> {
        let mut groups = vec![0; self.cols];
        (0..self.cols).for_each(|place| groups[self.col(place)] = (place / self.group_len) as i32);
        groups
    }

    /// The codes with the columns in the model's order: (cols / 8, rows) as in [`super::gptq`].
    pub fn model_codes(&self) -> Vec<u32> {
        if self.order.is_none() {
            return self.codes.clone();
        }
        let mut codes = vec![0; self.codes.len()];
        for place in 0..self.cols {
            let (col, shift) = (self.col(place), place % 8 * 4);
            let from = &self.codes[place / 8 * self.rows..][..self.rows];
            let to = &mut codes[col / 8 * self.rows..][..self.rows];
            to.iter_mut().zip(from).for_each(|(to, from)| *to |= (from >> shift & MAX_CODE) << (col % 8 * 4));
        }
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32], symmetric: bool) -> (f32, f32) {
        let Grid { scale, zero } = grid(values.iter().copied(), symmetric);
        (scale, zero)
    }

    #[test]
    fn grids_reach_from_the_least_to_the_largest() {
        assert_eq!(of(&[-0.5, 1.0, 0.25], false), (f16::from_f32(0.1).to_f32(), 5.0));
        assert_eq!(of(&[-0.5, 1.0], true), (f16::from_f32(2.0 / 15.0).to_f32(), 8.0));
        assert_eq!(of(&[0.0; 4], false), (f16::from_f32(2.0 / 15.0).to_f32(), 8.0));
        // All of one sign: zeros stay where every implementation reads them alike, and nothing is cut off.
        for (values, zero) in [([1.0, 14.0], 1.0), ([-15.0, -3.0], 15.0)] {
            let grid = grid(values.into_iter(), false);
            assert_eq!((grid.scale, grid.zero), (1.0, zero));
            values.iter().for_each(|value| assert_eq!(grid.point(grid.code(*value)), *value));
        }
        assert_eq!(of(&[1e-30, -1e-30], false).0, LEAST_SCALE);
        assert_eq!(of(&[-3e38, 3e38], true).0, 65504.0);
    }

    #[test]
    fn nearest_is_within_half_a_step_and_order_only_moves_codes() {
        let (rows, cols) = (8, 64);
        let values: Vec<f32> = (0..rows * cols).map(|i| ((i * 37 % 101) as f32 - 40.0) * 0.01).collect();
        let mut q = Quantized::nearest(&values, rows, cols, 32, false);
        for r in 0..rows {
            for c in 0..cols {
                let half = q.grids[c / 32 * rows + r].scale * 0.501;
                assert!((q.weight(c, r) - values[r * cols + c]).abs() <= half, "{r} {c}");
            }
        }
        assert_eq!(q.groups(), (0..64).map(|c| c / 32).collect::<Vec<_>>());
        let before = q.codes.clone();
        q.order = Some((0..64).rev().collect());
        let turned = q.model_codes();
        for c in 0..cols {
            for r in 0..rows {
                let code = |codes: &[u32], c: usize| codes[c / 8 * rows + r] >> (c % 8 * 4) & 15;
                assert_eq!(code(&turned, 63 - c), code(&before, c));
            }
        }
        assert_eq!(q.groups()[0], 1);
    }
}
