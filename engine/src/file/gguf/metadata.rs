//! The metadata of a GGUF file: keys with typed values.
//!
//! Only keys, types and places are kept. A value is read from the file when it is asked for, so a vocabulary takes no memory
//! before a tokenizer is made of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::path::Path;

use super::cursor::Cursor;
use crate::error::{Error, Result};

/// The most keys; a file has 20 to 60.
const MAX_KEYS: u64 = 16_384;
/// The longest key, in bytes.
const MAX_KEY: usize = 256;

/// The types of values, in the order of their numbers in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    /// Each with its name and the bytes of a value; texts and arrays say their own.
    const TABLE: [(Self, &'static str, usize); 13] = [
        (Self::U8, "UINT8", 1),
        (Self::I8, "INT8", 1),
        (Self::U16, "UINT16", 2),
        (Self::I16, "INT16", 2),
        (Self::U32, "UINT32", 4),
        (Self::I32, "INT32", 4),
        (Self::F32, "FLOAT32", 4),
        (Self::Bool, "BOOL", 1),
        (Self::Text, "STRING", 0),
        (Self::Array, "ARRAY", 0),
        (Self::U64, "UINT64", 8),
        (Self::I64, "INT64", 8),
        (Self::F64, "FLOAT64", 8),
    ];

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let number = cursor.u32()?;
        let row = usize::try_from(number).ok().and_then(|number| Self::TABLE.get(number));
        row.map(|row| row.0).ok_or_else(|| format!("value type {number} does not exist: the file is damaged"))
    }

    fn row(self) -> (&'static str, usize) {
        Self::TABLE.iter().find(|row| row.0 == self).map_or(("?", 0), |row| (row.1, row.2))
    }
}

/// Where a value is, and what.
#[derive(Debug)]
struct Stored {
    kind: Kind,
    /// Elements, for arrays: `kind` is theirs.
    count: Option<usize>,
    /// A number's bytes, a text, or all elements of an array.
    range: Range<usize>,
}

/// The keys of a file, with the places of their values.
#[derive(Debug, Default)]
pub(in crate::file) struct Entries(BTreeMap<String, Stored>);

impl Entries {
    /// Reads `count` keys with their values. Errors are messages that end in `path`.
    pub(super) fn read(path: &Path, cursor: &mut Cursor<'_>, count: u64) -> Result<Self> {
        if count > MAX_KEYS {
            let detail = format!("{count} metadata keys, expected at most {MAX_KEYS}: the file is damaged");
            return Err(Error::format(path, detail));
        }
        let mut entries = BTreeMap::new();
        for index in 0..count {
            let key = cursor
                .name(MAX_KEY)
                .map_err(|detail| Error::format(path, format!("metadata key {index} of {count}: {detail}")))?;
            let stored = Stored::read(cursor).map_err(|detail| Error::config(path, key, detail))?;
            match entries.entry(key.to_owned()) {
                Entry::Vacant(place) => place.insert(stored),
                Entry::Occupied(_) => return Err(Error::config(path, key, "appears twice: the file is damaged")),
            };
        }
        Ok(Self(entries))
    }
}

impl Stored {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, String> {
        let kind = Kind::read(cursor)?;
        if kind != Kind::Array {
            let range = if kind == Kind::Text { cursor.skip_text()? } else { cursor.skip(kind.row().1 as u64)? };
            return Ok(Self { kind, count: None, range });
        }
        let kind = Kind::read(cursor).map_err(|detail| format!("an array's {detail}"))?;
        let count = cursor.u64()?;
        let too_long =
            || format!("an array of {count} elements, and {} bytes follow: the file is cut or damaged", cursor.left());
        // A text takes at least the eight bytes of its length.
        let least = if kind == Kind::Text { 8 } else { kind.row().1 };
        let bytes = count.checked_mul(least as u64).filter(|bytes| *bytes <= cursor.left()).ok_or_else(too_long)?;
        let range = match kind {
            Kind::Array => return Err("an array of arrays, which no LLaMA has".to_owned()),
            Kind::Text => {
                let start = cursor.at();
                for index in 0..count {
                    cursor.skip_text().map_err(|detail| format!("element {index} of {count}: {detail}"))?;
                }
                start..cursor.at()
            }
            _ => cursor.skip(bytes)?,
        };
        // Not above the file's length, as just checked.
        Ok(Self { kind, count: Some(count as usize), range })
    }

    fn describe(&self) -> String {
        let (name, _) = self.kind.row();
        self.count.map_or_else(|| name.to_owned(), |count| format!("an array of {count} {name}"))
    }
}

/// A number of any type.
#[derive(Debug, Clone, Copy)]
enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    fn read(kind: Kind, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            Kind::U8 => Self::Whole(i128::from(*bytes.first()?)),
            Kind::I8 => Self::Whole(i128::from(bytes.first()?.cast_signed())),
            Kind::U16 => Self::Whole(i128::from(u16::from_le_bytes(*bytes.first_chunk()?))),
            Kind::I16 => Self::Whole(i128::from(i16::from_le_bytes(*bytes.first_chunk()?))),
            Kind::U32 => Self::Whole(i128::from(u32::from_le_bytes(*bytes.first_chunk()?))),
            Kind::I32 => Self::Whole(i128::from(i32::from_le_bytes(*bytes.first_chunk()?))),
            Kind::U64 => Self::Whole(i128::from(u64::from_le_bytes(*bytes.first_chunk()?))),
            Kind::I64 => Self::Whole(i128::from(i64::from_le_bytes(*bytes.first_chunk()?))),
            Kind::F32 => Self::Float(f64::from(f32::from_le_bytes(*bytes.first_chunk()?))),
            Kind::F64 => Self::Float(f64::from_le_bytes(*bytes.first_chunk()?)),
            Kind::Bool | Kind::Text | Kind::Array => return None,
        })
    }

    fn float(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

/// The metadata of a checkpoint, read from its file on demand.
///
/// The readers give None for a key that is not there.
///
/// # Errors
/// Each reader gives [`Error::Config`] with the key when its value is of another kind.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    entries: &'a Entries,
    path: &'a Path,
    bytes: &'a [u8],
}

#[allow(clippy::missing_errors_doc, reason = "the type's documentation says it for all of them")]
impl<'a> Metadata<'a> {
    /// The entries of the file at `path`, whose bytes are `bytes`.
    pub(in crate::file) fn new(entries: &'a Entries, path: &'a Path, bytes: &'a [u8]) -> Self {
        Self { entries, path, bytes }
    }

    /// The file that holds it.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.entries.0.keys().map(String::as_str)
    }

    /// An error about the value of `key`.
    pub fn error(&self, key: &str, detail: impl Into<String>) -> Error {
        Error::config(self.path(), key, detail)
    }

    fn get(&self, key: &str) -> Option<(&'a Stored, &'a [u8])> {
        let stored = self.entries.0.get(key)?;
        Some((stored, self.bytes.get(stored.range.clone()).unwrap_or_default()))
    }

    fn number(&self, key: &str) -> Result<Option<Number>> {
        let Some((stored, bytes)) = self.get(key) else { return Ok(None) };
        let number = Number::read(stored.kind, bytes).filter(|_| stored.count.is_none());
        number.map(Some).ok_or_else(|| self.error(key, format!("expected a number, got {}", stored.describe())))
    }

    /// A whole number, not negative.
    pub fn whole(&self, key: &str) -> Result<Option<u64>> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        let whole = match number {
            Number::Whole(number) => u64::try_from(number).ok(),
            Number::Float(_) => None,
        };
        let got = || match number {
            Number::Whole(number) => number.to_string(),
            Number::Float(number) => number.to_string(),
        };
        let fail = || self.error(key, format!("expected a whole number that is not negative, got {}", got()));
        whole.map(Some).ok_or_else(fail)
    }

    /// A number.
    pub fn float(&self, key: &str) -> Result<Option<f64>> {
        Ok(self.number(key)?.map(Number::float))
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.get(key) {
            None => Ok(None),
            Some((Stored { kind: Kind::Bool, count: None, .. }, [0])) => Ok(Some(false)),
            Some((Stored { kind: Kind::Bool, count: None, .. }, [1])) => Ok(Some(true)),
            Some((stored, _)) => Err(self.error(key, format!("expected true or false, got {}", stored.describe()))),
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.get(key) {
            None => Ok(None),
            Some((Stored { kind: Kind::Text, count: None, .. }, bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Ok(Some(text)),
                Err(error) => Err(self.error(key, format!("not UTF-8 ({error}): the file is damaged"))),
            },
            Some((stored, _)) => Err(self.error(key, format!("expected a text, got {}", stored.describe()))),
        }
    }

    /// The number of elements of an array.
    pub fn count(&self, key: &str) -> Result<Option<usize>> {
        let Some((stored, _)) = self.get(key) else { return Ok(None) };
        let fail = || self.error(key, format!("expected an array, got {}", stored.describe()));
        stored.count.map(Some).ok_or_else(fail)
    }

    /// The texts of an array, at most `max`.
    pub fn texts(&self, key: &str, max: usize) -> Result<Option<Vec<&'a str>>> {
        let Some((stored, bytes)) = self.array(key, max, &[Kind::Text], "texts")? else { return Ok(None) };
        let mut texts = Vec::with_capacity(stored.count.unwrap_or_default());
        let mut cursor = Cursor::new(bytes, usize::MAX);
        for index in 0..stored.count.unwrap_or_default() {
            let text =
                cursor.name(MAX_ELEMENT).map_err(|detail| self.error(key, format!("element {index}: {detail}")))?;
            texts.push(text);
        }
        Ok(Some(texts))
    }

    /// The numbers of an array, at most `max`.
    pub fn floats(&self, key: &str, max: usize) -> Result<Option<Vec<f32>>> {
        let kinds = [Kind::F32, Kind::F64];
        let Some((stored, bytes)) = self.array(key, max, &kinds, "floating-point numbers")? else { return Ok(None) };
        let numbers = bytes.chunks_exact(stored.kind.row().1).filter_map(|bytes| Number::read(stored.kind, bytes));
        Ok(Some(numbers.map(|number| number.float() as f32).collect()))
    }

    /// The whole numbers of an array, at most `max`.
    pub fn wholes(&self, key: &str, max: usize) -> Result<Option<Vec<i64>>> {
        let kinds = [Kind::U8, Kind::I8, Kind::U16, Kind::I16, Kind::U32, Kind::I32, Kind::I64];
        let Some((stored, bytes)) = self.array(key, max, &kinds, "whole numbers")? else { return Ok(None) };
        let numbers = bytes.chunks_exact(stored.kind.row().1).filter_map(|bytes| Number::read(stored.kind, bytes));
        // None of these types is wider than an i64.
        let whole = |number| if let Number::Whole(number) = number { number as i64 } else { 0 };
        Ok(Some(numbers.map(whole).collect()))
    }

    fn array(&self, key: &str, max: usize, kinds: &[Kind], of: &str) -> Result<Option<(&'a Stored, &'a [u8])>> {
        let Some((stored, bytes)) = self.get(key) else { return Ok(None) };
        match stored.count {
            Some(count) if count > max => {
                Err(self.error(key, format!("{count} elements, expected at most {max}: the file is damaged")))
            }
            Some(_) if kinds.contains(&stored.kind) => Ok(Some((stored, bytes))),
            _ => Err(self.error(key, format!("expected an array of {of}, got {}", stored.describe()))),
        }
    }
}

/// The longest text of an array, in bytes: the longest pieces of a vocabulary have some hundreds.
const MAX_ELEMENT: usize = 1 << 16;
