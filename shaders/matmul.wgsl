// y[t][r] = W[r] · x[t] (+ bias[r]) (+ y[t][r]) for many tokens: weights as they are stored, f32 everything else.
//
// base: a 64 x 64 tile a workgroup of 64 invocations, each 8 rows x 8 tokens in registers; both operands pass through
// workgroup memory, 16 columns at a time (8 KiB).
// cpu: software Vulkan pays for every load an invocation at a time, and barriers dearly, so nothing is shared: one subgroup
// computes 16 rows x 8 tokens. Each invocation loads two rows' words and one token's, and the tokens' values are passed
// around by subgroupBroadcast: 3 + 1 loads serve 128 multiply-adds of each lane.
#import octet
#import step

@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (n_tokens, row_words * 2)
@group(0) @binding(4) var<storage, read> bias: array<f32>; // (row_base + n_rows), or anything without flag 1
@group(0) @binding(6) var<storage, read_write> y: array<f32>; // (n_tokens, y_stride)

fn store(t: u32, row: u32, value: f32) {
    if t < step.n_tokens && row < params.n_rows {
        var sum = value;
        let r = params.row_base + row;
        let at = t * params.y_stride + r;
        if (params.flags & 1u) != 0u {
            sum += bias[r];
        }
        if (params.flags & 2u) != 0u {
            sum += y[at];
        }
        y[at] = sum;
    }
}

#ifdef cpu
override WORKGROUP: u32 = 8;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let words = params.row_words;
    // Neighbouring workgroups share rows: the weights come from memory once, the tokens from the cache.
    let row = group.y * WORKGROUP * 2u + lane;
    let token = group.x * 8u;
    let last = params.n_rows - 1u;
    let w0 = min(row, last);
    let w1 = min(row + WORKGROUP, last);
    // Lane l of a subgroup of 8 holds token l; of 4 (SwiftShader), tokens l and l + 4.
    let t0 = min(token + lane % 8u, step.n_tokens - 1u) * words * 2u;
    let t1 = min(token + (lane + 4u) % 8u, step.n_tokens - 1u) * words * 2u;
    var a0: vec4<f32>; var a1: vec4<f32>; // row, tokens 0..4 and 4..8
    var b0: vec4<f32>; var b1: vec4<f32>; // row + WORKGROUP
    for (var i = 0u; i < words; i++) {
        let p = octet(w0, i);
        let q = octet(w1, i);
        let x_lo = x[t0 + i * 2u];
        let x_hi = x[t0 + i * 2u + 1u];
        let z_lo = x[t1 + i * 2u];
        let z_hi = x[t1 + i * 2u + 1u];
        var lo: vec4<f32>; var hi: vec4<f32>;
        lo = subgroupBroadcast(x_lo, 0u); hi = subgroupBroadcast(x_hi, 0u);
        a0.x += dot(p.lo, lo) + dot(p.hi, hi); b0.x += dot(q.lo, lo) + dot(q.hi, hi);
        lo = subgroupBroadcast(x_lo, 1u); hi = subgroupBroadcast(x_hi, 1u);
        a0.y += dot(p.lo, lo) + dot(p.hi, hi); b0.y += dot(q.lo, lo) + dot(q.hi, hi);
        lo = subgroupBroadcast(x_lo, 2u); hi = subgroupBroadcast(x_hi, 2u);
        a0.z += dot(p.lo, lo) + dot(p.hi, hi); b0.z += dot(q.lo, lo) + dot(q.hi, hi);
        lo = subgroupBroadcast(x_lo, 3u); hi = subgroupBroadcast(x_hi, 3u);
        a0.w += dot(p.lo, lo) + dot(p.hi, hi); b0.w += dot(q.lo, lo) + dot(q.hi, hi);
        lo = subgroupBroadcast(z_lo, 0u); hi = subgroupBroadcast(z_hi, 0u);
        a1.x += dot(p.lo, lo) + dot(p.hi, hi); b1.x += dot(q.lo, lo) + dot(q.hi, hi);
        lo = subgroupBroadcast(z_lo, 1u); hi = subgroupBroadcast(z_hi, 1u);
        a1.y += dot(p.lo, lo) + dot(p.hi, hi); b1.y += dot(q.lo, lo) + dot(q.hi, hi);
        lo = subgroupBroadcast(z_lo, 2u); hi = subgroupBroadcast(z_hi, 2u);
        a1.z += dot(p.lo, lo) + dot(p.hi, hi); b1.z += dot(q.lo, lo) + dot(q.hi, hi);
        lo = subgroupBroadcast(z_lo, 3u); hi = subgroupBroadcast(z_hi, 3u);
        a1.w += dot(p.lo, lo) + dot(p.hi, hi); b1.w += dot(q.lo, lo) + dot(q.hi, hi);
    }
    for (var i = 0u; i < 4u; i++) {
        store(token + i, row, a0[i]);
        store(token + 4u + i, row, a1[i]);
        store(token + i, row + WORKGROUP, b0[i]);
        store(token + 4u + i, row + WORKGROUP, b1[i]);
    }
}
#else
override WORKGROUP: u32 = 64;
const TILE = 64u;
// Columns of a step: two packed words of a row.
const DEPTH = 16u;

// Column-major, so that an invocation reads its eight rows (tokens) of one column as two vec4s.
var<workgroup> w_tile: array<vec4<f32>, 256>; // (DEPTH, TILE / 4)
var<workgroup> x_tile: array<vec4<f32>, 256>; // (DEPTH, TILE / 4)

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let words = params.row_words;
    let row = group.x * TILE;
    let token = group.y * TILE;
    let my_row = (lane % 8u) * 2u; // in vec4s
    let my_token = (lane / 8u) * 2u;
    // Each invocation brings one row and one token of the tile.
    let from_row = min(row + lane, params.n_rows - 1u);
    let from_token = min(token + lane, step.n_tokens - 1u) * words * 2u;
    let put = lane / 4u;
    let part = lane % 4u;
    // Tokens x rows: a0..a7 rows 0..4, b0..b7 rows 4..8.
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var a4: vec4<f32>; var a5: vec4<f32>; var a6: vec4<f32>; var a7: vec4<f32>;
    var b0: vec4<f32>; var b1: vec4<f32>; var b2: vec4<f32>; var b3: vec4<f32>;
    var b4: vec4<f32>; var b5: vec4<f32>; var b6: vec4<f32>; var b7: vec4<f32>;
    for (var word = 0u; word < words; word += 2u) {
        workgroupBarrier();
        for (var i = 0u; i < 2u; i++) {
            var lo: vec4<f32>; var hi: vec4<f32>; var x_lo: vec4<f32>; var x_hi: vec4<f32>;
            if word + i < words {
                let w = octet(from_row, word + i);
                lo = w.lo;
                hi = w.hi;
                x_lo = x[from_token + (word + i) * 2u];
                x_hi = x[from_token + (word + i) * 2u + 1u];
            }
            let at = i * 8u * 16u + put;
            w_tile[at][part] = lo.x; w_tile[at + 16u][part] = lo.y;
            w_tile[at + 32u][part] = lo.z; w_tile[at + 48u][part] = lo.w;
            w_tile[at + 64u][part] = hi.x; w_tile[at + 80u][part] = hi.y;
            w_tile[at + 96u][part] = hi.z; w_tile[at + 112u][part] = hi.w;
            x_tile[at][part] = x_lo.x; x_tile[at + 16u][part] = x_lo.y;
            x_tile[at + 32u][part] = x_lo.z; x_tile[at + 48u][part] = x_lo.w;
            x_tile[at + 64u][part] = x_hi.x; x_tile[at + 80u][part] = x_hi.y;
            x_tile[at + 96u][part] = x_hi.z; x_tile[at + 112u][part] = x_hi.w;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            let w_lo = w_tile[k * 16u + my_row];
            let w_hi = w_tile[k * 16u + my_row + 1u];
            let x_lo = x_tile[k * 16u + my_token];
            let x_hi = x_tile[k * 16u + my_token + 1u];
            a0 += x_lo.x * w_lo; b0 += x_lo.x * w_hi;
            a1 += x_lo.y * w_lo; b1 += x_lo.y * w_hi;
            a2 += x_lo.z * w_lo; b2 += x_lo.z * w_hi;
            a3 += x_lo.w * w_lo; b3 += x_lo.w * w_hi;
            a4 += x_hi.x * w_lo; b4 += x_hi.x * w_hi;
            a5 += x_hi.y * w_lo; b5 += x_hi.y * w_hi;
            a6 += x_hi.z * w_lo; b6 += x_hi.z * w_hi;
            a7 += x_hi.w * w_lo; b7 += x_hi.w * w_hi;
        }
    }
    let t = token + my_token * 4u;
    let r = row + my_row * 4u;
    for (var i = 0u; i < 4u; i++) {
        store(t, r + i, a0[i]); store(t, r + 4u + i, b0[i]);
        store(t + 1u, r + i, a1[i]); store(t + 1u, r + 4u + i, b1[i]);
        store(t + 2u, r + i, a2[i]); store(t + 2u, r + 4u + i, b2[i]);
        store(t + 3u, r + i, a3[i]); store(t + 3u, r + 4u + i, b3[i]);
        store(t + 4u, r + i, a4[i]); store(t + 4u, r + 4u + i, b4[i]);
        store(t + 5u, r + i, a5[i]); store(t + 5u, r + 4u + i, b5[i]);
        store(t + 6u, r + i, a6[i]); store(t + 6u, r + 4u + i, b6[i]);
        store(t + 7u, r + i, a7[i]); store(t + 7u, r + 4u + i, b7[i]);
    }
}
#endif
