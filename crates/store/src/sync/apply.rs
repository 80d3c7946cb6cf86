//! What a server delivered, applied in the order in which it came, in one transaction.

use std::collections::BTreeSet;
use std::sync::Arc;

use reconvene_model::change::{Op, OpKind, OpsReader, TxHead, decode_tx};
use reconvene_model::codec::DecodeError;
use reconvene_model::merge::merge_op;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::state::{ObjectState, Register, StateEntry, StatesReader};
use reconvene_model::{ObjectId, PeerId, Seq, Stamp, TxNumber};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::seam::Reader;
use crate::sync::global_ids;
use crate::sync::inserts::Inserts;
use crate::sync::overlay::{self, Place};
use crate::sync::rejected::{self, Cause};
use crate::sync::renew::Fork;
use crate::sync::updates::Updates;
use crate::sync::{convert, meta, outbox};
use crate::txn::WriteTxn;

mod compared;
mod delivery;
mod news;

pub use delivery::{Applied, Delivery, LostOp, Verdict};

use compared::{Login, Lost};
use news::News;

/// Applies deliveries in order.
pub(crate) fn apply(tx: &mut WriteTxn<'_>, deliveries: &[Delivery<'_>]) -> Result<Applied> {
    let mut applier = Applier::default();
    for delivery in deliveries {
        applier.deliver(tx, delivery)?;
    }
    applier.finish(tx)
}

/// Settles what this store and a server have in common before they part, as if the place of each transaction had been told.
///
/// What is confirmed by that lies beyond the cursor; the catch-up from there brings all of it as it is at the server.
pub(crate) fn settle_common(tx: &mut WriteTxn<'_>, fork: &Fork<'_>) -> Result<Applied> {
    let mut applier = Applier::default();
    for (number, verdict) in fork.verdicts.iter().filter(|(number, _)| *number <= fork.common) {
        applier.verdict(tx, *number, verdict)?;
    }
    if fork.common > meta::decided(tx)? {
        meta::put_decided(tx, fork.common)?;
    }
    let common = outbox::rows(tx, 0)?.map(|row| row.map(|row| row.number));
    let common = common.take_while(|number| number.as_ref().map_or(true, |&number| number <= fork.common));
    for number in common.collect::<Result<Vec<TxNumber>>>()? {
        applier.confirm_own(tx, None, fork.decided_seq, number)?;
    }
    applier.finish(tx)
}

#[derive(Default)]
struct Applier {
    /// Objects with undecided transactions whose confirmed state changed: their visible state is out of date.
    dirty: BTreeSet<Place>,
    /// What was confirmed of them before.
    news: News,
    applied: Applied,
    inserts: Inserts,
    updates: Updates,
    /// The largest clock reading seen among what the server accepted.
    hlc: u64,
    /// Whether these deliveries took the cursor into another history.
    elsewhere: bool,
    /// What a restored server has lost, to be kept for the application.
    lost: Lost,
}

impl Applier {
    /// What remains to be done after the last delivery.
    fn finish(mut self, tx: &mut WriteTxn<'_>) -> Result<Applied> {
        self.flush(tx)?;
        self.keep_lost(tx)?;
        if self.hlc > 0 {
            let hlc = self.hlc;
            let last = tx.sync_writer_mut(|writer| {
                if !planted(Planted::ClockDeaf) {
                    writer.clock.observe(hlc);
                }
                writer.clock.last()
            })?;
            meta::put_clock(tx, last)?;
            if hlc > meta::seen(tx)? {
                meta::put_seen(tx, hlc)?;
            }
        }
        self.applied.decided = meta::decided(tx)?;
        Ok(self.applied)
    }

    fn deliver(&mut self, tx: &mut WriteTxn<'_>, delivery: &Delivery<'_>) -> Result<()> {
        match delivery {
            &Delivery::Login { epoch, view, decided, decided_seq, rebased, compare } => {
                self.login(tx, &Login { epoch, view, decided, decided_seq, rebased, compare })
            }
            Delivery::Continued { former, epoch } => {
                self.elsewhere = true;
                continued(tx, *former, *epoch)
            }
            Delivery::Push { seq, origin, hlc, ops } => {
                self.push(tx, *seq, *origin, *hlc, ops)?;
                self.advance(tx, *seq)
            }
            Delivery::Own { seq, number } => {
                self.flush(tx)?;
                self.own(tx, *seq, *number)?;
                self.advance(tx, *seq)
            }
            Delivery::States { block, upto } => {
                meta::put_catching_up(tx, !planted(Planted::CatchUpUnmarked))?;
                self.states(tx, block)?;
                self.reach(tx, *upto)?;
                if planted(Planted::SettledWithinCatchUp) {
                    self.settle(tx, *upto)?;
                }
                self.flush(tx)
            }
            Delivery::Within { resume } => meta::put_resume(tx, resume),
            Delivery::CatchUpDone { seq } => {
                self.reach(tx, *seq)?;
                self.settle(tx, *seq)?;
                if meta::keeps_after_compare(tx)? {
                    meta::end_compare(tx, false)?;
                }
                meta::put_catching_up(tx, false)
            }
            Delivery::Fetched { block } => self.fetched(tx, block),
            Delivery::Extra { range } => self.extra(tx, range),
            Delivery::Compared { seq } => self.compared(tx, *seq),
            Delivery::Verdict { number, verdict } => {
                self.flush(tx)?;
                self.verdict(tx, *number, verdict)
            }
        }
    }

    fn login(&mut self, tx: &mut WriteTxn<'_>, login: &Login) -> Result<()> {
        self.enter_history(tx, login)?;
        if let Some(known) = login.rebased.filter(|_| !planted(Planted::LostDecisionsKept)) {
            self.lose_decided(tx, known, login.decided)?;
        }
        let undecided: Vec<TxNumber> = outbox::rows(tx, 0)?
            .map(|row| row.map(|row| row.number))
            .take_while(|number| {
                number.as_ref().map_or(true, |&number| number <= login.decided)
                    || planted(Planted::OutboxDroppedAtLogin)
            })
            .collect::<Result<_>>()?;
        for number in undecided {
            // A place in a history that is lost says nothing of this one.
            if self.elsewhere || !tx.is_decided(number) {
                tx.note_decided(number, Some(login.decided_seq));
            }
        }
        if login.decided > meta::decided(tx)? {
            meta::put_decided(tx, login.decided)?;
        }
        Ok(())
    }

    /// Moves the cursor over one pushed transaction.
    fn advance(&mut self, tx: &mut WriteTxn<'_>, seq: Seq) -> Result<()> {
        let mut cursor = meta::cursor(tx)?;
        if seq <= cursor.seq {
            return Err(StoreError::Disorder { at: cursor.seq, got: seq });
        }
        cursor.seq = seq;
        meta::put_cursor(tx, cursor)
    }

    /// Moves the cursor to where a catch-up has come.
    fn reach(&mut self, tx: &mut WriteTxn<'_>, seq: Seq) -> Result<()> {
        let mut cursor = meta::cursor(tx)?;
        if seq < cursor.seq {
            return Err(StoreError::Disorder { at: cursor.seq, got: seq });
        }
        cursor.seq = seq;
        meta::put_cursor(tx, cursor)
    }

    /// Settles the own transactions that lie before the end of a catch-up.
    ///
    /// Not before: an object stands in the history where it was last changed, so a chunk that reaches the place of a
    /// transaction need not have brought what the transaction wrote.
    fn settle(&mut self, tx: &mut WriteTxn<'_>, seq: Seq) -> Result<()> {
        self.flush(tx)?;
        let mut dirty = BTreeSet::new();
        for number in tx.decided_up_to(seq) {
            dirty.extend(self.leave_outbox(tx, number, true)?);
        }
        overlay::recompute(tx, &dirty)
    }

    fn flush(&mut self, tx: &mut WriteTxn<'_>) -> Result<()> {
        self.tell_conflicts(tx)?;
        overlay::recompute(tx, &std::mem::take(&mut self.dirty))
    }

    fn push(
        &mut self,
        tx: &mut WriteTxn<'_>,
        seq: Seq,
        origin: PeerId,
        hlc: u64,
        block: &[u8],
    ) -> Result<()> {
        let stamp = Stamp::new(hlc, origin);
        self.hlc = self.hlc.max(hlc);
        let mut ops = OpsReader::new(origin, block).map_err(StoreError::bad_delivery)?;
        let mut op = Op::default();
        while ops.read_into(&mut op).map_err(StoreError::bad_delivery)? {
            let Some(entity) = synced(tx, op.entity) else {
                self.applied.skipped += 1;
                continue;
            };
            let stamp = tx.sync_entity(&entity)?.stamp(stamp, &op, Some(seq));
            self.push_op(tx, &entity, &op, stamp)?;
            if planted(Planted::HalfTransaction) {
                break;
            }
            self.applied.objects += 1;
        }
        Ok(())
    }

    fn push_op(
        &mut self,
        tx: &mut WriteTxn<'_>,
        entity: &Arc<EntityRuntime>,
        op: &Op<'_>,
        stamp: Stamp,
    ) -> Result<()> {
        if op.kind == OpKind::Update
            && let Some(id) = self.updates.guess(entity, op.gid)
            && !tx.sync_writer()?.pending.contains(entity.def.id, id)
        {
            let columns = tx.sync_entity(entity)?;
            if self.updates.merge(tx, entity, columns, id, op, stamp, true)? {
                return Ok(());
            }
        }
        let Some(id) = global_ids::named_by_peer(tx, entity, op.gid)? else {
            let columns = tx.sync_entity(entity)?;
            if self.inserts.takes(tx, entity, columns, op) {
                return self.inserts.put(tx, entity, op, stamp, None);
            }
            // What this store never heard of can only come to be by an insert.
            if op.kind == OpKind::Insert {
                let id = global_ids::assign(tx, entity, op.gid)?;
                let state = inserted(op, stamp);
                overlay::put_visible(tx, entity, id, op.gid, None, &state)?;
            }
            return Ok(());
        };
        if !entity.def.has_shared_ids() && !tx.naming().is_own(entity.def.id, op.gid) {
            self.updates.found(entity, op.gid, id);
        }
        let pending = tx.sync_writer()?.pending.contains(entity.def.id, id);
        let columns = tx.sync_entity(entity)?;
        if !pending && self.updates.merge(tx, entity, columns, id, op, stamp, false)? {
            return Ok(());
        }
        let record = overlay::confirmed_record(tx, entity, id, pending)?;
        let mut state = match &record {
            Some(record) => convert::state_of_record(tx, columns, record)?.0,
            None => ObjectState::default(),
        };
        merge_op(&mut state, op, stamp);
        self.put(tx, entity, id, op.gid, pending, &state)
    }

    fn put(
        &mut self,
        tx: &mut WriteTxn<'_>,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        gid: reconvene_model::GlobalId,
        pending: bool,
        state: &ObjectState<'_>,
    ) -> Result<()> {
        if pending {
            self.note_before(tx, entity, (entity.def.id, id), gid)?;
            self.dirty.insert((entity.def.id, id));
            overlay::put_confirmed(tx, entity, id, gid, state)
        } else {
            overlay::put_visible(tx, entity, id, gid, None, state)
        }
    }

    fn states(&mut self, tx: &mut WriteTxn<'_>, block: &[u8]) -> Result<()> {
        let is_kept = meta::keeps_after_compare(tx)?;
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
            if is_kept {
                let before = overlay::confirmed_record(tx, &entity, id, pending)?;
                self.keep_undone(tx, &entity, before.as_deref(), &entry)?;
            }
            self.put(tx, &entity, id, entry.gid, pending, &entry.state)?;
            self.applied.objects += 1;
        }
        Ok(())
    }

    /// Lets a transaction of this store become confirmed at its place among all others.
    fn own(&mut self, tx: &mut WriteTxn<'_>, seq: Seq, number: TxNumber) -> Result<()> {
        self.confirm_own(tx, Some(seq), seq, number)
    }

    /// Lets a transaction of this store become confirmed, at this place or somewhere up to there.
    ///
    /// What readers see stays as it is: the same ops merge, only one step earlier. But where the place ranks a write, it is now
    /// known, and writes that are undecided still may rank above it.
    fn confirm_own(
        &mut self,
        tx: &mut WriteTxn<'_>,
        seq: Option<Seq>,
        upto: Seq,
        number: TxNumber,
    ) -> Result<()> {
        let Some(bytes) = outbox::get(tx, number)? else {
            return Err(StoreError::NotOurs { number });
        };
        // With the transaction its data goes; the verdict, which may name ops that were lost, must have come before.
        if number > meta::decided(tx)? {
            return Err(StoreError::VerdictMissing { number });
        }
        let (head, block) = decode_tx(&bytes).map_err(|e| StoreError::damaged("outbox", e))?;
        let stamp = Stamp::new(head.hlc, head.origin);
        self.hlc = self.hlc.max(head.hlc);
        let mut ops = OpsReader::new(head.origin, block).map_err(|e| StoreError::damaged("outbox", e))?;
        let mut places = Vec::new();
        let mut op = Op::default();
        while ops.read_into(&mut op).map_err(|e| StoreError::damaged("outbox", e))? {
            let Some(entity) = synced(tx, op.entity) else { continue };
            let Some(id) = global_ids::local(tx, &entity, op.gid)? else { continue };
            let place = (entity.def.id, id);
            places.push(place);
            self.applied.objects += 1;
            let columns = tx.sync_entity(&entity)?;
            if columns.is_by_arrival() {
                self.dirty.insert(place);
            }
            let others = tx.sync_writer()?.pending.numbers(place.0, place.1).any(|other| other != number);
            if !others && !columns.is_by_arrival() {
                continue;
            }
            let record = overlay::confirmed_record(tx, &entity, id, true)?;
            let mut state = match &record {
                Some(record) => convert::state_of_record(tx, columns, record)?.0,
                None => ObjectState::default(),
            };
            // At an unknown place a catch-up may have brought the write, and later ones that rank above it. No rank decides on
            // removes, and an object that is not there has not come yet.
            let is_due = op.kind == OpKind::Remove || !state.exists || op.generation > state.generation;
            if columns.is_by_arrival() && seq.is_none() && !is_due {
                continue;
            }
            merge_op(&mut state, &op, columns.stamp(stamp, &op, Some(upto)));
            overlay::put_confirmed(tx, &entity, id, op.gid, &state)?;
        }
        self.forget(tx, number, &places)?;
        if tx.engine_tx().count(tx.inner().sync.tables.confirmed)? == 0 {
            places.clear();
        }
        for place in places {
            if !self.dirty.contains(&place) && !tx.sync_writer()?.pending.contains(place.0, place.1) {
                overlay::delete_confirmed(tx, place)?;
            }
        }
        self.applied.settled += 1;
        self.flush(tx)
    }

    fn verdict(&mut self, tx: &mut WriteTxn<'_>, number: TxNumber, verdict: &Verdict) -> Result<()> {
        if let Some(bytes) = outbox::get(tx, number)? {
            match verdict {
                Verdict::Accepted { seq, lost } => {
                    if !lost.is_empty() {
                        rejected::put(tx, number, Cause::Lost(lost), &bytes)?;
                        self.applied.rejected.push(rejected::handle(tx, number));
                        // A compare takes objects away and says nothing of their generations.
                        if !planted(Planted::LostOpsUnburied) {
                            self.bury(tx, &bytes, lost)?;
                            self.flush(tx)?;
                        }
                    }
                    if planted(Planted::CursorMovedByVerdict) && *seq > meta::cursor(tx)?.seq {
                        self.reach(tx, *seq)?;
                    }
                    tx.note_decided(number, Some(*seq));
                    // A catch-up may have brought the transaction before its verdict; one that goes on settles it at its end.
                    if *seq <= meta::cursor(tx)?.seq && !meta::catching_up(tx)? {
                        let dirty = self.leave_outbox(tx, number, true)?;
                        overlay::recompute(tx, &dirty)?;
                    }
                }
                Verdict::Refused { code, op, message } => {
                    if !planted(Planted::RefusedWriteLost) {
                        rejected::put(tx, number, Cause::Refused { code: *code, op: *op, message }, &bytes)?;
                    }
                    self.reject(tx, number)?;
                }
                Verdict::Superseded { lost } => {
                    rejected::put(tx, number, Cause::Superseded(lost), &bytes)?;
                    if !planted(Planted::TombstoneUntold) {
                        self.bury(tx, &bytes, lost)?;
                    }
                    self.reject(tx, number)?;
                }
            }
        }
        if number > meta::decided(tx)? {
            meta::put_decided(tx, number)?;
        }
        Ok(())
    }

    fn reject(&mut self, tx: &mut WriteTxn<'_>, number: TxNumber) -> Result<()> {
        self.flush(tx)?;
        let dirty = self.leave_outbox(tx, number, false)?;
        self.applied.rejected.push(rejected::handle(tx, number));
        if planted(Planted::RefusedWriteKept) {
            return Ok(());
        }
        overlay::recompute(tx, &dirty)
    }

    /// Records the generation that swallowed an op, so that the next write to the object names it.
    fn bury(&mut self, tx: &mut WriteTxn<'_>, bytes: &[u8], lost: &[LostOp]) -> Result<()> {
        for (at, (_, op)) in ops_of(bytes)?.into_iter().enumerate() {
            let Some(lost) = lost.iter().find(|lost| lost.op as usize == at) else { continue };
            let Some(entity) = synced(tx, op.entity) else { continue };
            let Some(id) = global_ids::local(tx, &entity, op.gid)? else { continue };
            let columns = tx.sync_entity(&entity)?;
            let record = overlay::confirmed_record(tx, &entity, id, true)?;
            let generation = match &record {
                Some(record) => convert::state_of_record(tx, columns, record)?.0.generation,
                None => 0,
            };
            if generation < lost.generation {
                self.note_before(tx, &entity, (entity.def.id, id), op.gid)?;
                let tombstone = ObjectState { generation: lost.generation, ..ObjectState::default() };
                overlay::put_confirmed(tx, &entity, id, op.gid, &tombstone)?;
                self.dirty.insert((entity.def.id, id));
            }
        }
        Ok(())
    }

    /// Takes a decided transaction out of the outbox; the objects it wrote are to be computed anew.
    fn leave_outbox(
        &mut self,
        tx: &mut WriteTxn<'_>,
        number: TxNumber,
        is_taken: bool,
    ) -> Result<BTreeSet<Place>> {
        let Some(bytes) = outbox::get(tx, number)? else {
            tx.note_decided(number, None);
            return Ok(BTreeSet::new());
        };
        let mut places = Vec::new();
        let accepted = tx.is_decided(number);
        for (head, op) in ops_of(&bytes)? {
            if accepted {
                self.hlc = self.hlc.max(head.hlc);
            }
            let Some(entity) = synced(tx, op.entity) else { continue };
            if let Some(id) = global_ids::local(tx, &entity, op.gid)? {
                places.push((entity.def.id, id));
                if is_taken && op.kind == OpKind::Remove {
                    compared::remember_removed(tx, &entity, id, &op)?;
                }
            }
        }
        self.forget(tx, number, &places)?;
        self.applied.settled += 1;
        Ok(places.into_iter().collect())
    }

    fn forget(&mut self, tx: &mut WriteTxn<'_>, number: TxNumber, places: &[Place]) -> Result<()> {
        tx.sync_writer_mut(|writer| {
            for &(entity, id) in places {
                writer.pending.remove(entity, id, number);
            }
        })?;
        tx.note_decided(number, None);
        outbox::delete(tx, number)
    }
}

/// Takes the cursor over into another epoch of the same history.
fn continued(tx: &mut WriteTxn<'_>, former: u64, epoch: u64) -> Result<()> {
    let cursor = meta::cursor(tx)?;
    // A catch-up that was cut short may have brought more than the cursor says, and the server may have lost it.
    if cursor.epoch == former && !meta::catching_up(tx)? {
        meta::put_cursor(tx, meta::Cursor { epoch, ..cursor })?;
    }
    Ok(())
}

fn synced(tx: &WriteTxn<'_>, uid: reconvene_model::Uid) -> Option<Arc<EntityRuntime>> {
    tx.inner().catalog.by_uid(uid).filter(|entity| entity.def.is_synced()).cloned()
}

/// The state of an object of which nothing is known but this insert.
pub(crate) fn inserted<'a>(op: &Op<'a>, stamp: Stamp) -> ObjectState<'a> {
    let mut state = ObjectState {
        generation: op.generation,
        exists: true,
        registers: Vec::with_capacity(op.cells.len()),
    };
    for cell in &op.cells {
        state.registers.extend(Register::written(cell, stamp));
    }
    state.registers.sort_by_key(|register| register.uid);
    state
}

/// The ops of one of this store's own transactions.
pub(crate) fn ops_of(bytes: &[u8]) -> Result<Vec<(TxHead, Op<'_>)>> {
    let damaged = |e: DecodeError| StoreError::damaged("outbox", e);
    let (head, block) = decode_tx(bytes).map_err(damaged)?;
    let ops = OpsReader::new(head.origin, block).map_err(damaged)?;
    ops.map(|op| op.map(|op| (head, op)).map_err(damaged)).collect()
}
