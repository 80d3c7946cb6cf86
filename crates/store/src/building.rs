//! Indexes that are built from objects which are there already, in transactions of bounded size.
//!
//! The opening that brings a new index notes in `meta` from which object on it has to be built. From then on every write keeps
//! the index up to date for the objects that it touches, and queries leave the index alone until the note is gone. The
//! builder takes the keys of many objects from a snapshot, sorts them, and enters them piece by piece; an entry of which
//! the object has changed since is left out, as its writer has entered what it is now. A builder that is cut off at any point
//! is followed by the next opening, which begins again with the objects of the last note.

use std::ops::Bound;
use std::sync::{Arc, Weak};

use reconvene_model::ObjectId;
use reconvene_model::record::Record;

use crate::catalog::EntityRuntime;
use crate::error::{Result, StoreError};
use crate::index::{self, IndexRuntime};
use crate::keys;
use crate::progress::{OpeningProgress, OpeningStep, Progress, Watch};
use crate::seam::{Direction, Reader, SeamError, TableId, View};
use crate::store::{Inner, Store};
use crate::sync::meta::MetaTable;
use crate::txn::WriteTxn;

/// How many bytes of keys are sorted at a time.
const RUN_BYTES_MAX: usize = 64 << 20;

/// How many entries one transaction writes: for so long other writers wait.
const ENTRIES_PER_TX: usize = 20_000;

/// How often a transaction is run again after the memory map has grown for it.
const GROWTHS_MAX: usize = 8;

/// Whether queries may rely on an index: it holds all objects.
#[derive(Clone, Debug, Default)]
pub(crate) enum Wholeness {
    /// Always while the store is open.
    #[default]
    Whole,
    /// If the snapshot says so.
    Asked {
        /// The table to ask.
        meta: TableId,
        /// There while the index is being built.
        build_key: Option<String>,
        /// What [`keys::SCHEMA_KEY`] said when the store was opened, for readers beside a process that may change the schema:
        /// with another one the index may be gone.
        schema: Option<Option<Vec<u8>>>,
    },
}

impl Wholeness {
    /// Whether the index holds all objects of this moment.
    #[inline]
    pub(crate) fn holds(&self, view: &View<'_>) -> Result<bool> {
        let Wholeness::Asked { meta, build_key, schema } = self else { return Ok(true) };
        if let Some(schema) = schema
            && view.get(*meta, keys::SCHEMA_KEY)? != schema.as_deref()
        {
            return Ok(false);
        }
        Ok(match build_key {
            Some(key) => view.get(*meta, key.as_bytes())?.is_none(),
            None => true,
        })
    }
}

/// Builds what there is to build before anybody else uses the store: all of it, or what writes rely on.
pub(crate) fn run(inner: &Arc<Inner>, watch: Watch<'_>, only_unique: bool) -> Result<()> {
    while let Some(mut building) = Building::next(inner, watch, true, only_unique)? {
        while building.step(inner)? {}
    }
    Ok(())
}

/// Builds the rest in a thread of its own, which ends with the store.
pub(crate) fn in_background(
    inner: &Arc<Inner>,
    watch: Arc<dyn Fn(&OpeningProgress) + Send + Sync>,
) -> Result<()> {
    if Building::next(inner, &|_| {}, false, false)?.is_none() {
        return Ok(());
    }
    let store = Arc::downgrade(inner);
    let built = {
        let watch = watch.clone();
        move || {
            // What fails here fails again where somebody asks for it, and at the next opening.
            let _ = build_while_open(&store, &*watch);
        }
    };
    match std::thread::Builder::new().name("reconvene-index".to_owned()).spawn(built) {
        Ok(_) => Ok(()),
        // A system without threads.
        Err(_) => run(inner, &*watch, false),
    }
}

fn build_while_open(store: &Weak<Inner>, watch: Watch<'_>) -> Result<()> {
    loop {
        // Between two steps the store may be closed.
        let Some(inner) = store.upgrade() else { return Ok(()) };
        let Some(mut building) = Building::next(&inner, watch, false, false)? else { return Ok(()) };
        drop(inner);
        loop {
            let Some(inner) = store.upgrade() else { return Ok(()) };
            if !building.step(&inner)? {
                break;
            }
        }
    }
}

impl Store {
    /// The indexes that are still being built, as [`StoreBuilder::build_indexes_in_background`] lets them be; queries do
    /// without them until they are whole.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    ///
    /// [`StoreBuilder::build_indexes_in_background`]: crate::StoreBuilder::build_indexes_in_background
    pub fn unbuilt_indexes(&self) -> Result<Vec<OpeningStep>> {
        let inner = self.inner();
        let tx = inner.engine.read()?;
        let mut unbuilt = Vec::new();
        for entity in inner.catalog.entities() {
            for index in &entity.indexes {
                if !index.wholeness.holds(&tx.view())? {
                    unbuilt.push(step_of(entity, index));
                }
            }
        }
        Ok(unbuilt)
    }

    /// Builds on this thread what is left of the indexes that are being built in the background; when it returns, all are
    /// whole.
    ///
    /// # Errors
    ///
    /// If the disk is full or fails. What was built stays, and the rest is built after the next opening.
    pub fn build_indexes(&self) -> Result<()> {
        let inner = self.inner();
        while let Some(mut building) = Building::next(inner, &|_| {}, false, false)? {
            while building.step(inner)? {}
        }
        Ok(())
    }
}

fn step_of(entity: &EntityRuntime, index: &IndexRuntime) -> OpeningStep {
    OpeningStep::Index { entity: entity.def.name.clone(), property: index.property().name.clone() }
}

/// One index on its way.
struct Building<'w> {
    entity: Arc<EntityRuntime>,
    index: IndexRuntime,
    note: String,
    /// Whether nobody else can write meanwhile, so that no entry becomes wrong.
    is_alone: bool,
    run: Run,
    progress: Progress<'w>,
}

/// The sorted entries of some objects.
#[derive(Default)]
struct Run {
    keys: Vec<u8>,
    entries: Vec<Entry>,
    /// How many of them were written.
    written: usize,
    /// What the note says while the run is being written.
    start: Vec<u8>,
    /// What it is to say then; `None` if there are no objects beyond.
    next: Option<Vec<u8>>,
}

#[derive(Clone, Copy)]
struct Entry {
    /// The beginning of the key, which mostly decides the order without a look at the rest.
    beginning: u128,
    start: usize,
    len: u16,
}

impl Run {
    fn key(&self, entry: &Entry) -> &[u8] {
        &self.keys[entry.start..entry.start + usize::from(entry.len)]
    }
}

impl<'w> Building<'w> {
    /// The next index that is noted, if there is one.
    fn next(
        inner: &Arc<Inner>,
        watch: Watch<'w>,
        is_alone: bool,
        only_unique: bool,
    ) -> Result<Option<Building<'w>>> {
        let tx = inner.engine.read()?;
        for entity in inner.catalog.entities() {
            for index in entity.indexes.iter().filter(|index| !only_unique || index.is_unique()) {
                let Some(id) = index.property().index.map(|index| index.id) else { continue };
                let note = keys::build_key(id);
                if tx.get(inner.meta, note.as_bytes())?.is_none() {
                    continue;
                }
                let mut progress = Progress::new(watch, step_of(entity, index));
                progress.of(tx.count(entity.objects)?);
                return Ok(Some(Building {
                    entity: entity.clone(),
                    index: index.clone(),
                    note,
                    is_alone,
                    run: Run::default(),
                    progress,
                }));
            }
        }
        Ok(None)
    }

    /// Does a bounded piece of the work; whether more is left.
    fn step(&mut self, inner: &Arc<Inner>) -> Result<bool> {
        if self.run.written == self.run.entries.len() && !self.collect(inner)? {
            return Ok(false);
        }
        for _ in 0..GROWTHS_MAX {
            match WriteTxn::run(inner, |tx| self.write(tx)) {
                Err(StoreError::Engine(SeamError::MapFull { .. })) => {}
                written => {
                    let (entries, is_last) = written?;
                    self.run.written += entries;
                    self.progress.advance(entries as u64);
                    return Ok(!is_last);
                }
            }
        }
        WriteTxn::run(inner, |tx| self.write(tx)).map(|(_, is_last)| !is_last)
    }

    /// Takes the keys of the next objects; `false` if the note is gone.
    fn collect(&mut self, inner: &Arc<Inner>) -> Result<bool> {
        let tx = inner.engine.read()?;
        let Some(start) = tx.get(inner.meta, self.note.as_bytes())?.map(<[u8]>::to_vec) else {
            return Ok(false);
        };
        // Tests let a run, too, be longer than one transaction, and not all there is.
        let objects_max = inner.batch_objects.map_or(usize::MAX, |objects| 2 * objects + 1);
        let mut run = Run { keys: std::mem::take(&mut self.run.keys), ..Run::default() };
        run.keys.clear();
        for row in tx.range(
            self.entity.objects,
            (Bound::Included(&start[..]), Bound::Unbounded),
            Direction::Forward,
        )? {
            let (object, record) = row?;
            if run.keys.len() > RUN_BYTES_MAX || run.entries.len() >= objects_max {
                run.next = Some(object.to_vec());
                break;
            }
            let from = run.keys.len();
            if !push_entry(&self.index, keys::object_id(object)?, record, &mut run.keys)? {
                continue;
            }
            let key = &run.keys[from..];
            let len = u16::try_from(key.len()).expect("an index key is at most KEY_BYTES_MAX long");
            run.entries.push(Entry { beginning: index::beginning(key), start: from, len });
        }
        let keys = &run.keys;
        let rest = |entry: &Entry| &keys[entry.start..entry.start + usize::from(entry.len)];
        run.entries.sort_unstable_by(|a, b| a.beginning.cmp(&b.beginning).then_with(|| rest(a).cmp(rest(b))));
        run.start = start;
        self.run = run;
        Ok(true)
    }

    /// Writes the next entries; how many, and whether the index is whole with them.
    fn write(&self, tx: &mut WriteTxn<'_>) -> Result<(usize, bool)> {
        let run = &self.run;
        let batch = tx.inner().batch_objects.unwrap_or(ENTRIES_PER_TX);
        let end = run.entries.len().min(run.written + batch);
        let table = self.index.table;
        let mut last = tx.engine_tx().last(table)?.map_or(Vec::new(), |(last, _)| last.to_vec());
        let mut room = Vec::new();
        for entry in &run.entries[run.written..end] {
            let key = run.key(entry);
            if !self.is_alone && !self.is_right(tx, key, &mut room)? {
                continue;
            }
            if key > &last[..] {
                tx.append_raw(table, key, &[])?;
                last.clear();
                last.extend_from_slice(key);
            } else {
                tx.put_raw(table, key, &[])?;
            }
        }
        let mut is_whole = false;
        // Somebody else may have built on, if the work is done in two places.
        if end == run.entries.len() && tx.meta_get(self.note.as_bytes())? == Some(&run.start[..]) {
            match &run.next {
                Some(next) => tx.meta_put(self.note.as_bytes(), next)?,
                None => {
                    tx.delete_raw(tx.inner().meta, self.note.as_bytes())?;
                    is_whole = true;
                }
            }
        }
        Ok((end - run.written, is_whole))
    }

    /// Whether the object still has the value that it had in the snapshot.
    fn is_right(&self, tx: &WriteTxn<'_>, key: &[u8], room: &mut Vec<u8>) -> Result<bool> {
        let id = index::id_of_key(key)?;
        let Some(record) = tx.record(&self.entity, id)? else { return Ok(false) };
        room.clear();
        Ok(push_entry(&self.index, id, record, room)? && room == key)
    }
}

/// Appends the entry of an object; `false` if it has none in this index.
fn push_entry(index: &IndexRuntime, id: ObjectId, record: &[u8], out: &mut Vec<u8>) -> Result<bool> {
    let record = Record::parse(record).map_err(|e| StoreError::damaged("record", e))?;
    let start = out.len();
    index.value_key(&record.table, out)?;
    if out.len() == start {
        return Ok(false);
    }
    index::push_id(out, id);
    Ok(true)
}
