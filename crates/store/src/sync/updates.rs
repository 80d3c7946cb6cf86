//! Updates merged into the records of their objects where they lie, without taking these apart.
//!
//! Most updates change a few numbers of an object that nothing else is going on with. Its record is then copied, the numbers
//! are changed in the copy, and its header gets their stamps. Whatever is not that simple is left to the general way, which
//! comes to the same state.

use std::sync::Arc;

use reconvene_model::change::{Op, OpKind};
use reconvene_model::merge::compare_writes;
use reconvene_model::record::{Record, SyncHeader, Table};
use reconvene_model::{ObjectId, PropertyType, Stamp};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::sync::columns::SyncEntity;
use crate::sync::convert;
use crate::txn::WriteTxn;

/// Merges updates; it keeps its memory from one to the next.
#[derive(Default)]
pub(crate) struct Updates {
    /// The table with the new numbers.
    table: Vec<u8>,
    record: Vec<u8>,
    stamps: Vec<Stamp>,
}

impl Updates {
    /// Merges an op into a stored object that no undecided transaction writes; whether it did. If not, nothing has happened.
    pub(crate) fn merge(
        &mut self,
        tx: &mut WriteTxn<'_>,
        entity: &Arc<EntityRuntime>,
        columns: &SyncEntity,
        id: ObjectId,
        op: &Op<'_>,
        stamp: Stamp,
    ) -> Result<bool> {
        if op.kind != OpKind::Update || columns.clock.is_some() {
            return Ok(false);
        }
        let Some(stored) = tx.record(entity, id)? else { return Ok(false) };
        let damaged = |error| StoreError::damaged("record", error);
        let stored = Record::parse_as(&entity.layout, stored).map_err(damaged)?;
        let Some(header) = stored.header else { return Ok(false) };
        let mut header = header.parse().map_err(damaged)?;
        let is_plain = header.exists && header.generation == op.generation && header.unknown.is_empty();
        if !is_plain || !entity.layout.is_frame_of(&stored.table) {
            return Ok(false);
        }
        self.table.clear();
        self.table.extend_from_slice(stored.table.as_bytes());
        if !self.set_cells(entity, columns, &header, &stored.table, op, stamp) {
            return Ok(false);
        }
        convert::set_stamps(&mut header, columns, &self.stamps);
        self.record.clear();
        header.write_record(&self.table, &mut self.record);
        tx.update_record(entity, id, &self.record)?;
        Ok(true)
    }

    /// Sets the numbers that the op wrote later than they were, and their stamps; whether it writes nothing else.
    fn set_cells(
        &mut self,
        entity: &EntityRuntime,
        columns: &SyncEntity,
        header: &SyncHeader,
        table: &Table<'_>,
        op: &Op<'_>,
        stamp: Stamp,
    ) -> bool {
        let slots = table.slots();
        self.stamps.clear();
        self.stamps.extend((0..columns.slots).map(|slot| header.stamp_of(slot, slots)));
        for cell in &op.cells {
            let column = columns.column(cell.uid).filter(|column| column.ty as u8 == cell.ty);
            let Some(column) = column.filter(|column| column.ty != PropertyType::Relation) else {
                return false;
            };
            let slot = usize::from(column.slot);
            let (Some(place), Some(bytes)) = (entity.layout.scalar_place(slot), cell.bytes.as_deref()) else {
                return false;
            };
            // A null has no place to write to.
            if table.is_null(slot) || bytes.len() != place.bytes() {
                return false;
            }
            let there = &mut self.table[place.range()];
            let is = (self.stamps[slot], Some(&*there), cell.ty);
            if compare_writes((stamp, Some(bytes), cell.ty), is).is_gt() {
                self.stamps[slot] = stamp;
                there.copy_from_slice(bytes);
            }
        }
        true
    }
}
