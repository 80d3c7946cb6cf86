//! Records as they lie in a store whose file was damaged.

use std::sync::LazyLock;

use reconvene_expr::{Predicate, check, parse};
use reconvene_model::codec::put_varint;
use reconvene_model::record::{Record, SyncHeader, Table, TableLayout, TableWriter};
use reconvene_model::{EntityDef, PropertyType, ValueRef};

use crate::entities;
use crate::memory;

/// How much decoding a whole record may take for each of its bytes.
const MEMORY_FACTOR: usize = 32;

/// Conditions that read every kind of property.
const CONDITIONS: [&str; 5] = [
    "bool == true or byte > 3 or short < -1 or char >= 65 or int != 7",
    "long in (1, 2, null) or float > 0.5 or double <= 1e300",
    "string *= \"a\" or string ==~ \"STRASSE\" or string in~ (\"a\", \"b\")",
    "date > 5 and not (datenano < 5) or relation != null",
    "relation == 7 or string $=~ \"x\" or string ^= \"\"",
];

struct Reading {
    entity: EntityDef,
    layout: TableLayout,
    predicates: Vec<Predicate>,
}

static ALL_TYPES: LazyLock<Reading> = LazyLock::new(|| {
    let entity = entities::all_types();
    let predicate = |text| {
        let expr = parse(text).expect("the condition is well-formed");
        check(&expr, &entity).expect("the condition fits the entity")
    };
    let predicates = CONDITIONS.map(predicate).into();
    Reading { layout: TableLayout::new(&entity), entity, predicates }
});

static TEXTS: LazyLock<Reading> = LazyLock::new(|| {
    let entity = entities::texts(300);
    Reading { layout: TableLayout::new(&entity), entity, predicates: Vec::new() }
});

/// Any bytes as one record, read as an object with properties of all types and as one with many texts.
pub fn record(bytes: &[u8]) {
    let Ok(record) = Record::parse(bytes) else { return };
    assert!(record.table.as_bytes().len() <= bytes.len());
    if let Some(header) = record.header {
        let parsed = memory::bounded("a sync header", bytes.len(), MEMORY_FACTOR, || header.parse());
        if let Ok(parsed) = parsed {
            assert_eq!(parsed.exists, header.exists());
            check_header(&parsed, record.table.as_bytes());
        }
    }
    for reading in [&*ALL_TYPES, &*TEXTS] {
        check_table(&record.table, reading);
    }
}

fn check_header(header: &SyncHeader, table: &[u8]) {
    let mut bytes = Vec::new();
    header.write_record(table, &mut bytes);
    let again = Record::parse(&bytes).expect("a written record can be parted");
    assert_eq!(again.table.as_bytes(), table);
    let again = again.header.map(|header| header.parse());
    assert_eq!(again, Some(Ok(header.clone())), "a header that was read is written and read as the same");
    for slot in [0, 1, 5, usize::from(u16::MAX)] {
        header.stamp_of(slot, 6);
    }
}

fn check_table(table: &Table<'_>, reading: &Reading) {
    let layout = &reading.layout;
    let input = table.as_bytes().len();
    for predicate in &reading.predicates {
        // A damaged property is an error, and no answer.
        let _ = predicate.matches(7, table);
    }
    if table.check(layout).is_err() {
        return;
    }
    let mut writer = TableWriter::new(layout);
    let copied =
        memory::bounded("the copy of a table", input, MEMORY_FACTOR, || writer.copy_from(table).is_ok());
    if !copied {
        return;
    }
    let copy = Table::parse(writer.as_bytes()).expect("a written table has a frame");
    assert_eq!(copy.check(layout), Ok(()));
    for property in reading.entity.stored_properties() {
        let (slot, ty) = (property.slot(), property.ty);
        let before = table.get(slot, ty).expect("the table was checked");
        let after = copy.get(slot, ty).expect("the copy was checked");
        assert!(is_same(before, after), "slot {slot}, a {ty}: {before:?} became {after:?}");
        let stored = memory::bounded("a stored value", input, MEMORY_FACTOR, || table.stored(slot, ty));
        let stored = stored.expect("the table was checked");
        assert_eq!(stored.is_none(), table.is_null(slot));
        assert_eq!(stored, copy.stored(slot, ty).expect("the copy was checked"));
    }
}

/// Whether two values are of the same bytes: NaN equals itself here.
fn is_same(one: ValueRef<'_>, other: ValueRef<'_>) -> bool {
    match (one, other) {
        (ValueRef::Float(one), ValueRef::Float(other)) => one.to_bits() == other.to_bits(),
        (ValueRef::Double(one), ValueRef::Double(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}

/// A record without header around a table in which every slot of an object with many texts is the same long one.
pub fn shared_text(slots: usize, text_bytes: usize) -> Vec<u8> {
    let vtable_bytes = 4 + 2 * slots;
    let table = (4 + vtable_bytes).next_multiple_of(4);
    let mut bytes = vec![0; table];
    bytes[..4].copy_from_slice(&(table as u32).to_le_bytes());
    bytes[4..6].copy_from_slice(&(vtable_bytes as u16).to_le_bytes());
    bytes[6..8].copy_from_slice(&8_u16.to_le_bytes());
    bytes[8..4 + vtable_bytes].as_chunks_mut::<2>().0.fill(4_u16.to_le_bytes());
    bytes.extend_from_slice(&((table - 4) as u32).to_le_bytes());
    bytes.extend_from_slice(&4_u32.to_le_bytes());
    bytes.extend_from_slice(&(text_bytes as u32).to_le_bytes());
    bytes.resize(bytes.len() + text_bytes, b'a');
    [&[0], bytes.as_slice()].concat()
}

/// A record without header around a table in which all strings of the one vector are the same long one.
pub fn shared_strings(strings: usize, text_bytes: usize) -> Vec<u8> {
    let slot = ALL_TYPES
        .entity
        .stored_properties()
        .find(|property| property.ty == PropertyType::StringVector)
        .expect("there is a property of every type")
        .slot();
    let mut bytes = shared_text(slot + 1, 0);
    let vector = bytes.len() - 4;
    bytes[9..9 + 2 * slot].fill(0);
    bytes[vector..].copy_from_slice(&(strings as u32).to_le_bytes());
    let text = vector + 4 + 4 * strings;
    for at in 0..strings {
        let place = vector + 4 + 4 * at;
        bytes.extend_from_slice(&((text - place) as u32).to_le_bytes());
    }
    bytes.extend_from_slice(&(text_bytes as u32).to_le_bytes());
    bytes.resize(bytes.len() + text_bytes, b'a');
    bytes
}

/// A record whose header of this many bytes has flags that announce all there can be.
pub fn long_header(len: usize) -> Vec<u8> {
    let mut bytes = vec![1];
    put_varint(&mut bytes, len as u64);
    bytes.push(0x3f);
    bytes.resize(bytes.len() + len, 0x01);
    bytes
}
