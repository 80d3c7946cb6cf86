//! Maps by object, for transactions of any size: runs of ids that follow one another cost one entry.

use std::collections::{BTreeMap, HashMap};

use reconvene_model::{EntityId, ObjectId};

/// A map by entity and id. Its hash is seeded at random, because peers choose the ids of entities whose ids are shared.
pub(crate) type ByObject<V> = HashMap<(EntityId, ObjectId), V, foldhash::fast::RandomState>;

/// A value for each of many ids, which mostly follow one another: a bulk insert takes one entry.
#[derive(Debug)]
pub(crate) struct IdRuns<V> {
    /// The run that grows, apart from the others so that growing costs a comparison.
    open: Option<Run<V>>,
    /// The others by entity and last id; none overlaps another.
    closed: BTreeMap<(EntityId, ObjectId), Run<V>>,
}

/// Ids from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run<V> {
    pub(crate) entity: EntityId,
    pub(crate) first: ObjectId,
    pub(crate) last: ObjectId,
    pub(crate) value: V,
}

impl<V> Run<V> {
    /// How many ids it has.
    pub(crate) fn len(&self) -> u64 {
        self.last - self.first + 1
    }

    fn holds(&self, entity: EntityId, id: ObjectId) -> bool {
        self.entity == entity && (self.first..=self.last).contains(&id)
    }
}

impl<V> Default for IdRuns<V> {
    fn default() -> Self {
        IdRuns { open: None, closed: BTreeMap::new() }
    }
}

impl<V: Copy + Eq> IdRuns<V> {
    /// Adds an id that is in no run.
    #[inline]
    pub(crate) fn add(&mut self, entity: EntityId, id: ObjectId, value: V) {
        match &mut self.open {
            Some(open)
                if open.entity == entity && Some(open.last) == id.checked_sub(1) && open.value == value =>
            {
                open.last = id;
            }
            _ => self.open_another(Run { entity, first: id, last: id, value }),
        }
    }

    /// Adds a run whose ids are in no other.
    pub(crate) fn add_run(&mut self, run: Run<V>) {
        self.closed.insert((run.entity, run.last), run);
    }

    /// Whether it has no id.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.closed.is_empty()
    }

    /// The value of an id.
    #[inline]
    pub(crate) fn get(&self, entity: EntityId, id: ObjectId) -> Option<V> {
        match &self.open {
            Some(open) if open.holds(entity, id) => Some(open.value),
            _ if self.closed.is_empty() => None,
            _ => self.closed_run(entity, id).map(|run| run.value),
        }
    }

    /// Takes an id out; its neighbours stay.
    pub(crate) fn remove(&mut self, entity: EntityId, id: ObjectId) -> Option<V> {
        if self.open.as_ref().is_some_and(|open| open.holds(entity, id)) {
            self.close();
        }
        let run = *self.closed_run(entity, id)?;
        if run.first < id {
            let before = Run { last: id - 1, ..run };
            self.closed.insert((entity, before.last), before);
        }
        let key = (entity, run.last);
        if id < run.last {
            // What comes after keeps the key, so taking ids in ascending order moves nothing.
            self.closed.insert(key, Run { first: id + 1, ..run });
        } else {
            self.closed.remove(&key);
        }
        Some(run.value)
    }

    /// The runs, in order of entity and id.
    pub(crate) fn runs(&mut self) -> impl Iterator<Item = Run<V>> + '_ {
        self.close();
        self.closed.values().copied()
    }

    fn closed_run(&self, entity: EntityId, id: ObjectId) -> Option<&Run<V>> {
        let (_, run) = self.closed.range((entity, id)..).next()?;
        run.holds(entity, id).then_some(run)
    }

    /// Closes the run that grows and goes on with the one that the new one continues, if there is one.
    fn open_another(&mut self, mut run: Run<V>) {
        self.close();
        let before = run.first.checked_sub(1).map(|last| (run.entity, last));
        if let Some(key) = before
            && let Some(continued) = self.closed.get(&key).copied()
            && continued.value == run.value
        {
            self.closed.remove(&key);
            run.first = continued.first;
        }
        self.open = Some(run);
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.add_run(open);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;

    fn runs_of(runs: &mut IdRuns<u8>) -> Vec<(u32, u64, u64)> {
        runs.runs().map(|run| (run.entity.0, run.first, run.last)).collect()
    }

    #[test]
    fn ids_in_turns_of_two_entities_make_two_runs() {
        let mut runs = IdRuns::default();
        for id in 1..=100 {
            runs.add(EntityId(1), id, 7);
            runs.add(EntityId(2), id + 10, 7);
        }
        assert_eq!(runs_of(&mut runs), [(1, 1, 100), (2, 11, 110)]);
    }

    #[test]
    fn an_id_taken_out_of_the_middle_leaves_both_sides() {
        let mut runs = IdRuns::default();
        (1..=9).for_each(|id| runs.add(EntityId(1), id, 7));
        assert_eq!(runs.remove(EntityId(1), 5), Some(7));
        assert_eq!(runs.remove(EntityId(1), 5), None);
        assert_eq!(runs_of(&mut runs), [(1, 1, 4), (1, 6, 9)]);
    }

    proptest! {
        #[test]
        fn runs_hold_what_a_map_holds(steps in prop::collection::vec((any::<bool>(), 1u32..3, 1u64..24, 0u8..2), 1..200)) {
            let (mut runs, mut map) = (IdRuns::default(), BTreeMap::new());
            for (add, entity, id, value) in steps {
                let entity = EntityId(entity);
                if !add {
                    prop_assert_eq!(runs.remove(entity, id), map.remove(&(entity, id)));
                } else if let Entry::Vacant(entry) = map.entry((entity, id)) {
                    runs.add(entity, id, value);
                    entry.insert(value);
                }
                for entity in [EntityId(1), EntityId(2)] {
                    for id in 0..25 {
                        prop_assert_eq!(runs.get(entity, id), map.get(&(entity, id)).copied());
                    }
                }
            }
            let listed = runs.runs().map(|run| run.len()).sum::<u64>();
            prop_assert_eq!(listed as usize, map.len());
        }
    }
}
