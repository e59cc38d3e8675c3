//! From a file's bytes to a card.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::card::{AssetLink, Card, List, Text, Version};
use super::charx::{self, Asset};
use super::error::{CardError, Named};
use super::{convert, json, limits, lorebook, picture, png};

/// A card as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The card.
    pub card: Card,
    /// The version of the file; the card is kept in it.
    pub version: Version,
    /// The portrait: of a PNG card the PNG without the card in it, of a CHARX archive its main icon (PNG, JPEG or WebP). Its
    /// header has been looked at, no more.
    pub portrait: Option<Vec<u8>>,
    /// All other files of a CHARX archive, and the portrait's: what [`Card::to_charx`] takes.
    pub assets: Vec<Asset>,
    /// What the user should know: one sentence each, in English.
    pub warnings: Vec<String>,
}

impl Card {
    /// Reads a card from a file's bytes: PNG or APNG, JSON, or CHARX, told apart by what is in them. `file_name` is for messages.
    ///
    /// # Errors
    /// [`CardError`] when the file is damaged, exceeds a limit of [`limits`], or holds no character.
    pub fn read(bytes: &[u8], file_name: &str) -> Result<Read, CardError> {
        let file = Named(file_name);
        file.at_most("bytes of the file", limits::FILE_BYTES, bytes.len())?;
        let mut warnings = Vec::new();
        let (map, portrait, assets) = if bytes.starts_with(png::SIGNATURE) {
            let (map, portrait) = from_png(bytes, file, &mut warnings)?;
            (map, Some(portrait), Vec::new())
        } else if bytes.starts_with(b"PK") || (bytes.starts_with(b"\xff\xd8") && charx::has_directory(bytes)) {
            let charx::Contents { card, assets } = charx::read(bytes, file)?;
            (json::object(&card, file)?, None, assets)
        } else {
            let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
            if !matches!(first, Some(b'{' | b'[' | b'"' | 0xef)) {
                return Err(file.no_card("it is neither PNG, JSON nor CHARX, the formats that cards are read from"));
            }
            (json::object(bytes, file)?, None, Vec::new())
        };
        let card = from_map(map, file, &mut warnings)?;
        let portrait = match portrait {
            None => main_icon(&card, &assets, file, &mut warnings)?,
            portrait => portrait,
        };
        Ok(Read { version: card.version(), card, portrait, assets, warnings })
    }
}

impl Read {
    /// Takes the files of a CHARX archive beside the portrait's, which stays among them where the card needs it for something else, too.
    pub fn take_files(&mut self) -> Vec<Asset> {
        let mut files = std::mem::take(&mut self.assets);
        let icon = self.card.main_icon().filter(|_| self.portrait.is_some());
        if let Some(path) = icon.as_ref().and_then(AssetLink::embedded) {
            let links = self.card.assets();
            if links.iter().filter(|link| link.embedded() == Some(path)).count() == 1 {
                files.retain(|asset| asset.path != path);
            }
        }
        files
    }
}

/// The JSON in a PNG, and the PNG without it.
fn from_png(
    bytes: &[u8],
    file: Named<'_>,
    warnings: &mut Vec<String>,
) -> Result<(Map<String, Value>, Vec<u8>), CardError> {
    let image = png::Png::parse(bytes, file)?;
    let portrait = image.without_cards();
    let mut failed = None;
    // V3's chunk says at least as much as the other one.
    for keyword in ["ccv3", "chara"] {
        let chunks = image.texts(keyword);
        if chunks.len() > 1 {
            warnings.push(format!("There are {} chunks \"{keyword}\": the first one counts.", chunks.len()));
        }
        let Some(chunk) = chunks.first() else { continue };
        let found = png::text(chunk, file).and_then(|text| from_base64(&text, keyword, file));
        match (found, failed.take()) {
            (Ok(map), None) => return Ok((map, portrait)),
            (Ok(map), Some(error)) => {
                warnings.push(format!("The newer form of the card is broken, and the older one was read. {error}"));
                return Ok((map, portrait));
            }
            (Err(error), earlier) => failed = Some(earlier.unwrap_or(error)),
        }
    }
    Err(failed.unwrap_or_else(|| {
        file.no_card(
            "it is a PNG without a chunk \"ccv3\" or \"chara\"; was the picture saved again by another program?",
        )
    }))
}

/// As other programs write it: with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

fn from_base64(text: &[u8], keyword: &str, file: Named<'_>) -> Result<Map<String, Value>, CardError> {
    let what = format!("chunk \"{keyword}\"");
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    file.at_most(&format!("bytes of {what}"), limits::JSON_BYTES / 3 * 4 + 4, text.len())?;
    let bytes = BASE64.decode(&text).map_err(|error| file.damaged(what, "base64", error.to_string()))?;
    json::object(&bytes, file)
}

/// The card in `map`, once its version, name, lengths and counts have been looked at.
pub(super) fn from_map(
    map: Map<String, Value>,
    file: Named<'_>,
    warnings: &mut Vec<String>,
) -> Result<Card, CardError> {
    let version = version(&map, file, warnings)?;
    let card = Card::from_parts(map, version);
    if version != Version::V1 && !card.raw().get("data").is_some_and(Value::is_object) {
        let got = card.raw().get("data").map_or("nothing", json::kind);
        return Err(file.damaged("the field \"data\"", "an object", got));
    }
    let data = card.data();
    match data.get("name") {
        Some(Value::String(name)) if !name.trim().is_empty() => {}
        Some(Value::String(_)) => return Err(file.no_card("its name is empty")),
        Some(other) => return Err(file.damaged("the field \"name\"", "a string", json::kind(other))),
        None => return Err(file.no_card("it has no field \"name\"; expected a character card of V1, V2 or V3")),
    }
    for field in Text::ALL {
        let limit = if matches!(field, Text::Name | Text::Nickname) { limits::NAME_CHARS } else { limits::TEXT_BYTES };
        match data.get(field.key()) {
            Some(Value::String(text)) if limit == limits::NAME_CHARS => {
                file.at_most(&format!("characters of \"{}\"", field.key()), limit, text.chars().count())?;
            }
            Some(Value::String(text)) => file.at_most(&format!("bytes of \"{}\"", field.key()), limit, text.len())?,
            other => wrong_type(other, field.key(), "a string", warnings),
        }
    }
    for field in List::ALL {
        match data.get(field.key()) {
            Some(Value::Array(list)) => {
                file.at_most(&format!("entries of \"{}\"", field.key()), limits::LIST_ENTRIES, list.len())?;
                for text in list {
                    match text {
                        Value::String(text) => {
                            file.at_most(&format!("bytes of \"{}\"", field.key()), limits::TEXT_BYTES, text.len())?;
                        }
                        other => wrong_type(Some(other), &format!("{}[]", field.key()), "a string", warnings),
                    }
                }
            }
            other => wrong_type(other, field.key(), "a list", warnings),
        }
    }
    match data.get("character_book") {
        Some(Value::Object(_)) => lorebook::check(&card, file, warnings)?,
        other => wrong_type(other, "character_book", "an object", warnings),
    }
    match data.get("extensions") {
        Some(Value::Object(_)) => {}
        other => wrong_type(other, "extensions", "an object", warnings),
    }
    check_assets(&card, file, warnings)?;
    Ok(card)
}

fn wrong_type(value: Option<&Value>, key: &str, expected: &str, warnings: &mut Vec<String>) {
    if let Some(value) = value.filter(|value| !value.is_null()) {
        let warning = format!(
            "The field \"{key}\" is not used: expected {expected}, got {}. It is kept as it is.",
            json::kind(value)
        );
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
}

fn version(map: &Map<String, Value>, file: Named<'_>, warnings: &mut Vec<String>) -> Result<Version, CardError> {
    let spec = match map.get("spec") {
        None | Some(Value::Null) => return Ok(Version::V1),
        Some(Value::String(spec)) => spec.as_str(),
        Some(other) => return Err(file.damaged("the field \"spec\"", "a string", json::kind(other))),
    };
    let version = match spec {
        "chara_card_v2" => Version::V2,
        "chara_card_v3" => Version::V3,
        "lorebook_v3" => return Err(file.no_card("it is a lorebook; it can be put into a card's \"character_book\"")),
        // What comes after V3 is V3 and more, as V3 is V2 and more.
        other if other.starts_with("chara_card_v") => {
            warnings.push(format!("The card is of a newer format, \"{other}\": it was read as V3."));
            Version::V3
        }
        other => {
            let got = format!("{:?}", other.chars().take(64).collect::<String>());
            return Err(file.damaged("the field \"spec\"", "\"chara_card_v2\" or \"chara_card_v3\"", got));
        }
    };
    match convert::number(map.get("spec_version")) {
        Some(number) if number > version.number() => warnings.push(format!(
            "The card is of version {number} of its format, newer than {:.1}: it was read, and what is new in it is kept \
             but not used.",
            version.number()
        )),
        Some(_) => {}
        None if map.contains_key("spec_version") => warnings.push("The field \"spec_version\" is no number.".into()),
        None => {}
    }
    Ok(version)
}

fn check_assets(card: &Card, file: Named<'_>, warnings: &mut Vec<String>) -> Result<(), CardError> {
    match card.data().get("assets") {
        Some(Value::Array(list)) => file.at_most("entries of \"assets\"", limits::LIST_ENTRIES, list.len())?,
        other => {
            wrong_type(other, "assets", "a list", warnings);
            return Ok(());
        }
    }
    let remote: Vec<_> = card.assets().into_iter().filter(AssetLink::is_remote).collect();
    if let Some(first) = remote.first() {
        let uri: String = first.uri.chars().take(100).collect();
        warnings.push(format!(
            "{} asset(s) lie elsewhere and were left alone, the first at {uri:?}: nothing that a card names is fetched.",
            remote.len()
        ));
    }
    Ok(())
}

/// The portrait of a card that is no picture itself.
fn main_icon(
    card: &Card,
    assets: &[Asset],
    file: Named<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Vec<u8>>, CardError> {
    let Some(icon) = card.main_icon().filter(|_| card.data().get("assets").is_some()) else { return Ok(None) };
    let bytes = match (icon.embedded(), icon.uri.strip_prefix("data:")) {
        (Some(path), _) => match assets.iter().find(|asset| asset.path == path) {
            Some(asset) => asset.bytes.clone(),
            None => {
                warnings.push(format!("The portrait is not in the file: {path:?} is missing."));
                return Ok(None);
            }
        },
        (None, Some(data)) => {
            let Some((_, data)) = data.split_once(";base64,") else { return Ok(None) };
            match BASE64.decode(data.trim()) {
                Ok(bytes) => bytes,
                Err(error) => {
                    warnings.push(format!("The portrait is not valid base64 ({error}): it is kept but not shown."));
                    return Ok(None);
                }
            }
        }
        (None, None) => return Ok(None),
    };
    match picture::size(&bytes) {
        Some(size) => {
            picture::check(size, file)?;
            Ok(Some(bytes))
        }
        None => {
            warnings.push("The portrait is neither PNG, JPEG nor WebP: it is kept but not shown.".into());
            Ok(None)
        }
    }
}
