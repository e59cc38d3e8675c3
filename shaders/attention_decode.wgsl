// Attention of one query a head against the KV cache, split over the context as in Flash-Decoding (Dao et al. 2023,
// https://crfm.stanford.edu/2023/10/12/flashdecoding.html): a workgroup takes one split of the keys. Where there is only one it
// writes the result, else its maximum, sum and unscaled output, which attention_combine puts together.
//
// A dispatch of its own does that, not the last workgroup to arrive: WGSL orders no memory between workgroups, and one split pays
// nothing for it.
//
// base, subgroup: 64 invocations; up to four query heads of one kv head (GQA) share each load. 256 keys at a time: each
// invocation scores four, then adds up one column of four elements. `subgroup` only finds the maximum and the sum faster.
// cpu_subgroup: a workgroup is one subgroup and takes one query head. Each invocation scores two keys, then adds up eight elements
// of the output; the weights are passed around by subgroupBroadcast. Longer heads take several workgroups. Where four heads or more
// share a key there, `attention` decodes: they fill its rows.
//
// Measured, stock lavapipe, CPU time on one core, a token at 4096 (at 128) of the whole model, against the kernel that served
// prefill and decode before: 110M 170 (90) ms to 120 (80) ms; 1.1B, by `attention`, 1030 (600) ms to 600 (580) ms. The
// subgroup and split variants have not met a GPU yet.
#ifdef cpu
#import attention_decode_cpu
#else
#import attention_split
#import workgroup_vec4

override WORKGROUP: u32 = 64;
const HEADS = 4u;
const KEYS = 256u;

var<workgroup> q_tile: array<vec4<f32>, 256>; // (HEADS, cols)
var<workgroup> p_tile: array<vec4<f32>, 256>; // (KEYS) a weight for each head
var<workgroup> partial_rows: array<vec4<f32>, 64>; // (WORKGROUP)

// The sum over the invocations that have the same column, for those of the first part.
fn over_parts(v: vec4<f32>, lane: u32, cols: u32, parts: u32) -> vec4<f32> {
    workgroupBarrier();
    partial_rows[lane] = v;
    workgroupBarrier();
    var sum = vec4<f32>();
    for (var part = 0u; part < parts; part++) {
        sum += partial_rows[part * cols + lane % cols];
    }
    return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
#ifdef subgroup
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_invocation_id) within: u32,
#endif
) {
#ifdef subgroup
    let place = Place(lane, subgroup, subgroups, within);
#else
    let place = Place(lane);
#endif
    let split = split_of(group.y);
    if split.first >= split.end {
        return;
    }
    let group_heads = params.n_heads / params.n_kv_heads;
    let blocks = (group_heads + HEADS - 1u) / HEADS;
    let kv_head = group.x / blocks;
    let first_head = group.x % blocks * HEADS;
    let heads = min(HEADS, group_heads - first_head);
    let head = kv_head * group_heads + first_head;
    let words = params.head_words;
    let cols = words * 2u;
    let parts = WORKGROUP / cols;
    let cache = kv_head * params.max_seq_len;
    // Heads past the last are it again.
    for (var i = lane; i < HEADS * cols; i += WORKGROUP) {
        q_tile[i] = q[(head + min(i / cols, heads - 1u)) * cols + i % cols];
    }
    let col = lane % cols;
    let part = lane / cols;
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var top = vec4<f32>(LOWEST);
    var sum = vec4<f32>();
    for (var first = split.first; first < split.end; first += KEYS) {
        let n = min(KEYS, split.end - first);
        workgroupBarrier();
        var peak = vec4<f32>(LOWEST);
        for (var j = lane; j < n; j += WORKGROUP) {
            let at = cache + first + j;
            var score = vec4<f32>();
            for (var i = 0u; i < words; i++) {
                let k = key(at * words + i);
                score.x += dot(k.lo, q_tile[i * 2u]) + dot(k.hi, q_tile[i * 2u + 1u]);
                if heads > 1u {
                    let o = cols + i * 2u;
                    score.y += dot(k.lo, q_tile[o]) + dot(k.hi, q_tile[o + 1u]);
                    score.z += dot(k.lo, q_tile[o + cols]) + dot(k.hi, q_tile[o + cols + 1u]);
                    score.w += dot(k.lo, q_tile[o + cols * 2u]) + dot(k.hi, q_tile[o + cols * 2u + 1u]);
                }
            }
            score *= key_scale(at);
            p_tile[j] = score;
            peak = max(peak, score);
        }
        peak = max(top, highest(peak, place));
        let keep = exp(top - peak);
        top = peak;
        sum *= keep;
        for (var j = lane; j < n; j += WORKGROUP) {
            let p = exp(p_tile[j] - peak);
            sum += p;
            p_tile[j] = p * value_scale(cache + first + j);
        }
        workgroupBarrier();
        a0 *= keep.x; a1 *= keep.y; a2 *= keep.z; a3 *= keep.w;
        for (var j = part; j < select(0u, n, part < parts); j += parts) {
            let both = value((cache + first + j) * words + col / 2u);
            let v = select(both.hi, both.lo, col % 2u == 0u);
            let p = p_tile[j];
            a0 += p.x * v;
            if heads > 1u { a1 += p.y * v; a2 += p.z * v; a3 += p.w * v; }
        }
    }
    sum = total(sum, place);
    a0 = over_parts(a0, lane, cols, parts);
    a1 = over_parts(a1, lane, cols, parts);
    a2 = over_parts(a2, lane, cols, parts);
    a3 = over_parts(a3, lane, cols, parts);
    if lane < cols {
        write(split, head, lane, top.x, sum.x, a0);
        if heads > 1u { write(split, head + 1u, lane, top.y, sum.y, a1); }
        if heads > 2u { write(split, head + 2u, lane, top.z, sum.z, a2); }
        if heads > 3u { write(split, head + 3u, lane, top.w, sum.w, a3); }
    }
}
#endif
