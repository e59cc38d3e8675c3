// W[r][c] += Σ_k b[r][k] * a[k][c]: LoRA (Hu et al. 2021, arXiv:2106.09685) merged into f16 weights, summed in f32 and rounded
// once. One invocation a packed word of eight columns.
#import packed

struct Params {
    // Packed words (eight halves) of a row.
    row_words: u32,
    // Rows to change, the first one's place in this part of the weights, and in b.
    n_rows: u32,
    weight_row: u32,
    b_row: u32,
    // Sum of the ranks of all adapters.
    rank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>; // (rank, row_words * 2)
@group(0) @binding(2) var<storage, read> b: array<f32>; // (b_row + n_rows, rank), scaled
@group(0) @binding(3) var<storage, read_write> weight: array<vec4<u32>>; // (weight_row + n_rows, row_words) f16

override WORKGROUP: u32 = 64;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = (group.x + group.y * groups.x) * WORKGROUP + lane;
    let row = index / params.row_words;
    let word = index % params.row_words;
    if row >= params.n_rows {
        return;
    }
    let place = params.weight_row * params.row_words + index;
    let w = weight[place];
    var lo = unpack_lo(w);
    var hi = unpack_hi(w);
    for (var k = 0u; k < params.rank; k++) {
        let factor = b[(params.b_row + row) * params.rank + k];
        let at = (k * params.row_words + word) * 2u;
        lo += factor * a[at];
        hi += factor * a[at + 1u];
    }
    weight[place] = vec4<u32>(
        pack2x16float(lo.xy), pack2x16float(lo.zw), pack2x16float(hi.xy), pack2x16float(hi.zw),
    );
}
