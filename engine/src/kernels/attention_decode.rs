//! Attention of a decode step, one query a head, split over the context (Flash-Decoding, Dao et al. 2023,
//! <https://crfm.stanford.edu/2023/10/12/flashdecoding.html>).

use super::attention::{self, KvFormat, Params, Shape, inputs, splits};
use super::{Case, Data, Step, cpu_subgroup, launch};
use crate::error::Result;
use crate::gpu::{Launch, Tier, TwinBuffers};

/// The variants that run on `tier`.
pub fn launches(tier: &Tier) -> Vec<Launch> {
    variants(tier, ["cpu_subgroup", "subgroup", "base"])
}

/// As [`launches`], for [`KvFormat::Int8`].
pub fn launches_kv8(tier: &Tier) -> Vec<Launch> {
    variants(tier, ["kv8_cpu_subgroup", "kv8_subgroup", "kv8"])
}

fn variants(tier: &Tier, [cpu, subgroup, base]: [&'static str; 3]) -> Vec<Launch> {
    let cpu = cpu_subgroup(tier).map(|size| launch("attention_decode", cpu, size));
    let subgroup = tier.subgroup.map(|_| launch("attention_decode", subgroup, 64));
    cpu.into_iter().chain(subgroup).chain([launch("attention_decode", base, 64)]).collect()
}

/// Workgroups for `count` splits.
pub(super) fn workgroups(params: &Params, count: u32, launch: &Launch) -> [u32; 3] {
    if launch.variant.ends_with("cpu_subgroup") {
        [params.n_heads, count, params.head_words.div_ceil(launch.invocations)]
    } else {
        let group = params.n_heads / params.n_kv_heads.max(1);
        [params.n_kv_heads * group.div_ceil(4), count, 1]
    }
}

/// The reference.
///
/// # Errors
/// A missing buffer.
pub fn twin(buffers: &mut TwinBuffers) -> Result<()> {
    let (p, step): (Params, Step) = (buffers.params("params")?, buffers.params("step")?);
    let (keys, count) = splits(p.keys_per_split, p.max_splits, step.pos);
    if count == 1 {
        return attention::twin(buffers);
    }
    let (q, [k, v]) = (buffers.f32("q")?, attention::cache(buffers)?);
    let mut partial = buffers.f32("partial")?;
    let (n_heads, stride) = (p.n_heads as usize, (p.head_words as usize * 8).max(1));
    let group = (n_heads / (p.n_kv_heads as usize).max(1)).max(1);
    for (head, q) in q.chunks(stride).take(n_heads).enumerate() {
        for split in 0..count as usize {
            let first = split * keys as usize;
            let n_keys = (keys as usize).min(step.pos as usize + 1 - first);
            let rows = head / group * p.max_seq_len as usize + first;
            let (top, sum, mixed) = attention::attend(q, &k, &v, rows..rows + n_keys, f64::from(p.scale));
            let to = partial.iter_mut().skip((head * p.max_splits as usize + split) * (stride + 4));
            let values = [top, sum, 0.0, 0.0].into_iter().chain(mixed);
            to.zip(values).for_each(|(to, value)| *to = value as f32);
        }
    }
    buffers.set_f32("partial", &partial);
    Ok(())
}

/// What conformance runs.
pub fn cases() -> Vec<Case> {
    cases_of(KvFormat::F16)
}

/// As [`cases`], for [`KvFormat::Int8`].
pub fn cases_kv8() -> Vec<Case> {
    cases_of(KvFormat::Int8)
}

fn cases_of(format: KvFormat) -> Vec<Case> {
    // (shape; keys a split, most splits): one split and many, the last one short, more than the kernel takes at a time, sharp
    // scores, GQA of 2 to 8 heads, the 7B's heads.
    let shapes: [(Shape, (u32, u32)); 14] = [
        ((1, 1, 2, 0, 1, 1.0, 4.0), (4, 4)),
        ((4, 4, 16, 6, 1, 1.0, 4.0), (1000, 1)),
        ((6, 2, 10, 62, 1, 1.0, 4.0), (7, 64)),
        ((5, 1, 80, 130, 1, 4.0, 4.0), (1, 3)),
        ((3, 3, 100, 66, 1, 1.0, 4.0), (64, 2)),
        ((8, 8, 128, 1024, 1, 1.0, 4.0), (256, 16)),
        ((8, 8, 128, 1024, 1, 1.0, 4.0), (2000, 16)),
        ((4, 2, 256, 33, 1, 30.0, 4.0), (16, 8)),
        ((4, 2, 256, 300, 1, 30.0, 4.0), (400, 8)),
        ((2, 1, 64, 63, 1, 100.0, 4.0), (32, 8)),
        ((4, 2, 16, 70, 1, 1e-4, 65504.0), (50, 8)),
        ((8, 1, 64, 300, 1, 1.0, 4.0), (100, 64)),
        ((7, 1, 48, 128, 1, 1.0, 4.0), (200, 4)),
        ((12, 12, 64, 511, 1, 1.0, 4.0), (1000, 1)),
    ];
    let case = |((shape, split), seed)| {
        let (mut case, params) = inputs(format, shape, seed, split, |case, launch, _| {
            let (params, step): (Params, Step) = (case.params("params"), case.params("step"));
            // One split more than there are, as a dispatch has that was recorded for a longer context.
            workgroups(&params, splits(params.keys_per_split, params.max_splits, step.pos).1 + 1, launch)
        });
        let (_, count) = splits(params.keys_per_split, params.max_splits, shape.3 as u32);
        case.name = format!("{}, {count} splits", case.name);
        let stride = (params.head_words as usize * 8 + 4) * params.n_heads as usize;
        case.output("out", Data::F32, 2 * params.out_stride as usize).output(
            "partial",
            Data::F32,
            stride * params.max_splits as usize,
        )
    };
    shapes.into_iter().zip(0..).map(case).collect()
}
