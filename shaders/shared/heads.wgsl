// A pair of elements of a head of q, k or v to where it goes: turned by its position (q and k), to q_out or into the KV cache.
//
// cos and sin come from a table computed on the host: WGSL promises no precision for large angles. Half-split (Hugging Face)
// pairs element i with i + head_dim / 2; interleaved (Meta, GGUF) pairs 2i with 2i + 1. Either way the two of a pair become
// neighbours in q_out and in the cache: a score is the same sum in any order that q and k share, and a pair is then one word.
struct Heads {
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

// `pair`, turned by its position unless it is a value's. `head` counts those of q, then of k, then of v; `word` the pairs of a head.
fn turned(head: u32, word: u32, pos: u32, pair: vec2<f32>) -> vec2<f32> {
    if head >= heads.n_heads + heads.n_kv_heads {
        return pair;
    }
    let turn = rope[pos * (heads.head_dim / 2u) + word];
    return vec2<f32>(pair.x * turn.x - pair.y * turn.y, pair.y * turn.x + pair.x * turn.y);
}

#ifndef kv8
// WGSL leaves open what pack2x16float makes of a value beyond f16.
fn pack(pair: vec2<f32>) -> u32 {
    return pack2x16float(clamp(pair, vec2<f32>(-65504.0), vec2<f32>(65504.0)));
}

// Stores `pair`, as projected; `t` is the row of q_out.
fn store_pair(head: u32, word: u32, pos: u32, t: u32, pair: vec2<f32>) {
    let words = heads.head_stride / 2u;
    let n_heads = heads.n_heads;
    let n_kv = heads.n_kv_heads;
    let value = turned(head, word, pos, pair);
    if head < n_heads {
        q_out[(t * n_heads + head) * words + word] = value;
    } else if head < n_heads + n_kv {
        k_cache[((head - n_heads) * heads.max_seq_len + pos) * words + word] = pack(value);
    } else {
        v_cache[((head - n_heads - n_kv) * heads.max_seq_len + pos) * words + word] = pack(value);
    }
}
#endif
