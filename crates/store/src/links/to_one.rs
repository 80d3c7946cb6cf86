//! Links to one object.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use reconvene_model::ObjectId;

use super::access::LinkAccess;
use super::field::LinkField;
use crate::entity::Entity;
use crate::error::Result;
use crate::seam::View;
use crate::store::Inner;
use crate::structs;
use crate::tracked::{Outcome, Tracked};
use crate::txn::WriteTxn;

/// A link to one object of the entity `T`, or to none; it holds the id of the target.
///
/// A link may name an object that does not exist (yet, or any more): the id stays, a lookup finds nothing, and finds it once
/// the object is there. It is stored as null if it links to nothing.
///
/// ```
/// # use reconvene_store::{Entity, Store, ToOne};
/// #[derive(Entity, Debug, Default)]
/// # #[entity(crate = "reconvene_store")]
/// struct Project {
///     id: u64,
///     name: String,
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
/// let tasks = store.boxed::<Task>()?;
/// // A target that is new is put with the object that links to it.
/// let garden = Project { name: "Garden".into(), ..Project::default() };
/// let id = tasks.put(&mut Task { project: ToOne::target(garden), ..Task::default() })?;
///
/// let task = tasks.get(id)?.expect("it was just put");
/// assert_eq!(task.project.id(), 1);
/// let project = task.project.get(&store)?.expect("it was put with the task");
/// assert_eq!(project.name, "Garden");
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
pub struct ToOne<T> {
    id: ObjectId,
    held: Option<Held<T>>,
}

/// What a link has at hand of its target.
enum Held<T> {
    /// As a query loaded it.
    Loaded(Arc<T>),
    /// To be put with the object that links to it; clones of the link mean the same one.
    New(Arc<Mutex<New<T>>>),
}

/// A target that is put with the object that links to it.
struct New<T> {
    object: T,
    /// Its id before.
    id: ObjectId,
    /// Under which id a transaction put it.
    put: Option<(ObjectId, Arc<Outcome>)>,
}

impl<T> ToOne<T> {
    /// The link to the object of this id; 0 links to nothing.
    pub const fn new(id: ObjectId) -> Self {
        ToOne { id, held: None }
    }

    /// The link to nothing.
    pub const fn none() -> Self {
        Self::new(0)
    }

    /// The id of the target; 0 if this links to nothing, and before a new [target](ToOne::target) is put.
    pub const fn id(&self) -> ObjectId {
        self.id
    }

    /// Whether this links to nothing.
    pub const fn is_none(&self) -> bool {
        self.id == 0 && !matches!(self.held, Some(Held::New(_)))
    }

    /// Links to the object of this id; 0 links to nothing.
    pub fn set(&mut self, id: ObjectId) {
        *self = Self::new(id);
    }

    /// The target as [`Query::eager`](crate::Query::eager) loaded it; none if no query did, or it does not exist.
    pub fn loaded(&self) -> Option<&T> {
        match &self.held {
            Some(Held::Loaded(target)) => Some(target),
            _ => None,
        }
    }
}

impl<T: Entity> ToOne<T> {
    /// The link to this object, which must have been put before: until then its id is 0 and the link leads nowhere.
    pub fn to(target: &T) -> Self {
        Self::new(target.id())
    }

    /// The link to an object that is put together with the one that holds the link, and before it.
    ///
    /// If the transaction is undone, the next put tries again. After the put the link has the target's id.
    pub fn target(target: T) -> Self {
        let id = target.id();
        let new = Mutex::new(New { object: target, id, put: None });
        ToOne { id, held: Some(Held::New(Arc::new(new))) }
    }

    /// The target, if it exists.
    ///
    /// # Errors
    ///
    /// If the store lacks the entity, is damaged or cannot be read.
    pub fn get(&self, access: &impl LinkAccess) -> Result<Option<Tracked<T>>> {
        if self.id == 0 {
            return Ok(None);
        }
        access.look(|moment| structs::get(&moment.view, &*moment.inner.of_struct::<T>()?, self.id))
    }

    /// Whether this links to an object that exists.
    ///
    /// # Errors
    ///
    /// As [`ToOne::get`].
    pub fn exists(&self, access: &impl LinkAccess) -> Result<bool> {
        access.look(|moment| {
            let of = moment.inner.of_struct::<T>()?;
            super::hop::exists(&moment.view, &of.entity, self.id)
        })
    }
}

impl<T: Entity> LinkField for ToOne<T> {
    fn put_target(&mut self, tx: &mut WriteTxn<'_>) -> Result<()> {
        let Some(Held::New(new)) = &self.held else { return Ok(()) };
        let mut new = new.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, outcome)) = &new.put {
            let stands = outcome.is_committed() || Arc::ptr_eq(outcome, tx.outcome());
            if stands {
                self.id = *id;
                return Ok(());
            }
            let before = new.id;
            new.object.set_id(before);
        }
        let id = tx.put(&mut new.object)?;
        new.put = Some((id, tx.outcome().clone()));
        self.id = id;
        Ok(())
    }

    fn take_edits(&mut self) -> Option<Box<dyn Any>> {
        match self.held.take() {
            Some(Held::New(new)) => Some(Box::new(new)),
            _ => None,
        }
    }

    fn set_edits(&mut self, edits: Box<dyn Any>) {
        if let Ok(new) = edits.downcast::<Arc<Mutex<New<T>>>>() {
            self.held = Some(Held::New(*new));
        }
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// A link whose targets a query loads with its results.
pub(crate) struct Eager<T> {
    name: &'static str,
    load: Load<T>,
}

/// Loads the targets of the link of this name into objects.
type Load<T> = fn(&Inner, &View<'_>, &str, &mut [Tracked<T>]) -> Result<()>;

impl<T> Clone for Eager<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Eager<T> {}

impl<T> Eager<T> {
    pub(crate) fn load(&self, inner: &Inner, view: &View<'_>, objects: &mut [Tracked<T>]) -> Result<()> {
        (self.load)(inner, view, self.name, objects)
    }
}

/// The link of this name of `T`, to be loaded.
pub(crate) fn eager<T: Entity, U: Entity>(name: &'static str) -> Eager<T> {
    Eager { name, load: load_targets::<T, U> }
}

/// Loads the targets of a link of these objects, each once.
fn load_targets<T: Entity, U: Entity>(
    inner: &Inner,
    view: &View<'_>,
    name: &str,
    objects: &mut [Tracked<T>],
) -> Result<()> {
    let of = inner.of_struct::<U>()?;
    let mut targets: BTreeMap<ObjectId, Option<Arc<U>>> = BTreeMap::new();
    let visit = |object: &mut T, visit: &mut dyn FnMut(&mut ToOne<U>)| {
        object.link_fields(&mut |field_name, field| {
            if field_name == name
                && let Some(link) = field.as_any_mut().downcast_mut::<ToOne<U>>()
            {
                visit(link);
            }
            Ok(())
        })
    };
    for object in objects.iter_mut() {
        visit(object, &mut |link| {
            targets.entry(link.id).or_default();
        })?;
    }
    // In order of id, so that one page is read once.
    for (&id, target) in targets.iter_mut().filter(|(id, _)| **id != 0) {
        *target = structs::get::<U>(view, &of, id)?.map(|target| Arc::new(target.into_inner()));
    }
    for object in objects {
        visit(object, &mut |link| {
            link.held = targets.get(&link.id).cloned().flatten().map(Held::Loaded);
        })?;
    }
    Ok(())
}

// Written out because a derive would ask the same of `T`, which is held behind a pointer at most.
impl<T> Clone for ToOne<T> {
    fn clone(&self) -> Self {
        let held = self.held.as_ref().map(|held| match held {
            Held::Loaded(target) => Held::Loaded(target.clone()),
            Held::New(new) => Held::New(new.clone()),
        });
        ToOne { id: self.id, held }
    }
}

impl<T> Default for ToOne<T> {
    fn default() -> Self {
        Self::none()
    }
}

/// Equal if they link to the same id; a new target is equal to itself only.
impl<T> PartialEq for ToOne<T> {
    fn eq(&self, other: &Self) -> bool {
        match (&self.held, &other.held) {
            (Some(Held::New(one)), Some(Held::New(other))) => Arc::ptr_eq(one, other),
            _ => self.id == other.id && self.is_none() == other.is_none(),
        }
    }
}

impl<T> Eq for ToOne<T> {}

impl<T> Hash for ToOne<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl<T> fmt::Debug for ToOne<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToOne").field(&self.id).finish()
    }
}

impl<T> From<ObjectId> for ToOne<T> {
    fn from(id: ObjectId) -> Self {
        Self::new(id)
    }
}
