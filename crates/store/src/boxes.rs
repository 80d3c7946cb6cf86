//! Boxes: the objects of one struct, each call a transaction of its own.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use reconvene_model::ObjectId;

use crate::counter::Counter;
use crate::entity::Entity;
use crate::error::Result;
use crate::observer::{EntityChanges, Subscription};
use crate::property::Property;
use crate::store::{Store, StructRuntime};
use crate::structs::Put;
use crate::tracked::Tracked;

/// The objects of a struct in a store; made by [`Store::boxed`].
///
/// Each call is a transaction of its own: a read sees one moment, a write is on disk when it returns. To do several things at
/// one moment, or all or nothing, use [`Store::read`] and [`Store::write`], whose transactions have the same methods.
pub struct EntityBox<T> {
    store: Store,
    of: Arc<StructRuntime>,
    objects: PhantomData<fn() -> T>,
}

impl<T: Entity> EntityBox<T> {
    pub(crate) fn new(store: Store, of: Arc<StructRuntime>) -> Self {
        EntityBox { store, of, objects: PhantomData }
    }

    pub(crate) fn of(&self) -> &Arc<StructRuntime> {
        &self.of
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Puts an object: inserts it if its id is 0, and sets its id; otherwise changes the object of its id.
    ///
    /// A bare struct overwrites every property of an object that exists, but for its counters, which it leaves as they are. An object that was read from the store
    /// ([`Tracked`]) writes only what was changed since, and shows afterwards what is stored.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) for an id that does not exist, unless the application may choose ids;
    /// [`UniqueViolation`](crate::StoreError::UniqueViolation),
    /// [`LinkToUnassigned`](crate::StoreError::LinkToUnassigned), and those of [`Store::write`].
    pub fn put<P: Put<T>>(&self, object: &mut P) -> Result<ObjectId> {
        let id = object.object().id();
        let put = self.store.write(|tx| tx.put(object));
        if put.is_err() {
            // An id that was handed out in an undone transaction goes to another object.
            object.object().set_id(id);
        }
        put
    }

    /// Puts many objects in one transaction, which is far faster than one by one.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::put`]; then none of them was put.
    pub fn put_many<P: Put<T>>(&self, objects: &mut [P]) -> Result<()> {
        let ids: Vec<ObjectId> = objects.iter_mut().map(|object| object.object().id()).collect();
        let put = self.store.write(|tx| tx.put_many(objects));
        if put.is_err() {
            objects.iter_mut().zip(ids).for_each(|(object, id)| object.object().set_id(id));
        }
        put
    }

    /// The object of this id, if it exists.
    ///
    /// # Errors
    ///
    /// If the store is damaged or cannot be read.
    pub fn get(&self, id: ObjectId) -> Result<Option<Tracked<T>>> {
        self.store.read(|tx| crate::structs::get(tx.engine_tx(), &self.of, id))
    }

    /// The objects of these ids that exist, in the order of the ids.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::get`].
    pub fn get_many(&self, ids: &[ObjectId]) -> Result<Vec<Tracked<T>>> {
        self.store.read(|tx| tx.get_many(ids))
    }

    /// All objects, in order of id.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::get`].
    pub fn all(&self) -> Result<Vec<Tracked<T>>> {
        self.store.read(|tx| tx.all())
    }

    /// Whether there is an object of this id.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::get`].
    pub fn contains(&self, id: ObjectId) -> Result<bool> {
        self.store.read(|tx| tx.contains::<T>(id))
    }

    /// The number of objects; it costs the same however many there are.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::get`].
    pub fn count(&self) -> Result<u64> {
        self.store.read(|tx| tx.count::<T>())
    }

    /// Whether there is no object.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::get`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.count()? == 0)
    }

    /// Changes an object in place: exactly the properties that the closure changes are written, onto what is stored now.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if there is no such object, and those of [`EntityBox::put`].
    pub fn update<R>(&self, id: ObjectId, change: impl FnOnce(&mut T) -> R) -> Result<R> {
        self.store.write(|tx| tx.update(id, change))
    }

    /// Adds to a counter, and writes nothing else; what it shows afterwards. All that is added anywhere counts, at whatever time.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::StoreError::NotFound) if there is no such object, and those of [`EntityBox::put`].
    ///
    /// ```
    /// # use reconvene_store::{Counter, Entity, Store};
    /// # #[derive(Entity, Debug, Default)] #[entity(crate = "reconvene_store")]
    /// # struct Part { id: u64, name: String, stock: Counter }
    /// # let store = Store::builder("memory:").entity::<Part>().open()?;
    /// let parts = store.boxed::<Part>()?;
    /// let id = parts.put(&mut Part { name: "Bolt".into(), stock: Counter::new(10), ..Part::default() })?;
    /// assert_eq!(parts.add(id, Part::stock(), -3)?, 7);
    /// # Ok::<(), reconvene_store::StoreError>(())
    /// ```
    pub fn add(&self, id: ObjectId, counter: Property<T, Counter>, by: i64) -> Result<i64> {
        self.store.write(|tx| tx.add(id, counter, by))
    }

    /// Removes an object; whether it was there.
    ///
    /// # Errors
    ///
    /// Those of [`Store::write`].
    pub fn remove(&self, id: ObjectId) -> Result<bool> {
        self.store.write(|tx| tx.remove::<T>(id))
    }

    /// Removes the objects of these ids in one transaction; how many there were.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::remove`].
    pub fn remove_many(&self, ids: &[ObjectId]) -> Result<u64> {
        self.store
            .write(|tx| ids.iter().try_fold(0, |removed, &id| Ok(removed + u64::from(tx.remove::<T>(id)?))))
    }

    /// Removes all objects in one transaction; how many there were.
    ///
    /// # Errors
    ///
    /// As [`EntityBox::remove`].
    pub fn remove_all(&self) -> Result<u64> {
        self.store.write(|tx| tx.remove_all::<T>())
    }

    /// Calls `observer` after each commit that changed objects of this box; see [`Store::observe`].
    pub fn observe(&self, observer: impl Fn(&EntityChanges) + Send + Sync + 'static) -> Subscription {
        let entity = self.of.entity.def.name.clone();
        self.store.observe(move |changes| {
            if let Some(changes) = changes.of(&entity) {
                observer(changes);
            }
        })
    }
}

impl<T> Clone for EntityBox<T> {
    fn clone(&self) -> Self {
        EntityBox { store: self.store.clone(), of: self.of.clone(), objects: PhantomData }
    }
}

impl<T: Entity> fmt::Debug for EntityBox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntityBox").field("entity", &T::NAME).field("store", &self.store).finish()
    }
}
