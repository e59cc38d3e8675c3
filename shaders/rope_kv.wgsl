// Rotates q and k by their positions (RoPE, Su et al. 2021, arXiv:2104.09864), and writes k and v into the KV cache as f16.
// One invocation a pair of neighbouring elements of one head of q, k or v.
//
// cos and sin come from a table computed on the host: WGSL promises no precision for large angles. Half-split (Hugging Face)
// pairs element i with i + head_dim / 2; interleaved (Meta, GGUF) pairs 2i with 2i + 1.
#import step

struct Params {
    n_heads: u32,
    n_kv_heads: u32,
    head_dim: u32,
    // head_dim rounded up to eight: the stride of a head in q_out and in the cache.
    head_stride: u32,
    max_seq_len: u32,
    // Elements from one token to the next in qkv.
    qkv_stride: u32,
    // 0 half-split, 1 interleaved.
    interleaved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> qkv: array<f32>; // (n_tokens, qkv_stride): q heads, k heads, v heads
@group(0) @binding(3) var<storage, read> rope: array<vec2<f32>>; // (max_seq_len, head_dim / 2) cos, sin
@group(0) @binding(4) var<storage, read_write> q_out: array<vec2<f32>>; // (n_tokens, n_heads, head_stride / 2)
@group(0) @binding(5) var<storage, read_write> k_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 2) f16
@group(0) @binding(6) var<storage, read_write> v_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 2) f16

override WORKGROUP: u32 = 64;

// WGSL leaves open what pack2x16float makes of a value beyond f16.
fn pack(pair: vec2<f32>) -> u32 {
    return pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}

// Element `i` of the head that starts at `base`, rotated.
fn rotated(base: u32, i: u32, angles: u32) -> f32 {
    let half = params.head_dim / 2u;
    var pair = i % half;
    var first = pair;
    var second = pair + half;
    if params.interleaved != 0u {
        pair = i / 2u;
        first = pair * 2u;
        second = first + 1u;
    }
    let turn = rope[angles + pair];
    let a = qkv[base + first];
    let b = qkv[base + second];
    return select(b * turn.x + a * turn.y, a * turn.x - b * turn.y, i == first);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let half = params.head_dim / 2u;
    let head = id.x / half;
    let word = id.x % half;
    let t = id.y;
    let n_heads = params.n_heads;
    let n_kv = params.n_kv_heads;
    if head >= n_heads + 2u * n_kv || t >= step.n_tokens {
        return;
    }
    let base = t * params.qkv_stride + head * params.head_dim;
    let pos = step.pos + t;
    let angles = pos * half;
    let words = params.head_stride / 2u;
    var pair = vec2<f32>(qkv[base + word * 2u], qkv[base + word * 2u + 1u]);
    if head < n_heads + n_kv {
        pair = vec2<f32>(rotated(base, word * 2u, angles), rotated(base, word * 2u + 1u, angles));
    }
    if head < n_heads {
        q_out[(t * n_heads + head) * words + word] = pair;
    } else if head < n_heads + n_kv {
        k_cache[((head - n_heads) * params.max_seq_len + pos) * words + word] = pack(pair);
    } else {
        v_cache[((head - n_heads - n_kv) * params.max_seq_len + pos) * words + word] = pack(pair);
    }
}
