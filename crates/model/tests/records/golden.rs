//! The files under `fixtures/records`, byte for byte: what this release writes, and what every later one has to read.
//!
//! Their README tells the story. To write them anew after a change of layout, run the tests with
//! `RECONVENE_WRITE_FIXTURES=1`, and say so in the change log: stores keep such bytes.

use std::path::PathBuf;

use reconvene_model::kinds::{Kind, counter_change, set_change};
use reconvene_model::record::{EMPTY_TABLE, KindState, Record, SyncHeader, TableLayout, UnknownRegister};
use reconvene_model::{Flex, GlobalId, PeerId, PropertyType, Seq, Stamp, Uid, Value};

use crate::arbitrary::{canonical, entity_of, slot, table_of};

const ADA: PeerId = PeerId(0x0a0a_0a0a_0a0a_0a0a);
const BEN: PeerId = PeerId(0x0b0b_0b0b_0b0b_0b0b);

/// 2026-01-01 12:00:00 UTC in milliseconds since 1970.
const NOON_MS: u64 = 1_767_268_800_000;

type Properties = Vec<(u32, PropertyType, Value)>;

fn at(ms: u64, counter: u64, peer: PeerId) -> Stamp {
    Stamp::new((NOON_MS + ms) << 16 | counter, peer)
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// The properties of a task: title, done, project, tags, due.
fn task(
    title: &str,
    done: Option<bool>,
    project: u64,
    tags: Option<[&str; 2]>,
    due: Option<u64>,
) -> Properties {
    use PropertyType as T;
    let due = due.map_or(Value::Null, |ms| Value::Int(i64::try_from(NOON_MS + ms).unwrap()));
    let tags = tags.map_or(Value::Null, |tags| Value::StringVector(tags.map(str::to_owned).into()));
    vec![
        (2, T::String, text(title)),
        (3, T::Bool, done.map_or(Value::Null, Value::Bool)),
        (4, T::Relation, Value::Relation(project)),
        (5, T::StringVector, tags),
        (6, T::Date, due),
    ]
}

/// A value of each type, in order of type; the ids leave a gap at 7, where one was retired.
fn kinds() -> Properties {
    use PropertyType as T;
    let values = [
        (T::Bool, Value::Bool(true)),
        (T::Byte, Value::Int(-2)),
        (T::Short, Value::Int(-300)),
        (T::Char, Value::Int(0x20ac)),
        (T::Int, Value::Int(-70_000)),
        (T::Long, Value::Int(-5_000_000_000)),
        (T::Float, Value::Float(1.5)),
        (T::Double, Value::Double(-0.1)),
        (T::String, text("größte")),
        (T::Date, Value::Int(i64::try_from(NOON_MS).unwrap())),
        (T::Relation, Value::Relation(3)),
        (T::DateNano, Value::Int(i64::try_from(NOON_MS * 1_000_000 + 1).unwrap())),
        (T::Flex, Value::Flex(Flex::Int(5))),
        (T::BoolVector, Value::BoolVector(vec![true, false, true])),
        (T::ByteVector, Value::ByteVector(vec![0xca, 0xfe])),
        (T::ShortVector, Value::ShortVector(vec![1, -1])),
        (T::CharVector, Value::ShortVector(vec![0x41, 0x20ac])),
        (T::IntVector, Value::IntVector(vec![1, -1])),
        (T::LongVector, Value::LongVector(vec![1, -1])),
        (T::FloatVector, Value::FloatVector(vec![0.5, -0.5])),
        (T::DoubleVector, Value::DoubleVector(vec![0.5, -0.5])),
        (T::StringVector, Value::StringVector(vec!["one".into(), String::new()])),
        (T::DateVector, Value::LongVector(vec![0])),
        (T::DateNanoVector, Value::LongVector(vec![])),
    ];
    (2..).filter(|&id| id != 7).zip(values).map(|(id, (ty, value))| (id, ty, value)).collect()
}

/// Each file: its header, and its properties; none for a tombstone.
fn story() -> Vec<(&'static str, Option<SyncHeader>, Option<Properties>)> {
    let dig = || task("Dig deep", Some(true), 9, None, None);
    let dig_header = SyncHeader {
        exists: true,
        gid: Some(GlobalId::new(ADA, 1)),
        base: at(0, 0, ADA),
        overrides: vec![(1, at(60_000, 0, ADA)), (2, at(5_000, 2, BEN)), (4, Stamp::NEVER)],
        unknown: vec![UnknownRegister {
            uid: Uid(106),
            ty: 200,
            stamp: at(60_000, 0, ADA),
            cell: Some(vec![0xca, 0xfe]),
        }],
        ..SyncHeader::default()
    };
    let sow = task("Säen", None, 9, Some(["spring", "peas"]), Some(86_400_000));
    let sow_header = SyncHeader {
        exists: true,
        base: at(5_000, 2, BEN),
        overrides: vec![(2, Stamp::NEVER)],
        ..SyncHeader::default()
    };
    let weed = SyncHeader { generation: 1, ..SyncHeader::default() };
    let on_server = SyncHeader { seq: Some(Seq(3)), ..dig_header.clone() };
    let again = SyncHeader { exists: true, generation: 1, base: at(60_000, 0, ADA), ..SyncHeader::default() };
    // Ranks as policies give them: precedences 10 and 0, and the place 300.
    let ranked = SyncHeader {
        exists: true,
        base: at(5_000, 2, BEN).ranked((1 << 63) + 10),
        overrides: vec![(2, Stamp::NEVER), (4, at(60_000, 0, ADA).ranked(1 << 63))],
        ..SyncHeader::default()
    };
    let ranked_task = || task("Pay", None, 9, Some(["spring", "peas"]), Some(86_400_000));
    let arrived = SyncHeader {
        exists: true,
        gid: Some(GlobalId::new(ADA, 4)),
        base: at(60_000, 0, ADA).ranked(300),
        ..SyncHeader::default()
    };
    let part = vec![
        (2, PropertyType::String, text("Bolt")),
        (3, PropertyType::Long, Value::Int(7)),
        (4, PropertyType::StringVector, Value::StringVector(vec!["garden".into(), "urgent".into()])),
        (5, PropertyType::LongVector, Value::LongVector(vec![-1, 3])),
    ];
    let part_header = SyncHeader {
        exists: true,
        gid: Some(GlobalId::new(ADA, 2)),
        base: at(120_000, 0, ADA),
        kinds: counted(),
        ..SyncHeader::default()
    };
    vec![
        ("part.record", Some(part_header), Some(part)),
        ("draft.record", None, Some(vec![(2, PropertyType::String, text("Buy seeds"))])),
        ("sow.record", Some(sow_header), Some(sow)),
        ("dig.record", Some(dig_header), Some(dig())),
        ("dig-on-server.record", Some(on_server), Some(dig())),
        ("weed.record", Some(weed), None),
        ("setting.record", Some(again), Some(vec![(2, PropertyType::Int, Value::Int(7))])),
        ("by-precedence.record", Some(ranked), Some(ranked_task())),
        ("by-arrival.record", Some(arrived), Some(vec![(2, PropertyType::Int, Value::Int(7))])),
        ("kinds.record", None, Some(kinds())),
    ]
}

/// What Ada and Ben have counted in the golden changes.
fn counted() -> Vec<KindState> {
    let strings = |changes: &[(&str, bool)]| {
        set_change(changes.iter().map(|(key, present)| (key.as_bytes(), *present))).unwrap()
    };
    let shelves = [3_i64, -1].map(i64::to_le_bytes).concat();
    let (ada, ben) = (at(120_000, 0, ADA), at(180_000, 0, BEN));
    let changes = [
        (2, Kind::Counter, vec![(counter_change(10), ada), (counter_change(-3), ben)]),
        (
            3,
            Kind::Strings,
            vec![
                (strings(&[("garden", true), ("spring", true)]), ada),
                (strings(&[("spring", false), ("urgent", true)]), ben),
            ],
        ),
        (4, Kind::Integers, vec![(Kind::Integers.change_to(Some(&shelves)).unwrap(), ada)]),
    ];
    let state = |(slot, kind, changes): (u16, Kind, Vec<(Vec<u8>, Stamp)>)| {
        let apply = |state: Option<Vec<u8>>, (change, stamp): &(Vec<u8>, Stamp)| {
            kind.apply(state.as_deref(), change, *stamp)
        };
        KindState { slot, kind, state: changes.iter().fold(None, apply).unwrap() }
    };
    changes.into_iter().map(state).collect()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/records").join(name)
}

pub(crate) fn read_file(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn record(header: Option<&SyncHeader>, properties: Option<&Properties>) -> Vec<u8> {
    let table = properties.map_or(EMPTY_TABLE.to_vec(), |properties| {
        table_of(&TableLayout::new(&entity_of(properties)), properties)
    });
    let mut bytes = Vec::new();
    match header {
        Some(header) => header.write_record(&table, &mut bytes),
        None => Record::local(&table, &mut bytes),
    }
    bytes
}

#[test]
fn records_are_written_byte_for_byte() {
    for (name, header, properties) in story() {
        let bytes = record(header.as_ref(), properties.as_ref());
        if std::env::var_os("RECONVENE_WRITE_FIXTURES").is_some() {
            std::fs::write(path(name), &bytes)
                .expect("the fixtures are writable when they are asked to be written");
        }
        assert_eq!(read_file(name), bytes, "{name} is not what this release writes");
    }
}

#[test]
fn records_are_read() {
    for (name, header, properties) in story() {
        let bytes = read_file(name);
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.header.map(|header| header.parse().unwrap()), header, "{name}");
        for (id, ty, value) in properties.iter().flatten() {
            let stored = record.table.stored(slot(*id), *ty).unwrap().map(|bytes| bytes.into_owned());
            assert_eq!(stored, canonical(*ty, value), "{name}, property {id}");
        }
        if properties.is_none() {
            assert_eq!(record.table.slots(), 0, "{name}");
        }
    }
}
