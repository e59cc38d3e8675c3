// q, k and v of one token: the three projections, RoPE (Su et al. 2021, arXiv:2104.09864) on q and k, and k and v into the f16 KV
// cache. A workgroup computes four pairs of rows: the two that RoPE turns together, or two neighbours of v. See rope_kv, which
// does for many tokens what the end of this kernel does for one.
#import rows
#import step
#import heads

@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<uniform> heads: Heads;
@group(0) @binding(9) var<storage, read> rope: array<vec2<f32>>; // (max_seq_len, head_dim / 2) cos, sin
@group(0) @binding(10) var<storage, read_write> q_out: array<vec2<f32>>; // (1, n_heads, head_stride / 2)
@group(0) @binding(11) var<storage, read_write> k_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 2) f16
@group(0) @binding(12) var<storage, read_write> v_cache: array<u32>; // (n_kv_heads, max_seq_len, head_stride / 2) f16

// The rows of a pair within this part.
fn pair_rows(pair: u32) -> vec2<u32> {
    let half = heads.head_dim / 2u;
    let head = pair / half;
    if head < heads.n_heads + heads.n_kv_heads && heads.interleaved == 0u {
        let first = head * heads.head_dim + pair % half;
        return vec2<u32>(first, first + half) - params.row_base;
    }
    return vec2<u32>(pair * 2u, pair * 2u + 1u) - params.row_base;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Parts begin and end with a head. Pairs past the end are computed again and not written.
    let first = params.row_base / 2u + (group.x + group.y * groups.x) * 4u;
    let end = (params.row_base + params.n_rows) / 2u;
    let p0 = pair_rows(min(first, end - 1u));
    let p1 = pair_rows(min(first + 1u, end - 1u));
    let p2 = pair_rows(min(first + 2u, end - 1u));
    let p3 = pair_rows(min(first + 3u, end - 1u));
    let sums = row_sums(vec4<u32>(p0.x, p1.x, p2.x, p3.x), vec4<u32>(p0.y, p1.y, p2.y, p3.y), lane);
    let pair = first + lane;
    if lane < 4u && pair < end {
        let half = heads.head_dim / 2u;
        let head = pair / half;
        store_pair(head, pair % half, step.pos, 0u, vec2<f32>(sums.a[lane], sums.b[lane]));
    }
}
