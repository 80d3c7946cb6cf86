//! From the tests of a condition to the keys that objects which pass them can have.

use std::ops::Deref;

use reconvene_expr::{CompareOp, Conjunct, Place, Predicate, Test};
use reconvene_model::{PropertyDef, Value};

use super::key_set::KeySet;
use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::seam::{Key, prefix_end};

/// Room for the keys of numbers and of most text.
const KEY_BYTES: usize = 40;

/// The keys that all tests of one property leave.
#[derive(Clone, Debug)]
pub(crate) struct Narrowed {
    pub(crate) keys: KeySet,
    /// How many of the condition's tests are in there.
    pub(crate) tests: usize,
    /// Whether all that has such a key passes these tests, so that none is to be made again.
    pub(crate) is_exact: bool,
}

/// The keys that the condition leaves of a property's index, or of the ids; `None` if it leaves all.
pub(crate) fn narrow(
    predicate: &Predicate,
    place: Place,
    property: Option<&PropertyDef>,
) -> Result<Option<Narrowed>> {
    let mut all: Option<Narrowed> = None;
    for conjunct in predicate.conjuncts().filter(|conjunct| conjunct.place == place) {
        let keys = match property {
            None => id_keys(&conjunct.test).map(|keys| (keys, true)),
            Some(property) => property_keys(property, &conjunct)?,
        };
        let Some((keys, is_exact)) = keys else { continue };
        all = Some(match all {
            None => Narrowed { keys, tests: 1, is_exact },
            Some(narrowed) => Narrowed {
                keys: narrowed.keys.intersection(&keys),
                tests: narrowed.tests + 1,
                is_exact: narrowed.is_exact && is_exact,
            },
        });
    }
    Ok(all)
}

/// The keys of the ids that pass a test.
fn id_keys(test: &Test<'_>) -> Option<KeySet> {
    let key = |value: &Value| match value {
        Value::Int(id) => Some(Key::from_slice(&keys::object_key(id.cast_unsigned()))),
        _ => None,
    };
    match test {
        Test::In { values, .. } => values.iter().map(key).collect::<Option<_>>().map(KeySet::values),
        Test::Compare { op: CompareOp::Eq, value: Value::Null } => Some(KeySet::empty()),
        Test::Compare { op, value } => compared(*op, key(value)?, &[]),
    }
}

/// The keys of the values that pass a test, and whether no others have such keys.
fn property_keys(property: &PropertyDef, conjunct: &Conjunct<'_>) -> Result<Option<(KeySet, bool)>> {
    let key = |value: &Value| {
        let mut key = Vec::with_capacity(KEY_BYTES);
        index::stored_key(property, stored(property, value)?.as_deref(), &mut key)?;
        Ok::<_, StoreError>(Key::from_slice(&key))
    };
    let first_value = || Key::from_slice(index::FIRST_VALUE);
    Ok(match conjunct.test {
        Test::In { no_case: true, .. } => None,
        Test::In { values, null, .. } => {
            let mut keys = values.iter().map(key).collect::<Result<Vec<_>>>()?;
            if null {
                keys.push(key(&Value::Null)?);
            }
            Some((KeySet::values(keys), values.iter().all(is_whole)))
        }
        Test::Compare { op: CompareOp::Ne, value: Value::Null } => {
            Some((KeySet::range(first_value(), None), true))
        }
        Test::Compare { op: CompareOp::StartsWith, value: Value::String(text) } => {
            let mut beginning = Vec::new();
            index::text_prefix(text.as_bytes(), &mut beginning);
            let end = prefix_end(&beginning);
            Some((KeySet::range(beginning.into(), end), is_whole_text(text)))
        }
        Test::Compare { op, value: Value::String(text) } if op.is_order() && !is_whole_text(text) => {
            // Longer text with the same beginning stands in any order, so all of it is taken.
            let mut floor = Vec::new();
            index::text_floor(text.as_bytes(), &mut floor);
            Some(match op {
                CompareOp::Lt | CompareOp::Le => (KeySet::range(first_value(), prefix_end(&floor)), false),
                _ => (KeySet::range(floor.into(), None), false),
            })
        }
        Test::Compare { op, value } => {
            compared(op, key(value)?, index::FIRST_VALUE).map(|keys| (keys, is_whole(value)))
        }
    })
}

/// The keys that compare so with the key of a value; values begin at `first`.
fn compared(op: CompareOp, key: Key, first: &[u8]) -> Option<KeySet> {
    Some(match op {
        CompareOp::Eq => KeySet::value(key),
        CompareOp::Lt => KeySet::range(Key::from_slice(first), Some(key)),
        CompareOp::Le => KeySet::range(Key::from_slice(first), prefix_end(&key)),
        CompareOp::Ge => KeySet::range(key, None),
        // No key lies above the largest one.
        CompareOp::Gt => prefix_end(&key).map_or(KeySet::empty(), |end| KeySet::range(end, None)),
        _ => return None,
    })
}

/// Two texts of one key are equal only if they stand in it whole; beyond, their hashes are.
fn is_whole(value: &Value) -> bool {
    !matches!(value, Value::String(text) if !is_whole_text(text))
}

fn is_whole_text(text: &str) -> bool {
    index::is_whole(text.as_bytes())
}

/// The bytes that a record holds for a value of a condition, which was checked to fit the property.
fn stored<'v>(property: &PropertyDef, value: &'v Value) -> Result<Option<Stored<'v>>> {
    let number = |bytes: [u8; 8], width| Stored::Number(bytes, width);
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(bit) => number([u8::from(*bit), 0, 0, 0, 0, 0, 0, 0], 1),
        Value::Int(int) => number(int.to_le_bytes(), property.ty.scalar_bytes().unwrap_or(0)),
        Value::Relation(id) => number(id.to_le_bytes(), 8),
        Value::Float(float) => number(u64::from(float.to_bits()).to_le_bytes(), 4),
        Value::Double(double) => number(double.to_le_bytes(), 8),
        Value::String(text) => Stored::Text(text.as_bytes()),
        _ => return Err(StoreError::internal("an indexed property was compared with a value of no order")),
    }))
}

/// The bytes of a value in a record.
enum Stored<'v> {
    /// So many of the first.
    Number([u8; 8], usize),
    Text(&'v [u8]),
}

impl Deref for Stored<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Stored::Number(bytes, width) => &bytes[..*width],
            Stored::Text(text) => text,
        }
    }
}
