//! Where the bytes come from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::head::State;

/// Bytes that can be read anywhere.
pub(crate) trait Source {
    /// How many there are.
    fn length(&self) -> io::Result<u64>;

    /// Fills the buffer from a place on; fewer bytes only at the end. How many it were.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Source for &File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut file = *self;
        file.seek(SeekFrom::Start(offset))?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl Source for &[u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let filled = rest.len().min(buffer.len());
        buffer[..filled].copy_from_slice(&rest[..filled]);
        Ok(filled)
    }
}

/// A data file as pages of one size.
#[derive(Debug)]
pub(crate) struct PageFile<S> {
    source: S,
    page_bytes: usize,
    pages: u64,
}

impl<S: Source> PageFile<S> {
    pub(super) fn new(source: S, state: &State) -> io::Result<PageFile<S>> {
        let pages = source.length()? / state.page_bytes as u64;
        Ok(PageFile { source, page_bytes: state.page_bytes, pages })
    }

    /// How many whole pages the file has.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// The byte at which a page begins.
    pub(super) fn offset(&self, page: u64) -> u64 {
        page.saturating_mul(self.page_bytes as u64)
    }

    /// A page that the file has.
    ///
    /// # Errors
    ///
    /// Those of the file, which may have become shorter.
    pub(super) fn page(&self, page: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.page_bytes];
        self.fill(self.offset(page), &mut bytes)?;
        Ok(bytes)
    }

    /// Fills the buffer with what stands at a place.
    ///
    /// # Errors
    ///
    /// Those of the file, which may have become shorter.
    pub(super) fn fill(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.source.read_at(offset, buffer)? {
            filled if filled == buffer.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
