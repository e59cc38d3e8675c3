// h[i] = silu(Wgate[i] · x) * (Wup[i] · x): gate_proj, up_proj and SwiGLU (Shazeer 2020, arXiv:2002.05202) of one token, in f32 (the
// product of a real LLaMA layer reaches 66,977, above f16's largest number). A workgroup computes four elements: four rows of
// each matrix. The two may lie in one buffer, one below the other, or in two.
#define pair
#import rows

@group(0) @binding(10) var<storage, read_write> h: array<f32>; // (row_base + n_rows)

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.x + group.y * groups.x) * 4u;
    // Rows past the end read the last row again and are not written.
    let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n_rows - 1u));
    let sums = row_sums(rows, rows + params.second_row, lane);
    if lane < 4u && row + lane < params.n_rows {
        let gate = sums.a[lane];
        // Clamped, so that no infinity arises, of which WGSL promises nothing.
        h[params.row_base + row + lane] = gate / (1.0 + exp(min(-gate, 80.0))) * sums.b[lane];
    }
}
