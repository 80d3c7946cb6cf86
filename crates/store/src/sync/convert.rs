//! Between a record as it lies in a table and an object's state as the merge rules see it.

use std::borrow::Cow;
use std::sync::Arc;

use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::{EMPTY_TABLE, KindState, Record, SyncHeader, TableWriter, UnknownRegister};
use reconvene_model::state::{ObjectState, Register};
use reconvene_model::{GlobalId, PropertyType, Seq, Stamp};
use smallvec::SmallVec;

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::sync::columns::{Column, SyncEntity};
use crate::sync::global_ids::{self, Lookup};
use crate::txn::WriteTxn;

/// The state that a record holds, its links as global ids.
pub(crate) fn state_of_record<'r>(
    tx: &impl CatalogLookup,
    columns: &SyncEntity,
    record: &'r [u8],
) -> Result<(ObjectState<'r>, SyncHeader)> {
    let record = Record::parse(record).map_err(|e| StoreError::damaged("record", e))?;
    let header = record
        .header
        .ok_or_else(|| StoreError::damaged("record", "a synced object has no sync header"))?
        .parse()
        .map_err(|e| StoreError::damaged("record", e))?;
    let table = record.table;
    let mut registers = Vec::with_capacity(columns.columns.len() + header.unknown.len());
    for column in &columns.columns {
        if column.kind.is_some() {
            if let Some(KindState { kind, state, .. }) = header.kind_state(column.slot) {
                registers.push(Register::of_kind(column.uid, *kind, state.clone().into()));
            }
            continue;
        }
        let slot = column.slot as usize;
        let stamp = header.stamp_of(slot, table.slots());
        if stamp.is_never() {
            continue;
        }
        let stored = table.stored(slot, column.ty).map_err(|e| StoreError::damaged("record", e))?;
        let cell = match stored {
            Some(bytes) if column.ty == PropertyType::Relation => {
                link_cell(tx, column, &bytes)?.map(|gid| gid.to_vec().into())
            }
            other => other,
        };
        registers.push(Register { uid: column.uid, ty: column.ty as u8, stamp, cell });
    }
    for unknown in &header.unknown {
        registers.push(Register {
            uid: unknown.uid,
            ty: unknown.ty,
            stamp: unknown.stamp,
            cell: unknown.cell.clone().map(Cow::Owned),
        });
    }
    if !header.unknown.is_empty() {
        registers.sort_by_key(|register| register.uid);
    }
    let state = ObjectState { generation: header.generation, exists: header.exists, registers };
    Ok((state, header))
}

/// A transaction that can also name entities.
pub(crate) trait CatalogLookup: Lookup {
    fn catalog(&self) -> &crate::catalog::Catalog;
}

impl CatalogLookup for WriteTxn<'_> {
    fn catalog(&self) -> &crate::catalog::Catalog {
        &self.inner().catalog
    }
}

/// A link as it travels: the global id of what the local id stands for; 0 links to nothing.
pub(crate) fn link_cell(
    tx: &impl CatalogLookup,
    column: &Column,
    stored: &[u8],
) -> Result<Option<[u8; GlobalId::BYTES]>> {
    let id = u64::from_le_bytes(
        stored.try_into().map_err(|_| StoreError::damaged("record", "a link is not 8 bytes wide"))?,
    );
    if id == 0 {
        return Ok(None);
    }
    let target = column.target.and_then(|id| tx.catalog().by_id(id));
    Ok(Some(
        match target {
            // A link to an entity that does not travel can only mean something on this device.
            Some(target) if target.def.is_synced() => global_ids::global(tx, target, id)?,
            _ => GlobalId::new(tx.naming()?.peer(), id),
        }
        .to_bytes(),
    ))
}

/// The record of a state, with its global id where the object is foreign; new link targets are given ids.
pub(crate) fn record_of_state(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    columns: &SyncEntity,
    gid: Option<GlobalId>,
    seq: Option<Seq>,
    state: &ObjectState<'_>,
    out: &mut Vec<u8>,
) -> Result<()> {
    out.clear();
    let mut header =
        SyncHeader { exists: state.exists, gid, generation: state.generation, seq, ..SyncHeader::default() };
    if state.registers.is_empty() {
        header.write_record(EMPTY_TABLE, out);
        return Ok(());
    }
    let mut stamps = vec![Stamp::NEVER; columns.slots];
    let mut table = TableWriter::new(&entity.layout);
    for register in &state.registers {
        match columns.column(register.uid) {
            Some(Column { slot, ty, kind: Some(kind), .. }) if *kind as u8 == register.ty => {
                if let Some(shown) = kind.shown(*ty, register.cell.as_deref()) {
                    table.set_stored(*slot as usize, &shown);
                }
                let state = register.cell.as_deref().map(<[u8]>::to_vec);
                header.kinds.extend(state.map(|state| KindState { slot: *slot, kind: *kind, state }));
            }
            Some(column) if column.cell_type() == register.ty => {
                let slot = column.slot as usize;
                stamps[slot] = register.stamp;
                match &register.cell {
                    _ if columns.clock == Some(column.slot) => {
                        table.set_stored(slot, &register.stamp.hlc.to_le_bytes());
                    }
                    None => table.set_null(slot),
                    Some(cell) if column.ty == PropertyType::Relation => {
                        table.set_stored(slot, &local_link(tx, column, cell)?.to_le_bytes());
                    }
                    Some(cell) => table.set_stored(slot, cell),
                }
            }
            _ if planted(Planted::UnknownDropped) => {}
            // A property of a newer schema, or of another type than this schema's: kept, not shown.
            _ => header.unknown.push(UnknownRegister {
                uid: register.uid,
                ty: register.ty,
                stamp: register.stamp,
                cell: register.cell.as_deref().map(<[u8]>::to_vec),
            }),
        }
    }
    header.kinds.sort_by_key(|kind| kind.slot);
    set_stamps(&mut header, columns, &stamps);
    let mut bytes = Vec::new();
    table.finish(&mut bytes);
    header.write_record(&bytes, out);
    Ok(())
}

pub(crate) fn local_link(tx: &mut WriteTxn<'_>, column: &Column, cell: &[u8]) -> Result<u64> {
    let gid = GlobalId::from_bytes(
        cell.try_into().map_err(|_| StoreError::internal("a link's cell was checked to be 16 bytes"))?,
    );
    let target = column.target.and_then(|id| tx.inner().catalog.by_id(id)).cloned();
    match target {
        Some(target) if target.def.is_synced() => global_ids::local_or_reserve(tx, &target, gid),
        _ => Ok(gid.counter),
    }
}

/// Chooses the base stamp, the one that most properties share, and lists the others. The stamps of counters and sets follow from their
/// states.
pub(crate) fn set_stamps(header: &mut SyncHeader, columns: &SyncEntity, stamps: &[Stamp]) {
    let mut counts: SmallVec<[(Stamp, usize); 4]> = SmallVec::new();
    let plain = columns.by_slot.iter().filter(|column| column.kind.is_none());
    for column in plain.clone() {
        let stamp = stamps[column.slot as usize];
        match counts.iter_mut().find(|(other, _)| *other == stamp) {
            Some((_, count)) => *count += 1,
            None => counts.push((stamp, 1)),
        }
    }
    header.base = counts
        .into_iter()
        .filter(|(stamp, _)| !stamp.is_never())
        .max_by_key(|&(stamp, count)| (count, stamp))
        .map_or(Stamp::NEVER, |(stamp, _)| stamp);
    header.overrides.clear();
    for column in plain {
        let stamp = stamps[column.slot as usize];
        if stamp != header.base {
            header.overrides.push((column.slot, stamp));
        }
    }
}
