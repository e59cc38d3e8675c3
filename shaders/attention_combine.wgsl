// Puts the splits of attention_decode together: out = Σ exp(max_s - max) acc_s / Σ exp(max_s - max) sum_s. A workgroup a head, an
// invocation a column of four elements.
#import splits
#import step

struct Params {
    n_heads: u32,
    head_dim: u32,
    // Packed words (eight elements) of a head.
    head_words: u32,
    // As attention_decode has them.
    keys_per_split: u32,
    max_splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> partial: array<vec4<f32>>; // (n_heads, max_splits, 1 + head_words * 2)
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // (n_heads, head_dim)

override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let count = splits(step.pos + 1u, params.keys_per_split, params.max_splits).count;
    let stride = params.head_words * 2u + 1u;
    let first = group.x * params.max_splits * stride;
    var top = partial[first].x;
    for (var split = 1u; split < count; split++) {
        top = max(top, partial[first + split * stride].x);
    }
    for (var col = lane; col * 4u < params.head_dim; col += WORKGROUP) {
        var sum = 0.0;
        var mixed = vec4<f32>();
        for (var split = 0u; split < count; split++) {
            let at = first + split * stride;
            let weight = exp(partial[at].x - top);
            sum += weight * partial[at].y;
            mixed += weight * partial[at + 1u + col];
        }
        mixed /= sum;
        for (var i = 0u; i < 4u; i++) {
            if col * 4u + i < params.head_dim {
                out[group.x * params.head_dim + col * 4u + i] = mixed[i];
            }
        }
    }
}
