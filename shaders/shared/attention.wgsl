// What the attention kernels share: their parameters, and eight elements of a key or a value as f32.
//
// f16: an element of the cache is two bytes. kv8: a signed byte, with one scale a position and head.
#import step

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    // Packed words (eight elements) of a head in q and in the cache.
    head_words: u32,
    max_seq_len: u32,
    // Elements from one token to the next in out.
    out_stride: u32,
    // 1 / sqrt(head_dim).
    scale: f32,
    // Decode: a split has at least this many keys, and a head at most so many splits.
    keys_per_split: u32,
    max_splits: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>; // (n_tokens, n_heads, head_words * 2)

struct Octet {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

#ifdef kv8
@group(0) @binding(3) var<storage, read> k_cache: array<vec2<u32>>; // (n_kv_heads, max_seq_len, head_words) signed bytes
@group(0) @binding(4) var<storage, read> v_cache: array<vec2<u32>>; // (n_kv_heads, max_seq_len, head_words) signed bytes
@group(0) @binding(5) var<storage, read> k_scales: array<f32>; // (n_kv_heads, max_seq_len)
@group(0) @binding(6) var<storage, read> v_scales: array<f32>; // (n_kv_heads, max_seq_len)

fn octet(codes: vec2<u32>) -> Octet {
    return Octet(vec4<f32>(unpack4xI8(codes.x)), vec4<f32>(unpack4xI8(codes.y)));
}

fn key_scale(position: u32) -> f32 {
    return params.scale * k_scales[position];
}

fn value_scale(position: u32) -> f32 {
    return v_scales[position];
}
#else
#import packed
@group(0) @binding(3) var<storage, read> k_cache: array<vec4<u32>>; // (n_kv_heads, max_seq_len, head_words) f16
@group(0) @binding(4) var<storage, read> v_cache: array<vec4<u32>>; // (n_kv_heads, max_seq_len, head_words) f16

fn octet(halves: vec4<u32>) -> Octet {
    return Octet(unpack_lo(halves), unpack_hi(halves));
}

fn key_scale(position: u32) -> f32 {
    return params.scale;
}

fn value_scale(position: u32) -> f32 {
    return 1.0;
}
#endif

fn key(at: u32) -> Octet {
    return octet(k_cache[at]);
}

fn value(at: u32) -> Octet {
    return octet(v_cache[at]);
}

// Below every score; exp(LOWEST - any score) is 0.
const LOWEST = -1.0e30;
