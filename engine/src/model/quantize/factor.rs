//! The Cholesky factor that GPTQ works with, in f64 on all cores of the CPU.
//!
//! GPTQ wants the upper triangular U with `H⁻¹ = Uᵀ U`. Written out backwards, with J turning the order around, `J H J = L Lᵀ` gives
//! `U = J L⁻¹ J`: one factorisation and one inverse of a triangle, half of what inverting H and factorising the inverse takes.

use crate::error::{Error, Result};

/// Columns of a panel.
const PANEL: usize = 64;
/// Columns that are updated at a time: a panel of this width stays in the first-level cache.
const TILE: usize = 64;

/// U, backwards.
#[derive(Debug)]
pub(super) struct Factor {
    n: usize,
    /// L⁻¹ (n, n), its upper triangle zero.
    values: Vec<f64>,
}

impl Factor {
    /// The factor of the symmetric positive matrix (n, n) whose elements on and below the diagonal `at` gives. `each` is told how
    /// far it is, from 0 to 1.
    pub(super) fn new(
        n: usize,
        at: impl Fn(usize, usize) -> f64,
        each: &mut dyn FnMut(f64) -> Result<()>,
    ) -> Result<Self> {
        let mut values = vec![0.0; n * n];
        for (i, row) in values.chunks_exact_mut(n.max(1)).enumerate() {
            row.iter_mut().enumerate().take(i + 1).for_each(|(j, value)| *value = at(n - 1 - j, n - 1 - i));
        }
        let n_panels = n.div_ceil(PANEL).max(1) as f64;
        for first in (0..n).step_by(PANEL) {
            each((first / PANEL) as f64 / n_panels * 0.5)?;
            panel(&mut values, n, first)?;
        }
        for first in (0..n).step_by(PANEL) {
            each(0.5 + (first / PANEL) as f64 / n_panels * 0.5)?;
            invert_rows(&mut values, n, first);
        }
        Ok(Self { n, values })
    }

    /// U\[row\]\[col\], for `col >= row`.
    pub(super) fn at(&self, row: usize, col: usize) -> f64 {
        self.values[(self.n - 1 - row) * self.n + self.n - 1 - col]
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `row -= Σ_t factors[t] * rows[t]`, four at a time.
fn subtract<'a>(row: &mut [f64], factors: &[f64], rows: impl Fn(usize) -> &'a [f64]) {
    let n = row.len();
    let mut t = 0;
    while t + 4 <= factors.len() {
        let [a, b, c, d] = [0, 1, 2, 3].map(|k| &rows(t + k)[..n]);
        let [fa, fb, fc, fd] = [factors[t], factors[t + 1], factors[t + 2], factors[t + 3]];
        for j in 0..n {
            row[j] -= fa * a[j] + fb * b[j] + fc * c[j] + fd * d[j];
        }
        t += 4;
    }
    for (t, factor) in factors.iter().enumerate().skip(t) {
        row.iter_mut().zip(rows(t)).for_each(|(value, other)| *value -= factor * other);
    }
}

/// Factorises the panel of columns from `first` on, and takes it from what is right of it.
fn panel(values: &mut [f64], n: usize, first: usize) -> Result<()> {
    let width = PANEL.min(n - first);
    let end = first + width;
    for i in first..end {
        for j in first..=i {
            let dot: f64 = (first..j).map(|t| values[i * n + t] * values[j * n + t]).sum();
            let value = values[i * n + j] - dot;
            if i > j {
                values[i * n + j] = value / values[j * n + j];
            } else if value > 0.0 && value.is_finite() {
                values[i * n + i] = value.sqrt();
            } else {
                return Err(Error::NonFinite(format!(
                    "the text leaves column {} undetermined ({value:.3e}): take a longer one, or a larger --damp",
                    n - 1 - i
                )));
            }
        }
    }
    let (above, below) = values.split_at_mut(end * n);
    let diagonal: Vec<f64> = (first..end).flat_map(|i| above[i * n + first..i * n + end].iter().copied()).collect();
    let mut lots: Vec<Vec<(usize, &mut [f64])>> = (0..threads()).map(|_| Vec::new()).collect();
    let n_lots = lots.len();
    below.chunks_exact_mut(n).enumerate().for_each(|(at, row)| lots[at % n_lots].push((at, row)));
    std::thread::scope(|scope| {
        for lot in &mut lots {
            let diagonal = &diagonal;
            scope.spawn(move || {
                for (_, row) in lot.iter_mut() {
                    let row = &mut row[first..end];
                    for j in 0..width {
                        let dot: f64 = (0..j).map(|t| row[t] * diagonal[j * width + t]).sum();
                        row[j] = (row[j] - dot) / diagonal[j * width + j];
                    }
                }
            });
        }
    });
    // (width, rows below): the panel by columns.
    let n_below = n - end;
    let mut columns = vec![0.0; width * n_below];
    for (at, row) in lots.iter().flatten() {
        row[first..end].iter().enumerate().for_each(|(t, value)| columns[t * n_below + at] = *value);
    }
    std::thread::scope(|scope| {
        for lot in &mut lots {
            let columns = &columns;
            scope.spawn(move || {
                for tile in (0..n_below).step_by(TILE) {
                    for (at, row) in lot.iter_mut().filter(|(at, _)| *at >= tile) {
                        let (factors, rest) = row[first..].split_at_mut(width);
                        let stop = (tile + TILE).min(*at + 1);
                        subtract(&mut rest[tile..stop], factors, |t| &columns[t * n_below + tile..]);
                    }
                }
            });
        }
    });
    Ok(())
}

/// Puts the rows of L⁻¹ from `first` on in the place of those of L; the rows above are done.
fn invert_rows(values: &mut [f64], n: usize, first: usize) {
    let height = PANEL.min(n - first);
    let (above, rows) = values.split_at_mut(first * n);
    let (above, rows) = (&*above, &mut rows[..height * n]);
    // The block on the diagonal stands at the right of what is left of it; both go through the same substitution.
    let diagonal: Vec<f64> = rows.chunks_exact(n).flat_map(|row| row[first..first + height].iter().copied()).collect();
    let left = &*rows;
    let solve = |tile: usize| {
        let width = TILE.min(first + height - tile);
        let mut out = vec![0.0; height * width];
        if tile < first {
            for (i, out) in out.chunks_exact_mut(width).enumerate() {
                subtract(out, &left[i * n + tile..i * n + first], |t| &above[(tile + t) * n + tile..]);
            }
        } else {
            (0..height).for_each(|i| out[i * width + i] = 1.0);
        }
        for i in 0..height {
            let (done, rest) = out.split_at_mut(i * width);
            let row = &mut rest[..width];
            subtract(row, &diagonal[i * height..i * height + i], |t| &done[t * width..]);
            row.iter_mut().for_each(|value| *value /= diagonal[i * height + i]);
        }
        (tile, width, out)
    };
    let tiles: Vec<usize> = (0..first).step_by(TILE).chain([first]).collect();
    let n_lots = threads();
    let lot = |at: usize| tiles.iter().skip(at).step_by(n_lots).map(|tile| solve(*tile)).collect::<Vec<_>>();
    let lot = &lot;
    let solved: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..n_lots).map(|at| scope.spawn(move || lot(at))).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    });
    for (tile, width, out) in solved {
        for (row, out) in rows.chunks_exact_mut(n).zip(out.chunks_exact(width)) {
            row[tile..tile + width].copy_from_slice(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Rng;

    #[test]
    fn the_factor_is_that_of_the_inverse() {
        for n in [1, 7, 64, 65, 200] {
            let mut rng = Rng::new(n as u64);
            let x = rng.values(3 * n * n, 1.0);
            let h = |i: usize, j: usize| {
                let sum: f64 = (0..3 * n).map(|t| f64::from(x[t * n + i]) * f64::from(x[t * n + j])).sum();
                sum + if i == j { 0.1 } else { 0.0 }
            };
            let factor = Factor::new(n, h, &mut |_| Ok(())).unwrap();
            // Uᵀ U H = 1.
            let mut worst = 0.0_f64;
            for i in 0..n {
                let row: Vec<f64> =
                    (0..n).map(|j| (0..=i.min(j)).map(|k| factor.at(k, i) * factor.at(k, j)).sum()).collect();
                for j in 0..n {
                    let got: f64 = row.iter().enumerate().map(|(k, value)| value * h(k.min(j), k.max(j))).sum();
                    worst = worst.max((got - f64::from(u8::from(i == j))).abs());
                }
                assert!(factor.at(i, i) > 0.0);
            }
            assert!(worst < 1e-8, "{n}: {worst:.1e}");
        }
    }

    #[test]
    fn what_cannot_be_factorised_is_an_error() {
        let singular = Factor::new(3, |_, _| 1.0, &mut |_| Ok(())).unwrap_err().to_string();
        assert!(singular.contains("--damp"), "{singular}");
        assert!(Factor::new(2, |_, _| f64::NAN, &mut |_| Ok(())).is_err());
    }
}
