//! Truncated, flipped and random bytes: an error or another value, never a panic.

use proptest::prelude::*;
use reconvene_model::PropertyType;
use reconvene_model::record::{Record, Table, TableLayout, TableWriter};

use crate::arbitrary::{entity, entity_of, properties, table_of};
use crate::headers::header;

/// Does with the bytes whatever a store could do with a record.
fn exercise(bytes: &[u8], layout: &TableLayout) {
    let Ok(record) = Record::parse(bytes) else { return };
    if let Some(header) = record.header {
        header.exists();
        if let Ok(header) = header.parse() {
            (0..layout.slots() + 2).for_each(|slot| {
                header.stamp_of(slot, record.table.slots());
            });
        }
    }
    read_all(&record.table, layout);
}

fn read_all(table: &Table<'_>, layout: &TableLayout) {
    for slot in 0..layout.slots() + 2 {
        for &ty in PropertyType::ALL {
            let _ = table.get(slot, ty);
            let _ = table.int(slot, ty);
            let _ = table.stored(slot, ty);
            let _ = table.bytes(slot, ty);
        }
        let _ = (table.is_null(slot), table.float(slot), table.double(slot), table.str(slot));
        if let Ok(Some(strings)) = table.strings(slot) {
            let _ = strings.iter().filter(Result::is_ok).count();
        }
    }
    let _ = table.check(layout);
    let _ = TableWriter::new(layout).copy_from(table);
}

proptest! {
    #[test]
    fn truncated_records_never_panic(header in header(), properties in properties()) {
        let layout = TableLayout::new(&entity_of(&properties));
        let mut record = Vec::new();
        header.write_record(&table_of(&layout, &properties), &mut record);
        (0..record.len()).for_each(|end| exercise(&record[..end], &layout));
    }

    #[test]
    fn flipped_bits_never_panic(
        header in header(),
        properties in properties(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..8), 1..8),
    ) {
        let layout = TableLayout::new(&entity_of(&properties));
        let mut record = Vec::new();
        header.write_record(&table_of(&layout, &properties), &mut record);
        for (at, bit) in flips {
            let at = at.index(record.len());
            record[at] ^= 1 << bit;
            exercise(&record, &layout);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, properties in properties()) {
        exercise(&bytes, &TableLayout::new(&entity_of(&properties)));
    }
}

/// Every single bit of a record with every type, and every offset turned to its extremes.
#[test]
fn no_single_damage_panics() {
    let types: Vec<_> = PropertyType::ALL.iter().zip(2..).map(|(&ty, id)| (id, ty)).collect();
    let layout = TableLayout::new(&entity(&types));
    let mut writer = TableWriter::new(&layout);
    for &(id, ty) in &types {
        let slot = id as usize - 1;
        match ty {
            PropertyType::Flex => writer.set_stored(slot, &[1, 4, 1]),
            PropertyType::StringVector => writer.set_strings(slot, ["a", "bc"].into_iter()),
            _ => writer.set_stored(slot, &vec![b'x'; ty.scalar_bytes().or(ty.element_bytes()).unwrap_or(3)]),
        }
    }
    let mut table = Vec::new();
    writer.finish(&mut table);
    let mut record = Vec::new();
    Record::local(&table, &mut record);
    Record::parse(&record).unwrap().table.check(&layout).unwrap();
    for at in 0..record.len() {
        for damage in (0..8).map(|bit| record[at] ^ (1 << bit)).chain([0, 0x7f, 0x80, 0xff]) {
            let mut damaged = record.clone();
            damaged[at] = damage;
            exercise(&damaged, &layout);
        }
        if let Some(word) = record.get(at..at + 4) {
            for extreme in [0, 1, i32::MAX as u32, i32::MIN as u32, u32::MAX, u32::MAX - 3] {
                let mut damaged = record.clone();
                damaged[at..at + word.len()].copy_from_slice(&extreme.to_le_bytes());
                exercise(&damaged, &layout);
            }
        }
    }
}

/// The frame of a table: each of its numbers wrong, with the words that tell which.
#[test]
fn damaged_frames_are_told() {
    let cases: [(&[u8], &str); 9] = [
        (&[], "no root"),
        (&[8, 0, 0], "no root"),
        (&[8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0], "the root lies outside"),
        (&[8, 0, 0, 0, 4, 0, 4, 0, 9, 0, 0, 0], "the vtable lies outside"),
        (&[8, 0, 0, 0, 4, 0, 4, 0, 0, 0, 0, 0x80], "the vtable lies outside"),
        (&[8, 0, 0, 0, 2, 0, 4, 0, 4, 0, 0, 0], "impossible lengths"),
        (&[8, 0, 0, 0, 5, 0, 4, 0, 4, 0, 0, 0], "impossible lengths"),
        (&[8, 0, 0, 0, 10, 0, 4, 0, 4, 0, 0, 0], "the vtable lies outside"),
        (&[8, 0, 0, 0, 4, 0, 5, 0, 4, 0, 0, 0], "the inline part lies outside"),
    ];
    for (bytes, words) in cases {
        let error = Table::parse(bytes).unwrap_err().to_string();
        assert!(error.contains(words), "{bytes:?}: {error}");
    }
}
