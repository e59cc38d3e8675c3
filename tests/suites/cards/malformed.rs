//! Broken and hostile files: each is refused with its reason, soon and with little memory, or read with a warning.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use guanaco::cards::{Card, CardError, Cast, Read, compose, greetings};
use guanaco_engine::prompt::{BuildOptions, Language, Message, System, build};
use guanaco_tests::counting;
use guanaco_tests::{Outcome, Suite};
use serde_json::{Value, json};

use super::make::{self, Random};

/// What one file may take, on a machine that is busy besides.
const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_MEMORY: usize = 300 << 20;

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("malformed: each is refused with its reason", refused);
    suite.case("malformed: odd ones are read, with warnings", warned);
    suite.case("malformed: every cut and many flips of good files end in a result", cuts_and_flips);
    suite.case("malformed: whatever texts are made of, a card that is read can be played", any_texts);
}

fn bounded(bytes: &[u8], name: &str) -> anyhow::Result<Result<Read, CardError>> {
    let begun = Instant::now();
    let (result, peak) = counting::peak(|| Card::read(bytes, name));
    let (time, len) = (begun.elapsed(), bytes.len());
    ensure!(time < MAX_TIME, "{name}: {time:?} for {len} bytes");
    ensure!(peak < MAX_MEMORY, "{name}: {peak} bytes of memory for {len} bytes");
    Ok(result)
}

fn v2(data: Value) -> Vec<u8> {
    json!({ "spec": "chara_card_v2", "spec_version": "2.0", "data": data }).to_string().into_bytes()
}

fn with_entries(n: usize) -> Vec<u8> {
    format!(
        r#"{{"spec":"chara_card_v3","spec_version":"3.0","data":{{"name":"A","character_book":{{"entries":[{}{{}}]}}}}}}"#,
        "{},".repeat(n - 1)
    )
    .into_bytes()
}

/// A PNG with these chunks between its header and its end.
fn png(chunks: &[Vec<u8>]) -> Vec<u8> {
    [make::SIGNATURE, &make::header(2, 2), &chunks.concat(), &make::chunk(b"IEND", b"")].concat()
}

fn text_chunk(text: &[u8]) -> Vec<u8> {
    make::chunk(b"tEXt", &[&b"chara\0"[..], text].concat())
}

fn refused() -> Outcome {
    let good = make::png(&[make::card_chunk("ccv3", &make::card(3, &mut Random(1)).to_string(), b"tEXt")], true);
    let flipped = {
        let mut bytes = good.clone();
        let at = bytes.windows(5).position(|window| window == b"ccv3\0").context("no ccv3")?;
        bytes[at + 20] ^= 1;
        bytes
    };
    let size = |width, height| [make::SIGNATURE, &make::header(width, height), &make::chunk(b"IEND", b"")].concat();
    let card = br#"{"name":"A","first_mes":""}"#;
    let zeros = vec![0; 100 << 20];
    let spaces = [vec![b' '; 9 << 20], card.to_vec()].concat();
    let many: Vec<String> = (0..1_500).map(|n| format!("f{n}")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let bomb = [&b"chara\0\0"[..], &make::deflated(&zeros)].concat();
    let files: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "neither PNG, JSON nor CHARX"),
        ("text", b"Once upon a time".to_vec(), "neither PNG, JSON nor CHARX"),
        ("cut off", good[..good.len() / 2].to_vec(), "end of file in the chunk at byte"),
        ("signature alone", make::SIGNATURE.to_vec(), "end of file in the chunk at byte 8"),
        ("length of 4 GiB", [make::SIGNATURE, b"\xff\xff\xff\xffIHDR"].concat(), "end of file in the chunk at byte 8"),
        ("wrong sum", flipped, "the sum"),
        ("no header", [make::SIGNATURE, &make::chunk(b"IEND", b"")].concat(), "IHDR of 13 bytes first"),
        (
            "short header",
            [make::SIGNATURE, &make::chunk(b"IHDR", b"12345678"), &make::chunk(b"IEND", b"")].concat(),
            "IHDR",
        ),
        ("no pixel", size(0, 5), "at least 1 × 1 pixel"),
        ("wide", size(8193, 1), "pixels along an edge of the picture: the limit is 8192, got 8193"),
        ("huge", size(u32::MAX, u32::MAX), "pixels along an edge"),
        ("large", size(8192, 8192), "pixels of the picture: the limit is 64000000, got 67108864"),
        ("no card", png(&[]), "without a chunk \"ccv3\" or \"chara\""),
        ("bad base64", png(&[text_chunk(b"!!notbase64!!")]), "expected base64"),
        ("not UTF-8", png(&[text_chunk(BASE64_STANDARD.encode(b"{\"name\":\"\xff\"}").as_bytes())]), "expected UTF-8"),
        ("not JSON", png(&[text_chunk(BASE64_STANDARD.encode("hello").as_bytes())]), "valid JSON"),
        ("deflated bomb", png(&[make::chunk(b"zTXt", &bomb)]), "inflated: the limit is"),
        ("odd method", png(&[make::chunk(b"zTXt", b"chara\0\x07abc")]), "another method"),
        ("not deflated", png(&[make::chunk(b"zTXt", b"chara\0\0abc")]), "deflated text"),
        ("no text", png(&[make::chunk(b"iTXt", b"chara\0\0\0")]), "no text"),
        ("many chunks", png(&vec![make::chunk(b"prVt", b""); 100_001]), "chunks of the PNG: the limit is 100000"),
        ("file of 65 MiB", vec![b'{'; 65 << 20], "bytes of the file: the limit is 67108864"),
        ("JSON of 9 MiB", spaces.clone(), "bytes of JSON: the limit is 8388608"),
        ("deep JSON", b"{\"a\":".repeat(100_000), "levels of JSON: the limit is 64, got 65"),
        (
            "a million values",
            [&b"["[..], &b"1,".repeat(1_000_000), b"1]"].concat(),
            "values in JSON: the limit is 400000",
        ),
        ("a list", b"[1]".to_vec(), "expected an object, got a list"),
        ("JSON cut off", br#"{"name":"#.to_vec(), "valid JSON"),
        ("no name", br#"{"description":"x"}"#.to_vec(), "no field \"name\""),
        ("no name in V2", v2(json!({})), "no field \"name\""),
        ("empty name", v2(json!({ "name": " " })), "its name is empty"),
        ("name of a number", v2(json!({ "name": 3 })), "\"name\": expected a string, got a number"),
        ("long name", v2(json!({ "name": "a".repeat(600) })), "characters of \"name\": the limit is 512, got 600"),
        ("no data", br#"{"spec":"chara_card_v2"}"#.to_vec(), "\"data\": expected an object, got nothing"),
        ("list for data", br#"{"spec":"chara_card_v3","data":[]}"#.to_vec(), "expected an object, got a list"),
        ("other spec", br#"{"spec":"x","data":{}}"#.to_vec(), "\"spec\""),
        ("spec of a number", br#"{"spec":2,"data":{}}"#.to_vec(), "\"spec\": expected a string"),
        ("lorebook alone", br#"{"spec":"lorebook_v3","data":{}}"#.to_vec(), "it is a lorebook"),
        (
            "long text",
            v2(json!({ "name": "A", "scenario": "a".repeat(2 << 20) })),
            "bytes of \"scenario\": the limit is 1048576",
        ),
        (
            "many greetings",
            v2(json!({ "name": "A", "alternate_greetings": vec![""; 3000] })),
            "the limit is 2000, got 3000",
        ),
        ("10,001 entries", with_entries(10_001), "entries of the lorebook: the limit is 10000, got 10001"),
        ("1e6 entries", with_entries(1_000_000), "values in JSON: the limit is 400000"),
        ("zip of nothing", b"PK\x03\x04".to_vec(), "a zip archive"),
        ("zip without card", make::zip(&[("other.json", card)])?, "without card.json at its root"),
        ("zip bomb", make::zip(&[("card.json", card), ("a.bin", &zeros)])?, "inflated from"),
        ("zip with a large card", make::zip(&[("card.json", &spaces)])?, "bytes of \"card.json\""),
        (
            "zip with ../",
            make::zip(&[("card.json", card), ("../../x", b"x")])?,
            "\"../../x\" in the archive is no plain path",
        ),
        ("zip with a root", make::zip(&[("card.json", card), ("/etc/x", b"x")])?, "no plain path"),
        ("zip with \\", make::zip(&[("card.json", card), ("a\\..\\x", b"x")])?, "no plain path"),
        ("zip with C:", make::zip(&[("card.json", card), ("C:x", b"x")])?, "no plain path"),
        ("zip of 1,500", make::zip(&many)?, "entries of the archive: the limit is 1000, got 1500"),
        ("zip of deep JSON", make::zip(&[("card.json", &b"[".repeat(1_000))])?, "levels of JSON"),
    ];
    let n = files.len();
    for (what, bytes, word) in files {
        let name = format!("{what}.card");
        match bounded(&bytes, &name)? {
            Ok(read) => anyhow::bail!("{what}: was read as {:?}", read.card.name()),
            Err(error) => {
                let message = error.to_string();
                ensure!(message.contains(word), "{what}: expected {word:?} in: {message}");
                ensure!(message.ends_with(&format!("; file: {name}")) && error.file() == name, "{message}");
                ensure!(message.len() < 400, "{message}");
            }
        }
    }
    println!("cards: {n} malformed files, each refused with its reason");
    Ok(())
}

fn warned() -> Outcome {
    let newer = br#"{"spec":"chara_card_v3","spec_version":"3.5","data":{"name":"A"}}"#.to_vec();
    let next = br#"{"spec":"chara_card_v4","spec_version":"4.0","data":{"name":"A"}}"#.to_vec();
    let entry = |keys: Value| json!({ "name": "gate", "keys": keys, "content": "x", "use_regex": true });
    let pattern = v2(json!({ "name": "A", "character_book": { "entries": [entry(json!(["/(?<=a)b/"]))] } }));
    let remote =
        v2(json!({ "name": "A", "assets": [{ "type": "icon", "uri": "http://127.0.0.1:9/x", "name": "main" }] }));
    let missing = make::zip(&[(
        "card.json",
        br#"{"spec":"chara_card_v3","data":{"name":"A","assets":[{"type":"icon","uri":"embeded://a.png","name":"main"}]}}"#,
    )])?;
    let files: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("newer", newer, &["newer than 3.0"]),
        ("next", next, &["newer format", "newer than 3.0"]),
        ("pattern", pattern, &["\"gate\": the pattern \"/(?<=a)b/\" matches nothing: look-around"]),
        ("remote", remote, &["nothing that a card names is fetched"]),
        ("missing", missing, &["\"a.png\" is missing"]),
        (
            "types",
            v2(
                json!({ "name": "A", "tags": "a, b", "scenario": 3, "extensions": [], "alternate_greetings": [1, "b"] }),
            ),
            &["\"scenario\"", "\"alternate_greetings[]\"", "\"tags\"", "\"extensions\""],
        ),
        ("book", v2(json!({ "name": "A", "character_book": [] })), &["\"character_book\""]),
        ("entries", v2(json!({ "name": "A", "character_book": { "entries": { "0": {} } } })), &["a list of entries"]),
        ("odd entries", v2(json!({ "name": "A", "character_book": { "entries": [1, {}] } })), &["1 entries"]),
        ("null", v2(json!({ "name": "A", "tags": null, "character_book": null, "assets": null })), &[]),
        ("V1", br#"{"name":"A"}"#.to_vec(), &[]),
    ];
    let n = files.len();
    for (what, bytes, words) in files {
        let read = bounded(&bytes, what)?.with_context(|| what.to_owned())?;
        let warnings = &read.warnings;
        ensure!(warnings.len() == words.len(), "{what}: {warnings:?}");
        for (warning, word) in warnings.iter().zip(words) {
            ensure!(warning.contains(word), "{what}: expected {word:?} in {warning}");
        }
        // What is not understood is kept.
        let again = Card::read(read.card.json().as_bytes(), what)?;
        ensure!(again.card == read.card);
    }
    println!("cards: {n} odd files, read with their warnings");
    Ok(())
}

fn cuts_and_flips() -> Outcome {
    let json = make::card(3, &mut Random(3)).to_string();
    let good = [
        json.clone().into_bytes(),
        make::png(&[make::card_chunk("ccv3", &json, b"tEXt")], true),
        make::png(&[make::card_chunk("chara", &json, b"zTXt")], true),
        make::zip(&[("card.json", json.as_bytes()), ("a.png", &make::png(&[], true))])?,
    ];
    let (mut read, mut refused) = (0, 0);
    let mut random = Random(17);
    for bytes in &good {
        let step = (bytes.len() / 400).max(1);
        let cuts = (0..bytes.len()).step_by(step).map(|at| bytes[..at].to_vec());
        let flips: Vec<_> = (0..1_000)
            .map(|_| {
                let mut bytes = bytes.clone();
                for _ in 0..1 + random.below(3) {
                    let at = random.below(bytes.len() as u64) as usize;
                    bytes[at] = random.next() as u8;
                }
                bytes
            })
            .collect();
        for bytes in cuts.chain(flips) {
            match bounded(&bytes, "damaged")? {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    println!("cards: {} damaged files: {refused} refused, {read} read all the same", read + refused);
    Ok(())
}

/// Texts, keys and contents of random pieces that mean something somewhere.
fn any_texts() -> Outcome {
    const PIECES: [&str; 44] = [
        "{{",
        "}}",
        "{",
        "}",
        ":",
        "::",
        ",",
        "\\,",
        "\\",
        "/",
        "//",
        "/i",
        "(",
        ")",
        "[",
        "]",
        "+",
        "*",
        "?",
        "|",
        "^",
        "$",
        "<user>",
        "<BOT>",
        "<START>",
        "{{user}}",
        "{{char}}",
        "{{random:",
        "{{pick:",
        "{{roll:d",
        "{{reverse:",
        "{{hidden_key:",
        "{{// ",
        "@@",
        "@@@",
        "depth 1\n",
        "activate\n",
        "keep_activate_after_match\n",
        "\n",
        " ",
        "a",
        "ß",
        "\u{3000}",
        "6",
    ];
    let mut random = Random(23);
    let mut text = |most: u64| (0..random.below(most)).map(|_| PIECES[random.below(44) as usize]).collect::<String>();
    let mut played = 0;
    for n in 0..1_500_u64 {
        let flag = |bit: u64| n >> bit & 1 == 1;
        let entries: Vec<_> = (0..4)
            .map(|_| {
                json!({ "keys": [text(6), text(3)], "secondary_keys": [text(4)], "selective": flag(0), "use_regex": flag(1),
                    "constant": flag(5), "content": text(30), "extensions": { "selectiveLogic": n % 5 } })
            })
            .collect();
        let book = json!({ "recursive_scanning": flag(3), "token_budget": n % 50, "entries": entries });
        let card = json!({ "spec": if flag(2) { "chara_card_v2" } else { "chara_card_v3" }, "data": {
            "name": format!("A{}", text(8)), "description": text(60), "first_mes": text(20), "mes_example": text(20),
            "alternate_greetings": [text(9)], "character_book": book,
        } });
        let begun = Instant::now();
        let read = bounded(card.to_string().as_bytes(), "texts")?.with_context(|| format!("read {card}"))?;
        let said = greetings(&read.card, "Bo", n).into_iter().next().unwrap_or_default();
        let messages = vec![
            Message::assistant(said),
            Message::user(text(20)),
            Message::assistant(text(20)),
            Message::user(text(9)),
        ];
        let cards = [Arc::new(read.card)];
        let cast = Cast {
            cards: &cards,
            speaker: 0,
            user: "Bo",
            language: Language::En,
            seed: n,
            lore_limit: Some(40),
            left_out: 0,
        };
        let composed = compose(&cast, &System::default(), messages, 40, &|text| text.len() / 4, true);
        ensure!(composed.lore.tokens <= composed.lore.budget, "{card}: {:?}", composed.lore);
        build(&composed.conversation, &BuildOptions::default(), None).with_context(|| format!("build {card}"))?;
        ensure!(begun.elapsed() < MAX_TIME, "{card}: {:?}", begun.elapsed());
        played += composed.lore.active.len();
    }
    ensure!(played > 100, "only {played} entries took part");
    Ok(())
}
