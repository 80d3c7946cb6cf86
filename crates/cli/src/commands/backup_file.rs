//! The form of a backup: the data file of a database, and a trailer by which truncation and damage are noticed.
//!
//! The trailer is the length of the data (8 bytes, little-endian), its SHA-256 (32 bytes) and [`MAGIC`]. It stands in the
//! same file, so that it can neither get lost nor belong to another backup.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::directory;
use super::progress::Progress;

/// How every backup ends.
const MAGIC: [u8; 25] = *b"\nreconvene backup end v1\n";

const HASH_BYTES: usize = 32;

/// The bytes of the trailer.
const TRAILER_BYTES: usize = 8 + HASH_BYTES + MAGIC.len();

/// How much is read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Why a file is not a backup that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotABackup {
    /// It does not end like one.
    #[error("it does not end like a backup; it is another file, or was cut short on its way here")]
    NoTrailer,
    /// The trailer speaks of another length.
    #[error("it has {found} bytes of data, and was written with {expected}; a part is missing")]
    OtherLength {
        /// The length found.
        found: u64,
        /// The length that the trailer names.
        expected: u64,
    },
    /// The data is not what was written.
    #[error("its checksum is not the one that it was written with; it is damaged, use another backup")]
    OtherChecksum,
}

/// Appends the trailer to a file that holds the data; the length of the data.
///
/// # Errors
///
/// Those of the file system.
pub(crate) fn seal(path: &Path) -> io::Result<u64> {
    let mut file = File::options().read(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    let hash = copy("Checksum", &mut file, bytes, &mut io::sink())?;
    let mut trailer = Vec::with_capacity(TRAILER_BYTES);
    trailer.extend_from_slice(&bytes.to_le_bytes());
    trailer.extend_from_slice(&hash);
    trailer.extend_from_slice(&MAGIC);
    file.write_all(&trailer)?;
    file.sync_all()?;
    Ok(bytes)
}

/// Reads a whole backup, compares it with its trailer, and writes its data to `to`; the length of the data. `what` names this to who
/// watches.
///
/// # Errors
///
/// [`NotABackup`], and those of the file system. What was written to `to` is of no use then.
pub(crate) fn unseal(what: &'static str, path: &Path, to: &mut impl Write) -> anyhow::Result<u64> {
    let mut file = File::open(path).map_err(directory::mistake)?;
    let found = file.metadata()?.len().checked_sub(TRAILER_BYTES as u64).ok_or(NotABackup::NoTrailer)?;
    file.seek(SeekFrom::Start(found))?;
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact(&mut trailer)?;
    if trailer[8 + HASH_BYTES..] != MAGIC {
        return Err(NotABackup::NoTrailer.into());
    }
    let expected = u64::from_le_bytes(*trailer.first_chunk().expect("the trailer is longer"));
    if expected != found {
        return Err(NotABackup::OtherLength { found, expected }.into());
    }
    file.seek(SeekFrom::Start(0))?;
    let hash = copy(what, &mut file, found, to).context("copying the data")?;
    if hash != trailer[8..8 + HASH_BYTES] {
        return Err(NotABackup::OtherChecksum.into());
    }
    Ok(found)
}

/// Copies so many bytes; their hash.
fn copy(
    what: &'static str,
    from: &mut impl Read,
    bytes: u64,
    to: &mut impl Write,
) -> io::Result<[u8; HASH_BYTES]> {
    let progress = Progress::bytes(what, bytes);
    let mut from = from.take(bytes);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut left = bytes;
    while left > 0 {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hasher.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        left -= read as u64;
        progress.set(bytes - left);
    }
    progress.finish(bytes);
    Ok(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_comes_back_and_any_other_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        let data: Vec<u8> = (0..1000_u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(&path, &data).unwrap();
        assert_eq!(seal(&path).unwrap(), 4000);
        let mut back = Vec::new();
        unseal("Verifying", &path, &mut back).unwrap();
        assert_eq!(back, data);

        let sealed = std::fs::read(&path).unwrap();
        assert_eq!(sealed.len(), data.len() + TRAILER_BYTES);
        for at in (0..data.len()).step_by(97).chain(data.len()..sealed.len()) {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            let error = unseal("Verifying", &path, &mut io::sink()).unwrap_err();
            assert!(error.is::<NotABackup>(), "byte {at}: {error:#}");
        }
        for length in [0, 1, TRAILER_BYTES - 1, TRAILER_BYTES, data.len(), sealed.len() - 1] {
            std::fs::write(&path, &sealed[..length]).unwrap();
            assert!(
                unseal("Verifying", &path, &mut io::sink()).unwrap_err().is::<NotABackup>(),
                "{length} bytes"
            );
        }
        let mut in_the_middle = sealed.clone();
        in_the_middle.drain(100..200);
        std::fs::write(&path, &in_the_middle).unwrap();
        let error = unseal("Verifying", &path, &mut io::sink()).unwrap_err();
        assert!(error.to_string().contains("has 3900 bytes of data, and was written with 4000"), "{error:#}");
    }
}
