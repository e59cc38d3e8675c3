// Causal attention of each query against the f16 KV cache: out = softmax(q k^T / sqrt(head_dim)) v, in f32, with the running
// maximum and sum of online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867). Grouped queries (GQA): n_heads / n_kv_heads
// query heads read one head of the cache.
//
// base: a workgroup of 64 a (query, head). A tile of 64 keys at a time: each invocation scores one key, then each invocation
// adds up four elements of the output.
// subgroup: the workgroup is exactly one subgroup. Each invocation walks its own keys with its own maximum, sum and output;
// they meet once, at the end. No barrier.
#import packed
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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>; // (n_tokens, n_heads, head_words * 2)
@group(0) @binding(3) var<storage, read> k_cache: array<vec4<u32>>; // (n_kv_heads, max_seq_len, head_words) f16
@group(0) @binding(4) var<storage, read> v_cache: array<vec4<u32>>; // (n_kv_heads, max_seq_len, head_words) f16
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // (n_tokens, out_stride)

// Below every score; exp(LOWEST - anything) is 0.
const LOWEST = -3.0e38;

#ifdef subgroup
override WORKGROUP: u32 = 8;
// head_dim <= 256.
var<private> acc: array<vec4<f32>, 64>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let t = group.y;
    let words = params.head_words;
    let kv_head = head / (params.n_heads / params.n_kv_heads);
    let cache = kv_head * params.max_seq_len * words;
    let query = (t * params.n_heads + head) * words * 2u;
    let n_keys = step.pos + t + 1u;
    for (var i = 0u; i < words * 2u; i++) {
        acc[i] = vec4<f32>();
    }
    var highest = LOWEST;
    var sum = 0.0;
    for (var key = lane; key < n_keys; key += WORKGROUP) {
        let at = cache + key * words;
        var score = 0.0;
        for (var i = 0u; i < words; i++) {
            let k = k_cache[at + i];
            score += dot(unpack_lo(k), q[query + i * 2u]) + dot(unpack_hi(k), q[query + i * 2u + 1u]);
        }
        score *= params.scale;
        let top = max(highest, score);
        let keep = exp(highest - top);
        let p = exp(score - top);
        highest = top;
        sum = sum * keep + p;
        for (var i = 0u; i < words; i++) {
            let v = v_cache[at + i];
            acc[i * 2u] = acc[i * 2u] * keep + p * unpack_lo(v);
            acc[i * 2u + 1u] = acc[i * 2u + 1u] * keep + p * unpack_hi(v);
        }
    }
    // Invocations without a key have highest = LOWEST and weigh nothing.
    let keep = exp(highest - subgroupMax(highest));
    let scale = keep / subgroupAdd(sum * keep);
    let to = t * params.out_stride + head * params.head_dim;
    for (var i = 0u; i < words * 2u; i++) {
        let v = subgroupAdd(acc[i] * scale);
        if lane < 4u && i * 4u + lane < params.head_dim {
            out[to + i * 4u + lane] = v[lane];
        }
    }
}
#else
override WORKGROUP: u32 = 64;

var<workgroup> q_tile: array<vec4<f32>, 64>; // head_dim <= 256
var<workgroup> scores: array<f32, 64>;
var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let t = group.y;
    let words = params.head_words;
    let kv_head = head / (params.n_heads / params.n_kv_heads);
    let cache = kv_head * params.max_seq_len * words;
    let query = (t * params.n_heads + head) * words * 2u;
    let n_keys = step.pos + t + 1u;
    if lane < words * 2u {
        q_tile[lane] = q[query + lane] * params.scale;
    }
    workgroupBarrier();
    var highest = LOWEST;
    var sum = 0.0;
    var acc = vec4<f32>(); // elements 4 * lane ..
    for (var first = 0u; first < n_keys; first += WORKGROUP) {
        var score = LOWEST;
        if first + lane < n_keys {
            let at = cache + (first + lane) * words;
            score = 0.0;
            for (var i = 0u; i < words; i++) {
                let k = k_cache[at + i];
                score += dot(unpack_lo(k), q_tile[i * 2u]) + dot(unpack_hi(k), q_tile[i * 2u + 1u]);
            }
        }
        partial[lane] = score;
        for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if lane < half {
                partial[lane] = max(partial[lane], partial[lane + half]);
            }
        }
        workgroupBarrier();
        let top = max(highest, partial[0]);
        let keep = exp(highest - top);
        let p = select(0.0, exp(score - top), first + lane < n_keys);
        highest = top;
        scores[lane] = p;
        workgroupBarrier();
        sum *= keep;
        acc *= keep;
        let n = min(WORKGROUP, n_keys - first);
        for (var j = 0u; j < n; j++) {
            let weight = scores[j];
            sum += weight;
            if lane < words * 2u {
                let v = v_cache[cache + (first + j) * words + lane / 2u];
                acc += weight * select(unpack_hi(v), unpack_lo(v), lane % 2u == 0u);
            }
        }
        workgroupBarrier();
    }
    let to = t * params.out_stride + head * params.head_dim;
    acc /= sum;
    for (var i = 0u; i < 4u; i++) {
        if lane * 4u + i < params.head_dim {
            out[to + lane * 4u + i] = acc[i];
        }
    }
}
#endif
