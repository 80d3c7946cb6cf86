//! Removing objects together with those that they own.

use std::collections::HashSet;
use std::sync::Arc;

use reconvene_model::ObjectId;

use super::hop::Hop;
use super::relation::LinkName;
use crate::boxes::EntityBox;
use crate::catalog::EntityRuntime;
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::txn::WriteTxn;

/// The most objects that one removal may take with it.
pub const CASCADE_OBJECTS_MAX: usize = 1_000_000;

impl WriteTxn<'_> {
    /// Removes an object, and with it those that it owns; whether it was there.
    pub(crate) fn remove_object(&mut self, entity: &Arc<EntityRuntime>, id: ObjectId) -> Result<bool> {
        if entity.owns { self.remove_owned(entity, id, &[]) } else { self.remove_alone(entity, id) }
    }

    fn remove_alone(&mut self, entity: &Arc<EntityRuntime>, id: ObjectId) -> Result<bool> {
        let removed = self.remove_one_object(entity, id)?;
        if removed && entity.has_link_rows {
            self.drop_link_rows(entity, id)?;
        }
        Ok(removed)
    }

    /// As [`WriteTxn::remove_object`], for which objects of this entity also own what these lead to.
    ///
    /// Everything is found before anything is removed: links that lead in a circle end the search, and a cascade that is too
    /// large leaves the transaction as it was.
    pub(crate) fn remove_owned(
        &mut self,
        entity: &Arc<EntityRuntime>,
        id: ObjectId,
        also: &[Hop],
    ) -> Result<bool> {
        if self.record(entity, id)?.is_none() {
            return Ok(false);
        }
        let mut found = vec![(entity.clone(), id)];
        let mut seen = HashSet::from([(entity.def.id, id)]);
        let mut hops: Vec<(Arc<EntityRuntime>, Vec<Hop>)> = Vec::new();
        let mut next = 0;
        while let Some((of, from)) = found.get(next).cloned() {
            next += 1;
            let at = match hops.iter().position(|(known, _)| known.def.id == of.def.id) {
                Some(at) => at,
                None => {
                    let mut owned = self.owned_hops(&of);
                    if of.def.id == entity.def.id {
                        owned.extend_from_slice(also);
                    }
                    hops.push((of.clone(), owned));
                    hops.len() - 1
                }
            };
            for hop in &hops[at].1 {
                for far in hop.ids(&self.moment(), from)? {
                    if !seen.insert((hop.far.def.id, far)) {
                        continue;
                    }
                    if found.len() > CASCADE_OBJECTS_MAX {
                        let entity = entity.def.name.clone();
                        return Err(StoreError::CascadeTooLarge { entity, id, max: CASCADE_OBJECTS_MAX });
                    }
                    found.push((hop.far.clone(), far));
                }
            }
        }
        for (of, id) in found.iter().rev() {
            self.remove_alone(of, *id)?;
        }
        Ok(true)
    }

    fn owned_hops(&self, entity: &Arc<EntityRuntime>) -> Vec<Hop> {
        let relations = entity.def.relations.iter().filter(|one| one.owned).map(|one| &one.name);
        let backlinks = entity.def.backlinks.iter().filter(|one| one.owned).map(|one| &one.name);
        relations.chain(backlinks).filter_map(|name| self.inner().catalog.hop(entity, name)).collect()
    }

    /// Removes an object and what these links, relations and backlinks lead to, as if it owned that; whether it was there.
    ///
    /// Objects of the same entity that go with it own theirs likewise, so a whole tree goes with its root. What the schema
    /// says of owned objects holds as well.
    ///
    /// # Errors
    ///
    /// [`StoreError::CascadeTooLarge`], with nothing removed, if more than [`CASCADE_OBJECTS_MAX`] objects would go; and those of
    /// [`WriteTxn::remove`].
    pub fn remove_with<T: Entity>(&mut self, id: ObjectId, owned: &[LinkName<T>]) -> Result<bool> {
        let entity = self.inner().of_struct::<T>()?.entity.clone();
        let hops = owned.iter().map(|name| self.inner().catalog.expect_hop(&entity, name.name()));
        let hops = hops.collect::<Result<Vec<_>>>()?;
        self.remove_owned(&entity, id, &hops)
    }
}

impl<T: Entity> EntityBox<T> {
    /// As [`WriteTxn::remove_with`], in a transaction of its own.
    ///
    /// # Errors
    ///
    /// As [`WriteTxn::remove_with`].
    pub fn remove_with(&self, id: ObjectId, owned: &[LinkName<T>]) -> Result<bool> {
        self.store().write(|tx| tx.remove_with(id, owned))
    }
}
