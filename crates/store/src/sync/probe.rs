//! Digests of some of what a device has, held against what the server has of it: so that the two notice when they have come apart.
//!
//! Nothing is kept up to date by writes. A device hashes some objects at a time, from one end of its keys to the other; the server
//! hashes the same ones, and knows by the positions in their records whether any has changed since the Seq that the device named.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reconvene_model::compare::{CompareKey, CompareRange, Slice, SliceHasher, SliceOutcome};
use reconvene_model::digest::Digest;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::Record;
use reconvene_model::{GlobalId, ObjectId, PeerId, Uid};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader};
use crate::sync::convert::{self, CatalogLookup};
use crate::sync::meta::{self, MetaTable};
use crate::sync::{SyncState, global_ids};
use crate::txn::WriteTxn;

/// The most objects of a slice.
const OBJECTS_MAX: usize = 256;

/// The hashed bytes after which a slice ends.
const BYTES_MAX: u64 = 256 * 1024;

/// The most rows that are looked at for a slice, by the device and by the server.
const ROWS_MAX: usize = 4_096;

/// Where a device's digests have come to; not stored, since any place is as good to begin with.
#[derive(Debug, Default)]
pub(crate) struct Probing(Mutex<Progress>);

#[derive(Debug, Default)]
struct Progress {
    next: Option<CompareKey>,
    /// How often something else was found than the server had, since all was last found to be the same.
    diverged: u32,
    /// Whether that has happened since the keys were last begun with.
    is_clean: bool,
}

impl Probing {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often something else was found than the server had; 0 again once all that is here was found to be the same.
    pub(crate) fn diverged(&self) -> u32 {
        self.lock().diverged
    }

    fn end_round(&self) {
        let mut progress = self.lock();
        if progress.is_clean {
            progress.diverged = 0;
        }
        progress.is_clean = true;
    }
}

/// On a device: the next slice of what is confirmed; nothing while that cannot be told, as there are undecided writes or a catch-up is
/// under way.
pub(crate) fn slice<R: Reader>(
    tx: &(impl CatalogLookup + MetaTable),
    reader: &R,
    sync: &SyncState,
    values: bool,
) -> Result<Option<Slice>> {
    let cursor = meta::cursor(tx)?;
    let is_open = cursor.epoch == 0
        || meta::catching_up(tx)?
        || meta::compare(tx)?.is_some()
        // What stands in the tables of objects is what is confirmed only without undecided writes.
        || reader.count(sync.tables.outbox)? > 0;
    if is_open {
        return Ok(None);
    }
    let mut entities: Vec<_> = tx.catalog().entities().filter(|entity| entity.def.is_synced()).collect();
    entities.sort_by_key(|entity| entity.def.uid);
    let Some(first) = entities.first() else { return Ok(None) };
    let next = sync.probing.lock().next;
    let from = match next {
        Some(next) => next,
        None => somewhere(tx, &entities, cursor.seq.0)?,
    };
    let found = entities.iter().find(|entity| entity.def.uid >= from.entity);
    if found.is_none() {
        sync.probing.end_round();
    }
    let entity = found.unwrap_or(first);
    let start = match entity.def.uid == from.entity {
        true => from,
        false => CompareKey::new(entity.def.uid, GlobalId::default()),
    };
    let mut hasher = SliceHasher::new(values);
    let (objects, mut end) = of_device(tx, reader, entity, start)?;
    for (gid, id) in objects {
        if hasher.objects() > 0 && hasher.bytes() >= BYTES_MAX {
            end = CompareKey::new(entity.def.uid, gid);
            break;
        }
        let Some(record) = reader.get(entity.objects, &keys::object_key(id))? else { continue };
        if !add(tx, sync, entity, &mut hasher, gid, record)? {
            return Ok(None);
        }
    }
    sync.probing.lock().next = Some(end);
    let range = CompareRange::new(start, Some(end));
    Ok(Some(Slice { seq: cursor.seq, range, objects: hasher.objects(), hash: hasher.finish(), values }))
}

/// A place at which to begin: sessions may be short, and then always the same would be looked at.
fn somewhere(
    tx: &(impl CatalogLookup + MetaTable),
    entities: &[&Arc<EntityRuntime>],
    seq: u64,
) -> Result<CompareKey> {
    let dice = Digest::of(&[tx.naming()?.peer().0.to_le_bytes(), seq.to_le_bytes()].concat());
    let dice = |at: usize| u64::from_le_bytes(*dice[at..].first_chunk().expect("32 bytes"));
    let entity = entities[usize::try_from(dice(0) % entities.len() as u64).unwrap_or(0)];
    let last = tx.meta_get(keys::last_id_key(entity.def.id).as_bytes())?;
    let last = last.map(keys::object_id).transpose()?.unwrap_or(0);
    let gid = global_ids::global(tx, entity, dice(8) % (last.saturating_add(1)))?;
    Ok(CompareKey::new(entity.def.uid, gid))
}

/// Adds an object that exists; false if it has yet to become one that travels.
fn add(
    tx: &impl CatalogLookup,
    sync: &SyncState,
    entity: &EntityRuntime,
    hasher: &mut SliceHasher,
    gid: GlobalId,
    record: &[u8],
) -> Result<bool> {
    if Record::parse(record).map_err(|error| StoreError::damaged("record", error))?.header.is_none() {
        return Ok(false);
    }
    let columns = sync.entity(entity.def.id)?;
    let (state, _) = convert::state_of_record(tx, columns, record)?;
    let is_read = |uid: Uid, ty: u8| columns.column(uid).is_some_and(|column| column.cell_type() == ty);
    hasher.object(CompareKey::new(entity.def.uid, gid), &state, is_read);
    Ok(true)
}

/// The first key after all those of an entity.
fn end_of(entity: &EntityRuntime) -> CompareKey {
    CompareKey::new(Uid(entity.def.uid.0.saturating_add(1)), GlobalId::default())
}

/// The first objects from a key on, with the key at which they end.
fn of_device<R: Reader>(
    tx: &impl CatalogLookup,
    reader: &R,
    entity: &EntityRuntime,
    start: CompareKey,
) -> Result<(BTreeMap<GlobalId, ObjectId>, CompareKey)> {
    let uid = entity.def.uid;
    let mut end = end_of(entity);
    let mut found = BTreeMap::new();
    let names: Vec<PeerId> = match entity.def.has_shared_ids() {
        true => vec![PeerId::SHARED],
        false => {
            for (at, row) in foreign(reader, entity, start, end)?.enumerate() {
                let (gid, id) = row?;
                if found.len() >= OBJECTS_MAX || at >= ROWS_MAX {
                    end = CompareKey::new(uid, gid);
                    break;
                }
                if reader.get(entity.objects, &keys::object_key(id))?.is_some() {
                    found.insert(gid, id);
                }
            }
            let mut names: Vec<PeerId> =
                tx.naming()?.names().filter(|&name| name >= start.gid.origin).collect();
            names.sort_unstable();
            names
        }
    };
    for name in names {
        let first = if name == start.gid.origin { start.gid.counter } else { 0 };
        if CompareKey::new(uid, GlobalId::new(name, first)) >= end {
            break;
        }
        let first = keys::object_key(first);
        let rows = (Bound::Included(&first[..]), Bound::Unbounded);
        let mut objects = 0;
        for (at, row) in reader.range(entity.objects, rows, Direction::Forward)?.enumerate() {
            let (key, record) = row?;
            let gid = GlobalId::new(name, keys::object_id(key)?);
            let place = CompareKey::new(uid, gid);
            if place >= end {
                break;
            }
            if objects >= OBJECTS_MAX || at >= ROWS_MAX {
                end = place;
                break;
            }
            let is_own = entity.def.has_shared_ids()
                || (global_ids::gid_of_record(record)?.is_none()
                    && tx.naming()?.origin(entity.def.id, gid.counter) == name);
            if is_own {
                found.insert(gid, gid.counter);
                objects += 1;
            }
        }
    }
    if let Some((&gid, _)) = found.iter().nth(OBJECTS_MAX) {
        end = end.min(CompareKey::new(uid, gid));
    }
    found.retain(|&gid, _| CompareKey::new(uid, gid) < end);
    Ok((found, end))
}

/// The rows of an entity's table of global ids between two keys.
fn foreign<'r, R: Reader>(
    reader: &'r R,
    entity: &EntityRuntime,
    start: CompareKey,
    end: CompareKey,
) -> Result<impl Iterator<Item = Result<(GlobalId, ObjectId)>> + 'r> {
    let table =
        entity.global_ids.ok_or_else(|| StoreError::internal("a synced entity has a table of global ids"))?;
    let from = start.gid.to_bytes();
    let is_last = end.entity > start.entity;
    let rows = reader.range(table, (Bound::Included(&from[..]), Bound::Unbounded), Direction::Forward)?;
    let rows = rows.map(|row| {
        let (key, id) = row?;
        Ok((keys::global_id(key)?, keys::object_id(id)?))
    });
    Ok(rows.take_while(move |row: &Result<(GlobalId, ObjectId)>| {
        is_last || row.as_ref().map_or(true, |(gid, _)| *gid < end.gid)
    }))
}

/// On a server: whether a device had the same as the server at the Seq of the slice.
pub(crate) fn judge<R: Reader>(
    tx: &(impl CatalogLookup + MetaTable),
    reader: &R,
    sync: &SyncState,
    slice: &Slice,
) -> Result<SliceOutcome> {
    let start = slice.range.start;
    let entity = tx.catalog().by_uid(start.entity).filter(|entity| entity.def.is_synced());
    let (Some(entity), Some(end)) = (entity, slice.range.end) else { return Ok(SliceOutcome::Unknown) };
    // Below the horizon an object may have been removed since without a trace.
    let is_told = (meta::horizon(tx)?..=meta::head(tx)?).contains(&slice.seq);
    if !is_told || end > end_of(entity) || end <= start {
        return Ok(SliceOutcome::Unknown);
    }
    let mut judging = Judging { tx, reader, sync, entity, slice, hasher: SliceHasher::new(slice.values) };
    let mut rows = 0;
    match entity.def.has_shared_ids() {
        false => {
            for row in foreign(reader, entity, start, end)? {
                let (gid, id) = row?;
                rows += 1;
                if let Some(outcome) = judging.look(gid, id, rows)? {
                    return Ok(outcome);
                }
            }
        }
        true => {
            let last = if end.entity > start.entity { ObjectId::MAX } else { end.gid.counter };
            let (first, last) = (keys::object_key(start.gid.counter), keys::object_key(last));
            let range = (Bound::Included(&first[..]), Bound::Excluded(&last[..]));
            for row in reader.range(entity.objects, range, Direction::Forward)? {
                let id = keys::object_id(row?.0)?;
                rows += 1;
                if let Some(outcome) = judging.look(GlobalId::new(PeerId::SHARED, id), id, rows)? {
                    return Ok(outcome);
                }
            }
            let Some(absent) = entity.absent else { return Ok(SliceOutcome::Unknown) };
            for row in reader.range(absent, range, Direction::Forward)? {
                let id = keys::object_id(row?.0)?;
                rows += 1;
                if let Some(outcome) = judging.look(GlobalId::new(PeerId::SHARED, id), id, rows)? {
                    return Ok(outcome);
                }
            }
        }
    }
    let hasher = judging.hasher;
    let is_same = hasher.objects() == slice.objects && hasher.finish() == slice.hash;
    Ok(if is_same || planted(Planted::DigestUncompared) { SliceOutcome::Same } else { SliceOutcome::Differs })
}

struct Judging<'a, T, R> {
    tx: &'a T,
    reader: &'a R,
    sync: &'a SyncState,
    entity: &'a EntityRuntime,
    slice: &'a Slice,
    hasher: SliceHasher,
}

impl<T: CatalogLookup, R: Reader> Judging<'_, T, R> {
    /// Looks at one object, existing or not; an outcome if there is no need to look further.
    fn look(&mut self, gid: GlobalId, id: ObjectId, rows: usize) -> Result<Option<SliceOutcome>> {
        let key = keys::object_key(id);
        let existing = self.reader.get(self.entity.objects, &key)?;
        let absent = match (existing, self.entity.absent) {
            (None, Some(absent)) => self.reader.get(absent, &key)?,
            _ => None,
        };
        let Some(record) = existing.or(absent) else { return Ok(None) };
        let damaged = |error| StoreError::damaged("record", error);
        let header = match Record::parse(record).map_err(damaged)?.header {
            Some(header) => header.parse().map_err(damaged)?,
            None => return Ok(Some(SliceOutcome::Unknown)),
        };
        if rows > ROWS_MAX || header.seq.is_some_and(|seq| seq > self.slice.seq) {
            return Ok(Some(SliceOutcome::Unknown));
        }
        if existing.is_none() {
            return Ok(None);
        }
        if self.hasher.objects() >= self.slice.objects && !planted(Planted::DigestUncompared) {
            // What it has, it had at that Seq; whatever else has changed since, it had more than the device.
            return Ok(Some(SliceOutcome::Differs));
        }
        let is_added = add(self.tx, self.sync, self.entity, &mut self.hasher, gid, record)?;
        Ok((!is_added).then_some(SliceOutcome::Unknown))
    }
}

/// On a device: notes durably that the server has something else in this range, so that the next session compares, and takes all
/// of the range from the server.
pub(crate) fn diverged(tx: &mut WriteTxn<'_>, range: &CompareRange) -> Result<()> {
    meta::put_compare(tx, meta::Extras::AreKept)?;
    meta::put_suspect(tx, Some(range))?;
    let mut progress = tx.inner().sync.probing.lock();
    progress.diverged = progress.diverged.saturating_add(1);
    progress.is_clean = false;
    Ok(())
}

/// Puts another value under the stamp of the one that is there, as a fault of a disk might.
pub(crate) fn corrupt(
    tx: &mut WriteTxn<'_>,
    entity: &str,
    id: ObjectId,
    property: &str,
    cell: &[u8],
) -> Result<bool> {
    let Some(entity) = tx.inner().catalog.by_name(entity).cloned() else { return Ok(false) };
    let property = entity.def.stored_properties().find(|known| known.name == property);
    let (Some(property), Some(record)) = (property, tx.record(&entity, id)?) else { return Ok(false) };
    let record = record.to_vec();
    let columns = tx.sync_entity(&entity)?;
    let (mut state, header) = convert::state_of_record(tx, columns, &record)?;
    let Some(register) = state.registers.iter_mut().find(|register| register.uid == property.uid) else {
        return Ok(false);
    };
    register.cell = Some(cell.to_vec().into());
    let mut bent = Vec::new();
    convert::record_of_state(tx, &entity, columns, header.gid, header.seq, &state, &mut bent)?;
    tx.put_raw(entity.objects, &keys::object_key(id), &bent)?;
    Ok(true)
}
