//! A compare as a device carries it out: what it fetched takes the place of what was confirmed, what the server lacks leaves,
//! and what a restored server has lost is kept for the application.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::change::Op;
use reconvene_model::compare::CompareRange;
use reconvene_model::kinds::Kind;
use reconvene_model::merge::{Merged, compare_writes, merge_op, merge_states};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::Record;
use reconvene_model::state::{ObjectState, Register, StateEntry, StatesReader, StatesWriter};
use reconvene_model::{Generation, GlobalId, ObjectId, PeerId, Seq, Stamp, TxNumber};

use super::{Applier, synced};
use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader};
use crate::sync::global_ids;
use crate::sync::meta::Extras;
use crate::sync::overlay;
use crate::sync::rejected::{self, Cause};
use crate::sync::{convert, meta, outbox};
use crate::txn::WriteTxn;

/// About how many bytes of lost objects are kept in one row.
const LOST_ROW_BYTES: usize = 64 * 1024;

/// What the answer to a login says.
pub(super) struct Login {
    pub(super) epoch: u64,
    pub(super) view: u64,
    pub(super) decided: TxNumber,
    pub(super) decided_seq: Seq,
    pub(super) rebased: Option<TxNumber>,
    pub(super) compare: bool,
}

/// Objects, and registers of objects, that a restored server has lost, as blocks of states.
#[derive(Default)]
pub(super) struct Lost {
    open: Option<(StatesWriter, u64)>,
    blocks: Vec<Vec<u8>>,
}

impl Lost {
    fn push(&mut self, entry: &StateEntry<'_>) {
        let (writer, entries) = self.open.get_or_insert_with(|| (StatesWriter::new(), 0));
        writer.push(entry);
        *entries += 1;
        if writer.bytes_len() >= LOST_ROW_BYTES {
            self.close();
        }
    }

    fn close(&mut self) {
        self.blocks.extend(self.open.take().map(|(writer, _)| writer.finish()));
    }
}

impl Applier {
    /// Takes the cursor into the history and the view of this login, voids it if a compare follows.
    pub(super) fn enter_history(&mut self, tx: &mut WriteTxn<'_>, login: &Login) -> Result<()> {
        let &Login { epoch, view, compare, .. } = login;
        let cursor = meta::cursor(tx)?;
        let other = cursor.epoch != 0 && cursor.epoch != epoch;
        self.elsewhere |= other;
        if compare {
            let extras = match meta::compare(tx)? {
                Some(Extras::AreKept) => Extras::AreKept,
                _ if other || meta::keeps_after_compare(tx)? => Extras::AreKept,
                _ => Extras::Leave,
            };
            meta::put_compare(tx, extras)?;
            meta::put_catching_up(tx, true)?;
            // In the same history it still says what is not to be forgotten on the way; it stands for nothing.
            let seq = if other { Seq(0) } else { cursor.seq };
            return meta::put_cursor(tx, meta::Cursor { epoch, view, seq });
        }
        if other {
            return Err(StoreError::OtherHistory { known: cursor.epoch, offered: epoch });
        }
        if (cursor.epoch, cursor.view) != (epoch, view) {
            meta::put_cursor(tx, meta::Cursor { epoch, view, seq: Seq(0) })?;
        }
        Ok(())
    }

    /// Takes transactions out of the outbox that were accepted by a history which is lost, and keeps them for the application.
    pub(super) fn lose_decided(
        &mut self,
        tx: &mut WriteTxn<'_>,
        known: TxNumber,
        decided: TxNumber,
    ) -> Result<()> {
        self.flush(tx)?;
        let numbers: Vec<TxNumber> = outbox::rows(tx, known)?
            .map(|row| row.map(|row| row.number))
            .take_while(|number| number.as_ref().map_or(true, |&number| number <= decided))
            .collect::<Result<_>>()?;
        let mut dirty = BTreeSet::new();
        for number in numbers {
            let bytes = outbox::expect(tx, number)?;
            rejected::put(tx, number, Cause::LostByServer, &bytes)?;
            dirty.extend(self.leave_outbox(tx, number, false)?);
            self.applied.rejected.push(rejected::handle(tx, number));
        }
        overlay::recompute(tx, &dirty)
    }

    pub(super) fn fetched(&mut self, tx: &mut WriteTxn<'_>, block: &[u8]) -> Result<()> {
        let is_kept = extras(tx)? == Extras::AreKept;
        if block.is_empty() {
            return Ok(());
        }
        let mut entries = StatesReader::new(block).map_err(StoreError::bad_delivery)?;
        let mut entry = StateEntry::default();
        while entries.read_into(&mut entry).map_err(StoreError::bad_delivery)? {
            let Some(entity) = synced(tx, entry.entity) else {
                self.applied.skipped += 1;
                continue;
            };
            for register in &entry.state.registers {
                self.hlc = self.hlc.max(register.stamp.hlc);
            }
            let id = match global_ids::named_by_peer(tx, &entity, entry.gid)? {
                Some(id) => id,
                None if entry.state.exists => global_ids::assign(tx, &entity, entry.gid)?,
                None => continue,
            };
            let pending = tx.sync_writer()?.pending.contains(entity.def.id, id);
            let record = overlay::confirmed_record(tx, &entity, id, pending)?;
            if is_kept {
                self.keep_undone(tx, &entity, record.as_deref(), &entry)?;
            }
            if planted(Planted::FetchedMerged) {
                let before = match &record {
                    Some(record) => convert::state_of_record(tx, tx.sync_entity(&entity)?, record)?.0,
                    None => ObjectState::default(),
                };
                let merged = merge_states(before.into_owned(), entry.state.clone().into_owned());
                self.put(tx, &entity, id, entry.gid, pending, &merged)?;
            } else {
                self.put(tx, &entity, id, entry.gid, pending, &entry.state)?;
            }
            self.applied.objects += 1;
        }
        Ok(())
    }

    pub(super) fn extra(&mut self, tx: &mut WriteTxn<'_>, range: &CompareRange) -> Result<()> {
        let is_kept = extras(tx)? == Extras::AreKept;
        if planted(Planted::ExtrasStay) {
            return Ok(());
        }
        let entities: Vec<Arc<EntityRuntime>> =
            tx.inner().catalog.entities().filter(|entity| entity.def.is_synced()).cloned().collect();
        for entity in entities {
            for (id, gid) in within(tx, &entity, range)? {
                let pending = tx.sync_writer()?.pending.contains(entity.def.id, id);
                let Some(record) = overlay::confirmed_record(tx, &entity, id, pending)? else { continue };
                let (state, _) = convert::state_of_record(tx, tx.sync_entity(&entity)?, &record)?;
                if !state.exists {
                    continue;
                }
                let generation = state.generation;
                if is_kept {
                    self.lost.push(&StateEntry { entity: entity.def.uid, gid, seq: Seq(0), state });
                }
                self.evict(tx, &entity, (id, gid), generation, pending)?;
                self.applied.objects += 1;
            }
        }
        Ok(())
    }

    /// Lets go of what is confirmed of an object, which is in this generation; undecided writes on it stay.
    fn evict(
        &mut self,
        tx: &mut WriteTxn<'_>,
        entity: &Arc<EntityRuntime>,
        (id, gid): (ObjectId, GlobalId),
        generation: Generation,
        pending: bool,
    ) -> Result<()> {
        if pending {
            self.dirty.insert((entity.def.id, id));
            // What a verdict has swallowed must not come back while its transaction waits for its place.
            let writer = tx.sync_writer()?;
            let is_decided = writer.pending.numbers(entity.def.id, id).any(|number| tx.is_decided(number));
            drop(writer);
            let generation = if is_decided { generation } else { 0 };
            let left = ObjectState { generation, ..ObjectState::default() };
            return overlay::put_confirmed(tx, entity, id, gid, &left);
        }
        overlay::put_visible(tx, entity, id, gid, None, &ObjectState::default())?;
        overlay::keep_trace(tx, entity, id, gid)
    }

    /// Ends a compare: the cursor stands where it began.
    pub(super) fn compared(&mut self, tx: &mut WriteTxn<'_>, seq: Seq) -> Result<()> {
        let is_kept = extras(tx)? == Extras::AreKept;
        if is_kept {
            self.forget_generations(tx)?;
        }
        self.flush(tx)?;
        self.keep_lost(tx)?;
        let cursor = meta::cursor(tx)?;
        meta::put_cursor(tx, meta::Cursor { seq, ..cursor })?;
        if meta::suspect(tx)?.is_some() {
            meta::put_suspect(tx, None)?;
        }
        meta::end_compare(tx, is_kept)
    }

    /// Keeps what a state, which takes the place of another one, undoes of it.
    pub(super) fn keep_undone(
        &mut self,
        tx: &WriteTxn<'_>,
        entity: &EntityRuntime,
        before: Option<&[u8]>,
        entry: &StateEntry<'_>,
    ) -> Result<()> {
        let Some(before) = before else { return Ok(()) };
        let (before, _) = convert::state_of_record(tx, tx.sync_entity(entity)?, before)?;
        if let Some(state) = lost_by(&before, &entry.state) {
            self.lost.push(&StateEntry { entity: entry.entity, gid: entry.gid, seq: Seq(0), state });
        }
        Ok(())
    }

    /// Lets go of the generations of objects that do not exist: a restored server need not have reached them, and would never take
    /// an object that is made again in the next one. Where it has, its verdict tells.
    fn forget_generations(&mut self, tx: &mut WriteTxn<'_>) -> Result<()> {
        let entities: Vec<Arc<EntityRuntime>> =
            tx.inner().catalog.entities().filter(|entity| entity.def.is_synced()).cloned().collect();
        for entity in entities {
            let mut found = Vec::new();
            if let Some(absent) = entity.absent {
                for row in tx.engine_tx().range(absent, keys_of_all(), Direction::Forward)? {
                    let (key, record) = row?;
                    if generation_of_absent(record)? > 0 {
                        found.push((keys::object_id(key)?, false));
                    }
                }
            }
            let of = entity.def.id;
            let (first, last) = (keys::entity_object_key(of, 0), keys::entity_object_key(of, ObjectId::MAX));
            let rows = (Bound::Included(&first[..]), Bound::Included(&last[..]));
            let confirmed = tx.inner().sync.tables.confirmed;
            for row in tx.engine_tx().range(confirmed, rows, Direction::Forward)? {
                let (key, record) = row?;
                if generation_of_absent(record)? > 0 {
                    found.push((keys::entity_object(key)?.1, true));
                }
            }
            for (id, is_confirmed) in found {
                let numbers: Vec<TxNumber> = tx.sync_writer()?.pending.numbers(entity.def.id, id).collect();
                let pending = !numbers.is_empty();
                // What a verdict of this history has swallowed must not come back while its transaction waits for its place.
                if numbers.iter().any(|&number| tx.is_decided(number)) {
                    continue;
                }
                // What stands for an object with undecided writes is computed from what is confirmed of it.
                if pending == is_confirmed {
                    let gid = global_ids::global(tx, &entity, id)?;
                    self.evict(tx, &entity, (id, gid), 0, pending)?;
                }
            }
        }
        Ok(())
    }

    /// Puts what a restored server has lost into the rejected box.
    pub(super) fn keep_lost(&mut self, tx: &mut WriteTxn<'_>) -> Result<()> {
        self.lost.close();
        for block in std::mem::take(&mut self.lost.blocks) {
            let number = rejected::next_lost(tx)?;
            rejected::put(tx, number, Cause::LostStates, &block)?;
            self.applied.rejected.push(number);
        }
        Ok(())
    }
}

/// Remembers the generation that an own remove has ended, when it was taken and nothing else tells.
///
/// What was removed before is not removed again, so a catch-up may begin after it, and a compare does not tell of it.
pub(super) fn remember_removed(
    tx: &mut WriteTxn<'_>,
    entity: &Arc<EntityRuntime>,
    id: ObjectId,
    op: &Op<'_>,
) -> Result<()> {
    let mut state = match overlay::confirmed_record(tx, entity, id, true)? {
        Some(record) => convert::state_of_record(tx, tx.sync_entity(entity)?, &record)?.0.into_owned(),
        None => ObjectState::default(),
    };
    match merge_op(&mut state, op, Stamp::NEVER) {
        Merged::Changed => overlay::put_confirmed(tx, entity, id, op.gid, &state),
        _ => Ok(()),
    }
}

fn keys_of_all() -> (Bound<&'static [u8]>, Bound<&'static [u8]>) {
    (Bound::Unbounded, Bound::Unbounded)
}

/// The generation of an object that does not exist; 0 for one that does.
fn generation_of_absent(record: &[u8]) -> Result<u64> {
    let damaged = |error| StoreError::damaged("record", error);
    let header = match Record::parse(record).map_err(damaged)?.header {
        Some(header) => header.parse().map_err(damaged)?,
        None => return Ok(0),
    };
    Ok(if header.exists { 0 } else { header.generation })
}

/// What becomes of extra objects in the compare that is under way.
fn extras(tx: &WriteTxn<'_>) -> Result<Extras> {
    meta::compare(tx)?.ok_or(StoreError::NotComparing)
}

/// What `before` has and `now`, which takes its place, has not: the object, its removal, or registers of it.
///
/// Merged into `now` it gives what both give merged, but for counters, of which it has how much each author had added since: an object
/// that exists is an insert, one that does not but has registers an update of these, and one without registers a removal.
fn lost_by<'a>(before: &ObjectState<'a>, now: &ObjectState<'_>) -> Option<ObjectState<'a>> {
    if before.generation < now.generation {
        return None;
    }
    if before.generation > now.generation || (before.exists && !now.exists) {
        let is_heard_of = before.exists || before.registers.is_empty();
        return is_heard_of.then(|| before.clone());
    }
    let lost = |register: &Register<'a>| -> Option<Register<'a>> {
        let Some(other) = now.register(register.uid) else { return Some(register.clone()) };
        match Kind::of_type(register.ty).filter(|_| other.ty == register.ty) {
            Some(kind) => {
                let state = kind.lost(register.cell.as_deref()?, other.cell.as_deref()?)?;
                Some(Register::of_kind(register.uid, kind, state.into()))
            }
            None => compare_writes(register.write(), other.write()).is_gt().then(|| register.clone()),
        }
    };
    let registers: Vec<_> = before.registers.iter().filter_map(lost).collect();
    let is_some = before.exists && !registers.is_empty();
    is_some.then_some(ObjectState { generation: before.generation, exists: false, registers })
}

/// The objects of an entity that lie in a range and have a local id, each with it.
fn within(
    tx: &WriteTxn<'_>,
    entity: &EntityRuntime,
    range: &CompareRange,
) -> Result<Vec<(ObjectId, GlobalId)>> {
    let uid = entity.def.uid;
    if uid < range.start.entity || range.end.is_some_and(|end| end.entity < uid) {
        return Ok(Vec::new());
    }
    let from = if uid == range.start.entity { range.start.gid } else { GlobalId::default() };
    let to = range.end.filter(|end| end.entity == uid).map(|end| end.gid);
    if to.is_some_and(|to| to <= from) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let is_within = |gid: GlobalId| gid >= from && to.is_none_or(|to| gid < to);
    if let Some(ids) = own_ids(tx, entity, from, to) {
        own_within(tx, entity, ids, &is_within, &mut found)?;
    }
    if let Some(table) = entity.global_ids {
        let (start, end) = (from.to_bytes(), to.map(GlobalId::to_bytes));
        let end = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        for row in tx.engine_tx().range(table, (Bound::Included(&start[..]), end), Direction::Forward)? {
            let (key, id) = row?;
            found.push((keys::object_id(id)?, keys::global_id(key)?));
        }
    }
    Ok(found)
}

/// The first and the last id that objects whose counter is their id can have between two global ids; their origins are the names
/// of this store, which may be several.
fn own_ids(
    tx: &WriteTxn<'_>,
    entity: &EntityRuntime,
    from: GlobalId,
    to: Option<GlobalId>,
) -> Option<(ObjectId, ObjectId)> {
    let names: Vec<PeerId> = match entity.def.has_shared_ids() {
        true => vec![PeerId::SHARED],
        false => tx.naming().names().collect(),
    };
    let names =
        names.into_iter().filter(|&name| name >= from.origin && to.is_none_or(|to| name <= to.origin));
    let ids = names.map(|name| {
        let first = if name == from.origin { from.counter } else { 0 };
        let last = to.filter(|to| to.origin == name).map_or(ObjectId::MAX, |to| to.counter);
        (first, last)
    });
    ids.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
}

/// The objects whose counter is their id, as they need no table of global ids; what is confirmed of them may stand apart.
fn own_within(
    tx: &WriteTxn<'_>,
    entity: &EntityRuntime,
    (first, last): (ObjectId, ObjectId),
    is_within: &dyn Fn(GlobalId) -> bool,
    found: &mut Vec<(ObjectId, GlobalId)>,
) -> Result<()> {
    let mut own = BTreeMap::new();
    let mut look = |id: ObjectId, record: &[u8]| -> Result<()> {
        let gid = match entity.def.has_shared_ids() {
            true => GlobalId::new(PeerId::SHARED, id),
            false if global_ids::gid_of_record(record)?.is_some() => return Ok(()),
            false => tx.naming().own(entity.def.id, id),
        };
        if is_within(gid) {
            own.insert(id, gid);
        }
        Ok(())
    };
    let (start, end) = (keys::object_key(first), keys::object_key(last));
    let rows = (Bound::Included(&start[..]), Bound::Included(&end[..]));
    for row in tx.engine_tx().range(entity.objects, rows, Direction::Forward)? {
        let (key, record) = row?;
        look(keys::object_id(key)?, record)?;
    }
    let of = entity.def.id;
    let (start, end) = (keys::entity_object_key(of, first), keys::entity_object_key(of, last));
    let rows = (Bound::Included(&start[..]), Bound::Included(&end[..]));
    for row in tx.engine_tx().range(tx.inner().sync.tables.confirmed, rows, Direction::Forward)? {
        let (key, record) = row?;
        look(keys::entity_object(key)?.1, record)?;
    }
    found.extend(own);
    Ok(())
}
