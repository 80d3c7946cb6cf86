//! Objects that remember what they were read as.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reconvene_model::ObjectId;

use crate::entity::Entity;

/// An object as a store returned it, with what it was read as.
///
/// It is used like the object itself. When it is put back, only the properties that were changed meanwhile are written: what
/// other threads or other devices wrote into the others since stays.
///
/// Given another id, it is put like a bare struct: with id 0 as a new object.
///
/// ```
/// # use reconvene_store::{Entity, Store};
/// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
/// # struct Task { id: u64, title: String, done: bool }
/// # let store = Store::builder("memory:").entity::<Task>().open()?;
/// # let tasks = store.boxed::<Task>()?;
/// let id = tasks.put(&mut Task { title: "Call the bank".into(), ..Task::default() })?;
/// let mut read = tasks.get(id)?.expect("it was just put");
/// tasks.update(id, |task| task.title = "Call the bank at noon".into())?;
///
/// read.done = true;
/// tasks.put(&mut read)?;
/// assert_eq!(read.title, "Call the bank at noon");
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
#[derive(Clone)]
pub struct Tracked<T> {
    object: T,
    base: Base,
    /// What counts instead of `base`, should the transaction that it was put in be undone.
    unless: Option<(Arc<Outcome>, Base)>,
}

/// What an object was read as: a diff against anything else would write what the application never changed.
#[derive(Clone)]
pub(crate) struct Base {
    pub(crate) id: ObjectId,
    pub(crate) table: Box<[u8]>,
}

/// What became of a write transaction, for the objects that were put in it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    committed: AtomicBool,
}

impl Outcome {
    /// To be called right after the commit, before another transaction can begin.
    pub(crate) fn commit(&self) {
        self.committed.store(true, Ordering::Release);
    }

    /// Whether the transaction was committed.
    pub(crate) fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }
}

impl<T: Entity> Tracked<T> {
    pub(crate) fn new(object: T, base: &[u8]) -> Self {
        let base = Base { id: object.id(), table: base.into() };
        Tracked { object, base, unless: None }
    }

    /// What the object was read as, as seen by a transaction.
    pub(crate) fn base_in(&mut self, current: &Arc<Outcome>) -> &Base {
        if let Some((outcome, _)) = &self.unless
            && !Arc::ptr_eq(outcome, current)
            && let Some((outcome, before)) = self.unless.take()
            && !outcome.is_committed()
        {
            self.base = before;
        }
        &self.base
    }

    /// Becomes what a transaction stores; `before` is what it found.
    pub(crate) fn refresh(&mut self, object: T, table: &[u8], before: Base, current: &Arc<Outcome>) {
        // Of several puts in one transaction, the first knows what is there if none of them counts.
        let before = self.unless.take().map_or(before, |(_, first)| first);
        *self = Tracked::new(object, table);
        self.unless = Some((current.clone(), before));
    }
}

impl<T> Tracked<T> {
    /// The object alone; put back, it overwrites every property.
    pub fn into_inner(self) -> T {
        self.object
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T> DerefMut for Tracked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.object
    }
}

impl<T: fmt::Debug> fmt::Debug for Tracked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.object.fmt(f)
    }
}

impl<T: PartialEq> PartialEq for Tracked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.object == other.object
    }
}

impl<T: PartialEq> PartialEq<T> for Tracked<T> {
    fn eq(&self, other: &T) -> bool {
        self.object == *other
    }
}
