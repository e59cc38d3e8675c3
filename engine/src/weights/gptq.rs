//! GPTQ checkpoints (Frantar et al. 2022, arXiv:2210.17323) as AutoGPTQ lays them out: 4-bit codes of a matrix, column by column.
//!
//! For a matrix of (rows, cols) = (outputs, inputs) the file holds, under the name of the layer:
//!
//! | tensor | shape | what |
//! |---|---|---|
//! | `qweight` | (cols / 8, rows) I32 | code of input `8 i + k` at bit `4 k` |
//! | `qzeros` | (groups, rows / 8) I32 | zero of output `8 i + k` at bit `4 k`; version 1 stores it less one |
//! | `scales` | (groups, rows) F16 | |
//! | `g_idx` | (cols) I32 | the group of each input; without, input `i` is in group `i / group_size` |
//!
//! A weight is `scale * (code - zero)`
//! (<https://github.com/AutoGPTQ/AutoGPTQ/blob/main/auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py>). With act-order the groups
//! are scattered over the inputs: the columns are sorted by group here, once, and the input is brought into the same order.

use std::ops::Range;
use std::path::{Path, PathBuf};

use half::f16;
use regex::Regex;
use serde::Deserialize;

use super::ordered::Ordered;
use super::packed::{Format, UNIT, scale_zero};
use crate::error::{Error, Result};
use crate::file::{Checkpoint, Dtype, TensorView};

/// What `quantize_config.json`, or `quantization_config` in `config.json`, says.
#[derive(Clone, Debug)]
pub struct QuantizeConfig {
    /// Columns of a group; None for one group a row (-1 in the file).
    group_size: Option<usize>,
    /// Zeros are stored as they are, not less one.
    v2: bool,
    /// Patterns of modules with sizes of their own, in the order of the file; the first that matches counts.
    dynamic: Vec<(Regex, Override)>,
    path: PathBuf,
}

/// Values of `quant_method` whose files have AutoGPTQ's layout.
pub(super) const METHODS: [&str; 2] = ["gptq", "auto-round"];

#[derive(Deserialize)]
struct ConfigFile {
    quantization_config: Option<Fields>,
}

/// The fields of either place.
#[derive(Deserialize)]
struct Fields {
    bits: Option<i64>,
    group_size: Option<i64>,
    quant_method: Option<String>,
    checkpoint_format: Option<String>,
    packing_format: Option<String>,
    dynamic: Option<Ordered<Override>>,
}

/// What GPTQModel sets for the modules that a pattern matches; what is left out is as for all others.
#[derive(Deserialize, Debug, Clone, Copy)]
struct Override {
    bits: Option<i64>,
    group_size: Option<i64>,
}

impl QuantizeConfig {
    /// The configuration of `checkpoint`; None when it has none.
    ///
    /// # Errors
    /// [`Error::Config`] names the field that asks for what is not GPTQ of 4 bits; [`Error::Format`] when the file is not JSON.
    pub fn load(checkpoint: &Checkpoint) -> Result<Option<Self>> {
        for name in ["quantize_config.json", "config.json"] {
            let Some(bytes) = checkpoint.file_bytes(name)? else { continue };
            let path = checkpoint.side_path(name);
            let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
            let fields = if name == "config.json" {
                serde_json::from_slice::<ConfigFile>(bytes).map(|file| file.quantization_config)
            } else {
                serde_json::from_slice(bytes).map(Some)
            };
            let fields = fields.map_err(|error| Error::format(&path, format!("not a quantization config: {error}")))?;
            if let Some(fields) = fields {
                return Self::check(fields, path).map(Some);
            }
        }
        Ok(None)
    }

    fn check(fields: Fields, path: PathBuf) -> Result<Self> {
        let fail = |field: &str, detail: String| Err(Error::config(&path, field, detail));
        let is_read = |method: &String| METHODS.iter().any(|known| method.eq_ignore_ascii_case(known));
        if let Some(method) = fields.quant_method.as_ref().filter(|method| !is_read(method)) {
            let read = METHODS.join(" or ");
            return fail("quant_method", format!("expected {read}, got {method:?}, which this program does not read"));
        }
        // auto-round packs as AutoGPTQ does where it says so. Its other packings differ in their zeros, or altogether.
        if let Some(packing) = fields.packing_format.as_deref().filter(|packing| !packing.ends_with("auto_gptq")) {
            let detail = format!("expected auto_round:auto_gptq, got {packing:?}: export it in the format auto_gptq");
            return fail("packing_format", detail);
        }
        match fields.bits {
            Some(4) => {}
            Some(bits) => return fail("bits", format!("expected 4, got {bits}: only 4-bit GPTQ is read")),
            None => return fail("bits", "missing, expected 4".to_owned()),
        }
        let group_size = group_size(fields.group_size.unwrap_or(-1), &path)?;
        let v2 = match fields.checkpoint_format.as_deref() {
            None | Some("gptq") => false,
            Some("gptq_v2") => true,
            Some(other) => return fail("checkpoint_format", format!("expected gptq or gptq_v2, got {other:?}")),
        };
        let mut dynamic = Vec::new();
        for (key, value) in fields.dynamic.map(|entries| entries.0).unwrap_or_default() {
            // `-:` marks modules that are not quantised: those have plain weights, and are found by their names.
            if key.starts_with("-:") {
                continue;
            }
            // GPTQModel matches from the beginning of the name on, not to its end.
            let pattern = Regex::new(&format!(r"\A(?:{})", key.trim_start_matches("+:"))).map_err(|error| {
                Error::config(&path, "dynamic", format!("{key:?} is not a regular expression: {error}"))
            })?;
            dynamic.push((pattern, value));
        }
        Ok(Self { group_size, v2, dynamic, path })
    }

    /// Columns of a group in the module `stem`; None for one group a row.
    ///
    /// # Errors
    /// [`Error::Config`] for a module with another width than 4 bits.
    fn group_size_of(&self, stem: &str) -> Result<Option<usize>> {
        let Some((_, own)) = self.dynamic.iter().find(|(pattern, _)| pattern.is_match(stem)) else {
            return Ok(self.group_size);
        };
        if let Some(bits) = own.bits.filter(|bits| *bits != 4) {
            let detail = format!("{stem} has {bits} bits; expected 4: only 4-bit GPTQ is read");
            return Err(Error::config(&self.path, "dynamic", detail));
        }
        own.group_size.map_or(Ok(self.group_size), |size| group_size(size, &self.path))
    }
}

/// Columns of a group by the field `group_size`; None for one group a row.
fn group_size(size: i64, path: &Path) -> Result<Option<usize>> {
    match size {
        -1 => Ok(None),
        // What the kernels cannot do is said later: a wrong figure here first contradicts the tensors.
        size @ 1..=65536 => Ok(Some(size as usize)),
        size => {
            let detail = format!("expected -1 or a power of two from 32 to 65536, got {size}");
            Err(Error::config(path, "group_size", detail))
        }
    }
}

/// A matrix in GPTQ's layout, found and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gptq {
    /// The layer's name as the file spells it, without `.qweight`.
    pub stem: String,
    /// Columns of a group; more than there are for one group a row.
    pub group_len: usize,
    /// The stored column that stands at each place, sorted by group; None when they are sorted in the file.
    pub order: Option<Vec<u32>>,
    v2: bool,
}

/// One group a row.
const WHOLE_ROW: usize = 1 << 40;

impl Gptq {
    /// Finds the tensors of the layer `stem` and checks them against a matrix of (rows, cols).
    ///
    /// # Errors
    /// [`Error::Tensor`] names the tensor that is missing or has another shape or type, or a group that does not exist;
    /// [`Error::Config`] when `group_size` contradicts the tensors.
    pub fn resolve(
        checkpoint: &Checkpoint,
        config: Option<&QuantizeConfig>,
        stem: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Self> {
        let codes = find(checkpoint, stem, "qweight")?;
        let fail = |name: &str, detail: String| Err(Error::tensor(codes.path(), format!("{stem}.{name}"), detail));
        if !cols.is_multiple_of(UNIT) || !rows.is_multiple_of(8) {
            let detail =
                format!("4-bit rows have a multiple of {UNIT} columns and come by eights, got ({rows}, {cols})");
            return fail("qweight", detail);
        }
        expect(&codes, &[cols / 8, rows], &[Dtype::I32], "cols / 8, rows")?;
        let scales = find(checkpoint, stem, "scales")?;
        let n_groups = match *scales.shape {
            [groups, width] if width == rows && (1..=cols).contains(&groups) => groups,
            _ => return fail("scales", format!("expected (groups, {rows}), got {:?}", scales.shape)),
        };
        expect(&scales, &[n_groups, rows], &[Dtype::F16, Dtype::F32, Dtype::BF16], "groups, rows")?;
        let zeros = find(checkpoint, stem, "qzeros")?;
        expect(&zeros, &[n_groups, rows / 8], &[Dtype::I32], "groups, rows / 8")?;

        // Without a config (GPTQ-for-LLaMa's first files) the number of groups says how long they are.
        let group_size = config.map(|config| config.group_size_of(stem)).transpose()?.flatten();
        let group_len = match (config, n_groups) {
            (Some(_), _) if group_size.is_some() => group_size.unwrap_or(WHOLE_ROW),
            (_, 1) => WHOLE_ROW,
            (None, n) => cols.div_ceil(n).next_power_of_two(),
            (Some(_), _) => WHOLE_ROW,
        };
        if cols.div_ceil(group_len) != n_groups {
            let size = if group_len == WHOLE_ROW { -1 } else { group_len as i64 };
            let detail = format!(
                "{size} makes {} groups of the {cols} columns of {stem}, but its scales have {n_groups}",
                cols.div_ceil(group_len)
            );
            return match config {
                Some(config) => Err(Error::config(&config.path, "group_size", detail)),
                None => fail("scales", format!("group_size {detail}")),
            };
        }
        // The kernels find a column's group by a shift, and take 32 columns at a time.
        if group_len < UNIT || !group_len.is_power_of_two() {
            let detail = format!("expected -1 or a power of two from {UNIT}, got {group_len}");
            let path = config.map_or(codes.path(), |config| &config.path);
            return Err(Error::config(path, "group_size", detail));
        }
        let order = match checkpoint.tensor(&format!("{stem}.g_idx")) {
            Some(view) => order(&view, cols, group_len, n_groups)?,
            None => None,
        };
        Ok(Self { stem: stem.to_owned(), group_len, order, v2: config.is_some_and(|config| config.v2) })
    }

    /// A matrix with groups of `group_len`, without any file.
    #[cfg(test)]
    pub(crate) fn imagined(group_len: usize) -> Self {
        Self { stem: String::new(), group_len, order: None, v2: false }
    }

    /// Its layout on the device.
    pub fn format(&self) -> Format {
        Format::Q4 { group_len: self.group_len }
    }

    /// Bytes of its tensors in the file, about.
    pub fn stored_bytes(&self, rows: usize, cols: usize) -> u64 {
        let groups = cols.div_ceil(self.group_len);
        (rows * cols / 2 + groups * rows * 5 / 2) as u64
    }

    /// The rows `rows` of `cols` columns in the layout of [`Gptq::format`], columns in the order of [`Gptq::order`].
    ///
    /// # Errors
    /// [`Error::Tensor`] when a scale is not a finite f16, or when the tensors are not those that were resolved.
    pub fn pack(
        &self,
        checkpoint: &Checkpoint,
        rows: Range<usize>,
        cols: usize,
        codes: &mut [u8],
        scales: &mut [u8],
    ) -> Result<()> {
        let view = find(checkpoint, &self.stem, "qweight")?;
        let Some(&[_, n_rows]) = view.shape.first_chunk::<2>() else {
            return Err(Error::tensor(view.path(), view.name, "expected a matrix"));
        };
        let words = contiguous(&view)?.as_chunks::<4>().0;
        let row = |at: usize| words.get(at * n_rows + rows.start..at * n_rows + rows.end).unwrap_or_default();
        match &self.order {
            None => transpose(cols / 8, row, codes),
            Some(order) => transpose_sorted(order, row, codes),
        }
        self.pack_scales(checkpoint, rows, cols.div_ceil(self.group_len), n_rows, scales)
    }

    fn pack_scales(
        &self,
        checkpoint: &Checkpoint,
        rows: Range<usize>,
        groups: usize,
        n_rows: usize,
        out: &mut [u8],
    ) -> Result<()> {
        let (scales, zeros) = (find(checkpoint, &self.stem, "scales")?, find(checkpoint, &self.stem, "qzeros")?);
        let (values, zero_words) = (contiguous(&scales)?, contiguous(&zeros)?.as_chunks::<4>().0);
        let size = scales.dtype.block_bytes();
        let first = if self.v2 { 0 } else { 1 };
        for (row, out) in rows.zip(out.chunks_exact_mut(groups.max(1) * 4)) {
            for (group, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let at = group * n_rows + row;
                let scale = number(scales.dtype, values.get(at * size..(at + 1) * size).unwrap_or_default());
                if !f16::from_f32(scale).is_finite() {
                    let detail = format!("the value at [{group}, {row}] is {scale}: the file is damaged");
                    return Err(Error::tensor(scales.path(), scales.name, detail));
                }
                let word = zero_words.get(group * (n_rows / 8) + row / 8).map_or(0, |word| u32::from_le_bytes(*word));
                let zero = (word >> (row % 8 * 4) & 15) + first;
                *out = scale_zero(scale, zero as f32);
            }
        }
        Ok(())
    }

    /// Tells the system that the codes have been used; see [`TensorView::release`].
    pub fn release(&self, checkpoint: &Checkpoint) {
        if let Some(view) = checkpoint.tensor(&format!("{}.qweight", self.stem)) {
            view.release(0..usize::MAX);
        }
    }
}

fn find<'a>(checkpoint: &'a Checkpoint, stem: &str, name: &str) -> Result<TensorView<'a>> {
    let name = format!("{stem}.{name}");
    checkpoint.tensor(&name).ok_or_else(|| {
        Error::tensor(checkpoint.path(), &name, "not in the file, which has other GPTQ tensors of this layer")
    })
}

fn expect(view: &TensorView<'_>, shape: &[usize], dtypes: &[Dtype], words: &str) -> Result<()> {
    if view.shape != shape {
        let detail = format!("expected {shape:?} = ({words}), got {:?}", view.shape);
        return Err(Error::tensor(view.path(), view.name, detail));
    }
    if !dtypes.contains(&view.dtype) {
        let names: Vec<&str> = dtypes.iter().map(|dtype| dtype.name()).collect();
        let detail = format!("expected {}, got {}", names.join(" or "), view.dtype);
        return Err(Error::tensor(view.path(), view.name, detail));
    }
    contiguous(view).map(drop)
}

fn contiguous<'a>(view: &TensorView<'a>) -> Result<&'a [u8]> {
    if view.strides().is_some() {
        return Err(Error::tensor(view.path(), view.name, "expected values row after row, got a view with strides"));
    }
    view.data()
}

fn number(dtype: Dtype, bytes: &[u8]) -> f32 {
    match (dtype, bytes) {
        (Dtype::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (Dtype::BF16, &[a, b]) => half::bf16::from_le_bytes([a, b]).to_f32(),
        (Dtype::F32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => f32::NAN,
    }
}

/// The columns sorted by group; None when they are. Groups must then be as long as `group_len` says, but for the last.
fn order(view: &TensorView<'_>, cols: usize, group_len: usize, n_groups: usize) -> Result<Option<Vec<u32>>> {
    expect(view, &[cols], &[Dtype::I32, Dtype::I64], "cols")?;
    let fail = |detail: String| Err(Error::tensor(view.path(), view.name, detail));
    let size = view.dtype.block_bytes();
    let mut groups = Vec::with_capacity(cols);
    for (col, value) in contiguous(view)?.chunks_exact(size).enumerate() {
        let value = match *value {
            [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
            _ => -1,
        };
        match usize::try_from(value) {
            Ok(group) if group < n_groups => groups.push(group),
            _ => return fail(format!("column {col} is in group {value}, but there are {n_groups}")),
        }
    }
    let mut order: Vec<u32> = (0..cols as u32).collect();
    order.sort_by_key(|col| groups.get(*col as usize));
    let place = order.iter().enumerate().find(|(place, col)| groups.get(**col as usize) != Some(&(place / group_len)));
    if let Some((place, _)) = place {
        let group = place / group_len;
        let has = groups.iter().filter(|other| **other == group).count();
        return fail(format!("group {group} has {has} columns, expected {group_len} (group_size)"));
    }
    Ok(if order.is_sorted() { None } else { Some(order) })
}

/// Words of eight codes from (words, rows) to (rows, words): a row of the result is `words` long.
fn transpose<'a>(words: usize, row: impl Fn(usize) -> &'a [[u8; 4]], codes: &mut [u8]) {
    let out = codes.as_chunks_mut::<4>().0;
    for at in 0..words {
        for (word, out) in row(at).iter().zip(out.chunks_exact_mut(words)) {
            out[at] = *word;
        }
    }
}

/// Rows that are sorted at a time: their words fit the first-level cache.
const LANES: usize = 64;

/// As [`transpose`], with the codes of each row in `order`.
fn transpose_sorted<'a>(order: &[u32], row: impl Fn(usize) -> &'a [[u8; 4]], codes: &mut [u8]) {
    let words = order.len() / 8;
    let out = codes.as_chunks_mut::<4>().0;
    for (block, out) in out.chunks_mut(words * LANES).enumerate() {
        let n = out.len() / words.max(1);
        for (at, eight) in order.as_chunks::<8>().0.iter().enumerate() {
            let mut sorted = [0_u32; LANES];
            for (place, col) in eight.iter().enumerate() {
                let from = row(*col as usize / 8).get(block * LANES..block * LANES + n).unwrap_or_default();
                let shift = col % 8 * 4;
                for (to, word) in sorted.iter_mut().zip(from) {
                    *to |= (u32::from_le_bytes(*word) >> shift & 15) << (place * 4);
                }
            }
            for (out, word) in out.chunks_exact_mut(words).zip(sorted) {
                out[at] = word.to_le_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_turned_into_rows_and_sorted() {
        // 16 inputs, 70 outputs: code of input i and output r is (3 i + r) % 16.
        let (cols, rows) = (16, 70);
        let code = |col: usize, row: usize| ((3 * col + row) % 16) as u32;
        let stored: Vec<[u8; 4]> = (0..cols / 8)
            .flat_map(|word| (0..rows).map(move |row| (word, row)))
            .map(|(word, row)| (0..8).fold(0, |sum, k| sum | code(word * 8 + k, row) << (4 * k)).to_le_bytes())
            .collect();
        let row = |at: usize| &stored[at * rows..(at + 1) * rows];
        let order: Vec<u32> = [3, 1, 15, 0, 8, 2, 4, 5, 6, 7, 9, 14, 13, 12, 11, 10].to_vec();
        let straight: Vec<u32> = (0..cols as u32).collect();
        let (mut plain, mut same, mut sorted) = (vec![0; rows * 8], vec![0; rows * 8], vec![0; rows * 8]);
        transpose(cols / 8, row, &mut plain);
        transpose_sorted(&straight, row, &mut same);
        transpose_sorted(&order, row, &mut sorted);
        assert_eq!(plain, same);
        for (order, codes) in [(&straight, &plain), (&order, &sorted)] {
            for r in 0..rows {
                for (place, col) in order.iter().enumerate() {
                    let got = codes[r * 8 + place / 2] >> (place % 2 * 4) & 15;
                    assert_eq!(u32::from(got), code(*col as usize, r), "row {r}, place {place}");
                }
            }
        }
    }

    #[test]
    fn a_config_that_is_not_4_bit_gptq_is_refused_by_field() {
        let check = |text: &str| {
            QuantizeConfig::check(serde_json::from_str(text).unwrap(), "quantize_config.json".into())
                .map_err(|e| e.to_string())
        };
        let good = check(r#"{"bits": 4, "group_size": 128, "checkpoint_format": "gptq_v2"}"#).unwrap();
        assert_eq!((good.group_size, good.v2), (Some(128), true));
        assert_eq!(check(r#"{"bits": 4, "group_size": -1}"#).unwrap().group_size, None);
        for (text, field) in [
            (r#"{"bits": 3}"#, "`bits`"),
            (r#"{"group_size": 128}"#, "`bits`"),
            (r#"{"bits": 4, "group_size": 0}"#, "`group_size`"),
            (r#"{"bits": 4, "quant_method": "awq"}"#, "`quant_method`"),
            (r#"{"bits": 4, "checkpoint_format": "marlin"}"#, "`checkpoint_format`"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
    }
}
