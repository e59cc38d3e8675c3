// The largest of many numbers, and the sum of exp(number - largest) of all: in parts, which can be joined and never overflow.
struct ExpSum {
    largest: f32,
    sum: f32,
}

const NOTHING = ExpSum(-3.4e38, 0.0);

fn joined(a: ExpSum, b: ExpSum) -> ExpSum {
    let ahead = a.largest - b.largest;
    // Nothing is left of exp(-100) in f32.
    let less = exp(max(-abs(ahead), -100.0));
    let sum = select(a.sum * less + b.sum, a.sum + b.sum * less, ahead >= 0.0);
    return ExpSum(max(a.largest, b.largest), sum);
}

fn held(lane: u32) -> ExpSum {
    return ExpSum(bitcast<f32>(atomicLoad(&bins[lane])), bitcast<f32>(atomicLoad(&bins[1024u + lane])));
}

// Joins the parts of all invocations; lane 0 then holds the whole. `bins` has room for 1024 of them.
fn join(lane: u32, part: ExpSum) {
    atomicStore(&bins[lane], bitcast<u32>(part.largest));
    atomicStore(&bins[1024u + lane], bitcast<u32>(part.sum));
    for (var half = WORKGROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if lane < half {
            let both = joined(held(lane), held(lane + half));
            atomicStore(&bins[lane], bitcast<u32>(both.largest));
            atomicStore(&bins[1024u + lane], bitcast<u32>(both.sum));
        }
    }
}
