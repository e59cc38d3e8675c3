//! Keys and values of the positions seen so far, f16, on the device: one pair of buffers a layer and slot.

use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, Role};

/// The shape of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Layers.
    pub n_layers: usize,
    /// Key (and value) heads.
    pub n_kv_heads: usize,
    /// Elements of a head, padded to a multiple of eight.
    pub head_stride: usize,
    /// Positions.
    pub max_seq_len: usize,
    /// Sequences that are kept side by side.
    pub n_slots: usize,
}

impl KvShape {
    /// Bytes of one buffer: the keys (or values) of one layer and slot.
    pub fn buffer_bytes(&self) -> u64 {
        (self.n_kv_heads * self.max_seq_len * self.head_stride * 2) as u64
    }

    /// Bytes of all buffers.
    pub fn total_bytes(&self) -> u64 {
        self.buffer_bytes() * 2 * (self.n_layers * self.n_slots) as u64
    }

    /// Bytes that one position takes in all layers of one slot.
    pub fn bytes_per_position(&self) -> u64 {
        (self.n_layers * 2 * self.n_kv_heads * self.head_stride * 2) as u64
    }
}

/// The buffers of a cache.
#[derive(Debug)]
pub struct KvCache {
    shape: KvShape,
    /// (slot, layer): keys and values, each (n_kv_heads, max_seq_len, head_stride) f16.
    buffers: Vec<[Buffer; 2]>,
}

impl KvCache {
    /// Allocates a cache of `shape`.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] when the device is out of memory.
    pub fn new(gpu: &Gpu, shape: KvShape) -> Result<Self> {
        let mut buffers = Vec::with_capacity(shape.n_slots * shape.n_layers);
        for i in 0..shape.n_slots * shape.n_layers {
            let layer = i % shape.n_layers.max(1);
            buffers.push([
                gpu.create_buffer(&format!("k cache {layer}"), shape.buffer_bytes(), Role::Storage)?,
                gpu.create_buffer(&format!("v cache {layer}"), shape.buffer_bytes(), Role::Storage)?,
            ]);
        }
        Ok(Self { shape, buffers })
    }

    /// Its shape.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// The keys and values of a layer of a slot.
    ///
    /// # Errors
    /// [`Error::Request`] when there is no such slot or layer.
    pub fn layer(&self, slot: usize, layer: usize) -> Result<[&Buffer; 2]> {
        let found = self.buffers.get(slot * self.shape.n_layers + layer).filter(|_| layer < self.shape.n_layers);
        let [k, v] =
            found.ok_or_else(|| Error::Request(format!("no slot {slot} with a layer {layer} in the KV cache")))?;
        Ok([k, v])
    }

    /// Copies positions `0..len` from one slot to another.
    ///
    /// # Errors
    /// [`Error::Request`] when a slot or position does not exist; what the device reports.
    pub fn copy_slot(&self, gpu: &Gpu, from: usize, to: usize, len: usize) -> Result<()> {
        let KvShape { n_layers, n_kv_heads, head_stride, max_seq_len, n_slots } = self.shape;
        if from >= n_slots || to >= n_slots || len > max_seq_len {
            let detail =
                format!("cannot copy {len} positions of slot {from} to slot {to}: {n_slots} slots of {max_seq_len}");
            return Err(Error::Request(detail));
        }
        let mut copies = Vec::new();
        for layer in 0..if from == to { 0 } else { n_layers } {
            for (from, to) in self.layer(from, layer)?.into_iter().zip(self.layer(to, layer)?) {
                for head in 0..n_kv_heads {
                    let at = (head * max_seq_len * head_stride * 2) as u64;
                    copies.push((from, to, at, (len * head_stride * 2) as u64));
                }
            }
        }
        gpu.copy_same_place(&copies)
    }
}
