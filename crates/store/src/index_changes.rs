//! The index changes of one transaction, collected and then applied in key order.
//!
//! Objects come in the order in which the application puts them, their values in none. Sorting first turns a random walk
//! through each index into one pass, which is the largest single win for bulk writes.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use reconvene_model::ObjectId;

use crate::error::Result;
use crate::index::{self, beginning};
use crate::seam::{Reader, TableId, WriteTx};

/// How many bytes of keys are collected before they are applied; a very large transaction must not hold all of them.
const COLLECTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Index entries to add and to remove.
#[derive(Default)]
pub(crate) struct IndexChanges {
    keys: Vec<u8>,
    /// The changes of each index; those of the indexes of one entity come in turns.
    tables: Vec<(TableId, Vec<Change>)>,
    /// By index and value, what the changes make of unique values; lets uniqueness be judged before they are applied.
    unique: HashMap<UniqueValue, Vec<(ObjectId, bool)>>,
    /// The same of other indexes, from when they are first asked about on.
    looked_up: RefCell<Vec<LookedUp>>,
}

/// The changes of one index by value, as far as they were sorted by it.
struct LookedUp {
    table: TableId,
    sorted: usize,
    by_value: HashMap<Box<[u8]>, Vec<(ObjectId, bool)>>,
}

/// An index and the key of a value in it, without an id.
type UniqueValue = (TableId, Box<[u8]>);

#[derive(Clone, Copy)]
struct Change {
    /// The beginning of the key, which mostly decides the order without a look at the rest.
    beginning: u128,
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
        let change = Change { beginning: beginning(key), start, len, present };
        match self.tables.iter_mut().find(|(known, _)| *known == table) {
            Some((_, changes)) => changes.push(change),
            None => self.tables.push((table, vec![change])),
        }
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

    /// As [`IndexChanges::overlay`], for any index: so that one can be read before the changes are applied.
    ///
    /// Each change is looked at once, however often this is asked.
    pub(crate) fn overlay_any(
        &self,
        table: TableId,
        value_key: &[u8],
        ids: &mut Vec<ObjectId>,
    ) -> Result<()> {
        let Some((_, changes)) = self.tables.iter().find(|(known, _)| *known == table) else { return Ok(()) };
        let mut all = self.looked_up.borrow_mut();
        let at = all.iter().position(|known| known.table == table).unwrap_or_else(|| {
            all.push(LookedUp { table, sorted: 0, by_value: HashMap::new() });
            all.len() - 1
        });
        let known = &mut all[at];
        for change in &changes[known.sorted..] {
            let key = &self.keys[change.start..change.start + change.len as usize];
            let id = index::id_of_key(key)?;
            let value = &key[..key.len() - index::ID_BYTES];
            known.by_value.entry(value.into()).or_default().push((id, change.present));
        }
        known.sorted = changes.len();
        let Some(changes) = known.by_value.get(value_key) else { return Ok(()) };
        let mut present: BTreeSet<ObjectId> = ids.drain(..).collect();
        for &(id, is_there) in changes {
            if is_there {
                present.insert(id)
            } else {
                present.remove(&id)
            };
        }
        ids.extend(present);
        Ok(())
    }

    /// Whether so much is collected that it is to be applied.
    pub(crate) fn is_full(&self) -> bool {
        self.keys.len() > COLLECTED_BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Applies everything in key order and forgets it.
    pub(crate) fn apply(&mut self, tx: &mut WriteTx<'_>) -> Result<()> {
        let keys = &self.keys;
        let key = |change: &Change| &keys[change.start..change.start + change.len as usize];
        for (table, changes) in &mut self.tables {
            let table = *table;
            // Of several changes to one entry the last one counts; a stable sort leaves it last.
            changes.sort_by(|a, b| a.beginning.cmp(&b.beginning).then_with(|| key(a).cmp(key(b))));
            // What comes after all that is there needs no search for its place: the first values of an index, and all that
            // grow with time.
            let last = tx.last(table)?.map(|(last, _)| last.to_vec());
            for (at, change) in changes.iter().enumerate() {
                let next = changes.get(at + 1);
                if next.is_some_and(|next| next.beginning == change.beginning && key(next) == key(change)) {
                    continue;
                }
                let key = key(change);
                if !change.present {
                    tx.delete(table, key)?;
                } else if last.as_deref().is_none_or(|last| key > last) {
                    tx.append(table, key, &[])?;
                } else {
                    tx.put(table, key, &[])?;
                }
            }
        }
        self.keys.clear();
        self.tables.clear();
        self.unique.clear();
        self.looked_up.get_mut().clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::{Direction, Engine, KeyRange};

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
    fn entries_stand_in_key_order_among_those_that_were_there() {
        let engine = Engine::memory();
        let table = engine.table("i/1").unwrap();
        let mut tx = engine.write().unwrap();
        let long = |end: &str| format!("a beginning of sixteen bytes and more {end}").into_bytes();
        let mut changes = IndexChanges::default();
        for keys in [[long("m"), long(""), b"a".to_vec()], [long("z"), long("b"), b"a\0".to_vec()]] {
            keys.iter().for_each(|key| changes.note(table, key, true));
            changes.apply(&mut tx).unwrap();
        }
        let keys = tx.range(table, KeyRange::all(), Direction::Forward).unwrap();
        let keys: Vec<_> = keys.map(|entry| entry.unwrap().0.to_vec()).collect();
        assert_eq!(keys, [b"a".to_vec(), b"a\0".to_vec(), long(""), long("b"), long("m"), long("z")]);
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
