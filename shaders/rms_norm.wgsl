// RMSNorm: y = x * rsqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019, arXiv:1910.07467; in LLaMA the weight has no bias).
// One workgroup a row. The mean is over `dim` columns; rows are padded with zeros to `row_vecs` * 4.
//
// base: sums through workgroup memory. subgroup: the workgroup is exactly one subgroup, so no barrier is needed (on software
// Vulkan one row by 512 invocations with barriers takes 1.1 ms).
#import step

struct Params {
    // Columns of a row, and its vec4s with padding.
    dim: u32,
    row_vecs: u32,
    eps: f32,
    // 1: only the last row, written to row 0 (before the head, which needs no other).
    last_only: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (n_tokens, row_vecs)
@group(0) @binding(3) var<storage, read> weight: array<vec4<f32>>; // (row_vecs)
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // (n_tokens, row_vecs)

override WORKGROUP: u32 = 256;

#ifndef subgroup
var<workgroup> partial: array<f32, 256>;
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = select(group.x, step.n_tokens - 1u, params.last_only != 0u);
    let base = row * params.row_vecs;
    let to = group.x * params.row_vecs;
    var sum = 0.0;
    for (var i = lane; i < params.row_vecs; i += WORKGROUP) {
        let v = x[base + i];
        sum += dot(v, v);
    }
#ifdef subgroup
    sum = subgroupAdd(sum);
#else
    partial[lane] = sum;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            partial[lane] += partial[lane + half];
        }
    }
    workgroupBarrier();
    sum = partial[0];
#endif
    let scale = inverseSqrt(sum / f32(params.dim) + params.eps);
    for (var i = lane; i < params.row_vecs; i += WORKGROUP) {
        y[to + i] = x[base + i] * scale * weight[i];
    }
}
