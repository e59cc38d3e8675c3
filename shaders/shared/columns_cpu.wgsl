// columns for software Vulkan: the tile of matmul_cpu with half of its tokens. A lane holds words of eight rows and of one token
// (two with subgroups of four), whose values go around by subgroupBroadcast: 8 + 2 loads of 16 bytes serve up to 512 multiply-adds
// of a lane, where matvec makes 10 for 64.
//
// Predicted: as the loads and conversions of weights are what a matvec pays for, eight tokens for 1.5 matvecs. Measured (CPU time,
// interleaved, Mesa 22.3.6, 256 bits, a busy machine), in units of matvec, which has i64: two to eight tokens 1.4 to 1.5 at
// 2048 x 2048, 0.9 at 2304 x 768, 1.2 to 1.3 at 768 x 2048 (matmul with eight: 2.7, 1.7, 1.9). A token more costs next to nothing, so
// that fewer than five are not worth a text of their own.
// Without i64 (see rows_half): 1.7 to 2.0, 1.2, 1.7. Walking the columns as columns_gpu does: two tokens 2.2, four 2.8, eight 4.0,
// since each token is two more loads a lane. Rows whose length is no power of two: the same, so that it is not the cache.
// The loop is written out here as there: subgroupBroadcast takes its lane as a constant, which a shared function cannot be given, and
// what is left out for few tokens lies in the middle of the eight.
override WORKGROUP: u32 = 8;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let words = params.row_words;
    let row = (group.x + group.y * groups.x) * WORKGROUP * 8u + lane;
    let last = step.n_tokens - 1u;
    // Tokens past the end are the last one again.
    let t0 = min(lane, last) * words * 2u;
    let t1 = min(4u + lane, last) * words * 2u;
    // a: the first four rows, b: the others, of each token.
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var a4: vec4<f32>; var a5: vec4<f32>; var a6: vec4<f32>; var a7: vec4<f32>;
    var b0: vec4<f32>; var b1: vec4<f32>; var b2: vec4<f32>; var b3: vec4<f32>;
    var b4: vec4<f32>; var b5: vec4<f32>; var b6: vec4<f32>; var b7: vec4<f32>;
    for (var i = 0u; i < words; i++) {
        let w = quad(row, WORKGROUP, i);
        let v = quad(row + 4u * WORKGROUP, WORKGROUP, i);
        let x0 = x[t0 + i * 2u];
        let y0 = x[t0 + i * 2u + 1u];
        var lo: vec4<f32>; var hi: vec4<f32>;
        lo = subgroupBroadcast(x0, 0u); hi = subgroupBroadcast(y0, 0u);
        a0 = add(a0, w, lo, hi); b0 = add(b0, v, lo, hi);
        lo = subgroupBroadcast(x0, 1u); hi = subgroupBroadcast(y0, 1u);
        a1 = add(a1, w, lo, hi); b1 = add(b1, v, lo, hi);
        lo = subgroupBroadcast(x0, 2u); hi = subgroupBroadcast(y0, 2u);
        a2 = add(a2, w, lo, hi); b2 = add(b2, v, lo, hi);
        lo = subgroupBroadcast(x0, 3u); hi = subgroupBroadcast(y0, 3u);
        a3 = add(a3, w, lo, hi); b3 = add(b3, v, lo, hi);
        if last >= 4u {
            if WORKGROUP == 8u {
                lo = subgroupBroadcast(x0, 4u); hi = subgroupBroadcast(y0, 4u);
                a4 = add(a4, w, lo, hi); b4 = add(b4, v, lo, hi);
                lo = subgroupBroadcast(x0, 5u); hi = subgroupBroadcast(y0, 5u);
                a5 = add(a5, w, lo, hi); b5 = add(b5, v, lo, hi);
                lo = subgroupBroadcast(x0, 6u); hi = subgroupBroadcast(y0, 6u);
                a6 = add(a6, w, lo, hi); b6 = add(b6, v, lo, hi);
                lo = subgroupBroadcast(x0, 7u); hi = subgroupBroadcast(y0, 7u);
                a7 = add(a7, w, lo, hi); b7 = add(b7, v, lo, hi);
            } else {
                let x1 = x[t1 + i * 2u];
                let y1 = x[t1 + i * 2u + 1u];
                lo = subgroupBroadcast(x1, 0u); hi = subgroupBroadcast(y1, 0u);
                a4 = add(a4, w, lo, hi); b4 = add(b4, v, lo, hi);
                lo = subgroupBroadcast(x1, 1u); hi = subgroupBroadcast(y1, 1u);
                a5 = add(a5, w, lo, hi); b5 = add(b5, v, lo, hi);
                lo = subgroupBroadcast(x1, 2u); hi = subgroupBroadcast(y1, 2u);
                a6 = add(a6, w, lo, hi); b6 = add(b6, v, lo, hi);
                lo = subgroupBroadcast(x1, 3u); hi = subgroupBroadcast(y1, 3u);
                a7 = add(a7, w, lo, hi); b7 = add(b7, v, lo, hi);
            }
        }
    }
    var a = array<vec4<f32>, 8>(a0, a1, a2, a3, a4, a5, a6, a7);
    var b = array<vec4<f32>, 8>(b0, b1, b2, b3, b4, b5, b6, b7);
    for (var t = 0u; t <= last; t++) {
        for (var i = 0u; i < 4u; i++) {
            store(t, row + i * WORKGROUP, a[t][i]);
            store(t, row + (4u + i) * WORKGROUP, b[t][i]);
        }
    }
}
