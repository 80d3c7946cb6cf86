//! One writing process per store directory: the lock file `reconvene.lock`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::os;
use crate::seam::SeamError;

/// Name of the lock file in the store directory.
pub(crate) const LOCK_FILE: &str = "reconvene.lock";

/// How much of a lock file is read: more than any process number needs.
const LOCK_FILE_BYTES_MAX: u64 = 32;

/// The right to write to a store directory, held until it is dropped or the process ends, however it ends.
///
/// The file stays behind; only the operating system's lock on it counts, so the file of a killed process blocks nobody.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    file: File,
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
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(failed)?;
        if !os::try_lock_exclusive(&file).map_err(failed)? {
            let mut text = String::new();
            let read = Read::by_ref(&mut file).take(LOCK_FILE_BYTES_MAX).read_to_string(&mut text);
            return Ok(Acquired::HeldBy { pid: read.ok().and_then(|_| text.trim().parse().ok()) });
        }
        // A longer number of a former holder must not shine through.
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        writeln!(file, "{}", os::process_id()).map_err(failed)?;
        Ok(Acquired::Held(DirectoryLock { file }))
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Best effort: an empty file says more plainly than a stale number that nobody is at home, and closing the file,
        // which follows, ends the lock as well.
        let _ = self.file.set_len(0);
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
