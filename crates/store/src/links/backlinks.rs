//! The other direction of links and relations.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

use reconvene_model::ObjectId;

use super::access::{LinkAccess, Moment};
use super::field::{LinkField, LinkPlace, LinksField};
use super::hop::Hop;
use super::to_many::get_all;
use crate::entity::Entity;
use crate::error::Result;
use crate::store::StructRuntime;
use crate::tracked::Tracked;
use crate::txn::WriteTxn;

/// The objects of the entity `T` that link to an object: by a [`ToOne`](crate::ToOne) or a [`ToMany`](crate::ToMany) of theirs.
///
/// Nothing is stored for it but the index of the link; it is found when asked for. To change it, change the links, or use the
/// [`Relation`](crate::Relation) that the derive makes of the field's name.
///
/// ```
/// # use reconvene_store::{Backlinks, Entity, Store, ToOne};
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Project {
///     id: u64,
///     #[backlink(to = "project")]
///     tasks: Backlinks<Task>,
/// }
///
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Task {
///     id: u64,
///     project: ToOne<Project>,
/// }
///
/// # let store = Store::builder("memory:").entity::<Project>().entity::<Task>().open()?;
/// let project = store.boxed::<Project>()?.put(&mut Project::default())?;
/// store.write(|tx| {
///     let task = tx.put(&mut Task { project: project.into(), ..Task::default() })?;
///     let project = tx.get::<Project>(project)?.expect("it was just put");
///     assert_eq!(project.tasks.ids(tx)?, [task]);
///     Ok(())
/// })?;
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
pub struct Backlinks<T> {
    place: LinkPlace,
    far: PhantomData<fn() -> T>,
}

impl<T: Entity> Backlinks<T> {
    fn look<R>(
        &self,
        access: &impl LinkAccess,
        none: R,
        look: impl FnOnce(&Hop, &Moment<'_>) -> Result<R>,
    ) -> Result<R> {
        if self.place.id == 0 {
            return Ok(none);
        }
        access.look(|moment| {
            let catalog = &moment.inner.catalog;
            look(&catalog.expect_hop(catalog.expect(self.place.entity)?, self.place.name)?, &moment)
        })
    }

    /// The ids of the objects that link here, by ascending id.
    ///
    /// # Errors
    ///
    /// If the store lacks the entities, is damaged or cannot be read.
    pub fn ids(&self, access: &impl LinkAccess) -> Result<Vec<ObjectId>> {
        self.look(access, Vec::new(), |hop, moment| hop.ids(moment, self.place.id))
    }

    /// The objects that link here, by ascending id.
    ///
    /// # Errors
    ///
    /// As [`Backlinks::ids`].
    pub fn get(&self, access: &impl LinkAccess) -> Result<Vec<Tracked<T>>> {
        self.look(access, Vec::new(), |hop, moment| get_all(moment, &hop.ids(moment, self.place.id)?))
    }

    /// Whether this object links here.
    ///
    /// # Errors
    ///
    /// As [`Backlinks::ids`].
    pub fn contains(&self, access: &impl LinkAccess, id: ObjectId) -> Result<bool> {
        self.look(access, false, |hop, moment| hop.leads_to(moment, self.place.id, id))
    }

    /// How many objects link here.
    ///
    /// # Errors
    ///
    /// As [`Backlinks::ids`].
    pub fn len(&self, access: &impl LinkAccess) -> Result<usize> {
        Ok(self.ids(access)?.len())
    }

    /// Whether no object links here.
    ///
    /// # Errors
    ///
    /// As [`Backlinks::ids`].
    pub fn is_empty(&self, access: &impl LinkAccess) -> Result<bool> {
        Ok(self.ids(access)?.is_empty())
    }
}

impl<T: Entity> LinkField for Backlinks<T> {
    fn put_links(&mut self, _tx: &mut WriteTxn<'_>, _of: &StructRuntime, place: LinkPlace) -> Result<()> {
        self.place = place;
        Ok(())
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl<T: Entity> LinksField for Backlinks<T> {
    type Far = T;

    fn of(entity: &'static str, name: &'static str, id: ObjectId) -> Self {
        Backlinks { place: LinkPlace { entity, name, id }, far: PhantomData }
    }
}

impl<T> Clone for Backlinks<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Backlinks<T> {}

impl<T> Default for Backlinks<T> {
    fn default() -> Self {
        Backlinks { place: LinkPlace::default(), far: PhantomData }
    }
}

/// Always equal: the field holds nothing of its own.
impl<T> PartialEq for Backlinks<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Backlinks<T> {}

impl<T> fmt::Debug for Backlinks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlinks").finish_non_exhaustive()
    }
}
