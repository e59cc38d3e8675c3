// Rotates q and k by their positions (RoPE, Su et al. 2021, arXiv:2104.09864), and writes k and v into the KV cache as f16.
// One invocation a pair of elements of one head of q, k or v.
//
// cos and sin come from a table computed on the host: WGSL promises no precision for large angles. Half-split (Hugging Face)
// pairs element i with i + head_dim / 2; interleaved (Meta, GGUF) pairs 2i with 2i + 1. Either way the two of a pair become
// neighbours in q_out and in the cache: a score is the same sum in any order that q and k share, and a pair is then one word.
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
    let words = params.head_stride / 2u;
    var first = base + word * 2u;
    var second = first + 1u;
    var turn = vec2<f32>(1.0, 0.0);
    if head < n_heads + n_kv {
        turn = rope[pos * half + word];
        if params.interleaved == 0u {
            first = base + word;
            second = first + half;
        }
    }
    let a = qkv[first];
    let b = qkv[second];
    let pair = vec2<f32>(a * turn.x - b * turn.y, b * turn.x + a * turn.y);
    if head < n_heads {
        q_out[(t * n_heads + head) * words + word] = pair;
    } else if head < n_heads + n_kv {
        k_cache[((head - n_heads) * params.max_seq_len + pos) * words + word] = pack(pair);
    } else {
        v_cache[((head - n_heads - n_kv) * params.max_seq_len + pos) * words + word] = pack(pair);
    }
}
