// w[to + c][r] -= Σ_i e[e_row + i][r] u[i][from + c], in f32: GPTQ's lazy update of the columns behind a block. Matrices lie column
// by column, so that neighbouring invocations read neighbouring rows. One invocation eight columns by four rows: a load of four rows
// and two of eight columns, which are the same for the whole workgroup, serve 32 multiply-adds.

struct Params {
    // Vectors of four rows of a column.
    row_vecs: u32,
    // Columns of e that count, and the first of them.
    n_terms: u32,
    e_row: u32,
    // Columns to change, a multiple of eight, and the first of them in w.
    n_cols: u32,
    to: u32,
    // Vectors of four columns: of a row of u, and before the first that counts.
    u_vecs: u32,
    u_from: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> e: array<vec4<f32>>; // (e_row + n_terms, row_vecs)
@group(0) @binding(2) var<storage, read> u: array<vec4<f32>>; // (n_terms, u_vecs)
@group(0) @binding(3) var<storage, read_write> w: array<vec4<f32>>; // (to + n_cols, row_vecs)

override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    let col = id.y * 8u;
    if row >= params.row_vecs || col >= params.n_cols {
        return;
    }
    let origin = params.u_from + col / 4u;
    var s0: vec4<f32>; var s1: vec4<f32>; var s2: vec4<f32>; var s3: vec4<f32>;
    var s4: vec4<f32>; var s5: vec4<f32>; var s6: vec4<f32>; var s7: vec4<f32>;
    for (var i = 0u; i < params.n_terms; i++) {
        let b = e[(params.e_row + i) * params.row_vecs + row];
        let lo = u[i * params.u_vecs + origin];
        let hi = u[i * params.u_vecs + origin + 1u];
        s0 += lo.x * b; s1 += lo.y * b; s2 += lo.z * b; s3 += lo.w * b;
        s4 += hi.x * b; s5 += hi.y * b; s6 += hi.z * b; s7 += hi.w * b;
    }
    let stride = params.row_vecs;
    let at = (params.to + col) * stride + row;
    w[at] -= s0; w[at + stride] -= s1; w[at + 2u * stride] -= s2; w[at + 3u * stride] -= s3;
    w[at + 4u * stride] -= s4; w[at + 5u * stride] -= s5; w[at + 6u * stride] -= s6; w[at + 7u * stride] -= s7;
}
