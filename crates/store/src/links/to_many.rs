//! Links to any number of objects, in rows of their own.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use reconvene_model::ObjectId;

use super::access::{LinkAccess, Moment};
use super::field::{LinkField, LinkPlace, LinksField};
use super::hop::Way;
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::store::StructRuntime;
use crate::structs;
use crate::tracked::{Outcome, Tracked};
use crate::txn::WriteTxn;

/// Links to any number of objects of the entity `T`: a standalone relation, which is as good from its other side.
///
/// The links lie beside the object. The field looks them up when asked, and keeps what is added and removed until the object
/// is put: then exactly that is written, in the same transaction, onto what is stored by then. Links are sets: each target is there
/// once, and they come by ascending id. Targets that do not exist are not shown, and show once they do. When a
/// local object is removed, its links go with it.
///
/// ```
/// # use reconvene_store::{Backlinks, Entity, Store, ToMany};
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Task {
///     id: u64,
///     tags: ToMany<Tag>,
/// }
///
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Tag {
///     id: u64,
///     #[backlink(to = "tags")]
///     tasks: Backlinks<Task>,
/// }
///
/// # let store = Store::builder("memory:").entity::<Task>().entity::<Tag>().open()?;
/// let (tasks, tags) = (store.boxed::<Task>()?, store.boxed::<Tag>()?);
/// let [urgent, small] = [tags.put(&mut Tag::default())?, tags.put(&mut Tag::default())?];
/// let mut task = Task::default();
/// task.tags.set([urgent, small]);
/// let id = tasks.put(&mut task)?;
///
/// tasks.update(id, |task| task.tags.remove(small))?;
/// assert_eq!(task.tags.ids(&store)?, [urgent]);
/// let tag = tags.get(urgent)?.expect("it was just put");
/// assert_eq!(tag.tasks.ids(&store)?, [id]);
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
pub struct ToMany<T> {
    place: LinkPlace,
    edits: Edits,
    far: PhantomData<fn() -> T>,
}

/// What was changed and is not committed, as far as is known.
#[derive(Clone, Debug, Default)]
struct Edits {
    /// Whether what was there before goes.
    cleared: bool,
    /// By target, whether it is linked to.
    links: BTreeMap<ObjectId, bool>,
    /// The transaction in which all this was put.
    put_in: Option<Arc<Outcome>>,
}

impl Edits {
    fn is_empty(&self) -> bool {
        let is_done = self.put_in.as_ref().is_some_and(|outcome| outcome.is_committed());
        is_done || (!self.cleared && self.links.is_empty())
    }

    /// To add to; what is done already is forgotten, and what may be undone is to be put again.
    fn open(&mut self) -> &mut Self {
        if self.is_empty() {
            *self = Edits::default();
        }
        self.put_in = None;
        self
    }
}

impl<T> ToMany<T> {
    /// Links to this object as well, from the next put on.
    pub fn add(&mut self, id: ObjectId) {
        self.edits.open().links.insert(id, true);
    }

    /// No longer links to this object, from the next put on.
    pub fn remove(&mut self, id: ObjectId) {
        self.edits.open().links.insert(id, false);
    }

    /// Links to nothing, from the next put on: whatever is linked to by then.
    pub fn clear(&mut self) {
        self.edits = Edits { cleared: true, ..Edits::default() };
    }

    /// Links to these objects and no others, from the next put on.
    pub fn set(&mut self, ids: impl IntoIterator<Item = ObjectId>) {
        self.clear();
        self.edits.links.extend(ids.into_iter().map(|id| (id, true)));
    }

    /// Whether something was changed that no committed put has written.
    pub fn is_changed(&self) -> bool {
        !self.edits.is_empty()
    }
}

impl<T: Entity> ToMany<T> {
    /// The ids of the objects linked to, by ascending id: those of the store, with what was changed here.
    ///
    /// # Errors
    ///
    /// If the store lacks the entities, is damaged or cannot be read.
    pub fn ids(&self, access: &impl LinkAccess) -> Result<Vec<ObjectId>> {
        access.look(|moment| self.ids_in(&moment))
    }

    fn ids_in(&self, moment: &Moment<'_>) -> Result<Vec<ObjectId>> {
        let stored = if self.place.id == 0 || (self.edits.cleared && !self.edits.is_empty()) {
            Vec::new()
        } else {
            let near = moment.inner.catalog.expect(self.place.entity)?;
            moment.inner.catalog.expect_hop(near, self.place.name)?.ids(moment, self.place.id)?
        };
        if self.edits.is_empty() {
            return Ok(stored);
        }
        let far = moment.inner.of_struct::<T>()?;
        let mut ids: BTreeMap<ObjectId, ()> = stored.into_iter().map(|id| (id, ())).collect();
        for (&id, &is_linked) in &self.edits.links {
            if is_linked && super::hop::exists(&moment.view, &far.entity, id)? {
                ids.insert(id, ());
            } else {
                ids.remove(&id);
            }
        }
        Ok(ids.into_keys().collect())
    }

    /// The objects linked to, by ascending id.
    ///
    /// # Errors
    ///
    /// As [`ToMany::ids`].
    pub fn get(&self, access: &impl LinkAccess) -> Result<Vec<Tracked<T>>> {
        access.look(|moment| get_all(&moment, &self.ids_in(&moment)?))
    }

    /// Whether this links to the object, and it exists.
    ///
    /// # Errors
    ///
    /// As [`ToMany::ids`].
    pub fn contains(&self, access: &impl LinkAccess, id: ObjectId) -> Result<bool> {
        access.look(|moment| {
            if !self.edits.is_empty() {
                return Ok(self.ids_in(&moment)?.binary_search(&id).is_ok());
            }
            if self.place.id == 0 {
                return Ok(false);
            }
            let catalog = &moment.inner.catalog;
            catalog.expect_hop(catalog.expect(self.place.entity)?, self.place.name)?.leads_to(
                &moment,
                self.place.id,
                id,
            )
        })
    }

    /// How many objects this links to.
    ///
    /// # Errors
    ///
    /// As [`ToMany::ids`].
    pub fn len(&self, access: &impl LinkAccess) -> Result<usize> {
        Ok(self.ids(access)?.len())
    }

    /// Whether this links to no object that exists.
    ///
    /// # Errors
    ///
    /// As [`ToMany::ids`].
    pub fn is_empty(&self, access: &impl LinkAccess) -> Result<bool> {
        Ok(self.ids(access)?.is_empty())
    }
}

/// The objects of these ids.
pub(super) fn get_all<T: Entity>(moment: &Moment<'_>, ids: &[ObjectId]) -> Result<Vec<Tracked<T>>> {
    let of = moment.inner.of_struct::<T>()?;
    ids.iter().filter_map(|&id| structs::get(&moment.view, &of, id).transpose()).collect()
}

impl<T: Entity> LinkField for ToMany<T> {
    fn put_links(&mut self, tx: &mut WriteTxn<'_>, of: &StructRuntime, place: LinkPlace) -> Result<()> {
        self.place = place;
        if self.edits.is_empty() {
            return Ok(());
        }
        let hop = tx.inner().catalog.expect_hop(&of.entity, place.name)?;
        let Way::Targets { relation } = &hop.way else {
            let entity = of.entity.def.name.clone();
            return Err(StoreError::UnknownProperty { entity, name: place.name.to_owned(), near: None });
        };
        if self.edits.cleared {
            for target in tx.link_rows(relation.forward, place.id)? {
                if self.edits.links.get(&target) != Some(&true) {
                    tx.delete_link_row(relation, place.id, target)?;
                }
            }
        }
        for (&target, &is_linked) in &self.edits.links {
            if is_linked {
                tx.put_link_row(relation, place.id, target)?;
            } else {
                tx.delete_link_row(relation, place.id, target)?;
            }
        }
        self.edits.put_in = Some(tx.outcome().clone());
        Ok(())
    }

    fn take_edits(&mut self) -> Option<Box<dyn Any>> {
        (!self.edits.is_empty()).then(|| Box::new(std::mem::take(&mut self.edits)) as Box<dyn Any>)
    }

    fn set_edits(&mut self, edits: Box<dyn Any>) {
        if let Ok(edits) = edits.downcast::<Edits>() {
            self.edits = *edits;
        }
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

impl<T: Entity> LinksField for ToMany<T> {
    type Far = T;

    fn of(entity: &'static str, name: &'static str, id: ObjectId) -> Self {
        ToMany { place: LinkPlace { entity, name, id }, ..ToMany::default() }
    }
}

impl<T> Clone for ToMany<T> {
    fn clone(&self) -> Self {
        ToMany { place: self.place, edits: self.edits.clone(), far: PhantomData }
    }
}

impl<T> Default for ToMany<T> {
    fn default() -> Self {
        ToMany { place: LinkPlace::default(), edits: Edits::default(), far: PhantomData }
    }
}

/// Equal if the same was changed in both and is not committed: what is stored is no part of the field.
impl<T> PartialEq for ToMany<T> {
    fn eq(&self, other: &Self) -> bool {
        let edits = |of: &Self| (!of.edits.is_empty()).then(|| (of.edits.cleared, of.edits.links.clone()));
        edits(self) == edits(other)
    }
}

impl<T> Eq for ToMany<T> {}

impl<T> fmt::Debug for ToMany<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ToMany");
        if !self.edits.is_empty() {
            shown.field("cleared", &self.edits.cleared).field("links", &self.edits.links);
        }
        shown.finish_non_exhaustive()
    }
}
