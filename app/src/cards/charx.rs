//! CHARX: a zip archive with `card.json` at its root, and assets beside it.

use std::io::{Cursor, Read as _, Write as _};

use serde_json::Value;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::card::{AssetLink, Card, Version};
use super::error::{CardError, Named};
use super::{convert, limits, picture};

/// Where the card lies.
const CARD: &str = "card.json";

/// A file of a CHARX archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its path from the archive's root, with `/`: what follows `embeded://`.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Asset {
    /// A portrait as an asset, and the link to it for [`Card::set_asset`]. None when the bytes are no picture that is known.
    pub fn portrait(bytes: Vec<u8>) -> Option<(Self, AssetLink)> {
        let ext = extensions(&bytes)?[0];
        let path = format!("assets/icon/images/main.{ext}");
        let uri = format!("embeded://{path}");
        let link = AssetLink { kind: "icon".into(), uri, name: "main".into(), ext: ext.into() };
        Some((Self { path, bytes }, link))
    }
}

/// How the names of files of this picture's format end.
fn extensions(picture: &[u8]) -> Option<&'static [&'static str]> {
    Some(match picture::size(picture)?.format {
        picture::Format::Png => &["png", "apng"],
        picture::Format::Jpeg => &["jpeg", "jpg"],
        picture::Format::Webp => &["webp"],
    })
}

/// What lies in an archive.
pub(super) struct Contents {
    /// The bytes of `card.json`.
    pub(super) card: Vec<u8>,
    /// All other files.
    pub(super) assets: Vec<Asset>,
}

/// The ends of directories in the last bytes, where a zip archive has its own: the numbers of entries that they claim.
fn directories(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    // A comment of 64 KiB, the record, and the older and the newer record in front of it.
    let tail = &bytes[bytes.len().saturating_sub((64 << 10) + 256)..];
    tail.windows(22).filter(|record| record.starts_with(b"PK\x05\x06")).map(|record| {
        match u16::from_le_bytes([record[10], record[11]]) {
            // The number stands in a 64-bit record: more than any card has.
            u16::MAX => u64::MAX,
            entries => entries.into(),
        }
    })
}

/// Whether a zip archive ends here; some programs put a picture in front of one.
pub(super) fn has_directory(bytes: &[u8]) -> bool {
    directories(bytes).next().is_some()
}

/// Reads an archive, within bounds.
///
/// # Errors
/// [`CardError`] when it is no zip archive or damaged, has too much in it, or what no card needs: names that leave the folder,
/// links, ciphers.
pub(super) fn read(bytes: &[u8], file: Named<'_>) -> Result<Contents, CardError> {
    // Before the reader takes memory for each.
    for entries in directories(bytes) {
        file.at_most("entries of the archive", limits::ZIP_ENTRIES, entries)?;
    }
    let broken = |error: String| file.damaged("CHARX", "a zip archive", error);
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(error.to_string()))?;
    file.at_most("entries of the archive", limits::ZIP_ENTRIES, archive.len())?;
    let (mut card, mut assets) = (None, Vec::new());
    let mut total = 0_u64;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|error| match error {
            zip::result::ZipError::UnsupportedArchive(reason) => file.unsafe_(format!(
                "an entry of the archive cannot be read ({reason}); only plain and deflated ones are"
            )),
            error => broken(error.to_string()),
        })?;
        let name = entry.name().map_err(|error| broken(error.to_string()))?.into_owned();
        check_name(&name, file)?;
        let shown = format!("{:?}", name.chars().take(80).collect::<String>());
        if entry.encrypted() || entry.is_symlink() {
            let what = if entry.encrypted() { "encrypted" } else { "a link" };
            return Err(file.unsafe_(format!("the archive's {shown} is {what}")));
        }
        if entry.is_dir() {
            continue;
        }
        let packed = entry.compressed_size();
        let is_card = name == CARD;
        let limit = if is_card { limits::JSON_BYTES as u64 } else { limits::ZIP_INFLATED };
        // What an entry says of its size is looked at first, and then not believed.
        let bound = packed.saturating_mul(limits::ZIP_RATIO).max(limits::ZIP_SMALL);
        if entry.size() > bound {
            let what = format!("bytes of {shown}, inflated from {packed}");
            file.at_most(&what, bound, entry.size())?;
        }
        file.at_most("bytes of the archive, inflated", limits::ZIP_INFLATED, total.saturating_add(entry.size()))?;
        let most = limit.min(bound).min(limits::ZIP_INFLATED - total);
        let mut content = Vec::new();
        (&mut entry).take(most + 1).read_to_end(&mut content).map_err(|error| broken(format!("{shown}: {error}")))?;
        file.at_most(&format!("bytes of {shown}, inflated"), most, content.len())?;
        total += content.len() as u64;
        match (is_card, &card) {
            (true, None) => card = Some(content),
            (true, Some(_)) => return Err(broken(format!("two entries {CARD}"))),
            (false, _) => assets.push(Asset { path: name, bytes: content }),
        }
    }
    match card {
        Some(card) => Ok(Contents { card, assets }),
        None => Err(file.no_card(format!("it is a zip archive without {CARD} at its root"))),
    }
}

/// Refuses names that could lead out of a folder; nothing is unpacked to disk, but what is kept is written again.
fn check_name(name: &str, file: Named<'_>) -> Result<(), CardError> {
    file.at_most("bytes of a name in the archive", limits::ZIP_NAME_BYTES, name.len())?;
    let parts: Vec<_> = name.trim_end_matches('/').split('/').collect();
    let odd = name.contains(['\\', ':']) || name.chars().any(char::is_control);
    if odd || parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err(file.unsafe_(format!("the name {name:?} in the archive is no plain path")));
    }
    Ok(())
}

impl Card {
    /// Puts `portrait` into `assets` as the main icon: under the name that the card has for it, where that fits, or else under a new one,
    /// which the card then has. Nothing changes where the bytes are no picture that is known.
    pub fn add_portrait(&mut self, assets: &mut Vec<Asset>, portrait: Vec<u8>) {
        let Some(extensions) = extensions(&portrait) else { return };
        let icon = self.main_icon();
        let free = |assets: &[Asset], path: &str| path != CARD && assets.iter().all(|asset| asset.path != path);
        let named = icon.as_ref().and_then(AssetLink::embedded).filter(|path| {
            let extension = path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
            extension.is_some_and(|extension| extensions.contains(&extension.as_str()))
                && check_name(path, Named("card.charx")).is_ok()
                && free(assets, path)
        });
        if let Some(path) = named {
            assets.push(Asset { path: path.to_owned(), bytes: portrait });
            return;
        }
        let Some((mut asset, mut link)) = Asset::portrait(portrait) else { return };
        for n in 2.. {
            if free(assets, &asset.path) {
                break;
            }
            asset.path = format!("assets/icon/images/main-{n}.{}", link.ext);
        }
        link.uri = format!("embeded://{}", asset.path);
        link.name = icon.map(|icon| icon.name).filter(|name| !name.is_empty()).unwrap_or(link.name);
        self.set_asset(&link);
        assets.push(asset);
    }

    /// The card as V3 in a CHARX archive, with `assets`: what [`super::Read::assets`] were, and [`Card::add_portrait`].
    ///
    /// # Errors
    /// [`CardError`] when two assets have one path, a path is no plain one, or it is more than can be read again.
    pub fn to_charx(&self, assets: &[Asset]) -> Result<Vec<u8>, CardError> {
        let file = Named("card.charx");
        let json = Value::Object(convert::to(self.raw(), self.version(), Version::V3)).to_string();
        file.at_most("bytes of the card's JSON", limits::JSON_BYTES, json.len())?;
        file.at_most("entries of the archive", limits::ZIP_ENTRIES, assets.len() + 1)?;
        let total = assets.iter().map(|asset| asset.bytes.len()).sum::<usize>() + json.len();
        file.at_most("bytes of the archive, inflated", limits::ZIP_INFLATED, total)?;
        let mut seen = std::collections::HashSet::from([CARD]);
        for asset in assets {
            check_name(&asset.path, file)?;
            if !seen.insert(&asset.path) {
                return Err(file.damaged("the assets", "a path for each", format!("{:?} twice", asset.path)));
            }
        }
        // Pictures and sounds are deflated already; where the archive were too large, what is not is.
        let stored = archive(&json, assets, |_| CompressionMethod::Stored)?;
        let fits = |bytes: &[u8]| file.at_most("bytes of the file", limits::FILE_BYTES, bytes.len());
        let bytes = if fits(&stored).is_ok() { stored } else { archive(&json, assets, method)? };
        fits(&bytes)?;
        Ok(bytes)
    }
}

/// How an asset is written where room is short. What deflates to nearly nothing would be refused when it is read again.
fn method(bytes: &[u8]) -> CompressionMethod {
    let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let packed = packed.write_all(bytes).and_then(|()| packed.finish());
    let holds = |packed: Vec<u8>| bytes.len() as u64 <= packed.len() as u64 * limits::ZIP_RATIO / 2;
    if packed.is_ok_and(holds) { CompressionMethod::Deflated } else { CompressionMethod::Stored }
}

/// The bytes of the archive; `method` says how each asset is written.
fn archive(json: &str, assets: &[Asset], method: fn(&[u8]) -> CompressionMethod) -> Result<Vec<u8>, CardError> {
    let failed = |error: String| Named("card.charx").damaged("CHARX", "to be written", error);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = |method| {
        // Fast: a person waits. What is stored takes no level.
        let level = (method == CompressionMethod::Deflated).then_some(1);
        SimpleFileOptions::default().compression_method(method).compression_level(level)
    };
    // What is stored has no ratio to be refused for.
    let small = json.len() as u64 <= limits::ZIP_SMALL;
    let of_card = if small { CompressionMethod::Deflated } else { CompressionMethod::Stored };
    let card = (CARD, json.as_bytes(), of_card);
    let rest = assets.iter().map(|asset| (asset.path.as_str(), asset.bytes.as_slice(), method(&asset.bytes)));
    for (path, bytes, method) in std::iter::once(card).chain(rest) {
        writer.start_file(path, options(method)).map_err(|error| failed(error.to_string()))?;
        writer.write_all(bytes).map_err(|error| failed(error.to_string()))?;
    }
    Ok(writer.finish().map_err(|error| failed(error.to_string()))?.into_inner())
}
