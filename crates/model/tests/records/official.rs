//! The official FlatBuffers library reads the same values from our tables.
//!
//! Its table accessors are unsafe, which only the seam may be, so the values are reached by its checked doors: its verifier
//! finds each field through the vtable and checks the types, and its checked root reads what stands at that place, in a copy
//! of the bytes whose root points there.

use flatbuffers::{
    Follow, ForwardsUOffset, Vector, Verifiable, Verifier, VerifierOptions, field_index_to_field_offset, root,
};
use proptest::prelude::*;
use reconvene_model::record::{EMPTY_TABLE, TableLayout};
use reconvene_model::{Flex, PropertyType, Value};

use crate::arbitrary::{canonical, entity_of, properties, slot, table_of};

/// A table as the official library sees it.
struct Official<'a> {
    bytes: &'a [u8],
    table: usize,
}

impl<'a> Official<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let options = VerifierOptions::default();
        let table = Verifier::new(&options, bytes).get_uoffset(0).unwrap() as usize;
        Official { bytes, table }
    }

    /// Where the field's inline bytes are, by the official reading of the vtable.
    fn place(&self, slot: usize) -> Option<usize> {
        let options = VerifierOptions::default();
        let mut verifier = Verifier::new(&options, self.bytes);
        let field = field_index_to_field_offset(u16::try_from(slot).unwrap());
        verifier.visit_table(self.table).unwrap().deref(field).unwrap()
    }

    /// The verifier's opinion of a field of this type.
    fn verify<T: Verifiable>(&self, slot: usize) {
        let options = VerifierOptions::default();
        let mut verifier = Verifier::new(&options, self.bytes);
        let field = field_index_to_field_offset(u16::try_from(slot).unwrap());
        verifier.visit_table(self.table).unwrap().visit_field::<T>("field", field, false).unwrap().finish();
    }

    /// The same bytes with their root at this place: alignment is counted from the start, so it does not change.
    fn with_root(&self, place: usize) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        bytes[..4].copy_from_slice(&u32::try_from(place).unwrap().to_le_bytes());
        bytes
    }

    fn scalar<T>(&self, slot: usize) -> Option<T>
    where
        T: for<'b> Follow<'b, Inner = T> + Verifiable + 'static,
    {
        self.verify::<T>(slot);
        self.place(slot).map(|place| root::<T>(&self.with_root(place)).unwrap())
    }

    /// What the offset in a field points to.
    fn target(&self, slot: usize) -> Option<Vec<u8>> {
        let options = VerifierOptions::default();
        let place = self.place(slot)?;
        let offset = Verifier::new(&options, self.bytes).get_uoffset(place).unwrap() as usize;
        Some(self.with_root(place + offset))
    }

    fn text(&self, slot: usize) -> Option<String> {
        self.verify::<ForwardsUOffset<&str>>(slot);
        self.target(slot).map(|bytes| root::<&str>(&bytes).unwrap().to_owned())
    }

    fn strings(&self, slot: usize) -> Option<Vec<String>> {
        type Strings<'b> = Vector<'b, ForwardsUOffset<&'b str>>;
        self.verify::<ForwardsUOffset<Strings<'_>>>(slot);
        self.target(slot)
            .map(|bytes| root::<Strings<'_>>(&bytes).unwrap().iter().map(str::to_owned).collect())
    }
}

macro_rules! vector {
    ($table:expr, $slot:expr, $element:ty) => {{
        $table.verify::<ForwardsUOffset<Vector<'_, $element>>>($slot);
        $table
            .target($slot)
            .map(|bytes| root::<Vector<'_, $element>>(&bytes).unwrap().iter().collect::<Vec<$element>>())
    }};
}

/// A property's value, read by the official library as the type that `docs/record.md` gives it.
fn read(table: &Official<'_>, slot: usize, ty: PropertyType) -> Value {
    use PropertyType as T;
    let value = match ty {
        T::Bool => table.scalar::<bool>(slot).map(Value::Bool),
        T::Byte => table.scalar::<i8>(slot).map(|number| Value::Int(number.into())),
        T::Short => table.scalar::<i16>(slot).map(|number| Value::Int(number.into())),
        T::Char => table.scalar::<u16>(slot).map(|number| Value::Int(number.into())),
        T::Int => table.scalar::<i32>(slot).map(|number| Value::Int(number.into())),
        T::Long | T::Date | T::DateNano => table.scalar::<i64>(slot).map(Value::Int),
        T::Relation => table.scalar::<u64>(slot).map(Value::Relation),
        T::Float => table.scalar::<f32>(slot).map(Value::Float),
        T::Double => table.scalar::<f64>(slot).map(Value::Double),
        T::String => table.text(slot).map(Value::String),
        T::StringVector => table.strings(slot).map(Value::StringVector),
        T::Flex => vector!(table, slot, u8).map(|bytes| Value::Flex(Flex::decode(&bytes).unwrap())),
        T::BoolVector => vector!(table, slot, bool).map(Value::BoolVector),
        T::ByteVector => vector!(table, slot, u8).map(Value::ByteVector),
        T::ShortVector | T::CharVector => vector!(table, slot, i16).map(Value::ShortVector),
        T::IntVector => vector!(table, slot, i32).map(Value::IntVector),
        T::LongVector | T::DateVector | T::DateNanoVector => vector!(table, slot, i64).map(Value::LongVector),
        T::FloatVector => vector!(table, slot, f32).map(Value::FloatVector),
        T::DoubleVector => vector!(table, slot, f64).map(Value::DoubleVector),
    };
    value.unwrap_or(Value::Null)
}

proptest! {
    #[test]
    fn the_official_library_reads_the_same(properties in properties()) {
        let layout = TableLayout::new(&entity_of(&properties));
        let bytes = table_of(&layout, &properties);
        let table = Official::new(&bytes);
        for (id, ty, value) in &properties {
            prop_assert_eq!(canonical(*ty, &read(&table, slot(*id), *ty)), canonical(*ty, value), "{}", ty);
        }
        for slot in (0..layout.slots() + 3).filter(|&slot| layout.slot_type(slot).is_none()) {
            prop_assert_eq!(table.place(slot), None);
        }
    }
}

#[test]
fn the_official_library_takes_the_empty_table() {
    assert_eq!(Official::new(EMPTY_TABLE).place(0), None);
}

/// What the official library writes, we read: vtables elsewhere, shared, shorter, and defaults left out.
#[test]
fn tables_of_the_official_library_are_read() {
    use reconvene_model::record::Table;
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let text = builder.create_string("Säen");
    let tags = ["spring", "peas"].map(|tag| builder.create_string(tag));
    let tags = builder.create_vector(&tags);
    let numbers = builder.create_vector(&[1.5_f64, -2.5]);
    let start = builder.start_table();
    builder.push_slot_always(field_index_to_field_offset(1), text);
    builder.push_slot_always(field_index_to_field_offset(2), tags);
    builder.push_slot_always(field_index_to_field_offset(3), numbers);
    builder.push_slot_always(field_index_to_field_offset(5), 7_i64);
    builder.push_slot_always(field_index_to_field_offset(6), true);
    let table = builder.end_table(start);
    builder.finish_minimal(table);
    let table = Table::parse(builder.finished_data()).unwrap();
    assert_eq!(table.str(1).unwrap(), Some("Säen"));
    let tags: Vec<_> = table.strings(2).unwrap().unwrap().iter().map(Result::unwrap).collect();
    assert_eq!(tags, ["spring", "peas"]);
    let numbers: Vec<u8> = [1.5_f64, -2.5].iter().flat_map(|number| number.to_le_bytes()).collect();
    assert_eq!(table.bytes(3, PropertyType::DoubleVector).unwrap(), Some(&numbers[..]));
    assert!(table.is_null(4));
    assert_eq!(table.int(5, PropertyType::Long).unwrap(), Some(7));
    assert_eq!(table.int(6, PropertyType::Bool).unwrap(), Some(1));
}
