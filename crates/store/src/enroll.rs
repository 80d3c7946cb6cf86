//! Objects of an entity that becomes synced when there are some already: they enter the outbox as inserts, so that the
//! server hears of them like of any others.

use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::record::{Record, TableWriter};
use reconvene_model::{ObjectId, Schema};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader, TableId, WriteTx};
use crate::store::Inner;
use crate::sync::local;
use crate::sync::meta::MetaTable;
use crate::sync::{Role, TX_BYTES_MAX};
use crate::txn::WriteTxn;

/// How many objects enter the outbox in one transaction.
const BATCH_OBJECTS_MAX: usize = 10_000;

/// How many bytes of records enter the outbox in one transaction, unless a single record has more.
const BATCH_BYTES_MAX: usize = TX_BYTES_MAX / 4;

/// Notes, in the transaction that opens the store, whose objects are to enter the outbox once it is open.
pub(crate) fn note(
    tx: &mut WriteTx<'_>,
    meta: TableId,
    stored: &Schema,
    next: &Schema,
    role: Role,
) -> Result<()> {
    for entity in next.entities().iter().filter(|entity| entity.is_synced()) {
        if stored.entity_by_uid(entity.uid).is_none_or(|stored| stored.is_synced()) {
            continue;
        }
        let objects = tx.table_if_exists(&keys::objects_table(entity.id))?;
        let Some((first, _)) = objects.map(|objects| tx.first(objects)).transpose()?.flatten() else {
            continue;
        };
        if role == Role::Server {
            return Err(StoreError::ServerDirectory);
        }
        let first = first.to_vec();
        tx.put(meta, keys::enroll_key(entity.id).as_bytes(), &first)?;
    }
    Ok(())
}

/// Enrolls what was noted, by this opening or by one that was cut off.
pub(crate) fn run(inner: &Arc<Inner>) -> Result<()> {
    for entity in inner.catalog.entities().filter(|entity| entity.def.is_synced()) {
        let key = keys::enroll_key(entity.def.id);
        if inner.engine.read()?.get(inner.meta, key.as_bytes())?.is_some() {
            while WriteTxn::run(inner, |tx| enroll_batch(tx, entity))? {}
        }
    }
    Ok(())
}

/// Enrolls the next objects; whether more may follow.
fn enroll_batch(tx: &mut WriteTxn<'_>, entity: &Arc<EntityRuntime>) -> Result<bool> {
    let key = keys::enroll_key(entity.def.id);
    let Some(start) = tx.meta_get(key.as_bytes())?.map(<[u8]>::to_vec) else { return Ok(false) };
    let mut batch: Vec<(ObjectId, Vec<u8>)> = Vec::new();
    let (mut bytes, mut rest) = (0, None);
    let range = (Bound::Included(&start[..]), Bound::Unbounded);
    for row in tx.engine_tx().range(entity.objects, range, Direction::Forward)? {
        let (object, record) = row?;
        bytes += record.len();
        if !batch.is_empty() && (batch.len() >= BATCH_OBJECTS_MAX || bytes > BATCH_BYTES_MAX) {
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
    Ok(rest.is_some())
}
