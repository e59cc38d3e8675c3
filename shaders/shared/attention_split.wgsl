// The split that a workgroup of `attention_decode` takes, and where its result goes.
#import attention
#import splits

@group(0) @binding(7) var<storage, read_write> out: array<f32>; // (n_heads, head_dim); with one split
@group(0) @binding(8) var<storage, read_write> partial: array<vec4<f32>>; // (n_heads, max_splits, 1 + head_words * 2); with more

struct Split {
    index: u32,
    count: u32,
    first: u32,
    // Behind the last key.
    end: u32,
}

// Empty for a workgroup that has nothing to do.
fn split_of(index: u32) -> Split {
    let n_keys = step.pos + 1u;
    let s = splits(n_keys, params.keys_per_split, params.max_splits);
    return Split(index, s.count, index * s.keys, min((index + 1u) * s.keys, n_keys));
}

// Column `col` (four elements) of the result: the maximum and sum of the weights, and their sum over the values.
fn write(split: Split, head: u32, col: u32, top: f32, sum: f32, mixed: vec4<f32>) {
    if split.count == 1u {
        let value = mixed / sum;
        for (var i = 0u; i < 4u; i++) {
            if col * 4u + i < params.head_dim {
                out[head * params.head_dim + col * 4u + i] = value[i];
            }
        }
        return;
    }
    let to = (head * params.max_splits + split.index) * (params.head_words * 2u + 1u);
    partial[to + 1u + col] = mixed;
    if col == 0u {
        partial[to] = vec4<f32>(top, sum, 0.0, 0.0);
    }
}
