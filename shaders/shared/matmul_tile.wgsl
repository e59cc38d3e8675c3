// matmul for any GPU: a 64 x 64 tile a workgroup of 64 invocations, each 8 rows x 8 tokens in registers; both operands pass
// through workgroup memory, 16 columns at a time (8 KiB).
#import quad

override WORKGROUP: u32 = 64;
const TILE = 64u;
// Columns of a step: two packed words of a row.
const DEPTH = 16u;

// Column-major, so that an invocation reads its eight rows (tokens) of one column as two vec4s.
var<workgroup> w_tile: array<vec4<f32>, 256>; // (DEPTH, TILE / 4)
var<workgroup> x_tile: array<vec4<f32>, 256>; // (DEPTH, TILE / 4)

// By constant components: an index that the compiler does not know keeps all sums in memory (seen in DXC's output).
fn store8(t: u32, r: u32, lo: vec4<f32>, hi: vec4<f32>) {
    store(t, r, lo.x); store(t, r + 1u, lo.y); store(t, r + 2u, lo.z); store(t, r + 3u, lo.w);
    store(t, r + 4u, hi.x); store(t, r + 5u, hi.y); store(t, r + 6u, hi.z); store(t, r + 7u, hi.w);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let words = params.row_words;
    let row = group.x * TILE;
    let token = group.y * TILE;
    let my_row = (lane % 8u) * 2u; // in vec4s
    let my_token = (lane / 8u) * 2u;
    // Half of the invocations bring weights, the others tokens: one word of four neighbours each, so that whole vec4s are
    // written. Several invocations must not write components of one vector: WGSL lets a write of one touch all, and Metal's
    // compiler does so.
    let quarter = lane % 16u;
    let my_word = lane / 16u % 2u;
    let last_token = step.n_tokens - 1u;
    let t0 = min(token + quarter * 4u, last_token) * words * 2u;
    let t1 = min(token + quarter * 4u + 1u, last_token) * words * 2u;
    let t2 = min(token + quarter * 4u + 2u, last_token) * words * 2u;
    let t3 = min(token + quarter * 4u + 3u, last_token) * words * 2u;
    let put = my_word * 128u + quarter;
    // Tokens x rows: a0..a7 rows 0..4, b0..b7 rows 4..8.
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var a4: vec4<f32>; var a5: vec4<f32>; var a6: vec4<f32>; var a7: vec4<f32>;
    var b0: vec4<f32>; var b1: vec4<f32>; var b2: vec4<f32>; var b3: vec4<f32>;
    var b4: vec4<f32>; var b5: vec4<f32>; var b6: vec4<f32>; var b7: vec4<f32>;
    for (var word = 0u; word < words; word += 2u) {
        workgroupBarrier();
        let i = word + my_word;
        if lane < 32u {
            var w: Quad;
            if i < words {
                w = quad(row + quarter * 4u, 1u, i);
            }
            w_tile[put] = w.c0; w_tile[put + 16u] = w.c1; w_tile[put + 32u] = w.c2; w_tile[put + 48u] = w.c3;
            w_tile[put + 64u] = w.c4; w_tile[put + 80u] = w.c5; w_tile[put + 96u] = w.c6; w_tile[put + 112u] = w.c7;
        } else {
            for (var half = 0u; half < 2u; half++) {
                var p: vec4<f32>; var q: vec4<f32>; var r: vec4<f32>; var s: vec4<f32>;
                if i < words {
                    p = x[t0 + i * 2u + half];
                    q = x[t1 + i * 2u + half];
                    r = x[t2 + i * 2u + half];
                    s = x[t3 + i * 2u + half];
                }
                let to = put + half * 64u;
                x_tile[to] = vec4<f32>(p.x, q.x, r.x, s.x); x_tile[to + 16u] = vec4<f32>(p.y, q.y, r.y, s.y);
                x_tile[to + 32u] = vec4<f32>(p.z, q.z, r.z, s.z); x_tile[to + 48u] = vec4<f32>(p.w, q.w, r.w, s.w);
            }
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
    store8(t, r, a0, b0); store8(t + 1u, r, a1, b1); store8(t + 2u, r, a2, b2); store8(t + 3u, r, a3, b3);
    store8(t + 4u, r, a4, b4); store8(t + 5u, r, a5, b5); store8(t + 6u, r, a6, b6); store8(t + 7u, r, a7, b7);
}
