// matmul on matrix units: cooperative matrices of 8 x 8 (Metal; Mesa's software) or 16 x 16 (Vulkan on NVIDIA, AMD, Intel), f16
// in, f32 sums. A workgroup computes a tile of eight of them on a side, 64 or 128 rows and tokens, in four parts of 4 x 4 sums:
// a subgroup a part, or fewer subgroups one part after the other (their size is known only once the kernel runs). Weights and
// tokens go through workgroup memory 32 columns at a time, in two buffers: what comes next is loaded while this is multiplied.
//
// Predicted for 16 x 16 on an H200: a step brings 16 KiB from the L2 for 1.05 MFLOP, 64 FLOP a byte, so that 150 TFLOP/s ask it
// for 2.3 TB/s (it has about 5.5). A subgroup reads 4 KiB of workgroup memory for 131 kFLOP, a roof of 920 TFLOP/s at 128
// bytes a clock of 132 multiprocessors. 128 registers of sums an invocation leave two workgroups a multiprocessor to hide
// latency behind: 150 to 300 TFLOP/s, or 22 to 45 ms for 512 tokens of the 7B (6.7 TFLOP). It has not run: there was no GPU.
// naga 30 puts the text under Vulkan's memory model and marks no access as shared; that a driver's barriers hold all the same
// is what the self-test shows, with more steps than buffers.
// narrow.wgsl reads 8 MiB and writes 4 for 512 tokens of 4096, 3 us there, four times a layer.
// Run, on Mesa 26's software: 8 x 8, with tiles of either element and with more and fewer subgroups than parts. No matrix units
// are behind it there: 2048 x 2048, 64 tokens, by CPU time of two cores: coop8 11 GFLOP/s, base 17, cpu 70.
#ifdef coop16
alias MatW = coop_mat16x16<f16, A>;
alias MatX = coop_mat16x16<f16, B>;
alias Sums = coop_mat16x16<f32, C>;
const SIDE = 16u;
// Halves of an element of the tiles: 8-byte stores.
const UNIT = 4u;
var<workgroup> w_tile: array<vec4<f16>, 2560>; // (2, TILE, PITCH / UNIT)
var<workgroup> x_tile: array<vec4<f16>, 2560>;
var<workgroup> sums: array<f32, 1280>; // (5, SIDE, SIDE): a part each, and one for subgroups without a part
#else
alias MatW = coop_mat8x8<f16, A>;
alias MatX = coop_mat8x8<f16, B>;
alias Sums = coop_mat8x8<f32, C>;
const SIDE = 8u;
// Metal loads matrices through pointers to scalars only.
const UNIT = 1u;
var<workgroup> w_tile: array<f16, 5120>; // (2, TILE, PITCH)
var<workgroup> x_tile: array<f16, 5120>;
var<workgroup> sums: array<f32, 320>; // (5, SIDE, SIDE)
#endif
override WORKGROUP: u32 = 128;
const TILE = 8u * SIDE;
// Words of eight columns of a step.
const DEPTH = 4u;
// Halves from one row of a tile to the next: eight more than there are, so that neighbours lie in different banks.
const PITCH = 40u;
var<workgroup> n_subgroups: u32;

struct Halves {
    lo: vec4<f16>,
    hi: vec4<f16>,
}

// Word `i` of the tile's rows from word `first` of each; zeros past the end.
fn weights_of(row: u32, first: u32, i: u32) -> Halves {
    var found = Halves();
    let word = first + i % DEPTH;
    if word < params.row_words && i < TILE * DEPTH {
        let w = octet(min(row + i / DEPTH, params.n_rows - 1u), word);
        found = Halves(vec4<f16>(w.lo), vec4<f16>(w.hi));
    }
    return found;
}

// As `weights_of`, of the tokens.
fn inputs_of(token: u32, first: u32, i: u32) -> Halves {
    var found = Halves();
    let word = first + i % DEPTH;
    if word < params.row_words && i < TILE * DEPTH {
        let at = (min(token + i / DEPTH, step.n_tokens - 1u) * params.row_words + word) * 2u;
        found = Halves(half_x[at], half_x[at + 1u]);
    }
    return found;
}

// Puts word `i` into the tiles' half `side`.
fn put(side: u32, i: u32, w: Halves, t: Halves) {
    if i >= TILE * DEPTH {
        return;
    }
    let at = ((side * TILE + i / DEPTH) * PITCH + i % DEPTH * 8u) / UNIT;
#ifdef coop16
    w_tile[at] = w.lo; w_tile[at + 1u] = w.hi;
    x_tile[at] = t.lo; x_tile[at + 1u] = t.hi;
#else
    w_tile[at] = w.lo.x; w_tile[at + 1u] = w.lo.y; w_tile[at + 2u] = w.lo.z; w_tile[at + 3u] = w.lo.w;
    w_tile[at + 4u] = w.hi.x; w_tile[at + 5u] = w.hi.y; w_tile[at + 6u] = w.hi.z; w_tile[at + 7u] = w.hi.w;
    x_tile[at] = t.lo.x; x_tile[at + 1u] = t.lo.y; x_tile[at + 2u] = t.lo.z; x_tile[at + 3u] = t.lo.w;
    x_tile[at + 4u] = t.hi.x; x_tile[at + 5u] = t.hi.y; x_tile[at + 6u] = t.hi.z; x_tile[at + 7u] = t.hi.w;
#endif
}

// Writes one block of each part in turn: `count` parts from `first` lie in `sums`. Block (r, t) of a part.
fn write(row: u32, token: u32, first: u32, count: u32, r: u32, t: u32, lane: u32) {
    workgroupBarrier();
    for (var i = lane; i < count * SIDE * SIDE; i += WORKGROUP) {
        let part = first + i / (SIDE * SIDE);
        let at_token = token + (part % 2u * 4u + t) * SIDE + i / SIDE % SIDE;
        let at_row = row + (part / 2u * 4u + r) * SIDE + i % SIDE;
        let scale = x_scale[min(at_token, step.n_tokens - 1u)];
        store(at_token, at_row, scale * sums[part * SIDE * SIDE + i % (SIDE * SIDE)]);
    }
    workgroupBarrier();
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    // Neighbouring workgroups share rows: the weights come from memory once, the tokens from the cache.
    let token = group.x * TILE;
    let row = group.y * TILE;
    if lane == 0u {
        n_subgroups = min(subgroups, 4u);
    }
    let count = workgroupUniformLoad(&n_subgroups);
    let pitch = PITCH / UNIT;
    let side = SIDE;
    for (var first = 0u; first < 4u; first += count) {
        let part = select(4u, first + subgroup, subgroup < count);
        let own_rows = part % 4u / 2u * 4u * SIDE;
        let own_tokens = part % 2u * 4u * SIDE;
        let own_sums = part * SIDE * SIDE;
        for (var i = lane; i < 5u * SIDE * SIDE; i += WORKGROUP) {
            sums[i] = 0.0;
        }
        for (var i = lane; i < TILE * DEPTH; i += WORKGROUP) {
            put(0u, i, weights_of(row, 0u, i), inputs_of(token, 0u, i));
        }
        workgroupBarrier();
        // Rows x tokens.
        var s00 = coopLoad<Sums>(&sums[own_sums], side); var s01 = coopLoad<Sums>(&sums[own_sums], side);
        var s02 = coopLoad<Sums>(&sums[own_sums], side); var s03 = coopLoad<Sums>(&sums[own_sums], side);
        var s10 = coopLoad<Sums>(&sums[own_sums], side); var s11 = coopLoad<Sums>(&sums[own_sums], side);
        var s12 = coopLoad<Sums>(&sums[own_sums], side); var s13 = coopLoad<Sums>(&sums[own_sums], side);
        var s20 = coopLoad<Sums>(&sums[own_sums], side); var s21 = coopLoad<Sums>(&sums[own_sums], side);
        var s22 = coopLoad<Sums>(&sums[own_sums], side); var s23 = coopLoad<Sums>(&sums[own_sums], side);
        var s30 = coopLoad<Sums>(&sums[own_sums], side); var s31 = coopLoad<Sums>(&sums[own_sums], side);
        var s32 = coopLoad<Sums>(&sums[own_sums], side); var s33 = coopLoad<Sums>(&sums[own_sums], side);
        for (var word = 0u; word < params.row_words; word += DEPTH) {
            let now = word / DEPTH % 2u;
            for (var k = 0u; k < DEPTH * 8u / SIDE; k++) {
                // Two words an invocation and round are enough for 32 invocations (8 x 8) or 128 (16 x 16).
                let i = k * 2u * WORKGROUP + lane;
                let next_w = weights_of(row, word + DEPTH, i);
                let next_x = inputs_of(token, word + DEPTH, i);
                let more_w = weights_of(row, word + DEPTH, i + WORKGROUP);
                let more_x = inputs_of(token, word + DEPTH, i + WORKGROUP);
                let w_at = ((now * TILE + own_rows) * PITCH + k * SIDE) / UNIT;
                let x_at = ((now * TILE + own_tokens) * PITCH + k * SIDE) / UNIT;
                let w0 = coopLoadT<MatW>(&w_tile[w_at], pitch);
                let w1 = coopLoadT<MatW>(&w_tile[w_at + SIDE * pitch], pitch);
                let w2 = coopLoadT<MatW>(&w_tile[w_at + 2u * SIDE * pitch], pitch);
                let w3 = coopLoadT<MatW>(&w_tile[w_at + 3u * SIDE * pitch], pitch);
                let x0 = coopLoad<MatX>(&x_tile[x_at], pitch);
                s00 = coopMultiplyAdd(w0, x0, s00); s10 = coopMultiplyAdd(w1, x0, s10);
                s20 = coopMultiplyAdd(w2, x0, s20); s30 = coopMultiplyAdd(w3, x0, s30);
                let x1 = coopLoad<MatX>(&x_tile[x_at + SIDE * pitch], pitch);
                s01 = coopMultiplyAdd(w0, x1, s01); s11 = coopMultiplyAdd(w1, x1, s11);
                s21 = coopMultiplyAdd(w2, x1, s21); s31 = coopMultiplyAdd(w3, x1, s31);
                let x2 = coopLoad<MatX>(&x_tile[x_at + 2u * SIDE * pitch], pitch);
                s02 = coopMultiplyAdd(w0, x2, s02); s12 = coopMultiplyAdd(w1, x2, s12);
                s22 = coopMultiplyAdd(w2, x2, s22); s32 = coopMultiplyAdd(w3, x2, s32);
                let x3 = coopLoad<MatX>(&x_tile[x_at + 3u * SIDE * pitch], pitch);
                s03 = coopMultiplyAdd(w0, x3, s03); s13 = coopMultiplyAdd(w1, x3, s13);
                s23 = coopMultiplyAdd(w2, x3, s23); s33 = coopMultiplyAdd(w3, x3, s33);
                put(1u - now, i, next_w, next_x);
                put(1u - now, i + WORKGROUP, more_w, more_x);
            }
            workgroupBarrier();
        }
        coopStore(s00, &sums[own_sums], side); write(row, token, first, count, 0u, 0u, lane);
        coopStore(s01, &sums[own_sums], side); write(row, token, first, count, 0u, 1u, lane);
        coopStore(s02, &sums[own_sums], side); write(row, token, first, count, 0u, 2u, lane);
        coopStore(s03, &sums[own_sums], side); write(row, token, first, count, 0u, 3u, lane);
        coopStore(s10, &sums[own_sums], side); write(row, token, first, count, 1u, 0u, lane);
        coopStore(s11, &sums[own_sums], side); write(row, token, first, count, 1u, 1u, lane);
        coopStore(s12, &sums[own_sums], side); write(row, token, first, count, 1u, 2u, lane);
        coopStore(s13, &sums[own_sums], side); write(row, token, first, count, 1u, 3u, lane);
        coopStore(s20, &sums[own_sums], side); write(row, token, first, count, 2u, 0u, lane);
        coopStore(s21, &sums[own_sums], side); write(row, token, first, count, 2u, 1u, lane);
        coopStore(s22, &sums[own_sums], side); write(row, token, first, count, 2u, 2u, lane);
        coopStore(s23, &sums[own_sums], side); write(row, token, first, count, 2u, 3u, lane);
        coopStore(s30, &sums[own_sums], side); write(row, token, first, count, 3u, 0u, lane);
        coopStore(s31, &sums[own_sums], side); write(row, token, first, count, 3u, 1u, lane);
        coopStore(s32, &sums[own_sums], side); write(row, token, first, count, 3u, 2u, lane);
        coopStore(s33, &sums[own_sums], side); write(row, token, first, count, 3u, 3u, lane);
    }
}
