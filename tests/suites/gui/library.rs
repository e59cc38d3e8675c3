//! The library by hand: lorebooks, greetings, portraits, and the dialogs for files, which a person in the test answers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, ensure};
use eframe::egui::{Event, Key, Modifiers};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use guanaco::cards::{Asset, AssetLink, Card, List, Version};
use guanaco::desk::files::ChatFile;
use guanaco::desk::library::CardFile;
use guanaco::gui::dialog::{Answer, Ask, Purpose};
use guanaco::gui::{App, Start};
use guanaco_tests::{Outcome, workspace};

use super::hands::Hands;
use super::models::lora;

/// A card of V2 with a lorebook, an alternative greeting, and fields that nobody knows.
const AVA: &str = r#"{"spec":"chara_card_v2","spec_version":"2.0","data":{"name":"Ava","description":"Ava lives in Rome.",
    "personality":"","scenario":"","first_mes":"Hello, I am {{char}}.","mes_example":"","alternate_greetings":["Ciao!"],
    "odd":0.1,"character_book":{"odd":7,"extensions":{},"entries":[
    {"keys":["pizza"],"content":"Ava bakes pizza.","extensions":{"probability":50},"enabled":true,"insertion_order":3}]}}}"#;

/// What was asked, in order.
type Asked = Arc<Mutex<Vec<Ask>>>;

/// Answers every dialog with `answer`.
fn answer(hands: &mut Hands, answer: impl Fn(&Ask) -> Answer + 'static) -> Asked {
    let asked = Asked::default();
    let kept = asked.clone();
    hands.window.state_mut().answer_dialogs(Box::new(move |ask| {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(ask.clone());
        answer(ask)
    }));
    asked
}

fn purposes(asked: &Asked) -> Vec<Purpose> {
    asked.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|ask| ask.purpose).collect()
}

/// A library with Ava in it, chosen through the dialog.
fn with_ava(hands: &mut Hands, folder: &Path) -> anyhow::Result<u64> {
    let path = folder.join("ava.json");
    std::fs::write(&path, AVA)?;
    hands.click("👥  Library")?;
    let asked = answer(hands, move |_| Answer::Chosen(vec![path.clone()]));
    hands.click("Choose cards…")?;
    hands.steps(2);
    ensure!(purposes(&asked) == [Purpose::Cards]);
    let desk = hands.desk();
    Ok(desk.characters.iter().find(|character| character.card.name() == "Ava").context("she was not brought in")?.id)
}

fn card(hands: &mut Hands, id: u64) -> anyhow::Result<Arc<Card>> {
    Ok(hands.desk().character(id).context("the character is gone")?.card.clone())
}

/// Writes `text` into the field called `label`, in place of what it holds.
fn fill(hands: &mut Hands, label: &str, text: &str) -> anyhow::Result<()> {
    let found: Vec<_> = hands.window.query_all_by_label(label).collect();
    found.last().with_context(|| format!("no field {label:?}"))?.focus();
    drop(found);
    hands.steps(2);
    hands.window.key_press_modifiers(Modifiers::COMMAND, Key::A);
    hands.steps(2);
    hands.window.event(Event::Text(text.to_owned()));
    hands.steps(3);
    Ok(())
}

/// An entry by hand, active by its key in the exact prompt; out as a card and in again, with what nobody knows.
pub(crate) fn lorebook() -> Outcome {
    // Tall enough for all of a card.
    let mut hands = Hands::open(tempfile::tempdir()?, [1180.0, 2600.0])?;
    let folder = tempfile::tempdir()?;
    let id = with_ava(&mut hands, folder.path())?;
    hands.click("➕ Add an entry")?;
    fill(&mut hands, "Entry’s name", "Villa")?;
    fill(&mut hands, "Keys", "garden\nvilla")?;
    fill(&mut hands, "Content", "The villa has nine cats.")?;
    let made = card(&mut hands, id)?.entry(1).context("no entry was made")?.read();
    ensure!(made.name == "Villa" && made.keys == ["garden", "villa"] && made.content == "The villa has nine cats.");
    // A pattern that is refused says why, at its entry.
    hands.click("Keys are patterns")?;
    fill(&mut hands, "Keys", "(?=villa)")?;
    ensure!(hands.sees("This entry matches nothing") && hands.sees("look-around"));
    hands.click("Keys are patterns")?;
    fill(&mut hands, "Keys", "villa")?;
    hands.click("Move “Villa” up")?;
    ensure!(card(&mut hands, id)?.entry(0).is_some_and(|entry| entry.read().name == "Villa"));
    // It plays, and the key is said.
    hands.click("Chat with Ava")?;
    hands.desk().window.prompt_panel = true;
    hands.type_text("Do you know the villa?")?;
    let has = |part: &'static str| {
        move |desk: &mut guanaco::desk::Desk| {
            let shown = desk.preview().and_then(|shown| shown.prompt.as_ref().ok());
            shown.is_some_and(|prompt| prompt.text.contains(part))
        }
    };
    hands.wait(has("The villa has nine cats."))?;
    ensure!(!has("Ava bakes pizza.")(hands.desk()));
    // The entry says so itself.
    hands.click("👥  Library")?;
    ensure!(
        hands.sees("Active: “villa” was mentioned"),
        "{:?}",
        hands.desk().preview().map(|shown| &shown.composed.lore)
    );
    hands.click("Use “Villa”")?;
    hands.wait(|desk| !has("The villa has nine cats.")(desk))?;
    hands.click("Use “Villa”")?;
    // Out through the menu, and in again.
    let path = folder.path().join("out.png");
    let place = path.clone();
    let asked = answer(&mut hands, move |_| Answer::Chosen(vec![place.clone()]));
    hands.click_first("Export")?;
    hands.click("Export as PNG")?;
    hands.steps(2);
    ensure!(purposes(&asked) == [Purpose::SaveCard(id, CardFile::Png)] && path.is_file() && hands.sees("✔ "));
    let proposed = asked.lock().unwrap_or_else(PoisonError::into_inner)[0].place.clone().context("no place")?;
    ensure!(proposed.file_name() == Some("Ava.png".as_ref()), "{proposed:?}");
    let again = hands.desk().import_card(&path)?;
    let read = card(&mut hands, again)?;
    let book = read.character_book().context("the book is lost")?;
    ensure!(read.data()["odd"] == 0.1 && book["odd"] == 7, "an unknown field is lost");
    ensure!(book["entries"][0]["name"] == "Villa" && book["entries"][1]["extensions"]["probability"] == 50);
    // What was typed is there after a restart.
    let mut hands = hands.restart()?;
    ensure!(card(&mut hands, id)?.entry(0).is_some_and(|entry| entry.read().keys == ["villa"]));
    Ok(())
}

/// Greetings as a list, and those for groups when a second character comes.
pub(crate) fn greetings() -> Outcome {
    let mut hands = Hands::new()?;
    let folder = tempfile::tempdir()?;
    let id = with_ava(&mut hands, folder.path())?;
    fill(&mut hands, "Other greetings 1", "Buongiorno!")?;
    hands.click_first("➕ Add a greeting")?;
    fill(&mut hands, "Other greetings 2", "Salve!")?;
    hands.click_last("➕ Add a greeting")?;
    fill(&mut hands, "Greetings in a group 1", "Hello, all of you.")?;
    let read = card(&mut hands, id)?;
    ensure!(
        read.list(List::AlternateGreetings) == ["Buongiorno!", "Salve!"],
        "{:?}",
        read.list(List::AlternateGreetings)
    );
    ensure!(read.list(List::GroupOnlyGreetings) == ["Hello, all of you."]);
    hands.click_first("Remove this greeting")?;
    ensure!(card(&mut hands, id)?.list(List::AlternateGreetings) == ["Salve!"]);
    fill(&mut hands, "Tags", "Rome\nbaker")?;
    fill(&mut hands, "Creator", "Bo")?;
    let read = card(&mut hands, id)?;
    ensure!(read.list(List::Tags) == ["Rome", "baker"] && read.text(guanaco::cards::Text::Creator) == "Bo");
    // Alone she has her own greetings.
    hands.desk().new_chat();
    hands.desk().play(id);
    hands.steps(2);
    let told = |hands: &mut Hands| {
        let tree = &hands.desk().chat.tree;
        tree.children(None).iter().filter_map(|id| tree.node(*id)).map(|node| node.content.clone()).collect::<Vec<_>>()
    };
    ensure!(told(&mut hands) == ["Hello, I am Ava.", "Salve!"], "{:?}", told(&mut hands));
    let other = hands.desk().characters.iter().find(|other| other.id != id).context("Zorina")?.id;
    hands.desk().play(other);
    ensure!(told(&mut hands) == ["Hello, I am Ava.", "Salve!", "Hello, all of you."], "{:?}", told(&mut hands));
    ensure!(hands.path()[0].content == "Hello, I am Ava.", "what was shown is shown");
    Ok(())
}

/// All of an archive is in the one that is written, also after a restart; the other formats say what they have no room for.
pub(crate) fn files() -> Outcome {
    let mut hands = Hands::new()?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ava.charx");
    let mut ava = Card::from_json(AVA)?;
    let link = |kind: &str, path: &str| AssetLink {
        kind: kind.into(),
        uri: format!("embeded://{path}"),
        name: "main".into(),
        ext: "png".into(),
    };
    ava.set_asset(&link("icon", "faces/ava.png"));
    ava.set_asset(&link("background", "garden.png"));
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbaImage::new(3, 2).write_to(&mut png, image::ImageFormat::Png)?;
    let file = |path: &str, bytes: &[u8]| Asset { path: path.into(), bytes: bytes.into() };
    let all = [file("faces/ava.png", png.get_ref()), file("garden.png", b"flowers"), file("module.risum", b"")];
    std::fs::write(&path, ava.to_charx(&all)?)?;
    hands.click("👥  Library")?;
    hands.drop_files(&[&path]);
    let id = hands.desk().characters.iter().find(|ava| ava.card.name() == "Ava").context("Ava")?.id;
    ensure!(hands.sees("2 more files came with this card"));
    let mut hands = hands.restart()?;
    ensure!(hands.desk().character(id).is_some_and(|ava| ava.portrait.as_deref() == Some(&png.get_ref()[..])));
    hands.click("👥  Library")?;
    hands.click("Ava")?;
    for (kind, label, told) in [
        (CardFile::Charx, "Export as CHARX", false),
        (CardFile::Png, "Export as PNG", true),
        (CardFile::Json(Version::V3), "Export as JSON (V3)", true),
        (CardFile::Json(Version::V2), "Export as JSON (V2)", true),
        (CardFile::Json(Version::V1), "Export as JSON (V1)", true),
    ] {
        let place = folder.path().join(label);
        let path = place.clone();
        let asked = answer(&mut hands, move |_| Answer::Chosen(vec![path.clone()]));
        hands.click_first("Export")?;
        hands.click(label)?;
        hands.steps(2);
        ensure!(purposes(&asked) == [Purpose::SaveCard(id, kind)], "{label}");
        let place = place.with_extension(kind.extension());
        let mut read = Card::read(&std::fs::read(&place).with_context(|| label)?, label)?;
        ensure!(read.card.converted(Version::V3) == ava.converted(Version::V3), "{label}: {:?}", read.card);
        ensure!(hands.sees("only CHARX has room for them") == told, "{label}");
        while hands.sees("only CHARX has room for them") {
            hands.click_last("Close")?;
        }
        match kind {
            CardFile::Json(version) => ensure!(read.version == version, "{label}"),
            CardFile::Png => ensure!(read.portrait.is_some()),
            CardFile::Charx => {
                ensure!(read.portrait.as_ref() == Some(png.get_ref()) && read.take_files() == all[1..]);
            }
        }
    }
    Ok(())
}

/// A card by its typed path: Enter opens it, and a path to no card stays to be corrected.
pub(crate) fn typed_path() -> Outcome {
    let mut hands = Hands::new()?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("card.png"), Card::from_traits("Xenia", &["y"]).to_png(None)?)?;
    hands.page(Key::Num2);
    let count = hands.desk().characters.len();
    hands.fill("Import a card", &folder.path().join("card").display().to_string())?;
    hands.press(Key::Enter);
    ensure!(hands.desk().characters.len() == count && !hands.news().is_empty());
    hands.fill("Import a card", ".png")?;
    hands.press(Key::Enter);
    ensure!(hands.desk().characters.len() == count + 1 && hands.sees("Chat with Xenia"), "{:?}", hands.labels());
    Ok(())
}

/// Chats, models, LoRAs, sources and portraits through dialogs; and what happens where there are none.
pub(crate) fn dialogs() -> Outcome {
    let mut hands = Hands::new()?;
    let folder = tempfile::tempdir()?;
    let id = with_ava(&mut hands, folder.path())?;
    // A portrait: a text is refused with a reason, a picture is taken and comes back in a card.
    let png = Card::from_traits("X", &["y"]).to_png(None)?;
    std::fs::write(folder.path().join("face.png"), &png)?;
    std::fs::write(folder.path().join("face.jpg"), "text")?;
    for (name, taken) in [("face.jpg", false), ("face.png", true)] {
        let path = folder.path().join(name);
        answer(&mut hands, move |_| Answer::Chosen(vec![path.clone()]));
        hands.click("Choose a portrait…")?;
        hands.steps(2);
        ensure!(hands.desk().character(id).is_some_and(|ava| ava.portrait.is_some()) == taken, "{name}");
    }
    ensure!(hands.sees("PNG, JPEG or WebP"));
    // The same by drag and drop on the open character, while a picture with a card in it is a card.
    let dropped = folder.path().join("other.png");
    image::RgbaImage::new(3, 2).save(&dropped)?;
    let count = hands.desk().characters.len();
    hands.drop_files(&[&dropped]);
    let portrait = hands.desk().character(id).and_then(|ava| ava.portrait.clone());
    ensure!(portrait.as_deref() == Some(&std::fs::read(&dropped)?[..]) && hands.desk().characters.len() == count);
    hands.drop_files(&[&folder.path().join("face.png")]);
    ensure!(hands.desk().characters.len() == count + 1 && hands.sees("Chat with X"));
    // A chat goes out over its menu and comes in over the button.
    hands.click("Chat with Ava")?;
    hands.desk().save_chat();
    hands.steps(2);
    let chat = hands.desk().chat.id;
    let place = folder.path().join("talk");
    let asked = answer(&mut hands, move |_| Answer::Chosen(vec![place.clone()]));
    hands.click("Menu of “Ava”")?;
    hands.click("Export all as JSON")?;
    hands.steps(2);
    let written = folder.path().join("talk.json");
    ensure!(purposes(&asked) == [Purpose::SaveChat(chat, ChatFile::Json)] && written.is_file(), "the end is added");
    answer(&mut hands, move |_| Answer::Chosen(vec![written.clone()]));
    hands.click("Import a chat")?;
    hands.steps(2);
    ensure!(hands.desk().chat.id != chat && hands.path()[0].content == "Hello, I am Ava.");
    // Sources, several at once.
    let texts = ["one.txt", "two.md"].map(|name| folder.path().join(name));
    for path in &texts {
        std::fs::write(path, "Facts.")?;
    }
    hands.desk().window.prompt_panel = true;
    hands.steps(2);
    hands.click("Knowledge")?;
    answer(&mut hands, move |_| Answer::Chosen(texts.to_vec()));
    hands.click("Add from files…")?;
    hands.steps(2);
    let sources = &hands.desk().chat.settings.system.sources;
    ensure!(sources.iter().map(|source| source.title.as_str()).eq(["one", "two"]));
    // Models and LoRAs.
    hands.click("📦  Models")?;
    let lora = lora(&folder.path().join("lora"), &workspace().join("app/tiny-guanaco"))?;
    let chosen = lora.clone();
    let asked = answer(&mut hands, move |ask| match ask.purpose {
        Purpose::ModelFile => Answer::Cancelled,
        Purpose::Lora => Answer::Chosen(vec![chosen.clone()]),
        purpose => Answer::Chosen(vec![PathBuf::from(format!("/chosen/{purpose:?}"))]),
    });
    for button in ["Choose a folder…", "Choose a file…", "Choose a LoRA’s folder…"] {
        hands.click(button)?;
        hands.steps(2);
    }
    ensure!(purposes(&asked) == [Purpose::ModelFolder, Purpose::ModelFile, Purpose::Lora]);
    let choice = &hands.desk().choice;
    ensure!(choice.path.as_deref() == Some("/chosen/ModelFolder".as_ref()), "{choice:?}");
    ensure!(choice.loras.len() == 1 && choice.loras[0].path == lora);
    // Without a dialog it is said, and nothing else happens.
    answer(&mut hands, |_| Answer::NotShown("no portal".to_owned()));
    hands.click("Import a chat")?;
    hands.steps(2);
    ensure!(hands.sees("No file dialog can be shown here (no portal)"));
    Ok(())
}

/// A damaged store: the window says so, and begins anew when asked, with the old file kept.
pub(crate) fn damaged() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join(guanaco::store::FILE);
    std::fs::write(&file, "no store")?;
    let path = folder.path().to_owned();
    let mut window = egui_kittest::Harness::builder()
        .with_size([900.0, 600.0])
        .with_max_steps(40)
        .wgpu()
        .build_eframe(|context| App::new(&context.egui_ctx, path, &Start::default()));
    window.step();
    ensure!(window.state_mut().desk().is_none());
    let label = {
        let root = window.root();
        let labels = root.children_recursive().filter_map(|node| node.accesskit_node().label());
        let texts = guanaco::gui::text::Texts::new(guanaco::gui::text::Locale::from_system());
        let wanted = texts.get("common-set-aside").to_owned();
        labels.into_iter().find(|label| *label == wanted).context("no button to begin anew")?
    };
    window.get_by_label(&label).click();
    for _ in 0..4 {
        window.step();
    }
    ensure!(window.state_mut().desk().is_some(), "nothing was begun");
    let kept = std::fs::read_dir(folder.path())?
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("guanaco.damaged-"))
        .context("the damaged file is gone")?;
    ensure!(std::fs::read(kept.path())? == b"no store");
    let seen = window
        .root()
        .children_recursive()
        .filter_map(|node| node.accesskit_node().value().or_else(|| node.accesskit_node().label()))
        .any(|label| label.contains("guanaco.damaged-"));
    ensure!(seen, "where it is was not said");
    Ok(())
}

/// Characters from a narration and from an entry, by hand; and one that goes for good, out of the open chat, too.
pub(crate) fn made() -> Outcome {
    let mut hands = Hands::new()?;
    hands.click("👥  Library")?;
    let cards = [
        ("From a narration", "Mira", "I keep bees on a roof.", Card::from_narration("Mira", "I keep bees on a roof.")),
        ("From an encyclopedic entry", "Oda", "Oda was a painter.", Card::from_entry("Oda", "Oda was a painter.")),
    ];
    hands.click_first("New character")?;
    for (form, name, text, expected) in &cards {
        hands.click(form)?;
        for (field, text) in [("Name", name), ("Description", text)] {
            // The open card below has such fields, too.
            hands.click_first(field)?;
            hands.write(text);
        }
        hands.click_last("New character")?;
        let found = hands.desk().characters.iter().find(|character| character.card.name() == *name);
        let found = found.with_context(|| format!("{form} made nobody"))?;
        let description = |card: &Card| card.text(guanaco::cards::Text::Description).to_owned();
        ensure!(description(&found.card) == description(expected) && description(expected).contains(text), "{form}");
    }
    hands.click("Chat with Oda")?;
    hands.brief();
    hands.say("What did you paint?")?;
    hands.click("👥  Library")?;
    hands.fill("Filter characters", "oda")?;
    ensure!(!hands.sees("Chat with Mira"));
    hands.click_first("Delete")?;
    ensure!(hands.sees("Delete the character “Oda” for good?"));
    hands.click_last("Delete")?;
    let is_there = |hands: &mut Hands, name: &str| hands.desk().characters.iter().any(|who| who.card.name() == name);
    ensure!(!is_there(&mut hands, "Oda") && hands.desk().chat.settings.characters.is_empty());
    ensure!(hands.path().len() == 2, "what was said stays");
    let mut hands = hands.restart()?;
    ensure!(!is_there(&mut hands, "Oda") && is_there(&mut hands, "Mira"));
    Ok(())
}
