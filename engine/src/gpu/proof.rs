//! Proof that submitted work ran. Drivers exist that drop a submit which takes too long or finds no memory, and report success
//! (Metal through wgpu, i915): what the work should have written then has its old contents.
//!
//! A submit that is to be proven ends with the copy of a number that was never used before. Who reads another number there knows
//! that the submit did not run. Where a result is waited for in any case, its reader may check a number in it instead
//! ([`Gpu::run_and_check`]).

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buffer::{Buffer, Role};
use super::context::{Gpu, lock};
use crate::error::{Error, Result};

/// The numbers of a device's slices.
#[derive(Debug, Default)]
pub(super) struct Proof {
    cells: Mutex<Option<Cells>>,
    /// Submits of work and of uploads so far.
    submits: AtomicU64,
    /// The one among them that a test leaves out, from 1; 0 for none.
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Cells {
    number: u32,
    /// The number on the device.
    cell: Buffer,
    /// The copy of it.
    host: Buffer,
}

impl Gpu {
    /// Calls `submit` with the copy that proves it, waits, and checks that it ran.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where the driver dropped it; what the device reports.
    pub(super) fn proven(
        &self,
        during: &str,
        submit: impl FnOnce((&Buffer, &Buffer, u64, u64)) -> wgpu::SubmissionIndex,
    ) -> Result<()> {
        let mut cells = lock(&self.proof.cells);
        let made = match cells.take() {
            Some(made) => made,
            None => Cells {
                number: 0,
                cell: self.create_buffer("proof", 4, Role::Storage)?,
                host: self.create_buffer("proof on the host", 4, Role::Readback)?,
            },
        };
        let Cells { number, cell, host } = cells.insert(made);
        *number = number.wrapping_add(1);
        self.write(cell, 0, &number.to_le_bytes())?;
        let index = submit((cell, host, 0, 4));
        let mapping = self.ask(host, 4);
        self.wait(during, Some(index))?;
        let found = self.view(mapping, |data| data.try_into().map_or(0, u32::from_le_bytes))?;
        if found == *number { Ok(()) } else { Err(self.dropped(during)) }
    }

    /// Copies (from, its offset, to, its offset, bytes) after everything submitted so far, and waits.
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where the driver dropped it; what the device reports.
    pub(super) fn copy<'a>(
        &self,
        during: &str,
        copies: impl IntoIterator<Item = (&'a Buffer, u64, &'a Buffer, u64, u64)>,
    ) -> Result<()> {
        self.proven(during, |(cell, host, offset, bytes)| {
            let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for (from, from_offset, to, to_offset, bytes) in copies {
                encoder.copy_buffer_to_buffer(&from.raw, from_offset, &to.raw, to_offset, bytes);
            }
            encoder.copy_buffer_to_buffer(&cell.raw, 0, &host.raw, offset, bytes);
            self.submit_commands(encoder.finish())
        })
    }

    /// What is reported where the driver dropped work without an error. Weights and caches may be damaged, so the device counts as
    /// lost from here on, and all that follows fails with the same.
    pub(crate) fn dropped(&self, during: &str) -> Error {
        let reason = "the driver dropped work without an error; ask for a smaller context if it repeats";
        self.note_lost(reason);
        Error::DeviceLost { during: during.to_owned(), reason: reason.to_owned() }
    }

    /// Leaves out the `n`-th submit of work or of an upload from now on (1: the next; 0: none), as a driver does that drops it. For
    /// tests of what becomes of it.
    pub fn drop_submit(&self, n: u64) {
        let at = if n == 0 { 0 } else { self.submits() + n };
        self.proof.dropped.store(at, Ordering::Relaxed);
    }

    /// Submits of work and of uploads so far.
    pub fn submits(&self) -> u64 {
        self.proof.submits.load(Ordering::Relaxed)
    }

    /// Submits `commands`, unless a test drops them.
    pub(super) fn submit_commands(&self, commands: wgpu::CommandBuffer) -> wgpu::SubmissionIndex {
        let number = self.proof.submits.fetch_add(1, Ordering::Relaxed) + 1;
        let is_dropped = self.proof.dropped.load(Ordering::Relaxed) == number;
        self.queue.submit(Some(commands).filter(|_| !is_dropped))
    }
}

#[cfg(test)]
mod tests {
    use crate::error::{Error, Result};
    use crate::gpu::{BoundBuffer, Buffer, Dispatch, Gpu, GpuOptions, Launch, Recording, Role, StagingRing, Width};

    /// A device, or a note that there is none.
    fn gpu() -> Option<Gpu> {
        let gpu = Gpu::open(GpuOptions::from_env());
        gpu.map_err(|error| eprintln!("skipped: {error}")).ok()
    }

    fn gather(gpu: &Gpu) -> Dispatch {
        let launch = Launch { kernel: "gather", variant: "base", invocations: 64, overrides: vec![("WORKGROUP", 64)] };
        let buffer = |name, data: &[u8], role| gpu.create_buffer_with(name, data, role).unwrap();
        let bindings = [
            ("params", buffer("params", bytemuck::bytes_of(&[64_u32, 0, 0, 0]), Role::Uniform)),
            ("step", buffer("step", bytemuck::bytes_of(&[0_u32, 1, 0, 0]), Role::Uniform)),
            ("order", buffer("order", &[0; 256], Role::Storage)),
            ("x", buffer("x", &[0; 256], Role::Storage)),
            ("y", gpu.create_buffer("y", 256, Role::Storage).unwrap()),
        ];
        let bindings = bindings.iter().map(|(name, buffer)| BoundBuffer::whole(name, buffer)).collect();
        gpu.dispatch("gather", &launch, |_| Ok(()), bindings).unwrap()
    }

    fn is_lost(result: &Result<()>) -> bool {
        matches!(result, Err(Error::DeviceLost { reason, .. }) if reason.contains("dropped work"))
    }

    #[test]
    fn each_slice_that_is_dropped_is_noticed() {
        for dropped in 0..=4 {
            let Some(gpu) = gpu() else { return };
            let dispatch = gather(&gpu);
            let serial = gpu.create_buffer_with("serial", &7_u32.to_le_bytes(), Role::Storage).unwrap();
            let host = gpu.create_buffer("host", 4, Role::Readback).unwrap();
            let mut list = Recording::new(Width::Many);
            // Each has a submit of its own.
            (0..4).for_each(|_| list.push(&dispatch, [1, 1, 1], u64::MAX / 8));
            list.copy_out(&serial, &host, 0, 4);
            gpu.drop_submit(dropped);
            let read =
                gpu.run_and_check(&list, "testing", (&host, 4), |data| (data == 7_u32.to_le_bytes()).then_some(()));
            if dropped == 0 {
                read.unwrap();
                continue;
            }
            assert!(is_lost(&read), "submit {dropped}: {read:?}");
            assert!(is_lost(&gpu.check("going on")), "all that follows fails too");
        }
    }

    #[test]
    fn what_nobody_reads_is_proven_too() {
        type Call = fn(&Gpu, &Dispatch, &Buffer, &Buffer) -> Result<()>;
        let calls: [(&str, Call); 4] = [
            ("run", |gpu, dispatch, _, _| {
                let mut list = Recording::new(Width::Many);
                list.push(dispatch, [1, 1, 1], 1);
                gpu.run(&list, "testing")
            }),
            ("run_and_map", |gpu, _, from, _| {
                let host = gpu.create_buffer("host", 4, Role::Readback)?;
                let mut list = Recording::new(Width::Many);
                list.copy_out(from, &host, 0, 4);
                gpu.run_and_map(&list, "testing", (&host, 4), |_| ())
            }),
            ("read", |gpu, _, from, _| gpu.read(from, 0, 4).map(|_| ())),
            ("copy_same_place", |gpu, _, from, to| gpu.copy_same_place(&[(from, to, 0, 4)])),
        ];
        for (name, call) in calls {
            let Some(gpu) = gpu() else { return };
            let dispatch = gather(&gpu);
            let from = gpu.create_buffer_with("from", &[1; 4], Role::Storage).unwrap();
            let to = gpu.create_buffer("to", 4, Role::Storage).unwrap();
            call(&gpu, &dispatch, &from, &to).unwrap();
            gpu.drop_submit(1);
            let result = call(&gpu, &dispatch, &from, &to);
            assert!(is_lost(&result), "{name}: {result:?}");
        }
    }

    #[test]
    fn each_upload_that_is_dropped_is_noticed() {
        for dropped in 0..=5 {
            let Some(gpu) = gpu() else { return };
            let to = gpu.create_buffer("to", 60, Role::Storage).unwrap();
            // No multiple of 8.
            let mut ring = StagingRing::new(&gpu, 12).unwrap();
            gpu.drop_submit(dropped);
            for i in 0..5_u8 {
                let fill = |_, bytes: &mut [u8]| {
                    bytes.fill(i + 1);
                    Ok(None)
                };
                ring.upload(&to, u64::from(i) * 12, 3, 4, fill).unwrap();
            }
            let result = ring.finish();
            if dropped == 0 {
                result.unwrap();
                let expected: Vec<u8> = (0..60).map(|i| i / 12 + 1).collect();
                assert_eq!(gpu.read(&to, 0, 60).unwrap(), expected);
            } else {
                assert!(is_lost(&result), "upload {dropped}: {result:?}");
            }
        }
    }

    #[test]
    fn more_uploads_than_there_are_proofs_are_proven_in_between() {
        let Some(gpu) = gpu() else { return };
        let to = gpu.create_buffer("to", 4, Role::Storage).unwrap();
        let mut ring = StagingRing::new(&gpu, 4).unwrap();
        for _ in 0..5000 {
            ring.upload(&to, 0, 1, 4, |_, _| Ok(None)).unwrap();
        }
        ring.finish().unwrap();
    }
}
