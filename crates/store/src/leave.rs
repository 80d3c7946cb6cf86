//! Objects of an entity that becomes local: they lose what sync knew of them and stay as they are.

use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::EntityId;
use reconvene_model::record::Record;

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::progress::{OpeningStep, Progress, Watch};
use crate::seam::{Direction, Reader, TableId, WriteTx};
use crate::store::Inner;
use crate::sync::meta::MetaTable;
use crate::txn::WriteTxn;

/// How many objects are looked at in one transaction.
const OBJECTS_PER_TX: usize = 10_000;

/// How many bytes of records are written anew in one transaction, unless a single record has more.
const BYTES_PER_TX: usize = 8 << 20;

/// Notes, in the transaction that opens the store, that an entity's objects are to become local once it is open.
pub(crate) fn note(tx: &mut WriteTx<'_>, meta: TableId, entity: EntityId) -> Result<()> {
    let objects = tx.table_if_exists(&keys::objects_table(entity))?;
    let first = objects.map(|objects| tx.first(objects)).transpose()?.flatten();
    if let Some(first) = first.map(|(first, _)| first.to_vec()) {
        tx.put(meta, keys::leave_key(entity).as_bytes(), &first)?;
    }
    Ok(())
}

/// Makes local what was noted, by this opening or by one that was cut off.
///
/// An entity may have become synced again since; its objects enter the outbox after this, as new ones.
pub(crate) fn run(inner: &Arc<Inner>, watch: Watch<'_>) -> Result<()> {
    for entity in inner.catalog.entities() {
        let key = keys::leave_key(entity.def.id);
        if inner.engine.read()?.get(inner.meta, key.as_bytes())?.is_none() {
            continue;
        }
        let mut progress = Progress::new(watch, OpeningStep::Leave { entity: entity.def.name.clone() });
        progress.of(inner.engine.read()?.count(entity.objects)?);
        while let Some(objects) = WriteTxn::run(inner, |tx| leave_batch(tx, entity))? {
            progress.advance(objects);
        }
    }
    Ok(())
}

/// Makes the next objects local; how many, unless none were left.
fn leave_batch(tx: &mut WriteTxn<'_>, entity: &Arc<EntityRuntime>) -> Result<Option<u64>> {
    let key = keys::leave_key(entity.def.id);
    let Some(start) = tx.meta_get(key.as_bytes())?.map(<[u8]>::to_vec) else { return Ok(None) };
    let mut batch: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let objects_max = tx.inner().batch_objects.unwrap_or(OBJECTS_PER_TX);
    let (mut objects, mut bytes, mut rest) = (0, 0, None);
    let range = (Bound::Included(&start[..]), Bound::Unbounded);
    for row in tx.engine_tx().range(entity.objects, range, Direction::Forward)? {
        let (object, record) = row?;
        if objects == objects_max || bytes > BYTES_PER_TX {
            rest = Some(object.to_vec());
            break;
        }
        objects += 1;
        let parsed = Record::parse(record).map_err(|e| StoreError::damaged("record", e))?;
        if parsed.header.is_some() {
            let mut local = Vec::with_capacity(record.len());
            Record::local(parsed.table.as_bytes(), &mut local);
            bytes += local.len();
            batch.push((object.to_vec(), local));
        }
    }
    for (object, local) in &batch {
        // What the indexes hold depends on the properties alone, and these stay.
        tx.put_raw(entity.objects, object, local)?;
    }
    match &rest {
        Some(next) => tx.meta_put(key.as_bytes(), next)?,
        None => {
            let meta = tx.inner().meta;
            tx.delete_raw(meta, key.as_bytes())?;
        }
    }
    Ok(Some(objects as u64))
}
