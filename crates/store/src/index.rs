//! Value indexes: how values become keys, so that byte order is the order of values.

use reconvene_model::digest::Digest;
use reconvene_model::record::Table;
use reconvene_model::{EntityDef, IndexId, ObjectId, PropertyDef, PropertyFlags, PropertyType};

use crate::building::Wholeness;
use crate::error::{Result, StoreError};
use crate::seam::{KEY_BYTES_MAX, TableId};

/// The bytes of the id at the end of every index key.
pub(crate) const ID_BYTES: usize = 8;

/// The first byte of a key whose value is null; nulls come first.
const NULL: u8 = 0;

/// The first byte of a key with a value.
const VALUE: u8 = 1;

/// Ends text that is whole in its key.
const TEXT_END: [u8; 2] = [0, 0];

/// Stands after text that was cut, before the hash of all of it.
const TEXT_CUT: [u8; 2] = [0, 1];

/// The byte zero within text, so that it cannot be taken for an end.
const TEXT_ZERO: [u8; 2] = [0, 0xff];

/// The bytes of the hash of cut text.
const TEXT_HASH_BYTES: usize = 16;

/// How many escaped bytes of text a key holds; longer text is cut and goes on as a hash.
const TEXT_BYTES_MAX: usize = KEY_BYTES_MAX - 1 - TEXT_CUT.len() - TEXT_HASH_BYTES - ID_BYTES;

/// The bytes of the hashes in an index that is kept by hash.
const HASH_BYTES: usize = 4;
const HASH64_BYTES: usize = 8;

/// An index of one property.
#[derive(Clone, Debug)]
pub(crate) struct IndexRuntime {
    pub(crate) property: PropertyDef,
    pub(crate) table: TableId,
    /// Whether queries may rely on it.
    pub(crate) wholeness: Wholeness,
    /// The objects that are indexed.
    pub(crate) objects: TableId,
}

impl IndexRuntime {
    /// The indexed property.
    pub(crate) fn property(&self) -> &PropertyDef {
        &self.property
    }

    pub(crate) fn is_unique(&self) -> bool {
        self.property.flags.has(PropertyFlags::UNIQUE)
    }

    /// Whether values stand in the index by their hashes, and so in no order.
    pub(crate) fn is_hashed(&self) -> bool {
        hash_bytes(&self.property).is_some()
    }

    /// Whether objects of some values have no entry.
    pub(crate) fn is_partial(&self) -> bool {
        skips_null(&self.property) || skips_zero(&self.property)
    }

    /// Appends the key, without the id, of what the table holds; nothing, if the index leaves such objects out.
    pub(crate) fn value_key(&self, table: &Table<'_>, out: &mut Vec<u8>) -> Result<()> {
        let stored = table
            .stored(self.property.slot(), self.property.ty)
            .map_err(|e| StoreError::damaged("record", e))?;
        entry_key(&self.property, stored.as_deref(), out)
    }
}

/// How many bytes of hash stand for a value; only text is kept by hash.
fn hash_bytes(property: &PropertyDef) -> Option<usize> {
    let is = |flag| property.ty == PropertyType::String && property.flags.has(flag);
    match () {
        () if is(PropertyFlags::INDEX_HASH64) => Some(HASH64_BYTES),
        () if is(PropertyFlags::INDEX_HASH) => Some(HASH_BYTES),
        () => None,
    }
}

/// Whether objects without a value have no entry in the property's index.
pub(crate) fn skips_null(property: &PropertyDef) -> bool {
    property.flags.has(PropertyFlags::INDEX_PARTIAL_SKIP_NULL)
}

/// Whether objects whose value is zero have no entry in the property's index; text is never zero.
pub(crate) fn skips_zero(property: &PropertyDef) -> bool {
    property.flags.has(PropertyFlags::INDEX_PARTIAL_SKIP_ZERO) && property.ty != PropertyType::String
}

/// Whether the property's index holds hashes.
pub(crate) fn is_hashed(property: &PropertyDef) -> bool {
    hash_bytes(property).is_some()
}

/// The properties of an entity that are kept in an index, in order of id.
///
/// Vectors and Flex values have no order that a query could ask for; a model file may flag them, which changes nothing.
pub(crate) fn indexed(entity: &EntityDef) -> impl Iterator<Item = &PropertyDef> {
    entity.properties.iter().filter(|property| {
        property.index.is_some()
            && (property.ty.scalar_bytes().is_some() || property.ty == PropertyType::String)
    })
}

/// The numbers of an entity's indexes, in the order of [`indexed`].
pub(crate) fn indexes(entity: &EntityDef) -> impl Iterator<Item = IndexId> {
    indexed(entity).filter_map(|property| property.index.map(|index| index.id))
}

/// Appends the key, without the id, under which the property's index has a value in its stored form; nothing, if it leaves such
/// values out.
pub(crate) fn entry_key(property: &PropertyDef, stored: Option<&[u8]>, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    if is_hashed(property) {
        hashed_key(property, stored, out);
    } else {
        stored_key(property, stored, out)?;
    }
    let is_left_out = match out.get(start) {
        Some(&NULL) => skips_null(property),
        _ => skips_zero(property) && stored.is_some_and(|stored| is_zero(property.ty, stored)),
    };
    if is_left_out {
        out.truncate(start);
    }
    Ok(())
}

/// Appends the key of text in an index that is kept by hash.
pub(crate) fn hashed_key(property: &PropertyDef, stored: Option<&[u8]>, out: &mut Vec<u8>) {
    let Some(text) = stored else { return out.push(NULL) };
    out.push(VALUE);
    let mut digest = Digest::default();
    digest.update(text);
    out.extend_from_slice(&digest.finalize()[..hash_bytes(property).unwrap_or(HASH64_BYTES)]);
}

/// Whether a scalar is zero; that of a float may have a sign.
fn is_zero(ty: PropertyType, stored: &[u8]) -> bool {
    match stored {
        [rest @ .., last] if ty.is_float() => *last & 0x7f == 0 && rest.iter().all(|&byte| byte == 0),
        bytes => bytes.iter().all(|&byte| byte == 0),
    }
}

/// The keys of what an index that leaves out zeros leaves out.
pub(crate) fn zero_key(property: &PropertyDef) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    let zero = [0; 8];
    stored_key(property, Some(&zero[..property.ty.scalar_bytes().unwrap_or(0)]), &mut key)?;
    Ok(key)
}

/// Appends the key, without the id, of a value in its stored form in an index that is kept by value.
pub(crate) fn stored_key(property: &PropertyDef, stored: Option<&[u8]>, out: &mut Vec<u8>) -> Result<()> {
    key_of(property, stored, text_key, out)
}

/// Appends bytes that order as the values do, long text included, and of which none is the beginning of others.
pub(crate) fn sort_key(property: &PropertyDef, stored: Option<&[u8]>, out: &mut Vec<u8>) -> Result<()> {
    let whole_text = |text: &[u8], out: &mut Vec<u8>| {
        escape(text, out, usize::MAX);
        out.extend_from_slice(&TEXT_END);
    };
    key_of(property, stored, whole_text, out)
}

fn key_of(
    property: &PropertyDef,
    stored: Option<&[u8]>,
    text: impl FnOnce(&[u8], &mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Result<()> {
    use PropertyType as T;
    // A link to nothing is null, in whichever of the two forms a record has it.
    let is_empty_link = |bytes: &&[u8]| property.ty == T::Relation && bytes.iter().all(|&byte| byte == 0);
    let Some(stored) = stored.filter(|bytes| !is_empty_link(bytes)) else {
        out.push(NULL);
        return Ok(());
    };
    out.push(VALUE);
    let wrong = || StoreError::damaged("record", format!("{} is not as wide as its type", property.name));
    match property.ty {
        T::String => text(stored, out),
        // Any byte but 0 is true, whoever wrote it.
        T::Bool => out.push(u8::from(stored != [0])),
        T::Float => {
            let number = f32::from_le_bytes(stored.try_into().map_err(|_| wrong())?);
            out.extend_from_slice(&ordered_f32(number).to_be_bytes());
        }
        T::Double => {
            let number = f64::from_le_bytes(stored.try_into().map_err(|_| wrong())?);
            out.extend_from_slice(&ordered_f64(number).to_be_bytes());
        }
        ty => {
            if ty.scalar_bytes() != Some(stored.len()) {
                return Err(wrong());
            }
            let start = out.len();
            out.extend(stored.iter().rev());
            let unsigned = property.is_unsigned() || matches!(ty, T::Relation);
            if !unsigned {
                // With the sign bit turned, negative numbers come before positive ones.
                out[start] ^= 0x80;
            }
        }
    }
    Ok(())
}

/// The first bytes of a key as a number that orders as they do; a shorter key is filled up with zeros.
pub(crate) fn beginning(key: &[u8]) -> u128 {
    let mut bytes = [0; size_of::<u128>()];
    let len = key.len().min(bytes.len());
    bytes[..len].copy_from_slice(&key[..len]);
    u128::from_be_bytes(bytes)
}

/// Appends the id to a value's key.
pub(crate) fn push_id(out: &mut Vec<u8>, id: ObjectId) {
    out.extend_from_slice(&id.to_be_bytes());
}

/// The id at the end of an index key.
pub(crate) fn id_of_key(key: &[u8]) -> Result<ObjectId> {
    key.split_last_chunk::<ID_BYTES>()
        .map(|(_, id)| ObjectId::from_be_bytes(*id))
        .ok_or_else(|| StoreError::damaged("index", "a key is shorter than an id"))
}

/// Whether a key, with or without its id, is that of null.
pub(crate) fn is_null_key(key: &[u8]) -> bool {
    key.first() == Some(&NULL)
}

/// The key of null.
pub(crate) const NULL_KEY: &[u8] = &[NULL];

/// The smallest key of any value that is not null.
pub(crate) const FIRST_VALUE: &[u8] = &[VALUE];

fn text_key(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if escape(text, out, TEXT_BYTES_MAX) {
        out.extend_from_slice(&TEXT_END);
        return;
    }
    debug_assert!(out.len() - start <= TEXT_BYTES_MAX);
    out.extend_from_slice(&TEXT_CUT);
    let mut digest = Digest::default();
    digest.update(text);
    out.extend_from_slice(&digest.finalize()[..TEXT_HASH_BYTES]);
}

/// Appends escaped text, up to a number of bytes; whether all of it fitted.
fn escape(text: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> bool {
    let end = out.len().saturating_add(bytes_max);
    if !text.contains(&0) {
        let taken = text.len().min(bytes_max);
        out.extend_from_slice(&text[..taken]);
        return taken == text.len();
    }
    for &byte in text {
        let bytes: &[u8] = if byte == 0 { &TEXT_ZERO } else { std::slice::from_ref(&byte) };
        if out.len() + bytes.len() > end {
            return false;
        }
        out.extend_from_slice(bytes);
    }
    true
}

/// Appends a key that is at most that of `text`, and above all that of any smaller text but for cut ones that share its
/// beginning.
pub(crate) fn text_floor(text: &[u8], out: &mut Vec<u8>) {
    out.push(VALUE);
    escape(text, out, TEXT_BYTES_MAX);
}

/// Whether a key of text, without its id, holds only the beginning and a hash of the rest.
pub(crate) fn is_cut(value_key: &[u8]) -> bool {
    value_key.len() > 1 + TEXT_BYTES_MAX + TEXT_END.len()
}

/// As much of a value's key as orders like the values: all of it, unless it is of text that was cut, and so goes on as a hash.
pub(crate) fn ordered_beginning(value_key: &[u8]) -> &[u8] {
    // A cut key has the marker and the hash behind a text that is at most one escaped byte short of the room there is.
    match is_cut(value_key) {
        true => &value_key[..value_key.len() - TEXT_HASH_BYTES],
        false => value_key,
    }
}

/// Whether text stands whole in its key, so that keys compare as the text does.
pub(crate) fn is_whole(text: &[u8]) -> bool {
    let zeros = || text.iter().filter(|&&byte| byte == 0).count();
    text.len() <= TEXT_BYTES_MAX && text.len() + zeros() <= TEXT_BYTES_MAX
}

/// Appends the beginning that the keys of all text with this beginning share.
pub(crate) fn text_prefix(beginning: &[u8], out: &mut Vec<u8>) {
    text_floor(beginning, out);
}

/// Floats as integers of the same order: -0 is 0, and NaN comes last.
fn ordered_f32(number: f32) -> u32 {
    let number = if number == 0.0 { 0.0 } else { number };
    if number.is_nan() {
        return u32::MAX;
    }
    let bits = number.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn ordered_f64(number: f64) -> u64 {
    let number = if number == 0.0 { 0.0 } else { number };
    if number.is_nan() {
        return u64::MAX;
    }
    let bits = number.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reconvene_model::{PropertyId, Uid};

    fn property(ty: PropertyType, flags: PropertyFlags) -> PropertyDef {
        let (id, uid, name) = (PropertyId(1), Uid(1), "p".to_owned());
        PropertyDef {
            id,
            uid,
            name,
            ty,
            flags,
            index: None,
            relation_target: None,
            merge: Default::default(),
        }
    }

    fn key(property: &PropertyDef, stored: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        stored_key(property, Some(stored), &mut out).unwrap();
        assert!(out.len() + ID_BYTES <= KEY_BYTES_MAX, "{} bytes", out.len());
        out
    }

    proptest! {
        #[test]
        fn integers_order_as_numbers(a: i64, b: i64) {
            let signed = property(PropertyType::Long, PropertyFlags::NONE);
            let by_key = key(&signed, &a.to_le_bytes()).cmp(&key(&signed, &b.to_le_bytes()));
            prop_assert_eq!(by_key, a.cmp(&b));
            let unsigned = property(PropertyType::Long, PropertyFlags::UNSIGNED);
            let by_key = key(&unsigned, &a.to_le_bytes()).cmp(&key(&unsigned, &b.to_le_bytes()));
            prop_assert_eq!(by_key, a.cast_unsigned().cmp(&b.cast_unsigned()));
        }

        #[test]
        fn floats_order_as_numbers(a: f64, b: f64) {
            let double = property(PropertyType::Double, PropertyFlags::NONE);
            let by_key = key(&double, &a.to_le_bytes()).cmp(&key(&double, &b.to_le_bytes()));
            prop_assert_eq!(Some(by_key), a.partial_cmp(&b));
            let float = property(PropertyType::Float, PropertyFlags::NONE);
            let (a, b) = (a as f32, b as f32);
            let by_key = key(&float, &a.to_le_bytes()).cmp(&key(&float, &b.to_le_bytes()));
            prop_assert_eq!(Some(by_key), a.partial_cmp(&b));
        }

        #[test]
        fn text_orders_by_bytes_and_floors_lie_below(a in "[\0a-c\u{ff}]{0,6}", b in "[\0a-c\u{ff}]{0,6}") {
            let string = property(PropertyType::String, PropertyFlags::NONE);
            let (key_a, key_b) = (key(&string, a.as_bytes()), key(&string, b.as_bytes()));
            prop_assert_eq!(key_a.cmp(&key_b), a.as_bytes().cmp(b.as_bytes()));
            let mut floor = Vec::new();
            text_floor(a.as_bytes(), &mut floor);
            prop_assert!(floor <= key_a);
            prop_assert_eq!(floor <= key_b, a.as_bytes() <= b.as_bytes());
            prop_assert_eq!(key_b.starts_with(&floor), b.as_bytes().starts_with(a.as_bytes()));
        }

        #[test]
        fn long_text_is_told_apart_and_keeps_its_place(tail_a in "[ab]{0,40}", tail_b in "[ab]{0,40}") {
            let string = property(PropertyType::String, PropertyFlags::NONE);
            let beginning = "x".repeat(TEXT_BYTES_MAX - 10);
            let (a, b) = (format!("{beginning}{tail_a}"), format!("{beginning}{tail_b}"));
            let (key_a, key_b) = (key(&string, a.as_bytes()), key(&string, b.as_bytes()));
            prop_assert_eq!(key_a == key_b, a == b);
            prop_assert!(key(&string, b"w") < key_a && key_a < key(&string, b"y"));
        }
    }

    #[test]
    fn special_floats_and_nulls_have_their_places() {
        let double = property(PropertyType::Double, PropertyFlags::NONE);
        let of = |number: f64| key(&double, &number.to_le_bytes());
        assert_eq!(of(-0.0), of(0.0));
        assert!(of(f64::INFINITY) < of(f64::NAN) && of(f64::NEG_INFINITY) < of(f64::MIN));
        let mut null = Vec::new();
        stored_key(&double, None, &mut null).unwrap();
        assert!(is_null_key(&null) && null < of(f64::NEG_INFINITY) && &null[..] < FIRST_VALUE);
    }

    #[test]
    fn the_id_is_the_end_of_the_key() {
        let mut out = vec![VALUE, 9];
        push_id(&mut out, 77);
        assert_eq!(id_of_key(&out).unwrap(), 77);
        assert!(id_of_key(b"short").is_err());
    }

    fn entry(property: &PropertyDef, stored: Option<&[u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        entry_key(property, stored, &mut out).unwrap();
        out
    }

    #[test]
    fn partial_indexes_leave_out_what_they_say() {
        let both = PropertyFlags::INDEX_PARTIAL_SKIP_NULL.with(PropertyFlags::INDEX_PARTIAL_SKIP_ZERO);
        for ty in [PropertyType::Int, PropertyType::Double, PropertyType::Bool, PropertyType::Date] {
            let whole = property(ty, PropertyFlags::NONE);
            let partial = property(ty, both);
            let zero = vec![0; ty.scalar_bytes().unwrap()];
            let mut one = zero.clone();
            one[0] = 1;
            assert!(entry(&partial, None).is_empty() && entry(&partial, Some(&zero)).is_empty());
            assert_eq!(entry(&partial, Some(&one)), entry(&whole, Some(&one)));
            assert_eq!(zero_key(&partial).unwrap(), entry(&whole, Some(&zero)));
            assert!(!entry(&whole, None).is_empty());
        }
        let double = property(PropertyType::Double, both);
        assert!(entry(&double, Some(&(-0.0_f64).to_le_bytes())).is_empty());
        assert!(!entry(&double, Some(&f64::MIN_POSITIVE.to_le_bytes())).is_empty());
        assert!(!entry(&property(PropertyType::String, both), Some(b"")).is_empty());
        assert!(entry(&property(PropertyType::Relation, both), Some(&[0; 8])).is_empty());
    }

    #[test]
    fn hashes_stand_for_text_alone() {
        let short = property(PropertyType::String, PropertyFlags::INDEX_HASH);
        let long = property(PropertyType::String, PropertyFlags::INDEX_HASH64);
        let text = "x".repeat(2_000);
        let (a, b) = (entry(&short, Some(b"a")), entry(&long, Some(text.as_bytes())));
        assert_eq!((a.len(), b.len()), (1 + HASH_BYTES, 1 + HASH64_BYTES));
        assert_ne!(a, entry(&short, Some(b"b")));
        assert_eq!(entry(&short, None), [NULL]);
        let number = property(PropertyType::Int, PropertyFlags::INDEX_HASH);
        assert_eq!(entry(&number, Some(&[1, 0, 0, 0])), key(&number, &[1, 0, 0, 0]));
    }
}
