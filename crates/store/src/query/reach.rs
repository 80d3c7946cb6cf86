//! What a query touches at one moment of the store, and how it follows links there.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::ControlFlow;

use reconvene_expr::{Links, Relation, Way};
use reconvene_model::record::{Record, RecordError, Table};
use reconvene_model::{EntityId, ObjectId, PropertyId, PropertyType};

use super::access::sealed::Snapshot;
use crate::catalog::{Catalog, EntityRuntime};
use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::seam::{Direction, KeyRange, Reader, View};

/// By the object linked to, those that link to it.
type Backlinks = HashMap<ObjectId, Vec<ObjectId>>;

/// One run of a query: the moment that it sees, and how much of it was looked at so far.
pub(crate) struct Reach<'v> {
    pub(crate) view: View<'v>,
    pub(crate) catalog: &'v Catalog,
    /// How many entries of tables were walked along, objects and those of indexes.
    entries: Cell<u64>,
    /// How many objects were read by their id, or by a link.
    objects: Cell<u64>,
    /// Who links to whom by properties without an index, read whole when first asked for.
    backlinks: RefCell<HashMap<(EntityId, PropertyId), Backlinks>>,
}

/// An error on the way along links; a type of its own, so that damage of records is told apart at one place.
#[derive(Debug)]
pub(crate) struct ReachError(StoreError);

impl From<RecordError> for ReachError {
    fn from(error: RecordError) -> Self {
        ReachError(StoreError::damaged("record", error))
    }
}

impl From<StoreError> for ReachError {
    fn from(error: StoreError) -> Self {
        ReachError(error)
    }
}

impl From<ReachError> for StoreError {
    fn from(error: ReachError) -> Self {
        error.0
    }
}

impl<'v> Reach<'v> {
    pub(crate) fn new(snapshot: &Snapshot<'v>) -> Self {
        Reach {
            view: snapshot.0,
            catalog: &snapshot.1.catalog,
            entries: Cell::new(0),
            objects: Cell::new(0),
            backlinks: RefCell::default(),
        }
    }

    /// Notes that an entry was walked along.
    #[inline]
    pub(crate) fn walked(&self) {
        self.entries.set(self.entries.get() + 1);
    }

    /// How many entries were walked along.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.get()
    }

    /// How many objects were read by their id.
    pub(crate) fn objects(&self) -> u64 {
        self.objects.get()
    }

    /// The record of an object that an index names.
    #[inline]
    pub(crate) fn record(&self, entity: &EntityRuntime, id: ObjectId) -> Result<&[u8]> {
        self.objects.set(self.objects.get() + 1);
        let record = self.view.get(entity.objects, &keys::object_key(id))?;
        record.ok_or_else(|| StoreError::damaged("index", format!("{} {id} does not exist", entity.def.name)))
    }

    fn entity(&self, id: EntityId) -> Result<&'v EntityRuntime> {
        let entity = self.catalog.by_id(id);
        entity
            .map(|entity| &**entity)
            .ok_or_else(|| StoreError::internal("a checked condition names entities of the schema"))
    }

    /// The ids of the objects whose link in this slot leads to the object of this id.
    fn linking(
        &self,
        entity: &EntityRuntime,
        property: PropertyId,
        slot: usize,
        id: ObjectId,
        take: &mut dyn FnMut(ObjectId) -> Result<ControlFlow<()>, ReachError>,
    ) -> Result<(), ReachError> {
        if let Some(index) = entity.whole_index(&self.view, |index| index.property().id == property)? {
            let mut prefix = Vec::with_capacity(1 + index::ID_BYTES);
            index::stored_key(index.property(), Some(&id.to_le_bytes()), &mut prefix)?;
            let entries = self.view.prefix(index.table, &prefix, Direction::Forward);
            for entry in entries.map_err(StoreError::from)? {
                self.walked();
                let id = index::id_of_key(entry.map_err(StoreError::from)?.0)?;
                if take(id)?.is_break() {
                    break;
                }
            }
            return Ok(());
        }
        let key = (entity.def.id, property);
        if !self.backlinks.borrow().contains_key(&key) {
            let links = self.all_links(entity, slot)?;
            self.backlinks.borrow_mut().insert(key, links);
        }
        // Conditions that nest may ask for more links meanwhile, so nothing stays borrowed.
        let linking = self.backlinks.borrow().get(&key).and_then(|links| links.get(&id).cloned());
        for id in linking.unwrap_or_default() {
            if take(id)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Who links to whom by the links in this slot.
    fn all_links(&self, entity: &EntityRuntime, slot: usize) -> Result<Backlinks> {
        let mut links = Backlinks::new();
        for entry in self.view.range(entity.objects, KeyRange::all(), Direction::Forward)? {
            self.walked();
            let (key, record) = entry?;
            if let Some(target) = link(&table_of(record)?, slot)? {
                links.entry(target).or_default().push(keys::object_id(key)?);
            }
        }
        Ok(links)
    }
}

impl Links for Reach<'_> {
    type Error = ReachError;

    fn object(&self, entity: EntityId, id: ObjectId) -> Result<Option<Table<'_>>, ReachError> {
        let entity = self.entity(entity)?;
        self.objects.set(self.objects.get() + 1);
        let record = self.view.get(entity.objects, &keys::object_key(id)).map_err(StoreError::from)?;
        let table = record.map(table_of).transpose()?;
        let hidden = table.as_ref().map_or(Ok(false), |table| entity.hides(table))?;
        Ok(table.filter(|_| !hidden))
    }

    fn linked(
        &self,
        relation: &Relation,
        id: ObjectId,
        take: &mut dyn FnMut(ObjectId) -> Result<ControlFlow<()>, ReachError>,
    ) -> Result<(), ReachError> {
        match relation.way {
            Way::Backlink { property, slot } => {
                self.linking(self.entity(relation.target)?, property, slot, id, take)
            }
            Way::Forward { .. } | Way::Reverse { .. } => {
                Err(StoreError::internal("standalone relations have no rows").into())
            }
        }
    }
}

/// The id that a link leads to; none for a link to nothing.
pub(crate) fn link(table: &Table<'_>, slot: usize) -> Result<Option<ObjectId>> {
    let id = table.int(slot, PropertyType::Relation).map_err(|e| StoreError::damaged("record", e))?;
    Ok(id.filter(|&id| id != 0).map(i64::cast_unsigned))
}

pub(crate) fn table_of(record: &[u8]) -> Result<Table<'_>> {
    Ok(Record::parse(record).map_err(|e| StoreError::damaged("record", e))?.table)
}
