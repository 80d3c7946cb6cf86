//! Local writes: stamped, noted for the outbox, and at the end of the transaction turned into one outbox transaction.

use std::sync::Arc;

use reconvene_model::change::{OpCells, OpKind, OpsWriter, TxHead, encode_tx_of};
use reconvene_model::kinds::{Kind, counter_change};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::{KindState, Record, SyncHeader, Table, TableWriter};
use reconvene_model::{Generation, GlobalId, ObjectId, PropertyType, Stamp, TxHash, Uid};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::kinds::{self, KindChange};
use crate::objects::copy_slot;
use crate::seam::Reader;
use crate::sync::columns::{Column, SyncEntity};
use crate::sync::global_ids;
use crate::sync::touches::{Added, RecordHead, Touch, TouchWritten, Touches};
use crate::sync::{Role, TX_BYTES_MAX, TX_OPS_MAX, TX_VALUES_MAX, coalesce, convert, meta};
use crate::txn::WriteTxn;

/// Writes a new object of a synced entity.
pub(crate) fn insert(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    table: &mut TableWriter<'_>,
) -> Result<()> {
    let stamp = stamp(tx)?;
    let columns = tx.sync_entity(entity)?;
    if let Some(clock) = columns.clock {
        show_clock(table, clock, stamp);
    }
    if tx.is_fresh(entity, id) && !tx.sync.touches.contains(entity.def.id, id) {
        return insert_fresh(tx, entity, columns, id, table, stamp);
    }
    let absent = tx.absent_record(entity, id)?.map(<[u8]>::to_vec);
    let header = absent.as_deref().map(parse_header).transpose()?;
    let (gid, generation, mut states) = match header {
        Some(header) => (header.gid, header.generation, header.kinds),
        None => (global_ids::name_new(tx, entity, id)?, 0, Vec::new()),
    };
    save_confirmed(tx, entity, id, absent.as_deref())?;
    let added = kinds::insert(entity, &mut states, table, stamp)?;
    tx.sync.touches.added.note(entity.def.id, id, &added);
    let stamp = columns.stamp_of_table(stamp, &table.table()).map_err(StoreError::bad_record)?;
    put_new(
        tx,
        entity,
        id,
        SyncHeader { kinds: states.clone(), ..global_ids::fresh_header(gid, generation, stamp) },
        table,
    )?;
    if absent.is_some() {
        tx.put_absent(entity, id, None)?;
    }
    let object = Noted { entity, columns, id, gid: own_gid(tx, entity, id, gid), generation, kinds: &states };
    note_put(tx, &object, &table.table(), TouchWritten::Insert)
}

/// Writes the record of a new object.
fn put_new(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    header: SyncHeader,
    table: &mut TableWriter<'_>,
) -> Result<()> {
    if header.kinds.is_empty() {
        let mut head = Vec::new();
        header.write_record(&[], &mut head);
        return tx.replace_record(entity, id, Some(table.as_record(&head)));
    }
    let mut record = tx.record_room();
    header.write_record(table.as_bytes(), &mut record);
    let replaced = tx.replace_record(entity, id, Some(&record));
    tx.keep_record_room(record);
    replaced
}

/// Writes these slots of an object of a synced entity, counters and sets by these changes; `old` is the record that it replaces.
pub(crate) fn update(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    old: &[u8],
    new_table: &[u8],
    slots: &[u16],
    changes: &[KindChange],
) -> Result<()> {
    let at = stamp(tx)?;
    let columns = tx.sync_entity(entity)?;
    // A visible clock tells of what the policy decides on, and so not of counters and sets.
    let clock = columns.clock.filter(|_| slots.len() > changes.len());
    let with_clock = clock.map(|clock| clocked(entity, clock, new_table, at)).transpose()?;
    let new_table = with_clock.as_deref().unwrap_or(new_table);
    let table = entity.layout.parse(new_table).map_err(StoreError::bad_record)?;
    let stamp = columns.stamp_of_table(at, &table).map_err(StoreError::bad_record)?;
    let mut header = restamped(old, columns, slots, stamp)?;
    if !changes.is_empty() {
        let added = kinds::change(entity, &mut header.kinds, changes, at)?;
        tx.sync.touches.added.note(entity.def.id, id, &added);
    }
    save_confirmed(tx, entity, id, Some(old))?;
    let mut record = tx.record_room();
    header.write_record(new_table, &mut record);
    let replaced = tx.replace_record(entity, id, Some(&record));
    tx.keep_record_room(record);
    replaced?;
    let gid = own_gid(tx, entity, id, header.gid);
    let object = Noted { entity, columns, id, gid, generation: header.generation, kinds: &header.kinds };
    note_put(tx, &object, &table, TouchWritten::Slots(slots.to_vec()))
}

/// The table with the clock of its write in the slot that shows it, whatever the application put there.
pub(super) fn clocked(entity: &EntityRuntime, clock: u16, table: &[u8], stamp: Stamp) -> Result<Vec<u8>> {
    let table = Table::parse(table).map_err(StoreError::bad_record)?;
    let mut writer = TableWriter::new(&entity.layout);
    for &slot in entity.stored_slots.iter().filter(|&&slot| slot != clock) {
        copy_slot(entity, &table, slot, &mut writer)?;
    }
    show_clock(&mut writer, clock, stamp);
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    Ok(bytes)
}

fn show_clock(table: &mut TableWriter<'_>, clock: u16, stamp: Stamp) {
    table.set_stored(clock as usize, &stamp.hlc.to_le_bytes());
}

/// Writes a new object under an id that was just handed out: nobody ever knew anything of it, so nothing is looked up.
fn insert_fresh(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    columns: &SyncEntity,
    id: ObjectId,
    table: &mut TableWriter<'_>,
    stamp: Stamp,
) -> Result<()> {
    if columns.has_kinds {
        return insert_fresh_kinds(tx, entity, columns, id, table, stamp);
    }
    let head = match tx.sync.touches.insert_head {
        Some(head) if columns.has_plain_stamps() => head,
        _ => {
            let stamp = columns.stamp_of_table(stamp, &table.table()).map_err(StoreError::bad_record)?;
            let head = RecordHead::new(&global_ids::fresh_header(None, 0, stamp));
            tx.sync.touches.insert_head = columns.has_plain_stamps().then_some(head);
            head
        }
    };
    tx.replace_record(entity, id, Some(table.as_record(head.as_bytes())))?;
    let gid = GlobalId::new(tx.own_peer(), id);
    let table = table.table();
    match &columns.cells {
        Some(cells) if !tx.sync.touches.again => {
            let touches = &mut tx.sync.touches;
            let known = touches.insert_shape.filter(|(of, _)| *of == entity.def.id);
            let ops = touches.ops(gid.origin);
            let shape = known.map_or_else(|| ops.shape(entity.def.uid, &columns.shape), |(_, shape)| shape);
            let mut op = ops.begin_shaped(shape, gid, 0, OpKind::Insert, &columns.shape);
            op.push_table(&table, cells).map_err(StoreError::bad_record)?;
            op.finish();
            touches.insert_shape = Some((entity.def.id, shape));
        }
        _ => {
            let object = Noted { entity, columns, id, gid, generation: 0, kinds: &[] };
            note_op(tx, &object, &table, &TouchWritten::Insert)?;
        }
    }
    tx.sync.touches.inserts.add(entity.def.id, id, ());
    Ok(())
}

/// As [`insert_fresh`], of an entity with counters or sets.
fn insert_fresh_kinds(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    columns: &SyncEntity,
    id: ObjectId,
    table: &mut TableWriter<'_>,
    at: Stamp,
) -> Result<()> {
    let mut states = Vec::new();
    let added = kinds::insert(entity, &mut states, table, at)?;
    tx.sync.touches.added.note(entity.def.id, id, &added);
    let stamp = columns.stamp_of_table(at, &table.table()).map_err(StoreError::bad_record)?;
    let header = SyncHeader { kinds: states.clone(), ..global_ids::fresh_header(None, 0, stamp) };
    put_new(tx, entity, id, header, table)?;
    let gid = GlobalId::new(tx.own_peer(), id);
    let object = Noted { entity, columns, id, gid, generation: 0, kinds: &states };
    note_op(tx, &object, &table.table(), &TouchWritten::Insert)?;
    tx.sync.touches.inserts.add(entity.def.id, id, ());
    Ok(())
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
    let mut tombstone = Some(header.generation + 1);
    let gid = own_gid(tx, entity, id, header.gid);
    let origin = tx.own_peer();
    let touches = &mut tx.sync.touches;
    touches.added.forget(entity.def.id, id);
    match touches.touch_again(entity, id) {
        None => {
            let ops = touches.ops(origin);
            ops.begin(entity.def.uid, gid, header.generation, OpKind::Remove, &[]).finish();
            let removed = Some(header.generation);
            touches.first_touch(Touch { entity: entity.clone(), id, removed, written: None });
        }
        Some(touch) => {
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
    if planted(Planted::ConfirmedOverwritten) || tx.sync.touches.contains(entity.def.id, id) {
        return Ok(());
    }
    if tx.sync_writer()?.pending.contains(entity.def.id, id) {
        return Ok(());
    }
    let table = tx.inner().sync.tables.confirmed;
    let key = keys::entity_object_key(entity.def.id, id);
    match before {
        Some(before) => tx.put_raw(table, &key, before),
        // A transaction that came to nothing may have left a row that has said nothing since.
        None if tx.engine_tx().count(table)? > 0 => tx.delete_raw(table, &key).map(|_| ()),
        None => Ok(()),
    }
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
        foreign.unwrap_or_else(|| tx.naming().own(entity.def.id, id))
    }
}

/// An object whose write is noted.
struct Noted<'a> {
    entity: &'a Arc<EntityRuntime>,
    columns: &'a SyncEntity,
    id: ObjectId,
    gid: GlobalId,
    generation: Generation,
    /// The states of its counters and sets.
    kinds: &'a [KindState],
}

fn note_put(
    tx: &mut WriteTxn<'_>,
    object: &Noted<'_>,
    table: &Table<'_>,
    written: TouchWritten,
) -> Result<()> {
    if let Some(touch) = tx.sync.touches.touch_again(object.entity, object.id) {
        match (&mut touch.written, written) {
            (Some(TouchWritten::Insert), _) => {}
            (Some(TouchWritten::Slots(all)), TouchWritten::Slots(more)) => {
                all.extend_from_slice(&more);
                all.sort_unstable();
                all.dedup();
            }
            (_, written) => touch.written = Some(written),
        }
        return Ok(());
    }
    note_op(tx, object, table, &written)?;
    let entity = object.entity.clone();
    tx.sync.touches.first_touch(Touch { entity, id: object.id, removed: None, written: Some(written) });
    Ok(())
}

/// Adds an op to those written so far, unless they are void anyway.
fn note_op(
    tx: &mut WriteTxn<'_>,
    object: &Noted<'_>,
    table: &Table<'_>,
    written: &TouchWritten,
) -> Result<()> {
    if tx.sync.touches.again {
        return Ok(());
    }
    let mut ops = tx.sync.touches.take_ops(tx.own_peer());
    let merging = Merging { stamp: tx.sync.touches.stamp, added: &tx.sync.touches.added };
    let wrote = write_op(tx, merging, &mut ops, object, table, written);
    tx.sync.touches.ops = Some(ops);
    wrote
}

/// What a transaction has done to counters and sets so far.
#[derive(Clone, Copy)]
struct Merging<'a> {
    stamp: Option<Stamp>,
    added: &'a Added,
}

impl Merging<'_> {
    /// The cell of a counter or set; `None` if the transaction has not changed it.
    fn cell(self, object: &Noted<'_>, slot: u16, kind: Kind) -> Option<Vec<u8>> {
        if kind == Kind::Counter {
            return self.added.get(object.entity.def.id, object.id, slot).map(counter_change);
        }
        let state = object.kinds.iter().find(|state| state.slot == slot)?;
        kind.change_at(&state.state, self.stamp?)
    }
}

fn write_op(
    tx: &WriteTxn<'_>,
    merging: Merging<'_>,
    ops: &mut OpsWriter,
    object: &Noted<'_>,
    table: &Table<'_>,
    written: &TouchWritten,
) -> Result<()> {
    let &Noted { entity, columns, gid, generation, .. } = object;
    match written {
        TouchWritten::Insert => {
            let mut op = ops.begin(entity.def.uid, gid, generation, OpKind::Insert, &columns.shape);
            match &columns.cells {
                Some(cells) => op.push_table(table, cells).map_err(StoreError::bad_record)?,
                None => columns
                    .by_slot
                    .iter()
                    .try_for_each(|column| push_cell(tx, merging, object, &mut op, table, column))?,
            }
            op.finish();
        }
        TouchWritten::Slots(slots) => {
            let written: Vec<&Column> = slots.iter().filter_map(|&slot| columns.at_slot(slot)).collect();
            let shape: Vec<(Uid, u8)> =
                written.iter().map(|column| (column.uid, column.cell_type())).collect();
            let mut op = ops.begin(entity.def.uid, gid, generation, OpKind::Update, &shape);
            let mut push = |column| push_cell(tx, merging, object, &mut op, table, column);
            written.into_iter().try_for_each(&mut push)?;
            op.finish();
        }
    }
    Ok(())
}

#[inline]
fn push_cell(
    tx: &WriteTxn<'_>,
    merging: Merging<'_>,
    object: &Noted<'_>,
    op: &mut OpCells<'_>,
    table: &Table<'_>,
    column: &Column,
) -> Result<()> {
    if let Some(kind) = column.kind {
        op.push(merging.cell(object, column.slot, kind).as_deref());
        return Ok(());
    }
    match table.stored(column.slot as usize, column.ty).map_err(StoreError::bad_record)? {
        Some(bytes) if column.ty == PropertyType::Relation => {
            op.push(convert::link_cell(tx, column, &bytes)?.as_ref().map(|gid| gid.as_slice()));
        }
        cell => op.push(cell.as_deref()),
    }
    Ok(())
}

/// Puts the transaction into the outbox, if it touched anything that travels.
pub(crate) fn finish(tx: &mut WriteTxn<'_>) -> Result<()> {
    let Some(stamp) = tx.sync.touches.stamp else { return Ok(()) };
    let mut touches = std::mem::take(&mut tx.sync.touches);
    if touches.again {
        touches.ops = Some(Box::new(ops_of_final_records(tx, &mut touches)?));
    }
    meta::put_clock(tx, stamp.hlc)?;
    let Some(ops) = touches.ops.take().filter(|ops| !ops.is_empty()) else { return Ok(()) };
    ops.check_limits()?;
    if ops.len() > TX_OPS_MAX {
        return Err(StoreError::TooManyOperations { operations: ops.len(), max: TX_OPS_MAX });
    }
    if ops.cells_len() > TX_VALUES_MAX {
        return Err(StoreError::TooManyValues { values: ops.cells_len(), max: TX_VALUES_MAX });
    }
    let (last_number, last_hash, sent) = {
        let writer = tx.sync_writer()?;
        (writer.last_number, writer.last_hash, writer.sent)
    };
    let head = TxHead { origin: stamp.peer, number: last_number + 1, previous: last_hash, hlc: stamp.hlc };
    let bytes = encode_tx_of(&head, *ops);
    if bytes.len() > TX_BYTES_MAX {
        return Err(StoreError::TransactionTooLarge { bytes: bytes.len(), max: TX_BYTES_MAX });
    }
    let outbox = tx.inner().sync.tables.outbox;
    let (number, hash) = match coalesce::in_place(tx, &touches, &bytes)? {
        None => {
            tx.append_raw(outbox, &keys::number_key(head.number), &bytes)?;
            (head.number, TxHash::of(&bytes))
        }
        Some((number, bytes)) => {
            tx.put_raw(outbox, &keys::number_key(number), &bytes)?;
            (number, TxHash::of(&bytes))
        }
    };
    meta::put_last_tx(tx, number, hash)?;
    // While a session is live, what may travel is frozen by its own commit instead of a second one.
    let freezes = sent + 1 == number && tx.inner().sync.may_be_sent(stamp.hlc);
    if freezes {
        meta::put_sent(tx, number)?;
    }
    tx.sync_writer_mut(|writer| {
        writer.last_number = number;
        writer.last_hash = hash;
        writer.sent = if freezes { number } else { sent };
        touches.inserts.runs().for_each(|run| writer.pending.add_inserts(run, number));
        for touch in touches.list.iter().filter(|touch| touch.removed.is_some() || touch.written.is_some()) {
            writer.pending.add(touch.entity.def.id, touch.id, number);
        }
    })?;
    tx.sync.outbox_grew = true;
    Ok(())
}

/// Writes the ops from what the objects are at the end: one op per register, however often each was written.
fn ops_of_final_records(tx: &WriteTxn<'_>, touches: &mut Touches) -> Result<OpsWriter> {
    let mut ops = OpsWriter::new(tx.own_peer());
    let merging = Merging { stamp: touches.stamp, added: &touches.added };
    for run in touches.inserts.runs() {
        let entity = tx.inner().catalog.by_id(run.entity);
        let entity =
            entity.ok_or_else(|| StoreError::internal("a written object's entity is in the catalog"))?;
        for id in run.first..=run.last {
            write_final(tx, merging, &mut ops, entity, id, &TouchWritten::Insert)?;
        }
    }
    for touch in &touches.list {
        let entity = &touch.entity;
        if let Some(generation) = touch.removed {
            let gid = global_ids::global(tx, entity, touch.id)?;
            ops.begin(entity.def.uid, gid, generation, OpKind::Remove, &[]).finish();
        }
        if let Some(written) = &touch.written {
            write_final(tx, merging, &mut ops, entity, touch.id, written)?;
        }
    }
    Ok(ops)
}

fn write_final(
    tx: &WriteTxn<'_>,
    merging: Merging<'_>,
    ops: &mut OpsWriter,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    written: &TouchWritten,
) -> Result<()> {
    let record = tx
        .record(entity, id)?
        .ok_or_else(|| StoreError::internal("an object that a transaction wrote exists at its end"))?;
    let header = parse_header(record)?;
    let gid = own_gid(tx, entity, id, header.gid);
    let table = Record::parse(record).map_err(|e| StoreError::damaged("record", e))?.table;
    let columns = tx.sync_entity(entity)?;
    let object = Noted { entity, columns, id, gid, generation: header.generation, kinds: &header.kinds };
    write_op(tx, merging, ops, &object, &table, written)
}
