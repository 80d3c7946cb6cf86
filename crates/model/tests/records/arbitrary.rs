//! Random entities, random values for them, and the canonical bytes that such values have.

use proptest::prelude::*;
use proptest::sample::select;
use reconvene_model::record::{TableLayout, TableWriter};
use reconvene_model::{
    ConflictPolicy, EntityDef, EntityFlags, EntityId, Flex, PropertyDef, PropertyFlags, PropertyId,
    PropertyType, Schema, Uid, Value,
};

use crate::flex::flex;

/// An entity whose id property stands first and whose others have these ids and types.
pub(crate) fn entity(properties: &[(u32, PropertyType)]) -> EntityDef {
    let id = PropertyDef {
        id: PropertyId(1),
        uid: Uid(1),
        name: "id".into(),
        ty: PropertyType::Long,
        flags: PropertyFlags::ID,
        index: None,
        relation_target: None,
        merge: Default::default(),
    };
    let others = properties.iter().map(|&(number, ty)| PropertyDef {
        id: PropertyId(number),
        uid: Uid(u64::from(number)),
        name: format!("p{number}"),
        ty,
        flags: PropertyFlags::NONE,
        index: None,
        relation_target: (ty == PropertyType::Relation).then(|| "Thing".into()),
        merge: Default::default(),
    });
    let properties: Vec<_> = std::iter::once(id).chain(others).collect();
    let last_property_id = properties.iter().map(|property| property.id).max().unwrap();
    let entity = EntityDef {
        id: EntityId(1),
        uid: Uid(1 << 40),
        name: "Thing".into(),
        flags: EntityFlags::SYNC_ENABLED,
        conflict: ConflictPolicy::Property,
        properties,
        relations: Vec::new(),
        backlinks: Vec::new(),
        last_property_id,
    };
    Schema::new(vec![entity]).unwrap().entities()[0].clone()
}

/// Properties by id, with gaps where others were retired, and a value for each.
pub(crate) fn properties() -> impl Strategy<Value = Vec<(u32, PropertyType, Value)>> {
    let property = (1_u32..4, select(PropertyType::ALL)).prop_flat_map(|(gap, ty)| {
        (Just(gap), Just(ty), prop_oneof![1 => Just(Value::Null), 4 => value(ty)])
    });
    prop::collection::vec(property, 0..24).prop_map(|properties| {
        let mut id = 1;
        let number = |(gap, ty, value)| {
            id += gap;
            (id, ty, value)
        };
        properties.into_iter().map(number).collect()
    })
}

/// The entity of these properties.
pub(crate) fn entity_of(properties: &[(u32, PropertyType, Value)]) -> EntityDef {
    entity(&properties.iter().map(|&(id, ty, _)| (id, ty)).collect::<Vec<_>>())
}

/// The table that holds these values.
pub(crate) fn table_of(layout: &TableLayout, properties: &[(u32, PropertyType, Value)]) -> Vec<u8> {
    let mut writer = TableWriter::new(layout);
    for (id, _, value) in properties {
        writer.set_value(slot(*id), value).unwrap();
    }
    let mut table = Vec::new();
    writer.finish(&mut table);
    table
}

/// The slot of the property of this id.
pub(crate) fn slot(id: u32) -> usize {
    PropertyId(id).slot()
}

fn value(ty: PropertyType) -> BoxedStrategy<Value> {
    use PropertyType as T;
    fn several<T: std::fmt::Debug>(element: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
        prop::collection::vec(element, 0..9)
    }
    let float = || any::<u32>().prop_map(f32::from_bits);
    let double = || any::<u64>().prop_map(f64::from_bits);
    match ty {
        T::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        T::Byte => (-128_i64..256).prop_map(Value::Int).boxed(),
        T::Short => (-32_768_i64..65_536).prop_map(Value::Int).boxed(),
        T::Char => (0_i64..65_536).prop_map(Value::Int).boxed(),
        T::Int => (i64::from(i32::MIN)..1 << 32).prop_map(Value::Int).boxed(),
        T::Long | T::Date | T::DateNano => any::<i64>().prop_map(Value::Int).boxed(),
        T::Float => float().prop_map(Value::Float).boxed(),
        T::Double => double().prop_map(Value::Double).boxed(),
        T::String => ".{0,20}".prop_map(Value::String).boxed(),
        T::Relation => (1_u64..).prop_map(Value::Relation).boxed(),
        T::Flex => flex().prop_map(Value::Flex).boxed(),
        T::BoolVector => several(any::<bool>()).prop_map(Value::BoolVector).boxed(),
        T::ByteVector => several(any::<u8>()).prop_map(Value::ByteVector).boxed(),
        T::ShortVector | T::CharVector => several(any::<i16>()).prop_map(Value::ShortVector).boxed(),
        T::IntVector => several(any::<i32>()).prop_map(Value::IntVector).boxed(),
        T::LongVector | T::DateVector | T::DateNanoVector => {
            several(any::<i64>()).prop_map(Value::LongVector).boxed()
        }
        T::FloatVector => several(float()).prop_map(Value::FloatVector).boxed(),
        T::DoubleVector => several(double()).prop_map(Value::DoubleVector).boxed(),
        T::StringVector => several(".{0,7}").prop_map(Value::StringVector).boxed(),
    }
}

/// The canonical bytes of a value, links as local ids: comparable where floats are not numbers.
pub(crate) fn canonical(ty: PropertyType, value: &Value) -> Option<Vec<u8>> {
    fn joined<T: Copy, const N: usize>(elements: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        elements.iter().flat_map(|&element| bytes(element)).collect()
    }
    Some(match value {
        Value::Null => return None,
        Value::Bool(bit) => vec![u8::from(*bit)],
        Value::Int(number) => number.to_le_bytes()[..ty.scalar_bytes().unwrap()].to_vec(),
        Value::Float(number) => number.to_le_bytes().to_vec(),
        Value::Double(number) => number.to_le_bytes().to_vec(),
        Value::String(text) => text.clone().into_bytes(),
        Value::Relation(id) => id.to_le_bytes().to_vec(),
        Value::Flex(Flex::Null) => return None,
        Value::Flex(flex) => flex.encode().unwrap(),
        Value::ByteVector(bytes) => bytes.clone(),
        Value::BoolVector(bits) => joined(bits, |bit| [u8::from(bit)]),
        Value::ShortVector(of) => joined(of, i16::to_le_bytes),
        Value::IntVector(of) => joined(of, i32::to_le_bytes),
        Value::LongVector(of) => joined(of, i64::to_le_bytes),
        Value::FloatVector(of) => joined(of, f32::to_le_bytes),
        Value::DoubleVector(of) => joined(of, f64::to_le_bytes),
        Value::StringVector(strings) => {
            let mut bytes = Vec::new();
            for string in strings {
                bytes.extend_from_slice(&u32::try_from(string.len()).unwrap().to_le_bytes());
                bytes.extend_from_slice(string.as_bytes());
            }
            bytes
        }
    })
}
