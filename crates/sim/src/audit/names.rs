//! Going on under another name: where a device may part from the server, and what it must make of what comes after that.

use std::collections::HashSet;
use std::rc::Rc;

use reconvene_model::change::OpKind;
use reconvene_model::{GlobalId, PeerId, PropertyType, TxHash};
use reconvene_store::{Renewed, Store};

use super::device::{DeviceAudit, uid_of};
use super::truth::{Cell, Fate, Key, OpRecord, Truth, TxRecord};
use crate::finding::{Finding, Outcome, check};
use crate::schema::Kind;

impl DeviceAudit {
    /// Takes over that the device has another name: what it issued again must be what it had issued, and nothing else.
    pub(crate) fn renamed(&mut self, truth: &Truth, store: &Store, renewed: &Renewed) -> Outcome<()> {
        let failed = |error| Finding::new("store readable", format!("{error}"));
        let (former, peer) = (self.peer, renewed.peer);
        check(renewed.former == former && store.sync().peer() == peer, "names follow each other", || {
            format!("{former} says that it was {} and is {peer}", renewed.former)
        })?;
        let decided = truth.decided(former);
        let common =
            self.txs.iter().zip(decided).take_while(|(own, known)| own.hash == known.tx.hash).count();
        check(
            self.txs.len() - common == renewed.reissued as usize,
            "stores part where their chains part",
            || {
                format!(
                    "{former} has {common} of {} transactions in common with the server, and issues {} again",
                    self.txs.len(),
                    renewed.reissued
                )
            },
        )?;
        let new: HashSet<Key> = self.txs[common..]
            .iter()
            .flat_map(|tx| &tx.ops)
            .filter(|op| op.kind == OpKind::Insert && op.generation == 0 && op.key.gid.origin == former)
            .map(|op| op.key)
            .collect();
        let rows = store.sync().outbox(0, usize::MAX, usize::MAX).map_err(failed)?;
        check(rows.len() == renewed.reissued as usize, "what is in common is settled", || {
            format!(
                "{} transactions are in the outbox of {peer}, {} are its own",
                rows.len(),
                renewed.reissued
            )
        })?;
        let mut txs: Vec<TxRecord> = Vec::new();
        for (old, row) in self.txs[common..].iter().zip(&rows) {
            let tx = TxRecord::read(&row.bytes)?;
            let previous = txs.last().map_or(TxHash::NONE, |last| last.hash);
            let head = (tx.peer, tx.number, tx.previous, tx.hlc);
            let ops: Vec<OpRecord> = old.ops.iter().map(|op| renamed_op(op, &new, peer)).collect();
            check(
                head == (peer, txs.len() as u64 + 1, previous, old.hlc) && tx.ops == ops,
                "what is issued again is what it was",
                || format!("{old:?} was issued again as {tx:?}, not with {ops:?}"),
            )?;
            txs.push(tx);
        }
        for known in &decided[..common] {
            if let Fate::Accepted { seq, .. } = &known.fate {
                for op in &known.tx.ops {
                    self.absorbed.entry(op.key).or_default().push((*seq, known.tx.clone()));
                }
            }
            if let Fate::Accepted { lost, .. } | Fate::Superseded { lost } = &known.fate {
                for &(op, generation) in lost {
                    let buried = self.buried.entry(known.tx.ops[op as usize].key).or_default();
                    *buried = generation.max(*buried);
                }
            }
            if known.fate.gives_back() {
                self.came_back.push((self.issued + known.tx.number, known.clone()));
            }
        }
        self.former.insert(former);
        self.issued += self.txs.len() as u64;
        let renamed = |key: &mut Key| *key = renamed_key(*key, &new, peer);
        self.own_births.values_mut().for_each(renamed);
        self.places = std::mem::take(&mut self.places)
            .into_iter()
            .map(|(key, id)| (renamed_key(key, &new, peer), id))
            .collect();
        (self.peer, self.decided, self.sent) = (peer, 0, 0);
        self.txs.clear();
        self.writers.clear();
        txs.into_iter().try_for_each(|tx| self.committed(tx))
    }
}

fn renamed_key(key: Key, new: &HashSet<Key>, peer: PeerId) -> Key {
    match new.contains(&key) {
        true => Key { gid: GlobalId::new(peer, key.gid.counter), ..key },
        false => key,
    }
}

fn renamed_op(op: &OpRecord, new: &HashSet<Key>, peer: PeerId) -> OpRecord {
    let kind = op.key.kind;
    let links = kind.properties().iter().filter(|property| property.ty == PropertyType::Relation);
    let links: Vec<u64> = links.map(|property| uid_of(kind, property.name)).collect();
    let cells = op.cells.iter().map(|(uid, cell)| match links.contains(uid) {
        true => (*uid, renamed_link(cell, new, peer)),
        false => (*uid, cell.clone()),
    });
    OpRecord { key: renamed_key(op.key, new, peer), cells: cells.collect(), ..*op }
}

fn renamed_link(cell: &Cell, new: &HashSet<Key>, peer: PeerId) -> Cell {
    let bytes = cell.as_deref()?;
    let Ok(gid) = <[u8; 16]>::try_from(bytes) else { return cell.clone() };
    let target = Key { kind: Kind::Folder, gid: GlobalId::from_bytes(gid) };
    Some(Rc::from(&renamed_key(target, new, peer).gid.to_bytes()[..]))
}
