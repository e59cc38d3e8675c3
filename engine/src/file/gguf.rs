//! Reader of GGUF, llama.cpp's format: a header, metadata, the tensors' names and places, then their bytes.
//!
//! The format is described at <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>; the numbers of the element types
//! are those of `ggml_type` in <https://github.com/ggml-org/ggml/blob/master/include/ggml.h>. Versions 2 and 3 are read,
//! little-endian. A name that `-00001-of-00003.gguf` ends is the first of several files: see [`super::shards`].

mod cursor;
mod metadata;

use std::collections::HashSet;
use std::path::Path;

pub(super) use metadata::Entries;
pub use metadata::Metadata;

use self::cursor::Cursor;
use super::{Contents, Dtype, TensorInfo};
use crate::error::{Error, Result};

const MAGIC: &[u8; 4] = b"GGUF";
/// The longest head (metadata and tensor infos) that is read: Llama 3's, with its vocabulary and merges, has 8 MB.
const MAX_HEAD: usize = 64 << 20;
/// The most tensors in one file, as for safetensors.
const MAX_TENSORS: u64 = 65_536;
/// The most dimensions of a tensor (`GGML_MAX_DIMS`).
const MAX_RANK: u32 = 4;
/// The longest name of a tensor, in bytes.
const MAX_NAME: usize = 256;
/// Where the tensors' data begins and each tensor in it, unless `general.alignment` says otherwise.
const ALIGNMENT: u64 = 32;
const MAX_ALIGNMENT: u64 = 1 << 20;

/// Every type that ggml has or had: its number, its name, and what it is here.
const TYPES: [(u32, &str, Option<Dtype>); 41] = [
    (0, "F32", Some(Dtype::F32)),
    (1, "F16", Some(Dtype::F16)),
    (2, "Q4_0", Some(Dtype::Q4_0)),
    (3, "Q4_1", Some(Dtype::Q4_1)),
    (4, "Q4_2", None),
    (5, "Q4_3", None),
    (6, "Q5_0", Some(Dtype::Q5_0)),
    (7, "Q5_1", Some(Dtype::Q5_1)),
    (8, "Q8_0", Some(Dtype::Q8_0)),
    (9, "Q8_1", None),
    (10, "Q2_K", None),
    (11, "Q3_K", None),
    (12, "Q4_K", Some(Dtype::Q4_K)),
    (13, "Q5_K", Some(Dtype::Q5_K)),
    (14, "Q6_K", Some(Dtype::Q6_K)),
    (15, "Q8_K", None),
    (16, "IQ2_XXS", None),
    (17, "IQ2_XS", None),
    (18, "IQ3_XXS", None),
    (19, "IQ1_S", None),
    (20, "IQ4_NL", None),
    (21, "IQ3_S", None),
    (22, "IQ2_S", None),
    (23, "IQ4_XS", None),
    (24, "I8", Some(Dtype::I8)),
    (25, "I16", Some(Dtype::I16)),
    (26, "I32", Some(Dtype::I32)),
    (27, "I64", Some(Dtype::I64)),
    (28, "F64", Some(Dtype::F64)),
    (29, "IQ1_M", None),
    (30, "BF16", Some(Dtype::BF16)),
    (31, "Q4_0_4_4", None),
    (32, "Q4_0_4_8", None),
    (33, "Q4_0_8_8", None),
    (34, "TQ1_0", None),
    (35, "TQ2_0", None),
    (36, "IQ4_NL_4_4", None),
    (37, "IQ4_NL_4_8", None),
    (38, "IQ4_NL_8_8", None),
    (39, "MXFP4", None),
    (40, "NVFP4", None),
];

/// Whether `bytes` begin like a GGUF file.
pub(super) fn probe(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The tensors of a file, each checked to lie inside it, and its metadata.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let fail = |detail: String| Error::format(path, detail);
    if !probe(bytes) {
        return Err(fail("a GGUF file begins with the letters GGUF, this one does not: download it again".to_owned()));
    }
    let mut cursor = Cursor::new(bytes, MAX_HEAD);
    let header = |detail: String| fail(format!("the header: {detail}"));
    cursor.skip(MAGIC.len() as u64).map_err(header)?;
    let version = cursor.u32().map_err(header)?;
    if !matches!(version, 2 | 3) {
        let detail = match version.swap_bytes() {
            1..=3 => "a big-endian GGUF file; this program reads little-endian ones: convert it again".to_owned(),
            _ => format!("GGUF version {version}, expected 2 or 3: the file is damaged, or older or newer than that"),
        };
        return Err(fail(detail));
    }
    let (n_tensors, n_keys) = (cursor.u64().map_err(header)?, cursor.u64().map_err(header)?);
    if n_tensors > MAX_TENSORS {
        return Err(fail(format!("{n_tensors} tensors, expected at most {MAX_TENSORS}: the file is damaged")));
    }
    let entries = Entries::read(path, &mut cursor, n_keys)?;
    let alignment = alignment(path, bytes, &entries)?;
    let mut places = Vec::new();
    for index in 0..n_tensors {
        let name = cursor.name(MAX_NAME).map_err(|detail| fail(format!("tensor {index} of {n_tensors}: {detail}")))?;
        let place = Place::read(&mut cursor).map_err(|detail| Error::tensor(path, name, detail))?;
        places.push((name, place));
    }
    let data_start = (cursor.at() as u64).next_multiple_of(alignment);
    let mut tensors = Vec::with_capacity(places.len());
    for (name, place) in places {
        let tensor = place.tensor(name, data_start, alignment, bytes.len());
        tensors.push(tensor.map_err(|detail| Error::tensor(path, name, detail))?);
    }
    check(path, &tensors)?;
    Ok(Contents { tensors, metadata: Some(entries), ..Contents::default() })
}

fn alignment(path: &Path, bytes: &[u8], entries: &Entries) -> Result<u64> {
    const KEY: &str = "general.alignment";
    let Some(alignment) = Metadata::new(entries, path, bytes).whole(KEY)? else { return Ok(ALIGNMENT) };
    if alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT {
        return Ok(alignment);
    }
    let detail = format!("expected a power of two up to {MAX_ALIGNMENT}, got {alignment}: the file is damaged");
    Err(Error::config(path, KEY, detail))
}

/// What the head says of a tensor.
struct Place {
    /// Innermost first.
    extents: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl Place {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let rank = cursor.u32()?;
        if !(1..=MAX_RANK).contains(&rank) {
            return Err(format!("{rank} dimensions, expected 1 to {MAX_RANK}: the file is damaged"));
        }
        let extents = (0..rank).map(|_| cursor.u64()).collect::<Result<_, _>>()?;
        Ok(Self { extents, kind: cursor.u32()?, offset: cursor.u64()? })
    }

    /// Whole, and inside a file of `file_len` bytes whose data begins at `data_start`.
    fn tensor(self, name: &str, data_start: u64, alignment: u64, file_len: usize) -> Result<TensorInfo, String> {
        let dtype = match TYPES.iter().find(|row| row.0 == self.kind) {
            Some((_, _, Some(dtype))) => *dtype,
            Some((number, name, None)) => {
                return Err(format!(
                    "element type {name} (number {number}) is not read by this version, which knows F32, F16, BF16, Q8_0, \
                     Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K: use a file of one of these"
                ));
            }
            None => return Err(format!("element type {} does not exist: the file is damaged or newer", self.kind)),
        };
        let shape: Option<Vec<usize>> = self.extents.iter().rev().map(|extent| usize::try_from(*extent).ok()).collect();
        let elements = self.extents.iter().try_fold(1_u64, |product, extent| product.checked_mul(*extent));
        let (Some(shape), Some(elements)) = (shape, elements) else {
            return Err(format!("the dimensions {:?} hold more than 2^64 elements: the file is damaged", self.extents));
        };
        let (row, block) = (self.extents[0], dtype.block_len() as u64);
        if elements == 0 || !row.is_multiple_of(block) {
            return Err(format!("rows of {row} elements, {elements} in all, are no whole blocks of {block} ({dtype})"));
        }
        if !self.offset.is_multiple_of(alignment) {
            return Err(format!("its offset {} is no multiple of the alignment {alignment}", self.offset));
        }
        let start = data_start.checked_add(self.offset);
        let end =
            (elements / block).checked_mul(dtype.block_bytes() as u64).and_then(|bytes| bytes.checked_add(start?));
        match (start, end) {
            // Neither end is above the file's length, which is a usize.
            (Some(start), Some(end)) if end <= file_len as u64 => {
                let range = start as usize..end as usize;
                Ok(TensorInfo { name: name.to_owned(), dtype, shape, strides: None, range, deflated: None })
            }
            (Some(start), Some(end)) => Err(format!(
                "its data are bytes {start} to {end}, but the file has {file_len}: it is cut, download it again"
            )),
            _ => Err(format!("its offset {} leads beyond 2^64: the file is damaged", self.offset)),
        }
    }
}

/// Refuses a name that stands twice, and tensors that share bytes.
fn check(path: &Path, tensors: &[TensorInfo]) -> Result<()> {
    let mut seen = HashSet::with_capacity(tensors.len());
    if let Some(twice) = tensors.iter().find(|tensor| !seen.insert(tensor.name.as_str())) {
        return Err(Error::tensor(path, &twice.name, "appears twice in the file: it is damaged"));
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    for pair in order.windows(2) {
        if pair[1].range.start < pair[0].range.end {
            let detail = format!("its data overlap those of {:?}: the file is damaged", pair[0].name);
            return Err(Error::tensor(path, &pair[1].name, detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    /// Four keys, among them one array of each kind, and two tensors of 32 and 64 bytes.
    fn file() -> Vec<u8> {
        let array = |kind: u32, n: u64, items: &[u8]| [&kind.to_le_bytes(), &n.to_le_bytes()[..], items].concat();
        let mut file = [&b"GGUF"[..], &3_u32.to_le_bytes(), &2_u64.to_le_bytes(), &4_u64.to_le_bytes()].concat();
        for (key, kind, value) in [
            ("general.architecture", 8, text("llama")),
            ("general.alignment", 4, 64_u32.to_le_bytes().to_vec()),
            ("a.texts", 9, array(8, 2, &[text("x"), text("")].concat())),
            ("a.numbers", 9, array(5, 2, &[1; 8])),
        ] {
            file.extend([text(key), u32::to_le_bytes(kind).to_vec(), value].concat());
        }
        for (name, extents, kind, offset) in [("v", &[8_u64][..], 0_u32, 64_u64), ("m", &[16, 2], 1, 0)] {
            file.extend(text(name));
            file.extend((extents.len() as u32).to_le_bytes());
            extents.iter().for_each(|extent| file.extend(extent.to_le_bytes()));
            file.extend([&kind.to_le_bytes()[..], &offset.to_le_bytes()].concat());
        }
        file.resize(file.len().next_multiple_of(64) + 96, 7);
        file
    }

    /// Reads all that there is.
    fn read_all(bytes: &[u8]) -> Result<(Vec<TensorInfo>, usize)> {
        let path = Path::new("a.gguf");
        let contents = read(path, bytes)?;
        let entries = contents.metadata.unwrap_or_default();
        let metadata = Metadata::new(&entries, path, bytes);
        let mut readable = 0;
        for key in metadata.keys() {
            readable += usize::from(matches!(metadata.whole(key), Ok(Some(_))));
            readable += usize::from(matches!(metadata.float(key), Ok(Some(_))));
            readable += usize::from(matches!(metadata.flag(key), Ok(Some(_))));
            readable += usize::from(matches!(metadata.text(key), Ok(Some(_))));
            readable += usize::from(matches!(metadata.count(key), Ok(Some(_))));
            readable += usize::from(matches!(metadata.texts(key, 9), Ok(Some(_))));
            readable += usize::from(matches!(metadata.wholes(key, 9), Ok(Some(_))));
            readable += usize::from(matches!(metadata.floats(key, 9), Ok(Some(_))));
        }
        Ok((contents.tensors, readable))
    }

    #[test]
    fn what_stands_in_a_file_comes_out() {
        let bytes = file();
        let (tensors, readable) = read_all(&bytes).unwrap();
        let start = bytes.len() - 96;
        assert_eq!((tensors[0].name.as_str(), tensors[0].range.clone()), ("v", start + 64..start + 96));
        assert_eq!((tensors[1].shape.as_slice(), tensors[1].dtype), (&[2, 16][..], Dtype::F16));
        // A text; a number as whole and float; each array with its count and its values.
        assert_eq!(readable, 1 + 2 + 2 + 2);
        let contents = read(Path::new("a.gguf"), &bytes).unwrap();
        let entries = contents.metadata.unwrap();
        let metadata = Metadata::new(&entries, Path::new("a.gguf"), &bytes);
        assert_eq!(metadata.texts("a.texts", 2).unwrap(), Some(vec!["x", ""]));
        assert_eq!(metadata.wholes("a.numbers", 2).unwrap(), Some(vec![0x0101_0101; 2]));
        assert!(metadata.texts("a.texts", 1).unwrap_err().to_string().contains("at most 1"));
        assert_eq!(metadata.whole("nothing").unwrap(), None);
    }

    #[test]
    fn a_cut_anywhere_is_an_error() {
        let bytes = file();
        for length in 0..bytes.len() {
            let message = read_all(&bytes[..length]).unwrap_err().to_string();
            assert!(message.ends_with("file: a.gguf"), "{length}: {message}");
        }
    }

    #[test]
    fn no_byte_of_the_head_leads_to_a_panic() {
        let bytes = file();
        let (mut refused, mut read) = (0, 0);
        for at in 0..bytes.len() - 96 {
            for value in [0, 1, 4, 9, 0x20, 0x7F, 0x80, 0xFF] {
                let mut wrong = bytes.clone();
                wrong[at] = value;
                match read_all(&wrong) {
                    Ok(_) => read += 1,
                    Err(_) => refused += 1,
                }
                // The whole word, so that lengths and offsets near 2^64 come up.
                if let Some(word) = wrong.get_mut(at..at + 8) {
                    word.fill(value);
                    refused += usize::from(read_all(&wrong).is_err());
                }
            }
        }
        assert!(refused > 1000 && read > 100, "{refused} refused, {read} read");
    }

    #[test]
    fn the_numbers_of_the_types_are_their_places() {
        assert!(TYPES.iter().zip(0..).all(|(row, number)| row.0 == number));
        for (_, name, dtype) in TYPES {
            assert!(dtype.is_none_or(|dtype| dtype.name() == name), "{name}");
        }
    }
}
