// matmul for any GPU: a 64 x 64 tile a workgroup of 64 invocations, each 8 rows x 8 tokens in registers; both operands pass
// through workgroup memory, 16 columns at a time (8 KiB).
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
