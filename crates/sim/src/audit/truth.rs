//! What the server must have decided, and what everyone must see of it: the laws once more, as plainly as they can be said.
//!
//! Nothing here uses the merge or the ledger of the product: it is the other opinion. It reads transactions with the codec of
//! `model`, because frozen bytes are what devices and servers agree upon.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::rc::Rc;
use std::sync::LazyLock;

use reconvene_model::change::{OpKind, OpsReader, decode_tx};
use reconvene_model::{GlobalId, PeerId, TxHash};
use reconvene_protocol::Code;

use crate::audit::device::uid_of;
use crate::finding::{Finding, Outcome, check, found};
use crate::schema::{Kind, STAGE};

/// How far ahead of the server a transaction may be dated, in milliseconds.
pub(crate) const DRIFT_MS: u64 = 60_000;

/// An object, for everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) kind: Kind,
    pub(crate) gid: GlobalId,
}

/// When a register was written: what its policy puts above time, then clock reading, then author.
pub(crate) type When = (u64, u64, u64);

/// Above all places in the history: what is not decided yet, under `arrival`.
const NOT_YET: u64 = u64::MAX;

/// The bytes of a value; `None` is null.
pub(crate) type Cell = Option<Rc<[u8]>>;

/// One op as it travels.
#[derive(Clone, PartialEq)]
pub(crate) struct OpRecord {
    pub(crate) key: Key,
    pub(crate) generation: u64,
    pub(crate) kind: OpKind,
    pub(crate) cells: Vec<(u64, Cell)>,
}

/// One transaction as it travels.
#[derive(Clone, Debug)]
pub(crate) struct TxRecord {
    pub(crate) peer: PeerId,
    pub(crate) number: u64,
    pub(crate) hlc: u64,
    pub(crate) hash: TxHash,
    pub(crate) previous: TxHash,
    pub(crate) ops: Vec<OpRecord>,
    /// Up to where its author is known to have had everything when it was written.
    pub(crate) floor: u64,
}

impl TxRecord {
    /// Reads a transaction.
    pub(crate) fn read(bytes: &[u8]) -> Outcome<TxRecord> {
        let unreadable = |error: &dyn fmt::Display| {
            Finding::new("tx readable", format!("a transaction cannot be read: {error}"))
        };
        let (head, block) = decode_tx(bytes).map_err(|error| unreadable(&error))?;
        let mut ops = Vec::new();
        for op in OpsReader::new(head.origin, block).map_err(|error| unreadable(&error))? {
            let op = op.map_err(|error| unreadable(&error))?;
            let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.uid() == op.entity) else {
                return found("tx readable", format!("an op names the unknown entity {}", op.entity));
            };
            let cell = |bytes: Option<&[u8]>| bytes.map(Rc::from);
            ops.push(OpRecord {
                key: Key { kind, gid: op.gid },
                generation: op.generation,
                kind: op.kind,
                cells: op.cells.iter().map(|c| (c.uid.0, cell(c.bytes.as_deref()))).collect(),
            });
        }
        Ok(TxRecord {
            peer: head.origin,
            number: head.number,
            hlc: head.hlc,
            hash: TxHash::of(bytes),
            previous: head.previous,
            ops,
            floor: 0,
        })
    }

    /// When the registers of one of its ops were written, at a position in the history or at none yet.
    pub(crate) fn when(&self, op: &OpRecord, seq: Option<u64>) -> When {
        let rank = match op.key.kind {
            Kind::Sale => op.stage().map_or(0, |stage| u64::from(stage.abs_diff(i32::MIN)) + 1),
            Kind::Report => seq.unwrap_or(NOT_YET),
            _ => 0,
        };
        (rank, self.hlc, self.peer.0)
    }
}

impl OpRecord {
    /// The precedence that it brings, if any.
    fn stage(&self) -> Option<i32> {
        static UID: LazyLock<u64> = LazyLock::new(|| uid_of(Kind::Sale, STAGE));
        let (_, cell) = self.cells.iter().find(|(known, _)| *known == *UID)?;
        Some(i32::from_le_bytes(cell.as_deref()?.try_into().ok()?))
    }
}

/// An object as it is.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) generation: u64,
    pub(crate) exists: bool,
    pub(super) registers: Vec<(u64, When, Cell)>,
}

impl State {
    /// The value of a property; `None` if it was never written.
    pub(crate) fn get(&self, uid: u64) -> Option<&Cell> {
        self.registers.iter().find(|(known, ..)| *known == uid).map(|(.., cell)| cell)
    }

    /// When a property was written; `None` if it never was.
    pub(crate) fn when(&self, uid: u64) -> Option<When> {
        self.registers.iter().find(|(known, ..)| *known == uid).map(|&(_, when, _)| when)
    }

    /// What a remove of an earlier generation leaves.
    pub(crate) fn removed(generation: u64) -> State {
        State { generation, ..State::default() }
    }

    /// The laws of inserts, updates and removes; whether the op came too late for its object.
    pub(crate) fn merge(&mut self, op: &OpRecord, when: When) -> bool {
        if op.kind == OpKind::Remove {
            if op.generation + 1 > self.generation {
                *self = State::removed(op.generation + 1);
            }
            return false;
        }
        if op.generation < self.generation {
            return true;
        }
        if op.generation > self.generation {
            *self = State::removed(op.generation);
        }
        self.exists |= op.kind == OpKind::Insert;
        for (uid, cell) in &op.cells {
            match self.registers.iter_mut().find(|(known, ..)| known == uid) {
                Some((_, then, value)) => {
                    if (when, cell) > (*then, &*value) {
                        (*then, *value) = (when, cell.clone());
                    }
                }
                None => self.registers.push((*uid, when, cell.clone())),
            }
        }
        false
    }
}

/// Names properties and shows values, as far as the simulated application has them.
fn show_cell(f: &mut fmt::Formatter<'_>, uid: u64, cell: &Cell) -> fmt::Result {
    let properties = Kind::ALL.into_iter().flat_map(|kind| kind.properties().iter().map(move |p| (kind, p)));
    let name = properties.into_iter().find(|(kind, p)| uid_of(*kind, p.name) == uid).map(|(_, p)| p.name);
    write!(f, " {}=", name.unwrap_or("?"))?;
    match cell {
        None => write!(f, "null"),
        Some(bytes) => match <[u8; 8]>::try_from(&bytes[..]) {
            Ok(number) => write!(f, "{}", i64::from_le_bytes(number)),
            Err(_) => match <[u8; 16]>::try_from(&bytes[..]) {
                Ok(gid) => write!(f, "{}", GlobalId::from_bytes(gid)),
                Err(_) => match <[u8; 4]>::try_from(&bytes[..]) {
                    Ok(number) => write!(f, "{}", i32::from_le_bytes(number)),
                    Err(_) => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
                },
            },
        },
    }
}

impl fmt::Debug for OpRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { kind, gid } = self.key;
        write!(f, "{:?} {kind:?} {gid} g{}", self.kind, self.generation)?;
        self.cells.iter().try_for_each(|(uid, cell)| show_cell(f, *uid, cell))
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} g{}", if self.exists { "there" } else { "absent" }, self.generation)?;
        for (uid, (rank, hlc, peer), cell) in &self.registers {
            show_cell(f, *uid, cell)?;
            write!(f, "@{rank}.{}.{:x}", hlc & 0xFFFF_FFFF_FFFF, peer >> 48)?;
        }
        Ok(())
    }
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has a place; these ops (with the generation of their objects) came too late.
    Accepted { seq: u64, lost: Vec<(u32, u64)> },
    /// Nothing of it counts.
    Refused { code: Code, op: Option<u32> },
    /// Every op came too late.
    Superseded { lost: Vec<(u32, u64)> },
    /// A server that was restored has lost what became of it.
    Lost { before: Box<Fate> },
}

impl Fate {
    /// Whether the author must get something back.
    pub(crate) fn gives_back(&self) -> bool {
        !matches!(self, Fate::Accepted { lost, .. } if lost.is_empty())
    }
}

/// A decided transaction.
#[derive(Clone, Debug)]
pub(crate) struct Decided {
    pub(crate) tx: Rc<TxRecord>,
    pub(crate) fate: Fate,
}

/// The history as it must be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Truth {
    pub(crate) head: u64,
    origins: HashMap<PeerId, Vec<Decided>>,
    versions: BTreeMap<Key, Vec<(u64, Rc<State>)>>,
    /// The objects that each position changed, from position 1 on.
    touched: Vec<Vec<Key>>,
    codes: HashMap<Rc<[u8]>, Key>,
    code_uid: u64,
    /// Removed objects of which the server knows nothing any more.
    forgotten: HashSet<Key>,
}

impl Truth {
    /// Lets the server forget an object, which must have been removed, and cannot be made again.
    pub(crate) fn forget(&mut self, key: Key) -> Outcome<()> {
        let is_gone = self.newest(key).is_some_and(|state| !state.exists && state.generation > 0);
        self.forgotten.insert(key);
        check(is_gone && !key.kind.may_choose_ids(), "only removals are forgotten", || format!("{key:?}"))
    }

    pub(crate) fn new(code_uid: u64) -> Truth {
        Truth { code_uid, ..Truth::default() }
    }

    /// The decided transactions of a peer, by number less one.
    pub(crate) fn decided(&self, peer: PeerId) -> &[Decided] {
        self.origins.get(&peer).map_or(&[], Vec::as_slice)
    }

    /// Everything that ever was, in no order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.versions.keys().copied()
    }

    /// The objects that positions `from + 1` to `to` changed.
    pub(crate) fn touched(&self, from: u64, to: u64) -> impl Iterator<Item = Key> + '_ {
        let to = to.min(self.head) as usize;
        self.touched[(from as usize).min(to)..to].iter().flatten().copied()
    }

    /// The versions of an object with the position from which each holds, ascending.
    pub(crate) fn versions(&self, key: Key) -> &[(u64, Rc<State>)] {
        self.versions.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The object as it is at the head.
    pub(crate) fn newest(&self, key: Key) -> Option<&Rc<State>> {
        self.versions(key).last().map(|(_, state)| state)
    }

    /// Which version of an object holds at a position; 0 is none, 1 the first.
    pub(crate) fn version_at(&self, key: Key, seq: u64) -> usize {
        self.versions(key).partition_point(|&(from, _)| from <= seq)
    }

    /// How many of a peer's transactions, which another history has decided up to `confirmed`, this one has decided as well, if not all.
    pub(crate) fn known(&self, peer: PeerId, confirmed: u64, other: &Truth) -> Option<u64> {
        let is_lost = |at: u64| {
            self.decided(peer).get(at as usize).map(|decided| matches!(decided.fate, Fate::Lost { .. }))
        };
        (0..confirmed).find(|&at| is_lost(at).is_none_or(|is_lost| is_lost && !other.has_lost(peer, at + 1)))
    }

    /// Whether a transaction was lost when this history began.
    pub(crate) fn has_lost(&self, peer: PeerId, number: u64) -> bool {
        let decided = self.decided(peer).get(number as usize - 1);
        decided.is_some_and(|decided| matches!(decided.fate, Fate::Lost { .. }))
    }

    /// Takes over a peer's own transactions up to `base`, which the history before this one had decided.
    pub(crate) fn rebase(&mut self, peer: PeerId, base: u64, txs: &[Rc<TxRecord>], before: &Truth) {
        let decided = self.origins.entry(peer).or_default();
        for (at, tx) in txs.iter().enumerate().take(base as usize).skip(decided.len()) {
            let before = match before.decided(peer).get(at).map(|decided| decided.fate.clone()) {
                Some(Fate::Lost { before }) => before,
                Some(fate) => Box::new(fate),
                None => Box::new(Fate::Superseded { lost: Vec::new() }),
            };
            decided.push(Decided { tx: tx.clone(), fate: Fate::Lost { before } });
        }
    }

    /// What must be decided on the next transaction of its author, and decides it.
    pub(crate) fn decide(&mut self, tx: Rc<TxRecord>, now_ms: u64) -> Fate {
        let fate = self.judge(&tx, now_ms);
        if let Fate::Accepted { seq, .. } = fate {
            self.head = seq;
            let mut befores: BTreeMap<Key, Rc<State>> = BTreeMap::new();
            for op in &tx.ops {
                let before = self.newest(op.key).cloned().unwrap_or_default();
                let mut after = (*before).clone();
                after.merge(op, tx.when(op, Some(seq)));
                if after == *before {
                    continue;
                }
                befores.entry(op.key).or_insert(before);
                let versions = self.versions.entry(op.key).or_default();
                match versions.last_mut() {
                    Some((at, state)) if *at == seq => *state = Rc::new(after),
                    _ => versions.push((seq, Rc::new(after))),
                }
            }
            self.keep_codes(&befores);
            self.touched.push(befores.into_keys().collect());
        }
        self.origins.entry(tx.peer).or_default().push(Decided { tx, fate: fate.clone() });
        fate
    }

    /// Notes who has which code when all of a transaction is done; between its ops a code may be where it does not stay.
    fn keep_codes(&mut self, befores: &BTreeMap<Key, Rc<State>>) {
        let code = |state: &State| match state.get(self.code_uid) {
            Some(Some(code)) if state.exists => Some(code.clone()),
            _ => None,
        };
        let held: Vec<_> = befores.values().filter_map(|before| code(before)).collect();
        let taken: Vec<_> =
            befores.keys().filter_map(|key| Some((code(self.newest(*key)?)?, *key))).collect();
        held.iter().for_each(|code| {
            self.codes.remove(code);
        });
        self.codes.extend(taken);
    }

    /// What must be decided on a transaction at this moment.
    pub(crate) fn judge(&self, tx: &TxRecord, now_ms: u64) -> Fate {
        let refused = |code, op: Option<usize>| Fate::Refused {
            code,
            op: op.map(|op| u32::try_from(op).expect("transactions are small here")),
        };
        if tx.hlc >> 16 > now_ms + DRIFT_MS {
            return refused(Code::ClockAhead, None);
        }
        let mut objects: Vec<(Key, State, bool)> = Vec::new();
        let (mut lost, mut live) = (Vec::new(), 0);
        for (at, op) in tx.ops.iter().enumerate() {
            let place = objects.iter().position(|(key, ..)| *key == op.key).unwrap_or_else(|| {
                let known = self.newest(op.key).filter(|_| !self.forgotten.contains(&op.key));
                let state = known.map(|state| (**state).clone()).unwrap_or_default();
                objects.push((op.key, state, false));
                objects.len() - 1
            });
            let (_, state, changed) = &mut objects[place];
            if op.key.kind.has_shared_ids() != (op.key.gid.origin == PeerId::SHARED) {
                return refused(Code::ForeignId, Some(at));
            }
            if op.generation > state.generation {
                return refused(Code::GenerationAhead, Some(at));
            }
            let is_late = op.generation < state.generation;
            match op.kind {
                OpKind::Insert
                    if !is_late
                        && !state.exists
                        && state.generation == 0
                        && op.key.gid.origin != tx.peer
                        && op.key.gid.origin != PeerId::SHARED =>
                {
                    return refused(Code::ForeignId, Some(at));
                }
                OpKind::Update | OpKind::Remove if !is_late && !state.exists => {
                    return refused(Code::ObjectMissing, Some(at));
                }
                _ => {}
            }
            let before = state.clone();
            if state.merge(op, tx.when(op, Some(self.head + 1))) {
                lost.push((u32::try_from(at).expect("transactions are small here"), state.generation));
            } else {
                live += 1;
                *changed |= *state != before;
            }
        }
        if self.clashes(&objects) {
            return refused(Code::NotUnique, None);
        }
        if live == 0 && !lost.is_empty() {
            return Fate::Superseded { lost };
        }
        Fate::Accepted { seq: self.head + 1, lost }
    }

    /// Whether two objects would have one code, when all of the transaction is done.
    fn clashes(&self, objects: &[(Key, State, bool)]) -> bool {
        let code = |state: &State| match state.get(self.code_uid) {
            Some(Some(code)) if state.exists => Some(code.clone()),
            _ => None,
        };
        objects.iter().enumerate().any(|(at, (key, state, changed))| {
            let Some(mine) = code(state).filter(|_| *changed) else { return false };
            let mut others = objects.iter().enumerate().filter(|(other, _)| *other != at);
            let within = others.any(|(_, (_, state, _))| code(state).as_ref() == Some(&mine));
            let outside = self.codes.get(&mine).is_some_and(|holder| {
                holder != key && !objects.iter().any(|(planned, ..)| planned == holder)
            });
            within || outside
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId(5);

    fn note(truth: &Truth, counter: u64, kind: OpKind, code: &str) -> OpRecord {
        let key = Key { kind: Kind::Note, gid: GlobalId::new(PEER, counter) };
        let cells = vec![(truth.code_uid, Some(Rc::from(code.as_bytes())))];
        OpRecord { key, generation: 0, kind, cells }
    }

    fn decide(truth: &mut Truth, ops: Vec<OpRecord>) -> Fate {
        let number = truth.decided(PEER).len() as u64 + 1;
        let (hash, previous) = (TxHash([number as u8; 16]), TxHash::NONE);
        truth.decide(Rc::new(TxRecord { peer: PEER, number, hlc: number, hash, previous, ops, floor: 0 }), 1)
    }

    #[test]
    fn a_code_that_passes_through_an_object_within_a_transaction_stays_with_its_holder() {
        let mut truth = Truth::new(uid_of(Kind::Note, "code"));
        let all = vec![note(&truth, 1, OpKind::Insert, "one"), note(&truth, 2, OpKind::Insert, "two")];
        decide(&mut truth, all);
        // Ops of one date: of two values the larger one stays.
        let through = vec![note(&truth, 2, OpKind::Update, "one"), note(&truth, 2, OpKind::Update, "three")];
        assert!(matches!(decide(&mut truth, through), Fate::Accepted { .. }));
        let again = vec![note(&truth, 3, OpKind::Insert, "one")];
        assert!(matches!(decide(&mut truth, again), Fate::Refused { code: Code::NotUnique, .. }));
    }

    #[test]
    fn codes_may_be_swapped_in_one_transaction() {
        let mut truth = Truth::new(uid_of(Kind::Note, "code"));
        let all = vec![note(&truth, 1, OpKind::Insert, "one"), note(&truth, 2, OpKind::Insert, "two")];
        decide(&mut truth, all);
        let swap = vec![note(&truth, 1, OpKind::Update, "two"), note(&truth, 2, OpKind::Update, "one")];
        assert!(matches!(decide(&mut truth, swap), Fate::Accepted { .. }));
        let again = vec![note(&truth, 3, OpKind::Insert, "two")];
        assert!(matches!(decide(&mut truth, again), Fate::Refused { .. }));
    }
}
