//! Typed handles on relations and backlinks.

use std::fmt;
use std::marker::PhantomData;

use reconvene_model::ObjectId;

use super::access::LinkAccess;
use super::hop::Hop;
use super::to_many::get_all;
use super::to_one::ToOne;
use crate::catalog::Catalog;
use crate::entity::Entity;
use crate::error::Result;
use crate::property::Property;
use crate::tracked::Tracked;
use crate::txn::WriteTxn;

/// A [`ToMany`](crate::ToMany) or [`Backlinks`](crate::Backlinks) of the entity `E`, which leads to objects of `F`.
///
/// The derive generates a function per such field that returns one. It works on ids, without a struct at hand, and from either
/// side:
///
/// ```
/// # use reconvene_store::{Backlinks, Entity, Store, ToMany};
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Task { id: u64, tags: ToMany<Tag> }
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Tag { id: u64, #[backlink(to = "tags")] tasks: Backlinks<Task> }
/// # let store = Store::builder("memory:").entity::<Task>().entity::<Tag>().open()?;
/// let (task, tag) = (store.boxed::<Task>()?.put(&mut Task::default())?, store.boxed::<Tag>()?.put(&mut Tag::default())?);
/// store.write(|tx| Task::tags().link(tx, task, tag))?;
/// assert_eq!(Tag::tasks().ids(&store, tag)?, [task]);
/// store.write(|tx| Tag::tasks().unlink(tx, tag, task))?;
/// assert!(!Task::tags().contains(&store, task, tag)?);
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
pub struct Relation<E, F> {
    name: &'static str,
    of: PhantomData<fn() -> (E, F)>,
}

impl<E, F> Relation<E, F> {
    /// The relation or backlink of this name; called by generated code, which knows that it exists and leads to `F`.
    pub const fn new(name: &'static str) -> Self {
        Relation { name, of: PhantomData }
    }

    /// The name in the schema and in expressions.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<E: Entity, F: Entity> Relation<E, F> {
    pub(super) fn hop(&self, catalog: &Catalog) -> Result<Hop> {
        catalog.expect_hop(catalog.expect(E::NAME)?, self.name)
    }

    /// The ids of the far objects that exist, by ascending id.
    ///
    /// # Errors
    ///
    /// If the store lacks the entities, is damaged or cannot be read.
    pub fn ids(self, access: &impl LinkAccess, id: ObjectId) -> Result<Vec<ObjectId>> {
        access.look(|moment| self.hop(&moment.inner.catalog)?.ids(&moment, id))
    }

    /// The far objects, by ascending id.
    ///
    /// # Errors
    ///
    /// As [`Relation::ids`].
    pub fn get(self, access: &impl LinkAccess, id: ObjectId) -> Result<Vec<Tracked<F>>> {
        access.look(|moment| {
            let ids = self.hop(&moment.inner.catalog)?.ids(&moment, id)?;
            get_all(&moment, &ids)
        })
    }

    /// Whether the object is linked with this far one, which exists.
    ///
    /// # Errors
    ///
    /// As [`Relation::ids`].
    pub fn contains(self, access: &impl LinkAccess, id: ObjectId, far: ObjectId) -> Result<bool> {
        access.look(|moment| self.hop(&moment.inner.catalog)?.leads_to(&moment, id, far))
    }

    /// Links an object with a far one; whether it was not so before. Of a backlink, it is the far object that is changed.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if the object that holds the link does not exist,
    /// [`LinkToUnassigned`](crate::StoreError::LinkToUnassigned), and those of a put.
    pub fn link(self, tx: &mut WriteTxn<'_>, id: ObjectId, far: ObjectId) -> Result<bool> {
        let hop = self.hop(&tx.inner().catalog)?;
        tx.link(&hop, id, far)
    }

    /// Undoes the link of an object with a far one; whether there was one.
    ///
    /// # Errors
    ///
    /// Those of a put.
    pub fn unlink(self, tx: &mut WriteTxn<'_>, id: ObjectId, far: ObjectId) -> Result<bool> {
        let hop = self.hop(&tx.inner().catalog)?;
        tx.unlink(&hop, id, far)
    }
}

impl<E, F> Clone for Relation<E, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E, F> Copy for Relation<E, F> {}

impl<E, F> fmt::Debug for Relation<E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Relation").field(&self.name).finish()
    }
}

/// The name of a link, relation or backlink of the entity `E`, whatever it leads to.
pub struct LinkName<E> {
    name: &'static str,
    of: PhantomData<fn() -> E>,
}

impl<E> LinkName<E> {
    /// The name in the schema and in expressions.
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl<E, F> From<Relation<E, F>> for LinkName<E> {
    fn from(relation: Relation<E, F>) -> Self {
        LinkName { name: relation.name, of: PhantomData }
    }
}

impl<E, F> From<Property<E, ToOne<F>>> for LinkName<E> {
    fn from(link: Property<E, ToOne<F>>) -> Self {
        LinkName { name: link.name(), of: PhantomData }
    }
}

impl<E> Clone for LinkName<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for LinkName<E> {}

impl<E> fmt::Debug for LinkName<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkName").field(&self.name).finish()
    }
}
