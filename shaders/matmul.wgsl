// y[t][r] = W[r] · x[t] (+ bias[r]) (+ y[t][r]) for many tokens: weights as they are stored, f32 everything else.
//
// base: through workgroup memory. cpu: without it, a subgroup a workgroup, for software Vulkan. coop8, coop16: on matrix units,
// with x in f16 (see narrow.wgsl). Each has a file in shared/.
#ifdef coop
enable f16;
enable wgpu_cooperative_matrix;
#endif
#import product

#ifdef coop
@group(0) @binding(3) var<storage, read> half_x: array<vec4<f16>>; // (n_tokens, row_words * 2)
@group(0) @binding(6) var<storage, read> x_scale: array<f32>; // (n_tokens)
#else
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>; // (n_tokens, row_words * 2)
#endif

#ifdef cpu
#import matmul_cpu
#else
#ifdef coop
#import matmul_coop
#else
#import matmul_tile
#endif
#endif
