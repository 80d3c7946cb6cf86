//! Which objects have undecided transactions: an index over the outbox, kept in memory.

use std::collections::HashMap;

use reconvene_model::change::{OpsReader, decode_tx};
use reconvene_model::{EntityId, ObjectId, TxNumber};

use crate::error::{Result, StoreError};
use crate::sync::{global_ids, outbox};
use crate::txn::WriteTxn;

/// The numbers of the undecided transactions of each object, ascending.
#[derive(Default)]
pub(crate) struct Pending {
    objects: HashMap<(EntityId, ObjectId), Numbers>,
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
        for row in outbox::rows(tx, 0)? {
            let row = row?;
            let (head, block) = decode_tx(row.bytes).map_err(|e| StoreError::damaged("outbox", e))?;
            for op in OpsReader::new(head.origin, block).map_err(|e| StoreError::damaged("outbox", e))? {
                let op = op.map_err(|e| StoreError::damaged("outbox", e))?;
                let Some(entity) = tx.inner().catalog.by_uid(op.entity) else { continue };
                if let Some(id) = global_ids::local(tx, entity, op.gid)? {
                    pending.add(entity.def.id, id, row.number);
                }
            }
        }
        Ok(pending)
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
        self.objects.contains_key(&(entity, id))
    }

    /// The undecided transactions that write the object, ascending.
    pub(crate) fn numbers(&self, entity: EntityId, id: ObjectId) -> impl Iterator<Item = TxNumber> + '_ {
        self.objects
            .get(&(entity, id))
            .into_iter()
            .flat_map(|numbers| std::iter::once(numbers.first).chain(numbers.rest.iter().copied()))
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
}
