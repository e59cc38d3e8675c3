// The n-th best of the scores whose `key`s the kernel gives, by its bits from the top: three histograms of 11, 11 and 10 bits.
var<workgroup> bins: array<atomic<u32>, 2048>;
var<workgroup> threshold: u32; // the key of the n-th best
var<workgroup> left: u32;

// A number that grows with a score; the bits of a float do, but for the sign.
fn order(score: f32) -> u32 {
    // Minus zero is zero.
    let bits = select(bitcast<u32>(score), 0u, score == 0.0);
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn score(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7FFFFFFFu, key >= 0x80000000u));
}

// Narrows `threshold` by the bits from `shift`: of the keys that agree with it above them, `left` are wanted.
fn narrow(lane: u32, shift: u32, width: u32) {
    for (var i = lane; i < 2048u; i += WORKGROUP) {
        atomicStore(&bins[i], 0u);
    }
    workgroupBarrier();
    let above = shift + width;
    let prefix = threshold;
    for (var id = lane; id < params.vocab_size; id += WORKGROUP) {
        let k = key(id);
        // A shift by 32 would be by 0.
        if above == 32u || ((k ^ prefix) >> (above % 32u)) == 0u {
            atomicAdd(&bins[(k >> shift) & ((1u << width) - 1u)], 1u);
        }
    }
    workgroupBarrier();
    if lane == 0u {
        var bin = (1u << width) - 1u;
        var wanted = left;
        loop {
            let n = atomicLoad(&bins[bin]);
            if n >= wanted || bin == 0u {
                break;
            }
            wanted -= n;
            bin -= 1u;
        }
        left = wanted;
        threshold = prefix | (bin << shift);
    }
    workgroupBarrier();
}

fn find_nth_best(lane: u32, n: u32) {
    if lane == 0u {
        threshold = 0u;
        left = n;
    }
    workgroupBarrier();
    narrow(lane, 21u, 11u);
    narrow(lane, 10u, 11u);
    narrow(lane, 0u, 10u);
}
