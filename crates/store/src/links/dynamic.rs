//! Links of objects without structs, by name.

use reconvene_model::ObjectId;

use super::hop::Hop;
use crate::error::Result;
use crate::object_box::ObjectBox;
use crate::query::{ReadAccess, WriteAccess};
use crate::store::Inner;

use super::access::Moment;

/// Links, relations and backlinks, by name.
///
/// ```
/// # use reconvene_store::{Backlinks, Entity, Object, Store, ToMany};
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Task { id: u64, tags: ToMany<Tag> }
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Tag { id: u64, #[backlink(to = "tags")] tasks: Backlinks<Task> }
/// # let store = Store::builder("memory:").entity::<Task>().entity::<Tag>().open()?;
/// let (tasks, tags) = (store.objects("Task")?, store.objects("Tag")?);
/// let (task, tag) = (tasks.put(&mut Object::new())?, tags.put(&mut Object::new())?);
/// assert!(tasks.link(task, "tags", tag)?);
/// assert_eq!(tags.linked(tag, "tasks")?, [task]);
/// assert!(tags.unlink(tag, "tasks", task)?);
/// assert!(tasks.linked(task, "tags")?.is_empty());
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
impl<A: ReadAccess> ObjectBox<A> {
    /// The ids of the objects that an object is linked with by the link, relation or backlink of this name, by ascending id; those
    /// that do not exist are left out.
    ///
    /// # Errors
    ///
    /// [`UnknownProperty`](crate::StoreError::UnknownProperty) and [`NotALink`](crate::StoreError::NotALink) for other names;
    /// and if the store is damaged or cannot be read.
    pub fn linked(&self, id: ObjectId, name: &str) -> Result<Vec<ObjectId>> {
        self.access().read(|snapshot| {
            let moment = Moment { inner: snapshot.1, view: snapshot.0, unapplied: None };
            self.hop(snapshot.1, name)?.ids(&moment, id)
        })
    }

    fn hop(&self, inner: &Inner, name: &str) -> Result<Hop> {
        inner.catalog.expect_hop(self.runtime(), name)
    }
}

impl<A: WriteAccess> ObjectBox<A> {
    /// Links an object with another one by the link, relation or backlink of this name; whether it was not so before.
    ///
    /// # Errors
    ///
    /// As [`ObjectBox::linked`], [`NotFound`](crate::StoreError::NotFound) if the object that holds the link does not exist,
    /// [`LinkToUnassigned`](crate::StoreError::LinkToUnassigned), and those of a put.
    pub fn link(&self, id: ObjectId, name: &str, far: ObjectId) -> Result<bool> {
        self.access().write(|tx| {
            let hop = self.hop(tx.inner(), name)?;
            tx.link(&hop, id, far)
        })
    }

    /// Undoes such a link; whether there was one.
    ///
    /// # Errors
    ///
    /// As [`ObjectBox::link`].
    pub fn unlink(&self, id: ObjectId, name: &str, far: ObjectId) -> Result<bool> {
        self.access().write(|tx| {
            let hop = self.hop(tx.inner(), name)?;
            tx.unlink(&hop, id, far)
        })
    }

    /// Removes an object and what these links, relations and backlinks lead to; see
    /// [`WriteTxn::remove_with`](crate::WriteTxn::remove_with).
    ///
    /// # Errors
    ///
    /// As [`ObjectBox::linked`] and [`WriteTxn::remove_with`](crate::WriteTxn::remove_with).
    pub fn remove_with(&self, id: ObjectId, owned: &[&str]) -> Result<bool> {
        self.access().write(|tx| {
            let hops = owned.iter().map(|name| self.hop(tx.inner(), name)).collect::<Result<Vec<_>>>()?;
            tx.remove_owned(self.runtime(), id, &hops)
        })
    }
}
