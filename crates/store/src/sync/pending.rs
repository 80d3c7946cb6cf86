//! Which objects have undecided transactions: an index over the outbox, kept in memory.

use reconvene_model::change::{OpKind, OpsReader, decode_tx};
use reconvene_model::planted::{Planted, planted};
use reconvene_model::{EntityId, ObjectId, TxNumber};

use crate::error::{Result, StoreError};
use crate::sync::id_runs::{ByObject, IdRuns, Run};
use crate::sync::{global_ids, outbox};
use crate::txn::WriteTxn;

/// From how many ids on a run is kept as one; shorter ones would make the search among runs longer than it saves.
const RUN_IDS_MIN: u64 = 8;

/// The numbers of the undecided transactions of each object, ascending.
#[derive(Default)]
pub(crate) struct Pending {
    /// The numbers that inserted many objects in a row; those that wrote an object later stand in `objects`.
    inserts: IdRuns<TxNumber>,
    objects: ByObject<Numbers>,
}

/// Most objects have one undecided transaction; the rest of the list costs nothing until it is needed.
struct Numbers {
    first: TxNumber,
    rest: Vec<TxNumber>,
}

impl Pending {
    /// Reads the whole outbox.
    pub(crate) fn load(tx: &WriteTxn<'_>) -> Result<Pending> {
        let mut pending = Pending::default();
        let skipped = if planted(Planted::PendingForgotten) { TxNumber::MAX } else { 0 };
        for row in outbox::rows(tx, skipped)? {
            let row = row?;
            let (head, block) = decode_tx(row.bytes).map_err(|e| StoreError::damaged("outbox", e))?;
            let mut inserts = IdRuns::default();
            for op in OpsReader::new(head.origin, block).map_err(|e| StoreError::damaged("outbox", e))? {
                let op = op.map_err(|e| StoreError::damaged("outbox", e))?;
                let Some(entity) = tx.inner().catalog.synced(op.entity) else { continue };
                let Some(id) = global_ids::local(tx, entity, op.gid)? else { continue };
                let entity = entity.def.id;
                if op.kind == OpKind::Insert
                    && !pending.contains(entity, id)
                    && inserts.get(entity, id).is_none()
                {
                    inserts.add(entity, id, ());
                } else if inserts.get(entity, id).is_none() {
                    pending.add(entity, id, row.number);
                }
            }
            inserts.runs().for_each(|run| pending.add_inserts(run, row.number));
        }
        Ok(pending)
    }

    /// Notes that `number` inserted these objects, which no undecided transaction wrote before.
    pub(crate) fn add_inserts(&mut self, run: Run<()>, number: TxNumber) {
        let Run { entity, first, last, value: () } = run;
        if run.len() < RUN_IDS_MIN {
            (first..=last).for_each(|id| self.add(entity, id, number));
        } else {
            self.inserts.add_run(Run { entity, first, last, value: number });
        }
    }

    /// Notes that `number` writes the object; numbers come in ascending order.
    pub(crate) fn add(&mut self, entity: EntityId, id: ObjectId, number: TxNumber) {
        self.objects
            .entry((entity, id))
            .and_modify(|numbers| {
                if numbers.last() != number {
                    numbers.rest.push(number);
                }
            })
            .or_insert(Numbers { first: number, rest: Vec::new() });
    }

    /// Notes that `number` is settled for the object.
    pub(crate) fn remove(&mut self, entity: EntityId, id: ObjectId, number: TxNumber) {
        if self.inserts.get(entity, id) == Some(number) {
            self.inserts.remove(entity, id);
            return;
        }
        let Some(numbers) = self.objects.get_mut(&(entity, id)) else { return };
        if numbers.first == number {
            if numbers.rest.is_empty() {
                self.objects.remove(&(entity, id));
            } else {
                numbers.first = numbers.rest.remove(0);
            }
        } else {
            numbers.rest.retain(|&n| n != number);
        }
    }

    /// Whether any undecided transaction writes the object.
    pub(crate) fn contains(&self, entity: EntityId, id: ObjectId) -> bool {
        self.inserts.get(entity, id).is_some() || self.objects.contains_key(&(entity, id))
    }

    /// The newest undecided transaction that writes the object, but for one that inserts it among many.
    pub(crate) fn last(&self, entity: EntityId, id: ObjectId) -> Option<TxNumber> {
        self.objects.get(&(entity, id)).map(Numbers::last)
    }

    /// The undecided transactions that write the object, ascending.
    pub(crate) fn numbers(&self, entity: EntityId, id: ObjectId) -> impl Iterator<Item = TxNumber> + '_ {
        let later = self.objects.get(&(entity, id)).into_iter();
        let later =
            later.flat_map(|numbers| std::iter::once(numbers.first).chain(numbers.rest.iter().copied()));
        self.inserts.get(entity, id).into_iter().chain(later)
    }
}

impl Numbers {
    fn last(&self) -> TxNumber {
        self.rest.last().copied().unwrap_or(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_pending_until_its_last_number_is_settled() {
        let mut pending = Pending::default();
        let (entity, id) = (EntityId(1), 7);
        for number in [3, 3, 5, 9] {
            pending.add(entity, id, number);
        }
        assert_eq!(pending.numbers(entity, id).collect::<Vec<_>>(), [3, 5, 9]);
        pending.remove(entity, id, 5);
        pending.remove(entity, id, 3);
        assert_eq!(pending.numbers(entity, id).collect::<Vec<_>>(), [9]);
        pending.remove(entity, id, 9);
        assert!(!pending.contains(entity, id));
    }

    #[test]
    fn objects_inserted_in_a_row_are_pending_one_by_one() {
        let mut pending = Pending::default();
        let entity = EntityId(1);
        pending.add_inserts(Run { entity, first: 1, last: 100, value: () }, 3);
        pending.add(entity, 50, 4);
        assert_eq!(pending.numbers(entity, 50).collect::<Vec<_>>(), [3, 4]);
        pending.remove(entity, 50, 3);
        assert_eq!(pending.numbers(entity, 50).collect::<Vec<_>>(), [4]);
        (1..=100).for_each(|id| pending.remove(entity, id, 3));
        pending.remove(entity, 50, 4);
        assert!((1..=100).all(|id| !pending.contains(entity, id)));
    }
}
