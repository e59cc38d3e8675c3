//! Checkpoint files: bytes in, named tensors out. No GPU, no model.
//!
//! Everything is lazy: opening reads headers, and a tensor's bytes stay in the file (mapped into memory) until somebody
//! reads them. No length, count or depth in a file is believed before it is checked against the file itself.
//!
//! A format is one file of this module and one line of `FORMATS` below.

mod deflated;
mod dtype;
mod folder;
mod foreign;
mod gguf;
mod map;
mod pickle;
mod pytorch;
mod safetensors;
mod shards;
mod write;
mod zip;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use dtype::Dtype;
pub use gguf::Metadata;
pub use map::FileBytes;
pub use write::{NewTensor, SafetensorsWriter, write_file};

use crate::error::{Error, Result};
use deflated::Deflated;
use folder::Folder;
use map::InMemory;

/// The largest tokenizer: Llama 3's has 9 MB, those with 250,000 pieces have 17.
const MAX_TOKENIZER: usize = 32 << 20;
/// The largest file of added tokens: a `tokenizer_config.json` that lists them all has more than 5 MB.
const MAX_ADDED_TOKENS: usize = 16 << 20;
/// The largest of the other side files.
const MAX_SIDE_FILE: usize = 1 << 20;

/// How one file format is recognised and read.
struct Format {
    /// What it is called.
    name: &'static str,
    /// The endings that say so when the bytes do not, so that a damaged file is reported as what its name says.
    extensions: &'static [&'static str],
    /// Whether the file begins like this format.
    probe: fn(&[u8]) -> bool,
    /// What it holds, each tensor checked to lie inside the file.
    read: fn(&Path, &[u8]) -> Result<Contents>,
}

/// Every format that can be read.
const FORMATS: &[Format] = &[
    Format { name: "safetensors", extensions: &["safetensors"], probe: safetensors::probe, read: safetensors::read },
    Format { name: "PyTorch", extensions: &["bin", "pt", "pth"], probe: pytorch::probe, read: pytorch::read },
    Format { name: "GGUF", extensions: &["gguf"], probe: gguf::probe, read: gguf::read },
];

/// What a file holds.
#[derive(Debug, Default)]
struct Contents {
    tensors: Vec<TensorInfo>,
    /// Parts that are compressed.
    deflated: Vec<Deflated>,
    /// The model's configuration and tokenizer, where the format has them in the same file.
    metadata: Option<gguf::Entries>,
}

/// A tensor in a file.
#[derive(Debug)]
struct TensorInfo {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Elements from one index to the next in each dimension; None where the tensor lies row after row.
    strides: Option<Vec<usize>>,
    /// The compressed part of the file that holds it, and that `range` counts in; None where the file itself does.
    deflated: Option<usize>,
    /// Where its bytes are, from its first element to its last: always inside.
    range: Range<usize>,
}

impl TensorInfo {
    /// Bytes of its elements, each counted where it stands in the tensor.
    fn stored_bytes(&self) -> u64 {
        let elements = self.shape.iter().fold(1_u64, |product, extent| product.saturating_mul(*extent as u64));
        (elements / self.dtype.block_len() as u64).saturating_mul(self.dtype.block_bytes() as u64)
    }
}

/// One opened file with its tensors.
#[derive(Debug)]
struct TensorFile {
    bytes: FileBytes,
    format: &'static str,
    contents: Contents,
}

impl TensorFile {
    fn read(bytes: FileBytes) -> Result<Self> {
        let (path, data) = (bytes.path(), bytes.as_slice());
        if data.is_empty() {
            return Err(Error::format(path, "the file is empty (0 bytes): download it again"));
        }
        let named = |format: &&Format| {
            path.extension().is_some_and(|extension| format.extensions.iter().any(|known| extension == *known))
        };
        let format = FORMATS.iter().find(|format| (format.probe)(data));
        let format = match (format, foreign::describe(data), FORMATS.iter().find(named)) {
            (Some(format), _, _) | (None, None, Some(format)) => format,
            (None, Some(what), _) => return Err(Error::format(path, what)),
            (None, None, None) => {
                let known: Vec<&str> = FORMATS.iter().map(|format| format.name).collect();
                let detail = format!("not in a format that this version reads ({})", known.join(", "));
                return Err(Error::format(path, detail));
            }
        };
        let contents = (format.read)(path, data)?;
        Ok(Self { bytes, format: format.name, contents })
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.contents.tensors
    }

    /// The bytes that `tensor`'s range counts in; what is compressed is inflated by the first who asks.
    fn bytes_of(&self, tensor: &TensorInfo) -> Result<&FileBytes> {
        let Some(part) = tensor.deflated.and_then(|part| self.contents.deflated.get(part)) else {
            return Ok(&self.bytes);
        };
        part.bytes(&self.bytes, tensor.stored_bytes())
            .map_err(|what| Error::tensor(self.bytes.path(), &tensor.name, what))
    }

    fn metadata(&self) -> Option<Metadata<'_>> {
        let entries = self.contents.metadata.as_ref()?;
        Some(Metadata::new(entries, self.bytes.path(), self.bytes.as_slice()))
    }
}

/// Where a tensor is: the file's and the tensor's number.
#[derive(Debug, Clone, Copy)]
struct Place {
    file: usize,
    tensor: usize,
}

/// The order of the rotated values in the rows of `q_proj` and `k_proj`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// Value `i` of a head turns with value `i + head_dim / 2`: Hugging Face checkpoints.
    HalfSplit,
    /// Value `2i` turns with value `2i + 1`: Meta's own files, and GGUF's `llama`.
    InterleavedPairs,
}

/// A checkpoint: named tensors, and the files beside them (`config.json`, the tokenizer).
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    folder: Folder,
    files: Vec<TensorFile>,
    index: BTreeMap<String, Place>,
}

impl Checkpoint {
    /// Opens a Hugging Face folder, or one file of tensors (safetensors, or PyTorch's `.bin`, `.pt` and `.pth`) or a shard
    /// index, with its `config.json` beside it, or a `.gguf` file (of several, the first) or a folder with nothing else.
    ///
    /// # Errors
    /// [`Error::Io`] when a file cannot be opened; [`Error::Format`] or [`Error::Tensor`] when one is damaged, missing, or in
    /// a format that this version does not read.
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
        let (folder, only) = if metadata.is_dir() {
            (path.to_owned(), None)
        } else {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
                return Err(Error::format(path, "the file's name is not UTF-8"));
            };
            (parent.to_owned(), Some(name))
        };
        let folder = Folder::Disk(folder);
        let (files, index) = shards::open(&folder, only)?;
        Ok(Self { path: path.to_owned(), folder, files, index })
    }

    /// A checkpoint whose files are part of the program: `(name, bytes)` of each, `config.json` and `model.safetensors` among
    /// them. The tensors stay where they are.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_static(files: &[(&'static str, &'static [u8])]) -> Result<Self> {
        let files = files.iter().map(|(name, bytes)| ((*name).into(), InMemory::Static(bytes))).collect();
        Self::in_memory(Folder::Memory { label: "(embedded model)", files })
    }

    /// A checkpoint whose files are in memory: the name and the bytes of each, as they would stand in a folder. The tensors stay
    /// where they are.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_bytes(files: Vec<(String, Vec<u8>)>) -> Result<Self> {
        let shared = |(name, bytes): (String, Vec<u8>)| (name.into(), InMemory::Shared(bytes.into()));
        Self::in_memory(Folder::Memory { label: "(memory)", files: files.into_iter().map(shared).collect() })
    }

    fn in_memory(folder: Folder) -> Result<Self> {
        let (files, index) = shards::open(&folder, None)?;
        Ok(Self { path: folder.path(""), folder, files, index })
    }

    /// The path it was opened with.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the side file `name`, for messages.
    pub fn side_path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    /// What the format of its tensor files is called: `safetensors`, `PyTorch`, `GGUF`.
    pub fn format(&self) -> &'static str {
        self.files.first().map_or("", |file| file.format)
    }

    /// The files that hold the tensors.
    pub fn tensor_files(&self) -> impl Iterator<Item = &FileBytes> {
        self.files.iter().map(|file| &file.bytes)
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// The tensor `name`, spelled exactly so.
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let place = self.index.get(name)?;
        let file = self.files.get(place.file)?;
        let info = file.tensors().get(place.tensor)?;
        Some(TensorView { name: &info.name, dtype: info.dtype, shape: &info.shape, file, info })
    }

    /// The order of rotated values in this checkpoint's `q_proj` and `k_proj`.
    pub fn rope_layout(&self) -> RopeLayout {
        if self.metadata().is_some() { RopeLayout::InterleavedPairs } else { RopeLayout::HalfSplit }
    }

    /// Configuration and tokenizer from the tensors' own file: GGUF. What lies beside such a file does not belong to it.
    pub fn metadata(&self) -> Option<Metadata<'_>> {
        self.files.first()?.metadata()
    }

    /// A whole side file (`config.json`, `tokenizer.json`, `tokenizer.model`, …); None when there is none of that name.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read; [`Error::Format`] when it is empty, not a regular file, larger than 1 MiB (a
    /// tokenizer: 32 MiB, a list of added tokens: 16 MiB), or a git-lfs pointer or a web page in its place; [`Error::Request`] when `name` is not a plain file
    /// name.
    pub fn file_bytes(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>> {
        side_file(&self.folder, name)
    }
}

/// The side file `name` of the folder `dir`, which need not hold a checkpoint; otherwise as [`Checkpoint::file_bytes`].
///
/// # Errors
/// As [`Checkpoint::file_bytes`].
pub fn file_bytes(dir: &Path, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
    side_file(&Folder::Disk(dir.to_owned()), name)
}

fn side_file(folder: &Folder, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
    if Path::new(name).file_name().is_none_or(|plain| plain != name) {
        return Err(Error::Request(format!("{name:?} is not a plain file name")));
    }
    let limit = match name {
        "tokenizer.json" | "tokenizer.model" => MAX_TOKENIZER,
        "tokenizer_config.json" | "added_tokens.json" => MAX_ADDED_TOKENS,
        _ => MAX_SIDE_FILE,
    };
    folder.read(name, limit)
}

/// A tensor in its file: nothing is copied, and the bytes have no alignment.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Its name as the file spells it.
    pub name: &'a str,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its extents, outermost first.
    pub shape: &'a [usize],
    file: &'a TensorFile,
    info: &'a TensorInfo,
}

impl<'a> TensorView<'a> {
    /// The file that holds it.
    pub fn path(&self) -> &'a Path {
        self.file.bytes.path()
    }

    /// Elements from one index to the next in each dimension, where the tensor does not lie row after row: a view of another
    /// one, as PyTorch stores them.
    pub fn strides(&self) -> Option<&'a [usize]> {
        self.info.strides.as_deref()
    }

    /// Its bytes in the file, little-endian, from its first element to its last: row after row, unless it has
    /// [`TensorView::strides`].
    ///
    /// # Errors
    /// [`Error::Tensor`] when the file has it compressed, and it cannot be inflated or is not what the file says.
    pub fn data(&self) -> Result<&'a [u8]> {
        if self.info.range.is_empty() {
            return Ok(&[]);
        }
        Ok(self.file.bytes_of(self.info)?.as_slice().get(self.info.range.clone()).unwrap_or_default())
    }

    /// Bytes of its elements as stored.
    pub fn stored_bytes(&self) -> u64 {
        self.info.stored_bytes()
    }

    /// Rows and columns: a matrix has its own, a vector of `n` is one row of `n`. None for other ranks.
    pub fn rows_cols(&self) -> Option<(usize, usize)> {
        match *self.shape {
            [cols] => Some((1, cols)),
            [rows, cols] => Some((rows, cols)),
            _ => None,
        }
    }

    /// Asks the system to bring the bytes `range` from [`TensorView::data`]'s begin into memory, also beyond its end; see
    /// [`FileBytes::prefetch`].
    pub fn prefetch(&self, range: Range<usize>) {
        let start = self.info.range.start;
        self.file.bytes.prefetch(start.saturating_add(range.start)..start.saturating_add(range.end));
    }

    /// Tells the system that the bytes `range` of [`TensorView::data`] have been used, so that they can leave memory; see
    /// [`FileBytes::release`].
    pub fn release(&self, range: Range<usize>) {
        let Range { start, end } = self.info.range;
        let at = |offset: usize| start.saturating_add(offset).min(end);
        let bytes = match self.info.deflated.and_then(|part| self.file.contents.deflated.get(part)) {
            None => Some(&self.file.bytes),
            Some(part) => part.inflated(),
        };
        if let Some(bytes) = bytes {
            bytes.release(at(range.start)..at(range.end));
        }
    }
}
