// Rotates q and k by their positions (RoPE, Su et al. 2021, arXiv:2104.09864), and writes k and v into the KV cache as f16.
// One invocation a pair of elements of one head of q, k or v.
#import step
#import heads

@group(0) @binding(0) var<uniform> heads: Heads;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> qkv: array<f32>; // (n_tokens, qkv_stride): q heads, k heads, v heads
@group(0) @binding(3) var<storage, read> rope: array<vec2<f32>>; // (max_seq_len, head_dim / 2) cos, sin
@group(0) @binding(4) var<storage, read_write> q_out: array<vec2<f32>>; // (n_tokens, n_heads, head_stride / 2)
@group(0) @binding(5) var<storage, read_write> k_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 2) f16
@group(0) @binding(6) var<storage, read_write> v_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 2) f16

override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let half = heads.head_dim / 2u;
    let head = id.x / half;
    let word = id.x % half;
    let t = id.y;
    if head >= heads.n_heads + 2u * heads.n_kv_heads || t >= step.n_tokens {
        return;
    }
    let base = t * heads.qkv_stride + head * heads.head_dim;
    var first = base + word * 2u;
    var second = first + 1u;
    if head < heads.n_heads + heads.n_kv_heads && heads.interleaved == 0u {
        first = base + word;
        second = first + half;
    }
    store_pair(head, word, step.pos + t, t, vec2<f32>(qkv[first], qkv[second]));
}
