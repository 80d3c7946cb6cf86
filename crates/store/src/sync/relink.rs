//! Links of others to what this store had inserted under a name that it left.
//!
//! Such an object has the new name, in the store's own transactions as well as everywhere else. A link that came from others names
//! the former one: whatever the store that keeps the name makes under that id, or nothing. Both names had the same local
//! id until then, so those links are led elsewhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use reconvene_model::record::Record;
use reconvene_model::{EntityId, GlobalId, ObjectId, PeerId, PropertyType};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader, TableId};
use crate::sync::columns::SyncEntity;
use crate::sync::id_runs::IdRuns;
use crate::sync::{convert, global_ids, overlay};
use crate::txn::WriteTxn;

/// Lets confirmed links to objects in `inserted`, which the store names anew, keep the former name that their authors wrote.
pub(crate) fn keep_former_links(
    tx: &mut WriteTxn<'_>,
    former: PeerId,
    inserted: &mut IdRuns<()>,
) -> Result<()> {
    let targets: BTreeSet<EntityId> = inserted.runs().map(|run| run.entity).collect();
    let synced = tx.inner().catalog.entities().filter(|entity| entity.def.is_synced());
    for entity in synced.cloned().collect::<Vec<_>>() {
        let columns = tx.inner().sync.entity(entity.def.id)?;
        if !links(columns).any(|(_, target)| targets.contains(&target)) {
            continue;
        }
        let (visible, below) = linked(tx, &entity, inserted)?;
        for (ids, is_below) in [(visible, false), (below, true)] {
            for id in ids {
                relink(tx, &entity, former, inserted, id, is_below)?;
            }
        }
    }
    Ok(())
}

/// The links of an entity: slot and target.
fn links(columns: &SyncEntity) -> impl Iterator<Item = (usize, EntityId)> + '_ {
    let links = columns.by_slot.iter().filter(|column| column.ty == PropertyType::Relation);
    links.filter_map(|column| Some((usize::from(column.slot), column.target?)))
}

/// The objects whose confirmed state links to what was inserted: those that show it, and those on top of which something waits.
fn linked(
    tx: &WriteTxn<'_>,
    entity: &EntityRuntime,
    inserted: &IdRuns<()>,
) -> Result<(Vec<ObjectId>, Vec<ObjectId>)> {
    let columns = tx.inner().sync.entity(entity.def.id)?;
    let of = |table: TableId, prefix: &[u8]| -> Result<Vec<ObjectId>> {
        let mut ids = Vec::new();
        for row in tx.engine_tx().prefix(table, prefix, Direction::Forward)? {
            let (key, record) = row?;
            if links_to(columns, record, inserted)? {
                ids.push(keys::object_id(key.get(prefix.len()..).unwrap_or_default())?);
            }
        }
        Ok(ids)
    };
    let mut visible = of(entity.objects, &[])?;
    if let Some(absent) = entity.absent {
        visible.extend(of(absent, &[])?);
    }
    let below = of(tx.inner().sync.tables.confirmed, &entity.def.id.0.to_be_bytes())?;
    let writer = tx.sync_writer()?;
    visible.retain(|&id| !writer.pending.contains(entity.def.id, id));
    Ok((visible, below))
}

fn links_to(columns: &SyncEntity, record: &[u8], inserted: &IdRuns<()>) -> Result<bool> {
    let damaged = |error| StoreError::damaged("record", error);
    let table = Record::parse(record).map_err(damaged)?.table;
    for (slot, target) in links(columns) {
        let stored = table.stored(slot, PropertyType::Relation).map_err(damaged)?;
        let id = stored.and_then(|bytes| Some(u64::from_le_bytes(bytes.as_ref().try_into().ok()?)));
        if id.is_some_and(|id| inserted.get(target, id).is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes the confirmed state of an object, with what it links to under the former name.
fn relink(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    former: PeerId,
    inserted: &IdRuns<()>,
    id: ObjectId,
    is_below: bool,
) -> Result<()> {
    let Some(record) = overlay::confirmed_record(tx, entity, id, is_below)? else { return Ok(()) };
    let columns = tx.sync_entity(entity)?;
    let (mut state, header) = convert::state_of_record(tx, columns, &record)?;
    for register in &mut state.registers {
        let column = columns.column(register.uid).filter(|column| column.ty as u8 == register.ty);
        let Some(target) = column.and_then(|column| column.target) else { continue };
        let Some(cell) = register.cell.as_deref().and_then(|cell| cell.try_into().ok()) else { continue };
        let GlobalId { origin, counter } = GlobalId::from_bytes(cell);
        if origin == tx.own_peer() && inserted.get(target, counter).is_some() {
            register.cell = Some(GlobalId::new(former, counter).to_bytes().to_vec().into());
        }
    }
    let gid = match header.gid {
        Some(gid) => gid,
        None => global_ids::global(tx, entity, id)?,
    };
    match is_below {
        true => overlay::put_confirmed(tx, entity, id, gid, &state),
        false => overlay::put_visible(tx, entity, id, gid, header.seq, &state),
    }
}
