//! What can go wrong at the storage seam, in words for the person who has to act on it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::KEY_BYTES_MAX;

/// A failure of the storage engine below boxes and queries.
///
/// No variant leaves a half-applied transaction behind: a write transaction that met an error is either still usable
/// (the key and value checks, [`SeamError::UnknownTable`]) or can only be dropped, which undoes it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeamError {
    /// The operating system refused a file operation.
    #[error("{doing} failed: {source}; check the disk, the permissions and the path, then try again")]
    Io {
        /// The operation, as the beginning of a sentence.
        doing: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The disk or the user's quota is full; what was committed before is untouched.
    #[error("the disk is full; nothing of this transaction was kept: free some space and run it again")]
    DiskFull,
    /// The data file has reached the largest size that a file may have; what was committed before is untouched.
    #[error(
        "the data file has reached the largest size that the system allows for a file of this process; nothing of this \
         transaction was kept: raise that limit (`ulimit -f`, or the file system's own) and run it again"
    )]
    FileTooLarge,
    /// The memory map has no room for the transaction; what was committed before is untouched.
    #[error(
        "the transaction does not fit into the store's memory map of {map_bytes} bytes and nothing of it was kept; run it \
         again, as the map has grown where it may, and if that fails too, remove data or open the store with a larger \
         `map_bytes_max`"
    )]
    MapFull {
        /// Size of the map when it was found full.
        map_bytes: u64,
    },
    /// A key has no bytes.
    #[error("an empty key cannot be stored; give the key at least one byte")]
    KeyEmpty,
    /// A key is longer than the engine can hold.
    #[error("a key of {len} bytes is too long; keys hold at most {max} bytes: hash or shorten it")]
    KeyTooLong {
        /// Length of the key in bytes.
        len: usize,
        /// The largest length allowed.
        max: usize,
    },
    /// A value is longer than the engine can hold.
    #[error("a value of {len} bytes is too long; values hold at most {max} bytes: split it")]
    ValueTooLong {
        /// Length of the value in bytes.
        len: usize,
        /// The largest length allowed.
        max: usize,
    },
    /// A table cannot bear this name.
    #[error("{name:?} cannot name a table; use 1 to {KEY_BYTES_MAX} bytes without a zero byte")]
    TableName {
        /// The refused name.
        name: String,
    },
    /// The store holds as many open tables as its options allow.
    #[error("the store may not have more than {max} tables open; raise the number of tables in the options")]
    TooManyTables {
        /// The number of tables allowed.
        max: u32,
    },
    /// A table handle belongs to another store, to a dropped table, to an aborted transaction, or is younger than the
    /// snapshot it was used with.
    #[error("the table is not part of this snapshot; look it up by name again and start a new transaction")]
    UnknownTable,
    /// A write was asked of a store that was opened for reading only.
    #[error("the store is open for reading only; close it and open it for writing")]
    ReadOnly,
    /// An earlier flush or commit failed, so that nobody knows what the disk still holds back.
    #[error(
        "an earlier write to the disk failed and the store is spent; close it, check the disk and reopen it"
    )]
    Spent,
    /// An earlier operation of the same write transaction failed.
    #[error("an earlier operation of this transaction failed; drop the transaction and run it again")]
    TxFailed,
    /// One transaction touched more pages than the engine can track.
    #[error("the transaction changes too much at once; split it into smaller ones")]
    TxTooLarge,
    /// Every slot for readers is taken.
    #[error(
        "all {max} reader slots are taken; end some read transactions or raise their number in the options"
    )]
    TooManyReaders {
        /// The number of slots, shared by all processes that have the store open.
        max: u32,
    },
    /// Readers did not end in time for an operation that needs the store to itself.
    #[error("read transactions stayed open for {waited:?}; end them (they must be short) and try again")]
    ReadersBusy {
        /// How long the operation waited.
        waited: Duration,
    },
    /// The store's file contradicts itself.
    #[error(
        "the file {path:?} is damaged; restore a backup or let the store sync anew into an empty directory"
    )]
    Corrupted {
        /// The damaged file.
        path: PathBuf,
    },
    /// The file is not a store, or was written by an incompatible version or machine.
    #[error("the file {path:?} is not a store this version can read; choose another directory")]
    NotOurs {
        /// The foreign file.
        path: PathBuf,
    },
    /// This process has the directory open already.
    #[error(
        "the directory {path:?} is already open in this process; share that store instead of opening it again"
    )]
    AlreadyOpen {
        /// The directory.
        path: PathBuf,
    },
    /// There is no store to open for reading only.
    #[error("there is no store in {path:?}; create it by opening it for writing first")]
    Missing {
        /// The directory that was searched.
        path: PathBuf,
    },
}

impl SeamError {
    /// Wraps an operating-system error, telling full disks and files from all others.
    pub(crate) fn io(doing: &'static str, source: io::Error) -> SeamError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SeamError::DiskFull,
            io::ErrorKind::FileTooLarge => SeamError::FileTooLarge,
            _ => SeamError::Io { doing, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        for (kind, full) in [
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::QuotaExceeded, true),
            (io::ErrorKind::PermissionDenied, false),
        ] {
            let error = SeamError::io("committing", io::Error::from(kind));
            assert_eq!(matches!(error, SeamError::DiskFull), full, "{kind:?}: {error}");
        }
    }
}
