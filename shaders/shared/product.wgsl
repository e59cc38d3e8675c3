// What the kernels for many tokens share: eight columns of a row (octet), and where a sum goes.
#import octet
#import step

@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(4) var<storage, read> bias: array<f32>; // (row_base + n_rows), or anything without flag 1
@group(0) @binding(7) var<storage, read_write> y: array<f32>; // (n_tokens, y_stride)

fn store(t: u32, row: u32, value: f32) {
    if t < step.n_tokens && row < params.n_rows {
        var sum = value;
        let r = params.row_base + row;
        let at = t * params.y_stride + r;
        if (params.flags & 1u) != 0u {
            sum += bias[r];
        }
        if (params.flags & 2u) != 0u {
            sum += y[at];
        }
        y[at] = sum;
    }
}
