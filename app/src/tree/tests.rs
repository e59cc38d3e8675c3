use std::collections::BTreeMap;

use guanaco_engine::prompt::Role;

use super::*;

fn texts(tree: &Tree) -> Vec<&str> {
    tree.path().iter().map(|node| node.content.as_str()).collect()
}

/// Whether two trees hold the same, path and all.
fn assert_same(a: &Tree, b: &Tree) {
    assert_eq!(a.slots, b.slots);
    assert_eq!((&a.roots, a.chosen_root, &a.path), (&b.roots, b.chosen_root, &b.path));
}

/// What a store would hold after writing every change, put together again.
#[derive(Default)]
struct Written {
    nodes: BTreeMap<NodeId, Node>,
    chosen: BTreeMap<Option<NodeId>, NodeId>,
    last: u64,
}

impl Written {
    fn write(&mut self, changes: Vec<TreeChange>) {
        for change in changes {
            match change {
                TreeChange::Node(node) => {
                    self.last = self.last.max(node.id.0);
                    self.nodes.insert(node.id, node);
                }
                TreeChange::Removed(id) => {
                    self.nodes.remove(&id);
                    self.chosen.remove(&Some(id));
                }
                TreeChange::Chosen { parent, child } => drop(self.chosen.insert(parent, child)),
            }
        }
    }

    fn tree(&self) -> Tree {
        let chosen = self.chosen.iter().map(|(fork, child)| (*fork, *child));
        Tree::from_parts(self.nodes.values().cloned().collect(), chosen, self.last).unwrap()
    }
}

/// Random, the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick(&mut self, ids: &[NodeId]) -> Option<NodeId> {
        (!ids.is_empty()).then(|| ids[self.roll(ids.len())])
    }
}

/// A tree in the most obvious way: rows, and the chosen child of each fork.
#[derive(Default)]
struct Model {
    rows: Vec<(NodeId, Option<NodeId>, String)>,
    chosen: BTreeMap<Option<NodeId>, NodeId>,
}

impl Model {
    fn children(&self, fork: Option<NodeId>) -> Vec<NodeId> {
        let mut ids: Vec<_> = self.rows.iter().filter(|row| row.1 == fork).map(|row| row.0).collect();
        ids.sort();
        ids
    }

    fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.rows.iter().find(|row| row.0 == id).unwrap().1
    }

    fn choose(&mut self, id: NodeId) {
        let mut at = Some(id);
        while let Some(id) = at {
            at = self.parent(id);
            self.chosen.insert(at, id);
        }
    }

    fn add(&mut self, id: NodeId, parent: Option<NodeId>, text: &str) {
        assert!(self.rows.iter().all(|row| row.0 < id), "an id was given again");
        self.rows.push((id, parent, text.to_owned()));
        self.choose(id);
    }

    fn delete(&mut self, id: NodeId) {
        let fork = self.parent(id);
        let siblings = self.children(fork);
        let place = siblings.iter().position(|sibling| *sibling == id).unwrap();
        let heir = if place > 0 { siblings.get(place - 1) } else { siblings.get(1) };
        if self.chosen.get(&fork) == Some(&id) {
            match heir {
                Some(heir) => self.chosen.insert(fork, *heir),
                None => self.chosen.remove(&fork),
            };
        }
        let mut gone = vec![id];
        while let Some(id) = gone.pop() {
            gone.extend(self.children(Some(id)));
            self.rows.retain(|row| row.0 != id);
            self.chosen.remove(&Some(id));
        }
    }

    fn path(&self) -> Vec<&str> {
        let mut path = Vec::new();
        let mut at = self.chosen.get(&None);
        while let Some(id) = at {
            path.push(self.rows.iter().find(|row| row.0 == *id).unwrap().2.as_str());
            at = self.chosen.get(&Some(*id));
        }
        path
    }
}

#[test]
fn random_operations_agree_with_a_simple_model_and_with_what_is_written() {
    let mut highest = 0;
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let (mut tree, mut model, mut written) = (Tree::new(), Model::default(), Written::default());
        for step in 0..120 {
            let ids: Vec<_> = tree.nodes().map(|node| node.id).collect();
            let some = dice.pick(&ids);
            let text = format!("{seed}.{step}");
            match (dice.roll(10), some) {
                (0..=3, some) => {
                    let parent = if dice.roll(3) == 0 { some } else { tree.leaf() };
                    let id = tree.add(parent, NewNode::user(&text));
                    model.add(id, parent, &text);
                }
                (4, Some(id)) => {
                    let parent = model.parent(id);
                    let new = tree.edit(id, &text).unwrap();
                    model.add(new, parent, &text);
                }
                (5, Some(id)) => {
                    let (place, count) = tree.siblings(id);
                    let siblings = model.children(model.parent(id));
                    assert_eq!((siblings[place], siblings.len()), (id, count));
                    let by = dice.roll(5) as isize - 2;
                    let to = place.checked_add_signed(by).and_then(|to| siblings.get(to)).copied();
                    assert_eq!(tree.swipe(id, by), to);
                    to.iter().for_each(|to| model.choose(*to));
                }
                (6, Some(id)) => {
                    assert!(tree.choose(id));
                    model.choose(id);
                }
                (7, Some(id)) => {
                    assert!(tree.update(id, |node| node.content.push('+')));
                    model.rows.iter_mut().find(|row| row.0 == id).unwrap().2.push('+');
                }
                (8, Some(id)) => {
                    let before = tree.clone();
                    let removed = tree.delete(id).unwrap();
                    if dice.roll(2) == 0 {
                        written.write(tree.take_changes());
                    }
                    assert!(tree.restore(removed.clone()));
                    assert_same(&tree, &before);
                    assert!(!tree.restore(removed), "restored twice");
                }
                (_, Some(id)) => {
                    tree.delete(id).unwrap();
                    model.delete(id);
                }
                (_, None) => {}
            }
            assert_eq!(texts(&tree), model.path());
            assert_eq!(tree.len(), model.rows.len());
            assert!(tree.path_ids().is_sorted());
            assert_eq!(tree.leaf().map_or(vec![], |leaf| tree.path_to(leaf)), tree.path());
            if dice.roll(4) == 0 {
                written.write(tree.take_changes());
                assert_same(&tree, &written.tree());
                assert!(!tree.has_changes());
            }
            highest = highest.max(tree.len());
        }
    }
    assert!(highest > 30, "the trees stayed small: {highest}");
}

#[test]
fn an_edit_keeps_the_old_text_with_its_answers() {
    let mut tree = Tree::new();
    let question = tree.add(None, NewNode::user("What is red?").named("Ann"));
    tree.add(Some(question), NewNode::assistant("A colour."));
    let edited = tree.edit(question, "What is blue?").unwrap();
    assert_eq!(texts(&tree), ["What is blue?"]);
    assert_eq!((tree.siblings(edited), tree.siblings(question)), ((1, 2), (0, 2)));
    assert_eq!(tree.node(edited).unwrap().name.as_deref(), Some("Ann"));
    assert_eq!(tree.swipe(edited, -1), Some(question));
    assert_eq!(texts(&tree), ["What is red?", "A colour."]);
    assert_eq!((tree.swipe(question, -1), tree.swipe(question, 2)), (None, None));
}

#[test]
fn what_is_not_there_changes_nothing() {
    let mut tree = Tree::new();
    tree.add(None, NewNode::user("a"));
    tree.take_changes();
    let none = NodeId(77);
    assert_eq!((tree.edit(none, "b"), tree.swipe(none, 1), tree.siblings(none)), (None, None, (0, 0)));
    assert!(tree.path_to(none).is_empty());
    assert!(!tree.choose(none) && tree.delete(none).is_none() && !tree.update(none, |node| node.content.clear()));
    assert!(!tree.has_changes());
    assert_eq!(tree.add(Some(none), NewNode::user("kept")), NodeId(2));
    assert_eq!(texts(&tree), ["kept"]);
}

#[test]
fn an_answer_to_what_was_deleted_cannot_be_restored() {
    let mut tree = Tree::new();
    let question = tree.add(None, NewNode::user("a"));
    let answer = tree.add(Some(question), NewNode::assistant("b"));
    let small = tree.delete(answer).unwrap();
    let large = tree.delete(question).unwrap();
    assert_eq!(large.nodes().len(), 1);
    assert!(!tree.restore(small.clone()) && tree.is_empty());
    assert!(tree.restore(large) && tree.restore(small));
    assert_eq!(texts(&tree), ["a", "b"]);
    assert_eq!(tree.add(tree.leaf(), NewNode::user("c")), NodeId(3));
}

#[test]
fn search_finds_in_all_branches_whatever_the_case() {
    let mut tree = Tree::new();
    let a = tree.add(None, NewNode::user("Über alle Berge"));
    let b = tree.add(Some(a), NewNode::assistant("日本語のÜBER"));
    let c = tree.edit(b, "nothing").unwrap();
    assert_eq!(tree.search("über"), [a, b]);
    // Below the older branch, though younger than the other.
    let d = tree.add(Some(b), NewNode::user("nothing more"));
    assert_eq!(tree.search("nothing"), [d, c]);
    assert_eq!(tree.search("NOTHING "), [d]);
    assert_eq!(tree.search("本語"), [b]);
    assert!(tree.search("").is_empty() && tree.search("zebra").is_empty());
}

#[test]
fn a_hundred_thousand_deep_is_no_matter() {
    let mut tree = Tree::new();
    let started = std::time::Instant::now();
    for i in 0..100_000 {
        tree.add(tree.leaf(), NewNode { created_ms: 1, ..NewNode::user(format!("{i}")) });
    }
    let first = NodeId(1);
    let other = tree.edit(first, "another beginning").unwrap();
    assert_eq!(tree.path().len(), 1);
    assert!(tree.choose(NodeId(100_000)));
    assert_eq!(tree.path().len(), 100_000);
    assert_eq!(tree.path_to(NodeId(100_000)).len(), 100_000);
    let removed = tree.delete(first).unwrap();
    assert_eq!((removed.nodes().len(), tree.leaf()), (100_000, Some(other)));
    assert!(tree.restore(removed));
    assert_eq!(tree.leaf(), Some(NodeId(100_000)));
    assert_eq!(tree.take_changes().len(), 100_001 + 100_000);
    let copy = tree.clone();
    drop(tree);
    assert_eq!(copy.search("99999").len(), 1);
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}

#[test]
fn messages_that_make_no_tree_are_refused() {
    let node = |id, parent: Option<u64>| Node {
        id: NodeId(id),
        parent: parent.map(NodeId),
        role: Role::User,
        content: String::new(),
        name: None,
        created_ms: 0,
        complete: true,
        reply: None,
        extra: serde_json::Map::new(),
    };
    let tree = |nodes| Tree::from_parts(nodes, [], 0).map(|tree| tree.len());
    assert_eq!(tree(vec![node(2, Some(1)), node(1, None)]), Ok(2));
    assert_eq!(tree(vec![node(1, None), node(1, None)]), Err(TreeError::Twice(NodeId(1))));
    assert_eq!(tree(vec![node(0, None)]), Err(TreeError::Id(NodeId(0))));
    assert_eq!(tree(vec![node(u64::MAX, None)]), Err(TreeError::Id(NodeId(u64::MAX))));
    assert_eq!(tree(vec![node(2, Some(1))]), Err(TreeError::NoParent(NodeId(2), NodeId(1))));
    assert_eq!(tree(vec![node(1, Some(1))]), Err(TreeError::Order(NodeId(1), NodeId(1))));
    assert_eq!(tree(vec![node(1, Some(2)), node(2, Some(1))]), Err(TreeError::Order(NodeId(1), NodeId(2))));
}

#[test]
fn fields_of_others_survive_in_messages_and_replies() {
    let text = r#"{"id":3,"parent":1,"role":"assistant","content":"x","created_ms":5,"complete":false,"colour":[1,{"a":null}],
        "reply":{"model":"m","seed":18446744073709551615,"tok_per_s":2.5,"mirostat":{"tau":5.0}}}"#;
    let node: Node = serde_json::from_str(text).unwrap();
    let reply = node.reply.as_ref().unwrap();
    assert_eq!((reply.seed, reply.tok_per_s, reply.cached), (u64::MAX, Some(2.5), 0));
    let again: serde_json::Value = serde_json::to_value(&node).unwrap();
    assert_eq!((&again["colour"][1]["a"], &again["reply"]["mirostat"]["tau"]), (&serde_json::Value::Null, &5.0.into()));
    assert_eq!(serde_json::from_value::<Node>(again).unwrap(), node);
}
