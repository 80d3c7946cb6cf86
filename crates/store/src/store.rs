//! An open store.

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use reconvene_model::model_file::ModelFile;
use reconvene_model::{EntityId, ObjectId, Schema};

use crate::boxes::EntityBox;
use crate::catalog::{Catalog, EntityRuntime};
use crate::entity::Entity;
use crate::error::Result;
use crate::field::FieldMap;
use crate::keys;
use crate::lock::DirectoryLock;
use crate::observer::Observers;
use crate::open::StoreBuilder;
use crate::registry::Registration;
use crate::seam::{Engine, Reader, TableId};
use crate::sync::{SyncHandle, SyncState};
use crate::time::TimeSource;
use crate::txn::{ReadTxn, WriteTxn};
use crate::write_queue::WriteQueue;

/// An embedded store of typed objects.
///
/// It is cheap to clone, and all clones are the same store; it closes when the last one and the last box are dropped, after
/// what [`Store::write_async`] queued is committed. Any thread may read at any time and sees one moment; writers take turns.
///
/// ```
/// use reconvene_store::{Entity, Store};
///
/// #[derive(Entity, Debug, Default)]
/// #[entity(crate = "reconvene_store")]
/// struct Task {
///     id: u64,
///     title: String,
///     #[index]
///     done: bool,
/// }
///
/// let store = Store::builder("memory:").entity::<Task>().open()?;
/// let tasks = store.boxed::<Task>()?;
/// let id = tasks.put(&mut Task { title: "Call the bank".into(), ..Task::default() })?;
/// tasks.update(id, |task| task.done = true)?;
/// assert_eq!(tasks.query(Task::done().eq(true)).count()?, 1);
/// # Ok::<(), reconvene_store::StoreError>(())
/// ```
pub struct Store {
    inner: Arc<Inner>,
}

impl Clone for Store {
    fn clone(&self) -> Self {
        Store::from_inner(self.inner.clone())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.inner.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.write_queue.close();
        }
    }
}

/// What all clones of a store share. Fields are dropped in this order: the registration goes last, when the files are free.
pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) catalog: Catalog,
    pub(crate) model: ModelFile,
    pub(crate) meta: TableId,
    /// What [`keys::SCHEMA_KEY`] said when the store was opened.
    pub(crate) schema_version: Option<Vec<u8>>,
    /// How many objects one transaction takes of the work after a change of the schema, if tests say so.
    pub(crate) batch_objects: Option<usize>,
    pub(crate) sync: SyncState,
    pub(crate) observers: Observers,
    pub(crate) write_queue: Arc<WriteQueue>,
    /// How many [`Store`]s there are; the last one to go sees the queued writes through. Without any, the store is closed as
    /// soon as a thread that builds its indexes has done the piece at which it is.
    pub(crate) handles: AtomicUsize,
    /// Held from the begin of a write transaction until its commit is in the observers' queue.
    pub(crate) writer: Mutex<()>,
    pub(crate) time: Arc<dyn TimeSource>,
    pub(crate) directory: Option<PathBuf>,
    /// The largest ids that were handed out since the store was opened, in transactions that were undone as well.
    pub(crate) handed_out: Mutex<HashMap<EntityId, ObjectId>>,
    pub(crate) structs: RwLock<HashMap<TypeId, Arc<StructRuntime>>>,
    pub(crate) _lock: Option<DirectoryLock>,
    pub(crate) _registration: Option<Registration>,
}

/// A struct that stands for an entity in this store.
#[derive(Debug)]
pub struct StructRuntime {
    pub(crate) entity: Arc<EntityRuntime>,
    pub(crate) fields: FieldMap,
    /// Whether the struct has every stored property, so that nothing else needs to be carried over.
    pub(crate) is_whole: bool,
}

impl Inner {
    pub(crate) fn now_ms(&self) -> u64 {
        self.time.now_ms()
    }

    /// The largest id that was handed out since the store was opened.
    pub(crate) fn handed_out(&self, entity: EntityId) -> ObjectId {
        let handed_out = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner);
        handed_out.get(&entity).copied().unwrap_or(0)
    }

    pub(crate) fn note_handed_out(&self, ids: impl Iterator<Item = (EntityId, ObjectId)>) {
        let mut handed_out = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner);
        for (entity, last) in ids.filter(|&(_, last)| last > 0) {
            let known = handed_out.entry(entity).or_default();
            *known = last.max(*known);
        }
    }

    /// How the struct `T` lies in this store.
    pub(crate) fn of_struct<T: Entity>(&self) -> Result<Arc<StructRuntime>> {
        let key = TypeId::of::<T>();
        if let Some(known) = self.structs.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let entity = self.catalog.expect(T::NAME)?.clone();
        let fields = FieldMap::new(&T::description(), &entity.def)?;
        let is_whole = fields.len() == entity.stored_slots.len();
        let runtime = Arc::new(StructRuntime { entity, fields, is_whole });
        self.structs.write().unwrap_or_else(PoisonError::into_inner).insert(key, runtime.clone());
        Ok(runtime)
    }
}

impl Store {
    /// Starts to open the store in a directory, which is created if need be.
    ///
    /// `memory:` is a new store that lives in memory; `memory:name` is one that all who name it share while it is open.
    pub fn builder(directory: impl AsRef<Path>) -> StoreBuilder {
        StoreBuilder::new(directory.as_ref())
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        inner.handles.fetch_add(1, Ordering::Relaxed);
        Store { inner }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// The box of the objects of a struct.
    ///
    /// # Errors
    ///
    /// If the store was opened without the entity, or knows it with other types.
    pub fn boxed<T: Entity>(&self) -> Result<EntityBox<T>> {
        Ok(EntityBox::new(self.clone(), self.inner.of_struct::<T>()?))
    }

    /// Reads one moment: everything in the closure sees the store as it was when the closure began.
    ///
    /// Keep it short: on disk, the space of what is removed or replaced meanwhile cannot be used again before it ends.
    ///
    /// # Errors
    ///
    /// What the closure returns, and failures of the storage engine.
    pub fn read<R>(&self, read: impl FnOnce(&ReadTxn<'_>) -> Result<R>) -> Result<R> {
        let tx = ReadTxn::begin(&self.inner)?;
        read(&tx)
    }

    /// Writes all or nothing: if the closure returns an error or panics, the store is as before.
    ///
    /// Writers take turns; the closure waits until the former one is done. When this returns, what was written is on disk,
    /// as far as the store's [`Durability`](crate::Durability) promises.
    ///
    /// # Errors
    ///
    /// What the closure returns ([`StoreError::application`](crate::StoreError::application) wraps an error of yours), [`StoreError::NestedWrite`](crate::StoreError::NestedWrite) inside
    /// another write on the same thread, and failures of the storage engine.
    pub fn write<R>(&self, write: impl FnOnce(&mut WriteTxn<'_>) -> Result<R>) -> Result<R> {
        WriteTxn::run(&self.inner, write)
    }

    /// The schema.
    pub fn schema(&self) -> &Schema {
        self.inner.model.schema()
    }

    /// Whether another process has changed the schema since this one opened the store for reading only.
    ///
    /// What was read with stays usable: it shows the objects as the former schema has them, without indexes. To see what is new,
    /// close the store and open it again. Never the case for a store that is open for writing.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn has_newer_schema(&self) -> Result<bool> {
        let inner = &self.inner;
        Ok(inner.engine.read()?.get(inner.meta, keys::SCHEMA_KEY)? != inner.schema_version.as_deref())
    }

    /// The model file that describes the schema, with the ids and uids of this store.
    pub fn model(&self) -> &ModelFile {
        &self.inner.model
    }

    /// The directory; none for a store in memory.
    pub fn directory(&self) -> Option<&Path> {
        self.inner.directory.as_deref()
    }

    /// The number of bytes that the data takes on disk.
    ///
    /// # Errors
    ///
    /// If the file cannot be looked at.
    pub fn disk_bytes(&self) -> Result<u64> {
        Ok(self.inner.engine.disk_bytes()?)
    }

    /// The store's clock: milliseconds since the beginning of 1970, UTC, from its [`TimeSource`].
    pub fn now_ms(&self) -> u64 {
        self.inner.now_ms()
    }

    /// The sync side: identity, outbox, rejected writes.
    pub fn sync(&self) -> SyncHandle {
        SyncHandle::new(self.clone())
    }

    /// Makes everything durable that was committed; only [`Durability::Relaxed`](crate::Durability) leaves something to do.
    ///
    /// # Errors
    ///
    /// If the disk fails; the store is spent then and must be opened anew.
    pub fn flush(&self) -> Result<()> {
        Ok(self.inner.engine.flush()?)
    }

    /// Whether both are clones of one store.
    pub fn is_same(&self, other: &Store) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.inner.directory.as_deref().unwrap_or(Path::new("memory:"));
        f.debug_struct("Store").field("directory", &place).finish_non_exhaustive()
    }
}

const _: fn() = || {
    fn is_shareable<T: Clone + Send + Sync>() {}
    is_shareable::<Store>();
};
