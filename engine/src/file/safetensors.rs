//! Reader of safetensors: eight bytes of header length, a JSON header, then the tensors' bytes.
//!
//! The format is described at <https://github.com/huggingface/safetensors#format>. The `safetensors` crate is not used
//! because most of its errors do not name the tensor (a truncated download says only "incomplete metadata"), and because it
//! keeps the last of two equal keys where the two may differ. The rules are the same as the crate's: the header is at most
//! 100 MB, and the tensors cover the data without holes or overlaps.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Contents, Dtype, TensorInfo};
use crate::error::{Error, Result};

/// The longest header, as in the reference implementation.
const MAX_HEADER: u64 = 100_000_000;
/// The most tensors in one file. The largest LLaMA has 1,200, or 5,000 when it is quantised with four tensors a matrix.
const MAX_TENSORS: usize = 65_536;
/// The most dimensions of a tensor.
const MAX_RANK: usize = 8;
/// The longest name of a tensor, in bytes.
const MAX_NAME: usize = 256;

/// Whether `bytes` begin like a safetensors file: a plausible length and then `{`.
pub(super) fn probe(bytes: &[u8]) -> bool {
    matches!(header_range(bytes), Some(range) if bytes.get(range.start) == Some(&b'{'))
}

fn header_range(bytes: &[u8]) -> Option<Range<usize>> {
    let length = u64::from_le_bytes(*bytes.first_chunk::<8>()?);
    let end = usize::try_from(length.checked_add(8)?).ok()?;
    (length <= MAX_HEADER && end <= bytes.len()).then_some(8..end)
}

/// The tensors of a file, each checked to lie inside it.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Contents> {
    let fail = |detail: String| Err(Error::format(path, detail));
    let Some(length) = bytes.first_chunk::<8>().map(|first| u64::from_le_bytes(*first)) else {
        let got = bytes.len();
        return fail(format!(
            "a safetensors file begins with 8 bytes of header length, got {got} bytes in all: download it again"
        ));
    };
    if length > MAX_HEADER {
        return fail(format!(
            "header length is {length}, expected at most {MAX_HEADER}: the file is damaged or not in the safetensors format"
        ));
    }
    let Some(range) = header_range(bytes) else {
        let got = bytes.len() - 8;
        return fail(format!("header of {length} bytes expected, got {got} bytes: the file is cut, download it again"));
    };
    let data_start = range.end;
    let header = bytes.get(range).unwrap_or_default();
    let header = match std::str::from_utf8(header) {
        Ok(header) => header,
        Err(error) => return fail(format!("the header is not UTF-8 ({error}): the file is damaged")),
    };
    let mut deserializer = serde_json::Deserializer::from_str(header);
    let entries = deserializer
        .deserialize_map(HeaderVisitor)
        .and_then(|entries| deserializer.end().map(|()| entries))
        .map_err(|error| Error::format(path, format!("the header is not valid: {error}")))?;
    Ok(Contents { tensors: check(path, entries, data_start, bytes.len())?, metadata: None })
}

/// One entry of the header, as it stands there.
struct Entry {
    name: String,
    dtype: String,
    shape: Vec<u64>,
    offsets: (u64, u64),
}

fn check(path: &Path, entries: Vec<Entry>, data_start: usize, file_len: usize) -> Result<Vec<TensorInfo>> {
    let data_len = file_len - data_start;
    let mut seen = HashSet::with_capacity(entries.len());
    if let Some(twice) = entries.iter().find(|entry| !seen.insert(entry.name.as_str())) {
        return Err(Error::tensor(path, &twice.name, "appears twice in the header: the file is damaged"));
    }
    let mut tensors = Vec::with_capacity(entries.len());
    for Entry { name, dtype, shape, offsets: (begin, end) } in entries {
        let fail = |detail: String| Err(Error::tensor(path, &name, detail));
        let Some(dtype) = Dtype::from_name(&dtype) else {
            return fail(format!("element type {dtype} is not known, expected F16, BF16 or F32"));
        };
        if begin > end {
            return fail(format!("data offsets run backwards: begin {begin}, end {end}"));
        }
        if end > data_len as u64 {
            return fail(format!(
                "data ends at byte {end}, but the file holds {data_len}: it is cut, download it again"
            ));
        }
        let elements = shape.iter().try_fold(1_u64, |product, &extent| product.checked_mul(extent));
        let expected = elements.and_then(|elements| elements.checked_mul(dtype.block_bytes() as u64));
        if expected != Some(end - begin) {
            let expected = expected.map_or("more than 2^64".to_owned(), |bytes| bytes.to_string());
            return fail(format!("shape {shape:?} of {dtype} needs {expected} bytes, got {} bytes", end - begin));
        }
        // Both ends are at most `data_len`, and each extent at most the product unless that is 0: neither cast can lose bits
        // except for an extent beside a 0, which then matches no expected shape.
        let range = data_start + begin as usize..data_start + end as usize;
        let shape = shape.iter().map(|&extent| usize::try_from(extent).unwrap_or(usize::MAX)).collect();
        tensors.push(TensorInfo { name, dtype, shape, strides: None, range });
    }

    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    let (mut at, mut before) = (data_start, None::<&TensorInfo>);
    for tensor in order {
        if tensor.range.start != at {
            let before = before.map_or("the header".to_owned(), |before| format!("{:?}", before.name));
            let what = if tensor.range.start < at { "overlaps" } else { "leaves a hole after" };
            let detail = format!("its data {what} {before}: the file is damaged, download it again");
            return Err(Error::tensor(path, &tensor.name, detail));
        }
        (at, before) = (tensor.range.end, Some(tensor));
    }
    if at != file_len {
        let surplus = file_len - at;
        return Err(Error::format(
            path,
            format!("{surplus} bytes follow the last tensor: the file is damaged, download it again"),
        ));
    }
    Ok(tensors)
}

/// Reads the header object key by key, so that equal keys are seen and nothing is kept for entries that are not tensors.
struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Vec<Entry>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Entry>, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value_seed(Metadata)?;
                continue;
            }
            if name.len() > MAX_NAME {
                return Err(de::Error::custom(format!(
                    "a tensor's name has {} bytes, expected at most {MAX_NAME}",
                    name.len()
                )));
            }
            if entries.len() == MAX_TENSORS {
                return Err(de::Error::custom(format!("more than {MAX_TENSORS} tensors")));
            }
            entries.push(map.next_value_seed(EntrySeed(name))?);
        }
        Ok(entries)
    }
}

struct EntrySeed(String);

impl<'de> DeserializeSeed<'de> for EntrySeed {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        let name = self.0.clone();
        deserializer.deserialize_map(self).map_err(|error| de::Error::custom(format!("tensor {name:?}: {error}")))
    }
}

impl<'de> Visitor<'de> for EntrySeed {
    type Value = Entry;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object with dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            let repeated = match key.as_str() {
                "dtype" => dtype.replace(map.next_value::<String>()?).is_some(),
                "shape" => shape.replace(map.next_value_seed(Extents)?).is_some(),
                "data_offsets" => offsets.replace(map.next_value::<(u64, u64)>()?).is_some(),
                // The format has these three since its first version, and a value of unknown kind could be of any size.
                _ => return Err(de::Error::unknown_field(&key, &["dtype", "shape", "data_offsets"])),
            };
            if repeated {
                return Err(de::Error::custom(format!("{key} appears twice")));
            }
        }
        Ok(Entry {
            name: self.0,
            dtype: dtype.ok_or_else(|| de::Error::missing_field("dtype"))?,
            shape: shape.ok_or_else(|| de::Error::missing_field("shape"))?,
            offsets: offsets.ok_or_else(|| de::Error::missing_field("data_offsets"))?,
        })
    }
}

/// Skips `__metadata__`: an object of strings, which nobody here needs. Other values are refused, since the parser keeps one
/// byte a level while it skips nested ones.
struct Metadata;

impl<'de> DeserializeSeed<'de> for Metadata {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("__metadata__ as an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<String, String>()?.is_some() {}
        Ok(())
    }
}

/// A shape of at most [`MAX_RANK`] extents: a longer list is refused before it takes memory.
struct Extents;

impl<'de> DeserializeSeed<'de> for Extents {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Extents {
    type Value = Vec<u64>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of extents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
        let mut shape = Vec::new();
        while let Some(extent) = seq.next_element()? {
            if shape.len() == MAX_RANK {
                return Err(de::Error::custom(format!("more than {MAX_RANK} dimensions")));
            }
            shape.push(extent);
        }
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
    }

    fn entry(name: &str, shape: &str, begin: i64, end: i64) -> String {
        format!(r#""{name}":{{"dtype":"F16","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        read(Path::new("a.safetensors"), bytes).unwrap().tensors.into_iter().map(|tensor| tensor.name).collect()
    }

    #[test]
    fn order_padding_metadata_and_empty_tensors_are_free() {
        let (a, b, none) = (entry("a", "[2]", 4, 8), entry("b", "[]", 2, 4), entry("none", "[0, 7]", 4, 4));
        let first = entry("first", "[1,1]", 0, 2);
        let header = format!(r#"{{"__metadata__":{{"format":"pt"}},{a},{b},{none},{first}}}     "#);
        let bytes = file(&header, 8);
        assert!(probe(&bytes));
        assert_eq!(names(&bytes), ["a", "b", "none", "first"]);
    }

    #[test]
    fn every_damage_is_refused_with_its_tensor() {
        let good = entry("good", "[2]", 0, 4);
        for (header, words) in [
            (format!("{{{good},{}}}", entry("t", "[2]", 2, 6)), ["\"t\"", "overlaps \"good\""]),
            (format!("{{{good},{}}}", entry("t", "[1]", 6, 8)), ["\"t\"", "hole"]),
            (format!("{{{good},{}}}", entry("t", "[9]", 4, 22)), ["\"t\"", "holds 8"]),
            (format!("{{{good},{}}}", entry("t", "[2]", 8, 4)), ["\"t\"", "backwards"]),
            (format!("{{{good},{}}}", entry("t", "[3]", 4, 8)), ["\"t\"", "needs 6 bytes, got 4"]),
            (format!("{{{good},{}}}", entry("t", "[4294967296,4294967298]", 4, 8)), ["\"t\"", "2^64"]),
            (format!("{{{good},{}}}", entry("t", "[2]", -4, 8)), ["\"t\"", "-4"]),
            (format!("{{{good},{}}}", entry("t", "[1,1,1,1,1,1,1,1,2]", 4, 8)), ["\"t\"", "8 dimensions"]),
            (format!("{{{good},{}}}", entry("t", "[2]", 4, 8).replace("F16", "F13")), ["\"t\"", "F13"]),
            (format!("{{{good},{}}}", entry("t", "[2]", 4, 8).replace("shape", "form")), ["\"t\"", "shape"]),
            (format!("{{{good},{good}}}"), ["\"good\"", "twice"]),
            (format!("{{{good}}}"), ["4 bytes follow", "a.safetensors"]),
            (format!("{{{good}}} x"), ["trailing", "a.safetensors"]),
            ("[]".to_owned(), ["sequence", "a.safetensors"]),
            ("[".repeat(100_000), ["sequence", "a.safetensors"]),
            (format!(r#"{{"__metadata__":{}"#, "[".repeat(100_000)), ["__metadata__", "a.safetensors"]),
        ] {
            let message = read(Path::new("a.safetensors"), &file(&header, 8)).unwrap_err().to_string();
            let header: String = header.chars().take(200).collect();
            assert!(words.iter().all(|word| message.contains(word)), "{header}: {message}");
        }
    }

    #[test]
    fn a_cut_anywhere_is_an_error() {
        let bytes = file(&format!("{{{}}}", entry("t", "[4]", 0, 8)), 8);
        assert_eq!(names(&bytes), ["t"]);
        for length in 0..bytes.len() {
            assert!(read(Path::new("a.safetensors"), &bytes[..length]).is_err(), "{length} bytes");
        }
        for length in [0, 1, MAX_HEADER, MAX_HEADER + 1, u64::MAX - 7, u64::MAX] {
            let mut wrong = bytes.clone();
            wrong[..8].copy_from_slice(&length.to_le_bytes());
            assert!(read(Path::new("a.safetensors"), &wrong).is_err(), "header length {length}");
        }
    }
}
