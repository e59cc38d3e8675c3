// y[t][r] = W[r] · x[t] (+ bias[r]) (+ y[t][r]) for many tokens: weights as they are stored, f32 everything else.
//
// base: through workgroup memory. cpu: without it, a subgroup a workgroup, for software Vulkan. coop8, coop16: on matrix units,
// with x in f16 (see narrow.wgsl). Each has a file in shared/.
#ifdef coop
enable f16;
enable wgpu_cooperative_matrix;
#endif
#import octet
#import step

@group(0) @binding(1) var<uniform> step: Step;
#ifdef coop
@group(0) @binding(3) var<storage, read> half_x: array<vec4<f16>>; // (n_tokens, row_words * 2)
@group(0) @binding(6) var<storage, read> x_scale: array<f32>; // (n_tokens)
#else
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (n_tokens, row_words * 2)
#endif
@group(0) @binding(4) var<storage, read> bias: array<f32>; // (row_base + n_rows), or anything without flag 1
@group(0) @binding(7) var<storage, read_write> y: array<f32>; // (n_tokens, y_stride)

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
#import matmul_cpu
#else
#ifdef coop
#import matmul_coop
#else
#import matmul_tile
#endif
#endif
