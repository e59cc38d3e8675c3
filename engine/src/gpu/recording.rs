//! The plain list of dispatches that a step runs, and running it: one encoder, one pass, one submit a slice.

use std::time::Instant;

use super::buffer::{Buffer, Mapping};
use super::context::Gpu;
use super::pipeline::Dispatch;
use super::twin::TwinBuffers;
use crate::error::Result;

/// How many tokens a step has, as far as that decides by what kernels it runs and how fast it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Width {
    /// One: a decode step.
    #[default]
    One,
    /// A few that share one pass over the weights.
    Few,
    /// Any number: a prefill.
    Many,
}

/// What to do, in order.
#[derive(Debug, Default)]
pub struct Recording<'a> {
    width: Width,
    steps: Vec<Step<'a>>,
    /// Done when everything else is.
    copies: Vec<Copy<'a>>,
}

/// From, to, offset there, bytes.
pub(super) type Copy<'a> = (&'a Buffer, &'a Buffer, u64, u64);

#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) dispatch: &'a Dispatch,
    workgroups: [u32; 3],
    pub(super) cost: u64,
}

impl Step<'_> {
    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>) {
        let [x, y, z] = self.workgroups;
        pass.set_pipeline(&self.dispatch.pipeline.raw);
        pass.set_bind_group(0, &self.dispatch.group, &[]);
        pass.dispatch_workgroups(x, y, z);
    }
}

impl<'a> Recording<'a> {
    /// An empty list, of a step of this width.
    pub fn new(width: Width) -> Self {
        Self { width, ..Self::default() }
    }

    /// Adds a dispatch of `workgroups`; `cost` is its multiply-adds, roughly, for pacing.
    pub fn push(&mut self, dispatch: &'a Dispatch, workgroups: [u32; 3], cost: u64) {
        if workgroups.iter().all(|n| *n > 0) {
            self.steps.push(Step { dispatch, workgroups, cost });
        }
    }

    /// Copies the first `bytes` of `from` to `offset` of `to` (a [`super::Role::Readback`] buffer) at the end.
    pub fn copy_out(&mut self, from: &'a Buffer, to: &'a Buffer, offset: u64, bytes: u64) {
        self.copies.push((from, to, offset, bytes));
    }

    /// How many tokens the step has.
    pub fn width(&self) -> Width {
        self.width
    }

    /// Its multiply-adds, as far as its dispatches count them.
    pub fn multiply_adds(&self) -> u64 {
        self.steps.iter().map(|step| step.cost).sum()
    }

    pub(super) fn steps(&self) -> &[Step<'a>] {
        &self.steps
    }

    /// Number of dispatches.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.copies.is_empty()
    }
}

/// A recording that was submitted, and its result that is on its way to the host.
#[derive(Debug)]
pub struct Pending {
    index: Option<wgpu::SubmissionIndex>,
    mapping: Mapping,
    width: Width,
    cost: u64,
    start: Instant,
}

impl Gpu {
    /// Runs `recording`, waits for it, and gives the first `bytes` of `result` (where it copies out to) to `view`.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost) where the driver dropped a submit; what the device reports.
    pub fn run_and_map<T>(
        &self,
        recording: &Recording<'_>,
        during: &str,
        (result, bytes): (&Buffer, u64),
        view: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        self.run(recording, during)?;
        self.map(result, bytes, view)
    }

    /// As [`Gpu::run_and_map`], with one wait instead of two: the last submit has no proof of its own. `view` tells by a number in
    /// `result` that it ran, and gives none where it did not.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost) where the driver dropped a submit; what the device reports.
    pub fn run_and_check<T>(
        &self,
        recording: &Recording<'_>,
        during: &str,
        (result, bytes): (&Buffer, u64),
        view: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        self.send(recording, during, false)?;
        let value = self.map(result, bytes, view)?;
        self.measured(recording.width, recording.multiply_adds(), start.elapsed());
        value.ok_or_else(|| self.dropped(during))
    }

    /// Runs `recording` in submits whose expected time stays within the bound of one submit, and waits for them. Each is proven to
    /// have run.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost) where the driver dropped a submit; what the device reports.
    pub fn run(&self, recording: &Recording<'_>, during: &str) -> Result<()> {
        self.send(recording, during, true).map(|_| ())
    }

    /// Submits `recording` as [`Gpu::run_and_check`] does, and asks for the first `bytes` of `result` without waiting for them:
    /// [`Gpu::finish`] does.
    ///
    /// # Errors
    /// What the device reports.
    pub fn start(&self, recording: &Recording<'_>, during: &str, (result, bytes): (&Buffer, u64)) -> Result<Pending> {
        let cost = recording.steps.iter().map(|step| step.cost).sum();
        let index = self.send(recording, during, false)?;
        let mapping = self.ask(result, bytes);
        Ok(Pending { index, mapping, width: recording.width, cost, start: Instant::now() })
    }

    /// Waits for `pending`, which is the oldest of those under way, and gives its result to `view`. `before` is when the one before
    /// it was finished: the device had no earlier start. None where nobody has waited for it since it was done, so that its time is
    /// not known.
    ///
    /// # Errors
    /// What the device reports.
    pub fn finish<T>(
        &self,
        pending: Pending,
        during: &str,
        before: Option<Instant>,
        view: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        self.wait(during, pending.index)?;
        if let Some(before) = before {
            self.measured(pending.width, pending.cost, pending.start.max(before).elapsed());
        }
        self.view(pending.mapping, view)
    }

    /// Submits `recording` slice by slice, and returns the last submit, if that is not waited for: each slice before it is proven to
    /// have run, and with `prove_last` it too.
    fn send(&self, recording: &Recording<'_>, during: &str, prove_last: bool) -> Result<Option<wgpu::SubmissionIndex>> {
        let mut last = None;
        let mut send_last = |slice: &[Step<'_>]| -> Result<()> {
            if prove_last {
                return self.proven(during, |proof| {
                    let copies: Vec<Copy<'_>> = recording.copies.iter().copied().chain([proof]).collect();
                    self.submit(slice, &copies)
                });
            }
            last = Some(self.submit(slice, &recording.copies));
            Ok(())
        };
        let is_cpu =
            |step: &Step<'_>| self.options().cpu_kernels.iter().any(|k| *k == step.dispatch.pipeline.launch().kernel);
        let mut rest = recording.steps.as_slice();
        while !rest.is_empty() {
            // Read each time: the first slices of a long list measure the rate for the later ones.
            let bound = self.submit_bound(recording.width);
            let (mut cost, mut n) = (0_u64, 0);
            for step in rest {
                if (n > 0 && cost + step.cost > bound) || is_cpu(step) {
                    break;
                }
                (cost, n) = (cost + step.cost, n + 1);
            }
            if n == 0 {
                let (step, tail) = match rest.split_first() {
                    Some(parts) => parts,
                    None => break,
                };
                self.run_twin(step.dispatch)?;
                rest = tail;
                continue;
            }
            let (slice, tail) = rest.split_at(n);
            rest = tail;
            let start = Instant::now();
            if rest.is_empty() {
                send_last(slice)?;
            } else {
                self.proven(during, |proof| self.submit(slice, &[proof]))?;
            }
            if prove_last || !rest.is_empty() {
                self.measured(recording.width, cost, start.elapsed());
            }
        }
        if recording.steps.last().is_none_or(is_cpu) && !recording.copies.is_empty() {
            send_last(&[])?;
        }
        self.check(during)?;
        Ok(last)
    }

    fn submit(&self, steps: &[Step<'_>], copies: &[Copy<'_>]) -> wgpu::SubmissionIndex {
        self.submit_profiled(steps, copies).unwrap_or_else(|| self.submit_plain(steps, copies))
    }

    pub(super) fn submit_plain(&self, steps: &[Step<'_>], copies: &[Copy<'_>]) -> wgpu::SubmissionIndex {
        let start = Instant::now();
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        if !steps.is_empty() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            steps.iter().for_each(|step| step.encode(&mut pass));
        }
        for (from, to, offset, bytes) in copies {
            encoder.copy_buffer_to_buffer(&from.raw, 0, &to.raw, *offset, *bytes);
        }
        let index = self.submit_commands(encoder.finish());
        self.timing.submitted(start.elapsed());
        index
    }

    /// Runs the CPU reference of `dispatch` on copies of its buffers and writes back what it changed.
    ///
    /// # Errors
    /// What the device or the reference reports.
    pub fn run_twin(&self, dispatch: &Dispatch) -> Result<()> {
        let mut buffers = TwinBuffers::default();
        for bound in &dispatch.bindings {
            buffers.insert(bound.name, self.read(&bound.buffer, bound.offset, bound.bytes)?);
        }
        (dispatch.twin)(&mut buffers)?;
        for bound in &dispatch.bindings {
            let writes = dispatch
                .pipeline
                .shader()
                .bindings
                .iter()
                .any(|b| b.name == bound.name && b.access == super::Access::ReadWrite);
            if writes {
                self.write(&bound.buffer, bound.offset, buffers.bytes(bound.name)?)?;
            }
        }
        Ok(())
    }

    /// Copies within the device, after everything submitted so far: from, to, offset in both, bytes. Waits for it.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost) where the driver dropped it; what the device reports.
    pub fn copy_same_place(&self, copies: &[(&Buffer, &Buffer, u64, u64)]) -> Result<()> {
        const DURING: &str = "copying on the device";
        let copies = copies.iter().filter(|(_, _, _, bytes)| *bytes > 0);
        let copies = copies.map(|(from, to, offset, bytes)| (*from, *offset, *to, *offset, *bytes));
        self.scoped(DURING, || self.copy(DURING, copies))
    }
}
