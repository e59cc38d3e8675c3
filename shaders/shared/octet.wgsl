// Eight consecutive columns of a row, as f32, whatever they are stored as (see weights/packed.rs for the layouts). `word` counts
// the eights of a row.
#import linear

@group(0) @binding(0) var<uniform> params: Params;

struct Octet {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

#ifdef q4
@group(0) @binding(2) var<storage, read> weight: array<u32>; // (n_rows, row_words) eight codes
@group(0) @binding(5) var<storage, read> scales: array<u32>; // (n_rows, scale_words) scale and zero, f16

fn octet(row: u32, word: u32) -> Octet {
    let codes = weight[row * params.row_words + word];
    let scale = unpack2x16float(scales[row * params.scale_words + (word >> (params.group_shift + 2u))]);
    let shifts = vec4<u32>(0u, 4u, 8u, 12u);
    let lo = vec4<f32>(bitcast<vec4<i32>>((vec4<u32>(codes) >> shifts) & vec4<u32>(15u)));
    let hi = vec4<f32>(bitcast<vec4<i32>>((vec4<u32>(codes >> 16u) >> shifts) & vec4<u32>(15u)));
    return Octet(scale.x * (lo - scale.y), scale.x * (hi - scale.y));
}
#else
#ifdef q6
@group(0) @binding(2) var<storage, read> weight: array<u32>; // (n_rows, row_words / 8, 12): 64 low halves, then upper bits
@group(0) @binding(5) var<storage, read> scales: array<u32>; // (n_rows, scale_words) scales of 16 columns each, f16

fn octet(row: u32, word: u32) -> Octet {
    let at = (row * (params.row_words / 8u) + word / 8u) * 12u;
    let codes = weight[at + word % 8u];
    let bits = weight[at + 8u + word % 8u / 2u] >> (word % 2u * 16u);
    let pair = unpack2x16float(scales[row * params.scale_words + word / 4u]);
    let scale = select(pair.x, pair.y, word % 4u >= 2u);
    let shifts = vec4<u32>(0u, 4u, 8u, 12u);
    let pairs = vec4<u32>(0u, 2u, 4u, 6u);
    let low = (vec4<u32>(codes) >> shifts) & vec4<u32>(15u);
    let high = (vec4<u32>(codes >> 16u) >> shifts) & vec4<u32>(15u);
    let lo = low | (((vec4<u32>(bits) >> pairs) & vec4<u32>(3u)) << vec4<u32>(4u));
    let hi = high | (((vec4<u32>(bits >> 8u) >> pairs) & vec4<u32>(3u)) << vec4<u32>(4u));
    return Octet(
        scale * (vec4<f32>(bitcast<vec4<i32>>(lo)) - 32.0),
        scale * (vec4<f32>(bitcast<vec4<i32>>(hi)) - 32.0),
    );
}
#else
#ifdef q8
@group(0) @binding(2) var<storage, read> weight: array<u32>; // (n_rows, row_words * 2) four signed bytes
@group(0) @binding(5) var<storage, read> scales: array<u32>; // (n_rows, scale_words) scales of 32 columns each, f16

fn octet(row: u32, word: u32) -> Octet {
    let at = (row * params.row_words + word) * 2u;
    let pair = unpack2x16float(scales[row * params.scale_words + word / 8u]);
    let scale = select(pair.x, pair.y, word % 8u >= 4u);
    return Octet(scale * vec4<f32>(unpack4xI8(weight[at])), scale * vec4<f32>(unpack4xI8(weight[at + 1u])));
}
#else
#ifdef coop
@group(0) @binding(2) var<storage, read> weight: array<vec4<f16>>; // (n_rows, row_words * 2)

// Matrix units want f16 again: compilers drop a conversion there and back, which loses nothing.
fn octet(row: u32, word: u32) -> Octet {
    let at = (row * params.row_words + word) * 2u;
    return Octet(vec4<f32>(weight[at]), vec4<f32>(weight[at + 1u]));
}
#else
#import packed
#ifdef i64
// Half as many loads where a driver makes them one component at a time (see rows_half).
@group(0) @binding(2) var<storage, read> weight: array<vec2<u64>>; // (n_rows, row_words) f16

fn octet(row: u32, word: u32) -> Octet {
    let pair = weight[row * params.row_words + word];
    let w = vec4<u32>(u32(pair.x), u32(pair.x >> 32u), u32(pair.y), u32(pair.y >> 32u));
    return Octet(unpack_lo(w), unpack_hi(w));
}
#else
@group(0) @binding(2) var<storage, read> weight: array<vec4<u32>>; // (n_rows, row_words) f16

fn octet(row: u32, word: u32) -> Octet {
    let w = weight[row * params.row_words + word];
    return Octet(unpack_lo(w), unpack_hi(w));
}
#endif
#endif
#endif
#endif
#endif
