//! What a compare finds is what differs, whatever the two sets are.

use std::convert::Infallible;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use reconvene_model::compare::{CompareKey, CompareRange, CompareSet, Item, RangeSum, SortedItems};
use reconvene_protocol::compare::answer;
use reconvene_protocol::limits::{MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN};

use crate::support::{Objects, assert_exact, compare, compare_with, key, set};

/// Keys of many shapes: few origins in sequence, many origins, bounds and ends of the numbers.
fn any_key() -> impl Strategy<Value = CompareKey> {
    prop_oneof![
        4 => (1..3u64, 1..3u64, 1..2000u64).prop_map(|(entity, origin, counter)| key(entity, origin, counter)),
        2 => (1..3u64, any::<u64>(), 1..4u64).prop_map(|(entity, origin, counter)| key(entity, origin, counter)),
        1 => (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(entity, origin, counter)| key(entity, origin, counter)),
        1 => (0..2u64, 0..2u64, 0..3u64).prop_map(|(e, o, c)| key(0u64.wrapping_sub(e), 0u64.wrapping_sub(o), 0u64.wrapping_sub(c))),
    ]
}

fn objects(max: usize) -> impl Strategy<Value = Objects> {
    btree_map(any_key(), (0..2u64, 1..3u64), 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sets_with_little_in_common(client in objects(600), server in objects(600)) {
        assert_exact(&client, &server, &compare(&set(&client), &set(&server)));
    }

    #[test]
    fn sets_that_differ_a_little(
        server in objects(3000),
        changed in vec((any::<prop::sample::Index>(), 0..3u8), 0..30),
        more in objects(10),
        small_messages in any::<bool>(),
    ) {
        let mut client = server.clone();
        let keys: Vec<CompareKey> = server.keys().copied().collect();
        for (at, change) in changed {
            if keys.is_empty() {
                break;
            }
            let key = keys[at.index(keys.len())];
            match change {
                0 => { client.remove(&key); }
                1 => { client.entry(key).and_modify(|state| state.0 += 1); }
                _ => { client.entry(key).and_modify(|state| state.1 += 7); }
            }
        }
        client.extend(more);
        let bytes_max = if small_messages { 200 } else { MESSAGE_BYTES_MAX };
        let server_set = set(&server);
        let outcome = compare_with(&set(&client), bytes_max, |asked, bytes_max| answer(&server_set, asked, bytes_max).unwrap());
        assert_exact(&client, &server, &outcome);
    }

    /// A set that names fewer bounds than it could, as one that is read from blocks may, is compared as well.
    #[test]
    fn sets_that_part_ranges_unevenly(client in objects(300), server in objects(300)) {
        let server_set = Uneven(set(&server));
        let outcome = compare_with(&set(&client), MESSAGE_BYTES_MIN, |asked, bytes_max| answer(&server_set, asked, bytes_max).unwrap());
        assert_exact(&client, &server, &outcome);
    }
}

/// Parts every range in two, at its second item.
struct Uneven(SortedItems);

impl CompareSet for Uneven {
    type Error = Infallible;

    fn sum(&self, range: &CompareRange) -> Result<RangeSum, Infallible> {
        self.0.sum(range)
    }

    fn items(&self, range: &CompareRange, limit: usize) -> Result<Vec<Item>, Infallible> {
        self.0.items(range, limit)
    }

    fn bounds(&self, range: &CompareRange, _: usize) -> Result<Vec<CompareKey>, Infallible> {
        let count = self.0.sum(range)?.count;
        let half = self.0.items(range, usize::try_from(count / 3 + 1).unwrap())?;
        Ok(half.last().map(|item| item.key).into_iter().filter(|key| *key > range.start).collect())
    }
}

#[test]
fn nothing_is_found_where_nothing_differs() {
    let objects: Objects = (1..=5000).map(|at| (key(1, 7, at), (0, at))).collect();
    let outcome = compare(&set(&objects), &set(&objects));
    assert_exact(&objects, &objects, &outcome);
    assert_eq!((outcome.rounds, outcome.fetches), (1, 0));
    let none = compare(&set(&Objects::new()), &set(&Objects::new()));
    assert_eq!((none.rounds, none.bytes_down), (1, 2));
}

#[test]
fn a_side_that_is_empty_is_found_out_at_once() {
    let objects: Objects = (1..=5000).map(|at| (key(1, 7, at), (0, at))).collect();
    let (full, empty) = (set(&objects), SortedItems::default());
    let outcome = compare(&empty, &full);
    assert_eq!((outcome.rounds, outcome.fetch.as_slice()), (1, &[CompareRange::ALL][..]));
    let outcome = compare(&full, &empty);
    assert_eq!((outcome.rounds, outcome.extra.as_slice()), (1, &[CompareRange::ALL][..]));
}

#[test]
fn a_removed_and_inserted_object_differs_by_its_generation() {
    let server = Objects::from([(key(1, 7, 1), (1, 5)), (key(1, 7, 2), (0, 5))]);
    let client = Objects::from([(key(1, 7, 1), (0, 5)), (key(1, 7, 2), (0, 5))]);
    let outcome = compare(&set(&client), &set(&server));
    assert_eq!(outcome.fetch, [CompareRange::of(key(1, 7, 1))]);
    assert_exact(&client, &server, &outcome);
}
