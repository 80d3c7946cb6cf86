//! Transactions: snapshots to read, and the one that writes.

use std::cell::{OnceCell, RefCell};
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::Record;
use reconvene_model::{EntityId, GlobalId, ObjectId, PropertyType};

use crate::catalog::{Catalog, EntityRuntime};
use crate::error::{Result, StoreError};
use crate::index::{self, IndexRuntime};
use crate::index_changes::IndexChanges;
use crate::keys;
use crate::observer::{ChangeKind, ChangeLog};
use crate::seam::{self, Direction, Reader, SeamError, TableId};
use crate::store::Inner;
use crate::sync::convert::CatalogLookup;
use crate::sync::eras::Naming;
use crate::sync::global_ids::{self, Lookup};
use crate::sync::meta::MetaTable;
use crate::sync::{self, SyncTx};
use crate::tracked::Outcome;

/// How full the memory map may be when a write begins; beyond it the map grows first.
const MAP_FILL_MAX_PERCENT: u64 = 75;

/// How long a write waits for readers to end so that the map can grow before it is full. New readers wait as long, and each
/// write does until the map has grown, so a reader that stays must not cost much.
const GROW_AHEAD_WAIT_MAX: Duration = Duration::from_millis(20);

/// How much room for a record is kept; one huge object must not hold memory until the end of its transaction.
const RECORD_ROOM_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    /// The stores that this thread is writing to, by address.
    static WRITING: RefCell<Vec<*const Inner>> = const { RefCell::new(Vec::new()) };
}

/// One moment of a store, to read from.
pub struct ReadTxn<'s> {
    inner: &'s Arc<Inner>,
    engine: seam::ReadTx<'s>,
    /// Who the store is in this moment; most transactions need not know.
    naming: OnceCell<Arc<Naming>>,
}

impl<'s> ReadTxn<'s> {
    pub(crate) fn begin(inner: &'s Arc<Inner>) -> Result<Self> {
        Ok(ReadTxn { inner, engine: inner.engine.read()?, naming: OnceCell::new() })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        self.inner
    }

    pub(crate) fn engine_tx(&self) -> &seam::ReadTx<'s> {
        &self.engine
    }
}

/// The one transaction that writes to a store; what its closure does is committed whole or not at all.
pub struct WriteTxn<'s> {
    inner: &'s Arc<Inner>,
    engine: MarkedTx<'s>,
    pub(crate) sync: SyncTx,
    /// The largest ids that were read or raised, and whether they are to be stored.
    last_ids: LastIds<'s>,
    index_changes: IndexChanges,
    changes: ChangeLog,
    outcome: Arc<Outcome>,
    key: Vec<u8>,
    /// Room for one record, kept from object to object.
    record: Vec<u8>,
    /// Room for the table of a record, likewise.
    table: Vec<u8>,
    /// The newest id that was handed out, while it is known what is not stored under it.
    fresh: Option<Fresh>,
}

/// The engine's transaction, with a note of whether it was written to.
struct MarkedTx<'s> {
    tx: seam::WriteTx<'s>,
    wrote: bool,
}

impl<'s> MarkedTx<'s> {
    #[inline]
    fn writing(&mut self) -> &mut seam::WriteTx<'s> {
        self.wrote = true;
        &mut self.tx
    }
}

impl<'s> Deref for MarkedTx<'s> {
    type Target = seam::WriteTx<'s>;

    fn deref(&self) -> &Self::Target {
        &self.tx
    }
}

/// An id that no object ever had, so that nothing needs to be looked up under it.
#[derive(Clone, Copy, PartialEq)]
struct Fresh {
    entity: EntityId,
    id: ObjectId,
    /// Whether the object has a record by now. Nothing else was ever remembered of it.
    exists: bool,
}

/// The largest ids of a transaction. What it handed out is noted when it ends, however it ends: an object of an undone
/// transaction may still carry such an id, and must not find another object under it.
struct LastIds<'s> {
    inner: &'s Inner,
    /// The entity that was asked for last comes first: a transaction mostly puts objects of one entity after another.
    ids: Vec<(EntityId, LastId)>,
}

#[derive(Clone, Copy, Default)]
struct LastId {
    last: ObjectId,
    /// Whether it is to be stored.
    changed: bool,
    /// The largest that the store chose itself; 0 if it chose none.
    handed_out: ObjectId,
}

impl Drop for LastIds<'_> {
    fn drop(&mut self) {
        self.inner.note_handed_out(self.ids.iter().map(|(entity, id)| (*entity, id.handed_out)));
    }
}

/// Whether this thread is inside a write transaction of a store, given by its address.
pub(crate) fn is_writing(store: usize) -> bool {
    WRITING.with_borrow(|writing| writing.iter().any(|inner| inner.addr() == store))
}

/// Marks the thread as writing, until it is dropped.
struct Writing(*const Inner);

impl Writing {
    fn begin(inner: &Arc<Inner>) -> Result<Writing> {
        let this = Arc::as_ptr(inner);
        WRITING.with_borrow_mut(|writing| {
            if writing.contains(&this) {
                return Err(StoreError::NestedWrite);
            }
            writing.push(this);
            Ok(Writing(this))
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITING.with_borrow_mut(|writing| writing.retain(|&other| other != self.0));
    }
}

impl<'s> WriteTxn<'s> {
    /// Runs a closure in a write transaction and commits it.
    pub(crate) fn run<R>(
        inner: &'s Arc<Inner>,
        write: impl FnOnce(&mut WriteTxn<'s>) -> Result<R>,
    ) -> Result<R> {
        let writing = Writing::begin(inner)?;
        let turn = inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        grow_ahead(inner);
        let mut tx = WriteTxn {
            inner,
            engine: MarkedTx { tx: inner.engine.write()?, wrote: false },
            sync: SyncTx::new(inner.sync.naming()),
            last_ids: LastIds { inner, ids: Vec::new() },
            index_changes: IndexChanges::default(),
            changes: ChangeLog::default(),
            outcome: Arc::default(),
            key: Vec::new(),
            record: Vec::new(),
            table: Vec::new(),
            fresh: None,
        };
        let written = write(&mut tx).and_then(|result| {
            sync::before_commit(&mut tx)?;
            tx.apply_index_changes()?;
            tx.store_last_ids()?;
            Ok(result)
        });
        let WriteTxn { engine, sync, changes, outcome, last_ids, .. } = tx;
        let committed = written.and_then(|result| {
            engine.tx.commit()?;
            Ok(result)
        });
        drop(last_ids);
        let result = match committed {
            Err(StoreError::Engine(full @ SeamError::MapFull { .. })) => {
                // So that the transaction fits when it is run again; where the map cannot grow, that says so then.
                let _ = inner.engine.grow();
                return Err(full.into());
            }
            committed => committed?,
        };
        outcome.commit();
        sync::committed(inner, &sync);
        let observed = inner.observers.queue(changes);
        drop(turn);
        drop(writing);
        sync::notify(inner, &sync);
        if observed {
            inner.observers.dispatch(&inner.catalog);
        }
        Ok(result)
    }

    pub(crate) fn inner(&self) -> &'s Arc<Inner> {
        self.inner
    }

    pub(crate) fn engine_tx(&self) -> &seam::WriteTx<'s> {
        &self.engine
    }

    /// Begins a part of the transaction, to know later whether it wrote anything.
    pub(crate) fn mark(&mut self) {
        self.engine.wrote = false;
    }

    /// Whether anything was written since the last mark.
    pub(crate) fn wrote_since_mark(&self) -> bool {
        self.engine.wrote
    }

    /// What was noted of indexes and is not in their tables yet.
    pub(crate) fn index_changes(&self) -> &IndexChanges {
        &self.index_changes
    }

    /// Tells observers that an object changed otherwise than by its record.
    pub(crate) fn note_changed(&mut self, entity: &EntityRuntime, id: ObjectId) {
        self.changes.note(entity, id, ChangeKind::Updated);
    }

    pub(crate) fn outcome(&self) -> &Arc<Outcome> {
        &self.outcome
    }

    /// The record of an existing object.
    pub(crate) fn record(&self, entity: &EntityRuntime, id: ObjectId) -> Result<Option<&[u8]>> {
        if self.fresh(entity, id).is_some_and(|fresh| !fresh.exists) {
            return Ok(None);
        }
        Ok(self.engine.get(entity.objects, &keys::object_key(id))?)
    }

    /// What is remembered of an object that does not exist.
    pub(crate) fn absent_record(&self, entity: &EntityRuntime, id: ObjectId) -> Result<Option<&[u8]>> {
        match entity.absent {
            _ if self.fresh(entity, id).is_some() => Ok(None),
            Some(absent) => Ok(self.engine.get(absent, &keys::object_key(id))?),
            None => Ok(None),
        }
    }

    /// Writes or deletes the record of an object, and brings its index entries along.
    pub(crate) fn replace_record(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        new: Option<&[u8]>,
    ) -> Result<()> {
        let key = keys::object_key(id);
        let fresh = self.fresh(entity, id);
        if let (Some(Fresh { exists: false, .. }), Some(new)) = (fresh, new) {
            return self.insert_fresh_record(entity, id, new);
        }
        // Index changes are noted before anything is written.
        self.engine.wrote = true;
        let old = self.engine.get(entity.objects, &key)?;
        let kind = match (&old, new) {
            (None, None) => return Ok(()),
            (None, Some(_)) => ChangeKind::Inserted,
            (Some(_), Some(_)) => ChangeKind::Updated,
            (Some(_), None) => ChangeKind::Removed,
        };
        if !entity.indexes.is_empty() {
            let table = |record| Record::parse(record).map(|record| record.table);
            let old = old.map(table).transpose().map_err(|e| StoreError::damaged("record", e))?;
            let new = new.map(table).transpose().map_err(StoreError::bad_record)?;
            for index in &entity.indexes {
                index_change(&mut self.index_changes, &mut self.key, index, id, old.as_ref(), new.as_ref())?;
            }
        }
        match new {
            Some(record) if kind == ChangeKind::Inserted => {
                self.engine.writing().append(entity.objects, &key, record)?
            }
            Some(record) => self.engine.writing().put(entity.objects, &key, record)?,
            None => {
                self.engine.writing().delete(entity.objects, &key)?;
            }
        }
        if let Some(fresh) = fresh {
            self.fresh = Some(Fresh { exists: new.is_some(), ..fresh });
        }
        if kind != ChangeKind::Removed || !planted(Planted::RemovalUnobserved) {
            self.changes.note(entity, id, kind);
        }
        if self.index_changes.is_full() { self.apply_index_changes() } else { Ok(()) }
    }

    /// Writes another record of an object that has one.
    pub(crate) fn update_record(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        record: &[u8],
    ) -> Result<()> {
        if !entity.indexes.is_empty() {
            return self.replace_record(entity, id, Some(record));
        }
        self.engine.writing().put(entity.objects, &keys::object_key(id), record)?;
        self.changes.note(entity, id, ChangeKind::Updated);
        Ok(())
    }

    /// Writes the record of the newest object, under whose id nothing is stored.
    fn insert_fresh_record(&mut self, entity: &EntityRuntime, id: ObjectId, record: &[u8]) -> Result<()> {
        if !entity.indexes.is_empty() {
            self.engine.wrote = true;
            let new = Record::parse_as(&entity.layout, record).map_err(StoreError::bad_record)?.table;
            for index in &entity.indexes {
                index_change(&mut self.index_changes, &mut self.key, index, id, None, Some(&new))?;
            }
        }
        self.engine.writing().append(entity.objects, &keys::object_key(id), record)?;
        self.fresh = Some(Fresh { entity: entity.def.id, id, exists: true });
        self.changes.note(entity, id, ChangeKind::Inserted);
        if self.index_changes.is_full() { self.apply_index_changes() } else { Ok(()) }
    }

    /// Writes or forgets what is remembered of an object that does not exist.
    pub(crate) fn put_absent(
        &mut self,
        entity: &EntityRuntime,
        id: ObjectId,
        record: Option<&[u8]>,
    ) -> Result<()> {
        let absent = entity
            .absent
            .ok_or_else(|| StoreError::internal("a synced entity has a table of absent objects"))?;
        if self.fresh(entity, id).is_some() {
            self.fresh = None;
        }
        match record {
            Some(record) => self.engine.writing().put(absent, &keys::object_key(id), record)?,
            None => {
                self.engine.writing().delete(absent, &keys::object_key(id))?;
            }
        }
        Ok(())
    }

    /// What is known of an object without a look, if its id is the newest that was handed out.
    #[inline]
    fn fresh(&self, entity: &EntityRuntime, id: ObjectId) -> Option<Fresh> {
        self.fresh.filter(|fresh| fresh.id == id && fresh.entity == entity.def.id)
    }

    /// Whether the id is the newest that was handed out, so that only this transaction can have written an object under it.
    pub(crate) fn is_fresh(&self, entity: &EntityRuntime, id: ObjectId) -> bool {
        self.fresh(entity, id).is_some()
    }

    /// An empty buffer for a record; [`WriteTxn::keep_record_room`] takes it back.
    pub(crate) fn record_room(&mut self) -> Vec<u8> {
        let mut room = std::mem::take(&mut self.record);
        room.clear();
        room
    }

    pub(crate) fn keep_record_room(&mut self, room: Vec<u8>) {
        if room.capacity() <= RECORD_ROOM_BYTES_MAX {
            self.record = room;
        }
    }

    /// An empty buffer for the table of a record; [`WriteTxn::keep_table_room`] takes it back.
    pub(crate) fn table_room(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.table)
    }

    pub(crate) fn keep_table_room(&mut self, room: Vec<u8>) {
        if room.capacity() <= RECORD_ROOM_BYTES_MAX {
            self.table = room;
        }
    }

    /// Hands out an id that no object of the entity ever had.
    pub(crate) fn next_id(&mut self, entity: &EntityRuntime) -> Result<ObjectId> {
        loop {
            let id = self.last_id_mut(entity)?;
            let next = id
                .last
                .checked_add(1)
                .ok_or_else(|| StoreError::IdsExhausted { entity: entity.def.name.clone() })?;
            *id = LastId { last: next, changed: true, handed_out: next };
            self.fresh = Some(Fresh { entity: entity.def.id, id: next, exists: false });
            // An object under that id would be taken for the one of which a peer has spoken before.
            if !global_ids::is_pretended(self, entity, next)? {
                return Ok(next);
            }
        }
    }

    /// Keeps all ids up to this one from being handed out.
    pub(crate) fn raise_high_water(&mut self, entity: &EntityRuntime, id: ObjectId) -> Result<()> {
        let last = self.last_id_mut(entity)?;
        if id > last.last {
            (last.last, last.changed) = (id, true);
        }
        Ok(())
    }

    /// The largest id that an object of the entity ever had.
    pub(crate) fn last_id(&mut self, entity: &EntityRuntime) -> Result<ObjectId> {
        Ok(self.last_id_mut(entity)?.last)
    }

    fn last_id_mut(&mut self, entity: &EntityRuntime) -> Result<&mut LastId> {
        let of = entity.def.id;
        if self.last_ids.ids.first().is_some_and(|(known, _)| *known == of) {
            return Ok(&mut self.last_ids.ids[0].1);
        }
        match self.last_ids.ids.iter().position(|(known, _)| *known == of) {
            Some(at) => self.last_ids.ids.swap(0, at),
            None => {
                let stored = self.engine.get(self.inner.meta, keys::last_id_key(of).as_bytes())?;
                let stored = stored.map(keys::object_id).transpose()?.unwrap_or(0);
                let last = stored.max(self.inner.handed_out(of));
                self.last_ids.ids.insert(0, (of, LastId { last, changed: false, handed_out: 0 }));
            }
        }
        Ok(&mut self.last_ids.ids[0].1)
    }

    fn store_last_ids(&mut self) -> Result<()> {
        for &(entity, LastId { last, changed, .. }) in &self.last_ids.ids {
            if changed {
                self.engine.writing().put(
                    self.inner.meta,
                    keys::last_id_key(entity).as_bytes(),
                    &keys::object_key(last),
                )?;
            }
        }
        Ok(())
    }

    /// Brings the indexes up to date with what was written so far, so that they can be read.
    pub(crate) fn apply_index_changes(&mut self) -> Result<()> {
        if self.index_changes.is_empty() {
            return Ok(());
        }
        self.index_changes.apply(self.engine.writing())
    }

    pub(crate) fn put_raw(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.engine.writing().put(table, key, value)?)
    }

    pub(crate) fn append_raw(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.engine.writing().append(table, key, value)?)
    }

    /// Deletes a key; whether it was there.
    pub(crate) fn delete_raw(&mut self, table: TableId, key: &[u8]) -> Result<bool> {
        Ok(self.engine.writing().delete(table, key)?)
    }

    /// The objects that have this value in a unique property, given in canonical bytes: links as global ids.
    pub(crate) fn ids_with_stored_value(
        &self,
        entity: &EntityRuntime,
        index: &IndexRuntime,
        cell: &[u8],
    ) -> Result<Vec<ObjectId>> {
        if index.property.ty != PropertyType::Relation {
            return self.ids_with_value(index, cell);
        }
        let gid =
            cell.try_into().map_err(|_| StoreError::internal("a link's cell was checked to be 16 bytes"))?;
        let gid = GlobalId::from_bytes(gid);
        let target = entity.links.iter().find(|(slot, _)| *slot == index.property.slot());
        let target = target.and_then(|&(_, target)| self.inner.catalog.by_id(target));
        let id = match target {
            Some(target) if target.def.is_synced() => global_ids::named_by_peer(self, target, gid)?,
            _ => Some(gid.counter),
        };
        id.map_or(Ok(Vec::new()), |id| self.ids_with_value(index, &id.to_le_bytes()))
    }

    /// The objects that have this stored value in a unique property, changes that are not applied yet included.
    pub(crate) fn ids_with_value(&self, index: &IndexRuntime, stored: &[u8]) -> Result<Vec<ObjectId>> {
        let mut value_key = Vec::new();
        index::entry_key(&index.property, Some(stored), &mut value_key)?;
        let mut ids = Vec::new();
        if value_key.is_empty() {
            return Ok(ids);
        }
        for entry in self.engine.prefix(index.table, &value_key, Direction::Forward)? {
            let (key, _) = entry?;
            // Other values may begin like this one; their keys are longer.
            if key.len() == value_key.len() + index::ID_BYTES {
                ids.push(index::id_of_key(key)?);
            }
        }
        self.index_changes.overlay(index.table, &value_key, &mut ids);
        if !index.is_hashed() {
            return Ok(ids);
        }
        // Other values may have the same hash.
        let mut same = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(record) = self.engine.get(index.objects, &keys::object_key(id))? else { continue };
            let damaged = |error| StoreError::damaged("record", error);
            let table = Record::parse(record).map_err(damaged)?.table;
            let value = table.stored(index.property.slot(), index.property.ty).map_err(damaged)?;
            if value.as_deref() == Some(stored) {
                same.push(id);
            }
        }
        Ok(same)
    }
}

/// Notes what a change of an object means for one of its indexes; nothing, if the value stays.
fn index_change(
    changes: &mut IndexChanges,
    key: &mut Vec<u8>,
    index: &IndexRuntime,
    id: ObjectId,
    old: Option<&reconvene_model::record::Table<'_>>,
    new: Option<&reconvene_model::record::Table<'_>>,
) -> Result<()> {
    key.clear();
    if let Some(old) = old {
        index.value_key(old, key)?;
    }
    let old_end = key.len();
    if let Some(new) = new {
        index.value_key(new, key)?;
    }
    let (old_key, new_key) = key.split_at(old_end);
    if old_key == new_key {
        return Ok(());
    }
    if index.is_unique() {
        if !old_key.is_empty() {
            changes.note_unique(index.table, old_key, id, false);
        }
        if !new_key.is_empty() {
            changes.note_unique(index.table, new_key, id, true);
        }
    }
    // The id follows each value; the new key stands last, so that the old one is noted from a copy.
    let (had_entry, has_entry) = (!old_key.is_empty(), !new_key.is_empty());
    if has_entry {
        index::push_id(key, id);
        changes.note(index.table, &key[old_end..], true);
    }
    if had_entry {
        key.truncate(old_end);
        index::push_id(key, id);
        changes.note(index.table, key, false);
    }
    Ok(())
}

/// Grows the memory map while it is cheap, because a closure cannot be run twice.
fn grow_ahead(inner: &Inner) {
    if let Ok(Some(usage)) = inner.engine.map_usage()
        && usage.used_bytes / 100 > usage.map_bytes / 100 * MAP_FILL_MAX_PERCENT / 100
    {
        // If it cannot grow now, because somebody reads, the transaction may still fit; if not, that is its error.
        let _ = inner.engine.grow_within(GROW_AHEAD_WAIT_MAX);
    }
}

impl MetaTable for ReadTxn<'_> {
    fn meta_get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.engine.get(self.inner.meta, key)?)
    }

    fn meta_put(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Err(StoreError::Engine(SeamError::ReadOnly))
    }
}

impl MetaTable for WriteTxn<'_> {
    fn meta_get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.engine.get(self.inner.meta, key)?)
    }

    fn meta_put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.engine.writing().put(self.inner.meta, key, value)?)
    }
}

impl Lookup for ReadTxn<'_> {
    fn naming(&self) -> Result<&Naming> {
        if let Some(naming) = self.naming.get() {
            return Ok(naming);
        }
        // The store may have taken another name since the snapshot was made.
        let known = self.inner.sync.naming();
        let naming = Naming::at(self, &known)?.map_or(known, Arc::new);
        Ok(self.naming.get_or_init(|| naming))
    }

    fn get_raw(&self, table: TableId, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.engine.get(table, key)?)
    }
}

impl CatalogLookup for ReadTxn<'_> {
    fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }
}
