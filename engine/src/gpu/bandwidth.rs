//! What the device's memory moves: the roof over a decode step, which reads every weight once.

use std::time::{Duration, Instant};

use super::buffer::{Buffer, Role};
use super::context::Gpu;
use crate::error::{Error, Result};

/// Bytes of each of the two buffers: above the last-level cache of any GPU of today.
const BYTES: u64 = 256 << 20;

/// Less than this lies in caches, and would measure those.
const LEAST_BYTES: u64 = 16 << 20;

/// Measured at a time: long beside the latency of a submit, far below any watchdog.
const SAMPLE_TIME: Duration = Duration::from_millis(60);

/// Samples; the result is their median.
const SAMPLES: usize = 7;

impl Gpu {
    /// Copies one buffer to another within the device, again and again, and returns the bytes moved per second: those read
    /// plus those written, as copy bandwidth is usually counted (McCalpin's STREAM, <https://www.cs.virginia.edu/stream/>).
    ///
    /// The buffers have 256 MiB each, less where the device has no room. On a software device one thread of the driver makes
    /// the copy, so that kernels, which run on every core, may read more than this.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when the device has no room for two buffers of 16 MiB; what the device reports.
    pub fn measure_copy_bandwidth(&self) -> Result<f64> {
        let (from, to) = self.copy_buffers()?;
        // The first copy takes the pages, the second fills the caches.
        self.time_copies(&from, &to, 2)?;
        let once = self.time_copies(&from, &to, 1)?;
        let copies = (SAMPLE_TIME.as_secs_f64() / once.as_secs_f64().max(1e-6)).clamp(1.0, 4096.0) as u32;
        let mut samples = Vec::with_capacity(SAMPLES);
        for _ in 0..SAMPLES {
            let time = self.time_copies(&from, &to, copies)?.as_secs_f64();
            samples.push(2.0 * from.size() as f64 * f64::from(copies) / time.max(1e-9));
        }
        samples.sort_by(f64::total_cmp);
        Ok(samples.get(SAMPLES / 2).copied().unwrap_or_default())
    }

    /// Two buffers as large as the device has room for.
    fn copy_buffers(&self) -> Result<(Buffer, Buffer)> {
        let mut bytes = BYTES.min(self.tier().max_buffer).max(LEAST_BYTES);
        loop {
            let from = self.create_buffer("bandwidth, from", bytes, Role::Storage);
            let both = from.and_then(|from| Ok((from, self.create_buffer("bandwidth, to", bytes, Role::Storage)?)));
            match both {
                Err(Error::DoesNotFit(_)) if bytes > LEAST_BYTES => bytes = (bytes / 2).max(LEAST_BYTES),
                other => return other,
            }
        }
    }

    /// Seconds from the submit of `copies` copies to their end.
    fn time_copies(&self, from: &Buffer, to: &Buffer, copies: u32) -> Result<Duration> {
        let during = "measuring the copy bandwidth";
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for _ in 0..copies {
            encoder.copy_buffer_to_buffer(&from.raw, 0, &to.raw, 0, from.size());
        }
        let commands = encoder.finish();
        let start = Instant::now();
        let index = self.queue.submit([commands]);
        self.wait(during, Some(index))?;
        Ok(start.elapsed())
    }
}
