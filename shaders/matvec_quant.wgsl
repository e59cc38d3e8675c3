// y[r] = W[r] · x (+ bias[r]) (+ y[r]): one token, quantised weights (see weights/packed.rs for the layouts), f32 everything else.
//
// A unit is 32 columns. An invocation holds a unit of x and multiplies it by that unit of each of its eight rows. With a scale
// s and a zero z a unit comes to s * (Σ code * x - z * Σ x), so that a code costs a mask, a conversion and a multiply-add:
// codes are read where they stand in their 32-bit word, as code * 2^k, and x is divided by 2^k once for all rows.
#import row_sums

@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>; // (n_rows, …) codes
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>; // (row_words * 2)
@group(0) @binding(4) var<storage, read> scales: array<u32>; // (n_rows, scale_words) pairs of f16

// 32 columns of x.
struct Columns {
    a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
    e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
    // Σ x of the first and of the last 16.
    first: f32, second: f32,
}

fn columns(unit: u32) -> Columns {
    let at = unit * 8u;
    var x32: Columns;
    x32.a = x[at]; x32.b = x[at + 1u]; x32.c = x[at + 2u]; x32.d = x[at + 3u];
    x32.e = x[at + 4u]; x32.f = x[at + 5u]; x32.g = x[at + 6u]; x32.h = x[at + 7u];
    x32.first = dot(x32.a + x32.b + x32.c + x32.d, vec4<f32>(1.0));
    x32.second = dot(x32.e + x32.f + x32.g + x32.h, vec4<f32>(1.0));
    return x32;
}

// The columns, each divided by what four codes of a word are multiplied by where they stand.
fn divided(x32: Columns, place: vec4<f32>) -> Columns {
    return Columns(
        x32.a * place, x32.b * place, x32.c * place, x32.d * place,
        x32.e * place, x32.f * place, x32.g * place, x32.h * place, x32.first, x32.second,
    );
}

// Small positive numbers: signed conversion is the cheap one on CPUs.
fn masked(word: u32, mask: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) & mask));
}

const NIBBLES = vec4<u32>(0xFu, 0xF0u, 0xF00u, 0xF000u);
const NIBBLE_PLACE = vec4<f32>(1.0, 0.0625, 0.00390625, 0.000244140625);

#ifdef q4
fn prepared(unit: u32) -> Columns {
    return divided(columns(unit), NIBBLE_PLACE);
}

fn unit_product(row: u32, unit: u32, x32: Columns) -> f32 {
    let w = weight[row * (params.row_words / 4u) + unit];
    let scale = unpack2x16float(scales[row * params.scale_words + (unit >> params.group_shift)]);
    let sum = dot(masked(w.x, NIBBLES), x32.a) + dot(masked(w.x >> 16u, NIBBLES), x32.b)
        + dot(masked(w.y, NIBBLES), x32.c) + dot(masked(w.y >> 16u, NIBBLES), x32.d)
        + dot(masked(w.z, NIBBLES), x32.e) + dot(masked(w.z >> 16u, NIBBLES), x32.f)
        + dot(masked(w.w, NIBBLES), x32.g) + dot(masked(w.w >> 16u, NIBBLES), x32.h);
    return scale.x * (sum - scale.y * (x32.first + x32.second));
}
#endif
#ifdef q6
const PAIRS = vec4<u32>(0x3u, 0xCu, 0x30u, 0xC0u);
// The upper two bits count 16 times.
const PAIR_PLACE = vec4<f32>(16.0, 4.0, 1.0, 0.25);

struct Prepared {
    low: Columns,
    high: Columns,
}

fn prepared(unit: u32) -> Prepared {
    let x32 = columns(unit);
    return Prepared(divided(x32, NIBBLE_PLACE), divided(x32, PAIR_PLACE));
}

fn unit_product(row: u32, unit: u32, x32: Prepared) -> f32 {
    let at = (row * (params.row_words / 8u) + unit / 2u) * 3u;
    let w = weight[at + unit % 2u];
    let upper = weight[at + 2u];
    let bits = select(upper.xy, upper.zw, unit % 2u == 1u);
    let scale = unpack2x16float(scales[row * params.scale_words + unit]);
    let first = dot(masked(w.x, NIBBLES), x32.low.a) + dot(masked(w.x >> 16u, NIBBLES), x32.low.b)
        + dot(masked(w.y, NIBBLES), x32.low.c) + dot(masked(w.y >> 16u, NIBBLES), x32.low.d)
        + dot(masked(bits.x, PAIRS), x32.high.a) + dot(masked(bits.x >> 8u, PAIRS), x32.high.b)
        + dot(masked(bits.x >> 16u, PAIRS), x32.high.c) + dot(masked(bits.x >> 24u, PAIRS), x32.high.d);
    let second = dot(masked(w.z, NIBBLES), x32.low.e) + dot(masked(w.z >> 16u, NIBBLES), x32.low.f)
        + dot(masked(w.w, NIBBLES), x32.low.g) + dot(masked(w.w >> 16u, NIBBLES), x32.low.h)
        + dot(masked(bits.y, PAIRS), x32.high.e) + dot(masked(bits.y >> 8u, PAIRS), x32.high.f)
        + dot(masked(bits.y >> 16u, PAIRS), x32.high.g) + dot(masked(bits.y >> 24u, PAIRS), x32.high.h);
    return scale.x * (first - 32.0 * x32.low.first) + scale.y * (second - 32.0 * x32.low.second);
}
#endif
#ifdef q8
fn prepared(unit: u32) -> Columns {
    return columns(unit);
}

fn bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

fn unit_product(row: u32, unit: u32, x32: Columns) -> f32 {
    let at = (row * (params.row_words / 4u) + unit) * 2u;
    let w = weight[at];
    let v = weight[at + 1u];
    let scale = unpack2x16float(scales[row * params.scale_words + unit / 2u]);
    let sum = dot(bytes(w.x), x32.a) + dot(bytes(w.y), x32.b) + dot(bytes(w.z), x32.c) + dot(bytes(w.w), x32.d)
        + dot(bytes(v.x), x32.e) + dot(bytes(v.y), x32.f) + dot(bytes(v.z), x32.g) + dot(bytes(v.w), x32.h);
    return select(scale.x, scale.y, unit % 2u == 1u) * sum;
}
#endif

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.x + group.y * groups.x) * ROWS;
    // Rows past the end read the last row again and are not written.
    let last = params.n_rows - 1u;
    var a = vec4<f32>();
    var b = vec4<f32>();
    for (var unit = lane; unit < params.row_words / 4u; unit += WORKGROUP) {
        let x32 = prepared(unit);
        a += vec4<f32>(
            unit_product(min(row, last), unit, x32),
            unit_product(min(row + 1u, last), unit, x32),
            unit_product(min(row + 2u, last), unit, x32),
            unit_product(min(row + 3u, last), unit, x32),
        );
        b += vec4<f32>(
            unit_product(min(row + 4u, last), unit, x32),
            unit_product(min(row + 5u, last), unit, x32),
            unit_product(min(row + 6u, last), unit, x32),
            unit_product(min(row + 7u, last), unit, x32),
        );
    }
    write_rows(row, lane, a, b);
}
