//! Quantising a checkpoint to four bits, a layer at a time, into a folder that AutoGPTQ and its successors read.
//!
//! `nearest` rounds each weight to the nearest point of its group's grid: no GPU, no text. GPTQ (Frantar et al. 2022,
//! arXiv:2210.17323) runs a text through the model, layer after layer: it sums what the inputs of each matrix have in common, rounds
//! the matrix so that its outputs for such inputs change little, and runs the text through the rounded layer, so that the next
//! one is fitted to what it will get. Host memory holds the residual stream of the whole text (f32), one layer's weights and sums.

mod factor;
mod gptq;

use std::path::Path;
use std::sync::Arc;

use super::Config;
use super::llama::layerwise::{LayerOnDevice, Layerwise};
use crate::error::{Error, Result};
use crate::file::Checkpoint;
use crate::gpu::Gpu;
use crate::weights::gptq_write::{self, GptqWriter, Settings, is_projection};
use crate::weights::grid::Quantized;
use crate::weights::names::{Resolved, Role, resolve};
use crate::weights::{ResolvedTensor, Sources};
use gptq::Inputs;

/// How weights are rounded.
#[derive(Clone)]
pub enum Method {
    /// Each to its nearest point.
    Nearest,
    /// So that outputs change little.
    Gptq {
        /// Where the text is run.
        gpu: Arc<Gpu>,
        /// The text, as sequences of tokens.
        sequences: Vec<Vec<u32>>,
    },
}

/// How far the work is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The layer that is worked on.
    pub layer: usize,
    /// Layers in all.
    pub n_layers: usize,
    /// What is done with it.
    pub what: &'static str,
    /// The share of the whole work that is done, from 0 to 1.
    pub done: f64,
}

/// What rounding did to a projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Projection {
    /// Its name in the file, without `.weight`.
    pub name: String,
    /// Its layer.
    pub layer: usize,
    /// `q_proj`, `down_proj`, …
    pub kind: &'static str,
    /// Outputs and inputs.
    pub shape: (usize, usize),
    /// The relative square error: of its outputs for the text, `||(W - Q) X||² / ||W X||²`, with GPTQ; of its weights,
    /// `||W - Q||² / ||W||²`, else.
    pub error: f64,
    /// The same error of plain rounding, where it was measured beside.
    pub nearest: Option<f64>,
}

/// The projections of a layer, in the order of [`Layerwise::replace`], and the sums that belong to each.
const PROJECTIONS: [(Role, &str, usize); 7] = [
    (Role::QProj, "q_proj", 0),
    (Role::KProj, "k_proj", 0),
    (Role::VProj, "v_proj", 0),
    (Role::OProj, "o_proj", 1),
    (Role::GateProj, "gate_proj", 2),
    (Role::UpProj, "up_proj", 2),
    (Role::DownProj, "down_proj", 3),
];

/// Quantises `checkpoint` into the existing folder `out`. An error of `progress` ends the work and is passed on; whatever ends it
/// early, `out` stays as it was.
///
/// # Errors
/// What is wrong with the checkpoint, by tensor; what the device reports; [`Error::Io`] when the folder cannot be written.
pub fn quantize(
    checkpoint: &Checkpoint,
    out: &Path,
    method: &Method,
    settings: Settings,
    progress: &mut dyn FnMut(Progress) -> Result<()>,
) -> Result<Vec<Projection>> {
    let config = Config::load(checkpoint)?;
    let tensors = resolve(checkpoint, &config.dims())?;
    gptq_write::check(checkpoint, &tensors, &settings)?;
    let settings = match method {
        // Without a text no column weighs more than another.
        Method::Nearest => Settings { act_order: false, ..settings },
        Method::Gptq { .. } => settings,
    };
    let writer = GptqWriter::create(out, checkpoint.into(), &config.dims(), settings)?;
    let mut work =
        Work { checkpoint, config: &config, tensors: &tensors, settings, writer, report: Vec::new(), progress };
    match method {
        Method::Nearest => work.nearest()?,
        Method::Gptq { gpu, sequences } => work.gptq(gpu, sequences)?,
    }
    let Work { writer, report, .. } = work;
    writer.finish()?;
    Ok(report)
}

/// What the work goes through.
struct Work<'a, 'p> {
    checkpoint: &'a Checkpoint,
    config: &'a Config,
    tensors: &'a Resolved,
    settings: Settings,
    writer: GptqWriter<'a>,
    report: Vec<Projection>,
    progress: &'p mut dyn FnMut(Progress) -> Result<()>,
}

impl<'a> Work<'a, '_> {
    fn sources(&self) -> Sources<'a> {
        self.checkpoint.into()
    }

    /// Says that `share` of the work on `layer` is done.
    fn tell(&mut self, layer: usize, what: &'static str, share: f64) -> Result<()> {
        let n_layers = self.config.n_layers;
        let done = (layer as f64 + share) / n_layers.max(1) as f64;
        (self.progress)(Progress { layer, n_layers, what, done })
    }

    fn tensor(&self, role: Role, layer: usize) -> Result<&'a ResolvedTensor> {
        self.tensors.get(role, Some(layer)).ok_or_else(|| {
            Error::tensor(self.checkpoint.path(), format!("{role:?} of layer {layer}"), "is not in the checkpoint")
        })
    }

    /// A projection's weights (rows, cols), rows in Hugging Face's order.
    fn values(&self, tensor: &ResolvedTensor) -> Result<Vec<f32>> {
        gptq_write::values(self.sources(), self.checkpoint.rope_layout(), self.config.head_dim, tensor)
    }

    /// Writes the tensors that lie outside of the layers, before them or behind.
    fn outside(&mut self, is_before: bool) -> Result<()> {
        let tensors = self.tensors.tensors.iter().filter(|tensor| tensor.layer.is_none());
        for tensor in tensors.filter(|tensor| (tensor.role == Role::Embed) == is_before) {
            self.writer.plain(tensor)?;
        }
        Ok(())
    }

    /// Writes layer `layer`; `projections` stand in the order of [`PROJECTIONS`].
    fn layer(&mut self, layer: usize, projections: &[Quantized]) -> Result<()> {
        for tensor in self.tensors.tensors.iter().filter(|tensor| tensor.layer == Some(layer)) {
            let at = PROJECTIONS.iter().position(|(role, ..)| *role == tensor.role);
            match at.and_then(|at| projections.get(at)) {
                Some(matrix) => self.writer.projection(matrix)?,
                None if is_projection(tensor.role) => {
                    return Err(Error::tensor(self.checkpoint.path(), &tensor.name, "was not quantised"));
                }
                None => self.writer.plain(tensor)?,
            }
        }
        Ok(())
    }

    fn measured(&mut self, layer: usize, kind: &'static str, shape: (usize, usize), error: f64, nearest: Option<f64>) {
        let block = if PROJECTIONS[..4].iter().any(|(_, name, _)| *name == kind) { "self_attn" } else { "mlp" };
        let name = format!("model.layers.{layer}.{block}.{kind}");
        self.report.push(Projection { name, layer, kind, shape, error, nearest });
    }

    fn nearest(&mut self) -> Result<()> {
        self.outside(true)?;
        for layer in 0..self.config.n_layers {
            let mut done = Vec::with_capacity(PROJECTIONS.len());
            for (at, (role, kind, _)) in PROJECTIONS.into_iter().enumerate() {
                self.tell(layer, "rounding", at as f64 / PROJECTIONS.len() as f64)?;
                let tensor = self.tensor(role, layer)?;
                let (rows, cols) = (tensor.rows, tensor.cols);
                let values = self.values(tensor)?;
                let group_len = self.settings.group_of(cols);
                let matrix = Quantized::nearest(&values, rows, cols, group_len, self.settings.symmetric);
                let (mut error, mut norm) = (0.0, 0.0);
                for (row, values) in values.chunks_exact(cols).enumerate() {
                    for (col, value) in values.iter().enumerate() {
                        let difference = f64::from(*value) - f64::from(matrix.weight(col, row));
                        error += difference * difference;
                        norm += f64::from(*value) * f64::from(*value);
                    }
                }
                self.measured(layer, kind, (rows, cols), error / if norm > 0.0 { norm } else { 1.0 }, None);
                done.push(matrix);
            }
            self.layer(layer, &done)?;
        }
        self.outside(false)
    }

    fn gptq(&mut self, gpu: &Gpu, sequences: &[Vec<u32>]) -> Result<()> {
        let seq_len = sequences.iter().map(Vec::len).max().unwrap_or(0);
        if seq_len == 0 {
            return Err(Error::Request("the text that GPTQ is to be fitted to has no tokens".to_owned()));
        }
        if seq_len > self.config.max_seq_len {
            let most = self.config.max_seq_len;
            return Err(Error::Request(format!(
                "--seq-len: expected at most {most}, the model's context, got {seq_len}"
            )));
        }
        let mut ignore = |_| Ok(());
        let sources = self.sources();
        let mut model = Layerwise::new(gpu, self.config, self.tensors, sources, seq_len, &mut ignore)?;
        let mut states = Vec::with_capacity(sequences.len());
        for tokens in sequences.iter().filter(|tokens| !tokens.is_empty()) {
            states.push(model.embed(sources, tokens)?);
        }
        self.outside(true)?;
        for layer in 0..self.config.n_layers {
            let mut on_device = model.load(layer)?;
            let grams = model.grams()?;
            for (at, x) in states.iter_mut().enumerate() {
                self.tell(layer, "reading the text", 0.4 * at as f64 / sequences.len() as f64)?;
                model.run(&on_device, x, Some(&grams))?;
            }
            let projections = self.fit(gpu, layer, grams.0)?;
            self.layer(layer, &projections)?;
            if layer + 1 < self.config.n_layers {
                self.advance(&mut model, &mut on_device, layer, projections, &mut states)?;
            }
        }
        self.outside(false)
    }

    /// Quantises the projections of `layer` for inputs with these sums.
    fn fit<const N: usize>(
        &mut self,
        gpu: &Gpu,
        layer: usize,
        sums: [super::llama::layerwise::GramSum; N],
    ) -> Result<Vec<Quantized>> {
        const WHAT: &str = "quantising";
        let mut done = Vec::with_capacity(PROJECTIONS.len());
        for (which, sums) in sums.into_iter().enumerate() {
            let settings = self.settings;
            let (n, sums) = sums.read(gpu)?;
            let start = |done: usize| 0.4 + 0.3 * done as f64 / PROJECTIONS.len() as f64;
            let base = start(done.len());
            let inputs = Inputs::new(n, sums, &settings, &mut |_| self.tell(layer, WHAT, base))?;
            for (role, kind, _) in PROJECTIONS.into_iter().filter(|(.., of)| *of == which) {
                let tensor = self.tensor(role, layer)?;
                let mut values = self.values(tensor)?;
                let base = start(done.len());
                let share = start(done.len() + 1) - base;
                let mut each = |part: f64| self.tell(layer, WHAT, base + share * part);
                let (matrix, errors) = gptq::quantize(gpu, &inputs, &mut values, &settings, &mut each)?;
                self.measured(layer, kind, (tensor.rows, tensor.cols), errors.gptq, Some(errors.nearest));
                done.push(matrix);
            }
        }
        Ok(done)
    }

    /// Runs the text through the quantised layer.
    fn advance(
        &mut self,
        model: &mut Layerwise<'_>,
        on_device: &mut LayerOnDevice,
        layer: usize,
        projections: Vec<Quantized>,
        states: &mut [Vec<f32>],
    ) -> Result<()> {
        let projections = <[Quantized; 7]>::try_from(projections)
            .map_err(|got| Error::Request(format!("{} projections, expected 7", got.len())))?;
        model.replace(on_device, layer, &projections)?;
        let n = states.len() as f64;
        for (at, x) in states.iter_mut().enumerate() {
            self.tell(layer, "reading the text", 0.7 + 0.3 * at as f64 / n)?;
            model.run(on_device, x, None)?;
        }
        Ok(())
    }
}
