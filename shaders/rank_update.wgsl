// w[to + c][r] -= Σ_i e[e_row + i][r] u[i][from + c], in f32: GPTQ's lazy update of the columns behind a block. Matrices lie column
// by column, so that neighbouring invocations read neighbouring rows.
//
// base: one invocation eight columns by four rows: a load of four rows and two of eight columns serve 32 multiply-adds.
// cpu: as in gram.wgsl: a subgroup takes two times four rows an invocation, and passes the values of u around.
// On two busy cores, 96 rows, 128 terms, 4096 columns: cpu 22-33 ms, base 30-51 ms.

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

#ifdef cpu
override WORKGROUP: u32 = 8;

fn take(col: u32, row: u32, sum: vec4<f32>) {
    if row < params.row_vecs {
        w[(params.to + col) * params.row_vecs + row] -= sum;
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let col = group.y * 8u;
    let row = group.x * WORKGROUP * 2u + lane;
    let r0 = min(row, params.row_vecs - 1u);
    let r1 = min(row + WORKGROUP, params.row_vecs - 1u);
    // Lane l of a subgroup of 8 holds column l; of 4 (SwiftShader), columns l and l + 4.
    let c0 = lane % 8u;
    let c1 = (lane + 4u) % 8u;
    let origin = params.u_from + col / 4u;
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var a4: vec4<f32>; var a5: vec4<f32>; var a6: vec4<f32>; var a7: vec4<f32>;
    var b0: vec4<f32>; var b1: vec4<f32>; var b2: vec4<f32>; var b3: vec4<f32>;
    var b4: vec4<f32>; var b5: vec4<f32>; var b6: vec4<f32>; var b7: vec4<f32>;
    for (var i = 0u; i < params.n_terms; i++) {
        let at = (params.e_row + i) * params.row_vecs;
        let a = e[at + r0];
        let b = e[at + r1];
        let p = u[i * params.u_vecs + origin + c0 / 4u][c0 % 4u];
        let q = u[i * params.u_vecs + origin + c1 / 4u][c1 % 4u];
        var v: f32;
        v = subgroupBroadcast(p, 0u); a0 += v * a; b0 += v * b;
        v = subgroupBroadcast(p, 1u); a1 += v * a; b1 += v * b;
        v = subgroupBroadcast(p, 2u); a2 += v * a; b2 += v * b;
        v = subgroupBroadcast(p, 3u); a3 += v * a; b3 += v * b;
        v = subgroupBroadcast(q, 0u); a4 += v * a; b4 += v * b;
        v = subgroupBroadcast(q, 1u); a5 += v * a; b5 += v * b;
        v = subgroupBroadcast(q, 2u); a6 += v * a; b6 += v * b;
        v = subgroupBroadcast(q, 3u); a7 += v * a; b7 += v * b;
    }
    take(col, row, a0); take(col + 1u, row, a1); take(col + 2u, row, a2); take(col + 3u, row, a3);
    take(col + 4u, row, a4); take(col + 5u, row, a5); take(col + 6u, row, a6); take(col + 7u, row, a7);
    let next = row + WORKGROUP;
    take(col, next, b0); take(col + 1u, next, b1); take(col + 2u, next, b2); take(col + 3u, next, b3);
    take(col + 4u, next, b4); take(col + 5u, next, b5); take(col + 6u, next, b6); take(col + 7u, next, b7);
}
#else
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
#endif
