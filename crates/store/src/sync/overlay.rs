//! Visible state: confirmed state with the undecided transactions of the outbox merged in, in order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use reconvene_model::change::{OpsReader, decode_tx};
use reconvene_model::merge::merge_op;
use reconvene_model::record::{EMPTY_TABLE, SyncHeader};
use reconvene_model::state::ObjectState;
use reconvene_model::{EntityId, GlobalId, ObjectId, Seq, Stamp};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::Reader;
use crate::sync::global_ids;
use crate::sync::{convert, outbox};
use crate::txn::WriteTxn;

/// An object of this store.
pub(crate) type Place = (EntityId, ObjectId);

/// The confirmed state of an object as a record, if there is any; `None` means that nothing was ever confirmed.
///
/// Without undecided transactions this is the visible record itself.
pub(crate) fn confirmed_record(
    tx: &WriteTxn<'_>,
    entity: &EntityRuntime,
    id: ObjectId,
    pending: bool,
) -> Result<Option<Vec<u8>>> {
    if pending {
        let table = tx.inner().sync.tables.confirmed;
        let key = keys::entity_object_key(entity.def.id, id);
        return Ok(tx.engine_tx().get(table, &key)?.map(<[u8]>::to_vec));
    }
    stored_record(tx, entity, id)
}

/// What is stored of an object, whether it exists or not.
pub(crate) fn stored_record(
    tx: &WriteTxn<'_>,
    entity: &EntityRuntime,
    id: ObjectId,
) -> Result<Option<Vec<u8>>> {
    Ok(match tx.record(entity, id)? {
        Some(record) => Some(record.to_vec()),
        None => tx.absent_record(entity, id)?.map(<[u8]>::to_vec),
    })
}

/// Writes the confirmed state of an object that has undecided transactions.
pub(crate) fn put_confirmed(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    gid: GlobalId,
    state: &ObjectState<'_>,
) -> Result<()> {
    let columns = tx.sync_entity(entity)?;
    let mut record = Vec::new();
    let foreign = global_ids::to_be_named(tx, entity, id, gid)?;
    convert::record_of_state(tx, entity, columns, foreign, None, state, &mut record)?;
    let table = tx.inner().sync.tables.confirmed;
    tx.put_raw(table, &keys::entity_object_key(entity.def.id, id), &record)
}

pub(crate) fn delete_confirmed(tx: &mut WriteTxn<'_>, place: Place) -> Result<bool> {
    let table = tx.inner().sync.tables.confirmed;
    tx.delete_raw(table, &keys::entity_object_key(place.0, place.1))
}

/// Makes `state` what readers, queries and observers see of the object.
pub(crate) fn put_visible(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    gid: GlobalId,
    seq: Option<Seq>,
    state: &ObjectState<'_>,
) -> Result<()> {
    let foreign = global_ids::to_be_named(tx, entity, id, gid)?;
    let columns = tx.sync_entity(entity)?;
    let mut record = Vec::new();
    convert::record_of_state(tx, entity, columns, foreign, seq, state, &mut record)?;
    if state.exists {
        tx.raise_high_water(entity, id)?;
        tx.replace_record(entity, id, Some(&record))?;
        if tx.absent_record(entity, id)?.is_some() {
            tx.put_absent(entity, id, None)?;
        }
        return Ok(());
    }
    tx.replace_record(entity, id, None)?;
    let remembered = state.generation > 0 || foreign.is_some() || !state.registers.is_empty();
    if remembered {
        tx.put_absent(entity, id, Some(&record))
    } else if tx.absent_record(entity, id)?.is_some() {
        tx.put_absent(entity, id, None)
    } else {
        Ok(())
    }
}

/// Lets an id that stands for an object which was confirmed once stand for it ever after, although nothing is known of it any more.
///
/// An id of this store's own that leaves no trace would be taken for one that it never gave out.
pub(crate) fn keep_trace(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    gid: GlobalId,
) -> Result<()> {
    if entity.def.has_shared_ids() || tx.absent_record(entity, id)?.is_some() {
        return Ok(());
    }
    let header = SyncHeader { gid: global_ids::to_be_named(tx, entity, id, gid)?, ..SyncHeader::default() };
    let mut record = Vec::new();
    header.write_record(EMPTY_TABLE, &mut record);
    tx.put_absent(entity, id, Some(&record))
}

/// Computes the visible state of these objects anew; confirmed rows that no undecided transaction needs any more are dropped.
pub(crate) fn recompute(tx: &mut WriteTxn<'_>, dirty: &BTreeSet<Place>) -> Result<()> {
    if dirty.is_empty() {
        return Ok(());
    }
    let mut numbers = BTreeSet::new();
    let mut rows = Vec::with_capacity(dirty.len());
    {
        let confirmed = tx.inner().sync.tables.confirmed;
        let writer = tx.sync_writer()?;
        for &(entity, id) in dirty {
            let before = numbers.len();
            let mut pending = false;
            for number in writer.pending.numbers(entity, id) {
                numbers.insert(number);
                pending = true;
            }
            debug_assert!(pending || numbers.len() == before);
            let row = tx.engine_tx().get(confirmed, &keys::entity_object_key(entity, id))?;
            rows.push((pending, row.map(<[u8]>::to_vec)));
        }
    }
    let mut txs = BTreeMap::new();
    for &number in &numbers {
        txs.insert(number, outbox::expect(tx, number)?);
    }

    let mut states: HashMap<Place, ObjectState<'_>> = HashMap::with_capacity(dirty.len());
    for (&place, (_, row)) in dirty.iter().zip(&rows) {
        let columns = tx.inner().sync.entity(place.0)?;
        let state = match row {
            Some(record) => convert::state_of_record(tx, columns, record)?.0,
            None => ObjectState::default(),
        };
        states.insert(place, state);
    }
    for bytes in txs.values() {
        let (head, block) = decode_tx(bytes).map_err(|e| StoreError::damaged("outbox", e))?;
        let stamp = Stamp::new(head.hlc, head.origin);
        for op in OpsReader::new(head.origin, block).map_err(|e| StoreError::damaged("outbox", e))? {
            let op = op.map_err(|e| StoreError::damaged("outbox", e))?;
            let Some(entity) = tx.inner().catalog.synced(op.entity) else { continue };
            let Some(id) = global_ids::local(tx, entity, op.gid)? else { continue };
            if let Some(state) = states.get_mut(&(entity.def.id, id)) {
                let columns = tx.inner().sync.entity(entity.def.id)?;
                merge_op(state, &op, columns.stamp(stamp, &op, None));
            }
        }
    }
    for (place, (pending, row)) in dirty.iter().zip(&rows) {
        let entity = tx
            .inner()
            .catalog
            .by_id(place.0)
            .cloned()
            .ok_or_else(|| StoreError::internal("a pending object's entity is in the catalog"))?;
        let gid = match row {
            Some(record) => match global_ids::gid_of_record(record)? {
                Some(gid) => gid,
                None => global_ids::global(tx, &entity, place.1)?,
            },
            None => global_ids::global(tx, &entity, place.1)?,
        };
        put_visible(tx, &entity, place.1, gid, None, &states[place])?;
        if row.is_some() && !states[place].exists {
            keep_trace(tx, &entity, place.1, gid)?;
        }
        if !pending && row.is_some() {
            delete_confirmed(tx, *place)?;
        }
    }
    Ok(())
}
