//! GPTQ on a device against plain loops in f64.

use super::*;
use crate::gpu::GpuOptions;
use crate::kernels::Rng;
use crate::weights::grid::grid;

const ROWS: usize = 24;
const COLS: usize = 64;

fn gpu() -> Option<Gpu> {
    Gpu::open(GpuOptions::from_env()).map_err(|error| eprintln!("skipped: {error}")).ok()
}

/// Inputs that have much in common, as real ones do: few directions, and some noise. The last one is always zero.
fn inputs(rng: &mut Rng, n_tokens: usize) -> Vec<f32> {
    let directions = rng.values(6 * COLS, 1.0);
    let mut x = Vec::new();
    for _ in 0..n_tokens {
        let weights = rng.values(6, 1.0);
        let noise = rng.values(COLS, 0.3);
        x.extend((0..COLS).map(|col| {
            let sum: f32 = weights.iter().enumerate().map(|(k, weight)| weight * directions[k * COLS + col]).sum();
            if col == COLS - 1 { 0.0 } else { (sum + noise[col]) * (1.0 + (col % 7) as f32) }
        }));
    }
    x
}

fn sums(x: &[f32]) -> Vec<f32> {
    let sum = |i: usize, j: usize| x.chunks_exact(COLS).map(|x| f64::from(x[i]) * f64::from(x[j])).sum::<f64>() as f32;
    (0..COLS * COLS).map(|at| sum(at / COLS, at % COLS)).collect()
}

/// The inverse of a symmetric positive matrix, by elimination.
fn inverse(h: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = h.len();
    let mut rows: Vec<Vec<f64>> = h.to_vec();
    rows.iter_mut().enumerate().for_each(|(i, row)| row.extend((0..n).map(|j| f64::from(u8::from(i == j)))));
    for i in 0..n {
        let pivot = rows[i][i];
        rows[i].iter_mut().for_each(|value| *value /= pivot);
        let row = rows[i].clone();
        for (_, other) in rows.iter_mut().enumerate().filter(|(k, _)| *k != i) {
            let factor = other[i];
            other.iter_mut().zip(&row).for_each(|(value, from)| *value -= factor * from);
        }
    }
    rows.into_iter().map(|row| row[n..].to_vec()).collect()
}

/// GPTQ as optimal brain quantisation with a fixed order: after each column the inverse of what is left of H is formed anew. Returns
/// the rounded weights (rows, cols).
fn reference(values: &[f32], sums: &[f32], group_len: usize, settings: &Settings) -> Vec<f64> {
    let mean = (0..COLS).map(|i| f64::from(sums[i * COLS + i])).sum::<f64>() / COLS as f64;
    let mut order: Vec<usize> = (0..COLS).collect();
    if settings.act_order {
        order.sort_by(|a, b| sums[b * COLS + b].total_cmp(&sums[a * COLS + a]));
    }
    let h = |i: usize, j: usize| {
        let sum = f64::from(sums[i * COLS + j]);
        let dead = i == j && sum == 0.0;
        sum + if dead {
            1.0
        } else if i == j {
            settings.damp * mean
        } else {
            0.0
        }
    };
    let mut w: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    (0..ROWS).for_each(|row| w[row * COLS + COLS - 1] = 0.0);
    let mut grids = [Grid { scale: 1.0, zero: 8.0 }; ROWS];
    for at in 0..COLS {
        let left = &order[at..];
        let hessian: Vec<Vec<f64>> = left.iter().map(|i| left.iter().map(|j| h(*i, *j)).collect()).collect();
        let inverse = inverse(&hessian);
        for row in 0..ROWS {
            let row_of = &mut w[row * COLS..][..COLS];
            if at % group_len == 0 {
                let group = left.iter().take(group_len).map(|col| row_of[*col] as f32);
                grids[row] = grid(group, settings.symmetric);
            }
            let (scale, zero) = (f64::from(grids[row].scale), f64::from(grids[row].zero));
            let value = row_of[left[0]];
            let code = ((value / scale).round_ties_even() + zero).clamp(0.0, 15.0);
            let error = (value - scale * (code - zero)) / inverse[0][0];
            for (k, col) in left.iter().enumerate() {
                row_of[*col] -= error * inverse[0][k];
            }
            row_of[left[0]] = scale * (code - zero);
        }
    }
    w
}

/// `||(W - Q) X||² / ||W X||²` on these very inputs.
fn error(values: &[f32], rounded: &[f64], x: &[f32]) -> f64 {
    let (mut error, mut norm) = (0.0, 0.0);
    for x in x.chunks_exact(COLS) {
        for (values, rounded) in values.chunks_exact(COLS).zip(rounded.chunks_exact(COLS)) {
            let dot = |of: &dyn Fn(usize) -> f64| (0..COLS).map(|col| of(col) * f64::from(x[col])).sum::<f64>();
            error += dot(&|col| f64::from(values[col]) - rounded[col]).powi(2);
            norm += dot(&|col| f64::from(values[col])).powi(2);
        }
    }
    error / norm
}

fn weights(matrix: &Quantized) -> Vec<f64> {
    let mut rounded = vec![0.0; ROWS * COLS];
    for place in 0..COLS {
        let col = matrix.order.as_ref().map_or(place, |order| order[place] as usize);
        (0..ROWS).for_each(|row| rounded[row * COLS + col] = f64::from(matrix.weight(place, row)));
    }
    rounded
}

#[test]
fn gptq_is_what_plain_loops_come_to_and_far_better_than_rounding() {
    let Some(gpu) = gpu() else { return };
    let mut compared = 0;
    for (seed, (act_order, symmetric, group_len)) in [
        (true, false, Some(32)),
        (false, false, Some(32)),
        (true, true, Some(32)),
        (true, false, None),
        (false, true, Some(64)),
    ]
    .into_iter()
    .enumerate()
    {
        let settings = Settings { group_len, symmetric, act_order, damp: 0.01 };
        let mut rng = Rng::new(seed as u64);
        let x = inputs(&mut rng, 200);
        let mut values = rng.values(ROWS * COLS, 0.1);
        let original = values.clone();
        let sums = sums(&x);
        let known = Inputs::new(COLS, sums.clone(), &settings, &mut |_| Ok(())).unwrap();
        let (matrix, errors) = quantize(&gpu, &known, &mut values, &settings, &mut |_| Ok(())).unwrap();
        let (got, want) = (weights(&matrix), reference(&original, &sums, settings.group_of(COLS), &settings));

        // f32 and f64 may round a value that lies in the middle to different sides, and what follows in that row then differs.
        let alike = |row: &usize| (0..COLS).all(|col| (got[row * COLS + col] - want[row * COLS + col]).abs() < 1e-6);
        let rows_alike = (0..ROWS).filter(alike).count();
        assert!(rows_alike >= ROWS - 1, "{settings:?}: {rows_alike} of {ROWS} rows alike");
        compared += rows_alike;

        let nearest = Quantized::nearest(&original, ROWS, COLS, settings.group_of(COLS), symmetric);
        let (gptq, nearest) = (error(&original, &got, &x), error(&original, &weights(&nearest), &x));
        assert!(gptq < 0.5 * nearest, "{settings:?}: GPTQ {gptq:.2e}, rounding {nearest:.2e}");
        // What is reported is what these inputs come to. (The column without an input counts for nothing in both.)
        assert!((errors.gptq / gptq - 1.0).abs() < 1e-3, "{} and {gptq}", errors.gptq);
        assert!((errors.nearest / nearest - 1.0).abs() < 1e-3, "{} and {nearest}", errors.nearest);
        assert!(matrix.grids.iter().all(|grid| (1.0..=15.0).contains(&grid.zero)));
        eprintln!("{settings:?}: GPTQ {gptq:.2e}, rounding {nearest:.2e}");
    }
    eprintln!("{compared} rows compared");
}

#[test]
fn rows_in_several_passes_are_the_same_rows() {
    let Some(gpu) = gpu() else { return };
    let settings = Settings { group_len: Some(32), symmetric: false, act_order: true, damp: 0.01 };
    let mut rng = Rng::new(7);
    let x = inputs(&mut rng, 100);
    let values = rng.values(ROWS * COLS, 0.1);
    let known = Inputs::new(COLS, sums(&x), &settings, &mut |_| Ok(())).unwrap();
    let whole = quantize(&gpu, &known, &mut values.clone(), &settings, &mut |_| Ok(())).unwrap().0;
    let split = Gpu::open(GpuOptions { split_above: Some(2048), ..GpuOptions::from_env() }).unwrap();
    assert_eq!(rows_per_pass(&split, COLS, 32), 8);
    let parts = quantize(&split, &known, &mut values.clone(), &settings, &mut |_| Ok(())).unwrap().0;
    assert_eq!(whole, parts);
}

#[test]
fn an_error_of_the_caller_ends_the_work() {
    let Some(gpu) = gpu() else { return };
    let settings = Settings { group_len: Some(32), symmetric: false, act_order: false, damp: 0.01 };
    let mut rng = Rng::new(1);
    let stop = |_| Err(crate::Error::Request("stop".to_owned()));
    assert!(Inputs::new(COLS, sums(&inputs(&mut rng, 9)), &settings, &mut { stop }).is_err());
    let known = Inputs::new(COLS, sums(&inputs(&mut rng, 9)), &settings, &mut |_| Ok(())).unwrap();
    let mut values = rng.values(ROWS * COLS, 0.1);
    assert!(quantize(&gpu, &known, &mut values, &settings, &mut { stop }).is_err());
}
