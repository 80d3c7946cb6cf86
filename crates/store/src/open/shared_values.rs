//! Which objects share a value of a property that is to become unique.

use reconvene_model::digest::Digest;
use reconvene_model::record::Record;
use reconvene_model::{ObjectId, PropertyDef};

use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::seam::{Reader, TableId};

/// How many objects are held against each other at a time; the values of more are gone through in parts.
const OBJECTS_PER_PASS: u64 = 1 << 21;

/// How many ids of one value are told.
const IDS_MAX: usize = 100;

/// Values of which several objects have each.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shared {
    /// Objects that have the lowest of these values, ascending, [`IDS_MAX`] at most.
    pub(super) ids: Vec<ObjectId>,
    /// How many other values are shared.
    pub(super) further: u64,
}

/// The values that several objects have, as an index would have them; null is no value, nor is zero in an index without zeros.
pub(super) fn shared_values(
    tx: &impl Reader,
    objects: TableId,
    property: &PropertyDef,
) -> Result<Option<Shared>> {
    let passes = tx.count(objects)?.div_ceil(OBJECTS_PER_PASS);
    let mut lowest: Option<(Vec<u8>, Vec<ObjectId>)> = None;
    let mut values = 0;
    let zero = index::skips_zero(property).then(|| index::zero_key(property)).transpose()?;
    for pass in 0..passes {
        let mut all: Vec<(u64, u64, ObjectId)> = Vec::new();
        let mut key = Vec::new();
        tx.each(objects, |object, record| -> Result<()> {
            value_key(property, record, &mut key)?;
            // What a partial index leaves out is not unique.
            if index::is_null_key(&key) || zero.as_ref() == Some(&key) {
                return Ok(());
            }
            let (high, low) = hash(&key);
            if high % passes == pass {
                all.push((high, low, keys::object_id(object)?));
            }
            Ok(())
        })?;
        all.sort_unstable();
        for same in all.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|same| same.len() > 1) {
            values += 1;
            let record = tx.get(objects, &keys::object_key(same[0].2))?;
            let record =
                record.ok_or_else(|| StoreError::internal("an object that was just read is there"))?;
            value_key(property, record, &mut key)?;
            if lowest.as_ref().is_none_or(|(lowest, _)| key < *lowest) {
                lowest = Some((key.clone(), same.iter().take(IDS_MAX).map(|&(_, _, id)| id).collect()));
            }
        }
    }
    Ok(lowest.map(|(_, ids)| Shared { ids, further: values - 1 }))
}

fn value_key(property: &PropertyDef, record: &[u8], key: &mut Vec<u8>) -> Result<()> {
    let damaged = |error| StoreError::damaged("record", error);
    let record = Record::parse(record).map_err(damaged)?;
    let stored = record.table.stored(property.slot(), property.ty).map_err(damaged)?;
    key.clear();
    index::stored_key(property, stored.as_deref(), key)
}

/// Two values of one hash do not happen.
fn hash(key: &[u8]) -> (u64, u64) {
    let mut digest = Digest::default();
    digest.update(key);
    let hash = digest.finalize();
    let part = |at: usize| u64::from_le_bytes(hash[at..at + 8].try_into().expect("a hash has 32 bytes"));
    (part(0), part(8))
}
