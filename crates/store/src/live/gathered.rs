//! What several commits changed, as one change.

use std::collections::BTreeMap;

use reconvene_model::ObjectId;

use crate::observer::{Changes, EntityChanges};

/// How many objects of an entity are told by their ids when commits are told together; if more changed, it is said that they
/// did, and not which.
pub const TOLD_IDS_MAX: usize = 65_536;

/// What became of an object in all.
#[derive(Clone, Copy, PartialEq)]
enum Net {
    Inserted,
    Updated,
    Removed,
}

/// What changed of one entity.
#[derive(Default)]
pub struct Gathered {
    objects: BTreeMap<ObjectId, Net>,
    too_many: bool,
}

/// What changed, by the name of the entity.
#[derive(Default)]
pub struct GatheredAll(BTreeMap<String, Gathered>);

impl Gathered {
    /// Adds what a later commit changed.
    pub(crate) fn add(&mut self, changes: &EntityChanges) {
        for (ids, net) in [
            (&changes.inserted, Net::Inserted),
            (&changes.updated, Net::Updated),
            (&changes.removed, Net::Removed),
        ] {
            for &id in ids {
                if self.too_many {
                    return;
                }
                self.add_one(id, net);
                if self.objects.len() > TOLD_IDS_MAX {
                    self.forget_which();
                }
            }
        }
    }

    fn add_one(&mut self, id: ObjectId, later: Net) {
        match (self.objects.get(&id), later) {
            (Some(Net::Inserted), Net::Removed) => {
                self.objects.remove(&id);
            }
            (Some(Net::Inserted), _) => {}
            (Some(Net::Removed), Net::Inserted) => {
                self.objects.insert(id, Net::Updated);
            }
            (_, later) => {
                self.objects.insert(id, later);
            }
        }
    }

    /// Keeps only that something changed.
    pub(crate) fn forget_which(&mut self) {
        self.objects.clear();
        self.too_many = true;
    }

    /// Whether nothing is left of all that happened.
    pub(crate) fn is_empty(&self) -> bool {
        self.objects.is_empty() && !self.too_many
    }

    /// The objects that changed; `None` if there are too many.
    pub(crate) fn ids(&self) -> Option<impl Iterator<Item = ObjectId>> {
        (!self.too_many).then(|| self.objects.keys().copied())
    }

    pub(crate) fn into_changes(self, entity: String) -> EntityChanges {
        let mut changes = EntityChanges { entity, too_many: self.too_many, ..EntityChanges::default() };
        for (id, net) in self.objects {
            match net {
                Net::Inserted => changes.inserted.push(id),
                Net::Updated => changes.updated.push(id),
                Net::Removed => changes.removed.push(id),
            }
        }
        changes
    }
}

impl GatheredAll {
    /// Adds what a later commit changed.
    pub(crate) fn add(&mut self, changes: &Changes) {
        for changes in &changes.entities {
            let gathered = self.0.entry(changes.entity.clone()).or_default();
            gathered.add(changes);
            if gathered.is_empty() {
                self.0.remove(&changes.entity);
            }
        }
    }

    /// Whether nothing is left of all that happened.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_changes(self) -> Changes {
        let entities = self.0.into_iter().map(|(entity, gathered)| gathered.into_changes(entity));
        Changes { entities: entities.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(inserted: &[ObjectId], updated: &[ObjectId], removed: &[ObjectId]) -> EntityChanges {
        let (inserted, updated, removed) = (inserted.to_vec(), updated.to_vec(), removed.to_vec());
        EntityChanges { inserted, updated, removed, ..EntityChanges::default() }
    }

    #[test]
    fn several_changes_of_an_object_are_told_as_one() {
        let mut gathered = Gathered::default();
        gathered.add(&changes(&[1, 2, 3], &[4, 5], &[6, 7]));
        gathered.add(&changes(&[6], &[1], &[2, 4]));
        gathered.add(&changes(&[], &[6], &[]));
        assert_eq!(gathered.into_changes(String::new()), changes(&[1, 3], &[5, 6], &[4, 7]));
    }

    #[test]
    fn what_came_and_went_leaves_nothing() {
        let mut all = GatheredAll::default();
        all.add(&Changes { entities: vec![changes(&[1], &[], &[])] });
        assert!(!all.is_empty());
        all.add(&Changes { entities: vec![changes(&[], &[], &[1])] });
        assert!(all.is_empty());
    }

    #[test]
    fn more_than_can_be_listed_is_said_to_be_too_much() {
        let mut gathered = Gathered::default();
        let ids: Vec<ObjectId> = (1..=TOLD_IDS_MAX as u64).collect();
        gathered.add(&changes(&ids, &[], &[]));
        assert!(gathered.ids().is_some());
        gathered.add(&changes(&[TOLD_IDS_MAX as u64 + 1], &[], &[]));
        gathered.add(&changes(&[], &[1], &[]));
        assert!(gathered.ids().is_none() && !gathered.is_empty());
        assert_eq!(
            gathered.into_changes("Task".to_owned()),
            EntityChanges { entity: "Task".to_owned(), too_many: true, ..EntityChanges::default() }
        );
    }
}
