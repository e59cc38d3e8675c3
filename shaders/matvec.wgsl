// y[r] = W[r] · x (+ bias[r]) (+ y[r]): one token. A workgroup computes eight rows.
#import rows

@group(0) @binding(9) var<storage, read> bias: array<f32>; // (row_base + n_rows), or anything without flag 1
@group(0) @binding(10) var<storage, read_write> y: array<f32>; // (row_base + n_rows)

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.x + group.y * groups.x) * 8u;
    // Rows past the end read the last row again and are not written.
    let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.n_rows - 1u));
    let sums = row_sums(rows, min(vec4<u32>(row) + vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(params.n_rows - 1u)), lane);
    if lane < 8u && row + lane < params.n_rows {
        var sum = select(sums.b[lane % 4u], sums.a[lane % 4u], lane < 4u);
        let at = params.row_base + row + lane;
        if (params.flags & 1u) != 0u {
            sum += bias[at];
        }
        if (params.flags & 2u) != 0u {
            sum += y[at];
        }
        y[at] = sum;
    }
}
