//! Keys and values of the positions seen so far on the device, f16 or int8: one set of buffers a layer and slot.

use crate::error::{Error, Result};
use crate::gpu::{Buffer, Gpu, Role};
use crate::kernels::attention::{KvBuffers, KvFormat};

/// The shape of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// How elements are kept.
    pub format: KvFormat,
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
        (self.n_kv_heads * self.max_seq_len * self.format.row_bytes(self.head_stride)) as u64
    }

    /// Bytes of the scales of one such buffer.
    fn scale_bytes(&self) -> u64 {
        match self.format {
            KvFormat::F16 => 0,
            KvFormat::Int8 => (self.n_kv_heads * self.max_seq_len * 4) as u64,
        }
    }

    /// Bytes of all buffers.
    pub fn total_bytes(&self) -> u64 {
        (self.buffer_bytes() + self.scale_bytes()) * 2 * (self.n_layers * self.n_slots) as u64
    }

    /// Bytes that one position takes in all layers of one slot.
    pub fn bytes_per_position(&self) -> u64 {
        (self.buffer_bytes() + self.scale_bytes()) * 2 * self.n_layers as u64 / self.max_seq_len.max(1) as u64
    }
}

/// The keys and values of one layer and slot: see [`KvBuffers`].
#[derive(Debug)]
struct Layer {
    k: Buffer,
    v: Buffer,
    scales: Option<[Buffer; 2]>,
}

/// The buffers of a cache.
#[derive(Debug)]
pub struct KvCache {
    shape: KvShape,
    /// (slot, layer).
    buffers: Vec<Layer>,
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
            let buffer = |what, bytes| gpu.create_buffer(&format!("{what} {layer}"), bytes, Role::Storage);
            buffers.push(Layer {
                k: buffer("k cache", shape.buffer_bytes())?,
                v: buffer("v cache", shape.buffer_bytes())?,
                scales: match shape.format {
                    KvFormat::F16 => None,
                    KvFormat::Int8 => {
                        Some([buffer("k scales", shape.scale_bytes())?, buffer("v scales", shape.scale_bytes())?])
                    }
                },
            });
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
    pub fn layer(&self, slot: usize, layer: usize) -> Result<KvBuffers<'_>> {
        let found = self.buffers.get(slot * self.shape.n_layers + layer).filter(|_| layer < self.shape.n_layers);
        let Layer { k, v, scales } =
            found.ok_or_else(|| Error::Request(format!("no slot {slot} with a layer {layer} in the KV cache")))?;
        Ok(KvBuffers { k, v, scales: scales.as_ref().map(|[k, v]| [k, v]) })
    }

    /// Copies positions `0..len` from one slot to another.
    ///
    /// # Errors
    /// [`Error::Request`] when a slot or position does not exist; what the device reports.
    pub fn copy_slot(&self, gpu: &Gpu, from: usize, to: usize, len: usize) -> Result<()> {
        let KvShape { format, n_layers, n_kv_heads, head_stride, max_seq_len, n_slots } = self.shape;
        if from >= n_slots || to >= n_slots || len > max_seq_len {
            let detail =
                format!("cannot copy {len} positions of slot {from} to slot {to}: {n_slots} slots of {max_seq_len}");
            return Err(Error::Request(detail));
        }
        let mut copies = Vec::new();
        for layer in 0..if from == to { 0 } else { n_layers } {
            let (from, to) = (self.layer(from, layer)?, self.layer(to, layer)?);
            let row_bytes = format.row_bytes(head_stride);
            let mut copy = |from, to, row_bytes: usize| {
                let rows = (0..n_kv_heads).map(|head| (head * max_seq_len * row_bytes, len * row_bytes));
                copies.extend(rows.map(|(at, bytes)| (from, to, at as u64, bytes as u64)));
            };
            copy(from.k, to.k, row_bytes);
            copy(from.v, to.v, row_bytes);
            if let (Some(from), Some(to)) = (from.scales, to.scales) {
                from.into_iter().zip(to).for_each(|(from, to)| copy(from, to, 4));
            }
        }
        gpu.copy_same_place(&copies)
    }
}
