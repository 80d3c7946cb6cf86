//! What is written is read, whole and by single properties, by this schema version and by its neighbours.

use proptest::prelude::*;
use reconvene_model::record::{EMPTY_TABLE, StringVector, Table, TableLayout, TableWriter, ValueError};
use reconvene_model::{Flex, PropertyType, Value, ValueRef};

use crate::arbitrary::{canonical, entity, entity_of, properties, slot, table_of};

/// The canonical bytes of a borrowed value, from its parts.
fn canonical_ref(ty: PropertyType, value: ValueRef<'_>) -> Option<Vec<u8>> {
    let owned = match value {
        ValueRef::Null => Value::Null,
        ValueRef::Bool(bit) => Value::Bool(bit),
        ValueRef::Int(number) => Value::Int(number),
        ValueRef::Float(number) => Value::Float(number),
        ValueRef::Double(number) => Value::Double(number),
        ValueRef::String(text) => Value::String(text.into()),
        ValueRef::Relation(id) => Value::Relation(id),
        ValueRef::Flex(bytes) => Value::Flex(Flex::decode(bytes).unwrap()),
        ValueRef::Elements(bytes) => return Some(bytes.into()),
        ValueRef::StringVector(strings) => {
            Value::StringVector(strings.iter().map(|string| string.unwrap().to_owned()).collect())
        }
    };
    canonical(ty, &owned)
}

proptest! {
    #[test]
    fn what_is_written_is_read(properties in properties()) {
        let layout = TableLayout::new(&entity_of(&properties));
        let bytes = table_of(&layout, &properties);
        let table = Table::parse(&bytes).unwrap();
        table.check(&layout).unwrap();
        prop_assert_eq!(table.slots(), layout.slots());
        for (id, ty, value) in &properties {
            let (slot, expected) = (slot(*id), canonical(*ty, value));
            prop_assert_eq!(layout.slot_type(slot), Some(*ty));
            prop_assert_eq!(table.is_null(slot), expected.is_none());
            prop_assert_eq!(canonical_ref(*ty, table.get(slot, *ty).unwrap()), expected.clone());
            prop_assert_eq!(table.stored(slot, *ty).unwrap().map(|bytes| bytes.into_owned()), expected);
        }
        for slot in (0..layout.slots() + 3).filter(|&slot| layout.slot_type(slot).is_none()) {
            prop_assert!(table.is_null(slot), "the id, retired properties and later ones");
        }
    }

    #[test]
    fn a_writer_that_is_cleared_is_a_new_one(first in properties(), second in properties()) {
        // The first values that fit the second layout, then the second ones.
        let layout = TableLayout::new(&entity_of(&second));
        let mut writer = TableWriter::new(&layout);
        for (id, _, value) in &first {
            let _ = writer.set_value(slot(*id), value);
        }
        writer.clear();
        for (id, _, value) in &second {
            writer.set_value(slot(*id), value).unwrap();
        }
        let mut table = Vec::new();
        writer.finish(&mut table);
        prop_assert_eq!(table, table_of(&layout, &second));
    }

    #[test]
    fn a_newer_schema_takes_over_what_an_older_one_wrote(mut properties in properties(), older in 0_usize..24) {
        let layout = TableLayout::new(&entity_of(&properties));
        let known = older.min(properties.len());
        let bytes = table_of(&TableLayout::new(&entity_of(&properties[..known])), &properties[..known]);
        let table = Table::parse(&bytes).unwrap();
        table.check(&layout).unwrap();
        let mut writer = TableWriter::new(&layout);
        writer.copy_from(&table).unwrap();
        let mut copied = Vec::new();
        writer.finish(&mut copied);
        for (_, _, value) in &mut properties[known..] {
            *value = Value::Null;
        }
        prop_assert_eq!(copied, table_of(&layout, &properties));
    }

    #[test]
    fn an_older_schema_reads_what_a_newer_one_wrote(properties in properties(), older in 0_usize..24) {
        let bytes = table_of(&TableLayout::new(&entity_of(&properties)), &properties);
        let known = &properties[..older.min(properties.len())];
        let table = Table::parse(&bytes).unwrap();
        table.check(&TableLayout::new(&entity_of(known))).unwrap();
        for (id, ty, value) in known {
            prop_assert_eq!(canonical_ref(*ty, table.get(slot(*id), *ty).unwrap()), canonical(*ty, value));
        }
    }
}

#[test]
fn integers_are_extended_by_type() {
    use PropertyType as T;
    let cases: [(T, i64, i64); 9] = [
        (T::Bool, 1, 1),
        (T::Byte, 0xff, -1),
        (T::Byte, -128, -128),
        (T::Short, 0xffff, -1),
        (T::Char, 0xffff, 0xffff),
        (T::Int, 0xffff_ffff, -1),
        (T::Long, i64::MIN, i64::MIN),
        (T::Date, -1, -1),
        (T::DateNano, i64::MAX, i64::MAX),
    ];
    for (ty, written, read) in cases {
        let layout = TableLayout::new(&entity(&[(2, ty)]));
        let mut writer = TableWriter::new(&layout);
        writer.set_int(1, written);
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        assert_eq!(Table::parse(&bytes).unwrap().int(1, ty), Ok(Some(read)), "{ty}");
    }
}

#[test]
fn zero_is_not_null() {
    let types: Vec<_> = PropertyType::ALL.iter().zip(2..).map(|(&ty, id)| (id, ty)).collect();
    let layout = TableLayout::new(&entity(&types));
    let mut writer = TableWriter::new(&layout);
    for &(id, ty) in &types {
        match ty {
            PropertyType::Float => writer.set_float(slot(id), 0.0),
            PropertyType::Double => writer.set_double(slot(id), 0.0),
            PropertyType::StringVector => writer.set_strings(slot(id), std::iter::empty()),
            _ if ty.scalar_bytes().is_some() => writer.set_int(slot(id), 0),
            _ => writer.set_bytes(slot(id), &[]),
        }
    }
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let table = Table::parse(&bytes).unwrap();
    for &(id, ty) in &types {
        let stored = table.stored(slot(id), ty).unwrap().unwrap();
        assert!(stored.iter().all(|&byte| byte == 0), "{ty}");
    }
}

#[test]
fn a_property_that_is_set_to_null_is_null_again() {
    let layout = TableLayout::new(&entity(&[(2, PropertyType::String), (3, PropertyType::Relation)]));
    let mut writer = TableWriter::new(&layout);
    writer.set_bytes(1, b"text");
    writer.set_int(2, 7);
    writer.set_null(1);
    writer.set_value(2, &Value::Relation(0)).unwrap();
    writer.set_null(99);
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let table = Table::parse(&bytes).unwrap();
    assert!(table.is_null(1) && table.is_null(2), "a link to nothing is null");
}

#[test]
fn values_that_do_not_fit_are_refused_and_change_nothing() {
    use PropertyType as T;
    let range = |ty, number| ValueError::Range { ty, number };
    let kind = |ty, got| ValueError::Kind { ty, got };
    let cases = [
        (T::Byte, Value::Int(256), range(T::Byte, 256)),
        (T::Byte, Value::Int(-129), range(T::Byte, -129)),
        (T::Char, Value::Int(-1), range(T::Char, -1)),
        (T::Short, Value::Int(65_536), range(T::Short, 65_536)),
        (T::Int, Value::Int(1 << 32), range(T::Int, 1 << 32)),
        (T::Bool, Value::Int(1), kind(T::Bool, "an integer")),
        (T::Long, Value::Bool(true), kind(T::Long, "a boolean")),
        (T::Double, Value::Float(1.0), kind(T::Double, "a 32-bit float")),
        (T::String, Value::Flex(Flex::Null), kind(T::String, "a Flex value")),
        (T::Relation, Value::Int(1), kind(T::Relation, "an integer")),
        (T::LongVector, Value::IntVector(vec![]), kind(T::LongVector, "a vector of 32-bit integers")),
    ];
    for (ty, value, error) in cases {
        let layout = TableLayout::new(&entity(&[(2, ty)]));
        let mut writer = TableWriter::new(&layout);
        assert_eq!(writer.set_value(1, &value), Err(error));
        assert_eq!(writer.set_value(0, &value), Err(ValueError::NoSlot { slot: 0 }), "the id is no slot");
        let mut bytes = Vec::new();
        writer.finish(&mut bytes);
        assert_eq!(bytes, table_of(&layout, &[]), "{ty}");
    }
}

#[test]
fn a_table_of_the_largest_entity_can_be_written_and_read() {
    let count = u32::try_from(reconvene_model::schema::PROPERTIES_MAX).unwrap();
    let types: Vec<_> = (2..=count).map(|id| (id, PropertyType::Double)).collect();
    let layout = TableLayout::new(&entity(&types));
    let mut writer = TableWriter::new(&layout);
    (2..=count).for_each(|id| writer.set_double(slot(id), f64::from(id)));
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let table = Table::parse(&bytes).unwrap();
    assert!((2..=count).all(|id| table.double(slot(id)) == Ok(Some(f64::from(id)))));
}

#[test]
fn the_empty_table_is_what_an_entity_without_properties_has() {
    let table = Table::parse(EMPTY_TABLE).unwrap();
    assert_eq!(table.slots(), 0);
    assert!(table.is_null(0));
}

#[test]
fn vectors_of_strings_know_their_length() {
    let layout = TableLayout::new(&entity(&[(2, PropertyType::StringVector)]));
    let mut writer = TableWriter::new(&layout);
    writer.set_strings(1, ["spring", "", "peas"].into_iter());
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let strings: StringVector<'_> = Table::parse(&bytes).unwrap().strings(1).unwrap().unwrap();
    assert_eq!((strings.len(), strings.is_empty()), (3, false));
    assert_eq!(strings.iter().collect::<Result<Vec<_>, _>>(), Ok(vec!["spring", "", "peas"]));
    assert_eq!(format!("{strings:?}"), r#"[Ok("spring"), Ok(""), Ok("peas")]"#);
}
