//! Devices between two histories: what they may show while they compare, and that nothing vanishes which a restored server has
//! lost.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use reconvene_model::Value;
use reconvene_model::change::OpKind;
use reconvene_model::value::value_of_cell;
use reconvene_store::{LOST_BY_SERVER, Store};

use super::device::{DeviceAudit, Stand, uid_of};
use super::truth::{Fate, Key, OpRecord, State, Truth, TxRecord};
use crate::finding::{Finding, Outcome, check};
use crate::schema::BIRTH;

/// A history in which a device was.
#[derive(Clone)]
pub(crate) struct Former {
    pub(super) truth: Rc<Truth>,
    /// How far it had come there.
    pub(super) floor: u64,
    pub(super) is_catching_up: bool,
    pub(super) buried: HashMap<Key, u64>,
}

/// The versions of an object that a device may have, which has everything up to a position and perhaps more, each with the position from
/// which it holds.
pub(super) fn versions_since(truth: &Truth, key: Key, floor: u64, is_catching_up: bool) -> Vec<(State, u64)> {
    let versions = truth.versions(key);
    let first = truth.version_at(key, floor);
    let last = if is_catching_up { versions.len() } else { first };
    let version = |at: usize| match at.checked_sub(1) {
        None => (State::default(), 0),
        Some(at) => ((*versions[at].1).clone(), versions[at].0),
    };
    (first..=last).map(version).collect()
}

impl DeviceAudit {
    /// Follows the device into another history; whether it has gone there.
    pub(crate) fn follows(&mut self, from: Option<&Rc<Truth>>, to: &Truth, stand: &Stand) -> bool {
        let epoch = stand.login.cursor.epoch;
        if epoch == self.epoch {
            return false;
        }
        self.epoch = epoch;
        let Some(from) = from else { return false };
        // A compare may also have begun and ended since the last look.
        let has_compared = self.compares_in == epoch;
        // Where a device goes on without one, it loses nothing of what it has come to.
        if !has_compared && !stand.login.comparing && stand.login.cursor.seq.0 >= self.floor {
            return true;
        }
        self.has_lost = true;
        self.told.clear();
        let floor = self.lines.iter().map(|former| former.floor).fold(self.floor, u64::max);
        for (at, decided) in to.decided(self.peer)[..stand.login.decided as usize].iter().enumerate() {
            let was = from.decided(self.peer).get(at).map(|decided| &decided.fate);
            if let Fate::Lost { .. } = &decided.fate
                && matches!(was, Some(Fate::Accepted { seq, .. }) if *seq > floor)
            {
                self.lost.insert(self.issued + decided.tx.number);
            }
        }
        self.lines.push(Former {
            truth: from.clone(),
            floor: self.floor,
            is_catching_up: self.is_catching_up || self.is_comparing,
            buried: std::mem::take(&mut self.buried),
        });
        // What a session told of the former history says nothing of this one, even if a crash kept the next from saying more.
        (self.floor, self.caught_up) = (0, 0);
        self.is_comparing = has_compared;
        true
    }

    /// Whether the device can have heard of an object by what is confirmed.
    pub(crate) fn has_heard(&self, truth: &Truth, key: Key) -> bool {
        // What it had in common with the server when it left a name may lie beyond what it has caught up with.
        let is_absorbed = self.absorbed.contains_key(&key);
        match self.lines.is_empty() {
            true => is_absorbed || truth.version_at(key, self.floor) > 0,
            false => truth.newest(key).is_some(),
        }
    }

    /// Whether this transaction, or an undecided one before it, makes an object that exists in this generation.
    pub(crate) fn makes_again(&self, tx: &TxRecord, op: &OpRecord, generation: u64) -> bool {
        let makes = |other: &OpRecord| {
            other.key == op.key && other.kind == OpKind::Insert && other.generation <= generation
        };
        let undecided =
            self.writers.get(&op.key).into_iter().flatten().filter(|&&number| number > self.decided);
        tx.ops.iter().any(makes)
            || undecided.into_iter().any(|&number| self.txs[(number - 1) as usize].ops.iter().any(makes))
    }

    /// Notes whether the device compares. After a compare it has everything up to where that began, but for what was removed
    /// before it could be fetched; the catch-up brings that.
    pub(super) fn end_of_compare(&mut self, stand: &Stand) {
        if self.is_comparing && !stand.login.comparing {
            self.forgot = stand.login.cursor.seq.0;
        }
        self.is_comparing = stand.login.comparing;
        self.is_catching_up = stand.catching_up;
    }

    /// When the catch-up after a compare with another history has ended: until then an object may be as it was, if it was removed
    /// before it could be fetched. What the server has lost must be among what came back.
    pub(crate) fn check_lost(&mut self, store: &Store, truth: &Truth) -> Outcome<bool> {
        if self.is_comparing || self.is_catching_up || self.lines.is_empty() {
            return Ok(false);
        }
        let failed = |error| Finding::new("store readable", format!("{error}"));
        let mut kept: BTreeSet<(String, String, i64)> = BTreeSet::new();
        for rejected in store.sync().rejected().map_err(failed)? {
            if rejected.code != LOST_BY_SERVER {
                continue;
            }
            for op in rejected.ops {
                for (name, value) in op.values {
                    if let Value::Int(value) = value {
                        kept.insert((op.entity.clone(), name, value));
                    }
                }
            }
        }
        let lines = std::mem::take(&mut self.lines);
        for (at, former) in lines.iter().enumerate().filter(|(_, former)| !former.is_catching_up) {
            for key in former.truth.keys() {
                self.check_lost_object(former, &lines[at + 1..], truth, key, &kept)?;
            }
        }
        Ok(true)
    }

    fn check_lost_object(
        &self,
        former: &Former,
        later: &[Former],
        truth: &Truth,
        key: Key,
        kept: &BTreeSet<(String, String, i64)>,
    ) -> Outcome<()> {
        let before = versions_since(&former.truth, key, former.floor, false);
        let Some((before, _)) = before.first().filter(|(state, _)| state.exists) else { return Ok(()) };
        if former.buried.contains_key(&key) {
            return Ok(());
        }
        let possible = versions_since(truth, key, self.forgot, true);
        // What a later write took the place of is not lost, even if a second restore has lost that write in turn.
        let between: Vec<_> =
            later.iter().flat_map(|later| versions_since(&later.truth, key, 0, true)).collect();
        for (uid, when, cell) in &before.registers {
            // Two writes of one value at one moment do not occur: numbers are new each time.
            let is_held = possible.iter().chain(&between).any(|(now, _)| {
                now.generation > before.generation
                    || (now.exists
                        && now.generation == before.generation
                        && now.when(*uid).is_some_and(|then| then >= *when))
            });
            let property =
                key.kind.properties().iter().find(|property| uid_of(key.kind, property.name) == *uid);
            let Some(property) = property.filter(|property| property.since <= self.version) else { continue };
            let value = cell.as_ref().and_then(|bytes| value_of_cell(property.ty, bytes).ok());
            let Some(Value::Int(value)) = value.filter(|_| !is_held) else { continue };
            // What the object was born as does not change, so an object that is there has it.
            if property.name == BIRTH && possible.iter().any(|(now, _)| now.exists) {
                continue;
            }
            let due = (key.kind.name().to_owned(), property.name.to_owned(), value);
            check(kept.contains(&due), "what a server lost is kept", || {
                format!(
                    "{:?} {}: {} = {value} is lost, and did not come back",
                    key.kind, key.gid, property.name
                )
            })?;
        }
        Ok(())
    }
}
