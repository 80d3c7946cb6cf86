//! The index changes of one transaction, collected and then applied in key order.
//!
//! Objects come in the order in which the application puts them, their values in none. Sorting first turns a random walk
//! through each index into one pass, which is the largest single win for bulk writes.

use std::collections::HashMap;

use reconvene_model::ObjectId;

use crate::error::Result;
use crate::seam::{TableId, WriteTx};

/// How many bytes of keys are collected before they are applied; a very large transaction must not hold all of them.
const COLLECTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Index entries to add and to remove.
#[derive(Default)]
pub(crate) struct IndexChanges {
    keys: Vec<u8>,
    changes: Vec<Change>,
    /// By index and value, what the changes make of unique values; lets uniqueness be judged before they are applied.
    unique: HashMap<UniqueValue, Vec<(ObjectId, bool)>>,
}

/// An index and the key of a value in it, without an id.
type UniqueValue = (TableId, Box<[u8]>);

#[derive(Clone, Copy)]
struct Change {
    table: TableId,
    start: usize,
    len: u16,
    present: bool,
}

impl IndexChanges {
    /// Notes that the entry is to be there, or not; `key` is the value's key with the id.
    pub(crate) fn note(&mut self, table: TableId, key: &[u8], present: bool) {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        let len = u16::try_from(key.len()).expect("an index key is at most KEY_BYTES_MAX long");
        self.changes.push(Change { table, start, len, present });
    }

    /// Notes the same for a unique index.
    pub(crate) fn note_unique(&mut self, table: TableId, value_key: &[u8], id: ObjectId, present: bool) {
        self.unique.entry((table, value_key.into())).or_default().push((id, present));
    }

    /// Adds to and removes from `ids` what the collected changes say of a unique value.
    pub(crate) fn overlay(&self, table: TableId, value_key: &[u8], ids: &mut Vec<ObjectId>) {
        if self.unique.is_empty() {
            return;
        }
        let Some(changes) = self.unique.get(&(table, value_key.into())) else { return };
        for &(id, present) in changes {
            ids.retain(|&other| other != id);
            if present {
                ids.push(id);
            }
        }
    }

    /// Whether so much is collected that it is to be applied.
    pub(crate) fn is_full(&self) -> bool {
        self.keys.len() > COLLECTED_BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Applies everything in key order and forgets it.
    pub(crate) fn apply(&mut self, tx: &mut WriteTx<'_>) -> Result<()> {
        let keys = &self.keys;
        let key = |change: &Change| &keys[change.start..change.start + change.len as usize];
        // Of several changes to one entry the last one counts; a stable sort leaves it last.
        self.changes.sort_by(|a, b| a.table.cmp(&b.table).then_with(|| key(a).cmp(key(b))));
        for (at, change) in self.changes.iter().enumerate() {
            let next = self.changes.get(at + 1);
            if next.is_some_and(|next| next.table == change.table && key(next) == key(change)) {
                continue;
            }
            if change.present {
                tx.put(change.table, key(change), &[])?;
            } else {
                tx.delete(change.table, key(change))?;
            }
        }
        self.keys.clear();
        self.changes.clear();
        self.unique.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::{Direction, Engine, KeyRange, Reader};

    #[test]
    fn the_last_change_of_an_entry_counts() {
        let engine = Engine::memory();
        let table = engine.table("i/1").unwrap();
        let mut tx = engine.write().unwrap();
        tx.put(table, b"c1", &[]).unwrap();
        let mut changes = IndexChanges::default();
        for (key, present) in [(b"b1", true), (b"a1", true), (b"b1", false), (b"c1", false), (b"c1", true)] {
            changes.note(table, key, present);
        }
        changes.apply(&mut tx).unwrap();
        assert!(changes.is_empty());
        let keys = tx.range(table, KeyRange::all(), Direction::Forward).unwrap();
        let keys: Vec<_> = keys.map(|entry| entry.unwrap().0.to_vec()).collect();
        assert_eq!(keys, [b"a1".to_vec(), b"c1".to_vec()]);
    }

    #[test]
    fn unique_values_are_known_before_they_are_applied() {
        let table = Engine::memory().table("i/1").unwrap();
        let mut changes = IndexChanges::default();
        changes.note_unique(table, b"v", 3, false);
        changes.note_unique(table, b"v", 4, true);
        let mut ids = vec![3];
        changes.overlay(table, b"v", &mut ids);
        assert_eq!(ids, [4]);
        changes.overlay(table, b"other", &mut ids);
        assert_eq!(ids, [4]);
    }
}
