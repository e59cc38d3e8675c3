// Eight rows of a matrix times one vector: what every kernel of a decode step begins with. f32 everything but the weights.
//
// A workgroup walks the columns together: the columns of x that an invocation holds serve all eight rows. The weights come in
// the words of the variant: rows_half has f16, rows_quant codes.
//
// base: the partial sums meet in workgroup memory. subgroup: the workgroup is exactly one subgroup, no barrier.
// norm: x is the residual stream, and RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) is part of the kernel: one loop sums
// w * (x * gain) and x^2, and the sums are divided by the root at their end. A GPU saves a dispatch and its barrier; software
// Vulkan, which pays for each load of an invocation, loses 14 % of a matvec to it and keeps the norm apart.
// pair: rows 4..8 are of a second matrix.
#import linear

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> x: array<vec4<f32>>; // (row_words * 2)
#ifdef norm
@group(0) @binding(6) var<storage, read> gain: array<vec4<f32>>; // (row_words * 2)
#endif

override WORKGROUP: u32 = 64;

struct Sums {
    a: vec4<f32>, // rows 0..4
    b: vec4<f32>, // rows 4..8
    squares: f32,
}

// Four columns of x, with the gain.
fn column(at: u32, squares: ptr<function, f32>) -> vec4<f32> {
    let v = x[at];
#ifdef norm
    *squares += dot(v, v);
    return v * gain[at];
#else
    return v;
#endif
}

#ifndef subgroup
var<workgroup> partial: array<vec4<f32>, 512>; // (WORKGROUP, 2)
#ifdef norm
var<workgroup> partial_squares: array<f32, 256>; // (WORKGROUP)
#endif
#endif

// The sums of the whole workgroup, in each of its invocations.
fn together(sums: Sums, lane: u32) -> Sums {
    var all = sums;
#ifdef subgroup
    all.a = subgroupAdd(sums.a);
    all.b = subgroupAdd(sums.b);
#ifdef norm
    all.squares = subgroupAdd(sums.squares);
#endif
#else
    partial[lane * 2u] = sums.a;
    partial[lane * 2u + 1u] = sums.b;
#ifdef norm
    partial_squares[lane] = sums.squares;
#endif
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            partial[lane * 2u] += partial[(lane + half) * 2u];
            partial[lane * 2u + 1u] += partial[(lane + half) * 2u + 1u];
#ifdef norm
            partial_squares[lane] += partial_squares[lane + half];
#endif
        }
    }
    workgroupBarrier();
    all.a = partial[0];
    all.b = partial[1];
#ifdef norm
    all.squares = partial_squares[0];
#endif
#endif
#ifdef norm
    let scale = inverseSqrt(all.squares / f32(params.dim) + params.eps);
    all.a *= scale;
    all.b *= scale;
#endif
    return all;
}

#ifdef q4
#import rows_quant
#else
#ifdef q6
#import rows_quant
#else
#ifdef q8
#import rows_quant
#else
#import rows_half
#endif
#endif
#endif
