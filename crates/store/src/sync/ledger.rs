//! On a server: deciding on the transactions of devices, each at its place in the history.
//!
//! A transaction is judged whole before any of it is written, so a refused one leaves no trace but its verdict.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use reconvene_model::change::{Op, OpKind, OpsReader, OpsWriter, decode_tx};
use reconvene_model::clock::DRIFT_MAX;
use reconvene_model::merge::{Merged, merge_op};
use reconvene_model::schema::PROPERTIES_MAX;
use reconvene_model::state::ObjectState;
use reconvene_model::{GlobalId, ObjectId, PeerId, PropertyType, Seq, Stamp, TxHash, TxNumber};

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::sync::apply::{LostOp, Verdict, inserted};
use crate::sync::columns::SyncEntity;
use crate::sync::global_ids;
use crate::sync::origins::{self, Origin};
use crate::sync::overlay::{self, Place};
use crate::sync::{TX_OPS_MAX, changes, convert, meta};
use crate::txn::WriteTxn;

/// A transaction that a peer uploaded.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The peer whose session it came in by; it must be the transaction's origin.
    pub peer: PeerId,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// What was decided on an incoming transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// The peer that uploaded it.
    pub peer: PeerId,
    /// The decision.
    pub decision: Decision,
    /// What receivers are to be sent, if it was accepted now.
    pub push: Option<PushedTx>,
}

/// The decision on an incoming transaction.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Decision {
    /// A verdict: the new one, or for a duplicate the one that it got at first.
    Verdict {
        /// The transaction's number.
        number: TxNumber,
        /// The verdict.
        verdict: Verdict,
    },
    /// A duplicate whose verdict the peer has confirmed to hold.
    Known {
        /// The transaction's number.
        number: TxNumber,
    },
    /// The bytes are not a transaction of this peer at this place; its session must end.
    Broken {
        /// What kind of mistake it is.
        what: Break,
        /// What is wrong.
        reason: String,
    },
}

/// Why uploaded bytes are not the transaction that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Break {
    /// They do not decode, or name another origin.
    Content,
    /// A transaction before it is missing.
    Gap,
    /// It does not follow the one before it.
    Chain,
}

/// An accepted transaction as receivers are sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedTx {
    /// Its position.
    pub seq: Seq,
    /// Its author.
    pub origin: PeerId,
    /// Its number.
    pub number: TxNumber,
    /// Its clock reading.
    pub hlc: u64,
    /// The ops that took effect.
    pub ops: Arc<[u8]>,
}

/// Why a server refuses a transaction for what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The server's schema has no such entity.
    #[error("the server does not know this entity; upload the schema that has it")]
    UnknownEntity,
    /// The entity does not travel.
    #[error("{entity} is not a synced entity on the server")]
    NotSynced {
        /// The entity's name.
        entity: String,
    },
    /// A property has another type on the server.
    #[error("{entity}.{property} is {known} on the server, not {got}; a change of type needs a new uid")]
    TypeMismatch {
        /// The entity's name.
        entity: String,
        /// The property's name.
        property: String,
        /// The server's type.
        known: PropertyType,
        /// The type in the transaction.
        got: String,
    },
    /// Text that is not UTF-8, or strings that do not decode.
    #[error("{entity}.{property} is not valid text")]
    BadText {
        /// The entity's name.
        entity: String,
        /// The property's name.
        property: String,
    },
    /// A new object under the name of another peer.
    #[error("a peer can insert new {entity} objects only under its own id")]
    ForeignId {
        /// The entity's name.
        entity: String,
    },
    /// A generation that the object has not reached.
    #[error("{entity} {gid} is in generation {known}, not yet in {got}")]
    GenerationAhead {
        /// The entity's name.
        entity: String,
        /// The object.
        gid: GlobalId,
        /// The server's generation.
        known: u64,
        /// The op's generation.
        got: u64,
    },
    /// An update or remove of an object that the server does not have.
    #[error("{entity} {gid} is not on the server: this write depends on a refused change")]
    DependsOnRefused {
        /// The entity's name.
        entity: String,
        /// The object.
        gid: GlobalId,
    },
    /// Another object has the value already.
    #[error("another {entity} already has this {property}")]
    UniqueTaken {
        /// The entity's name.
        entity: String,
        /// The property's name.
        property: String,
    },
    /// More operations than a verdict could name.
    #[error("the transaction has more than {max} operations; split it into smaller ones")]
    TooManyOps {
        /// The limit.
        max: usize,
    },
    /// More properties than an object can have, unknown ones included.
    #[error("{entity} {gid} would have more than {max} properties")]
    TooManyProperties {
        /// The entity's name.
        entity: String,
        /// The object.
        gid: GlobalId,
        /// The limit.
        max: usize,
    },
    /// A stamp too far in the future.
    #[error("the device's clock is {ahead_ms} ms ahead of the server's; more than {max_ms} ms is refused")]
    ClockAhead {
        /// By how much.
        ahead_ms: u64,
        /// What is allowed.
        max_ms: u64,
    },
}

impl RefusalReason {
    /// The stable code of this reason, as documented in `docs/errors.md`.
    pub fn code(&self) -> u32 {
        match self {
            RefusalReason::UnknownEntity => 605,
            RefusalReason::NotSynced { .. } => 605,
            RefusalReason::TypeMismatch { .. } => 607,
            RefusalReason::BadText { .. } => 600,
            RefusalReason::ForeignId { .. } => 704,
            RefusalReason::GenerationAhead { .. } => 701,
            RefusalReason::DependsOnRefused { .. } => 700,
            RefusalReason::UniqueTaken { .. } => 703,
            RefusalReason::TooManyOps { .. } | RefusalReason::TooManyProperties { .. } => 603,
            RefusalReason::ClockAhead { .. } => 604,
        }
    }
}

/// Decides on one transaction and writes what was decided.
pub(crate) fn decide(tx: &mut WriteTxn<'_>, incoming: Incoming<'_>) -> Result<Decided> {
    let peer = incoming.peer;
    let broken = |what: Break, reason: String| {
        Ok(Decided { peer, decision: Decision::Broken { what, reason }, push: None })
    };
    let (head, block) = match decode_tx(incoming.bytes) {
        Ok(decoded) => decoded,
        Err(error) => return broken(Break::Content, format!("the transaction does not decode: {error}")),
    };
    if head.origin != peer {
        return broken(Break::Content, format!("the transaction names {} as its origin", head.origin));
    }
    let Some(mut origin) = origins::get(tx.engine_tx(), &tx.inner().sync.tables, peer)? else {
        return Err(StoreError::UnknownPeer { peer });
    };
    if head.number <= origin.decided {
        let decision = duplicate(tx, peer, &origin, head.number)?;
        return Ok(Decided { peer, decision, push: None });
    }
    if head.number != origin.decided + 1 {
        let reason = format!("transaction {} came where {} was due", head.number, origin.decided + 1);
        return broken(Break::Gap, reason);
    }
    if head.previous != origin.hash {
        return broken(Break::Chain, format!("transaction {} does not follow the one before it", head.number));
    }

    let now_ms = tx.inner().now_ms();
    let max_ms = u64::try_from(DRIFT_MAX.as_millis()).expect("the drift is a minute");
    let stamp = Stamp::new(head.hlc, peer);
    let mut plan = Plan { peer, stamp, objects: HashMap::new(), order: Vec::new(), lost: Vec::new(), live: 0 };
    let judged = match stamp.millis().checked_sub(now_ms) {
        Some(ahead_ms) if ahead_ms > max_ms => {
            Err(Fault::Refused(None, RefusalReason::ClockAhead { ahead_ms, max_ms }))
        }
        _ => plan.judge(tx, block),
    };
    let (verdict, push) = match judged {
        Ok(()) if plan.live == 0 && !plan.lost.is_empty() => {
            (Verdict::Superseded { lost: std::mem::take(&mut plan.lost) }, None)
        }
        Ok(()) => {
            let seq = Seq(meta::head(tx)?.0 + 1);
            let ops: Arc<[u8]> = if plan.lost.is_empty() { block.into() } else { live_ops(peer, block, &plan.lost)?.into() };
            let lost = std::mem::take(&mut plan.lost);
            plan.write(tx, seq)?;
            meta::put_head(tx, seq)?;
            let push = PushedTx { seq, origin: peer, number: head.number, hlc: head.hlc, ops };
            (Verdict::Accepted { seq, lost }, Some(push))
        }
        Err(Fault::Refused(op, reason)) => {
            (Verdict::Refused { code: reason.code(), op, message: reason.to_string() }, None)
        }
        Err(Fault::Malformed(reason)) => return broken(Break::Content, reason),
        Err(Fault::Store(error)) => return Err(error),
    };
    origin.decided = head.number;
    origin.hash = TxHash::of(incoming.bytes);
    origins::put(tx, peer, &origin)?;
    origins::put_verdict(tx, peer, head.number, &verdict)?;
    Ok(Decided { peer, decision: Decision::Verdict { number: head.number, verdict }, push })
}

fn duplicate(tx: &WriteTxn<'_>, peer: PeerId, origin: &Origin, number: TxNumber) -> Result<Decision> {
    if number <= origin.confirmed {
        return Ok(Decision::Known { number });
    }
    let verdict = origins::verdict(tx.engine_tx(), &tx.inner().sync.tables, peer, number)?
        .ok_or_else(|| StoreError::damaged("decisions", format!("the verdict on {peer} {number} is missing")))?;
    Ok(Decision::Verdict { number, verdict })
}

/// The ops block without the ops that took no effect.
fn live_ops(peer: PeerId, block: &[u8], lost: &[LostOp]) -> Result<Vec<u8>> {
    let undecodable = |e| StoreError::damaged("transaction", e);
    let mut writer = OpsWriter::new(peer);
    for (at, op) in OpsReader::new(peer, block).map_err(undecodable)?.enumerate() {
        let op = op.map_err(undecodable)?;
        if !lost.iter().any(|lost| lost.op as usize == at) {
            writer.push(&op);
        }
    }
    Ok(writer.finish())
}

enum Fault {
    Refused(Option<u32>, RefusalReason),
    Malformed(String),
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

/// What a transaction would make of the objects that it names.
struct Plan<'a> {
    peer: PeerId,
    stamp: Stamp,
    objects: HashMap<(u32, GlobalId), Planned<'a>>,
    order: Vec<(u32, GlobalId)>,
    lost: Vec<LostOp>,
    live: usize,
}

struct Planned<'a> {
    entity: Arc<EntityRuntime>,
    id: Option<ObjectId>,
    former_seq: Option<Seq>,
    state: ObjectState<'a>,
    changed: bool,
}

impl<'a> Plan<'a> {
    fn judge(&mut self, tx: &WriteTxn<'_>, block: &'a [u8]) -> Result<(), Fault> {
        let malformed = |e: reconvene_model::codec::DecodeError| Fault::Malformed(format!("the ops do not decode: {e}"));
        let mut ops = OpsReader::new(self.peer, block).map_err(malformed)?;
        if ops.len() > TX_OPS_MAX {
            return Err(Fault::Refused(None, RefusalReason::TooManyOps { max: TX_OPS_MAX }));
        }
        let mut at: u32 = 0;
        let mut op = Op::default();
        while ops.read_into(&mut op).map_err(malformed)? {
            self.judge_op(tx, at, &op).map_err(|fault| match fault {
                Fault::Refused(_, reason) => Fault::Refused(Some(at), reason),
                other => other,
            })?;
            at += 1;
        }
        if at == 0 {
            return Err(Fault::Malformed("the transaction has no ops".to_owned()));
        }
        self.judge_uniqueness(tx)
    }

    fn judge_op(&mut self, tx: &WriteTxn<'_>, at: u32, op: &Op<'a>) -> Result<(), Fault> {
        let refused = |reason| Err(Fault::Refused(None, reason));
        let Some(entity) = tx.inner().catalog.by_uid(op.entity) else {
            return refused(RefusalReason::UnknownEntity);
        };
        let name = || entity.def.name.clone();
        if !entity.def.is_synced() {
            return refused(RefusalReason::NotSynced { entity: name() });
        }
        let columns = tx.sync_entity(entity)?;
        check_cells(entity, &columns, op)?;
        if entity.def.has_shared_ids() != (op.gid.origin == PeerId::SHARED) {
            return refused(RefusalReason::ForeignId { entity: name() });
        }
        let peer = self.peer;
        let planned = match self.objects.entry((entity.def.id.0, op.gid)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.order.push(*entry.key());
                entry.insert(Planned::load(tx, entity, &columns, op.gid)?)
            }
        };
        let state = &mut planned.state;
        let gid = op.gid;
        if op.generation > state.generation {
            let (known, got) = (state.generation, op.generation);
            return refused(RefusalReason::GenerationAhead { entity: name(), gid, known, got });
        }
        let late = op.generation < state.generation;
        match op.kind {
            OpKind::Insert if !late && !state.exists && state.generation == 0 => {
                if gid.origin != peer && gid.origin != PeerId::SHARED {
                    return refused(RefusalReason::ForeignId { entity: name() });
                }
                if planned.id.is_none() {
                    planned.state = inserted(op, self.stamp);
                    planned.changed = true;
                    self.live += 1;
                    return Ok(());
                }
            }
            OpKind::Update | OpKind::Remove if !late && !state.exists => {
                return refused(RefusalReason::DependsOnRefused { entity: name(), gid });
            }
            _ => {}
        }
        let merged = merge_op(state, op, self.stamp);
        if state.registers.len() > PROPERTIES_MAX {
            return refused(RefusalReason::TooManyProperties { entity: name(), gid, max: PROPERTIES_MAX });
        }
        match merged {
            Merged::Superseded => self.lost.push(LostOp { op: at, generation: state.generation }),
            Merged::Changed => {
                planned.changed = true;
                self.live += 1;
            }
            // A remove of what is already removed is what its author wanted.
            Merged::Unchanged => self.live += 1,
        }
        Ok(())
    }

    /// Judges the merged result of the whole transaction, so that two objects may swap their values in one.
    fn judge_uniqueness(&self, tx: &WriteTxn<'_>) -> Result<(), Fault> {
        let mut taken: HashMap<(u32, u16, &[u8]), GlobalId> = HashMap::new();
        let mut planned_ids: HashMap<Place, ()> = HashMap::new();
        for planned in self.objects.values() {
            if let Some(id) = planned.id {
                planned_ids.insert((planned.entity.def.id, id), ());
            }
        }
        for key in &self.order {
            let planned = &self.objects[key];
            if !planned.state.exists || !planned.changed {
                continue;
            }
            for unique in planned.entity.unique_indexes() {
                let property = unique.property();
                let register = planned.state.registers.iter().find(|register| register.uid == property.uid);
                let Some(cell) = register.and_then(|register| register.cell.as_deref()) else { continue };
                let clash = || RefusalReason::UniqueTaken {
                    entity: planned.entity.def.name.clone(),
                    property: property.name.clone(),
                };
                let place = (key.0, u16::try_from(property.slot()).unwrap_or(u16::MAX), cell);
                if taken.insert(place, key.1).is_some_and(|other| other != key.1) {
                    return Err(Fault::Refused(None, clash()));
                }
                let others = tx.ids_with_stored_value(&planned.entity, unique, cell)?;
                if others.iter().any(|&other| {
                    Some(other) != planned.id && !planned_ids.contains_key(&(planned.entity.def.id, other))
                }) {
                    return Err(Fault::Refused(None, clash()));
                }
            }
        }
        Ok(())
    }

    fn write(self, tx: &mut WriteTxn<'_>, seq: Seq) -> Result<()> {
        for key in &self.order {
            let planned = &self.objects[key];
            if !planned.changed {
                continue;
            }
            let entity = &planned.entity;
            let id = match planned.id {
                Some(id) => id,
                None if entity.def.has_shared_ids() => key.1.counter,
                None => global_ids::assign(tx, entity, key.1)?,
            };
            overlay::put_visible(tx, entity, id, key.1, Some(seq), &planned.state)?;
            changes::moved(tx, entity.def.id, id, planned.former_seq, seq)?;
        }
        Ok(())
    }
}

impl Planned<'_> {
    fn load(tx: &WriteTxn<'_>, entity: &Arc<EntityRuntime>, columns: &SyncEntity, gid: GlobalId) -> Result<Self> {
        let mut planned = Planned {
            entity: entity.clone(),
            id: global_ids::local(tx, entity, gid)?,
            former_seq: None,
            state: ObjectState::default(),
            changed: false,
        };
        let Some(id) = planned.id else { return Ok(planned) };
        match overlay::stored_record(tx, entity, id)? {
            Some(record) => {
                let (state, header) = convert::state_of_record(tx, columns, &record)?;
                planned.state = state.into_owned();
                planned.former_seq = header.seq;
            }
            // Shared ids and the server's own need no mapping: nothing stored means that nothing is known.
            None => planned.id = None,
        }
        Ok(planned)
    }
}

/// Checks what a cell holds against the server's schema; widths of scalars were checked when the op was read.
fn check_cells(entity: &EntityRuntime, columns: &SyncEntity, op: &Op<'_>) -> Result<(), Fault> {
    for cell in &op.cells {
        // A property of a newer schema is kept unread.
        let Some(column) = columns.column(cell.uid) else { continue };
        let property = || {
            entity.def.property_by_uid(cell.uid).map_or_else(String::new, |property| property.name.clone())
        };
        if column.ty as u8 != cell.ty {
            let got = PropertyType::from_number(cell.ty).map_or_else(|| cell.ty.to_string(), |ty| ty.to_string());
            let entity = entity.def.name.clone();
            let reason = RefusalReason::TypeMismatch { entity, property: property(), known: column.ty, got };
            return Err(Fault::Refused(None, reason));
        }
        let Some(bytes) = &cell.bytes else { continue };
        if reconvene_model::value::check_value(column.ty, bytes).is_ok() {
            continue;
        }
        let reason = RefusalReason::BadText { entity: entity.def.name.clone(), property: property() };
        return Err(Fault::Refused(None, reason));
    }
    Ok(())
}
