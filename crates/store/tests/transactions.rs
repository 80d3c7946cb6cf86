//! Transactions: whole or not at all, one writer at a time, readers that see one moment; and random histories against a map.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod support;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use proptest::collection::vec;
use proptest::prelude::*;
use reconvene_store::{Entity, EntityBox, Store, StoreError, ToOne, WriteTxn};
use support::{builder, on_both, outbox};

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(sync, crate = "reconvene_store")]
struct Item {
    id: u64,
    #[unique]
    code: Option<u8>,
    #[index]
    name: String,
    amount: i64,
    next: ToOne<Item>,
}

#[derive(Entity, Clone, Debug, Default, PartialEq)]
#[entity(crate = "reconvene_store")]
struct Note {
    id: u64,
    #[index]
    text: Option<String>,
    #[unique]
    number: u32,
}

fn open(directory: &Path) -> Store {
    builder(directory).entity::<Item>().entity::<Note>().open().unwrap()
}

fn boxes(store: &Store) -> (EntityBox<Item>, EntityBox<Note>) {
    (store.boxed().unwrap(), store.boxed().unwrap())
}

fn item(code: u8) -> Item {
    Item { code: Some(code), ..Item::default() }
}

/// Writes to everything that a transaction keeps.
fn write_a_lot(tx: &mut WriteTxn<'_>) -> Result<(), StoreError> {
    tx.put(&mut item(7))?;
    tx.put_many(&mut [Note { number: 70, ..Note::default() }, Note { number: 71, ..Note::default() }])?;
    tx.update(1, |item: &mut Item| item.code = Some(8))?;
    tx.remove::<Note>(1)?;
    Ok(())
}

#[test]
fn an_error_and_a_panic_undo_everything() {
    on_both(|directory| {
        let store = open(directory);
        let (items, notes) = boxes(&store);
        items.put(&mut item(1)).unwrap();
        notes.put(&mut Note { number: 1, ..Note::default() }).unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let (counter, outbox_counter) = (told.clone(), told.clone());
        let _subscription = store.observe(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let _listener = store.sync().on_outbox(move || {
            outbox_counter.fetch_add(1, Ordering::Relaxed);
        });
        let state = || {
            let login = store.sync().login_state().unwrap();
            (
                items.all().unwrap(),
                notes.all().unwrap(),
                outbox(&store),
                login,
                store.sync().content_hash().unwrap(),
            )
        };
        let before = state();
        for panics in [false, true] {
            let undone = catch_unwind(AssertUnwindSafe(|| {
                store.write(|tx| {
                    write_a_lot(tx)?;
                    if panics {
                        panic!("in the closure")
                    } else {
                        Err::<(), _>(StoreError::application("no"))
                    }
                })
            }));
            match undone {
                Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"in the closure")),
                Ok(result) => assert_eq!(result.unwrap_err().to_string(), "no"),
            }
            assert_eq!(state(), before);
            assert_eq!(told.load(Ordering::Relaxed), 0);
        }
        // The writer is usable, and indexes and numbers go on as if nothing had been; ids leave a gap.
        store.write(write_a_lot).unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 2);
        let all = items.all().unwrap();
        assert_eq!(
            all.iter().map(|item| (item.id, item.code.unwrap())).collect::<Vec<_>>(),
            [(1, 8), (4, 7)]
        );
        assert_eq!(notes.all().unwrap().iter().map(|note| note.id).collect::<Vec<_>>(), [6, 7]);
        assert!(items.put(&mut item(7)).is_err() && items.put(&mut item(1)).is_ok());
        let numbers: Vec<_> = outbox(&store).iter().map(|(head, _)| head.number).collect();
        assert_eq!(numbers, [1, 2, 3]);
    });
}

#[test]
fn a_write_within_a_write_is_refused_and_the_outer_one_goes_on() {
    on_both(|directory| {
        let store = open(directory);
        let (items, _) = boxes(&store);
        let id = store
            .write(|tx| {
                let id = tx.put(&mut item(1))?;
                let mut other = item(2);
                assert!(matches!(store.write(|_| Ok(())), Err(StoreError::NestedWrite)));
                assert!(matches!(items.put(&mut other), Err(StoreError::NestedWrite)));
                assert!(matches!(items.put_many(&mut [item(3)]), Err(StoreError::NestedWrite)));
                assert!(matches!(items.update(id, |_| ()), Err(StoreError::NestedWrite)));
                assert!(matches!(items.remove(id), Err(StoreError::NestedWrite)));
                assert!(matches!(items.remove_many(&[id]), Err(StoreError::NestedWrite)));
                assert!(matches!(items.remove_all(), Err(StoreError::NestedWrite)));
                assert_eq!(items.count()?, 0, "reads beside the transaction see what was before");
                assert_eq!(tx.count::<Item>()?, 1);
                // Another store is another matter.
                let elsewhere = Store::builder("memory:").entity::<Note>().open()?;
                elsewhere.boxed::<Note>()?.put(&mut Note::default())?;
                Ok(id)
            })
            .unwrap();
        assert_eq!(items.all().unwrap().len(), 1);
        assert!(items.remove(id).unwrap());
        // A panic does not leave the mark of a write behind either.
        catch_unwind(AssertUnwindSafe(|| {
            store.write(|_| -> Result<(), StoreError> { panic!("in the closure") })
        }))
        .ok();
        items.put(&mut item(1)).unwrap();
    });
}

#[test]
fn a_write_may_begin_within_a_read() {
    on_both(|directory| {
        let store = open(directory);
        let (items, _) = boxes(&store);
        store
            .read(|tx| {
                items.put(&mut item(1))?;
                items.update(1, |item| item.amount = 5)?;
                assert_eq!((tx.count::<Item>()?, items.count()?), (0, 1));
                assert!(tx.get::<Item>(1)?.is_none());
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn a_reader_sees_one_moment_while_writers_commit() {
    on_both(|directory| {
        let store = open(directory);
        let (items, _) = boxes(&store);
        items.put_many(&mut (0..8).map(item).collect::<Vec<_>>()).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let mut reads = 0;
                        while !done.load(Ordering::Acquire) || reads == 0 {
                            store
                                .read(|tx| {
                                    let first: Vec<i64> =
                                        tx.all::<Item>()?.iter().map(|item| item.amount).collect();
                                    assert!(first.windows(2).all(|pair| pair[0] == pair[1]), "{first:?}");
                                    std::thread::yield_now();
                                    let again = tx.all::<Item>()?;
                                    assert!(again.iter().map(|item| item.amount).eq(first));
                                    Ok(())
                                })
                                .unwrap();
                            reads += 1;
                        }
                    })
                })
                .collect();
            for amount in 1..=100 {
                store
                    .write(|tx| {
                        (1..=8).try_for_each(|id| tx.update(id, |item: &mut Item| item.amount = amount))
                    })
                    .unwrap();
            }
            done.store(true, Ordering::Release);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    });
}

#[test]
fn writers_of_many_threads_take_turns() {
    on_both(|directory| {
        let store = open(directory);
        let (items, notes) = boxes(&store);
        let counter = items.put(&mut item(1)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let (items, notes, store) = (&items, &notes, &store);
                scope.spawn(move || {
                    for step in 0..25 {
                        items.update(counter, |item| item.amount += 1).unwrap();
                        let number = thread * 100 + step;
                        items.put(&mut Item::default()).unwrap();
                        notes.put(&mut Note { number, ..Note::default() }).unwrap();
                        let taken = notes.put(&mut Note { number, ..Note::default() });
                        assert!(matches!(taken, Err(StoreError::UniqueViolation { .. })));
                        store.write(|tx| tx.update(counter, |item: &mut Item| item.amount += 1)).unwrap();
                    }
                });
            }
        });
        assert_eq!(items.get(counter).unwrap().unwrap().amount, 400);
        let all = notes.all().unwrap();
        assert_eq!(all.len(), 200);
        let txs = outbox(&store);
        // Updates that follow on each other say the same again and are one; inserts are always transactions of their own.
        assert!((201..=601).contains(&txs.len()), "{}", txs.len());
        assert!(
            txs.windows(2).all(|txs| txs[0].0.hlc < txs[1].0.hlc && txs[1].0.previous != txs[0].0.previous)
        );
    });
}

#[test]
fn a_slow_writer_holds_up_writers_and_no_readers() {
    on_both(|directory| {
        let store = open(directory);
        let (items, _) = boxes(&store);
        let (begun, wait_begun) = mpsc::channel();
        let (go_on, wait_go_on) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let (items, store, begun, wait_go_on) = (&items, &store, begun, wait_go_on);
            scope.spawn(move || {
                store
                    .write(|tx| {
                        tx.put(&mut item(1))?;
                        begun.send(()).unwrap();
                        wait_go_on.recv().unwrap();
                        tx.put(&mut item(2))
                    })
                    .unwrap();
            });
            wait_begun.recv().unwrap();
            assert_eq!(items.count().unwrap(), 0);
            let second = scope.spawn(|| items.put(&mut item(3)).unwrap());
            go_on.send(()).unwrap();
            assert_eq!(second.join().unwrap(), 3);
        });
        assert_eq!(items.count().unwrap(), 3);
    });
}

#[test]
fn a_large_transaction_is_one_and_aborts_as_one() {
    on_both(|directory| {
        let store = open(directory);
        let (items, notes) = boxes(&store);
        let mut many: Vec<Note> = (0..20_000)
            .rev()
            .map(|number| Note { number, text: Some(format!("{number:08x}")), id: 0 })
            .collect();
        notes.put_many(&mut many).unwrap();
        assert_eq!(notes.count().unwrap(), 20_000);
        let mut more: Vec<Note> = (20_000..40_000).map(|number| Note { number, ..Note::default() }).collect();
        more.push(Note { number: 5, ..Note::default() });
        let error = notes.put_many(&mut more).unwrap_err();
        assert!(matches!(error, StoreError::UniqueViolation { other: 19_995, .. }), "{error}");
        assert_eq!(notes.count().unwrap(), 20_000);
        assert!(more.iter().all(|note| note.id == 0));
        assert_eq!(notes.remove_all().unwrap(), 20_000);
        notes.put_many(&mut more[..100]).unwrap();
        assert!(notes.all().unwrap()[0].id > 20_000);
        let mut large = vec![Item { name: "x".repeat(1 << 20), ..Item::default() }; 17];
        let error = items.put_many(&mut large).unwrap_err();
        assert!(matches!(error, StoreError::TransactionTooLarge { .. }), "{error}");
        assert_eq!((items.count().unwrap(), outbox(&store).len()), (0, 0));
        items.put_many(&mut large[..2]).unwrap();
    });
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Put(Draft),
    Change(u64, Draft),
    Update(u64, i64),
    Remove(u64),
    RemoveAll,
    /// Ends the transaction: commit, error, or panic.
    End(End),
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Commit,
    Error,
    Panic,
}

#[derive(Clone, Debug)]
struct Draft {
    code: Option<u8>,
    name: String,
    amount: i64,
    next: u64,
}

fn draft() -> impl Strategy<Value = Draft> {
    let name = prop_oneof!["[ab]{0,3}", Just("long".repeat(300))];
    (proptest::option::of(0..6_u8), name, any::<i64>(), 0..6_u64)
        .prop_map(|(code, name, amount, next)| Draft { code, name, amount, next })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => draft().prop_map(Step::Put),
        3 => (1..8_u64, draft()).prop_map(|(id, draft)| Step::Change(id, draft)),
        3 => (1..8_u64, any::<i64>()).prop_map(|(id, amount)| Step::Update(id, amount)),
        3 => (1..8_u64).prop_map(Step::Remove),
        1 => Just(Step::RemoveAll),
        5 => prop_oneof![4 => Just(End::Commit), 1 => Just(End::Error), 1 => Just(End::Panic)].prop_map(Step::End),
        1 => Just(Step::Reopen),
    ]
}

/// What a store is to hold: objects by id, the largest id that was handed out, and the largest that is stored.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    items: BTreeMap<u64, Item>,
    last: u64,
    stored_last: u64,
}

impl Model {
    fn has_other(&self, id: u64, code: Option<u8>) -> bool {
        code.is_some() && self.items.values().any(|item| item.id != id && item.code == code)
    }

    /// Does a step to both, and compares the answers.
    fn step(&mut self, tx: &mut WriteTxn<'_>, step: &Step) {
        match step {
            Step::Put(draft) => {
                let mut item = draft.item(0);
                let id = self.last + 1;
                let result = tx.put(&mut item);
                // An id counts as handed out within the put that asked for it, even if something refuses it then.
                self.last = id;
                if draft.next > id {
                    assert!(matches!(result, Err(StoreError::LinkToUnassigned { .. })), "{result:?}");
                } else if self.has_other(id, draft.code) {
                    assert!(matches!(result, Err(StoreError::UniqueViolation { .. })), "{result:?}");
                } else {
                    assert_eq!((result.unwrap(), item.id), (id, id));
                    self.items.insert(id, item);
                }
            }
            Step::Change(id, draft) => {
                let result = tx.put(&mut draft.item(*id));
                if !self.items.contains_key(id) {
                    assert!(matches!(result, Err(StoreError::NotFound { .. })), "{result:?}");
                } else if draft.next > self.last {
                    assert!(matches!(result, Err(StoreError::LinkToUnassigned { .. })), "{result:?}");
                } else if self.has_other(*id, draft.code) {
                    assert!(matches!(result, Err(StoreError::UniqueViolation { .. })), "{result:?}");
                } else {
                    self.items.insert(result.unwrap(), draft.item(*id));
                }
            }
            Step::Update(id, amount) => {
                let result = tx.update(*id, |item: &mut Item| item.amount = *amount);
                match self.items.get_mut(id) {
                    Some(item) => item.amount = *amount,
                    None => assert!(matches!(result, Err(StoreError::NotFound { .. })), "{result:?}"),
                }
            }
            Step::Remove(id) => {
                assert_eq!(tx.remove::<Item>(*id).unwrap(), self.items.remove(id).is_some());
            }
            Step::RemoveAll => {
                assert_eq!(tx.remove_all::<Item>().unwrap(), self.items.len() as u64);
                self.items.clear();
            }
            Step::End(_) | Step::Reopen => unreachable!("ends are not steps of a transaction"),
        }
        assert_eq!(tx.count::<Item>().unwrap(), self.items.len() as u64);
    }

    fn check(&mut self, store: &Store) {
        let items = store.boxed::<Item>().unwrap();
        let all = items.all().unwrap();
        assert!(all.iter().map(|item| &**item).eq(self.items.values()), "{all:?} instead of {self:?}");
        assert_eq!(items.count().unwrap(), self.items.len() as u64);
        for id in 0..10 {
            assert_eq!(items.get(id).unwrap().as_deref(), self.items.get(&id));
        }
        // Through the index: a value is refused exactly if an object has it.
        for code in 0..6 {
            let probe = store.write(|tx| {
                let taken = matches!(tx.put(&mut item(code)), Err(StoreError::UniqueViolation { .. }));
                Err::<(), _>(StoreError::application(if taken { "taken" } else { "free" }))
            });
            let expected = if self.has_other(0, Some(code)) { "taken" } else { "free" };
            assert_eq!(probe.unwrap_err().to_string(), expected, "code {code}");
            // The probe was undone, but its id is not given to another object.
            self.last += 1;
        }
    }
}

impl Draft {
    fn item(&self, id: u64) -> Item {
        let (code, name) = (self.code, self.name.clone());
        Item { id, code, name, amount: self.amount, next: ToOne::new(self.next) }
    }
}

fn run_history(directory: &Path, steps: &[Step]) {
    let mut store = open(directory);
    let mut committed = Model::default();
    let mut at = 0;
    while at < steps.len() {
        if matches!(steps[at], Step::Reopen) {
            at += 1;
            if !directory.starts_with("memory:") && store.directory().is_some() {
                drop(store);
                store = open(directory);
                committed.last = committed.stored_last;
                committed.check(&store);
            }
            continue;
        }
        let ends = |step: &Step| matches!(step, Step::End(_) | Step::Reopen);
        let len = steps[at..].iter().position(ends).unwrap_or(steps.len() - at);
        let end = match steps.get(at + len) {
            Some(Step::End(end)) => *end,
            _ => End::Commit,
        };
        let mut model = committed.clone();
        let result = catch_unwind(AssertUnwindSafe(|| {
            store.write(|tx| {
                steps[at..at + len].iter().for_each(|step| model.step(tx, step));
                match end {
                    End::Commit => Ok(()),
                    End::Error => Err(StoreError::application("undone")),
                    End::Panic => std::panic::resume_unwind(Box::new("undone")),
                }
            })
        }));
        match (end, result) {
            (End::Commit, Ok(Ok(()))) => {
                if model.last > committed.last {
                    model.stored_last = model.last;
                }
                committed = model;
            }
            (End::Error, Ok(Err(StoreError::Application(_)))) => committed.last = model.last,
            (End::Panic, Err(panic)) if panic.is::<&str>() => committed.last = model.last,
            (_, Err(panic)) => std::panic::resume_unwind(panic),
            (end, Ok(result)) => panic!("{end:?} ended with {result:?}"),
        }
        committed.check(&store);
        at += len + usize::from(matches!(steps.get(at + len), Some(Step::End(_))));
    }
    let hash = store.sync().content_hash().unwrap();
    if store.directory().is_some() {
        drop(store);
        let store = open(directory);
        committed.last = committed.stored_last;
        committed.check(&store);
        assert_eq!(store.sync().content_hash().unwrap(), hash);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_histories_end_as_a_map_says_in_memory(steps in vec(step(), 1..80)) {
        run_history(Path::new("memory:"), &steps);
    }

    #[test]
    fn random_histories_end_as_a_map_says_on_disk(steps in vec(step(), 1..80)) {
        let directory = tempfile::tempdir().unwrap();
        run_history(directory.path(), &steps);
    }
}

#[test]
fn an_id_of_an_undone_put_leads_to_no_other_object() {
    let store = Store::builder("memory:").entity::<Item>().open().unwrap();
    let mut undone = Item { name: "undone".into(), ..Item::default() };
    let result = store.write(|tx| {
        tx.put(&mut undone)?;
        Err::<(), _>(StoreError::application("undone"))
    });
    assert!(result.is_err() && undone.id != 0);
    let items = store.boxed::<Item>().unwrap();
    let other = items.put(&mut Item { name: "other".into(), ..Item::default() }).unwrap();
    assert_ne!(other, undone.id);
    assert!(matches!(items.put(&mut undone), Err(StoreError::NotFound { .. })));
    assert_eq!(items.get(other).unwrap().unwrap().name, "other");
}
