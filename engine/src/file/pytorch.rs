//! Reader of PyTorch checkpoints (`.bin`, `.pt`, `.pth`), as `torch.save` writes them.
//!
//! A checkpoint is a pickle that says what the tensors are, and storages of plain numbers that it refers to by key. There are
//! two containers. Since torch 1.6 it is a zip with one top folder: the pickle is `data.pkl`, each storage is `data/KEY`
//! (<https://github.com/pytorch/pytorch/blob/main/torch/serialization.py>, `_save`). Before, pickles follow each other: a
//! magic number, the protocol's version, what system wrote it, the tensors, the storages' keys; then the storages in that
//! order, each behind its number of elements (`_legacy_save`).
//!
//! The pickle is read by [`super::pickle`], which can call nothing. A tensor is a view of a storage: an offset, extents and
//! strides, in elements. Storages stay where they are in the file's map; tensors that share one, or are transposed, or repeat
//! their elements, are kept as views.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::deflated::{self, Deflated};
use super::pickle::{self, Global, Node, Pickle, Value};
use super::{Contents, Dtype, TensorInfo, zip};
use crate::error::{Error, Result};

/// `MAGIC_NUMBER` of torch's `serialization.py`, 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19];
/// The version of the container before torch 1.6.
const PROTOCOL: i64 = 1001;
/// The longest pickle that is inflated: 10,000 tensors take a megabyte.
const MAX_INFLATED_PICKLE: usize = 16 << 20;
/// The most tensors in one file, as in safetensors.
const MAX_TENSORS: usize = 65_536;
/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// The longest name of a tensor, in bytes.
const MAX_NAME: usize = 512;
/// The most elements of a tensor that has more of them than its storage (stride 0): otherwise two bytes could be a tensor of
/// any size.
const MAX_REPEATED: usize = 1 << 20;
/// Where a dictionary without tensors keeps its state dict.
const NESTED: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

/// Whether `bytes` begin like one of the two containers.
pub(super) fn probe(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || matches!(bytes, [0x80, 2..=5, ..])
}

/// The tensors of a file, each checked to lie inside its storage, and that inside the file.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let result = match bytes {
        [b'P', b'K', ..] => read_zip(path, bytes),
        [0x80, ..] => read_legacy(path, bytes),
        _ => Err("it is neither a zip nor a pickle: download it again".into()),
    };
    // What is not about one tensor is a clause until here.
    result.map_err(|fault| match fault {
        Fault::File(what) => Error::format(path, format!("not a PyTorch checkpoint that can be read: {what}")),
        Fault::Tensor(error) => error,
    })
}

enum Fault {
    File(String),
    Tensor(Error),
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::File(what)
    }
}

impl From<&str> for Fault {
    fn from(what: &str) -> Self {
        Self::File(what.to_owned())
    }
}

/// Where a storage is: in the file, or in a part that is deflated there.
#[derive(Debug, Clone)]
struct Storage {
    deflated: Option<usize>,
    range: Range<usize>,
}

fn read_zip(path: &Path, bytes: &[u8]) -> Result<Contents, Fault> {
    let entries = zip::entries(bytes)?;
    let mut roots = entries.iter().filter_map(|entry| {
        let root = entry.name.strip_suffix("data.pkl")?;
        root.strip_suffix('/').is_some_and(|folder| !folder.contains('/')).then_some((root, entry))
    });
    let (Some((root, entry)), None) = (roots.next(), roots.next()) else {
        return Err("the zip has no data.pkl in its top folder, or more than one".into());
    };
    let named = |name: &str| entries.iter().find(|entry| entry.name.strip_prefix(root) == Some(name));
    if let Some(order) = named("byteorder") {
        let order = small(bytes, order, 16)?;
        if *order != *b"little" {
            return Err(format!("byteorder is {:?}, expected \"little\"", String::from_utf8_lossy(&order)).into());
        }
    }
    let pickle = small(bytes, entry, MAX_INFLATED_PICKLE)?;
    let pickle = pickle::load(&pickle)?;
    let (mut storages, mut parts) = (HashMap::new(), Vec::new());
    for entry in &entries {
        let Some(key) = entry.name.strip_prefix(root).and_then(|name| name.strip_prefix("data/")) else { continue };
        let storage = if entry.is_deflated {
            parts.push(Deflated::new(entry.data.clone(), entry.size, entry.crc));
            Storage { deflated: Some(parts.len() - 1), range: 0..entry.size }
        } else {
            Storage { deflated: None, range: entry.data.clone() }
        };
        storages.insert(key, storage);
    }
    Ok(Contents { tensors: tensors(path, &pickle, &storages)?, deflated: parts, metadata: None })
}

/// The contents of an entry: of a stored one in place, of a deflated one up to `limit` bytes.
fn small<'a>(bytes: &'a [u8], entry: &zip::Entry<'_>, limit: usize) -> Result<Cow<'a, [u8]>, String> {
    let data = bytes.get(entry.data.clone()).unwrap_or_default();
    if !entry.is_deflated {
        return Ok(Cow::Borrowed(data));
    }
    if entry.size > limit {
        return Err(format!("{} is compressed and claims {} bytes, expected at most {limit}", entry.name, entry.size));
    }
    let contents = deflated::inflated(data, entry.size, entry.crc);
    contents.map(Cow::Owned).map_err(|what| format!("{}: {what}", entry.name))
}

fn read_legacy(path: &Path, bytes: &[u8]) -> Result<Contents, Fault> {
    let mut at = 0;
    let mut next = |what: &str| {
        let pickle = pickle::load(bytes.get(at..).unwrap_or_default());
        let pickle = pickle.map_err(|error| format!("{what}: {error}"))?;
        at += pickle.len;
        Ok::<_, String>(pickle)
    };
    if next("the magic number")?.root != Value::Long(&MAGIC) {
        return Err("it is a pickle, but does not begin with the magic number of torch < 1.6".into());
    }
    if next("the protocol's version")?.root != Value::Int(PROTOCOL) {
        return Err(format!("its protocol has another version than {PROTOCOL}").into());
    }
    let system = next("the system")?;
    let is_big = (Value::Str("little_endian"), Value::Bool(false));
    if system.dict(system.root).is_none_or(|items| items.contains(&is_big)) {
        return Err("it was written on a big-endian machine, or does not say on what".into());
    }
    let pickle = next("the pickle of the tensors")?;
    let keys = next("the list of the storages' keys")?;
    let Some(Node::List(keys)) = keys.node(keys.root) else {
        return Err("the storages' keys are no list".into());
    };
    // How large an element is stands where the tensors refer to their storages.
    let mut sizes: HashMap<&str, (u64, usize)> = HashMap::new();
    for node in &pickle.nodes {
        if let Node::Persistent(identity) = node
            && let Ok(reference) = Reference::new(&pickle, *identity)
        {
            sizes.entry(reference.key).or_insert((reference.len, reference.element_bytes()));
        }
    }
    let mut storages = HashMap::new();
    for key in keys {
        let Value::Str(key) = *key else { return Err("a storage's key is no string".into()) };
        let Some((len, element)) = sizes.get(key) else {
            return Err(format!("nothing says what storage {:?} is", start_of(key)).into());
        };
        let found = bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|len| u64::from_le_bytes(*len));
        if found != Some(*len) {
            let found = found.map_or("the end of the file".to_owned(), |len| format!("{len} elements"));
            return Err(format!("storage {:?} should have {len} elements, got {found}", start_of(key)).into());
        }
        let start = at + 8;
        let end = len.checked_mul(*element as u64).and_then(|len| len.checked_add(start as u64));
        let Some(end) = end.filter(|end| *end <= bytes.len() as u64) else {
            return Err(
                format!("storage {:?} ends behind the file, which is cut: download it again", start_of(key)).into()
            );
        };
        at = end as usize;
        storages.insert(key, Storage { deflated: None, range: start..at });
    }
    if at != bytes.len() {
        return Err(format!("{} bytes follow the last storage: the file is damaged", bytes.len() - at).into());
    }
    Ok(Contents { tensors: tensors(path, &pickle, &storages)?, ..Contents::default() })
}

/// The tensors of the dictionary that a pickle is, or of the one that it holds.
fn tensors(path: &Path, pickle: &Pickle<'_>, storages: &HashMap<&str, Storage>) -> Result<Vec<TensorInfo>, Fault> {
    let is_tensor = |value: Value<'_>| {
        matches!(pickle.node(value), Some(Node::Call(Global::RebuildTensor | Global::RebuildParameter, _)))
    };
    let has_tensors = |items: &[(Value<'_>, Value<'_>)]| items.iter().any(|(_, value)| is_tensor(*value));
    let Some(mut items) = pickle.dict(pickle.root) else {
        return Err("its pickle is not a dictionary of tensors".into());
    };
    if !has_tensors(items) {
        let nested = NESTED.iter().find_map(|name| {
            let (_, value) = items.iter().find(|(key, _)| *key == Value::Str(name))?;
            pickle.dict(*value).filter(|items| has_tensors(items))
        });
        let Some(nested) = nested else {
            return Err(format!("its pickle holds no tensors, also not under one of {NESTED:?}").into());
        };
        items = nested;
    }
    let (mut tensors, mut names) = (Vec::new(), HashSet::new());
    for (key, value) in items.iter().filter(|(_, value)| is_tensor(*value)) {
        let Value::Str(name) = *key else { return Err("a tensor's name is no string".into()) };
        if name.len() > MAX_NAME {
            return Err(format!("a tensor's name has {} bytes, expected at most {MAX_NAME}", name.len()).into());
        }
        let fail = |what: String| Fault::Tensor(Error::tensor(path, name, what));
        if !names.insert(name) {
            return Err(fail("appears twice in the pickle: the file is damaged".to_owned()));
        }
        if tensors.len() == MAX_TENSORS {
            return Err(format!("more than {MAX_TENSORS} tensors").into());
        }
        tensors.push(tensor(pickle, *value, storages, name).map_err(fail)?);
    }
    Ok(tensors)
}

/// What a tensor says about its storage.
struct Reference<'a> {
    key: &'a str,
    class: &'static str,
    dtype: Option<Dtype>,
    /// In elements.
    len: u64,
}

impl<'a> Reference<'a> {
    fn new(pickle: &Pickle<'a>, identity: Value<'a>) -> Result<Self, String> {
        let fields = pickle.tuple(identity).unwrap_or_default();
        // The fourth field, the device that it was on, does not matter. Torch < 0.4 could add a view of the storage.
        match *fields {
            [
                Value::Str("storage"),
                Value::Global(Global::Storage(class, dtype)),
                Value::Str(key),
                _,
                Value::Int(len),
            ]
            | [
                Value::Str("storage"),
                Value::Global(Global::Storage(class, dtype)),
                Value::Str(key),
                _,
                Value::Int(len),
                Value::None,
            ] => {
                let len = u64::try_from(len).map_err(|_| format!("its storage has {len} elements"))?;
                Ok(Self { key, class, dtype, len })
            }
            _ => Err("its storage is described in a way that is not known".to_owned()),
        }
    }

    /// Bytes of an element; none can be read of a type that is not known.
    fn element_bytes(&self) -> usize {
        match (self.dtype, self.class) {
            (Some(dtype), _) => dtype.block_bytes(),
            (None, "ComplexFloatStorage") => 8,
            (None, "ComplexDoubleStorage") => 16,
            (None, "QInt32Storage") => 4,
            (None, _) => 1,
        }
    }
}

fn tensor(
    pickle: &Pickle<'_>,
    value: Value<'_>,
    storages: &HashMap<&str, Storage>,
    name: &str,
) -> Result<TensorInfo, String> {
    let odd = || "is made in a way that is not known: the file is damaged".to_owned();
    let mut call = pickle.node(value);
    if let Some(Node::Call(Global::RebuildParameter, arguments)) = call {
        call = pickle.tuple(*arguments).and_then(|arguments| pickle.node(*arguments.first()?));
    }
    let Some(Node::Call(Global::RebuildTensor, arguments)) = call else { return Err(odd()) };
    let Some([storage, offset, shape, strides, ..]) = pickle.tuple(*arguments) else { return Err(odd()) };
    let Some(Node::Persistent(identity)) = pickle.node(*storage) else { return Err(odd()) };
    let reference = Reference::new(pickle, *identity)?;
    let Some(dtype) = reference.dtype else {
        return Err(format!("elements of {} are not read, expected F16, BF16 or F32", reference.class));
    };
    let offset = extent(*offset, "storage_offset")?;
    let shape = extents(pickle, *shape, "extent")?;
    let strides = extents(pickle, *strides, "stride")?;
    if shape.len() != strides.len() {
        return Err(format!("it has {} dimensions and {} strides", shape.len(), strides.len()));
    }

    let key = start_of(reference.key);
    let Some(Storage { deflated, range }) = storages.get(reference.key) else {
        return Err(format!("its storage {key:?} is not in the file: download it again"));
    };
    let expected = reference.len.checked_mul(dtype.block_bytes() as u64);
    if expected != Some(range.len() as u64) {
        let (len, got) = (reference.len, range.len());
        return Err(format!(
            "its storage {key:?} should hold {len} elements of {dtype}, got {got} bytes: the file is damaged"
        ));
    }
    let len = range.len() / dtype.block_bytes();
    let elements = shape.iter().try_fold(1_usize, |product, extent| product.checked_mul(*extent));
    let Some(elements) = elements.filter(|elements| *elements <= len.max(MAX_REPEATED)) else {
        return Err(format!("shape {shape:?} has more elements than its storage, which has {len}"));
    };
    // The place behind the last element; the first is at the offset, since no stride is negative.
    let end = if elements == 0 {
        Some(offset)
    } else {
        let steps = shape.iter().zip(&strides).map(|(extent, stride)| (extent - 1).checked_mul(*stride));
        steps.fold(offset.checked_add(1), |end, step| end?.checked_add(step?))
    };
    let Some(end) = end.filter(|end| *end <= len) else {
        return Err(format!(
            "shape {shape:?} with strides {strides:?} at storage_offset {offset} leads out of its storage of {len} elements"
        ));
    };
    let at = |element: usize| range.start + element * dtype.block_bytes();
    let mut follows = 1;
    let is_contiguous = elements == 0
        || shape.iter().zip(&strides).rev().all(|(extent, stride)| {
            let fits = *extent == 1 || *stride == follows;
            follows *= extent;
            fits
        });
    let strides = (!is_contiguous).then_some(strides);
    Ok(TensorInfo { name: name.to_owned(), dtype, shape, strides, deflated: *deflated, range: at(offset)..at(end) })
}

fn extent(value: Value<'_>, what: &str) -> Result<usize, String> {
    match value {
        Value::Int(number) => usize::try_from(number).map_err(|_| format!("{what} is {number}, expected 0 or more")),
        _ => Err(format!("{what} is no number")),
    }
}

fn extents(pickle: &Pickle<'_>, value: Value<'_>, what: &str) -> Result<Vec<usize>, String> {
    let items = pickle.tuple(value).ok_or_else(|| format!("{what}s are no tuple"))?;
    if items.len() > MAX_RANK {
        return Err(format!("it has {} {what}s, expected at most {MAX_RANK}", items.len()));
    }
    items.iter().map(|item| extent(*item, what)).collect()
}

/// As much of a key as a message shows.
fn start_of(key: &str) -> String {
    key.chars().take(40).collect()
}
