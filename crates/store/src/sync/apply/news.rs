//! What deliveries bring to objects on which this store has undecided writes: whatever of it is new meets these writes as a conflict.
//!
//! A conflict is only told where it is certain. What is confirmed of an object was known to this store before its undecided writes
//! were made, or was told as a conflict with them; so what a delivery adds to it was not known. And its author had not seen writes
//! that the server has not decided on: no state that it sends is newer than the verdicts before it. During a catch-up, what
//! is decided already may be older than what is delivered; that is left out.
//!
//! Nothing happens here for objects without undecided writes.

use std::collections::{BTreeMap, BTreeSet};

use reconvene_model::change::{OpKind, OpsReader, decode_tx};
use reconvene_model::codec::DecodeError;
use reconvene_model::kinds::Kind;
use reconvene_model::merge::merge_op;
use reconvene_model::state::{ObjectState, Register};
use reconvene_model::{Generation, GlobalId, Stamp, TxNumber};

use super::Applier;
use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::sync::columns::SyncEntity;
use crate::sync::conflicts::{self, ConflictLaw, Found, Side};
use crate::sync::overlay::{self, Place};
use crate::sync::{convert, global_ids, meta, outbox};
use crate::txn::WriteTxn;

/// What was confirmed of objects with undecided writes, before the deliveries since the last look changed it.
#[derive(Default)]
pub(super) struct News(BTreeMap<Place, Before>);

struct Before {
    gid: GlobalId,
    record: Option<Vec<u8>>,
}

/// What this store has written to one object and no server has decided on.
#[derive(Default)]
struct Mine<'a> {
    /// Its ops, merged with nothing before them.
    state: ObjectState<'a>,
    /// The transactions among them, ascending: clock reading and number.
    txs: Vec<(u64, TxNumber)>,
    inserts: bool,
}

impl Mine<'_> {
    /// The transaction that was written then, or else the newest.
    fn at(&self, hlc: Option<u64>) -> (u64, TxNumber) {
        let at = self.txs.iter().find(|(then, _)| Some(*then) == hlc);
        at.or(self.txs.last()).copied().unwrap_or_default()
    }
}

/// What is confirmed of an object, before and after.
struct Change<'a> {
    before: ObjectState<'a>,
    after: ObjectState<'a>,
}

impl Applier {
    /// Keeps what is confirmed of an object with undecided writes, which is about to change.
    pub(super) fn note_before(
        &mut self,
        tx: &WriteTxn<'_>,
        entity: &EntityRuntime,
        place: Place,
        gid: GlobalId,
    ) -> Result<()> {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.news.0.entry(place) {
            let record = overlay::confirmed_record(tx, entity, place.1, true)?;
            vacant.insert(Before { gid, record });
        }
        Ok(())
    }

    /// Tells the conflicts between what was confirmed since the last look and what is undecided.
    pub(super) fn tell_conflicts(&mut self, tx: &mut WriteTxn<'_>) -> Result<()> {
        if self.news.0.is_empty() {
            return Ok(());
        }
        let news = std::mem::take(&mut self.news.0);
        let mut afters = Vec::with_capacity(news.len());
        for &(of, id) in news.keys() {
            let entity = tx.inner().catalog.by_id(of);
            let entity =
                entity.ok_or_else(|| StoreError::internal("a pending object's entity is in the catalog"))?;
            afters.push(overlay::confirmed_record(tx, entity, id, true)?);
        }
        let mut changes = BTreeMap::new();
        for ((&place, before), after) in news.iter().zip(&afters) {
            let change = Change {
                before: state(tx, place, before.record.as_deref())?,
                after: state(tx, place, after.as_deref())?,
            };
            if change.is_of_others(tx) {
                changes.insert(place, change);
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let txs = undecided(tx, changes.keys())?;
        let mine = mine(tx, &txs, &changes)?;
        let mut found = Vec::new();
        for (place, mine) in &mine {
            let entity = tx.inner().catalog.by_id(place.0);
            let uid = entity.map(|entity| entity.def.uid).unwrap_or_default();
            let columns = tx.inner().sync.entity(place.0)?;
            changes[place].meet(tx, columns, mine, &mut |law, winner, own, theirs| {
                let written = own.registers.first().map(|register| register.stamp.hlc);
                let (hlc, number) = mine.at(written.filter(|_| law != ConflictLaw::Removed));
                let gid = news[place].gid;
                found.push(Found { entity: uid, gid, law, winner, number, hlc, mine: own, theirs });
            });
        }
        for found in found {
            self.applied.conflicts.push(conflicts::put(tx, found)?);
        }
        Ok(())
    }
}

fn state<'r>(tx: &WriteTxn<'_>, place: Place, record: Option<&'r [u8]>) -> Result<ObjectState<'r>> {
    match record {
        Some(record) => Ok(convert::state_of_record(tx, tx.inner().sync.entity(place.0)?, record)?.0),
        None => Ok(ObjectState::default()),
    }
}

/// The transactions that write these objects and whose verdict is not known to come before what was delivered.
fn undecided<'p>(tx: &WriteTxn<'_>, places: impl Iterator<Item = &'p Place>) -> Result<Vec<Vec<u8>>> {
    let mut numbers = BTreeSet::new();
    {
        let writer = tx.sync_writer()?;
        places.for_each(|&(entity, id)| numbers.extend(writer.pending.numbers(entity, id)));
    }
    // Once live, what was accepted leaves the outbox at its place: what comes before that place is older than it.
    let catching_up = meta::catching_up(tx)?;
    numbers.retain(|&number| !catching_up || !tx.is_decided(number));
    numbers.into_iter().map(|number| outbox::expect(tx, number)).collect()
}

fn mine<'t>(
    tx: &WriteTxn<'_>,
    txs: &'t [Vec<u8>],
    changes: &BTreeMap<Place, Change<'_>>,
) -> Result<BTreeMap<Place, Mine<'t>>> {
    let damaged = |e: DecodeError| StoreError::damaged("outbox", e);
    let mut all: BTreeMap<Place, Mine<'t>> = BTreeMap::new();
    for bytes in txs {
        let (head, block) = decode_tx(bytes).map_err(damaged)?;
        let stamp = Stamp::new(head.hlc, head.origin);
        for op in OpsReader::new(head.origin, block).map_err(damaged)? {
            let op = op.map_err(damaged)?;
            let Some(entity) = tx.inner().catalog.synced(op.entity) else { continue };
            let Some(id) = global_ids::local(tx, entity, op.gid)? else { continue };
            let place = (entity.def.id, id);
            if !changes.contains_key(&place) {
                continue;
            }
            let columns = tx.inner().sync.entity(entity.def.id)?;
            let mine = all.entry(place).or_default();
            merge_op(&mut mine.state, &op, columns.stamp(stamp, &op, None));
            mine.inserts |= op.kind == OpKind::Insert;
            if mine.txs.last() != Some(&(head.hlc, head.number)) {
                mine.txs.push((head.hlc, head.number));
            }
        }
    }
    Ok(all)
}

/// The side that wrote these.
fn edits(generation: Generation, registers: Vec<Register<'_>>) -> ObjectState<'_> {
    ObjectState { generation, exists: true, registers }
}

/// The side that removed the object.
fn removed(generation: Generation) -> ObjectState<'static> {
    ObjectState { generation, ..ObjectState::default() }
}

/// Whether others have changed a counter or set.
fn is_changed_by_others(tx: &WriteTxn<'_>, kind: Kind, before: Option<&[u8]>, now: &[u8]) -> bool {
    let known = before.map(|before| kind.stamps(before)).unwrap_or_default();
    kind.stamps(now).iter().any(|stamp| !tx.naming().was(stamp.peer) && !known.contains(stamp))
}

impl<'a> Change<'a> {
    /// Whether it brought anything that this store did not write itself, under this or a former name.
    fn is_of_others(&self, tx: &WriteTxn<'_>) -> bool {
        self.after.generation > self.before.generation || self.news(tx).next().is_some()
    }

    /// The registers that others wrote, later than what was known before.
    fn news<'s>(&'s self, tx: &'s WriteTxn<'_>) -> impl Iterator<Item = &'s Register<'a>> {
        let same = self.after.generation == self.before.generation;
        self.after.registers.iter().filter(move |register| {
            let before = self.before.register(register.uid).filter(|_| same);
            if let Some(kind) = Kind::of_type(register.ty) {
                let known = before.and_then(|before| before.cell.as_deref());
                let now = register.cell.as_deref();
                return is_changed_by_others(tx, kind, known, now.unwrap_or_default());
            }
            before.is_none_or(|before| before.stamp < register.stamp) && !tx.naming().was(register.stamp.peer)
        })
    }

    /// Holds what others wrote against what this store wrote.
    fn meet<'m>(
        &self,
        tx: &WriteTxn<'_>,
        columns: &SyncEntity,
        mine: &Mine<'m>,
        tell: &mut dyn FnMut(ConflictLaw, Side, ObjectState<'m>, ObjectState<'a>),
    ) {
        let (after, own) = (&self.after, &mine.state);
        // An update of an object of which nothing is confirmed was written when something was: it left, and may have come back.
        let was_known = self.before.exists || mine.inserts;
        let is_sure = |theirs: Stamp, own: u64| was_known || theirs.hlc > own;

        if after.generation > own.generation {
            // A restored server may bring back an object to which this store was the last to write: it has seen all that others wrote.
            let newest = after.registers.iter().map(|register| register.stamp).max_by_key(|stamp| stamp.hlc);
            let is_own_again = after.exists && newest.is_some_and(|newest| tx.naming().was(newest.peer));
            // Both have removed it where this store's writes end in a remove.
            if !is_own_again && (own.exists || !own.registers.is_empty()) {
                let theirs = if after.exists {
                    edits(after.generation, after.registers.clone())
                } else {
                    removed(after.generation)
                };
                let own = edits(own.generation, own.registers.clone());
                tell(ConflictLaw::Removed, Side::Theirs, own, theirs);
            }
        } else if own.generation > after.generation {
            let news = self.news(tx).filter(|theirs| is_sure(theirs.stamp, mine.at(None).0));
            let theirs: Vec<Register<'a>> = news.cloned().collect();
            if !theirs.is_empty() {
                let kept = match own.exists {
                    true => edits(own.generation, own.registers.clone()),
                    false => removed(own.generation),
                };
                tell(ConflictLaw::Removed, Side::Mine, kept, edits(after.generation, theirs));
            }
        } else {
            // One conflict for each pair of writes, not for each property.
            let mut pairs: Vec<(Stamp, Stamp, Vec<Register<'m>>, Vec<Register<'a>>)> = Vec::new();
            for theirs in self.news(tx) {
                // Of counters and sets both stand.
                if Kind::of_type(theirs.ty).is_some() {
                    continue;
                }
                let Some(own) = own.register(theirs.uid) else { continue };
                let shows_clock = columns.column(own.uid).is_some_and(|c| Some(c.slot) == columns.clock);
                if own.cell == theirs.cell || shows_clock || !is_sure(theirs.stamp, own.stamp.hlc) {
                    continue;
                }
                let same = pairs.iter_mut().find(|pair| (pair.0, pair.1) == (own.stamp, theirs.stamp));
                match same {
                    Some((_, _, mine, others)) => {
                        mine.push(own.clone());
                        others.push(theirs.clone());
                    }
                    None => pairs.push((own.stamp, theirs.stamp, vec![own.clone()], vec![theirs.clone()])),
                }
            }
            for (own, theirs, mine, others) in pairs {
                let winner = if own > theirs { Side::Mine } else { Side::Theirs };
                let generation = after.generation;
                tell(columns.law(own, theirs), winner, edits(generation, mine), edits(generation, others));
            }
        }
    }
}
