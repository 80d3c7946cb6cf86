//! Local writes: stamped, noted for the outbox, and at the end of the transaction turned into one outbox transaction.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use reconvene_model::change::{OpKind, OpsWriter, TxHead, encode_tx};
use reconvene_model::record::{Record, SyncHeader, Table};
use reconvene_model::{EntityId, Generation, GlobalId, ObjectId, PropertyType, Stamp, TxHash, Uid};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::sync::columns::{Column, SyncEntity};
use crate::sync::global_ids::{self, Lookup};
use crate::sync::{Role, TX_BYTES_MAX, TX_OPS_MAX, convert, meta};
use crate::txn::WriteTxn;

/// What a put writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Written<'a> {
    /// A new object: every property.
    Insert,
    /// These slots of an existing object.
    Slots(&'a [u16]),
}

/// The objects that a transaction touched, in order of first touch, with what became of each.
#[derive(Default)]
pub(crate) struct Touches {
    /// The one stamp of the transaction, once it wrote something.
    stamp: Option<Stamp>,
    list: Vec<Touch>,
    by_object: HashMap<(EntityId, ObjectId), usize>,
    /// The ops as they were written; void once an object was touched again, when the final records are read instead.
    ops: Option<OpsWriter>,
    again: bool,
}

struct Touch {
    entity: Arc<EntityRuntime>,
    id: ObjectId,
    /// The generation that was removed, if the object existed before and was removed.
    removed: Option<Generation>,
    written: Option<TouchWritten>,
}

enum TouchWritten {
    Insert,
    Slots(Vec<u16>),
}

/// Writes an object of a synced entity; `old` is the record that it replaces.
pub(crate) fn put(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    old: Option<&[u8]>,
    new_table: &[u8],
    written: Written<'_>,
) -> Result<()> {
    let stamp = stamp(tx)?;
    let columns = tx.sync_entity(entity)?;
    let table = Table::parse(new_table).map_err(StoreError::bad_record)?;
    let header = match (old, written) {
        (Some(old), Written::Slots(slots)) => restamped(old, &columns, slots, stamp)?,
        (None, Written::Insert) => {
            let absent = tx.absent_record(entity, id)?.map(<[u8]>::to_vec);
            let (gid, generation) = match &absent {
                Some(record) => {
                    let header = parse_header(record)?;
                    (header.gid, header.generation)
                }
                None => (None, 0),
            };
            save_confirmed(tx, entity, id, absent.as_deref())?;
            global_ids::fresh_header(gid, generation, stamp)
        }
        (Some(_), Written::Insert) | (None, Written::Slots(_)) => {
            return Err(StoreError::internal("an insert has no former record, an update has one"));
        }
    };
    if old.is_some() {
        save_confirmed(tx, entity, id, old)?;
    }
    let mut record = Vec::with_capacity(new_table.len() + 48);
    header.write_record(new_table, &mut record);
    tx.replace_record(entity, id, Some(&record))?;
    if old.is_none() && tx.absent_record(entity, id)?.is_some() {
        tx.put_absent(entity, id, None)?;
    }
    let gid = own_gid(tx, entity, id, header.gid);
    note_put(tx, entity, &columns, id, gid, header.generation, &table, written)
}

/// Removes an object of a synced entity; `old` is its record.
pub(crate) fn remove(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    old: &[u8],
) -> Result<()> {
    stamp(tx)?;
    let header = parse_header(old)?;
    save_confirmed(tx, entity, id, Some(old))?;
    tx.replace_record(entity, id, None)?;
    let key = (entity.def.id, id);
    let touches = &mut tx.sync.touches;
    let mut tombstone = Some(header.generation + 1);
    match touches.by_object.get(&key).copied() {
        None => {
            let gid = own_gid(tx, entity, id, header.gid);
            let origin = tx.own_peer();
            let touches = &mut tx.sync.touches;
            touches.writer(origin).push_cells(
                entity.def.uid,
                gid,
                header.generation,
                OpKind::Remove,
                &[],
                std::iter::empty::<Option<&[u8]>>(),
            );
            touches.by_object.insert(key, touches.list.len());
            let removed = Some(header.generation);
            touches.list.push(Touch { entity: entity.clone(), id, removed, written: None });
        }
        Some(at) => {
            touches.again = true;
            let touch = &mut touches.list[at];
            if matches!(touch.written, Some(TouchWritten::Insert)) {
                // Nobody else ever hears of an object that one transaction inserts and removes: what was before stands.
                let untouched = touch.removed.is_none() && header.generation == 0 && header.gid.is_none();
                tombstone = (!untouched).then_some(header.generation);
            } else {
                touch.removed = Some(header.generation);
            }
            touch.written = None;
        }
    }
    if let Some(generation) = tombstone {
        let header = SyncHeader { exists: false, gid: header.gid, generation, ..SyncHeader::default() };
        let mut record = Vec::new();
        header.write_record(reconvene_model::record::EMPTY_TABLE, &mut record);
        tx.put_absent(entity, id, Some(&record))?;
    }
    Ok(())
}

/// The transaction's stamp; the clock ticks once, at its first write.
fn stamp(tx: &mut WriteTxn<'_>) -> Result<Stamp> {
    if let Some(stamp) = tx.sync.touches.stamp {
        return Ok(stamp);
    }
    if tx.inner().sync.role == Role::Server {
        return Err(StoreError::ServerDirectory);
    }
    let now_ms = tx.inner().now_ms();
    let hlc = tx.sync_writer_mut(|writer| writer.clock.tick(now_ms))?;
    let stamp = Stamp::new(hlc, tx.own_peer());
    tx.sync.touches.stamp = Some(stamp);
    Ok(stamp)
}

/// Keeps what was confirmed about an object before its first undecided write.
///
/// No row is written for an object that nobody confirmed anything about: its absence says so, and a bulk insert stays cheap.
fn save_confirmed(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    before: Option<&[u8]>,
) -> Result<()> {
    let Some(before) = before else { return Ok(()) };
    if tx.sync.touches.by_object.contains_key(&(entity.def.id, id)) {
        return Ok(());
    }
    if tx.sync_writer()?.pending.contains(entity.def.id, id) {
        return Ok(());
    }
    let table = tx.inner().sync.tables.confirmed;
    tx.put_raw(table, &keys::entity_object_key(entity.def.id, id), before)
}

fn parse_header(record: &[u8]) -> Result<SyncHeader> {
    Record::parse(record)
        .and_then(|record| record.header.map_or_else(|| Ok(SyncHeader::default()), |header| header.parse()))
        .map_err(|e| StoreError::damaged("record", e))
}

/// The header of `old` after these slots were written at `stamp`.
fn restamped(old: &[u8], columns: &SyncEntity, slots: &[u16], stamp: Stamp) -> Result<SyncHeader> {
    let record = Record::parse(old).map_err(|e| StoreError::damaged("record", e))?;
    let mut header = parse_header(old)?;
    let mut stamps: Vec<Stamp> =
        (0..columns.slots).map(|slot| header.stamp_of(slot, record.table.slots())).collect();
    for &slot in slots {
        stamps[slot as usize] = stamp;
    }
    convert::set_stamps(&mut header, columns, &stamps);
    Ok(header)
}

fn own_gid(tx: &WriteTxn<'_>, entity: &EntityRuntime, id: ObjectId, foreign: Option<GlobalId>) -> GlobalId {
    if entity.def.has_shared_ids() {
        GlobalId::new(reconvene_model::PeerId::SHARED, id)
    } else {
        foreign.unwrap_or_else(|| GlobalId::new(tx.own_peer(), id))
    }
}

#[expect(clippy::too_many_arguments, reason = "one object's write in all its parts, from its only caller")]
fn note_put(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    columns: &SyncEntity,
    id: ObjectId,
    gid: GlobalId,
    generation: Generation,
    table: &Table<'_>,
    written: Written<'_>,
) -> Result<()> {
    let key = (entity.def.id, id);
    if let Some(at) = tx.sync.touches.by_object.get(&key).copied() {
        let touches = &mut tx.sync.touches;
        touches.again = true;
        let touch = &mut touches.list[at];
        match (&mut touch.written, written) {
            (Some(TouchWritten::Insert), _) => {}
            (Some(TouchWritten::Slots(all)), Written::Slots(more)) => {
                all.extend_from_slice(more);
                all.sort_unstable();
                all.dedup();
            }
            (_, Written::Insert) => touch.written = Some(TouchWritten::Insert),
            (None, Written::Slots(slots)) => touch.written = Some(TouchWritten::Slots(slots.to_vec())),
        }
        return Ok(());
    }
    let written = match written {
        Written::Insert => TouchWritten::Insert,
        Written::Slots(slots) => TouchWritten::Slots(slots.to_vec()),
    };
    if !tx.sync.touches.again {
        let mut ops = tx.sync.touches.take_writer(tx.own_peer());
        write_op(tx, &mut ops, entity, columns, gid, generation, table, &written)?;
        tx.sync.touches.ops = Some(ops);
    }
    let touches = &mut tx.sync.touches;
    touches.by_object.insert(key, touches.list.len());
    touches.list.push(Touch { entity: entity.clone(), id, removed: None, written: Some(written) });
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "one op in all its parts, from two callers in this module")]
fn write_op(
    tx: &WriteTxn<'_>,
    ops: &mut OpsWriter,
    entity: &EntityRuntime,
    columns: &SyncEntity,
    gid: GlobalId,
    generation: Generation,
    table: &Table<'_>,
    written: &TouchWritten,
) -> Result<()> {
    let cell = |column: &Column| -> Result<Option<Cow<'_, [u8]>>> {
        let stored = table.stored(column.slot as usize, column.ty).map_err(StoreError::bad_record)?;
        match stored {
            Some(bytes) if column.ty == PropertyType::Relation => {
                Ok(convert::link_cell(tx, column, &bytes)?.map(|gid| Cow::Owned(gid.to_vec())))
            }
            other => Ok(other),
        }
    };
    match written {
        TouchWritten::Insert => {
            let cells = columns.by_slot.iter().map(cell).collect::<Result<Vec<_>>>()?;
            let cells = cells.iter().map(|cell| cell.as_deref());
            ops.push_cells(entity.def.uid, gid, generation, OpKind::Insert, &columns.shape, cells);
        }
        TouchWritten::Slots(slots) => {
            let written: Vec<&Column> = slots.iter().filter_map(|&slot| columns.at_slot(slot)).collect();
            let shape: Vec<(Uid, u8)> = written.iter().map(|column| (column.uid, column.ty as u8)).collect();
            let cells = written.into_iter().map(cell).collect::<Result<Vec<_>>>()?;
            let cells = cells.iter().map(|cell| cell.as_deref());
            ops.push_cells(entity.def.uid, gid, generation, OpKind::Update, &shape, cells);
        }
    }
    Ok(())
}

impl Touches {
    fn take_writer(&mut self, origin: reconvene_model::PeerId) -> OpsWriter {
        self.ops.take().unwrap_or_else(|| OpsWriter::new(origin))
    }

    fn writer(&mut self, origin: reconvene_model::PeerId) -> &mut OpsWriter {
        self.ops.get_or_insert_with(|| OpsWriter::new(origin))
    }
}

/// Puts the transaction into the outbox, if it touched anything that travels.
pub(crate) fn finish(tx: &mut WriteTxn<'_>) -> Result<()> {
    let Some(stamp) = tx.sync.touches.stamp else { return Ok(()) };
    let mut touches = std::mem::take(&mut tx.sync.touches);
    if touches.again {
        touches.ops = Some(ops_of_final_records(tx, &touches.list)?);
    }
    meta::put_clock(tx, stamp.hlc)?;
    let Some(ops) = touches.ops.filter(|ops| !ops.is_empty()) else { return Ok(()) };
    ops.check_limits()?;
    let (op_count, ops) = (ops.len(), ops.finish());
    if op_count > TX_OPS_MAX {
        return Err(StoreError::TooManyOperations { operations: op_count, max: TX_OPS_MAX });
    }
    let (last_number, last_hash) = {
        let writer = tx.sync_writer()?;
        (writer.last_number, writer.last_hash)
    };
    let number = last_number + 1;
    let head = TxHead { origin: stamp.peer, number, previous: last_hash, hlc: stamp.hlc };
    let bytes = encode_tx(&head, &ops);
    if bytes.len() > TX_BYTES_MAX {
        return Err(StoreError::TransactionTooLarge { bytes: bytes.len(), max: TX_BYTES_MAX });
    }
    let hash = TxHash::of(&bytes);
    let outbox = tx.inner().sync.tables.outbox;
    tx.append_raw(outbox, &keys::number_key(number), &bytes)?;
    meta::put_last_tx(tx, number, hash)?;
    tx.sync_writer_mut(|writer| {
        writer.last_number = number;
        writer.last_hash = hash;
        for touch in touches.list.iter().filter(|touch| touch.removed.is_some() || touch.written.is_some()) {
            writer.pending.add(touch.entity.def.id, touch.id, number);
        }
    })?;
    tx.sync.outbox_grew = true;
    Ok(())
}

/// Writes the ops from what the objects are at the end: one op per register, however often each was written.
fn ops_of_final_records(tx: &WriteTxn<'_>, touches: &[Touch]) -> Result<OpsWriter> {
    let mut ops = OpsWriter::new(tx.own_peer());
    for touch in touches {
        let entity = &touch.entity;
        if let Some(generation) = touch.removed {
            let gid = global_ids::global(tx, entity, touch.id)?;
            let none = std::iter::empty::<Option<&[u8]>>();
            ops.push_cells(entity.def.uid, gid, generation, OpKind::Remove, &[], none);
        }
        if let Some(written) = &touch.written {
            let record = tx.record(entity, touch.id)?.ok_or_else(|| {
                StoreError::internal("an object that a transaction wrote exists at its end")
            })?;
            let header = parse_header(record)?;
            let gid = own_gid(tx, entity, touch.id, header.gid);
            let table = Record::parse(record).map_err(|e| StoreError::damaged("record", e))?.table;
            let columns = tx.sync_entity(entity)?;
            write_op(tx, &mut ops, entity, &columns, gid, header.generation, &table, written)?;
        }
    }
    Ok(ops)
}
