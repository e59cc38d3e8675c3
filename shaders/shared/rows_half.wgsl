// f16 weights: the second half of `rows`.
//
// i64: a weight word as two u64. Software Vulkan loads lane by lane and component by component, so half as many loads: 3.6 to
// 4.1 GB/s a core on Mesa 22.3, 3.5 to 4.9 on 25.0, 4.0 either way on 26.2 (1024 x 2048, CPU time, interleaved). What lost there:
// neighbouring lanes on neighbouring u32 (2.4, 3.7, 4.8), u32 pairs (3.4, 4.2, 4.7) or u64 (3.6, 4.8, 4.7); a row a lane with x
// uniform (2.9, -, 4.5); sixteen rows; x in private memory (0.5 GB/s on Mesa 22).
#import packed

#ifdef i64
@group(0) @binding(3) var<storage, read> weight: array<vec2<u64>>; // (n_rows, row_words) f16
#ifdef pair
@group(0) @binding(7) var<storage, read> weight_b: array<vec2<u64>>; // as weight
#endif

fn halves(word: vec2<u64>) -> vec4<u32> {
    return vec4<u32>(u32(word.x), u32(word.x >> 32u), u32(word.y), u32(word.y >> 32u));
}
#else
@group(0) @binding(3) var<storage, read> weight: array<vec4<u32>>; // (n_rows, row_words) f16
#ifdef pair
@group(0) @binding(7) var<storage, read> weight_b: array<vec4<u32>>; // as weight
#endif

fn halves(word: vec4<u32>) -> vec4<u32> {
    return word;
}
#endif

fn word_a(at: u32) -> vec4<u32> {
    return halves(weight[at]);
}

fn word_b(at: u32) -> vec4<u32> {
#ifdef pair
    return halves(weight_b[at]);
#else
    return halves(weight[at]);
#endif
}

fn dot8(w: vec4<u32>, lo: vec4<f32>, hi: vec4<f32>) -> f32 {
    return dot(unpack_lo(w), lo) + dot(unpack_hi(w), hi);
}

// W[rows] · x; the rows exist.
fn row_sums(rows_a: vec4<u32>, rows_b: vec4<u32>, lane: u32) -> Sums {
    let words = params.row_words;
    let ra = rows_a * words;
    let rb = rows_b * words;
    var a = vec4<f32>();
    var b = vec4<f32>();
    var squares = 0.0;
    for (var i = lane; i < words; i += WORKGROUP) {
        let lo = column(i * 2u, &squares);
        let hi = column(i * 2u + 1u, &squares);
        a += vec4<f32>(
            dot8(word_a(ra.x + i), lo, hi),
            dot8(word_a(ra.y + i), lo, hi),
            dot8(word_a(ra.z + i), lo, hi),
            dot8(word_a(ra.w + i), lo, hi),
        );
        b += vec4<f32>(
            dot8(word_b(rb.x + i), lo, hi),
            dot8(word_b(rb.y + i), lo, hi),
            dot8(word_b(rb.z + i), lo, hi),
            dot8(word_b(rb.w + i), lo, hi),
        );
    }
    return together(Sums(a, b, squares), lane);
}
