// Rotates q and k by their positions (RoPE, Su et al. 2021, arXiv:2104.09864), and writes k and v into the KV cache as f16.
// One invocation a pair of elements of one head of q, k or v.
//
// kv8: k and v become signed bytes, with the largest magnitude of a token's head over 127 as their scale. So a workgroup takes a
// head: of 64 invocations, or on software Vulkan (cpu) one subgroup, without a barrier.
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
#ifdef kv8
@group(0) @binding(5) var<storage, read_write> k_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 4) signed bytes
@group(0) @binding(6) var<storage, read_write> v_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 4) signed bytes
@group(0) @binding(7) var<storage, read_write> k_scales: array<f32>; // (n_kv_heads, max_seq_len)
@group(0) @binding(8) var<storage, read_write> v_scales: array<f32>; // (n_kv_heads, max_seq_len)
#else
@group(0) @binding(5) var<storage, read_write> k_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 2) f16
@group(0) @binding(6) var<storage, read_write> v_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 2) f16
#endif

override WORKGROUP: u32 = 64;

// Pair `word` of a head of token `t`, rotated unless it is a value's.
fn pair_of(t: u32, head: u32, word: u32) -> vec2<f32> {
    let half = params.head_dim / 2u;
    let base = t * params.qkv_stride + head * params.head_dim;
    var first = base + word * 2u;
    var second = first + 1u;
    var turn = vec2<f32>(1.0, 0.0);
    if head < params.n_heads + params.n_kv_heads {
        turn = rope[(step.pos + t) * half + word];
        if params.interleaved == 0u {
            first = base + word;
            second = first + half;
        }
    }
    let a = qkv[first];
    let b = qkv[second];
    return vec2<f32>(a * turn.x - b * turn.y, b * turn.x + a * turn.y);
}

#ifdef kv8
#ifdef subgroup
fn largest(value: f32, lane: u32) -> f32 {
    return subgroupMax(value);
}
#else
var<workgroup> values: array<f32, 64>; // (WORKGROUP)

fn largest(value: f32, lane: u32) -> f32 {
    values[lane] = value;
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            values[lane] = max(values[lane], values[lane + half]);
        }
    }
    workgroupBarrier();
    return values[0];
}
#endif

// Elements 4 * i .. of a head; behind the last there are zeros.
fn four_of(t: u32, head: u32, i: u32) -> vec4<f32> {
    let second = min(i * 2u + 1u, params.head_dim / 2u - 1u);
    let inside = i * 2u + 1u == second;
    return vec4<f32>(pair_of(t, head, i * 2u), select(vec2<f32>(), pair_of(t, head, second), inside));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let t = group.y;
    let n_heads = params.n_heads;
    let n_kv = params.n_kv_heads;
    if t >= step.n_tokens {
        return;
    }
    if head < n_heads {
        for (var i = lane; i < params.head_dim / 2u; i += WORKGROUP) {
            q_out[(t * n_heads + head) * params.head_stride / 2u + i] = pair_of(t, head, i);
        }
        return;
    }
    let fours = (params.head_dim + 3u) / 4u;
    var most = 0.0;
    for (var i = lane; i < fours; i += WORKGROUP) {
        let x = abs(four_of(t, head, i));
        most = max(most, max(max(x.x, x.y), max(x.z, x.w)));
    }
    most = largest(most, lane);
    let per_unit = select(0.0, 127.0 / most, most > 0.0);
    let is_key = head < n_heads + n_kv;
    let row = select(head - n_heads - n_kv, head - n_heads, is_key) * params.max_seq_len + step.pos + t;
    for (var i = lane; i < fours; i += WORKGROUP) {
        let codes = clamp(round(four_of(t, head, i) * per_unit), vec4<f32>(-127.0), vec4<f32>(127.0));
        let packed = pack4xI8(vec4<i32>(codes));
        if is_key {
            k_cache[row * params.head_stride / 4u + i] = packed;
        } else {
            v_cache[row * params.head_stride / 4u + i] = packed;
        }
    }
    if lane == 0u {
        if is_key {
            k_scales[row] = most / 127.0;
        } else {
            v_scales[row] = most / 127.0;
        }
    }
}
#else
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
    let pos = step.pos + t;
    let words = params.head_stride / 2u;
    let pair = pair_of(t, head, word);
    if head < n_heads {
        q_out[(t * n_heads + head) * words + word] = pair;
    } else if head < n_heads + n_kv {
        k_cache[((head - n_heads) * params.max_seq_len + pos) * words + word] = pack(pair);
    } else {
        v_cache[((head - n_heads - n_kv) * params.max_seq_len + pos) * words + word] = pack(pair);
    }
}
#endif
