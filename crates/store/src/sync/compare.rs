//! What a store puts into a compare: its objects as a set of fingerprints, and on a server the objects of ranges of keys.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::compare::{
    CompareKey, CompareRange, Fingerprinter, Salt, SortedItems, SortedItemsBuilder,
};
use reconvene_model::kinds::Kind;
use reconvene_model::record::{KindState, Record};
use reconvene_model::state::{StateEntry, StatesWriter};
use reconvene_model::{EntityId, Generation, GlobalId, ObjectId, PeerId, Seq, Stamp, Uid};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, KeyRange, Reader};
use crate::sync::columns::SyncEntity;
use crate::sync::convert::{self, CatalogLookup};
use crate::sync::meta::{self, MetaTable};
use crate::sync::{SyncState, apply, global_ids, outbox};

/// The objects of some ranges as they are, or some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// A states block; `None` if there is nothing to send.
    pub block: Option<Vec<u8>>,
    /// Objects in the block.
    pub objects: u64,
    /// What is left of the ranges; nothing when all has been read.
    pub rest: Vec<CompareRange>,
}

/// The fingerprints of all existing objects: on a device of what is confirmed, on a server of what there is.
///
/// One scan over the headers of all records.
pub(crate) fn items<R: Reader>(
    tx: &(impl CatalogLookup + MetaTable),
    reader: &R,
    sync: &SyncState,
    salt: &Salt,
) -> Result<SortedItems> {
    let undecided = undecided(tx, reader, sync)?;
    let mut fingerprints = Fingerprinter::new(salt);
    // A list that grows would take half as much again.
    let mut count = reader.count(sync.tables.confirmed)?;
    for entity in tx.catalog().entities().filter(|entity| entity.def.is_synced()) {
        count += reader.count(entity.objects)?;
    }
    let mut builder = SortedItemsBuilder::with_capacity(usize::try_from(count).unwrap_or(0));
    let suspect = meta::suspect(tx)?;
    let suspect = suspect.as_ref();
    for entity in tx.catalog().entities().filter(|entity| entity.def.is_synced()) {
        let columns = sync.entity(entity.def.id)?;
        for row in reader.range(entity.objects, KeyRange::all(), Direction::Forward)? {
            let (key, record) = row?;
            let id = keys::object_id(key)?;
            if undecided.is_empty() || !undecided.contains(&(entity.def.id, id)) {
                push(tx, &mut builder, (&mut fingerprints, suspect), entity, columns, id, record)?;
            }
        }
    }
    for row in reader.range(sync.tables.confirmed, KeyRange::all(), Direction::Forward)? {
        let (key, record) = row?;
        let (entity, id) = keys::entity_object(key)?;
        // A row whose object no transaction writes any more says what the visible record says.
        if !undecided.contains(&(entity, id)) {
            continue;
        }
        let entity = tx
            .catalog()
            .by_id(entity)
            .ok_or_else(|| StoreError::damaged("confirmed", format!("unknown entity {entity}")))?;
        let columns = sync.entity(entity.def.id)?;
        push(tx, &mut builder, (&mut fingerprints, suspect), entity, columns, id, record)?;
    }
    builder.finish().map_err(|duplicate| StoreError::damaged("objects", duplicate))
}

fn push(
    tx: &impl CatalogLookup,
    builder: &mut SortedItemsBuilder,
    (fingerprints, suspect): (&mut Fingerprinter, Option<&CompareRange>),
    entity: &EntityRuntime,
    columns: &SyncEntity,
    id: ObjectId,
    record: &[u8],
) -> Result<()> {
    let damaged = |error| StoreError::damaged("record", error);
    let record = Record::parse(record).map_err(damaged)?;
    let header = record
        .header
        .ok_or_else(|| StoreError::damaged("record", "a synced object has no sync header"))?
        .parse()
        .map_err(damaged)?;
    if !header.exists {
        return Ok(());
    }
    let gid = match header.gid {
        Some(gid) => gid,
        None if entity.def.has_shared_ids() => GlobalId::new(PeerId::SHARED, id),
        None => tx.naming()?.own(entity.def.id, id),
    };
    let key = CompareKey::new(entity.def.uid, gid);
    let slots = record.table.slots();
    let known = columns.columns.iter().filter(|column| column.kind.is_none());
    let known = known.map(|column| (column.uid, header.stamp_of(column.slot as usize, slots)));
    let fingerprint = if header.unknown.is_empty() && !columns.has_kinds {
        fingerprints.object(key, header.generation, known)
    } else {
        let mut stamps: Vec<(Uid, Stamp)> = known.collect();
        for register in &header.unknown {
            match (Kind::of_type(register.ty), &register.cell) {
                (Some(kind), Some(state)) => {
                    stamps.extend(kind.stamps(state).into_iter().map(|s| (register.uid, s)))
                }
                _ => stamps.push((register.uid, register.stamp)),
            }
        }
        for KindState { slot, kind, state } in &header.kinds {
            let Some(column) = columns.at_slot(*slot) else { continue };
            stamps.extend(kind.stamps(state).into_iter().map(|stamp| (column.uid, stamp)));
        }
        stamps.sort_by_key(|(uid, _)| *uid);
        fingerprints.object(key, header.generation, stamps)
    };
    // Stamps say nothing of a value that is not what was written: what is suspected must not look like what the server has.
    let fingerprint = match suspect.is_some_and(|range| range.contains(key)) {
        true => fingerprints.object(key, Generation::MAX, []),
        false => fingerprint,
    };
    builder.push(key, fingerprint);
    Ok(())
}

/// The objects that transactions in the outbox write; what is confirmed of them stands in a table of its own, if anything is.
fn undecided<R: Reader>(
    tx: &impl CatalogLookup,
    reader: &R,
    sync: &SyncState,
) -> Result<HashSet<(EntityId, ObjectId)>> {
    let mut places = HashSet::new();
    for row in outbox::rows_in(reader, &sync.tables, 0)? {
        for (_, op) in apply::ops_of(row?.bytes)? {
            let Some(entity) = tx.catalog().by_uid(op.entity).filter(|entity| entity.def.is_synced()) else {
                continue;
            };
            if let Some(id) = global_ids::local(tx, entity, op.gid)? {
                places.insert((entity.def.id, id));
            }
        }
    }
    Ok(places)
}

/// On a server: the existing objects in ascending ranges, at least one if there is any, then as many as fit into `bytes_max`.
pub(crate) fn fetch<R: Reader>(
    tx: &impl CatalogLookup,
    reader: &R,
    sync: &SyncState,
    ranges: &[CompareRange],
    bytes_max: usize,
) -> Result<Fetched> {
    let mut entities: Vec<_> = tx.catalog().entities().filter(|entity| entity.def.is_synced()).collect();
    entities.sort_by_key(|entity| entity.def.uid);
    let mut fetch = Fetch { tx, reader, sync, bytes_max, writer: StatesWriter::new(), objects: 0 };
    let mut rest = Vec::new();
    for (at, range) in ranges.iter().enumerate() {
        if let Some(from) = fetch.range(&entities, range)? {
            rest.push(CompareRange::new(from, range.end));
            rest.extend_from_slice(&ranges[at + 1..]);
            break;
        }
    }
    let block = (fetch.objects > 0).then(|| fetch.writer.finish());
    Ok(Fetched { block, objects: fetch.objects, rest })
}

struct Fetch<'a, T, R> {
    tx: &'a T,
    reader: &'a R,
    sync: &'a SyncState,
    bytes_max: usize,
    writer: StatesWriter,
    objects: u64,
}

impl<T: CatalogLookup, R: Reader> Fetch<'_, T, R> {
    /// Reads a range; the key at which it stopped because there is enough.
    fn range(
        &mut self,
        entities: &[&Arc<EntityRuntime>],
        range: &CompareRange,
    ) -> Result<Option<CompareKey>> {
        for entity in entities {
            let uid = entity.def.uid;
            if uid < range.start.entity || range.end.is_some_and(|end| end.entity < uid) {
                continue;
            }
            let from = if uid == range.start.entity { range.start.gid } else { GlobalId::default() };
            let to = range.end.filter(|end| end.entity == uid).map(|end| end.gid);
            if let Some(gid) = self.entity(entity, from, to)? {
                return Ok(Some(CompareKey::new(uid, gid)));
            }
        }
        Ok(None)
    }

    /// Reads the objects of an entity whose global ids lie from one up to, not including, another.
    fn entity(
        &mut self,
        entity: &EntityRuntime,
        from: GlobalId,
        to: Option<GlobalId>,
    ) -> Result<Option<GlobalId>> {
        if !entity.def.has_shared_ids() {
            return self.foreign(entity, from, to);
        }
        // Shared ids have no row in the table of global ids, and stand in order of their ids.
        if from.origin != PeerId::SHARED {
            return Ok(None);
        }
        self.shared(entity, from.counter, to.filter(|to| to.origin == PeerId::SHARED).map(|to| to.counter))
    }

    /// Objects that came from others, as all objects of a server did.
    fn foreign(
        &mut self,
        entity: &EntityRuntime,
        from: GlobalId,
        to: Option<GlobalId>,
    ) -> Result<Option<GlobalId>> {
        let Some(table) = entity.global_ids else { return Ok(None) };
        let (from, to) = (from.to_bytes(), to.map(GlobalId::to_bytes));
        let end = to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(&to[..]));
        if to.is_some_and(|to| to <= from) {
            return Ok(None);
        }
        for row in self.reader.range(table, (Bound::Included(&from[..]), end), Direction::Forward)? {
            let (key, id) = row?;
            let gid = GlobalId::from_bytes(
                key.try_into()
                    .map_err(|_| StoreError::damaged("key", "a global id's key has not 16 bytes"))?,
            );
            let Some(record) = self.reader.get(entity.objects, id)? else { continue };
            if self.is_full() {
                return Ok(Some(gid));
            }
            self.push(entity, gid, record)?;
        }
        Ok(None)
    }

    fn shared(
        &mut self,
        entity: &EntityRuntime,
        from: ObjectId,
        to: Option<ObjectId>,
    ) -> Result<Option<GlobalId>> {
        if to.is_some_and(|to| to <= from) {
            return Ok(None);
        }
        let (from, to) = (keys::object_key(from), to.map(keys::object_key));
        let end = to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(&to[..]));
        for row in self.reader.range(entity.objects, (Bound::Included(&from[..]), end), Direction::Forward)? {
            let (key, record) = row?;
            let gid = GlobalId::new(PeerId::SHARED, keys::object_id(key)?);
            if self.is_full() {
                return Ok(Some(gid));
            }
            self.push(entity, gid, record)?;
        }
        Ok(None)
    }

    fn is_full(&self) -> bool {
        self.objects > 0 && self.writer.bytes_len() >= self.bytes_max
    }

    fn push(&mut self, entity: &EntityRuntime, gid: GlobalId, record: &[u8]) -> Result<()> {
        let columns = self.sync.entity(entity.def.id)?;
        let (state, header) = convert::state_of_record(self.tx, columns, record)?;
        let seq = header.seq.unwrap_or(Seq(0));
        self.writer.push(&StateEntry { entity: entity.def.uid, gid, seq, state });
        self.objects += 1;
        Ok(())
    }
}
