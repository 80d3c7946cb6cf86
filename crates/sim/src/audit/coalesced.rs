//! A transaction in the place of the one before it: what a device may leave out of its outbox.

use std::collections::BTreeSet;

use reconvene_model::change::OpKind;

use super::device::{DeviceAudit, uid_of};
use super::truth::{Cell, Key, State, TxRecord, When};
use crate::finding::{Outcome, check, found};
use crate::schema::Kind;

impl DeviceAudit {
    /// Takes over that a transaction took the place of the newest one. It may have been dated anew before anybody heard of it, if
    /// `may_be_redated`.
    pub(crate) fn took_place(&mut self, new: TxRecord, may_be_redated: bool) -> Outcome<()> {
        let number = new.number;
        let Some(old) = self.txs.last().filter(|old| old.number == number).cloned() else {
            return found(
                "numbers without gaps",
                format!(
                    "transaction {number} took the place of another, but the newest is {}",
                    self.txs.len()
                ),
            );
        };
        check(number > self.sent && number > self.decided, "the outbox is frozen", || {
            format!("transaction {number} was sent, and another took its place after that")
        })?;
        let is_later = old.hlc < new.hlc;
        check(is_later || may_be_redated, "clock never goes back", || {
            format!(
                "transaction {number} was dated {}, and another took its place that is not later",
                old.hlc
            )
        })?;
        let as_written = TxRecord { hlc: new.hlc.max(old.hlc + 1), ..new.clone() };
        check(leaves_no_trace(&old, &as_written), "what is left out leaves no trace", || {
            format!("{new:?} took the place of {old:?}")
        })?;
        self.txs.pop();
        self.committed(new)
    }
}

/// Whether nobody can tell that a transaction was left out in favour of the next one of its author.
fn leaves_no_trace(old: &TxRecord, new: &TxRecord) -> bool {
    let all = || old.ops.iter().chain(&new.ops);
    let names =
        |tx: &TxRecord| -> BTreeSet<(Key, u64)> { tx.ops.iter().map(|op| (op.key, op.generation)).collect() };
    // A server takes both or none: neither depends on another object, and nobody else can have the value that it writes.
    let code = uid_of(Kind::Note, "code");
    let takes_code = all().any(|op| op.cells.iter().any(|(uid, _)| *uid == code));
    let only_updates = all().all(|op| op.kind == OpKind::Update);
    // Of each object it is all the same whether the older one was there.
    let state = |txs: &[&TxRecord], key: Key| -> BTreeSet<(u64, When, Cell)> {
        let mut state = State::default();
        for tx in txs {
            tx.ops.iter().filter(|op| op.key == key).for_each(|op| {
                state.merge(op, tx.when(op, None));
            });
        }
        state.registers.into_iter().collect()
    };
    only_updates
        && !takes_code
        && names(old) == names(new)
        && names(old).iter().all(|&(key, _)| state(&[old, new], key) == state(&[new], key))
}
