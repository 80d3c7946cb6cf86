//! One writing process per store directory: the lock file `reconvene.lock`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::os;
use crate::seam::SeamError;

/// Name of the lock file in the store directory.
pub(crate) const LOCK_FILE: &str = "reconvene.lock";

/// How much of a lock file is read: more than any process number needs.
const LOCK_FILE_BYTES_MAX: u64 = 32;

/// The right to write to a store directory, held until it is dropped or the process ends, however it ends.
///
/// Only the operating system's lock on the file counts, so the file of a killed process blocks nobody. It stays behind in
/// directories that are stores; where there was none before, it goes again unless [`DirectoryLock::keep`] is called.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
    /// Files that were not there before and that nobody needs if the directory turns out to be no store.
    made: Vec<PathBuf>,
}

/// The answer to asking for a directory.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// The directory is ours.
    Held(DirectoryLock),
    /// Somebody else has it.
    HeldBy {
        /// The holder's process number; `None` if it has not written it yet.
        pid: Option<u32>,
    },
}

impl DirectoryLock {
    /// Asks for the right to write to an existing directory, without waiting.
    ///
    /// # Errors
    /// [`SeamError::Io`] when the lock file cannot be opened, locked or written.
    pub(crate) fn acquire(directory: &Path) -> Result<Acquired, SeamError> {
        let failed = |error| SeamError::io("taking the directory's lock file", error);
        let path = directory.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let (mut file, made) = loop {
            let (file, made) = match options.create_new(true).open(&path) {
                Ok(file) => (file, vec![path.clone()]),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    match options.create_new(false).open(&path) {
                        // Its holder removed it just now.
                        Err(error) if error.kind() == ErrorKind::NotFound => continue,
                        file => (file.map_err(failed)?, Vec::new()),
                    }
                }
                Err(error) => return Err(failed(error)),
            };
            if !os::try_lock_exclusive(&file).map_err(failed)? {
                let mut text = String::new();
                let read = (&file).take(LOCK_FILE_BYTES_MAX).read_to_string(&mut text);
                return Ok(Acquired::HeldBy { pid: read.ok().and_then(|_| text.trim().parse().ok()) });
            }
            // A lock on a file that has lost its name since keeps nobody out.
            if os::is_named(&file, &path).map_err(failed)? {
                break (file, made);
            }
        };
        // A longer number of a former holder must not shine through.
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        writeln!(file, "{}", os::process_id()).map_err(failed)?;
        Ok(Acquired::Held(DirectoryLock { file, made }))
    }

    /// Also removes this file, unless it is there already or the lock is kept.
    pub(crate) fn remove_if_made(&mut self, file: PathBuf) {
        if !file.exists() {
            self.made.push(file);
        }
    }

    /// Leaves the files where they are: the directory is a store.
    pub(crate) fn keep(mut self) -> DirectoryLock {
        self.made.clear();
        self
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Best effort: an empty file says more plainly than a stale number that nobody is at home, and closing the file,
        // which follows, ends the lock as well.
        let _ = self.file.set_len(0);
        // The lock is still held: whoever waits for it finds that the file has lost its name.
        for made in &self.made {
            let _ = std::fs::remove_file(made);
        }
        let _ = os::unlock(&self.file);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    fn held(directory: &Path) -> DirectoryLock {
        match DirectoryLock::acquire(directory).unwrap() {
            Acquired::Held(lock) => lock,
            Acquired::HeldBy { pid } => panic!("held by {pid:?}"),
        }
    }

    fn holder(directory: &Path) -> Option<u32> {
        match DirectoryLock::acquire(directory).unwrap() {
            Acquired::Held(_) => panic!("the lock was free"),
            Acquired::HeldBy { pid } => pid,
        }
    }

    #[test]
    fn a_second_acquisition_in_the_process_names_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let lock = held(directory.path());
        assert_eq!(holder(directory.path()), Some(os::process_id()));
        drop(lock);
        held(directory.path());
    }

    #[test]
    fn stale_and_nonsensical_files_do_not_block() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["4294967295999999\n", "not a number", "", "12"] {
            std::fs::write(directory.path().join(LOCK_FILE), text).unwrap();
            let lock = held(directory.path());
            assert_eq!(holder(directory.path()), Some(os::process_id()), "after {text:?}");
            drop(lock);
        }
    }

    #[test]
    fn a_directory_that_is_no_store_is_left_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(LOCK_FILE);
        drop(held(directory.path()));
        assert!(!path.exists());
        drop(held(directory.path()).keep());
        assert!(path.exists());
        drop(held(directory.path()));
        assert!(path.exists(), "it was there before");
    }

    #[test]
    fn a_lock_file_that_is_removed_by_its_holder_keeps_later_ones_out_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        if let Acquired::Held(lock) = DirectoryLock::acquire(directory.path()).unwrap() {
                            assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                            drop(lock);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = DirectoryLock::acquire(&directory.path().join("absent")).unwrap_err();
        assert!(matches!(error, SeamError::Io { .. }), "{error}");
    }

    /// Set for the child process of the test below; names the directory that it locks.
    const CHILD_DIRECTORY: &str = "RECONVENE_TEST_LOCK_DIRECTORY";

    #[test]
    fn another_process_holds_the_lock_until_it_is_killed() {
        if let Some(directory) = std::env::var_os(CHILD_DIRECTORY) {
            let _lock = held(Path::new(&directory));
            println!("\nheld");
            // The parent kills this process while it waits; an end of input means the parent is gone.
            let _ = std::io::stdin().read_line(&mut String::new());
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "lock::tests::another_process_holds_the_lock_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD_DIRECTORY, directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        assert!(output.lines().any(|line| line.unwrap() == "held"), "the child never took the lock");
        assert_eq!(holder(directory.path()), Some(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        held(directory.path());
    }
}
