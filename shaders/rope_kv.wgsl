// Rotates q and k by their positions (RoPE, Su et al. 2021, arXiv:2104.09864), and writes k and v into the KV cache as f16.
// One invocation a pair of elements of one head of q, k or v.
//
// kv8: k and v become signed bytes, with the largest magnitude of a token's head over 127 as their scale. So a workgroup takes a
// head: of 64 invocations, or on software Vulkan (cpu) one subgroup, without a barrier.
#import step
#import heads

@group(0) @binding(0) var<uniform> heads: Heads;
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

// Pair `word` of a head of token `t`, as it is projected.
fn projected(t: u32, head: u32, word: u32) -> vec2<f32> {
    let base = t * heads.qkv_stride + head * heads.head_dim;
    if head < heads.n_heads + heads.n_kv_heads && heads.interleaved == 0u {
        return vec2<f32>(qkv[base + word], qkv[base + word + heads.head_dim / 2u]);
    }
    return vec2<f32>(qkv[base + word * 2u], qkv[base + word * 2u + 1u]);
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

fn pair_of(t: u32, head: u32, word: u32) -> vec2<f32> {
    return turned(head, word, step.pos + t, projected(t, head, word));
}

// Elements 4 * i .. of a head; behind the last there are zeros.
fn four_of(t: u32, head: u32, i: u32) -> vec4<f32> {
    let second = min(i * 2u + 1u, heads.head_dim / 2u - 1u);
    let inside = i * 2u + 1u == second;
    return vec4<f32>(pair_of(t, head, i * 2u), select(vec2<f32>(), pair_of(t, head, second), inside));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let t = group.y;
    let n_heads = heads.n_heads;
    let n_kv = heads.n_kv_heads;
    if t >= step.n_tokens {
        return;
    }
    if head < n_heads {
        for (var i = lane; i < heads.head_dim / 2u; i += WORKGROUP) {
            q_out[(t * n_heads + head) * heads.head_stride / 2u + i] = pair_of(t, head, i);
        }
        return;
    }
    let fours = (heads.head_dim + 3u) / 4u;
    var most = 0.0;
    for (var i = lane; i < fours; i += WORKGROUP) {
        let x = abs(four_of(t, head, i));
        most = max(most, max(max(x.x, x.y), max(x.z, x.w)));
    }
    most = largest(most, lane);
    let per_unit = select(0.0, 127.0 / most, most > 0.0);
    let is_key = head < n_heads + n_kv;
    let row = select(head - n_heads - n_kv, head - n_heads, is_key) * heads.max_seq_len + step.pos + t;
    for (var i = lane; i < fours; i += WORKGROUP) {
        let codes = clamp(round(four_of(t, head, i) * per_unit), vec4<f32>(-127.0), vec4<f32>(127.0));
        let packed = pack4xI8(vec4<i32>(codes));
        if is_key {
            k_cache[row * heads.head_stride / 4u + i] = packed;
        } else {
            v_cache[row * heads.head_stride / 4u + i] = packed;
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
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let half = heads.head_dim / 2u;
    let head = id.x / half;
    let word = id.x % half;
    let t = id.y;
    if head >= heads.n_heads + 2u * heads.n_kv_heads || t >= step.n_tokens {
        return;
    }
    store_pair(head, word, step.pos + t, t, projected(t, head, word));
}
#endif
