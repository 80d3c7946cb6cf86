//! From the tests of a condition to the keys that objects which pass them can have.

use std::ops::Deref;

use reconvene_expr::{CompareOp, Conjunct, Test};
use reconvene_model::{ObjectId, PropertyDef, Value};

use super::key_set::KeySet;
use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::seam::{Key, prefix_end};

/// Room for the keys of numbers and of most text.
const KEY_BYTES: usize = 40;

/// The keys that a test leaves of an index, or of the ids.
#[derive(Clone, Debug)]
pub(crate) struct Narrowed {
    pub(crate) keys: KeySet,
    /// Whether all that has such a key passes the test, so that it is not to be made again.
    pub(crate) is_exact: bool,
    /// Whether the test leaves out no more than a few values, so that it mostly leaves nearly all.
    pub(crate) is_weak: bool,
}

/// The keys that a test leaves of its property's index, or of the ids if there is no property; `None` if it leaves all.
pub(crate) fn narrow(conjunct: &Conjunct<'_>, property: Option<&PropertyDef>) -> Result<Option<Narrowed>> {
    let keys = match property {
        None => id_keys(&conjunct.test).map(|keys| (keys, true)),
        Some(property) if index::is_hashed(property) => hashed_keys(property, &conjunct.test)?,
        Some(property) => property_keys(property, conjunct)?,
    };
    let narrowed = keys.and_then(|(keys, is_exact)| match conjunct.negated {
        false => Some(Narrowed { keys, is_exact, is_weak: is_unequal(&conjunct.test) }),
        // What may have the key of a value that passes may fail as well.
        true if !is_exact => None,
        true => {
            let is_weak = keys.is_values() && !is_unequal(&conjunct.test);
            Some(Narrowed { keys: keys.complement(), is_exact, is_weak })
        }
    });
    match (&narrowed, property) {
        (Some(narrowed), Some(property)) if !has_entries_of_all(property, &narrowed.keys)? => Ok(None),
        _ => Ok(narrowed),
    }
}

fn is_unequal(test: &Test<'_>) -> bool {
    matches!(test, Test::Compare { op: CompareOp::Ne, value } if **value != Value::Null)
}

/// The keys of links to these ids.
pub(crate) fn link_keys(property: &PropertyDef, ids: &[ObjectId]) -> Result<KeySet> {
    let key = |id: &ObjectId| {
        let mut key = Vec::with_capacity(KEY_BYTES);
        index::stored_key(property, Some(&id.to_le_bytes()), &mut key)?;
        Ok(Key::from_slice(&key))
    };
    Ok(KeySet::values(ids.iter().map(key).collect::<Result<_>>()?))
}

/// The keys of these ids.
pub(crate) fn object_keys(ids: &[ObjectId]) -> KeySet {
    KeySet::values(ids.iter().map(|&id| Key::from_slice(&keys::object_key(id))).collect())
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
        Test::Between { low, high } => {
            let from = compared(CompareOp::Ge, key(low)?, &[])?;
            Some(from.intersection(&compared(CompareOp::Le, key(high)?, &[])?))
        }
    }
}

/// Whether the index leaves out none of the objects that have these keys.
fn has_entries_of_all(property: &PropertyDef, keys: &KeySet) -> Result<bool> {
    let has = |key: &[u8]| !keys.intersection(&KeySet::value(Key::from_slice(key))).is_empty();
    if index::skips_null(property) && has(index::NULL_KEY) {
        return Ok(false);
    }
    Ok(!index::skips_zero(property) || !has(&index::zero_key(property)?))
}

/// The hashes of the values that pass a test, and whether only such values have them. Hashes have no order.
fn hashed_keys(property: &PropertyDef, test: &Test<'_>) -> Result<Option<(KeySet, bool)>> {
    let key = |value: &Value| {
        let mut key = Vec::with_capacity(KEY_BYTES);
        index::hashed_key(property, stored(property, value)?.as_deref(), &mut key);
        Ok::<_, StoreError>(Key::from_slice(&key))
    };
    Ok(match test {
        Test::In { no_case: false, values, null } => {
            let mut keys = values.iter().map(key).collect::<Result<Vec<_>>>()?;
            if *null {
                keys.push(key(&Value::Null)?);
            }
            Some((KeySet::values(keys), values.is_empty()))
        }
        Test::Compare { op: CompareOp::Eq, value } => {
            Some((KeySet::value(key(value)?), matches!(value, Value::Null)))
        }
        Test::Compare { op: CompareOp::Ne, value: Value::Null } => {
            Some((KeySet::range(Key::from_slice(index::FIRST_VALUE), None), true))
        }
        _ => None,
    })
}

/// The keys of the values that pass a test, and whether no others have such keys.
fn property_keys(property: &PropertyDef, conjunct: &Conjunct<'_>) -> Result<Option<(KeySet, bool)>> {
    let key = |value: &Value| value_key(property, value);
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
            Some((KeySet::range(Key::from_slice(index::FIRST_VALUE), None), true))
        }
        Test::Compare { op: CompareOp::StartsWith, value: Value::String(text) } => {
            let mut beginning = Vec::new();
            index::text_prefix(text.as_bytes(), &mut beginning);
            let end = prefix_end(&beginning);
            Some((KeySet::range(beginning.into(), end), is_whole_text(text)))
        }
        Test::Compare { op, value } => ordered(property, op, value)?,
        Test::Between { low, high } => {
            let bounds = ordered(property, CompareOp::Ge, low)?.zip(ordered(property, CompareOp::Le, high)?);
            bounds.map(|((from, is_exact), (to, is_too))| (from.intersection(&to), is_exact && is_too))
        }
    })
}

/// The keys of the values that compare so with a value, and whether no others have such keys.
fn ordered(property: &PropertyDef, op: CompareOp, value: &Value) -> Result<Option<(KeySet, bool)>> {
    let first_value = || Key::from_slice(index::FIRST_VALUE);
    if let (true, Value::String(text)) = (op.is_order(), value)
        && !is_whole_text(text)
    {
        // Longer text with the same beginning stands in any order, so all of it is taken.
        let mut floor = Vec::new();
        index::text_floor(text.as_bytes(), &mut floor);
        return Ok(Some(match op {
            CompareOp::Lt | CompareOp::Le => (KeySet::range(first_value(), prefix_end(&floor)), false),
            _ => (KeySet::range(floor.into(), None), false),
        }));
    }
    if op == CompareOp::Ne && !is_whole(value) {
        // Other text may have the same key.
        return Ok(None);
    }
    let key = value_key(property, value)?;
    Ok(compared(op, key, index::FIRST_VALUE).map(|keys| (keys, is_whole(value))))
}

/// The key of a value.
fn value_key(property: &PropertyDef, value: &Value) -> Result<Key> {
    let mut key = Vec::with_capacity(KEY_BYTES);
    index::stored_key(property, stored(property, value)?.as_deref(), &mut key)?;
    Ok(Key::from_slice(&key))
}

/// The keys that compare so with the key of a value; values begin at `first`.
fn compared(op: CompareOp, key: Key, first: &[u8]) -> Option<KeySet> {
    Some(match op {
        CompareOp::Eq => KeySet::value(key),
        CompareOp::Ne => KeySet::value(key).complement(),
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
