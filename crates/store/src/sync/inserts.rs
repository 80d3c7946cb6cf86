//! Foreign objects that this store never heard of, written straight from the ops that insert them.
//!
//! Most of what a new device or a bulk load brings is of this kind: there is nothing to merge with, so the general way by an
//! [`ObjectState`](reconvene_model::state::ObjectState) would only cost allocations. Both ways write the same bytes.

use std::sync::Arc;

use reconvene_model::change::{Cell, Op, OpKind};
use reconvene_model::record::{SyncHeader, TableWriter};
use reconvene_model::{EntityId, ObjectId, PropertyType, Seq, Stamp, Uid};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::sync::apply::inserted;
use crate::sync::columns::{Column, SyncEntity};
use crate::sync::global_ids;
use crate::sync::{changes, convert, overlay};
use crate::txn::WriteTxn;

/// Writes inserts; it remembers the shape of the last one, which the next one mostly shares.
#[derive(Default)]
pub(crate) struct Inserts {
    entity: Option<EntityId>,
    /// Uid and type of each cell, and where it goes; void if `fits` is not set.
    shape: Vec<(Uid, u8)>,
    columns: Vec<Column>,
    fits: bool,
    /// Every insert of the shape has it but for its id, stamp and position.
    header: SyncHeader,
    table: Vec<u8>,
}

impl Inserts {
    /// Whether an op can be written by [`Inserts::put`], provided that nobody heard of its object yet.
    pub(crate) fn takes(
        &mut self,
        tx: &WriteTxn<'_>,
        entity: &EntityRuntime,
        columns: &SyncEntity,
        op: &Op<'_>,
    ) -> bool {
        op.kind == OpKind::Insert
            && op.generation == 0
            && !tx.naming().was(op.gid.origin)
            && !entity.def.has_shared_ids()
            && self.knows_shape(entity, columns, &op.cells)
    }

    /// Writes the object of an op that [`Inserts::takes`], merged at `stamp`, and on a server its position.
    pub(crate) fn put(
        &mut self,
        tx: &mut WriteTxn<'_>,
        entity: &Arc<EntityRuntime>,
        op: &Op<'_>,
        stamp: Stamp,
        seq: Option<Seq>,
    ) -> Result<()> {
        let columns = tx.sync_entity(entity)?;
        let id = match global_ids::local(tx, entity, op.gid)? {
            // A link of an object before it has reserved an id for it meanwhile.
            Some(id) => {
                overlay::put_visible(tx, entity, id, op.gid, seq, &inserted(op, stamp))?;
                id
            }
            None if self.knows_shape(entity, columns, &op.cells) => {
                let id = global_ids::assign(tx, entity, op.gid)?;
                self.write(tx, entity, id, op, stamp, seq)?;
                id
            }
            None => return Err(StoreError::internal("an insert is written straight only if its shape fits")),
        };
        seq.map_or(Ok(()), |seq| changes::moved(tx, entity.def.id, id, None, seq))
    }

    fn write(
        &mut self,
        tx: &mut WriteTxn<'_>,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        op: &Op<'_>,
        stamp: Stamp,
        seq: Option<Seq>,
    ) -> Result<()> {
        let mut table = TableWriter::reusing(&entity.layout, std::mem::take(&mut self.table));
        for (cell, column) in op.cells.iter().zip(&self.columns) {
            let slot = column.slot as usize;
            match &cell.bytes {
                _ if entity.clock == Some(column.slot) => table.set_stored(slot, &stamp.hlc.to_le_bytes()),
                None => {}
                Some(bytes) if column.ty == PropertyType::Relation => {
                    table.set_stored(slot, &convert::local_link(tx, column, bytes)?.to_le_bytes());
                }
                Some(bytes) => table.set_stored(slot, bytes),
            }
        }
        self.header.gid = Some(op.gid);
        self.header.seq = seq;
        self.header.base = stamp;
        let mut record = tx.record_room();
        self.header.write_record(table.as_bytes(), &mut record);
        self.table = table.into_room();
        let written = tx.replace_record(entity, id, Some(&record));
        tx.keep_record_room(record);
        written
    }

    fn knows_shape(&mut self, entity: &EntityRuntime, columns: &SyncEntity, cells: &[Cell<'_>]) -> bool {
        let is_last = self.entity == Some(entity.def.id)
            && self.shape.len() == cells.len()
            && self.shape.iter().zip(cells).all(|(shape, cell)| *shape == (cell.uid, cell.ty));
        if !is_last {
            self.learn_shape(entity, columns, cells);
        }
        self.fits
    }

    fn learn_shape(&mut self, entity: &EntityRuntime, columns: &SyncEntity, cells: &[Cell<'_>]) {
        self.entity = Some(entity.def.id);
        self.shape = cells.iter().map(|cell| (cell.uid, cell.ty)).collect();
        let known = cells
            .iter()
            .map_while(|cell| columns.column(cell.uid).filter(|c| c.kind.is_none() && c.ty as u8 == cell.ty));
        self.columns = known.copied().collect();
        self.fits = !cells.is_empty() && self.columns.len() == cells.len();
        let unwritten = columns
            .by_slot
            .iter()
            .filter(|column| column.kind.is_none())
            .filter(|column| !cells.iter().any(|cell| cell.uid == column.uid));
        self.header = SyncHeader {
            exists: true,
            overrides: unwritten.map(|column| (column.slot, Stamp::NEVER)).collect(),
            ..SyncHeader::default()
        };
    }
}
