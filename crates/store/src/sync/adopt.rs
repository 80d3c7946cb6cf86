//! After a schema change: properties that were kept unread, because the former schema did not know them, take their place; and
//! those that the schema has dropped are kept unread from then on, for others still know them.
//!
//! A device of an older version of the app keeps what newer ones write. When it is updated, its records still have those
//! values among the unknown; here they move into the slots that the new schema gave them.

use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::kinds::Kind;
use reconvene_model::record::{KindState, Record, RecordError, SyncHeader, UnknownRegister};
use reconvene_model::state::{ObjectState, Register};
use reconvene_model::{EntityDef, EntityId, ObjectId, PropertyType, Schema, Stamp, Uid};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::progress::{OpeningStep, Progress, Watch};
use crate::seam::{Direction, Reader, TableId, WriteTx};
use crate::store::Inner;
use crate::sync::columns::{Column, SyncEntity};
use crate::sync::{convert, meta};
use crate::txn::WriteTxn;

/// The bytes of a property that the schema has dropped: entity u32, slot u16, the type number of its cells u8, uid u64, the entity linked to u32.
const DROPPED_BYTES: usize = 19;

/// A property that the schema of a synced entity has dropped. Others may still know it.
struct Dropped {
    entity: EntityId,
    column: Column,
}

impl Dropped {
    fn write(&self, out: &mut Vec<u8>) {
        let Column { uid, slot, target, .. } = self.column;
        out.extend_from_slice(&self.entity.0.to_be_bytes());
        out.extend_from_slice(&slot.to_be_bytes());
        out.push(self.column.cell_type());
        out.extend_from_slice(&uid.0.to_be_bytes());
        out.extend_from_slice(&target.map_or(0, |target| target.0).to_be_bytes());
    }

    fn read(note: &[u8]) -> Result<Vec<Dropped>> {
        let (rows, rest) = note.as_chunks::<DROPPED_BYTES>();
        let wrong = || StoreError::damaged("meta", "what is said of dropped properties cannot be read");
        if !rest.is_empty() {
            return Err(wrong());
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, &byte| number << 8 | u64::from(byte));
        let entity = |bytes: &[u8]| EntityId(number(bytes) as u32);
        let read = |row: &[u8; DROPPED_BYTES]| {
            let kind = Kind::of_type(row[6]);
            let ty = match kind {
                Some(Kind::Counter) => PropertyType::Long,
                Some(_) => PropertyType::StringVector,
                None => PropertyType::from_number(row[6]).ok_or_else(wrong)?,
            };
            let target = Some(entity(&row[15..])).filter(|target| target.0 != 0);
            let column =
                Column { uid: Uid(number(&row[7..15])), slot: number(&row[4..6]) as u16, ty, kind, target };
            Ok(Dropped { entity: entity(&row[..4]), column })
        };
        rows.iter().map(read).collect()
    }
}

/// Notes, in the transaction that opens the store, that the schema changes, and which properties of synced entities it drops.
pub(crate) fn note(tx: &mut WriteTx<'_>, table: TableId, stored: &Schema, next: &Schema) -> Result<()> {
    let mut note = tx.get(table, meta::ADOPT)?.map_or(Vec::new(), <[u8]>::to_vec);
    let is_synced = |entity: &&EntityDef| entity.is_synced();
    for entity in stored.entities().iter().filter(is_synced) {
        let Some(next) = next.entity_by_uid(entity.uid).filter(is_synced) else { continue };
        for property in entity.stored_properties().filter(|p| next.property_by_uid(p.uid).is_none()) {
            let target = property.relation_target.as_deref().and_then(|name| stored.entity_by_name(name));
            let slot = u16::try_from(property.slot()).expect("slots are fewer than PROPERTIES_MAX");
            let (uid, ty, target) = (property.uid, property.ty, target.map(|target| target.id));
            let column = Column { uid, slot, ty, kind: property.kind(), target };
            Dropped { entity: entity.id, column }.write(&mut note);
        }
    }
    Ok(tx.put(table, meta::ADOPT, &note)?)
}

/// How many objects move in one transaction, so that a large store does not need one that is as large.
const OBJECTS_PER_TX: u64 = 10_000;

/// Lets known properties take their places, if the schema has changed since this was last done.
///
/// It may be cut short at any point: what has moved is not found again, and the mark goes last.
pub(crate) fn run(inner: &Arc<Inner>, watch: Watch<'_>) -> Result<()> {
    let Some(note) = inner.engine.read()?.get(inner.meta, meta::ADOPT)?.map(<[u8]>::to_vec) else {
        return Ok(());
    };
    let dropped = Dropped::read(&note)?;
    let synced: Vec<Arc<EntityRuntime>> =
        inner.catalog.entities().filter(|entity| entity.def.is_synced()).cloned().collect();
    for entity in synced {
        let columns = inner.sync.entity(entity.def.id)?;
        let dropped: Vec<Column> =
            dropped.iter().filter(|d| d.entity == entity.def.id).map(|d| d.column).collect();
        let mut progress = Progress::new(watch, OpeningStep::Adopt { entity: entity.def.name.clone() });
        progress.of(inner.engine.read()?.count(entity.objects)?);
        let confirmed = keys::entity_object_key(entity.def.id, 0);
        for (table, first) in [
            (Some(entity.objects), &keys::object_key(0)[..]),
            (entity.absent, &keys::object_key(0)[..]),
            (Some(inner.sync.tables.confirmed), &confirmed[..]),
        ] {
            let Some(table) = table else { continue };
            let mut from = Some(first.to_vec());
            while let Some(start) = from {
                let objects;
                (objects, from) =
                    WriteTxn::run(inner, |tx| adopt_some(tx, &entity, (columns, &dropped), table, &start))?;
                if table == entity.objects {
                    progress.advance(objects);
                }
            }
        }
    }
    WriteTxn::run(inner, |tx| tx.delete_raw(inner.meta, meta::ADOPT).map(|_| ()))
}

/// Moves the properties of some objects from `start` on; how many were looked at, and where to go on unless all are done.
fn adopt_some(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    (columns, dropped): (&SyncEntity, &[Column]),
    table: TableId,
    start: &[u8],
) -> Result<(u64, Option<Vec<u8>>)> {
    let is_confirmed = table == tx.inner().sync.tables.confirmed;
    let mut found = Vec::new();
    let objects_max = tx.inner().batch_objects.map_or(OBJECTS_PER_TX, |objects| objects as u64);
    let (mut objects, mut next) = (0, None);
    let range = (Bound::Included(start), Bound::Unbounded);
    for row in tx.engine_tx().range(table, range, Direction::Forward)? {
        let (key, record) = row?;
        if is_confirmed && !key.starts_with(&entity.def.id.0.to_be_bytes()) {
            break;
        }
        if objects == objects_max {
            next = Some(key.to_vec());
            break;
        }
        objects += 1;
        if is_to_move(record, columns, dropped)? {
            found.push((key.to_vec(), record.to_vec()));
        }
    }
    for (key, record) in found {
        let (mut state, header) = convert::state_of_record(tx, columns, &record)?;
        keep_dropped(tx, &header, &record, dropped, &mut state)?;
        let mut adopted = Vec::new();
        convert::record_of_state(tx, entity, columns, header.gid, header.seq, &state, &mut adopted)?;
        void(dropped, &mut adopted)?;
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
    Ok((objects, next))
}

/// Puts the registers in places that the schema has given up among those that it does not know.
fn keep_dropped<'r>(
    tx: &WriteTxn<'_>,
    header: &SyncHeader,
    record: &'r [u8],
    dropped: &[Column],
    state: &mut ObjectState<'r>,
) -> Result<()> {
    let table = Record::parse(record).map_err(damaged)?.table;
    for column in dropped {
        if column.kind.is_some() {
            if let Some(KindState { kind, state: cell, .. }) = header.kind_state(column.slot)
                && state.registers.iter().all(|register| register.uid != column.uid)
            {
                state.registers.push(Register::of_kind(column.uid, *kind, cell.clone().into()));
            }
            continue;
        }
        let slot = usize::from(column.slot);
        let stamp = header.stamp_of(slot, table.slots());
        if stamp.is_never() || state.registers.iter().any(|register| register.uid == column.uid) {
            continue;
        }
        let stored = table.stored(slot, column.ty).map_err(damaged)?;
        let cell = match stored {
            Some(bytes) if column.ty == PropertyType::Relation => {
                convert::link_cell(tx, column, &bytes)?.map(|gid| gid.to_vec().into())
            }
            stored => stored,
        };
        state.registers.push(Register { uid: column.uid, ty: column.ty as u8, stamp, cell });
    }
    state.registers.sort_by_key(|register| register.uid);
    Ok(())
}

/// Says in a record that nothing was ever written to these places.
fn void(dropped: &[Column], record: &mut Vec<u8>) -> Result<()> {
    if dropped.is_empty() {
        return Ok(());
    }
    let parsed = Record::parse(record).map_err(damaged)?;
    let Some(header) = parsed.header else { return Ok(()) };
    let mut header = header.parse().map_err(damaged)?;
    let table = parsed.table.as_bytes().to_vec();
    let plain = dropped.iter().filter(|column| column.kind.is_none());
    header.overrides.retain(|(slot, _)| plain.clone().all(|column| column.slot != *slot));
    header.overrides.extend(plain.map(|column| (column.slot, Stamp::NEVER)));
    header.overrides.sort_by_key(|(slot, _)| *slot);
    record.clear();
    header.write_record(&table, record);
    Ok(())
}

fn damaged(error: RecordError) -> StoreError {
    StoreError::damaged("record", error)
}

fn is_to_move(record: &[u8], columns: &SyncEntity, dropped: &[Column]) -> Result<bool> {
    let record = Record::parse(record).map_err(damaged)?;
    let Some(header) = record.header else { return Ok(false) };
    let header = header.parse().map_err(damaged)?;
    let is_known = |register: &UnknownRegister| {
        columns.column(register.uid).is_some_and(|column| column.cell_type() == register.ty)
    };
    let is_dropped = |column: &Column| match column.kind {
        Some(_) => header.kind_state(column.slot).is_some(),
        None => !header.stamp_of(column.slot.into(), record.table.slots()).is_never(),
    };
    Ok(header.unknown.iter().any(is_known) || dropped.iter().any(is_dropped))
}
