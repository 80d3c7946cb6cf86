//! Objects of an entity that becomes synced when there are some already: they enter the outbox as inserts, so that the
//! server hears of them like of any others.

use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::record::{Record, TableWriter};
use reconvene_model::{EntityId, ObjectId};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::progress::{OpeningStep, Progress, Watch};
use crate::seam::{Direction, Reader, TableId, WriteTx};
use crate::store::Inner;
use crate::sync::TX_BYTES_MAX;
use crate::sync::local;
use crate::sync::meta::MetaTable;
use crate::txn::WriteTxn;

/// How many objects enter the outbox in one transaction.
const BATCH_OBJECTS_MAX: usize = 10_000;

/// How many bytes of records enter the outbox in one transaction, unless a single record has more.
const BATCH_BYTES_MAX: usize = TX_BYTES_MAX / 4;

/// Notes, in the transaction that opens the store, that an entity's objects are to enter the outbox once it is open.
pub(crate) fn note(tx: &mut WriteTx<'_>, meta: TableId, entity: EntityId) -> Result<()> {
    let objects = tx.table_if_exists(&keys::objects_table(entity))?;
    let first = objects.map(|objects| tx.first(objects)).transpose()?.flatten();
    if let Some(first) = first.map(|(first, _)| first.to_vec()) {
        tx.put(meta, keys::enroll_key(entity).as_bytes(), &first)?;
    }
    Ok(())
}

/// Enrolls what was noted, by this opening or by one that was cut off.
pub(crate) fn run(inner: &Arc<Inner>, watch: Watch<'_>) -> Result<()> {
    for entity in inner.catalog.entities().filter(|entity| entity.def.is_synced()) {
        let key = keys::enroll_key(entity.def.id);
        if inner.engine.read()?.get(inner.meta, key.as_bytes())?.is_none() {
            continue;
        }
        let mut progress = Progress::new(watch, OpeningStep::Enroll { entity: entity.def.name.clone() });
        progress.of(inner.engine.read()?.count(entity.objects)?);
        while let Some(objects) = WriteTxn::run(inner, |tx| enroll_batch(tx, entity))? {
            progress.advance(objects as u64);
        }
    }
    Ok(())
}

/// Enrolls the next objects; how many, unless none were left.
fn enroll_batch(tx: &mut WriteTxn<'_>, entity: &Arc<EntityRuntime>) -> Result<Option<usize>> {
    let key = keys::enroll_key(entity.def.id);
    let Some(start) = tx.meta_get(key.as_bytes())?.map(<[u8]>::to_vec) else { return Ok(None) };
    let mut batch: Vec<(ObjectId, Vec<u8>)> = Vec::new();
    let objects_max = tx.inner().batch_objects.unwrap_or(BATCH_OBJECTS_MAX);
    let (mut bytes, mut rest) = (0, None);
    let range = (Bound::Included(&start[..]), Bound::Unbounded);
    for row in tx.engine_tx().range(entity.objects, range, Direction::Forward)? {
        let (object, record) = row?;
        bytes += record.len();
        if !batch.is_empty() && (batch.len() >= objects_max || bytes > BATCH_BYTES_MAX) {
            rest = Some(object.to_vec());
            break;
        }
        batch.push((keys::object_id(object)?, record.to_vec()));
    }
    for (id, record) in &batch {
        let record = Record::parse(record).map_err(|e| StoreError::damaged("record", e))?;
        if record.header.is_none() {
            // The op names every property, so the table needs a place for each: one from an older schema may have fewer.
            let mut table = TableWriter::new(&entity.layout);
            table.copy_from(&record.table).map_err(|e| StoreError::damaged("record", e))?;
            local::insert(tx, entity, *id, &mut table)?;
        }
    }
    match &rest {
        Some(next) => tx.meta_put(key.as_bytes(), next)?,
        None => {
            let meta = tx.inner().meta;
            tx.delete_raw(meta, key.as_bytes())?;
        }
    }
    Ok(Some(batch.len()))
}
