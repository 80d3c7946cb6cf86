//! The LMDB form of the seam, through `heed`; with [`lmdb_append`](super::lmdb_append) the only module of the store with
//! `unsafe` code.
//!
//! Four things are added to LMDB here. Table handles are checked against a list of those in force, because LMDB
//! reuses the numbers behind them. Readers pass a [`Gate`], so that the memory map can grow and a table can go while
//! nobody looks. Snapshots that nobody reads are kept for the next reader, see [`IdleSnapshots`]. And after a failed flush
//! the engine is spent: what a disk lost once is not asked for again.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use heed::types::Bytes;
use heed::{
    CommitOrAbort, CompactionOption, Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls,
};

use super::data_file::{self, DATA_FILE};
use super::gate::{Closed, Gate, Pass};
use super::handles::Tables;
use super::idle::IdleSnapshots;
use super::lmdb_tx::{LmdbRead, LmdbWrite};
use super::options::{Durability, EngineOptions};
use super::{MapUsage, Result, SeamError, TableId, check_table_name};
use crate::os;

/// Sizes of the memory map are multiples of this, and with it of every page size in use.
const MAP_BYTES_STEP: u64 = 64 * 1024;

/// The size of the memory map while an empty data file is made.
const NEW_MAP_BYTES: usize = 1024 * 1024;

/// How long growing a full map and dropping a table wait for readers to end.
pub(super) const READERS_DRAIN_WAIT_MAX: Duration = Duration::from_secs(10);

/// With less free space than this, a write that stopped half-way is taken for a full disk: LMDB writes up to 256 KiB at
/// a time and reports a part that did not fit as a general I/O error.
const DISK_FULL_BELOW_BYTES: u64 = 1024 * 1024;

/// An open LMDB environment; see the module.
#[derive(Debug)]
pub(crate) struct LmdbEngine {
    pub(super) env: Env<WithoutTls>,
    directory: PathBuf,
    options: EngineOptions,
    pub(super) tables: Tables,
    /// Every read transaction that somebody uses is inside.
    gate: Gate,
    /// Without use where another process writes: nothing here would drop them with its commits.
    pub(super) idle: IdleSnapshots<RoTxn<'static, WithoutTls>>,
    /// Held by the write transaction, and by whatever opens tables, grows the map or drops a table.
    writer: Mutex<()>,
    spent: AtomicBool,
    /// The memory map is gone, so that even reading would touch memory that is not there.
    unmapped: AtomicBool,
}

impl LmdbEngine {
    pub(super) fn open(directory: &Path, options: EngineOptions) -> Result<LmdbEngine> {
        let data = directory.join(DATA_FILE);
        if !data_file::is_there(&data)? {
            if options.read_only {
                return Err(SeamError::Missing { path: directory.to_owned() });
            }
            os::create_directory(directory)
                .map_err(|error| SeamError::io("creating the store's directory", error))?;
            data_file::create(directory, |file| fill_data_file(file, directory, &options))?;
        }
        // LMDB believes its meta pages: with a wrong last page it would map a file as long, and write over other pages.
        data_file::check_head(&data)?;
        let env = open_environment(directory, &options)?;
        // A process that was killed leaves its reader slots behind, and with them pages that nobody may use again.
        env.clear_stale_readers()
            .map_err(|error| describe(error, "clearing old readers", directory, &options))?;
        let full = used_bytes(&env);
        if std::fs::metadata(&data).is_ok_and(|metadata| metadata.len() < full) {
            // A snapshot keeps its pages from being written over meanwhile.
            let snapshot =
                env.read_txn().map_err(|error| describe(error, "beginning to read", directory, &options))?;
            data_file::check_length(&data, full, !options.read_only)?;
            drop(snapshot);
        }
        Ok(LmdbEngine {
            env,
            directory: directory.to_owned(),
            tables: Tables::new(options.tables_max),
            options,
            gate: Gate::default(),
            idle: IdleSnapshots::new(),
            writer: Mutex::new(()),
            spent: AtomicBool::new(false),
            unmapped: AtomicBool::new(false),
        })
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.options.read_only
    }

    pub(super) fn read(&self) -> Result<LmdbRead<'_>> {
        self.snapshot(false).map(|(txn, pass)| LmdbRead::new(txn, self, pass))
    }

    fn snapshot(&self, is_writer: bool) -> Result<(RoTxn<'static, WithoutTls>, Pass<'_>)> {
        let mut cleared = false;
        loop {
            let pass = self.gate.pass();
            if self.unmapped.load(Ordering::Acquire) {
                return Err(SeamError::Spent);
            }
            if let Some(txn) = self.idle.take(|snapshot| self.is_last(snapshot)) {
                return Ok((txn, pass));
            }
            match self.env.clone().static_read_txn() {
                Ok(txn) => return Ok((txn, pass)),
                Err(heed::Error::Mdb(MdbError::MapResized)) => {
                    drop(pass);
                    // Another process, the one that writes, has grown the map.
                    let _writer = (!is_writer).then(|| self.lock_writer());
                    self.resize(0, READERS_DRAIN_WAIT_MAX)?;
                }
                Err(heed::Error::Mdb(MdbError::ReadersFull)) if !cleared => {
                    cleared = true;
                    self.env
                        .clear_stale_readers()
                        .map_err(|error| self.describe(error, "clearing old readers"))?;
                }
                Err(error) => return Err(self.describe(error, "beginning to read")),
            }
        }
    }

    pub(super) fn write(&self) -> Result<LmdbWrite<'_>> {
        self.check_writable()?;
        let writer = self.lock_writer();
        // While this thread waited for the writer before it, that one may have failed.
        self.check_writable()?;
        let txn = self.env.write_txn().map_err(|error| self.describe(error, "beginning to write"))?;
        Ok(LmdbWrite::new(txn, self, writer))
    }

    pub(super) fn table_if_exists(&self, name: &str) -> Result<Option<TableId>> {
        if let Some(table) = self.tables.find(name) {
            return Ok(Some(table));
        }
        check_table_name(name)?;
        // LMDB wants at most one transaction at a time to open tables; write transactions hold the same lock.
        let _writer = self.lock_writer();
        if let Some(table) = self.tables.find(name) {
            return Ok(Some(table));
        }
        let (txn, _pass) = self.snapshot(true)?;
        let opened = self
            .env
            .open_databases_and_commit(txn, |opener, txn| {
                opener.open_database::<Bytes, Bytes>(txn, Some(name)).map(CommitOrAbort::<_, ()>::Commit)
            })
            .map_err(|error| self.describe(error, "opening a table"))?
            .unwrap_commit();
        let Some(handle) = opened else { return Ok(None) };
        let table = self.tables.admit(handle)?;
        self.tables.publish(name, table);
        // A snapshot knows only the handles that there were at its beginning.
        self.idle.clear();
        Ok(Some(table))
    }

    pub(super) fn grow(&self, readers_wait_max: Duration) -> Result<u64> {
        self.check_writable()?;
        let _writer = self.lock_writer();
        // Without a map there is nothing to ask for its size.
        self.check_writable()?;
        let map_bytes = self.env.info().map_size as u64;
        let grown =
            map_bytes.saturating_mul(2).min(self.options.map_bytes_max) / MAP_BYTES_STEP * MAP_BYTES_STEP;
        let Ok(size) = usize::try_from(grown) else { return Err(SeamError::MapFull { map_bytes }) };
        if grown <= map_bytes {
            return Err(SeamError::MapFull { map_bytes });
        }
        self.resize(size, readers_wait_max)?;
        Ok(grown)
    }

    /// Maps the file anew in this size, or with 0 in the size that another process gave it. The caller is the writer.
    fn resize(&self, map_bytes: usize, readers_wait_max: Duration) -> Result<()> {
        let _alone = self.drain(readers_wait_max)?;
        #[expect(unsafe_code, reason = "LMDB cannot check that no transaction is open")]
        // SAFETY: no transaction may be open in this process. The write transaction, and any that opens tables, holds the
        // writer lock, which the caller has; the gate is closed and every read transaction holds a pass of it, but for the
        // idle ones, which `drain` has dropped.
        let resized = unsafe { self.env.resize(map_bytes) };
        resized.map_err(|error| {
            // LMDB has given up the old map by then and has no new one.
            self.unmapped.store(true, Ordering::Release);
            self.spent.store(true, Ordering::Release);
            self.describe(error, "growing the memory map")
        })
    }

    pub(super) fn drop_table(&self, table: TableId) -> Result<()> {
        self.check_writable()?;
        let _writer = self.lock_writer();
        self.check_writable()?;
        let handle = self.tables.handle(table)?;
        let _alone = self.drain(READERS_DRAIN_WAIT_MAX)?;
        let failed = |error| self.describe(error, "dropping a table");
        let mut txn = self.env.write_txn().map_err(failed)?;
        // The handle is closed even if the rest fails, so nobody may use it from here on.
        self.tables.retire(table);
        #[expect(unsafe_code, reason = "LMDB cannot check that nobody uses the handle")]
        // SAFETY: no copy of the handle is used again, because `retire` made every `TableId` with it void before; no
        // other transaction is open that could use it, because the writer lock is held and the readers are drained; and
        // this transaction has not changed the table.
        let removed = unsafe { handle.remove(&mut txn) };
        removed.map_err(failed)?;
        self.commit(txn)
    }

    pub(super) fn flush(&self) -> Result<()> {
        self.check_writable()?;
        self.env.force_sync().map_err(|error| self.fail(error, "flushing"))
    }

    pub(super) fn copy_to(&self, file: &Path) -> Result<()> {
        // The copy's own read transaction counts as a reader like any other.
        let _pass = self.gate.pass();
        if self.unmapped.load(Ordering::Acquire) {
            return Err(SeamError::Spent);
        }
        let failed = |error| SeamError::io("writing a copy of the store", error);
        let mut copy = OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
        self.env
            .copy_to_file(&mut copy, CompactionOption::Enabled)
            .map_err(|error| self.describe(error, "writing a copy of the store"))?;
        copy.sync_all().map_err(failed)
    }

    pub(super) fn map_usage(&self) -> Result<MapUsage> {
        // The answer stands in the map itself, which must not go meanwhile.
        let _pass = self.gate.pass();
        if self.unmapped.load(Ordering::Acquire) {
            return Err(SeamError::Spent);
        }
        Ok(MapUsage { used_bytes: used_bytes(&self.env), map_bytes: self.env.info().map_size as u64 })
    }

    pub(super) fn disk_bytes(&self) -> Result<u64> {
        self.env.real_disk_size().map_err(|error| self.describe(error, "measuring the data file"))
    }

    pub(super) fn commit(&self, txn: RwTxn<'_>) -> Result<()> {
        let committed = txn.commit();
        self.idle.clear();
        committed.map_err(|error| self.fail(error, "committing"))
    }

    fn check_writable(&self) -> Result<()> {
        if self.options.read_only {
            return Err(SeamError::ReadOnly);
        }
        if self.spent.load(Ordering::Acquire) {
            return Err(SeamError::Spent);
        }
        Ok(())
    }

    fn lock_writer(&self) -> MutexGuard<'_, ()> {
        // The lock guards no data: a panic inside a transaction has aborted it.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is no read transaction, and lets none begin meanwhile.
    fn drain(&self, wait_max: Duration) -> Result<Closed<'_>> {
        let closed = self.gate.close(wait_max).ok_or(SeamError::ReadersBusy { waited: wait_max })?;
        // With the gate closed nobody gives one back any more.
        self.idle.clear();
        Ok(closed)
    }

    /// Ends a read transaction; its reader is still inside the gate.
    #[inline]
    pub(super) fn end_read(&self, txn: RoTxn<'static, WithoutTls>) {
        if !self.options.read_only {
            self.idle.give_back(txn, |snapshot| self.is_last(snapshot));
        }
    }

    /// Whether a snapshot shows the last commit.
    #[inline]
    fn is_last(&self, snapshot: &RoTxn<'static, WithoutTls>) -> bool {
        snapshot.id() == self.env.info().last_txn_id
    }

    pub(super) fn describe(&self, error: heed::Error, doing: &'static str) -> SeamError {
        match error {
            heed::Error::Mdb(MdbError::MapFull) => {
                SeamError::MapFull { map_bytes: self.env.info().map_size as u64 }
            }
            error => match describe(error, doing, &self.directory, &self.options) {
                SeamError::Io { source, .. } if os::is_device_error(&source) && self.is_file_full() => {
                    SeamError::FileTooLarge
                }
                SeamError::Io { source, .. } if os::is_device_error(&source) && self.is_disk_full() => {
                    SeamError::DiskFull
                }
                described => described,
            },
        }
    }

    pub(super) fn describe_read(&self, error: heed::Error) -> SeamError {
        match error {
            // LMDB's answer to a handle that is younger than the snapshot.
            heed::Error::Io(error) if error.kind() == io::ErrorKind::InvalidInput => SeamError::UnknownTable,
            error => self.describe(error, "reading"),
        }
    }

    /// Describes an error of a commit or flush, and ends the engine's writing life if the disk may have lost something.
    fn fail(&self, error: heed::Error, doing: &'static str) -> SeamError {
        let described = self.describe(error, doing);
        // A full disk cost only pages that no committed state refers to; whatever else fails leaves the disk in doubt.
        if matches!(described, SeamError::Io { .. } | SeamError::Spent) {
            self.spent.store(true, Ordering::Release);
        }
        described
    }

    fn is_disk_full(&self) -> bool {
        os::free_bytes(&self.directory).is_ok_and(|free| free < DISK_FULL_BELOW_BYTES)
    }

    /// Whether the data file ends where the system lets files of this process end: a write that crosses that limit is
    /// done up to it.
    fn is_file_full(&self) -> bool {
        let length = std::fs::metadata(self.directory.join(DATA_FILE)).map(|metadata| metadata.len());
        os::file_bytes_max().is_some_and(|max| length.is_ok_and(|length| length >= max))
    }
}

impl Drop for LmdbEngine {
    fn drop(&mut self) {
        let idle = !self.options.read_only && !self.spent.load(Ordering::Acquire);
        if idle && self.options.durability == Durability::Relaxed {
            // Best effort: a relaxed store may lose its last commit, but need not when it is closed in peace.
            let _ = self.env.force_sync();
        }
    }
}

/// The environment in a directory, made if need be, with the settings of a store and nothing around it: the floor of the
/// benchmarks.
pub(crate) fn bare_environment(directory: &Path) -> Result<Env<WithoutTls>> {
    std::fs::create_dir_all(directory).map_err(|error| SeamError::io("creating a directory", error))?;
    open_environment(directory, &EngineOptions::default())
}

fn open_environment(directory: &Path, options: &EngineOptions) -> Result<Env<WithoutTls>> {
    let mut flags = EnvFlags::empty();
    if options.durability == Durability::Relaxed {
        flags |= EnvFlags::NO_META_SYNC;
    }
    if options.read_only {
        flags |= EnvFlags::READ_ONLY;
    }
    let map_bytes_max = options.map_bytes_max.max(MAP_BYTES_STEP);
    let mut map_bytes = options.map_bytes.clamp(MAP_BYTES_STEP, map_bytes_max);
    loop {
        map_bytes = map_bytes / MAP_BYTES_STEP * MAP_BYTES_STEP;
        let mut open = EnvOpenOptions::new().read_txn_without_tls();
        // A size beyond the address space is refused by the system like any other that does not fit.
        open.map_size(usize::try_from(map_bytes).unwrap_or(usize::MAX / 2 / 65_536 * 65_536));
        open.max_dbs(options.tables_max).max_readers(options.readers_max.max(1));
        #[expect(unsafe_code, reason = "LMDB maps a file that the operating system lets others change")]
        // SAFETY: the file is mapped, so it must not be changed but through LMDB. Its directory belongs to the store
        // alone, whose lock file keeps other writing processes out, and within a process heed opens an environment only
        // once. Both flags are sound: READ_ONLY changes nothing, and NO_META_SYNC gives up durability of the last commit
        // and keeps the locks and the integrity of the file.
        let opened = unsafe { open.flags(flags).open(directory) };
        match opened {
            Ok(env) => return Ok(env),
            Err(heed::Error::Io(error))
                if error.kind() == io::ErrorKind::OutOfMemory && map_bytes > MAP_BYTES_STEP =>
            {
                map_bytes = (map_bytes / 2).max(MAP_BYTES_STEP);
            }
            Err(error) => return Err(describe(error, "opening the store's files", directory, options)),
        }
    }
}

/// Writes an environment without any data to a file of its own, durably.
fn fill_data_file(file: &Path, directory: &Path, options: &EngineOptions) -> Result<()> {
    let failed = |error| describe(error, "creating the data file", directory, options);
    let mut open = EnvOpenOptions::new().read_txn_without_tls();
    open.map_size(NEW_MAP_BYTES);
    #[expect(unsafe_code, reason = "LMDB maps a file that the operating system lets others change")]
    // SAFETY: the file is new, bears a name that nobody else opens, and lies in a directory that is the store's alone, so
    // nobody changes it while it is mapped, and no lock file is needed to keep others out.
    let opened = unsafe { open.flags(EnvFlags::NO_SUB_DIR | EnvFlags::NO_LOCK).open(file) };
    opened.and_then(|env| env.force_sync()).map_err(failed)
}

/// Up to where the last commit says that the file is used. The caller keeps the map from going.
fn used_bytes(env: &Env<WithoutTls>) -> u64 {
    let pages = env.info().last_page_number as u64 + 1;
    pages.saturating_mul(u64::from(env.unnamed_database_stat().page_size))
}

fn describe(error: heed::Error, doing: &'static str, directory: &Path, options: &EngineOptions) -> SeamError {
    let path = || directory.join(DATA_FILE);
    let error = match error {
        heed::Error::Io(error) => return SeamError::io(doing, error),
        heed::Error::EnvAlreadyOpened => return SeamError::AlreadyOpen { path: directory.to_owned() },
        heed::Error::Encoding(error) | heed::Error::Decoding(error) => {
            return SeamError::io(doing, io::Error::other(error));
        }
        heed::Error::Mdb(error) => error,
    };
    match error {
        MdbError::Corrupted | MdbError::PageNotFound => SeamError::Corrupted { path: path() },
        MdbError::Invalid | MdbError::VersionMismatch | MdbError::Incompatible => {
            SeamError::NotOurs { path: path() }
        }
        MdbError::Panic => SeamError::Spent,
        MdbError::DbsFull => SeamError::TooManyTables { max: options.tables_max },
        MdbError::ReadersFull => SeamError::TooManyReaders { max: options.readers_max },
        MdbError::TxnFull => SeamError::TxTooLarge,
        MdbError::BadTxn => SeamError::TxFailed,
        MdbError::BadDbi => SeamError::UnknownTable,
        error => SeamError::io(doing, io::Error::other(error)),
    }
}
