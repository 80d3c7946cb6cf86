//! The files under `fixtures/changes`, byte for byte: what this release writes, and what every later one has to read.
//!
//! Their README tells the story. To write them anew after a change of format, run the tests with
//! `RECONVENE_WRITE_FIXTURES=1`, and say so in the change log: stores and servers keep such bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use reconvene_model::change::{Cell, Op, OpKind, OpsReader, TxHead, decode_tx, encode_tx};
use reconvene_model::kinds::{Kind, counter_change, set_change};
use reconvene_model::merge::{Merged, merge_op};
use reconvene_model::ranking::Ranking;
use reconvene_model::state::{ObjectState, StateEntry, StatesReader};
use reconvene_model::{GlobalId, PeerId, PropertyType, Seq, TxHash, Uid};

use OpKind::{Insert, Remove, Update};

use crate::codec::{ops_block, states_block};
use crate::histories::{A, B};

const TASK: Uid = Uid(0x64);
const TITLE: Uid = Uid(0x65);
const DONE: Uid = Uid(0x66);
const PROJECT_OF_TASK: Uid = Uid(0x67);
const TAGS: Uid = Uid(0x68);
const DUE: Uid = Uid(0x69);
const FROM_A_NEWER_RELEASE: Uid = Uid(0x6a);
const PROJECT: Uid = Uid(0xc8);
const NAME: Uid = Uid(0xc9);
const SETTING: Uid = Uid(0xfa);
const VOLUME: Uid = Uid(0xfb);
const PART: Uid = Uid(0x12c);
const PART_NAME: Uid = Uid(0x12d);
const STOCK: Uid = Uid(0x12e);
const LABELS: Uid = Uid(0x12f);
const SHELVES: Uid = Uid(0x130);

/// 2026-01-01 12:00:00 UTC in milliseconds since 1970.
const NOON_MS: u64 = 1_767_268_800_000;

const FILES: [&str; 3] = ["a-1.tx", "b-1.tx", "a-2.tx"];

/// What the transactions lead to, under policies that rank nothing, and were all entities under `arrival`.
const STATES: [(&str, Ranking); 2] = [("all.states", Ranking::Time), ("by-arrival.states", Ranking::Arrival)];

/// What Ada and Ben count later on.
const COUNTING: [&str; 2] = ["a-3.tx", "b-2.tx"];

/// Both parts of the story.
fn all_txs() -> impl Iterator<Item = (&'static str, (TxHead, Vec<Op<'static>>))> {
    FILES.into_iter().zip(story()).chain(COUNTING.into_iter().zip(counting()))
}

#[test]
fn transactions_are_written_byte_for_byte() {
    for (name, (head, ops)) in all_txs() {
        check_file(name, &encode_tx(&head, &ops_block(head.origin, &ops)));
    }
}

#[test]
fn transactions_are_read() {
    for (name, (head, ops)) in all_txs() {
        let bytes = read_file(name);
        let (read, block) = decode_tx(&bytes).unwrap();
        assert_eq!(read, head, "{name}");
        let read: Vec<_> = OpsReader::new(head.origin, block).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, ops, "{name}");
    }
}

#[test]
fn the_second_transaction_of_a_names_the_first() {
    let second = read_file("a-2.tx");
    assert_eq!(decode_tx(&second).unwrap().0.previous, TxHash::of(&read_file("a-1.tx")));
}

#[test]
fn states_are_written_byte_for_byte() {
    for (name, ranking) in STATES {
        check_file(name, &states_block(&merged_files(ranking)));
    }
    check_file("counting.states", &states_block(&merged(&COUNTING, 4, Ranking::Time)));
}

#[test]
fn states_are_read() {
    for (name, ranking) in STATES {
        let bytes = read_file(name);
        let read: Vec<_> = StatesReader::new(&bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, merged_files(ranking), "{name}");
    }
    let bytes = read_file("counting.states");
    let read: Vec<_> = StatesReader::new(&bytes).unwrap().map(Result::unwrap).collect();
    assert_eq!(read, merged(&COUNTING, 4, Ranking::Time));
}

/// The README names these values as well.
#[test]
fn what_was_counted_is_as_told() {
    let [part] = &merged(&COUNTING, 4, Ranking::Time)[..] else { panic!("there is one part") };
    let shown = |uid: Uid, kind: Kind, ty: PropertyType| {
        kind.shown(ty, part.state.register(uid).unwrap().cell.as_deref()).unwrap()
    };
    assert_eq!(shown(STOCK, Kind::Counter, PropertyType::Long), 7_i64.to_le_bytes());
    let tags = [&6_u32.to_le_bytes()[..], b"garden", &6_u32.to_le_bytes(), b"urgent"].concat();
    assert_eq!(shown(LABELS, Kind::Strings, PropertyType::StringVector), tags);
    let shelves = [(-1_i64).to_le_bytes(), 3_i64.to_le_bytes()].concat();
    assert_eq!(shown(SHELVES, Kind::Integers, PropertyType::LongVector), shelves);
}

/// The README names these values, so that whoever implements the merge elsewhere can compare.
#[test]
fn the_story_ends_as_told() {
    let entries = merged_files(Ranking::Time);
    let show = |entry: &StateEntry<'_>| {
        let state = &entry.state;
        format!("{} {} {} {} {}", entry.seq, entry.entity.0, entry.gid, state.generation, state.exists)
    };
    let shown: Vec<_> = entries.iter().map(show).collect();
    assert_eq!(
        shown,
        [
            "1 200 0a0a0a0a0a0a0a0a:1 0 true",
            "2 100 0b0b0b0b0b0b0b0b:1 0 true",
            "3 100 0a0a0a0a0a0a0a0a:1 0 true",
            "3 100 0b0b0b0b0b0b0b0b:2 1 false",
            "3 250 0000000000000000:1 1 true",
        ]
    );
    let dig = &entries[2].state;
    assert_eq!(dig.register(TITLE).unwrap().cell.as_deref(), Some(&b"Dig deep"[..]));
    assert_eq!(dig.register(TITLE).unwrap().stamp.peer, A);
    assert_eq!(dig.register(DONE).unwrap().stamp.peer, B);
}

/// The transactions of the story, in the order of the server's history.
fn story() -> [(TxHead, Vec<Op<'static>>); 3] {
    let garden = GlobalId::new(A, 1);
    let dig = GlobalId::new(A, 1);
    let (sow, weed) = (GlobalId::new(B, 1), GlobalId::new(B, 2));
    let setting = GlobalId::new(PeerId::SHARED, 1);
    let in_garden = || some(PROJECT_OF_TASK, PropertyType::Relation, garden.to_bytes());

    let first = TxHead { origin: A, number: 1, previous: TxHash::NONE, hlc: NOON_MS << 16 };
    let first_ops = vec![
        op(PROJECT, garden, 0, Insert, vec![some(NAME, PropertyType::String, "Garden")]),
        op(
            TASK,
            dig,
            0,
            Insert,
            vec![
                some(TITLE, PropertyType::String, "Dig"),
                some(DONE, PropertyType::Bool, [0]),
                in_garden(),
                null(DUE, PropertyType::Date),
            ],
        ),
    ];
    let second = TxHead { origin: B, number: 1, previous: TxHash::NONE, hlc: ((NOON_MS + 5_000) << 16) + 2 };
    let tags = [&6_u32.to_le_bytes()[..], b"spring", &4_u32.to_le_bytes(), b"peas"].concat();
    let due = (NOON_MS + 86_400_000).to_le_bytes();
    let second_ops = vec![
        op(TASK, dig, 0, Update, vec![some(DONE, PropertyType::Bool, [1])]),
        op(
            TASK,
            sow,
            0,
            Insert,
            vec![
                some(TITLE, PropertyType::String, "Säen"),
                in_garden(),
                some(TAGS, PropertyType::StringVector, tags),
                some(DUE, PropertyType::Date, due),
            ],
        ),
        op(TASK, weed, 0, Insert, vec![some(TITLE, PropertyType::String, "Weed")]),
        op(SETTING, setting, 0, Insert, vec![some(VOLUME, PropertyType::Int, 11_i32.to_le_bytes())]),
    ];
    let previous = TxHash::of(&encode_tx(&first, &ops_block(A, &first_ops)));
    let third = TxHead { origin: A, number: 2, previous, hlc: (NOON_MS + 60_000) << 16 };
    let mut unknown = some(FROM_A_NEWER_RELEASE, PropertyType::Flex, [0xca, 0xfe]);
    unknown.ty = 200;
    let third_ops = vec![
        op(TASK, dig, 0, Update, vec![some(TITLE, PropertyType::String, "Dig deep"), unknown]),
        op(TASK, weed, 0, Remove, vec![]),
        op(SETTING, setting, 0, Remove, vec![]),
        op(SETTING, setting, 1, Insert, vec![some(VOLUME, PropertyType::Int, 7_i32.to_le_bytes())]),
    ];
    [(first, first_ops), (second, second_ops), (third, third_ops)]
}

/// What they count later on.
fn counting() -> [(TxHead, Vec<Op<'static>>); 2] {
    let [(a, a_ops), (b, b_ops), (a_2, a_2_ops)] = story();
    let hash = |head: &TxHead, ops: &[Op<'_>]| TxHash::of(&encode_tx(head, &ops_block(head.origin, ops)));
    assert_eq!(a_2.previous, hash(&a, &a_ops));
    let bolts = GlobalId::new(A, 2);
    let third =
        TxHead { origin: A, number: 3, previous: hash(&a_2, &a_2_ops), hlc: (NOON_MS + 120_000) << 16 };
    let strings = |changes: &[(&str, bool)]| {
        set_change(changes.iter().map(|(key, present)| (key.as_bytes(), *present)))
            .expect("something changes")
    };
    let shelves = [3_i64, -1].map(i64::to_le_bytes).concat();
    let third_ops = vec![op(
        PART,
        bolts,
        0,
        Insert,
        vec![
            some(PART_NAME, PropertyType::String, "Bolt"),
            merging(STOCK, Kind::Counter, counter_change(10)),
            merging(LABELS, Kind::Strings, strings(&[("garden", true), ("spring", true)])),
            merging(SHELVES, Kind::Integers, Kind::Integers.change_to(Some(&shelves)).expect("two shelves")),
        ],
    )];
    let second = TxHead { origin: B, number: 2, previous: hash(&b, &b_ops), hlc: (NOON_MS + 180_000) << 16 };
    let second_ops = vec![op(
        PART,
        bolts,
        0,
        Update,
        vec![
            merging(STOCK, Kind::Counter, counter_change(-3)),
            merging(LABELS, Kind::Strings, strings(&[("spring", false), ("urgent", true)])),
        ],
    )];
    [(third, third_ops), (second, second_ops)]
}

fn merging(uid: Uid, kind: Kind, change: Vec<u8>) -> Cell<'static> {
    Cell { uid, ty: kind as u8, bytes: Some(Cow::Owned(change)) }
}

fn op(entity: Uid, gid: GlobalId, generation: u64, kind: OpKind, cells: Vec<Cell<'static>>) -> Op<'static> {
    Op { entity, gid, generation, kind, cells }
}

fn some(uid: Uid, ty: PropertyType, bytes: impl AsRef<[u8]>) -> Cell<'static> {
    Cell { uid, ty: ty as u8, bytes: Some(Cow::Owned(bytes.as_ref().to_vec())) }
}

fn null(uid: Uid, ty: PropertyType) -> Cell<'static> {
    Cell { uid, ty: ty as u8, bytes: None }
}

/// All objects after the files' transactions became Seq 1, 2 and 3: by Seq, then entity, then global id.
fn merged_files(ranking: Ranking) -> Vec<StateEntry<'static>> {
    merged(&FILES, 1, ranking)
}

/// All objects after these files' transactions became the Seqs from `first` on.
fn merged(files: &[&str], first: u64, ranking: Ranking) -> Vec<StateEntry<'static>> {
    let mut objects: BTreeMap<(Uid, GlobalId), (Seq, ObjectState<'static>)> = BTreeMap::new();
    for (seq, name) in (first..).map(Seq).zip(files) {
        let bytes = read_file(name);
        let (head, block) = decode_tx(&bytes).expect("a golden transaction is readable");
        for op in OpsReader::new(head.origin, block).expect("golden ops are readable") {
            let op = op.expect("a golden op is readable").into_owned();
            let object = objects.entry((op.entity, op.gid)).or_default();
            let merged = merge_op(&mut object.1, &op, ranking.stamp(head.stamp(), &op.cells, Some(seq)));
            assert_eq!(merged, Merged::Changed, "every op of the story changes something");
            object.0 = seq;
        }
    }
    let mut entries: Vec<_> = objects
        .into_iter()
        .map(|((entity, gid), (seq, state))| StateEntry { entity, gid, seq, state })
        .collect();
    entries.sort_by_key(|entry| entry.seq);
    entries
}

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "fixtures", "changes", name].iter().collect()
}

fn read_file(name: &str) -> Vec<u8> {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn check_file(name: &str, bytes: &[u8]) {
    if std::env::var_os("RECONVENE_WRITE_FIXTURES").is_some() {
        std::fs::write(path(name), bytes)
            .expect("the fixtures are writable when they are asked to be written");
    }
    assert_eq!(read_file(name), bytes, "{name} is not what this release writes");
}
