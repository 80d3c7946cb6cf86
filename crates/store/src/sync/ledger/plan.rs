//! What a transaction would make of the objects that it names, judged whole before any of it is written.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use reconvene_model::change::{Op, OpKind, OpsReader};
use reconvene_model::codec::DecodeError;
use reconvene_model::kinds::{Kind, SET_BYTES_MAX};
use reconvene_model::merge::{Merged, merge_op};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::schema::PROPERTIES_MAX;
use reconvene_model::state::ObjectState;
use reconvene_model::{EntityId, GlobalId, ObjectId, PeerId, PropertyType, Seq, Stamp};

use super::RefusalReason;
use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::sync::apply::{LostOp, inserted};
use crate::sync::columns::SyncEntity;
use crate::sync::global_ids::Lookup;
use crate::sync::inserts::Inserts;
use crate::sync::overlay::{self, Place};
use crate::sync::{TX_OPS_MAX, TX_VALUES_MAX, changes, convert, global_ids};
use crate::txn::WriteTxn;

/// Why a transaction is not taken.
pub(super) enum Fault {
    Refused(Option<u32>, RefusalReason),
    Malformed(String),
    Store(StoreError),
    /// Some object may be named by two ops, so none can be written straight.
    NamedTwice,
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

/// What a transaction would make of the objects that it names.
pub(super) struct Plan<'a> {
    peer: PeerId,
    stamp: Stamp,
    /// The position that the transaction gets if it is accepted.
    seq: Seq,
    objects: HashMap<(u32, GlobalId), Planned<'a>>,
    order: Vec<(u32, GlobalId)>,
    block: &'a [u8],
    inserts: Inserts,
    /// The places in the block of inserts that are written straight from it, ascending. Their objects are the peer's own, not
    /// heard of before, and named by no other op.
    straight: Vec<u32>,
    /// Which of the peer's own objects ops have named, per entity.
    named: Vec<Named>,
    pub(super) lost: Vec<LostOp>,
    pub(super) live: usize,
}

/// Which of the peer's own objects of an entity ops have named.
struct Named {
    entity: EntityId,
    /// The largest counter; a larger one is named for the first time.
    last: u64,
    /// The smallest counter of those that are written straight.
    straight: u64,
}

struct Planned<'a> {
    entity: Arc<EntityRuntime>,
    id: Option<ObjectId>,
    former_seq: Option<Seq>,
    state: ObjectState<'a>,
    changed: bool,
}

impl<'a> Plan<'a> {
    /// An empty plan for a transaction of this peer.
    pub(super) fn new(peer: PeerId, stamp: Stamp, seq: Seq, block: &'a [u8]) -> Self {
        Plan {
            peer,
            stamp,
            seq,
            objects: HashMap::new(),
            order: Vec::new(),
            block,
            inserts: Inserts::default(),
            straight: Vec::new(),
            named: Vec::new(),
            lost: Vec::new(),
            live: 0,
        }
    }

    pub(super) fn judge(&mut self, tx: &WriteTxn<'_>) -> Result<(), Fault> {
        match self.judge_ops(tx, true) {
            Err(Fault::NamedTwice) => {
                *self = Plan::new(self.peer, self.stamp, self.seq, self.block);
                self.judge_ops(tx, false)
            }
            judged => judged,
        }
    }

    fn judge_ops(&mut self, tx: &WriteTxn<'_>, straight: bool) -> Result<(), Fault> {
        let mut ops = OpsReader::new(self.peer, self.block).map_err(malformed)?;
        if ops.len() > TX_OPS_MAX {
            return Err(Fault::Refused(None, RefusalReason::TooManyOps { max: TX_OPS_MAX }));
        }
        let mut at: u32 = 0;
        let mut values = 0;
        let mut op = Op::default();
        while ops.read_into(&mut op).map_err(malformed)? {
            values += op.cells.len();
            if values > TX_VALUES_MAX {
                return Err(Fault::Refused(Some(at), RefusalReason::TooManyValues { max: TX_VALUES_MAX }));
            }
            self.judge_op(tx, at, &op, straight).map_err(|fault| match fault {
                Fault::Refused(_, reason) => Fault::Refused(Some(at), reason),
                other => other,
            })?;
            at += 1;
        }
        if at == 0 {
            return Err(Fault::Malformed(NO_OPS.to_owned()));
        }
        if planted(Planted::UniqueUnjudged) {
            return Ok(());
        }
        self.judge_uniqueness(tx)
    }

    fn judge_op(&mut self, tx: &WriteTxn<'_>, at: u32, op: &Op<'a>, straight: bool) -> Result<(), Fault> {
        let refused = |reason| Err(Fault::Refused(None, reason));
        let Some(entity) = tx.inner().catalog.by_uid(op.entity) else {
            return refused(RefusalReason::UnknownEntity);
        };
        let name = || entity.def.name.clone();
        if !entity.def.is_synced() {
            return refused(RefusalReason::NotSynced { entity: name() });
        }
        let columns = tx.sync_entity(entity)?;
        let stamp = columns.stamp(self.stamp, op, Some(self.seq));
        if op.gid.origin == self.peer {
            let counter = op.gid.counter;
            let named = self.named(entity.def.id);
            let (is_first, may_be_straight) = (counter > named.last, counter >= named.straight);
            named.last = counter.max(named.last);
            if straight && is_first && self.is_straight(tx, entity, columns, op)? {
                let named = self.named(entity.def.id);
                named.straight = counter.min(named.straight);
                self.straight.push(at);
                self.live += 1;
                return Ok(());
            }
            if !is_first && may_be_straight {
                return Err(Fault::NamedTwice);
            }
        }
        check_cells(entity, columns, op)?;
        if entity.def.has_shared_ids() != (op.gid.origin == PeerId::SHARED) {
            return refused(RefusalReason::ForeignId { entity: name() });
        }
        let peer = self.peer;
        let planned = match self.objects.entry((entity.def.id.0, op.gid)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.order.push(*entry.key());
                entry.insert(Planned::load(tx, entity, columns, op.gid)?)
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
                    planned.state = inserted(op, stamp);
                    planned.changed = true;
                    self.live += 1;
                    return check_sets(entity, &planned.state, op);
                }
            }
            OpKind::Update | OpKind::Remove
                if !late && !state.exists && !planted(Planted::MissingObjectEdited) =>
            {
                return refused(RefusalReason::DependsOnRefused { entity: name(), gid });
            }
            _ => {}
        }
        let merged = merge_op(state, op, stamp);
        if state.registers.len() > PROPERTIES_MAX {
            return refused(RefusalReason::TooManyProperties { entity: name(), gid, max: PROPERTIES_MAX });
        }
        check_sets(entity, state, op)?;
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

    fn named(&mut self, entity: EntityId) -> &mut Named {
        let at = self.named.iter().position(|named| named.entity == entity).unwrap_or_else(|| {
            self.named.push(Named { entity, last: 0, straight: u64::MAX });
            self.named.len() - 1
        });
        &mut self.named[at]
    }

    /// Whether an op can be written without a look at what is stored, and without one at the other ops.
    fn is_straight(
        &mut self,
        tx: &WriteTxn<'_>,
        entity: &EntityRuntime,
        columns: &SyncEntity,
        op: &Op<'_>,
    ) -> Result<bool> {
        Ok(entity.unique_indexes().next().is_none()
            && self.inserts.takes(tx, entity, columns, op)
            && tx.is_unheard(entity, op.gid)?)
    }

    /// Judges the merged result of the whole transaction, so that two objects may swap their values in one.
    fn judge_uniqueness(&self, tx: &WriteTxn<'_>) -> Result<(), Fault> {
        let mut taken: HashMap<(u32, u16, &[u8]), GlobalId> = HashMap::new();
        let mut planned_ids: HashMap<Place, ()> = HashMap::new();
        // What the transaction names and leaves as it is holds its values like any other object.
        for planned in self.objects.values().filter(|planned| planned.changed) {
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

    pub(super) fn write(mut self, tx: &mut WriteTxn<'_>) -> Result<()> {
        self.write_straight(tx)?;
        let seq = self.seq;
        for key in &self.order {
            let planned = &self.objects[key];
            if !planned.changed {
                continue;
            }
            let entity = &planned.entity;
            let id = match planned.id {
                Some(id) => id,
                None if entity.def.has_shared_ids() => key.1.counter,
                // A link of an object before it in the transaction may have reserved an id for it meanwhile.
                None => match global_ids::named_by_peer(tx, entity, key.1)? {
                    Some(id) => id,
                    None => global_ids::assign(tx, entity, key.1)?,
                },
            };
            overlay::put_visible(tx, entity, id, key.1, Some(seq), &planned.state)?;
            changes::moved(tx, entity.def.id, id, planned.former_seq, seq)?;
        }
        Ok(())
    }

    /// Writes the inserts that were judged to be straight, reading them once more from the block.
    fn write_straight(&mut self, tx: &mut WriteTxn<'_>) -> Result<()> {
        let mut left = self.straight.iter().copied().peekable();
        if left.peek().is_none() {
            return Ok(());
        }
        let undecodable = |e| StoreError::damaged("transaction", e);
        let mut ops = OpsReader::new(self.peer, self.block).map_err(undecodable)?;
        let mut op = Op::default();
        let mut at: u32 = 0;
        while left.peek().is_some() && ops.read_into(&mut op).map_err(undecodable)? {
            if left.next_if_eq(&at).is_some() {
                let entity = tx.inner().catalog.by_uid(op.entity);
                let entity =
                    entity.ok_or_else(|| StoreError::internal("a judged op's entity is in the catalog"))?;
                let stamp = tx.sync_entity(entity)?.stamp(self.stamp, &op, Some(self.seq));
                self.inserts.put(tx, entity, &op, stamp, Some(self.seq))?;
            }
            at += 1;
        }
        Ok(())
    }
}

/// What is wrong with a transaction that does nothing.
pub(super) const NO_OPS: &str = "the transaction has no ops";

/// What is wrong with a block that cannot be read.
pub(super) fn undecodable(error: DecodeError) -> String {
    format!("the ops do not decode: {error}")
}

fn malformed(error: DecodeError) -> Fault {
    Fault::Malformed(undecodable(error))
}

impl Planned<'_> {
    fn load(
        tx: &WriteTxn<'_>,
        entity: &Arc<EntityRuntime>,
        columns: &SyncEntity,
        gid: GlobalId,
    ) -> Result<Self> {
        let mut planned = Planned {
            entity: entity.clone(),
            id: global_ids::named_by_peer(tx, entity, gid)?,
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

/// Checks that an op has made no set larger than one may be.
fn check_sets(entity: &EntityRuntime, state: &ObjectState<'_>, op: &Op<'_>) -> Result<(), Fault> {
    for cell in &op.cells {
        if Kind::of_type(cell.ty).is_none_or(|kind| kind == Kind::Counter) {
            continue;
        }
        let set = state.register(cell.uid).and_then(|register| register.cell.as_deref());
        if set.is_some_and(|set| set.len() > SET_BYTES_MAX) {
            let property = entity.def.property_by_uid(cell.uid).map(|property| property.name.clone());
            let (entity, property) = (entity.def.name.clone(), property.unwrap_or_default());
            let reason = RefusalReason::SetTooLarge { entity, property, gid: op.gid, max: SET_BYTES_MAX };
            return Err(Fault::Refused(None, reason));
        }
    }
    Ok(())
}

/// The name of a cell's type, for messages.
fn type_name(ty: u8) -> String {
    let known = PropertyType::from_number(ty).map(PropertyType::name);
    let name = known.or(Kind::of_type(ty).map(Kind::name));
    name.map_or_else(|| ty.to_string(), str::to_owned)
}

/// Checks the types of cells against the server's schema; that each is a value of its type was checked when it was read.
fn check_cells(entity: &EntityRuntime, columns: &SyncEntity, op: &Op<'_>) -> Result<(), Fault> {
    for cell in &op.cells {
        // A property of a newer schema is kept unread.
        let Some(column) = columns.column(cell.uid) else { continue };
        if column.cell_type() != cell.ty {
            let property = entity.def.property_by_uid(cell.uid).map(|property| property.name.clone());
            let (entity, property) = (entity.def.name.clone(), property.unwrap_or_default());
            let (known, got) = (type_name(column.cell_type()), type_name(cell.ty));
            let reason = RefusalReason::TypeMismatch { entity, property, known, got };
            return Err(Fault::Refused(None, reason));
        }
    }
    Ok(())
}
