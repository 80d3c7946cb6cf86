//! Updates merged into the records of their objects where they lie, without taking these apart.
//!
//! Most updates change a few numbers of an object that nothing else is going on with. Its record is then copied, the numbers
//! are changed in the copy, and its header gets their stamps. Whatever is not that simple is left to the general way, which
//! comes to the same state.
//!
//! Objects that came in a row have ids in a row. So the id of an object is guessed from that of the one before, and its record,
//! which is read in any case, says whether the guess is right: mostly no table of ids is searched.

use std::sync::Arc;

use reconvene_model::change::{Op, OpKind};
use reconvene_model::merge::compare_writes;
use reconvene_model::record::{Record, SyncHeader, Table};
use reconvene_model::{EntityId, GlobalId, ObjectId, PropertyType, Stamp};

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
    /// The last foreign object whose id was found.
    found: Option<(EntityId, GlobalId, ObjectId)>,
}

impl Updates {
    /// The id that an object has if it came in a row with the last one; the object under it may be another.
    pub(crate) fn guess(&self, entity: &EntityRuntime, gid: GlobalId) -> Option<ObjectId> {
        let (of, last, id) = self.found?;
        if of != entity.def.id || last.origin != gid.origin {
            return None;
        }
        Some(id.wrapping_add(gid.counter.wrapping_sub(last.counter)))
    }

    /// Notes the id of an object for the next guess.
    pub(crate) fn found(&mut self, entity: &EntityRuntime, gid: GlobalId, id: ObjectId) {
        self.found = Some((entity.def.id, gid, id));
    }

    /// Merges an op into a stored object that no undecided transaction writes; whether it did. If not, nothing has happened.
    ///
    /// Where the id is a `guess`, the object under it must name the global id.
    #[expect(clippy::too_many_arguments, reason = "an op, where it goes, and how sure that is")]
    pub(crate) fn merge(
        &mut self,
        tx: &mut WriteTxn<'_>,
        entity: &Arc<EntityRuntime>,
        columns: &SyncEntity,
        id: ObjectId,
        op: &Op<'_>,
        stamp: Stamp,
        is_guess: bool,
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
        if is_guess && header.gid != Some(op.gid) {
            return Ok(false);
        }
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
        // The base stamp covers the slots of the table, which are all that the layout has.
        self.stamps.clear();
        self.stamps.resize(columns.slots, header.base);
        for &(slot, stamp) in &header.overrides {
            let Some(place) = self.stamps.get_mut(usize::from(slot)) else { return false };
            *place = stamp;
        }
        for cell in &op.cells {
            let column = columns.column(cell.uid).filter(|column| column.cell_type() == cell.ty);
            let Some(column) =
                column.filter(|column| column.ty != PropertyType::Relation && column.kind.is_none())
            else {
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
