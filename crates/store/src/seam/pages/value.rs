//! Values, which are read only where somebody asks for them.

use std::borrow::Cow;
use std::io;

/// Fills a buffer with what stands at a byte of the file.
type ReadAt<'v> = &'v dyn Fn(u64, &mut [u8]) -> io::Result<()>;

/// A value of which nothing was read yet but what stands within its page.
#[derive(Clone, Copy)]
pub(crate) struct Value<'v> {
    pub(super) place: Place<'v>,
    pub(super) read: ReadAt<'v>,
}

/// Where a value stands.
#[derive(Clone, Copy)]
pub(super) enum Place<'v> {
    /// Within its page.
    Here(&'v [u8]),
    /// In pages of its own, from this byte of the file on.
    At { offset: u64, bytes: u64 },
}

impl<'v> Value<'v> {
    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        match self.place {
            Place::Here(bytes) => bytes.len() as u64,
            Place::At { bytes, .. } => bytes,
        }
    }

    /// All of it, if it has no more than so many bytes.
    ///
    /// # Errors
    ///
    /// Those of reading the file.
    pub(crate) fn read(&self, bytes_max: usize) -> io::Result<Option<Cow<'v, [u8]>>> {
        if self.bytes() > bytes_max as u64 {
            return Ok(None);
        }
        Ok(Some(match self.place {
            Place::Here(bytes) => Cow::Borrowed(bytes),
            Place::At { offset, bytes } => {
                // It is no larger than `bytes_max`, which fits.
                let mut value = vec![0; bytes as usize];
                (self.read)(offset, &mut value)?;
                Cow::Owned(value)
            }
        }))
    }

    /// Fills the buffer with a part of it that lies within its bounds.
    ///
    /// # Errors
    ///
    /// Those of reading the file, and for a part beyond its bounds.
    pub(super) fn part(&self, from: u64, buffer: &mut [u8]) -> io::Result<()> {
        let outside = || io::Error::from(io::ErrorKind::UnexpectedEof);
        if from.checked_add(buffer.len() as u64).is_none_or(|end| end > self.bytes()) {
            return Err(outside());
        }
        match self.place {
            Place::Here(bytes) => {
                let from = usize::try_from(from).map_err(|_| outside())?;
                buffer.copy_from_slice(&bytes[from..from + buffer.len()]);
                Ok(())
            }
            Place::At { offset, .. } => (self.read)(offset + from, buffer),
        }
    }
}
