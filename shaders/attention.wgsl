// Causal attention of many queries against the KV cache: out = softmax(q k^T / sqrt(head_dim)) v, in f32, with the running
// maximum and sum of online softmax (Milakov and Gimelshein 2018, arXiv:1805.02867), tiled as FlashAttention does (Dao et al.
// 2022, arXiv:2205.14135).
//
// A row is one query head of one token. The rows of a kv head, n_heads / n_kv_heads a token, stand one behind the other, and a
// workgroup takes a tile of them: it loads each key and value once for all its rows, whether these are tokens or grouped heads
// (GQA). Tiles of keys start at multiples of their size, and a key that a row may not see weighs 0: a row's result does not
// depend, to the last bit, on the rows beside it.
//
// base: 64 invocations; 8 to 32 rows and 32 keys a tile, whose weights pass through workgroup memory.
// cpu: a workgroup is one subgroup, 8 rows, no barrier. In q k^T each invocation has two keys; in the sum over the values it has
// eight elements of the output, and the weights are passed around by subgroupBroadcast. Longer heads take several workgroups.
//
// Before, a query and head had a workgroup, in which each invocation walked its own keys and added up its own output in private
// memory. Predicted: an eighth of the loads, and no private array, which software drivers gather and scatter. Measured, stock
// lavapipe, CPU time on one core, a chunk of 32 tokens of the whole model: 110M behind 2016 tokens 1.87 s to 0.65 s, behind 4064
// 3.48 s to 0.80 s (0.6 s of it the matrices); 1.1B (32/4 heads) behind 4064 19.6 s to 6.8 s (5.7 s).
// Lost: every invocation reading all rows' queries at one address in place of its own row's, which is passed around: 7 against 16
// GFLOP/s. A load costs there what it costs, whatever its address.
#ifdef cpu
#import attention_cpu
#else
#import attention_rows

override WORKGROUP: u32 = 64;
const KEYS = 32u;

var<workgroup> q_tile: array<vec4<f32>, 512>; // (rows, cols)
var<workgroup> p_tile: array<vec4<f32>, 256>; // (KEYS, rows / 4)
var<workgroup> row_top: array<f32, 32>;
var<workgroup> row_keep: array<f32, 32>;
var<workgroup> row_keys: array<u32, 32>; // of each row, n_keys: three divisions

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let kv_head = group.y;
    let words = params.head_words;
    // Columns of four elements; each invocation adds up one column of eight rows.
    let cols = words * 2u;
    let parts = min(WORKGROUP / cols, 4u);
    let rows = parts * 8u;
    let quads = rows / 4u;
    let first_row = group.x * rows;
    let cache = kv_head * params.max_seq_len;
    for (var i = lane; i < rows * cols; i += WORKGROUP) {
        q_tile[i] = q[query(row_of(first_row + i / cols, kv_head)) + i % cols];
    }
    if lane < rows {
        row_keys[lane] = n_keys(row_of(first_row + lane, kv_head));
    }
    let last = n_keys(row_of(first_row + rows - 1u, kv_head)) - 1u;
    let col = lane % cols;
    let part = lane / cols;
    let adds = part < parts;
    var a0: vec4<f32>; var a1: vec4<f32>; var a2: vec4<f32>; var a3: vec4<f32>;
    var a4: vec4<f32>; var a5: vec4<f32>; var a6: vec4<f32>; var a7: vec4<f32>;
    // Of row `lane`.
    var top = LOWEST;
    var sum = 0.0;
    for (var first = 0u; first <= last; first += KEYS) {
        let my_key = first + lane % KEYS;
        let at = cache + min(my_key, last);
        let put = lane % KEYS * quads;
        workgroupBarrier();
        for (var r = lane / KEYS * 8u; r < rows; r += WORKGROUP / KEYS * 8u) {
            var lo = vec4<f32>();
            var hi = vec4<f32>();
            for (var i = 0u; i < words; i++) {
                let k = key(at * words + i);
                let q0 = r * cols + i * 2u;
                lo += vec4<f32>(
                    dot(k.lo, q_tile[q0]) + dot(k.hi, q_tile[q0 + 1u]),
                    dot(k.lo, q_tile[q0 + cols]) + dot(k.hi, q_tile[q0 + cols + 1u]),
                    dot(k.lo, q_tile[q0 + cols * 2u]) + dot(k.hi, q_tile[q0 + cols * 2u + 1u]),
                    dot(k.lo, q_tile[q0 + cols * 3u]) + dot(k.hi, q_tile[q0 + cols * 3u + 1u]),
                );
                hi += vec4<f32>(
                    dot(k.lo, q_tile[q0 + cols * 4u]) + dot(k.hi, q_tile[q0 + cols * 4u + 1u]),
                    dot(k.lo, q_tile[q0 + cols * 5u]) + dot(k.hi, q_tile[q0 + cols * 5u + 1u]),
                    dot(k.lo, q_tile[q0 + cols * 6u]) + dot(k.hi, q_tile[q0 + cols * 6u + 1u]),
                    dot(k.lo, q_tile[q0 + cols * 7u]) + dot(k.hi, q_tile[q0 + cols * 7u + 1u]),
                );
            }
            p_tile[put + r / 4u] = lo * key_scale(at);
            p_tile[put + r / 4u + 1u] = hi * key_scale(at);
        }
        workgroupBarrier();
        if lane < rows {
            let n = min(row_keys[lane], first + KEYS);
            var peak = top;
            for (var j = first; j < n; j++) {
                peak = max(peak, p_tile[(j - first) * quads + lane / 4u][lane % 4u]);
            }
            let keep = exp(top - peak);
            top = peak;
            sum *= keep;
            row_top[lane] = peak;
            row_keep[lane] = keep;
        }
        workgroupBarrier();
        for (var i = lane; i < KEYS * quads; i += WORKGROUP) {
            let my_row = i % quads * 4u;
            let ends = vec4<u32>(row_keys[my_row], row_keys[my_row + 1u], row_keys[my_row + 2u], row_keys[my_row + 3u]);
            let seen = vec4<u32>(first + i / quads) < ends;
            let peak = vec4<f32>(row_top[my_row], row_top[my_row + 1u], row_top[my_row + 2u], row_top[my_row + 3u]);
            p_tile[i] = select(vec4<f32>(), exp(p_tile[i] - peak), seen);
        }
        workgroupBarrier();
        if lane < rows {
            for (var j = 0u; j < KEYS; j++) {
                sum += p_tile[j * quads + lane / 4u][lane % 4u];
            }
        }
        if adds {
            let mine = part * 8u;
            a0 *= row_keep[mine]; a1 *= row_keep[mine + 1u]; a2 *= row_keep[mine + 2u]; a3 *= row_keep[mine + 3u];
            a4 *= row_keep[mine + 4u]; a5 *= row_keep[mine + 5u]; a6 *= row_keep[mine + 6u]; a7 *= row_keep[mine + 7u];
            for (var j = 0u; j < min(KEYS, last + 1u - first); j++) {
                let position = cache + first + j;
                let both = value(position * words + col / 2u);
                let v = select(both.hi, both.lo, col % 2u == 0u) * value_scale(position);
                let lo = p_tile[j * quads + part * 2u];
                let hi = p_tile[j * quads + part * 2u + 1u];
                a0 += lo.x * v; a1 += lo.y * v; a2 += lo.z * v; a3 += lo.w * v;
                a4 += hi.x * v; a5 += hi.y * v; a6 += hi.z * v; a7 += hi.w * v;
            }
        }
    }
    workgroupBarrier();
    if lane < rows {
        row_top[lane] = sum;
    }
    workgroupBarrier();
    if !adds {
        return;
    }
    var all = array<vec4<f32>, 8>(a0, a1, a2, a3, a4, a5, a6, a7);
    for (var r = 0u; r < 8u; r++) {
        let row = first_row + part * 8u + r;
        let to = row_of(row, kv_head);
        let mixed = all[r] / row_top[part * 8u + r];
        for (var i = 0u; i < 4u; i++) {
            if row < n_rows() && col * 4u + i < params.head_dim {
                out[to.token * params.out_stride + to.head * params.head_dim + col * 4u + i] = mixed[i];
            }
        }
    }
}
#endif
