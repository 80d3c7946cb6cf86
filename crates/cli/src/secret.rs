//! Secrets: read within bounds, never shown, wiped when they are dropped.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

/// The longest secret, in bytes.
pub(crate) const SECRET_BYTES_MAX: usize = 1024;

/// Shorter secrets, in bytes, can be found by trying; a start with one warns.
pub(crate) const SECRET_BYTES_GOOD: usize = 16;

/// A secret of the operator; showing it shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes a secret over, unless it is blank or longer than [`SECRET_BYTES_MAX`].
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Secret> {
        let bytes = Zeroizing::new(bytes);
        let fits = bytes.len() <= SECRET_BYTES_MAX && !bytes.trim_ascii().is_empty();
        fits.then_some(Secret(bytes))
    }

    /// Reads a secret from a file of its own; one line end after it does not count.
    ///
    /// # Errors
    ///
    /// What the operating system says, or [`io::ErrorKind::InvalidData`] with a reason if the content cannot be a secret.
    pub(crate) fn read(path: &Path) -> io::Result<Secret> {
        // Room for the secret, a line end of two bytes, and one byte that gives away a file that is too long; the buffer
        // never grows, so no copy of the secret stays behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_BYTES_MAX + 3));
        File::open(path)?.take(SECRET_BYTES_MAX as u64 + 3).read_to_end(&mut bytes)?;
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        Secret::new(bytes.to_vec()).ok_or_else(|| {
            let reason = if bytes.len() > SECRET_BYTES_MAX {
                format!("it holds more than {SECRET_BYTES_MAX} bytes")
            } else {
                "it is blank".to_owned()
            };
            io::Error::new(io::ErrorKind::InvalidData, reason)
        })
    }

    /// The secret itself.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<Vec<u8>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, content).unwrap();
        Secret::read(&path).map(|secret| secret.expose().to_vec()).map_err(|error| error.to_string())
    }

    #[test]
    fn one_line_end_is_not_part_of_the_secret() {
        assert_eq!(read(b"s").unwrap(), b"s");
        assert_eq!(read(b"s\n").unwrap(), b"s");
        assert_eq!(read(b"s\r\n").unwrap(), b"s");
        assert_eq!(read(b"s\n\n").unwrap(), b"s\n");
        assert_eq!(read(b" s\r").unwrap(), b" s\r");
        assert_eq!(read(b"\xFF\0").unwrap(), b"\xFF\0");
    }

    #[test]
    fn length_has_its_bounds() {
        let longest = vec![b'x'; SECRET_BYTES_MAX];
        assert_eq!(read(&longest).unwrap(), longest);
        assert_eq!(read(&[&longest[..], b"\r\n"].concat()).unwrap(), longest);
        for extra in [&b"x"[..], b"x\n", b"x\r\n", &[b'x'; 1_000_000]] {
            assert_eq!(read(&[&longest[..], extra].concat()).unwrap_err(), "it holds more than 1024 bytes");
        }
        for blank in [&b""[..], b"\n", b"\r\n", b" \t\n"] {
            assert_eq!(read(blank).unwrap_err(), "it is blank");
        }
    }

    #[test]
    fn it_is_not_shown() {
        let secret = Secret::new(b"hunter2".to_vec()).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
