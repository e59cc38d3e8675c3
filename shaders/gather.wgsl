// y[t][c] = x[t][order[c]]: the input of a matrix whose columns were sorted at load (GPTQ with act-order).

struct Params {
    // Columns; both x and y have as many from one token to the next.
    cols: u32,
}

#import step

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> order: array<u32>; // (cols)
@group(0) @binding(3) var<storage, read> x: array<f32>; // (n_tokens, cols)
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // (n_tokens, cols)

override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x;
    let t = id.y;
    if col < params.cols && t < step.n_tokens {
        y[t * params.cols + col] = x[t * params.cols + order[col]];
    }
}
