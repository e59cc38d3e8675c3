// y = W x (+ bias) (+ residual), for one token: f16 weights, f32 everything else.
#import packed

struct Params {
    row_words: u32,
    n_rows: u32,
    row_base: u32,
    flags: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>; // (n_rows, row_words) f16
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (row_words * 2)
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // (rows)

override WORKGROUP: u32 = 64;
const ROWS = 8u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.x * ROWS;
    let words = params.row_words;
    let base = row * words;
    var a0 = 0.0; var a1 = 0.0; var a2 = 0.0; var a3 = 0.0; var a4 = 0.0; var a5 = 0.0; var a6 = 0.0; var a7 = 0.0;
    for (var i = lane; i < words; i += WORKGROUP) {
        let lo = x[i * 2u];
        let hi = x[i * 2u + 1u];
        let at = base + i;
        let w0 = weight[at];
        let w1 = weight[at + words];
        let w2 = weight[at + 2u * words];
        let w3 = weight[at + 3u * words];
        let w4 = weight[at + 4u * words];
        let w5 = weight[at + 5u * words];
        let w6 = weight[at + 6u * words];
        let w7 = weight[at + 7u * words];
        a0 += dot(unpack_lo(w0), lo) + dot(unpack_hi(w0), hi);
        a1 += dot(unpack_lo(w1), lo) + dot(unpack_hi(w1), hi);
        a2 += dot(unpack_lo(w2), lo) + dot(unpack_hi(w2), hi);
        a3 += dot(unpack_lo(w3), lo) + dot(unpack_hi(w3), hi);
        a4 += dot(unpack_lo(w4), lo) + dot(unpack_hi(w4), hi);
        a5 += dot(unpack_lo(w5), lo) + dot(unpack_hi(w5), hi);
        a6 += dot(unpack_lo(w6), lo) + dot(unpack_hi(w6), hi);
        a7 += dot(unpack_lo(w7), lo) + dot(unpack_hi(w7), hi);
    }
#ifdef subgroup
    a0 = subgroupAdd(a0); a1 = subgroupAdd(a1); a2 = subgroupAdd(a2); a3 = subgroupAdd(a3);
    a4 = subgroupAdd(a4); a5 = subgroupAdd(a5); a6 = subgroupAdd(a6); a7 = subgroupAdd(a7);
    if lane == 0u {
        y[row] = a0; y[row + 1u] = a1; y[row + 2u] = a2; y[row + 3u] = a3;
        y[row + 4u] = a4; y[row + 5u] = a5; y[row + 6u] = a6; y[row + 7u] = a7;
    }
#endif
}
