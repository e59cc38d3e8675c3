//! The forward pass a layer at a time, for calibration: one layer of weights is on the device, and the residual stream of every
//! sequence waits on the host. A child of the model's file, since it runs that file's own layers.

use super::{Layer, Loader, Scratch};
use crate::error::{Error, Result};
use crate::file::RopeLayout;
use crate::gpu::{Buffer, Gpu, Recording, Role, Width};
use crate::kernels::Step;
use crate::kernels::gram::{self, Gram};
use crate::kernels::linear::{Linear, Wiring};
use crate::kv_cache::KvCache;
use crate::model::Config;
use crate::model::plan::{self, LoadOptions, Shapes};
use crate::weights::convert::Target;
use crate::weights::grid::Quantized;
use crate::weights::names::{Resolved, Role as Name};
use crate::weights::packed::{Format, scale_zero};
use crate::weights::tensor::rope_row;
use crate::weights::{Matrix, Part, Sources, Uploader, padded};

/// The largest part of a sum of products, bytes: what bounds one dispatch.
const GRAM_PART: u64 = 64 << 20;

/// `Xᵀ X` of the inputs of a matrix, on the device.
pub(in crate::model) struct GramSum {
    cols: usize,
    /// (rows of the part, cols) f32, the upper triangle.
    parts: Vec<(Buffer, Gram)>,
}

impl GramSum {
    fn new(gpu: &Gpu, cols: usize, step: &Buffer, x: &Buffer) -> Result<Self> {
        let bytes = gpu.tier().max_matrix_part.min(GRAM_PART) as usize;
        let per_part = (bytes / (cols * 4).max(1) / 8 * 8).max(8);
        let mut parts = Vec::new();
        for first in (0..cols).step_by(per_part) {
            let n_rows = per_part.min(cols - first);
            let h = gpu.create_buffer("sum of products", (n_rows * cols * 4) as u64, Role::Storage)?;
            let params = gram::Params {
                row_base: first as u32,
                n_rows: n_rows as u32,
                col_vecs: cols as u32 / 4,
                x_vecs: padded(cols) as u32 / 4,
            };
            let gram = Gram::new(gpu, params, step, x, &h)?;
            parts.push((h, gram));
        }
        Ok(Self { cols, parts })
    }

    fn record<'a>(&'a self, list: &mut Recording<'a>, n_tokens: u32) {
        self.parts.iter().for_each(|(_, gram)| gram.record(list, n_tokens));
    }

    /// The columns, and the sums of the upper triangle (cols, cols); what stands below it means nothing. Frees the device.
    pub(in crate::model) fn read(self, gpu: &Gpu) -> Result<(usize, Vec<f32>)> {
        let mut values = Vec::with_capacity(self.cols * self.cols);
        for (h, _) in self.parts {
            let bytes = gpu.read(&h, 0, h.size())?;
            values.extend(bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)));
        }
        values.truncate(self.cols * self.cols);
        match values.iter().all(|value| value.is_finite()) {
            true => Ok((self.cols, values)),
            false => Err(Error::NonFinite(
                "the model computed no numbers for the text: the weights are damaged, or the driver computes wrongly (run \
                 `guanaco conformance` to find out)"
                    .to_owned(),
            )),
        }
    }
}

/// The sums of a layer: of the inputs of q, k and v; of o; of gate and up; of down.
pub(in crate::model) struct Grams(pub(in crate::model) [GramSum; 4]);

/// What the layers of one model run through.
pub(in crate::model) struct Layerwise<'a> {
    loader: Loader<'a>,
    layout: RopeLayout,
    cache: KvCache,
    s: Scratch,
    rope: Buffer,
    /// (chunk_len, dim) f32 on the host.
    out: Buffer,
}

impl<'a> Layerwise<'a> {
    /// Makes room for sequences of up to `seq_len` tokens.
    pub(in crate::model) fn new(
        gpu: &'a Gpu,
        config: &'a Config,
        tensors: &'a Resolved,
        sources: Sources<'a>,
        seq_len: usize,
        progress: &'a mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<Self> {
        let options = LoadOptions { max_seq_len: Some(seq_len), ..LoadOptions::default() };
        let mut shapes = Shapes::new(config, tensors, &options, gpu.tier().profile);
        // One layer's keys and values at a time; and quantised matrices may want their inputs sorted.
        shapes.kv.n_layers = 1;
        shapes.sorted = padded(config.dim.max(config.hidden_dim).max(config.n_heads * config.head_dim));
        let uploader = Uploader::new(gpu, sources, plan::slot_bytes(config), progress)?;
        let mut loader = Loader { gpu, config, shapes, tensors, uploader };
        let (cache, s) = (KvCache::new(gpu, shapes.kv)?, Scratch::new(gpu, config, &shapes)?);
        let rope = loader.rope_table()?;
        let out = gpu.create_buffer("hidden states on the host", s.x.size(), Role::Readback)?;
        Ok(Self { loader, layout: sources.checkpoint.rope_layout(), cache, s, rope, out })
    }

    /// The embedding of `tokens`: (n_tokens, dim), as the f16 table has it.
    pub(in crate::model) fn embed(&self, sources: Sources<'_>, tokens: &[u32]) -> Result<Vec<f32>> {
        let dim = self.loader.config.dim;
        let mut x = Vec::with_capacity(tokens.len() * dim);
        let mut row = vec![0; dim * 2];
        let table = self.loader.named(&[Name::Embed], None);
        for (table, token) in
            table.first().into_iter().flat_map(|table| tokens.iter().map(move |token| (table, *token)))
        {
            if token as usize >= table.rows {
                return Err(Error::Request(format!("token {token} is outside the vocabulary of {}", table.rows)));
            }
            table.convert(sources, token as usize..token as usize + 1, &mut row, dim, Target::F16)?;
            x.extend(row.as_chunks::<2>().0.iter().map(|half| half::f16::from_le_bytes(*half).to_f32()));
        }
        Ok(x)
    }

    /// Layer `layer` of the checkpoint on the device.
    pub(in crate::model) fn load(&mut self, layer: usize) -> Result<LayerOnDevice> {
        self.loader.layer(layer, self.layout, &self.cache, &self.s, &self.rope).map(LayerOnDevice)
    }

    /// Sums for the four inputs of a layer, all zero.
    pub(in crate::model) fn grams(&self) -> Result<Grams> {
        let (gpu, config, s) = (self.loader.gpu, self.loader.config, &self.s);
        let new = |cols, x| GramSum::new(gpu, cols, &s.step, x);
        let heads = config.n_heads * config.head_dim;
        let dim = config.dim;
        Ok(Grams([
            new(dim, &s.normed)?,
            new(heads, &s.heads)?,
            new(dim, &s.normed)?,
            new(config.hidden_dim, &s.hidden)?,
        ]))
    }

    /// Runs one sequence, `x` (n_tokens, dim), through `layer`, chunk by chunk: adds its inputs to `grams`, or puts the layer's
    /// output in its place.
    pub(in crate::model) fn run(&self, layer: &LayerOnDevice, x: &mut [f32], grams: Option<&Grams>) -> Result<()> {
        let (gpu, s, dim) = (self.loader.gpu, &self.s, self.loader.config.dim);
        let mut pos = 0;
        for chunk in x.chunks_mut(self.loader.shapes.chunk_len * dim) {
            let n_tokens = (chunk.len() / dim) as u32;
            gpu.write(&s.step, 0, bytemuck::bytes_of(&Step { pos, n_tokens }))?;
            gpu.write(&s.x, 0, bytemuck::cast_slice(chunk))?;
            let mut list = Recording::new(Width::Many);
            layer.0.record_with(&mut list, pos, n_tokens, grams);
            const DURING: &str = "running the text";
            if grams.is_some() {
                // The sums stay on the device.
                gpu.run(&list, DURING)?;
            } else {
                let bytes = (chunk.len() * 4) as u64;
                list.copy_out(&s.x, &self.out, 0, bytes);
                gpu.run_and_map(&list, DURING, (&self.out, bytes), |data| {
                    let words = data.as_chunks::<4>().0.iter();
                    chunk.iter_mut().zip(words).for_each(|(to, word)| *to = f32::from_le_bytes(*word));
                })?;
            }
            pos += n_tokens;
        }
        Ok(())
    }

    /// Puts quantised projections (q, k, v, o, gate, up, down) in the place of those of layer `layer`.
    pub(in crate::model) fn replace(
        &mut self,
        on_device: &mut LayerOnDevice,
        layer: usize,
        projections: &[Quantized; 7],
    ) -> Result<()> {
        use Name::{DownBias, GateBias, KBias, OBias, QBias, UpBias, VBias};
        let [q, k, v, o, gate, up, down] = projections;
        let qkv = self.quantised(&[(q, true), (k, true), (v, false)], &[QBias, KBias, VBias], layer)?;
        let o = self.quantised(&[(o, false)], &[OBias], layer)?;
        let gate_up = self.quantised(&[(gate, false), (up, false)], &[GateBias, UpBias], layer)?;
        let down = self.quantised(&[(down, false)], &[DownBias], layer)?;
        let (gpu, s, shapes) = (self.loader.gpu, &self.s, self.loader.shapes);
        let linear = |matrix: &Matrix, x, y, y_stride, add| {
            Linear::new(
                gpu,
                "quantised",
                matrix,
                Wiring { step: &s.step, x, y, y_stride, add, between: s.between() },
                Width::Many,
            )
        };
        on_device.0.qkv_proj = linear(&qkv, &s.normed, &s.qkv, shapes.qkv, false)?;
        on_device.0.o_proj = linear(&o, &s.heads, &s.x, shapes.dim, true)?;
        on_device.0.gate_up_proj = linear(&gate_up, &s.normed, &s.gate_up, shapes.gate_up, false)?;
        on_device.0.down_proj = linear(&down, &s.hidden, &s.x, shapes.dim, true)?;
        Ok(())
    }

    /// `matrices` one below the other, each with whether RoPE turns its rows, which then go back to the checkpoint's order.
    fn quantised(&mut self, matrices: &[(&Quantized, bool)], biases: &[Name], layer: usize) -> Result<Matrix> {
        let gpu = self.loader.gpu;
        let cols = matrices.first().map_or(0, |(matrix, _)| matrix.cols);
        let order = match matrices.first().and_then(|(matrix, _)| matrix.order.as_deref()) {
            Some(order) => Some(gpu.create_buffer_with("order", bytemuck::cast_slice(order), Role::Storage)?),
            None => None,
        };
        let (mut parts, mut rows) = (Vec::new(), 0);
        for (matrix, turns) in matrices {
            let layout = if *turns { self.layout } else { RopeLayout::HalfSplit };
            let place = |row| rope_row(layout, self.loader.config.head_dim, row);
            parts.extend(device_parts(gpu, matrix, place, rows, order.as_ref())?);
            rows += matrix.rows;
        }
        let biases = self.loader.named(biases, Some(layer));
        let bias = if biases.is_empty() { None } else { Some(self.loader.uploader.vector("bias", &biases)?) };
        Ok(Matrix { parts, rows, cols, bias, low_rank: Vec::new(), merges: Vec::new() })
    }
}

/// A matrix in the device's four-bit layout; `place` says where each of its rows goes.
fn device_parts(
    gpu: &Gpu,
    matrix: &Quantized,
    place: impl Fn(usize) -> usize,
    row_base: usize,
    order: Option<&Buffer>,
) -> Result<Vec<Part>> {
    let Quantized { rows, cols, group_len, .. } = *matrix;
    // The kernels find a column's group by a shift: one group a row is one that is longer than any.
    let format = Format::Q4 { group_len: if group_len >= cols { 1 << 40 } else { group_len } };
    let (words, groups) = (cols / 8, matrix.grids.len() / rows.max(1));
    let (mut codes, mut scales) = (vec![0_u32; rows * words], vec![[0_u8; 4]; rows * groups]);
    for row in 0..rows {
        let at = place(row);
        (0..words).for_each(|word| codes[at * words + word] = matrix.codes[word * rows + row]);
        for group in 0..groups {
            let grid = matrix.grids[group * rows + row];
            scales[at * groups + group] = scale_zero(grid.scale, grid.zero);
        }
    }
    let per_part = (gpu.tier().max_matrix_part as usize / (words * 4).max(groups * 4).max(1)).max(1);
    let mut parts = Vec::new();
    for first in (0..rows).step_by(per_part) {
        let range = first..(first + per_part).min(rows);
        let codes = bytemuck::cast_slice(&codes[range.start * words..range.end * words]);
        let scales = bytemuck::cast_slice(&scales[range.start * groups..range.end * groups]);
        parts.push(Part {
            codes: gpu.create_buffer_with("quantised", codes, Role::Storage)?,
            scales: Some(gpu.create_buffer_with("quantised scales", scales, Role::Storage)?),
            format,
            row_base: (row_base + range.start) as u32,
            n_rows: range.len() as u32,
            order: order.cloned(),
        });
    }
    Ok(parts)
}

/// A layer on the device.
pub(in crate::model) struct LayerOnDevice(Layer);

impl Layer {
    /// The layer's part of a step, in slot 0. With `grams` its inputs are summed, and what nobody will read is left out.
    fn record_with<'a>(&'a self, list: &mut Recording<'a>, pos: u32, n_tokens: u32, grams: Option<&'a Grams>) {
        let sum = |list: &mut Recording<'a>, which: usize| {
            if let Some(gram) = grams.and_then(|grams| grams.0.get(which)) {
                gram.record(list, n_tokens);
            }
        };
        self.input_norm.record(list, n_tokens);
        sum(list, 0);
        self.qkv_proj.record(list, n_tokens);
        if let (Some(rope_kv), Some(attention)) = (self.rope_kv.first(), self.attention.first()) {
            rope_kv.record(list, n_tokens);
            attention.record(list, pos, n_tokens);
        }
        sum(list, 1);
        self.o_proj.record(list, n_tokens);
        self.post_attention_norm.record(list, n_tokens);
        sum(list, 2);
        self.gate_up_proj.record(list, n_tokens);
        self.swiglu.record(list, n_tokens);
        sum(list, 3);
        if grams.is_none() {
            self.down_proj.record(list, n_tokens);
        }
    }
}
