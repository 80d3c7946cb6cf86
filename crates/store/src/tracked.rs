//! Objects that remember what they were read as.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// An object as a store returned it, with what it was read as.
///
/// It is used like the object itself. When it is put back, only the properties that were changed meanwhile are written: what
/// other threads or other devices wrote into the others since stays.
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
    /// The table that the object was read from.
    pub(crate) base: Box<[u8]>,
}

impl<T> Tracked<T> {
    pub(crate) fn new(object: T, base: &[u8]) -> Self {
        Tracked { object, base: base.into() }
    }

    /// The object alone; put back, it overwrites every property.
    pub fn into_inner(self) -> T {
        self.object
    }

    pub(crate) fn refresh(&mut self, object: T, base: &[u8]) {
        *self = Tracked::new(object, base);
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
