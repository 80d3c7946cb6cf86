//! A vector of strings within a table.

use std::fmt;

use super::RecordError;
use crate::types::PropertyType;

/// A vector of strings, read in place.
#[derive(Clone, Copy)]
pub struct StringVector<'a> {
    /// The whole table.
    pub(super) bytes: &'a [u8],
    /// Where the offsets begin.
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) slot: usize,
}

impl<'a> StringVector<'a> {
    /// The number of strings.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no string.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The strings in order; an error for one that is damaged, and for those that have more bytes together than the table.
    ///
    /// Whoever collects the strings takes no more memory than the table does, even if damage lets them share their bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<&'a str, RecordError>> + use<'a> {
        let vector = *self;
        let mut left = self.bytes.len();
        (0..self.len).map(move |at| {
            let string = vector.get(at)?;
            left = left.checked_sub(string.len()).ok_or(vector.damaged("its strings share their bytes"))?;
            Ok(string)
        })
    }

    fn get(&self, at: usize) -> Result<&'a str, RecordError> {
        let place = self.start + 4 * at;
        let string = super::table::follow(self.bytes, place).ok_or(self.damaged("a string lies outside"))?;
        std::str::from_utf8(string).map_err(|_| self.damaged("a string is not UTF-8"))
    }

    fn damaged(&self, what: &'static str) -> RecordError {
        RecordError::Slot { slot: self.slot, ty: PropertyType::StringVector, what }
    }
}

impl fmt::Debug for StringVector<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for StringVector<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
