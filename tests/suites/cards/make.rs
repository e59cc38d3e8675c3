//! Cards as other programs write them: all three versions, with fields that nobody knows at every level.

use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use zip::write::SimpleFileOptions;

/// SplitMix64 (Sebastiano Vigna).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u64) as usize]
    }
}

const TEXTS: [&str; 9] = [
    "",
    "plain",
    "{{char}} greets {{user}}.",
    "汉字\n二行",
    "„Größe“",
    "👩‍🚀\u{200d}",
    "\"quoted\\\"",
    "\u{0}\u{7f}",
    "<START>",
];

/// Any value, `depth` levels deep at most.
pub(crate) fn value(random: &mut Random, depth: u32) -> Value {
    match random.below(if depth == 0 { 5 } else { 7 }) {
        0 => Value::Null,
        1 => json!(random.below(2) == 1),
        2 => json!(random.next() as i64),
        3 => json!((random.below(2_000_001) as f64 - 1e6) / 64.0),
        4 => json!(random.pick(&TEXTS)),
        5 => (0..random.below(4)).map(|_| value(random, depth - 1)).collect(),
        _ => Value::Object(unknown(random, depth - 1)),
    }
}

/// Fields that nobody knows.
pub(crate) fn unknown(random: &mut Random, depth: u32) -> Map<String, Value> {
    (0..1 + random.below(3)).map(|_| (format!("x_{}_名", random.below(1_000_000)), value(random, depth))).collect()
}

fn with_unknown(mut value: Value, random: &mut Random) -> Value {
    if let Value::Object(map) = &mut value {
        map.extend(unknown(random, 3));
    }
    value
}

fn six(random: &mut Random) -> Value {
    json!({
        "name": random.pick(&["Ava", "小明", "Jürgen O'Neil"]),
        "description": random.pick(&TEXTS),
        "personality": random.pick(&TEXTS),
        "scenario": random.pick(&TEXTS),
        "first_mes": random.pick(&TEXTS),
        "mes_example": "<START>\n{{user}}: hi\n{{char}}: hello\n<start>\nnext",
    })
}

fn entry(random: &mut Random, v3: bool) -> Value {
    let mut entry = json!({
        "keys": ["key", random.pick(&TEXTS)],
        "content": random.pick(&["Lore.", "@@depth 4\n@@unknown x\nLore of {{char}}."]),
        "extensions": unknown(random, 2),
        "enabled": random.below(2) == 1,
        "insertion_order": random.below(100) as i64 - 50,
        "priority": random.below(10),
        "id": random.below(10),
        "position": random.pick(&["before_char", "after_char"]),
    });
    if v3 {
        entry["use_regex"] = json!(random.below(2) == 1);
    }
    with_unknown(entry, random)
}

/// A card's JSON of version 1, 2 or 3.
pub(crate) fn card(version: u32, random: &mut Random) -> Value {
    if version == 1 {
        return with_unknown(six(random), random);
    }
    let mut data = six(random);
    let v3 = version == 3;
    let entries: Vec<_> = (0..random.below(4)).map(|_| entry(random, v3)).collect();
    let book = json!({
        "name": "Book",
        "scan_depth": random.below(20),
        "token_budget": random.below(600),
        "recursive_scanning": random.below(2) == 1,
        "extensions": unknown(random, 2),
        "entries": entries,
    });
    let more = json!({
        "creator_notes": random.pick(&TEXTS),
        "system_prompt": "Stay in character. {{original}}",
        "post_history_instructions": random.pick(&TEXTS),
        "alternate_greetings": ["Hi {{user}}", random.pick(&TEXTS)],
        "tags": ["tag", random.pick(&TEXTS)],
        "creator": "somebody",
        "character_version": "1.2",
        "extensions": unknown(random, 4),
        "character_book": with_unknown(book, random),
    });
    let newer = json!({
        "nickname": "Avie",
        "creator_notes_multilingual": { "de": "Hallo", "ja": "こんにちは" },
        "group_only_greetings": ["All of you!"],
        "source": ["https://example.org/ava"],
        "creation_date": 1_700_000_000,
        "assets": [
            with_unknown(json!({ "type": "icon", "uri": "ccdefault:", "name": "main", "ext": "png" }), random),
            { "type": "background", "uri": "https://example.org/b.png", "name": "main", "ext": "png" },
        ],
    });
    for part in [Some(more), v3.then_some(newer)].into_iter().flatten() {
        if let (Value::Object(data), Value::Object(part)) = (&mut data, part) {
            data.extend(part);
        }
    }
    let spec = json!({
        "spec": format!("chara_card_v{version}"),
        "spec_version": format!("{version}.0"),
        "data": with_unknown(data, random),
    });
    with_unknown(spec, random)
}

/// A PNG chunk.
pub(crate) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    [&(data.len() as u32).to_be_bytes(), &kind[..], data, &crc.sum().to_be_bytes()].concat()
}

pub(crate) const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(crate) fn header(width: u32, height: u32) -> Vec<u8> {
    chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 0, 0, 0, 0]].concat())
}

pub(crate) fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap_or_default();
    encoder.finish().unwrap_or_default()
}

/// What of a PNG is no card: an animated 2 × 2 picture with a comment and a private chunk, and bytes behind its end.
pub(crate) fn picture_chunks() -> [Vec<u8>; 8] {
    let rows = deflated(&[0, 1, 2, 0, 3, 4]);
    let (first, second) = rows.split_at(4);
    [
        header(2, 2),
        chunk(b"acTL", &[0, 0, 0, 1, 0, 0, 0, 0]),
        chunk(b"gAMA", &45_455_u32.to_be_bytes()),
        chunk(b"tEXt", b"Comment\0drawn by hand"),
        chunk(b"IDAT", first),
        chunk(b"IDAT", second),
        chunk(b"prVt", b"\x00\xff\x00"),
        chunk(b"tEXt", b"chara-ext-asset_:a.txt\0aGk="),
    ]
}

/// That picture with `texts` in front of its data, or behind it.
pub(crate) fn png(texts: &[Vec<u8>], in_front: bool) -> Vec<u8> {
    let mut chunks = picture_chunks().to_vec();
    let at = if in_front { 1 } else { chunks.len() };
    chunks.splice(at..at, texts.iter().cloned());
    [SIGNATURE, &chunks.concat(), &chunk(b"IEND", b""), b"behind the end"].concat()
}

/// A card as a chunk that is plain, deflated, or international.
pub(crate) fn card_chunk(keyword: &str, json: &str, kind: &[u8; 4]) -> Vec<u8> {
    let text = BASE64_STANDARD.encode(json).into_bytes();
    let rest = match kind {
        b"zTXt" => [&b"\0\0"[..], &deflated(&text)].concat(),
        b"iTXt" => [&b"\0\x01\0en\0\0"[..], &deflated(&text)].concat(),
        _ => [&b"\0"[..], &text].concat(),
    };
    chunk(kind, &[keyword.as_bytes(), &rest].concat())
}

/// A zip archive of these files, deflated.
pub(crate) fn zip(files: &[(&str, &[u8])]) -> anyhow::Result<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
        writer.start_file(*name, options)?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}
