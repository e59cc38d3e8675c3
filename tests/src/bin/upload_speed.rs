//! How fast weights come onto the device, beside what the device copies: bytes of a checkpoint's matrices a second, from a warm page
//! cache, medians of interleaved rounds.
//!
//! ```text
//! cargo run --release -p guanaco-tests --bin upload_speed -- PATH [ROUNDS]
//! ```
//!
//! - `copy`: from one buffer of the device to another, as `guanaco bench` measures it, in bytes copied (read once, written once);
//! - `staging copy`: from a staging buffer to the device, again and again: what the bus or the driver gives;
//! - `ring, memory there`: the ring into buffers whose memory has been touched: the ring itself;
//! - `ring, new memory`: into new buffers, as a load does. On a software device the system clears each page before.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use guanaco_engine::file::Checkpoint;
use guanaco_engine::gpu::{Buffer, Gpu, Role, StagingRing};
use guanaco_engine::model::Config;
use guanaco_engine::weights::ResolvedTensor;
use guanaco_engine::weights::names::resolve;
use guanaco_tests::device::gpu;

/// Of a slot of the ring, as a load of all but the smallest models has it.
const SLOT: u64 = 32 << 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: upload_speed PATH [ROUNDS]")?;
    let rounds: usize = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let checkpoint = Checkpoint::open(Path::new(&path))?;
    let tensors = resolve(&checkpoint, &Config::load(&checkpoint)?.dims())?.tensors;
    let gpu = gpu()?;
    println!("{}", gpu.facts());

    let device = |tensor: &ResolvedTensor| -> guanaco_engine::Result<Buffer> {
        let bytes = (tensor.rows * tensor.format().row_bytes(tensor.cols)) as u64;
        gpu.create_buffer(&tensor.name, bytes.min(gpu.tier().max_matrix_part), Role::Storage)
    };
    let there = tensors.iter().map(device).collect::<guanaco_engine::Result<Vec<_>>>()?;
    let bytes: u64 = there.iter().map(Buffer::size).sum();
    upload(&gpu, &checkpoint, &tensors, &there)?;

    let mut samples: [Vec<f64>; 4] = Default::default();
    for _ in 0..rounds {
        samples[0].push(gpu.measure_copy_bandwidth()? / 2.0);
        samples[1].push(staging_copy(&gpu)?);
        let start = Instant::now();
        upload(&gpu, &checkpoint, &tensors, &there)?;
        samples[2].push(bytes as f64 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        let new = tensors.iter().map(device).collect::<guanaco_engine::Result<Vec<_>>>()?;
        upload(&gpu, &checkpoint, &tensors, &new)?;
        samples[3].push(bytes as f64 / start.elapsed().as_secs_f64());
    }
    let copy = median(&mut samples[0]);
    for (what, samples) in ["copy", "staging copy", "ring, memory there", "ring, new memory"].iter().zip(&mut samples) {
        let (least, most) =
            (samples.iter().copied().fold(f64::MAX, f64::min), samples.iter().copied().fold(0.0, f64::max));
        let rate = median(samples);
        println!(
            "{what:<20} {:>6.2} GB/s ({:.2}–{:.2}), {:>3.0} % of copy",
            rate / 1e9,
            least / 1e9,
            most / 1e9,
            100.0 * rate / copy
        );
    }
    Ok(())
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}

/// All `tensors` into `buffers`, one each, through a ring of its own, and until the last copy is done.
fn upload(gpu: &Gpu, checkpoint: &Checkpoint, tensors: &[ResolvedTensor], buffers: &[Buffer]) -> Result<()> {
    let mut ring = StagingRing::new(gpu, SLOT)?;
    for (tensor, buffer) in tensors.iter().zip(buffers) {
        let row_bytes = tensor.format().row_bytes(tensor.cols);
        let scale_bytes = tensor.format().scale_words(tensor.cols) * 4;
        let per_slot = (SLOT as usize / row_bytes).max(1);
        let rows = tensor.rows.min(buffer.size() as usize / row_bytes);
        for first in (0..rows).step_by(per_slot) {
            let n = per_slot.min(rows - first);
            ring.upload(buffer, (first * row_bytes) as u64, n, row_bytes, |range, codes| {
                let (rows, mut scales) = (first + range.start..first + range.end, vec![0; range.len() * scale_bytes]);
                match tensor.packed(checkpoint.into(), rows.clone())? {
                    Some(bytes) => Ok(Some(bytes)),
                    None => tensor.pack(checkpoint.into(), rows, codes, &mut scales).map(|()| None),
                }
            })?;
        }
        tensor.release(checkpoint.into(), 0..tensor.rows);
    }
    Ok(ring.finish()?)
}

/// Bytes a second from a staging buffer to the device.
fn staging_copy(gpu: &Gpu) -> Result<f64> {
    const COPIES: u64 = 16;
    let (from, to) = (gpu.create_buffer("from", SLOT, Role::Staging)?, gpu.create_buffer("to", SLOT, Role::Storage)?);
    let copies = [(&from, &to, 0, SLOT)];
    // The first takes the pages.
    gpu.copy_same_place(&copies)?;
    gpu.read(&to, 0, 4)?;
    let start = Instant::now();
    for _ in 0..COPIES {
        gpu.copy_same_place(&copies)?;
    }
    gpu.read(&to, 0, 4)?;
    Ok((COPIES * SLOT) as f64 / start.elapsed().as_secs_f64())
}
