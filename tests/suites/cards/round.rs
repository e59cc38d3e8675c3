//! Round trips: what was in a card is in it afterwards, in every format and over every version.

use anyhow::{Context as _, ensure};
use guanaco::cards::{Asset, AssetLink, Card, List, Text, Version};
use guanaco_tests::{Outcome, Suite};
use serde_json::{Value, json};

use super::make::{self, Random};

const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::V3];
/// Cards of each version.
const SEEDS: u64 = 60;

pub(crate) fn cases(suite: &mut Suite) {
    suite.case("round trips: every version, format and conversion keeps every field", all);
    suite.case("round trips: floats keep their last digit", floats);
    suite.case("png: other chunks and pixels stay to the byte, old cards go", png_bytes);
    suite.case("png: deflated and international texts, and both keywords", png_kinds);
    suite.case("charx: assets come back, the main icon is the portrait", charx);
    suite.case("charx: a portrait goes under the card's name for it, or a free one", portraits);
    suite.case("setters change what they name, and nothing else", setters);
    suite.case("cards made from traits, a narration and an entry", made);
}

/// Whether all of `a` is in `b`, whatever `b` has besides in objects.
fn keeps(a: &Value, b: &Value, path: &str) -> Outcome {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.iter().try_for_each(|(key, a)| {
            let path = format!("{path}.{key}");
            keeps(a, b.get(key).with_context(|| format!("{path} is gone"))?, &path)
        }),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().try_for_each(|(n, (a, b))| keeps(a, b, &format!("{path}[{n}]")))
        }
        _ => {
            ensure!(a == b, "{path}: {a} has become {b}");
            Ok(())
        }
    }
}

fn raw(card: &Card) -> Value {
    Value::Object(card.raw().clone())
}

fn all() -> Outcome {
    let mut trips = 0;
    for seed in 0..SEEDS {
        for (number, version) in (1..).zip(VERSIONS) {
            let mut random = Random(seed * 3 + u64::from(number));
            let json = make::card(number, &mut random);
            let read = Card::read(json.to_string().as_bytes(), "a.json")?;
            ensure!(read.version == version && raw(&read.card) == json, "{version:?}: read otherwise");
            let exact: Value = serde_json::from_str(&read.card.to_json(version))?;
            ensure!(exact == json, "{version:?}: written otherwise");
            let stored = Card::from_json(&read.card.json())?;
            ensure!(stored == read.card, "{version:?}: stored otherwise");
            // Through each other version, and through each format, which are V3.
            let mut through: Vec<(String, Card)> = VERSIONS
                .into_iter()
                .map(|other| Ok((format!("{other:?}"), Card::from_json(&read.card.to_json(other))?)))
                .collect::<anyhow::Result<_>>()?;
            let up_and_down =
                read.card.converted(Version::V3).converted(Version::V1).converted(Version::V2).converted(Version::V1);
            through.push(("V3, V1, V2, V1".into(), up_and_down));
            through.push(("PNG".into(), Card::read(&read.card.to_png(None)?, "a.png")?.card));
            through.push(("CHARX".into(), Card::read(&read.card.to_charx(&[])?, "a.charx")?.card));
            for (way, card) in through {
                let back = raw(&card.converted(version));
                keeps(&json, &back, "").with_context(|| format!("seed {seed}: {version:?} through {way}"))?;
                if version == Version::V1 {
                    ensure!(without_data(&back) == json, "seed {seed}: V1 through {way} has more than before: {back}");
                }
                if version == Version::V3 {
                    ensure!(back == json, "seed {seed}: V3 through {way} has more than before: {back}");
                }
                for field in Text::ALL {
                    ensure!(
                        card.converted(Version::V3).text(field) == read.card.text(field),
                        "{field:?} through {way}"
                    );
                }
                trips += 1;
            }
        }
    }
    println!("cards: {} cards, {trips} round trips, every field kept", SEEDS * 3);
    Ok(())
}

/// Any float: what a parser that is off by one in the last place would change.
fn floats() -> Outcome {
    let mut random = Random(7);
    let numbers = std::iter::repeat_with(|| f64::from_bits(random.next())).filter(|number| number.is_finite());
    let numbers: Vec<f64> = numbers.take(4_000).chain([122.416_294_033_786_58, 0.1 + 0.2, f64::MIN_POSITIVE]).collect();
    let json =
        serde_json::json!({ "spec": "chara_card_v3", "spec_version": "3.0", "data": { "name": "Ava", "x": numbers } });
    let read = Card::read(json.to_string().as_bytes(), "a.json")?.card;
    let stored = Card::from_json(&read.json())?;
    let back = Card::read(&stored.to_png(None)?, "a.png")?.card;
    for card in [&read, &stored, &back] {
        let list = card.data()["x"].as_array().context("the list is gone")?;
        let bits = |value: &Value| value.as_f64().map(f64::to_bits);
        let changed = list.iter().zip(&numbers).filter(|(a, b)| bits(a) != Some(b.to_bits())).count();
        ensure!(list.len() == numbers.len() && changed == 0, "{changed} of {} floats have changed", numbers.len());
    }
    Ok(())
}

/// V1 without what V2 demands and V1 does not know.
fn without_data(card: &Value) -> Value {
    let mut card = card.clone();
    if let Value::Object(card) = &mut card {
        card.remove("data");
    }
    card
}

fn contains(bytes: &[u8], part: &[u8]) -> usize {
    bytes.windows(part.len()).filter(|window| *window == part).count()
}

fn png_bytes() -> Outcome {
    let old = make::card(2, &mut Random(1)).to_string();
    for in_front in [true, false] {
        let texts = [make::card_chunk("chara", &old, b"tEXt"), make::card_chunk("ccv3", "{}", b"zTXt")];
        let portrait = make::png(&texts, in_front);
        let card = Card::from_traits("Ava", &["kind"]);
        let written = card.to_png(Some(&portrait))?;
        let read = Card::read(&written, "a.png")?;
        ensure!(read.card == card && read.version == Version::V3 && read.warnings.is_empty(), "{:?}", read.warnings);
        let plain = make::png(&[], false);
        ensure!(read.portrait.as_deref() == Some(&plain[..]), "the picture is another");
        for chunk in make::picture_chunks() {
            ensure!(contains(&written, &chunk) == 1);
        }
        ensure!(contains(&written, b"tEXtchara\0") == 1 && contains(&written, b"tEXtccv3\0") == 1);
        ensure!(written.ends_with(b"behind the end"));
        ensure!(card.to_png(Some(&written))? == written, "written twice it is another file");
    }
    // For programs that know V2 alone, decorators are no text.
    let mut card =
        Card::read(&make::png(&[make::card_chunk("ccv3", &v3_with_decorators(), b"tEXt")], true), "a.png")?.card;
    let written = card.to_png(None)?;
    let stripped: Vec<u8> = {
        let at = written.windows(9).position(|window| window == b"tEXtccv3\0").context("no ccv3")? - 4;
        let len = u32::from_be_bytes(written[at..at + 4].try_into()?) as usize;
        [&written[..at], &written[at + len + 12..]].concat()
    };
    let older = Card::read(&stripped, "a.png")?.card;
    ensure!(older.version() == Version::V2);
    let content = &older.character_book().context("no book")?["entries"][0]["content"];
    ensure!(content == "Lore.", "{content}");
    ensure!(older.text(Text::CreatorNotes).contains("V3"));
    card.set_text(Text::CreatorNotes, "");
    ensure!(Card::read(b"\xff\xd8\xff", "a.jpg").is_err() && card.to_png(Some(b"\xff\xd8\xff")).is_err());
    Ok(())
}

fn v3_with_decorators() -> String {
    serde_json::json!({ "spec": "chara_card_v3", "spec_version": "3.0", "data": { "name": "Ava", "character_book": {
        "entries": [{ "keys": ["a"], "content": "@@depth 3\n\nLore.", "enabled": true, "insertion_order": 0 }] } } })
    .to_string()
}

fn png_kinds() -> Outcome {
    let mut random = Random(5);
    let (v2, v3) = (make::card(2, &mut random).to_string(), make::card(3, &mut random).to_string());
    for kind in [b"tEXt", b"zTXt", b"iTXt"] {
        for in_front in [true, false] {
            let both = [make::card_chunk("Chara", &v2, kind), make::card_chunk("ccv3", &v3, kind)];
            let read = Card::read(&make::png(&both, in_front), "a.png")?;
            ensure!(read.version == Version::V3 && read.card.json() == v3);
            let read = Card::read(&make::png(&both[..1], in_front), "a.png")?;
            ensure!(read.version == Version::V2 && read.card.json() == v2);
        }
    }
    // The older form helps where the newer is broken.
    let broken = [make::chunk(b"tEXt", b"ccv3\0!!!!"), make::card_chunk("chara", &v2, b"tEXt")];
    let read = Card::read(&make::png(&broken, true), "a.png")?;
    ensure!(
        read.version == Version::V2 && read.warnings.iter().any(|text| text.contains("base64")),
        "{:?}",
        read.warnings
    );
    Ok(())
}

fn charx() -> Outcome {
    let mut card = Card::read(make::card(3, &mut Random(9)).to_string().as_bytes(), "a.json")?.card;
    let (portrait, link) = Asset::portrait(make::png(&[], false)).context("no picture")?;
    card.set_asset(&link);
    let assets = [portrait.clone(), Asset { path: "x/音.mp3".into(), bytes: vec![1, 2, 3] }];
    let written = card.to_charx(&assets)?;
    let read = Card::read(&written, "a.charx")?;
    ensure!(read.card == card && read.assets == assets, "not the same");
    ensure!(read.portrait.as_ref() == Some(&portrait.bytes));
    ensure!(read.warnings.len() == 1 && read.warnings[0].contains("nothing that a card names is fetched"));
    // Behind a picture, as some programs write it.
    let behind = Card::read(&[&b"\xff\xd8\xff\xd9"[..], &written].concat(), "a.jpeg")?;
    ensure!(behind.card == card && behind.assets == assets);
    // What no one can read again is not written.
    let twice = [portrait.clone(), portrait];
    ensure!(card.to_charx(&twice).is_err());
    ensure!(card.to_charx(&[Asset { path: "../x".into(), bytes: Vec::new() }]).is_err());
    // A text that deflates to nothing is no bomb when it is read again.
    let mut long = Card::new("Ava");
    long.set_list(List::AlternateGreetings, &vec![" ".repeat(1 << 20); 4]);
    ensure!(Card::read(&long.to_charx(&[])?, "a.charx")?.card == long);
    Ok(())
}

fn portraits() -> Outcome {
    let png = make::png(&[], false);
    let other = |path: &str| Asset { path: path.into(), bytes: vec![7] };
    // What the card calls it, what lies there already, and what it is called then.
    for (uri, files, path) in [
        ("embeded://faces/Ava.PNG", &[][..], "faces/Ava.PNG"),
        ("embedded://Ava.png", &[other("other.png")], "Ava.png"),
        ("embeded://Ava.webp", &[], "assets/icon/images/main.png"),
        ("embeded://taken.png", &[other("taken.png")], "assets/icon/images/main.png"),
        ("ccdefault:", &[other("assets/icon/images/main.png")], "assets/icon/images/main-2.png"),
        ("embeded://../Ava.png", &[], "assets/icon/images/main.png"),
        ("embeded://card.json", &[], "assets/icon/images/main.png"),
    ] {
        let mut card = Card::new("Ava");
        for (name, uri) in [("face", uri), ("smile", "embeded://smile.png")] {
            let kind = if name == "face" { "icon" } else { "emotion" };
            card.set_asset(&AssetLink { kind: kind.into(), uri: uri.into(), name: name.into(), ext: "png".into() });
        }
        let mut assets = files.to_vec();
        card.add_portrait(&mut assets, png.clone());
        let mut read = Card::read(&card.to_charx(&assets)?, "a.charx")?;
        ensure!(read.assets.last().is_some_and(|asset| asset.path == path), "{uri}: {:?}", read.assets);
        ensure!(read.portrait.as_ref() == Some(&png) && read.card.assets().len() == 2, "{uri}");
        ensure!(read.take_files() == files, "{uri}");
    }
    // An icon without a name is pointed at the portrait, and a file that is a portrait and more stays.
    let odd = json!({ "spec": "chara_card_v3", "data": { "name": "Ava", "assets": [{ "type": "icon", "uri": "ccdefault:" }] } });
    let mut card = Card::from_json(&odd.to_string())?;
    let mut assets = Vec::new();
    card.add_portrait(&mut assets, png.clone());
    ensure!(Card::read(&card.to_charx(&assets)?, "a.charx")?.portrait.as_ref() == Some(&png));
    let mut card = Card::new("Ava");
    for kind in ["icon", "emotion"] {
        let (uri, name) = ("embeded://both.png".into(), "main".into());
        card.set_asset(&AssetLink { kind: kind.into(), uri, name, ext: "png".into() });
    }
    let both = [Asset { path: "both.png".into(), bytes: png.clone() }];
    let mut read = Card::read(&card.to_charx(&both)?, "a.charx")?;
    ensure!(read.take_files() == both && read.portrait.as_ref() == Some(&png));
    // What fits only deflated is written so, but for what would look like a bomb.
    let mut random = Random(3);
    // Longer than what deflate looks back.
    let noise: Vec<u8> = (0..1 << 20).map(|_| random.below(64) as u8).collect::<Vec<_>>().repeat(70);
    let large = [Asset { path: "a.wav".into(), bytes: noise }, Asset { path: "b".into(), bytes: vec![0; 8 << 20] }];
    ensure!(Card::read(&Card::new("Ava").to_charx(&large)?, "a.charx")?.assets == large);
    // Bytes that are no picture are nobody's portrait.
    let (mut card, mut assets) = (Card::new("Ava"), Vec::new());
    card.add_portrait(&mut assets, b"text".to_vec());
    ensure!(assets.is_empty() && card == Card::new("Ava"));
    Ok(())
}

fn setters() -> Outcome {
    for (number, version) in (1..).zip(VERSIONS) {
        let json = make::card(number, &mut Random(11));
        let card = Card::read(json.to_string().as_bytes(), "a.json")?.card;
        for field in Text::ALL {
            let mut changed = card.clone();
            changed.set_text(field, "new");
            ensure!(changed.text(field) == "new" && changed.version() == version.max(field.since()));
            changed.set_text(field, card.text(field));
            let mut back = raw(&changed.converted(version));
            if number == 1 {
                back = without_data(&back);
            }
            keeps(&json, &back, "").with_context(|| format!("{field:?} of {version:?}"))?;
        }
        for field in List::ALL {
            let mut changed = card.clone();
            changed.set_list(field, &["a", "b"]);
            ensure!(changed.list(field) == ["a", "b"] && changed.version() == version.max(field.since()));
            ensure!(changed.name() == card.name());
        }
        let mut changed = card.clone();
        changed.set_extension("guanaco/x", serde_json::json!(1));
        ensure!(changed.extensions().is_some_and(|all| all.contains_key("guanaco/x")));
        changed.set_extension("guanaco/x", Value::Null);
        ensure!(changed.extensions() == card.converted(changed.version()).extensions());
        let version = changed.version();
        changed.touch(5);
        ensure!(changed.dates().1 == Some(5).filter(|_| version == Version::V3) && changed.version() == version);
        changed.date(7);
        ensure!(changed.dates() == (Some(7), Some(7)));
    }
    // Copies at the root, as some programs keep them, do not go stale.
    let copies = r#"{"name":"A","spec":"chara_card_v2","spec_version":"2.0","data":{"name":"A"}}"#;
    let mut card = Card::from_json(copies)?;
    card.set_text(Text::Name, "B");
    ensure!(raw(&card)["name"] == "B" && raw(&card)["data"]["name"] == "B");
    let notes = Card::from_json(&make::card(3, &mut Random(2)).to_string())?;
    ensure!(notes.creator_notes("de") == "Hallo" && notes.creator_notes("ja-JP") == "こんにちは");
    ensure!(notes.called() == "Avie");
    Ok(())
}

fn made() -> Outcome {
    let traits = Card::from_traits("Ava", &["- kind", "", "• plays the cello\nloves rain"]);
    ensure!(traits.text(Text::Description) == "Ava\n- kind\n- plays the cello\n- loves rain");
    let told = Card::from_narration("Ava", "I grew up by the sea.");
    ensure!(told.text(Text::Description) == "Ava\nI grew up by the sea.");
    let entry = Card::from_entry(" Ada Lovelace ", "Ada Lovelace was a mathematician.");
    ensure!(entry.text(Text::Description) == "Ada Lovelace was a mathematician." && entry.name() == "Ada Lovelace");
    for card in [traits, told, entry] {
        let read = Card::read(card.to_json(Version::V3).as_bytes(), "a.json")?;
        ensure!(read.card == card && read.warnings.is_empty(), "{:?}", read.warnings);
    }
    Ok(())
}
