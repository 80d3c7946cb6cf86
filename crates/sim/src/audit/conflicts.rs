//! What a device tells as conflicts: each must be one in the history, and is told once.

use reconvene_store::{Conflict, ConflictLaw, Side, Store};

use super::device::DeviceAudit;
use super::truth::{Fate, Truth, TxRecord};
use crate::finding::{Finding, Outcome, check};

impl DeviceAudit {
    /// Notes that the application was told of conflicts, in the history of this epoch.
    pub(crate) fn told_conflicts(
        &mut self,
        store: &Store,
        truth: &Truth,
        epoch: u64,
        numbers: &[u64],
    ) -> Outcome<()> {
        let failed = |error| Finding::new("store readable", format!("{error}"));
        for &number in numbers {
            check(number > self.last_conflict, "conflicts told once", || {
                format!("conflict {number} was told after {}", self.last_conflict)
            })?;
            self.last_conflict = number;
            let conflict = store.sync().conflict(number).map_err(failed)?;
            let Some(conflict) = conflict else {
                return Err(Finding::new("conflicts are kept", format!("conflict {number} is not there")));
            };
            self.check_conflict(truth, epoch, &conflict)
                .map_err(|finding| Finding::new(finding.law, format!("{}: {conflict:?}", finding.what)))?;
        }
        Ok(())
    }

    fn check_conflict(&self, truth: &Truth, epoch: u64, conflict: &Conflict) -> Outcome<()> {
        let law = "conflicts are what they say";
        let Conflict { mine, theirs, .. } = conflict;
        let is_remove = mine.removed || theirs.removed || conflict.law == ConflictLaw::Removed;
        let differ = mine.values.len() == theirs.values.len()
            && mine
                .values
                .iter()
                .zip(&theirs.values)
                .all(|(own, other)| own.0 == other.0 && own.1 != other.1);
        check(is_remove || (differ && !mine.values.is_empty()), law, || {
            "the values do not differ".to_owned()
        })?;
        let dates = (mine.written_ms, theirs.written_ms);
        let by_date = match (conflict.law, conflict.winner) {
            (ConflictLaw::Later, Side::Mine) => dates.0 >= dates.1,
            (ConflictLaw::Later, Side::Theirs) => dates.0 <= dates.1,
            (ConflictLaw::Tie, _) => dates.0 == dates.1,
            _ => true,
        };
        check(by_date, law, || "the dates say otherwise".to_owned())?;
        // A copy of the device that keeps its former name may have made the object again.
        let is_former = |peer| self.left(peer) && conflict.law != ConflictLaw::Removed;
        let is_own = theirs.peer.is_some_and(|peer| peer == self.peer || is_former(peer));
        check(!is_own, law, || "both writes are of this device".to_owned())?;

        // What was written under a former name, or in a history that was lost, is numbered otherwise.
        let is_here = self.epoch == epoch && !self.has_lost;
        let number = conflict.transaction.checked_sub(self.issued).filter(|_| is_here);
        let Some(number) = number.filter(|&number| number > 0) else { return Ok(()) };
        let own = self.txs.get(number as usize - 1);
        let of_kind = |tx: &TxRecord| tx.ops.iter().any(|op| op.key.kind.name() == conflict.entity);
        let Some(own) = own.filter(|own| of_kind(own)) else {
            return Err(Finding::new(law, format!("transaction {number} wrote no such object")));
        };
        let (Some(peer), Some(written_ms)) = (theirs.peer, theirs.written_ms) else { return Ok(()) };
        let seq = |fate: &Fate| match fate {
            Fate::Accepted { seq, .. } => Some(*seq),
            _ => None,
        };
        let meets = |tx: &TxRecord| {
            let writes = |key| tx.ops.iter().any(|op| op.key == key);
            tx.hlc >> 16 == written_ms && own.ops.iter().any(|op| writes(op.key))
        };
        let others = truth.decided(peer).iter().filter(|decided| meets(&decided.tx));
        let places: Vec<u64> = others.filter_map(|decided| seq(&decided.fate)).collect();
        check(!places.is_empty(), law, || "nobody wrote the other side".to_owned())?;
        check(places.iter().any(|&place| place > own.floor), law, || {
            format!("at {places:?} it was here when transaction {number} was written, at {}", own.floor)
        })?;
        let own_place = truth.decided(self.peer).get(number as usize - 1).and_then(|own| seq(&own.fate));
        check(own_place.is_none_or(|own| places.iter().any(|&place| place < own)), law, || {
            format!("at {places:?} its author may have seen transaction {number}, at {own_place:?}")
        })
    }
}
