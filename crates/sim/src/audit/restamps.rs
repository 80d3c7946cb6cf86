//! Dating unsent transactions anew: which ones a device may change, and how.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::rc::Rc;

use super::device::DeviceAudit;
use super::truth::{DRIFT_MS, Key, TxRecord};
use crate::finding::{Finding, Outcome, check};
use reconvene_store::Store;

impl DeviceAudit {
    /// Notes that a transaction was given to the network.
    pub(crate) fn sent(&mut self, number: u64) {
        self.sent = self.sent.max(number);
    }

    /// Takes over what the device has dated anew; the objects concerned. `now_ms` is server time.
    pub(crate) fn restamped(&mut self, store: &Store, now_ms: u64) -> Outcome<BTreeSet<Key>> {
        let failed = |error| Finding::new("store readable", format!("{error}"));
        let login = store.sync().login_state().map_err(failed)?;
        let Some(last) = self.txs.last() else { return Ok(BTreeSet::new()) };
        if login.last_number != last.number || login.last_hash == last.hash {
            return Ok(BTreeSet::new());
        }
        let mut keys = BTreeSet::new();
        for row in store.sync().outbox(0, usize::MAX, usize::MAX).map_err(failed)? {
            let new = TxRecord::read(&row.bytes)?;
            let old = self.txs.get((row.number - 1) as usize);
            if old.is_some_and(|old| old.hash != new.hash) {
                keys.extend(self.redate(new, now_ms..=now_ms, true)?);
            }
        }
        Ok(keys)
    }

    /// Takes over one transaction that was dated anew, when server time was in this range; the objects concerned. `in_a_row` says whether
    /// the one before it tells how early it may be dated, if that was not sent.
    pub(crate) fn redate(
        &mut self,
        new: TxRecord,
        now_ms: RangeInclusive<u64>,
        in_a_row: bool,
    ) -> Outcome<BTreeSet<Key>> {
        let number = new.number;
        let Some(old) = self.txs.get((number - 1) as usize) else { return Ok(BTreeSet::new()) };
        check(number > self.sent && number > self.decided, "the outbox is frozen", || {
            format!("transaction {number} was sent, and changed after that")
        })?;
        let before = (number > 1).then(|| &self.txs[(number - 2) as usize]);
        let follows = new.peer == old.peer
            && new.previous == before.map_or(reconvene_model::TxHash::NONE, |before| before.hash);
        check(follows && new.ops == old.ops, "only dates change", || {
            format!("transaction {number} was {old:?} and is {new:?}")
        })?;
        let (was_ms, is_ms) = (old.hlc >> 16, new.hlc >> 16);
        // What was sent and not taken says nothing of those that follow.
        let before = before.filter(|before| in_a_row && before.number > self.sent);
        let is_from_first = before.is_none_or(|before| before.hlc < new.hlc) && new.hlc < old.hlc;
        check(
            is_from_first && was_ms > *now_ms.start() && is_ms <= *now_ms.end() + DRIFT_MS,
            "dated anew by the law",
            || format!("transaction {number}, dated {was_ms}, was dated {is_ms} at {now_ms:?}"),
        )?;
        let keys = new.ops.iter().map(|op| op.key).collect();
        self.txs[(number - 1) as usize] = Rc::new(new);
        Ok(keys)
    }
}
