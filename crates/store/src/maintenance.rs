//! Copies of a store for safe keeping, and the two things that need a directory which nobody has open.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use crate::error::{Result, StoreError};
use crate::keys;
use crate::lock::{Acquired, DirectoryLock};
use crate::os;
use crate::seam::pages;
use crate::seam::{DATA_FILE, Engine, EngineOptions, Reader, SeamError, TableId, WriteTx};
use crate::store::Store;
use crate::sync::{self, meta::MetaTable};

/// Name of LMDB's own lock file in a store directory.
pub(crate) const READERS_FILE: &str = "lock.mdb";

/// Keeps every process from opening a directory for writing, until it is dropped; made by [`Store::hold`].
#[derive(Debug)]
#[must_use = "dropping it lets others in"]
pub struct DirectoryHold {
    /// Whoever opens the files waits for this lock, which is LMDB's own.
    _readers: Option<File>,
    _lock: DirectoryLock,
}

/// The sizes in bytes of a store's data before and after [`Store::compact`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Before.
    pub bytes_before: u64,
    /// After.
    pub bytes_after: u64,
}

impl Store {
    /// The name of the file in a store's directory that holds all of its data.
    pub const DATA_FILE: &'static str = DATA_FILE;

    /// The name of the file that grows in a store's directory while [`Store::compact`] is at work.
    pub const COMPACTED_FILE: &'static str = "data.mdb.compacted";

    /// About how many bytes a copy of a store's data takes, made by [`Store::backup`] or [`Store::compact`].
    ///
    /// Only the head of the data file and its list of free pages are read. Other processes may have the store open; what they
    /// commit meanwhile can make it a little wrong.
    ///
    /// # Errors
    ///
    /// If the directory holds no data, or the file cannot be read.
    pub fn copy_bytes(directory: impl AsRef<Path>) -> Result<u64> {
        let failed = |error| SeamError::io("reading the data file", error);
        let file = File::open(directory.as_ref().join(DATA_FILE)).map_err(failed)?;
        Ok(pages::used_bytes(&file).map_err(failed)?)
    }

    /// Writes a copy of one moment to a new file, durably and without free pages; writers go on meanwhile.
    ///
    /// Under the name [`Store::DATA_FILE`] in a directory of its own the copy is a store, with the identity of this one: the
    /// copy of a device must not run beside the device. Pages that are freed while the copy is being written are not used
    /// again before it is done.
    ///
    /// # Errors
    ///
    /// If the file exists or cannot be written, if the disk is full, and for a store in memory. What was written of the
    /// file is removed then.
    pub fn backup(&self, file: impl AsRef<Path>) -> Result<()> {
        let file = file.as_ref();
        // A file that is there already is somebody else's, and must not be removed after the failure.
        let existed = file.exists();
        match self.inner().engine.copy_to(file) {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::NotOnDisk),
            Err(error) => {
                if !existed {
                    // Best effort: the error that is returned matters more.
                    let _ = fs::remove_file(file);
                }
                Err(error.into())
            }
        }
    }

    /// Keeps every process from opening the directory, for as long as the returned value lives.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] if a process has the directory open for writing, [`StoreError::ReadElsewhere`] if one reads
    /// it, and errors of the file system, as for a directory that does not exist.
    pub fn hold(directory: impl AsRef<Path>) -> Result<DirectoryHold> {
        let directory = directory.as_ref();
        let lock = shut_out_writers(directory)?;
        Ok(DirectoryHold { _readers: shut_out_readers(directory)?, _lock: lock })
    }

    /// Writes the data of a closed store anew, without free pages, and puts it in place of the old in one step.
    ///
    /// It needs as much free space as the data takes. A crash at any moment leaves either the old data or the new.
    ///
    /// # Errors
    ///
    /// As [`Store::hold`], also if this process has the store open; further if the directory holds no store, or the copy
    /// cannot be written. The store is as it was then.
    pub fn compact(directory: impl AsRef<Path>) -> Result<Compacted> {
        let directory = directory.as_ref();
        let data = directory.join(DATA_FILE);
        if !data.exists() {
            return Err(SeamError::Missing { path: directory.to_owned() }.into());
        }
        let _lock = shut_out_writers(directory)?;
        let copy = directory.join(Store::COMPACTED_FILE);
        let failed = |error| SeamError::io("replacing the data by its compacted copy", error);
        remove_if_there(&copy).map_err(failed)?;
        let bytes_before = fs::metadata(&data).map_err(failed)?.len();
        let copied = write_copy(directory, &copy).and_then(|()| {
            // Only here, because the engine's own place among the readers went with it.
            let _readers = shut_out_readers(directory)?;
            let bytes_after = fs::metadata(&copy).map_err(failed)?.len();
            fs::rename(&copy, &data).map_err(failed)?;
            os::sync_directory(directory).map_err(failed)?;
            Ok(Compacted { bytes_before, bytes_after })
        });
        if copied.is_err() {
            // Best effort: the next attempt removes what is left.
            let _ = fs::remove_file(&copy);
        }
        copied
    }
}

impl Store {
    /// Makes the history in a closed server's directory a new one, which goes on from where the former one is.
    ///
    /// This belongs to every directory that was made from a copy of an older moment. Devices that have seen what came after
    /// that moment would take later positions for the ones that they know, and miss changes without anybody noticing. With
    /// another history they notice at login, stop with [`StoreError::OtherHistory`], and keep everything that they hold. All
    /// others go on where they are.
    ///
    /// # Errors
    ///
    /// [`StoreError::DeviceDirectory`] if the directory is a device's, [`StoreError::InUse`] if a process has it open, and
    /// errors of the file system. The history is as it was then.
    pub fn begin_new_history(directory: impl AsRef<Path>) -> Result<()> {
        let directory = directory.as_ref();
        let _lock = shut_out_writers(directory)?;
        if !directory.join(DATA_FILE).is_file() {
            return Err(SeamError::Missing { path: directory.to_owned() }.into());
        }
        let engine = Engine::open_lmdb(directory, EngineOptions::default())?;
        let Some(meta) = engine.table_if_exists(keys::META)? else {
            return Err(StoreError::ForeignDirectory { path: directory.to_owned() });
        };
        let mut tx = Meta { tx: engine.write()?, table: meta };
        sync::begin_new_history(&mut tx)?;
        Ok(tx.tx.commit()?)
    }
}

/// The `meta` table of a store that is not open.
struct Meta<'e> {
    tx: WriteTx<'e>,
    table: TableId,
}

impl MetaTable for Meta<'_> {
    fn meta_get(&self, key: &[u8]) -> Result<Option<&[u8]>> {
        Ok(self.tx.get(self.table, key)?)
    }

    fn meta_put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.tx.put(self.table, key, value)?)
    }
}

fn shut_out_writers(directory: &Path) -> Result<DirectoryLock> {
    match DirectoryLock::acquire(directory)? {
        Acquired::Held(lock) => Ok(lock),
        Acquired::HeldBy { pid } => Err(StoreError::InUse { path: directory.to_owned(), pid }),
    }
}

/// Takes the lock that everybody who has the files open shares; `None` where nobody ever opened them.
fn shut_out_readers(directory: &Path) -> Result<Option<File>> {
    let failed = |error| SeamError::io("taking the lock on readers", error);
    let file = match OpenOptions::new().read(true).write(true).open(directory.join(READERS_FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error).into()),
    };
    if os::try_lock_process_exclusive(&file).map_err(failed)? {
        Ok(Some(file))
    } else {
        Err(StoreError::ReadElsewhere { path: directory.to_owned() })
    }
}

fn write_copy(directory: &Path, copy: &Path) -> Result<()> {
    let engine = Engine::open_lmdb(directory, EngineOptions { read_only: true, ..EngineOptions::default() })?;
    if engine.table_if_exists(keys::META)?.is_none() {
        return Err(StoreError::ForeignDirectory { path: directory.to_owned() });
    }
    engine.copy_to(copy)?;
    Ok(())
}

fn remove_if_there(file: &Path) -> std::io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Entity, Role};

    #[derive(Entity, Debug, Default)]
    #[entity(crate = "crate")]
    struct Note {
        id: u64,
        text: String,
    }

    fn open(directory: &Path) -> Store {
        Store::builder(directory).entity::<Note>().open().unwrap()
    }

    fn put(store: &Store, notes: usize) {
        let mut all: Vec<_> = (0..notes).map(|_| Note { text: "x".repeat(200), ..Note::default() }).collect();
        store.boxed::<Note>().unwrap().put_many(&mut all).unwrap();
    }

    fn count(store: &Store) -> u64 {
        store.boxed::<Note>().unwrap().count().unwrap()
    }

    #[test]
    fn a_backup_is_a_store_of_one_moment_and_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("store"));
        put(&store, 10);
        let copy = folder.path().join("copy");
        fs::create_dir(&copy).unwrap();
        let file = copy.join(Store::DATA_FILE);
        store.backup(&file).unwrap();
        put(&store, 1);
        let before = fs::read(&file).unwrap();
        store.backup(&file).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), before, "a file that exists is left alone");
        assert_eq!(count(&open(&copy)), 10);
        let memory = Store::builder("memory:").entity::<Note>().open().unwrap();
        let refused = memory.backup(folder.path().join("none"));
        assert!(matches!(refused, Err(StoreError::NotOnDisk)), "{refused:?}");
    }

    #[test]
    fn compacting_keeps_the_objects_and_gives_the_space_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        put(&store, 20_000);
        store.boxed::<Note>().unwrap().remove_all().unwrap();
        put(&store, 5);
        let refused = Store::compact(folder.path());
        assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
        drop(store);
        // What an interrupted attempt left behind.
        fs::write(folder.path().join(Store::COMPACTED_FILE), b"half a copy").unwrap();
        let expected = Store::copy_bytes(folder.path()).unwrap();
        let sizes = Store::compact(folder.path()).unwrap();
        assert!(sizes.bytes_after * 10 < sizes.bytes_before, "{sizes:?}");
        assert!(expected.abs_diff(sizes.bytes_after) < sizes.bytes_after / 4, "{expected}: {sizes:?}");
        assert!(!folder.path().join(Store::COMPACTED_FILE).exists());
        let store = open(folder.path());
        assert_eq!(count(&store), 5);
        assert_eq!(store.check().unwrap(), []);
        put(&store, 1);
        assert_eq!(store.boxed::<Note>().unwrap().get(20_006).unwrap().map(|note| note.id), Some(20_006));
    }

    #[test]
    fn a_new_history_keeps_everything_but_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let server = || Store::builder(folder.path()).entity::<Note>().role(Role::Server).open().unwrap();
        let store = server();
        put(&store, 3);
        let (epoch, peer, head) =
            (store.sync().epoch().unwrap(), store.sync().peer(), store.sync().head().unwrap());
        let refused = Store::begin_new_history(folder.path());
        assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
        drop(store);
        Store::begin_new_history(folder.path()).unwrap();
        let store = server();
        assert_ne!(store.sync().epoch().unwrap(), epoch);
        assert_eq!((store.sync().peer(), store.sync().head().unwrap(), count(&store)), (peer, head, 3));
        let shared = |of| store.sync().shared_with(of).unwrap();
        assert_eq!(
            [shared(epoch), shared(store.sync().epoch().unwrap()), shared(7)],
            [Some(head), None, None]
        );

        let device = tempfile::tempdir().unwrap();
        drop(open(device.path()));
        let refused = Store::begin_new_history(device.path());
        assert!(matches!(refused, Err(StoreError::DeviceDirectory)), "{refused:?}");
        assert!(Store::begin_new_history(device.path().join("absent")).is_err());
    }

    #[test]
    fn a_held_directory_is_not_opened_and_an_open_one_is_not_held() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        assert!(matches!(Store::hold(folder.path()), Err(StoreError::InUse { .. })));
        drop(store);
        let hold = Store::hold(folder.path()).unwrap();
        let refused = Store::builder(folder.path()).entity::<Note>().open();
        assert!(matches!(refused, Err(StoreError::InUse { .. })), "{refused:?}");
        drop(hold);
        open(folder.path());
        assert!(Store::hold(folder.path().join("absent")).is_err());
    }

    #[test]
    fn only_stores_are_compacted() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Store::compact(folder.path()).is_err());
        fs::write(folder.path().join(Store::DATA_FILE), b"something else").unwrap();
        assert!(Store::compact(folder.path()).is_err());
        assert_eq!(fs::read(folder.path().join(Store::DATA_FILE)).unwrap(), b"something else");
    }
}
