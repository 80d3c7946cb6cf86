//! The storage seam: one writer, snapshot readers, ordered bytes.
//!
//! An [`Engine`] holds named tables, each an ordered map of bytes. [`Engine::read`] takes a snapshot, [`Engine::write`]
//! the one write transaction; both read through [`Reader`]. Everything above the seam sees two forms of one thing: LMDB
//! in a directory, and an in-memory form. The suite in this folder holds both to the same behaviour.

use std::iter::FusedIterator;
use std::path::Path;
use std::time::Duration;

use self::lmdb::LmdbEngine;
use self::lmdb_tx::{LmdbEntries, LmdbRead, LmdbWrite};
use self::memory::{MemoryEngine, MemoryEntries, MemoryWrite, Version};

mod data_file;
mod error;
mod gate;
#[cfg(test)]
mod gate_tests;
mod handles;
mod idle;
mod lmdb;
mod lmdb_append;
mod lmdb_tx;
mod memory;
#[cfg(test)]
mod on_disk_tests;
mod options;
pub(crate) mod pages;
#[cfg(test)]
mod random_tests;
mod range;
mod reader;
#[cfg(test)]
mod suite_tests;
mod table;
mod tree;

pub(crate) use self::data_file::DATA_FILE;
pub use self::error::SeamError;
pub(crate) use self::lmdb::bare_environment;
pub use self::options::Durability;
pub(crate) use self::options::EngineOptions;
pub(crate) use self::range::{Direction, Key, KeyRange, prefix_end};
pub(crate) use self::reader::{Reader, View};
pub(crate) use self::table::TableId;

/// The longest key, in bytes, that every form of the seam can hold.
pub(crate) const KEY_BYTES_MAX: usize = 511;

/// The longest value in bytes: the largest record that its own 32-bit signed offsets can address.
pub(crate) const VALUE_BYTES_MAX: usize = i32::MAX as usize;

/// A result of the seam.
pub(crate) type Result<T> = std::result::Result<T, SeamError>;

/// A key and its value.
pub(crate) type Entry<'t> = (&'t [u8], &'t [u8]);

/// An open store of named, ordered tables of bytes; see the module.
#[derive(Debug)]
pub(crate) enum Engine {
    /// An LMDB environment in a directory.
    Lmdb(LmdbEngine),
    /// Everything in memory.
    Memory(MemoryEngine),
}

#[allow(dead_code, reason = "one whole set of operations, whichever of them the rooms above use")]
impl Engine {
    /// Opens the LMDB environment in a directory; creates both unless `options.read_only`.
    ///
    /// The files are `data.mdb` and `lock.mdb`. The caller makes sure that no other process writes to the directory.
    ///
    /// # Errors
    /// [`SeamError::NotOurs`] and [`SeamError::Corrupted`] for files that LMDB did not write,
    /// [`SeamError::AlreadyOpen`], [`SeamError::Missing`] with `read_only`, [`SeamError::Io`], [`SeamError::DiskFull`].
    pub(crate) fn open_lmdb(directory: &Path, options: EngineOptions) -> Result<Engine> {
        Ok(Engine::Lmdb(LmdbEngine::open(directory, options)?))
    }

    /// Makes an empty engine that lives in memory and is gone when dropped.
    pub(crate) fn memory() -> Engine {
        Engine::Memory(MemoryEngine::default())
    }

    /// What a memory engine has committed; `None` on disk.
    pub(crate) fn image(&self) -> Option<MemoryImage> {
        match self {
            Engine::Lmdb(_) => None,
            Engine::Memory(engine) => Some(MemoryImage(engine.read())),
        }
    }

    /// Opens the table of this name, creating it if need be, in a write transaction of its own.
    ///
    /// # Errors
    /// [`SeamError::TableName`], [`SeamError::TooManyTables`] and those of [`WriteTx::commit`].
    pub(crate) fn table(&self, name: &str) -> Result<TableId> {
        let mut tx = self.write()?;
        let table = tx.create_table(name)?;
        tx.commit()?;
        Ok(table)
    }

    /// Opens many tables in one write transaction; the ids come in the order of the names.
    ///
    /// # Errors
    /// As [`Engine::table`]; then none of the missing tables was created.
    pub(crate) fn tables(&self, names: &[&str]) -> Result<Vec<TableId>> {
        let mut tx = self.write()?;
        let tables = tx.create_tables(names)?;
        tx.commit()?;
        Ok(tables)
    }

    /// Opens the table of this name if it exists; serves read-only engines as well.
    ///
    /// It may wait for the writer. Inside a write transaction use [`WriteTx::table_if_exists`].
    ///
    /// # Errors
    /// [`SeamError::TooManyTables`], [`SeamError::TooManyReaders`], [`SeamError::Io`].
    pub(crate) fn table_if_exists(&self, name: &str) -> Result<Option<TableId>> {
        match self {
            Engine::Lmdb(engine) => engine.table_if_exists(name),
            Engine::Memory(engine) => Ok(engine.read().find(name)),
        }
    }

    /// Takes a snapshot; what is committed later does not show in it.
    ///
    /// Snapshots must be short: on disk, pages that one can see are not used again. It may wait while the map grows.
    ///
    /// # Errors
    /// [`SeamError::TooManyReaders`], [`SeamError::ReadersBusy`], [`SeamError::Io`].
    pub(crate) fn read(&self) -> Result<ReadTx<'_>> {
        Ok(match self {
            Engine::Lmdb(engine) => ReadTx::Lmdb(engine.read()?),
            Engine::Memory(engine) => ReadTx::Memory(engine.read()),
        })
    }

    /// Begins the one write transaction; waits until no other is open, so a thread that has one must not ask again.
    ///
    /// # Errors
    /// [`SeamError::ReadOnly`], [`SeamError::Spent`], [`SeamError::Io`].
    pub(crate) fn write(&self) -> Result<WriteTx<'_>> {
        Ok(match self {
            Engine::Lmdb(engine) => WriteTx::Lmdb(engine.write()?),
            Engine::Memory(engine) => WriteTx::Memory(engine.write()),
        })
    }

    /// Doubles the memory map after [`SeamError::MapFull`], up to the option's maximum; returns its new size in bytes.
    ///
    /// It waits for the writer and for readers to end, ten seconds at most; new readers wait meanwhile. The calling
    /// thread must not have a transaction open.
    ///
    /// # Errors
    /// [`SeamError::MapFull`] at the maximum, [`SeamError::ReadersBusy`], and [`SeamError::Io`] when the address space
    /// is exhausted, after which the engine is spent for readers too.
    pub(crate) fn grow(&self) -> Result<u64> {
        self.grow_within(lmdb::READERS_DRAIN_WAIT_MAX)
    }

    /// As [`Engine::grow`], waiting for readers no longer than this.
    ///
    /// # Errors
    /// As [`Engine::grow`].
    pub(crate) fn grow_within(&self, readers_wait_max: Duration) -> Result<u64> {
        match self {
            Engine::Lmdb(engine) => engine.grow(readers_wait_max),
            Engine::Memory(_) => Ok(u64::MAX),
        }
    }

    /// Removes a table with all it holds, at once and durably; its ids become void.
    ///
    /// It waits like [`Engine::grow`]. To empty a table within a transaction use [`WriteTx::clear_table`].
    ///
    /// # Errors
    /// [`SeamError::UnknownTable`], [`SeamError::ReadersBusy`] and those of [`Engine::write`] and [`WriteTx::commit`].
    pub(crate) fn drop_table(&self, table: TableId) -> Result<()> {
        match self {
            Engine::Lmdb(engine) => engine.drop_table(table),
            Engine::Memory(engine) => {
                let mut tx = engine.write();
                tx.drop_table(table)?;
                tx.commit();
                Ok(())
            }
        }
    }

    /// Makes everything durable that was committed; only [`Durability::Relaxed`] ever leaves something to do.
    ///
    /// # Errors
    /// [`SeamError::Io`] and [`SeamError::DiskFull`]; the engine is spent then.
    pub(crate) fn flush(&self) -> Result<()> {
        match self {
            Engine::Lmdb(engine) => engine.flush(),
            Engine::Memory(_) => Ok(()),
        }
    }

    /// Writes a copy of one consistent snapshot to a new file, without free pages; writers go on meanwhile.
    ///
    /// `false` if there is nothing on disk to copy, as in memory.
    ///
    /// # Errors
    /// [`SeamError::Io`] if the file exists or cannot be written, [`SeamError::DiskFull`].
    pub(crate) fn copy_to(&self, file: &Path) -> Result<bool> {
        match self {
            Engine::Lmdb(engine) => engine.copy_to(file).map(|()| true),
            Engine::Memory(_) => Ok(false),
        }
    }

    /// The size of the data file in bytes; 0 in memory.
    ///
    /// # Errors
    /// [`SeamError::Io`].
    pub(crate) fn disk_bytes(&self) -> Result<u64> {
        match self {
            Engine::Lmdb(engine) => engine.disk_bytes(),
            Engine::Memory(_) => Ok(0),
        }
    }

    /// How much of the memory map the data has taken so far; `None` where nothing can fill up, as in memory.
    ///
    /// A caller that cannot repeat a transaction grows the map ahead of need by this.
    ///
    /// # Errors
    /// [`SeamError::Spent`] after a failed growth.
    pub(crate) fn map_usage(&self) -> Result<Option<MapUsage>> {
        match self {
            Engine::Lmdb(engine) => engine.map_usage().map(Some),
            Engine::Memory(_) => Ok(None),
        }
    }

    /// Whether the engine was opened for reading only.
    pub(crate) fn is_read_only(&self) -> bool {
        match self {
            Engine::Lmdb(engine) => engine.is_read_only(),
            Engine::Memory(_) => false,
        }
    }
}

/// What a memory engine has committed at one moment.
#[derive(Clone, Debug)]
pub(crate) struct MemoryImage(Version);

impl MemoryImage {
    /// A new engine that begins with this content.
    pub(crate) fn engine(&self) -> Engine {
        Engine::Memory(MemoryEngine::of(self.0.clone()))
    }
}

/// The fill of a memory map, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MapUsage {
    /// Up to where the map was ever used; pages that became free again below are included.
    pub(crate) used_bytes: u64,
    /// The size of the map.
    pub(crate) map_bytes: u64,
}

/// A snapshot: it sees what was committed before it began. It may move between threads.
#[derive(Debug)]
pub(crate) enum ReadTx<'e> {
    /// A snapshot of an LMDB environment.
    Lmdb(LmdbRead<'e>),
    /// A version held in memory.
    Memory(Version),
}

impl ReadTx<'_> {
    /// The number of the transaction that left what this snapshot shows; `None` in memory.
    pub(crate) fn transaction(&self) -> Option<u64> {
        match self {
            ReadTx::Lmdb(tx) => Some(tx.transaction()),
            ReadTx::Memory(_) => None,
        }
    }
}

/// The one write transaction: it sees its own changes. Dropping it undoes them all.
#[derive(Debug)]
pub(crate) enum WriteTx<'e> {
    /// A write transaction of an LMDB environment.
    Lmdb(LmdbWrite<'e>),
    /// A private version in memory.
    Memory(MemoryWrite<'e>),
}

#[allow(dead_code, reason = "one whole set of operations, whichever of them the rooms above use")]
impl WriteTx<'_> {
    /// Makes all changes visible to later snapshots, and durable as [`Durability`] says.
    ///
    /// # Errors
    /// After an error nothing of the transaction was kept. [`SeamError::MapFull`] (grow and run it again),
    /// [`SeamError::DiskFull`], [`SeamError::TxFailed`], and [`SeamError::Io`], after which the engine is spent.
    pub(crate) fn commit(self) -> Result<()> {
        match self {
            WriteTx::Lmdb(tx) => tx.commit(),
            WriteTx::Memory(tx) => {
                tx.commit();
                Ok(())
            }
        }
    }

    /// Opens the table of this name, creating it if need be; the id is void if the transaction does not commit.
    ///
    /// # Errors
    /// [`SeamError::TableName`], [`SeamError::TooManyTables`], [`SeamError::MapFull`].
    pub(crate) fn create_table(&mut self, name: &str) -> Result<TableId> {
        match self {
            WriteTx::Lmdb(tx) => tx.create_tables(&[name]).map(|tables| tables[0]),
            WriteTx::Memory(tx) => tx.create_table(name),
        }
    }

    /// Opens many tables at once, which on disk is cheaper than one by one.
    ///
    /// # Errors
    /// As [`WriteTx::create_table`].
    pub(crate) fn create_tables(&mut self, names: &[&str]) -> Result<Vec<TableId>> {
        match self {
            WriteTx::Lmdb(tx) => tx.create_tables(names),
            WriteTx::Memory(tx) => names.iter().map(|name| tx.create_table(name)).collect(),
        }
    }

    /// Opens the table of this name if it exists.
    ///
    /// # Errors
    /// [`SeamError::TooManyTables`], [`SeamError::Io`].
    pub(crate) fn table_if_exists(&mut self, name: &str) -> Result<Option<TableId>> {
        match self {
            WriteTx::Lmdb(tx) => tx.table_if_exists(name),
            WriteTx::Memory(tx) => Ok(tx.version().find(name)),
        }
    }

    /// Whether the engine held any table, or anything else, when this transaction began.
    ///
    /// # Errors
    /// None yet in either form; a form that has to look on disk may fail.
    pub(crate) fn has_tables(&self) -> Result<bool> {
        match self {
            WriteTx::Lmdb(tx) => Ok(tx.has_tables()),
            WriteTx::Memory(tx) => Ok(tx.version().has_tables()),
        }
    }

    /// Removes all entries of a table; its cost follows the pages, not the entries.
    ///
    /// # Errors
    /// [`SeamError::UnknownTable`], [`SeamError::MapFull`].
    pub(crate) fn clear_table(&mut self, table: TableId) -> Result<()> {
        match self {
            WriteTx::Lmdb(tx) => tx.clear_table(table),
            WriteTx::Memory(tx) => tx.clear_table(table),
        }
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// [`SeamError::KeyEmpty`], [`SeamError::KeyTooLong`], [`SeamError::ValueTooLong`], [`SeamError::UnknownTable`]: the
    /// transaction is as before. [`SeamError::MapFull`]: it can only be dropped.
    #[inline]
    pub(crate) fn put(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<()> {
        check_sizes(key, value.len())?;
        match self {
            WriteTx::Lmdb(tx) => tx.put(table, key, value),
            WriteTx::Memory(tx) => tx.put(table, key, value),
        }
    }

    /// As [`WriteTx::put`], with the hint that `key` is larger than all keys of the table, which makes it cheaper.
    ///
    /// A wrong hint costs time and nothing else.
    ///
    /// # Errors
    /// As [`WriteTx::put`].
    #[inline]
    pub(crate) fn append(&mut self, table: TableId, key: &[u8], value: &[u8]) -> Result<()> {
        check_sizes(key, value.len())?;
        match self {
            WriteTx::Lmdb(tx) => tx.append(table, key, value),
            WriteTx::Memory(tx) => tx.put(table, key, value),
        }
    }

    /// As [`WriteTx::put`], with a value of `len` bytes that `fill` writes in place; they are zero before.
    ///
    /// # Errors
    /// As [`WriteTx::put`].
    pub(crate) fn reserve(
        &mut self,
        table: TableId,
        key: &[u8],
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        check_sizes(key, len)?;
        match self {
            WriteTx::Lmdb(tx) => tx.reserve(table, key, len, fill),
            WriteTx::Memory(tx) => {
                let mut value = vec![0; len];
                fill(&mut value);
                tx.put(table, key, &value)
            }
        }
    }

    /// Removes a key; `false` if it was absent.
    ///
    /// # Errors
    /// [`SeamError::UnknownTable`], [`SeamError::MapFull`].
    pub(crate) fn delete(&mut self, table: TableId, key: &[u8]) -> Result<bool> {
        match self {
            WriteTx::Lmdb(tx) => tx.delete(table, key),
            WriteTx::Memory(tx) => tx.delete(table, key),
        }
    }

    /// Removes all keys in a range; returns how many there were.
    ///
    /// # Errors
    /// [`SeamError::UnknownTable`], [`SeamError::MapFull`].
    pub(crate) fn delete_range<'k>(&mut self, table: TableId, range: impl Into<KeyRange<'k>>) -> Result<u64> {
        let Some(range) = range.into().normal() else {
            return self.count(table).map(|_| 0);
        };
        match self {
            WriteTx::Lmdb(tx) => tx.delete_range(table, range),
            WriteTx::Memory(tx) => tx.delete_range(table, range),
        }
    }
}

/// The entries of a range; after the last, or after an error, it only yields `None`.
#[derive(Debug)]
pub(crate) enum Entries<'t> {
    /// From LMDB.
    Lmdb(LmdbEntries<'t>),
    /// From memory.
    Memory(MemoryEntries<'t>),
    /// Nothing more to come.
    Done,
}

impl<'t> Iterator for Entries<'t> {
    type Item = Result<Entry<'t>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let next = match self {
            Entries::Lmdb(entries) => entries.next(),
            Entries::Memory(entries) => entries.next().map(Ok),
            Entries::Done => return None,
        };
        if !matches!(next, Some(Ok(_))) {
            *self = Entries::Done;
        }
        next
    }
}

impl FusedIterator for Entries<'_> {}

fn check_table_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > KEY_BYTES_MAX || name.contains('\0') {
        return Err(SeamError::TableName { name: name.to_owned() });
    }
    Ok(())
}

#[inline]
fn check_sizes(key: &[u8], value_len: usize) -> Result<()> {
    if key.is_empty() {
        return Err(SeamError::KeyEmpty);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(SeamError::KeyTooLong { len: key.len(), max: KEY_BYTES_MAX });
    }
    if value_len > VALUE_BYTES_MAX {
        return Err(SeamError::ValueTooLong { len: value_len, max: VALUE_BYTES_MAX });
    }
    Ok(())
}
