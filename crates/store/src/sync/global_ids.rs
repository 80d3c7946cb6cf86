//! Which local id stands for which global one, and back.
//!
//! An object of this store's own needs no mapping: its counter is its id. A foreign object's record names its global id, and
//! the `g/` table of its entity leads from there to the id. Shared ids are the same everywhere.
//!
//! What others say of this store's own objects is not believed: a global id with this store's name that it never gave out is
//! treated as a foreign one. Else a peer could write to an object by the id that another one happens to have here, or use up
//! all ids with a single link.
//!
//! Where this store had other names, "own" means what [`Naming`] says: an id stands for an object of the name under which it was
//! handed out. Under a former name others may have objects, too, which come like any foreign ones.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use reconvene_model::record::{Record, SyncHeader};
use reconvene_model::{GlobalId, ObjectId, PeerId, Stamp};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader, TableId};
use crate::sync::eras::Naming;
use crate::txn::WriteTxn;

/// What is known of whether any peer has spoken of objects of this store's own that it never made.
pub(crate) const UNKNOWN: u8 = 0;
const NOBODY_PRETENDS: u8 = 1;
const SOMEBODY_PRETENDS: u8 = 2;

/// The bytes of an origin, with which the keys of its objects begin.
const ORIGIN_BYTES: usize = 8;

/// What translating ids needs to read; both kinds of transactions offer it.
pub(crate) trait Lookup {
    /// Who this store is and was, at the moment that is read.
    fn naming(&self) -> Result<&Naming>;
    fn get_raw(&self, table: TableId, key: &[u8]) -> Result<Option<&[u8]>>;

    /// Whether it is certain, without a search, that a foreign object has no local id yet.
    fn is_unheard(&self, _entity: &EntityRuntime, _gid: GlobalId) -> Result<bool> {
        Ok(false)
    }
}

/// The local id of an object that this store's own transactions name, if it has heard of it.
pub(crate) fn local(tx: &impl Lookup, entity: &EntityRuntime, gid: GlobalId) -> Result<Option<ObjectId>> {
    if entity.def.has_shared_ids() {
        return Ok(Some(gid.counter));
    }
    if tx.naming()?.is_own(entity.def.id, gid) {
        // Only where a peer pretended that there is such an object can the number mean another one.
        let pretended = if tx.is_unheard(entity, gid)? { None } else { named_by_peer(tx, entity, gid)? };
        return Ok(pretended.or(Some(gid.counter)));
    }
    if tx.is_unheard(entity, gid)? {
        return Ok(None);
    }
    mapped(tx, entity, gid)
}

/// The local id to which the table leads.
fn mapped(tx: &impl Lookup, entity: &EntityRuntime, gid: GlobalId) -> Result<Option<ObjectId>> {
    tx.get_raw(global_table(entity)?, &gid.to_bytes())?.map(keys::object_id).transpose()
}

/// What is stored of an object, whether it exists or not.
fn stored<'t>(tx: &'t impl Lookup, entity: &EntityRuntime, id: ObjectId) -> Result<Option<&'t [u8]>> {
    let key = keys::object_key(id);
    match (tx.get_raw(entity.objects, &key)?, entity.absent) {
        (None, Some(absent)) => tx.get_raw(absent, &key),
        (found, _) => Ok(found),
    }
}

/// The local id of an object that a peer names, if this store has heard of it.
pub(crate) fn named_by_peer(
    tx: &impl Lookup,
    entity: &EntityRuntime,
    gid: GlobalId,
) -> Result<Option<ObjectId>> {
    if entity.def.has_shared_ids() || !tx.naming()?.is_own(entity.def.id, gid) {
        return local(tx, entity, gid);
    }
    match stored(tx, entity, gid.counter)? {
        Some(record) if gid_of_record(record)?.is_none() => Ok(Some(gid.counter)),
        _ => mapped(tx, entity, gid),
    }
}

/// The local id of an object; an unheard-of one is given an id of its own, so that links to it can wait.
pub(crate) fn local_or_reserve(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    gid: GlobalId,
) -> Result<ObjectId> {
    if entity.def.has_shared_ids() {
        return Ok(gid.counter);
    }
    if let Some(id) = named_by_peer(tx, entity, gid)? {
        return Ok(id);
    }
    if let Some(id) = had(tx, entity, gid)? {
        return Ok(id);
    }
    let id = assign(tx, entity, gid)?;
    let header =
        SyncHeader { exists: false, gid: to_be_named(tx, entity, id, gid)?, ..SyncHeader::default() };
    let mut record = Vec::new();
    header.write_record(reconvene_model::record::EMPTY_TABLE, &mut record);
    tx.put_absent(entity, id, Some(&record))?;
    Ok(id)
}

/// Whether a peer has spoken of an object of this store's own that would have this id, before there was one.
///
/// Almost never has anybody; that is found out once, and remembered.
#[inline]
pub(crate) fn is_pretended(tx: &WriteTxn<'_>, entity: &EntityRuntime, id: ObjectId) -> Result<bool> {
    let Some(table) = entity.global_ids else { return Ok(false) };
    let pretended = &tx.inner().sync.pretended;
    match pretended.load(Ordering::Relaxed) {
        NOBODY_PRETENDS => return Ok(false),
        UNKNOWN => {
            let found = somebody_pretends(tx)?;
            pretended.store(if found { SOMEBODY_PRETENDS } else { NOBODY_PRETENDS }, Ordering::Relaxed);
            if !found {
                return Ok(false);
            }
        }
        _ => {}
    }
    Ok(tx.get_raw(table, &GlobalId::new(tx.own_peer(), id).to_bytes())?.is_some())
}

fn somebody_pretends(tx: &WriteTxn<'_>) -> Result<bool> {
    let origin = GlobalId::new(tx.own_peer(), 0).to_bytes();
    for table in tx.inner().catalog.entities().filter_map(|entity| entity.global_ids) {
        let mut rows = tx.engine_tx().prefix(table, &origin[..ORIGIN_BYTES], Direction::Forward)?;
        if rows.next().transpose()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The id that an object of this store's own has had, of which nothing is stored any more: it was undone, or left without a
/// trace, and comes again or is about to be written again.
fn had(tx: &mut WriteTxn<'_>, entity: &Arc<EntityRuntime>, gid: GlobalId) -> Result<Option<ObjectId>> {
    let naming = tx.naming();
    let own = gid.origin == naming.peer() && naming.is_own(entity.def.id, gid);
    let own = own && gid.counter <= tx.last_id(entity)?;
    Ok((own && stored(tx, entity, gid.counter)?.is_none()).then_some(gid.counter))
}

/// Gives an object of which nothing is stored its local id.
pub(crate) fn assign(tx: &mut WriteTxn<'_>, entity: &Arc<EntityRuntime>, gid: GlobalId) -> Result<ObjectId> {
    if let Some(id) = had(tx, entity, gid)? {
        return Ok(id);
    }
    let id = tx.next_id(entity)?;
    if to_be_named(tx, entity, id, gid)?.is_some() {
        tx.append_raw(global_table(entity)?, &gid.to_bytes(), &keys::object_key(id))?;
        if gid.origin == tx.own_peer() {
            tx.inner().sync.pretended.store(SOMEBODY_PRETENDS, Ordering::Relaxed);
        }
    }
    tx.sync.heard.get_mut().assigned(entity.def.id, gid);
    Ok(id)
}

/// The global id that the record of an object must name: none if the object is this store's own or has a shared id.
pub(crate) fn to_be_named(
    tx: &impl Lookup,
    entity: &EntityRuntime,
    id: ObjectId,
    gid: GlobalId,
) -> Result<Option<GlobalId>> {
    let own = gid.counter == id && tx.naming()?.is_own(entity.def.id, gid);
    Ok((!own && !entity.def.has_shared_ids()).then_some(gid))
}

/// The global id that a new object of this store's own must name: none, unless its id was within reach of a former name.
pub(crate) fn name_new(
    tx: &mut WriteTxn<'_>,
    entity: &EntityRuntime,
    id: ObjectId,
) -> Result<Option<GlobalId>> {
    let gid = GlobalId::new(tx.naming().peer(), id);
    let named = to_be_named(tx, entity, id, gid)?;
    if named.is_some() {
        tx.put_raw(global_table(entity)?, &gid.to_bytes(), &keys::object_key(id))?;
        tx.sync.heard.get_mut().assigned(entity.def.id, gid);
    }
    Ok(named)
}

/// The global id of an object, whether it exists or not.
pub(crate) fn global(tx: &impl Lookup, entity: &EntityRuntime, id: ObjectId) -> Result<GlobalId> {
    if entity.def.has_shared_ids() {
        return Ok(GlobalId::new(PeerId::SHARED, id));
    }
    match stored(tx, entity, id)?.map(gid_of_record).transpose()?.flatten() {
        Some(named) => Ok(named),
        None => Ok(tx.naming()?.own(entity.def.id, id)),
    }
}

/// The global id that a record names: none for the store's own objects and for shared ids.
pub(crate) fn gid_of_record(record: &[u8]) -> Result<Option<GlobalId>> {
    let record = Record::parse(record).map_err(|e| StoreError::damaged("record", e))?;
    match record.header {
        Some(header) => Ok(header.parse().map_err(|e| StoreError::damaged("record", e))?.gid),
        None => Ok(None),
    }
}

fn global_table(entity: &EntityRuntime) -> Result<TableId> {
    entity.global_ids.ok_or_else(|| StoreError::internal("a synced entity has a table of global ids"))
}

impl Lookup for WriteTxn<'_> {
    #[inline]
    fn naming(&self) -> Result<&Naming> {
        Ok(WriteTxn::naming(self))
    }

    fn get_raw(&self, table: TableId, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.engine_tx().get(table, key)?)
    }

    fn is_unheard(&self, entity: &EntityRuntime, gid: GlobalId) -> Result<bool> {
        let mut heard = self.sync.heard.borrow_mut();
        let largest = match heard.largest(entity.def.id, gid.origin) {
            Some(largest) => largest,
            None => {
                let table = global_table(entity)?;
                let origin = GlobalId::new(gid.origin, 0).to_bytes();
                let last =
                    self.engine_tx().prefix(table, &origin[..ORIGIN_BYTES], Direction::Backward)?.next();
                let last = last.transpose()?.map(|(key, _)| keys::global_id(key)).transpose()?;
                let largest = last.map_or(0, |gid| gid.counter);
                heard.remember(entity.def.id, gid.origin, largest);
                largest
            }
        };
        Ok(gid.counter > largest)
    }
}

/// The header of a record that its own device just wrote with one stamp.
pub(crate) fn fresh_header(gid: Option<GlobalId>, generation: u64, stamp: Stamp) -> SyncHeader {
    SyncHeader { exists: true, gid, generation, base: stamp, ..SyncHeader::default() }
}
