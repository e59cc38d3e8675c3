// columns for any GPU: a workgroup walks the columns of eight rows, as `rows` does, and an invocation multiplies each of its
// words of weights by all tokens while it holds them. base: the sums meet in workgroup memory (16 KiB, so that a workgroup has
// at most 64 invocations). subgroup: the workgroup is exactly one subgroup.
//
// Predicted, not measured (no GPU was at hand): eight tokens at the time of one matvec. A word of 8 rows is 128 bytes of weights; the
// 256 bytes of x that it meets come from the first cache, twice the weights' rate (30 bytes a clock and multiprocessor where the
// memory gives 15), and 16 operations a weight are 40 % of what f32 units do at 3.35 TB/s. Some 140 registers an invocation.
override WORKGROUP: u32 = 64;

#ifdef subgroup
fn put(t: u32, row: u32, lane: u32, a: vec4<f32>, b: vec4<f32>) {
    let first = subgroupAdd(a);
    let second = subgroupAdd(b);
    if lane < 8u {
        store(t, row + lane, select(second[lane % 4u], first[lane % 4u], lane < 4u));
    }
}
#else
var<workgroup> partial: array<vec4<f32>, 1024>; // (WORKGROUP, 8 tokens, 2): rows 0..4 and 4..8
#endif

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let words = params.row_words;
    let row = (group.x + group.y * groups.x) * 8u;
    let last = step.n_tokens - 1u;
    // Tokens past the end are the last one again.
    let t1 = min(1u, last) * words * 2u;
    let t2 = min(2u, last) * words * 2u;
    let t3 = min(3u, last) * words * 2u;
    let t4 = min(4u, last) * words * 2u;
    let t5 = min(5u, last) * words * 2u;
    let t6 = min(6u, last) * words * 2u;
    let t7 = min(7u, last) * words * 2u;
    // a: rows 0..4, b: rows 4..8 of each token.
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var a4: vec4<f32>; var a5: vec4<f32>; var a6: vec4<f32>; var a7: vec4<f32>;
    var b0: vec4<f32>; var b1: vec4<f32>; var b2: vec4<f32>; var b3: vec4<f32>;
    var b4: vec4<f32>; var b5: vec4<f32>; var b6: vec4<f32>; var b7: vec4<f32>;
    for (var i = lane; i < words; i += WORKGROUP) {
        let w = quad(row, 1u, i);
        let v = quad(row + 4u, 1u, i);
        let at = i * 2u;
        var lo = x[at]; var hi = x[at + 1u];
        a0 = add(a0, w, lo, hi); b0 = add(b0, v, lo, hi);
        lo = x[t1 + at]; hi = x[t1 + at + 1u];
        a1 = add(a1, w, lo, hi); b1 = add(b1, v, lo, hi);
        if last >= 2u {
            lo = x[t2 + at]; hi = x[t2 + at + 1u];
            a2 = add(a2, w, lo, hi); b2 = add(b2, v, lo, hi);
            lo = x[t3 + at]; hi = x[t3 + at + 1u];
            a3 = add(a3, w, lo, hi); b3 = add(b3, v, lo, hi);
        }
        if last >= 4u {
            lo = x[t4 + at]; hi = x[t4 + at + 1u];
            a4 = add(a4, w, lo, hi); b4 = add(b4, v, lo, hi);
            lo = x[t5 + at]; hi = x[t5 + at + 1u];
            a5 = add(a5, w, lo, hi); b5 = add(b5, v, lo, hi);
            lo = x[t6 + at]; hi = x[t6 + at + 1u];
            a6 = add(a6, w, lo, hi); b6 = add(b6, v, lo, hi);
            lo = x[t7 + at]; hi = x[t7 + at + 1u];
            a7 = add(a7, w, lo, hi); b7 = add(b7, v, lo, hi);
        }
    }
#ifdef subgroup
    put(0u, row, lane, a0, b0);
    put(1u, row, lane, a1, b1);
    if last >= 2u {
        put(2u, row, lane, a2, b2);
        put(3u, row, lane, a3, b3);
    }
    if last >= 4u {
        put(4u, row, lane, a4, b4);
        put(5u, row, lane, a5, b5);
        put(6u, row, lane, a6, b6);
        put(7u, row, lane, a7, b7);
    }
#else
    let to = lane * 16u;
    partial[to] = a0; partial[to + 1u] = b0; partial[to + 2u] = a1; partial[to + 3u] = b1;
    partial[to + 4u] = a2; partial[to + 5u] = b2; partial[to + 6u] = a3; partial[to + 7u] = b3;
    partial[to + 8u] = a4; partial[to + 9u] = b4; partial[to + 10u] = a5; partial[to + 11u] = b5;
    partial[to + 12u] = a6; partial[to + 13u] = b6; partial[to + 14u] = a7; partial[to + 15u] = b7;
    workgroupBarrier();
    for (var at = lane; at < step.n_tokens * 8u; at += WORKGROUP) {
        var sum = 0.0;
        for (var i = 0u; i < WORKGROUP; i++) {
            sum += partial[i * 16u + at / 4u][at % 4u];
        }
        store(at / 8u, row + at % 8u, sum);
    }
#endif
}
