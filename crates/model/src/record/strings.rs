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

    /// The strings in order; an error for one that is damaged.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<&'a str, RecordError>> + use<'a> {
        let vector = *self;
        (0..self.len).map(move |at| vector.get(at))
    }

    fn get(&self, at: usize) -> Result<&'a str, RecordError> {
        let damaged = |what| RecordError::Slot { slot: self.slot, ty: PropertyType::StringVector, what };
        let place = self.start + 4 * at;
        let string = super::table::follow(self.bytes, place).ok_or(damaged("a string lies outside"))?;
        std::str::from_utf8(string).map_err(|_| damaged("a string is not UTF-8"))
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
