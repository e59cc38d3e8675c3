//! How fast the tensors of a checkpoint are converted to what the device gets, without a device: bytes of the file a second on
//! every core, from a warm page cache (the second round).
//!
//! ```text
//! cargo run --release -p guanaco-tests --bin convert_speed -- PATH [ROUNDS]
//! ```

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context as _, Result};
use guanaco_engine::file::Checkpoint;
use guanaco_engine::model::Config;
use guanaco_engine::weights::names::resolve;

/// Bytes of codes that are filled at a time, as the upload does.
const BLOCK: usize = 256 << 10;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().context("usage: convert_speed PATH [ROUNDS]")?;
    let rounds: usize = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let checkpoint = Checkpoint::open(Path::new(&path))?;
    let tensors = resolve(&checkpoint, &Config::load(&checkpoint)?.dims())?;
    let bytes = tensors.stored_bytes() as f64 / 1e9;
    let threads = std::thread::available_parallelism()?.get();
    for round in 0..rounds {
        let start = Instant::now();
        for tensor in &tensors.tensors {
            let (row_bytes, scale_bytes) =
                (tensor.format().row_bytes(tensor.cols), tensor.format().scale_words(tensor.cols) * 4);
            let per_block = (BLOCK / row_bytes.max(1)).clamp(1, tensor.rows);
            let next = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                let work = || -> guanaco_engine::Result<()> {
                    let (mut codes, mut scales) = (Vec::new(), Vec::new());
                    loop {
                        let first = next.fetch_add(per_block, Ordering::Relaxed);
                        if first >= tensor.rows {
                            return Ok(());
                        }
                        let rows = first..(first + per_block).min(tensor.rows);
                        codes.resize(rows.len() * row_bytes, 0);
                        scales.resize(rows.len() * scale_bytes, 0);
                        tensor.pack((&checkpoint).into(), rows, &mut codes, &mut scales)?;
                    }
                };
                let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
                workers.into_iter().try_for_each(|worker| worker.join().unwrap_or(Ok(())))
            })?;
        }
        let seconds = start.elapsed().as_secs_f64();
        println!("round {round}: {bytes:.2} GB in {seconds:.2} s, {:.2} GB/s on {threads} threads", bytes / seconds);
    }
    Ok(())
}
