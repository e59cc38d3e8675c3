// Eight columns of four rows, turned so that a column of a token multiplies four rows at a time.
#import octet

struct Quad {
    // The first column of each row, and so on.
    c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32>,
    c4: vec4<f32>, c5: vec4<f32>, c6: vec4<f32>, c7: vec4<f32>,
}

// Rows `row`, `row + stride`, …; those past the end are the last one again.
fn quad(row: u32, stride: u32, word: u32) -> Quad {
    let last = params.n_rows - 1u;
    let p = octet(min(row, last), word);
    let q = octet(min(row + stride, last), word);
    let r = octet(min(row + 2u * stride, last), word);
    let s = octet(min(row + 3u * stride, last), word);
    return Quad(
        vec4<f32>(p.lo.x, q.lo.x, r.lo.x, s.lo.x), vec4<f32>(p.lo.y, q.lo.y, r.lo.y, s.lo.y),
        vec4<f32>(p.lo.z, q.lo.z, r.lo.z, s.lo.z), vec4<f32>(p.lo.w, q.lo.w, r.lo.w, s.lo.w),
        vec4<f32>(p.hi.x, q.hi.x, r.hi.x, s.hi.x), vec4<f32>(p.hi.y, q.hi.y, r.hi.y, s.hi.y),
        vec4<f32>(p.hi.z, q.hi.z, r.hi.z, s.hi.z), vec4<f32>(p.hi.w, q.hi.w, r.hi.w, s.hi.w),
    );
}

// Adds the product of four rows with eight columns of a token.
fn add(sum: vec4<f32>, w: Quad, lo: vec4<f32>, hi: vec4<f32>) -> vec4<f32> {
    let a = fma(w.c3, lo.wwww, fma(w.c2, lo.zzzz, fma(w.c1, lo.yyyy, fma(w.c0, lo.xxxx, sum))));
    return fma(w.c7, hi.wwww, fma(w.c6, hi.zzzz, fma(w.c5, hi.yyyy, fma(w.c4, hi.xxxx, a))));
}
