//! The list of free pages: for each transaction that freed some, their numbers.

use super::walk::Walk;
use super::{Area, Keys, Source, Value, WORD, word};

/// How many numbers are read at once.
const NUMBERS_READ: usize = 512;

impl<S: Source> Walk<'_, S> {
    /// Checks one record: the transaction's number, and how many pages, and which, the largest first.
    pub(super) fn free_record(&mut self, place: (u64, usize), key: &[u8], value: Value<'_>) {
        if let Err(what) = self.free_numbers(key, value) {
            self.damage(&Area::Free, place, what, Keys::default());
        }
    }

    fn free_numbers(&mut self, key: &[u8], value: Value<'_>) -> Result<(), String> {
        let unreadable = |error: std::io::Error| format!("a list of free pages cannot be read: {error}");
        if key.len() != WORD {
            return Err(format!("the key of a list of free pages has {} bytes", key.len()));
        }
        let words = value.bytes() / WORD as u64;
        let mut start = [0; WORD];
        value.part(0, &mut start).map_err(unreadable)?;
        let count = word(&start, 0).unwrap_or_default();
        // LMDB may keep room for more.
        if !value.bytes().is_multiple_of(WORD as u64) || count >= words {
            return Err(format!(
                "a list of free pages has {} bytes and is said to name {count}",
                value.bytes()
            ));
        }
        let mut buffer = [0; NUMBERS_READ * WORD];
        let (mut read, mut before) = (0, u64::MAX);
        while read < count && !self.is_full() {
            let numbers = (count - read).min(NUMBERS_READ as u64) as usize;
            let part = &mut buffer[..numbers * WORD];
            value.part((read + 1) * WORD as u64, part).map_err(unreadable)?;
            for page in part.chunks_exact(WORD).filter_map(|bytes| word(bytes, 0)) {
                if page < 2 || page > self.last_page {
                    return Err(format!(
                        "page {page} is listed as free, and the last page is {}",
                        self.last_page
                    ));
                }
                if page >= before {
                    return Err(format!("a list of free pages has page {page} behind page {before}"));
                }
                if self.used.contains(page) {
                    return Err(format!("page {page} is listed as free and in use"));
                }
                if !self.free.insert(page) {
                    return Err(format!("page {page} is listed as free twice"));
                }
                before = page;
            }
            read += numbers as u64;
        }
        Ok(())
    }
}
