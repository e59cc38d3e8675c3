// Quantised weights (see weights/packed.rs for the layouts): the second half of `rows`.
//
// A unit is 32 columns. An invocation holds a unit of x and multiplies it by that unit of each of its eight rows. With a scale
// s and a zero z a unit comes to s * (Σ code * x - z * Σ x), so that a code costs a mask, a conversion and a multiply-add:
// codes are read where they stand in their 32-bit word, as code * 2^k, and x is divided by 2^k once for all rows.

@group(0) @binding(3) var<storage, read> weight: array<vec4<u32>>; // (n_rows, …) codes
@group(0) @binding(5) var<storage, read> scales: array<u32>; // (n_rows, scale_words) pairs of f16
#ifdef pair
@group(0) @binding(7) var<storage, read> weight_b: array<vec4<u32>>; // as weight
@group(0) @binding(8) var<storage, read> scales_b: array<u32>; // as scales
#endif

// 32 columns of x.
struct Columns {
    a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
    e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
    // Σ x of the first and of the last 16.
    first: f32, second: f32,
}

fn columns(unit: u32, squares: ptr<function, f32>) -> Columns {
    let at = unit * 8u;
    var x32: Columns;
    x32.a = column(at, squares); x32.b = column(at + 1u, squares);
    x32.c = column(at + 2u, squares); x32.d = column(at + 3u, squares);
    x32.e = column(at + 4u, squares); x32.f = column(at + 5u, squares);
    x32.g = column(at + 6u, squares); x32.h = column(at + 7u, squares);
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

// What is stored of a unit of a row: its codes in one or two words, and its scale (and zero, or second scale).
struct Unit {
    w: vec4<u32>,
    v: vec4<u32>,
    scale: vec2<f32>,
}

// Where they stand.
struct Place {
    w: u32,
    v: u32,
    scale: u32,
}

fn unit_a(place: Place) -> Unit {
    return Unit(weight[place.w], weight[place.v], unpack2x16float(scales[place.scale]));
}

fn unit_b(place: Place) -> Unit {
#ifdef pair
    return Unit(weight_b[place.w], weight_b[place.v], unpack2x16float(scales_b[place.scale]));
#else
    return unit_a(place);
#endif
}

const NIBBLES = vec4<u32>(0xFu, 0xF0u, 0xF00u, 0xF000u);
const NIBBLE_PLACE = vec4<f32>(1.0, 0.0625, 0.00390625, 0.000244140625);

#ifdef q4
fn prepared(unit: u32, squares: ptr<function, f32>) -> Columns {
    return divided(columns(unit, squares), NIBBLE_PLACE);
}

fn place(row: u32, unit: u32) -> Place {
    let at = row * (params.row_words / 4u) + unit;
    return Place(at, at, row * params.scale_words + (unit >> params.group_shift));
}

fn product(stored: Unit, unit: u32, x32: Columns) -> f32 {
    let w = stored.w;
    let sum = dot(masked(w.x, NIBBLES), x32.a) + dot(masked(w.x >> 16u, NIBBLES), x32.b)
        + dot(masked(w.y, NIBBLES), x32.c) + dot(masked(w.y >> 16u, NIBBLES), x32.d)
        + dot(masked(w.z, NIBBLES), x32.e) + dot(masked(w.z >> 16u, NIBBLES), x32.f)
        + dot(masked(w.w, NIBBLES), x32.g) + dot(masked(w.w >> 16u, NIBBLES), x32.h);
    return stored.scale.x * (sum - stored.scale.y * (x32.first + x32.second));
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

fn prepared(unit: u32, squares: ptr<function, f32>) -> Prepared {
    let x32 = columns(unit, squares);
    return Prepared(divided(x32, NIBBLE_PLACE), divided(x32, PAIR_PLACE));
}

fn place(row: u32, unit: u32) -> Place {
    let at = (row * (params.row_words / 8u) + unit / 2u) * 3u;
    return Place(at + unit % 2u, at + 2u, row * params.scale_words + unit);
}

fn product(stored: Unit, unit: u32, x32: Prepared) -> f32 {
    let w = stored.w;
    let bits = select(stored.v.xy, stored.v.zw, unit % 2u == 1u);
    let first = dot(masked(w.x, NIBBLES), x32.low.a) + dot(masked(w.x >> 16u, NIBBLES), x32.low.b)
        + dot(masked(w.y, NIBBLES), x32.low.c) + dot(masked(w.y >> 16u, NIBBLES), x32.low.d)
        + dot(masked(bits.x, PAIRS), x32.high.a) + dot(masked(bits.x >> 8u, PAIRS), x32.high.b)
        + dot(masked(bits.x >> 16u, PAIRS), x32.high.c) + dot(masked(bits.x >> 24u, PAIRS), x32.high.d);
    let second = dot(masked(w.z, NIBBLES), x32.low.e) + dot(masked(w.z >> 16u, NIBBLES), x32.low.f)
        + dot(masked(w.w, NIBBLES), x32.low.g) + dot(masked(w.w >> 16u, NIBBLES), x32.low.h)
        + dot(masked(bits.y, PAIRS), x32.high.e) + dot(masked(bits.y >> 8u, PAIRS), x32.high.f)
        + dot(masked(bits.y >> 16u, PAIRS), x32.high.g) + dot(masked(bits.y >> 24u, PAIRS), x32.high.h);
    return stored.scale.x * (first - 32.0 * x32.low.first) + stored.scale.y * (second - 32.0 * x32.low.second);
}
#endif
#ifdef q8
fn prepared(unit: u32, squares: ptr<function, f32>) -> Columns {
    return columns(unit, squares);
}

fn bytes(word: u32) -> vec4<f32> {
    return vec4<f32>(unpack4xI8(word));
}

fn place(row: u32, unit: u32) -> Place {
    let at = (row * (params.row_words / 4u) + unit) * 2u;
    return Place(at, at + 1u, row * params.scale_words + unit / 2u);
}

fn product(stored: Unit, unit: u32, x32: Columns) -> f32 {
    let w = stored.w;
    let v = stored.v;
    let sum = dot(bytes(w.x), x32.a) + dot(bytes(w.y), x32.b) + dot(bytes(w.z), x32.c) + dot(bytes(w.w), x32.d)
        + dot(bytes(v.x), x32.e) + dot(bytes(v.y), x32.f) + dot(bytes(v.z), x32.g) + dot(bytes(v.w), x32.h);
    return select(stored.scale.x, stored.scale.y, unit % 2u == 1u) * sum;
}
#endif

// W[rows] · x; the rows exist.
fn row_sums(rows_a: vec4<u32>, rows_b: vec4<u32>, lane: u32) -> Sums {
    var a = vec4<f32>();
    var b = vec4<f32>();
    var squares = 0.0;
    for (var unit = lane; unit < params.row_words / 4u; unit += WORKGROUP) {
        let x32 = prepared(unit, &squares);
        a += vec4<f32>(
            product(unit_a(place(rows_a.x, unit)), unit, x32),
            product(unit_a(place(rows_a.y, unit)), unit, x32),
            product(unit_a(place(rows_a.z, unit)), unit, x32),
            product(unit_a(place(rows_a.w, unit)), unit, x32),
        );
        b += vec4<f32>(
            product(unit_b(place(rows_b.x, unit)), unit, x32),
            product(unit_b(place(rows_b.y, unit)), unit, x32),
            product(unit_b(place(rows_b.z, unit)), unit, x32),
            product(unit_b(place(rows_b.w, unit)), unit, x32),
        );
    }
    return together(Sums(a, b, squares), lane);
}
