//! The choice of the next token on the device, and the candidates by which the host checks it.

use bytemuck::{Pod, Zeroable};

use super::{Case, Data, Rng, Step, launch, preferred};
use crate::error::Result;
use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, Launch, Recording, Tier, TwinBuffers};

/// Candidates that can be asked for; more come where they tie.
pub const MOST_BEST: usize = 128;
/// Candidates that there is room for: with more ties than this the choice is void.
pub const MOST: usize = 256;
/// Random numbers in the ring.
pub const DRAWS: usize = 64;
/// Words before the candidates in `out`: the choice, the number of candidates, whether a logit is not finite, the position.
pub const HEADER: usize = 4;
/// Bytes of `out`.
pub const OUT_BYTES: u64 = ((HEADER + 2 * MOST) * 4) as u64;
/// Bytes of `sums`: the score of the last of the best; the largest logit, and the sum of `exp(logit - largest)`.
pub const SUMS_BYTES: u64 = 3 * 4;

/// The WGSL `Params`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
pub struct Params {
    /// Number of logits.
    pub vocab_size: u32,
    /// Candidates to find, at most [`MOST_BEST`].
    pub n_best: u32,
    /// 1: the best token, else a draw.
    pub greedy: u32,
    /// Divides positive, multiplies negative scores of tokens seen before.
    pub repetition_penalty: f32,
    /// `1 / temperature`.
    pub sharpness: f32,
    /// Keeps so many of the best, and those tied with the last.
    pub top_k: u32,
    /// Keeps the best until their probabilities reach this.
    pub top_p: f32,
    /// Removes what is less probable than this share of the best one's probability.
    pub min_p: f32,
    /// 1: the best logits are candidates too, and `sums` is about all of them.
    pub chances: u32,
}

/// The variants that run on `tier`. `wide` is the same text with as many invocations as there may be, since one workgroup reads all
/// logits four times.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    let large =
        [1024, 512].into_iter().find(|size| *size <= tier.max_invocations).map(|size| launch("sample", "wide", size));
    large.into_iter().chain([launch("sample", "base", 256)]).collect()
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (p, mut step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (logits, draws) = (buffers.f32("logits")?, buffers.f32("draws")?);
    let (mut seen, mut tokens, mut out) = (buffers.u32("seen")?, buffers.u32("tokens")?, buffers.u32("out")?);
    let mut sums = buffers.f32("sums")?;
    let logits = logits.get(..p.vocab_size as usize).unwrap_or_default();
    let is_seen = |id: usize| seen.get(id / 32).is_some_and(|word| word & (1 << (id % 32)) != 0);
    let score = |(id, logit): (usize, &f32)| match (is_seen(id), *logit < 0.0) {
        (false, _) => *logit,
        (true, true) => logit * p.repetition_penalty,
        (true, false) => logit / p.repetition_penalty,
    };
    let scores: Vec<f32> = logits.iter().enumerate().map(score).collect();
    let mut sorted = scores.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let threshold = sorted.get((p.n_best as usize).clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default();
    let best = sorted.first().copied().unwrap_or_default();
    let reaches = |(score, logit): (&f32, &f32)| *score >= threshold || p.chances != 0 && *logit >= threshold;
    let pairs = scores.iter().zip(logits).enumerate();
    let among: Vec<usize> = pairs.filter(|(_, pair)| reaches(*pair)).map(|(id, _)| id).collect();
    let at = |id: &usize| scores.get(*id).copied().unwrap_or_default();
    let rank = |id: &usize| among.iter().filter(|other| at(other) > at(id)).count();
    let weight = |id: &usize| (f64::from(at(id) - best) * f64::from(p.sharpness)).exp();
    let top = if p.greedy != 0 { 1 } else { p.top_k as usize };
    let mut kept: Vec<usize> = among.iter().copied().filter(|id| rank(id) < top).collect();
    let total: f64 = kept.iter().map(weight).sum();
    let before = |id: &usize| -> f64 {
        let better = |other: &&usize| at(other) > at(id) || (at(other) == at(id) && *other < id);
        kept.iter().filter(better).map(weight).sum()
    };
    let in_top_p: Vec<usize> = kept
        .iter()
        .copied()
        .filter(|id| (p.top_p >= 1.0 || before(id) < f64::from(p.top_p) * total) && weight(id) >= f64::from(p.min_p))
        .collect();
    kept = in_top_p;
    let total: f64 = kept.iter().map(weight).sum();
    let mut rest = f64::from(draws.get(step.pos as usize % DRAWS).copied().unwrap_or_default()) * total;
    let mut chosen = kept.first().copied().unwrap_or_default();
    for id in kept.iter().filter(|_| p.greedy == 0) {
        chosen = *id;
        rest -= weight(id);
        if rest < 0.0 {
            break;
        }
    }
    let broken = logits.iter().any(|logit| !logit.is_finite());
    let mut words = vec![chosen as u32, among.len() as u32, u32::from(broken), step.pos];
    words.extend(among.iter().flat_map(|id| [*id as u32, logits.get(*id).map_or(0, |logit| logit.to_bits())]));
    out.iter_mut().zip(words).for_each(|(to, word)| *to = word);
    // Minus zero is zero.
    let mut whole = vec![threshold + 0.0];
    if p.chances != 0 && !broken {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - f64::from(largest)).exp()).sum();
        whole.extend([largest, sum as f32]);
    }
    sums.iter_mut().zip(whole).for_each(|(to, value)| *to = value);
    if let (Some(token), Some(word)) = (tokens.first_mut(), seen.get_mut(chosen / 32)) {
        *token = chosen as u32;
        *word |= 1 << (chosen % 32);
    }
    step.pos += 1;
    buffers.insert("out", bytemuck::cast_slice(&out).to_vec());
    buffers.set_f32("sums", &sums);
    buffers.insert("tokens", bytemuck::cast_slice(&tokens).to_vec());
    buffers.insert("seen", bytemuck::cast_slice(&seen).to_vec());
    buffers.insert("step", bytemuck::bytes_of(&step).to_vec());
    Ok(())
}

/// The choice, bound.
#[derive(Debug)]
pub struct Sample {
    dispatch: Dispatch,
    vocab_size: u32,
}

/// The buffers of [`Sample`].
#[derive(Clone, Copy, Debug)]
pub struct Wiring<'a> {
    /// [`Params`], written for each reply.
    pub params: &'a Buffer,
    /// (vocab_size) f32.
    pub logits: &'a Buffer,
    /// ([`DRAWS`]) f32: random numbers in 0..1, by position.
    pub draws: &'a Buffer,
    /// (vocab_size) bits: the history.
    pub seen: &'a Buffer,
    /// (chunk_len) ids: the choice becomes the first.
    pub tokens: &'a Buffer,
    /// The step, whose position goes up.
    pub step: &'a Buffer,
    /// ([`OUT_BYTES`]): the choice and the candidates.
    pub out: &'a Buffer,
    /// ([`SUMS_BYTES`]): what all logits come to.
    pub sums: &'a Buffer,
}

impl Sample {
    /// Binds the buffers of a model with `vocab_size` logits.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &Gpu, label: &str, vocab_size: usize, wiring: Wiring<'_>) -> Result<Self> {
        let bindings = vec![
            BoundBuffer::whole("params", wiring.params),
            BoundBuffer::whole("logits", wiring.logits),
            BoundBuffer::whole("draws", wiring.draws),
            BoundBuffer::whole("seen", wiring.seen),
            BoundBuffer::whole("tokens", wiring.tokens),
            BoundBuffer::whole("step", wiring.step),
            BoundBuffer::whole("out", wiring.out),
            BoundBuffer::whole("sums", wiring.sums),
        ];
        let dispatch = gpu.dispatch(label, &preferred(gpu, "sample")?, twin, bindings)?;
        Ok(Self { dispatch, vocab_size: vocab_size as u32 })
    }

    /// Chooses.
    pub fn record<'a>(&'a self, recording: &mut Recording<'a>) {
        recording.push(&self.dispatch, [1, 1, 1], u64::from(self.vocab_size));
    }
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    let plain = Params {
        vocab_size: 1,
        n_best: 8,
        greedy: 0,
        repetition_penalty: 1.0,
        sharpness: 1.0,
        top_k: 4,
        top_p: 1.0,
        min_p: 0.0,
        chances: 0,
    };
    // A vocabulary smaller than the candidates, one more than a power of two, LLaMA's; every processor; equal logits.
    let guanaco = Params { n_best: 38, repetition_penalty: 1.07, sharpness: 2.0, top_k: 30, top_p: 0.75, ..plain };
    let told = Params { n_best: 10, greedy: 1, repetition_penalty: 1.3, chances: 1, ..plain };
    let configs = [
        ("greedy", Params { greedy: 1, ..plain }),
        ("greedy, penalty", Params { greedy: 1, repetition_penalty: 1.3, ..plain }),
        ("top_k", plain),
        ("guanaco", guanaco),
        ("min_p", Params { n_best: 128, top_k: 120, min_p: 0.2, sharpness: 1.5, ..plain }),
        ("greedy, penalty, chances", told),
        ("guanaco, chances", Params { chances: 1, ..guanaco }),
    ];
    let mut cases = Vec::new();
    for (seed, (vocab_size, spread, pos)) in
        [(3_u32, 4.0, 0), (1025, 6.0, 63), (32000, 9.0, 700), (97, 0.0, 64)].into_iter().enumerate()
    {
        for (name, config) in configs {
            let mut rng = Rng::new(seed as u64);
            let name = format!("{name}, {vocab_size} logits to {spread}, behind position {pos}");
            let seen: Vec<u32> =
                (0..vocab_size.div_ceil(32)).map(|_| (rng.next_u64() & rng.next_u64()) as u32).collect();
            let draws: Vec<f32> = (0..DRAWS).map(|_| rng.value(0.5) + 0.5).collect();
            let logits = rng.values(vocab_size as usize, spread);
            cases.push(case(name, Params { vocab_size, ..config }, &logits, &draws, &seen, pos));
        }
    }
    // One logit beyond the others: nothing overflows. Minus infinity is reported, and the sum is left alone.
    for (name, logit) in [("ahead", 60.0), ("huge", 1e30), ("far behind", -1e30), ("infinite", f32::NEG_INFINITY)] {
        let mut logits = Rng::new(9).values(1025, 6.0);
        logits.iter_mut().skip(600).take(1).for_each(|one| *one = logit);
        let params = Params { vocab_size: 1025, chances: 1, ..guanaco };
        cases.push(case(format!("one logit {name}"), params, &logits, &[0.5; DRAWS], &[0x1111; 33], 5));
    }
    // Every token that was seen loses more than the best of the others are behind.
    let mut logits = Rng::new(10).values(1025, 3.0);
    logits.iter_mut().step_by(32).for_each(|one| *one = one.abs() + 6.0);
    let params = Params { vocab_size: 1025, repetition_penalty: 9.0, ..told };
    cases.push(case("the best are penalised".to_owned(), params, &logits, &[0.5; DRAWS], &[1; 33], 5));
    cases
}

fn case(name: String, params: Params, logits: &[f32], draws: &[f32], seen: &[u32], pos: u32) -> Case {
    // The sum of thousands of f32, each from an exp() of f32, in another order; everything else is compared bit by bit.
    Case::new(name, 1e-9, |_, _, _| [1, 1, 1])
        .uniform("params", params)
        .f32("logits", logits)
        .f32("draws", draws)
        .u32("seen", seen)
        .u32("tokens", &[7, 8])
        .uniform("step", Step { pos, n_tokens: 1 })
        .output("out", Data::U32, HEADER + 2 * MOST)
        .output("sums", Data::F32, SUMS_BYTES as usize / 4)
}
