// h = silu(gate) * up (SwiGLU, Shazeer 2020, arXiv:2002.05202), in f32: the product of a real LLaMA layer reaches 66,977, above
// f16's largest number. One invocation an element.
#import step

struct Params {
    hidden_dim: u32,
    // Elements from one token to the next in gate_up and in h.
    in_stride: u32,
    out_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> gate_up: array<f32>; // (n_tokens, in_stride): gate, then up
@group(0) @binding(3) var<storage, read_write> h: array<f32>; // (n_tokens, out_stride)

override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let t = id.y;
    if i >= params.hidden_dim || t >= step.n_tokens {
        return;
    }
    let gate = gate_up[t * params.in_stride + i];
    let up = gate_up[t * params.in_stride + params.hidden_dim + i];
    // Clamped, so that no infinity arises, of which WGSL promises nothing.
    h[t * params.out_stride + i] = gate / (1.0 + exp(min(-gate, 80.0))) * up;
}
