// `attention` for software Vulkan: a workgroup is one subgroup and takes 8 rows; see attention.wgsl.
#import attention_rows

override WORKGROUP: u32 = 8;
const ROWS = 8u;

// Eight elements of the output a row.
var<private> a0: vec4<f32>; var<private> a1: vec4<f32>; var<private> a2: vec4<f32>; var<private> a3: vec4<f32>;
var<private> a4: vec4<f32>; var<private> a5: vec4<f32>; var<private> a6: vec4<f32>; var<private> a7: vec4<f32>;
var<private> b0: vec4<f32>; var<private> b1: vec4<f32>; var<private> b2: vec4<f32>; var<private> b3: vec4<f32>;
var<private> b4: vec4<f32>; var<private> b5: vec4<f32>; var<private> b6: vec4<f32>; var<private> b7: vec4<f32>;

fn add_value(at: u32, lo: vec4<f32>, hi: vec4<f32>) {
    let v = value(at);
    a0 += lo.x * v.lo; b0 += lo.x * v.hi; a1 += lo.y * v.lo; b1 += lo.y * v.hi;
    a2 += lo.z * v.lo; b2 += lo.z * v.hi; a3 += lo.w * v.lo; b3 += lo.w * v.hi;
    a4 += hi.x * v.lo; b4 += hi.x * v.hi; a5 += hi.y * v.lo; b5 += hi.y * v.hi;
    a6 += hi.z * v.lo; b6 += hi.z * v.hi; a7 += hi.w * v.lo; b7 += hi.w * v.hi;
}

// The weights of WORKGROUP keys in rows 0..4 and 4..8, one key an invocation; keys past `last` weigh 0.
fn add_values(base: u32, key: u32, last: u32, lo: vec4<f32>, hi: vec4<f32>) {
    let words = params.head_words;
    add_value(base + min(key, last) * words, subgroupBroadcast(lo, 0u), subgroupBroadcast(hi, 0u));
    add_value(base + min(key + 1u, last) * words, subgroupBroadcast(lo, 1u), subgroupBroadcast(hi, 1u));
    add_value(base + min(key + 2u, last) * words, subgroupBroadcast(lo, 2u), subgroupBroadcast(hi, 2u));
    add_value(base + min(key + 3u, last) * words, subgroupBroadcast(lo, 3u), subgroupBroadcast(hi, 3u));
    if WORKGROUP == 8u {
        add_value(base + min(key + 4u, last) * words, subgroupBroadcast(lo, 4u), subgroupBroadcast(hi, 4u));
        add_value(base + min(key + 5u, last) * words, subgroupBroadcast(lo, 5u), subgroupBroadcast(hi, 5u));
        add_value(base + min(key + 6u, last) * words, subgroupBroadcast(lo, 6u), subgroupBroadcast(hi, 6u));
        add_value(base + min(key + 7u, last) * words, subgroupBroadcast(lo, 7u), subgroupBroadcast(hi, 7u));
    }
}

// The maximum over the subgroup; cheaper here than subgroupMax, which software drivers run as a loop.
fn highest(v: vec4<f32>) -> vec4<f32> {
    var top = max(subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u));
    top = max(top, max(subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u)));
    if WORKGROUP == 8u {
        top = max(top, max(subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u)));
        top = max(top, max(subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u)));
    }
    return top;
}

fn store(row: u32, kv_head: u32, word: u32, lo: vec4<f32>, hi: vec4<f32>) {
    if row >= n_rows() || word >= params.head_words {
        return;
    }
    let r = row_of(row, kv_head);
    let to = r.token * params.out_stride + r.head * params.head_dim;
    for (var i = 0u; i < 4u; i++) {
        if word * 8u + i < params.head_dim {
            out[to + word * 8u + i] = lo[i];
        }
        if word * 8u + 4u + i < params.head_dim {
            out[to + word * 8u + 4u + i] = hi[i];
        }
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first_row = group.x * ROWS;
    let kv_head = group.y;
    let words = params.head_words;
    let cache = kv_head * params.max_seq_len;
    let r0 = row_of(first_row, kv_head); let r1 = row_of(first_row + 1u, kv_head);
    let r2 = row_of(first_row + 2u, kv_head); let r3 = row_of(first_row + 3u, kv_head);
    let r4 = row_of(first_row + 4u, kv_head); let r5 = row_of(first_row + 5u, kv_head);
    let r6 = row_of(first_row + 6u, kv_head); let r7 = row_of(first_row + 7u, kv_head);
    let end_lo = vec4<u32>(n_keys(r0), n_keys(r1), n_keys(r2), n_keys(r3));
    let end_hi = vec4<u32>(n_keys(r4), n_keys(r5), n_keys(r6), n_keys(r7));
    let last = end_hi.w - 1u;
    // Invocation l holds the query of row l; of a subgroup of 4 (SwiftShader), of row l + 4 too.
    let query_a = query(row_of(first_row + lane, kv_head));
    let query_b = query(row_of(first_row + lane + 4u, kv_head));
    let word = group.z * WORKGROUP + lane;
    let values = cache * words + min(word, words - 1u);
    var top_lo = vec4<f32>(LOWEST); var top_hi = vec4<f32>(LOWEST);
    var sum_lo = vec4<f32>(); var sum_hi = vec4<f32>();
    a0 = vec4<f32>(); a1 = vec4<f32>(); a2 = vec4<f32>(); a3 = vec4<f32>();
    a4 = vec4<f32>(); a5 = vec4<f32>(); a6 = vec4<f32>(); a7 = vec4<f32>();
    b0 = vec4<f32>(); b1 = vec4<f32>(); b2 = vec4<f32>(); b3 = vec4<f32>();
    b4 = vec4<f32>(); b5 = vec4<f32>(); b6 = vec4<f32>(); b7 = vec4<f32>();
    for (var first = 0u; first <= last; first += WORKGROUP * 2u) {
        let key_a = first + lane;
        let key_b = key_a + WORKGROUP;
        let at_a = cache + min(key_a, last);
        let at_b = cache + min(key_b, last);
        var p_lo = vec4<f32>(); var p_hi = vec4<f32>(); // key_a
        var s_lo = vec4<f32>(); var s_hi = vec4<f32>(); // key_b
        for (var i = 0u; i < words; i++) {
            let k = key(at_a * words + i);
            let l = key(at_b * words + i);
            let x_lo = q[query_a + i * 2u];
            let x_hi = q[query_a + i * 2u + 1u];
            var lo: vec4<f32>; var hi: vec4<f32>;
            lo = subgroupBroadcast(x_lo, 0u); hi = subgroupBroadcast(x_hi, 0u);
            p_lo.x += dot(k.lo, lo) + dot(k.hi, hi); s_lo.x += dot(l.lo, lo) + dot(l.hi, hi);
            lo = subgroupBroadcast(x_lo, 1u); hi = subgroupBroadcast(x_hi, 1u);
            p_lo.y += dot(k.lo, lo) + dot(k.hi, hi); s_lo.y += dot(l.lo, lo) + dot(l.hi, hi);
            lo = subgroupBroadcast(x_lo, 2u); hi = subgroupBroadcast(x_hi, 2u);
            p_lo.z += dot(k.lo, lo) + dot(k.hi, hi); s_lo.z += dot(l.lo, lo) + dot(l.hi, hi);
            lo = subgroupBroadcast(x_lo, 3u); hi = subgroupBroadcast(x_hi, 3u);
            p_lo.w += dot(k.lo, lo) + dot(k.hi, hi); s_lo.w += dot(l.lo, lo) + dot(l.hi, hi);
            if WORKGROUP == 8u {
                lo = subgroupBroadcast(x_lo, 4u); hi = subgroupBroadcast(x_hi, 4u);
                p_hi.x += dot(k.lo, lo) + dot(k.hi, hi); s_hi.x += dot(l.lo, lo) + dot(l.hi, hi);
                lo = subgroupBroadcast(x_lo, 5u); hi = subgroupBroadcast(x_hi, 5u);
                p_hi.y += dot(k.lo, lo) + dot(k.hi, hi); s_hi.y += dot(l.lo, lo) + dot(l.hi, hi);
                lo = subgroupBroadcast(x_lo, 6u); hi = subgroupBroadcast(x_hi, 6u);
                p_hi.z += dot(k.lo, lo) + dot(k.hi, hi); s_hi.z += dot(l.lo, lo) + dot(l.hi, hi);
                lo = subgroupBroadcast(x_lo, 7u); hi = subgroupBroadcast(x_hi, 7u);
                p_hi.w += dot(k.lo, lo) + dot(k.hi, hi); s_hi.w += dot(l.lo, lo) + dot(l.hi, hi);
            } else {
                let z_lo = q[query_b + i * 2u];
                let z_hi = q[query_b + i * 2u + 1u];
                lo = subgroupBroadcast(z_lo, 0u); hi = subgroupBroadcast(z_hi, 0u);
                p_hi.x += dot(k.lo, lo) + dot(k.hi, hi); s_hi.x += dot(l.lo, lo) + dot(l.hi, hi);
                lo = subgroupBroadcast(z_lo, 1u); hi = subgroupBroadcast(z_hi, 1u);
                p_hi.y += dot(k.lo, lo) + dot(k.hi, hi); s_hi.y += dot(l.lo, lo) + dot(l.hi, hi);
                lo = subgroupBroadcast(z_lo, 2u); hi = subgroupBroadcast(z_hi, 2u);
                p_hi.z += dot(k.lo, lo) + dot(k.hi, hi); s_hi.z += dot(l.lo, lo) + dot(l.hi, hi);
                lo = subgroupBroadcast(z_lo, 3u); hi = subgroupBroadcast(z_hi, 3u);
                p_hi.w += dot(k.lo, lo) + dot(k.hi, hi); s_hi.w += dot(l.lo, lo) + dot(l.hi, hi);
            }
        }
        p_lo = select(vec4<f32>(LOWEST), p_lo * key_scale(at_a), vec4<u32>(key_a) < end_lo);
        p_hi = select(vec4<f32>(LOWEST), p_hi * key_scale(at_a), vec4<u32>(key_a) < end_hi);
        s_lo = select(vec4<f32>(LOWEST), s_lo * key_scale(at_b), vec4<u32>(key_b) < end_lo);
        s_hi = select(vec4<f32>(LOWEST), s_hi * key_scale(at_b), vec4<u32>(key_b) < end_hi);
        let new_lo = max(top_lo, highest(max(p_lo, s_lo)));
        let new_hi = max(top_hi, highest(max(p_hi, s_hi)));
        let keep_lo = exp(top_lo - new_lo);
        let keep_hi = exp(top_hi - new_hi);
        top_lo = new_lo;
        top_hi = new_hi;
        p_lo = exp(p_lo - new_lo);
        p_hi = exp(p_hi - new_hi);
        s_lo = exp(s_lo - new_lo);
        s_hi = exp(s_hi - new_hi);
        sum_lo = sum_lo * keep_lo + p_lo + s_lo;
        sum_hi = sum_hi * keep_hi + p_hi + s_hi;
        a0 *= keep_lo.x; a1 *= keep_lo.y; a2 *= keep_lo.z; a3 *= keep_lo.w;
        a4 *= keep_hi.x; a5 *= keep_hi.y; a6 *= keep_hi.z; a7 *= keep_hi.w;
        b0 *= keep_lo.x; b1 *= keep_lo.y; b2 *= keep_lo.z; b3 *= keep_lo.w;
        b4 *= keep_hi.x; b5 *= keep_hi.y; b6 *= keep_hi.z; b7 *= keep_hi.w;
        add_values(values, first, last, p_lo * value_scale(at_a), p_hi * value_scale(at_a));
        add_values(values, first + WORKGROUP, last, s_lo * value_scale(at_b), s_hi * value_scale(at_b));
    }
    let w_lo = 1.0 / subgroupAdd(sum_lo);
    let w_hi = 1.0 / subgroupAdd(sum_hi);
    store(first_row, kv_head, word, a0 * w_lo.x, b0 * w_lo.x);
    store(first_row + 1u, kv_head, word, a1 * w_lo.y, b1 * w_lo.y);
    store(first_row + 2u, kv_head, word, a2 * w_lo.z, b2 * w_lo.z);
    store(first_row + 3u, kv_head, word, a3 * w_lo.w, b3 * w_lo.w);
    store(first_row + 4u, kv_head, word, a4 * w_hi.x, b4 * w_hi.x);
    store(first_row + 5u, kv_head, word, a5 * w_hi.y, b5 * w_hi.y);
    store(first_row + 6u, kv_head, word, a6 * w_hi.z, b6 * w_hi.z);
    store(first_row + 7u, kv_head, word, a7 * w_hi.w, b7 * w_hi.w);
}
