// h[i][j] += Σ_t x[t][i] x[t][j], in f32: what the inputs of a matrix have in common, for GPTQ. One invocation eight rows by four
// columns of h. Nothing is shared and nothing waits: a load of four columns and two of eight rows serve 32 multiply-adds.
// Tiles that lie wholly below the diagonal are left out: h is symmetric.
#import step

struct Params {
    // This part's first row of h, a multiple of eight, and its rows, too.
    row_base: u32,
    n_rows: u32,
    // Vectors of four columns: of h, and from one token to the next in x.
    col_vecs: u32,
    x_vecs: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (n_tokens, x_vecs)
@group(0) @binding(3) var<storage, read_write> h: array<vec4<f32>>; // (n_rows, col_vecs)

override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x;
    let row = id.y * 8u;
    if col >= params.col_vecs || row >= params.n_rows || col * 4u + 3u < params.row_base + row {
        return;
    }
    let origin = (params.row_base + row) / 4u;
    var s0: vec4<f32>; var s1: vec4<f32>; var s2: vec4<f32>; var s3: vec4<f32>;
    var s4: vec4<f32>; var s5: vec4<f32>; var s6: vec4<f32>; var s7: vec4<f32>;
    for (var t = 0u; t < step.n_tokens; t++) {
        let b = x[t * params.x_vecs + col];
        let lo = x[t * params.x_vecs + origin];
        let hi = x[t * params.x_vecs + origin + 1u];
        s0 += lo.x * b; s1 += lo.y * b; s2 += lo.z * b; s3 += lo.w * b;
        s4 += hi.x * b; s5 += hi.y * b; s6 += hi.z * b; s7 += hi.w * b;
    }
    let at = row * params.col_vecs + col;
    let stride = params.col_vecs;
    h[at] += s0; h[at + stride] += s1; h[at + 2u * stride] += s2; h[at + 3u * stride] += s3;
    h[at + 4u * stride] += s4; h[at + 5u * stride] += s5; h[at + 6u * stride] += s6; h[at + 7u * stride] += s7;
}
