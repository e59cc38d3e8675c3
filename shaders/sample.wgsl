// Chooses the next token on the device, so that the step after it need not wait for the host: repetition penalty, temperature,
// top_k, top_p, min_p and the draw, or the best token (sampler/processors.rs says what each means). One workgroup.
//
// The host checks the choice: `out` has the best tokens with their logits, and the host's sampler, in f64, chooses among these
// again. So nothing here must be exact but the candidates: they are `n_best`, some more than top_k, and all that tie with the last.
//
// With `chances`, the host also tells how likely the best tokens are before any penalty. A token whose logit is at least the n_best-th
// score is a candidate then, even if the penalty takes its own score below that. So what is not a candidate has a smaller logit; and
// as no penalty above 1 raises a score, the logits of n_best candidates are at least that: the best logits are all here.
//
// Each invocation asks of its candidate which others are better, or have lower ids: the list is short.
//
// Measured, stock lavapipe, a busy machine, 32000 logits, from submit to result, least of 15 interleaved runs: 3.7 ms with the
// settings of `guanaco` and 3.4 ms greedy, as before there were chances; with them 4.1 and 3.5 ms (`wide`: 4.5, 3.8; 5.4, 4.2). For
// scale, the chances took a copy of all logits to the host, and a wait for it, with every token.
#import nth_best
#import exp_sum

struct Params {
    vocab_size: u32,
    // Candidates to find; at most 128, so that ties have room.
    n_best: u32,
    // 1: the best token.
    greedy: u32,
    // Divides positive, multiplies negative scores of tokens seen before.
    repetition_penalty: f32,
    // 1 / temperature.
    sharpness: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    // 1: the chances are asked for.
    chances: u32,
}

struct Step {
    pos: u32,
    n_tokens: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<u32>; // (vocab_size) f32
@group(0) @binding(2) var<storage, read> draws: array<f32>; // (64): the random number in 0..1 for the token behind position pos % 64
@group(0) @binding(3) var<storage, read_write> seen: array<u32>; // (vocab_size / 32): a bit a token of the history
@group(0) @binding(4) var<storage, read_write> tokens: array<u32>; // the choice goes to 0
@group(0) @binding(5) var<storage, read_write> step: Step; // pos goes up by one
@group(0) @binding(6) var<storage, read_write> out: array<u32>; // choice, candidates, not finite, pos; then (candidates) id, logit
@group(0) @binding(7) var<storage, read_write> sums: array<f32>; // the n_best-th score; with `chances`, the ExpSum of all logits

override WORKGROUP: u32 = 256;
const MOST = 256u;

var<workgroup> ids: array<u32, MOST>;
var<workgroup> keys: array<u32, MOST>;
var<workgroup> weights: array<f32, MOST>;
var<workgroup> kept: array<u32, MOST>;
var<workgroup> ranks: array<u32, MOST>; // by ascending id
var<workgroup> count: atomic<u32>;
var<workgroup> broken: atomic<u32>;
var<workgroup> chosen: atomic<u32>;

// That of a token's score.
fn key(id: u32) -> u32 {
    let logit = bitcast<f32>(logits[id]);
    if (seen[id / 32u] & (1u << (id % 32u))) == 0u {
        return order(logit);
    }
    return order(select(logit / params.repetition_penalty, logit * params.repetition_penalty, logit < 0.0));
}

// Is candidate `a` before `b`, best first?
fn better(a: u32, b: u32) -> bool {
    return keys[a] > keys[b] || (keys[a] == keys[b] && ids[a] < ids[b]);
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(local_invocation_index) lane: u32) {
    if lane == 0u {
        atomicStore(&count, 0u);
        atomicStore(&broken, 0u);
        atomicStore(&chosen, 0u);
    }
    find_nth_best(lane, min(params.n_best, params.vocab_size));
    var part = NOTHING;
    for (var id = lane; id < params.vocab_size; id += WORKGROUP) {
        if (logits[id] & 0x7F800000u) == 0x7F800000u {
            atomicOr(&broken, 1u);
        }
        let k = key(id);
        var reached = k;
        if params.chances != 0u {
            let logit = bitcast<f32>(logits[id]);
            reached = max(k, order(logit));
            part = joined(part, ExpSum(logit, 1.0));
        }
        if reached >= threshold {
            let at = atomicAdd(&count, 1u);
            if at < MOST {
                ids[at] = id;
                keys[at] = k;
            }
        }
    }
    workgroupBarrier();
    if params.chances != 0u {
        join(lane, part);
        if lane == 0u && atomicLoad(&broken) == 0u {
            sums[1] = held(0u).largest;
            sums[2] = held(0u).sum;
        }
    }
    let all = atomicLoad(&count);
    let n = min(all, MOST);
    // top_k, with those tied with the last; the weight of each is its probability over the best one's.
    for (var i = lane; i < n; i += WORKGROUP) {
        var above = 0u;
        var best = keys[i];
        for (var j = 0u; j < n; j++) {
            above += u32(keys[j] > keys[i]);
            best = max(best, keys[j]);
        }
        let keep = select(above < params.top_k, above == 0u, params.greedy != 0u);
        kept[i] = u32(keep);
        weights[i] = select(0.0, exp((score(keys[i]) - score(best)) * params.sharpness), keep);
    }
    workgroupBarrier();
    var total = 0.0;
    for (var j = 0u; j < n; j++) {
        total += weights[j];
    }
    // top_p: those before it do not yet reach the sum.
    for (var i = lane; i < n; i += WORKGROUP) {
        var before = 0.0;
        for (var j = 0u; j < n; j++) {
            before += select(0.0, weights[j], better(j, i));
        }
        kept[i] &= u32((before < params.top_p * total || params.top_p >= 1.0) && weights[i] >= params.min_p);
    }
    workgroupBarrier();
    total = 0.0;
    for (var j = 0u; j < n; j++) {
        total += select(0.0, weights[j], kept[j] != 0u);
    }
    // The draw goes through the kept by ascending id; greedy ties go to the lowest.
    let aim = draws[step.pos % 64u] * total;
    for (var i = lane; i < n; i += WORKGROUP) {
        var before = 0.0;
        var rank = 0u;
        for (var j = 0u; j < n; j++) {
            let lower = ids[j] < ids[i];
            rank += u32(lower);
            before += select(0.0, weights[j], lower && kept[j] != 0u);
        }
        ranks[i] = rank;
        out[4u + rank * 2u] = ids[i];
        out[5u + rank * 2u] = logits[ids[i]];
        // The last that begins below the aim; the lowest of all begins at 0.
        let begins = select(before <= aim, before == 0.0, params.greedy != 0u);
        if kept[i] != 0u && begins {
            atomicMax(&chosen, rank + 1u);
        }
    }
    workgroupBarrier();
    let rank = max(atomicLoad(&chosen), 1u) - 1u;
    for (var i = lane; i < n; i += WORKGROUP) {
        if ranks[i] == rank {
            let id = ids[i];
            out[0] = id;
            out[1] = all;
            out[2] = atomicLoad(&broken);
            out[3] = step.pos;
            sums[0] = score(threshold);
            tokens[0] = id;
            seen[id / 32u] |= 1u << (id % 32u);
            step.pos += 1u;
        }
    }
}
