//! Random histories, played to both forms of the seam and to a model made of standard maps.

use std::collections::BTreeMap;
use std::ops::Bound;

use proptest::prelude::*;

use super::suite_tests::{collect, on_disk};
use super::*;

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Put(usize, Vec<u8>, Vec<u8>),
    Append(usize, Vec<u8>, Vec<u8>),
    /// So many entries after the last, with values of these lengths in turn.
    AppendRun(usize, u16, Vec<usize>),
    Reserve(usize, Vec<u8>, Vec<u8>),
    Delete(usize, Vec<u8>),
    DeleteRange(usize, Bound<Vec<u8>>, Bound<Vec<u8>>),
    Clear(usize),
}

/// Steps of one transaction, whether it commits, and a table to drop after it.
type Turn = (Vec<Step>, bool, Option<usize>);

const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(prop::sample::select(vec![0, 1, b'a', 254, 255]), 1..5),
        (0_u16..600).prop_map(|number| number.to_be_bytes().to_vec()),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    let key = prop_oneof![9 => key(), 1 => Just(Vec::new())];
    (key, 0..5).prop_map(|(key, kind)| match kind {
        0 | 1 => Bound::Included(key),
        2 | 3 => Bound::Excluded(key),
        _ => Bound::Unbounded,
    })
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    // Long values leave the pages of their keys, which is another path through LMDB.
    prop_oneof![12 => prop::collection::vec(any::<u8>(), 0..60), 1 => prop::collection::vec(any::<u8>(), 3_000..9_000)]
}

fn run_value_bytes() -> impl Strategy<Value = usize> {
    // Around 2,000 bytes values leave the pages of their keys.
    prop_oneof![8 => 0_usize..300, 1 => 1_950_usize..2_100]
}

fn step() -> impl Strategy<Value = Step> {
    let table = 0..NAMES.len();
    prop_oneof![
        3 => table.clone().prop_map(Step::Create),
        12 => (table.clone(), key(), value()).prop_map(|(table, key, value)| Step::Put(table, key, value)),
        5 => (table.clone(), key(), value()).prop_map(|(table, key, value)| Step::Append(table, key, value)),
        3 => (table.clone(), 1_u16..150, prop::collection::vec(run_value_bytes(), 1..4))
            .prop_map(|(table, count, lens)| Step::AppendRun(table, count, lens)),
        2 => (table.clone(), key(), value()).prop_map(|(table, key, value)| Step::Reserve(table, key, value)),
        6 => (table.clone(), key()).prop_map(|(table, key)| Step::Delete(table, key)),
        2 => (table.clone(), bound(), bound()).prop_map(|(table, start, end)| Step::DeleteRange(table, start, end)),
        1 => table.prop_map(Step::Clear),
    ]
}

/// Two bounds that need not be in order.
type Probe = (Bound<Vec<u8>>, Bound<Vec<u8>>);

type Model = BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>>;

fn as_range<'k>(start: &'k Bound<Vec<u8>>, end: &'k Bound<Vec<u8>>) -> KeyRange<'k> {
    KeyRange { start: start.as_ref().map(Vec::as_slice), end: end.as_ref().map(Vec::as_slice) }
}

fn in_range(key: &[u8], range: KeyRange<'_>) -> bool {
    let after_start = match range.start {
        Bound::Included(start) => key >= start,
        Bound::Excluded(start) => key > start,
        Bound::Unbounded => true,
    };
    let before_end = match range.end {
        Bound::Included(end) => key <= end,
        Bound::Excluded(end) => key < end,
        Bound::Unbounded => true,
    };
    after_start && before_end
}

fn apply(tx: &mut WriteTx<'_>, model: &mut Model, step: &Step) {
    let table = |tx: &mut WriteTx<'_>, model: &Model, number: usize| {
        let found = tx.table_if_exists(NAMES[number]).unwrap();
        assert_eq!(found.is_some(), model.contains_key(NAMES[number]), "{step:?}");
        found
    };
    match step {
        Step::Create(number) => {
            tx.create_table(NAMES[*number]).unwrap();
            model.entry(NAMES[*number]).or_default();
        }
        Step::Put(number, key, value)
        | Step::Append(number, key, value)
        | Step::Reserve(number, key, value) => {
            let Some(table) = table(tx, model, *number) else { return };
            match step {
                Step::Append(..) => tx.append(table, key, value).unwrap(),
                Step::Reserve(..) => {
                    tx.reserve(table, key, value.len(), |to| to.copy_from_slice(value)).unwrap()
                }
                _ => tx.put(table, key, value).unwrap(),
            }
            assert_eq!(tx.get(table, key).unwrap(), Some(&value[..]));
            model.get_mut(NAMES[*number]).unwrap().insert(key.clone(), value.clone());
        }
        Step::AppendRun(number, count, lens) => {
            let Some(table) = table(tx, model, *number) else { return };
            let entries = model.get_mut(NAMES[*number]).unwrap();
            let last = entries.last_key_value().map(|(key, _)| key.clone()).unwrap_or_default();
            for at in 0..*count {
                let key = [&last[..], &at.to_be_bytes()].concat();
                let value = vec![at as u8; lens[usize::from(at) % lens.len()]];
                tx.append(table, &key, &value).unwrap();
                entries.insert(key, value);
            }
        }
        Step::Delete(number, key) => {
            let Some(table) = table(tx, model, *number) else { return };
            let expected = model.get_mut(NAMES[*number]).unwrap().remove(key).is_some();
            assert_eq!(tx.delete(table, key).unwrap(), expected, "{step:?}");
        }
        Step::DeleteRange(number, start, end) => {
            let Some(table) = table(tx, model, *number) else { return };
            let range = as_range(start, end);
            let entries = model.get_mut(NAMES[*number]).unwrap();
            let before = entries.len();
            entries.retain(|key, _| !in_range(key, range));
            assert_eq!(tx.delete_range(table, range).unwrap(), (before - entries.len()) as u64, "{step:?}");
        }
        Step::Clear(number) => {
            let Some(table) = table(tx, model, *number) else { return };
            tx.clear_table(table).unwrap();
            model.get_mut(NAMES[*number]).unwrap().clear();
        }
    }
}

/// Compares all that can be read of a table with what is expected, the probes giving keys, prefixes and bounds.
fn compare<'t>(tx: &'t impl Reader, table: TableId, expected: &BTreeMap<Vec<u8>, Vec<u8>>, probes: &[Probe]) {
    let owned = |entry: Option<Entry<'_>>| entry.map(|(key, value)| (key.to_vec(), value.to_vec()));
    let wanted = |entry: Option<(&Vec<u8>, &Vec<u8>)>| entry.map(|(key, value)| (key.clone(), value.clone()));
    let both_ways =
        |what: String, entries: &dyn Fn(Direction) -> Result<Entries<'t>>, admits: &dyn Fn(&[u8]) -> bool| {
            let mut wanted: Vec<_> = expected
                .iter()
                .filter(|(key, _)| admits(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            assert_eq!(collect(entries(Direction::Forward)), wanted, "{what}");
            wanted.reverse();
            assert_eq!(collect(entries(Direction::Backward)), wanted, "{what} backward");
        };
    assert_eq!(tx.count(table).unwrap(), expected.len() as u64);
    assert_eq!(owned(tx.first(table).unwrap()), wanted(expected.first_key_value()));
    assert_eq!(owned(tx.last(table).unwrap()), wanted(expected.last_key_value()));
    both_ways("all".into(), &|direction| tx.range(table, KeyRange::all(), direction), &|_| true);
    for (start, end) in probes {
        let range = as_range(start, end);
        both_ways(format!("{range:?}"), &|direction| tx.range(table, range, direction), &|key| {
            in_range(key, range)
        });
        let (Bound::Included(key) | Bound::Excluded(key)) = range.start else { continue };
        both_ways(format!("prefix {key:?}"), &|direction| tx.prefix(table, key, direction), &|k| {
            k.starts_with(key)
        });
        assert_eq!(tx.get(table, key).unwrap(), expected.get(key).map(Vec::as_slice));
        let from = expected.range::<[u8], _>((Bound::Included(key), Bound::Unbounded)).next();
        assert_eq!(owned(tx.first_from(table, key).unwrap()), wanted(from), "first from {key:?}");
        let below = expected.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(key))).next_back();
        assert_eq!(owned(tx.last_below(table, key).unwrap()), wanted(below), "last below {key:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn random_histories_agree_with_the_model(
        turns in prop::collection::vec(
            (prop::collection::vec(step(), 1..120), prop::bool::weighted(0.7), prop::option::weighted(0.15, 0..NAMES.len())),
            1..8,
        ),
        probes in prop::collection::vec((bound(), bound()), 12),
    ) {
        let turns: Vec<Turn> = turns;
        let (_directory, disk) = on_disk();
        for engine in [Engine::memory(), disk] {
            let mut committed = Model::new();
            for (steps, commits, dropped) in &turns {
                let mut model = committed.clone();
                let mut tx = engine.write().unwrap();
                for step in steps {
                    apply(&mut tx, &mut model, step);
                }
                for (name, expected) in &model {
                    let table = tx.table_if_exists(name).unwrap().unwrap();
                    compare(&tx, table, expected, &probes);
                }
                if *commits {
                    tx.commit().unwrap();
                    committed = model;
                } else {
                    drop(tx);
                }
                if let Some(name) = dropped.map(|number| NAMES[number])
                    && committed.remove(name).is_some()
                {
                    engine.drop_table(engine.table_if_exists(name).unwrap().unwrap()).unwrap();
                }
                for name in NAMES {
                    let table = engine.table_if_exists(name).unwrap();
                    prop_assert_eq!(table.is_some(), committed.contains_key(name));
                    if let Some(table) = table {
                        compare(&engine.read().unwrap(), table, &committed[name], &probes);
                    }
                }
            }
        }
    }
}
