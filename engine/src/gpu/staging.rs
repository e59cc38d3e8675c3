//! A fixed ring of mapped buffers that uploads go through.
//!
//! `queue.write_buffer` allocates a staging buffer for each call, and a buffer mapped at creation clears one of its full size:
//! either would double the memory of a model on its way to the device. Here the host fills one slot while the device copies
//! another, and the ring is all the memory there is.
//!
//! Bytes that the device gets as they are in the file go from the map into the slot, without a stop in between: CPU time of the ring
//! 1.00 → 0.87 s for 2.2 GB into buffers whose memory is there, 1.95 → 1.85 s into new ones (lavapipe, Mesa 22.3.6, medians of six).
//!
//! Tried, and not kept: weights straight into mapped buffers of the device (`MAPPABLE_PRIMARY_BUFFERS`), where device and host share
//! their memory. Expected: no copy from the staging buffer, which is a tenth of the work. wgpu clears what it maps, so the copy
//! becomes a clearing. Measured on lavapipe (Mesa 22.3.6), 2.1 GB of new buffers, two threads, quietest of three interleaved rounds:
//! ring 1.54 s (CPU 1.55 s, of which the system clears pages for 1.15 s), mapped in ranges of 32 MiB 1.42 s (1.59 s), of 4 MiB 1.60 s
//! (1.51 s), of 1 MiB 2.35 s (1.63 s), mapped at creation 1.49 s (1.48 s): the system's clearing of new pages is three quarters of it
//! either way, and nothing is known of which memory a GPU's driver gives such buffers, which decode would read from for ever after.

use std::ops::Range;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use super::buffer::{Buffer, Role};
use super::context::Gpu;
use crate::error::{Error, Result};

/// Slots of the ring.
const SLOTS: usize = 3;

/// Uploads whose proof is read at once: each has a word of its own, to which its number is copied with its bytes.
const PROOFS: usize = 4096;

/// The ring.
pub struct StagingRing<'g> {
    gpu: &'g Gpu,
    slots: Vec<Slot>,
    next: usize,
    bytes: u64,
    threads: usize,
    /// The numbers of the uploads that ran, on the device.
    proofs: Buffer,
    /// Uploads so far.
    uploads: u32,
    /// Those whose proof was read.
    proven: u32,
}

/// Threads that fill a slot together: what one core converts is less than a disk or a bus delivers.
const MAX_THREADS: usize = 4;
/// A slot with fewer bytes is filled by one thread.
const SMALL: usize = 1 << 20;

struct Slot {
    buffer: Buffer,
    /// The answer to the request for mapping it again.
    mapped: Receiver<Result<(), wgpu::BufferAsyncError>>,
    /// The copy out of it.
    copied: Option<wgpu::SubmissionIndex>,
}

impl<'g> StagingRing<'g> {
    /// A ring of slots of `bytes` each.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(gpu: &'g Gpu, bytes: u64) -> Result<Self> {
        let mut slots = Vec::with_capacity(SLOTS);
        for _ in 0..SLOTS {
            let buffer = gpu.create_buffer("staging", proof_at(bytes) + 4, Role::Staging)?;
            let mapped = request_map(&buffer);
            slots.push(Slot { buffer, mapped, copied: None });
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let proofs = gpu.create_buffer("proof of uploads", 4 * PROOFS as u64, Role::Storage)?;
        Ok(Self { gpu, slots, next: 0, bytes, threads, proofs, uploads: 0, proven: 0 })
    }

    /// Bytes of one slot.
    pub fn slot_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes of all slots.
    pub fn total_bytes(slot_bytes: u64) -> u64 {
        slot_bytes * SLOTS as u64
    }

    /// Fills a slot with `units` pieces of `unit_bytes` each, `fill(range of units, bytes)` at a time and on several threads, and
    /// copies it to `offset` of `to`. Where `fill` gives bytes, as many as it was to fill, these are taken in place of those that it
    /// was to fill. All sizes are multiples of 4; the whole is at most a slot.
    ///
    /// # Errors
    /// The error of `fill`, or what the device reports.
    pub fn upload<'s>(
        &mut self,
        to: &Buffer,
        offset: u64,
        units: usize,
        unit_bytes: usize,
        fill: impl Fn(Range<usize>, &mut [u8]) -> Result<Option<&'s [u8]>> + Sync,
    ) -> Result<()> {
        let during = "uploading weights";
        let failed = |detail: String| Error::Gpu { during: during.to_owned(), detail };
        if (self.uploads - self.proven) as usize == PROOFS {
            self.prove()?;
        }
        let total = units * unit_bytes;
        let (gpu, index) = (self.gpu, self.next);
        self.next = (index + 1) % self.slots.len();
        let Some(slot) = self.slots.get_mut(index).filter(|_| total as u64 <= self.bytes) else {
            return Err(failed(format!("{total} bytes do not fit a staging slot of {}", self.bytes)));
        };
        loop {
            match slot.mapped.try_recv() {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(failed(error.to_string())),
                // Only for the copy out of this slot: the later ones go on while the host fills it.
                Err(TryRecvError::Empty) => gpu.wait(during, slot.copied.clone())?,
                Err(TryRecvError::Disconnected) => return Err(failed("the map request was never answered".to_owned())),
            }
        }
        let threads = if total < SMALL { 1 } else { self.threads };
        // Maps begin at multiples of 8 bytes.
        let per_thread = units.div_ceil(threads).next_multiple_of(2).max(2);
        let buffer = &slot.buffer.raw;
        let work = |first: usize| {
            let range = first..(first + per_thread).min(units);
            let bytes = (range.start * unit_bytes) as u64..(range.end * unit_bytes) as u64;
            let view = buffer.get_mapped_range_mut(bytes).map_err(|error| failed(error.to_string()))?;
            fill_view(view, range, unit_bytes, &fill)
        };
        let result = std::thread::scope(|scope| {
            let others: Vec<_> =
                (per_thread..units).step_by(per_thread).map(|first| scope.spawn(move || work(first))).collect();
            let mine = work(0);
            let joined = others.into_iter().map(|other| match other.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.fold(mine, Result::and)
        });
        let number = self.uploads + 1;
        let put = || -> Result<()> {
            let at = proof_at(self.bytes);
            let mut view = buffer.get_mapped_range_mut(at..at + 4).map_err(|error| failed(error.to_string()))?;
            view.slice(..).copy_from_slice(&number.to_le_bytes());
            Ok(())
        };
        let result = result.and_then(|()| put());
        slot.buffer.raw.unmap();
        if result.is_ok() {
            let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            encoder.copy_buffer_to_buffer(&slot.buffer.raw, 0, &to.raw, offset, total as u64);
            let word = 4 * (u64::from(self.uploads) % PROOFS as u64);
            encoder.copy_buffer_to_buffer(&slot.buffer.raw, proof_at(self.bytes), &self.proofs.raw, word, 4);
            slot.copied = Some(gpu.submit_commands(encoder.finish()));
            self.uploads = number;
        }
        slot.mapped = request_map(&slot.buffer);
        gpu.check(during)?;
        result
    }

    /// Waits until every copy is done, and checks that each of them ran.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where the driver dropped one; what the device reports.
    pub fn finish(mut self) -> Result<()> {
        self.prove()
    }

    /// Waits, and checks the uploads since the last time.
    fn prove(&mut self) -> Result<()> {
        let during = "uploading weights";
        self.gpu.wait(during, None)?;
        let found: Vec<u32> = bytemuck::pod_collect_to_vec(&self.gpu.read(&self.proofs, 0, 4 * PROOFS as u64)?);
        for upload in self.proven..self.uploads {
            if found.get(upload as usize % PROOFS) != Some(&(upload + 1)) {
                return Err(self.gpu.dropped(during));
            }
        }
        self.proven = self.uploads;
        Ok(())
    }
}

/// Where a slot of `bytes` holds the number of its upload: maps begin at multiples of 8.
fn proof_at(bytes: u64) -> u64 {
    bytes.next_multiple_of(8)
}

/// Fills the mapped bytes of the units `range` block by block: mapped memory may be write-combined, so the conversion works in
/// cached memory beside it.
fn fill_view<'s>(
    mut view: wgpu::BufferViewMut,
    range: Range<usize>,
    unit_bytes: usize,
    fill: &impl Fn(Range<usize>, &mut [u8]) -> Result<Option<&'s [u8]>>,
) -> Result<()> {
    const BLOCK: usize = 256 << 10;
    let per_block = (BLOCK / unit_bytes.max(1)).max(1);
    let mut scratch = Vec::new();
    for first in range.clone().step_by(per_block) {
        let block = first..(first + per_block).min(range.end);
        scratch.resize(block.len() * unit_bytes, 0);
        let at = (first - range.start) * unit_bytes;
        let given = fill(block, &mut scratch)?.filter(|bytes| bytes.len() == scratch.len());
        view.slice(at..at + scratch.len()).copy_from_slice(given.unwrap_or(&scratch));
    }
    Ok(())
}

fn request_map(buffer: &Buffer) -> Receiver<Result<(), wgpu::BufferAsyncError>> {
    let (sender, receiver) = channel();
    // The receiver is gone only when the ring is.
    buffer.raw.map_async(wgpu::MapMode::Write, .., move |result| _ = sender.send(result));
    receiver
}
