// h[i][j] += Σ_t x[t][i] x[t][j], in f32: what the inputs of a matrix have in common, for GPTQ. Tiles of eight rows by four columns
// that lie wholly below the diagonal are left out: h is symmetric.
//
// base: one invocation a tile. Nothing is shared and nothing waits: three loads serve 32 multiply-adds.
// cpu: software Vulkan pays for every load an invocation at a time. A subgroup takes two tiles an invocation, side by side; each
// invocation brings one or two rows' values, which are passed around by subgroupBroadcast.
// On two busy cores, 67 tokens of 640 columns: cpu 5.3-6.3 ms, base 12.6-21 ms.
#import step

struct Params {
    // This part's first row of h, a multiple of eight, and its rows, too.
    row_base: u32,
    n_rows: u32,
    // Vectors of four columns: of h, and from one token to the next in x.
    col_vecs: u32,
    x_vecs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (n_tokens, x_vecs)
@group(0) @binding(3) var<storage, read_write> h: array<vec4<f32>>; // (n_rows, col_vecs)

#ifdef cpu
override WORKGROUP: u32 = 8;

fn add(row: u32, col: u32, sum: vec4<f32>) {
    if col < params.col_vecs && col * 4u + 3u >= params.row_base + row / 8u * 8u {
        h[row * params.col_vecs + col] += sum;
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y * 8u;
    let col = group.x * WORKGROUP * 2u + lane;
    if (group.x + 1u) * WORKGROUP * 8u <= params.row_base + row {
        return;
    }
    let c0 = min(col, params.col_vecs - 1u);
    let c1 = min(col + WORKGROUP, params.col_vecs - 1u);
    // Lane l of a subgroup of 8 holds row l; of 4 (SwiftShader), rows l and l + 4.
    let r0 = params.row_base + row + lane % 8u;
    let r1 = params.row_base + row + (lane + 4u) % 8u;
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var a4: vec4<f32>; var a5: vec4<f32>; var a6: vec4<f32>; var a7: vec4<f32>;
    var b0: vec4<f32>; var b1: vec4<f32>; var b2: vec4<f32>; var b3: vec4<f32>;
    var b4: vec4<f32>; var b5: vec4<f32>; var b6: vec4<f32>; var b7: vec4<f32>;
    for (var t = 0u; t < step.n_tokens; t++) {
        let at = t * params.x_vecs;
        let a = x[at + c0];
        let b = x[at + c1];
        let p = x[at + r0 / 4u][r0 % 4u];
        let q = x[at + r1 / 4u][r1 % 4u];
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
    add(row, col, a0); add(row + 1u, col, a1); add(row + 2u, col, a2); add(row + 3u, col, a3);
    add(row + 4u, col, a4); add(row + 5u, col, a5); add(row + 6u, col, a6); add(row + 7u, col, a7);
    let next = col + WORKGROUP;
    add(row, next, b0); add(row + 1u, next, b1); add(row + 2u, next, b2); add(row + 3u, next, b3);
    add(row + 4u, next, b4); add(row + 5u, next, b5); add(row + 6u, next, b6); add(row + 7u, next, b7);
}
#else
override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x;
    let row = id.y * 8u;
    if col >= params.col_vecs || row >= params.n_rows || col * 4u + 3u < params.row_base + row {
        return;
    }
    let origin = (params.row_base + row) / 4u;
    var s0: vec4<f32>; var s1: vec4<f32>; var s2: vec4<f32>; var s3: vec4<f32>;
    var s4: vec4<f32>; var s5: vec4<f32>; var s6: vec4<f32>; var s7: vec4<f32>;
    for (var t = 0u; t < step.n_tokens; t++) {
        let b = x[t * params.x_vecs + col];
        let lo = x[t * params.x_vecs + origin];
        let hi = x[t * params.x_vecs + origin + 1u];
        s0 += lo.x * b; s1 += lo.y * b; s2 += lo.z * b; s3 += lo.w * b;
        s4 += hi.x * b; s5 += hi.y * b; s6 += hi.z * b; s7 += hi.w * b;
    }
    let at = row * params.col_vecs + col;
    let stride = params.col_vecs;
    h[at] += s0; h[at + stride] += s1; h[at + 2u * stride] += s2; h[at + 3u * stride] += s3;
    h[at + 4u * stride] += s4; h[at + 5u * stride] += s5; h[at + 6u * stride] += s6; h[at + 7u * stride] += s7;
}
#endif
