//! Device buffers: created under an error scope, named after what they hold.

use super::context::Gpu;
use crate::error::{Error, Result};

/// What a buffer is for; decides its usage flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Storage that kernels read and write, and that can be copied from and to.
    Storage,
    /// Parameters of a kernel.
    Uniform,
    /// Parameters of many kernels that another one writes.
    Counter,
    /// Host memory that results are copied to.
    Readback,
    /// Host memory that uploads start from.
    Staging,
}

/// A buffer on the device, with the name of what it holds.
#[derive(Clone, Debug)]
pub struct Buffer {
    pub(super) raw: wgpu::Buffer,
    name: String,
}

/// What the host waits for, in errors.
const READING: &str = "reading results back";

/// A read-back that was asked for.
#[derive(Debug)]
pub(super) struct Mapping {
    receiver: std::sync::mpsc::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
    staging: Buffer,
    range: std::ops::Range<u64>,
    bytes: u64,
}

impl Buffer {
    /// What it holds.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether `other` is the same buffer, not one like it.
    pub fn is(&self, other: &Self) -> bool {
        self.raw == other.raw
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.raw.size()
    }
}

/// For the answer to a map request once the work before it is done.
const ANSWER_LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

impl Gpu {
    /// A buffer of `bytes` (rounded up to 16), zero until written.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when it is larger than the device's buffers or memory.
    pub fn create_buffer(&self, name: &str, bytes: u64, role: Role) -> Result<Buffer> {
        let size = bytes.max(16).next_multiple_of(16);
        if size > self.tier().max_buffer {
            return Err(Error::DoesNotFit(format!(
                "`{name}` needs a buffer of {size} bytes; {} has at most {}",
                self.facts().name,
                self.tier().max_buffer
            )));
        }
        let usage = match role {
            Role::Storage => wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            Role::Uniform => wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
            Role::Counter => {
                let both = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::STORAGE;
                both | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC
            }
            Role::Readback => wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            Role::Staging => wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
        };
        let descriptor = wgpu::BufferDescriptor { label: Some(name), size, usage, mapped_at_creation: false };
        let raw =
            self.scoped(&format!("allocating `{name}` ({size} bytes)"), || Ok(self.device.create_buffer(&descriptor)))?;
        Ok(Buffer { raw, name: name.to_owned() })
    }

    /// A buffer that holds `data`.
    ///
    /// # Errors
    /// As [`Gpu::create_buffer`].
    pub fn create_buffer_with(&self, name: &str, data: &[u8], role: Role) -> Result<Buffer> {
        let buffer = self.create_buffer(name, data.len() as u64, role)?;
        self.write(&buffer, 0, data)?;
        Ok(buffer)
    }

    /// Writes `data` at byte `offset`, before whatever is submitted next. For small data: wgpu stages a copy of it.
    ///
    /// # Errors
    /// [`Error::Request`] when it does not lie inside the buffer.
    pub fn write(&self, buffer: &Buffer, offset: u64, data: &[u8]) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        if !offset.is_multiple_of(4) || offset + data.len() as u64 > buffer.size() {
            let (len, size) = (data.len(), buffer.size());
            return Err(Error::Request(format!("{len} bytes at {offset} do not fit `{}` ({size} bytes)", buffer.name)));
        }
        if data.len().is_multiple_of(4) {
            self.queue.write_buffer(&buffer.raw, offset, data);
        } else {
            // Copies move whole words; the buffer's size is a multiple of 16, so the padding fits.
            let mut words = data.to_vec();
            words.resize(data.len().next_multiple_of(4), 0);
            self.queue.write_buffer(&buffer.raw, offset, &words);
        }
        Ok(())
    }

    /// Waits for all submitted work and returns `bytes` of `buffer` from `offset` (both multiples of 4).
    ///
    /// # Errors
    /// [`Error::DeviceLost`] where the driver dropped the copy; what the device reports.
    pub fn read(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let staging = self.create_buffer("read-back", bytes, Role::Readback)?;
        self.copy(READING, [(buffer, offset, &staging, 0, bytes)])?;
        self.map(&staging, bytes, |data| data.to_vec())
    }

    /// Waits for all submitted work, then gives the first `bytes` of a [`Role::Readback`] buffer to `view`.
    ///
    /// # Errors
    /// What the device reports.
    pub fn map<T>(&self, staging: &Buffer, bytes: u64, view: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let mapping = self.ask(staging, bytes);
        self.wait(READING, None)?;
        self.view(mapping, view)
    }

    /// Asks for the first `bytes` of a [`Role::Readback`] buffer, once all submitted work is done.
    pub(super) fn ask(&self, staging: &Buffer, bytes: u64) -> Mapping {
        let (sender, receiver) = std::sync::mpsc::channel();
        let range = 0..bytes.max(4).next_multiple_of(4);
        staging.raw.map_async(wgpu::MapMode::Read, range.clone(), move |result| _ = sender.send(result));
        Mapping { receiver, staging: staging.clone(), range, bytes }
    }

    /// Gives what was asked for to `view`, after a wait for the work before it.
    pub(super) fn view<T>(&self, mapping: Mapping, view: impl FnOnce(&[u8]) -> T) -> Result<T> {
        let Mapping { receiver, staging, range, bytes } = mapping;
        let failed = |detail: String| Error::Gpu { during: READING.to_owned(), detail };
        // Another thread's wait may have taken the answer along, and be about to give it.
        match receiver.recv_timeout(ANSWER_LIMIT) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed("the map request was never answered".to_owned())),
        }
        let mapped = staging.raw.get_mapped_range(range).map_err(|error| failed(error.to_string()))?;
        let result = view(mapped.get(..bytes as usize).unwrap_or_default());
        drop(mapped);
        staging.raw.unmap();
        Ok(result)
    }
}
