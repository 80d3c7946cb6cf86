//! The findings of the review that pure merging can show: each was a counterexample to an earlier draft of the laws.

use std::borrow::Cow;

use reconvene_model::change::{Cell, Op, OpKind, OpsReader, OpsWriter, TxHead};
use reconvene_model::merge::{Merged, merge_op, merge_states};
use reconvene_model::ranking::Ranking;
use reconvene_model::state::{ObjectState, StateEntry, StatesReader, StatesWriter};
use reconvene_model::{GlobalId, PeerId, PropertyType, Seq, Stamp, TxHash, Uid};

use OpKind::{Insert, Remove, Update};

use crate::histories::{A, B, C, Stamped, TASK, int, merge_all, merge_in_every_order, op, value};

/// Merging an older state changes nothing that newer writes set, so a refusal has to be undone elsewhere.
#[test]
fn f01_merging_an_older_state_undoes_nothing() {
    let server = merge_all(&[op(Insert, 0, 5, A, &[(1, Some(1)), (2, Some(0))])]);
    let refused = op(Update, 0, 10, C, &[(1, Some(2))]);
    let mut client = server.clone();
    merge_op(&mut client, &refused.0, refused.1);
    assert_eq!(value(&merge_states(client, server), 1), Some(2));
}

/// An update that arrives without its insert waits and shows no object with half its properties.
#[test]
fn f03a_an_update_makes_no_half_object() {
    let waiting = merge_all(&[op(Update, 0, 2, A, &[(2, Some(2))])]);
    assert!(!waiting.exists && value(&waiting, 2) == Some(2));
}

/// An insert that arrives after its update makes the whole object, whichever write is the later one.
#[test]
fn f03a_a_late_insert_completes_the_object() {
    let end = merge_in_every_order(&[
        op(Insert, 0, 1, A, &[(1, Some(1)), (2, Some(1))]),
        op(Update, 0, 2, A, &[(2, Some(2))]),
    ]);
    assert!(end.exists && value(&end, 1) == Some(1) && value(&end, 2) == Some(2));
}

/// A remove ends its generation for every concurrent edit, even one with a later stamp.
#[test]
fn f04_remove_beats_every_concurrent_edit() {
    let end = merge_in_every_order(&[
        op(Insert, 0, 1, A, &[(1, Some(1))]),
        op(Remove, 0, 2, A, &[]),
        op(Update, 0, 99, B, &[(1, Some(9))]),
        op(Insert, 0, 98, C, &[(2, Some(9))]),
    ]);
    assert_eq!(end, ObjectState { generation: 1, exists: false, registers: vec![] });
}

/// Two peers insert and remove the same shared id apart from each other: the order of the removes decided the generation.
#[test]
fn f04_two_removes_of_one_generation_agree() {
    let end = merge_in_every_order(&[
        op(Insert, 0, 1, A, &[(1, Some(1))]),
        op(Remove, 0, 2, A, &[]),
        op(Insert, 0, 3, B, &[(1, Some(3))]),
        op(Remove, 0, 4, B, &[]),
    ]);
    assert_eq!(end, ObjectState { generation: 1, exists: false, registers: vec![] });
}

/// A removes and re-creates an object; B, offline, removes the one he knew: the new one lives.
#[test]
fn f04_remove_of_the_old_object_spares_its_re_creation() {
    let end = merge_in_every_order(&[
        op(Insert, 0, 1, A, &[(1, Some(1))]),
        op(Remove, 0, 2, A, &[]),
        op(Insert, 1, 3, A, &[(1, Some(3))]),
        op(Remove, 0, 9, B, &[]),
    ]);
    assert!(end.exists && end.generation == 1 && value(&end, 1) == Some(3));
}

/// A pending remove that gets another stamp removes the same generation: stamps order writes, not lives.
#[test]
fn f04_a_restamped_remove_removes_the_same_generation() {
    let insert = op(Insert, 0, 1, A, &[(1, Some(1))]);
    let early = merge_all(&[insert.clone(), op(Remove, 0, 2, B, &[])]);
    let late = merge_all(&[insert, op(Remove, 0, 900, B, &[])]);
    assert_eq!(early, late);
}

/// A fresh install creates a shared id that was removed before its time: it learns so, and creating it anew works.
#[test]
fn f05_a_write_below_a_tombstone_is_superseded_and_can_be_made_anew() {
    let mut server = merge_all(&[op(Insert, 0, 1, A, &[]), op(Remove, 0, 2, A, &[])]);
    let (insert, stamp) = op(Insert, 0, 9, C, &[(1, Some(9))]);
    assert_eq!(merge_op(&mut server, &insert, stamp), Merged::Superseded);
    assert!(!server.exists);
    let anew = Op { generation: server.generation, ..insert };
    assert_eq!(merge_op(&mut server, &anew, stamp), Merged::Changed);
    assert!(server.exists && value(&server, 1) == Some(9));
}

/// Removing what is already removed brings nothing new, and is no loss to tell anyone about.
#[test]
fn f05_removing_the_removed_is_silent() {
    let mut server = merge_all(&[op(Insert, 0, 1, A, &[]), op(Remove, 0, 2, A, &[])]);
    let (remove, stamp) = op(Remove, 0, 9, C, &[]);
    assert_eq!(merge_op(&mut server, &remove, stamp), Merged::Unchanged);
}

/// Old and new schema insert the same shared id: a base stamp that covered more than its op wrote gave three results.
#[test]
fn f14_inserts_of_two_schema_versions_agree() {
    let end = merge_in_every_order(&[
        op(Insert, 0, 1, A, &[(1, Some(11)), (3, Some(13))]),
        op(Update, 0, 2, A, &[(3, Some(23))]),
        op(Insert, 0, 3, B, &[(1, Some(31))]),
    ]);
    assert_eq!((value(&end, 1), value(&end, 3)), (Some(31), Some(23)));
    assert_eq!(end.register(Uid(3)).unwrap().stamp, Stamp::new(2, A));
}

/// A state on the wire keeps the stamp of every register, be it older or newer than that of most.
#[test]
fn f14_states_travel_without_losing_a_stamp() {
    let state = merge_all(&[
        op(Insert, 0, 5, A, &[(1, Some(1)), (2, Some(1)), (3, None), (4, Some(1))]),
        op(Update, 0, 9, B, &[(2, None)]),
        op(Update, 0, 2, C, &[(7, Some(7))]),
    ]);
    let entry = StateEntry { entity: TASK, gid: GlobalId::new(A, 1), seq: Seq(3), state };
    let mut states = StatesWriter::new();
    states.push(&entry);
    let block = states.finish();
    let read: Vec<_> = StatesReader::new(&block).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, [entry]);
}

/// Past the horizon a stale update of a high generation replaces a re-creation at zero, so generations of shared ids stay.
#[test]
fn f16_an_update_of_a_higher_generation_replaces() {
    let end =
        merge_in_every_order(&[op(Insert, 0, 9, B, &[(1, Some(9))]), op(Update, 5, 3, A, &[(2, Some(3))])]);
    assert!(!end.exists && end.generation == 5 && value(&end, 1).is_none());
}

/// Two states that share their newest stamp may still differ below it: merging looks at every register.
#[test]
fn f23_registers_below_the_newest_stamp_merge() {
    let newest = op(Update, 0, 3, C, &[(2, Some(3))]);
    let insert = op(Insert, 0, 1, A, &[(1, Some(1))]);
    let behind = merge_all(&[insert.clone(), newest.clone()]);
    let ahead = merge_all(&[insert, op(Update, 0, 2, B, &[(1, Some(2))]), newest]);
    assert_eq!(merge_states(behind.clone(), ahead.clone()), ahead);
    assert_eq!(merge_states(ahead.clone(), behind), ahead);
}

/// A restamped write sits just above what its author overwrote, and below the write that he never saw.
#[test]
fn v05_a_restamped_write_loses_to_what_it_never_saw() {
    let overwritten = 100;
    let end = merge_in_every_order(&[
        op(Insert, 0, overwritten, A, &[(1, Some(1))]),
        op(Update, 0, 150, B, &[(1, Some(2))]),
        op(Update, 0, overwritten + 1, C, &[(1, Some(3))]),
    ]);
    assert_eq!(value(&end, 1), Some(2));
}

/// A remove of an object that nobody inserted leaves a tombstone above the first insert, so servers refuse such removes.
#[test]
fn v06_a_remove_of_the_absent_supersedes_the_first_insert() {
    let mut state = ObjectState::default();
    let (remove, stamp) = op(Remove, 0, 1, A, &[]);
    assert_eq!(merge_op(&mut state, &remove, stamp), Merged::Changed);
    let (insert, stamp) = op(Insert, 0, 2, B, &[]);
    assert_eq!(merge_op(&mut state, &insert, stamp), Merged::Superseded);
}

/// Equal stamps with other values cannot come from honest peers, but must not divide them: larger bytes win, null is least.
#[test]
fn section2_of_equal_stamps_the_larger_bytes_win() {
    let end = merge_in_every_order(&[
        op(Insert, 0, 7, A, &[(1, None), (2, Some(1))]),
        op(Update, 0, 7, A, &[(1, Some(0)), (2, None)]),
        op(Update, 0, 7, A, &[(1, Some(5)), (2, Some(2))]),
    ]);
    assert_eq!((value(&end, 1), value(&end, 2)), (Some(5), Some(2)));
}

/// A property written under two types at one stamp is decided by its bytes, and by the type number if they are equal.
#[test]
fn section2_of_equal_stamps_and_bytes_the_larger_type_wins() {
    let write = |ty| {
        let (mut insert, stamp) = op(Insert, 0, 7, A, &[]);
        insert.cells.push(Cell { uid: Uid(1), ty, bytes: Some(Cow::Borrowed(&[1, 0, 0, 0])) });
        (insert, stamp)
    };
    let end = merge_in_every_order(&[write(5), write(7), write(200)]);
    assert_eq!(end.registers[0].ty, 200);
}

/// A transaction has one stamp for all its writes; should it write a register twice, the order of its ops does not decide.
#[test]
fn section2_one_stamp_per_transaction() {
    let head = TxHead { origin: A, number: 1, previous: TxHash::NONE, hlc: 77 };
    let mut writer = OpsWriter::new(A);
    for (kind, value) in [(Insert, 3), (Update, 8), (Update, 5)] {
        writer.push(&op(kind, 0, 0, A, &[(1, Some(value))]).0);
    }
    let block = writer.finish();
    let ops: Vec<_> =
        OpsReader::new(A, &block).unwrap().map(|op| (op.unwrap().into_owned(), head.stamp())).collect();
    assert_eq!(value(&merge_in_every_order(&ops), 1), Some(8));
}

/// A property that this schema does not know keeps its register through merges with those who do not know it either.
#[test]
fn section2_unknown_properties_keep_their_registers() {
    let (mut insert, stamp) = op(Insert, 0, 1, A, &[(1, Some(1))]);
    let unknown = Cell { uid: Uid(9), ty: 250, bytes: Some(Cow::Borrowed(b"from the future")) };
    insert.cells.push(unknown);
    let end = merge_in_every_order(&[(insert, stamp), op(Update, 0, 2, B, &[(1, Some(2))])]);
    assert_eq!(end.register(Uid(9)).unwrap().cell.as_deref(), Some(&b"from the future"[..]));
}

/// An op that names a property twice is refused on the wire; a hand-made one is decided by the law, not by its order.
#[test]
fn section2_one_op_per_register() {
    let (mut first, stamp) = op(Insert, 0, 1, PeerId(5), &[(1, Some(4)), (1, Some(2))]);
    let forwards = merge_all(&[(first.clone(), stamp)]);
    first.cells.reverse();
    assert_eq!(merge_all(&[(first.clone(), stamp)]), forwards);
    assert_eq!(forwards.registers.len(), 1);
    assert_eq!(first.cells[0], int(1, Some(2)));
    let mut writer = OpsWriter::new(PeerId(5));
    writer.push(&first);
    assert!(OpsReader::check(PeerId(5), &writer.finish()).is_err());
}

/// What a policy makes of an op: the same op at a stamp with its rank.
fn ranked((op, stamp): &Stamped, ranking: Ranking, seq: Option<u64>) -> Stamped {
    (op.clone(), ranking.stamp(*stamp, &op.cells, seq.map(Seq)))
}

/// Under `arrival` the place in the history decides, in whatever order and by whatever path the writes come.
#[test]
fn f10_arrival_is_decided_by_the_place_and_not_by_the_path() {
    let (others, own) = (op(Update, 0, 9, B, &[(1, Some(49))]), op(Update, 0, 5, C, &[(1, Some(50))]));
    let insert = ranked(&op(Insert, 0, 1, A, &[(1, Some(0))]), Ranking::Arrival, Some(1));
    // The verdict on the own write comes before the push of the other one: it gives no place.
    let undecided = ranked(&own, Ranking::Arrival, None);
    let other = ranked(&others, Ranking::Arrival, Some(49));
    assert_eq!(value(&merge_in_every_order(&[insert.clone(), undecided, other.clone()]), 1), Some(50));
    let decided = ranked(&own, Ranking::Arrival, Some(50));
    assert_eq!(value(&merge_in_every_order(&[insert, decided, other]), 1), Some(50));
}

/// Among themselves undecided writes go by their stamps.
#[test]
fn f10_undecided_writes_are_above_all_places_and_ordered_by_stamp() {
    let early = ranked(&op(Insert, 0, 4, C, &[(1, Some(4))]), Ranking::Arrival, None);
    let late = ranked(&op(Update, 0, 5, C, &[(1, Some(5))]), Ranking::Arrival, None);
    let decided = ranked(&op(Update, 0, 900, A, &[(1, Some(900))]), Ranking::Arrival, Some(u64::MAX - 1));
    assert_eq!(value(&merge_in_every_order(&[early, late, decided]), 1), Some(5));
}

/// The precedence that a write brings decides before its time; of equal precedences the later write wins.
#[test]
fn f22_precedence_decides_before_time() {
    let by = Ranking::Precedence { uid: Uid(9), ty: PropertyType::Int, unsigned: false };
    let manager = ranked(&op(Update, 0, 2, A, &[(1, Some(2)), (9, Some(10))]), by, None);
    let clerk = ranked(&op(Update, 0, 3, B, &[(1, Some(3)), (9, Some(5))]), by, None);
    let later = ranked(&op(Update, 0, 4, C, &[(1, Some(4)), (9, Some(10))]), by, None);
    let insert = ranked(&op(Insert, 0, 1, A, &[(1, Some(1)), (9, None)]), by, None);
    assert_eq!(value(&merge_in_every_order(&[insert.clone(), manager.clone(), clerk.clone()]), 1), Some(2));
    assert_eq!(value(&merge_in_every_order(&[insert, manager, clerk, later]), 1), Some(4));
}

/// A remove beats every precedence, and what is created anew may have a lower one.
#[test]
fn f22_a_remove_beats_any_precedence() {
    let by = Ranking::Precedence { uid: Uid(9), ty: PropertyType::Int, unsigned: false };
    let high = ranked(&op(Insert, 0, 1, A, &[(9, Some(i32::MAX))]), by, None);
    let remove = ranked(&op(Remove, 0, 2, B, &[]), by, None);
    let again = ranked(&op(Insert, 1, 3, B, &[(9, Some(1))]), by, None);
    assert_eq!(value(&merge_in_every_order(&[high, remove, again]), 9), Some(1));
}

/// A property that only one schema knows keeps the rank at which it was written.
#[test]
fn f22_each_register_keeps_its_own_rank() {
    let by = Ranking::Precedence { uid: Uid(9), ty: PropertyType::Int, unsigned: false };
    let knows_more = ranked(&op(Insert, 0, 5, A, &[(1, Some(1)), (2, Some(1)), (9, Some(10))]), by, None);
    let knows_less = ranked(&op(Update, 0, 4, B, &[(1, Some(2)), (9, Some(20))]), by, None);
    let between = ranked(&op(Update, 0, 3, C, &[(1, Some(3)), (2, Some(3)), (9, Some(15))]), by, None);
    let end = merge_in_every_order(&[knows_more, knows_less, between]);
    assert_eq!([1, 2, 9].map(|uid| value(&end, uid)), [Some(2), Some(3), Some(20)]);
}

/// A fingerprint covers every stamp of an object, so that two which differ below the newest one differ.
#[test]
fn f23_fingerprints_tell_objects_apart_that_agree_in_the_newest_stamp() {
    use reconvene_model::compare::{CompareKey, Fingerprinter, SALT_BYTES};
    let key = CompareKey::new(TASK, GlobalId::new(A, 1));
    let of = |a: u64, generation: u64| {
        let stamps = [(Uid(1), Stamp::new(a, A)), (Uid(2), Stamp::new(3, C))];
        Fingerprinter::new(&[1; SALT_BYTES]).object(key, generation, stamps)
    };
    assert_ne!(of(1, 0).short(), of(2, 0).short());
    assert_ne!(of(1, 0).short(), of(1, 1).short());
    assert_eq!(of(1, 0).short(), of(1, 0).short());
}
