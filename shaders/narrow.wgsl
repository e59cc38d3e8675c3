// half_x[t] = x[t] / x_scale[t] in f16, with a power of two for each token: what matrix units multiply. An activation of a real
// layer reaches 66,977, and f16 ends at 65,504; a token's largest value comes to lie in 16,384..32,768, so that none overflows
// and values down to 2^-28 of it keep all of f16's eleven bits. A power of two itself costs no bit.
#import step

struct Params {
    // Words of eight columns in a row.
    row_words: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (n_tokens, row_words * 2)
@group(0) @binding(3) var<storage, read_write> half_x: array<vec4<u32>>; // (n_tokens, row_words) f16
@group(0) @binding(4) var<storage, read_write> x_scale: array<f32>; // (n_tokens)

override WORKGROUP: u32 = 64;
var<workgroup> largest: array<vec4<f32>, 64>; // (WORKGROUP)

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let token = group.x;
    if token >= step.n_tokens {
        return;
    }
    let words = params.row_words;
    var most = vec4<f32>();
    for (var i = lane; i < words * 2u; i += WORKGROUP) {
        most = max(most, abs(x[token * words * 2u + i]));
    }
    largest[lane] = most;
    for (var part = WORKGROUP / 2u; part > 0u; part /= 2u) {
        workgroupBarrier();
        if lane < part {
            largest[lane] = max(largest[lane], largest[lane + part]);
        }
    }
    workgroupBarrier();
    let four = largest[0];
    let top = max(max(four.x, four.y), max(four.z, four.w));
    // 2^shift brings the largest value's exponent to 14; both it and its inverse are normal numbers.
    let exponent = i32((bitcast<u32>(top) >> 23u) & 255u) - 127;
    let shift = clamp(14 - exponent, -113, 126);
    let factor = bitcast<f32>(u32(127 + shift) << 23u);
    for (var i = lane; i < words; i += WORKGROUP) {
        let at = token * words + i;
        let lo = x[at * 2u] * factor;
        let hi = x[at * 2u + 1u] * factor;
        half_x[at] = vec4<u32>(
            pack2x16float(lo.xy), pack2x16float(lo.zw), pack2x16float(hi.xy), pack2x16float(hi.zw),
        );
    }
    if lane == 0u {
        x_scale[token] = bitcast<f32>(u32(127 - shift) << 23u);
    }
}
