//! One suite for both forms of the seam: what holds for LMDB holds in memory.

use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use super::*;

/// Runs a check on an empty engine of each form.
fn both(check: impl Fn(&Engine)) {
    check(&Engine::memory());
    let (_directory, engine) = on_disk();
    check(&engine);
}

pub(super) fn on_disk() -> (TempDir, Engine) {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::open_lmdb(directory.path(), EngineOptions::default()).unwrap();
    (directory, engine)
}

pub(super) fn collect(entries: Result<Entries<'_>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    entries.unwrap().map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap()).collect()
}

pub(super) fn keys(entries: Result<Entries<'_>>) -> Vec<String> {
    collect(entries).into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect()
}

pub(super) fn fill(engine: &Engine, table: TableId, keys: &[&str]) {
    let mut tx = engine.write().unwrap();
    for key in keys {
        tx.put(table, key.as_bytes(), key.to_uppercase().as_bytes()).unwrap();
    }
    tx.commit().unwrap();
}

#[test]
fn entries_come_in_key_order_both_ways() {
    both(|engine| {
        let table = engine.table("words").unwrap();
        fill(engine, table, &["b", "abc", "a", "zz", "ab", "z"]);
        let tx = engine.read().unwrap();
        let ascending = ["a", "ab", "abc", "b", "z", "zz"];
        assert_eq!(keys(tx.range(table, KeyRange::all(), Direction::Forward)), ascending);
        let mut descending = keys(tx.range(table, KeyRange::all(), Direction::Backward));
        descending.reverse();
        assert_eq!(descending, ascending);
        assert_eq!(tx.get(table, b"abc").unwrap(), Some(&b"ABC"[..]));
        assert_eq!(tx.get(table, b"abcd").unwrap(), None);
        assert_eq!(tx.first(table).unwrap(), Some((&b"a"[..], &b"A"[..])));
        assert_eq!(tx.last(table).unwrap(), Some((&b"zz"[..], &b"ZZ"[..])));
        assert_eq!(tx.first_from(table, b"abd").unwrap().unwrap().0, b"b");
        assert_eq!(tx.first_from(table, b"zzz").unwrap(), None);
        assert_eq!(tx.last_below(table, b"abc").unwrap().unwrap().0, b"ab");
        assert_eq!(tx.last_below(table, b"a").unwrap(), None);
        assert_eq!(tx.count(table).unwrap(), 6);
    });
}

#[test]
fn prefixes_and_ranges_end_where_they_should() {
    both(|engine| {
        let table = engine.table("words").unwrap();
        fill(engine, table, &["a", "ab", "abc", "abd", "ac", "b", "\u{7f}"]);
        let tx = engine.read().unwrap();
        let forward = |range| keys(tx.range(table, range, Direction::Forward));
        let backward = |range| keys(tx.range(table, range, Direction::Backward));
        assert_eq!(keys(tx.prefix(table, b"ab", Direction::Forward)), ["ab", "abc", "abd"]);
        assert_eq!(keys(tx.prefix(table, b"ab", Direction::Backward)), ["abd", "abc", "ab"]);
        assert_eq!(keys(tx.prefix(table, b"x", Direction::Backward)), [""; 0]);
        assert_eq!(keys(tx.prefix(table, b"", Direction::Forward)).len(), 7);
        assert_eq!(forward(KeyRange::between(b"ab", b"ac")), ["ab", "abc", "abd"]);
        assert_eq!(backward(KeyRange::between(b"ab", b"ac")), ["abd", "abc", "ab"]);
        let open = KeyRange { start: Bound::Excluded(b"ab"), end: Bound::Included(b"ac") };
        assert_eq!(forward(open), ["abc", "abd", "ac"]);
        assert_eq!(backward(open), ["ac", "abd", "abc"]);
        assert_eq!(forward(KeyRange::between(b"b", b"a")), [""; 0]);
        assert_eq!(forward(KeyRange::below(b"aa")), ["a"]);
        let everything = (Bound::Unbounded, Bound::Unbounded);
        assert_eq!(keys(tx.range(table, everything, Direction::Forward)).len(), 7);
        assert_eq!(backward(KeyRange::from(b"b")), ["\u{7f}", "b"]);
        // Longer than any key may be, and still a place in the order.
        let long = vec![b'a'; KEY_BYTES_MAX + 1];
        assert_eq!(forward(KeyRange::below(&long)), ["a"]);
        assert_eq!(tx.get(table, &long).unwrap(), None);
        let mut entries = tx.prefix(table, b"b", Direction::Forward).unwrap();
        assert!(entries.next().is_some());
        assert!(
            entries.next().is_none() && entries.next().is_none(),
            "an ended iteration must not come back"
        );
    });
}

#[test]
fn a_snapshot_stays_what_it_was_while_a_writer_runs() {
    both(|engine| {
        let table = engine.table("pairs").unwrap();
        let write = |number: u64| {
            let mut tx = engine.write().unwrap();
            for half in 0..50_u64 {
                tx.put(table, &half.to_be_bytes(), &number.to_be_bytes()).unwrap();
            }
            tx.commit().unwrap();
        };
        write(0);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut seen = 0;
                    while !done.load(Ordering::SeqCst) {
                        let tx = engine.read().unwrap();
                        for _ in 0..2 {
                            let values = collect(tx.range(table, KeyRange::all(), Direction::Forward));
                            assert_eq!(values.len(), 50);
                            assert!(
                                values.iter().all(|(_, value)| *value == values[0].1),
                                "half a transaction shows"
                            );
                            let number = u64::from_be_bytes(values[0].1[..].try_into().unwrap());
                            assert!(number >= seen, "the past came back");
                            seen = number;
                        }
                    }
                });
            }
            let old = engine.read().unwrap();
            for number in 1..100 {
                write(number);
            }
            assert_eq!(old.get(table, &3_u64.to_be_bytes()).unwrap(), Some(&0_u64.to_be_bytes()[..]));
            done.store(true, Ordering::SeqCst);
        });
        let tx = engine.read().unwrap();
        assert_eq!(tx.get(table, &3_u64.to_be_bytes()).unwrap(), Some(&99_u64.to_be_bytes()[..]));
    });
}

#[test]
fn writers_take_turns() {
    both(|engine| {
        let table = engine.table("counter").unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        let mut tx = engine.write().unwrap();
                        let old = tx
                            .get(table, b"n")
                            .unwrap()
                            .map_or(0, |n| u32::from_be_bytes(n.try_into().unwrap()));
                        tx.put(table, b"n", &(old + 1).to_be_bytes()).unwrap();
                        tx.commit().unwrap();
                    }
                });
            }
        });
        assert_eq!(engine.read().unwrap().get(table, b"n").unwrap(), Some(&100_u32.to_be_bytes()[..]));
    });
}

#[test]
fn a_dropped_transaction_leaves_nothing() {
    both(|engine| {
        let table = engine.table("words").unwrap();
        fill(engine, table, &["a", "b"]);
        let mut tx = engine.write().unwrap();
        tx.put(table, b"a", b"changed").unwrap();
        tx.put(table, b"c", b"new").unwrap();
        assert!(tx.delete(table, b"b").unwrap());
        assert_eq!(keys(tx.range(table, KeyRange::all(), Direction::Forward)), ["a", "c"]);
        tx.clear_table(table).unwrap();
        assert_eq!(tx.count(table).unwrap(), 0);
        let fresh = tx.create_table("fresh").unwrap();
        tx.put(fresh, b"x", b"y").unwrap();
        assert_eq!(tx.get(fresh, b"x").unwrap(), Some(&b"y"[..]));
        drop(tx);
        let tx = engine.read().unwrap();
        let left = collect(tx.range(table, KeyRange::all(), Direction::Forward));
        assert_eq!(left, [(b"a".to_vec(), b"A".to_vec()), (b"b".to_vec(), b"B".to_vec())]);
        assert!(matches!(tx.get(fresh, b"x"), Err(SeamError::UnknownTable)));
        drop(tx);
        assert_eq!(engine.table_if_exists("fresh").unwrap(), None);
    });
}

#[test]
fn a_handle_of_an_aborted_table_never_reaches_its_successor() {
    both(|engine| {
        let mut tx = engine.write().unwrap();
        let stale = tx.create_table("first").unwrap();
        drop(tx);
        let table = engine.table("second").unwrap();
        fill(engine, table, &["a"]);
        let mut tx = engine.write().unwrap();
        assert!(matches!(tx.get(stale, b"a"), Err(SeamError::UnknownTable)));
        assert!(matches!(tx.put(stale, b"a", b"x"), Err(SeamError::UnknownTable)));
        assert!(matches!(tx.clear_table(stale), Err(SeamError::UnknownTable)));
        assert!(matches!(tx.delete_range(stale, KeyRange::below(b"")), Err(SeamError::UnknownTable)));
        assert!(matches!(
            tx.range(stale, KeyRange::below(b""), Direction::Forward),
            Err(SeamError::UnknownTable)
        ));
        // The refusals left the transaction whole.
        tx.put(table, b"b", b"B").unwrap();
        tx.commit().unwrap();
        assert_eq!(engine.read().unwrap().count(table).unwrap(), 2);
    });
}

#[test]
fn a_handle_of_another_engine_is_refused() {
    both(|engine| {
        let other = Engine::memory().table("theirs").unwrap();
        let (_directory, disk) = on_disk();
        let another = disk.table("theirs").unwrap();
        engine.table("ours").unwrap();
        let tx = engine.read().unwrap();
        for foreign in [other, another] {
            assert!(matches!(tx.count(foreign), Err(SeamError::UnknownTable)));
        }
    });
}

#[test]
fn a_table_younger_than_the_snapshot_is_unknown_to_it() {
    both(|engine| {
        let old = engine.table("old").unwrap();
        let tx = engine.read().unwrap();
        let young = engine.table("young").unwrap();
        fill(engine, young, &["a"]);
        assert!(matches!(tx.get(young, b"a"), Err(SeamError::UnknownTable)));
        assert!(matches!(tx.count(young), Err(SeamError::UnknownTable)));
        assert!(matches!(tx.prefix(young, b"a", Direction::Forward), Err(SeamError::UnknownTable)));
        assert!(matches!(tx.first(young), Err(SeamError::UnknownTable)));
        assert_eq!(tx.get(old, b"a").unwrap(), None);
        assert_eq!(engine.read().unwrap().count(young).unwrap(), 1);
    });
}

#[test]
fn tables_are_found_by_name_and_hold_apart() {
    both(|engine| {
        let names: Vec<String> = (0..100).map(|number| format!("table {number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let tables = engine.tables(&names).unwrap();
        assert_eq!(engine.tables(&names).unwrap(), tables);
        let mut tx = engine.write().unwrap();
        for (name, table) in names.iter().zip(&tables) {
            tx.put(*table, b"name", name.as_bytes()).unwrap();
            assert_eq!(tx.table_if_exists(name).unwrap(), Some(*table));
        }
        assert_eq!(tx.create_tables(&["new", "table 7", "new"]).unwrap()[1], tables[7]);
        tx.commit().unwrap();
        let tx = engine.read().unwrap();
        for (name, table) in names.iter().zip(&tables) {
            assert_eq!(tx.get(*table, b"name").unwrap(), Some(name.as_bytes()));
            assert_eq!(tx.count(*table).unwrap(), 1);
        }
        drop(tx);
        engine.drop_table(tables[5]).unwrap();
        assert_eq!(engine.table_if_exists(names[5]).unwrap(), None);
        assert!(matches!(engine.drop_table(tables[5]), Err(SeamError::UnknownTable)));
        let again = engine.table(names[5]).unwrap();
        assert_ne!(again, tables[5]);
        assert_eq!(engine.read().unwrap().count(again).unwrap(), 0);
        assert!(matches!(engine.read().unwrap().count(tables[5]), Err(SeamError::UnknownTable)));
    });
}

#[test]
fn names_keys_and_values_out_of_bounds_are_refused() {
    both(|engine| {
        let long = "x".repeat(KEY_BYTES_MAX + 1);
        for name in ["", "a\0b", &long] {
            assert!(matches!(engine.table(name), Err(SeamError::TableName { .. })), "{name:?}");
        }
        let table = engine.table(&long[1..]).unwrap();
        let mut tx = engine.write().unwrap();
        assert!(matches!(tx.put(table, b"", b"x"), Err(SeamError::KeyEmpty)));
        let refused = tx.append(table, long.as_bytes(), b"x");
        assert!(matches!(refused, Err(SeamError::KeyTooLong { len: 512, max: 511 })), "{refused:?}");
        let refused = tx.reserve(table, b"x", VALUE_BYTES_MAX + 1, |_| panic!("nothing to fill"));
        assert!(matches!(refused, Err(SeamError::ValueTooLong { .. })), "{refused:?}");
        assert!(!tx.delete(table, b"").unwrap());
        assert!(!tx.delete(table, long.as_bytes()).unwrap());
        assert_eq!(tx.get(table, b"").unwrap(), None);
        tx.put(table, &long.as_bytes()[1..], b"").unwrap();
        tx.commit().unwrap();
        assert_eq!(engine.read().unwrap().get(table, &long.as_bytes()[1..]).unwrap(), Some(&b""[..]));
    });
}

#[test]
fn a_wrong_append_hint_still_stores() {
    both(|engine| {
        let table = engine.table("ids").unwrap();
        let mut tx = engine.write().unwrap();
        for (key, value) in [(b"5", "five"), (b"3", "three"), (b"5", "again"), (b"7", "seven"), (b"6", "six")]
        {
            tx.append(table, key, value.as_bytes()).unwrap();
        }
        tx.commit().unwrap();
        let tx = engine.read().unwrap();
        assert_eq!(keys(tx.range(table, KeyRange::all(), Direction::Forward)), ["3", "5", "6", "7"]);
        assert_eq!(tx.get(table, b"5").unwrap(), Some(&b"again"[..]));
        assert_eq!(tx.count(table).unwrap(), 4);
    });
}

#[test]
fn reserved_values_begin_as_zeros() {
    both(|engine| {
        let table = engine.table("t").unwrap();
        fill(engine, table, &["k", "l", "m"]);
        let mut tx = engine.write().unwrap();
        for len in [0, 3, 9_000] {
            tx.reserve(table, b"l", len, |value| {
                assert!(value.len() == len && value.iter().all(|byte| *byte == 0));
                if let Some(last) = value.last_mut() {
                    *last = 7;
                }
            })
            .unwrap();
            let mut expected = vec![0; len];
            if len > 0 {
                expected[len - 1] = 7;
            }
            assert_eq!(tx.get(table, b"l").unwrap(), Some(&expected[..]));
        }
    });
}

#[test]
fn a_million_entries_do_not_slow_small_transactions() {
    let engine = Engine::memory();
    let table = engine.table("many").unwrap();
    let mut tx = engine.write().unwrap();
    for number in 0..1_000_000_u64 {
        tx.append(table, &number.to_be_bytes(), b"value").unwrap();
    }
    tx.commit().unwrap();
    // Copying the table for each of these would take minutes; sharing it takes less than a second.
    for number in 0..2_000_u64 {
        let before = engine.read().unwrap();
        let mut tx = engine.write().unwrap();
        tx.put(table, &(number * 499).to_be_bytes(), b"changed").unwrap();
        tx.commit().unwrap();
        assert_eq!(before.get(table, &(number * 499).to_be_bytes()).unwrap(), Some(&b"value"[..]));
    }
    assert_eq!(engine.read().unwrap().count(table).unwrap(), 1_000_000);
}

#[test]
fn snapshots_and_engines_may_move_between_threads() {
    fn moves<T: Send>() {}
    fn is_shared<T: Send + Sync>() {}
    moves::<ReadTx<'_>>();
    is_shared::<Engine>();
    is_shared::<TableId>();
    is_shared::<SeamError>();
    both(|engine| {
        let table = engine.table("t").unwrap();
        fill(engine, table, &["a"]);
        let tx = engine.read().unwrap();
        let second = engine.read().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || assert_eq!(tx.count(table).unwrap(), 1));
        });
        assert_eq!(second.count(table).unwrap(), 1);
    });
}
