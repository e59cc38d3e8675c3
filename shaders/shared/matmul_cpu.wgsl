// matmul for software Vulkan. It pays for every load an invocation at a time, and barriers dearly, so nothing is shared: one
// subgroup computes a tile of 64 rows x 16 tokens (32 x 8 with subgroups of four). A lane holds words of eight rows and of two
// tokens, and the tokens' values are passed around by subgroupBroadcast: 8 + 4 loads of 16 bytes serve 1024 multiply-adds of each
// lane. Sums are far more than there are registers, which is cheap: each is touched once in eight columns.
//
// Measured at 2048 x 2048, GFLOP/s by CPU time of two cores, 32 to 192 tokens, interleaved (Mesa 22.3.6 / 26.2.6, AVX-512):
//   rows x tokens    16 x 8   25 / 36    32 x 16  47 / 65    32 x 32  51 / 79    64 x 8   43 / 47    48 x 16  54 / 70
//                    64 x 16  55 / 75    64 x 24  55 / 86    96 x 16  53 / 76    64 x 32  57 / 83    32 x 64  48 / 82
// (before, 16 x 8 and with loads for subgroups of four that one of eight did not need: 24 / 23).
// 64 x 16 is taken: beyond it, Mesa 22 gains nothing, compiling takes longer (this: 0.2 and 0.05 s), and short chunks fill less
// of the tile. At the 110M and 1.1B projections: 48 to 53 / 66 to 75, with 32 tokens as with 512, so that longer chunks gain
// nothing; 4, 6 and 8 bits at 2048 x 2048: 50, 30, 41 / 76, 78, 73.
// Lost: each token's values as uniform loads in place of broadcasts (32 x 16: 18 / 58; Mesa 22 makes eight loads of a uniform
// one); loads of 64 bits through u64 (32 x 16: 54 / 64, too little for one more feature); dot() in place of a chain of fma()
// (the same speed, twice the time to compile); two chains of fma() a sum (50 / 25); sums stored one by one rather than in a
// loop (the same speed, three times the time to compile).
#import quad

override WORKGROUP: u32 = 8;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let words = params.row_words;
    // Neighbouring workgroups share rows: the weights come from memory once, the tokens from the cache.
    let row = group.y * WORKGROUP * 8u + lane;
    let token = group.x * WORKGROUP * 2u;
    // Lane l holds tokens l and WORKGROUP + l.
    let t0 = min(token + lane, step.n_tokens - 1u) * words * 2u;
    let t1 = min(token + WORKGROUP + lane, step.n_tokens - 1u) * words * 2u;
    // Tokens x rows: a the first four rows, b the others; 0 to 7 the first tokens, 8 to 15 the second.
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var a4: vec4<f32>; var a5: vec4<f32>; var a6: vec4<f32>; var a7: vec4<f32>;
    var a8: vec4<f32>; var a9: vec4<f32>; var a10: vec4<f32>; var a11: vec4<f32>;
    var a12: vec4<f32>; var a13: vec4<f32>; var a14: vec4<f32>; var a15: vec4<f32>;
    var b0: vec4<f32>; var b1: vec4<f32>; var b2: vec4<f32>; var b3: vec4<f32>;
    var b4: vec4<f32>; var b5: vec4<f32>; var b6: vec4<f32>; var b7: vec4<f32>;
    var b8: vec4<f32>; var b9: vec4<f32>; var b10: vec4<f32>; var b11: vec4<f32>;
    var b12: vec4<f32>; var b13: vec4<f32>; var b14: vec4<f32>; var b15: vec4<f32>;
    for (var i = 0u; i < words; i++) {
        let w = quad(row, WORKGROUP, i);
        let v = quad(row + 4u * WORKGROUP, WORKGROUP, i);
        let x0 = x[t0 + i * 2u];
        let y0 = x[t0 + i * 2u + 1u];
        let x1 = x[t1 + i * 2u];
        let y1 = x[t1 + i * 2u + 1u];
        var lo: vec4<f32>; var hi: vec4<f32>;
        lo = subgroupBroadcast(x0, 0u); hi = subgroupBroadcast(y0, 0u);
        a0 = add(a0, w, lo, hi); b0 = add(b0, v, lo, hi);
        lo = subgroupBroadcast(x0, 1u); hi = subgroupBroadcast(y0, 1u);
        a1 = add(a1, w, lo, hi); b1 = add(b1, v, lo, hi);
        lo = subgroupBroadcast(x0, 2u); hi = subgroupBroadcast(y0, 2u);
        a2 = add(a2, w, lo, hi); b2 = add(b2, v, lo, hi);
        lo = subgroupBroadcast(x0, 3u); hi = subgroupBroadcast(y0, 3u);
        a3 = add(a3, w, lo, hi); b3 = add(b3, v, lo, hi);
        lo = subgroupBroadcast(x1, 0u); hi = subgroupBroadcast(y1, 0u);
        a8 = add(a8, w, lo, hi); b8 = add(b8, v, lo, hi);
        lo = subgroupBroadcast(x1, 1u); hi = subgroupBroadcast(y1, 1u);
        a9 = add(a9, w, lo, hi); b9 = add(b9, v, lo, hi);
        lo = subgroupBroadcast(x1, 2u); hi = subgroupBroadcast(y1, 2u);
        a10 = add(a10, w, lo, hi); b10 = add(b10, v, lo, hi);
        lo = subgroupBroadcast(x1, 3u); hi = subgroupBroadcast(y1, 3u);
        a11 = add(a11, w, lo, hi); b11 = add(b11, v, lo, hi);
        if WORKGROUP == 8u {
            lo = subgroupBroadcast(x0, 4u); hi = subgroupBroadcast(y0, 4u);
            a4 = add(a4, w, lo, hi); b4 = add(b4, v, lo, hi);
            lo = subgroupBroadcast(x0, 5u); hi = subgroupBroadcast(y0, 5u);
            a5 = add(a5, w, lo, hi); b5 = add(b5, v, lo, hi);
            lo = subgroupBroadcast(x0, 6u); hi = subgroupBroadcast(y0, 6u);
            a6 = add(a6, w, lo, hi); b6 = add(b6, v, lo, hi);
            lo = subgroupBroadcast(x0, 7u); hi = subgroupBroadcast(y0, 7u);
            a7 = add(a7, w, lo, hi); b7 = add(b7, v, lo, hi);
            lo = subgroupBroadcast(x1, 4u); hi = subgroupBroadcast(y1, 4u);
            a12 = add(a12, w, lo, hi); b12 = add(b12, v, lo, hi);
            lo = subgroupBroadcast(x1, 5u); hi = subgroupBroadcast(y1, 5u);
            a13 = add(a13, w, lo, hi); b13 = add(b13, v, lo, hi);
            lo = subgroupBroadcast(x1, 6u); hi = subgroupBroadcast(y1, 6u);
            a14 = add(a14, w, lo, hi); b14 = add(b14, v, lo, hi);
            lo = subgroupBroadcast(x1, 7u); hi = subgroupBroadcast(y1, 7u);
            a15 = add(a15, w, lo, hi); b15 = add(b15, v, lo, hi);
        }
    }
    var a = array<vec4<f32>, 16>(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15);
    var b = array<vec4<f32>, 16>(b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13, b14, b15);
    for (var t = 0u; t < min(WORKGROUP * 2u, step.n_tokens - token); t++) {
        let at = t / WORKGROUP * 8u + t % WORKGROUP;
        for (var i = 0u; i < 4u; i++) {
            store(token + t, row + i * WORKGROUP, a[at][i]);
            store(token + t, row + (4u + i) * WORKGROUP, b[at][i]);
        }
    }
}
