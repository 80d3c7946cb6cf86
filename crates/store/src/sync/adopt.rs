//! After a schema change: properties that were kept unread, because the former schema did not know them, take their place.
//!
//! A device of an older version of the app keeps what newer ones write. When it is updated, its records still have those
//! values among the unknown; here they move into the slots that the new schema gave them.

use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::ObjectId;
use reconvene_model::record::Record;

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader, TableId};
use crate::store::Inner;
use crate::sync::columns::SyncEntity;
use crate::sync::{convert, meta};
use crate::txn::WriteTxn;

/// How many objects move in one transaction, so that a large store does not need one that is as large.
const OBJECTS_PER_TX: usize = 10_000;

/// Lets known properties take their places, if the schema has changed since this was last done.
///
/// It may be cut short at any point: what has moved is not found again, and the mark goes last.
pub(crate) fn run(inner: &Arc<Inner>) -> Result<()> {
    let marked = inner.engine.read()?.get(inner.meta, meta::ADOPT)?.is_some();
    if !marked {
        return Ok(());
    }
    let synced: Vec<Arc<EntityRuntime>> =
        inner.catalog.entities().filter(|entity| entity.def.is_synced()).cloned().collect();
    for entity in synced {
        let columns = inner.sync.entity(entity.def.id)?;
        let confirmed = keys::entity_object_key(entity.def.id, 0);
        for (table, first) in [
            (Some(entity.objects), &keys::object_key(0)[..]),
            (entity.absent, &keys::object_key(0)[..]),
            (Some(inner.sync.tables.confirmed), &confirmed[..]),
        ] {
            let Some(table) = table else { continue };
            let mut from = Some(first.to_vec());
            while let Some(start) = from {
                from = WriteTxn::run(inner, |tx| adopt_some(tx, &entity, columns, table, &start))?;
            }
        }
    }
    WriteTxn::run(inner, |tx| tx.delete_raw(inner.meta, meta::ADOPT).map(|_| ()))
}

/// Moves the properties of some objects from `start` on; where to go on, unless all are done.
fn adopt_some(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    columns: &SyncEntity,
    table: TableId,
    start: &[u8],
) -> Result<Option<Vec<u8>>> {
    let is_confirmed = table == tx.inner().sync.tables.confirmed;
    let mut found = Vec::new();
    let mut next = None;
    let range = (Bound::Included(start), Bound::Unbounded);
    for row in tx.engine_tx().range(table, range, Direction::Forward)? {
        let (key, record) = row?;
        if is_confirmed && !key.starts_with(&entity.def.id.0.to_be_bytes()) {
            break;
        }
        if found.len() == OBJECTS_PER_TX {
            next = Some(key.to_vec());
            break;
        }
        if has_known_among_unknown(record, columns)? {
            found.push((key.to_vec(), record.to_vec()));
        }
    }
    for (key, record) in found {
        let (state, header) = convert::state_of_record(tx, columns, &record)?;
        let mut adopted = Vec::new();
        convert::record_of_state(tx, entity, columns, header.gid, header.seq, &state, &mut adopted)?;
        if is_confirmed {
            tx.put_raw(table, &key, &adopted)?;
            continue;
        }
        let id: ObjectId = keys::object_id(&key)?;
        if table == entity.objects {
            tx.replace_record(entity, id, Some(&adopted))?;
        } else {
            tx.put_absent(entity, id, Some(&adopted))?;
        }
    }
    Ok(next)
}

fn has_known_among_unknown(record: &[u8], columns: &SyncEntity) -> Result<bool> {
    let damaged = |e| StoreError::damaged("record", e);
    let Some(header) = Record::parse(record).map_err(damaged)?.header else { return Ok(false) };
    let unknown = header.parse().map_err(damaged)?.unknown;
    Ok(unknown.iter().any(|register| columns.column(register.uid).is_some_and(|c| c.ty as u8 == register.ty)))
}
