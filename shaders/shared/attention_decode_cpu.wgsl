// `attention_decode` for software Vulkan: a workgroup is one subgroup and takes one query head; see attention_decode.wgsl.
#import attention_split

override WORKGROUP: u32 = 8;

// Eight elements of the output.
var<private> lo: vec4<f32>;
var<private> hi: vec4<f32>;

fn add_value(at: u32, p: f32) {
    let v = value(at);
    lo += p * v.lo;
    hi += p * v.hi;
}

// The weights of WORKGROUP keys, one an invocation; keys past `last` weigh 0.
fn add_values(base: u32, key: u32, last: u32, p: f32) {
    let words = params.head_words;
    add_value(base + min(key, last) * words, subgroupBroadcast(p, 0u));
    add_value(base + min(key + 1u, last) * words, subgroupBroadcast(p, 1u));
    add_value(base + min(key + 2u, last) * words, subgroupBroadcast(p, 2u));
    add_value(base + min(key + 3u, last) * words, subgroupBroadcast(p, 3u));
    if WORKGROUP == 8u {
        add_value(base + min(key + 4u, last) * words, subgroupBroadcast(p, 4u));
        add_value(base + min(key + 5u, last) * words, subgroupBroadcast(p, 5u));
        add_value(base + min(key + 6u, last) * words, subgroupBroadcast(p, 6u));
        add_value(base + min(key + 7u, last) * words, subgroupBroadcast(p, 7u));
    }
}

var<private> score_a: f32;
var<private> score_b: f32;

// Word `i` of the keys at words `a` and `b`, against that of the query.
fn add_word(a: u32, b: u32, i: u32, q_lo: vec4<f32>, q_hi: vec4<f32>) {
    let word = min(i, params.head_words - 1u);
    let k = key(a + word);
    let l = key(b + word);
    score_a += dot(k.lo, q_lo) + dot(k.hi, q_hi);
    score_b += dot(l.lo, q_lo) + dot(l.hi, q_hi);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let head = group.x;
    let split = split_of(group.y);
    if split.first >= split.end {
        return;
    }
    let words = params.head_words;
    let cache = head / (params.n_heads / params.n_kv_heads) * params.max_seq_len;
    let query = head * words * 2u;
    let last = split.end - 1u;
    let word = group.z * WORKGROUP + lane;
    let values = cache * words + min(word, words - 1u);
    lo = vec4<f32>();
    hi = vec4<f32>();
    var top = LOWEST;
    var sum = 0.0;
    for (var first = split.first; first <= last; first += WORKGROUP * 2u) {
        let key_a = first + lane;
        let key_b = key_a + WORKGROUP;
        let at_a = cache + min(key_a, last);
        let at_b = cache + min(key_b, last);
        score_a = 0.0;
        score_b = 0.0;
        for (var i = 0u; i < words; i += WORKGROUP) {
            // Each invocation has one word of the query; behind the last there are zeros.
            let mine = query + min(i + lane, words - 1u) * 2u;
            let inside = i + lane < words;
            let q_lo = select(vec4<f32>(), q[mine], inside);
            let q_hi = select(vec4<f32>(), q[mine + 1u], inside);
            let a = at_a * words;
            let b = at_b * words;
            add_word(a, b, i + 0u, subgroupBroadcast(q_lo, 0u), subgroupBroadcast(q_hi, 0u));
            add_word(a, b, i + 1u, subgroupBroadcast(q_lo, 1u), subgroupBroadcast(q_hi, 1u));
            add_word(a, b, i + 2u, subgroupBroadcast(q_lo, 2u), subgroupBroadcast(q_hi, 2u));
            add_word(a, b, i + 3u, subgroupBroadcast(q_lo, 3u), subgroupBroadcast(q_hi, 3u));
            if WORKGROUP == 8u {
                add_word(a, b, i + 4u, subgroupBroadcast(q_lo, 4u), subgroupBroadcast(q_hi, 4u));
                add_word(a, b, i + 5u, subgroupBroadcast(q_lo, 5u), subgroupBroadcast(q_hi, 5u));
                add_word(a, b, i + 6u, subgroupBroadcast(q_lo, 6u), subgroupBroadcast(q_hi, 6u));
                add_word(a, b, i + 7u, subgroupBroadcast(q_lo, 7u), subgroupBroadcast(q_hi, 7u));
            }
        }
        var p = score_a;
        var s = score_b;
        p = select(LOWEST, p * key_scale(at_a), key_a <= last);
        s = select(LOWEST, s * key_scale(at_b), key_b <= last);
        let peak = max(top, subgroupMax(max(p, s)));
        let keep = exp(top - peak);
        top = peak;
        p = exp(p - peak);
        s = exp(s - peak);
        sum = sum * keep + p + s;
        lo *= keep;
        hi *= keep;
        add_values(values, first, last, p * value_scale(at_a));
        add_values(values, first + WORKGROUP, last, s * value_scale(at_b));
    }
    sum = subgroupAdd(sum);
    if word < words {
        write(split, head, word * 2u, top, sum, lo);
        write(split, head, word * 2u + 1u, top, sum, hi);
    }
}
