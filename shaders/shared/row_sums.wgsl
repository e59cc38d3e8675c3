// The second half of a matrix-vector product: the partial sums of a workgroup's eight rows meet, and go to y.
//
// base: in workgroup memory. subgroup: the workgroup is exactly one subgroup, no barrier.
#import linear

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>; // (row_base + n_rows), or anything without flag 1
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // (row_base + n_rows)

override WORKGROUP: u32 = 64;
const ROWS = 8u;

#ifndef subgroup
var<workgroup> partial: array<vec4<f32>, 512>; // (WORKGROUP, 2)
#endif

// `a` and `b`: this invocation's part of rows `row..row + 4` and `row + 4..row + 8`.
fn write_rows(row: u32, lane: u32, a: vec4<f32>, b: vec4<f32>) {
#ifdef subgroup
    let lo = subgroupAdd(a);
    let hi = subgroupAdd(b);
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
    let lo = partial[0];
    let hi = partial[1];
#endif
    if lane < ROWS && row + lane < params.n_rows {
        var sum = select(hi[lane % 4u], lo[lane % 4u], lane < 4u);
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
