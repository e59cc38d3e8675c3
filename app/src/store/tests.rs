use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::{ReadableTable as _, TableDefinition};
use serde_json::json;

use super::migrate::{Schema, backup};
use super::*;
use crate::tree::{NewNode, NodeId, Tree};

fn changes(chat: ChatId, tree: &mut Tree) -> Vec<Change> {
    tree.take_changes().into_iter().map(|change| Change::Tree(chat, change)).collect()
}

fn texts(tree: &Tree) -> Vec<String> {
    tree.path().iter().map(|node| node.content.clone()).collect()
}

#[cfg(unix)]
#[test]
fn no_other_user_reads_a_chat() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("share").join("guanaco");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    drop(Store::open(&folder).unwrap());
    assert_eq!([mode(&folder), mode(&folder.join(FILE)), mode(&folder.join(LOCK))], [0o700, 0o600, 0o600]);
    // As older versions left it.
    fs::set_permissions(folder.join(FILE), fs::Permissions::from_mode(0o644)).unwrap();
    drop(Store::open(&folder).unwrap());
    assert_eq!(mode(&folder.join(FILE)), 0o600);
}

#[test]
fn what_is_written_is_read_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (ChatId(5), ChatId(6));
    let mut head = ChatHead { updated_ms: 5, ..ChatHead::new("first") };
    head.settings = json!({"temperature": 0.7, "sources": ["x"]});
    let extra = serde_json::Map::from_iter([("later".to_owned(), json!(true))]);
    let mut tree = Tree::new();
    let question = tree.add(None, NewNode::user("q"));
    let answer = tree.add(Some(question), NewNode::streaming().named("Ann"));
    tree.edit(question, "other");
    tree.choose(answer);
    let card = r#"{"spec": "chara_card_v2"}"#.to_owned();
    let card = CharacterRecord {
        id: 1,
        name: "Ann".to_owned(),
        card,
        portrait: Some(vec![1, 2, 3]),
        n_files: 2,
        updated_ms: 7,
    };
    let files = vec![("a/音.mp3".to_owned(), vec![4, 5]), ("b".to_owned(), Vec::new())];
    let plain = CharacterRecord { id: 2, portrait: None, ..card.clone() };
    {
        let store = Store::open(folder.path()).unwrap();
        store
            .write(
                &[vec![Change::ChatHead(a, head.clone()), Change::ChatExtra(a, extra.clone())], changes(a, &mut tree)]
                    .concat(),
            )
            .unwrap();
        store.write(&[Change::ChatHead(b, ChatHead { updated_ms: 9, ..ChatHead::new("second") })]).unwrap();
        store.write(&[Change::Tokens(a, answer, vec![0, 9]), Change::Setting("theme".into(), json!("dark"))]).unwrap();
        let text = CharacterRecord { portrait: None, ..card.clone() };
        let old = CharacterRecord { name: "before".into(), ..card.clone() };
        store.write(&[Change::Character(old), Change::Card(text), Change::Character(plain.clone())]).unwrap();
        store.write(&[Change::Files(1, files.clone()), Change::Files(2, files.clone())]).unwrap();
    }
    let store = Store::open(folder.path()).unwrap();
    let chats = store.chats().unwrap();
    assert_eq!(chats.iter().map(|chat| (chat.id, chat.n_messages)).collect::<Vec<_>>(), [(b, 0), (a, 3)]);
    let chat = store.chat(a).unwrap();
    assert_eq!((&chat.head, store.chat_extra(a).unwrap(), texts(&chat.tree)), (&head, extra, texts(&tree)));
    assert_eq!(chat.tree.nodes().collect::<Vec<_>>(), tree.nodes().collect::<Vec<_>>());
    assert!(!chat.tree.node(answer).unwrap().complete && !chat.tree.has_changes());
    assert_eq!(store.tokens(a, answer), Some(vec![0, 9]));
    assert_eq!(store.all_tokens(a).unwrap(), [(answer, vec![0, 9])]);
    assert_eq!(store.setting("theme"), Some(json!("dark")));
    assert_eq!(store.characters().unwrap(), [card.clone(), plain.clone()]);
    assert_eq!((store.files(1).unwrap(), store.files(3).unwrap()), (files.clone(), Vec::new()));
    let (new, next) = (store.new_chat_id(), store.new_chat_id());
    assert!(next > new && new > b && store.new_character_id() > plain.id);

    let gone = [Change::Setting("theme".into(), json!(null)), Change::DeleteCharacter(card.id), Change::DeleteChat(a)];
    store.write(&gone).unwrap();
    let error = store.chat(a).unwrap_err();
    assert!(matches!(error, StoreError::NotThere { id: 5, .. }) && error.to_string().contains("chat 5 is not there"));
    assert!(store.chat_extra(a).unwrap().is_empty() && store.tokens(a, answer).is_none());
    assert_eq!((store.setting("theme"), store.characters().unwrap()), (None, vec![plain]));
    assert_eq!((store.files(1).unwrap(), store.files(2).unwrap()), (Vec::new(), files));
    assert_eq!(store.chats().unwrap().len(), 1);
}

#[test]
fn a_deleted_message_keeps_its_tokens_for_an_undo_and_its_id_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let chat = ChatId(7);
    let mut tree = Tree::new();
    let first = tree.add(None, NewNode::user("a"));
    let second = tree.add(Some(first), NewNode::assistant("b"));
    let store = Store::open(folder.path()).unwrap();
    // Messages without a head are found nevertheless.
    store.write(&changes(chat, &mut tree)).unwrap();
    store.write(&[Change::Tokens(chat, second, vec![1])]).unwrap();
    let removed = tree.delete(second).unwrap();
    store.write(&changes(chat, &mut tree)).unwrap();
    assert_eq!((store.chats().unwrap()[0].n_messages, store.all_tokens(chat).unwrap().len()), (1, 0));
    assert!(tree.restore(removed));
    store.write(&changes(chat, &mut tree)).unwrap();
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    let mut tree = store.chat(chat).unwrap().tree;
    assert_eq!((texts(&tree), store.tokens(chat, second)), (vec!["a".into(), "b".into()], Some(vec![1])));
    tree.delete(second);
    store.write(&changes(chat, &mut tree)).unwrap();
    assert!(store.tokens(chat, second).is_some());
    drop(store);

    let store = Store::open(folder.path()).unwrap();
    assert!(store.tokens(chat, second).is_none());
    let mut tree = store.chat(chat).unwrap().tree;
    assert_eq!(tree.add(Some(first), NewNode::assistant("c")), NodeId(3));
}

#[test]
fn a_chat_that_is_imported_twice_is_two_chats_and_exported_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let text = r#"{"format":"guanaco-chat","version":1,"title":"t","created_ms":1,"updated_ms":2,"mood":{"blue":[1]},
        "nodes":[{"id":2,"role":"user","content":"x","sky":7},{"id":5,"parent":2,"role":"assistant","content":"a"},
        {"id":4,"parent":2,"role":"assistant","content":"b"}],
        "chosen":[{"parent":2,"child":4}],"last_id":9,"tokens":[{"node":5,"base64":"AAEC"}]}"#;
    let imported = export::from_json(text).unwrap();
    let (a, b) = (store.new_chat_id(), store.new_chat_id());
    for id in [a, b] {
        store.write(&imported.changes(id)).unwrap();
    }
    assert_eq!(store.chats().unwrap().iter().map(|chat| chat.n_messages).collect::<Vec<_>>(), [3, 3]);
    assert_eq!(texts(&store.chat(b).unwrap().tree), ["x", "b"]);
    let none = |_: &ChatHead| serde_json::Map::new();
    let exported = store.export(a, none).unwrap();
    assert_eq!(store.export(b, none).unwrap(), exported);
    let (was, is): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(text).unwrap(), serde_json::from_str(&exported).unwrap());
    assert_eq!((&is["mood"], &is["nodes"][0]["sky"], &is["tokens"]), (&was["mood"], &json!(7), &was["tokens"]));
    assert_eq!((&is["last_id"], is["nodes"].as_array().unwrap().len()), (&json!(5), 3));
    // A deleted message's tokens and the extra fields of a deleted chat go with it.
    store.write(&[Change::DeleteChat(a)]).unwrap();
    assert!(store.chat_extra(a).unwrap().is_empty() && store.chat(b).is_ok());
    assert!(matches!(store.export(a, none), Err(StoreError::NotThere { .. })));
}

#[test]
fn a_second_program_is_told_that_the_store_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("close it") && error.to_string().contains(FILE));
    assert!(matches!(Store::set_aside(folder.path()), Err(StoreError::InUse { .. })));
    store.reopen().unwrap();
    assert!(store.chats().unwrap().is_empty());
    drop(store);
    Store::open(folder.path()).unwrap();
}

const OLD: TableDefinition<u64, &str> = TableDefinition::new("titles");

/// What version 0 might have been: a table of titles.
fn version_0(folder: &Path) {
    let database = Database::create(folder.join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(OLD).unwrap().insert(3, "from long ago").unwrap();
    migrate::set_version(&transaction, 0).unwrap();
    transaction.commit().unwrap();
}

fn step_0(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    write::make_tables(transaction)?;
    let mut chats = transaction.open_table(write::CHATS)?;
    for row in transaction.open_table(OLD)?.iter()? {
        let (id, title) = row?;
        chats.insert(id.value(), json!({"title": title.value()}).to_string().as_bytes())?;
    }
    Ok(())
}

fn failing_step(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    step_0(transaction)?;
    Err(redb::Error::Io(std::io::ErrorKind::StorageFull.into()))
}

#[test]
fn an_older_file_is_copied_and_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    version_0(path);

    let error = Store::open_as(path, None, Schema { known: 1, steps: &[failing_step] }).unwrap_err();
    assert!(error.to_string().contains("free some space"), "{error}");
    assert!(backup(path, 0).exists());

    let schema = Schema { known: 1, steps: &[step_0] };
    let store = Store::open_as(path, None, schema).unwrap();
    assert_eq!(store.chats().unwrap()[0].title, "from long ago");
    drop(store);
    // The next start has nothing to do, and the program of today reads it.
    fs::remove_file(backup(path, 0)).unwrap();
    Store::open_as(path, None, schema).unwrap();
    assert_eq!(Store::open(path).unwrap().chats().unwrap().len(), 1);
    assert!(!backup(path, 0).exists());
}

#[test]
fn version_1_had_no_files_beside_a_portrait() {
    let folder = tempfile::tempdir().unwrap();
    let card = CharacterRecord { id: 1, name: "Ann".into(), portrait: Some(vec![1]), ..CharacterRecord::default() };
    let store = Store::open_as(folder.path(), None, Schema { known: 1, steps: &[] }).unwrap();
    store.write(&[Change::Character(card.clone()), Change::ChatHead(ChatId(1), ChatHead::new("old"))]).unwrap();
    drop(store);
    let database = Database::open(folder.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(transaction.delete_table(write::FILES).unwrap());
    transaction.commit().unwrap();
    drop(database);

    let store = Store::open(folder.path()).unwrap();
    assert_eq!((store.characters().unwrap(), store.files(1).unwrap()), (vec![card], Vec::new()));
    assert_eq!(store.chats().unwrap()[0].title, "old");
    assert!(backup(folder.path(), 1).exists());
}

#[test]
fn the_backup_opens_as_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    version_0(folder.path());
    drop(Store::open_as(folder.path(), None, Schema { known: 1, steps: &[step_0] }).unwrap());
    let database = Database::open(backup(folder.path(), 0)).unwrap();
    let transaction = database.begin_read().unwrap();
    assert_eq!(transaction.open_table(OLD).unwrap().get(3).unwrap().unwrap().value(), "from long ago");
    assert!(transaction.open_table(write::CHATS).is_err());
}

#[test]
fn files_of_versions_without_a_way_to_this_one_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    version_0(folder.path());
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Damaged { detail, .. } if detail.contains("version 0")), "{error}");

    let folder = tempfile::tempdir().unwrap();
    drop(Store::open_as(folder.path(), None, Schema { known: 9, steps: &[] }).unwrap());
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9, known: 2, .. }), "{error}");
    drop(Store::open_as(folder.path(), None, Schema { known: 9, steps: &[] }).unwrap());
}

#[test]
fn a_damaged_file_is_never_overwritten_and_goes_aside_when_asked() {
    for (content, says) in
        [(&b""[..], "it is empty"), (b"{\"not\": \"a store\"}", "damaged"), (&[0; 100_000], "damaged")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, content).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(fs::read(&path).unwrap() == content);
        let aside = Store::set_aside(folder.path()).unwrap();
        assert!(aside.file_name().unwrap().to_str().unwrap().starts_with("guanaco.damaged-"), "{}", aside.display());
        assert!(fs::read(aside).unwrap() == content);
        assert!(Store::open(folder.path()).unwrap().chats().unwrap().is_empty());
        fs::write(&path, content).unwrap();
        Store::set_aside(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "the first damaged file is gone");
    }
}

#[test]
fn flipped_and_missing_bytes_are_an_error_or_no_matter_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut tree = Tree::new();
    for i in 0..300 {
        tree.add(tree.leaf(), NewNode::user(format!("message {i}")));
    }
    let store = Store::open(folder.path()).unwrap();
    store.write(&changes(ChatId(1), &mut tree)).unwrap();
    drop(store);
    let good = fs::read(&path).unwrap();
    // What redb says when it gives up would fill the screen. Other tests have hooks, too, and panics that they look at.
    let (others, here) = (std::panic::take_hook(), std::thread::current().id());
    let quiet = Arc::new(AtomicBool::new(true));
    let is_quiet = quiet.clone();
    std::panic::set_hook(Box::new(move |info| {
        if std::thread::current().id() != here || !is_quiet.load(Ordering::Relaxed) {
            others(info);
        }
    }));
    let read = || -> Result<usize, StoreError> {
        let store = Store::open(folder.path())?;
        store.chats()?;
        Ok(store.chat(ChatId(1))?.tree.len())
    };
    let mut refused = 0;
    for i in 0..120_usize {
        let mut bad = good.clone();
        let places = [i, i * 977, i * 7919];
        places.iter().for_each(|place| bad[place % good.len()] ^= 1 << (i % 8));
        if i % 3 == 0 {
            bad.truncate(good.len() * i / 120);
        }
        fs::write(&path, &bad).unwrap();
        refused += usize::from(read().is_err());
    }
    quiet.store(false, Ordering::Relaxed);
    assert!(refused > 30, "{refused} of 120 were refused");
    fs::write(&path, &good).unwrap();
    assert_eq!(read().unwrap(), 300);
}

#[test]
fn the_saver_writes_in_order_and_says_when() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(folder.path()).unwrap());
    let (said, heard) = std::sync::mpsc::channel();
    let saver = Saver::start(store.clone(), move || {
        let _ = said.send(());
    });
    assert_eq!((saver.saved(), saver.save(Vec::new())), (Ticket(0), Ticket(0)));
    assert!(saver.flush(Duration::ZERO));
    let mut last = Ticket(0);
    for i in 0..200 {
        let ticket = saver.save(vec![Change::Setting("n".into(), json!(i)), Change::Setting(format!("{i}"), json!(i))]);
        assert!(ticket > last);
        last = ticket;
    }
    heard.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(saver.saved() > Ticket(0));
    assert!(saver.flush(Duration::from_secs(20)));
    assert_eq!((saver.saved(), saver.problem()), (last, None));
    assert_eq!(store.setting("n"), Some(json!(199)));
    assert!((0..200).all(|i| store.setting(&i.to_string()) == Some(json!(i))));
    saver.save(vec![Change::Setting("n".into(), json!("last"))]);
    drop(saver);
    assert_eq!(store.setting("n"), Some(json!("last")));
    assert_eq!(Arc::strong_count(&store), 1, "the thread is still there");
}
