// x[t] = table[tokens[t]], widened to f32. One invocation a packed word of eight columns.
//
// A table larger than a binding is split by rows: each part writes only the tokens whose rows it holds.
#import packed
#import step

struct Params {
    // Packed words (eight halves) of a row.
    row_words: u32,
    // First row of this part, and how many it holds.
    row_base: u32,
    n_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> tokens: array<u32>; // (n_tokens)
@group(0) @binding(3) var<storage, read> table: array<vec4<u32>>; // (n_rows, row_words) f16
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>; // (n_tokens, row_words * 2)

override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let word = id.x;
    let t = id.y;
    if word >= params.row_words || t >= step.n_tokens {
        return;
    }
    let row = tokens[t] - params.row_base; // wraps for rows before this part, and is then too large
    if row >= params.n_rows {
        return;
    }
    let w = table[row * params.row_words + word];
    let at = (t * params.row_words + word) * 2u;
    x[at] = unpack_lo(w);
    x[at + 1u] = unpack_hi(w);
}
