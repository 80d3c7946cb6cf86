//! Counters and sets: what peers add counts once, elements come and go one by one, and everyone agrees.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use reconvene_model::change::{Cell, Op, OpKind};
use reconvene_model::kinds::{COUNTER, INTEGER_SET, Kind, STRING_SET, counter_change, set_change};
use reconvene_model::merge::{Merged, merge_op, merge_states};
use reconvene_model::state::{ObjectState, Register};
use reconvene_model::{GlobalId, PeerId, PropertyType, Stamp, Uid};

use OpKind::{Insert, Remove, Update};

use crate::histories::{A, B, C, PEERS, Stamped, TASK, int, merge_all, merge_in_every_order};

const STOCK: Uid = Uid(1);
const TAGS: Uid = Uid(2);

fn op(kind: OpKind, generation: u64, hlc: u64, peer: PeerId, cells: Vec<Cell<'static>>) -> Stamped {
    let mut op = Op::new(TASK, GlobalId::new(PeerId::SHARED, 1), generation, kind);
    op.cells = cells;
    (op, Stamp::new(hlc, peer))
}

fn add(by: i64) -> Cell<'static> {
    Cell { uid: STOCK, ty: COUNTER, bytes: Some(Cow::Owned(counter_change(by))) }
}

fn tag(changes: &[(&str, bool)]) -> Cell<'static> {
    let change = set_change(changes.iter().map(|(key, present)| (key.as_bytes(), *present)));
    Cell { uid: TAGS, ty: STRING_SET, bytes: change.map(Cow::Owned) }
}

fn stock(state: &ObjectState<'_>) -> Option<i64> {
    let cell = state.register(STOCK)?.cell.as_deref();
    let shown = Kind::Counter.shown(PropertyType::Long, cell)?;
    Some(i64::from_le_bytes(shown.try_into().unwrap()))
}

fn tags(state: &ObjectState<'_>) -> Vec<String> {
    let cell = state.register(TAGS).and_then(|register| register.cell.as_deref());
    let mut shown = &Kind::Strings.shown(PropertyType::StringVector, cell).unwrap_or_default()[..];
    let mut tags = Vec::new();
    while let Some((length, rest)) = shown.split_first_chunk() {
        let (tag, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        tags.push(String::from_utf8(tag.to_vec()).unwrap());
        shown = rest;
    }
    tags
}

#[test]
fn all_that_was_added_counts_once() {
    let insert = op(Insert, 0, 1, A, vec![add(10)]);
    let (sold, bought) = (op(Update, 0, 5, B, vec![add(-3)]), op(Update, 0, 4, C, vec![add(20)]));
    let end = merge_in_every_order(&[insert, sold, bought.clone()]);
    assert_eq!(stock(&end), Some(27));
    let mut again = end.clone();
    assert_eq!(merge_op(&mut again, &bought.0, bought.1), Merged::Unchanged);
    assert_eq!(again, end);
}

/// A total that includes a refused increment cannot be told from one that does not; what is kept per author and what a server
/// confirms can: the refused one is not in it, and later ones of the same author are.
#[test]
fn f11_what_was_refused_is_in_no_total() {
    let insert = op(Insert, 0, 1, B, vec![add(10)]);
    let refused = op(Update, 0, 5, A, vec![add(100)]);
    let later = op(Update, 0, 6, A, vec![add(1)]);
    let confirmed = merge_all(std::slice::from_ref(&insert));
    let visible = merge_all(&[insert.clone(), refused.clone(), later.clone()]);
    assert_eq!((stock(&confirmed), stock(&visible)), (Some(10), Some(111)));

    let server = merge_all(&[insert, later.clone()]);
    assert_eq!(stock(&server), Some(11));
    let mut replayed = server.clone();
    merge_op(&mut replayed, &later.0, later.1);
    assert_eq!(replayed, server, "what the state includes is not added again");
}

#[test]
fn a_counter_begins_anew_with_its_object() {
    let insert = op(Insert, 0, 1, A, vec![add(10), tag(&[("old", true)])]);
    let late = op(Update, 0, 9, B, vec![add(5), tag(&[("late", true)])]);
    let remove = op(Remove, 0, 2, A, vec![]);
    let again = op(Insert, 1, 3, A, vec![add(1), tag(&[("new", true)])]);
    let end = merge_in_every_order(&[insert, late, remove, again]);
    assert_eq!((stock(&end), tags(&end)), (Some(1), vec!["new".to_owned()]));
}

#[test]
fn elements_come_and_go_one_by_one() {
    let insert = op(Insert, 0, 1, A, vec![tag(&[("garden", true), ("spring", true)])]);
    let b = op(Update, 0, 5, B, vec![tag(&[("spring", false), ("urgent", true)])]);
    let c = op(Update, 0, 4, C, vec![tag(&[("spring", true), ("garden", false)])]);
    let end = merge_in_every_order(&[insert, b, c]);
    assert_eq!(tags(&end), ["urgent"], "the later change of each element stands");
}

#[test]
fn of_equal_dates_the_larger_name_stands_and_then_what_adds() {
    let insert = op(Insert, 0, 1, A, vec![tag(&[("x", true)])]);
    let (b, c) =
        (op(Update, 0, 5, B, vec![tag(&[("x", true)])]), op(Update, 0, 5, C, vec![tag(&[("x", false)])]));
    assert!(tags(&merge_in_every_order(&[insert.clone(), b, c])).is_empty());
    let mut both = merge_all(&[insert, op(Update, 0, 5, C, vec![tag(&[("x", false)])])]);
    let (twice, stamp) = op(Update, 0, 5, C, vec![tag(&[("x", true)])]);
    merge_op(&mut both, &twice, stamp);
    assert_eq!(tags(&both), ["x"]);
}

#[test]
fn no_rank_counts_for_what_merges() {
    let insert = op(Insert, 0, 1, A, vec![tag(&[("x", true)]), add(1)]);
    let (early, stamp) = op(Update, 0, 4, B, vec![tag(&[("x", true)]), add(1)]);
    let late = op(Update, 0, 5, C, vec![tag(&[("x", false)]), add(1)]);
    let end = merge_in_every_order(&[insert, (early, stamp.ranked(9)), late]);
    assert_eq!((tags(&end), stock(&end)), (vec![], Some(3)));
    assert!(end.registers.iter().all(|register| register.stamp == Stamp::new(5, C)));
}

/// Within a transaction an author may change his mind; he sends what comes of it.
#[test]
fn what_one_author_does_at_one_stamp_adds_up() {
    let stamp = Stamp::new(3, A);
    let amend = |kind: Kind, changes: &[Vec<u8>]| {
        let amended = |state: Option<Vec<u8>>, change: &Vec<u8>| kind.amend(state.as_deref(), change, stamp);
        changes.iter().fold(None, amended).unwrap()
    };
    let twice = amend(Kind::Counter, &[counter_change(5), counter_change(-2)]);
    assert_eq!(Some(twice), Kind::Counter.apply(None, &counter_change(3), stamp));
    let changes =
        [&[("x", true), ("y", true)][..], &[("x", false)]].map(|c| tag(c).bytes.unwrap().into_owned());
    let set = amend(Kind::Strings, &changes);
    let sent = Kind::Strings.change_at(&set, stamp).unwrap();
    assert_eq!(Kind::Strings.apply(None, &sent, stamp), Some(set.clone()));
    assert_eq!(tag(&[("x", false), ("y", true)]).bytes.as_deref(), Some(&sent[..]));
    assert_eq!(Kind::Strings.change_at(&set, Stamp::new(4, A)), None);
}

#[test]
fn a_change_of_nothing_makes_no_register() {
    let nothing = Cell { uid: STOCK, ty: COUNTER, bytes: None };
    let end = merge_all(&[op(Insert, 0, 1, A, vec![nothing, tag(&[])])]);
    assert!(end.exists && end.registers.is_empty());
}

/// Peers whose schemas contradict each other still agree.
#[test]
fn a_property_of_two_kinds_is_of_the_larger_number_everywhere() {
    let cells = [int(1, Some(7)), add(5), Cell { ty: INTEGER_SET, ..tag(&[("12345678", true)]) }];
    let cells = cells.map(|cell| Cell { uid: STOCK, ..cell });
    let [plain, counter, set] = cells;
    let end = merge_in_every_order(&[
        op(Insert, 0, 9, A, vec![plain]),
        op(Update, 0, 2, B, vec![counter]),
        op(Update, 0, 1, C, vec![set]),
    ]);
    assert_eq!(end.registers.len(), 1);
    assert_eq!(end.registers[0].ty, INTEGER_SET);
}

#[test]
fn what_is_shown_wraps_around_and_an_int_shows_its_own_width() {
    let state = Kind::Counter.apply(None, &counter_change(i64::MAX), Stamp::new(1, A)).unwrap();
    let state = Kind::Counter.apply(Some(&state), &counter_change(1), Stamp::new(1, B)).unwrap();
    assert_eq!(Kind::Counter.shown(PropertyType::Long, Some(&state)), Some(i64::MIN.to_le_bytes().to_vec()));
    assert_eq!(Kind::Counter.shown(PropertyType::Int, Some(&state)), Some(0_i32.to_le_bytes().to_vec()));
    let by =
        Kind::Counter.change_between(Some(&i32::MAX.to_le_bytes()), Some(&i32::MIN.to_le_bytes())).unwrap();
    let shown = Kind::Counter.show_changed(PropertyType::Int, Some(&i32::MAX.to_le_bytes()), &by);
    assert_eq!(shown, Some(i32::MIN.to_le_bytes().to_vec()));
}

#[test]
fn integers_stand_in_their_order() {
    let cell = |numbers: &[i64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let change = Kind::Integers.change_to(Some(&cell(&[3, -1, i64::MAX, 3, i64::MIN]))).unwrap();
    let state = Kind::Integers.apply(None, &change, Stamp::new(1, A)).unwrap();
    let shown = Kind::Integers.shown(PropertyType::LongVector, Some(&state));
    assert_eq!(shown, Some(cell(&[i64::MIN, -1, 3, i64::MAX])));
}

#[test]
fn what_was_lost_is_told_by_author_and_element() {
    let counter = |added: &[(u64, PeerId, i64)]| {
        added.iter().fold(None, |state: Option<Vec<u8>>, &(hlc, peer, by)| {
            Kind::Counter.apply(state.as_deref(), &counter_change(by), Stamp::new(hlc, peer))
        })
    };
    let (before, now) = (counter(&[(1, A, 5), (2, B, 7), (4, A, -2)]), counter(&[(1, A, 5), (2, B, 7)]));
    let lost = Kind::Counter.lost(&before.clone().unwrap(), &now.clone().unwrap()).unwrap();
    assert_eq!(Kind::Counter.shown(PropertyType::Long, Some(&lost)), Some((-2_i64).to_le_bytes().to_vec()));
    assert_eq!(Kind::Counter.lost(&now.unwrap(), &before.unwrap()), None);
}

#[test]
fn bytes_that_are_not_canonical_are_refused() {
    for change in [&[][..], &[0x80, 0], &[2, 0]] {
        assert!(Kind::Counter.check_change(change).is_err(), "{change:?}");
    }
    // No element; one that is cut short; two of a kind; not ascending; not UTF-8; bytes behind.
    for change in
        [&[0][..], &[1, 5, b'a'], &[2, 3, b'a', 2, b'a'], &[2, 3, b'b', 3, b'a'], &[1, 3, 0xff], &[1, 1, 0]]
    {
        assert!(Kind::Strings.check_change(change).is_err(), "{change:?}");
    }
    assert!(
        Kind::Integers.check_change(&[1, 3, 0]).is_err() && Kind::Links.check_change(&[1, 3, 0]).is_err()
    );
    let state = Kind::Strings.apply(None, &tag(&[("a", true)]).bytes.unwrap(), Stamp::new(1, A)).unwrap();
    assert!(Kind::Strings.check_state(&state).is_ok());
    for at in 0..state.len() {
        assert!(Kind::Strings.check_state(&state[..at]).is_err(), "cut at {at}");
    }
    let counter = Kind::Counter.apply(None, &counter_change(1), Stamp::new(1, A)).unwrap();
    for at in 0..counter.len() {
        assert!(Kind::Counter.check_state(&counter[..at]).is_err(), "cut at {at}");
    }
    let nobody = Kind::Counter.apply(None, &counter_change(1), Stamp::NEVER).unwrap();
    assert!(Kind::Counter.check_state(&nobody).is_err());
}

/// What each peer does, one after the other.
fn any_history() -> impl Strategy<Value = Vec<Stamped>> {
    let changes = vec((0..4usize, any::<bool>()), 0..3);
    let write = (0..3usize, proptest::option::of(-5..6i64), changes);
    vec(write, 0..14).prop_map(|writes| {
        let mut hlc = [0, 0, 0];
        let mut ops = vec![op(Insert, 0, 1, A, vec![])];
        for (at, (peer, by, changes)) in writes.into_iter().enumerate() {
            // Readings of different peers meet now and then.
            hlc[peer] = (at as u64 / 2).max(hlc[peer]) + 2;
            let keys = ["a", "b", "c", "d"];
            let changes: Vec<(&str, bool)> =
                changes.iter().map(|&(key, present)| (keys[key], present)).collect();
            let cells = by.map(add).into_iter().chain([tag(&changes)]).collect();
            ops.push(op(Update, 0, hlc[peer], PEERS[peer], cells));
        }
        ops
    })
}

/// What the guide says, from all ops at once.
fn expected(ops: &[Stamped]) -> (i64, BTreeSet<String>) {
    let mut stock = 0;
    let mut newest: BTreeMap<String, (Stamp, bool)> = BTreeMap::new();
    for (op, stamp) in ops {
        for cell in &op.cells {
            let Some(bytes) = cell.bytes.as_deref() else { continue };
            if cell.ty == COUNTER {
                stock += reconvene_model::kinds::counter_delta(bytes).unwrap();
                continue;
            }
            for element in reconvene_model::kinds::set_elements(Kind::Strings, bytes).unwrap() {
                let key = String::from_utf8(element.key.to_vec()).unwrap();
                let known = newest.entry(key).or_default();
                *known = (*known).max((*stamp, element.present));
            }
        }
    }
    let there = newest.into_iter().filter(|(_, (_, present))| *present).map(|(key, _)| key);
    (stock, there.collect())
}

/// The ops in an order in which those of one author keep theirs, some of them twice.
fn shuffled(ops: &[Stamped], picks: &[usize]) -> Vec<Stamped> {
    let mut queues: Vec<Vec<Stamped>> = PEERS
        .iter()
        .map(|peer| ops.iter().filter(|(_, stamp)| stamp.peer == *peer).cloned().collect())
        .collect();
    let mut order: Vec<Stamped> = Vec::new();
    let mut picks = picks.iter().cycle();
    while queues.iter().any(|queue| !queue.is_empty()) {
        let pick = *picks.next().unwrap();
        if pick >= 3 {
            let again = order.get(pick % order.len().max(1)).cloned();
            order.extend(again);
            let any = queues.iter_mut().find(|queue| !queue.is_empty()).unwrap();
            order.push(any.remove(0));
        } else if !queues[pick].is_empty() {
            order.push(queues[pick].remove(0));
        } else {
            let any = queues.iter_mut().find(|queue| !queue.is_empty()).unwrap();
            order.push(any.remove(0));
        }
    }
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn peers_that_saw_the_same_changes_agree(
        ops in any_history(),
        picks in vec(0..6usize, 1..40),
        others in vec(0..6usize, 1..40),
    ) {
        let (one, other) = (merge_all(&shuffled(&ops, &picks)), merge_all(&shuffled(&ops, &others)));
        prop_assert_eq!(&one, &other);
        let (count, there) = expected(&ops);
        prop_assert_eq!(stock(&one).unwrap_or(0), count);
        prop_assert_eq!(tags(&one), there.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(merge_all(shuffled(&ops, &picks).iter().chain(&shuffled(&ops, &others))), one);
    }

    /// States of devices that have seen the beginnings of what each author did.
    #[test]
    fn states_merge_in_any_order(ops in any_history(), seen in vec([0..15usize, 0..15, 0..15], 3)) {
        let states: Vec<ObjectState<'static>> = seen.iter().map(|seen| {
            let mut counts = [0; 3];
            merge_all(ops.iter().filter(|(_, stamp)| {
                let peer = PEERS.iter().position(|peer| *peer == stamp.peer).unwrap();
                counts[peer] += 1;
                counts[peer] <= seen[peer]
            }))
        }).collect();
        let [a, b, c] = [&states[0], &states[1], &states[2]].map(Clone::clone);
        let ab = merge_states(a.clone(), b.clone());
        prop_assert_eq!(&merge_states(b.clone(), a.clone()), &ab);
        prop_assert_eq!(merge_states(ab.clone(), c.clone()), merge_states(a.clone(), merge_states(b.clone(), c.clone())));
        prop_assert_eq!(&merge_states(ab.clone(), b), &ab);
        for register in &ab.registers {
            let kind = Kind::of_type(register.ty).unwrap();
            prop_assert!(kind.check_state(register.cell.as_deref().unwrap()).is_ok());
            prop_assert_eq!(&Register::of_kind(register.uid, kind, register.cell.clone().unwrap()), register);
        }
        let most: Vec<Stamped> = PEERS.iter().enumerate().flat_map(|(at, peer)| {
            let most = seen.iter().map(|seen| seen[at]).max().unwrap();
            ops.iter().filter(|(_, stamp)| stamp.peer == *peer).take(most).cloned().collect::<Vec<_>>()
        }).collect();
        prop_assert_eq!(merge_states(ab, c), merge_all(&most));
    }
}
