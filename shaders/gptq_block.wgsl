// GPTQ (Frantar et al. 2022, arXiv:2210.17323, algorithm 1) for a block of columns: each is rounded to four bits, and what that
// leaves is taken from the later columns of the block, here when their turn comes. One invocation a row; matrices lie column by
// column, so that neighbouring invocations read neighbouring rows. The columns behind the block are `rank_update`'s.

struct Params {
    rows: u32,
    // The block's first column, and its columns, a multiple of eight.
    first: u32,
    n_cols: u32,
    // Columns from `first` on that get a scale and a zero of their own; 0 where the block goes on with the group's.
    grid_cols: u32,
    // The group.
    group: u32,
    // 1: the zero is 8.
    symmetric: u32,
    // From one row of u to the next.
    u_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<f32>; // (n_cols, u_stride): rows of the Cholesky factor, from `first` on
@group(0) @binding(2) var<storage, read> w: array<f32>; // (cols, rows)
@group(0) @binding(3) var<storage, read_write> grid: array<vec2<f32>>; // (groups, rows): scale and zero
@group(0) @binding(4) var<storage, read_write> codes: array<u32>; // (cols / 8, rows)
@group(0) @binding(5) var<storage, read_write> e: array<f32>; // (n_cols, rows)

override WORKGROUP: u32 = 64;

// Rounded to f16, to nearest even: WGSL leaves the rounding of pack2x16float open.
fn to_f16(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let normal = bitcast<f32>((bits + 0xFFFu + ((bits >> 13u) & 1u)) & 0xFFFFE000u);
    let small = round(x * 16777216.0) / 16777216.0;
    return clamp(select(normal, small, x < 6.103515625e-5), 5.9604644775390625e-8, 65504.0);
}

// As `weights::grid::grid`.
fn new_grid(low: f32, high: f32) -> vec2<f32> {
    if params.symmetric == 1u {
        let reach = select(max(-low, high), 1.0, low == 0.0 && high == 0.0);
        return vec2<f32>(to_f16(2.0 * reach * 0.06666667), 8.0);
    }
    if low == 0.0 && high == 0.0 {
        return vec2<f32>(to_f16(2.0 * 0.06666667), 8.0);
    }
    let scale = to_f16((high - low) * 0.06666667);
    let zero = round(-low / scale);
    if zero < 1.0 {
        return vec2<f32>(to_f16(high * 0.071428575), 1.0);
    }
    return vec2<f32>(scale, min(zero, 15.0));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    let rows = params.rows;
    if row >= rows {
        return;
    }
    let start = params.first * rows + row;
    let place = params.group * rows + row;
    if params.grid_cols > 0u {
        var low = 0.0;
        var high = 0.0;
        for (var j = 0u; j < params.grid_cols; j++) {
            let value = w[start + j * rows];
            low = min(low, value);
            high = max(high, value);
        }
        grid[place] = new_grid(low, high);
    }
    let scale = grid[place].x;
    let zero = grid[place].y;
    var word = 0u;
    for (var j = 0u; j < params.n_cols; j++) {
        var value = w[start + j * rows];
        for (var i = 0u; i < j; i++) {
            value -= e[i * rows + row] * u[i * params.u_stride + j];
        }
        let code = clamp(round(value / scale) + zero, 0.0, 15.0);
        e[j * rows + row] = (value - scale * (code - zero)) / u[j * params.u_stride + j];
        word |= u32(code) << (j % 8u * 4u);
        if j % 8u == 7u {
            codes[(params.first + j) / 8u * rows + row] = word;
            word = 0u;
        }
    }
}
