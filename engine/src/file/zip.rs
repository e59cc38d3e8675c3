//! The table of contents of a zip file, checked against the file: which bytes of it are which entry.
//!
//! PyTorch keeps its checkpoints in zips, stored without compression and aligned, so that they can be mapped into memory
//! (<https://github.com/pytorch/pytorch/blob/main/caffe2/serialize/inline_container.h>). All that is needed of one is the
//! range of each entry, with hard limits; nothing is extracted, and a name is only compared. This is why no zip crate is
//! used. The format is PKWARE's APPNOTE (<https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>), whose sections are
//! named below.

use std::collections::HashSet;
use std::ops::Range;

/// The most entries: each tensor has one.
const MAX_ENTRIES: usize = 1 << 17;
/// The end record of section 4.3.16 without its comment, and the longest comment.
const END: usize = 22;
const MAX_COMMENT: usize = u16::MAX as usize;
/// A central header (4.3.12) and a local header (4.3.7) without names and extra fields.
const CENTRAL: usize = 46;
const LOCAL: usize = 30;
/// What stands in a field whose value is in the zip64 record or extra field instead (4.4.1.4).
const IN_ZIP64: u64 = 0xFFFF_FFFF;

/// One entry of a zip file.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Its name, which is never used as a path.
    pub(super) name: &'a str,
    /// Its bytes in the file, as stored.
    pub(super) data: Range<usize>,
    /// Whether `data` is a deflate stream (RFC 1951); else `data` is the contents.
    pub(super) is_deflated: bool,
    /// The length of its contents, as the zip says: only of a stored entry is it proved.
    pub(super) size: usize,
    /// The CRC-32 of its contents, as the zip says.
    pub(super) crc: u32,
}

/// The entries of a zip file. Every range lies inside the file, none overlaps another, and no name is given twice.
///
/// # Errors
/// What is wrong, as a clause for a message.
pub(super) fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let (count, directory) = directory(bytes)?;
    let directory_start = directory.start;
    let mut rest = bytes.get(directory).unwrap_or_default();
    if count > MAX_ENTRIES as u64 || count * CENTRAL as u64 > rest.len() as u64 {
        return Err(format!("the zip's directory of {} bytes claims {count} entries: the file is damaged", rest.len()));
    }
    let mut entries = Vec::with_capacity(count as usize);
    let mut spans = Vec::with_capacity(count as usize);
    let mut names = HashSet::with_capacity(count as usize);
    for number in 0..count {
        let (entry, span, len) = entry(bytes, rest, directory_start)
            .map_err(|what| format!("entry {number} of the zip's directory: {what}: the file is damaged"))?;
        if !names.insert(entry.name) {
            return Err(format!("the zip has two entries {:?}: the file is damaged", shown(entry.name)));
        }
        rest = rest.get(len..).unwrap_or_default();
        entries.push(entry);
        spans.push(span);
    }
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the last entry of the zip's directory: the file is damaged", rest.len()));
    }
    spans.sort_by_key(|span| span.start);
    if spans.windows(2).any(|pair| pair[0].end > pair[1].start) {
        return Err("two entries of the zip overlap: the file is damaged".to_owned());
    }
    Ok(entries)
}

/// The number of entries and the range of the central directory, from the end record or from zip64's (4.3.14 to 4.3.16).
fn directory(bytes: &[u8]) -> Result<(u64, Range<usize>), String> {
    let cut = || "the zip has no table of contents at its end: the file is cut, download it again".to_owned();
    let last = bytes.len().checked_sub(END).ok_or_else(cut)?;
    let is_end = |at: &usize| {
        bytes[*at..].starts_with(b"PK\x05\x06") && u16_at(bytes, at + 20) == Some((bytes.len() - at - END) as u64)
    };
    let end = (last.saturating_sub(MAX_COMMENT)..=last).rev().find(is_end).ok_or_else(cut)?;
    let record = &bytes[end..];
    let locator = end.checked_sub(20).filter(|at| bytes[*at..].starts_with(b"PK\x06\x07"));
    let (fields, limit) = match locator {
        None => (
            [
                u16_at(record, 4),
                u16_at(record, 6),
                u16_at(record, 8),
                u16_at(record, 10),
                u32_at(record, 12),
                u32_at(record, 16),
            ],
            end,
        ),
        Some(locator) => {
            let at = u64_at(bytes, locator + 8).and_then(|at| usize::try_from(at).ok()).filter(|at| *at < locator);
            let record = at.and_then(|at| bytes.get(at..locator)).filter(|record| record.starts_with(b"PK\x06\x06"));
            let (Some(at), Some(record)) = (at, record) else {
                return Err("the zip's zip64 record is not where it should be: the file is damaged".to_owned());
            };
            let field = [
                u32_at(record, 16),
                u32_at(record, 20),
                u64_at(record, 24),
                u64_at(record, 32),
                u64_at(record, 40),
                u64_at(record, 48),
            ];
            (field, at)
        }
    };
    let [Some(disk), Some(first_disk), Some(count_here), Some(count), Some(size), Some(start)] = fields else {
        return Err(cut());
    };
    if disk != 0 || first_disk != 0 || count_here != count {
        return Err("the zip is one of several parts, which is not read".to_owned());
    }
    let range = start.checked_add(size).filter(|end| *end <= limit as u64).map(|end| start as usize..end as usize);
    let range = range.ok_or_else(|| {
        format!("the zip's directory of {size} bytes at byte {start} is not inside the file: the file is damaged")
    })?;
    Ok((count, range))
}

/// The entry whose central header `rest` begins with, the bytes of the file that it takes, and the header's length.
fn entry<'a>(bytes: &'a [u8], rest: &'a [u8], limit: usize) -> Result<(Entry<'a>, Range<usize>, usize), String> {
    let cut = || "it is cut".to_owned();
    let header = rest.get(..CENTRAL).ok_or_else(cut)?;
    if !header.starts_with(b"PK\x01\x02") {
        return Err("no entry stands there".to_owned());
    }
    let short = |at: usize| u16_at(header, at).ok_or_else(cut);
    let word = |at: usize| u32_at(header, at).ok_or_else(cut);
    let (flags, method, crc) = (short(8)?, short(10)?, word(16)? as u32);
    let name_end = CENTRAL + short(28)? as usize;
    let extra_end = name_end + short(30)? as usize;
    let len = extra_end + short(32)? as usize;
    let name = rest.get(CENTRAL..name_end).ok_or_else(cut)?;
    let extra = rest.get(name_end..extra_end).ok_or_else(cut)?;
    if rest.len() < len {
        return Err(cut());
    }
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8".to_owned())?;
    let [size, stored, offset] = widened(extra, [word(24)?, word(20)?, word(42)?])
        .ok_or_else(|| format!("{:?} lacks its zip64 sizes", shown(name)))?;
    let fail = |what: &str| Err(format!("{:?} {what}", shown(name)));
    if flags & 1 != 0 {
        return fail("is encrypted");
    }
    if !matches!(method, 0 | 8) {
        return fail(&format!("is compressed by method {method}, expected 0 (stored) or 8 (deflated)"));
    }
    if method == 0 && size != stored {
        return fail(&format!("is stored, but with {stored} bytes for {size}"));
    }

    // The local header repeats most of it; the data begins behind the local header's own name and extra field.
    let Some(start) = usize::try_from(offset).ok().filter(|start| *start < limit) else {
        return fail(&format!("begins at byte {offset}, where no entry can be"));
    };
    let local = bytes.get(start..limit).unwrap_or_default();
    let (Some(local_name_len), Some(local_extra_len)) = (u16_at(local, 26), u16_at(local, 28)) else {
        return fail("has a local header that is cut");
    };
    let local_name = local.get(LOCAL..LOCAL + local_name_len as usize);
    if !local.starts_with(b"PK\x03\x04") || local_name != Some(name.as_bytes()) || u16_at(local, 8) != Some(method) {
        return fail("has another local header than the directory says");
    }
    // Bit 3: the sizes follow the data, and are zero here.
    let sizes = [(u32_at(local, 18), stored), (u32_at(local, 22), size)];
    let is_later = flags & 8 != 0;
    if sizes.iter().any(|(here, there)| !is_later && *here != Some(*there) && *here != Some(IN_ZIP64)) {
        return fail("has other sizes in its local header than in the directory");
    }
    let data_start = start + LOCAL + (local_name_len + local_extra_len) as usize;
    let end = (data_start as u64).checked_add(stored).filter(|end| *end <= limit as u64);
    let (Some(end), Ok(size)) = (end, usize::try_from(size)) else {
        return fail(&format!("claims {stored} bytes, more than the file holds"));
    };
    let entry = Entry { name, data: data_start..end as usize, is_deflated: method == 8, size, crc };
    Ok((entry, start..end as usize, len))
}

/// Fields of 32 bits, replaced by those of the zip64 extra field (4.5.3), which holds in this order what did not fit.
fn widened(mut extra: &[u8], mut fields: [u64; 3]) -> Option<[u64; 3]> {
    if !fields.contains(&IN_ZIP64) {
        return Some(fields);
    }
    loop {
        let (tag, len) = (u16_at(extra, 0)?, u16_at(extra, 2)? as usize);
        let body = extra.get(4..4 + len)?;
        if tag == 1 {
            let mut at = 0;
            for field in fields.iter_mut().filter(|field| **field == IN_ZIP64) {
                *field = u64_at(body, at)?;
                at += 8;
            }
            return Some(fields);
        }
        extra = &extra[4 + len..];
    }
}

/// A name in a message: the whole of any that PyTorch gives.
fn shown(name: &str) -> String {
    name.chars().take(80).collect()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u16::from_le_bytes(*field).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u32::from_le_bytes(*field).into())
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|field| u64::from_le_bytes(*field))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A zip with these stored entries; with zip64 records when asked, which small files may have too.
    pub(in super::super) fn zip(files: &[(&str, &[u8])], is_zip64: bool) -> Vec<u8> {
        let (mut out, mut central) = (Vec::new(), Vec::new());
        let short = |value: usize| (value as u16).to_le_bytes();
        let word = |value: usize| (value as u32).to_le_bytes();
        for (name, data) in files {
            let offset = out.len();
            let (len, extra) = match is_zip64 {
                true => (
                    u32::MAX as usize,
                    [data.len(), data.len(), offset].map(|field| (field as u64).to_le_bytes()).concat(),
                ),
                false => (data.len(), Vec::new()),
            };
            let extra = if is_zip64 { [&short(1)[..], &short(extra.len()), &extra].concat() } else { extra };
            out.extend(
                [
                    &b"PK\x03\x04"[..],
                    &[45, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                    &[0; 4],
                    &word(len),
                    &word(len),
                    &short(name.len()),
                    &short(3),
                ]
                .concat(),
            );
            out.extend([name.as_bytes(), b"pad", data].concat());
            central.extend(
                [&b"PK\x01\x02"[..], &[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 4], &word(len), &word(len)].concat(),
            );
            central.extend(
                [
                    &short(name.len())[..],
                    &short(extra.len()),
                    &[0; 10],
                    &word(if is_zip64 { u32::MAX as usize } else { offset }),
                ]
                .concat(),
            );
            central.extend([name.as_bytes(), &extra].concat());
        }
        let (start, count) = (out.len(), files.len());
        out.extend(&central);
        if is_zip64 {
            let at = out.len() as u64;
            let fields = [count, count, central.len(), start].map(|field| (field as u64).to_le_bytes()).concat();
            out.extend([&b"PK\x06\x06"[..], &44_u64.to_le_bytes(), &[45, 0, 45, 0], &[0; 8], &fields].concat());
            out.extend([&b"PK\x06\x07"[..], &[0; 4], &at.to_le_bytes(), &[1, 0, 0, 0]].concat());
            out.extend([&b"PK\x05\x06"[..], &[0; 4], &[0xFF; 12], &[0, 0]].concat());
        } else {
            out.extend(
                [
                    &b"PK\x05\x06"[..],
                    &[0; 4],
                    &short(count),
                    &short(count),
                    &word(central.len()),
                    &word(start),
                    &[0, 0],
                ]
                .concat(),
            );
        }
        out
    }

    const FILES: [(&str, &[u8]); 3] = [("a/data.pkl", b"pickle"), ("a/data/0", b"0123456789"), ("a/data/1", b"")];

    #[test]
    fn every_entry_is_where_it_is() {
        for is_zip64 in [false, true] {
            let bytes = zip(&FILES, is_zip64);
            let found = entries(&bytes).unwrap();
            let found: Vec<_> = found.iter().map(|entry| (entry.name, &bytes[entry.data.clone()])).collect();
            assert_eq!(found, FILES);
        }
        // A comment, and one that looks like an end.
        for comment in [&b"hello"[..], b"PK\x05\x06 and twenty more bytes, which are no end"] {
            let mut bytes = zip(&FILES, false);
            let at = bytes.len() - 2;
            bytes[at..].copy_from_slice(&(comment.len() as u16).to_le_bytes());
            bytes.extend(comment);
            assert_eq!(entries(&bytes).unwrap().len(), 3);
        }
    }

    #[test]
    fn a_cut_anywhere_is_an_error() {
        for bytes in [zip(&FILES, false), zip(&FILES, true)] {
            for length in 0..bytes.len() {
                assert!(entries(&bytes[..length]).is_err(), "{length} bytes");
            }
        }
    }

    #[test]
    fn no_byte_can_lead_out_of_the_file() {
        let (mut refused, mut read) = (0, 0);
        for bytes in [zip(&FILES, false), zip(&FILES, true)] {
            for at in 0..bytes.len() {
                for value in [0, 1, 0x7F, 0x80, 0xFF, bytes[at] ^ 1] {
                    let mut wrong = bytes.clone();
                    wrong[at] = value;
                    match entries(&wrong) {
                        Err(_) => refused += 1,
                        Ok(entries) => {
                            read += 1;
                            assert!(
                                entries.iter().all(|entry| wrong.get(entry.data.clone()).is_some()),
                                "{at} {value}"
                            );
                            assert!(entries.iter().all(|entry| entry.is_deflated || entry.data.len() == entry.size));
                        }
                    }
                }
            }
        }
        println!("{refused} refused, {read} read");
        assert!(refused > 1000 && read > 100);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let twice = zip(&[("a", b"x"), ("a", b"y")], false);
        assert!(entries(&twice).unwrap_err().contains("two entries \"a\""));
        let one = zip(&[("a", b"x")], false);
        let central = one.len() - END - CENTRAL - 1;
        for (at, value, word) in [
            (central + 8, 1, "encrypted"),
            (central + 10, 12, "method 12"),
            (central + 24, 2, "with 1 bytes for 2"),
            (central + 42, 200, "byte 200"),
            (central + 46, 0xFF, "UTF-8"),
            (central + 46, b'b', "local header"),
            (18, 9, "other sizes"),
            (one.len() - 14, 2, "2 entries"),
            (one.len() - 18, 1, "several parts"),
        ] {
            let mut wrong = one.clone();
            wrong[at] = value;
            if word.contains("2 entries") {
                wrong[at + 2] = value;
            }
            let message = entries(&wrong).unwrap_err();
            assert!(message.contains(word), "{word}: {message}");
        }
    }
}
