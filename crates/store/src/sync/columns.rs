//! The properties of a synced entity as sync sees them: by uid, with their slots.

use reconvene_model::change::{Op, TableCells};
use reconvene_model::kinds::Kind;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::ranking::{self, Ranking};
use reconvene_model::record::{RecordError, Table};
use reconvene_model::{EntityId, PropertyType, Seq, Stamp, Uid};

use crate::catalog::{Catalog, EntityRuntime};
use crate::sync::conflicts::ConflictLaw;

/// One property that travels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) uid: Uid,
    pub(crate) slot: u16,
    pub(crate) ty: PropertyType,
    /// For counters and sets: what they are.
    pub(crate) kind: Option<Kind>,
    /// For links: the entity linked to, if this store has it.
    pub(crate) target: Option<EntityId>,
}

impl Column {
    /// The type number of its cells.
    #[inline]
    pub(crate) fn cell_type(&self) -> u8 {
        self.kind.map_or(self.ty as u8, |kind| kind as u8)
    }
}

/// The columns of an entity, found by uid.
#[derive(Debug)]
pub(crate) struct SyncEntity {
    /// Ascending by uid, as registers are.
    pub(crate) columns: Vec<Column>,
    /// In order of slot: what an insert writes.
    pub(crate) by_slot: Vec<Column>,
    /// Where an insert's cells come from, if all of them stand in the record as they travel.
    pub(crate) cells: Option<TableCells>,
    /// Uid and type in order of slot.
    pub(crate) shape: Vec<(Uid, u8)>,
    /// Whether counters and sets are among them.
    pub(crate) has_kinds: bool,
    /// The number of slots of a record.
    pub(crate) slots: usize,
    /// What the conflict policy puts above time.
    ranking: Ranking,
    /// The slot that shows the clock of the last write.
    pub(crate) clock: Option<u16>,
}

impl SyncEntity {
    pub(crate) fn new(entity: &EntityRuntime, catalog: &Catalog) -> Self {
        let by_slot: Vec<Column> = entity
            .def
            .stored_properties()
            .map(|property| Column {
                uid: property.uid,
                slot: u16::try_from(property.slot()).expect("slots are fewer than PROPERTIES_MAX"),
                ty: property.ty,
                kind: property.kind(),
                target: property
                    .relation_target
                    .as_deref()
                    .and_then(|name| catalog.by_name(name))
                    .map(|target| target.def.id),
            })
            .collect();
        let mut columns = by_slot.clone();
        columns.sort_by_key(|column| column.uid);
        let has_kinds = !entity.kinds.is_empty();
        let slots = by_slot.iter().map(|column| column.slot);
        SyncEntity {
            cells: if has_kinds { None } else { TableCells::new(&entity.layout, slots) },
            shape: by_slot.iter().map(|column| (column.uid, column.cell_type())).collect(),
            has_kinds,
            slots: entity.layout.slots(),
            ranking: Ranking::of(&entity.def),
            clock: entity.clock,
            columns,
            by_slot,
        }
    }

    /// The stamp at which an op merges; `seq` is its place in the history, if it has one.
    pub(crate) fn stamp(&self, stamp: Stamp, op: &Op<'_>, seq: Option<Seq>) -> Stamp {
        if planted(Planted::RankIgnored) || (planted(Planted::PendingBelowPlaces) && seq.is_none()) {
            return stamp;
        }
        self.ranking.stamp(stamp, &op.cells, seq)
    }

    /// The stamp at which a local write of this whole table merges.
    pub(crate) fn stamp_of_table(&self, stamp: Stamp, table: &Table<'_>) -> Result<Stamp, RecordError> {
        let Ranking::Precedence { uid, ty, unsigned } = self.ranking else {
            return Ok(self.ranking.stamp(stamp, &[], None));
        };
        let slot = self.column(uid).map(|column| column.slot as usize);
        let cell = slot.map(|slot| table.stored(slot, ty)).transpose()?.flatten();
        Ok(stamp.ranked(ranking::precedence_rank(cell.as_deref(), unsigned)))
    }

    /// Whether all writes of one transaction have the same stamp.
    pub(crate) fn has_plain_stamps(&self) -> bool {
        self.ranking == Ranking::Time
    }

    /// Whether the place of a write in the history ranks it.
    pub(crate) fn is_by_arrival(&self) -> bool {
        self.ranking == Ranking::Arrival
    }

    /// What decides between two writes to one register.
    pub(crate) fn law(&self, one: Stamp, other: Stamp) -> ConflictLaw {
        match self.ranking {
            _ if one.rank == other.rank && one.hlc == other.hlc => ConflictLaw::Tie,
            _ if one.rank == other.rank => ConflictLaw::Later,
            Ranking::Arrival => ConflictLaw::Arrival,
            _ => ConflictLaw::Precedence,
        }
    }

    /// The column of this uid.
    pub(crate) fn column(&self, uid: Uid) -> Option<&Column> {
        self.columns.binary_search_by_key(&uid, |column| column.uid).ok().map(|at| &self.columns[at])
    }

    /// The column in this slot.
    pub(crate) fn at_slot(&self, slot: u16) -> Option<&Column> {
        self.by_slot.iter().find(|column| column.slot == slot)
    }
}
