//! The one module that calls the operating system for more than plain reading and writing of files.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// Takes the exclusive lock of an open file without waiting; `false` when another open file has it.
///
/// The lock belongs to the open file, which a child process shares from its birth until it runs its own program. So the
/// end of this process always ends the lock, but closing the file may end it a moment late: see [`unlock`].
pub(crate) fn try_lock_exclusive(file: &File) -> io::Result<bool> {
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the lock of [`try_lock_exclusive`] back at once, even if a child process shares the open file.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    Ok(rustix::fs::flock(file, FlockOperation::Unlock)?)
}

/// Takes the exclusive lock of a whole file for this process without waiting; `false` when another process has a part of it.
///
/// This is the older kind of lock, which LMDB uses: it knows nothing of [`try_lock_exclusive`], and closing any file of this
/// process by the same name ends it.
pub(crate) fn try_lock_process_exclusive(file: &File) -> io::Result<bool> {
    loop {
        match rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::AGAIN | Errno::ACCESS) => return Ok(false),
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether an open file is the one that bears this name.
pub(crate) fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let own = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((own.dev(), own.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The largest size in bytes to which the system lets this process write files; `None` for no limit.
pub(crate) fn file_bytes_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Fsize).current
}

/// The number by which the operating system knows this process.
pub(crate) fn process_id() -> u32 {
    std::process::id()
}

/// Makes the names in a directory durable: a file that was just created survives power loss.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Creates a directory and those above it that are missing, all of which survive power loss.
pub(crate) fn create_directory(directory: &Path) -> io::Result<()> {
    let missing = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
    let missing: Vec<&Path> = missing.collect();
    std::fs::create_dir_all(directory)?;
    for made in missing {
        match made.parent() {
            Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new("."))?,
            Some(parent) => sync_directory(parent)?,
            None => {}
        }
    }
    Ok(())
}

/// How many bytes an unprivileged user may still write to the file system that holds `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let statistics = rustix::fs::statvfs(path)?;
    Ok(statistics.f_bavail.saturating_mul(statistics.f_frsize))
}

/// Whether an error is the general one of a device, which also stands for a write of which only a part fitted.
pub(crate) fn is_device_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_excludes_other_open_files_until_it_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = File::create(&path).unwrap();
        let second = File::open(&path).unwrap();
        assert!(try_lock_exclusive(&first).unwrap());
        assert!(!try_lock_exclusive(&second).unwrap());
        unlock(&first).unwrap();
        assert!(try_lock_exclusive(&second).unwrap());
    }

    #[test]
    fn directories_can_be_synced_and_measured() {
        let directory = tempfile::tempdir().unwrap();
        sync_directory(directory.path()).unwrap();
        assert!(
            is_device_error(&io::Error::from(Errno::IO)) && !is_device_error(&io::Error::from(Errno::NOSPC))
        );
        assert!(free_bytes(directory.path()).unwrap() > 0);
        assert!(sync_directory(&directory.path().join("absent")).is_err());
    }
}
