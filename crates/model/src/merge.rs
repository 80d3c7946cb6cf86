//! The laws by which everyone agrees: pure functions that merge ops and states of one object.
//!
//! An [`ObjectState`] is an element of a join-semilattice and an op is a small state, so [`merge_op`] and [`merge_states`]
//! are commutative, associative and idempotent: whoever has seen the same ops holds the same state, whatever the order,
//! the duplicates or the way they came. The laws, in order of precedence:
//!
//! 1. The larger generation wins the whole object. A remove of generation g is the state of generation g + 1 that does
//!    not exist and has no registers; so it beats every edit of generation g, and re-creation lives in g + 1.
//! 2. Within a generation, an object exists as soon as one insert was merged. Updates that come before it keep their
//!    registers and wait.
//! 3. Each property is a register of its own: the larger stamp wins, by rank, then clock reading, then peer; of equal stamps the larger cell bytes, null being
//!    the smallest; of equal cells the larger type number.
//! 4. Counters and sets merge what both have, as their [`Kind`] says; should a property be of another kind elsewhere, the larger
//!    type number wins, and any kind over none.
//!
//! One thing is asked of whoever merges ops: those of one author come in the order of their stamps, as they do everywhere. Only what
//! is added to counters depends on it.
//!
//! Properties that no schema here knows are registers like the others.

use std::cmp::Ordering;

use crate::change::{Cell, Op, OpKind};
use crate::ids::Generation;
use crate::kinds::Kind;
use crate::planted::{Planted, planted};
use crate::stamp::Stamp;
use crate::state::{ObjectState, Register};

/// What an op did to the state it was merged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The state is another one than before.
    Changed,
    /// The op brought nothing new: it was known, all its registers lost to larger stamps, or it removes what is removed.
    Unchanged,
    /// The op writes to a generation that was removed since, and was dropped.
    Superseded,
}

/// Merges one op, written at `stamp`, into the state of its object.
///
/// The caller picks the state by the op's entity and global id; both are ignored here. `stamp` is the stamp of the op's
/// transaction, with the rank that the entity's [`Ranking`](crate::ranking::Ranking) gives the op, and is not
/// [`Stamp::NEVER`].
///
/// ```
/// use reconvene_model::change::{Op, OpKind};
/// use reconvene_model::merge::{Merged, merge_op};
/// use reconvene_model::state::ObjectState;
/// use reconvene_model::{GlobalId, PeerId, Stamp, Uid};
///
/// let peer = PeerId(7);
/// let insert = Op::new(Uid(1), GlobalId::new(peer, 1), 0, OpKind::Insert);
/// let remove = Op { kind: OpKind::Remove, ..insert.clone() };
/// let mut state = ObjectState::default();
/// assert_eq!(merge_op(&mut state, &remove, Stamp::new(2, peer)), Merged::Changed);
/// assert_eq!(merge_op(&mut state, &insert, Stamp::new(1, peer)), Merged::Superseded);
/// assert!(!state.exists && state.generation == 1);
/// ```
pub fn merge_op<'a>(state: &mut ObjectState<'a>, op: &Op<'a>, stamp: Stamp) -> Merged {
    if op.kind == OpKind::Remove {
        return if enter_generation(state, op.generation.saturating_add(1)) {
            Merged::Changed
        } else {
            Merged::Unchanged
        };
    }
    if op.generation < state.generation && !(planted(Planted::GenerationIgnored) && state.exists) {
        return Merged::Superseded;
    }
    let mut changed = enter_generation(state, op.generation);
    if op.kind == OpKind::Insert && !state.exists {
        state.exists = true;
        changed = true;
    }
    changed |= merge_cells(&mut state.registers, &op.cells, stamp);
    if changed { Merged::Changed } else { Merged::Unchanged }
}

/// Merges two states of one object.
///
/// ```
/// use reconvene_model::merge::merge_states;
/// use reconvene_model::state::ObjectState;
///
/// let tombstone = ObjectState { generation: 1, ..ObjectState::default() };
/// let alive = ObjectState { exists: true, ..ObjectState::default() };
/// assert_eq!(merge_states(alive, tombstone.clone()), tombstone);
/// ```
pub fn merge_states<'a>(left: ObjectState<'a>, right: ObjectState<'a>) -> ObjectState<'a> {
    match left.generation.cmp(&right.generation) {
        Ordering::Less => right,
        Ordering::Greater => left,
        Ordering::Equal => ObjectState {
            generation: left.generation,
            exists: left.exists || right.exists,
            registers: merge_registers(left.registers, right.registers),
        },
    }
}

/// Whether an op, written at a stamp, leaves no trace once a later one of the same object is merged: merging both is merging `by` alone,
/// in whatever order and among whatever others they come.
///
/// That is so if the small state that `op` is lies below the one that `by` is. What it says nothing about: whether a server takes the one and
/// refuses the other.
///
/// ```
/// use reconvene_model::change::{Cell, Op, OpKind};
/// use reconvene_model::merge::is_absorbed;
/// use reconvene_model::{GlobalId, PeerId, PropertyType, Stamp, Uid};
///
/// let peer = PeerId(7);
/// let update = |uids: &[u64]| Op {
///     cells: uids.iter().map(|&uid| Cell::new(Uid(uid), PropertyType::Bool, Some(&[1]))).collect(),
///     ..Op::new(Uid(1), GlobalId::new(peer, 1), 0, OpKind::Update)
/// };
/// let (earlier, later) = (Stamp::new(5, peer), Stamp::new(6, peer));
/// assert!(is_absorbed((&update(&[1]), earlier), (&update(&[1, 2]), later)));
/// assert!(!is_absorbed((&update(&[1, 2]), earlier), (&update(&[1]), later)));
/// ```
pub fn is_absorbed(op: (&Op<'_>, Stamp), by: (&Op<'_>, Stamp)) -> bool {
    let ((op, stamp), (by, later)) = (op, by);
    // A remove is the state of the next generation, which has nothing but its number.
    let entered = |op: &Op<'_>| op.generation.saturating_add(u64::from(op.kind == OpKind::Remove));
    match entered(op).cmp(&entered(by)) {
        Ordering::Less => true,
        Ordering::Greater => false,
        Ordering::Equal if op.kind == OpKind::Remove => true,
        Ordering::Equal if op.kind == OpKind::Insert && by.kind != OpKind::Insert => false,
        Ordering::Equal => {
            let overs = if by.kind == OpKind::Remove { &[] } else { by.cells.as_slice() };
            op.cells.iter().all(|cell| {
                let write = (stamp, cell.bytes.as_deref(), cell.ty);
                let merges = |cell: &Cell<'_>| Kind::of_type(cell.ty).is_some();
                let is_over = |over: &Cell<'_>| match over.uid == cell.uid {
                    true if merges(cell) || merges(over) => is_change_absorbed((cell, stamp), (over, later)),
                    true => compare_writes(write, (later, over.bytes.as_deref(), over.ty)).is_le(),
                    false => false,
                };
                (merges(cell) && cell.bytes.is_none()) || overs.iter().any(is_over)
            })
        }
    }
}

/// Whether one change of a counter or set leaves no trace once another one is merged.
fn is_change_absorbed(change: (&Cell<'_>, Stamp), by: (&Cell<'_>, Stamp)) -> bool {
    let ((change, stamp), (by, later)) = (change, by);
    let (written, alone) = (Register::written(change, stamp), Register::written(by, later));
    let (Some(mut both), Some(alone)) = (written, alone) else { return false };
    merge_change(&mut both, by, later);
    both == alone
}

/// How two writes to one register compare: the larger one wins.
///
/// For those who merge registers in another form than [`Register`], so that there is only one law. Not for counters and sets, of which
/// both stand.
pub fn compare_writes(left: (Stamp, Option<&[u8]>, u8), right: (Stamp, Option<&[u8]>, u8)) -> Ordering {
    left.cmp(&right)
}

/// Starts anew at a larger generation; false if the state has reached it already.
fn enter_generation(state: &mut ObjectState<'_>, generation: Generation) -> bool {
    let enters = generation > state.generation;
    if enters {
        state.generation = generation;
        state.exists = false;
        if !planted(Planted::RemoveKeepsRegisters) {
            state.registers.clear();
        }
    }
    enters
}

fn merge_cells<'a>(registers: &mut Vec<Register<'a>>, cells: &[Cell<'a>], stamp: Stamp) -> bool {
    let known = registers.len();
    let mut changed = false;
    for cell in cells {
        match registers[..known].binary_search_by_key(&cell.uid, |register| register.uid) {
            Ok(at) => {
                let register = &mut registers[at];
                if Kind::of_type(cell.ty).is_some() || Kind::of_type(register.ty).is_some() {
                    changed |= merge_change(register, cell, stamp);
                    continue;
                }
                let ties = planted(Planted::TieByArrival) && stamp.hlc == register.stamp.hlc;
                if ties || compare_writes((stamp, cell.bytes.as_deref(), cell.ty), register.write()).is_gt() {
                    *register = Register { uid: cell.uid, ty: cell.ty, stamp, cell: cell.bytes.clone() };
                    changed = true;
                }
            }
            Err(_) => registers.extend(Register::written(cell, stamp)),
        }
    }
    if registers.len() > known {
        // A well-formed op names a property once; should it not, the law decides rather than the order of its cells.
        registers.sort_by(|a, b| a.uid.cmp(&b.uid).then_with(|| compare_writes(b.write(), a.write())));
        registers.dedup_by_key(|register| register.uid);
        changed = true;
    }
    changed
}

/// Merges a change of a counter or set; whether it brought anything.
fn merge_change<'a>(register: &mut Register<'a>, cell: &Cell<'a>, stamp: Stamp) -> bool {
    let merged = match (Kind::of_type(cell.ty), &cell.bytes) {
        (Some(kind), Some(change)) if cell.ty == register.ty => kind
            .apply(register.cell.as_deref(), change, stamp)
            .map(|state| Register::of_kind(cell.uid, kind, state.into())),
        _ if cell.ty == register.ty => None,
        _ => Register::written(cell, stamp).filter(|written| is_larger_kind(written, register)),
    };
    let changed = merged.is_some();
    if let Some(merged) = merged {
        *register = merged;
    }
    changed
}

/// Whether the first of two registers of different types stands because of its kind.
fn is_larger_kind(one: &Register<'_>, other: &Register<'_>) -> bool {
    let order = |register: &Register<'_>| Kind::of_type(register.ty).map(|kind| kind as u8);
    order(one) > order(other)
}

/// Merges two registers of one property.
fn merge_two<'a>(left: Register<'a>, right: Register<'a>) -> Register<'a> {
    match (Kind::of_type(left.ty), Kind::of_type(right.ty)) {
        (Some(kind), Some(other)) if kind == other => match (left.cell, right.cell) {
            (Some(one), Some(other)) => Register::of_kind(left.uid, kind, kind.join(one, other)),
            (one, other) => Register { cell: one.or(other), stamp: left.stamp.max(right.stamp), ..left },
        },
        (None, None) if compare_writes(left.write(), right.write()).is_lt() => right,
        (None, None) => left,
        _ if is_larger_kind(&right, &left) => right,
        _ => left,
    }
}

fn merge_registers<'a>(left: Vec<Register<'a>>, right: Vec<Register<'a>>) -> Vec<Register<'a>> {
    if left.is_empty() {
        return right;
    }
    if right.is_empty() {
        return left;
    }
    let mut merged = Vec::with_capacity(left.len().max(right.len()));
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let winner = match a.uid.cmp(&b.uid) {
            Ordering::Less => left.next(),
            Ordering::Greater => right.next(),
            Ordering::Equal => left.next().zip(right.next()).map(|(a, b)| merge_two(a, b)),
        };
        merged.extend(winner);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}
