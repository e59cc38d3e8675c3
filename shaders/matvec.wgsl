// y[r] = W[r] · x (+ bias[r]) (+ y[r]): one token, f16 weights, f32 everything else.
//
// A workgroup computes ROWS rows and walks the columns together: the eight columns of x that an invocation holds serve all its
// rows. base: partial sums meet in workgroup memory. subgroup: the workgroup is exactly one subgroup, no barrier.
// A matrix larger than a binding is split by rows; `row_base` is where this part's rows go in y.
#import packed

struct Params {
    // Packed words (eight halves) of a row.
    row_words: u32,
    // Rows of this part, and the first one's place in y.
    n_rows: u32,
    row_base: u32,
    // 1: add the bias. 2: add to what y holds (the residual stream).
    flags: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>; // (n_rows, row_words) f16
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (row_words * 2)
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (row_base + n_rows), or anything without flag 1
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // (row_base + n_rows)

override WORKGROUP: u32 = 64;
const ROWS = 8u;

#ifndef subgroup
var<workgroup> partial: array<vec4<f32>, 512>; // (WORKGROUP, 2)
#endif

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
#ifdef subgroup
    a = subgroupAdd(a);
    b = subgroupAdd(b);
#else
    partial[lane * 2u] = a;
    partial[lane * 2u + 1u] = b;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            partial[lane * 2u] += partial[(lane + half) * 2u];
            partial[lane * 2u + 1u] += partial[(lane + half) * 2u + 1u];
        }
    }
    workgroupBarrier();
    a = partial[0];
    b = partial[1];
#endif
    if lane < ROWS && row + lane < params.n_rows {
        var sum = select(b[lane % 4u], a[lane % 4u], lane < 4u);
        let at = params.row_base + row + lane;
        if (params.flags & 1u) != 0u {
            sum += bias[at];
        }
        if (params.flags & 2u) != 0u {
            sum += y[at];
        }
        y[at] = sum;
    }
}
