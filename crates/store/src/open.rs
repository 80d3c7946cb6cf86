//! Opening a store: the directory, its format, its schema, and what a newer schema needs.

mod evolution;
mod obstacles;
mod relations;
mod shared_values;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, RwLock};

use reconvene_model::evolve::{self, EntityDescription};
use reconvene_model::model_file::ModelFile;
use reconvene_model::{IndexId, Schema};

use crate::__private::Image;
use crate::building::{self, Wholeness};
use crate::catalog::{Catalog, EntityTables};
use crate::enroll;
use crate::entity::Entity;
use crate::error::{Result, StoreError};
use crate::index;
use crate::keys;
use crate::leave;
use crate::lock::{Acquired, DirectoryLock};
use crate::maintenance::READERS_FILE;
use crate::observer::Observers;
use crate::os;
use crate::progress::OpeningProgress;
use crate::registry::{self, Found, Registration};
use crate::seam::{Durability, Engine, EngineOptions, Reader, SeamError, TableId, WriteTx};
use crate::store::{Inner, Store};
use crate::sync::adopt;
use crate::sync::meta::MetaTable;
use crate::sync::{Role, SyncOpen, SyncState, SyncTables};
use crate::time::{SystemTimeSource, TimeSource};
use crate::write_queue;

/// The version of all that lies in a directory: tables, keys, records.
const FORMAT: u32 = 1;

/// What a directory is called that is none.
const MEMORY: &str = "memory:";

/// How a store is opened; made by [`Store::builder`].
#[must_use = "nothing is opened before `open`"]
pub struct StoreBuilder {
    directory: PathBuf,
    descriptions: Vec<EntityDescription>,
    model: Option<ModelFile>,
    retired: Vec<String>,
    watch: Arc<dyn Fn(&OpeningProgress) + Send + Sync>,
    in_background: bool,
    batch_objects: Option<usize>,
    role: Role,
    time: Arc<dyn TimeSource>,
    identity_secret: Option<[u8; 32]>,
    renewal_seed: Option<[u8; 32]>,
    engine: EngineOptions,
    image: Option<Image>,
}

impl StoreBuilder {
    pub(crate) fn new(directory: &Path) -> Self {
        StoreBuilder {
            directory: directory.to_owned(),
            descriptions: Vec::new(),
            model: None,
            retired: Vec::new(),
            watch: Arc::new(|_| {}),
            in_background: false,
            batch_objects: None,
            role: Role::default(),
            time: Arc::new(SystemTimeSource),
            identity_secret: None,
            renewal_seed: None,
            engine: EngineOptions::default(),
            image: None,
        }
    }

    /// Opens a store in memory with what another one had committed, as a restart opens a directory.
    #[doc(hidden)]
    pub fn image(mut self, image: &Image) -> Self {
        self.image = Some(image.clone());
        self
    }

    /// Stores objects of this struct; the schema is brought up to date with it.
    pub fn entity<T: Entity>(self) -> Self {
        self.description(T::description())
    }

    /// Stores objects of an entity that is described at run time.
    pub fn description(mut self, description: EntityDescription) -> Self {
        self.descriptions.push(description);
        self
    }

    /// Takes ids and uids from this model file; entities of structs are added to it.
    ///
    /// In a directory that has a schema, the model must continue it: everything stored keeps its ids, uids and types.
    pub fn model(mut self, model: ModelFile) -> Self {
        self.model = Some(model);
        self
    }

    /// Removes an entity with all its objects, if the directory has one of this name; its uid is never used again.
    ///
    /// It may be said at every opening from then on. Objects of a synced entity stay on the server and on other devices, and
    /// what was not uploaded yet still will be.
    pub fn retire_entity(mut self, name: &str) -> Self {
        self.retired.push(name.to_owned());
        self
    }

    /// Tells how far the work is that a change of the schema brings with it, such as building an index.
    ///
    /// It is called on the thread that opens the store, between transactions, before [`open`](StoreBuilder::open) returns; for
    /// indexes that are [built in the background](StoreBuilder::build_indexes_in_background) on that thread, and later.
    pub fn on_progress(mut self, watch: impl Fn(&OpeningProgress) + Send + Sync + 'static) -> Self {
        self.watch = Arc::new(watch);
        self
    }

    /// Lets [`open`](StoreBuilder::open) return before new indexes are built; a thread builds them meanwhile.
    ///
    /// Until an index is whole, queries give the same results without it. Readers are never held up, writers for as long as
    /// some thousand entries take. Indexes of unique properties are built before `open` returns in any case, as writes rely
    /// on them. If the store is closed first, the next opening goes on. Default: `open` builds all of them.
    pub fn build_indexes_in_background(mut self) -> Self {
        self.in_background = true;
        self
    }

    /// How many objects one transaction takes of the work that a change of the schema brings with it, for tests that cut it
    /// off.
    #[doc(hidden)]
    pub fn batch_objects(mut self, objects: usize) -> Self {
        self.batch_objects = Some(objects);
        self
    }

    /// Whether the store is a device's (the default) or a server's; a directory keeps its role.
    pub fn role(mut self, role: Role) -> Self {
        self.role = role;
        self
    }

    /// What a commit promises; [`Durability::Full`] unless this says otherwise.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.engine.durability = durability;
        self
    }

    /// The largest size in bytes that the memory map may grow to, and with it the data. Default: 16 TiB, less on small
    /// systems.
    pub fn map_bytes_max(mut self, bytes: u64) -> Self {
        self.engine.map_bytes_max = bytes;
        self.engine.map_bytes = self.engine.map_bytes.min(bytes);
        self
    }

    /// The largest number of tables: about 3 for each entity and one for each index, and ten more. Default: 256. Each costs
    /// every transaction a little.
    pub fn tables_max(mut self, tables: u32) -> Self {
        self.engine.tables_max = tables;
        self
    }

    /// Where the store takes the time from; the system's clock unless this says otherwise.
    pub fn time_source(mut self, time: impl TimeSource) -> Self {
        self.time = Arc::new(time);
        self
    }

    /// The secret of the store's identity, for a directory that is new; random unless this says otherwise.
    ///
    /// Two stores must never have the same: a server takes them for one.
    pub fn identity_secret(mut self, secret: [u8; 32]) -> Self {
        self.identity_secret = Some(secret);
        self
    }

    /// From which the secrets of identities follow that the store takes later without a write that sets it apart, so that a
    /// simulation can be repeated; they are random without it. It must differ from opening to opening of copies.
    #[doc(hidden)]
    pub fn renewal_seed(mut self, seed: [u8; 32]) -> Self {
        self.renewal_seed = Some(seed);
        self
    }

    /// Opens an existing store without writing to it, beside the process that does.
    pub fn read_only(mut self) -> Self {
        self.engine.read_only = true;
        self
    }

    /// Opens the store, or finds it if this process has it open.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if another process writes to the directory; errors for directories of other programs, newer
    /// releases or the other role, and for a schema that cannot become what is asked for. The directory is as before then.
    /// Work that a new schema brings with it may also fail for want of room, once the schema has changed; the next opening
    /// goes on with it.
    pub fn open(self) -> Result<Store> {
        let memory = self.directory.to_str().and_then(|directory| directory.strip_prefix(MEMORY));
        if memory == Some("") {
            let engine = self.image.as_ref().map_or_else(Engine::memory, |image| image.0.engine());
            let inner = Arc::new(self.open_in(None, None, None, engine)?);
            if self.image.is_some() {
                self.settle(&inner)?;
            }
            return Ok(Store::from_inner(inner));
        }
        let name = match memory {
            Some(_) => self.directory.clone(),
            None => self.canonical_directory()?,
        };
        let is_memory = memory.is_some();
        let builder = &self;
        let found = registry::find_or_open(name.clone(), |registration| {
            if is_memory {
                return builder.open_in(Some(registration), None, None, Engine::memory()).map(Arc::new);
            }
            let inner = Arc::new(builder.open_directory(&name, registration)?);
            if !inner.engine.is_read_only() {
                builder.settle(&inner)?;
            }
            Ok(inner)
        })?;
        match found {
            Found::New(inner) => Ok(Store::from_inner(inner)),
            Found::Open(inner) => {
                self.check_same(&inner)?;
                Ok(Store::from_inner(inner))
            }
        }
    }

    /// Does what a change of the schema has left to do, by this opening or by one that was cut off.
    fn settle(&self, inner: &Arc<Inner>) -> Result<()> {
        let watch = &*self.watch;
        adopt::run(inner, watch)?;
        leave::run(inner, watch)?;
        enroll::run(inner, watch)?;
        building::run(inner, watch, self.in_background)?;
        if self.in_background { building::in_background(inner, self.watch.clone()) } else { Ok(()) }
    }

    fn canonical_directory(&self) -> Result<PathBuf> {
        let directory = &self.directory;
        if !self.engine.read_only {
            os::create_directory(directory)
                .map_err(|error| SeamError::io("creating the store's directory", error))?;
        } else if !directory.exists() {
            return Err(SeamError::Missing { path: directory.clone() }.into());
        }
        Ok(directory.canonicalize().map_err(|error| SeamError::io("finding the store's directory", error))?)
    }

    /// Checks that a store which is open already is what is asked for.
    fn check_same(&self, inner: &Inner) -> Result<()> {
        let otherwise = |what: String| StoreError::OpenOtherwise { path: self.directory.clone(), what };
        if inner.sync.role != self.role {
            return Err(otherwise(format!("is a {:?} there", inner.sync.role)));
        }
        if inner.engine.is_read_only() && !self.engine.read_only {
            return Err(otherwise("is open for reading only there".to_owned()));
        }
        let model = self.model.as_ref().unwrap_or(&inner.model);
        if self.evolved(model)?.schema() == inner.model.schema() {
            Ok(())
        } else {
            Err(otherwise("has another schema there".to_owned()))
        }
    }

    fn open_directory(&self, directory: &Path, registration: Registration) -> Result<Inner> {
        let lock = if self.engine.read_only {
            None
        } else {
            match DirectoryLock::acquire(directory)? {
                Acquired::Held(mut lock) => {
                    lock.remove_if_made(directory.join(READERS_FILE));
                    Some(lock)
                }
                Acquired::HeldBy { pid } => {
                    return Err(StoreError::InUse { path: directory.to_owned(), pid });
                }
            }
        };
        let engine = Engine::open_lmdb(directory, self.engine.clone())?;
        self.open_in(Some(registration), lock, Some(directory.to_owned()), engine)
    }

    /// The last parameter is dropped first: if this fails, the files are free before the directory is, and the directory
    /// before its name.
    fn open_in(
        &self,
        registration: Option<Registration>,
        lock: Option<DirectoryLock>,
        directory: Option<PathBuf>,
        engine: Engine,
    ) -> Result<Inner> {
        let opened = if engine.is_read_only() {
            self.open_to_read(&engine, directory.as_deref())?
        } else {
            self.open_to_write(&engine, directory.as_deref())?
        };
        Ok(Inner {
            engine,
            catalog: opened.catalog,
            model: opened.model,
            meta: opened.meta,
            schema_version: opened.schema_version,
            batch_objects: self.batch_objects,
            sync: opened.sync,
            observers: Observers::default(),
            write_queue: write_queue::new(),
            handles: AtomicUsize::new(0),
            writer: Mutex::new(()),
            time: self.time.clone(),
            directory,
            handed_out: Mutex::default(),
            structs: RwLock::new(HashMap::new()),
            _lock: lock.map(DirectoryLock::keep),
            _registration: registration,
        })
    }

    fn open_to_write(&self, engine: &Engine, directory: Option<&Path>) -> Result<Opened> {
        let mut tx = engine.write()?;
        let place = directory.unwrap_or(&self.directory);
        let meta = match tx.table_if_exists(keys::META)? {
            Some(meta) => {
                check_format(tx.get(meta, keys::FORMAT_KEY)?, place)?;
                meta
            }
            None if tx.has_tables()? => return Err(StoreError::ForeignDirectory { path: place.to_owned() }),
            None => tx.create_table(keys::META)?,
        };
        let stored = read_model(&tx, meta)?;
        let model = self.evolved_model(stored.as_ref())?;
        relations::check_local(model.schema())?;
        let stored_schema = stored.as_ref().map(ModelFile::schema);
        let changed = stored_schema.filter(|&stored| stored != model.schema());
        if let Some(stored) = changed {
            evolution::check(&mut tx, stored, model.schema(), self.role)?;
            evolution::change(&mut tx, meta, stored, model.schema())?;
            relations::clear_dropped(&mut tx, stored, model.schema())?;
        }
        if stored.as_ref() != Some(&model) {
            tx.put(meta, keys::FORMAT_KEY, &FORMAT.to_be_bytes())?;
            tx.put(meta, keys::MODEL_KEY, model.to_json().as_bytes())?;
        }
        let catalog = Catalog::new(model.schema(), self.hiding_by(), |entity| {
            evolution::create_tables(&mut tx, meta, entity, stored_schema)
        })?;
        let tables = tx.create_tables(&SYNC_TABLES)?;
        let mut opening = Opening { tx, meta };
        let open = SyncOpen {
            role: self.role,
            identity_secret: self.identity_secret,
            renewal_seed: self.renewal_seed,
            tables: sync_tables(&tables),
            catalog: &catalog,
        };
        let sync = SyncState::open(&mut opening, open)?;
        let schema_version = opening.meta_get(keys::SCHEMA_KEY)?.map(<[u8]>::to_vec);
        opening.tx.commit()?;
        Ok(Opened { catalog, model, meta, schema_version, sync })
    }

    /// What expired objects are hidden by: on a server they stay in sight until it removes them.
    fn hiding_by(&self) -> Option<&Arc<dyn TimeSource>> {
        (self.role == Role::Device).then_some(&self.time)
    }

    fn open_to_read(&self, engine: &Engine, directory: Option<&Path>) -> Result<Opened> {
        let directory = directory.unwrap_or(&self.directory);
        let table = |name: &str| -> Result<TableId> {
            engine
                .table_if_exists(name)?
                .ok_or_else(|| StoreError::ForeignDirectory { path: directory.to_owned() })
        };
        let meta = table(keys::META)?;
        let mut names = Vec::new();
        let (model, schema_version, building) = {
            let tx = engine.read()?;
            check_format(tx.get(meta, keys::FORMAT_KEY)?, directory)?;
            let model =
                read_model(&tx, meta)?.ok_or_else(|| StoreError::damaged("meta", "there is no model"))?;
            let mut building = HashSet::new();
            for id in model.schema().entities().iter().flat_map(index::indexes) {
                if tx.get(meta, keys::build_key(id).as_bytes())?.is_some() {
                    building.insert(id);
                }
            }
            (model, tx.get(meta, keys::SCHEMA_KEY)?.map(<[u8]>::to_vec), building)
        };
        // Another process may change the schema and drop what this one knows.
        let wholeness = |id: IndexId| Wholeness::Asked {
            meta,
            build_key: building.contains(&id).then(|| keys::build_key(id)),
            schema: Some(schema_version.clone()),
        };
        let catalog = Catalog::new(model.schema(), self.hiding_by(), |entity| {
            let synced = entity.is_synced();
            Ok(EntityTables {
                objects: table(&keys::objects_table(entity.id))?,
                absent: synced.then(|| table(&keys::absent_table(entity.id))).transpose()?,
                global_ids: synced.then(|| table(&keys::global_ids_table(entity.id))).transpose()?,
                indexes: index::indexes(entity)
                    .map(|id| Ok((table(&keys::index_table(id))?, wholeness(id))))
                    .collect::<Result<_>>()?,
                relations: relations::tables(entity, table)?,
            })
        })?;
        for name in SYNC_TABLES {
            names.push(table(name)?);
        }
        let mut opening = OpeningToRead { tx: engine.read()?, meta };
        let open = SyncOpen {
            role: self.role,
            identity_secret: None,
            renewal_seed: None,
            tables: sync_tables(&names),
            catalog: &catalog,
        };
        let sync = SyncState::open(&mut opening, open)?;
        Ok(Opened { catalog, model, meta, schema_version, sync })
    }

    /// The schema that the directory is to have: the given model, or the stored one, with the registered structs.
    fn evolved_model(&self, stored: Option<&ModelFile>) -> Result<ModelFile> {
        let base = match (&self.model, stored) {
            (Some(model), Some(stored)) => {
                check_continues(stored.schema(), model)?;
                model.clone()
            }
            (Some(model), None) => model.clone(),
            (None, Some(stored)) => stored.clone(),
            (None, None) => ModelFile::from_schema(&Schema::default()),
        };
        self.evolved(&base)
    }

    /// The model with what this builder describes and without what it retires.
    fn evolved(&self, base: &ModelFile) -> Result<ModelFile> {
        let mut model = base.clone();
        if !self.descriptions.is_empty() {
            model = model.evolve_with(&self.descriptions)?;
        }
        if model.schema().entities().iter().any(|entity| self.retired.contains(&entity.name)) {
            model = model.without(&self.retired)?;
        }
        Ok(model)
    }
}

/// What opening a store made of its engine.
struct Opened {
    catalog: Catalog,
    model: ModelFile,
    meta: TableId,
    schema_version: Option<Vec<u8>>,
    sync: SyncState,
}

/// The tables of sync, in the order in which [`sync_tables`] takes them.
const SYNC_TABLES: [&str; 7] = [
    keys::OUTBOX,
    keys::CONFIRMED,
    keys::REJECTED,
    keys::CHANGES,
    keys::ORIGINS,
    keys::DECISIONS,
    keys::CONFLICTS,
];

fn sync_tables(tables: &[TableId]) -> SyncTables {
    SyncTables {
        outbox: tables[0],
        confirmed: tables[1],
        rejected: tables[2],
        changes: tables[3],
        origins: tables[4],
        decisions: tables[5],
        conflicts: tables[6],
    }
}

fn check_format(stored: Option<&[u8]>, directory: &Path) -> Result<()> {
    let bytes = stored.and_then(|stored| stored.try_into().ok());
    let bytes = bytes.ok_or_else(|| StoreError::ForeignDirectory { path: directory.to_owned() })?;
    let found = u32::from_be_bytes(bytes);
    if found > FORMAT { Err(StoreError::NewerFormat { found, known: FORMAT }) } else { Ok(()) }
}

fn read_model(tx: &impl Reader, meta: TableId) -> Result<Option<ModelFile>> {
    let Some(json) = tx.get(meta, keys::MODEL_KEY)? else { return Ok(None) };
    let json = std::str::from_utf8(json).map_err(|e| StoreError::damaged("model", e))?;
    Ok(Some(ModelFile::parse(json)?))
}

/// Checks that everything stored keeps its ids and types in a given model.
fn check_continues(stored: &Schema, given: &ModelFile) -> Result<()> {
    let removes = |uid| given.has_retired_entity(uid);
    match evolve::obstacles(stored, given.schema(), removes).first() {
        Some(obstacle) => Err(StoreError::OtherModel { what: obstacle.to_string() }),
        None => Ok(()),
    }
}

/// The `meta` table while a store opens for writing.
struct Opening<'e> {
    tx: WriteTx<'e>,
    meta: TableId,
}

impl MetaTable for Opening<'_> {
    fn meta_get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.tx.get(self.meta, key)?)
    }

    fn meta_put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.tx.put(self.meta, key, value)?)
    }
}

/// The `meta` table while a store opens for reading only.
struct OpeningToRead<'e> {
    tx: crate::seam::ReadTx<'e>,
    meta: TableId,
}

impl MetaTable for OpeningToRead<'_> {
    fn meta_get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.tx.get(self.meta, key)?)
    }

    fn meta_put(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Err(SeamError::ReadOnly.into())
    }
}

#[cfg(test)]
mod tests;
