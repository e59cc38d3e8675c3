// f16 weights as 16-byte loads: one vec4<u32> is eight consecutive halves of a row. Rows are padded with zeros to a multiple
// of eight. `unpack2x16float` needs no optional feature, and 16-byte loads are the fast path on every adapter.

fn unpack_lo(w: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y));
}

fn unpack_hi(w: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(w.z), unpack2x16float(w.w));
}
