//! On a server: removals are forgotten once every device has had long enough to hear of them.
//!
//! When a position of the history was reached is known from marks, a few of which are set while a removal is kept. What is older than
//! that is looked at once, in the order of the history and a bounded number of rows at a time; the highest removal that was forgotten
//! is the **horizon**. A device whose cursor lies below it cannot catch up: it compares.

use std::ops::Bound;
use std::sync::Arc;

use reconvene_model::compare::CompareKey;
use reconvene_model::planted::{Planted, planted};
use reconvene_model::record::{EMPTY_TABLE, Record, SyncHeader};
use reconvene_model::{EntityId, ObjectId, Seq};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::keys;
use crate::seam::{Direction, Reader};
use crate::sync::convert::CatalogLookup;
use crate::sync::meta::{self, MetaTable};
use crate::sync::{SyncState, global_ids};
use crate::txn::WriteTxn;

/// How many rows of the history one transaction looks at.
pub const EXPIRY_STEP_ROWS: usize = 1_024;

/// How many marks are set while a removal is kept: by one part in so many it may be kept for longer.
const MARKS_PER_TERM: u64 = 64;

/// The most marks that are kept; more of them only come of a clock that was set.
const MARKS_MAX: usize = 256;

/// What one step of forgetting did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expired {
    /// Objects of which nothing is known any more.
    pub forgotten: Vec<CompareKey>,
    /// How many removals are no longer told to devices, those among them.
    pub removals: u64,
    /// Whether there may be more to forget at once.
    pub is_more: bool,
}

/// What a server has forgotten so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expiry {
    /// The highest position of a removal that was forgotten; devices whose cursor is below it compare.
    pub horizon: Seq,
    /// How many removals were forgotten.
    pub forgotten: u64,
    /// How many are kept.
    pub kept: u64,
}

/// How far the history has been looked through.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    pub(crate) horizon: Seq,
    pub(crate) forgotten: u64,
    /// The last row that was looked at.
    pub(crate) at: (Seq, EntityId, ObjectId),
}

/// When the head of the history was where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) ms: u64,
    pub(crate) seq: Seq,
}

/// What is forgotten, and what is still kept.
pub(crate) fn expiry<R: Reader>(
    tx: &(impl CatalogLookup + MetaTable),
    reader: &R,
    sync: &SyncState,
) -> Result<Expiry> {
    let swept = meta::swept(tx)?;
    let mut kept = reader.count(sync.tables.changes)?;
    for entity in tx.catalog().entities().filter(|entity| entity.def.is_synced()) {
        kept = kept.saturating_sub(reader.count(entity.objects)?);
    }
    Ok(Expiry { horizon: swept.horizon, forgotten: swept.forgotten, kept })
}

/// Whether a step has anything to do, so that nothing is written for nothing.
pub(crate) fn is_due(tx: &impl MetaTable, now_ms: u64, term_ms: u64) -> Result<bool> {
    let marks = meta::marks(tx)?;
    let due = due(&marks, now_ms, term_ms)
        .is_some_and(|upto| meta::swept(tx).map_or(true, |swept| swept.at.0 < upto));
    Ok(due || marked(&marks, meta::head(tx)?, now_ms, term_ms).is_some())
}

/// The position up to which everything is older than the term.
fn due(marks: &[Mark], now_ms: u64, term_ms: u64) -> Option<Seq> {
    let old = |mark: &&Mark| mark.ms.saturating_add(term_ms) <= now_ms;
    marks.iter().rev().find(old).map(|mark| mark.seq)
}

/// The marks with one for this moment, if there is to be one.
fn marked(marks: &[Mark], head: Seq, now_ms: u64, term_ms: u64) -> Option<Vec<Mark>> {
    // A clock that was ahead has set marks that say nothing; those from before it was set right still hold.
    let mut sound: Vec<Mark> = marks.iter().copied().filter(|mark| mark.ms <= now_ms).collect();
    let last = sound.last();
    let is_early = last.is_some_and(|last| last.ms.saturating_add(term_ms / MARKS_PER_TERM) > now_ms);
    let is_known = last.is_some_and(|last| last.seq == head);
    if (is_early || is_known) && sound.len() == marks.len() {
        return None;
    }
    if !is_known {
        sound.push(Mark { ms: now_ms, seq: head });
    }
    let surplus = sound.len().saturating_sub(MARKS_MAX);
    sound.drain(..surplus);
    Some(sound)
}

/// Sets a mark if one is due, and looks through the next rows of what is older than the term.
pub(crate) fn step(tx: &mut WriteTxn<'_>, now_ms: u64, term_ms: u64) -> Result<Expired> {
    let mut marks = meta::marks(tx)?;
    if let Some(more) = marked(&marks, meta::head(tx)?, now_ms, term_ms) {
        marks = more;
        meta::put_marks(tx, &marks)?;
    }
    let Some(upto) = due(&marks, now_ms, term_ms) else { return Ok(Expired::default()) };
    let mut swept = meta::swept(tx)?;
    let (seq, entity, id) = swept.at;
    let (after, last) =
        (keys::change_key(seq, entity, id), keys::change_key(upto, EntityId(u32::MAX), ObjectId::MAX));
    if after >= last {
        return Ok(Expired::default());
    }
    let range = (Bound::Excluded(&after[..]), Bound::Included(&last[..]));
    let table = tx.inner().sync.tables.changes;
    let mut rows = Vec::new();
    for row in tx.engine_tx().range(table, range, Direction::Forward)?.take(EXPIRY_STEP_ROWS) {
        rows.push(keys::change(row?.0)?);
    }
    let mut expired = Expired { is_more: rows.len() == EXPIRY_STEP_ROWS, ..Expired::default() };
    for &(seq, entity, id) in &rows {
        if forget(tx, seq, entity, id, &mut expired)? && !planted(Planted::HorizonStays) {
            swept.horizon = swept.horizon.max(seq);
        }
    }
    swept.forgotten += expired.removals;
    swept.at = match rows.last() {
        Some(&row) if expired.is_more => row,
        _ => (upto, EntityId(u32::MAX), ObjectId::MAX),
    };
    meta::put_swept(tx, &swept)?;
    // Of the marks that are old enough only the newest says anything from here on.
    let old = marks.iter().rposition(|mark| mark.seq <= upto).unwrap_or(0);
    if !expired.is_more && old > 0 {
        meta::put_marks(tx, &marks[old..])?;
    }
    Ok(expired)
}

/// Forgets a removal; false for an object that exists, and for an id that can be given again: its generation must not begin anew.
fn forget(
    tx: &mut WriteTxn<'_>,
    seq: Seq,
    entity: EntityId,
    id: ObjectId,
    expired: &mut Expired,
) -> Result<bool> {
    let catalog = &tx.inner().catalog;
    let entity: Arc<EntityRuntime> = catalog
        .by_id(entity)
        .cloned()
        .ok_or_else(|| StoreError::damaged("changes", format!("unknown entity {entity}")))?;
    let Some(record) = tx.absent_record(&entity, id)? else { return Ok(false) };
    if entity.def.has_self_assigned_ids() {
        return Ok(false);
    }
    let damaged = |error| StoreError::damaged("record", error);
    let header = match Record::parse(record).map_err(damaged)?.header {
        Some(header) => header.parse().map_err(damaged)?,
        None => return Ok(false),
    };
    let gid = global_ids::global(tx, &entity, id)?;
    let (changes, of) = (tx.inner().sync.tables.changes, entity.def.id);
    tx.delete_raw(changes, &keys::change_key(seq, of, id))?;
    expired.removals += 1;
    let is_linked_to = catalog.entities().any(|other| other.links.iter().any(|&(_, target)| target == of));
    if is_linked_to {
        // A link may still name it, and must not come to mean another object.
        let header = SyncHeader { gid: header.gid, generation: header.generation, ..SyncHeader::default() };
        let mut record = Vec::new();
        header.write_record(EMPTY_TABLE, &mut record);
        tx.put_absent(&entity, id, Some(&record))?;
        return Ok(true);
    }
    tx.put_absent(&entity, id, None)?;
    if let Some(table) = entity.global_ids {
        tx.delete_raw(table, &gid.to_bytes())?;
    }
    expired.forgotten.push(CompareKey::new(entity.def.uid, gid));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(marks: &[(u64, u64)]) -> Vec<Mark> {
        marks.iter().map(|&(ms, seq)| Mark { ms, seq: Seq(seq) }).collect()
    }

    #[test]
    fn marks_are_set_now_and_then_and_tell_what_is_old() {
        let term = 6_400;
        assert_eq!(marked(&[], Seq(3), 1_000, term), Some(marks(&[(1_000, 3)])));
        let one = marks(&[(1_000, 3)]);
        assert_eq!(marked(&one, Seq(4), 1_099, term), None, "too early");
        assert_eq!(marked(&one, Seq(3), 9_000, term), None, "nothing has happened");
        assert_eq!(marked(&one, Seq(4), 1_100, term), Some(marks(&[(1_000, 3), (1_100, 4)])));
        let two = marks(&[(1_000, 3), (1_100, 4)]);
        assert_eq!(due(&two, 7_399, term), None);
        assert_eq!(due(&two, 7_400, term), Some(Seq(3)));
        assert_eq!(due(&two, 8_000, term), Some(Seq(4)));
    }

    #[test]
    fn a_clock_that_is_set_back_takes_its_marks_back() {
        let set = marks(&[(1_000, 3), (900_000, 4)]);
        assert_eq!(marked(&set, Seq(5), 2_000, 6_400), Some(marks(&[(1_000, 3), (2_000, 5)])));
        assert_eq!(marked(&set, Seq(5), 1_001, 6_400), Some(marks(&[(1_000, 3), (1_001, 5)])));
    }
}
