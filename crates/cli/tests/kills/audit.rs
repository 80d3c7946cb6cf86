//! Holds what is in the three directories against what the devices noted.

use std::collections::{BTreeMap, BTreeSet};

use reconvene::model::Value;
use reconvene::model::change::OpKind;
use reconvene::{LOST_BY_SERVER, LOST_OBJECTS_FROM, Rejected, RejectedOp, Role, Store};

use crate::device;
use crate::processes::Ended;
use crate::workload::{Fact, Item, Note, Receipt, tag};

/// Checks everything, after so many kills of each device at most, and so many restores of the server; tells in a sentence what there
/// was to check.
pub(crate) fn check(ended: &Ended, kills: usize, restores: usize) -> String {
    let server = Store::builder(&ended.server).role(Role::Server).entity::<Item>().entity::<Receipt>();
    let server = server.open().unwrap();
    let stores: Vec<_> = ended.devices.iter().map(|directory| device::open(directory)).collect();
    let hash = server.sync().content_hash().unwrap();
    for store in &stores {
        assert_eq!(store.sync().content_hash().unwrap(), hash, "a device and the server differ");
        assert_eq!(store.sync().undecided().unwrap(), 0);
        assert_eq!(store.check().unwrap(), []);
    }
    assert_eq!(server.check().unwrap(), []);
    let contents = Contents::of(&server);
    for store in &stores {
        assert_eq!(Contents::of(store), contents, "what a device reads is not what the server reads");
    }
    let histories: Vec<_> =
        [0, 1].map(|device| History::of(device, ended, &stores[device], &contents, kills)).into();
    check_items(&contents, &histories);
    check_lost(&server, &histories);
    check_forgotten(&histories, restores);
    let accepted: usize = histories.iter().map(|history| history.accepted.len()).sum();
    assert_eq!(contents.receipts.len(), accepted, "there are receipts of nobody");
    let sum = |of: fn(&History) -> usize| histories.iter().map(of).sum::<usize>();
    format!(
        "{accepted} transactions accepted, {} refused, {} forgotten by {restores} restored servers, {} lost some updates; {} were \
         cut off before they were noted; {} items are left",
        sum(|history| history.refused.len()),
        sum(|history| history.forgotten.len()),
        sum(|history| history.lost.len()),
        sum(|history| history.unnoted),
        contents.items.len(),
    )
}

/// What can be read in a store, by name.
#[derive(Debug, Default, PartialEq)]
struct Contents {
    /// Who wrote it last, and its code.
    items: BTreeMap<String, (String, Option<String>)>,
    /// The facts by the tags of their transactions.
    receipts: BTreeMap<String, Fact>,
}

impl Contents {
    fn of(store: &Store) -> Self {
        let mut contents = Contents::default();
        let mut codes = BTreeSet::new();
        for item in store.boxed::<Item>().unwrap().all().unwrap() {
            let (name, by, code) = (item.name.clone(), item.by.clone(), item.code.clone());
            assert!(code.is_none() || codes.insert(code.clone()), "two items have {code:?}");
            assert_eq!(contents.items.insert(name, (by, code)), None, "{} is there twice", item.name);
        }
        for receipt in store.boxed::<Receipt>().unwrap().all().unwrap() {
            let fact = serde_json::from_str(&receipt.fact).unwrap();
            let former = contents.receipts.insert(receipt.tag.clone(), fact);
            assert_eq!(former, None, "{} is there twice", receipt.tag);
        }
        contents
    }
}

/// What became of every transaction of a device.
struct History {
    device: usize,
    /// By number.
    accepted: BTreeMap<u64, Fact>,
    refused: BTreeMap<u64, Fact>,
    /// How many updates of accepted transactions came back as lost, by tag.
    lost: BTreeMap<String, usize>,
    /// What a restored server has lost after it had accepted it, by number.
    forgotten: BTreeMap<u64, Fact>,
    /// What the device has kept of all that restored servers have lost, its own and others'.
    kept: Vec<RejectedOp>,
    unnoted: usize,
}

impl History {
    /// Checks that every number was decided in exactly one way, and that each noted transaction did what was noted.
    fn of(device: usize, ended: &Ended, store: &Store, contents: &Contents, kills: usize) -> Self {
        let noted = noted(&ended.notes[device]);
        let mut rejected = BTreeMap::new();
        let mut kept = Vec::new();
        for transaction in store.sync().rejected().unwrap() {
            let number = transaction.number;
            if transaction.code == LOST_BY_SERVER {
                kept.extend(transaction.ops.clone());
            }
            if number >= LOST_OBJECTS_FROM {
                assert_eq!(transaction.code, LOST_BY_SERVER);
                continue;
            }
            assert!(rejected.insert(number, transaction).is_none(), "{number} was rejected twice");
        }
        let last = store.sync().login_state().unwrap().last_number;
        let mut history = History {
            device,
            accepted: BTreeMap::new(),
            refused: BTreeMap::new(),
            lost: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            kept,
            unnoted: 0,
        };
        for number in 1..=last {
            let name = tag(device, number);
            let receipt = contents.receipts.get(&name);
            let rejection = rejected.remove(&number);
            let refusal = rejection.as_ref().filter(|rejected| rejected.code != 0);
            let fact = match (receipt, refusal) {
                (Some(fact), None) => {
                    history.accepted.insert(number, fact.clone());
                    fact.clone()
                }
                (None, Some(refusal)) if refusal.code == LOST_BY_SERVER => {
                    let fact = refused_fact(&name, refusal);
                    history.forgotten.insert(number, fact.clone());
                    fact
                }
                (None, Some(refusal)) => {
                    let fact = refused_fact(&name, refusal);
                    history.refused.insert(number, fact.clone());
                    fact
                }
                (Some(_), Some(refusal)) => panic!("{name} was both accepted and refused: {refusal:?}"),
                (None, None) => match kept_fact(&name, &history.kept) {
                    Some(fact) => {
                        history.forgotten.insert(number, fact.clone());
                        fact
                    }
                    None => panic!("{name} has vanished; noted: {:?}", noted.get(&number)),
                },
            };
            match noted.get(&number) {
                Some(noted) => assert_eq!(*noted, fact, "{name} is not what was noted"),
                None => history.unnoted += 1,
            }
            if let Some(rejected) = rejection.filter(|rejected| rejected.code == 0) {
                let update = |op: &RejectedOp| op.entity == "Item" && op.kind == OpKind::Update;
                assert!(rejected.ops.iter().all(update), "only updates can be lost: {rejected:?}");
                history.lost.insert(name, rejected.ops.len());
            }
        }
        assert!(rejected.is_empty(), "rejected, and never committed: {rejected:?}");
        assert!(noted.keys().all(|number| *number <= last), "noted commits of {device} are gone");
        assert!(history.unnoted <= kills, "{} commits were not noted after {kills} kills", history.unnoted);
        history
    }
}

/// What a device noted, by number.
fn noted(notes: &[Note]) -> BTreeMap<u64, Fact> {
    let mut noted = BTreeMap::new();
    let mut last = 0;
    for note in notes {
        if let Note::Committed(fact) = note {
            assert!(last < fact.number, "{} was given after {last}", fact.number);
            last = fact.number;
            noted.insert(last, fact.clone());
        }
    }
    noted
}

/// The fact of a refused transaction, whose receipt must have come back with everything else that it wrote.
fn refused_fact(name: &str, refusal: &Rejected) -> Fact {
    let mut fact = None;
    let (mut inserted, mut others) = (BTreeSet::new(), 0);
    for op in &refusal.ops {
        match (op.entity.as_str(), op.kind) {
            ("Receipt", OpKind::Insert) => {
                assert_eq!(text(&op.values, "tag"), name);
                fact = Some(serde_json::from_str::<Fact>(text(&op.values, "fact")).unwrap());
            }
            ("Item", OpKind::Insert) => assert!(inserted.insert(text(&op.values, "name").to_owned())),
            ("Item", OpKind::Update) => {
                assert_eq!(text(&op.values, "by"), name);
                others += 1;
            }
            ("Item", OpKind::Remove) => others += 1,
            _ => panic!("{name} never did {op:?}"),
        }
    }
    let fact = fact.unwrap_or_else(|| panic!("{name} came back without its receipt: {refusal:?}"));
    assert_eq!(inserted, fact.inserted.iter().cloned().collect(), "{name} came back with other inserts");
    assert_eq!(others, fact.updated.len() + fact.removed.len(), "{name} did not come back whole");
    fact
}

/// The fact of a transaction whose receipt the device kept when a restored server had lost it.
fn kept_fact(name: &str, kept: &[RejectedOp]) -> Option<Fact> {
    let mut receipts = kept.iter().filter(|op| op.entity == "Receipt" && op.kind == OpKind::Insert);
    let receipt = receipts.find(|op| text(&op.values, "tag") == name)?;
    Some(serde_json::from_str(text(&receipt.values, "fact")).unwrap())
}

/// Checks that every item that a restored server has lost is kept by the device that had made it, unless it had been removed before.
fn check_forgotten(histories: &[History], restores: usize) {
    let forgotten = || histories.iter().flat_map(|history| history.forgotten.values());
    assert!(
        restores > 0 || forgotten().next().is_none(),
        "a server that was not restored has lost something"
    );
    // A remove may have been accepted by the server that was lost, and then, for its author had not heard that, refused by the
    // restored one, which no longer had the item.
    let facts =
        histories.iter().flat_map(|history| history.accepted.values().chain(history.refused.values()));
    let removed: BTreeSet<_> = facts.chain(forgotten()).flat_map(|fact| &fact.removed).collect();
    for history in histories {
        let kept = |name: &str| {
            let mut items = history.kept.iter().filter(|op| op.entity == "Item" && op.kind == OpKind::Insert);
            items.any(|op| text(&op.values, "name") == name)
        };
        for name in history.forgotten.values().flat_map(|fact| &fact.inserted) {
            assert!(removed.contains(name) || kept(name), "{name} was lost by a server, and is not kept");
        }
    }
}

fn text<'a>(values: &'a [(String, Value)], name: &str) -> &'a str {
    match values.iter().find(|(property, _)| property == name) {
        Some((_, Value::String(text))) => text,
        other => panic!("{name} came back as {other:?}"),
    }
}

/// Checks that the items are those that were inserted and not removed, and that each was written last by a transaction which
/// was the last one of its device to write it.
fn check_items(contents: &Contents, histories: &[History]) {
    let mut alive = BTreeSet::new();
    let mut writers: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for history in histories {
        let mut last = BTreeMap::new();
        for (number, fact) in &history.accepted {
            for name in &fact.inserted {
                assert!(alive.insert(name.as_str()), "{name} was inserted twice");
            }
            last.extend(fact.inserted.iter().chain(&fact.updated).map(|name| (name.as_str(), *number)));
        }
        for (name, number) in last {
            writers.entry(name).or_default().insert(tag(history.device, number));
        }
    }
    for fact in histories.iter().flat_map(|history| history.accepted.values()) {
        for name in &fact.removed {
            alive.remove(name.as_str());
        }
    }
    let found: BTreeSet<&str> = contents.items.keys().map(String::as_str).collect();
    assert_eq!(found, alive, "the items are not those that were inserted and not removed");
    for (name, (by, _)) in &contents.items {
        assert!(
            writers[name.as_str()].contains(by),
            "{name} was written by {by}, expected {:?}",
            writers[name.as_str()]
        );
    }
}

/// Checks that exactly those updates came back as lost which the server met after the remove of their item.
fn check_lost(server: &Store, histories: &[History]) {
    let mut receipts = server.boxed::<Receipt>().unwrap().all().unwrap();
    // The server gives its own ids in the order in which it accepts.
    receipts.sort_by_key(|receipt| receipt.id);
    let mut removed = BTreeSet::new();
    for receipt in receipts {
        let fact: Fact = serde_json::from_str(&receipt.fact).unwrap();
        let expected = fact.updated.iter().filter(|name| removed.contains(*name)).count();
        let lost = histories.iter().find_map(|history| history.lost.get(&receipt.tag)).copied().unwrap_or(0);
        assert_eq!(lost, expected, "{} did not get back what it lost", receipt.tag);
        removed.extend(fact.removed);
    }
}
