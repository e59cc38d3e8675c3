// y[r] = W[r] · x (+ bias[r]) (+ y[r]): one token, f16 weights, f32 everything else.
//
// A workgroup computes ROWS rows and walks the columns together: the eight columns of x that an invocation holds serve all its
// rows.
#import packed
#import row_sums

@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>; // (n_rows, row_words) f16
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (row_words * 2)

fn dot8(w: vec4<u32>, lo: vec4<f32>, hi: vec4<f32>) -> f32 {
    return dot(unpack_lo(w), lo) + dot(unpack_hi(w), hi);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.x + group.y * groups.x) * ROWS;
    let words = params.row_words;
    // Rows past the end read the last row again and are not written.
    let last = params.n_rows - 1u;
    let r0 = min(row, last) * words;
    let r1 = min(row + 1u, last) * words;
    let r2 = min(row + 2u, last) * words;
    let r3 = min(row + 3u, last) * words;
    let r4 = min(row + 4u, last) * words;
    let r5 = min(row + 5u, last) * words;
    let r6 = min(row + 6u, last) * words;
    let r7 = min(row + 7u, last) * words;
    var a = vec4<f32>();
    var b = vec4<f32>();
    for (var i = lane; i < words; i += WORKGROUP) {
        let lo = x[i * 2u];
        let hi = x[i * 2u + 1u];
        a += vec4<f32>(
            dot8(weight[r0 + i], lo, hi),
            dot8(weight[r1 + i], lo, hi),
            dot8(weight[r2 + i], lo, hi),
            dot8(weight[r3 + i], lo, hi),
        );
        b += vec4<f32>(
            dot8(weight[r4 + i], lo, hi),
            dot8(weight[r5 + i], lo, hi),
            dot8(weight[r6 + i], lo, hi),
            dot8(weight[r7 + i], lo, hi),
        );
    }
    write_rows(row, lane, a, b);
}
